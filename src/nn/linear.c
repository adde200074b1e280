/* linear.c: linear, convolution, embedding: layers that are one operator and a weight. */
#include <math.h>

#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

/* PyTorch's default for linear and convolution: uniform in +-1/sqrt(fan in), which it writes
 * as kaiming with slope sqrt(5). */
static reel_tensor *default_weight(reel_shape shape)
{
    return reel_init_kaiming_uniform(reel_empty(shape, REEL_F32),
                                     &(reel_kaiming_opts){.slope = sqrt(5)});
}

static reel_tensor *default_bias(reel_module *m, int64_t out, double fan_in)
{
    double bound = 1 / sqrt(fan_in);
    return reel_module_param(
        m, "bias",
        reel_init_uniform(reel_empty(REEL_SHAPE(out), REEL_F32), -bound, bound));
}

/* ---- linear -------------------------------------------------------------------------- */

typedef struct linear {
    reel_module m;
    reel_tensor *weight, *bias; /* [out, in], [out] or NULL */
} linear;

static reel_tensor *linear_forward(reel_module *self, reel_tensor *x)
{
    const linear *l = (const linear *)self;
    return reel_linear(x, l->weight, l->bias);
}

reel_module *reel_nn_linear(int64_t in, int64_t out, const reel_nn_linear_opts *opts)
{
    REEL__CALLED;
    const reel_nn_linear_opts *o = REEL__OPTS("nn_linear", reel_nn_linear_opts, opts);
    if (!o) return NULL;
    if (in < 1 || out < 1) {
        reel_fail(REEL_ERR_ARG, "nn_linear: %lld -> %lld, expected 1 or more each",
                  (long long)in, (long long)out);
        return NULL;
    }
    linear *l = reel_module_new(sizeof *l, "linear", linear_forward);
    if (!l) return NULL;
    reel_scope s = reel_scope_begin();
    l->weight = reel_module_param(&l->m, "weight", default_weight(REEL_SHAPE(out, in)));
    if (!o->no_bias) l->bias = default_bias(&l->m, out, (double)in);
    reel_scope_end(s);
    return reel_module_done(&l->m);
}

/* ---- convolution --------------------------------------------------------------------- */

typedef struct conv2d {
    reel_module m;
    reel_tensor *weight, *bias; /* [out, in / groups, r, s], [out] or NULL */
    reel_conv2d_opts opts;
} conv2d;

static reel_tensor *conv2d_forward(reel_module *self, reel_tensor *x)
{
    const conv2d *l = (const conv2d *)self;
    return reel_conv2d(x, l->weight, l->bias, &l->opts);
}

reel_module *reel_nn_conv2d(int64_t in, int64_t out, int kernel,
                            const reel_nn_conv2d_opts *opts)
{
    REEL__CALLED;
    const reel_nn_conv2d_opts *o = REEL__OPTS("nn_conv2d", reel_nn_conv2d_opts, opts);
    if (!o || !REEL__KNOWN("nn_conv2d", &o->conv)) return NULL;
    bool pair = o->kernel_hw[0] || o->kernel_hw[1];
    int r = pair ? o->kernel_hw[0] : kernel, c = pair ? o->kernel_hw[1] : kernel;
    int groups = o->conv.groups ? o->conv.groups : 1;
    if (in < 1 || out < 1 || r < 1 || c < 1 || groups < 1 || in % groups ||
        out % groups) {
        reel_fail(
            REEL_ERR_ARG,
            "nn_conv2d: %lld -> %lld channels, window %dx%d, %d groups: all must be 1 "
            "or more, and channels multiples of the groups",
            (long long)in, (long long)out, r, c, groups);
        return NULL;
    }
    conv2d *l = reel_module_new(sizeof *l, "conv2d", conv2d_forward);
    if (!l) return NULL;
    reel_scope s = reel_scope_begin();
    l->opts = o->conv;
    reel_shape shape = REEL_SHAPE(out, in / groups, r, c);
    reel_tensor *w =
        o->kaiming ? reel_init_kaiming_normal(reel_empty(shape, REEL_F32), o->kaiming)
                   : default_weight(shape);
    l->weight = reel_module_param(&l->m, "weight", w);
    if (!o->no_bias)
        l->bias = default_bias(&l->m, out, (double)(in / groups) * (double)r * (double)c);
    reel_scope_end(s);
    return reel_module_done(&l->m);
}

/* ---- embedding ----------------------------------------------------------------------- */

typedef struct embedding {
    reel_module m;
    reel_tensor *weight; /* [n, dim] */
} embedding;

static reel_tensor *embedding_forward(reel_module *self, reel_tensor *x)
{
    const embedding *l = (const embedding *)self;
    return reel_embedding(l->weight, x);
}

reel_module *reel_nn_embedding(int64_t n, int64_t dim)
{
    REEL__CALLED;
    if (n < 1 || dim < 1) {
        reel_fail(REEL_ERR_ARG,
                  "nn_embedding: %lld rows of %lld, expected 1 or more each",
                  (long long)n, (long long)dim);
        return NULL;
    }
    embedding *l = reel_module_new(sizeof *l, "embedding", embedding_forward);
    if (!l) return NULL;
    reel_scope s = reel_scope_begin();
    l->weight = reel_module_param(
        &l->m, "weight",
        reel_init_normal(reel_empty(REEL_SHAPE(n, dim), REEL_F32), 0, 1));
    reel_scope_end(s);
    return reel_module_done(&l->m);
}
