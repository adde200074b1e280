/* identity.c: operators that change nothing, or whose change another takes back. Results keep
 * every bit, of zeros the sign as well. */
#include "trace/passes/match.h"

static const reel__rule rules[] = {
    REWRITE("neg(neg(x))", "x"),
    REWRITE("abs(neg(x))", "abs(x)"),
    REWRITE("abs(abs(x))", "abs(x)"),
    REWRITE("square(neg(x))", "square(x)"),
    REWRITE("relu(relu(x))", "relu(x)"),
    REWRITE("relu6(relu6(x))", "relu6(x)"),
    REWRITE("floor(floor(x))", "floor(x)"),
    REWRITE("ceil(ceil(x))", "ceil(x)"),
    REWRITE("round(round(x))", "round(x)"),
    REWRITE("logical_not(logical_not(x))", "x"),
    REWRITE("mul_scalar(x | 1)", "x"),
    REWRITE("mul_scalar(x | -1)", "neg(x)"),
    REWRITE("mul_scalar(neg(x) | $a)", "mul_scalar(x | -1 * $a)"),
    REWRITE("neg(mul_scalar(x | $a))", "mul_scalar(x | -1 * $a)"),
    REWRITE("mul(x, 1)", "x"),
    REWRITE("div(x, 1)", "x"),
    REWRITE("div(1, x)", "reciprocal(x)"),
    REWRITE("mul(neg(x), neg(y))", "mul(x, y)"),
    REWRITE("mul(x, x)", "square(x)"),
    REWRITE("add(x, neg(y))", "sub(x, y)"),
    REWRITE("sub(x, neg(y))", "add(x, y)"),
    REWRITE("add_scaled(x, y | 1)", "add(x, y)"),
    REWRITE("add_scaled(x, y | -1)", "sub(x, y)"),
    REWRITE("maximum(x, x)", "x"),
    REWRITE("minimum(x, x)", "x"),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_identity = {
    "identity", "removes operators that change nothing", true, run};
