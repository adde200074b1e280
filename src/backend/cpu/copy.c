/* copy.c: strided copies, with conversion (elem.h says how). Three ways: a transpose,
 * where the two sides are contiguous along different dimensions; a move of bits, where
 * only strides differ; a conversion by way of a compute type. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/elem.h"
#include "backend/cpu/grid.h"
#include "backend/cpu/isa/isa.h"
#include "base/parallel.h"

/* Elements of a block that is converted by way of L1. */
#define BLOCK 512
/* Elements of a task, and from which a second thread pays. */
#define TASK 16384
#define PARALLEL_FROM 65536

REEL_ISA_DECLARE(reel__transpose_rows, transpose_rows);

const reel__transpose_rows *reel__transpose_rows_of_isa(void)
{
    return REEL_ISA_PICK(transpose_rows);
}

typedef struct copy {
    reel__cells blocks;
    const reel__grid *grid;
    const reel__elem_rows *elem;
    char *dst;
    const char *src;
    int64_t dst_size, src_size; /* bytes of an element */
    /* conversions only */
    reel__load_fn load;   /* NULL: the source is read as it lies   */
    reel__store_fn store; /* NULL: the load writes the destination */
} copy;

static void run(copy *c, int64_t cols, int64_t rows, reel__range_fn fn)
{
    const reel__grid *p = c->grid;
    if (rows > p->size[1]) rows = p->size[1];
    if (cols > p->size[0]) cols = p->size[0];
    c->blocks = reel__cells_of(p, cols, rows);
    if (p->n < PARALLEL_FROM) {
        fn(c, 0, c->blocks.n);
        return;
    }
    int64_t in_block = p->n / c->blocks.n;
    reel__parallel_range(c->blocks.n, TASK / (in_block > 0 ? in_block : 1), fn, c);
}

static char *dst_of(const copy *c, const reel__cell *b)
{
    return c->dst + b->at[0] * c->dst_size;
}

static const char *src_of(const copy *c, const reel__cell *b)
{
    return c->src + b->at[1] * c->src_size;
}

/* ---- the same dtype ---------------------------------------------------------------- */

static void move_range(void *ctx, int64_t begin, int64_t end)
{
    const copy *c = ctx;
    const reel__grid *p = c->grid;
    reel__move_fn move = c->elem->move[c->dst_size];
    reel__cell b;
    reel__cell_first(&c->blocks, begin, &b);
    for (int64_t i = begin; i < end; i++) {
        move(b.rows, b.cols, dst_of(c, &b), p->step[0][1], p->step[0][0], src_of(c, &b),
             p->step[1][1], p->step[1][0]);
        if (i + 1 < end) reel__cell_next(&c->blocks, &b);
    }
}

static void transpose_range(void *ctx, int64_t begin, int64_t end)
{
    const copy *c = ctx;
    const reel__grid *p = c->grid;
    reel__transpose_fn transpose = reel__transpose_rows_of_isa()->by_size[c->dst_size];
    reel__cell b;
    reel__cell_first(&c->blocks, begin, &b);
    for (int64_t i = begin; i < end; i++) {
        transpose(b.rows, b.cols, dst_of(c, &b), p->step[0][1], src_of(c, &b),
                  p->step[1][0]);
        if (i + 1 < end) reel__cell_next(&c->blocks, &b);
    }
}

static void swap(int64_t *a, int64_t *b)
{
    int64_t t = *a;
    *a = *b;
    *b = t;
}

/* Where the destination is contiguous along dimension 0 and the source along another,
 * makes that one dimension 1. */
static bool is_transpose(reel__grid *p)
{
    if (p->step[0][0] != 1 || p->step[1][0] == 0 || p->step[1][0] == 1) return false;
    for (int k = 1; k < p->rank; k++) {
        if (p->step[1][k] != 1 || p->size[k] == 1) continue;
        swap(&p->size[1], &p->size[k]);
        for (int a = 0; a < p->n_arg; a++) swap(&p->step[a][1], &p->step[a][k]);
        return true;
    }
    return false;
}

static void copy_same(copy *c, reel__grid *p)
{
    if (is_transpose(p)) {
        /* A few channels stay together; else pieces of 512 by 32 or so, whole tiles. */
        int64_t cols = p->size[1] <= 4 ? TASK / 4 : BLOCK;
        int64_t in_piece = cols < p->size[0] ? cols : p->size[0];
        int64_t rows = TASK / in_piece;
        run(c, cols, rows > 16 ? rows / 16 * 16 : rows, transpose_range);
    } else {
        int64_t in_piece = p->size[0] < TASK ? p->size[0] : TASK;
        run(c, TASK, TASK / in_piece, move_range);
    }
}

/* ---- conversion -------------------------------------------------------------------- */

static void convert_range(void *ctx, int64_t begin, int64_t end)
{
    const copy *c = ctx;
    const reel__grid *p = c->grid;
    _Alignas(64) char buffer[BLOCK * sizeof(double)];
    reel__cell b;
    reel__cell_first(&c->blocks, begin, &b);
    for (int64_t i = begin; i < end; i++) {
        char *to = dst_of(c, &b);
        const char *from = src_of(c, &b);
        const void *block = c->load ? buffer : from;
        if (c->load)
            c->load(b.rows, b.cols, c->store ? buffer : to, from, p->step[1][1],
                    p->step[1][0]);
        if (c->store) c->store(b.rows, b.cols, to, p->step[0][1], p->step[0][0], block);
        if (i + 1 < end) reel__cell_next(&c->blocks, &b);
    }
}

static bool is_compute_type(reel_dtype d)
{
    return d == REEL_F32 || d == REEL_F64 || d == REEL_I64;
}

/* The compute type by way of which a conversion goes, without loss but at its end: the
 * destination's if that is one, else the source's. Integers that an f32 holds become halves
 * by way of it. */
static reel__pw_type between(reel_dtype to, reel_dtype from)
{
    if (is_compute_type(to)) return reel__pw_type_of(to);
    bool fits = from == REEL_I8 || from == REEL_U8 || from == REEL_BOOL;
    return reel_dtype_is_float(to) && fits ? REEL_PW_F32 : reel__pw_type_of(from);
}

/* A side that lies in blocks of the compute type needs no buffer. */
static void copy_converted(copy *c, const reel__grid *p, reel_dtype to, reel_dtype from)
{
    reel__pw_type type = between(to, from);
    int64_t rows = p->size[0] < BLOCK ? BLOCK / p->size[0] : 1;
    if (rows > p->size[1]) rows = p->size[1];
    bool reads_blocks =
        !is_compute_type(to) && is_compute_type(from) && reel__grid_in_cells(p, 1, rows);
    bool writes_blocks = is_compute_type(to) && reel__grid_in_cells(p, 0, rows);
    c->load = reads_blocks ? NULL : c->elem->load[type][from];
    c->store = writes_blocks ? NULL : c->elem->store[type][to];
    run(c, BLOCK, rows, convert_range);
}

/* ---- copies ------------------------------------------------------------------------ */

void reel__copy_strided(void *dst, const reel__meta *dm, const void *src,
                        const reel__meta *sm)
{
    reel__grid p;
    reel__make_grid(&p, 2, (const reel__meta *const[]){dm, sm});
    if (p.n == 0) return;
    copy c = {.grid = &p, .elem = reel__elem_rows_of_isa(), .dst = dst, .src = src};
    c.dst_size = (int64_t)reel_dtype_size(dm->dtype);
    c.src_size = (int64_t)reel_dtype_size(sm->dtype);
    if (dm->dtype == sm->dtype)
        copy_same(&c, &p);
    else
        copy_converted(&c, &p, dm->dtype, sm->dtype);
}

reel_status reel__ref_copy(const reel__kcall *call)
{
    reel__copy_strided(call->out[0].data, call->out[0].meta, call->in[0].data,
                       call->in[0].meta);
    return REEL_OK;
}
