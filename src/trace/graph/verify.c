/* verify.c: what every graph must satisfy, whoever made or changed it. */
#include "base/alloc.h"
#include "base/error.h"
#include "trace/graph/graph.h"

static reel_status broken(const reel_graph *g, int i, const char *what, int v)
{
    char text[64];
    return reel_fail(REEL_ERR_INTERNAL, "graph_check: node %d %s%s%s: %s %s", i,
                     g->node[i].op->name, g->node[i].where ? " of " : "",
                     g->node[i].where ? g->node[i].where : "", what,
                     v == REEL_NO_VALUE ? "" : reel__value_text(g, v, text, sizeof text));
}

/* The record's shape rule against the shapes that the graph holds. */
static reel_status check_shapes(const reel_graph *g, int i)
{
    const reel__gnode *n = &g->node[i];
    const reel__meta *in[REEL_OP_MAX_IN];
    reel__meta out[REEL_OP_MAX_OUT];
    for (int k = 0; k < n->n_in; k++)
        in[k] = n->in[k] < 0 ? NULL : &g->value[n->in[k]].meta;
    reel_status st = reel__infer(n->op, n->attrs, in, n->n_in, out);
    for (int k = 0; k < n->n_out && !st && n->op->infer; k++) {
        const reel__meta *have = n->out[k] < 0 ? NULL : &g->value[n->out[k]].meta;
        bool same = have ? out[k].rank >= 0 && reel__same_shape(have, &out[k]) &&
                               have->dtype == out[k].dtype
                         : out[k].rank < 0;
        if (!same) st = broken(g, i, "its shape rule disagrees with", n->out[k]);
    }
    return st;
}

static reel_status check_node(const reel_graph *g, int i, bool *made)
{
    const reel__gnode *n = &g->node[i];
    if (n->op->n_in >= 0 ? n->n_in != n->op->n_in
                         : n->n_in < 1 || n->n_in > REEL_OP_MAX_IN)
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
    REEL__CALLED;
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
