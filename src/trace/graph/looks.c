/* looks.c: views that are one value. A capture at several sizes makes a node of each view
 * (capture.c). Those that look at the same memory in the same way whatever the batch size, as
 * what is flattened that was flat, or taken again for backward, are found here; what is so at
 * the captured sizes alone, as a transpose of one row, stays. */
#include <string.h>

#include "base/alloc.h"
#include "trace/graph/graph.h"

/* ---- what a value looks like at all sizes, in one number -------------------------------------- */

static uint64_t mixed(uint64_t h, int64_t x)
{
    h = (h ^ (uint64_t)x) * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0xd1b54a32d192ed03);
    return h ^ h >> 29; /* and a zero counts: lists of other lengths differ */
}

/* As reel__same_look() compares. */
static uint64_t mix_look(uint64_t h, const reel__meta *m)
{
    h = mixed(mixed(mixed(h, m->dtype), m->rank), m->offset);
    for (int d = 0; d < m->rank; d++)
        h = mixed(mixed(h, m->dim[d]), m->dim[d] > 1 ? m->stride[d] : 0);
    return h;
}

static reel_status mix_sizes(const reel_graph *g, uint64_t *look)
{
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    reel_status st = meta ? REEL_OK : reel_error_status();
    for (int64_t k = 0, b; (b = reel__size_tried(k)) && !st && !(k && !g->batch); k++) {
        st = reel__metas_there(g, b, meta);
        for (int v = 0; v < g->n_value && !st; v++) look[v] = mix_look(look[v], &meta[v]);
    }
    reel__free(meta);
    return st;
}

/* ---- one value for all that look alike -------------------------------------------------------- */

/* The first value of v's look, by open addressing: slots hold values plus 1. */
static int first_of(int *slot, size_t mask, const uint64_t *look, int v)
{
    size_t i = (size_t)look[v] & mask;
    while (slot[i] && look[slot[i] - 1] != look[v]) i = (i + 1) & mask;
    if (!slot[i]) slot[i] = v + 1;
    return slot[i] - 1;
}

static void name_anew(const int *by, int *list, int n)
{
    for (int i = 0; i < n; i++)
        if (list[i] >= 0) list[i] = by[list[i]];
}

/* by[v]: the value that stands for v. Nodes whose result another stands for go. */
static void merge(reel_graph *g, const int *by)
{
    for (int i = 0; i < g->n_node; i++) {
        reel__gnode *n = &g->node[i];
        const int made = n->out[0];
        name_anew(by, n->in, n->n_in);
        name_anew(by, n->out, n->n_out);
        if ((n->op->traits & REEL_OP_VIEW) && made != n->out[0]) reel__graph_remove(g, i);
    }
    name_anew(by, g->output, g->n_output);
}

static reel_status find_and_merge(reel_graph *g, uint64_t *look, int *by, int *slot,
                                  size_t mask)
{
    reel__effects e;
    if (!reel__find_effects(g, &e)) return reel_error_status();
    for (int v = 0; v < g->n_value; v++) look[v] = mixed(0, e.root[v]);
    reel__effects_free(&e);
    reel_status st = mix_sizes(g, look);
    for (int v = 0; v < g->n_value && !st; v++) by[v] = first_of(slot, mask, look, v);
    if (st) return st;
    merge(g, by);
    return reel__graph_compact(g);
}

reel_status reel__graph_looks(reel_graph *g)
{
    size_t size = 16, n = (size_t)g->n_value + 1;
    while (size < 2 * n) size *= 2;
    uint64_t *look = reel__calloc(n, sizeof *look);
    int *by = reel__calloc(n, sizeof *by), *slot = reel__calloc(size, sizeof *slot);
    reel_status st = look && by && slot ? find_and_merge(g, look, by, slot, size - 1)
                                        : reel_error_status();
    reel__free(look);
    reel__free(by);
    reel__free(slot);
    return st;
}
