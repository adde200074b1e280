/* fold_batch_norm.c: batch norm with running statistics is y = s x + t for each channel, with
 * s = gamma / sqrt(var + eps) and t = beta - s mean. After a convolution or linear layer s goes
 * into its weight and t into its bias; elsewhere a product and a sum remain, which fuse with
 * what stands around them. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
 *
 * The new weights are parameters of the graph under the names of the old ones. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/records.h"
#include "trace/passes/match.h"

/* s and t of the channels, for reel__free(). */
typedef struct affine {
    int64_t channels;
    double *scale, *shift;
} affine;

static void affine_free(affine *a)
{
    reel__free(a->scale);
    reel__free(a->shift);
}

/* The numbers of operand v, or `otherwise` where it is absent. */
static double *numbers(const reel_graph *g, int v, int64_t n, double otherwise)
{
    if (v >= 0) return reel__state_numbers(g, v);
    double *x = reel__malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; x && i < n; i++) x[i] = otherwise;
    return x;
}

static bool affine_of(const reel_graph *g, const reel_match *m, affine *a)
{
    const reel_batch_norm_attrs *bn = g->node[m->root].attrs;
    int mean_at = reel__bound(m, "m");
    *a = (affine){.channels = g->value[mean_at].meta.dim[0]};
    a->scale = numbers(g, reel__bound(m, "g"), a->channels, 1);
    a->shift = numbers(g, reel__bound(m, "h"), a->channels, 0);
    double *mean = reel__state_numbers(g, mean_at);
    double *var = reel__state_numbers(g, reel__bound(m, "v"));
    bool good = a->scale && a->shift && mean && var;
    for (int64_t i = 0; good && i < a->channels; i++) {
        a->scale[i] /= sqrt(var[i] + bn->eps);
        a->shift[i] -= a->scale[i] * mean[i];
    }
    reel__free(mean);
    reel__free(var);
    if (!good) affine_free(a);
    return good;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool is_taken(const reel_graph *g, const char *name, int by_other_than)
{
    for (int v = 0; v < g->n_value; v++)
        if (v != by_other_than && g->value[v].name && strcmp(g->value[v].name, name) == 0)
            return true;
    return false;
}

static bool is_read_elsewhere(const reel_graph *g, int v)
{
    int reads = 0;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; g->node[i].op && k < g->node[i].n_in; k++)
            reads += g->node[i].in[k] == v;
    for (int i = 0; i < g->n_output; i++) reads += g->output[i] == v;
    return reads > 1;
}

enum { NAME = 512 };

/* The name of the state that takes the place of `old` (-1: of none): `wish`, unless another
 * keeps it. */
static const char *free_name(const reel_graph *g, const char *wish, int old,
                             char buf[NAME])
{
    bool stays = old >= 0 && is_read_elsewhere(g, old);
    (void)snprintf(buf, NAME, "%s", wish);
    for (int i = 1; is_taken(g, buf, stays ? -1 : old); i++)
        (void)snprintf(buf, NAME, "%s.folded%d", wish, i);
    return buf;
}

/* "conv1.weight" -> "conv1.bias" */
static const char *bias_name(const char *weight, char buf[NAME])
{
    size_t n = strlen(weight), w = strlen("weight");
    bool ends = n >= w && strcmp(weight + n - w, "weight") == 0;
    (void)snprintf(buf, NAME, "%.*s%s", (int)(ends ? n - w : n), weight,
                   ends ? "bias" : ".bias");
    return buf;
}

/* ---- after a convolution or linear layer ------------------------------------------------------ */

static bool are_fixed(const reel_graph *g, const reel_match *m, const char *const name[],
                      int n)
{
    for (int i = 0; i < n; i++) {
        int v = reel__bound(m, name[i]);
        if (v >= 0 && !reel__is_fixed(g, m->effects, v)) return false;
    }
    return true;
}

/* New weight [k, ...] and bias [k] in in[1] and in[2]. */
static bool fold_weights(reel_graph *g, const reel_match *m, const affine *a, int in[3])
{
    char weight_at[NAME], wish[NAME], bias_at[NAME];
    int w = reel__bound(m, "w"), b = reel__bound(m, "b");
    reel_value_kind kind = g->value[w].kind;
    bool trainable = g->value[w].tensor->node != NULL;
    reel_meta wm = g->value[w].meta,
              bm = reel__meta(REEL_SHAPE(a->channels), wm.dtype, wm.device);
    int64_t each = a->channels ? reel__numel(&wm) / a->channels : 0;
    double *weight = reel__state_numbers(g, w), *bias = numbers(g, b, a->channels, 0);
    bool good = weight && bias;
    for (int64_t k = 0; good && k < a->channels; k++) {
        for (int64_t i = 0; i < each; i++) weight[k * each + i] *= a->scale[k];
        bias[k] = bias[k] * a->scale[k] + a->shift[k];
    }
    const char *name = g->value[w].name, *of_bias = NULL;
    if (name)
        of_bias = b >= 0 && g->value[b].name ? g->value[b].name : bias_name(name, wish);
    if (name) name = free_name(g, name, w, weight_at);
    if (of_bias) of_bias = free_name(g, of_bias, b, bias_at);
    in[1] = good ? reel__add_state(g, kind, &wm, name, weight, trainable) : -1;
    in[2] = in[1] >= 0 ? reel__add_state(g, kind, &bm, of_bias, bias, trainable) : -1;
    reel__free(weight);
    reel__free(bias);
    return in[2] >= 0;
}

/* What batch norm does after s x + t: the residual, and max(0, .) */
static int finish(reel_graph *g, const reel_match *m, int y)
{
    const reel_batch_norm_attrs *bn = g->node[m->root].attrs;
    const char *where = g->node[m->root].where;
    int in[] = {y, reel__bound(m, "r")};
    bool relu = bn->relu;
    if (y >= 0 && in[1] >= 0)
        y = reel__graph_emit1(g, m->root, &reel__add, NULL, NULL, in, 2, where);
    if (y >= 0 && relu)
        y = reel__graph_emit1(g, m->root, &reel__relu, NULL, NULL, &y, 1, where);
    return y;
}

static int fold_into(reel_graph *g, const reel_match *m)
{
    static const char *const fixed[] = {"w", "b", "g", "h", "m", "v"};
    affine a;
    int in[3] = {reel__bound(m, "x")};
    if (!are_fixed(g, m, fixed, 6) || !affine_of(g, m, &a)) return -1;
    int conv = reel__bound_node(g, m, "c");
    int y = fold_weights(g, m, &a, in) ? reel__emit_like(g, m->root, conv, in) : -1;
    affine_free(&a);
    return finish(g, m, y);
}

/* ---- elsewhere ------------------------------------------------------------------------------------ */

/* A state with a number for each channel, of a shape that broadcasts to x [n, c, ...]. */
static int per_channel(reel_graph *g, const reel_match *m, int old, const double *number)
{
    char buf[NAME];
    const reel_meta *x = &g->value[reel__bound(m, "x")].meta;
    reel_shape column = {.rank = x->rank - 1, .dim = {x->dim[1]}};
    for (int d = 1; d < column.rank; d++) column.dim[d] = 1;
    const char *name = old >= 0 ? g->value[old].name : NULL;
    reel_meta to = reel__meta(column, x->dtype, x->device);
    return reel__add_state(g, name ? g->value[old].kind : REEL_VALUE_CONST, &to,
                           name ? free_name(g, name, old, buf) : NULL, number,
                           old >= 0 && g->value[old].tensor->node);
}

/* In half precision the product would be rounded before the sum: not done there. */
static int write_out(reel_graph *g, const reel_match *m)
{
    static const char *const fixed[] = {"g", "h", "m", "v"};
    affine a;
    int in[2] = {reel__bound(m, "x")};
    reel_dtype dtype = g->value[in[0]].meta.dtype;
    if ((dtype != REEL_F32 && dtype != REEL_F64) || !are_fixed(g, m, fixed, 4) ||
        !affine_of(g, m, &a))
        return -1;
    const reel_op *const op[] = {&reel__mul, &reel__add};
    for (int i = 0; i < 2 && in[0] >= 0; i++) {
        in[1] = per_channel(g, m, reel__bound(m, i ? "h" : "g"), i ? a.shift : a.scale);
        in[0] = in[1] < 0 ? -1
                          : reel__graph_emit1(g, m->root, op[i], NULL, NULL, in, 2,
                                              g->node[m->root].where);
    }
    affine_free(&a);
    return finish(g, m, in[0]);
}

static const reel_rule rules[] = {
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

const reel_pass reel__pass_fold_batch_norm = {
    "fold_batch_norm", "folds batch norm into the weights before it", false, run};
