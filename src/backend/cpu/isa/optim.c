/* optim.c: SGD and Adam in one pass, in the order of operations of PyTorch's
 * single-tensor implementations (torch/optim/sgd.py, adam.py), so that results agree
 * within rounding. */
#include "backend/cpu/isa/optim.h"

#include <math.h>

#define DEFINE_SGD(T, name)                                                              \
    static void name##_plain(const reel__sgd_pass *s, int64_t n, T *restrict param,      \
                             const T *restrict grad)                                     \
    {                                                                                    \
        const T sign = (T)s->sign, decay = (T)s->weight_decay, lr = (T)s->lr;            \
        for (int64_t i = 0; i < n; i++)                                                  \
            param[i] -= lr * (sign * grad[i] + decay * param[i]);                        \
    }                                                                                    \
    static void name(const reel__sgd_pass *s, int64_t n, T *restrict param,              \
                     const T *restrict grad, T *restrict momentum)                       \
    {                                                                                    \
        const T sign = (T)s->sign, decay = (T)s->weight_decay, lr = (T)s->lr;            \
        const T keep = (T)s->momentum, damped = (T)s->damped;                            \
        const bool first = s->first, nesterov = s->nesterov;                             \
        if (!momentum) {                                                                 \
            name##_plain(s, n, param, grad);                                             \
            return;                                                                      \
        }                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                \
            T g = sign * grad[i] + decay * param[i];                                     \
            T b = first ? g : keep * momentum[i] + damped * g;                           \
            momentum[i] = b;                                                             \
            param[i] -= lr * (nesterov ? g + keep * b : b);                              \
        }                                                                                \
    }
DEFINE_SGD(float, sgd_f32)
DEFINE_SGD(double, sgd_f64)

/* The blend of m and g is written in the form that is exact at the nearer end. */
#define DEFINE_ADAM(T, name, SQRT)                                                       \
    static void name(const reel__adam_pass *s, int64_t n, T *restrict param,             \
                     const T *restrict grad, T *restrict m, T *restrict v)               \
    {                                                                                    \
        const T sign = (T)s->sign, shrink = (T)s->shrink, decay = (T)s->weight_decay;    \
        const T blend = (T)s->blend, unblend = (T)(1 - s->blend);                        \
        const T beta2 = (T)s->beta2, rest2 = (T)s->rest2, step = (T)s->step_size;        \
        const T correction = (T)s->correction, eps = (T)s->eps;                          \
        const bool near_m = s->blend < 0.5;                                              \
        for (int64_t i = 0; i < n; i++) {                                                \
            T p = param[i] * shrink, g = sign * grad[i] + decay * p;                     \
            T mean = near_m ? m[i] + blend * (g - m[i]) : g - unblend * (g - m[i]);      \
            T square = beta2 * v[i] + rest2 * g * g;                                     \
            m[i] = mean;                                                                 \
            v[i] = square;                                                               \
            param[i] = p - step * mean / (SQRT(square) / correction + eps);              \
        }                                                                                \
    }
DEFINE_ADAM(float, adam_f32, sqrtf)
DEFINE_ADAM(double, adam_f64, sqrt)

const reel__optim_table ISA(optim) = {sgd_f32, sgd_f64, adam_f32, adam_f64};
