/* test_onnx_export.c: graphs as ONNX files, as far as that can be told without a runtime.
 *
 *     test_onnx_export                the tests
 *     test_onnx_export --write DIR    models, inputs and results for tests/onnx/check.py */
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
#include "base/alloc.h"
#include "base/file.h"
#include "onnx/file.h"
#include "ops/onnx.h"
#include "support/one_node.h"
#include "support/onnx_cases.h"
#include "temp_folder.h"
#include "trace/graph/graph.h"
#include "trace/onnx/export.h"
#include "trace/onnx/import.h"

static reel_graph *traced(reel_function fn, reel_shape shape)
{
    reel_tensor *x = reel_randn(shape, REEL_F32);
    reel_graph *g =
        reel_trace_function(fn, NULL, &x, 1,
                            &(reel_trace_opts){.input_names = (const char *[]){"x"},
                                               .output_names = (const char *[]){"y"}});
    no_error();
    return g;
}

/* Exports and reads back. */
static reel__onnx_model *written(reel_graph *g, const char *path,
                                 const reel_onnx_opts *opts)
{
    reel_onnx_export(g, path, opts);
    no_error();
    reel__onnx_model *m = reel__onnx_read(path, NULL);
    no_error();
    return m;
}

static int count(const reel__onnx_model *m, const char *op)
{
    int n = 0;
    for (size_t i = 0; i < m->graph.node.n; i++)
        n += strcmp(m->graph.node.at[i]->op_type, op) == 0;
    return n;
}

static char *bytes_of(const char *path, size_t *size)
{
    char *bytes = reel__file_load(path, 1 << 24, size);
    no_error();
    return bytes;
}

/* ---- what a file says -------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL);
    reel_train(net, false);
    reel_graph *g = reel_trace(net, reel_randn(REEL_SHAPE(2, 3, 32, 32), REEL_F32), NULL);
    const char *const about[][2] = {{"classes", "cat dog"}, {"seed", "1"}};
    reel__onnx_model *m = written(g, temp_path("net.onnx"),
                                  &(reel_onnx_opts){.name = "net",
                                                    .doc = "a net",
                                                    .batch = "n",
                                                    .metadata = about,
                                                    .n_metadata = 2});
    assert_string_equal(m->graph.name, "net");
    assert_string_equal(m->doc, "a net");
    assert_string_equal(m->producer_name, "reel");
    assert_string_equal(m->producer_version, reel_version());
    assert_int_equal(m->opset, 17);
    assert_int_equal(m->ir_version, 8);
    assert_int_equal(m->metadata.n, 2);
    assert_string_equal(m->metadata.at[0]->value, "cat dog");
    assert_int_equal(m->graph.input.n, 1);
    assert_string_equal(m->graph.input.at[0]->dim[0].param, "n");
    assert_string_equal(m->graph.output.at[0]->name, "output0");
    assert_int_equal(m->graph.output.at[0]->dim[1].size, 10);
    assert_string_equal(m->graph.node.at[0]->name, "conv1/Conv");
    assert_string_equal(m->graph.node.at[0]->input.at[1], "conv1.weight");
    /* every intermediate has a type: all that nodes make but the output */
    assert_int_equal(m->graph.value_info.n, m->graph.node.n - 1);
    assert_int_equal(count(m, "Identity"), 0);
    bool found = false;
    for (size_t i = 0; i < m->graph.initializer.n; i++)
        found = found ||
                !strcmp(m->graph.initializer.at[i]->name, "layer3.2.bn2.running_mean");
    assert_true(found);
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static reel_tensor *tied(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_linear(reel_relu(reel_linear(x[0], user, NULL)), user, NULL);
}

static reel_tensor *the_weight;
static reel_status declare_weight(void *user)
{
    (void)user;
    reel_status st = reel_capture_state(the_weight, "w", true);
    return st ? st : reel_capture_state(the_weight, "again", true);
}

static void test_tied_weights_stand_once(void **state)
{
    (void)state;
    the_weight = reel_randn(REEL_SHAPE(4, 4), REEL_F32);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 4), REEL_F32);
    reel_graph *g = reel_trace_function(tied, the_weight, &x, 1,
                                        &(reel_trace_opts){.declare = declare_weight});
    reel__onnx_model *m = written(g, temp_path("tied.onnx"), NULL);
    assert_int_equal(m->graph.initializer.n, 1);
    assert_string_equal(m->graph.initializer.at[0]->name, "w");
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_scope_end(0);
}

static reel_tensor *two_uses(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *y = reel_exp(x[0]);
    (void)reel_sum(reel_square(y), REEL_ALL, false); /* nobody asks for it */
    return y;
}

static void test_only_what_outputs_need(void **state)
{
    (void)state;
    reel_graph *g = traced(two_uses, REEL_SHAPE(2, 3));
    reel__onnx_model *m = written(g, temp_path("dead.onnx"), NULL);
    assert_int_equal(m->graph.node.n, 1);
    assert_string_equal(m->graph.node.at[0]->output.at[0], "y");
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_scope_end(0);
}

static reel_tensor *same(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return x[0];
}

/* An output that is an input has a node of its own, so that both have their names. */
static void test_input_as_output(void **state)
{
    (void)state;
    reel_graph *g = traced(same, REEL_SHAPE(2, 3));
    reel__onnx_model *m = written(g, temp_path("same.onnx"), NULL);
    assert_int_equal(count(m, "Identity"), 1);
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- opsets ------------------------------------------------------------------------------ */

static reel_tensor *gelu_norm(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return reel_layer_norm(reel_gelu(x[0]), 1, NULL, NULL, NULL);
}

static void test_opsets(void **state)
{
    static const int ir[] = {7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13};
    (void)state;
    reel_graph *g = traced(gelu_norm, REEL_SHAPE(2, 8));
    for (int opset = 13; opset <= 26; opset++) {
        reel__onnx_model *m =
            written(g, temp_path("opset.onnx"), &(reel_onnx_opts){.opset = opset});
        assert_int_equal(m->opset, opset);
        assert_int_equal(m->ir_version, ir[opset - 13]);
        assert_int_equal(count(m, "Gelu"), opset >= 20);
        assert_int_equal(count(m, "Erf"), opset < 20);
        assert_int_equal(count(m, "LayerNormalization"), opset >= 17);
        reel__onnx_model_free(m);
    }
    reel_onnx_export(g, temp_path("opset.onnx"), &(reel_onnx_opts){.opset = 12});
    expect(REEL_ERR_ARG, "opset 12; 13 to 26");
    reel_graph_free(g);
    reel_scope_end(0);
}

/* What is composed is written as PyTorch's exporter does: readers know no other order. */
static void test_order_of_composed(void **state)
{
    (void)state;
    static const char *const order[] = {/* GELU: (x (erf(x / sqrt 2) + 1)) / 2 */
                                        "Div", "Erf", "Add", "Mul", "Mul",
                                        /* layer norm */
                                        "ReduceMean", "Sub", "Pow", "ReduceMean", "Add",
                                        "Sqrt", "Div"};
    enum { N = sizeof order / sizeof *order };
    reel_graph *g = traced(gelu_norm, REEL_SHAPE(2, 8));
    reel__onnx_model *m =
        written(g, temp_path("order.onnx"), &(reel_onnx_opts){.opset = 13});
    assert_int_equal(m->graph.node.n, N);
    for (int i = 0; i < N; i++)
        assert_string_equal(m->graph.node.at[i]->op_type, order[i]);
    reel__onnx_node *const *n = m->graph.node.at;
    assert_string_equal(n[3]->input.at[0], m->graph.input.at[0]->name);
    assert_string_equal(n[3]->input.at[1], n[2]->output.at[0]);
    assert_string_equal(n[4]->input.at[0], n[3]->output.at[0]);
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_every_record_has_a_rule_or_a_reason(void **state)
{
    (void)state;
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        if ((op->onnx != NULL) == (op->no_onnx != NULL))
            fail_msg("%s must have an ONNX rule or a reason why it has none", op->name);
    }
}

/* ---- files ------------------------------------------------------------------------------- */

static void test_same_bytes(void **state)
{
    (void)state;
    size_t n = 0, k = 0;
    reel_graph *g = traced(gelu_norm, REEL_SHAPE(2, 8));
    reel_rng_state before = reel_rng_get(), after;
    reel_onnx_export(g, temp_path("a.onnx"), NULL);
    reel_onnx_export(g, temp_path("b.onnx"), NULL);
    after = reel_rng_get();
    assert_memory_equal(&before, &after, sizeof before);
    char *a = bytes_of(temp_path("a.onnx"), &n), *b = bytes_of(temp_path("b.onnx"), &k);
    assert_int_equal(n, k);
    assert_memory_equal(a, b, n);
    reel__free(a);
    reel__free(b);
    reel_graph_free(g);
    reel_scope_end(0);
}

static reel_tensor *wide(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_linear(x[0], user, NULL);
}

static void test_external_weights(void **state)
{
    (void)state;
    size_t n = 0;
    reel_tensor *w = reel_randn(REEL_SHAPE(64, 64), REEL_F32);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 64), REEL_F32);
    reel_graph *g = reel_trace_function(wide, w, &x, 1, NULL);
    reel__onnx_model *m =
        written(g, temp_path("big.onnx"), &(reel_onnx_opts){.external_from = 4096});
    assert_int_equal(m->graph.initializer.at[0]->bytes, 64 * 64 * 4);
    reel__onnx_model_free(m);
    reel__free(bytes_of(temp_path("big.onnx.data"), &n));
    assert_int_equal(n, 64 * 64 * 4);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* A full disk, from each call to the system on. Only what fails after the new file is there,
 * which is syncing the folder, may leave it, and then it is whole. */
static void test_failed_export_leaves_the_old_file(void **state)
{
    (void)state;
    size_t n = 0, m = 0, k = 0;
    const reel_onnx_opts changed = {.doc = "new"};
    reel_graph *g = traced(gelu_norm, REEL_SHAPE(2, 8));
    reel_onnx_export(g, temp_path("new.onnx"), &changed);
    reel_onnx_export(g, temp_path("old.onnx"), NULL);
    char *old = bytes_of(temp_path("old.onnx"), &n);
    char *new = bytes_of(temp_path("new.onnx"), &m);
    int kept = 0, call = 1;
    for (;; call++) {
        reel__fault_io(call, true, REEL__FAULT_ENOSPC);
        (void)reel_onnx_export(g, temp_path("old.onnx"), &changed);
        reel__fault_io(0, false, REEL__FAULT_EIO);
        if (!reel_failed()) break;
        assert_int_equal(reel_error_status(), REEL_ERR_IO);
        reel_error_clear();
        char *now = bytes_of(temp_path("old.onnx"), &k);
        bool is_old = k == n && !memcmp(now, old, n);
        assert_true(is_old || (k == m && !memcmp(now, new, m)));
        kept += is_old;
        reel__free(now);
    }
    assert_true(kept >= 5 && kept >= call - 3);
    reel__free(old);
    reel__free(new);
    reel_onnx_export(g, temp_path("no/such/folder.onnx"), NULL);
    expect(REEL_ERR_IO, "folder.onnx");
    reel_graph_free(g);
    reel_scope_end(0);
}

/* Every allocation of an export fails once: an error and no leak. */
static void export_without_memory(reel_graph *g, const char *name)
{
    int64_t live = reel_live_objects();
    bool failed = true;
    for (int64_t k = 1; failed; k++) {
        reel__fault_alloc(k, false);
        reel_onnx_export(g, temp_path("memory.onnx"),
                         &(reel_onnx_opts){.unchecked = true});
        reel__fault_alloc(0, false);
        failed = reel_error_status() == REEL_ERR_MEMORY;
        reel_error_clear();
        if (reel_live_objects() != live) fail_msg("%s leaks", name);
    }
}

static void test_without_memory(void **state)
{
    (void)state;
    for (int i = 0; i < reel__n_ops; i++) {
        sample s;
        one_node made;
        reel_scope scope = reel_scope_begin();
        assert_true(sample_parse(reel__ops[i], sample_text(reel__ops[i]), 0, &s));
        if (one_node_make(&s, REEL_F32, 1, &made)) {
            export_without_memory(made.graph, reel__ops[i]->name);
            reel_graph_free(made.graph);
        }
        reel_scope_end(scope);
    }
}

/* ---- values at the edge ------------------------------------------------------------------- */

static bool alike(double got, double want)
{
    if (isnan(want) || isinf(want)) return isnan(want) ? isnan(got) : got == want;
    return fabs(got - want) <= 1e-5 * (1 + fabs(want));
}

/* What the model of a call gives, imported, is what the call gave. Returns 1 if there is one. */
static int same_at_the_edge(const sample *s, int opset)
{
    one_node made;
    if (!one_node_make(s, REEL_F32, 1, &made)) return 0;
    char *left = reel_onnx_missing(made.graph, opset);
    assert_non_null(left);
    const bool can = !*left;
    free(left);
    if (can) {
        reel__onnx_model *m =
            reel__onnx_model_of(made.graph, &(reel_onnx_opts){.opset = opset}, NULL);
        reel_graph *g = m ? reel__onnx_import(m, "edge.onnx", NULL) : NULL;
        reel_tensor *y = NULL;
        if (g) reel_graph_run(g, made.in, made.n_in, &y, 1);
        no_error();
        double want[256], got[256];
        const int64_t n = reel_numel(made.out[0]);
        assert_true(n == reel_numel(y) && n <= 256);
        assert_int_equal(reel_read(made.out[0], want, REEL_F64), REEL_OK);
        assert_int_equal(reel_read(y, got, REEL_F64), REEL_OK);
        for (int64_t i = 0; i < n; i++)
            if (!alike(got[i], want[i]))
                fail_msg("%s at opset %d, %s: element %d is %g, not %g", s->op->name,
                         opset, sample_hard_name(s->in[0].hard), (int)i, got[i], want[i]);
        reel_graph_free(g);
        reel__onnx_model_free(m);
    }
    reel_graph_free(made.graph);
    return can;
}

/* Pointwise records are often written as several operators, on whose way something may come of an
 * infinity. All operands are hard, or the first one is and the others are zeros. */
static void test_edges_of_composed(void **state)
{
    static const sample_hard hard[] = {SAMPLE_ZERO,  SAMPLE_INFINITE, SAMPLE_NAN,
                                       SAMPLE_EQUAL, SAMPLE_HUGE,     SAMPLE_LOWEST};
    static const int opset[] = {13, 26};
    int compared = 0;
    (void)state;
    for (int i = 0; i < reel__n_ops; i++)
        for (int how = 0; how < 24; how++) {
            sample s;
            const reel__op *op = reel__ops[i];
            if (!(op->traits & REEL_OP_POINTWISE) || !op->onnx || !op->sample) continue;
            reel_scope scope = reel_scope_begin();
            assert_true(sample_parse(op, op->sample, 0, &s));
            for (int k = 0; k < s.n_in; k++)
                if (s.in[k].kind == SAMPLE_FLOAT)
                    s.in[k].hard = k && how / 12 ? SAMPLE_ZERO : hard[how / 2 % 6];
            compared += same_at_the_edge(&s, opset[how % 2]);
            reel_scope_end(scope);
        }
    assert_true(compared > 1000);
}

/* A planted wrong rule: exp written as neg. */
static const reel__op *wrong_exp(void)
{
    static reel__op op;
    op = *reel__op_by_name("exp");
    op.onnx = reel__op_by_name("neg")->onnx;
    return &op;
}

static void test_wrong_values_are_not_written(void **state)
{
    (void)state;
    size_t n;
    reel_graph *g = traced(two_uses, REEL_SHAPE(2, 3));
    g->node[0].op = wrong_exp();
    reel_onnx_export(g, temp_path("wrong.onnx"), NULL);
    expect(REEL_ERR_NUMERIC, "wrong.onnx: output y of the file differs");
    assert_null(reel__file_load(temp_path("wrong.onnx"), 1 << 20, &n));
    expect(REEL_ERR_IO, "wrong.onnx");
    assert_int_equal(reel_onnx_export(g, temp_path("wrong.onnx"),
                                      &(reel_onnx_opts){.unchecked = true}),
                     REEL_OK);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* exp(x) of the first eight rows, which is all of it in a small batch. */
static reel_status eight_rows(const reel__call *c, reel_onnx *o)
{
    (void)c;
    const reel__ref x = o->in[0];
    reel__ref y = ONNX_NODE("Slice", o->out[0], ONNX("Exp", x),
                            reel__onnx_list(o, 1, (const int64_t[]){0}),
                            reel__onnx_list(o, 1, (const int64_t[]){8}),
                            reel__onnx_list(o, 1, (const int64_t[]){0}));
    return reel__onnx_give(o, 0, y);
}

/* exp(x) times min(rows - 1, 1), which is 0 in a batch of one alone. */
static reel_status two_rows(const reel__call *c, reel_onnx *o)
{
    (void)c;
    const reel__ref x = o->in[0];
    const int64_t one = 1, less = o->batch - 1;
    reel__ref factor =
        ONNX("Min", reel__onnx_sizes(o, 1, &less, &one), reel__onnx_list(o, 1, &one));
    factor = reel__onnx_cast(o, factor, x->dtype);
    return reel__onnx_give(o, 0, ONNX("Mul", factor, ONNX("Exp", x)));
}

/* Rules that are right at some batch sizes. */
static void test_wrong_at_other_batches_is_not_written(void **state)
{
    (void)state;
    reel_status (*const rule[])(const reel__call *, reel_onnx *) = {eight_rows, two_rows};
    const reel_status status[] = {REEL_ERR_INTERNAL, REEL_ERR_NUMERIC};
    for (int i = 0; i < 2; i++) {
        reel_graph *g = traced(two_uses, REEL_SHAPE(2, 3));
        reel__op op = *reel__op_by_name("exp");
        op.onnx = rule[i];
        g->node[0].op = &op;
        reel_onnx_export(g, temp_path("wrong.onnx"), NULL);
        expect(status[i], "wrong.onnx: output y");
        reel_graph_free(g);
        reel_scope_end(0);
    }
}

static reel_tensor *second_row(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return reel_mul(x[0], reel_select(x[0], 0, 1));
}

/* A batch at which the graph has no meaning is not asked for. */
static void test_row_that_one_has_not(void **state)
{
    (void)state;
    reel_graph *g = traced(second_row, REEL_SHAPE(4, 3));
    reel__onnx_model *m = written(g, temp_path("row.onnx"), NULL);
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- what cannot be exported --------------------------------------------------------------- */

static void test_train_mode(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL);
    reel_graph *g = reel_trace(net, reel_randn(REEL_SHAPE(2, 3, 32, 32), REEL_F32), NULL);
    no_error();
    reel_onnx_export(g, temp_path("train.onnx"), NULL);
    assert_non_null(strstr(reel_error_message(), "(in bn1)"));
    expect(REEL_ERR_STATE, "call reel_train(net, false) before tracing");
    char *text = reel_onnx_missing(g, 0);
    assert_non_null(strstr(text, "batch_norm_update: "));
    assert_non_null(strstr(text, "(in layer3.2.bn2)\n"));
    free(text);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
}

static reel_tensor *unsupported(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *y = reel_adaptive_avg_pool2d(x[0], 3, 2);
    return reel_add(y, reel_rand(REEL_SHAPE(1, 1, 3, 2), REEL_F32));
}

static void test_missing_lists_all(void **state)
{
    (void)state;
    reel_graph *g = traced(unsupported, REEL_SHAPE(2, 3, 7, 7));
    char *text = reel_onnx_missing(g, 13);
    assert_non_null(strstr(text, "adaptive_avg_pool2d: ONNX has windows of one size"));
    assert_non_null(strstr(text, "\nrand: no form in ONNX: draws random numbers"));
    free(text);
    reel_graph_free(g);
    g = traced(gelu_norm, REEL_SHAPE(2, 8));
    text = reel_onnx_missing(g, 13);
    assert_string_equal(text, "");
    free(text);
    reel_graph_free(g);
    reel_scope_end(0);
}

static reel_tensor *through_a_view(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    reel_tensor *y = reel_exp(x[0]);
    (void)reel_relu_(reel_narrow(y, 1, 0, 1));
    return y;
}

static void test_change_through_a_view(void **state)
{
    (void)state;
    reel_graph *g = traced(through_a_view, REEL_SHAPE(2, 3));
    reel_onnx_export(g, temp_path("view.onnx"), NULL);
    expect(REEL_ERR_UNSUPPORTED, "changed in place by way of another view");
    char *text = reel_onnx_missing(g, 0);
    no_error();
    assert_non_null(strstr(text, "changed in place by way of another view"));
    assert_string_equal(text + strlen(text) - 1, "\n");
    free(text);
    reel_graph_free(g);
    reel_scope_end(0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return onnx_cases_write(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_tied_weights_stand_once),
        cmocka_unit_test(test_only_what_outputs_need),
        cmocka_unit_test(test_input_as_output),
        cmocka_unit_test(test_opsets),
        cmocka_unit_test(test_order_of_composed),
        cmocka_unit_test(test_every_record_has_a_rule_or_a_reason),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_external_weights),
        cmocka_unit_test(test_failed_export_leaves_the_old_file),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_edges_of_composed),
        cmocka_unit_test(test_wrong_values_are_not_written),
        cmocka_unit_test(test_wrong_at_other_batches_is_not_written),
        cmocka_unit_test(test_row_that_one_has_not),
        cmocka_unit_test(test_train_mode),
        cmocka_unit_test(test_missing_lists_all),
        cmocka_unit_test(test_change_through_a_view),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
