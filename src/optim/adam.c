/* adam.c: Adam and AdamW. */
#include "base/error.h"
#include "base/option.h"
#include "optim/optim.h"

static reel_status adam_check(void *opts, double *lr)
{
    reel_adam_opts *o = opts;
    if (!REEL__KNOWN("adam", o)) return reel_error_status();
    *lr = reel__option(o->lr, 1e-3);
    o->beta1 = reel__option(o->beta1, 0.9);
    o->beta2 = reel__option(o->beta2, 0.999);
    o->eps = reel__option(o->eps, 1e-8);
    o->weight_decay = reel__option(o->weight_decay, 0);
    if (*lr >= 0 && o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1 &&
        o->eps >= 0 && o->weight_decay >= 0)
        return REEL_OK;
    return reel_fail(REEL_ERR_ARG,
                     "lr %g, beta1 %g, beta2 %g, eps %g, weight_decay %g: expected "
                     "0 or more, betas below 1",
                     *lr, o->beta1, o->beta2, o->eps, o->weight_decay);
}

enum { M, V, STEP };

static reel_status update(const reel_adam_opts *o, const reel_optim_slot *s,
                          bool decoupled)
{
    if (!reel_add_(s->state[STEP], s->one)) return reel_error_status();
    return reel_adam_step(s->param, s->grad, s->state[M], s->state[V], s->lr,
                          s->state[STEP],
                          &(reel_adam_step_opts){.beta1 = reel__option_of(o->beta1),
                                                 .beta2 = reel__option_of(o->beta2),
                                                 .eps = reel__option_of(o->eps),
                                                 .weight_decay = o->weight_decay,
                                                 .decoupled = decoupled,
                                                 .maximize = o->maximize});
}

static reel_status adam_update(const void *opts, const reel_optim_slot *slot)
{
    return update(opts, slot, false);
}

static reel_status adamw_update(const void *opts, const reel_optim_slot *slot)
{
    return update(opts, slot, true);
}

#define STATE                                                                            \
    .n_state = 3, .state = {[M] = {.name = "exp_avg"},                                   \
                            [V] = {.name = "exp_avg_sq"},                                \
                            [STEP] = {.name = "step", .scalar = true}}

static const reel_optim_kind adam = {.name = "adam",
                                     .opts_size = sizeof(reel_adam_opts),
                                     STATE,
                                     .check = adam_check,
                                     .update = adam_update};

static const reel_optim_kind adamw = {.name = "adamw",
                                      .opts_size = sizeof(reel_adam_opts),
                                      STATE,
                                      .check = adam_check,
                                      .update = adamw_update};

reel_optim *reel_adam(reel_params params, const reel_adam_opts *opts)
{
    REEL__CALLED;
    return reel_optim_new(&adam, params, opts);
}

reel_optim *reel_adamw(reel_params params, const reel_adam_opts *opts)
{
    REEL__CALLED;
    return reel_optim_new(&adamw, params, opts);
}

reel_status reel_adam_add(reel_optim *optim, reel_params params,
                          const reel_adam_opts *opts)
{
    REEL__CALLED;
    bool decoupled = optim && optim->kind == &adamw;
    return reel__optim_add_as(decoupled ? &adamw : &adam, optim, params, opts);
}
