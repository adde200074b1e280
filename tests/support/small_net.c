#include "small_net.h"

#include <math.h>
#include <string.h>

enum { CONV, GAMMA, BETA, WEIGHT, BIAS, SLOPE };

static reel_tensor *keep_param(reel_shape shape, double scale)
{
    return reel_keep(
        reel_requires_grad(reel_mul_scalar(reel_randn(shape, REEL_F32), scale), true));
}

static bool all_there(const small_net *net)
{
    for (int i = 0; i < SMALL_NET_PARAMS; i++)
        if (!net->param[i] || !net->momentum[i]) return false;
    return net->mean && net->var && net->rate && net->x && net->target;
}

bool small_net_make(small_net *net, uint64_t seed)
{
    *net = (small_net){0};
    reel_seed(seed);
    reel_scope s = reel_scope_begin();
    net->param[CONV] = keep_param(REEL_SHAPE(8, 2, 3, 3), 0.3);
    net->param[GAMMA] = keep_param(REEL_SHAPE(8), 1);
    net->param[BETA] = keep_param(REEL_SHAPE(8), 0.1);
    net->param[WEIGHT] = keep_param(REEL_SHAPE(SMALL_NET_CLASSES, 8), 0.3);
    net->param[BIAS] = keep_param(REEL_SHAPE(SMALL_NET_CLASSES), 0.1);
    net->param[SLOPE] = keep_param(REEL_SHAPE(8), 0.1);
    for (int i = 0; i < SMALL_NET_PARAMS; i++)
        if (net->param[i]) net->momentum[i] = reel_keep(reel_zeros_like(net->param[i]));
    net->mean = reel_keep(reel_zeros(REEL_SHAPE(8), REEL_F32));
    net->var = reel_keep(reel_ones(REEL_SHAPE(8), REEL_F32));
    net->rate = reel_keep(reel_scalar(0.05, REEL_F64));
    net->x = reel_keep(reel_randn(REEL_SHAPE(SMALL_NET_BATCH, 2, 6, 6), REEL_F32));
    net->target = reel_keep(
        reel_randint(0, SMALL_NET_CLASSES, REEL_SHAPE(SMALL_NET_BATCH), REEL_I64));
    reel_scope_end(s);
    if (all_there(net)) return true;
    small_net_free(net);
    return false;
}

void small_net_free(small_net *net)
{
    for (int i = 0; i < SMALL_NET_PARAMS; i++) {
        reel_release(net->param[i]);
        reel_release(net->momentum[i]);
    }
    reel_tensor *rest[] = {net->mean, net->var, net->rate, net->x, net->target};
    for (int i = 0; i < 5; i++) reel_release(rest[i]);
    *net = (small_net){0};
}

static reel_tensor *loss_of(const small_net *net)
{
    reel_tensor *const *p = net->param;
    reel_tensor *y =
        reel_conv2d(net->x, p[CONV], NULL, &(reel_conv2d_opts){.padding = 1});
    y = reel_batch_norm(y, p[GAMMA], p[BETA], net->mean, net->var, NULL,
                        &(reel_batch_norm_opts){.training = true});
    y = reel_relu(y);
    y = reel_mean(y, REEL_DIMS(2, 3), false);
    y = reel_mul(y, reel_exp(p[SLOPE]));
    y = reel_linear(y, p[WEIGHT], p[BIAS]);
    return reel_cross_entropy(y, net->target, NULL);
}

static reel_status update(small_net *net)
{
    const reel_sgd_step_opts opts = {
        .momentum = 0.9, .weight_decay = 1e-3, .first = net->steps == 0};
    reel_status st = REEL_OK;
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; i < SMALL_NET_PARAMS && !st; i++)
        st = reel_sgd_step(net->param[i], reel_grad_of(net->param[i]), net->momentum[i],
                           net->rate, &opts);
    (void)reel_set_grad_enabled(was);
    return st;
}

double small_net_step(small_net *net)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *loss = loss_of(net);
    double value = NAN;
    if (loss && !reel_backward(loss, NULL) && !update(net)) value = reel_item(loss);
    if (!reel_failed()) net->steps++;
    for (int i = 0; i < SMALL_NET_PARAMS; i++) (void)reel_set_grad(net->param[i], NULL);
    reel_scope_end(s);
    return reel_failed() ? NAN : value;
}
