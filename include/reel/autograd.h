/* reel/autograd.h: gradients by playing the tape backward.
 *
 * What runs is recorded while gradients are enabled and an input requires them. Gradients are
 * written in operators, so gradients of gradients need only create_graph. */
#ifndef REEL_AUTOGRAD_H
#define REEL_AUTOGRAD_H

#include <reel/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Makes a leaf ask for (or no longer ask for) a gradient. Errors: REEL_ERR_DTYPE if x is not
 *  floating; REEL_ERR_STATE if x was computed from others. Returns x. */
REEL_API reel_tensor *reel_requires_grad(reel_tensor *x, bool on);
/** True if x is a leaf that asks for a gradient or was computed from one. */
REEL_API bool reel_needs_grad(const reel_tensor *x);
/** The gradient that backward accumulated in leaf x; NULL if there is none. Borrowed: valid
 *  until it is cleared, x goes or a backward adds to it, which may put another tensor in its
 *  place. */
REEL_API reel_tensor *reel_grad_of(reel_tensor *x);
/** Replaces the gradient of leaf x (shape, dtype and device must be x's); NULL clears it, also
 *  while an error is pending. */
REEL_API reel_status reel_set_grad(reel_tensor *x, reel_tensor *grad);

/** Options of backward and grad. Zero is the default. */
typedef struct reel_backward_opts {
    bool create_graph; /* record the backward pass too, for gradients of gradients */
    bool
        retain_graph; /* keep what was saved, to go backward again; implied by create_graph */
    reel_tensor
        *gradient;     /* of the output, of its shape; NULL is 1 for a single element */
    bool allow_unused; /* reel_grad: an input that has no path gives NULL, no error */
    REEL_FUTURE;
} reel_backward_opts;

/** Adds d(y)/d(leaf) to the gradient of each leaf below y. Errors: REEL_ERR_SHAPE if y has
 *  more than one element and no gradient is given; REEL_ERR_STATE if y needs no gradient, if
 *  the tape below was already freed, or if a value that it needs was changed in place.
 *  Refuses to run while an error is pending. */
REEL_API reel_status reel_backward(reel_tensor *y, const reel_backward_opts *opts);
/** Gradients of n_y outputs to n_x inputs, written to gx; leaves are not touched. gy: one
 *  per output, each may be NULL (then 1, for one element), or NULL for all. The results
 *  belong to the innermost scope. opts->gradient is not used. */
REEL_API reel_status reel_grad(reel_tensor *const y[], int n_y, reel_tensor *const gy[],
                               reel_tensor *const x[], int n_x, reel_tensor *gx[],
                               const reel_backward_opts *opts);

/** Whether this thread records (default true). */
REEL_API bool reel_grad_enabled(void);
/** Switches recording of this thread; returns what it was:
 *      bool was = reel_set_grad_enabled(false); ...; reel_set_grad_enabled(was); */
REEL_API bool reel_set_grad_enabled(bool on);
/** The same value without its history: the memory of x, seen by a tensor that needs no gradient.
 *  A change in place through it is not part of x's history; one that is recorded (of something
 *  that needs a gradient) makes the next use of x REEL_ERR_STATE. */
REEL_API reel_tensor *reel_detach(reel_tensor *x);

/** Called in backward with the finished gradient of a tensor; returns another to use instead,
 *  or NULL to keep it. `g` is borrowed. */
typedef reel_tensor *(*reel_grad_hook)(void *user, reel_tensor *g);
/** Calls `hook` whenever the gradient of x is computed. Lives as long as x's history. Hooks
 *  run in the order in which they were added. A hook must not add hooks to x. */
REEL_API reel_status reel_register_hook(reel_tensor *x, reel_grad_hook hook, void *user);

/** A function of n tensors, for checkpoint and gradcheck. NULL on an error. */
typedef reel_tensor *(*reel_function)(void *user, reel_tensor *const x[], int n);
/** A function of n_x tensors that writes n_y results to y, for tracing and
 *  reel_compile(). An error if it
 *  is not REEL_OK. */
typedef reel_status (*reel_function_n)(void *user, reel_tensor *const x[], int n_x,
                                       reel_tensor *y[], int n_y);

/** Runs fn now without keeping what its operators save, and again in backward: memory for
 *  time. Leaves that fn reaches by itself (parameters) receive their gradients too. Random
 *  numbers repeat. State that fn changes (running statistics, counters, caches) changes once:
 *  the second run works on a copy of what the first one found. That follows operators, not
 *  reads and writes of the host (reel_item, reel_data). `user` must stay valid until backward.
 *  First order only. Errors: REEL_ERR_STATE if fn changes in place what needs a gradient and
 *  was there before; in backward if what fn only reads was changed since.
 *  Source: Chen et al. 2016, arXiv:1604.06174. */
REEL_API reel_tensor *reel_checkpoint(reel_function fn, void *user,
                                      reel_tensor *const x[], int n);

/** In anomaly mode each operator's results are checked; the first NaN or Inf is an error that
 *  names the operator, forward or backward, and its module path. Per thread; slow. Returns
 *  what it was. */
REEL_API bool reel_set_anomaly(bool on);

/** Options of reel_gradcheck. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_gradcheck_opts {
    double eps;    /* step of the central differences; 0 means 1e-6 */
    double atol;   /* 0 means 1e-5 */
    double rtol;   /* 0 means 1e-3 */
    uint64_t seed; /* of the random direction for the output */
    bool fast; /* a random direction for each input too, not each of its elements: a few
                      passes instead of two an element, and it still finds a wrong element */
    REEL_FUTURE;
} reel_gradcheck_opts;
/** Compares gradients of fn at x[0..n-1] with central differences. f64 inputs that require
 *  gradients are checked, others are constants. fn must be deterministic.
 *  Errors: REEL_ERR_NUMERIC, with input, element (unless fast) and both values, if they
 *  differ. */
REEL_API reel_status reel_gradcheck(reel_function fn, void *user, reel_tensor *const x[],
                                    int n, const reel_gradcheck_opts *opts);
/** The same for second derivatives: gradcheck of the gradient of fn. */
REEL_API reel_status reel_gradgradcheck(reel_function fn, void *user,
                                        reel_tensor *const x[], int n,
                                        const reel_gradcheck_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
