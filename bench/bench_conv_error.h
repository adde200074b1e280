/* bench_conv_error.h: how far 3x3 convolutions in f32 are from sums in f64, by Winograd's algorithm
 * and directly. bench_conv prints it; test_conv_error.c holds the library to what the
 * comment of reel_set_exact() says of it.
 *
 * Operands are normal numbers, but one of the activations, which is `ratio`. The error is
 * the worst over all results, divided by the size of a result: the root of the mean square
 * of those whose sum does not hold the large value. Forward and by input, these alone are
 * looked at: a direct sum does not know of the large value there. By weight, all are. */
#ifndef BENCH_CONV_ERROR_H
#define BENCH_CONV_ERROR_H

#include <math.h>
#include <stdlib.h>

#include "backend/cpu/conv/conv.h"
#include "base/rng.h"

typedef struct conv_error {
    double winograd, direct; /* NaN: out of memory */
} conv_error;

/* Activations, the other operand, and the result, as they lie in memory. */
typedef struct conv_trial {
    reel__conv g;
    reel__conv_pass pass;
    int64_t n_in, n_other, n_out, large;
    float *in, *other, *winograd, *direct;
    double *want;
    bool *holds; /* whether a result's sum holds the large value */
} conv_trial;

static inline float conv_trial_normal(uint64_t seed, int64_t i)
{
    uint32_t r[4];
    reel__philox(seed, (uint64_t)i, r);
    double u = reel__u01(r[0], r[1]), v = reel__u01(r[2], r[3]);
    return (float)(sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v));
}

static inline void conv_trial_product(conv_trial *t, int64_t x, int64_t w, int64_t y)
{
    int64_t in = t->pass == REEL_CONV_INPUT ? y : x;
    int64_t other = t->pass == REEL_CONV_WEIGHT ? y : w;
    int64_t out = t->pass == REEL_CONV_FORWARD ? y : t->pass == REEL_CONV_INPUT ? x : w;
    t->want[out] += (double)t->in[in] * (double)t->other[other];
    t->holds[out] |= in == t->large;
}

static inline void conv_trial_sum(conv_trial *t)
{
    const reel__conv *g = &t->g;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t i = 0; i < g->oh * g->ow * 9; i++) {
            int64_t tap = i % 9, oy = i / 9 / g->ow, ox = i / 9 % g->ow;
            int64_t y = oy + tap / 3 - 1, x = ox + tap % 3 - 1;
            if (y < 0 || x < 0 || y >= g->h || x >= g->w) continue;
            int64_t in = ((n * g->h + y) * g->w + x) * g->c;
            int64_t out = ((n * g->oh + oy) * g->ow + ox) * g->k;
            for (int64_t k = 0; k < g->k; k++)
                for (int64_t c = 0; c < g->c; c++)
                    conv_trial_product(t, in + c, (k * g->c + c) * 9 + tap, out + k);
        }
}

static inline bool conv_trial_run(conv_trial *t)
{
    reel__conv_io io = {.in = t->in, .weight = t->other, .out = t->winograd};
    if (t->pass == REEL_CONV_WEIGHT)
        return !reel__conv_winograd_weight(&t->g, t->other, t->in, t->winograd) &&
               !reel__conv_direct_weight(&t->g, t->other, t->in, t->direct);
    if (reel__run_winograd(&t->g, t->pass, &io) != REEL_OK) return false;
    io.out = t->direct;
    return reel__conv_direct(&t->g, t->pass, &io) == REEL_OK;
}

static inline conv_error conv_trial_error(const conv_trial *t)
{
    double square = 0, count = 0;
    conv_error worst = {0, 0};
    for (int64_t i = 0; i < t->n_out; i++) {
        double want = t->want[i];
        if (!t->holds[i]) square += want * want, count++;
        if (t->holds[i] && t->pass != REEL_CONV_WEIGHT) continue;
        worst.winograd = fmax(worst.winograd, fabs((double)t->winograd[i] - want));
        worst.direct = fmax(worst.direct, fabs((double)t->direct[i] - want));
    }
    double size = sqrt(square / count);
    return (conv_error){worst.winograd / size, worst.direct / size};
}

#define CONV_TRIAL_SIZE 12
#define CONV_TRIAL_CHANNELS 16 /* those that are not summed over */

/* `terms`: channels that a result sums over; of a gradient by weight the images. */
static inline conv_error conv_error_of(reel__conv_pass pass, int64_t terms, double ratio,
                                       uint64_t seed)
{
    const int64_t few = CONV_TRIAL_CHANNELS, size = CONV_TRIAL_SIZE;
    reel__conv g = {.n = pass == REEL_CONV_WEIGHT ? terms : 1,
                    .c = pass == REEL_CONV_FORWARD ? terms : few,
                    .k = pass == REEL_CONV_INPUT ? terms : few,
                    .h = size,
                    .w = size,
                    .oh = size,
                    .ow = size,
                    .r = 3,
                    .s = 3,
                    .stride = {1, 1},
                    .pad = {1, 1},
                    .dil = {1, 1},
                    .groups = 1};
    int64_t x = g.n * size * size * g.c, y = g.n * size * size * g.k, w = 9 * g.c * g.k;
    conv_trial t = {.g = g, .pass = pass};
    t.n_in = pass == REEL_CONV_INPUT ? y : x;
    t.n_other = pass == REEL_CONV_WEIGHT ? y : w;
    t.n_out = pass == REEL_CONV_FORWARD ? y : pass == REEL_CONV_INPUT ? x : w;
    t.large =
        (5 * size + 5) * (t.n_in / (g.n * size * size)); /* in the middle, channel 0 */
    float *floats = malloc((size_t)(t.n_in + t.n_other + 2 * t.n_out) * sizeof(float));
    t.want = calloc((size_t)t.n_out, sizeof(double));
    t.holds = calloc((size_t)t.n_out, sizeof(bool));
    conv_error e = {NAN, NAN};
    if (floats && t.want && t.holds) {
        t.in = floats, t.other = t.in + t.n_in;
        t.winograd = t.other + t.n_other, t.direct = t.winograd + t.n_out;
        for (int64_t i = 0; i < t.n_in; i++) t.in[i] = conv_trial_normal(2 * seed, i);
        for (int64_t i = 0; i < t.n_other; i++)
            t.other[i] = conv_trial_normal(2 * seed + 1, i);
        t.in[t.large] = (float)ratio;
        conv_trial_sum(&t);
        if (conv_trial_run(&t)) e = conv_trial_error(&t);
    }
    free(floats);
    free(t.want);
    free(t.holds);
    return e;
}

#endif
