/* lower_int8.c: what stands between dequantize and quantize is computed in integers. A linear
 * layer or convolution of dequantized operands becomes a record of ops/int8.c, with the
 * activation behind it and the quantize of its result, or with a float result where there is none.
 *
 * So that they meet, a dequantize moves down through views of its result, and a quantize up
 * through views of what it reads: these only say which element is where. */
#include <string.h>

#include "ops/records.h"
#include "trace/passes/match.h"

/* ---- views pass ------------------------------------------------------------------------- */

/* One number, of any rank, at every batch size. */
static bool is_number(const reel_graph *g, int v)
{
    const reel__value *x = &g->value[v];
    bool grows = false;
    for (int d = 0; d < x->meta.rank; d++) grows = grows || x->grow[d];
    return !grows && reel__numel(&x->meta) == 1;
}

/* Node `view` again, of v instead: a view, or a copy in another memory order. -1: that cannot be
 * (a copy that casts), or an error. */
static int view_of(reel_graph *g, const reel__match *m, int view, int v)
{
    const reel__gnode n = g->node[view]; /* its blocks stay where they are */
    if (n.op != &reel__copy) return reel__emit_like(g, m->root, view, &v);
    reel__cast_attrs a = *(const reel__cast_attrs *)n.attrs;
    if (a.dtype != (int64_t)g->value[n.in[0]].meta.dtype) return -1;
    a.dtype = (int64_t)g->value[v].meta.dtype;
    return reel__graph_emit1(g, m->root, n.op, &a, NULL, &v, 1, n.where);
}

/* The parameter `v` of x as that of view(x): a number is itself; turned as x is. -1: it cannot
 * be said, or an error. */
static int parameter_of_view(reel_graph *g, const reel__match *m, int v, int view)
{
    if (g->value[v].meta.rank == 0) return v;
    const bool turns = g->node[view].op == &reel__permute;
    if (!turns || g->value[v].meta.rank != g->value[reel__bound(m, "x")].meta.rank)
        return -1;
    return view_of(g, m, view, v);
}

/* view(dequantize(x, s, z)) = dequantize(view(x), s, z) */
static int dequantize_later(reel_graph *g, const reel__match *m)
{
    int in[3];
    const char *where = g->node[reel__bound_node(g, m, "d")].where;
    in[1] = parameter_of_view(g, m, reel__bound(m, "s"), m->root);
    in[2] = in[1] < 0 ? -1 : parameter_of_view(g, m, reel__bound(m, "z"), m->root);
    in[0] = in[2] < 0 ? -1 : view_of(g, m, m->root, reel__bound(m, "x"));
    if (in[0] < 0) return -1;
    return reel__graph_emit1(g, m->root, &reel__dequantize, NULL, NULL, in, 3, where);
}

/* quantize(view(x), s, z) = view(quantize(x, s, z)) */
static int quantize_earlier(reel_graph *g, const reel__match *m)
{
    int in[3] = {reel__bound(m, "x"), reel__bound(m, "s"), reel__bound(m, "z")};
    if (g->value[in[1]].meta.rank || g->value[in[2]].meta.rank) return -1;
    int y = reel__emit_like(g, m->root, m->root, in);
    return y < 0 ? -1 : view_of(g, m, reel__bound_node(g, m, "v"), y);
}

/* f(view(x)) = view(f(x)), where f is an activation that a record can take in. */
static int activate_earlier(reel_graph *g, const reel__match *m)
{
    int y = reel__bound(m, "c");
    y = reel__emit_like(g, m->root, m->root, &y);
    return y < 0 ? -1 : reel__emit_like(g, m->root, reel__bound_node(g, m, "v"), &y);
}

#define LATER(view) REWRITE_BY(view "(dequantize!(x, s, z) as d)", dequantize_later)
#define EARLIER(view) REWRITE_BY("quantize(" view "(x) as v, s, z)", quantize_earlier)
#define LAYER "linear(dequantize!(x, s, z), dequantize!(w, t, u), b?) as c"
#define ACTIVATED(f) REWRITE_BY(f "(reshape(" LAYER ") as v)", activate_earlier)

static const reel__rule views[] = {
    LATER("reshape"),   LATER("permute"),   LATER("slice"),     LATER("copy"),
    EARLIER("copy"),    EARLIER("reshape"), EARLIER("permute"), ACTIVATED("relu"),
    ACTIVATED("relu6"), ACTIVATED("clamp"),
};

/* ---- operands of the records --------------------------------------------------------------- */

static bool is_byte(const reel_graph *g, int v)
{
    reel_dtype dtype = g->value[v].meta.dtype;
    return dtype == REEL_U8 || dtype == REEL_I8;
}

/* v, a number of any rank, as []; v itself if it is none. -1 with an error. */
static int scalar(reel_graph *g, int before, int v)
{
    static const reel__shape_attrs none = {.rank = 0};
    if (!is_number(g, v) || g->value[v].meta.rank == 0) return v;
    return reel__graph_emit1(g, before, &reel__reshape, &none, NULL, &v, 1, NULL);
}

/* Whether v, of the weight, is one number, or one for each row. */
static bool is_by_row(const reel_graph *g, int v, int w)
{
    const reel__meta *m = &g->value[v].meta, *wm = &g->value[w].meta;
    return is_number(g, v) || (m->rank == wm->rank && m->dim[0] == wm->dim[0] &&
                               reel__numel(m) == wm->dim[0]);
}

static bool has_float_scale(const reel_graph *g, const reel__match *m, const char *name)
{
    return g->value[reel__bound(m, name)].meta.dtype == REEL_F32;
}

/* Bytes, with parameters that the records take. */
static bool operands_fit(const reel_graph *g, const reel__match *m, int w, int t, int u)
{
    const int b = reel__bound(m, "b");
    return is_byte(g, reel__bound(m, "x")) && is_byte(g, w) &&
           is_number(g, reel__bound(m, "s")) && is_number(g, reel__bound(m, "z")) &&
           is_by_row(g, t, w) && is_by_row(g, u, w) && has_float_scale(g, m, "s") &&
           has_float_scale(g, m, "t") && (b < 0 || g->value[b].meta.dtype == REEL_F32);
}

/* The quantize at the end has one grid, whole: with bounds inside it, it says more. */
static bool result_fits(const reel_graph *g, const reel__match *m)
{
    const int p = reel__bound(m, "p"), q = reel__bound(m, "q");
    if (p < 0) return true; /* a float result */
    const reel__scalar_attrs *a = g->node[m->root].attrs;
    const double least = g->value[q].meta.dtype == REEL_U8 ? 0 : -128;
    return is_byte(g, q) && is_number(g, p) && is_number(g, q) &&
           reel__number_f64(a->a[0]) == least && reel__number_f64(a->a[1]) == least + 255;
}

/* The activation of the match as attributes of a record; false: it takes none such. */
static bool activation(const reel_graph *g, const reel__match *m, int64_t *act,
                       reel__number a[2])
{
    const int u = reel__bound(m, "a");
    *act = K_NONE;
    a[0] = a[1] = reel__whole(0);
    if (u < 0) return true;
    const reel__gnode *n = &g->node[g->value[u].maker];
    const reel__scalar_attrs *s = n->op->attrs ? n->attrs : NULL;
    *act = n->op->kernel;
    for (int i = 0; i < 2 && s; i++) a[i] = s->a[i];
    return !n->per_batch && (*act == K_RELU || *act == K_RELU6 || *act == K_CLAMP);
}

/* The record with the operands of the match, w with its scale t and zero point u. */
static int emit(reel_graph *g, const reel__match *m, const reel__op *op,
                const void *attrs, int w, int t, int u)
{
    int in[REEL_INT8_INS] = {
        [REEL_INT8_X] = reel__bound(m, "x"),
        [REEL_INT8_W] = w,
        [REEL_INT8_BIAS] = reel__bound(m, "b"),
        [REEL_INT8_Y_SCALE] = reel__bound(m, "p"),
        [REEL_INT8_Y_ZERO] = reel__bound(m, "q"),
        [REEL_INT8_X_SCALE] = reel__bound(m, "s"),
        [REEL_INT8_W_SCALE] = t,
        [REEL_INT8_X_ZERO] = reel__bound(m, "z"),
        [REEL_INT8_W_ZERO] = u,
    };
    for (int i = REEL_INT8_Y_SCALE; i < REEL_INT8_INS; i++)
        if (in[i] >= 0 && (in[i] = scalar(g, m->root, in[i])) < 0) return -1;
    const char *where = g->node[reel__bound_node(g, m, "c")].where;
    return reel__graph_emit1(g, m->root, op, attrs, NULL, in, REEL_INT8_INS, where);
}

/* ---- the records ------------------------------------------------------------------------------ */

static int conv(reel_graph *g, const reel__match *m)
{
    const reel__gnode *c = &g->node[reel__bound_node(g, m, "c")];
    const int w = reel__bound(m, "w"), t = reel__bound(m, "t"), u = reel__bound(m, "u");
    reel__conv2d_int8_attrs a = {.conv = *(const reel__conv2d_attrs *)c->attrs};
    if (c->per_batch || !operands_fit(g, m, w, t, u) || !result_fits(g, m) ||
        !activation(g, m, &a.act, a.a))
        return -1;
    return emit(g, m, &reel__conv2d_int8, &a, w, t, u);
}

static int linear_of(reel_graph *g, const reel__match *m, int w, int t, int u)
{
    reel__linear_int8_attrs a;
    if (!operands_fit(g, m, w, t, u) || !result_fits(g, m) ||
        !activation(g, m, &a.act, a.a))
        return -1;
    return emit(g, m, &reel__linear_int8, &a, w, t, u);
}

static int linear(reel_graph *g, const reel__match *m)
{
    return linear_of(g, m, reel__bound(m, "w"), reel__bound(m, "t"), reel__bound(m, "u"));
}

/* v [k, n], or a number, turned. */
static int turned(reel_graph *g, const reel__match *m, int v)
{
    static const reel__shape_attrs order = {.rank = 2, .dim = {1, 0}};
    if (g->value[v].meta.rank != 2) return v;
    return reel__graph_emit1(g, m->root, &reel__permute, &order, NULL, &v, 1, NULL);
}

/* x [..., k] times w [k, n] is a linear layer of w turned. */
static int product(reel_graph *g, const reel__match *m)
{
    int v[] = {reel__bound(m, "w"), reel__bound(m, "t"), reel__bound(m, "u")};
    if (g->value[v[0]].meta.rank != 2) return -1;
    for (int i = 0; i < 3; i++)
        if ((v[i] = turned(g, m, v[i])) < 0) return -1;
    return linear_of(g, m, v[0], v[1], v[2]);
}

#define OPERANDS "(dequantize!(x, s, z), dequantize!(w, t, u), b?) as c"
#define FACTORS "(dequantize!(x, s, z), dequantize!(w, t, u)) as c"
/* As a product of more dimensions reads a matrix. */
#define EXPANDED "(dequantize!(x, s, z), expand!(dequantize!(w, t, u))) as c"

/* A layer alone, and with an activation. */
#define ENDS(layer, make)                                                                \
    REWRITE_BY("quantize(" layer ", p, q)", make),                                       \
        REWRITE_BY("quantize(any_unary(" layer ") as a, p, q)", make)

static const reel__rule ends[] = {
    ENDS("conv2d" OPERANDS, conv),
    ENDS("linear" OPERANDS, linear),
    ENDS("matmul" FACTORS, product),
    ENDS("matmul" EXPANDED, product),
};

/* Without a quantize behind them; what has one was taken before. */
static const reel__rule floats[] = {
    REWRITE_BY("conv2d" OPERANDS, conv),
    REWRITE_BY("linear" OPERANDS, linear),
    REWRITE_BY("matmul" FACTORS, product),
    REWRITE_BY("matmul" EXPANDED, product),
};

static int run(reel_graph *g)
{
    int moved = REEL__APPLY_RULES(g, views);
    int made = moved < 0 ? -1 : REEL__APPLY_RULES(g, ends);
    int rest = made < 0 ? -1 : REEL__APPLY_RULES(g, floats);
    return rest < 0 ? -1 : moved + made + rest;
}

const reel__pass reel__pass_lower_int8 = {
    "lower_int8", "layers between dequantize and quantize in integers", false, run};
