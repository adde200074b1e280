/* 03_own_module.c: a module of your own, here a gated linear unit (Dauphin et al. 2016,
 * arXiv:1612.08083). It is trained, printed, saved and loaded like any other. */
#include <reel/reel.h>
#include <stdio.h>

typedef struct gated {
    reel_module m; /* first */
    reel_module *value, *gate;
} gated;

static reel_tensor *gated_forward(reel_module *self, reel_tensor *x)
{
    gated *g = (gated *)self;
    return reel_mul(reel_forward(g->value, x), reel_sigmoid(reel_forward(g->gate, x)));
}

static reel_module *gated_new(int64_t in, int64_t out)
{
    gated *g = reel_module_new(sizeof *g, "gated", gated_forward);
    if (!g) return NULL;
    g->value = reel_module_add(&g->m, "value", reel_nn_linear(in, out, NULL));
    g->gate = reel_module_add(&g->m, "gate", reel_nn_linear(in, out, NULL));
    return reel_module_done(&g->m);
}

/* Learns to multiply: y = x0 x1. */
int main(void)
{
    reel_seed(1);
    reel_module *net = reel_nn_sequential(gated_new(2, 32), reel_nn_linear(32, 1, NULL));
    reel_optim *opt = reel_adamw(reel_parameters(net), &(reel_adam_opts){.lr = 0.02});
    reel_summary_write(net, REEL_SHAPE(1, 2), stdout, NULL);

    for (int step = 1; step <= 500 && !reel_failed(); step++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = reel_randn(REEL_SHAPE(64, 2), REEL_F32);
        reel_tensor *y = reel_mul(reel_narrow(x, 1, 0, 1), reel_narrow(x, 1, 1, 1));
        reel_tensor *loss = reel_mse_loss(reel_forward(net, x), y, REEL_MEAN);
        reel_backward(loss, NULL);
        reel_optim_step(opt);
        reel_optim_zero_grad(opt);
        if (step % 100 == 0) printf("step %d  loss %.4f\n", step, reel_item(loss));
        reel_scope_end(s);
    }
    reel_module_save(net, "product.safetensors"); /* 0.value.weight, 0.value.bias, ... */

    reel_optim_free(opt);
    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "03_own_module: %s\n", reel_error_message());
    return reel_failed();
}
