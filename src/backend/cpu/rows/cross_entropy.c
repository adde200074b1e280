/* cross_entropy.c: softmax cross-entropy with class indices: loss and gradient while a
 * row is in cache. With probabilities p, classes c, target t, smoothing s, weights w:
 *
 *   row loss = sum over j of a[j] (lse - x[j]), a[j] = (1 - s) w[t] [j == t] + s / c w[j]
 *   gradient = p[j] sum(a) - a[j]
 *
 * and the mean divides by the sum of w[t] over the rows that count, as PyTorch does. */
#include <inttypes.h>
#include <math.h>

#include "backend/cpu/rows/rows.h"
#include "base/alloc.h"

typedef struct cross_entropy_ctx {
    const reel__rows_isa *isa;
    const reel__cross_entropy_attrs *attrs;
    reel__rows x, grad; /* grad.data NULL: not wanted */
    const int64_t *target;
    int64_t target_step;
    const float *w; /* [c] or NULL */
    float smooth;   /* s / c */
    float w_sum;    /* of all classes, under smoothing */
    float scale;    /* 1 / what the mean divides by */
    float *loss;    /* [n], not scaled */
} cross_entropy_ctx;

/* Checks every target before anything is written; *divisor: sum of their weights. */
static reel_status check_targets(const cross_entropy_ctx *t, double *divisor)
{
    *divisor = 0;
    for (int64_t i = 0; i < t->x.n; i++) {
        int64_t y = t->target[i * t->target_step];
        if (y == t->attrs->ignore_index) continue;
        if (y < 0 || y >= t->x.width)
            return reel_fail(REEL_ERR_ARG,
                             "cross_entropy: target of row %" PRId64 " is %" PRId64
                             ", but the logits have %" PRId64 " classes: 0 .. %" PRId64,
                             i, y, t->x.width, t->x.width - 1);
        *divisor += t->w ? (double)t->w[y] : 1;
    }
    return REEL_OK;
}

/* Loss of row i under smoothing, beyond the target's own share: the sum of w[j] times
 * log_s - (x[j] - m). The maximum stays apart from log_s, which it may swallow. */
static float smooth_loss(const cross_entropy_ctx *t, const float *x, float m, float log_s)
{
    float below = t->isa->drop(x, m, t->smooth, t->w, t->x.width);
    return t->smooth * t->w_sum * log_s + below;
}

static void one_row(const cross_entropy_ctx *t, int64_t i)
{
    int64_t c = t->x.width, y = t->target[i * t->target_step];
    const float *x = reel__row(&t->x, i);
    float *d = t->grad.data ? reel__row(&t->grad, i) : NULL;
    if (y == t->attrs->ignore_index) {
        t->loss[i] = 0;
        for (int64_t j = 0; d && j < c; j++) d[j] = 0;
        return;
    }
    float m = t->isa->max(x, c);
    float s = t->isa->exp_sum(x, m, d, c), log_s = logf(s);
    float share = (float)(1 - t->attrs->smoothing) * (t->w ? t->w[y] : 1);
    t->loss[i] = share * (log_s - (x[y] - m));
    if (t->smooth > 0) t->loss[i] += smooth_loss(t, x, m, log_s);
    if (!d) return;
    float all = share + t->smooth * t->w_sum;
    bool even = t->smooth > 0 && !t->w; /* every class has the same share */
    t->isa->affine(d, 0, all / s * t->scale, even ? -t->smooth * t->scale : 0, d, c);
    if (t->smooth > 0 && t->w) t->isa->add_scaled(t->w, -t->smooth * t->scale, d, c);
    d[y] -= share * t->scale;
}

static void some_rows(void *ctx, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) one_row(ctx, i);
}

/* One order of the sum, whatever the threads. */
static void store_loss(const cross_entropy_ctx *t, const reel__karg *out, double divisor)
{
    float *to = out->data;
    double sum = 0;
    for (int64_t i = 0; i < t->x.n; i++) {
        sum += (double)t->loss[i];
        if (t->attrs->reduction == REEL_NONE) to[i * out->meta->stride[0]] = t->loss[i];
    }
    if (t->attrs->reduction != REEL_NONE) *to = (float)(sum / divisor);
}

static bool take(const reel__kcall *call, cross_entropy_ctx *t)
{
    const reel__karg *w = call->n_in > 2 && call->in[2].data ? &call->in[2] : NULL;
    if (call->in[0].meta->rank != 2 || call->out[0].meta->dtype != REEL_F32) return false;
    if (call->in[1].meta->dtype != REEL_I64) return false;
    if (!reel__as_rows(&call->in[0], 1, &t->x) || t->x.width == 0) return false;
    if (t->attrs->want_grad && !reel__as_rows(&call->out[1], 1, &t->grad)) return false;
    if (w && (w->meta->dtype != REEL_F32 || !reel__is_contiguous(w->meta))) return false;
    t->w = w ? w->data : NULL;
    t->target = call->in[1].data;
    t->target_step = call->in[1].meta->stride[0];
    return true;
}

/* logits [n, c]  target i64 [n]  weight [c]?  ->  loss [] or [n], dlogits [n, c] */
bool reel__fast_cross_entropy(const reel__kcall *call, reel_status *status)
{
    cross_entropy_ctx t = {.isa = REEL_ISA_PICK(rows), .attrs = call->attrs};
    double divisor;
    if (!take(call, &t)) return false;
    *status = check_targets(&t, &divisor);
    if (*status != REEL_OK) return true;
    if (t.attrs->reduction != REEL_MEAN) divisor = 1;
    t.scale = (float)(1 / divisor);
    t.smooth = (float)(t.attrs->smoothing / (double)t.x.width);
    t.w_sum = t.w ? t.isa->sum(t.w, t.x.width) : (float)t.x.width;
    t.loss = reel__scratch((size_t)t.x.n * sizeof *t.loss);
    if (!t.loss) {
        *status = REEL_ERR_MEMORY;
        return true;
    }
    reel__parallel_range(t.x.n, reel__row_grain(t.x.width), some_rows, &t);
    store_loss(&t, &call->out[0], divisor);
    reel__scratch_free(t.loss);
    return true;
}
