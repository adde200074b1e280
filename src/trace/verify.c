/* verify.c: what every graph must satisfy, whoever made or changed it. */
#include <string.h>

#include "base/alloc.h"
#include "trace/graph.h"

static reel_status broken(const reel_graph *g, int i, const char *what, int v)
{
    char text[64];
    return reel_fail(REEL_ERR_INTERNAL, "graph_check: node %d %s%s%s: %s %s", i,
                     g->node[i].op->name, g->node[i].where ? " of " : "",
                     g->node[i].where ? g->node[i].where : "", what,
                     v == REEL_NO_VALUE ? "" : reel__value_text(g, v, text, sizeof text));
}

/* Operands as the shape rule sees them: ghosts, shapes without values. */
static reel_status make_ghosts(const reel_graph *g, const reel_gnode *n,
                               reel_tensor *in[])
{
    for (int k = 0; k < n->n_in; k++) {
        if (n->in[k] < 0) continue;
        in[k] = reel__tensor_ghost(&g->value[n->in[k]].meta);
        if (!in[k]) return reel_error_status();
    }
    return REEL_OK;
}

/* The record's shape rule against the shapes that the graph holds. */
static reel_status check_shapes(const reel_graph *g, int i)
{
    const reel_gnode *n = &g->node[i];
    reel_tensor *in[REEL_OP_MAX_IN] = {NULL};
    reel_meta out[REEL_OP_MAX_OUT];
    const reel_call c = {n->op, n->n_in, n->n_out, in, NULL, n->attrs, 0, false};
    reel_status st = make_ghosts(g, n, in);
    for (int k = 0; k < n->n_out; k++)
        out[k] = n->n_in && in[0] ? in[0]->meta : (reel_meta){.rank = 0};
    if (!st && n->op->infer) st = n->op->infer(&c, out);
    for (int k = 0; k < n->n_out && !st && n->op->infer; k++) {
        const reel_meta *have = n->out[k] < 0 ? NULL : &g->value[n->out[k]].meta;
        bool same = have ? out[k].rank >= 0 && reel__same_shape(have, &out[k]) &&
                               have->dtype == out[k].dtype
                         : out[k].rank < 0;
        if (!same) st = broken(g, i, "its shape rule disagrees with", n->out[k]);
    }
    for (int k = 0; k < n->n_in; k++) reel__tensor_release(in[k]);
    return st;
}

static reel_status check_node(const reel_graph *g, int i, bool *made)
{
    const reel_gnode *n = &g->node[i];
    if (n->op->n_in >= 0 ? n->n_in != n->op->n_in : n->n_in < 1)
        return broken(g, i, "wrong number of operands", REEL_NO_VALUE);
    for (int k = 0; k < n->n_in; k++) {
        int v = n->in[k];
        bool may_miss = k < 8 && (n->op->optional >> k & 1);
        if (v >= g->n_value || (v < 0 && !may_miss))
            return broken(g, i, "an operand is missing", REEL_NO_VALUE);
        if (v >= 0 && !made[v]) return broken(g, i, "reads before it is made", v);
    }
    for (int k = 0; k < n->n_out; k++) {
        if (n->out[k] >= g->n_value) return broken(g, i, "no such result", REEL_NO_VALUE);
        if (n->out[k] >= 0) made[n->out[k]] = true;
    }
    return check_shapes(g, i);
}

reel_status reel_graph_check(const reel_graph *g)
{
    if (!g) return reel_fail(REEL_ERR_ARG, "graph_check: the graph is NULL");
    bool *made = reel__calloc((size_t)g->n_value + 1, sizeof *made);
    if (!made) return reel_error_status();
    for (int v = 0; v < g->n_value; v++)
        made[v] = g->value[v].tensor || g->value[v].kind == REEL_VALUE_INPUT;
    reel_status st = REEL_OK;
    for (int i = 0; i < g->n_node && !st; i++) st = check_node(g, i, made);
    for (int i = 0; i < g->n_output && !st; i++)
        if (!made[g->output[i]])
            st = reel_fail(REEL_ERR_INTERNAL, "graph_check: output %s is never made",
                           g->output_name[i]);
    reel__free(made);
    return st;
}

reel_cost reel_graph_cost(const reel_graph *g)
{
    reel_cost sum = {0};
    for (int i = 0; g && i < g->n_node; i++) {
        const reel_gnode *n = &g->node[i];
        reel_tensor *in[REEL_OP_MAX_IN] = {NULL}, *out[REEL_OP_MAX_OUT] = {NULL};
        const reel_call c = {n->op, n->n_in, n->n_out, in, out, n->attrs, 0, false};
        bool whole = !make_ghosts(g, n, in);
        for (int k = 0; k < n->n_out && whole; k++)
            if (n->out[k] >= 0)
                whole = (out[k] = reel__tensor_ghost(&g->value[n->out[k]].meta)) != NULL;
        reel_cost one = whole ? reel__cost(&c) : (reel_cost){0};
        sum.flops += one.flops;
        sum.bytes_read += one.bytes_read;
        sum.bytes_written += one.bytes_written;
        sum.calls += one.calls;
        for (int k = 0; k < n->n_in; k++) reel__tensor_release(in[k]);
        for (int k = 0; k < n->n_out; k++) reel__tensor_release(out[k]);
    }
    return sum;
}
