/* transpose.h: square transposition in registers, one vector a row. */
#ifndef REEL_ISA_TRANSPOSE_H
#define REEL_ISA_TRANSPOSE_H

#include "backend/cpu/isa/isa.h"

#include <string.h>

#define REEL_ZIP_LOW_16(a, b)                                                            \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define REEL_ZIP_HIGH_16(a, b)                                                           \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,  \
                            15, 31)
#define REEL_ZIP_LOW_8(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define REEL_ZIP_HIGH_8(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define REEL_ZIP_LOW_4(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define REEL_ZIP_HIGH_4(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define REEL_ZIP_LOW_2(a, b) __builtin_shufflevector(a, b, 0, 2)
#define REEL_ZIP_HIGH_2(a, b) __builtin_shufflevector(a, b, 1, 3)
/* Of floats, and of doubles. */
#if REEL_VW == 16
#define REEL_ZIP_LOW REEL_ZIP_LOW_16
#define REEL_ZIP_HIGH REEL_ZIP_HIGH_16
#define REEL_ZIP_LOW_D REEL_ZIP_LOW_8
#define REEL_ZIP_HIGH_D REEL_ZIP_HIGH_8
#elif REEL_VW == 8
#define REEL_ZIP_LOW REEL_ZIP_LOW_8
#define REEL_ZIP_HIGH REEL_ZIP_HIGH_8
#define REEL_ZIP_LOW_D REEL_ZIP_LOW_4
#define REEL_ZIP_HIGH_D REEL_ZIP_HIGH_4
#else
#define REEL_ZIP_LOW REEL_ZIP_LOW_4
#define REEL_ZIP_HIGH REEL_ZIP_HIGH_4
#define REEL_ZIP_LOW_D REEL_ZIP_LOW_2
#define REEL_ZIP_HIGH_D REEL_ZIP_HIGH_2
#endif

/* transpose(v): row i of v becomes column i. Zipping the first half of the rows with the
 * second, log2(W) times, transposes (the perfect shuffle: Stone 1971).
 * square(): dst[j * dst_row + i] = src[i * src_row + j] for i, j < W. */
#define REEL_DEFINE_TRANSPOSE(transpose, square, T, V, VU, W, ZIP_LOW, ZIP_HIGH)         \
    static inline __attribute__((always_inline)) void transpose(V v[W])                  \
    {                                                                                    \
        _Pragma("GCC unroll 4") for (int span = 1; span < W; span *= 2)                  \
        {                                                                                \
            V t[W];                                                                      \
            _Pragma("GCC unroll 8") for (int i = 0; i < W / 2; i++)                      \
            {                                                                            \
                t[2 * i] = ZIP_LOW(v[i], v[i + W / 2]);                                  \
                t[2 * i + 1] = ZIP_HIGH(v[i], v[i + W / 2]);                             \
            }                                                                            \
            _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) v[i] = t[i];            \
        }                                                                                \
    }                                                                                    \
    static inline __attribute__((always_inline)) void square(                            \
        const T *src, int64_t src_row, T *dst, int64_t dst_row)                          \
    {                                                                                    \
        V v[W];                                                                          \
        _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) v[i] =                      \
            *(const VU *)(src + i * src_row);                                            \
        transpose(v);                                                                    \
        _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) *                           \
            (VU *)(dst + i * dst_row) = v[i];                                            \
    }
REEL_DEFINE_TRANSPOSE(reel_transpose, reel_vtranspose, float, reel_vf, reel_vfu, REEL_VW,
                      REEL_ZIP_LOW, REEL_ZIP_HIGH)
REEL_DEFINE_TRANSPOSE(reel_transpose_d, reel_vtranspose_d, double, reel_vd, reel_vdu,
                      REEL_VWD, REEL_ZIP_LOW_D, REEL_ZIP_HIGH_D)

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
