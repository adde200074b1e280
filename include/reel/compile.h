/* reel/compile.h: a function that becomes a graph by being called.
 *
 *     static reel_status step(void *user, reel_tensor *const x[], int n_x,
 *                             reel_tensor *y[], int n_y)
 *     {
 *         trainer *t = user;
 *         y[0] = reel_cross_entropy(reel_forward(t->net, x[0]), x[1], NULL);
 *         reel_backward(y[0], NULL);
 *         reel_optim_step(t->optim);
 *         reel_optim_zero_grad(t->optim);
 *         return reel_error_status();
 *     }
 *
 *     reel_compiled *s = reel_compile(step, &t, &(reel_compile_opts){.module = t.net});
 *     for (...) reel_compiled_run(s, (reel_tensor *[]){images, labels}, 2, &loss, 1);
 *     reel_compiled_free(s);
 *
 * The first call runs as it is: optimizers make their state. The second is captured while it
 * runs, then optimized and planned; all further ones with inputs of those shapes run as a
 * graph: the same operators without a tape, in planned memory. */
#ifndef REEL_STEP_H
#define REEL_STEP_H

#include <reel/executor.h>
#include <reel/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Computes y[0..n_y-1] from x[0..n_x-1], and may change state: parameters, their gradients,
 *  optimizers, running statistics. Another graph is made when what decides which operators run
 *  has changed: shapes, modes and parts of modules, which tensors ask for a gradient or have
 *  one, groups and options of optimizers. What it computes in C, such as a rate from a counter,
 *  is frozen when it is captured: objects that do so refuse while reel_capturing(), as
 *  reel_schedule_step() does. What it returns is what reel_compiled_run() returns. */
typedef reel_function_n reel_function_n;

/** A function and the graphs that it has become: one for each set of input shapes, of modes,
 *  and of what else decides which operators run. Opaque. */
typedef struct reel_compiled reel_compiled;

/** Options of reel_compile. Zero is the default. */
typedef struct reel_compile_opts {
    reel_module *module; /* its state gets its paths as names; or NULL */
    int warmup;          /* calls before the first capture; 0 means 1 */
    /* Every bit as without a graph: no pass that reorders arithmetic. */
    bool exact;
    /* Passes that shall not run, as in reel_optimize_opts; kept by the caller. "recompute":
     * more memory, a little less time. */
    const char *skip;
    REEL_FUTURE;
} reel_compile_opts;

/** Makes one; `user` is handed to fn. Errors: REEL_ERR_ARG. The caller frees it. */
REEL_API reel_compiled *reel_compile(reel_function_n fn, void *user,
                                     const reel_compile_opts *opts);
/** One call, of at most 16 inputs. Results belong to the innermost scope, and gradients of
 *  leaves are what fn leaves them. Other shapes or settings than before are captured again;
 *  four graphs are kept, those first that are for what is set now; what comes after those, and
 *  a function whose settings change at each call, runs without a graph. Errors: REEL_ERR_ARG;
 *  what fn says; REEL_ERR_STATE if it reads a value of a tensor while it is captured, naming
 *  it. */
REEL_API reel_status reel_compiled_run(reel_compiled *s, reel_tensor *const x[], int n_x,
                                       reel_tensor *y[], int n_y);
/** The optimized graph of the latest run, owned by `s`; NULL if it ran without one. */
REEL_API const reel_graph *reel_compiled_graph(const reel_compiled *s);
/** Its executor: reel_executor_memory() and so on. NULL as above. */
REEL_API reel_executor *reel_compiled_executor(const reel_compiled *s);
/** Frees. NULL is allowed. */
REEL_API void reel_compiled_free(reel_compiled *s);

#ifdef __cplusplus
}
#endif
#endif
