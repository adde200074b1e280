/* activation.c: activations. Each has a row and a row for its derivative times the gradient,
 * one fused pass. That row has a gradient itself, which is the row again with respect to the
 * gradient, and with respect to the saved value comes from the slope written in operators: so
 * every further order follows, and no order has two formulas (ADR 16). What a slope is at a
 * bound and at a NaN says docs/edges.md. */
#include "ops/onnx.h"
#include "ops/records.h"

#define A(c) reel__number_f64(ATTRS(c, reel__scalar_attrs)->a[0])

/* v: the saved value, the input or, for relu, sigmoid and tanh, the result. */
static void activation_vjp(const reel__call *c, reel_tensor *g, reel_tensor *gx[],
                           const reel__op *grad)
{
    reel_tensor *v = c->op->saves & SAVE_OUT(0) ? c->out[0] : c->in[0];
    gx[0] = APPLY(grad, c->attrs, v, g);
}

/* y = x slope(v), with v input 0 and x input 1. `composed` is that in operators; NULL where
 * the slope is constant in pieces. */
static void slope_vjp(const reel__call *c, reel_tensor *g, reel_tensor *gx[],
                      reel_tensor *(*composed)(const reel__call *))
{
    reel__call inner = *c;
    inner.needs = 1;
    if (NEEDS(c, 1))
        gx[1] = reel__sum_to(APPLY(c->op, c->attrs, c->in[0], g), IN_META(c, 1));
    if (!NEEDS(c, 0)) return;
    if (composed)
        reel__vjp_composed(&inner, composed, g, gx);
    else
        gx[0] = reel__zeros(IN_META(c, 0));
}

/* ACTIVATION(name, row, row of the derivative, what it reads, schema, attributes): the records
 * and their vjps. The ONNX rules name##_onnx and name##_grad_onnx stand above it. */
#define ACTIVATION_AS(fn, of, traits_, row, grad, saves_, schema, dtypes_, sample_)      \
    static void fn##_vjp(const reel__call *c, reel_tensor *const gy[],                   \
                         reel_tensor *gx[])                                              \
    {                                                                                    \
        activation_vjp(c, gy[0], gx, &reel__##grad);                                     \
    }                                                                                    \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = traits_,                                      \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .saves = saves_,                                        \
                                 .dtypes = dtypes_,                                      \
                                 .attrs = schema,                                        \
                                 .infer = reel__infer_same,                              \
                                 .vjp = fn##_vjp,                                        \
                                 .onnx = of##_onnx,                                      \
                                 .sample = sample_}
#define ACTIVATION_OF(fn, row, grad_row, saves_, schema, attrs_text, composed, reads)    \
    static void fn##_grad_vjp(const reel__call *c, reel_tensor *const gy[],              \
                              reel_tensor *gx[])                                         \
    {                                                                                    \
        slope_vjp(c, gy[0], gx, composed);                                               \
    }                                                                                    \
    const reel__op reel__##fn##_grad = {.name = #fn "_grad",                             \
                                        .kernel = grad_row,                              \
                                        .traits = REEL_OP_POINTWISE,                     \
                                        .n_in = 2,                                       \
                                        .n_out = 1,                                      \
                                        .saves = reads,                                  \
                                        .dtypes = DTYPES_FLOAT,                          \
                                        .attrs = schema,                                 \
                                        .infer = reel__infer_pointwise,                  \
                                        .vjp = fn##_grad_vjp,                            \
                                        .onnx = fn##_grad_onnx,                          \
                                        .sample = "f[3,4] in -2..2; f[3,4]" attrs_text}; \
    ACTIVATION_AS(                                                                       \
        fn, fn, REEL_OP_POINTWISE, row, fn##_grad, saves_, schema, DTYPES_FLOAT,         \
        "f[3,4] in -4..4" attrs_text "\nf[] in -4..4" attrs_text "\nf[2,0]" attrs_text)
/* Of a smooth one, name##_slope stands above it. */
#define ACTIVATION(fn, row, grad_row, saves_, schema, attrs_text)                        \
    static reel_tensor *fn##_grad_composed(const reel__call *c)                          \
    {                                                                                    \
        return reel_mul(c->in[1], fn##_slope(c, c->in[0]));                              \
    }                                                                                    \
    ACTIVATION_OF(fn, row, grad_row, saves_, schema, attrs_text, fn##_grad_composed,     \
                  SAVE_IN(0) | SAVE_IN(1))
#define ACTIVATION_IN_PIECES(fn, row, grad_row, saves_, schema, attrs_text)              \
    ACTIVATION_OF(fn, row, grad_row, saves_, schema, attrs_text, NULL, SAVE_IN(0))
#define NO_ATTRS(fn)                                                                     \
    reel_tensor *reel_##fn(reel_tensor *x)                                               \
    {                                                                                    \
        return APPLY(&reel__##fn, NULL, x);                                              \
    }

/* x <= low or x >= high, bool: false for NaN */
static reel__ref onnx_beyond(reel_onnx *o, reel__ref x, double low, double high)
{
    return ONNX_BOOL("Or", ONNX_BOOL("LessOrEqual", x, NUM(low)),
                     ONNX_BOOL("GreaterOrEqual", x, NUM(high)));
}

/* ---- relu, relu6, leaky_relu, elu ------------------------------------------------------ */

/* The result serves as well as the input: one is <= 0 exactly where the other is.
 * Few opsets and runtimes have Relu for integers. */
ONNX_RULE(relu, reel_dtype_is_float(x->dtype) ? ONNX("Relu", x) : ONNX("Max", x, NUM(0)))
ONNX_RULE(relu_grad, ONNX("Where", ONNX_BOOL("LessOrEqual", x, NUM(0)), NUM(0), y))
ACTIVATION_IN_PIECES(relu, K_RELU, K_RELU_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(relu)
ACTIVATION_AS(relu_, relu, REEL_OP_POINTWISE | REEL_OP_INPLACE, K_RELU, relu_grad,
              SAVE_OUT(0), NULL, DTYPES_NUMBER, "f[3,4] in -2..2\nf[] in -2..2");
NO_ATTRS(relu_)

ONNX_RULE(relu6, ONNX("Clip", x, NUM(0), NUM(6)))
ONNX_RULE(relu6_grad, ONNX("Where", onnx_beyond(o, x, 0, 6), NUM(0), y))
ACTIVATION_IN_PIECES(relu6, K_RELU6, K_RELU6_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(relu6)

ONNX_RULE(leaky_relu, WITH_FLOAT(ONNX("LeakyRelu", x), "alpha", A(c)))
ONNX_RULE(leaky_relu_grad,
          ONNX("Where", ONNX_BOOL("Greater", x, NUM(0)), y, ONNX("Mul", y, NUM(A(c)))))
ACTIVATION_IN_PIECES(leaky_relu, K_LEAKY_RELU, K_LEAKY_RELU_GRAD, SAVE_IN(0),
                     &reel__scalar_schema, " | a=0.1");

reel_tensor *reel_leaky_relu(reel_tensor *x, double slope)
{
    const reel__scalar_attrs a = reel__scalars(slope, 0);
    return APPLY(&reel__leaky_relu, &a, x);
}

/* a exp(x) up to 0, then 1 */
static reel_tensor *elu_slope(const reel__call *c, reel_tensor *x)
{
    reel_tensor *zero = reel_scalar(0, x->meta.dtype);
    reel_tensor *curve = reel_mul_scalar(reel_exp(reel_minimum(x, zero)), A(c));
    return reel_where(reel_le(x, zero), curve, reel_ones_like(x));
}
ONNX_RULE(elu, WITH_FLOAT(ONNX("Elu", x), "alpha", A(c)))
ONNX_RULE(elu_grad, ONNX("Where", ONNX_BOOL("LessOrEqual", x, NUM(0)),
                         ONNX("Mul", ONNX("Mul", y, NUM(A(c))),
                              ONNX("Exp", ONNX("Min", x, NUM(0)))),
                         y))
ACTIVATION(elu, K_ELU, K_ELU_GRAD, SAVE_IN(0), &reel__scalar_schema, " | a=0.7");

reel_tensor *reel_elu(reel_tensor *x, double alpha)
{
    const reel__scalar_attrs a = reel__scalars(alpha, 0);
    return APPLY(&reel__elu, &a, x);
}

/* Of slopes that are 0 or 1 to the last bit beyond `bound`, in any type: no power of a larger x
 * overflows there. */
static reel_tensor *within(reel_tensor *x, double bound)
{
    return reel_clamp(x, -bound, bound);
}

/* ---- gelu: Phi(x) + x phi(x); and its tanh form ------------------------------------------ */

static reel_tensor *gelu_slope(const reel__call *c, reel_tensor *x)
{
    (void)c;
    x = within(x, 40);
    reel_tensor *cdf = reel_add_scalar(
        reel_mul_scalar(reel_erf(reel_mul_scalar(x, 0.70710678118654752440)), 0.5), 0.5);
    reel_tensor *pdf = reel_mul_scalar(reel_exp(reel_mul_scalar(reel_square(x), -0.5)),
                                       0.39894228040143267794);
    return reel_add(cdf, reel_mul(x, pdf));
}
/* 2 Phi(x) = erf(x / sqrt 2) + 1 */
static reel__ref twice_normal_cdf(reel_onnx *o, reel__ref x)
{
    if (reel_failed()) return NULL;
    reel__ref erf = ONNX("Erf", ONNX("Div", x, NUM(1.41421356237309504880)));
    return ONNX("Add", erf, NUM(1));
}
static reel__ref normal_cdf(reel_onnx *o, reel__ref x)
{
    return ONNX("Mul", twice_normal_cdf(o, x), NUM(0.5));
}
/* phi(x) = exp(-x^2 / 2) / sqrt(2 pi) */
static reel__ref normal_pdf(reel_onnx *o, reel__ref x)
{
    if (reel_failed()) return NULL;
    reel__ref e = ONNX("Exp", ONNX("Mul", ONNX("Mul", x, x), NUM(-0.5)));
    return ONNX("Mul", e, NUM(0.39894228040143267794));
}
/* Before Gelu: (x (erf(x / sqrt 2) + 1)) / 2, in PyTorch's order: OpenCV 5.0 knows no other, and
 * crashes on x ((erf + 1) / 2). */
ONNX_RULE(gelu, HAS("Gelu")
                    ? ONNX("Gelu", x)
                    : ONNX("Mul", ONNX("Mul", x, twice_normal_cdf(o, x)), NUM(0.5)))
ONNX_RULE(gelu_grad,
          ONNX("Mul", y, ONNX("Add", normal_cdf(o, x), ONNX("Mul", x, normal_pdf(o, x)))))
ACTIVATION(gelu, K_GELU, K_GELU_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(gelu)

/* t = tanh(k (x + a x^3)):  (1 + t) / 2 + x (1 - t^2) k (1 + 3 a x^2) / 2 */
static reel_tensor *gelu_tanh_slope(const reel__call *c, reel_tensor *x)
{
    (void)c;
    const double k = 0.79788456080286535588, a = 0.044715;
    x = within(x, 40);
    reel_tensor *x2 = reel_square(x);
    reel_tensor *u = reel_mul(x, reel_add_scalar(reel_mul_scalar(x2, k * a), k));
    reel_tensor *t = reel_tanh(u);
    reel_tensor *du = reel_add_scalar(reel_mul_scalar(x2, 3 * k * a), k);
    reel_tensor *dt = reel_mul(reel_add_scalar(reel_neg(reel_square(t)), 1), du);
    return reel_mul_scalar(reel_add(reel_add_scalar(t, 1), reel_mul(x, dt)), 0.5);
}
/* x (1 + tanh(k (x + a x^3))) / 2 */
static reel__ref gelu_by_tanh(reel_onnx *o, reel__ref x)
{
    reel__ref cube = ONNX("Mul", ONNX("Mul", ONNX("Mul", x, x), x), NUM(0.044715));
    reel__ref u = ONNX("Mul", ONNX("Add", x, cube), NUM(0.79788456080286535588));
    return ONNX("Mul", ONNX("Mul", x, NUM(0.5)), ONNX("Add", ONNX("Tanh", u), NUM(1)));
}
static reel_status gelu_tanh_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0];
    (void)c;
    if (!HAS("Gelu")) return reel__onnx_give(o, 0, gelu_by_tanh(o, x));
    reel__ref y = ONNX("Gelu", x);
    reel__onnx_str(o, "approximate", "tanh");
    return reel__onnx_give(o, 0, y);
}
/* with s = sigmoid(2 u): s (1 + (1 - s) x 2 u') */
static reel__ref onnx_gelu_tanh_slope(reel_onnx *o, reel__ref x)
{
    const double k = 2 * 0.79788456080286535588, a = 0.044715;
    reel__ref v =
        ONNX("Clip", x, NUM(-40), NUM(40)); /* beyond, all but rounding is over */
    reel__ref v2 = ONNX("Mul", v, v);
    reel__ref u = ONNX("Mul", v, ONNX("Add", ONNX("Mul", v2, NUM(k * a)), NUM(k)));
    reel__ref s = ONNX("Sigmoid", u);
    reel__ref du = ONNX("Add", ONNX("Mul", v2, NUM(3 * k * a)), NUM(k));
    reel__ref rest = ONNX("Mul", ONNX("Sub", NUM(1), s), ONNX("Mul", v, du));
    return ONNX("Mul", s, ONNX("Add", rest, NUM(1)));
}
ONNX_RULE(gelu_tanh_grad, ONNX("Mul", y, onnx_gelu_tanh_slope(o, x)))
ACTIVATION(gelu_tanh, K_GELU_TANH, K_GELU_TANH_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(gelu_tanh)

/* ---- sigmoid: y (1 - y); tanh: 1 - y^2; silu: s (1 + x (1 - s)); softplus: sigmoid -------- */

static reel_tensor *sigmoid_slope(const reel__call *c, reel_tensor *y)
{
    (void)c;
    return reel_sub(y, reel_square(y));
}
ONNX_RULE(sigmoid, ONNX("Sigmoid", x))
ONNX_RULE(sigmoid_grad, ONNX("Mul", ONNX("Mul", y, x), ONNX("Sub", NUM(1), x)))
ACTIVATION(sigmoid, K_SIGMOID, K_SIGMOID_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(sigmoid)

static reel_tensor *tanh_slope(const reel__call *c, reel_tensor *y)
{
    (void)c;
    return reel_add_scalar(reel_neg(reel_square(y)), 1);
}
ONNX_RULE(tanh, ONNX("Tanh", x))
ONNX_RULE(tanh_grad, ONNX("Mul", y, ONNX("Sub", NUM(1), ONNX("Mul", x, x))))
ACTIVATION(tanh, K_TANH, K_TANH_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(tanh)

static reel_tensor *silu_slope(const reel__call *c, reel_tensor *x)
{
    (void)c;
    x = within(x, 1000);
    reel_tensor *s = reel_sigmoid(x);
    reel_tensor *rest = reel_add_scalar(reel_neg(s), 1);
    return reel_mul(s, reel_add_scalar(reel_mul(x, rest), 1));
}
/* Not Swish, of opset 24, which runtimes have no kernels for (ONNX Runtime 1.31). */
ONNX_RULE(silu, ONNX("Mul", x, ONNX("Sigmoid", x)))
static reel__ref onnx_silu_slope(reel_onnx *o, reel__ref x)
{
    reel__ref s = ONNX("Sigmoid", x);
    reel__ref rest = ONNX("Mul", x, ONNX("Sub", NUM(1), s));
    return ONNX("Mul", s, ONNX("Add", rest, NUM(1)));
}
ONNX_RULE(silu_grad, ONNX("Mul", y, onnx_silu_slope(o, x)))
ACTIVATION(silu, K_SILU, K_SILU_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(silu)

static void softplus_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_mul(gy[0], reel_sigmoid(c->in[0]));
}

ONNX_RULE(softplus, ONNX("Softplus", x))

const reel__op reel__softplus = {
    .name = "softplus",
    .kernel = K_SOFTPLUS,
    .traits = REEL_OP_POINTWISE,
    .n_in = 1,
    .n_out = 1,
    .saves = SAVE_IN(0),
    .dtypes = DTYPES_FLOAT,
    .infer = reel__infer_same,
    .vjp = softplus_vjp,
    .onnx = softplus_onnx,
    .sample = "f[3,4] in -4..4\nf[] in -4..4",
};
NO_ATTRS(softplus)

/* ---- hardsigmoid, hardswish ---------------------------------------------------------------- */

static reel__ref hard_sigmoid(reel_onnx *o, reel__ref x)
{
    reel__ref y = ONNX("HardSigmoid", x);
    return WITH_FLOAT(WITH_FLOAT(y, "alpha", 1. / 6), "beta", 0.5);
}
ONNX_RULE(hardsigmoid, hard_sigmoid(o, x))
ONNX_RULE(hardsigmoid_grad,
          ONNX("Where", onnx_beyond(o, x, -3, 3), NUM(0), ONNX("Mul", y, NUM(1. / 6))))
ACTIVATION_IN_PIECES(hardsigmoid, K_HARDSIGMOID, K_HARDSIGMOID_GRAD, SAVE_IN(0), NULL,
                     "");
NO_ATTRS(hardsigmoid)

/* 0, x / 3 + 1/2 or 1, below, inside and above (-3, 3) */
static reel_tensor *hardswish_slope(const reel__call *c, reel_tensor *x)
{
    (void)c;
    reel_dtype dt = x->meta.dtype;
    reel_tensor *line = reel_add_scalar(reel_mul_scalar(x, 1. / 3), 0.5);
    line = reel_where(reel_lt(x, reel_scalar(3, dt)), line, reel_ones_like(x));
    return reel_masked_fill(line, reel_le(x, reel_scalar(-3, dt)), 0);
}
ONNX_RULE(hardswish,
          HAS("HardSwish") ? ONNX("HardSwish", x) : ONNX("Mul", x, hard_sigmoid(o, x)))
/* 0, x / 3 + 1/2 or 1 */
static reel__ref onnx_hardswish_slope(reel_onnx *o, reel__ref x)
{
    reel__ref line = ONNX("Add", ONNX("Mul", x, NUM(1. / 3)), NUM(0.5));
    reel__ref right = ONNX("Where", ONNX_BOOL("Less", x, NUM(3)), line, NUM(1));
    return ONNX("Where", ONNX_BOOL("LessOrEqual", x, NUM(-3)), NUM(0), right);
}
ONNX_RULE(hardswish_grad, ONNX("Mul", y, onnx_hardswish_slope(o, x)))
ACTIVATION(hardswish, K_HARDSWISH, K_HARDSWISH_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(hardswish)
