/* trace.c: functions to graphs. A function that is pure runs at two batch sizes; what differs
 * between the two captures is what grows with the batch. A third size shows that it does, and in
 * the end graph and function are compared on other inputs (against.c). */
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

/* Sizes of the runs. At 1 a broadcast could not be told from a batch. Through two points there
 * is always a line: at the third size half a batch, its square and its minimum with a small
 * number lie beside it. */
enum { FEW_ROWS = 2, MORE_ROWS = 3, MOST_ROWS = 7 };

/* A copy of the first rows of x, repeated if they are too few. */
static reel_tensor *rows(reel_tensor *x, int64_t want)
{
    int64_t have = x->meta.dim[0];
    reel_tensor *part[MOST_ROWS];
    if (have > want) return reel_contiguous(reel_slice(x, 0, 0, want, 1));
    int n = (int)((want + have - 1) / have);
    for (int i = 0; i < n; i++) part[i] = x;
    return reel_slice(reel_cat(part, n, 0), 0, 0, want, 1);
}

static reel_graph *capture_rows(const traced *t, int64_t want)
{
    reel_tensor *x[REEL_OP_MAX_IN];
    for (int i = 0; i < t->n; i++) x[i] = batched(t, i) ? rows(t->x[i], want) : t->x[i];
    return reel_failed() ? NULL : capture(t, x);
}

/* A function that changes state must not run twice. */
static bool changes_state(const reel_graph *g)
{
    reel_effects e;
    if (!reel__effects(g, &e)) return false;
    bool changes = false;
    for (int v = 0; v < g->n_value && !changes; v++)
        changes = reel__is_state(&g->value[v]) && e.changes[v];
    reel__effects_free(&e);
    return changes;
}

/* The graph g of a few rows against a run with another number of them. */
static bool compare(const traced *t, reel_graph *g, int64_t rows_of_g, int64_t want,
                    reel_status (*with)(reel_graph *, int64_t, const reel_graph *,
                                        int64_t))
{
    reel_graph *h = capture_rows(t, want);
    bool good = h && !with(g, rows_of_g, h, want);
    reel_graph_free(h);
    return good;
}

static reel_graph *capture_sizes(const traced *t, int64_t batch)
{
    reel_graph *g = capture_rows(t, FEW_ROWS);
    if (!g) return NULL;
    if (compare(t, g, FEW_ROWS, MORE_ROWS, reel__graph_generalize) &&
        compare(t, g, FEW_ROWS, MOST_ROWS, reel__graph_confirm) &&
        !reel_graph_set_batch(g, batch))
        return g;
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
    bool changes = g && changes_state(g);
    if (g && batch && !changes && !g->rng_blocks && !reel_failed()) {
        reel_graph_free(g);
        g = capture_sizes(&t, batch);
    }
    if (g && !reel_failed() && !changes && !t.opts->unchecked)
        (void)reel__graph_against(g, fn, user, x);
    reel_scope_end(s);
    if (!reel_failed()) return g;
    reel_graph_free(g);
    return NULL;
}
