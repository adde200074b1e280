/* Corners of the operators and of the tape: operands that share memory, results larger than
 * the input, rank 8, gradients where a factor is not finite, hooks that let go. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/autograd.h>

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return reel_live_objects() != 0;
}

static void expect_error(reel_status wanted, const char *part)
{
    assert_int_equal(reel_error_status(), wanted);
    if (!strstr(reel_error_message(), part)) fail_msg("%s", reel_error_message());
    reel_error_clear();
}

static reel_tensor *total(reel_tensor *x)
{
    return reel_sum(x, REEL_ALL, false);
}

static reel_tensor *leaf(reel_tensor *x)
{
    return reel_requires_grad(x, true);
}

/* ---- operands that share memory ---------------------------------------------------------- */

enum { N = 100000 }; /* several tasks */

static reel_tensor *count_up(void)
{
    return reel_arange(0, N, 1, REEL_F64);
}

static void expect_elements(reel_tensor *x, double (*wanted)(int i))
{
    static double v[N];
    assert_int_equal(reel_read(x, v, REEL_F64), REEL_OK);
    for (int i = 0; i < N; i++)
        if (v[i] != wanted(i)) fail_msg("element %d is %g, not %g", i, v[i], wanted(i));
}

static double added_to_the_next(int i)
{
    return i ? 2 * i - 1 : 0;
}
static double moved_on(int i)
{
    return i ? i - 1 : 0;
}
static double with_the_first_row(int i)
{
    return i + i % 1000;
}
static double with_its_mirror(int i)
{
    return i % 2 ? 2 * i : 2 * i + 1;
}
static double doubled(int i)
{
    return 2 * i;
}

static void in_place_on_what_overlaps(void **state)
{
    (void)state;
    reel_tensor *x = count_up();
    assert_non_null(reel_add_(reel_narrow(x, 0, 1, N - 1), reel_narrow(x, 0, 0, N - 1)));
    expect_elements(x, added_to_the_next);
    x = count_up();
    assert_non_null(reel_copy_(reel_narrow(x, 0, 1, N - 1), reel_narrow(x, 0, 0, N - 1)));
    expect_elements(x, moved_on);
    x = count_up();
    reel_tensor *rows = reel_reshape(x, REEL_SHAPE(N / 1000, 1000));
    assert_non_null(reel_add_(rows, reel_narrow(rows, 0, 0, 1)));
    expect_elements(x, with_the_first_row);
    /* disjoint, though the ranges meet */
    x = count_up();
    reel_tensor *even = reel_slice(x, 0, 0, REEL_END, 2),
                *odd = reel_slice(x, 0, 1, REEL_END, 2);
    assert_non_null(reel_add_(even, odd));
    assert_non_null(reel_copy_(odd, reel_mul_scalar(odd, 2)));
    expect_elements(x, with_its_mirror);
    x = count_up();
    assert_non_null(reel_add_(x, x));
    expect_elements(x, doubled);
}

static void expanded_is_not_changed(void **state)
{
    (void)state;
    reel_tensor *x = reel_zeros(REEL_SHAPE(1, 3), REEL_F32);
    assert_null(reel_fill_(reel_expand(x, REEL_SHAPE(4, 3)), 1));
    expect_error(REEL_ERR_ARG, "fill_: input 0 f32[4,3] is expanded");
    assert_non_null(reel_fill_(reel_expand(x, REEL_SHAPE(1, 3)), 1));
}

/* ---- shapes --------------------------------------------------------------------------------- */

static void pools_to_more_than_there_is(void **state)
{
    (void)state;
    reel_tensor *x = leaf(reel_ones(REEL_SHAPE(1, 1, 2, 2), REEL_F32));
    reel_tensor *y = reel_adaptive_avg_pool2d(x, 8, 8);
    assert_true(reel_item(total(y)) == 64);
    assert_int_equal(reel_backward(total(y), NULL), REEL_OK);
    assert_true(reel_item(total(reel_grad_of(x))) == 64);
    const reel_pool2d_opts o = {.stride = 1, .padding = 1};
    x = leaf(reel_ones(REEL_SHAPE(1, 1, 1, 1), REEL_F32));
    y = reel_add(reel_avg_pool2d(x, 2, &o), reel_max_pool2d(x, 2, &o));
    assert_true(reel_item(total(y)) == 5);
    assert_int_equal(reel_backward(total(y), NULL), REEL_OK);
    assert_true(reel_item(reel_grad_of(x)) == 5);
}

static void slices_rank_eight(void **state)
{
    (void)state;
    reel_tensor *x = leaf(reel_ones(REEL_SHAPE(1, 2, 1, 1, 1, 1, 1, 7), REEL_F64));
    reel_tensor *y = reel_slice(reel_slice(x, 7, 1, REEL_END, 3), 1, 0, 2, 2);
    assert_int_equal(reel_backward(total(y), NULL), REEL_OK);
    double g[14];
    assert_int_equal(reel_read(reel_grad_of(x), g, REEL_F64), REEL_OK);
    for (int i = 0; i < 14; i++) assert_true(g[i] == (i == 1 || i == 4));
}

static void split_size_is_any(void **state)
{
    (void)state;
    reel_tensor *part[1] = {NULL};
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    assert_int_equal(reel_split(x, INT64_MAX, 0, part, 1), 1);
    assert_int_equal(reel_numel(part[0]), 3);
}

static void target_has_the_shape_of_logits(void **state)
{
    (void)state;
    reel_tensor *x = reel_zeros(REEL_SHAPE(2, 3, 4, 5), REEL_F32);
    assert_null(reel_cross_entropy(x, reel_zeros(REEL_SHAPE(2, 5, 4), REEL_I64), NULL));
    expect_error(REEL_ERR_SHAPE, "i64[2,5,4]");
    reel_tensor *fits = reel_zeros(REEL_SHAPE(2, 4, 5), REEL_I64);
    assert_true(fabs(reel_item(reel_cross_entropy(x, fits, NULL)) - log(3)) < 1e-6);
}

static void linspace_has_both_ends(void **state)
{
    (void)state;
    double v[200];
    for (int n = 2; n <= 200; n++) {
        assert_int_equal(reel_read(reel_linspace(0.1, 1, n, REEL_F64), v, REEL_F64),
                         REEL_OK);
        assert_true(v[0] == 0.1 && v[n - 1] == 1);
    }
    assert_true(reel_item(reel_linspace(2, 5, 1, REEL_F32)) == 2);
    assert_int_equal(reel_numel(reel_linspace(2, 5, 0, REEL_F32)), 0);
}

static void prints_what_numpy_prints(void **state)
{
    (void)state;
    const double odd[] = {-NAN, NAN, -INFINITY};
    char *s = reel_to_string(reel_from(odd, REEL_SHAPE(3), REEL_F64),
                             &(reel_print_opts){.edge = INT_MAX, .threshold = 1});
    assert_string_equal(s, "[ nan,  nan, -inf]  f64[3]");
    free(s);
}

static void integers_take_whole_numbers(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_I32);
    assert_null(reel_mul_scalar(x, 0.5));
    expect_error(REEL_ERR_DTYPE,
                 "mul_scalar: value 0.5 is not an integer of 64 bits, input is i32[2]");
    assert_null(reel_mul_scalar_(x, NAN));
    expect_error(REEL_ERR_DTYPE, "mul_scalar_");
    assert_null(reel_add_scalar(x, INFINITY));
    expect_error(REEL_ERR_DTYPE, "add_scalar");
    assert_true(reel_item_i64(total(reel_add_scalar(reel_mul_scalar_(x, 3), -1))) == 4);
}

/* ---- gradients ------------------------------------------------------------------------------ */

/* The gradient that comes in is 1 / 0; what does not depend on x passes nothing of it on. */
static void nothing_is_zero_even_of_infinity(void **state)
{
    (void)state;
    const double two[] = {1, 2};
    reel_tensor *zeros = reel_zeros(REEL_SHAPE(2), REEL_F64);
    for (int k = 0; k < 5; k++) {
        reel_tensor *x = leaf(reel_from(two, REEL_SHAPE(2), REEL_F64));
        reel_tensor *y = k == 0   ? reel_copy_(reel_square(x), zeros)
                         : k == 1 ? reel_fill_(reel_square(x), 0)
                         : k == 2 ? reel_add_scalar(reel_pow_scalar(x, 0), -1)
                         : k == 3 ? reel_floor(reel_mul_scalar(x, 0.1))
                                  : reel_add_scalar(reel_sign(x), -1);
        assert_int_equal(reel_backward(total(reel_log(y)), NULL), REEL_OK);
        assert_true(reel_item(total(reel_square(reel_grad_of(x)))) == 0);
    }
}

static void zero_to_the_zero(void **state)
{
    (void)state;
    const double bases[] = {0, 0, 3}, powers[] = {0, 2, 2};
    reel_tensor *x = leaf(reel_from(bases, REEL_SHAPE(3), REEL_F64));
    reel_tensor *y = reel_pow(x, reel_from(powers, REEL_SHAPE(3), REEL_F64));
    double g[3];
    assert_int_equal(reel_backward(total(y), NULL), REEL_OK);
    assert_int_equal(reel_read(reel_grad_of(x), g, REEL_F64), REEL_OK);
    assert_true(g[0] == 0 && g[1] == 0 && g[2] == 6);
}

/* "No gradient" means none, not an error in backward; an added mask has one. */
static void constants_that_ask_for_gradients(void **state)
{
    (void)state;
    reel_tensor *x = leaf(reel_randn(REEL_SHAPE(3, 3), REEL_F64));
    reel_tensor *c = leaf(reel_ones(REEL_SHAPE(3), REEL_F64));
    reel_tensor *labels = reel_zeros(REEL_SHAPE(3), REEL_I64);
    const reel_cross_entropy_opts weighted = {.weight = c};
    assert_false(reel_needs_grad(reel_cross_entropy(reel_detach(x), labels, &weighted)));
    reel_tensor *bias = leaf(reel_ones(REEL_SHAPE(3), REEL_F64));
    const reel_attention_opts masked = {.mask = bias};
    const reel_backward_opts twice = {.create_graph = true};
    reel_tensor *y = reel_add(reel_cross_entropy(x, labels, &weighted),
                              total(reel_attention(x, x, x, &masked)));
    assert_int_equal(reel_backward(y, &twice), REEL_OK);
    assert_non_null(reel_grad_of(x));
    assert_null(reel_grad_of(c));
    assert_non_null(reel_grad_of(bias));
    /* they hold the graph that holds x */
    assert_int_equal(reel_set_grad(x, NULL), REEL_OK);
    assert_int_equal(reel_set_grad(bias, NULL), REEL_OK);
}

static void gradients_given_stay_the_callers(void **state)
{
    (void)state;
    for (int create = 0; create < 2; create++) {
        reel_tensor *x = leaf(reel_ones(REEL_SHAPE(2), REEL_F32));
        reel_tensor *gy = reel_ones(REEL_SHAPE(2), REEL_F32);
        const reel_backward_opts o = {.gradient = gy, .create_graph = create != 0};
        assert_int_equal(reel_backward(x, &o), REEL_OK);
        assert_ptr_not_equal(reel_grad_of(x), gy);
    }
}

/* A row hidden by -inf gives zeros, to every order. */
static void hidden_rows_under_create_graph(void **state)
{
    (void)state;
    const double mask[] = {0, -INFINITY, 0, -INFINITY, -INFINITY, -INFINITY, 0, 0, 1};
    const reel_attention_opts o = {.mask = reel_from(mask, REEL_SHAPE(3, 3), REEL_F64)};
    reel_tensor *x = leaf(reel_randn(REEL_SHAPE(2, 3, 4), REEL_F64)), *g[2];
    reel_tensor *y = total(reel_sin(reel_attention(x, x, x, &o)));
    for (int create = 0; create < 2; create++) {
        const reel_backward_opts b = {.retain_graph = true, .create_graph = create != 0};
        assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &g[create], &b), REEL_OK);
    }
    assert_true(reel_item(total(reel_square(reel_sub(g[0], g[1])))) < 1e-20);
    assert_int_equal(reel_backward(total(reel_square(g[1])), NULL), REEL_OK);
    assert_true(isfinite(reel_item(total(reel_grad_of(x)))));
}

/* ---- the run --------------------------------------------------------------------------------- */

static reel_tensor *let_go(void *user, reel_tensor *g)
{
    (void)g;
    reel_tensor **kept = user;
    reel_release(*kept);
    *kept = NULL;
    return NULL;
}

static void a_hook_may_release_the_output(void **state)
{
    (void)state;
    reel_tensor *x = leaf(reel_ones(REEL_SHAPE(3), REEL_F64));
    reel_scope s = reel_scope_begin();
    reel_tensor *y = reel_keep(total(reel_exp(reel_square(x)))), *held = y;
    reel_scope_end(s);
    assert_int_equal(reel_register_hook(y, let_go, &held), REEL_OK);
    assert_int_equal(reel_backward(y, NULL), REEL_OK);
    assert_null(held);
    assert_true(fabs(reel_item(total(reel_grad_of(x))) - 6 * exp(1)) < 1e-12);
}

static reel_tensor *as_f32(void *user, reel_tensor *g)
{
    (void)user;
    return reel_cast(g, REEL_F32);
}

static void gradients_are_like_their_tensor(void **state)
{
    (void)state;
    reel_tensor *x = leaf(reel_ones(REEL_SHAPE(3), REEL_F64)), *y = reel_square(x);
    assert_int_equal(reel_set_grad(y, reel_detach(x)), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "set_grad");
    assert_int_equal(reel_register_hook(x, as_f32, NULL), REEL_OK);
    assert_int_equal(reel_backward(total(y), NULL), REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "hook: returned f32[3] for a gradient f64[3]");
}

/* A failed forward pass never touches the weights; clearing a gradient is for cleaning up. */
static void commands_wait_for_the_error(void **state)
{
    (void)state;
    reel_tensor *x = leaf(reel_ones(REEL_SHAPE(2), REEL_F32)),
                *g = reel_copy(reel_detach(x));
    reel_tensor *other = reel_zeros(REEL_SHAPE(2), REEL_F32);
    assert_int_equal(reel_set_grad(x, g), REEL_OK);
    (void)reel_fail(REEL_ERR_IO, "before");
    assert_int_equal(reel_set_grad(x, other), REEL_ERR_IO);
    assert_ptr_equal(reel_grad_of(x), g);
    assert_int_equal(reel_set_data(g, other), REEL_ERR_IO);
    assert_int_equal(reel_set_grad(x, NULL), REEL_OK);
    assert_null(reel_grad_of(x));
    reel_error_clear();
    assert_true(reel_item(total(g)) == 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_place_on_what_overlaps),
        TEST(expanded_is_not_changed),
        TEST(pools_to_more_than_there_is),
        TEST(slices_rank_eight),
        TEST(split_size_is_any),
        TEST(target_has_the_shape_of_logits),
        TEST(linspace_has_both_ends),
        TEST(integers_take_whole_numbers),
        TEST(prints_what_numpy_prints),
        TEST(nothing_is_zero_even_of_infinity),
        TEST(zero_to_the_zero),
        TEST(constants_that_ask_for_gradients),
        TEST(hidden_rows_under_create_graph),
        TEST(gradients_given_stay_the_callers),
        TEST(a_hook_may_release_the_output),
        TEST(gradients_are_like_their_tensor),
        TEST(commands_wait_for_the_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
