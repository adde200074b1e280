/* smooth.c: what is large in a few channels behind layer norm is moved into the weights that read it:
 * channel j divided by s = max|x|^a / max|w|^(1 - a), column j of the weights times s. The same
 * function, and easier to quantize. Source: Xiao et al. 2022, arXiv:2211.10438. */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
#include "ops/records.h"
#include "quantize/quantize.h"

enum { GAMMA = 1, BETA = 2 };

typedef struct smoothing {
    reel__quantized *q;
    int *uses;
    reel_tensor *
        *most; /* of each node that fakes what a norm gives: max|x| of channels, [k] */
} smoothing;

static bool is_own(const smoothing *s, int v)
{
    return v >= 0 && reel__is_state(&s->q->graph->value[v]) && s->uses[v] == 1;
}

/* The layer norm whose result this node fakes, with gamma and beta [k] of its own, and no other
 * reader; -1. */
static int norm_of(const smoothing *s, int fake)
{
    const reel_graph *g = s->q->graph;
    int v = g->node[fake].in[0], maker = s->q->of_node[fake] < 0 ? -1 : g->value[v].maker;
    if (maker < 0 || s->uses[v] != 1) return -1;
    const reel__gnode *n = &g->node[maker];
    bool can = n->op == &reel__layer_norm && is_own(s, n->in[GAMMA]) &&
               g->value[n->in[GAMMA]].meta.rank == 1 &&
               (n->in[BETA] < 0 || is_own(s, n->in[BETA]));
    return can ? maker : -1;
}

/* The weight of a linear layer, a state of its own that a quantizer reads; -1. */
static int weight_of(const smoothing *s, const reel__gnode *n)
{
    const reel_graph *g = s->q->graph;
    int maker = n->op == &reel__linear ? g->value[n->in[1]].maker : -1;
    if (maker < 0 || s->q->of_node[maker] < 0 || s->uses[n->in[1]] != 1) return -1;
    return is_own(s, g->node[maker].in[0]) ? g->node[maker].in[0] : -1;
}

/* max|w| of each column over all that read v, [k]; NULL: something else reads it, too. */
static reel_tensor *columns(const smoothing *s, int v)
{
    const reel_graph *g = s->q->graph;
    reel_tensor *most = NULL;
    int readers = 0;
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i].n_in < 1 || g->node[i].in[0] != v) continue;
        int w = weight_of(s, &g->node[i]);
        if (w < 0) return NULL;
        reel_tensor *m = reel_max(reel_abs(g->value[w].tensor), REEL_DIMS(0), false);
        most = most ? reel_maximum(most, m) : m;
        readers++;
    }
    return readers == s->uses[v] ? most : NULL;
}

/* Everything in f32; what norms give is looked at. */
static bool instead(void *user, int node, reel_tensor *const in[], reel_tensor *out[])
{
    smoothing *s = user;
    if (s->q->of_node[node] < 0) return false;
    out[0] = in[0];
    if (norm_of(s, node) < 0) return true;
    reel_shape dims = {.rank = 0};
    for (int d = 0; d + 1 < reel_rank(in[0]); d++) dims.dim[dims.rank++] = d;
    reel_tensor *most = reel_max(reel_abs(in[0]), dims, false), *was = s->most[node];
    s->most[node] = reel__hold(was ? reel_maximum(was, most) : most);
    reel__let_go(was);
    return true;
}

static reel_status look(void *user, reel_tensor *x)
{
    smoothing *s = user;
    const reel__stand_in stand_in = {instead, s};
    reel_tensor *y = NULL;
    return reel__graph_run_instead(s->q->graph, &x, 1, &y, 1, &stand_in);
}

static reel_tensor *factors(reel_tensor *x, reel_tensor *w, double alpha)
{
    reel_tensor *none = reel_zeros(REEL_SCALAR, REEL_F32), *one = reel_ones_like(x);
    reel_tensor *any = reel_gt(reel_minimum(x, w), none);
    x = reel_pow_scalar(reel_where(any, x, one), alpha);
    return reel_div(x, reel_pow_scalar(reel_where(any, w, one), 1 - alpha));
}

static void smooth(const smoothing *s, int fake, double alpha)
{
    const reel_graph *g = s->q->graph;
    const reel__gnode *norm = &g->node[norm_of(s, fake)];
    const int v = g->node[fake].out[0];
    reel_tensor *w = columns(s, v);
    reel_tensor *by = w ? factors(s->most[fake], w, alpha) : NULL;
    if (!by) return;
    reel_div_(g->value[norm->in[GAMMA]].tensor, by);
    if (norm->in[BETA] >= 0) reel_div_(g->value[norm->in[BETA]].tensor, by);
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].n_in > 0 && g->node[i].in[0] == v)
            reel_mul_(g->value[weight_of(s, &g->node[i])].tensor, by);
}

static void smooth_all(const smoothing *s, double alpha)
{
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; i < s->q->graph->n_node && !reel_failed(); i++) {
        reel_scope scope = reel_scope_begin();
        if (s->most[i]) smooth(s, i, alpha);
        reel_scope_end(scope);
    }
    (void)reel_set_grad_enabled(was);
}

reel_status reel_quantize_smooth(reel_module *m, reel_loader *loader,
                                 const reel_smooth_opts *opts)
{
    static const char who[] = "quantize_smooth";
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_smooth_opts *o = REEL__OPTS(who, reel_smooth_opts, opts);
    reel__quantized *q = o ? reel__quantized_of(who, m) : NULL;
    if (!q) return reel_error_status();
    double alpha = reel__option(o->alpha, 0.5);
    if (!(alpha >= 0 && alpha <= 1))
        return reel_fail(REEL_ERR_ARG, "%s: alpha %g, expected 0 to 1", who, alpha);
    const reel_calibrate_opts each = {
        .field = o->field, .batches = o->batches, .progress = o->progress};
    int n = q->graph->n_node;
    smoothing s = {.q = q, .uses = reel__graph_uses(q->graph)};
    s.most = s.uses ? reel__calloc((size_t)n + 1, sizeof(reel_tensor *)) : NULL;
    if (s.most && !reel__each_batch(who, "smooth", q, loader, &each, look, &s))
        smooth_all(&s, alpha);
    for (int i = 0; s.most && i < n; i++) reel__let_go(s.most[i]);
    reel__free(s.most);
    reel__free(s.uses);
    return reel_error_status();
}
