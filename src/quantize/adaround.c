/* adaround.c: whether a weight is rounded up or down is learned, layer by layer, so that what the
 * layer gives stays as near as can be to what it gave in f32. Each weight is floor(w / s) + h with
 * h = clip(1.2 sigmoid(v) - 0.1, 0, 1), which a second loss drives to 0 or 1. Source: Nagel et al.
 * 2020, arXiv:2004.10568. Losses here are parts of that of rounding to the nearest, so that one
 * weight of the second fits all layers. */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
#include <reel/optim.h>
#include <reel/progress.h>
#include "ops/records.h"
#include "quantize/quantize.h"

enum { STEPS = 1000, MOST_BATCHES = 4096 };
/* Of the paper: how far h is stretched, how the exponent of the second loss falls, the share of
 * steps before it begins. Strength and rate were measured: of layers of 48 x 48 and 16 x 48 weights of
 * four bits, 1000 steps leave a ninth and a seventh of the error of the nearest. */
#define STRETCH 0.1
#define FIRST_EXPONENT 20.0
#define LAST_EXPONENT 2.0
#define WARMUP 0.2
#define STRENGTH 10.0
#define RATE 3e-2

typedef struct rounding {
    reel__quantized *q;
    reel_graph *f32; /* as the module was before, with tensors of its own */
    int node, fake;  /* of the layer, of the quantizer of its weight */
    bool quantized;  /* the run is that of q->graph */
    /* Of each batch: what the layer reads in integers, what it gave in f32. */
    reel_tensor *x[MOST_BATCHES], *y[MOST_BATCHES];
    int n;
    reel_tensor *weight, *bias; /* as they come to the quantizer, to the layer */
} rounding;

static void keep(reel_tensor **to, reel_tensor *x)
{
    (void)reel__hold(x);
    reel__let_go(*to);
    *to = x;
}

/* ---- what the layer reads and gives --------------------------------------------------------------- */

static bool in_f32(rounding *r, int node, reel_tensor *const in[], reel_tensor *out[])
{
    const reel__gnode *n = &r->f32->node[node];
    if (r->q->of_node[node] >= 0) {
        out[0] = in[0];
        return true;
    }
    if (node != r->node) return false;
    out[0] = reel__apply1(n->op, n->attrs, n->n_in, in);
    keep(&r->y[r->n], out[0]);
    return true;
}

static bool instead(void *user, int node, reel_tensor *const in[], reel_tensor *out[])
{
    rounding *r = user;
    if (!r->quantized) return in_f32(r, node, in, out);
    if (node == r->fake) keep(&r->weight, in[0]);
    if (node != r->node) return false;
    keep(&r->x[r->n], in[0]);
    keep(&r->bias, r->q->graph->node[node].n_in > 2 ? in[2] : NULL);
    return false;
}

static reel_status collect_batch(void *user, reel_tensor *x)
{
    rounding *r = user;
    const reel__stand_in stand_in = {instead, r};
    reel_tensor *y = NULL;
    if (r->n == MOST_BATCHES)
        return reel_fail(REEL_ERR_ARG, "quantize_round: more than %d batches",
                         MOST_BATCHES);
    for (int i = 0; i < 2 && !reel_failed(); i++) {
        r->quantized = i == 1;
        (void)reel__graph_run_instead(i ? r->q->graph : r->f32, &x, 1, &y, 1, &stand_in);
    }
    r->n += !reel_failed();
    return reel_error_status();
}

static void forget(rounding *r)
{
    for (int i = 0; i < r->n; i++) {
        keep(&r->x[i], NULL);
        keep(&r->y[i], NULL);
    }
    keep(&r->weight, NULL);
    keep(&r->bias, NULL);
    r->n = 0;
}

/* ---- losses ---------------------------------------------------------------------------------------- */

static const reel__quantizer *quantizer_of(const rounding *r)
{
    return &r->q->quantizer[r->q->of_node[r->fake]];
}

/* Weights of whole numbers of steps. */
static reel_tensor *of_steps(const rounding *r, reel_tensor *steps)
{
    const reel__quantizer *z = quantizer_of(r);
    return reel_mul(reel_clamp(steps, z->grid.low, z->grid.high), z->scale);
}

static reel_tensor *floor_of(const rounding *r)
{
    return reel_floor(reel_div(r->weight, quantizer_of(r)->scale));
}

/* Mean square of what is off in batch i. */
static reel_tensor *off(const rounding *r, int i, reel_tensor *weight)
{
    const reel__gnode *n = &r->q->graph->node[r->node];
    reel_tensor *in[] = {r->x[i], weight, r->bias};
    reel_tensor *y = reel__apply1(n->op, n->attrs, n->n_in, in);
    return reel_mean(reel_square(reel_sub(y, r->y[i])), REEL_ALL, false);
}

static double off_in_all(const rounding *r, reel_tensor *weight)
{
    double sum = 0, one = 0;
    for (int i = 0; i < r->n; i++) {
        reel_scope s = reel_scope_begin();
        if (!reel__peek(off(r, i, weight), &one)) sum += one;
        reel_scope_end(s);
    }
    return sum / r->n;
}

/* h(v) */
static reel_tensor *share(reel_tensor *v)
{
    reel_tensor *h = reel_mul_scalar(reel_sigmoid(v), 1 + 2 * STRETCH);
    return reel_clamp(reel_add_scalar(h, -STRETCH), 0, 1);
}

/* h(v) is what rounding down leaves over. */
static reel_tensor *first_v(const rounding *r)
{
    reel_tensor *rest =
        reel_sub(reel_div(r->weight, quantizer_of(r)->scale), floor_of(r));
    reel_tensor *p =
        reel_mul_scalar(reel_add_scalar(rest, STRETCH), 1 / (1 + 2 * STRETCH));
    return reel_neg(reel_log(reel_add_scalar(reel_reciprocal(p), -1)));
}

/* Mean of 1 - |2 h - 1|^b: 0 where h is 0 or 1. */
static reel_tensor *undecided(reel_tensor *h, double exponent)
{
    reel_tensor *d = reel_abs(reel_add_scalar(reel_mul_scalar(h, 2), -1));
    d = reel_pow_scalar(reel_add_scalar(d, 1e-12), exponent);
    return reel_add_scalar(reel_neg(reel_mean(d, REEL_ALL, false)), 1);
}

/* ---- learning ---------------------------------------------------------------------------------------- */

static void step(const rounding *r, reel_optim *optim, reel_tensor *v, double nearest,
                 int64_t t, int64_t steps)
{
    double along = (double)t / (double)steps;
    reel_scope s = reel_scope_begin();
    reel_tensor *h = share(v);
    reel_tensor *loss = reel_mul_scalar(
        off(r, (int)(t % r->n), of_steps(r, reel_add(floor_of(r), h))), 1 / nearest);
    if (along >= WARMUP) {
        double left = 1 - (along - WARMUP) / (1 - WARMUP);
        double exponent = LAST_EXPONENT + (FIRST_EXPONENT - LAST_EXPONENT) * left;
        loss = reel_add(loss, reel_mul_scalar(undecided(h, exponent), STRENGTH));
    }
    if (!reel_backward(loss, NULL)) (void)reel_optim_step(optim);
    reel_optim_zero_grad(optim);
    reel_scope_end(s);
}

/* The weight, in steps, after learning; NULL if that is no better than the nearest. */
static reel_tensor *learn(const rounding *r, int64_t steps)
{
    const reel__quantizer *z = quantizer_of(r);
    double nearest =
        off_in_all(r, of_steps(r, reel_round(reel_div(r->weight, z->scale))));
    reel_tensor *v = reel_requires_grad(first_v(r), true);
    if (!v || !(nearest > 0)) return NULL;
    reel_optim *optim =
        reel_adam((reel_params){&v, NULL, 1}, &(reel_adam_opts){.lr = RATE});
    bool was = reel_set_grad_enabled(true);
    for (int64_t t = 0; t < steps && !reel_failed(); t++)
        step(r, optim, v, nearest, t, steps);
    (void)reel_set_grad_enabled(was);
    reel_optim_free(optim);
    reel_tensor *up =
        reel_gt(share(reel_detach(v)), reel_full(REEL_SCALAR, 0.5, REEL_F32));
    reel_tensor *w = of_steps(r, reel_add(floor_of(r), reel_cast(up, REEL_F32)));
    return w && off_in_all(r, w) < nearest ? w : NULL;
}

/* The state that becomes it: the weight itself, or where a norm is folded into it what gives it. */
static void put(const rounding *r, reel_tensor *weight)
{
    const reel_graph *g = r->q->graph;
    int v = g->node[r->fake].in[0], fold = r->q->norm_of[r->node];
    if (fold >= 0) {
        v = g->node[fold].in[2];
        reel_tensor *s = reel__norm_factor(r->q, fold);
        reel_shape shape = reel_shape_of(weight);
        for (int d = 1; d < shape.rank; d++) shape.dim[d] = 1;
        weight = reel_div(weight, reel_reshape(s, shape));
    }
    (void)reel_copy_(g->value[v].tensor, weight);
}

static bool can_round(const rounding *r)
{
    const reel_graph *g = r->q->graph;
    return r->q->norm_of[r->node] >= 0 ||
           reel__is_state(&g->value[g->node[r->fake].in[0]]);
}

/* The next layer with a weight of its own; false: there are no more. */
static bool next_layer(rounding *r)
{
    const reel_graph *g = r->q->graph;
    for (r->node++; r->node < g->n_node; r->node++) {
        const reel__gnode *n = &g->node[r->node];
        if (n->op != &reel__conv2d && n->op != &reel__linear) continue;
        r->fake = g->value[n->in[1]].maker;
        if (r->fake >= 0 && r->q->of_node[r->fake] >= 0 && can_round(r)) return true;
    }
    return false;
}

static void round_layer(rounding *r, int64_t steps)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *w = learn(r, steps);
    if (w && !reel_failed()) put(r, w);
    reel_scope_end(s);
}

static void round_all(rounding *r, reel_loader *loader, const reel_round_opts *o)
{
    const reel_calibrate_opts each = {.field = o->field, .batches = o->batches};
    int layers = 0;
    for (r->node = -1; next_layer(r);) layers++;
    reel_progress *line =
        reel_progress_new(o->progress, layers, &(reel_progress_opts){.label = "round"});
    for (r->node = -1; next_layer(r) && !reel_failed();) {
        if (!reel__each_batch("quantize_round", "round", r->q, loader, &each,
                              collect_batch, r))
            round_layer(r, o->steps ? o->steps : STEPS);
        forget(r);
        reel_progress_update(line, 1, NULL);
    }
    reel_progress_free(line);
}

reel_status reel_quantize_round(reel_module *m, reel_loader *loader,
                                const reel_round_opts *opts)
{
    static const char who[] = "quantize_round";
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_round_opts *o = REEL__OPTS(who, reel_round_opts, opts);
    reel__quantized *q = o ? reel__quantized_of(who, m) : NULL;
    if (!q || reel__quantized_ready(q, who)) return reel_error_status();
    if (o->steps < 0)
        return reel_fail(REEL_ERR_ARG, "%s: %lld steps", who, (long long)o->steps);
    rounding *r = reel__calloc(1, sizeof *r);
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    if (r) {
        r->q = q;
        r->f32 = reel__graph_copy(q->graph);
        if (r->f32 && !reel__own_tensors(r->f32)) round_all(r, loader, o);
        reel_graph_free(r->f32);
    }
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    reel__free(r);
    return reel_error_status();
}
