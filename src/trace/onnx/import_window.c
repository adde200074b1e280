/* import_window.c: convolution and pooling. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "trace/onnx/import.h"

/* ---- windows: what convolution and pooling have in common ---------------------------------- */

/* One or two dimensions of space; of one, the first of two is a window of 1. */
typedef struct window {
    int dims;
    int64_t size[2], stride[2], dilation[2], before[2], after[2];
    bool ceil_mode;
} window;

/* Windows, strides and dilations of more have no use, and products of them no overflow. */
#define WINDOW_MAX (1 << 20)

/* Too large for us, or too small for anybody. */
static reel_status beyond(int64_t n)
{
    return n > WINDOW_MAX ? REEL_ERR_UNSUPPORTED : REEL_ERR_FORMAT;
}

static void read_sides(reel__import *im, const char *name, int dims, int64_t least,
                       int64_t to[2])
{
    reel__im_list list = reel__im_ints(im, name);
    if (list.n < 0) return;
    if (list.n != dims) {
        reel_fail(REEL_ERR_FORMAT, "attribute %s has %d numbers, %d dimensions", name,
                  list.n, dims);
        return;
    }
    for (int i = 0; i < dims; i++) {
        if (list.at[i] < least || list.at[i] > WINDOW_MAX)
            reel_fail(beyond(list.at[i]),
                      "attribute %s is %" PRId64 ", must be %" PRId64 " to %d", name,
                      list.at[i], least, WINDOW_MAX);
        to[2 - dims + i] = list.at[i];
    }
}

/* Padding so that the result is the size by the stride, rounded up; an odd one goes behind, or
 * before. */
static void pad_same(window *w, const int64_t in[2], bool upper)
{
    for (int i = 0; i < 2; i++) {
        int64_t out = in[i] / w->stride[i] + (in[i] % w->stride[i] != 0);
        int64_t all =
            (out - 1) * w->stride[i] + w->dilation[i] * (w->size[i] - 1) + 1 - in[i];
        if (all < 0) all = 0;
        w->before[i] = upper ? all / 2 : all - all / 2;
        w->after[i] = all - w->before[i];
    }
}

static window read_window(reel__import *im, const int64_t in[2], const int64_t size[2],
                          int dims)
{
    window w = {dims, {size[0], size[1]}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, false};
    const char *mode = reel__im_string(im, "auto_pad", "NOTSET");
    read_sides(im, "kernel_shape", dims, 1, w.size);
    read_sides(im, "strides", dims, 1, w.stride);
    read_sides(im, "dilations", dims, 1, w.dilation);
    w.ceil_mode = reel__im_int(im, "ceil_mode", 0) != 0;
    reel__im_list pads = reel__im_ints(im, "pads");
    if (reel_failed()) return w;
    if (strcmp(mode, "SAME_UPPER") == 0 || strcmp(mode, "SAME_LOWER") == 0) {
        pad_same(&w, in, strcmp(mode, "SAME_UPPER") == 0);
    } else if (strcmp(mode, "NOTSET") != 0 && strcmp(mode, "VALID") != 0) {
        reel_fail(REEL_ERR_FORMAT, "attribute auto_pad is \"%.20s\"", mode);
    } else if (pads.n >= 0 && strcmp(mode, "NOTSET") == 0) {
        if (pads.n != 2 * dims)
            reel_fail(REEL_ERR_FORMAT, "%d pads for %d dimensions", pads.n, dims);
        for (int i = 0; i < pads.n && !reel_failed(); i++) {
            if (pads.at[i] < 0 || pads.at[i] > WINDOW_MAX)
                reel_fail(beyond(pads.at[i]), "padding %" PRId64 " must be 0 to %d",
                          pads.at[i], WINDOW_MAX);
            int side = 2 - dims + i % dims;
            *(i < dims ? &w.before[side] : &w.after[side]) = pads.at[i];
        }
    }
    return w;
}

/* Dimensions of space of x [n, c, ...]; 0 with an error. */
static int space(reel__import *im, int x)
{
    int dims = META(x)->rank - 2;
    if (!reel_failed() && (dims < 1 || dims > 2))
        reel_fail(dims < 1 ? REEL_ERR_FORMAT : REEL_ERR_UNSUPPORTED,
                  "input %s; one or two dimensions of space are "
                  "possible",
                  SHOW(META(x)));
    return reel_failed() ? 0 : dims;
}

/* [a, b, l] as [a, b, 1, l]; rank 4 as it is. */
static int as_plane(reel__import *im, int x)
{
    reel_shape s = reel__shape(META(x));
    if (s.rank != 3) return x;
    return reel__im_reshape(im, x, REEL_SHAPE(s.dim[0], s.dim[1], 1, s.dim[2]));
}

int reel__im_as_line(reel__import *im, int y, int dims)
{
    reel_shape s = reel__shape(META(y));
    if (dims != 1 || s.rank != 4) return y;
    return reel__im_reshape(im, y, REEL_SHAPE(s.dim[0], s.dim[1], s.dim[3]));
}

/* Puts padding that a record cannot have around x itself. */
static int pad_explicitly(reel__import *im, int x, window *w, reel__number value)
{
    const int64_t before[4] = {0, 0, w->before[0], w->before[1]},
                  after[4] = {0, 0, w->after[0], w->after[1]};
    memset(w->before, 0, sizeof w->before);
    memset(w->after, 0, sizeof w->after);
    return reel__im_pad(im, x, before, after, value);
}

static bool symmetric(const window *w)
{
    return w->before[0] == w->after[0] && w->before[1] == w->after[1];
}

/* ---- Conv ------------------------------------------------------------------------------------ */

static int64_t read_group(reel__import *im)
{
    int64_t group = reel__im_int(im, "group", 1);
    if (group >= 1 && group <= WINDOW_MAX) return group;
    reel_fail(beyond(group), "group %" PRId64 " must be 1 to %d", group, WINDOW_MAX);
    return 1;
}

static bool kernel_agrees(const window *w, const int64_t size[2])
{
    if (w->size[0] == size[0] && w->size[1] == size[1]) return true;
    reel_fail(REEL_ERR_SHAPE,
              "kernel_shape %" PRId64 " x %" PRId64 ", the weight has %" PRId64
              " x %" PRId64,
              w->size[0], w->size[1], size[0], size[1]);
    return false;
}

/* Padding of integers is what stands for 0, which may be known only when the model runs. */
static int pad_with(reel__import *im, int x, window *w, int zero)
{
    const reel_dtype dtype = META(x)->dtype;
    reel__number number = reel__real(0);
    if (zero < 0 || reel__im_number(im, zero, &number))
        return pad_explicitly(im, x, w, number);
    zero = reel__im_cast(im, zero, REEL_F32);
    x = CALL(sub, NULL, reel__im_cast(im, x, REEL_F32), zero);
    x = pad_explicitly(im, x, w, number);
    return reel__im_cast(im, CALL(add, NULL, x, zero), dtype);
}

reel__im_conv reel__im_conv_of(reel__import *im, int x, int weight, int zero)
{
    reel__im_conv c = {.dims = space(im, x)};
    c.x = as_plane(im, x);
    c.weight = as_plane(im, weight);
    if (META(c.weight)->rank != 4)
        reel_fail(REEL_ERR_FORMAT, "weight %s does not fit input %s",
                  SHOW(META(c.weight)), SHOW(META(c.x)));
    if (reel_failed()) return c;
    const int64_t size[2] = {META(c.weight)->dim[2], META(c.weight)->dim[3]};
    window w = read_window(im, META(c.x)->dim + 2, size, c.dims);
    c.attrs.groups = read_group(im);
    if (reel_failed() || !kernel_agrees(&w, size)) return c;
    if (!symmetric(&w)) c.x = pad_with(im, c.x, &w, zero);
    memcpy(c.attrs.stride, w.stride, sizeof w.stride);
    memcpy(c.attrs.padding, w.before, sizeof w.before);
    memcpy(c.attrs.dilation, w.dilation, sizeof w.dilation);
    c.x = reel__im_channels_last(im, c.x);
    return c;
}

static void conv(reel__import *im)
{
    int x = IN(0), weight = IN(1);
    const reel__im_conv c = reel__im_conv_of(im, x, weight, REEL_NO_VALUE);
    int y = CALL(conv2d, &c.attrs, c.x, c.weight, IN(2));
    OUT(0, reel__im_as_line(im, y, c.dims));
}

/* ---- ConvTranspose: the gradient of a convolution by its input --------------------------------- */

/* Padding of a transposed convolution cuts off its result; pads or output_shape say which. */
static void transposed_pads(reel__import *im, window *w, const int64_t in[2],
                            int64_t extra[2])
{
    reel__im_list want = reel__im_ints(im, "output_shape");
    const char *mode = reel__im_string(im, "auto_pad", "NOTSET");
    bool same = strncmp(mode, "SAME_", 5) == 0;
    if (want.n >= 0 && want.n != w->dims)
        reel_fail(REEL_ERR_FORMAT, "output_shape has %d numbers, %d dimensions", want.n,
                  w->dims);
    for (int i = 2 - w->dims; i < 2 && !reel_failed() && (want.n >= 0 || same); i++) {
        int64_t full =
            (in[i] - 1) * w->stride[i] + extra[i] + w->dilation[i] * (w->size[i] - 1) + 1;
        int64_t to = want.n >= 0 ? want.at[i - 2 + w->dims] : in[i] * w->stride[i];
        int64_t all = full > to ? full - to : 0;
        if (to < 1 || to - full >= w->stride[i]) {
            reel_fail(REEL_ERR_SHAPE, "output size %" PRId64 ", the input makes %" PRId64,
                      to, full);
            return;
        }
        if (to > full) extra[i] += to - full;
        bool upper = strcmp(mode, "SAME_UPPER") == 0;
        w->before[i] = upper ? all / 2 : all - all / 2;
        w->after[i] = all - w->before[i];
    }
}

static void conv_transpose(reel__import *im)
{
    int x = IN(0), dims = space(im, x), weight = IN(1), bias = IN(2);
    x = as_plane(im, x);
    weight = as_plane(im, weight);
    if (META(weight)->rank != 4)
        reel_fail(REEL_ERR_FORMAT, "weight %s does not fit input %s", SHOW(META(weight)),
                  SHOW(META(x)));
    if (reel_failed()) return;
    const int64_t size[2] = {META(weight)->dim[2], META(weight)->dim[3]};
    const reel__meta m = *META(x);
    window w = read_window(im, m.dim + 2, size, dims);
    int64_t extra[2] = {0, 0};
    read_sides(im, "output_padding", dims, 0, extra);
    reel__conv2d_attrs a = {.groups = read_group(im)};
    if (!reel_failed()) transposed_pads(im, &w, m.dim + 2, extra);
    if (reel_failed() || !kernel_agrees(&w, size)) return;
    /* the whole result, then what the padding leaves of it */
    memcpy(a.stride, w.stride, sizeof a.stride);
    memcpy(a.dilation, w.dilation, sizeof a.dilation);
    a.input[0] = m.dim[0];
    a.input[1] = META(weight)->dim[1] * a.groups;
    for (int i = 0; i < 2; i++) {
        if (symmetric(&w)) a.padding[i] = w.before[i];
        a.input[2 + i] = (m.dim[2 + i] - 1) * w.stride[i] + extra[i] +
                         w.dilation[i] * (size[i] - 1) + 1 - 2 * a.padding[i];
        if (a.input[2 + i] < 1 || extra[i] >= w.stride[i]) {
            reel_fail(REEL_ERR_SHAPE,
                      "result of size %" PRId64 ", output_padding %" PRId64
                      " with stride %" PRId64,
                      a.input[2 + i], extra[i], w.stride[i]);
            return;
        }
    }
    int y = CALL(conv2d_input, &a, reel__im_channels_last(im, x), weight);
    for (int i = 0; i < 2 && !symmetric(&w) && !reel_failed(); i++) {
        int64_t left = a.input[2 + i] - w.before[i] - w.after[i];
        if (left < 1)
            reel_fail(REEL_ERR_SHAPE, "padding leaves nothing of %" PRId64,
                      a.input[2 + i]);
        else
            y = reel__im_narrow(im, y, 2 + i, w.before[i], left);
    }
    if (bias >= 0) {
        int64_t channels = META(bias)->rank == 1 ? META(bias)->dim[0] : -1;
        if (channels != a.input[1])
            reel_fail(REEL_ERR_SHAPE, "bias %s for %" PRId64 " channels",
                      SHOW(META(bias)), a.input[1]);
        y = CALL(add, NULL, y,
                 reel__im_reshape(im, bias, REEL_SHAPE(1, a.input[1], 1, 1)));
    }
    OUT(0, reel__im_as_line(im, y, dims));
}

/* ---- MaxPool, AveragePool ------------------------------------------------------------------------ */

static reel__pool2d_attrs pool_attrs(const window *w)
{
    reel__pool2d_attrs a = {.ceil_mode = w->ceil_mode};
    memcpy(a.kernel, w->size, sizeof a.kernel);
    memcpy(a.stride, w->stride, sizeof a.stride);
    memcpy(a.padding, w->before, sizeof a.padding);
    memcpy(a.dilation, w->dilation, sizeof a.dilation);
    return a;
}

/* What a pooling record takes. */
static bool plain_padding(const window *w)
{
    return symmetric(w) && 2 * w->before[0] <= w->size[0] &&
           2 * w->before[1] <= w->size[1];
}

/* Records number the winners in their plane, ONNX in the whole tensor. */
static int over_planes(reel__import *im, int index, const reel__meta *x)
{
    const int64_t planes = x->dim[0] * x->dim[1], size = x->dim[2] * x->dim[3];
    int first = reel__im_count_from(im, 0, planes);
    first = reel__im_scale(im, first, (double)size);
    first = reel__im_reshape(im, first, REEL_SHAPE(x->dim[0], x->dim[1], 1, 1));
    return CALL(add, NULL, index, first);
}

/* The records are of floats, which hold what bytes do. */
static void max_pool(reel__import *im)
{
    int x = IN(0), dims = space(im, x), out[REEL_OP_MAX_OUT];
    const reel_dtype dtype = META(x)->dtype;
    static const int64_t one[2] = {1, 1};
    bool indices = reel__im_wants_out(im, 1);
    if (!reel_failed() && !reel__im_has(im, "kernel_shape"))
        reel_fail(REEL_ERR_FORMAT, "attribute kernel_shape is missing");
    x = as_plane(im, reel_dtype_is_float(dtype) ? x : reel__im_cast(im, x, REEL_F32));
    if (reel_failed()) return;
    window w = read_window(im, META(x)->dim + 2, one, dims);
    if (indices && (reel__im_int(im, "storage_order", 0) || !plain_padding(&w)))
        reel_fail(REEL_ERR_UNSUPPORTED, "indices in storage_order 1 or with padding that "
                                        "differs between sides");
    if (!plain_padding(&w)) x = pad_explicitly(im, x, &w, reel__real(-INFINITY));
    const reel__pool2d_attrs a = pool_attrs(&w);
    x = reel__im_channels_last(im, x);
    reel__im_emit_all(im, &reel__max_pool2d, &a, 1, &x, out);
    if (reel_failed()) return;
    OUT(0, reel__im_as_line(im, reel__im_cast(im, out[0], dtype), dims));
    if (!indices) return;
    const reel__meta m = *META(x);
    OUT(1, reel__im_as_line(im, over_planes(im, out[1], &m), dims));
}

int reel__im_average_pool(reel__import *im, int x)
{
    int dims = space(im, x);
    static const int64_t one[2] = {1, 1};
    bool count_pad = reel__im_int(im, "count_include_pad", 0) != 0;
    if (!reel_failed() && !reel__im_has(im, "kernel_shape"))
        reel_fail(REEL_ERR_FORMAT, "attribute kernel_shape is missing");
    x = as_plane(im, x);
    if (reel_failed()) return REEL_NO_VALUE;
    window w = read_window(im, META(x)->dim + 2, one, dims);
    if (w.dilation[0] != 1 || w.dilation[1] != 1)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "dilations %" PRId64 " x %" PRId64 "; there is only 1", w.dilation[0],
                  w.dilation[1]);
    if (!plain_padding(&w) && w.ceil_mode)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "padding that differs between sides, with ceil_mode");
    if (reel_failed()) return REEL_NO_VALUE;
    const reel__meta m = *META(x);
    window around = w;
    bool padded = !plain_padding(&w);
    if (padded) x = pad_explicitly(im, x, &w, reel__real(0));
    reel__pool2d_attrs a = pool_attrs(&w);
    a.count_include_pad = count_pad || padded;
    int y = CALL(avg_pool2d, &a, reel__im_channels_last(im, x));
    if (padded && !count_pad) { /* what part of each window is not padding */
        int part = reel__im_full(im, REEL_SHAPE(1, 1, m.dim[2], m.dim[3]), reel__whole(1),
                                 m.dtype);
        part = pad_explicitly(im, part, &around, reel__real(0));
        part = reel__im_channels_last(im, part);
        y = CALL(div, NULL, y, CALL(avg_pool2d, &a, part));
    }
    return reel__im_as_line(im, y, dims);
}

static void average_pool(reel__import *im)
{
    OUT(0, reel__im_average_pool(im, IN(0)));
}

int reel__im_global_average_pool(reel__import *im, int x)
{
    const reel__pool2d_attrs a = {.size = {1, 1}};
    if (META(x)->rank == 4)
        return CALL(adaptive_avg_pool2d, &a, reel__im_channels_last(im, x));
    return reel__im_mean(im, x, ((INT64_C(1) << META(x)->rank) - 1) & ~INT64_C(3), true);
}

static void global_average_pool(reel__import *im)
{
    OUT(0, reel__im_global_average_pool(im, IN(0)));
}

static void global_max_pool(reel__import *im)
{
    int x = IN(0);
    int64_t mask = ((INT64_C(1) << META(x)->rank) - 1) & ~INT64_C(3);
    OUT(0, reel__im_reduce(im, &reel__max, x, mask, 0, true));
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define WINDOW "auto_pad kernel_shape strides pads "
#define RULE(name, from, least, most, outs, words, function)                             \
    IMPORT_ROW(name, from, 0, least, most, outs, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("Conv", 1, 2, 3, 1, WINDOW "dilations group", conv),
    RULE("ConvTranspose", 1, 2, 3, 1,
         WINDOW "dilations group output_padding output_shape", conv_transpose),
    RULE("MaxPool", 1, 1, 1, 2, WINDOW "dilations ceil_mode storage_order", max_pool),
    RULE("AveragePool", 1, 1, 1, 1, WINDOW "dilations ceil_mode count_include_pad",
         average_pool),
    RULE("GlobalAveragePool", 1, 1, 1, 1, "", global_average_pool),
    RULE("GlobalMaxPool", 1, 1, 1, 1, "", global_max_pool),
};

const reel__import_family reel__import_window = {rows, sizeof rows / sizeof *rows};
