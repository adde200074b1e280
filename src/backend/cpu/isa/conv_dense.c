/* conv_dense.c: products of rows at a fixed distance with a packed panel. */
#include "backend/cpu/isa/conv_blocks.h"

INLINE void dense_block(const int R, const int NV, const float *a, int64_t lda,
                        int64_t len, const float *b, float *d, int64_t ldd,
                        bool accumulate)
{
    reel_vf sum[ROWS1][2];
    REEL_UNROLL(32, int i = 0; i < R; i++)
    REEL_UNROLL(32, int j = 0; j < NV; j++)
    sum[i][j] = accumulate ? reel_vload(d + i * ldd + j * REEL_VW) : (reel_vf){0};
    for (int64_t k = 0; k < len; k++, b += NV * REEL_VW) {
        reel_vf col[2];
        REEL_UNROLL(32, int j = 0; j < NV; j++) col[j] = reel_vload(b + j * REEL_VW);
        REEL_UNROLL(32, int i = 0; i < R; i++)
        {
            reel_vf x = reel_vset(a[i * lda + k]);
            REEL_UNROLL(32, int j = 0; j < NV; j++) sum[i][j] += x * col[j];
        }
    }
    REEL_UNROLL(32, int i = 0; i < R; i++)
    REEL_UNROLL(32, int j = 0; j < NV; j++)
    reel_vstore(d + i * ldd + j * REEL_VW, sum[i][j]);
}

typedef void (*block_fn)(const float *, int64_t, int64_t, const float *, float *, int64_t,
                         bool);
#define BLOCK(R, NV)                                                                     \
    static void block_##R##_##NV(const float *a, int64_t lda, int64_t len,               \
                                 const float *b, float *d, int64_t ldd, bool accumulate) \
    {                                                                                    \
        dense_block(R, NV, a, lda, len, b, d, ldd, accumulate);                          \
    }
DEFINE_BLOCKS

void ISA(conv_dense)(const float *a, int64_t lda, int64_t m, int64_t len,
                     const float *panel, int64_t width, float *d, int64_t ldd,
                     bool accumulate)
{
    bool wide = width == 2 * REEL_VW;
    for (int64_t i = 0, r; i < m; i += r) {
        r = next_rows(m - i, wide ? ROWS2 : ROWS1);
        (wide ? wide_blocks : narrow_blocks)[r](a + i * lda, lda, len, panel, d + i * ldd,
                                                ldd, accumulate);
    }
}
