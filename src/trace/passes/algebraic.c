/* algebraic.c: the same function in fewer or cheaper operators. Rounding may differ in the last
 * place, and so may the sign of a zero; a slope may not, nor at a kink: so maximum(x, 0), which
 * shares its gradient at a tie, is not a relu(x), which has none there (docs/edges.md). */
#include "trace/passes/match.h"

static const reel__rule rules[] = {
    /* with a number instead of a tensor of one element */
    REWRITE("add(x, $a)", "add_scalar(x | $a)"),
    REWRITE("sub(x, $a)", "add_scalar(x | -1 * $a)"),
    REWRITE("mul(x, $a)", "mul_scalar(x | $a)"),
    REWRITE("div(x, $a)", "mul_scalar(x | 1 / $a)"),
    REWRITE("pow(x, $a)", "pow_scalar(x | $a)"),
    /* chains */
    REWRITE("add_scalar(x | 0)", "x"),
    REWRITE("add_scalar(add_scalar(x | $a) | $b)", "add_scalar(x | $a + $b)"),
    REWRITE("mul_scalar(mul_scalar(x | $a) | $b)", "mul_scalar(x | $a * $b)"),
    REWRITE("mul_scalar(sum(x | scale=$s) as r | $a)", "sum(x | @r, scale=$s * $a)"),
    REWRITE("sum(mul_scalar(x | $a) | scale=$s) as r", "sum(x | @r, scale=$s * $a)"),
    REWRITE("mul(mul_scalar(x | $a), mul_scalar(y | $b))",
            "mul_scalar(mul(x, y) | $a * $b)"),
    REWRITE("neg(sub(x, y))", "sub(y, x)"),
    REWRITE("add(x, mul_scalar(y | $a))", "add_scaled(x, y | $a)"),
    REWRITE("sub(x, mul_scalar(y | $a))", "add_scaled(x, y | -1 * $a)"),
    /* powers and roots */
    REWRITE("pow_scalar(x | 1)", "x"),
    REWRITE("pow_scalar(x | 2)", "square(x)"),
    REWRITE("pow_scalar(x | 3)", "mul(x, square(x))"),
    REWRITE("pow_scalar(x | 0.5)", "sqrt(x)"),
    REWRITE("pow_scalar(x | -1)", "reciprocal(x)"),
    REWRITE("pow_scalar(x | -0.5)", "rsqrt(x)"),
    REWRITE("sqrt(square(x))", "abs(x)"),
    REWRITE("reciprocal(sqrt(x))", "rsqrt(x)"),
    REWRITE("mul(x, reciprocal(y))", "div(x, y)"),
    REWRITE("add_scalar(exp(x) | -1)", "expm1(x)"),
    REWRITE("log(add_scalar(x | 1))", "log1p(x)"),
    /* limits */
    REWRITE("clamp(x | 0, 6)", "relu6(x)"),
    REWRITE("relu(relu6(x))", "relu6(x)"),
    REWRITE("relu6(relu(x))", "relu6(x)"),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_algebraic = {
    "algebraic", "writes the same function in fewer operators", false, run};
