/* import_index.c: operators that choose by index. ONNX counts negative indices from the end,
 * records do not. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/onnx/import.h"

/* Whether indices are known to be in range and none negative; those out of it are an error. */
static bool all_positive(reel__import *im, int index, int64_t n)
{
    const reel_tensor *t = reel__im_known(im, index);
    int64_t count = t ? reel__numel(&t->meta) : 0;
    int64_t *at = t ? reel__malloc((size_t)(count + 1) * sizeof *at) : NULL;
    bool positive = at && !reel__im_read(t, at, REEL_I64);
    for (int64_t i = 0; i < count && at && !reel_failed(); i++) {
        positive = positive && at[i] >= 0;
        if (at[i] < -n || at[i] >= n)
            reel_fail(REEL_ERR_SHAPE, "index %" PRId64 " of a size of %" PRId64, at[i],
                      n);
    }
    reel__free(at);
    return positive;
}

/* index < 0 ? index + n : index */
static int wrapped(reel__import *im, int index, int64_t n)
{
    reel_dtype dtype = META(index)->dtype;
    if (dtype != REEL_I64 && dtype != REEL_I32)
        reel_fail(REEL_ERR_FORMAT, "indices %s must be i64 or i32", SHOW(META(index)));
    if (reel_failed() || all_positive(im, index, n)) return index;
    int negative = CALL(lt, NULL, index, reel__im_scalar(im, 0, index));
    int other = reel__im_shift(im, index, (double)n);
    return CALL(where, NULL, negative, other, index);
}

/* ---- Gather: x [.., m, ..] by index [i, j] -> [.., i, j, ..] ------------------------------- */

/* One known index: a slice, and the dimension dropped. */
static bool by_one(reel__import *im, int x, int index, int axis)
{
    reel__number number;
    int64_t n = META(x)->dim[axis];
    if (META(index)->rank != 0 || !reel__im_number(im, index, &number)) return false;
    const int64_t at = reel__number_i64(number);
    if (at < -n || at >= n) {
        reel_fail(REEL_ERR_SHAPE, "index %" PRId64 " of a size of %" PRId64, at, n);
        return true;
    }
    const reel__slice_attrs one = {axis, at, 0, 1, REEL_SLICE_ONE};
    int y = CALL(slice, &one, x);
    OUT(0, reel_failed() ? REEL_NO_VALUE : reel__im_drop_dims(im, y, INT64_C(1) << axis));
    return true;
}

static void gather(reel__import *im)
{
    int x = IN(0), index = IN(1);
    int axis = reel__im_axis(reel__im_int(im, "axis", 0), META(x)->rank);
    if (reel_failed() || by_one(im, x, index, axis)) return;
    const reel__meta m = *META(x), i = *META(index);
    const reel__index_attrs a = {.dim = axis};
    reel_shape s = {.rank = m.rank - 1 + i.rank};
    if (s.rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_UNSUPPORTED, "%s by %s has rank %d; at most %d is possible",
                  SHOW(&m), SHOW(&i), s.rank, REEL_MAX_RANK);
        return;
    }
    int to = 0;
    for (int d = 0; d < axis; d++) s.dim[to++] = m.dim[d];
    for (int d = 0; d < i.rank; d++) s.dim[to++] = i.dim[d];
    for (int d = axis + 1; d < m.rank; d++) s.dim[to++] = m.dim[d];
    index = reel__im_reshape(im, wrapped(im, index, m.dim[axis]),
                             REEL_SHAPE(reel__numel(&i)));
    OUT(0, reel__im_reshape(im, CALL(index_select, &a, x, index), s));
}

/* ---- GatherElements, ScatterElements --------------------------------------------------------- */

static void gather_elements(reel__import *im)
{
    int x = IN(0);
    int axis = reel__im_axis(reel__im_int(im, "axis", 0), META(x)->rank);
    if (reel_failed()) return;
    const reel__index_attrs a = {.dim = axis};
    int index = wrapped(im, IN(1), META(x)->dim[axis]);
    OUT(0, CALL(gather, &a, x, index));
}

static void scatter_elements(reel__import *im)
{
    int x = IN(0);
    int axis = reel__im_axis(reel__im_int(im, "axis", 0), META(x)->rank);
    const char *reduction = reel__im_string(im, "reduction", "none");
    if (strcmp(reduction, "add") != 0)
        reel_fail(REEL_ERR_UNSUPPORTED, "reduction \"%.20s\"; there is only add",
                  reduction);
    if (reel_failed()) return;
    const reel__index_attrs a = {.dim = axis};
    int index = wrapped(im, IN(1), META(x)->dim[axis]);
    OUT(0, CALL(scatter_add, &a, x, index, IN(2)));
}

/* ---- OneHot: index [a, b] -> [a, depth, b]: on where the index says, else off -------------------- */

static void one_hot(reel__import *im)
{
    int index = reel__im_cast(im, IN(0), REEL_I64), values = IN(2);
    int64_t depth = reel__number_i64(reel__im_in_number(im, 1, 0));
    const reel__meta m = *META(index), v = *META(values);
    int axis = reel__im_axis(reel__im_int(im, "axis", -1), m.rank + 1);
    reel_shape column = {.rank = m.rank + 1}, row = column;
    if (reel_failed()) return;
    if (depth < 0 || v.rank != 1 || v.dim[0] != 2)
        reel_fail(REEL_ERR_FORMAT,
                  "depth %" PRId64 ", values %s: >= 0 and [2] are needed", depth,
                  SHOW(&v));
    else if (m.rank == REEL_MAX_RANK || depth >= INT64_C(1) << 40)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "index %s, depth %" PRId64 "; of rank 7 and below 2^40 are possible",
                  SHOW(&m), depth);
    if (reel_failed()) return;
    for (int d = 0, from = 0; d < row.rank; d++) {
        column.dim[d] = d == axis ? depth : 1;
        row.dim[d] = d == axis ? 1 : m.dim[from++];
    }
    int place = reel__im_count_from(im, 0, depth);
    int hit = CALL(eq, NULL, reel__im_reshape(im, wrapped(im, index, depth), row),
                   reel__im_reshape(im, place, column));
    int off = reel__im_reshape(im, reel__im_narrow(im, values, 0, 0, 1), REEL_SCALAR);
    int on = reel__im_reshape(im, reel__im_narrow(im, values, 0, 1, 1), REEL_SCALAR);
    OUT(0, CALL(where, NULL, hit, on, off));
}

#define RULE(name, from, least, most, words, function)                                   \
    IMPORT_ROW(name, from, 0, least, most, 1, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("Gather", 1, 2, 2, "axis", gather),
    RULE("GatherElements", 11, 2, 2, "axis", gather_elements),
    RULE("ScatterElements", 16, 3, 3, "axis reduction", scatter_elements),
    RULE("OneHot", 9, 3, 3, "axis", one_hot),
};

const reel__import_family reel__import_index = {rows, sizeof rows / sizeof *rows};
