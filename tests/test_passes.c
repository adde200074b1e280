/* test_passes.c: each pass on small graphs where it applies and where it must not; what an
 * optimized graph computes; errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <reel/reel.h>

#include "base/alloc.h"
#include "trace/passes/match.h"

static void no_error(void)
{
    if (reel_failed()) print_error("%s\n", reel_error_message());
    assert_false(reel_failed());
}

static void expect(reel_status status, const char *word)
{
    assert_int_equal(reel_error_status(), status);
    if (!strstr(reel_error_message(), word))
        fail_msg("\"%s\" is not in: %s", word, reel_error_message());
    reel_error_clear();
}

static float *values(reel_tensor *x)
{
    float *v = malloc((size_t)reel_numel(x) * sizeof *v + 1);
    assert_int_equal(reel_read(x, v, REEL_F32), REEL_OK);
    return v;
}

/* tolerance 0: every bit */
static void same_values(const char *what, reel_tensor *want, reel_tensor *have,
                        double tolerance)
{
    no_error();
    assert_int_equal(reel_numel(want), reel_numel(have));
    float *a = values(want), *b = values(have);
    size_t n = (size_t)reel_numel(want);
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)a[i] - b[i]);
        bool good = tolerance == 0 ? memcmp(&a[i], &b[i], sizeof *a) == 0
                                   : off <= tolerance * (1 + fabs((double)a[i]));
        if (!good)
            fail_msg("%s: element %d is %.9g, expected %.9g", what, (int)i, (double)b[i],
                     (double)a[i]);
    }
    free(a);
    free(b);
}

/* ---- functions -------------------------------------------------------------------------- */

#define X x[0]
#define Y x[1]
#define S(v) reel_scalar((v), REEL_F32)
#define F(name, ...)                                                                     \
    static reel_tensor *name(void *user, reel_tensor *const x[], int n)                  \
    {                                                                                    \
        (void)user;                                                                      \
        (void)n;                                                                         \
        return __VA_ARGS__;                                                              \
    }
#define POSITIVE(a) reel_add_scalar(reel_square(a), 0.5)
#define ROWS REEL_DIMS(1)

F(unread, (reel_exp(X), reel_relu(X)))
F(of_constants, reel_add(X, reel_exp(reel_add_scalar(S(2), 1))))
F(twice, reel_add(reel_exp(X), reel_exp(X)))
F(twice_slices, reel_add(reel_narrow(X, 1, 2, 2), reel_neg(reel_narrow(X, 1, 2, 2))))
F(neg_neg, reel_neg(reel_neg(X)))

/* The inner one is read by another: neg(neg(x)) would not save it. */
static reel_tensor *neg_neg_read(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *y = reel_neg(X);
    return reel_div(y, reel_neg(y));
}

F(times_one, reel_mul(reel_mul_scalar(X, 1), S(1)))
F(sum_of_dense, reel_sum(reel_mul_scalar(reel_narrow(X, 1, 2, 4), 1), ROWS, true))
F(minus_neg, reel_sub(X, reel_neg(Y)))
F(own_square, reel_mul(X, X))
F(nearly_one, reel_mul_scalar(X, 1.0000001))
F(scalar_chain, reel_mul_scalar(reel_mul_scalar(X, 3), 0.5))
F(sum_chain, reel_add_scalar(reel_add(X, S(2)), -2))
F(scaled_mean, reel_mul_scalar(reel_sum(X, ROWS, true), 0.25))
F(square_by_pow, reel_pow_scalar(X, 2))
F(relu_by_maximum, reel_maximum(S(0), X))
F(relu6_by_minimum, reel_minimum(reel_relu(X), S(6)))
F(relu6_by_clamp, reel_clamp(X, 0, 6))
F(root_inverse, reel_reciprocal(reel_sqrt(POSITIVE(X))))
F(divided, reel_div(X, S(4)))
F(widened, reel_add(X, reel_mul_scalar(Y, 2)))
F(reshape_twice,
  reel_relu(reel_reshape(reel_reshape(X, REEL_SHAPE(-1, 2, 4)), REEL_SHAPE(-1, 4, 2))))
F(reshape_back,
  reel_reshape(reel_gelu(reel_reshape(X, REEL_SHAPE(-1, 2, 4))), REEL_SHAPE(-1, 8)))
F(permute_back, reel_t(reel_exp(reel_t(X))))
F(permute_there_and_back,
  reel_exp(reel_permute(reel_permute(reel_reshape(X, REEL_SHAPE(-1, 2, 4)),
                                     REEL_SHAPE(0, 2, 1)),
                        REEL_SHAPE(0, 2, 1))))
F(permute_round,
  reel_exp(reel_transpose(reel_transpose(reel_reshape(X, REEL_SHAPE(-1, 2, 4)), 1, 2), 0,
                          1)))
F(transposed_square, reel_t(reel_narrow(X, 1, 0, 4)))
F(copied, reel_exp(reel_copy(X)))
#define IMAGE(a) reel_reshape(a, REEL_SHAPE(-1, 2, 2, 2))
#define LAST(a) reel_to_format(a, REEL_CHANNELS_LAST)
F(copied_around, LAST(reel_exp(reel_contiguous(LAST(IMAGE(X))))))
F(copied_around_both,
  LAST(reel_sub(reel_contiguous(LAST(IMAGE(X))), reel_contiguous(LAST(IMAGE(Y))))))
F(transposed_copy, reel_exp(reel_t(reel_contiguous(reel_t(X)))))
F(converted_around, reel_cast(reel_exp(reel_cast(X, REEL_F64)), REEL_F32))
F(cast_up, reel_cast(X, REEL_F64))

static reel_tensor *composed_softmax(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *e = reel_exp(reel_sub(X, reel_max(X, ROWS, true)));
    return reel_div(e, reel_sum(e, ROWS, true));
}

/* The sum over the batch is not a softmax of a row. */
static reel_tensor *sum_of_other_dim(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *e = reel_exp(reel_sub(X, reel_max(X, ROWS, true)));
    return reel_div(e, reel_sum(e, REEL_DIMS(0, 1), true));
}

static reel_tensor *composed_log_softmax(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *d = reel_sub(X, reel_max(X, ROWS, true));
    return reel_sub(d, reel_log(reel_sum(reel_exp(d), ROWS, true)));
}

static reel_tensor *composed_norm(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *d = reel_sub(X, reel_mean(X, ROWS, true));
    reel_tensor *v = reel_mean(reel_square(d), ROWS, true);
    reel_tensor *y = reel_div(d, reel_sqrt(reel_add_scalar(v, 1e-5)));
    return reel_add(reel_mul(y, reel_arange(1, 9, 1, REEL_F32)), S(0.5));
}

F(composed_norm_var,
  reel_mul(reel_sub(X, reel_mean(X, ROWS, true)),
           reel_rsqrt(reel_add_scalar(reel_var(X, ROWS, 0, true), 1e-5))))
F(composed_gelu,
  reel_mul_scalar(reel_mul(X,
                           reel_add_scalar(reel_erf(reel_div(X, S(1.41421356237))), 1)),
                  0.5))
F(composed_gelu_tanh,
  reel_mul(reel_mul_scalar(X, 0.5),
           reel_add_scalar(reel_tanh(reel_mul_scalar(
                               reel_add(X,
                                        reel_mul_scalar(reel_pow_scalar(X, 3), 0.044715)),
                               0.7978845608028654)),
                           1)))
F(composed_silu, reel_mul(X, reel_sigmoid(X)))
F(composed_hardswish,
  reel_mul(X, reel_div(reel_clamp(reel_add_scalar(X, 3), 0, 6), S(6))))

static reel_tensor *heads(reel_tensor *x)
{
    return reel_permute(reel_reshape(x, REEL_SHAPE(-1, 2, 2, 2)), REEL_SHAPE(0, 2, 1, 3));
}

static reel_tensor *composed_attention(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *q = heads(X), *k = heads(Y), *v = heads(reel_add(X, Y));
    reel_tensor *s = reel_div(reel_matmul(q, reel_t(k)), S(1.4142135623730951));
    return reel_matmul(reel_softmax(s, -1), v);
}

static reel_tensor *masked_attention(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *q = heads(X), *k = heads(Y), *v = heads(reel_add(X, Y));
    reel_tensor *s = reel_mul_scalar(reel_matmul(q, reel_t(k)), 0.5);
    reel_tensor *mask = reel_reshape(reel_arange(0, 4, 1, REEL_F32), REEL_SHAPE(2, 2));
    return reel_matmul(reel_softmax(reel_add(s, mask), -1), v);
}

static reel_tensor *scaled_query(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *q = heads(reel_mul_scalar(X, 0.5)), *k = heads(Y),
                *v = heads(reel_add(X, Y));
    return reel_matmul(reel_softmax(reel_matmul(reel_mul_scalar(q, 3), reel_t(k)), -1),
                       v);
}

/* The softmax is along the queries. */
static reel_tensor *no_attention(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *q = heads(X), *k = heads(Y), *v = heads(reel_add(X, Y));
    return reel_matmul(reel_softmax(reel_matmul(q, reel_t(k)), -2), v);
}

F(pointwise_chain, reel_mul(reel_sigmoid(reel_add(X, Y)), reel_exp(reel_neg(Y))))
F(pointwise_broadcast,
  reel_relu(reel_mul(reel_sub(X,
                              reel_expand(reel_mean(X, ROWS, true), REEL_SHAPE(-1, 8))),
                     reel_arange(0, 8, 1, REEL_F32))))
F(pointwise_where, reel_where(reel_gt(X, Y), reel_exp(X), reel_neg(Y)))
F(pointwise_to_bool, reel_add(reel_cast(reel_gt(reel_exp(X), Y), REEL_F32), X))
F(pointwise_alone, reel_sum(reel_exp(X), ROWS, true))

/* Its result is read before the end of the region: it cannot wait. */
static reel_tensor *pointwise_between(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *e = reel_exp(X);
    return reel_div(e, reel_sum(e, ROWS, true));
}

/* Read again after the end: one more output. */
static reel_tensor *pointwise_two_outputs(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *e = reel_exp(X), *r = reel_relu(reel_sub(e, Y));
    return reel_matmul(reel_t(r), e);
}

/* The memory of X is changed between: neither may be moved past it. */
static reel_tensor *changed_between(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *c = reel_copy(X), *a = reel_exp(c);
    reel_add_(c, Y);
    return reel_add(a, reel_exp(c));
}

typedef struct pass_case {
    const char *name;
    const char *passes;
    reel_function fn;
    const char *nodes; /* after it */
    double tolerance;  /* of results; 0: bits */
} pass_case;

#define CASE(passes, fn, nodes, tolerance)                                               \
    {                                                                                    \
#fn, passes, fn, nodes, tolerance                                                \
    }
static const pass_case cases[] = {
    CASE("dce", unread, "relu", 0),
    CASE("fold", of_constants, "add", 0),
    CASE("cse", twice, "exp add", 0),
    CASE("cse", twice_slices, "slice neg add", 0),
    CASE("cse", changed_between, "copy exp add_ exp add", 0),
    CASE("identity", neg_neg, "", 0),
    CASE("identity", neg_neg_read, "neg neg div", 0),
    CASE("fold,identity", times_one, "", 0),
    CASE("identity", sum_of_dense, "slice sum", 1e-6),
    CASE("identity", minus_neg, "add", 0),
    CASE("identity", own_square, "square", 0),
    CASE("identity", nearly_one, "mul_scalar", 0),
    CASE("algebraic", scalar_chain, "mul_scalar", 1e-6),
    CASE("fold,algebraic", sum_chain, "", 1e-6),
    CASE("algebraic", scaled_mean, "sum", 1e-6),
    CASE("algebraic", square_by_pow, "square", 1e-6),
    CASE("fold,algebraic", relu_by_maximum, "maximum", 1e-6),
    CASE("fold,algebraic", relu6_by_minimum, "relu minimum", 1e-6),
    CASE("algebraic", relu6_by_clamp, "relu6", 1e-6),
    CASE("algebraic", root_inverse, "square add_scalar rsqrt", 1e-6),
    CASE("fold,algebraic", divided, "mul_scalar", 1e-6),
    CASE("algebraic", widened, "add_scaled", 1e-6),
    CASE("reshape", reshape_twice, "reshape relu", 0),
    CASE("reshape", reshape_back, "gelu", 0),
    CASE("reshape", permute_back, "exp", 0),
    CASE("dce", permute_there_and_back, "reshape exp", 0),
    CASE("reshape", permute_round, "reshape permute exp", 0),
    CASE("reshape", transposed_square, "slice permute", 0),
    CASE("reshape", copied, "exp", 0),
    CASE("reshape", cast_up, "copy", 0),
    CASE("layout,reshape", copied_around, "reshape exp copy", 0),
    CASE("layout,reshape", copied_around_both, "reshape reshape sub copy", 0),
    CASE("layout", transposed_copy, "exp", 0),
    CASE("layout,reshape", converted_around, "copy exp copy", 0),
    CASE("recognize", composed_softmax, "softmax", 1e-6),
    CASE("recognize", sum_of_other_dim, "max sub exp sum div", 0),
    CASE("recognize", composed_log_softmax, "log_softmax", 1e-5),
    CASE("fold,identity,algebraic,recognize", composed_norm, "layer_norm add_scalar",
         1e-5),
    CASE("algebraic,recognize", composed_norm_var, "layer_norm", 1e-5),
    CASE("fold,algebraic,recognize", composed_gelu, "gelu", 1e-5),
    CASE("algebraic,recognize", composed_gelu_tanh, "gelu_tanh", 1e-5),
    CASE("recognize", composed_silu, "silu", 1e-6),
    CASE("fold,algebraic,recognize", composed_hardswish, "hardswish", 1e-5),
    CASE("fold,algebraic,reshape,recognize", composed_attention,
         "reshape permute reshape add reshape permute permute attention", 1e-5),
    CASE("fold,algebraic,reshape,recognize", masked_attention,
         "reshape permute reshape add reshape permute permute attention", 1e-5),
    CASE("reshape,recognize", scaled_query,
         "mul_scalar reshape permute reshape add reshape permute permute attention",
         1e-5),
    CASE("recognize", no_attention,
         "reshape permute reshape permute add reshape permute permute matmul softmax "
         "matmul",
         0),
    CASE("fuse_pointwise", pointwise_chain, "pointwise", 0),
    CASE("fuse_pointwise,dce", pointwise_broadcast, "arange sum pointwise", 0),
    CASE("fuse_pointwise", pointwise_where, "pointwise", 0),
    CASE("fuse_pointwise", pointwise_to_bool, "pointwise copy add", 0),
    CASE("fuse_pointwise", pointwise_alone, "exp sum", 0),
    CASE("fuse_pointwise", pointwise_between, "exp sum div", 0),
    CASE("fuse_pointwise", pointwise_two_outputs, "pointwise permute matmul", 0),
    CASE("fuse_pointwise", changed_between, "copy exp add_ pointwise", 0),
};

static void node_names(const reel_graph *g, char *buf, size_t size)
{
    buf[0] = '\0';
    for (int i = 0; i < g->n_node; i++) {
        size_t at = strlen(buf);
        (void)snprintf(buf + at, size - at, "%s%s", i ? " " : "", g->node[i].op->name);
    }
}

static reel_tensor *gradient(reel_tensor *y, reel_tensor *x)
{
    reel_tensor *g = NULL;
    reel_tensor *loss = reel_sum(reel_square(reel_add_scalar(y, 0.25)), REEL_ALL, false);
    const reel_backward_opts opts = {.allow_unused = true};
    assert_int_equal(reel_grad(&loss, 1, NULL, &x, 1, &g, &opts), REEL_OK);
    return g;
}

static reel_tensor *rows(int64_t n)
{
    return reel_requires_grad(reel_randn(REEL_SHAPE(n, 8), REEL_F32), true);
}

/* A graph of fn at any batch size. */
static reel_graph *traced(reel_function fn)
{
    reel_tensor *x[] = {rows(3), rows(3)};
    reel_graph *g = reel_trace_function(fn, NULL, x, 2, NULL);
    no_error();
    assert_int_equal(reel_graph_batch(g), 3);
    return g;
}

/* Values and gradients as eager's, at several batch sizes. */
static void compare(const char *name, reel_graph *g, reel_function fn, double tolerance)
{
    static const int64_t batch[] = {3, 1, 7, 64};
    for (int i = 0; i < 4; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x[] = {rows(batch[i]), rows(batch[i])}, *y = fn(NULL, x, 2), *z;
        assert_int_equal(reel_graph_run(g, x, 2, &z, 1), REEL_OK);
        same_values(name, y, z, tolerance);
        reel_tensor *want = gradient(y, X), *have = gradient(z, X);
        assert_true(!want == !have);
        if (want) same_values(name, want, have, 1e-4);
        reel_scope_end(s);
    }
}

/* Numbers at which slopes jump and operands tie, in other places of either operand. */
static reel_tensor *kinks(int shift)
{
    static const float at[] = {0, -0.0F, 6, -3, 3, 1, 0, -6, 0.5F, 6, 0};
    float v[24];
    for (int i = 0; i < 24; i++) v[i] = at[i * (1 + shift) % 11];
    return reel_requires_grad(reel_from(v, REEL_SHAPE(3, 8), REEL_F32), true);
}

/* Slopes as eager's where they jump; where an inner slope is infinite, eager has none. */
static void compare_at_kinks(const char *name, reel_graph *g, reel_function fn)
{
    for (int k = 0; k < 2; k++) {
        reel_tensor *x[] = {kinks(0), kinks(1)}, *y = fn(NULL, x, 2), *z;
        assert_int_equal(reel_graph_run(g, x, 2, &z, 1), REEL_OK);
        reel_tensor *want = gradient(y, x[k]), *have = gradient(z, x[k]);
        if (!want) continue;
        assert_non_null(have);
        float *a = values(want), *b = values(have);
        for (int i = 0; i < 24; i++)
            if (isfinite(a[i]) && !(fabsf(a[i] - b[i]) <= 1e-4F * (1 + fabsf(a[i]))))
                fail_msg("%s: slope %d is %g, not %g", name, i, (double)b[i],
                         (double)a[i]);
        free(a);
        free(b);
    }
}

static reel_status optimize(reel_graph *g, const reel_optimize_opts *opts)
{
    const reel__pass *pass[64];
    int n = 0;
#define PASS(name) pass[n++] = &reel__pass_##name;
#include "trace/passes/passes.def"
#undef PASS
    return reel__optimize(g, opts, pass, n, true);
}

static void test_small_graphs(void **state)
{
    (void)state;
    char names[512];
    reel_seed(11);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pass_case *c = &cases[i];
        reel_scope s = reel_scope_begin();
        reel_graph *g = traced(c->fn);
        assert_int_equal(optimize(g, &(reel_optimize_opts){.only = c->passes}), REEL_OK);
        node_names(g, names, sizeof names);
        if (strcmp(names, c->nodes) != 0)
            fail_msg("%s, %s: \"%s\", expected \"%s\"", c->name, c->passes, names,
                     c->nodes);
        compare(c->name, g, c->fn, c->tolerance);
        reel_graph_free(g);
        reel_scope_end(s);
    }
}

/* Each pass alone on every function, and all of them, and the exact ones: the same values. */
static void test_every_pass_on_every_function(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int p = -2; p < reel_pass_count(); p++) {
            reel_scope s = reel_scope_begin();
            reel_graph *g = traced(cases[i].fn);
            const reel_optimize_opts opts = {.only = p < 0 ? NULL : reel_pass_name(p),
                                             .exact = p == -2};
            assert_int_equal(optimize(g, &opts), REEL_OK);
            compare(cases[i].name, g, cases[i].fn, p == -2 ? 0 : 1e-5);
            compare_at_kinks(cases[i].name, g, cases[i].fn);
            reel_graph_free(g);
            reel_scope_end(s);
        }
}

/* Sums go along memory, so where every bit counts nothing may come to lie in it otherwise. */
static void test_exact_passes_keep_layouts(void **state)
{
    char names[256];
    (void)state;
    reel_scope s = reel_scope_begin();
    reel_graph *g = traced(sum_of_dense);
    assert_int_equal(optimize(g, &(reel_optimize_opts){.exact = true}), REEL_OK);
    node_names(g, names, sizeof names);
    assert_string_equal(names, "slice mul_scalar sum");
    assert_int_equal(optimize(g, NULL), REEL_OK); /* it is not bound for good */
    node_names(g, names, sizeof names);
    assert_string_equal(names, "slice sum");
    reel_graph_free(g);
    reel_scope_end(s);
}

/* ---- parameters are not constants -------------------------------------------------------- */

static reel_tensor *weight; /* declared by some of the functions below */

static reel_status declare(void *user)
{
    (void)user;
    return reel_capture_state(weight, "weight", true);
}

F(of_parameter, reel_add(X, reel_exp(weight)))

static void test_parameters_are_not_folded(void **state)
{
    (void)state;
    weight = reel_requires_grad(reel_ones(REEL_SHAPE(8), REEL_F32), true);
    reel_tensor *x = rows(3);
    reel_graph *g = reel_trace_function(of_parameter, NULL, &x, 1,
                                        &(reel_trace_opts){.declare = declare});
    assert_int_equal(optimize(g, NULL), REEL_OK);
    assert_int_equal(reel_graph_nodes(g), 2);
    reel_graph_free(g);
    /* nor is a constant that asks for a gradient */
    g = reel_trace_function(of_parameter, NULL, &x, 1, NULL);
    assert_int_equal(optimize(g, &(reel_optimize_opts){.only = "fold"}), REEL_OK);
    assert_int_equal(reel_graph_nodes(g), 2);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- the driver --------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    assert_true(reel_pass_count() == 15);
    for (int i = 0; i < reel_pass_count(); i++) {
        assert_true(strlen(reel_pass_name(i)) > 0 && strlen(reel_pass_about(i)) > 0);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(reel_pass_name(i), reel_pass_name(k));
    }
    assert_null(reel_pass_name(-1));
    assert_null(reel_pass_about(reel_pass_count()));
    reel_graph *g = traced(neg_neg);
    assert_int_equal(optimize(g, &(reel_optimize_opts){.only = "dce,fusion"}),
                     REEL_ERR_ARG);
    expect(REEL_ERR_ARG, "only names \"fusion\"; passes are dce, lower_int8, fold");
    assert_int_equal(optimize(g, &(reel_optimize_opts){.skip = "fol"}), REEL_ERR_ARG);
    expect(REEL_ERR_ARG, "skip names \"fol\"");
    assert_int_equal(
        optimize(g, &(reel_optimize_opts){.skip = " identity , fuse_pointwise,"}),
        REEL_OK);
    assert_int_equal(reel_graph_nodes(g), 2);
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    assert_int_equal(reel_graph_nodes(g), 0);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_log(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *log = open_memstream(&text, &size);
    reel_graph *g = traced(neg_neg);
    assert_int_equal(optimize(g, &(reel_optimize_opts){.log = log}), REEL_OK);
    fclose(log);
    assert_non_null(strstr(text, "identity            1 changes, 2 -> 0 nodes\n"));
    free(text);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* A pass that does wrong is caught by the verifier, named, and the graph is as it was. */
static int swap_shapes(reel_graph *g)
{
    g->value[g->node[0].out[0]].meta.dtype = REEL_F64;
    g->node[0].in[0] = g->node[g->n_node - 1].out[0];
    return 1;
}

static int undo_each_other(reel_graph *g)
{
    static const reel__rule rules[] = {REWRITE("exp(x)", "neg(x)"),
                                       REWRITE("neg(x)", "exp(x)")};
    return REEL__APPLY_RULES(g, rules);
}

static int malformed(reel_graph *g)
{
    static const reel__rule rules[] = {REWRITE("add(x, y", "x")};
    return REEL__APPLY_RULES(g, rules);
}

static void test_wrong_passes(void **state)
{
    (void)state;
    static const reel__pass planted[] = {
        {"planted", "reads what is made later", true, swap_shapes},
        {"endless", "does not end", true, undo_each_other},
        {"illiterate", "has a malformed pattern", true, malformed}};
    static const char *const word[] = {"pass planted: graph_check: node",
                                       "pass endless: its rules do not come to an end",
                                       "pass illiterate: pattern \"add(x, y\""};
    for (int i = 0; i < 3; i++) {
        const reel__pass *p = &planted[i];
        reel_graph *g = traced(pointwise_chain);
        char *before = reel_graph_to_string(g);
        assert_int_equal(reel__optimize(g, NULL, &p, 1, true), REEL_ERR_INTERNAL);
        expect(REEL_ERR_INTERNAL, word[i]);
        char *after = reel_graph_to_string(g);
        assert_string_equal(before, after);
        compare("after an error", g, pointwise_chain, 0);
        free(before);
        free(after);
        reel_graph_free(g);
    }
    reel_scope_end(0);
}

/* ---- gradients and infinities through recognize ------------------------------------------ */

static reel_tensor *bias, *table; /* [heads, lq, lk] and what it may be made of */
static int bias_form;

static reel_tensor *biased_attention(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *q = heads(X), *k = heads(Y), *v = heads(reel_add(X, Y)), *t = reel_t(k);
    reel_tensor *b = bias_form == 2 ? reel_mul_scalar(table, 3) : bias;
    reel_tensor *s = bias_form == 1
                         ? reel_add_scaled(b, reel_matmul(q, t), 0.5)
                         : reel_add(reel_mul_scalar(reel_matmul(q, t), 0.5), b);
    return reel_matmul(reel_softmax(s, -1), v);
}

static reel_status declare_bias(void *user)
{
    (void)user;
    reel_status st = reel_capture_state(bias, "bias", true);
    return st ? st : reel_capture_state(table, "table", true);
}

static reel_tensor *gradient_of_bias(reel_tensor *y)
{
    reel_tensor *p = bias_form == 2 ? table : bias;
    assert_int_equal(reel_backward(reel_sum(reel_square(y), REEL_ALL, false), NULL),
                     REEL_OK);
    reel_tensor *g = reel_grad_of(p);
    assert_non_null(g);
    g = reel_copy(g);
    assert_int_equal(reel_set_grad(p, NULL), REEL_OK);
    return g;
}

/* A learned bias on scores, as in Swin, T5 and BEiT, keeps its gradient. */
static void test_attention_with_bias(void **state)
{
    (void)state;
    static const reel_shape shapes[] = {
        {3, {2, 2, 2}}, {2, {2, 2}}, {4, {1, 2, 1, 2}}, {1, {2}}, {3, {2, 1, 1}}};
    for (int i = 0; i < 15; i++) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *x[] = {reel_randn(REEL_SHAPE(3, 8), REEL_F32),
                            reel_randn(REEL_SHAPE(3, 8), REEL_F32)};
        bias_form = i % 3;
        bias = reel_requires_grad(reel_randn(shapes[i / 3], REEL_F32), true);
        table = reel_requires_grad(reel_randn(shapes[i / 3], REEL_F32), true);
        reel_graph *g = reel_trace_function(biased_attention, NULL, x, 2,
                                            &(reel_trace_opts){.declare = declare_bias});
        assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
        assert_string_equal(reel_graph_node_op(g, reel_graph_nodes(g) - 1), "attention");
        reel_tensor *want = biased_attention(NULL, x, 2), *y = NULL;
        assert_int_equal(reel_graph_run(g, x, 2, &y, 1), REEL_OK);
        same_values("biased attention", want, y, 1e-5);
        /* That of a bias which is one for all keys is 0: what is compared is rounding. */
        same_values("gradient of a bias", gradient_of_bias(want), gradient_of_bias(y),
                    1e-4);
        reel_graph_free(g);
        reel_scope_end(scope);
    }
}

F(softmax_without_maximum, reel_div(reel_exp(X), reel_sum(reel_exp(X), ROWS, true)))
F(from_logsumexp, reel_sub(X, reel_logsumexp(X, 1, true)))
F(log_of_softmax, reel_log(reel_softmax(X, 1)))
F(exp_of_log_softmax, reel_exp(reel_log_softmax(X, 1)))

/* What a rewrite gives for a row that holds infinities or NaN, or nothing but -inf, or equal
 * numbers of any size, is what its operators gave. */
static void test_infinities_stay(void **state)
{
    (void)state;
    static const reel_function fn[] = {composed_softmax,        composed_log_softmax,
                                       softmax_without_maximum, from_logsumexp,
                                       log_of_softmax,          exp_of_log_softmax};
    static const float odd[] = {INFINITY, -INFINITY, NAN, 3e38F, -3e38F};
    reel_scope scope = reel_scope_begin();
    float v[12][8];
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < 8; j++) {
            v[i][j] = (float)(j * i % 5);
            if (i < 5 && j == i) v[i][j] = odd[i];
            if (i >= 5 && i < 10) v[i][j] = odd[i - 5];
            if (i == 10 && j % 2) v[i][j] = -INFINITY;
        }
    reel_tensor *x = reel_from(v, REEL_SHAPE(12, 8), REEL_F32);
    for (size_t k = 0; k < sizeof fn / sizeof *fn; k++) {
        reel_graph *g = reel_trace_function(fn[k], NULL, &x, 1, NULL);
        assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
        reel_tensor *want = fn[k](NULL, &x, 1), *y = NULL;
        assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
        float *a = values(want), *b = values(y);
        for (int i = 0; i < 96; i++) {
            bool same = isnan(a[i]) ? isnan(b[i]) != 0
                                    : a[i] == b[i] ||
                                          fabsf(a[i] - b[i]) <= 1e-5F * (1 + fabsf(a[i]));
            if (!same)
                fail_msg("function %d, row %d: %g, expected %g", (int)k, i / 8,
                         (double)b[i], (double)a[i]);
        }
        free(a);
        free(b);
        reel_graph_free(g);
    }
    reel_scope_end(scope);
}

static void test_malformed_patterns(void **state)
{
    (void)state;
    static const char *const text[] = {"",
                                       "add(x, y",
                                       "add(x)",
                                       "nothing(x)",
                                       "add(x, y))",
                                       "relu(x | dim=1)",
                                       "mul_scalar(x | )",
                                       "softmax(x | depth=1)",
                                       "relu(toolongname)"};
    reel__pattern *p = malloc(sizeof *p), *q = malloc(sizeof *q);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        assert_false(reel__pattern_parse(p, text[i], NULL));
        expect(REEL_ERR_INTERNAL, "pattern \"");
    }
    assert_true(reel__pattern_parse(p, "clamp(neg!(x) as n | 0, $b)", NULL));
    assert_false(reel__pattern_parse(q, "add(n, z)", p));
    expect(REEL_ERR_INTERNAL, "names that the pattern has not");
    free(p);
    free(q);
}

/* Each allocation fails once: an error, the graph as it was, and nothing is left. */
static reel_tensor *a_bit_of_all(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor *y = composed_attention(user, x, 2);
    y = reel_add(reel_relu(reel_linear(X, weight, NULL)),
                 reel_reshape(y, REEL_SHAPE(-1, 8)));
    y = reel_mul(y, reel_add_scalar(reel_exp(reel_mul_scalar(y, 0.1)), 2));
    return reel_add(reel_neg(reel_neg(y)), reel_mul(S(2), S(3)));
}

static void test_no_memory(void **state)
{
    (void)state;
    weight = reel_ones(REEL_SHAPE(8, 8), REEL_F32);
    reel_graph *g = traced(a_bit_of_all);
    char *before = reel_graph_to_string(g);
    for (int64_t k = 1;; k++) {
        reel_scope s = reel_scope_begin();
        reel_memory_trim((reel_device){REEL_CPU, 0});
        int64_t live = reel_live_objects();
        reel_graph *copy = reel_graph_copy(g);
        reel__fault_alloc(k, false);
        reel_status st = optimize(copy, NULL);
        bool hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        if (hit) {
            char *after = reel_graph_to_string(copy);
            assert_int_equal(st, REEL_ERR_MEMORY);
            reel_error_clear();
            assert_string_equal(before, after);
            free(after);
        }
        reel_graph_free(copy);
        reel_scope_end(s);
        assert_int_equal(reel_live_objects(), live);
        if (!hit) break;
    }
    free(before);
    reel_graph_free(g);
    reel_scope_end(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_graphs),
        cmocka_unit_test(test_every_pass_on_every_function),
        cmocka_unit_test(test_exact_passes_keep_layouts),
        cmocka_unit_test(test_parameters_are_not_folded),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_wrong_passes),
        cmocka_unit_test(test_attention_with_bias),
        cmocka_unit_test(test_infinities_stay),
        cmocka_unit_test(test_malformed_patterns),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
