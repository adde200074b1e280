/* quantize.c: numbers as small integers: q = x / scale + zero_point, half to even, saturated.
 *
 * Scale and zero point are operands, so that what calibrates or trains them moves operands, and
 * a file says them as ONNX does. They broadcast to x: [] for a whole tensor, [k,1,1,1] for
 * each output channel of a weight. In memory of integers, `quantize` and `dequantize`; in that
 * of floats, for training, `fake_quantize`, which is both at once, bit for bit.
 * Sources: ONNX QuantizeLinear, DequantizeLinear; Jacob et al. 2018, arXiv:1712.05877; Esser et
 * al. 2020 (LSQ), arXiv:1902.08153; Bhalgat et al. 2020 (LSQ+), arXiv:2004.09576. */
#include <math.h>

#include "base/error.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define G gy[0]
#define X c->in[0]
#define SCALE c->in[1]
#define ZERO c->in[2]
#define A(i) reel__number_f64(ATTRS(c, reel__scalar_attrs)->a[i])

#define DTYPES_QUANTIZED (DTYPE(REEL_U8) | DTYPE(REEL_I8) | DTYPE(REEL_I32))

/* What an integer dtype holds and f32 too: the largest f32 below 2^31. */
typedef struct range {
    double low, high;
} range;
static range range_of(reel_dtype dtype)
{
    return dtype == REEL_U8   ? (range){0, 255}
           : dtype == REEL_I8 ? (range){-128, 127}
                              : (range){-2147483520., 2147483520.};
}

/* Scale and zero point must not make more of x than there is. */
static reel_status check_parameters(const reel__call *c)
{
    const reel__meta *x = IN_META(c, 0);
    static const char *const what[] = {"", "scale", "zero_point"};
    for (int i = 1; i < 3; i++) {
        reel__meta all;
        REQUIRE(c, reel__broadcast(x, IN_META(c, i), &all) && reel__same_shape(&all, x),
                REEL_ERR_SHAPE,
                "%s %s does not broadcast to x %s: [] for all, or x's rank with sizes 1 "
                "but along the channels",
                what[i], SHOW(IN_META(c, i)), SHOW(x));
    }
    return REEL_OK;
}

/* Of x's shape and memory order. */
static void like_x(const reel__call *c, reel_dtype dtype, reel__meta *out)
{
    *out = *IN_META(c, 0);
    out->offset = 0;
    out->dtype = dtype;
    reel__set_strides_like(out, IN_META(c, 0));
}

/* ---- ONNX: by its operators where they can say it, else by arithmetic ----------------------- */

#define NO_AXIS (-1)
#define SEVERAL_AXES (-2)

/* The dimension of x along which a parameter differs; NO_AXIS: it is one number. */
static int axis_of(reel__ref x, reel__ref p)
{
    int axis = NO_AXIS;
    for (int d = 0; d < p->rank; d++)
        if (p->dim[d] != 1 || p->grow[d])
            axis = axis == NO_AXIS ? d + x->rank - p->rank : SEVERAL_AXES;
    return axis;
}

/* As ONNX wants parameters: [] or [k]. */
static reel__ref flat(reel_onnx *o, reel__ref x, reel__ref p)
{
    int axis = axis_of(x, p);
    reel_onnx_ref type = {.dtype = p->dtype, .rank = axis >= 0};
    if (axis >= 0) type.dim[0] = p->dim[axis - x->rank + p->rank];
    return reel__onnx_as(o, p, type);
}

/* QuantizeLinear or DequantizeLinear; NULL without an error: it cannot say this. Integers of 32
 * bits have no zero point there. */
static reel__ref linear_node(reel_onnx *o, const char *op, reel_dtype dtype)
{
    const reel__ref x = o->in[0], scale = o->in[1];
    reel__ref zero = o->in[2];
    const bool none = zero->dtype == REEL_I32;
    int axis = axis_of(x, scale);
    bool fits = axis != SEVERAL_AXES && reel__onnx_has(o, op, scale->dtype) &&
                (none ? reel__onnx_is_zero(o, zero)
                      : axis_of(x, zero) == axis || axis_of(x, zero) == NO_AXIS);
    if (reel_failed() || !fits) return NULL;
    if (!none && axis_of(x, zero) != axis) {
        reel_onnx_ref type = *scale;
        if (!(zero = reel__onnx_expand(o, zero, type))) return NULL;
    }
    reel_onnx_ref type = *x;
    type.dtype = dtype;
    reel__ref y =
        ONNX_NODE(op, type, x, flat(o, x, scale), none ? NULL : flat(o, x, zero));
    return WITH_INT(y, "axis", axis >= 0 ? axis : 1);
}

static reel__ref clip(reel_onnx *o, reel__ref x, double low, double high)
{
    return ONNX_NODE("Clip", *x, x, NUM(low), NUM(high));
}

static reel__ref quantize_onnx_of(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0], scale = o->in[1], zero = o->in[2];
    range all = range_of(zero->dtype);
    bool whole = zero->dtype != REEL_I32 && A(0) == all.low && A(1) == all.high;
    reel__ref y = whole ? linear_node(o, "QuantizeLinear", zero->dtype) : NULL;
    if (y || reel_failed()) return y;
    y = ONNX("Round", ONNX("Div", x, scale));
    y = ONNX("Add", y, reel__onnx_cast(o, zero, x->dtype));
    return reel__onnx_cast(o, y ? clip(o, y, A(0), A(1)) : NULL, zero->dtype);
}

static reel_status quantize_onnx(const reel__call *c, reel_onnx *o)
{
    return reel__onnx_give(o, 0, quantize_onnx_of(c, o));
}

static reel__ref dequantize_onnx_of(reel_onnx *o)
{
    const reel__ref scale = o->in[1];
    reel__ref y = linear_node(o, "DequantizeLinear", scale->dtype);
    if (y || reel_failed()) return y;
    y = ONNX("Sub", reel__onnx_cast(o, o->in[0], scale->dtype),
             reel__onnx_cast(o, o->in[2], scale->dtype));
    return ONNX("Mul", y, scale);
}

static reel_status dequantize_onnx(const reel__call *c, reel_onnx *o)
{
    (void)c;
    return reel__onnx_give(o, 0, dequantize_onnx_of(o));
}

/* What the rows of faked quantization are made of. */
static reel__ref onnx_zero(const reel__call *c, reel_onnx *o, reel__ref zero)
{
    reel__ref z = ONNX("Round", zero);
    return z ? clip(o, z, A(0), A(1)) : NULL;
}
static reel__ref onnx_steps(const reel__call *c, reel_onnx *o)
{
    return ONNX("Add", ONNX("Round", ONNX("Div", o->in[0], o->in[1])),
                onnx_zero(c, o, o->in[2]));
}

static reel__ref fake_onnx(const reel__call *c, reel_onnx *o)
{
    reel__ref q = onnx_steps(c, o);
    q = q ? clip(o, q, A(0), A(1)) : NULL;
    return ONNX("Mul", ONNX("Sub", q, onnx_zero(c, o, o->in[2])), o->in[1]);
}
ONNX_RULE(fake_quantize, fake_onnx(c, o))

static reel__ref inside_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0], q = onnx_steps(c, o);
    return ONNX_BOOL("And", ONNX_BOOL("GreaterOrEqual", q, NUM(A(0))),
                     ONNX_BOOL("LessOrEqual", q, NUM(A(1))));
}
ONNX_RULE(fake_quantize_inside, inside_onnx(c, o))

static reel__ref slope_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0], q = onnx_steps(c, o), z = onnx_zero(c, o, o->in[2]);
    reel__ref u = ONNX("Div", x, o->in[1]);
    reel__ref y = ONNX("Where", ONNX_BOOL("Greater", q, NUM(A(1))),
                       ONNX("Sub", NUM(A(1)), z), ONNX("Sub", ONNX("Round", u), u));
    return ONNX("Where", ONNX_BOOL("Less", q, NUM(A(0))), ONNX("Sub", NUM(A(0)), z), y);
}
ONNX_RULE(fake_quantize_slope, slope_onnx(c, o))

/* ---- quantize: x [...], scale, zero_point u8 | i8 | i32 -> [...] of zero_point's dtype ------- */

/* Attributes low and high; they are in the dtype's range and whole. */
static reel_status check_bounds(const reel__call *c, range all)
{
    REQUIRE(c,
            A(0) == rint(A(0)) && A(1) == rint(A(1)) && A(0) < A(1) && A(0) >= all.low &&
                A(1) <= all.high,
            REEL_ERR_ARG,
            "low %.17g and high %.17g must be integers, %.0f <= low < high <= %.0f", A(0),
            A(1), all.low, all.high);
    return REEL_OK;
}

static reel_status same_dtype(const reel__call *c, int i, const char *what)
{
    REQUIRE(c, IN_META(c, i)->dtype == IN_META(c, 0)->dtype, REEL_ERR_DTYPE,
            "%s %s and x %s differ in dtype; use reel_cast()", what, SHOW(IN_META(c, i)),
            SHOW(IN_META(c, 0)));
    return REEL_OK;
}

static reel_status quantize_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *zero = IN_META(c, 2);
    REQUIRE(c, DTYPES_QUANTIZED & DTYPE(zero->dtype), REEL_ERR_DTYPE,
            "zero_point %s must be u8, i8 or i32", SHOW(zero));
    reel_status st = same_dtype(c, 1, "scale");
    if (!st) st = check_parameters(c);
    if (!st) st = check_bounds(c, range_of(zero->dtype));
    if (!st) like_x(c, zero->dtype, out);
    return st;
}

const reel__op reel__quantize = {
    .name = "quantize",
    .kernel = K_QUANTIZE,
    .traits = REEL_OP_POINTWISE | REEL_OP_NO_GRAD,
    .n_in = 3,
    .n_out = 1,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__scalar_schema,
    .infer = quantize_infer,
    .onnx = quantize_onnx,
    .sample =
        "f[3,4] in -9..9; c[] in 0.05..0.1; u8[] in 3..250 | a=0,255\n"
        "f[2,3,2,2] in -9..9; c[3,1,1] in 0.01..0.1; i8[3,1,1] in -9..9 | a=-127,127\n"
        "f[2,5]; c[2,1] in 0.01..0.1; i8[] in 0..1 | a=-128,127\n"
        "f[4] in -9..9; c[1] in 0.001..0.01; i32[] in 0..1 | a=-2147483520,2147483520\n"
        "f[2,0]; c[]; u8[] in 0..9 | a=0,255",
};

/* ---- dequantize: q u8 | i8 | i32 [...], scale, zero_point of q's dtype -> [...] as scale ----- */

static reel_status dequantize_infer(const reel__call *c, reel__meta *out)
{
    REQUIRE(c, reel_dtype_is_float(IN_META(c, 1)->dtype), REEL_ERR_DTYPE,
            "scale %s must be floating", SHOW(IN_META(c, 1)));
    reel_status st = same_dtype(c, 2, "zero_point");
    if (!st) st = check_parameters(c);
    if (!st) like_x(c, IN_META(c, 1)->dtype, out);
    return st;
}

/* The integers have none; by the scale: what it is a multiple of. */
static void dequantize_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    if (!NEEDS(c, 1)) return;
    reel_dtype dtype = IN_META(c, 1)->dtype;
    reel_tensor *q = reel_sub(reel_cast(X, dtype), reel_cast(ZERO, dtype));
    gx[1] = reel__sum_to(reel_mul(G, q), IN_META(c, 1));
}

const reel__op reel__dequantize = {
    .name = "dequantize",
    .kernel = K_DEQUANTIZE,
    .traits = REEL_OP_POINTWISE | REEL_OP_UNPACKS,
    .n_in = 3,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(2),
    .dtypes = DTYPES_QUANTIZED,
    .values = DTYPES_FLOAT,
    .infer = dequantize_infer,
    .vjp = dequantize_vjp,
    .onnx = dequantize_onnx,
    .sample = "u8[3,4] in 0..256; f[] in 0.5..2; u8[] in 3..250\n"
              "i8[3,4] in -128..128; f[3,1] in 0.5..2; i8[3,1] in -5..5\n"
              "i32[3] in -900..900; f[3] in 0.5..2; i32[] in 0..1\n"
              "u8[0,2] in 0..9; f[]; u8[] in 0..9",
};

/* ---- fake_quantize: x, scale, zero_point, all floating -> x in steps ------------------------- */

static reel_status fake_infer(const reel__call *c, reel__meta *out)
{
    static const range all = {-8388608,
                              8388608}; /* exact in f32, with a place to spare */
    reel_status st = same_dtype(c, 1, "scale");
    if (!st) st = same_dtype(c, 2, "zero_point");
    if (!st) st = check_parameters(c);
    if (!st) st = check_bounds(c, all);
    if (!st) like_x(c, IN_META(c, 0)->dtype, out);
    return st;
}

static reel_tensor *row(const reel__call *c, const reel__op *op)
{
    return APPLY(op, c->attrs, X, SCALE, ZERO);
}

static reel_tensor *nothing(const reel__call *c)
{
    return reel__full_of(REEL_SCALAR, reel__real(0), IN_META(c, 0)->dtype);
}

/* Straight through where x is inside, nothing outside; by the scale as in LSQ, by the zero point
 * as in LSQ+. */
static void fake_quantize_vjp(const reel__call *c, reel_tensor *const gy[],
                              reel_tensor *gx[])
{
    reel_tensor *inside = row(c, &reel__fake_quantize_inside), *none = nothing(c);
    if (NEEDS(c, 0)) gx[0] = reel_where(inside, G, none);
    if (NEEDS(c, 1))
        gx[1] =
            reel__sum_to(reel_mul(G, row(c, &reel__fake_quantize_slope)), IN_META(c, 1));
    if (NEEDS(c, 2))
        gx[2] = reel__sum_to(reel_where(inside, none, reel_neg(reel_mul(G, SCALE))),
                             IN_META(c, 2));
}

#define FAKE_SAMPLES                                                                     \
    "f[3,4] in -9..9; f[] in 0.5..1; f[] in -3..3 | a=-8,7\n"                            \
    "f[2,3,2,2] in -9..9; f[3,1,1] in 0.5..1; f[3,1,1] in -3..3 | a=-8,7\n"              \
    "f[2,5] in -9..9; f[2,1] in 0.5..1; f[] in 0..9 | a=0,15\n"                          \
    "f[2,0]; f[]; f[] | a=0,255"

/* FAKE(name, row, saves, traits, infer, vjp, surrogate): the three rows take the same. */
#define FAKE(fn, row_, saves_, traits_, infer_, vjp_, surrogate_)                        \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row_,                                         \
                                 .traits = REEL_OP_POINTWISE | (traits_),                \
                                 .n_in = 3,                                              \
                                 .n_out = 1,                                             \
                                 .saves = saves_,                                        \
                                 .dtypes = DTYPES_FLOAT,                                 \
                                 .attrs = &reel__scalar_schema,                          \
                                 .infer = infer_,                                        \
                                 .vjp = vjp_,                                            \
                                 .surrogate = surrogate_,                                \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = FAKE_SAMPLES}
#define SAVE_ALL (SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2))

FAKE(fake_quantize, K_FAKE_QUANTIZE, SAVE_ALL, 0, fake_infer, fake_quantize_vjp, true);

static reel_status inside_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = fake_infer(c, out);
    out->dtype = REEL_BOOL;
    return st;
}
FAKE(fake_quantize_inside, K_FAKE_QUANTIZE_INSIDE, 0, REEL_OP_NO_GRAD, inside_infer, NULL,
     false);

/* Of round(u) - u, u = x / s, inside: -1/s by x, u/s by s; outside: -1 by the zero point. */
static void slope_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    reel_tensor *inside = row(c, &reel__fake_quantize_inside), *none = nothing(c);
    reel_tensor *g = reel_div(G, SCALE);
    if (NEEDS(c, 0)) gx[0] = reel_where(inside, reel_neg(g), none);
    if (NEEDS(c, 1))
        gx[1] = reel__sum_to(reel_where(inside, reel_mul(g, reel_div(X, SCALE)), none),
                             IN_META(c, 1));
    if (NEEDS(c, 2))
        gx[2] = reel__sum_to(reel_where(inside, none, reel_neg(G)), IN_META(c, 2));
}
FAKE(fake_quantize_slope, K_FAKE_QUANTIZE_SLOPE, SAVE_ALL, 0, fake_infer, slope_vjp,
     true);

/* ---- blocks: parameters for every so many along a dimension ---------------------------------- */

typedef struct blocks {
    bool any;
    reel_shape x, parameter; /* each dimension as blocks and what is in one */
} blocks;

/* [n, k] with a parameter [n, k / b] as [n, k / b, b] and [n, k / b, 1]. */
static blocks blocks_of(const reel__meta *x, const reel__meta *p)
{
    blocks b = {.any = false};
    if (x->rank != p->rank) return b;
    for (int d = 0; d < x->rank; d++) {
        int64_t size = x->dim[d], n = p->dim[d];
        bool cut = n > 1 && size > n && size % n == 0;
        if (cut && (b.any || b.x.rank + 2 > REEL_MAX_RANK)) return (blocks){.any = false};
        b.any = b.any || cut;
        b.parameter.dim[b.x.rank] = n;
        b.x.dim[b.x.rank++] = cut ? n : size;
        if (!cut) continue;
        b.parameter.dim[b.x.rank] = 1;
        b.x.dim[b.x.rank++] = size / n;
    }
    b.parameter.rank = b.x.rank;
    return b;
}

/* ---- the functions --------------------------------------------------------------------------- */

static reel_tensor *apply_in_blocks(const reel__op *op, const reel__scalar_attrs *a,
                                    reel_tensor *x, reel_tensor *scale, reel_tensor *zero)
{
    const reel__meta m = x->meta;
    blocks b = blocks_of(&x->meta, &scale->meta);
    if (!b.any) return APPLY(op, a, x, scale, zero);
    if (zero->meta.rank) zero = reel_reshape(zero, b.parameter);
    reel_tensor *y =
        APPLY(op, a, reel_reshape(x, b.x), reel_reshape(scale, b.parameter), zero);
    return reel_reshape(y, reel__shape(&m));
}

reel_tensor *reel_quantize(reel_tensor *x, reel_tensor *scale, reel_tensor *zero_point)
{
    REEL__CALLED;
    if (!reel__have("quantize", x, "x") || !reel__have("quantize", scale, "scale") ||
        !reel__have("quantize", zero_point, "zero_point"))
        return NULL;
    range all = range_of(zero_point->meta.dtype);
    const reel__scalar_attrs a = reel__scalars(all.low, all.high);
    return apply_in_blocks(&reel__quantize, &a, x, scale, zero_point);
}

reel_tensor *reel_dequantize(reel_tensor *q, reel_tensor *scale, reel_tensor *zero_point)
{
    REEL__CALLED;
    if (!reel__have("dequantize", q, "q") || !reel__have("dequantize", scale, "scale"))
        return NULL;
    if (!zero_point)
        zero_point = reel__full_of(REEL_SCALAR, reel__whole(0), q->meta.dtype);
    return zero_point ? apply_in_blocks(&reel__dequantize, NULL, q, scale, zero_point)
                      : NULL;
}

reel_tensor *reel_fake_quantize(reel_tensor *x, reel_tensor *scale,
                                reel_tensor *zero_point, int low, int high)
{
    REEL__CALLED;
    if (!reel__have("fake_quantize", x, "x") ||
        !reel__have("fake_quantize", scale, "scale"))
        return NULL;
    if (!zero_point)
        zero_point = reel__full_of(REEL_SCALAR, reel__whole(0), x->meta.dtype);
    const reel__scalar_attrs a = reel__scalars(low, high);
    return zero_point ? apply_in_blocks(&reel__fake_quantize, &a, x, scale, zero_point)
                      : NULL;
}
