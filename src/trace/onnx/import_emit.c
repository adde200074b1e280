/* import_emit.c: nodes, and what the public functions do before they call apply(): copies in
 * the memory order that a record wants, expanded batches, reduced dimensions dropped. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/onnx/import.h"

/* Largest size of a dimension: products of a few, and of attributes below 2^20, stay far from
 * 2^63, so that no shape rule overflows. */
#define DIM_MAX (INT64_C(1) << 40)

const reel__meta *reel__im_meta(const reel__import *im, int v)
{
    static const reel__meta none;
    return v < 0 ? &none : &im->g->value[v].meta;
}

/* ---- one node ----------------------------------------------------------------------------- */

/* How many inputs there are, and which may be absent: what is left for the record's rule. */
static bool inputs_fit(const reel__op *op, int n, const int in[])
{
    if (op->n_in >= 0 ? n != op->n_in : n < 1 || n > REEL_OP_MAX_IN) {
        reel_fail(REEL_ERR_INTERNAL, "%s: %d inputs; it takes %d", op->name, n,
                  op->n_in >= 0 ? op->n_in : REEL_OP_MAX_IN);
        return false;
    }
    for (int k = 0; k < n; k++)
        if (in[k] < 0 && !(k < 8 && op->optional >> k & 1)) {
            reel_fail(REEL_ERR_FORMAT, "%s: input %d is absent", op->name, k);
            return false;
        }
    return true;
}

static reel_status check_size(const reel__op *op, const reel__meta *m)
{
    for (int d = 0; d < m->rank; d++)
        if (m->dim[d] > DIM_MAX)
            return reel_fail(REEL_ERR_UNSUPPORTED, "%s: size %" PRId64 " of a dimension",
                             op->name, m->dim[d]);
    return REEL_OK;
}

/* The module that a node's name says: exporters, ours and others, write "path/Operator" or
 * "path/Operator_3". A name that is not made so stands as it is. */
static const char *module_path(const reel__onnx_node *node, char *path, size_t size)
{
    const char *slash = strrchr(node->name, '/');
    const char *last = slash ? slash + 1 : node->name;
    size_t n = strlen(node->op_type);
    if (strncmp(last, node->op_type, n) != 0) return node->name;
    if (last[n] == '_') n += 1 + strspn(last + n + 1, "0123456789");
    if (last[n]) return node->name;
    size_t length = slash ? (size_t)(slash - node->name) : 0;
    if (length >= size) return node->name;
    memcpy(path, node->name, length);
    path[length] = '\0';
    return path;
}

void reel__im_emit_all(reel__import *im, const reel__op *op, const void *attrs, int n,
                       const int in[], int out[])
{
    const reel__meta *meta[REEL_OP_MAX_IN];
    reel__meta made[REEL_OP_MAX_OUT];
    for (int k = 0; k < op->n_out; k++) out[k] = REEL_NO_VALUE;
    if (reel_failed() || !inputs_fit(op, n, in)) return;
    for (int k = 0; k < n; k++) meta[k] = in[k] < 0 ? NULL : reel__im_meta(im, in[k]);
    if (reel__infer(op, attrs, meta, n, made)) return;
    for (int k = 0; k < op->n_out; k++)
        if (made[k].rank >= 0 && check_size(op, &made[k])) return;
    for (int k = 0; k < op->n_out; k++) {
        if (made[k].rank < 0) continue;
        out[k] = reel__graph_add_value(im->g, REEL_VALUE_NODE, &made[k], NULL, NULL);
        if (out[k] < 0) return;
    }
    const reel__call c = {op, n, op->n_out, NULL, NULL, attrs, 0, false};
    char path[512];
    const char *where = module_path(im->node, path, sizeof path);
    if (reel__graph_add_node(im->g, &c, in, out, where) < 0) return;
    reel__im_fold(im, op, attrs, n, in, out);
}

int reel__im_emit(reel__import *im, const reel__op *op, const void *attrs, int n,
                  const int in[])
{
    int out[REEL_OP_MAX_OUT];
    reel__im_emit_all(im, op, attrs, n, in, out);
    return reel_failed() ? REEL_NO_VALUE : out[0];
}

/* ---- memory and dtype ----------------------------------------------------------------------- */

static int copy(reel__import *im, int x, reel_dtype dtype, reel_memory_format format)
{
    const reel__cast_attrs a = {dtype, format};
    return CALL(copy, &a, x);
}

int reel__im_cast(reel__import *im, int x, reel_dtype dtype)
{
    return META(x)->dtype == dtype ? x : copy(im, x, dtype, REEL_PRESERVE);
}

int reel__im_contiguous(reel__import *im, int x)
{
    if (reel__is_contiguous(META(x))) return x;
    return copy(im, x, META(x)->dtype, REEL_CONTIGUOUS);
}

int reel__im_channels_last(reel__import *im, int x)
{
    if (META(x)->rank != 4 || reel__is_channels_last(META(x))) return x;
    return copy(im, x, META(x)->dtype, REEL_CHANNELS_LAST);
}

/* ---- views -------------------------------------------------------------------------------------- */

static reel__shape_attrs shape_attrs(reel_shape s)
{
    reel__shape_attrs a = {.rank = s.rank};
    memcpy(a.dim, s.dim, (size_t)s.rank * sizeof *a.dim);
    return a;
}

static bool valid_shape(const reel__import *im, int x, reel_shape s, reel__meta *to)
{
    *to = reel__meta_of(s, META(x)->dtype, META(x)->device);
    return !reel_failed() && x >= 0 && !reel__meta_check("shape", to);
}

int reel__im_reshape(reel__import *im, int x, reel_shape s)
{
    reel__meta to;
    if (!valid_shape(im, x, s, &to)) return REEL_NO_VALUE;
    return reel__same_shape(&to, META(x)) ? x : reel__im_reshape_as(im, x, s, s.dim);
}

int reel__im_reshape_as(reel__import *im, int x, reel_shape s, const int64_t asked[])
{
    reel__meta to;
    if (!valid_shape(im, x, s, &to)) return REEL_NO_VALUE;
    if (reel__numel(&to) != reel__numel(META(x))) {
        reel_fail(REEL_ERR_SHAPE, "%s cannot become %s: other number of elements",
                  SHOW(META(x)), SHOW(&to));
        return REEL_NO_VALUE;
    }
    reel__shape_attrs a = {.rank = s.rank};
    memcpy(a.dim, asked, (size_t)s.rank * sizeof *a.dim);
    if (!reel__view_strides(META(x), &to)) x = reel__im_contiguous(im, x);
    return CALL(reshape, &a, x);
}

int reel__im_permute(reel__import *im, int x, const int64_t dims[])
{
    reel__shape_attrs a = {.rank = META(x)->rank};
    bool still = true;
    for (int i = 0; i < a.rank; i++) {
        a.dim[i] = dims[i];
        still = still && dims[i] == i;
    }
    return still ? x : CALL(permute, &a, x);
}

int reel__im_expand(reel__import *im, int x, reel_shape s)
{
    reel__meta to;
    if (!valid_shape(im, x, s, &to)) return REEL_NO_VALUE;
    reel__shape_attrs a = shape_attrs(s);
    int lead = s.rank - META(x)->rank;
    for (int i = 0; i < s.rank; i++) /* what stays stays at any size */
        if (i >= lead && s.dim[i] == META(x)->dim[i - lead]) a.dim[i] = -1;
    return reel__same_shape(&to, META(x)) ? x : CALL(expand, &a, x);
}

int reel__im_slice(reel__import *im, int x, int dim, int64_t start, int64_t end,
                   int64_t step)
{
    const reel__slice_attrs a = {dim, start, end, step, REEL_SLICE_CLIPS};
    return start == 0 && end == INT64_MAX && step == 1 ? x : CALL(slice, &a, x);
}

int reel__im_narrow(reel__import *im, int x, int dim, int64_t start, int64_t length)
{
    const reel__slice_attrs a = {dim, start, start + length, 1, REEL_SLICE_INSIDE};
    return start == 0 && length == META(x)->dim[dim] ? x : CALL(slice, &a, x);
}

int reel__im_drop_dims(reel__import *im, int x, int64_t mask)
{
    reel_shape s = {.rank = 0};
    int64_t asked[REEL_MAX_RANK];
    for (int d = 0; d < META(x)->rank; d++) {
        if (mask >> d & 1) continue;
        asked[s.rank] = REEL_SIZE_OF(d);
        s.dim[s.rank++] = META(x)->dim[d];
    }
    return reel__im_reshape_as(im, x, s, asked);
}

int64_t reel__im_count(const reel__meta *m, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= m->dim[i];
    return n;
}

int reel__im_flatten(reel__import *im, int x, int axis)
{
    const reel__meta *m = META(x);
    const int64_t before = reel__im_count(m, 0, axis),
                  after = reel__im_count(m, axis, m->rank);
    return reel__im_reshape_as(im, x, REEL_SHAPE(before, after),
                               (const int64_t[]){after ? REEL_INFERRED : before, after});
}

/* ---- joining, padding --------------------------------------------------------------------------- */

int reel__im_pad(reel__import *im, int x, const int64_t before[], const int64_t after[],
                 reel__number value)
{
    reel__pad_attrs a = {.value = value};
    bool any = false;
    for (int d = 0; d < META(x)->rank; d++) {
        if (before[d] < 0 || before[d] > DIM_MAX || after[d] < 0 || after[d] > DIM_MAX) {
            reel_fail(REEL_ERR_UNSUPPORTED,
                      "padding %" PRId64 " and %" PRId64 " of dimension %d", before[d],
                      after[d], d);
            return REEL_NO_VALUE;
        }
        a.before[d] = before[d];
        a.after[d] = after[d];
        any = any || before[d] || after[d];
    }
    return any ? CALL(pad, &a, x) : x;
}

int reel__im_cat(reel__import *im, int n, const int x[], int dim)
{
    const reel__dim_attrs a = {dim};
    if (n <= REEL_OP_MAX_IN) return reel__im_emit(im, &reel__cat, &a, n, x);
    /* A record takes 64 inputs: the halves first. */
    int half[2] = {reel__im_cat(im, n / 2, x, dim),
                   reel__im_cat(im, n - n / 2, x + n / 2, dim)};
    return reel__im_emit(im, &reel__cat, &a, 2, half);
}

/* ---- matmul: broadcast batches, vectors as matrices ------------------------------------------------ */

static int expand_batch(reel__import *im, int x, const reel__meta *batch)
{
    reel_shape s = reel__shape(batch);
    const reel__meta *m = META(x);
    s.dim[s.rank] = m->dim[m->rank - 2];
    s.dim[s.rank + 1] = m->dim[m->rank - 1];
    s.rank += 2;
    return reel__im_expand(im, x, s);
}

/* Any number of rows by one matrix: [..., k] [k, n] is one product. */
static int rows_by_matrix(reel__import *im, int x, int y)
{
    reel_shape s = reel__shape(META(x));
    int rows = reel__im_flatten(im, x, s.rank - 1);
    s.dim[s.rank - 1] = META(y)->dim[1];
    return reel__im_reshape(im, CALL(matmul, NULL, rows, y), s);
}

int reel__im_matmul(reel__import *im, int x, int y)
{
    if (META(x)->rank < 2 || META(y)->rank < 2) {
        reel_fail(REEL_ERR_FORMAT, "%s by %s: matrices have rank 2 or more",
                  SHOW(META(x)), SHOW(META(y)));
        return REEL_NO_VALUE;
    }
    if (META(x)->rank > 2 && META(y)->rank == 2) return rows_by_matrix(im, x, y);
    reel__meta a = *META(x), b = *META(y), batch = a;
    a.rank -= 2;
    b.rank -= 2;
    if (!reel__broadcast(&a, &b, &batch)) {
        reel_fail(REEL_ERR_SHAPE, "batches of %s and %s do not broadcast", SHOW(META(x)),
                  SHOW(META(y)));
        return REEL_NO_VALUE;
    }
    int left = expand_batch(im, x, &batch), right = expand_batch(im, y, &batch);
    return CALL(matmul, NULL, left, right);
}

/* ---- reductions and arithmetic with numbers ---------------------------------------------------------- */

static int reduce(reel__import *im, const reel__op *op, int x, reel__mask_attrs a,
                  bool keep)
{
    int y = reel__im_emit(im, op, &a, 1, &x);
    if (keep || y < 0) return y;
    return reel__im_drop_dims(im, y, a.mask);
}

int reel__im_reduce(reel__import *im, const reel__op *op, int x, int64_t mask,
                    double scale, bool keep)
{
    return reduce(im, op, x, (reel__mask_attrs){mask, 0, scale}, keep);
}

int reel__im_mean(reel__import *im, int x, int64_t mask, bool keep)
{
    return reduce(im, &reel__sum, x, (reel__mask_attrs){mask, 1, 1}, keep);
}

int reel__im_scale(reel__import *im, int x, double factor)
{
    const reel__scalar_attrs a = reel__scalars(factor, 0);
    return factor == 1 ? x : CALL(mul_scalar, &a, x);
}

int reel__im_shift(reel__import *im, int x, double summand)
{
    const reel__scalar_attrs a = reel__scalars(summand, 0);
    return summand == 0 ? x : CALL(add_scalar, &a, x);
}

/* ---- constants -------------------------------------------------------------------------------------------- */

static reel__make_attrs make_attrs(reel_shape s, reel_dtype dtype)
{
    return (reel__make_attrs){.shape = shape_attrs(s), .dtype = dtype};
}

int reel__im_full(reel__import *im, reel_shape s, reel__number value, reel_dtype dtype)
{
    reel__make_attrs a = make_attrs(s, dtype);
    a.kernel.fill.value = value;
    return reel__im_emit(im, &reel__full, &a, 0, NULL);
}

int reel__im_scalar(reel__import *im, double value, int x)
{
    return reel__im_full(im, REEL_SCALAR, reel__real(value), META(x)->dtype);
}

int reel__im_arange(reel__import *im, reel__number start, reel__number end,
                    reel__number step, reel_dtype dtype)
{
    reel__make_attrs a = make_attrs(REEL_SCALAR, dtype);
    a.kernel.arange = (reel__arange_attrs){start, end, step};
    return reel__im_emit(im, &reel__arange, &a, 0, NULL);
}

int reel__im_count_from(reel__import *im, int64_t start, int64_t n)
{
    return reel__im_arange(im, reel__whole(start), reel__whole(start + n), reel__whole(1),
                           REEL_I64);
}

int reel__im_const(reel__import *im, reel_shape s, reel_dtype dtype, const void *data)
{
    if (reel_failed()) return REEL_NO_VALUE;
    reel__meta m = reel__meta_of(s, dtype, (reel_device){REEL_CPU, 0});
    reel_tensor *t = reel__tensor_new(&m, NULL);
    if (!t) return REEL_NO_VALUE;
    memcpy(reel__ptr(t), data, (size_t)reel__numel(&m) * reel_dtype_size(dtype));
    int v = reel__graph_add_value(im->g, REEL_VALUE_CONST, &m, NULL, t);
    reel__tensor_release(t);
    return v;
}
