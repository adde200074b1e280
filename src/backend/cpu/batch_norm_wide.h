/* batch_norm_wide.h: the loops of isa/batch_norm.h in f64 arithmetic: for numbers whose
 * squares, differences or products leave the range of f32 although what comes out does not.
 * Nobody trains with such numbers for long, so these are plain. */
#ifndef REEL_BACKEND_CPU_BATCH_NORM_WIDE_H
#define REEL_BACKEND_CPU_BATCH_NORM_WIDE_H

#include "backend/cpu/isa/batch_norm.h"

void reel__bn_moments_wide(const float *x, int64_t rows, int64_t width, double *mean,
                           double *deviation);
/* center, scale, offset: [width]. */
void reel__bn_apply_wide(const float *x, const float *residual, float *y, int64_t rows,
                         int64_t width, const double *const affine[3], bool relu);
void reel__bn_backward_sums_wide(const reel__bn_backward *b, const float *mean,
                                 double *sum_g, double *sum_gx);
/* center, scale, slope, mean_g: [width]. */
void reel__bn_backward_apply_wide(const reel__bn_backward *b,
                                  const double *const slopes[4]);

#endif
