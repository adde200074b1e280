/* rows.h: kernels over one contiguous row of n floats. */
#ifndef REEL_ISA_ROWS_H
#define REEL_ISA_ROWS_H

#include "backend/cpu/isa/isa.h"

/* Backward of one row of layer norm; gx, w may be NULL. sum_w, sum_b: column sums that
 * this row is added to, both or neither. */
typedef struct reel__layer_norm_row {
    const float *gy, *x, *w;
    float mean, rstd;
    float *gx, *sum_w, *sum_b;
} reel__layer_norm_row;

typedef struct reel__rows_isa {
    float (*max)(const float *x, int64_t n);
    /* Sum of e^(x - m), each kept in e unless NULL. */
    float (*exp_sum)(const float *x, float m, float *e, int64_t n);
    /* y = a (x - m) + b */
    void (*affine)(const float *x, float m, float a, float b, float *y, int64_t n);
    float (*sum)(const float *x, int64_t n);
    float (*dot)(const float *x, const float *y, int64_t n);
    /* Sum of a w (m - x); w may be NULL: 1. */
    float (*drop)(const float *x, float m, float a, const float *w, int64_t n);
    /* y += a x */
    void (*add_scaled)(const float *x, float a, float *y, int64_t n);
    /* gx = y (gy - d) */
    void (*softmax_backward)(const float *gy, const float *y, float d, float *gx,
                             int64_t n);
    /* gx = gy - s e^y */
    void (*log_softmax_backward)(const float *gy, const float *y, float s, float *gx,
                                 int64_t n);
    /* y = (x - mean) / sqrt(variance + eps) * w + b; w, b may be NULL. This and its backward
     * return false, and have written nothing, where f32 arithmetic is not enough (usual.h). */
    bool (*layer_norm)(const float *x, const float *w, const float *b, double eps,
                       float *y, float *mean, float *rstd, int64_t n);
    bool (*layer_norm_backward)(const reel__layer_norm_row *row, int64_t n);
    /* Attention: s = scale s + add (add may be NULL); returns the maximum. */
    float (*score_max)(float *s, float scale, const float *add, int64_t n);
    /* p = e^(scale s + add - m) a, in place: with the maximum m that score_max() found, the
     * bits of exp_sum() of its result, times a */
    void (*prob)(float *s, float scale, const float *add, float m, float a, int64_t n);
    /* dp = a p (dp - d), in place */
    void (*slope)(const float *p, float *dp, float d, float a, int64_t n);
} reel__rows_isa;
REEL_ISA_DECLARE(reel__rows_isa, rows);

#endif
