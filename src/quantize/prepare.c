/* prepare.c: a copy of a graph with fake_quantize nodes in their places, as a module. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
#include "nn/module.h"
#include "ops/records.h"
#include "quantize/quantize.h"
#include "trace/passes/pass.h"

/* ---- the copy ---------------------------------------------------------------------------------- */

/* Passes that make the graph plain: none that fuses, for what stands between two operators is
 * where a quantizer may have to stand. */
#define PLAIN "dce, fold, cse, identity, algebraic, reshape, recognize, fold_batch_norm"

static reel_status check_graph(const reel_graph *g)
{
    reel__effects e;
    char text[256];
    if (!g) return reel_fail(REEL_ERR_ARG, "quantize_prepare: the graph is NULL");
    if (!g->n_output)
        return reel_fail(REEL_ERR_ARG, "quantize_prepare: the graph has no outputs");
    if (!reel__find_effects(g, &e)) return reel_error_status();
    for (int v = 0; v < g->n_value && !reel_failed(); v++)
        if (reel__is_state(&g->value[v]) && !reel__never_changes(&e, v))
            reel_fail(REEL_ERR_STATE,
                      "quantize_prepare: the graph changes %s: trace the model in eval "
                      "mode, after reel_train(model, false)",
                      reel__value_text(g, v, text, sizeof text));
    reel__effects_free(&e);
    return reel_error_status();
}

static reel_graph *plain_copy(const reel_graph *g)
{
    reel_graph *copy = reel__own_copy(g);
    if (!copy) return NULL;
    if (!reel_graph_optimize(copy, &(reel_optimize_opts){.only = PLAIN})) return copy;
    reel_graph_free(copy);
    return NULL;
}

/* ---- nodes ------------------------------------------------------------------------------------- */

typedef struct insertion {
    reel_graph *g;
    const reel_quantize_opts *opts;
    const reel__profile *profile;
    const reel__quantize_places *places;
    int *scale, *zero; /* of each group: values */
} insertion;

/* Scales are [] or, of weight [k,c,3,3], [k,1,1,1]. */
static reel_shape scale_shape(const reel_graph *g, const reel__quantize_place *p)
{
    reel_shape s = {.rank = 0};
    if (p->axis < 0) return s;
    const reel__meta *m = &g->value[p->value].meta;
    for (s.rank = 0; s.rank < m->rank; s.rank++)
        s.dim[s.rank] = s.rank == p->axis ? m->dim[s.rank] : 1;
    return s;
}

/* Zeros under NAME and `end`: a scale of 0 is one that was not calibrated. */
static int add_state(insertion *in, const char *name, const char *end, reel_shape shape,
                     bool learned)
{
    char full[REEL__QUANTIZE_NAME + 16];
    (void)snprintf(full, sizeof full, "%s%s", name, end);
    reel_tensor *t = reel_zeros(shape, REEL_F32);
    return t ? reel__graph_add_value(in->g,
                                     learned ? REEL_VALUE_PARAM : REEL_VALUE_BUFFER,
                                     &t->meta, full, t)
             : -1;
}

/* What makes its values gives none beyond these. */
static reel__ends ends_of(const insertion *in, const reel__quantize_place *p)
{
    int maker = p->weight ? -1 : in->g->value[p->value].maker;
    return maker < 0 ? (reel__ends){-INFINITY, INFINITY}
                     : reel__activation_ends(&in->g->node[maker]);
}

/* A zero point that is 0 by the grid stays so, and one behind a relu at the grid's end: runtimes
 * fuse no other. */
static bool learns_zero(const insertion *in, const reel__quantize_place *p)
{
    return in->opts->learn_zero_points && !p->weight &&
           !in->profile->activation.symmetric && !(ends_of(in, p).low >= 0);
}

/* No step of the grid lies beyond what there is: runtimes would not leave the clamp to it. */
static double most_scale(const insertion *in, const reel__quantize_place *p)
{
    const reel_quantize_grid grid = in->profile->activation;
    reel__ends e = ends_of(in, p);
    if (!(e.low >= 0) || isinf(e.high) || e.high <= 0) return INFINITY;
    return (float)(e.high / (grid.symmetric ? grid.high : grid.high - grid.low));
}

static int add_node(insertion *in, const reel__quantize_place *p, int before)
{
    const reel_quantize_grid grid =
        p->weight ? in->profile->weight : in->profile->activation;
    const reel__scalar_attrs a = reel__scalars(grid.low, grid.high);
    const int operands[] = {p->value, in->scale[p->group], in->zero[p->group]};
    int maker = in->g->value[p->value].maker;
    const char *where = in->g->node[maker >= 0 && !p->weight ? maker : before].where;
    int y[1], node = reel__graph_emit(in->g, before, &reel__fake_quantize, &a, NULL,
                                      operands, 3, where, y);
    if (node < 0) return -1;
    if (p->all) {
        reel__graph_replace(in->g, p->value, y[0]);
        in->g->node[node].in[0] = p->value;
    }
    return y[0];
}

/* Where a place's node stands: before the first that reads it, or behind its maker. */
static int node_behind(const reel_graph *g, const reel__quantize_places *places, int at,
                       int n_node)
{
    int first = n_node;
    if (places->place[at].all) return g->value[places->place[at].value].maker + 1;
    for (int i = 0; i < places->n_reader; i++)
        if (places->reader[i].place == at && places->reader[i].node < first)
            first = places->reader[i].node;
    return first;
}

static reel_status insert(insertion *in)
{
    const reel__quantize_places *p = in->places;
    const int n_node = in->g->n_node;
    for (int i = 0; i < p->n_place; i++) {
        const reel__quantize_place *at = &p->place[i];
        if (at->name[0]) {
            in->scale[at->group] = add_state(
                in, at->name, "_scale", scale_shape(in->g, at), in->opts->learn_scales);
            in->zero[at->group] =
                add_state(in, at->name, "_zero_point", REEL_SCALAR, learns_zero(in, at));
        }
        if (reel_failed()) return reel_error_status();
        int before = node_behind(in->g, p, i, n_node);
        int y = add_node(in, at, before < n_node ? before : -1);
        if (y < 0) return reel_error_status();
        for (int k = 0; k < p->n_reader && !at->all; k++)
            if (p->reader[k].place == i)
                in->g->node[p->reader[k].node].in[p->reader[k].operand] = y;
    }
    return REEL_OK;
}

/* ---- the module --------------------------------------------------------------------------------- */

static const reel_observer_kind *kind_of(const reel_quantize_opts *o,
                                         const reel__quantizer *p, const void **opts)
{
    for (int i = 0; i < o->n_overrides; i++)
        if (reel__pattern_fits(o->overrides[i].names, p->name)) {
            *opts = o->overrides[i].kind_opts;
            return o->overrides[i].kind;
        }
    *opts = p->weight ? o->weight_opts : o->activation_opts;
    if (p->weight) return o->weights ? o->weights : reel_observer_min_max();
    return o->activations ? o->activations : reel_observer_moving_average();
}

static reel_module *observer_of(const reel__quantized *q, const reel_quantize_opts *o,
                                int quantizer)
{
    const reel__quantizer *z = &q->quantizer[quantizer];
    reel_observer_opts opts = {.grid = z->grid};
    const reel_observer_kind *kind = kind_of(o, z, &opts.kind_opts);
    if (z->axis >= 0) {
        opts.axis = z->axis;
        opts.channels = reel_numel(z->scale);
    }
    return reel_observer_new(kind, &opts);
}

/* "layer1.0.conv1.weight" -> "weight_observer" below "layer1.0.conv1" */
static reel_module *add_observer(reel_module *root, const char *name, reel_module *o)
{
    char full[REEL__QUANTIZE_NAME + 16];
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    (void)snprintf(full, sizeof full, "%s_observer", last);
    reel_module *m = reel__module_folder(root, name, dot ? (size_t)(dot - name) : 0);
    if (m) return reel_module_add(m, full, o);
    reel_module_free(o);
    return NULL;
}

static void set_quantizer(reel__quantizer *z, const insertion *in,
                          const reel__quantize_place *p)
{
    z->grid = p->weight ? in->profile->weight : in->profile->activation;
    z->scale = in->g->value[in->scale[p->group]].tensor;
    z->zero_point = in->g->value[in->zero[p->group]].tensor;
    z->axis = p->axis;
    z->weight = p->weight;
    z->learned = in->opts->learn_scales;
    z->most_scale = most_scale(in, p);
    z->name = reel__strdup(p->name);
}

static bool is_of(const reel__quantized *q, int v, int quantizer)
{
    int maker = v < 0 ? -1 : q->graph->value[v].maker;
    return maker >= 0 && q->of_node[maker] == quantizer;
}

/* Whether a value is made of values that the same quantizer has already seen. */
static bool is_passed_on(const reel__quantized *q, int v, int quantizer)
{
    int maker = q->graph->value[v].maker;
    const reel__gnode *n = maker < 0 ? NULL : &q->graph->node[maker];
    const reel__quantize_rule *r = n ? reel__quantize_rule_of(n, q->target) : NULL;
    bool any = false;
    for (int k = 0; r && r->role != REEL__COMPUTES && k < n->n_in; k++)
        any = any || is_of(q, n->in[k], quantizer);
    return any;
}

/* Which node is whose, by the tensor of its scale. */
static void find_nodes(reel__quantized *q)
{
    const reel_graph *g = q->graph;
    for (int i = 0; i < g->n_node; i++) {
        q->of_node[i] = -1;
        if (g->node[i].op != &reel__fake_quantize) continue;
        const reel_tensor *scale = g->value[g->node[i].in[1]].tensor;
        for (int k = 0; k < q->n_quantizer; k++)
            if (scale == q->quantizer[k].scale) q->of_node[i] = k;
        q->observed[i] = !is_passed_on(q, g->node[i].in[0], q->of_node[i]);
    }
}

/* The module around the graph with its nodes, which it takes over. */
static reel__quantized *around(reel_graph *g, const insertion *in,
                               const reel_quantize_opts *opts)
{
    reel__quantized *q = reel__quantized_new(g, in->places->n_group);
    if (!q) return NULL;
    q->profile = in->profile;
    q->target = opts->target;
    q->batch_statistics = q->may_use_batch = opts->batch_statistics;
    const reel__quantize_places *p = in->places;
    for (int i = 0; i < p->n_place; i++)
        if (p->place[i].name[0])
            set_quantizer(&q->quantizer[p->place[i].group], in, &p->place[i]);
    if (reel__graph_compact(g) || reel__graph_infer(g) || reel_graph_check(g) ||
        reel__quantized_find_room(q) || reel__module_hold_graph(&q->m, g))
        return q;
    find_nodes(q);
    reel__find_norms(q);
    if (reel__find_layers(q)) return q;
    for (int i = 0; i < p->n_place && !reel_failed(); i++)
        if (p->place[i].name[0])
            q->quantizer[p->place[i].group].observer = add_observer(
                &q->m, p->place[i].name, observer_of(q, opts, p->place[i].group));
    return q;
}

static bool knows_overrides(const reel_quantize_opts *o)
{
    if (o->n_overrides < 0 || (o->n_overrides > 0 && !o->overrides)) {
        reel_fail(REEL_ERR_ARG, "quantize_prepare: %d overrides, and overrides is %s",
                  o->n_overrides, o->overrides ? "there" : "NULL");
        return false;
    }
    for (int i = 0; i < o->n_overrides; i++) {
        if (!REEL__KNOWN("quantize_prepare", &o->overrides[i])) return false;
        if (o->overrides[i].names && o->overrides[i].kind) continue;
        reel_fail(REEL_ERR_ARG, "quantize_prepare: override %d has no %s", i,
                  o->overrides[i].names ? "kind" : "names");
        return false;
    }
    return true;
}

static reel_module *prepare(reel_graph *g, const reel_quantize_opts *opts,
                            const reel__profile *profile)
{
    reel__quantize_places places = {0};
    insertion in = {.g = g, .opts = opts, .profile = profile, .places = &places};
    reel__quantized *q = NULL;
    if (!reel__find_places(g, opts, profile, &places)) {
        in.scale = reel__calloc(2 * (size_t)places.n_group + 2, sizeof *in.scale);
        in.zero = in.scale ? in.scale + places.n_group : NULL;
    }
    if (in.scale && !insert(&in))
        q = around(g, &in, opts);
    else
        reel_graph_free(g);
    reel__free(in.scale);
    reel__places_free(&places);
    return q ? reel_module_done(&q->m) : NULL;
}

reel_module *reel_quantize_prepare(const reel_graph *g, const reel_quantize_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    const reel_quantize_opts *o =
        REEL__OPTS("quantize_prepare", reel_quantize_opts, opts);
    const reel__profile *profile =
        o ? reel__profile_of("quantize_prepare", o->target) : NULL;
    if (profile && o->learn_zero_points && !o->learn_scales)
        reel_fail(REEL_ERR_ARG, "quantize_prepare: learn_zero_points needs learn_scales: "
                                "a zero point counts steps of the scale");
    if (!profile || reel_failed() || !knows_overrides(o) || check_graph(g)) return NULL;
    reel_scope s = reel_scope_begin();
    reel_graph *copy = plain_copy(g);
    reel_module *m = NULL;
    if (copy && (!o->equalize || !reel__equalize(copy)))
        m = prepare(copy, o, profile);
    else
        reel_graph_free(copy);
    reel_scope_end(s);
    return m;
}
