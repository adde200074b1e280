/* test_graph_fake.c: files of integers go on training.
 *
 *     test_graph_fake               the tests
 *     test_graph_fake --train FILE  loads a quantized file, trains it by some steps and quantizes what
 *                                   came of it; 1 and a line if anything is not as it must be */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/onnx.h>
#include <reel/reel.h>

#include "graph_check.h"
#include "trace/passes/pass.h"

/* ---- graphs --------------------------------------------------------------------------------- */

typedef struct tensors {
    reel_tensor *w, *w_scale, *w_zero, *bias, *b_scale, *x_scale, *x_zero, *v, *v_scale;
} tensors;

static reel_tensor *held(reel_tensor *t)
{
    return reel_keep(t);
}

static reel_tensor *whole(reel_shape s, int64_t low, int64_t high, reel_dtype dtype)
{
    return held(reel_cast(reel_randint(low, high, s, REEL_I64), dtype));
}

static reel_tensor *around(reel_shape s, double least)
{
    reel_tensor *x = reel_mul_scalar(reel_rand(s, REEL_F32), least);
    return held(reel_add_scalar(x, least));
}

static tensors drawn(void)
{
    const reel_shape one = REEL_SCALAR;
    return (tensors){
        .w = whole(REEL_SHAPE(4, 3, 3, 3), -127, 128, REEL_I8),
        .w_scale = around(REEL_SHAPE(4, 1, 1, 1), 0.002),
        .w_zero = held(reel_zeros(one, REEL_I8)),
        .bias = whole(REEL_SHAPE(4), -99, 99, REEL_I32),
        .b_scale = around(REEL_SHAPE(4), 0.01),
        .x_scale = around(one, 0.02),
        .x_zero = held(reel_full(one, 100, REEL_U8)),
        .v = whole(REEL_SHAPE(5, 64), 0, 256, REEL_U8),
        .v_scale = around(one, 0.001),
    };
}

static void release(const tensors *t)
{
    reel_tensor *const all[] = {t->w,       t->w_scale, t->w_zero, t->bias,   t->b_scale,
                                t->x_scale, t->x_zero,  t->v,      t->v_scale};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) reel_release(all[i]);
}

static reel_tensor *steps(const tensors *t, reel_tensor *x)
{
    return reel_quantize(x, t->x_scale, t->x_zero);
}

static reel_tensor *real(const tensors *t, reel_tensor *q)
{
    return reel_dequantize(q, t->x_scale, t->x_zero);
}

/* A convolution, views of bytes, a linear layer. */
static reel_tensor *net(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    const tensors *t = user;
    reel_tensor *w = reel_dequantize(t->w, t->w_scale, t->w_zero),
                *b = reel_dequantize(t->bias, t->b_scale, NULL),
                *v = reel_dequantize(t->v, t->v_scale, t->x_zero);
    reel_tensor *y =
        reel_conv2d(real(t, steps(t, x[0])), w, b, &(reel_conv2d_opts){.padding = 1});
    reel_tensor *q = steps(t, reel_relu(y));
    reel_tensor *pooled = reel_max_pool2d(reel_cast(q, REEL_F32), 2, NULL);
    q = reel_flatten(reel_cast(pooled, REEL_U8), 1, -1);
    return real(t, steps(t, reel_linear(real(t, q), v, NULL)));
}

static reel_graph *traced(reel_function fn, tensors *t)
{
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 3, 8, 8), REEL_F32);
    reel_graph *g = reel_trace_function(fn, t, &x, 1, NULL);
    no_error();
    return g;
}

static int count(const reel_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < reel_graph_nodes(g); i++)
        n += strcmp(reel_graph_node_op(g, i), op) == 0;
    return n;
}

/* The largest of bytes, in another memory order. */
static reel_tensor *pool(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    const tensors *t = user;
    reel_tensor *q = reel_cast(steps(t, x[0]), REEL_F32);
    q = reel_max_pool2d(reel_to_format(q, REEL_CHANNELS_LAST), 2, NULL);
    return real(t, reel_cast(q, REEL_U8));
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_same_bits(void **state)
{
    (void)state;
    static const struct {
        reel_function of;
        int fakes;
    } nets[] = {{net, 5}, {pool, 1}};
    reel_seed(1);
    for (int k = 0; k < 20; k++) {
        tensors t = drawn();
        reel_graph *g = traced(nets[k % 2].of, &t), *f = reel_graph_copy(g);
        assert_int_equal(reel__graph_fake(f), REEL_OK);
        assert_int_equal(reel_graph_check(f), REEL_OK);
        assert_int_equal(count(f, "quantize") + count(f, "dequantize"), 0);
        assert_int_equal(count(f, "fake_quantize"), nets[k % 2].fakes);
        for (int64_t batch = 1; batch < 4; batch++) {
            reel_tensor *x = reel_randn(REEL_SHAPE(batch, 3, 8, 8), REEL_F32), *a, *b;
            reel_graph_run(g, &x, 1, &a, 1);
            reel_graph_run(f, &x, 1, &b, 1);
            same_bits(a, b);
        }
        reel_graph_free(f);
        reel_graph_free(g);
        release(&t);
        reel_scope_end(0);
    }
    assert_int_equal(reel_live_objects(), 0);
}

/* A step of SGD towards zero; the loss before it. */
static double train(reel_module *m, reel_tensor *x, double lr)
{
    reel_scope s = reel_scope_begin();
    reel_optim *sgd = reel_sgd(reel_parameters(m), &(reel_sgd_opts){.lr = lr});
    reel_tensor *y = reel_forward(m, x);
    reel_tensor *loss =
        reel_mse_loss(y, reel_zeros(reel_shape_of(y), REEL_F32), REEL_MEAN);
    double value = reel_item(loss);
    reel_backward(loss, NULL);
    reel_optim_step(sgd);
    reel_optim_free(sgd);
    reel_scope_end(s);
    return value;
}

static void test_loss_goes_down(void **state)
{
    (void)state;
    reel_seed(2);
    tensors t = drawn();
    reel_graph *g = traced(net, &t);
    assert_int_equal(reel__graph_fake(g), REEL_OK);
    reel_module *m = reel_graph_module(g);
    no_error();
    assert_int_equal(reel_parameters(m).n, 3);
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3, 8, 8), REEL_F32);
    double first = train(m, x, 0.01), last = first;
    for (int k = 0; k < 30; k++) last = train(m, x, 0.01);
    no_error();
    if (!(last < 0.8 * first)) fail_msg("%g, then %g", first, last);
    reel_module_free(m);
    reel_graph_free(g);
    release(&t);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), 0);
}

static reel_tensor *another_scale(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    const tensors *t = user;
    return reel_dequantize(steps(t, x[0]), t->v_scale, t->x_zero);
}

static void test_what_cannot_be_trained(void **state)
{
    (void)state;
    tensors t = drawn();
    reel_graph *g = traced(another_scale, &t);
    assert_int_equal(reel__graph_fake(g), REEL_ERR_UNSUPPORTED);
    expect(REEL_ERR_UNSUPPORTED, "dequantize of u8[2,3,8,8]");
    reel_graph_free(g);
    release(&t);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), 0);
}

/* ---- a file of others ----------------------------------------------------------------------- */

static int wrong(const char *what)
{
    printf("%s%s%s\n", what, reel_failed() ? ": " : "", reel_error_message());
    return 1;
}

/* A scale, which is a state or a look at one. */
static reel_tensor *scale_of(const reel_graph *g, int v)
{
    const reel__value *x = &g->value[v];
    if (reel__is_state(x)) return x->tensor;
    const reel__gnode *n = &g->node[x->maker];
    if (strcmp(n->op->name, "reshape") != 0) return NULL;
    return reel_reshape(scale_of(g, n->in[0]), reel__shape(&x->meta));
}

/* The integers that stand for the k-th faked parameter now; NULL: there are no more. */
static reel_tensor *integers(const reel_graph *g, int k)
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        if (strcmp(n->op->name, "fake_quantize") != 0) continue;
        const reel__value *w = &g->value[n->in[0]];
        if (w->kind != REEL_VALUE_PARAM || k-- > 0) continue;
        reel_tensor *scale = scale_of(g, n->in[1]);
        return scale ? reel_round(reel_div(w->tensor, scale)) : NULL;
    }
    return NULL;
}

enum { MOST = 256 };

/* How many of the integers are others than they were. */
static int64_t moved(const reel_graph *g, reel_tensor *const was[], int n)
{
    double sum = 0;
    for (int k = 0; k < n; k++) {
        reel_tensor *other = reel_cast(reel_ne(was[k], integers(g, k)), REEL_F64);
        sum += reel_item(reel_sum(reel_flatten(other, 0, -1), REEL_SHAPE(0), false));
    }
    return (int64_t)sum;
}

/* What is wrong with four steps of m on x, of which g is the graph; NULL. */
static const char *four_steps(const reel_graph *g, reel_module *m, reel_tensor *x)
{
    reel_tensor *was[MOST];
    int n = 0;
    bool grad = reel_set_grad_enabled(false);
    while (n < MOST && (was[n] = integers(g, n))) n++;
    (void)reel_set_grad_enabled(grad);
    double before = train(m, x, 1e-2), after = before;
    for (int k = 0; k < 4; k++) after = train(m, x, 1e-2);
    if (reel_failed()) return "it does not train";
    (void)reel_set_grad_enabled(false);
    int64_t others = moved(g, was, n);
    (void)reel_set_grad_enabled(grad);
    printf("%d parameters, %d of them faked among %d fake_quantize; loss %.6g, 4 steps "
           "later %.6g; %d integers moved\n",
           (int)reel_parameters(m).n, n, count(g, "fake_quantize"), before, after,
           (int)others);
    if (!isfinite(before) || !(after < before)) return "the loss is not less";
    return !n || !others ? "quantized again it is the same" : NULL;
}

static int train_file(const char *path)
{
    reel_seed(1);
    const char *bad = "it is not trainable";
    reel_graph *g = reel_onnx_load(path, NULL);
    if (g && !reel__graph_fake(g)) {
        reel_module *m = reel_graph_module(g);
        reel_dtype dtype;
        reel_shape s = reel_graph_input_shape(g, 0, &dtype);
        s.dim[0] = 4;
        bad = four_steps(g, m, reel_randn(s, dtype));
        reel_module_free(m);
    }
    reel_graph_free(g);
    reel_scope_end(0);
    if (!bad && reel_live_objects()) bad = "objects are left";
    return bad ? wrong(bad) : 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--train") == 0) return train_file(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_loss_goes_down),
        cmocka_unit_test(test_what_cannot_be_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
