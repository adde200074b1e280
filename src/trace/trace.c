/* trace.c: functions to graphs. A function that is pure runs at two batch sizes; what differs
 * between the two captures is what grows with the batch. */
#include "base/error.h"
#include "trace/graph.h"

typedef struct traced {
    reel_function fn;
    void *user;
    reel_tensor *const *x;
    int n;
    const reel_trace_opts *opts;
} traced;

/* One run under capture. */
static reel_graph *capture(const traced *t, reel_tensor *const x[])
{
    const reel_trace_opts *o = t->opts;
    if (reel_capture_begin()) return NULL;
    reel_scope s = reel_scope_begin();
    if (o->declare) (void)o->declare(t->user);
    for (int i = 0; i < t->n && !reel_failed(); i++)
        (void)reel_capture_input(x[i], o->input_names ? o->input_names[i] : NULL);
    reel_tensor *y = reel_failed() ? NULL : t->fn(t->user, x, t->n);
    if (!y) reel_fail(REEL_ERR_STATE, "trace_function: fn gave NULL and no error");
    reel_graph *g = reel_capture_end(&y, o->output_names, 1);
    reel_scope_end(s);
    return g;
}

static bool batched(const traced *t, int i)
{
    return !(i < 64 && (t->opts->unbatched >> i & 1)) && t->x[i]->meta.rank > 0;
}

/* The common first dimension of the batched inputs; 0 if there is none. */
static int64_t batch_of(const traced *t)
{
    int64_t batch = 0;
    for (int i = 0; i < t->n; i++) {
        if (!batched(t, i)) continue;
        int64_t here = t->x[i]->meta.dim[0];
        if (here < 1 || (batch && here != batch)) {
            reel_fail(
                REEL_ERR_SHAPE,
                "trace: input %d is %s, others have %lld rows; name inputs without a "
                "batch dimension in `unbatched`, or trace with fixed_batch",
                i, SHOW(&t->x[i]->meta), (long long)batch);
            return -1;
        }
        batch = here;
    }
    return batch;
}

/* The first rows of x, repeated if they are too few. */
static reel_tensor *rows(reel_tensor *x, int64_t want)
{
    int64_t have = x->meta.dim[0];
    if (have >= want) return reel_contiguous(reel_slice(x, 0, 0, want, 1));
    reel_tensor *part[3] = {x, x, x};
    return reel_slice(reel_cat(part, 3, 0), 0, 0, want, 1);
}

static reel_graph *capture_rows(const traced *t, int64_t want)
{
    reel_tensor *x[REEL_OP_MAX_IN];
    for (int i = 0; i < t->n; i++) x[i] = batched(t, i) ? rows(t->x[i], want) : t->x[i];
    return reel_failed() ? NULL : capture(t, x);
}

/* A function that changes state or draws must not run twice. */
static bool is_pure(const reel_graph *g)
{
    reel_effects e;
    if (g->rng_blocks || !reel__effects(g, &e)) return false;
    bool pure = true;
    for (int v = 0; v < g->n_value && pure; v++)
        pure = !reel__is_state(&g->value[v]) || reel__never_changes(&e, v);
    reel__effects_free(&e);
    return pure;
}

/* Sizes 2 and 3: at 1 a broadcast could not be told from a batch. */
static reel_graph *capture_twice(const traced *t, int64_t batch)
{
    reel_graph *g = capture_rows(t, 2), *h = NULL;
    if (!g) return NULL;
    h = capture_rows(t, 3);
    if (h && !reel__graph_generalize(g, 2, h, 3)) (void)reel_graph_set_batch(g, batch);
    reel_graph_free(h);
    if (!reel_failed()) return g;
    reel_graph_free(g);
    return NULL;
}

reel_graph *reel_trace_function(reel_function fn, void *user, reel_tensor *const x[],
                                int n, const reel_trace_opts *opts)
{
    static const reel_trace_opts none = {0};
    const traced t = {fn, user, x, n, opts ? opts : &none};
    if (reel_failed()) return NULL;
    bool whole = fn && n >= 0 && n <= REEL_OP_MAX_IN && (!n || x);
    for (int i = 0; i < n && whole; i++) whole = x[i] != NULL;
    if (!whole) {
        reel_fail(REEL_ERR_ARG, "trace_function: %s",
                  !fn                  ? "fn is NULL"
                  : n > REEL_OP_MAX_IN ? "more than 64 inputs"
                                       : "an input is missing");
        return NULL;
    }
    int64_t batch = t.opts->fixed_batch ? 0 : batch_of(&t);
    if (batch < 0) return NULL;
    reel_scope s = reel_scope_begin();
    reel_graph *g = capture(&t, x);
    if (g && batch && is_pure(g)) {
        reel_graph_free(g);
        g = capture_twice(&t, batch);
    }
    reel_scope_end(s);
    return g;
}
