/* arith.c: pointwise arithmetic of two or three inputs, comparisons, choice. */
#include <math.h>

#include "base/error.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define G gy[0]
#define X c->in[0]
#define Y c->in[1]
#define NUMBER(i) (ATTRS(c, reel__scalar_attrs)->a[i])
#define A(i) reel__number_f64(NUMBER(i))
#define TO(i, g) reel__sum_to((g), IN_META(c, i))
#define BOTH (SAVE_IN(0) | SAVE_IN(1))

/* ---- add, sub, mul, div --------------------------------------------------------------- */

static void add_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = TO(0, G);
    if (NEEDS(c, 1)) gx[1] = TO(1, G);
}

static void sub_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = TO(0, G);
    if (NEEDS(c, 1)) gx[1] = reel_neg(TO(1, G));
}

static void mul_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = TO(0, reel_mul(G, Y));
    if (NEEDS(c, 1)) gx[1] = TO(1, reel_mul(G, X));
}

/* d/dx = 1 / y, d/dy = -x / y^2 = -(x / y) / y. The quotient is computed again, so that the
 * result may be changed in place. */
static void div_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    reel_tensor *g = reel_div(G, Y);
    if (NEEDS(c, 0)) gx[0] = TO(0, g);
    if (NEEDS(c, 1)) gx[1] = reel_neg(TO(1, reel_mul(g, reel_div(X, Y))));
}

/* x is only read for y's gradient. */
static uint32_t div_saves(const reel__call *c)
{
    return c->in[1]->node ? BOTH : SAVE_IN(1);
}

/* ---- whole quotients, and what they leave: x = y quotient + rest ------------------------ */

/* Flat between its steps. */
static void quotient_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    (void)gy;
    for (int i = 0; i < 2; i++)
        if (NEEDS(c, i)) gx[i] = reel__zeros(IN_META(c, i));
}

static void rest_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[],
                     reel_tensor *(*quotient)(reel_tensor *, reel_tensor *))
{
    if (NEEDS(c, 0)) gx[0] = TO(0, G);
    if (NEEDS(c, 1)) gx[1] = TO(1, reel_neg(reel_mul(G, quotient(X, Y))));
}

static void fmod_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    rest_vjp(c, gy, gx, reel_div_trunc);
}

static void remainder_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    rest_vjp(c, gy, gx, reel_div_floor);
}
#define div_trunc_vjp quotient_vjp
#define div_floor_vjp quotient_vjp

/* Only the gradient of y reads anything. */
static uint32_t rest_saves(const reel__call *c)
{
    return c->in[1]->node ? SAVE_IN(0) | SAVE_IN(1) : 0;
}

/* ---- pow: d/dx = y x^(y-1), 0 for y = 0; d/dy = x^y log x, 0 for x = 0 and y >= 0 --------- */

static void pow_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel_dtype dtype = IN_META(c, 0)->dtype;
    reel_tensor *zero = reel_scalar(0, dtype);
    if (NEEDS(c, 0)) { /* x^0 is 1 everywhere: no 0 times infinity where x is 0 as well */
        reel_tensor *slope = reel_mul(Y, reel_pow(X, reel_add_scalar(Y, -1)));
        gx[0] = TO(0, reel_where(reel_eq(Y, zero), zero, reel_mul(G, slope)));
    }
    if (NEEDS(c, 1)) {
        reel_tensor *flat = reel_logical_and(reel_eq(X, zero), reel_ge(Y, zero));
        reel_tensor *log_x = reel_log(reel_where(flat, reel_scalar(1, dtype), X));
        reel_tensor *slope = reel_mul(reel_pow(X, Y), log_x);
        gx[1] = TO(1, reel_where(flat, zero, reel_mul(G, slope)));
    }
}

static void pow_scalar_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    gx[0] = A(0) == 0 ? reel_zeros_like(G)
                      : reel_mul(G, reel_mul_scalar(reel_pow_scalar(X, A(0) - 1), A(0)));
}

/* ---- maximum, minimum: all to the winner, half each where equal; a NaN beats nobody ----- */

static void extreme_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[],
                        reel_tensor *x_loses, reel_tensor *y_loses)
{
    reel_tensor *zero = reel_scalar(0, G->meta.dtype);
    reel_tensor *g = reel_where(reel_eq(X, Y), reel_mul_scalar(G, 0.5), G);
    if (NEEDS(c, 0)) gx[0] = TO(0, reel_where(x_loses, zero, g));
    if (NEEDS(c, 1)) gx[1] = TO(1, reel_where(y_loses, zero, g));
}

static void maximum_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    extreme_vjp(c, gy, gx, reel_lt(X, Y), reel_gt(X, Y));
}

static void minimum_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    extreme_vjp(c, gy, gx, reel_gt(X, Y), reel_lt(X, Y));
}

/* ---- x + a y, x + a (y - x), x + a, x a ------------------------------------------------ */

static void add_scaled_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = TO(0, G);
    if (NEEDS(c, 1)) gx[1] = TO(1, reel_mul_scalar(G, A(0)));
}

static void lerp_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = TO(0, reel_mul_scalar(G, 1 - A(0)));
    if (NEEDS(c, 1)) gx[1] = TO(1, reel_mul_scalar(G, A(0)));
}

static void add_scalar_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    (void)c;
    gx[0] = G;
}

static void mul_scalar_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    gx[0] = reel_mul_scalar(G, A(0));
}

/* ---- ONNX: pow_scalar and the like have their number as a constant ----------------------- */

/* Integers wrap: to add -1 to a u8 is to add 255. */
static reel__number wrapped(reel__number a, reel_dtype dtype)
{
    if (a.is_real) return a;
    switch (dtype) {
    case REEL_U8: return reel__whole((uint8_t)a.whole);
    case REEL_I8: return reel__whole((int8_t)a.whole);
    case REEL_I32: return reel__whole((int32_t)a.whole);
    default: return a;
    }
}

/* A product of bools is an And. */
ONNX_RULE(mul, x->dtype == REEL_BOOL ? ONNX("And", x, y) : ONNX("Mul", x, y))
ONNX_RULE(add, ONNX("Add", x, y))
ONNX_RULE(sub, ONNX("Sub", x, y))
ONNX_RULE(div, ONNX("Div", x, y))
ONNX_RULE(pow, ONNX("Pow", x, y))

/* What ONNX does with an integer by 0 is open, and readers fail: 1 stands for it. */
static reel__ref divisor(reel_onnx *o, reel__ref y)
{
    reel__ref x = y;
    if (reel_dtype_is_float(y->dtype)) return y;
    return ONNX("Where", ONNX_BOOL("Equal", y, NUM(0)), NUM(1), y);
}

/* Of integers toward zero. */
static reel__ref quotient_onnx(reel_onnx *o, reel__ref x, reel__ref y)
{
    reel__ref q = ONNX("Div", x, divisor(o, y));
    if (reel_dtype_is_float(x->dtype)) return q;
    return ONNX("Where", ONNX_BOOL("Equal", y, NUM(0)), NUM(0), q);
}

static reel__ref trunc_onnx(reel_onnx *o, reel__ref x, reel__ref y)
{
    reel__ref q = quotient_onnx(o, x, y);
    if (!reel_dtype_is_float(x->dtype)) return q;
    return ONNX("Where", ONNX_BOOL("Less", q, NUM(0)), ONNX("Ceil", q), ONNX("Floor", q));
}

/* With `fmod` the rest has the sign of x, else that of y: integers only. */
static reel__ref mod_onnx(reel_onnx *o, reel__ref x, reel__ref y, bool fmod)
{
    return WITH_INT(ONNX("Mod", x, divisor(o, y)), "fmod", fmod);
}

/* `by` where the signs of y and of r, what x leaves, differ, else `v`. */
static reel__ref where_signs_differ(reel_onnx *o, reel__ref r, reel__ref y, reel__ref by,
                                    reel__ref v)
{
    if (!r || !y) return NULL;
    const reel__ref x = r, zero = NUM(0);
    reel__ref differ =
        ONNX_BOOL("Xor", ONNX_BOOL("Less", r, zero), ONNX_BOOL("Less", y, zero));
    reel__ref some = ONNX_BOOL("Not", ONNX_BOOL("Equal", r, zero));
    return ONNX("Where", ONNX_BOOL("And", some, differ), by, v);
}

static reel__ref floor_onnx(reel_onnx *o, reel__ref x, reel__ref y)
{
    reel__ref q = quotient_onnx(o, x, y), r = mod_onnx(o, x, y, true);
    if (!reel_dtype_is_float(x->dtype))
        return where_signs_differ(o, r, y, ONNX("Sub", q, NUM(1)), q);
    reel__ref whole = ONNX("Round", ONNX("Div", ONNX("Sub", x, r), y));
    reel__ref floor = where_signs_differ(o, r, y, ONNX("Sub", whole, NUM(1)), whole);
    return ONNX("Where", ONNX_BOOL("Equal", y, NUM(0)), q, floor);
}

static reel__ref rest_onnx(reel_onnx *o, reel__ref x, reel__ref y)
{
    if (!reel_dtype_is_float(x->dtype)) return mod_onnx(o, x, y, false);
    reel__ref r = mod_onnx(o, x, y, true);
    return where_signs_differ(o, r, y, ONNX("Add", r, y), r);
}
ONNX_RULE(div_trunc, trunc_onnx(o, x, y))
ONNX_RULE(div_floor, floor_onnx(o, x, y))
ONNX_RULE(fmod, mod_onnx(o, x, y, true))
ONNX_RULE(remainder, rest_onnx(o, x, y))
ONNX_RULE(maximum, ONNX("Max", x, y))
ONNX_RULE(minimum, ONNX("Min", x, y))
ONNX_RULE(add_scaled, ONNX("Add", x, ONNX("Mul", y, NUM(A(0)))))
/* from the nearer end, as the row */
ONNX_RULE(lerp, A(0) < 0.5
                    ? ONNX("Add", x, ONNX("Mul", ONNX("Sub", y, x), NUM(A(0))))
                    : ONNX("Sub", y, ONNX("Mul", ONNX("Sub", y, x), NUM(1 - A(0)))))
ONNX_RULE(add_scalar, ONNX("Add", x, EXACTLY(wrapped(NUMBER(0), x->dtype))))
ONNX_RULE(mul_scalar, ONNX("Mul", x, EXACTLY(wrapped(NUMBER(0), x->dtype))))
ONNX_RULE(pow_scalar, ONNX("Pow", x, NUM(A(0))))
ONNX_RULE(where, ONNX("Where", x, y, z))

/* A bound that is infinite is left out. */
static reel__ref bound(const reel__call *c, reel_onnx *o, int i, reel_dtype dtype)
{
    return isinf(A(i)) ? NULL : reel__onnx_exactly(o, NUMBER(i), dtype);
}
ONNX_RULE(clamp,
          ONNX_NODE("Clip", *x, x, bound(c, o, 0, x->dtype), bound(c, o, 1, x->dtype)))
ONNX_RULE(clamp_grad, ONNX("Where",
                           ONNX_BOOL("Or", ONNX_BOOL("LessOrEqual", x, NUM(A(0))),
                                     ONNX_BOOL("GreaterOrEqual", x, NUM(A(1)))),
                           NUM(0), y))

/* ---- clamp: the gradient passes inside the range; at its ends it is 0 ------------------- */

static void clamp_grad_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = reel__zeros(IN_META(c, 0));
    if (NEEDS(c, 1)) gx[1] = TO(1, APPLY(c->op, c->attrs, X, G));
}

const reel__op reel__clamp_grad = {
    .name = "clamp_grad",
    .kernel = K_CLAMP_GRAD,
    .traits = REEL_OP_POINTWISE,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__scalar_schema,
    .infer = reel__infer_pointwise,
    .vjp = clamp_grad_vjp,
    .onnx = clamp_grad_onnx,
    .sample = "f[3,4] in -2..2; f[3,4] | a=-0.7,1.1",
};

static void clamp_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = APPLY(&reel__clamp_grad, c->attrs, X, G);
}

/* ---- where ----------------------------------------------------------------------------- */

static reel_status where_infer(const reel__call *c, reel__meta *out)
{
    REQUIRE(c, IN_META(c, 0)->dtype == REEL_BOOL, REEL_ERR_DTYPE,
            "condition %s must be bool", SHOW(IN_META(c, 0)));
    return reel__infer_pointwise(c, out);
}

static void where_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    reel_tensor *zero = reel_scalar(0, G->meta.dtype);
    if (NEEDS(c, 1)) gx[1] = TO(1, reel_where(X, G, zero));
    if (NEEDS(c, 2)) gx[2] = TO(2, reel_where(X, zero, G));
}

const reel__op reel__where = {
    .name = "where",
    .kernel = K_WHERE,
    .traits = REEL_OP_POINTWISE,
    .n_in = 3,
    .n_out = 1,
    .saves = SAVE_IN(0),
    .dtypes = DTYPE(REEL_BOOL),
    .values = DTYPES_ANY,
    .infer = where_infer,
    .vjp = where_vjp,
    .onnx = where_onnx,
    .sample =
        "bool[3,4]; f[3,4]; f[3,4]\nbool[3,1]; f[4]; f[2,3,4]\nbool[4]; f[3,1]; f[1]",
};

reel_tensor *reel_where(reel_tensor *condition, reel_tensor *x, reel_tensor *y)
{
    return APPLY(&reel__where, NULL, condition, x, y);
}

static reel_tensor *masked_fill(reel_tensor *x, reel_tensor *mask, reel__number value)
{
    if (!reel__have("masked_fill", x, "x") || !reel__have("masked_fill", mask, "mask"))
        return NULL;
    reel__meta sum;
    if (!reel__broadcast(&x->meta, &mask->meta, &sum) ||
        !reel__same_shape(&sum, &x->meta)) {
        reel_fail(REEL_ERR_SHAPE, "masked_fill: mask %s does not broadcast to %s",
                  SHOW(&mask->meta), SHOW(&x->meta));
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_tensor *number = reel__full_of(REEL_SCALAR, value, x->meta.dtype);
    return reel_scope_return(s, reel_where(mask, number, x));
}

reel_tensor *reel_masked_fill(reel_tensor *x, reel_tensor *mask, double value)
{
    REEL__CALLED;
    return masked_fill(x, mask, reel__real(value));
}

reel_tensor *reel_masked_fill_i64(reel_tensor *x, reel_tensor *mask, int64_t value)
{
    REEL__CALLED;
    return masked_fill(x, mask, reel__whole(value));
}

/* ---- records and functions of two inputs ------------------------------------------------ */

#define BINARY(fn, row, traits_, saves_, saves_for_, dtypes_, sample_)                   \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_POINTWISE | (traits_),                \
                                 .n_in = 2,                                              \
                                 .n_out = 1,                                             \
                                 .saves = saves_,                                        \
                                 .saves_for = saves_for_,                                \
                                 .dtypes = dtypes_,                                      \
                                 .infer = reel__infer_pointwise,                         \
                                 .vjp = fn##_vjp,                                        \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = sample_};                                     \
    reel_tensor *reel_##fn(reel_tensor *x, reel_tensor *y)                               \
    {                                                                                    \
        return APPLY(&reel__##fn, NULL, x, y);                                           \
    }

#define BROADCASTS                                                                       \
    "f[3,4]; f[3,4]\nf[2,3,4]; f[4]\nf[2,1,4]; f[3,1]\nf[]; f[3]\n"                      \
    "f[2,3]; f[2,1]\nf[0,3]; f[3]"

BINARY(add, K_ADD, REEL_OP_COMMUTES, 0, NULL, DTYPES_NUMBER, BROADCASTS)
BINARY(sub, K_SUB, 0, 0, NULL, DTYPES_NUMBER, BROADCASTS)
BINARY(mul, K_MUL, REEL_OP_COMMUTES, BOTH, reel__saves_product, DTYPES_ANY, BROADCASTS)
BINARY(div, K_DIV, 0, BOTH, div_saves, DTYPES_FLOAT,
       "f[3,4]; f[3,4] in 0.5..2\nf[2,3,4]; f[4] in 0.5..2\nf[3,1]; f[2,1,4] in -2..-0.5")
#define DIVISORS                                                                         \
    "f[3,4] in -9..9; f[3,4] in 0.5..2\nf[2,3,4] in -9..9; f[4] in -2..-0.5\n"           \
    "f[3,1] in -9..9; f[2,1,4] in 0.5..2"
BINARY(div_trunc, K_DIV_TRUNC, 0, 0, NULL, DTYPES_NUMBER, DIVISORS)
BINARY(div_floor, K_DIV_FLOOR, 0, 0, NULL, DTYPES_NUMBER, DIVISORS)
BINARY(fmod, K_FMOD, 0, BOTH, rest_saves, DTYPES_NUMBER, DIVISORS)
BINARY(remainder, K_REMAINDER, 0, BOTH, rest_saves, DTYPES_NUMBER, DIVISORS)
BINARY(pow, K_POW, 0, BOTH, NULL, DTYPES_FLOAT,
       "f[3,4] in 0.2..2; f[3,4] in -2..2\nf[2,3,4] in 0.2..2; f[4]\nf[] in 1..2; f[3]")
BINARY(maximum, K_MAXIMUM, REEL_OP_COMMUTES, BOTH, NULL, DTYPES_NUMBER, BROADCASTS)
BINARY(minimum, K_MINIMUM, REEL_OP_COMMUTES, BOTH, NULL, DTYPES_NUMBER, BROADCASTS)

#define BINARY_A(fn, row, sample_)                                                       \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_POINTWISE,                            \
                                 .n_in = 2,                                              \
                                 .n_out = 1,                                             \
                                 .dtypes = DTYPES_FLOAT,                                 \
                                 .attrs = &reel__scalar_schema,                          \
                                 .infer = reel__infer_pointwise,                         \
                                 .vjp = fn##_vjp,                                        \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = sample_};                                     \
    reel_tensor *reel_##fn(reel_tensor *x, reel_tensor *y, double a)                     \
    {                                                                                    \
        const reel__scalar_attrs attrs = reel__scalars(a, 0);                            \
        return APPLY(&reel__##fn, &attrs, x, y);                                         \
    }

BINARY_A(add_scaled, K_ADD_SCALED, "f[3,4]; f[3,4] | a=0.3\nf[2,3]; f[3] | a=-2")
BINARY_A(lerp, K_LERP, "f[3,4]; f[3,4] | a=0.3\nf[2,3]; f[3] | a=0.9")

/* -0 is a real, and the 0 that integers have. */
static bool is_whole(reel__number a)
{
    return !a.is_real || a.real == 0;
}

/* An integer times 0.5 is not what an integer dtype holds: no silent 0. */
static reel_status number_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    REQUIRE(c, reel_dtype_is_float(x->dtype) || is_whole(NUMBER(0)), REEL_ERR_DTYPE,
            "value %g is not an integer of 64 bits, input is %s; use reel_cast()", A(0),
            SHOW(x));
    return reel__infer_same(c, out);
}

/* A bound between two integers would cut at neither; without bound is infinite. */
static reel_status clamp_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    for (int i = 0; i < 2; i++)
        REQUIRE(c, reel_dtype_is_float(x->dtype) || is_whole(NUMBER(i)) || isinf(A(i)),
                REEL_ERR_DTYPE,
                "bound %g is neither an integer of 64 bits nor infinite, input is %s",
                A(i), SHOW(x));
    return reel__infer_pointwise(c, out);
}

#define UNARY_A(fn, row, infer_, saves_, dtypes_, sample_)                               \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_POINTWISE,                            \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .saves = saves_,                                        \
                                 .dtypes = dtypes_,                                      \
                                 .attrs = &reel__scalar_schema,                          \
                                 .infer = infer_,                                        \
                                 .vjp = fn##_vjp,                                        \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = sample_}

UNARY_A(add_scalar, K_ADD_SCALAR, number_infer, 0, DTYPES_NUMBER,
        "f[] | a=-1\nf[3,4] | a=0.3");
UNARY_A(mul_scalar, K_MUL_SCALAR, number_infer, 0, DTYPES_NUMBER,
        "f[2] | a=-2\nf[3,4] | a=0.3\nf[2] | a=0");
UNARY_A(pow_scalar, K_POW_SCALAR, reel__infer_same, SAVE_IN(0), DTYPES_FLOAT,
        "f[3,4] in 0.2..2 | a=1.7\nf[3] | a=2\nf[3] | a=0\nf[4] in 0.3..2 | a=-0.5");
UNARY_A(clamp, K_CLAMP, clamp_infer, SAVE_IN(0), DTYPES_NUMBER,
        "f[3,4] in -4..4 | a=-2,1\nf[3,4] in -2..2 | a=-0.7,1.1");

static reel_tensor *with_number(const reel__op *op, reel_tensor *x, reel__number a)
{
    const reel__scalar_attrs attrs = {{a}};
    return APPLY(op, &attrs, x);
}

/* One function for doubles, one for integers that no double holds. */
#define WITH_NUMBER(fn, fn_i64, record)                                                  \
    reel_tensor *fn(reel_tensor *x, double value)                                        \
    {                                                                                    \
        return with_number(&record, x, reel__real(value));                               \
    }                                                                                    \
    reel_tensor *fn_i64(reel_tensor *x, int64_t value)                                   \
    {                                                                                    \
        REEL__CALLED;                                                                    \
        return with_number(&record, x, reel__whole(value));                              \
    }
WITH_NUMBER(reel_add_scalar, reel_add_scalar_i64, reel__add_scalar)
WITH_NUMBER(reel_mul_scalar, reel_mul_scalar_i64, reel__mul_scalar)

reel_tensor *reel_pow_scalar(reel_tensor *x, double value)
{
    return with_number(&reel__pow_scalar, x, reel__real(value));
}

static reel_tensor *clamp(const reel__op *op, reel_tensor *x, reel__number low,
                          reel__number high)
{
    const reel__scalar_attrs a = {{low, high}};
    if (reel__number_at_most(low, high)) return APPLY(op, &a, x);
    reel_fail(REEL_ERR_ARG, "%s: low %.17g must not be above high %.17g", op->name,
              reel__number_f64(low), reel__number_f64(high));
    return NULL;
}

#define CLAMP(fn, fn_i64, record)                                                        \
    reel_tensor *fn(reel_tensor *x, double low, double high)                             \
    {                                                                                    \
        return clamp(&record, x, reel__real(low), reel__real(high));                     \
    }                                                                                    \
    reel_tensor *fn_i64(reel_tensor *x, int64_t low, int64_t high)                       \
    {                                                                                    \
        REEL__CALLED;                                                                    \
        return clamp(&record, x, reel__whole(low), reel__whole(high));                   \
    }
CLAMP(reel_clamp, reel_clamp_i64, reel__clamp)

/* ---- in place: the same rows and gradients ---------------------------------------------- */

#define IN_PLACE(fn, of, n, infer_, row, schema, saves_, saves_for_, dtypes_, sample_)   \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_POINTWISE | REEL_OP_INPLACE,          \
                                 .n_in = n,                                              \
                                 .n_out = 1,                                             \
                                 .saves = saves_,                                        \
                                 .saves_for = saves_for_,                                \
                                 .dtypes = dtypes_,                                      \
                                 .attrs = schema,                                        \
                                 .infer = infer_,                                        \
                                 .vjp = of##_vjp,                                        \
                                 .onnx = of##_onnx,                                      \
                                 .sample = sample_}
#define POINTWISE reel__infer_pointwise
#define ONTO_FIRST "f[3,4]; f[3,4]\nf[2,3,4]; f[3,1]\nf[2,3]; f[]\nf[0,3]; f[3]"
#define ONTO_FIRST_A "f[3,4]; f[3,4] | a=0.3\nf[2,3,4]; f[3,1] | a=-2"

IN_PLACE(add_, add, 2, POINTWISE, K_ADD, NULL, 0, NULL, DTYPES_NUMBER, ONTO_FIRST);
IN_PLACE(sub_, sub, 2, POINTWISE, K_SUB, NULL, 0, NULL, DTYPES_NUMBER, ONTO_FIRST);
IN_PLACE(mul_, mul, 2, POINTWISE, K_MUL, NULL, BOTH, reel__saves_product, DTYPES_ANY,
         ONTO_FIRST);
IN_PLACE(div_, div, 2, POINTWISE, K_DIV, NULL, BOTH, div_saves, DTYPES_FLOAT,
         "f[3,4]; f[3,4] in 0.5..2\nf[2,3,4]; f[3,1] in -2..-0.5");
IN_PLACE(add_scaled_, add_scaled, 2, POINTWISE, K_ADD_SCALED, &reel__scalar_schema, 0,
         NULL, DTYPES_FLOAT, ONTO_FIRST_A);
IN_PLACE(lerp_, lerp, 2, POINTWISE, K_LERP, &reel__scalar_schema, 0, NULL, DTYPES_FLOAT,
         ONTO_FIRST_A);
IN_PLACE(mul_scalar_, mul_scalar, 1, number_infer, K_MUL_SCALAR, &reel__scalar_schema, 0,
         NULL, DTYPES_NUMBER, "f[] | a=-1\nf[3,4] | a=0.3");
IN_PLACE(clamp_, clamp, 1, clamp_infer, K_CLAMP, &reel__scalar_schema, SAVE_IN(0), NULL,
         DTYPES_NUMBER, "f[3,4] in -4..4 | a=-2,1\nf[3,4] in -2..2 | a=-0.7,1.1");

reel_tensor *reel_add_(reel_tensor *x, reel_tensor *y)
{
    return APPLY(&reel__add_, NULL, x, y);
}

reel_tensor *reel_sub_(reel_tensor *x, reel_tensor *y)
{
    return APPLY(&reel__sub_, NULL, x, y);
}

reel_tensor *reel_mul_(reel_tensor *x, reel_tensor *y)
{
    return APPLY(&reel__mul_, NULL, x, y);
}

reel_tensor *reel_div_(reel_tensor *x, reel_tensor *y)
{
    return APPLY(&reel__div_, NULL, x, y);
}

reel_tensor *reel_add_scaled_(reel_tensor *x, reel_tensor *y, double alpha)
{
    const reel__scalar_attrs a = reel__scalars(alpha, 0);
    return APPLY(&reel__add_scaled_, &a, x, y);
}

reel_tensor *reel_lerp_(reel_tensor *x, reel_tensor *y, double weight)
{
    const reel__scalar_attrs a = reel__scalars(weight, 0);
    return APPLY(&reel__lerp_, &a, x, y);
}

WITH_NUMBER(reel_mul_scalar_, reel_mul_scalar_i64_, reel__mul_scalar_)
CLAMP(reel_clamp_, reel_clamp_i64_, reel__clamp_)

/* ---- comparisons and logic: bool, no gradient -------------------------------------------- */

static reel_status compare_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reel__infer_pointwise(c, out);
    out->dtype = REEL_BOOL;
    return st;
}

/* ONNX orders numbers only, and its logic takes bools only. */
#define ORDERED(v) reel__onnx_cast(o, v, v->dtype == REEL_BOOL ? REEL_I32 : v->dtype)
#define TRUTH(v) reel__onnx_cast(o, v, REEL_BOOL)

#define COMPARE(fn, row, traits_, onnx_)                                                 \
    ONNX_RULE(fn, onnx_)                                                                 \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits =                                               \
                                     REEL_OP_POINTWISE | REEL_OP_NO_GRAD | traits_,      \
                                 .n_in = 2,                                              \
                                 .n_out = 1,                                             \
                                 .dtypes = DTYPES_ANY,                                   \
                                 .infer = compare_infer,                                 \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = "f[3,4]; f[3,4]\nf[2,3,4]; f[4]"};            \
    reel_tensor *reel_##fn(reel_tensor *x, reel_tensor *y)                               \
    {                                                                                    \
        return APPLY(&reel__##fn, NULL, x, y);                                           \
    }

COMPARE(eq, K_EQ, REEL_OP_COMMUTES, ONNX_BOOL("Equal", x, y))
COMPARE(ne, K_NE, REEL_OP_COMMUTES, ONNX_BOOL("Not", ONNX_BOOL("Equal", x, y)))
COMPARE(lt, K_LT, 0, ONNX_BOOL("Less", ORDERED(x), ORDERED(y)))
COMPARE(le, K_LE, 0, ONNX_BOOL("LessOrEqual", ORDERED(x), ORDERED(y)))
COMPARE(gt, K_GT, 0, ONNX_BOOL("Greater", ORDERED(x), ORDERED(y)))
COMPARE(ge, K_GE, 0, ONNX_BOOL("GreaterOrEqual", ORDERED(x), ORDERED(y)))
COMPARE(logical_and, K_LOGICAL_AND, REEL_OP_COMMUTES,
        ONNX_BOOL("And", TRUTH(x), TRUTH(y)))
COMPARE(logical_or, K_LOGICAL_OR, REEL_OP_COMMUTES, ONNX_BOOL("Or", TRUTH(x), TRUTH(y)))
COMPARE(logical_xor, K_LOGICAL_XOR, REEL_OP_COMMUTES,
        ONNX_BOOL("Xor", TRUTH(x), TRUTH(y)))

#define TEST(fn, row, dtypes_, onnx_)                                                    \
    ONNX_RULE(fn, onnx_)                                                                 \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_POINTWISE | REEL_OP_NO_GRAD,          \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .dtypes = dtypes_,                                      \
                                 .infer = compare_infer,                                 \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = "f[3,4]"};                                    \
    reel_tensor *reel_##fn(reel_tensor *x)                                               \
    {                                                                                    \
        return APPLY(&reel__##fn, NULL, x);                                              \
    }

TEST(logical_not, K_LOGICAL_NOT, DTYPES_ANY, ONNX_BOOL("Not", TRUTH(x)))
TEST(isfinite, K_ISFINITE, DTYPES_FLOAT, ONNX_BOOL("Equal", ONNX("Sub", x, x), NUM(0)))
