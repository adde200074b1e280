/* one_node.h: a graph of one node, from a sample of its record. */
#ifndef TESTS_SUPPORT_ONE_NODE_H
#define TESTS_SUPPORT_ONE_NODE_H

#include <reel/trace.h>

#include "sample.h"

typedef struct one_node {
    reel_graph
        *graph; /* inputs x0, x1, ... (absent ones have no number), outputs y0, ... */
    reel_tensor *in[SAMPLE_MAX_IN], *out[REEL_OP_MAX_OUT]; /* before and after the call */
    int n_in, n_out;
} one_node;

/* Runs the sample's record under capture, in its floats' dtype; `n_out` results at most become
 * outputs. Tensors belong to the innermost scope, the graph to the caller. False if the record
 * refuses the dtype (the error is cleared) or has no result. */
bool one_node_make(const sample *s, reel_dtype dtype, int n_out, one_node *out);
/* The first opset at which the record can be exported: tries all its samples; 0: at none. */
int one_node_opset(const reel__op *op);

#endif
