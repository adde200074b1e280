/* The pass lower_int8: which layers between dequantize and quantize become integer ones, and that
 * these give what they stood for. Steps are such that results are exact (random_graphs draws
 * more of them); here each form is written down that files and programs have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/reel.h>

typedef struct form form;
struct form {
    const char *name;
    reel_tensor *(*run)(const form *f, reel_tensor *x);
    int layers, quantizes; /* integer layers, and quantizes that are left */
    reel_dtype x_dtype;
    bool by_channel, no_bias;
};

/* ---- parts -------------------------------------------------------------------------------- */

static reel_tensor *step(double s)
{
    return reel_scalar(s, REEL_F32);
}

static reel_tensor *zero(reel_dtype dtype)
{
    return reel_cast(reel_scalar(dtype == REEL_U8 ? 128 : 0, REEL_F32), dtype);
}

static reel_tensor *back(reel_tensor *q, double s)
{
    return reel_dequantize(q, step(s), zero(reel_dtype_of(q)));
}

static reel_tensor *grid(reel_tensor *x, double s, reel_dtype dtype)
{
    return reel_quantize(x, step(s), zero(dtype));
}

static reel_tensor *through(const form *f, reel_tensor *x, double s)
{
    return back(grid(x, s, f->x_dtype), s);
}

/* Numbers -7 .. 7 in steps of 1/64, as a file has them. */
static reel_tensor *weight(const form *f, reel_shape shape)
{
    int8_t data[2048];
    int64_t n = 1;
    for (int d = 0; d < shape.rank; d++) n *= shape.dim[d];
    for (int64_t i = 0; i < n; i++) data[i] = (int8_t)(i * 37 % 15 - 7);
    reel_tensor *scale = step(1. / 64);
    if (f->by_channel) {
        reel_shape each = {.rank = shape.rank, .dim = {shape.dim[0], 1, 1, 1}};
        scale = reel_copy(reel_expand(scale, each));
    }
    return reel_dequantize(reel_from(data, shape, REEL_I8), scale, zero(REEL_I8));
}

static reel_tensor *bias(const form *f, int64_t n)
{
    int32_t data[16];
    for (int64_t i = 0; i < n; i++) data[i] = (int32_t)(i * 97 % 400 - 200);
    return f->no_bias ? NULL
                      : reel_dequantize(reel_from(data, REEL_SHAPE(n), REEL_I32),
                                        step(1. / 1024), NULL);
}

#define X (1. / 16)
#define Y (37. / 1024)

static reel_tensor *layer(const form *f, reel_tensor *x)
{
    const reel_conv2d_opts o = {.padding = 1};
    return reel_conv2d(through(f, x, X), weight(f, REEL_SHAPE(6, 3, 3, 3)), bias(f, 6),
                       &o);
}

/* ---- forms -------------------------------------------------------------------------------- */

static reel_tensor *plain(const form *f, reel_tensor *x)
{
    return through(f, layer(f, x), Y);
}

static reel_tensor *with_relu(const form *f, reel_tensor *x)
{
    return through(f, reel_relu(layer(f, x)), Y);
}

static reel_tensor *with_relu6(const form *f, reel_tensor *x)
{
    return through(f, reel_relu6(layer(f, x)), Y);
}

static reel_tensor *with_clamp(const form *f, reel_tensor *x)
{
    return through(f, reel_clamp(layer(f, x), -0.25, 1.5), Y);
}

static reel_tensor *to_floats(const form *f, reel_tensor *x)
{
    return layer(f, x);
}

static reel_tensor *depthwise(const form *f, reel_tensor *x)
{
    const reel_conv2d_opts o = {.groups = 3, .stride = 2};
    reel_tensor *y =
        reel_conv2d(through(f, x, X), weight(f, REEL_SHAPE(3, 1, 3, 3)), bias(f, 3), &o);
    return through(f, y, Y);
}

/* Two layers and what went around them: a sum with relu, all on grids. */
static reel_tensor *residual(const form *f, reel_tensor *x)
{
    reel_tensor *y = through(f, reel_relu(layer(f, x)), Y), *w, *z;
    w = weight(f, REEL_SHAPE(6, 6, 1, 1));
    z = reel_conv2d(y, w, NULL, NULL);
    z = through(f, z, Y * 37. / 64);
    return through(f, reel_relu(reel_add(z, y)), 0.5);
}

/* Pools and a classifier: a view between dequantize and layer. */
static reel_tensor *classifier(const form *f, reel_tensor *x)
{
    reel_tensor *y = through(f, reel_max_pool2d(through(f, x, X), 4, NULL), X);
    y = reel_flatten(y, 1, -1);
    y = reel_linear(y, weight(f, REEL_SHAPE(5, 12)), bias(f, 5));
    return through(f, y, Y);
}

/* [n, c, h, w] as rows of w: reshape, linear, reshape, with the activation after. */
static reel_tensor *rows(const form *f, reel_tensor *x)
{
    reel_tensor *y =
        reel_linear(through(f, x, X), weight(f, REEL_SHAPE(7, 8)), bias(f, 7));
    return through(f, reel_relu(y), Y);
}

/* As MatMul has it: the weight [in, out] is a view of what was dequantized. */
static reel_tensor *product(const form *f, reel_tensor *x)
{
    reel_tensor *w = reel_transpose(weight(f, REEL_SHAPE(7, 8)), 0, 1);
    return through(f, reel_matmul(through(f, x, X), w), Y);
}

/* The grid is narrower than its dtype: it says more than the record can. */
static reel_tensor *weight_only(const form *f, reel_tensor *x)
{
    return reel_conv2d(x, weight(f, REEL_SHAPE(6, 3, 3, 3)), bias(f, 6), NULL);
}

static const form forms[] = {
    {"conv", plain, 1, 1, REEL_U8, true, false},
    {"conv without bias", plain, 1, 1, REEL_U8, true, true},
    {"conv, one scale", plain, 1, 1, REEL_U8, false, false},
    {"conv, i8", plain, 1, 1, REEL_I8, true, false},
    {"relu", with_relu, 1, 1, REEL_U8, true, false},
    {"relu, i8", with_relu, 1, 1, REEL_I8, true, false},
    {"relu6", with_relu6, 1, 1, REEL_U8, true, false},
    {"clamp", with_clamp, 1, 1, REEL_I8, false, false},
    {"a float result", to_floats, 1, 1, REEL_U8, true, false},
    {"depthwise", depthwise, 1, 1, REEL_U8, true, false},
    {"residual", residual, 2, 1, REEL_U8, true, false},
    {"classifier", classifier, 1, 2, REEL_U8, true, false},
    {"rows", rows, 1, 1, REEL_U8, true, false},
    {"product", product, 1, 1, REEL_U8, true, false},
    {"product, one scale", product, 1, 1, REEL_I8, false, false},
    {"weight only", weight_only, 0, 0, REEL_U8, true, false},
};

/* ---- checking ------------------------------------------------------------------------------ */

static reel_tensor *call(void *user, reel_tensor *const x[], int n)
{
    const form *f = user;
    (void)n;
    return f->run(f, x[0]);
}

static int count(const reel_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < reel_graph_nodes(g); i++)
        n += strcmp(reel_graph_node_op(g, i), op) == 0;
    return n;
}

static int integer_layers(const reel_graph *g)
{
    return count(g, "conv2d_int8") + count(g, "linear_int8");
}

/* Fails with the graph, which is longer than a message may be. */
static void fail_form(const form *f, const reel_graph *g, const char *what, int have,
                      int want)
{
    char *text = reel_graph_to_string(g);
    fputs(text, stderr);
    free(text);
    fail_msg("%s: %d %s, not %d", f->name, have, what, want);
}

static void check_equal(const form *f, reel_graph *g, reel_tensor *x, reel_tensor *want)
{
    reel_tensor *y = NULL;
    if (reel_graph_run(g, &x, 1, &y, 1))
        fail_msg("%s: %s", f->name, reel_error_message());
    y = reel_contiguous(y);
    want = reel_contiguous(want);
    assert_int_equal(reel_numel(y), reel_numel(want));
    if (memcmp(reel_data(y), reel_data(want), (size_t)reel_numel(y) * sizeof(float)) != 0)
        fail_msg("%s: other bits", f->name);
}

/* The optimized graph as a file: what it stands for is in it, and lowers as before. */
static void check_file(const form *f, reel_graph *g, reel_tensor *x, reel_tensor *want)
{
    const reel_onnx_opts opts = {.opset = 17};
    if (reel_onnx_export(g, "lowered.onnx", &opts))
        fail_msg("%s: %s", f->name, reel_error_message());
    reel_graph *read = reel_onnx_load("lowered.onnx", NULL);
    assert_non_null(read);
    assert_int_equal(integer_layers(read), 0);
    assert_int_equal(reel_graph_optimize(read, NULL), REEL_OK);
    if (integer_layers(read) != f->layers)
        fail_form(f, read, "integer layers of the file", integer_layers(read), f->layers);
    check_equal(f, read, x, want);
    reel_graph_free(read);
    remove("lowered.onnx");
}

static void check_form(const form *f)
{
    reel_scope scope = reel_scope_begin();
    const reel_optimize_opts lower = {.only = "dce,lower_int8"};
    reel_tensor *x = reel_randn(REEL_SHAPE(3, 3, 8, 8), REEL_F32);
    reel_tensor *want = f->run(f, x);
    reel_graph *g = reel_trace_function(call, (void *)(uintptr_t)f, &x, 1, NULL);
    if (!g) fail_msg("%s: %s", f->name, reel_error_message());
    reel_graph *all = reel_graph_copy(g);
    assert_int_equal(reel_graph_optimize(g, &lower), REEL_OK);
    if (integer_layers(g) != f->layers)
        fail_form(f, g, "integer layers", integer_layers(g), f->layers);
    check_equal(f, g, x, want);
    assert_int_equal(reel_graph_optimize(all, NULL), REEL_OK);
    if (count(all, "quantize") != f->quantizes || integer_layers(all) != f->layers)
        fail_form(f, all, "quantizes are left", count(all, "quantize"), f->quantizes);
    check_equal(f, all, x, want);
    check_file(f, all, x, want);
    reel_graph_free(all);
    reel_graph_free(g);
    reel_scope_end(scope);
}

static void test_forms(void **state)
{
    (void)state;
    reel_seed(3);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) check_form(&forms[i]);
    reel_scope_end(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
