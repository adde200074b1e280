/* conv_depthwise.c: one channel a group: no product of matrices, channels are the lanes.
 * Channels beyond the last whole vector are done one by one: a vector there would reach
 * past the tensor. */
#include "backend/cpu/isa/conv_kernels.h"

#define UNROLL_FOR(...) REEL_UNROLL(8, __VA_ARGS__)
#define INLINE static inline __attribute__((always_inline))

/* R pixels at once share the loads of weights. */
INLINE void gather_block(const int R, const reel__conv_gather *g, int64_t first)
{
    const float *const *a = g->a + first;
    float *const *d = g->d + first;
    const reel__epilogue *end = g->end;
    const float *residual[R];
    UNROLL_FOR (int i = 0; i < R; i++) residual[i] = reel__residual_at(end, d[i]);
    int64_t c = 0;
    for (; c + REEL_VW <= g->valid; c += REEL_VW) {
        reel_vf sum[R], start = end->bias ? reel_vload(end->bias + c) : (reel_vf){0};
        UNROLL_FOR (int i = 0; i < R; i++) sum[i] = start;
        for (int64_t t = 0; t < g->taps; t++) {
            reel_vf w = reel_vload(g->b + t * g->width + c);
            UNROLL_FOR (int i = 0; i < R; i++)
                sum[i] += reel_vload(a[i] + g->tap[t] + c) * w;
        }
        UNROLL_FOR (int i = 0; i < R; i++) {
            if (end->residual) sum[i] += reel_vload(residual[i] + c);
            if (end->relu) sum[i] = reel_vrelu(sum[i]);
            reel_vstore(d[i] + c, sum[i]);
        }
    }
    for (; c < g->valid; c++)
        for (int i = 0; i < R; i++) {
            float sum = end->bias ? end->bias[c] : 0;
            for (int64_t t = 0; t < g->taps; t++)
                sum += a[i][g->tap[t] + c] * g->b[t * g->width + c];
            if (end->residual) sum += residual[i][c];
            d[i][c] = end->relu && sum < 0 ? 0 : sum;
        }
}

static void gather(const reel__conv_gather *g)
{
    int64_t i = 0;
    for (; i + 4 <= g->m; i += 4) gather_block(4, g, i);
    for (; i < g->m; i++) gather_block(1, g, i);
}

/* NV vectors of channels at once. */
INLINE void outer_block(const int NV, const reel__conv_outer *g, int64_t c)
{
    reel_vf sum[NV];
    UNROLL_FOR (int j = 0; j < NV; j++)
        sum[j] = g->accumulate ? reel_vload(g->p + c + j * REEL_VW) : (reel_vf){0};
    for (int64_t y = 0; y < g->rows; y++) {
        const float *a = g->a[y] + g->tap + c, *b = g->b[y] + c;
        for (int64_t t = 0; t < g->steps; t++, a += g->a_step, b += g->b_step)
            UNROLL_FOR (int j = 0; j < NV; j++)
                sum[j] += reel_vload(a + j * REEL_VW) * reel_vload(b + j * REEL_VW);
    }
    UNROLL_FOR (int j = 0; j < NV; j++) reel_vstore(g->p + c + j * REEL_VW, sum[j]);
}

static void outer(const reel__conv_outer *g)
{
    int64_t c = 0;
    for (; c + 4 * REEL_VW <= g->m; c += 4 * REEL_VW) outer_block(4, g, c);
    for (; c + REEL_VW <= g->m; c += REEL_VW) outer_block(1, g, c);
    for (; c < g->m; c++) {
        float sum = g->accumulate ? g->p[c] : 0;
        for (int64_t y = 0; y < g->rows; y++)
            for (int64_t t = 0; t < g->steps; t++)
                sum += g->a[y][g->tap + t * g->a_step + c] * g->b[y][t * g->b_step + c];
        g->p[c] = sum;
    }
    for (; c < g->width; c++) g->p[c] = 0;
}

const reel__conv_depthwise ISA(conv_depthwise) = {.gather = gather, .outer = outer};
