/* test_optim_kernels.c: SGD_STEP and ADAM_STEP over several steps against the formulas of
 * torch.optim in f64, for any strides; the same bytes on one and on two threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/cpu/kernels.h"
#include "strided.h"

enum { STEPS = 4, OPERANDS = 4 };

static reel__sgd_attrs random_sgd(void)
{
    bool nesterov = dice() % 3 == 0;
    return (reel__sgd_attrs){
        .momentum = nesterov || dice() % 2 ? 0.9 : 0,
        .dampening = !nesterov && dice() % 3 == 0 ? 0.25 : 0,
        .weight_decay = dice() % 2 ? 0.01 : 0,
        .nesterov = nesterov,
        .maximize = dice() % 4 == 0,
    };
}
static void naive_sgd(const reel__sgd_attrs *a, double lr, double *p, double g,
                      double *buf)
{
    g = a->maximize ? -g : g;
    g += a->weight_decay * *p;
    if (a->momentum != 0) {
        *buf = a->first ? g : a->momentum * *buf + (1 - a->dampening) * g;
        g = a->nesterov ? g + a->momentum * *buf : *buf;
    }
    *p -= lr * g;
}

static reel__adam_attrs random_adam(void)
{
    return (reel__adam_attrs){
        .beta1 = dice() % 4 == 0 ? 0 : 0.9,
        .beta2 = 0.99,
        .eps = 1e-6,
        .weight_decay = dice() % 2 ? 0.01 : 0,
        .decoupled = (int64_t)(dice() % 2),
        .maximize = dice() % 4 == 0,
    };
}
static void naive_adam(const reel__adam_attrs *a, double lr, double t, double *p,
                       double g, double *m, double *v)
{
    g = a->maximize ? -g : g;
    if (a->decoupled)
        *p -= lr * a->weight_decay * *p;
    else
        g += a->weight_decay * *p;
    *m = a->beta1 * *m + (1 - a->beta1) * g;
    *v = a->beta2 * *v + (1 - a->beta2) * g * g;
    double m_hat = *m / (1 - pow(a->beta1, t)), v_hat = *v / (1 - pow(a->beta2, t));
    *p -= lr * m_hat / (sqrt(v_hat) + a->eps);
}

/* A twin with the same strides and the same bytes. */
static strided twin_of(const strided *x)
{
    strided t = *x;
    t.memory = malloc(x->bytes);
    assert_non_null(t.memory);
    t.data = t.memory + ((char *)x->data - x->memory);
    memcpy(t.memory, x->memory, x->bytes);
    return t;
}

static void one_case(bool adam, reel_dtype dtype, int rank, const int64_t *dim, int how)
{
    reel__sgd_attrs sgd = random_sgd();
    reel__adam_attrs ad = random_adam();
    const reel__meta scalar = {.dtype = REEL_F64};
    const int state = adam ? 2 : sgd.momentum != 0;
    strided x[OPERANDS], y[OPERANDS];
    int64_t n = 1;
    for (int d = 0; d < rank; d++) n *= dim[d];
    double *want = calloc((size_t)(OPERANDS * n + 1), sizeof *want);
    assert_non_null(want);
    for (int k = 0; k < 2 + state; k++) {
        x[k] = strided_new(dtype, rank, dim, how);
        for (int64_t i = 0; i < n; i++) {
            strided_write(&x[k], strided_at(&x[k], i), k < 2 ? 2 * dice_unit() - 1 : 0);
            want[k * n + i] = strided_get(&x[k], i);
        }
        y[k] = twin_of(&x[k]);
    }
    for (int t = 1; t <= STEPS; t++) {
        double lr = 0.1 / t, step = t;
        sgd.first = t == 1;
        for (int threads = 1; threads <= 2; threads++) {
            strided *z = threads == 1 ? x : y;
            reel__karg in[6] = {strided_arg(&z[0]), strided_arg(&z[1])};
            for (int k = 2; k < 2 + state; k++) in[k] = strided_arg(&z[k]);
            in[adam ? 4 : 3] = (reel__karg){&lr, &scalar};
            in[5] = (reel__karg){&step, &scalar};
            reel__kcall call = {
                adam ? K_ADAM_STEP : K_SGD_STEP, adam ? 6 : 4, 0, in, NULL,
                adam ? (const void *)&ad : &sgd, NULL,         0};
            assert_int_equal(reel_set_threads(threads), REEL_OK);
            assert_int_equal(
                adam ? reel__ref_adam_step(&call) : reel__ref_sgd_step(&call), REEL_OK);
        }
        for (int64_t i = 0; i < n; i++) {
            double *p = want + i, *m = want + 2 * n + i, *v = want + 3 * n + i;
            if (adam)
                naive_adam(&ad, lr, t, p, want[n + i], m, v);
            else
                naive_sgd(&sgd, lr, p, want[n + i], m);
        }
    }
    double eps = dtype == REEL_F32 ? 2e-6 : 1e-14;
    for (int k = 0; k < 2 + state; k++) {
        for (int64_t i = 0; i < n; i++)
            if (!(fabs(strided_get(&x[k], i) - want[k * n + i]) <= eps))
                fail_msg("%s operand %d element %lld: %.9g, not %.9g",
                         adam ? "adam" : "sgd", k, (long long)i, strided_get(&x[k], i),
                         want[k * n + i]);
        assert_memory_equal(x[k].memory, y[k].memory, x[k].bytes);
        strided_check_gaps(&x[k]);
        strided_free(&x[k]);
        strided_free(&y[k]);
    }
    free(want);
}

static void any_strides(void **state)
{
    (void)state;
    for (int round = 0; round < 800; round++) {
        int64_t dim[REEL_MAX_RANK];
        int rank = strided_shape(REEL_MAX_RANK, 100, dim);
        one_case(round % 2, dice() % 2 ? REEL_F32 : REEL_F64, rank, dim,
                 round % 4 < 2 ? STRIDED_DENSE : STRIDED_OUT);
    }
}

static void large(void **state)
{
    int64_t dim[2] = {500, 301};
    (void)state;
    for (int round = 0; round < 4; round++)
        one_case(round % 2, REEL_F32, 2, dim, round < 2 ? STRIDED_DENSE : STRIDED_GAPS);
}

static void refuses_mixed_dtypes(void **state)
{
    int64_t dim[1] = {3};
    double lr = 0.1;
    const reel__meta scalar = {.dtype = REEL_F64}, wrong = {.dtype = REEL_F32};
    strided p = strided_new(REEL_F32, 1, dim, 0), g = strided_new(REEL_F64, 1, dim, 0);
    reel__sgd_attrs attrs = {0};
    reel__karg in[4] = {strided_arg(&p), strided_arg(&g), {NULL, NULL}, {&lr, &scalar}};
    reel__kcall call = {K_SGD_STEP, 4, 0, in, NULL, &attrs, NULL, 0};
    (void)state;
    assert_int_equal(reel__ref_sgd_step(&call), REEL_ERR_DTYPE);
    reel_error_clear();
    in[1] = strided_arg(&p);
    in[3].meta = &wrong;
    assert_int_equal(reel__ref_sgd_step(&call), REEL_ERR_DTYPE);
    reel_error_clear();
    strided_check_gaps(&p);
    strided_free(&p);
    strided_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_strides),
        cmocka_unit_test(large),
        cmocka_unit_test(refuses_mixed_dtypes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
