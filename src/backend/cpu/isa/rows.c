/* rows.c: kernels over one contiguous row; see rows.h. Sums run in two or more vectors
 * side by side: the latency of an addition is four cycles. */
#include "backend/cpu/isa/rows.h"

#include <math.h>

#include "backend/cpu/isa/vmath.h"

#define VW REEL_VW

/* The vector at i of a row of n; the lanes after the row are `fill`. */
static inline reel_vf load(const float *x, int64_t i, int64_t n, float fill)
{
    return i + VW <= n ? reel_vload(x + i) : reel_vload_part(x + i, n - i, fill);
}

static inline void store(float *y, int64_t i, int64_t n, reel_vf v)
{
    if (i + VW <= n)
        reel_vstore(y + i, v);
    else
        reel_vstore_part(y + i, n - i, v);
}

static float row_max(const float *x, int64_t n)
{
    reel_vf m0 = reel_vset(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
    int64_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW) {
        m0 = reel_vmax(reel_vload(x + i), m0);
        m1 = reel_vmax(reel_vload(x + i + VW), m1);
        m2 = reel_vmax(reel_vload(x + i + 2 * VW), m2);
        m3 = reel_vmax(reel_vload(x + i + 3 * VW), m3);
    }
    for (; i < n; i += VW) m0 = reel_vmax(load(x, i, n, -INFINITY), m0);
    return reel_vhighest(reel_vmax(reel_vmax(m0, m1), reel_vmax(m2, m3)));
}

static float row_exp_sum(const float *x, float m, float *e, int64_t n)
{
    reel_vf s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        reel_vf e0 = reel_vexp(reel_vload(x + i) - m);
        reel_vf e1 = reel_vexp(reel_vload(x + i + VW) - m);
        s0 += e0;
        s1 += e1;
        if (e) {
            reel_vstore(e + i, e0);
            reel_vstore(e + i + VW, e1);
        }
    }
    for (; i < n; i += VW) {
        reel_vf v = reel_vexp(load(x, i, n, -INFINITY) - m);
        s0 += v;
        if (e) store(e, i, n, v);
    }
    return reel_vsum(s0 + s1);
}

static void row_affine(const float *x, float m, float a, float b, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += VW) store(y, i, n, (load(x, i, n, 0) - m) * a + b);
}

static float row_sum(const float *x, int64_t n)
{
    reel_vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW) {
        s0 += reel_vload(x + i);
        s1 += reel_vload(x + i + VW);
        s2 += reel_vload(x + i + 2 * VW);
        s3 += reel_vload(x + i + 3 * VW);
    }
    for (; i < n; i += VW) s0 += load(x, i, n, 0);
    return reel_vsum((s0 + s1) + (s2 + s3));
}

static float row_dot(const float *x, const float *y, int64_t n)
{
    reel_vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW) {
        s0 += reel_vload(x + i) * reel_vload(y + i);
        s1 += reel_vload(x + i + VW) * reel_vload(y + i + VW);
        s2 += reel_vload(x + i + 2 * VW) * reel_vload(y + i + 2 * VW);
        s3 += reel_vload(x + i + 3 * VW) * reel_vload(y + i + 3 * VW);
    }
    for (; i < n; i += VW) s0 += load(x, i, n, 0) * load(y, i, n, 0);
    return reel_vsum((s0 + s1) + (s2 + s3));
}

static void row_add_scaled(const float *x, float a, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += VW)
        store(y, i, n, load(y, i, n, 0) + load(x, i, n, 0) * a);
}

static void row_softmax_backward(const float *gy, const float *y, float d, float *gx,
                                 int64_t n)
{
    for (int64_t i = 0; i < n; i += VW)
        store(gx, i, n, load(y, i, n, 0) * (load(gy, i, n, 0) - d));
}

static void row_log_softmax_backward(const float *gy, const float *y, float s, float *gx,
                                     int64_t n)
{
    for (int64_t i = 0; i < n; i += VW)
        store(gx, i, n, load(gy, i, n, 0) - reel_vexp(load(y, i, n, 0)) * s);
}

/* Sum of (x - mean)^2. */
static float row_spread(const float *x, float mean, int64_t n)
{
    reel_vf s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        reel_vf d0 = reel_vload(x + i) - mean, d1 = reel_vload(x + i + VW) - mean;
        s0 += d0 * d0;
        s1 += d1 * d1;
    }
    for (; i < n; i += VW) {
        reel_vf d = load(x, i, n, mean) - mean;
        s0 += d * d;
    }
    return reel_vsum(s0 + s1);
}

static void row_layer_norm(const float *x, const float *w, const float *b, double eps,
                           float *y, float *mean, float *rstd, int64_t n)
{
    float m = row_sum(x, n) / (float)n;
    float r = (float)(1 / sqrt((double)row_spread(x, m, n) / (double)n + eps));
    for (int64_t i = 0; i < n; i += VW) {
        reel_vf v = (load(x, i, n, 0) - m) * r;
        if (w) v *= load(w, i, n, 0);
        if (b) v += load(b, i, n, 0);
        store(y, i, n, v);
    }
    *mean = m;
    *rstd = r;
}

/* With g = gy w and h = (x - mean) rstd: gx = rstd (g - mean(g) - h mean(g h)). */
static void row_layer_norm_gx(const reel_layer_norm_row *t, int64_t n)
{
    reel_vf sum_g = {0}, sum_gh = {0};
    for (int64_t i = 0; i < n; i += VW) {
        reel_vf g = load(t->gy, i, n, 0);
        if (t->w) g *= load(t->w, i, n, 0);
        sum_g += g;
        sum_gh += g * (load(t->x, i, n, t->mean) - t->mean);
    }
    float a = reel_vsum(sum_g) / (float)n;
    float b = reel_vsum(sum_gh) * t->rstd * t->rstd / (float)n;
    for (int64_t i = 0; i < n; i += VW) {
        reel_vf g = load(t->gy, i, n, 0);
        if (t->w) g *= load(t->w, i, n, 0);
        reel_vf d = load(t->x, i, n, t->mean) - t->mean;
        store(t->gx, i, n, (g - a - d * b) * t->rstd);
    }
}

static void row_layer_norm_backward(const reel_layer_norm_row *t, int64_t n)
{
    if (t->gx) row_layer_norm_gx(t, n);
    if (!t->sum_w) return;
    for (int64_t i = 0; i < n; i += VW) {
        reel_vf g = load(t->gy, i, n, 0);
        reel_vf h = (load(t->x, i, n, t->mean) - t->mean) * t->rstd;
        store(t->sum_w, i, n, load(t->sum_w, i, n, 0) + g * h);
        store(t->sum_b, i, n, load(t->sum_b, i, n, 0) + g);
    }
}

const reel_rows_isa ISA(rows) = {
    .max = row_max,
    .exp_sum = row_exp_sum,
    .affine = row_affine,
    .sum = row_sum,
    .dot = row_dot,
    .add_scaled = row_add_scaled,
    .softmax_backward = row_softmax_backward,
    .log_softmax_backward = row_log_softmax_backward,
    .layer_norm = row_layer_norm,
    .layer_norm_backward = row_layer_norm_backward,
};
