/* test_models.c: the models' state-dict names and shapes equal torchvision's (tests/names/,
 * written once from torchvision 0.29 and PyTorch 2.15), they run forward and backward, and
 * batch norm fused with ReLU computes what separate layers do. */
#include "module_check.h"

/* Each line of tests/names/NAME.txt is a tensor of `m`, in this order, and there is no other;
 * the number of parameters is torchvision's. */
static void check_names(reel_module *m, const char *name, int64_t parameters)
{
    assert_ok();
    assert_int_equal(reel_param_count(m), parameters);
    char path[512], line[256];
    snprintf(path, sizeof path, "%s/tests/names/%s.txt", REEL_SOURCE_DIR, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    reel_tensor_map *map = reel_tensor_map_new();
    reel_state_dict(m, map);
    int64_t n = 0;
    for (; fgets(line, sizeof line, f); n++) {
        reel_shape s = reel_shape_of(reel_tensor_map_at(map, n));
        char have[256];
        int at = snprintf(have, sizeof have, "%s [", reel_tensor_map_name(map, n));
        for (int i = 0; i < s.rank; i++)
            at += snprintf(have + at, sizeof have - (size_t)at, "%s%lld", i ? "," : "",
                           (long long)s.dim[i]);
        snprintf(have + at, sizeof have - (size_t)at, "]\n");
        assert_string_equal(have, line);
    }
    fclose(f);
    assert_int_equal(reel_tensor_map_count(map), n);
    reel_tensor_map_free(map);
    reel_module_free(m);
}

static void test_names(void **state)
{
    (void)state;
    check_names(reel_resnet20(NULL), "resnet20", 272474);
    check_names(reel_resnet32(NULL), "resnet32", 466906);
    check_names(reel_resnet56(NULL), "resnet56", 855770);
    check_names(reel_resnet18(NULL), "resnet18", 11689512);
    check_names(reel_resnet34(NULL), "resnet34", 21797672);
    check_names(reel_resnet50(NULL), "resnet50", 25557032);
    check_names(reel_mobilenet_v2(NULL), "mobilenet_v2", 3504872);
    check_names(reel_nn_attention(8, 2, NULL), "attention", 288);
    check_names(reel_nn_encoder_layer(8, 2, &(reel_nn_encoder_layer_opts){.hidden = 16}),
                "encoder_layer", 600);
}

static void check_count(reel_module *m, int64_t parameters)
{
    assert_ok();
    assert_int_equal(reel_param_count(m), parameters);
    reel_module_free(m);
}

static void test_counts(void **state)
{
    (void)state;
    check_count(reel_resnet20(&(reel_resnet_opts){.pad_shortcut = true}), 269722);
    check_count(reel_resnet18(&(reel_resnet_opts){.classes = 10, .cifar_stem = true}),
                11173962);
    /* torchvision's figures at its width_mult; of 0.1 all layers but the last have 8 to 32 */
    check_count(reel_mobilenet_v2(&(reel_mobilenet_opts){.width = 0.1}), 1367080);
    check_count(reel_mobilenet_v2(&(reel_mobilenet_opts){.width = 0.35}), 1677128);
    check_count(reel_mobilenet_v2(&(reel_mobilenet_opts){.width = 1.4}), 6108776);
    check_count(
        reel_mobilenet_v2(&(reel_mobilenet_opts){.classes = 10, .cifar_stem = true}),
        2236682);
    /* patch 3*16*192+192, positions 64*192, 6 layers of 4*192^2 + 8*192^2 weights and
     * (4 + 4 + 1 + 4) * 192 biases and norms, norm, head */
    int64_t layer = 12 * 192 * 192 + 13 * 192;
    check_count(reel_vit_tiny(NULL),
                48 * 192 + 192 + 64 * 192 + 6 * layer + 2 * 192 + 192 * 10 + 10);
    check_count(reel_mlp(3072, 10, &(reel_mlp_opts){.hidden = {512, 256}}),
                3072 * 512 + 512 + 512 * 256 + 256 + 2560 + 10);
}

/* Every parameter gets a finite gradient, and the result has the right shape. */
static void check_step(reel_module *m, reel_shape input, int64_t classes)
{
    assert_ok();
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_randn(input, REEL_F32);
    reel_tensor *y = reel_forward(m, x);
    assert_ok();
    assert_int_equal(reel_rank(y), 2);
    assert_int_equal(reel_size(y, 0), input.dim[0]);
    assert_int_equal(reel_size(y, 1), classes);
    reel_tensor *target = reel_zeros(REEL_SHAPE(input.dim[0]), REEL_I64);
    reel_backward(reel_cross_entropy(y, target, NULL), NULL);
    assert_ok();
    reel_params p = reel_parameters(m);
    for (int i = 0; i < p.n; i++) {
        reel_tensor *g = reel_grad_of(p.tensor[i]);
        if (!g) fail_msg("%s has no gradient", p.name[i]);
        if (!isfinite(reel_item(reel_sum(reel_abs(g), REEL_ALL, false))))
            fail_msg("the gradient of %s is not finite", p.name[i]);
    }
    reel_train(m, false);
    bool was = reel_set_grad_enabled(false);
    assert_non_null(reel_forward(m, x));
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    reel_module_free(m);
    assert_ok();
}

static void test_steps(void **state)
{
    (void)state;
    check_step(reel_resnet20(NULL), REEL_SHAPE(2, 3, 32, 32), 10);
    check_step(reel_resnet20(&(reel_resnet_opts){.pad_shortcut = true, .classes = 7}),
               REEL_SHAPE(2, 3, 16, 16), 7);
    check_step(reel_resnet18(&(reel_resnet_opts){.classes = 10, .cifar_stem = true}),
               REEL_SHAPE(2, 3, 16, 16), 10);
    check_step(reel_resnet50(&(reel_resnet_opts){.classes = 5, .channels = 1}),
               REEL_SHAPE(2, 1, 32, 32), 5);
    check_step(reel_mobilenet_v2(&(reel_mobilenet_opts){.classes = 5, .channels = 1}),
               REEL_SHAPE(2, 1, 64, 64), 5);
    check_step(reel_mobilenet_v2(&(reel_mobilenet_opts){
                   .classes = 10, .width = 0.35, .cifar_stem = true}),
               REEL_SHAPE(2, 3, 32, 32), 10);
    check_step(reel_vit_tiny(&(reel_vit_opts){.dim = 48, .depth = 2}),
               REEL_SHAPE(2, 3, 32, 32), 10);
    check_step(reel_mlp(48, 10, &(reel_mlp_opts){.hidden = {16}, .dropout = 0.1}),
               REEL_SHAPE(3, 3, 4, 4), 10);
}

/* A basic block with a downsample, by separate layers. */
static void test_block(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL), *b = reel_module_at(net, "layer2.0");
    reel_module_cast(net, REEL_F64);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 16, 8, 8), REEL_F64);
    reel_tensor *fused = reel_forward(b, x);
    reel_tensor *h = reel_forward(reel_module_at(b, "conv1"), x);
    h = reel_relu(reel_forward(reel_module_at(b, "bn1"), h));
    h = reel_forward(reel_module_at(b, "bn2"),
                     reel_forward(reel_module_at(b, "conv2"), h));
    h = reel_relu(reel_add(h, reel_forward(reel_module_at(b, "downsample"), x)));
    assert_true(distance(fused, h) < 1e-10);
    reel_module_free(net);
}

/* Option A: every second pixel, zeros around the channels. */
static void test_pad_shortcut(void **state)
{
    (void)state;
    reel_module *net =
        reel_resnet20(&(reel_resnet_opts){.pad_shortcut = true, .zero_init = true});
    reel_module *b = reel_module_at(net, "layer2.0");
    reel_tensor *x = reel_rand(REEL_SHAPE(2, 16, 8, 8), REEL_F32);
    reel_tensor *y =
        reel_forward(b, x); /* the last norm is 0: only the shortcut is left */
    reel_tensor *middle = reel_narrow(y, 1, 8, 16);
    reel_tensor *want = reel_slice(reel_slice(x, 2, 0, REEL_END, 2), 3, 0, REEL_END, 2);
    assert_true(distance(middle, want) == 0);
    assert_near(reel_item(reel_sum(reel_narrow(y, 1, 0, 8), REEL_ALL, false)), 0, 0);
    assert_near(reel_item(reel_sum(reel_narrow(y, 1, 24, 8), REEL_ALL, false)), 0, 0);
    reel_module_free(net);
}

/* An inverted residual with a shortcut, by operators: the sizes of its layers, where activations
 * stand and where none does. */
static void test_inverted_residual(void **state)
{
    (void)state;
    reel_module *net = reel_mobilenet_v2(&(reel_mobilenet_opts){.width = 0.25});
    reel_module_cast(net, REEL_F64);
    reel_train(net, false);
    reel_module *b = reel_module_at(net, "features.3.conv");
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 8, 6, 5), REEL_F64), *h = x;
    const char *const conv[] = {"0.0", "1.0", "2"}, *const norm[] = {"0.1", "1.1", "3"};
    for (int i = 0; i < 3; i++) {
        reel_tensor *w = reel_module_find(reel_module_at(b, conv[i]), "weight");
        h = reel_conv2d(
            h, w, NULL,
            &(reel_conv2d_opts){.padding = i == 1, .groups = i == 1 ? 48 : 1});
        h = reel_forward(reel_module_at(b, norm[i]), h);
        if (i < 2) h = reel_clamp(h, 0, 6);
    }
    assert_true(distance(reel_forward(reel_module_at(net, "features.3"), x),
                         reel_add(x, h)) < 1e-10);
    reel_module_free(net);
}

/* Sizes [h, w] at the end of the features, of a stem for 224 and for 32. */
static void test_mobilenet_strides(void **state)
{
    (void)state;
    for (int cifar = 0; cifar < 2; cifar++) {
        reel_module *net =
            reel_mobilenet_v2(&(reel_mobilenet_opts){.width = 0.1, .cifar_stem = cifar});
        reel_tensor *y = reel_forward(reel_module_at(net, "features"),
                                      reel_randn(REEL_SHAPE(2, 3, 64, 32), REEL_F32));
        assert_int_equal(reel_size(y, 1), 1280);
        assert_int_equal(reel_size(y, 2), cifar ? 8 : 2);
        assert_int_equal(reel_size(y, 3), cifar ? 4 : 1);
        reel_module_free(net);
    }
}

/* Standard deviations within a hundredth or so of torchvision's: normal by fan out, which of a
 * depthwise layer is all channels times the window; 0.01 of the classifier; its bias 0. */
static void test_mobilenet_start(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double std;
    } row[] = {{"features.17.conv.2.weight", 0.079056942},   /* sqrt(2 / 320) */
               {"features.17.conv.1.0.weight", 0.015214515}, /* sqrt(2 / (9 * 960)) */
               {"features.18.0.weight", 0.039528471},        /* sqrt(2 / 1280) */
               {"classifier.1.weight", 0.01}};
    reel_seed(1);
    reel_module *net = reel_mobilenet_v2(NULL);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        reel_tensor *w = reel_module_find(net, row[i].name);
        double std = sqrt(reel_item(reel_var(w, REEL_ALL, 0, false)));
        if (!(fabs(std / row[i].std - 1) < 0.03))
            fail_msg("%s: %g, expected %g", row[i].name, std, row[i].std);
    }
    reel_tensor *b = reel_module_find(net, "classifier.1.bias");
    assert_near(reel_item(reel_sum(reel_abs(b), REEL_ALL, false)), 0, 0);
    reel_module_free(net);
}

static void check_mobilenet_error(reel_mobilenet_opts o, const char *says)
{
    assert_null(reel_mobilenet_v2(&o));
    expect_error(REEL_ERR_ARG, says);
}

static void test_mobilenet_errors(void **state)
{
    (void)state;
    check_mobilenet_error((reel_mobilenet_opts){.classes = -1}, "-1 classes");
    check_mobilenet_error((reel_mobilenet_opts){.channels = -3}, "-3 channels");
    check_mobilenet_error((reel_mobilenet_opts){.width = -1}, "width -1");
    check_mobilenet_error((reel_mobilenet_opts){.width = REEL_ZERO}, "width 0");
    check_mobilenet_error((reel_mobilenet_opts){.width = NAN}, "width nan");
    check_mobilenet_error((reel_mobilenet_opts){.width = INFINITY}, "width inf");
    check_mobilenet_error((reel_mobilenet_opts){.dropout = 1}, "dropout 1");
    check_mobilenet_error((reel_mobilenet_opts){.dropout = NAN}, "dropout nan");
    reel_module *net = reel_mobilenet_v2(&(reel_mobilenet_opts){.width = 0.1});
    assert_null(reel_forward(net, reel_ones(REEL_SHAPE(1, 4, 32, 32), REEL_F32)));
    expect_error(REEL_ERR_SHAPE, "(in features.0.0)");
    reel_module_free(net);
}

static void test_errors(void **state)
{
    (void)state;
    assert_null(reel_resnet20(&(reel_resnet_opts){.classes = -1}));
    expect_error(REEL_ERR_ARG, "-1 classes");
    assert_null(reel_vit_tiny(&(reel_vit_opts){.patch = 5}));
    expect_error(REEL_ERR_ARG, "patch 5");
    assert_null(reel_vit_tiny(&(reel_vit_opts){.heads = 5}));
    expect_error(REEL_ERR_ARG, "5 heads");
    assert_null(reel_mlp(0, 10, NULL));
    expect_error(REEL_ERR_ARG, "mlp: 0 -> 10");
    assert_null(reel_mlp(4, 10, &(reel_mlp_opts){.hidden = {-3}}));
    expect_error(REEL_ERR_ARG, "-3");
    reel_module *net = reel_resnet20(NULL);
    assert_null(reel_forward(net, reel_ones(REEL_SHAPE(1, 4, 32, 32), REEL_F32)));
    expect_error(REEL_ERR_SHAPE, "(in conv1)");
    reel_module_free(net);
}

static void test_summary(void **state)
{
    (void)state;
    reel_module *net = reel_resnet18(NULL);
    char *text =
        reel_summary(net, REEL_SHAPE(1, 3, 224, 224), &(reel_summary_opts){.depth = 2});
    assert_non_null(text);
    /* conv1: 64 * 112 * 112 * 147 multiply-adds */
    assert_non_null(strstr(text, "118,013,952"));
    assert_non_null(strstr(text, "parameters 11,689,512"));
    const char *total = strstr(text, "multiply-adds 1,8"); /* 1.81 billion and the rest */
    if (!total) fail_msg("%s", text);
    free(text);
    reel_module_free(net);
}

/* Of a training step only what the tape needs lives on: most of it the convolutions' inputs
 * and results. Twice the activations of the layers would mean that something holds more. */
static void test_memory_of_a_step(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(16, 3, 32, 32), REEL_F32);
    reel_device cpu = {REEL_CPU, 0};
    reel_memory_stats stats;
    reel_memory(cpu, &stats);
    size_t before = stats.in_use;
    reel_scope s = reel_scope_begin();
    reel_tensor *loss = reel_mean(reel_forward(net, x), REEL_ALL, false);
    reel_memory(cpu, &stats);
    /* 19 convolutions and 19 batch norms; 7 at 16 x 32^2, 6 at 32 x 16^2, 6 at 64 x 8^2, and
     * the two shortcuts */
    size_t sum = 2 * 4 * 16 * (7 * 16384 + 6 * 8192 + 6 * 4096 + 8192 + 4096);
    assert_true(stats.in_use - before < sum + sum / 8);
    reel_backward(loss, NULL);
    reel_scope_end(s);
    reel_zero_grad(net);
    reel_memory(cpu, &stats);
    assert_true(stats.in_use - before < (size_t)1 << 16);
    reel_module_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_counts),
        TEST(test_steps),
        TEST(test_block),
        TEST(test_pad_shortcut),
        TEST(test_inverted_residual),
        TEST(test_mobilenet_strides),
        TEST(test_mobilenet_start),
        TEST(test_mobilenet_errors),
        TEST(test_errors),
        TEST(test_summary),
        TEST(test_memory_of_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
