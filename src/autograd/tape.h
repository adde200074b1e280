/* tape.h: what is recorded of a call, until backward.
 *
 * A node keeps metas of all operands, and the storage (never the tensor: tensor -> node ->
 * tensor would be a cycle) of those that the record's vjp reads, with the version at that
 * time. Values live as long as the tape needs them, not as long as the scope. */
#ifndef REEL_AUTOGRAD_TAPE_H
#define REEL_AUTOGRAD_TAPE_H

#include <reel/autograd.h>

#include "ops/op.h"

typedef struct reel_node reel_node;

typedef struct reel_saved {
    reel_meta meta;
    reel_storage *storage; /* NULL: not saved */
    uint32_t version;
    bool present; /* false: the optional operand was absent */
} reel_saved;

typedef struct reel_edge {
    reel_node *node; /* NULL: no gradient flows there */
    int out;         /* which output of it */
} reel_edge;

typedef struct reel_hook {
    int out;
    reel_grad_hook fn;
    void *user;
    struct reel_hook *next;
} reel_hook;

struct reel_node {
    reel_node_head head; /* first: the tensor room counts through it */
    uint64_t seq;        /* order of recording: backward runs from high to low */
    const reel_op *op;   /* NULL: a leaf */
    int n_in, n_out;
    bool freed;        /* it saved values, and a backward gave them back */
    const char *where; /* module path in anomaly mode, of its own memory; or NULL */
    reel_hook *hooks;
    reel_edge *edge;      /* [n_in] */
    reel_saved *in, *out; /* [n_in], [n_out] */
    void *attrs;
    void (*drop)(void *attrs); /* gives back what attrs hold besides; or NULL */
    reel_node *next_free;      /* while a chain is freed */
};

/* The node of x if gradients flow through it. */
static inline reel_node *reel__node(const reel_tensor *x)
{
    return (reel_node *)(void *)x->node;
}

/* Within a vjp: whether this run adds to leaves (reel_backward) or not (reel_grad). */
bool reel__accumulates(void);

/* Gives back what the node saved (after its vjp ran without retain_graph). */
void reel__node_clear(reel_node *n);

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
reel_status reel__tape_record(const reel_call *call);
reel_status reel__grad_composed(reel_tensor *y, reel_tensor *gy, reel_tensor *const x[],
                                int n_x, reel_tensor *gx[], bool create_graph);

#endif
