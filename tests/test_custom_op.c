/* test_custom_op.c: operators of a user's own, in everything that operators are in: the tape,
 * captures, passes, plans, files, steps, checkpoints, ONNX; and what goes wrong in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>

#include "base/alloc.h"
#include "graph_check.h"
#include "support/each_test.h"
#include "support/misuse.h"
#include "support/own_ops.h"
#include "temp_folder.h"

static reel_tensor *leaf(reel_shape shape, reel_dtype dtype)
{
    return reel_requires_grad(reel_randn(shape, dtype), true);
}

static const reel_custom_attr half_scale = {
    .name = "scale", .is_real = true, .whole = 0, .real = 0.5};
static const reel_custom_args half = {.attrs = &half_scale, .n_attrs = 1};

/* ---- values and gradients -------------------------------------------------------------------- */

static reel_tensor *call(void *user, reel_tensor *const x[], int n)
{
    return reel_custom(user, x, n, NULL);
}

static reel_tensor *call_half(void *user, reel_tensor *const x[], int n)
{
    return reel_custom(user, x, n, &half);
}

/* Both outputs. */
static reel_tensor *call_unit(void *user, reel_tensor *const x[], int n)
{
    reel_tensor *in[2] = {x[0], n > 1 ? x[1] : NULL}, *y[2];
    if (reel_custom_run(user, in, 2, y, 2, NULL)) return NULL;
    return reel_mul(y[0], reel_unsqueeze(reel_exp(y[1]), -1));
}

static void test_values(void **state)
{
    (void)state;
    reel_custom_op *op = own_cube("own_cube", NULL);
    reel_tensor *x = reel_from((float[]){1, -2, 3}, REEL_SHAPE(3), REEL_F32);
    reel_tensor *y = reel_custom(
        op, &x, 1,
        &(reel_custom_args){.attrs = (reel_custom_attr[]){REEL_CUSTOM_INT("shift", 7),
                                                          REEL_CUSTOM_REAL("scale", 2)},
                            .n_attrs = 2});
    no_error();
    const float want[] = {9, -9, 61};
    for (int i = 0; i < 3; i++)
        assert_float_equal(reel_item(reel_narrow(y, 0, i, 1)), want[i], 0);
    assert_string_equal(reel_custom_op_name(op), "own_cube");
    assert_string_equal(reel_custom_op_name(NULL), "");
    reel_custom_op_free(op);
}

static void test_gradients(void **state)
{
    (void)state;
    for (int no_rule = 0; no_rule < 2; no_rule++) {
        const own_opts o = {.no_rule = no_rule};
        reel_custom_op *cube = own_cube("own_cube", &o),
                       *swish = own_swish("own_swish", &o),
                       *unit = own_unit("own_unit", NULL);
        reel_tensor *x[] = {leaf(REEL_SHAPE(3, 4), REEL_F64),
                            leaf(REEL_SHAPE(4), REEL_F64)};
        reel_gradcheck(call, cube, x, 1, NULL);
        reel_gradcheck(call_half, cube, x, 1, NULL);
        reel_gradcheck(call, swish, x, 1, NULL);
        reel_gradgradcheck(call_half, swish, x, 1, NULL);
        reel_gradcheck(call_unit, unit, x, 2, NULL);
        reel_gradcheck(call_unit, unit, x, 1, NULL);
        reel_tensor *across[] = {reel_transpose(x[0], 0, 1)}; /* not contiguous */
        reel_gradcheck(call, cube, across, 1, NULL);
        no_error();
        reel_custom_op_free(cube);
        reel_custom_op_free(swish);
        reel_custom_op_free(unit);
    }
}

/* A backward in C has no derivative, and says so when it is asked for one, not before. */
static void test_second_order(void **state)
{
    (void)state;
    reel_custom_op *op = own_cube("own_cube", NULL);
    reel_tensor *x = leaf(REEL_SHAPE(3), REEL_F64), *gx, *ggx;
    const reel_backward_opts create = {.create_graph = true};
    reel_tensor *y = sum(reel_custom(op, &x, 1, NULL));
    assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &gx, &create), REEL_OK);
    gx = sum(gx);
    reel_grad(&gx, 1, NULL, &x, 1, &ggx, NULL);
    expect_error(REEL_ERR_UNSUPPORTED,
                 "own_cube_backward has no gradient (its backward is "
                 "not written in operators)");
    reel_custom_op_free(op);
}

static void test_layouts(void **state)
{
    (void)state;
    reel_custom_op *op = own_cube("own_cube", NULL);
    reel_tensor *x = leaf(REEL_SHAPE(2, 3, 4), REEL_F32);
    reel_tensor *views[] = {reel_transpose(x, 0, 2), reel_slice(x, 2, 0, 4, 2),
                            reel_narrow(x, 1, 0, 0),
                            reel_expand(reel_narrow(x, 0, 0, 1), REEL_SHAPE(5, 3, 4))};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        reel_tensor *dense = reel_contiguous(views[i]);
        reel_tensor *y = reel_custom(op, &views[i], 1, NULL);
        same_bits(y, reel_custom(op, &dense, 1, NULL));
        assert_int_equal(reel_backward(sum(y), NULL), REEL_OK);
    }
    reel_custom_op_free(op);
}

/* ---- graphs --------------------------------------------------------------------------------------- */

typedef struct ops {
    reel_custom_op *cube, *swish, *unit;
} ops;

static ops make_ops(const own_opts *o)
{
    own_opts rule = o ? *o : (own_opts){.freed = NULL};
    rule.no_rule = false;
    return (ops){own_cube("own_cube", o), own_swish("own_swish", o),
                 own_unit("own_unit", &rule)};
}

static void free_ops(ops *o)
{
    reel_custom_op_free(o->cube);
    reel_custom_op_free(o->swish);
    reel_custom_op_free(o->unit);
}

/* x [n, 6] */
static reel_tensor *program(void *user, reel_tensor *const x[], int n)
{
    const ops *o = user;
    (void)n;
    reel_tensor *a = reel_relu(reel_custom(o->cube, &x[0], 1, &half));
    reel_tensor *b = reel_custom(o->swish, &a, 1, NULL), *u[2];
    reel_tensor *in[2] = {reel_transpose(reel_reshape(b, REEL_SHAPE(-1, 3, 2)), 1, 2),
                          NULL};
    if (reel_custom_run(o->unit, in, 2, u, 2, NULL)) return NULL;
    return reel_add(reel_mul(u[0], reel_unsqueeze(u[1], -1)), in[0]);
}

static reel_tensor *run(reel_graph *g, reel_tensor *x)
{
    reel_tensor *y = NULL;
    return reel_graph_run(g, &x, 1, &y, 1) ? NULL : y;
}

static reel_tensor *planned(const reel_graph *g, reel_tensor *x)
{
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.poison = true});
    reel_tensor *y = NULL;
    (void)reel_executor_run(e, &x, 1, &y, 1);
    reel_executor_free(e);
    return y;
}

static int nodes(const reel_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < reel_graph_nodes(g); i++)
        n += strcmp(reel_graph_node_op(g, i), op) == 0;
    return n;
}

/* Traced, optimized, planned, as text, saved, loaded: at several batch sizes the same bits, and
 * the graph outlives the handles. */
static void test_graph(void **state)
{
    (void)state;
    for (int no_rule = 0; no_rule < 2; no_rule++) {
        int freed = 0;
        ops o = make_ops(&(own_opts){.no_rule = no_rule, .freed = &freed});
        reel_tensor *x = leaf(REEL_SHAPE(2, 6), REEL_F32), *five, *want, *y;
        five = reel_randn(REEL_SHAPE(5, 6), REEL_F32);
        reel_graph *g = reel_trace_function(program, &o, &x, 1, NULL);
        no_error();
        want = program(&o, &five, 1);
        assert_int_equal(nodes(g, "own_cube"), 1);
        assert_int_equal(nodes(g, "own_unit"), 1);
        same_bits(want, run(g, five));
        same_bits(want, planned(g, five));
        reel_graph_optimize(g, NULL);
        reel_graph_optimize(g, NULL);
        same_bits(want, run(g, five));
        same_bits(want, planned(g, five));
        assert_int_equal(nodes(g, "own_cube"), 1);
        reel_graph_save(g, temp_path("own.safetensors"));
        no_error();
        free_ops(&o);
        assert_int_equal(freed, 0);
        reel_graph *back = reel_graph_load(temp_path("own.safetensors"));
        no_error();
        reel_graph_free(g);
        same_bits(want, run(back, five));
        y = run(back, x);
        assert_int_equal(reel_backward(sum(y), NULL), REEL_OK);
        reel_graph_free(back);
        reel_set_grad(x, NULL);
        assert_int_equal(freed, 0); /* `want` and y have histories */
        reel_scope_end(0);
        assert_int_equal(freed, 3);
        assert_null(reel_graph_load(temp_path("own.safetensors")));
        expect(REEL_ERR_FORMAT, "no operator is called own_");
    }
}

/* The gradient of a program as a graph: backwards in C are nodes, others are seen through. */
static void test_gradient_graph(void **state)
{
    (void)state;
    for (int no_rule = 0; no_rule < 2; no_rule++) {
        ops o = make_ops(&(own_opts){.no_rule = no_rule});
        reel_tensor *x = leaf(REEL_SHAPE(4, 6), REEL_F32), *gx;
        reel_capture_begin();
        reel_capture_input(x, "x");
        reel_tensor *y = sum(program(&o, &x, 1));
        reel_grad(&y, 1, NULL, &x, 1, &gx, NULL);
        reel_tensor *both[] = {y, gx};
        reel_graph *g = reel_capture_end(both, 2, NULL);
        no_error();
        assert_string_equal(reel_graph_reads(g), "");
        assert_int_equal(nodes(g, "own_cube_backward"), 1);
        assert_int_equal(nodes(g, "own_unit_backward"), 1);
        assert_int_equal(nodes(g, "own_swish_backward"), 0);
        reel_graph_optimize(g, NULL);
        reel_graph_save(g, temp_path("gradient.safetensors"));
        reel_graph *again = reel_graph_load(temp_path("gradient.safetensors"));
        no_error();
        reel_tensor *z = leaf(REEL_SHAPE(4, 6), REEL_F32), *got[2], *gz;
        reel_tensor *w = sum(program(&o, &z, 1));
        reel_grad(&w, 1, NULL, &z, 1, &gz, NULL);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(reel_graph_run(i ? again : g, &z, 1, got, 2), REEL_OK);
            same_bits(w, got[0]);
            same_bits(gz, got[1]);
        }
        reel_graph_free(g);
        reel_graph_free(again);
        free_ops(&o);
        reel_scope_end(0); /* and with the histories, the names */
    }
}

/* Of calls that could be shared, left out or computed beforehand: those of a pure operator are. */
static void test_purity(void **state)
{
    (void)state;
    for (int effect = 0; effect < 2; effect++) {
        reel_custom_op *op = own_cube("own_cube", &(own_opts){.effect = effect});
        reel_tensor *x = reel_randn(REEL_SHAPE(2, 3), REEL_F32), *y = NULL;
        reel_capture_begin();
        reel_capture_input(x, "x");
        reel_tensor *c = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
        reel_tensor *a = reel_custom(op, &x, 1, NULL), *b = reel_custom(op, &x, 1, NULL);
        reel_tensor *known = reel_custom(op, &c, 1, NULL);
        (void)reel_custom(op, &a, 1, NULL); /* nobody reads it */
        y = reel_add(reel_add(a, b), known);
        reel_graph *g = reel_capture_end(&y, 1, NULL);
        assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
        assert_int_equal(nodes(g, "own_cube"), effect ? 4 : 1);
        reel_executor *e = reel_executor_new(g, NULL);
        int before = own_calls();
        for (int i = 0; i < 3; i++) {
            reel_tensor *z = NULL;
            assert_int_equal(reel_executor_run(e, &x, 1, &z, 1), REEL_OK);
            same_bits(y, z);
        }
        assert_int_equal(own_calls() - before, effect ? 12 : 3);
        reel_executor_free(e);
        reel_graph_free(g);
        reel_custom_op_free(op);
    }
}

static reel_tensor *watched;

/* Reads a state that is not among its inputs, as a log of the user's may. */
static reel_status peek(void *user, reel_custom_call *c, reel_tensor *const x[],
                        reel_tensor *y[])
{
    (void)user, (void)c;
    y[0] = reel_add(x[0], watched);
    return reel_error_status();
}

/* A change of state, which could run early, stays behind a call that is not pure. */
static void test_order(void **state)
{
    (void)state;
    reel_custom_op *op = reel_custom_op_new(
        "peek", &(reel_custom_op_opts){
                    .n_in = 1, .n_out = 1, .forward = peek, .shape = reel_custom_same});
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32), *z = NULL;
    reel_tensor *rate = reel_scalar(1, REEL_F64);
    watched = reel_zeros(REEL_SHAPE(2), REEL_F32);
    reel_capture_begin();
    reel_capture_input(x, "x");
    reel_capture_state(watched, "w", true);
    reel_tensor *y = reel_custom(op, &x, 1, NULL);
    reel_sgd_step(watched, x, NULL, rate, NULL);
    reel_graph *g = reel_capture_end(&y, 1, NULL);
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    assert_string_equal(reel_graph_node_op(g, 0), "peek");
    reel_executor *e = reel_executor_new(g, NULL);
    for (int i = 1; i < 4; i++) {
        z = NULL;
        assert_int_equal(reel_executor_run(e, &x, 1, &z, 1), REEL_OK);
        assert_true(reel_item(sum(z)) == 2 * (1 - i));
    }
    reel_executor_free(e);
    reel_graph_free(g);
    reel_custom_op_free(op);
}

/* ---- steps and checkpoints ----------------------------------------------------------------------- */

typedef struct trained {
    ops o;
    reel_tensor *w;
} trained;

static reel_status step(void *user, reel_tensor *const x[], int n, reel_tensor *y[],
                        int n_y)
{
    trained *t = user;
    (void)n, (void)n_y;
    reel_tensor *h = reel_mul(x[0], t->w);
    y[0] = reel_mean(program(&t->o, &h, 1), REEL_ALL, false);
    reel_backward(y[0], NULL);
    bool was = reel_set_grad_enabled(false);
    reel_sub_(t->w, reel_mul_scalar(reel_grad_of(t->w), 0.1));
    reel_set_grad_enabled(was);
    return reel_set_grad(t->w, NULL);
}

static void test_step(void **state)
{
    (void)state;
    double loss[2][6];
    for (int graph = 0; graph < 2; graph++) {
        trained t = {.o = make_ops(NULL)};
        t.w = reel_keep(reel_requires_grad(reel_ones(REEL_SHAPE(6), REEL_F32), true));
        reel_compiled *s = reel_compile(step, &t, &(reel_compile_opts){.exact = true});
        reel_seed(3);
        for (int i = 0; i < 6; i++) {
            reel_tensor *x = reel_randn(REEL_SHAPE(4, 6), REEL_F32), *y;
            if (graph)
                reel_compiled_run(s, &x, 1, &y, 1);
            else
                step(&t, &x, 1, &y, 1);
            no_error();
            loss[graph][i] = reel_item(y);
        }
        assert_true(!graph || nodes(reel_compiled_graph(s), "own_unit_backward") == 1);
        reel_compiled_free(s);
        reel_release(t.w);
        free_ops(&t.o);
        reel_scope_end(0);
    }
    assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
}

static void test_checkpoint(void **state)
{
    (void)state;
    for (int no_rule = 0; no_rule < 2; no_rule++) {
        ops o = make_ops(&(own_opts){.no_rule = no_rule});
        reel_tensor *x = leaf(REEL_SHAPE(4, 6), REEL_F32), *y, *gx, *again;
        y = sum(program(&o, &x, 1));
        reel_grad(&y, 1, NULL, &x, 1, &gx, NULL);
        y = sum(reel_checkpoint(program, &o, &x, 1));
        reel_grad(&y, 1, NULL, &x, 1, &again, NULL);
        same_bits(gx, again);
        free_ops(&o);
        reel_scope_end(0);
    }
}

/* ---- ONNX ------------------------------------------------------------------------------------------ */

static reel_tensor *cubed(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_relu(reel_custom(user, x, 1, &half));
}

/* By a rule, which needs nobody; as a node of a domain of its own, which needs the operator. */
static void test_onnx(void **state)
{
    (void)state;
    for (int rule = 0; rule < 2; rule++) {
        reel_custom_op *op =
            own_cube("own_cube", &(own_opts){.onnx = rule ? own_cube_onnx : NULL});
        reel_tensor *x = reel_randn(REEL_SHAPE(3, 4), REEL_F32);
        reel_graph *g = reel_trace_function(cubed, op, &x, 1, NULL);
        reel_onnx_export(g, temp_path("own.onnx"), NULL);
        reel_tensor *want = run(g, x);
        no_error();
        reel_graph *back = reel_onnx_load(temp_path("own.onnx"), NULL);
        no_error();
        if (!rule) same_bits(want, run(back, x));
        reel_graph_free(back);
        reel_graph_free(g);
        reel_custom_op_free(op);
        reel_scope_end(0);
        back = reel_onnx_load(temp_path("own.onnx"), NULL);
        assert_true(rule ? back != NULL : !back);
        if (!rule) expect(REEL_ERR_UNSUPPORTED, "reel.custom.own_cube");
        reel_graph_free(back);
    }
}

/* Several outputs, an absent input, a result that is only saved. */
static void test_onnx_outputs(void **state)
{
    (void)state;
    ops o = make_ops(NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 6), REEL_F32);
    reel_graph *g = reel_trace_function(program, &o, &x, 1, NULL);
    reel_onnx_export(g, temp_path("all.onnx"), NULL);
    no_error();
    reel_graph *back = reel_onnx_load(temp_path("all.onnx"), NULL);
    same_bits(run(g, x), run(back, x));
    reel_graph_free(back);
    reel_graph_free(g);
    free_ops(&o);
}

/* ---- what goes wrong --------------------------------------------------------------------------------- */

enum fault {
    SETS_NOTHING,
    OTHER_SHAPE,
    OTHER_DTYPE,
    FAILS,
    FAILS_SILENTLY,
    CHANGES_INPUT,
    NO_FAULT
};

static reel_tensor *faulty(enum fault f, reel_tensor *x)
{
    switch (f) {
    case SETS_NOTHING: return NULL;
    case OTHER_SHAPE: return reel_ones(REEL_SHAPE(7), REEL_F32);
    case OTHER_DTYPE: return reel_cast(x, REEL_F64);
    case FAILS: reel_fail(REEL_ERR_NUMERIC, "the sky fell"); return x;
    case CHANGES_INPUT: return reel_mul_scalar_(x, 2);
    default: return x;
    }
}

typedef struct faults {
    enum fault forward, backward;
    int freed;
} faults;

static reel_status faulty_forward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                  reel_tensor *y[])
{
    (void)c;
    y[0] = faulty(((faults *)user)->forward, x[0]);
    return ((faults *)user)->forward == FAILS_SILENTLY ? REEL_ERR_NUMERIC : REEL_OK;
}

static reel_status faulty_backward(void *user, reel_custom_call *c,
                                   reel_tensor *const x[], reel_tensor *const y[],
                                   reel_tensor *const gy[], reel_tensor *gx[])
{
    (void)c, (void)x, (void)y;
    gx[0] = faulty(((faults *)user)->backward, gy[0]);
    return ((faults *)user)->backward == FAILS_SILENTLY ? REEL_ERR_NUMERIC : REEL_OK;
}

static void count(void *user)
{
    ((faults *)user)->freed++;
}

static reel_custom_op *faulty_op(faults *f, bool in_operators, bool rule)
{
    return reel_custom_op_new(
        "faulty", &(reel_custom_op_opts){.n_in = 1,
                                         .n_out = 1,
                                         .forward = faulty_forward,
                                         .shape = rule ? reel_custom_same : NULL,
                                         .backward = faulty_backward,
                                         .backward_in_operators = in_operators,
                                         .user = f,
                                         .free_user = count});
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        reel_status status;
        const char *forward, *backward;
    } want[] = {
        {REEL_ERR_STATE, "the forward did not set the output 0",
         "the backward did not set the gradient of input 0"},
        {REEL_ERR_SHAPE, "the forward gives f32[7] as the output 0",
         "the backward gives f32[7] as the gradient of input 0"},
        {REEL_ERR_DTYPE, "the forward gives f64[2,3]", "the backward gives f64[2,3]"},
        {REEL_ERR_NUMERIC, "the sky fell", "the sky fell"},
        {REEL_ERR_NUMERIC, "failed", "failed"},
        {REEL_ERR_STATE, "changed operand 0 in place", "changed operand 2 in place"},
    };
    for (int i = 0; i < NO_FAULT * 4; i++) {
        enum fault fault = (enum fault)(i / 4);
        bool in_operators = i & 1, rule = i & 2;
        faults f = {fault, NO_FAULT, 0};
        reel_custom_op *op = faulty_op(&f, in_operators, rule);
        reel_tensor *x = leaf(REEL_SHAPE(2, 3), REEL_F32), *y = NULL;
        /* without a rule any shape is right */
        bool right = !rule && (fault == OTHER_SHAPE || fault == OTHER_DTYPE);
        y = reel_custom(op, &x, 1, NULL);
        assert_true(right == (y != NULL));
        if (!right) expect_error(want[fault].status, want[fault].forward);
        f = (faults){NO_FAULT, fault, 0};
        bool unseen =
            in_operators && fault == CHANGES_INPUT; /* gy is the vjp's own there */
        y = sum(reel_square(reel_custom(op, &x, 1, NULL)));
        assert_true(unseen || reel_backward(y, NULL) != REEL_OK);
        if (!unseen) expect_error(want[fault].status, want[fault].backward);
        reel_custom_op_free(op);
        reel_scope_end(0);
        assert_int_equal(f.freed, 1);
    }
}

/* In a graph as well, where the shape is known from before. */
static void test_graph_faults(void **state)
{
    (void)state;
    for (int rule = 0; rule < 2; rule++) {
        faults f = {NO_FAULT, NO_FAULT, 0};
        reel_custom_op *op = faulty_op(&f, false, rule);
        reel_tensor *x = reel_randn(REEL_SHAPE(2, 3), REEL_F32), *y = NULL;
        reel_graph *g = reel_trace_function(call, op, &x, 1, NULL);
        reel_executor *e = reel_executor_new(g, NULL);
        no_error();
        for (f.forward = SETS_NOTHING; f.forward < NO_FAULT; f.forward++) {
            assert_null(run(g, x));
            assert_true(reel_failed());
            reel_error_clear();
            assert_int_not_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
            assert_null(y);
            reel_error_clear();
        }
        assert_int_equal(reel_executor_run(e, &x, 1, &y, 1), REEL_OK);
        same_bits(x, y);
        reel_executor_free(e);
        reel_graph_free(g);
        reel_custom_op_free(op);
        assert_int_equal(f.freed, 1);
    }
}

static void test_options(void **state)
{
    (void)state;
    faults f = {NO_FAULT, NO_FAULT, 0};
    reel_custom_op_opts good = {.n_in = 1,
                                .n_out = 1,
                                .forward = faulty_forward,
                                .user = &f,
                                .free_user = count},
                        bad = good;
    const reel_custom_attr twice[] = {REEL_CUSTOM_INT("a", 1), REEL_CUSTOM_REAL("a", 1)};
    int expected = 0;
#define WRONG(name, field, value, words)                                                 \
    bad = good;                                                                          \
    bad.field = (value);                                                                 \
    assert_null(reel_custom_op_new(name, &bad));                                         \
    expect(REEL_ERR_ARG, words);                                                         \
    assert_int_equal(f.freed, ++expected)
    WRONG("Bad", n_in, 1, "the name Bad");
    WRONG(NULL, n_in, 1, "the name is NULL");
    WRONG("relu", n_in, 1, "there is an operator \"relu\" already");
    WRONG("own", n_in, 17, "n_in is 0 to 16");
    WRONG("own", n_out, 0, "n_out is 1 to 8");
    WRONG("own", n_saved, 8, "n_out is 1 to 8");
    WRONG("own", n_saved, -1, "n_out is 1 to 8");
    WRONG("own", optional, 2, "is optional");
    WRONG("own", n_attrs, 1, "attributes");
    WRONG("own", n_attrs, 33, "attributes");
    bad = good;
    bad.attrs = twice;
    bad.n_attrs = 2;
    assert_null(reel_custom_op_new("own", &bad));
    expect(REEL_ERR_ARG, "two attributes have one name");
    expected++;
    WRONG("own", forward, NULL, "the forward is NULL");
    assert_null(reel_custom_op_new("own", NULL));
    expect(REEL_ERR_ARG, "opts is NULL");
    reel_custom_op *op = reel_custom_op_new("own", &good);
    assert_non_null(op);
    WRONG("own", n_in, 1, "there is an operator \"own\" already");
    assert_ptr_equal(reel_custom_op_keep(op), op);
    reel_custom_op_free(op);
    assert_int_equal(f.freed, expected);
    reel_custom_op_free(op);
    assert_int_equal(f.freed, expected + 1);
    reel_custom_op_free(NULL);
    assert_null(reel_custom_op_keep(NULL));
}

static void test_calls(void **state)
{
    (void)state;
    reel_custom_op *op = own_cube("own_cube", NULL), *unit = own_unit("own_unit", NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(2), REEL_F32), *y[3], *two[2] = {x, x};
    assert_null(reel_custom(NULL, &x, 1, NULL));
    expect(REEL_ERR_ARG, "op is NULL");
    assert_null(reel_custom(op, NULL, 1, NULL));
    expect(REEL_ERR_ARG, "x is NULL");
    assert_null(reel_custom(op, two, 2, NULL));
    expect(REEL_ERR_ARG, "own_cube: 2 inputs; it takes 1");
    assert_null(reel_custom(op, (reel_tensor *[]){NULL}, 1, NULL));
    expect(REEL_ERR_ARG, "own_cube: input 0 is NULL");
    reel_custom_run(unit, two, 2, y, 3, NULL);
    expect(REEL_ERR_ARG, "another number of outputs");
    reel_custom_run(unit, two, 2, NULL, 2, NULL);
    expect(REEL_ERR_ARG, "y is NULL");
    two[1] = reel_randn(REEL_SHAPE(3), REEL_F32);
    reel_custom_run(unit, two, 2, y, 2, NULL);
    expect(REEL_ERR_SHAPE, "unit: x [..., d] and bias [d] are needed");
    const reel_custom_attr wrong[] = {REEL_CUSTOM_INT("scale", 1),
                                      REEL_CUSTOM_INT("other", 1)};
    assert_null(
        reel_custom(op, &x, 1, &(reel_custom_args){.attrs = &wrong[0], .n_attrs = 1}));
    expect(REEL_ERR_ARG, "\"scale\" is a real one");
    assert_null(
        reel_custom(op, &x, 1, &(reel_custom_args){.attrs = &wrong[1], .n_attrs = 1}));
    expect(REEL_ERR_ARG, "it has no attribute \"other\"");
    assert_null(reel_custom(op, &x, 1, &(reel_custom_args){.attrs = NULL, .n_attrs = 1}));
    expect(REEL_ERR_ARG, "attrs is NULL");
    reel_custom_op_free(op);
    reel_custom_op_free(unit);
}

/* Attributes of a text say anything. */
static void test_hostile_text(void **state)
{
    (void)state;
    reel_custom_op *op = own_cube("own_cube", &(own_opts){.no_rule = true});
    static const char *const texts[] = {
        "input x f32[2]\n%1 f32[2] = own_cube(x)\noutput y = %1\n",
        "input x f32[2]\n%1 f32[2] = own_cube(x) result0=99,1,2\noutput y = %1\n",
        "input x f32[2]\n%1 f32[2] = own_cube(x) result0=0,9,2\noutput y = %1\n",
        "input x f32[2]\n%1 f32[2] = own_cube(x) result0=0,1,-2\noutput y = %1\n",
        "input x f32[2]\n%1 f32[2] = own_cube(x, x) result0=0,1,2\noutput y = %1\n",
        "input x f32[2]\n%1 f32[2] = own_cube(x) none=1\noutput y = %1\n",
        "input x f32[2]\n%1 f32[2] = own_cube_backward(x) needs=1 operands=3\n",
        "input x f32[2]\n%1 f32[2] = own_cube_backward(x) needs=3 operands=1\n",
        "input x f32[2]\n%1 f32[2] = own_cube_backward(x) needs=0 operands=1\n",
        "input x f32[2]\n- = own_cube_backward(x) needs=1 operands=1 result0=0,-1\n",
        "input x f32[2]\n%1 f32[2] = own_other(x)\noutput y = %1\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_null(reel_graph_parse(texts[i], NULL, NULL));
        assert_true(reel_failed());
        reel_error_clear();
    }
    /* operands that the backward does not expect: its own error, or zeros, but nothing else */
    reel_graph *g =
        reel_graph_parse("input x f32[2]\n%1 f32[2] = own_cube_backward(x, x) "
                         "scale=1 needs=1 operands=4294967297 result0=0,1,2\n"
                         "output y = %1\n",
                         NULL, NULL);
    no_error();
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32);
    assert_float_equal(reel_item(sum(run(g, x))), 6, 0);
    reel_graph_free(g);
    reel_custom_op_free(op);
}

/* ---- within the functions ------------------------------------------------------------------------- */

static reel_tensor *kept;

/* Keeps what it is lent, reads values, uses gradients and graphs of its own, draws. */
static reel_status busy(void *user, reel_custom_call *c, reel_tensor *const x[],
                        reel_tensor *y[])
{
    (void)user, (void)c;
    assert_false(reel_capturing());
    if (!kept) kept = reel_keep(x[0]);
    double most = reel_item(reel_max(x[0], REEL_ALL, false));
    reel_tensor *in = reel_requires_grad(reel_copy(x[0]), true), *g;
    bool was = reel_set_grad_enabled(true);
    reel_tensor *s = sum(reel_square(in));
    reel_grad(&s, 1, NULL, &in, 1, &g, NULL);
    reel_set_grad_enabled(was);
    reel_executor *e = reel_executor_new(user, NULL);
    reel_tensor *z = NULL;
    (void)reel_executor_run(e, &g, 1, &z, 1);
    reel_executor_free(e);
    y[0] = reel_mul_scalar(z, most > -1e9 ? 0.5 : 0);
    return reel_error_status();
}

static reel_tensor *relu(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return reel_relu(x[0]);
}

static reel_tensor *busy_program(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor *h = reel_add_scalar(x[0], 1);
    return reel_neg(reel_custom(user, &h, 1, NULL));
}

/* What a forward does is its own: a capture, a tape and an executor around it see one call. */
static void test_inside(void **state)
{
    (void)state;
    reel_tensor *x = reel_randn(REEL_SHAPE(3, 4), REEL_F32);
    reel_graph *inner = reel_trace_function(relu, NULL, &x, 1, NULL);
    reel_custom_op *op =
        reel_custom_op_new("busy", &(reel_custom_op_opts){.n_in = 1,
                                                          .n_out = 1,
                                                          .forward = busy,
                                                          .shape = reel_custom_same,
                                                          .user = inner});
    reel_graph *g = reel_trace_function(busy_program, op, &x, 1, NULL);
    no_error();
    assert_int_equal(reel_graph_nodes(g), 3);
    assert_string_equal(reel_graph_reads(g), "");
    reel_tensor *want = reel_neg(reel_relu(reel_add_scalar(x, 1)));
    same_bits(want, planned(g, x));
    reel_release(kept);
    kept = NULL;
    same_bits(want, planned(g, x)); /* keeps what lies in the arena */
    same_bits(reel_add_scalar(x, 1), kept);
    reel_release(kept);
    kept = NULL;
    reel_graph_free(g);
    reel_graph_free(inner);
    reel_custom_op_free(op);
}

static reel_status swapped(void *user, reel_custom_call *c, reel_tensor *const x[],
                           reel_tensor *y[])
{
    (void)user;
    y[1] = reel_copy_(reel_custom_result(c, 0), x[0]);
    y[0] = reel_neg(reel_copy_(reel_custom_result(c, 1), x[0]));
    y[0] = reel_copy_(reel_custom_result(c, 1), y[0]);
    return reel_error_status();
}

/* Memory of one result may be given as another one. */
static void test_swapped_results(void **state)
{
    (void)state;
    reel_custom_op *op = reel_custom_op_new(
        "swapped",
        &(reel_custom_op_opts){
            .n_in = 1, .n_out = 2, .forward = swapped, .shape = reel_custom_same});
    reel_tensor *x = reel_randn(REEL_SHAPE(5), REEL_F32), *y[2];
    assert_int_equal(reel_custom_run(op, &x, 1, y, 2, NULL), REEL_OK);
    same_bits(reel_neg(x), y[0]);
    same_bits(x, y[1]);
    reel_custom_op_free(op);
}

static reel_status joined(void *user, reel_custom_call *c, reel_tensor *const x[],
                          reel_tensor *y[])
{
    (void)user;
    y[0] = reel_stack(x, reel_custom_inputs(c), 0);
    return reel_error_status();
}

static reel_status joined_backward(void *user, reel_custom_call *c,
                                   reel_tensor *const x[], reel_tensor *const y[],
                                   reel_tensor *const gy[], reel_tensor *gx[])
{
    (void)user, (void)y;
    for (int i = 0; i < reel_custom_inputs(c); i++)
        if (reel_custom_needs(c, i)) {
            assert_null(x[i]);
            gx[i] = reel_squeeze(reel_narrow(gy[0], 0, i, 1), 0);
        }
    return reel_error_status();
}

static reel_tensor *call_joined(void *user, reel_tensor *const x[], int n)
{
    return reel_custom(user, x, n, NULL);
}

/* Any number of inputs; nothing saved. */
static void test_any_inputs(void **state)
{
    (void)state;
    for (int in_operators = 0; in_operators < 2; in_operators++) {
        reel_custom_op *op = reel_custom_op_new(
            "joined", &(reel_custom_op_opts){.n_in = REEL_CUSTOM_ANY,
                                             .n_out = 1,
                                             .saves = REEL_CUSTOM_NONE,
                                             .forward = joined,
                                             .backward = joined_backward,
                                             .backward_in_operators = in_operators});
        reel_tensor *x[17];
        for (int i = 0; i < 17; i++) x[i] = leaf(REEL_SHAPE(2), REEL_F64);
        assert_int_equal(reel_gradcheck(call_joined, op, x, 3, NULL), REEL_OK);
        assert_int_equal(reel_gradcheck(call_joined, op, x, 8, NULL), REEL_OK);
        (void)reel_gradcheck(call_joined, op, x, 16, NULL);
        if (in_operators)
            no_error();
        else
            expect(REEL_ERR_UNSUPPORTED, "has at most 8");
        assert_null(reel_custom(op, x, 17, NULL));
        expect(REEL_ERR_ARG, "at most 16");
        assert_null(reel_custom(op, x, 0, NULL));
        expect(REEL_ERR_ARG, "inputs");
        reel_custom_op_free(op);
    }
}

/* ---- outside of its functions ------------------------------------------------------------------- */

static void test_outside(void **state)
{
    (void)state;
    const reel_onnx_ref *none = NULL;
    assert_int_equal(reel_custom_inputs(NULL), 0);
    assert_false(reel_custom_needs(NULL, 0));
    assert_int_equal(reel_custom_same(NULL, NULL, NULL, NULL), REEL_OK);
    BAD("whole attribute \"a\"",
        reel_custom_int(NULL, "a") ? REEL_OK : reel_error_status());
    BAD("real attribute \"\"",
        reel_custom_real(NULL, NULL) != 0 ? REEL_OK : reel_error_status());
    NONE("custom_result", reel_custom_result(NULL, 0));
    assert_null(reel_onnx_in(NULL, 0));
    assert_null(reel_onnx_out(NULL, 0));
    NONE("onnx_emit", reel_onnx_emit(NULL, "Add", NULL, 1, &none));
    NONE("onnx_number", reel_onnx_number(NULL, 1, NULL));
    BAD("onnx_give", reel_onnx_give(NULL, 0, NULL));
    reel_onnx_set_int(NULL, "a", 1);
    refused_by("onnx_set", __LINE__);
    reel_onnx_set_real(NULL, "a", 1);
    refused_by("onnx_set", __LINE__);
    assert_int_equal(misuse_ended(), 0);
}

/* ---- no memory ---------------------------------------------------------------------------------- */

/* Everything from making an operator to running a graph of it that came from a file. */
static void live_once(int *freed, bool no_rule)
{
    const own_opts opts = {.no_rule = no_rule, .freed = freed};
    reel_custom_op *op = own_cube("own_cube", &opts);
    reel_tensor *x = leaf(REEL_SHAPE(2, 3), REEL_F32), *y = NULL, *gx;
    reel_tensor *across = reel_transpose(x, 0, 1);
    reel_tensor *l = reel_failed() ? NULL : sum(reel_custom(op, &across, 1, &half));
    if (l) (void)reel_grad(&l, 1, NULL, &x, 1, &gx, NULL);
    reel_graph *g = reel_failed() ? NULL : reel_trace_function(cubed, op, &x, 1, NULL);
    if (g) (void)reel_graph_optimize(g, NULL);
    char *text = g ? reel_graph_to_string(g) : NULL;
    reel_graph *again = text ? reel_graph_parse(text, NULL, NULL) : NULL;
    reel_executor *e = again ? reel_executor_new(again, NULL) : NULL;
    if (e) (void)reel_executor_run(e, &x, 1, &y, 1);
    reel_executor_free(e);
    reel_graph_free(again);
    free(text);
    reel_graph_free(g);
    reel_custom_op_free(op);
    reel_scope_end(0);
}

/* Whichever allocation fails, nothing is left, and the user's data are freed once. */
static void test_no_memory(void **state)
{
    (void)state;
    for (int no_rule = 0; no_rule < 2; no_rule++)
        for (int64_t k = 1, counted = k; counted >= k; k++) {
            int freed = 0;
            reel_scope_end(0);
            reel_memory_trim((reel_device){REEL_CPU, 0});
            reel__fault_alloc(k, false);
            live_once(&freed, no_rule);
            counted = reel__fault_alloc_count();
            reel__fault_alloc(0, false);
            assert_int_equal(reel_error_status(),
                             counted < k ? REEL_OK : REEL_ERR_MEMORY);
            reel_error_clear();
            assert_int_equal(freed, 1);
            assert_int_equal(reel_live_objects(), 0);
        }
}

/* ---- threads ------------------------------------------------------------------------------------------ */

static void *thread(void *arg)
{
    reel_custom_op *op = arg;
    for (int i = 0; i < 50 && !reel_failed(); i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = leaf(REEL_SHAPE(8), REEL_F32);
        reel_backward(sum(reel_custom(op, &x, 1, NULL)), NULL);
        reel_graph *g = reel_graph_parse(
            "input x f32[8]\n%1 f32[8] = own_cube(x) scale=1 shift=0\noutput y = %1\n",
            NULL, NULL);
        (void)run(g, x);
        reel_graph_free(g);
        reel_scope_end(s);
    }
    bool failed = reel_failed();
    reel_error_clear();
    reel_custom_op_free(op);
    return failed ? arg : NULL;
}

/* Each has a handle; the last one that lets go frees. */
static void test_threads(void **state)
{
    (void)state;
    int freed = 0;
    reel_custom_op *op = own_cube("own_cube", &(own_opts){.freed = &freed});
    pthread_t t[4];
    void *failed;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, thread, reel_custom_op_keep(op)), 0);
    reel_custom_op_free(op);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(freed, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, clean, nothing_left)
    const struct CMUnitTest tests[] = {
        TEST(test_values),       TEST(test_gradients),    TEST(test_second_order),
        TEST(test_layouts),      TEST(test_graph),        TEST(test_gradient_graph),
        TEST(test_purity),       TEST(test_step),         TEST(test_checkpoint),
        TEST(test_onnx),         TEST(test_onnx_outputs), TEST(test_faults),
        TEST(test_graph_faults), TEST(test_options),      TEST(test_calls),
        TEST(test_hostile_text), TEST(test_inside),       TEST(test_swapped_results),
        TEST(test_any_inputs),   TEST(test_outside),      TEST(test_no_memory),
        TEST(test_order),        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_clean);
}
