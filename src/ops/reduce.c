/* reduce.c: reductions over a set of dimensions. The kernels keep reduced dimensions as size
 * 1; dropping them is a view. */
#include <inttypes.h>
#include <math.h>

#include "base/error.h"
#include "ops/onnx.h"

#define G gy[0]
#define X c->in[0]
#define MASK(c) (ATTRS(c, reel__mask_attrs)->mask)

static int64_t reduced_count(const reel__meta *x, int64_t mask)
{
    int64_t n = 1;
    for (int i = 0; i < x->rank; i++)
        if (mask >> i & 1) n *= x->dim[i];
    return n;
}

/* What is left keeps x's memory order. */
static void reduced_meta(const reel__meta *x, int64_t mask, reel__meta *out)
{
    *out = *x;
    out->offset = 0;
    for (int i = 0; i < x->rank; i++)
        if (mask >> i & 1) out->dim[i] = 1;
    reel__set_strides_like(out, x);
}

static reel_status reduce_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    reel_status st = reel__check_mask(c, 0, MASK(c));
    if (st) return st;
    reduced_meta(x, MASK(c), out);
    return REEL_OK;
}

/* ---- sum and mean: scale * sum, by how many are added for a mean ----------------------------------------------------------- */

static reel_status sum_infer(const reel__call *c, reel__meta *out)
{
    const reel__mask_attrs *a = ATTRS(c, reel__mask_attrs);
    reel_status st = reduce_infer(c, out);
    if (st || reel_dtype_is_float(out->dtype)) return st;
    REQUIRE(c, a->scale == 1 && !a->mean, REEL_ERR_DTYPE,
            "the sum of %s has no factor; use reel_cast()", SHOW(IN_META(c, 0)));
    out->dtype = REEL_I64;
    return REEL_OK;
}

static void sum_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__mask_attrs *a = ATTRS(c, reel__mask_attrs);
    const reel__meta *x = IN_META(c, 0);
    double scale = a->mean ? a->scale / (double)reduced_count(x, a->mask) : a->scale;
    reel_tensor *g = scale == 1 ? G : reel_mul_scalar(G, scale);
    gx[0] = reel_expand(g, reel__shape(x));
}

/* How many elements are reduced, and how that grows: with one of the dims at most. */
static int64_t count_onnx(reel__ref x, int64_t mask, int64_t *grow)
{
    int64_t n = 1;
    *grow = 0;
    for (int i = 0; i < x->rank; i++)
        if (mask >> i & 1) n *= x->dim[i];
    for (int i = 0; i < x->rank; i++)
        if ((mask >> i & 1) && x->grow[i])
            *grow = reel__onnx_bent(x->grow[i]) || reel__onnx_bent(*grow)
                        ? REEL__ONNX_BENT
                        : n / x->dim[i] * x->grow[i];
    return n;
}

/* Integers are added as i64. */
static reel_status sum_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__mask_attrs *a = ATTRS(c, reel__mask_attrs);
    const reel__ref x = reel__onnx_cast(o, o->in[0], o->out[0].dtype);
    reel__ref y = reel__onnx_reduce(o, a->mean ? "ReduceMean" : "ReduceSum", x, a->mask);
    if (a->scale != 1)
        y = ONNX("Mul", y, reel__onnx_number(o, a->scale, o->out[0].dtype));
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__sum = {
    .name = "sum",
    .kernel = K_SUM,
    .traits = REEL_OP_FOLDS,
    .n_in = 1,
    .n_out = 1,
    .dtypes = DTYPES_ANY,
    .attrs = &reel__mask_schema,
    .infer = sum_infer,
    .vjp = sum_vjp,
    .onnx = sum_onnx,
    .sample =
        "f[3,4] | mask=3 scale=1\nf[2,3,4] | mask=2 scale=0.5\nf[] | mask=0 scale=1\n"
        "f[2,3] | mask=1 scale=1\nf[2,0] | mask=2 scale=1\n"
        "f[2,3,4] | mask=5 mean=1 scale=1\nf[3,4] | mask=2 mean=1 scale=0.5",
};

/* ---- var: mean of squared deviations, times n / (n - correction) -------------------------- */

/* gx = gy 2 (x - mean) / (n - correction) */
static void var_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__mask_attrs *a = ATTRS(c, reel__mask_attrs);
    double n = (double)reduced_count(IN_META(c, 0), a->mask);
    reel__mask_attrs mean = {a->mask, 1, 1};
    reel_tensor *dev = reel_sub(X, APPLY(&reel__sum, &mean, X));
    gx[0] = reel_mul(reel_mul_scalar(G, 2 / (n - a->scale)), dev);
}

/* How many are reduced, less the correction, as x's dtype. */
static reel__ref divisor(const reel__call *c, reel_onnx *o, reel__ref x)
{
    const reel__mask_attrs *a = ATTRS(c, reel__mask_attrs);
    int64_t grow, n = count_onnx(x, a->mask, &grow);
    if (!grow) return NUM((double)n - a->scale);
    reel__ref count = reel__onnx_cast(o, reel__onnx_sizes(o, 1, &n, &grow), x->dtype);
    return ONNX("Sub", count, NUM(a->scale));
}

static reel__ref deviation(reel_onnx *o, reel__ref x, int64_t mask)
{
    return ONNX("Sub", x, reel__onnx_reduce(o, "ReduceMean", x, mask));
}

static reel_status var_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0], d = deviation(o, x, MASK(c));
    reel__ref sum = reel__onnx_reduce(o, "ReduceSum", ONNX("Mul", d, d), MASK(c));
    return reel__onnx_give(o, 0, ONNX("Div", sum, divisor(c, o, x)));
}

const reel__op reel__var = {
    .name = "var",
    .kernel = K_VAR,
    .n_in = 1,
    .n_out = 1,
    .saves = SAVE_IN(0),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__mask_schema,
    .infer = reduce_infer,
    .vjp = var_vjp,
    .onnx = var_onnx,
    .sample =
        "f[3,4] | mask=3 scale=1\nf[2,3,4] | mask=4 scale=0\nf[4,3] | mask=1 scale=1",
};

/* ---- norm: sqrt(scale * sum of squares + eps), also where the squares are out of range ------ */

static reel_status norm_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    const reel__norm_attrs *a = ATTRS(c, reel__norm_attrs);
    reel_status st = reel__check_mask(c, 0, a->mask);
    if (st) return st;
    REQUIRE(c, a->scale >= 0 && a->eps >= 0 && isfinite(a->scale) && isfinite(a->eps),
            REEL_ERR_ARG, "scale %g and eps %g must be 0 or more", a->scale, a->eps);
    reduced_meta(x, a->mask, out);
    if (a->wide) out->dtype = REEL_F64;
    return REEL_OK;
}

/* gx = gy scale x / y, in the order that stays in range; 0 where the norm is 0. */
static void norm_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel_dtype dtype = IN_META(c, 0)->dtype;
    const double scale = ATTRS(c, reel__norm_attrs)->scale;
    reel_tensor *y = reel_cast(c->out[0], dtype), *g = reel_cast(G, dtype);
    reel_tensor *none = reel_cast(reel_logical_not(y), dtype); /* 1 where y is 0 */
    reel_tensor *unit = reel_div(X, reel_add(y, none));
    gx[0] = reel_mul(scale == 1 ? g : reel_mul_scalar(g, scale), unit);
}

static reel_status norm_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__norm_attrs *a = ATTRS(c, reel__norm_attrs);
    const reel__ref x = reel__onnx_cast(o, o->in[0], o->out[0].dtype);
    if (o->per_batch && ((const reel__norm_attrs *)o->per_batch)->scale != 0)
        return reel__bad(c, REEL_ERR_UNSUPPORTED, "a factor that depends on the batch");
    if (a->scale == 1 && a->eps == 0)
        return reel__onnx_give(o, 0, reel__onnx_reduce(o, "ReduceL2", x, a->mask));
    reel__ref sum = reel__onnx_reduce(o, "ReduceSum", ONNX("Mul", x, x), a->mask);
    sum = ONNX("Add", ONNX("Mul", sum, NUM(a->scale)), NUM(a->eps));
    return reel__onnx_give(o, 0, ONNX("Sqrt", sum));
}

REEL_SCHEMA(norm_schema, reel__norm_attrs, ATTR_INT(reel__norm_attrs, mask),
            ATTR_INT(reel__norm_attrs, wide), ATTR_REAL(reel__norm_attrs, scale),
            ATTR_REAL(reel__norm_attrs, eps));

const reel__op reel__norm = {
    .name = "norm",
    .kernel = K_NORM,
    .n_in = 1,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_OUT(0),
    .dtypes = DTYPES_FLOAT,
    .attrs = &norm_schema,
    .infer = norm_infer,
    .vjp = norm_vjp,
    .onnx = norm_onnx,
    .sample = "f[3,4] | mask=3 scale=1\nf[2,3,4] | mask=2 scale=0.25 eps=1e-5\n"
              "f[4,3] | mask=1 scale=1 wide=1",
};

/* ---- max, min: equal winners share the gradient -------------------------------------------- */

static reel_status extreme_infer(const reel__call *c, reel__meta *out)
{
    REQUIRE(c, reduced_count(IN_META(c, 0), MASK(c)) > 0, REEL_ERR_SHAPE,
            "no element to choose from in %s", SHOW(IN_META(c, 0)));
    return reduce_infer(c, out);
}

static void extreme_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    reel__mask_attrs count = {MASK(c), 0, 1};
    reel_tensor *won = reel_cast(reel_eq(X, c->out[0]), IN_META(c, 0)->dtype);
    gx[0] = reel_mul(won, reel_div(G, APPLY(&reel__sum, &count, won)));
}

/* Bools are reduced as numbers. */
static reel__ref extreme(const reel__call *c, reel_onnx *o, const char *op)
{
    reel_dtype dtype = o->in[0]->dtype, as = dtype == REEL_BOOL ? REEL_I32 : dtype;
    reel__ref x = reel__onnx_cast(o, o->in[0], as);
    return reel__onnx_cast(o, reel__onnx_reduce(o, op, x, MASK(c)), dtype);
}
ONNX_RULE(max, extreme(c, o, "ReduceMax"))
ONNX_RULE(min, extreme(c, o, "ReduceMin"))

#define EXTREME(fn, row)                                                                 \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_FOLDS,                                \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .saves = SAVE_IN(0) | SAVE_OUT(0),                      \
                                 .dtypes = DTYPES_ANY,                                   \
                                 .attrs = &reel__mask_schema,                            \
                                 .infer = extreme_infer,                                 \
                                 .vjp = extreme_vjp,                                     \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = "f[3,4] | mask=3\nf[2,3,4] | mask=2\n"        \
                                           "f[4,3] | mask=1\nf[] | mask=0"}
EXTREME(max, K_AMAX);
EXTREME(min, K_AMIN);

/* ---- argmax, argmin: i64; any, all: bool ---------------------------------------------------- */

static reel_status arg_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = extreme_infer(c, out);
    out->dtype = REEL_I64;
    return st;
}

static reel_status bool_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reduce_infer(c, out);
    out->dtype = REEL_BOOL;
    return st;
}

/* The type of all elements in one dimension. */
static reel_onnx_ref in_line(reel__ref x)
{
    reel_onnx_ref line = {.dtype = x->dtype, .rank = 1};
    line.dim[0] = count_onnx(x, -1, &line.grow[0]);
    return line;
}

/* Over all dimensions the index is flat. */
static reel__ref arg_onnx(const reel__call *c, reel_onnx *o, const char *op)
{
    reel_dtype dtype = o->in[0]->dtype;
    reel__ref x = reel__onnx_cast(o, o->in[0], dtype == REEL_BOOL ? REEL_I32 : dtype);
    int dim = 0;
    while (dim < o->in[0]->rank && !(MASK(c) >> dim & 1)) dim++;
    bool flat = MASK(c) != INT64_C(1) << dim;
    if (flat) x = reel__onnx_reshape(o, x, in_line(o->in[0]));
    reel_onnx_ref type = o->out[0];
    if (flat) type = (reel_onnx_ref){.dtype = REEL_I64, .rank = 1, .dim = {1}};
    reel__ref y = ONNX_NODE(op, type, x);
    reel__onnx_int(o, "axis", flat ? 0 : dim);
    reel__onnx_int(o, "keepdims", 1);
    return reel__onnx_reshape(o, y, o->out[0]);
}
ONNX_RULE(argmax, arg_onnx(c, o, "ArgMax"))
ONNX_RULE(argmin, arg_onnx(c, o, "ArgMin"))

static reel__ref truth(const reel__call *c, reel_onnx *o, const char *op)
{
    reel__ref x = reel__onnx_cast(o, reel__onnx_cast(o, o->in[0], REEL_BOOL), REEL_I32);
    return reel__onnx_cast(o, reel__onnx_reduce(o, op, x, MASK(c)), REEL_BOOL);
}
ONNX_RULE(any, truth(c, o, "ReduceMax"))
ONNX_RULE(all, truth(c, o, "ReduceMin"))

#define CHOICE(fn, row, infer_)                                                          \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_NO_GRAD | REEL_OP_FOLDS,              \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .dtypes = DTYPES_ANY,                                   \
                                 .attrs = &reel__mask_schema,                            \
                                 .infer = infer_,                                        \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = "f[3,4] | mask=2\nf[2,3,4] | mask=1"}
CHOICE(argmax, K_ARGMAX, arg_infer);
CHOICE(argmin, K_ARGMIN, arg_infer);
CHOICE(any, K_ANY, bool_infer);
CHOICE(all, K_ALL, bool_infer);

/* ---- functions -------------------------------------------------------------------------------- */

/* y without its reduced dimensions, unless keepdim. */
static reel_tensor *finish(reel_tensor *y, int64_t mask, bool keepdim)
{
    return !y || keepdim || mask == 0 ? y : reel__drop_dims(y, mask);
}

static reel_tensor *reduce(const reel__op *op, reel_tensor *x, reel_shape dims, bool mean,
                           double scale, bool keepdim)
{
    reel__mask_attrs a = {.mean = mean, .scale = scale};
    if (!reel__have(op->name, x, "x") ||
        !reel__dims_mask(op->name, &x->meta, dims, &a.mask))
        return NULL;
    reel_scope s = reel_scope_begin();
    return reel_scope_return(s, finish(APPLY(op, &a, x), a.mask, keepdim));
}

reel_tensor *reel_sum(reel_tensor *x, reel_shape dims, bool keepdim)
{
    return reduce(&reel__sum, x, dims, false, 1, keepdim);
}

reel_tensor *reel_mean(reel_tensor *x, reel_shape dims, bool keepdim)
{
    REEL__CALLED;
    int64_t mask;
    if (!reel__have("mean", x, "x") || !reel__dims_mask("mean", &x->meta, dims, &mask))
        return NULL;
    if (!reel_dtype_is_float(x->meta.dtype)) {
        reel_fail(REEL_ERR_DTYPE, "mean: %s must be floating; use reel_cast()",
                  SHOW(&x->meta));
        return NULL;
    }
    return reduce(&reel__sum, x, dims, true, 1, keepdim);
}

reel_tensor *reel_var(reel_tensor *x, reel_shape dims, double correction, bool keepdim)
{
    if (!isfinite(correction)) {
        reel_fail(REEL_ERR_ARG, "var: correction must be finite");
        return NULL;
    }
    return reduce(&reel__var, x, dims, false, correction, keepdim);
}

reel_tensor *reel_norm(reel_tensor *x, reel_shape dims, bool keepdim, reel_dtype dtype)
{
    reel__norm_attrs a = {.scale = 1};
    if (!reel__have("norm", x, "x") || !reel__dims_mask("norm", &x->meta, dims, &a.mask))
        return NULL;
    a.wide = dtype == REEL_F64;
    if (!a.wide && dtype != x->meta.dtype) {
        reel_fail(REEL_ERR_DTYPE, "norm: result in %s of %s, expected its dtype or f64",
                  reel_dtype_name(dtype), SHOW(&x->meta));
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    return reel_scope_return(s, finish(APPLY(&reel__norm, &a, x), a.mask, keepdim));
}

reel_tensor *reel_max(reel_tensor *x, reel_shape dims, bool keepdim)
{
    return reduce(&reel__max, x, dims, false, 0, keepdim);
}

reel_tensor *reel_min(reel_tensor *x, reel_shape dims, bool keepdim)
{
    return reduce(&reel__min, x, dims, false, 0, keepdim);
}

static reel_tensor *arg(const reel__op *op, reel_tensor *x, int dim, bool keepdim)
{
    return reduce(op, x, dim == REEL_FLAT ? REEL_ALL : REEL_DIMS(dim), false, 0, keepdim);
}

reel_tensor *reel_argmax(reel_tensor *x, int dim, bool keepdim)
{
    return arg(&reel__argmax, x, dim, keepdim);
}

reel_tensor *reel_argmin(reel_tensor *x, int dim, bool keepdim)
{
    return arg(&reel__argmin, x, dim, keepdim);
}

reel_tensor *reel_any(reel_tensor *x, reel_shape dims, bool keepdim)
{
    return reduce(&reel__any, x, dims, false, 0, keepdim);
}

reel_tensor *reel_all(reel_tensor *x, reel_shape dims, bool keepdim)
{
    return reduce(&reel__all, x, dims, false, 0, keepdim);
}
