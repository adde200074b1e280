/* pool.c: pooling. The gradient of max pooling scatters to the saved indices, whose own
 * gradient gathers from them; mean pooling and its gradient are linear and each other's
 * transpose. */
#include <inttypes.h>
#include <math.h>

#include "base/option.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define G gy[0]
#define A(c) ATTRS(c, reel__pool2d_attrs)

/* PyTorch's rule: with ceil_mode the last window may hang over, by less than a stride, but must
 * start inside the input or its left padding. Where not even one window fits, the first is the
 * last. */
static int64_t out_size(const reel__pool2d_attrs *a, int i, int64_t n)
{
    int64_t pad, reach, span; /* attributes may come from a file: nothing may overflow */
    if (a->stride[i] < 1 || a->padding[i] < 0 || a->dilation[i] < 1 || a->kernel[i] < 1 ||
        n < 0 || !reel__checked_mul(a->padding[i], 2, &pad) ||
        !reel__checked_mul(a->dilation[i], a->kernel[i] - 1, &reach) ||
        !reel__checked_add(reach, 1, &reach) || !reel__checked_add(n, pad, &span))
        return 0;
    span -= reach; /* where the last window that fits may start */
    if (span < 0) return a->ceil_mode && -span < a->stride[i] && n > 0;
    int64_t before = n + a->padding[i]; /* windows of ceil_mode start before this */
    int64_t most = before / a->stride[i] + (before % a->stride[i] != 0);
    int64_t out = span / a->stride[i] + 1;
    if (a->ceil_mode && span % a->stride[i] && out < most) out++;
    return out;
}

static reel_status pool_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    REQUIRE(c, x->rank == 4, REEL_ERR_SHAPE, "input %s must be [n, c, h, w]", SHOW(x));
    *out = *x;
    out->offset = 0;
    for (int i = 0; i < 2; i++) {
        REQUIRE(c,
                A(c)->kernel[i] >= 1 && A(c)->stride[i] >= 1 && A(c)->padding[i] >= 0 &&
                    A(c)->padding[i] <= A(c)->kernel[i] / 2 && A(c)->dilation[i] >= 1,
                REEL_ERR_ARG,
                "window %" PRId64 ", stride %" PRId64 ", padding %" PRId64
                ": window and stride must be 1 or more, padding at most half the window",
                A(c)->kernel[i], A(c)->stride[i], A(c)->padding[i]);
        out->dim[2 + i] = out_size(A(c), i, x->dim[2 + i]);
        REQUIRE(c, out->dim[2 + i] > 0, REEL_ERR_SHAPE,
                "a window of %" PRId64 " with padding %" PRId64 " does not fit into %s",
                A(c)->kernel[i], A(c)->padding[i], SHOW(x));
    }
    reel__set_channels_last(out);
    return REEL_OK;
}

static reel_status check_rank(const reel__call *c)
{
    REQUIRE(c, IN_META(c, 0)->rank == 4, REEL_ERR_SHAPE, "input %s must be [n, c, h, w]",
            SHOW(IN_META(c, 0)));
    return REEL_OK;
}

/* Gradient gy must be what pooling makes of attrs.size. */
static reel_status check_pooled(const reel__call *c)
{
    const reel__meta *g = IN_META(c, 0);
    reel_status st = check_rank(c);
    if (st) return st;
    for (int i = 0; i < 2; i++)
        REQUIRE(c, g->dim[2 + i] == out_size(A(c), i, A(c)->size[i]), REEL_ERR_SHAPE,
                "gradient %s does not belong to a size of %" PRId64 " x %" PRId64,
                SHOW(g), A(c)->size[0], A(c)->size[1]);
    return REEL_OK;
}

/* gradients: the size before pooling */
static reel_status size_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = check_rank(c);
    if (st) return st;
    *out = *IN_META(c, 0);
    out->offset = 0;
    out->dim[2] = A(c)->size[0];
    out->dim[3] = A(c)->size[1];
    reel__set_channels_last(out);
    return REEL_OK;
}

static reel_status unpool_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = check_pooled(c);
    return st ? st : size_infer(c, out);
}

static reel__pool2d_attrs sized(const reel__call *c)
{
    reel__pool2d_attrs a = *A(c);
    a.size[0] = IN_META(c, 0)->dim[2];
    a.size[1] = IN_META(c, 0)->dim[3];
    return a;
}

static double window_flops(const reel__call *c)
{
    return (double)reel__numel(&c->out[0]->meta) * (double)A(c)->kernel[0] *
           (double)A(c)->kernel[1];
}

/* ---- max_pool2d: y, and the index of each winner in its plane --------------------------------- */

static reel_status max_pool2d_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = pool_infer(c, out);
    out[1] = out[0];
    out[1].dtype = REEL_I64;
    return st;
}

static reel_status max_unpool_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *g = IN_META(c, 0), *index = IN_META(c, 1);
    REQUIRE(c, index->dtype == REEL_I64 && reel__same_shape(g, index), REEL_ERR_SHAPE,
            "index %s must be i64 of the shape of gradient %s", SHOW(index), SHOW(g));
    return unpool_infer(c, out);
}

/* gx = the elements of gy at the indices: [n, c, ho * wo] from [n, c, h * w] */
static void max_pool2d_backward_vjp(const reel__call *c, reel_tensor *const gy[],
                                    reel_tensor *gx[])
{
    reel_tensor *flat =
        reel_gather(reel_flatten(G, 2, 3), 2, reel_flatten(c->in[1], 2, 3));
    gx[0] = reel_reshape(flat, reel__shape(IN_META(c, 0)));
}

const reel__op reel__max_pool2d_backward = {
    .name = "max_pool2d_backward",
    .kernel = K_MAX_POOL2D_BACKWARD,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(1),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__pool2d_schema,
    .infer = max_unpool_infer,
    .vjp = max_pool2d_backward_vjp,
    .no_onnx = REEL__ONNX_TRAINING,
    /* windows so large that each holds the whole plane: any index is one of a winner */
    .sample = "f[1,2,2,2]; i64[1,2,2,2] in 0..16 | kernel=8,8 stride=4,4 padding=4,4 "
              "dilation=1,1 size=4,4",
};

static void max_pool2d_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    reel__pool2d_attrs a = sized(c);
    gx[0] = APPLY(&reel__max_pool2d_backward, &a, reel__channels_last(G), c->out[1]);
}

static bool follows_batch(const reel__ref x)
{
    return x->grow[2] || x->grow[3];
}

static reel_status follows(const reel__call *c, const char *what)
{
    return reel__bad(
        c, REEL_ERR_UNSUPPORTED,
        "%s needs padding or windows of a fixed size in ONNX, and the height "
        "or width follows the batch",
        what);
}

/* Rounding up is written as padding behind, which every opset understands alike: in 13 to 18
 * a last window could start in it. */
static reel_status pads_of(const reel__call *c, const reel__ref x, reel__ref y,
                           int64_t pads[4])
{
    if (A(c)->ceil_mode && follows_batch(x)) return follows(c, "ceil_mode");
    for (int i = 0; i < 2; i++) {
        int64_t reach = (y->dim[2 + i] - 1) * A(c)->stride[i] +
                        A(c)->dilation[i] * (A(c)->kernel[i] - 1) + 1;
        int64_t behind = reach - x->dim[2 + i] - A(c)->padding[i];
        pads[i] = A(c)->padding[i];
        pads[2 + i] = behind > A(c)->padding[i] ? behind : A(c)->padding[i];
    }
    return REEL_OK;
}

static void window(reel_onnx *o, const reel__pool2d_attrs *a, const int64_t pads[4])
{
    reel__onnx_ints(o, "kernel_shape", 2, a->kernel);
    reel__onnx_ints(o, "strides", 2, a->stride);
    reel__onnx_ints(o, "pads", 4, pads);
    reel__onnx_int(o, "ceil_mode", 0);
}

/* More padding behind than a window has elements, which no runtime takes, becomes part of the
 * tensor: -inf never wins. */
static reel__ref pad_behind(const reel__call *c, reel_onnx *o, int64_t pads[4])
{
    const reel__ref x = o->in[0];
    int64_t more[8] = {0};
    if (pads[2] < A(c)->kernel[0] && pads[3] < A(c)->kernel[1]) return x;
    reel_onnx_ref wide = *x;
    for (int i = 0; i < 2; i++) {
        more[6 + i] = pads[2 + i] - A(c)->padding[i];
        wide.dim[2 + i] += more[6 + i];
        pads[2 + i] = A(c)->padding[i];
    }
    return ONNX_NODE("Pad", wide, x, reel__onnx_list(o, 8, more), NUM(-INFINITY));
}

/* ONNX numbers winners through the whole tensor; `wide` is x with what was padded. */
static reel__ref place_in_plane(reel_onnx *o, reel__ref at, reel__ref x, reel__ref wide)
{
    if (reel_failed()) return NULL;
#define SIZE(n) reel__onnx_number(o, (double)(n), REEL_I64)
    reel__ref plane = ONNX("Mod", at, SIZE(wide->dim[2] * wide->dim[3]));
    if (x->dim[3] == wide->dim[3]) return plane;
    reel__ref row = ONNX("Div", plane, SIZE(wide->dim[3]));
    reel__ref column = ONNX("Mod", plane, SIZE(wide->dim[3]));
    return ONNX("Add", ONNX("Mul", row, SIZE(x->dim[3])), column);
#undef SIZE
}

static reel_status max_pool2d_onnx(const reel__call *c, reel_onnx *o)
{
    int64_t pads[4];
    if (pads_of(c, o->in[0], &o->out[0], pads)) return reel_error_status();
    reel__ref wide = pad_behind(c, o, pads);
    reel__ref y = ONNX_NODE("MaxPool", o->out[0], wide);
    window(o, A(c), pads);
    reel__onnx_ints(o, "dilations", 2, A(c)->dilation);
    if (o->out[1].rank < 0) return reel__onnx_give(o, 0, y);
    reel__ref at = reel__onnx_more(o, o->out[1]);
    (void)reel__onnx_give(o, 0, y);
    return reel__onnx_give(o, 1, place_in_plane(o, at, o->in[0], wide));
}

const reel__op reel__max_pool2d = {
    .name = "max_pool2d",
    .kernel = K_MAX_POOL2D,
    .n_in = 1,
    .n_out = 2,
    .saves = SAVE_OUT(1),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__pool2d_schema,
    .infer = max_pool2d_infer,
    .vjp = max_pool2d_vjp,
    .onnx = max_pool2d_onnx,
    .flops = window_flops,
    .sample = "f[2,3,6,5] | kernel=2,2 stride=2,2 dilation=1,1\n"
              "f[1,2,7,7] | kernel=3,3 stride=2,2 padding=1,1 dilation=1,1\n"
              "f[1,1,6,6] | kernel=3,2 stride=2,2 padding=0,1 dilation=1,2 ceil_mode=1\n"
              "f[1,2,3,4] | kernel=6,9 stride=3,8 padding=1,2 dilation=1,1 ceil_mode=1\n"
              "f[1,1,4,3] | kernel=3,2 stride=4,2 dilation=3,3 ceil_mode=1",
};

/* ---- avg_pool2d ------------------------------------------------------------------------------------ */

static void avg_pool2d_backward_vjp(const reel__call *c, reel_tensor *const gy[],
                                    reel_tensor *gx[])
{
    gx[0] = APPLY(&reel__avg_pool2d, c->attrs, reel__channels_last(G));
}

const reel__op reel__avg_pool2d_backward = {
    .name = "avg_pool2d_backward",
    .kernel = K_AVG_POOL2D_BACKWARD,
    .n_in = 1,
    .n_out = 1,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__pool2d_schema,
    .infer = unpool_infer,
    .vjp = avg_pool2d_backward_vjp,
    .no_onnx = REEL__ONNX_TRAINING,
    .sample =
        "f[2,3,3,2] | kernel=2,2 stride=2,2 dilation=1,1 count_include_pad=1 size=6,5\n"
        "f[1,2,1,1] | kernel=6,9 stride=3,8 padding=1,2 dilation=1,1 "
        "count_include_pad=1 ceil_mode=1 size=3,4",
};

static void avg_pool2d_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    reel__pool2d_attrs a = sized(c);
    gx[0] = APPLY(&reel__avg_pool2d_backward, &a, reel__channels_last(G));
}

/* What counts as an element of a window: with count_include_pad the padding, but never what
 * rounding up adds behind it. So where there is both, the padding becomes a tensor's. */
static reel_status avg_pool2d_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__pool2d_attrs *a = A(c);
    int64_t pads[4];
    reel__ref x = o->in[0];
    if (pads_of(c, x, &o->out[0], pads)) return reel_error_status();
    bool counted = a->count_include_pad;
    if (counted && (pads[2] > a->padding[0] || pads[3] > a->padding[1])) {
        const int64_t around[8] = {0, 0, a->padding[0], a->padding[1],
                                   0, 0, a->padding[0], a->padding[1]};
        reel_onnx_ref wide = *x;
        for (int i = 0; i < 2; i++) {
            wide.dim[2 + i] += 2 * a->padding[i];
            pads[i] = 0;
            pads[2 + i] -= a->padding[i];
        }
        x = ONNX_NODE("Pad", wide, x, reel__onnx_list(o, 8, around), NUM(0));
        counted = false;
    }
    reel__ref y = ONNX_NODE("AveragePool", o->out[0], x);
    window(o, a, pads);
    reel__onnx_int(o, "count_include_pad", counted);
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__avg_pool2d = {
    .name = "avg_pool2d",
    .kernel = K_AVG_POOL2D,
    .n_in = 1,
    .n_out = 1,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__pool2d_schema,
    .infer = pool_infer,
    .vjp = avg_pool2d_vjp,
    .onnx = avg_pool2d_onnx,
    .flops = window_flops,
    .sample = "f[2,3,6,5] | kernel=2,2 stride=2,2 dilation=1,1 count_include_pad=1\n"
              "f[1,2,7,7] | kernel=3,3 stride=2,2 padding=1,1 dilation=1,1 "
              "count_include_pad=0 ceil_mode=1\n"
              "f[1,2,7,6] | kernel=3,2 stride=2,3 padding=1,0 dilation=1,1 "
              "count_include_pad=1 ceil_mode=1\n"
              "f[1,2,3,4] | kernel=6,9 stride=3,8 padding=1,2 dilation=1,1 "
              "count_include_pad=1 ceil_mode=1\n"
              "f[1,2,3,4] | kernel=6,9 stride=4,9 padding=1,0 dilation=1,1 ceil_mode=1",
};

/* ---- adaptive_avg_pool2d: windows that cover h, w evenly -------------------------------------------- */

static reel_status adaptive_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    REQUIRE(c, x->rank == 4 && x->dim[2] > 0 && x->dim[3] > 0, REEL_ERR_SHAPE,
            "input %s must be [n, c, h, w] with h, w > 0", SHOW(x));
    REQUIRE(c, A(c)->size[0] > 0 && A(c)->size[1] > 0, REEL_ERR_ARG,
            "result size %" PRId64 " x %" PRId64 " must be positive", A(c)->size[0],
            A(c)->size[1]);
    return size_infer(c, out);
}

static void adaptive_avg_pool2d_backward_vjp(const reel__call *c, reel_tensor *const gy[],
                                             reel_tensor *gx[])
{
    reel__pool2d_attrs a = sized(c);
    gx[0] = APPLY(&reel__adaptive_avg_pool2d, &a, reel__channels_last(G));
}

const reel__op reel__adaptive_avg_pool2d_backward = {
    .name = "adaptive_avg_pool2d_backward",
    .kernel = K_ADAPTIVE_AVG_POOL2D_BACKWARD,
    .n_in = 1,
    .n_out = 1,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__pool2d_schema,
    .infer = size_infer,
    .vjp = adaptive_avg_pool2d_backward_vjp,
    .no_onnx = REEL__ONNX_TRAINING,
    .sample = "f[2,3,2,3] | size=5,4",
};

static void adaptive_avg_pool2d_vjp(const reel__call *c, reel_tensor *const gy[],
                                    reel_tensor *gx[])
{
    reel__pool2d_attrs a = sized(c);
    gx[0] = APPLY(&reel__adaptive_avg_pool2d_backward, &a, reel__channels_last(G));
}

/* Windows of one size, or there is no operator for it. */
static reel_status adaptive_avg_pool2d_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref x = o->in[0];
    const int64_t *size = A(c)->size, *hw = &x->dim[2], none[4] = {0};
    if (size[0] == 1 && size[1] == 1)
        return reel__onnx_give(o, 0, ONNX_NODE("GlobalAveragePool", o->out[0], x));
    if (follows_batch(x)) return follows(c, "an adaptive pool");
    if (hw[0] % size[0] || hw[1] % size[1])
        return reel__bad(c, REEL_ERR_UNSUPPORTED,
                         "ONNX has windows of one size only, and %" PRId64 " x %" PRId64
                         " does not divide into %" PRId64 " x %" PRId64,
                         hw[0], hw[1], size[0], size[1]);
    const reel__pool2d_attrs even = {.kernel = {hw[0] / size[0], hw[1] / size[1]},
                                     .stride = {hw[0] / size[0], hw[1] / size[1]}};
    reel__ref y = ONNX_NODE("AveragePool", o->out[0], x);
    window(o, &even, none);
    reel__onnx_int(o, "count_include_pad", 0);
    return reel__onnx_give(o, 0, y);
}

const reel__op reel__adaptive_avg_pool2d = {
    .name = "adaptive_avg_pool2d",
    .kernel = K_ADAPTIVE_AVG_POOL2D,
    .n_in = 1,
    .n_out = 1,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__pool2d_schema,
    .infer = adaptive_infer,
    .vjp = adaptive_avg_pool2d_vjp,
    .onnx = adaptive_avg_pool2d_onnx,
    .sample = "f[2,3,5,4] | size=1,1\nf[1,2,7,6] | size=3,4",
};

/* ---- functions ------------------------------------------------------------------------------------------ */

static reel__pool2d_attrs from_opts(int kernel, const reel_pool2d_opts *o)
{
    reel__pool2d_attrs a = {.ceil_mode = o->ceil_mode,
                            .count_include_pad = !o->exclude_pad};
    for (int i = 0; i < 2; i++) {
        bool strides = o->stride_hw[0] || o->stride_hw[1];
        a.kernel[i] = o->kernel_hw[0] || o->kernel_hw[1] ? o->kernel_hw[i] : kernel;
        a.stride[i] = strides ? o->stride_hw[i] : o->stride ? o->stride : a.kernel[i];
        a.padding[i] =
            o->padding_hw[0] || o->padding_hw[1] ? o->padding_hw[i] : o->padding;
        a.dilation[i] = o->dilation ? o->dilation : 1;
    }
    return a;
}

static reel_tensor *pool(const reel__op *op, reel_tensor *x, int kernel,
                         const reel_pool2d_opts *opts)
{
    if (!reel__have(op->name, x, "x")) return NULL;
    const reel_pool2d_opts *o = REEL__OPTS(op->name, reel_pool2d_opts, opts);
    if (!o) return NULL;
    if (o->dilation < 0) {
        reel_fail(REEL_ERR_ARG, "%s: dilation %d, expected 0 or more", op->name,
                  o->dilation);
        return NULL;
    }
    reel__pool2d_attrs a = from_opts(kernel, o);
    reel_scope s = reel_scope_begin();
    return reel_scope_return(s, APPLY(op, &a, reel__channels_last(x)));
}

reel_tensor *reel_max_pool2d(reel_tensor *x, int kernel, const reel_pool2d_opts *opts)
{
    return pool(&reel__max_pool2d, x, kernel, opts);
}

reel_tensor *reel_avg_pool2d(reel_tensor *x, int kernel, const reel_pool2d_opts *opts)
{
    if (opts && opts->dilation > 1) {
        reel_fail(REEL_ERR_ARG, "avg_pool2d: dilation %d; there is only 1",
                  opts->dilation);
        return NULL;
    }
    return pool(&reel__avg_pool2d, x, kernel, opts);
}

reel_tensor *reel_adaptive_avg_pool2d(reel_tensor *x, int h, int w)
{
    if (!reel__have("adaptive_avg_pool2d", x, "x")) return NULL;
    const reel__pool2d_attrs a = {.size = {h, w}};
    reel_scope s = reel_scope_begin();
    return reel_scope_return(
        s, APPLY(&reel__adaptive_avg_pool2d, &a, reel__channels_last(x)));
}
