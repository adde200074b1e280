/* graph.h (internal): values and nodes. Values are numbered; a node reads and makes them by
 * number. Nodes hold the same records as calls do, so there is no second implementation.
 *
 * Shapes stand at the batch size g->batch. What depends on it says how: a value by `grow`, a
 * node by `per_batch`. So a graph at another batch size is arithmetic and the records' own
 * shape rules (batch.c), and no size is baked in. */
#ifndef REEL_TRACE_GRAPH_H
#define REEL_TRACE_GRAPH_H

#include <reel/trace.h>

#include "base/watched.h"
#include "ops/op.h"

typedef enum reel__value_kind {
    REEL_VALUE_INPUT,
    REEL_VALUE_PARAM,
    REEL_VALUE_BUFFER,
    REEL_VALUE_CONST,
    REEL_VALUE_NODE /* made by a node */
} reel__value_kind;

typedef struct reel__value {
    reel__value_kind kind;
    reel__meta meta; /* at g->batch */
    int64_t
        grow[REEL_MAX_RANK]; /* dim[i] at batch b: dim[i] + grow[i] * (b - g->batch) */
    uint8_t bent; /* bit i: dim[i] grows on that line for a while only (batch.c), */
    uint64_t bend[REEL_MAX_RANK]; /* and this is the same for sizes that bend alike */
    char *name;                   /* of inputs and state; else NULL */
    reel_tensor *tensor;          /* kept: parameters, buffers, constants */
    bool
        shared; /* a constant that the program has too, and may change: not to be folded */
    int maker;  /* node that makes it; -1 */
} reel__value;

/* An absent optional operand, or an output that was left out. */
#define REEL_NO_VALUE (-1)

typedef struct reel__gnode {
    const reel__op *op; /* NULL: removed, until the graph is compacted */
    void *attrs;        /* op->attrs->size bytes; NULL if it has none */
    void *
        per_batch; /* NULL, or the same struct: an int64_t v stands for v + k (b - g->batch)
                        * with its k here, a real for k / b where k is not 0 */
    int n_in, n_out;
    int *in, *out; /* numbers of values; an in-place result is its input's number */
    char *where;   /* module path; or NULL */
    int64_t place; /* program order: see reel__graph_emit() */
} reel__gnode;

/* What decided which operators ran, as it was then. Shared by copies of a graph. */
typedef struct reel__decided {
    atomic_int refs;
    reel__said *object;
    int n_object, cap_object;
    struct {
        reel_tensor *tensor; /* kept */
        bool needs_grad;
    } * state;
    int n_state, cap_state;
} reel__decided;
/* A slice of a dimension whose size does not settle what it does (reel__slice_settles). */
typedef struct reel__edge {
    int64_t size, settles;
} reel__edge;

struct reel_graph {
    reel__value *value;
    int n_value, cap_value;
    reel__gnode *node; /* in program order, except while a pass edits */
    int n_node, cap_node;
    int *input, *output;
    char **output_name;
    int n_input, n_output, cap_input;
    int64_t batch;    /* 0: no dimension depends on it, shapes are fixed */
    reel__edge *edge; /* of a capture, in order */
    int n_edge, cap_edge;
    char *reads;            /* text; or NULL */
    reel__decided *decided; /* NULL: nothing but the graph itself */
    reel_rng_state rng;     /* where the random stream stood when the capture began */
    uint64_t rng_blocks;    /* how far it went */
    /* While passes run that must keep every bit: a value may not come to lie in memory in
     * another way, for sums go along memory. */
    bool keeps_layouts;
};

/* Distance of the places of neighbours: how many nodes can be emitted before one. */
#define REEL__PLACE_GAP (INT64_C(1) << 24)
/* Sizes at other batches are sums of products: none may come near 64 bits. */
#define REEL__MOST_BATCH (INT64_C(1) << 31)
/* Room for the attributes of any record. */
#define REEL_ATTRS_MAX 1280

/* ---- graph.c --------------------------------------------------------------------------- */

reel_graph *reel__graph_new(void);
/* Appends; the new number, or -1 with an error. `tensor` is retained, `name` copied. */
int reel__graph_add_value(reel_graph *g, reel__value_kind kind, const reel__meta *meta,
                          const char *name, reel_tensor *tensor);
int reel__graph_add_node(reel_graph *g, const reel__call *c, const int *in,
                         const int *out, const char *where);
/* What a node holds. */
void reel__gnode_free(reel__gnode *n);
/* "%5" or the value's name, into buf of `size` bytes; returns buf. */
const char *reel__value_text(const reel_graph *g, int v, char *buf, size_t size);
/* "f32[batch,3,32,32]" or, where nothing depends on the batch, "f32[10,64]". */
#define REEL__SHAPE_TEXT 256
const char *reel__value_shape_text(const reel_graph *g, int v, char *buf);
/* Makes room for one more of `size` bytes; false with an error. */
bool reel__grow(void **list, int n, int *capacity, size_t size);
/* Adds x to the inputs, or to the outputs under a name (copied). */
reel_status reel__graph_add_input(reel_graph *g, int v);
reel_status reel__graph_add_output(reel_graph *g, int v, const char *name);

/* ---- state.c ---------------------------------------------------------------------------- */

/* x with elements in the order in memory that `m` has (of x's shape and dtype): x itself if it
 * lies so, else a copy without gaps, which belongs to the innermost scope. */
reel_tensor *reel__in_order(reel_tensor *x, const reel__meta *m);

/* ---- infer.c ---------------------------------------------------------------------------- */

/* Metas of the op->n_out results for operands of these metas (NULL: absent), by the record's
 * shape rule; rank -1: left out. Errors: what the rule says; a dtype that the record does not
 * take; a result too large to exist. */
reel_status reel__infer(const reel__op *op, const void *attrs,
                        const reel__meta *const in[], int n_in, reel__meta *out);

/* ---- batch.c: one graph, any batch size ------------------------------------------------- */

/* Two captures of one function, at two batch sizes: writes into `a` what depends on the batch,
 * and sets a->batch. Errors: REEL_ERR_STATE naming the first node where they differ in more
 * than sizes that grow in proportion. */
reel_status reel__graph_generalize(reel_graph *a, int64_t batch_a, const reel_graph *b,
                                   int64_t batch_b);
/* The shapes at batch b, as far as the graph has a meaning there; the rest as on a line. Errors:
 * memory. */
reel_status reel__metas_there(const reel_graph *g, int64_t b, reel__meta *meta);
/* Batch sizes that show how results grow: number k from 0 on; 0: there are no more. */
int64_t reel__size_tried(int64_t k);
/* Sets how results grow from g->batch on, by the shape rules; where their sizes bend, too. */
reel_status reel__graph_grow(reel_graph *g);
/* The bends alone. */
reel_status reel__graph_bends(reel_graph *g);
/* Whether two values of one shape here have one, and perhaps the same strides, at other batch
 * sizes as well. */
bool reel__bend_alike(const reel_graph *g, int v, int by, bool strides);
/* A graph generalized so, still at its batch size, against a capture at a third one: the same
 * error where that is not what the graph is there. */
reel_status reel__graph_confirm(reel_graph *a, int64_t batch_a, const reel_graph *b,
                                int64_t batch_b);
/* Attributes of node n at batch b; `room` holds REEL_ATTRS_MAX bytes. b 0: as they stand. */
const void *reel__attrs_at(const reel_graph *g, const reel__gnode *n, int64_t b,
                           void *room);
/* Metas of all values at batch b, by the records' shape rules: meta[n_value]. State keeps its
 * own. Errors: what a shape rule says. */
reel_status reel__metas_at(const reel_graph *g, int64_t b, reel__meta *meta);
/* The same by the rules alone, the present batch size (or 0) not excepted: after an edit that
 * changed how values lie in memory. from >= 0: only nodes from that one on, meta[] holding the
 * rest, which may lie otherwise than the graph has it. */
reel_status reel__metas_anew(const reel_graph *g, int64_t b, int from, reel__meta *meta);
/* Meta of one value at batch b, as far as it is known without shape rules: of inputs and
 * state. */
void reel__value_meta_at(const reel_graph *g, int v, int64_t b, reel__meta *m);
/* The batch size that these inputs are for (0: the graph has none), or an error, -1, that
 * names the input: a wrong dtype, a size that does not fit. `who` begins the message. */
int64_t reel__batch_of(const reel_graph *g, const char *who, reel_tensor *const x[]);

/* ---- looks.c ------------------------------------------------------------------------------ */

/* The capture of this thread makes a node of each view, also where it looks like a value that
 * is there. */
void reel__capture_apart(void);
/* Views that look at the same memory in the same way at every size become one value. */
reel_status reel__graph_looks(reel_graph *g);

/* ---- replay.c ---------------------------------------------------------------------------- */

/* Right numbers of inputs and outputs, no error pending; else an error. `who` begins it. */
reel_status reel__check_run(const reel_graph *g, const char *who, reel_tensor *const x[],
                            int n_x, reel_tensor *y[], int n_y);
/* Attributes of a node for one run, at a batch size and a place in the random stream. `room`
 * holds REEL_ATTRS_MAX bytes. */
const void *reel__attrs_now(const reel_graph *g, const reel__gnode *n, int64_t batch,
                            reel_rng_state rng, void *room);

/* Who may compute a node in its place: `run` fills the results out[n_out], NULL where one is
 * absent, and says true; false: the node runs as it is. An error may be pending behind true. */
typedef struct reel__stand_in {
    bool (*run)(void *user, int node, reel_tensor *const in[], reel_tensor *out[]);
    void *user;
} reel__stand_in;
/* reel_graph_run() with one. */
reel_status reel__graph_run_instead(reel_graph *g, reel_tensor *const x[], int n_x,
                                    reel_tensor *y[], int n_y,
                                    const reel__stand_in *stand_in);

/* Whether these attributes change from run to run: the node has a place in the stream. */
bool reel__draws(const reel_graph *g, const reel__gnode *n);

/* ---- against.c ------------------------------------------------------------------------------ */

/* A batch size above those that a graph was made at, to run it at and compare it: up to 67 if
 * that is little work, else `least`; 0 if it has none. */
int64_t reel__larger_batch(const reel_graph *g, int64_t least);
/* A user's function: with one result, or with any number. Without either it is none. */
typedef struct reel__called {
    reel_function one;
    reel_function_n many;
    void *user;
} reel__called;
/* Calls it for n_y results, all of which are there if it is REEL_OK. */
reel_status reel__call_fn(const reel__called *fn, const char *who, reel_tensor *const x[],
                          int n_x, reel_tensor *y[], int n_y);
/* An error if fn and g, which changes no state, differ on fresh inputs like x[0..n_input-1]. */
reel_status reel__graph_against(reel_graph *g, const reel__called *fn,
                                reel_tensor *const x[]);

/* ---- decided.c ------------------------------------------------------------------------------ */

/* NULL with an error. */
reel__decided *reel__decided_new(void);
reel__decided *reel__decided_retain(reel__decided *d);
void reel__decided_release(reel__decided *d);
/* Remembers what it says now, unless it was asked before. */
reel_status reel__decided_by(reel__decided *d, uint64_t number);
reel_status reel__decided_by_state(reel__decided *d, reel_tensor *x);

/* ---- edit.c: how passes and readers change a graph --------------------------------------- */

/* Adds a node of op, whose results' shapes come from the record's rule (at g->batch, and at
 * the next size for `grow`). It stands right before node `before` in program order, after
 * those emitted there earlier; -1: at the end. Its results' values are written to
 * out[op->n_out] (REEL_NO_VALUE: left out). Node order in the array is restored by
 * reel__graph_compact(). The node's number, or -1 with an error. */
int reel__graph_emit(reel_graph *g, int before, const reel__op *op, const void *attrs,
                     const void *per_batch, const int *in, int n_in, const char *where,
                     int *out);
/* The same; the value of its first result, or -1 with an error. */
int reel__graph_emit1(reel_graph *g, int before, const reel__op *op, const void *attrs,
                      const void *per_batch, const int *in, int n_in, const char *where);
/* Everybody who reads v, outputs included, reads `by` instead. */
void reel__graph_replace(reel_graph *g, int v, int by);
/* Takes the node out. Its values stay until the graph is compacted. */
void reel__graph_remove(reel_graph *g, int node);
/* Brings nodes into program order, drops what was removed and values that nobody names (inputs
 * stay), and numbers everything again. Any number held outside is stale after it. */
reel_status reel__graph_compact(reel_graph *g);
/* A copy that shares the tensors. NULL with an error. */
reel_graph *reel__graph_copy(const reel_graph *g);
/* How often each value is read, by nodes and as output: n_value counts, for reel__free(). */
int *reel__graph_uses(const reel_graph *g);
/* Whether a value's kind means that it holds a tensor. */
static inline bool reel__is_state(const reel__value *v)
{
    return v->kind == REEL_VALUE_PARAM || v->kind == REEL_VALUE_BUFFER ||
           v->kind == REEL_VALUE_CONST;
}

/* ---- effects.c: which memory changes when ------------------------------------------------ */

/* Of one state of a graph: stale after any edit. */
typedef struct reel__effects {
    int *root;     /* of each value: the first value that looks at the same memory */
    bool *changes; /* of each value: a node changes its memory */
    bool *fixed; /* of each value: state that no node changes, or made from such alone */
    bool *settled;   /* of each value: fixed, and more than a look at state */
    int n_write;     /* nodes that change memory ... */
    int *write_root; /* ... of this root ... */
    int *write_node; /* ... in program order */
} reel__effects;
/* False with an error. Free with reel__effects_free(). */
bool reel__find_effects(const reel_graph *g, reel__effects *e);
void reel__effects_free(reel__effects *e);
/* True if no node changes the memory of v. */
bool reel__never_changes(const reel__effects *e, int v);
/* True if no node i with from <= i < to changes it: what was read at `from` can be read at
 * `to` as well. */
bool reel__same_between(const reel__effects *e, int v, int from, int to);

/* ---- settled.c: what a graph computes from its state alone --------------------------------- */

/* Folded weights and the like: nodes that read nothing but state which no run changes. Whoever
 * runs a graph often computes them once, and again when that state was changed from outside. */
typedef struct reel__settled {
    reel_graph
        *graph; /* computes them: no inputs, an output each; NULL: there are none */
    reel_tensor **tensor; /* room for them, not filled yet */
    int n;
    int *node_of; /* of each node that is left: its number in the graph before */
} reel__settled;
/* Takes those nodes out of g: what others read of them become constants of g, which share
 * `tensor`. packed: but for those that only unpack, such as integers into floats. Free with
 * reel__settled_free(). */
reel_status reel__settle(reel_graph *g, bool packed, reel__settled *s);
/* Fills the tensors, through apply(). */
reel_status reel__settled_fill(reel__settled *s);
void reel__settled_free(reel__settled *s);
/* A copy of g as an executor runs it, without those nodes and what they make: for pictures and
 * costs. NULL with an error. */
reel_graph *reel__graph_as_run(const reel_graph *g);
/* A copy of g as a file holds it: with what they make, packed. NULL with an error. */
reel_graph *reel__graph_as_filed(const reel_graph *g);
/* Whether node i is one of them. */
bool reel__is_settled(const reel_graph *g, const reel__effects *e, int i);

#endif
