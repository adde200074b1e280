/* tape.h: what is recorded of a call, until backward.
 *
 * A node keeps metas of all operands, and the storage (never the tensor: tensor -> node ->
 * tensor would be a cycle) of those that the record's vjp reads, with the version at that
 * time. Values live as long as the tape needs them, not as long as the scope. */
#ifndef REEL_AUTOGRAD_TAPE_H
#define REEL_AUTOGRAD_TAPE_H

#include <reel/autograd.h>

#include "ops/op.h"

typedef struct reel__node reel__node;

typedef struct reel__saved {
    reel__meta meta;
    reel__storage *storage; /* NULL: not saved */
    uint32_t version;
    bool present; /* false: the optional operand was absent */
} reel__saved;

typedef struct reel__edge {
    reel__node *node; /* NULL: no gradient flows there */
    int out;          /* which output of it */
} reel__edge;

typedef struct reel__hook {
    int out;
    reel_grad_hook fn;
    void *user;
    struct reel__hook *next;
} reel__hook;

struct reel__node {
    reel__node_head head; /* first: the tensor room counts through it */
    uint64_t seq;         /* order of recording: backward runs from high to low */
    const reel__op *op;   /* NULL: a leaf */
    int n_in, n_out;
    bool freed;        /* it saved values, and a backward gave them back */
    const char *where; /* module path in anomaly mode, of its own memory; or NULL */
    reel__hook *hooks;
    reel__edge *edge;      /* [n_in] */
    reel__saved *in, *out; /* [n_in], [n_out] */
    void *attrs;
    void (*drop)(void *attrs); /* gives back what attrs hold besides; or NULL */
    reel__node *next_free;     /* while a chain is freed */
};

/* The node of x if gradients flow through it. */
static inline reel__node *reel__node_behind(const reel_tensor *x)
{
    return (reel__node *)(void *)x->node;
}

/* Within a vjp: whether this run adds to leaves (reel_backward) or not (reel_grad). */
bool reel__accumulates(void);

/* Gives back what the node saved (after its vjp ran without retain_graph). */
void reel__node_clear(reel__node *n);

/* ---- view.c: tensors that share memory share a history ---- */

/* y was changed in place, and has its new history: gives those that it is a view of theirs.
 * On a failure nobody can use their memory in a history any more. */
reel_status reel__changed(reel_tensor *y);
/* Brings x's history up to changes by way of other views. `who` begins the error. */
reel_status reel__renew(const char *who, reel_tensor *x);
/* x or what it is a view of, however far, is a leaf; or has elements that share memory. */
bool reel__of_leaf(const reel_tensor *x);
bool reel__of_expanded(const reel_tensor *x);

/* What the tape installs in apply(), see ops/recorder.h; backward.c has the second. */
reel_status reel__tape_record(const reel__call *call);
reel_status reel__grad_composed(reel_tensor *y, reel_tensor *gy, reel_tensor *const x[],
                                int n_x, reel_tensor *gx[], bool create_graph);

#endif
