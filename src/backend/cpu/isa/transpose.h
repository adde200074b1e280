/* transpose.h: REEL_VW x REEL_VW floats transposed in registers: log2(REEL_VW) rounds of
 * the perfect shuffle, each interleaving row i with row i + REEL_VW/2 (Stone 1971). */
#ifndef REEL_ISA_TRANSPOSE_H
#define REEL_ISA_TRANSPOSE_H

#include "backend/cpu/isa/isa.h"

#if REEL_VW == 16
#define REEL_LOW_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define REEL_HIGH_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define REEL_TRANSPOSE_ROUNDS 4
#elif REEL_VW == 8
#define REEL_LOW_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define REEL_HIGH_LANES 4, 12, 5, 13, 6, 14, 7, 15
#define REEL_TRANSPOSE_ROUNDS 3
#else
#define REEL_LOW_LANES 0, 4, 1, 5
#define REEL_HIGH_LANES 2, 6, 3, 7
#define REEL_TRANSPOSE_ROUNDS 2
#endif

/* dst[j * dst_row + i] = src[i * src_row + j] for i, j < REEL_VW. */
static inline __attribute__((always_inline)) void reel_vtranspose(const float *src,
                                                                  int64_t src_row,
                                                                  float *dst,
                                                                  int64_t dst_row)
{
    reel_vf from[REEL_VW], to[REEL_VW];
#pragma GCC unroll 16
    for (int i = 0; i < REEL_VW; i++) from[i] = reel_vload(src + i * src_row);
#pragma GCC unroll 4
    for (int round = 0; round < REEL_TRANSPOSE_ROUNDS; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < REEL_VW / 2; i++) {
            reel_vf x = from[i], y = from[i + REEL_VW / 2];
            to[2 * i] = __builtin_shufflevector(x, y, REEL_LOW_LANES);
            to[2 * i + 1] = __builtin_shufflevector(x, y, REEL_HIGH_LANES);
        }
#pragma GCC unroll 16
        for (int i = 0; i < REEL_VW; i++) from[i] = to[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < REEL_VW; i++) reel_vstore(dst + i * dst_row, from[i]);
}

#endif
