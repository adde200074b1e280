/* transpose.h: square transposition in registers, one vector a row. */
#ifndef REEL_ISA_TRANSPOSE_H
#define REEL_ISA_TRANSPOSE_H

#include "backend/cpu/isa/isa.h"

#include <string.h>

#if REEL_VW == 16
#define REEL_ZIP_LOW(a, b)                                                               \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define REEL_ZIP_HIGH(a, b)                                                              \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,  \
                            15, 31)
#elif REEL_VW == 8
#define REEL_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define REEL_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define REEL_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define REEL_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* Zipping the first half of the rows with the second, log2(REEL_VW) times, transposes
 * (the perfect shuffle: Stone 1971). */
static inline __attribute__((always_inline)) void reel_transpose(reel_vf v[REEL_VW])
{
#pragma GCC unroll 4
    for (int span = 1; span < REEL_VW; span *= 2) {
        reel_vf t[REEL_VW];
#pragma GCC unroll 8
        for (int i = 0; i < REEL_VW / 2; i++) {
            t[2 * i] = REEL_ZIP_LOW(v[i], v[i + REEL_VW / 2]);
            t[2 * i + 1] = REEL_ZIP_HIGH(v[i], v[i + REEL_VW / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < REEL_VW; i++) v[i] = t[i];
    }
}

/* dst[j * dst_row + i] = src[i * src_row + j] for i, j < REEL_VW. */
static inline __attribute__((always_inline)) void reel_vtranspose(const float *src,
                                                                  int64_t src_row,
                                                                  float *dst,
                                                                  int64_t dst_row)
{
    reel_vf v[REEL_VW];
#pragma GCC unroll 16
    for (int i = 0; i < REEL_VW; i++) v[i] = reel_vload(src + i * src_row);
    reel_transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < REEL_VW; i++) reel_vstore(dst + i * dst_row, v[i]);
}

/* v[j][i] = src[i * step + j], i < rows, j < cols; zero elsewhere. */
static inline void reel_load_columns(const float *src, int64_t step, int64_t rows,
                                     int64_t cols, reel_vf v[REEL_VW])
{
    if (rows >= REEL_VW && cols >= REEL_VW) {
        for (int i = 0; i < REEL_VW; i++) v[i] = reel_vload(src + i * step);
    } else {
        float part[REEL_VW][REEL_VW] = {{0}};
        for (int i = 0; i < REEL_VW && i < rows; i++)
            for (int j = 0; j < REEL_VW && j < cols; j++) part[i][j] = src[i * step + j];
        for (int i = 0; i < REEL_VW; i++) v[i] = reel_vload(part[i]);
    }
    reel_transpose(v);
}

/* dst[i * step + j] = v[j][i], i < rows, j < cols. */
static inline void reel_store_columns(float *dst, int64_t step, int64_t rows,
                                      int64_t cols, reel_vf v[REEL_VW])
{
    reel_transpose(v);
    for (int i = 0; i < REEL_VW && i < rows; i++) {
        if (cols >= REEL_VW) {
            reel_vstore(dst + i * step, v[i]);
        } else {
            float part[REEL_VW];
            reel_vstore(part, v[i]);
            memcpy(dst + i * step, part, (size_t)cols * sizeof(float));
        }
    }
}

#endif
