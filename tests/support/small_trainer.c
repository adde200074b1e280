/* small_trainer.c: see the header. */
#include "small_trainer.h"

reel_module *small_trainer_net(void)
{
    reel_seed(5);
    return reel_nn_sequential(
        reel_nn_conv2d(3, 8, 3, NULL), reel_nn_batch_norm2d(8, NULL), reel_nn_relu(),
        reel_nn_dropout(0.3), reel_nn_flatten(1, -1), reel_nn_linear(8 * 6 * 6, 4, NULL));
}

small_trainer small_trainer_new(reel_module *net, bool adam)
{
    reel_params p = reel_parameters(net);
    reel_optim *optim =
        adam ? reel_adamw(p, &(reel_adam_opts){.lr = 0.01, .weight_decay = 0.1})
             : reel_sgd(p, &(reel_sgd_opts){.lr = 0.05, .momentum = 0.9});
    return (small_trainer){net, optim};
}

void small_trainer_free(small_trainer t)
{
    reel_optim_free(t.optim);
    reel_module_free(t.net);
}

void small_trainer_data(int n, reel_tensor *x[], reel_tensor *y[])
{
    reel_seed(9);
    for (int i = 0; i < n; i++) {
        x[i] = reel_randn(REEL_SHAPE(4, 3, 8, 8), REEL_F32);
        y[i] = reel_randint(0, 4, REEL_SHAPE(4), REEL_I64);
    }
}

reel_tensor *small_trainer_step(small_trainer t, reel_tensor *x, reel_tensor *y)
{
    reel_tensor *loss = reel_cross_entropy(reel_forward(t.net, x), y, NULL);
    reel_backward(loss, NULL);
    reel_optim_step(t.optim);
    reel_optim_zero_grad(t.optim);
    return loss;
}

reel_graph *small_trainer_capture(small_trainer t, reel_tensor *x, reel_tensor *y,
                                  reel_tensor **loss)
{
    if (reel_capture_begin()) return NULL;
    (void)reel_capture_module(t.net);
    (void)reel_capture_input(x, "x");
    (void)reel_capture_input(y, "y");
    *loss = small_trainer_step(t, x, y);
    return reel_capture_end(loss, 1, NULL);
}
