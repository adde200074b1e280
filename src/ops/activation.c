/* activation.c: activations. Each has a row, a row for its derivative times the gradient
 * (one fused pass, first order), and the derivative written in operators, which is used when
 * the backward pass itself is recorded, so that every further order follows from it. */
#include "ops/onnx.h"
#include "ops/records.h"

#define A(c) (ATTRS(c, reel_scalar_attrs)->a[0])

/* dy/dx from the saved value v (the input, or the result for sigmoid and tanh). */
typedef reel_tensor *(*derivative_fn)(const reel_call *c, reel_tensor *v);

static void activation_vjp(const reel_call *c, reel_tensor *g, reel_tensor *gx[],
                           const reel_op *fused, derivative_fn derivative)
{
    reel_tensor *v = c->op->saves & SAVE_OUT(0) ? c->out[0] : c->in[0];
    gx[0] =
        c->create_graph ? reel_mul(g, derivative(c, v)) : APPLY(fused, c->attrs, v, g);
}

/* ACTIVATION(name, row, fused derivative row, what it reads, schema): the records and vjp;
 * name##_derivative and the ONNX rules name##_onnx and name##_grad_onnx stand above it.
 * Of a derivative x is the saved value, y the gradient. */
#define ACTIVATION_AS(fn, of, traits_, row, grad_row, saves_, schema, dtypes_, sample_)  \
    static void fn##_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[]) \
    {                                                                                    \
        activation_vjp(c, gy[0], gx, &reel__##grad_row, grad_row##_derivative);          \
    }                                                                                    \
    const reel_op reel__##fn = {.name = #fn,                                             \
                                .kernel = row,                                           \
                                .traits = traits_,                                       \
                                .n_in = 1,                                               \
                                .n_out = 1,                                              \
                                .saves = saves_,                                         \
                                .dtypes = dtypes_,                                       \
                                .attrs = schema,                                         \
                                .infer = reel__infer_same,                               \
                                .vjp = fn##_vjp,                                         \
                                .onnx = of##_onnx,                                       \
                                .sample = sample_}
#define ACTIVATION(fn, row, grad_id, saves_, schema, attrs_text)                         \
    const reel_op reel__##fn##_grad = {.name = #fn "_grad",                              \
                                       .kernel = grad_id,                                \
                                       .traits = REEL_OP_POINTWISE,                      \
                                       .n_in = 2,                                        \
                                       .n_out = 1,                                       \
                                       .dtypes = DTYPES_FLOAT,                           \
                                       .attrs = schema,                                  \
                                       .infer = reel__infer_pointwise,                   \
                                       .onnx = fn##_grad_onnx,                           \
                                       .no_vjp = #fn " composes it with create_graph",   \
                                       .sample = "f[3,4] in -2..2; f[3,4]" attrs_text};  \
    ACTIVATION_AS(                                                                       \
        fn, fn, REEL_OP_POINTWISE, row, fn##_grad, saves_, schema, DTYPES_FLOAT,         \
        "f[3,4] in -4..4" attrs_text "\nf[] in -4..4" attrs_text "\nf[2,0]" attrs_text)
#define NO_ATTRS(fn)                                                                     \
    reel_tensor *reel_##fn(reel_tensor *x)                                               \
    {                                                                                    \
        return APPLY(&reel__##fn, NULL, x);                                              \
    }

/* 1 where low < x < high, as x's dtype */
static reel_tensor *between(reel_tensor *x, double low, double high)
{
    reel_dtype dt = x->meta.dtype;
    return reel_cast(reel_logical_and(reel_gt(x, reel_scalar(low, dt)),
                                      reel_lt(x, reel_scalar(high, dt))),
                     dt);
}

/* low < x < high, bool */
static reel_ref onnx_between(reel_onnx *o, reel_ref x, double low, double high)
{
    return ONNX_BOOL("And", ONNX_BOOL("Greater", x, NUM(low)),
                     ONNX_BOOL("Less", x, NUM(high)));
}

/* ---- relu, relu6, leaky_relu, elu ------------------------------------------------------ */

/* The result serves as well as the input: y > 0 exactly where x > 0. */
static reel_tensor *relu_grad_derivative(const reel_call *c, reel_tensor *y)
{
    (void)c;
    return reel__positive(y);
}
/* Few opsets and runtimes have Relu for integers. */
ONNX_RULE(relu, reel_dtype_is_float(x->dtype) ? ONNX("Relu", x) : ONNX("Max", x, NUM(0)))
ONNX_RULE(relu_grad, ONNX("Where", ONNX_BOOL("Greater", x, NUM(0)), y, NUM(0)))
ACTIVATION(relu, K_RELU, K_RELU_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(relu)
ACTIVATION_AS(relu_, relu, REEL_OP_POINTWISE | REEL_OP_INPLACE, K_RELU, relu_grad,
              SAVE_OUT(0), NULL, DTYPES_NUMBER, "f[3,4] in -2..2\nf[] in -2..2");
NO_ATTRS(relu_)

static reel_tensor *relu6_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    return between(x, 0, 6);
}
ONNX_RULE(relu6, ONNX("Clip", x, NUM(0), NUM(6)))
ONNX_RULE(relu6_grad, ONNX("Where", onnx_between(o, x, 0, 6), y, NUM(0)))
ACTIVATION(relu6, K_RELU6, K_RELU6_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(relu6)

static reel_tensor *leaky_relu_grad_derivative(const reel_call *c, reel_tensor *x)
{
    return reel_add_scalar(reel_mul_scalar(reel__positive(x), 1 - A(c)), A(c));
}
ONNX_RULE(leaky_relu, WITH_FLOAT(ONNX("LeakyRelu", x), "alpha", A(c)))
ONNX_RULE(leaky_relu_grad,
          ONNX("Where", ONNX_BOOL("Greater", x, NUM(0)), y, ONNX("Mul", y, NUM(A(c)))))
ACTIVATION(leaky_relu, K_LEAKY_RELU, K_LEAKY_RELU_GRAD, SAVE_IN(0), &reel__scalar_schema,
           " | a=0.1");

reel_tensor *reel_leaky_relu(reel_tensor *x, double slope)
{
    const reel_scalar_attrs a = {{slope, 0}};
    return APPLY(&reel__leaky_relu, &a, x);
}

/* x > 0 ? 1 : a exp(x) = (1 - p) a exp(min(x, 0)) + p */
static reel_tensor *elu_grad_derivative(const reel_call *c, reel_tensor *x)
{
    reel_tensor *p = reel__positive(x), *q = reel_add_scalar(reel_neg(p), 1);
    return reel_add(reel_mul(q, reel_mul_scalar(reel_exp(reel_mul(q, x)), A(c))), p);
}
ONNX_RULE(elu, WITH_FLOAT(ONNX("Elu", x), "alpha", A(c)))
ONNX_RULE(elu_grad, ONNX("Where", ONNX_BOOL("Greater", x, NUM(0)), y,
                         ONNX("Mul", ONNX("Mul", y, NUM(A(c))),
                              ONNX("Exp", ONNX("Min", x, NUM(0))))))
ACTIVATION(elu, K_ELU, K_ELU_GRAD, SAVE_IN(0), &reel__scalar_schema, " | a=0.7");

reel_tensor *reel_elu(reel_tensor *x, double alpha)
{
    const reel_scalar_attrs a = {{alpha, 0}};
    return APPLY(&reel__elu, &a, x);
}

/* ---- gelu: Phi(x) + x phi(x); and its tanh form ------------------------------------------ */

static reel_tensor *gelu_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    reel_tensor *cdf = reel_add_scalar(
        reel_mul_scalar(reel_erf(reel_mul_scalar(x, 0.70710678118654752440)), 0.5), 0.5);
    reel_tensor *pdf = reel_mul_scalar(reel_exp(reel_mul_scalar(reel_square(x), -0.5)),
                                       0.39894228040143267794);
    return reel_add(cdf, reel_mul(x, pdf));
}
/* 2 Phi(x) = erf(x / sqrt 2) + 1 */
static reel_ref twice_normal_cdf(reel_onnx *o, reel_ref x)
{
    if (reel_failed()) return NULL;
    reel_ref erf = ONNX("Erf", ONNX("Div", x, NUM(1.41421356237309504880)));
    return ONNX("Add", erf, NUM(1));
}
static reel_ref normal_cdf(reel_onnx *o, reel_ref x)
{
    return ONNX("Mul", twice_normal_cdf(o, x), NUM(0.5));
}
/* phi(x) = exp(-x^2 / 2) / sqrt(2 pi) */
static reel_ref normal_pdf(reel_onnx *o, reel_ref x)
{
    if (reel_failed()) return NULL;
    reel_ref e = ONNX("Exp", ONNX("Mul", ONNX("Mul", x, x), NUM(-0.5)));
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
static reel_tensor *gelu_tanh_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    const double k = 0.79788456080286535588, a = 0.044715;
    reel_tensor *x2 = reel_square(x);
    reel_tensor *u = reel_mul(x, reel_add_scalar(reel_mul_scalar(x2, k * a), k));
    reel_tensor *t = reel_tanh(u);
    reel_tensor *du = reel_add_scalar(reel_mul_scalar(x2, 3 * k * a), k);
    reel_tensor *dt = reel_mul(reel_add_scalar(reel_neg(reel_square(t)), 1), du);
    return reel_mul_scalar(reel_add(reel_add_scalar(t, 1), reel_mul(x, dt)), 0.5);
}
/* x (1 + tanh(k (x + a x^3))) / 2 */
static reel_ref gelu_by_tanh(reel_onnx *o, reel_ref x)
{
    reel_ref cube = ONNX("Mul", ONNX("Mul", ONNX("Mul", x, x), x), NUM(0.044715));
    reel_ref u = ONNX("Mul", ONNX("Add", x, cube), NUM(0.79788456080286535588));
    return ONNX("Mul", ONNX("Mul", x, NUM(0.5)), ONNX("Add", ONNX("Tanh", u), NUM(1)));
}
static reel_status gelu_tanh_onnx(const reel_call *c, reel_onnx *o)
{
    const reel_ref x = o->in[0];
    (void)c;
    if (!HAS("Gelu")) return reel__onnx_give(o, 0, gelu_by_tanh(o, x));
    reel_ref y = ONNX("Gelu", x);
    reel__onnx_str(o, "approximate", "tanh");
    return reel__onnx_give(o, 0, y);
}
/* with s = sigmoid(2 u): s (1 + (1 - s) x 2 u') */
static reel_ref gelu_tanh_slope(reel_onnx *o, reel_ref x)
{
    const double k = 2 * 0.79788456080286535588, a = 0.044715;
    reel_ref x2 = ONNX("Mul", x, x);
    reel_ref u = ONNX("Mul", x, ONNX("Add", ONNX("Mul", x2, NUM(k * a)), NUM(k)));
    reel_ref s = ONNX("Sigmoid", u);
    reel_ref du = ONNX("Add", ONNX("Mul", x2, NUM(3 * k * a)), NUM(k));
    reel_ref rest = ONNX("Mul", ONNX("Sub", NUM(1), s), ONNX("Mul", x, du));
    return ONNX("Mul", s, ONNX("Add", rest, NUM(1)));
}
ONNX_RULE(gelu_tanh_grad, ONNX("Mul", y, gelu_tanh_slope(o, x)))
ACTIVATION(gelu_tanh, K_GELU_TANH, K_GELU_TANH_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(gelu_tanh)

/* ---- sigmoid: y (1 - y); tanh: 1 - y^2; silu: s (1 + x (1 - s)); softplus: sigmoid -------- */

static reel_tensor *sigmoid_grad_derivative(const reel_call *c, reel_tensor *y)
{
    (void)c;
    return reel_sub(y, reel_square(y));
}
ONNX_RULE(sigmoid, ONNX("Sigmoid", x))
ONNX_RULE(sigmoid_grad, ONNX("Mul", y, ONNX("Sub", x, ONNX("Mul", x, x))))
ACTIVATION(sigmoid, K_SIGMOID, K_SIGMOID_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(sigmoid)

static reel_tensor *tanh_grad_derivative(const reel_call *c, reel_tensor *y)
{
    (void)c;
    return reel_add_scalar(reel_neg(reel_square(y)), 1);
}
ONNX_RULE(tanh, ONNX("Tanh", x))
ONNX_RULE(tanh_grad, ONNX("Mul", y, ONNX("Sub", NUM(1), ONNX("Mul", x, x))))
ACTIVATION(tanh, K_TANH, K_TANH_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(tanh)

static reel_tensor *silu_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    reel_tensor *s = reel_sigmoid(x);
    reel_tensor *rest = reel_add_scalar(reel_neg(s), 1);
    return reel_mul(s, reel_add_scalar(reel_mul(x, rest), 1));
}
/* Not Swish, of opset 24, which runtimes have no kernels for (ONNX Runtime 1.31). */
ONNX_RULE(silu, ONNX("Mul", x, ONNX("Sigmoid", x)))
static reel_ref silu_slope(reel_onnx *o, reel_ref x)
{
    reel_ref s = ONNX("Sigmoid", x);
    reel_ref rest = ONNX("Mul", x, ONNX("Sub", NUM(1), s));
    return ONNX("Mul", s, ONNX("Add", rest, NUM(1)));
}
ONNX_RULE(silu_grad, ONNX("Mul", y, silu_slope(o, x)))
ACTIVATION(silu, K_SILU, K_SILU_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(silu)

static void softplus_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_mul(gy[0], reel_sigmoid(c->in[0]));
}

ONNX_RULE(softplus, ONNX("Softplus", x))

const reel_op reel__softplus = {
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

static reel_tensor *hardsigmoid_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    return reel_mul_scalar(between(x, -3, 3), 1. / 6);
}
static reel_ref hard_sigmoid(reel_onnx *o, reel_ref x)
{
    reel_ref y = ONNX("HardSigmoid", x);
    return WITH_FLOAT(WITH_FLOAT(y, "alpha", 1. / 6), "beta", 0.5);
}
ONNX_RULE(hardsigmoid, hard_sigmoid(o, x))
ONNX_RULE(hardsigmoid_grad,
          ONNX("Where", onnx_between(o, x, -3, 3), ONNX("Mul", y, NUM(1. / 6)), NUM(0)))
ACTIVATION(hardsigmoid, K_HARDSIGMOID, K_HARDSIGMOID_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(hardsigmoid)

/* 0, x / 3 + 1/2 or 1, below, inside and above (-3, 3) */
static reel_tensor *hardswish_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    reel_dtype dt = x->meta.dtype;
    reel_tensor *above = reel_cast(reel_ge(x, reel_scalar(3, dt)), dt);
    reel_tensor *line = reel_add_scalar(reel_mul_scalar(x, 1. / 3), 0.5);
    return reel_add(reel_mul(between(x, -3, 3), line), above);
}
ONNX_RULE(hardswish,
          HAS("HardSwish") ? ONNX("HardSwish", x) : ONNX("Mul", x, hard_sigmoid(o, x)))
/* 0, x / 3 + 1/2 or 1 */
static reel_ref hardswish_slope(reel_onnx *o, reel_ref x)
{
    reel_ref line = ONNX("Add", ONNX("Mul", x, NUM(1. / 3)), NUM(0.5));
    reel_ref right = ONNX("Where", ONNX_BOOL("Less", x, NUM(3)), line, NUM(1));
    return ONNX("Where", ONNX_BOOL("Greater", x, NUM(-3)), right, NUM(0));
}
ONNX_RULE(hardswish_grad, ONNX("Mul", y, hardswish_slope(o, x)))
ACTIVATION(hardswish, K_HARDSWISH, K_HARDSWISH_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(hardswish)
