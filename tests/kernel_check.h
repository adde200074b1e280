/* kernel_check.h: what tests of CPU kernels share: random operands of any layout, calls,
 * and reading elements by index. */
#ifndef REEL_TESTS_KERNEL_CHECK_H
#define REEL_TESTS_KERNEL_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/kernels.h"
#include "base/alloc.h"
#include "base/rng.h"

typedef struct operand {
    reel__meta meta;
    void *data;
    size_t bytes;
} operand;

static inline void *must(void *p)
{
    assert_non_null(p);
    return p;
}

static inline float random_float(uint64_t seed, int64_t i)
{
    uint32_t w[4];
    reel__philox(seed, (uint64_t)i / 4, w);
    return 2 * reel__u01f(w[i % 4]) - 1;
}

/* A dense operand of a shape, filled with numbers in [-1, 1); `order` lists its
 * dimensions from the outermost in memory inwards, NULL for row-major. */
static inline operand make(reel_shape shape, reel_dtype dtype, const int *order,
                           uint64_t seed)
{
    operand x = {.meta = {.dtype = dtype, .rank = shape.rank}};
    int64_t step = 1;
    memcpy(x.meta.dim, shape.dim, sizeof shape.dim);
    for (int i = shape.rank - 1; i >= 0; i--) {
        int d = order ? order[i] : i;
        x.meta.stride[d] = step;
        step *= shape.dim[d];
    }
    size_t size = dtype == REEL_F32 ? 4 : dtype == REEL_BOOL ? 1 : 8;
    x.bytes = (size_t)step * size;
    x.data = must(malloc(x.bytes + 1));
    for (int64_t i = 0; i < step; i++) {
        float v = random_float(seed, i);
        if (dtype == REEL_F32)
            ((float *)x.data)[i] = v;
        else if (dtype == REEL_F64)
            ((double *)x.data)[i] = (double)v;
        else if (dtype == REEL_I64)
            ((int64_t *)x.data)[i] = 0;
        else
            ((uint8_t *)x.data)[i] = v > -0.2f;
    }
    return x;
}

static inline void drop(operand *x)
{
    free(x->data);
    x->data = NULL;
}

/* Element at an index given for every dimension; dimensions of size 1 broadcast. */
static inline double at(const operand *x, const int64_t *index)
{
    int64_t o = 0;
    for (int d = 0; d < x->meta.rank; d++)
        if (x->meta.dim[d] != 1) o += index[d] * x->meta.stride[d];
    if (x->meta.dtype == REEL_F32) return (double)((const float *)x->data)[o];
    if (x->meta.dtype == REEL_F64) return ((const double *)x->data)[o];
    return (double)((const uint8_t *)x->data)[o];
}

/* Next index of a shape in row-major order; false after the last. */
static inline bool next(const reel__meta *m, int64_t *index)
{
    for (int d = m->rank - 1; d >= 0; d--) {
        if (++index[d] < m->dim[d]) return true;
        index[d] = 0;
    }
    return false;
}

#define MAX_ARGS 8
/* Runs a fast kernel on one and on two threads; the outputs must agree in every bit. An
 * operand without data is absent. */
static inline reel_status call_fast(reel__fast_fn fn, const operand *in, int n_in,
                                    operand *out, int n_out, const void *attrs)
{
    reel__karg ins[MAX_ARGS] = {{NULL, NULL}}, outs[MAX_ARGS] = {{NULL, NULL}};
    void *first[MAX_ARGS] = {NULL};
    reel_status status = REEL_OK;
    for (int i = 0; i < n_in; i++)
        if (in[i].data) ins[i] = (reel__karg){in[i].data, &in[i].meta};
    for (int i = 0; i < n_out; i++)
        if (out[i].data) outs[i] = (reel__karg){out[i].data, &out[i].meta};
    reel__kcall call = {
        .n_in = n_in, .n_out = n_out, .in = ins, .out = outs, .attrs = attrs};
    reel_set_threads(1);
    assert_true(fn(&call, &status));
    for (int i = 0; i < n_out; i++)
        if (out[i].data) {
            first[i] = must(malloc(out[i].bytes + 1));
            memcpy(first[i], out[i].data, out[i].bytes);
            memset(out[i].data, 0x55, out[i].bytes);
        }
    reel_error_clear();
    reel_set_threads(2);
    assert_true(fn(&call, &status));
    for (int i = 0; i < n_out; i++)
        if (out[i].data) {
            if (status == REEL_OK)
                assert_memory_equal(first[i], out[i].data, out[i].bytes);
            free(first[i]);
        }
    return status;
}

/* A fast kernel without scratch memory reports so. */
static inline void check_no_memory(reel__fast_fn fn, const operand *in, int n_in,
                                   operand *out, int n_out, const void *attrs)
{
    reel__karg ins[MAX_ARGS] = {{NULL, NULL}}, outs[MAX_ARGS] = {{NULL, NULL}};
    reel_status status = REEL_OK;
    for (int i = 0; i < n_in; i++)
        if (in[i].data) ins[i] = (reel__karg){in[i].data, &in[i].meta};
    for (int i = 0; i < n_out; i++)
        if (out[i].data) outs[i] = (reel__karg){out[i].data, &out[i].meta};
    reel__kcall call = {
        .n_in = n_in, .n_out = n_out, .in = ins, .out = outs, .attrs = attrs};
    reel__fault_alloc(1, true);
    assert_true(fn(&call, &status));
    reel__fault_alloc(0, false);
    assert_int_equal(status, REEL_ERR_MEMORY);
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    reel_error_clear();
}

static inline void check_near(double got, double want, double tolerance, const char *what)
{
    if (isnan(want)   ? !isnan(got)
        : isinf(want) ? got != want
                      : !(fabs(got - want) <= tolerance))
        fail_msg("%s: got %.9g, want %.9g", what, got, want);
}

#endif
