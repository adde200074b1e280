/* int8.c: linear layers and convolutions on 8-bit operands, what a pass makes of dequantize,
 * operator and quantize. A number q of an operand stands for scale * (q - zero).
 *
 *   acc = sum of (x - x_zero) (w - w_zero)      32 bits; a sum beyond them wraps (two's
 *                                               complement), in every kernel alike
 *   y   = clip(round(acc * (x_scale w_scale / y_scale) + bias / y_scale) + y_zero)
 *         acc * (x_scale w_scale) + bias        f32, without y_scale and y_zero
 *
 * Each step is rounded to f32, to nearest, halves to even; a NaN gives the lowest. The bias is
 * f32: however small the scales, it does not overflow. An activation (relu, relu6, clamp)
 * narrows the clip to what its bounds are when quantized as y, which is the same as quantizing
 * after it. w_scale and w_zero are one number, or one for each output channel. */
#include <inttypes.h>
#include <stdio.h>

#include "ops/conv.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define BYTES (DTYPE(REEL_I8) | DTYPE(REEL_U8))
#define IS_BYTE(m) (DTYPE((m)->dtype) & BYTES)

/* ---- operands --------------------------------------------------------------------------- */

/* Input i, `name`, of dtype `dtype`: a number; or with `channels` (-1: none) one for each. */
static reel_status check_parameter(const reel__call *c, int i, const char *name,
                                   reel_dtype dtype, int64_t channels)
{
    const reel__meta *m = IN_META(c, i), *w = IN_META(c, REEL_INT8_W);
    REQUIRE(c, m->dtype == dtype, REEL_ERR_DTYPE, "%s %s must be %s", name, SHOW(m),
            reel_dtype_name(dtype));
    bool each = channels >= 0 && m->rank == w->rank && reel__numel(m) == channels &&
                m->dim[0] == channels;
    REQUIRE(c, m->rank == 0 || each, REEL_ERR_SHAPE,
            "%s %s must be one number []%s, weight %s", name, SHOW(m),
            channels >= 0 ? ", or one for each row of the weight, with its rank"
                          : " for the whole tensor",
            SHOW(w));
    return REEL_OK;
}

static reel_status check_quantized(const reel__call *c, int i, const char *name,
                                   int scale, int zero, int64_t channels)
{
    const reel__meta *m = IN_META(c, i);
    char text[32];
    REQUIRE(c, IS_BYTE(m), REEL_ERR_DTYPE, "%s %s must be i8 or u8", name, SHOW(m));
    snprintf(text, sizeof text, "%s's scale", name);
    reel_status st = check_parameter(c, scale, text, REEL_F32, channels);
    snprintf(text, sizeof text, "%s's zero point", name);
    return st ? st : check_parameter(c, zero, text, m->dtype, channels);
}

/* The dtype of the result, and whether it can have the activation. */
static reel_status check_result(const reel__call *c, int64_t act, reel_dtype *dtype)
{
    const reel_tensor *scale = c->in[REEL_INT8_Y_SCALE], *zero = c->in[REEL_INT8_Y_ZERO];
    REQUIRE(c, !scale == !zero, REEL_ERR_ARG,
            "the result has a scale or a zero point alone; give both, or none for f32");
    *dtype = zero ? zero->meta.dtype : REEL_F32;
    REQUIRE(c, act == K_NONE || act == K_RELU || act == K_RELU6 || act == K_CLAMP,
            REEL_ERR_ARG, "act %s must be none, relu, relu6 or clamp",
            act >= 0 && act < K_COUNT ? reel__kernel_name((reel__kernel_id)act) : "?");
    REQUIRE(
        c, zero || act == K_NONE, REEL_ERR_ARG,
        "act %s must be none: a result without a scale is f32, which it does not bound",
        reel__kernel_name((reel__kernel_id)act));
    if (!zero) return REEL_OK;
    REQUIRE(c, IS_BYTE(&zero->meta), REEL_ERR_DTYPE,
            "the result's zero point %s must be i8 or u8", SHOW(&zero->meta));
    reel_status st =
        check_parameter(c, REEL_INT8_Y_SCALE, "the result's scale", REEL_F32, -1);
    return st ? st
              : check_parameter(c, REEL_INT8_Y_ZERO, "the result's zero point", *dtype,
                                -1);
}

/* Everything but the shapes of input, weight and bias. */
static reel_status check_operands(const reel__call *c, int64_t act, reel_dtype *dtype)
{
    const reel_tensor *bias = c->in[REEL_INT8_BIAS];
    const int64_t channels = IN_META(c, REEL_INT8_W)->dim[0];
    REQUIRE(c, !bias || bias->meta.dtype == REEL_F32, REEL_ERR_DTYPE,
            "bias %s must be f32", bias ? SHOW(&bias->meta) : "none");
    reel_status st =
        check_quantized(c, REEL_INT8_X, "input", REEL_INT8_X_SCALE, REEL_INT8_X_ZERO, -1);
    if (!st)
        st = check_quantized(c, REEL_INT8_W, "weight", REEL_INT8_W_SCALE,
                             REEL_INT8_W_ZERO, channels);
    return st ? st : check_result(c, act, dtype);
}

#define OPTIONAL (1 << REEL_INT8_BIAS | 1 << REEL_INT8_Y_SCALE | 1 << REEL_INT8_Y_ZERO)
#define NO_VJP "made for inference; fake_quantize is what is trained"

/* ---- ONNX: the dequantize, the operator and the quantize that it stands for ----------------- */

static reel__ref dequantized(reel_onnx *o, int value, int scale, int zero)
{
    const reel__ref in[] = {o->in[value], o->in[scale], o->in[zero]};
    reel_onnx_ref type = *in[0];
    type.dtype = REEL_F32;
    return reel__onnx_call(o, &reel__dequantize, NULL, type, 3, in);
}

static reel__ref activated(reel_onnx *o, reel__ref y, int64_t act,
                           const reel__number a[2])
{
    const reel__scalar_attrs bounds = {{a[0], a[1]}};
    const reel__op *op = act == K_RELU    ? &reel__relu
                         : act == K_RELU6 ? &reel__relu6
                                          : &reel__clamp;
    if (act == K_NONE || !y) return y;
    return reel__onnx_call(o, op, op->attrs ? &bounds : NULL, *y, 1, &y);
}

static reel__ref quantized(reel_onnx *o, reel__ref y)
{
    const reel__ref in[] = {y, o->in[REEL_INT8_Y_SCALE], o->in[REEL_INT8_Y_ZERO]};
    if (!y || !in[1]) return y;
    const bool is_u8 = in[2]->dtype == REEL_U8;
    const reel__scalar_attrs all =
        is_u8 ? reel__scalars(0, 255) : reel__scalars(-128, 127);
    return reel__onnx_call(o, &reel__quantize, &all, o->out[0], 3, in);
}

/* What the two are between: the layer of floats. */
static reel__ref layer(reel_onnx *o, const reel__op *op, const void *attrs)
{
    reel__ref in[] = {
        dequantized(o, REEL_INT8_X, REEL_INT8_X_SCALE, REEL_INT8_X_ZERO),
        dequantized(o, REEL_INT8_W, REEL_INT8_W_SCALE, REEL_INT8_W_ZERO),
        o->in[REEL_INT8_BIAS],
    };
    reel_onnx_ref type = o->out[0];
    type.dtype = REEL_F32;
    if (!in[0] || !in[1]) return NULL;
    if (op == &reel__conv2d || type.rank == 2)
        return reel__onnx_call(o, op, attrs, type, 3, in);
    in[1] = reel__onnx_transpose(o, in[1]); /* Gemm is of matrices */
    reel__ref y = in[1] ? ONNX_NODE("MatMul", type, in[0], in[1]) : NULL;
    return y && in[2] ? ONNX("Add", y, in[2]) : y;
}

static reel_status as_onnx(reel_onnx *o, const reel__op *op, const void *attrs,
                           int64_t act, const reel__number a[2])
{
    reel__ref y = layer(o, op, attrs);
    return reel__onnx_give(o, 0, quantized(o, activated(o, y, act, a)));
}

/* ---- linear: x [..., in]  w [out, in]  bias [out]?  ->  [..., out] ------------------------ */

static reel_status linear_int8_infer(const reel__call *c, reel__meta *out)
{
    const reel__linear_int8_attrs *a = ATTRS(c, reel__linear_int8_attrs);
    const reel__meta *x = IN_META(c, REEL_INT8_X), *w = IN_META(c, REEL_INT8_W);
    const reel__meta *b = c->in[REEL_INT8_BIAS] ? IN_META(c, REEL_INT8_BIAS) : NULL;
    REQUIRE(c, x->rank >= 1 && w->rank == 2 && x->dim[x->rank - 1] == w->dim[1],
            REEL_ERR_SHAPE,
            "input %s and weight %s: the weight must be [out, in] with the input's last "
            "size as `in`",
            SHOW(x), SHOW(w));
    REQUIRE(c, !b || (b->rank == 1 && b->dim[0] == w->dim[0]), REEL_ERR_SHAPE,
            "bias %s must be [%" PRId64 "], as weight %s says", b ? SHOW(b) : "none",
            w->dim[0], SHOW(w));
    reel_dtype dtype;
    reel_status st = check_operands(c, a->act, &dtype);
    if (st) return st;
    *out = *x;
    out->dtype = dtype;
    out->offset = 0;
    out->dim[out->rank - 1] = w->dim[0];
    reel__set_contiguous(out);
    return REEL_OK;
}

static reel_status linear_int8_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__linear_int8_attrs *a = ATTRS(c, reel__linear_int8_attrs);
    return as_onnx(o, &reel__linear, NULL, a->act, a->a);
}

static double linear_int8_flops(const reel__call *c)
{
    return 2. * (double)reel__numel(&c->out[0]->meta) * (double)IN_META(c, 1)->dim[1];
}

const reel__op reel__linear_int8 = {
    .name = "linear_int8",
    .kernel = K_LINEAR_INT8,
    .traits = REEL_OP_NO_GRAD,
    .n_in = REEL_INT8_INS,
    .n_out = 1,
    .optional = OPTIONAL,
    .dtypes = BYTES,
    .attrs = &reel__linear_int8_schema,
    .infer = linear_int8_infer,
    .no_vjp = NO_VJP,
    .onnx = linear_int8_onnx,
    .flops = linear_int8_flops,
    .sample = "u8[5,4]; i8[3,4]; c32[3]; c32[] in 0.01..0.1; u8[]; c32[] in 0.01..0.1; "
              "c32[3,1] in 0.01..0.1; u8[]; i8[3,1] | act=relu\n"
              "i8[2,3,4]; u8[2,4]; -; -; -; c32[] in 0.01..0.1; c32[] in 0.01..0.1; "
              "i8[]; u8[] | act=none",
};

/* ---- conv2d: x [n, c, h, w]  w [k, c/g, r, s]  bias [k]?  ->  y [n, k, ho, wo] ------------- */

static reel_status conv2d_int8_infer(const reel__call *c, reel__meta *out)
{
    const reel__conv2d_int8_attrs *a = ATTRS(c, reel__conv2d_int8_attrs);
    reel_dtype dtype;
    reel_status st = reel__conv2d_shape(c, out);
    if (!st) st = check_operands(c, a->act, &dtype);
    if (!st) out->dtype = dtype;
    return st;
}

static reel_status conv2d_int8_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__conv2d_int8_attrs *a = ATTRS(c, reel__conv2d_int8_attrs);
    return as_onnx(o, &reel__conv2d, &a->conv, a->act, a->a);
}

const reel__op reel__conv2d_int8 = {
    .name = "conv2d_int8",
    .kernel = K_CONV2D_INT8,
    .traits = REEL_OP_NO_GRAD,
    .n_in = REEL_INT8_INS,
    .n_out = 1,
    .optional = OPTIONAL,
    .dtypes = BYTES,
    .attrs = &reel__conv2d_int8_schema,
    .infer = conv2d_int8_infer,
    .no_vjp = NO_VJP,
    .onnx = conv2d_int8_onnx,
    .flops = reel__conv2d_flops,
    .sample = "u8[2,3,5,5]; i8[4,3,3,3]; c32[4]; c32[] in 0.01..0.1; i8[]; "
              "c32[] in 0.01..0.1; c32[4,1,1,1] in 0.01..0.1; u8[]; i8[] | stride=1,1 "
              "padding=1,1 dilation=1,1 groups=1 act=clamp a=-1,2\n"
              "i8[1,4,6,5]; i8[4,1,3,2]; -; -; -; c32[] in 0.01..0.1; c32[] in "
              "0.01..0.1; i8[]; "
              "i8[] | stride=2,1 padding=1,0 dilation=1,2 groups=4 act=none",
};
