/* elem_rows.c: loads, stores and moves of elem.h. The loops are written for
 * the compiler to vectorize: contiguous and repeated elements apart from strided ones. */
#include "backend/cpu/isa/isa.h"
#include "backend/cpu/isa/half.h"
#include "backend/cpu/elem.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

/* ---- f16, bf16 --------------------------------------------------------------------- */

static void f16_to_f32(const uint16_t *src, float *dst, int64_t n)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i,
                         _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(src + i))));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i,
                         _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
#endif
    for (; i < n; i++) dst[i] = pw_from_f16(src[i]);
}

static void f32_to_f16(const float *src, uint16_t *dst, int64_t n)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        /* All lanes: without a mask gcc's macro warns of its own -1 in builds without -O. */
        _mm256_storeu_si256(
            (__m256i *)(dst + i),
            _mm512_maskz_cvtps_ph((__mmask16)0xffff, _mm512_loadu_ps(src + i), 0));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(src + i), 0));
#endif
    for (; i < n; i++) dst[i] = pw_to_f16(src[i]);
}

static void bf16_to_f32(const uint16_t *restrict src, float *restrict dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) dst[i] = pw_from_bf16(src[i]);
}

static void f32_to_bf16(const float *restrict src, uint16_t *restrict dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) dst[i] = pw_to_bf16(src[i]);
}

/* ---- conversions, named compute type _ dtype --------------------------------------- */

/* Toward zero into [LO, HI]; END is the first value above that F can tell from HI. The
 * cast sees only values that fit. */
#define SATURATE(NAME, F, T, LO, HI, END)                                                \
    static inline T NAME(F x)                                                            \
    {                                                                                    \
        F inside = SEL((x > (F)(LO)) & (x < (F)(END)), x, 0);                            \
        return SEL(x >= (F)(END), (HI), SEL(x <= (F)(LO), (LO), (T)inside));             \
    }
SATURATE(f32_to_i64, float, int64_t, INT64_MIN, INT64_MAX, 0x1p63)
SATURATE(f32_to_i32, float, int32_t, INT32_MIN, INT32_MAX, 0x1p31)
SATURATE(f32_to_i8, float, int8_t, INT8_MIN, INT8_MAX, 128)
SATURATE(f32_to_u8, float, uint8_t, 0, UINT8_MAX, 256)
SATURATE(f64_to_i64, double, int64_t, INT64_MIN, INT64_MAX, 0x1p63)
SATURATE(f64_to_i32, double, int32_t, INT32_MIN, INT32_MAX, 0x1p31)
SATURATE(f64_to_i8, double, int8_t, INT8_MIN, INT8_MAX, 128)
SATURATE(f64_to_u8, double, uint8_t, 0, UINT8_MAX, 256)

#define STORED_F32 float
#define STORED_F64 double
#define STORED_F16 uint16_t
#define STORED_BF16 uint16_t
#define STORED_I64 int64_t
#define STORED_I32 int32_t
#define STORED_I8 int8_t
#define STORED_U8 uint8_t
#define STORED_BOOL uint8_t

#define COMPUTED_F32 float
#define COMPUTED_F64 double
#define COMPUTED_I64 int64_t

#define IN_F32_F32(x) (x)
#define IN_F32_F64(x) ((float)(x))
#define IN_F32_BF16(x) pw_from_bf16(x)
#define IN_F32_I64(x) ((float)(x))
#define IN_F32_I32(x) ((float)(x))
#define IN_F32_I8(x) ((float)(x))
#define IN_F32_U8(x) ((float)(x))
#define IN_F32_BOOL(x) ((float)(x))
#define IN_F64_F32(x) ((double)(x))
#define IN_F64_F64(x) (x)
#define IN_F64_BF16(x) ((double)pw_from_bf16(x))
#define IN_F64_I64(x) ((double)(x))
#define IN_F64_I32(x) ((double)(x))
#define IN_F64_I8(x) ((double)(x))
#define IN_F64_U8(x) ((double)(x))
#define IN_F64_BOOL(x) ((double)(x))
#define IN_I64_F32(x) f32_to_i64(x)
#define IN_I64_F64(x) f64_to_i64(x)
#define IN_I64_BF16(x) f32_to_i64(pw_from_bf16(x))
#define IN_I64_I64(x) (x)
#define IN_I64_I32(x) ((int64_t)(x))
#define IN_I64_I8(x) ((int64_t)(x))
#define IN_I64_U8(x) ((int64_t)(x))
#define IN_I64_BOOL(x) ((int64_t)(x))

#define OUT_F32_F32(x) (x)
#define OUT_F32_F64(x) ((double)(x))
#define OUT_F32_BF16(x) pw_to_bf16(x)
#define OUT_F32_I64(x) f32_to_i64(x)
#define OUT_F32_I32(x) f32_to_i32(x)
#define OUT_F32_I8(x) f32_to_i8(x)
#define OUT_F32_U8(x) f32_to_u8(x)
#define OUT_F32_BOOL(x) ((x) != 0)
#define OUT_F64_F32(x) ((float)(x))
#define OUT_F64_F64(x) (x)
#define OUT_F64_I64(x) f64_to_i64(x)
#define OUT_F64_I32(x) f64_to_i32(x)
#define OUT_F64_I8(x) f64_to_i8(x)
#define OUT_F64_U8(x) f64_to_u8(x)
#define OUT_F64_BOOL(x) ((x) != 0)
#define OUT_I64_F32(x) ((float)(x))
#define OUT_I64_F64(x) ((double)(x))
#define OUT_I64_I64(x) (x)
#define OUT_I64_I32(x) ((int32_t)(x))
#define OUT_I64_I8(x) ((int8_t)(x))
#define OUT_I64_U8(x) ((uint8_t)(x))
#define OUT_I64_BOOL(x) ((x) != 0)

/* ---- load, store ------------------------------------------------------------------- */

#define LOAD(CT, DT)                                                                     \
    static void load_##CT##_##DT(int64_t rows, int64_t cols, void *block,                \
                                 const void *src, int64_t row, int64_t col)              \
    {                                                                                    \
        COMPUTED_##CT *restrict d = block;                                               \
        for (int64_t r = 0; r < rows; r++, d += cols) {                                  \
            const STORED_##DT *restrict p = (const STORED_##DT *)src + r * row;          \
            if (col == 1) {                                                              \
                for (int64_t c = 0; c < cols; c++) d[c] = IN_##CT##_##DT(p[c]);          \
            } else if (col == 0) {                                                       \
                COMPUTED_##CT v = IN_##CT##_##DT(*p);                                    \
                for (int64_t c = 0; c < cols; c++) d[c] = v;                             \
            } else {                                                                     \
                for (int64_t c = 0; c < cols; c++) d[c] = IN_##CT##_##DT(p[c * col]);    \
            }                                                                            \
        }                                                                                \
    }

#define STORE(CT, DT)                                                                    \
    static void store_##CT##_##DT(int64_t rows, int64_t cols, void *dst, int64_t row,    \
                                  int64_t col, const void *block)                        \
    {                                                                                    \
        const COMPUTED_##CT *restrict p = block;                                         \
        for (int64_t r = 0; r < rows; r++, p += cols) {                                  \
            STORED_##DT *restrict d = (STORED_##DT *)dst + r * row;                      \
            if (col == 1) {                                                              \
                for (int64_t c = 0; c < cols; c++) d[c] = OUT_##CT##_##DT(p[c]);         \
            } else {                                                                     \
                for (int64_t c = 0; c < cols; c++) d[c * col] = OUT_##CT##_##DT(p[c]);   \
            }                                                                            \
        }                                                                                \
    }

#define EVERY_DTYPE_BUT_HALVES(DO, CT)                                                   \
    DO(CT, F32)                                                                          \
    DO(CT, F64) DO(CT, I64) DO(CT, I32) DO(CT, I8) DO(CT, U8) DO(CT, BOOL)
#define EVERY_DTYPE_BUT_F16(DO, CT) EVERY_DTYPE_BUT_HALVES(DO, CT) DO(CT, BF16)
EVERY_DTYPE_BUT_F16(LOAD, F32)
EVERY_DTYPE_BUT_F16(LOAD, F64)
EVERY_DTYPE_BUT_F16(LOAD, I64)
EVERY_DTYPE_BUT_F16(STORE, F32)
EVERY_DTYPE_BUT_HALVES(STORE, F64)
EVERY_DTYPE_BUT_HALVES(STORE, I64)

static void load_F32_F16(int64_t rows, int64_t cols, void *block, const void *src,
                         int64_t row, int64_t col)
{
    float *d = block;
    for (int64_t r = 0; r < rows; r++, d += cols) {
        const uint16_t *p = (const uint16_t *)src + r * row;
        if (col == 1)
            f16_to_f32(p, d, cols);
        else
            for (int64_t c = 0; c < cols; c++) d[c] = pw_from_f16(p[c * col]);
    }
}

static void store_F32_F16(int64_t rows, int64_t cols, void *dst, int64_t row, int64_t col,
                          const void *block)
{
    const float *p = block;
    for (int64_t r = 0; r < rows; r++, p += cols) {
        uint16_t *d = (uint16_t *)dst + r * row;
        if (col == 1)
            f32_to_f16(p, d, cols);
        else
            for (int64_t c = 0; c < cols; c++) d[c * col] = pw_to_f16(p[c]);
    }
}

/* ---- f64 and i64 from f16 and to halves, a piece of floats at a time ------------------ */

enum { PIECE = 256 };

#define LOAD_F16(CT)                                                                     \
    static void load_##CT##_F16(int64_t rows, int64_t cols, void *block,                 \
                                const void *src, int64_t row, int64_t col)               \
    {                                                                                    \
        float piece[PIECE];                                                              \
        COMPUTED_##CT *d = block;                                                        \
        for (int64_t r = 0; r < rows; r++, d += cols)                                    \
            for (int64_t at = 0; at < cols; at += PIECE) {                               \
                int64_t n = cols - at < PIECE ? cols - at : PIECE;                       \
                const uint16_t *p = (const uint16_t *)src + r * row + at * col;          \
                load_F32_F16(1, n, piece, p, 0, col);                                    \
                load_##CT##_F32(1, n, d + at, piece, 0, 1);                              \
            }                                                                            \
    }
LOAD_F16(F64)
LOAD_F16(I64)

/* Returns whether there are tiny numbers, which do not pass through a piece as a bf16 wants
 * them: sign bits say so, which makes vectors. */
static bool odd_F64(const double *restrict p, int64_t n, float *restrict piece)
{
    const int64_t least = (int64_t)pw_bits64(0x1p-126);
    int64_t tiny = 0;
    for (int64_t c = 0; c < n; c++) {
        const int64_t magnitude = (int64_t)pw_bits64(p[c]) & INT64_MAX;
        tiny |= (magnitude - least) & -magnitude;
        piece[c] = pw_odd_f64(p[c]);
    }
    return tiny < 0;
}

/* Most integers are short enough for an f32. */
static bool odd_I64(const int64_t *restrict p, int64_t n, float *restrict piece)
{
    const int64_t limit = 1 << 24;
    int64_t far = 0;
    for (int64_t c = 0; c < n; c++) far |= (p[c] + limit) & -(2 * limit);
    if (far == 0)
        for (int64_t c = 0; c < n; c++) piece[c] = (float)(int32_t)p[c];
    else
        for (int64_t c = 0; c < n; c++) piece[c] = pw_odd_i64(p[c]);
    return false;
}

static void mend_F64_BF16(const double *p, int64_t n, uint16_t *d, int64_t col)
{
    for (int64_t c = 0; c < n; c++)
        if (pw_is_tiny(p[c])) d[c * col] = pw_tiny_bf16(p[c]);
}
#define mend_F64_F16(p, n, d, col) (void)0
#define mend_I64_F16(p, n, d, col) (void)0
#define mend_I64_BF16(p, n, d, col) (void)0

#define STORE_HALF(CT, DT)                                                               \
    static void store_##CT##_##DT(int64_t rows, int64_t cols, void *dst, int64_t row,    \
                                  int64_t col, const void *block)                        \
    {                                                                                    \
        float piece[PIECE];                                                              \
        const COMPUTED_##CT *p = block;                                                  \
        for (int64_t r = 0; r < rows; r++, p += cols)                                    \
            for (int64_t at = 0; at < cols; at += PIECE) {                               \
                int64_t n = cols - at < PIECE ? cols - at : PIECE;                       \
                uint16_t *d = (uint16_t *)dst + r * row + at * col;                      \
                bool tiny = odd_##CT(p + at, n, piece);                                  \
                store_F32_##DT(1, n, d, 0, col, piece);                                  \
                if (tiny) mend_##CT##_##DT(p + at, n, d, col);                           \
            }                                                                            \
    }
STORE_HALF(F64, F16)
STORE_HALF(F64, BF16)
STORE_HALF(I64, F16)
STORE_HALF(I64, BF16)

/* ---- move -------------------------------------------------------------------------- */

#define MOVE(NAME, T)                                                                    \
    static void NAME(int64_t rows, int64_t cols, void *dst, int64_t dst_row,             \
                     int64_t dst_col, const void *src, int64_t src_row, int64_t src_col) \
    {                                                                                    \
        for (int64_t r = 0; r < rows; r++) {                                             \
            T *restrict d = (T *)dst + r * dst_row;                                      \
            const T *restrict p = (const T *)src + r * src_row;                          \
            if (dst_col == 1 && src_col == 1) {                                          \
                for (int64_t c = 0; c < cols; c++) d[c] = p[c];                          \
            } else if (dst_col == 1 && src_col == 0) {                                   \
                T v = *p;                                                                \
                for (int64_t c = 0; c < cols; c++) d[c] = v;                             \
            } else {                                                                     \
                for (int64_t c = 0; c < cols; c++) d[c * dst_col] = p[c * src_col];      \
            }                                                                            \
        }                                                                                \
    }
MOVE(move1, uint8_t)
MOVE(move2, uint16_t)
MOVE(move4, uint32_t)
MOVE(move8, uint64_t)

/* ---- table ------------------------------------------------------------------------- */

#define EVERY_DTYPE(DO, CT)                                                              \
    {                                                                                    \
        [REEL_F32] = DO##_##CT##_F32, [REEL_F64] = DO##_##CT##_F64,                      \
        [REEL_F16] = DO##_##CT##_F16, [REEL_BF16] = DO##_##CT##_BF16,                    \
        [REEL_I64] = DO##_##CT##_I64, [REEL_I32] = DO##_##CT##_I32,                      \
        [REEL_I8] = DO##_##CT##_I8, [REEL_U8] = DO##_##CT##_U8,                          \
        [REEL_BOOL] = DO##_##CT##_BOOL                                                   \
    }

REEL_ISA_DECLARE(reel__elem_rows, elem_rows);
const reel__elem_rows ISA(elem_rows) = {
    .load = {EVERY_DTYPE(load, F32), EVERY_DTYPE(load, F64), EVERY_DTYPE(load, I64)},
    .store = {EVERY_DTYPE(store, F32), EVERY_DTYPE(store, F64), EVERY_DTYPE(store, I64)},
    .move = {[1] = move1, [2] = move2, [4] = move4, [8] = move8},
    .f16_to_f32 = f16_to_f32,
    .f32_to_f16 = f32_to_f16,
    .bf16_to_f32 = bf16_to_f32,
    .f32_to_bf16 = f32_to_bf16,
};
