/* test_hard_rows.c: the softmax family, cross-entropy and attention on rows that are hard:
 * equal numbers of any size, masks of -1e9, of the lowest number and of -inf, one +inf, NaN,
 * an outlier, denormals, nothing. Every row is drawn; every way to one value or gradient (fused
 * kernel, reference kernel, operators, under create_graph, a graph in which attention was
 * found) must give it, on one thread and on two, with every instruction set. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <reel/autograd.h>
#include <reel/trace.h>

#include "ops/records.h"

/* ---- numbers ----------------------------------------------------------------------- */

static uint64_t state_of_draw;

static int draw(int n) /* 0 .. n - 1 */
{
    uint64_t x = state_of_draw;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    state_of_draw = x;
    return (int)((x >> 33) % (uint64_t)n);
}

static double uniform(void)
{
    return draw(1 << 24) * 0x1p-23 - 1;
}

static void seed(uint64_t s)
{
    state_of_draw = (s + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static double lowest(reel_dtype dt)
{
    return dt == REEL_F64   ? -DBL_MAX
           : dt == REEL_F16 ? -65504
           : dt == REEL_F32 ? -FLT_MAX
                            : -0x1.fep127;
}

static double one_of(const double *v, int n)
{
    return v[draw(n)];
}
#define ONE_OF(...)                                                                      \
    one_of((const double[]){__VA_ARGS__},                                                \
           (int)(sizeof(double[]){__VA_ARGS__} / sizeof(double)))

/* A row of n numbers `step` apart. */
static void hard_row(double *x, int n, int step, reel_dtype dt)
{
    int kind = draw(12);
    double low = lowest(dt);
    double c = ONE_OF(0, 1, -3, 1e4, -1e4, 1e9, -1e9, 1e12, 1e30, low, -low, low / 2);
    for (int j = 0; j < n; j++) {
        double *v = &x[j * step];
        *v = c;                                               /* 0 .. 3: equal */
        if (kind >= 4) *v = uniform() * ONE_OF(1, 10, 100);   /* ordinary */
        if (kind == 4) *v = uniform() * 1e-40;                /* denormal, in f32 */
        if (kind == 5) *v = ONE_OF(0, -0.0, 1, low, low / 2); /* far apart */
        if (kind == 6 && draw(2)) *v = -INFINITY;
        if (kind == 7) *v = -INFINITY;
        if (kind == 8 && draw(3) == 0) *v = ONE_OF(-1e9, low);
    }
    if (n == 0 || kind < 9) return;
    x[draw(n) * step] = kind == 9    ? INFINITY
                        : kind == 10 ? NAN
                                     : ONE_OF(1e30, -low, 1e5, -1e30);
}

static reel_tensor *tensor(const double *v, reel_shape shape, reel_dtype dt)
{
    reel_tensor *x = reel_cast(reel_from(v, shape, REEL_F64), dt);
    assert_non_null(x);
    return x;
}

static reel_tensor *leaf(reel_tensor *x)
{
    return reel_requires_grad(reel_detach(x), true);
}

static double *values(reel_tensor *x)
{
    if (reel_failed() || !x) fail_msg("%s", reel_error_message());
    double *v = calloc((size_t)reel_numel(x) + 1, sizeof *v);
    assert_non_null(v);
    assert_int_equal(reel_read(x, v, REEL_F64), REEL_OK);
    return v;
}

static char what[160]; /* the case under test */

/* NaN where NaN is wanted and only there; the error relative to the larger of 1 and what is
 * wanted. An infinity may stand for a number that the dtype rounds to the largest. */
static void near(const double *got, const double *want, int64_t n, double tolerance,
                 const char *part)
{
    for (int64_t i = 0; i < n; i++) {
        bool good = isnan(want[i]) ? isnan(got[i])
                    : isinf(want[i])
                        ? got[i] == want[i]
                        : fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]));
        if (!good)
            fail_msg("%s, %s: element %d is %.9g, must be %.9g", what, part, (int)i,
                     got[i], want[i]);
    }
}

static void near_tensor(reel_tensor *got, const double *want, double tolerance,
                        const char *part)
{
    double *g = values(got);
    reel_tensor *rounded =
        tensor(want, reel_shape_of(got), reel_dtype_of(got)); /* overflow included */
    double *w = values(rounded);
    near(g, w, reel_numel(got), tolerance, part);
    free(g), free(w);
}

static double tolerance_of(reel_dtype dt)
{
    return dt == REEL_F64   ? 1e-13
           : dt == REEL_F32 ? 4e-6
           : dt == REEL_F16 ? 2e-3
                            : 1.6e-2;
}

static const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};

/* ---- softmax, log_softmax, logsumexp: against their definition ----------------------- */

/* Of n numbers `step` apart; NaN comes by itself but in the maximum. */
static void row_of(const double *x, int n, int step, double *max, double *sum)
{
    *max = -INFINITY, *sum = 0;
    for (int j = 0; j < n; j++)
        if (x[j * step] > *max || isnan(x[j * step])) *max = x[j * step];
    for (int j = 0; j < n; j++) *sum += exp(x[j * step] - *max);
}

enum { SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, FAMILY };

/* y and gx of one row; y and gy of logsumexp have one element. */
static void want_row(int fn, const double *x, const double *gy, int n, int step,
                     double *y, double *gx)
{
    double max, sum, total = 0;
    row_of(x, n, step, &max, &sum);
    for (int j = 0; j < n; j++) {
        double p = exp(x[j * step] - max) / sum;
        if (fn == SOFTMAX) y[j * step] = p;
        if (fn == LOG_SOFTMAX) y[j * step] = x[j * step] - max - log(sum);
        total += gy[fn == LOGSUMEXP ? 0 : j * step] * (fn == SOFTMAX ? p : 1);
    }
    if (fn == LOGSUMEXP) *y = isinf(max) ? max : max + log(sum);
    for (int j = 0; j < n; j++) {
        double p = exp(x[j * step] - max) / sum;
        gx[j * step] = fn == SOFTMAX       ? p * (gy[j * step] - total)
                       : fn == LOG_SOFTMAX ? gy[j * step] - p * total
                                           : p * gy[0];
    }
}

static reel_tensor *family(int fn, reel_tensor *x, int dim)
{
    return fn == SOFTMAX       ? reel_softmax(x, dim)
           : fn == LOG_SOFTMAX ? reel_log_softmax(x, dim)
                               : reel_logsumexp(x, dim, true);
}

/* x [a, n, b] along dimension 1, or [a, n] along the last (b = 1). */
static void check_family(int fn, reel_dtype dt, int a, int n, int b)
{
    snprintf(what, sizeof what, "%s %s[%d,%d,%d]",
             (const char *[]){"softmax", "log_softmax", "logsumexp"}[fn],
             reel_dtype_name(dt), a, n, b);
    reel_shape shape = b > 1 ? REEL_SHAPE(a, n, b) : REEL_SHAPE(a, n);
    size_t size = (size_t)(a * n * b) + 1, results = (size_t)(a * b) * (size_t)(n + 1);
    double *x = calloc(size, sizeof *x), *want = calloc(results, sizeof *want),
           *gx = calloc(size, sizeof *gx);
    for (int i = 0; i < a; i++)
        for (int k = 0; k < b; k++) hard_row(x + i * n * b + k, n, b, dt);
    reel_tensor *in = leaf(tensor(x, shape, dt)), *y = family(fn, in, 1), *g = NULL;
    reel_tensor *gy = reel_rand(reel_shape_of(y), dt);
    double *drawn = values(in), *gyv = values(gy);
    int m = fn == LOGSUMEXP ? 1 : n;
    for (int i = 0; i < a; i++)
        for (int k = 0; k < b; k++)
            want_row(fn, drawn + i * n * b + k, gyv + i * m * b + k, n, b,
                     want + i * m * b + k, gx + i * n * b + k);
    double tolerance = tolerance_of(dt);
    near_tensor(y, want, tolerance, "y");
    for (int create = 0; create < 2; create++) {
        const reel_backward_opts o = {.create_graph = create != 0, .retain_graph = true};
        assert_int_equal(reel_grad(&y, 1, &gy, &in, 1, &g, &o), REEL_OK);
        near_tensor(g, gx, tolerance * (1 + sqrt(n)), create ? "composed gx" : "gx");
    }
    free(x), free(want), free(gx), free(drawn), free(gyv);
}

static void test_family(void **state)
{
    (void)state;
    static const int widths[] = {0, 1, 2, 5, 17, 67, 300};
    for (int round = 0; round < 500; round++) {
        reel_scope s = reel_scope_begin();
        seed((uint64_t)round);
        int fn = draw(FAMILY), n = widths[draw(7)];
        check_family(fn, dtypes[draw(4)], 1 + draw(6), n, draw(2) ? 1 : 1 + draw(5));
        reel_scope_end(s);
    }
}

/* ---- cross-entropy ----------------------------------------------------------------- */

static reel_tensor *ce_of(reel_tensor *x, reel_tensor *t, reel_tensor *w,
                          double smoothing, reel_reduction reduction)
{
    const reel_cross_entropy_opts o = {.label_smoothing = smoothing,
                                       .weight = w,
                                       .reduction = reduction,
                                       .ignore = true,
                                       .ignore_index = -1};
    return reel_cross_entropy(x, t, &o);
}

/* The loss of each row and its gradient by the definition; smoothing of all classes. */
static void check_cross_entropy(reel_dtype dt, int n, int c, double smoothing,
                                bool weighted, bool strided)
{
    snprintf(what, sizeof what, "cross_entropy %s[%d,%d] smoothing %g%s%s",
             reel_dtype_name(dt), n, c, smoothing, weighted ? " weighted" : "",
             strided ? " strided" : "");
    double *x = calloc((size_t)(n * c), sizeof *x),
           *loss = calloc((size_t)n, sizeof *loss),
           *gx = calloc((size_t)(n * c), sizeof *gx), w[128];
    int64_t t[16];
    for (int i = 0; i < n; i++) {
        hard_row(x + i * c, c, 1, dt);
        t[i] = draw(5) ? draw(c) : -1;
    }
    for (int j = 0; j < c; j++) w[j] = weighted ? ONE_OF(0.5, 1, 2) : 1;
    reel_tensor *in = tensor(x, REEL_SHAPE(n, c), dt);
    if (strided) in = reel_t(reel_contiguous(reel_t(in)));
    in = leaf(in);
    double *drawn = values(in);
    for (int i = 0; i < n; i++) {
        double max, sum, all = 0;
        if (t[i] < 0) continue;
        row_of(drawn + i * c, c, 1, &max, &sum);
        for (int j = 0; j < c; j++) {
            double own = (1 - smoothing) * w[j], each = smoothing / c * w[j];
            double drop = log(sum) - (drawn[i * c + j] - max);
            if (j == t[i])
                loss[i] += own * drop; /* NaN for 0 times infinity: PyTorch's */
            if (each != 0) loss[i] += each * drop;
            gx[i * c + j] = -((j == t[i] ? own : 0) + each);
            all -= gx[i * c + j];
        }
        for (int j = 0; j < c; j++)
            gx[i * c + j] += all * exp(drawn[i * c + j] - max) / sum;
    }
    reel_tensor *y =
        ce_of(in, reel_from(t, REEL_SHAPE(n), REEL_I64),
              weighted ? tensor(w, REEL_SHAPE(c), dt) : NULL, smoothing, REEL_NONE);
    double tolerance = tolerance_of(dt);
    near_tensor(y, loss, tolerance * (1 + sqrt(c)), "loss");
    reel_tensor *gy = reel_ones(REEL_SHAPE(n), dt), *g = NULL;
    for (int create = 0; create < 2; create++) {
        const reel_backward_opts o = {.create_graph = create != 0, .retain_graph = true};
        if (create && dt != REEL_F32 && dt != REEL_F64)
            continue; /* rounds at each step */
        assert_int_equal(reel_grad(&y, 1, &gy, &in, 1, &g, &o), REEL_OK);
        near_tensor(g, gx, tolerance * (1 + sqrt(c)), create ? "composed gx" : "gx");
    }
    free(x), free(loss), free(gx), free(drawn);
}

static void test_cross_entropy(void **state)
{
    (void)state;
    static const int widths[] = {1, 2, 5, 17, 67, 120};
    for (int round = 0; round < 400; round++) {
        reel_scope s = reel_scope_begin();
        seed(1000 + (uint64_t)round);
        reel_dtype dt = dtypes[draw(4)];
        int n = 1 + draw(7), c = widths[draw(6)];
        check_cross_entropy(dt, n, c, ONE_OF(0, 0, 0.1, 1), draw(2), draw(2));
        reel_scope_end(s);
    }
}

/* Nothing counts: the mean is 0 / 0, its gradient 0 on both ways. */
static void test_all_ignored(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    const int64_t t[] = {-1, -1};
    reel_tensor *x = leaf(reel_randn(REEL_SHAPE(2, 3), REEL_F32)), *g = NULL;
    reel_tensor *y = ce_of(x, reel_from(t, REEL_SHAPE(2), REEL_I64), NULL, 0, REEL_MEAN);
    assert_true(isnan(reel_item(y)));
    for (int create = 0; create < 2; create++) {
        const reel_backward_opts o = {.create_graph = create != 0, .retain_graph = true};
        assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &g, &o), REEL_OK);
        near_tensor(g, (double[6]){0}, 0, "nothing counts");
    }
    reel_scope_end(s);
}

/* ---- attention --------------------------------------------------------------------- */

/* q, k, v, mask; the mask NULL, bool or added. */
typedef struct problem {
    reel__attention_attrs a;
    reel_tensor *in[4];
} problem;

static reel_tensor *by_record(const problem *p)
{
    return APPLY(&reel__attention, &p->a, p->in[0], p->in[1], p->in[2], p->in[3]);
}

/* Written again in operators. */
static reel_tensor *by_hand(const problem *p)
{
    reel_tensor *mask = p->in[3];
    reel_tensor *s = reel_mul_scalar(
        reel_matmul(p->in[0], reel_transpose(p->in[1], -1, -2)), p->a.scale);
    int64_t lq = reel_size(s, -2), lk = reel_size(s, -1);
    reel_dtype dt = reel_dtype_of(s);
    if (mask && reel_dtype_of(mask) != REEL_BOOL) s = reel_add(s, mask);
    reel_tensor *low = reel_scalar(-INFINITY, dt);
    if (mask && reel_dtype_of(mask) == REEL_BOOL) s = reel_where(mask, s, low);
    if (p->a.causal)
        s = reel_where(reel_ge(reel_reshape(reel_arange(0, (double)lq, 1, REEL_I64),
                                            REEL_SHAPE(lq, 1)),
                               reel_arange(0, (double)lk, 1, REEL_I64)),
                       s, low);
    if (p->a.nan_rows) return reel_matmul(reel_softmax(s, -1), p->in[2]);
    reel_tensor *none = reel_all(reel_eq(s, low), REEL_DIMS(reel_rank(s) - 1),
                                 true); /* nothing is seen */
    reel_tensor *y =
        reel_matmul(reel_softmax(reel_masked_fill(s, none, 0), -1), p->in[2]);
    return reel_masked_fill(y, none, 0);
}

/* y and the gradients of all operands that have one. */
typedef struct outcome {
    reel_tensor *y, *g[4];
} outcome;

static outcome differentiate(const problem *p, reel_tensor *y, reel_tensor *gy,
                             bool create)
{
    outcome o = {.y = y};
    reel_tensor *x[4], *g[4];
    int n = 0, place[4];
    for (int i = 0; i < 4; i++)
        if (p->in[i] && reel_dtype_of(p->in[i]) != REEL_BOOL) {
            x[n] = p->in[i];
            place[n++] = i;
        }
    const reel_backward_opts opts = {.create_graph = create, .retain_graph = true};
    if (!y || reel_grad(&y, 1, &gy, x, n, g, &opts))
        fail_msg("%s: %s", what, reel_error_message());
    for (int i = 0; i < n; i++) o.g[place[i]] = g[i];
    return o;
}

/* The largest finite size in column l of rows [..., d]. */
static double largest_in(reel_tensor *x, int64_t l)
{
    int64_t d = reel_size(x, -1);
    double *v = values(x), largest = 0;
    for (int64_t i = l; i < reel_numel(x); i += d)
        if (isfinite(v[i]) && fabs(v[i]) > largest) largest = fabs(v[i]);
    free(v);
    return largest;
}

/* Sums cancel, so the error of column l is relative to what was summed in it: gq is a sum of
 * rows of k, gk of q, others of numbers near 1. */
static void same_part(reel_tensor *got, reel_tensor *want, reel_tensor *of,
                      double tolerance, const char *part)
{
    assert_int_equal(reel_numel(got), reel_numel(want));
    double *g = values(got), *w = values(want);
    int64_t n = reel_numel(got), d = reel_rank(got) ? reel_size(got, -1) : 1;
    for (int64_t l = 0; n > 0 && l < d; l++) {
        double size = of ? largest_in(of, l) : reel_rank(want) ? largest_in(want, l) : 1;
        for (int64_t i = l; i < n; i += d)
            near(&g[i], &w[i], 1, tolerance * (1 + size), part);
    }
    free(g), free(w);
}

static bool has_nan(reel_tensor *x)
{
    double *v = values(x);
    bool has = false;
    for (int64_t i = 0; i < reel_numel(x); i++) has = has || isnan(v[i]);
    free(v);
    return has;
}

static bool hides(const problem *p)
{
    return p->a.causal || (p->in[3] && reel_dtype_of(p->in[3]) == REEL_BOOL);
}

/* What a row that is NaN gives to keys that are hidden from it is left open: kernels skip
 * blocks of them. */
static void same_outcome(const problem *p, const outcome *got, const outcome *want,
                         double tolerance, const char *how)
{
    static const char *const names[] = {"y", "gq", "gk", "gv", "gmask"};
    bool open = hides(p) && has_nan(want->y);
    for (int i = 0; i < (open ? 1 : 5); i++) {
        reel_tensor *a = i ? got->g[i - 1] : got->y, *b = i ? want->g[i - 1] : want->y;
        assert_true((a == NULL) == (b == NULL));
        if (!a) continue;
        char part[64];
        snprintf(part, sizeof part, "%s by %s", names[i], how);
        same_part(a, b, i == 1 ? p->in[1] : i == 2 ? p->in[0] : NULL, tolerance, part);
    }
}

/* Small whole numbers and one column of any size: products and sums that are exact in any
 * order, so that all ways have the same scores, and a maximum of 1e30 is one. */
static reel_tensor *exact_rows(reel_shape shape, reel_dtype dt, bool hard, bool odd)
{
    int64_t n = 1, d = shape.dim[shape.rank - 1];
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    double *v = calloc((size_t)n + 1, sizeof *v);
    for (int64_t i = 0; i < n; i++) {
        v[i] = draw(5) - 2;
        if (i % d != d - 1) continue;
        v[i] = 1;
        if (!hard || draw(3)) continue;
        v[i] = ONE_OF(0x1p100, -0x1p100, 0x1p-140, lowest(dt), 0x1p33);
        if (dt == REEL_F16 && fabs(v[i]) > 1) v[i] = ONE_OF(0x1p13, -0x1p13);
        if (odd) v[i] = ONE_OF(INFINITY, -INFINITY, NAN);
    }
    reel_tensor *x = tensor(v, shape, dt);
    free(v);
    return x;
}

/* A shape that broadcasts to [b, h, lq, lk]. */
static reel_shape mask_shape(const int64_t full[4])
{
    int rank = draw(5);
    reel_shape s = {.rank = rank};
    for (int i = 0; i < rank; i++) s.dim[i] = draw(3) ? full[4 - rank + i] : 1;
    return s;
}

static reel_tensor *mask_of(reel_shape shape, reel_dtype dt, bool odd)
{
    int64_t n = 1, width = shape.rank ? shape.dim[shape.rank - 1] : 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    double *v = calloc((size_t)n + 1, sizeof *v), row = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i % width == 0) /* of a whole row */
            row = draw(2) ? 0 : ONE_OF(-1e9, lowest(dt), -INFINITY, lowest(dt) / 2, 1e9);
        v[i] = row != 0 ? row : ONE_OF(0, 1, -1, 0.5, -1e9, lowest(dt), -INFINITY);
        if (odd && draw(20) == 0) v[i] = ONE_OF(INFINITY, NAN);
    }
    reel_tensor *m = tensor(v, shape, dt);
    if (draw(3) == 0) m = reel_gt(m, reel_scalar(-1, dt)); /* bool */
    free(v);
    return m;
}

static problem drawn_problem(reel_dtype dt, bool large)
{
    problem p = {.a = {.scale = ONE_OF(1, 0.5, 0.25, -1), .causal = draw(3) == 0}};
    int64_t b = 1 + draw(3), h = 1 + draw(3), lq = draw(9), lk = draw(9), d = 1 + draw(4);
    if (large) lq = 100 + draw(120), lk = 200 + draw(200);
    const int64_t full[] = {b, h, lq, lk};
    bool odd = draw(3) == 0;
    double *v = calloc((size_t)(b * h * lk * 3) + 1, sizeof *v);
    for (int64_t i = 0; i < b * h * lk * 3; i++) v[i] = uniform();
    p.in[0] = exact_rows(REEL_SHAPE(b, h, lq, d), dt, draw(4) == 0, false);
    p.in[1] = exact_rows(REEL_SHAPE(b, h, lk, d), dt, draw(2), odd && !p.a.causal);
    p.in[2] = tensor(v, REEL_SHAPE(b, h, lk, 3), dt);
    if (draw(4)) p.in[3] = mask_of(mask_shape(full), dt, odd);
    p.a.nan_rows = !hides(&p) && draw(3) == 0;
    free(v);
    snprintf(what, sizeof what, "attention %s q [%d,%d,%d,%d], %d keys, mask %s%s%s",
             reel_dtype_name(dt), (int)b, (int)h, (int)lq, (int)d, (int)lk,
             p.in[3] ? reel__meta_text(&p.in[3]->meta, (char[REEL__META_TEXT]){0})
                     : "none",
             p.a.causal ? ", causal" : "", p.a.nan_rows ? ", nan_rows" : "");
    for (int i = 0; i < 4; i++)
        if (p.in[i] && reel_dtype_of(p.in[i]) != REEL_BOOL) p.in[i] = leaf(p.in[i]);
    return p;
}

/* Rows that are not contiguous: the reference kernels. */
static problem strided(const problem *p)
{
    problem s = *p;
    for (int i = 0; i < 3; i++) {
        reel_tensor *two = reel_stack((reel_tensor *[]){p->in[i], p->in[i]}, 2, -1);
        s.in[i] = leaf(reel_select(two, -1, 1));
    }
    return s;
}

static void same_bits(const outcome *a, const outcome *b)
{
    for (int i = 0; i < 5; i++) {
        reel_tensor *x = i ? a->g[i - 1] : a->y, *y = i ? b->g[i - 1] : b->y;
        if (!x) continue;
        double *v = values(x), *w = values(y);
        for (int64_t j = 0; j < reel_numel(x); j++)
            if (memcmp(&v[j], &w[j], sizeof *v) != 0)
                fail_msg("%s: other bits on other threads", what);
        free(v), free(w);
    }
}

static void check_attention(reel_dtype dt, bool large)
{
    problem p = drawn_problem(dt, large), r = strided(&p);
    double tolerance = dt == REEL_F64 ? 1e-12 : 2e-5;
    reel_tensor *y = by_record(&p), *hand = by_hand(&p), *ref = by_record(&r);
    reel_tensor *gy = reel_sub(reel_rand(reel_shape_of(y), dt), reel_scalar(0.5, dt));
    outcome want = differentiate(&p, hand, gy, false);
    outcome one = differentiate(&p, y, gy, false),
            composed = differentiate(&p, y, gy, true);
    outcome far = differentiate(&r, ref, gy, false);
    same_outcome(&p, &one, &want, tolerance, "kernel");
    same_outcome(&p, &composed, &want, tolerance, "create_graph");
    same_outcome(&p, &far, &want, tolerance, "reference");
    assert_int_equal(reel_set_threads(1), REEL_OK);
    y = by_record(&p);
    outcome alone = differentiate(&p, y, gy, false);
    assert_int_equal(reel_set_threads(2), REEL_OK);
    same_bits(&one, &alone);
}

static void test_attention(void **state)
{
    (void)state;
    assert_int_equal(reel_set_threads(2), REEL_OK);
    for (int round = 0; round < 600; round++) {
        reel_scope s = reel_scope_begin();
        seed(2000 + (uint64_t)round);
        check_attention(round % 2 ? REEL_F32 : REEL_F64, round % 100 == 99);
        reel_scope_end(s);
    }
}

/* Halves compute in f32: as the f32 problem of the same numbers, rounded. */
static void test_half_attention(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        reel_scope s = reel_scope_begin();
        seed(3000 + (uint64_t)round);
        problem p = drawn_problem(round % 2 ? REEL_F16 : REEL_BF16, false), f = p;
        reel_dtype dt = reel_dtype_of(p.in[0]);
        for (int i = 0; i < 4; i++)
            if (f.in[i] && reel_dtype_of(f.in[i]) == dt)
                f.in[i] = leaf(reel_cast(p.in[i], REEL_F32));
        reel_tensor *y = by_record(&p), *gy = reel_ones_like(y);
        outcome half = differentiate(&p, y, gy, false);
        outcome full = differentiate(&f, by_hand(&f), reel_cast(gy, REEL_F32), false);
        double *d = values(half.y), *w = values(full.y);
        near(d, w, reel_numel(y), 2 * tolerance_of(dt), "y");
        free(d), free(w);
        bool open = hides(&p) && has_nan(full.y);
        for (int i = 0; i < 4; i++) { /* D is made of a rounded y */
            if (!half.g[i] || open) continue;
            d = values(half.g[i]), w = values(full.g[i]);
            for (int64_t j = 0; j < reel_numel(half.g[i]); j++)
                if (isnan(d[j]) != isnan(w[j]))
                    fail_msg("%s: gradient %d is %g, must be %g", what, i, d[j], w[j]);
            free(d), free(w);
        }
        reel_scope_end(s);
    }
}

/* Scores of 1e9 that are not exact: the probabilities that backward makes again must be those
 * of forward, so with gy = 1 each column of gv sums to the number of queries that see a key. */
static void check_sums(reel_dtype dt, bool large)
{
    problem p = drawn_problem(dt, large);
    double size = dt == REEL_F64 ? 1e8 : dt == REEL_F16 ? 100 : 2e4;
    p.a = (reel__attention_attrs){.scale = ONE_OF(0.3, -0.7, 1.1), .causal = p.a.causal};
    for (int i = 0; i < 2; i++) {
        reel_tensor *x = reel_rand(reel_shape_of(p.in[i]), dt);
        p.in[i] = leaf(reel_mul_scalar(reel_add_scalar(x, -0.4), size));
    }
    problem r = strided(&p);
    for (int far = 0; far < 2; far++) {
        const problem *now = far ? &r : &p;
        reel_tensor *y = by_record(now), *ones = reel_ones_like(y);
        outcome got = differentiate(now, y, ones, false);
        if (has_nan(y)) return; /* a mask of inf */
        double *gv = values(got.g[2]), *yv = values(y);
        double total = 0, rows = 0;
        int64_t n = reel_size(y, -1);
        for (int64_t i = 0; i < reel_numel(y); i += n) {
            bool seen = false; /* zeros: nothing is */
            for (int64_t l = 0; l < n; l++) seen = seen || yv[i + l] != 0;
            rows += seen;
        }
        for (int64_t i = 0; i < reel_numel(got.g[2]); i += n) total += gv[i];
        if (!(fabs(total - rows) <= tolerance_of(dt) * (10 + rows)))
            fail_msg("%s: the probabilities of %g rows sum to %g", what, rows, total);
        free(gv), free(yv);
    }
}

static void test_sums(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        reel_scope s = reel_scope_begin();
        seed(5000 + (uint64_t)round);
        check_sums(dtypes[draw(4)], round % 50 == 49);
        reel_scope_end(s);
    }
}

/* ---- a graph in which attention is found ------------------------------------------- */

static problem traced;

static reel_tensor *run_by_hand(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    problem p = traced;
    for (int i = 0; i < 3; i++) p.in[i] = x[i];
    return by_hand(&p);
}

static reel_status declare_mask(void *user)
{
    (void)user;
    if (!traced.in[3] || reel_dtype_of(traced.in[3]) == REEL_BOOL) return REEL_OK;
    return reel_capture_state(traced.in[3], "mask", true);
}

static bool has_node(const reel_graph *g, const char *op)
{
    for (int i = 0; i < reel_graph_nodes(g); i++)
        if (strcmp(reel_graph_node_op(g, i), op) == 0) return true;
    return false;
}

static void test_found_attention(void **state)
{
    (void)state;
    int found = 0, masked = 0;
    for (int round = 0; round < 200; round++) {
        reel_scope s = reel_scope_begin();
        seed(4000 + (uint64_t)round);
        traced = drawn_problem(round % 2 ? REEL_F32 : REEL_F64, false);
        traced.a.nan_rows = 1; /* as operators have it */
        reel_tensor *hand = by_hand(&traced);
        reel_tensor *gy = reel_rand(reel_shape_of(hand), reel_dtype_of(hand));
        const reel_trace_opts o = {.fixed_batch = true, .declare = declare_mask};
        reel_graph *g = reel_trace_function(run_by_hand, NULL, traced.in, 3, &o);
        reel_tensor *y = NULL;
        if (!g || reel_graph_optimize(g, NULL) || reel_graph_run(g, traced.in, 3, &y, 1))
            fail_msg("%s: %s", what, reel_error_message());
        outcome want = differentiate(&traced, hand, gy, false);
        outcome got = differentiate(&traced, y, gy, false);
        same_outcome(&traced, &got, &want, round % 2 ? 2e-5 : 1e-12, "optimized graph");
        found += has_node(g, "attention");
        masked += has_node(g, "attention") && got.g[3];
        reel_graph_free(g);
        reel_scope_end(s);
    }
    assert_true(found > 50 && masked > 20); /* the test is of something */
}

/* ---- once for each instruction set ------------------------------------------------- */

static bool is_child;

/* REEL_ISA is read once a process: the other tests run in one of their own for each. */
static void test_other_isas(void **state)
{
    (void)state;
    if (is_child) skip();
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) skip();
    program[n] = '\0';
    static const char *const isas[] = {"baseline", "avx2"};
    for (int i = 0; i < 2; i++) {
        if (strcmp(reel_cpu_isa(), isas[i]) == 0) break; /* the best that there is */
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            setenv("REEL_ISA", isas[i], 1);
            execl(program, program, "here", (char *)NULL);
            _exit(99);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("REEL_ISA=%s fails", isas[i]);
    }
}

int main(int argc, char **argv)
{
    (void)argv;
    is_child = argc > 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_family),          cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_all_ignored),     cmocka_unit_test(test_attention),
        cmocka_unit_test(test_half_attention),  cmocka_unit_test(test_sums),
        cmocka_unit_test(test_found_attention), cmocka_unit_test(test_other_isas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
