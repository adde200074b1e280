/* import_reduce.c: reductions, softmax, cumulated choices. */
#include <inttypes.h>

#include "trace/onnx/import.h"

/* ---- which dimensions -------------------------------------------------------------------- */

typedef struct reduction {
    int x;
    int64_t mask;
    bool keep, none; /* none: an empty list, which means to leave x as it is */
} reduction;

static reduction operands(reel__import *im)
{
    reduction r = {.x = IN(0)};
    int rank = META(r.x)->rank;
    reel__im_list axes = reel__im_list_or_in(im, "axes", 1);
    r.keep = reel__im_int(im, "keepdims", 1) != 0;
    r.none = axes.n <= 0 && reel__im_int(im, "noop_with_empty_axes", 0) != 0;
    r.mask = axes.n > 0 ? reel__im_mask(&axes, rank)
             : r.none   ? 0
                        : (INT64_C(1) << rank) - 1;
    return r;
}

/* y without the dimensions of the mask. */
static int without(reel__import *im, int y, int64_t mask)
{
    reel_shape s = {.rank = 0};
    if (y < 0) return y;
    for (int d = 0; d < META(y)->rank; d++)
        if (!(mask >> d & 1)) s.dim[s.rank++] = META(y)->dim[d];
    return reel__im_reshape(im, y, s);
}

/* The largest of nothing is the lowest number in ONNX, an error in records. */
static int reduce_extreme_of(reel__import *im, const reel__op *op, const reduction *r)
{
    const reel__meta *m = META(r->x);
    for (int d = 0; d < m->rank && !reel_failed(); d++)
        if ((r->mask >> d & 1) && m->dim[d] == 0)
            reel_fail(REEL_ERR_UNSUPPORTED, "no element to choose from in %s", SHOW(m));
    return reel__im_reduce(im, op, r->x, r->mask, 1, r->keep);
}

static int reduce(reel__import *im, const reel__op *op, int x, const reduction *r)
{
    return reel__im_reduce(im, op, x, r->mask, 1, r->keep);
}

/* Sums of whole numbers are i64 in records, and as x in ONNX. */
static int sum(reel__import *im, int x, const reduction *r)
{
    return reel__im_cast(im, reduce(im, &reel__sum, x, r), META(x)->dtype);
}

/* ---- ReduceX ------------------------------------------------------------------------------ */

static void reduce_sum(reel__import *im)
{
    const reduction r = operands(im);
    OUT(0, r.none ? r.x : sum(im, r.x, &r));
}

static void reduce_mean(reel__import *im)
{
    const reduction r = operands(im);
    if (!reel_failed() && !reel_dtype_is_float(META(r.x)->dtype))
        reel_fail(REEL_ERR_UNSUPPORTED, "a mean of %s", SHOW(META(r.x)));
    OUT(0, reel__im_mean(im, r.x, r.mask, r.keep));
}

static void reduce_extreme(reel__import *im)
{
    const reduction r = operands(im);
    OUT(0, r.none ? r.x : reduce_extreme_of(im, im->row->record, &r));
}

/* x' and then the sum of it: |x|, x^2. */
static void reduce_sum_of(reel__import *im)
{
    const reduction r = operands(im);
    int y = reel__im_emit(im, im->row->record, NULL, 1, &r.x);
    OUT(0, r.none ? y : sum(im, y, &r));
}

/* A norm of nothing but x itself is its size. */
static void reduce_l2(reel__import *im)
{
    const reduction r = operands(im);
    const reel__norm_attrs a = {.mask = r.mask, .scale = 1};
    int y = r.none ? CALL(abs, NULL, r.x) : CALL(norm, &a, r.x);
    OUT(0, r.keep || r.none ? y : without(im, y, r.mask));
}

static void reduce_log_sum(reel__import *im)
{
    const reduction r = operands(im);
    OUT(0, CALL(log, NULL, r.none ? r.x : sum(im, r.x, &r)));
}

/* m + log sum exp(x - m), m the largest: 0 where that is infinite, or NaN would come out. */
static void reduce_log_sum_exp(reel__import *im)
{
    reduction r = operands(im);
    const bool keep = r.keep;
    r.keep = true;
    int m = reduce_extreme_of(im, &reel__max, &r);
    int finite = CALL(isfinite, NULL, m);
    m = CALL(where, NULL, finite, m, reel__im_scalar(im, 0, m));
    int s = reduce(im, &reel__sum, CALL(exp, NULL, CALL(sub, NULL, r.x, m)), &r);
    int y = CALL(add, NULL, m, CALL(log, NULL, s));
    OUT(0, keep ? y : without(im, y, r.mask));
}

/* No record multiplies along a dimension: one slice after the other, which suits what it is
 * used for, the number of elements of a shape. */
static void reduce_prod(reel__import *im)
{
    const reduction r = operands(im);
    int y = r.x;
    for (int d = 0; d < META(r.x)->rank && !reel_failed(); d++) {
        int64_t n = META(y)->dim[d];
        if (!(r.mask >> d & 1)) continue;
        if (n < 1 || n > REEL__IM_LIST) {
            reel_fail(REEL_ERR_UNSUPPORTED,
                      "a product of %" PRId64 " elements; 1 to %d "
                      "are possible",
                      n, REEL__IM_LIST);
            return;
        }
        int product = reel__im_narrow(im, y, d, 0, 1);
        for (int64_t i = 1; i < n; i++)
            product = CALL(mul, NULL, product, reel__im_narrow(im, y, d, i, 1));
        y = product;
    }
    reel_shape s = {.rank = 0};
    for (int d = 0; d < META(y)->rank; d++)
        if (r.keep || !(r.mask >> d & 1)) s.dim[s.rank++] = META(y)->dim[d];
    OUT(0, reel__im_reshape(im, y, s));
}

/* ---- ArgMax, ArgMin ------------------------------------------------------------------------ */

/* Of equal values records choose the first; the last is the first from behind. */
static void arg(reel__import *im)
{
    int x = IN(0), axis = reel__im_axis(reel__im_int(im, "axis", 0), META(x)->rank);
    bool keep = reel__im_int(im, "keepdims", 1) != 0,
         last = reel__im_int(im, "select_last_index", 0) != 0;
    if (reel_failed()) return;
    const reel__mask_attrs behind = {.mask = INT64_C(1) << axis};
    const double n = (double)META(x)->dim[axis];
    if (last) x = CALL(flip, &behind, x);
    int y = reel__im_reduce(im, im->row->record, x, behind.mask, 0, keep);
    OUT(0, last ? reel__im_shift(im, reel__im_scale(im, y, -1), n - 1) : y);
}

/* ---- Softmax, LogSoftmax --------------------------------------------------------------------- */

int reel__im_softmax(reel__import *im, const reel__op *op, int x, int64_t at)
{
    const reel__dim_attrs a = {reel__im_axis(at, META(x)->rank)};
    return reel__im_emit(im, op, &a, 1, &x);
}

int reel__im_softmax_flat(reel__import *im, const reel__op *op, int x, int64_t at)
{
    const reel_shape s = reel__shape(META(x));
    int axis = reel__im_axis(at, s.rank);
    if (reel_failed()) return REEL_NO_VALUE;
    bool last = axis == s.rank - 1;
    const reel__dim_attrs a = {last ? axis : 1};
    if (!last) x = reel__im_flatten(im, x, axis);
    return reel__im_reshape(im, reel__im_emit(im, op, &a, 1, &x), s);
}

static void softmax(reel__import *im)
{
    OUT(0, reel__im_softmax(im, im->row->record, IN(0), reel__im_int(im, "axis", -1)));
}

static void softmax_flat(reel__import *im)
{
    OUT(0,
        reel__im_softmax_flat(im, im->row->record, IN(0), reel__im_int(im, "axis", 1)));
}

/* ---- the table --------------------------------------------------------------------------------- */

/* Axes became an input in 13 for the sum, in 18 for the others. */
#define REDUCE(name, changed, function, rec)                                             \
    IMPORT_ROW(name, 1, (changed)-1, 1, 1, 1, "axes keepdims", .rule = (function),       \
               .record = (rec)),                                                         \
        IMPORT_ROW(name, changed, 0, 1, 2, 1, "keepdims noop_with_empty_axes",           \
                   .rule = (function), .record = (rec))
#define ARG(name, rec)                                                                   \
    IMPORT_ROW(name, 1, 0, 1, 1, 1, "axis keepdims select_last_index", .rule = arg,      \
               .record = &reel__##rec)
#define SOFTMAX(name, rec)                                                               \
    IMPORT_ROW(name, 1, 12, 1, 1, 1, "axis", .rule = softmax_flat,                       \
               .record = &reel__##rec),                                                  \
        IMPORT_ROW(name, 13, 0, 1, 1, 1, "axis", .rule = softmax,                        \
                   .record = &reel__##rec)

static const reel__import_row rows[] = {
    REDUCE("ReduceSum", 13, reduce_sum, NULL),
    REDUCE("ReduceMean", 18, reduce_mean, NULL),
    REDUCE("ReduceMax", 18, reduce_extreme, &reel__max),
    REDUCE("ReduceMin", 18, reduce_extreme, &reel__min),
    REDUCE("ReduceProd", 18, reduce_prod, NULL),
    REDUCE("ReduceL1", 18, reduce_sum_of, &reel__abs),
    REDUCE("ReduceL2", 18, reduce_l2, NULL),
    REDUCE("ReduceSumSquare", 18, reduce_sum_of, &reel__square),
    REDUCE("ReduceLogSum", 18, reduce_log_sum, NULL),
    REDUCE("ReduceLogSumExp", 18, reduce_log_sum_exp, NULL),
    ARG("ArgMax", argmax),
    ARG("ArgMin", argmin),
    SOFTMAX("Softmax", softmax),
    SOFTMAX("LogSoftmax", log_softmax),
};

const reel__import_family reel__import_reduce = {rows, sizeof rows / sizeof *rows};
