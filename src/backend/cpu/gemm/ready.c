/* ready.c: products whose right operand was packed beforehand, and what follows a product. */
#include "backend/cpu/gemm/plan.h"

#include "base/parallel.h"

bool reel__gemm_may_be_ready(const reel__gemm *g)
{
    if (g->m == 0 || g->n == 0 || g->k == 0) return false;
    if (reel__gemm_by_dots(g) || reel__gemm_is_column(g)) return false;
    return work_of(g) < 2 * REEL__TASK_WORK || reel__gemm_pieces(g) <= 1;
}

int64_t reel__gemm_ready_size(const reel__gemm *g)
{
    return g->k * round_up(g->n, kernels(g)->nr);
}

void reel__gemm_make_ready(const reel__gemm *g, float *to)
{
    reel__gemm_pack(g, to);
}

void reel__gemm_ready(const reel__gemm *g, const float *packed, const reel__epilogue *end)
{
    reel__gemm_packed_tiles(g, packed, end);
}

typedef struct end_ctx {
    const reel__gemm *g;
    const reel__epilogue *end;
} end_ctx;

static void end_rows(void *ctx, int64_t begin, int64_t end)
{
    const end_ctx *t = ctx;
    for (int64_t i = begin; i < end; i++)
        reel__epilogue_row(t->end, (float *)t->g->c + i * t->g->c_row, t->g->n);
}

void reel__gemm_end(const reel__gemm *g, const reel__epilogue *end)
{
    end_ctx t = {g, end};
    reel__parallel_range(g->m, ceil_div(1 << 13, max64(g->n, 1)), end_rows, &t);
}
