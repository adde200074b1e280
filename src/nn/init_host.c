/* init_host.c: initializers that are computed in f64 on the host: truncated normal by the
 * inverse distribution function, orthogonal by Gram-Schmidt. */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

/* n random numbers, f64. NULL on an error. */
static double *draw(int64_t n, bool normal)
{
    double *out = reel__calloc((size_t)n, sizeof *out);
    if (!out) return NULL;
    reel_scope s = reel_scope_begin();
    reel_tensor *r =
        normal ? reel_randn(REEL_SHAPE(n), REEL_F64) : reel_rand(REEL_SHAPE(n), REEL_F64);
    bool ok = r && !reel_read(r, out, REEL_F64);
    reel_scope_end(s);
    if (ok) return out;
    reel__free(out);
    return NULL;
}

/* t = values, in row-major order; frees them. */
static reel_tensor *put(reel_tensor *t, double *values)
{
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_tensor *r = values ? reel_from(values, reel_shape_of(t), REEL_F64) : NULL;
    if (!r || !reel_copy_(t, r)) t = NULL;
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    reel__free(values);
    return t;
}

/* ---- truncated normal ------------------------------------------------------------------ */

static const double PI = 3.14159265358979323846;

static double normal_cdf(double z)
{
    return 0.5 * erfc(-z / sqrt(2));
}

/* z in [low, high] with P(Z < z) = p: Halley's method, kept inside the bracket. libm's erfc is
 * the only approximation of the distribution, so the result is as exact as that is. */
static double normal_quantile(double p, double low, double high)
{
    double z = fmin(fmax(sqrt(2 * PI) * (p - 0.5), low), high);
    for (int i = 0; i < 100 && low < high; i++) {
        double f = normal_cdf(z) - p;
        if (f < 0)
            low = z;
        else
            high = z;
        double newton = f * sqrt(2 * PI) * exp(0.5 * z * z);
        double next = z - newton / (1 + 0.5 * z * newton);
        if (!(next >= low && next <= high)) next = 0.5 * (low + high);
        double step = fabs(next - z);
        z = next;
        if (step < 1e-9) break; /* the error after it is of the order of its cube */
    }
    return z;
}

reel_tensor *reel_init_trunc_normal(reel_tensor *t, double mean, double std, double low,
                                    double high)
{
    REEL__CALLED;
    if (!t || !(std > 0) || !(low < high)) {
        reel_fail(REEL_ERR_ARG, "init_trunc_normal: %s",
                  t ? "needs std > 0 and low < high" : "the tensor is NULL");
        return NULL;
    }
    if (reel_failed()) return NULL;
    /* Beyond 38 deviations there is nothing that f64 could tell from 0. */
    double a = fmax((low - mean) / std, -38), b = fmin((high - mean) / std, 38);
    double pa = normal_cdf(a), pb = normal_cdf(b);
    int64_t n = reel_numel(t);
    double *x = draw(n, false);
    for (int64_t i = 0; x && i < n; i++) {
        double z = normal_quantile(pa + (pb - pa) * x[i], a, b);
        x[i] = fmin(fmax(mean + std * z, low), high);
    }
    return put(t, x);
}

/* ---- orthogonal ------------------------------------------------------------------------ */

static double dot(const double *a, const double *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

/* Makes the `rows` rows of q [rows, n], rows <= n, orthonormal. Twice is enough: Giraud et
 * al. 2005. Rows of normal numbers give the uniform distribution over such matrices. */
static void gram_schmidt(double *q, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++) {
        double *row = q + i * n;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < i; j++) {
                double c = dot(row, q + j * n, n);
                for (int64_t k = 0; k < n; k++) row[k] -= c * q[j * n + k];
            }
        double norm = sqrt(dot(row, row, n));
        for (int64_t k = 0; k < n; k++) row[k] /= norm;
    }
}

reel_tensor *reel_init_orthogonal(reel_tensor *t, double gain)
{
    REEL__CALLED;
    if (reel_rank(t) < 2) {
        reel_fail(t ? REEL_ERR_SHAPE : REEL_ERR_ARG, "init_orthogonal: %s",
                  t ? "needs rank 2 or more, [out, rest...]" : "the tensor is NULL");
        return NULL;
    }
    if (reel_failed()) return NULL;
    int64_t n = reel_numel(t);
    if (n == 0) return t;
    int64_t out = reel_size(t, 0), rest = n / out;
    int64_t rows = out < rest ? out : rest, columns = n / rows;
    double *q = draw(n, true),
           *values = q ? reel__calloc((size_t)n, sizeof *values) : NULL;
    if (values) {
        gram_schmidt(q, rows, columns);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < columns; k++)
                values[out <= rest ? i * rest + k : k * rest + i] =
                    reel__option(gain, 1) * q[i * columns + k];
    }
    reel__free(q);
    return put(t, values);
}
