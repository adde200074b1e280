/* test_pool.c: fast channels-last pooling against the reference, and the same bits on one
 * and two threads. */
#include "reference_check.h"

static const int64_t CHANNELS[] = {1, 3, 8, 16, 17, 33, 64, 70};
enum { N_CHANNELS = sizeof CHANNELS / sizeof *CHANNELS };

/* Outputs of one axis: PyTorch's rule, a last window must begin inside. */
static int64_t outputs(int64_t size, const reel__pool2d_attrs *a, int axis)
{
    int64_t reach = a->dilation[axis] * (a->kernel[axis] - 1) + 1,
            stride = a->stride[axis];
    int64_t room = size + 2 * a->padding[axis] - reach;
    int64_t n = (room + (a->ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (a->ceil_mode && (n - 1) * stride >= size + a->padding[axis]) n--;
    return n;
}

static operand image(int64_t c, int64_t h, int64_t w, reel_dtype dtype, uint64_t seed)
{
    return make(REEL_SHAPE(3, c, h, w), dtype, NHWC, seed);
}

static void compare(reel__fast_fn fast, reel__kernel_fn ref, const operand *in, int n_in,
                    operand *got, operand *want, int n_out, const reel__pool2d_attrs *a,
                    double tolerance, const char *what)
{
    assert_int_equal(call_fast(fast, in, n_in, got, n_out, a), REEL_OK);
    assert_int_equal(call_ref(ref, in, n_in, want, n_out, a), REEL_OK);
    for (int i = 0; i < n_out; i++) {
        if (tolerance > 0)
            check_same(&got[i], &want[i], tolerance, what);
        else
            assert_memory_equal(got[i].data, want[i].data, got[i].bytes);
    }
}

/* Maxima and indices are exact; so are the gradients, added in the same order. Several
 * equal elements, NaN and -inf are among the values. */
static void compare_max(int64_t c, int64_t h, int64_t w, const reel__pool2d_attrs *a)
{
    const int64_t p = outputs(h, a, 0), q = outputs(w, a, 1);
    operand x = image(c, h, w, REEL_F32, 1);
    float *values = x.data;
    for (int64_t i = 0; i < reel__numel(&x.meta); i++) {
        values[i] = rintf(values[i] * 8) / 8;
        if (i % 97 == 5) values[i] = NAN;
        if (i % 5 == 3) values[i] = -INFINITY;
    }
    operand got[] = {image(c, p, q, REEL_F32, 0), image(c, p, q, REEL_I64, 0)};
    operand want[] = {image(c, p, q, REEL_F32, 0), image(c, p, q, REEL_I64, 0)};
    compare(reel__fast_max_pool2d, reel__ref_max_pool2d, &x, 1, got, want, 2, a, 0,
            "max");
    operand alone = image(c, p, q, REEL_F32, 0); /* without the index */
    call_fast(reel__fast_max_pool2d, &x, 1, &alone, 1, a);
    assert_memory_equal(alone.data, want[0].data, alone.bytes);

    operand back[] = {image(c, p, q, REEL_F32, 2), want[1]};
    operand gx = image(c, h, w, REEL_F32, 0), gx_want = image(c, h, w, REEL_F32, 0);
    compare(reel__fast_max_pool2d_backward, reel__ref_max_pool2d_backward, back, 2, &gx,
            &gx_want, 1, a, 0, "max backward");
    drop_all(got, 2);
    drop_all(want, 2);
    drop(&back[0]);
    drop(&x);
    drop(&alone);
    drop(&gx);
    drop(&gx_want);
}

/* There and back between h x w and p x q. */
static void compare_average(reel__fast_fn fast, reel__kernel_fn ref,
                            reel__fast_fn fast_back, reel__kernel_fn ref_back,
                            const reel_shape *sizes, const reel__pool2d_attrs *a,
                            const char *what)
{
    const int64_t c = sizes->dim[0], h = sizes->dim[1], w = sizes->dim[2];
    const int64_t p = sizes->dim[3], q = sizes->dim[4];
    operand x = image(c, h, w, REEL_F32, 1), gy = image(c, p, q, REEL_F32, 2);
    operand y = image(c, p, q, REEL_F32, 0), y_want = image(c, p, q, REEL_F32, 0);
    operand gx = image(c, h, w, REEL_F32, 0), gx_want = image(c, h, w, REEL_F32, 0);
    compare(fast, ref, &x, 1, &y, &y_want, 1, a, 1e-5, what);
    compare(fast_back, ref_back, &gy, 1, &gx, &gx_want, 1, a, 1e-5, what);
    operand all[] = {x, gy, y, y_want, gx, gx_want};
    drop_all(all, 6);
}

static void over_settings(void (*check)(int64_t c, const reel__pool2d_attrs *a))
{
    for (int i = 0; i < N_CHANNELS; i++)
        for (int bits = 0; bits < 64; bits++) {
            const int64_t kernel = 2 + (bits & 1), stride = 1 + (bits >> 1 & 1);
            const int64_t pad = bits >> 2 & 1, dilation = 1 + (bits >> 3 & 1);
            const reel__pool2d_attrs a = {.kernel = {kernel, 2},
                                          .stride = {stride, 1 + kernel % 2 * 2},
                                          .padding = {pad, pad},
                                          .dilation = {dilation, 1},
                                          .ceil_mode = bits >> 4 & 1,
                                          .count_include_pad = bits >> 5 & 1};
            check(CHANNELS[i], &a);
        }
}

/* A window larger than the input: with ceil_mode there is one, if it hangs over by less than a
 * stride. */
static void over_large_windows(void (*check)(int64_t c, const reel__pool2d_attrs *a))
{
    for (int i = 0; i < N_CHANNELS; i++)
        for (int bits = 0; bits < 16; bits++) {
            const int64_t kernel = bits & 1 ? 9 : 1280, pad = bits >> 1 & 1;
            const reel__pool2d_attrs a = {.kernel = {kernel, 10 + bits % 5},
                                          .stride = {bits & 1 ? 3 : kernel, 6},
                                          .padding = {pad, bits >> 2 & 1},
                                          .dilation = {1, 1},
                                          .ceil_mode = 1,
                                          .count_include_pad = bits >> 3 & 1};
            check(CHANNELS[i], &a);
        }
}

static void max_case(int64_t c, const reel__pool2d_attrs *a)
{
    if (a->count_include_pad) return; /* average only */
    compare_max(c, 7, 8, a);
    compare_max(c, 8, 5, a);
}

static void max_agrees(void **state)
{
    (void)state;
    over_settings(max_case);
    over_large_windows(max_case);
}

static void average_case(int64_t c, const reel__pool2d_attrs *a)
{
    if (a->dilation[0] > 1) return; /* max only */
    const reel_shape sizes = REEL_SHAPE(c, 7, 8, outputs(7, a, 0), outputs(8, a, 1));
    compare_average(reel__fast_avg_pool2d, reel__ref_avg_pool2d,
                    reel__fast_avg_pool2d_backward, reel__ref_avg_pool2d_backward, &sizes,
                    a, "average");
}

static void average_agrees(void **state)
{
    (void)state;
    over_settings(average_case);
    over_large_windows(average_case);
}

static void adaptive_average_agrees(void **state)
{
    (void)state;
    static const int64_t outs[][2] = {{1, 1}, {3, 2}, {7, 5}, {12, 9}};
    const reel__pool2d_attrs a = {.ceil_mode = 0};
    for (int i = 0; i < N_CHANNELS; i++)
        for (int j = 0; j < 4; j++) {
            const reel_shape sizes =
                REEL_SHAPE(CHANNELS[i], 7, 8, outs[j][0], outs[j][1]);
            compare_average(reel__fast_adaptive_avg_pool2d, reel__ref_adaptive_avg_pool2d,
                            reel__fast_adaptive_avg_pool2d_backward,
                            reel__ref_adaptive_avg_pool2d_backward, &sizes, &a,
                            "adaptive");
        }
}

/* More than one task an operand. */
static void large_images_agree(void **state)
{
    (void)state;
    const reel__pool2d_attrs a = {.kernel = {3, 3},
                                  .stride = {2, 2},
                                  .padding = {1, 1},
                                  .dilation = {1, 1},
                                  .count_include_pad = 1};
    const reel_shape sizes = REEL_SHAPE(16, 64, 64, 32, 32);
    compare_max(16, 64, 64, &a);
    compare_average(reel__fast_avg_pool2d, reel__ref_avg_pool2d,
                    reel__fast_avg_pool2d_backward, reel__ref_avg_pool2d_backward, &sizes,
                    &a, "average");
}

/* A dilated window that misses a tiny image gives -inf and index -1, and no gradient. */
static void empty_windows_are_harmless(void **state)
{
    (void)state;
    const reel__pool2d_attrs a = {
        .kernel = {2, 2}, .stride = {1, 1}, .padding = {1, 1}, .dilation = {2, 2}};
    operand x = image(20, 1, 1, REEL_F32, 1);
    operand y[] = {image(20, 1, 1, REEL_F32, 0), image(20, 1, 1, REEL_I64, 0)};
    call_fast(reel__fast_max_pool2d, &x, 1, y, 2, &a);
    for (int i = 0; i < 60; i++) {
        assert_true(isinf(((float *)y[0].data)[i]) && ((float *)y[0].data)[i] < 0);
        assert_int_equal(((int64_t *)y[1].data)[i], -1);
    }
    operand back[] = {x, y[1]}, gx = image(20, 1, 1, REEL_F32, 0);
    call_fast(reel__fast_max_pool2d_backward, back, 2, &gx, 1, &a);
    for (int i = 0; i < 60; i++) assert_true(((float *)gx.data)[i] == 0);
    drop_all(y, 2);
    drop(&x);
    drop(&gx);
}

static void leaves_other_layouts(void **state)
{
    (void)state;
    operand x = make(REEL_SHAPE(2, 3, 4, 5), REEL_F32, NULL, 1);
    operand y = make(REEL_SHAPE(2, 3, 1, 1), REEL_F32, NULL, 1);
    const reel__pool2d_attrs a = {.ceil_mode = 0};
    reel__karg in = {x.data, &x.meta}, out = {y.data, &y.meta};
    reel__kcall call = {.n_in = 1, .n_out = 1, .in = &in, .out = &out, .attrs = &a};
    reel_status status;
    assert_false(reel__fast_adaptive_avg_pool2d(&call, &status));
    drop(&x);
    drop(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_agrees),
        cmocka_unit_test(average_agrees),
        cmocka_unit_test(adaptive_average_agrees),
        cmocka_unit_test(large_images_agree),
        cmocka_unit_test(empty_windows_are_harmless),
        cmocka_unit_test(leaves_other_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
