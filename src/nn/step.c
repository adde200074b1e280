/* step.c: a function that becomes a graph by being called. */
#include <reel/step.h>

#include <string.h>

#include "base/alloc.h"

enum { MOST_INPUTS = 16, MOST_GRAPHS = 4 };

/* What a call depends on besides values, and the graph for it. */
typedef struct compiled {
    int n_x, n_y;
    bool training, grad; /* the module's mode, and whether gradients are recorded */
    reel_shape shape[MOST_INPUTS];
    reel_dtype dtype[MOST_INPUTS];
    reel_graph *graph;
    reel_executor *executor;
} compiled;

struct reel_step {
    reel_step_fn fn;
    void *user;
    reel_step_opts opts;
    int64_t calls;
    compiled of[MOST_GRAPHS];
    int n;
    const compiled *latest; /* NULL: the latest call ran without a graph */
};

reel_step *reel_step_new(reel_step_fn fn, void *user, const reel_step_opts *opts)
{
    if (reel_failed()) return NULL;
    if (!fn || (opts && opts->warmup < 0)) {
        reel_fail(REEL_ERR_ARG, "step_new: %s",
                  fn ? "warmup is negative" : "the function is NULL");
        return NULL;
    }
    reel_step *s = reel__calloc(1, sizeof *s);
    if (!s) return NULL;
    s->fn = fn;
    s->user = user;
    if (opts) s->opts = *opts;
    if (!s->opts.warmup) s->opts.warmup = 1;
    return s;
}

static void free_compiled(compiled *c)
{
    reel_executor_free(c->executor);
    reel_graph_free(c->graph);
    *c = (compiled){0};
}

void reel_step_free(reel_step *s)
{
    if (!s) return;
    for (int i = 0; i < s->n; i++) free_compiled(&s->of[i]);
    reel__free(s);
}

const reel_graph *reel_step_graph(const reel_step *s)
{
    return s && s->latest ? s->latest->graph : NULL;
}

reel_executor *reel_step_executor(const reel_step *s)
{
    return s && s->latest ? s->latest->executor : NULL;
}

/* ---- what a call depends on ------------------------------------------------------------------ */

static bool is_training(const reel_step *s)
{
    return s->opts.module && s->opts.module->training;
}

static bool fits(const reel_step *s, const compiled *c, reel_tensor *const x[], int n_x,
                 int n_y)
{
    bool same = c->n_x == n_x && c->n_y == n_y && c->training == is_training(s) &&
                c->grad == reel_grad_enabled();
    for (int i = 0; i < n_x && same; i++) {
        reel_shape now = reel_shape_of(x[i]);
        same = c->dtype[i] == reel_dtype_of(x[i]) && c->shape[i].rank == now.rank &&
               memcmp(c->shape[i].dim, now.dim, (size_t)now.rank * sizeof *now.dim) == 0;
    }
    return same;
}

static void remember(const reel_step *s, compiled *c, reel_tensor *const x[], int n_x,
                     int n_y)
{
    c->n_x = n_x;
    c->n_y = n_y;
    c->training = is_training(s);
    c->grad = reel_grad_enabled();
    for (int i = 0; i < n_x; i++) {
        c->shape[i] = reel_shape_of(x[i]);
        c->dtype[i] = reel_dtype_of(x[i]);
    }
}

/* ---- capture --------------------------------------------------------------------------------- */

/* One call of fn under capture. */
static reel_graph *capture(reel_step *s, reel_tensor *const x[], int n_x,
                           reel_tensor *y[], int n_y)
{
    if (reel_capture_begin()) return NULL;
    if (s->opts.module) (void)reel_capture_module(s->opts.module);
    for (int i = 0; i < n_x && !reel_failed(); i++) (void)reel_capture_input(x[i], NULL);
    if (!reel_failed()) (void)s->fn(s->user, x, n_x, y, n_y);
    return reel_capture_end(y, NULL, n_y);
}

/* A value that was read may have decided what ran: the graph would repeat that decision. */
static reel_status refuse_reads(const reel_graph *g)
{
    const char *reads = reel_graph_reads(g);
    if (!*reads) return REEL_OK;
    return reel_fail(
        REEL_ERR_STATE,
        "step_run: values were read while the step was captured, and what "
        "depends on them would be frozen: %.*s; return what you want to read "
        "as a result of the step",
        (int)strcspn(reads, "\n"), reads);
}

/* The step has run, whatever becomes of its graph: an error here is one of the call. */
static reel_status compile(reel_step *s, reel_tensor *const x[], int n_x,
                           reel_tensor *y[], int n_y)
{
    compiled c = {0};
    remember(s, &c, x, n_x, n_y);
    c.graph = capture(s, x, n_x, y, n_y);
    const reel_optimize_opts opts = {
        .exact = s->opts.exact, .skip = s->opts.skip, .recompute = true};
    if (c.graph && !refuse_reads(c.graph) && !reel_graph_optimize(c.graph, &opts))
        c.executor = reel_executor_new(c.graph, NULL);
    if (!c.executor) {
        free_compiled(&c);
        return reel_error_status();
    }
    s->of[s->n++] = c;
    reel_memory_trim(reel_default_device()); /* what steps without a graph needed */
    return REEL_OK;
}

reel_status reel_step_run(reel_step *s, reel_tensor *const x[], int n_x, reel_tensor *y[],
                          int n_y)
{
    if (reel_failed()) return reel_error_status();
    bool whole =
        s && n_x >= 0 && n_x <= MOST_INPUTS && n_y >= 0 && (!n_x || x) && (!n_y || y);
    for (int i = 0; i < n_x && whole; i++) whole = x[i] != NULL;
    if (!whole)
        return reel_fail(REEL_ERR_ARG, "step_run: %s",
                         !s ? "the step is NULL"
                            : "an input is missing, or more than 16");
    for (int i = 0; i < n_y; i++) y[i] = NULL;
    s->latest = NULL;
    for (int i = 0; i < s->n; i++)
        if (fits(s, &s->of[i], x, n_x, n_y)) {
            s->latest = &s->of[i];
            return reel_executor_run(s->of[i].executor, x, n_x, y, n_y);
        }
    if (s->calls++ >= s->opts.warmup && s->n < MOST_GRAPHS)
        return compile(s, x, n_x, y, n_y);
    return s->fn(s->user, x, n_x, y, n_y);
}
