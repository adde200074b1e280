/* value.c: constants of a model, sizes that grow with the batch, and what many rules need. */
#include <string.h>

#include "base/alloc.h"
#include "ops/onnx.h"

/* ---- constants ----------------------------------------------------------------------------- */

reel__ref reel__onnx_const(reel_onnx *o, reel_shape shape, reel_dtype dtype,
                           const void *data)
{
    if (reel_failed()) return NULL;
    size_t bytes;
    reel_onnx_ref type = {.dtype = dtype, .rank = shape.rank};
    memcpy(type.dim, shape.dim, sizeof type.dim);
    if (!reel__onnx_bytes(shape, reel__onnx_dtype_of(dtype), &bytes)) return NULL;
    const void *copy = reel__onnx_copy(o->model, data, bytes);
    type.name = copy ? reel__onnx_name(o, "const") : NULL;
    if (!type.name || !reel__onnx_add_initializer(
                          o->model, type.name, reel__onnx_dtype_of(dtype), shape, copy))
        return NULL;
    return reel__onnx_copy(o->model, &type, sizeof type);
}

/* What a kernel without operands writes: the dtype's own rounding. */
static reel__ref made(reel_onnx *o, reel__kernel_id kernel, const void *attrs,
                      reel_shape shape, reel_dtype dtype)
{
    if (reel_failed()) return NULL;
    const reel__meta m = reel__meta_of(shape, dtype, (reel_device){REEL_CPU, 0});
    void *data = reel__malloc((size_t)reel__numel(&m) * reel_dtype_size(dtype));
    const reel__karg out = {data, &m};
    const reel__kcall call = {.kernel = kernel, .n_out = 1, .out = &out, .attrs = attrs};
    reel__ref r = NULL;
    if (data && !reel__launch(m.device, &call))
        r = reel__onnx_const(o, shape, dtype, data);
    reel__free(data);
    return r;
}

reel__ref reel__onnx_exactly(reel_onnx *o, reel__number value, reel_dtype dtype)
{
    return made(o, K_FILL, &(const reel__fill_attrs){value}, REEL_SCALAR, dtype);
}

reel__ref reel__onnx_number(reel_onnx *o, double value, reel_dtype dtype)
{
    return reel__onnx_exactly(o, reel__real(value), dtype);
}

reel__ref reel__onnx_list(reel_onnx *o, int n, const int64_t value[])
{
    return reel__onnx_const(o, REEL_SHAPE(n), REEL_I64, value);
}

bool reel__onnx_is_zero(const reel_onnx *o, reel__ref x)
{
    if (reel_failed()) return false;
    const reel__onnx_graph *g = &o->model->graph;
    const unsigned char *data = x->state ? x->state->data : NULL;
    size_t bytes = reel_dtype_size(x->dtype);
    for (int d = 0; d < x->rank; d++) bytes *= (size_t)x->dim[d];
    for (size_t i = g->initializer.n; !data && i > 0; i--)
        if (strcmp(g->initializer.at[i - 1]->name, x->name) == 0)
            data = g->initializer.at[i - 1]->data;
    for (size_t i = 0; data && i < bytes; i++)
        if (data[i]) return false;
    return data != NULL;
}

/* ---- sizes --------------------------------------------------------------------------------- */

static reel_onnx_ref list_type(int64_t n)
{
    return (reel_onnx_ref){.dtype = REEL_I64, .rank = 1, .dim = {n}};
}

/* i64 [1]: the batch size, from the input that tells it. A size is k b + rest there. */
static reel__ref batch_size(reel_onnx *o)
{
    if (reel_failed()) return NULL;
    if (o->batch_size) return o->batch_size;
    if (!o->batch_from) {
        reel_fail(REEL_ERR_STATE, "%s: no input says how large the batch is", o->op);
        return NULL;
    }
    const char *where = o->where;
    o->where = "batch";
    const int64_t place = o->batch_dim, k = o->batch_from->grow[place];
    const int64_t rest = o->batch_from->dim[place] - k * o->batch;
    reel__ref all = ONNX_NODE("Shape", list_type(o->batch_from->rank), o->batch_from);
    reel__ref b = ONNX_NODE("Gather", list_type(1), all, reel__onnx_list(o, 1, &place));
    reel__onnx_int(o, "axis", 0);
    if (rest) b = ONNX("Sub", b, reel__onnx_list(o, 1, &rest));
    if (k != 1) b = ONNX("Div", b, reel__onnx_list(o, 1, &k));
    o->where = where;
    return o->batch_size = b;
}

reel__ref reel__onnx_sizes(reel_onnx *o, int n, const int64_t value[],
                           const int64_t slope[])
{
    bool fixed = true, ones = true, no_rest = true;
    int64_t rest[REEL_MAX_RANK];
    for (int i = 0; i < n; i++) {
        if (reel__onnx_bent(slope[i])) {
            reel_fail(
                REEL_ERR_UNSUPPORTED,
                "%s: a size that follows from a slice, which clips, would have to be "
                "computed",
                o->op);
            return NULL;
        }
        rest[i] = value[i] - slope[i] * o->batch;
        fixed = fixed && slope[i] == 0;
        ones = ones && slope[i] == 1;
        no_rest = no_rest && rest[i] == 0;
    }
    if (fixed) return reel__onnx_list(o, n, value);
    reel__ref v = batch_size(o);
    if (!ones || n > 1) v = ONNX("Mul", v, reel__onnx_list(o, n, slope));
    return no_rest ? v : ONNX("Add", v, reel__onnx_list(o, n, rest));
}

reel__ref reel__onnx_range(reel_onnx *o, const reel__arange_attrs *a, reel_dtype dtype,
                           int64_t n, int64_t grow)
{
    const reel__number zero = reel__whole(0), one = reel__whole(1);
    if (!grow) return made(o, K_ARANGE, a, REEL_SHAPE(n), dtype);
    const reel_onnx_ref scalar = {.dtype = REEL_I64},
                        row = {.dtype = REEL_I64, .rank = 1, .dim = {n}, .grow = {grow}};
    reel__ref last = ONNX_NODE("Reshape", scalar, reel__onnx_sizes(o, 1, &n, &grow),
                               reel__onnx_list(o, 0, NULL));
    reel__ref v = ONNX_NODE("Range", row, reel__onnx_exactly(o, zero, REEL_I64), last,
                            reel__onnx_exactly(o, one, REEL_I64));
    v = reel__onnx_cast(o, v, dtype);
    if (!reel__number_equal(a->step, one))
        v = ONNX("Mul", v, reel__onnx_exactly(o, a->step, dtype));
    if (reel__number_equal(a->start, zero)) return v;
    return ONNX("Add", v, reel__onnx_exactly(o, a->start, dtype));
}

reel__ref reel__onnx_linspace(reel_onnx *o, const reel__linspace_attrs *a,
                              reel_dtype dtype, int64_t n, int64_t grow)
{
    if (!grow) return made(o, K_LINSPACE, a, REEL_SHAPE(n), dtype);
    reel_fail(REEL_ERR_UNSUPPORTED,
              "%s: a linspace of as many steps as the batch has rows", o->op);
    return NULL;
}

reel__ref reel__onnx_full(reel_onnx *o, reel__number value, reel_onnx_ref type)
{
    bool one = true;
    for (int i = 0; i < type.rank; i++) one = one && type.dim[i] == 1 && !type.grow[i];
    if (one) {
        reel_shape shape = {.rank = type.rank};
        memcpy(shape.dim, type.dim, sizeof shape.dim);
        return made(o, K_FILL, &(const reel__fill_attrs){value}, shape, type.dtype);
    }
    return ONNX_NODE("Expand", type, reel__onnx_exactly(o, value, type.dtype),
                     reel__onnx_sizes(o, type.rank, type.dim, type.grow));
}

/* ---- what many rules need ------------------------------------------------------------------ */

reel__ref reel__onnx_cast(reel_onnx *o, reel__ref x, reel_dtype dtype)
{
    if (reel_failed() || x->dtype == dtype) return reel_failed() ? NULL : x;
    reel_onnx_ref type = *x;
    type.dtype = dtype;
    reel__ref y = ONNX_NODE("Cast", type, x);
    reel__onnx_int(o, "to", (int64_t)reel__onnx_dtype_of(dtype));
    return y;
}

/* Whether x has this shape already. */
static bool same_shape(reel__ref x, reel__ref y)
{
    bool same = x->rank == y->rank;
    for (int i = 0; same && i < x->rank; i++) same = reel__onnx_same_size(x, i, y, i);
    return same;
}

/* Whether a size that is computed is 0 at the smallest batch, or at all. */
static bool may_vanish(const reel_onnx *o, const reel_onnx_ref *type, int i)
{
    int64_t down = o->batch && !reel__onnx_bent(type->grow[i]) ? o->batch - 1 : 0;
    return type->dim[i] - type->grow[i] * down <= 0;
}

/* 0 stands for x's size at that place, -1 for what is left: so no size that grows is written,
 * unless two of them grow elsewhere, or the tensor is empty and -1 would be open. */
reel__ref reel__onnx_reshape(reel_onnx *o, reel__ref x, reel_onnx_ref type)
{
    if (reel_failed() || same_shape(x, &type)) return reel_failed() ? NULL : x;
    int64_t dim[REEL_MAX_RANK];
    int open = 0, zero = 0;
    bool empty = false;
    for (int i = 0; i < type.rank; i++) {
        bool copied = i < x->rank && reel__onnx_same_size(x, i, &type, i) &&
                      (type.grow[i] || !type.dim[i]);
        dim[i] = copied ? 0 : type.grow[i] ? -1 : type.dim[i];
        open += dim[i] == -1;
        zero += !copied && dim[i] == 0;
        empty = empty || (!type.dim[i] && !type.grow[i]);
    }
    type.dtype = x->dtype;
    if (open <= 1 && !zero && !(open && empty))
        return ONNX_NODE("Reshape", type, x, reel__onnx_list(o, type.rank, dim));
    bool vanishes = false;
    for (int i = 0; i < type.rank; i++) vanishes = vanishes || may_vanish(o, &type, i);
    if (vanishes && o->opset < 14) {
        reel_fail(REEL_ERR_UNSUPPORTED, "%s: opset %d cannot reshape to a size of 0",
                  o->op, o->opset);
        return NULL;
    }
    reel__ref y = ONNX_NODE("Reshape", type, x,
                            reel__onnx_sizes(o, type.rank, type.dim, type.grow));
    if (vanishes) reel__onnx_int(o, "allowzero", 1);
    return y;
}

reel__ref reel__onnx_as(reel_onnx *o, reel__ref x, reel_onnx_ref type)
{
    if (reel_failed() || !x->state) return reel__onnx_reshape(o, x, type);
    type.name = x->name;
    type.dtype = x->dtype;
    type.state = x->state;
    return reel__onnx_copy(o->model, &type, sizeof type);
}

/* Sizes that x has already are left 1, which Expand takes for x's. */
reel__ref reel__onnx_expand(reel_onnx *o, reel__ref x, reel_onnx_ref type)
{
    if (reel_failed() || same_shape(x, &type)) return reel_failed() ? NULL : x;
    int64_t dim[REEL_MAX_RANK], grow[REEL_MAX_RANK];
    int lead = type.rank - x->rank;
    for (int i = 0; i < type.rank; i++) {
        bool kept = i >= lead && reel__onnx_same_size(x, i - lead, &type, i);
        dim[i] = kept ? 1 : type.dim[i];
        grow[i] = kept ? 0 : type.grow[i];
    }
    type.dtype = x->dtype;
    return ONNX_NODE("Expand", type, x, reel__onnx_sizes(o, type.rank, dim, grow));
}

/* Axes of ReduceSum are an operand since opset 13, those of the others since 18. */
reel__ref reel__onnx_reduce(reel_onnx *o, const char *op, reel__ref x, int64_t mask)
{
    if (reel_failed() || !mask) return reel_failed() ? NULL : x;
    int64_t axes[REEL_MAX_RANK];
    int n = 0;
    reel_onnx_ref type = *x;
    for (int i = 0; i < x->rank; i++) {
        if (!(mask >> i & 1)) continue;
        axes[n++] = i;
        type.dim[i] = 1;
        type.grow[i] = 0;
    }
    bool operand = o->opset >= (strcmp(op, "ReduceSum") == 0 ? 13 : 18);
    reel__ref y = ONNX_NODE(op, type, x, operand ? reel__onnx_list(o, n, axes) : NULL);
    if (!operand) reel__onnx_ints(o, "axes", n, axes);
    reel__onnx_int(o, "keepdims", 1);
    return y;
}

reel__ref reel__onnx_transpose(reel_onnx *o, reel__ref x)
{
    if (reel_failed()) return NULL;
    reel_onnx_ref type = *x;
    int64_t perm[REEL_MAX_RANK];
    int r = x->rank;
    for (int i = 0; i < r; i++) {
        perm[i] = i < r - 2 ? i : 2 * r - 3 - i;
        type.dim[i] = x->dim[perm[i]];
        type.grow[i] = x->grow[perm[i]];
    }
    reel__ref y = ONNX_NODE("Transpose", type, x);
    reel__onnx_ints(o, "perm", r, perm);
    return y;
}
