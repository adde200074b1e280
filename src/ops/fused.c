/* fused.c: a convolution or linear layer with what follows it, in one kernel: bias, residual
 * and activation are applied while the result is in cache. Made by passes over graphs; their
 * gradients are those of the same function in the operators that they stand for. */
#include "backend/pw_info.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define SAVES (SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2) | SAVE_IN(3))

/* ---- the end of both: act(y + residual) ----------------------------------------------- */

/* The operator of a unary pointwise row; NULL if there is none. */
static const reel__op *op_of(int64_t row)
{
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        if (op->kernel == row && (op->traits & REEL_OP_POINTWISE) && op->n_in == 1 &&
            !(op->traits & REEL_OP_INPLACE) && (op->dtypes & DTYPE(REEL_F32)))
            return op;
    }
    return NULL;
}

/* Input 3 and `act` against the result, which `base` has inferred. */
static reel_status infer_end(const reel__call *c, int64_t act, const reel__meta *out)
{
    const reel__meta *r = c->in[3] ? IN_META(c, 3) : NULL;
    REQUIRE(c, !r || r->dtype == out->dtype, REEL_ERR_DTYPE,
            "residual %s must have the dtype of the input, %s", r ? SHOW(r) : "none",
            reel_dtype_name(out->dtype));
    REQUIRE(c, !r || reel__same_shape(r, out), REEL_ERR_SHAPE,
            "residual %s must have the shape of the result %s", r ? SHOW(r) : "none",
            SHOW(out));
    const reel__pw_info *info =
        act > K_NONE && act < K_COUNT ? reel__pw_info_of((reel__kernel_id)act) : NULL;
    REQUIRE(c,
            act == K_NONE || (info && info->n_in == 1 && info->floats &&
                              !info->out_bool && op_of(act)),
            REEL_ERR_ARG,
            "act %s is not an activation: it must be a pointwise row of one float input, "
            "or none",
            act >= 0 ? reel__kernel_name((reel__kernel_id)act) : "?");
    return REEL_OK;
}

static reel_tensor *compose_end(const reel__call *c, reel_tensor *y, int64_t act,
                                const reel__number a[2])
{
    if (c->in[3]) y = reel_add(y, c->in[3]);
    if (act == K_NONE) return y;
    const reel__scalar_attrs attrs = {{a[0], a[1]}};
    const reel__op *op = op_of(act);
    return APPLY(op, op->attrs ? &attrs : NULL, y);
}

static reel_status end_onnx(const reel__call *c, reel_onnx *o, reel__ref y, int64_t act,
                            const reel__number a[2])
{
    const reel__op *op = op_of(act);
    const reel__scalar_attrs attrs = {{a[0], a[1]}};
    if (act != K_NONE && !op->onnx)
        return reel__bad(c, REEL_ERR_UNSUPPORTED, "%s has no form in ONNX: %s", op->name,
                         op->no_onnx);
    if (o->in[3]) y = ONNX("Add", y, o->in[3]);
    if (act != K_NONE) y = reel__onnx_call(o, op, &attrs, o->out[0], 1, &y);
    return reel__onnx_give(o, 0, y);
}

/* One for each element of the result and each thing done to it. */
static double end_flops(const reel__call *c, int64_t act)
{
    double each = (c->in[3] != NULL) + (act != K_NONE);
    return each * (double)reel__numel(&c->out[0]->meta);
}

/* ---- conv2d: x, weight, bias?, residual [n, k, ho, wo]?  ->  y ------------------------- */

static reel_status conv2d_fused_infer(const reel__call *c, reel__meta *out)
{
    const reel__conv2d_fused_attrs *a = ATTRS(c, reel__conv2d_fused_attrs);
    REQUIRE(c, a->algo >= REEL_ALGO_MODEL && a->algo <= REEL_ALGO_WINOGRAD, REEL_ERR_ARG,
            "algo %lld must be 0 (cost model), 1 (direct) or 2 (Winograd)",
            (long long)a->algo);
    reel_status st = reel__conv2d.infer(c, out);
    return st ? st : infer_end(c, a->act, out);
}

static reel_tensor *conv2d_composed(const reel__call *c)
{
    const reel__conv2d_fused_attrs *a = ATTRS(c, reel__conv2d_fused_attrs);
    reel_tensor *x = reel__channels_last(c->in[0]);
    return compose_end(c, APPLY(&reel__conv2d, &a->conv, x, c->in[1], c->in[2]), a->act,
                       a->a);
}

static void conv2d_fused_vjp(const reel__call *c, reel_tensor *const gy[],
                             reel_tensor *gx[])
{
    reel__vjp_composed(c, conv2d_composed, gy[0], gx);
}

static reel_status conv2d_fused_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__conv2d_fused_attrs *a = ATTRS(c, reel__conv2d_fused_attrs);
    reel__ref y = reel__onnx_call(o, &reel__conv2d, &a->conv, o->out[0], 3, o->in);
    return end_onnx(c, o, y, a->act, a->a);
}

static double conv2d_fused_flops(const reel__call *c)
{
    return reel__conv2d.flops(c) + end_flops(c, ATTRS(c, reel__conv2d_fused_attrs)->act);
}

const reel__op reel__conv2d_fused = {
    .name = "conv2d_fused",
    .kernel = K_CONV2D_FUSED,
    .choice = "algo", /* reel__conv2d_algo */
    .n_choices = 3,
    .n_in = 4,
    .n_out = 1,
    .optional = 1 << 2 | 1 << 3,
    .saves = SAVES,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__conv2d_fused_schema,
    .infer = conv2d_fused_infer,
    .vjp = conv2d_fused_vjp,
    .onnx = conv2d_fused_onnx,
    .flops = conv2d_fused_flops,
    .sample =
        "f[2,3,5,5]; f[4,3,3,3]; f[4]; f[2,4,5,5] | stride=1,1 padding=1,1 dilation=1,1 "
        "groups=1 act=gelu\n"
        "f[1,2,6,5]; f[2,2,3,2]; -; - | stride=2,1 padding=1,0 dilation=1,2 groups=1 "
        "act=leaky_relu a=0.1\n"
        "f[2,4,4,4]; f[4,1,3,3]; f[4]; - | stride=1,1 padding=1,1 dilation=1,1 groups=4 "
        "act=silu algo=1\n"
        "f[1,4,3,3]; f[6,2,1,1]; -; f[1,6,2,2] | stride=2,2 padding=0,0 dilation=1,1 "
        "groups=2 act=none algo=2",
};

/* ---- linear: x [n, in], weight [out, in], bias?, residual [n, out]?  ->  [n, out] ------ */

static reel_status linear_fused_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reel__linear.infer(c, out);
    return st ? st : infer_end(c, ATTRS(c, reel__linear_fused_attrs)->act, out);
}

static reel_tensor *linear_composed(const reel__call *c)
{
    const reel__linear_fused_attrs *a = ATTRS(c, reel__linear_fused_attrs);
    return compose_end(c, APPLY(&reel__linear, NULL, c->in[0], c->in[1], c->in[2]),
                       a->act, a->a);
}

static void linear_fused_vjp(const reel__call *c, reel_tensor *const gy[],
                             reel_tensor *gx[])
{
    reel__vjp_composed(c, linear_composed, gy[0], gx);
}

static reel_status linear_fused_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__linear_fused_attrs *a = ATTRS(c, reel__linear_fused_attrs);
    reel__ref y = reel__onnx_call(o, &reel__linear, NULL, o->out[0], 3, o->in);
    return end_onnx(c, o, y, a->act, a->a);
}

static double linear_fused_flops(const reel__call *c)
{
    return reel__linear.flops(c) + end_flops(c, ATTRS(c, reel__linear_fused_attrs)->act);
}

const reel__op reel__linear_fused = {
    .name = "linear_fused",
    .kernel = K_LINEAR_FUSED,
    .n_in = 4,
    .n_out = 1,
    .optional = 1 << 2 | 1 << 3,
    .saves = SAVES,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__linear_fused_schema,
    .infer = linear_fused_infer,
    .vjp = linear_fused_vjp,
    .onnx = linear_fused_onnx,
    .flops = linear_fused_flops,
    .sample = "f[5,4]; f[3,4]; f[3]; f[5,3] | act=gelu\n"
              "f[2,3]; f[4,3]; -; - | act=sigmoid\n"
              "f[2,3]; f[4,3]; -; f[2,4] | act=elu a=0.5\n"
              "f[0,3]; f[2,3]; f[2]; - | act=none",
};
