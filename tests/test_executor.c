/* test_executor.c: a planned graph gives the bits of reel_graph_run(), in one arena, without
 * allocations, from several threads, at any batch size. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <reel/reel.h>

#include "base/alloc.h"
#include "graph_check.h"
#include "support/small_trainer.h"
#include "trace/execute/executor.h"

/* The graph through apply() and through the executor. */
static void runs_alike(reel_graph *g, reel_executor *e, reel_tensor *const x[], int n)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *want[4] = {NULL}, *have[4] = {NULL}, *given[4] = {NULL};
    int n_y = reel_graph_outputs(g);
    assert_int_equal(reel_graph_run(g, x, n, want, n_y), REEL_OK);
    assert_int_equal(reel_executor_run(e, x, n, have, n_y), REEL_OK);
    for (int i = 0; i < n_y; i++) {
        same_bits(want[i], have[i]);
        given[i] = reel_ones_like(want[i]);
    }
    assert_int_equal(reel_executor_run_into(e, x, n, given, n_y), REEL_OK);
    for (int i = 0; i < n_y; i++) same_bits(want[i], given[i]);
    reel_scope_end(s);
}

static void sane_memory(const reel_executor *e)
{
    reel_plan_memory m;
    assert_int_equal(reel_executor_memory(e, &m), REEL_OK);
    assert_true(m.lower_bound > 0 && m.lower_bound <= m.arena);
    assert_true(m.arena <= m.values && m.n_values > 0 && m.state > 0);
    assert_int_equal(reel__plan_check(e->last->block, e->last->n_block, e->last->arena),
                     REEL_OK);
}

static reel_tensor *images(int64_t n)
{
    return reel_randn(REEL_SHAPE(n, 3, 32, 32), REEL_F32);
}

/* ---- models ------------------------------------------------------------------------------ */

static reel_module *resnet(void)
{
    return reel_resnet20(&(reel_resnet_opts){.classes = 10});
}

static reel_module *vit(void)
{
    return reel_vit_tiny(&(reel_vit_opts){.dim = 32, .depth = 2, .heads = 2});
}

static reel_module *mlp(void)
{
    return reel_nn_sequential(
        reel_nn_flatten(1, -1), reel_nn_linear(3 * 32 * 32, 32, NULL), reel_nn_gelu(),
        reel_nn_linear(32, 32, NULL), reel_nn_relu(), reel_nn_linear(32, 5, NULL));
}

static reel_graph *trace_of(reel_module *net, int64_t batch)
{
    reel_train(net, false);
    reel_graph *g = reel_trace(net, images(batch), NULL);
    no_error();
    return g;
}

/* As traced, and optimized, with poison and without. */
static void check_model(reel_module *net)
{
    reel_graph *g = trace_of(net, 3);
    bool was = reel_set_grad_enabled(false);
    for (int way = 0; way < 4; way++) {
        if (way == 2) assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
        reel_executor *e =
            reel_executor_new(g, &(reel_executor_opts){.poison = way % 2 == 1});
        no_error();
        for (int i = 0; i < 4; i++) {
            const int64_t batch[] = {1, 7, 64, 7};
            reel_tensor *x = images(batch[i]);
            runs_alike(g, e, &x, 1);
            sane_memory(e);
        }
        reel_executor_free(e);
    }
    (void)reel_set_grad_enabled(was);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static void test_models(void **state)
{
    (void)state;
    reel_seed(3);
    check_model(resnet());
    check_model(vit());
    check_model(mlp());
}

/* More sizes than plans are kept. */
static void test_many_sizes(void **state)
{
    (void)state;
    reel_module *net = mlp();
    reel_graph *g = trace_of(net, 2);
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.batch = 5});
    no_error();
    assert_int_equal(e->last->batch, 5);
    for (int i = 0; i < 20; i++) {
        reel_tensor *x = images(1 + (i * 7) % 9);
        runs_alike(g, e, &x, 1);
    }
    reel_executor_free(e);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

/* Two blocks that share memory while both are in use: the results tell, and so does the check
 * of the plan. */
static void test_planted_overlap(void **state)
{
    (void)state;
    reel_module *net = mlp();
    reel_graph *g = trace_of(net, 3);
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.poison = true});
    reel_tensor *x = images(3), *want = NULL, *y = NULL;
    reel_graph_run(g, &x, 1, &want, 1);
    assert_int_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
    same_bits(want, y);
    reel__plan *p = e->last;
    assert_true(p->n_block > 1);
    for (int s = 0; s < p->n_slot; s++)
        if (p->block_of[s] >= 0) p->place[s].offset = 0;
    for (int b = 0; b < p->n_block; b++) p->block[b].offset = 0;
    p->bound = NULL;
    assert_int_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
    assert_false(equal_bits(want, y));
    no_error();
    assert_int_equal(reel__plan_check(p->block, p->n_block, p->arena), REEL_ERR_INTERNAL);
    expect(REEL_ERR_INTERNAL, "overlap");
    reel_executor_free(e);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

/* ---- functions -------------------------------------------------------------------------------- */

/* A chain of pointwise operators takes one buffer, and none where the caller gives it. */
static reel_tensor *chain(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *y = reel_exp(x[0]);
    for (int i = 0; i < 5; i++) y = reel_tanh(reel_mul(y, y));
    return reel_sum(y, REEL_SHAPE(1), false);
}

static void test_chain_takes_one_buffer(void **state)
{
    (void)state;
    reel_tensor *x = reel_randn(REEL_SHAPE(6, 50), REEL_F32);
    reel_graph *g = reel_trace_function(chain, NULL, &x, 1, NULL);
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.poison = true});
    no_error();
    runs_alike(g, e, &x, 1);
    reel_plan_memory m;
    assert_int_equal(reel_executor_memory(e, &m), REEL_OK);
    assert_int_equal(m.arena, 1216); /* 6 * 50 floats, in steps of 64 bytes */
    assert_int_equal(m.lower_bound, m.arena);
    assert_int_equal(m.values, 11 * 1216);
    reel_executor_free(e);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* Views of values and of state, in place, in part, more than one result, transposed operands
 * of an operator that could otherwise write over them. */
static reel_tensor *tricks(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor *w = user;
    reel_tensor *a = reel_matmul(x[0], reel_t(w));           /* [4, 4] */
    reel_tensor *b = reel_add(a, reel_t(a));                 /* not over a */
    reel_tensor *c = reel_mul(b, reel_slice(b, 0, 1, 2, 1)); /* nor over b */
    reel_add_(c, reel_slice(c, 0, 0, 1, 1)); /* the first row is read whole */
    reel_mul_(reel_slice(c, 1, 0, 2, 1), reel_slice(c, 1, 2, 4, 1));
    reel_fill_(reel_slice(c, 0, 3, 4, 1), 0.25);
    reel_tensor *d = reel_reshape(reel_reshape(c, REEL_SHAPE(16)), REEL_SHAPE(4, 4));
    return reel_relu(reel_sub(d, reel_permute(c, REEL_SHAPE(1, 0))));
}

static void test_memory_that_is_shared(void **state)
{
    (void)state;
    reel_seed(11);
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 6), REEL_F32),
                *w = reel_randn(REEL_SHAPE(4, 6), REEL_F32);
    reel_graph *g =
        reel_trace_function(tricks, w, &x, 1, &(reel_trace_opts){.fixed_batch = true});
    no_error();
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.poison = true});
    no_error();
    runs_alike(g, e, &x, 1);
    /* inputs and outputs in other orders of memory */
    reel_tensor *turned = reel_t(reel_contiguous(reel_t(x))), *want = NULL;
    assert_false(reel_is_contiguous(turned));
    runs_alike(g, e, &turned, 1);
    reel_graph_run(g, &x, 1, &want, 1);
    reel_tensor *y = reel_t(reel_ones_like(want));
    assert_int_equal(reel_executor_run_into(e, &turned, 1, &y, 1), REEL_OK);
    same_bits(want, y);
    runs_alike(g, e, &x, 1);
    reel_executor_free(e);
    reel_graph_free(g);
    reel_scope_end(0);
}

static reel_tensor *writes_input(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_exp(reel_mul_(x[0], x[0]));
}

static void test_inputs_are_not_written(void **state)
{
    (void)state;
    reel_tensor *x = reel_full(REEL_SHAPE(3), 3, REEL_F32), *y = NULL;
    reel_graph *g = reel_trace_function(writes_input, NULL, &x, 1,
                                        &(reel_trace_opts){.fixed_batch = true});
    no_error();
    reel_executor *e = reel_executor_new(g, NULL);
    reel_fill_(x, 2);
    assert_int_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
    same_bits(x, reel_full(REEL_SHAPE(3), 2, REEL_F32));
    same_bits(y, reel_exp(reel_full(REEL_SHAPE(3), 4, REEL_F32)));
    reel_executor_free(e);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* Outputs that are inputs, state, parts of values, the same twice; a graph without nodes. */
static void test_odd_outputs(void **state)
{
    (void)state;
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3), REEL_F32),
                *w = reel_randn(REEL_SHAPE(3), REEL_F32);
    assert_int_equal(reel_capture_begin(), REEL_OK);
    reel_capture_input(x, "x");
    reel_capture_state(w, "w", true);
    reel_tensor *a = reel_mul(x, w), *b = reel_slice(a, 0, 1, 3, 1), *c = reel_t(a);
    reel_tensor *out[] = {x, w, b, a, a, c, reel_t(x)};
    reel_graph *g = reel_capture_end(out, 7, NULL);
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.poison = true});
    no_error();
    reel_tensor *want[7] = {NULL}, *have[7] = {NULL}, *again[7];
    assert_int_equal(reel_graph_run(g, &x, 1, want, 7), REEL_OK);
    assert_int_equal(reel_executor_run(e, &x, 1, have, 7), REEL_OK);
    for (int i = 0; i < 7; i++) {
        same_bits(want[i], have[i]);
        again[i] = reel_zeros_like(have[i]);
    }
    assert_ptr_not_equal(have[1], w);
    assert_int_equal(reel_executor_run_into(e, &x, 1, again, 7), REEL_OK);
    for (int i = 0; i < 7; i++) same_bits(want[i], again[i]);
    reel_executor_free(e);
    reel_graph_free(g);

    assert_int_equal(reel_capture_begin(), REEL_OK);
    reel_capture_input(x, "x");
    g = reel_capture_end(&x, 1, NULL);
    e = reel_executor_new(g, NULL);
    have[0] = NULL;
    assert_int_equal(reel_executor_run(e, &x, 1, have, 1), REEL_OK);
    same_bits(x, have[0]);
    reel_executor_free(e);
    reel_graph_free(g);

    assert_int_equal(reel_capture_begin(), REEL_OK);
    g = reel_capture_end(NULL, 0, NULL);
    e = reel_executor_new(g, NULL);
    assert_int_equal(reel_executor_run(e, NULL, 0, NULL, 0), REEL_OK);
    reel_executor_free(e);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- runs ----------------------------------------------------------------------------------------- */

static void test_no_allocation(void **state)
{
    (void)state;
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; i < 3; i++) {
        reel_module *net = i == 0 ? resnet() : i == 1 ? vit() : mlp();
        reel_graph *g = trace_of(net, 3);
        reel_executor *e = reel_executor_new(g, NULL);
        reel_tensor *x = images(5), *y = NULL;
        assert_int_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
        reel_executor_run_into(e, &x, 1, &y, 1);
        reel__fault_alloc(0, false);
        for (int k = 0; k < 3; k++)
            assert_int_equal(reel_executor_run_into(e, &x, 1, &y, 1), REEL_OK);
        assert_int_equal(reel__fault_alloc_count(), 0);
        reel_executor_free(e);
        reel_graph_free(g);
        reel_module_free(net);
        reel_scope_end(0);
    }
    (void)reel_set_grad_enabled(was);
}

typedef struct worker {
    reel_executor *e;
    reel_tensor *x[2], *y[2];
    int wrong;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    for (int k = 0; k < 12; k++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *y = NULL;
        if (reel_executor_run(w->e, &w->x[k % 2], 1, &y, 1) ||
            !equal_bits(y, w->y[k % 2]))
            w->wrong++;
        reel_scope_end(s);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    reel_module *net = resnet();
    reel_graph *g = trace_of(net, 2);
    worker w[THREADS];
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] =
            (worker){.e = i ? reel_executor_clone(w[0].e) : reel_executor_new(g, NULL)};
        for (int k = 0; k < 2; k++) {
            w[i].x[k] = images(1 + k * (i + 1));
            assert_int_equal(reel_graph_run(g, &w[i].x[k], 1, &w[i].y[k], 1), REEL_OK);
        }
    }
    no_error();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(w[i].wrong, 0);
    }
    for (int i = 0; i < THREADS; i++) reel_executor_free(w[i].e);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

/* What is prepared is prepared again, once for all executors of the graph. */
static void test_weights_change(void **state)
{
    (void)state;
    bool was = reel_set_grad_enabled(false);
    reel_module *net = resnet();
    reel_graph *g = trace_of(net, 2);
    reel_executor *e = reel_executor_new(g, NULL), *f = reel_executor_clone(e);
    reel_executor *plain = reel_executor_new(g, &(reel_executor_opts){.plain = true});
    reel_tensor *x = images(2);
    reel_plan_memory one, two;
    runs_alike(g, e, &x, 1);
    reel_executor_memory(e, &one);
    for (int k = 0; k < 3; k++) {
        reel_tensor *w =
            reel_module_find(net, k ? "conv1.weight" : "layer2.0.conv1.weight");
        reel_mul_(w, reel_scalar(1.25, REEL_F32));
        runs_alike(g, e, &x, 1);
        runs_alike(g, f, &x, 1);
        runs_alike(g, plain, &x, 1);
    }
    reel_executor_memory(e, &two);
    assert_int_equal(one.prepared, two.prepared);
    reel_executor_memory(plain, &two);
    assert_int_equal(two.prepared, 0);
    reel_executor_free(e);
    x = images(3);
    runs_alike(g, f, &x, 1);
    reel_executor_free(f);
    reel_executor_free(plain);
    (void)reel_set_grad_enabled(was);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

/* ---- a training step -------------------------------------------------------------------- */

enum { STEPS = 8 };

/* As in test_trace.c: an eager step, a captured one, then planned ones; the learning rate is
 * state, and read anew. */
static void train_alike(bool adam, bool poison)
{
    small_trainer eager = small_trainer_new(small_trainer_net(), adam);
    small_trainer traced = small_trainer_new(small_trainer_net(), adam);
    reel_tensor *x[STEPS], *y[STEPS], *loss[STEPS];
    small_trainer_data(STEPS, x, y);
    reel_rng_state rng = reel_rng_get();
    for (int i = 0; i < STEPS; i++) {
        if (i == 5) reel_optim_set_lr(eager.optim, 0, 0.003);
        loss[i] = small_trainer_step(eager, x[i], y[i]);
    }

    reel_rng_set(rng);
    same_bits(loss[0], small_trainer_step(traced, x[0], y[0]));
    reel_tensor *l = NULL;
    reel_graph *g = small_trainer_capture(traced, x[1], y[1], &l);
    no_error();
    same_bits(loss[1], l);
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.poison = poison});
    no_error();
    for (int i = 2; i < STEPS; i++) {
        reel_tensor *in[] = {x[i], y[i]}, *out = NULL;
        if (i == 5) reel_optim_set_lr(traced.optim, 0, 0.003);
        assert_int_equal(reel_executor_run(e, in, 2, &out, 1), REEL_OK);
        same_bits(loss[i], out);
    }
    sane_memory(e);
    same_bits(reel_module_find(eager.net, "0.weight"),
              reel_module_find(traced.net, "0.weight"));
    same_bits(reel_module_find(eager.net, "1.running_var"),
              reel_module_find(traced.net, "1.running_var"));
    reel_executor_free(e);
    reel_graph_free(g);
    small_trainer_free(eager);
    small_trainer_free(traced);
    reel_scope_end(0);
}

static void test_training_step(void **state)
{
    (void)state;
    train_alike(true, false);
    train_alike(true, true);
    train_alike(false, true);
}

/* ---- what can go wrong -------------------------------------------------------------------- */

static reel_tensor *looks_up(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_index_select(user, 0, x[0]);
}

static void test_errors(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    reel_module *net = mlp();
    reel_graph *g = trace_of(net, 2);
    reel_executor *e = reel_executor_new(g, NULL);
    reel_tensor *x = images(3), *y = NULL, *wrong = reel_ones(REEL_SHAPE(3, 4), REEL_F32);
    reel_tensor *two[2] = {x, x};
    assert_int_equal(reel_executor_run(e, &x, 1, two, 2), REEL_ERR_ARG);
    assert_true(!two[0] && !two[1]);
    expect(REEL_ERR_ARG, "executor_run: 1 inputs and 2 outputs");
    y = x; /* what stood there before is not looked at */
    reel_executor_run(e, &wrong, 1, &y, 1);
    assert_null(y);
    expect(REEL_ERR_SHAPE, "input0 is f32[3,4], the graph takes f32[batch,3,32,32]");
    reel_executor_run_into(e, &x, 1, &wrong, 1);
    expect(REEL_ERR_SHAPE, "output0 is given as f32[3,4], the graph gives f32[3,5]");
    y = reel_expand(reel_ones(REEL_SHAPE(3, 1), REEL_F32), REEL_SHAPE(3, 5));
    reel_executor_run_into(e, &x, 1, &y, 1);
    expect(REEL_ERR_ARG, "expanded");
    y = reel_reshape(reel_slice(reel_reshape(x, REEL_SHAPE(-1)), 0, 7, 22, 1),
                     REEL_SHAPE(3, 5));
    reel_executor_run_into(e, &x, 1, &y, 1);
    expect(REEL_ERR_ARG, "output output0 is given memory of input0");
    y = reel_reshape(
        reel_slice(reel_reshape(reel_module_find(net, "3.weight"), REEL_SHAPE(-1)), 0, 7,
                   22, 1),
        REEL_SHAPE(3, 5));
    reel_executor_run_into(e, &x, 1, &y, 1);
    expect(REEL_ERR_ARG, "memory of 3.weight");
    reel_capture_begin();
    reel_executor_run(e, &x, 1, &y, 1);
    expect(REEL_ERR_STATE, "capture");
    assert_null(y);
    reel_capture_cancel();
    reel_graph *fixed = reel_trace(net, x, &(reel_trace_opts){.fixed_batch = true});
    assert_null(reel_executor_new(fixed, &(reel_executor_opts){.batch = 2}));
    expect(REEL_ERR_ARG, "no batch dimension");
    reel_graph_free(fixed);
    reel_executor_free(e);
    reel_graph_free(g);
    reel_module_free(net);

    reel_tensor *table = reel_ones(REEL_SHAPE(3, 2), REEL_F32),
                *at = reel_zeros(REEL_SHAPE(2), REEL_I64), *out = NULL;
    g = reel_trace_function(looks_up, table, &at, 1, NULL);
    e = reel_executor_new(g, NULL);
    no_error();
    reel_fill_(at, 3);
    assert_int_not_equal(reel_executor_run(e, &at, 1, &out, 1), REEL_OK);
    assert_null(out);
    reel_error_clear();
    reel_fill_(at, 2); /* the executor is not spoiled */
    assert_int_equal(reel_executor_run(e, &at, 1, &out, 1), REEL_OK);
    reel_set_data(table, reel_ones(REEL_SHAPE(4, 2), REEL_F32));
    reel_executor_run(e, &at, 1, &out, 1);
    expect(REEL_ERR_STATE, "f32[4,2]");
    reel_executor_free(e);
    reel_graph_free(g);
    reel_executor_free(NULL);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), live);
}

static void test_no_memory(void **state)
{
    (void)state;
    reel_module *net = mlp();
    reel_graph *g = trace_of(net, 2);
    reel_tensor *x = images(3), *want = NULL;
    reel_graph_run(g, &x, 1, &want, 1);
    for (int forever = 0; forever < 2; forever++)
        for (int64_t k = 1;; k++) {
            reel_scope s = reel_scope_begin();
            int64_t live = reel_live_objects();
            reel_tensor *y = NULL;
            reel__fault_alloc(k, forever);
            reel_executor *e = reel_executor_new(g, NULL);
            if (e) reel_executor_run(e, &x, 1, &y, 1);
            bool hit = reel__fault_alloc_count() >= k;
            reel__fault_alloc(0, false);
            assert_true(!hit || reel_error_status() == REEL_ERR_MEMORY);
            assert_true(!hit || !y);
            reel_error_clear();
            y = NULL;
            if (e) {
                assert_int_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
                same_bits(want, y);
            }
            reel_executor_free(e);
            reel_scope_end(s);
            assert_int_equal(reel_live_objects(), live);
            if (!hit) break;
        }
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static void test_profile(void **state)
{
    (void)state;
    reel_module *net = mlp();
    reel_graph *g = trace_of(net, 2);
    reel_executor *e = reel_executor_new(g, NULL);
    reel_tensor *x = images(3), *y = NULL;
    double sum = 0, one = -1;
    assert_int_equal(reel_executor_time(e, 0, &one), REEL_ERR_STATE);
    expect(REEL_ERR_STATE, "nothing was measured");
    assert_int_equal(reel_executor_profile(e, true), REEL_OK);
    reel_executor_run(e, &x, 1, &y, 1);
    for (int i = 0; i < reel_graph_nodes(g); i++) {
        assert_int_equal(reel_executor_time(e, i, &one), REEL_OK);
        assert_true(one >= 0);
        sum += one;
    }
    assert_true(sum > 0 && sum < 10);
    assert_int_equal(reel_executor_profile(e, false), REEL_OK);
    reel_executor_run(e, &x, 1, &y, 1);
    assert_int_equal(reel_executor_time(e, 0, &one), REEL_ERR_STATE);
    reel_error_clear();
    reel_executor_free(e);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static reel_tensor *writes_state(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_mul_(reel_module_find(user, "bn1.running_mean"), reel_scalar(2, REEL_F32));
    return reel_neg(x[0]);
}

/* What was chosen stands in the graph, so whoever runs it gets the same bits. */
static void test_tuning(void **state)
{
    (void)state;
    reel_module *net = resnet();
    reel_graph *g = trace_of(net, 2);
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    reel_tensor *x = images(2), *before = NULL, *after = NULL;
    bool was = reel_set_grad_enabled(false);
    reel_graph_run(g, &x, 1, &before, 1);
    reel_rng_state rng = reel_rng_get();
    assert_int_equal(reel_graph_tune(g, 1), REEL_OK);
    assert_int_equal(rng.offset, reel_rng_get().offset);
    assert_int_equal(reel_graph_check(g), REEL_OK);
    reel_graph_run(g, &x, 1, &after, 1);
    reel_tensor *off = reel_max(reel_abs(reel_sub(before, after)), REEL_ALL, false);
    assert_true(reel_item(off) < 1e-4);
    reel_executor *e = reel_executor_new(g, NULL);
    runs_alike(g, e, &x, 1);
    reel_executor_free(e);
    (void)reel_set_grad_enabled(was);
    reel_graph_free(g);
    g = reel_trace_function(writes_state, net, &x, 1,
                            &(reel_trace_opts){.fixed_batch = true});
    assert_int_equal(reel_graph_tune(g, 0), REEL_ERR_STATE);
    expect(REEL_ERR_STATE, "changes state");
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

/* Random lives and sizes: no overlap, never below the bound, seldom far above it. */
static void test_offsets(void **state)
{
    (void)state;
    reel__block block[60];
    uint64_t draw = 12345;
    double over = 0;
    for (int t = 0; t < 200; t++) {
        int n = 1 + t % 60;
        size_t arena, bound;
        for (int i = 0; i < n; i++) {
            draw = draw * UINT64_C(6364136223846793005) + 1442695040888963407u;
            int first = (int)(draw >> 33) % 40, life = (int)(draw >> 50) % 6;
            block[i] = (reel__block){((draw >> 40) % 50) * 64, first, first + life, 0};
        }
        assert_int_equal(reel__plan_offsets(block, n, &arena), REEL_OK);
        assert_int_equal(reel__plan_lower_bound(block, n, 46, &bound), REEL_OK);
        assert_int_equal(reel__plan_check(block, n, arena), REEL_OK);
        assert_true(bound <= arena);
        over += bound ? (double)arena / (double)bound : 1;
    }
    assert_true(over / 200 < 1.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_many_sizes),
        cmocka_unit_test(test_planted_overlap),
        cmocka_unit_test(test_chain_takes_one_buffer),
        cmocka_unit_test(test_memory_that_is_shared),
        cmocka_unit_test(test_inputs_are_not_written),
        cmocka_unit_test(test_odd_outputs),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_weights_change),
        cmocka_unit_test(test_training_step),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_tuning),
        cmocka_unit_test(test_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
