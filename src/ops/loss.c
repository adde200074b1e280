/* loss.c: losses. Cross-entropy yields its gradient in the forward pass, when one is asked
 * for: one walk over the logits instead of three. */
#include <inttypes.h>

#include "base/error.h"
#include "base/option.h"
#include "ops/onnx.h"
#include "ops/recorder.h"

#define G gy[0]
#define CE(c) ATTRS(c, reel__cross_entropy_attrs)

/* ---- cross_entropy: logits [n, c]  target i64 [n]  weight [c]?  ->  loss, dlogits [n, c]? ----- */

static reel_status cross_entropy_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *t = IN_META(c, 1);
    const reel__meta *w = c->in[2] ? IN_META(c, 2) : NULL;
    REQUIRE(c, x->rank == 2 && x->dim[1] > 0, REEL_ERR_SHAPE,
            "logits %s must be [n, classes]", SHOW(x));
    REQUIRE(c, t->dtype == REEL_I64, REEL_ERR_DTYPE, "target %s must be i64", SHOW(t));
    REQUIRE(c, t->rank == 1 && t->dim[0] == x->dim[0], REEL_ERR_SHAPE,
            "target %s must be [%" PRId64 "], as logits %s say", SHOW(t), x->dim[0],
            SHOW(x));
    REQUIRE(c, !w || (w->rank == 1 && w->dim[0] == x->dim[1] && w->dtype == x->dtype),
            REEL_ERR_SHAPE, "class weights %s must be %s[%" PRId64 "]",
            w ? SHOW(w) : "none", reel_dtype_name(x->dtype), x->dim[1]);
    REQUIRE(c, CE(c)->reduction >= REEL_MEAN && CE(c)->reduction <= REEL_NONE,
            REEL_ERR_ARG, "%" PRId64 " is not a reduction", CE(c)->reduction);
    bool rows = CE(c)->reduction == REEL_NONE;
    out[0] =
        reel__meta_of(rows ? REEL_SHAPE(x->dim[0]) : REEL_SCALAR, x->dtype, x->device);
    out[1] = reel__meta_of(REEL_SHAPE(x->dim[0], x->dim[1]), x->dtype, x->device);
    if (!CE(c)->want_grad) out[1].rank = -1;
    return REEL_OK;
}

/* For gradients of gradients:
 *   loss_i = -w[t] (1 - e) lp[i, t] - e / C sum_j w[j] lp[i, j]
 * and the mean divides by the sum of w[t]. Ignored rows count nowhere: their losses are
 * replaced and not multiplied by 0, for the sum may be 0. */
static reel_tensor *cross_entropy_composed(const reel__call *c)
{
    const reel__cross_entropy_attrs *a = CE(c);
    reel_tensor *x = c->in[0], *t = c->in[1], *w = c->in[2];
    reel_dtype dt = x->meta.dtype;
    int64_t classes = x->meta.dim[1];
    reel_tensor *counts = reel_ne(t, reel_scalar((double)a->ignore_index, REEL_I64));
    x = reel_masked_fill(x, reel_unsqueeze(reel_logical_not(counts), 1),
                         0); /* NaN there */
    reel_tensor *lp = reel_log_softmax(x, 1);
    reel_tensor *safe = reel_mul(t, reel_cast(counts, REEL_I64));
    reel_tensor *q = reel_one_hot(safe, classes, dt); /* [n, c] */
    q = reel_mul(q, reel_unsqueeze(reel_cast(counts, dt), 1));
    reel_tensor *each = reel_ones(REEL_SHAPE(1, classes), dt);
    if (w) {
        q = reel_mul(q, w);
        each = reel_mul(each, w);
    }
    reel_tensor *target = reel_add(reel_mul_scalar(q, 1 - a->smoothing),
                                   reel_mul_scalar(each, a->smoothing / (double)classes));
    reel_tensor *rows = reel_neg(reel_sum(reel_mul(target, lp), REEL_DIMS(1), false));
    rows = reel_where(counts, rows, reel_scalar(0, dt));
    if (a->reduction == REEL_NONE) return rows;
    reel_tensor *total = reel_sum(rows, REEL_ALL, false);
    if (a->reduction == REEL_SUM) return total;
    reel_tensor *divisor = reel_sum(q, REEL_ALL, false);
    reel_tensor *none =
        reel_eq(divisor, reel_scalar(0, dt)); /* no row counts: no gradient */
    return reel_div(total, reel_masked_fill(divisor, none, 1));
}

static void cross_entropy_vjp(const reel__call *c, reel_tensor *const gy[],
                              reel_tensor *gx[])
{
    if (c->create_graph) {
        reel__vjp_composed(c, cross_entropy_composed, G, gx);
        return;
    }
    reel_tensor *g = CE(c)->reduction == REEL_NONE ? reel_unsqueeze(G, 1) : G;
    gx[0] = reel_mul(c->out[1], g);
}

/* As cross_entropy_composed(): the weight of each class in each row, [n, c]; `chosen` is that
 * of the target alone, by whose sum a mean divides. */
static reel__ref class_weights(const reel__call *c, reel_onnx *o, reel__ref *chosen)
{
    const reel__cross_entropy_attrs *a = CE(c);
    const reel__ref x = o->in[0], t = o->in[1], w = o->in[2];
    const reel__arange_attrs off_on = {.step = {.whole = 1}};
    const int64_t classes = x->dim[1];
    reel_onnx_ref column = *x;
    column.dim[1] = 1;
    reel__ref counts = NULL, safe = t;
    if (a->ignore_index != INT64_MIN) {
        reel__ref ignored = reel__onnx_list(o, 1, &a->ignore_index);
        reel__ref kept = ONNX_BOOL("Not", ONNX_BOOL("Equal", t, ignored));
        safe = ONNX("Where", kept, t, reel__onnx_number(o, 0, REEL_I64));
        counts = reel__onnx_reshape(o, reel__onnx_cast(o, kept, x->dtype), column);
    }
    reel__ref q = ONNX_NODE("OneHot", *x, safe, reel__onnx_list(o, 1, &classes),
                            reel__onnx_range(o, &off_on, x->dtype, 2, 0));
    reel__onnx_int(o, "axis", -1);
    if (w) q = ONNX("Mul", q, w);
    if (counts) q = ONNX("Mul", q, counts);
    *chosen = q;
    if (a->smoothing == 0) return q;
    reel__ref each = NUM(a->smoothing / (double)classes);
    if (w) each = ONNX("Mul", w, each);
    if (counts) each = ONNX("Mul", counts, each);
    return ONNX("Add", ONNX("Mul", q, NUM(1 - a->smoothing)), each);
}

/* Result 1, the gradient, is for training and not given. */
static reel_status cross_entropy_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0];
    reel__ref chosen, weights = class_weights(c, o, &chosen);
    reel__ref lp = WITH_INT(ONNX("LogSoftmax", x), "axis", 1);
    reel__ref y =
        ONNX("Neg", reel__onnx_reduce(o, "ReduceSum", ONNX("Mul", weights, lp), 2));
    if (CE(c)->reduction != REEL_NONE) y = reel__onnx_reduce(o, "ReduceSum", y, 1);
    if (CE(c)->reduction == REEL_MEAN)
        y = ONNX("Div", y, reel__onnx_reduce(o, "ReduceSum", chosen, 3));
    return reel__onnx_give(o, 0, reel__onnx_reshape(o, y, o->out[0]));
}

REEL_SCHEMA(cross_entropy_schema, reel__cross_entropy_attrs,
            ATTR_REAL(reel__cross_entropy_attrs, smoothing),
            ATTR_INT(reel__cross_entropy_attrs, ignore_index),
            ATTR_INT(reel__cross_entropy_attrs, reduction),
            ATTR_INT(reel__cross_entropy_attrs, want_grad));

const reel__op reel__cross_entropy = {
    .name = "cross_entropy",
    .kernel = K_CROSS_ENTROPY,
    .n_in = 3,
    .n_out = 2,
    .optional = 1 << 2,
    .saves = SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2) | SAVE_OUT(1),
    .dtypes = DTYPES_FLOAT,
    .attrs = &cross_entropy_schema,
    .infer = cross_entropy_infer,
    .vjp = cross_entropy_vjp,
    .onnx = cross_entropy_onnx,
    .sample = "f[4,5] in -2..2; i64[4] in 0..5; - | ignore_index=-1 want_grad=1\n"
              "f[4,3]; i64[4] in 0..3; c[3] in 0.5..2 | smoothing=0.1 ignore_index=1 "
              "want_grad=1\n"
              "f[3,4]; i64[3] in 0..4; - | ignore_index=-1 reduction=1 want_grad=1\n"
              "f[3,4]; i64[3] in 0..4; c[4] in 0.5..2 | smoothing=0.2 ignore_index=-1 "
              "reduction=2 "
              "want_grad=1",
};

/* [n, c, d...] -> [n * d, c] and target [n * d]; others pass. */
static bool rows_of(reel_tensor **x, reel_tensor **target)
{
    int r = (*x)->meta.rank;
    if (r <= 2) return true;
    bool fits = (*target)->meta.rank == r - 1;
    for (int i = 0; fits && i < r - 1; i++)
        fits = (*target)->meta.dim[i] == (*x)->meta.dim[i ? i + 1 : 0];
    if (!fits) {
        reel_fail(REEL_ERR_SHAPE,
                  "cross_entropy: target %s does not fit logits %s: it has "
                  "their shape without dimension 1",
                  SHOW(&(*target)->meta), SHOW(&(*x)->meta));
        return false;
    }
    reel_shape last = {.rank = r};
    for (int i = 0; i < r; i++) last.dim[i] = i == 0 ? 0 : i == r - 1 ? 1 : i + 1;
    int64_t classes = (*x)->meta.dim[1];
    int64_t rows = classes ? reel__numel(&(*x)->meta) / classes : 0;
    *x = reel_reshape(reel_permute(*x, last), REEL_SHAPE(rows, classes));
    *target = reel_reshape(*target, REEL_SHAPE(-1));
    return *x && *target;
}

reel_tensor *reel_cross_entropy(reel_tensor *logits, reel_tensor *target,
                                const reel_cross_entropy_opts *opts)
{
    REEL__CALLED;
    const reel_cross_entropy_opts *o =
        REEL__OPTS("cross_entropy", reel_cross_entropy_opts, opts);
    if (!o) return NULL;
    if (!reel__have("cross_entropy", logits, "logits") ||
        !reel__have("cross_entropy", target, "target"))
        return NULL;
    if (!(o->label_smoothing >= 0 && o->label_smoothing <= 1) ||
        o->reduction > REEL_NONE) {
        reel_fail(REEL_ERR_ARG,
                  "cross_entropy: label_smoothing %g must be in [0, 1], "
                  "reduction %d one of reel_reduction",
                  o->label_smoothing, (int)o->reduction);
        return NULL;
    }
    const reel__cross_entropy_attrs a = {
        .smoothing = reel__option(o->label_smoothing, 0),
        .ignore_index = o->ignore ? o->ignore_index : INT64_MIN,
        .reduction = o->reduction,
        .want_grad = reel__recorded("cross_entropy", logits)};
    reel_shape shape = reel__shape(&target->meta);
    reel_scope s = reel_scope_begin();
    reel_tensor *y = NULL, *weight = o->weight;
    /* cut off: a node of which only the weight needs a gradient would have none to give */
    bool ok = !weight || !reel__recorded("cross_entropy", weight) ||
              (weight = reel__constant(weight));
    if (ok && rows_of(&logits, &target))
        y = APPLY(&reel__cross_entropy, &a, logits, target, weight);
    if (y && o->reduction == REEL_NONE) y = reel_reshape(y, shape);
    return reel_scope_return(s, y);
}

/* ---- elementwise losses: a pointwise row, then a reduction -------------------------------------- */

static reel_status loss_infer(const reel__call *c, reel__meta *out)
{
    REQUIRE(c, reel__same_shape(IN_META(c, 0), IN_META(c, 1)), REEL_ERR_SHAPE,
            "input %s and target %s must have one shape", SHOW(IN_META(c, 0)),
            SHOW(IN_META(c, 1)));
    return reel__infer_pointwise(c, out);
}

static reel_tensor *reduce(const reel__op *op, reel_tensor *x, reel_tensor *target,
                           reel_reduction reduction)
{
    if (reduction != REEL_MEAN && reduction != REEL_SUM && reduction != REEL_NONE) {
        reel_fail(REEL_ERR_ARG, "%s: %d is not a reduction", op->name, (int)reduction);
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_tensor *y = APPLY(op, NULL, x, target);
    if (y && reduction == REEL_MEAN) y = reel_mean(y, REEL_ALL, false);
    if (y && reduction == REEL_SUM) y = reel_sum(y, REEL_ALL, false);
    return reel_scope_return(s, y);
}

static void squared_error_vjp(const reel__call *c, reel_tensor *const gy[],
                              reel_tensor *gx[])
{
    reel_tensor *g = reel_mul(G, reel_mul_scalar(reel_sub(c->in[0], c->in[1]), 2));
    if (NEEDS(c, 0)) gx[0] = g;
    if (NEEDS(c, 1)) gx[1] = reel_neg(g);
}

static reel__ref squared(reel_onnx *o, reel__ref d)
{
    return ONNX("Mul", d, d);
}
ONNX_RULE(squared_error, squared(o, ONNX("Sub", x, y)))

const reel__op reel__squared_error = {
    .name = "squared_error",
    .kernel = K_SQUARED_ERROR,
    .traits = REEL_OP_POINTWISE,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .dtypes = DTYPES_FLOAT,
    .infer = loss_infer,
    .vjp = squared_error_vjp,
    .onnx = squared_error_onnx,
    .sample = "f[3,4]; f[3,4]\nf[]; f[]",
};

reel_tensor *reel_mse_loss(reel_tensor *x, reel_tensor *target, reel_reduction reduction)
{
    REEL__CALLED;
    return reduce(&reel__squared_error, x, target, reduction);
}

/* d/dx = sigmoid(x) - t, d/dt = -x */
static void bce_with_logits_vjp(const reel__call *c, reel_tensor *const gy[],
                                reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = reel_mul(G, reel_sub(reel_sigmoid(c->in[0]), c->in[1]));
    if (NEEDS(c, 1)) gx[1] = reel_neg(reel_mul(G, c->in[0]));
}

/* |x| times the share of the target on the other side, where it has one, and log(1 + e^-|x|): so
 * no infinity meets another, or 0. */
static reel__ref onnx_bce(reel_onnx *o, reel__ref x, reel__ref y)
{
    reel__ref size = ONNX("Abs", x);
    reel__ref share =
        ONNX("Where", ONNX_BOOL("Greater", x, NUM(0)), ONNX("Sub", NUM(1), y), y);
    reel__ref none = ONNX_BOOL("Equal", share, NUM(0));
    reel__ref off = ONNX("Where", none, NUM(0), ONNX("Mul", size, share));
    return ONNX("Add", off, ONNX("Softplus", ONNX("Neg", size)));
}
ONNX_RULE(bce_with_logits, onnx_bce(o, x, y))

const reel__op reel__bce_with_logits = {
    .name = "bce_with_logits",
    .kernel = K_BCE_WITH_LOGITS,
    .traits = REEL_OP_POINTWISE,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .dtypes = DTYPES_FLOAT,
    .infer = loss_infer,
    .vjp = bce_with_logits_vjp,
    .onnx = bce_with_logits_onnx,
    .sample = "f[3,4] in -3..3; f[3,4] in 0..1\nf[]; f[] in 0..1",
};

reel_tensor *reel_bce_with_logits(reel_tensor *x, reel_tensor *target,
                                  reel_reduction reduction)
{
    return reduce(&reel__bce_with_logits, x, target, reduction);
}
