/* transformer_block.c: the block of docs/graphs.md: attention of one head, layer norm and
 * GELU composed by hand. */
#include <math.h>

#include "blocks.h"

typedef struct block {
    reel_module m;
    reel_module *q, *k, *v, *up, *down;
    reel_tensor *weight, *bias; /* of the norm before the MLP */
} block;

/* ---- block ------------------------------------------------------------------------------- */

static reel_tensor *norm(const block *b, reel_tensor *x)
{
    reel_tensor *centred = reel_sub(x, reel_mean(x, REEL_SHAPE(-1), true));
    reel_tensor *var = reel_mean(reel_square(centred), REEL_SHAPE(-1), true);
    reel_tensor *unit = reel_div(centred, reel_sqrt(reel_add_scalar(var, 1e-5)));
    return reel_add(reel_mul(unit, b->weight), b->bias);
}

static reel_tensor *attend(const block *b, reel_tensor *x)
{
    reel_tensor *q = reel_forward(b->q, x), *k = reel_forward(b->k, x);
    reel_tensor *scores = reel_matmul(q, reel_transpose(k, 1, 2));
    scores = reel_mul_scalar(scores, 1 / sqrt((double)reel_size(q, 2)));
    return reel_matmul(reel_softmax(scores, -1), reel_forward(b->v, x));
}

static reel_tensor *gelu(reel_tensor *x)
{
    reel_tensor *e = reel_erf(reel_mul_scalar(x, sqrt(0.5)));
    return reel_mul_scalar(reel_mul(x, reel_add_scalar(e, 1)), 0.5);
}

static reel_tensor *block_forward(reel_module *self, reel_tensor *x)
{
    const block *b = (const block *)self;
    x = reel_add(x, attend(b, x));
    return reel_add(x, reel_forward(b->down, gelu(reel_forward(b->up, norm(b, x)))));
}

/* ---- making it --------------------------------------------------------------------------- */

reel_module *transformer_block(int64_t dim)
{
    block *b = reel_module_new(sizeof *b, "block", block_forward);
    if (!b) return NULL;
    b->q = reel_module_add(&b->m, "q", reel_nn_linear(dim, dim, NULL));
    b->k = reel_module_add(&b->m, "k", reel_nn_linear(dim, dim, NULL));
    b->v = reel_module_add(&b->m, "v", reel_nn_linear(dim, dim, NULL));
    b->weight = reel_module_param(&b->m, "weight", reel_ones(REEL_SHAPE(dim), REEL_F32));
    b->bias = reel_module_param(&b->m, "bias", reel_zeros(REEL_SHAPE(dim), REEL_F32));
    b->up = reel_module_add(&b->m, "up", reel_nn_linear(dim, 4 * dim, NULL));
    b->down = reel_module_add(&b->m, "down", reel_nn_linear(4 * dim, dim, NULL));
    return reel_module_done(&b->m);
}
