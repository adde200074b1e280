/* test_tied.c: one parameter of two modules, as the embedding and the head of a language model,
 * through all that is done with parameters; and trees whose parameters are tied at random. */
#include "module_check.h"

enum { VOCABULARY = 5, WIDTH = 3 };

/* It holds its weight besides, as a user's module may. */
typedef struct model {
    reel_module m;
    reel_module *wte, *head;
    reel_tensor *weight; /* the head's */
} model;

static reel_tensor *model_forward(reel_module *self, reel_tensor *x)
{
    const model *n = (const model *)self;
    return reel_forward(n->head, reel_tanh(reel_forward(n->wte, x)));
}

/* Weight i is (7 i mod 11 - 5) / 10. */
static reel_module *model_new(bool tied)
{
    const reel_nn_linear_opts no_bias = {.no_bias = true};
    model *n = reel_module_new(sizeof *n, "model", model_forward);
    if (!n) return NULL;
    n->wte = reel_module_add(&n->m, "wte", reel_nn_embedding(VOCABULARY, WIDTH));
    n->head = reel_module_add(&n->m, "head", reel_nn_linear(WIDTH, VOCABULARY, &no_bias));
    n->weight = reel_module_find(&n->m, "head.weight");
    float w[VOCABULARY * WIDTH];
    for (int i = 0; i < VOCABULARY * WIDTH; i++) w[i] = (float)(7 * i % 11 - 5) / 10;
    reel_scope s = reel_scope_begin();
    reel_copy_(reel_detach(reel_module_find(&n->m, "wte.weight")),
               reel_from(w, REEL_SHAPE(VOCABULARY, WIDTH), REEL_F32));
    reel_scope_end(s);
    if (tied) reel_module_tie(&n->m, "head.weight", "wte.weight");
    return reel_module_done(&n->m);
}

static void assert_tied(reel_module *m)
{
    reel_tensor *w = reel_module_find(m, "wte.weight");
    assert_non_null(w);
    assert_ptr_equal(reel_module_find(m, "head.weight"), w);
    assert_ptr_equal(((model *)m)->weight, w);
    assert_int_equal(reel_parameters(m).n, 1);
    assert_string_equal(reel_parameters(m).name[0], "wte.weight");
}

static reel_tensor *tokens(void)
{
    return reel_from((int64_t[]){0, 3, 3, 4, 1, 0}, REEL_SHAPE(2, 3), REEL_I64);
}

static reel_tensor *loss_of(reel_module *m)
{
    reel_tensor *y = reel_from((int64_t[]){3, 3, 2, 1, 0, 2}, REEL_SHAPE(6), REEL_I64);
    reel_tensor *logits = reel_reshape(reel_forward(m, tokens()), REEL_SHAPE(6, -1));
    return reel_cross_entropy(logits, y, NULL);
}

static reel_optim *optimizer(reel_module *m)
{
    return reel_adamw(reel_parameters(m),
                      &(reel_adam_opts){.lr = 0.05, .weight_decay = 0.1});
}

static double train_step(reel_module *m, reel_optim *o)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *loss = loss_of(m);
    double value = reel_item(loss);
    reel_backward(loss, NULL);
    reel_optim_step(o);
    reel_optim_zero_grad(o);
    reel_scope_end(s);
    return value;
}

/* ---- training ----------------------------------------------------------------------------- */

/* Five steps of torch.optim.AdamW(lr=0.05, weight_decay=0.1) on
 * cross_entropy(head(tanh(wte(x)))), head.weight = wte.weight, in PyTorch. */
static void test_trains_as_pytorch(void **state)
{
    (void)state;
    static const double losses[] = {1.63106, 1.594028, 1.55964124, 1.52709043,
                                    1.49552488};
    static const double after[] = {
        -0.248870328,  0.0304993,    -0.436791003, 0.254389822,  0.205811441,
        -0.0466578975, 0.143838733,  0.0645139217, -0.63872093,  0.0487296619,
        -0.325285673,  -0.736080885, 0.41265595,   0.0522115305, 0.580545545};
    reel_module *m = model_new(true);
    assert_tied(m);
    reel_optim *o = optimizer(m);
    for (int i = 0; i < 5; i++) assert_near(train_step(m, o), losses[i], 2e-6);
    double w[VOCABULARY * WIDTH];
    reel_read(reel_module_find(m, "head.weight"), w, REEL_F64);
    for (int i = 0; i < VOCABULARY * WIDTH; i++) assert_near(w[i], after[i], 2e-6);
    reel_tensor_map *map = reel_tensor_map_new();
    reel_optim_state(o, map);
    assert_null(reel_tensor_map_get(map, "head.weight.exp_avg"));
    reel_tensor_map_free(map);
    reel_optim_free(o);
    reel_module_free(m);
}

static reel_status step_of(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                           int n_y)
{
    (void)x, (void)n_x, (void)n_y;
    reel_module *m = ((void **)user)[0];
    reel_optim *o = ((void **)user)[1];
    y[0] = loss_of(m);
    reel_backward(y[0], NULL);
    reel_optim_step(o);
    reel_optim_zero_grad(o);
    return reel_error_status();
}

/* As a graph, and with a tie that is made between two steps. */
static void test_step_as_graph(void **state)
{
    (void)state;
    reel_module *m[2] = {model_new(false), model_new(false)};
    reel_copy_(reel_detach(reel_module_find(m[1], "head.weight")),
               reel_detach(reel_module_find(m[0], "head.weight")));
    reel_optim *o[2] = {optimizer(m[0]), optimizer(m[1])};
    void *user[2] = {m[1], o[1]};
    reel_compiled *step =
        reel_compile(step_of, user, &(reel_compile_opts){.module = m[1], .exact = true});
    for (int i = 0; i < 8; i++) {
        if (i == 4)
            for (int k = 0; k < 2; k++) {
                reel_module_tie(m[k], "head.weight", "wte.weight");
                assert_tied(m[k]);
                reel_optim_free(o[k]);
                user[1] = o[k] = optimizer(m[k]);
            }
        reel_tensor *y = NULL;
        double want = train_step(m[0], o[0]);
        assert_int_equal(reel_compiled_run(step, NULL, 0, &y, 1), REEL_OK);
        assert_near(reel_item(y), want, 0);
    }
    assert_non_null(reel_compiled_graph(step));
    assert_true(same_bits(reel_module_find(m[0], "wte.weight"),
                          reel_module_find(m[1], "wte.weight")));
    reel_compiled_free(step);
    for (int k = 0; k < 2; k++) {
        reel_optim_free(o[k]);
        reel_module_free(m[k]);
    }
}

/* ---- changes of all parameters --------------------------------------------------------------- */

static void test_stays_tied(void **state)
{
    (void)state;
    reel_module *m = model_new(true);
    reel_tensor *w = reel_module_find(m, "wte.weight"), *was = reel_copy(reel_detach(w));
    assert_int_equal(reel_module_cast(m, REEL_F64), REEL_OK);
    assert_int_equal(reel_dtype_of(w), REEL_F64);
    assert_tied(m);
    assert_int_equal(reel_module_cast(m, REEL_F32), REEL_OK);
    assert_int_equal(reel_module_to(m, (reel_device){REEL_CPU, 0}), REEL_OK);
    assert_ptr_equal(reel_module_find(m, "wte.weight"), w);
    assert_tied(m);
    assert_true(same_bits(w, was));
    reel_freeze(((model *)m)->head, true);
    assert_false(reel_needs_grad(reel_module_find(m, "wte.weight")));
    reel_freeze(m, false);
    assert_true(reel_needs_grad(w));
    assert_int_equal(reel_param_count(m), VOCABULARY * WIDTH);
    /* The tensor is the head's too when the embedding goes. */
    reel_module_free(((model *)m)->wte);
    assert_ptr_equal(reel_module_find(m, "head.weight"), w);
    assert_int_equal(reel_parameters(m).n, 1);
    reel_module_free(m);
}

static void test_ema_swaps(void **state)
{
    (void)state;
    reel_module *m = model_new(true);
    reel_optim *o = optimizer(m);
    reel_ema *ema = reel_ema_new(m, 0.5, NULL);
    reel_tensor *w = reel_module_find(m, "wte.weight"),
                *before = reel_copy(reel_detach(w));
    train_step(m, o);
    reel_ema_update(ema);
    reel_tensor *trained = reel_copy(reel_detach(w));
    reel_ema_swap(ema);
    assert_true(distance(w, reel_mul_scalar(reel_add(before, trained), 0.5)) < 1e-6);
    assert_tied(m);
    reel_ema_swap(ema);
    assert_true(same_bits(w, trained));
    reel_ema_free(ema);
    reel_optim_free(o);
    reel_module_free(m);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_state_dict_has_both(void **state)
{
    (void)state;
    reel_module *m = model_new(true);
    reel_tensor_map *map = reel_tensor_map_new();
    reel_state_dict(m, map);
    assert_int_equal(reel_tensor_map_count(map), 2);
    assert_ptr_equal(reel_tensor_map_get(map, "head.weight"),
                     reel_tensor_map_get(map, "wte.weight"));
    assert_int_equal(reel_load_state_dict(m, map, NULL), REEL_OK);
    /* Equal values under both names, of another dtype; then not equal ones. */
    reel_tensor *copy =
        reel_cast(reel_detach(reel_module_find(m, "wte.weight")), REEL_F64);
    reel_tensor_map_set(map, "head.weight", copy);
    assert_int_equal(reel_load_state_dict(m, map, NULL), REEL_OK);
    reel_tensor_map_set(map, "head.weight", reel_add_scalar(copy, 1));
    assert_int_equal(reel_load_state_dict(m, map, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "wte.weight and head.weight are one tensor");
    reel_tensor_map_free(map);
    /* One of the names is enough. */
    for (int i = 0; i < 2; i++) {
        map = reel_tensor_map_new();
        reel_tensor_map_set(map, i ? "head.weight" : "wte.weight",
                            reel_full(REEL_SHAPE(VOCABULARY, WIDTH), i + 1, REEL_F32));
        assert_int_equal(reel_load_state_dict(m, map, NULL), REEL_OK);
        assert_near(
            reel_item(reel_max(reel_module_find(m, "wte.weight"), REEL_ALL, false)),
            i + 1, 0);
        assert_tied(m);
        reel_tensor_map_free(map);
    }
    reel_module_free(m);
}

static void test_saved_once(void **state)
{
    (void)state;
    needs_json();
    const char *path = temp_name("tied.safetensors");
    reel_module *m = model_new(true), *tied = model_new(true), *apart = model_new(false);
    reel_optim *o = optimizer(m);
    train_step(m, o);
    assert_int_equal(reel_module_save(m, path), REEL_OK);
    reel_safetensors *st = reel_safetensors_open(path);
    assert_int_equal(reel_safetensors_count(st), 1);
    assert_string_equal(reel_safetensors_text(st, "head.weight"), "wte.weight");
    reel_safetensors_close(st);
    assert_int_equal(reel_module_load(tied, path, NULL), REEL_OK);
    assert_int_equal(reel_module_load(apart, path, NULL), REEL_OK);
    remove(path);
    assert_tied(tied);
    reel_tensor *w = reel_module_find(m, "wte.weight");
    assert_true(same_bits(w, reel_module_find(tied, "wte.weight")));
    assert_true(same_bits(w, reel_module_find(apart, "wte.weight")));
    assert_true(same_bits(w, reel_module_find(apart, "head.weight")));
    assert_int_equal(reel_parameters(apart).n, 2);
    reel_optim_free(o);
    reel_module_free(m);
    reel_module_free(tied);
    reel_module_free(apart);
}

static void test_checkpoint_goes_on(void **state)
{
    (void)state;
    needs_json();
    const char *path = temp_name("tied.ckpt");
    reel_module *a = model_new(true), *b = model_new(true);
    reel_optim *oa = optimizer(a), *ob = optimizer(b);
    for (int i = 0; i < 3; i++) train_step(a, oa);
    reel_training_save(&(reel_training){.module = a, .optim = oa}, path);
    reel_training_load(&(reel_training){.module = b, .optim = ob}, path);
    remove(path);
    assert_ok();
    assert_tied(b);
    for (int i = 0; i < 3; i++) assert_near(train_step(b, ob), train_step(a, oa), 0);
    assert_true(
        same_bits(reel_module_find(a, "wte.weight"), reel_module_find(b, "wte.weight")));
    reel_optim_free(oa);
    reel_optim_free(ob);
    reel_module_free(a);
    reel_module_free(b);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static reel_status count_state(void *user, const char *name, reel_tensor *t,
                               reel_state_kind kind)
{
    (void)t;
    if (kind == REEL_STATE_PARAM) assert_string_equal(name, "wte.weight");
    *(int *)user += reel_numel(t) == VOCABULARY * WIDTH;
    return REEL_OK;
}

static int tables_in(const reel_graph *g)
{
    int n = 0;
    reel_graph_each_state(g, count_state, &n);
    return n;
}

static void test_graph_has_it_once(void **state)
{
    (void)state;
    reel_module *m = model_new(true);
    reel_graph *g = reel_trace(m, tokens(), NULL);
    assert_int_equal(tables_in(g), 1);
    reel_module *gm = reel_graph_module(g);
    assert_int_equal(reel_parameters(gm).n, 1);
    assert_true(same_bits(reel_forward(gm, tokens()), reel_forward(m, tokens())));
    reel_module_free(gm);
    reel_graph_free(g);
    reel_module_free(m);
}

static void test_exported_once(void **state)
{
    (void)state;
    const char *path = temp_name("tied.onnx");
    reel_module *m = model_new(true);
    reel_train(m, false);
    if (reel_module_export(m, tokens(), path, NULL) == REEL_ERR_UNSUPPORTED) {
        reel_error_clear();
        reel_module_free(m);
        skip();
    }
    assert_ok();
    reel_graph *g = reel_onnx_load(path, NULL);
    assert_ok();
    remove(path);
    int tables = 0;
    reel_graph_each_state(g, count_state, &tables);
    assert_int_equal(tables, 1);
    reel_graph_free(g);
    reel_module_free(m);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_tie_errors(void **state)
{
    (void)state;
    reel_module *m = model_new(false);
    reel_module_buffer(m, "table", reel_zeros(REEL_SHAPE(VOCABULARY, WIDTH), REEL_F32));
    reel_module_param(m, "half", reel_zeros(REEL_SHAPE(VOCABULARY, WIDTH), REEL_F16));
    reel_module_param(m, "small", reel_zeros(REEL_SHAPE(WIDTH), REEL_F32));
    static const struct {
        const char *path, *same_as;
        reel_status status;
        const char *says;
    } wrong[] = {
        {"head.bias", "wte.weight", REEL_ERR_ARG, "no parameter or buffer \"head.bias\""},
        {"head.weight", "wte.w", REEL_ERR_ARG, "no parameter or buffer \"wte.w\""},
        {"head", "wte.weight", REEL_ERR_ARG, "\"head\""},
        {"head.weight", "table", REEL_ERR_ARG, "one is a parameter"},
        {"head.weight", "small", REEL_ERR_SHAPE, "[5,3], small is [3]"},
        {"head.weight", "half", REEL_ERR_DTYPE, "f32, half is f16"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(reel_module_tie(m, wrong[i].path, wrong[i].same_as),
                         wrong[i].status);
        expect_error(wrong[i].status, wrong[i].says);
    }
    assert_int_equal(reel_parameters(m).n, 4);
    reel_module_param(m, "a", reel_zeros(REEL_SHAPE(VOCABULARY, WIDTH), REEL_F32));
    reel_module_param(m, "b", reel_zeros(REEL_SHAPE(VOCABULARY, WIDTH), REEL_F32));
    assert_int_equal(reel_module_tie(m, "a", "b"), REEL_OK);
    assert_int_equal(reel_module_tie(m, "a", "b"), REEL_OK);
    assert_int_equal(reel_module_tie(m, "a", "wte.weight"), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "tied to another parameter of its module already");
    reel_module_free(m);
}

/* ---- at random ------------------------------------------------------------------------------- */

enum { LAYERS = 6, ROUNDS = 200 };

/* A linear layer of a user's, whose struct holds its weight. */
typedef struct layer {
    reel_module m;
    reel_tensor *weight;
} layer;

static reel_tensor *layer_forward(reel_module *self, reel_tensor *x)
{
    return reel_linear(x, ((layer *)self)->weight, NULL);
}

static reel_module *layer_new(void)
{
    layer *l = reel_module_new(sizeof *l, "layer", layer_forward);
    reel_scope s = reel_scope_begin();
    l->weight =
        reel_module_param(&l->m, "weight", reel_randn(REEL_SHAPE(3, 3), REEL_F32));
    reel_scope_end(s);
    return reel_module_done(&l->m);
}

static int draw(int n)
{
    return (int)reel_item_i64(reel_randint(0, n, REEL_SCALAR, REEL_I64));
}

/* The tree says what `group` says: layers of one group hold one tensor. */
static void check_groups(reel_module *net, const int group[LAYERS])
{
    reel_tensor *w[LAYERS];
    int groups = 0;
    for (int i = 0; i < LAYERS; i++) {
        char path[16];
        snprintf(path, sizeof path, "%d.weight", i);
        w[i] = reel_module_find(net, path);
        assert_ptr_equal(((layer *)reel_module_child(net, i))->weight, w[i]);
        bool first = true;
        for (int k = 0; k < i; k++) {
            assert_int_equal(w[k] == w[i], group[k] == group[i]);
            first &= group[k] != group[i];
        }
        groups += first;
    }
    assert_int_equal(reel_parameters(net).n, groups);
    reel_tensor *x = reel_ones(REEL_SHAPE(1, 3), reel_dtype_of(w[0])), *y = x;
    for (int i = 0; i < LAYERS; i++) y = reel_linear(y, w[i], NULL);
    assert_true(same_bits(reel_forward(net, x), y));
}

/* One of what may be done to a tree. */
static void do_something(reel_module *net, int group[LAYERS], int *fresh)
{
    char a[16], b[16];
    int i = draw(LAYERS), k = draw(LAYERS);
    snprintf(a, sizeof a, "%d.weight", i);
    snprintf(b, sizeof b, "%d.weight", k);
    reel_dtype dtype = reel_dtype_of(reel_module_find(net, a));
    switch (draw(5)) {
    case 0:
    case 1:
        assert_int_equal(reel_module_tie(net, a, b), REEL_OK);
        group[i] = group[k];
        break;
    case 2:
        *strchr(a, '.') = '\0';
        assert_non_null(reel_module_replace(net, a, layer_new()));
        reel_module_cast(reel_module_at(net, a), dtype);
        group[i] = ++*fresh;
        break;
    case 3: reel_module_cast(net, draw(2) ? REEL_F64 : REEL_F32); break;
    default: {
        reel_tensor_map *map = reel_tensor_map_new();
        reel_state_dict(net, map);
        assert_int_equal(reel_tensor_map_count(map), LAYERS);
        assert_int_equal(reel_load_state_dict(net, map, NULL), REEL_OK);
        reel_tensor_map_free(map);
    }
    }
}

static void test_random_ties(void **state)
{
    (void)state;
    int group[LAYERS], fresh = LAYERS;
    reel_module *net = reel_nn_sequential(layer_new(), layer_new(), layer_new(),
                                          layer_new(), layer_new(), layer_new());
    for (int i = 0; i < LAYERS; i++) group[i] = i;
    for (int round = 0; round < ROUNDS; round++) {
        reel_scope s = reel_scope_begin();
        do_something(net, group, &fresh);
        assert_ok();
        check_groups(net, group);
        reel_scope_end(s);
    }
    reel_module_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_trains_as_pytorch),   TEST(test_step_as_graph),
        TEST(test_stays_tied),          TEST(test_ema_swaps),
        TEST(test_state_dict_has_both), TEST(test_saved_once),
        TEST(test_checkpoint_goes_on),  TEST(test_graph_has_it_once),
        TEST(test_exported_once),       TEST(test_tie_errors),
        TEST(test_random_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
