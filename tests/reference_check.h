/* reference_check.h: what tests of reference kernels, and of fast ones against them,
 * share. Adds to kernel_check.h: calls of a reference, comparison of operands, and
 * gradients checked by central differences. */
#ifndef REEL_TESTS_REFERENCE_CHECK_H
#define REEL_TESTS_REFERENCE_CHECK_H

#include "kernel_check.h"

static const int NHWC[4] = {0, 2, 3, 1};

static const operand ABSENT = {.data = NULL};

/* An operand of the shape, dtype and layout of another. */
static inline operand make_like(const operand *x, uint64_t seed)
{
    operand y = make(reel__shape(&x->meta), x->meta.dtype, NULL, seed);
    memcpy(y.meta.stride, x->meta.stride, sizeof y.meta.stride);
    return y;
}

/* A dense row-major operand with given values. */
static inline operand make_values(reel_shape shape, reel_dtype dtype,
                                  const double *values)
{
    operand x = make(shape, dtype, NULL, 0);
    for (int64_t i = 0; i < reel__numel(&x.meta); i++) {
        if (dtype == REEL_F32)
            ((float *)x.data)[i] = (float)values[i];
        else if (dtype == REEL_F64)
            ((double *)x.data)[i] = values[i];
        else if (dtype == REEL_I64)
            ((int64_t *)x.data)[i] = (int64_t)values[i];
        else
            ((uint8_t *)x.data)[i] = values[i] != 0;
    }
    return x;
}

static inline void drop_all(operand *x, int n)
{
    for (int i = 0; i < n; i++) drop(&x[i]);
}

static inline reel_status call_ref(reel__kernel_fn fn, const operand *in, int n_in,
                                   const operand *out, int n_out, const void *attrs)
{
    reel__karg ins[MAX_ARGS] = {{NULL, NULL}}, outs[MAX_ARGS] = {{NULL, NULL}};
    for (int i = 0; i < n_in; i++)
        if (in[i].data) ins[i] = (reel__karg){in[i].data, &in[i].meta};
    for (int i = 0; i < n_out; i++)
        if (out[i].data) outs[i] = (reel__karg){out[i].data, &out[i].meta};
    reel__kcall call = {
        .n_in = n_in, .n_out = n_out, .in = ins, .out = outs, .attrs = attrs};
    return fn(&call);
}

/* Every element within `tolerance`, relative to 1 and to the value wanted. */
static inline void check_same(const operand *got, const operand *want, double tolerance,
                              const char *what)
{
    int64_t index[REEL_MAX_RANK] = {0};
    if (!want->data || reel__numel(&want->meta) == 0) return;
    do {
        double w = at(want, index);
        check_near(at(got, index), w, tolerance * (1 + fabs(w)), what);
    } while (next(&want->meta, index));
}

static inline void check_values(const operand *got, const double *want, double tolerance,
                                const char *what)
{
    operand w = make_values(reel__shape(&got->meta), REEL_F64, want);
    check_same(got, &w, tolerance, what);
    drop(&w);
}

/* sum of a b over all elements of two operands of one shape. */
static inline double inner(const operand *a, const operand *b)
{
    int64_t index[REEL_MAX_RANK] = {0};
    double sum = 0;
    do sum += at(a, index) * at(b, index);
    while (next(&a->meta, index));
    return sum;
}

/* `gradient`, in the layout of f64 input `wrt`, is the derivative of inner(y, gy). */
static inline void check_gradient(reel__kernel_fn forward, operand *in, int n_in,
                                  operand *out, int n_out, const void *attrs,
                                  const operand *gy, int wrt, const operand *gradient,
                                  const char *what)
{
    const double step = 1e-5;
    double *x = in[wrt].data;
    for (int64_t i = 0; i < reel__numel(&in[wrt].meta); i++) {
        const double before = x[i];
        x[i] = before + step;
        assert_int_equal(call_ref(forward, in, n_in, out, n_out, attrs), REEL_OK);
        const double above = inner(&out[0], gy);
        x[i] = before - step;
        assert_int_equal(call_ref(forward, in, n_in, out, n_out, attrs), REEL_OK);
        const double below = inner(&out[0], gy);
        x[i] = before;
        check_near(((const double *)gradient->data)[i], (above - below) / (2 * step),
                   1e-7, what);
    }
    assert_int_equal(call_ref(forward, in, n_in, out, n_out, attrs), REEL_OK);
}

#endif
