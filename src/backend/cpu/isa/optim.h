/* optim.h: one pass of an optimizer over n elements that lie without gaps. The
 * coefficients are computed in f64 by the caller and rounded to the dtype here, as
 * PyTorch does. */
#ifndef REEL_ISA_OPTIM_H
#define REEL_ISA_OPTIM_H

#include "backend/cpu/isa/isa.h"

typedef struct reel__sgd_pass {
    double sign; /* of the gradient: -1 climbs */
    double weight_decay, momentum, damped /* 1 - dampening */, lr;
    bool nesterov, first; /* first: the momentum buffer holds nothing yet */
} reel__sgd_pass;

typedef struct reel__adam_pass {
    double sign;
    double shrink;       /* decoupled decay: param *= 1 - lr * weight_decay, else 1 */
    double weight_decay; /* added to the gradient, else 0                          */
    double blend;        /* 1 - beta1                                              */
    double beta2, rest2; /* rest2: 1 - beta2                                       */
    double step_size;    /* lr / (1 - beta1^t)                                     */
    double correction;   /* sqrt(1 - beta2^t)                                      */
    double eps;
} reel__adam_pass;

typedef struct reel__optim_table {
    /* momentum may be NULL */
    void (*sgd_f32)(const reel__sgd_pass *s, int64_t n, float *param, const float *grad,
                    float *momentum);
    void (*sgd_f64)(const reel__sgd_pass *s, int64_t n, double *param, const double *grad,
                    double *momentum);
    void (*adam_f32)(const reel__adam_pass *s, int64_t n, float *param, const float *grad,
                     float *m, float *v);
    void (*adam_f64)(const reel__adam_pass *s, int64_t n, double *param,
                     const double *grad, double *m, double *v);
} reel__optim_table;

REEL_ISA_DECLARE(reel__optim_table, optim);

#endif
