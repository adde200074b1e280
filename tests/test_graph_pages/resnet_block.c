/* resnet_block.c: the block of docs/graphs.md, as in He et al. 2015, arXiv:1512.03385. */
#include "blocks.h"

/* ---- block ------------------------------------------------------------------------------- */

typedef struct block {
    reel_module m;
    reel_module *conv1, *bn1, *conv2, *bn2, *downsample;
} block;

static reel_tensor *block_forward(reel_module *self, reel_tensor *x)
{
    const block *b = (const block *)self;
    reel_tensor *h = reel_relu(reel_forward(b->bn1, reel_forward(b->conv1, x)));
    h = reel_forward(b->bn2, reel_forward(b->conv2, h));
    return reel_relu(reel_add(h, reel_forward(b->downsample, x)));
}

/* ---- making it --------------------------------------------------------------------------- */

static reel_module *conv(int64_t in, int64_t out, int kernel, int stride)
{
    return reel_nn_conv2d(
        in, out, kernel,
        &(reel_nn_conv2d_opts){.conv = {.stride = stride, .padding = kernel / 2},
                               .no_bias = true});
}

reel_module *resnet_block(int64_t in, int64_t out)
{
    block *b = reel_module_new(sizeof *b, "block", block_forward);
    if (!b) return NULL;
    b->conv1 = reel_module_add(&b->m, "conv1", conv(in, out, 3, 2));
    b->bn1 = reel_module_add(&b->m, "bn1", reel_nn_batch_norm2d(out, NULL));
    b->conv2 = reel_module_add(&b->m, "conv2", conv(out, out, 3, 1));
    b->bn2 = reel_module_add(&b->m, "bn2", reel_nn_batch_norm2d(out, NULL));
    b->downsample = reel_module_add(
        &b->m, "downsample",
        reel_nn_sequential(conv(in, out, 1, 2), reel_nn_batch_norm2d(out, NULL)));
    return reel_module_done(&b->m);
}
