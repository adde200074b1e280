/* split_k.c: few results, each a long sum (the gradient of a weight): partial products
 * over pieces of k, added in order. */
#include "backend/cpu/gemm/plan.h"

#include "base/alloc.h"
#include "base/parallel.h"

/* Pieces of k: enough tasks, each long enough, as many for every number of threads. */
int64_t reel__gemm_pieces(const reel__gemm *g)
{
    const reel__gemm_isa *isa = kernels(g);
    int64_t tiles = ceil_div(g->m, 2 * isa->mr) * ceil_div(g->n, 2 * isa->nr);
    if (tiles >= 16) return 1;
    return min64(ceil_div(16, tiles), g->k / 512);
}

typedef struct split_ctx {
    const reel__gemm *g;
    int64_t pieces, length;
    void *sums; /* [pieces, m, n] */
    void *rooms;
} split_ctx;

static void split_task(void *ctx, int64_t i, int worker)
{
    const split_ctx *t = ctx;
    reel__gemm q = *t->g;
    int64_t p = i * t->length;
    q.k = min64(t->length, q.k - p);
    q.a = from(&q, q.a, p * q.a_col);
    q.b = from(&q, q.b, p * q.b_row);
    q.c = into(&q, t->sums, i * q.m * q.n);
    q.c_row = q.n;
    q.accumulate = false;
    q.bias = NULL;
    reel__gemm_serial(&q, into(&q, t->rooms, worker * (int64_t)REEL__GEMM_ROOM));
}

static void sum_pieces(void *ctx, int64_t begin, int64_t end)
{
    const split_ctx *t = ctx;
    const reel__gemm *g = t->g;
    kernels(g)->add_up(&(reel__gemm_parts){.m = end - begin,
                                           .n = g->n,
                                           .count = t->pieces,
                                           .step = g->m * g->n,
                                           .parts = from(g, t->sums, begin * g->n),
                                           .c = into(g, g->c, begin * g->c_row),
                                           .c_row = g->c_row,
                                           .bias = g->bias,
                                           .add = g->accumulate});
}

reel_status reel__gemm_split_k(const reel__gemm *g, int64_t pieces)
{
    split_ctx t = {.g = g, .length = ceil_div(g->k, pieces)};
    t.pieces = ceil_div(g->k, t.length);
    int64_t rooms = reel__max_workers() * (int64_t)REEL__GEMM_ROOM;
    t.rooms = reel__scratch((size_t)((rooms + t.pieces * g->m * g->n) * element_size(g)));
    if (!t.rooms) return REEL_ERR_MEMORY;
    t.sums = into(g, t.rooms, rooms);
    reel__parallel(t.pieces, split_task, &t);
    reel__parallel_range(g->m, ceil_div(1 << 14, g->n), sum_pieces, &t);
    reel__scratch_free(t.rooms);
    return REEL_OK;
}
