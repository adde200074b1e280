/* transpose_rows.c: transposes by tiles, and by shuffles where one side has a few
 * channels. */
#include "backend/cpu/elem.h"
#include "backend/cpu/isa/isa.h"

/* Planes and pixels of a few channels: a constant count is what the compiler needs to
 * turn these into shuffles. */
#define INTERLEAVE(T, K)                                                                 \
    static void interleave_##T##_##K(int64_t n, T *restrict dst, const T *restrict src,  \
                                     int64_t src_row)                                    \
    {                                                                                    \
        for (int64_t i = 0; i < n; i++)                                                  \
            for (int k = 0; k < K; k++) dst[i * K + k] = src[k * src_row + i];           \
    }                                                                                    \
    static void deinterleave_##T##_##K(int64_t n, T *restrict dst, int64_t dst_row,      \
                                       const T *restrict src)                            \
    {                                                                                    \
        for (int64_t i = 0; i < n; i++)                                                  \
            for (int k = 0; k < K; k++) dst[k * dst_row + i] = src[i * K + k];           \
    }

#define FEW(T)                                                                           \
    INTERLEAVE(T, 2)                                                                     \
    INTERLEAVE(T, 3)                                                                     \
    INTERLEAVE(T, 4) /* True if the shape is one of these and is done. */                \
    static bool few_##T(int64_t rows, int64_t cols, T *dst, int64_t dst_row,             \
                        const T *src, int64_t src_row)                                   \
    {                                                                                    \
        if (dst_row == cols && cols >= 2 && cols <= 4) {                                 \
            if (cols == 2)                                                               \
                interleave_##T##_2(rows, dst, src, src_row);                             \
            else if (cols == 3)                                                          \
                interleave_##T##_3(rows, dst, src, src_row);                             \
            else                                                                         \
                interleave_##T##_4(rows, dst, src, src_row);                             \
            return true;                                                                 \
        }                                                                                \
        if (src_row == rows && rows >= 2 && rows <= 4) {                                 \
            if (rows == 2)                                                               \
                deinterleave_##T##_2(cols, dst, dst_row, src);                           \
            else if (rows == 3)                                                          \
                deinterleave_##T##_3(cols, dst, dst_row, src);                           \
            else                                                                         \
                deinterleave_##T##_4(cols, dst, dst_row, src);                           \
            return true;                                                                 \
        }                                                                                \
        return false;                                                                    \
    }
FEW(uint8_t)
FEW(uint32_t)

/* Tile by tile, so that each cache line that is touched is used whole. */
#define TILE 16

#define TRANSPOSE_EDGE(T)                                                                \
    static void edge_##T(int64_t rows, int64_t cols, T *restrict dst, int64_t dst_row,   \
                         const T *restrict src, int64_t src_row)                         \
    {                                                                                    \
        for (int64_t r = 0; r < rows; r++)                                               \
            for (int64_t c = 0; c < cols; c++)                                           \
                dst[r * dst_row + c] = src[c * src_row + r];                             \
    }
TRANSPOSE_EDGE(uint8_t)
TRANSPOSE_EDGE(uint16_t)
TRANSPOSE_EDGE(uint32_t)
TRANSPOSE_EDGE(uint64_t)

typedef uint32_t v8 __attribute__((vector_size(32)));
typedef uint32_t v8u __attribute__((vector_size(32), aligned(4), may_alias));

/* 8 x 8 in registers: exchange of 1, 2, 4 elements between neighbours 1, 2, 4 apart. */
static void tile_8x8(uint32_t *dst, int64_t dst_row, const uint32_t *src, int64_t src_row)
{
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW2(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH2(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW4(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH4(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
    v8 s[8], a[8], b[8];
    for (int i = 0; i < 8; i++) s[i] = *(const v8u *)(src + i * src_row);
    for (int i = 0; i < 4; i++) {
        a[2 * i] = LOW(s[2 * i], s[2 * i + 1]);
        a[2 * i + 1] = HIGH(s[2 * i], s[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = LOW2(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = HIGH2(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = LOW2(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = HIGH2(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        *(v8u *)(dst + i * dst_row) = LOW4(b[i], b[i + 4]);
        *(v8u *)(dst + (i + 4) * dst_row) = HIGH4(b[i], b[i + 4]);
    }
}

/* Of the four quarters those that read the same lines follow each other: sixteen lines
 * that lie a power of two apart would not stay in the L1 cache. */
static void tile_uint32_t(uint32_t *dst, int64_t dst_row, const uint32_t *src,
                          int64_t src_row)
{
    tile_8x8(dst, dst_row, src, src_row);
    tile_8x8(dst + 8 * dst_row, dst_row, src + 8, src_row);
    tile_8x8(dst + 8, dst_row, src + 8 * src_row, src_row);
    tile_8x8(dst + 8 * dst_row + 8, dst_row, src + 8 * src_row + 8, src_row);
}

#define TILE_BY_ELEMENT(T)                                                               \
    static void tile_##T(T *dst, int64_t dst_row, const T *src, int64_t src_row)         \
    {                                                                                    \
        edge_##T(TILE, TILE, dst, dst_row, src, src_row);                                \
    }
TILE_BY_ELEMENT(uint8_t)
TILE_BY_ELEMENT(uint16_t)
TILE_BY_ELEMENT(uint64_t)

static bool few_uint16_t(int64_t rows, int64_t cols, uint16_t *dst, int64_t dst_row,
                         const uint16_t *src, int64_t src_row)
{
    (void)rows, (void)cols, (void)dst, (void)dst_row, (void)src, (void)src_row;
    return false;
}
static bool few_uint64_t(int64_t rows, int64_t cols, uint64_t *dst, int64_t dst_row,
                         const uint64_t *src, int64_t src_row)
{
    (void)rows, (void)cols, (void)dst, (void)dst_row, (void)src, (void)src_row;
    return false;
}

#define TRANSPOSE(NAME, T)                                                               \
    static void NAME(int64_t rows, int64_t cols, void *to, int64_t dst_row,              \
                     const void *from, int64_t src_row)                                  \
    {                                                                                    \
        T *dst = to;                                                                     \
        const T *src = from;                                                             \
        if (few_##T(rows, cols, dst, dst_row, src, src_row)) return;                     \
        int64_t wide = cols - cols % TILE, high = rows - rows % TILE;                    \
        for (int64_t r = 0; r < high; r += TILE)                                         \
            for (int64_t c = 0; c < wide; c += TILE)                                     \
                tile_##T(dst + r * dst_row + c, dst_row, src + c * src_row + r,          \
                         src_row);                                                       \
        edge_##T(high, cols - wide, dst + wide, dst_row, src + wide * src_row, src_row); \
        edge_##T(rows - high, cols, dst + high * dst_row, dst_row, src + high, src_row); \
    }
TRANSPOSE(transpose1, uint8_t)
TRANSPOSE(transpose2, uint16_t)
TRANSPOSE(transpose4, uint32_t)
TRANSPOSE(transpose8, uint64_t)

REEL_ISA_DECLARE(reel__transpose_rows, transpose_rows);
const reel__transpose_rows ISA(transpose_rows) = {
    .by_size = {[1] = transpose1, [2] = transpose2, [4] = transpose4, [8] = transpose8},
};
