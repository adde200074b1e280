/* dce.c: dead code. A node lives if an output needs it, or if it changes memory that is seen:
 * a state, an input, or what a living node reads later. A view that leads back to a value that
 * is there already is dead as well. */
#include "base/alloc.h"
#include "trace/passes/pass.h"

typedef struct liveness {
    const reel_graph *g;
    reel__effects e;
    bool *value, *memory; /* of each value; of each root */
} liveness;

static void need(liveness *l, int v)
{
    if (v < 0) return;
    l->value[v] = true;
    l->memory[l->e.root[v]] = true;
}

/* A capture knows values by their place in memory: permuted and permuted back is one value. */
static bool is_there_already(const reel_graph *g, int i)
{
    const reel__gnode *n = &g->node[i];
    return (n->op->traits & REEL_OP_VIEW) && g->value[n->out[0]].maker != i;
}

/* Nodes are asked from last to first: all readers of a value have been asked before. */
static bool lives(const liveness *l, int i)
{
    const reel__gnode *n = &l->g->node[i];
    if (is_there_already(l->g, i)) return false;
    if (!reel__op_is_steady(n->op)) return true;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] >= 0 && l->value[n->out[k]]) return true;
    for (int k = 0; k < n->n_in; k++)
        if (reel__op_changes(n->op, k) && n->in[k] >= 0 && l->memory[l->e.root[n->in[k]]])
            return true;
    return false;
}

static int sweep(reel_graph *g, liveness *l)
{
    int removed = 0;
    for (int v = 0; v < g->n_value; v++)
        if (g->value[v].kind != REEL_VALUE_NODE) l->memory[l->e.root[v]] = true;
    for (int i = 0; i < g->n_output; i++) need(l, g->output[i]);
    for (int i = g->n_node - 1; i >= 0; i--) {
        const reel__gnode *n = &g->node[i];
        if (lives(l, i)) {
            for (int k = 0; k < n->n_in; k++) need(l, n->in[k]);
        } else {
            reel__graph_remove(g, i);
            removed++;
        }
    }
    return removed;
}

static int run(reel_graph *g)
{
    liveness l = {.g = g};
    if (!reel__find_effects(g, &l.e)) return -1;
    l.value = reel__calloc((size_t)g->n_value + 1, sizeof *l.value);
    l.memory = reel__calloc((size_t)g->n_value + 1, sizeof *l.memory);
    int removed = l.value && l.memory ? sweep(g, &l) : -1;
    reel__free(l.value);
    reel__free(l.memory);
    reel__effects_free(&l.e);
    return removed;
}

const reel__pass reel__pass_dce = {"dce", "removes nodes whose results nobody reads",
                                   true, run};
