/* test_training_golden.c: 20 steps of training from the same weights on the same batches give
 * the losses that PyTorch gave. tests/golden/make_training.py made them, and says by what rule
 * weights and batches are made; what is here repeats that rule to the last bit. */
#include <reel/reel.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
enum { SHARE = 4 }; /* of the steps are run: a sanitizer is many times slower */
#else
enum { SHARE = 1 };
#endif
enum { STEPS = 20, PIXELS = 3 * 32 * 32, CLASSES = 10, MAX_BATCH = 32 };
static const double TOLERANCE = 1e-4; /* relative */

/* ---- numbers from names ---------------------------------------------------------------------- */

/* FNV-1a. */
static uint64_t hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

/* Number i >= 0 of `name`: splitmix64, in [-1, 1), a multiple of 2^-23. */
static float uniform(uint64_t name_hash, int64_t i)
{
    uint64_t z = name_hash + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-23f - 1;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static reel_status add_weight(void *map, const char *path, reel_tensor *t, bool is_param)
{
    if (!is_param) return REEL_OK; /* running statistics begin as they are */
    reel_shape shape = reel_shape_of(t);
    int64_t n = reel_numel(t), fan_in = shape.rank ? n / shape.dim[0] : 1;
    float scale = (float)sqrt((shape.rank == 4 ? 6. : 3.) / (double)fan_in), shift = 0;
    if (shape.rank == 1) {
        scale = 0.125f;
        shift = ends_with(path, "bias") ? 0 : 1;
        if (strncmp(path, "features.", 9) == 0 && ends_with(path, ".1.bias")) shift = 2;
        if (ends_with(path, "bn2.weight") || ends_with(path, "conv.3.weight"))
            scale /= 4, shift /= 4;
    }
    float *w = malloc((size_t)n * sizeof *w);
    assert_non_null(w);
    uint64_t h = hash(path);
    for (int64_t i = 0; i < n; i++) w[i] = uniform(h, i) * scale + shift;
    reel_scope s = reel_scope_begin();
    reel_status st = reel_tensor_map_set(map, path, reel_from(w, shape, REEL_F32));
    reel_scope_end(s);
    free(w);
    return st;
}

/* The weights take the way that a user's would: through a safetensors file. */
static void load_weights(reel_module *net)
{
    char path[64];
    snprintf(path, sizeof path, "%s/reel-golden-XXXXXX", P_tmpdir);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_tensor_each(net, add_weight, map), REEL_OK);
    assert_int_equal(reel_safetensors_save(map, path), REEL_OK);
    assert_int_equal(reel_module_load(net, path, &(reel_load_opts){.partial = true}),
                     REEL_OK);
    reel_tensor_map_free(map);
    unlink(path);
}

/* Element i of image n of images made of 8 x 8 squares. */
static float squares(uint64_t name_hash, int64_t n, int i)
{
    int channel = i / 1024, row = i % 1024 / 32, column = i % 32;
    return uniform(name_hash, ((n * 3 + channel) * 8 + row / 4) * 8 + column / 4);
}

/* A batch as loaders give it: channels last. */
static void make_batch(int step, int64_t n, reel_tensor **x, reel_tensor **y)
{
    static float pixel[MAX_BATCH * PIXELS];
    int64_t label[MAX_BATCH];
    char name[32];
    snprintf(name, sizeof name, "batch.%d", step);
    uint64_t coarse = hash(name), classes = hash("classes");
    snprintf(name, sizeof name, "noise.%d", step);
    uint64_t fine = hash(name);
    for (int64_t k = 0; k < n; k++) {
        label[k] = (k * 7 + step) % CLASSES;
        for (int i = 0; i < PIXELS; i++) {
            float noise =
                squares(coarse, k, i) * 0.5f + uniform(fine, k * PIXELS + i) * 0.125f;
            pixel[k * PIXELS + i] = noise + squares(classes, label[k], i);
        }
    }
    *x = reel_to_format(reel_from(pixel, REEL_SHAPE(n, 3, 32, 32), REEL_F32),
                        REEL_CHANNELS_LAST);
    *y = reel_from(label, REEL_SHAPE(n), REEL_I64);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* PyTorch's losses of `model`. */
static void read_golden(const char *model, double loss[STEPS])
{
    FILE *f = fopen(REEL_SOURCE_DIR "/tests/golden/training.txt", "r");
    assert_non_null(f);
    char name[32];
    int step, found = 0;
    double single, twice;
    while (fscanf(f, "%31s %d %lf %lf", name, &step, &single, &twice) == 4) {
        if (strcmp(name, model) != 0) continue;
        assert_int_equal(step, found);
        assert_true(found < STEPS);
        loss[found++] = single;
    }
    fclose(f);
    assert_int_equal(found, STEPS);
}

/* The first steps of them. Frees `net`. */
static void compare(const char *model, int steps, int64_t batch, reel_module *net,
                    reel_optim *optim)
{
    double golden[STEPS], worst = 0;
    read_golden(model, golden);
    load_weights(net);
    steps /= SHARE;
    for (int step = 0; step < steps; step++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x, *y;
        make_batch(step, batch, &x, &y);
        reel_tensor *loss = reel_cross_entropy(reel_forward(net, x), y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(optim);
        reel_optim_zero_grad(optim);
        double value = reel_item(loss), off = fabs(value - golden[step]) / golden[step];
        reel_scope_end(s);
        if (!(off <= TOLERANCE))
            fail_msg("%s, step %d: loss %.9g, PyTorch's %.9g, %.1e apart; %s", model,
                     step, value, golden[step], off, reel_error_message());
        worst = fmax(worst, off);
    }
    print_message("%s%s: at most %.1e from PyTorch in %d steps\n", model,
                  reel_exact() ? ", exact" : "", worst, steps);
    reel_optim_free(optim);
    reel_module_free(net);
    assert_int_equal(reel_live_objects(), 0);
}

/* The weights come in a safetensors file, whose header is JSON. */
static void needs_json(void)
{
#ifndef REEL_HAVE_JANSSON
    skip();
#endif
}

static void resnet20(void)
{
    reel_module *net = reel_resnet20(NULL);
    compare("resnet20", STEPS, 32, net,
            reel_sgd(reel_parameters(net), &(reel_sgd_opts){.lr = 0.01,
                                                            .momentum = 0.9,
                                                            .weight_decay = 5e-4,
                                                            .nesterov = true}));
}

static void resnet20_equals_pytorch(void **state)
{
    (void)state;
    needs_json();
    resnet20();
}

static void resnet20_without_winograd_equals_pytorch(void **state)
{
    (void)state;
    needs_json();
    reel_set_exact(true);
    resnet20();
    reel_set_exact(false);
}

static void mobilenet_v2_equals_pytorch(void **state)
{
    (void)state;
    needs_json();
    reel_module *net = reel_mobilenet_v2(
        &(reel_mobilenet_opts){.classes = 10, .dropout = REEL_ZERO, .cifar_stem = true});
    /* a step takes ten times as long as one of the others */
    compare("mobilenet_v2", 4, 16, net,
            reel_sgd(reel_parameters(net), &(reel_sgd_opts){.lr = 0.001,
                                                            .momentum = 0.9,
                                                            .weight_decay = 5e-4,
                                                            .nesterov = true}));
}

static void vit_tiny_equals_pytorch(void **state)
{
    (void)state;
    needs_json();
    reel_module *net = reel_vit_tiny(&(reel_vit_opts){.dim = 128, .heads = 4});
    compare("vit-tiny", STEPS, 16, net,
            reel_adamw(reel_parameters(net),
                       &(reel_adam_opts){.lr = 3e-4, .weight_decay = 0.05}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet20_equals_pytorch),
        cmocka_unit_test(resnet20_without_winograd_equals_pytorch),
        cmocka_unit_test(mobilenet_v2_equals_pytorch),
        cmocka_unit_test(vit_tiny_equals_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
