/* int8.c: products of bytes. One template, with elements of 16 bits for every instruction set,
 * and again with bytes where the processor may have VNNI. */
#include "backend/cpu/isa/int8.h"

#include <string.h>

/* As the reference: where there are fused multiply-adds, too, a product is rounded before the
 * bias comes to it. */
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef int32_t words __attribute__((vector_size(REEL_VW * 4), aligned(4), may_alias));

/* Rows of a register block; with two vectors a row they and what is multiplied fit. */
#if defined(__AVX512F__)
#define ROWS 12
#else
#define ROWS 6
#endif

static inline reel_vi load(const int32_t *p)
{
    return *(const words *)p;
}

/* The word at p in every lane. */
static inline reel_vi repeat(const char *p)
{
    int32_t w;
    memcpy(&w, p, sizeof w);
    return w - (reel_vi){0};
}

/* Up to `left` bytes, at most a lane each, into zeroed lanes; and the low bytes of lanes back. The
 * compiler's own conversions go lane by lane. */
#if defined(__AVX512F__)
static inline __mmask16 lanes_of(int64_t left)
{
    return (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1);
}

static inline reel_vi load_bytes(const uint8_t *p, int64_t left)
{
    return (reel_vi)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes_of(left), p));
}

static inline void store_bytes(char *p, reel_vi v, int64_t left)
{
    _mm512_mask_cvtepi32_storeu_epi8(p, lanes_of(left), (__m512i)v);
}
#else
static inline reel_vi spread(const uint8_t *p)
{
#if defined(__AVX2__)
    return (reel_vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#elif defined(__x86_64__)
    int32_t four;
    memcpy(&four, p, sizeof four);
    const __m128i zero = _mm_setzero_si128();
    const __m128i pairs = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
    return (reel_vi)_mm_unpacklo_epi16(pairs, zero);
#else
    reel_vi v;
    for (int i = 0; i < REEL_VW; i++) v[i] = p[i];
    return v;
#endif
}

static inline reel_vi load_bytes(const uint8_t *p, int64_t left)
{
    uint8_t some[REEL_VW] = {0};
    if (left >= REEL_VW) return spread(p);
    memcpy(some, p, (size_t)left);
    return spread(some);
}

static inline void gather_bytes(char *p, reel_vi v)
{
    v &= 255;
#if defined(__AVX2__)
    const __m256i all = (__m256i)v;
    const __m128i pairs =
        _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(pairs, pairs));
#elif defined(__x86_64__)
    const __m128i pairs = _mm_packs_epi32((__m128i)v, (__m128i)v);
    const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
    memcpy(p, &four, sizeof four);
#else
    for (int i = 0; i < REEL_VW; i++) p[i] = (char)v[i];
#endif
}

static inline void store_bytes(char *p, reel_vi v, int64_t left)
{
    char some[REEL_VW];
    gather_bytes(left >= REEL_VW ? p : some, v);
    if (left < REEL_VW) memcpy(p, some, (size_t)left);
}
#endif

/* v > low ? v : low, so that a NaN becomes `low`; then the smaller of that and `high`. */
static inline reel_vf clip(reel_vf v, reel_vf low, reel_vf high)
{
#if defined(__AVX512F__) /* these give the second operand if one is NaN */
    return (reel_vf)_mm512_min_ps(_mm512_max_ps((__m512)v, (__m512)low), (__m512)high);
#elif defined(__AVX2__)
    return (reel_vf)_mm256_min_ps(_mm256_max_ps((__m256)v, (__m256)low), (__m256)high);
#elif defined(__x86_64__)
    return (reel_vf)_mm_min_ps(_mm_max_ps((__m128)v, (__m128)low), (__m128)high);
#else
    const reel_vi above = v > low;
    v = (reel_vf)(((reel_vi)v & above) | ((reel_vi)low & ~above));
    const reel_vi below = v < high;
    return (reel_vf)(((reel_vi)v & below) | ((reel_vi)high & ~below));
#endif
}

/* Two products of 16 bits a word: at most 2 * 255 * 128, far from what could saturate. */
static inline reel_vi add_pairs(reel_vi sum, reel_vi a, reel_vi b)
{
#if defined(__AVX512F__)
    return sum + (reel_vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return sum + (reel_vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return sum + (reel_vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else /* lanes are little-endian or not, in both alike */
    return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

static void pairs_widen(void *to, const uint8_t *restrict from, int64_t n, uint8_t flip)
{
    int16_t *restrict a = to;
    for (int64_t i = 0; i < n; i++) a[i] = (int16_t)(from[i] ^ flip);
}

#define FN(name) pairs_##name
#define pairs_table ISA(int8)
#define PER 2
#define DOT add_pairs
#define TARGET
#include "backend/cpu/isa/int8.inc"

#if defined(__AVX512F__)
#define TARGET __attribute__((target("avx512vnni")))

TARGET static inline reel_vi add_fours(reel_vi sum, reel_vi a, reel_vi b)
{
    return (reel_vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

static void fours_widen(void *to, const uint8_t *restrict from, int64_t n, uint8_t flip)
{
    const __m512i flips = _mm512_set1_epi8((char)flip);
    uint8_t *a = to;
    for (int64_t i = 0; i < n;
         i += 64) { /* rows of few channels are short: no scalar rest */
        const __mmask64 some =
            n - i >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n - i)) - 1;
        const __m512i x = _mm512_maskz_loadu_epi8(some, from + i);
        _mm512_mask_storeu_epi8(a + i, some, _mm512_xor_si512(x, flips));
    }
}

#define FN(name) fours_##name
#define fours_table ISA(int8_vnni)
#define PER 4
#define DOT add_fours
#include "backend/cpu/isa/int8.inc"
#endif
