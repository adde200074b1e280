/* sgd.c: stochastic gradient descent. */
#include "base/error.h"
#include "base/option.h"
#include "optim/optim.h"

static reel_status sgd_check(void *opts, double *lr)
{
    reel_sgd_opts *o = opts;
    if (!REEL__KNOWN("sgd", o)) return reel_error_status();
    *lr = reel__option(o->lr, 1e-3);
    o->momentum = reel__option(o->momentum, 0);
    o->dampening = reel__option(o->dampening, 0);
    o->weight_decay = reel__option(o->weight_decay, 0);
    if (!(*lr >= 0 && o->momentum >= 0 && o->momentum < 1 && o->weight_decay >= 0))
        return reel_fail(REEL_ERR_ARG,
                         "lr %g, momentum %g, weight_decay %g: expected 0 or more, "
                         "momentum below 1",
                         *lr, o->momentum, o->weight_decay);
    if (o->nesterov && (o->momentum == 0 || o->dampening != 0))
        return reel_fail(REEL_ERR_ARG,
                         "nesterov with momentum %g, dampening %g: it needs momentum "
                         "and no dampening",
                         o->momentum, o->dampening);
    return REEL_OK;
}

static bool sgd_has_state(const void *opts)
{
    return ((const reel_sgd_opts *)opts)->momentum != 0;
}

static reel_status sgd_update(const void *opts, const reel_optim_slot *s)
{
    const reel_sgd_opts *o = opts;
    return reel_sgd_step(s->param, s->grad, s->state[0], s->lr,
                         &(reel_sgd_step_opts){.momentum = o->momentum,
                                               .dampening = o->dampening,
                                               .weight_decay = o->weight_decay,
                                               .nesterov = o->nesterov,
                                               .maximize = o->maximize,
                                               .first = s->first});
}

static const reel_optim_kind sgd = {.name = "sgd",
                                    .opts_size = sizeof(reel_sgd_opts),
                                    .n_state = 1,
                                    .state = {{.name = "momentum"}},
                                    .check = sgd_check,
                                    .has_state = sgd_has_state,
                                    .update = sgd_update};

reel_optim *reel_sgd(reel_params params, const reel_sgd_opts *opts)
{
    REEL__CALLED;
    return reel_optim_new(&sgd, params, opts);
}

reel_status reel_sgd_add(reel_optim *optim, reel_params params, const reel_sgd_opts *opts)
{
    REEL__CALLED;
    return reel__optim_add_as(&sgd, optim, params, opts);
}
