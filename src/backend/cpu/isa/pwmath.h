/* pwmath.h: elementary functions in f32 for loops that a compiler vectorizes: no
 * branches, no tables, no calls. Errors stay below 3 units in the last place over the
 * whole range (tests: test_pointwise.c); NaN, infinities, signed zeros and denormals come
 * out as in libm.
 *
 * Polynomials are minimax fits (Remez exchange, weighted for the relative error of the
 * function that uses them), rounded to f32. The reductions are the classic ones: Cody &
 * Waite, "Software Manual for the Elementary Functions", 1980; Muller, "Elementary
 * Functions", 2016. */
#ifndef REEL_CPU_ISA_PWMATH_H
#define REEL_CPU_ISA_PWMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A choice that compilers turn into a blend: both sides are computed. */
#define SEL(c, a, b) ((c) ? (a) : (b))
#define BETWEEN(x, low, high) SEL((x) < (low), (low), SEL((x) > (high), (high), (x)))

/* a * b + c, rounded once where the processor can. Said explicitly, so that an element's
 * result is the same in the vector loop and in its remainder. */
#if defined(__FMA__) || defined(__aarch64__)
#define MADD(a, b, c) __builtin_fmaf(a, b, c)
#else
#define MADD(a, b, c) ((a) * (b) + (c))
#endif

static inline uint32_t pw_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float pw_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* 2^k, -126 <= k <= 127. */
static inline float pw_pow2(int32_t k)
{
    return pw_float((uint32_t)(k + 127) << 23);
}

/* Adding it rounds to the nearest integer, which then stands in the low bits. */
#define ROUND_MAGIC 0x1.8p23f
#define LOG2_E 0x1.715476p+0f
/* ln 2 in two: the first part times any exponent is exact. */
#define LN2_HI 0x1.63p-1f
#define LN2_LO -0x1.bd0106p-13f

/* ---- rounding: without SSE4.1 there is no instruction for it ----------------------- */

#if defined(__x86_64__) && !defined(__SSE4_1__)
static inline float pw_rint(float x)
{
    float magic = copysignf(0x1p23f, x);
    float r = copysignf((x + magic) - magic, x);
    return SEL(fabsf(x) < 0x1p23f, r, x);
}
static inline float pw_floor(float x)
{
    float r = pw_rint(x);
    return copysignf(SEL(r > x, r - 1, r), x);
}
static inline float pw_ceil(float x)
{
    float r = pw_rint(x);
    return copysignf(SEL(r < x, r + 1, r), x);
}
#else
static inline float pw_rint(float x)
{
    return __builtin_rintf(x);
}
static inline float pw_floor(float x)
{
    return __builtin_floorf(x);
}
static inline float pw_ceil(float x)
{
    return __builtin_ceilf(x);
}
#endif

/* ---- exp, expm1: x = k ln 2 + r, |r| <= ln 2 / 2 ----------------------------------- */

/* exp(r) - 1 */
static inline float pw_expm1_reduced(float r)
{
    float q = 1.394654741e-03f;
    q = MADD(q, r, 8.366643451e-03f);
    q = MADD(q, r, 4.166628048e-02f);
    q = MADD(q, r, 1.666654199e-01f);
    q = MADD(q, r, 0.5f);
    return MADD(r * r, q, r);
}

/* Sets k and returns r. A NaN gives NaN and any k. */
static inline float pw_exp_reduce(float x, int32_t *k)
{
    float n = MADD(x, LOG2_E, ROUND_MAGIC);
    *k = (int32_t)(pw_bits(n) - pw_bits(ROUND_MAGIC));
    n -= ROUND_MAGIC;
    return MADD(n, -LN2_LO, MADD(n, -LN2_HI, x));
}

/* Where the result is a normal number: -87 <= x <= 88, or NaN. */
static inline float pw_exp_normal(float x)
{
    int32_t k;
    float r = pw_exp_reduce(x, &k);
    return (1 + pw_expm1_reduced(r)) * pw_float((uint32_t)(k + 127) << 23);
}

/* Scaled in two steps, whose product overflows, or rounds to a denormal, as it should. */
static inline float pw_exp(float x)
{
    int32_t k;
    float c = SEL(x > 89, 89, x);
    c = SEL(c < -104, -104, c);
    float r = pw_exp_reduce(c, &k);
    int32_t half = k >> 1;
    return (1 + pw_expm1_reduced(r)) * pw_pow2(half) * pw_pow2(k - half);
}

/* exp(x) - 1 = 2 (t p + (t - 1/2)), t = 2^(k-1), p = exp(r) - 1. */
static inline float pw_expm1(float x)
{
    int32_t k;
    float c = SEL(x > 89, 89, x);
    c = SEL(c < -30, -30, c);
    float p = pw_expm1_reduced(pw_exp_reduce(c, &k));
    float t = pw_pow2(k - 1);
    float y = 2 * MADD(t, p, t - 0.5f);
    return SEL(fabsf(x) < 0x1p-25f, x, y); /* keeps -0 */
}

/* ---- log, log1p: x = 2^e m, 2/3 <= m < 4/3, f = m - 1 ------------------------------ */

#define TWO_THIRDS_BITS 0x3f2aaaabu

/* e ln 2 + log(1 + f) */
static inline float pw_log_reduced(float f, float e)
{
    float p = -1.319175512e-01f;
    p = MADD(p, f, 1.396241188e-01f);
    p = MADD(p, f, -1.211510301e-01f);
    p = MADD(p, f, 1.401092708e-01f);
    p = MADD(p, f, -1.668546796e-01f);
    p = MADD(p, f, 2.001004368e-01f);
    p = MADD(p, f, -2.499968857e-01f);
    p = MADD(p, f, 3.333322406e-01f);
    float z = f * f;
    float y = MADD(e, LN2_LO, z * f * p);
    y = MADD(z, -0.5f, y) + f;
    return MADD(e, LN2_HI, y);
}

/* e for bits u of a positive normal number */
static inline int32_t pw_log_exponent(uint32_t u)
{
    return (int32_t)(u - TWO_THIRDS_BITS) >> 23;
}

static inline float pw_log(float x)
{
    float scaled = SEL(x < 0x1p-126f, x * 0x1p23f, x); /* denormals */
    uint32_t u = pw_bits(scaled);
    int32_t e = pw_log_exponent(u);
    float f = pw_float(u - ((uint32_t)e << 23)) - 1;
    float y = pw_log_reduced(f, (float)(e - SEL(x < 0x1p-126f, 23, 0)));
    y = SEL(x < INFINITY, y, x);
    return SEL(x > 0, y, SEL(x == 0, -INFINITY, NAN));
}

/* 1 + x = u + low exactly; low goes into f. */
static inline float pw_log1p(float x)
{
    float s = 1 + x;
    float low = SEL(x > 1, 1 - (s - x), x - (s - 1));
    uint32_t u = pw_bits(s);
    int32_t e = pw_log_exponent(u);
    float unscale = pw_float((uint32_t)(127 - SEL(e > 127, 127, e)) << 23);
    float f = pw_float(u - ((uint32_t)e << 23)) - 1 + low * unscale;
    float y = pw_log_reduced(f, (float)e);
    y = SEL(x < INFINITY, y, x);
    y = SEL(s > 0, y, SEL(x == -1, -INFINITY, NAN));
    return SEL(x == 0, x, y); /* keeps -0 */
}

/* ---- sin, cos ---------------------------------------------------------------------- */

/* Up to here pw_sin() and pw_cos() hold; libm has to take what is beyond. */
#define PW_TRIG_MAX 1e5f

/* x = j pi/2 + r with |r| <= pi/4, in f64: the products with j < 2^20 are exact for the
 * first 33 bits of pi/2, and r near a multiple of pi keeps all its bits. */
static inline float pw_trig_reduce(float x, uint32_t *j)
{
    double n = ((double)x * 0x1.45f306dc9c883p-1 + 0x1.8p52) - 0x1.8p52;
    *j = (uint32_t)(int32_t)n;
    return (float)(((double)x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34);
}

/* sin(r + j pi/2) */
static inline float pw_trig(float r, uint32_t j)
{
    float z = r * r;
    float s = -1.951665763e-04f;
    s = MADD(s, z, 8.332173340e-03f);
    s = MADD(s, z, -1.666665524e-01f);
    s = MADD(s, z * r, r);
    float c = 2.443241465e-05f;
    c = MADD(c, z, -1.388730947e-03f);
    c = MADD(c, z, 4.166664556e-02f);
    c = MADD(c, z * z, MADD(z, -0.5f, 1));
    float y = SEL((j & 1) != 0, c, s);
    return pw_float(pw_bits(y) ^ (j & 2) << 30);
}

static inline float pw_sin(float x)
{
    uint32_t j;
    float r = pw_trig_reduce(x, &j);
    float y = pw_trig(r, j);
    return SEL(fabsf(x) < 0x1p-12f, x, y); /* keeps -0 */
}

static inline float pw_cos(float x)
{
    uint32_t j;
    float r = pw_trig_reduce(x, &j);
    return pw_trig(r, j + 1);
}

/* ---- tanh, sigmoid ----------------------------------------------------------------- */

/* From e = exp(-2|x|) - 1: -e / (2 + e), accurate near 0 too. Beyond 10 it is 1. */
static inline float pw_tanh(float x)
{
    float a = fabsf(x);
    float e = pw_expm1(-2 * SEL(a > 10, 10, a));
    return copysignf(e / (2 + e), x);
}

/* From exp(-|x|), which cannot overflow. */
static inline float pw_sigmoid(float x)
{
    float e = pw_exp(-fabsf(x));
    return SEL(x < 0, e, 1) / (1 + e);
}

/* ---- erf and the normal distribution function -------------------------------------- */

/* Below 0.92 an odd polynomial; above 1 - exp(q), q fitted to log(erfc). It is 1
 * beyond 4. */
static inline float pw_erf(float x)
{
    float a = fabsf(x), z = a * a;
    float p = -5.953756627e-04f;
    p = MADD(p, z, 4.985943437e-03f);
    p = MADD(p, z, -2.676172182e-02f);
    p = MADD(p, z, 1.128168255e-01f);
    p = MADD(p, z, -3.761247993e-01f);
    p = MADD(p, z, 1.283791512e-01f);
    float small = MADD(p, a, a);
    float b = SEL(a > 4, 4, a);
    float q = 1.982160611e-04f;
    q = MADD(q, b, -3.065456636e-03f);
    q = MADD(q, b, 2.231508493e-02f);
    q = MADD(q, b, -1.041134298e-01f);
    q = MADD(q, b, -6.369763613e-01f);
    q = MADD(q, b, -1.127797127e+00f);
    q = MADD(q, b, -1.664825541e-04f);
    float large = 1 - pw_exp_normal(q);
    return copysignf(SEL(a < 0.92f, small, large), x);
}

/* Phi(x) = (1 + erf(x / sqrt 2)) / 2 without its cancellation for negative x. Below 1.2
 * it is 1/2 and an odd polynomial; above Phi(-a) = exp(-a^2 / 2) R(1 / (1 + 0.3 a)),
 * after Abramowitz & Stegun 26.2.17. The error of the tail grows with the rounding of
 * a^2. */
static inline float pw_normcdf(float x)
{
    float a = fabsf(x), z = x * x;
    float q = -6.714441042e-06f;
    q = MADD(q, z, 1.105465126e-04f);
    q = MADD(q, z, -1.182928798e-03f);
    q = MADD(q, z, 9.971564636e-03f);
    q = MADD(q, z, -6.648997962e-02f);
    q = MADD(q, z, 3.989422619e-01f);
    float t = 1 / MADD(0.3f, a, 1);
    float p = -8.579248190e-02f;
    p = MADD(p, t, 2.455705702e-01f);
    p = MADD(p, t, -5.616823211e-02f);
    p = MADD(p, t, 1.702052504e-01f);
    p = MADD(p, t, 1.046794355e-01f);
    p = MADD(p, t, 1.216454506e-01f);
    p = MADD(p, t, -1.060130016e-04f);
    float tail = p * pw_exp(-0.5f * x * x);
    return SEL(a < 1.2f, MADD(q, x, 0.5f), SEL(x > 0, 1 - tail, tail));
}

#endif
