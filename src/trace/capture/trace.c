/* trace.c: functions to graphs. A function that is pure runs at two batch sizes; what differs
 * between the two captures is what grows with the batch. A third size shows that it does, and in
 * the end graph and function are compared on other inputs (against.c). */
#include "base/debug.h"
#include "base/error.h"
#include "base/option.h"
#include "trace/graph/graph.h"

typedef struct traced {
    reel__called fn;
    reel_tensor *const *x;
    int n, n_y;
    const reel_trace_opts *opts;
} traced;

/* One run under capture; `sizes`: one of several. */
static reel_graph *capture(const traced *t, reel_tensor *const x[], bool sizes)
{
    const reel_trace_opts *o = t->opts;
    if (reel_capture_begin()) return NULL;
    if (sizes) reel__capture_apart();
    reel_scope s = reel_scope_begin();
    if (o->declare) {
        REEL__CALLS_BACK;
        reel_status st = o->declare(t->fn.user);
        if (st) reel_fail(st, "trace_function: declare returned status %d", (int)st);
    }
    for (int i = 0; i < t->n && !reel_failed(); i++)
        (void)reel_capture_input(x[i], o->input_names ? o->input_names[i] : NULL);
    reel_tensor *y[REEL_OP_MAX_IN] = {NULL};
    if (!reel_failed()) (void)reel__call_fn(&t->fn, "trace_function", x, t->n, y, t->n_y);
    reel_graph *g = reel_capture_end(y, t->n_y, o->output_names);
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

/* Sizes of the runs: n rows, n + 1 and 2 n + 3. At 1 a broadcast could not be told from a batch,
 * so n is 2 unless that is too few. Through two points there is always a line: at the third size
 * half a batch, its square and its minimum with a small number lie beside it. */
enum { FEWEST_ROWS = 2, MOST_ROWS = 4096 };

/* A copy of the first rows of x, repeated if they are too few. */
static reel_tensor *rows(reel_tensor *x, int64_t want)
{
    while (x && x->meta.dim[0] < want) x = reel_cat((reel_tensor *[]){x, x}, 2, 0);
    return reel_contiguous(reel_slice(x, 0, 0, want, 1));
}

static reel_graph *capture_rows(const traced *t, int64_t want)
{
    reel_tensor *x[REEL_OP_MAX_IN];
    for (int i = 0; i < t->n; i++) x[i] = batched(t, i) ? rows(t->x[i], want) : t->x[i];
    return reel_failed() ? NULL : capture(t, x, true);
}

/* A function that changes state must not run twice. */
static bool changes_state(const reel_graph *g)
{
    reel__effects e;
    if (!reel__find_effects(g, &e)) return false;
    bool changes = false;
    for (int v = 0; v < g->n_value && !changes; v++)
        changes = reel__is_state(&g->value[v]) && e.changes[v];
    reel__effects_free(&e);
    return changes;
}

/* How many rows show what slices do that look like others by chance at `few` rows, a, and at
 * `many`, b. One whose size is the same in both is so at any batch, and so is one whose places
 * move along with its size. */
static int64_t rows_that_settle(const reel_graph *a, int64_t few, const reel_graph *b,
                                int64_t many)
{
    int64_t most = few;
    if (a->n_edge != b->n_edge) return 2 * few;
    for (int i = 0; i < a->n_edge; i++) {
        const reel__edge *x = &a->edge[i], *y = &b->edge[i];
        int64_t by = y->size - x->size, missing = x->settles + 1 - x->size;
        if (by == y->settles - x->settles) continue;
        if (by <= 0 || y->settles != x->settles || missing > 4 * REEL__MOST_BATCH)
            return 2 * few;
        int64_t more = few + (missing * (many - few) + by - 1) / by;
        most = more > most ? more : most;
    }
    return most > MOST_ROWS ? 2 * few : most; /* it may have grown slowly here alone */
}

/* Graphs at n, n + 1 and 2 n + 3 rows. */
typedef struct captures {
    int64_t rows[3];
    reel_graph *graph[3];
} captures;

static void drop(captures *c)
{
    for (int i = 0; i < 3; i++) {
        reel_graph_free(c->graph[i]);
        c->graph[i] = NULL;
    }
}

static bool capture_three(const traced *t, int64_t n, captures *c)
{
    const int64_t rows[3] = {n, n + 1, 2 * n + 3};
    for (int i = 0; i < 3; i++) {
        c->rows[i] = rows[i];
        c->graph[i] = reel_failed() ? NULL : capture_rows(t, rows[i]);
    }
    return c->graph[2] != NULL;
}

/* So many rows that no slice looks like another value by chance. A function may need as many as
 * it was given. */
static bool capture_enough(const traced *t, int64_t batch, captures *c)
{
    for (int64_t n = FEWEST_ROWS, next; n <= MOST_ROWS; n = next) {
        if (capture_three(t, n, c)) {
            next = rows_that_settle(c->graph[0], n, c->graph[2], c->rows[2]);
            if (next == n) return true;
        } else {
            if (n >= batch || reel_error_status() == REEL_ERR_MEMORY) return false;
            reel_error_clear();
            next = batch;
        }
        drop(c);
    }
    reel_fail(
        REEL_ERR_STATE,
        "trace: a slice along the batch reaches beyond %d rows, more than are tried to "
        "tell it from the whole; trace it with fixed_batch",
        MOST_ROWS);
    return false;
}

static reel_graph *capture_sizes(const traced *t, int64_t batch)
{
    captures c = {.rows = {0}};
    bool good = capture_enough(t, batch, &c);
    reel_graph **g = c.graph;
    good = good && !reel__graph_generalize(g[0], c.rows[0], g[1], c.rows[1]) &&
           !reel__graph_confirm(g[0], c.rows[0], g[2], c.rows[2]) &&
           !reel__graph_looks(g[0]) && !reel_graph_set_batch(g[0], batch);
    reel_graph *whole = good ? g[0] : NULL;
    if (good) g[0] = NULL;
    drop(&c);
    return whole;
}

static bool whole(const traced *t)
{
    const char *wrong = NULL;
    if (!t->fn.one && !t->fn.many)
        wrong = "fn is NULL";
    else if (t->n > REEL_OP_MAX_IN)
        wrong = "more than 64 inputs";
    else if (t->n_y < 1 || t->n_y > REEL_OP_MAX_IN)
        wrong = "results must be 1 to 64";
    else if (t->n < 0 || (t->n && !t->x))
        wrong = "an input is missing";
    for (int i = 0; i < t->n && !wrong; i++)
        if (!t->x[i]) wrong = "an input is missing";
    if (wrong) reel_fail(REEL_ERR_ARG, "trace_function: %s", wrong);
    return !wrong && reel__all_alive("trace_function", "input", t->x, t->n);
}

static reel_graph *trace(reel__called fn, reel_tensor *const x[], int n, int n_y,
                         const reel_trace_opts *opts)
{
    const reel_trace_opts *o = REEL__OPTS("trace_function", reel_trace_opts, opts);
    const traced t = {fn, x, n, n_y, o};
    if (reel_failed() || !whole(&t)) return NULL;
    int64_t batch = t.opts->fixed_batch ? 0 : batch_of(&t);
    if (batch < 0) return NULL;
    reel_scope s = reel_scope_begin();
    reel_graph *g = capture(&t, x, false);
    bool changes = g && changes_state(g);
    if (g && batch && !changes && !g->rng_blocks && !reel_failed()) {
        reel_graph_free(g);
        g = capture_sizes(&t, batch);
    }
    if (g && !reel_failed() && !changes && !t.opts->unchecked)
        (void)reel__graph_against(g, &fn, x);
    reel_scope_end(s);
    if (!reel_failed()) return g;
    reel_graph_free(g);
    return NULL;
}

reel_graph *reel_trace_function(reel_function fn, void *user, reel_tensor *const x[],
                                int n, const reel_trace_opts *opts)
{
    REEL__CALLED;
    return trace((reel__called){.one = fn, .user = user}, x, n, 1, opts);
}

reel_graph *reel_trace_function_n(reel_function_n fn, void *user, reel_tensor *const x[],
                                  int n_x, int n_y, const reel_trace_opts *opts)
{
    REEL__CALLED;
    return trace((reel__called){.many = fn, .user = user}, x, n_x, n_y, opts);
}
