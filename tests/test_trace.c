/* test_trace.c: what ran becomes a graph; the graph does the same. */
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
#include "trace/graph/graph.h"

static reel_module *small_net(void)
{
    reel_seed(3);
    return reel_resnet20(&(reel_resnet_opts){.classes = 10});
}

static reel_tensor *images(int64_t n)
{
    return reel_randn(REEL_SHAPE(n, 3, 32, 32), REEL_F32);
}

/* ---- a module -------------------------------------------------------------------------- */

static void test_module_runs_the_same(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    reel_module *net = small_net();
    reel_train(net, false);
    reel_graph *g = reel_trace(net, images(2), NULL);
    no_error();
    assert_int_equal(reel_graph_check(g), REEL_OK);
    assert_string_equal(reel_graph_reads(g), "");
    reel_tensor *x = images(2), *y = reel_forward(net, x), *z;
    assert_int_equal(reel_graph_run(g, &x, 1, &z, 1), REEL_OK);
    same_bits(y, z);
    char *text = reel_graph_to_string(g);
    assert_non_null(strstr(text, "param layer1.0.conv1.weight f32[16,16,3,3]"));
    assert_non_null(strstr(text, ", conv1.weight, -)"));
    assert_non_null(strstr(text, "# layer3.2.bn2"));
    assert_non_null(strstr(text, "output output0 = "));
    free(text);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), live);
}

/* Patches, reshape, permute, attention, mean of tokens: no batch size may be baked in. */
static void test_any_batch_size(void **state)
{
    (void)state;
    reel_seed(4);
    reel_module *net = reel_vit_tiny(&(reel_vit_opts){.dim = 32, .depth = 2, .heads = 2});
    reel_train(net, false);
    reel_graph *g = reel_trace(net, images(5), NULL);
    no_error();
    assert_int_equal(reel_graph_batch(g), 5);
    for (int i = 0; i < 3; i++) {
        const int64_t batch[] = {1, 7, 64};
        reel_tensor *x = images(batch[i]), *y = reel_forward(net, x), *z;
        assert_int_equal(reel_graph_run(g, &x, 1, &z, 1), REEL_OK);
        same_bits(y, z);
        assert_int_equal(reel_graph_set_batch(g, batch[i]), REEL_OK);
        assert_int_equal(reel_graph_check(g), REEL_OK);
        assert_int_equal(reel_graph_run(g, &x, 1, &z, 1), REEL_OK);
        same_bits(y, z);
    }
    char *text = reel_graph_to_string(g);
    assert_non_null(strstr(text, "f32[batch,3,32,32]"));
    free(text);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static reel_tensor *by_batch(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return x[0]->meta.dim[0] % 2 ? reel_relu(x[0]) : reel_neg(x[0]);
}

static void test_batch_that_decides(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(4, 2), REEL_F32);
    assert_null(reel_trace_function(by_batch, NULL, &x, 1, NULL));
    expect(REEL_ERR_STATE, "node 0 (neg; relu)");
    reel_graph *g = reel_trace_function(by_batch, NULL, &x, 1,
                                        &(reel_trace_opts){.fixed_batch = true});
    assert_int_equal(reel_graph_batch(g), 0);
    assert_int_equal(reel_graph_set_batch(g, 3), REEL_ERR_STATE);
    expect(REEL_ERR_STATE, "no batch dimension");
    reel_graph_free(g);
    reel_scope_end(0);
}

static int64_t rows_of(reel_tensor *x)
{
    return reel_shape_of(x).dim[0];
}

static reel_tensor *half_of_batch(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_relu(reel_slice(x[0], 0, 0, rows_of(x[0]) / 2, 1));
}

static reel_tensor *few_of_batch(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_relu(reel_slice(x[0], 0, 0, rows_of(x[0]) < 4 ? rows_of(x[0]) : 4, 1));
}

static reel_tensor *square_of_batch(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_reshape(reel_matmul(x[0], reel_t(x[0])),
                        REEL_SHAPE(rows_of(x[0]) * rows_of(x[0])));
}

/* What looks like a line at two sizes and is none. */
static void test_batch_that_grows_otherwise(void **state)
{
    (void)state;
    const reel_function fn[] = {half_of_batch, square_of_batch};
    for (int i = 0; i < 2; i++)
        for (int64_t batch = 1; batch < 8; batch++) {
            reel_tensor *x = reel_ones(REEL_SHAPE(batch, 2), REEL_F32);
            assert_null(reel_trace_function(fn[i], NULL, &x, 1, NULL));
            expect(REEL_ERR_STATE, "does not grow in proportion");
            reel_graph *g = reel_trace_function(fn[i], NULL, &x, 1,
                                                &(reel_trace_opts){.fixed_batch = true});
            assert_non_null(g);
            reel_graph_free(g);
            reel_scope_end(0);
        }
}

/* The smaller of the batch and 4 is what a slice to 4 gives at any size. */
static void test_few_of_batch(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch < 8; batch++) {
        reel_tensor *x = reel_ones(REEL_SHAPE(batch, 2), REEL_F32);
        reel_graph *g = reel_trace_function(few_of_batch, NULL, &x, 1, NULL);
        no_error();
        for (int64_t b = 1; b < 40; b += 3) {
            reel_tensor *z = reel_ones(REEL_SHAPE(b, 2), REEL_F32), *y = NULL;
            assert_int_equal(reel_graph_run(g, &z, 1, &y, 1), REEL_OK);
            assert_int_equal(reel_size(y, 0), b < 4 ? b : 4);
        }
        reel_graph_free(g);
        reel_scope_end(0);
    }
}

static reel_tensor *twice(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_cat((reel_tensor *[]){x[0], x[0]}, 2, 0);
}

static void test_batch_beyond_reason(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    reel_graph *g = reel_trace_function(twice, NULL, &x, 1, NULL);
    no_error();
    assert_int_equal(reel_graph_set_batch(g, INT64_MAX), REEL_ERR_ARG);
    expect(REEL_ERR_ARG, "at most 2^31");
    assert_int_equal(reel_graph_set_batch(g, INT64_C(1) << 31), REEL_OK);
    assert_int_equal(reel_graph_set_batch(g, 2), REEL_OK);
    assert_null(reel_executor_new(g, &(reel_executor_opts){.batch = INT64_MAX}));
    expect(REEL_ERR_ARG, "1 to 2^31");
    reel_graph_free(g);
    reel_scope_end(0);
}

/* Passes compute constants; a capture would take that for what it is to record. */
static void test_no_passes_while_capturing(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    reel_graph *g = reel_trace_function(twice, NULL, &x, 1, NULL);
    assert_int_equal(reel_capture_begin(), REEL_OK);
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_ERR_STATE);
    expect(REEL_ERR_STATE, "a capture of this thread");
    reel_capture_cancel();
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_graph_has_gradients(void **state)
{
    (void)state;
    reel_module *net = small_net();
    reel_train(net, false);
    reel_graph *g = reel_trace(net, images(2), NULL);
    reel_tensor *x = images(2), *z;
    reel_tensor *w = reel_module_find(net, "layer2.0.conv1.weight");
    reel_backward(reel_sum(reel_forward(net, x), REEL_ALL, false), NULL);
    reel_tensor *want = reel_copy(reel_grad_of(w));
    reel_zero_grad(net);
    assert_int_equal(reel_graph_run(g, &x, 1, &z, 1), REEL_OK);
    reel_backward(reel_sum(z, REEL_ALL, false), NULL);
    same_bits(want, reel_grad_of(w));
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static void test_cost_is_that_of_the_run(void **state)
{
    (void)state;
    reel_module *net = small_net();
    reel_tensor *x = images(2);
    reel_cost eager;
    reel_train(net, false);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_cost_begin();
    reel_forward(net, x);
    reel_cost_end(&eager);
    reel_cost traced = reel_graph_cost(g);
    assert_true(traced.flops == eager.flops && traced.calls == eager.calls);
    assert_true(traced.bytes_read == eager.bytes_read);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

/* ---- a training step -------------------------------------------------------------------- */

/* One step in eager mode first (the optimizer makes its state), then the second captured, then
 * more as a graph: the same losses as eager, bit for bit, dropout and statistics included. */
static void test_training_step(void **state)
{
    (void)state;
    enum { STEPS = 6 };
    small_trainer eager = small_trainer_new(small_trainer_net(), true);
    small_trainer traced = small_trainer_new(small_trainer_net(), true);
    reel_tensor *x[STEPS], *y[STEPS], *loss[STEPS];
    small_trainer_data(STEPS, x, y);
    reel_rng_state rng = reel_rng_get();
    for (int i = 0; i < STEPS; i++) loss[i] = small_trainer_step(eager, x[i], y[i]);

    reel_rng_set(rng);
    same_bits(loss[0], small_trainer_step(traced, x[0], y[0]));
    reel_tensor *l = NULL;
    reel_graph *g = small_trainer_capture(traced, x[1], y[1], &l);
    no_error();
    same_bits(loss[1], l);
    assert_int_equal(reel_graph_check(g), REEL_OK);
    bool was = reel_set_grad_enabled(false); /* the gradients are in the graph */
    for (int i = 2; i < STEPS; i++) {
        reel_tensor *in[] = {x[i], y[i]}, *out;
        reel_graph_run(g, in, 2, &out, 1);
        same_bits(loss[i], out);
    }
    (void)reel_set_grad_enabled(was);
    same_bits(reel_module_find(eager.net, "0.weight"),
              reel_module_find(traced.net, "0.weight"));
    same_bits(reel_module_find(eager.net, "1.running_var"),
              reel_module_find(traced.net, "1.running_var"));
    reel_graph_free(g);
    small_trainer_free(eager);
    small_trainer_free(traced);
    reel_scope_end(0);
}

/* ---- what can go wrong -------------------------------------------------------------------- */

static const reel_trace_opts unchecked = {.unchecked = true};

static reel_tensor *reads(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *s = reel_sum(x[0], REEL_ALL, false);
    return reel_item(s) > 0 ? reel_relu(x[0]) : reel_neg(x[0]);
}

static void test_reads_are_reported(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_graph *g = reel_trace_function(reads, NULL, &x, 1, &unchecked);
    no_error();
    assert_non_null(strstr(reel_graph_reads(g), "item of %"));
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- what a capture cannot know ------------------------------------------------------------ */

/* user: which of the ways */
static reel_tensor *odd(void *user, reel_tensor *const x[], int n)
{
    static float *memory; /* an address from an earlier call */
    static reel_tensor *scale;
    reel_tensor *y;
    (void)n;
    switch (*(const int *)user) {
    case 0: /* decides by an input */
        return reel_mul_scalar(x[0], reel_item(reel_max(x[0], REEL_ALL, false)));
    case 1: { /* writes its result in C */
        y = reel_zeros_like(x[0]);
        const float *from = reel_data(x[0]);
        float *to = reel_data(y);
        for (int64_t i = 0; from && to && i < reel_numel(y); i++)
            to[i] = from[i] * from[i];
        return y;
    }
    case 2: /* decides by the batch, above what is captured */
        return reel_size(x[0], 0) > 10 ? reel_neg(x[0]) : reel_relu(x[0]);
    case 3: /* counts its calls */
        if (!scale) {
            scale = reel_keep(reel_ones(REEL_SHAPE(1), REEL_F32));
            memory = reel_data(scale);
        }
        *memory += 1;
        return reel_mul(x[0], scale);
    default: /* the same, in a number of C */
        return reel_mul_scalar(x[0], ++*((int *)user + 1));
    }
}

static void test_a_graph_is_compared_with_its_function(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        int user[] = {way, 0};
        reel_tensor *x = reel_rand(REEL_SHAPE(4, 3), REEL_F32);
        reel_graph *g = reel_trace_function(odd, user, &x, 1, NULL);
        if (g) fail_msg("way %d was not noticed", way);
        assert_int_equal(reel_error_status(), REEL_ERR_STATE);
        if (way < 2) assert_non_null(strstr(reel_error_message(), "it reads"));
        reel_error_clear();
    }
    reel_scope_end(0);
}

/* Inputs, state, results, and what was there before are named; what a function makes itself and
 * then reads is its own. */
static reel_tensor *looks(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor *const *there = user, *y = reel_mul(x[0], there[0]);
    (void)reel_item(reel_from((float[]){3}, REEL_SHAPE(1), REEL_F32));
    (void)reel_item(x[0]);
    (void)reel_item(there[0]);
    (void)reel_data(there[1]);
    (void)reel_item(y);
    return y;
}

static reel_status declare_first(void *user)
{
    return reel_capture_state(((reel_tensor **)user)[0], "w", true);
}

static void test_reads_are_named(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(1), REEL_F32),
                *there[] = {reel_ones(REEL_SHAPE(1), REEL_F32),
                            reel_ones(REEL_SHAPE(2), REEL_F32)};
    reel_graph *g = reel_trace_function(
        looks, there, &x, 1,
        &(reel_trace_opts){.declare = declare_first, .fixed_batch = true});
    no_error();
    assert_string_equal(reel_graph_reads(g), "item of input input0\nitem of parameter w\n"
                                             "data of f32[2], which was there before\n"
                                             "item of %2, made by mul\n");
    reel_graph *copy = reel_graph_copy(g);
    assert_string_equal(reel_graph_reads(copy), reel_graph_reads(g));
    reel_graph_free(copy);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* A tensor that the program still has is not a constant that a pass may look into. */
static reel_tensor *by_gate(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_mul(x[0], reel_add_scalar(user, 1));
}

static void test_what_was_there_may_change(void **state)
{
    (void)state;
    reel_tensor *gate = reel_ones(REEL_SHAPE(1), REEL_F32),
                *x = reel_ones(REEL_SHAPE(2), REEL_F32), *y = NULL, *z = NULL;
    reel_graph *g = reel_trace_function(by_gate, gate, &x, 1, NULL);
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    reel_executor *e = reel_executor_new(g, NULL);
    for (int i = 0; i < 3; i++) {
        if (i == 1) reel_fill_(gate, 4);
        if (i == 2) *(float *)reel_data(gate) = 6;
        y = z = NULL;
        assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
        assert_int_equal(reel_executor_run(e, &x, 1, &z, 1), REEL_OK);
        same_bits(y, by_gate(gate, &x, 1));
        same_bits(z, by_gate(gate, &x, 1));
    }
    reel_executor_free(e);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* reel_graph_run() leaves its inputs alone, as the executor does. */
static reel_tensor *in_place(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *y = reel_add_(x[0], reel_ones(REEL_SHAPE(1), REEL_F32));
    return reel_mul_(y, x[0]);
}

static void test_inputs_stay(void **state)
{
    (void)state;
    reel_tensor *x = reel_full(REEL_SHAPE(2), 2, REEL_F32), *y = NULL;
    assert_int_equal(reel_capture_begin(), REEL_OK);
    reel_capture_input(x, "x");
    y = in_place(NULL, &x, 1);
    reel_graph *g = reel_capture_end(&y, 1, NULL);
    x = reel_full(REEL_SHAPE(2), 5, REEL_F32);
    y = NULL;
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    assert_true(((float *)reel_data(y))[0] == 36 && ((float *)reel_data(x))[0] == 5);
    reel_graph_free(g);
    reel_scope_end(0);
}

static reel_tensor *fails(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_add(x[0], reel_ones(REEL_SHAPE(7), REEL_F32));
}

static void test_errors(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32), *y;
    assert_null(reel_trace_function(fails, NULL, &x, 1, NULL));
    expect(REEL_ERR_SHAPE, "add");
    assert_null(reel_capture_end(&x, 1, NULL));
    expect(REEL_ERR_STATE, "no capture");
    assert_int_equal(reel_capture_begin(), REEL_OK);
    assert_int_equal(reel_capture_begin(), REEL_ERR_STATE);
    expect(REEL_ERR_STATE, "under way");
    assert_null(reel_capture_end(&x, 1, NULL)); /* x was not computed in it */
    expect(REEL_ERR_ARG, "output 0");
    reel_graph *g = reel_trace_function(reads, NULL, &x, 1, &unchecked);
    reel_tensor *wrong = reel_ones(REEL_SHAPE(4, 2), REEL_F32);
    assert_int_equal(reel_graph_run(g, &wrong, 1, &y, 1), REEL_ERR_SHAPE);
    expect(REEL_ERR_SHAPE, "input0 is f32[4,2], the graph takes f32[batch]");
    reel_tensor *two[2] = {x, x};
    assert_int_equal(reel_graph_run(g, &x, 1, two, 2), REEL_ERR_ARG);
    assert_true(!two[0] && !two[1]);
    expect(REEL_ERR_ARG, "outputs");
    reel_capture_cancel(); /* nothing under way: nothing happens */
    reel_graph_free(g);
    reel_graph_free(NULL);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), live);
}

static void test_verifier(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_graph *g = reel_trace_function(reads, NULL, &x, 1, &unchecked);
    g->value[g->output[0]].meta.dim[0] = 5; /* relu of 3 elements gives 3 */
    assert_int_equal(reel_graph_check(g), REEL_ERR_INTERNAL);
    expect(REEL_ERR_INTERNAL, "shape rule");
    reel_graph_free(g);
    g = reel_trace_function(reads, NULL, &x, 1, &unchecked);
    int t = g->node[0].in[0];
    g->node[0].in[0] = g->output[0]; /* made by the last node */
    assert_int_equal(reel_graph_check(g), REEL_ERR_INTERNAL);
    expect(REEL_ERR_INTERNAL, "before it is made");
    g->node[0].in[0] = t;
    assert_int_equal(reel_graph_check(g), REEL_OK);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_no_memory(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32), *y;
    for (int64_t k = 1;; k++) {
        reel_scope s = reel_scope_begin();
        int64_t live = reel_live_objects();
        reel__fault_alloc(k, false);
        reel_graph *g = reel_trace_function(reads, NULL, &x, 1, &unchecked);
        if (g) reel_graph_run(g, &x, 1, &y, 1);
        bool hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        assert_true(!hit || reel_error_status() == REEL_ERR_MEMORY);
        reel_error_clear();
        reel_graph_free(g);
        reel_scope_end(s);
        assert_int_equal(reel_live_objects(), live);
        if (!hit) break;
    }
    reel_scope_end(0);
}

static void test_dot(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_graph *g = reel_trace_function(reads, NULL, &x, 1, &unchecked);
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(reel_graph_write_dot(g, to), REEL_OK);
    fclose(to);
    assert_non_null(strstr(text, "label=\"relu\""));
    free(text);
    reel_graph_free(g);
    reel_scope_end(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module_runs_the_same),
        cmocka_unit_test(test_any_batch_size),
        cmocka_unit_test(test_batch_that_decides),
        cmocka_unit_test(test_batch_that_grows_otherwise),
        cmocka_unit_test(test_few_of_batch),
        cmocka_unit_test(test_batch_beyond_reason),
        cmocka_unit_test(test_no_passes_while_capturing),
        cmocka_unit_test(test_graph_has_gradients),
        cmocka_unit_test(test_cost_is_that_of_the_run),
        cmocka_unit_test(test_training_step),
        cmocka_unit_test(test_reads_are_reported),
        cmocka_unit_test(test_a_graph_is_compared_with_its_function),
        cmocka_unit_test(test_reads_are_named),
        cmocka_unit_test(test_what_was_there_may_change),
        cmocka_unit_test(test_inputs_stay),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_verifier),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_dot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
