/* test_quantize_files.c: quantized models as ONNX files, at every kind of opset: written, read
 * back, found right by the linter, and computing what they did. `--write DIR` leaves the files
 * there, with an input and our results, for ONNX Runtime: tests/test_quantize_onnx.sh. */
#include "temp_folder.h"

#include <reel/reel.h>

/* ---- models ------------------------------------------------------------------------------------ */

/* A row of the table of what ONNX Runtime fuses for each operator. */
typedef struct table_net {
    reel_module m;
    reel_module *wide, *deep, *narrow, *other, *fc;
} table_net;

static reel_tensor *table_forward(reel_module *self, reel_tensor *x)
{
    table_net *t = (table_net *)self;
    x = reel_relu6(reel_forward(t->wide, x));    /* [n,8,h,w], no bias */
    x = reel_relu(reel_forward(t->deep, x));     /* depthwise */
    reel_tensor *y = reel_forward(t->narrow, x); /* no activation */
    y = reel_relu(reel_add(x, y));               /* residual */
    y = reel_mul(y, reel_sigmoid(reel_forward(t->other, y)));
    reel_tensor *both[] = {
        y, reel_max_pool2d(x, 3, &(reel_pool2d_opts){.stride = 1, .padding = 1})};
    y = reel_leaky_relu(reel_cat(both, 2, 1), 0.1); /* [n,16,h,w] */
    y = reel_avg_pool2d(y, 2, NULL);
    return reel_forward(t->fc, reel_flatten(reel_adaptive_avg_pool2d(y, 1, 1), 1, -1));
}

static reel_module *conv(reel_module *m, const char *name, int in, int out, int k,
                         int groups)
{
    return reel_module_add(
        m, name,
        reel_nn_conv2d(in, out, k,
                       &(reel_nn_conv2d_opts){.conv.padding = k / 2,
                                              .conv.groups = groups,
                                              .no_bias = k == 3 && in == 3}));
}

static reel_module *table(void)
{
    table_net *t = reel_module_new(sizeof *t, "table", table_forward);
    if (!t) return NULL;
    t->wide = conv(&t->m, "wide", 3, 8, 3, 1);
    t->deep = conv(&t->m, "deep", 8, 8, 3, 8);
    t->narrow = conv(&t->m, "narrow", 8, 8, 1, 1);
    t->other = conv(&t->m, "other", 8, 8, 1, 1);
    t->fc = reel_module_add(&t->m, "fc", reel_nn_linear(16, 10, NULL));
    return reel_module_done(&t->m);
}

static reel_module *resnet20(void)
{
    return reel_resnet20(NULL);
}

static reel_module *mobilenet(void)
{
    return reel_mobilenet_v2(
        &(reel_mobilenet_opts){.classes = 10, .width = 0.25, .cifar_stem = true});
}

static const struct model {
    const char *name;
    reel_module *(*make)(void);
} models[] = {{"table", table}, {"resnet20", resnet20}, {"mobilenet_v2", mobilenet}};

static const struct form {
    reel_quantize_target target;
    int opset;
} forms[] = {{REEL_TARGET_ORT, 13},      {REEL_TARGET_ORT, 17},
             {REEL_TARGET_ORT, 25},      {REEL_TARGET_PER_TENSOR, 17},
             {REEL_TARGET_TENSORRT, 13}, {REEL_TARGET_TENSORRT, 17}};
enum {
    MODELS = sizeof models / sizeof *models,
    FORMS = sizeof forms / sizeof *forms,
    BATCH = 8
};

/* ---- files ------------------------------------------------------------------------------------- */

static reel_tensor *images(int64_t n)
{
    return reel_randn(REEL_SHAPE(n, 3, 32, 32), REEL_F32);
}

static reel_graph *converted(const struct model *model, reel_quantize_target target)
{
    reel_seed(3);
    reel_module *net = model->make();
    for (int i = 0; i < 3; i++)
        (void)reel_forward(net, images(16)); /* norms see something */
    reel_train(net, false);
    reel_graph *g = reel_trace(net, images(2), NULL);
    reel_module *q = reel_quantize_prepare(g, &(reel_quantize_opts){.target = target});
    (void)reel_quantize_observe(q, true);
    (void)reel_forward(q, images(32));
    (void)reel_quantize_observe(q, false);
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
    return ints;
}

static reel_tensor *run(reel_graph *g, reel_tensor *x)
{
    reel_tensor *y = NULL;
    (void)reel_graph_run(g, &x, 1, &y, 1);
    return y;
}

static void save(const char *folder, const char *name, const char *what, reel_tensor *t)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.%s.npy", folder, name, what);
    (void)reel_npy_save(t, path);
}

/* x; y as the nodes compute it, and in integers. */
static void save_results(reel_graph *g, const char *folder, const char *name)
{
    reel_tensor *x = images(BATCH);
    save(folder, name, "x", x);
    save(folder, name, "y", run(g, x));
    reel_graph *fast = reel_graph_copy(g);
    (void)reel_graph_optimize(fast, NULL);
    save(folder, name, "int8", run(fast, x));
    reel_graph_free(fast);
}

static void write_file(const struct model *model, const struct form *form,
                       const char *folder, bool results)
{
    char name[128], path[1024];
    reel_scope s = reel_scope_begin();
    reel_graph *g = converted(model, form->target);
    snprintf(name, sizeof name, "%s.%s.%d", model->name,
             reel_quantize_target_name(form->target), form->opset);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    (void)reel_onnx_export(g, path, &(reel_onnx_opts){.opset = form->opset});
    if (results) save_results(g, folder, name);
    reel_graph_free(g);
    reel_scope_end(s);
}

static void check_file(const struct model *model, const struct form *form)
{
    char path[1024];
    reel_scope s = reel_scope_begin();
    snprintf(path, sizeof path, "%s/%s.%s.%d.onnx", temp_root, model->name,
             reel_quantize_target_name(form->target), form->opset);
    reel_graph *g = reel_onnx_load(path, NULL);
    assert_ok();
    char *found = reel_quantize_lint(g, form->target);
    assert_ok();
    if (*found) fail_msg("%s: %s", path, found);
    free(found);
    reel_graph_free(g);
    reel_scope_end(s);
}

static void test_files(void **state)
{
    (void)state;
    for (int m = 0; m < MODELS; m++)
        for (int f = 0; f < FORMS; f++) {
            if (m && forms[f].opset != 17) continue; /* the table has all of it */
            write_file(&models[m], &forms[f], temp_root, false);
            assert_ok();
            check_file(&models[m], &forms[f]);
        }
}

static bool has(const char *bytes, size_t n, const char *text)
{
    size_t k = strlen(text);
    for (size_t i = 0; i + k <= n; i++)
        if (memcmp(bytes + i, text, k) == 0) return true;
    return false;
}

/* Straight from the module; the file says how it was made, beside what the caller says. */
static void test_export(void **state)
{
    (void)state;
    static const char *const said[][2] = {{"classes", "a, b"}};
    reel_scope s = reel_scope_begin();
    reel_module *net = reel_nn_linear(4, 2, NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(3, 4), REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    const char *path = temp_path("linear.onnx");
    assert_int_equal(reel_quantize_export(q, path, NULL), REEL_ERR_STATE);
    assert_error(REEL_ERR_STATE, "was not calibrated");
    (void)reel_quantize_observe(q, true);
    (void)reel_forward(q, x);
    (void)reel_quantize_observe(q, false);
    assert_int_equal(reel_quantize_export(
                         q, path, &(reel_onnx_opts){.metadata = said, .n_metadata = 1}),
                     REEL_OK);
    size_t n = 0;
    char *bytes = reel__file_load(path, 1 << 20, &n);
    assert_true(has(bytes, n, "ort; 1 weights: min_max; 2 activations: moving_average"));
    assert_true(has(bytes, n, "a, b"));
    reel__free(bytes);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(s);
}

static int write_all(const char *folder)
{
    for (int m = 0; m < MODELS; m++)
        for (int f = 0; f < FORMS; f++) write_file(&models[m], &forms[f], folder, true);
    if (reel_failed()) fprintf(stderr, "%s\n", reel_error_message());
    return reel_failed();
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return write_all(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_export)};
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
