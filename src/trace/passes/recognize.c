/* recognize.c: functions that were composed by hand of smaller operators, and for which there is
 * a record. Patterns are in the form that `algebraic` leaves.
 *
 * A record agrees with what it stands for on every input, NaN, infinities and rows of -inf
 * included, but for rounding; that a finite number overflows or underflows on one of the two
 * ways counts as rounding. So these are not here: exp(x) / sum(exp(x)) and x - logsumexp(x),
 * which keep numbers beside a +inf, where softmax and log_softmax have NaN. */
#include <math.h>
#include <string.h>

#include "ops/records.h"
#include "trace/passes/match.h"

/* ---- softmax ------------------------------------------------------------------------------- */

/* The dimension that a mask names; -1 if it names several or none. */
static int only_dim(double mask)
{
    int64_t bits = (int64_t)mask;
    for (int d = 0; d < REEL_MAX_RANK; d++)
        if (bits == INT64_C(1) << d) return d;
    return -1;
}

static int along(reel_graph *g, const reel__match *m, const reel__op *op)
{
    const reel__dim_attrs a = {only_dim(reel__bound_number(m, "m"))};
    int x = reel__bound(m, "x");
    if (a.dim < 0) return -1;
    return reel__graph_emit1(g, m->root, op, &a, NULL, &x, 1, g->node[m->root].where);
}

static int make_softmax(reel_graph *g, const reel__match *m)
{
    return along(g, m, &reel__softmax);
}

static int make_log_softmax(reel_graph *g, const reel__match *m)
{
    return along(g, m, &reel__log_softmax);
}

/* ---- layer norm ---------------------------------------------------------------------------------- */

/* The number of last dimensions that a mask names; 0 if it names others. */
static int last_dims(double mask, int rank)
{
    int64_t bits = (int64_t)mask;
    for (int n = 1; n <= rank; n++)
        if (bits == ((INT64_C(1) << n) - 1) << (rank - n)) return n;
    return 0;
}

/* A sum with scale `s` must be a mean over dims of x: one by itself, where `q` says so, or by
 * a scale of 1 / n. */
static bool is_mean(const reel_graph *g, const reel__match *m, int dims, const char *s,
                    const char *q)
{
    const reel__value *x = &g->value[reel__bound(m, "x")];
    double n = 1;
    if (reel__bound_number(m, q) != 0) return reel__bound_number(m, s) == 1;
    for (int d = x->meta.rank - dims; d < x->meta.rank; d++) {
        if (x->grow[d] || x->bent) return false; /* it would differ with the batch */
        n *= (double)x->meta.dim[d];
    }
    return fabs(reel__bound_number(m, s) * n - 1) < 1e-6;
}

static int norm_of(reel_graph *g, const reel__match *m)
{
    const reel__value *x = &g->value[reel__bound(m, "x")];
    int dims = last_dims(reel__bound_number(m, "m"), x->meta.rank);
    if (!dims || !is_mean(g, m, dims, "s", "q")) return -1;
    const reel__layer_norm_attrs a = {.dims = dims, .eps = reel__bound_number(m, "e")};
    const int in[] = {reel__bound(m, "x"), REEL_NO_VALUE, REEL_NO_VALUE};
    return reel__graph_emit1(g, m->root, &reel__layer_norm, &a, NULL, in, 3,
                             g->node[m->root].where);
}

/* The mean of squares with a scale of its own. */
static int norm_of_squares(reel_graph *g, const reel__match *m)
{
    int rank = g->value[reel__bound(m, "x")].meta.rank;
    int dims = last_dims(reel__bound_number(m, "m"), rank);
    return dims && is_mean(g, m, dims, "t", "r") ? norm_of(g, m) : -1;
}

/* weight or bias, operand k, of a norm that has none yet */
static int with_operand(reel_graph *g, const reel__match *m, int k)
{
    const reel__gnode n = g->node[reel__bound_node(g, m, "n")];
    int in[] = {n.in[0], n.in[1], n.in[2]};
    in[k] = reel__bound(m, "p");
    return reel__graph_emit1(g, m->root, &reel__layer_norm, n.attrs, NULL, in, 3,
                             n.where);
}

static int with_weight(reel_graph *g, const reel__match *m)
{
    return with_operand(g, m, 1);
}

static int with_bias(reel_graph *g, const reel__match *m)
{
    return with_operand(g, m, 2);
}

/* ---- attention ------------------------------------------------------------------------------------ */

/* t [..., d, lk] -> [..., lk, d]; `reshape` cancels it with the permutation that made t. */
static int transposed(reel_graph *g, const reel__match *m, int t)
{
    int rank = g->value[t].meta.rank;
    reel__shape_attrs p = {.rank = rank};
    for (int d = 0; d < rank; d++) p.dim[d] = d;
    p.dim[rank - 1] = rank - 2;
    p.dim[rank - 2] = rank - 1;
    return reel__graph_emit1(g, m->root, &reel__permute, &p, NULL, &t, 1,
                             g->node[m->root].where);
}

/* softmax(scale q t + mask) v, the softmax along the last dimension and nothing of it
 * broadcast but the mask. Scores that are all -inf stay NaN. */
static int attend(reel_graph *g, const reel__match *m, double scale, int mask)
{
    int p = reel__bound_node(g, m, "p");
    const reel__dim_attrs *along_dim = g->node[p].attrs;
    const reel__value *z = &g->value[reel__bound(m, "z")],
                      *x = &g->value[g->node[p].in[0]];
    const reel__attention_attrs a = {.scale = scale, .nan_rows = 1};
    if (along_dim->dim != z->meta.rank - 1 || !reel__same_shape(&x->meta, &z->meta) ||
        memcmp(x->grow, z->grow, sizeof x->grow) != 0)
        return -1;
    int in[] = {reel__bound(m, "q"), transposed(g, m, reel__bound(m, "t")),
                reel__bound(m, "v"), mask};
    if (in[1] < 0) return -1;
    return reel__graph_emit1(g, m->root, &reel__attention, &a, NULL, in, 4,
                             g->node[m->root].where);
}

static int attend_scaled(reel_graph *g, const reel__match *m)
{
    return attend(g, m, reel__bound_number(m, "s"), REEL_NO_VALUE);
}

static int attend_plain(reel_graph *g, const reel__match *m)
{
    return attend(g, m, 1, REEL_NO_VALUE);
}

static int attend_scaled_masked(reel_graph *g, const reel__match *m)
{
    return attend(g, m, reel__bound_number(m, "s"), reel__bound(m, "b"));
}

static int attend_plain_masked(reel_graph *g, const reel__match *m)
{
    return attend(g, m, 1, reel__bound(m, "b"));
}

/* The bias times $u. */
static int scaled_bias(reel_graph *g, const reel__match *m)
{
    const reel__scalar_attrs a = {.a = {reel__real(reel__bound_number(m, "u"))}};
    int b = reel__bound(m, "b");
    return reel__graph_emit1(g, m->root, &reel__mul_scalar, &a, NULL, &b, 1,
                             g->node[m->root].where);
}

static int attend_scaled_both(reel_graph *g, const reel__match *m)
{
    int b = scaled_bias(g, m);
    return b < 0 ? -1 : attend(g, m, reel__bound_number(m, "s"), b);
}

static int attend_plain_scaled_mask(reel_graph *g, const reel__match *m)
{
    int b = scaled_bias(g, m);
    return b < 0 ? -1 : attend(g, m, 1, b);
}

/* ---- linear layers -------------------------------------------------------------------------------- */

/* x w + b with a weight [in, out] that is a parameter */
static int make_linear(reel_graph *g, const reel__match *m)
{
    int w = reel__bound(m, "w"), b = reel__bound(m, "b"), x = reel__bound(m, "x");
    if (!reel__is_state(&g->value[w]) || !reel__is_state(&g->value[b]) ||
        g->value[x].meta.rank != 2 || g->value[b].meta.rank != 1)
        return -1;
    const int in[] = {x, transposed(g, m, w), b};
    return in[1] < 0 ? -1
                     : reel__graph_emit1(g, m->root, &reel__linear, NULL, NULL, in, 3,
                                         g->node[m->root].where);
}

/* The sum with a state of the shape of a bias: a bias. */
static int make_bias(reel_graph *g, const reel__match *m)
{
    const int at = reel__bound_node(g, m, "c");
    const reel__meta *w = &g->value[reel__bound(m, "w")].meta;
    int b = reel__bound(m, "b");
    const reel__value *v = &g->value[b];
    int channel = g->node[at].op == &reel__conv2d ? 3 : 1; /* its place from the end */
    int d = v->meta.rank - channel;
    if (!reel__is_state(v) || d < 0 || v->meta.dim[d] != w->dim[0] ||
        reel__numel(&v->meta) != w->dim[0])
        return -1;
    const reel__shape_attrs flat = {.rank = 1, .dim = {w->dim[0]}};
    if (v->meta.rank != 1)
        b = reel__graph_emit1(g, m->root, &reel__reshape, &flat, NULL, &b, 1,
                              g->node[at].where);
    const int in[] = {reel__bound(m, "x"), reel__bound(m, "w"), b};
    return b < 0 ? -1 : reel__emit_like(g, m->root, at, in);
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define DEVIATION "sub(x, sum(x | mask=$m, mean=$q, scale=$s)) as d"
#define VARIANCE "var(x | mask=$m, scale=0)"
#define SQUARES "sum(square(d) | mask=$m, mean=$r, scale=$t)"
#define SCORES "matmul(q, t) as z"
#define SCALED "matmul(mul_scalar(q | $s), t) as z"

static const reel__rule rules[] = {
    REWRITE_BY(
        "div(exp(sub(x, max(x | mask=$m))) as e, sum(e | mask=$m, mean=0, scale=1))",
        make_softmax),
    REWRITE_BY(
        "sub(sub(x, max(x | mask=$m)) as d, log(sum(exp(d) | mask=$m, mean=0, scale=1)))",
        make_log_softmax),
    REWRITE("log(softmax(x) as s)", "log_softmax(x | @s)"),
    REWRITE("exp(log_softmax(x) as s)", "softmax(x | @s)"),

    REWRITE_BY("mul(" DEVIATION ", rsqrt(add_scalar(" VARIANCE " | $e)))", norm_of),
    REWRITE_BY("div(" DEVIATION ", sqrt(add_scalar(" VARIANCE " | $e)))", norm_of),
    REWRITE_BY("mul(" DEVIATION ", rsqrt(add_scalar(" SQUARES " | $e)))",
               norm_of_squares),
    REWRITE_BY("div(" DEVIATION ", sqrt(add_scalar(" SQUARES " | $e)))", norm_of_squares),
    REWRITE_BY("mul(layer_norm(x, -, -) as n, p)", with_weight),
    REWRITE_BY("add(layer_norm(x, w?, -) as n, p)", with_bias),

    REWRITE("mul(x, sigmoid(x))", "silu(x)"),
    REWRITE("mul(x, hardsigmoid(x))", "hardswish(x)"),
    REWRITE("mul_scalar(relu6(add_scalar(x | 3)) | 0.16666667)", "hardsigmoid(x)"),
    REWRITE("mul_scalar(mul(x, relu6(add_scalar(x | 3))) | 0.16666667)", "hardswish(x)"),
    REWRITE("reciprocal(add_scalar(exp(neg(x)) | 1))", "sigmoid(x)"),

    /* x (1 + erf(x / sqrt 2)) / 2 */
    REWRITE("mul_scalar(mul(x, add_scalar(erf(mul_scalar(x | 0.70710678)) | 1)) | 0.5)",
            "gelu(x)"),
    REWRITE("mul(mul_scalar(x | 0.5), add_scalar(erf(mul_scalar(x | 0.70710678)) | 1))",
            "gelu(x)"),
    REWRITE("mul(x, mul_scalar(add_scalar(erf(mul_scalar(x | 0.70710678)) | 1) | 0.5))",
            "gelu(x)"),
/* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
#define INNER "tanh(mul_scalar(add_scaled(x, mul(x, square(x)) | 0.044715) | 0.79788456))"
    REWRITE("mul_scalar(mul(x, add_scalar(" INNER " | 1)) | 0.5)", "gelu_tanh(x)"),
    REWRITE("mul(mul_scalar(x | 0.5), add_scalar(" INNER " | 1))", "gelu_tanh(x)"),
    REWRITE("mul(x, mul_scalar(add_scalar(" INNER " | 1) | 0.5))", "gelu_tanh(x)"),

    REWRITE_BY("matmul(softmax(mul_scalar(" SCORES " | $s)) as p, v)", attend_scaled),
    REWRITE_BY("matmul(softmax(add_scaled(b, " SCORES " | $s)) as p, v)",
               attend_scaled_masked),
    REWRITE_BY("matmul(softmax(add_scaled(mul_scalar(" SCORES " | $s), b | $u)) as p, v)",
               attend_scaled_both),
    REWRITE_BY("matmul(softmax(add_scaled(" SCALED ", b | $u)) as p, v)",
               attend_scaled_both),
    REWRITE_BY("matmul(softmax(add_scaled(" SCORES ", b | $u)) as p, v)",
               attend_plain_scaled_mask),
    REWRITE_BY("matmul(softmax(" SCALED ") as p, v)", attend_scaled),
    REWRITE_BY("matmul(softmax(add(" SCALED ", b)) as p, v)", attend_scaled_masked),
    REWRITE_BY("matmul(softmax(add(" SCORES ", b)) as p, v)", attend_plain_masked),
    REWRITE_BY("matmul(softmax(" SCORES ") as p, v)", attend_plain),

    REWRITE_BY("add(matmul(x, w), b)", make_linear),
    REWRITE_BY("add(linear(x, w, -) as c, b)", make_bias),
    REWRITE_BY("add(conv2d(x, w, -) as c, b)", make_bias),
};

static int run(reel_graph *g)
{
    return REEL__APPLY_RULES(g, rules);
}

const reel__pass reel__pass_recognize = {
    "recognize", "finds softmax, norms, GELU, attention composed by hand", false, run};
