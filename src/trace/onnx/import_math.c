/* import_math.c: elementwise operators. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "trace/onnx/import.h"

/* ---- a row of a record ------------------------------------------------------------------ */

/* y = record(x) */
static void unary(reel__import *im)
{
    OUT(0, reel__im_emit(im, im->row->record, NULL, 1, (int[]){IN(0)}));
}

/* y = record(x | alpha), alpha an attribute with the row's number as default */
static void with_alpha(reel__import *im)
{
    const reel__scalar_attrs a =
        reel__scalars(reel__im_float(im, "alpha", im->row->number), 0);
    OUT(0, reel__im_emit(im, im->row->record, &a, 1, (int[]){IN(0)}));
}

static int pair(reel__import *im, const reel__op *op, int x, int y)
{
    return reel__im_emit(im, op, NULL, 2, (int[]){x, y});
}

static void binary(reel__import *im)
{
    OUT(0, pair(im, im->row->record, IN(0), IN(1)));
}

/* x with a number: a record of its own, unless y would give the result more dimensions. */
static bool by_number(reel__import *im, int x, int y, reel__number *number)
{
    return META(y)->rank <= META(x)->rank && reel_dtype_is_float(META(x)->dtype) &&
           META(x)->dtype == META(y)->dtype && !reel__im_known(im, x) &&
           reel__im_number(im, y, number);
}

/* Add and Mul, in either order; record2 takes the number. */
static void commutative(reel__import *im)
{
    int x = IN(0), y = IN(1);
    reel__scalar_attrs a = reel__scalars(0, 0);
    if (by_number(im, x, y, &a.a[0]))
        OUT(0, reel__im_emit(im, im->row->record2, &a, 1, &x));
    else if (by_number(im, y, x, &a.a[0]))
        OUT(0, reel__im_emit(im, im->row->record2, &a, 1, &y));
    else
        OUT(0, pair(im, im->row->record, x, y));
}

static void subtract(reel__import *im)
{
    int x = IN(0), y = IN(1);
    reel__number number;
    if (by_number(im, x, y, &number))
        OUT(0, reel__im_shift(im, x, -reel__number_f64(number)));
    else
        OUT(0, CALL(sub, NULL, x, y));
}

/* x, y, z, ... folded from the left. */
static int fold_left(reel__import *im, const reel__op *op)
{
    int y = IN(0);
    for (size_t k = 1; k < im->node->input.n && !reel_failed(); k++)
        y = pair(im, op, y, IN((int)k));
    return y;
}

static void variadic(reel__import *im)
{
    OUT(0, fold_left(im, im->row->record));
}

static void mean(reel__import *im)
{
    OUT(0, reel__im_scale(im, fold_left(im, &reel__add), 1 / (double)im->node->input.n));
}

/* ---- division, power ----------------------------------------------------------------------- */

/* Integers are divided toward zero. */
static void divide(reel__import *im)
{
    int x = IN(0), y = IN(1);
    if (reel_dtype_is_float(META(x)->dtype))
        OUT(0, CALL(div, NULL, x, y));
    else
        OUT(0, CALL(div_trunc, NULL, x, y));
}

/* The sign of y, with fmod that of x. */
static void modulo(reel__import *im)
{
    int x = IN(0), y = IN(1);
    if (reel__im_int(im, "fmod", 0) != 0)
        OUT(0, CALL(fmod, NULL, x, y));
    else
        OUT(0, CALL(remainder, NULL, x, y));
}

static void power(reel__import *im)
{
    int x = IN(0), y = reel__im_cast(im, IN(1), META(IN(0))->dtype);
    reel__scalar_attrs a = reel__scalars(0, 0);
    if (!by_number(im, x, y, &a.a[0]))
        OUT(0, CALL(pow, NULL, x, y));
    else if (reel__number_equal(a.a[0], reel__whole(2)))
        OUT(0, CALL(square, NULL, x));
    else
        OUT(0, CALL(pow_scalar, &a, x));
}

/* ---- comparisons -------------------------------------------------------------------------- */

static void is_nan(reel__import *im)
{
    int x = IN(0);
    OUT(0, CALL(ne, NULL, x, x));
}

static void is_inf(reel__import *im)
{
    int x = IN(0);
    bool down = reel__im_int(im, "detect_negative", 1) != 0,
         up = reel__im_int(im, "detect_positive", 1) != 0;
    int above = CALL(eq, NULL, x, reel__im_scalar(im, up ? INFINITY : NAN, x));
    int below = CALL(eq, NULL, x, reel__im_scalar(im, down ? -INFINITY : NAN, x));
    OUT(0, CALL(logical_or, NULL, above, below));
}

static void where(reel__import *im)
{
    OUT(0, CALL(where, NULL, IN(0), IN(1), IN(2)));
}

/* ---- choices of a number: Clip, PRelu and such ------------------------------------------------ */

static bool bound(reel__import *im, int k, double *bound)
{
    reel__number number;
    if (!reel__im_has_in(im, k)) return true;
    if (!reel__im_number(im, IN(k), &number)) return false;
    *bound = reel__number_f64(number);
    return true;
}

/* Attributes until 10; inputs since, which need not be constant. */
static void clip(reel__import *im)
{
    int x = IN(0);
    double low = reel__im_float(im, "min", -INFINITY),
           high = reel__im_float(im, "max", INFINITY);
    if (reel_dtype_is_float(META(x)->dtype) && bound(im, 1, &low) &&
        bound(im, 2, &high)) {
        /* of bounds in the wrong order the upper one decides */
        const reel__scalar_attrs a = reel__scalars(low < high ? low : high, high);
        OUT(0, low == 0 && high == 6 ? CALL(relu6, NULL, x) : CALL(clamp, &a, x));
        return;
    }
    if (reel__im_has_in(im, 1)) x = CALL(maximum, NULL, x, IN(1));
    if (reel__im_has_in(im, 2)) x = CALL(minimum, NULL, x, IN(2));
    OUT(0, x);
}

static int above(reel__import *im, int x, double level)
{
    return CALL(gt, NULL, x, reel__im_scalar(im, level, x));
}

/* x > 0 ? x : slope x */
static void prelu(reel__import *im)
{
    int x = IN(0);
    int scaled = CALL(mul, NULL, IN(1), x);
    OUT(0, CALL(where, NULL, above(im, x, 0), x, scaled));
}

/* Before opset 7 a slope [c] was one of channels, those of x [n, c, ...]. */
static void prelu_of_channels(reel__import *im)
{
    int x = IN(0), slope = IN(1);
    reel_shape s = {.rank = reel_failed() ? 0 : META(x)->rank - 1};
    if (!reel_failed() && META(slope)->rank == 1 && s.rank > 0) {
        for (int d = 0; d < s.rank; d++) s.dim[d] = d ? 1 : META(slope)->dim[0];
        slope = reel__im_reshape(im, slope, s);
    }
    int scaled = CALL(mul, NULL, slope, x);
    OUT(0, CALL(where, NULL, above(im, x, 0), x, scaled));
}

static void thresholded_relu(reel__import *im)
{
    int x = IN(0);
    int zero = reel__im_scalar(im, 0, x);
    int over = above(im, x, reel__im_float(im, "alpha", 1));
    OUT(0, CALL(where, NULL, over, x, zero));
}

/* x < -lambd ? x + bias : x > lambd ? x - bias : 0 */
static void shrink(reel__import *im)
{
    int x = IN(0);
    double bias = reel__im_float(im, "bias", 0), lambd = reel__im_float(im, "lambd", 0.5);
    int low = CALL(lt, NULL, x, reel__im_scalar(im, -lambd, x));
    int rest = CALL(where, NULL, above(im, x, lambd), reel__im_shift(im, x, -bias),
                    reel__im_scalar(im, 0, x));
    OUT(0, CALL(where, NULL, low, reel__im_shift(im, x, bias), rest));
}

/* ---- activations ------------------------------------------------------------------------------ */

static void hard_sigmoid(reel__import *im)
{
    const double alpha = reel__im_float(im, "alpha", 0.2f),
                 beta = reel__im_float(im, "beta", 0.5);
    const reel__scalar_attrs unit = reel__scalars(0, 1);
    int x = IN(0);
    if (fabs(alpha - 1. / 6) < 1e-7 && beta == 0.5) {
        OUT(0, CALL(hardsigmoid, NULL, x));
        return;
    }
    x = reel__im_shift(im, reel__im_scale(im, x, alpha), beta);
    OUT(0, CALL(clamp, &unit, x));
}

static void gelu(reel__import *im)
{
    const char *form = reel__im_string(im, "approximate", "none");
    int x = IN(0);
    if (strcmp(form, "none") == 0)
        OUT(0, CALL(gelu, NULL, x));
    else if (strcmp(form, "tanh") == 0)
        OUT(0, CALL(gelu_tanh, NULL, x));
    else
        reel_fail(REEL_ERR_FORMAT,
                  "attribute approximate is \"%.20s\", must be none or "
                  "tanh",
                  form);
}

/* x sigmoid(alpha x) */
static void swish(reel__import *im)
{
    double alpha = reel__im_float(im, "alpha", 1);
    int x = IN(0);
    if (alpha == 1)
        OUT(0, CALL(silu, NULL, x));
    else
        OUT(0, CALL(mul, NULL, x, CALL(sigmoid, NULL, reel__im_scale(im, x, alpha))));
}

/* gamma elu(x | alpha) */
static void selu(reel__import *im)
{
    bool old = im->opset < 6; /* the defaults had four digits */
    const double alpha =
        reel__im_float(im, "alpha", old ? 1.6732f : 1.67326319217681884765625);
    const reel__scalar_attrs a = reel__scalars(alpha, 0);
    double gamma = reel__im_float(im, "gamma", old ? 1.0507f : 1.05070102214813232421875);
    OUT(0, reel__im_scale(im, CALL(elu, &a, IN(0)), gamma));
}

/* alpha elu(x / alpha | 1): alpha (exp(x / alpha) - 1) below 0 */
static void celu(reel__import *im)
{
    double alpha = reel__im_float(im, "alpha", 1);
    const reel__scalar_attrs one = reel__scalars(1, 0);
    int y = CALL(elu, &one, reel__im_scale(im, IN(0), 1 / alpha));
    OUT(0, reel__im_scale(im, y, alpha));
}

/* x tanh(softplus(x)) */
static void mish(reel__import *im)
{
    int x = IN(0);
    OUT(0, CALL(mul, NULL, x, CALL(tanh, NULL, CALL(softplus, NULL, x))));
}

/* x / (1 + |x|) */
static void softsign(reel__import *im)
{
    int x = IN(0);
    OUT(0, CALL(div, NULL, x, reel__im_shift(im, CALL(abs, NULL, x), 1)));
}

static void tangent(reel__import *im)
{
    int x = IN(0);
    OUT(0, CALL(div, NULL, CALL(sin, NULL, x), CALL(cos, NULL, x)));
}

/* ---- dtype, nothing --------------------------------------------------------------------------- */

/* `to` is a number of a type. */
static void cast_to(reel__import *im, int64_t to)
{
    OUT(0, reel__im_cast(im, IN(0), reel__im_dtype("to", to)));
}

static void cast(reel__import *im)
{
    cast_to(im, reel__im_int(im, "to", 0));
}

static void cast_by_name(reel__import *im)
{
    const char *name = reel__im_string(im, "to", "");
    int64_t to = 0;
    while (to < REEL_ONNX_DTYPE_COUNT &&
           strcmp(name, reel__onnx_dtype_name((reel__onnx_dtype)to)) != 0)
        to++;
    cast_to(im, to);
}

static void cast_like(reel__import *im)
{
    OUT(0, reel__im_cast(im, IN(0), META(IN(1))->dtype));
}

static void identity(reel__import *im)
{
    OUT(0, IN(0));
}

/* As in evaluation: everything passes. */
static void dropout(reel__import *im)
{
    bool training = false;
    if (reel__im_has_in(im, 2)) {
        reel__number on;
        training =
            !reel__im_number(im, IN(2), &on) || !reel__number_equal(on, reel__whole(0));
    }
    if (training || (im->opset < 7 && !reel__im_int(im, "is_test", 0)))
        reel_fail(REEL_ERR_UNSUPPORTED, "%s: export the model in evaluation mode",
                  training ? "training_mode is set" : "is_test is not set");
    int x = IN(0);
    OUT(0, x);
    if (!reel__im_wants_out(im, 1)) return;
    OUT(1, reel__im_full(im, reel__shape(META(x)), reel__whole(1),
                         im->opset < 10 ? META(x)->dtype : REEL_BOOL));
}

/* ---- the table ---------------------------------------------------------------------------------- */

#define UNARY(name, from, rec)                                                           \
    IMPORT_ROW(name, from, 0, 1, 1, 1, "", .rule = unary, .record = &reel__##rec)
#define ALPHA(name, rec, otherwise)                                                      \
    IMPORT_ROW(name, 1, 0, 1, 1, 1, "alpha", .rule = with_alpha, .record = &reel__##rec, \
               .number = (otherwise))
#define BINARY(name, from, rec)                                                          \
    IMPORT_ROW(name, from, 0, 2, 2, 1, "", .rule = binary, .record = &reel__##rec)
#define RULE(name, from, to, least, most, words, function)                               \
    IMPORT_ROW(name, from, to, least, most, 1, words, .rule = (function))
#define MANY(name, rec)                                                                  \
    IMPORT_ROW(name, 1, 0, 1, -1, 1, "", .rule = variadic, .record = &reel__##rec)
#define DROPOUT(from, to, most, words)                                                   \
    IMPORT_ROW("Dropout", from, to, 1, most, 2, words, .rule = dropout)
/* Before opset 7 the second of two operands stood where an attribute said: reel__im_in(). */
#define PAIR(name, function, rec, rec2)                                                  \
    IMPORT_ROW(name, 1, 6, 2, 2, 1, "axis broadcast", .rule = (function),                \
               .record = (rec), .record2 = (rec2)),                                      \
        IMPORT_ROW(name, 7, 0, 2, 2, 1, "", .rule = (function), .record = (rec),         \
                   .record2 = (rec2))

static const reel__import_row rows[] = {
    UNARY("Abs", 1, abs),
    UNARY("Neg", 1, neg),
    UNARY("Sign", 9, sign),
    UNARY("Exp", 1, exp),
    UNARY("Log", 1, log),
    UNARY("Sqrt", 1, sqrt),
    UNARY("Reciprocal", 1, reciprocal),
    UNARY("Sin", 7, sin),
    UNARY("Cos", 7, cos),
    UNARY("Erf", 9, erf),
    UNARY("Floor", 1, floor),
    UNARY("Ceil", 1, ceil),
    UNARY("Round", 11, round),
    UNARY("Relu", 1, relu),
    UNARY("Sigmoid", 1, sigmoid),
    UNARY("Tanh", 1, tanh),
    UNARY("Softplus", 1, softplus),
    UNARY("HardSwish", 14, hardswish),
    UNARY("Not", 1, logical_not),
    ALPHA("LeakyRelu", leaky_relu, 0.01f),
    ALPHA("Elu", elu, 1),
    PAIR("Add", commutative, &reel__add, &reel__add_scalar),
    PAIR("Mul", commutative, &reel__mul, &reel__mul_scalar),
    PAIR("Sub", subtract, NULL, NULL),
    PAIR("Div", divide, NULL, NULL),
    RULE("Mod", 10, 0, 2, 2, "fmod", modulo),
    PAIR("Pow", power, NULL, NULL),
    MANY("Max", maximum),
    MANY("Min", minimum),
    MANY("Sum", add),
    RULE("Mean", 1, 0, 1, -1, "", mean),
    PAIR("Equal", binary, &reel__eq, NULL),
    PAIR("Less", binary, &reel__lt, NULL),
    PAIR("Greater", binary, &reel__gt, NULL),
    BINARY("LessOrEqual", 12, le),
    BINARY("GreaterOrEqual", 12, ge),
    PAIR("And", binary, &reel__logical_and, NULL),
    PAIR("Or", binary, &reel__logical_or, NULL),
    PAIR("Xor", binary, &reel__logical_xor, NULL),
    RULE("IsNaN", 9, 0, 1, 1, "", is_nan),
    RULE("IsInf", 10, 0, 1, 1, "detect_negative detect_positive", is_inf),
    RULE("Where", 9, 0, 3, 3, "", where),
    RULE("Clip", 1, 10, 1, 1, "min max", clip),
    RULE("Clip", 11, 0, 1, 3, "", clip),
    RULE("PRelu", 1, 6, 2, 2, "", prelu_of_channels),
    RULE("PRelu", 7, 0, 2, 2, "", prelu),
    RULE("ThresholdedRelu", 10, 0, 1, 1, "alpha", thresholded_relu),
    RULE("Shrink", 9, 0, 1, 1, "bias lambd", shrink),
    RULE("HardSigmoid", 1, 0, 1, 1, "alpha beta", hard_sigmoid),
    RULE("Gelu", 20, 0, 1, 1, "approximate", gelu),
    RULE("Swish", 24, 0, 1, 1, "alpha", swish),
    RULE("Selu", 1, 0, 1, 1, "alpha gamma", selu),
    RULE("Celu", 12, 0, 1, 1, "alpha", celu),
    RULE("Mish", 18, 0, 1, 1, "", mish),
    RULE("Softsign", 1, 0, 1, 1, "", softsign),
    RULE("Tan", 7, 0, 1, 1, "", tangent),
    RULE("Cast", 1, 5, 1, 1, "to", cast_by_name),
    RULE("Cast", 6, 0, 1, 1, "to saturate round_mode", cast),
    RULE("CastLike", 15, 0, 2, 2, "saturate round_mode", cast_like),
    RULE("Identity", 1, 0, 1, 1, "", identity),
    DROPOUT(1, 6, 1, "is_test ratio"),
    DROPOUT(7, 11, 1, "ratio"),
    DROPOUT(12, 0, 3, "seed"),
};

const reel__import_family reel__import_math = {rows, sizeof rows / sizeof *rows};
