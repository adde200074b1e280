/* vmath.h: vector helpers of the row kernels (softmax family, layer norm, attention). */
#ifndef REEL_ISA_VMATH_H
#define REEL_ISA_VMATH_H

#include "backend/cpu/isa/isa.h"

#include <string.h>

#if defined(__SSE__)
#include <immintrin.h>
#endif

/* Lane by lane a > b ? a : b, and a < b ? a : b: so b where either is NaN. The compilers
 * do not find the instruction behind the select. */
#if defined(__AVX512F__)
static inline reel_vf reel_vmax(reel_vf a, reel_vf b)
{
    return (reel_vf)_mm512_max_ps((__m512)a, (__m512)b);
}
static inline reel_vf reel_vmin(reel_vf a, reel_vf b)
{
    return (reel_vf)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif defined(__AVX2__)
static inline reel_vf reel_vmax(reel_vf a, reel_vf b)
{
    return (reel_vf)_mm256_max_ps((__m256)a, (__m256)b);
}
static inline reel_vf reel_vmin(reel_vf a, reel_vf b)
{
    return (reel_vf)_mm256_min_ps((__m256)a, (__m256)b);
}
#elif defined(__SSE__)
static inline reel_vf reel_vmax(reel_vf a, reel_vf b)
{
    return (reel_vf)_mm_max_ps((__m128)a, (__m128)b);
}
static inline reel_vf reel_vmin(reel_vf a, reel_vf b)
{
    return (reel_vf)_mm_min_ps((__m128)a, (__m128)b);
}
#else
static inline reel_vf reel_vmax(reel_vf a, reel_vf b)
{
    reel_vi m = a > b;
    return (reel_vf)((m & (reel_vi)a) | (~m & (reel_vi)b));
}
static inline reel_vf reel_vmin(reel_vf a, reel_vf b)
{
    reel_vi m = a < b;
    return (reel_vf)((m & (reel_vi)a) | (~m & (reel_vi)b));
}
#endif

/* First n < REEL_VW floats at p, zero in the other lanes; and the store of as many. */
#if defined(__AVX512F__)
static inline reel_vf reel_vload_part(const float *p, int64_t n)
{
    return (reel_vf)_mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
}
static inline void reel_vstore_part(float *p, int64_t n, reel_vf v)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), (__m512)v);
}
#elif defined(__AVX2__)
static inline __m256i reel_vlanes(int64_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
static inline reel_vf reel_vload_part(const float *p, int64_t n)
{
    return (reel_vf)_mm256_maskload_ps(p, reel_vlanes(n));
}
static inline void reel_vstore_part(float *p, int64_t n, reel_vf v)
{
    _mm256_maskstore_ps(p, reel_vlanes(n), (__m256)v);
}
#else
static inline reel_vf reel_vload_part(const float *p, int64_t n)
{
    float lane[REEL_VW] = {0};
    memcpy(lane, p, (size_t)n * sizeof *p);
    return reel_vload(lane);
}
static inline void reel_vstore_part(float *p, int64_t n, reel_vf v)
{
    float lane[REEL_VW];
    reel_vstore(lane, v);
    memcpy(p, lane, (size_t)n * sizeof *p);
}
#endif

/* a in the first n lanes, b in the others. */
static inline reel_vf reel_vfirst(int64_t n, reel_vf a, reel_vf b)
{
    reel_vi lane = {0};
    for (int i = 0; i < REEL_VW; i++) lane[i] = i;
    reel_vi m = lane < (int32_t)n;
    return (reel_vf)((m & (reel_vi)a) | (~m & (reel_vi)b));
}

/* Whether a lane is NaN. */
static inline bool reel_vany_nan(reel_vf v)
{
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, (__m256)v, _CMP_UNORD_Q)) != 0;
#elif defined(__SSE__)
    return _mm_movemask_ps(_mm_cmpunord_ps((__m128)v, (__m128)v)) != 0;
#else
    bool any = false;
    for (int i = 0; i < REEL_VW; i++) any |= v[i] != v[i];
    return any;
#endif
}

/* Sum and maximum of the lanes, pairwise. */
static inline float reel_vsum(reel_vf v)
{
    float lane[REEL_VW];
    reel_vstore(lane, v);
    for (int w = REEL_VW / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++) lane[i] += lane[i + w];
    return lane[0];
}

static inline float reel_vhighest(reel_vf v)
{
    float lane[REEL_VW];
    reel_vstore(lane, v);
    for (int w = REEL_VW / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            lane[i] = lane[i] > lane[i + w] ? lane[i] : lane[i + w];
    return lane[0];
}

/* v itself: the compiler may not fuse what made it with what reads it, so that the same product
 * has the same bits in every function. */
static inline reel_vf reel_vrounded(reel_vf v)
{
#if defined(__SSE__)
    __asm__("" : "+x"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#else
    __asm__("" : "+m"(v));
#endif
    return v;
}

/* e^x within 2 ulp: 0 below the smallest normal number (so for -inf), 2.4e38 from 88.37
 * on (so for inf), NaN for NaN. x = n ln 2 + r with n rounded by adding 1.5 * 2^23, ln 2
 * in two parts (Cody & Waite 1980), e^r by the polynomial of Cephes expf (Moshier), and n
 * added to the exponent. */
static inline reel_vf reel_vexp(reel_vf x)
{
    const float lowest = -87.336544F, highest = 88.3762626F;
    reel_vf c = reel_vmin(reel_vset(highest), reel_vmax(reel_vset(lowest), x));
    reel_vf shifted = c * 1.44269504088896341F + 12582912.0F;
    reel_vf n = shifted - 12582912.0F;
    reel_vf r = c - n * 0.693359375F + n * 2.12194440e-4F;
    reel_vf p = r * 1.9875691500e-4F + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    /* the low bits of `shifted` are n */
    reel_vi scaled = (reel_vi)p + ((reel_vi)shifted << 23);
    /* c - c is 0, or NaN for NaN */
    return (reel_vf)(scaled & (x >= lowest)) + (c - c);
}

#endif
