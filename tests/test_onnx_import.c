/* test_onnx_import.c: models become graphs that compute what eager reel does; what is wrong
 * with a model is said, and costs nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/onnx.h>

#include "base/alloc.h"
#include "onnx_case_model.h"
#include "onnx_import_cases.h"
#include "trace/onnx/import.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- each operator against eager reel -------------------------------------------------------- */

static void compare(const import_case *c, reel_tensor *y, reel_tensor *z)
{
    if (reel_failed())
        fail_msg("%s %s: %s", c->op_type, c->operands, reel_error_message());
    assert_int_equal(reel_dtype_of(y), reel_dtype_of(z));
    if (!reel__same_shape(&y->meta, &z->meta))
        fail_msg("%s %s: %s, eager %s", c->op_type, c->operands, SHOW(&y->meta),
                 SHOW(&z->meta));
    size_t n = (size_t)reel_numel(y);
    double *a = malloc(2 * n * sizeof *a), *b = a + n;
    reel_read(y, a, REEL_F64);
    reel_read(z, b, REEL_F64);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= 1e-5 * (1 + fabs(b[i]))))
            fail_msg("%s %s: element %zu is %g, eager %g", c->op_type, c->operands, i,
                     a[i], b[i]);
    free(a);
}

/* For results of no case. */
static const import_case plain = {"graph", 17, "", "", NULL};

static void run_at(const import_case *c, reel_graph *g, const operand o[],
                   reel_tensor *x[], int n, int64_t batch)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *in[OPERANDS], *y = NULL;
    int n_in = 0;
    for (int k = 0; k < n; k++) {
        if (o[k].batched) x[k] = draw(&o[k], batch);
        if (!o[k].constant && !o[k].absent) in[n_in++] = x[k];
    }
    reel_graph_run(g, in, n_in, &y, 1);
    compare(c, y, c->eager(x));
    reel_scope_end(s);
}

static void test_every_operator(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, 7, 64};
    reel_seed(5);
    for (size_t i = 0; i < COUNT(import_cases); i++) {
        const import_case *c = &import_cases[i];
        reel_scope s = reel_scope_begin();
        operand o[OPERANDS];
        reel_tensor *x[OPERANDS] = {NULL};
        bool batched = false;
        int n = parse_operands(c->operands, o);
        for (int k = 0; k < n; k++) {
            x[k] = draw(&o[k], 4);
            batched = batched || o[k].batched;
        }
        reel__onnx_model *m = one_node(c, o, x, n);
        reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
        if (!g) fail_msg("%s %s: %s", c->op_type, c->operands, reel_error_message());
        assert_int_equal(reel_graph_batch(g), batched ? 1 : 0);
        for (size_t k = 0; k < COUNT(batches) && (batched || k == 0); k++)
            run_at(c, g, o, x, n, batches[k]);
        reel_graph_free(g);
        reel__onnx_model_free(m);
        reel_scope_end(s);
    }
}

static void test_every_row_has_a_case(void **state)
{
    (void)state;
    static const reel__import_family *const family[] = {
        &reel__import_math,   &reel__import_shape,  &reel__import_const,
        &reel__import_index,  &reel__import_reduce, &reel__import_window,
        &reel__import_matmul, &reel__import_norm};
    for (size_t f = 0; f < COUNT(family); f++)
        for (int i = 0; i < family[f]->n; i++) {
            const reel__import_row *r = &family[f]->row[i];
            bool found = false;
            for (size_t k = 0; k < COUNT(import_cases) && !found; k++) {
                const import_case *c = &import_cases[k];
                found = strcmp(c->op_type, r->op_type) == 0 && c->opset >= r->since &&
                        (!r->until || c->opset <= r->until);
            }
            if (!found) fail_msg("no case for %s of opset %d", r->op_type, r->since);
        }
}

/* ---- what is known while loading -------------------------------------------------------------- */

static reel__onnx_node *node(reel__onnx_model *m, const char *op, const char *in0,
                             const char *in1, const char *out)
{
    reel__onnx_node *n = reel__onnx_add_node(m, op, "");
    if (in0) reel__onnx_add_input(m, n, in0);
    if (in1) reel__onnx_add_input(m, n, in1);
    reel__onnx_add_output(m, n, out);
    return n;
}

static reel__onnx_model *begin(int rank, const reel__onnx_dim *dim)
{
    reel__onnx_model *m = reel__onnx_model_new();
    reel__onnx_add_value(m, REEL_ONNX_INPUT, "x", REEL_ONNX_FLOAT, rank, dim);
    reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "y", REEL_ONNX_FLOAT, -1, NULL);
    return m;
}

static const int64_t two[] = {2}, zero[] = {0}, rest[] = {-1};

static void add_ints(reel__onnx_model *m, const char *name, reel_shape s,
                     const int64_t *v)
{
    reel__onnx_add_initializer(m, name, REEL_ONNX_INT64, s, v);
}

/* y = Reshape(x, [Shape(x)[0] * 2, -1]): the arithmetic is gone, the batch stays open. */
static void test_shapes_follow_the_batch(void **state)
{
    (void)state;
    reel__onnx_model *m = begin(3, (reel__onnx_dim[]){{-1, "N"}, {4, ""}, {3, ""}});
    add_ints(m, "zero", REEL_SCALAR, zero);
    add_ints(m, "two", REEL_SHAPE(1), two);
    add_ints(m, "rest", REEL_SHAPE(1), rest);
    add_ints(m, "axis", REEL_SHAPE(1), zero);
    node(m, "Shape", "x", NULL, "s");
    node(m, "Gather", "s", "zero", "n");
    node(m, "Unsqueeze", "n", "axis", "n1");
    node(m, "Mul", "n1", "two", "n2");
    reel__onnx_add_int(m, node(m, "Concat", "n2", "rest", "to"), "axis", 0);
    node(m, "Reshape", "x", "to", "y");
    reel_graph *g = reel__onnx_import(m, "m.onnx", &(reel_onnx_load_opts){.batch = 5});
    assert_string_equal(reel_error_message(), "");
    assert_int_equal(reel_graph_nodes(g), 1);
    assert_int_equal(reel_graph_batch(g), 5);
    reel_tensor *x = reel_randn(REEL_SHAPE(7, 4, 3), REEL_F32), *y;
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    assert_int_equal(reel_size(y, 0), 14);
    assert_int_equal(reel_size(y, 1), 6);
    reel_graph_free(g);
    reel__onnx_model_free(m);
}

/* x + Cast(Shape(x))[0]: the batch size as a value is baked into nothing. */
static void test_batch_as_a_value_is_refused(void **state)
{
    (void)state;
    reel__onnx_model *m = begin(1, (reel__onnx_dim[]){{-1, "N"}});
    node(m, "Shape", "x", NULL, "s");
    reel__onnx_add_int(m, node(m, "Cast", "s", NULL, "f"), "to", REEL_ONNX_FLOAT);
    node(m, "Add", "x", "f", "y");
    assert_null(reel__onnx_import(m, "m.onnx", NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_UNSUPPORTED);
    assert_non_null(strstr(reel_error_message(), "batch size"));
    reel__onnx_model_free(m);
}

static void test_names_and_state(void **state)
{
    (void)state;
    static const float w[] = {1, 2, 3}, number = 4;
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    reel__onnx_add_initializer(m, "layer.weight", REEL_ONNX_FLOAT, REEL_SHAPE(3), w);
    reel__onnx_add_initializer(m, "number", REEL_ONNX_FLOAT, REEL_SCALAR, &number);
    reel__onnx_add_initializer(m, "unused", REEL_ONNX_FLOAT, REEL_SHAPE(3), w);
    node(m, "Mul", "x", "layer.weight", "a");
    node(m, "Add", "a", "number", "y");
    node(m, "Exp", "a", NULL, "nobody");
    reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
    assert_string_equal(reel_error_message(), "");
    char *text = reel_graph_to_string(g);
    assert_non_null(strstr(text, "param layer.weight f32[3]"));
    assert_non_null(strstr(text, "input x"));
    assert_non_null(strstr(text, "output y"));
    assert_null(strstr(text, "unused"));
    assert_null(strstr(text, "exp"));
    free(text);
    assert_int_equal(reel_graph_nodes(g), 2);
    reel_graph_free(g);
    reel__onnx_model_free(m);
}

/* ---- what is wrong ----------------------------------------------------------------------------------- */

typedef struct hostile {
    import_case c;
    reel_status status;
    const char *word; /* in the message */
} hostile;

#define REFUSED(op, opset, operands, attributes, status, word)                           \
    {                                                                                    \
        {op, opset, operands, attributes, NULL}, status, word                            \
    }
/* No reader can run it ... */
#define BAD(op, opset, operands, attributes, word)                                       \
    REFUSED(op, opset, operands, attributes, REEL_ERR_FORMAT, word)
/* ... or this one cannot. */
#define LACKS(op, opset, operands, attributes, word)                                     \
    REFUSED(op, opset, operands, attributes, REEL_ERR_UNSUPPORTED, word)
static const hostile hostiles[] = {
    BAD("Relu", 13, "", "", "0 inputs"),
    BAD("Relu", 13, "f[B,3] f[B,3]", "", "2 inputs"),
    BAD("Relu", 13, "-", "", "absent"),
    LACKS("Relu", 13, "f[B,3]", "alpha=1.", "alpha"),
    LACKS("Relu", 13, "b[B,3]", "", "dtype"),
    BAD("Add", 13, "f[B,3] f[B,4]", "", "broadcast"),
    LACKS("Add", 13, "f[1099511627777] f[1]", "", "too large"),
    BAD("Add", 13, "f[1099511627776,1] f[1,1099511627776]", "", "2^63"),
    BAD("LeakyRelu", 13, "f[B,3]", "alpha=1", "must be a float"),
    LACKS("HardSwish", 13, "f[B,3]", "", "HardSwish"),
    BAD("Softmax", 13, "f[B,3]", "axis=2", "axis 2"),
    BAD("Softmax", 13, "f[B,3]", "axis=-3", "axis -3"),
    BAD("Softmax", 13, "f[B,3]", "axis=9223372036854775807", "axis"),
    BAD("Softmax", 13, "f[B,3]", "axis='x'", "must be an int"),
    BAD("Transpose", 13, "f[B,3]", "perm=0,0", "twice"),
    BAD("Transpose", 13, "f[B,3]", "perm=0,", "not an order"),
    BAD("Reshape", 13, "f[B,12] {-1,-1}", "", "one may be -1"),
    BAD("Reshape", 13, "f[B,12] {5,-1}", "", "no size for -1"),
    BAD("Reshape", 13, "f[B,12] {-2,4}", "", "-2"),
    BAD("Reshape", 13, "f[B,12] {4294967296,4294967296,4294967296}", "", "sizes"),
    LACKS("Reshape", 13, "f[B,12] i<5[2]", "", "constant"),
    LACKS("Reshape", 13, "f[2,6] {1,1,1,1,1,1,1,1,12}", "", "rank 9"),
    BAD("Expand", 13, "f[B,3] {1,4}", "", "broadcast"),
    BAD("Expand", 13, "f[2,1] {1,9223372036854775807}", "", "bytes"),
    BAD("Tile", 13, "f[B,3] {1,-1}", "", "-1 repeats"),
    BAD("Tile", 13, "f[B,3] {1,9223372036854775807}", "", "repeats"),
    BAD("Slice", 13, "f[B,3] {0} {1} {0} {0}", "", "step 0"),
    BAD("Slice", 13, "f[B,3] {0,0} {1}", "", "starts"),
    BAD("Slice", 13, "f[B,3] {0} {1} {7}", "", "axis 7"),
    BAD("Split", 13, "f[B,3] {5,-2}", "axis=1", "do not make up"),
    BAD("Split", 13, "f[B,3] {9223372036854775807,9223372036854775807}", "axis=1",
        "make up"),
    BAD("Pad", 13, "f[B,3] {0,-5,0,0}", "", "pads -5"),
    BAD("Pad", 13, "f[B,3] {0,0,0}", "", "3 pads"),
    LACKS("Pad", 13, "f[B,3] {0,9223372036854775807,0,0}", "", "padding"),
    LACKS("Pad", 13, "f[B,3] {0,1,0,1}", "mode='reflect'", "reflect"),
    BAD("Squeeze", 13, "f[B,3] {1}", "", "not of size 1"),
    BAD("Unsqueeze", 13, "f[B,3] {0,0}", "", "twice"),
    LACKS("Unsqueeze", 13, "f[1,1,1,1,1,1,1,1] {0}", "", "rank"),
    BAD("Gather", 13, "f[B,3] =7", "axis=1", "index 7"),
    BAD("Gather", 13, "f[B,3] {7,1}", "axis=1", "index 7"),
    BAD("ConstantOfShape", 13, "{-1}", "", "size -1"),
    BAD("ConstantOfShape", 13, "{4294967296,4294967296}", "", "bytes"),
    BAD("Range", 13, "{0} {5} {0}", "", "range"),
    BAD("OneHot", 13, "i<3[B] {-1} w2", "", "depth"),
    BAD("DepthToSpace", 13, "f[B,4,2,2]", "blocksize=0", "blocks"),
    BAD("DepthToSpace", 13, "f[B,4,2,2]", "blocksize=3", "blocks"),
    LACKS("Cast", 13, "f[B,3]", "to=99", "99"),
    LACKS("Cast", 13, "f[B,3]", "to=8", "STRING"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "group=0", "group"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "group=-9223372036854775807", "group"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "strides=0,1", "strides"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "strides=1,", "strides"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "dilations=0,0", "dilations"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "pads=-1,0,0,0", "padding -1"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "kernel_shape=5,5", "kernel_shape"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "auto_pad='MAYBE'", "MAYBE"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,2,3,3]", "", "channels"),
    BAD("Conv", 13, "f[B,3,2,2] w[4,3,3,3]", "", "does not fit"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3,3,3] w[5]", "", "bias"),
    BAD("Conv", 13, "f[B,3,8,8] w[4,3]", "", "weight"),
    BAD("Conv", 13, "f[B,3]  w[4,3]", "", "dimensions"),
    BAD("ConvTranspose", 13, "f[B,1,2,3] w[1,2,2,2]", "pads=9,9,9,9", "result"),
    BAD("ConvTranspose", 13, "f[B,1,2,3] w[1,2,2,2]", "output_padding=5,5",
        "output_padding"),
    BAD("ConvTranspose", 13, "f[B,1,2,3] w[1,2,2,2]", "output_shape=-4,0", "output size"),
    BAD("MaxPool", 13, "f[B,3,7,7]", "", "kernel_shape"),
    BAD("MaxPool", 13, "f[B,3,7,7]", "kernel_shape=0,0", "kernel_shape"),
    BAD("MaxPool", 13, "f[B,3,7,7]", "kernel_shape=9,9", "does not fit"),
    BAD("MaxPool", 13, "f[B,3,7,7]", "kernel_shape=9,9 strides=2,2 ceil_mode=1",
        "does not fit"),
    BAD("AveragePool", 13, "f[B,3,7,7]", "kernel_shape=2,2 strides=0,0", "strides"),
    BAD("MatMul", 13, "f[B,3] w[4,4]", "", "matmul"),
    BAD("MatMul", 13, "=2 f[B,3]", "", "rank"),
    BAD("Gemm", 13, "f[B,3,4] w[4,4]", "", "matrices"),
    BAD("Gemm", 13, "f[B,3] w[4,5]", "", "matmul"),
    BAD("BatchNormalization", 9, "f[B,2,3,4] w[2] w[2] w[2] p[3]", "", "variance"),
    LACKS("BatchNormalization", 15, "f[B,2] w[2] w[2] w[2] p[2]", "training_mode=1",
          "evaluation mode"),
    BAD("LayerNormalization", 17, "f[B,3,4] w[3]", "axis=-1", "expand"),
    BAD("GroupNormalization", 21, "f[B,4,3,2] w[4] w[4]", "num_groups=3", "groups"),
    BAD("GroupNormalization", 21, "f[B,4,3,2] w[4] w[4]", "num_groups=0", "groups"),
    BAD("ReduceSum", 13, "f[B,3] {0,0}", "", "twice"),
    LACKS("ReduceProd", 13, "f[B,100]", "axes=1,", "product"),
    LACKS("ScatterElements", 16, "f[B,4] i<4[B,2] f[B,2]", "axis=1", "only add"),
    BAD("Attention", 23, "f[B,5,4] f[B,5,4] f[B,5,4]", "q_num_heads=3 kv_num_heads=3",
        "heads"),
    LACKS("ReduceMax", 13, "f[B,0]", "axes=1,", "no element"),
    LACKS("ReduceLogSumExp", 13, "f[B,0]", "axes=1,", "no element"),
    LACKS("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "strides=1048577,1", "strides"),
    LACKS("Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "group=1048577", "group"),
    LACKS("OneHot", 13, "i<3[1,1,1,1,1,1,1,1] =3 w2", "", "rank 7"),
    LACKS("Add", 13, "f[1099511627776,1099511627776] f[1]", "", "2^63"),
    /* sizes that are right at some batch, but not at those that are tried here */
    LACKS("Reshape", 13, "f[B,12] {1,12}", "", "at batch size 2"),
    LACKS("Reshape", 13, "f[B,12] {3,3,4}", "", "at batch size 2"),
    LACKS("Reshape", 13, "f[B,12] {2,3,4}", "", "at batch size 3"),
    LACKS("Add", 13, "f[B,3] w[1,3,3]", "", "at batch size 2"),
    LACKS("Squeeze", 13, "f[B,3] {0}", "", "at batch size 2"),
    /* and at none of 1, 2 and 3 */
    BAD("Reshape", 13, "f[B,12] {5,7}", "", "other number of elements"),
    BAD("Add", 13, "f[B,3] w[3,4]", "", "broadcast"),
    BAD("Reshape", 13, "f[2,12] {5,7}", "", "other number of elements"),
};

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    size_t held = 0;
    for (size_t i = 0; i < COUNT(hostiles); i++) {
        const import_case *c = &hostiles[i].c;
        reel_scope s = reel_scope_begin();
        operand o[OPERANDS];
        reel_tensor *x[OPERANDS] = {NULL};
        int n = parse_operands(c->operands, o);
        for (int k = 0; k < n; k++) { /* an input needs no memory, whatever its size */
            const reel_dtype dtype = o[k].kind == 'i'   ? REEL_I64
                                     : o[k].kind == 'b' ? REEL_BOOL
                                                        : REEL_F32;
            x[k] = o[k].constant ? draw(&o[k], 4) : reel_zeros(REEL_SCALAR, dtype);
        }
        reel__onnx_model *m = one_node(c, o, x, n);
        reel_memory_stats before, after;
        reel_memory((reel_device){REEL_CPU, 0}, &before);
        reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
        reel_memory((reel_device){REEL_CPU, 0}, &after);
        held += after.in_use - before.in_use;
        if (g || !strstr(reel_error_message(), hostiles[i].word))
            fail_msg("%s %s %s: expected \"%s\", got: %s", c->op_type, c->operands,
                     c->attributes, hostiles[i].word, reel_error_message());
        assert_int_equal(reel_error_status(), hostiles[i].status);
        assert_non_null(strstr(reel_error_message(), "m.onnx"));
        reel_error_clear();
        reel__onnx_model_free(m);
        reel_scope_end(s);
    }
    assert_int_equal(held, 0);
}

/* Keys that no query may see: zeros, as ONNX's reference, ONNX Runtime 1.31 and PyTorch 2.15 give,
 * and as eager does (ADR 14). Of queries that are 0, the others get the mean of what they see. */
static void test_attention_that_sees_nothing(void **state)
{
    (void)state;
    static const double hide[] = {0, -INFINITY, 0, -INFINITY, -INFINITY, -INFINITY};
    static const double v[] = {1, 3, 5}, want[] = {3, 0};
    for (int floats = 0; floats < 2; floats++) {
        const import_case c = {"Attention", 23,
                               floats ? "f[1,1,2,1] f[1,1,3,1] f[1,1,3,1] f[2,3]"
                                      : "f[1,1,2,1] f[1,1,3,1] f[1,1,3,1] b[2,3]",
                               "", NULL};
        operand o[OPERANDS];
        double got[2];
        reel_tensor *mask = reel_from(hide, REEL_SHAPE(2, 3), REEL_F64), *y = NULL;
        reel_tensor *values = reel_from(v, REEL_SHAPE(1, 1, 3, 1), REEL_F64);
        reel_tensor *x[] = {reel_zeros(REEL_SHAPE(1, 1, 2, 1), REEL_F32),
                            reel_ones(REEL_SHAPE(1, 1, 3, 1), REEL_F32),
                            reel_cast(values, REEL_F32),
                            floats ? reel_cast(mask, REEL_F32) : reel_isfinite(mask)};
        reel__onnx_model *m = one_node(&c, o, x, parse_operands(c.operands, o));
        reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
        const reel_attention_opts opts = {.mask = x[3]};
        for (int eager = 0; eager < 2; eager++) {
            if (eager)
                y = reel_attention(x[0], x[1], x[2], &opts);
            else
                assert_int_equal(reel_graph_run(g, x, 4, &y, 1), REEL_OK);
            assert_int_equal(reel_read(y, got, REEL_F64), REEL_OK);
            for (int i = 0; i < 2; i++) assert_true(got[i] == want[i]);
        }
        reel_graph_free(g);
        reel__onnx_model_free(m);
    }
    reel_scope_end(0);
}

/* Found by fuzzing: Gather of row 1 of the batch, which a batch of one has not. */
static void test_row_that_is_not_always_there(void **state)
{
    (void)state;
    static const char bytes[] =
        "\x08\x08\x28\x00\x3a\x5c\x0a\x2a\x0a\x02\x78\x30\x0a\x02\x78\x31\x12\x01\x79"
        "\x1a\x08\x74\x68\x65\x20\x6e\x6f\x64\x65\x22\x06\x47\x61\x74\x68\x65\x72\x2a"
        "\x0b\x0a\x04\x61\x78\x69\x73\x18\x00\xa0\x01\x02\x12\x00\x2a\x0c\x10\x01\x42"
        "\x02\x78\x31\x4a\x04\x00\x00\x84\x3f\x5a\x19\x0a\x02\x78\x30\x12\x13\x0a\x11"
        "\x08\x01\x12\x0d\x0a\x03\x12\x01\x4e\x0a\x02\x08\x04\x0a\x02\x08\x03\x62\x03"
        "\x0a\x01\x79\x42\x04\x0a\x00\x10\x0d";
    reel__onnx_model *m = reel__onnx_read_bytes("m.onnx", bytes, sizeof bytes - 1);
    assert_non_null(m);
    assert_null(reel__onnx_import(m, "m.onnx", NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_ARG);
    assert_non_null(strstr(reel_error_message(), "m.onnx: the graph has no meaning"));
    reel_error_clear();
    reel__onnx_model_free(m);
}

static void test_missing_operators_all_at_once(void **state)
{
    (void)state;
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    node(m, "TopK", "x", NULL, "a");
    node(m, "NonZero", "a", NULL, "b");
    node(m, "TopK", "b", NULL, "c");
    node(m, "Relu", "c", NULL, "d");
    node(m, "Mine", "d", NULL, "y")->domain = "my.domain";
    assert_null(reel__onnx_import(m, "m.onnx", NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_UNSUPPORTED);
    assert_non_null(
        strstr(reel_error_message(),
               "operator TopK (2 times, first node 0); operator NonZero (node "
               "1); operator my.domain.Mine (node 4)"));
    reel__onnx_model_free(m);
}

/* ---- what is lacking, all of it ------------------------------------------------------------- */

/* The message has every word of the list, words apart by '|'. */
static void lacks_all(const reel__onnx_model *m, const char *words)
{
    char word[128];
    assert_null(reel__onnx_import(m, "m.onnx", NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_UNSUPPORTED);
    for (const char *p = words; *p; p += strcspn(p, "|"), p += *p == '|') {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "|"), p);
        if (!strstr(reel_error_message(), word))
            fail_msg("no \"%s\" in: %s", word, reel_error_message());
    }
    reel_error_clear();
}

/* Operators, attributes, what a rule has not, dtypes of inputs and initializers: of what hangs
 * on something lacking only what can be said without it. */
static void test_all_that_is_missing_at_once(void **state)
{
    (void)state;
    static const uint8_t bytes[8] = {0};
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, "N"}, {3, ""}});
    reel__onnx_add_value(m, REEL_ONNX_INPUT, "half", REEL_ONNX_COMPLEX64, 1,
                         (reel__onnx_dim[]){{3, ""}});
    reel__onnx_add_initializer(m, "u", REEL_ONNX_UINT16, REEL_SHAPE(3), bytes);
    reel__onnx_add_initializer(m, "unused", REEL_ONNX_UINT64, REEL_SHAPE(1), bytes);
    reel__onnx_add_string(m, node(m, "Relu", "x", NULL, "a"), "flavour", "mild");
    node(m, "Loop", "a", NULL, "b");
    node(m, "Cast", "b", NULL, "c");
    reel__onnx_add_int(m, node(m, "Cast", "x", NULL, "d"), "to", REEL_ONNX_STRING);
    node(m, "Add", "x", "u", "e");
    node(m, "Mul", "u", "half", "f");
    node(m, "Sub", "f", "e", "y");
    lacks_all(m, "an input of COMPLEX64 (input half)|attribute flavour of Relu (node 0)|"
                 "operator Loop (node 1)|Cast: attribute to is 8 (STRING) (node 3)|"
                 "an initializer that is UINT16 (initializer u)");
    reel__onnx_model_free(m);
}

/* More kinds than a message can name are counted. */
static void test_missing_beyond_the_message(void **state)
{
    (void)state;
    enum { KINDS = 300 };
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    for (int i = 0; i < KINDS; i++) {
        char name[96];
        snprintf(name, sizeof name, "Operator%d_of_a_name_that_takes_some_room_it_does",
                 i);
        node(m, name, "x", NULL, i < KINDS - 1 ? name : "y");
    }
    lacks_all(m, "operator Operator0|more");
    reel__onnx_model_free(m);
}

/* An operator that an opset has not is named with it. */
static void test_versions(void **state)
{
    (void)state;
    static const struct {
        int64_t ir, opset;
        const char *op, *lacks; /* NULL: it is read */
    } cases[] = {
        {8, 1, "Relu", NULL},
        {3, 28, "Relu", NULL},
        {14, 17, "Relu", NULL},
        {19, 17, "Relu", NULL},
        {20, 17, "Relu", NULL},
        {2, 1, "Relu", "IR version 2"},
        {8, 13, "HardSwish", "at opset 13|operator HardSwish (node 0)"},
        {8, 29, "Loop", "at opset 29|opset 29; 1 to 28|operator Loop"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, "N"}, {3, ""}});
        m->ir_version = cases[i].ir;
        m->opset = cases[i].opset;
        node(m, cases[i].op, "x", NULL, "y");
        if (cases[i].lacks) {
            lacks_all(m, cases[i].lacks);
        } else {
            reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
            assert_string_equal(reel_error_message(), "");
            reel_graph_free(g);
        }
        reel__onnx_model_free(m);
    }
}

/* ---- the open size --------------------------------------------------------------------------- */

/* Where sizes are open: b the batch, s another symbol, ? without a name, - none (3). What is
 * refused says which. */
static void test_open_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *x, *other, *refused;
    } cases[] = {
        {"-b-", "b-", NULL},
        {"-b", "--", NULL},
        {"--b", "-b", NULL},
        {"bb-", "--", NULL},
        {"b-", "?-", NULL},
        {"?-", "?-", NULL},
        {"-?-", "--", NULL},
        {"?-", "b-", NULL},
        {"b-", "s-", "\"s\" beside \"b\""},
        {"bs", "--", "\"s\" beside \"b\" (dimension 0 of input x)"},
        {"-bs", "--", "\"s\""},
        {"b?", "--", "\"?\""},
        {"??", "--", "second open size"},
        {"-s", "b-", "\"s\" beside \"b\" (dimension 0 of input other)"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        reel__onnx_model *m = reel__onnx_model_new();
        for (int k = 0; k < 2; k++) {
            const char *text = k ? cases[i].other : cases[i].x;
            reel__onnx_dim dim[4];
            for (int d = 0; text[d]; d++)
                dim[d] = (reel__onnx_dim){text[d] == '-' ? 3 : -1, text[d] == 'b'   ? "b"
                                                                   : text[d] == 's' ? "s"
                                                                                    : ""};
            reel__onnx_add_value(m, REEL_ONNX_INPUT, k ? "other" : "x", REEL_ONNX_FLOAT,
                                 (int)strlen(text), dim);
        }
        reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "y", REEL_ONNX_FLOAT, -1, NULL);
        reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "z", REEL_ONNX_FLOAT, -1, NULL);
        node(m, "Exp", "x", NULL, "y");
        node(m, "Exp", "other", NULL, "z");
        if (cases[i].refused) {
            lacks_all(m, cases[i].refused);
        } else {
            reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
            if (!g)
                fail_msg("%s %s: %s", cases[i].x, cases[i].other, reel_error_message());
            reel_tensor *in[2], *out[2];
            for (int k = 0; k < 2; k++) {
                const char *text = k ? cases[i].other : cases[i].x;
                reel_shape s = {.rank = (int)strlen(text)};
                for (int d = 0; d < s.rank; d++) s.dim[d] = text[d] == '-' ? 3 : 7;
                in[k] = reel_randn(s, REEL_F32);
            }
            assert_int_equal(reel_graph_run(g, in, 2, out, 2), REEL_OK);
            for (int k = 0; k < 2; k++) compare(&plain, out[k], reel_exp(in[k]));
            reel_graph_free(g);
        }
        reel__onnx_model_free(m);
    }
}

/* Batch and length: what is wrong at the sizes that we try is no fault of the file. */
static void test_second_size_is_not_tried(void **state)
{
    (void)state;
    static const int64_t to[] = {0, 512};
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, "N"}, {-1, "length"}});
    add_ints(m, "to", REEL_SHAPE(2), to);
    node(m, "Reshape", "x", "to", "a");
    node(m, "TopK", "a", NULL, "y");
    lacks_all(m, "\"length\" beside \"N\"|operator TopK");
    reel__onnx_model_free(m);
}

/* [2, batch, 3] by a matrix, turned and flattened: the size is followed where it goes. */
static void test_batch_in_another_place(void **state)
{
    (void)state;
    static const float w[3 * 4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const int64_t flat[] = {-1, 4};
    reel__onnx_model *m = begin(3, (reel__onnx_dim[]){{2, ""}, {-1, "batch"}, {3, ""}});
    reel__onnx_add_initializer(m, "w", REEL_ONNX_FLOAT, REEL_SHAPE(3, 4), w);
    add_ints(m, "flat", REEL_SHAPE(2), flat);
    node(m, "MatMul", "x", "w", "a");
    reel__onnx_add_ints(m, node(m, "Transpose", "a", NULL, "b"), "perm",
                        (int64_t[]){1, 0, 2}, 3);
    node(m, "Reshape", "b", "flat", "y");
    reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
    assert_string_equal(reel_error_message(), "");
    for (int64_t batch = 1; batch < 9; batch += 3) {
        reel_tensor *x = reel_randn(REEL_SHAPE(2, batch, 3), REEL_F32), *y;
        assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
        reel_tensor *z = reel_matmul(x, reel_from(w, REEL_SHAPE(3, 4), REEL_F32));
        z = reel_reshape(reel_permute(z, REEL_DIMS(1, 0, 2)), REEL_SHAPE(-1, 4));
        compare(&plain, y, z);
    }
    reel_graph_free(g);
    reel__onnx_model_free(m);
}

/* A size without a name that is not the first; a batch where there is none; an output of
 * another type than the file says. */
static void test_ends(void **state)
{
    (void)state;
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, "N"}, {-1, "length"}});
    node(m, "Relu", "x", NULL, "y");
    assert_null(reel__onnx_import(m, "m.onnx", NULL));
    assert_non_null(strstr(reel_error_message(), "\"length\""));
    reel_error_clear();
    reel__onnx_model_free(m);

    m = begin(2, (reel__onnx_dim[]){{2, ""}, {3, ""}});
    node(m, "Relu", "x", NULL, "y");
    assert_null(reel__onnx_import(m, "m.onnx", &(reel_onnx_load_opts){.batch = 4}));
    assert_int_equal(reel_error_status(), REEL_ERR_ARG);
    reel_error_clear();
    reel__onnx_model_free(m);

    m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    node(m, "Greater", "x", "x", "y");
    assert_null(reel__onnx_import(m, "m.onnx", NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_FORMAT);
    assert_non_null(strstr(reel_error_message(), "bool[2,3]"));
    reel_error_clear();
    reel__onnx_model_free(m);
}

/* ---- no allocation may fail unseen --------------------------------------------------------------------- */

/* Each allocation of an import fails in turn, until none does: then it ends with `status`. */
static void run_out_of_memory(const reel__onnx_model *m, reel_status status)
{
    int64_t live = reel_live_objects();
    reel_status st = REEL_ERR_MEMORY;
    for (int64_t k = 1; st == REEL_ERR_MEMORY; k++) {
        reel__fault_alloc(k, true);
        reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
        reel__fault_alloc(0, false);
        st = reel_error_status();
        assert_true(st == REEL_ERR_MEMORY || st == status);
        assert_true((g == NULL) == (st != REEL_OK));
        reel_graph_free(g);
        reel_error_clear();
        assert_int_equal(reel_live_objects(), live);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    static const float w[] = {1, 2, 3};
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    reel__onnx_add_initializer(m, "w", REEL_ONNX_FLOAT, REEL_SHAPE(3), w);
    node(m, "Shape", "x", NULL, "s");
    node(m, "Mul", "x", "w", "a");
    node(m, "Reshape", "a", "s", "y");
    run_out_of_memory(m, REEL_OK);
    reel__onnx_model_free(m);
}

/* What is right at one row is judged behind nodes that could not be looked at, and the list goes
 * on behind it. */
static void test_sizes_behind_what_is_lacking(void **state)
{
    (void)state;
    static const int64_t one[] = {1, 3};
    static const uint8_t bytes[8] = {0};
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    reel__onnx_add_initializer(m, "one", REEL_ONNX_INT64, REEL_SHAPE(2), one);
    reel__onnx_add_initializer(m, "u", REEL_ONNX_UINT16, REEL_SHAPE(3), bytes);
    node(m, "Loop", "x", NULL, "a");
    node(m, "Add", "x", "u", "b");
    node(m, "Relu", "b", NULL, "c");
    node(m, "Relu", "x", NULL, "d");
    node(m, "Reshape", "d", "one", "e");
    node(m, "Relu", "e", NULL, "f");
    node(m, "Scan", "f", NULL, "y");
    lacks_all(m, "operator Loop (node 0)|an initializer that is UINT16|"
                 "Reshape at batch size 2: |operator Scan (node 6)");
    reel__onnx_model_free(m);
}

/* Sizes that fit at a batch of one alone, which a third build shows. */
static void test_out_of_memory_at_other_sizes(void **state)
{
    (void)state;
    static const int64_t one[] = {1, 3};
    reel__onnx_model *m = begin(2, (reel__onnx_dim[]){{-1, ""}, {3, ""}});
    reel__onnx_add_initializer(m, "one", REEL_ONNX_INT64, REEL_SHAPE(2), one);
    node(m, "Relu", "x", NULL, "a");
    node(m, "Reshape", "a", "one", "y");
    run_out_of_memory(m, REEL_ERR_UNSUPPORTED);
    reel__onnx_model_free(m);
}

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return reel_live_objects() ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_operator, clean),
        cmocka_unit_test_teardown(test_every_row_has_a_case, clean),
        cmocka_unit_test_teardown(test_shapes_follow_the_batch, clean),
        cmocka_unit_test_teardown(test_batch_as_a_value_is_refused, clean),
        cmocka_unit_test_teardown(test_names_and_state, clean),
        cmocka_unit_test_teardown(test_what_is_wrong_is_said, clean),
        cmocka_unit_test_teardown(test_attention_that_sees_nothing, clean),
        cmocka_unit_test_teardown(test_row_that_is_not_always_there, clean),
        cmocka_unit_test_teardown(test_missing_operators_all_at_once, clean),
        cmocka_unit_test_teardown(test_all_that_is_missing_at_once, clean),
        cmocka_unit_test_teardown(test_missing_beyond_the_message, clean),
        cmocka_unit_test_teardown(test_versions, clean),
        cmocka_unit_test_teardown(test_open_sizes, clean),
        cmocka_unit_test_teardown(test_second_size_is_not_tried, clean),
        cmocka_unit_test_teardown(test_batch_in_another_place, clean),
        cmocka_unit_test_teardown(test_ends, clean),
        cmocka_unit_test_teardown(test_sizes_behind_what_is_lacking, clean),
        cmocka_unit_test_teardown(test_out_of_memory, clean),
        cmocka_unit_test_teardown(test_out_of_memory_at_other_sizes, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
