/* own_operator.c: operators of your own, from the public headers alone.
 *
 *   softsign  y = x / (1 + |x|)        forward and backward as loops in C
 *   mish      y = x tanh(softplus(x))  both written in operators, so it can be derived twice
 *
 * Both are checked against finite differences, trained with, and the trained net becomes a graph
 * that is optimized, planned, saved, loaded by the operators' names, and written as ONNX. */
#include <math.h>
#include <reel/reel.h>
#include <stdio.h>

/* ---- softsign, in C ------------------------------------------------------------------------ */

static reel_status softsign_forward(void *user, reel_custom_call *c,
                                    reel_tensor *const x[], reel_tensor *y[])
{
    (void)user, (void)c;
    reel_tensor *in = reel_cast(x[0], REEL_F64),
                *out = reel_empty(reel_shape_of(in), REEL_F64);
    const double *from = reel_data(in);
    double *to = reel_data(out);
    for (int64_t i = 0; from && to && i < reel_numel(in); i++)
        to[i] = from[i] / (1 + fabs(from[i]));
    y[0] = reel_cast(out, reel_dtype_of(x[0]));
    return reel_error_status();
}

/* dy/dx = 1 / (1 + |x|)^2 = (1 - |y|)^2 */
static reel_status softsign_backward(void *user, reel_custom_call *c,
                                     reel_tensor *const x[], reel_tensor *const y[],
                                     reel_tensor *const gy[], reel_tensor *gx[])
{
    (void)user, (void)c, (void)x;
    reel_tensor *in = reel_cast(y[0], REEL_F64), *out = reel_cast(gy[0], REEL_F64);
    out = reel_copy(out); /* what is lent is not changed */
    const double *from = reel_data(in);
    double *to = reel_data(out);
    for (int64_t i = 0; from && to && i < reel_numel(in); i++)
        to[i] *= (1 - fabs(from[i])) * (1 - fabs(from[i]));
    gx[0] = reel_cast(out, reel_dtype_of(gy[0]));
    return reel_error_status();
}

/* In words of ONNX: x / (1 + |x|). */
static reel_status softsign_onnx(void *user, const reel_custom_call *c, reel_onnx *o)
{
    (void)user, (void)c;
    const reel_onnx_ref *x = reel_onnx_in(o, 0), *one = reel_onnx_number(o, 1, x);
    const reel_onnx_ref *size = reel_onnx_emit(o, "Abs", NULL, 1, &x);
    const reel_onnx_ref *sum[] = {size, one};
    const reel_onnx_ref *quotient[] = {x, reel_onnx_emit(o, "Add", x, 2, sum)};
    return reel_onnx_give(o, 0, reel_onnx_emit(o, "Div", x, 2, quotient));
}

/* ---- mish, in operators ---------------------------------------------------------------------- */

static reel_status mish_forward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                reel_tensor *y[])
{
    (void)user, (void)c;
    y[0] = reel_mul(x[0], reel_tanh(reel_softplus(x[0])));
    return reel_error_status();
}

/* dy/dx = t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x)) */
static reel_status mish_backward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                 reel_tensor *const y[], reel_tensor *const gy[],
                                 reel_tensor *gx[])
{
    (void)user, (void)c, (void)y;
    reel_tensor *t = reel_tanh(reel_softplus(x[0]));
    reel_tensor *inner =
        reel_mul(reel_add_scalar(reel_neg(reel_square(t)), 1), reel_sigmoid(x[0]));
    gx[0] = reel_mul(gy[0], reel_add(t, reel_mul(x[0], inner)));
    return reel_error_status();
}

/* ---- used ------------------------------------------------------------------------------------------ */

static reel_custom_op *softsign, *mish;

static reel_tensor *call(void *op, reel_tensor *const x[], int n)
{
    return reel_custom(op, x, n, NULL);
}

/* A module around an operator is a module of its own with no parameters. */
static reel_tensor *softsign_module(reel_module *self, reel_tensor *x)
{
    (void)self;
    return reel_custom(softsign, &x, 1, NULL);
}

static reel_tensor *mish_module(reel_module *self, reel_tensor *x)
{
    (void)self;
    return reel_custom(mish, &x, 1, NULL);
}

static reel_module *layer(const char *name,
                          reel_tensor *(*forward)(reel_module *, reel_tensor *))
{
    return reel_module_done(reel_module_new(sizeof(reel_module), name, forward));
}

static void check_gradients(void)
{
    reel_tensor *x = reel_requires_grad(reel_randn(REEL_SHAPE(3, 4), REEL_F64), true);
    if (!reel_gradcheck(call, softsign, &x, 1, NULL) &&
        !reel_gradcheck(call, mish, &x, 1, NULL) &&
        !reel_gradgradcheck(call, mish, &x, 1, NULL))
        printf("gradients of both, and the second one of mish, are right\n");
}

/* y = sin(3 x) */
static void train(reel_module *net)
{
    reel_optim *opt = reel_adamw(reel_parameters(net), &(reel_adam_opts){.lr = 0.02});
    for (int step = 0; step <= 300 && !reel_failed(); step++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = reel_rand(REEL_SHAPE(64, 1), REEL_F32);
        reel_tensor *y = reel_sin(reel_mul_scalar(x, 3));
        reel_tensor *loss = reel_mse_loss(reel_forward(net, x), y, REEL_MEAN);
        reel_backward(loss, NULL);
        reel_optim_step(opt);
        reel_optim_zero_grad(opt);
        if (step % 100 == 0) printf("step %d  loss %.5f\n", step, reel_item(loss));
        reel_scope_end(s);
    }
    reel_optim_free(opt);
}

/* The graph computes what the net does, also when it comes back from a file. */
static void save(reel_module *net)
{
    reel_tensor *x = reel_rand(REEL_SHAPE(5, 1), REEL_F32), *y = NULL;
    reel_train(net, false);
    reel_tensor *want = reel_forward(net, x);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_graph_optimize(g, NULL);
    reel_graph_save(g, "own_operator.safetensors");
    reel_onnx_export(g, "own_operator.onnx", NULL);
    reel_graph *back = reel_graph_load("own_operator.safetensors");
    reel_executor *e = reel_executor_new(back, NULL);
    if (!reel_executor_run(e, &x, 1, &y, 1))
        printf("the loaded graph is off by %g\n",
               reel_item(reel_max(reel_abs(reel_sub(y, want)), REEL_ALL, false)));
    reel_executor_free(e);
    reel_graph_free(back);
    reel_graph_free(g);
}

int main(void)
{
    reel_seed(1);
    softsign = reel_custom_op_new("softsign",
                                  &(reel_custom_op_opts){.n_in = 1,
                                                         .n_out = 1,
                                                         .saves = REEL_CUSTOM_OUT(0),
                                                         .forward = softsign_forward,
                                                         .shape = reel_custom_same,
                                                         .backward = softsign_backward,
                                                         .onnx = softsign_onnx,
                                                         .pure = true});
    mish =
        reel_custom_op_new("mish", &(reel_custom_op_opts){.n_in = 1,
                                                          .n_out = 1,
                                                          .saves = REEL_CUSTOM_IN(0),
                                                          .forward = mish_forward,
                                                          .shape = reel_custom_same,
                                                          .backward = mish_backward,
                                                          .backward_in_operators = true,
                                                          .onnx_domain = "my.operators",
                                                          .pure = true});
    check_gradients();
    reel_module *net = reel_nn_sequential(
        reel_nn_linear(1, 16, NULL), layer("mish", mish_module),
        reel_nn_linear(16, 16, NULL), layer("softsign", softsign_module),
        reel_nn_linear(16, 1, NULL));
    train(net);
    save(net);
    reel_module_free(net);
    reel_custom_op_free(softsign);
    reel_custom_op_free(mish);
    reel_scope_end(0);
    printf("%d objects are left\n", (int)reel_live_objects());
    if (reel_failed()) fprintf(stderr, "own_operator: %s\n", reel_error_message());
    return reel_failed();
}
