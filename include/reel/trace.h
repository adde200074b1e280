/* reel/trace.h: what ran becomes a graph.
 *
 *     reel_graph *g = reel_trace(net, x, NULL);          // <reel/nn.h>
 *     char *text = reel_graph_to_string(g);              // one line a node
 *     reel_graph_run(g, &x2, 1, &y2, 1);                 // the same operators on other inputs
 *     reel_graph_free(g);
 *
 * A node of a graph is a record with its attributes, so a graph that is run goes through the
 * same path as any code: it has gradients, and shares its parameters with the module that
 * was traced. A whole training step (forward, backward, optimizer) can be captured: what it
 * changes in place is state, and nodes run in the order in which they ran. */
#ifndef REEL_TRACE_H
#define REEL_TRACE_H

#include <reel/autograd.h>
#include <reel/profile.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Operators in the order in which they ran, and the values between them. Opaque. */
typedef struct reel_graph reel_graph;

/* ---- capture ------------------------------------------------------------------------ */

/** Begins to record every operator of this thread, at the sizes at which it runs: a batch
 *  dimension is found by reel_trace() and reel_trace_function() alone. What is neither declared
 *  below nor computed under way becomes a constant of the graph. Errors: REEL_ERR_STATE if a
 *  capture of this thread is under way; one pending. */
REEL_API reel_status reel_capture_begin(void);
/** Declares `x` an input of the graph. The name is copied; NULL: "input0", "input1", ...
 *  Errors: REEL_ERR_STATE without a capture; REEL_ERR_ARG for NULL, or for a tensor that the
 *  capture has met already. */
REEL_API reel_status reel_capture_input(reel_tensor *x, const char *name);
/** Declares `x` a parameter (is_param) or buffer: the graph shares it. A tensor declared
 *  twice (tied weights) keeps its first name. Errors: REEL_ERR_STATE without a capture;
 *  REEL_ERR_ARG for NULL. */
REEL_API reel_status reel_capture_state(reel_tensor *x, const char *name, bool is_param);
/** True while a capture of this thread is under way: what a program computes in C, such as a
 *  rate from a counter, would be frozen into its graph. Objects that do so refuse then. */
REEL_API bool reel_capturing(void);

/** From now on gradients of leaves are inputs and outputs of this capture. A gradient that is
 *  there when it is first looked at (by a backward that adds to it, by an optimizer) becomes
 *  an input behind those declared so far; reel_capture_grad() tells which. Without this call it
 *  is a constant, and noted as a read. Errors: REEL_ERR_STATE without a capture. */
REEL_API reel_status reel_capture_grads(void);
/** What the capture had to do with the gradient of a leaf. */
typedef struct reel_captured_grad {
    reel_tensor *leaf; /* borrowed */
    bool looked;       /* it was looked at before the capture replaced it ... */
    bool there;        /* ... and there was one: an input of the graph */
    bool replaced;     /* it has become what reel_grad_of(leaf) is now, or was cleared */
    REEL_FUTURE;
} reel_captured_grad;
/** The i-th leaf whose gradient the capture under way met, in the order of meeting; inputs of
 *  the graph come in the same order. False if there are no more. */
REEL_API bool reel_capture_grad(int i, reel_captured_grad *out);

/** Ends the capture; y[0..n-1] are the outputs, name[i] or "output0", ... their names (name
 *  may be NULL). n may be 0: a step that only changes state. The caller frees the graph.
 *  Errors: REEL_ERR_STATE without a capture; REEL_ERR_ARG for an output that is not a value of it;
 *  what went wrong under way. The capture is over in any case. */
REEL_API reel_graph *reel_capture_end(reel_tensor *const y[], int n,
                                      const char *const name[]);
/** Ends the capture, if one is under way, without a graph. */
REEL_API void reel_capture_cancel(void);

/** Options of tracing; zero is the default. */
typedef struct reel_trace_opts {
    /* One run, shapes as they are. Default: the first dimension of every input is the batch,
     * and the graph runs at any size of it. */
    bool fixed_batch;
    bool unchecked;                  /* the graph is not compared with fn */
    uint64_t unbatched;              /* bit i: input i has no batch dimension */
    const char *const *input_names;  /* one each, or NULL: "input0", ... */
    const char *const *output_names; /* one each, or NULL: "output0", ... */
    /* Called before each run, with the `user` of fn: reel_capture_state() for what is to be a
     * parameter or buffer. NULL: all that fn reads and nobody declares is a constant. */
    reel_status (*declare)(void *user);
    REEL_FUTURE;
} reel_trace_opts;

/** Runs fn on the inputs x[0..n-1], at most 64, and gives its graph, with one output. With a
 *  batch dimension fn runs at three more sizes, on a few rows of the inputs: what differs
 *  between two runs is what grows with the batch, and the third confirms it. A function that
 *  draws random numbers keeps the batch size of x. Then fn and the graph run once more, on inputs
 *  drawn from the range of x (whole numbers: rows of x) and with some 13 to 67 rows: results
 *  must be equal. A function that changes state (training) runs once, keeps the batch size of
 *  x, and is not compared. opts NULL: defaults.
 *  Errors: REEL_ERR_ARG; REEL_ERR_SHAPE if inputs differ in their first dimension;
 *  REEL_ERR_STATE naming the operator, where fn does different things at different batch
 *  sizes, or if results differ, naming what was read; what fn says. The caller frees the
 *  graph. */
REEL_API reel_graph *reel_trace_function(reel_function fn, void *user,
                                         reel_tensor *const x[], int n,
                                         const reel_trace_opts *opts);
/** The same of a function with n_y results, 1 to 64: the graph has n_y outputs. */
REEL_API reel_graph *reel_trace_function_n(reel_function_n fn, void *user,
                                           reel_tensor *const x[], int n_x, int n_y,
                                           const reel_trace_opts *opts);

/* ---- a graph ------------------------------------------------------------------------ */

/** Frees it. Tensors that it shares live on. NULL is allowed. */
REEL_API void reel_graph_free(reel_graph *g);
/** Name of input or output i; NULL out of range. Owned by the graph. */
REEL_API const char *reel_graph_input_name(const reel_graph *g, int i);
REEL_API const char *reel_graph_output_name(const reel_graph *g, int i);
/** Shape and dtype of input i at the graph's batch size; rank -1 out of range. */
REEL_API reel_shape reel_graph_input_shape(const reel_graph *g, int i, reel_dtype *dtype);
/** Record of node i, such as "conv2d", and its module path ("" if none); NULL out of range. */
REEL_API const char *reel_graph_node_op(const reel_graph *g, int i);
REEL_API const char *reel_graph_node_where(const reel_graph *g, int i);
/** Number of nodes that an executor runs each time: all but those that compute weights from
 *  weights, which run once. -1 on an error (REEL_ERR_ARG for NULL, REEL_ERR_MEMORY). */
REEL_API int reel_graph_nodes_each_run(const reel_graph *g);
/** Number of nodes, inputs, outputs; 0 for NULL. */
REEL_API int reel_graph_nodes(const reel_graph *g);
REEL_API int reel_graph_inputs(const reel_graph *g);
REEL_API int reel_graph_outputs(const reel_graph *g);
/** A copy that shares the tensors: to optimize one and keep the other. The caller frees it. */
REEL_API reel_graph *reel_graph_copy(const reel_graph *g);
/** The batch size that shapes are printed at and costs are counted for; 0 if the graph has no
 *  batch dimension. */
REEL_API int64_t reel_graph_batch(const reel_graph *g);
/** Sets it. Errors: REEL_ERR_STATE if the graph has no batch dimension; REEL_ERR_ARG for a
 *  size below 1 or above 2^31; what a shape rule says. */
REEL_API reel_status reel_graph_set_batch(reel_graph *g, int64_t batch);
/** Runs the operators on other inputs (shape and dtype as traced, but for the batch), in
 *  order, and gives the outputs, which belong to the innermost scope. Inputs stay as they are,
 *  also where the function changed them in place. Gradients are recorded
 *  if they are enabled; random operators draw anew from this thread's generator. Errors:
 *  REEL_ERR_ARG for a wrong number, REEL_ERR_SHAPE naming the input, both shapes; what an
 *  operator says. */
REEL_API reel_status reel_graph_run(reel_graph *g, reel_tensor *const x[], int n_x,
                                    reel_tensor *y[], int n_y);

/** Called after a node ran: its record's name, its module path ("" if none) and its first
 *  result, which is borrowed and may change later. */
typedef void (*reel_watch_fn)(void *user, int node, const char *op, const char *where,
                              reel_tensor *value);
/** reel_graph_run(), and `watch` hears of every node that has a result: to compare two graphs
 *  layer by layer. */
REEL_API reel_status reel_graph_run_watched(reel_graph *g, reel_tensor *const x[],
                                            int n_x, reel_tensor *y[], int n_y,
                                            reel_watch_fn watch, void *user);
/** Verifies it: each value is made before it is read, operands are as many as the record
 *  takes, and every shape rule gives the shapes that are stored. Errors: REEL_ERR_INTERNAL
 *  naming the node; REEL_ERR_ARG for NULL. */
REEL_API reel_status reel_graph_check(const reel_graph *g);
/** False if what decided which operators ran says something else than when the graph was
 *  captured: the mode or the parts of a module that ran or was declared, groups and options of
 *  an optimizer that stepped, whether a parameter asks for a gradient. The graph is still what
 *  it was captured as. True for graphs that were loaded; false for NULL. */
REEL_API bool reel_graph_current(const reel_graph *g);
/** Reads of values while the graph was captured (reel_item, reel_data, ...), a line each with
 *  the value and where in the model: of inputs, of state and of what was computed. What depends
 *  on them is frozen, and reel_onnx_export() refuses the graph unless told otherwise. "" if there
 *  were none. Owned by the graph. */
REEL_API const char *reel_graph_reads(const reel_graph *g);

/* ---- cost --------------------------------------------------------------------------- */
/* Counted at reel_graph_batch(g); reel_graph_set_batch() changes it. */

/** What a machine can do at best: the roofline of Williams, Waterman & Patterson 2009. */
typedef struct reel_roofline {
    double gflops; /* 1e9 floating-point operations a second */
    double gbytes; /* 1e9 bytes a second to and from memory */
} reel_roofline;

/** What one node costs. Texts are owned by the graph. */
typedef struct reel_node_cost {
    const char *op;       /* name of the operator */
    const char *where;    /* module path; "" if there is none */
    reel_cost cost;       /* by the record's formulas */
    int64_t params;       /* elements of the parameters that it reads */
    double intensity;     /* operations for each byte; 0 if it moves none */
    double seconds_bound; /* no machine of these peaks is faster; 0 without peaks */
    REEL_FUTURE;
} reel_node_cost;

/** Costs of all nodes together, but for those that compute weights from weights, which run
 *  once. */
REEL_API reel_cost reel_graph_cost(const reel_graph *g);
/** Costs of node 0 .. reel_graph_nodes(g) - 1 in program order. `peaks` NULL: no bound.
 *  Errors: REEL_ERR_ARG for no such node, peaks that are not above 0; REEL_ERR_MEMORY. */
REEL_API reel_status reel_graph_node_cost(const reel_graph *g, int node,
                                          const reel_roofline *peaks,
                                          reel_node_cost *out);
/** Bytes of the largest set of results that are alive at one time, in program order: no plan
 *  needs less. Views count once, with what they look at; inputs and state do not count.
 *  -1 on an error (REEL_ERR_ARG for NULL, REEL_ERR_MEMORY). */
REEL_API int64_t reel_graph_peak_bytes(const reel_graph *g);
/** Writes a table: a line for each node in program order, then totals, and which operators
 *  make up most of it. `peaks` NULL: no time bound. Errors: REEL_ERR_ARG as for
 *  reel_graph_node_cost(); REEL_ERR_IO; REEL_ERR_MEMORY. */
REEL_API reel_status reel_graph_report(const reel_graph *g, FILE *to,
                                       const reel_roofline *peaks);

/* ---- text and state ------------------------------------------------------------------ */

/** The graph as text, a line for each value and node, exact but for the elements of its state:
 *  reel_graph_parse() reads it. The caller frees it with free(). NULL on an error.
 *      batch 5
 *      input x f32[batch,64]
 *      param fc.weight f32[10,64]
 *      %2 f32[batch,10] = linear(x, fc.weight, -)  # fc
 *      output y = %2 */
REEL_API char *reel_graph_to_string(const reel_graph *g);
/** The graph that a text describes. `find` gives the tensor of a parameter, buffer or constant,
 *  borrowed; NULL: there is none. A tensor whose memory order is not that of the text is
 *  copied into that order; else the graph shares it. Any text gives an error or a graph that
 *  passes reel_graph_check(), in memory proportional to its length. Errors: REEL_ERR_FORMAT
 *  with line and column; what a shape rule says, in the same way. The caller frees the
 *  graph. */
REEL_API reel_graph *reel_graph_parse(const char *text,
                                      reel_tensor *(*find)(void *user, const char *name),
                                      void *user);

/** What a tensor of a graph is. */
typedef enum reel_state_kind {
    REEL_STATE_PARAM = 0,
    REEL_STATE_BUFFER,
    REEL_STATE_CONST /* met while the graph was captured, or made by a pass */
} reel_state_kind;
/** Called with each; `name` is NULL for a constant without one. Anything but REEL_OK ends the
 *  walk. */
typedef reel_status (*reel_state_visit)(void *user, const char *name, reel_tensor *t,
                                        reel_state_kind kind);
/** Visits what the graph holds, in the order of its text. Errors: REEL_ERR_ARG; what `visit`
 *  returns. */
REEL_API reel_status reel_graph_each_state(const reel_graph *g, reel_state_visit visit,
                                           void *user);
/** Gives every constant a name, "const.0", ..., and every state and input a name of its own,
 *  by a suffix where two have the same. Errors: REEL_ERR_UNSUPPORTED if two share memory
 *  that training or the graph itself changes: names could not say so. */
REEL_API reel_status reel_graph_name_state(reel_graph *g);

/* ---- pictures ------------------------------------------------------------------------ */

/** Writes it in Graphviz's language. Errors: REEL_ERR_ARG; REEL_ERR_IO. */
REEL_API reel_status reel_graph_write_dot(const reel_graph *g, FILE *to);

/** Options of pictures; zero is the default. */
typedef struct reel_view_opts {
    const char *title;          /* NULL: "graph" */
    const reel_roofline *peaks; /* colours and table show time bounds; NULL: operations */
    REEL_FUTURE;
} reel_view_opts;
/** Writes a picture of it as SVG, layers from top to bottom, coloured by cost. opts NULL:
 *  defaults. Errors: REEL_ERR_ARG; REEL_ERR_IO; REEL_ERR_MEMORY. */
REEL_API reel_status reel_graph_write_svg(const reel_graph *g, FILE *to,
                                          const reel_view_opts *opts);
/** Writes a page that needs nothing else: the picture, to zoom and move, and the table of
 *  costs. Errors: as reel_graph_write_svg. */
REEL_API reel_status reel_graph_write_html(const reel_graph *g, FILE *to,
                                           const reel_view_opts *opts);
/** Writes that page to a file, which stays as it was on an error. Errors: as above, naming the
 *  file. */
REEL_API reel_status reel_graph_save_html(const reel_graph *g, const char *path,
                                          const reel_view_opts *opts);

/* ---- passes ------------------------------------------------------------------------- */

/** Options of reel_graph_optimize; zero is the default: every pass. */
typedef struct reel_optimize_opts {
    const char *only; /* names of passes, separated by commas; NULL: all but recompute */
    const char *skip; /* those that shall not run; NULL: none */
    bool exact;       /* only passes after which results keep every bit */
    bool
        recompute; /* less memory for a little time: the pass of that name runs as well */
    FILE *log;     /* a line for each pass that ran; NULL: none */
    REEL_FUTURE;
} reel_optimize_opts;
/** Changes the graph in place into one that computes the same with less work: passes run in
 *  order, over and over until none finds anything. It still runs through the operators, at
 *  every batch size, and has gradients, unless it quantizes: layers between reel_dequantize()
 *  and reel_quantize() then run on integers, and give none. Weights that are folded together
 *  are computed by nodes of the graph, which keeps its parameters, shares them with the module
 *  that was traced and follows them; executors compute such nodes once, and again when the
 *  parameters change, and files hold what they make. opts NULL: defaults.
 *  Errors: REEL_ERR_ARG for a name that is not a pass, listing those that are; REEL_ERR_STATE if a
 *  capture of this thread is under way; REEL_ERR_INTERNAL naming the pass, also one that never
 *  comes to rest. On an error the graph is as it was. */
REEL_API reel_status reel_graph_optimize(reel_graph *g, const reel_optimize_opts *opts);
/** Number of passes, in the order in which they run. */
REEL_API int reel_pass_count(void);
/** Name of pass i, and what it does in a line. Static storage; NULL out of range. */
REEL_API const char *reel_pass_name(int i);
REEL_API const char *reel_pass_about(int i);

#ifdef __cplusplus
}
#endif
#endif
