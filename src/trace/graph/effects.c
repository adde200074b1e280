/* effects.c: which memory changes when. Views share memory with what they look at, and so do
 * parameters that lie in one storage. */
#include "trace/graph/graph.h"

#include "base/alloc.h"

/* Parameters, buffers and constants of one storage have one root, the first of them: found by
 * the storage's number, in a table with open addressing that holds values plus 1. */
static bool root_state(const reel_graph *g, int *root)
{
    size_t size = 16;
    while (size < 2 * (size_t)g->n_value) size *= 2;
    int *first = reel__calloc(size, sizeof *first);
    if (!first) return false;
    for (int v = 0; v < g->n_value; v++) {
        root[v] = v;
        const reel_tensor *t = g->value[v].tensor;
        if (!t) continue;
        size_t i = (size_t)t->storage->number & (size - 1);
        while (first[i] && g->value[first[i] - 1].tensor->storage != t->storage)
            i = (i + 1) & (size - 1);
        if (first[i])
            root[v] = first[i] - 1;
        else
            first[i] = v + 1;
    }
    reel__free(first);
    return true;
}

static bool collect(const reel_graph *g, reel__effects *e)
{
    int cap_root = 0, cap_node = 0;
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        if (!n->op) continue;
        if ((n->op->traits & REEL_OP_VIEW) && n->in[0] >= 0 && n->out[0] >= 0)
            e->root[n->out[0]] = e->root[n->in[0]];
        for (int k = 0; k < n->n_in; k++) {
            if (!reel__op_changes(n->op, k) || n->in[k] < 0) continue;
            void *roots = e->write_root, *nodes = e->write_node;
            bool room = reel__grow(&roots, e->n_write, &cap_root, sizeof(int));
            e->write_root = roots;
            room = room && reel__grow(&nodes, e->n_write, &cap_node, sizeof(int));
            e->write_node = nodes;
            if (!room) return false;
            e->write_root[e->n_write] = e->root[n->in[k]];
            e->write_node[e->n_write++] = i;
        }
    }
    return true;
}

static void mark_changes(const reel_graph *g, reel__effects *e)
{
    for (int i = 0; i < e->n_write; i++) e->changes[e->write_root[i]] = true;
    for (int v = 0; v < g->n_value; v++) e->changes[v] = e->changes[e->root[v]];
}

/* A view is, if what it looks at is; an expanded one would only be larger if it were kept. */
static bool is_computed(const reel_graph *g, const reel__effects *e, const reel__gnode *n,
                        int v)
{
    return !(n->op->traits & REEL_OP_VIEW) ||
           (e->settled[n->in[0]] && !reel__is_expanded(&g->value[v].meta));
}

/* Nodes in the array stand in program order, but for those that a pass has just emitted. */
static void mark_fixed(const reel_graph *g, reel__effects *e)
{
    for (int v = 0; v < g->n_value; v++)
        e->fixed[v] = reel__is_state(&g->value[v]) && !e->changes[v];
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        bool fixed = n->op && !n->per_batch && !reel__op_mutates(n->op) &&
                     !(n->op->traits & REEL_OP_RANDOM) && reel__op_is_steady(n->op);
        for (int k = 0; k < n->n_in && fixed; k++)
            fixed = n->in[k] < 0 || e->fixed[n->in[k]];
        for (int k = 0; k < n->n_out && fixed; k++)
            fixed = n->out[k] < 0 || !e->changes[n->out[k]];
        for (int k = 0; k < n->n_out; k++) {
            int v = n->out[k];
            if (v < 0 || g->value[v].maker != i) continue;
            e->fixed[v] = fixed;
            e->settled[v] = fixed && is_computed(g, e, n, v);
        }
    }
}

bool reel__find_effects(const reel_graph *g, reel__effects *e)
{
    size_t n = (size_t)g->n_value + 1;
    *e = (reel__effects){.root = reel__calloc(n, sizeof(int)),
                         .changes = reel__calloc(3 * n, sizeof(bool))};
    if (e->root && e->changes) {
        e->fixed = e->changes + n;
        e->settled = e->fixed + n;
        if (root_state(g, e->root) && collect(g, e)) {
            mark_changes(g, e);
            mark_fixed(g, e);
            return true;
        }
    }
    reel__effects_free(e);
    return false;
}

void reel__effects_free(reel__effects *e)
{
    reel__free(e->root);
    reel__free(e->changes);
    reel__free(e->write_root);
    reel__free(e->write_node);
    *e = (reel__effects){0};
}

bool reel__never_changes(const reel__effects *e, int v)
{
    return !e->changes[v];
}

bool reel__same_between(const reel__effects *e, int v, int from, int to)
{
    for (int i = 0; i < e->n_write && e->changes[v]; i++)
        if (e->write_root[i] == e->root[v] && e->write_node[i] >= from &&
            e->write_node[i] < to)
            return false;
    return true;
}
