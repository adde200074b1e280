/* random.c: Philox4x32-10 for many blocks at once, and what is made of its words. Plain
 * loops over independent elements: the compiler makes them as wide as the instruction
 * set. */
#include "backend/cpu/isa/random.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 }; /* blocks that are computed together */

/* The ten rounds of one block; the multipliers and key steps are those of Salmon et al.
 * 2011. */
static inline void rounds(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c[0] * 0xD2511F53u, p1 = (uint64_t)c[2] * 0xCD9E8D57u;
        c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
        c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void philox(uint64_t seed, uint64_t block, int64_t n, uint32_t *words)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (; n > 0; n -= LANES, block += LANES, words += 4 * LANES) {
        uint32_t out[4 * LANES];
        for (uint32_t l = 0; l < LANES; l++) {
            uint32_t c[4] = {(uint32_t)(block + l), (uint32_t)((block + l) >> 32), 0, 0};
            rounds(c, k0, k1);
            out[4 * l] = c[0];
            out[4 * l + 1] = c[1];
            out[4 * l + 2] = c[2];
            out[4 * l + 3] = c[3];
        }
        memcpy(words, out, (size_t)(n < LANES ? n : LANES) * 4 * sizeof *words);
    }
}

static void uniform(const uint32_t *restrict words, int64_t n, float low, float high,
                    float last, float *restrict y)
{
    float width = high - low;
    for (int64_t i = 0; i < n; i++) {
        float v = low + width * ((float)(int32_t)(words[i] >> 8) * 0x1p-24f);
        y[i] = v < last ? v : last;
    }
}

/* ln u for a normal u > 0: u = 2^e m with m in [1/sqrt 2, sqrt 2), and the series of
 * ln m = 2 artanh s, s = (m - 1) / (m + 1), |s| < 0.172: the first term left out is below
 * 2^-28 of the sum. */
static inline float log_of(float u)
{
    int32_t bits, e;
    memcpy(&bits, &u, sizeof bits);
    e = (bits - 0x3f3504f3) >> 23; /* 0x3f3504f3 is 1/sqrt 2 */
    bits -= e * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    float s = (m - 1) / (m + 1), t = s * s;
    float tail = t * (1 / 3.f + t * (1 / 5.f + t * (1 / 7.f + t * (1 / 9.f))));
    return (float)e * 0.69314718f + 2 * (s + s * tail);
}

/* cos and sin of 2 pi v, v in [0, 1): the nearest quarter turn q, Taylor series for the
 * rest, which is at most pi/4, then the quarter turns. */
static inline void turn(float v, float *cosine, float *sine)
{
    int32_t q = (int32_t)(v * 4 + 0.5f);
    float x = (v * 4 - (float)q) * 1.57079632679f, t = x * x;
    float c = 1 - t * (1 / 2.f - t * (1 / 24.f - t * (1 / 720.f - t * (1 / 40320.f))));
    float s = x - x * t * (1 / 6.f - t * (1 / 120.f - t * (1 / 5040.f)));
    float a = q & 1 ? s : c, b = q & 1 ? c : s;
    *cosine = (q + 1) & 2 ? -a : a;
    *sine = q & 2 ? -b : b;
}

static void normal(const uint32_t *restrict words, int64_t n, float mean, float deviation,
                   float *restrict y)
{
    for (int64_t i = 0; i < n / 2; i++) {
        float u = (float)words[2 * i] * 0x1p-32f + 0x1p-33f;
        float v = (float)(int32_t)(words[2 * i + 1] >> 8) * 0x1p-24f;
        float r = deviation * sqrtf(-2 * log_of(u)), c, s;
        turn(v, &c, &s);
        y[2 * i] = mean + r * c;
        y[2 * i + 1] = mean + r * s;
    }
}

/* A threshold of 2^32, which no word reaches, keeps nothing. */
#define DEFINE_DROPOUT(T, name)                                                          \
    static void name(const uint32_t *restrict words, int64_t n, uint64_t threshold,      \
                     T scale, const T *x, T *y)                                          \
    {                                                                                    \
        uint32_t least = threshold > UINT32_MAX ? UINT32_MAX : (uint32_t)threshold;      \
        if (threshold > UINT32_MAX)                                                      \
            memset(y, 0, (size_t)n * sizeof *y);                                         \
        else                                                                             \
            for (int64_t i = 0; i < n; i++) y[i] = words[i] >= least ? x[i] * scale : 0; \
    }
DEFINE_DROPOUT(float, dropout_f32)
DEFINE_DROPOUT(double, dropout_f64)

const reel__random_table ISA(random) = {philox, uniform, normal, dropout_f32,
                                        dropout_f64};
