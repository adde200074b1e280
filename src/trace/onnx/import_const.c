/* import_const.c: constants, sizes as values, matrices of ones and zeros. */
#include <inttypes.h>
#include <string.h>

#include "trace/onnx/import.h"

/* ---- constants ----------------------------------------------------------------------------------------- */

static void constant(reel__import *im)
{
    const reel__onnx_tensor *t = reel__im_tensor(im, "value");
    float f = (float)reel__im_float(im, "value_float", 0);
    int64_t i = reel__im_int(im, "value_int", 0);
    const reel__onnx_attribute *a = reel__onnx_find_attribute(im->node, "value_floats");
    reel__im_list ints = reel__im_ints(im, "value_ints");
    if (t)
        reel__im_out_data(im, 0, t);
    else if (reel__im_has(im, "value_float"))
        OUT(0, reel__im_const(im, REEL_SCALAR, REEL_F32, &f));
    else if (reel__im_has(im, "value_int"))
        OUT(0, reel__im_const(im, REEL_SCALAR, REEL_I64, &i));
    else if (a && a->kind == REEL_ONNX_A_FLOATS)
        OUT(0, reel__im_const(im, REEL_SHAPE((int64_t)a->n), REEL_F32, a->floats));
    else if (ints.n >= 0)
        OUT(0, reel__im_const(im, REEL_SHAPE(ints.n), REEL_I64, ints.at));
    else
        reel_fail(REEL_ERR_FORMAT,
                  "one of value, value_float, value_int, value_floats and "
                  "value_ints must be there");
}

static void constant_of_shape(reel__import *im)
{
    const reel__onnx_tensor *t = reel__im_tensor(im, "value");
    reel__im_list list = reel__im_in_ints(im, 0);
    reel_shape s = reel__im_shape(&list);
    reel_dtype dtype = REEL_F32;
    reel__number value = reel__whole(0);
    if (t && !reel__onnx_dtype_back(t->dtype, &dtype))
        reel_fail(REEL_ERR_UNSUPPORTED, "value is %s", reel__onnx_dtype_name(t->dtype));
    if (t && t->bytes != reel_dtype_size(dtype))
        reel_fail(REEL_ERR_FORMAT, "value must be one number");
    if (reel_failed()) return;
    if (t &&
        !reel__im_number(im, reel__im_const(im, REEL_SCALAR, dtype, t->data), &value))
        return;
    OUT(0, reel__im_full(im, s, value, dtype));
}

/* start, start + delta, ... before limit: as many as the specification says. */
static void range(reel__import *im)
{
    reel__number start = reel__im_in_number(im, 0, 0),
                 limit = reel__im_in_number(im, 1, 0),
                 delta = reel__im_in_number(im, 2, 1);
    OUT(0, reel__im_arange(im, start, limit, delta, META(IN(0))->dtype));
}

static int64_t clip(int64_t at, int rank)
{
    if (at < 0) at += rank;
    return at < 0 ? 0 : at > rank ? rank : at;
}

/* Sizes are known, at the batch size that the graph is built at. */
static void shape(reel__import *im)
{
    const reel__meta m = *META(IN(0));
    int64_t start = clip(reel__im_int(im, "start", 0), m.rank),
            end = clip(reel__im_int(im, "end", m.rank), m.rank);
    OUT(0, reel__im_const(im, REEL_SHAPE(end > start ? end - start : 0), REEL_I64,
                          m.dim + start));
}

static void size(reel__import *im)
{
    int64_t n = reel__numel(META(IN(0)));
    OUT(0, reel__im_const(im, REEL_SCALAR, REEL_I64, &n));
}

/* ---- triangles and unit matrices: comparisons of row and column ------------------------------------ */

/* [rows, columns] bool: column - row compared with k. */
static int diagonal(reel__import *im, const reel__op *op, int64_t rows, int64_t columns,
                    int64_t k)
{
    const int64_t far = INT64_C(1) << 40; /* no matrix is so large */
    k = k < -far ? -far : k > far ? far : k;
    int row = reel__im_count_from(im, k, rows);
    int column = reel__im_count_from(im, 0, columns);
    row = reel__im_reshape(im, row, REEL_SHAPE(rows, 1));
    return reel__im_emit(im, op, NULL, 2, (int[]){column, row});
}

static void trilu(reel__import *im)
{
    int x = IN(0);
    const reel__meta m = *META(x);
    int64_t k = reel__number_i64(reel__im_in_number(im, 1, 0));
    if (m.rank < 2) {
        reel_fail(REEL_ERR_FORMAT, "%s is not a matrix", SHOW(&m));
        return;
    }
    const reel__op *op = reel__im_int(im, "upper", 1) ? &reel__ge : &reel__le;
    int keep = diagonal(im, op, m.dim[m.rank - 2], m.dim[m.rank - 1], k);
    OUT(0, CALL(where, NULL, keep, x, reel__im_scalar(im, 0, x)));
}

static void eye_like(reel__import *im)
{
    const reel__meta m = *META(IN(0));
    reel_dtype dtype = m.dtype;
    int64_t to = reel__im_int(im, "dtype", reel__onnx_dtype_of(dtype));
    if (m.rank != 2 || to < 0 || to >= REEL_ONNX_DTYPE_COUNT ||
        !reel__onnx_dtype_back((reel__onnx_dtype)to, &dtype)) {
        reel_fail(REEL_ERR_UNSUPPORTED, "dtype %" PRId64 " like %s", to, SHOW(&m));
        return;
    }
    int64_t k = reel__im_int(im, "k", 0);
    OUT(0, reel__im_cast(im, diagonal(im, &reel__eq, m.dim[0], m.dim[1], k), dtype));
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define RULE(name, from, to, least, most, outs, words, function)                         \
    IMPORT_ROW(name, from, to, least, most, outs, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("Constant", 1, 0, 0, 0, 1, "value value_float value_floats value_int value_ints",
         constant),
    RULE("ConstantOfShape", 9, 0, 1, 1, 1, "value", constant_of_shape),
    RULE("Range", 11, 26, 3, 3, 1, "", range),
    RULE("Range", 27, 0, 3, 3, 1, "stash_type", range),
    RULE("Shape", 1, 0, 1, 1, 1, "start end", shape),
    RULE("Size", 1, 0, 1, 1, 1, "", size),
    RULE("Trilu", 14, 0, 1, 2, 1, "upper", trilu),
    RULE("EyeLike", 9, 0, 1, 1, 1, "dtype k", eye_like),
};

const reel__import_family reel__import_const = {rows, sizeof rows / sizeof *rows};
