/* fake.c: a graph of integers, as files have it, as one that can be trained: quantize and the
 * dequantize behind it become fake_quantize, and integers that the graph holds become
 * parameters, which are faked where they were bytes. It computes the same, bit for bit.
 * No pass of passes.def: training alone wants it. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ops/recorder.h"
#include "ops/records.h"
#include "trace/passes/match.h"

/* ---- dequantize goes up --------------------------------------------------------------------- */

static bool is_number(const reel_graph *g, const reel__match *m, const char *name)
{
    const reel__value *v = &g->value[reel__bound(m, name)];
    return reel__numel(&v->meta) == 1 && v->meta.rank == 0;
}

/* dequantize(q, s, z) of the match, for a q that is not its first operand. */
static int real(reel_graph *g, const reel__match *m, int q)
{
    const int in[3] = {q, reel__bound(m, "s"), reel__bound(m, "z")};
    if (q < 0 || !is_number(g, m, "s") || !is_number(g, m, "z")) return -1;
    return reel__emit_like(g, m->root, m->root, in);
}

/* A copy that does not cast, of floats. */
static int copy_like(reel_graph *g, const reel__match *m, int node, int x)
{
    const reel__gnode n = g->node[node];
    reel__cast_attrs a = *(const reel__cast_attrs *)n.attrs;
    a.dtype = (int64_t)g->value[x].meta.dtype;
    return reel__graph_emit1(g, m->root, n.op, &a, NULL, &x, 1, n.where);
}

/* dequantize(view(q), s, z) = view(dequantize(q, s, z)) */
static int real_view(reel_graph *g, const reel__match *m)
{
    const int view = reel__bound_node(g, m, "v"), q = reel__bound(m, "q");
    if (g->value[q].meta.dtype != g->value[reel__bound(m, "v")].meta.dtype) return -1;
    int x = real(g, m, q);
    if (x < 0) return -1;
    return g->node[view].op == &reel__copy ? copy_like(g, m, view, x)
                                           : reel__emit_like(g, m->root, view, &x);
}

/* The largest of bytes, which was found among floats, is that of the numbers. */
static int real_pool(reel_graph *g, const reel__match *m)
{
    const int f = reel__bound(m, "f"), pool = reel__bound_node(g, m, "p");
    if (!reel_dtype_is_float(g->value[f].meta.dtype)) return -1;
    int x = real(g, m, reel__bound(m, "q"));
    if (x >= 0 && reel__bound(m, "l") >= 0)
        x = copy_like(g, m, reel__bound_node(g, m, "l"), x);
    return x < 0 ? -1 : reel__emit_like(g, m->root, pool, &x);
}

#define VIEW(view) REWRITE_BY("dequantize(" view "!(q) as v, s, z)", real_view)
static const reel__rule upward[] = {
    VIEW("reshape"),
    VIEW("permute"),
    VIEW("slice"),
    VIEW("expand"),
    VIEW("copy"),
    REWRITE_BY("dequantize(copy!(max_pool2d!(copy!(q) as f) as p), s, z)", real_pool),
    REWRITE_BY("dequantize(copy!(max_pool2d!(copy!(copy!(q) as f) as l) as p), s, z)",
               real_pool),
};

/* ---- what the graph holds ------------------------------------------------------------------- */

typedef struct faking {
    reel_graph *g;
    reel__effects e;
    int n_known; /* values that e knows */
} faking;

/* A value that does not depend on inputs, as a tensor of the innermost scope; NULL: it does, or an
 * error. */
static reel_tensor *computed(const faking *f, int v)
{
    reel_tensor *in[REEL_OP_MAX_IN], *out[REEL_OP_MAX_OUT] = {NULL};
    if (v < 0 || v >= f->n_known || !reel__is_fixed(&f->e, v)) return NULL;
    const reel__value *x = &f->g->value[v];
    if (reel__is_state(x)) return x->tensor;
    const reel__gnode *n = &f->g->node[x->maker];
    for (int k = 0; k < n->n_in; k++) {
        in[k] = n->in[k] < 0 ? NULL : computed(f, n->in[k]);
        if (n->in[k] >= 0 && !in[k]) return NULL;
    }
    if (reel__apply(n->op, n->attrs, n->n_in, in, out)) return NULL;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] == v) return out[k];
    return NULL;
}

/* Whether two values are the same numbers: one, or both held and equal. */
static bool same_numbers(const faking *f, int v, int w)
{
    if (v == w) return true;
    reel_tensor *a = computed(f, v), *b = computed(f, w);
    if (!a || !b || a->meta.dtype != b->meta.dtype ||
        !reel__same_shape(&a->meta, &b->meta))
        return false;
    a = reel_contiguous(a);
    b = reel_contiguous(b);
    size_t bytes =
        reel_failed() ? 0 : (size_t)reel_numel(a) * reel_dtype_size(a->meta.dtype);
    return !reel_failed() && memcmp(reel__ptr(a), reel__ptr(b), bytes) == 0;
}

static int add_constant(reel_graph *g, reel_tensor *t)
{
    return t ? reel__graph_add_value(g, REEL_VALUE_CONST, &t->meta, NULL, t) : -1;
}

/* A zero point as a float, before `node`; -1 with an error. */
static int real_zero(faking *f, int node, int zero, reel_dtype dtype)
{
    const reel__cast_attrs a = {dtype, REEL_PRESERVE};
    reel_tensor *t = computed(f, zero);
    if (reel_failed()) return -1;
    if (t) return add_constant(f->g, reel_cast(t, dtype));
    return reel__graph_emit1(f->g, node, &reel__copy, &a, NULL, &zero, 1,
                             f->g->node[node].where);
}

/* fake_quantize(x, scale, zero) before `node`, low .. high. */
static int fake(faking *f, int node, int x, int scale, int zero, double low, double high)
{
    const reel__scalar_attrs a = reel__scalars(low, high);
    const reel_dtype dtype = f->g->value[x].meta.dtype;
    int in[3] = {x, scale, real_zero(f, node, zero, dtype)};
    if (in[2] < 0) return -1;
    return reel__graph_emit1(f->g, node, &reel__fake_quantize, &a, NULL, in, 3,
                             f->g->node[node].where);
}

/* ---- integers that the graph holds ---------------------------------------------------------- */

static bool is_taken(const reel_graph *g, const char *name)
{
    for (int v = 0; v < g->n_value; v++) {
        const reel__value *x = &g->value[v];
        if (x->name && x->kind != REEL_VALUE_CONST && strcmp(x->name, name) == 0)
            return true;
    }
    return false;
}

/* The name of the integers that q is made of, or "weight"; with a number if it is taken. */
static void name_of(const reel_graph *g, int q, char *name, size_t size)
{
    while (g->value[q].kind == REEL_VALUE_NODE && g->node[g->value[q].maker].n_in > 0)
        q = g->node[g->value[q].maker].in[0];
    const char *own = g->value[q].name ? g->value[q].name : "weight";
    (void)snprintf(name, size, "%.200s", own);
    for (int i = 1; is_taken(g, name); i++)
        (void)snprintf(name, size, "%.200s%d", own, i);
}

/* Weights that do without -128 about a zero of 0 go on doing so. */
static double lowest(reel_tensor *q, reel_tensor *zero)
{
    if (q->meta.dtype == REEL_U8) return 0;
    reel_tensor *const both[] = {reel_contiguous(q), reel_contiguous(zero)};
    for (int k = 0; k < 2 && !reel_failed(); k++) {
        const int8_t *x = reel__ptr(both[k]);
        for (int64_t i = 0; i < reel_numel(both[k]); i++)
            if (k ? x[i] != 0 : x[i] < -127) return -128;
    }
    return -127;
}

/* dequantize of integers that are held: a parameter; one number stays a constant. */
static int hold(faking *f, int i, reel_tensor *q)
{
    const reel__gnode n = f->g->node[i];
    reel_tensor *in[3] = {q, computed(f, n.in[1]), computed(f, n.in[2])}, *x = NULL;
    char name[256];
    if (!in[1] || !in[2] || reel__apply(n.op, n.attrs, 3, in, &x)) return -1;
    if (reel_numel(x) <= 1) return add_constant(f->g, x);
    name_of(f->g, n.in[0], name, sizeof name);
    int v = reel__graph_add_value(f->g, REEL_VALUE_PARAM, &x->meta, name, x);
    if (v < 0 || q->meta.dtype == REEL_I32) return v;
    const double low = lowest(q, in[2]);
    return fake(f, i, v, n.in[1], n.in[2], low, q->meta.dtype == REEL_U8 ? 255 : 127);
}

/* ---- the nodes ------------------------------------------------------------------------------ */

/* What stands for the dequantize i; -1 with an error, or because it is of an input. */
static int instead_of(faking *f, int i)
{
    const reel__gnode n = f->g->node[i];
    const reel__value *q = &f->g->value[n.in[0]];
    reel_tensor *held = computed(f, n.in[0]);
    if (reel_failed()) return -1;
    if (held) return hold(f, i, held);
    const reel__gnode *from = q->maker < 0 ? NULL : &f->g->node[q->maker];
    if (!from || from->op != &reel__quantize) return -1;
    if (!same_numbers(f, n.in[1], from->in[1]) || !same_numbers(f, n.in[2], from->in[2]))
        return -1;
    const reel__scalar_attrs *a = from->attrs;
    return fake(f, i, from->in[0], from->in[1], from->in[2], reel__number_f64(a->a[0]),
                reel__number_f64(a->a[1]));
}

/* The node before i that dequantizes the same in the same way; -1: none. */
static int earlier(const reel_graph *g, int i)
{
    const reel__gnode *n = &g->node[i];
    for (int k = 0; k < i; k++) {
        const reel__gnode *p = &g->node[k];
        if (p->op == n->op && memcmp(p->in, n->in, 3 * sizeof *n->in) == 0) return k;
    }
    return -1;
}

/* Why a node has no gradient: it, or what it reads, stays in integers. NULL: it has one. */
static const char *stays(const reel_graph *g, const reel__gnode *n)
{
    if (n->op == &reel__conv2d_int8 || n->op == &reel__linear_int8)
        return "it is a product of integers, as dynamic files and optimized graphs have "
               "it";
    if (n->op == &reel__dequantize && g->value[n->in[0]].kind != REEL_VALUE_INPUT)
        return "what makes it is not a quantize of the same scale and zero point";
    return NULL;
}

static reel_status check_rest(const reel_graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        const char *why = stays(g, n);
        if (why)
            return reel_fail(REEL_ERR_UNSUPPORTED,
                             "%s of %s%s%s: no gradient goes through: %s", n->op->name,
                             SHOW(&g->value[n->in[0]].meta), n->where ? " in " : "",
                             n->where ? n->where : "", why);
    }
    return REEL_OK;
}

static reel_status replace_all(faking *f)
{
    const int n = f->g->n_node;
    int *by = reel__malloc(((size_t)n + 1) * sizeof *by);
    for (int i = 0; by && i < n && !reel_failed(); i++) {
        by[i] = -1;
        if (f->g->node[i].op != &reel__dequantize) continue;
        const int same = earlier(f->g, i);
        by[i] = same >= 0 && by[same] >= 0 ? by[same] : instead_of(f, i);
    }
    for (int i = 0; by && i < n && !reel_failed(); i++) {
        if (by[i] < 0) continue;
        reel__graph_replace(f->g, f->g->node[i].out[0], by[i]);
        reel__graph_remove(f->g, i);
    }
    reel__free(by);
    return reel_error_status();
}

reel_status reel__graph_fake(reel_graph *g)
{
    faking f = {.g = g};
    if (REEL__APPLY_RULES(g, upward) < 0 || reel__graph_compact(g) ||
        !reel__find_effects(g, &f.e))
        return reel_error_status();
    f.n_known = g->n_value;
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_status st = replace_all(&f);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    reel__effects_free(&f.e);
    if (!st) st = reel__graph_compact(g);
    if (!st && reel__pass_dce.run(g) < 0) st = reel_error_status();
    if (!st) st = reel__graph_compact(g);
    return st ? st : check_rest(g);
}
