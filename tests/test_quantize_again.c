/* test_quantize_again.c: a file of integers goes on training and becomes a file of integers
 * again. */
#include "temp_folder.h"

#include <reel/reel.h>

static const reel_quantize_target targets[] = {REEL_TARGET_ORT, REEL_TARGET_TENSORRT,
                                               REEL_TARGET_PER_TENSOR};
enum { TARGETS = sizeof targets / sizeof *targets };

static reel_tensor *images(int64_t n)
{
    return reel_randn(REEL_SHAPE(n, 3, 16, 16), REEL_F32);
}

static reel_graph *converted(reel_quantize_target target)
{
    reel_module *net = reel_resnet20(NULL);
    for (int i = 0; i < 3; i++)
        (void)reel_forward(net, images(16)); /* norms see something */
    reel_train(net, false);
    reel_graph *g = reel_trace(net, images(2), NULL);
    reel_module *q = reel_quantize_prepare(g, &(reel_quantize_opts){.target = target});
    (void)reel_quantize_observe(q, true);
    (void)reel_forward(q, images(32));
    (void)reel_quantize_observe(q, false);
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
    return ints;
}

/* Written as a file, which the linter finds right, and read back. Frees g. */
static reel_graph *through_a_file(reel_graph *g, const char *name,
                                  reel_quantize_target target)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.onnx", temp_root, name);
    (void)reel_onnx_export(g, path, NULL);
    assert_ok();
    reel_graph_free(g);
    g = reel_onnx_load(path, NULL);
    char *found = reel_quantize_lint(g, target);
    assert_ok();
    if (*found) fail_msg("%s: %s", path, found);
    free(found);
    return g;
}

static reel_tensor *run(reel_graph *g, reel_tensor *x)
{
    reel_tensor *y = NULL;
    (void)reel_graph_run(g, &x, 1, &y, 1);
    assert_ok();
    return y;
}

static double distance(reel_tensor *a, reel_tensor *b)
{
    return reel_item(reel_max(reel_abs(reel_sub(a, b)), REEL_ALL, false));
}

/* ---- what a graph holds ------------------------------------------------------------------------ */

enum { MOST = 256 };
typedef struct held {
    const char *name[MOST];
    reel_tensor *tensor[MOST]; /* integers of more than one element; borrowed */
    int n;
} held;

static reel_status add(void *user, const char *name, reel_tensor *t, reel_state_kind kind)
{
    held *h = user;
    (void)kind;
    if (reel_dtype_of(t) != REEL_I8 || reel_numel(t) < 2 || h->n == MOST) return REEL_OK;
    if (strstr(name, "zero_point")) return REEL_OK;
    h->name[h->n] = name;
    h->tensor[h->n++] = t;
    return REEL_OK;
}

static held weights_of(const reel_graph *g)
{
    held h = {.n = 0};
    (void)reel_graph_each_state(g, add, &h);
    assert_ok();
    return h;
}

static reel_tensor *of_name(const held *h, const char *name)
{
    for (int i = 0; i < h->n; i++)
        if (strcmp(h->name[i], name) == 0) return h->tensor[i];
    fail_msg("there is no %s any more", name);
    return NULL;
}

/* How many weights have other integers; each of a's is among b's. */
static int moved(const reel_graph *a, const reel_graph *b)
{
    const held was = weights_of(a), is = weights_of(b);
    int n = 0;
    assert_int_equal(was.n, is.n);
    assert_int_equal(was.n, 22); /* of 21 convolutions and a linear layer */
    for (int i = 0; i < was.n; i++) {
        reel_tensor *t = of_name(&is, was.name[i]);
        n += distance(reel_cast(was.tensor[i], REEL_F32), reel_cast(t, REEL_F32)) > 0;
    }
    return n;
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void train(reel_graph *g, int steps)
{
    reel_module *m = reel_graph_module(g);
    reel_optim *sgd = reel_sgd(reel_parameters(m), &(reel_sgd_opts){.lr = 0.1});
    for (int i = 0; i < steps; i++) {
        reel_scope s = reel_scope_begin();
        reel_optim_zero_grad(sgd);
        reel_tensor *y = reel_forward(m, images(8));
        reel_tensor *label = reel_randint(0, 10, REEL_SHAPE(8), REEL_I64);
        reel_backward(reel_cross_entropy(y, label, NULL), NULL);
        reel_optim_step(sgd);
        reel_scope_end(s);
        assert_ok();
    }
    reel_optim_free(sgd);
    reel_module_free(m);
}

/* Faked and made integers at once, a file is what it was. */
static void test_there_and_back(void **state)
{
    (void)state;
    for (int i = 0; i < TARGETS; i++) {
        reel_seed((uint64_t)i + 1);
        reel_graph *a = through_a_file(converted(targets[i]), "first", targets[i]);
        reel_graph *f = reel_quantize_fake(a);
        reel_tensor *x = images(5);
        assert_true(distance(run(a, x), run(f, x)) == 0);
        reel_graph *b = through_a_file(reel_quantize_convert_graph(f, targets[i]),
                                       "second", targets[i]);
        assert_int_equal(moved(a, b), 0);
        assert_true(distance(run(a, x), run(b, x)) == 0);
        reel_graph_free(a);
        reel_graph_free(f);
        reel_graph_free(b);
        reel_scope_end(0);
        assert_int_equal(reel_live_objects(), 0);
    }
}

static void test_trained_between(void **state)
{
    (void)state;
    for (int i = 0; i < TARGETS; i++) {
        reel_seed((uint64_t)i + 1);
        reel_graph *a = through_a_file(converted(targets[i]), "first", targets[i]);
        reel_graph *f = reel_quantize_fake(a);
        reel_tensor *x = images(5), *before = run(a, x);
        train(f, 3);
        assert_true(distance(before, run(a, x)) == 0); /* a has tensors of its own */
        reel_tensor *trained = run(f, x);
        reel_graph *b = through_a_file(reel_quantize_convert_graph(f, targets[i]),
                                       "second", targets[i]);
        assert_true(moved(a, b) > 10);
        double off = distance(trained, run(b, x)), went = distance(trained, before);
        if (!(off < 0.2 * went)) fail_msg("training %g, converting %g", went, off);
        reel_graph_free(a);
        reel_graph_free(f);
        reel_graph_free(b);
        reel_scope_end(0);
        assert_int_equal(reel_live_objects(), 0);
    }
}

static reel_tensor *weights(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor *const *t =
        user; /* bytes without a sign, a scale and a zero for each row */
    reel_tensor *w = reel_dequantize(t[0], t[1], t[2]);
    reel_tensor *y = reel_linear(x[0], w, NULL);
    reel_tensor *zero = reel_full(REEL_SCALAR, 3, REEL_U8);
    reel_tensor *s = reel_full(REEL_SCALAR, 0.05, REEL_F32);
    return reel_dequantize(reel_quantize(y, s, zero), s, zero);
}

/* Bytes of others have zero points of their own, which stay. */
static void test_zero_points_of_weights(void **state)
{
    (void)state;
    reel_seed(7);
    reel_tensor *t[] = {
        reel_cast(reel_randint(0, 256, REEL_SHAPE(6, 9), REEL_I64), REEL_U8),
        reel_add_scalar(reel_rand(REEL_SHAPE(6, 1), REEL_F32), 0.1),
        reel_cast(reel_randint(100, 156, REEL_SHAPE(6, 1), REEL_I64), REEL_U8)};
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 9), REEL_F32);
    reel_graph *g = reel_trace_function(weights, t, &x, 1, NULL);
    reel_graph *f = reel_quantize_fake(g);
    reel_graph *b = reel_quantize_convert_graph(f, REEL_TARGET_ORT);
    assert_ok();
    assert_true(distance(run(g, x), run(b, x)) == 0);
    reel_graph_free(g);
    reel_graph_free(f);
    reel_graph_free(b);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), 0);
}

static reel_tensor *by_data(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *scale = reel_max(reel_abs(x[0]), REEL_ALL, false);
    reel_tensor *zero = reel_zeros(REEL_SCALAR, REEL_F32);
    return reel_fake_quantize(x[0], scale, zero, -128, 127);
}

static reel_tensor *by_a_scale(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    const double *of = user; /* scale, low, high */
    reel_tensor *scale = reel_full(REEL_SCALAR, of[0], REEL_F32);
    reel_tensor *zero = reel_zeros(REEL_SCALAR, REEL_F32);
    return reel_fake_quantize(x[0], scale, zero, (int)of[1], (int)of[2]);
}

static void refused(reel_function fn, const double *of, reel_status why, const char *text)
{
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 9), REEL_F32);
    reel_graph *g = reel_trace_function(fn, (void *)(uintptr_t)of, &x, 1,
                                        &(reel_trace_opts){.fixed_batch = fn == by_data});
    assert_ok();
    assert_null(reel_quantize_convert_graph(g, REEL_TARGET_ORT));
    assert_int_equal(reel_error_status(), why);
    if (!strstr(reel_error_message(), text)) fail_msg("%s", reel_error_message());
    reel_error_clear();
    reel_graph_free(g);
}

static void test_what_bytes_cannot_say(void **state)
{
    (void)state;
    refused(by_data, NULL, REEL_ERR_UNSUPPORTED, "computed from inputs");
    refused(by_a_scale, (double[]){0, 0, 255}, REEL_ERR_STATE, "scale of 0");
    refused(by_a_scale, (double[]){1, 0, 256}, REEL_ERR_UNSUPPORTED, "0 .. 256");
    refused(by_a_scale, (double[]){1, -1, 128}, REEL_ERR_UNSUPPORTED, "-1 .. 128");
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_trained_between),
        cmocka_unit_test(test_zero_points_of_weights),
        cmocka_unit_test(test_what_bytes_cannot_say),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
