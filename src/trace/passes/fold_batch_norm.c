/* fold_batch_norm.c: batch norm with running statistics is y = s x + t for each channel, with
 * s = gamma / sqrt(var + eps) and t = beta - s mean. After a convolution or linear layer s goes
 * into its weight and t into its bias; elsewhere a product and a sum remain, which fuse with
 * what stands around them. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
 *
 * The new weights are results of a node, which reads the old ones: the graph keeps its
 * parameters and follows them. Executors run that node once, files hold what it makes. */
#include "ops/records.h"
#include "trace/passes/match.h"

/* True if no run changes these operands of the match; absent ones do not count. */
static bool are_fixed(const reel__match *m, const char *const name[], int n)
{
    for (int i = 0; i < n; i++) {
        int v = reel__bound(m, name[i]);
        if (v >= 0 && !reel__is_fixed(m->effects, v)) return false;
    }
    return true;
}

/* Weight and bias with the norm in them; without a weight (w -1) s and t themselves. */
static bool emit_weights(reel_graph *g, const reel__match *m, int w, int b,
                         const char *where, int out[2])
{
    const reel__batch_norm_attrs *bn = g->node[m->root].attrs, a = {.eps = bn->eps};
    const int in[] = {reel__bound(m, "m"), reel__bound(m, "v"), w, b,
                      reel__bound(m, "g"), reel__bound(m, "h")};
    return reel__graph_emit(g, m->root, &reel__fold_batch_norm, &a, NULL, in, 6, where,
                            out) >= 0;
}

/* What batch norm does after s x + t: the residual, and max(0, .) */
static int finish(reel_graph *g, const reel__match *m, int y)
{
    const reel__batch_norm_attrs *bn = g->node[m->root].attrs;
    const char *where = g->node[m->root].where;
    int in[] = {y, reel__bound(m, "r")};
    bool relu = bn->relu;
    if (y >= 0 && in[1] >= 0)
        y = reel__graph_emit1(g, m->root, &reel__add, NULL, NULL, in, 2, where);
    if (y >= 0 && relu)
        y = reel__graph_emit1(g, m->root, &reel__relu, NULL, NULL, &y, 1, where);
    return y;
}

/* The channels of a norm are dimension 1; those of a linear layer the last. */
static bool same_channels(const reel_graph *g, const reel__match *m)
{
    return g->node[reel__bound_node(g, m, "c")].op != &reel__linear ||
           g->value[reel__bound(m, "c")].meta.rank == 2;
}

static int fold_into(reel_graph *g, const reel__match *m)
{
    static const char *const fixed[] = {"w", "b", "g", "h", "m", "v"};
    int conv = reel__bound_node(g, m, "c"), in[3] = {reel__bound(m, "x")};
    if (!same_channels(g, m) || !are_fixed(m, fixed, 6) ||
        !emit_weights(g, m, reel__bound(m, "w"), reel__bound(m, "b"), g->node[conv].where,
                      &in[1]))
        return -1;
    return finish(g, m, reel__emit_like(g, m->root, conv, in));
}

/* [c] as a shape that broadcasts to x [n, c, ...] */
static int per_channel(reel_graph *g, const reel__match *m, int v)
{
    const reel__meta *x = &g->value[reel__bound(m, "x")].meta;
    reel__shape_attrs column = {.rank = x->rank - 1, .dim = {x->dim[1]}};
    for (int d = 1; d < column.rank; d++) column.dim[d] = 1;
    if (column.rank == 1) return v;
    return reel__graph_emit1(g, m->root, &reel__reshape, &column, NULL, &v, 1,
                             g->node[m->root].where);
}

/* In half precision the product would be rounded before the sum: not done there. */
static int write_out(reel_graph *g, const reel__match *m)
{
    static const char *const fixed[] = {"g", "h", "m", "v"};
    const reel__op *const op[] = {&reel__mul, &reel__add};
    const char *where = g->node[m->root].where;
    int in[2] = {reel__bound(m, "x")}, st[2];
    reel_dtype dtype = g->value[in[0]].meta.dtype;
    if ((dtype != REEL_F32 && dtype != REEL_F64) || !are_fixed(m, fixed, 4) ||
        !emit_weights(g, m, REEL_NO_VALUE, REEL_NO_VALUE, where, st))
        return -1;
    for (int i = 0; i < 2 && in[0] >= 0; i++) {
        in[1] = per_channel(g, m, st[i]);
        in[0] = in[1] < 0
                    ? -1
                    : reel__graph_emit1(g, m->root, op[i], NULL, NULL, in, 2, where);
    }
    return finish(g, m, in[0]);
}

static const reel__rule rules[] = {
    REWRITE_BY("batch_norm(conv2d(x, w, b?) as c, g?, h?, m, v, r? | training=0)",
               fold_into),
    REWRITE_BY("batch_norm(linear(x, w, b?) as c, g?, h?, m, v, r? | training=0)",
               fold_into),
    REWRITE_BY("batch_norm(x, g?, h?, m, v, r? | training=0)", write_out),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_fold_batch_norm = {
    "fold_batch_norm", "folds batch norm into the weights before it", false, run};
