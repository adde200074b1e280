/* lint.c: what in a graph of integers a target would not take, or would run in f32. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/decimal.h"
#include "base/error.h"
#include "ops/records.h"
#include "quantize/quantize.h"

typedef struct lint {
    const reel_graph *g;
    const reel__profile *profile;
    reel_quantize_target target;
    reel_tensor **fixed; /* of each value that is the same at each run */
    FILE *to;
} lint;

/* "conv2d of layer1.0.conv1: ..." */
static void find(const lint *l, int node, const char *format, ...) REEL_PRINTF(3, 4);
static void find(const lint *l, int node, const char *format, ...)
{
    char text[512];
    const reel__gnode *n = &l->g->node[node];
    va_list args;
    va_start(args, format);
    (void)reel__vsnprint(text, sizeof text, format, args);
    va_end(args);
    fprintf(l->to, "%s%s%s: %s\n", n->op->name, n->where ? " of " : "",
            n->where ? n->where : "", text);
}

/* ---- looking around ---------------------------------------------------------------------------- */

/* The node that makes v, or what v is a copy of; -1. */
static int maker_of(const lint *l, int v)
{
    int i = v < 0 ? -1 : l->g->value[v].maker;
    while (i >= 0 && l->g->node[i].op == &reel__copy)
        i = l->g->value[l->g->node[i].in[0]].maker;
    return i;
}

static bool made_by(const lint *l, int v, const reel__op *op)
{
    int i = maker_of(l, v);
    return i >= 0 && l->g->node[i].op == op;
}

static bool is_dequantized(const lint *l, int v)
{
    return made_by(l, v, &reel__dequantize);
}

static const reel__quantize_rule *rule_of(const lint *l, int node)
{
    return reel__quantize_rule_of(&l->g->node[node], l->target);
}

/* A node from `from` on that reads v; n_node: there are no more. */
static int reader_of(const lint *l, int v, int from)
{
    for (; from < l->g->n_node; from++)
        for (int k = 0; k < l->g->node[from].n_in; k++)
            if (l->g->node[from].in[k] == v) return from;
    return from;
}

static bool is_output(const lint *l, int v)
{
    bool is = false;
    for (int i = 0; i < l->g->n_output; i++) is = is || l->g->output[i] == v;
    return is;
}

/* v, or where one node reads it, an activation, what that makes of it. */
static int result_of(const lint *l, int v)
{
    for (int i; (i = reader_of(l, v, 0)) < l->g->n_node && !is_output(l, v);
         v = l->g->node[i].out[0]) {
        const reel__quantize_rule *r = rule_of(l, i);
        if (!r || r->role != REEL__ACTIVATES || reader_of(l, v, i + 1) < l->g->n_node)
            break;
    }
    return v;
}

static bool all_quantize(const lint *l, int v)
{
    bool all = !is_output(l, v);
    for (int i = 0; (i = reader_of(l, v, i)) < l->g->n_node; i++)
        all = all && l->g->node[i].op == &reel__quantize;
    return all;
}

/* ---- numbers ----------------------------------------------------------------------------------- */

typedef struct numbers {
    double *x; /* NULL: it is not the same at each run */
    int64_t n;
} numbers;

static numbers numbers_of(const lint *l, int v)
{
    numbers s = {NULL, 0};
    if (v < 0 || !l->fixed[v]) return s;
    s.n = reel_numel(l->fixed[v]);
    s.x = reel__calloc((size_t)s.n + 1, sizeof *s.x);
    if (!s.x || reel__peek(l->fixed[v], s.x)) s.n = 0;
    return s;
}

static bool all_are(const numbers *s, double x)
{
    bool all = true;
    for (int64_t i = 0; i < s->n; i++) all = all && s->x[i] == x;
    return all;
}

static bool same(const numbers *a, const numbers *b)
{
    bool is = a->n == b->n;
    for (int64_t i = 0; i < a->n && is; i++) is = a->x[i] == b->x[i];
    return is;
}

/* Whether two nodes of quantize or dequantize have one scale and zero point. */
static bool alike(const lint *l, int a, int b)
{
    bool is = true;
    for (int k = 1; k <= 2; k++) {
        numbers x = numbers_of(l, l->g->node[a].in[k]),
                y = numbers_of(l, l->g->node[b].in[k]);
        is = is && same(&x, &y);
        reel__free(x.x);
        reel__free(y.x);
    }
    return is;
}

/* ---- quantizers -------------------------------------------------------------------------------- */

static void check_scale(const lint *l, int node)
{
    numbers s = numbers_of(l, l->g->node[node].in[1]);
    if (!s.x) find(l, node, "its scale depends on data; files want a constant");
    for (int64_t i = 0; i < s.n; i++)
        if (!(s.x[i] > 0 && isfinite(s.x[i]))) {
            find(l, node, "its scale is %g, which is not above 0", s.x[i]);
            break;
        }
    reel__free(s.x);
}

/* The grid does what relu or relu6 did, if it ends where they do. */
static void check_ends(const lint *l, int node, reel__ends e, reel_dtype dtype,
                       double scale, double zero)
{
    const double low = dtype == REEL_I8 ? -128 : 0, high = low + 255;
    if (e.low == 0 && zero != low)
        find(l, node,
             "its zero point is %g behind a relu, which only the lowest integer "
             "does away with",
             zero);
    else if (scale * (high - zero) > e.high * (1 + 1e-6))
        find(l, node, "its scale of %g reaches beyond %g, where the clamp before it ends",
             scale, e.high);
}

static void check_activation(const lint *l, int node)
{
    const reel__gnode *n = &l->g->node[node];
    const reel__profile *p = l->profile;
    numbers zero = numbers_of(l, n->in[2]), scale = numbers_of(l, n->in[1]);
    reel_dtype dtype = l->g->value[n->in[2]].meta.dtype;
    int before = maker_of(l, n->in[0]);
    if (dtype != p->activation_dtype)
        find(l, node, "activations are %s; %s takes %s", reel_dtype_name(dtype), p->name,
             reel_dtype_name(p->activation_dtype));
    if (scale.n > 1) find(l, node, "an activation has %d scales", (int)scale.n);
    if (p->activation.symmetric && !all_are(&zero, 0))
        find(l, node, "its zero point is %g; %s takes 0", zero.x[0], p->name);
    if (!p->activation.symmetric && zero.n == 1 && scale.n == 1 && before >= 0)
        check_ends(l, node, reel__activation_ends(&l->g->node[before]), dtype, scale.x[0],
                   zero.x[0]);
    reel__free(zero.x);
    reel__free(scale.x);
}

/* ---- layers ------------------------------------------------------------------------------------ */

static void check_weight(const lint *l, int node, const reel__quantize_rule *r)
{
    const reel__gnode *n = &l->g->node[node];
    const reel__gnode *dq = &l->g->node[maker_of(l, n->in[r->weight])];
    const reel__meta *w = &l->g->value[n->in[r->weight]].meta;
    numbers scale = numbers_of(l, dq->in[1]), zero = numbers_of(l, dq->in[2]);
    reel_dtype dtype = l->g->value[dq->in[0]].meta.dtype;
    int64_t channels = w->dim[r->axis < 0 ? w->rank + r->axis : r->axis];
    if (dtype != l->profile->weight_dtype)
        find(l, node, "its weight is %s; %s takes %s", reel_dtype_name(dtype),
             l->profile->name, reel_dtype_name(l->profile->weight_dtype));
    if (!all_are(&zero, 0)) find(l, node, "its weight has a zero point other than 0");
    if (scale.x && scale.n != (l->profile->per_channel ? channels : 1))
        find(l, node, "its weight has %d scales for %d channels; %s takes one for %s",
             (int)scale.n, (int)channels, l->profile->name,
             l->profile->per_channel ? "each" : "all");
    reel__free(scale.x);
    reel__free(zero.x);
}

/* f32(s_x s_w) for each channel. */
static bool is_product(const numbers *s, const numbers *x, const numbers *w)
{
    bool is = x->n == 1 && (w->n == 1 || w->n == s->n);
    for (int64_t i = 0; i < s->n && is; i++) {
        double product = x->x[0] * w->x[w->n == 1 ? 0 : i];
        is = fabs(s->x[i] - product) <= 1e-6 * product;
    }
    return is;
}

static void check_bias(const lint *l, int node, const reel__quantize_rule *r)
{
    const reel__gnode *n = &l->g->node[node];
    bool integers = is_dequantized(l, n->in[r->bias]);
    if (integers != l->profile->bias)
        find(l, node, "its bias is %s; %s takes %s", integers ? "quantized" : "f32",
             l->profile->name, l->profile->bias ? "i32" : "f32");
    if (!integers || !l->profile->bias) return;
    const reel__gnode *b = &l->g->node[maker_of(l, n->in[r->bias])];
    numbers s = numbers_of(l, b->in[1]), zero = numbers_of(l, b->in[2]),
            x = numbers_of(l, l->g->node[maker_of(l, n->in[0])].in[1]),
            w = numbers_of(l, l->g->node[maker_of(l, n->in[r->weight])].in[1]);
    if (l->g->value[b->in[0]].meta.dtype != REEL_I32 || !all_are(&zero, 0))
        find(l, node, "its bias is not i32 with a zero point of 0");
    if (!is_product(&s, &x, &w))
        find(l, node,
             "the scale of its bias is not the product of those of input and "
             "weight");
    reel__free(s.x);
    reel__free(zero.x);
    reel__free(x.x);
    reel__free(w.x);
}

/* A relu behind the quantize of a result: what it cuts off took part in the range. */
static void check_between(const lint *l, int node)
{
    for (int q = 0; (q = reader_of(l, l->g->node[node].out[0], q)) < l->g->n_node; q++) {
        if (l->g->node[q].op != &reel__quantize) continue;
        int d = reader_of(l, l->g->node[q].out[0], 0);
        int a = d < l->g->n_node ? reader_of(l, l->g->node[d].out[0], 0) : l->g->n_node;
        const reel__quantize_rule *r = a < l->g->n_node ? rule_of(l, a) : NULL;
        if (r && r->role == REEL__ACTIVATES)
            find(l, node, "it is quantized before the %s behind it",
                 l->g->node[a].op->name);
    }
}

/* How many of the operands that the rule reads there are, and how many are dequantized. */
typedef struct operands {
    int all, quantized;
    bool weight; /* is one that data do not reach, and dequantized */
} operands;

static bool is_weight(const lint *l, const reel__quantize_rule *r, const reel__gnode *n)
{
    if (r->weight < 0 || !is_dequantized(l, n->in[r->weight])) return false;
    return reel__is_state(&l->g->value[l->g->node[maker_of(l, n->in[r->weight])].in[0]]);
}

static operands operands_of(const lint *l, const reel__quantize_rule *r,
                            const reel__gnode *n)
{
    operands o = {.weight = is_weight(l, r, n)};
    for (int k = 0; k < n->n_in; k++) {
        bool reads = r->role == REEL__JOINS || r->reads >> k & 1;
        if (!reads || (k == r->weight && o.weight)) continue;
        o.all++;
        o.quantized += is_dequantized(l, n->in[k]);
    }
    return o;
}

static void check_layer(const lint *l, int node, const reel__quantize_rule *r)
{
    const reel__gnode *n = &l->g->node[node];
    operands o = operands_of(l, r, n);
    /* One whose weight is f32, or all of whose inputs are, is meant to stay so. */
    bool must = r->weight >= 0 && !(r->reads >> r->weight & 1);
    if (must ? !o.weight : !o.quantized && !o.weight) return;
    if (o.quantized < o.all)
        find(l, node, "%d of its %d inputs are not quantized", o.all - o.quantized,
             o.all);
    if (o.weight) check_weight(l, node, r);
    if (o.weight && o.quantized == o.all && r->bias >= 0 && n->in[r->bias] >= 0)
        check_bias(l, node, r);
    if (l->profile->results && !all_quantize(l, result_of(l, n->out[0])))
        find(l, node, "its result is not quantized, so it runs in f32");
    if (r->role == REEL__COMPUTES) check_between(l, node);
}

static void check_pass(const lint *l, int node)
{
    const reel__gnode *n = &l->g->node[node];
    int q = reader_of(l, n->out[0], 0);
    if (is_dequantized(l, n->in[0]) && q < l->g->n_node &&
        l->g->node[q].op == &reel__quantize && !alike(l, maker_of(l, n->in[0]), q))
        find(l, node,
             "it only passes values on, and its result has another scale than "
             "its input");
}

/* ---- all nodes ----------------------------------------------------------------------------------- */

static void check_node(const lint *l, int node)
{
    const reel__op *op = l->g->node[node].op;
    const reel__quantize_rule *r = rule_of(l, node);
    if (op == &reel__batch_norm || op == &reel__fake_quantize)
        find(l, node,
             op == &reel__batch_norm
                 ? "it is not folded into the layer before it, which so runs in f32"
                 : "it fakes: reel_quantize_convert() first");
    if (op == &reel__quantize || op == &reel__dequantize) check_scale(l, node);
    if (op == &reel__quantize) check_activation(l, node);
    if (!r) return;
    if (r->role == REEL__COMPUTES || r->role == REEL__JOINS)
        check_layer(l, node, r);
    else if (r->role == REEL__PASSES)
        check_pass(l, node);
}

static char *findings(lint *l)
{
    char *text = NULL;
    size_t size = 0;
    if (!(l->fixed = reel__fixed_values(l->g))) return NULL;
    l->to = open_memstream(&text, &size);
    for (int i = 0; l->to && i < l->g->n_node; i++) check_node(l, i);
    reel__free(l->fixed);
    if (l->to && fclose(l->to) == 0 && !reel_failed()) return text;
    free(text);
    reel_fail(REEL_ERR_MEMORY, "quantize_lint: out of memory");
    return NULL;
}

char *reel_quantize_lint(const reel_graph *g, reel_quantize_target target)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    lint l = {.g = g, .target = target};
    if (!g) reel_fail(REEL_ERR_ARG, "quantize_lint: the graph is NULL");
    if (!g || !(l.profile = reel__profile_of("quantize_lint", target))) return NULL;
    reel_scope s = reel_scope_begin();
    char *text = findings(&l);
    reel_scope_end(s);
    return text;
}
