/* Functions that are more than one record, or that choose between records: shapes, values and
 * gradients; and the makers. (The records themselves: test_golden.c, test_gradcheck.c.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <reel/autograd.h>

#include "support/each_test.h"

enum { MOST = 512 };

/* The elements of x, which must be there and have n of them. */
static const double *read(reel_tensor *x, int64_t n)
{
    static double v[2][MOST];
    static int turn;
    turn = !turn;
    if (!x) fail_msg("%s", reel_error_message());
    assert_true(reel_numel(x) == n && n <= MOST);
    assert_int_equal(reel_read(x, v[turn], REEL_F64), REEL_OK);
    return v[turn];
}

static void expect_shape(reel_tensor *x, reel_shape s)
{
    if (!x) fail_msg("%s", reel_error_message());
    assert_int_equal(reel_rank(x), s.rank);
    for (int i = 0; i < s.rank; i++) assert_int_equal(reel_size(x, i), s.dim[i]);
}

/* Both have one shape and the same values. */
static void expect_equal(reel_tensor *x, reel_tensor *y)
{
    expect_shape(x, reel_shape_of(y));
    int64_t n = reel_numel(y);
    const double *a = read(x, n), *b = read(y, n);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= 1e-12 * (1 + fabs(b[i]))))
            fail_msg("element %d: %.17g, must be %.17g", (int)i, a[i], b[i]);
}

#define EXPECT(x, shape_, ...)                                                           \
    expect_equal((x), reel_from((double[]){__VA_ARGS__}, (shape_), REEL_F64))

static reel_tensor *noise(reel_shape s)
{
    return reel_requires_grad(reel_add_scalar(reel_rand(s, REEL_F64), -0.5), true);
}

/* 0, 1, 2 ... of a shape */
static reel_tensor *count(reel_shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return reel_reshape(reel_arange(0, (double)n, 1, REEL_F64), s);
}

static void check_gradient(reel_function fn, reel_tensor *const x[], int n)
{
    if (reel_gradcheck(fn, NULL, x, n, NULL) || reel_gradgradcheck(fn, NULL, x, n, NULL))
        fail_msg("%s", reel_error_message());
}

#define FUNCTION(name, expression)                                                       \
    static reel_tensor *name(void *user, reel_tensor *const x[], int n)                  \
    {                                                                                    \
        (void)user;                                                                      \
        (void)n;                                                                         \
        return expression;                                                               \
    }

/* ---- views -------------------------------------------------------------------------------- */

static void test_views(void **state)
{
    (void)state;
    reel_tensor *x = count(REEL_SHAPE(2, 3, 4)), *part[3];
    expect_shape(reel_transpose(x, 0, -1), REEL_SHAPE(4, 3, 2));
    expect_shape(reel_t(x), REEL_SHAPE(2, 4, 3));
    expect_shape(reel_flatten(x, 0, 1), REEL_SHAPE(6, 4));
    expect_shape(reel_flatten(x, 1, -1), REEL_SHAPE(2, 12));
    expect_shape(reel_flatten(reel_scalar(1, REEL_F64), 0, -1), REEL_SHAPE(1));
    expect_shape(reel_unsqueeze(x, -1), REEL_SHAPE(2, 3, 4, 1));
    expect_shape(reel_unsqueeze(x, 1), REEL_SHAPE(2, 1, 3, 4));
    expect_shape(reel_squeeze(reel_unsqueeze(x, 1), 1), REEL_SHAPE(2, 3, 4));
    expect_shape(reel_reshape(x, REEL_SHAPE(4, -1)), REEL_SHAPE(4, 6));
    expect_shape(reel_expand(reel_scalar(1, REEL_F64), REEL_SHAPE(2, 2)),
                 REEL_SHAPE(2, 2));
    expect_shape(reel_expand(reel_narrow(x, 1, 0, 1), REEL_SHAPE(5, -1, 3, -1)),
                 REEL_SHAPE(5, 2, 3, 4));
    /* a reshape of what has no such view is a copy in logical order */
    EXPECT(reel_reshape(reel_t(count(REEL_SHAPE(2, 3))), REEL_SHAPE(6)), REEL_SHAPE(6), 0,
           3, 1, 4, 2, 5);
    reel_tensor *row = reel_arange(0, 7, 1, REEL_F64);
    EXPECT(reel_slice(row, 0, -3, REEL_END, 1), REEL_SHAPE(3), 4, 5, 6);
    EXPECT(reel_slice(row, 0, 1, -1, 2), REEL_SHAPE(3), 1, 3, 5);
    EXPECT(reel_slice(row, 0, -99, 2, 1), REEL_SHAPE(2), 0, 1);
    EXPECT(reel_slice(row, 0, 0, 7, INT64_MAX), REEL_SHAPE(1), 0);
    expect_shape(reel_slice(row, 0, 5, 2, 1), REEL_SHAPE(0));
    EXPECT(reel_select(count(REEL_SHAPE(2, 3)), 1, -1), REEL_SHAPE(2), 2, 5);
    assert_int_equal(reel_split(row, 3, 0, part, 3), 3);
    EXPECT(part[0], REEL_SHAPE(3), 0, 1, 2);
    EXPECT(part[2], REEL_SHAPE(1), 6);
    /* a view shares memory */
    (void)reel_fill_(reel_narrow(row, 0, 2, 2), 9);
    EXPECT(row, REEL_SHAPE(7), 0, 1, 9, 9, 4, 5, 6);
}

static void test_memory_orders(void **state)
{
    (void)state;
    reel_tensor *x = count(REEL_SHAPE(2, 3, 2, 2));
    reel_tensor *last = reel_to_format(x, REEL_CHANNELS_LAST);
    assert_true(reel_is_channels_last(last) && !reel_is_contiguous(last));
    assert_ptr_equal(reel_to_format(last, REEL_CHANNELS_LAST), last);
    assert_ptr_equal(reel_to_format(last, REEL_PRESERVE), last);
    assert_ptr_equal(reel_contiguous(x), x);
    expect_equal(last, x);
    assert_true(reel_is_channels_last(reel_copy(last)));
    assert_true(reel_is_channels_last(reel_relu(last)));
    assert_true(reel_is_channels_last(reel_zeros_like(last)));
    assert_true(reel_is_channels_last(reel_add(reel_scalar(1, REEL_F64), last)));
    assert_true(reel_is_contiguous(reel_contiguous(last)));
    assert_ptr_equal(reel_to(x, (reel_device){REEL_CPU, 0}), x);
    assert_ptr_equal(reel_cast(x, REEL_F64), x);
    EXPECT(reel_copy_(reel_zeros(REEL_SHAPE(2, 3), REEL_F64),
                      reel_arange(0, 3, 1, REEL_I32)),
           REEL_SHAPE(2, 3), 0, 1, 2, 0, 1, 2);
    /* out of range saturates, NaN is 0 */
    reel_tensor *wild =
        reel_from((double[]){300, -300, NAN, -1.9}, REEL_SHAPE(4), REEL_F64);
    EXPECT(reel_cast(wild, REEL_I8), REEL_SHAPE(4), 127, -128, 0, -1);
    EXPECT(reel_cast(wild, REEL_U8), REEL_SHAPE(4), 255, 0, 0, 0);
}

/* ---- joins --------------------------------------------------------------------------------- */

FUNCTION(stack_two, reel_stack(x, n, 1))

static void test_many_joined(void **state)
{
    (void)state;
    reel_tensor *x[150];
    for (int i = 0; i < 150; i++) x[i] = reel_full(REEL_SHAPE(2), i, REEL_F64);
    reel_tensor *cat = reel_cat(x, 150, -1), *stack = reel_stack(x, 150, 0);
    expect_shape(cat, REEL_SHAPE(300));
    expect_shape(stack, REEL_SHAPE(150, 2));
    for (int i = 0; i < 300; i++) assert_true(read(cat, 300)[i] == i / 2);
    expect_equal(reel_flatten(stack, 0, 1), cat);
    expect_shape(reel_stack(x, 3, -1), REEL_SHAPE(2, 3));
    reel_tensor *two[] = {noise(REEL_SHAPE(3)), noise(REEL_SHAPE(3))};
    check_gradient(stack_two, two, 2);
}

/* ---- matrices ------------------------------------------------------------------------------- */

FUNCTION(product, reel_matmul(x[0], x[1]))
FUNCTION(layer, reel_linear(x[0], x[1], x[2]))

static void test_matmul_shapes(void **state)
{
    (void)state;
    reel_tensor *v = count(REEL_SHAPE(3)), *m = count(REEL_SHAPE(2, 3));
    EXPECT(reel_matmul(v, v), REEL_SCALAR, 5);
    EXPECT(reel_matmul(m, v), REEL_SHAPE(2), 5, 14);
    EXPECT(reel_matmul(v, reel_t(m)), REEL_SHAPE(2), 5, 14);
    EXPECT(reel_matmul(m, reel_t(m)), REEL_SHAPE(2, 2), 5, 14, 14, 50);
    static const struct {
        reel_shape x, y, z;
    } shape[] = {
        {{4, {2, 1, 3, 4}}, {3, {5, 4, 2}}, {4, {2, 5, 3, 2}}},
        {{2, {3, 4}}, {3, {2, 4, 5}}, {3, {2, 3, 5}}},
        {{1, {4}}, {3, {2, 4, 5}}, {2, {2, 5}}},
        {{3, {2, 3, 4}}, {1, {4}}, {2, {2, 3}}},
        {{1, {4}}, {1, {4}}, {0, {0}}},
        {{3, {0, 3, 4}}, {2, {4, 2}}, {3, {0, 3, 2}}},
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        reel_tensor *x[] = {noise(shape[i].x), noise(shape[i].y)};
        expect_shape(reel_matmul(x[0], x[1]), shape[i].z);
        check_gradient(product, x, 2);
    }
    reel_tensor *x[] = {noise(REEL_SHAPE(2, 3, 4)), noise(REEL_SHAPE(5, 4)),
                        noise(REEL_SHAPE(5))};
    reel_tensor *y = reel_linear(x[0], x[1], x[2]);
    expect_equal(y, reel_add(reel_matmul(x[0], reel_t(x[1])), x[2]));
    check_gradient(layer, x, 3);
    x[0] = noise(REEL_SHAPE(4));
    expect_shape(reel_linear(x[0], x[1], NULL), REEL_SHAPE(5));
}

/* ---- reductions ------------------------------------------------------------------------------ */

FUNCTION(mean_of, reel_mean(x[0], REEL_DIMS(0, -1), false))
FUNCTION(log_sum, reel_logsumexp(x[0], 1, false))

static void test_reductions(void **state)
{
    (void)state;
    reel_tensor *x = count(REEL_SHAPE(2, 3)), *cube[] = {noise(REEL_SHAPE(2, 3, 2))};
    EXPECT(reel_sum(x, REEL_ALL, false), REEL_SCALAR, 15);
    EXPECT(reel_sum(x, REEL_ALL, true), REEL_SHAPE(1, 1), 15);
    EXPECT(reel_mean(x, REEL_DIMS(-1), false), REEL_SHAPE(2), 1, 4);
    EXPECT(reel_var(x, REEL_DIMS(0), 1, false), REEL_SHAPE(3), 4.5, 4.5, 4.5);
    EXPECT(reel_max(x, REEL_DIMS(1), true), REEL_SHAPE(2, 1), 2, 5);
    EXPECT(reel_argmax(x, 1, false), REEL_SHAPE(2), 2, 2);
    EXPECT(reel_argmax(x, REEL_FLAT, false), REEL_SCALAR, 5);
    EXPECT(reel_argmin(x, 0, true), REEL_SHAPE(1, 3), 0, 0, 0);
    EXPECT(reel_any(x, REEL_DIMS(1), false), REEL_SHAPE(2), 1, 1);
    EXPECT(reel_all(x, REEL_DIMS(1), false), REEL_SHAPE(2), 0, 1);
    EXPECT(reel_sum(reel_zeros(REEL_SHAPE(0, 2), REEL_F64), REEL_DIMS(0), false),
           REEL_SHAPE(2), 0, 0);
    expect_equal(reel_logsumexp(x, 1, true),
                 reel_log(reel_sum(reel_exp(x), REEL_DIMS(1), true)));
    check_gradient(mean_of, cube, 1);
    check_gradient(log_sum, cube, 1);
    /* equal winners share the gradient */
    reel_tensor *tie = reel_requires_grad(reel_ones(REEL_SHAPE(4), REEL_F64), true);
    assert_int_equal(reel_backward(reel_max(tie, REEL_ALL, false), NULL), REEL_OK);
    EXPECT(reel_grad_of(tie), REEL_SHAPE(4), 0.25, 0.25, 0.25, 0.25);
}

/* ---- losses ------------------------------------------------------------------------------------ */

static reel_tensor *labels(reel_shape s)
{
    return reel_randint(0, 3, s, REEL_I64);
}

static reel_tensor *spatial_loss(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_cross_entropy(x[0], user,
                              &(reel_cross_entropy_opts){.label_smoothing = 0.1});
}

static void test_losses(void **state)
{
    (void)state;
    reel_tensor *x = noise(REEL_SHAPE(2, 3, 4)), *t = labels(REEL_SHAPE(2, 4));
    const reel_cross_entropy_opts each = {.reduction = REEL_NONE},
                                  sum = {.reduction = REEL_SUM};
    reel_tensor *rows = reel_cross_entropy(x, t, &each);
    expect_shape(rows, REEL_SHAPE(2, 4));
    expect_equal(reel_cross_entropy(x, t, &sum), reel_sum(rows, REEL_ALL, false));
    expect_equal(reel_cross_entropy(x, t, NULL), reel_mean(rows, REEL_ALL, false));
    reel_tensor *lp = reel_gather(reel_log_softmax(x, 1), 1, reel_unsqueeze(t, 1));
    expect_equal(rows, reel_neg(reel_squeeze(lp, 1)));
    if (reel_gradcheck(spatial_loss, t, &x, 1, NULL))
        fail_msg("%s", reel_error_message());
    /* rows that are ignored count nowhere */
    reel_tensor *flat = noise(REEL_SHAPE(4, 3)), *some = labels(REEL_SHAPE(4));
    (void)reel_fill_(reel_narrow(some, 0, 0, 2), -7);
    const reel_cross_entropy_opts ignore = {.ignore = true, .ignore_index = -7};
    expect_equal(
        reel_cross_entropy(flat, some, &ignore),
        reel_cross_entropy(reel_narrow(flat, 0, 2, 2), reel_narrow(some, 0, 2, 2), NULL));
    reel_tensor *y = count(REEL_SHAPE(3)), *z = reel_zeros(REEL_SHAPE(3), REEL_F64);
    EXPECT(reel_mse_loss(y, z, REEL_NONE), REEL_SHAPE(3), 0, 1, 4);
    EXPECT(reel_mse_loss(y, z, REEL_SUM), REEL_SCALAR, 5);
    EXPECT(reel_mse_loss(y, z, REEL_MEAN), REEL_SCALAR, 5. / 3);
    expect_equal(reel_bce_with_logits(y, z, REEL_MEAN),
                 reel_mean(reel_softplus(y), REEL_ALL, false));
    EXPECT(reel_bce_with_logits(reel_full(REEL_SCALAR, -800, REEL_F64),
                                reel_ones(REEL_SCALAR, REEL_F64), REEL_SUM),
           REEL_SCALAR, 800);
}

/* ---- attention, indices, masks ------------------------------------------------------------------ */

static void test_attention(void **state)
{
    (void)state;
    reel_tensor *q = noise(REEL_SHAPE(2, 3, 4)), *k = noise(REEL_SHAPE(2, 5, 4));
    reel_tensor *v = noise(REEL_SHAPE(2, 5, 2)), *bias = noise(REEL_SHAPE(3, 5));
    reel_tensor *scores = reel_mul_scalar(reel_matmul(q, reel_t(k)), 0.5);
    expect_equal(reel_attention(q, k, v, NULL), reel_matmul(reel_softmax(scores, -1), v));
    reel_attention_opts o = {.mask = reel_detach(bias)};
    expect_equal(reel_attention(q, k, v, &o),
                 reel_matmul(reel_softmax(reel_add(scores, bias), -1), v));
    /* a mask of one row, which sees only the first key */
    o.mask = reel_from((bool[]){1, 0, 0, 0, 0}, REEL_SHAPE(5), REEL_BOOL);
    reel_tensor *first = reel_narrow(v, 1, 0, 1);
    expect_equal(reel_attention(q, k, v, &o), reel_expand(first, REEL_SHAPE(2, 3, 2)));
    o.mask = reel_zeros(REEL_SHAPE(1), REEL_BOOL); /* nothing is seen */
    expect_equal(reel_attention(q, k, v, &o), reel_zeros(REEL_SHAPE(2, 3, 2), REEL_F64));
    o = (reel_attention_opts){.causal = true};
    reel_tensor *y = reel_attention(q, k, v, &o);
    expect_equal(reel_narrow(y, 1, 0, 1), first);
    o = (reel_attention_opts){.dropout = 0.5};
    reel_seed(3);
    reel_tensor *dropped = reel_attention(q, k, v, &o);
    reel_seed(3);
    expect_equal(reel_attention(q, k, v, &o), dropped);
}

FUNCTION(rows_of, reel_embedding(x[0], reel_reshape(reel_arange(0, 4, 1, REEL_I64),
                                                    REEL_SHAPE(2, 2))))

static void test_indices_and_masks(void **state)
{
    (void)state;
    reel_tensor *w = noise(REEL_SHAPE(5, 3)), *x = count(REEL_SHAPE(2, 3));
    expect_shape(reel_embedding(w, reel_zeros(REEL_SHAPE(4, 2), REEL_I32)),
                 REEL_SHAPE(4, 2, 3));
    check_gradient(rows_of, &w, 1);
    reel_tensor *mask = reel_gt(x, reel_scalar(3, REEL_F64));
    EXPECT(reel_masked_fill(x, mask, -1), REEL_SHAPE(2, 3), 0, 1, 2, 3, -1, -1);
    EXPECT(reel_masked_fill(x, reel_select(mask, 0, 1), -1), REEL_SHAPE(2, 3), 0, -1, -1,
           3, -1, -1);
    EXPECT(reel_one_hot(reel_arange(0, 2, 1, REEL_I64), 2, REEL_F64), REEL_SHAPE(2, 2), 1,
           0, 0, 1);
}

static void test_dropout(void **state)
{
    (void)state;
    reel_tensor *x = reel_requires_grad(reel_ones(REEL_SHAPE(400), REEL_F64), true);
    assert_ptr_equal(reel_dropout(x, 0.5, false), x);
    assert_ptr_equal(reel_dropout(x, 0, true), x);
    reel_tensor *y = reel_dropout(x, 0.25, true);
    const double *v = read(y, 400);
    int kept = 0;
    for (int i = 0; i < 400; i++) {
        assert_true(v[i] == 0 || fabs(v[i] - 4. / 3) < 1e-12);
        kept += v[i] != 0;
    }
    assert_true(kept > 250 && kept < 350); /* 300 +- 9, one deviation */
    assert_int_equal(reel_backward(reel_sum(y, REEL_ALL, false), NULL), REEL_OK);
    expect_equal(reel_grad_of(x), y); /* the same places */
    reel_seed(1);
    expect_equal(reel_dropout(x, 0.25, true), y);
}

/* ---- images ---------------------------------------------------------------------------------------- */

static void test_pool_and_conv_options(void **state)
{
    (void)state;
    reel_tensor *x = noise(REEL_SHAPE(1, 2, 6, 8)), *w = noise(REEL_SHAPE(4, 2, 3, 3));
    const reel_conv2d_opts uneven = {.stride_hw = {1, 2}, .padding_hw = {0, 1}};
    expect_shape(reel_conv2d(x, w, NULL, &uneven), REEL_SHAPE(1, 4, 4, 4));
    expect_shape(reel_conv2d(x, w, NULL, NULL), REEL_SHAPE(1, 4, 4, 6));
    const reel_pool2d_opts pool = {.kernel_hw = {2, 4}, .stride = 2};
    expect_shape(reel_max_pool2d(x, 0, &pool), REEL_SHAPE(1, 2, 3, 3));
    expect_shape(reel_avg_pool2d(x, 2, NULL), REEL_SHAPE(1, 2, 3, 4));
    expect_equal(reel_adaptive_avg_pool2d(x, 1, 1), reel_mean(x, REEL_DIMS(2, 3), true));
    reel_tensor *ones = reel_ones(REEL_SHAPE(1, 1, 2, 2), REEL_F64);
    reel_pool2d_opts padded = {.stride = 2, .padding = 1};
    expect_equal(reel_avg_pool2d(ones, 2, &padded), reel_mul_scalar(ones, 0.25));
    padded.exclude_pad = true;
    expect_equal(reel_avg_pool2d(ones, 2, &padded), ones);
}

/* ---- makers ------------------------------------------------------------------------------------------ */

static void freed(void *user, void *data)
{
    assert_non_null(data);
    ++*(int *)user;
}

static void test_makers(void **state)
{
    (void)state;
    int times = 0;
    static double memory[] = {1, 2, 3};
    reel_scope s = reel_scope_begin();
    reel_tensor *b = reel_from_borrowed(memory, REEL_SHAPE(3), REEL_F64, freed, &times);
    (void)reel_mul_scalar_(b, 2);
    EXPECT(b, REEL_SHAPE(3), 2, 4, 6);
    assert_true(memory[2] == 6 && times == 0 && reel_data(b) == memory);
    reel_scope_end(s);
    assert_int_equal(times, 1);

    EXPECT(reel_arange(5, 0, -2, REEL_F64), REEL_SHAPE(3), 5, 3, 1);
    expect_shape(reel_arange(0, 0, 1, REEL_F64), REEL_SHAPE(0));
    EXPECT(reel_linspace(0, 1, 5, REEL_F64), REEL_SHAPE(5), 0, 0.25, 0.5, 0.75, 1);
    EXPECT(reel_linspace(3, 9, 1, REEL_F64), REEL_SHAPE(1), 3);
    EXPECT(reel_eye(2, 3, REEL_F64), REEL_SHAPE(2, 3), 1, 0, 0, 0, 1, 0);
    assert_true(reel_item(reel_scalar(2.5, REEL_F32)) == 2.5);
    assert_true(reel_item_i64(reel_scalar(1e15, REEL_I64)) == 1000000000000000);
    bool seen[100] = {false};
    const double *p = read(reel_randperm(100), 100);
    for (int i = 0; i < 100; i++) seen[(int)p[i]] = true;
    for (int i = 0; i < 100; i++) assert_true(seen[i]);
    reel_tensor *r = reel_randint(-2, 3, REEL_SHAPE(200), REEL_I32);
    assert_true(reel_item(reel_min(r, REEL_ALL, false)) == -2);
    assert_true(reel_item(reel_max(r, REEL_ALL, false)) == 2);
    reel_rng_state at = reel_rng_get();
    reel_tensor *first = reel_randn(REEL_SHAPE(9), REEL_F64);
    reel_rng_set(at);
    expect_equal(reel_randn(REEL_SHAPE(9), REEL_F64), first);
}

static void test_set_data(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32), *y = count(REEL_SHAPE(3));
    assert_int_equal(reel_set_data(x, y), REEL_OK);
    expect_equal(x, y);
    reel_tensor *leaf = noise(REEL_SHAPE(2));
    assert_int_equal(reel_set_data(leaf, y), REEL_ERR_STATE);
    reel_error_clear();
    assert_ptr_equal(reel_requires_grad(leaf, false), leaf);
    assert_int_equal(reel_set_data(leaf, y), REEL_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_views),       TEST(test_memory_orders),
        TEST(test_many_joined), TEST(test_matmul_shapes),
        TEST(test_reductions),  TEST(test_losses),
        TEST(test_attention),   TEST(test_indices_and_masks),
        TEST(test_dropout),     TEST(test_pool_and_conv_options),
        TEST(test_makers),      TEST(test_set_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
