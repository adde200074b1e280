/* gemm.h: inside the matrix products: the serial product that other blocked kernels build
 * on, and the BLAS that may stand in for it. */
#ifndef REEL_CPU_GEMM_H
#define REEL_CPU_GEMM_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/epilogue.h"

/* Floats of room that reel__gemm_serial packs into. */
#define REEL__GEMM_ROOM ((size_t)256 * 256)

/* The product in the calling thread; room: REEL__GEMM_ROOM floats, 64-byte aligned. */
void reel__gemm_serial(const reel_gemm *g, float *room);

/* Where the products of a batch lie: steps, in elements, of each dimension of the
 * batch. */
typedef struct reel__batch {
    int rank; /* 0: one product */
    int64_t dim[REEL_MAX_RANK];
    int64_t a[REEL_MAX_RANK], b[REEL_MAX_RANK], c[REEL_MAX_RANK];
} reel__batch;
int64_t reel__batch_count(const reel__batch *batch);
/* Offsets of the operands of product i. */
typedef struct reel__batch_at {
    int64_t a, b, c;
} reel__batch_at;
reel__batch_at reel__batch_offset(const reel__batch *batch, int64_t i);

/* reel__gemm_f32_batched() for batches of several dimensions. */
reel_status reel__gemm_f32_batch(const reel_gemm *g, const reel__batch *batch);

/* ---- ready.c: B packed once for many products --------------------------------------- */

/* Whether a product of these sizes and strides is computed from packed blocks of B; if so
 * reel__gemm_ready() gives what reel__gemm_f32() gives, bit for bit. */
bool reel__gemm_may_be_ready(const reel_gemm *g);
/* Floats of a packed B, and the packing; `to` is 64-byte aligned. */
int64_t reel__gemm_ready_size(const reel_gemm *g);
void reel__gemm_make_ready(const reel_gemm *g, float *to);
/* g->b is not read. `end` (NULL: none) is applied, less its bias, to tiles in cache. */
void reel__gemm_ready(const reel_gemm *g, const float *packed, const reel_epilogue *end);
/* The same end, on a result that is stored. */
void reel__gemm_end(const reel_gemm *g, const reel_epilogue *end);

/* ---- blas.c ------------------------------------------------------------------------ */

/* A product of one of the two BLAS dtypes; strides in elements. */
typedef struct reel__blas_gemm {
    reel_dtype dtype; /* f32 or f64 */
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row, b_col;
    void *c;
    int64_t c_row;
    bool accumulate;
} reel__blas_gemm;

/* True if this build has a BLAS and these strides are BLAS's: for each of A and B one of
 * the two strides is 1. */
bool reel__blas_takes(const reel__blas_gemm *g);
/* Only what reel__blas_takes(). In parallel over tiles cut by size; the BLAS itself stays
 * on one thread. */
void reel__blas_run(const reel__blas_gemm *g, const reel__batch *batch);

#endif
