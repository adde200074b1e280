/* executor.h (internal): what an executor holds. Tests look into it. */
#ifndef REEL_TRACE_EXECUTOR_H
#define REEL_TRACE_EXECUTOR_H

#include "backend/scratch.h"
#include "trace/execute/plan.h"

#define REEL__PLANS 4

struct reel_executor {
    reel__program *program;
    reel_executor_opts opts;
    reel__plan *plan[REEL__PLANS];
    reel__plan *last; /* the one used last */
    uint64_t clock;   /* counts runs, for the cache */
    char **base;      /* base addresses, see plan.h; [0] is the arena */
    size_t arena;     /* its bytes */
    bool *copied;     /* n_input + n_output: what this run needs */
    bool *mine;       /* n_output: this run makes the tensor */
    reel__scratch_room scratch;
    double *seconds; /* of each node; NULL: nobody measures */
};

/* ---- executor.c ----------------------------------------------------------------------------- */

/* For a graph that computes what another one has settled: nothing in it is, or is prepared. */
reel_executor *reel__executor_once(const reel_graph *g);

/* ---- plans.c: the cache --------------------------------------------------------------------- */

/* The plan for these inputs and outputs, from the cache or new; e->base is set. x and y NULL:
 * inputs as they were traced, new outputs. NULL with an error. */
reel__plan *reel__executor_plan(reel_executor *e, int64_t batch, reel_tensor *const x[],
                                reel_tensor *const y[]);
/* State that was replaced by other memory, or by something else: an error. */
reel_status reel__executor_state(reel_executor *e);

#endif
