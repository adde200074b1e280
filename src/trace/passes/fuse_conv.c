/* fuse_conv.c: a convolution with the residual and activation after it becomes conv2d_fused,
 * one step at a time: what is fused already takes the next operator in. */
#include <string.h>

#include "ops/records.h"
#include "trace/passes/fuse.h"

/* ---- shared with fuse_linear.c -------------------------------------------------------------- */

bool reel__fused_end(const reel_graph *g, const reel__match *m, int64_t *act,
                     reel__number a[2])
{
    const reel__gnode *u = &g->node[reel__bound_node(g, m, "u")];
    const reel__scalar_attrs *s = u->op->attrs ? u->attrs : NULL;
    *act = u->op->kernel;
    for (int i = 0; i < 2; i++) a[i] = s ? s->a[i] : reel__whole(0);
    return !u->per_batch;
}

int reel__emit_fused(reel_graph *g, const reel__match *m, const reel__op *op,
                     const void *attrs, int residual)
{
    const int in[] = {reel__bound(m, "x"), reel__bound(m, "w"), reel__bound(m, "b"),
                      residual};
    const char *where = g->node[reel__bound_node(g, m, "c")].where;
    return reel__graph_emit1(g, m->root, op, attrs, NULL, in, 4, where);
}

/* ---- the rules ---------------------------------------------------------------------------------- */

/* Attributes of the fused node that c is or becomes. */
static reel__conv2d_fused_attrs attrs_of(const reel_graph *g, const reel__match *m)
{
    const reel__gnode *c = &g->node[reel__bound_node(g, m, "c")];
    reel__conv2d_fused_attrs a = {.act = K_NONE};
    if (c->op == &reel__conv2d_fused)
        a = *(const reel__conv2d_fused_attrs *)c->attrs;
    else
        a.conv = *(const reel__conv2d_attrs *)c->attrs;
    return a;
}

static int add_residual(reel_graph *g, const reel__match *m)
{
    reel__conv2d_fused_attrs a = attrs_of(g, m);
    return reel__emit_fused(g, m, &reel__conv2d_fused, &a, reel__bound(m, "r"));
}

static int activate(reel_graph *g, const reel__match *m)
{
    reel__conv2d_fused_attrs a = attrs_of(g, m);
    if (!reel__fused_end(g, m, &a.act, a.a)) return -1;
    return reel__emit_fused(g, m, &reel__conv2d_fused, &a, reel__bound(m, "r"));
}

static const reel__rule rules[] = {
    REWRITE_BY("add(conv2d(x, w, b?) as c, r)", add_residual),
    REWRITE_BY("add(conv2d_fused(x, w, b?, - | act=0) as c, r)", add_residual),
    REWRITE_BY("any_unary(conv2d(x, w, b?) as c) as u", activate),
    REWRITE_BY("any_unary(conv2d_fused(x, w, b?, r? | act=0) as c) as u", activate),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

/* Not exact: a fused convolution chooses its algorithm as if its weight were prepared, which
 * at some small sizes is another one. */
const reel__pass reel__pass_fuse_conv = {
    "fuse_conv", "convolution, residual and activation in one", false, run};
