/* optim.h (internal): what an optimizer is made of. */
#ifndef REEL_OPTIM_OPTIM_H
#define REEL_OPTIM_OPTIM_H

#include <reel/optim.h>

enum { MOST_STATES = 3 };

typedef struct reel__opt_group {
    union {
        reel_sgd_opts sgd;
        reel_adam_opts adam;
    } opts;
    reel_tensor *lr; /* one f64, so that a graph of the step does not freeze it */
} reel__opt_group;

typedef struct reel__opt_param {
    reel_tensor *param;
    char *name;
    int group;
    reel_tensor *state[MOST_STATES]; /* NULL until the first step with a gradient */
    bool fresh;                      /* the state holds nothing yet */
} reel__opt_param;

/* What tells SGD from Adam. */
typedef struct reel__opt_kind {
    const char *name;
    int n_state;
    const char *state_name[MOST_STATES];
    bool scalar[MOST_STATES]; /* one f64; else like the parameter */
    /* Whether this group's options need state at all. */
    bool (*has_state)(const reel__opt_group *g);
    reel_status (*step)(const reel_optim *o, reel__opt_group *g, reel__opt_param *p,
                        reel_tensor *grad);
} reel__opt_kind;

struct reel_optim {
    const reel__opt_kind *kind;
    bool decoupled; /* AdamW */
    reel__opt_group *group;
    int n_group;
    reel__opt_param *param;
    int n_param;
    reel_tensor *one; /* f64, what step counts grow by */
    uint64_t watched; /* base/watched.h */
};

reel_optim *reel__optim_new(const reel__opt_kind *kind);
/* Adds a group; sets its options afterwards. NULL and no change on an error. The pointer is
 * valid until the next call. */
reel__opt_group *reel__optim_add(reel_optim *o, reel_params params, double lr);
/* Makes the state of `p`, zeros, if it has none and its group needs it. */
reel_status reel__optim_make_state(const reel_optim *o, reel__opt_param *p);
void reel__optim_drop_state(reel__opt_param *p);

/* Formats the state-dict name of state k of `p`. */
#define REEL__STATE_NAME 512
const char *reel__state_name(const reel_optim *o, const reel__opt_param *p, int k,
                             char text[REEL__STATE_NAME]);

/* A scope in which nothing is recorded: temporaries go at its end. */
typedef struct reel__quiet {
    reel_scope scope;
    bool was;
} reel__quiet;
static inline reel__quiet reel__quiet_begin(void)
{
    return (reel__quiet){reel_scope_begin(), reel_set_grad_enabled(false)};
}
static inline void reel__quiet_end(reel__quiet q)
{
    reel_set_grad_enabled(q.was);
    reel_scope_end(q.scope);
}

static inline bool reel__same_sizes(reel_tensor *a, reel_tensor *b)
{
    bool same = reel_rank(a) == reel_rank(b);
    for (int i = 0; same && i < reel_rank(a); i++)
        same = reel_size(a, i) == reel_size(b, i);
    return same;
}

#endif
