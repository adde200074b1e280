/* batch_norm_wide.c: see batch_norm_wide.h. */
#include "backend/cpu/batch_norm_wide.h"

#include <math.h>

/* Twice over the data; from the first value, or from 0 where that is not finite. */
void reel__bn_moments_wide(const float *x, int64_t rows, int64_t width, double *mean,
                           double *deviation)
{
    for (int64_t j = 0; j < width; j++) {
        const double shift = isfinite(x[j]) ? (double)x[j] : 0;
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < rows; i++) sum += (double)x[i * width + j] - shift;
        mean[j] = shift + sum / (double)rows;
        for (int64_t i = 0; i < rows; i++) {
            const double d = (double)x[i * width + j] - mean[j];
            squares += d * d;
        }
        deviation[j] = squares;
    }
}

void reel__bn_apply_wide(const float *x, const float *residual, float *y, int64_t rows,
                         int64_t width, const double *const affine[3], bool relu)
{
    const double *center = affine[0], *scale = affine[1], *offset = affine[2];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j++) {
            const int64_t at = i * width + j;
            double v = ((double)x[at] - center[j]) * scale[j] + offset[j];
            if (residual) v += (double)residual[at];
            y[at] = relu && v < 0 ? 0 : (float)v; /* NaN stays, and so does -0 */
        }
}

/* NaN is below no bound: what came of it passes its gradient on. */
static double masked(const reel__bn_backward *b, int64_t at)
{
    return b->y && b->y[at] <= 0 ? 0 : (double)b->gy[at];
}

void reel__bn_backward_sums_wide(const reel__bn_backward *b, const float *mean,
                                 double *sum_g, double *sum_gx)
{
    for (int64_t j = 0; j < b->width; j++) {
        sum_g[j] = sum_gx[j] = 0;
        for (int64_t i = 0; i < b->rows; i++) {
            const int64_t at = i * b->width + j;
            const double g = masked(b, at);
            sum_g[j] += g;
            sum_gx[j] += g * ((double)b->x[at] - (double)mean[j]);
        }
    }
}

void reel__bn_backward_apply_wide(const reel__bn_backward *b,
                                  const double *const slopes[4])
{
    const double *center = slopes[0], *scale = slopes[1], *slope = slopes[2],
                 *mean_g = slopes[3];
    for (int64_t i = 0; i < b->rows; i++)
        for (int64_t j = 0; j < b->width; j++) {
            const int64_t at = i * b->width + j;
            const double g = masked(b, at), d = (double)b->x[at] - center[j];
            const double own = b->training ? (g - mean_g[j]) - d * slope[j] : g;
            if (b->gres) b->gres[at] = (float)g;
            if (b->gx) b->gx[at] = (float)(own * scale[j]);
        }
}
