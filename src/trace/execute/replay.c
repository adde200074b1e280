/* replay.c: running a graph through apply(). Its results have gradients and whoever listens
 * to apply() hears it. */
#include <string.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/debug.h"
#include "base/shares.h"
#include "trace/graph/graph.h"

/* The last node that reads each value; n_node for outputs. */
static int *last_reads(const reel_graph *g)
{
    int *last = reel__calloc((size_t)g->n_value + 1, sizeof *last);
    if (!last) return NULL;
    for (int i = 0; i < g->n_node; i++) {
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] >= 0) last[g->node[i].in[k]] = i;
        for (int k = 0; k < g->node[i].n_out; k++)
            if (g->node[i].out[k] >= 0 && last[g->node[i].out[k]] < i)
                last[g->node[i].out[k]] = i;
    }
    for (int i = 0; i < g->n_output; i++) last[g->output[i]] = g->n_node;
    return last;
}

/* Where the attribute of this role lies; NULL if the record has none. */
static int64_t *attribute(const reel__attr_schema *s, void *attrs, int role)
{
    const reel__attr_field *f = attrs ? reel__attr_of_role(s, role) : NULL;
    return f ? (int64_t *)(void *)((char *)attrs + f->offset) : NULL;
}

bool reel__draws(const reel_graph *g, const reel__gnode *n)
{
    const int64_t *seed = attribute(n->op->attrs, n->attrs, REEL_ATTR_SEED);
    return seed && g->rng_blocks && (uint64_t)*seed == g->rng.seed;
}

/* Attributes for this run. Places in the random stream move with the stream: two nodes that
 * drew the same numbers when they were traced (a dropout and its gradient) do so again. A
 * graph that draws has a fixed batch. */
const void *reel__attrs_now(const reel_graph *g, const reel__gnode *n, int64_t batch,
                            reel_rng_state rng, void *room)
{
    const reel__attr_schema *s = n->op->attrs;
    if (!reel__draws(g, n)) return reel__attrs_at(g, n, batch, room);
    memcpy(room, n->attrs, s->size);
    int64_t *offset = attribute(s, room, REEL_ATTR_PLACE);
    *attribute(s, room, REEL_ATTR_SEED) = (int64_t)rng.seed;
    *offset = (int64_t)((uint64_t)*offset - g->rng.offset + rng.offset);
    return room;
}

static void drop(reel_tensor **env, int v, const int *last, int now)
{
    if (v < 0 || last[v] != now) return;
    reel__let_go(env[v]);
    env[v] = NULL;
}

/* One run: the values so far, and what it was called with. */
typedef struct replay {
    reel_tensor **env;
    int *last;
    int64_t batch;
    reel_rng_state rng;
    reel_watch_fn watch; /* or NULL */
    void *user;
    const reel__stand_in *stand_in; /* or NULL */
} replay;

/* Through apply(), unless somebody does it instead. */
static reel_status compute(const reel_graph *g, int i, const replay *r,
                           reel_tensor *const in[], reel_tensor *out[])
{
    const reel__gnode *n = &g->node[i];
    _Alignas(16) char room[REEL_ATTRS_MAX];
    if (r->stand_in && r->stand_in->run(r->stand_in->user, i, in, out))
        return reel_error_status();
    return reel__apply(n->op, reel__attrs_now(g, n, r->batch, r->rng, room), n->n_in, in,
                       out);
}

static reel_status run_node(const reel_graph *g, int i, const replay *r)
{
    reel_tensor **env = r->env;
    const reel__gnode *n = &g->node[i];
    reel_tensor *in[REEL_OP_MAX_IN], *out[REEL_OP_MAX_OUT];
    for (int k = 0; k < n->n_in; k++) in[k] = n->in[k] >= 0 ? env[n->in[k]] : NULL;
    reel_scope s = reel_scope_begin();
    reel_status st = compute(g, i, r, in, out);
    for (int k = 0; k < n->n_out && !st; k++) {
        int v = n->out[k];
        if (v < 0 || env[v] == out[k]) continue; /* left out, or in place */
        reel__let_go(env[v]);
        env[v] = reel__hold(out[k]);
    }
    if (r->watch && !st && n->n_out && out[0]) {
        REEL__CALLS_BACK;
        r->watch(r->user, i, n->op->name, n->where ? n->where : "", out[0]);
    }
    reel_scope_end(s);
    for (int k = 0; k < n->n_in; k++) drop(env, n->in[k], r->last, i);
    for (int k = 0; k < n->n_out; k++) drop(env, n->out[k], r->last, i);
    return st;
}

reel_status reel__check_run(const reel_graph *g, const char *who, reel_tensor *const x[],
                            int n_x, reel_tensor *y[], int n_y)
{
    if (reel_failed()) return reel_error_status();
    if (g && n_x == g->n_input && n_y == g->n_output && (!n_x || x) && (!n_y || y))
        return reel__all_alive(who, "input", x, n_x) ? REEL_OK : reel_error_status();
    if (!g || (n_x > 0 && !x) || (n_y > 0 && !y))
        return reel_fail(REEL_ERR_ARG, "%s: the %s is NULL", who,
                         !g              ? "graph"
                         : n_x > 0 && !x ? "list of inputs"
                                         : "list of outputs");
    return reel_fail(REEL_ERR_ARG,
                     "%s: %d inputs and %d outputs for a graph of %d and %d", who, n_x,
                     n_y, reel_graph_inputs(g), reel_graph_outputs(g));
}

/* An input that a node changes is not the caller's: the node works on a copy. */
static reel_status take_inputs(const reel_graph *g, replay *r, reel_tensor *const x[])
{
    reel__effects e;
    if (!reel__find_effects(g, &e)) return reel_error_status();
    for (int i = 0; i < g->n_input; i++) {
        int v = g->input[i];
        r->env[v] = reel__hold(e.changes[v] ? reel_copy(x[i]) : x[i]);
    }
    reel__effects_free(&e);
    return reel_error_status();
}

static reel_status run_all(reel_graph *g, replay *r, reel_tensor *const x[],
                           reel_tensor *y[])
{
    reel_scope s = reel_scope_begin();
    for (int v = 0; v < g->n_value; v++) r->env[v] = reel__hold(g->value[v].tensor);
    reel_status st = take_inputs(g, r, x);
    reel_scope_end(s);
    r->rng = reel__rng_take((int64_t)g->rng_blocks);
    for (int i = 0; i < g->n_node && !st; i++) st = run_node(g, i, r);
    for (int i = 0; i < g->n_output && !st; i++) {
        y[i] = reel__autorelease(reel__hold(r->env[g->output[i]]));
        if (!y[i]) st = reel_error_status();
    }
    for (int v = 0; v < g->n_value; v++) reel__let_go(r->env[v]);
    return st;
}

static reel_status run(reel_graph *g, replay r, reel_tensor *const x[], int n_x,
                       reel_tensor *y[], int n_y)
{
    reel__no_results(y, n_y);
    reel_status st = reel__check_run(g, "graph_run", x, n_x, y, n_y);
    if (st) return st;
    r.batch = reel__batch_of(g, "graph_run", x);
    if (r.batch < 0) return reel_error_status();
    r.last = last_reads(g);
    r.env = reel__calloc((size_t)g->n_value + 1, sizeof *r.env);
    st = r.last && r.env ? run_all(g, &r, x, y) : reel_error_status();
    reel__free(r.env);
    reel__free(r.last);
    return st;
}

reel_status reel_graph_run(reel_graph *g, reel_tensor *const x[], int n_x,
                           reel_tensor *y[], int n_y)
{
    REEL__CALLED;
    return run(g, (replay){.watch = NULL}, x, n_x, y, n_y);
}

reel_status reel_graph_run_watched(reel_graph *g, reel_tensor *const x[], int n_x,
                                   reel_tensor *y[], int n_y, reel_watch_fn watch,
                                   void *user)
{
    REEL__CALLED;
    return run(g, (replay){.watch = watch, .user = user}, x, n_x, y, n_y);
}

reel_status reel__graph_run_instead(reel_graph *g, reel_tensor *const x[], int n_x,
                                    reel_tensor *y[], int n_y,
                                    const reel__stand_in *stand_in)
{
    return run(g, (replay){.stand_in = stand_in}, x, n_x, y, n_y);
}
