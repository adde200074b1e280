/* test_onnx_fusion.c: small graphs with quantize and dequantize, as files, of which
 * tests/onnx/fusion.py says what ONNX Runtime makes; and float nets for its quantizer.
 *
 *     test_onnx_fusion                the graphs are exported and read back
 *     test_onnx_fusion --write DIR    and stay, DIR/NAME.OPSET.onnx and DIR/NET.onnx */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/onnx.h>
#include <reel/reel.h>

#include "graph_check.h"
#include "temp_folder.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- a graph ------------------------------------------------------------------------------ */

/* What a case says; the functions below read it. */
typedef struct graph_case {
    const char *name;
    reel_function of;
    int opset; /* 0: 17 */
    reel_dtype dtype;
    int zero; /* of activations */
    enum { BIAS_I32, BIAS_OTHER, BIAS_F32, NO_BIAS } bias;
    reel_tensor *(*act)(reel_tensor *); /* NULL: none */
    int groups;
    double step;    /* of activations; 0: 0.05 */
    bool no_result; /* the last operator's result is not quantized */
    bool f32_weight;
} graph_case;

static const graph_case *now;
static uint32_t seed; /* of constants, the same at each call */

/* A constant of a graph, which a draw is not: each number at random, or `low`. */
static reel_tensor *constant(reel_shape s, double low, double high, reel_dtype dtype)
{
    static float real[4096];
    static int32_t whole[4096];
    static int8_t small[4096];
    size_t n = 1;
    for (int d = 0; d < s.rank; d++) n *= (size_t)s.dim[d];
    assert_true(n <= 4096);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        double value = low + (high - low) * (seed >> 8) / (1 << 24);
        real[i] = (float)value;
        whole[i] = (int32_t)value;
        small[i] = (int8_t)(dtype == REEL_U8 ? (int)(uint8_t)value : (int)value);
    }
    const void *data = dtype == REEL_F32   ? (const void *)real
                       : dtype == REEL_I32 ? (const void *)whole
                                           : (const void *)small;
    return reel_from(data, s, dtype);
}

static reel_tensor *scalar(double value, reel_dtype dtype)
{
    return constant(REEL_SCALAR, value, value, dtype);
}

static float step(void)
{
    return now->step != 0 ? (float)now->step : 0.05f;
}

/* x in steps from a zero point on, and numbers again. */
static reel_tensor *steps_from(reel_tensor *x, int zero_point)
{
    reel_tensor *scale = scalar(step(), REEL_F32), *zero = scalar(zero_point, now->dtype);
    return reel_dequantize(reel_quantize(x, scale, zero), scale, zero);
}

static reel_tensor *steps(reel_tensor *x)
{
    return steps_from(x, now->zero);
}

static reel_tensor *result(reel_tensor *x)
{
    return now->no_result ? x : steps(x);
}

static reel_tensor *activated(reel_tensor *x)
{
    return now->act ? now->act(x) : x;
}

static reel_tensor *clip6(reel_tensor *x)
{
    return reel_clamp(x, 0, 6);
}

/* [n, 1, ...], those of a weight times `by`. */
static reel_tensor *scales(int64_t n, int rank, float by)
{
    static float value[64];
    reel_shape each = {.rank = rank};
    assert_true(n <= 64);
    for (int d = 0; d < rank; d++) each.dim[d] = d ? 1 : n;
    for (int64_t i = 0; i < n; i++) value[i] = by * (0.005f + 0.001f * (float)(i % 7));
    return reel_from(value, each, REEL_F32);
}

/* s8 [k, ...], a scale for each k. */
static reel_tensor *weight(reel_shape s)
{
    if (now->f32_weight) return constant(s, -1, 1, REEL_F32);
    reel_tensor *q = constant(s, -127, 127, REEL_I8);
    return reel_dequantize(q, scales(s.dim[0], s.rank, 1), scalar(0, REEL_I8));
}

/* Of i32 in steps of x's times the weight's, or of others. */
static reel_tensor *bias(int64_t n)
{
    if (now->bias == NO_BIAS) return NULL;
    const reel_shape s = REEL_SHAPE(n);
    if (now->bias == BIAS_F32) return constant(s, -1, 1, REEL_F32);
    return reel_dequantize(constant(s, -1000, 1000, REEL_I32),
                           scales(n, 1, now->bias == BIAS_OTHER ? 0.04f : step()), NULL);
}

static reel_tensor *convolved(reel_tensor *x, int64_t to)
{
    int groups = now->groups ? now->groups : 1;
    int64_t from = reel_shape_of(x).dim[1];
    return reel_conv2d(x, weight(REEL_SHAPE(to, from / groups, 3, 3)), bias(to),
                       &(reel_conv2d_opts){.padding = 1, .groups = groups});
}

/* ---- graphs ------------------------------------------------------------------------------- */

static reel_tensor *conv(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return result(activated(convolved(steps(x[0]), 8)));
}

static reel_tensor *conv_norm(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    const reel_shape c = REEL_SHAPE(8);
    reel_tensor *y = convolved(steps(x[0]), 8);
    y = reel_batch_norm(y, constant(c, 0.5, 1, REEL_F32), constant(c, -1, 1, REEL_F32),
                        constant(c, -1, 1, REEL_F32), constant(c, 0.5, 1, REEL_F32), NULL,
                        NULL);
    return steps(reel_relu(y));
}

static reel_tensor *residual(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *in = steps(x[0]), *branch = convolved(in, 8);
    return steps_from(reel_relu(reel_add(result(branch), in)), 0);
}

static reel_tensor *mean(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return steps(reel_adaptive_avg_pool2d(steps(x[0]), 1, 1));
}

static reel_tensor *linear(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *rows = reel_flatten(steps(x[0]), 1, -1);
    return result(reel_linear(steps(rows), weight(REEL_SHAPE(4, 512)), bias(4)));
}

static reel_tensor *product(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *by = constant(REEL_SHAPE(8, 5), -127, 127, REEL_I8);
    by = reel_dequantize(by, scalar(0.01, REEL_F32), scalar(0, REEL_I8));
    return result(reel_matmul(steps(x[0]), by));
}

static reel_tensor *average(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return steps(reel_avg_pool2d(steps(x[0]), 2, NULL));
}

static reel_tensor *maximum(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return steps(reel_max_pool2d(steps(x[0]), 2, NULL));
}

static reel_tensor *joined(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *const both[] = {steps(x[0]), steps(reel_relu(x[0]))};
    return steps(reel_cat(both, 2, 1));
}

static reel_tensor *multiplied(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return steps(reel_mul(steps(x[0]), steps(reel_relu(x[0]))));
}

static reel_tensor *one(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return steps(activated(steps(x[0])));
}

static reel_tensor *softmax(reel_tensor *x)
{
    return reel_softmax(x, -1);
}

static reel_tensor *leaky(reel_tensor *x)
{
    return reel_leaky_relu(x, 0.1);
}

/* clang-format off */
static const graph_case cases[] = {
    {"conv_relu", conv, 13, REEL_U8, .act = reel_relu},
    {"conv_relu", conv, 17, REEL_U8, .act = reel_relu},
    {"conv_relu", conv, 25, REEL_U8, .act = reel_relu},
    {"conv_clip6", conv, 17, REEL_U8, .act = clip6, .step = 6. / 255},
    {"conv_relu6", conv, 17, REEL_U8, .act = reel_relu6, .step = 6. / 255},
    {"conv_clip6_beyond", conv, 17, REEL_U8, .act = clip6},
    {"conv_other_bias", conv, 17, REEL_U8, .bias = BIAS_OTHER, .act = reel_relu},
    {"conv_f32_bias", conv, 17, REEL_U8, .bias = BIAS_F32, .act = reel_relu},
    {"conv_f32_weight", conv, 17, REEL_U8, .bias = BIAS_F32, .f32_weight = true},
    {"conv_no_bias", conv, 17, REEL_U8, .bias = NO_BIAS, .act = reel_relu},
    {"conv_depthwise", conv, 17, REEL_U8, .act = reel_relu, .groups = 8},
    {"conv_s8_relu", conv, 17, REEL_I8, .act = reel_relu},
    {"conv_s8_low_relu", conv, 17, REEL_I8, .zero = -128, .act = reel_relu},
    {"conv_u8_middle_relu", conv, 17, REEL_U8, .zero = 128, .act = reel_relu},
    {"conv_u8_middle", conv, 17, REEL_U8, .zero = 128},
    {"conv_s8", conv, 17, REEL_I8, .zero = 0},
    {"conv_hardswish", conv, 17, REEL_U8, .zero = 128, .act = reel_hardswish},
    {"conv_leaky", conv, 17, REEL_U8, .zero = 128, .act = leaky},
    {"conv_batch_norm", conv_norm, 17, REEL_U8, .zero = 0},
    {"conv_float_result", conv, 17, REEL_U8, .no_result = true},
    {"residual", residual, 17, REEL_U8, .zero = 128},
    {"residual_float_branch", residual, 17, REEL_U8, .zero = 128, .no_result = true},
    {"global_average_pool", mean, 17, REEL_U8, .zero = 0},
    {"linear", linear, 17, REEL_U8, .zero = 0},
    {"linear_no_bias", linear, 17, REEL_U8, .bias = NO_BIAS},
    {"linear_float_result", linear, 17, REEL_U8, .no_result = true},
    {"matmul", product, 17, REEL_U8, .zero = 0},
    {"matmul_float_result", product, 17, REEL_U8, .no_result = true},
    {"average_pool", average, 17, REEL_U8, .zero = 0},
    {"max_pool", maximum, 17, REEL_U8, .zero = 0},
    {"concat", joined, 17, REEL_U8, .zero = 0},
    {"mul", multiplied, 17, REEL_U8, .zero = 0},
    {"sigmoid", one, 17, REEL_U8, .zero = 128, .act = reel_sigmoid},
    {"softmax", one, 17, REEL_U8, .zero = 128, .act = softmax},
    {"leaky_relu", one, 17, REEL_U8, .zero = 128, .act = leaky},
    {"hardswish", one, 17, REEL_U8, .zero = 128, .act = reel_hardswish},
    {"tanh", one, 17, REEL_U8, .zero = 128, .act = reel_tanh},
};
/* clang-format on */

static reel_tensor *graph(void *user, reel_tensor *const x[], int n)
{
    seed = 1;
    return now->of(user, x, n);
}

static void write_graph(const graph_case *c, const char *folder)
{
    char path[512];
    now = c;
    reel_scope s = reel_scope_begin();
    const reel_shape rows = REEL_SHAPE(2, 8), planes = REEL_SHAPE(2, 8, 8, 8);
    reel_tensor *x = reel_randn(c->of == product ? rows : planes, REEL_F32);
    reel_graph *g =
        reel_trace_function(graph, NULL, &x, 1,
                            &(reel_trace_opts){.input_names = (const char *[]){"x"},
                                               .output_names = (const char *[]){"y"}});
    snprintf(path, sizeof path, "%s/%s.%d.onnx", folder, c->name, c->opset);
    reel_onnx_export(g, path, &(reel_onnx_opts){.opset = c->opset});
    no_error();
    reel_graph_free(g);
    g = reel_onnx_load(path, NULL); /* and say the same, which the export compared */
    no_error();
    assert_int_equal(reel_graph_batch(g), 1);
    reel_graph_free(g);
    reel_scope_end(s);
}

/* ---- float nets ------------------------------------------------------------------------------ */

static reel_module *encoder(void)
{
    const reel_nn_encoder_layer_opts o = {.hidden = 64};
    reel_module *const layers[] = {reel_nn_encoder_layer(32, 4, &o),
                                   reel_nn_encoder_layer(32, 4, &o),
                                   reel_nn_linear(32, 10, NULL)};
    return reel_nn_sequential_n(layers, 3);
}

/* Statistics of batch norms are those of what is drawn. */
static void write_net(reel_module *net, const char *name, reel_shape shape,
                      const char *folder)
{
    char path[512];
    for (int i = 0; i < 8; i++) {
        reel_scope s = reel_scope_begin();
        (void)reel_forward(net, reel_randn(shape, REEL_F32));
        reel_scope_end(s);
    }
    reel_train(net, false);
    reel_graph *g = reel_trace(net, reel_randn(shape, REEL_F32), NULL);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    reel_onnx_export(g, path, &(reel_onnx_opts){.unchecked = true});
    no_error();
    reel_graph_free(g);
    reel_module_free(net);
}

static void write_all(const char *folder)
{
    reel_seed(3);
    for (size_t i = 0; i < COUNT(cases); i++) write_graph(&cases[i], folder);
    const reel_shape images = REEL_SHAPE(4, 3, 32, 32);
    write_net(reel_resnet20(NULL), "resnet20", images, folder);
    write_net(reel_mobilenet_v2(&(reel_mobilenet_opts){
                  .classes = 10, .width = 0.25, .cifar_stem = true}),
              "mobilenet_v2", images, folder);
    write_net(encoder(), "encoder", REEL_SHAPE(4, 6, 32), folder);
}

static void test_graphs_are_exported(void **state)
{
    (void)state;
    write_all(temp_root);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), 0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        write_all(argv[2]);
        reel_scope_end(0);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs_are_exported)};
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
