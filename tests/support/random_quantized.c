/* random_quantized.c: layers on integers, drawn so that every way of computing them gives the same
 * bits: steps are powers of two, sums small enough to be exact in f32, and steps of results are
 * 37 of the sums', so that no sum lies where rounding turns. What is quantized first are inputs of
 * the net, which no pass has rounded. */
#include "random_quantized.h"

enum { X_STEP = 16, W_STEP = 64, RESULT = 37 };

typedef struct stage {
    random_net *net;
    double step; /* of the last grid */
    bool floats; /* the result so far is on no grid */
} stage;

static reel_tensor *number(double step)
{
    return reel_scalar(step, REEL_F32);
}

static reel_tensor *zero(reel_dtype dtype, int at)
{
    return reel_cast(reel_scalar(at, REEL_F32), dtype);
}

/* x on a grid of bytes, and from it as floats. */
static reel_tensor *on_grid(stage *s, reel_tensor *x, double step)
{
    const bool is_signed = random_net_draw(s->net, 2);
    const int at = random_net_draw(s->net, 3) ? random_net_draw(s->net, 200) : 0;
    reel_tensor *z = zero(is_signed ? REEL_I8 : REEL_U8, is_signed ? at - 100 : at);
    reel_tensor *scale = number(s->step = step), *q = reel_quantize(x, scale, z);
    if (random_net_draw(s->net, 4) == 0) q = reel_contiguous(q);
    return reel_dequantize(q, scale, z);
}

/* A weight that no gradient moves, quantized around zero in steps of a tensor or of each row. */
static reel_tensor *weight(stage *s, reel_shape shape)
{
    reel_tensor *w = random_net_param(s->net, shape, -0.3, 0.3);
    if (!w) return NULL;
    w = reel_cast(reel_detach(w), REEL_F32);
    reel_tensor *step = number(1. / W_STEP), *z = zero(REEL_I8, 0);
    if (random_net_draw(s->net, 2)) {
        reel_shape each = {.rank = shape.rank, .dim = {shape.dim[0], 1, 1, 1}};
        step = reel_copy(reel_expand(step, each));
    }
    return reel_dequantize(reel_quantize(w, step, z), step, z);
}

/* A bias in whole steps of the sums, or none. */
static reel_tensor *bias(stage *s, int64_t n)
{
    if (random_net_draw(s->net, 2)) return NULL;
    reel_tensor *b = random_net_param(s->net, REEL_SHAPE(n), -1, 1);
    if (!b) return NULL;
    b = reel_cast(reel_detach(b), REEL_F32);
    reel_tensor *step = number(s->step / W_STEP), *z = zero(REEL_I32, 0);
    return reel_dequantize(reel_quantize(b, step, z), step, z);
}

static reel_tensor *activated(stage *s, reel_tensor *x)
{
    switch (random_net_draw(s->net, 5)) {
    case 0: return reel_relu(x);
    case 1: return reel_relu6(x);
    case 2: return reel_clamp(x, -0.5, 1);
    default: return x;
    }
}

static reel_tensor *conv(stage *s, reel_tensor *x)
{
    const int64_t c = reel_size(x, 1);
    const bool depthwise = random_net_draw(s->net, 3) == 0;
    const int side = random_net_draw(s->net, 2) ? 3 : 1;
    const int64_t k = depthwise ? c : 4 + random_net_draw(s->net, 6);
    reel_tensor *w = weight(s, REEL_SHAPE(k, depthwise ? 1 : c, side, side));
    const reel_conv2d_opts o = {.stride = 1 + random_net_draw(s->net, 2),
                                .padding = side / 2,
                                .groups = depthwise ? (int)c : 1};
    return w ? reel_conv2d(x, w, bias(s, k), &o) : NULL;
}

static reel_tensor *linear(stage *s, reel_tensor *x)
{
    const int64_t in = reel_size(x, -1), out = 2 + random_net_draw(s->net, 7);
    if (in > 200) return NULL;
    if (random_net_draw(s->net, 3) == 0) {
        reel_tensor *w = weight(s, REEL_SHAPE(out, in));
        return w ? reel_matmul(x, reel_transpose(w, 0, 1)) : NULL;
    }
    reel_tensor *w = weight(s, REEL_SHAPE(out, in));
    return w ? reel_linear(x, w, bias(s, out)) : NULL;
}

/* One of what runs on a grid and goes back to one. */
static reel_tensor *more(stage *s, reel_tensor *x)
{
    const double product = s->step / W_STEP * RESULT;
    reel_tensor *y = NULL;
    switch (random_net_draw(s->net, 6)) {
    case 0: return on_grid(s, reel_add(x, on_grid(s, x, s->step)), 2 * s->step);
    case 1: return on_grid(s, reel_sigmoid(x), 1. / 256);
    case 2: return reel_flatten(x, 1, -1);
    case 3:
        return reel_rank(x) == 4 && reel_size(x, 2) > 1 && reel_size(x, 3) > 1
                   ? on_grid(s, reel_max_pool2d(x, 2, NULL), s->step)
                   : x;
    default: break;
    }
    y = reel_rank(x) == 4 ? conv(s, x) : linear(s, x);
    if (!y) return x;
    y = activated(s, y);
    s->floats = random_net_draw(s->net, 5) == 0;
    return s->floats ? y : on_grid(s, y, product);
}

reel_tensor *random_quantized(random_net *net, reel_tensor *x)
{
    stage s = {.net = net};
    reel_tensor *y = on_grid(&s, reel_cast(reel_detach(x), REEL_F32), 1. / X_STEP);
    const int n = 1 + random_net_draw(net, 4);
    for (int i = 0; i < n && y && !s.floats; i++) y = more(&s, y);
    return y ? reel_cast(y, net->dtype) : NULL;
}
