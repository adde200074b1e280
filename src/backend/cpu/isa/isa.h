/* isa.h: sources in this folder are compiled once for each instruction set, with
 * REEL_ISA_SUFFIX set to baseline, avx2 or avx512 (elsewhere than x86: baseline alone).
 * They use vector extensions, which gcc and clang lower to whatever the set has, so that one
 * source serves SSE2, AVX2, AVX-512 and NEON. Each family fills one const table of function
 * pointers, named ISA(family); its caller picks one with REEL_ISA_PICK(family). */
#ifndef REEL_ISA_H
#define REEL_ISA_H

#include "backend/cpu/cpu.h"

#define REEL_ISA_CAT_(a, b) reel__##a##_##b
#define REEL_ISA_CAT(a, b) REEL_ISA_CAT_(a, b)
/* ISA(gemm) is reel__gemm_avx512 in the AVX-512 build of a file. */
#ifdef REEL_ISA_SUFFIX
#define ISA(name) REEL_ISA_CAT(name, REEL_ISA_SUFFIX)
#endif

#if defined(__x86_64__)
#define REEL_ISA_DECLARE(type, name)                                                     \
    extern const type reel__##name##_baseline, reel__##name##_avx2, reel__##name##_avx512
#define REEL_ISA_PICK(name)                                                              \
    (reel__isa_now() == REEL_ISA_AVX512 ? &reel__##name##_avx512                         \
     : reel__isa_now() == REEL_ISA_AVX2 ? &reel__##name##_avx2                           \
                                        : &reel__##name##_baseline)
#else
#define REEL_ISA_DECLARE(type, name) extern const type reel__##name##_baseline
#define REEL_ISA_PICK(name) (&reel__##name##_baseline)
#endif

/* REEL_UNROLL(32, i = 0; ...): a loop over registers: rows of a register block and the like.
 * Under a sanitizer it stays a loop, as it would be one check after another; and then it is
 * the index of every step that is checked. */
#define REEL_PRAGMA(x) _Pragma(#x)
#if defined(REEL_SANITIZED)
#define REEL_UNROLL(most, ...) for (__VA_ARGS__)
#elif defined(__clang__)
#define REEL_UNROLL(most, ...) REEL_PRAGMA(clang loop unroll(full)) for (__VA_ARGS__)
#else
#define REEL_UNROLL(most, ...) REEL_PRAGMA(GCC unroll most) for (__VA_ARGS__)
#endif

/* Vector width of the present build, in floats. */
#if defined(__AVX512F__)
#define REEL_VW 16
#elif defined(__AVX2__)
#define REEL_VW 8
#else
#define REEL_VW 4
#endif
typedef float reel_vf __attribute__((vector_size(REEL_VW * 4)));
typedef int32_t reel_vi __attribute__((vector_size(REEL_VW * 4)));
/* As many bytes of doubles. */
#define REEL_VWD (REEL_VW / 2)
typedef double reel_vd __attribute__((vector_size(REEL_VW * 4)));
/* The same without alignment: *(const reel_vfu *)p loads from any address. */
typedef float reel_vfu __attribute__((vector_size(REEL_VW * 4), aligned(4), may_alias));
typedef double reel_vdu __attribute__((vector_size(REEL_VW * 4), aligned(8), may_alias));

static inline reel_vf reel_vload(const float *p)
{
    return *(const reel_vfu *)p;
}
static inline void reel_vstore(float *p, reel_vf v)
{
    *(reel_vfu *)p = v;
}
static inline reel_vf reel_vset(float x)
{
    return x - (reel_vf){0};
}
/* As the row RELU: -0 and NaN stay. */
static inline reel_vf reel_vrelu(reel_vf x)
{
    return (reel_vf)((reel_vi)x & ~(x < 0));
}

#endif
