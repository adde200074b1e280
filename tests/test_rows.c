/* Softmax family, cross-entropy and layer norm: the fast kernels against double
 * precision. */
#include <reel/ops.h>

#include "kernel_check.h"

static const int64_t widths[] = {1, 3, 4, 15, 16, 17, 33, 64, 100, 1000, 4099};
enum { WIDTHS = sizeof widths / sizeof *widths, ROWS = 37 };

static float *floats(operand *x)
{
    return x->data;
}

/* The operand as rows with a gap between them. */
static operand gapped(int64_t n, int64_t c, float scale, uint64_t seed)
{
    operand x = make(REEL_SHAPE(n, c + 3), REEL_F32, NULL, seed);
    for (int64_t i = 0; i < n * (c + 3); i++) floats(&x)[i] *= scale;
    x.meta.dim[1] = c;
    return x;
}

static double logsumexp_of(const operand *x, int64_t i)
{
    double m = -INFINITY, s = 0;
    for (int64_t j = 0; j < x->meta.dim[1]; j++) m = fmax(m, at(x, (int64_t[]){i, j}));
    for (int64_t j = 0; j < x->meta.dim[1]; j++) s += exp(at(x, (int64_t[]){i, j}) - m);
    return m + log(s);
}

static void softmax_family(void **state)
{
    (void)state;
    for (int k = 0; k < WIDTHS; k++)
        for (int big = 0; big < 2; big++) {
            int64_t c = widths[k];
            reel__dim_attrs attrs = {.dim = 1};
            operand x = gapped(ROWS, c, big ? 90 : 3, 1);
            operand p = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 2);
            operand l = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 3);
            operand s = make(REEL_SHAPE(ROWS, 1), REEL_F32, NULL, 4);
            assert_int_equal(call_fast(reel__fast_softmax, &x, 1, &p, 1, &attrs),
                             REEL_OK);
            assert_int_equal(call_fast(reel__fast_log_softmax, &x, 1, &l, 1, &attrs),
                             REEL_OK);
            assert_int_equal(call_fast(reel__fast_logsumexp, &x, 1, &s, 1, &attrs),
                             REEL_OK);
            for (int64_t i = 0; i < ROWS; i++) {
                double lse = logsumexp_of(&x, i);
                check_near(at(&s, (int64_t[]){i, 0}), lse, 2e-6 + 1e-7 * fabs(lse),
                           "lse");
                for (int64_t j = 0; j < c; j++) {
                    int64_t ij[] = {i, j};
                    double v = at(&x, ij) - lse;
                    check_near(at(&p, ij), exp(v), (1 - v) * 1e-6 * exp(v) + 1e-37,
                               "softmax");
                    check_near(at(&l, ij), v, 2e-6 + 1e-6 * fabs(v), "log_softmax");
                }
            }
            drop(&x), drop(&p), drop(&l), drop(&s);
        }
}

static void softmax_gradients(void **state)
{
    (void)state;
    for (int k = 0; k < WIDTHS; k++) {
        int64_t c = widths[k];
        reel__dim_attrs attrs = {.dim = 1};
        operand in[2] = {gapped(ROWS, c, 1, 1), gapped(ROWS, c, 2, 2)};
        operand gp = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 3);
        operand gl = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 4);
        assert_int_equal(call_fast(reel__fast_softmax_backward, in, 2, &gp, 1, &attrs),
                         0);
        assert_int_equal(
            call_fast(reel__fast_log_softmax_backward, in, 2, &gl, 1, &attrs), 0);
        for (int64_t i = 0; i < ROWS; i++) {
            double dot = 0, sum = 0, size = 1;
            for (int64_t j = 0; j < c; j++) {
                double g = at(&in[0], (int64_t[]){i, j}),
                       y = at(&in[1], (int64_t[]){i, j});
                dot += g * y;
                sum += g;
                size += fabs(g * y);
            }
            for (int64_t j = 0; j < c; j++) {
                int64_t ij[] = {i, j};
                double g = at(&in[0], ij), y = at(&in[1], ij);
                check_near(at(&gp, ij), y * (g - dot), 1e-6 * size, "softmax_backward");
                check_near(at(&gl, ij), g - exp(y) * sum, 4e-6 * size,
                           "log_softmax_backward");
            }
        }
        drop(&in[0]), drop(&in[1]), drop(&gp), drop(&gl);
    }
}

/* Infinities and NaN go where the formula sends them. */
static void special_values(void **state)
{
    (void)state;
    reel__dim_attrs attrs = {.dim = 1};
    operand x = make(REEL_SHAPE(4, 21), REEL_F32, NULL, 1);
    operand p = make(REEL_SHAPE(4, 21), REEL_F32, NULL, 2);
    operand s = make(REEL_SHAPE(4), REEL_F32, NULL, 3);
    for (int j = 0; j < 21; j++) floats(&x)[j] = -INFINITY; /* row 0: nothing but -inf  */
    floats(&x)[21 + 2] = -INFINITY;                         /* row 1: one probability 0 */
    floats(&x)[42 + 20] = NAN;
    floats(&x)[63 + 5] = INFINITY;
    assert_int_equal(call_fast(reel__fast_softmax, &x, 1, &p, 1, &attrs), REEL_OK);
    assert_int_equal(call_fast(reel__fast_logsumexp, &x, 1, &s, 1, &attrs), REEL_OK);
    assert_true(isnan(floats(&p)[0]) && isnan(floats(&p)[20]));
    assert_true(floats(&p)[21 + 2] == 0 && floats(&p)[21] > 0);
    assert_true(isnan(floats(&p)[42]) && isnan(floats(&p)[62]));
    assert_true(floats(&s)[0] == -INFINITY && isfinite(floats(&s)[1]));
    assert_true(isnan(floats(&s)[2]) && floats(&s)[3] == INFINITY);
    drop(&x), drop(&p), drop(&s);
}

/* Another dimension, or a last one that is not contiguous, is the reference's. */
static void refuses(void **state)
{
    (void)state;
    reel_status status;
    operand x = make(REEL_SHAPE(6, 5), REEL_F32, (const int[]){1, 0}, 1);
    operand y = make(REEL_SHAPE(6, 5), REEL_F32, NULL, 2);
    reel__karg xa = {x.data, &x.meta}, ya = {y.data, &y.meta};
    reel__kcall strided = {.n_in = 1,
                           .n_out = 1,
                           .in = &xa,
                           .out = &ya,
                           .attrs = &(reel__dim_attrs){.dim = 1}};
    reel__kcall other_dim = {.n_in = 1,
                             .n_out = 1,
                             .in = &ya,
                             .out = &ya,
                             .attrs = &(reel__dim_attrs){.dim = 0}};
    assert_false(reel__fast_softmax(&strided, &status));
    assert_false(reel__fast_softmax(&other_dim, &status));
    drop(&x), drop(&y);
}

/* ---- cross-entropy ----------------------------------------------------------------- */

typedef struct ce_case {
    double smoothing;
    bool weighted, want_grad;
    reel_reduction reduction;
} ce_case;

static void cross_entropy_case(int64_t n, int64_t c, const ce_case *k)
{
    const int64_t ignored = -100;
    operand in[3] = {gapped(n, c, 5, 1), make(REEL_SHAPE(n), REEL_I64, NULL, 2),
                     make(REEL_SHAPE(c), REEL_F32, NULL, 3)};
    operand out[2] = {
        make(k->reduction == REEL_NONE ? REEL_SHAPE(n) : REEL_SCALAR, REEL_F32, NULL, 4),
        make(REEL_SHAPE(n, c), REEL_F32, NULL, 5)};
    int64_t *target = in[1].data;
    for (int64_t i = 0; i < n; i++) target[i] = i % 5 == 3 ? ignored : i * 7 % c;
    for (int64_t j = 0; j < c; j++) floats(&in[2])[j] += 1.5f;
    operand args[3] = {in[0], in[1], in[2]};
    operand results[2] = {out[0], out[1]};
    if (!k->weighted) args[2].data = NULL;
    if (!k->want_grad) results[1].data = NULL;
    reel__cross_entropy_attrs attrs = {.smoothing = k->smoothing,
                                       .ignore_index = ignored,
                                       .reduction = k->reduction,
                                       .want_grad = k->want_grad};
    assert_int_equal(call_fast(reel__fast_cross_entropy, args, 3, results, 2, &attrs), 0);
    double divisor = 0, total = 0;
    for (int64_t i = 0; i < n; i++)
        if (target[i] != ignored) divisor += k->weighted ? at(&in[2], &target[i]) : 1;
    if (k->reduction != REEL_MEAN) divisor = 1;
    for (int64_t i = 0; i < n; i++) {
        double lse = logsumexp_of(&in[0], i), loss = 0, shares = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < c; j++) {
                int64_t ij[] = {i, j};
                double w = k->weighted ? at(&in[2], &j) : 1, x = at(&in[0], ij);
                double a = k->smoothing / (double)c * w;
                if (j == target[i]) a += (1 - k->smoothing) * w;
                if (target[i] == ignored) a = 0;
                if (pass == 0) {
                    loss += a * (lse - x);
                    shares += a;
                } else if (k->want_grad) {
                    check_near(at(&out[1], ij), (exp(x - lse) * shares - a) / divisor,
                               3e-6, "dlogits");
                }
            }
        if (k->reduction == REEL_NONE)
            check_near(at(&out[0], &i), loss, 2e-6 * (1 + loss), "loss");
        total += loss;
    }
    if (k->reduction != REEL_NONE)
        check_near(floats(&out[0])[0], total / divisor, 3e-6 * (1 + total / divisor),
                   "loss");
    for (int i = 0; i < 3; i++) drop(&in[i]);
    drop(&out[0]), drop(&out[1]);
}

static void cross_entropy(void **state)
{
    (void)state;
    for (int s = 0; s < 2; s++)
        for (int weighted = 0; weighted < 2; weighted++)
            for (int reduction = REEL_MEAN; reduction <= REEL_NONE; reduction++) {
                ce_case k = {s * 0.2, weighted, true, (reel_reduction)reduction};
                cross_entropy_case(33, 10, &k);
                cross_entropy_case(40, 1000, &k);
                cross_entropy_case(3, 50257, &k);
                cross_entropy_case(1, 1, &k);
                k.want_grad = false;
                cross_entropy_case(33, 17, &k);
            }
}

/* All rows ignored: 0 / 0, as PyTorch has it, and no gradient. */
static void cross_entropy_nothing_counts(void **state)
{
    (void)state;
    operand in[3] = {
        gapped(3, 20, 1, 1), make(REEL_SHAPE(3), REEL_I64, NULL, 2), {.data = NULL}};
    operand out[2] = {make(REEL_SCALAR, REEL_F32, NULL, 3),
                      make(REEL_SHAPE(3, 20), REEL_F32, NULL, 4)};
    reel__cross_entropy_attrs attrs = {.ignore_index = 0, .want_grad = 1};
    assert_int_equal(call_fast(reel__fast_cross_entropy, in, 3, out, 2, &attrs), REEL_OK);
    assert_true(isnan(floats(&out[0])[0]));
    for (int j = 0; j < 60; j++) assert_true(floats(&out[1])[j] == 0);
    drop(&in[0]), drop(&in[1]), drop(&out[0]), drop(&out[1]);
}

static void cross_entropy_bad_target(void **state)
{
    (void)state;
    operand in[3] = {
        gapped(3, 20, 1, 1), make(REEL_SHAPE(3), REEL_I64, NULL, 2), {.data = NULL}};
    operand out[2] = {make(REEL_SCALAR, REEL_F32, NULL, 3), {.data = NULL}};
    reel__cross_entropy_attrs attrs = {.ignore_index = -100};
    ((int64_t *)in[1].data)[2] = 20;
    assert_int_equal(call_fast(reel__fast_cross_entropy, in, 3, out, 2, &attrs),
                     REEL_ERR_ARG);
    assert_non_null(strstr(reel_error_message(), "row 2 is 20"));
    reel_error_clear();
    drop(&in[0]), drop(&in[1]), drop(&out[0]);
}

static void cross_entropy_no_memory(void **state)
{
    (void)state;
    operand in[3] = {
        gapped(3, 20, 1, 1), make(REEL_SHAPE(3), REEL_I64, NULL, 2), {.data = NULL}};
    operand out[2] = {make(REEL_SCALAR, REEL_F32, NULL, 3), {.data = NULL}};
    reel__cross_entropy_attrs attrs = {.ignore_index = -100};
    check_no_memory(reel__fast_cross_entropy, in, 3, out, 2, &attrs);
    drop(&in[0]), drop(&in[1]), drop(&out[0]);
}

/* ---- layer norm -------------------------------------------------------------------- */

static void layer_norm_case(int64_t n, int64_t d, bool w, bool b, bool gw, bool gx)
{
    /* the normalized dims are the last two, 1 x d */
    reel__layer_norm_attrs attrs = {.dims = 2, .eps = 1e-5};
    operand x = gapped(n, d, 2, 1), gy = gapped(n, d, 1, 4);
    operand in[3] = {x, make(REEL_SHAPE(1, d), REEL_F32, NULL, 2),
                     make(REEL_SHAPE(1, d), REEL_F32, NULL, 3)};
    reel__meta rows = {.rank = 3, .dim = {n, 1, d}, .stride = {d + 3, d + 3, 1}};
    in[0].meta = rows;
    operand out[3] = {make(REEL_SHAPE(n, 1, d), REEL_F32, NULL, 5),
                      make(REEL_SHAPE(n, 1, 1), REEL_F32, NULL, 6),
                      make(REEL_SHAPE(n, 1, 1), REEL_F32, NULL, 7)};
    operand args[3] = {in[0], in[1], in[2]};
    if (!w) args[1].data = NULL;
    if (!b) args[2].data = NULL;
    assert_int_equal(call_fast(reel__fast_layer_norm, args, 3, out, 3, &attrs), REEL_OK);

    operand bin[5] = {gy, in[0], args[1], out[1], out[2]};
    bin[0].meta = rows;
    operand grad[3] = {make(REEL_SHAPE(n, 1, d), REEL_F32, NULL, 8),
                       make(REEL_SHAPE(1, d), REEL_F32, NULL, 9),
                       make(REEL_SHAPE(1, d), REEL_F32, NULL, 10)};
    operand wanted[3] = {grad[0], grad[1], grad[2]};
    if (!gx) wanted[0].data = NULL;
    if (!gw) wanted[1].data = NULL;
    assert_int_equal(call_fast(reel__fast_layer_norm_backward, bin, 5, wanted, 3, &attrs),
                     0);

    double *sum_w = must(calloc((size_t)d, sizeof *sum_w));
    double *sum_b = must(calloc((size_t)d, sizeof *sum_b));
    for (int64_t i = 0; i < n; i++) {
        double mean = 0, var = 0, sg = 0, sgh = 0;
        for (int64_t j = 0; j < d; j++) mean += at(&x, (int64_t[]){i, j}) / (double)d;
        for (int64_t j = 0; j < d; j++)
            var += pow(at(&x, (int64_t[]){i, j}) - mean, 2) / (double)d;
        double r = 1 / sqrt(var + attrs.eps);
        check_near(at(&out[1], (int64_t[]){i, 0, 0}), mean, 1e-6, "mean");
        check_near(at(&out[2], (int64_t[]){i, 0, 0}), r, 2e-6 * r, "rstd");
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < d; j++) {
                int64_t ij[] = {i, j}, e[] = {i, 0, j}, wj[] = {0, j};
                double wv = w ? at(&in[1], wj) : 1, bv = b ? at(&in[2], wj) : 0;
                double h = (at(&x, ij) - mean) * r, g = at(&gy, ij);
                if (pass == 0) {
                    check_near(at(&out[0], e), h * wv + bv, 1e-5, "layer_norm");
                    sum_w[j] += g * h;
                    sum_b[j] += g;
                    sg += g * wv / (double)d;
                    sgh += g * wv * h / (double)d;
                } else if (gx) {
                    check_near(at(&grad[0], e), r * (g * wv - sg - h * sgh),
                               1e-5 * (1 + r), "gx");
                }
            }
    }
    for (int64_t j = 0; j < d; j++) {
        if (gw)
            check_near(at(&grad[1], (int64_t[]){0, j}), sum_w[j], 1e-6 * (double)n + 1e-5,
                       "gw");
        check_near(at(&grad[2], (int64_t[]){0, j}), sum_b[j], 1e-6 * (double)n + 1e-6,
                   "gb");
    }
    free(sum_w), free(sum_b);
    for (int i = 0; i < 3; i++) drop(&in[i]), drop(&out[i]), drop(&grad[i]);
    drop(&gy);
}

/* A row that is one number comes out as its bias; squares that leave f32 change nothing. */
static void layer_norm_of_hard_rows(void **state)
{
    (void)state;
    const float values[] = {100.3f, 1e5f, -1e30f, 3e38f};
    for (int k = 0; k < WIDTHS; k++) {
        const int64_t c = widths[k], n = ROWS * c;
        reel__layer_norm_attrs attrs = {.dims = 1, .eps = 1e-5};
        operand x = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 1);
        operand y = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 2);
        operand far = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 3);
        for (int v = 0; v < 4; v++) {
            for (int64_t i = 0; i < n; i++) floats(&x)[i] = values[v];
            assert_int_equal(call_fast(reel__fast_layer_norm, &x, 1, &y, 1, &attrs),
                             REEL_OK);
            for (int64_t i = 0; i < n; i++) assert_true(floats(&y)[i] == 0);
        }
        attrs.eps = 1e-12;
        drop(&x);
        x = make(REEL_SHAPE(ROWS, c), REEL_F32, NULL, 1);
        assert_int_equal(call_fast(reel__fast_layer_norm, &x, 1, &y, 1, &attrs), REEL_OK);
        for (int64_t i = 0; i < n; i++) floats(&x)[i] *= 0x1p100f;
        assert_int_equal(call_fast(reel__fast_layer_norm, &x, 1, &far, 1, &attrs),
                         REEL_OK);
        for (int64_t i = 0; i < n; i++)
            check_near((double)floats(&far)[i], (double)floats(&y)[i], 1e-4, "y");
        drop(&x), drop(&y), drop(&far);
    }
}

static void layer_norm(void **state)
{
    (void)state;
    for (int k = 0; k < WIDTHS; k++)
        layer_norm_case(ROWS, widths[k], true, true, true, true);
    layer_norm_case(900, 128, true, true, true, true);
    layer_norm_case(70, 768, false, false, true, false);
    layer_norm_case(70, 768, true, false, false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_family),
        cmocka_unit_test(softmax_gradients),
        cmocka_unit_test(special_values),
        cmocka_unit_test(refuses),
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(cross_entropy_nothing_counts),
        cmocka_unit_test(cross_entropy_bad_target),
        cmocka_unit_test(cross_entropy_no_memory),
        cmocka_unit_test(layer_norm),
        cmocka_unit_test(layer_norm_of_hard_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
