/* conv_gather.c: results of a convolution at pixels given by pointers, over several taps. */
#include "backend/cpu/isa/conv_blocks.h"

#include <string.h>

/* Stores the sums; `e` has a residual or relu, or is NULL. */
INLINE void store_block(const int R, const int NV, reel_vf sum[][2],
                        const reel__epilogue *e, float *const *d, int64_t column)
{
    REEL_UNROLL(32, int i = 0; i < R; i++)
    {
        float *to = d[i] + column;
        const float *residual = e ? reel__residual_at(e, to) : NULL;
        REEL_UNROLL(32, int j = 0; j < NV; j++)
        {
            if (residual) sum[i][j] += reel_vload(residual + j * REEL_VW);
            if (e && e->relu) sum[i][j] = reel_vrelu(sum[i][j]);
            reel_vstore(to + j * REEL_VW, sum[i][j]);
        }
    }
}

INLINE void gather_block(const int R, const int NV, const reel__conv_gather *g,
                         int64_t first, const reel_vf *bias, const reel__epilogue *e,
                         float *const *d, int64_t column)
{
    reel_vf sum[ROWS1][2];
    const float *a[ROWS1];
    REEL_UNROLL(32, int i = 0; i < R; i++) a[i] = g->a[first + i];
    REEL_UNROLL(32, int i = 0; i < R; i++)
    REEL_UNROLL(32, int j = 0; j < NV; j++) sum[i][j] = bias[j];
    const float *b = g->b;
    for (int64_t t = 0; t < g->taps; t++) {
        int64_t begin = g->tap[t], end = begin + g->len;
        for (int64_t k = begin; k < end; k++, b += NV * REEL_VW) {
            reel_vf col[2];
            REEL_UNROLL(32, int j = 0; j < NV; j++) col[j] = reel_vload(b + j * REEL_VW);
            REEL_UNROLL(32, int i = 0; i < R; i++)
            {
                reel_vf x = reel_vset(a[i][k]);
                REEL_UNROLL(32, int j = 0; j < NV; j++) sum[i][j] += x * col[j];
            }
        }
    }
    if (e)
        store_block(R, NV, sum, e, d, column);
    else
        store_block(R, NV, sum, NULL, d, column);
}

typedef void (*block_fn)(const reel__conv_gather *, int64_t, const reel_vf *,
                         const reel__epilogue *, float *const *, int64_t);
#define BLOCK(R, NV)                                                                     \
    static void block_##R##_##NV(const reel__conv_gather *g, int64_t first,              \
                                 const reel_vf *bias, const reel__epilogue *e,           \
                                 float *const *d, int64_t column)                        \
    {                                                                                    \
        gather_block(R, NV, g, first, bias, e, d, column);                               \
    }
DEFINE_BLOCKS

/* A row that was stored aside, to its place. */
static void finish_edge(const reel__conv_gather *g, const float *from, float *to)
{
    const float *residual = reel__residual_at(g->end, to);
    for (int64_t c = 0; c < g->valid; c++) {
        float x = from[c];
        if (residual) x += residual[c];
        to[c] = g->end->relu && x < 0 ? 0 : x;
    }
}

void ISA(conv_gather)(const reel__conv_gather *g)
{
    float part[2 * REEL_VW] = {0};
    const reel__epilogue *end = g->end;
    if (end->bias) memcpy(part, end->bias + g->column, (size_t)g->valid * sizeof(float));
    const reel_vf bias[2] = {reel_vload(part), reel_vload(part + REEL_VW)};
    bool wide = g->width == 2 * REEL_VW, whole = g->valid == g->width;
    /* Where the result's channels end within a vector, blocks are stored here first. */
    if (!whole || !(end->residual || end->relu)) end = NULL;
    float edge[ROWS1][2 * REEL_VW], *edge_row[ROWS1];
    for (int i = 0; i < ROWS1; i++) edge_row[i] = edge[i];
    for (int64_t i = 0, r; i < g->m; i += r) {
        r = next_rows(g->m - i, wide ? ROWS2 : ROWS1);
        float *const *d = whole ? g->d + i : edge_row;
        int64_t column = whole ? g->column : 0;
        (wide ? wide_blocks : narrow_blocks)[r](g, i, bias, end, d, column);
        for (int64_t j = 0; j < r && !whole; j++)
            finish_edge(g, edge[j], g->d[i + j] + g->column);
    }
}
