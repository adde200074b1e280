/* test_traced_step.c: a training step that becomes a graph trains as the function does: bit by
 * bit with exact passes, closely with all of them. */
#include <reel/reel.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 100, BATCH = 8, LAST_BATCH = 5, SIDE = 16 };

/* ---- two models and how they are trained ----------------------------------------------------- */

typedef struct trainer {
    reel_module *net;
    reel_optim *optim;
    bool clips;
} trainer;

/* The last batch norm of each block begins small: then the network is near to the identity, and
 * a rounding error does not grow tenfold from step to step. */
static reel_status tame(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)user;
    size_t n = strlen(path);
    if (is_param && n > 10 && strcmp(path + n - 10, "bn2.weight") == 0)
        (void)reel_fill_(t, 0.25);
    return reel_error_status();
}

static trainer resnet(void)
{
    reel_seed(5);
    trainer t = {.net = reel_resnet20(NULL)};
    bool was = reel_set_grad_enabled(false);
    assert_int_equal(reel_tensor_each(t.net, tame, NULL), REEL_OK);
    (void)reel_set_grad_enabled(was);
    t.optim = reel_sgd(reel_parameters(t.net), &(reel_sgd_opts){.lr = 0.005,
                                                                .momentum = 0.9,
                                                                .weight_decay = 5e-4,
                                                                .nesterov = true});
    return t;
}

static trainer transformer(void)
{
    reel_seed(6);
    trainer t = {.net = reel_vit_tiny(&(reel_vit_opts){.image = SIDE,
                                                       .patch = 4,
                                                       .dim = 32,
                                                       .depth = 2,
                                                       .heads = 2,
                                                       .dropout = 0.1}),
                 .clips = true};
    t.optim = reel_adamw(reel_parameters(t.net),
                         &(reel_adam_opts){.lr = 1e-3, .weight_decay = 0.05});
    return t;
}

static void trainer_free(trainer t)
{
    reel_optim_free(t.optim);
    reel_module_free(t.net);
}

/* x: images [n, 3, SIDE, SIDE], labels [n] -> y: loss, and the norm of the gradients if clipped */
static reel_status train(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                         int n_y)
{
    trainer *t = user;
    (void)n_x;
    (void)n_y;
    y[0] = reel_cross_entropy(reel_forward(t->net, x[0]), x[1], NULL);
    reel_backward(y[0], NULL);
    if (t->clips) y[1] = reel_clip_grad_norm_tensor(reel_parameters(t->net), 1);
    reel_optim_step(t->optim);
    reel_optim_zero_grad(t->optim);
    return reel_error_status();
}

/* ---- a run ------------------------------------------------------------------------------------- */

/* Every tenth batch is smaller, as the last of an epoch is; images are channels last. */
static void batch_of(int step, reel_tensor *x[2])
{
    int64_t n = step % 10 == 9 ? LAST_BATCH : BATCH;
    reel_seed(1000 + (uint64_t)step);
    x[0] = reel_to_format(reel_randn(REEL_SHAPE(n, 3, SIDE, SIDE), REEL_F32),
                          REEL_CHANNELS_LAST);
    x[1] = reel_randint(0, 10, REEL_SHAPE(n), REEL_I64);
}

/* Trains, as a graph if `step` is there; the learning rate falls halfway. */
static void run(trainer *t, reel_compiled *step, int steps, double *loss)
{
    reel_rng_state rng = {.seed = 17};
    for (int i = 0; i < steps; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x[2], *y[2] = {NULL, NULL};
        batch_of(i, x);
        reel_rng_set(rng);
        if (i == STEPS / 2) reel_optim_set_lr(t->optim, 0, 2e-3);
        reel_status st =
            step ? reel_compiled_run(step, x, 2, y, 1 + t->clips) : train(t, x, 2, y, 2);
        if (st) fail_msg("step %d: %s", i, reel_error_message());
        loss[i] = reel_item(y[0]) + (t->clips ? reel_item(y[1]) : 0);
        rng = reel_rng_get();
        assert_true(step == NULL || i < 2 || i == 9 || reel_compiled_graph(step) != NULL);
        reel_scope_end(s);
    }
}

/* reel_tensor_each(): the tensor of the same name in module `other` has the same bits. */
static reel_status same_bits(void *other, const char *path, reel_tensor *t, bool is_param)
{
    reel_tensor *u = reel_module_find(other, path);
    (void)is_param;
    assert_non_null(u);
    size_t bytes = (size_t)reel_numel(t) * reel_dtype_size(reel_dtype_of(t));
    if (memcmp(reel_data(t), reel_data(u), bytes) != 0)
        fail_msg("%s has other bits", path);
    return REEL_OK;
}

/* ---- as eager ------------------------------------------------------------------------------------ */

/* Trains t as a graph, and says how far the losses are from `want` at most, relatively. */
static double train_as_graph(trainer *t, bool exact, const double *want)
{
    double loss[STEPS], worst = 0;
    reel_compiled *step =
        reel_compile(train, t, &(reel_compile_opts){.module = t->net, .exact = exact});
    run(t, step, STEPS, loss);
    for (int i = 0; i < STEPS; i++) {
        assert_true(isfinite(loss[i]));
        worst = fmax(worst, fabs(loss[i] - want[i]) / fabs(want[i]));
    }
    reel_compiled_free(step);
    return worst;
}

static void as_eager(trainer (*make)(void))
{
    int64_t live = reel_live_objects();
    trainer eager = make(), exact = make(), all = make();
    double want[STEPS];
    run(&eager, NULL, STEPS, want);
    assert_true(train_as_graph(&exact, true, want) == 0);
    assert_int_equal(reel_tensor_each(eager.net, same_bits, exact.net), REEL_OK);
    double off = train_as_graph(&all, false, want);
    print_message("all passes: at most %.1e apart in %d steps\n", off, STEPS);
    assert_true(off <= 1e-5);
    trainer_free(eager);
    trainer_free(exact);
    trainer_free(all);
    assert_int_equal(reel_live_objects(), live);
}

static void test_resnet(void **state)
{
    (void)state;
    as_eager(resnet);
}

static void test_transformer(void **state)
{
    (void)state;
    as_eager(transformer);
}

/* ---- the passes alone ------------------------------------------------------------------------------ */

/* x -> neg(x * w), w becoming w - lr x w' g: a step that nothing but its order keeps right. */
static reel_tensor *updates(reel_tensor *x, reel_tensor *w, reel_tensor *lr)
{
    reel_tensor *g = reel_mul(x, x), *y = reel_exp(x);
    y = reel_mul(y, w);
    y = reel_neg(reel_sqrt(y));
    reel_sgd_step(w, g, NULL, lr, NULL);
    return reel_mul(y, w);
}

static void test_early_keeps_the_order(void **state)
{
    (void)state;
    static const char *const want[] = {"mul",  "exp", "mul", "sgd_step",
                                       "sqrt", "neg", "mul"};
    bool was = reel_set_grad_enabled(false);
    reel_tensor *x = reel_full(REEL_SHAPE(3), 1.5, REEL_F32),
                *w = reel_full(REEL_SHAPE(3), 2, REEL_F32),
                *lr = reel_scalar(0.25, REEL_F64), *y = NULL;
    assert_int_equal(reel_capture_begin(), REEL_OK);
    reel_capture_input(x, "x");
    reel_capture_state(w, "w", true);
    y = updates(x, w, lr);
    reel_graph *g = reel_capture_end(&y, 1, NULL);
    assert_int_equal(reel_graph_optimize(g, &(reel_optimize_opts){.only = "early"}),
                     REEL_OK);
    assert_int_equal(reel_graph_nodes(g), 7);
    for (int i = 0; i < 7; i++) assert_string_equal(reel_graph_node_op(g, i), want[i]);
    reel_tensor *twin = reel_copy(w), *z = NULL;
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    z = updates(x, twin, lr);
    for (int i = 0; i < 3; i++) {
        assert_true(((float *)reel_data(y))[i] == ((float *)reel_data(z))[i]);
        assert_true(((float *)reel_data(w))[i] == ((float *)reel_data(twin))[i]);
    }
    reel_graph_free(g);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(0);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* Bytes of the arena, and nodes, of a step without the passes `skip`. */
static int64_t arena_without(const char *skip, int *nodes)
{
    trainer t = resnet();
    double loss[3];
    reel_plan_memory memory;
    reel_compiled *step =
        reel_compile(train, &t, &(reel_compile_opts){.module = t.net, .skip = skip});
    run(&t, step, 3, loss);
    assert_int_equal(reel_executor_memory(reel_compiled_executor(step), &memory),
                     REEL_OK);
    *nodes = reel_graph_nodes(reel_compiled_graph(step));
    assert_true(memory.arena <= memory.lower_bound * 11 / 10);
    reel_compiled_free(step);
    trainer_free(t);
    return memory.arena;
}

static void test_less_memory(void **state)
{
    (void)state;
    int plain_nodes, early_nodes, nodes;
    int64_t plain = arena_without("early,recompute", &plain_nodes);
    int64_t early = arena_without("recompute", &early_nodes);
    int64_t all = arena_without(NULL, &nodes);
    print_message("arena: %d bytes, early %d, and recompute %d\n", (int)plain, (int)early,
                  (int)all);
    assert_int_equal(early_nodes, plain_nodes);
    assert_true(early < plain);
    assert_true(nodes > early_nodes);
    assert_true(all * 10 < early * 8);
}

/* ---- what a step can do wrong -------------------------------------------------------------------- */

/* What it logs decides nothing, but nobody can know. */
static reel_status train_and_look(void *user, reel_tensor *const x[], int n_x,
                                  reel_tensor *y[], int n_y)
{
    reel_status st = train(user, x, n_x, y, n_y);
    return reel_item(y[0]) >= 0 ? st : REEL_ERR_INTERNAL;
}

static void test_reading_a_value(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    trainer t = transformer();
    reel_compiled *step =
        reel_compile(train_and_look, &t, &(reel_compile_opts){.module = t.net});
    for (int i = 0; i < 3; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x[2], *y[2] = {NULL, NULL};
        batch_of(0, x);
        reel_status st = reel_compiled_run(step, x, 2, y, 2);
        assert_int_equal(st, i == 0 ? REEL_OK : REEL_ERR_STATE);
        if (i && !strstr(reel_error_message(), "return what you want to read"))
            fail_msg("%s", reel_error_message());
        assert_null(reel_compiled_graph(step));
        reel_error_clear();
        reel_scope_end(s);
    }
    reel_compiled_free(step);
    trainer_free(t);
    assert_int_equal(reel_live_objects(), live);
}

/* A fifth shape runs without a graph, and says so. */
static void test_many_shapes(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    trainer eager = transformer(), traced = transformer();
    reel_compiled *step = reel_compile(
        train, &traced, &(reel_compile_opts){.module = traced.net, .exact = true});
    for (int round = 0; round < 3; round++)
        for (int n = 1; n <= 5; n++) {
            reel_scope s = reel_scope_begin();
            reel_tensor *y[2], *z[2];
            reel_tensor *x[] = {reel_randn(REEL_SHAPE(n, 3, SIDE, SIDE), REEL_F32),
                                reel_randint(0, 10, REEL_SHAPE(n), REEL_I64)};
            reel_rng_state rng = reel_rng_get();
            assert_int_equal(reel_compiled_run(step, x, 2, y, 2), REEL_OK);
            reel_rng_set(rng);
            assert_int_equal(train(&eager, x, 2, z, 2), REEL_OK);
            assert_true(reel_item(y[0]) == reel_item(z[0]));
            assert_true(reel_item(y[1]) == reel_item(z[1]));
            /* 1 warms up, 2 to 5 are captured: no room is left for 1 */
            bool graph = round > 0 && n >= 2;
            assert_int_equal(reel_compiled_graph(step) != NULL, graph);
            assert_int_equal(reel_compiled_executor(step) != NULL, graph);
            reel_scope_end(s);
        }
    reel_compiled_free(step);
    trainer_free(eager);
    trainer_free(traced);
    assert_int_equal(reel_live_objects(), live);
}

/* Another mode of the module is another graph: no dropout in evaluation. */
static void test_modes(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    trainer eager = transformer(), traced = transformer();
    reel_compiled *step = reel_compile(
        train, &traced, &(reel_compile_opts){.module = traced.net, .exact = true});
    for (int i = 0; i < 9; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x[2], *y[2], *z[2];
        batch_of(i, x);
        reel_train(eager.net, i % 3 == 0);
        reel_train(traced.net, i % 3 == 0);
        reel_rng_state rng = reel_rng_get();
        assert_int_equal(reel_compiled_run(step, x, 2, y, 2), REEL_OK);
        reel_rng_set(rng);
        assert_int_equal(train(&eager, x, 2, z, 2), REEL_OK);
        assert_true(reel_item(y[0]) == reel_item(z[0]));
        reel_scope_end(s);
    }
    assert_non_null(reel_compiled_graph(step));
    reel_compiled_free(step);
    trainer_free(eager);
    trainer_free(traced);
    assert_int_equal(reel_live_objects(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resnet),
        cmocka_unit_test(test_transformer),
        cmocka_unit_test(test_early_keeps_the_order),
        cmocka_unit_test(test_less_memory),
        cmocka_unit_test(test_reading_a_value),
        cmocka_unit_test(test_many_shapes),
        cmocka_unit_test(test_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
