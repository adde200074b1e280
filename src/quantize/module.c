/* module.c: the prepared module: its graph, in which the fake_quantize nodes do more than they
 * say: they observe, and while it is calibrated they let values through as they are. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/watched.h"
#include "ops/records.h"
#include "quantize/quantize.h"

/* ---- a node ------------------------------------------------------------------------------------ */

static reel_status check_values(const reel__quantizer *z, reel_tensor *x)
{
    reel_tensor *all = reel_all(reel_isfinite(x), REEL_ALL, false);
    double finite = 0;
    if (!reel__peek(all, &finite) && finite == 0)
        reel_fail(
            REEL_ERR_NUMERIC,
            "quantize_observe: %s has values that are not finite; a range of them is "
            "none. Look for NaN in the data",
            z->name);
    return reel_error_status();
}

/* A weight has the range that it has now, not one of all that it was. */
static reel_status observe(reel__quantizer *z, reel_tensor *x)
{
    if (z->weight) (void)reel_observer_reset(z->observer);
    z->seen = true;
    return reel_forward(z->observer, x) ? REEL_OK : reel_error_status();
}

/* While calibrating; a weight does not change meanwhile. */
static reel_status calibrate(reel__quantizer *z, reel_tensor *x)
{
    if (z->weight && z->seen) return REEL_OK;
    return check_values(z, x) ? reel_error_status() : observe(z, x);
}

static reel_tensor *as_scale(const reel__quantizer *z, reel_tensor *x)
{
    return reel_reshape(x, reel_shape_of(z->scale));
}

/* What the observer says becomes the state. */
static reel_status take_range(reel__quantizer *z, const reel_observed *seen)
{
    reel_copy_(z->scale, as_scale(z, seen->scale));
    reel_copy_(z->zero_point, z->weight ? reel_zeros(REEL_SCALAR, REEL_F32)
                                        : reel_reshape(seen->zero_point, REEL_SCALAR));
    return reel_error_status();
}

/* A step of training: observed first, then faked by what is known then. The node reads numbers
 * that no later step changes, for its gradient. */
static reel_tensor *train(reel__quantized *q, int node, reel_tensor *const in[])
{
    reel__quantizer *z = &q->quantizer[q->of_node[node]];
    const reel__gnode *n = &q->graph->node[node];
    reel_observed seen;
    bool was = reel_set_grad_enabled(false);
    if (q->observed[node] && !observe(z, in[0]) &&
        !reel__observer_range(z->observer, &seen))
        (void)take_range(z, &seen);
    reel_tensor *scale = reel_copy(z->scale), *zero = reel_copy(z->zero_point);
    (void)reel_set_grad_enabled(was);
    return reel_failed() ? NULL : APPLY(n->op, n->attrs, in[0], scale, zero);
}

/* While calibrating values pass as they are. */
static reel_tensor *let_through(reel__quantized *q, int node, reel_tensor *x)
{
    bool was = reel_set_grad_enabled(false);
    if (q->observed[node]) (void)calibrate(&q->quantizer[q->of_node[node]], x);
    (void)reel_set_grad_enabled(was);
    return reel_failed() ? NULL : x;
}

static bool instead(void *user, int node, reel_tensor *const in[], reel_tensor *out[])
{
    reel__quantized *q = user;
    int at = q->of_node[node];
    bool trains = q->m.training && !q->observing;
    if (at < 0) return trains && reel__run_norm(q, node, in, out);
    if (q->observing)
        out[0] = let_through(q, node, in[0]);
    else if (trains && q->quantizer[at].learned)
        out[0] = reel__learned_fake(q, node, in);
    else if (trains && !q->frozen)
        out[0] = train(q, node, in);
    else
        return false;
    return true;
}

/* ---- the module -------------------------------------------------------------------------------- */

static reel_status forward_n(reel_module *self, reel_tensor *const x[], int n_x,
                             reel_tensor *y[], int n_y)
{
    reel__quantized *q = (reel__quantized *)self;
    const reel__stand_in stand_in = {instead, q};
    reel__watched_used(q->watched);
    bool learned = q->n_quantizer > 0 && q->quantizer[0].learned;
    bool by_state = !q->observing && (!self->training || q->frozen || learned);
    if (by_state && reel__quantized_ready(q, "quantize")) return reel_error_status();
    return reel__graph_run_instead(q->graph, x, n_x, y, n_y, &stand_in);
}

static reel_tensor *forward(reel_module *self, reel_tensor *x)
{
    reel_tensor *y = NULL;
    return forward_n(self, &x, 1, &y, 1) ? NULL : y;
}

static void destroy(reel_module *self)
{
    reel__quantized *q = (reel__quantized *)self;
    for (int i = 0; i < q->n_quantizer; i++) reel__free(q->quantizer[i].name);
    for (int i = 0; i < q->n_layer; i++) reel__free(q->layer[i].name);
    reel__free(q->quantizer);
    reel__free(q->layer);
    reel__free(q->of_node);
    reel__free(q->observed);
    reel__free(q->norm_of);
    reel__watched_free(q->watched);
    reel_graph_free(q->graph);
}

/* What decides, beside the mode, which operators run. */
static uint64_t says(const void *object)
{
    const reel__quantized *q = object;
    const bool flags[] = {q->observing, q->frozen, q->batch_statistics};
    return reel__says_mix(0, flags, sizeof flags);
}

reel__quantized *reel__quantized_new(reel_graph *g, int n_quantizer)
{
    bool one = g->n_input == 1 && g->n_output == 1;
    reel__quantized *q = reel_module_new(sizeof *q, "quantized", one ? forward : NULL);
    if (!q) {
        reel_graph_free(g);
        return NULL;
    }
    q->m.forward_n = forward_n;
    q->m.destroy = destroy;
    q->graph = g;
    q->quantizer = reel__calloc((size_t)n_quantizer + 1, sizeof *q->quantizer);
    q->watched = reel__watched_new(q, says);
    if (q->quantizer) q->n_quantizer = n_quantizer;
    if (q->quantizer && q->watched) return q;
    reel_module_free(&q->m);
    return NULL;
}

reel_status reel__quantized_find_room(reel__quantized *q)
{
    size_t n = (size_t)q->graph->n_node + 1;
    q->of_node = reel__calloc(n, sizeof *q->of_node);
    q->observed = q->of_node ? reel__calloc(n, sizeof *q->observed) : NULL;
    q->norm_of = q->observed ? reel__calloc(n, sizeof *q->norm_of) : NULL;
    return q->norm_of ? REEL_OK : reel_error_status();
}

reel__quantized *reel__quantized_of(const char *who, reel_module *m)
{
    if (m && m->destroy == destroy) return (reel__quantized *)m;
    reel_fail(REEL_ERR_ARG, "%s: %s%s; reel_quantize_prepare() makes one", who,
              m ? "a module that was not prepared: " : "the module is NULL",
              m ? m->type : "");
    return NULL;
}

/* Differs once any scale was written: by training, by a load. */
static uint64_t scales_now(const reel__quantized *q)
{
    uint64_t all = 1;
    for (int i = 0; i < q->n_quantizer; i++) {
        const reel__storage *s = q->quantizer[i].scale->storage;
        const struct {
            const void *memory;
            uint64_t version;
        } is = {s, s->version};
        all = reel__says_mix(all, &is, sizeof is);
    }
    return all ? all : 1;
}

reel_status reel__quantized_ready(reel__quantized *q, const char *who)
{
    const uint64_t now = scales_now(q);
    if (q->ready && q->m.training && q->n_quantizer && q->quantizer[0].learned)
        return REEL_OK; /* each node sees to its scale */
    for (int i = 0; i < q->n_quantizer && q->ready != now; i++) {
        const reel__quantizer *z = &q->quantizer[i];
        double smallest = 0;
        bool was = reel_set_grad_enabled(false);
        reel_scope s = reel_scope_begin();
        reel_status st = reel__peek_smallest(z->scale, &smallest);
        reel_scope_end(s);
        (void)reel_set_grad_enabled(was);
        if (st) return st;
        if (z->learned && q->ready && smallest < 0) st = reel__learned_settle(z);
        if (st) return st;
        if (smallest == 0 || isnan(smallest) || (smallest < 0 && !z->learned))
            return reel_fail(REEL_ERR_STATE,
                             "%s: %s has a scale of %g: it was not calibrated. "
                             "reel_quantize_calibrate() first, or train",
                             who, z->name, smallest);
    }
    q->ready = scales_now(q);
    return REEL_OK;
}

/* ---- its settings -------------------------------------------------------------------------------- */

static reel_status settle(reel__quantized *q)
{
    for (int i = 0; i < q->n_quantizer; i++) {
        reel__quantizer *z = &q->quantizer[i];
        reel_observed seen;
        if (reel__observer_range(z->observer, &seen)) return reel_error_status();
        if (!reel__has_seen(&seen))
            return reel_failed() ? reel_error_status()
                                 : reel_fail(REEL_ERR_STATE,
                                             "quantize_observe: %s was not seen: run the "
                                             "module over data while it observes",
                                             z->name);
        if (take_range(z, &seen)) return reel_error_status();
    }
    return REEL_OK;
}

reel_status reel_quantize_observe(reel_module *m, bool on)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    reel__quantized *q = reel__quantized_of("quantize_observe", m);
    if (!q) return reel_error_status();
    bool was_on = q->observing;
    q->observing = on;
    for (int i = 0; i < q->n_quantizer && on; i++) {
        q->quantizer[i].seen = false;
        if (reel_observer_reset(q->quantizer[i].observer)) return reel_error_status();
    }
    if (on || !was_on) return REEL_OK;
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_status st = settle(q);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    return st;
}

reel_status reel_quantize_freeze_observers(reel_module *m, bool on)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    reel__quantized *q = reel__quantized_of("quantize_freeze_observers", m);
    if (q) q->frozen = on;
    return reel_error_status();
}

reel_status reel_quantize_freeze_statistics(reel_module *m, bool on)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    reel__quantized *q = reel__quantized_of("quantize_freeze_statistics", m);
    if (q) q->batch_statistics = q->may_use_batch && !on;
    return reel_error_status();
}

int reel_quantize_count(reel_module *m)
{
    REEL__CALLED;
    reel__quantized *q = m ? reel__quantized_of("quantize_count", m) : NULL;
    return q ? q->n_quantizer : 0;
}

reel_status reel_quantize_at(reel_module *m, int i, reel_quantizer *out)
{
    REEL__CALLED;
    reel__quantized *q = reel__quantized_of("quantize_at", m);
    if (!q) return reel_error_status();
    if (!out || i < 0 || i >= q->n_quantizer)
        return reel_fail(REEL_ERR_ARG, "quantize_at: %s; there are %d",
                         out ? "there is no quantizer of this number" : "out is NULL",
                         q->n_quantizer);
    const reel__quantizer *z = &q->quantizer[i];
    *out = (reel_quantizer){.name = z->name,
                            .scale = z->scale,
                            .zero_point = z->zero_point,
                            .grid = z->grid,
                            .weight = z->weight,
                            .axis = z->axis,
                            .observer = z->observer};
    return REEL_OK;
}
