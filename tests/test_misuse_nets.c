/* Wrong calls of base.h, nn.h, optim.h, data.h, io.h, training.h, profile.h, progress.h: as in
 * test_misuse.c, an error where one is promised, and never a crash. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "base/counts.h"
#include "support/misuse.h"

/* Frees what should not have been made. */
#define NO_MODULE(who, call)                                                             \
    do {                                                                                 \
        reel_module *made_ = (call);                                                     \
        reel_module_free(made_);                                                         \
        if (made_) COMPLAIN("line %d: a module\n", __LINE__);                            \
        names_called(#call, __LINE__);                                                   \
        refused_by(who, __LINE__);                                                       \
    } while (0)

static const char *const nowhere = "/no/such/folder/file";

/* What errors of safetensors files name: the file, unless this build has no JSON. */
static const char *json_file(void)
{
    reel_tensor_map *map = reel_safetensors_load(nowhere);
    bool lacking = reel_error_status() == REEL_ERR_UNSUPPORTED;
    reel_tensor_map_free(map);
    reel_error_clear();
    return lacking ? "" : nowhere;
}

/* ---- base.h, profile.h, progress.h -------------------------------------------------------- */

static void test_base(void **state)
{
    (void)state;
    reel_memory_stats stats;
    reel_device none = {(reel_device_type)9, 0}, cpu = {REEL_CPU, 0},
                cpu5 = {REEL_CPU, 5};
    assert_non_null(reel_version());
    assert_string_equal(reel_error_message(), "");
    assert_int_equal(reel_error_status(), REEL_OK);
    assert_non_null(reel_status_name((reel_status)99));
    assert_non_null(reel_status_name((reel_status)-1));
    assert_int_equal(reel_fail(REEL_OK, "no such failure"), REEL_ERR_INTERNAL);
    assert_int_equal(reel_fail(REEL_ERR_IO, "a second"), REEL_ERR_INTERNAL);
    refused_by("no such failure", __LINE__);
    assert_int_equal(reel_dtype_size((reel_dtype)-1), 0);
    assert_int_equal(reel_dtype_size(REEL__DTYPE_COUNT), 0);
    assert_string_equal(reel_dtype_name((reel_dtype)77), "?");
    assert_false(reel_dtype_is_float((reel_dtype)-5));
    assert_true(reel_device_available(reel_best_device()));
    assert_false(reel_device_available(none) || reel_device_available(cpu5));
    reel_set_log(NULL, NULL);
    BAD("threads", reel_set_threads(-1));
    assert_true(reel_threads() >= 1);
    assert_non_null(reel_cpu_isa());
    bool exact = reel_exact();
    reel_set_exact(exact);
    reel_set_flush_denormals(true);
    BAD("memory", reel_memory(none, &stats));
    BAD("memory", reel_memory(cpu, NULL));
    reel_memory_reset_peak(none);
    reel_memory_trim(cpu5);
    assert_false(reel_failed());
    reel_error_clear();
    BAD("synchronize", reel_synchronize(none));
    BAD("synchronize", reel_synchronize(cpu5));
    BAD("set_allocator", reel_set_allocator(&(reel_allocator){.user = &stats}));
    reel_shutdown(); /* of a library that works on afterwards */
    assert_true(reel_live_objects() >= 0);
}

static void test_profile_and_progress(void **state)
{
    (void)state;
    reel_cost cost;
    BAD("cost_end", reel_cost_end(&cost));
    assert_int_equal(reel_cost_begin(), REEL_OK);
    BAD("cost_begin", reel_cost_begin());
    assert_int_equal(reel_cost_end(NULL), REEL_OK);
    assert_null(reel_progress_new(NULL, 5, NULL));
    assert_false(reel_failed());
    NONE("progress", reel_progress_new(stderr, -1, NULL));
    NONE("progress", reel_progress_new(stderr, 1, &(reel_progress_opts){.every = -1}));
    reel_progress_update(NULL, 1, NULL);
    reel_progress_free(NULL);
    assert_false(reel_failed());
}

/* ---- nn.h ------------------------------------------------------------------------------------ */

static void test_layers(void **state)
{
    (void)state;
    NO_MODULE("linear", reel_nn_linear(0, 3, NULL));
    NO_MODULE("linear", reel_nn_linear(3, -1, NULL));
    NO_MODULE("", reel_nn_linear(INT64_MAX, INT64_MAX, NULL));
    NO_MODULE("conv2d", reel_nn_conv2d(0, 4, 3, NULL));
    NO_MODULE("conv2d", reel_nn_conv2d(3, 4, 0, NULL));
    NO_MODULE("conv2d",
              reel_nn_conv2d(3, 4, 3, &(reel_nn_conv2d_opts){.conv.groups = 2}));
    NO_MODULE("conv2d",
              reel_nn_conv2d(3, 4, 3, &(reel_nn_conv2d_opts){.conv.groups = -1}));
    NO_MODULE("norm", reel_nn_batch_norm2d(-1, NULL));
    NO_MODULE("norm",
              reel_nn_batch_norm2d(3, &(reel_nn_batch_norm2d_opts){.momentum = 2}));
    NO_MODULE("", reel_nn_layer_norm((reel_shape){.rank = 99}, NULL));
    NO_MODULE("", reel_nn_layer_norm(REEL_SHAPE(-1), NULL));
    NO_MODULE("pool", reel_nn_max_pool2d(0, NULL));
    NO_MODULE("pool", reel_nn_max_pool2d(-1, NULL));
    NO_MODULE("pool", reel_nn_avg_pool2d(0, NULL));
    NO_MODULE("pool", reel_nn_adaptive_avg_pool2d(0, -1));
    NO_MODULE("activation", reel_nn_activation((reel_activation)(REEL_ACT_IDENTITY + 1)));
    NO_MODULE("activation", reel_nn_activation((reel_activation)-1));
    NONE("", reel_activate(reel_ones(REEL_SHAPE(2), REEL_F32),
                           (reel_activation)(REEL_ACT_IDENTITY + 1)));
    NONE("", reel_activate(NULL, REEL_ACT_RELU));
    assert_string_equal(reel_activation_name((reel_activation)(REEL_ACT_IDENTITY + 1)),
                        "?");
    NO_MODULE("dropout", reel_nn_dropout(1));
    NO_MODULE("dropout", reel_nn_dropout(NAN));
    NO_MODULE("embedding", reel_nn_embedding(0, 4));
    NO_MODULE("embedding", reel_nn_embedding(4, -4));
    NO_MODULE("", reel_nn_sequential_n(NULL, 2));
    NO_MODULE("attention", reel_nn_attention(10, 3, NULL));
    NO_MODULE("attention", reel_nn_attention(10, 0, NULL));
    NO_MODULE("attention",
              reel_nn_attention(4, 2, &(reel_nn_attention_opts){.dropout = 1}));
    NO_MODULE("", reel_nn_encoder_layer(10, 3, NULL));
    NO_MODULE(
        "", reel_nn_encoder_layer(
                8, 2, &(reel_nn_encoder_layer_opts){.activation = (reel_activation)99}));
    NO_MODULE("mlp", reel_mlp(0, 10, NULL));
    NO_MODULE("mlp", reel_mlp(-4, 10, NULL));
    const reel_resnet_opts bad = {.classes = -1};
    NO_MODULE("", reel_resnet20(&bad));
    NO_MODULE("", reel_resnet32(&bad));
    NO_MODULE("", reel_resnet56(&bad));
    NO_MODULE("", reel_resnet18(&bad));
    NO_MODULE("", reel_resnet34(&(reel_resnet_opts){.channels = -3}));
    NO_MODULE("", reel_resnet50(&bad));
    NO_MODULE("", reel_mobilenet_v2(&(reel_mobilenet_opts){.classes = -1}));
    NO_MODULE("", reel_mobilenet_v2(&(reel_mobilenet_opts){.channels = -3}));
    NO_MODULE("", reel_mobilenet_v2(&(reel_mobilenet_opts){.width = INFINITY}));
    NO_MODULE("", reel_mobilenet_v2(&(reel_mobilenet_opts){.dropout = 1}));
    NO_MODULE("", reel_vit_tiny(&(reel_vit_opts){.image = 30, .patch = 4}));
    NO_MODULE("", reel_vit_tiny(&(reel_vit_opts){.dim = 10, .heads = 3}));
    /* what is made behind an error is not made */
    reel_fail(REEL_ERR_ARG, "before");
    assert_null(reel_nn_relu());
    assert_null(reel_nn_gelu());
    assert_null(reel_nn_leaky_relu(0.2));
    assert_null(reel_nn_elu(1));
    assert_null(reel_nn_flatten(1, -1));
    refused_by("before", __LINE__);
}

static reel_tensor *forward_of_nothing(reel_module *m, reel_tensor *x)
{
    (void)m;
    (void)x;
    return NULL;
}

static void test_module_tree(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    NONE("module", reel_module_new(1, "tiny", NULL));
    reel_module *m = reel_module_new(sizeof *m, "box", NULL);
    reel_module *broken = reel_module_new(sizeof *m, "broken", forward_of_nothing);
    assert_non_null(m);
    assert_non_null(broken);
    assert_null(reel_module_done(NULL));
    NO_MODULE("", reel_module_add(m, "", reel_nn_relu()));
    NO_MODULE("", reel_module_add(m, "a.b", reel_nn_relu()));
    NO_MODULE("", reel_module_add(m, NULL, reel_nn_relu()));
    NO_MODULE("", reel_module_add(NULL, "a", reel_nn_relu()));
    NONE("", reel_module_add(m, "a", NULL));
    reel_module *child = reel_module_add(m, "a", reel_nn_linear(3, 2, NULL));
    assert_non_null(child);
    NONE("", reel_module_add(m, "again", child)); /* it has a parent, and is left alone */
    NO_MODULE("", reel_module_add(m, "a", reel_nn_relu()));
    NO_MODULE("no child", reel_module_replace(m, "b", reel_nn_relu()));
    NO_MODULE("no child", reel_module_replace(m, "a.b", reel_nn_relu()));
    NO_MODULE("no child", reel_module_replace(m, NULL, reel_nn_relu()));
    NO_MODULE("NULL", reel_module_replace(NULL, "a", reel_nn_relu()));
    NONE("NULL", reel_module_replace(m, "a", NULL));
    NONE("parent", reel_module_replace(m, "a", child));
    NONE("above", reel_module_replace(child, "x", m));
    NONE("no child", reel_module_take(m, "b"));
    NONE("no child", reel_module_take(m, NULL));
    NONE("NULL", reel_module_take(NULL, "a"));
    BAD("NULL", reel_module_tie(NULL, "a.weight", "a.weight"));
    BAD("\"\"", reel_module_tie(m, NULL, "a.weight"));
    BAD("\"a\"", reel_module_tie(m, "a.weight", "a"));
    BAD("[2,3]", reel_module_tie(m, "a.weight", "a.bias"));
    NONE("", reel_module_param(m, "p", NULL));
    NONE("", reel_module_param(m, "a.b", x));
    NONE("", reel_module_param(m, "i", reel_ones(REEL_SHAPE(2), REEL_I64)));
    NONE("", reel_module_param(NULL, "p", x));
    NONE("", reel_module_buffer(NULL, "p", x));
    NONE("", reel_module_buffer(m, "", x));
    NONE("", reel_forward(NULL, x));
    NONE("", reel_forward(child, NULL));
    NONE("", reel_forward(m, x));
    NONE("broken", reel_forward(broken, x));
    NONE("linear", reel_forward(child, reel_ones(REEL_SHAPE(2, 4), REEL_F32)));
    reel_tensor *y = NULL;
    BAD("NULL", reel_forward_n(NULL, &x, 1, &y, 1));
    BAD("no forward", reel_forward_n(m, &x, 1, &y, 1));
    BAD("takes 1 and gives 1", reel_forward_n(child, (reel_tensor *[]){x, x}, 2, &y, 1));
    BAD("NULL", reel_forward_n(child, NULL, 1, &y, 1));
    BAD("NULL", reel_forward_n(child, &x, 1, NULL, 1));
    BAD("NULL", reel_forward_n(child, &y, 1, &y, 1));
    BAD("-1", reel_forward_n(child, &x, -1, &y, 1));
    BAD("broken", reel_forward_n(broken, &x, 1, &y, 1));
    assert_int_equal(reel_module_takes(NULL, 3, 1, 2, 1), REEL_ERR_ARG);
    refused_as("forward_n", __LINE__); /* whose error it makes */
    reel_frame frame = reel_module_enter(NULL, NULL);
    NONE("", reel_module_leave(NULL, frame, NULL, NULL));
    assert_int_equal(reel_module_add_hook(NULL, &(reel_module_hook){0}), 0);
    refused_as("module_add_hook", __LINE__);
    BAD("hook", reel_module_remove_hook(m, 7));
    BAD("hook", reel_module_remove_hook(NULL, 1));
    assert_string_equal(reel_module_name(NULL), "");
    assert_int_equal(reel_module_count(NULL), 0);
    assert_null(reel_module_child(m, 9));
    assert_null(reel_module_child(NULL, 0));
    assert_null(reel_module_at(m, "nothing.here"));
    assert_null(reel_module_at(NULL, ""));
    assert_null(reel_module_at(m, NULL));
    assert_null(reel_module_find(m, "a.nothing"));
    assert_null(reel_module_find(NULL, "a"));
    assert_null(reel_module_find(m, NULL));
    assert_false(reel_failed());
    BAD("", reel_module_each(NULL, NULL, NULL));
    BAD("", reel_module_each(m, NULL, NULL));
    BAD("", reel_tensor_each(m, NULL, NULL));
    assert_int_equal(reel_parameters(NULL).n, 0);
    assert_int_equal(reel_param_count(NULL), 0);
    reel_error_clear();
    reel_train(NULL, true);
    reel_zero_grad(NULL);
    reel_error_clear();
    BAD("", reel_freeze(NULL, true));
    BAD("", reel_module_to(NULL, (reel_device){REEL_CPU, 0}));
    BAD("", reel_module_to(m, (reel_device){REEL_CPU, 8}));
    BAD("", reel_module_cast(NULL, REEL_F64));
    BAD("", reel_module_cast(m, REEL_I64));
    reel_module_free(NULL);
    reel_module_free(broken);
    reel_module_free(m);
}

static void test_special_forwards(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3, 4, 4), REEL_F32);
    reel_tensor *seq = reel_ones(REEL_SHAPE(2, 3, 4), REEL_F32);
    reel_module *bn = reel_nn_batch_norm2d(5, NULL), *mha = reel_nn_attention(4, 2, NULL);
    NONE("norm", reel_nn_batch_norm2d_forward(bn, x, NULL, false));
    NONE("", reel_nn_batch_norm2d_forward(NULL, x, NULL, false));
    NONE("", reel_nn_batch_norm2d_forward(bn, NULL, NULL, false));
    NONE("", reel_nn_batch_norm2d_forward(mha, x, NULL, false)); /* another kind */
    NONE("", reel_nn_attention_forward(NULL, seq, seq, seq, NULL));
    NONE("", reel_nn_attention_forward(mha, NULL, seq, seq, NULL));
    NONE("", reel_nn_attention_forward(mha, seq, seq, x, NULL));
    NONE("", reel_nn_attention_forward(bn, seq, seq, seq, NULL));
    reel_module_free(bn);
    reel_module_free(mha);
}

static void test_module_state(void **state)
{
    (void)state;
    const char *file = json_file();
    reel_module *m = reel_nn_linear(3, 2, NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    BAD("", reel_state_dict(NULL, map));
    BAD("", reel_state_dict(m, NULL));
    BAD("", reel_load_state_dict(NULL, map, NULL));
    BAD("", reel_load_state_dict(m, NULL, NULL));
    BAD("weight", reel_load_state_dict(m, map, NULL)); /* missing */
    assert_int_equal(
        reel_tensor_map_set(map, "weight", reel_ones(REEL_SHAPE(9), REEL_F32)), REEL_OK);
    BAD("weight", reel_load_state_dict(m, map, &(reel_load_opts){.partial = true}));
    BAD("nothing fits",
        reel_load_state_dict(
            m, map, &(reel_load_opts){.partial = true, .skip_other_shape = true}));
    assert_int_equal(reel_load_report_count(NULL, REEL_LOAD_MISSING), 0);
    assert_null(reel_load_report_name(NULL, REEL_LOAD_MISSING, 0));
    reel_load_report *report = reel_load_report_new();
    assert_int_equal(reel_load_report_count(report, (reel_load_kind)9), 0);
    assert_null(reel_load_report_name(report, (reel_load_kind)-1, 0));
    reel_load_report_free(report);
    reel_load_report_free(NULL);
    BAD("", reel_module_save(NULL, "x"));
    BAD("", reel_module_save(m, NULL));
    BAD(file, reel_module_save(m, nowhere));
    BAD("", reel_module_load(m, NULL, NULL));
    BAD(file, reel_module_load(m, nowhere, NULL));
    NONE("", reel_summary(NULL, REEL_SHAPE(1, 3), NULL));
    NONE("", reel_summary(m, REEL_SHAPE(1, 4), NULL));
    NONE("", reel_summary(m, (reel_shape){.rank = -2}, NULL));
    BAD("", reel_summary_write(m, REEL_SHAPE(1, 3), NULL, NULL));
    NONE("trace", reel_trace(NULL, NULL, NULL));
    NONE("trace", reel_trace(m, NULL, NULL));
    NONE("", reel_trace(m, reel_ones(REEL_SHAPE(1, 4), REEL_F32), NULL));
    BAD("capture_state", reel_capture_module(m)); /* no capture is under way */
    NONE("module_function", reel_module_function(m, NULL, 2));
    NONE("forward", reel_module_function(NULL, (reel_tensor *[]){NULL}, 1));
    BAD("NULL", reel_module_function_n(NULL, NULL, 0, NULL, 0));
    NONE("trace", reel_trace_n(NULL, NULL, 1, 1, NULL));
    NONE("trace", reel_trace_n(m, NULL, 1, 1, NULL));
    BAD("trace", reel_module_export_n(NULL, NULL, 1, 1, "x.onnx", NULL, NULL));
    BAD("trace", reel_module_export(NULL, NULL, "x.onnx", NULL));
    BAD("trace", reel_module_export(m, NULL, "x.onnx", NULL));
    reel_tensor_map_free(map);
    reel_module_free(m);
}

static reel_tensor *same(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    return n ? x[0] : NULL;
}

static reel_status visit_state(void *user, const char *name, reel_tensor *t,
                               reel_state_kind kind)
{
    (void)user, (void)name, (void)t, (void)kind;
    return REEL_OK;
}

static void test_graphs(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32), *y = NULL;
    BAD("capture_input", reel_capture_input(x, "x"));
    BAD("capture_state", reel_capture_state(x, "w", true));
    BAD("capture_grads", reel_capture_grads());
    assert_false(reel_capturing());
    assert_false(reel_capture_grad(0, &(reel_captured_grad){0}));
    assert_false(reel_graph_current(NULL));
    NONE("capture_end", reel_capture_end(&x, 1, NULL));
    NONE("trace_function", reel_trace_function(NULL, NULL, &x, 1, NULL));
    NONE("trace_function", reel_trace_function(same, NULL, NULL, 1, NULL));
    NONE("trace_function", reel_trace_function(same, NULL, &x, 0, NULL));
    NONE("fn is NULL", reel_trace_function_n(NULL, NULL, &x, 1, 1, NULL));
    NONE("1 to 64", reel_trace_function_n(reel_module_function_n, NULL, &x, 1, 0, NULL));
    NONE("more than 64",
         reel_trace_function_n(reel_module_function_n, NULL, &x, 65, 1, NULL));
    assert_int_equal(reel_capture_begin(), REEL_OK);
    BAD("capture_begin", reel_capture_begin());
    BAD("capture_input", reel_capture_input(NULL, NULL));
    BAD("capture_state", reel_capture_state(NULL, "w", true));
    BAD("capture_state", reel_capture_state(x, NULL, true));
    reel_capture_cancel();
    reel_graph_free(NULL);
    assert_int_equal(reel_graph_nodes(NULL), 0);
    assert_int_equal(reel_graph_nodes_each_run(NULL), -1);
    refused_as("graph_nodes_each_run", __LINE__);
    assert_int_equal(reel_graph_batch(NULL), 0);
    NONE("graph_copy", reel_graph_copy(NULL));
    assert_null(reel_graph_input_name(NULL, 0));
    assert_null(reel_graph_output_name(NULL, 0));
    assert_null(reel_graph_node_op(NULL, 0));
    assert_null(reel_graph_node_where(NULL, 0));
    assert_int_equal(reel_graph_input_shape(NULL, 0, NULL).rank, -1);
    BAD("graph_run", reel_graph_run_watched(NULL, &x, 1, &y, 1, NULL, NULL));
    BAD("graph_set_batch", reel_graph_set_batch(NULL, 1));
    assert_int_equal(reel_graph_inputs(NULL), 0);
    assert_int_equal(reel_graph_outputs(NULL), 0);
    assert_string_equal(reel_graph_reads(NULL), "");
    assert_true(reel_graph_cost(NULL).calls == 0);
    BAD("graph_run", reel_graph_run(NULL, &x, 1, &y, 1));
    BAD("graph_check", reel_graph_check(NULL));
    NONE("graph_to_string", reel_graph_to_string(NULL));
    BAD("graph_write_dot", reel_graph_write_dot(NULL, stdout));
    const char *file = json_file();
    const reel_roofline flat = {0, 10};
    reel_node_cost cost;
    BAD("graph_node_cost", reel_graph_node_cost(NULL, 0, NULL, &cost));
    assert_int_equal(reel_graph_peak_bytes(NULL), -1);
    refused_as("graph_peak_bytes", __LINE__);
    BAD("graph_report", reel_graph_report(NULL, stdout, NULL));
    NONE("graph_parse", reel_graph_parse(NULL, NULL, NULL));
    NONE("there is no tensor w", reel_graph_parse("param w f32[3]\n", NULL, NULL));
    BAD("graph_each_state", reel_graph_each_state(NULL, visit_state, NULL));
    BAD("graph_name_state", reel_graph_name_state(NULL));
    BAD("graph_write_svg", reel_graph_write_svg(NULL, stdout, NULL));
    BAD("graph_write_html", reel_graph_write_html(NULL, stdout, NULL));
    BAD("graph_save_html", reel_graph_save_html(NULL, nowhere, NULL));
    NO_MODULE("graph_module", reel_graph_module(NULL));
    BAD("graph_save", reel_graph_save(NULL, nowhere));
    NONE("graph_load", reel_graph_load(NULL));
    NONE(file, reel_graph_load(nowhere));
    reel_graph *g = reel_graph_parse("input x f32[3]\n", NULL, NULL);
    BAD("node 0 of 0", reel_graph_node_cost(g, 0, NULL, &cost));
    BAD("graph_each_state", reel_graph_each_state(g, NULL, NULL));
    BAD("graph_report", reel_graph_report(g, NULL, NULL));
    BAD("must be above 0", reel_graph_report(g, stdout, &flat));
    BAD("graph_write_svg", reel_graph_write_svg(g, NULL, NULL));
    BAD("must be above 0",
        reel_graph_write_html(g, stdout, &(reel_view_opts){.peaks = &flat}));
    BAD("graph_save_html", reel_graph_save_html(g, NULL, NULL));
    BAD(nowhere, reel_graph_save_html(g, nowhere, NULL));
    BAD("must be above 0",
        reel_graph_save_html(g, nowhere, &(reel_view_opts){.peaks = &flat}));
    BAD("graph_save", reel_graph_save(g, NULL));
    BAD(file, reel_graph_save(g, nowhere));
    BAD("graph_optimize", reel_graph_optimize(NULL, NULL));
    assert_true(reel_pass_count() > 0);
    assert_null(reel_pass_name(-1));
    assert_null(reel_pass_about(reel_pass_count()));
    NO_MODULE("no outputs", reel_graph_module(g));
    reel_graph_free(g);
}

static void test_onnx(void **state)
{
    (void)state;
    reel_graph *g = reel_graph_parse("input x f32[3]\n", NULL, NULL);
    BAD("onnx_export", reel_onnx_export(NULL, "x.onnx", NULL));
    BAD("onnx_export", reel_onnx_export(g, NULL, NULL));
    BAD("opset 12", reel_onnx_export(g, "x.onnx", &(reel_onnx_opts){.opset = 12}));
    BAD("opset 27", reel_onnx_export(g, "x.onnx", &(reel_onnx_opts){.opset = 27}));
    BAD("metadata", reel_onnx_export(g, "x.onnx", &(reel_onnx_opts){.n_metadata = 1}));
    BAD("external_from",
        reel_onnx_export(g, "x.onnx", &(reel_onnx_opts){.external_from = -1}));
    NONE("onnx_missing", reel_onnx_missing(NULL, 0));
    NONE("opset 5", reel_onnx_missing(g, 5));
    NONE("onnx_load", reel_onnx_load(NULL, NULL));
    NONE("x.onnx", reel_onnx_load("no/such/x.onnx", NULL));
    NONE("onnx_load", reel_onnx_load(nowhere, &(reel_onnx_load_opts){.batch = -1}));
    NONE("onnx_load", reel_onnx_load(nowhere, &(reel_onnx_load_opts){.max_bytes = -1}));
    reel_graph_free(g);
}

static void test_executors(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32), *y = NULL;
    reel_plan_memory memory;
    double seconds;
    NONE("executor_new", reel_executor_new(NULL, NULL));
    NONE("executor_clone", reel_executor_clone(NULL));
    BAD("graph_tune", reel_graph_tune(NULL, 0));
    BAD("executor_run", reel_executor_run(NULL, &x, 1, &y, 1));
    BAD("executor_memory", reel_executor_memory(NULL, &memory));
    BAD("executor_profile", reel_executor_profile(NULL, true));
    BAD("executor_time", reel_executor_time(NULL, 0, &seconds));
    reel_executor_free(NULL);
    reel_graph *g = reel_trace_function(same, NULL, &x, 1, NULL);
    reel_executor *e = reel_executor_new(g, NULL);
    NONE("executor_new", reel_executor_new(g, &(reel_executor_opts){.batch = -1}));
    BAD("graph_tune", reel_graph_tune(g, -1));
    BAD("executor_run", reel_executor_run(e, NULL, 1, &y, 1));
    BAD("executor_run", reel_executor_run(e, &y, 1, &y, 1));
    BAD("executor_run", reel_executor_run(e, &x, 1, NULL, 1));
    y = NULL;
    BAD("executor_run_into", reel_executor_run_into(NULL, &x, 1, &x, 1));
    BAD("executor_run_into", reel_executor_run_into(e, &x, 1, &y, 1));
    BAD("executor_run_into", reel_executor_run_into(e, &x, 1, NULL, 1));
    BAD("executor_run_into", reel_executor_run_into(e, &x, 1, &x, 1)); /* its input */
    BAD("executor_memory", reel_executor_memory(e, NULL));
    BAD("executor_time", reel_executor_time(e, 0, &seconds)); /* a graph of no nodes */
    reel_executor_free(e);
    reel_graph_free(g);
}

static reel_status gives_nothing(void *user, reel_tensor *const x[], int n_x,
                                 reel_tensor *y[], int n_y)
{
    (void)user, (void)x, (void)n_x, (void)y, (void)n_y;
    return REEL_OK;
}

static void test_steps(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32), *none = NULL, *y = NULL;
    NONE("compile", reel_compile(NULL, NULL, NULL));
    NONE("compile",
         reel_compile(gives_nothing, NULL, &(reel_compile_opts){.warmup = -1}));
    BAD("compiled_run", reel_compiled_run(NULL, &x, 1, &y, 1));
    assert_null(reel_compiled_graph(NULL));
    assert_null(reel_compiled_executor(NULL));
    reel_compiled_free(NULL);
    reel_compiled *s = reel_compile(gives_nothing, NULL, NULL);
    BAD("compiled_run", reel_compiled_run(s, NULL, 1, &y, 1));
    BAD("compiled_run", reel_compiled_run(s, &none, 1, &y, 1));
    BAD("compiled_run", reel_compiled_run(s, &x, 1, NULL, 1));
    BAD("compiled_run", reel_compiled_run(s, &x, -1, &y, 1));
    BAD("compiled_run", reel_compiled_run(s, &x, 17, &y, 1));
    BAD("did not set output 0", reel_compiled_run(s, &x, 1, &y, 1)); /* warms up */
    BAD("did not set output 0", reel_compiled_run(s, &x, 1, &y, 1)); /* captured */
    assert_null(reel_compiled_graph(s));
    reel_compiled_free(s);
}

static void test_initializers(void **state)
{
    (void)state;
    reel_tensor *v = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_tensor *i = reel_ones(REEL_SHAPE(3, 3), REEL_I64);
    reel_tensor *w = reel_ones(REEL_SHAPE(3, 3), REEL_F32);
    NONE("", reel_init_constant(NULL, 1));
    NONE("", reel_init_uniform(NULL, 0, 1));
    NONE("", reel_init_uniform(i, 0, 1));
    NONE("", reel_init_uniform(w, 1, 0));
    NONE("", reel_init_normal(NULL, 0, 1));
    NONE("", reel_init_normal(w, 0, -1));
    NONE("", reel_init_trunc_normal(NULL, 0, 1, -1, 1));
    NONE("", reel_init_trunc_normal(w, 0, 1, 1, -1));
    NONE("kaiming", reel_init_kaiming_uniform(NULL, NULL));
    NONE("kaiming", reel_init_kaiming_uniform(v, NULL));
    NONE("kaiming", reel_init_kaiming_normal(v, NULL));
    NONE("kaiming", reel_init_kaiming_normal(i, NULL));
    NONE("xavier", reel_init_xavier_uniform(v, 1));
    NONE("xavier", reel_init_xavier_normal(NULL, 1));
    NONE("orthogonal", reel_init_orthogonal(v, 1));
    NONE("orthogonal", reel_init_orthogonal(NULL, 1));
}

/* ---- optim.h ------------------------------------------------------------------------------------ */

static void test_optimizers(void **state)
{
    (void)state;
    reel_module *m = reel_nn_linear(3, 2, NULL);
    reel_params p = reel_parameters(m), none = {0},
                hole = {(reel_tensor *[]){NULL}, NULL, 1};
    reel_tensor *ints[] = {reel_ones(REEL_SHAPE(2), REEL_I64)};
    reel_params wrong = {ints, NULL, 1}, minus = {ints, NULL, -1},
                lists = {NULL, NULL, 2};
    NONE("sgd", reel_sgd(hole, NULL));
    NONE("", reel_sgd(wrong, NULL));
    NONE("sgd", reel_sgd(minus, NULL));
    NONE("sgd", reel_sgd(lists, NULL));
    NONE("sgd", reel_sgd(p, &(reel_sgd_opts){.lr = -1}));
    NONE("sgd", reel_sgd(p, &(reel_sgd_opts){.lr = NAN}));
    NONE("sgd", reel_sgd(p, &(reel_sgd_opts){.momentum = -1}));
    NONE("sgd", reel_sgd(p, &(reel_sgd_opts){.nesterov = true}));
    NONE("adam", reel_adam(hole, NULL));
    NONE("adam", reel_adam(p, &(reel_adam_opts){.beta1 = 1}));
    NONE("adam", reel_adam(p, &(reel_adam_opts){.eps = -1}));
    NONE("adam", reel_adamw(p, &(reel_adam_opts){.lr = -3}));
    reel_optim *sgd = reel_sgd(p, NULL), *adam = reel_adam(p, NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    assert_non_null(sgd);
    assert_non_null(adam);
    BAD("", reel_sgd_add(NULL, none, NULL));
    BAD("", reel_sgd_add(adam, none, NULL)); /* another kind */
    BAD("", reel_sgd_add(sgd, p, NULL));     /* twice */
    BAD("", reel_adam_add(NULL, none, NULL));
    BAD("", reel_adam_add(sgd, none, NULL));
    BAD("", reel_optim_add_group(NULL, none, NULL));
    BAD("sgd", reel_optim_add_group(sgd, p, NULL)); /* twice */
    BAD("list", reel_optim_add_group(sgd, lists, NULL));
    assert_null(reel_optim_kind_of(NULL));
    reel_optim_kind kind = {.name = "own"};
    NONE("kind is NULL", reel_optim_new(NULL, p, NULL));
    NONE("update", reel_optim_new(&kind, p, NULL));
    kind = *reel_optim_kind_of(adam);
    kind.name = NULL;
    NONE("name", reel_optim_new(&kind, p, NULL));
    kind.name = "own";
    kind.n_state = REEL_OPTIM_MOST_STATES + 1;
    NONE("states", reel_optim_new(&kind, p, NULL));
    kind.n_state = 4; /* the fourth has no name */
    NONE("state 3 of own", reel_optim_new(&kind, p, NULL));
    kind.n_state = 2;
    kind.state[1].name = kind.state[0].name;
    NONE("state 1 of own", reel_optim_new(&kind, p, NULL));
    BAD("", reel_optim_step(NULL));
    reel_optim_zero_grad(NULL);
    assert_int_equal(reel_optim_groups(NULL), 0);
    assert_true(isnan(reel_optim_lr(sgd, 5)));
    refused_as("optim_lr", __LINE__);
    assert_true(isnan(reel_optim_lr(NULL, 0)));
    refused_as("optim_lr", __LINE__);
    BAD("", reel_optim_set_lr(sgd, 0, NAN));
    BAD("", reel_optim_set_lr(sgd, 3, 1));
    BAD("", reel_optim_set_lr(NULL, 0, 1));
    BAD("", reel_optim_state(NULL, map));
    BAD("", reel_optim_state(sgd, NULL));
    BAD("", reel_optim_load_state(sgd, NULL));
    BAD("", reel_optim_load_state(sgd, map));
    BAD("", reel_optim_load_state(NULL, map));
    NONE("clip", reel_clip_grad_norm_tensor(p, 0));
    assert_true(reel_clip_grad_norm(p, -1) == -1);
    refused_as("clip_grad_norm", __LINE__);
    assert_true(reel_clip_grad_norm(lists, 1) == -1);
    refused_as("clip_grad_norm", __LINE__);
    BAD("clip", reel_clip_grad_value(p, -1));
    BAD("clip", reel_clip_grad_value(p, NAN));
    reel_tensor_map_free(map);
    reel_optim_free(NULL);
    reel_optim_free(sgd);
    reel_optim_free(adam);
    reel_module_free(m);
}

static double negative_rate(void *user, double base, int64_t t)
{
    (void)user;
    (void)base;
    (void)t;
    return -1;
}

static reel_status part_without_state(void *user, reel_tensor_map *map)
{
    (void)user;
    (void)map;
    return REEL_OK;
}

static reel_status part_takes_all(void *user, const reel_tensor_map *map)
{
    (void)user;
    (void)map;
    return REEL_OK;
}

static void test_schedules(void **state)
{
    (void)state;
    reel_module *m = reel_nn_linear(3, 2, NULL);
    reel_optim *o = reel_sgd(reel_parameters(m), NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    const int64_t down[] = {5, 3};
    NONE("schedule", reel_schedule_constant(NULL));
    NONE("schedule", reel_schedule_step_decay(NULL, 1, 0.1));
    NONE("schedule", reel_schedule_step_decay(o, 0, 0.1));
    NONE("schedule", reel_schedule_multistep(o, down, 2, 0.1));
    NONE("schedule", reel_schedule_multistep(o, NULL, 2, 0.1));
    NONE("schedule", reel_schedule_multistep(o, down, -2, 0.1));
    NONE("schedule", reel_schedule_cosine(o, 0, 0));
    NONE("schedule", reel_schedule_cosine(NULL, 5, 0));
    NONE("schedule", reel_schedule_linear(o, -1, 0, 1));
    NONE("schedule", reel_schedule_one_cycle(o, 5, -1, NULL));
    NONE("schedule", reel_schedule_one_cycle(o, 0, 1, NULL));
    NONE("schedule",
         reel_schedule_one_cycle(o, 5, 1, &(reel_one_cycle_opts){.warmup = 2}));
    reel_schedule_kind kind = {.name = "own"};
    NONE("kind is NULL", reel_schedule_new(o, NULL, NULL));
    NONE("rate", reel_schedule_new(o, &kind, NULL));
    kind.rate = negative_rate;
    NONE("own: the rate at step 0 is -1", reel_schedule_new(o, &kind, NULL));
    NONE("own: the optimizer", reel_schedule_new(NULL, &kind, NULL));
    kind.state = part_without_state;
    NONE("load_state", reel_schedule_new(o, &kind, NULL));
    NONE("schedule", reel_schedule_warmup(NULL, 5, 0.1));
    NONE("schedule", reel_schedule_warmup(reel_schedule_constant(o), -1, 0.1));
    reel_schedule *s = reel_schedule_constant(o);
    assert_non_null(s);
    BAD("schedule", reel_schedule_step(NULL));
    assert_int_equal(reel_schedule_count(NULL), -1);
    assert_true(isnan(reel_schedule_at(s, 4, 0)));
    refused_as("schedule_at", __LINE__);
    assert_true(isnan(reel_schedule_at(s, 0, -1)));
    refused_as("schedule_at", __LINE__);
    assert_true(isnan(reel_schedule_at(NULL, 0, 0)));
    refused_as("schedule_at", __LINE__);
    BAD("schedule", reel_schedule_state(s, NULL));
    BAD("schedule", reel_schedule_state(NULL, map));
    BAD("schedule", reel_schedule_load_state(s, map));
    BAD("schedule", reel_schedule_load_state(s, NULL));
    reel_schedule_free(NULL);
    reel_schedule_free(s);
    NONE("ema", reel_ema_new(NULL, 0.9, NULL));
    NONE("ema", reel_ema_new(m, 1, NULL));
    NONE("ema", reel_ema_new(m, NAN, NULL));
    reel_ema *e = reel_ema_new(m, 0.9, NULL);
    BAD("ema", reel_ema_update(NULL));
    BAD("ema", reel_ema_swap(NULL));
    assert_int_equal(reel_ema_swap(e), REEL_OK);
    BAD("ema", reel_ema_update(e));
    BAD("ema", reel_ema_state(e, map));
    assert_int_equal(reel_ema_swap(e), REEL_OK);
    BAD("ema", reel_ema_state(e, NULL));
    BAD("ema", reel_ema_load_state(e, map));
    BAD("ema", reel_ema_load_state(NULL, map));
    reel_ema_free(NULL);
    reel_ema_free(e);
    reel_tensor_map_free(map);
    reel_optim_free(o);
    reel_module_free(m);
}

/* ---- data.h --------------------------------------------------------------------------------------- */

static void test_datasets(void **state)
{
    (void)state;
    reel_sample s = {0};
    reel_dataset *ds = reel_drawn_images(10, 1, REEL_TRAIN);
    reel_tensor *x = reel_ones(REEL_SHAPE(3, 2), REEL_F32);
    assert_non_null(ds);
    NONE("", reel_sample_add(NULL, "x", REEL_ARRAY, REEL_SHAPE(2), REEL_F32));
    NONE("", reel_sample_add(&s, NULL, REEL_ARRAY, REEL_SHAPE(2), REEL_F32));
    NONE("", reel_sample_add(&s, "x", REEL_ARRAY, REEL_SHAPE(2), (reel_dtype)77));
    NONE("", reel_sample_add(&s, "x", REEL_ARRAY, REEL_SHAPE(-2), REEL_F32));
    NONE("", reel_sample_add(&s, "x", REEL_IMAGE, REEL_SHAPE(INT64_MAX, INT64_MAX),
                             REEL_F32));
    BAD("", reel_sample_borrow(&s, "x", REEL_ARRAY, NULL, REEL_SHAPE(2), REEL_F32));
    BAD("", reel_sample_label(NULL, 1));
    NONE("sample_field", reel_sample_field(&s, "x"));
    NONE("sample_field", reel_sample_field(NULL, "x"));
    NONE("field_out", reel_field_out(NULL, REEL_SHAPE(2), REEL_F32));
    reel_sample_clear(NULL);
    assert_int_equal(reel_dataset_length(NULL), -1);
    BAD("", reel_dataset_get(NULL, 0, &s));
    BAD("", reel_dataset_get(ds, 0, NULL));
    BAD("", reel_dataset_get(ds, 10, &s));
    BAD("", reel_dataset_get(ds, -1, &s));
    assert_int_equal(reel_dataset_shape(NULL).rank, -1);
    assert_true(reel_dataset_label(NULL, 0) == INT64_MIN);
    refused_as("dataset_label", __LINE__);
    assert_true(reel_dataset_label(ds, 10) == INT64_MIN);
    refused_as("dataset_label", __LINE__);
    assert_int_equal(reel_dataset_classes(NULL), 0);
    assert_string_equal(reel_dataset_class_name(NULL, 0), "?");
    assert_string_equal(reel_dataset_class_name(ds, 99), "?");
    assert_int_equal(reel_dataset_skipped(NULL), 0);
    assert_null(reel_dataset_keep(NULL));
    reel_dataset_free(NULL);
    NONE("", reel_cifar10(NULL, REEL_TRAIN));
    NONE(nowhere, reel_cifar10(nowhere, REEL_TRAIN));
    NONE("", reel_cifar10(nowhere, (reel_part)9));
    NONE("", reel_image_folder(NULL, NULL));
    NONE("", reel_image_folder(nowhere, NULL));
    NONE("", reel_arrays(NULL, x));
    NONE("", reel_arrays(x, NULL));
    NONE("", reel_arrays_n(NULL, 2));
    NONE("", reel_arrays_n(&(reel_array){.name = "x"}, 1));
    NONE("", reel_arrays(x, reel_zeros(REEL_SHAPE(4), REEL_I64)));
    NONE("", reel_arrays(x, reel_full(REEL_SHAPE(3), -1, REEL_I64)));
    NONE("", reel_arrays(reel_scalar(1, REEL_F32), reel_scalar(1, REEL_I64)));
    NONE("drawn", reel_drawn_images(0, 1, REEL_TRAIN));
    NONE("drawn", reel_drawn_images(INT64_MAX, 1, REEL_TRAIN));
    NONE("", reel_open_data(NULL, REEL_TRAIN, NULL));
    NONE(nowhere, reel_open_data(nowhere, REEL_TRAIN, NULL));
    NONE("csv", reel_csv(NULL, NULL));
    NONE(nowhere, reel_csv(nowhere, NULL));
    reel_dataset *part[1];
    NONE("subset", reel_dataset_subset(NULL, (int64_t[]){0}, 1));
    NONE("subset", reel_dataset_subset(ds, (int64_t[]){10}, 1));
    NONE("concat", reel_dataset_concat(NULL, 1));
    NONE("concat", reel_dataset_concat(part, 0));
    BAD("dataset_random_split",
        reel_dataset_random_split(NULL, (double[]){1}, 1, 0, part));
    BAD("dataset_random_split",
        reel_dataset_random_split(ds, (double[]){0.5}, 1, 0, part));
    NONE("", reel_dataset_new(NULL, NULL));
    NONE("", reel_dataset_new(&(reel_dataset_fns){.name = "empty"}, NULL));
    reel_sample_free(&s);
    reel_sample_free(NULL);
    reel_dataset_free(ds);
}

static void test_transforms_and_loader(void **state)
{
    (void)state;
    const float mean[] = {0, 0, 0}, zero[] = {1, 0, 1};
    reel_sample s = {0};
    reel_draw d = reel_draw_at(1, 2, 3);
    (void)reel_draw_u32(&d);
    assert_true(reel_draw_f32(&d) < 1);
    assert_int_equal(reel_draw_below(&d, 0), 0);
    NONE("crop", reel_transform_random_crop(0, 4));
    NONE("crop", reel_transform_random_crop(32, -1));
    NONE("flip", reel_transform_random_hflip(2));
    NONE("flip", reel_transform_random_hflip(NAN));
    NONE("normalize", reel_transform_normalize(NULL, mean, 3));
    NONE("normalize", reel_transform_normalize(mean, NULL, 3));
    NONE("normalize", reel_transform_normalize(mean, zero, 3));
    NONE("normalize", reel_transform_normalize(mean, mean, 99));
    NONE("normalize", reel_transform_normalize(mean, mean, 1 << 20));
    NONE("standardize", reel_transform_standardize(NULL));
    NONE("cutout", reel_transform_cutout(-1));
    NONE("resize", reel_transform_resize(0, 5));
    NONE("compose", reel_transform_compose_n(NULL, 3));
    NONE("compose", reel_transform_compose_n((reel_transform *[]){NULL, NULL}, -1));
    NONE("", reel_transform_new(NULL, NULL, NULL));
    reel_transform *t = reel_transform_cutout(4);
    BAD("", reel_transform_apply(NULL, &s, &d));
    BAD("", reel_transform_apply(t, NULL, &d));
    BAD("", reel_transform_apply(t, &s, NULL));
    BAD("", reel_transform_apply(t, &s, &d)); /* no image */
    assert_null(reel_transform_keep(NULL));
    reel_transform_free(NULL);
    reel_dataset *ds = reel_drawn_images(10, 1, REEL_TRAIN);
    reel_batch b;
    NONE("loader", reel_loader_new(NULL, NULL));
    NONE("loader", reel_loader_new(ds, &(reel_loader_opts){.batch = -1}));
    NONE("loader", reel_loader_new(ds, &(reel_loader_opts){.workers = -1}));
    NONE("loader", reel_loader_new(ds, &(reel_loader_opts){.workers = 1000}));
    NONE("loader", reel_loader_new(ds, &(reel_loader_opts){.prefetch = -1}));
    NONE("loader", reel_loader_new(ds, &(reel_loader_opts){.batch = -1, .transform = t}));
    reel_loader *l = reel_loader_new(ds, &(reel_loader_opts){.batch = 4});
    assert_false(reel_loader_next(NULL, &b));
    refused_as("loader_next", __LINE__);
    assert_false(reel_loader_next(l, NULL));
    refused_as("loader_next", __LINE__);
    NONE("batch_get", reel_batch_get(NULL, "x"));
    NONE("batch_get", reel_batch_get(&b, "x"));
    BAD("batch_put", reel_batch_put(NULL, "x", NULL));
    BAD("collate_stack", reel_collate_stack(&s, 0, "x", &b));
    BAD("has no field", reel_collate_stack(&s, 1, "x", &b));
    BAD("collate_pad", reel_collate_pad(&s, 1, NULL, &b));
    NONE("collate_new", reel_collate_new(NULL, NULL, NULL));
    NONE("pad_collate", reel_pad_collate(NULL, 1));
    NONE("pad_collate", reel_pad_collate(&(reel_pad_field){0}, 1));
    assert_null(reel_collate_keep(NULL));
    reel_collate_free(NULL);
    assert_int_equal(reel_loader_begin(NULL).size, 0);
    refused_as("loader_begin", __LINE__);
    BAD("loader_reset", reel_loader_reset(NULL, 0));
    BAD("loader_reset", reel_loader_reset(l, -2));
    BAD("loader_reset", reel_loader_reset(l, INT64_MAX));
    assert_int_equal(reel_loader_batches(NULL), -1);
    assert_int_equal(reel_loader_get_state(NULL).position, 0);
    BAD("loader", reel_loader_set_state(NULL, (reel_loader_state){0}));
    BAD("loader", reel_loader_set_state(l, (reel_loader_state){.position = 3}));
    BAD("loader", reel_loader_set_state(l, (reel_loader_state){.position = -4}));
    BAD("loader", reel_loader_set_state(l, (reel_loader_state){.position = 400}));
    BAD("loader", reel_loader_set_state(l, (reel_loader_state){.epoch = -1}));
    reel_loader_free(NULL);
    reel_loader_free(l);
    reel_dataset_free(ds);
}

/* ---- io.h, training.h ------------------------------------------------------------------------------- */

#define PART(name_, state_, load_)                                                       \
    {                                                                                    \
        .name = name_, .state = state_, .load_state = load_                              \
    }

static void test_files(void **state)
{
    (void)state;
    const char *file = json_file();
    reel_tensor_map *map = reel_tensor_map_new();
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32);
    uint8_t pixel[4] = {0};
    BAD("", reel_tensor_map_set(NULL, "x", x));
    BAD("", reel_tensor_map_set(map, NULL, x));
    BAD("", reel_tensor_map_set(map, "x", NULL));
    assert_null(reel_tensor_map_get(NULL, "x"));
    assert_null(reel_tensor_map_get(map, NULL));
    assert_null(reel_tensor_map_get(map, "x"));
    assert_int_equal(reel_tensor_map_count(NULL), 0);
    assert_null(reel_tensor_map_name(map, 0));
    assert_null(reel_tensor_map_name(NULL, -1));
    assert_null(reel_tensor_map_at(map, -1));
    assert_null(reel_tensor_map_at(NULL, 0));
    BAD("", reel_tensor_map_set_text(map, NULL, "x"));
    BAD("", reel_tensor_map_set_text(map, "x", NULL));
    BAD("", reel_tensor_map_set_text(NULL, "x", "x"));
    assert_null(reel_tensor_map_text(NULL, "x"));
    assert_null(reel_tensor_map_text(map, NULL));
    assert_int_equal(reel_tensor_map_text_count(NULL), 0);
    assert_null(reel_tensor_map_text_key(map, 5));
    BAD("", reel_safetensors_save(map, NULL));
    BAD("", reel_safetensors_save(NULL, nowhere));
    BAD(file, reel_safetensors_save(map, nowhere));
    NONE("", reel_safetensors_open(NULL));
    NONE(file, reel_safetensors_open(nowhere));
    assert_int_equal(reel_safetensors_count(NULL), 0);
    assert_null(reel_safetensors_name(NULL, 0));
    assert_int_equal(reel_safetensors_shape(NULL, 0).rank, -1);
    NONE("", reel_safetensors_get(NULL, "x"));
    assert_null(reel_safetensors_text(NULL, "x"));
    reel_safetensors_close(NULL);
    NONE("", reel_safetensors_load(NULL));
    NONE(file, reel_safetensors_load(nowhere));
    BAD("", reel_tensor_map_save(map, NULL));
    BAD(file, reel_tensor_map_save(map, nowhere));
    NONE("", reel_tensor_map_load(NULL));
    NONE(file, reel_tensor_map_load(nowhere));
    NONE("", reel_npy_load(NULL));
    NONE(nowhere, reel_npy_load(nowhere));
    BAD("", reel_npy_save(x, NULL));
    BAD("", reel_npy_save(NULL, nowhere));
    BAD(nowhere, reel_npy_save(x, nowhere));
    BAD("image_grid_save", reel_image_grid_save(NULL, nowhere, NULL));
    BAD("image_grid_save",
        reel_image_grid_save(reel_zeros(REEL_SHAPE(2, 3), 0), NULL, NULL));
    BAD("", reel_png_save(pixel, 1, 1, 1, NULL));
    BAD("", reel_png_save(NULL, 1, 1, 1, nowhere));
    BAD("", reel_png_save(pixel, 0, 1, 1, nowhere));
    BAD("", reel_png_save(pixel, 1, 1, 5, nowhere));
    BAD("", reel_png_save(pixel, INT32_MAX, INT32_MAX, 4, nowhere));
    BAD(nowhere, reel_png_save(pixel, 1, 1, 1, nowhere));
    reel_training run = {0};
    BAD("", reel_training_save(&run, NULL));
    BAD("", reel_training_save(NULL, nowhere));
    const reel_training_part parts[] = {
        PART(NULL, part_without_state, part_takes_all),
        PART("", part_without_state, part_takes_all),
        PART("a.b", part_without_state, part_takes_all),
        PART("no_save", NULL, part_takes_all),
        PART("no_load", part_without_state, NULL),
        PART("module", part_without_state, part_takes_all),
        PART("rng", part_without_state, part_takes_all),
        PART("empty", part_without_state, part_takes_all),
        reel_module_part("no_module", NULL),
        reel_optim_part("no_optim", NULL),
        reel_schedule_part("no_schedule", NULL),
        reel_ema_part("no_ema", NULL),
        reel_loader_part("no_loader", NULL)};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        reel_training with = {.parts = &parts[i], .n_parts = 1};
        BAD("", reel_training_save(&with, nowhere));
        if (i < 7) BAD("part 0", reel_training_load(&with, nowhere));
    }
    BAD("2 parts", reel_training_save(&(reel_training){.n_parts = 2}, nowhere));
    BAD("-1 parts", reel_training_load(&(reel_training){.n_parts = -1}, nowhere));
    BAD(file, reel_training_save(&run, nowhere));
    BAD("", reel_training_load(&run, NULL));
    BAD("", reel_training_load(NULL, nowhere));
    BAD(file, reel_training_load(&run, nowhere));
    reel_tensor_map_free(NULL);
    reel_tensor_map_free(map);
}

/* Every header is one of this test, unless another one is named. */
static void look_for_calls(const char *header, char *text)
{
    static const char *const others[][2] = {{"tensor.h", "test_misuse.c"},
                                            {"ops.h", "test_misuse.c"},
                                            {"autograd.h", "test_misuse.c"},
                                            {"custom_op.h", "test_custom_op.c"}};
    const char *test = "test_misuse_nets.c";
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i][0], header) == 0) test = others[i][1];
    check_all_called(header, text, test);
}

/* ---- quantize.h ------------------------------------------------------------------------------- */

static reel_status sees(const void *opts, const reel_observer_slot *slot, reel_tensor *x)
{
    (void)opts, (void)slot, (void)x;
    return REEL_OK;
}

/* One that forgets to set its results. */
static reel_status no_range(const void *opts, const reel_observer_slot *slot,
                            reel_tensor **low, reel_tensor **high)
{
    (void)opts, (void)slot, (void)low, (void)high;
    return REEL_OK;
}

static void test_observers(void **state)
{
    (void)state;
    reel_observed seen;
    const reel_observer_kind *kind = reel_observer_min_max();
    reel_observer_kind own = {.name = "own", .range = no_range};
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    assert_string_equal(reel_observer_min_max()->name, "min_max");
    assert_int_equal(
        reel_observer_moving_average()->check(&(reel_moving_average_opts){.rate = 2}),
        REEL_ERR_ARG);
    refused_by("rate", __LINE__);
    assert_int_equal(
        reel_observer_percentile()->check(&(reel_percentile_opts){.percentile = 50}),
        REEL_ERR_ARG);
    refused_by("percentile", __LINE__);
    assert_null(reel_observer_entropy()->check);
    assert_null(reel_observer_mse()->check);
    NO_MODULE("kind is NULL", reel_observer_new(NULL, NULL));
    NO_MODULE("see is NULL", reel_observer_new(&own, NULL));
    own.see = sees;
    own.n_state = 5;
    NO_MODULE("5 states", reel_observer_new(&own, NULL));
    own.n_state = 1;
    NO_MODULE("no name", reel_observer_new(&own, NULL));
    NO_MODULE("-1 channels",
              reel_observer_new(kind, &(reel_observer_opts){.channels = -1}));
    NO_MODULE("dimension 9", reel_observer_new(kind, &(reel_observer_opts){.axis = 9}));
    NO_MODULE("grid of 5 .. 5",
              reel_observer_new(kind, &(reel_observer_opts){.grid = {5, 5, false}}));
    NO_MODULE("grid of 0 .. 9",
              reel_observer_new(kind, &(reel_observer_opts){.grid = {0, 9, true}}));
    own.n_state = 0;
    reel_module *o = reel_observer_new(&own, NULL), *other = reel_nn_relu();
    reel_forward(o, x);
    BAD("own: its range", reel_observer_range(o, &seen));
    BAD("out is NULL", reel_observer_range(o, NULL));
    BAD("the module is NULL", reel_observer_range(NULL, &seen));
    BAD("does not observe", reel_observer_range(other, &seen));
    assert_null(seen.low);
    BAD("the module is NULL", reel_observer_reset(NULL));
    BAD("does not observe", reel_observer_reset(other));
    NONE("observers see floats", reel_forward(o, reel_cast(x, REEL_I64)));
    reel_module_free(o);
    o = reel_observer_new(kind, NULL);
    BAD("has seen nothing", reel_observer_range(o, &seen));
    reel_module_free(o);
    reel_module_free(other);
}

static void test_quantizing(void **state)
{
    (void)state;
    reel_module *net = reel_nn_linear(3, 2, NULL);
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL),
               *none = reel_graph_parse("batch 0\n", NULL, NULL);
    reel_error_clear();
    reel_quantizer z;
    assert_string_equal(reel_quantize_target_name((reel_quantize_target)9), "?");
    NO_MODULE("the graph is NULL", reel_quantize_prepare(NULL, NULL));
    if (none) NO_MODULE("no outputs", reel_quantize_prepare(none, NULL));
    NO_MODULE("9 is not",
              reel_quantize_prepare(
                  g, &(reel_quantize_opts){.target = (reel_quantize_target)9}));
    NO_MODULE("nobody",
              reel_quantize_prepare(g, &(reel_quantize_opts){.exclude = "nobody"}));
    NO_MODULE("overrides",
              reel_quantize_prepare(g, &(reel_quantize_opts){.n_overrides = 1}));
    NO_MODULE("has no names",
              reel_quantize_prepare(
                  g, &(reel_quantize_opts){.overrides = &(reel_quantize_override){0},
                                           .n_overrides = 1}));
    assert_int_equal(reel_quantize_count(NULL), 0);
    assert_int_equal(reel_quantize_count(net), 0);
    refused_by("quantize_count: a module that was not prepared", __LINE__);
    BAD("not prepared", reel_quantize_at(net, 0, &z));
    BAD("not prepared", reel_quantize_observe(net, true));
    BAD("is NULL", reel_quantize_observe(NULL, true));
    BAD("not prepared", reel_quantize_freeze_observers(net, true));
    BAD("not prepared", reel_quantize_freeze_statistics(net, true));
    NO_MODULE("needs learn_scales",
              reel_quantize_prepare(g, &(reel_quantize_opts){.learn_zero_points = true}));
    BAD("not prepared", reel_quantize_calibrate(net, NULL, NULL));
    BAD("not prepared", reel_quantize_correct_biases(net, NULL, NULL));
    BAD("not prepared", reel_quantize_smooth(net, NULL, NULL));
    BAD("not prepared", reel_quantize_round(net, NULL, NULL));
    BAD("not prepared", reel_quantize_sensitivity(net, NULL, NULL, NULL, 0));
    assert_int_equal(reel_quantize_layers(NULL), 0);
    assert_int_equal(reel_quantize_layers(net), 0);
    refused_by("quantize_layers: a module that was not prepared", __LINE__);
    NONE("not prepared", reel_quantize_convert(net));
    NONE("is NULL", reel_quantize_convert(NULL));
    BAD("not prepared", reel_quantize_export(net, "x.onnx", NULL));
    NONE("is NULL", reel_quantize_lint(NULL, REEL_TARGET_ORT));
    NONE("9 is not", reel_quantize_lint(g, (reel_quantize_target)9));
    NONE("is NULL", reel_quantize_fake(NULL));
    NONE("is NULL", reel_quantize_convert_graph(NULL, REEL_TARGET_ORT));
    NONE("9 is not", reel_quantize_convert_graph(g, (reel_quantize_target)9));
    reel_module *q = reel_quantize_prepare(g, NULL);
    BAD("out is NULL", reel_quantize_at(q, 0, NULL));
    BAD("of this number", reel_quantize_at(q, 99, &z));
    BAD("loader is NULL", reel_quantize_calibrate(q, NULL, NULL));
    NONE("was not calibrated", reel_quantize_convert(q));
    BAD("alpha 2", reel_quantize_smooth(q, NULL, &(reel_smooth_opts){.alpha = 2}));
    BAD("the path is NULL", reel_quantize_export(q, NULL, NULL));
    BAD("the metadata is NULL",
        reel_quantize_export(q, nowhere, &(reel_onnx_opts){.n_metadata = 1}));
    assert_int_equal(reel_quantize_observe(q, true), REEL_OK);
    BAD("was not seen", reel_quantize_observe(q, false));
    reel_module_free(q);
    reel_graph_free(none);
    reel_graph_free(g);
    reel_module_free(net);
}

static void test_every_function_is_called(void **state)
{
    (void)state;
    each_header(look_for_calls);
}

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return 0;
}

/* Nothing that a failed constructor made is left. */
static int nothing_left(void **state)
{
    static int64_t before;
    (void)clean(state);
    int64_t left = reel_live_objects() - before;
    before += left;
    if (left) print_error("%d objects are left\n", (int)left);
    return misuse_ended() || left;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_base),
        TEST(test_profile_and_progress),
        TEST(test_layers),
        TEST(test_module_tree),
        TEST(test_special_forwards),
        TEST(test_module_state),
        TEST(test_graphs),
        TEST(test_onnx),
        TEST(test_executors),
        TEST(test_steps),
        TEST(test_initializers),
        TEST(test_optimizers),
        TEST(test_schedules),
        TEST(test_datasets),
        TEST(test_transforms_and_loader),
        TEST(test_files),
        TEST(test_observers),
        TEST(test_quantizing),
        TEST(test_every_function_is_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
