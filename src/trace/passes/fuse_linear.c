/* fuse_linear.c: a linear layer with the residual and activation after it becomes linear_fused.
 * A layer on [..., in] was recorded as reshape, linear, reshape: what follows the reshape is
 * computed before it, on the same elements, so that it can be fused. */
#include "ops/records.h"
#include "trace/passes/fuse.h"

/* ---- operators move before the reshape ------------------------------------------------------- */

/* f(reshape(y)) = reshape(f(y)) */
static int unary_before(reel_graph *g, const reel__match *m)
{
    int y = reel__bound(m, "c");
    y = reel__emit_like(g, m->root, reel__bound_node(g, m, "u"), &y);
    return y < 0 ? -1 : reel__emit_like(g, m->root, reel__bound_node(g, m, "s"), &y);
}

/* reshape(y) + r = reshape(y + reshape(r)) */
static int sum_before(reel_graph *g, const reel__match *m)
{
    int c = reel__bound(m, "c"), s = reel__bound(m, "s"), r = reel__bound(m, "r");
    if (!reel__same_kind(g, r, s)) return -1; /* a broadcast sum */
    int in[] = {c, reel__emit_reshape(g, m->root, r, c)};
    if (in[1] < 0) return -1;
    int y = reel__emit_like(g, m->root, m->root, in);
    return y < 0 ? -1 : reel__emit_like(g, m->root, reel__bound_node(g, m, "s"), &y);
}

/* ---- fusion -------------------------------------------------------------------------------------- */

static int add_residual(reel_graph *g, const reel__match *m)
{
    const reel__linear_fused_attrs a = {.act = K_NONE};
    return reel__emit_fused(g, m, &reel__linear_fused, &a, reel__bound(m, "r"));
}

static int activate(reel_graph *g, const reel__match *m)
{
    reel__linear_fused_attrs a = {.act = K_NONE};
    if (!reel__fused_end(g, m, &a.act, a.a)) return -1;
    return reel__emit_fused(g, m, &reel__linear_fused, &a, reel__bound(m, "r"));
}

#define FUSED "linear_fused(x, w, b?, r? | act=0) as c"

static const reel__rule rules[] = {
    REWRITE_BY("any_unary(reshape(linear(x, w, b?) as c) as s) as u", unary_before),
    REWRITE_BY("any_unary(reshape(" FUSED ") as s) as u", unary_before),
    REWRITE_BY("add(reshape(linear(x, w, b?) as c) as s, r)", sum_before),
    REWRITE_BY("add(linear(x, w, b?) as c, r)", add_residual),
    REWRITE_BY("any_unary(linear(x, w, b?) as c) as u", activate),
    REWRITE_BY("any_unary(" FUSED ") as u", activate),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_fuse_linear = {
    "fuse_linear", "linear layer, residual and activation in one", true, run};
