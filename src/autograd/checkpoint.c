/* checkpoint.c: memory for time. One node stands for a whole function: forward runs it
 * without a tape, backward runs it again with one and goes through that at once.
 * Source: Chen et al. 2016, arXiv:1604.06174. */
#include "autograd/state_log.h"
#include "autograd/tape.h"
#include "base/debug.h"
#include "base/error.h"

/* The tape saves 16 inputs; one place is for the anchor. */
enum { MOST_INPUTS = 15 };

typedef struct checkpoint_attrs {
    reel_function fn;
    void *user;
    int64_t n; /* inputs of fn; an anchor may follow */
    reel_rng_state rng;
    reel__state_log *log; /* the node's */
} checkpoint_attrs;

static const reel__attr_schema opaque = {sizeof(checkpoint_attrs), 0, NULL};

/* Inputs cut off from their history, so that backward stops there. */
static bool detach_inputs(const reel__call *c, int n, reel_tensor *x[])
{
    for (int i = 0; i < n; i++) {
        x[i] = reel_detach(c->in[i]);
        if (x[i] && NEEDS(c, i)) x[i] = reel_requires_grad(x[i], true);
        if (!x[i]) return false;
    }
    return true;
}

static reel_tensor *call(reel_function fn, void *user, reel_tensor *const x[], int n)
{
    REEL__CALLS_BACK;
    return fn(user, x, n);
}

/* fn again, recorded, with the random numbers of the first time and the state that it found
 * then. */
static reel_tensor *run_again(const checkpoint_attrs *a, reel_tensor *const x[])
{
    reel__state_again again;
    reel_rng_state now = reel_rng_get();
    if (reel__state_again_begin(&again, a->log)) return NULL;
    bool was = reel_set_grad_enabled(true);
    reel_rng_set(a->rng);
    reel_tensor *y = call(a->fn, a->user, x, (int)a->n);
    reel_rng_set(now);
    (void)reel_set_grad_enabled(was);
    reel__state_again_end(&again);
    if (!y && !reel_failed())
        reel_fail(REEL_ERR_ARG, "checkpoint: the function returned NULL");
    return reel_failed() ? NULL : y;
}

static void checkpoint_vjp(const reel__call *c, reel_tensor *const gy[],
                           reel_tensor *gx[])
{
    const checkpoint_attrs *a = c->attrs;
    reel_tensor *x[MOST_INPUTS], *asked[MOST_INPUTS], *grad[MOST_INPUTS];
    int place[MOST_INPUTS], n = 0;
    if (c->create_graph) {
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "checkpoint: first order only; call the function itself where "
                  "create_graph is needed");
        return;
    }
    if (!detach_inputs(c, (int)a->n, x)) return;
    reel_tensor *y = run_again(a, x);
    if (!y || !y->node) return; /* an error, or constant after all */
    for (int i = 0; i < a->n; i++)
        if (NEEDS(c, i)) {
            asked[n] = x[i];
            place[n++] = i;
        }
    if (reel__accumulates()) { /* leaves that fn reaches by itself get their gradients */
        const reel_backward_opts opts = {.gradient = gy[0]};
        if (reel_backward(y, &opts)) return;
        for (int k = 0; k < n; k++) gx[place[k]] = reel_grad_of(asked[k]);
    } else {
        const reel_backward_opts opts = {.allow_unused = true};
        if (n && reel_grad(&y, 1, gy, asked, n, grad, &opts)) return;
        for (int k = 0; k < n; k++) gx[place[k]] = grad[k];
    }
}

static const reel__op checkpoint_op = {
    .name = "checkpoint",
    .n_in = REEL_OP_VARIADIC,
    .n_out = 1,
    .saves = (1u << 16) - 1, /* every input */
    .attrs = &opaque,
    .vjp = checkpoint_vjp,
};

static void drop_log(void *attrs)
{
    reel__state_log_free(((checkpoint_attrs *)attrs)->log);
}

/* One node from the inputs to y. If only leaves inside fn need gradients, an anchor, a leaf
 * that nobody sees, makes the node part of the tape. */
static reel_status record(const checkpoint_attrs *a, reel_tensor *const x[],
                          reel_tensor *y)
{
    reel_tensor *in[MOST_INPUTS + 1];
    int n = (int)a->n;
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (reel__renew("checkpoint", x[i])) return reel_error_status();
        in[i] = x[i];
        any = any || x[i]->node;
    }
    if (!any) {
        in[n] = reel_requires_grad(reel_scalar(0, REEL_F32), true);
        if (!in[n++]) return reel_error_status();
    }
    const reel__call c = {&checkpoint_op, n, 1, in, &y, a, 0, false};
    reel_status st = reel__tape_record(&c);
    if (!st && y->node) reel__node_behind(y)->drop = drop_log;
    return st;
}

static bool arguments(reel_function fn, reel_tensor *const x[], int n)
{
    if (!fn || !x || n < 1 || n > MOST_INPUTS) {
        reel_fail(REEL_ERR_ARG, "checkpoint: needs a function and 1 to %d inputs, has %d",
                  MOST_INPUTS, n);
        return false;
    }
    for (int i = 0; i < n; i++)
        if (!x[i]) {
            reel_fail(REEL_ERR_ARG, "checkpoint: input %d is NULL", i);
            return false;
        }
    return reel__all_alive("checkpoint", "input", x, n);
}

reel_tensor *reel_checkpoint(reel_function fn, void *user, reel_tensor *const x[], int n)
{
    REEL__CALLED;
    if (!arguments(fn, x, n)) return NULL;
    if (!reel_grad_enabled()) return call(fn, user, x, n);
    const checkpoint_attrs a = {fn, user, n, reel_rng_get(), reel__state_log_new()};
    if (!a.log) return NULL;
    reel_scope s = reel_scope_begin();
    (void)reel_set_grad_enabled(false);
    reel_tensor *y = call(fn, user, x, n);
    (void)reel_set_grad_enabled(true);
    reel__state_log_end(a.log);
    if (!y && !reel_failed())
        reel_fail(REEL_ERR_ARG, "checkpoint: the function returned NULL");
    /* A tensor of its own: fn may return one that has a history, such as its input. */
    if (y) y = reel_detach(y);
    if (y && record(&a, x, y)) y = NULL;
    if (!y || !y->node) reel__state_log_free(a.log);
    return reel_scope_return(s, y);
}
