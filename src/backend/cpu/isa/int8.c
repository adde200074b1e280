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

typedef int32_t int8_words
    __attribute__((vector_size(REEL_VW * 4), aligned(1), may_alias));

/* Rows of a register block; with two vectors a row they and what is multiplied fit. */
#if defined(__AVX512F__)
#define ROWS 14
#else
#define ROWS 6
#endif

static inline reel_vi load(const void *p)
{
    return *(const int8_words *)p;
}

/* The word at p in every lane. */
static inline reel_vi repeat(const char *p)
{
    int32_t w;
    memcpy(&w, p, sizeof w);
    return w - (reel_vi){0};
}

/* The low bytes of four vectors, each xor flip; they are in -128..127.
 *   put_bytes     one vector after the other
 *   put_halves    two vectors at y, two at z
 *   put_unpacked  channels in order, from where unpack() has left them */
#if defined(__AVX512F__)
static inline __m512i bytes_of(const reel_vi v[4], uint8_t flip)
{
    const __m512i ab = _mm512_packs_epi32((__m512i)v[0], (__m512i)v[1]);
    const __m512i cd = _mm512_packs_epi32((__m512i)v[2], (__m512i)v[3]);
    return _mm512_xor_si512(_mm512_packs_epi16(ab, cd), _mm512_set1_epi8((char)flip));
}

static inline void put_bytes(char *to, const reel_vi v[4], uint8_t flip)
{
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, bytes_of(v, flip)));
}

static inline void put_halves(char *y, char *z, const reel_vi v[4], uint8_t flip)
{
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i x = _mm512_permutexvar_epi32(order, bytes_of(v, flip));
    _mm256_storeu_si256((__m256i *)y, _mm512_castsi512_si256(x));
    _mm256_storeu_si256((__m256i *)z, _mm512_extracti64x4_epi64(x, 1));
}

static inline void put_unpacked(char *to, const reel_vi v[4], uint8_t flip, const int per)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512i x = bytes_of(v, flip);
    _mm512_storeu_si512(to, per == 4 ? x : _mm512_permutexvar_epi64(order, x));
}
#elif defined(__AVX2__)
static inline __m256i bytes_of(const reel_vi v[4], uint8_t flip)
{
    const __m256i ab = _mm256_packs_epi32((__m256i)v[0], (__m256i)v[1]);
    const __m256i cd = _mm256_packs_epi32((__m256i)v[2], (__m256i)v[3]);
    return _mm256_xor_si256(_mm256_packs_epi16(ab, cd), _mm256_set1_epi8((char)flip));
}

static inline void put_bytes(char *to, const reel_vi v[4], uint8_t flip)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)to,
                        _mm256_permutevar8x32_epi32(bytes_of(v, flip), order));
}

static inline void put_unpacked(char *to, const reel_vi v[4], uint8_t flip, const int per)
{
    (void)per;
    _mm256_storeu_si256((__m256i *)to, _mm256_permute4x64_epi64(bytes_of(v, flip), 0xd8));
}
#elif defined(__x86_64__)
static inline void put_bytes(char *to, const reel_vi v[4], uint8_t flip)
{
    const __m128i ab = _mm_packs_epi32((__m128i)v[0], (__m128i)v[1]);
    const __m128i cd = _mm_packs_epi32((__m128i)v[2], (__m128i)v[3]);
    _mm_storeu_si128((__m128i *)to,
                     _mm_xor_si128(_mm_packs_epi16(ab, cd), _mm_set1_epi8((char)flip)));
}

static inline void put_unpacked(char *to, const reel_vi v[4], uint8_t flip, const int per)
{
    (void)per;
    put_bytes(to, v, flip); /* a vector is a quarter */
}
#else
static inline void put_bytes(char *to, const reel_vi v[4], uint8_t flip)
{
    for (int i = 0; i < 4 * REEL_VW; i++)
        to[i] = (char)(v[i / REEL_VW][i % REEL_VW] ^ flip);
}

static inline void put_unpacked(char *to, const reel_vi v[4], uint8_t flip, const int per)
{
    (void)per;
    put_bytes(to, v, flip); /* a vector is a quarter */
}
#endif

/* n of a vector's bytes, four times lanes at most. */
static inline void put_some(char *to, const char *from, size_t n)
{
#if defined(__AVX512F__)
    const __mmask64 some = ~(__mmask64)0 >> (64 - n);
    _mm512_mask_storeu_epi8(to, some, _mm512_maskz_loadu_epi8(some, from));
#else
    memcpy(to, from, n);
#endif
}

#if !defined(__AVX512F__)
static inline void put_halves(char *y, char *z, const reel_vi v[4], uint8_t flip)
{
    char both[4 * REEL_VW];
    put_bytes(both, v, flip);
    memcpy(y, both, sizeof both / 2);
    memcpy(z, both + sizeof both / 2, sizeof both / 2);
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

/* Words of two neighbouring taps, 4 vectors of channels at p + slot[0] and p + slot[1]. */
static inline void pairs_unpack(reel_vi a[4], const char *p, const int64_t *slot)
{
    for (int u = 0; u < 2; u++) {
        const reel_vi x = load(p + slot[0] + (size_t)u * sizeof(reel_vi)),
                      y = load(p + slot[1] + (size_t)u * sizeof(reel_vi));
#if defined(__AVX512F__)
        a[2 * u] = (reel_vi)_mm512_unpacklo_epi16((__m512i)x, (__m512i)y);
        a[2 * u + 1] = (reel_vi)_mm512_unpackhi_epi16((__m512i)x, (__m512i)y);
#elif defined(__AVX2__)
        a[2 * u] = (reel_vi)_mm256_unpacklo_epi16((__m256i)x, (__m256i)y);
        a[2 * u + 1] = (reel_vi)_mm256_unpackhi_epi16((__m256i)x, (__m256i)y);
#elif defined(__x86_64__)
        a[2 * u] = (reel_vi)_mm_unpacklo_epi16((__m128i)x, (__m128i)y);
        a[2 * u + 1] = (reel_vi)_mm_unpackhi_epi16((__m128i)x, (__m128i)y);
#else
        int16_t all[2][2 * REEL_VW], words[4 * REEL_VW];
        memcpy(all[0], &x, sizeof x);
        memcpy(all[1], &y, sizeof y);
        for (int i = 0; i < 4 * REEL_VW; i++) words[i] = all[i % 2][i / 2];
        memcpy(a + 2 * u, words, sizeof words);
#endif
    }
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

/* As pairs_unpack(), of four taps. */
TARGET static inline void fours_unpack(reel_vi a[4], const char *p, const int64_t *slot)
{
    const __m512i w = _mm512_loadu_si512(p + slot[0]),
                  x = _mm512_loadu_si512(p + slot[1]),
                  y = _mm512_loadu_si512(p + slot[2]),
                  z = _mm512_loadu_si512(p + slot[3]);
    const __m512i wx = _mm512_unpacklo_epi8(w, x), yz = _mm512_unpacklo_epi8(y, z);
    const __m512i wx_high = _mm512_unpackhi_epi8(w, x),
                  yz_high = _mm512_unpackhi_epi8(y, z);
    a[0] = (reel_vi)_mm512_unpacklo_epi16(wx, yz);
    a[1] = (reel_vi)_mm512_unpackhi_epi16(wx, yz);
    a[2] = (reel_vi)_mm512_unpacklo_epi16(wx_high, yz_high);
    a[3] = (reel_vi)_mm512_unpackhi_epi16(wx_high, yz_high);
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
