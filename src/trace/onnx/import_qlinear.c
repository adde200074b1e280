/* import_qlinear.c: operators whose operands and results are integers with a scale and a zero
 * point: those of ONNX, and those that ONNX Runtime's quantizer and optimizer write. Each becomes
 * what a file of QuantizeLinear and DequantizeLinear says in three nodes, dequantize, the
 * operator, quantize, so that passes have one form to look at. ConvInteger and MatMulInteger,
 * which have no scales, are records of integers at once. */
#include <string.h>

#include "base/alloc.h"
#include "trace/onnx/import.h"

/* ---- operands ----------------------------------------------------------------------------------- */

/* q stands for scale (q - zero). REEL_NO_VALUE: the node has no such input, as `at` numbers them. */
typedef struct quantized {
    int q, scale, zero;
    int at_q, at_scale, at_zero;
} quantized;

typedef struct operands {
    int n; /* of quantized ones */
    quantized of[REEL_OP_MAX_IN], y;
    int bias;     /* i32, in steps of the first operand's scale times the second's */
    int plain[2]; /* of other kinds */
    int n_plain;
    int rows; /* a value [..., k]: the result, [rows, n], shall be [..., n]; or REEL_NO_VALUE */
} operands;

/* What the inputs of a node are, a letter for each: q a quantized operand, s its scale, z its
 * zero point, the k-th of each one operand; S and Z those of the result, R a scale without which
 * the result is floating; b a bias, p plain. Zero points and what only some nodes have may be
 * absent. Letters from `again` on repeat to the end; 0: none do. */
struct reel__im_form {
    const char *letters;
    int again;
    int (*inner)(reel__import *, operands *);
};
typedef struct reel__im_form form;

static const quantized no_operand = {
    REEL_NO_VALUE, REEL_NO_VALUE, REEL_NO_VALUE, 0, 0, 0};

static const char *name_of(const reel__import *im, int k)
{
    return reel__im_has_in(im, k) ? im->node->input.at[k] : "";
}

static int required(reel__import *im, int k, const char *what)
{
    int v = reel__im_in_buffer(im, k);
    if (v < 0) reel_fail(REEL_ERR_FORMAT, "input %d, %s, is absent", k, what);
    return v;
}

/* The letter of input k; 0: it is one too many. */
static char letter(const form *f, int k)
{
    int n = (int)strlen(f->letters);
    if (k >= n && f->again) k = f->again + (k - f->again) % (n - f->again);
    return k < n ? f->letters[k] : '\0';
}

/* The end of the inputs: all letters, and whole groups of those that repeat. */
static int last_input(const reel__import *im, const form *f)
{
    int n = (int)strlen(f->letters), have = (int)im->node->input.n;
    if (!f->again || have <= n) return n;
    int group = n - f->again;
    return f->again + (have - f->again + group - 1) / group * group;
}

static operands read(reel__import *im, const form *f)
{
    operands o = {.y = no_operand, .bias = REEL_NO_VALUE, .rows = REEL_NO_VALUE};
    int scales = 0, zeros = 0, end = last_input(im, f);
    if (end > 3 * REEL_OP_MAX_IN)
        reel_fail(REEL_ERR_UNSUPPORTED, "%zu inputs, at most %d are possible",
                  im->node->input.n, 3 * REEL_OP_MAX_IN);
    for (int k = 0; k < REEL_OP_MAX_IN; k++) o.of[k] = no_operand;
    for (int k = 0; k < end && !reel_failed(); k++) {
        quantized *x;
        switch (letter(f, k)) {
        case 'q':
            x = &o.of[o.n++];
            x->q = required(im, x->at_q = k, "an operand");
            break;
        case 's':
            x = &o.of[scales++];
            x->scale = required(im, x->at_scale = k, "the scale of an operand");
            break;
        case 'z':
            x = &o.of[zeros++];
            x->zero = reel__im_in_buffer(im, x->at_zero = k);
            break;
        case 'S':
            o.y.scale = required(im, o.y.at_scale = k, "the scale of the result");
            break;
        case 'R': o.y.scale = reel__im_in_buffer(im, o.y.at_scale = k); break;
        case 'Z': o.y.zero = reel__im_in_buffer(im, o.y.at_zero = k); break;
        case 'b': o.bias = reel__im_in_buffer(im, k); break;
        default: o.plain[o.n_plain++] = reel__im_in_buffer(im, k);
        }
    }
    return o;
}

static bool is_byte(reel_dtype dtype)
{
    return dtype == REEL_U8 || dtype == REEL_I8;
}

/* A zero of the dtype. */
static int nothing(reel__import *im, reel_dtype dtype)
{
    static const int64_t zero = 0;
    return reel__im_const(im, REEL_SCALAR, dtype, &zero);
}

/* Dtypes are what ONNX says; a zero point that is absent is 0. */
static void complete(reel__import *im, quantized *x)
{
    if (reel_failed()) return;
    const reel_dtype dtype = META(x->q)->dtype;
    if (!is_byte(dtype))
        reel_fail(REEL_ERR_FORMAT, "input %d \"%s\" is %s, must be u8 or i8", x->at_q,
                  name_of(im, x->at_q), SHOW(META(x->q)));
    else if (x->scale >= 0 && !reel_dtype_is_float(META(x->scale)->dtype))
        reel_fail(REEL_ERR_FORMAT,
                  "input %d \"%s\" is %s; the scale of input %d must be floating",
                  x->at_scale, name_of(im, x->at_scale), SHOW(META(x->scale)), x->at_q);
    else if (x->zero < 0)
        x->zero = nothing(im, dtype);
    else if (META(x->zero)->dtype != dtype)
        reel_fail(REEL_ERR_FORMAT,
                  "input %d \"%s\" is %s; the zero point of input %d \"%s\" must be %s",
                  x->at_zero, name_of(im, x->at_zero), SHOW(META(x->zero)), x->at_q,
                  name_of(im, x->at_q), reel_dtype_name(dtype));
}

/* Of the result, which has the dtype of its zero point, or of the first operand. */
static void complete_result(reel__import *im, operands *o)
{
    quantized *y = &o->y;
    if (reel_failed() || y->scale < 0) return;
    if (y->zero < 0)
        y->zero = nothing(im, o->n ? META(o->of[0].q)->dtype : REEL_U8);
    else if (!is_byte(META(y->zero)->dtype))
        reel_fail(REEL_ERR_FORMAT,
                  "input %d \"%s\" is %s; the zero point of the result must be u8 or i8",
                  y->at_zero, name_of(im, y->at_zero), SHOW(META(y->zero)));
}

/* ---- between integers and numbers ----------------------------------------------------------------- */

#define NO_AXIS (-1)

/* A scale or a zero point, input k, for x [...]: one number, or one for each along the axis. */
static int along(reel__import *im, int p, int k, const reel__meta *x, int axis)
{
    if (reel_failed()) return REEL_NO_VALUE;
    const reel__meta m = *META(p);
    reel_shape s = {.rank = 0};
    if (reel__numel(&m) == 1) return reel__im_reshape(im, p, s);
    bool each = axis >= 0 && m.rank == 1 && m.dim[0] == x->dim[axis];
    if (!each)
        reel_fail(m.rank > 1 ? REEL_ERR_UNSUPPORTED : REEL_ERR_FORMAT,
                  "input %d \"%s\" %s, a scale or zero point, must be one number%s", k,
                  name_of(im, k), SHOW(&m), axis >= 0 ? ", or one for each channel" : "");
    s.rank = x->rank;
    for (int d = 0; d < s.rank; d++) s.dim[d] = d == axis ? m.dim[0] : 1;
    return reel__im_reshape(im, p, s);
}

/* The operand as numbers: f64 integers where it has no scale. */
static int real(reel__import *im, const quantized *x, int axis)
{
    static const double one = 1;
    if (reel_failed()) return REEL_NO_VALUE;
    const reel__meta m = *META(x->q);
    int scale = x->scale < 0 ? reel__im_const(im, REEL_SCALAR, REEL_F64, &one)
                             : along(im, x->scale, x->at_scale, &m, axis);
    return CALL(dequantize, NULL, x->q, scale, along(im, x->zero, x->at_zero, &m, axis));
}

/* The numbers y in steps of the result. */
static int steps(reel__import *im, const quantized *r, int y)
{
    if (reel_failed()) return REEL_NO_VALUE;
    const reel__meta m = *META(y);
    int scale = along(im, r->scale, r->at_scale, &m, NO_AXIS);
    int zero = along(im, r->zero, r->at_zero, &m, NO_AXIS);
    if (reel_failed()) return REEL_NO_VALUE;
    const reel__scalar_attrs a =
        META(zero)->dtype == REEL_I8 ? reel__scalars(-128, 127) : reel__scalars(0, 255);
    return CALL(quantize, &a, y, scale, zero);
}

/* y [rows, n] as [..., n] of x [..., k]. */
static int in_rows_of(reel__import *im, int y, int x)
{
    if (reel_failed()) return REEL_NO_VALUE;
    reel_shape s = reel__shape(META(x));
    s.dim[s.rank - 1] = META(y)->dim[1];
    return reel__im_reshape(im, y, s);
}

static void on_quantized(reel__import *im)
{
    const form *f = im->row->form;
    operands o = read(im, f);
    for (int k = 0; k < o.n; k++) complete(im, &o.of[k]);
    complete_result(im, &o);
    if (reel_failed()) return;
    int y = f->inner(im, &o);
    if (o.y.scale >= 0) y = steps(im, &o.y, y);
    OUT(0, o.rows >= 0 ? in_rows_of(im, y, o.rows) : y);
}

/* ---- what the file holds ---------------------------------------------------------------------------- */

/* The tensor of a value, if nothing computes it while the model runs. */
static reel_tensor *held(const reel__import *im, int v)
{
    const reel__value *x = v < 0 ? NULL : &im->g->value[v];
    if (!x) return NULL;
    return x->kind == REEL_VALUE_CONST || reel__is_state(x) ? x->tensor
                                                            : reel__im_known(im, v);
}

/* w [k, n] as [n, k]: of what the file holds, a constant. */
static int turned(reel__import *im, int w)
{
    static const int64_t order[] = {1, 0};
    reel_tensor *t = held(im, w);
    if (!t || reel_failed())
        return reel__im_contiguous(im, reel__im_permute(im, w, order));
    reel__meta from = t->meta, to;
    for (int d = 0; d < 2; d++) {
        from.dim[d] = t->meta.dim[1 - d];
        from.stride[d] = t->meta.stride[1 - d];
    }
    to = reel__meta_of(reel__shape(&from), from.dtype, from.device);
    reel_tensor *view = reel__tensor_new(&from, t->storage),
                *copy = view ? reel__tensor_new(&to, NULL) : NULL;
    int v = REEL_NO_VALUE;
    if (copy && !reel__im_read(view, reel__ptr(copy), to.dtype))
        v = reel__graph_add_value(im->g, REEL_VALUE_CONST, &to, NULL, copy);
    reel__tensor_release(copy);
    reel__tensor_release(view);
    return v;
}

/* x [] times w [] or [n], f32: what the bias counts. A constant where the file holds both, rounded
 * as a file that says it would have it. */
static int product(reel__import *im, int x, int w)
{
    const reel_tensor *a = held(im, x), *b = held(im, w);
    if (reel_failed() || !a || !b || a->meta.dtype != REEL_F32 ||
        b->meta.dtype != REEL_F32)
        return CALL(mul, NULL, x, w);
    const reel_shape s = reel__shape(&b->meta);
    const int64_t n = reel__numel(&b->meta);
    float by, *all = reel__malloc(((size_t)n + 1) * sizeof *all);
    int v = REEL_NO_VALUE;
    if (all && !reel__im_read(a, &by, REEL_F32) && !reel__im_read(b, all, REEL_F32)) {
        for (int64_t i = 0; i < n; i++) all[i] *= by;
        v = reel__im_const(im, s, REEL_F32, all);
    }
    reel__free(all);
    return v;
}

/* bias i32 [...], of which the last dimension are the weight's channels, as numbers. */
static int real_bias(reel__import *im, const quantized *x, const quantized *w, int64_t n,
                     int bias)
{
    if (bias < 0 || reel_failed()) return REEL_NO_VALUE;
    const reel__meta channels = {.rank = 1, .dim = {n}};
    if (META(bias)->dtype != REEL_I32)
        reel_fail(REEL_ERR_FORMAT, "the bias is %s, must be i32", SHOW(META(bias)));
    int scale = along(im, w->scale, w->at_scale, &channels, 0);
    scale = product(im, along(im, x->scale, x->at_scale, &channels, NO_AXIS), scale);
    return CALL(dequantize, NULL, bias, scale, nothing(im, REEL_I32));
}

/* ---- convolution ------------------------------------------------------------------------------------ */

/* [n, ..., c] of nodes with channels_last as [n, c, ...], and back. */
static int channels(reel__import *im, int x, bool to_front)
{
    int64_t order[REEL_MAX_RANK] = {0};
    const int rank = META(x)->rank;
    if (!reel__im_int(im, "channels_last", 0) || reel_failed() || rank < 3) return x;
    for (int d = 1; d < rank; d++)
        order[d] = 1 + (d - 1 + (to_front ? rank - 2 : 1)) % (rank - 1);
    return reel__im_permute(im, x, order);
}

/* x and w of operands, as the node convolves them: integers still, padded with zero points. */
static reel__im_conv conv_of(reel__import *im, quantized *x, quantized *w)
{
    x->q = channels(im, x->q, true);
    const reel__im_conv c = reel__im_conv_of(im, x->q, w->q, x->zero);
    x->q = c.x;
    w->q = c.weight;
    return c;
}

static int conv(reel__import *im, operands *o)
{
    quantized x = o->of[0], w = o->of[1];
    const reel__im_conv c = conv_of(im, &x, &w);
    int input = real(im, &x, NO_AXIS), weight = real(im, &w, 0);
    int bias = real_bias(im, &x, &w, META(w.q)->dim[0], o->bias);
    int y = CALL(conv2d, &c.attrs, input, weight, bias);
    return channels(im, reel__im_as_line(im, y, c.dims), false);
}

/* ---- matrices ----------------------------------------------------------------------------------------- */

/* a [..., k] by b [k, n]. What the file holds is the weight of a linear layer of rows. */
static int matrix(reel__import *im, operands *o, quantized a, quantized b)
{
    if (reel_failed()) return REEL_NO_VALUE;
    const int rank = META(a.q)->rank;
    bool rows = rank == 2 || (rank > 0 && reel__numel(META(a.scale)) == 1 &&
                              reel__numel(META(a.zero)) == 1);
    if (META(b.q)->rank != 2 || !rows || !held(im, b.q)) {
        int x = real(im, &a, rank - 2), y = real(im, &b, META(b.q)->rank - 1);
        return reel__im_product(im, x, y);
    }
    if (rank != 2) {
        o->rows = a.q;
        a.q = reel__im_flatten(im, a.q, rank - 1);
    }
    b.q = turned(im, b.q);
    int x = real(im, &a, 0), weight = real(im, &b, 0);
    return CALL(linear, NULL, x, weight, REEL_NO_VALUE);
}

static int matmul(reel__import *im, operands *o)
{
    return matrix(im, o, o->of[0], o->of[1]);
}

/* ... + bias, floating */
static int matmul_biased(reel__import *im, operands *o)
{
    int y = matrix(im, o, o->of[0], o->of[1]);
    return o->plain[0] < 0 ? y : CALL(add, NULL, y, o->plain[0]);
}

static int dynamic_matmul(reel__import *im, operands *o)
{
    int x[3];
    reel__im_dynamic_quantize(im, o->plain[0], x);
    const quantized a = {x[0], x[1], x[2], 0, 0, 0};
    int y = matrix(im, o, a, o->of[0]);
    return o->plain[1] < 0 ? y : CALL(add, NULL, y, o->plain[1]);
}

/* alpha (a b + bias) */
static int gemm(reel__import *im, operands *o)
{
    static const int64_t order[] = {1, 0};
    quantized a = o->of[0], w = o->of[1];
    int bias = o->bias;
    if (META(a.q)->rank != 2 || META(w.q)->rank != 2) {
        reel_fail(REEL_ERR_FORMAT, "%s by %s: both must be matrices", SHOW(META(a.q)),
                  SHOW(META(w.q)));
        return REEL_NO_VALUE;
    }
    if (reel__im_int(im, "transA", 0)) a.q = reel__im_permute(im, a.q, order);
    if (!reel__im_int(im, "transB", 0)) w.q = turned(im, w.q);
    const int64_t n = META(w.q)->dim[0];
    const reel__meta m = *META(bias);
    bool row = bias >= 0 && m.rank > 0 && m.dim[m.rank - 1] == n && reel__numel(&m) == n;
    if (row) bias = reel__im_reshape(im, bias, REEL_SHAPE(n));
    int x = real(im, &a, NO_AXIS), weight = real(im, &w, 0);
    bias = real_bias(im, &a, &w, n, bias);
    int y = CALL(linear, NULL, x, weight, row ? bias : REEL_NO_VALUE);
    if (bias >= 0 && !row) y = CALL(add, NULL, y, bias);
    return reel__im_scale(im, y, reel__im_float(im, "alpha", 1));
}

/* ---- sums of integers ----------------------------------------------------------------------------------- */

/* The records give them in f32: exact to 2^24 in size, beyond it rounded, as the cast to f32 would
 * that follows in files. */
static int sums(reel__import *im, const reel__op *op, const void *attrs,
                const quantized *x, const quantized *w)
{
    static const float one = 1;
    if (reel_failed()) return REEL_NO_VALUE;
    const reel__meta mx = *META(x->q), mw = *META(w->q);
    int unit = reel__im_const(im, REEL_SCALAR, REEL_F32, &one);
    int in[REEL_INT8_INS] = {[REEL_INT8_X] = x->q,
                             [REEL_INT8_W] = w->q,
                             [REEL_INT8_BIAS] = REEL_NO_VALUE,
                             [REEL_INT8_Y_SCALE] = REEL_NO_VALUE,
                             [REEL_INT8_Y_ZERO] = REEL_NO_VALUE,
                             [REEL_INT8_X_SCALE] = unit,
                             [REEL_INT8_W_SCALE] = unit};
    in[REEL_INT8_X_ZERO] = along(im, x->zero, x->at_zero, &mx, NO_AXIS);
    in[REEL_INT8_W_ZERO] = along(im, w->zero, w->at_zero, &mw, 0);
    return reel__im_emit(im, op, attrs, REEL_INT8_INS, in);
}

static int conv_integer(reel__import *im, operands *o)
{
    quantized x = o->of[0], w = o->of[1];
    const reel__im_conv c = conv_of(im, &x, &w);
    const reel__conv2d_int8_attrs a = {.conv = c.attrs};
    int y = sums(im, &reel__conv2d_int8, &a, &x, &w);
    return reel__im_cast(im, reel__im_as_line(im, y, c.dims), REEL_I32);
}

/* In f64 where the record cannot have the operands: exact. */
static int matmul_integer(reel__import *im, operands *o)
{
    static const reel__linear_int8_attrs a = {0};
    const quantized x = o->of[0];
    quantized w = o->of[1];
    bool fits = META(w.q)->rank == 2 && reel__numel(META(x.zero)) == 1;
    if (!fits) return reel__im_cast(im, matrix(im, o, x, w), REEL_I32);
    w.q = turned(im, w.q);
    return reel__im_cast(im, sums(im, &reel__linear_int8, &a, &x, &w), REEL_I32);
}

/* ---- everything else: what ONNX has of the same name, of numbers ---------------------------------------- */

static int number(reel__import *im, const operands *o, int k)
{
    return real(im, &o->of[k], NO_AXIS);
}

static int sum(reel__import *im, operands *o)
{
    int x = number(im, o, 0), y = number(im, o, 1);
    return CALL(add, NULL, x, y);
}

static int times(reel__import *im, operands *o)
{
    int x = number(im, o, 0), y = number(im, o, 1);
    return CALL(mul, NULL, x, y);
}

static int where(reel__import *im, operands *o)
{
    int x = number(im, o, 0), y = number(im, o, 1);
    return CALL(where, NULL, o->plain[0], x, y);
}

static int concat(reel__import *im, operands *o)
{
    int x[REEL_OP_MAX_IN];
    for (int k = 0; k < o->n; k++) x[k] = number(im, o, k);
    int axis = reel__im_axis(reel__im_int(im, "axis", 0), META(x[0])->rank);
    return reel__im_cat(im, o->n, x, axis);
}

static int sigmoid(reel__import *im, operands *o)
{
    return CALL(sigmoid, NULL, number(im, o, 0));
}

static int leaky_relu(reel__import *im, operands *o)
{
    const reel__scalar_attrs a = reel__scalars(reel__im_float(im, "alpha", 0.01f), 0);
    return CALL(leaky_relu, &a, number(im, o, 0));
}

/* The attribute opset says whose softmax it is. */
static int softmax(reel__import *im, operands *o)
{
    int x = number(im, o, 0);
    int64_t axis = reel__im_int(im, "axis", -1);
    return reel__im_int(im, "opset", 13) < 13
               ? reel__im_softmax_flat(im, &reel__softmax, x, axis)
               : reel__im_softmax(im, &reel__softmax, x, axis);
}

static int pool(reel__import *im, const operands *o, int (*of)(reel__import *, int))
{
    quantized x = o->of[0];
    x.q = channels(im, x.q, true);
    return channels(im, of(im, real(im, &x, NO_AXIS)), false);
}

static int average_pool(reel__import *im, operands *o)
{
    return pool(im, o, reel__im_average_pool);
}

static int global_average_pool(reel__import *im, operands *o)
{
    return pool(im, o, reel__im_global_average_pool);
}

/* ---- the table ------------------------------------------------------------------------------------------- */

/* The first `least` inputs must be there; read() looks for the others. */
#define FORM(name, from, least, most, words, text, repeats, function, ...)               \
    IMPORT_ROW(name, from, 0, least, most, 1, words, .rule = on_quantized,               \
               .form = &(const form){text, repeats, function}, __VA_ARGS__)
#define STANDARD(name, least, words, text, function)                                     \
    FORM(name, 10, least, (int)sizeof(text) - 1, words, text, 0, function, .domain = NULL)
#define MICROSOFT(name, least, words, text, function)                                    \
    FORM(name, 1, least, (int)sizeof(text) - 1, words, text, 0, function,                \
         .domain = REEL__IM_MICROSOFT)
#define CONV "auto_pad dilations group kernel_shape pads strides"
#define POOL                                                                             \
    "auto_pad ceil_mode channels_last count_include_pad kernel_shape pads strides"

static const reel__import_row rows[] = {
    STANDARD("QLinearConv", 8, CONV, "qszqszSZb", conv),
    STANDARD("QLinearMatMul", 8, "", "qszqszSZ", matmul),
    STANDARD("ConvInteger", 2, CONV, "qqzz", conv_integer),
    STANDARD("MatMulInteger", 2, "", "qqzz", matmul_integer),
    MICROSOFT("QLinearConv", 8, CONV " channels_last", "qszqszSZb", conv),
    MICROSOFT("QGemm", 6, "alpha transA transB", "qszqszbRZ", gemm),
    MICROSOFT("MatMulIntegerToFloat", 4, "", "qqsszzp", matmul_biased),
    MICROSOFT("DynamicQuantizeMatMul", 3, "", "pqszp", dynamic_matmul),
    MICROSOFT("QLinearAdd", 2, "", "qszqszSZ", sum),
    MICROSOFT("QLinearMul", 2, "", "qszqszSZ", times),
    MICROSOFT("QLinearWhere", 9, "", "pqszqszSZ", where),
    FORM("QLinearConcat", 1, 5, -1, "axis", "SZqsz", 2, concat,
         .domain = REEL__IM_MICROSOFT),
    MICROSOFT("QLinearSigmoid", 2, "", "qszSZ", sigmoid),
    MICROSOFT("QLinearLeakyRelu", 2, "alpha", "qszSZ", leaky_relu),
    MICROSOFT("QLinearSoftmax", 2, "axis opset", "qszSZ", softmax),
    MICROSOFT("QLinearAveragePool", 2, POOL, "qszSZ", average_pool),
    MICROSOFT("QLinearGlobalAveragePool", 5, "channels_last", "qszSZ",
              global_average_pool),
};

const reel__import_family reel__import_qlinear = {rows, sizeof rows / sizeof *rows};
