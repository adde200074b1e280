/* test_ref.c: the reference kernels against values worked out by hand, and by what must
 * hold for them: gradients are adjoint to linear kernels, and agree with differences
 * elsewhere. */
#include "reference_check.h"

#include <reel/ops.h>

static const reel_dtype BOTH[] = {REEL_F32, REEL_F64};

static void run(reel__kernel_fn fn, const operand *in, int n_in, const operand *out,
                int n_out, const void *attrs)
{
    assert_int_equal(call_ref(fn, in, n_in, out, n_out, attrs), REEL_OK);
}

static operand random64(reel_shape shape, uint64_t seed)
{
    return make(shape, REEL_F64, NULL, seed);
}

static int clear(void **state)
{
    (void)state;
    reel_error_clear();
    return 0;
}

/* Operands are tiny here: more threads would only wait for each other. */
static int one_thread(void **state)
{
    (void)state;
    return reel_set_threads(1) != REEL_OK;
}

/* ---- matrices ---------------------------------------------------------------------- */

static void matmul_by_hand(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        operand in[] = {
            make_values(REEL_SHAPE(2, 3), BOTH[t], (double[]){1, 2, 3, 4, 5, 6}),
            make_values(REEL_SHAPE(3, 2), BOTH[t], (double[]){7, 8, 9, 10, 11, 12})};
        operand y = make(REEL_SHAPE(2, 2), BOTH[t], NULL, 1);
        run(reel__ref_matmul, in, 2, &y, 1, NULL);
        check_values(&y, (double[]){58, 64, 139, 154}, 0, "matmul");
        operand bias = make_values(REEL_SHAPE(2), BOTH[t], (double[]){100, 200});
        operand w =
            make_values(REEL_SHAPE(2, 3), BOTH[t], (double[]){7, 9, 11, 8, 10, 12});
        run(reel__ref_linear, (operand[]){in[0], w, bias}, 3, &y, 1, NULL);
        check_values(&y, (double[]){158, 264, 239, 354}, 0, "linear");
        drop_all((operand[]){in[0], in[1], y, bias, w}, 5);
    }
}

/* Batches that repeat, transposed operands, and more columns than are summed at once. */
static void matmul_batches_and_strides(void **state)
{
    (void)state;
    operand a = make(REEL_SHAPE(2, 3, 4, 5), REEL_F32, (int[]){0, 1, 3, 2}, 1);
    operand b = make(REEL_SHAPE(1, 3, 5, 130), REEL_F32, (int[]){3, 0, 1, 2}, 2);
    operand y = make(REEL_SHAPE(2, 3, 4, 130), REEL_F32, (int[]){1, 0, 2, 3}, 3);
    run(reel__ref_matmul, (operand[]){a, b}, 2, &y, 1, NULL);
    int64_t i[REEL_MAX_RANK] = {0};
    do {
        double sum = 0;
        for (int64_t l = 0; l < 5; l++)
            sum += at(&a, (int64_t[]){i[0], i[1], i[2], l}) *
                   at(&b, (int64_t[]){0, i[1], l, i[3]});
        check_near(at(&y, i), sum, 1e-6, "matmul");
    } while (next(&y.meta, i));
    drop_all((operand[]){a, b, y}, 3);
}

/* ---- convolution ------------------------------------------------------------------- */

static void conv_by_hand(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        operand x = make_values(REEL_SHAPE(1, 1, 3, 3), BOTH[t],
                                (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9});
        operand w = make_values(REEL_SHAPE(1, 1, 2, 2), BOTH[t], (double[]){1, 2, 3, 4});
        operand b = make_values(REEL_SHAPE(1), BOTH[t], (double[]){0.5});
        operand y = make(REEL_SHAPE(1, 1, 2, 2), BOTH[t], NULL, 1);
        reel__conv2d_attrs a = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
        run(reel__ref_conv2d, (operand[]){x, w, b}, 3, &y, 1, &a);
        check_values(&y, (double[]){37.5, 47.5, 67.5, 77.5}, 0, "valid");
        a = (reel__conv2d_attrs){
            .stride = {2, 2}, .padding = {1, 1}, .dilation = {1, 1}, .groups = 1};
        run(reel__ref_conv2d, (operand[]){x, w}, 2, &y, 1, &a);
        check_values(&y, (double[]){4, 18, 36, 77}, 0, "stride 2, padding 1");
        a = (reel__conv2d_attrs){.stride = {1, 1}, .dilation = {2, 2}, .groups = 1};
        y.meta.dim[2] = y.meta.dim[3] = 1;
        run(reel__ref_conv2d, (operand[]){x, w}, 2, &y, 1, &a);
        check_values(&y, (double[]){1 + 2 * 3 + 3 * 7 + 4 * 9}, 0, "dilation 2");
        drop_all((operand[]){x, w, b, y}, 4);
    }
}

static int64_t conv_outputs(int64_t n, int64_t kernel, int64_t stride, int64_t pad,
                            int64_t dilation)
{
    return (n + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

/* <conv(x, w), gy> = <x, conv_input(gy, w)> = <w, conv_weight(gy, x)> */
static void conv_gradients_are_adjoint(void **state)
{
    (void)state;
    for (int bits = 0; bits < 48; bits++) {
        const int64_t stride = 1 + (bits & 1), pad = bits >> 1 & 1,
                      dilation = 1 + (bits >> 2 & 1);
        const int64_t groups = 1 << (bits >> 4);
        const reel__conv2d_attrs a = {.stride = {stride, 1},
                                      .padding = {pad, 1},
                                      .dilation = {dilation, 1},
                                      .groups = groups};
        const int *order = bits >> 3 & 1 ? NHWC : NULL;
        const int64_t p = conv_outputs(7, 3, stride, pad, dilation), q = 6 + 2 - 1;
        operand x = make(REEL_SHAPE(2, 4, 7, 6), REEL_F64, order, 1);
        operand w = make(REEL_SHAPE(8, 4 / groups, 3, 2), REEL_F64, order, 2);
        operand gy = make(REEL_SHAPE(2, 8, p, q), REEL_F64, order, 3);
        operand y = make_like(&gy, 4), gx = make_like(&x, 5), gw = make_like(&w, 6);
        run(reel__ref_conv2d, (operand[]){x, w}, 2, &y, 1, &a);
        run(reel__ref_conv2d_input, (operand[]){gy, w}, 2, &gx, 1, &a);
        run(reel__ref_conv2d_weight, (operand[]){gy, x}, 2, &gw, 1, &a);
        check_near(inner(&x, &gx), inner(&y, &gy), 1e-10, "by the input");
        check_near(inner(&w, &gw), inner(&y, &gy), 1e-10, "by the weight");
        drop_all((operand[]){x, w, gy, y, gx, gw}, 6);
    }
}

/* ---- pooling ----------------------------------------------------------------------- */

/* One row [1, 1, 1, n] pooled along w into `outs`. */
static reel__pool2d_attrs along_w(int64_t kernel, int64_t stride, int64_t pad)
{
    return (reel__pool2d_attrs){.kernel = {1, kernel},
                                .stride = {1, stride},
                                .padding = {0, pad},
                                .dilation = {1, 1}};
}

static void max_pool_by_hand(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        operand x = make_values(REEL_SHAPE(1, 1, 1, 7), BOTH[t],
                                (double[]){-3, -1, -2, 5, 5, NAN, 2});
        operand y[] = {make(REEL_SHAPE(1, 1, 1, 4), BOTH[t], NULL, 1),
                       make(REEL_SHAPE(1, 1, 1, 4), REEL_I64, NULL, 1)};
        reel__pool2d_attrs a = along_w(2, 2, 0);
        a.ceil_mode = 1; /* the last window has one element */
        run(reel__ref_max_pool2d, &x, 1, y, 2, &a);
        check_values(&y[0], (double[]){-1, 5, NAN, 2}, 0, "kernel 2");
        assert_memory_equal(y[1].data, ((int64_t[]){1, 3, 5, 6}), 4 * sizeof(int64_t));
        a = along_w(3, 2, 1); /* padding never wins, not even over negative numbers */
        run(reel__ref_max_pool2d, &x, 1, y, 2, &a);
        check_values(&y[0], (double[]){-1, 5, NAN, NAN}, 0, "kernel 3, padding 1");
        assert_memory_equal(y[1].data, ((int64_t[]){1, 3, 5, 5}), 4 * sizeof(int64_t));
        operand gy = make_values(REEL_SHAPE(1, 1, 1, 4), BOTH[t], (double[]){1, 2, 4, 8});
        operand gx = make_like(&x, 1);
        run(reel__ref_max_pool2d_backward, (operand[]){gy, y[1]}, 2, &gx, 1, &a);
        check_values(&gx, (double[]){0, 1, 0, 2, 0, 12, 0}, 0, "backward");
        drop_all((operand[]){x, y[0], y[1], gy, gx}, 5);
    }
}

static void average_pool_by_hand(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        operand x = make_values(REEL_SHAPE(1, 1, 1, 6), BOTH[t],
                                (double[]){6, 12, 18, 24, 30, 36});
        operand y = make(REEL_SHAPE(1, 1, 1, 4), BOTH[t], NULL, 1);
        reel__pool2d_attrs a = along_w(3, 2, 1);
        a.ceil_mode =
            1; /* windows begin at -1, 1, 3, 5; the last reaches beyond the padding */
        a.count_include_pad = 1;
        run(reel__ref_avg_pool2d, &x, 1, &y, 1, &a);
        check_values(&y, (double[]){6, 18, 30, 18}, 1e-7, "padding counts");
        a.count_include_pad = 0;
        run(reel__ref_avg_pool2d, &x, 1, &y, 1, &a);
        check_values(&y, (double[]){9, 18, 30, 36}, 1e-7, "padding does not count");
        drop(&y);
        y = make(REEL_SHAPE(1, 1, 1, 4), BOTH[t], NULL,
                 1); /* windows 0-1, 1-2, 3-4, 4-5 */
        run(reel__ref_adaptive_avg_pool2d, &x, 1, &y, 1, &a);
        check_values(&y, (double[]){9, 15, 27, 33}, 1e-7, "adaptive");
        drop_all((operand[]){x, y}, 2);
    }
}

static void average_gradients_are_adjoint(void **state)
{
    (void)state;
    for (int include = 0; include < 2; include++) {
        const reel__pool2d_attrs a = {.kernel = {3, 2},
                                      .stride = {2, 1},
                                      .padding = {1, 1},
                                      .ceil_mode = 1,
                                      .count_include_pad = include};
        operand x = make(REEL_SHAPE(2, 3, 6, 5), REEL_F64, NHWC, 1),
                gx = make_like(&x, 2);
        operand gy = random64(REEL_SHAPE(2, 3, 4, 6), 3), y = make_like(&gy, 4);
        run(reel__ref_avg_pool2d, &x, 1, &y, 1, &a);
        run(reel__ref_avg_pool2d_backward, &gy, 1, &gx, 1, &a);
        check_near(inner(&x, &gx), inner(&y, &gy), 1e-12, "average");
        run(reel__ref_adaptive_avg_pool2d, &x, 1, &y, 1, &a);
        run(reel__ref_adaptive_avg_pool2d_backward, &gy, 1, &gx, 1, &a);
        check_near(inner(&x, &gx), inner(&y, &gy), 1e-12, "adaptive");
        drop_all((operand[]){x, gx, gy, y}, 4);
    }
}

/* ---- normalization ----------------------------------------------------------------- */

static void batch_norm_by_hand(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        const reel__batch_norm_attrs a = {
            .eps = 3, .momentum = 0.25, .training = 1, .relu = 1};
        operand in[] = {
            make_values(REEL_SHAPE(2, 1, 2), BOTH[t], (double[]){1, 3, 1, 3}),
            make_values(REEL_SHAPE(1), BOTH[t], (double[]){4}),
            make_values(REEL_SHAPE(1), BOTH[t], (double[]){1}),
            make_values(REEL_SHAPE(1), BOTH[t], (double[]){10}),
            make_values(REEL_SHAPE(1), BOTH[t], (double[]){1}),
            make_values(REEL_SHAPE(2, 1, 2), BOTH[t], (double[]){0, 1, 1.5, 2})};
        operand out[] = {make_like(&in[0], 1), make_like(&in[1], 1),
                         make_like(&in[1], 1)};
        run(reel__ref_batch_norm, in, 6, out, 3, &a);
        check_values(&out[0], (double[]){0, 4, 0.5, 5}, 1e-6,
                     "y"); /* mean 2, deviation 1 */
        check_values(&out[1], (double[]){2}, 0, "save_mean");
        check_values(&out[2], (double[]){0.5}, 1e-7, "save_invstd");
        check_values(&in[3], (double[]){8}, 1e-6, "running mean");
        check_values(&in[4], (double[]){0.75 + 0.25 * 4 / 3}, 1e-6,
                     "running variance, unbiased");
        drop_all(in, 6);
        drop_all(out, 3);
    }
}

/* Away from the kink of relu, so that differences see a smooth function. */
static void batch_norm_gradients(void **state)
{
    (void)state;
    for (int bits = 0; bits < 4; bits++) {
        const reel__batch_norm_attrs a = {
            .eps = 1e-2, .training = bits & 1, .relu = bits >> 1};
        operand in[] = {random64(REEL_SHAPE(3, 2, 3), 1),
                        random64(REEL_SHAPE(2), 2),
                        random64(REEL_SHAPE(2), 3),
                        bits & 1 ? ABSENT : random64(REEL_SHAPE(2), 4),
                        bits & 1 ? ABSENT
                                 : make_values(REEL_SHAPE(2), REEL_F64, (double[]){1, 2}),
                        random64(REEL_SHAPE(3, 2, 3), 5)};
        operand out[] = {make_like(&in[0], 6), make_like(&in[1], 7),
                         make_like(&in[1], 8)};
        operand gy = make_like(&in[0], 9);
        operand g[] = {make_like(&in[0], 1), make_like(&in[1], 1), make_like(&in[1], 1),
                       make_like(&in[0], 1)};
        run(reel__ref_batch_norm, in, 6, out, 3, &a);
        operand back[] = {gy, in[0], in[1], out[1], out[2], a.relu ? out[0] : ABSENT};
        run(reel__ref_batch_norm_backward, back, 6, g, 4, &a);
        static const int wrt[] = {0, 1, 2, 5};
        for (int i = 0; i < 4; i++)
            check_gradient(reel__ref_batch_norm, in, 6, out, 3, &a, &gy, wrt[i], &g[i],
                           "batch norm");
        drop_all(in, 6);
        drop_all(out, 3);
        drop_all(g, 4);
        drop(&gy);
    }
}

static void layer_norm_by_hand_and_gradients(void **state)
{
    (void)state;
    for (int dims = 1; dims <= 2; dims++) {
        const reel__layer_norm_attrs a = {.dims = dims, .eps = 1e-3};
        const reel_shape row = dims == 1 ? REEL_SHAPE(4) : REEL_SHAPE(3, 4);
        const reel_shape lead = dims == 1 ? REEL_SHAPE(2, 3) : REEL_SHAPE(2);
        operand in[] = {random64(REEL_SHAPE(2, 3, 4), 1), random64(row, 2),
                        random64(row, 3)};
        operand out[] = {make_like(&in[0], 1), random64(lead, 1), random64(lead, 1)};
        operand gy = make_like(&in[0], 9);
        operand g[] = {make_like(&in[0], 1), make_like(&in[1], 1), make_like(&in[1], 1)};
        run(reel__ref_layer_norm, in, 3, out, 3, &a);
        operand back[] = {gy, in[0], in[1], out[1], out[2]};
        run(reel__ref_layer_norm_backward, back, 5, g, 3, &a);
        for (int i = 0; i < 3; i++)
            check_gradient(reel__ref_layer_norm, in, 3, out, 3, &a, &gy, i, &g[i],
                           "layer norm");
        drop_all(in, 3);
        drop_all(out, 3);
        drop_all(g, 3);
        drop(&gy);
    }
    const reel__layer_norm_attrs a = {.dims = 1, .eps = 3};
    operand x = make_values(REEL_SHAPE(1, 2), REEL_F32, (double[]){1, 3});
    operand y = make_like(&x, 1);
    run(reel__ref_layer_norm, &x, 1, &y, 1, &a);
    check_values(&y, (double[]){-0.5, 0.5}, 1e-7, "layer norm");
    drop_all((operand[]){x, y}, 2);
}

/* ---- softmax ----------------------------------------------------------------------- */

static void softmax_by_hand(void **state)
{
    (void)state;
    const reel__dim_attrs a = {.dim = 1};
    for (int t = 0; t < 2; t++) {
        operand x = make_values(REEL_SHAPE(2, 2), BOTH[t],
                                (double[]){1000, 1000 + log(3), -INFINITY, 0});
        operand y = make_like(&x, 1), lse = make(REEL_SHAPE(2, 1), BOTH[t], NULL, 1);
        run(reel__ref_softmax, &x, 1, &y, 1, &a);
        check_values(&y, (double[]){0.25, 0.75, 0, 1}, 1e-4, "softmax");
        run(reel__ref_log_softmax, &x, 1, &y, 1, &a);
        check_values(&y, (double[]){log(0.25), log(0.75), -INFINITY, 0}, 1e-4,
                     "log_softmax");
        run(reel__ref_logsumexp, &x, 1, &lse, 1, &a);
        check_values(&lse, (double[]){1000 + log(4), 0}, 1e-6, "logsumexp");
        drop_all((operand[]){x, y, lse}, 3);
    }
}

static void softmax_gradients(void **state)
{
    (void)state;
    for (int dim = 0; dim < 3; dim++) {
        const reel__dim_attrs a = {.dim = dim};
        operand x = random64(REEL_SHAPE(2, 3, 4), 1), y = make_like(&x, 2);
        operand gy = make_like(&x, 3), gx = make_like(&x, 4);
        run(reel__ref_softmax, &x, 1, &y, 1, &a);
        run(reel__ref_softmax_backward, (operand[]){gy, y}, 2, &gx, 1, &a);
        check_gradient(reel__ref_softmax, &x, 1, &y, 1, &a, &gy, 0, &gx, "softmax");
        run(reel__ref_log_softmax, &x, 1, &y, 1, &a);
        run(reel__ref_log_softmax_backward, (operand[]){gy, y}, 2, &gx, 1, &a);
        check_gradient(reel__ref_log_softmax, &x, 1, &y, 1, &a, &gy, 0, &gx,
                       "log_softmax");
        drop_all((operand[]){x, y, gy, gx}, 4);
    }
}

/* Logits whose probabilities are 1/2 1/2, 1/4 3/4 and, ignored, whatever. */
static void cross_entropy_by_hand(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        operand in[] = {
            make_values(REEL_SHAPE(3, 2), BOTH[t], (double[]){5, 5, 0, log(3), 9, 1}),
            make_values(REEL_SHAPE(3), REEL_I64, (double[]){0, 1, -100}),
            make_values(REEL_SHAPE(2), BOTH[t], (double[]){1, 3})};
        operand out[] = {make(REEL_SCALAR, BOTH[t], NULL, 1), make_like(&in[0], 1)};
        reel__cross_entropy_attrs a = {.ignore_index = -100, .want_grad = 1};
        const double first = log(2), second = log(4. / 3);
        run(reel__ref_cross_entropy, in, 2, out, 2, &a);
        check_values(&out[0], (double[]){(first + second) / 2}, 1e-6, "mean");
        check_values(&out[1], (double[]){-0.25, 0.25, 0.125, -0.125, 0, 0}, 1e-6,
                     "dlogits");
        run(reel__ref_cross_entropy, in, 3, out, 2, &a); /* divides by 1 + 3 */
        check_values(&out[0], (double[]){(first + 3 * second) / 4}, 1e-6,
                     "weighted mean");
        a.reduction = REEL_SUM;
        a.smoothing = 0.5; /* half of the target, a quarter of each class */
        run(reel__ref_cross_entropy, in, 2, out, 2, &a);
        check_values(&out[0], (double[]){first + 0.75 * second + 0.25 * log(4)}, 1e-6,
                     "smoothed sum");
        a = (reel__cross_entropy_attrs){.ignore_index = -100, .reduction = REEL_NONE};
        operand rows = make(REEL_SHAPE(3), BOTH[t], NULL, 1);
        run(reel__ref_cross_entropy, in, 2, &rows, 1, &a);
        check_values(&rows, (double[]){first, second, 0}, 1e-6, "rows");
        drop_all(in, 3);
        drop_all(out, 2);
        drop(&rows);
    }
}

static void cross_entropy_gradients(void **state)
{
    (void)state;
    for (int bits = 0; bits < 8; bits++) {
        const reel__cross_entropy_attrs a = {.smoothing = bits & 1 ? 0.3 : 0,
                                             .ignore_index = 2,
                                             .reduction = bits >> 1 & 1,
                                             .want_grad = 1};
        operand in[] = {random64(REEL_SHAPE(4, 5), 1),
                        make_values(REEL_SHAPE(4), REEL_I64, (double[]){0, 4, 2, 1}),
                        bits >> 2 ? make_values(REEL_SHAPE(5), REEL_F64,
                                                (double[]){1, 2, 3, 0.5, 0.25})
                                  : ABSENT};
        operand out[] = {make(REEL_SCALAR, REEL_F64, NULL, 1), make_like(&in[0], 1)};
        operand one = make_values(REEL_SCALAR, REEL_F64, (double[]){1});
        operand grad = make_like(&in[0], 1);
        run(reel__ref_cross_entropy, in, 3, (operand[]){out[0], grad}, 2, &a);
        check_gradient(reel__ref_cross_entropy, in, 3, out, 2, &a, &one, 0, &grad,
                       "cross entropy");
        drop_all(in, 3);
        drop_all(out, 2);
        drop_all((operand[]){one, grad}, 2);
    }
}

static void cross_entropy_names_a_bad_target(void **state)
{
    (void)state;
    operand in[] = {random64(REEL_SHAPE(3, 4), 1),
                    make_values(REEL_SHAPE(3), REEL_I64, (double[]){0, 3, 17})};
    operand loss = make(REEL_SCALAR, REEL_F64, NULL, 1);
    const reel__cross_entropy_attrs a = {.ignore_index = -100};
    assert_int_equal(call_ref(reel__ref_cross_entropy, in, 2, &loss, 1, &a),
                     REEL_ERR_ARG);
    assert_non_null(strstr(reel_error_message(), "row 2 is 17"));
    assert_non_null(strstr(reel_error_message(), "4 classes"));
    drop_all(in, 2);
    drop(&loss);
}

/* ---- attention --------------------------------------------------------------------- */

enum { PLAIN, CAUSAL, BOOL_MASK, FLOAT_MASK, KEYS_MASK, KEY_MASK, DROPOUT, N_KINDS };

static void attention_gradients(void **state)
{
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        const reel__attention_attrs a = {.scale = 0.7,
                                         .causal = kind == CAUSAL,
                                         .dropout = kind == DROPOUT ? 0.4 : 0,
                                         .seed = 5,
                                         .offset = 3};
        operand mask = ABSENT;
        if (kind == BOOL_MASK) /* query 1 sees nothing */
            mask = make_values(REEL_SHAPE(1, 3, 4), REEL_BOOL,
                               (double[]){1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1});
        if (kind == FLOAT_MASK) mask = random64(REEL_SHAPE(3, 4), 9);
        if (kind == KEYS_MASK) mask = random64(REEL_SHAPE(2, 1, 4), 9);
        if (kind == KEY_MASK) mask = random64(REEL_SHAPE(4), 9);
        if (kind == BOOL_MASK) { /* one for both batches */
            mask.meta.dim[0] = 2;
            mask.meta.stride[0] = 0;
        }
        operand in[] = {random64(REEL_SHAPE(2, 3, 5), 1),
                        random64(REEL_SHAPE(2, 4, 5), 2),
                        random64(REEL_SHAPE(2, 4, 2), 3), mask};
        operand out[] = {random64(REEL_SHAPE(2, 3, 2), 4),
                         random64(REEL_SHAPE(2, 3, 2), 5)};
        operand gy = make_like(&out[0], 6);
        operand g[] = {make_like(&in[0], 1), make_like(&in[1], 1), make_like(&in[2], 1),
                       ABSENT};
        if (kind >= FLOAT_MASK && kind < DROPOUT)
            g[3] = random64(reel__shape(&mask.meta), 1);
        run(reel__ref_attention, in, 4, out, 2, &a);
        operand back[] = {gy, in[0], in[1], in[2], mask, out[0], out[1]};
        run(reel__ref_attention_backward, back, 7, g, 4, &a);
        for (int i = 0; i < 4 && g[i].data; i++)
            check_gradient(reel__ref_attention, in, 4, out, 2, &a, &gy, i, &g[i],
                           "attention");
        if (kind == BOOL_MASK)
            for (int64_t l = 0; l < 2; l++) {
                assert_true(at(&out[0], (int64_t[]){0, 1, l}) == 0);
                assert_true(at(&g[0], (int64_t[]){1, 1, l}) == 0);
            }
        drop_all(in, 4);
        drop_all(out, 2);
        drop_all(g, 4);
        drop(&gy);
    }
}

/* With v the identity, y is the matrix of probabilities: softmax of the scores, dropped
 * as DROPOUT drops. */
static void attention_probabilities(void **state)
{
    (void)state;
    enum { N = 6 };
    const reel__attention_attrs a = {.scale = 1, .dropout = 0.5, .seed = 8, .offset = 2};
    const reel__random_attrs drawn = {
        .low = {.is_real = 1, .real = 0.5}, .seed = 8, .offset = 2};
    operand q = random64(REEL_SHAPE(1, 4, 3), 1), k = random64(REEL_SHAPE(1, N, 3), 2);
    operand v = random64(REEL_SHAPE(1, N, N), 3), y = random64(REEL_SHAPE(1, 4, N), 4);
    operand stats = random64(REEL_SHAPE(1, 4, 2), 5), ones = make_like(&y, 6),
            kept = make_like(&y, 7);
    for (int64_t i = 0; i < N * N; i++) ((double *)v.data)[i] = i % (N + 1) == 0;
    for (int64_t i = 0; i < 4 * N; i++) ((double *)ones.data)[i] = 1;
    run(reel__ref_attention, (operand[]){q, k, v}, 3, (operand[]){y, stats}, 2, &a);
    const reel__karg from = {ones.data, &ones.meta}, to = {kept.data, &kept.meta};
    const reel__kcall dropout = {.kernel = K_DROPOUT,
                                 .n_in = 1,
                                 .n_out = 1,
                                 .in = &from,
                                 .out = &to,
                                 .attrs = &drawn};
    assert_int_equal(reel__ref_dropout(&dropout), REEL_OK);
    for (int64_t i = 0; i < 4; i++)
        for (int64_t j = 0; j < N; j++) {
            double score = 0;
            for (int64_t l = 0; l < 3; l++)
                score += at(&q, (int64_t[]){0, i, l}) * at(&k, (int64_t[]){0, j, l});
            const int64_t ij[] = {0, i, j};
            const double max = at(&stats, (int64_t[]){0, i, 0}),
                         sum = at(&stats, (int64_t[]){0, i, 1});
            check_near(at(&y, ij), exp(score - max) / sum * at(&kept, ij), 1e-12,
                       "probability");
        }
    drop_all((operand[]){q, k, v, y, stats, ones, kept}, 7);
}

/* ---- dtypes, threads --------------------------------------------------------------- */

static void refuses_integers(void **state)
{
    (void)state;
    operand x = make(REEL_SHAPE(2, 2), REEL_I64, NULL, 1);
    assert_int_equal(call_ref(reel__ref_matmul, (operand[]){x, x}, 2, &x, 1, NULL),
                     REEL_ERR_UNSUPPORTED);
    assert_non_null(strstr(reel_error_message(), "i64"));
    drop(&x);
}

static void same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    const reel__conv2d_attrs a = {
        .stride = {1, 1}, .padding = {1, 1}, .dilation = {1, 1}, .groups = 1};
    operand x = make(REEL_SHAPE(2, 8, 16, 16), REEL_F32, NHWC, 1);
    operand w = make(REEL_SHAPE(8, 8, 3, 3), REEL_F32, NULL, 2);
    operand one = make_like(&x, 3), three = make_like(&x, 4);
    reel_set_threads(1);
    run(reel__ref_conv2d, (operand[]){x, w}, 2, &one, 1, &a);
    reel_set_threads(3);
    run(reel__ref_conv2d, (operand[]){x, w}, 2, &three, 1, &a);
    assert_memory_equal(one.data, three.data, one.bytes);
    reel_set_threads(1);
    drop_all((operand[]){x, w, one, three}, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_by_hand),
        cmocka_unit_test(matmul_batches_and_strides),
        cmocka_unit_test(conv_by_hand),
        cmocka_unit_test(conv_gradients_are_adjoint),
        cmocka_unit_test(max_pool_by_hand),
        cmocka_unit_test(average_pool_by_hand),
        cmocka_unit_test(average_gradients_are_adjoint),
        cmocka_unit_test(batch_norm_by_hand),
        cmocka_unit_test(batch_norm_gradients),
        cmocka_unit_test(layer_norm_by_hand_and_gradients),
        cmocka_unit_test(softmax_by_hand),
        cmocka_unit_test(softmax_gradients),
        cmocka_unit_test(cross_entropy_by_hand),
        cmocka_unit_test(cross_entropy_gradients),
        cmocka_unit_test_setup(cross_entropy_names_a_bad_target, clear),
        cmocka_unit_test(attention_gradients),
        cmocka_unit_test(attention_probabilities),
        cmocka_unit_test_setup(refuses_integers, clear),
        cmocka_unit_test(same_bits_on_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, one_thread, NULL);
}
