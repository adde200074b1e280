/* test_pass_models.c: whole models after each pass alone, after the exact ones and after all:
 * values at several batch sizes, gradients; and a training step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <reel/reel.h>

#include "graph_check.h"
#include "support/small_trainer.h"
#include "trace/passes/pass.h"

static const reel__pass *const *the_passes(void)
{
#define PASS(name) &reel__pass_##name,
    static const reel__pass *const pass[] = {
#include "trace/passes/passes.def"
    };
#undef PASS
    return pass;
}

static reel_status optimize(reel_graph *g, const reel_optimize_opts *opts)
{
    return reel__optimize(g, opts, the_passes(), reel_pass_count(), true);
}

static float *values(reel_tensor *x)
{
    float *v = malloc((size_t)reel_numel(x) * sizeof *v + 1);
    assert_int_equal(reel_read(x, v, REEL_F32), REEL_OK);
    return v;
}

/* Relative to the largest element; 0: every bit. */
static void same(const char *what, const char *passes, reel_tensor *want,
                 reel_tensor *have, double tolerance)
{
    no_error();
    assert_int_equal(reel_numel(want), reel_numel(have));
    float *a = values(want), *b = values(have);
    size_t n = (size_t)reel_numel(want);
    double largest = 0, off = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)a[i]));
        off = fmax(off, fabs((double)a[i] - b[i]));
    }
    bool good = tolerance == 0 ? memcmp(a, b, n * sizeof *a) == 0
                               : off <= tolerance * (1 + largest);
    free(a);
    free(b);
    if (!good) fail_msg("%s after %s: off by %g of %g", what, passes, off, largest);
}

/* ---- models ------------------------------------------------------------------------------- */

static reel_module *resnet20(void)
{
    return reel_resnet20(&(reel_resnet_opts){.classes = 10});
}

static reel_module *mobilenet(void)
{
    return reel_mobilenet_v2(
        &(reel_mobilenet_opts){.classes = 10, .width = 0.1, .cifar_stem = true});
}

/* The kinds of ResNet-18, narrow: strides of two, a large stem, max pooling. */
static reel_module *small_resnet18(void)
{
    return reel_nn_sequential(
        reel_nn_conv2d(
            3, 8, 7,
            &(reel_nn_conv2d_opts){.conv = {.stride = 2, .padding = 3}, .no_bias = true}),
        reel_nn_batch_norm2d(8, NULL), reel_nn_relu(),
        reel_nn_max_pool2d(3, &(reel_pool2d_opts){.stride = 2, .padding = 1}),
        reel_nn_conv2d(8, 16, 3,
                       &(reel_nn_conv2d_opts){.conv = {.stride = 2, .padding = 1}}),
        reel_nn_batch_norm2d(16, NULL), reel_nn_activation(REEL_ACT_SILU),
        reel_nn_batch_norm2d(16, NULL), reel_nn_relu(), /* no convolution before it */
        reel_nn_conv2d(16, 16, 3,
                       &(reel_nn_conv2d_opts){.conv = {.padding = 1, .groups = 16}}),
        reel_nn_batch_norm2d(16, NULL), reel_nn_activation(REEL_ACT_HARDSWISH),
        reel_nn_flatten(1, -1), reel_nn_linear(16 * 4 * 4, 10, NULL));
}

static reel_module *vit(void)
{
    return reel_vit_tiny(&(reel_vit_opts){.dim = 32, .depth = 2, .heads = 2});
}

static reel_module *mlp(void)
{
    return reel_nn_sequential(reel_nn_flatten(1, -1), reel_nn_linear(3072, 32, NULL),
                              reel_nn_gelu(), reel_nn_linear(32, 32, NULL),
                              reel_nn_activation(REEL_ACT_LEAKY_RELU),
                              reel_nn_linear(32, 10, NULL));
}

typedef struct model {
    const char *name;
    reel_module *(*make)(void);
    int nodes;         /* at most so many after all passes */
    const char *alone; /* passes that are also tried alone; NULL: each */
} model;

static const model models[] = {
    {"resnet20", resnet20, 25, "fold_batch_norm fuse_conv"},
    {"mobilenet_v2", mobilenet, 56, "fold_batch_norm fuse_conv"},
    {"small resnet18", small_resnet18, 9, NULL},
    {"vit", vit, 62, "reshape fuse_linear fuse_pointwise"},
    {"mlp", mlp, 4, NULL}};
enum { N_MODELS = (int)(sizeof models / sizeof *models), BATCHES = 3, MOST = 255 };

static reel_tensor *images(int64_t n, reel_dtype dtype)
{
    return reel_randn(REEL_SHAPE(n, 3, 32, 32), dtype);
}

/* Some batches in training, so that statistics are not those of the beginning. */
static reel_module *trained(const model *m)
{
    reel_seed(21);
    reel_module *net = m->make();
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; i < 3; i++) reel_forward(net, images(8, REEL_F32));
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    reel_train(net, false);
    return net;
}

/* Nodes that run each time: the others compute weights, once. */
static int nodes_as_run(const reel_graph *g)
{
    reel_graph *r = reel__graph_as_run(g);
    int n = reel_graph_nodes(r);
    reel_graph_free(r);
    return n;
}

/* What a model gives, found once; graphs are copies of one. */
typedef struct subject {
    const model *m;
    reel_module *net;
    reel_graph *traced;
    reel_tensor *in[1 + MOST], *gradient[1 + MOST]; /* an image and parameters, in f64 */
    int n_in;
    reel_tensor *batch[BATCHES], *result[BATCHES]; /* in f32 */
} subject;

static reel_graph *optimized(const subject *s, const reel_optimize_opts *o)
{
    reel_graph *g = reel_graph_copy(s->traced);
    no_error();
    (void)optimize(g, o);
    no_error();
    return g;
}

static void compare_gradients(const subject *s, const char *passes,
                              const reel_optimize_opts *o)
{
    reel_tensor *in[1 + MOST], *have[1 + MOST], *z;
    const reel_backward_opts any = {.allow_unused = true};
    reel_graph *g = optimized(s, o);
    memcpy(in, s->in, sizeof in);
    assert_int_equal(reel_graph_run(g, in, 1, &z, 1), REEL_OK);
    z = reel_sum(reel_square(z), REEL_ALL, false);
    assert_int_equal(reel_grad(&z, 1, NULL, in, s->n_in, have, &any), REEL_OK);
    for (int i = 0; i < s->n_in; i++) {
        assert_true((s->gradient[i] != NULL) == (have[i] != NULL));
        if (have[i]) same(s->m->name, passes, s->gradient[i], have[i], 1e-6);
    }
    reel_graph_free(g);
}

static void compare_values(const subject *s, const char *passes,
                           const reel_optimize_opts *o)
{
    reel_graph *g = optimized(s, o);
    if (!o->only && !o->exact && nodes_as_run(g) > s->m->nodes)
        fail_msg("%s: %d nodes are left", s->m->name, nodes_as_run(g));
    for (int i = 0; i < (o->only ? 2 : BATCHES); i++) {
        reel_tensor *x = s->batch[i], *z;
        assert_int_equal(reel_graph_run(g, &x, 1, &z, 1), REEL_OK);
        same(s->m->name, passes, s->result[i], z, o->exact ? 0 : 1e-5);
    }
    assert_int_equal(reel_graph_set_batch(g, 9), REEL_OK);
    assert_int_equal(reel_graph_check(g), REEL_OK);
    reel_graph_free(g);
}

/* After each pass, after all of them and after the exact ones. */
static void after_passes(const subject *s,
                         void (*compare)(const subject *s, const char *passes,
                                         const reel_optimize_opts *o))
{
    for (int p = 0; p < reel_pass_count() + 2; p++) {
        const reel__pass *pass = p < reel_pass_count() ? the_passes()[p] : NULL;
        if (pass && s->m->alone && !strstr(s->m->alone, pass->name)) continue;
        reel_scope scope = reel_scope_begin();
        if (pass)
            compare(s, pass->name,
                    &(reel_optimize_opts){.only = pass->name, .exact = pass->exact});
        else if (p == reel_pass_count())
            compare(s, "all passes", &(reel_optimize_opts){0});
        else
            compare(s, "the exact passes", &(reel_optimize_opts){.exact = true});
        reel_scope_end(scope);
    }
}

static void check_values(subject *s)
{
    static const int64_t batch[BATCHES] = {1, 7, 64};
    bool was = reel_set_grad_enabled(false);
    s->traced = reel_trace(s->net, images(4, REEL_F32), NULL);
    no_error();
    for (int i = 0; i < BATCHES; i++) {
        s->batch[i] = images(batch[i], REEL_F32);
        s->result[i] = reel_forward(s->net, s->batch[i]);
    }
    after_passes(s, compare_values);
    (void)reel_set_grad_enabled(was);
    reel_graph_free(s->traced);
}

/* The gradients of the input and of every parameter. In f64: there no rounding moves an
 * activation across the kink of a relu. */
static void check_gradients(subject *s)
{
    const reel_backward_opts any = {.allow_unused = true};
    assert_int_equal(reel_module_cast(s->net, REEL_F64), REEL_OK);
    reel_params p = reel_parameters(s->net);
    assert_true(p.n <= MOST);
    s->n_in = 1 + p.n;
    reel_tensor *x = s->in[0] = reel_requires_grad(images(1, REEL_F64), true);
    for (int i = 0; i < p.n; i++) s->in[i + 1] = p.tensor[i];
    /* compared in f32, where it takes a tenth of the time */
    s->traced = reel_trace(s->net, x, &(reel_trace_opts){.unchecked = true});
    no_error();
    reel_tensor *y = reel_sum(reel_square(reel_forward(s->net, x)), REEL_ALL, false);
    assert_int_equal(reel_grad(&y, 1, NULL, s->in, s->n_in, s->gradient, &any), REEL_OK);
    after_passes(s, compare_gradients);
    reel_graph_free(s->traced);
}

static void test_models(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        subject s = {.m = &models[i], .net = trained(&models[i])};
        check_values(&s);
        check_gradients(&s);
        reel_module_free(s.net);
        reel_scope_end(0);
    }
}

/* The weights that batch norm was folded into have the old names where they are written, once
 * each. */
static void test_folded_names(void **state)
{
    (void)state;
    reel_module *net = trained(&models[0]);
    reel_graph *g = reel_trace(net, images(2, REEL_F32), NULL);
    assert_int_equal(optimize(g, NULL), REEL_OK);
    reel_graph *whole = g;
    g = reel__graph_as_run(whole);
    no_error();
    int found = 0;
    for (int v = 0; v < g->n_value; v++) {
        const char *name = g->value[v].name;
        if (!name) continue;
        found += strcmp(name, "layer1.0.conv1.weight") == 0;
        found += strcmp(name, "layer1.0.conv1.bias") == 0;
        assert_null(strstr(name, "bn1"));
        for (int u = 0; u < v; u++)
            if (g->value[u].name) assert_string_not_equal(name, g->value[u].name);
    }
    assert_int_equal(found, 2);
    reel_graph_free(g);
    reel_graph_free(whole);
    reel_module_free(net);
    reel_scope_end(0);
}

/* ---- where batch norm can go -------------------------------------------------------------- */

enum { CONV, SECOND, NORM, LINEAR, LAYERS };

static reel_module *layer[LAYERS];

static reel_status declare_layers(void *user)
{
    static const char *const name[] = {"conv.weight", "second.weight", "norm.weight",
                                       "linear.weight"};
    (void)user;
    for (int i = 0; i < 4; i++)
        reel_capture_state(reel_module_find(layer[i], "weight"), name[i], true);
    return reel_error_status();
}

#define F(name, ...)                                                                     \
    static reel_tensor *name(void *user, reel_tensor *const x[], int n)                  \
    {                                                                                    \
        (void)user;                                                                      \
        (void)n;                                                                         \
        return __VA_ARGS__;                                                              \
    }
#define DO(i, x) reel_forward(layer[i], (x))
#define BN(x, residual, relu)                                                            \
    reel_nn_batch_norm2d_forward(layer[NORM], (x), (residual), (relu))

F(after_conv, BN(DO(CONV, x[0]), NULL, false))
F(with_residual, BN(DO(CONV, x[0]), DO(SECOND, x[0]), true))
F(after_pool, BN(reel_narrow(DO(CONV, x[0]), 2, 1, 1), NULL, true))
#define OF_NORM(name) reel_module_find(layer[NORM], name)
F(after_linear,
  reel_batch_norm(DO(LINEAR, reel_flatten(x[0], 1, -1)), OF_NORM("weight"), NULL,
                  OF_NORM("running_mean"), OF_NORM("running_var"), NULL, NULL))

/* The convolution's result is read by another: its weight must stay. */
static reel_tensor *conv_read_twice(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *y = DO(CONV, x[0]), *z = BN(y, NULL, false);
    return reel_add(z, reel_sigmoid(y));
}

/* One weight of two convolutions: the new one has a name of its own. */
static reel_tensor *tied(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *y = BN(DO(CONV, x[0]), NULL, false);
    return reel_sub(y, DO(CONV, reel_relu(x[0])));
}

typedef struct bn_case {
    const char *name;
    reel_function fn;
    const char *nodes, *weight;
} bn_case;

static const bn_case bn_cases[] = {
    {"after_conv", after_conv, "copy conv2d", "conv.weight"},
    {"with_residual", with_residual, "copy conv2d conv2d add relu", "conv.weight"},
    {"after_pool", after_pool, "copy conv2d slice mul add relu", "norm.weight"},
    {"after_linear", after_linear, "reshape linear", "linear.weight"},
    {"conv_read_twice", conv_read_twice, "copy conv2d mul add sigmoid add",
     "norm.weight"},
    {"tied", tied, "copy conv2d relu copy conv2d sub", "conv.weight.folded1"},
};

static void node_names(const reel_graph *g, char *buf, size_t size)
{
    buf[0] = '\0';
    for (int i = 0; i < g->n_node; i++) {
        size_t at = strlen(buf);
        (void)snprintf(buf + at, size - at, "%s%s", i ? " " : "", g->node[i].op->name);
    }
}

static void fold_one(const bn_case *c)
{
    char names[256];
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3, 4, 4), REEL_F32), *y, *z;
    reel_graph *g = reel_trace_function(c->fn, NULL, &x, 1,
                                        &(reel_trace_opts){.declare = declare_layers});
    no_error();
    assert_int_equal(
        optimize(g, &(reel_optimize_opts){.only = "cse,dce,fold_batch_norm"}), REEL_OK);
    reel_graph *r = reel__graph_as_run(g);
    no_error();
    node_names(r, names, sizeof names);
    if (strcmp(names, c->nodes) != 0)
        fail_msg("%s: \"%s\", expected \"%s\"", c->name, names, c->nodes);
    bool found = false;
    for (int v = 0; v < r->n_value; v++)
        found = found || (r->value[v].name && r->value[v].kind == REEL_VALUE_PARAM &&
                          strcmp(r->value[v].name, c->weight) == 0);
    reel_graph_free(r);
    if (!found) fail_msg("%s: no parameter %s", c->name, c->weight);
    x = reel_randn(REEL_SHAPE(7, 3, 4, 4), REEL_F32);
    y = c->fn(NULL, &x, 1);
    assert_int_equal(reel_graph_run(g, &x, 1, &z, 1), REEL_OK);
    same(c->name, "fold_batch_norm", y, z, 1e-5);
    reel_graph_free(g);
}

static void test_batch_norm(void **state)
{
    (void)state;
    layer[CONV] = reel_nn_conv2d(3, 8, 3, NULL);
    layer[SECOND] = reel_nn_conv2d(3, 8, 3, &(reel_nn_conv2d_opts){.no_bias = true});
    layer[NORM] = reel_nn_batch_norm2d(8, NULL);
    layer[LINEAR] = reel_nn_linear(48, 8, NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(9, 3, 4, 4), REEL_F32);
    reel_init_uniform(reel_module_find(layer[NORM], "weight"), 0.5, 2);
    for (int i = 0; i < 4; i++) DO(NORM, reel_mul_scalar(DO(CONV, x), 3));
    reel_train(layer[NORM], false);
    for (size_t i = 0; i < sizeof bn_cases / sizeof *bn_cases; i++)
        fold_one(&bn_cases[i]);
    reel_train(layer[NORM], true); /* left alone */
    reel_graph *g = reel_trace_function(after_conv, NULL, &x, 1,
                                        &(reel_trace_opts){.declare = declare_layers});
    int nodes = reel_graph_nodes(g);
    assert_int_equal(optimize(g, &(reel_optimize_opts){.only = "fold_batch_norm"}),
                     REEL_OK);
    assert_int_equal(reel_graph_nodes(g), nodes);
    reel_graph_free(g);
    for (int i = 0; i < 4; i++) reel_module_free(layer[i]);
    reel_scope_end(0);
}

/* ---- a training step ------------------------------------------------------------------------ */

static small_trainer trainer_new(void)
{
    reel_seed(5);
    return small_trainer_new(
        reel_nn_sequential(reel_nn_conv2d(3, 8, 3, NULL), reel_nn_batch_norm2d(8, NULL),
                           reel_nn_gelu(), reel_nn_dropout(0.3), reel_nn_flatten(1, -1),
                           reel_nn_linear(8 * 6 * 6, 16, NULL),
                           reel_nn_activation(REEL_ACT_SILU),
                           reel_nn_linear(16, 4, NULL)),
        true);
}

enum { STEPS = 12 };

/* Losses of an eager run and of a run whose step, from the third on, is an optimized graph. */
static void train(const char *passes, const reel_optimize_opts *o)
{
    small_trainer eager = trainer_new(), traced = trainer_new();
    reel_tensor *x[STEPS], *y[STEPS], *loss[STEPS];
    small_trainer_data(STEPS, x, y);
    reel_rng_state rng = reel_rng_get();
    for (int i = 0; i < STEPS; i++) loss[i] = small_trainer_step(eager, x[i], y[i]);
    reel_rng_set(rng);
    (void)small_trainer_step(traced, x[0], y[0]);
    reel_tensor *l = NULL;
    reel_graph *g = small_trainer_capture(traced, x[1], y[1], &l);
    no_error();
    same_bits(loss[1], l);
    int before = reel_graph_nodes(g);
    no_error();
    (void)optimize(g, o);
    no_error();
    assert_true(reel_graph_nodes(g) < before);
    bool was = reel_set_grad_enabled(false);
    for (int i = 2; i < STEPS; i++) {
        reel_tensor *in[] = {x[i], y[i]}, *out;
        assert_int_equal(reel_graph_run(g, in, 2, &out, 1), REEL_OK);
        same("loss", passes, loss[i], out, o->exact ? 0 : 1e-5);
    }
    (void)reel_set_grad_enabled(was);
    static const char *const state[] = {"0.weight", "1.running_var", "7.bias"};
    for (int i = 0; i < 3; i++)
        same(state[i], passes, reel_module_find(eager.net, state[i]),
             reel_module_find(traced.net, state[i]), o->exact ? 0 : 1e-4);
    reel_graph_free(g);
    small_trainer_free(eager);
    small_trainer_free(traced);
    reel_scope_end(0);
}

static void test_training_step(void **state)
{
    (void)state;
    train("the exact passes", &(reel_optimize_opts){.exact = true});
    train("all passes", &(reel_optimize_opts){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_folded_names),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_training_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
