/* layer_norm.c: layer normalization over contiguous trailing dimensions, f32.
 * Source: Ba et al. 2016, arXiv:1607.06450. */
#include <math.h>
#include <string.h>

#include "backend/cpu/rows/rows.h"
#include "base/alloc.h"
#include "base/int64.h"

/* Data of an optional f32 operand that must be contiguous; false if it is not. */
static bool dense(const reel__karg *x, float **out)
{
    *out = x->data;
    return !x->data || (x->meta->dtype == REEL_F32 && reel__is_contiguous(x->meta));
}

/* ---- forward ----------------------------------------------------------------------- */

typedef struct forward_ctx {
    const reel__rows_isa *isa;
    reel__rows x, y;
    float *w, *b, *mean, *rstd;
    double eps;
} forward_ctx;

/* A row in f64 arithmetic: for numbers whose squares or differences leave the range of f32. */
static void forward_wide(const forward_ctx *t, const float *x, float *y, float *mean,
                         float *rstd)
{
    const int64_t n = t->x.width;
    const double shift = isfinite(x[0]) ? (double)x[0] : 0;
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)x[j] - shift;
    const double m = shift + sum / (double)n;
    for (int64_t j = 0; j < n; j++) squares += ((double)x[j] - m) * ((double)x[j] - m);
    const double r = 1 / sqrt(squares / (double)n + t->eps);
    for (int64_t j = 0; j < n; j++) {
        const double v = ((double)x[j] - m) * r * (t->w ? (double)t->w[j] : 1);
        y[j] = (float)(v + (t->b ? (double)t->b[j] : 0));
    }
    *mean = (float)m;
    *rstd = (float)r;
}

static void forward(void *ctx, int64_t begin, int64_t end)
{
    const forward_ctx *t = ctx;
    for (int64_t i = begin; i < end; i++) {
        const float *x = reel__row(&t->x, i);
        float *y = reel__row(&t->y, i), mean, rstd;
        if (!t->isa->layer_norm(x, t->w, t->b, t->eps, y, &mean, &rstd, t->x.width))
            forward_wide(t, x, y, &mean, &rstd);
        if (t->mean) t->mean[i] = mean;
        if (t->rstd) t->rstd[i] = rstd;
    }
}

/* x [..., d]  w [d]?  b [d]?  ->  y [..., d], mean, rstd by row */
bool reel__fast_layer_norm(const reel__kcall *call, reel_status *status)
{
    const reel__layer_norm_attrs *attrs = call->attrs;
    forward_ctx t = {.isa = REEL_ISA_PICK(rows), .eps = attrs->eps};
    int dims = (int)attrs->dims;
    if (!reel__as_rows(&call->in[0], dims, &t.x) ||
        !reel__as_rows(&call->out[0], dims, &t.y) || !dense(&call->in[1], &t.w) ||
        !dense(&call->in[2], &t.b) || !dense(&call->out[1], &t.mean) ||
        !dense(&call->out[2], &t.rstd))
        return false;
    *status = REEL_OK;
    if (t.x.width > 0)
        reel__parallel_range(t.x.n, reel__row_grain(t.x.width), forward, &t);
    return true;
}

/* ---- backward ---------------------------------------------------------------------- */

/* Rows are cut into pieces, as many as the number of rows says. Each piece adds up its
 * own gw and gb, which are then added in the order of the pieces. */
typedef struct backward_ctx {
    const reel__rows_isa *isa;
    reel__rows gy, x, gx;
    float *w, *mean, *rstd, *gw, *gb;
    int64_t pieces, length;
    float *sums; /* [pieces, 2, d], NULL if neither gw nor gb is wanted */
} backward_ctx;

/* As forward_wide(). */
static void backward_wide(const reel__layer_norm_row *t, int64_t n)
{
    const double mean = (double)t->mean, rstd = (double)t->rstd;
    double sum_g = 0, sum_gh = 0;
    for (int64_t j = 0; j < n; j++) {
        const double g = (double)t->gy[j] * (t->w ? (double)t->w[j] : 1);
        sum_g += g;
        sum_gh += g * ((double)t->x[j] - mean) * rstd;
    }
    sum_g /= (double)n;
    sum_gh /= (double)n;
    for (int64_t j = 0; j < n; j++) {
        const double gy = (double)t->gy[j], g = gy * (t->w ? (double)t->w[j] : 1);
        const double h = ((double)t->x[j] - mean) * rstd;
        if (t->gx) t->gx[j] = (float)(rstd * (g - sum_g - h * sum_gh));
        if (t->sum_w) t->sum_w[j] += (float)(gy * h);
        if (t->sum_b) t->sum_b[j] += (float)gy;
    }
}

static void backward(void *ctx, int64_t piece, int worker)
{
    (void)worker;
    const backward_ctx *t = ctx;
    int64_t d = t->x.width, end = min64((piece + 1) * t->length, t->x.n);
    float *sums = t->sums ? t->sums + piece * 2 * d : NULL;
    if (sums) memset(sums, 0, (size_t)(2 * d) * sizeof *sums);
    for (int64_t i = piece * t->length; i < end; i++) {
        reel__layer_norm_row row = {.gy = reel__row(&t->gy, i),
                                    .x = reel__row(&t->x, i),
                                    .w = t->w,
                                    .mean = t->mean[i],
                                    .rstd = t->rstd[i],
                                    .gx = t->gx.data ? reel__row(&t->gx, i) : NULL,
                                    .sum_w = sums,
                                    .sum_b = sums ? sums + d : NULL};
        if (!t->isa->layer_norm_backward(&row, d)) backward_wide(&row, d);
    }
}

static void add_pieces(void *ctx, int64_t begin, int64_t end)
{
    const backward_ctx *t = ctx;
    int64_t d = t->x.width;
    for (int which = 0; which < 2; which++) {
        float *out = which ? t->gb : t->gw;
        if (!out) continue;
        memset(out + begin, 0, (size_t)(end - begin) * sizeof *out);
        for (int64_t p = 0; p < t->pieces; p++) {
            const float *sums = t->sums + (2 * p + which) * d;
            for (int64_t j = begin; j < end; j++) out[j] += sums[j];
        }
    }
}

static reel_status run_backward(backward_ctx *t)
{
    int64_t d = t->x.width;
    t->length = reel__row_grain(d);
    if (t->length < (t->x.n + 63) / 64) t->length = (t->x.n + 63) / 64;
    t->pieces = (t->x.n + t->length - 1) / t->length;
    if (t->gw || t->gb) {
        t->sums = reel__scratch((size_t)(t->pieces * 2 * d) * sizeof *t->sums);
        if (!t->sums) return REEL_ERR_MEMORY;
    }
    reel__parallel(t->pieces, backward, t);
    if (t->sums) reel__parallel_range(d, 512, add_pieces, t);
    reel__scratch_free(t->sums);
    return REEL_OK;
}

/* gy x [..., d]  w [d]?  mean rstd by row  ->  gx [..., d]?  gw gb [d]? */
bool reel__fast_layer_norm_backward(const reel__kcall *call, reel_status *status)
{
    const reel__layer_norm_attrs *attrs = call->attrs;
    backward_ctx t = {.isa = REEL_ISA_PICK(rows)};
    int dims = (int)attrs->dims;
    if (!reel__as_rows(&call->in[0], dims, &t.gy) ||
        !reel__as_rows(&call->in[1], dims, &t.x) || !dense(&call->in[2], &t.w) ||
        !dense(&call->in[3], &t.mean) || !dense(&call->in[4], &t.rstd) ||
        !dense(&call->out[1], &t.gw) || !dense(&call->out[2], &t.gb))
        return false;
    if (call->out[0].data && !reel__as_rows(&call->out[0], dims, &t.gx)) return false;
    if (t.x.width == 0) return false;
    *status = run_backward(&t);
    return true;
}
