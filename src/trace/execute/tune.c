/* tune.c: choices that a clock makes. Only this is measured, once, and what is chosen becomes
 * attributes of the graph: whoever runs it, or saves and loads it, gets the same kernels. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/execute/plan.h"

#define CHOICES 3
#define RUNS 9
/* A choice other than the cost model's must be faster by this much, or noise would choose. */
#define MARGIN 0.95

/* The attribute that is to be chosen for a node, 0 being the cost model's choice; NULL: none. */
static int64_t *choice_of(const reel__gnode *n, int *choices)
{
    const char *name = n->op->choice;
    if (!name) return NULL;
    *choices = n->op->n_choices;
    const reel__attr_field *f = reel__find_attr(n->op->attrs, name, strlen(name));
    return (int64_t *)(void *)((char *)n->attrs + f->offset);
}

/* The graph with choice c wherever there is one. */
static reel_executor *variant(const reel_graph *g, int c, int64_t batch)
{
    reel_graph *copy = reel__graph_copy(g);
    for (int i = 0; copy && i < copy->n_node; i++) {
        int choices = 0;
        int64_t *at = choice_of(&copy->node[i], &choices);
        if (at) *at = c < choices ? c : 0;
    }
    reel_executor *e = NULL;
    if (copy) e = reel_executor_new(copy, &(reel_executor_opts){.batch = batch});
    reel_graph_free(copy);
    return e;
}

/* Inputs to measure with: ones, which no operator takes long for or refuses; 0 as an index. */
static bool make_inputs(const reel_graph *g, int64_t batch, reel_tensor **x)
{
    for (int i = 0; i < g->n_input; i++) {
        reel__meta m;
        reel__value_meta_at(g, g->input[i], batch, &m);
        x[i] = reel_dtype_is_float(m.dtype) ? reel_ones(reel__shape(&m), m.dtype)
                                            : reel_zeros(reel__shape(&m), m.dtype);
        if (!x[i]) return false;
    }
    return true;
}

/* time[(choice * n_node + node) * RUNS + run] */
static reel_status measure(reel_executor *const e[], int n_node, reel_tensor **x, int n_x,
                           reel_tensor **y, int n_y, double *time)
{
    bool made = false; /* the results, which the next runs fill again */
    for (int run = -1; run < RUNS; run++) /* the first one warms up */
        for (int c = 0; c < CHOICES; c++) {
            if (reel_executor_profile(e[c], true) ||
                (made ? reel_executor_run_into(e[c], x, n_x, y, n_y)
                      : reel_executor_run(e[c], x, n_x, y, n_y)))
                return reel_error_status();
            made = true;
            for (int i = 0; i < n_node && run >= 0; i++)
                (void)reel_executor_time(e[c], i, &time[(c * n_node + i) * RUNS + run]);
        }
    return REEL_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *t)
{
    qsort(t, RUNS, sizeof *t, by_value);
    return t[RUNS / 2];
}

static void choose(reel_graph *g, double *time)
{
    for (int i = 0; i < g->n_node; i++) {
        int choices = 0;
        int64_t *at = choice_of(&g->node[i], &choices);
        if (!at) continue;
        double best = MARGIN * median(&time[i * RUNS]);
        *at = 0;
        for (int c = 1; c < choices; c++) {
            double t = median(&time[(c * g->n_node + i) * RUNS]);
            if (t >= best) continue;
            best = t;
            *at = c;
        }
    }
}

static reel_status tune(reel_graph *g, int64_t batch)
{
    reel_executor *e[CHOICES] = {NULL};
    size_t ends = (size_t)(g->n_input + g->n_output) + 1;
    size_t times = (size_t)CHOICES * (size_t)g->n_node * RUNS + 1;
    reel_tensor **x = reel__calloc(ends, sizeof(reel_tensor *));
    double *time = reel__calloc(times, sizeof *time);
    bool whole = x && time && make_inputs(g, batch, x);
    for (int c = 0; c < CHOICES && whole; c++)
        whole = (e[c] = variant(g, c, batch)) != NULL;
    reel_status st =
        whole ? measure(e, g->n_node, x, g->n_input, x + g->n_input, g->n_output, time)
              : reel_error_status();
    if (!st) choose(g, time);
    for (int c = 0; c < CHOICES; c++) reel_executor_free(e[c]);
    reel__free(time);
    reel__free(x);
    return st;
}

/* Runs would change what the graph shares with a module. */
static bool changes_state(const reel_graph *g)
{
    reel__effects e;
    if (!reel__find_effects(g, &e)) return false;
    bool changes = false;
    for (int v = 0; v < g->n_value && !changes; v++)
        changes = reel__is_state(&g->value[v]) && !reel__never_changes(&e, v);
    reel__effects_free(&e);
    return changes;
}

reel_status reel_graph_tune(reel_graph *g, int64_t batch)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!g || batch < 0 || (batch && !g->batch))
        return reel_fail(REEL_ERR_ARG, "graph_tune: %s",
                         !g ? "the graph is NULL"
                         : batch < 0
                             ? "the batch size must be 1 or more, 0 for the graph's"
                             : "the graph has no batch dimension");
    if (changes_state(g))
        return reel_fail(REEL_ERR_STATE, "graph_tune: the graph changes state, and would "
                                         "do so at each run that is timed");
    if (reel_failed()) return reel_error_status();
    reel_scope s = reel_scope_begin();
    reel_rng_state rng = reel_rng_get();
    reel_status st = tune(g, batch ? batch : g->batch);
    reel_rng_set(rng);
    reel_scope_end(s);
    return st;
}
