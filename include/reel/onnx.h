/* reel/onnx.h: graphs as ONNX files.
 *
 *     reel_train(net, false);
 *     reel_graph *g = reel_trace(net, x, NULL);
 *     reel_onnx_export(g, "net.onnx", NULL);
 *
 * A file says what the outputs need and nothing else: parameters by their paths, nodes named
 * after the modules that ran them, the batch as a dimension without a size. */
#ifndef REEL_ONNX_H
#define REEL_ONNX_H

#include <reel/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- writing -------------------------------------------------------------------------- */

/** Options of writing; zero is the default. */
typedef struct reel_onnx_opts {
    int opset;         /* 13 to 26; 0: 17. The IR version follows from it */
    const char *name;  /* of the graph; NULL: "reel" */
    const char *doc;   /* what the file says about itself; NULL: nothing */
    const char *batch; /* the name of the batch dimension; NULL: "batch" */
    /* Pairs of key and value: class names, mean, seed. */
    const char *const (*metadata)[2];
    int n_metadata;
    bool unchecked; /* write without comparing values: see below */
    /* The function that g was traced from, with its user pointer: the file is compared with it
     * too, not with g alone. NULL: with g alone. */
    reel_function fn;
    reel_function_n fn_n; /* in its place, of a function with several results */
    void *user;
    /* Write a graph although values were read while it was captured (reel_graph_reads). */
    bool allow_reads;
    /* Bytes of a file from which its weights go to FILE.data; 0: as late as the format
     * allows, 2 GiB less 1. */
    int64_t external_from;
    REEL_FUTURE;
} reel_onnx_opts;

/** Writes what the outputs of g need as an ONNX file. Before it counts as written the file is
 *  read back, checked and, unless `unchecked`, run on inputs that are drawn (the same ones each
 *  time), if g has a batch dimension at batches of 1, 3 and some 5 to 67: outputs must agree
 *  with g's, and with those of `fn`, within 1e-4 of the largest value (2e-2 in f16 and bf16;
 *  integers and bools are equal). A graph that quantizes is compared in integers; where the
 *  file says in other operators what comes before a quantize, values may be a step apart, and
 *  all together must be within 2e-2 of their size (root mean squares). An earlier file stays as it was if anything fails. Random
 *  state, parameters and g are left as they were. opts NULL: defaults.
 *  Errors: REEL_ERR_ARG (opset out of range, two values of one name); REEL_ERR_STATE if g
 *  changes state, draws random numbers or was traced in train mode, naming the module, or if
 *  values were read while it was captured; REEL_ERR_UNSUPPORTED for an operator, dtype or option
 *  of it that the opset has not, naming the module, and for a value that is read after its
 *  memory was changed in place by way of another view: reel_onnx_missing() lists them all;
 *  REEL_ERR_NUMERIC if values differ; what `fn` says; REEL_ERR_IO. Source:
 *  github.com/onnx/onnx, onnx.proto and the operators' pages. */
REEL_API reel_status reel_onnx_export(reel_graph *g, const char *path,
                                      const reel_onnx_opts *opts);
/** What stands in the way of an export at this opset (0: 17), a line each: operator, module
 *  and reason. "" if nothing does. The caller frees it with free(). NULL on an error:
 *  REEL_ERR_ARG for NULL or an opset out of range. */
REEL_API char *reel_onnx_missing(const reel_graph *g, int opset);

/* ---- loading -------------------------------------------------------------------------- */

/** Options of loading; zero is the default. */
typedef struct reel_onnx_load_opts {
    /* Batch size that the graph stands at; 0: 1. Only for a file whose inputs leave a size
     * open. */
    int64_t batch;
    int64_t max_bytes; /* largest file, and largest file of external data; 0: 64 GiB */
    REEL_FUTURE;
} reel_onnx_load_opts;

/** Reads an ONNX file (opset 1 to 28, IR version 3 and above) into a graph. Inputs and outputs
 *  carry the file's names; initializers of floating dtype are parameters, those of batch norm's
 *  statistics buffers, others constants, by their names. A size of inputs that the file leaves
 *  open, by a name or a negative number, is the batch, wherever it stands: the graph then runs
 *  at any size of it. There can be one: sizes of two names are refused, and one without a name
 *  that is not the first of its input. Arithmetic on shapes and other small constants is done
 *  while loading. Nothing else is computed, and nothing is allocated by the sizes that a file
 *  states but its weights. What is read but not wholly, an IR version of 20 or more and
 *  training_info, is said to the log (reel_set_log()).
 *  opts NULL: defaults. The caller frees the graph.
 *  Errors name the file, the node and what is wrong: REEL_ERR_IO; REEL_ERR_FORMAT for a file
 *  that breaks ONNX's rules, or in which sizes that follow the batch fit together at none of 1,
 *  2 and 3; REEL_ERR_UNSUPPORTED for a valid one that needs what there is not, with a list of all
 *  of it: operators, attributes, dtypes, limits, open sizes at which it is right at some only;
 *  REEL_ERR_ARG for a batch size where the file's is fixed, or at which the graph has no
 *  meaning. Source: the operator specification, github.com/onnx/onnx. */
REEL_API reel_graph *reel_onnx_load(const char *path, const reel_onnx_load_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
