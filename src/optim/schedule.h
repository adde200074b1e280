/* schedule.h (internal): a schedule is a function of t and the base rate. */
#ifndef REEL_OPTIM_SCHEDULE_H
#define REEL_OPTIM_SCHEDULE_H

#include <reel/optim.h>

struct reel_schedule {
    reel_optim *optim; /* borrowed */
    double *base;      /* rate of each group when it was made */
    int n;
    int64_t t;
    const reel_schedule_kind *kind;
    void *user; /* what the kind's formula needs */
};

/* A schedule in front of `inner`, which `user` holds: of its optimizer and base rates. Groups
 * that were added since stay as they are. */
reel_schedule *reel__schedule_over(const reel_schedule *inner,
                                   const reel_schedule_kind *kind, void *user);

#endif
