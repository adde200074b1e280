/* test_forward_n.c: modules of several inputs and results: calls, hooks, graphs, files. */
#include "module_check.h"

typedef struct cross {
    reel_module m;
    reel_module *left, *right;
    int reads; /* result 1 depends on a number that is read */
} cross;

static reel_status cross_forward(reel_module *self, reel_tensor *const x[], int n_x,
                                 reel_tensor *y[], int n_y)
{
    cross *c = (cross *)self;
    if (n_x != 2 || n_y != 2) return reel_module_takes(self, 2, 2, n_x, n_y);
    y[0] = reel_forward(c->left, reel_add(x[0], x[1]));
    y[1] = reel_forward(c->right, reel_sub(x[0], x[1]));
    if (c->reads)
        y[1] = reel_mul_scalar(
            y[1], reel_item(reel_narrow(reel_narrow(x[0], 0, 0, 1), 1, 0, 1)));
    return reel_error_status();
}

static reel_module *cross_new(void)
{
    cross *c = reel_module_new(sizeof *c, "cross", NULL);
    assert_non_null(c);
    c->m.forward_n = cross_forward;
    c->left = reel_module_add(&c->m, "left", reel_nn_linear(3, 2, NULL));
    c->right = reel_module_add(&c->m, "right", reel_nn_linear(3, 4, NULL));
    return reel_module_done(&c->m);
}

static void draw_inputs(reel_tensor *x[2], int64_t rows)
{
    for (int i = 0; i < 2; i++) x[i] = reel_randn(REEL_SHAPE(rows, 3), REEL_F32);
}

static void by_hand(reel_module *m, reel_tensor *const x[2], reel_tensor *y[2])
{
    y[0] = reel_linear(reel_add(x[0], x[1]), reel_module_find(m, "left.weight"),
                       reel_module_find(m, "left.bias"));
    y[1] = reel_linear(reel_sub(x[0], x[1]), reel_module_find(m, "right.weight"),
                       reel_module_find(m, "right.bias"));
}

static void assert_both(reel_tensor *const y[2], reel_tensor *const want[2])
{
    assert_ok();
    for (int i = 0; i < 2; i++) assert_true(same_bits(y[i], want[i]));
}

/* ---- calls -------------------------------------------------------------------------------- */

static void test_values_and_gradients(void **state)
{
    (void)state;
    reel_module *m = cross_new();
    reel_tensor *x[2], *y[2], *want[2];
    draw_inputs(x, 5);
    assert_int_equal(reel_forward_n(m, x, 2, y, 2), REEL_OK);
    by_hand(m, x, want);
    assert_both(y, want);
    reel_backward(
        reel_add(reel_sum(y[0], REEL_ALL, false), reel_sum(y[1], REEL_ALL, false)), NULL);
    assert_int_equal(reel_parameters(m).n, 4);
    for (int i = 0; i < 4; i++)
        assert_non_null(reel_grad_of(reel_parameters(m).tensor[i]));
    reel_module_free(m);
}

/* What a forward computed besides its results is gone; the results are the caller's, and so are
 * inputs that are handed through. */
static reel_status swap_forward(reel_module *self, reel_tensor *const x[], int n_x,
                                reel_tensor *y[], int n_y)
{
    (void)self;
    (void)reel_exp(x[0]);
    for (int i = 0; i < n_y; i++) y[i] = i == 2 ? reel_add(x[0], x[1]) : x[n_x - 1 - i];
    return REEL_OK;
}

static void test_scopes(void **state)
{
    (void)state;
    reel_module *m = reel_module_new(sizeof *m, "swap", NULL);
    m->forward_n = swap_forward;
    reel_tensor *x[2], *y[3];
    draw_inputs(x, 2);
    int64_t before = reel_live_objects();
    reel_scope s = reel_scope_begin();
    assert_int_equal(reel_forward_n(m, x, 2, y, 3), REEL_OK);
    assert_ptr_equal(y[0], x[1]);
    assert_ptr_equal(y[1], x[0]);
    assert_int_equal(reel_live_objects(), before + 2); /* a tensor and its memory */
    assert_int_equal(reel_forward_n(m, x, 2, NULL, 0), REEL_OK);
    reel_scope_end(s);
    assert_int_equal(reel_live_objects(), before);
    assert_near(reel_item(reel_sum(reel_sub(x[0], x[0]), REEL_ALL, false)), 0, 0);
    reel_module_free(m);
}

/* One tensor to one goes either way. */
static reel_status doubled(reel_module *self, reel_tensor *const x[], int n_x,
                           reel_tensor *y[], int n_y)
{
    if (n_x != 1 || n_y != 1) return reel_module_takes(self, 1, 1, n_x, n_y);
    y[0] = reel_mul_scalar(x[0], 2);
    return REEL_OK;
}

static void test_one_is_a_case_of_many(void **state)
{
    (void)state;
    reel_module *m = reel_module_new(sizeof *m, "doubled", NULL);
    m->forward_n = doubled;
    reel_module *net = reel_nn_sequential(m, reel_nn_relu());
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32), *y = NULL;
    assert_near(reel_item(reel_sum(reel_forward(net, x), REEL_ALL, false)), 6, 0);
    assert_int_equal(reel_forward_n(net, &x, 1, &y, 1), REEL_OK);
    assert_near(reel_item(reel_sum(y, REEL_ALL, false)), 6, 0);
    reel_module_free(net);
}

static reel_status gives_half(reel_module *self, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y)
{
    (void)self, (void)n_x, (void)n_y;
    y[0] = x[0];
    return REEL_OK;
}

static reel_status says_no(reel_module *self, reel_tensor *const x[], int n_x,
                           reel_tensor *y[], int n_y)
{
    (void)self, (void)x, (void)n_x, (void)n_y;
    y[0] = x[0];
    return REEL_ERR_IO;
}

static void test_errors(void **state)
{
    (void)state;
    reel_module *m = cross_new();
    reel_tensor *x[2], *y[2] = {NULL};
    draw_inputs(x, 5);
    assert_int_equal(reel_forward_n(m, x, 1, y, 2), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "cross: 1 inputs for 2 results; it takes 2 and gives 2");
    assert_null(reel_forward(m, x[0]));
    expect_error(REEL_ERR_ARG, "cross: 1 inputs for 1 results");
    x[1] = reel_ones(REEL_SHAPE(5, 2), REEL_F32);
    assert_int_equal(reel_forward_n(m, x, 2, y, 2), REEL_ERR_SHAPE);
    assert_true(!y[0] && !y[1]);
    reel_error_clear();
    m->forward_n = gives_half;
    assert_int_equal(reel_forward_n(m, x, 2, y, 2), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "cross: forward gave NULL for result 1");
    assert_true(!y[0] && !y[1]);
    m->forward_n = says_no;
    assert_int_equal(reel_forward_n(m, x, 2, y, 2), REEL_ERR_IO);
    expect_error(REEL_ERR_IO, "cross: forward_n returned status");
    assert_null(y[0]);
    reel_module_free(m);
}

/* ---- hooks -------------------------------------------------------------------------------- */

typedef struct seen {
    int n_x, n_y, calls;
    reel_tensor *x, *y;
} seen;

static void before(void *user, reel_module *m, reel_tensor *x)
{
    (void)m;
    ((seen *)user)->x = x;
    ((seen *)user)->calls++;
}

static reel_tensor *after(void *user, reel_module *m, reel_tensor *x, reel_tensor *y)
{
    (void)m;
    assert_ptr_equal(((seen *)user)->x, x);
    ((seen *)user)->y = y;
    return NULL;
}

static void before_n(void *user, reel_module *m, reel_tensor *const x[], int n_x)
{
    (void)m;
    assert_ptr_equal(((seen *)user)->x, x[0]);
    ((seen *)user)->n_x += n_x;
}

static void after_n(void *user, reel_module *m, reel_tensor *const x[], int n_x,
                    reel_tensor *y[], int n_y)
{
    (void)m, (void)x, (void)n_x;
    assert_ptr_equal(((seen *)user)->y, y[0]);
    ((seen *)user)->n_y += n_y;
    y[n_y - 1] = reel_mul_scalar(y[n_y - 1], 2);
}

static void test_hooks(void **state)
{
    (void)state;
    reel_module *m = cross_new();
    reel_tensor *x[2], *y[2], *want[2];
    seen of_all = {0}, of_left = {0};
    reel_module_hook hook = {.before = before,
                             .after = after,
                             .user = &of_all,
                             .before_n = before_n,
                             .after_n = after_n};
    reel_module_add_hook(m, &hook);
    hook.user = &of_left;
    reel_module_add_hook(((cross *)m)->left, &hook);
    draw_inputs(x, 5);
    assert_int_equal(reel_forward_n(m, x, 2, y, 2), REEL_OK);
    by_hand(m, x, want);
    for (int i = 0; i < 2; i++) want[i] = reel_mul_scalar(want[i], 2);
    assert_both(y, want);
    assert_true(of_all.calls == 1 && of_all.n_x == 2 && of_all.n_y == 2);
    assert_true(of_left.calls == 1 && of_left.n_x == 1 && of_left.n_y == 1);
    assert_ptr_equal(of_all.x, x[0]);
    reel_module_free(m);
}

/* ---- graphs ------------------------------------------------------------------------------- */

static void test_trace(void **state)
{
    (void)state;
    reel_module *m = cross_new();
    reel_tensor *x[2], *y[2] = {NULL}, *want[2];
    draw_inputs(x, 4);
    reel_graph *g = reel_trace_n(
        m, x, 2, 2,
        &(reel_trace_opts){.input_names = (const char *[]){"a", "b"},
                           .output_names = (const char *[]){"sum", "difference"}});
    assert_ok();
    assert_int_equal(reel_graph_inputs(g), 2);
    assert_int_equal(reel_graph_outputs(g), 2);
    assert_string_equal(reel_graph_output_name(g, 1), "difference");
    draw_inputs(x, 7); /* another batch */
    assert_int_equal(reel_graph_run(g, x, 2, y, 2), REEL_OK);
    by_hand(m, x, want);
    assert_both(y, want);
    /* As a module, and that traced. */
    reel_module *gm = reel_graph_module(g);
    assert_int_equal(reel_parameters(gm).n, 4);
    assert_int_equal(reel_forward_n(gm, x, 2, y, 2), REEL_OK);
    assert_both(y, want);
    assert_null(reel_forward(gm, x[0]));
    expect_error(REEL_ERR_ARG, "");
    reel_graph *again = reel_trace_n(gm, x, 2, 2, NULL);
    y[0] = y[1] = NULL;
    assert_int_equal(reel_graph_run(again, x, 2, y, 2), REEL_OK);
    assert_both(y, want);
    reel_graph_free(again);
    reel_module_free(gm);
    reel_graph_free(g);
    /* Each result is compared with the function's. */
    ((cross *)m)->reads = 1;
    assert_null(reel_trace_n(m, x, 2, 2, NULL));
    expect_error(REEL_ERR_STATE, "it reads");
    reel_module_free(m);
}

static void test_export(void **state)
{
    (void)state;
    const char *path = temp_name("two.onnx");
    reel_module *m = cross_new();
    reel_train(m, false);
    reel_tensor *x[2], *y[2] = {NULL}, *want[2];
    draw_inputs(x, 4);
    const reel_trace_opts names = {.input_names = (const char *[]){"a", "b"}};
    assert_int_equal(reel_module_export_n(m, x, 2, 2, path, &names, NULL), REEL_OK);
    reel_graph *g = reel_onnx_load(path, NULL);
    assert_ok();
    assert_string_equal(reel_graph_input_name(g, 1), "b");
    draw_inputs(x, 3);
    reel_graph_set_batch(g, 3);
    assert_int_equal(reel_graph_run(g, x, 2, y, 2), REEL_OK);
    by_hand(m, x, want);
    for (int i = 0; i < 2; i++) assert_true(distance(y[i], want[i]) < 1e-5);
    /* A file that gives what the function does not is not a file. */
    g = (reel_graph_free(g), reel_trace_n(m, x, 2, 2, NULL));
    reel_module *other = cross_new();
    assert_int_equal(
        reel_onnx_export(
            g, path, &(reel_onnx_opts){.fn_n = reel_module_function_n, .user = other}),
        REEL_ERR_NUMERIC);
    expect_error(REEL_ERR_NUMERIC, "function's");
    remove(path);
    reel_graph_free(g);
    reel_module_free(other);
    reel_module_free(m);
}

/* ---- ours --------------------------------------------------------------------------------- */

/* Each sample hides other keys: the same as running each alone without them. */
static void test_masked_encoder(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        reel_module *m = reel_nn_encoder_layer(
            8, 2, &(reel_nn_encoder_layer_opts){.hidden = 16, .norm_first = first == 1});
        reel_module_cast(m, REEL_F64);
        reel_tensor *x = reel_randn(REEL_SHAPE(2, 5, 8), REEL_F64), *y = NULL,
                    *one = NULL;
        reel_tensor *length =
            reel_from((double[]){3, 5}, REEL_SHAPE(2, 1, 1, 1), REEL_F64);
        reel_tensor *mask = reel_lt(reel_arange(0, 5, 1, REEL_F64), length);
        assert_int_equal(reel_forward_n(m, (reel_tensor *[]){x, mask}, 2, &y, 1),
                         REEL_OK);
        reel_tensor *x0 = reel_narrow(reel_narrow(x, 0, 0, 1), 1, 0, 3);
        assert_int_equal(reel_forward_n(m, (reel_tensor *[]){x0, NULL}, 2, &one, 1),
                         REEL_OK);
        assert_true(distance(reel_narrow(reel_narrow(y, 0, 0, 1), 1, 0, 3), one) < 1e-12);
        one = reel_forward(m, reel_narrow(x, 0, 1, 1));
        assert_true(distance(reel_narrow(y, 0, 1, 1), one) < 1e-12);
        assert_int_equal(reel_forward_n(m, &x, 1, NULL, 0), REEL_ERR_ARG);
        expect_error(REEL_ERR_ARG, "takes 2 and gives 1");
        reel_module_free(m);
    }
}

static void test_attention(void **state)
{
    (void)state;
    reel_module *m = reel_nn_attention(8, 2, NULL);
    reel_tensor *q = reel_randn(REEL_SHAPE(2, 5, 8), REEL_F32), *y = NULL;
    reel_tensor *kv = reel_randn(REEL_SHAPE(2, 7, 8), REEL_F32);
    seen of = {0};
    reel_module_add_hook(
        m, &(reel_module_hook){.user = &of, .before = before, .before_n = before_n});
    reel_tensor *want = reel_nn_attention_forward(m, q, kv, kv, NULL);
    assert_int_equal(of.n_x, 4);
    assert_int_equal(reel_forward_n(m, (reel_tensor *[]){q, kv, kv}, 3, &y, 1), REEL_OK);
    assert_true(same_bits(y, want));
    assert_int_equal(reel_forward_n(m, &q, 1, &y, 1), REEL_OK);
    assert_true(same_bits(y, reel_forward(m, q)));
    assert_int_equal(reel_forward_n(m, (reel_tensor *[]){q, kv}, 2, &y, 1), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "attention: 2 inputs for 1 results");
    /* A decoder's: the batch of both is open. */
    reel_graph *g = reel_trace_n(m, (reel_tensor *[]){q, kv, kv}, 3, 1, NULL);
    assert_null(g);
    expect_error(REEL_ERR_ARG, "");
    reel_tensor *v = reel_copy(kv);
    g = reel_trace_n(m, (reel_tensor *[]){q, kv, v}, 3, 1, NULL);
    assert_ok();
    reel_graph_free(g);
    reel_module_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_and_gradients),
        TEST(test_scopes),
        TEST(test_one_is_a_case_of_many),
        TEST(test_errors),
        TEST(test_hooks),
        TEST(test_trace),
        TEST(test_export),
        TEST(test_masked_encoder),
        TEST(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
