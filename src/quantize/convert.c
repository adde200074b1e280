/* convert.c: what was faked becomes integers: of weights and biases now, of activations by nodes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ops/records.h"
#include "quantize/quantize.h"
#include "trace/passes/pass.h"

/* A bias in steps of its scale stays below this, so that the sum of products has room beside it
 * in 32 bits. */
#define MOST_BIAS 1073741824.0

typedef struct conversion {
    const reel__faked *q;
    reel_graph *g;       /* the copy that becomes the result */
    reel_tensor **fixed; /* of each value of it */
    double **scale;      /* of each quantizer: of each channel, as f32 holds it */
} conversion;

/* ---- scales ------------------------------------------------------------------------------------ */

static int64_t channels_of(const conversion *c, int quantizer)
{
    return reel_numel(c->q->quantizer[quantizer].scale);
}

static reel_status read_scales(conversion *c)
{
    for (int i = 0; i < c->q->n_quantizer; i++) {
        c->scale[i] = reel__calloc((size_t)channels_of(c, i) + 1, sizeof(double));
        if (!c->scale[i] || reel__peek(c->q->quantizer[i].scale, c->scale[i]))
            return reel_error_status();
    }
    return REEL_OK;
}

/* The quantizer whose node makes v, or what v is a copy of; -1. Numbers are those of the module's
 * graph, of which c->g is a copy. */
static int quantizer_of(const conversion *c, int v)
{
    const reel_graph *g = c->q->graph;
    int maker = v < 0 ? -1 : g->value[v].maker;
    while (maker >= 0 && g->node[maker].op == &reel__copy)
        maker = g->value[g->node[maker].in[0]].maker;
    return maker < 0 ? -1 : c->q->of_node[maker];
}

/* A layer with integers on both sides, and a bias. */
typedef struct layer {
    int node, bias; /* operand */
    int x, weight;  /* quantizers */
    int64_t n;      /* elements of the bias */
} layer;

static bool layer_at(const conversion *c, int node, layer *out)
{
    const reel__gnode *n = &c->q->graph->node[node];
    const reel__quantize_rule *r = reel__quantize_rule_of(n, c->q->target);
    if (!r || r->bias < 0 || n->in[r->bias] < 0 || !c->fixed[n->in[r->bias]])
        return false;
    *out = (layer){.node = node,
                   .bias = r->bias,
                   .x = quantizer_of(c, n->in[0]),
                   .weight = quantizer_of(c, n->in[r->weight]),
                   .n = reel_numel(c->fixed[n->in[r->bias]])};
    return out->x >= 0 && out->weight >= 0 && !c->q->quantizer[out->x].weight &&
           c->q->quantizer[out->weight].weight && channels_of(c, out->x) == 1 &&
           (channels_of(c, out->weight) == 1 || channels_of(c, out->weight) == out->n);
}

/* Where the weight's scale is the same for all channels. */
static double *scale_at(const conversion *c, const layer *l, int64_t k)
{
    return &c->scale[l->weight][channels_of(c, l->weight) == 1 ? 0 : k];
}

static reel_tensor *bias_of(const conversion *c, const layer *l)
{
    return c->fixed[c->q->graph->node[l->node].in[l->bias]];
}

/* So that the bias fits. */
static reel_status raise_scales(conversion *c, const layer *l)
{
    double *bias = reel__calloc((size_t)l->n + 1, sizeof *bias);
    if (!bias || reel__peek(bias_of(c, l), bias)) {
        reel__free(bias);
        return reel_error_status();
    }
    for (int64_t k = 0; k < l->n; k++) {
        double least = fabs(bias[k]) / (c->scale[l->x][0] * MOST_BIAS);
        if (*scale_at(c, l, k) < least) *scale_at(c, l, k) = (float)least;
    }
    reel__free(bias);
    return REEL_OK;
}

/* ---- values ------------------------------------------------------------------------------------ */

static int add_state(conversion *c, const char *name, const char *end, reel_tensor *t)
{
    char full[REEL__QUANTIZE_NAME + 16];
    (void)snprintf(full, sizeof full, "%s%s", name, end);
    return t ? reel__graph_add_value(c->g, REEL_VALUE_BUFFER, &t->meta, full, t) : -1;
}

static reel_tensor *tensor_of(const double *x, reel_shape shape)
{
    return reel_cast(reel_from(x, shape, REEL_F64), REEL_F32);
}

static int dequantized(conversion *c, int node, const int in[3])
{
    return reel__graph_emit1(c->g, node, &reel__dequantize, NULL, NULL, in, 3,
                             c->g->node[node].where);
}

/* Integers of state, and the node that reads them. `zero` has the shape of `scale`, as files
 * want it, and the dtype that the integers get. */
static int integers(conversion *c, int node, const char *name, reel_tensor *x,
                    reel_tensor *scale, reel_tensor *zero, double low, double high)
{
    const reel__scalar_attrs a = reel__scalars(low, high);
    reel_tensor *q = APPLY(&reel__quantize, &a, x, scale, zero);
    const int in[] = {add_state(c, name, "", q), add_state(c, name, "_scale", scale),
                      add_state(c, name, "_zero_point", zero)};
    return reel_failed() ? -1 : dequantized(c, node, in);
}

/* ---- nodes ------------------------------------------------------------------------------------- */

static reel_tensor *scale_of(const conversion *c, int quantizer)
{
    return tensor_of(c->scale[quantizer],
                     reel_shape_of(c->q->quantizer[quantizer].scale));
}

/* As the integers of the grid: bytes with a sign if it goes below 0. */
static reel_tensor *zero_of(const reel__quantizer *z)
{
    reel_tensor *zero = reel_clamp(reel_round(z->zero_point), z->grid.low, z->grid.high);
    return reel_cast(zero, z->grid.low < 0 ? REEL_I8 : REEL_U8);
}

static int convert_weight(conversion *c, int node, int quantizer)
{
    const reel__quantizer *z = &c->q->quantizer[quantizer];
    reel_tensor *w = c->fixed[c->q->graph->node[node].in[0]];
    reel_tensor *zero = reel_contiguous(reel_expand(zero_of(z), reel_shape_of(z->scale)));
    return integers(c, node, z->name, w, scale_of(c, quantizer), zero, z->grid.low,
                    z->grid.high);
}

/* Scale and zero point are made once for all nodes of a quantizer: state[2 quantizer ..]. */
static int convert_activation(conversion *c, int node, int quantizer, int *state)
{
    const reel__quantizer *z = &c->q->quantizer[quantizer];
    const reel__scalar_attrs a = reel__scalars(z->grid.low, z->grid.high);
    int *made = &state[2 * quantizer];
    if (made[0] < 0) {
        made[0] = add_state(c, z->name, "_scale", scale_of(c, quantizer));
        made[1] = add_state(c, z->name, "_zero_point", zero_of(z));
    }
    if (reel_failed()) return -1;
    int in[] = {c->g->node[node].in[0], made[0], made[1]};
    in[0] = reel__graph_emit1(c->g, node, &reel__quantize, &a, NULL, in, 3,
                              c->g->node[node].where);
    return in[0] < 0 ? -1 : dequantized(c, node, in);
}

static reel_status convert_fakes(conversion *c, int n_node)
{
    size_t n = 2 * (size_t)c->q->n_quantizer + 1;
    int *state = reel__malloc(n * sizeof *state);
    if (!state) return reel_error_status();
    for (size_t i = 0; i < n; i++) state[i] = -1;
    for (int i = 0; i < n_node && !reel_failed(); i++) {
        int quantizer = c->q->of_node[i];
        if (quantizer < 0) continue;
        int y = c->q->quantizer[quantizer].weight
                    ? convert_weight(c, i, quantizer)
                    : convert_activation(c, i, quantizer, state);
        if (y < 0) break;
        reel__graph_replace(c->g, c->g->node[i].out[0], y);
        reel__graph_remove(c->g, i);
    }
    reel__free(state);
    return reel_error_status();
}

/* The integers of a bias count products of the scales. */
static int integer_bias(conversion *c, const layer *l, const char *name)
{
    double *scale = reel__calloc((size_t)l->n + 1, sizeof *scale);
    if (!scale) return -1;
    for (int64_t k = 0; k < l->n; k++)
        scale[k] = (float)c->scale[l->x][0] * (float)*scale_at(c, l, k);
    reel_tensor *b = bias_of(c, l), *zero = reel_zeros(reel_shape_of(b), REEL_I32);
    int y = integers(c, l->node, name, b, tensor_of(scale, reel_shape_of(b)), zero,
                     -2147483520., 2147483520.);
    reel__free(scale);
    return y;
}

static reel_status convert_bias(conversion *c, const layer *l)
{
    char name[REEL__QUANTIZE_NAME];
    const char *where = c->g->node[l->node].where;
    (void)snprintf(name, sizeof name, "%s%sbias", where ? where : "", where ? "." : "");
    int y = c->q->profile->bias ? integer_bias(c, l, name)
                                : add_state(c, name, "", bias_of(c, l));
    if (y >= 0) c->g->node[l->node].in[l->bias] = y;
    return reel_error_status();
}

/* ---- the graph ---------------------------------------------------------------------------------- */

static reel_status convert(conversion *c)
{
    int n_node = c->g->n_node;
    layer l;
    for (int i = 0; i < n_node && c->q->profile->bias && !reel_failed(); i++)
        if (layer_at(c, i, &l)) (void)raise_scales(c, &l);
    for (int i = 0; i < n_node && !reel_failed(); i++)
        if (layer_at(c, i, &l)) (void)convert_bias(c, &l);
    if (reel_failed() || convert_fakes(c, n_node) || reel__graph_compact(c->g) ||
        reel__graph_infer(c->g) ||
        reel_graph_optimize(c->g, &(reel_optimize_opts){.only = "dce"}) ||
        reel_graph_name_state(c->g))
        return reel_error_status();
    return reel_graph_check(c->g);
}

/* A copy has the numbers of values and nodes of what it was made of. */
static reel_graph *converted(const reel__faked *q)
{
    conversion c = {.q = q, .g = reel__own_copy(q->graph)};
    c.scale = reel__calloc((size_t)q->n_quantizer + 1, sizeof(double *));
    bool good = c.g && c.scale && (c.fixed = reel__fixed_values(c.g)) &&
                !read_scales(&c) && !convert(&c);
    for (int i = 0; c.scale && i < q->n_quantizer; i++) reel__free(c.scale[i]);
    reel__free(c.scale);
    reel__free(c.fixed);
    if (good) return c.g;
    reel_graph_free(c.g);
    return NULL;
}

reel_graph *reel_quantize_convert(reel_module *m)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    reel__quantized *q = reel__quantized_of("quantize_convert", m);
    if (!q || reel__quantized_ready(q, "quantize_convert")) return NULL;
    const reel__faked f = {.graph = q->graph,
                           .quantizer = q->quantizer,
                           .n_quantizer = q->n_quantizer,
                           .of_node = q->of_node,
                           .profile = q->profile,
                           .target = q->target};
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_graph *g = converted(&f);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    return g;
}

reel_graph *reel_quantize_convert_graph(const reel_graph *g, reel_quantize_target target)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    reel__faked f = {.graph = g, .target = target};
    f.profile = reel__profile_of("quantize_convert_graph", target);
    if (!f.profile) return NULL;
    if (!g) {
        reel_fail(REEL_ERR_ARG, "quantize_convert_graph: the graph is NULL");
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_graph *out = reel__find_fakes(&f) ? NULL : converted(&f);
    reel__fakes_free(&f);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    return out;
}
