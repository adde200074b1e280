/* correct.c: biases that take back the mean of what quantizing changes. Source: Nagel et al. 2019,
 * arXiv:1906.04721, section 4.2, with means of data instead of those that batch norm promises. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
#include "ops/records.h"
#include "quantize/quantize.h"

enum { BETA = 5 };

typedef struct correction {
    reel__quantized *q;
    /* Of each node that is a layer, [k]: the mean of what it gives in f32, and how much it misses
     * of that in integers, summed over batches. */
    reel_tensor **mean, **missing;
    bool quantized; /* the run is the second one of a batch */
    int64_t batches;
} correction;

/* The bias of a layer, as state: its own, or that of the norm in it; NULL. */
static reel_tensor *bias_of(const correction *c, int node)
{
    const reel_graph *g = c->q->graph;
    const reel__gnode *n = &g->node[node];
    const reel__quantize_rule *r = reel__quantize_rule_of(n, c->q->target);
    int v = r && r->bias >= 0 ? n->in[r->bias] : -1;
    if (c->q->norm_of[node] >= 0) v = g->node[c->q->norm_of[node]].in[BETA];
    return v >= 0 && reel__is_state(&g->value[v]) ? g->value[v].tensor : NULL;
}

/* Channels are dimension 1 of a convolution, the last of a linear layer. */
static int channels_of(const reel__gnode *n, reel_tensor *y)
{
    return n->op == &reel__linear ? reel_rank(y) - 1 : 1;
}

static reel_tensor *mean_of(reel_tensor *y, int along)
{
    reel_shape dims = {.rank = 0};
    for (int d = 0; d < reel_rank(y); d++)
        if (d != along) dims.dim[dims.rank++] = d;
    return reel_mean(y, dims, false);
}

/* What y misses, [k], beside it. */
static reel_tensor *beside(reel_tensor *k, reel_tensor *y, int along)
{
    reel_shape s = {.rank = reel_rank(y)};
    for (int d = 0; d < s.rank; d++) s.dim[d] = d == along ? reel_numel(k) : 1;
    return reel_reshape(k, s);
}

static void keep(reel_tensor **to, reel_tensor *x)
{
    (void)reel__hold(x);
    reel__let_go(*to);
    *to = x;
}

/* Each batch begins with the biases as they were, so that all measure the same; layers behind
 * this one see it corrected. */
static reel_tensor *corrected(correction *c, int node, reel_tensor *y)
{
    int along = channels_of(&c->q->graph->node[node], y);
    reel_tensor *missing = reel_sub(c->mean[node], mean_of(y, along));
    reel_tensor *sum = c->missing[node];
    keep(&c->missing[node], sum ? reel_add(sum, missing) : missing);
    return reel_add(y, beside(missing, y, along));
}

static bool instead(void *user, int node, reel_tensor *const in[], reel_tensor *out[])
{
    correction *c = user;
    const reel__gnode *n = &c->q->graph->node[node];
    if (c->q->of_node[node] >= 0) {
        out[0] = c->quantized ? NULL : in[0];
        return !c->quantized;
    }
    if (!bias_of(c, node)) return false;
    out[0] = reel__apply1(n->op, n->attrs, n->n_in, in);
    if (out[0] && c->quantized)
        out[0] = corrected(c, node, out[0]);
    else if (out[0])
        keep(&c->mean[node], mean_of(out[0], channels_of(n, out[0])));
    return true;
}

static reel_status run_batch(void *user, reel_tensor *x)
{
    correction *c = user;
    const reel__stand_in stand_in = {instead, c};
    reel_tensor *y = NULL;
    c->batches++;
    for (int i = 0; i < 2 && !reel_failed(); i++) {
        c->quantized = i == 1;
        (void)reel__graph_run_instead(c->q->graph, &x, 1, &y, 1, &stand_in);
    }
    return reel_error_status();
}

static void move_biases(const correction *c)
{
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; i < c->q->graph->n_node && !reel_failed(); i++)
        if (c->missing[i])
            (void)reel_add_(bias_of(c, i),
                            reel_mul_scalar(c->missing[i], 1.0 / (double)c->batches));
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
}

reel_status reel_quantize_correct_biases(reel_module *m, reel_loader *loader,
                                         const reel_calibrate_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_calibrate_opts *o =
        REEL__OPTS("quantize_correct_biases", reel_calibrate_opts, opts);
    reel__quantized *q = o ? reel__quantized_of("quantize_correct_biases", m) : NULL;
    if (!q || reel__quantized_ready(q, "quantize_correct_biases"))
        return reel_error_status();
    size_t n = (size_t)q->graph->n_node;
    correction c = {.q = q};
    c.mean = reel__calloc(2 * n + 1, sizeof(reel_tensor *));
    c.missing = c.mean ? c.mean + n : NULL;
    if (c.mean && !reel__each_batch("quantize_correct_biases", "correct biases", q,
                                    loader, o, run_batch, &c))
        move_biases(&c);
    for (size_t i = 0; c.mean && i < 2 * n; i++) reel__let_go(c.mean[i]);
    reel__free(c.mean);
    return reel_error_status();
}
