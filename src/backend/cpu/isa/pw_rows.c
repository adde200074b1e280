/* pw_rows.c: every pointwise row of kernel.def as a loop over contiguous blocks, in each
 * compute type that the row has. f32 is vectorized by the compiler (pwmath.h), f64 calls
 * libm, integers are computed in i64. */
/* Products and sums are fused only where MADD says so: left to the compiler, it would
 * choose differently for the vector loop and for its remainder. */
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

#include "backend/cpu/isa/isa.h"
#include "backend/cpu/isa/pwmath.h"
#include "backend/cpu/elem.h"
#include "backend/cpu/pw.h"

/* An output that is an input exactly carries no dependence from one element to the next;
 * compilers must be told, or they check for overlap and take the scalar loop. */
#if defined(__clang__)
#define NO_DEPENDENCE _Pragma("clang loop vectorize(assume_safety)")
/* Rows that call libm cannot be vectorized, and clang warns of a broken promise. */
#pragma clang diagnostic ignored "-Wpass-failed"
#else
#define NO_DEPENDENCE _Pragma("GCC ivdep")
#endif

/* Integers of reel wrap around, as everywhere in its kin. */
#define WRAPS __attribute__((no_sanitize("signed-integer-overflow")))

#define OUT_SAME(T) T
#define OUT_BOOL(T) uint8_t
/* The driver converts what is stored in another dtype. */
#define OUT_AS1(T) T
#define OUT_AS2(T) T

#define ROW(NAME, T, ATTR, n_in, OUT, ...)                                               \
    WRAPS static void NAME(int64_t n, const void *const x[3], void *y,                   \
                           const reel__number a[2])                                      \
    {                                                                                    \
        const T *p0 = x[0], *p1 = (n_in) > 1 ? x[1] : p0, *p2 = (n_in) > 2 ? x[2] : p0;  \
        const T a0 = ATTR(a[0]), a1 = ATTR(a[1]);                                        \
        OUT *q = y;                                                                      \
        (void)a0, (void)a1;                                                              \
        NO_DEPENDENCE                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                \
            const T x0 = p0[i], x1 = p1[i], x2 = p2[i];                                  \
            (void)x1, (void)x2;                                                          \
            q[i] = (OUT)(__VA_ARGS__);                                                   \
        }                                                                                \
    }
#define KERNEL(ID, name, cpu, takes)

/* ---- f32 --------------------------------------------------------------------------- */

/* libm looks at bits, and would see a denormal where arithmetic, which flushes it, sees 0. Of y,
 * where the sign of a zero does not count, an addition is enough. */
static inline float pow_f32(float x, float y)
{
    return powf(SEL(x == 0, copysignf(0, x), x), y + 0);
}

/* The sign of y: what fmod leaves, and y more where its sign is x's alone. */
static inline float remainder_f32(float x, float y)
{
    float r = fmodf(x, y);
    return SEL((r != 0) & ((r < 0) != (y < 0)), r + y, r);
}

/* Of the exact quotient: x less what is left is a multiple of y. */
static inline float div_floor_f32(float x, float y)
{
    float r = fmodf(x, y), q = pw_rint((x - r) / y);
    return SEL(y == 0, x / y, SEL((r != 0) & ((r < 0) != (y < 0)), q - 1, q));
}

#define C(x) ((float)(x))
#define EXPF pw_exp
#define LOGF pw_log
#define LOG1PF pw_log1p
#define EXPM1F pw_expm1
#define SQRTF sqrtf
#define SINF pw_sin
#define COSF pw_cos
#define TANHF pw_tanh
#define ERFF pw_erf
#define NORMCDFF pw_normcdf
#define SIGMOIDF pw_sigmoid
#define POWF pow_f32
#define ABSF fabsf
#define FLOORF pw_floor
#define CEILF pw_ceil
#define RINTF pw_rint
#define DIVTRUNCF(x, y) truncf((x) / (y))
#define DIVFLOORF div_floor_f32
#define FMODF fmodf
#define REMAINDERF remainder_f32

#define ROW_F(ID, n_in, out, ...)                                                        \
    ROW(f32_##ID, float, (float)reel__number_f64, n_in, OUT_##out(float), __VA_ARGS__)
#define ROW_FI ROW_F
#define ROW_I(ID, n_in, out, ...)
#define PW(ID, n_in, types, out, ...) ROW_##types(ID, n_in, out, __VA_ARGS__)
/* These two hold on a bounded range only; functions below complete them. */
#define f32_SIN bounded_sin
#define f32_COS bounded_cos
#include "backend/kernel.def"
#undef f32_SIN
#undef f32_COS
#undef PW
#undef ROW_F
#undef ROW_FI
#undef ROW_I

/* True if all are within reach of pw_sin(): NaN and infinity are not. */
static bool trig_in_range(int64_t n, const float *x)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = pw_bits(fabsf(x[i]));
        most = u > most ? u : most;
    }
    return most <= pw_bits(PW_TRIG_MAX);
}

#define TRIG_BLOCK 512

#define TRIG_ROW(NAME, BOUNDED, FAST, LIBM)                                              \
    static void NAME(int64_t n, const void *const x[3], void *y,                         \
                     const reel__number a[2])                                            \
    {                                                                                    \
        const float *p = x[0];                                                           \
        float *q = y;                                                                    \
        for (int64_t at = 0; at < n; at += TRIG_BLOCK) {                                 \
            int64_t left = n - at < TRIG_BLOCK ? n - at : TRIG_BLOCK;                    \
            if (trig_in_range(left, p + at)) {                                           \
                BOUNDED(left, (const void *const[3]){p + at, NULL, NULL}, q + at, a);    \
                continue;                                                                \
            }                                                                            \
            for (int64_t i = at; i < at + left; i++)                                     \
                q[i] = fabsf(p[i]) <= PW_TRIG_MAX ? FAST(p[i]) : LIBM(p[i]);             \
        }                                                                                \
    }
TRIG_ROW(f32_SIN, bounded_sin, pw_sin, sinf)
TRIG_ROW(f32_COS, bounded_cos, pw_cos, cosf)

#undef C
#undef EXPF
#undef LOGF
#undef LOG1PF
#undef EXPM1F
#undef SQRTF
#undef SINF
#undef COSF
#undef TANHF
#undef ERFF
#undef NORMCDFF
#undef SIGMOIDF
#undef POWF
#undef ABSF
#undef FLOORF
#undef CEILF
#undef RINTF
#undef DIVTRUNCF
#undef DIVFLOORF
#undef FMODF
#undef REMAINDERF

/* ---- f64 --------------------------------------------------------------------------- */

static inline double pow_f64(double x, double y)
{
    return pow(SEL(x == 0, copysign(0, x), x), y + 0);
}

static inline double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static inline double div_floor_f64(double x, double y)
{
    double r = fmod(x, y), q = rint((x - r) / y);
    return SEL(y == 0, x / y, SEL((r != 0) & ((r < 0) != (y < 0)), q - 1, q));
}

static inline double remainder_f64(double x, double y)
{
    double r = fmod(x, y);
    return SEL((r != 0) & ((r < 0) != (y < 0)), r + y, r);
}

static inline double normcdf(double x)
{
    return 0.5 * erfc(x * -0.70710678118654752440);
}

#define C(x) ((double)(x))
#define EXPF exp
#define LOGF log
#define LOG1PF log1p
#define EXPM1F expm1
#define SQRTF sqrt
#define SINF sin
#define COSF cos
#define TANHF tanh
#define ERFF erf
#define NORMCDFF normcdf
#define SIGMOIDF sigmoid
#define POWF pow_f64
#define ABSF fabs
#define FLOORF floor
#define CEILF ceil
#define RINTF rint
#define DIVTRUNCF(x, y) trunc((x) / (y))
#define DIVFLOORF div_floor_f64
#define FMODF fmod
#define REMAINDERF remainder_f64

#define ROW_F(ID, n_in, out, ...)                                                        \
    ROW(f64_##ID, double, reel__number_f64, n_in, OUT_##out(double), __VA_ARGS__)
#define ROW_FI ROW_F
#define ROW_I(ID, n_in, out, ...)
#define PW(ID, n_in, types, out, ...) ROW_##types(ID, n_in, out, __VA_ARGS__)
#include "backend/kernel.def"
#undef PW
#undef ROW_F
#undef ROW_FI
#undef ROW_I
#undef C
#undef ABSF
#undef DIVTRUNCF
#undef DIVFLOORF
#undef FMODF
#undef REMAINDERF

/* ---- i64 --------------------------------------------------------------------------- */

/* Processors trap at a division by 0, which gives 0 as in NumPy, and at that of the lowest by
 * -1, which wraps. */
WRAPS static inline int64_t div_trunc_i64(int64_t x, int64_t y)
{
    return y == 0 ? 0 : y == -1 ? -x : x / y;
}

static inline int64_t fmod_i64(int64_t x, int64_t y)
{
    return ((y == 0) | (y == -1)) ? 0 : x % y;
}

static inline int64_t div_floor_i64(int64_t x, int64_t y)
{
    int64_t r = fmod_i64(x, y);
    return div_trunc_i64(x, y) - ((r != 0) & ((r < 0) != (y < 0)));
}

static inline int64_t remainder_i64(int64_t x, int64_t y)
{
    int64_t r = fmod_i64(x, y);
    return ((r != 0) & ((r < 0) != (y < 0))) ? r + y : r;
}

#define C(x) ((int64_t)(x))
#define ABSF(x) SEL((x) < 0, -(x), (x))
#define DIVTRUNCF div_trunc_i64
#define DIVFLOORF div_floor_i64
#define FMODF fmod_i64
#define REMAINDERF remainder_i64

#define ROW_F(ID, n_in, out, ...)
#define ROW_FI(ID, n_in, out, ...)                                                       \
    ROW(i64_##ID, int64_t, reel__number_i64, n_in, OUT_##out(int64_t), __VA_ARGS__)
#define ROW_I ROW_FI
#define PW(ID, n_in, types, out, ...) ROW_##types(ID, n_in, out, __VA_ARGS__)
#include "backend/kernel.def"
#undef PW
#undef ROW_F
#undef ROW_FI
#undef ROW_I

/* ---- table ------------------------------------------------------------------------- */

#define TYPES_F(ID)                                                                      \
    {                                                                                    \
        f32_##ID, f64_##ID, NULL                                                         \
    }
#define TYPES_I(ID)                                                                      \
    {                                                                                    \
        NULL, NULL, i64_##ID                                                             \
    }
#define TYPES_FI(ID)                                                                     \
    {                                                                                    \
        f32_##ID, f64_##ID, i64_##ID                                                     \
    }

REEL_ISA_DECLARE(reel__pw_rows, pw_rows);
const reel__pw_rows ISA(pw_rows) = {.row = {
#define PW(ID, n_in, types, out, ...) [K_##ID] = TYPES_##types(ID),
#include "backend/kernel.def"
                                    }};
