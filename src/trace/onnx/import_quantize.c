/* import_quantize.c: integers for numbers. Scales and zero points become buffers: training moves
 * weights, not the grid. They are given x's rank, so that they broadcast to it. */
#include <inttypes.h>

#include "trace/onnx/import.h"

/* ---- QuantizeLinear, DequantizeLinear ------------------------------------------------------------ */

/* What the node quantizes, and in which shape: x itself, or x cut into blocks. */
typedef struct grid {
    reel_shape x, parameter;
} grid;

static grid of_all(const reel__meta *x)
{
    return (grid){.x = reel__shape(x), .parameter = REEL_SCALAR};
}

static grid along(const reel__meta *x, int axis, int64_t n)
{
    grid g = of_all(x);
    g.parameter.rank = x->rank;
    for (int d = 0; d < x->rank; d++) g.parameter.dim[d] = d == axis ? n : 1;
    return g;
}

/* [.., d, ..] in blocks of b along the axis as [.., d / b, b, ..]. */
static grid in_blocks(const reel__meta *x, int axis, int64_t block)
{
    grid g = {.x = {.rank = 0}};
    for (int d = 0; d < x->rank; d++) {
        bool cut = d == axis;
        g.parameter.dim[g.x.rank] = cut ? x->dim[d] / block : x->dim[d];
        g.x.dim[g.x.rank++] = cut ? x->dim[d] / block : x->dim[d];
        if (!cut) continue;
        g.parameter.dim[g.x.rank] = 1;
        g.x.dim[g.x.rank++] = block;
    }
    g.parameter.rank = g.x.rank;
    return g;
}

static void check_blocks(const reel__meta *x, const reel__meta *s, int axis,
                         int64_t block)
{
    bool fits = block > 0 && x->rank == s->rank && x->rank < REEL_MAX_RANK;
    for (int d = 0; fits && d < x->rank; d++)
        fits = d == axis ? x->dim[d] == s->dim[d] * block : x->dim[d] == s->dim[d];
    if (!fits)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "%s with scale %s: blocks of %" PRId64 " along %d must be whole",
                  SHOW(x), SHOW(s), block, axis);
}

static grid grid_of(reel__import *im, const reel__meta *x, const reel__meta *s)
{
    int64_t block = reel__im_int(im, "block_size", 0);
    int64_t n = reel__im_count(s, 0, s->rank);
    if (!block && s->rank <= 1 && n == 1) return of_all(x);
    int axis = reel__im_axis(reel__im_int(im, "axis", 1), x->rank);
    if (reel_failed()) return of_all(x);
    if (block) {
        check_blocks(x, s, axis, block);
        return reel_failed() ? of_all(x) : in_blocks(x, axis, block);
    }
    if (s->rank != 1 || n != x->dim[axis])
        reel_fail(REEL_ERR_FORMAT,
                  "scale %s must be one number, or one for each of %" PRId64
                  " along axis %d of %s",
                  SHOW(s), x->dim[axis], axis, SHOW(x));
    return along(x, axis, n);
}

/* The record on x [...] with a scale and a zero point as the node has them. */
static int emit(reel__import *im, const reel__op *op, const void *attrs, int x, int scale,
                int zero)
{
    if (reel_failed()) return REEL_NO_VALUE;
    const reel_shape shape = reel__shape(META(x));
    const grid g = grid_of(im, META(x), META(scale));
    x = reel__im_reshape(im, x, g.x);
    scale = reel__im_reshape(im, scale, g.parameter);
    zero = reel__im_reshape(im, zero, g.parameter);
    int y = reel__im_emit(im, op, attrs, REEL__IM_ARGS(x, scale, zero));
    return reel__im_reshape(im, y, shape);
}

/* The zero point, or 0 of the dtype for each scale. */
static int zero_of(reel__import *im, int scale, reel_dtype dtype)
{
    if (reel__im_has_in(im, 2)) return reel__im_in_buffer(im, 2);
    if (reel_failed()) return REEL_NO_VALUE;
    return reel__im_full(im, reel__shape(META(scale)), reel__whole(0), dtype);
}

static void quantize_linear(reel__import *im)
{
    int x = IN(0), scale = reel__im_in_buffer(im, 1);
    int64_t to = reel__im_int(im, "output_dtype", 0);
    if (!reel_failed() && to && to != REEL_ONNX_UINT8 && to != REEL_ONNX_INT8)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "output_dtype %" PRId64 "; UINT8 and INT8 are "
                  "possible",
                  to);
    int zero = zero_of(im, scale, to == REEL_ONNX_INT8 ? REEL_I8 : REEL_U8);
    const reel_dtype dtype = META(zero)->dtype;
    if (!reel_failed() && dtype != REEL_I8 && dtype != REEL_U8)
        reel_fail(REEL_ERR_FORMAT, "zero point %s must be u8 or i8", SHOW(META(zero)));
    int64_t precision = reel__im_int(im, "precision", 0);
    if (precision)
        scale = reel__im_cast(im, scale, reel__im_dtype("precision", precision));
    x = reel__im_cast(im, x, META(scale)->dtype);
    const reel__scalar_attrs a =
        dtype == REEL_I8 ? reel__scalars(-128, 127) : reel__scalars(0, 255);
    OUT(0, emit(im, &reel__quantize, &a, x, scale, zero));
}

static void dequantize_linear(reel__import *im)
{
    int x = reel__im_in_buffer(im, 0), scale = reel__im_in_buffer(im, 1);
    int zero = reel_failed() ? REEL_NO_VALUE : zero_of(im, scale, META(x)->dtype);
    int y = emit(im, &reel__dequantize, NULL, x, scale, zero);
    int64_t to = reel__im_int(im, "output_dtype", 0);
    OUT(0, to ? reel__im_cast(im, y, reel__im_dtype("output_dtype", to)) : y);
}

/* ---- DynamicQuantizeLinear: the range is that of x and 0 -------------------------------------------- */

static int extreme(reel__import *im, const reel__op *op, const reel__op *with_zero, int x)
{
    if (reel_failed()) return REEL_NO_VALUE;
    int64_t all = (INT64_C(1) << META(x)->rank) - 1;
    int y = reel__im_reduce(im, op, x, all, 1, false);
    return reel__im_emit(im, with_zero, NULL,
                         REEL__IM_ARGS(y, reel__im_scalar(im, 0, x)));
}

void reel__im_dynamic_quantize(reel__import *im, int x, int out[3])
{
    static const reel__scalar_attrs u8 = {
        {{.is_real = 1, .real = 0}, {.is_real = 1, .real = 255}}};
    int low = extreme(im, &reel__min, &reel__minimum, x);
    int span = CALL(sub, NULL, extreme(im, &reel__max, &reel__maximum, x), low);
    int none = CALL(eq, NULL, span, reel__im_scalar(im, 0, x));
    int scale = CALL(where, NULL, none, reel__im_scalar(im, 1, x),
                     CALL(div, NULL, span, reel__im_scalar(im, 255, x)));
    int zero = CALL(clamp, &u8, CALL(div, NULL, CALL(neg, NULL, low), scale));
    zero = reel__im_cast(im, CALL(round, NULL, zero), REEL_U8);
    out[0] = CALL(quantize, &u8, x, scale, zero);
    out[1] = scale;
    out[2] = zero;
}

static void dynamic_quantize_linear(reel__import *im)
{
    int out[3];
    reel__im_dynamic_quantize(im, IN(0), out);
    for (int k = 0; k < 3; k++) OUT(k, out[k]);
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define RULE(name, from, to, least, most, outs, words, function)                         \
    IMPORT_ROW(name, from, to, least, most, outs, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("QuantizeLinear", 10, 12, 2, 3, 1, "", quantize_linear),
    RULE("QuantizeLinear", 13, 18, 2, 3, 1, "axis", quantize_linear),
    RULE("QuantizeLinear", 19, 20, 2, 3, 1, "axis saturate", quantize_linear),
    RULE("QuantizeLinear", 21, 22, 2, 3, 1, "axis block_size output_dtype saturate",
         quantize_linear),
    RULE("QuantizeLinear", 23, 0, 2, 3, 1,
         "axis block_size output_dtype precision saturate", quantize_linear),
    RULE("DequantizeLinear", 10, 12, 2, 3, 1, "", dequantize_linear),
    RULE("DequantizeLinear", 13, 20, 2, 3, 1, "axis", dequantize_linear),
    RULE("DequantizeLinear", 21, 22, 2, 3, 1, "axis block_size", dequantize_linear),
    RULE("DequantizeLinear", 23, 0, 2, 3, 1, "axis block_size output_dtype",
         dequantize_linear),
    RULE("DynamicQuantizeLinear", 11, 0, 1, 1, 3, "", dynamic_quantize_linear),
    IMPORT_ROW("QuantizeLinear", 1, 0, 2, 3, 1, "axis", .rule = quantize_linear,
               .domain = REEL__IM_MICROSOFT),
    IMPORT_ROW("DequantizeLinear", 1, 0, 2, 3, 1, "axis", .rule = dequantize_linear,
               .domain = REEL__IM_MICROSOFT),
};

const reel__import_family reel__import_quantize = {rows, sizeof rows / sizeof *rows};
