/* optim.h (internal): groups of parameters and their state. */
#ifndef REEL_OPTIM_OPTIM_H
#define REEL_OPTIM_OPTIM_H

#include <reel/optim.h>

typedef struct reel__opt_group {
    void *opts;      /* kind->opts_size bytes, checked */
    reel_tensor *lr; /* one f64, so that a graph of the step does not freeze it */
} reel__opt_group;

typedef struct reel__opt_param {
    reel_tensor *param;
    char *name;
    int group;
    reel_tensor
        *state[REEL_OPTIM_MOST_STATES]; /* NULL until the first step with a gradient */
    bool fresh;                         /* the state holds nothing yet */
} reel__opt_param;

struct reel_optim {
    const reel_optim_kind *kind;
    reel__opt_group *group;
    int n_group;
    reel__opt_param *param;
    int n_param;
    reel_tensor *one; /* f64, what step counts grow by */
    uint64_t watched; /* base/watched.h */
};

/* reel_optim_add_group() for an optimizer that must be of this kind. */
reel_status reel__optim_add_as(const reel_optim_kind *kind, reel_optim *o,
                               reel_params params, const void *opts);
/* Whether `p` is to have state. */
bool reel__optim_has_state(const reel_optim *o, const reel__opt_param *p);
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
