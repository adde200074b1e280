/* reduce.c: inner loops of SUM, VAR, NORM, AMAX, AMIN, ANY and ALL (see reduce.h). */
#include "backend/cpu/isa/reduce.h"

#include <string.h>

#include "backend/cpu/usual.h"

/* Vectors that a block of a row sums in its own type: each of the four partial results
 * adds 16 of them, so that f32 loses less than 20 roundings for any length. */
#define BLOCK_VECTORS 64

typedef double vd __attribute__((vector_size(REEL_VW * 4)));
typedef double vdu __attribute__((vector_size(REEL_VW * 4), aligned(8), may_alias));
typedef int64_t vl __attribute__((vector_size(REEL_VW * 4)));
/* As many floats as a vector has doubles. */
typedef float vhu __attribute__((vector_size(REEL_VW * 2), aligned(4), may_alias));

#define TERM_SELF(x, m) (x)
#define TERM_DEV(x, m) ((x) - (m))
#define TERM_SQDEV(x, m) (((x) - (m)) * ((x) - (m)))
#define TERM_SQUARES(x, m) (((x) * (m)) * ((x) * (m)))
#define JOIN_ADD(a, b) ((a) + (b))
static inline double max_total(double a, double b)
{
    return ((b > a) | (b != b)) ? b : a;
}
static inline double min_total(double a, double b)
{
    return ((b < a) | (b != b)) ? b : a;
}

#define E float
#define T float
#define V reel_vf
#define VM reel_vi
#define LOAD(p) reel_vload(p)
#define NAME(x) x##_f32
#define EXTREMES
#include "backend/cpu/isa/reduce_float.inc"

#define E double
#define T double
#define V vd
#define VM vl
#define LOAD(p) (*(const vdu *)(p))
#define NAME(x) x##_f64
#define SQUARES
#define EXTREMES
#include "backend/cpu/isa/reduce_float.inc"

/* f32 in f64 arithmetic, where nothing overflows and no square vanishes. */
#define E float
#define T double
#define V vd
#define VM vl
#define LOAD(p) __builtin_convertvector(*(const vhu *)(p), vd)
#define NAME(x) x##_wide
#define SQUARES
#include "backend/cpu/isa/reduce_float.inc"

/* ---- integers: exact in any order, so plain loops that the compiler vectorizes ---- */

#define TERM_INT(x, zero) ((int64_t)(x))
#define TERM_TRUTH(x, bits) ((int64_t)(((x) & (bits)) != 0))
#define JOIN_MAX(a, b) ((b) > (a) ? (b) : (a))
#define JOIN_MIN(a, b) ((b) < (a) ? (b) : (a))
#define JOIN_OR(a, b) ((a) | (b))
#define JOIN_AND(a, b) ((a) & (b))
/* Sums wrap around, as they do everywhere else, instead of being undefined. */
#define JOIN_WRAP(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))

#define DEFINE_INT(op, type, name, TERM, bits, JOIN)                                     \
    static void op##_rows_##name(const void *p, int64_t rows, int64_t step, int64_t n,   \
                                 const double *shift, reel__acc *acc)                    \
    {                                                                                    \
        const type *x = p;                                                               \
        (void)shift;                                                                     \
        for (int64_t r = 0; r < rows; r++, x += step) {                                  \
            int64_t total = acc[r].i;                                                    \
            for (int64_t i = 0; i < n; i++) total = JOIN(total, TERM(x[i], bits));       \
            acc[r].i = total;                                                            \
        }                                                                                \
    }                                                                                    \
    static void op##_cols_##name(const void *p, int64_t rows, int64_t step, int64_t n,   \
                                 const double *shift, reel__acc *acc)                    \
    {                                                                                    \
        const type *restrict x = p;                                                      \
        int64_t *restrict total = &acc->i;                                               \
        (void)shift;                                                                     \
        for (int64_t r = 0; r < rows; r++, x += step)                                    \
            for (int64_t j = 0; j < n; j++) total[j] = JOIN(total[j], TERM(x[j], bits)); \
    }

#define DEFINE_INT_OPS(type, name)                                                       \
    DEFINE_INT(sum, type, name, TERM_INT, 0, JOIN_WRAP)                                  \
    DEFINE_INT(amax, type, name, TERM_INT, 0, JOIN_MAX)                                  \
    DEFINE_INT(amin, type, name, TERM_INT, 0, JOIN_MIN)
DEFINE_INT_OPS(int64_t, i64)
DEFINE_INT_OPS(int32_t, i32)
DEFINE_INT_OPS(int8_t, i8)
DEFINE_INT_OPS(uint8_t, u8)

/* Truth of any dtype is a matter of bits: all but the sign of a floating zero. */
typedef uint8_t bits8 __attribute__((may_alias));
typedef uint16_t bits16 __attribute__((may_alias));
typedef uint32_t bits32 __attribute__((may_alias));
typedef uint64_t bits64 __attribute__((may_alias));
#define DEFINE_TRUTH(type, name, bits)                                                   \
    DEFINE_INT(any, type, name, TERM_TRUTH, bits, JOIN_OR)                               \
    DEFINE_INT(all, type, name, TERM_TRUTH, bits, JOIN_AND)
DEFINE_TRUTH(bits8, w8, 0xff)
DEFINE_TRUTH(bits32, w32, 0xffffffff)
DEFINE_TRUTH(bits64, w64, UINT64_MAX)
DEFINE_TRUTH(bits16, half, 0x7fff)
DEFINE_TRUTH(bits32, f32, 0x7fffffff)
DEFINE_TRUTH(bits64, f64, INT64_MAX)

/* ---- between sweeps ---------------------------------------------------------------- */

static bool all_finite(const double *sum, int64_t n)
{
    return reel__all_finite(sum, n);
}

static void add_means(const double *restrict sum, double length, int64_t n,
                      double *restrict shift)
{
    for (int64_t j = 0; j < n; j++) shift[j] += sum[j] / length;
}

static void take_rounding(const double *restrict shift, double length, int64_t n,
                          double *restrict sum)
{
    for (int64_t j = 0; j < n; j++) {
        const double off = shift[j] - (double)(float)shift[j];
        const double left = sum[j] - length * off * off;
        sum[j] = left < 0 ? 0 : left;
    }
}

#define FNS(op, type)                                                                    \
    {                                                                                    \
        op##_rows_##type, op##_cols_##type                                               \
    }
#define ARITHMETIC(op)                                                                   \
    [REEL_F32] = FNS(op, f32), [REEL_F64] = FNS(op, f64), [REEL_I64] = FNS(op, i64),     \
    [REEL_I32] = FNS(op, i32), [REEL_I8] = FNS(op, i8), [REEL_U8] = FNS(op, u8),         \
    [REEL_BOOL] = FNS(op, u8)
#define TRUTH(op)                                                                        \
    [REEL_F32] = FNS(op, f32), [REEL_F64] = FNS(op, f64), [REEL_F16] = FNS(op, half),    \
    [REEL_BF16] = FNS(op, half), [REEL_I64] = FNS(op, w64), [REEL_I32] = FNS(op, w32),   \
    [REEL_I8] = FNS(op, w8), [REEL_U8] = FNS(op, w8), [REEL_BOOL] = FNS(op, w8)

const reel__reduce_table ISA(reduce) = {
    .fn =
        {
            [REEL_REDUCE_SUM] = {ARITHMETIC(sum)},
            [REEL_REDUCE_DEV] = {[REEL_F32] = FNS(dev, f32), [REEL_F64] = FNS(dev, f64)},
            [REEL_REDUCE_SQDEV] =
                {[REEL_F32] = FNS(sqdev, f32), [REEL_F64] = FNS(sqdev, f64)},
            [REEL_REDUCE_SQUARES] =
                {[REEL_F32] = FNS(squares, wide), [REEL_F64] = FNS(squares, f64)},
            [REEL_REDUCE_AMAX] = {ARITHMETIC(amax)},
            [REEL_REDUCE_AMIN] = {ARITHMETIC(amin)},
            [REEL_REDUCE_ANY] = {TRUTH(any)},
            [REEL_REDUCE_ALL] = {TRUTH(all)},
        },
    .wide =
        {
            [REEL_REDUCE_SUM] = FNS(sum, wide),
            [REEL_REDUCE_DEV] = FNS(dev, wide),
            [REEL_REDUCE_SQDEV] = FNS(sqdev, wide),
        },
    .finite = all_finite,
    .add_means = add_means,
    .take_rounding = take_rounding};
