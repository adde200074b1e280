/* batch_norm.h: inner loops of batch normalization over dense rows of channels. All
 * operands are [rows, width]; what belongs to a channel is [width]. */
#ifndef REEL_ISA_BATCH_NORM_H
#define REEL_ISA_BATCH_NORM_H

#include "backend/cpu/isa/isa.h"

/* The slice of the operands that one task reads and writes. y: only with relu; gx, gres:
 * only if asked for; else NULL. */
typedef struct reel_bn_backward {
    const float *gy, *x, *y;
    float *gx, *gres;
    int64_t rows, width;
} reel_bn_backward;

typedef struct reel_batch_norm_isa {
    /* mean[j] of the rows, and the sum of squared deviations from it; rows >= 1. */
    void (*moments)(const float *x, int64_t rows, int64_t width, float *mean,
                    float *deviation);
    /* y = x scale + offset (+ residual unless NULL), then max(0, y) if relu.
     * NaN stays. */
    void (*apply)(const float *x, const float *residual, float *y, int64_t rows,
                  int64_t width, const float *scale, const float *offset, bool relu);
    /* Over the rows: sums of g and of g (x - mean); g is gy where y > 0. */
    void (*backward_sums)(const reel_bn_backward *b, const float *mean, float *sum_g,
                          float *sum_gx);
    /* gx = scale g + (slope (x - mean) + offset); gres = g. */
    void (*backward_apply)(const reel_bn_backward *b, const float *mean,
                           const float *scale, const float *slope, const float *offset);
} reel_batch_norm_isa;

REEL_ISA_DECLARE(reel_batch_norm_isa, batch_norm);

#endif
