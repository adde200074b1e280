/* view.c: operators that only look at the same memory in another way. */
#include <inttypes.h>
#include <string.h>

#include "ops/onnx.h"

/* ---- reshape: x [a, b] -> y of the same number of elements ------------------------------ */

/* Dimensions of `from` that lie in one piece are matched with runs of dimensions of `to`. The
 * idea is NumPy's and PyTorch's computeStride. */
bool reel__view_strides(const reel_meta *from, reel_meta *to)
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

/* Rank and dims of the result, checked: attributes may come from a file. */
static reel_status attr_shape(const reel_call *c, reel_meta *out)
{
    const reel_shape_attrs *a = ATTRS(c, reel_shape_attrs);
    REQUIRE(c, a->rank >= 0 && a->rank <= REEL_MAX_RANK, REEL_ERR_SHAPE,
            "rank %" PRId64 "; 0 to %d are possible", a->rank, REEL_MAX_RANK);
    out->rank = (int)a->rank;
    memcpy(out->dim, a->dim, sizeof out->dim);
    return reel__meta_check(c->op->name, out);
}

static reel_status reshape_infer(const reel_call *c, reel_meta *out)
{
    const reel_meta *x = IN_META(c, 0);
    *out = *x;
    if (attr_shape(c, out)) return reel_error_status();
    REQUIRE(c, reel__numel(out) == reel__numel(x), REEL_ERR_SHAPE,
            "%s has %" PRId64 " elements, %s has %" PRId64, SHOW(x), reel__numel(x),
            SHOW(out), reel__numel(out));
    REQUIRE(c, reel__view_strides(x, out), REEL_ERR_SHAPE, "%s is no view of %s",
            SHOW(out), SHOW(x));
    return REEL_OK;
}

static void reshape_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_reshape(gy[0], reel__shape(IN_META(c, 0)));
}

ONNX_RULE(reshape, reel__onnx_reshape(o, x, o->out[0]))

const reel_op reel__reshape = {
    .name = "reshape",
    .traits = REEL_OP_VIEW,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__shape_schema,
    .infer = reshape_infer,
    .vjp = reshape_vjp,
    .onnx = reshape_onnx,
    .sample = "f[2,6] | rank=3 dim=3,2,2\nf[4] | rank=2 dim=2,2\nf[1] | rank=0",
};

/* Fills in a -1; false with an error if nothing fits. */
static bool resolve(const reel_meta *x, reel_shape *s)
{
    int64_t known = 1, n = reel__numel(x);
    int hole = -1;
    if (s->rank < 0 || s->rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_SHAPE, "reshape: rank %d; 0 to %d are possible", s->rank,
                  REEL_MAX_RANK);
        return false;
    }
    for (int i = 0; i < s->rank; i++) {
        bool bad = s->dim[i] < -1 || (s->dim[i] == -1 && hole >= 0);
        if (s->dim[i] == -1)
            hole = i;
        else
            bad = bad || !reel__checked_mul(known, s->dim[i], &known);
        if (bad) {
            reel_fail(REEL_ERR_SHAPE,
                      "reshape: size %" PRId64 " at place %d: sizes must be "
                      ">= 0, one may be -1",
                      s->dim[i], i);
            return false;
        }
    }
    if (hole >= 0 && known == 0) {
        reel_fail(REEL_ERR_SHAPE,
                  "reshape: beside a size of 0 the -1 at place %d may be any size; say "
                  "which",
                  hole);
        return false;
    }
    if (hole >= 0) s->dim[hole] = n / known;
    reel_meta want = reel__meta(*s, x->dtype, x->device);
    if (reel__numel(&want) == n) return true;
    reel_fail(REEL_ERR_SHAPE, "reshape: %s has %" PRId64 " elements and cannot become %s",
              SHOW(x), n, SHOW(&want));
    return false;
}

reel_tensor *reel_reshape(reel_tensor *x, reel_shape shape)
{
    if (!reel__have("reshape", x, "x") || !resolve(&x->meta, &shape)) return NULL;
    reel_meta to = reel__meta(shape, x->meta.dtype, x->meta.device);
    reel_shape_attrs a = {.rank = shape.rank};
    memcpy(a.dim, shape.dim, (size_t)shape.rank * sizeof *a.dim);
    reel_scope s = reel_scope_begin();
    if (!reel__view_strides(&x->meta, &to)) x = reel_contiguous(x);
    return reel_scope_return(s, APPLY(&reel__reshape, &a, x));
}

/* Every new shape below is a reshape that only adds, drops or merges dimensions. */

reel_tensor *reel_squeeze(reel_tensor *x, int dim)
{
    if (!reel__have("squeeze", x, "x")) return NULL;
    int d = reel__dim("squeeze", &x->meta, dim);
    if (d < 0) return NULL;
    if (x->meta.dim[d] != 1) {
        reel_fail(REEL_ERR_SHAPE, "squeeze: dimension %d of %s is not of size 1", d,
                  SHOW(&x->meta));
        return NULL;
    }
    reel_shape s = reel__shape(&x->meta);
    for (int i = d; i + 1 < s.rank; i++) s.dim[i] = s.dim[i + 1];
    s.rank--;
    return reel_reshape(x, s);
}

reel_tensor *reel_unsqueeze(reel_tensor *x, int dim)
{
    if (!reel__have("unsqueeze", x, "x")) return NULL;
    int rank = x->meta.rank, d = dim < 0 ? dim + rank + 1 : dim;
    if (d < 0 || d > rank || rank == REEL_MAX_RANK) {
        reel_fail(REEL_ERR_ARG, "unsqueeze: no place %d for a new dimension in %s", dim,
                  SHOW(&x->meta));
        return NULL;
    }
    reel_shape s = reel__shape(&x->meta);
    for (int i = rank; i > d; i--) s.dim[i] = s.dim[i - 1];
    s.dim[d] = 1;
    s.rank++;
    return reel_reshape(x, s);
}

reel_tensor *reel_flatten(reel_tensor *x, int start, int end)
{
    if (!reel__have("flatten", x, "x")) return NULL;
    if (x->meta.rank == 0) return reel_reshape(x, REEL_SHAPE(1));
    int a = reel__dim("flatten", &x->meta, start),
        b = reel__dim("flatten", &x->meta, end);
    if (a < 0 || b < 0) return NULL;
    if (a > b) {
        reel_fail(REEL_ERR_ARG, "flatten: start %d stands after end %d", start, end);
        return NULL;
    }
    reel_shape s = {.rank = x->meta.rank - (b - a)};
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = i < a ? x->meta.dim[i] : x->meta.dim[i + b - a];
    s.dim[a] = 1;
    for (int i = a; i <= b; i++) s.dim[a] *= x->meta.dim[i];
    return reel_reshape(x, s);
}

/* ---- permute: dimension i of y is dim[i] of x -------------------------------------------- */

static reel_status permute_infer(const reel_call *c, reel_meta *out)
{
    const reel_meta *x = IN_META(c, 0);
    const reel_shape_attrs *a = ATTRS(c, reel_shape_attrs);
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

static void permute_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel_shape_attrs *a = ATTRS(c, reel_shape_attrs);
    reel_shape back = {.rank = (int)a->rank};
    for (int i = 0; i < back.rank; i++) back.dim[a->dim[i]] = i;
    gx[0] = reel_permute(gy[0], back);
}

static reel_status permute_onnx(const reel_call *c, reel_onnx *o)
{
    const reel_shape_attrs *a = ATTRS(c, reel_shape_attrs);
    reel_ref y = ONNX_NODE("Transpose", o->out[0], o->in[0]);
    reel__onnx_ints(o, "perm", (int)a->rank, a->dim);
    return reel__onnx_give(o, 0, y);
}

const reel_op reel__permute = {
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
    reel_shape_attrs a = {.rank = dims.rank};
    for (int i = 0; i < dims.rank; i++)
        a.dim[i] = reel__wrap_dim((int)dims.dim[i], x->meta.rank);
    return APPLY(&reel__permute, &a, x);
}

reel_tensor *reel_transpose(reel_tensor *x, int dim0, int dim1)
{
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
    if (!reel__have("t", x, "x")) return NULL;
    if (x->meta.rank < 2) {
        reel_fail(REEL_ERR_SHAPE, "t: %s must have rank 2 or more", SHOW(&x->meta));
        return NULL;
    }
    return reel_transpose(x, -2, -1);
}

/* ---- slice: start, start + step, ...: `length` of them ----------------------------------- */

static reel_status slice_infer(const reel_call *c, reel_meta *out)
{
    const reel_slice_attrs *a = ATTRS(c, reel_slice_attrs);
    reel_status st = reel__check_dim(c, 0, a->dim);
    if (st) return st;
    *out = *IN_META(c, 0);
    int64_t n = out->dim[a->dim];
    REQUIRE(c,
            a->start >= 0 && a->length >= 0 && a->step >= 1 && a->start <= n &&
                (a->length == 0 || (a->length - 1) <= (n - a->start - 1) / a->step),
            REEL_ERR_ARG,
            "%" PRId64 " elements from %" PRId64 " by %" PRId64
            " are outside of dimension %" PRId64 " of %s",
            a->length, a->start, a->step, a->dim, SHOW(IN_META(c, 0)));
    out->offset += a->start * out->stride[a->dim];
    out->dim[a->dim] = a->length;
    if (a->length > 1) out->stride[a->dim] *= a->step;
    return REEL_OK;
}

/* step - 1 zeros after each of g's elements along d, by a new dimension that is padded and
 * merged; of rank 4 whatever g's rank is, because rank 8 has no room for one more. */
static reel_tensor *spread(reel_tensor *g, int d, int64_t step)
{
    reel_shape to = reel__shape(&g->meta);
    int64_t before = 1, after = 1;
    for (int i = 0; i < to.rank; i++)
        if (i != d) *(i < d ? &before : &after) *= to.dim[i];
    reel_tensor *apart = reel_reshape(g, REEL_SHAPE(before, to.dim[d], 1, after));
    apart = reel_pad(apart, REEL_SHAPE(0, 0, 0, 0), REEL_SHAPE(0, 0, step - 1, 0), 0);
    to.dim[d] *= step;
    return reel_reshape(apart, to);
}

/* The gradient goes back to its places among zeros: between, before and after. */
static void slice_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel_slice_attrs *a = ATTRS(c, reel_slice_attrs);
    const reel_meta *x = IN_META(c, 0);
    int d = (int)a->dim;
    reel_tensor *g = gy[0];
    if (a->step > 1 && a->length > 0) {
        int64_t room = x->dim[d] - a->start;
        g = spread(g, d, a->step);
        if (a->length * a->step > room) g = reel_narrow(g, d, 0, room);
    }
    if (!g) return;
    reel_shape before = {.rank = x->rank}, after = {.rank = x->rank};
    before.dim[d] = a->start;
    after.dim[d] = x->dim[d] - a->start - g->meta.dim[d];
    gx[0] = reel_pad(g, before, after, 0);
}

/* The end is left open where the last element is one of the last `step`, so a slice of all
 * rows stays one at any batch size. */
static reel_status slice_onnx(const reel_call *c, reel_onnx *o)
{
    static const reel_slice_attrs fixed = {0};
    const reel_slice_attrs *a = ATTRS(c, reel_slice_attrs);
    const reel_slice_attrs *k = o->per_batch ? o->per_batch : &fixed;
    const reel_ref x = o->in[0];
    int64_t end = a->start + (a->length - 1) * a->step + 1;
    int64_t slope = k->start + k->length * a->step;
    if (!a->length) end = a->start;
    bool open = a->length && end + a->step > x->dim[a->dim] && slope == x->grow[a->dim];
    if (open) end = INT64_MAX, slope = 0;
    if (k->step)
        return reel__bad(c, REEL_ERR_UNSUPPORTED, "the step grows with the batch");
    reel_ref y =
        ONNX_NODE("Slice", o->out[0], x, reel__onnx_sizes(o, 1, &a->start, &k->start),
                  reel__onnx_sizes(o, 1, &end, &slope), reel__onnx_list(o, 1, &a->dim),
                  reel__onnx_list(o, 1, &a->step));
    return reel__onnx_give(o, 0, y);
}

const reel_op reel__slice = {
    .name = "slice",
    .traits = REEL_OP_VIEW,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__slice_schema,
    .infer = slice_infer,
    .vjp = slice_vjp,
    .onnx = slice_onnx,
    .sample =
        "f[5,3] | dim=0 start=1 length=3 step=1\nf[3,7] | dim=1 start=1 length=3 step=2"
        "\nf[7] | dim=0 start=0 length=3 step=3\nf[4] | dim=0 start=4 length=0 step=1",
};

static int64_t clip_index(int64_t i, int64_t n)
{
    if (i < 0) i = i < -n ? 0 : i + n;
    return i > n ? n : i;
}

reel_tensor *reel_slice(reel_tensor *x, int dim, int64_t start, int64_t end, int64_t step)
{
    if (!reel__have("slice", x, "x")) return NULL;
    int d = reel__dim("slice", &x->meta, dim);
    if (d < 0) return NULL;
    if (step < 1) {
        reel_fail(REEL_ERR_ARG, "slice: step %" PRId64 " must be 1 or more", step);
        return NULL;
    }
    int64_t n = x->meta.dim[d], a = clip_index(start, n), b = clip_index(end, n);
    if (step > n) step = n ? n : 1; /* the same elements, and no overflow of the stride */
    const reel_slice_attrs at = {d, a, b > a ? (b - a + step - 1) / step : 0, step};
    return APPLY(&reel__slice, &at, x);
}

reel_tensor *reel_narrow(reel_tensor *x, int dim, int64_t start, int64_t length)
{
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
    const reel_slice_attrs a = {d, start, length, 1};
    return APPLY(&reel__slice, &a, x);
}

reel_tensor *reel_select(reel_tensor *x, int dim, int64_t index)
{
    if (!reel__have("select", x, "x")) return NULL;
    int d = reel__dim("select", &x->meta, dim);
    if (d < 0) return NULL;
    int64_t n = x->meta.dim[d], i = index < 0 ? index + n : index;
    if (i < 0 || i >= n) {
        reel_fail(REEL_ERR_ARG,
                  "select: index %" PRId64 " is out of range for dimension %d "
                  "of %s",
                  index, d, SHOW(&x->meta));
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    return reel_scope_return(s, reel_squeeze(reel_narrow(x, d, i, 1), d));
}

int reel_split(reel_tensor *x, int64_t size, int dim, reel_tensor *out[], int max)
{
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
        if (!out[i]) return -1;
    }
    return (int)pieces;
}

/* ---- expand: size 1 becomes any size, stride 0 -------------------------------------------- */

static reel_status expand_infer(const reel_call *c, reel_meta *out)
{
    const reel_meta *x = IN_META(c, 0);
    *out = *x;
    if (attr_shape(c, out)) return reel_error_status();
    int lead = out->rank - x->rank;
    REQUIRE(c, lead >= 0, REEL_ERR_SHAPE, "%s has more dimensions than %s", SHOW(x),
            SHOW(out));
    for (int i = 0; i < out->rank; i++) {
        int64_t n = i < lead ? 1 : x->dim[i - lead];
        REQUIRE(c, n == out->dim[i] || n == 1, REEL_ERR_SHAPE,
                "%s does not expand to %s: sizes must be equal or 1", SHOW(x), SHOW(out));
        out->stride[i] = i < lead || n != out->dim[i] ? 0 : x->stride[i - lead];
    }
    return REEL_OK;
}

static void expand_vjp(const reel_call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel__sum_to(gy[0], IN_META(c, 0));
}

ONNX_RULE(expand, reel__onnx_expand(o, x, o->out[0]))

const reel_op reel__expand = {
    .name = "expand",
    .traits = REEL_OP_VIEW,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__shape_schema,
    .infer = expand_infer,
    .vjp = expand_vjp,
    .onnx = expand_onnx,
    .sample = "f[3,1] | rank=3 dim=2,3,4\nf[] | rank=1 dim=3\nf[1,2] | rank=2 dim=0,2",
};

reel_tensor *reel_expand(reel_tensor *x, reel_shape shape)
{
    if (!reel__have("expand", x, "x")) return NULL;
    reel_shape_attrs a = {.rank = shape.rank};
    int lead = shape.rank - x->meta.rank;
    if (shape.rank > REEL_MAX_RANK || lead < 0) {
        reel_fail(REEL_ERR_SHAPE, "expand: %s cannot have rank %d", SHOW(&x->meta),
                  shape.rank);
        return NULL;
    }
    for (int i = 0; i < shape.rank; i++) {
        bool keep = shape.dim[i] == -1 && i >= lead;
        a.dim[i] = keep ? x->meta.dim[i - lead] : shape.dim[i];
        if (a.dim[i] < 0) {
            reel_fail(REEL_ERR_SHAPE, "expand: size %" PRId64 " at place %d",
                      shape.dim[i], i);
            return NULL;
        }
    }
    return APPLY(&reel__expand, &a, x);
}
