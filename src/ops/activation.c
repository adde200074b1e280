/* activation.c: activations. Each has a row, a row for its derivative times the gradient
 * (one fused pass, first order), and the derivative written in operators, which is used when
 * the backward pass itself is recorded, so that every further order follows from it. */
#include "ops/op.h"
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
 * name##_derivative stands above it. */
#define ACTIVATION_AS(fn, traits_, row, grad_row, saves_, schema, dtypes_, sample_)      \
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
                                       .no_vjp = #fn " composes it with create_graph",   \
                                       .sample = "f[3,4] in -2..2; f[3,4]" attrs_text};  \
    ACTIVATION_AS(fn, REEL_OP_POINTWISE, row, fn##_grad, saves_, schema, DTYPES_FLOAT,   \
                  "f[3,4] in -4..4" attrs_text "\nf[] in -4..4" attrs_text               \
                  "\nf[2,0]" attrs_text)
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

/* ---- relu, relu6, leaky_relu, elu ------------------------------------------------------ */

/* The result serves as well as the input: y > 0 exactly where x > 0. */
static reel_tensor *relu_grad_derivative(const reel_call *c, reel_tensor *y)
{
    (void)c;
    return reel__positive(y);
}
ACTIVATION(relu, K_RELU, K_RELU_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(relu)
ACTIVATION_AS(relu_, REEL_OP_POINTWISE | REEL_OP_INPLACE, K_RELU, relu_grad, SAVE_OUT(0),
              NULL, DTYPES_NUMBER, "f[3,4] in -2..2\nf[] in -2..2");
NO_ATTRS(relu_)

static reel_tensor *relu6_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    return between(x, 0, 6);
}
ACTIVATION(relu6, K_RELU6, K_RELU6_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(relu6)

static reel_tensor *leaky_relu_grad_derivative(const reel_call *c, reel_tensor *x)
{
    return reel_add_scalar(reel_mul_scalar(reel__positive(x), 1 - A(c)), A(c));
}
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
ACTIVATION(gelu_tanh, K_GELU_TANH, K_GELU_TANH_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(gelu_tanh)

/* ---- sigmoid: y (1 - y); tanh: 1 - y^2; silu: s (1 + x (1 - s)); softplus: sigmoid -------- */

static reel_tensor *sigmoid_grad_derivative(const reel_call *c, reel_tensor *y)
{
    (void)c;
    return reel_sub(y, reel_square(y));
}
ACTIVATION(sigmoid, K_SIGMOID, K_SIGMOID_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(sigmoid)

static reel_tensor *tanh_grad_derivative(const reel_call *c, reel_tensor *y)
{
    (void)c;
    return reel_add_scalar(reel_neg(reel_square(y)), 1);
}
ACTIVATION(tanh, K_TANH, K_TANH_GRAD, SAVE_OUT(0), NULL, "");
NO_ATTRS(tanh)

static reel_tensor *silu_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    reel_tensor *s = reel_sigmoid(x);
    reel_tensor *rest = reel_add_scalar(reel_neg(s), 1);
    return reel_mul(s, reel_add_scalar(reel_mul(x, rest), 1));
}
ACTIVATION(silu, K_SILU, K_SILU_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(silu)

static void softplus_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_mul(gy[0], reel_sigmoid(c->in[0]));
}

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
    .sample = "f[3,4] in -4..4\nf[] in -4..4",
};
NO_ATTRS(softplus)

/* ---- hardsigmoid, hardswish ---------------------------------------------------------------- */

static reel_tensor *hardsigmoid_grad_derivative(const reel_call *c, reel_tensor *x)
{
    (void)c;
    return reel_mul_scalar(between(x, -3, 3), 1. / 6);
}
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
ACTIVATION(hardswish, K_HARDSWISH, K_HARDSWISH_GRAD, SAVE_IN(0), NULL, "");
NO_ATTRS(hardswish)
