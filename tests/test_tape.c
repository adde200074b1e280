/* The tape: order, life of what is saved, second derivatives, in-place guards, hooks,
 * anomaly mode, threads. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/each_test.h"
#include "support/small_net.h"

static reel_tensor *leaf(double value)
{
    return reel_requires_grad(reel_scalar(value, REEL_F64), true);
}

static reel_tensor *leaf3(double a, double b, double c)
{
    const double v[] = {a, b, c};
    return reel_requires_grad(reel_from(v, REEL_SHAPE(3), REEL_F64), true);
}

static void expect_values(reel_tensor *x, double a, double b, double c)
{
    double v[3] = {NAN, NAN, NAN};
    assert_non_null(x);
    assert_int_equal(reel_numel(x), 3);
    assert_int_equal(reel_read(x, v, REEL_F64), REEL_OK);
    assert_true(fabs(v[0] - a) < 1e-12 && fabs(v[1] - b) < 1e-12 &&
                fabs(v[2] - c) < 1e-12);
}

/* ---- order and life -------------------------------------------------------------------- */

static void test_million_operators(void **state)
{
    (void)state;
    reel_tensor *x = leaf(1), *y = reel_keep(x);
    for (int i = 0; i < 1000000; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *next = reel_keep(reel_add_scalar(y, 1));
        reel_scope_end(s);
        reel_release(y);
        y = next;
    }
    assert_true(reel_item(y) == 1000001);
    assert_int_equal(reel_backward(y, NULL), REEL_OK);
    assert_true(reel_item(reel_grad_of(x)) == 1);
    reel_release(y);
}

static void test_accumulates(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3);
    assert_int_equal(reel_backward(sum(reel_square(x)), NULL), REEL_OK);
    expect_values(reel_grad_of(x), 2, 4, 6);
    assert_int_equal(reel_backward(sum(reel_mul(x, x)), NULL), REEL_OK);
    expect_values(reel_grad_of(x), 4, 8, 12);
    assert_int_equal(reel_set_grad(x, NULL), REEL_OK);
    assert_null(reel_grad_of(x));
    /* a diamond: both paths count, once */
    reel_tensor *a = reel_mul_scalar(x, 2);
    assert_int_equal(reel_backward(sum(reel_add(reel_square(a), a)), NULL), REEL_OK);
    expect_values(reel_grad_of(x), 10, 18, 26);
}

static void test_given_gradient(void **state)
{
    (void)state;
    const double v[] = {1, -1, 0.5};
    reel_tensor *x = leaf3(1, 2, 3), *g = reel_from(v, REEL_SHAPE(3), REEL_F64);
    reel_tensor *y = reel_square(x);
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "more than one element");
    assert_int_equal(reel_backward(y, &(reel_backward_opts){.gradient = g}), REEL_OK);
    expect_values(reel_grad_of(x), 2, -4, 3);
    expect_values(g, 1, -1, 0.5); /* the caller's is not added to */
    reel_tensor *wrong = reel_ones(REEL_SHAPE(2), REEL_F64);
    y = reel_square(x);
    assert_int_equal(reel_backward(y, &(reel_backward_opts){.gradient = wrong}),
                     REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "f64[2]");
}

static void test_retain(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3), *y = sum(reel_square(x));
    const reel_backward_opts retain = {.retain_graph = true};
    assert_int_equal(reel_backward(y, &retain), REEL_OK);
    assert_int_equal(reel_backward(y, NULL), REEL_OK);
    expect_values(reel_grad_of(x), 4, 8, 12);
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "already freed");
    expect_values(reel_grad_of(x), 4, 8, 12);
}

static void test_second_derivatives(void **state)
{
    (void)state;
    const reel_backward_opts create = {.create_graph = true};
    reel_tensor *x = leaf(0.7), *y = reel_mul(reel_square(x), x), *g[4] = {y};
    for (int i = 0; i < 3; i++)
        assert_int_equal(reel_grad(&g[i], 1, NULL, &x, 1, &g[i + 1], &create), REEL_OK);
    assert_true(fabs(reel_item(g[1]) - 3 * 0.49) < 1e-12);
    assert_true(fabs(reel_item(g[2]) - 6 * 0.7) < 1e-12);
    assert_true(fabs(reel_item(g[3]) - 6) < 1e-12);
    assert_null(reel_grad_of(x));
    /* the same through backward: the gradient of a leaf has a history of its own */
    assert_int_equal(reel_backward(reel_sin(x), &create), REEL_OK);
    reel_tensor *first = reel_keep(reel_grad_of(x));
    assert_int_equal(reel_set_grad(x, NULL), REEL_OK);
    assert_int_equal(reel_backward(first, NULL), REEL_OK);
    assert_true(fabs(reel_item(reel_grad_of(x)) + sin(0.7)) < 1e-12);
    reel_release(first);
}

static void test_grad(void **state)
{
    (void)state;
    reel_tensor *x[] = {leaf(2), leaf(3)}, *gx[2], *y = reel_square(x[0]);
    const reel_backward_opts retain = {.retain_graph = true};
    assert_int_equal(reel_grad(&y, 1, NULL, x, 2, gx, &retain), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "input 1");
    assert_true(!gx[0] && !gx[1]);
    const reel_backward_opts unused = {.retain_graph = true, .allow_unused = true};
    assert_int_equal(reel_grad(&y, 1, NULL, x, 2, gx, &unused), REEL_OK);
    assert_true(reel_item(gx[0]) == 4 && !gx[1]);
    /* to something in the middle, and several outputs at once */
    reel_tensor *mid = reel_mul(x[0], x[1]);
    reel_tensor *out[] = {reel_square(mid), reel_mul_scalar(mid, 5)}, *gm;
    assert_int_equal(reel_grad(out, 2, NULL, &mid, 1, &gm, NULL), REEL_OK);
    assert_true(reel_item(gm) == 17);
    /* an output that is itself asked for */
    assert_int_equal(reel_grad(&mid, 1, NULL, &mid, 1, &gm, NULL), REEL_OK);
    assert_true(reel_item(gm) == 1);
    assert_true(!reel_grad_of(x[0]) && !reel_grad_of(x[1]));
}

static void test_detach_and_no_grad(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3), *d = reel_detach(x);
    assert_false(reel_needs_grad(d));
    assert_int_equal(reel_backward(sum(reel_mul(x, d)), NULL), REEL_OK);
    expect_values(reel_grad_of(x), 1, 2, 3);
    assert_true(reel_set_grad_enabled(false));
    reel_tensor *y = sum(reel_square(x));
    assert_false(reel_needs_grad(y));
    assert_false(reel_set_grad_enabled(true));
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "needs no gradient");
    assert_null(reel_requires_grad(reel_square(x), true));
    expect_error(REEL_ERR_STATE, "computed by square");
    assert_null(reel_requires_grad(reel_ones(REEL_SHAPE(1), REEL_I64), true));
    expect_error(REEL_ERR_DTYPE, "floating");
}

/* backward refuses to run behind a failed forward pass. */
static void test_pending_error(void **state)
{
    (void)state;
    reel_tensor *x = leaf(2), *y = reel_square(x);
    reel_fail(REEL_ERR_ARG, "something before");
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "something before");
    assert_null(reel_grad_of(x));
}

/* ---- in place --------------------------------------------------------------------------- */

static void test_changed_in_place(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3), *y = reel_exp(x), *z = sum(reel_mul_scalar(y, 1));
    assert_ptr_equal(reel_add_(y, reel_scalar(1, REEL_F64)), y); /* exp saved y */
    assert_int_equal(reel_backward(z, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "output 0 of exp");
    reel_tensor *c = reel_ones(REEL_SHAPE(3), REEL_F64);
    z = sum(reel_mul(x, c));
    (void)reel_fill_(c, 2);
    assert_int_equal(reel_backward(z, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "input 1 of mul");
    assert_null(reel_grad_of(x));
}

static void test_in_place_history(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3), *y = reel_mul_scalar(x, 3);
    assert_ptr_equal(reel_add_scaled_(y, x, 2), y); /* 5 x */
    (void)reel_mul_(y, x);                          /* 5 x^2 */
    (void)reel_mul_(y, y);                          /* 25 x^4 */
    (void)reel_div_(y, x);                          /* 25 x^3 */
    assert_int_equal(reel_backward(sum(y), NULL), REEL_OK);
    expect_values(reel_grad_of(x), 75, 300, 675);
}

static void test_in_place_refused(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3), *one = reel_scalar(1, REEL_F64);
    assert_null(reel_add_(x, one));
    expect_error(REEL_ERR_STATE, "leaf");
    bool was = reel_set_grad_enabled(false);
    assert_ptr_equal(reel_add_(x, one), x);
    (void)reel_set_grad_enabled(was);
    expect_values(x, 2, 3, 4);
}

/* ---- hooks -------------------------------------------------------------------------------- */

typedef struct hook_log {
    int calls;
    double factor;
} hook_log;

static reel_tensor *scale_hook(void *user, reel_tensor *g)
{
    hook_log *log = user;
    log->calls++;
    return reel_mul_scalar(g, log->factor);
}

static reel_tensor *quiet_hook(void *user, reel_tensor *g)
{
    (void)g;
    ((hook_log *)user)->calls++;
    return NULL;
}

static reel_tensor *bad_hook(void *user, reel_tensor *g)
{
    (void)user;
    (void)g;
    return reel_ones(REEL_SHAPE(7), REEL_F64);
}

/* A backward pass of its own within a hook. */
static reel_tensor *nested_hook(void *user, reel_tensor *g)
{
    (void)g;
    bool was = reel_set_grad_enabled(true);
    reel_tensor *x = user, *y = sum(reel_square(x)), *gx = NULL;
    (void)reel_grad(&y, 1, NULL, &x, 1, &gx, NULL);
    (void)reel_set_grad_enabled(was);
    return gx;
}

static void test_hooks(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(1, 2, 3), *mid = reel_square(x);
    hook_log on_mid = {.factor = 10}, on_leaf = {.factor = 1}, quiet = {0};
    assert_int_equal(reel_register_hook(mid, scale_hook, &on_mid), REEL_OK);
    assert_int_equal(reel_register_hook(mid, quiet_hook, &quiet), REEL_OK);
    assert_int_equal(reel_register_hook(x, quiet_hook, &on_leaf), REEL_OK);
    /* two paths join at mid: its hook sees the finished gradient, once */
    assert_int_equal(reel_backward(sum(reel_add(mid, reel_mul_scalar(mid, 2))), NULL),
                     REEL_OK);
    expect_values(reel_grad_of(x), 60, 120, 180);
    assert_true(on_mid.calls == 1 && on_leaf.calls == 1 && quiet.calls == 1);

    reel_tensor *a = leaf3(1, 2, 3), *b = leaf3(4, 5, 6);
    assert_int_equal(reel_register_hook(a, nested_hook, b), REEL_OK);
    assert_int_equal(reel_backward(sum(a), NULL), REEL_OK);
    expect_values(reel_grad_of(a), 8, 10, 12);
    assert_null(reel_grad_of(b));

    mid = reel_square(a);
    assert_int_equal(reel_register_hook(mid, bad_hook, NULL), REEL_OK);
    assert_int_equal(reel_backward(sum(mid), NULL), REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "hook");
    assert_int_equal(reel_register_hook(reel_detach(a), bad_hook, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "register_hook");
}

/* ---- anomaly mode --------------------------------------------------------------------------- */

static void test_anomaly(void **state)
{
    (void)state;
    reel_tensor *x = leaf3(0, 1, -1);
    assert_false(reel_set_anomaly(true));
    assert_null(reel_exp(reel_log(reel_relu(x)))); /* log(0) */
    expect_error(REEL_ERR_NUMERIC, "log: output 0");
    reel_tensor *y = sum(reel_sqrt(reel_square(x))); /* 0 / 0 at 0 */
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_NUMERIC);
    expect_error(REEL_ERR_NUMERIC, "in the gradient of sqrt");
    assert_true(reel_set_anomaly(false));
    assert_non_null(reel_log(reel_relu(x)));
}

/* ---- checkpoint ------------------------------------------------------------------------------ */

typedef struct block {
    reel_tensor *weight; /* reached by itself, not through the arguments */
    int calls;
} block;

static reel_tensor *run_block(void *user, reel_tensor *const x[], int n)
{
    block *b = user;
    b->calls++;
    reel_tensor *y = reel_mul(reel_tanh(x[0]), b->weight);
    y = reel_dropout(y, 0.5, true);
    return n > 1 ? reel_add(y, reel_square(x[1])) : y;
}

static void gradients(bool checkpointed, uint64_t seed, double g[3][64])
{
    reel_scope s = reel_scope_begin();
    reel_seed(seed);
    reel_shape shape = REEL_SHAPE(64);
    reel_tensor *x[] = {reel_requires_grad(reel_randn(shape, REEL_F64), true),
                        reel_requires_grad(reel_randn(shape, REEL_F64), true)};
    block b = {reel_requires_grad(reel_randn(shape, REEL_F64), true), 0};
    reel_tensor *y =
        checkpointed ? reel_checkpoint(run_block, &b, x, 2) : run_block(&b, x, 2);
    assert_int_equal(b.calls, 1);
    (void)reel_randn(shape, REEL_F64); /* the stream goes on between the two runs */
    reel_rng_state before = reel_rng_get();
    assert_int_equal(reel_backward(sum(reel_square(y)), NULL), REEL_OK);
    assert_int_equal(b.calls, checkpointed ? 2 : 1);
    assert_int_equal(reel_rng_get().offset, before.offset);
    reel_tensor *all[] = {x[0], x[1], b.weight};
    for (int i = 0; i < 3; i++)
        assert_int_equal(reel_read(reel_grad_of(all[i]), g[i], REEL_F64), REEL_OK);
    reel_scope_end(s);
}

static void test_checkpoint(void **state)
{
    (void)state;
    double plain[3][64], again[3][64];
    gradients(false, 5, plain);
    gradients(true, 5, again);
    assert_memory_equal(plain, again, sizeof plain);
}

static void test_checkpoint_edges(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F64), *gx = NULL;
    block b = {leaf3(1, 2, 3), 0};
    /* only the leaf inside needs a gradient */
    reel_tensor *y = reel_checkpoint(run_block, &b, &x, 1);
    assert_int_equal(reel_backward(sum(y), NULL), REEL_OK);
    assert_non_null(reel_grad_of(b.weight));
    assert_int_equal(reel_set_grad(b.weight, NULL), REEL_OK);
    /* reel_grad touches no leaf, not even inside */
    x = leaf3(1, 2, 3);
    y = sum(reel_checkpoint(run_block, &b, &x, 1));
    assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &gx, NULL), REEL_OK);
    assert_non_null(gx);
    assert_true(!reel_grad_of(x) && !reel_grad_of(b.weight));
    /* second order is declared missing */
    y = sum(reel_checkpoint(run_block, &b, &x, 1));
    const reel_backward_opts create = {.create_graph = true};
    assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &gx, &create), REEL_ERR_UNSUPPORTED);
    expect_error(REEL_ERR_UNSUPPORTED, "first order");
    bool was = reel_set_grad_enabled(false);
    assert_false(reel_needs_grad(reel_checkpoint(run_block, &b, &x, 1)));
    (void)reel_set_grad_enabled(was);
}

/* ---- threads ----------------------------------------------------------------------------------- */

enum { STEPS = 8 };

static void train(uint64_t seed, double loss[STEPS])
{
    small_net net;
    reel_scope s = reel_scope_begin();
    if (small_net_make(&net, seed))
        for (int i = 0; i < STEPS; i++) loss[i] = small_net_step(&net);
    small_net_free(&net);
    reel_scope_end(s);
}

typedef struct job {
    uint64_t seed;
    double loss[STEPS];
} job;

static void *train_job(void *user)
{
    job *j = user;
    train(j->seed, j->loss);
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    job together[2] = {{.seed = 1}, {.seed = 2}}, alone[2] = {{.seed = 1}, {.seed = 2}};
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) train_job(&alone[i]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, train_job, &together[i]), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_memory_equal(alone, together, sizeof alone);
    assert_true(alone[0].loss[STEPS - 1] < alone[0].loss[0]);
    assert_true(alone[0].loss[0] != alone[1].loss[0]);
}

static void test_same_bits(void **state)
{
    (void)state;
    double one[STEPS], two[STEPS];
    int was = reel_threads();
    assert_int_equal(reel_set_threads(1), REEL_OK);
    train(3, one);
    assert_int_equal(reel_set_threads(2), REEL_OK);
    train(3, two);
    assert_int_equal(reel_set_threads(was), REEL_OK);
    assert_memory_equal(one, two, sizeof one);
    assert_true(isfinite(one[STEPS - 1]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_million_operators),
        TEST(test_accumulates),
        TEST(test_given_gradient),
        TEST(test_retain),
        TEST(test_second_derivatives),
        TEST(test_grad),
        TEST(test_detach_and_no_grad),
        TEST(test_pending_error),
        TEST(test_changed_in_place),
        TEST(test_in_place_history),
        TEST(test_in_place_refused),
        TEST(test_hooks),
        TEST(test_anomaly),
        TEST(test_checkpoint),
        TEST(test_checkpoint_edges),
        TEST(test_two_threads),
        TEST(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
