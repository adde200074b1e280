/* sensitivity.c: what each operator costs: the model runs in f32 but for one, again and again. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "ops/records.h"
#include "quantize/quantize.h"

/* ---- operators that read quantized values -------------------------------------------------------- */

static int quantizer_of(const reel__quantized *q, int v)
{
    int maker = v < 0 ? -1 : q->graph->value[v].maker;
    return maker < 0 ? -1 : q->of_node[maker];
}

static bool is_layer(const reel__quantized *q, int node)
{
    const reel__gnode *n = &q->graph->node[node];
    const reel__quantize_rule *r = reel__quantize_rule_of(n, q->target);
    bool any = false;
    if (!r || r->role != REEL__COMPUTES) return false;
    if (r->weight >= 0 && !(r->reads >> r->weight & 1)) /* one in f32 reads them, too */
        return quantizer_of(q, n->in[r->weight]) >= 0;
    for (int k = 0; k < n->n_in; k++) any = any || quantizer_of(q, n->in[k]) >= 0;
    return any;
}

reel_status reel__find_layers(reel__quantized *q)
{
    char name[REEL__QUANTIZE_NAME];
    q->layer = reel__calloc((size_t)q->graph->n_node + 1, sizeof *q->layer);
    if (!q->layer) return reel_error_status();
    for (int i = 0; i < q->graph->n_node; i++) {
        if (!is_layer(q, i)) continue;
        reel__node_name(&q->graph->node[i], name);
        reel__quantized_layer *l = &q->layer[q->n_layer];
        l->node = i;
        if (!(l->name = reel__strdup(name))) return reel_error_status();
        q->n_layer++;
    }
    return REEL_OK;
}

int reel_quantize_layers(reel_module *m)
{
    REEL__CALLED;
    reel__quantized *q = m ? reel__quantized_of("quantize_layers", m) : NULL;
    return q ? q->n_layer : 0;
}

/* ---- one at a time ------------------------------------------------------------------------------- */

typedef struct trial {
    reel__quantized *q;
    bool *fakes;   /* of each quantizer: it does in this run */
    double *noise; /* of each layer: square of what its run changes ... */
    double signal; /* ... and of the results themselves */
} trial;

/* A node runs as it is where its quantizer is one of these; else the value passes. */
static bool instead(void *user, int node, reel_tensor *const in[], reel_tensor *out[])
{
    const trial *t = user;
    int at = t->q->of_node[node];
    if (at < 0 || t->fakes[at]) return false;
    out[0] = in[0];
    return true;
}

/* The quantizers of what a layer reads; -1: none. */
static void choose(const trial *t, int node)
{
    const reel_graph *g = t->q->graph;
    for (int i = 0; i < t->q->n_quantizer; i++) t->fakes[i] = false;
    for (int k = 0; node >= 0 && k < g->node[node].n_in; k++) {
        int at = quantizer_of(t->q, g->node[node].in[k]);
        if (at >= 0) t->fakes[at] = true;
    }
}

static reel_tensor *run(const trial *t, int node, reel_tensor *x)
{
    const reel__stand_in stand_in = {instead, (void *)(uintptr_t)t};
    reel_tensor *y = NULL;
    choose(t, node);
    (void)reel__graph_run_instead(t->q->graph, &x, 1, &y, 1, &stand_in);
    return y;
}

static double square_of(reel_tensor *x)
{
    double sum = 0;
    if (x)
        (void)reel__peek(reel_sum(reel_square(reel_cast(x, REEL_F64)), REEL_ALL, false),
                         &sum);
    return sum;
}

static reel_status run_batch(void *user, reel_tensor *x)
{
    trial *t = user;
    reel_tensor *y = run(t, -1, x);
    t->signal += square_of(y);
    for (int i = 0; i < t->q->n_layer && !reel_failed(); i++) {
        reel_scope s = reel_scope_begin();
        t->noise[i] += square_of(reel_sub(run(t, t->q->layer[i].node, x), y));
        reel_scope_end(s);
    }
    return reel_error_status();
}

static double decibels(double signal, double noise)
{
    return noise > 0 ? 10 * log10(signal / noise) : INFINITY;
}

reel_status reel_quantize_sensitivity(reel_module *m, reel_loader *loader,
                                      const reel_calibrate_opts *opts,
                                      reel_layer_noise *out, int n)
{
    static const char who[] = "quantize_sensitivity";
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_calibrate_opts *o = REEL__OPTS(who, reel_calibrate_opts, opts);
    reel__quantized *q = o ? reel__quantized_of(who, m) : NULL;
    if (!q || reel__quantized_ready(q, who)) return reel_error_status();
    if (!out || n != q->n_layer)
        return reel_fail(REEL_ERR_ARG, "%s: room for %d layers%s; there are %d", who, n,
                         out ? "" : ", which is NULL", q->n_layer);
    trial t = {.q = q};
    t.fakes = reel__calloc((size_t)q->n_quantizer + 1, sizeof *t.fakes);
    t.noise = reel__calloc((size_t)n + 1, sizeof *t.noise);
    if (t.fakes && t.noise)
        (void)reel__each_batch(who, "sensitivity", q, loader, o, run_batch, &t);
    for (int i = 0; i < n && !reel_failed(); i++)
        out[i] = (reel_layer_noise){.name = q->layer[i].name,
                                    .snr = decibels(t.signal, t.noise[i])};
    reel__free(t.fakes);
    reel__free(t.noise);
    return reel_error_status();
}
