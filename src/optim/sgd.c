/* sgd.c: stochastic gradient descent. */
#include "optim/optim.h"

static bool sgd_has_state(const reel__opt_group *g)
{
    return g->opts.sgd.momentum != 0;
}

static reel_status sgd_one(const reel_optim *o, reel__opt_group *g, reel__opt_param *p,
                           reel_tensor *grad)
{
    (void)o;
    const reel_sgd_opts *a = &g->opts.sgd;
    return reel_sgd_step(p->param, grad, p->state[0], g->lr,
                         &(reel_sgd_step_opts){.momentum = a->momentum,
                                               .dampening = a->dampening,
                                               .weight_decay = a->weight_decay,
                                               .nesterov = a->nesterov,
                                               .maximize = a->maximize,
                                               .first = p->fresh});
}

static const reel__opt_kind sgd = {
    .name = "sgd",
    .n_state = 1,
    .state_name = {"momentum"},
    .has_state = sgd_has_state,
    .step = sgd_one,
};

reel_status reel_sgd_add(reel_optim *optim, reel_params params, const reel_sgd_opts *opts)
{
    static const reel_sgd_opts none = {0};
    const reel_sgd_opts *o = opts ? opts : &none;
    if (!optim || optim->kind != &sgd)
        return reel_fail(REEL_ERR_ARG, "sgd: the optimizer is %s",
                         optim ? "no sgd" : "NULL");
    if (!(o->lr >= 0 && o->momentum >= 0 && o->momentum < 1 && o->weight_decay >= 0))
        return reel_fail(REEL_ERR_ARG,
                         "sgd: lr %g, momentum %g, weight_decay %g: expected 0 or more, "
                         "momentum below 1",
                         o->lr, o->momentum, o->weight_decay);
    if (o->nesterov && (o->momentum == 0 || o->dampening != 0))
        return reel_fail(
            REEL_ERR_ARG,
            "sgd: nesterov with momentum %g, dampening %g: it needs momentum "
            "and no dampening",
            o->momentum, o->dampening);
    reel__opt_group *g = reel__optim_add(optim, params, o->lr);
    if (!g) return reel_error_status();
    g->opts.sgd = *o;
    return REEL_OK;
}

reel_optim *reel_sgd(reel_params params, const reel_sgd_opts *opts)
{
    reel_optim *o = reel__optim_new(&sgd);
    if (o && !reel_sgd_add(o, params, opts)) return o;
    reel_optim_free(o);
    return NULL;
}
