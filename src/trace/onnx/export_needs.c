/* export_needs.c: what the outputs of a graph need, from the last node to the first. A value
 * may be made several times, by what changes it in place: it is needed between a making and
 * the last reading. */
#include "base/alloc.h"
#include "trace/onnx/export.h"

/* Whether node i changes memory that a needed value looks at. */
static bool writes_needed(const reel_graph *g, const reel__effects *e, int i,
                          const bool *live)
{
    for (int w = 0; w < e->n_write; w++) {
        if (e->write_node[w] != i) continue;
        for (int v = 0; v < g->n_value; v++)
            if (live[v] && e->root[v] == e->write_root[w]) return true;
    }
    return false;
}

static void visit(const reel_graph *g, const reel__effects *e, int i, bool *live,
                  uint16_t *need)
{
    const reel__gnode *n = &g->node[i];
    if (!n->op) return;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] >= 0 && live[n->out[k]]) *need |= (uint16_t)(REEL_NEEDED | 1 << k);
    if (!*need && writes_needed(g, e, i, live)) *need = REEL_NEEDED | 1;
    if (!*need) return;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] >= 0) live[n->out[k]] = false;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] >= 0) live[n->in[k]] = true;
}

bool reel__needs_value(const reel_graph *g, const reel__effects *e, reel__needs *n)
{
    *n = (reel__needs){reel__calloc((size_t)g->n_node + 1, sizeof *n->node),
                       reel__calloc((size_t)g->n_value + 1, sizeof *n->state)};
    if (!n->node || !n->state) {
        reel__needs_free(n);
        return false;
    }
    for (int i = 0; i < g->n_output; i++) n->state[g->output[i]] = true;
    for (int i = g->n_node - 1; i >= 0; i--) visit(g, e, i, n->state, &n->node[i]);
    return true;
}

void reel__needs_free(reel__needs *n)
{
    reel__free(n->node);
    reel__free(n->state);
    *n = (reel__needs){0};
}
