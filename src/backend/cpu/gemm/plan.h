/* plan.h: inside gemm/: the ways of computing a product that gemm.c chooses from. All are
 * bit-identical on any number of threads: they cut by size alone. */
#ifndef REEL_CPU_GEMM_PLAN_H
#define REEL_CPU_GEMM_PLAN_H

#include "backend/cpu/gemm/gemm.h"
#include "backend/cpu/isa/gemm.h"
#include "base/int64.h"

/* Multiply-adds that are worth a task of their own: about 5 us of one core. */
#define REEL__TASK_WORK ((int64_t)1 << 19)

static inline int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}

static inline const reel__gemm_isa *kernels(const reel__gemm *g)
{
    return g->dtype == REEL_F64 ? REEL_ISA_PICK(gemm_f64) : REEL_ISA_PICK(gemm_f32);
}

static inline int64_t element_size(const reel__gemm *g)
{
    return g->dtype == REEL_F64 ? 8 : 4;
}

/* Operands are void pointers, strides count elements: p + n, to read and to write. */
static inline const void *from(const reel__gemm *g, const void *p, int64_t n)
{
    return (const char *)p + n * element_size(g);
}

static inline void *into(const reel__gemm *g, void *p, int64_t n)
{
    return (char *)p + n * element_size(g);
}

/* m * n * k, at most INT64_MAX: only compared and divided. */
static inline int64_t work_of(const reel__gemm *g)
{
    double w = (double)g->m * (double)g->n * (double)g->k;
    return w < 0x1p62 ? (int64_t)w : INT64_MAX;
}

/* k in blocks of nearly equal length: 260 is 2 x 130, not 256 + 4. */
static inline int64_t block_of_k(const reel__gemm *g)
{
    return ceil_div(g->k, ceil_div(g->k, kernels(g)->kc));
}

/* Rows [i, i + m) and columns [j, j + n) of a product. */
static inline reel__gemm part(const reel__gemm *g, int64_t i, int64_t m, int64_t j,
                              int64_t n)
{
    reel__gemm p = *g;
    p.m = m;
    p.n = n;
    p.a = from(g, g->a, i * g->a_row);
    p.b = from(g, g->b, j * g->b_col);
    p.c = into(g, g->c, i * g->c_row + j);
    if (g->bias) p.bias = from(g, g->bias, j);
    return p;
}

/* The block of k at p of a product, B still in place. */
reel__gemm_block reel__gemm_block_at(const reel__gemm *g, int64_t p, int64_t kc);
/* Reading B in place is cheaper than packing it: few rows or few panels. */
bool reel__gemm_in_place(const reel__gemm *g);
/* Dot products along rows of both operands are cheaper: few rows of A. */
bool reel__gemm_by_dots(const reel__gemm *g);
/* One column is cheaper as one row, which reel__gemm_as_row() gives: the product that is left
 * to compute, a bias being in C already. */
bool reel__gemm_is_column(const reel__gemm *g);
reel__gemm reel__gemm_as_row(const reel__gemm *g);
/* k = 0: an empty sum. */
void reel__gemm_no_terms(const reel__gemm *g);

/* Product i of a batch. */
reel__gemm reel__gemm_member(const reel__gemm *g, const reel__batch *batch, int64_t i);
/* Every product of a batch in one piece, in tasks of `group` products. */
reel_status reel__gemm_each(const reel__gemm *g, const reel__batch *batch, int64_t group);
/* What reel__gemm_by_dots() takes; A may have any strides. */
reel_status reel__gemm_dots(const reel__gemm *g);
/* Tiles of C in parallel, B in place; and after packing B. */
void reel__gemm_tiles(const reel__gemm *g);
/* B packed as a whole, [block of k][panel]: into `packed`, and the tiles from there. */
void reel__gemm_pack(const reel__gemm *g, void *packed);
void reel__gemm_packed_tiles(const reel__gemm *g, const void *packed,
                             const reel__epilogue *end);
reel_status reel__gemm_packed(const reel__gemm *g);
/* Pieces of k for a small m*n and a long k; 1: better another way. */
int64_t reel__gemm_pieces(const reel__gemm *g);
reel_status reel__gemm_split_k(const reel__gemm *g, int64_t pieces);

#endif
