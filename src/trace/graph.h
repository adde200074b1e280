/* graph.h (internal): values and nodes. Values are numbered; a node reads and makes them by
 * number. Nodes hold the same records as calls do, so there is no second implementation. */
#ifndef REEL_TRACE_GRAPH_H
#define REEL_TRACE_GRAPH_H

#include <reel/trace.h>

#include "ops/op.h"

typedef enum reel_value_kind {
    REEL_VALUE_INPUT,
    REEL_VALUE_PARAM,
    REEL_VALUE_BUFFER,
    REEL_VALUE_CONST,
    REEL_VALUE_NODE /* made by a node */
} reel_value_kind;

typedef struct reel_value {
    reel_value_kind kind;
    reel_meta meta;
    char *name;          /* of inputs and state; else NULL */
    reel_tensor *tensor; /* kept: parameters, buffers, constants */
    int maker;           /* node that makes it; -1 */
} reel_value;

/* An absent optional operand, or an output that was left out. */
#define REEL_NO_VALUE (-1)

typedef struct reel_gnode {
    const reel_op *op;
    void *attrs; /* op->attrs->size bytes; NULL if it has none */
    int n_in, n_out;
    int *in, *out; /* numbers of values; an in-place result is its input's number */
    char *where;   /* module path; or NULL */
} reel_gnode;

struct reel_graph {
    reel_value *value;
    int n_value, cap_value;
    reel_gnode *node;
    int n_node, cap_node;
    int *input, *output;
    char **output_name;
    int n_input, n_output, cap_input;
    char *reads;         /* text; or NULL */
    reel_rng_state rng;  /* where the random stream stood when the capture began */
    uint64_t rng_blocks; /* how far it went */
};

/* Room for the attributes of any record. */
#define REEL_ATTRS_MAX 1024

reel_graph *reel__graph_new(void);
/* Appends; the new number, or -1 with an error. `tensor` is retained, `name` copied. */
int reel__graph_add_value(reel_graph *g, reel_value_kind kind, const reel_meta *meta,
                          const char *name, reel_tensor *tensor);
int reel__graph_add_node(reel_graph *g, const reel_call *c, const int *in, const int *out,
                         const char *where);
/* "%5" or the value's name, into buf of `size` bytes; returns buf. */
const char *reel__value_text(const reel_graph *g, int v, char *buf, size_t size);
/* Makes room for one more of `size` bytes; false with an error. */
bool reel__grow(void **list, int n, int *capacity, size_t size);

#endif
