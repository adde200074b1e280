/* compile.c: a function that becomes a graph by being called. */
#include <reel/compile.h>

#include <string.h>

#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"

enum { MOST_INPUTS = 16, MOST_GRAPHS = 4, MOST_MISSES = 4 };

/* A leaf whose gradient the function looks at or leaves behind: an input and an output of the
 * graph that the caller does not see. */
typedef struct leaf {
    reel_tensor *tensor;  /* kept; NULL: it is the function's input ... */
    int input;            /* ... of this number */
    bool looked, there;   /* as in reel_captured_grad */
    bool replaced, stays; /* ... by a gradient that stays, or by none */
} leaf;

/* What a call depends on besides values and what the graph itself remembers, and the graph. */
typedef struct compiled {
    int n_x, n_y;
    bool grad;      /* whether gradients are recorded */
    uint32_t needs; /* bit i: input i asks for a gradient */
    reel_shape shape[MOST_INPUTS];
    reel_dtype dtype[MOST_INPUTS];
    reel_graph *graph;
    reel_executor *executor;
    leaf *leaf;
    int n_leaf, n_in, n_out; /* gradients that are inputs, outputs */
    reel_tensor **ends;      /* room for all inputs and outputs of a run */
    int64_t used;
} compiled;

struct reel_compiled {
    reel_function_n fn;
    void *user;
    reel_compile_opts opts;
    int64_t calls;
    int misses; /* captures in turn that were out of date at their end */
    compiled of[MOST_GRAPHS];
    int n;
    const compiled *latest; /* NULL: the latest call ran without a graph */
};

reel_compiled *reel_compile(reel_function_n fn, void *user, const reel_compile_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    const reel_compile_opts *o = REEL__OPTS("compile", reel_compile_opts, opts);
    if (!o) return NULL;
    if (!fn || o->warmup < 0) {
        reel_fail(REEL_ERR_ARG, "compile: %s",
                  fn ? "warmup is negative" : "the function is NULL");
        return NULL;
    }
    reel_compiled *s = reel__calloc(1, sizeof *s);
    if (!s) return NULL;
    s->fn = fn;
    s->user = user;
    s->opts = *o;
    if (!s->opts.warmup) s->opts.warmup = 1;
    return s;
}

static void free_compiled(compiled *c)
{
    for (int i = 0; i < c->n_leaf; i++) reel__let_go(c->leaf[i].tensor);
    reel_executor_free(c->executor);
    reel_graph_free(c->graph);
    reel__free(c->leaf);
    reel__free(c->ends);
    *c = (compiled){0};
}

void reel_compiled_free(reel_compiled *s)
{
    if (!s) return;
    for (int i = 0; i < s->n; i++) free_compiled(&s->of[i]);
    reel__free(s);
}

const reel_graph *reel_compiled_graph(const reel_compiled *s)
{
    return s && s->latest ? s->latest->graph : NULL;
}

reel_executor *reel_compiled_executor(const reel_compiled *s)
{
    return s && s->latest ? s->latest->executor : NULL;
}

/* ---- what a call depends on ------------------------------------------------------------------ */

static reel_tensor *tensor_of(const leaf *l, reel_tensor *const x[])
{
    return l->tensor ? l->tensor : x[l->input];
}

/* Gradients that were there when it was captured are there, and no others. */
static bool grads_fit(const compiled *c, reel_tensor *const x[])
{
    bool same = true;
    for (int i = 0; i < c->n_leaf && same; i++) {
        const leaf *l = &c->leaf[i];
        same = !l->looked || (reel_grad_of(tensor_of(l, x)) != NULL) == l->there;
    }
    return same;
}

static bool fits(const compiled *c, reel_tensor *const x[], int n_x, int n_y)
{
    bool same = c->n_x == n_x && c->n_y == n_y && c->grad == reel_grad_enabled();
    for (int i = 0; i < n_x && same; i++) {
        reel_shape now = reel_shape_of(x[i]);
        same =
            c->dtype[i] == reel_dtype_of(x[i]) && c->shape[i].rank == now.rank &&
            memcmp(c->shape[i].dim, now.dim, (size_t)now.rank * sizeof *now.dim) == 0 &&
            (c->needs >> i & 1) == (uint32_t)reel_needs_grad(x[i]);
    }
    return same && grads_fit(c, x) && reel_graph_current(c->graph);
}

static void remember(compiled *c, reel_tensor *const x[], int n_x, int n_y)
{
    c->n_x = n_x;
    c->n_y = n_y;
    c->grad = reel_grad_enabled();
    for (int i = 0; i < n_x; i++) {
        c->shape[i] = reel_shape_of(x[i]);
        c->dtype[i] = reel_dtype_of(x[i]);
        c->needs |= (uint32_t)reel_needs_grad(x[i]) << i;
    }
}

/* Room for one more graph: a new place, or that of the graph which has been out of date for
 * longest. NULL: four graphs are for what is now, with inputs of other shapes. */
static compiled *room_for(reel_compiled *s)
{
    compiled *oldest = NULL;
    if (s->n < MOST_GRAPHS) return &s->of[s->n];
    for (int i = 0; i < s->n; i++)
        if (!reel_graph_current(s->of[i].graph) &&
            (!oldest || s->of[i].used < oldest->used))
            oldest = &s->of[i];
    return oldest;
}

/* ---- capture --------------------------------------------------------------------------------- */

/* What the function says counts, with or without an error of reel's. */
static reel_status call(const reel_compiled *s, reel_tensor *const x[], int n_x,
                        reel_tensor *y[], int n_y)
{
    REEL__CALLS_BACK;
    reel_status st = s->fn(s->user, x, n_x, y, n_y);
    if (reel_failed()) return reel_error_status();
    if (st)
        return reel_fail(st, "compiled_run: the function returned status %d", (int)st);
    for (int i = 0; i < n_y; i++)
        if (!y[i])
            return reel_fail(REEL_ERR_ARG,
                             "compiled_run: the function did not set "
                             "output %d",
                             i);
    return REEL_OK;
}

static int input_of(const compiled *c, reel_tensor *const x[], const reel_tensor *t)
{
    for (int i = 0; i < c->n_x; i++)
        if (x[i] == t) return i;
    return -1;
}

static reel_status take_leaves(compiled *c, reel_tensor *const x[])
{
    reel_captured_grad g;
    int n = 0;
    while (reel_capture_grad(n, &g)) n++;
    c->leaf = reel__calloc((size_t)n + 1, sizeof *c->leaf);
    size_t ends = (size_t)(c->n_x + c->n_y + 2 * n);
    c->ends = reel__calloc(ends + 1, sizeof(reel_tensor *));
    for (int i = 0; c->leaf && c->ends && reel_capture_grad(i, &g); i++) {
        int input = input_of(c, x, g.leaf);
        c->leaf[c->n_leaf++] = (leaf){.tensor = input < 0 ? reel__hold(g.leaf) : NULL,
                                      .input = input,
                                      .looked = g.looked,
                                      .there = g.there,
                                      .replaced = g.replaced,
                                      .stays = g.replaced && reel_grad_of(g.leaf)};
        c->n_in += g.there;
        c->n_out += c->leaf[i].stays;
    }
    return reel_error_status();
}

/* The outputs of the graph: those of the function, then gradients that stay. */
static void take_outputs(const compiled *c, reel_tensor *const x[],
                         reel_tensor *const y[], reel_tensor *out[])
{
    int n = c->n_y;
    if (n) memcpy(out, y, (size_t)n * sizeof(reel_tensor *));
    for (int i = 0; i < c->n_leaf; i++)
        if (c->leaf[i].stays) out[n++] = reel_grad_of(tensor_of(&c->leaf[i], x));
}

/* One call of fn under capture. */
static reel_graph *capture(reel_compiled *s, compiled *c, reel_tensor *const x[],
                           reel_tensor *y[])
{
    if (reel_capture_begin()) return NULL;
    if (s->opts.module) (void)reel_capture_module(s->opts.module);
    for (int i = 0; i < c->n_x && !reel_failed(); i++)
        (void)reel_capture_input(x[i], NULL);
    (void)reel_capture_grads();
    if (!reel_failed()) (void)call(s, x, c->n_x, y, c->n_y);
    if (reel_failed() || take_leaves(c, x)) {
        reel_capture_cancel();
        return NULL;
    }
    take_outputs(c, x, y, c->ends);
    return reel_capture_end(c->ends, c->n_y + c->n_out, NULL);
}

/* A value that was read may have decided what ran: the graph would repeat that decision. */
static reel_status refuse_reads(const reel_graph *g)
{
    const char *reads = reel_graph_reads(g);
    if (!*reads) return REEL_OK;
    return reel_fail(
        REEL_ERR_STATE,
        "compiled_run: values were read while the function was captured, and what "
        "depends on them would be frozen: %.*s; return what you want to read "
        "as a result of the function",
        (int)strcspn(reads, "\n"), reads);
}

/* The function has run, whatever becomes of its graph: an error here is one of the call. A graph
 * that is out of date at once, because an optimizer made its state just now, is not kept. */
static reel_status compile(reel_compiled *s, compiled *to, reel_tensor *const x[],
                           int n_x, reel_tensor *y[], int n_y)
{
    compiled c = {.used = s->calls};
    const reel_optimize_opts opts = {
        .exact = s->opts.exact, .skip = s->opts.skip, .recompute = true};
    remember(&c, x, n_x, n_y);
    c.graph = capture(s, &c, x, y);
    bool current = c.graph && reel_graph_current(c.graph);
    if (c.graph && !refuse_reads(c.graph) && current &&
        !reel_graph_optimize(c.graph, &opts))
        c.executor = reel_executor_new(c.graph, NULL);
    s->misses = current ? 0 : s->misses + 1;
    if (!c.executor) {
        free_compiled(&c);
        return reel_error_status();
    }
    if (to == &s->of[s->n])
        s->n++;
    else
        free_compiled(to);
    *to = c;
    reel_memory_trim(reel_default_device()); /* what steps without a graph needed */
    return REEL_OK;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* Gradients as the function would have left them. */
static reel_status set_grads(const compiled *c, reel_tensor *const x[],
                             reel_tensor *const out[])
{
    reel_status st = REEL_OK;
    for (int i = 0; i < c->n_leaf && !st; i++) {
        const leaf *l = &c->leaf[i];
        if (l->replaced) st = reel_set_grad(tensor_of(l, x), l->stays ? *out++ : NULL);
    }
    return st;
}

static reel_status run(compiled *c, reel_tensor *const x[], reel_tensor *y[])
{
    reel_tensor **in = c->ends, **out = in + c->n_x + c->n_in;
    int n = c->n_x, n_y = c->n_y + c->n_out;
    if (n) memcpy(in, x, (size_t)n * sizeof(reel_tensor *));
    for (int i = 0; i < c->n_leaf; i++)
        if (c->leaf[i].there) in[n++] = reel_grad_of(tensor_of(&c->leaf[i], x));
    reel_status st = reel_executor_run(c->executor, in, n, out, n_y);
    if (st) return st;
    if (c->n_y) memcpy(y, out, (size_t)c->n_y * sizeof(reel_tensor *));
    return set_grads(c, x, out + c->n_y);
}

static reel_status run_or_call(reel_compiled *s, reel_tensor *const x[], int n_x,
                               reel_tensor *y[], int n_y)
{
    s->latest = NULL;
    s->calls++;
    for (int i = 0; i < s->n; i++)
        if (fits(&s->of[i], x, n_x, n_y)) {
            s->latest = &s->of[i];
            s->of[i].used = s->calls;
            return run(&s->of[i], x, y);
        }
    compiled *to =
        s->calls > s->opts.warmup && s->misses < MOST_MISSES ? room_for(s) : NULL;
    return to ? compile(s, to, x, n_x, y, n_y) : call(s, x, n_x, y, n_y);
}

reel_status reel_compiled_run(reel_compiled *s, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y)
{
    REEL__CALLED;
    reel__no_results(y, n_y);
    if (reel_failed()) return reel_error_status();
    bool whole =
        s && n_x >= 0 && n_x <= MOST_INPUTS && n_y >= 0 && (!n_x || x) && (!n_y || y);
    for (int i = 0; i < n_x && whole; i++) whole = x[i] != NULL;
    if (!whole)
        return reel_fail(REEL_ERR_ARG, "compiled_run: %s",
                         !s ? "what is to run is NULL"
                            : "an input is missing, or more than 16");
    if (!reel__all_alive("compiled_run", "input", x, n_x)) return reel_error_status();
    reel_status st = run_or_call(s, x, n_x, y, n_y);
    if (st) reel__no_results(y, n_y);
    return st;
}
