/* random.h: inner loops of the random kernels; attrs.h says which word is for what. */
#ifndef REEL_ISA_RANDOM_H
#define REEL_ISA_RANDOM_H

#include "backend/cpu/isa/isa.h"

typedef struct reel__random_table {
    /* words[4 i .. 4 i + 3] = block `block` + i of the key `seed`, i < n. */
    void (*philox)(uint64_t seed, uint64_t block, int64_t n, uint32_t *words);
    /* y[i] = low + u (high - low), at most `last`. */
    void (*uniform)(const uint32_t *words, int64_t n, float low, float high, float last,
                    float *y);
    /* n even: pairs of normals. */
    void (*normal)(const uint32_t *words, int64_t n, float mean, float deviation,
                   float *y);
    /* y[i] = words[i] >= threshold ? scale x[i] : 0. */
    void (*dropout_f32)(const uint32_t *words, int64_t n, uint64_t threshold, float scale,
                        const float *x, float *y);
    void (*dropout_f64)(const uint32_t *words, int64_t n, uint64_t threshold,
                        double scale, const double *x, double *y);
} reel__random_table;

REEL_ISA_DECLARE(reel__random_table, random);

#endif
