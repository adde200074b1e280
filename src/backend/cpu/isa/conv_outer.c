/* conv_outer.c: outer products: the reduction runs over pixels. */
#include "backend/cpu/isa/conv_blocks.h"

INLINE void outer_block(const int R, const int NV, const reel__conv_outer *g,
                        int64_t first)
{
    reel_vf sum[ROWS1][2];
    float *p = g->p + first * g->width;
    REEL_UNROLL(32, int i = 0; i < R; i++)
    REEL_UNROLL(32, int j = 0; j < NV; j++)
    sum[i][j] = g->accumulate ? reel_vload(p + (i * NV + j) * REEL_VW) : (reel_vf){0};
    for (int64_t y = 0; y < g->rows; y++) {
        const float *a = g->a[y] + g->tap + first, *b = g->b[y] + g->column;
        for (int64_t t = 0; t < g->steps; t++, a += g->a_step, b += g->b_step) {
            reel_vf col[2];
            REEL_UNROLL(32, int j = 0; j < NV; j++) col[j] = reel_vload(b + j * REEL_VW);
            REEL_UNROLL(32, int i = 0; i < R; i++)
            {
                reel_vf x = reel_vset(a[i]);
                REEL_UNROLL(32, int j = 0; j < NV; j++) sum[i][j] += x * col[j];
            }
        }
    }
    REEL_UNROLL(32, int i = 0; i < R; i++)
    REEL_UNROLL(32, int j = 0; j < NV; j++)
    reel_vstore(p + (i * NV + j) * REEL_VW, sum[i][j]);
}

typedef void (*block_fn)(const reel__conv_outer *, int64_t);
#define BLOCK(R, NV)                                                                     \
    static void block_##R##_##NV(const reel__conv_outer *g, int64_t first)               \
    {                                                                                    \
        outer_block(R, NV, g, first);                                                    \
    }
DEFINE_BLOCKS

void ISA(conv_outer)(const reel__conv_outer *g)
{
    bool wide = g->width == 2 * REEL_VW;
    for (int64_t i = 0, r; i < g->m; i += r) {
        r = next_rows(g->m - i, wide ? ROWS2 : ROWS1);
        (wide ? wide_blocks : narrow_blocks)[r](g, i);
    }
}
