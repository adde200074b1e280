/* conv.c: 2-D convolution. Forward, gradient by input and gradient by weight are three
 * records; each is linear in both of its inputs and has the other two as gradients, so every
 * order of derivative is there. Activations lie channels-last in memory. */
#include <inttypes.h>
#include <string.h>

#include "base/option.h"
#include "ops/conv.h"
#include "ops/onnx.h"

#define G gy[0]

static reel_tensor *apply_gradient(const reel__op *op, const reel__call *c,
                                   reel_tensor *a, reel_tensor *b,
                                   const reel__meta *result)
{
    reel__conv2d_attrs at = *ATTRS(c, reel__conv2d_attrs);
    memcpy(at.input, result->dim, sizeof at.input);
    return APPLY(op, &at, a, b);
}

/* (h + 2 padding - dilation (r - 1) - 1) / stride + 1; below 1 if the window does not fit */
static int64_t out_size(const reel__conv2d_attrs *a, int i, int64_t h, int64_t r)
{
    int64_t pad, reach, span; /* attributes may come from a file: nothing may overflow */
    if (a->stride[i] < 1 || a->padding[i] < 0 || a->dilation[i] < 1 || r < 1 || h < 0 ||
        !reel__checked_mul(a->padding[i], 2, &pad) ||
        !reel__checked_mul(a->dilation[i], r - 1, &reach) ||
        !reel__checked_add(h, pad, &span))
        return 0;
    return span <= reach ? 0 : (span - reach - 1) / a->stride[i] + 1;
}

/* Whether the padded input [n, c, h + 2 padding, w + 2 padding] could be a tensor of any dtype:
 * what kernels compute of addresses inside of it then does not overflow. Call it when
 * out_size() was above 0. */
static bool padded_fits(const reel__conv2d_attrs *a, const int64_t x[4])
{
    const int64_t dim[4] = {x[0], x[1], x[2] + 2 * a->padding[0],
                            x[3] + 2 * a->padding[1]};
    int64_t bytes = sizeof(double);
    bool fits = true;
    for (int i = 0; i < 4; i++)
        fits = fits && reel__checked_mul(bytes, dim[i] > 0 ? dim[i] : 1, &bytes);
    return fits;
}

/* ---- conv2d: x [n, c, h, w]  weight [k, c/g, r, s]  bias [k]?  ->  y [n, k, ho, wo] -------- */

reel_status reel__conv2d_shape(const reel__call *c, reel__meta *out)
{
    const reel__conv2d_attrs *a = ATTRS(c, reel__conv2d_attrs);
    const reel__meta *x = IN_META(c, 0), *w = IN_META(c, 1);
    const reel__meta *b = c->n_in > 2 && c->in[2] ? IN_META(c, 2) : NULL;
    REQUIRE(c, x->rank == 4 && w->rank == 4, REEL_ERR_SHAPE,
            "input %s must be [n, c, h, w], weight %s [k, c/groups, r, s]", SHOW(x),
            SHOW(w));
    int64_t expected = 0;
    REQUIRE(c,
            a->groups >= 1 && reel__checked_mul(w->dim[1], a->groups, &expected) &&
                x->dim[1] == expected,
            REEL_ERR_SHAPE,
            "input %s has %" PRId64 " channels, weight %s expects %" PRId64
            " (groups %" PRId64 ")",
            SHOW(x), x->dim[1], SHOW(w), expected, a->groups);
    REQUIRE(c, w->dim[0] % a->groups == 0, REEL_ERR_SHAPE,
            "weight %s: %" PRId64 " output channels do not divide into %" PRId64
            " groups",
            SHOW(w), w->dim[0], a->groups);
    REQUIRE(c, !b || (b->rank == 1 && b->dim[0] == w->dim[0]), REEL_ERR_SHAPE,
            "bias %s must be [%" PRId64 "], as weight %s says", b ? SHOW(b) : "none",
            w->dim[0], SHOW(w));
    *out = *x;
    out->offset = 0;
    out->dim[1] = w->dim[0];
    for (int i = 0; i < 2; i++) {
        out->dim[2 + i] = out_size(a, i, x->dim[2 + i], w->dim[2 + i]);
        REQUIRE(
            c, out->dim[2 + i] > 0 && w->dim[2 + i] > 0, REEL_ERR_SHAPE,
            "the window of weight %s does not fit into input %s with padding %" PRId64,
            SHOW(w), SHOW(x), a->padding[i]);
    }
    REQUIRE(c, padded_fits(a, x->dim), REEL_ERR_SHAPE,
            "input %s with padding %" PRId64 ", %" PRId64 " has more than 2^63 - 1 bytes",
            SHOW(x), a->padding[0], a->padding[1]);
    reel__set_channels_last(out);
    return REEL_OK;
}

static reel_status conv2d_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *w = IN_META(c, 1);
    const reel__meta *b = c->n_in > 2 && c->in[2] ? IN_META(c, 2) : NULL;
    REQUIRE(c, x->dtype == w->dtype && (!b || b->dtype == x->dtype), REEL_ERR_DTYPE,
            "input %s, weight %s and bias %s differ in dtype", SHOW(x), SHOW(w),
            b ? SHOW(b) : "none");
    return reel__conv2d_shape(c, out);
}

static void conv2d_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[]);

/* All three records do the same multiply-adds: one for each place of y and tap of a weight.
 * `y` and `w` are the operands with those shapes. */
static double conv_flops(const reel__meta *y, const reel__meta *w)
{
    return 2. * (double)reel__numel(y) * (double)(w->dim[1] * w->dim[2] * w->dim[3]);
}

double reel__conv2d_flops(const reel__call *c)
{
    return conv_flops(&c->out[0]->meta, IN_META(c, 1));
}

static double conv2d_input_flops(const reel__call *c)
{
    return conv_flops(IN_META(c, 0), IN_META(c, 1));
}

static double conv2d_weight_flops(const reel__call *c)
{
    return conv_flops(IN_META(c, 0), &c->out[0]->meta);
}

static void window(reel_onnx *o, const reel__conv2d_attrs *a, const int64_t kernel[2])
{
    const int64_t pads[] = {a->padding[0], a->padding[1], a->padding[0], a->padding[1]};
    reel__onnx_ints(o, "kernel_shape", 2, kernel);
    reel__onnx_ints(o, "strides", 2, a->stride);
    reel__onnx_ints(o, "pads", 4, pads);
    reel__onnx_ints(o, "dilations", 2, a->dilation);
    reel__onnx_int(o, "group", a->groups);
}

static reel_status conv2d_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0], w = o->in[1], b = o->in[2];
    reel__ref y = ONNX_NODE("Conv", o->out[0], x, w, b);
    window(o, ATTRS(c, reel__conv2d_attrs), &w->dim[2]);
    return reel__onnx_give(o, 0, y);
}

/* The gradient is a transposed convolution. Its result may be larger than the smallest that
 * the strides would give. */
static reel_status conv2d_input_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__conv2d_attrs *a = ATTRS(c, reel__conv2d_attrs);
    const reel__ref g = o->in[0], w = o->in[1];
    int64_t more[2];
    for (int i = 0; i < 2; i++)
        more[i] =
            a->input[2 + i] - ((g->dim[2 + i] - 1) * a->stride[i] - 2 * a->padding[i] +
                               a->dilation[i] * (w->dim[2 + i] - 1) + 1);
    reel__ref y = ONNX_NODE("ConvTranspose", o->out[0], g, w);
    window(o, a, &w->dim[2]);
    reel__onnx_ints(o, "output_padding", 2, more);
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__conv2d = {
    .name = "conv2d",
    .kernel = K_CONV2D,
    .n_in = 3,
    .n_out = 1,
    .optional = 1 << 2,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .saves_for = reel__saves_product,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__conv2d_schema,
    .infer = conv2d_infer,
    .vjp = conv2d_vjp,
    .onnx = conv2d_onnx,
    .flops = reel__conv2d_flops,
    .sample =
        "f[2,3,5,5]; f[4,3,3,3]; f[4] | stride=1,1 padding=1,1 dilation=1,1 groups=1\n"
        "f[1,2,6,5]; f[2,2,3,2]; - | stride=2,1 padding=1,0 dilation=1,2 groups=1\n"
        "f[2,4,4,4]; f[4,1,3,3]; f[4] | stride=1,1 padding=1,1 dilation=1,1 groups=4\n"
        "f[1,4,3,3]; f[6,2,1,1]; - | stride=2,2 padding=0,0 dilation=1,1 groups=2",
};

/* ---- gradient by input: gy [n, k, ho, wo]  weight  ->  gx of shape attrs.input ---------------- */

/* x of the shape `x`, a weight of the shape `w` and the gradient of the result, input 0, must
 * fit together. */
static reel_status check_gradient(const reel__call *c, const int64_t x[4],
                                  const int64_t w[4])
{
    const reel__conv2d_attrs *a = ATTRS(c, reel__conv2d_attrs);
    const reel__meta *g = IN_META(c, 0);
    REQUIRE(c, g->dtype == IN_META(c, 1)->dtype, REEL_ERR_DTYPE,
            "%s and %s differ in dtype", SHOW(g), SHOW(IN_META(c, 1)));
    int64_t channels;
    bool fits = a->groups > 0 && reel__checked_mul(w[1], a->groups, &channels) &&
                x[1] == channels && w[0] % a->groups == 0 && g->dim[0] == x[0] &&
                g->dim[1] == w[0] && x[0] >= 0;
    for (int i = 0; i < 2 && fits; i++)
        fits = w[2 + i] > 0 && g->dim[2 + i] > 0 &&
               g->dim[2 + i] == out_size(a, i, x[2 + i], w[2 + i]);
    REQUIRE(c, fits && padded_fits(a, x), REEL_ERR_SHAPE,
            "gradient %s does not belong to input [%" PRId64 ",%" PRId64 ",%" PRId64
            ",%" PRId64 "] and weight [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]",
            SHOW(g), x[0], x[1], x[2], x[3], w[0], w[1], w[2], w[3]);
    return REEL_OK;
}

static reel_status check_ranks(const reel__call *c)
{
    REQUIRE(c, IN_META(c, 0)->rank == 4 && IN_META(c, 1)->rank == 4, REEL_ERR_SHAPE,
            "%s and %s must both have rank 4", SHOW(IN_META(c, 0)), SHOW(IN_META(c, 1)));
    return REEL_OK;
}

static reel_status gradient_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = check_ranks(c);
    if (!st)
        st = check_gradient(c, ATTRS(c, reel__conv2d_attrs)->input, IN_META(c, 1)->dim);
    if (st) return st;
    *out = *IN_META(c, 0);
    out->offset = 0;
    memcpy(out->dim, ATTRS(c, reel__conv2d_attrs)->input, 4 * sizeof *out->dim);
    reel__set_channels_last(out);
    return REEL_OK;
}

static void conv2d_input_vjp(const reel__call *c, reel_tensor *const gy[],
                             reel_tensor *gx[]);

const reel__op reel__conv2d_input = {
    .name = "conv2d_input",
    .kernel = K_CONV2D_INPUT,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .saves_for = reel__saves_product,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__conv2d_schema,
    .infer = gradient_infer,
    .vjp = conv2d_input_vjp,
    .onnx = conv2d_input_onnx,
    .flops = conv2d_input_flops,
    .sample = "f[2,4,5,5]; f[4,3,3,3] | stride=1,1 padding=1,1 dilation=1,1 groups=1 "
              "input=2,3,5,5\n"
              "f[1,2,3,2]; f[2,2,3,2] | stride=2,2 padding=1,0 dilation=1,1 groups=1 "
              "input=1,2,6,5",
};

/* ---- gradient by weight: gy  x  ->  gw of shape attrs.input ------------------------------------ */

static reel_status weight_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = check_ranks(c);
    if (!st)
        st = check_gradient(c, IN_META(c, 1)->dim, ATTRS(c, reel__conv2d_attrs)->input);
    if (st) return st;
    *out = *IN_META(c, 0);
    out->offset = 0;
    memcpy(out->dim, ATTRS(c, reel__conv2d_attrs)->input, 4 * sizeof *out->dim);
    reel__set_contiguous(out);
    return REEL_OK;
}

static void conv2d_weight_vjp(const reel__call *c, reel_tensor *const gy[],
                              reel_tensor *gx[]);

const reel__op reel__conv2d_weight = {
    .name = "conv2d_weight",
    .kernel = K_CONV2D_WEIGHT,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .saves_for = reel__saves_product,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__conv2d_schema,
    .infer = weight_infer,
    .vjp = conv2d_weight_vjp,
    .no_onnx = REEL__ONNX_TRAINING,
    .flops = conv2d_weight_flops,
    .sample = "f[2,4,5,5]; f[2,3,5,5] | stride=1,1 padding=1,1 dilation=1,1 groups=1 "
              "input=4,3,3,3\n"
              "f[1,2,3,2]; f[1,2,6,5] | stride=2,2 padding=1,0 dilation=1,1 groups=1 "
              "input=2,2,3,2",
};

static void conv2d_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    reel_tensor *g = reel__channels_last(G);
    if (NEEDS(c, 0))
        gx[0] = apply_gradient(&reel__conv2d_input, c, g, c->in[1], IN_META(c, 0));
    if (NEEDS(c, 1))
        gx[1] = apply_gradient(&reel__conv2d_weight, c, g, c->in[0], IN_META(c, 1));
    if (NEEDS(c, 2)) gx[2] = reel_sum(g, REEL_DIMS(0, 2, 3), false);
}

static void conv2d_input_vjp(const reel__call *c, reel_tensor *const gy[],
                             reel_tensor *gx[])
{
    reel_tensor *g = reel__channels_last(G);
    if (NEEDS(c, 0)) gx[0] = APPLY(&reel__conv2d, c->attrs, g, c->in[1], NULL);
    if (NEEDS(c, 1))
        gx[1] = apply_gradient(&reel__conv2d_weight, c, c->in[0], g, IN_META(c, 1));
}

static void conv2d_weight_vjp(const reel__call *c, reel_tensor *const gy[],
                              reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = APPLY(&reel__conv2d, c->attrs, c->in[1], G, NULL);
    if (NEEDS(c, 1))
        gx[1] = apply_gradient(&reel__conv2d_input, c, c->in[0], G, IN_META(c, 1));
}

/* ---- function ------------------------------------------------------------------------------------ */

static bool pair(const char *what, int one, const int hw[2], int least, int64_t out[2])
{
    bool both = hw[0] || hw[1];
    for (int i = 0; i < 2; i++) {
        out[i] = both ? hw[i] : one ? one : least;
        if (out[i] >= least && out[i] <= 1 << 20) continue;
        reel_fail(REEL_ERR_ARG, "conv2d: %s %" PRId64 " must be %d to %d", what, out[i],
                  least, 1 << 20);
        return false;
    }
    return true;
}

reel_tensor *reel_conv2d(reel_tensor *x, reel_tensor *weight, reel_tensor *bias,
                         const reel_conv2d_opts *opts)
{
    const reel_conv2d_opts *o = REEL__OPTS("conv2d", reel_conv2d_opts, opts);
    if (!o) return NULL;
    reel__conv2d_attrs a = {.groups = o->groups ? o->groups : 1};
    if (!reel__have("conv2d", x, "x") || !reel__have("conv2d", weight, "weight") ||
        !pair("stride", o->stride, o->stride_hw, 1, a.stride) ||
        !pair("padding", o->padding, o->padding_hw, 0, a.padding) ||
        !pair("dilation", o->dilation, o->dilation_hw, 1, a.dilation))
        return NULL;
    if (a.groups < 1) {
        reel_fail(REEL_ERR_ARG, "conv2d: groups %" PRId64 " must be 1 or more", a.groups);
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    return reel_scope_return(
        s, APPLY(&reel__conv2d, &a, reel__channels_last(x), weight, bias));
}
