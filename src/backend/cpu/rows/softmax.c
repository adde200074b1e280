/* softmax.c: the softmax family along a contiguous last dimension, f32. */
#include <math.h>

#include "backend/cpu/rows/rows.h"

typedef struct softmax_ctx {
    const reel__rows_isa *isa;
    reel__rows a, b, out; /* forward: a is x; backward: a is gy, b is y */
    bool log;
} softmax_ctx;

/* Fills t for a call with these inputs; false if it is the reference's. */
static bool take(const reel__kcall *call, softmax_ctx *t)
{
    const reel__dim_attrs *attrs = call->attrs;
    t->isa = REEL_ISA_PICK(rows);
    if (call->in[0].meta->rank < 1 || attrs->dim != call->in[0].meta->rank - 1)
        return false;
    if (!reel__as_rows(&call->in[0], 1, &t->a)) return false;
    return call->n_in < 2 || reel__as_rows(&call->in[1], 1, &t->b);
}

static bool run(const reel__kcall *call, softmax_ctx *t, reel__range_fn fn, bool log,
                reel_status *status)
{
    if (!take(call, t) || !reel__as_rows(&call->out[0], 1, &t->out)) return false;
    t->log = log;
    *status = REEL_OK;
    if (t->a.width > 0) reel__parallel_range(t->a.n, reel__row_grain(t->a.width), fn, t);
    return true;
}

static void forward(void *ctx, int64_t begin, int64_t end)
{
    const softmax_ctx *t = ctx;
    int64_t n = t->a.width;
    for (int64_t i = begin; i < end; i++) {
        const float *x = reel__row(&t->a, i);
        float *y = reel__row(&t->out, i);
        float m = t->isa->max(x, n);
        if (t->log) {
            float s = t->isa->exp_sum(x, m, NULL, n);
            t->isa->affine(x, m, 1, -logf(s), y, n);
        } else {
            float s = t->isa->exp_sum(x, m, y, n);
            t->isa->affine(y, 0, 1 / s, 0, y, n);
        }
    }
}

static void backward(void *ctx, int64_t begin, int64_t end)
{
    const softmax_ctx *t = ctx;
    int64_t n = t->a.width;
    for (int64_t i = begin; i < end; i++) {
        const float *gy = reel__row(&t->a, i), *y = reel__row(&t->b, i);
        float *gx = reel__row(&t->out, i);
        if (t->log)
            t->isa->log_softmax_backward(gy, y, t->isa->sum(gy, n), gx, n);
        else
            t->isa->softmax_backward(gy, y, t->isa->dot(gy, y, n), gx, n);
    }
}

bool reel__fast_softmax(const reel__kcall *call, reel_status *status)
{
    return run(call, &(softmax_ctx){0}, forward, false, status);
}

bool reel__fast_log_softmax(const reel__kcall *call, reel_status *status)
{
    return run(call, &(softmax_ctx){0}, forward, true, status);
}

bool reel__fast_softmax_backward(const reel__kcall *call, reel_status *status)
{
    return run(call, &(softmax_ctx){0}, backward, false, status);
}

bool reel__fast_log_softmax_backward(const reel__kcall *call, reel_status *status)
{
    return run(call, &(softmax_ctx){0}, backward, true, status);
}

/* An infinite maximum is the answer, unless there is a NaN. */
static void logsumexp(void *ctx, int64_t begin, int64_t end)
{
    const softmax_ctx *t = ctx;
    int64_t n = t->a.width;
    for (int64_t i = begin; i < end; i++) {
        const float *x = reel__row(&t->a, i);
        float m = t->isa->max(x, n), shift = isinf(m) ? 0 : m;
        float s = t->isa->exp_sum(x, shift, NULL, n);
        t->out.data[i] = isinf(m) && !isnan(s) ? m : shift + logf(s);
    }
}

/* x [..., n] -> [...] or [..., 1] */
bool reel__fast_logsumexp(const reel__kcall *call, reel_status *status)
{
    softmax_ctx t;
    if (!take(call, &t)) return false;
    if (call->out[0].meta->dtype != REEL_F32 || !reel__is_contiguous(call->out[0].meta) ||
        t.a.width == 0)
        return false;
    t.out.data = call->out[0].data;
    *status = REEL_OK;
    reel__parallel_range(t.a.n, reel__row_grain(t.a.width), logsumexp, &t);
    return true;
}
