/* test_edges.c: docs/edges.md, held. Every pointwise record with a gradient at zeros, bounds
 * and just beside them, infinities, NaN, the largest, the least and denormal numbers: the
 * gradient of an ordinary backward and of one that is itself recorded are the same bits. What
 * the rules say in numbers; draws that stay below their bound; small faults of the past. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "ops/records.h"
#include "support/sample.h"

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return reel_live_objects() != 0;
}

static reel_tensor *leaf(reel_tensor *x)
{
    return reel_requires_grad(x, true);
}

/* ---- both ways to a gradient ------------------------------------------------------------- */

/* Where functions bend, or are clipped; attributes of the record follow. */
static const double bends[] = {0, 1, 3, 6, 0.5, 0.7, 1.1, 40, 88.5, 1e4};
enum { N_BENDS = sizeof bends / sizeof *bends, MOST_EDGES = 256 };

typedef struct edges {
    double x[MOST_EDGES];
    int n;
} edges;

static void add_edge(edges *e, reel_dtype dtype, double x)
{
    const float f = (float)x;
    const bool narrow = dtype != REEL_F64;
    for (int sign = -1; sign <= 1; sign += 2) {
        e->x[e->n++] = sign * x;
        e->x[e->n++] = sign * (narrow ? (double)nextafterf(f, INFINITY)
                                      : nextafter(x, (double)INFINITY));
        e->x[e->n++] = sign * (narrow ? (double)nextafterf(f, -INFINITY)
                                      : nextafter(x, -(double)INFINITY));
    }
}

static edges edges_of(reel_dtype dtype, const double *a, int n_a)
{
    edges e = {.n = 0};
    const bool narrow = dtype != REEL_F64;
    const double most = narrow ? (double)FLT_MAX : DBL_MAX;
    const double least = narrow ? (double)FLT_MIN : DBL_MIN;
    for (int i = 0; i < N_BENDS; i++) add_edge(&e, dtype, bends[i]);
    for (int i = 0; i < n_a; i++) add_edge(&e, dtype, a[i]);
    for (int sign = -1; sign <= 1; sign += 2) {
        const double more[] = {(double)INFINITY, most, most / 2, least, least / 3};
        for (int i = 0; i < 5; i++) e.x[e.n++] = sign * more[i];
    }
    e.x[e.n++] = (double)NAN;
    return e;
}

/* Input i of n: each edge meets each other one. */
static reel_tensor *grid(const edges *e, int i, int n, reel_dtype dtype)
{
    reel_tensor *x = reel_cast(reel_from(e->x, REEL_SHAPE(e->n), REEL_F64), dtype);
    if (n == 1) return x;
    x = i == 0 ? reel_unsqueeze(x, 1) : x;
    return reel_contiguous(reel_expand(x, REEL_SHAPE(e->n, e->n)));
}

static bool same_bits(const double *a, const double *b, int64_t n, int64_t *at)
{
    for (*at = 0; *at < n; ++*at) {
        const double x = a[*at], y = b[*at];
        if (isnan(x) && isnan(y)) continue;
        if (x != y || !!signbit(x) != !!signbit(y)) return false;
    }
    return true;
}

typedef struct asked {
    const sample *sample;
    reel_tensor *in[3], *x[3]; /* inputs; those that are differentiable */
    int n_x;
    reel_tensor *y, *gy;
} asked;

static asked ask(const sample *s, reel_dtype dtype)
{
    const reel__op *op = s->op;
    const double *a = op->attrs == &reel__scalar_schema ? s->attrs : NULL;
    asked q = {.sample = s};
    edges e = edges_of(dtype, a, a ? 2 : 0);
    for (int i = 0; i < op->n_in; i++) {
        if (s->in[i].kind == SAMPLE_BOOL) {
            q.in[i] = reel_gt(grid(&e, i, op->n_in, dtype), reel_scalar(0, dtype));
            continue;
        }
        q.in[i] = q.x[q.n_x++] = leaf(grid(&e, i, op->n_in, dtype));
    }
    q.y = reel__apply1(op, s->attrs, op->n_in, q.in);
    if (!q.y) fail_msg("%s: %s", op->name, reel_error_message());
    int64_t n = reel_numel(q.y);
    double *g = malloc((size_t)n * sizeof *g);
    assert_non_null(g);
    static const double some[] = {1, -2.5, 0.25, 0, 1e30, (double)INFINITY, 3};
    for (int64_t i = 0; i < n; i++) g[i] = some[i % 7];
    q.gy = reel_cast(
        reel_reshape(reel_from(g, REEL_SHAPE(n), REEL_F64), reel_shape_of(q.y)), dtype);
    free(g);
    return q;
}

static void gradients(const asked *q, bool create_graph, reel_tensor *gx[3])
{
    const reel_backward_opts opts = {.create_graph = create_graph, .retain_graph = true};
    if (reel_grad(&q->y, 1, &q->gy, q->x, q->n_x, gx, &opts))
        fail_msg("%s: %s", q->sample->op->name, reel_error_message());
}

static void compare_paths(const sample *s, reel_dtype dtype)
{
    const asked q = ask(s, dtype);
    reel_tensor *plain[3], *recorded[3];
    gradients(&q, false, plain);
    gradients(&q, true, recorded);
    for (int k = 0; k < q.n_x; k++) {
        int64_t n = reel_numel(plain[k]), at;
        double *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b);
        assert_true(a && b);
        assert_int_equal(reel_read(plain[k], a, REEL_F64), REEL_OK);
        assert_int_equal(reel_read(recorded[k], b, REEL_F64), REEL_OK);
        if (!same_bits(a, b, n, &at))
            fail_msg("%s %s: gradient %d, element %lld is %.17g, with create_graph %.17g",
                     s->op->name, reel_dtype_name(dtype), k, (long long)at, a[at], b[at]);
        free(a);
        free(b);
    }
}

static bool is_asked(const reel__op *op)
{
    bool floats = op->dtypes & (DTYPE(REEL_F32) | DTYPE(REEL_BOOL));
    return (op->traits & REEL_OP_POINTWISE) && op->vjp && floats &&
           !(op->traits & REEL_OP_INPLACE);
}

static void both_paths(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};
    int records = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        if ((op->traits & REEL_OP_POINTWISE) && !op->vjp &&
            !(op->traits & REEL_OP_NO_GRAD))
            fail_msg("%s has no gradient: programs of such steps count on one", op->name);
        if (!is_asked(op)) continue;
        records++;
        for (int line = 0; line < sample_lines(op->sample); line++)
            for (int d = 0; d < 4; d++) {
                sample s;
                reel_scope scope = reel_scope_begin();
                assert_true(sample_parse(op, op->sample, line, &s));
                compare_paths(&s, dtypes[d]);
                reel_scope_end(scope);
            }
    }
    assert_true(records > 50);
}

/* ---- the rules, in numbers ----------------------------------------------------------------- */

#define INF ((double)INFINITY)
#define NONE ((double)NAN)

static const struct rule {
    const char *op;
    double a[2], x, y; /* y: the second operand */
    double want[2];    /* slopes */
} rules[] = {
    /* at a bound 0, beside it inside 1 */
    {"relu", {0}, 0, 0, {0}},
    {"relu", {0}, -0.0, 0, {0}},
    {"relu", {0}, 1e-30, 0, {1}},
    {"relu6", {0}, 0, 0, {0}},
    {"relu6", {0}, 6, 0, {0}},
    {"relu6", {0}, 5.5, 0, {1}},
    {"clamp", {-0.5, 2}, -0.5, 0, {0}},
    {"clamp", {-0.5, 2}, 2, 0, {0}},
    {"clamp", {-0.5, 2}, -0.4375, 0, {1}},
    {"clamp", {-0.5, 2}, 1.75, 0, {1}},
    {"clamp", {-INF, 2}, -INF, 0, {0}},
    {"clamp", {-INF, 2}, -1e30, 0, {1}},
    {"hardsigmoid", {0}, -3, 0, {0}},
    {"hardsigmoid", {0}, 3, 0, {0}},
    {"hardswish", {0}, -3, 0, {0}},
    {"hardswish", {0}, 3, 0, {1}},
    {"leaky_relu", {0.25}, 0, 0, {0.25}},
    {"elu", {0.75}, 0, 0, {0.75}},
    {"abs", {0}, 0, 0, {0}},
    /* a NaN passes the gradient on */
    {"relu", {0}, NONE, 0, {1}},
    {"relu6", {0}, NONE, 0, {1}},
    {"clamp", {-0.5, 2}, NONE, 0, {1}},
    {"hardsigmoid", {0}, NONE, 0, {1. / 6}},
    {"hardswish", {0}, NONE, 0, {1}},
    {"elu", {0.75}, NONE, 0, {1}},
    {"leaky_relu", {0.25}, NONE, 0, {0.25}},
    {"maximum", {0}, NONE, 1, {1, 1}},
    {"maximum", {0}, 1, NONE, {1, 1}},
    {"minimum", {0}, NONE, NONE, {1, 1}},
    /* ties share */
    {"maximum", {0}, 2, 2, {0.5, 0.5}},
    {"minimum", {0}, 0, -0.0, {0.5, 0.5}},
    {"maximum", {0}, INF, INF, {0.5, 0.5}},
    {"maximum", {0}, INF, 1, {1, 0}},
    /* far out */
    {"elu", {0.75}, INF, 0, {1}},
    {"elu", {0.75}, -INF, 0, {0}},
    {"hardswish", {0}, INF, 0, {1}},
    {"hardswish", {0}, -INF, 0, {0}},
    {"gelu_tanh", {0}, 1e30, 0, {1}},
    {"gelu_tanh", {0}, -1e30, 0, {0}},
    {"softplus", {0}, INF, 0, {1}},
    {"bce_with_logits", {0}, INF, 1, {0, -INF}},
    /* powers of 0 */
    {"pow", {0}, 0, 0, {0, 0}},
    {"pow", {0}, 0, 2, {0, 0}},
    {"pow", {0}, 0, -1, {-INF, -INF}},
};

static void check_rule(const struct rule *r, reel_dtype dtype, bool create_graph)
{
    const reel__op *op = reel__op_by_name(r->op);
    assert_non_null(op);
    const reel__scalar_attrs a = reel__scalars(r->a[0], r->a[1]);
    reel_tensor *x[2] = {leaf(reel_full(REEL_SHAPE(5), r->x, dtype)),
                         leaf(reel_full(REEL_SHAPE(5), r->y, dtype))};
    reel_tensor *y = reel__apply1(op, op->attrs ? &a : NULL, op->n_in, x), *gx[2];
    reel_tensor *gy = reel_ones(REEL_SHAPE(5), dtype);
    const reel_backward_opts opts = {.create_graph = create_graph};
    assert_int_equal(reel_grad(&y, 1, &gy, x, op->n_in, gx, &opts), REEL_OK);
    for (int k = 0; k < op->n_in; k++) {
        double got = reel_item(reel_select(gx[k], 0, 3)), eps = 1e-2 * fabs(r->want[k]);
        if (got != r->want[k] && !(fabs(got - r->want[k]) <= eps))
            fail_msg("%s %s at (%g, %g): slope %d is %g, not %g", r->op,
                     reel_dtype_name(dtype), r->x, r->y, k, got, r->want[k]);
    }
}

static void rules_hold(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_BF16};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (int how = 0; how < 6; how++) check_rule(&rules[i], dtypes[how / 2], how % 2);
}

/* ---- values -------------------------------------------------------------------------------- */

static reel_tensor *f32(double x)
{
    return reel_full(REEL_SHAPE(9), x, REEL_F32);
}

static double first(reel_tensor *x)
{
    return reel_item(reel_select(x, 0, 0));
}

static void values_at_the_edge(void **state)
{
    (void)state;
    /* lerp ends where it should */
    assert_true(first(reel_lerp(f32(1e8), f32(0.25), 1)) == 0.25);
    assert_true(first(reel_lerp(f32(1e8), f32(0.25), 0)) == 1e8);
    assert_true(first(reel_lerp(f32(0.25), f32(-1e30), 1)) == (double)-1e30f);
    assert_true(first(reel_lerp(f32(1), f32(2), 0.75)) == 1.75);
    assert_true(first(reel_lerp(f32(1), f32(2), 0.25)) == 1.25);
    /* relu keeps the sign of 0, wherever it runs */
    assert_true(signbit(first(reel_relu(f32(-0.0)))));
    assert_true(signbit(first(reel_relu6(f32(-0.0)))));
    assert_true(isnan(first(reel_relu(f32((double)NAN)))));
    assert_true(isnan(first(reel_clamp(f32((double)NAN), 0, 1))));
    /* logits that leave no doubt */
    const double x[] = {INF, -INF, INF, -INF, 1e30, -1e30};
    const double t[] = {1, 0, 0, 1, 1, 0.5}, want[] = {0, 0, INF, INF, 0, 0.5e30};
    for (int i = 0; i < 6; i++) {
        double got = first(reel_bce_with_logits(f32(x[i]), f32(t[i]), REEL_NONE));
        if (!(got == want[i] || fabs(got - want[i]) < 1e-6 * want[i]))
            fail_msg("loss of %g, %g is %g, not %g", x[i], t[i], got, want[i]);
    }
}

/* A relu of its own and one that ends another operator, in both memory formats. */
static void minus_zero_everywhere(void **state)
{
    (void)state;
    for (int c = 1; c < 40; c += 6) {
        reel_tensor *x =
            reel_mul_scalar(reel_ones(REEL_SHAPE(2, c, 3, 3), REEL_F32), -0.0);
        reel_tensor *zero = reel_zeros(REEL_SHAPE(c), REEL_F32);
        reel_tensor *one = reel_ones(REEL_SHAPE(c), REEL_F32);
        reel_tensor *bias = reel_mul_scalar(one, -0.0);
        for (int last = 0; last < 2; last++) {
            reel_tensor *in = last ? reel_to_format(x, REEL_CHANNELS_LAST) : x;
            reel_tensor *y[] = {
                reel_relu(in),
                reel_relu(reel_batch_norm(in, one, bias, zero, one, NULL, NULL)),
                reel_batch_norm(in, one, bias, zero, one, NULL,
                                &(reel_batch_norm_opts){.relu = true}),
                /* a deviation so small that loops are in f64 */
                reel_batch_norm(in, one, bias, zero, zero, NULL,
                                &(reel_batch_norm_opts){.eps = 1e-40, .relu = true}),
            };
            double v[4][2 * 40 * 9];
            int64_t n = reel_numel(x), at;
            for (int i = 0; i < 4; i++)
                assert_int_equal(reel_read(y[i], v[i], REEL_F64), REEL_OK);
            assert_true(signbit(v[0][n - 1]));
            for (int i = 2; i < 4; i++)
                if (!same_bits(v[1], v[i], n, &at))
                    fail_msg("%d: element %d", i, (int)at);
        }
    }
}

/* Slopes that are constant far out have a slope of 0 there, though squares overflow. */
static void second_derivatives_far_out(void **state)
{
    (void)state;
    reel_tensor *(*const smooth[])(reel_tensor *) = {reel_gelu, reel_gelu_tanh,
                                                     reel_silu};
    const double at[] = {1e25, -1e25, 3e38, -3e38, 50, -300};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 6; k++) {
            reel_tensor *x = leaf(f32(at[k])), *gx, *ggx;
            reel_tensor *y = reel_sum(smooth[i](x), REEL_ALL, false);
            const reel_backward_opts recorded = {.create_graph = true};
            assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &gx, &recorded), REEL_OK);
            gx = reel_sum(gx, REEL_ALL, false);
            assert_int_equal(reel_grad(&gx, 1, NULL, &x, 1, &ggx, NULL), REEL_OK);
            if (first(ggx) != 0) fail_msg("%d at %g: %g", i, at[k], first(ggx));
        }
}

/* A denormal is 0 for arithmetic, which flushes it, in libm's functions as in our own; it is true,
 * which is a matter of bits. */
static void denormals(void **state)
{
    (void)state;
    static const double small[] = {1e-40, -1e-40};
    reel_tensor *x = NULL, *two = reel_full(REEL_SHAPE(2), 2, REEL_F32);
    for (int half = 0; half < 2; half++) {
        reel_set_flush_denormals(false);
        x = reel_cast(reel_from(small, REEL_SHAPE(2), REEL_F64),
                      half ? REEL_BF16 : REEL_F32);
        reel_set_flush_denormals(true);
        reel_tensor *power = reel_pow(x, x), *inverse = reel_pow_scalar(x, -1);
        assert_true(first(power) == 1);
        assert_true(reel_item(reel_select(power, 0, 1)) == 1);
        assert_true(first(inverse) == INF);
        assert_true(reel_item(reel_select(inverse, 0, 1)) == -INF);
        assert_true(isnan(first(reel_fmod(reel_cast(two, reel_dtype_of(x)), x))));
        assert_true(reel_item(reel_any(x, REEL_ALL, false)) == 1);
        assert_true(reel_item(reel_all(x, REEL_ALL, false)) == 1);
    }
}

/* ---- empty ---------------------------------------------------------------------------------- */

static void of_nothing(void **state)
{
    (void)state;
    double v[2];
    reel_tensor *x = leaf(reel_zeros(REEL_SHAPE(0, 2), REEL_F32));
    reel_tensor *y = reel_logsumexp(x, 0, false), *piece[2];
    assert_int_equal(reel_read(y, v, REEL_F64), REEL_OK);
    assert_true(v[0] == -INF && v[1] == -INF);
    assert_int_equal(reel_backward(reel_sum(y, REEL_ALL, false), NULL), REEL_OK);
    assert_int_equal(reel_numel(reel_grad_of(x)), 0);
    assert_int_equal(reel_split(x, 2, 0, piece, 2), 1);
    assert_int_equal(reel_size(piece[0], 0), 0);
    assert_int_equal(reel_size(piece[0], 1), 2);
    assert_int_equal(reel_split(x, 2, 0, piece, 0), -1);
    reel_error_clear();
    assert_null(reel_reshape(x, REEL_SHAPE(-1, 0)));
    assert_int_equal(reel_error_status(), REEL_ERR_SHAPE);
    reel_error_clear();
    assert_int_equal(reel_size(reel_reshape(x, REEL_SHAPE(-1)), 0), 0);
    assert_int_equal(reel_size(reel_reshape(x, REEL_SHAPE(-1, 2)), 0), 0);
    assert_int_equal(reel_size(reel_reshape(x, REEL_SHAPE(3, 0)), 0), 3);
}

/* ---- losses of which no row counts ---------------------------------------------------------- */

static void no_row_counts(void **state)
{
    (void)state;
    for (int how = 0; how < 16; how++) {
        reel_tensor *x = leaf(reel_rand(REEL_SHAPE(3, 4), REEL_F32)), *gx;
        reel_tensor *t = reel_full(REEL_SHAPE(3), how & 8 ? 1 : 2, REEL_I64);
        if (how & 8)
            t = reel_cat((reel_tensor *[]){reel_narrow(t, 0, 0, 1),
                                           reel_full(REEL_SHAPE(2), 2, REEL_I64)},
                         2, 0);
        const reel_cross_entropy_opts opts = {
            .ignore = true,
            .ignore_index = 2,
            .label_smoothing = how & 2 ? 0.1 : 0,
            .weight = how & 4 ? reel_full(REEL_SHAPE(4), 0.5, REEL_F32) : NULL};
        reel_tensor *loss = reel_cross_entropy(x, t, &opts);
        reel_tensor *gy = reel_scalar(1.5, REEL_F32);
        const reel_backward_opts way = {.create_graph = how & 1};
        assert_int_equal(reel_grad(&loss, 1, &gy, &x, 1, &gx, &way), REEL_OK);
        double v[12];
        assert_int_equal(reel_read(gx, v, REEL_F64), REEL_OK);
        for (int i = how & 8 ? 4 : 0; i < 12; i++)
            if (v[i] != 0) fail_msg("way %d: gradient %d is %g", how, i, v[i]);
    }
}

/* ---- draws ---------------------------------------------------------------------------------- */

static double as(reel_dtype dtype, double x)
{
    return reel_item(reel_scalar(x, dtype));
}

static void uniform_numbers_stay_below(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F16, REEL_BF16, REEL_F32, REEL_F64};
    reel_seed(3);
    double unit[64];
    assert_int_equal(reel_read(reel_rand(REEL_SHAPE(64), REEL_F64), unit, REEL_F64),
                     REEL_OK);
    for (int round = 0; round < 240; round++) {
        reel_scope s = reel_scope_begin();
        reel_dtype dtype = dtypes[round % 4];
        double size = ldexp(1, (int)(unit[round % 64] * 24) - 12);
        double low = round < 4 ? 0 : size * (unit[(round + 7) % 64] - 0.5);
        double width = round < 4 ? 1 : size * unit[(round * 5 + 3) % 64];
        if (round % 3 == 2)
            width = ldexp(width, -12); /* a few numbers, or none, between */
        double high = round % 5 == 4 && low < 0 ? 0 : low + width;
        reel_tensor *x =
            reel_init_uniform(reel_empty(REEL_SHAPE(20000), dtype), low, high);
        assert_non_null(x);
        double least = reel_item(reel_min(x, REEL_ALL, false));
        double most = reel_item(reel_max(x, REEL_ALL, false));
        double from = as(dtype, low), to = as(dtype, high);
        if (!(least >= from && (most < to || (from == to && most == to))))
            fail_msg("%s in [%.9g, %.9g): %.9g to %.9g", reel_dtype_name(dtype), low,
                     high, least, most);
        reel_scope_end(s);
    }
}

/* ---- sums of many by index, in any float ----------------------------------------------------- */

static void sums_by_index(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F64, REEL_F32, REEL_F16, REEL_BF16};
    enum { N = 30000 };
    reel_tensor *index = reel_zeros(REEL_SHAPE(N), REEL_I64);
    for (int d = 0; d < 4; d++) {
        reel_dtype dtype = dtypes[d];
        reel_tensor *ones = reel_ones(REEL_SHAPE(N), dtype);
        double want = reel_item(reel_sum(ones, REEL_ALL, false));
        reel_tensor *s =
            reel_scatter_add(reel_zeros(REEL_SHAPE(2), dtype), 0, index, ones);
        reel_tensor *w = leaf(reel_zeros(REEL_SHAPE(2, 1), dtype));
        reel_tensor *x = leaf(reel_zeros(REEL_SHAPE(2), dtype));
        reel_tensor *gy = reel_ones(REEL_SHAPE(N, 1), dtype), *gw, *gx;
        reel_tensor *e = reel_embedding(w, index), *p = reel_gather(x, 0, index);
        assert_int_equal(reel_grad(&e, 1, &gy, &w, 1, &gw, NULL), REEL_OK);
        assert_int_equal(reel_grad(&p, 1, &ones, &x, 1, &gx, NULL), REEL_OK);
        assert_true(fabs(want - N) <= (d < 2 ? 0 : N * 4e-3));
        assert_true(first(s) == want);
        assert_true(first(reel_squeeze(gw, 1)) == want);
        assert_true(first(gx) == want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(both_paths, clean),
        cmocka_unit_test_teardown(rules_hold, clean),
        cmocka_unit_test_teardown(values_at_the_edge, clean),
        cmocka_unit_test_teardown(minus_zero_everywhere, clean),
        cmocka_unit_test_teardown(second_derivatives_far_out, clean),
        cmocka_unit_test_teardown(denormals, clean),
        cmocka_unit_test_teardown(of_nothing, clean),
        cmocka_unit_test_teardown(no_row_counts, clean),
        cmocka_unit_test_teardown(uniform_numbers_stay_below, clean),
        cmocka_unit_test_teardown(sums_by_index, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
