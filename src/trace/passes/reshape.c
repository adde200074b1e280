/* reshape.c: views and copies that cancel. Elements move less; none is computed differently, and
 * what remains lies in memory as it did. */
#include "ops/records.h"
#include "trace/passes/match.h"

/* The first number of dimensions that both permutations together make of one. */
static reel__shape_attrs compose(const reel_graph *g, int inner, int outer)
{
    const reel__shape_attrs *p = g->node[inner].attrs, *q = g->node[outer].attrs;
    reel__shape_attrs both = {.rank = q->rank};
    for (int i = 0; i < q->rank; i++) both.dim[i] = p->dim[q->dim[i]];
    return both;
}

static bool is_identity(const reel__shape_attrs *p)
{
    for (int i = 0; i < p->rank; i++)
        if (p->dim[i] != i) return false;
    return true;
}

static int permuted(reel_graph *g, const reel__match *m, int x,
                    const reel__shape_attrs *p)
{
    if (x < 0 || is_identity(p)) return x;
    return reel__graph_emit1(g, m->root, &reel__permute, p, NULL, &x, 1,
                             g->node[m->root].where);
}

static int permute_twice(reel_graph *g, const reel__match *m)
{
    reel__shape_attrs both =
        compose(g, reel__bound_node(g, m, "p"), reel__bound_node(g, m, "q"));
    return permuted(g, m, reel__bound(m, "x"), &both);
}

static int permute_nothing(reel_graph *g, const reel__match *m)
{
    return is_identity(g->node[m->root].attrs) ? reel__bound(m, "x") : -1;
}

/* permute(f(permute(x))): f first, and the permutations together. */
static int permute_around(reel_graph *g, const reel__match *m)
{
    int x = reel__bound(m, "x");
    reel__shape_attrs both =
        compose(g, reel__bound_node(g, m, "p"), reel__bound_node(g, m, "q"));
    return permuted(g, m, reel__emit_like(g, m->root, reel__bound_node(g, m, "u"), &x),
                    &both);
}

/* reshape(f(reshape(x))): f first, and one reshape. */
static int reshape_around(reel_graph *g, const reel__match *m)
{
    int x = reel__bound(m, "x");
    int y = reel__emit_like(g, m->root, reel__bound_node(g, m, "u"), &x);
    return y < 0 ? -1 : reel__emit_like(g, m->root, m->root, &y);
}

static int copy_nothing(reel_graph *g, const reel__match *m)
{
    int x = reel__bound(m, "x");
    return reel__same_layout(g, g->node[m->root].out[0], x) ? x : -1;
}

/* The inner copy only moved elements. */
static int copy_twice(reel_graph *g, const reel__match *m)
{
    int x = reel__bound(m, "x"), inner = reel__bound(m, "i");
    if (g->value[x].meta.dtype != g->value[inner].meta.dtype) return -1;
    int y = reel__emit_like(g, m->root, m->root, &x);
    return y >= 0 && reel__same_layout(g, g->node[m->root].out[0], y) ? y : -1;
}

static const reel__rule rules[] = {
    REWRITE("reshape(x)", "x"), /* where shapes are the same, as for all replacements */
    REWRITE("expand(x)", "x"),
    REWRITE("slice(x)", "x"),
    REWRITE("reshape(reshape(x)) as r", "reshape(x | @r)"),
    REWRITE("expand(expand(x)) as r", "expand(x | @r)"),
    REWRITE_BY("permute(x)", permute_nothing),
    REWRITE_BY("permute(permute(x) as p) as q", permute_twice),
    REWRITE_BY("permute(any_unary(permute(x) as p) as u) as q", permute_around),
    REWRITE_BY("reshape(any_unary(reshape(x)) as u)", reshape_around),
    REWRITE_BY("copy(x)", copy_nothing),
    REWRITE_BY("copy(copy(x) as i)", copy_twice),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_reshape = {
    "reshape", "cancels reshapes, permutations and copies", true, run};
