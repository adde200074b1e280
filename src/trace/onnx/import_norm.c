/* import_norm.c: normalizations. */
#include <inttypes.h>
#include <string.h>

#include "trace/onnx/import.h"

static int64_t all_dims(const reel__meta *m)
{
    return (INT64_C(1) << m->rank) - 1;
}

/* v [c] as [c, 1, ...], to go with x [n, c, ...]. */
static int as_column(reel__import *im, int v, int rank)
{
    reel_shape s = {.rank = rank - 1};
    if (reel_failed()) return REEL_NO_VALUE;
    if (META(v)->rank != 1) {
        reel_fail(REEL_ERR_FORMAT, "%s must be a number a channel", SHOW(META(v)));
        return REEL_NO_VALUE;
    }
    for (int d = 0; d < s.rank; d++) s.dim[d] = d ? 1 : META(v)->dim[0];
    return reel__im_reshape(im, v, s);
}

/* ---- BatchNormalization, with the statistics that were learned -------------------------------- */

static void batch_norm(reel__import *im)
{
    int x = IN(0), weight = IN(1), bias = IN(2);
    int mean = reel__im_in_buffer(im, 3), var = reel__im_in_buffer(im, 4);
    const reel__batch_norm_attrs a = {.eps = reel__im_float(im, "epsilon", 1e-5f),
                                      .momentum =
                                          1 - reel__im_float(im, "momentum", 0.9f)};
    if (reel__im_int(im, "training_mode", 0) || reel__im_wants_out(im, 1) ||
        (im->opset < 7 && !reel__im_int(im, "is_test", 0)))
        reel_fail(REEL_ERR_UNSUPPORTED, "training_mode is set, or running statistics are "
                                        "results: export the model in evaluation mode");
    if (reel__im_int(im, "spatial", 1) != 1)
        reel_fail(REEL_ERR_UNSUPPORTED, "spatial 0; statistics are those of a channel");
    if (!(a.eps >= 0))
        reel_fail(REEL_ERR_FORMAT, "epsilon %g must not be negative", a.eps);
    reel_dtype dtype = META(x)->dtype;
    reel_dtype wide = dtype == REEL_F16 || dtype == REEL_BF16 ? REEL_F32 : dtype;
    weight = reel__im_cast(im, weight, dtype);
    bias = reel__im_cast(im, bias, dtype);
    mean = reel__im_cast(im, mean, wide);
    var = reel__im_cast(im, var, wide);
    OUT(0, CALL(batch_norm, &a, x, weight, bias, mean, var, REEL_NO_VALUE));
}

/* ---- what layer, instance and group normalization have in common -------------------------------- */

/* (x - mean) / sqrt(var + eps) over the last dims. */
static int normalize(reel__import *im, int x, int64_t dims, double eps)
{
    const reel__layer_norm_attrs a = {.dims = dims, .eps = eps};
    return CALL(layer_norm, &a, reel__im_contiguous(im, x), REEL_NO_VALUE, REEL_NO_VALUE);
}

static double epsilon(reel__import *im)
{
    double eps = reel__im_float(im, "epsilon", 1e-5f);
    if (!(eps >= 0)) reel_fail(REEL_ERR_FORMAT, "epsilon %g must not be negative", eps);
    return eps;
}

static void instance_norm(reel__import *im)
{
    int x = IN(0), rank = META(x)->rank;
    if (rank < 3)
        reel_fail(REEL_ERR_FORMAT, "input %s must be [n, c, ...]", SHOW(META(x)));
    int y = normalize(im, x, rank - 2, epsilon(im));
    y = CALL(mul, NULL, y, as_column(im, IN(1), rank));
    OUT(0, CALL(add, NULL, y, as_column(im, IN(2), rank)));
}

/* [n, c, ...] as [n, groups, c / groups ...]. Scale and bias are of groups in 18, of channels
 * from 21 on. */
static int of_channels(reel__import *im, int v, int64_t channels, int64_t groups,
                       int rank)
{
    const reel__meta m = *META(v);
    if (m.rank == 1 && m.dim[0] == groups && groups != channels) {
        v = reel__im_reshape(im, v, REEL_SHAPE(groups, 1));
        v = reel__im_expand(im, v, REEL_SHAPE(groups, channels / groups));
        v = reel__im_reshape(im, v, REEL_SHAPE(channels));
    }
    return as_column(im, v, rank);
}

static void group_norm(reel__import *im)
{
    int x = IN(0);
    const reel__meta m = *META(x);
    int64_t groups = reel__im_int(im, "num_groups", 0), channels = m.dim[1];
    if (!reel_failed() && (m.rank < 3 || groups < 1 || channels % groups))
        reel_fail(REEL_ERR_SHAPE, "%s in %" PRId64 " groups", SHOW(&m), groups);
    if (reel_failed()) return;
    int64_t each = channels / groups * reel__im_count(&m, 2, m.rank);
    int y = reel__im_reshape(im, x, REEL_SHAPE(m.dim[0], groups, each));
    y = reel__im_reshape(im, normalize(im, y, 1, epsilon(im)), reel__shape(&m));
    y = CALL(mul, NULL, y, of_channels(im, IN(1), channels, groups, m.rank));
    OUT(0, CALL(add, NULL, y, of_channels(im, IN(2), channels, groups, m.rank)));
}

/* v in the shape of the last dimensions of x, which it may be broadcast to. */
static int tail(reel__import *im, int v, const reel__meta *x, int axis)
{
    reel_shape s = {.rank = x->rank - axis};
    memcpy(s.dim, x->dim + axis, (size_t)s.rank * sizeof *s.dim);
    if (v < 0) return v;
    if (META(v)->rank > s.rank) { /* leading dimensions of 1 */
        int64_t lead = reel__im_count(META(v), 0, META(v)->rank - s.rank);
        if (lead == 1) {
            reel_shape own = {.rank = s.rank};
            memcpy(own.dim, META(v)->dim + META(v)->rank - s.rank,
                   (size_t)s.rank * sizeof *own.dim);
            v = reel__im_reshape(im, v, own);
        }
    }
    return reel__im_expand(im, v, s);
}

/* A statistic [...] as ONNX has it, [..., 1, 1]. */
static int with_ones(reel__import *im, int v, int rank)
{
    reel_shape s = reel__shape(META(v));
    while (s.rank < rank) s.dim[s.rank++] = 1;
    return reel__im_reshape(im, v, s);
}

static void layer_norm(reel__import *im)
{
    int x = reel__im_contiguous(im, IN(0)), out[REEL_OP_MAX_OUT];
    const reel__meta m = *META(x);
    int axis = reel__im_axis(reel__im_int(im, "axis", -1), m.rank);
    const reel__layer_norm_attrs a = {.dims = m.rank - axis, .eps = epsilon(im)};
    if (reel_failed()) return;
    int in[3] = {x, tail(im, IN(1), &m, axis), tail(im, IN(2), &m, axis)};
    reel__im_emit_all(im, &reel__layer_norm, &a, 3, in, out);
    if (reel_failed()) return;
    OUT(0, out[0]);
    for (int k = 1; k < 3; k++)
        if (reel__im_wants_out(im, k)) OUT(k, with_ones(im, out[k], m.rank));
}

/* ---- without a mean, or over other dimensions ------------------------------------------------------ */

/* x / sqrt(mean(x^2) + eps) scale */
static void rms_norm(reel__import *im)
{
    int x = IN(0);
    const reel__meta m = *META(x);
    int axis = reel__im_axis(reel__im_int(im, "axis", -1), m.rank);
    int64_t mask = all_dims(&m) & ~((INT64_C(1) << axis) - 1);
    const double n = (double)reel__im_count(&m, axis, m.rank);
    const reel__norm_attrs a = {.mask = mask, .scale = 1 / n, .eps = epsilon(im)};
    int y = CALL(div, NULL, x, CALL(norm, &a, x));
    OUT(0, CALL(mul, NULL, y, IN(1)));
}

/* x / |x|, by the norm or the sum of sizes; 0 where all are. */
static void lp_norm(reel__import *im)
{
    int x = IN(0), axis = reel__im_axis(reel__im_int(im, "axis", -1), META(x)->rank);
    int64_t p = reel__im_int(im, "p", 2), mask = INT64_C(1) << axis;
    if (p != 1 && p != 2) reel_fail(REEL_ERR_FORMAT, "p %" PRId64 " must be 1 or 2", p);
    const reel__norm_attrs a = {.mask = mask, .scale = 1};
    int s = p == 2 ? CALL(norm, &a, x)
                   : reel__im_reduce(im, &reel__sum, CALL(abs, NULL, x), mask, 1, true);
    int empty = CALL(eq, NULL, s, reel__im_scalar(im, 0, x));
    s = CALL(where, NULL, empty, reel__im_scalar(im, 1, x), s);
    OUT(0, CALL(div, NULL, x, s));
}

/* (x - mean) / (deviation + 1e-9) */
static void mean_variance_norm(reel__import *im)
{
    int x = IN(0);
    reel__im_list axes = reel__im_ints(im, "axes");
    if (axes.n < 0) axes = (reel__im_list){3, {0, 2, 3}};
    const reel__mask_attrs a = {reel__im_mask(&axes, META(x)->rank), 0, 0};
    int dev = CALL(sub, NULL, x, reel__im_mean(im, x, a.mask, true));
    int s = reel__im_shift(im, CALL(sqrt, NULL, CALL(var, &a, x)), 1e-9);
    OUT(0, CALL(div, NULL, dev, s));
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define RULE(name, from, to, least, most, outs, words, function)                         \
    IMPORT_ROW(name, from, to, least, most, outs, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("BatchNormalization", 1, 6, 5, 5, 5, "epsilon is_test momentum spatial",
         batch_norm),
    RULE("BatchNormalization", 7, 13, 5, 5, 5, "epsilon momentum spatial", batch_norm),
    RULE("BatchNormalization", 14, 0, 5, 5, 3, "epsilon momentum training_mode",
         batch_norm),
    RULE("InstanceNormalization", 1, 0, 3, 3, 1, "epsilon", instance_norm),
    RULE("GroupNormalization", 18, 0, 3, 3, 1, "epsilon num_groups stash_type",
         group_norm),
    RULE("LayerNormalization", 17, 0, 2, 3, 3, "axis epsilon stash_type", layer_norm),
    RULE("RMSNormalization", 23, 0, 2, 2, 1, "axis epsilon stash_type", rms_norm),
    RULE("LpNormalization", 1, 0, 1, 1, 1, "axis p", lp_norm),
    RULE("MeanVarianceNormalization", 9, 0, 1, 1, 1, "axes", mean_variance_norm),
};

const reel__import_family reel__import_norm = {rows, sizeof rows / sizeof *rows};
