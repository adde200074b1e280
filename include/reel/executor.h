/* reel/executor.h: running a graph to a plan.
 *
 *     reel_executor *e = reel_executor_new(g, NULL);
 *     reel_tensor *y = NULL;
 *     reel_executor_run(e, &x, 1, &y, 1);                // y: a new tensor
 *     reel_executor_run_into(e, &x2, 1, &y, 1);          // y is filled again: no allocation
 *     reel_executor_free(e);
 *
 * reel_graph_run() calls every operator as a program would. An executor decides beforehand
 * where each value lies, in one block of memory that values share whose lives do not meet,
 * keeps weights as the kernels like them, and then calls kernels only. It gives the same bits.
 *
 * It records no gradients and nobody hears it (reel_cost_begin, captures); where a graph is
 * to be differentiated, reel_graph_run() is the way. A graph of a training step, which holds
 * its gradients as nodes, runs here: its parameters and statistics change in place. */
#ifndef REEL_EXECUTOR_H
#define REEL_EXECUTOR_H

#include <reel/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A graph with plans for the batch sizes that it was run at. Opaque. One thread at a time
 *  uses it; reel_executor_clone() makes more. */
typedef struct reel_executor reel_executor;

/** Options of executors; zero is the default. */
typedef struct reel_executor_opts {
    int64_t batch; /* plan for this batch size at once; 0: for the graph's */
    bool poison;   /* for tests: memory is filled with NaN as soon as its value is dead */
    bool plain;    /* no prepared weights: less memory, slower */
    REEL_FUTURE;
} reel_executor_opts;

/** An executor of a graph as it is now; it keeps a copy, which shares the tensors. opts NULL:
 *  defaults. Errors: REEL_ERR_ARG, also for a batch size where the graph has none;
 *  REEL_ERR_INTERNAL for a graph that reel_graph_check() refuses; REEL_ERR_UNSUPPORTED for
 *  values on several devices. The caller frees it. */
REEL_API reel_executor *reel_executor_new(const reel_graph *g,
                                          const reel_executor_opts *opts);
/** Another executor of the same graph, for another thread: it shares what is prepared and has
 *  memory of its own. A graph that changes state must not run in two threads at once. `e` may
 *  be in use meanwhile. The caller frees it. Errors: REEL_ERR_ARG. */
REEL_API reel_executor *reel_executor_clone(const reel_executor *e);
/** Frees it. NULL is allowed. */
REEL_API void reel_executor_free(reel_executor *e);

/** Runs it. x[i]: shape and dtype as traced, but for the batch; a batch size that is new makes
 *  a plan (the four used last are kept). y[i] becomes a new tensor, which belongs to the
 *  innermost scope; NULL on an error. Inputs are never changed; an input that lies
 *  in another order of memory than the traced one is copied. Weights that changed since the
 *  last run are prepared again, if the change went through reel's functions or through an
 *  address that reel_data() gave since then. Random operators draw anew from this thread's
 *  generator. Errors: REEL_ERR_ARG for a wrong number; REEL_ERR_SHAPE naming the input, both
 *  shapes; REEL_ERR_STATE where state was replaced by something else, or a capture is under
 *  way; REEL_ERR_MEMORY; what a kernel says. */
REEL_API reel_status reel_executor_run(reel_executor *e, reel_tensor *const x[], int n_x,
                                       reel_tensor *y[], int n_y);
/** The same into tensors of yours, each of its output's shape and dtype: nothing is allocated
 *  from the second run at a size on. Errors: REEL_ERR_ARG also for an output that is NULL, that
 *  is expanded, or that shares memory with anything else; REEL_ERR_SHAPE also of outputs. After
 *  an error the values in y are unknown. */
REEL_API reel_status reel_executor_run_into(reel_executor *e, reel_tensor *const x[],
                                            int n_x, reel_tensor *const y[], int n_y);

/** Memory of the plan that was used last, in bytes. */
typedef struct reel_plan_memory {
    int64_t batch;       /* the size that it is for; 0: the graph has none */
    int64_t arena;       /* the block in which intermediate values lie */
    int64_t lower_bound; /* most that is alive at one time: no plan takes less */
    int64_t values;      /* all intermediate values side by side, as without any reuse */
    int64_t n_values;    /* how many of them there are */
    int64_t scratch;     /* kernels' room; known after the first run */
    int64_t prepared;    /* weights as kernels like them, shared by clones */
    int64_t state;       /* parameters, buffers and constants */
    REEL_FUTURE;
} reel_plan_memory;

/** Says what the last plan takes. Errors: REEL_ERR_ARG. */
REEL_API reel_status reel_executor_memory(const reel_executor *e, reel_plan_memory *out);

/** Begins to measure the time of each node, from zero; `on` false ends it. Measuring costs two
 *  looks at the clock a node; off, nothing. Errors: REEL_ERR_ARG, REEL_ERR_MEMORY. */
REEL_API reel_status reel_executor_profile(reel_executor *e, bool on);
/** Seconds that a node of the graph, by its place in it, took in all runs since
 *  reel_executor_profile(). Views take none. Errors: REEL_ERR_ARG; REEL_ERR_STATE if nothing
 *  was measured. */
REEL_API reel_status reel_executor_time(const reel_executor *e, int node,
                                        double *seconds);

/** Times, on this machine and with its threads, the ways in which operators of the graph can
 *  be computed (`algo` of conv2d_fused: direct or Winograd), and writes what is fastest into
 *  their attributes, where saved graphs keep it. Without it, cost models choose. Runs the
 *  graph some thirty times at batch size `batch` (0: the graph's) on inputs of ones, indices of
 *  0. Results may differ in the last bits between ways. Errors: REEL_ERR_ARG; REEL_ERR_STATE
 *  for a graph that changes state; what a run says. On an error the graph is as it was. */
REEL_API reel_status reel_graph_tune(reel_graph *g, int64_t batch);

#ifdef __cplusplus
}
#endif
#endif
