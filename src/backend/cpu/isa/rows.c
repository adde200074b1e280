/* rows.c: kernels over one contiguous row; see rows.h. Sums run in two or more vectors
 * side by side: the latency of an addition is four cycles. */
#include "backend/cpu/isa/rows.h"

#include <math.h>

#include "backend/cpu/isa/vmath.h"
#include "backend/cpu/usual.h"

#define VW REEL_VW

/* Runs a body for the vector at each i of a row of n. It stands twice: where the vector
 * is whole, the compiler knows it, and load() and store() are one instruction. */
#define EACH(i, n, ...)                                                                  \
    do {                                                                                 \
        int64_t i = 0;                                                                   \
        for (; i + VW <= (n); i += VW) __VA_ARGS__                                       \
        if (i < (n)) __VA_ARGS__                                                         \
    } while (0)

/* The vector at i of a row of n; the lanes after the row are zero. */
static inline reel_vf load(const float *x, int64_t i, int64_t n)
{
    return i + VW <= n ? reel_vload(x + i) : reel_vload_part(x + i, n - i);
}

/* The same with another number in the lanes after the row. */
static inline reel_vf load_or(const float *x, int64_t i, int64_t n, float other)
{
    if (i + VW <= n) return reel_vload(x + i);
    return reel_vfirst(n - i, reel_vload_part(x + i, n - i), reel_vset(other));
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
    for (; i < n; i += VW) m0 = reel_vmax(load_or(x, i, n, -INFINITY), m0);
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
        reel_vf v = reel_vexp(load_or(x, i, n, -INFINITY) - m);
        s0 += v;
        if (e) store(e, i, n, v);
    }
    return reel_vsum(s0 + s1);
}

static void row_affine(const float *x, float m, float a, float b, float *y, int64_t n)
{
    EACH(i, n, { store(y, i, n, (load(x, i, n) - m) * a + b); });
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
    for (; i < n; i += VW) s0 += load(x, i, n);
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
    for (; i < n; i += VW) s0 += load(x, i, n) * load(y, i, n);
    return reel_vsum((s0 + s1) + (s2 + s3));
}

static float row_drop(const float *x, float m, float a, const float *w, int64_t n)
{
    reel_vf s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        reel_vf d0 = (m - reel_vload(x + i)) * a, d1 = (m - reel_vload(x + i + VW)) * a;
        s0 += w ? d0 * reel_vload(w + i) : d0;
        s1 += w ? d1 * reel_vload(w + i + VW) : d1;
    }
    for (; i < n; i += VW) {
        reel_vf d = (m - load_or(x, i, n, m)) * a;
        s0 += w ? d * load(w, i, n) : d;
    }
    return reel_vsum(s0 + s1);
}

static void row_add_scaled(const float *x, float a, float *y, int64_t n)
{
    EACH(i, n, { store(y, i, n, load(y, i, n) + load(x, i, n) * a); });
}

static void row_softmax_backward(const float *gy, const float *y, float d, float *gx,
                                 int64_t n)
{
    EACH(i, n, { store(gx, i, n, load(y, i, n) * (load(gy, i, n) - d)); });
}

static void row_log_softmax_backward(const float *gy, const float *y, float s, float *gx,
                                     int64_t n)
{
    EACH(i, n, { store(gx, i, n, load(gy, i, n) - reel_vexp(load(y, i, n)) * s); });
}

/* Sum of x - shift, and of its squares. */
static float row_moments(const float *x, float shift, float *squares, int64_t n)
{
    reel_vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, q0 = {0}, q1 = {0}, q2 = {0},
            q3 = {0};
    int64_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW) {
        reel_vf d0 = reel_vload(x + i) - shift, d1 = reel_vload(x + i + VW) - shift;
        reel_vf d2 = reel_vload(x + i + 2 * VW) - shift;
        reel_vf d3 = reel_vload(x + i + 3 * VW) - shift;
        s0 += d0;
        s1 += d1;
        s2 += d2;
        s3 += d3;
        q0 += d0 * d0;
        q1 += d1 * d1;
        q2 += d2 * d2;
        q3 += d3 * d3;
    }
    for (; i < n; i += VW) {
        reel_vf d = load_or(x, i, n, shift) - shift;
        s0 += d;
        q0 += d * d;
    }
    *squares = reel_vsum((q0 + q1) + (q2 + q3));
    return reel_vsum((s0 + s1) + (s2 + s3));
}

/* Mean and mean squared deviation. The mean is the first value plus the mean distance from it,
 * so that of equal values is exact. The squares of the distances tell the deviation too, unless
 * the first value lies so far out that the difference cancels: then it takes a second look, at
 * distances from the rounded mean. */
static double row_mean(const float *x, double *var, int64_t n)
{
    float squares;
    const double sum = (double)row_moments(x, x[0], &squares, n), share = 1 / (double)n;
    const double mean = (double)x[0] + sum * share, all = (double)squares * share;
    *var = all - sum * share * (sum * share);
    if (*var < all / 4) {
        const double off = mean - (double)(float)mean;
        (void)row_moments(x, (float)mean, &squares, n);
        *var = fmax(0, (double)squares * share - off * off);
    }
    return mean;
}

static bool is_usual_row(float mean, float rstd)
{
    return reel__is_usual((double)mean) && reel__is_usual_invstd((double)rstd);
}

static bool row_layer_norm(const float *x, const float *w, const float *b, double eps,
                           float *y, float *mean, float *rstd, int64_t n)
{
    double var;
    const float m = (float)row_mean(x, &var, n), r = (float)(1 / sqrt(var + eps));
    if (!isfinite(var) || !is_usual_row(m, r)) return false;
    EACH(i, n, {
        reel_vf v = (load(x, i, n) - m) * r;
        if (w) v *= load(w, i, n);
        if (b) v += load(b, i, n);
        store(y, i, n, v);
    });
    *mean = m;
    *rstd = r;
    return true;
}

static inline reel_vf weighted(const reel__layer_norm_row *t, int64_t i, int64_t n)
{
    reel_vf g = load(t->gy, i, n);
    return t->w ? g * load(t->w, i, n) : g;
}

/* With g = gy w and h = (x - mean) rstd: gx = rstd (g - mean(g) - h mean(g h)). */
static bool row_layer_norm_gx(const reel__layer_norm_row *t, int64_t n)
{
    reel_vf g0 = {0}, g1 = {0}, h0 = {0}, h1 = {0};
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        reel_vf a = weighted(t, i, n), b = weighted(t, i + VW, n);
        g0 += a;
        g1 += b;
        h0 += a * (reel_vload(t->x + i) - t->mean);
        h1 += b * (reel_vload(t->x + i + VW) - t->mean);
    }
    for (; i < n; i += VW) {
        reel_vf a = weighted(t, i, n);
        g0 += a;
        h0 += a * (load(t->x, i, n) - t->mean);
    }
    float mean_g = reel_vsum(g0 + g1) / (float)n;
    float slope = reel_vsum(h0 + h1) * t->rstd * t->rstd / (float)n;
    if (!isfinite(mean_g) || !isfinite(slope)) return false;
    EACH(j, n, {
        reel_vf d = load(t->x, j, n) - t->mean;
        store(t->gx, j, n, (weighted(t, j, n) - mean_g - d * slope) * t->rstd);
    });
    return true;
}

static bool row_layer_norm_backward(const reel__layer_norm_row *t, int64_t n)
{
    if (!is_usual_row(t->mean, t->rstd)) return false;
    if (t->gx && !row_layer_norm_gx(t, n)) return false;
    if (!t->sum_w) return true;
    EACH(i, n, {
        reel_vf g = load(t->gy, i, n);
        reel_vf h = (load(t->x, i, n) - t->mean) * t->rstd;
        store(t->sum_w, i, n, load(t->sum_w, i, n) + g * h);
        store(t->sum_b, i, n, load(t->sum_b, i, n) + g);
    });
    return true;
}

/* Both of the following must make the same bits of a score: near 1e9 the next number is 64
 * away, and e^64 is not 1. */
static float row_score_max(float *s, float scale, const float *add, int64_t n)
{
    reel_vf m0 = reel_vset(-INFINITY), m1 = m0;
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        reel_vf v0 = reel_vrounded(reel_vload(s + i) * scale);
        reel_vf v1 = reel_vrounded(reel_vload(s + i + VW) * scale);
        if (add) {
            v0 += reel_vload(add + i);
            v1 += reel_vload(add + i + VW);
        }
        reel_vstore(s + i, v0);
        reel_vstore(s + i + VW, v1);
        m0 = reel_vmax(v0, m0);
        m1 = reel_vmax(v1, m1);
    }
    for (; i < n; i += VW) {
        reel_vf v = reel_vrounded(load(s, i, n) * scale);
        if (add) v += load(add, i, n);
        store(s, i, n, v);
        m0 = reel_vmax(load_or(s, i, n, -INFINITY), m0);
    }
    return reel_vhighest(reel_vmax(m0, m1));
}

static void row_prob(float *s, float scale, const float *add, float m, float a, int64_t n)
{
    EACH(i, n, {
        reel_vf v = reel_vrounded(load(s, i, n) * scale);
        if (add) v += load(add, i, n);
        store(s, i, n, reel_vexp(v - m) * a);
    });
}

static void row_slope(const float *p, float *dp, float d, float a, int64_t n)
{
    EACH(i, n, { store(dp, i, n, load(p, i, n) * (load(dp, i, n) - d) * a); });
}

const reel__rows_isa ISA(rows) = {
    .max = row_max,
    .exp_sum = row_exp_sum,
    .affine = row_affine,
    .sum = row_sum,
    .dot = row_dot,
    .drop = row_drop,
    .add_scaled = row_add_scaled,
    .softmax_backward = row_softmax_backward,
    .log_softmax_backward = row_log_softmax_backward,
    .layer_norm = row_layer_norm,
    .layer_norm_backward = row_layer_norm_backward,
    .score_max = row_score_max,
    .prob = row_prob,
    .slope = row_slope,
};
