/* serial.c: one product in the calling thread, and batches of them. */
#include "backend/cpu/gemm/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

/* Rows of A up to which dot products beat packing B. */
#define FEW_ROWS 16

/* The block of k at p of a product, B still in place. */
reel__gemm_block reel__gemm_block_at(const reel__gemm *g, int64_t p, int64_t kc)
{
    return (reel__gemm_block){
        .m = g->m,
        .n = g->n,
        .kc = kc,
        .a = from(g, g->a, p * g->a_col),
        .a_row = g->a_row,
        .a_col = g->a_col,
        .a_rows = g->m,
        .b = from(g, g->b, p * g->b_row),
        .b_row = g->b_row,
        .c = g->c,
        .c_row = g->c_row,
        .bias = p == 0 ? g->bias : NULL,
        .add = g->accumulate || p > 0,
    };
}

/* k = 0: an empty sum. */
void reel__gemm_no_terms(const reel__gemm *g)
{
    kernels(g)->add_up(&(reel__gemm_parts){.m = g->m,
                                           .n = g->n,
                                           .c = g->c,
                                           .c_row = g->c_row,
                                           .bias = g->bias,
                                           .add = g->accumulate});
}

/* Reading B in place is cheaper than packing it for few rows or few panels. */
bool reel__gemm_in_place(const reel__gemm *g)
{
    const reel__gemm_isa *isa = kernels(g);
    return g->b_col == 1 && g->b_row != 0 && (g->m <= 2 * isa->mr || g->n <= 2 * isa->nr);
}

/* Dot products along rows of both operands, for few rows of A. */
bool reel__gemm_by_dots(const reel__gemm *g)
{
    return g->b_row == 1 && g->m <= FEW_ROWS && g->k >= 16;
}

static reel__gemm_dot dot_of(const reel__gemm *g)
{
    return (reel__gemm_dot){.m = g->m,
                            .n = g->n,
                            .k = g->k,
                            .a = g->a,
                            .a_row = g->a_row,
                            .b = g->b,
                            .b_row = g->b_col,
                            .c = g->c,
                            .c_row = g->c_row,
                            .bias = g->bias,
                            .add = g->accumulate};
}

void reel__gemm_serial(const reel__gemm *g, void *room)
{
    const reel__gemm_isa *isa = kernels(g);
    if (g->k == 0) {
        reel__gemm_no_terms(g);
        return;
    }
    if (reel__gemm_is_column(g)) {
        reel__gemm row = reel__gemm_as_row(g);
        reel__gemm_serial(&row, room);
        return;
    }
    if (reel__gemm_by_dots(g) && g->a_col == 1) {
        reel__gemm_dot d = dot_of(g);
        isa->dot(&d);
        return;
    }
    int64_t kb = block_of_k(g);
    int64_t cols = reel__gemm_in_place(g) ? g->n : (int64_t)REEL__GEMM_ROOM / isa->kc;
    for (int64_t j = 0; j < g->n; j += cols) {
        reel__gemm q = part(g, 0, g->m, j, min64(cols, g->n - j));
        for (int64_t p = 0; p < g->k; p += kb) {
            reel__gemm_block t = reel__gemm_block_at(&q, p, min64(kb, g->k - p));
            if (!reel__gemm_in_place(g)) {
                isa->pack_b(t.b, g->b_row, g->b_col, t.kc, t.n, room);
                t.b = room;
                t.b_row = 0;
            }
            isa->block(&t);
        }
    }
}

/* ---- batches ----------------------------------------------------------------------- */

int64_t reel__batch_count(const reel__batch *batch)
{
    int64_t n = 1;
    for (int d = 0; d < batch->rank; d++) n *= batch->dim[d];
    return n;
}

reel__batch_at reel__batch_offset(const reel__batch *batch, int64_t i)
{
    reel__batch_at at = {0, 0, 0};
    for (int d = batch->rank - 1; d >= 0; d--) {
        int64_t x = i % batch->dim[d];
        i /= batch->dim[d];
        at.a += x * batch->a[d];
        at.b += x * batch->b[d];
        at.c += x * batch->c[d];
    }
    return at;
}

/* Product i of a batch. */
reel__gemm reel__gemm_member(const reel__gemm *g, const reel__batch *batch, int64_t i)
{
    reel__batch_at at = reel__batch_offset(batch, i);
    reel__gemm q = *g;
    q.a = from(g, g->a, at.a);
    q.b = from(g, g->b, at.b);
    q.c = into(g, g->c, at.c);
    return q;
}

typedef struct batch_ctx {
    const reel__gemm *g;
    const reel__batch *batch;
    int64_t count, group;
    void *rooms;
} batch_ctx;

static void batch_task(void *ctx, int64_t i, int worker)
{
    const batch_ctx *t = ctx;
    int64_t end = min64((i + 1) * t->group, t->count);
    for (int64_t b = i * t->group; b < end; b++) {
        reel__gemm q = reel__gemm_member(t->g, t->batch, b);
        reel__gemm_serial(&q, into(&q, t->rooms, worker * (int64_t)REEL__GEMM_ROOM));
    }
}

reel_status reel__gemm_each(const reel__gemm *g, const reel__batch *batch, int64_t group)
{
    batch_ctx t = {
        .g = g, .batch = batch, .count = reel__batch_count(batch), .group = group};
    int64_t tasks = ceil_div(t.count, group);
    size_t workers = tasks > 1 ? (size_t)reel__max_workers() : 1;
    t.rooms = reel__scratch(workers * REEL__GEMM_ROOM * (size_t)element_size(g));
    if (!t.rooms) return REEL_ERR_MEMORY;
    reel__parallel(tasks, batch_task, &t);
    reel__scratch_free(t.rooms);
    return REEL_OK;
}

/* ---- few rows ---------------------------------------------------------------------- */

typedef struct dot_ctx {
    const reel__gemm *g;
    reel__gemm_dot whole;
    int64_t cols; /* of a task */
} dot_ctx;

static void dot_task(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const dot_ctx *t = ctx;
    reel__gemm_dot d = t->whole;
    int64_t j = i * t->cols;
    d.n = min64(t->cols, d.n - j);
    d.b = from(t->g, d.b, j * d.b_row);
    d.c = into(t->g, d.c, j);
    if (d.bias) d.bias = from(t->g, d.bias, j);
    kernels(t->g)->dot(&d);
}

reel_status reel__gemm_dots(const reel__gemm *g)
{
    void *copy = NULL;
    size_t size = (size_t)element_size(g);
    dot_ctx t = {.g = g, .whole = dot_of(g)};
    if (g->a_col != 1) {
        copy = reel__scratch((size_t)(g->m * g->k) * size);
        if (!copy) return REEL_ERR_MEMORY;
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t p = 0; p < g->k; p++)
                memcpy(into(g, copy, i * g->k + p),
                       from(g, g->a, i * g->a_row + p * g->a_col), size);
        t.whole.a = copy;
        t.whole.a_row = g->k;
    }
    /* these are bound by reading B: tasks of 64K of its elements */
    t.cols = round_up(max64(1, (1 << 16) / g->k), 4);
    reel__parallel(ceil_div(g->n, t.cols), dot_task, &t);
    reel__scratch_free(copy);
    return REEL_OK;
}
