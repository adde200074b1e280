/* init.c: initializers. Random ones draw f32 (f64 for f64 tensors) and copy, so that every
 * dtype is filled from the same numbers. */
#include <math.h>

#include "base/counts.h"
#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

/* The largest number of the dtype below `high`; at least `low`, as the dtype has it. */
static double last_below(reel_dtype dtype, double low, double high)
{
    static const struct {
        int bits, least; /* of a mantissa; exponent of the least denormal */
    } of[REEL__DTYPE_COUNT] = {[REEL_F32] = {24, -149},
                               [REEL_F64] = {53, -1074},
                               [REEL_F16] = {11, -24},
                               [REEL_BF16] = {8, -133}};
    const double h = reel_item(reel_scalar(high, dtype));
    const double l = reel_item(reel_scalar(low, dtype));
    int e, unit = of[dtype].least;
    const double m = frexp(h, &e);
    e -= of[dtype].bits + (m == 0.5); /* below a power of 2 they lie closer */
    if (h != 0 && e > unit) unit = e;
    return fmax(l, h - ldexp(1, unit));
}

/* t = a + (b - a) u, below b in t's dtype too, or a + b z; under no_grad, in a scope of its
 * own. */
static reel_tensor *fill(const char *who, reel_tensor *t, bool normal, double a, double b)
{
    const double scale = normal ? b : b - a;
    if (!t) {
        reel_fail(REEL_ERR_ARG, "%s: the tensor is NULL", who);
        return NULL;
    }
    if (!reel_dtype_is_float(reel_dtype_of(t))) {
        reel_fail(REEL_ERR_DTYPE, "%s: a tensor of %s must be floating", who,
                  reel_dtype_name(reel_dtype_of(t)));
        return NULL;
    }
    if (!(scale >= 0) || !isfinite(a) || !isfinite(scale)) {
        reel_fail(REEL_ERR_ARG,
                  "%s: %s %g, %s %g: must be finite, the second not negative", who,
                  normal ? "mean" : "low", a, normal ? "deviation" : "high - low", scale);
        return NULL;
    }
    if (reel_failed()) return NULL;
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_dtype dtype = reel_dtype_of(t) == REEL_F64 ? REEL_F64 : REEL_F32;
    reel_shape shape = reel_shape_of(t);
    reel_tensor *r = normal ? reel_randn(shape, dtype) : reel_rand(shape, dtype);
    r = reel_add_scalar(reel_mul_scalar(r, scale), a);
    if (!normal)
        r = reel_minimum(r, reel_scalar(last_below(reel_dtype_of(t), a, b), dtype));
    if (!reel_copy_(t, r)) t = NULL;
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    return t;
}

reel_tensor *reel_init_constant(reel_tensor *t, double value)
{
    REEL__CALLED;
    if (!t) reel_fail(REEL_ERR_ARG, "init_constant: the tensor is NULL");
    if (!t || reel_failed()) return NULL;
    bool was = reel_set_grad_enabled(false);
    t = reel_fill_(t, value);
    reel_set_grad_enabled(was);
    return t;
}

reel_tensor *reel_init_uniform(reel_tensor *t, double low, double high)
{
    REEL__CALLED;
    return fill("init_uniform", t, false, low, high);
}

reel_tensor *reel_init_normal(reel_tensor *t, double mean, double std)
{
    REEL__CALLED;
    return fill("init_normal", t, true, mean, std);
}

/* ---- by fan: [out, in, window...] ------------------------------------------------------ */

static bool fans(const char *who, reel_tensor *t, double *in, double *out)
{
    int rank = reel_rank(t);
    if (rank < 2) {
        reel_fail(t ? REEL_ERR_SHAPE : REEL_ERR_ARG, "%s: %s", who,
                  t ? "needs rank 2 or more, [out, in, window...]"
                    : "the tensor is NULL");
        return false;
    }
    double window = 1;
    for (int i = 2; i < rank; i++) window *= (double)reel_size(t, i);
    *in = (double)reel_size(t, 1) * window;
    *out = (double)reel_size(t, 0) * window;
    return true;
}

/* Standard deviation; 0 elements need none. */
static double kaiming_std(const reel_kaiming_opts *o, double in, double out)
{
    double slope = reel__option(o->slope, 0), fan = o->fan_out ? out : in;
    return fan > 0 ? sqrt(2 / ((1 + slope * slope) * fan)) : 0;
}

reel_tensor *reel_init_kaiming_uniform(reel_tensor *t, const reel_kaiming_opts *opts)
{
    REEL__CALLED;
    const reel_kaiming_opts *o =
        REEL__OPTS("init_kaiming_uniform", reel_kaiming_opts, opts);
    double in, out;
    if (!o || !fans("init_kaiming_uniform", t, &in, &out)) return NULL;
    double bound = sqrt(3) * kaiming_std(o, in, out);
    return fill("init_kaiming_uniform", t, false, -bound, bound);
}

reel_tensor *reel_init_kaiming_normal(reel_tensor *t, const reel_kaiming_opts *opts)
{
    REEL__CALLED;
    const reel_kaiming_opts *o =
        REEL__OPTS("init_kaiming_normal", reel_kaiming_opts, opts);
    double in, out;
    if (!o || !fans("init_kaiming_normal", t, &in, &out)) return NULL;
    return fill("init_kaiming_normal", t, true, 0, kaiming_std(o, in, out));
}

static double xavier_std(double gain, double in, double out)
{
    return in + out > 0 ? reel__option(gain, 1) * sqrt(2 / (in + out)) : 0;
}

reel_tensor *reel_init_xavier_uniform(reel_tensor *t, double gain)
{
    REEL__CALLED;
    double in, out;
    if (!fans("init_xavier_uniform", t, &in, &out)) return NULL;
    double bound = sqrt(3) * xavier_std(gain, in, out);
    return fill("init_xavier_uniform", t, false, -bound, bound);
}

reel_tensor *reel_init_xavier_normal(reel_tensor *t, double gain)
{
    REEL__CALLED;
    double in, out;
    if (!fans("init_xavier_normal", t, &in, &out)) return NULL;
    return fill("init_xavier_normal", t, true, 0, xavier_std(gain, in, out));
}
