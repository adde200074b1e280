/* batch_norm.h: inner loops of batch normalization over dense rows of channels. All
 * operands are [rows, width]; what belongs to a channel is [width]. */
#ifndef REEL_ISA_BATCH_NORM_H
#define REEL_ISA_BATCH_NORM_H

#include "backend/cpu/isa/isa.h"

/* The slice of the operands that one task reads and writes. y: only with relu; gx, gres:
 * only if asked for; else NULL. Only in training do the statistics depend on x. */
typedef struct reel__bn_backward {
    const float *gy, *x, *y;
    float *gx, *gres;
    int64_t rows, width;
    bool training;
} reel__bn_backward;

/* Factors of the forward and of the backward, [width] each. */
typedef struct reel__bn_affine {
    const float *center, *scale, *offset;
} reel__bn_affine;
typedef struct reel__bn_slopes {
    const float *center, *scale, *slope, *mean_g;
} reel__bn_slopes;

/* All in f32 arithmetic: for what leaves its range see batch_norm_wide.h. Sums return whether
 * they are all finite. */
typedef struct reel__batch_norm_isa {
    /* mean[j] of the rows, and the sum of squared deviations from it; rows >= 1. */
    bool (*moments)(const float *x, int64_t rows, int64_t width, double *mean,
                    double *deviation);
    /* y = (x - center) scale + offset (+ residual unless NULL), then max(0, y) if relu.
     * NaN stays. */
    void (*apply)(const float *x, const float *residual, float *y, int64_t rows,
                  int64_t width, const reel__bn_affine *a, bool relu);
    /* Over the rows: sums of g and of g (x - mean); g is gy where y > 0. */
    bool (*backward_sums)(const reel__bn_backward *b, const float *mean, double *sum_g,
                          double *sum_gx);
    /* gx = ((g - mean_g) - (x - center) slope) scale, without training g scale; gres = g. */
    void (*backward_apply)(const reel__bn_backward *b, const reel__bn_slopes *s);
} reel__batch_norm_isa;

REEL_ISA_DECLARE(reel__batch_norm_isa, batch_norm);

#endif
