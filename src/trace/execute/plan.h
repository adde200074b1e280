/* plan.h (internal): how a graph runs at one batch size: which kernels, on which memory.
 *
 * An operand is a slot. The slots are the graph's values, then the inputs and outputs as the
 * caller hands them in (these differ from the values where they must be copied), then
 * temporary copies. A slot that owns its memory lies at a base address, which is known when
 * the plan is run, or in a block of the arena; a view lies where its owner does. */
#ifndef REEL_TRACE_PLAN_H
#define REEL_TRACE_PLAN_H

#include <reel/executor.h>

#include "base/lock.h"
#include "trace/graph/graph.h"

/* ---- offsets.c: blocks in one arena ------------------------------------------------------ */

/* Memory that is in use from step `first` to step `last`, both included. */
typedef struct reel__block {
    size_t bytes; /* a multiple of 64 */
    int first, last;
    size_t offset; /* in the arena */
} reel__block;

/* Sets the offsets; what the arena takes goes to `arena`. */
reel_status reel__plan_offsets(reel__block *block, int n, size_t *arena);
/* The most bytes alive at one step of n_step. */
reel_status reel__plan_lower_bound(const reel__block *block, int n, int n_step,
                                   size_t *bytes);
/* REEL_ERR_INTERNAL if two blocks meet in time and memory, or one leaves the arena. */
reel_status reel__plan_check(const reel__block *block, int n, size_t arena);

/* ---- program.c: what all executors of a graph share ---------------------------------------- */

/* A weight as a kernel likes it, and of what it was made. The storages are kept, so that
 * another one at the same address is not taken for it. */
#define REEL__PREPARED_IN 8
typedef struct reel__blob {
    struct reel__blob *next;
    int uses; /* steps of plans that hold it; guarded by the program's lock */
    int node;
    size_t bytes;
    void *data;
    struct {
        reel__storage *storage;
        const void *data;
        uint32_t version, lent;
    } of[REEL__PREPARED_IN]; /* storage NULL: this input is not constant */
} reel__blob;

/* A state that was read, as it was then. */
typedef struct reel__stamp {
    reel__storage *storage; /* kept */
    uint32_t version, lent;
} reel__stamp;

/* Only the list of blobs and what is settled change, under the lock. */
typedef struct reel__program {
    atomic_int refs;
    reel_graph *graph; /* without what is settled */
    int n_node;        /* nodes of the whole graph */
    reel__settled settled;
    struct reel_executor *settler; /* computes it; NULL: there is nothing */
    reel__stamp *stamp;            /* of the state that it read */
    int n_stamp;
    reel_device device;
    int *owner;    /* of each value: the one whose memory it looks at */
    bool *changes; /* of each value: a node changes its memory */
    int *root;     /* of each value: values of one root may share memory (effects) */
    int *state, n_state; /* values that are state and used */
    int *state_of;       /* of each value: its place in `state`; -1 */
    reel__lock lock;
    reel__blob *blobs;
} reel__program;

/* settle false: every node runs at each run. */
reel__program *reel__program_new(const reel_graph *g, bool settle);
/* Computes what is settled, if state that it depends on has changed since. */
reel_status reel__program_settle(reel__program *p);
/* The number in the whole graph of a node that runs each time. */
static inline int reel__node_of(const reel__program *p, int node)
{
    return p->settled.node_of ? p->settled.node_of[node] : node;
}
reel__program *reel__program_retain(reel__program *p);
void reel__program_release(reel__program *p);

/* ---- plan.c ---------------------------------------------------------------------------------- */

typedef struct reel__place {
    int base;         /* number of a base address, see below; -1: none */
    ptrdiff_t offset; /* bytes from there */
} reel__place;

typedef struct reel__plan_step {
    reel__kcall call;
    int node;      /* -1: a copy that no node asked for */
    int first_arg; /* its inputs, then its outputs */
    reel__blob *blob;
    unsigned constant; /* inputs that a blob is made of; 0: nothing is prepared */
} reel__plan_step;

typedef struct reel__plan {
    reel__program *program;
    int64_t batch;
    bool *copied;    /* of each input, then each output: it is not used where it lies */
    bool *must_copy; /* those where no layout would help */

    int n_slot;
    reel__meta *meta;   /* of each slot; of the caller's, where they are copied: now */
    reel__place *place; /* of each slot */
    int *block_of;      /* of each slot that owns its memory: its block; -1 */

    reel__plan_step *step;
    int n_step;
    reel__karg *arg;
    int *arg_slot; /* -1: absent */
    int n_arg;
    int *moving, n_moving;   /* arguments that lie at an input, output or state */
    int *drawing, n_drawing; /* steps whose attributes move with the random stream */
    char *attrs;

    reel__block *block;
    int n_block;
    size_t arena, lower_bound, values;
    int64_t n_values;

    bool searched;     /* for steps that something can be prepared for */
    const char *bound; /* the arena that the arguments point into */
    uint64_t used;     /* when, for the cache */
} reel__plan;

/* Base addresses: the arena, inputs, outputs, state. */
static inline int reel__base_input(int i)
{
    return 1 + i;
}
static inline int reel__base_output(const reel_graph *g, int i)
{
    return 1 + g->n_input + i;
}
static inline int reel__base_state(const reel_graph *g, int i)
{
    return 1 + g->n_input + g->n_output + i;
}
/* Slots of inputs and outputs as the caller hands them in, and of temporary copies. */
static inline int reel__slot_input(const reel_graph *g, int i)
{
    return g->n_value + i;
}
static inline int reel__slot_output(const reel_graph *g, int i)
{
    return g->n_value + g->n_input + i;
}
static inline int reel__slot_temp(const reel_graph *g, int i)
{
    return g->n_value + g->n_input + g->n_output + i;
}
/* The slot that owns the memory of a slot. */
static inline int reel__slot_owner(const reel__program *p, int slot)
{
    return slot < p->graph->n_value ? p->owner[slot] : slot;
}

/* A plan for batch size b. `copied`: inputs and outputs (n_input + n_output) that do not lie
 * as the graph has them. NULL with an error. */
reel__plan *reel__plan_new(reel__program *program, int64_t b, const bool *copied);
void reel__plan_free(reel__plan *p);
/* Points the arguments at the arena, and at what moves. */
void reel__plan_bind(reel__plan *p, char *const *base);

/* ---- steps.c, places.c: the parts of reel__plan_new() ------------------------------------------ */

void reel__plan_steps(reel__plan *p);
reel_status reel__plan_places(reel__plan *p);

/* ---- prepared.c -------------------------------------------------------------------------------- */

/* Makes what is missing or was made of other values. The plan is bound. */
reel_status reel__prepared_refresh(reel__plan *p);
void reel__prepared_drop(reel__plan *p);
/* Bytes of all blobs of a program. */
size_t reel__prepared_bytes(reel__program *p);

#endif
