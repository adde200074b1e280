/* Views and in-place operators on the tape: who shares a history, what is refused and why.
 * test_random_inplace.c draws programs of them; here is one case of each rule. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "support/each_test.h"

static reel_tensor *constant(const double *v, reel_shape s)
{
    return reel_from(v, s, REEL_F64);
}

/* 1, 2, 3, ... that needs a gradient. */
static reel_tensor *leaf(reel_shape s)
{
    int64_t n = 1;
    for (int d = 0; d < s.rank; d++) n *= s.dim[d];
    reel_tensor *x = reel_reshape(reel_arange(1, (double)n + 1, 1, REEL_F64), s);
    return reel_requires_grad(reel_copy(x), true);
}

static void expect(reel_tensor *x, int n, const double *want)
{
    double v[16] = {NAN};
    if (!x) fail_msg("no tensor: %s", reel_error_message());
    assert_int_equal(reel_numel(x), n);
    assert_int_equal(reel_read(x, v, REEL_F64), REEL_OK);
    for (int i = 0; i < n; i++)
        if (v[i] != want[i] && !(fabs(v[i] - want[i]) < 1e-12))
            fail_msg("element %d: %g, not %g", i, v[i], want[i]);
}
#define EXPECT(x, ...)                                                                   \
    expect((x), (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                 \
           (double[]){__VA_ARGS__})

static void backward(reel_tensor *y)
{
    if (reel_backward(y, NULL)) fail_msg("%s", reel_error_message());
}

/* ---- a view and its base ------------------------------------------------------------------ */

static void test_column(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2, 3)), *y = reel_square(x);
    reel_tensor *column = reel_select(y, 1, 0);
    assert_ptr_equal(reel_mul_scalar_(column, 2), column);
    EXPECT(y, 2, 4, 9, 32, 25, 36);
    assert_true(reel_needs_grad(column) && reel_needs_grad(y));
    backward(sum(y));
    EXPECT(reel_grad_of(x), 4, 4, 6, 16, 10, 12);
}

/* Base, view of it, view of that, and another view are changed in turn. */
static void test_in_turn(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(4)), *w = leaf(REEL_SHAPE(2));
    reel_tensor *y = reel_mul_scalar(x, 1), *front = reel_narrow(y, 0, 0, 2);
    reel_tensor *square = reel_reshape(y, REEL_SHAPE(2, 2));
    reel_tensor *last = reel_select(reel_t(square), 0, 1); /* y[1], y[3] */
    (void)reel_mul_(front, w);                             /* x0 w0, x1 w1, x2, x3 */
    (void)reel_mul_scalar_(y, 2);
    (void)reel_mul_(last, w); /* 2 x0 w0, 2 x1 w1 w0, 2 x2, 2 x3 w1 */
    (void)reel_copy_(reel_select(y, 0, 2), reel_select(front, 0, 0)); /* y[2] = y[0] */
    EXPECT(y, 2, 8, 2, 16);
    EXPECT(square, 2, 8, 2, 16);
    backward(sum(square)); /* 4 x0 w0 + 2 x1 w1 w0 + 2 x3 w1 */
    EXPECT(reel_grad_of(x), 4, 4, 0, 4);
    EXPECT(reel_grad_of(w), 4 + 8, 4 + 8);
}

/* The usual way to fill a buffer that needs no gradient by itself. */
static void test_buffer(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2)), *out = reel_zeros(REEL_SHAPE(3, 2), REEL_F64);
    reel_tensor *before = reel_select(out, 0, 1);
    for (int i = 0; i < 3; i++)
        (void)reel_copy_(reel_select(out, 0, i), reel_mul_scalar(x, i + 1));
    assert_true(reel_needs_grad(out) && reel_needs_grad(before));
    backward(sum(reel_mul(before, out)));
    EXPECT(out, 1, 2, 2, 4, 3, 6);
    EXPECT(reel_grad_of(x), 2 * 2 * (1 + 2 + 3) * 1, 2 * 2 * (1 + 2 + 3) * 2);
}

/* Results that are views inside (a dimension was dropped) are like any others. */
static void test_fresh_results(void **state)
{
    (void)state;
    const reel_shape d = REEL_DIMS(1);
    reel_tensor *x = leaf(REEL_SHAPE(2, 3)), *v = leaf(REEL_SHAPE(3));
    const int64_t at[] = {1, 0};
    reel_tensor *index = reel_from(at, REEL_SHAPE(2), REEL_I64);
    reel_tensor *fresh[] = {
        reel_sum(x, d, false),       reel_mean(x, d, false),
        reel_var(x, d, 1, false),    reel_max(x, d, false),
        reel_matmul(x, v),           reel_mse_loss(x, reel_square(x), REEL_MEAN),
        reel_embedding(x, index),    reel_logsumexp(reel_mul_scalar(x, 1), 1, false),
        reel_detach(reel_square(x)), reel_div(x, reel_add_scalar(x, 1))};
    for (size_t i = 0; i < sizeof fresh / sizeof *fresh; i++) {
        reel_tensor *y = fresh[i];
        if (!y || !reel_add_(y, reel_mul_scalar(sum(x), 0.5)))
            fail_msg("%zu: %s", i, reel_error_message());
        bool saves = i == 3; /* max reads its result */
        reel_status st = reel_backward(sum(y), NULL);
        assert_int_equal(st, saves ? REEL_ERR_STATE : REEL_OK);
        if (st) expect_error(REEL_ERR_STATE, "was changed in place after it was saved");
    }
}

static void test_quotient(void **state)
{
    (void)state;
    reel_tensor *a = leaf(REEL_SHAPE(2)), *b = leaf(REEL_SHAPE(2));
    reel_tensor *q = reel_div(a, b);
    (void)reel_mul_scalar_(q, 2);
    backward(sum(q));
    EXPECT(reel_grad_of(a), 2, 1);
    EXPECT(reel_grad_of(b), -2, -1);
    /* the dividend itself is changed: a copy of it is kept */
    reel_tensor *c = reel_mul_scalar(a, 3);
    (void)reel_div_(c, b);
    (void)reel_mul_scalar_(c, 2);
    assert_int_equal(reel_set_grad(b, NULL), REEL_OK);
    backward(sum(c));
    EXPECT(reel_grad_of(b), -6, -3);
}

/* A view made anew before and after a change, used for both. */
static void test_old_and_new_value(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2)), *y = reel_mul_scalar(x, 3);
    reel_tensor *view = reel_reshape(y, REEL_SHAPE(2, 1));
    reel_tensor *old = reel_mul_scalar(view, 1);
    (void)reel_mul_(y, x); /* 3 x^2 */
    backward(sum(reel_add(old, view)));
    EXPECT(reel_grad_of(x), 3 + 6, 3 + 12);
}

static void test_saved_elsewhere(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2, 2)), *y = reel_exp(x), *z = sum(reel_square(y));
    (void)reel_zero_(reel_select(y, 0, 1));
    assert_int_equal(reel_backward(z, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "input 0 of square");
}

static void test_second_order(void **state)
{
    (void)state;
    const reel_backward_opts create = {.create_graph = true};
    reel_tensor *x = leaf(REEL_SHAPE(3)), *y = reel_mul_scalar(x, 1), *g;
    reel_tensor *part = reel_narrow(y, 0, 1, 2);
    (void)reel_mul_(part,
                    reel_square(reel_narrow(x, 0, 0, 2))); /* x0, x1 x0^2, x2 x1^2 */
    reel_tensor *s = sum(reel_square(y));
    if (reel_grad(&s, 1, NULL, &x, 1, &g, &create)) fail_msg("%s", reel_error_message());
    /* x0^2 + x1^2 x0^4 + x2^2 x1^4 */
    EXPECT(g, 2 + 4 * 4, 2 * 2 + 4 * 9 * 8, 2 * 3 * 16);
    s = sum(g);
    reel_tensor *h;
    if (reel_grad(&s, 1, NULL, &x, 1, &h, NULL)) fail_msg("%s", reel_error_message());
    EXPECT(h, 2 + 12 * 4 + 8 * 2, 8 * 2 + 2 + 12 * 9 * 4 + 8 * 3 * 8, 8 * 3 * 8 + 2 * 16);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void test_leaves(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2, 2)), *row = reel_select(x, 0, 0);
    assert_null(reel_mul_scalar_(x, 2));
    expect_error(REEL_ERR_STATE, "is a leaf");
    assert_null(reel_mul_scalar_(row, 2));
    expect_error(REEL_ERR_STATE, "view of a leaf");
    bool was = reel_set_grad_enabled(false);
    assert_ptr_equal(reel_mul_scalar_(row, 2), row);
    (void)reel_set_grad_enabled(was);
    EXPECT(x, 2, 4, 3, 4);
    /* it was a view before it was a leaf's view */
    reel_tensor *base = reel_zeros(REEL_SHAPE(4), REEL_F64);
    reel_tensor *part = reel_narrow(base, 0, 0, 2);
    (void)reel_requires_grad(base, true);
    assert_null(reel_add_(part, reel_select(x, 0, 1)));
    expect_error(REEL_ERR_STATE, "view of a leaf");
    /* a view that becomes a leaf is a value of its own */
    reel_tensor *all = reel_zeros(REEL_SHAPE(4), REEL_F64);
    reel_tensor *own = reel_requires_grad(reel_narrow(all, 0, 0, 2), true);
    backward(sum(reel_mul_scalar(own, 3)));
    EXPECT(reel_grad_of(own), 3, 3);
    (void)reel_copy_(reel_narrow(all, 0, 2, 2), reel_select(x, 0, 1));
    assert_null(reel_mul_scalar(own, 2));
    expect_error(REEL_ERR_STATE, "no part in its history");
}

static void test_expanded(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(3, 1)), *y = reel_mul_scalar(x, 2);
    reel_tensor *wide = reel_expand(y, REEL_SHAPE(3, 4));
    assert_null(reel_mul_scalar_(wide, 2));
    expect_error(REEL_ERR_ARG, "expanded");
    /* two of the elements that share memory with others */
    reel_tensor *two = reel_select(reel_narrow(wide, 0, 0, 2), 1, 0);
    assert_null(reel_mul_scalar_(two, 2));
    expect_error(REEL_ERR_STATE, "expanded");
    /* all of them are what was expanded */
    assert_non_null(reel_mul_scalar_(reel_select(wide, 1, 0), 3));
    (void)reel_mul_(y, x); /* the other way round there is no question */
    backward(sum(wide));
    EXPECT(reel_grad_of(x), 48, 96, 144);
}

/* A tensor that is cut off has the values, not the history. */
static void test_cut_off(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2)), *y = reel_exp(x), *z = reel_mul_scalar(x, 2);
    /* not recorded: values change, and what was saved of them is noticed */
    (void)reel_fill_(reel_detach(y), 1);
    assert_int_equal(reel_backward(sum(y), NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "output 0 of exp");
    (void)reel_fill_(reel_detach(z), 1); /* nothing was saved: as under no_grad */
    backward(sum(z));
    EXPECT(reel_grad_of(x), 2, 2);
    /* recorded: the tensor that was cut off has a history, the other one no longer */
    for (int no_grad = 0; no_grad < 2; no_grad++) {
        z = reel_mul_scalar(x, 2);
        bool was = reel_set_grad_enabled(!no_grad);
        reel_tensor *d = no_grad ? reel_reshape(z, REEL_SHAPE(2)) : reel_detach(z);
        (void)reel_set_grad_enabled(was);
        (void)reel_mul_(d, x);
        assert_int_equal(reel_set_grad(x, NULL), REEL_OK);
        backward(sum(d));
        EXPECT(reel_grad_of(x), 2, 4);
        assert_null(reel_mul_scalar(z, 1));
        expect_error(REEL_ERR_STATE, "mul_scalar: the memory of f64[2] was changed");
        assert_int_equal(reel_backward(z, NULL), REEL_ERR_STATE);
        expect_error(REEL_ERR_STATE, "backward: the memory");
        assert_non_null(reel_mul_scalar(reel_detach(z), 1)); /* said to be a constant */
    }
}

static void test_set_data(void **state)
{
    (void)state;
    const double v[] = {5, 6};
    reel_tensor *x = leaf(REEL_SHAPE(2)), *a = reel_zeros(REEL_SHAPE(2), REEL_F64);
    reel_tensor *view = reel_narrow(a, 0, 0, 1);
    assert_int_equal(reel_set_data(a, constant(v, REEL_SHAPE(2))), REEL_OK);
    (void)reel_copy_(view, reel_narrow(x, 0, 0, 1)); /* a is elsewhere by now */
    assert_false(reel_needs_grad(a));
    backward(sum(reel_mul(view, a)));
    EXPECT(reel_grad_of(x), 11, 0);
}

/* ---- length ----------------------------------------------------------------------------------- */

/* A view to and fro stays one view, however often; a long chain of others is freed by a loop. */
static void test_long_chains(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2, 3)), *y = reel_keep(reel_square(x));
    int64_t objects = 0;
    for (int i = 0; i < 2000; i++) {
        bool was = reel_needs_grad(y);
        reel_scope s = reel_scope_begin();
        reel_tensor *next = reel_keep(reel_t(reel_detach(y)));
        reel_scope_end(s);
        reel_release(y);
        y = next;
        assert_true(was == (i == 0));
        if (i == 20) objects = reel_live_objects();
    }
    assert_int_equal(reel_live_objects(), objects);
    for (int i = 0; i < 2000; i++) { /* the same without cutting it off */
        reel_scope s = reel_scope_begin();
        reel_tensor *next = reel_keep(reel_t(y));
        reel_scope_end(s);
        reel_release(y);
        y = next;
    }
    assert_true(reel_live_objects() < objects + 8);
    reel_release(y);
    reel_tensor *row = reel_keep(reel_zeros(REEL_SHAPE(200000), REEL_U8));
    for (int i = 0; i < 100000; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *next = reel_keep(reel_narrow(row, 0, 1, reel_numel(row) - 1));
        reel_scope_end(s);
        reel_release(row);
        row = next;
    }
    reel_release(row);
}

typedef struct job {
    reel_tensor *view;
    double value;
} job;

static void *use_view(void *user)
{
    job *j = user;
    reel_scope s = reel_scope_begin();
    j->value = reel_item(sum(reel_mul_scalar(j->view, 2)));
    reel_scope_end(s);
    return NULL;
}

/* Two threads that use a view whose base was changed. */
static void test_threads(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(4)), *y = reel_mul_scalar(x, 1);
    for (int k = 0; k < 50; k++) {
        reel_tensor *view = reel_narrow(y, 0, k % 2, 3);
        (void)reel_add_(y, x);
        job j[2] = {{.view = view}, {.view = view}};
        pthread_t thread[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, use_view, &j[i]), 0);
        for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_true(j[0].value == j[1].value && isfinite(j[0].value));
        backward(sum(view));
        assert_int_equal(reel_set_grad(x, NULL), REEL_OK);
    }
}

/* ---- empty tensors, and backward twice ---------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    const reel_backward_opts none = {.allow_unused = true};
    reel_tensor *gx[3] = {NULL};
    reel_tensor *w = leaf(REEL_SHAPE(2, 1, 3, 3));
    reel_tensor *x =
        reel_requires_grad(reel_zeros(REEL_SHAPE(0, 1, 5, 5), REEL_F64), true);
    reel_tensor *in[] = {x, w}, *y = reel_conv2d(x, w, NULL, NULL);
    reel_tensor *s = sum(reel_add(reel_mul(y, y), y));
    assert_int_equal(reel_grad(&s, 1, NULL, in, 2, gx, &none), REEL_OK);
    assert_int_equal(reel_numel(gx[0]), 0);
    assert_true(reel_item(sum(reel_abs(gx[1]))) == 0);
    /* a linear layer without outputs */
    reel_tensor *a = leaf(REEL_SHAPE(3, 4));
    reel_tensor *v = reel_requires_grad(reel_zeros(REEL_SHAPE(0, 4), REEL_F64), true);
    reel_tensor *lin[] = {a, v};
    y = reel_linear(a, v, NULL);
    s = sum(reel_add(reel_mul(y, y), y));
    assert_int_equal(reel_grad(&s, 1, NULL, lin, 2, gx, &none), REEL_OK);
    assert_true(reel_item(sum(reel_abs(gx[0]))) == 0);
    /* lerp of one with itself adds two gradients of nothing */
    reel_tensor *e = reel_requires_grad(reel_zeros(REEL_SHAPE(2, 0), REEL_F64), true);
    s = sum(reel_lerp(e, reel_mul(e, e), 0.3));
    assert_int_equal(reel_grad(&s, 1, NULL, &e, 1, gx, &none), REEL_OK);
    assert_int_equal(reel_numel(gx[0]), 0);
    /* the logarithm of an empty sum */
    reel_tensor *l = reel_logsumexp(e, 1, false);
    EXPECT(l, -INFINITY, -INFINITY);
    s = sum(l);
    assert_int_equal(reel_grad(&s, 1, NULL, &e, 1, gx, &none), REEL_OK);
    assert_int_equal(reel_numel(gx[0]), 0);
    /* in place */
    reel_tensor *z = reel_mul_scalar(e, 2);
    assert_non_null(reel_add_(reel_t(z), reel_t(e)));
    s = sum(z);
    assert_int_equal(reel_grad(&s, 1, NULL, &e, 1, gx, &none), REEL_OK);
}

static void test_twice(void **state)
{
    (void)state;
    reel_tensor *x = leaf(REEL_SHAPE(2)), *y = reel_mul_scalar(x, 3);
    (void)reel_mul_scalar_(reel_narrow(y, 0, 0, 1), 2);
    reel_tensor *z = sum(reel_add(y, x));
    backward(z);
    backward(z); /* nothing on the way saved anything */
    EXPECT(reel_grad_of(x), 14, 8);
    z = sum(reel_square(y));
    backward(z);
    assert_int_equal(reel_backward(z, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "what square saved was already freed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_column),          TEST(test_in_turn),      TEST(test_buffer),
        TEST(test_fresh_results),   TEST(test_quotient),     TEST(test_old_and_new_value),
        TEST(test_saved_elsewhere), TEST(test_second_order), TEST(test_leaves),
        TEST(test_expanded),        TEST(test_cut_off),      TEST(test_set_data),
        TEST(test_long_chains),     TEST(test_threads),      TEST(test_empty),
        TEST(test_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
