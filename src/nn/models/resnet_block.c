/* resnet_block.c: basic and bottleneck blocks. Batch norm, the residual sum and ReLU are one
 * pass over memory, while the modules keep torchvision's names. */
#include <stdio.h>

#include "nn/models/resnet.h"

typedef struct block {
    reel_module m;
    reel_module *conv[3], *bn[3];
    int n;                   /* convolutions: 2, or 3 in a bottleneck */
    reel_module *downsample; /* of the shortcut; NULL: none */
    int64_t new_channels;    /* SHORTCUT_PAD: zeros to add */
    int stride;
} block;

reel_module *reel__resnet_conv(int64_t in, int64_t out, int kernel, int stride)
{
    return reel_nn_conv2d(
        in, out, kernel,
        &(reel_nn_conv2d_opts){.conv = {.stride = stride, .padding = kernel / 2},
                               .no_bias = true,
                               .kaiming = &(reel_kaiming_opts){.fan_out = true}});
}

reel_tensor *reel__conv_bn(reel_module *conv, reel_module *bn, reel_tensor *x,
                           reel_tensor *residual, bool relu)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *h = reel_forward(conv, x);
    if (reel__is_batch_norm2d(bn)) {
        h = reel_nn_batch_norm2d_forward(bn, h, residual, relu);
    } else {
        h = reel_forward(bn, h);
        if (residual) h = reel_add(h, residual);
        if (relu) h = reel_relu(h);
    }
    return reel_scope_return(s, h);
}

/* x [n, c, h, w] -> [n, c + new, h / stride, w / stride]: no weights. */
static reel_tensor *pad_shortcut(const block *b, reel_tensor *x)
{
    reel_scope s = reel_scope_begin();
    int64_t before = b->new_channels / 2, after = b->new_channels - before;
    reel_tensor *y = reel_slice(x, 2, 0, REEL_END, b->stride);
    y = reel_slice(y, 3, 0, REEL_END, b->stride);
    return reel_scope_return(
        s, reel_pad(y, REEL_SHAPE(0, before, 0, 0), REEL_SHAPE(0, after, 0, 0), 0));
}

static reel_tensor *block_forward(reel_module *self, reel_tensor *x)
{
    const block *b = (const block *)self;
    reel_tensor *shortcut = x;
    if (b->downsample) shortcut = reel_forward(b->downsample, x);
    if (b->new_channels) shortcut = pad_shortcut(b, x);
    if (!shortcut) return NULL; /* for below it would mean that there is none */
    for (int i = 0; i < b->n; i++) {
        bool last = i == b->n - 1;
        x = reel__conv_bn(b->conv[i], b->bn[i], x, last ? shortcut : NULL, true);
    }
    return x;
}

static void add_conv(block *b, int64_t in, int64_t out, int kernel, int stride)
{
    char conv[16], bn[16];
    snprintf(conv, sizeof conv, "conv%d", b->n + 1);
    snprintf(bn, sizeof bn, "bn%d", b->n + 1);
    b->conv[b->n] =
        reel_module_add(&b->m, conv, reel__resnet_conv(in, out, kernel, stride));
    b->bn[b->n] = reel_module_add(&b->m, bn, reel_nn_batch_norm2d(out, NULL));
    b->n++;
}

reel_module *reel__residual_block(const reel__resnet_plan *plan, int64_t in,
                                  int64_t width, int stride)
{
    block *b = reel_module_new(
        sizeof *b, plan->bottleneck ? "bottleneck_block" : "basic_block", block_forward);
    if (!b) return NULL;
    int64_t out = plan->bottleneck ? 4 * width : width;
    b->stride = stride;
    if (plan->bottleneck) {
        add_conv(b, in, width, 1, 1);
        add_conv(b, width, width, 3, stride);
        add_conv(b, width, out, 1, 1);
    } else {
        add_conv(b, in, width, 3, stride);
        add_conv(b, width, out, 3, 1);
    }
    if (plan->zero_init)
        reel_init_constant(reel_module_find(b->bn[b->n - 1], "weight"), 0);
    if (in != out || stride != 1) {
        if (plan->shortcut == SHORTCUT_PAD)
            b->new_channels = out - in;
        else
            b->downsample =
                reel_module_add(&b->m, "downsample",
                                reel_nn_sequential(reel__resnet_conv(in, out, 1, stride),
                                                   reel_nn_batch_norm2d(out, NULL)));
    }
    return reel_module_done(&b->m);
}
