/* import_shape.c: operators that move, join and cut. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "trace/onnx/import.h"

/* ---- Reshape, Flatten, Squeeze, Unsqueeze ------------------------------------------------- */

/* Puts sizes for 0 (as it was, unless `zero` means 0) and -1 (what is left). */
static void resolve(const reel__meta *m, reel__im_list *to, bool zero)
{
    int64_t known = 1, n = reel__numel(m);
    int hole = -1;
    for (int i = 0; i < to->n && !reel_failed(); i++) {
        if (to->at[i] == 0 && !zero) {
            if (i >= m->rank)
                reel_fail(REEL_ERR_FORMAT, "size 0 at place %d keeps what %s has not", i,
                          SHOW(m));
            else
                to->at[i] = m->dim[i];
        }
        if (to->at[i] == -1 && hole < 0)
            hole = i;
        else if (to->at[i] < 0 || !reel__checked_mul(known, to->at[i], &known))
            reel_fail(REEL_ERR_FORMAT,
                      "size %" PRId64 " at place %d: sizes are >= 0, one may be -1",
                      to->at[i], i);
    }
    if (hole < 0 || reel_failed()) return;
    if (known == 0 || n % known)
        reel_fail(REEL_ERR_SHAPE,
                  "no size for -1: %s has %" PRId64 " elements, the other sizes make "
                  "%" PRId64,
                  SHOW(m), n, known);
    else
        to->at[hole] = n / known;
}

static void reshape(reel__import *im)
{
    int x = IN(0);
    reel__im_list to = reel__im_list_or_in(im, "shape", 1);
    bool zero = reel__im_int(im, "allowzero", 0) != 0;
    const reel__im_list asked = to;
    int64_t dim[REEL_MAX_RANK] = {0};
    resolve(META(x), &to, zero);
    const reel_shape s = reel__im_shape(&to);
    for (int i = 0; i < s.rank; i++)
        dim[i] = asked.at[i] == 0 && !zero ? REEL_SIZE_OF(i) : asked.at[i];
    OUT(0, reel__im_reshape_as(im, x, s, dim));
}

static void flatten(reel__import *im)
{
    int x = IN(0), rank = META(x)->rank;
    int64_t axis = reel__im_int(im, "axis", 1);
    /* one place behind the last dimension is possible too */
    int at = axis == rank ? rank : reel__im_axis(axis, rank);
    OUT(0, reel_failed() ? REEL_NO_VALUE : reel__im_flatten(im, x, at));
}

static void squeeze(reel__import *im)
{
    int x = IN(0);
    const reel__meta m = *META(x);
    reel__im_list axes = reel__im_list_or_in(im, "axes", 1);
    int64_t mask = reel__im_mask(&axes, m.rank);
    for (int d = 0; d < m.rank && !reel_failed(); d++) {
        if (axes.n < 0 && m.dim[d] == 1) mask |= INT64_C(1) << d;
        if ((mask >> d & 1) && m.dim[d] != 1)
            reel_fail(REEL_ERR_SHAPE, "axis %d of %s is not of size 1", d, SHOW(&m));
    }
    OUT(0, reel_failed() ? REEL_NO_VALUE : reel__im_drop_dims(im, x, mask));
}

static void unsqueeze(reel__import *im)
{
    int x = IN(0);
    const reel__meta m = *META(x);
    reel__im_list axes = reel__im_list_or_in(im, "axes", 1);
    int rank = m.rank + (axes.n > 0 ? axes.n : 0), from = 0;
    if (rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_UNSUPPORTED, "rank %d; at most %d is possible", rank,
                  REEL_MAX_RANK);
        return;
    }
    int64_t mask = reel__im_mask(&axes, rank);
    reel_shape s = {.rank = rank};
    int64_t asked[REEL_MAX_RANK];
    for (int d = 0; d < rank && !reel_failed(); d++) {
        bool is_new = mask >> d & 1;
        asked[d] = is_new ? 1 : REEL_SIZE_OF(from);
        s.dim[d] = is_new ? 1 : m.dim[from++];
    }
    OUT(0, reel_failed() ? REEL_NO_VALUE : reel__im_reshape_as(im, x, s, asked));
}

/* ---- Transpose, Expand, Tile ---------------------------------------------------------------- */

static void transpose(reel__import *im)
{
    int x = IN(0), rank = META(x)->rank;
    reel__im_list perm = reel__im_ints(im, "perm");
    if (perm.n < 0) {
        perm.n = rank;
        for (int d = 0; d < rank; d++) perm.at[d] = rank - 1 - d;
    }
    if (perm.n != rank || reel__im_mask(&perm, rank) != (INT64_C(1) << rank) - 1)
        reel_fail(REEL_ERR_FORMAT, "perm is not an order of the %d dimensions of %s",
                  rank, SHOW(META(x)));
    for (int d = 0; d < rank && !reel_failed(); d++)
        perm.at[d] = reel__im_axis(perm.at[d], rank);
    OUT(0, reel__im_permute(im, x, perm.at));
}

/* Broadcasting in both directions: a size 1 in the list keeps what x has. */
static void expand(reel__import *im)
{
    int x = IN(0);
    reel__im_list list = reel__im_in_ints(im, 1);
    reel_shape s = reel__im_shape(&list);
    reel__meta want = reel__meta_of(s, META(x)->dtype, META(x)->device), both = want;
    if (!reel_failed() && !reel__broadcast(META(x), &want, &both))
        reel_fail(REEL_ERR_SHAPE, "%s does not broadcast to %s", SHOW(META(x)),
                  SHOW(&want));
    OUT(0, reel__im_expand(im, x, reel__shape(&both)));
}

/* Repeats along each dimension: [a, b] times (r, s) is [r, a, s, b] of one [1, a, 1, b]. One
 * dimension at a time, so that rank 8 has room. */
static void tile(reel__import *im)
{
    int x = IN(0), rank = META(x)->rank;
    reel__im_list times = reel__im_in_ints(im, 1);
    if (!reel_failed() && times.n != rank)
        reel_fail(REEL_ERR_FORMAT, "%d repeats for %s", times.n, SHOW(META(x)));
    for (int d = 0; d < rank && !reel_failed(); d++) {
        reel_shape s = reel__shape(META(x));
        int64_t before = reel__im_count(META(x), 0, d),
                rest = reel__im_count(META(x), d, rank), r = times.at[d];
        if (r == 1) continue;
        if (r < 0 || !reel__checked_mul(s.dim[d], r, &s.dim[d]))
            reel_fail(REEL_ERR_FORMAT, "%" PRId64 " repeats of dimension %d", r, d);
        else
            x = reel__im_reshape(
                im,
                reel__im_expand(im, reel__im_reshape(im, x, REEL_SHAPE(before, 1, rest)),
                                REEL_SHAPE(before, r, rest)),
                s);
    }
    OUT(0, x);
}

/* ---- Concat, Split, Slice ---------------------------------------------------------------------- */

/* In groups of 64, which a record takes; groups again, so that there is no limit. */
static void concat(reel__import *im)
{
    int part[REEL_OP_MAX_IN], n = 0, axis = 0;
    for (size_t k = 0; k < im->node->input.n && !reel_failed(); k++) {
        if (k == 0) /* since opset 4 there is no default */
            axis =
                reel__im_axis(reel__im_int(im, "axis", im->opset < 4), META(IN(0))->rank);
        if (n == REEL_OP_MAX_IN) {
            part[0] = reel__im_cat(im, n, part, axis);
            n = 1;
        }
        part[n++] = IN((int)k);
    }
    if (!reel_failed()) OUT(0, reel__im_cat(im, n, part, axis));
}

static void split(reel__import *im)
{
    int x = IN(0), axis = reel__im_axis(reel__im_int(im, "axis", 0), META(x)->rank);
    int outs = (int)im->node->output.n;
    int64_t n = META(x)->dim[axis], start = 0;
    reel__im_list size = reel__im_list_or_in(im, "split", 1);
    if (reel_failed()) return;
    if (size.n < 0 && outs <= REEL__IM_LIST) { /* equal parts, the last may be smaller */
        int64_t parts = reel__im_int(im, "num_outputs", outs);
        int64_t each = parts > 0 ? n / parts + (n % parts != 0) : 0;
        for (size.n = 0; size.n < outs; size.n++) {
            int64_t rest = n - size.n * each;
            size.at[size.n] = rest < 0 ? 0 : rest < each ? rest : each;
        }
    }
    for (int i = 0; i < size.n; i++) {
        if (size.at[i] < 0 || size.at[i] > n - start) {
            start = -1;
            break;
        }
        start += size.at[i];
    }
    if (size.n != outs || start != n) {
        reel_fail(outs > REEL__IM_LIST ? REEL_ERR_UNSUPPORTED : REEL_ERR_SHAPE,
                  "%d outputs and %d sizes, which do not make up axis %d "
                  "of %s",
                  outs, size.n, axis, SHOW(META(x)));
        return;
    }
    start = 0;
    for (int i = 0; i < outs; start += size.at[i++])
        OUT(i, reel__im_narrow(im, x, axis, start, size.at[i]));
}

/* The elements start, start + step, ... before end along one dimension. A step backward is a
 * flip, then a step forward; place i becomes -1 - i, and so the ends that count from either
 * side change sides. */
static int cut(reel__import *im, int x, int dim, int64_t start, int64_t end, int64_t step)
{
    const reel__mask_attrs flip = {.mask = INT64_C(1) << dim};
    if (step > 0) return reel__im_slice(im, x, dim, start, end, step);
    x = CALL(flip, &flip, x);
    return reel__im_slice(im, x, dim, -1 - start, -1 - end,
                          step == INT64_MIN ? INT64_MAX : -step);
}

static void slice(reel__import *im)
{
    int x = IN(0), rank = META(x)->rank;
    reel__im_list start = reel__im_list_or_in(im, "starts", 1),
                  end = reel__im_list_or_in(im, "ends", 2),
                  axis = reel__im_list_or_in(im, "axes", 3);
    reel__im_list step = {.n = -1};
    if (im->opset >= 10) step = reel__im_in_ints(im, 4);
    for (int i = 0; i < start.n && axis.n < 0; i++) axis.at[i] = i;
    if (axis.n < 0) axis.n = start.n;
    if (reel_failed()) return;
    (void)reel__im_mask(&axis, rank);
    if (start.n < 0 || start.n != end.n || start.n != axis.n ||
        (step.n >= 0 && step.n != start.n))
        reel_fail(REEL_ERR_FORMAT, "%d starts, %d ends, %d axes and %d steps", start.n,
                  end.n, axis.n, step.n);
    for (int i = 0; i < start.n && !reel_failed(); i++) {
        int64_t by = step.n < 0 ? 1 : step.at[i];
        if (by == 0)
            reel_fail(REEL_ERR_FORMAT, "step 0 of axis %" PRId64, axis.at[i]);
        else
            x = cut(im, x, reel__im_axis(axis.at[i], rank), start.at[i], end.at[i], by);
    }
    OUT(0, x);
}

/* ---- Pad --------------------------------------------------------------------------------------------- */

/* Negative padding cuts off. */
static void pad(reel__import *im)
{
    int x = IN(0), rank = META(x)->rank;
    reel__im_list pads = reel__im_list_or_in(im, im->opset < 2 ? "paddings" : "pads", 1),
                  axes = {.n = -1};
    if (im->opset >= 18) axes = reel__im_in_ints(im, 3);
    reel__number value = reel__im_has_in(im, 2)
                             ? reel__im_in_number(im, 2, 0)
                             : reel__real(reel__im_float(im, "value", 0));
    const char *mode = reel__im_string(im, "mode", "constant");
    int64_t before[REEL_MAX_RANK] = {0}, after[REEL_MAX_RANK] = {0};
    if (strcmp(mode, "constant") != 0)
        reel_fail(REEL_ERR_UNSUPPORTED, "mode \"%.20s\"; there is only constant", mode);
    for (int d = 0; d < rank && axes.n < 0; d++) axes.at[d] = d;
    if (axes.n < 0) axes.n = rank;
    (void)reel__im_mask(&axes, rank);
    if (!reel_failed() && pads.n != 2 * axes.n)
        reel_fail(REEL_ERR_FORMAT, "%d pads for %d dimensions", pads.n, axes.n);
    for (int i = 0; i < axes.n && !reel_failed(); i++) {
        int d = reel__im_axis(axes.at[i], rank);
        int64_t low = pads.at[i], high = pads.at[axes.n + i], n = META(x)->dim[d];
        if ((low < 0 && low < -n) || (high < 0 && high < -n) ||
            (low < 0 ? low : 0) + (high < 0 ? high : 0) < -n) {
            reel_fail(REEL_ERR_SHAPE, "pads %" PRId64 " and %" PRId64 " of %s", low, high,
                      SHOW(META(x)));
            return;
        }
        int64_t off = low < 0 ? -low : 0, end = high < 0 ? -high : 0;
        x = reel__im_slice(im, x, d, off, end ? -end : INT64_MAX, 1);
        before[d] = low > 0 ? low : 0;
        after[d] = high > 0 ? high : 0;
    }
    OUT(0, reel_failed() ? REEL_NO_VALUE : reel__im_pad(im, x, before, after, value));
}

/* ---- blocks of space and depth ---------------------------------------------------------------------- */

static reel_shape blocks(reel__import *im, int x, int64_t size)
{
    const reel__meta *m = META(x);
    if (m->rank != 4 || size < 1 || size > 1 << 20)
        reel_fail(size > 1 << 20 ? REEL_ERR_UNSUPPORTED : REEL_ERR_FORMAT,
                  "blocks of %" PRId64 " of %s; [n, c, h, w] is needed", size, SHOW(m));
    return reel__shape(m);
}

/* DCR: [n, b, b, c, h, w] -> [n, c, h, b, w, b]; CRD: [n, c, b, b, h, w] likewise. */
static void depth_to_space(reel__import *im)
{
    static const int64_t dcr[] = {0, 3, 4, 1, 5, 2}, crd[] = {0, 1, 4, 2, 5, 3};
    int x = IN(0);
    int64_t b = reel__im_int(im, "blocksize", 0);
    const char *mode = reel__im_string(im, "mode", "DCR");
    reel_shape s = blocks(im, x, b);
    if (reel_failed()) return;
    bool depth_first = strcmp(mode, "CRD") != 0;
    int64_t c = s.dim[1] / (b * b), h = s.dim[2], w = s.dim[3];
    if (s.dim[1] % (b * b) || (depth_first && strcmp(mode, "DCR") != 0)) {
        reel_fail(REEL_ERR_SHAPE,
                  "mode \"%.20s\", %" PRId64 " channels in blocks of "
                  "%" PRId64,
                  mode, s.dim[1], b);
        return;
    }
    reel_shape apart = depth_first ? REEL_SHAPE(s.dim[0], b, b, c, h, w)
                                   : REEL_SHAPE(s.dim[0], c, b, b, h, w);
    x = reel__im_permute(im, reel__im_reshape(im, x, apart), depth_first ? dcr : crd);
    OUT(0, reel__im_reshape(im, x, REEL_SHAPE(s.dim[0], c, h * b, w * b)));
}

/* DCR: [n, c, h, b, w, b] -> [n, b, b, c, h, w]; CRD: -> [n, c, b, b, h, w] */
static void space_to_depth(reel__import *im)
{
    static const int64_t dcr[] = {0, 3, 5, 1, 2, 4}, crd[] = {0, 1, 3, 5, 2, 4};
    int x = IN(0);
    int64_t b = reel__im_int(im, "blocksize", 0);
    const char *mode = reel__im_string(im, "mode", "DCR");
    reel_shape s = blocks(im, x, b);
    if (reel_failed()) return;
    bool depth_first = strcmp(mode, "CRD") != 0;
    int64_t n = s.dim[0], c = s.dim[1], h = s.dim[2] / b, w = s.dim[3] / b;
    if (s.dim[2] % b || s.dim[3] % b || (depth_first && strcmp(mode, "DCR") != 0)) {
        reel_fail(REEL_ERR_SHAPE, "mode \"%.20s\", %s in blocks of %" PRId64, mode,
                  SHOW(META(x)), b);
        return;
    }
    x = reel__im_reshape(im, x, REEL_SHAPE(n, c, h, b, w, b));
    x = reel__im_permute(im, x, depth_first ? dcr : crd);
    OUT(0, reel__im_reshape(im, x, REEL_SHAPE(n, c * b * b, h, w)));
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define RULE(name, from, to, least, most, outs, words, function)                         \
    IMPORT_ROW(name, from, to, least, most, outs, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("Reshape", 1, 4, 1, 1, 1, "shape", reshape),
    RULE("Reshape", 5, 0, 2, 2, 1, "allowzero", reshape),
    RULE("Flatten", 1, 0, 1, 1, 1, "axis", flatten),
    RULE("Squeeze", 1, 12, 1, 1, 1, "axes", squeeze),
    RULE("Squeeze", 13, 0, 1, 2, 1, "", squeeze),
    RULE("Unsqueeze", 1, 12, 1, 1, 1, "axes", unsqueeze),
    RULE("Unsqueeze", 13, 0, 2, 2, 1, "", unsqueeze),
    RULE("Transpose", 1, 0, 1, 1, 1, "perm", transpose),
    RULE("Expand", 8, 0, 2, 2, 1, "", expand),
    RULE("Tile", 6, 0, 2, 2, 1, "", tile),
    RULE("Concat", 1, 0, 1, -1, 1, "axis", concat),
    RULE("Split", 1, 1, 1, 2, -1, "axis split", split),
    RULE("Split", 2, 12, 1, 1, -1, "axis split", split),
    RULE("Split", 13, 0, 1, 2, -1, "axis num_outputs", split),
    RULE("Slice", 1, 9, 1, 1, 1, "axes starts ends", slice),
    RULE("Slice", 10, 0, 3, 5, 1, "", slice),
    RULE("Pad", 1, 1, 1, 1, 1, "mode paddings value", pad),
    RULE("Pad", 2, 10, 1, 1, 1, "mode pads value", pad),
    RULE("Pad", 11, 0, 2, 4, 1, "mode", pad),
    RULE("DepthToSpace", 1, 0, 1, 1, 1, "blocksize mode", depth_to_space),
    RULE("SpaceToDepth", 1, 27, 1, 1, 1, "blocksize", space_to_depth),
    RULE("SpaceToDepth", 28, 0, 1, 1, 1, "blocksize mode", space_to_depth),
};

const reel__import_family reel__import_shape = {rows, sizeof rows / sizeof *rows};
