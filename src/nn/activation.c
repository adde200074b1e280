/* activation.c: elementwise functions as one table, each with PyTorch's default parameter. */
#include "base/error.h"
#include "nn/module.h"

static reel_tensor *leaky_relu(reel_tensor *x)
{
    return reel_leaky_relu(x, 0.01);
}

static reel_tensor *elu(reel_tensor *x)
{
    return reel_elu(x, 1);
}

static reel_tensor *identity(reel_tensor *x)
{
    return x;
}

static const struct row {
    const char *name;
    reel_tensor *(*fn)(reel_tensor *x);
} table[REEL__ACT_COUNT] = {
    [REEL_ACT_RELU] = {"relu", reel_relu},
    [REEL_ACT_RELU6] = {"relu6", reel_relu6},
    [REEL_ACT_LEAKY_RELU] = {"leaky_relu", leaky_relu},
    [REEL_ACT_ELU] = {"elu", elu},
    [REEL_ACT_GELU] = {"gelu", reel_gelu},
    [REEL_ACT_GELU_TANH] = {"gelu_tanh", reel_gelu_tanh},
    [REEL_ACT_SILU] = {"silu", reel_silu},
    [REEL_ACT_SIGMOID] = {"sigmoid", reel_sigmoid},
    [REEL_ACT_TANH] = {"tanh", reel_tanh},
    [REEL_ACT_HARDSIGMOID] = {"hardsigmoid", reel_hardsigmoid},
    [REEL_ACT_HARDSWISH] = {"hardswish", reel_hardswish},
    [REEL_ACT_SOFTPLUS] = {"softplus", reel_softplus},
    [REEL_ACT_IDENTITY] = {"identity", identity},
};

static const struct row *row_of(reel_activation kind)
{
    return (unsigned)kind < REEL__ACT_COUNT ? &table[kind] : NULL;
}

const char *reel_activation_name(reel_activation kind)
{
    const struct row *r = row_of(kind);
    return r ? r->name : "?";
}

reel_tensor *reel_activate(reel_tensor *x, reel_activation kind)
{
    REEL__CALLED;
    const struct row *r = row_of(kind);
    if (r && x) return r->fn(x);
    reel_fail(REEL_ERR_ARG, "activate: %s",
              r ? "the input is NULL" : "no such activation");
    return NULL;
}

typedef struct activation {
    reel_module m;
    reel_activation kind;
    double a; /* slope or alpha, where the forward has one */
} activation;

static reel_tensor *activation_forward(reel_module *self, reel_tensor *x)
{
    return table[((const activation *)self)->kind].fn(x);
}

static reel_tensor *leaky_relu_forward(reel_module *self, reel_tensor *x)
{
    return reel_leaky_relu(x, ((const activation *)self)->a);
}

static reel_tensor *elu_forward(reel_module *self, reel_tensor *x)
{
    return reel_elu(x, ((const activation *)self)->a);
}

reel_module *reel_nn_activation(reel_activation kind)
{
    REEL__CALLED;
    const struct row *r = row_of(kind);
    if (!r) {
        reel_fail(REEL_ERR_ARG, "nn_activation: there is no activation %d", (int)kind);
        return NULL;
    }
    activation *a = reel_module_new(sizeof *a, r->name, activation_forward);
    if (a) a->kind = kind;
    return a ? &a->m : NULL;
}

reel_module *reel_nn_relu(void)
{
    REEL__CALLED;
    return reel_nn_activation(REEL_ACT_RELU);
}

reel_module *reel_nn_gelu(void)
{
    REEL__CALLED;
    return reel_nn_activation(REEL_ACT_GELU);
}

static reel_module *with_number(const char *type, double a,
                                reel_tensor *(*forward)(reel_module *, reel_tensor *))
{
    activation *m = reel_module_new(sizeof *m, type, forward);
    if (m) m->a = a;
    return m ? &m->m : NULL;
}

reel_module *reel_nn_leaky_relu(double negative_slope)
{
    REEL__CALLED;
    return with_number("leaky_relu", negative_slope, leaky_relu_forward);
}

reel_module *reel_nn_elu(double alpha)
{
    REEL__CALLED;
    return with_number("elu", alpha, elu_forward);
}
