/* adam.c: Adam and AdamW. */
#include "optim/optim.h"

static bool adam_has_state(const reel__opt_group *g)
{
    (void)g;
    return true;
}

static reel_status adam_one(const reel_optim *o, reel__opt_group *g, reel__opt_param *p,
                            reel_tensor *grad)
{
    const reel_adam_opts *a = &g->opts.adam;
    reel_tensor *m = p->state[0], *v = p->state[1], *step = p->state[2];
    if (!reel_add_(step, o->one)) return reel_error_status();
    return reel_adam_step(p->param, grad, m, v, g->lr, step,
                          &(reel_adam_step_opts){.beta1 = a->beta1,
                                                 .beta2 = a->beta2,
                                                 .eps = a->eps,
                                                 .weight_decay = a->weight_decay,
                                                 .decoupled = o->decoupled,
                                                 .maximize = a->maximize});
}

static const reel__opt_kind adam = {
    .name = "adam",
    .n_state = 3,
    .state_name = {"exp_avg", "exp_avg_sq", "step"},
    .scalar = {false, false, true},
    .has_state = adam_has_state,
    .step = adam_one,
};

reel_status reel_adam_add(reel_optim *optim, reel_params params,
                          const reel_adam_opts *opts)
{
    reel_adam_opts o = opts ? *opts : (reel_adam_opts){0};
    if (o.beta1 == 0) o.beta1 = 0.9;
    if (o.beta2 == 0) o.beta2 = 0.999;
    if (o.eps == 0) o.eps = 1e-8;
    if (!optim || optim->kind != &adam)
        return reel_fail(REEL_ERR_ARG, "adam: the optimizer is %s",
                         optim ? "no adam" : "NULL");
    if (!(o.lr >= 0 && o.beta1 > 0 && o.beta1 < 1 && o.beta2 > 0 && o.beta2 < 1 &&
          o.eps > 0 && o.weight_decay >= 0))
        return reel_fail(
            REEL_ERR_ARG,
            "adam: lr %g, beta1 %g, beta2 %g, eps %g, weight_decay %g: expected "
            "0 or more, betas below 1",
            o.lr, o.beta1, o.beta2, o.eps, o.weight_decay);
    reel__opt_group *g = reel__optim_add(optim, params, o.lr);
    if (!g) return reel_error_status();
    g->opts.adam = o;
    return REEL_OK;
}

static reel_optim *adam_new(reel_params params, const reel_adam_opts *opts,
                            bool decoupled)
{
    reel_optim *o = reel__optim_new(&adam);
    if (o) o->decoupled = decoupled;
    if (o && !reel_adam_add(o, params, opts)) return o;
    reel_optim_free(o);
    return NULL;
}

reel_optim *reel_adam(reel_params params, const reel_adam_opts *opts)
{
    return adam_new(params, opts, false);
}

reel_optim *reel_adamw(reel_params params, const reel_adam_opts *opts)
{
    return adam_new(params, opts, true);
}
