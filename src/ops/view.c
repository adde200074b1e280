/* view.c: operators that only look at the same memory in another way. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "backend/slice.h"
#include "ops/onnx.h"
#include "ops/records.h"

/* ---- reshape: x [a, b] -> y of the same number of elements ------------------------------ */

/* Dimensions of `from` that lie in one piece are matched with runs of dimensions of `to`. The
 * idea is NumPy's and PyTorch's computeStride. */
bool reel__view_strides(const reel__meta *from, reel__meta *to)
{
    if (reel__numel(from) == 0) {
        reel__set_contiguous(to);
        return true;
    }
    int t = to->rank - 1;
    int64_t chunk = 1, left = 1; /* size of the present piece; what of it `to` has used */
    int64_t base = from->rank ? from->stride[from->rank - 1] : 1;
    for (int f = from->rank - 1; f >= 0; f--) {
        chunk *= from->dim[f];
        bool ends =
            f == 0 || (from->dim[f - 1] != 1 && from->stride[f - 1] != chunk * base);
        if (!ends) continue;
        while (t >= 0 && (left < chunk || to->dim[t] == 1)) {
            to->stride[t] = left * base;
            left *= to->dim[t--];
        }
        if (left != chunk) return false;
        if (f > 0) {
            base = from->stride[f - 1];
            chunk = left = 1;
        }
    }
    for (; t >= 0; t--) to->stride[t] = 1; /* rank 0 input, or leading ones */
    return true;
}

/* The shape that was asked for, of x: REEL_INFERRED is what is left, REEL_SIZE_OF(i) the size
 * of x's dimension i. */
static bool resolve(const reel__meta *x, const reel__shape_attrs *a, reel__meta *out)
{
    int64_t known = 1, n = reel__numel(x);
    uint32_t referred = 0;
    int hole = -1, n_referred = 0;
    if (a->rank < 0 || a->rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_SHAPE, "reshape: rank %" PRId64 "; 0 to %d are possible",
                  a->rank, REEL_MAX_RANK);
        return false;
    }
    out->rank = (int)a->rank;
    for (int i = 0; i < out->rank; i++) {
        int64_t d = a->dim[i];
        bool refers = d <= REEL_SIZE_OF(0) && d > REEL_SIZE_OF(x->rank);
        bool bad = (d < REEL_INFERRED && !refers) || (d == REEL_INFERRED && hole >= 0);
        out->dim[i] = refers ? x->dim[REEL_SIZE_OF(0) - d] : d;
        if (refers) referred |= 1u << (REEL_SIZE_OF(0) - d), n_referred++;
        if (d == REEL_INFERRED)
            hole = i;
        else
            bad = bad || !reel__checked_mul(known, out->dim[i], &known);
        if (!bad) continue;
        reel_fail(REEL_ERR_SHAPE,
                  "reshape: size %" PRId64 " at place %d: sizes must be "
                  ">= 0, one may be -1",
                  d, i);
        return false;
    }
    if (hole >= 0 && n_referred == out->rank - 1) { /* also beside a size of 0 */
        out->dim[hole] = 1;
        for (int i = 0; i < x->rank; i++)
            if (!(referred >> i & 1)) out->dim[hole] *= x->dim[i];
    } else if (hole >= 0 && known == 0) {
        reel_fail(REEL_ERR_SHAPE,
                  "reshape: beside a size of 0 the -1 at place %d may be any size; say "
                  "which",
                  hole);
        return false;
    } else if (hole >= 0) {
        out->dim[hole] = n / known;
    }
    if (reel__meta_check("reshape", out)) return false;
    if (reel__numel(out) == n) return true;
    reel_fail(REEL_ERR_SHAPE, "reshape: %s has %" PRId64 " elements and cannot become %s",
              SHOW(x), n, SHOW(out));
    return false;
}

static reel_status reshape_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    *out = *x;
    if (!resolve(x, ATTRS(c, reel__shape_attrs), out)) return reel_error_status();
    REQUIRE(c, reel__view_strides(x, out), REEL_ERR_SHAPE, "%s is not a view of %s",
            SHOW(out), SHOW(x));
    return REEL_OK;
}

static void reshape_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_reshape(gy[0], reel__shape(IN_META(c, 0)));
}

ONNX_RULE(reshape, reel__onnx_reshape(o, x, o->out[0]))

const reel__op reel__reshape = {
    .name = "reshape",
    .traits = REEL_OP_VIEW,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__shape_schema,
    .infer = reshape_infer,
    .vjp = reshape_vjp,
    .onnx = reshape_onnx,
    .onnx_grows = true,
    .sample = "f[2,6] | rank=3 dim=3,2,2\nf[4] | rank=2 dim=2,2\nf[1] | rank=0\n"
              "f[2,6] | rank=3 dim=-2,3,-1",
};

static reel_tensor *reshape(reel_tensor *x, const reel__shape_attrs *a)
{
    if (reel__is_contiguous(&x->meta)) /* any shape is a view of it */
        return APPLY(&reel__reshape, a, x);
    reel__meta to = x->meta;
    if (!resolve(&x->meta, a, &to)) return NULL;
    reel_scope s = reel_scope_begin();
    if (!reel__view_strides(&x->meta, &to)) x = reel_contiguous(x);
    return reel_scope_return(s, APPLY(&reel__reshape, a, x));
}

reel_tensor *reel_reshape(reel_tensor *x, reel_shape shape)
{
    REEL__CALLED;
    if (!reel__have("reshape", x, "x")) return NULL;
    reel__shape_attrs a = {.rank = shape.rank};
    for (int i = 0; i < shape.rank && i < REEL_MAX_RANK; i++)
        a.dim[i] = shape.dim[i] < -1 ? INT64_MIN : shape.dim[i];
    return reshape(x, &a);
}

/* Dimensions first .. first + n - 1 of x, whatever their sizes, from place `at` on. */
static void refer(reel__shape_attrs *a, int at, int first, int n)
{
    for (int i = 0; i < n; i++) a->dim[at + i] = REEL_SIZE_OF(first + i);
}

/* Every new shape below is a reshape that only adds, drops or merges dimensions. */

reel_tensor *reel__drop_dims(reel_tensor *x, int64_t mask)
{
    reel__shape_attrs a = {.rank = 0};
    for (int i = 0; i < x->meta.rank; i++)
        if (!(mask >> i & 1)) refer(&a, (int)a.rank++, i, 1);
    return reshape(x, &a);
}

reel_tensor *reel_squeeze(reel_tensor *x, int dim)
{
    REEL__CALLED;
    if (!reel__have("squeeze", x, "x")) return NULL;
    int d = reel__dim("squeeze", &x->meta, dim);
    if (d < 0) return NULL;
    if (x->meta.dim[d] != 1) {
        reel_fail(REEL_ERR_SHAPE, "squeeze: dimension %d of %s is not of size 1", d,
                  SHOW(&x->meta));
        return NULL;
    }
    return reel__drop_dims(x, INT64_C(1) << d);
}

reel_tensor *reel_unsqueeze(reel_tensor *x, int dim)
{
    REEL__CALLED;
    if (!reel__have("unsqueeze", x, "x")) return NULL;
    int rank = x->meta.rank, d = dim < 0 ? dim + rank + 1 : dim;
    if (d < 0 || d > rank || rank == REEL_MAX_RANK) {
        reel_fail(REEL_ERR_ARG, "unsqueeze: no place %d for a new dimension in %s", dim,
                  SHOW(&x->meta));
        return NULL;
    }
    reel__shape_attrs a = {.rank = rank + 1};
    refer(&a, 0, 0, d);
    a.dim[d] = 1;
    refer(&a, d + 1, d, rank - d);
    return reshape(x, &a);
}

reel_tensor *reel_flatten(reel_tensor *x, int start, int end)
{
    REEL__CALLED;
    if (!reel__have("flatten", x, "x")) return NULL;
    if (x->meta.rank == 0) return reel_reshape(x, REEL_SHAPE(1));
    int a = reel__dim("flatten", &x->meta, start),
        b = reel__dim("flatten", &x->meta, end);
    if (a < 0 || b < 0) return NULL;
    if (a > b) {
        reel_fail(REEL_ERR_ARG, "flatten: start %d stands after end %d", start, end);
        return NULL;
    }
    reel__shape_attrs to = {.rank = x->meta.rank - (b - a)};
    refer(&to, 0, 0, a);
    to.dim[a] = a == b ? REEL_SIZE_OF(a) : REEL_INFERRED;
    refer(&to, a + 1, b + 1, x->meta.rank - b - 1);
    return reshape(x, &to);
}

/* ---- permute: dimension i of y is dim[i] of x -------------------------------------------- */

static reel_status permute_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    const reel__shape_attrs *a = ATTRS(c, reel__shape_attrs);
    REQUIRE(c, a->rank == x->rank, REEL_ERR_ARG, "%" PRId64 " dimensions for %s", a->rank,
            SHOW(x));
    *out = *x;
    int64_t seen = 0;
    for (int i = 0; i < x->rank; i++) {
        reel_status st = reel__check_dim(c, 0, a->dim[i]);
        if (st) return st;
        REQUIRE(c, !(seen >> a->dim[i] & 1), REEL_ERR_ARG,
                "dimension %" PRId64 " stands twice", a->dim[i]);
        seen |= INT64_C(1) << a->dim[i];
        out->dim[i] = x->dim[a->dim[i]];
        out->stride[i] = x->stride[a->dim[i]];
    }
    return REEL_OK;
}

static void permute_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__shape_attrs *a = ATTRS(c, reel__shape_attrs);
    reel_shape back = {.rank = (int)a->rank};
    for (int i = 0; i < back.rank; i++) back.dim[a->dim[i]] = i;
    gx[0] = reel_permute(gy[0], back);
}

static reel_status permute_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__shape_attrs *a = ATTRS(c, reel__shape_attrs);
    reel__ref y = ONNX_NODE("Transpose", o->out[0], o->in[0]);
    reel__onnx_ints(o, "perm", (int)a->rank, a->dim);
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__permute = {
    .name = "permute",
    .traits = REEL_OP_VIEW,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__shape_schema,
    .infer = permute_infer,
    .vjp = permute_vjp,
    .onnx = permute_onnx,
    .sample = "f[2,3,4] | rank=3 dim=2,0,1\nf[2,3] | rank=2 dim=1,0",
};

reel_tensor *reel_permute(reel_tensor *x, reel_shape dims)
{
    int64_t mask;
    if (!reel__have("permute", x, "x")) return NULL;
    if (dims.rank != x->meta.rank) {
        reel_fail(REEL_ERR_ARG, "permute: %d dimensions for %s", dims.rank,
                  SHOW(&x->meta));
        return NULL;
    }
    if (!reel__dims_mask("permute", &x->meta, dims, &mask)) return NULL;
    reel__shape_attrs a = {.rank = dims.rank};
    for (int i = 0; i < dims.rank; i++)
        a.dim[i] = reel__wrap_dim((int)dims.dim[i], x->meta.rank);
    return APPLY(&reel__permute, &a, x);
}

reel_tensor *reel_transpose(reel_tensor *x, int dim0, int dim1)
{
    REEL__CALLED;
    if (!reel__have("transpose", x, "x")) return NULL;
    int a = reel__dim("transpose", &x->meta, dim0);
    int b = reel__dim("transpose", &x->meta, dim1);
    if (a < 0 || b < 0) return NULL;
    reel_shape dims = {.rank = x->meta.rank};
    for (int i = 0; i < dims.rank; i++) dims.dim[i] = i == a ? b : i == b ? a : i;
    return reel_permute(x, dims);
}

reel_tensor *reel_t(reel_tensor *x)
{
    REEL__CALLED;
    if (!reel__have("t", x, "x")) return NULL;
    if (x->meta.rank < 2) {
        reel_fail(REEL_ERR_SHAPE, "t: %s must have rank 2 or more", SHOW(&x->meta));
        return NULL;
    }
    return reel_transpose(x, -2, -1);
}

/* ---- slice: start, start + step, ... before end -------------------------------------------- */

static reel_status slice_infer(const reel__call *c, reel__meta *out)
{
    const reel__slice_attrs *a = ATTRS(c, reel__slice_attrs);
    int64_t start, length;
    reel_status st = reel__check_dim(c, 0, a->dim);
    if (st) return st;
    *out = *IN_META(c, 0);
    REQUIRE(c, reel__slice_at(a, out->dim[a->dim], &start, &length), REEL_ERR_ARG,
            "%" PRId64 " to %" PRId64 " by %" PRId64 " (how %" PRId64
            ") is outside of dimension %" PRId64 " of %s",
            a->start, a->end, a->step, a->how, a->dim, SHOW(IN_META(c, 0)));
    out->offset += start * out->stride[a->dim];
    out->dim[a->dim] = length;
    if (length > 1) out->stride[a->dim] *= a->step;
    return REEL_OK;
}

static void slice_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__slice_attrs *a = ATTRS(c, reel__slice_attrs);
    const reel__unslice_attrs back = {*a, IN_META(c, 0)->dim[a->dim]};
    gx[0] = APPLY(&reel__unslice, &back, gy[0]);
}

/* ONNX clips as reel does. One element from the end has no end to name. */
static reel_status slice_onnx(const reel__call *c, reel_onnx *o)
{
    static const reel__slice_attrs fixed = {0};
    const reel__slice_attrs *a = ATTRS(c, reel__slice_attrs);
    const reel__slice_attrs *k = o->per_batch ? o->per_batch : &fixed;
    const reel__ref x = o->in[0];
    bool one = a->how == REEL_SLICE_ONE;
    int64_t end = one ? a->start + 1 : a->end, slope = one ? k->start : k->end;
    if (one && a->start == -1) end = INT64_MAX;
    if (k->step || k->dim || k->how || (one && a->start < 0 && k->start))
        return reel__bad(c, REEL_ERR_UNSUPPORTED, "the step grows with the batch");
    reel__ref y =
        ONNX_NODE("Slice", o->out[0], x, reel__onnx_sizes(o, 1, &a->start, &k->start),
                  reel__onnx_sizes(o, 1, &end, &slope), reel__onnx_list(o, 1, &a->dim),
                  reel__onnx_list(o, 1, &a->step));
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__slice = {
    .name = "slice",
    .traits = REEL_OP_VIEW,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__slice_schema,
    .infer = slice_infer,
    .vjp = slice_vjp,
    .onnx = slice_onnx,
    .onnx_grows = true,
    .sample =
        "f[5,3] | dim=0 start=1 end=4 step=1\nf[3,7] | dim=1 start=1 end=7 step=2\n"
        "f[7] | dim=0 start=-9 end=9 step=3\nf[4] | dim=0 start=4 end=4 step=1\n"
        "f[5,3] | dim=0 start=-3 end=-1 step=1\n"
        "f[5] | dim=0 start=1 end=3 step=1 how=1\nf[4,3] | dim=1 start=-2 step=1 how=2",
};

/* ---- unslice: g back at the places of the slice, in a dimension of that size, among zeros ---- */

static reel_status unslice_infer(const reel__call *c, reel__meta *out)
{
    const reel__unslice_attrs *a = ATTRS(c, reel__unslice_attrs);
    int64_t start, length;
    reel_status st = reel__check_dim(c, 0, a->slice.dim);
    if (st) return st;
    *out = *IN_META(c, 0);
    out->offset = 0;
    REQUIRE(c,
            a->size >= 0 && reel__slice_at(&a->slice, a->size, &start, &length) &&
                out->dim[a->slice.dim] == length,
            REEL_ERR_SHAPE,
            "%s is not what %" PRId64 " to %" PRId64 " by %" PRId64
            " leaves of a dimension %" PRId64 " of size %" PRId64,
            SHOW(IN_META(c, 0)), a->slice.start, a->slice.end, a->slice.step,
            a->slice.dim, a->size);
    out->dim[a->slice.dim] = a->size;
    reel__set_strides_like(out, IN_META(c, 0));
    return REEL_OK;
}

static void unslice_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = APPLY(&reel__slice, &ATTRS(c, reel__unslice_attrs)->slice, gy[0]);
}

const reel__op reel__unslice = {
    .name = "unslice",
    .kernel = K_UNSLICE,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__unslice_schema,
    .infer = unslice_infer,
    .vjp = unslice_vjp,
    .no_onnx = REEL__ONNX_TRAINING,
    .sample = "f[3,3] | dim=0 start=1 end=4 step=1 size=5\n"
              "f[3,3] | dim=1 start=1 end=7 step=2 size=7\n"
              "f[2,1] | dim=1 start=-1 step=1 how=2 size=4\n"
              "f[0] | dim=0 start=4 end=4 step=1 size=4",
};

reel_tensor *reel_slice(reel_tensor *x, int dim, int64_t start, int64_t end, int64_t step)
{
    if (!reel__have("slice", x, "x")) return NULL;
    int d = reel__dim("slice", &x->meta, dim);
    if (d < 0) return NULL;
    if (step < 1) {
        reel_fail(REEL_ERR_ARG, "slice: step %" PRId64 " must be 1 or more", step);
        return NULL;
    }
    const reel__slice_attrs a = {d, start, end, step, REEL_SLICE_CLIPS};
    return APPLY(&reel__slice, &a, x);
}

reel_tensor *reel_narrow(reel_tensor *x, int dim, int64_t start, int64_t length)
{
    REEL__CALLED;
    if (!reel__have("narrow", x, "x")) return NULL;
    int d = reel__dim("narrow", &x->meta, dim);
    if (d < 0) return NULL;
    if (start < 0 || length < 0 || start > x->meta.dim[d] - length) {
        reel_fail(REEL_ERR_ARG,
                  "narrow: %" PRId64 " elements from %" PRId64 " are outside "
                  "of dimension %d of %s",
                  length, start, d, SHOW(&x->meta));
        return NULL;
    }
    const reel__slice_attrs a = {d, start, start + length, 1, REEL_SLICE_INSIDE};
    return APPLY(&reel__slice, &a, x);
}

reel_tensor *reel_select(reel_tensor *x, int dim, int64_t index)
{
    REEL__CALLED;
    if (!reel__have("select", x, "x")) return NULL;
    int d = reel__dim("select", &x->meta, dim);
    if (d < 0) return NULL;
    int64_t n = x->meta.dim[d];
    if (index < -n || index >= n) {
        reel_fail(REEL_ERR_ARG,
                  "select: index %" PRId64 " is out of range for dimension %d "
                  "of %s",
                  index, d, SHOW(&x->meta));
        return NULL;
    }
    const reel__slice_attrs a = {d, index, 0, 1, REEL_SLICE_ONE};
    reel_scope s = reel_scope_begin();
    return reel_scope_return(s, reel_squeeze(APPLY(&reel__slice, &a, x), d));
}

int reel_split(reel_tensor *x, int64_t size, int dim, reel_tensor *out[], int max)
{
    reel__no_results(out, max);
    if (!reel__have("split", x, "x")) return -1;
    int d = reel__dim("split", &x->meta, dim);
    if (d < 0) return -1;
    int64_t n = x->meta.dim[d];
    int64_t pieces = size < 1 ? 0 : n == 0 ? 1 : n / size + (n % size != 0);
    if (size < 1 || !out || pieces > max) {
        reel_fail(REEL_ERR_ARG,
                  "split: dimension %d of %s in pieces of %" PRId64 " needs "
                  "%" PRId64 " places, there are %d",
                  d, SHOW(&x->meta), size, pieces, max);
        return -1;
    }
    for (int64_t i = 0; i < pieces; i++) {
        int64_t rest = n - i * size;
        out[i] = reel_narrow(x, d, i * size, rest < size ? rest : size);
        if (out[i]) continue;
        reel__no_results(out, max); /* the scope still frees them */
        return -1;
    }
    return (int)pieces;
}

/* ---- expand: size 1 becomes any size, stride 0 -------------------------------------------- */

static reel_status expand_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    const reel__shape_attrs *a = ATTRS(c, reel__shape_attrs);
    *out = *x;
    REQUIRE(c, a->rank >= x->rank && a->rank <= REEL_MAX_RANK, REEL_ERR_SHAPE,
            "%s cannot have rank %" PRId64, SHOW(x), a->rank);
    const int64_t lead = a->rank - x->rank;
    out->rank = (int)a->rank;
    for (int i = 0; i < out->rank; i++) {
        bool keep = a->dim[i] == -1 && i >= lead;
        out->dim[i] = keep ? x->dim[i - lead] : a->dim[i];
    }
    if (reel__meta_check(c->op->name, out)) return reel_error_status();
    for (int i = 0; i < out->rank; i++) {
        int64_t n = i < lead ? 1 : x->dim[i - lead];
        REQUIRE(c, n == out->dim[i] || n == 1, REEL_ERR_SHAPE,
                "%s does not expand to %s: sizes must be equal or 1", SHOW(x), SHOW(out));
        out->stride[i] = i < lead || n != out->dim[i] ? 0 : x->stride[i - lead];
    }
    return REEL_OK;
}

static void expand_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel__sum_to(gy[0], IN_META(c, 0));
}

ONNX_RULE(expand, reel__onnx_expand(o, x, o->out[0]))

const reel__op reel__expand = {
    .name = "expand",
    .traits = REEL_OP_VIEW | REEL_OP_UNPACKS,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__shape_schema,
    .infer = expand_infer,
    .vjp = expand_vjp,
    .onnx = expand_onnx,
    .onnx_grows = true,
    .sample = "f[3,1] | rank=3 dim=2,3,4\nf[] | rank=1 dim=3\nf[1,2] | rank=2 dim=0,2\n"
              "f[3,1] | rank=3 dim=2,-1,4",
};

reel_tensor *reel_expand(reel_tensor *x, reel_shape shape)
{
    if (!reel__have("expand", x, "x")) return NULL;
    reel__shape_attrs a = {.rank = shape.rank};
    memcpy(a.dim, shape.dim, sizeof a.dim);
    return APPLY(&reel__expand, &a, x);
}
