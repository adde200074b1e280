/* equalize.c: channels of neighbouring layers are scaled so that both weights have the same range:
 * what a layer gives divided by s, what the next one takes times s. Positive factors pass through
 * relu and pools, so the result is the same; relu6 becomes relu. Source: Nagel et al. 2019,
 * arXiv:1906.04721, section 4.1. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ops/records.h"
#include "quantize/quantize.h"

/* Ranges of a chain of layers come to rest as fast as a chain of springs. */
enum { ROUNDS = 40 };

enum { MEAN, VAR, WEIGHT, BIAS, GAMMA, BETA };

/* State that makes a layer's weight and bias. Values; REEL_NO_VALUE. */
typedef struct layer {
    int node, weight;     /* state */
    int fold;             /* node that makes of it what the layer reads; -1: it is that */
    int scaled[2];        /* state by which what it gives is divided, along dimension 0 */
    int along;            /* dimension of `weight` with the channels that it takes */
    int64_t takes, gives; /* channels */
} layer;

static bool is_own_state(const reel_graph *g, const int *uses, int v)
{
    return v < 0 || (reel__is_state(&g->value[v]) && uses[v] == 1);
}

/* One channel in, one out; or all in. */
static bool find_channels(const reel_graph *g, layer *l)
{
    const reel__gnode *n = &g->node[l->node];
    const reel__meta *w = &g->value[l->weight].meta;
    int64_t groups =
        n->op == &reel__conv2d ? ((const reel__conv2d_attrs *)n->attrs)->groups : 1;
    l->gives = w->dim[0];
    l->takes = w->rank > 1 ? w->dim[1] * groups : 0;
    l->along = groups == 1 ? 1 : 0;
    return groups == 1 || (groups == w->dim[0] && w->dim[1] == 1);
}

/* The layer of a node; false: it is none whose state is its own. */
static bool layer_of(const reel_graph *g, const int *uses, int node, layer *l)
{
    const reel__gnode *n = &g->node[node];
    if (n->op != &reel__conv2d && n->op != &reel__linear) return false;
    *l = (layer){.node = node,
                 .weight = n->in[1],
                 .fold = g->value[n->in[1]].maker,
                 .scaled = {n->in[1], n->in[2]}};
    if (l->fold >= 0) {
        const reel__gnode *fold = &g->node[l->fold];
        if (fold->op != &reel__fold_batch_norm || fold->out[1] != n->in[2] ||
            uses[fold->out[0]] != 1 || uses[fold->out[1]] != 1)
            return false;
        l->weight = fold->in[WEIGHT];
        l->scaled[0] = fold->in[GAMMA];
        l->scaled[1] = fold->in[BETA];
        if (l->scaled[0] < 0) return false; /* nothing there to be scaled */
    }
    return l->weight >= 0 && g->value[l->weight].meta.dtype == REEL_F32 &&
           is_own_state(g, uses, l->weight) && is_own_state(g, uses, l->scaled[0]) &&
           is_own_state(g, uses, l->scaled[1]) && find_channels(g, l);
}

/* The node behind v, if it is its only reader. */
static int only_reader(const reel_graph *g, const int *uses, int v)
{
    for (int i = 0; uses[v] == 1 && i < g->n_node; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] == v) return k == 0 ? i : -1;
    return -1;
}

static bool lets_factors_pass(const reel__op *op)
{
    return op == &reel__relu || op == &reel__relu6 || op == &reel__max_pool2d ||
           op == &reel__avg_pool2d || op == &reel__adaptive_avg_pool2d ||
           op == &reel__copy;
}

/* The layer that alone reads what `l` gives; relu6 between them becomes relu. */
static bool next_layer(reel_graph *g, const int *uses, const layer *l, layer *next)
{
    int v = g->node[l->node].out[0], first = l->node, i;
    while ((i = only_reader(g, uses, v)) >= 0 && lets_factors_pass(g->node[i].op))
        v = g->node[i].out[0];
    if (i < 0 || g->node[i].op != g->node[l->node].op || !layer_of(g, uses, i, next) ||
        next->takes != l->gives)
        return false;
    for (v = g->node[first].out[0]; (first = only_reader(g, uses, v)) != i;
         v = g->node[first].out[0])
        if (g->node[first].op == &reel__relu6) {
            g->node[first].op = &reel__relu;
            g->node[first].attrs = NULL;
        }
    return true;
}

/* ---- scaling ----------------------------------------------------------------------------------- */

/* max|w| for each index along a dimension, [k] */
static reel_tensor *ranges(reel_tensor *w, int along)
{
    reel_shape dims = {.rank = 0};
    for (int d = 0; d < reel_rank(w); d++)
        if (d != along) dims.dim[dims.rank++] = d;
    return reel_max(reel_abs(w), dims, false);
}

/* s = sqrt(r1 r2) / r2 = sqrt(r1 / r2), [k]; 1 where a weight has nothing. */
static reel_tensor *factors(reel_tensor *r1, reel_tensor *r2)
{
    reel_tensor *none = reel_zeros(REEL_SCALAR, REEL_F32), *one = reel_ones_like(r1);
    reel_tensor *any = reel_gt(reel_minimum(r1, r2), none);
    return reel_sqrt(reel_div(reel_where(any, r1, one), reel_where(any, r2, one)));
}

/* [k] beside x, along a dimension. */
static reel_tensor *beside(reel_tensor *s, reel_tensor *x, int along)
{
    reel_shape shape = {.rank = reel_rank(x)};
    for (int d = 0; d < shape.rank; d++) shape.dim[d] = d == along ? reel_numel(s) : 1;
    return reel_reshape(s, shape);
}

/* The weight as the layer reads it now. */
static reel_tensor *weight_of(const reel_graph *g, const layer *l)
{
    if (l->fold < 0) return g->value[l->weight].tensor;
    const reel__gnode *n = &g->node[l->fold];
    reel_tensor *in[REEL_OP_MAX_IN];
    for (int k = 0; k < n->n_in; k++)
        in[k] = n->in[k] < 0 ? NULL : g->value[n->in[k]].tensor;
    return reel__apply1(n->op, n->attrs, n->n_in, in);
}

static void scale_pair(const reel_graph *g, const layer *a, const layer *b)
{
    reel_tensor *s =
        factors(ranges(weight_of(g, a), 0), ranges(weight_of(g, b), b->along));
    for (int k = 0; k < 2; k++)
        if (a->scaled[k] >= 0) {
            reel_tensor *t = g->value[a->scaled[k]].tensor;
            reel_div_(t, beside(s, t, 0));
        }
    reel_tensor *w = g->value[b->weight].tensor;
    reel_mul_(w, beside(s, w, b->along));
}

/* One pair after the other. */
static void scale_all(reel_graph *g, const int *uses)
{
    layer a, b;
    for (int i = 0; i < g->n_node && !reel_failed(); i++) {
        if (!layer_of(g, uses, i, &a) || !next_layer(g, uses, &a, &b)) continue;
        reel_scope s = reel_scope_begin();
        scale_pair(g, &a, &b);
        reel_scope_end(s);
    }
}

reel_status reel__equalize(reel_graph *g)
{
    int *uses = reel__graph_uses(g);
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; uses && i < ROUNDS; i++) scale_all(g, uses);
    (void)reel_set_grad_enabled(was);
    reel__free(uses);
    return reel_error_status();
}
