/* ops.c: single operators, forward or forward and backward. */
#include <stdlib.h>
#include <string.h>

#include "cases.h"

enum { MAX_IN = 4 };

typedef struct op {
    const bench_case *c;
    reel_tensor *(*fn)(const struct op *);
    reel_tensor *x[MAX_IN];
    reel_tensor *gy; /* gradient of the output; NULL: forward only */
} op;

static void op_close(void *state)
{
    op *o = state;
    for (int i = 0; i < MAX_IN; i++) reel_release(o->x[i]);
    reel_release(o->gy);
    free(o);
}

static reel_status op_step(void *state)
{
    op *o = state;
    int inner = o->c->inner ? o->c->inner : 1;
    for (int i = 0; i < inner; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *y = o->fn(o);
        if (o->gy) reel_backward(y, &(reel_backward_opts){.gradient = o->gy});
        for (int k = 0; k < MAX_IN && o->gy; k++)
            if (o->x[k] && reel_needs_grad(o->x[k])) reel_set_grad(o->x[k], NULL);
        reel_scope_end(s);
    }
    return reel_error_status();
}

static reel_tensor *leaf(reel_tensor *x)
{
    return reel_keep(reel_requires_grad(x, true));
}

static reel_tensor *normal(reel_shape s)
{
    return reel_randn(s, REEL_F32);
}

/* size[7]: 1 for forward and backward */
static op *make(const bench_case *c, reel_tensor *(*fn)(const op *))
{
    op *o = calloc(1, sizeof *o);
    o->c = c;
    o->fn = fn;
    return o;
}

static void *finish(op *o)
{
    if (o->c->size[7]) {
        reel_scope s = reel_scope_begin();
        reel_tensor *y = o->fn(o);
        o->gy = reel_keep(reel_ones_like(y));
        reel_scope_end(s);
    }
    return o;
}

/* ---- add of two tensors of `size[0]` elements, recorded ------------------------------------- */

static reel_tensor *do_add(const op *o)
{
    return reel_add(o->x[0], o->x[1]);
}

static void *add_open(const bench_case *c)
{
    op *o = make(c, do_add);
    reel_scope s = reel_scope_begin();
    o->x[0] = leaf(normal(REEL_SHAPE(c->size[0])));
    o->x[1] = reel_keep(normal(REEL_SHAPE(c->size[0])));
    reel_scope_end(s);
    return finish(o);
}

/* ---- conv2d: n c h k r stride -------------------------------------------------------------------- */

static reel_tensor *do_conv(const op *o)
{
    const int64_t *z = o->c->size;
    return reel_conv2d(
        o->x[0], o->x[1], NULL,
        &(reel_conv2d_opts){.stride = (int)z[5], .padding = (int)z[4] / 2});
}

static void *conv_open(const bench_case *c)
{
    const int64_t *z = c->size;
    op *o = make(c, do_conv);
    reel_scope s = reel_scope_begin();
    o->x[0] = leaf(
        reel_to_format(normal(REEL_SHAPE(z[0], z[1], z[2], z[2])), REEL_CHANNELS_LAST));
    o->x[1] = leaf(normal(REEL_SHAPE(z[3], z[1], z[4], z[4])));
    reel_scope_end(s);
    return finish(o);
}

/* ---- batch_norm + relu: n c h -------------------------------------------------------------------- */

static reel_tensor *do_bn(const op *o)
{
    return reel_batch_norm(o->x[0], o->x[1], o->x[2], NULL, NULL, NULL,
                           &(reel_batch_norm_opts){.training = true, .relu = true});
}

static void *bn_open(const bench_case *c)
{
    const int64_t *z = c->size;
    op *o = make(c, do_bn);
    reel_scope s = reel_scope_begin();
    o->x[0] = leaf(
        reel_to_format(normal(REEL_SHAPE(z[0], z[1], z[2], z[2])), REEL_CHANNELS_LAST));
    o->x[1] = leaf(reel_ones(REEL_SHAPE(z[1]), REEL_F32));
    o->x[2] = leaf(reel_zeros(REEL_SHAPE(z[1]), REEL_F32));
    reel_scope_end(s);
    return finish(o);
}

/* ---- linear: n in out; softmax, gelu, layer_norm: rows columns; attention: b h t d -------------- */

static reel_tensor *do_linear(const op *o)
{
    return reel_linear(o->x[0], o->x[1], o->x[2]);
}

static void *linear_open(const bench_case *c)
{
    const int64_t *z = c->size;
    op *o = make(c, do_linear);
    reel_scope s = reel_scope_begin();
    o->x[0] = leaf(normal(REEL_SHAPE(z[0], z[1])));
    o->x[1] = leaf(normal(REEL_SHAPE(z[2], z[1])));
    o->x[2] = leaf(normal(REEL_SHAPE(z[2])));
    reel_scope_end(s);
    return finish(o);
}

static reel_tensor *do_rows(const op *o)
{
    switch (o->c->size[2]) {
    case 0: return reel_softmax(o->x[0], -1);
    case 1: return reel_gelu(o->x[0]);
    case 2: return reel_layer_norm(o->x[0], 1, o->x[1], o->x[2], NULL);
    default: return reel_relu(o->x[0]);
    }
}

static void *rows_open(const bench_case *c)
{
    const int64_t *z = c->size;
    op *o = make(c, do_rows);
    reel_scope s = reel_scope_begin();
    o->x[0] = leaf(normal(REEL_SHAPE(z[0], z[1])));
    o->x[1] = leaf(normal(REEL_SHAPE(z[1])));
    o->x[2] = leaf(normal(REEL_SHAPE(z[1])));
    reel_scope_end(s);
    return finish(o);
}

static reel_tensor *do_attention(const op *o)
{
    return reel_attention(o->x[0], o->x[1], o->x[2],
                          &(reel_attention_opts){.causal = true});
}

static void *attention_open(const bench_case *c)
{
    const int64_t *z = c->size;
    op *o = make(c, do_attention);
    reel_scope s = reel_scope_begin();
    for (int i = 0; i < 3; i++)
        o->x[i] = leaf(normal(REEL_SHAPE(z[0], z[1], z[2], z[3])));
    reel_scope_end(s);
    return finish(o);
}

static reel_tensor *do_ce(const op *o)
{
    return reel_cross_entropy(o->x[0], o->x[1], NULL);
}

static void *ce_open(const bench_case *c)
{
    const int64_t *z = c->size;
    op *o = make(c, do_ce);
    reel_scope s = reel_scope_begin();
    o->x[0] = leaf(normal(REEL_SHAPE(z[0], z[1])));
    o->x[1] = reel_keep(reel_randint(0, z[1], REEL_SHAPE(z[0]), REEL_I64));
    reel_scope_end(s);
    return finish(o);
}

#define OPEN(f) f, op_step, op_close
const bench_case bench_ops[] = {
    {"op_add_1", "add of two one-element tensors, recorded", OPEN(add_open), {1}, 1000},
    {"op_add_4m",
     "add, 4 M elements, forward and backward",
     OPEN(add_open),
     {4 << 20, [7] = 1},
     0},
    {"op_conv_16x32",
     "conv2d 3x3, 128 x 16 x 32 x 32, forward and backward",
     OPEN(conv_open),
     {128, 16, 32, 16, 3, 1, 0, 1},
     0},
    {"op_conv_64x32",
     "conv2d 3x3, 32 x 64 x 32 x 32, forward and backward",
     OPEN(conv_open),
     {32, 64, 32, 64, 3, 1, 0, 1},
     0},
    {"op_conv_128x16",
     "conv2d 3x3, 32 x 128 x 16 x 16, forward and backward",
     OPEN(conv_open),
     {32, 128, 16, 128, 3, 1, 0, 1},
     0},
    {"op_conv_512x4",
     "conv2d 3x3, 32 x 512 x 4 x 4, forward and backward",
     OPEN(conv_open),
     {32, 512, 4, 512, 3, 1, 0, 1},
     0},
    {"op_conv_s2",
     "conv2d 3x3 stride 2, 32 x 64 x 32 x 32 to 128",
     OPEN(conv_open),
     {32, 64, 32, 128, 3, 2, 0, 1},
     0},
    {"op_conv_1x1",
     "conv2d 1x1, 32 x 256 x 16 x 16, forward and backward",
     OPEN(conv_open),
     {32, 256, 16, 256, 1, 1, 0, 1},
     0},
    {"op_bn_relu",
     "batch norm + relu, 128 x 64 x 32 x 32, forward and backward",
     OPEN(bn_open),
     {128, 64, 32, [7] = 1},
     0},
    {"op_linear_768",
     "linear 768 to 3072, 256 rows, forward and backward",
     OPEN(linear_open),
     {256, 768, 3072, [7] = 1},
     0},
    {"op_linear_128",
     "linear 128 to 512, 768 rows, forward and backward",
     OPEN(linear_open),
     {768, 128, 512, [7] = 1},
     0},
    {"op_softmax",
     "softmax 8192 x 1024, forward and backward",
     OPEN(rows_open),
     {8192, 1024, 0, [7] = 1},
     0},
    {"op_gelu",
     "gelu 4096 x 1024, forward and backward",
     OPEN(rows_open),
     {4096, 1024, 1, [7] = 1},
     0},
    {"op_layer_norm",
     "layer norm 4096 x 768, forward and backward",
     OPEN(rows_open),
     {4096, 768, 2, [7] = 1},
     0},
    {"op_relu",
     "relu 4096 x 1024, forward and backward",
     OPEN(rows_open),
     {4096, 1024, 3, [7] = 1},
     0},
    {"op_attention",
     "causal attention 8 x 12 x 256 x 64, forward and backward",
     OPEN(attention_open),
     {8, 12, 256, 64, [7] = 1},
     0},
    {"op_cross_entropy",
     "cross-entropy 256 x 50257, forward and backward",
     OPEN(ce_open),
     {256, 50257, [7] = 1},
     0},
};
const int bench_n_ops = (int)(sizeof bench_ops / sizeof *bench_ops);
