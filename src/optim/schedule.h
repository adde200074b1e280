/* schedule.h (internal): a schedule is a function of t and the base rate. */
#ifndef REEL_OPTIM_SCHEDULE_H
#define REEL_OPTIM_SCHEDULE_H

#include <reel/optim.h>

typedef double (*reel__rate_fn)(const reel_schedule *s, double base, int64_t t);

struct reel_schedule {
    reel_optim *optim; /* borrowed */
    double *base;      /* rate of each group when it was made */
    int n;
    int64_t t;
    reel__rate_fn rate;
    /* What the formulas of schedules.c need, under the names of their constructors. */
    int64_t steps;
    double a, b;
    int64_t *milestones;
    int n_milestones;
    reel_one_cycle_opts cycle;
    reel_schedule *after;
};

/* A schedule whose rates are not yet set. NULL on an error. */
reel_schedule *reel__schedule_new(const char *who, reel_optim *optim, reel__rate_fn rate);
/* Sets the rates of the present t. Frees `s` and gives NULL on an error. */
reel_schedule *reel__schedule_start(reel_schedule *s);

#endif
