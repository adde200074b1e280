/* half.h: f16 and bf16 as 16-bit integers, to and from f32, branch-free. Rounding is to
 * nearest even; a NaN stays a NaN, made quiet, with the upper bits of its payload, as the
 * instructions of F16C do it. Nothing passes through a denormal f32, which kernels flush
 * to zero. */
#ifndef REEL_CPU_ISA_HALF_H
#define REEL_CPU_ISA_HALF_H

#include "backend/cpu/isa/pwmath.h"

static inline float pw_from_f16(uint16_t h)
{
    uint32_t magnitude = h & 0x7fffu;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t special = (normal + (112u << 23)) | SEL(magnitude > 0x7c00u, 0x400000u, 0u);
    uint32_t denormal = pw_bits((float)(int32_t)magnitude * 0x1p-24f);
    uint32_t u = SEL(magnitude < 0x400u, denormal, normal);
    u = SEL(magnitude >= 0x7c00u, special, u);
    return pw_float(u | (uint32_t)(h & 0x8000u) << 16);
}

static inline uint16_t pw_to_f16(float x)
{
    uint32_t u = pw_bits(x), magnitude = u & 0x7fffffffu;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    /* Adding 1/2 leaves multiples of 2^-24, rounded, in the low bits. */
    uint32_t denormal = pw_bits(pw_float(magnitude) + 0.5f) - (126u << 23);
    uint32_t special =
        SEL(magnitude > 0x7f800000u, 0x7e00u | (magnitude >> 13 & 0x3ffu), 0x7c00u);
    uint32_t h = SEL(magnitude < 113u << 23, denormal, normal);
    h = SEL(magnitude >= 0x477ff000u, special, h); /* 65520 and beyond */
    return (uint16_t)(h | (u >> 16 & 0x8000u));
}

static inline float pw_from_bf16(uint16_t h)
{
    return pw_float((uint32_t)h << 16);
}

static inline uint16_t pw_to_bf16(float x)
{
    uint32_t u = pw_bits(x);
    uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    return (uint16_t)SEL((u & 0x7fffffffu) > 0x7f800000u, u >> 16 | 0x40u, rounded);
}

/* ---- f64 and i64 as f32 on the way to a half -------------------------------------------
 * Rounded to the nearest f32, a number just beside the middle between two halves would come
 * to lie on it, and be rounded once more. So it is rounded to odd: cut off, and the last bit
 * set if anything was lost. With two bits more than a half has, the second rounding then is
 * that of the number itself (Boldo & Melquiond, "When double rounding is odd", 2005). */

static inline uint64_t pw_bits64(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* To 22 bits, which an f32 has; beyond its range they are infinite, or denormal. */
static inline float pw_odd_f64(double x)
{
    const uint64_t below = (UINT64_C(1) << 30) - 1;
    uint64_t u = pw_bits64(x), lost = u & below;
    u = (u ^ lost) | ((lost + below) & (below + 1));
    memcpy(&x, &u, sizeof u);
    return (float)x;
}

/* Where f64 has no room for all bits, it gets the middle of what the lowest may be. */
static inline float pw_odd_i64(int64_t v)
{
    int64_t lost = v & 0x7ff, middle = (v ^ lost) | ((lost + 0x7ff) >> 1 & 0x400);
    int64_t above = v >> 53; /* 0, -1: f64 has room */
    return pw_odd_f64((double)SEL(((above + 1) & ~INT64_C(1)) != 0, middle, v));
}

/* Whether x is a denormal of f32, or would be one if f32 had more of them. */
static inline bool pw_is_tiny(double x)
{
    return fabs(x) < 0x1p-126 && x != 0;
}

/* A bf16 has the denormals of f32, in which nothing shall be computed: adding 2^-81 to a tiny
 * number leaves multiples of 2^-133, rounded, in the low bits. */
static inline uint16_t pw_tiny_bf16(double x)
{
    return (uint16_t)(pw_bits64(fabs(x) + 0x1p-81) | (pw_bits64(x) >> 48 & 0x8000u));
}

#endif
