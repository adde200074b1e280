/* norms.c: batch norm that was folded, by statistics of the batch: the weight is faked as it will be
 * in the end, with the running statistics in it; behind the layer the factor is taken out again, and
 * batch norm does its own, which moves the running ones. Sources: Jacob et al. 2018,
 * arXiv:1712.05877, section 3.2; Krishnamoorthi 2018, arXiv:1806.08342, section 3.2. */
#include "ops/records.h"
#include "quantize/quantize.h"

enum { MEAN, VAR, WEIGHT, BIAS, GAMMA, BETA, N_IN };

/* The node that made a weight, in front of its quantizer. */
static int maker_of(const reel__quantized *q, int v)
{
    const reel_graph *g = q->graph;
    int maker = v < 0 ? -1 : g->value[v].maker;
    if (maker >= 0 && q->of_node[maker] >= 0)
        maker = g->value[g->node[maker].in[0]].maker;
    return maker;
}

static bool folds(const reel_graph *g, int node, int bias)
{
    bool is = node >= 0 && g->node[node].op == &reel__fold_batch_norm &&
              g->node[node].out[1] == bias;
    for (int k = 0; is && k < N_IN; k++) {
        int v = g->node[node].in[k];
        is = v < 0 ? k > WEIGHT : reel__is_state(&g->value[v]);
    }
    return is;
}

void reel__find_norms(reel__quantized *q)
{
    const reel_graph *g = q->graph;
    for (int i = 0; i < g->n_node; i++) {
        const reel__quantize_rule *r = reel__quantize_rule_of(&g->node[i], q->target);
        bool layer = r && r->weight >= 0 && r->bias >= 0;
        int maker = layer ? maker_of(q, g->node[i].in[r->weight]) : -1;
        q->norm_of[i] = layer && folds(g, maker, g->node[i].in[r->bias]) ? maker : -1;
    }
}

static reel_tensor *state(const reel__quantized *q, int fold, int k)
{
    int v = q->graph->node[fold].in[k];
    return v < 0 ? NULL : q->graph->value[v].tensor;
}

/* [k] beside y [n, k, ...] */
static reel_tensor *beside(reel_tensor *x, reel_tensor *y)
{
    reel_shape s = {.rank = reel_rank(y)};
    for (int d = 0; d < s.rank; d++) s.dim[d] = d == 1 ? reel_numel(x) : 1;
    return reel_reshape(x, s);
}

/* gamma / sqrt(var + eps), what the weight was multiplied by; 1 where that is 0, and with it all
 * that the layer gave. */
reel_tensor *reel__norm_factor(const reel__quantized *q, int fold)
{
    const reel__batch_norm_attrs *a = q->graph->node[fold].attrs;
    reel_tensor *var = reel_copy(state(q, fold, VAR)), *gamma = state(q, fold, GAMMA);
    reel_tensor *s = reel_rsqrt(reel_add_scalar(var, a->eps));
    if (gamma) s = reel_mul(s, gamma);
    reel_tensor *none = reel_zeros(REEL_SCALAR, REEL_F32);
    return reel_where(reel_eq(s, none), reel_ones_like(s), s);
}

static reel_tensor *run_layer(const reel__quantized *q, int node, reel_tensor *const in[])
{
    const reel__gnode *n = &q->graph->node[node];
    const int fold = q->norm_of[node];
    const reel__batch_norm_attrs *a = q->graph->node[fold].attrs;
    reel_tensor *y = APPLY(n->op, n->attrs, in[0], in[1], NULL);
    if (!y) return NULL;
    y = reel_div(y, beside(reel__norm_factor(q, fold), y));
    reel_tensor *bias = state(q, fold, BIAS);
    if (bias) y = reel_add(y, beside(bias, y));
    return reel_batch_norm(y, state(q, fold, GAMMA), state(q, fold, BETA),
                           state(q, fold, MEAN), state(q, fold, VAR), NULL,
                           &(reel_batch_norm_opts){.eps = a->eps, .training = true});
}

/* Running statistics that the layer behind it changes: the gradient wants them as they were. */
static bool run_fold(const reel__gnode *n, reel_tensor *const in[], reel_tensor *out[])
{
    reel_tensor *of[N_IN];
    for (int k = 0; k < N_IN; k++) of[k] = k <= VAR ? reel_copy(in[k]) : in[k];
    out[0] = out[1] = NULL;
    (void)reel__apply(n->op, n->attrs, N_IN, of, out);
    return true;
}

bool reel__run_norm(const reel__quantized *q, int node, reel_tensor *const in[],
                    reel_tensor *out[])
{
    const reel__gnode *n = &q->graph->node[node];
    if (!q->batch_statistics) return false;
    if (n->op == &reel__fold_batch_norm) return run_fold(n, in, out);
    if (q->norm_of[node] < 0) return false;
    out[0] = run_layer(q, node, in);
    return true;
}
