/* export.h: a graph becomes an ONNX model. */
#ifndef REEL_TRACE_ONNX_EXPORT_H
#define REEL_TRACE_ONNX_EXPORT_H

#include <reel/onnx.h>

#include "ops/onnx.h"
#include "trace/graph/graph.h"

/* Which nodes the outputs need, and which of their results somebody reads. */
typedef struct reel__needs {
    uint16_t *node; /* REEL_NEEDED; bit k: result k is read afterwards */
    bool *state;    /* of each value: it is state or an input, and is read */
} reel__needs;
#define REEL_NEEDED 0x8000
/* False with an error. */
bool reel__needs_value(const reel_graph *g, const reel__effects *e, reel__needs *n);
void reel__needs_free(reel__needs *n);

/* The model; its weights are those of g, or of tensors in the innermost scope, and must
 * outlive it. With `missing` nothing fails for want of a rule: each node that cannot be
 * written is a line there instead. */
reel__onnx_model *reel__onnx_model_of(const reel_graph *g, const reel_onnx_opts *opts,
                                      FILE *missing);

/* ---- export_check.c ------------------------------------------------------------------------ */

/* Reads a file back, which checks its form, and, unless `unchecked`, compares what it computes
 * with g, and with the function if there is one. `path` is the name that it is to get, for messages; `data`: the file of its external
 * data, or NULL. */
reel_status reel__onnx_compare(reel_graph *g, const char *path, const char *file,
                               const char *data, const reel_onnx_opts *opts);

#endif
