/* edits.c: questions about values that every pass asks before it changes something. */
#include <string.h>

#include "base/alloc.h"
#include "ops/records.h"
#include "trace/passes/pass.h"

/* ---- how values lie in memory --------------------------------------------------------------- */

reel_status reel__graph_infer(reel_graph *g)
{
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    if (!meta) return reel_error_status();
    reel_status st = reel__metas_anew(g, 0, REEL_NO_VALUE, meta);
    for (int v = 0; v < g->n_value && !st; v++)
        if (g->value[v].kind == REEL_VALUE_NODE) g->value[v].meta = meta[v];
    reel__free(meta);
    return st ? st : reel__graph_bends(g);
}

bool reel__same_kind(const reel_graph *g, int v, int by)
{
    const reel__value *a = &g->value[v], *b = &g->value[by];
    if (a->meta.dtype != b->meta.dtype || !reel__same_shape(&a->meta, &b->meta))
        return false;
    for (int d = 0; d < a->meta.rank; d++)
        if (a->grow[d] != b->grow[d]) return false;
    return reel__bend_alike(g, v, by, false);
}

bool reel__same_layout(const reel_graph *g, int v, int by)
{
    const reel__value *a = &g->value[v], *b = &g->value[by];
    if (!reel__same_kind(g, v, by)) return false;
    for (int d = 0; d < a->meta.rank; d++) /* the stride of a single element is nothing */
        if ((a->meta.dim[d] != 1 || a->grow[d]) && a->meta.stride[d] != b->meta.stride[d])
            return false;
    return reel__bend_alike(g, v, by, true);
}

/* The shapes of all nodes, were v `by`, at batch b. */
static reel_status infer_with(const reel_graph *g, int v, int by, int64_t b,
                              reel__meta *meta)
{
    reel_status st = reel__metas_at(g, b, meta);
    if (st) return st;
    meta[v] = meta[by];
    return reel__metas_anew(g, b, g->value[v].maker + 1, meta);
}

int reel__layout_fits(const reel_graph *g, int v, int by)
{
    if (reel__same_layout(g, v, by)) return 1;
    if (g->keeps_layouts) return 0;
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    if (!meta) return -1;
    reel_status st = infer_with(g, v, by, g->batch, meta);
    if (!st && g->batch) st = infer_with(g, v, by, g->batch + 1, meta);
    bool bent = g->value[v].bent || g->value[by].bent;
    for (int64_t k = 0, b; bent && (b = reel__size_tried(k)) && !st; k++)
        st = infer_with(g, v, by, b, meta);
    reel__free(meta);
    if (!st) return 1;
    if (st == REEL_ERR_MEMORY) return -1;
    reel_error_clear(); /* a view that is none there: the answer, no error */
    return 0;
}

int reel__emit_like(reel_graph *g, int before, int node, const int *in)
{
    const reel__gnode n = g->node[node]; /* its blocks stay where they are */
    return reel__graph_emit1(g, before, n.op, n.attrs, n.per_batch, in, n.n_in, n.where);
}

int reel__emit_reshape(reel_graph *g, int before, int x, int like)
{
    const reel__value *v = &g->value[like];
    reel__shape_attrs to = {.rank = v->meta.rank}, grow = {.rank = 0};
    bool grows = false;
    if (reel__same_kind(g, x, like)) return x;
    if (v->bent) return REEL_NO_VALUE; /* no size that could be written */
    for (int d = 0; d < v->meta.rank; d++) {
        to.dim[d] = v->meta.dim[d];
        grow.dim[d] = v->grow[d];
        grows = grows || v->grow[d];
    }
    return reel__graph_emit1(g, before, &reel__reshape, &to, grows ? &grow : NULL, &x, 1,
                             NULL);
}

bool reel__changed_directly(const reel_graph *g, int v)
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        for (int k = 0; n->op && k < n->n_in; k++)
            if (n->in[k] == v && reel__op_changes(n->op, k)) return true;
    }
    return false;
}

/* ---- numbers of constants --------------------------------------------------------------------- */

bool reel__constant_number(const reel_graph *g, int v, double *number)
{
    const reel__value *x = v >= 0 ? &g->value[v] : NULL;
    if (!x || x->kind != REEL_VALUE_CONST || x->tensor->node || x->shared ||
        reel__numel(&x->meta) != 1 || !reel_dtype_is_float(x->meta.dtype))
        return false;
    return reel__read("graph_optimize", x->tensor, number, REEL_F64) == REEL_OK;
}
