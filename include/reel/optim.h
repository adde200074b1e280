/* reel/optim.h: optimizers, learning-rate schedules, clipping, moving averages.
 *
 *     reel_optim    *opt = reel_sgd(reel_parameters(net), &(reel_sgd_opts){
 *                              .lr = 0.1, .momentum = 0.9, .weight_decay = 5e-4 });
 *     reel_schedule *lr  = reel_schedule_warmup(reel_schedule_cosine(opt, steps, 0), 500, 0.1);
 *     for (...) {
 *         ...
 *         reel_backward(loss, NULL);
 *         reel_clip_grad_norm(reel_parameters(net), 1.0);
 *         reel_optim_step(opt);
 *         reel_optim_zero_grad(opt);
 *         reel_schedule_step(lr);
 *     }
 *     reel_schedule_free(lr);
 *     reel_optim_free(opt);
 *
 * Update rules and schedule formulas are torch.optim's. What can be saved goes through
 * reel_tensor_map, and a run that is loaded goes on bit for bit; reel/training.h does so for
 * all parts of a run at once. Functions that make something refuse to run (NULL) while an
 * error is pending. One thread uses these objects at a time. */
#ifndef REEL_OPTIM_H
#define REEL_OPTIM_H

#include <reel/autograd.h>
#include <reel/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- optimizers -------------------------------------------------------------------- */

/** Groups of parameters, each with options of its own, and the state of their updates.
 *  Keeps a share of each parameter. Opaque. */
typedef struct reel_optim reel_optim;

/** Options of reel_sgd. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_sgd_opts {
    double lr;           /* 0 means 1e-3 */
    double momentum;     /* in [0, 1) */
    double dampening;    /* of the gradient that enters the momentum */
    double weight_decay; /* added to the gradient, times the weight */
    bool nesterov;       /* needs momentum, and no dampening */
    bool maximize;       /* ascend instead of descend */
    REEL_FUTURE;
} reel_sgd_opts;
/** Stochastic gradient descent, as torch.optim.SGD. `opts` may be NULL. Errors: REEL_ERR_ARG
 *  for an option out of its range or a tensor or name that comes twice; REEL_ERR_DTYPE unless
 *  every parameter is f32 or f64. */
REEL_API reel_optim *reel_sgd(reel_params params, const reel_sgd_opts *opts);
/** Another group with options of its own, for an optimizer made by reel_sgd(). Errors:
 *  REEL_ERR_ARG also for an optimizer of another kind. */
REEL_API reel_status reel_sgd_add(reel_optim *optim, reel_params params,
                                  const reel_sgd_opts *opts);

/** Options of reel_adam and reel_adamw. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_adam_opts {
    double lr;           /* 0 means 1e-3 */
    double beta1;        /* 0 means 0.9 */
    double beta2;        /* 0 means 0.999 */
    double eps;          /* 0 means 1e-8 */
    double weight_decay; /* 0 is none, also for AdamW (PyTorch's default there is 0.01) */
    bool maximize;
    REEL_FUTURE;
} reel_adam_opts;
/** Adam: decay is added to the gradient. Source: Kingma & Ba 2014, arXiv:1412.6980. Errors:
 *  as reel_sgd. */
REEL_API reel_optim *reel_adam(reel_params params, const reel_adam_opts *opts);
/** AdamW: decay shrinks the weight itself. Source: Loshchilov & Hutter 2017,
 *  arXiv:1711.05101. */
REEL_API reel_optim *reel_adamw(reel_params params, const reel_adam_opts *opts);
/** Another group with options of its own, for an optimizer made by reel_adam or reel_adamw. */
REEL_API reel_status reel_adam_add(reel_optim *optim, reel_params params,
                                   const reel_adam_opts *opts);

/** Updates each parameter that has a gradient. Refuses to run while an error is pending: a
 *  failed forward pass never touches the weights. */
REEL_API reel_status reel_optim_step(reel_optim *optim);
/** Clears the gradients of its parameters. */
REEL_API void reel_optim_zero_grad(reel_optim *optim);
/** Number of groups; 0 for NULL. */
REEL_API int reel_optim_groups(const reel_optim *optim);
/** Learning rate of a group; NaN, and an error, if there is none. */
REEL_API double reel_optim_lr(const reel_optim *optim, int group);
/** Sets the learning rate of a group; -1 for all. Errors: REEL_ERR_ARG; REEL_ERR_STATE within a
 *  capture (reel_capturing), where the rate would be frozen: call it between steps. */
REEL_API reel_status reel_optim_set_lr(reel_optim *optim, int group, double lr);
/** Puts its state into `map`: "group.0.lr", and under each parameter's name ("param.3" if it
 *  has none) ".momentum" or ".exp_avg", ".exp_avg_sq", ".step". Shared, not copied. */
REEL_API reel_status reel_optim_state(reel_optim *optim, reel_tensor_map *map);
/** Takes it from `map`. Errors: REEL_ERR_ARG for a missing or unexpected name, REEL_ERR_SHAPE;
 *  nothing has changed then. Other options of the groups are code, and not in the state. */
REEL_API reel_status reel_optim_load_state(reel_optim *optim, const reel_tensor_map *map);
/** Frees. NULL is allowed. */
REEL_API void reel_optim_free(reel_optim *optim);

/* ---- an optimizer of your own ------------------------------------------------------- */
/* A reel_optim_kind says what tells one optimizer from another; reel_sgd(), reel_adam() and
 * reel_adamw() are three of them, and a fourth is made, stepped, scheduled, saved and captured
 * in a graph just as they are (examples/own_optimizer.c, docs/extending.md). */

#define REEL_OPTIM_MOST_STATES 8
/** A tensor that an optimizer keeps for each parameter, zeros at first. */
typedef struct reel_optim_state_row {
    const char *name; /* behind the parameter's in a state dict: "exp_avg" */
    bool scalar;      /* one f64, such as a count of steps; else like the parameter */
    REEL_FUTURE;
} reel_optim_state_row;

/** What one update works on. All borrowed. */
typedef struct reel_optim_slot {
    reel_tensor *param,
        *grad; /* one shape and dtype, f32 or f64; grad is not to be changed */
    reel_tensor *const *state; /* in the order of the kind's rows; NULLs if it has none */
    reel_tensor *lr;           /* one f64 */
    reel_tensor *one; /* f64, the number 1: a count grows by reel_add_(count, one) */
    bool first;       /* the state has not been written yet */
} reel_optim_slot;

/** The kind of an optimizer, in static storage. Its options are a struct of numbers, which are
 *  copied byte by byte for each group; what a pointer among them points to is yours. */
typedef struct reel_optim_kind {
    const char *name; /* in messages: "lion" */
    size_t opts_size; /* bytes of the options; 0: it has none */
    int n_state;      /* up to REEL_OPTIM_MOST_STATES */
    reel_optim_state_row state[REEL_OPTIM_MOST_STATES];
    /* Called with a group's options (zeros if NULL was given) before they are used: puts the
     * defaults in and checks them (reel_fail), and sets the rate that the group begins with,
     * 1e-3 before. NULL: nothing to check. */
    reel_status (*check)(void *opts, double *lr);
    /* Whether groups with these options need the state. NULL: they do. */
    bool (*has_state)(const void *opts);
    /* Changes slot->param, and the state, in place; nothing is recorded meanwhile. What changes
     * from step to step must be a tensor, in operators: a graph of the step would freeze a
     * number of the host (reel_item(), a counter in C). Such an update refuses in a capture:
     * if (reel_capturing()) return reel_fail(REEL_ERR_STATE, ...). */
    reel_status (*update)(const void *opts, const reel_optim_slot *slot);
    REEL_FUTURE;
} reel_optim_kind;

/** An optimizer of `kind`, with one group; `opts` points to kind->opts_size bytes, or is NULL.
 *  Errors: REEL_ERR_ARG for a kind without name or update, or with a state without a name or
 *  two of one name; else as reel_sgd(). */
REEL_API reel_optim *reel_optim_new(const reel_optim_kind *kind, reel_params params,
                                    const void *opts);
/** Another group with options of its own. Errors: as reel_sgd_add(). */
REEL_API reel_status reel_optim_add_group(reel_optim *optim, reel_params params,
                                          const void *opts);
/** What it was made of; NULL for NULL. */
REEL_API const reel_optim_kind *reel_optim_kind_of(const reel_optim *optim);

/* ---- clipping ---------------------------------------------------------------------- */

/** Scales all gradients so that their norm together is at most `max_norm` > 0. Returns the
 *  norm before; NaN or Inf if a gradient is so (all become NaN then, as in PyTorch); -1 on an
 *  error. Refuses while one is pending. */
REEL_API double reel_clip_grad_norm(reel_params params, double max_norm);
/** The same; the norm is a 0-d f64 tensor that nobody has read yet, so that a step that is
 *  captured (reel/compile.h) can clip. NULL on an error. */
REEL_API reel_tensor *reel_clip_grad_norm_tensor(reel_params params, double max_norm);
/** Clamps each element of each gradient into [-limit, limit]. */
REEL_API reel_status reel_clip_grad_value(reel_params params, double limit);

/* ---- schedules --------------------------------------------------------------------- */

/** Sets the learning rates of an optimizer as a function of the number of steps t, from the
 *  rates that its groups had when the schedule was made ("base"). Making one sets the rates
 *  of t = 0. The optimizer must outlive it. Opaque. */
typedef struct reel_schedule reel_schedule;

/** base. */
REEL_API reel_schedule *reel_schedule_constant(reel_optim *optim);
/** base gamma^floor(t / every). StepLR. */
REEL_API reel_schedule *reel_schedule_step_decay(reel_optim *optim, int64_t every,
                                                 double gamma);
/** base gamma^(number of milestones <= t). MultiStepLR; `milestones` ascend, are copied. */
REEL_API reel_schedule *reel_schedule_multistep(reel_optim *optim,
                                                const int64_t *milestones, int n,
                                                double gamma);
/** low + (base - low) (1 + cos(pi t / steps)) / 2; low from t = steps on. CosineAnnealingLR.
 *  Source: Loshchilov & Hutter 2016, arXiv:1608.03983, without restarts. */
REEL_API reel_schedule *reel_schedule_cosine(reel_optim *optim, int64_t steps,
                                             double low);
/** base times a factor that goes from `start` to `end` in `steps` steps, and stays. LinearLR. */
REEL_API reel_schedule *reel_schedule_linear(reel_optim *optim, int64_t steps,
                                             double start, double end);

/** Options of reel_schedule_one_cycle. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_one_cycle_opts {
    double warmup;    /* share of the steps that ascend; 0 means 0.3 */
    double div;       /* first rate is max_lr / div; 0 means 25 */
    double final_div; /* last rate is the first / final_div; 0 means 1e4 */
    bool linear;      /* straight lines instead of cosines */
    REEL_FUTURE;
} reel_one_cycle_opts;
/** Up to max_lr (for every group) and down again in `steps` steps, then stays. OneCycleLR
 *  without its cycling of the momentum. Source: Smith & Topin 2017, arXiv:1708.07120. */
REEL_API reel_schedule *reel_schedule_one_cycle(reel_optim *optim, int64_t steps,
                                                double max_lr,
                                                const reel_one_cycle_opts *opts);
/** For `steps` steps, base times a factor that goes from `start` to 1; then `after`, counted
 *  from 0. Takes `after` over, also on an error. SequentialLR of LinearLR and `after`. */
REEL_API reel_schedule *reel_schedule_warmup(reel_schedule *after, int64_t steps,
                                             double start);

/** A schedule of your own; each of those above is one. */
typedef struct reel_schedule_kind {
    const char *name; /* in messages */
    /* The rate at step t of a group whose base rate is `base`, 0 or more. Asked for any t. */
    double (*rate)(void *user, double base, int64_t t);
    /* What `user` must find again, beyond t and the base rates, such as the best loss so far:
     * into and out of a checkpoint, under any names but "step" and "base_lr". Both or neither. */
    reel_status (*state)(void *user, reel_tensor_map *map);
    reel_status (*load_state)(void *user, const reel_tensor_map *map);
    void (*free_user)(
        void *user); /* called once, also if the schedule cannot be made; or NULL */
    REEL_FUTURE;
} reel_schedule_kind;
/** Makes one and sets the rates of t = 0. The kind is in static storage. Takes `user` over, also
 *  on an error. Errors: REEL_ERR_ARG for a kind without name or rate, and for a rate that is
 *  NaN or below 0. */
REEL_API reel_schedule *reel_schedule_new(reel_optim *optim,
                                          const reel_schedule_kind *kind, void *user);

/** t = t + 1; sets the rates. Refuses to run while an error is pending. Errors: REEL_ERR_STATE
 *  within a capture (reel_capturing), where t would be frozen: call it between steps. */
REEL_API reel_status reel_schedule_step(reel_schedule *schedule);
/** t; -1 for NULL. */
REEL_API int64_t reel_schedule_count(const reel_schedule *schedule);
/** The rate that group `group` has at step `t`, for plots; NaN, and an error, if there is no
 *  such group or t < 0. */
REEL_API double reel_schedule_at(const reel_schedule *schedule, int group, int64_t t);
/** Puts t and the base rates into `map`: "step", "base_lr"; and what its kind adds. */
REEL_API reel_status reel_schedule_state(reel_schedule *schedule, reel_tensor_map *map);
/** Takes them from `map` and sets the rates. Errors: REEL_ERR_ARG, REEL_ERR_SHAPE. */
REEL_API reel_status reel_schedule_load_state(reel_schedule *schedule,
                                              const reel_tensor_map *map);
/** Frees. NULL is allowed. */
REEL_API void reel_schedule_free(reel_schedule *schedule);

/* ---- moving average ---------------------------------------------------------------- */

/** An exponential moving average of a module's parameters and floating buffers (others are
 *  copied), which often tests better than the last weights. The module must outlive it. */
typedef struct reel_ema reel_ema;

/** Options of reel_ema_new. Zero is the default. */
typedef struct reel_ema_opts {
    bool warmup; /* decay is min(decay, (1 + t) / (10 + t)) at update t: fast at first */
    REEL_FUTURE;
} reel_ema_opts;
/** Begins with the present values. Errors: REEL_ERR_ARG unless 0 <= decay < 1. `opts` may be
 *  NULL. */
REEL_API reel_ema *reel_ema_new(reel_module *m, double decay, const reel_ema_opts *opts);
/** average = decay average + (1 - decay) value. Call it after each optimizer step. Refuses to
 *  run while an error is pending, or while swapped (REEL_ERR_STATE). */
REEL_API reel_status reel_ema_update(reel_ema *ema);
/** Exchanges averages and values: once to test with the averages, once more to go on. */
REEL_API reel_status reel_ema_swap(reel_ema *ema);
/** Puts the averages into `map` under their paths, and "ema.updates". Shared, not copied.
 *  Errors: REEL_ERR_STATE while swapped. */
REEL_API reel_status reel_ema_state(reel_ema *ema, reel_tensor_map *map);
/** Takes them from `map`. Errors: REEL_ERR_ARG for a missing or unexpected name,
 *  REEL_ERR_SHAPE; nothing has changed then. */
REEL_API reel_status reel_ema_load_state(reel_ema *ema, const reel_tensor_map *map);
/** Frees. The module keeps what values it has. NULL is allowed. */
REEL_API void reel_ema_free(reel_ema *ema);

#ifdef __cplusplus
}
#endif
#endif
