/* edit.c: how passes and readers change a graph. Nodes are appended with a place between two
 * others and taken out by clearing their record; compacting sorts by place and numbers
 * everything again, so that numbers stay valid while a pass works. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shares.h"
#include "trace/graph/graph.h"

#define GAP REEL__PLACE_GAP

/* ---- emitting ------------------------------------------------------------------------------ */

/* The place right before node `before`, after all that were emitted there. */
static int64_t place_before(const reel_graph *g, int before)
{
    if (before < 0) before = g->n_node;
    int64_t low = before < g->n_node ? g->node[before].place - GAP : -1;
    int64_t high = before < g->n_node ? g->node[before].place : INT64_MAX;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].place > low && g->node[i].place < high) low = g->node[i].place;
    return before < g->n_node ? low + 1 : low - low % GAP + GAP;
}

typedef struct emission {
    const reel__op *op;
    const void *attrs, *per_batch;
    const int *in;
    int n_in;
} emission;

/* Metas of the results at batch b (0: as the graph stands). */
static reel_status infer(const reel_graph *g, const emission *e, int64_t b,
                         reel__meta *out)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    reel__meta meta[REEL_OP_MAX_IN];
    const reel__meta *in[REEL_OP_MAX_IN];
    const reel__gnode n = {.op = e->op,
                           .attrs = (void *)(uintptr_t)e->attrs,
                           .per_batch = (void *)(uintptr_t)e->per_batch};
    for (int k = 0; k < e->n_in; k++) {
        in[k] = e->in[k] < 0 ? NULL : &meta[k];
        if (!in[k]) continue;
        const reel__value *v = &g->value[e->in[k]];
        bool same = true;
        meta[k] = v->meta;
        for (int d = 0; b && d < v->meta.rank; d++) {
            meta[k].dim[d] += v->grow[d] * (b - g->batch);
            same = same && !v->grow[d];
        }
        if (!same) reel__set_strides_like(&meta[k], &v->meta);
    }
    return reel__infer(e->op, reel__attrs_at(g, &n, b, room), in, e->n_in, out);
}

static bool reads_bent(const reel_graph *g, const emission *e)
{
    for (int k = 0; k < e->n_in; k++)
        if (e->in[k] >= 0 && g->value[e->in[k]].bent) return true;
    return false;
}

/* Adds the values of the results; how they grow shows at the next batch size. */
static reel_status add_results(reel_graph *g, const emission *e, int *out)
{
    reel__meta now[REEL_OP_MAX_OUT], next[REEL_OP_MAX_OUT];
    reel_status st = infer(g, e, 0, now);
    if (!st && g->batch) st = infer(g, e, g->batch + 1, next);
    for (int k = 0; k < e->op->n_out && !st; k++) {
        out[k] = REEL_NO_VALUE;
        if (now[k].rank < 0) continue;
        if (k == 0 && (e->op->traits & REEL_OP_INPLACE)) {
            out[k] = e->in[0];
            continue;
        }
        out[k] = reel__graph_add_value(g, REEL_VALUE_NODE, &now[k], NULL, NULL);
        if (out[k] < 0) return reel_error_status();
        for (int d = 0; g->batch && d < now[k].rank; d++)
            g->value[out[k]].grow[d] = next[k].dim[d] - now[k].dim[d];
        if (reads_bent(g, e))
            g->value[out[k]].bent = UINT8_MAX; /* until it is inferred */
    }
    return st;
}

int reel__graph_emit(reel_graph *g, int before, const reel__op *op, const void *attrs,
                     const void *per_batch, const int *in, int n_in, const char *where,
                     int *out)
{
    const emission e = {op, attrs, per_batch, in, n_in};
    const reel__call c = {op, n_in, op->n_out, NULL, NULL, attrs, 0, false};
    if (add_results(g, &e, out)) return -1;
    int64_t place = place_before(g, before);
    int n = reel__graph_add_node(g, &c, in, out, where);
    if (n < 0) return -1;
    g->node[n].place = place;
    if (per_batch) {
        if (!(g->node[n].per_batch = reel__malloc(op->attrs->size))) return -1;
        memcpy(g->node[n].per_batch, per_batch, op->attrs->size);
    }
    return n;
}

int reel__graph_emit1(reel_graph *g, int before, const reel__op *op, const void *attrs,
                      const void *per_batch, const int *in, int n_in, const char *where)
{
    int out[REEL_OP_MAX_OUT];
    return reel__graph_emit(g, before, op, attrs, per_batch, in, n_in, where, out) < 0
               ? -1
               : out[0];
}

/* ---- replacing and removing ------------------------------------------------------------------ */

void reel__graph_replace(reel_graph *g, int v, int by)
{
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; g->node[i].op && k < g->node[i].n_in; k++)
            if (g->node[i].in[k] == v) g->node[i].in[k] = by;
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i] == v) g->output[i] = by;
}

void reel__graph_remove(reel_graph *g, int node)
{
    reel__gnode_free(&g->node[node]);
    g->node[node] = (reel__gnode){.place = g->node[node].place};
}

int *reel__graph_uses(const reel_graph *g)
{
    int *uses = reel__calloc((size_t)g->n_value + 1, sizeof *uses);
    if (!uses) return NULL;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; g->node[i].op && k < g->node[i].n_in; k++)
            if (g->node[i].in[k] >= 0) uses[g->node[i].in[k]]++;
    for (int i = 0; i < g->n_output; i++) uses[g->output[i]]++;
    return uses;
}

/* ---- compacting -------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    int64_t x = ((const reel__gnode *)a)->place, y = ((const reel__gnode *)b)->place;
    return (x > y) - (x < y);
}

static void order_nodes(reel_graph *g)
{
    int kept = 0;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].op) g->node[kept++] = g->node[i];
    g->n_node = kept;
    if (kept) qsort(g->node, (size_t)kept, sizeof *g->node, by_place);
    for (int i = 0; i < kept; i++) g->node[i].place = (i + 1) * GAP;
}

/* Marks the values that a node, an input or an output names. */
static void mark(const reel_graph *g, int *number)
{
    for (int i = 0; i < g->n_node; i++) {
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] >= 0) number[g->node[i].in[k]] = 1;
        for (int k = 0; k < g->node[i].n_out; k++)
            if (g->node[i].out[k] >= 0) number[g->node[i].out[k]] = 1;
    }
    for (int i = 0; i < g->n_input; i++) number[g->input[i]] = 1;
    for (int i = 0; i < g->n_output; i++) number[g->output[i]] = 1;
}

/* Moves values together; number[v] becomes v's new number. */
static void order_values(reel_graph *g, int *number)
{
    int kept = 0;
    for (int v = 0; v < g->n_value; v++) {
        if (!number[v]) {
            reel__free(g->value[v].name);
            reel__let_go(g->value[v].tensor);
            continue;
        }
        g->value[kept] = g->value[v];
        g->value[kept].maker = -1;
        number[v] = kept++;
    }
    g->n_value = kept;
}

static void renumber(const int *number, int *list, int n)
{
    for (int i = 0; i < n; i++)
        if (list[i] >= 0) list[i] = number[list[i]];
}

reel_status reel__graph_compact(reel_graph *g)
{
    int *number = reel__calloc((size_t)g->n_value + 1, sizeof *number);
    if (!number) return reel_error_status();
    order_nodes(g);
    mark(g, number);
    order_values(g, number);
    for (int i = 0; i < g->n_node; i++) {
        renumber(number, g->node[i].in, g->node[i].n_in);
        renumber(number, g->node[i].out, g->node[i].n_out);
        for (int k = 0; k < g->node[i].n_out; k++) {
            int v = g->node[i].out[k];
            if (v >= 0 && g->value[v].kind == REEL_VALUE_NODE && g->value[v].maker < 0)
                g->value[v].maker = i;
        }
    }
    renumber(number, g->input, g->n_input);
    renumber(number, g->output, g->n_output);
    reel__free(number);
    return REEL_OK;
}

/* ---- copying -------------------------------------------------------------------------------------- */

static bool copy_values(reel_graph *to, const reel_graph *g)
{
    for (int v = 0; v < g->n_value; v++) {
        const reel__value *from = &g->value[v];
        if (reel__graph_add_value(to, from->kind, &from->meta, from->name, from->tensor) <
            0)
            return false;
        memcpy(to->value[v].grow, from->grow, sizeof from->grow);
        to->value[v].shared = from->shared;
        to->value[v].bent = from->bent;
        memcpy(to->value[v].bend, from->bend, sizeof from->bend);
    }
    return true;
}

static bool copy_nodes(reel_graph *to, const reel_graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        const reel__call c = {n->op, n->n_in, n->n_out, NULL, NULL, n->attrs, 0, false};
        if (reel__graph_add_node(to, &c, n->in, n->out, n->where) < 0) return false;
        if (!n->per_batch) continue;
        if (!(to->node[i].per_batch = reel__malloc(n->op->attrs->size))) return false;
        memcpy(to->node[i].per_batch, n->per_batch, n->op->attrs->size);
    }
    return true;
}

static bool copy_ends(reel_graph *to, const reel_graph *g)
{
    for (int i = 0; i < g->n_input; i++)
        if (reel__graph_add_input(to, g->input[i])) return false;
    for (int i = 0; i < g->n_output; i++)
        if (reel__graph_add_output(to, g->output[i], g->output_name[i])) return false;
    to->batch = g->batch;
    to->rng = g->rng;
    to->rng_blocks = g->rng_blocks;
    to->decided = reel__decided_retain(g->decided);
    return !g->reads || (to->reads = reel__strdup(g->reads)) != NULL;
}

reel_graph *reel__graph_copy(const reel_graph *g)
{
    reel_graph *to = reel__graph_new();
    if (to && copy_values(to, g) && copy_nodes(to, g) && copy_ends(to, g)) return to;
    reel_graph_free(to);
    return NULL;
}

reel_graph *reel_graph_copy(const reel_graph *g)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (g) return reel__graph_copy(g);
    reel_fail(REEL_ERR_ARG, "graph_copy: the graph is NULL");
    return NULL;
}
