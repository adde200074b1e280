/* test_step.c: a step that became a graph does what its function would do now, whatever was set
 * between calls: each life here runs twice, with and without graphs, and must agree bit for
 * bit. tests/test_random_lives.c draws such lives. */
#include <reel/reel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph_check.h"

enum { CALLS = 12, CHANGE = 5 };

typedef struct life {
    reel_module *net;
    reel_params all;
    reel_optim *optim;
    reel_ema *ema;
    reel_schedule *schedule;
    reel_compiled *step;                  /* NULL: no graphs */
    bool clears_first, no_clear, no_step; /* how the function treats gradients */
} life;

/* x: numbers [n, 3, 6, 6], labels [n] -> the loss */
static reel_status train(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                         int n_y)
{
    life *l = user;
    (void)n_x;
    (void)n_y;
    if (l->clears_first) reel_zero_grad(l->net);
    y[0] = reel_cross_entropy(reel_forward(l->net, x[0]), x[1], NULL);
    reel_backward(y[0], NULL);
    if (!l->no_step) reel_optim_step(l->optim);
    if (!l->no_clear && !l->clears_first) reel_optim_zero_grad(l->optim);
    if (l->ema) reel_ema_update(l->ema);
    if (l->schedule) return reel_schedule_step(l->schedule);
    return REEL_OK;
}

static life life_new(void)
{
    reel_seed(1);
    life l = {.net = reel_nn_sequential(reel_nn_conv2d(3, 4, 3, NULL),
                                        reel_nn_batch_norm2d(4, NULL), reel_nn_relu(),
                                        reel_nn_dropout(0.25), reel_nn_flatten(1, -1),
                                        reel_nn_linear(64, 3, NULL))};
    l.all = reel_parameters(l.net);
    l.optim = reel_sgd(l.all, &(reel_sgd_opts){.lr = 0.1, .momentum = 0.9});
    no_error();
    return l;
}

static void life_free(life *l)
{
    reel_compiled_free(l->step);
    reel_schedule_free(l->schedule);
    reel_ema_free(l->ema);
    reel_optim_free(l->optim);
    reel_module_free(l->net);
}

typedef void (*change_fn)(life *l, int call);

static reel_status add_bits(void *user, const char *path, reel_tensor *t, bool is_param)
{
    double *sum = user;
    (void)path;
    (void)is_param;
    int64_t n = reel_numel(t);
    double *v = malloc((size_t)n * sizeof *v + 1);
    (void)reel_read(t, v, REEL_F64);
    for (int64_t i = 0; i < n; i++) *sum += v[i] * (double)(i % 7 + 1);
    free(v);
    return reel_error_status();
}

/* A number that differs when a parameter, a buffer or a gradient does. */
static double fingerprint(life *l)
{
    double sum = 0;
    assert_int_equal(reel_tensor_each(l->net, add_bits, &sum), REEL_OK);
    for (int i = 0; i < l->all.n; i++) {
        reel_tensor *g = reel_grad_of(l->all.tensor[i]);
        if (g) (void)add_bits(&sum, "", g, false);
        sum = sum * 1.25 + (g != NULL);
    }
    return sum;
}

typedef struct trace {
    double loss[CALLS], print[CALLS];
    int graphs; /* calls that ran as one */
} trace;

static void live(life *l, bool graphs, change_fn change, trace *t)
{
    if (graphs)
        l->step =
            reel_compile(train, l, &(reel_compile_opts){.module = l->net, .exact = true});
    t->graphs = 0;
    for (int i = 0; i < CALLS; i++) {
        reel_scope s = reel_scope_begin();
        reel_seed(100 + (uint64_t)i);
        reel_tensor *x[] = {reel_randn(REEL_SHAPE(6, 3, 6, 6), REEL_F32),
                            reel_randint(0, 3, REEL_SHAPE(6), REEL_I64)},
                    *y = NULL;
        change(l, i);
        no_error();
        reel_status st =
            graphs ? reel_compiled_run(l->step, x, 2, &y, 1) : train(l, x, 2, &y, 1);
        no_error();
        assert_int_equal(st, REEL_OK);
        t->graphs += graphs && reel_compiled_graph(l->step);
        t->loss[i] = reel_item(y);
        t->print[i] = fingerprint(l);
        reel_scope_end(s);
    }
}

typedef struct way {
    const char *name;
    change_fn change;
    void (*make)(life *l); /* what the life has besides; or NULL */
    int least;             /* so many calls run as a graph */
} way;

static void check(const way *w)
{
    int64_t before = reel_live_objects();
    trace t[2];
    for (int graphs = 0; graphs < 2; graphs++) {
        life l = life_new();
        if (w->make) w->make(&l);
        live(&l, graphs, w->change, &t[graphs]);
        life_free(&l);
    }
    for (int i = 0; i < CALLS; i++)
        if (t[0].loss[i] != t[1].loss[i] || t[0].print[i] != t[1].print[i])
            fail_msg(
                "%s: call %d: loss %.9g as a function, %.9g with graphs; state %.17g, "
                "%.17g",
                w->name, i, t[0].loss[i], t[1].loss[i], t[0].print[i], t[1].print[i]);
    if (t[1].graphs < w->least)
        fail_msg("%s: %d of %d calls ran as a graph, expected %d", w->name, t[1].graphs,
                 CALLS, w->least);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), before);
}

/* ---- what is changed between calls ------------------------------------------------------ */

static void nothing(life *l, int call)
{
    (void)l;
    (void)call;
}

static void freeze(life *l, int call)
{
    if (call == CHANGE) reel_freeze(reel_module_at(l->net, "0"), true);
    if (call == CHANGE + 4) reel_freeze(reel_module_at(l->net, "0"), false);
}

static void one_parameter(life *l, int call)
{
    if (call == CHANGE) reel_requires_grad(l->all.tensor[1], false);
}

static void statistics_stay(life *l, int call)
{
    if (call == CHANGE) reel_train(reel_module_at(l->net, "1"), false);
}

static void modes_in_turn(life *l, int call)
{
    reel_train(l->net, call % 2 == 0);
}

/* A field that anybody may set, without reel_train(). */
static void mode_by_hand(life *l, int call)
{
    reel_module_at(l->net, "3")->training = call < CHANGE;
}

static void add_group(life *l, int call)
{
    if (call != CHANGE) return;
    reel_params rest = {l->all.tensor + 4, l->all.name + 4, l->all.n - 4};
    assert_int_equal(
        reel_sgd_add(l->optim, rest, &(reel_sgd_opts){.lr = 0.05, .momentum = 0.5}),
        REEL_OK);
}

static void other_rate(life *l, int call)
{
    reel_optim_set_lr(l->optim, -1, 0.1 / (1 + call));
}

static reel_tensor *double_it(void *user, reel_module *m, reel_tensor *x, reel_tensor *y)
{
    (void)user;
    (void)m;
    (void)x;
    return reel_mul_scalar(y, 2);
}

static void hook(life *l, int call)
{
    if (call == CHANGE)
        reel_module_add_hook(reel_module_at(l->net, "0"),
                             &(reel_module_hook){.after = double_it});
}

static void clear_outside(life *l, int call)
{
    if (call % 3 == 0) reel_zero_grad(l->net);
}

static void step_outside(life *l, int call)
{
    if (!call) return;
    reel_optim_step(l->optim);
    reel_optim_zero_grad(l->optim);
}

/* ---- what a life has besides ------------------------------------------------------------ */

static void only_first(life *l)
{
    reel_params some = l->all;
    some.n = 4;
    reel_optim_free(l->optim);
    l->optim = reel_sgd(some, &(reel_sgd_opts){.lr = 0.1, .momentum = 0.9});
}

static void with_ema(life *l)
{
    l->ema = reel_ema_new(l->net, 0.99, NULL);
}

static void with_warm_ema(life *l)
{
    l->ema = reel_ema_new(l->net, 0.999, &(reel_ema_opts){.warmup = true});
}

static void accumulates(life *l)
{
    l->no_clear = true;
}

static void clears_first(life *l)
{
    l->clears_first = true;
}

static void gradients_only(life *l)
{
    l->no_step = l->no_clear = true;
}

static const way ways[] = {
    {"nothing", nothing, NULL, CALLS - 2},
    {"freeze, thaw", freeze, NULL, CALLS - 4},
    {"freeze one parameter", one_parameter, NULL, CALLS - 3},
    {"batch norm in eval", statistics_stay, NULL, CALLS - 3},
    {"train and eval in turn", modes_in_turn, NULL, CALLS - 4},
    {"mode set by hand", mode_by_hand, NULL, CALLS - 3},
    {"a group more", add_group, only_first, CALLS - 5},
    {"other rates", other_rate, NULL, CALLS - 2},
    {"a hook more", hook, NULL, CALLS - 3},
    {"average", nothing, with_ema, CALLS - 2},
    {"average that warms up", nothing, with_warm_ema, CALLS - 2},
    {"gradients add up", nothing, accumulates, CALLS - 3},
    {"gradients are cleared outside", clear_outside, accumulates, CALLS - 4},
    {"gradients are cleared first", nothing, clears_first, CALLS - 3},
    {"the optimizer steps outside", step_outside, gradients_only, CALLS - 2},
};

static void test_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) check(&ways[i]);
}

/* ---- train, eval, train, eval ------------------------------------------------------------ */

static reel_status look(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    (void)n_x;
    (void)n_y;
    y[0] = reel_forward(((life *)user)->net, x[0]);
    return reel_error_status();
}

/* The batch norm that is folded into the evaluation's weights is that of now. */
static void test_evaluation_follows(void **state)
{
    (void)state;
    life l = life_new();
    reel_compiled *eval = reel_compile(look, &l, &(reel_compile_opts){.module = l.net});
    for (int round = 0; round < 4; round++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x[] = {reel_randn(REEL_SHAPE(6, 3, 6, 6), REEL_F32),
                            reel_randint(0, 3, REEL_SHAPE(6), REEL_I64)};
        reel_tensor *y = NULL, *want;
        reel_train(l.net, true);
        for (int i = 0; i < 3; i++) assert_int_equal(train(&l, x, 2, &y, 1), REEL_OK);
        reel_train(l.net, false);
        bool was = reel_set_grad_enabled(false);
        for (int i = 0; i < 3; i++) {
            y = NULL;
            assert_int_equal(reel_compiled_run(eval, x, 1, &y, 1), REEL_OK);
        }
        want = reel_forward(l.net, x[0]);
        double off = reel_item(reel_max(reel_abs(reel_sub(y, want)), REEL_ALL, false));
        (void)reel_set_grad_enabled(was);
        assert_non_null(reel_compiled_graph(eval));
        if (!(off < 1e-4)) fail_msg("round %d: off by %g", round, off);
        reel_scope_end(s);
    }
    reel_compiled_free(eval);
    life_free(&l);
}

/* ---- what is refused --------------------------------------------------------------------- */

static void test_counters_in_c(void **state)
{
    (void)state;
    life l = life_new();
    l.schedule = reel_schedule_linear(l.optim, 10, 1, 0);
    l.step = reel_compile(train, &l, &(reel_compile_opts){.module = l.net});
    reel_tensor *x[] = {reel_randn(REEL_SHAPE(6, 3, 6, 6), REEL_F32),
                        reel_randint(0, 3, REEL_SHAPE(6), REEL_I64)},
                *y = NULL;
    assert_false(reel_capturing());
    assert_int_equal(reel_compiled_run(l.step, x, 2, &y, 1), REEL_OK);
    assert_int_equal(reel_compiled_run(l.step, x, 2, &y, 1), REEL_ERR_STATE);
    expect(REEL_ERR_STATE, "schedule_step: a step is being captured");
    assert_false(reel_capturing());
    life_free(&l);
    reel_scope_end(0);
}

/* 0: ones of its own, 1: fails without a word, 2: reads its input, 3: reads what was there */
typedef struct odd {
    int what, calls;
    reel_tensor *gate;
} odd;

static reel_status odd_step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                            int n_y)
{
    odd *o = user;
    (void)n_x;
    (void)n_y;
    o->calls++;
    double by = o->what == 2 ? reel_item(x[0]) : o->what == 3 ? reel_item(o->gate) : 2;
    if (o->what == 0) {
        reel_tensor *mine = reel_from((float[]){1}, REEL_SHAPE(1), REEL_F32);
        by = reel_item(mine) + 1; /* made here: it decides nothing that could change */
    }
    y[0] = reel_mul_scalar(x[0], by);
    return o->what == 1 && o->calls > 1 ? REEL_ERR_SHAPE : REEL_OK;
}

static void test_reads_and_status(void **state)
{
    (void)state;
    static const char *const word[] = {NULL, "returned status", "item of input input0",
                                       "item of f32[1], which was there before"};
    for (int what = 0; what < 4; what++) {
        odd o = {.what = what, .gate = reel_full(REEL_SHAPE(1), 2, REEL_F32)};
        reel_compiled *s = reel_compile(odd_step, &o, NULL);
        for (int i = 0; i < 3; i++) {
            reel_tensor *x = reel_full(REEL_SHAPE(1), i + 1, REEL_F32), *y = NULL;
            reel_status st = reel_compiled_run(s, &x, 1, &y, 1);
            if (i && word[what]) {
                assert_int_equal(st, what == 1 ? REEL_ERR_SHAPE : REEL_ERR_STATE);
                expect(st, word[what]);
                assert_null(reel_compiled_graph(s));
            } else {
                assert_int_equal(st, REEL_OK);
                assert_true(what == 2 || reel_item(y) == 2 * (i + 1));
            }
        }
        reel_compiled_free(s);
    }
    reel_scope_end(0);
}

/* A function whose settings change at each call runs, always, and is not captured for ever. */
static reel_status restless(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                            int n_y)
{
    life *l = user;
    (void)n_x;
    (void)n_y;
    reel_module *drop = reel_module_at(l->net, "3");
    y[0] = reel_forward(l->net, x[0]);
    drop->training = !drop->training;
    return REEL_OK;
}

static void test_restless(void **state)
{
    (void)state;
    life l = life_new();
    l.step = reel_compile(restless, &l, &(reel_compile_opts){.module = l.net});
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 3, 6, 6), REEL_F32), *y = NULL;
    for (int i = 0; i < 10; i++) {
        y = NULL;
        assert_int_equal(reel_compiled_run(l.step, &x, 1, &y, 1), REEL_OK);
        assert_non_null(y);
        assert_null(reel_compiled_graph(l.step));
    }
    life_free(&l);
    reel_scope_end(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),      cmocka_unit_test(test_evaluation_follows),
        cmocka_unit_test(test_counters_in_c), cmocka_unit_test(test_reads_and_status),
        cmocka_unit_test(test_restless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
