/* cost.c: what a graph costs, by the formulas of its records. */
#include "trace/graph/cost.h"

#include "base/alloc.h"
#include "base/error.h"

/* ---- one node ---------------------------------------------------------------------------- */

/* Ghosts of the values v[0..n-1]: the formulas read shapes alone. */
static reel_status make_ghosts(const reel_graph *g, const int *v, int n,
                               reel_tensor *ghost[])
{
    for (int k = 0; k < n; k++) {
        if (v[k] < 0) continue;
        ghost[k] = reel__tensor_ghost(&g->value[v[k]].meta);
        if (!ghost[k]) return reel_error_status();
    }
    return REEL_OK;
}

static reel_status cost_of(const reel_graph *g, const reel__gnode *n, reel_cost *out)
{
    reel_tensor *in[REEL_OP_MAX_IN] = {NULL}, *result[REEL_OP_MAX_OUT] = {NULL};
    const reel__call c = {n->op, n->n_in, n->n_out, in, result, n->attrs, 0, false};
    reel_status st = make_ghosts(g, n->in, n->n_in, in);
    if (!st) st = make_ghosts(g, n->out, n->n_out, result);
    if (!st) *out = reel__cost(&c);
    for (int k = 0; k < n->n_in; k++) reel__tensor_release(in[k]);
    for (int k = 0; k < n->n_out; k++) reel__tensor_release(result[k]);
    return st;
}

static int64_t params_of(const reel_graph *g, const reel__gnode *n)
{
    int64_t sum = 0;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] >= 0 && g->value[n->in[k]].kind == REEL_VALUE_PARAM)
            sum += reel__numel(&g->value[n->in[k]].meta);
    return sum;
}

double reel__seconds_bound(const reel_cost *c, const reel_roofline *peaks)
{
    if (!peaks) return 0;
    double compute = c->flops / (peaks->gflops * 1e9);
    double memory = (c->bytes_read + c->bytes_written) / (peaks->gbytes * 1e9);
    return compute > memory ? compute : memory;
}

double reel__intensity(const reel_cost *c)
{
    double bytes = c->bytes_read + c->bytes_written;
    return bytes > 0 ? c->flops / bytes : 0;
}

reel_status reel__check_peaks(const char *who, const reel_roofline *peaks)
{
    if (!peaks || (peaks->gflops > 0 && peaks->gbytes > 0)) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "%s: peaks of %g GFLOP/s and %g GB/s must be above 0",
                     who, peaks->gflops, peaks->gbytes);
}

reel_status reel_graph_node_cost(const reel_graph *g, int node,
                                 const reel_roofline *peaks, reel_node_cost *out)
{
    REEL__CALLED;
    if (!g || !out || node < 0 || node >= g->n_node)
        return reel_fail(REEL_ERR_ARG, "graph_node_cost: node %d of %d%s", node,
                         reel_graph_nodes(g), out ? "" : ", out is NULL");
    if (reel__check_peaks("graph_node_cost", peaks)) return reel_error_status();
    const reel__gnode *n = &g->node[node];
    *out = (reel_node_cost){
        .op = n->op->name, .where = n->where ? n->where : "", .params = params_of(g, n)};
    reel_status st = cost_of(g, n, &out->cost);
    if (st) return st;
    out->intensity = reel__intensity(&out->cost);
    out->seconds_bound = reel__seconds_bound(&out->cost, peaks);
    return REEL_OK;
}

reel_cost reel_graph_cost(const reel_graph *g)
{
    REEL__CALLED;
    reel_cost sum = {0}, one;
    reel_graph *r = g ? reel__graph_as_run(g) : NULL;
    for (int i = 0; r && i < r->n_node && !cost_of(r, &r->node[i], &one); i++) {
        sum.flops += one.flops;
        sum.bytes_read += one.bytes_read;
        sum.bytes_written += one.bytes_written;
        sum.calls += one.calls;
    }
    reel_graph_free(r);
    return sum;
}

/* ---- memory -------------------------------------------------------------------------------- */

static int64_t bytes_of(const reel_graph *g, int v)
{
    const reel__meta *m = &g->value[v].meta;
    return reel__numel(m) * (int64_t)reel_dtype_size(m->dtype);
}

static bool is_result(const reel_graph *g, int v)
{
    return v >= 0 && g->value[v].kind == REEL_VALUE_NODE;
}

/* The last node that reads or makes each root or a view of it; n_node for outputs. */
static void last_uses(const reel_graph *g, const int *root, int *last)
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] >= 0) last[root[n->in[k]]] = i;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k] >= 0) last[root[n->out[k]]] = i;
    }
    for (int i = 0; i < g->n_output; i++) last[root[g->output[i]]] = g->n_node;
}

/* Adds `sign` times the bytes of root r and marks it, unless it is marked so already. */
static int64_t change(const reel_graph *g, int r, int *last, int mark)
{
    if (!is_result(g, r) || last[r] == mark) return 0;
    last[r] = mark;
    return bytes_of(g, r);
}

int64_t reel_graph_peak_bytes(const reel_graph *g)
{
    REEL__CALLED;
    if (!g) {
        reel_fail(REEL_ERR_ARG, "graph_peak_bytes: the graph is NULL");
        return -1;
    }
    reel_graph *r = reel__graph_as_run(g);
    int64_t peak = r ? reel__peak_bytes(r) : -1;
    reel_graph_free(r);
    return peak;
}

int64_t reel__peak_bytes(const reel_graph *g)
{
    enum { FREED = -1 };
    reel__effects e;
    if (!reel__find_effects(g, &e)) return -1;
    int *last = reel__calloc((size_t)g->n_value + 1, sizeof *last);
    int64_t now = 0, peak = last ? 0 : -1;
    if (last) last_uses(g, e.root, last);
    for (int i = 0; last && i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        for (int k = 0; k < n->n_out; k++)
            if (is_result(g, n->out[k]) && e.root[n->out[k]] == n->out[k] &&
                g->value[n->out[k]].maker == i)
                now += bytes_of(g, n->out[k]);
        if (now > peak) peak = now;
        for (int k = 0; k < n->n_in + n->n_out; k++) {
            int v = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            if (v >= 0 && last[e.root[v]] == i) now -= change(g, e.root[v], last, FREED);
        }
    }
    reel__free(last);
    reel__effects_free(&e);
    return peak;
}
