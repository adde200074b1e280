/* mlp.c: multi-layer perceptron. */
#include <stdio.h>

#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

enum { MOST_HIDDEN = sizeof((reel_mlp_opts){0}.hidden) / sizeof(int64_t) };

typedef struct mlp {
    reel_module m;
    reel_module *fc[MOST_HIDDEN + 1];
    int n; /* linear layers */
    reel_activation activation;
    double dropout;
} mlp;

static reel_tensor *mlp_forward(reel_module *self, reel_tensor *x)
{
    const mlp *net = (const mlp *)self;
    x = reel_flatten(x, 1, -1);
    for (int i = 0; i < net->n - 1; i++) {
        x = reel_activate(reel_forward(net->fc[i], x), net->activation);
        if (net->dropout > 0) x = reel_dropout(x, net->dropout, self->training);
    }
    return reel_forward(net->fc[net->n - 1], x);
}

reel_module *reel_mlp(int64_t in, int64_t out, const reel_mlp_opts *opts)
{
    REEL__CALLED;
    const reel_mlp_opts *o = REEL__OPTS("mlp", reel_mlp_opts, opts);
    if (!o) return NULL;
    if (in < 1 || out < 1 || !(o->dropout >= 0 && o->dropout < 1)) {
        reel_fail(
            REEL_ERR_ARG,
            "mlp: %lld -> %lld, dropout %g; expected 1 or more, and 0 <= dropout < 1",
            (long long)in, (long long)out, o->dropout);
        return NULL;
    }
    mlp *net = reel_module_new(sizeof *net, "mlp", mlp_forward);
    if (!net) return NULL;
    net->activation = o->activation;
    net->dropout = reel__option(o->dropout, 0);
    int64_t width[MOST_HIDDEN + 2] = {in};
    int n = 0;
    while (n < MOST_HIDDEN && o->hidden[n]) {
        width[n + 1] = o->hidden[n];
        n++;
    }
    if (n == 0) width[++n] = 256;
    width[n + 1] = out;
    for (net->n = 0; net->n <= n; net->n++) {
        char name[16];
        snprintf(name, sizeof name, "fc%d", net->n + 1);
        net->fc[net->n] = reel_module_add(
            &net->m, name, reel_nn_linear(width[net->n], width[net->n + 1], NULL));
    }
    return reel_module_done(&net->m);
}
