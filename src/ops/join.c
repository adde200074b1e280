/* join.c: several tensors into one, padding, reversal. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "ops/onnx.h"

/* ---- cat: [.., a, ..] [.., b, ..] -> [.., a + b, ..] along dim ---------------------------- */

static reel_status cat_infer(const reel__call *c, reel__meta *out)
{
    int d = (int)ATTRS(c, reel__dim_attrs)->dim;
    const reel__meta *x = IN_META(c, 0);
    reel_status st = reel__check_dim(c, 0, ATTRS(c, reel__dim_attrs)->dim);
    if (st) return st;
    *out = *x;
    out->offset = 0;
    for (int i = 1; i < c->n_in; i++) {
        const reel__meta *y = IN_META(c, i);
        REQUIRE(c, y->dtype == x->dtype, REEL_ERR_DTYPE, "%s and %s differ in dtype",
                SHOW(x), SHOW(y));
        bool fits = y->rank == x->rank;
        for (int k = 0; fits && k < x->rank; k++) fits = k == d || x->dim[k] == y->dim[k];
        REQUIRE(c, fits && reel__checked_add(out->dim[d], y->dim[d], &out->dim[d]),
                REEL_ERR_SHAPE, "%s and %s must be equal but for dimension %d", SHOW(x),
                SHOW(y), d);
    }
    reel__set_strides_like(out, x);
    return REEL_OK;
}

static void cat_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    int d = (int)ATTRS(c, reel__dim_attrs)->dim;
    int64_t at = 0;
    for (int i = 0; i < c->n_in; i++) {
        int64_t n = IN_META(c, i)->dim[d];
        if (NEEDS(c, i)) gx[i] = reel_narrow(gy[0], d, at, n);
        at += n;
    }
}

static reel_status cat_onnx(const reel__call *c, reel_onnx *o)
{
    reel__ref y = reel__onnx_emit_node(o, "Concat", o->out[0], c->n_in, o->in);
    reel__onnx_int(o, "axis", ATTRS(c, reel__dim_attrs)->dim);
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__cat = {
    .name = "cat",
    .kernel = K_CAT,
    .traits = REEL_OP_FOLDS,
    .n_in = REEL_OP_VARIADIC,
    .n_out = 1,
    .attrs = &reel__dim_schema,
    .infer = cat_infer,
    .vjp = cat_vjp,
    .onnx = cat_onnx,
    .sample = "f[2,3]; f[2,1]; f[2,2] | dim=1\nf[1,3]; f[0,3] | dim=0\nf[3] | dim=0",
};

reel_tensor *reel_cat(reel_tensor *const x[], int n, int dim)
{
    if (!x || n < 1) {
        reel_fail(REEL_ERR_ARG, "cat: needs one tensor or more");
        return NULL;
    }
    if (!reel__have("cat", x[0], "x[0]")) return NULL;
    int d = reel__dim("cat", &x[0]->meta, dim);
    if (d < 0) return NULL;
    const reel__dim_attrs a = {d};
    if (n <= REEL_OP_MAX_IN) return reel__apply1(&reel__cat, &a, n, x);
    /* A record takes 64 inputs: the halves first. */
    reel_scope s = reel_scope_begin();
    reel_tensor *half[2] = {reel_cat(x, n / 2, d), reel_cat(x + n / 2, n - n / 2, d)};
    return reel_scope_return(s, reel__apply1(&reel__cat, &a, 2, half));
}

static reel_tensor *stack_some(reel_tensor *const x[], int n, int d)
{
    reel_tensor *part[REEL_OP_MAX_IN];
    if (n > REEL_OP_MAX_IN) {
        part[0] = stack_some(x, n / 2, d);
        part[1] = stack_some(x + n / 2, n - n / 2, d);
        n = 2;
    } else {
        for (int i = 0; i < n; i++) part[i] = reel_unsqueeze(x[i], d);
    }
    return reel_cat(part, n, d);
}

reel_tensor *reel_stack(reel_tensor *const x[], int n, int dim)
{
    REEL__CALLED;
    if (!x || n < 1) {
        reel_fail(REEL_ERR_ARG, "stack: needs one tensor or more");
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        if (!reel__have("stack", x[i], "a tensor")) return NULL;
        if (reel__same_shape(&x[i]->meta, &x[0]->meta)) continue;
        reel_fail(REEL_ERR_SHAPE, "stack: %s and %s differ", SHOW(&x[0]->meta),
                  SHOW(&x[i]->meta));
        return NULL;
    }
    int d = dim < 0 ? dim + x[0]->meta.rank + 1 : dim;
    reel_scope s = reel_scope_begin();
    return reel_scope_return(s, stack_some(x, n, d));
}

/* ---- pad: `value` around x --------------------------------------------------------------- */

static reel_status pad_infer(const reel__call *c, reel__meta *out)
{
    const reel__pad_attrs *a = ATTRS(c, reel__pad_attrs);
    *out = *IN_META(c, 0);
    out->offset = 0;
    for (int i = 0; i < out->rank; i++) {
        REQUIRE(c, a->before[i] >= 0 && a->after[i] >= 0, REEL_ERR_ARG,
                "padding %" PRId64 " and %" PRId64 " of dimension %d must be >= 0",
                a->before[i], a->after[i], i);
        REQUIRE(c,
                reel__checked_add(out->dim[i], a->before[i], &out->dim[i]) &&
                    reel__checked_add(out->dim[i], a->after[i], &out->dim[i]),
                REEL_ERR_SHAPE, "padded size of dimension %d overflows", i);
    }
    reel__set_strides_like(out, IN_META(c, 0));
    return REEL_OK;
}

static void pad_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__meta *x = IN_META(c, 0);
    reel_tensor *g = gy[0];
    for (int i = 0; i < x->rank; i++)
        g = reel_narrow(g, i, ATTRS(c, reel__pad_attrs)->before[i], x->dim[i]);
    gx[0] = g;
}

static reel_status pad_onnx(const reel__call *c, reel_onnx *o)
{
    static const reel__pad_attrs fixed = {0};
    const reel__pad_attrs *a = ATTRS(c, reel__pad_attrs);
    const reel__pad_attrs *k = o->per_batch ? o->per_batch : &fixed;
    const reel__ref x = o->in[0];
    int64_t pads[2 * REEL_MAX_RANK], slopes[2 * REEL_MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        pads[i] = a->before[i];
        pads[i + x->rank] = a->after[i];
        slopes[i] = k->before[i];
        slopes[i + x->rank] = k->after[i];
    }
    return reel__onnx_give(o, 0,
                           ONNX_NODE("Pad", o->out[0], x,
                                     reel__onnx_sizes(o, 2 * x->rank, pads, slopes),
                                     EXACTLY(a->value)));
}

REEL_SCHEMA(pad_schema, reel__pad_attrs, ATTR_INT(reel__pad_attrs, before),
            ATTR_INT(reel__pad_attrs, after), ATTR_NUMBER(reel__pad_attrs, value));

const reel__op reel__pad = {
    .name = "pad",
    .kernel = K_PAD,
    .traits = REEL_OP_FOLDS,
    .n_in = 1,
    .n_out = 1,
    .attrs = &pad_schema,
    .infer = pad_infer,
    .vjp = pad_vjp,
    .onnx = pad_onnx,
    .onnx_grows = true,
    .sample =
        "f[2,3] | before=1,0 after=0,2 value=0.5\nf[2,2,3] | before=0,1,1 after=0,1,1",
};

static reel_tensor *pad(reel_tensor *x, reel_shape before, reel_shape after,
                        reel__number value)
{
    if (!reel__have("pad", x, "x")) return NULL;
    if (before.rank != x->meta.rank || after.rank != x->meta.rank) {
        reel_fail(REEL_ERR_ARG, "pad: before has %d sizes and after %d; %s needs %d",
                  before.rank, after.rank, SHOW(&x->meta), x->meta.rank);
        return NULL;
    }
    reel__pad_attrs a = {.value = value};
    memcpy(a.before, before.dim, (size_t)before.rank * sizeof *a.before);
    memcpy(a.after, after.dim, (size_t)after.rank * sizeof *a.after);
    return APPLY(&reel__pad, &a, x);
}

reel_tensor *reel_pad(reel_tensor *x, reel_shape before, reel_shape after, double value)
{
    REEL__CALLED;
    return pad(x, before, after, reel__real(value));
}

reel_tensor *reel_pad_i64(reel_tensor *x, reel_shape before, reel_shape after,
                          int64_t value)
{
    REEL__CALLED;
    return pad(x, before, after, reel__whole(value));
}

/* ---- flip ---------------------------------------------------------------------------------- */

static reel_status flip_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reel__check_mask(c, 0, ATTRS(c, reel__mask_attrs)->mask);
    return st ? st : reel__infer_same(c, out);
}

static void flip_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = APPLY(c->op, c->attrs, gy[0]);
}

/* A slice backwards. */
static reel_status flip_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0];
    int64_t mask = ATTRS(c, reel__mask_attrs)->mask, axes[REEL_MAX_RANK],
            first[REEL_MAX_RANK], last[REEL_MAX_RANK];
    int n = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!(mask >> i & 1)) continue;
        axes[n] = i;
        first[n] = -1;
        last[n++] = INT64_MIN;
    }
    if (!n) return reel__onnx_give(o, 0, x);
    return reel__onnx_give(o, 0,
                           ONNX_NODE("Slice", *x, x, reel__onnx_list(o, n, first),
                                     reel__onnx_list(o, n, last),
                                     reel__onnx_list(o, n, axes),
                                     reel__onnx_list(o, n, first)));
}

const reel__op reel__flip = {
    .name = "flip",
    .kernel = K_FLIP,
    .traits = REEL_OP_FOLDS,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__mask_schema,
    .infer = flip_infer,
    .vjp = flip_vjp,
    .onnx = flip_onnx,
    .sample = "f[2,3] | mask=2\nf[2,3,4] | mask=5\nf[3] | mask=0",
};

reel_tensor *reel_flip(reel_tensor *x, reel_shape dims)
{
    reel__mask_attrs a = {0};
    if (!reel__have("flip", x, "x") || !reel__dims_mask("flip", &x->meta, dims, &a.mask))
        return NULL;
    return APPLY(&reel__flip, &a, x);
}
