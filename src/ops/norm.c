/* norm.c: batch and layer normalization. First-order gradients are one fused kernel; with
 * create_graph they come from the same function composed of operators. */
#include <inttypes.h>
#include <math.h>

#include "base/error.h"
#include "base/option.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define G gy[0]
#define BN(c) ATTRS(c, reel__batch_norm_attrs)
#define LN(c) ATTRS(c, reel__layer_norm_attrs)

/* Statistics of half-precision inputs are f32. */
static reel_dtype stat_dtype(reel_dtype dt)
{
    return dt == REEL_F16 || dt == REEL_BF16 ? REEL_F32 : dt;
}

static reel_status check_vector(const reel__call *c, int i, const char *what, int64_t n,
                                reel_dtype dtype)
{
    if (!c->in[i]) return REEL_OK;
    const reel__meta *v = IN_META(c, i);
    REQUIRE(c, v->rank == 1 && v->dim[0] == n && v->dtype == dtype, REEL_ERR_SHAPE,
            "%s %s must be %s[%" PRId64 "], as input %s says", what, SHOW(v),
            reel_dtype_name(dtype), n, SHOW(IN_META(c, 0)));
    return REEL_OK;
}

/* ---- batch_norm: x [n, c, ...] weight? bias? mean? var? residual? -> y, save_mean [c],
 *      save_invstd [c] --------------------------------------------------------------------------- */

static reel_status batch_norm_infer(const reel__call *c, reel__meta *out)
{
    static const char *const what[] = {"", "weight", "bias", "running mean",
                                       "running variance"};
    const reel__meta *x = IN_META(c, 0), *r = c->in[5] ? IN_META(c, 5) : NULL;
    REQUIRE(c, x->rank >= 2, REEL_ERR_SHAPE, "input %s must be [n, c, ...]", SHOW(x));
    int64_t channels = x->dim[1];
    for (int i = 1; i <= 4; i++) {
        reel_dtype dt = i < 3 ? x->dtype : stat_dtype(x->dtype);
        reel_status st = check_vector(c, i, what[i], channels, dt);
        if (st) return st;
    }
    REQUIRE(c, (c->in[3] != NULL) == (c->in[4] != NULL), REEL_ERR_ARG,
            "running mean and variance must both be there or both be NULL");
    REQUIRE(c, BN(c)->training || c->in[3], REEL_ERR_ARG,
            "running mean and variance are needed unless training");
    REQUIRE(c, !BN(c)->training || channels == 0 || reel__numel(x) / channels > 1,
            REEL_ERR_SHAPE, "training needs more than one value a channel, input is %s",
            SHOW(x));
    REQUIRE(c, !r || (reel__same_shape(x, r) && r->dtype == x->dtype), REEL_ERR_SHAPE,
            "residual %s must be like input %s", r ? SHOW(r) : "none", SHOW(x));
    out[0] = *x;
    out[0].offset = 0;
    reel__set_strides_like(&out[0], x);
    out[1] = reel__meta_of(REEL_SHAPE(channels), stat_dtype(x->dtype), x->device);
    out[2] = out[1];
    return REEL_OK;
}

static reel_status batch_norm_backward_infer(const reel__call *c, reel__meta *out)
{
    static const char *const what[] = {"", "", "weight", "mean", "1 / deviation"};
    const reel__meta *x = IN_META(c, 1);
    int64_t want = BN(c)->want;
    reel_status st = reel__check_alike(c, 0, 1);
    if (!st && c->in[5]) st = reel__check_alike(c, 5, 1);
    if (st) return st;
    REQUIRE(c, x->rank >= 2, REEL_ERR_SHAPE, "input %s must be [n, c, ...]", SHOW(x));
    REQUIRE(c, c->in[5] || !BN(c)->relu, REEL_ERR_ARG, "relu needs the result, input 5");
    for (int i = 2; i <= 4; i++) {
        reel_dtype dt = i == 2 ? x->dtype : stat_dtype(x->dtype);
        if ((st = check_vector(c, i, what[i], x->dim[1], dt))) return st;
    }
    out[0] = *x;
    out[0].offset = 0;
    reel__set_strides_like(&out[0], x);
    out[3] = out[0];
    out[1] = reel__meta_of(REEL_SHAPE(x->dim[1]), x->dtype, x->device);
    out[2] = out[1];
    for (int i = 0; i < 4; i++)
        if (!(want >> i & 1)) out[i].rank = -1;
    return REEL_OK;
}

const reel__op reel__batch_norm_backward = {
    .name = "batch_norm_backward",
    .kernel = K_BATCH_NORM_BACKWARD,
    .traits = REEL_OP_REPLACES,
    .n_in = 6,
    .n_out = 4,
    .optional = 1 << 2 | 1 << 5,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__batch_norm_schema,
    .infer = batch_norm_backward_infer,
    .no_vjp = "batch_norm composes it with create_graph",
    .no_onnx = REEL__ONNX_TRAINING,
    .sample =
        "f[4,3,2,2]; f[4,3,2,2]; f[3]; s[3]; s[3] in 0.5..2; - | training=1 want=7\n"
        "f[5,3]; f[5,3]; -; s[3]; s[3] in 0.5..2; f[5,3] | relu=1 want=13",
};

/* A statistic that the forward pass saved, as a constant to go with x. */
static reel_tensor *saved(reel_tensor *statistic, reel_shape shape, const reel_tensor *x)
{
    return reel_reshape(reel_cast(reel__constant(statistic), x->meta.dtype), shape);
}

/* (x - mean) / sqrt(var + eps) over `dims` in operators, to be differentiated; `mean` and `invstd`
 * are the statistics of x that the forward pass saved. A shift or a factor of x does not change
 * the result. So x is first standardized by the saved numbers, which are constants here, and the
 * formula is applied to values near 1: large means do not cancel, no square leaves the range of
 * the dtype, and equal values give 0. */
static reel_tensor *normalized(reel_tensor *x, reel_tensor *mean, reel_tensor *invstd,
                               reel_shape dims, double eps)
{
    reel_tensor *d = reel_mul(reel_sub(x, mean), invstd);
    reel_tensor *rest = reel_square(reel_mul_scalar(invstd, sqrt(eps)));
    reel_tensor *scale = reel_rsqrt(reel_add(reel_var(d, dims, 0, true), rest));
    return reel_mul(reel_sub(d, reel_mean(d, dims, true)), scale);
}

/* batch_norm in operators, for gradients of gradients, without residual and relu. */
static reel_tensor *batch_norm_composed(const reel__call *c)
{
    reel_tensor *x = c->in[0];
    reel_shape dims = {.rank = 0}, column = {.rank = x->meta.rank};
    for (int i = 0; i < x->meta.rank; i++) {
        column.dim[i] = i == 1 ? x->meta.dim[1] : 1;
        if (i != 1) dims.dim[dims.rank++] = i;
    }
    reel_tensor *mean = saved(c->out[1], column, x),
                *invstd = saved(c->out[2], column, x);
    reel_tensor *y = BN(c)->training ? normalized(x, mean, invstd, dims, BN(c)->eps)
                                     : reel_mul(reel_sub(x, mean), invstd);
    if (c->in[1]) y = reel_mul(y, reel_reshape(c->in[1], column));
    if (c->in[2]) y = reel_add(y, reel_reshape(c->in[2], column));
    return y;
}

/* g in the memory order of x: the fused kernels ask it of all operands. */
static reel_tensor *in_order_of(reel_tensor *g, const reel__meta *x)
{
    bool last = x->rank == 4 && reel__is_channels_last(x);
    return last ? reel_to_format(g, REEL_CHANNELS_LAST) : g;
}

/* v [c] as [1, c, 1, ...] of x's rank and dtype: one value a channel of x [n, c, ...]. */
static reel_tensor *per_channel(reel_tensor *v, const reel__meta *x)
{
    reel_shape column = {.rank = x->rank};
    for (int i = 0; i < x->rank; i++) column.dim[i] = i == 1 ? x->dim[1] : 1;
    return reel_reshape(reel_cast(v, x->dtype), column);
}

/* The gradient of x through results 1 and 2, the statistics of the batch. They have one only in
 * a graph that computes the result again from them, by batch_norm_apply:
 * d mean / dx = 1 / m, d invstd / dx = -invstd^3 (x - mean) / m. */
static reel_tensor *by_statistics(const reel__call *c, reel_tensor *const gy[])
{
    const reel__meta *x = IN_META(c, 0);
    double m = (double)reel__numel(x) / (double)x->dim[1];
    reel_tensor *sum = NULL, *invstd = c->out[2];
    if (gy[1])
        sum = reel_mul_scalar(reel_expand(per_channel(gy[1], x), reel__shape(x)), 1 / m);
    if (!gy[2]) return sum;
    reel_tensor *k = reel_mul(gy[2], reel_mul(invstd, reel_square(invstd)));
    reel_tensor *g = reel_mul(reel_sub(c->in[0], per_channel(c->out[1], x)),
                              per_channel(reel_mul_scalar(k, -1 / m), x));
    return sum ? reel_add(sum, g) : g;
}

/* The gradients of all inputs through result 0. */
static void by_result(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    bool relu = BN(c)->relu;
    if (c->create_graph) {
        reel_tensor *g = relu ? APPLY(&reel__relu_grad, NULL, c->out[0], G) : G;
        reel__call inner = *c;
        inner.needs &= ~(UINT64_C(1) << 5);
        if (inner.needs) reel__vjp_composed(&inner, batch_norm_composed, g, gx);
        if (NEEDS(c, 5)) gx[5] = g;
        return;
    }
    reel__batch_norm_attrs a = *BN(c);
    a.want = (int64_t)NEEDS(c, 0) | (int64_t)NEEDS(c, 1) << 1 |
             (int64_t)NEEDS(c, 2) << 2 | (int64_t)(relu && NEEDS(c, 5)) << 3;
    reel_tensor *in[] = {
        in_order_of(G, IN_META(c, 0)), c->in[0], c->in[1], c->out[1], c->out[2],
        relu ? c->out[0] : NULL};
    reel_tensor *out[4];
    if (reel__apply(&reel__batch_norm_backward, &a, 6, in, out)) return;
    for (int i = 0; i < 3; i++) gx[i] = out[i];
    if (NEEDS(c, 5)) gx[5] = relu ? out[3] : G;
}

static void batch_norm_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    if (G) by_result(c, gy, gx);
    if ((!gy[1] && !gy[2]) || !NEEDS(c, 0) || !BN(c)->training) return;
    reel_tensor *g = by_statistics(c, gy);
    gx[0] = gx[0] ? reel_add(gx[0], g) : g;
}

/* The result is only read to mask relu's gradient. */
static uint32_t batch_norm_saves(const reel__call *c)
{
    return BN(c)->relu ? c->op->saves : c->op->saves & ~SAVE_OUT(0);
}

/* As in eval mode. Of f16 and bf16 the statistics are f32; before opset 14 all operands must be of
 * one dtype. */
static reel_status batch_norm_onnx(const reel__call *c, reel_onnx *o)
{
    if (BN(c)->training) return reel__onnx_training(c, "statistics of the batch");
    const reel__ref x = o->in[0];
    reel__ref part[5] = {x, o->in[1], o->in[2], o->in[3], o->in[4]};
    const reel_onnx_ref channels = {
        .dtype = x->dtype, .rank = 1, .dim = {x->dim[1]}, .grow = {x->grow[1]}};
    for (int i = 1; i <= 2; i++)
        if (!part[i]) part[i] = reel__onnx_full(o, reel__whole(i == 1), channels);
    for (int i = 3; i <= 4 && o->opset < 14; i++)
        part[i] = reel__onnx_cast(o, part[i], x->dtype);
    reel__ref y = reel__onnx_emit_node(o, "BatchNormalization", o->out[0], 5, part);
    reel__onnx_float(o, "epsilon", BN(c)->eps);
    if (o->in[5]) y = ONNX("Add", y, o->in[5]);
    return reel__onnx_give(o, 0, BN(c)->relu ? ONNX("Relu", y) : y);
}

#define BATCH_NORM_RECORD                                                                \
    .kernel = K_BATCH_NORM, .traits = REEL_OP_REPLACES, .n_in = 6, .n_out = 3,           \
    .optional = 0x3e,                                                                    \
    .saves =                                                                             \
        SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2) | SAVE_OUT(0) | SAVE_OUT(1) | SAVE_OUT(2),  \
    .saves_for = batch_norm_saves, .dtypes = DTYPES_FLOAT,                               \
    .attrs = &reel__batch_norm_schema, .infer = batch_norm_infer, .vjp = batch_norm_vjp, \
    .again = &reel__batch_norm_apply, .again_out = {[3] = 1, [4] = 2}

const reel__op reel__batch_norm = {
    .name = "batch_norm",
    .onnx = batch_norm_onnx,
    BATCH_NORM_RECORD,
    .sample =
        "f[4,3,2,2]; f[3]; f[3]; -; -; - | eps=1e-5 training=1\n"
        "f[5,3]; f[3]; f[3]; -; -; - | eps=1e-5 training=1\n"
        "f[4,2,2,2]; f[2]; f[2]; -; -; f[4,2,2,2] | eps=1e-3 training=1 relu=1\n"
        "f[2,3,2]; -; -; -; -; - | eps=1e-5 training=1\n"
        "f[2,3,2,2]; f[3]; f[3]; s[3]; s[3] in 0.5..2; - | eps=1e-5 training=0\n"
        "f[2,3,2,2]; f[3]; f[3]; s[3]; s[3] in 0.5..2; f[2,3,2,2] | eps=1e-5 relu=1",
};

/* In training with running statistics, which it changes: what the tape and a tracer must
 * know stands in the record. */
const reel__op reel__batch_norm_update = {
    .name = "batch_norm_update",
    .no_onnx = "changes running statistics, in train mode: call reel_train(net, false) "
               "before tracing",
    .mutates = 1 << 3 | 1 << 4,
    BATCH_NORM_RECORD,
    .sample = "f[4,3,2,2]; f[3]; f[3]; s[3]; s[3] in 0.5..2; - | eps=1e-5 momentum=0.1 "
              "training=1\n"
              "f[5,3]; -; f[3]; s[3]; s[3] in 0.5..2; f[5,3] | eps=1e-5 momentum=0.3 "
              "training=1 relu=1",
};

/* ---- batch_norm_apply: x [n, c, ...] weight? bias? save_mean save_invstd residual? -> y ---------
 * What batch_norm gave, from what it saved, to the last bit: a training step that is short of
 * memory makes it again (trace/passes/recompute.c). */

static reel_status batch_norm_apply_infer(const reel__call *c, reel__meta *out)
{
    static const char *const what[] = {"", "weight", "bias", "mean", "1 / deviation"};
    const reel__meta *x = IN_META(c, 0);
    REQUIRE(c, x->rank >= 2, REEL_ERR_SHAPE, "input %s must be [n, c, ...]", SHOW(x));
    for (int i = 1; i <= 4; i++) {
        reel_dtype dt = i < 3 ? x->dtype : stat_dtype(x->dtype);
        reel_status st = check_vector(c, i, what[i], x->dim[1], dt);
        if (st) return st;
    }
    reel_status st = c->in[5] ? reel__check_alike(c, 5, 0) : REEL_OK;
    if (st) return st;
    out[0] = *x;
    out[0].offset = 0;
    reel__set_strides_like(&out[0], x);
    return REEL_OK;
}

/* In operators, for its gradients. The statistics are inputs of this operator; how they depend on
 * x is not its concern: their gradients go on to batch_norm, which computed them from x. */
static reel_tensor *batch_norm_apply_composed(const reel__call *c)
{
    reel_tensor *x = c->in[0];
    reel_tensor *y = reel_mul(reel_sub(x, per_channel(c->in[3], &x->meta)),
                              per_channel(c->in[4], &x->meta));
    if (c->in[1]) y = reel_mul(y, per_channel(c->in[1], &x->meta));
    if (c->in[2]) y = reel_add(y, per_channel(c->in[2], &x->meta));
    if (c->in[5]) y = reel_add(y, c->in[5]);
    return BN(c)->relu ? reel_relu(y) : y;
}

static void batch_norm_apply_vjp(const reel__call *c, reel_tensor *const gy[],
                                 reel_tensor *gx[])
{
    reel__vjp_composed(c, batch_norm_apply_composed, G, gx);
}

const reel__op reel__batch_norm_apply = {
    .name = "batch_norm_apply",
    .kernel = K_BATCH_NORM_APPLY,
    .traits = REEL_OP_REPLACES,
    .n_in = 6,
    .n_out = 1,
    .optional = 1 << 1 | 1 << 2 | 1 << 5,
    .saves = SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2) | SAVE_IN(3) | SAVE_IN(4) | SAVE_IN(5),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__batch_norm_schema,
    .infer = batch_norm_apply_infer,
    .vjp = batch_norm_apply_vjp,
    .no_onnx = REEL__ONNX_TRAINING,
    .sample = "f[4,3,2,2]; f[3]; f[3]; s[3]; s[3] in 0.5..2; - |\n"
              "f[5,3]; -; f[3]; s[3]; s[3] in 0.5..2; f[5,3] | relu=1\n"
              "f[2,3,2]; -; -; s[3]; s[3] in 0.5..2; - | relu=1",
};

reel_tensor *reel_batch_norm(reel_tensor *x, reel_tensor *weight, reel_tensor *bias,
                             reel_tensor *running_mean, reel_tensor *running_var,
                             reel_tensor *residual, const reel_batch_norm_opts *opts)
{
    REEL__CALLED;
    const reel_batch_norm_opts *o = REEL__OPTS("batch_norm", reel_batch_norm_opts, opts);
    if (!o) return NULL;
    const reel__batch_norm_attrs a = {.eps = reel__option(o->eps, 1e-5),
                                      .momentum = reel__option(o->momentum, 0.1),
                                      .training = o->training,
                                      .relu = o->relu};
    if (a.eps < 0 || a.momentum < 0 || a.momentum > 1) {
        reel_fail(REEL_ERR_ARG,
                  "batch_norm: eps %g must be positive, momentum %g in [0, 1]", a.eps,
                  a.momentum);
        return NULL;
    }
    if (!reel__have("batch_norm", x, "x")) return NULL;
    const reel__op *op =
        a.training && running_mean ? &reel__batch_norm_update : &reel__batch_norm;
    reel_scope s = reel_scope_begin();
    if (residual) residual = in_order_of(residual, &x->meta);
    return reel_scope_return(
        s, APPLY(op, &a, x, weight, bias, running_mean, running_var, residual));
}

/* ---- layer_norm: x [..., d...] weight [d...]? bias [d...]? -> y, mean [...], rstd [...] ------ */

static reel_status check_layer_norm(const reel__call *c, const reel__meta *x)
{
    REQUIRE(c, LN(c)->dims >= 1 && LN(c)->dims <= x->rank, REEL_ERR_ARG,
            "%" PRId64 " normalized dimensions; input %s has %d", LN(c)->dims, SHOW(x),
            x->rank);
    return REEL_OK;
}

/* Input i, unless absent, has the normalized sizes of x ... */
static reel_status check_tail(const reel__call *c, const reel__meta *x, int i,
                              const char *what)
{
    int64_t dims = LN(c)->dims;
    const reel__meta *w = c->in[i] ? IN_META(c, i) : NULL;
    bool fits = !w || (w->rank == dims && w->dtype == x->dtype);
    for (int k = 0; w && fits && k < dims; k++)
        fits = w->dim[k] == x->dim[x->rank - dims + k];
    REQUIRE(c, fits, REEL_ERR_SHAPE,
            "%s %s must be the last %" PRId64 " sizes of input %s", what,
            w ? SHOW(w) : "none", dims, SHOW(x));
    return REEL_OK;
}

/* ... or the others. */
static reel_status check_lead(const reel__call *c, const reel__meta *x, int i,
                              const char *what)
{
    const reel__meta *m = IN_META(c, i);
    int lead = x->rank - (int)LN(c)->dims;
    bool fits = m->rank == lead && m->dtype == stat_dtype(x->dtype);
    for (int k = 0; fits && k < lead; k++) fits = m->dim[k] == x->dim[k];
    REQUIRE(c, fits, REEL_ERR_SHAPE, "%s %s must be the first %d sizes of input %s", what,
            SHOW(m), lead, SHOW(x));
    return REEL_OK;
}

static reel_status layer_norm_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    reel_status st = check_layer_norm(c, x);
    if (!st) st = check_tail(c, x, 1, "weight");
    if (!st) st = check_tail(c, x, 2, "bias");
    if (st) return st;
    int lead = x->rank - (int)LN(c)->dims;
    out[0] = *x;
    out[0].offset = 0;
    reel__set_contiguous(&out[0]);
    out[1] = out[0];
    out[1].rank = lead;
    out[1].dtype = stat_dtype(x->dtype);
    reel__set_contiguous(&out[1]);
    out[2] = out[1];
    return REEL_OK;
}

static reel_status layer_norm_backward_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 1);
    int lead = x->rank - (int)LN(c)->dims;
    reel_status st = reel__check_alike(c, 0, 1);
    if (!st) st = check_layer_norm(c, x);
    if (!st) st = check_tail(c, x, 2, "weight");
    if (!st) st = check_lead(c, x, 3, "mean");
    if (!st) st = check_lead(c, x, 4, "1 / deviation");
    if (st) return st;
    out[0] = *x;
    out[0].offset = 0;
    reel__set_contiguous(&out[0]);
    out[1] = out[0];
    out[1].rank = (int)LN(c)->dims;
    for (int i = 0; i < out[1].rank; i++) out[1].dim[i] = x->dim[lead + i];
    reel__set_contiguous(&out[1]);
    out[2] = out[1];
    for (int i = 0; i < 3; i++)
        if (!(LN(c)->want >> i & 1)) out[i].rank = -1;
    return REEL_OK;
}

const reel__op reel__layer_norm_backward = {
    .name = "layer_norm_backward",
    .kernel = K_LAYER_NORM_BACKWARD,
    .n_in = 5,
    .n_out = 3,
    .optional = 1 << 2,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__layer_norm_schema,
    .infer = layer_norm_backward_infer,
    .no_vjp = "layer_norm composes it with create_graph",
    .no_onnx = REEL__ONNX_TRAINING,
    .sample = "f[3,5]; f[3,5]; f[5]; s[3]; s[3] in 0.5..2 | dims=1 want=7\n"
              "f[2,3,4]; f[2,3,4]; -; s[2]; s[2] in 0.5..2 | dims=2 want=3",
};

static reel_tensor *layer_norm_composed(const reel__call *c)
{
    reel_tensor *x = c->in[0];
    reel_shape dims = {.rank = (int)LN(c)->dims}, rows = reel__shape(&x->meta);
    for (int i = 0; i < dims.rank; i++) {
        dims.dim[i] = x->meta.rank - dims.rank + i;
        rows.dim[dims.dim[i]] = 1;
    }
    reel_tensor *mean = saved(c->out[1], rows, x), *rstd = saved(c->out[2], rows, x);
    reel_tensor *y = normalized(x, mean, rstd, dims, LN(c)->eps);
    if (c->in[1]) y = reel_mul(y, c->in[1]);
    return c->in[2] ? reel_add(y, c->in[2]) : y;
}

static void layer_norm_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    if (c->create_graph) {
        reel__vjp_composed(c, layer_norm_composed, G, gx);
        return;
    }
    reel__layer_norm_attrs a = *LN(c);
    a.want = (int64_t)(c->needs & 7);
    reel_tensor *in[] = {reel_contiguous(G), c->in[0], c->in[1], c->out[1], c->out[2]};
    reel_tensor *out[3];
    if (reel__apply(&reel__layer_norm_backward, &a, 5, in, out)) return;
    for (int i = 0; i < 3; i++) gx[i] = out[i];
}

/* Before LayerNormalization: in operators, as PyTorch writes them and runtimes fuse them. */
static reel__ref layer_norm_composed_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0];
    int64_t mask = 0;
    for (int i = 0; i < LN(c)->dims; i++) mask |= INT64_C(1) << (x->rank - 1 - i);
    reel__ref d = ONNX("Sub", x, reel__onnx_reduce(o, "ReduceMean", x, mask));
    reel__ref var = reel__onnx_reduce(o, "ReduceMean", ONNX("Pow", d, NUM(2)), mask);
    reel__ref y = ONNX("Div", d, ONNX("Sqrt", ONNX("Add", var, NUM(LN(c)->eps))));
    if (o->in[1]) y = ONNX("Mul", y, o->in[1]);
    return o->in[2] ? ONNX("Add", y, o->in[2]) : y;
}

/* Results 1 and 2, the statistics, are for training and not given. */
static reel_status layer_norm_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0];
    int lead = x->rank - (int)LN(c)->dims;
    if (!HAS("LayerNormalization"))
        return reel__onnx_give(o, 0, layer_norm_composed_onnx(c, o));
    reel_onnx_ref tail = {.dtype = x->dtype, .rank = (int)LN(c)->dims};
    for (int i = 0; i < tail.rank; i++) {
        tail.dim[i] = x->dim[lead + i];
        tail.grow[i] = x->grow[lead + i];
    }
    reel__ref scale = o->in[1] ? o->in[1] : reel__onnx_full(o, reel__whole(1), tail);
    reel__ref y = ONNX_NODE("LayerNormalization", o->out[0], x, scale, o->in[2]);
    reel__onnx_int(o, "axis", -LN(c)->dims);
    reel__onnx_float(o, "epsilon", LN(c)->eps);
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__layer_norm = {
    .name = "layer_norm",
    .kernel = K_LAYER_NORM,
    .again = &reel__layer_norm,
    .n_in = 3,
    .n_out = 3,
    .optional = 1 << 1 | 1 << 2,
    .saves = SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2) | SAVE_OUT(1) | SAVE_OUT(2),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__layer_norm_schema,
    .infer = layer_norm_infer,
    .vjp = layer_norm_vjp,
    .onnx = layer_norm_onnx,
    .sample =
        "f[3,5]; f[5]; f[5] | dims=1 eps=1e-5\nf[2,3,4]; f[3,4]; - | dims=2 eps=1e-3\n"
        "f[2,4]; -; - | dims=1 eps=1e-5",
};

reel_tensor *reel_layer_norm(reel_tensor *x, int dims, reel_tensor *weight,
                             reel_tensor *bias, const reel_layer_norm_opts *opts)
{
    REEL__CALLED;
    const reel_layer_norm_opts *o = REEL__OPTS("layer_norm", reel_layer_norm_opts, opts);
    if (!o || !reel__have("layer_norm", x, "x")) return NULL;
    if (!(o->eps >= 0)) {
        reel_fail(REEL_ERR_ARG, "layer_norm: eps %g must be positive", o->eps);
        return NULL;
    }
    const reel__layer_norm_attrs a = {.dims = dims, .eps = reel__option(o->eps, 1e-5)};
    reel_scope s = reel_scope_begin();
    return reel_scope_return(
        s, APPLY(&reel__layer_norm, &a, reel_contiguous(x), weight, bias));
}
