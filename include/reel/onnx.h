/* reel/onnx.h: graphs as ONNX files. */
#ifndef REEL_ONNX_H
#define REEL_ONNX_H

#include <reel/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- loading -------------------------------------------------------------------------- */

/** Options of loading; zero is the default. */
typedef struct reel_onnx_load_opts {
    int64_t batch;     /* batch size that the graph stands at; 0: 1. Only for a file whose
                           * inputs leave their first dimension open */
    int64_t max_bytes; /* largest file, and largest file of external data; 0: 64 GiB */
} reel_onnx_load_opts;

/** Reads an ONNX file (opset 7 to 26) into a graph. Inputs and outputs carry the file's names;
 *  initializers of floating dtype are parameters, those of batch norm's statistics buffers,
 *  others constants, by their names. A first dimension of inputs that the file leaves open is
 *  the batch: the graph then runs at any size of it. Arithmetic on shapes and other small
 *  constants is done while loading. Nothing else is computed, and nothing is allocated by
 *  the sizes that a file states but its weights.
 *  opts NULL: defaults. The caller frees the graph.
 *  Errors name the file, the node and what is wrong: REEL_ERR_IO, REEL_ERR_FORMAT for a file
 *  that breaks ONNX's rules; REEL_ERR_UNSUPPORTED for operators (all of them at once),
 *  attributes and dtypes that have no counterpart; REEL_ERR_ARG for a batch size where the
 *  file's is fixed. Source: the operator specification, github.com/onnx/onnx. */
REEL_API reel_graph *reel_onnx_load(const char *path, const reel_onnx_load_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
