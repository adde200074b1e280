/* layout.c: copies from one memory format to another that only stand around operators which do
 * not care. The operators then run in the format that is there, and copies that meet cancel. */
#include "trace/passes/match.h"

/* Value v copies x without converting it. */
static bool only_moves(const reel_graph *g, int v, int x)
{
    return g->value[v].meta.dtype == g->value[x].meta.dtype;
}

/* copy(f(copy(x))) = copy(f(x)) */
static int copy_around(reel_graph *g, const reel__match *m)
{
    int x = reel__bound(m, "x");
    if (!only_moves(g, reel__bound(m, "i"), x)) return -1;
    int y = reel__emit_like(g, m->root, reel__bound_node(g, m, "u"), &x);
    return y < 0 ? -1 : reel__emit_like(g, m->root, m->root, &y);
}

/* copy(f(copy(x), copy(y))) = copy(f(x, y)) */
static int copy_around_both(reel_graph *g, const reel__match *m)
{
    const int in[] = {reel__bound(m, "x"), reel__bound(m, "y")};
    if (!only_moves(g, reel__bound(m, "i"), in[0]) ||
        !only_moves(g, reel__bound(m, "j"), in[1]))
        return -1;
    int y = reel__emit_like(g, m->root, reel__bound_node(g, m, "u"), in);
    return y < 0 ? -1 : reel__emit_like(g, m->root, m->root, &y);
}

/* permute(copy(permute(x))): no copy, if together they are nothing. */
static int permuted_back(reel_graph *g, const reel__match *m)
{
    const reel__shape_attrs *p = g->node[reel__bound_node(g, m, "p")].attrs,
                            *q = g->node[m->root].attrs;
    int x = reel__bound(m, "x");
    if (!only_moves(g, reel__bound(m, "i"), x)) return -1;
    for (int d = 0; d < p->rank; d++)
        if (p->dim[q->dim[d]] != d) return -1;
    return x;
}

static const reel__rule rules[] = {
    REWRITE_BY("copy(any_unary(copy(x) as i) as u)", copy_around),
    REWRITE_BY("copy(any_binary(copy(x) as i, copy(y) as j) as u)", copy_around_both),
    REWRITE_BY("permute(copy(permute(x) as p) as i)", permuted_back),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_layout = {
    "layout", "removes copies between memory formats that nobody needs", false, run};
