/* norm.c: batch and layer normalization. */
#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

/* ---- batch norm ---------------------------------------------------------------------- */

typedef struct batch_norm {
    reel_module m;
    reel_tensor *weight, *bias, *mean, *var; /* [c] */
    reel_tensor *batches;                    /* i64 scalar */
    reel_nn_batch_norm2d_opts opts;
} batch_norm;

static const char batch_norm_type[] = "batch_norm2d";

static reel_tensor *normalize(batch_norm *l, reel_tensor *x, reel_tensor *residual,
                              bool relu)
{
    if (reel_rank(x) != 4) {
        reel_fail(REEL_ERR_SHAPE,
                  "batch_norm2d: input has rank %d, expected [n, c, h, w]", reel_rank(x));
        return NULL;
    }
    bool training = l->m.training;
    reel_tensor *y = reel_batch_norm(x, l->weight, l->bias, l->mean, l->var, residual,
                                     &(reel_batch_norm_opts){.eps = l->opts.eps,
                                                             .momentum = l->opts.momentum,
                                                             .training = training,
                                                             .relu = relu});
    if (y && training && !reel_add_(l->batches, reel_scalar(1, REEL_I64))) return NULL;
    return y;
}

static reel_tensor *batch_norm_forward(reel_module *self, reel_tensor *x)
{
    return normalize((batch_norm *)self, x, NULL, false);
}

bool reel__is_batch_norm2d(const reel_module *m)
{
    return m->type == batch_norm_type;
}

reel_tensor *reel_nn_batch_norm2d_forward(reel_module *bn, reel_tensor *x,
                                          reel_tensor *residual, bool relu)
{
    REEL__CALLED;
    if (!x || !bn || !reel__is_batch_norm2d(bn)) {
        reel_fail(REEL_ERR_ARG, "nn_batch_norm2d_forward: %s",
                  x ? "the module is not a batch_norm2d" : "the input is NULL");
        return NULL;
    }
    reel_frame f = reel_module_enter(bn, x);
    return reel_module_leave(bn, f, x, normalize((batch_norm *)bn, x, residual, relu));
}

reel_module *reel_nn_batch_norm2d(int64_t channels, const reel_nn_batch_norm2d_opts *opts)
{
    REEL__CALLED;
    const reel_nn_batch_norm2d_opts *o =
        REEL__OPTS("nn_batch_norm2d", reel_nn_batch_norm2d_opts, opts);
    if (!o) return NULL;
    if (channels < 1) {
        reel_fail(REEL_ERR_ARG, "nn_batch_norm2d: %lld channels, expected 1 or more",
                  (long long)channels);
        return NULL;
    }
    if (!(o->eps >= 0 && o->momentum >= 0 && o->momentum <= 1)) {
        reel_fail(REEL_ERR_ARG,
                  "nn_batch_norm2d: eps %g must be positive, momentum %g in [0, 1]",
                  o->eps, o->momentum);
        return NULL;
    }
    batch_norm *l = reel_module_new(sizeof *l, batch_norm_type, batch_norm_forward);
    if (!l) return NULL;
    reel_scope s = reel_scope_begin();
    reel_shape c = REEL_SHAPE(channels);
    l->opts = *o;
    l->weight = reel_module_param(&l->m, "weight", reel_ones(c, REEL_F32));
    l->bias = reel_module_param(&l->m, "bias", reel_zeros(c, REEL_F32));
    l->mean = reel_module_buffer(&l->m, "running_mean", reel_zeros(c, REEL_F32));
    l->var = reel_module_buffer(&l->m, "running_var", reel_ones(c, REEL_F32));
    l->batches = reel_module_buffer(&l->m, "num_batches_tracked",
                                    reel_zeros(REEL_SCALAR, REEL_I64));
    reel_scope_end(s);
    return reel_module_done(&l->m);
}

/* ---- layer norm ---------------------------------------------------------------------- */

typedef struct layer_norm {
    reel_module m;
    reel_tensor *weight, *bias; /* of `shape`, or NULL */
    reel_shape shape;
    double eps;
} layer_norm;

static reel_tensor *layer_norm_forward(reel_module *self, reel_tensor *x)
{
    const layer_norm *l = (const layer_norm *)self;
    int rank = l->shape.rank;
    for (int i = 0; i < rank; i++)
        if (reel_size(x, i - rank) != l->shape.dim[i]) {
            reel_fail(REEL_ERR_SHAPE,
                      "layer_norm: dimension %d from the end is %lld, expected %lld",
                      rank - i, (long long)reel_size(x, i - rank),
                      (long long)l->shape.dim[i]);
            return NULL;
        }
    return reel_layer_norm(x, rank, l->weight, l->bias,
                           &(reel_layer_norm_opts){.eps = l->eps});
}

reel_module *reel_nn_layer_norm(reel_shape shape, const reel_nn_layer_norm_opts *opts)
{
    REEL__CALLED;
    const reel_nn_layer_norm_opts *o =
        REEL__OPTS("nn_layer_norm", reel_nn_layer_norm_opts, opts);
    if (!o) return NULL;
    if (shape.rank < 1 || shape.rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_ARG, "nn_layer_norm: %d dimensions, expected 1 to %d",
                  shape.rank, REEL_MAX_RANK);
        return NULL;
    }
    layer_norm *l = reel_module_new(sizeof *l, "layer_norm", layer_norm_forward);
    if (!l) return NULL;
    reel_scope s = reel_scope_begin();
    l->shape = shape;
    l->eps = o->eps;
    if (!o->no_affine) {
        l->weight = reel_module_param(&l->m, "weight", reel_ones(shape, REEL_F32));
        if (!o->no_bias)
            l->bias = reel_module_param(&l->m, "bias", reel_zeros(shape, REEL_F32));
    }
    reel_scope_end(s);
    return reel_module_done(&l->m);
}
