/* test_nn.c: the module tree, forward, hooks, state dicts, layers, initializers, summary. */
#include "module_check.h"

typedef struct pair {
    reel_module m;
    reel_module *a, *b;
    int *destroyed;
} pair;

static reel_tensor *pair_forward(reel_module *self, reel_tensor *x)
{
    pair *p = (pair *)self;
    return reel_forward(p->b, reel_relu(reel_forward(p->a, x)));
}

static void pair_destroy(reel_module *self)
{
    ++*((pair *)self)->destroyed;
}

static reel_module *pair_new(int *destroyed)
{
    pair *p = reel_module_new(sizeof *p, "pair", pair_forward);
    if (!p) return NULL;
    p->destroyed = destroyed;
    p->m.destroy = pair_destroy;
    p->a = reel_module_add(&p->m, "a", reel_nn_linear(3, 4, NULL));
    p->b = reel_module_add(&p->m, "b", reel_nn_sequential(reel_nn_linear(4, 2, NULL)));
    return reel_module_done(&p->m);
}

/* ---- tree ---------------------------------------------------------------------------- */

static void test_tree(void **state)
{
    (void)state;
    int destroyed = 0;
    reel_module *m = pair_new(&destroyed);
    assert_non_null(m);
    reel_params p = reel_parameters(m);
    static const char *const names[] = {"a.weight", "a.bias", "b.0.weight", "b.0.bias"};
    assert_int_equal(p.n, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(p.name[i], names[i]);
        assert_ptr_equal(reel_module_find(m, names[i]), p.tensor[i]);
        assert_true(reel_needs_grad(p.tensor[i]));
    }
    assert_int_equal(reel_param_count(m), 4 * 3 + 4 + 2 * 4 + 2);
    assert_ptr_equal(reel_module_at(m, "b.0"), reel_module_child(((pair *)m)->b, 0));
    assert_ptr_equal(reel_module_at(m, ""), m);
    assert_null(reel_module_at(m, "b.1"));
    assert_null(reel_module_find(m, "b.0.weigh"));
    assert_null(reel_module_find(m, "weight"));
    assert_string_equal(reel_module_name(((pair *)m)->b), "b");

    /* What is added later shows. */
    reel_module_param(m, "extra", reel_ones(REEL_SHAPE(5), REEL_F32));
    assert_int_equal(reel_parameters(m).n, 5);
    assert_string_equal(reel_parameters(m).name[0], "extra");
    /* A child may go alone. */
    reel_module_free(((pair *)m)->b);
    assert_int_equal(reel_parameters(m).n, 3);
    reel_module_free(m);
    assert_int_equal(destroyed, 1);
    assert_ok();
}

static void test_tied_weights(void **state)
{
    (void)state;
    reel_module *m = reel_nn_sequential(reel_nn_linear(3, 3, NULL), reel_nn_relu());
    reel_tensor *w = reel_module_find(m, "0.weight");
    assert_ptr_equal(reel_module_param(reel_module_at(m, "1"), "tied", w), w);
    assert_int_equal(reel_parameters(m).n, 2);
    reel_tensor_map *map = reel_tensor_map_new();
    reel_state_dict(m, map);
    assert_int_equal(reel_tensor_map_count(map), 3);
    reel_tensor_map_free(map);
    reel_module_free(m);
}

static void test_tree_errors(void **state)
{
    (void)state;
    reel_module *m = reel_nn_sequential(reel_nn_relu());
    assert_null(reel_module_add(m, "0", reel_nn_relu()));
    expect_error(REEL_ERR_ARG, "\"0\" already");
    assert_null(reel_module_add(m, "a.b", reel_nn_relu()));
    expect_error(REEL_ERR_ARG, "dot");
    assert_null(reel_module_add(m, "x", NULL));
    expect_error(REEL_ERR_ARG, "\"x\" is NULL");
    assert_null(reel_module_add(NULL, "x", reel_nn_relu()));
    expect_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_module_add(m, "again", reel_module_child(m, 0)));
    expect_error(REEL_ERR_STATE, "parent already");
    assert_null(reel_module_add(reel_module_child(m, 0), "loop", m));
    expect_error(REEL_ERR_STATE, "above");
    assert_int_equal(reel_module_count(m), 1);
    assert_null(reel_module_param(m, "w", reel_zeros(REEL_SHAPE(2), REEL_I64)));
    expect_error(REEL_ERR_DTYPE, "floating");
    assert_null(reel_module_new(4, "tiny", NULL));
    expect_error(REEL_ERR_ARG, "4 bytes");
    assert_null(reel_nn_sequential(reel_nn_relu(), NULL, reel_nn_gelu()));
    expect_error(REEL_ERR_ARG, "NULL");
    reel_module_free(m);
    reel_module_free(NULL);
    reel_train(NULL, true);
    reel_zero_grad(NULL);
    assert_int_equal(reel_parameters(NULL).n, 0);
    expect_error(REEL_ERR_ARG, "NULL");
}

/* ---- forward ------------------------------------------------------------------------- */

static void test_error_says_where(void **state)
{
    (void)state;
    int destroyed = 0;
    reel_module *m = pair_new(&destroyed);
    reel_module_free(((pair *)m)->b);
    ((pair *)m)->b = reel_module_add(
        m, "b", reel_nn_sequential(reel_nn_relu(), reel_nn_linear(5, 2, NULL)));
    assert_null(reel_forward(m, reel_ones(REEL_SHAPE(2, 3), REEL_F32)));
    expect_error(REEL_ERR_SHAPE, "(in b.1)");
    /* Afterwards no module runs. */
    reel_fail(REEL_ERR_ARG, "elsewhere");
    assert_string_equal(reel_error_message(), "elsewhere");
    reel_error_clear();
    reel_module_free(m);
}

static void test_forward_null(void **state)
{
    (void)state;
    reel_module *m = reel_nn_relu();
    assert_null(reel_forward(m, NULL));
    expect_error(REEL_ERR_ARG, "input is NULL");
    assert_null(reel_forward(NULL, reel_ones(REEL_SHAPE(1), REEL_F32)));
    expect_error(REEL_ERR_ARG, "module is NULL");
    m->forward = NULL;
    assert_null(reel_forward(m, reel_ones(REEL_SHAPE(1), REEL_F32)));
    expect_error(REEL_ERR_ARG, "relu has no forward");
    reel_module_free(m);
}

static reel_tensor *gives_null(reel_module *self, reel_tensor *x)
{
    (void)self;
    (void)x;
    return NULL;
}

static void test_forward_without_result(void **state)
{
    (void)state;
    reel_module *m = reel_module_new(sizeof *m, "silent", gives_null);
    assert_null(reel_forward(m, reel_ones(REEL_SHAPE(1), REEL_F32)));
    expect_error(REEL_ERR_STATE, "silent");
    reel_module_free(m);
}

static void count_before(void *user, reel_module *m, reel_tensor *x)
{
    (void)m;
    (void)x;
    ++*(int *)user;
}

static reel_tensor *twice(void *user, reel_module *m, reel_tensor *x, reel_tensor *y)
{
    (void)m;
    (void)x;
    *(int *)user += 10;
    return reel_mul_scalar(y, 2);
}

static void test_hooks(void **state)
{
    (void)state;
    int calls = 0;
    reel_module *m = reel_nn_relu();
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32);
    int first = reel_module_add_hook(
        m, &(reel_module_hook){.before = count_before, .after = twice, .user = &calls});
    int second = reel_module_add_hook(
        m, &(reel_module_hook){.before = NULL, .after = twice, .user = &calls});
    assert_true(first > 0 && second > first);
    assert_near(reel_item(reel_sum(reel_forward(m, x), REEL_ALL, false)), 8, 0);
    assert_int_equal(calls, 21);
    assert_int_equal(reel_module_remove_hook(m, first), REEL_OK);
    assert_near(reel_item(reel_sum(reel_forward(m, x), REEL_ALL, false)), 4, 0);
    assert_int_equal(reel_module_remove_hook(m, first), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "no hook");
    reel_module_free(m);
}

/* Without gradients ten layers of 1 MiB must not be alive at once. */
static void test_sequential_lets_go(void **state)
{
    (void)state;
    reel_module *m = reel_nn_sequential(NULL);
    expect_error(REEL_ERR_ARG, "NULL");
    m = reel_nn_sequential_n(NULL, 0);
    for (int i = 0; i < 10; i++) {
        char name[12];
        snprintf(name, sizeof name, "%d", i);
        reel_module_add(m, name, reel_nn_relu());
    }
    reel_tensor *x = reel_ones(REEL_SHAPE(512, 512), REEL_F32);
    reel_memory_stats stats;
    reel_device cpu = {REEL_CPU, 0};
    reel_memory(cpu, &stats);
    size_t before = stats.in_use;
    reel_memory_reset_peak(cpu);
    bool was = reel_set_grad_enabled(false);
    assert_non_null(reel_forward(m, x));
    reel_set_grad_enabled(was);
    reel_memory(cpu, &stats);
    assert_true(stats.peak - before <= (size_t)3 << 20);
    assert_true(stats.in_use - before <= (size_t)3 << 19);
    reel_module_free(m);
}

static void test_modes(void **state)
{
    (void)state;
    int destroyed = 0;
    reel_module *m = pair_new(&destroyed);
    reel_train(m, false);
    assert_false(reel_module_at(m, "b.0")->training);
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    reel_backward(reel_sum(reel_forward(m, x), REEL_ALL, false), NULL);
    assert_non_null(reel_grad_of(reel_module_find(m, "a.weight")));
    reel_zero_grad(m);
    assert_null(reel_grad_of(reel_module_find(m, "a.weight")));
    reel_freeze(m, true);
    assert_false(reel_needs_grad(reel_forward(m, x)));
    reel_freeze(m, false);
    assert_true(reel_needs_grad(reel_forward(m, x)));

    reel_tensor *w = reel_module_find(m, "a.weight"), *before = reel_copy(reel_detach(w));
    assert_int_equal(reel_module_cast(m, REEL_F64), REEL_OK);
    assert_ptr_equal(reel_module_find(m, "a.weight"), w);
    assert_int_equal(reel_dtype_of(w), REEL_F64);
    assert_true(reel_needs_grad(w));
    assert_true(distance(w, reel_cast(before, REEL_F64)) == 0);
    reel_tensor *x64 = reel_cast(x, REEL_F64);
    reel_backward(reel_sum(reel_forward(m, x64), REEL_ALL, false), NULL);
    assert_int_equal(reel_dtype_of(reel_grad_of(w)), REEL_F64);
    assert_int_equal(reel_module_to(m, (reel_device){REEL_CPU, 0}), REEL_OK);
    assert_int_equal(reel_module_cast(m, REEL_I64), REEL_ERR_DTYPE);
    expect_error(REEL_ERR_DTYPE, "i64");
    reel_module_free(m);
}

/* ---- state dicts --------------------------------------------------------------------- */

static void test_state_dict(void **state)
{
    (void)state;
    needs_json();
    reel_module *a =
        reel_nn_sequential(reel_nn_conv2d(2, 3, 3, NULL), reel_nn_batch_norm2d(3, NULL));
    reel_module *b =
        reel_nn_sequential(reel_nn_conv2d(2, 3, 3, NULL), reel_nn_batch_norm2d(3, NULL));
    reel_forward(a, reel_randn(REEL_SHAPE(4, 2, 5, 5), REEL_F32));
    const char *path = temp_name("state.safetensors");
    assert_int_equal(reel_module_save(a, path), REEL_OK);
    assert_int_equal(reel_module_load(b, path, NULL), REEL_OK);
    remove(path);
    static const char *const names[] = {"0.weight",
                                        "0.bias",
                                        "1.weight",
                                        "1.bias",
                                        "1.running_mean",
                                        "1.running_var",
                                        "1.num_batches_tracked"};
    for (int i = 0; i < 7; i++)
        assert_true(
            same_bits(reel_module_find(a, names[i]), reel_module_find(b, names[i])));
    assert_int_equal(reel_item_i64(reel_module_find(b, "1.num_batches_tracked")), 1);
    assert_true(reel_needs_grad(reel_module_find(b, "0.weight")));

    reel_tensor_map *map = reel_tensor_map_new();
    reel_state_dict(a, map);
    assert_int_equal(reel_tensor_map_count(map), 7);
    for (int i = 0; i < 7; i++)
        assert_string_equal(reel_tensor_map_name(map, i), names[i]);
    reel_tensor_map_free(map);
    reel_module_free(a);
    reel_module_free(b);
}

static void test_state_dict_errors(void **state)
{
    (void)state;
    needs_json();
    reel_module *a =
        reel_nn_sequential(reel_nn_linear(2, 3, NULL), reel_nn_linear(3, 1, NULL));
    reel_tensor *before = reel_copy(reel_detach(reel_module_find(a, "0.weight")));
    reel_tensor_map *map = reel_tensor_map_new();
    reel_tensor_map_set(map, "0.weight", reel_zeros(REEL_SHAPE(3, 2), REEL_F32));
    reel_tensor_map_set(map, "1.weight", reel_zeros(REEL_SHAPE(2, 3), REEL_F32));
    reel_tensor_map_set(map, "head.weight", reel_zeros(REEL_SHAPE(2, 3), REEL_F32));
    assert_int_equal(reel_load_state_dict(a, map, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "2 missing (0.bias, 1.bias); 1 unexpected (head.weight); "
                               "1 of another shape (1.weight [2,3], expected [1,3])");
    assert_true(same_bits(before, reel_module_find(a, "0.weight")));
    assert_int_equal(reel_load_state_dict(a, map, &(reel_load_opts){.partial = true}),
                     REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "1 of another shape");
    reel_tensor_map_set(map, "1.weight", reel_ones(REEL_SHAPE(1, 3), REEL_F64));
    assert_int_equal(reel_load_state_dict(a, map, &(reel_load_opts){.partial = true}),
                     REEL_OK);
    assert_near(reel_item(reel_sum(reel_module_find(a, "1.weight"), REEL_ALL, false)), 3,
                0);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "odd%d", i);
        reel_tensor_map_set(map, name, reel_zeros(REEL_SHAPE(1), REEL_F32));
    }
    reel_load_state_dict(a, map, NULL);
    expect_error(
        REEL_ERR_ARG,
        "21 unexpected (head.weight, odd0, odd1, odd2, odd3, odd4, and 15 more)");
    assert_int_equal(reel_load_state_dict(NULL, map, NULL), REEL_ERR_ARG);
    reel_error_clear();
    assert_int_equal(reel_module_load(a, "no/such/file", NULL), REEL_ERR_IO);
    reel_error_clear();
    reel_tensor_map_free(map);
    reel_module_free(a);
}

/* ---- layers: each against its operator -------------------------------------------------- */

static void test_layers(void **state)
{
    (void)state;
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 4, 6, 6), REEL_F32);
    reel_module *conv = reel_nn_conv2d(
        4, 6, 3,
        &(reel_nn_conv2d_opts){.conv = {.stride = 2, .padding = 1, .groups = 2}});
    reel_tensor *w = reel_module_find(conv, "weight"),
                *b = reel_module_find(conv, "bias");
    assert_int_equal(reel_size(w, 1), 2);
    assert_true(same_bits(
        reel_forward(conv, x),
        reel_conv2d(x, w, b,
                    &(reel_conv2d_opts){.stride = 2, .padding = 1, .groups = 2})));
    reel_module_free(conv);

    reel_module *ln =
        reel_nn_layer_norm(REEL_SHAPE(6, 6), &(reel_nn_layer_norm_opts){.eps = 1e-3});
    assert_true(same_bits(reel_forward(ln, x),
                          reel_layer_norm(x, 2, reel_module_find(ln, "weight"),
                                          reel_module_find(ln, "bias"),
                                          &(reel_layer_norm_opts){.eps = 1e-3})));
    assert_null(reel_forward(ln, reel_ones(REEL_SHAPE(6), REEL_F32)));
    expect_error(REEL_ERR_SHAPE, "expected 6");
    reel_module_free(ln);

    reel_module *m = reel_nn_sequential(
        reel_nn_max_pool2d(2, NULL),
        reel_nn_avg_pool2d(3, &(reel_pool2d_opts){.stride = 1, .padding = 1}),
        reel_nn_adaptive_avg_pool2d(1, 1), reel_nn_flatten(1, -1));
    reel_tensor *y = reel_max_pool2d(x, 2, NULL);
    y = reel_avg_pool2d(y, 3, &(reel_pool2d_opts){.stride = 1, .padding = 1});
    y = reel_flatten(reel_adaptive_avg_pool2d(y, 1, 1), 1, -1);
    assert_true(same_bits(reel_forward(m, x), y));
    reel_module_free(m);

    reel_module *e = reel_nn_embedding(5, 3);
    reel_tensor *i = reel_from((int64_t[]){4, 0}, REEL_SHAPE(2), REEL_I64);
    assert_true(
        same_bits(reel_forward(e, i), reel_embedding(reel_module_find(e, "weight"), i)));
    reel_module_free(e);

    reel_module *d = reel_nn_dropout(0.5);
    double zeros = reel_item(
        reel_sum(reel_eq(reel_forward(d, x), reel_zeros_like(x)), REEL_ALL, false));
    assert_true(zeros > 80 && zeros < 208); /* of 288: 8.5 deviations about the half */
    reel_train(d, false);
    assert_true(same_bits(reel_forward(d, x), x));
    reel_module_free(d);
}

static void test_activations(void **state)
{
    (void)state;
    reel_tensor *x = reel_linspace(-3, 3, 13, REEL_F64);
    for (int k = 0; k <= REEL_ACT_IDENTITY; k++) {
        reel_module *m = reel_nn_activation((reel_activation)k);
        assert_string_equal(m->type, reel_activation_name((reel_activation)k));
        assert_true(same_bits(reel_forward(m, x), reel_activate(x, (reel_activation)k)));
        reel_module_free(m);
    }
    assert_true(same_bits(reel_activate(x, REEL_ACT_SILU), reel_silu(x)));
    assert_true(
        same_bits(reel_activate(x, REEL_ACT_LEAKY_RELU), reel_leaky_relu(x, 0.01)));
    assert_null(reel_nn_activation((reel_activation)99));
    expect_error(REEL_ERR_ARG, "99");
}

static void test_batch_norm(void **state)
{
    (void)state;
    reel_module *bn = reel_nn_batch_norm2d(3, NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3, 5, 5), REEL_F32);
    reel_tensor *r = reel_randn(REEL_SHAPE(4, 3, 5, 5), REEL_F32);
    reel_tensor *y = reel_nn_batch_norm2d_forward(bn, x, r, true);
    reel_module *plain = reel_nn_batch_norm2d(3, NULL);
    assert_true(distance(y, reel_relu(reel_add(reel_forward(plain, x), r))) < 1e-5);
    /* running = 0.9 running + 0.1 batch, the variance unbiased */
    reel_shape others = REEL_DIMS(0, 2, 3);
    reel_tensor *mean = reel_mul_scalar(reel_mean(x, others, false), 0.1);
    reel_tensor *var =
        reel_add_scalar(reel_mul_scalar(reel_var(x, others, 1, false), 0.1), 0.9);
    assert_true(distance(mean, reel_module_find(bn, "running_mean")) < 1e-6);
    assert_true(distance(var, reel_module_find(bn, "running_var")) < 1e-6);
    assert_int_equal(reel_item_i64(reel_module_find(bn, "num_batches_tracked")), 1);
    reel_train(bn, false);
    reel_forward(bn, x);
    assert_int_equal(reel_item_i64(reel_module_find(bn, "num_batches_tracked")), 1);
    assert_null(reel_forward(bn, reel_ones(REEL_SHAPE(2, 3), REEL_F32)));
    expect_error(REEL_ERR_SHAPE, "rank 2");
    assert_null(reel_nn_batch_norm2d_forward(reel_module_at(bn, "x"), x, NULL, false));
    expect_error(REEL_ERR_ARG, "not a batch_norm2d");
    reel_module_free(plain);
    reel_module_free(bn);
}

/* Attention of every head by matrix products, in f64. */
static reel_tensor *attention_by_hand(reel_module *m, reel_tensor *q, reel_tensor *kv,
                                      int dim, int heads)
{
    reel_tensor *w = reel_module_find(m, "in_proj_weight"),
                *b = reel_module_find(m, "in_proj_bias");
    reel_tensor *p[3], *out[8];
    for (int i = 0; i < 3; i++)
        p[i] = reel_linear(i ? kv : q, reel_narrow(w, 0, i * dim, dim),
                           reel_narrow(b, 0, i * dim, dim));
    int d = dim / heads;
    for (int h = 0; h < heads; h++) {
        reel_tensor *qh = reel_narrow(p[0], 2, h * d, d),
                    *kh = reel_narrow(p[1], 2, h * d, d);
        reel_tensor *s = reel_mul_scalar(reel_matmul(qh, reel_t(kh)), 1 / sqrt(d));
        out[h] = reel_matmul(reel_softmax(s, -1), reel_narrow(p[2], 2, h * d, d));
    }
    return reel_forward(reel_module_at(m, "out_proj"), reel_cat(out, heads, 2));
}

static void test_attention(void **state)
{
    (void)state;
    reel_module *m = reel_nn_attention(12, 3, NULL);
    reel_init_normal(reel_module_find(m, "in_proj_bias"), 0, 1);
    reel_module_cast(m, REEL_F64);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 5, 12), REEL_F64);
    reel_tensor *z = reel_randn(REEL_SHAPE(2, 7, 12), REEL_F64);
    assert_true(distance(reel_forward(m, x), attention_by_hand(m, x, x, 12, 3)) < 1e-12);
    assert_true(distance(reel_nn_attention_forward(m, x, z, z, NULL),
                         attention_by_hand(m, x, z, 12, 3)) < 1e-12);
    /* A mask that hides the last two keys is the same as not having them. */
    reel_tensor *mask = reel_lt(reel_arange(0, 7, 1, REEL_F64), reel_scalar(5, REEL_F64));
    reel_tensor *z5 = reel_narrow(z, 1, 0, 5);
    assert_true(distance(reel_nn_attention_forward(m, x, z, z, mask),
                         reel_nn_attention_forward(m, x, z5, z5, NULL)) < 1e-12);
    assert_null(reel_forward(m, reel_ones(REEL_SHAPE(5, 12), REEL_F64)));
    expect_error(REEL_ERR_SHAPE, "ranks 2");
    reel_module_free(m);
    assert_null(reel_nn_attention(10, 3, NULL));
    expect_error(REEL_ERR_ARG, "multiple");
}

static void test_encoder_layer(void **state)
{
    (void)state;
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 5, 8), REEL_F64);
    for (int first = 0; first < 2; first++) {
        reel_module *m = reel_nn_encoder_layer(
            8, 2, &(reel_nn_encoder_layer_opts){.hidden = 16, .norm_first = first == 1});
        reel_module_cast(m, REEL_F64);
        reel_module *attn = reel_module_at(m, "self_attn"),
                    *n1 = reel_module_at(m, "norm1"), *n2 = reel_module_at(m, "norm2"),
                    *l1 = reel_module_at(m, "linear1"),
                    *l2 = reel_module_at(m, "linear2");
        reel_tensor *h, *y;
        if (first) {
            h = reel_add(x, reel_forward(attn, reel_forward(n1, x)));
            y = reel_add(
                h, reel_forward(l2, reel_relu(reel_forward(l1, reel_forward(n2, h)))));
        } else {
            h = reel_forward(n1, reel_add(x, reel_forward(attn, x)));
            y = reel_forward(
                n2, reel_add(h, reel_forward(l2, reel_relu(reel_forward(l1, h)))));
        }
        assert_true(distance(reel_forward(m, x), y) < 1e-12);
        reel_module_free(m);
    }
}

static reel_tensor *run_module(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_forward(user, x[0]);
}

/* Gradients to the input of what joins many operators, against differences. */
static void test_gradients(void **state)
{
    (void)state;
    reel_module *m = reel_nn_encoder_layer(6, 2,
                                           &(reel_nn_encoder_layer_opts){
                                               .hidden = 8,
                                               .activation = REEL_ACT_GELU,
                                               .norm_first = true,
                                               .causal = true,
                                           });
    reel_module_cast(m, REEL_F64);
    reel_tensor *x = reel_requires_grad(reel_randn(REEL_SHAPE(2, 4, 6), REEL_F64), true);
    reel_gradcheck(run_module, m, &x, 1, NULL);
    assert_ok();
    reel_module_free(m);
}

static reel_tensor *takes_log(reel_module *self, reel_tensor *x)
{
    (void)self;
    return reel_log(x);
}

static void test_anomaly_says_where(void **state)
{
    (void)state;
    reel_module *bad = reel_module_new(sizeof *bad, "takes_log", takes_log);
    reel_module *m = reel_nn_sequential(reel_nn_relu(), reel_nn_sequential(bad));
    reel_set_anomaly(true);
    assert_null(reel_forward(m, reel_zeros(REEL_SHAPE(2), REEL_F32)));
    reel_set_anomaly(false);
    expect_error(REEL_ERR_NUMERIC, "(in 1.0)");
    reel_module_free(m);
}

/* ---- initializers -------------------------------------------------------------------- */

/* Mean, deviation and largest of n numbers are what is expected, within 6 standard errors. */
static void check_moments(reel_tensor *t, double std, double largest)
{
    double n = (double)reel_numel(t);
    double mean = reel_item(reel_mean(t, REEL_ALL, false));
    double var = reel_item(reel_var(t, REEL_ALL, 0, false));
    double most = reel_item(reel_max(reel_abs(t), REEL_ALL, false));
    assert_ok();
    if (!(fabs(mean) < 6 * std / sqrt(n) && fabs(sqrt(var) / std - 1) < 6 / sqrt(n)))
        fail_msg("mean %g, deviation %g, expected %g", mean, sqrt(var), std);
    assert_true(most <= largest * (1 + 1e-6));
    assert_true(most > 0.9 * fmin(largest, 3 * std));
}

static void test_initializers(void **state)
{
    (void)state;
    reel_tensor *t =
        reel_empty(REEL_SHAPE(32, 16, 3, 3), REEL_F32); /* fans 144 and 288 */
    double relu = sqrt(2.0 / 144), out = sqrt(2.0 / 288), glorot = sqrt(2.0 / 432);
    reel_init_kaiming_normal(t, NULL);
    check_moments(t, relu, INFINITY);
    reel_init_kaiming_uniform(t, NULL);
    check_moments(t, relu, sqrt(3) * relu);
    reel_init_kaiming_normal(t, &(reel_kaiming_opts){.fan_out = true});
    check_moments(t, out, INFINITY);
    reel_init_xavier_normal(t, 0);
    check_moments(t, glorot, INFINITY);
    reel_init_xavier_uniform(t, 2);
    check_moments(t, 2 * glorot, sqrt(3) * 2 * glorot);
    reel_init_uniform(t, -2, 2);
    check_moments(t, 2 / sqrt(3), 2);
    reel_init_normal(t, 0, 5);
    check_moments(t, 5, INFINITY);
    reel_init_trunc_normal(t, 0, 0.02, -2, 2);
    check_moments(t, 0.02, INFINITY);
    reel_init_trunc_normal(t, 0, 1, -1, 1); /* variance of N(0, 1) within one deviation */
    check_moments(t, sqrt(0.2911250), 1);
    reel_init_trunc_normal(t, 0, 1, 8, 9); /* far in the tail */
    double low = reel_item(reel_min(t, REEL_ALL, false)),
           high = reel_item(reel_max(t, REEL_ALL, false));
    assert_true(low >= 8 && high <= 9 && low < 8.01 && high > 8.5);
    reel_init_constant(t, 3);
    assert_near(reel_item(reel_min(t, REEL_ALL, false)), 3, 0);

    /* PyTorch's defaults: uniform in +-1/sqrt(fan in) */
    reel_module *l = reel_nn_linear(100, 300, NULL);
    check_moments(reel_detach(reel_module_find(l, "weight")), 0.1 / sqrt(3), 0.1);
    check_moments(reel_detach(reel_module_find(l, "bias")), 0.1 / sqrt(3), 0.1);
    assert_ptr_equal(reel_init_constant(reel_module_find(l, "bias"), 0),
                     reel_module_find(l, "bias"));
    reel_module_free(l);
    assert_null(reel_init_kaiming_normal(reel_ones(REEL_SHAPE(3), REEL_F32), NULL));
    expect_error(REEL_ERR_SHAPE, "rank 2");
    assert_null(reel_init_trunc_normal(t, 0, 1, 2, 1));
    expect_error(REEL_ERR_ARG, "low < high");
    assert_null(reel_init_normal(NULL, 0, 1));
    expect_error(REEL_ERR_ARG, "NULL");
}

static void test_orthogonal(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{6, 10}, {10, 6}, {7, 7}};
    for (int i = 0; i < 3; i++) {
        reel_tensor *q = reel_empty(REEL_SHAPE(sizes[i][0], sizes[i][1]), REEL_F64);
        reel_init_orthogonal(q, 2);
        bool wide = sizes[i][0] <= sizes[i][1];
        reel_tensor *g = wide ? reel_matmul(q, reel_t(q)) : reel_matmul(reel_t(q), q);
        int64_t n = reel_size(g, 0);
        assert_true(distance(g, reel_mul_scalar(reel_eye(n, n, REEL_F64), 4)) < 1e-12);
    }
}

/* ---- summary ------------------------------------------------------------------------- */

static void test_summary(void **state)
{
    (void)state;
    reel_module *m = reel_nn_sequential(
        reel_nn_conv2d(3, 8, 3, &(reel_nn_conv2d_opts){.no_bias = true}), reel_nn_relu(),
        reel_nn_dropout(0.5));
    char *text = reel_summary(m, REEL_SHAPE(2, 3, 10, 10), NULL);
    assert_non_null(text);
    /* 2 * 8 * 8 * 8 results of 27 multiply-adds */
    static const char *const parts[] = {"0: conv2d", "[2,8,8,8]",
                                        "216",       "27,648",
                                        "1: relu",   "parameters 216 (trained: 216)"};
    for (int i = 0; i < 6; i++)
        if (!strstr(text, parts[i])) fail_msg("no \"%s\" in:\n%s", parts[i], text);
    free(text);
    assert_true(m->training && reel_module_child(m, 2)->training);
    assert_null(reel_summary(m, REEL_SHAPE(2, 4, 10, 10), NULL));
    expect_error(REEL_ERR_SHAPE, "(in 0)");
    assert_true(m->training);
    text = reel_summary(m, REEL_SHAPE(2, 3, 10, 10), NULL);
    assert_non_null(text); /* nothing of the failed one is left */
    free(text);
    reel_module_free(m);
}

/* ---- memory that is missing ------------------------------------------------------------- */

/* Builds, runs and frees a model; each allocation of it fails in turn. */
static bool small_step(void)
{
    reel_scope s = reel_scope_begin();
    reel_module *m =
        reel_nn_sequential(reel_nn_conv2d(1, 2, 3, NULL), reel_nn_batch_norm2d(2, NULL),
                           reel_nn_flatten(1, -1), reel_nn_linear(8, 4, NULL),
                           reel_mlp(4, 2, &(reel_mlp_opts){.hidden = {3}}));
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 1, 4, 4), REEL_F32);
    reel_tensor *y = m ? reel_sum(reel_forward(m, x), REEL_ALL, false) : NULL;
    if (y) reel_backward(y, NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    if (map && m) reel_state_dict(m, map);
    if (map && m) reel_load_state_dict(m, map, NULL);
    if (m) reel_module_cast(m, REEL_F64);
    free(m ? reel_summary(m, REEL_SHAPE(1, 1, 4, 4),
                          &(reel_summary_opts){.dtype = REEL_F64})
           : NULL);
    reel_tensor_map_free(map);
    reel_module_free(m);
    reel_scope_end(s);
    return !reel_failed();
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(small_step());
    int64_t live = reel_live_objects(), k = 1;
    for (;; k++) {
        reel__fault_alloc(k, false);
        bool ok = small_step();
        bool hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        assert_int_equal(reel_live_objects(), live);
        if (!hit) {
            assert_true(ok);
            break;
        }
        if (!ok) expect_error(REEL_ERR_MEMORY, "");
    }
    assert_true(k > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tree),
        TEST(test_tied_weights),
        TEST(test_tree_errors),
        TEST(test_error_says_where),
        TEST(test_forward_null),
        TEST(test_forward_without_result),
        TEST(test_hooks),
        TEST(test_sequential_lets_go),
        TEST(test_modes),
        TEST(test_state_dict),
        TEST(test_state_dict_errors),
        TEST(test_layers),
        TEST(test_activations),
        TEST(test_batch_norm),
        TEST(test_attention),
        TEST(test_encoder_layer),
        TEST(test_gradients),
        TEST(test_anomaly_says_where),
        TEST(test_initializers),
        TEST(test_orthogonal),
        TEST(test_summary),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
