/* Training gives the same bits in every run and on any number of threads, in f64 as in f32,
 * and so do single products. CMake runs this on the lower instruction sets too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "base/rng.h"

enum { RUNS = 5, THREADS = 3, STEPS = 3 };

/* FNV-1a of bytes: what a run leaves behind, in a number. */
static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_tensor(uint64_t h, reel_tensor *t)
{
    const void *data = reel_data(t);
    assert_non_null(data);
    return hash(h, data, (size_t)reel_numel(t) * reel_dtype_size(reel_dtype_of(t)));
}

/* ---- training ---------------------------------------------------------------------- */

typedef struct model {
    const char *name;
    reel_module *(*net)(void);
    reel_shape input; /* of a batch */
} model;

/* Convolutions that take Winograd's way, a strided one and one of 1x1. */
static reel_module *conv_net(void)
{
    const reel_nn_conv2d_opts same = {.conv = {.padding = 1}};
    const reel_nn_conv2d_opts half = {.conv = {.stride = 2, .padding = 1}};
    return reel_nn_sequential(
        reel_nn_conv2d(3, 16, 3, &same), reel_nn_batch_norm2d(16, NULL), reel_nn_relu(),
        reel_nn_conv2d(16, 16, 3, &same), reel_nn_batch_norm2d(16, NULL), reel_nn_relu(),
        reel_nn_conv2d(16, 32, 3, &half), reel_nn_conv2d(32, 8, 1, NULL), reel_nn_relu(),
        reel_nn_flatten(1, -1), reel_nn_linear(8 * 6 * 6, 10, NULL));
}

static reel_module *mlp(void)
{
    return reel_nn_sequential(reel_nn_linear(300, 400, NULL), reel_nn_gelu(),
                              reel_nn_linear(400, 200, NULL), reel_nn_relu(),
                              reel_nn_linear(200, 10, NULL));
}

static reel_module *transformer(void)
{
    return reel_nn_sequential(
        reel_nn_encoder_layer(64, 4, &(reel_nn_encoder_layer_opts){.hidden = 256}),
        reel_nn_flatten(1, -1), reel_nn_linear(24 * 64, 10, NULL));
}

static const model models[] = {
    {"convolutions", conv_net, {.rank = 4, .dim = {8, 3, 12, 12}}},
    {"mlp", mlp, {.rank = 2, .dim = {64, 300}}},
    {"transformer", transformer, {.rank = 3, .dim = {8, 24, 64}}},
};

static reel_status add_to_hash(void *h, const char *name, reel_tensor *t, bool is_param)
{
    (void)name, (void)is_param;
    *(uint64_t *)h = hash_tensor(*(uint64_t *)h, t);
    return REEL_OK;
}

/* A few steps from the same seed; a hash of every loss and of all state at the end. */
static uint64_t train(const model *m, reel_dtype dtype, bool adam)
{
    uint64_t h = 0xcbf29ce484222325u;
    reel_scope all = reel_scope_begin();
    reel_seed(7);
    reel_module *net = m->net();
    assert_int_equal(reel_module_cast(net, dtype), REEL_OK);
    reel_params params = reel_parameters(net);
    reel_optim *optim =
        adam ? reel_adamw(params, &(reel_adam_opts){.lr = 1e-2, .weight_decay = 0.1})
             : reel_sgd(params, &(reel_sgd_opts){.lr = 0.1, .momentum = 0.9});
    for (int i = 0; i < STEPS; i++) {
        reel_scope step = reel_scope_begin();
        reel_tensor *x = reel_randn(m->input, dtype);
        reel_tensor *y = reel_randint(0, 10, REEL_SHAPE(m->input.dim[0]), REEL_I64);
        reel_tensor *loss = reel_cross_entropy(reel_forward(net, x), y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(optim);
        reel_optim_zero_grad(optim);
        h = hash_tensor(h, loss);
        reel_scope_end(step);
    }
    assert_int_equal(reel_tensor_each(net, add_to_hash, &h), REEL_OK);
    assert_false(reel_failed());
    reel_optim_free(optim);
    reel_module_free(net);
    reel_scope_end(all);
    return h;
}

static void trains_alike(reel_dtype dtype)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int adam = 0; adam < 2; adam++) {
            assert_int_equal(reel_set_threads(1), REEL_OK);
            const uint64_t first = train(&models[i], dtype, adam);
            for (int threads = 1; threads <= THREADS; threads++)
                for (int run = 0; run < RUNS; run++) {
                    reel_set_threads(threads);
                    if (train(&models[i], dtype, adam) != first)
                        fail_msg("%s, %s, %s: run %d on %d threads differs",
                                 models[i].name, reel_dtype_name(dtype),
                                 adam ? "AdamW" : "SGD", run, threads);
                }
        }
}

static void training_f32(void **state)
{
    (void)state;
    trains_alike(REEL_F32);
}

static void training_f64(void **state)
{
    (void)state;
    trains_alike(REEL_F64);
}

static void runs_differ_by_their_seed(void **state)
{
    (void)state; /* or the hashes would say nothing */
    assert_true(train(&models[1], REEL_F64, false) != train(&models[1], REEL_F64, true));
    assert_true(train(&models[1], REEL_F32, false) != train(&models[1], REEL_F64, false));
}

/* ---- single products --------------------------------------------------------------- */

static int64_t draw(uint64_t seed, uint64_t at, int64_t most)
{
    uint32_t w[4];
    reel__philox(seed, at, w);
    int64_t n = 1 + w[0] % most;
    return w[1] % 4 == 0 ? 1 + n % 16 : n; /* thin ones too */
}

static void products(void **state)
{
    (void)state;
    for (uint64_t s = 0; s < 60; s++) {
        reel_scope scope = reel_scope_begin();
        int64_t batch = s % 3 ? 1 : draw(s, 0, 6), m = draw(s, 1, 400);
        int64_t k = draw(s, 2, s % 7 ? 400 : 6000), n = draw(s, 3, 400);
        reel_dtype dtype = s % 2 ? REEL_F64 : REEL_F32;
        reel_seed(s);
        reel_tensor *a = s % 5 < 3 ? reel_randn(REEL_SHAPE(batch, m, k), dtype)
                                   : reel_t(reel_randn(REEL_SHAPE(batch, k, m), dtype));
        reel_tensor *b = s % 5 > 1 ? reel_randn(REEL_SHAPE(batch, k, n), dtype)
                                   : reel_t(reel_randn(REEL_SHAPE(batch, n, k), dtype));
        uint64_t first = 0;
        for (int run = 0; run < 4 * THREADS; run++) {
            reel_set_threads(1 + run % THREADS);
            reel_tensor *c = reel_matmul(a, b);
            uint64_t h = hash_tensor(0xcbf29ce484222325u, c);
            if (run == 0) first = h;
            if (h != first)
                fail_msg("product %d, %s, [%lld, %lld, %lld] times [%lld, %lld]: %d "
                         "threads give other bits than one",
                         (int)s, reel_dtype_name(dtype), (long long)batch, (long long)m,
                         (long long)k, (long long)k, (long long)n, 1 + run % THREADS);
        }
        reel_scope_end(scope);
        assert_false(reel_failed());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(training_f32),
        cmocka_unit_test(training_f64),
        cmocka_unit_test(runs_differ_by_their_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
