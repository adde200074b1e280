/* test_future.c: structs that a program of a later version may have filled (docs/adr/0025). Every
 * public struct ends with REEL_FUTURE, or is a value that never changes; every function that
 * reads one refuses what it does not know, by name; what the library fills has zeros there. */
#include <reel/reel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/misuse.h"

/* ---- what the calls below need --------------------------------------------------------------- */

static reel_tensor *x, *image, *weight, *rate; /* [4], [1,1,4,4], [1,1,3,3], [] */
static reel_module *net;                       /* linear(4, 4) */
static reel_params params;
static reel_optim *optim, *adam;
static reel_graph *graph;
static reel_dataset *data;
static reel_loader *loader;
static reel_custom_op *op;
static reel_tensor_map *map;
static FILE *sink;

static reel_tensor *twice(void *user, reel_tensor *const in[], int n)
{
    (void)user, (void)n;
    return reel_mul_scalar(in[0], 2);
}

static reel_status twice_n(void *user, reel_tensor *const in[], int n, reel_tensor *y[],
                           int n_y)
{
    (void)n_y;
    y[0] = twice(user, in, n);
    return reel_error_status();
}

static reel_status custom_forward(void *user, reel_custom_call *c,
                                  reel_tensor *const in[], reel_tensor *y[])
{
    (void)user, (void)c;
    y[0] = reel_copy(in[0]);
    return reel_error_status();
}

static int64_t length(void *self)
{
    (void)self;
    return 1;
}

static reel_status get(void *self, int64_t index, reel_sample *out)
{
    (void)self, (void)index, (void)out;
    return REEL_OK;
}

static reel_status update(const void *opts, const reel_optim_slot *slot)
{
    (void)opts, (void)slot;
    return REEL_OK;
}

static reel_status see(const void *opts, const reel_observer_slot *slot, reel_tensor *t)
{
    (void)opts, (void)slot, (void)t;
    return REEL_OK;
}

static reel_status range(const void *opts, const reel_observer_slot *slot,
                         reel_tensor **low, reel_tensor **high)
{
    (void)opts, (void)slot;
    *low = *high = x;
    return REEL_OK;
}

static double constant(void *user, double base, int64_t t)
{
    (void)user, (void)t;
    return base;
}

static reel_status to_map(void *user, reel_tensor_map *to)
{
    (void)user;
    return reel_tensor_map_set(to, "x", x);
}

static reel_status from_map(void *user, const reel_tensor_map *from)
{
    (void)user, (void)from;
    return REEL_OK;
}

/* ---- every function that reads a struct of the program's ---------------------------------------- */

static int member; /* which of `future` is set */

/* A row: the call `fn`, with a struct `o` of this type that is all zero but for what is set. */
#define ROW(fn, type, ...)                                                               \
    static void try_##fn##_##type(void)                                                  \
    {                                                                                    \
        type o = {0};                                                                    \
        o.future[member] = 1;                                                            \
        (void)(__VA_ARGS__);                                                             \
    }
#define ROWS                                                                             \
    ROW(backward, reel_backward_opts, reel_backward(reel_mul(rate, rate), &o))           \
    ROW(grad, reel_backward_opts,                                                        \
        reel_grad((reel_tensor *[]){rate}, 1, NULL, (reel_tensor *[]){rate}, 1,          \
                  (reel_tensor *[]){NULL}, &o))                                          \
    ROW(gradcheck, reel_gradcheck_opts,                                                  \
        reel_gradcheck(twice, NULL, (reel_tensor *[]){rate}, 1, &o))                     \
    ROW(gradgradcheck, reel_gradcheck_opts,                                              \
        reel_gradgradcheck(twice, NULL, (reel_tensor *[]){rate}, 1, &o))                 \
    ROW(set_allocator, reel_allocator,                                                   \
        (o.alloc = alloc, o.resize = resize, o.release = release,                        \
         reel_set_allocator(&o)))                                                        \
    ROW(custom_op_new, reel_custom_op_opts,                                              \
        (o.n_in = o.n_out = 1, o.forward = custom_forward,                               \
         reel_custom_op_new("future_twice", &o)))                                        \
    ROW(custom, reel_custom_args, reel_custom(op, &x, 1, &o))                            \
    ROW(custom_run, reel_custom_args,                                                    \
        reel_custom_run(op, &x, 1, (reel_tensor *[]){NULL}, 1, &o))                      \
    ROW(image_folder, reel_image_opts, reel_image_folder(".", &o))                       \
    ROW(arrays_n, reel_array, (o.name = "x", o.tensor = x, reel_arrays_n(&o, 1)))        \
    ROW(open_data, reel_image_opts, reel_open_data(".", REEL_TRAIN, &o))                 \
    ROW(csv, reel_csv_opts, reel_csv("none.csv", &o))                                    \
    ROW(dataset_new, reel_dataset_fns,                                                   \
        (o.name = "one", o.length = length, o.get = get, reel_dataset_new(&o, NULL)))    \
    ROW(collate_pad, reel_pad_field,                                                     \
        (o.name = "x", reel_collate_pad(&(reel_sample){0}, 1, &o, &(reel_batch){0})))    \
    ROW(pad_collate, reel_pad_field, (o.name = "x", reel_pad_collate(&o, 1)))            \
    ROW(loader_new, reel_loader_opts, reel_loader_new(data, &o))                         \
    ROW(loader_set_state, reel_loader_state, reel_loader_set_state(loader, o))           \
    ROW(executor_new, reel_executor_opts, reel_executor_new(graph, &o))                  \
    ROW(image_grid_save, reel_image_grid_opts, reel_image_grid_save(image, "g.png", &o)) \
    ROW(module_add_hook, reel_module_hook, reel_module_add_hook(net, &o))                \
    ROW(load_state_dict, reel_load_opts, reel_load_state_dict(net, map, &o))             \
    ROW(module_load, reel_load_opts, reel_module_load(net, file, &o))                    \
    ROW(nn_linear, reel_nn_linear_opts, reel_nn_linear(1, 1, &o))                        \
    ROW(nn_conv2d, reel_nn_conv2d_opts, reel_nn_conv2d(1, 1, 1, &o))                     \
    ROW(nn_batch_norm2d, reel_nn_batch_norm2d_opts, reel_nn_batch_norm2d(1, &o))         \
    ROW(nn_layer_norm, reel_nn_layer_norm_opts, reel_nn_layer_norm(REEL_SHAPE(1), &o))   \
    ROW(nn_max_pool2d, reel_pool2d_opts, reel_nn_max_pool2d(1, &o))                      \
    ROW(nn_avg_pool2d, reel_pool2d_opts, reel_nn_avg_pool2d(1, &o))                      \
    ROW(nn_attention, reel_nn_attention_opts, reel_nn_attention(4, 1, &o))               \
    ROW(nn_encoder_layer, reel_nn_encoder_layer_opts, reel_nn_encoder_layer(4, 1, &o))   \
    ROW(init_kaiming_uniform, reel_kaiming_opts, reel_init_kaiming_uniform(weight, &o))  \
    ROW(init_kaiming_normal, reel_kaiming_opts, reel_init_kaiming_normal(weight, &o))    \
    ROW(mlp, reel_mlp_opts, reel_mlp(4, 4, &o))                                          \
    ROW(resnet20, reel_resnet_opts, reel_resnet20(&o))                                   \
    ROW(resnet32, reel_resnet_opts, reel_resnet32(&o))                                   \
    ROW(resnet56, reel_resnet_opts, reel_resnet56(&o))                                   \
    ROW(resnet18, reel_resnet_opts, reel_resnet18(&o))                                   \
    ROW(resnet34, reel_resnet_opts, reel_resnet34(&o))                                   \
    ROW(resnet50, reel_resnet_opts, reel_resnet50(&o))                                   \
    ROW(mobilenet_v2, reel_mobilenet_opts, reel_mobilenet_v2(&o))                        \
    ROW(vit_tiny, reel_vit_opts, reel_vit_tiny(&o))                                      \
    ROW(trace, reel_trace_opts, reel_trace(net, x, &o))                                  \
    ROW(trace_n, reel_trace_opts, reel_trace_n(net, &x, 1, 1, &o))                       \
    ROW(module_export, reel_onnx_opts, reel_module_export(net, x, "n.onnx", &o))         \
    ROW(module_export_n, reel_onnx_opts,                                                 \
        reel_module_export_n(net, &x, 1, 1, "n.onnx", NULL, &o))                         \
    ROW(module_export_n, reel_trace_opts,                                                \
        reel_module_export_n(net, &x, 1, 1, "n.onnx", &o, NULL))                         \
    ROW(summary, reel_summary_opts, free(reel_summary(net, REEL_SHAPE(1, 4), &o)))       \
    ROW(summary_write, reel_summary_opts,                                                \
        reel_summary_write(net, REEL_SHAPE(1, 4), sink, &o))                             \
    ROW(onnx_export, reel_onnx_opts, reel_onnx_export(graph, "n.onnx", &o))              \
    ROW(onnx_load, reel_onnx_load_opts, reel_onnx_load("none.onnx", &o))                 \
    ROW(conv2d, reel_conv2d_opts, reel_conv2d(image, weight, NULL, &o))                  \
    ROW(max_pool2d, reel_pool2d_opts, reel_max_pool2d(image, 2, &o))                     \
    ROW(avg_pool2d, reel_pool2d_opts, reel_avg_pool2d(image, 2, &o))                     \
    ROW(batch_norm, reel_batch_norm_opts,                                                \
        (o.training = true, reel_batch_norm(image, NULL, NULL, NULL, NULL, NULL, &o)))   \
    ROW(layer_norm, reel_layer_norm_opts, reel_layer_norm(image, 1, NULL, NULL, &o))     \
    ROW(cross_entropy, reel_cross_entropy_opts,                                          \
        reel_cross_entropy(reel_ones(REEL_SHAPE(2, 2), REEL_F32),                        \
                           reel_zeros(REEL_SHAPE(2), REEL_I64), &o))                     \
    ROW(attention, reel_attention_opts,                                                  \
        reel_attention(reel_ones(REEL_SHAPE(2, 2), REEL_F32),                            \
                       reel_ones(REEL_SHAPE(2, 2), REEL_F32),                            \
                       reel_ones(REEL_SHAPE(2, 2), REEL_F32), &o))                       \
    ROW(sgd_step, reel_sgd_step_opts, reel_sgd_step(x, x, NULL, rate, &o))               \
    ROW(adam_step, reel_adam_step_opts,                                                  \
        reel_adam_step(x, reel_ones_like(x), reel_zeros_like(x), reel_zeros_like(x),     \
                       rate, rate, &o))                                                  \
    ROW(sgd, reel_sgd_opts, reel_sgd(params, &o))                                        \
    ROW(sgd_add, reel_sgd_opts, reel_sgd_add(optim, params, &o))                         \
    ROW(adam, reel_adam_opts, reel_adam(params, &o))                                     \
    ROW(adamw, reel_adam_opts, reel_adamw(params, &o))                                   \
    ROW(adam_add, reel_adam_opts, reel_adam_add(adam, params, &o))                       \
    ROW(optim_new, reel_optim_kind,                                                      \
        (o.name = "still", o.update = update, reel_optim_new(&o, params, NULL)))         \
    ROW(schedule_one_cycle, reel_one_cycle_opts,                                         \
        reel_schedule_one_cycle(optim, 10, 1, &o))                                       \
    ROW(schedule_new, reel_schedule_kind,                                                \
        (o.name = "still", o.rate = constant, reel_schedule_new(optim, &o, NULL)))       \
    ROW(ema_new, reel_ema_opts, reel_ema_new(net, 0.5, &o))                              \
    ROW(progress_new, reel_progress_opts, reel_progress_new(sink, 1, &o))                \
    ROW(compile, reel_compile_opts, reel_compile(twice_n, NULL, &o))                     \
    ROW(to_string, reel_print_opts, free(reel_to_string(x, &o)))                         \
    ROW(trace_function, reel_trace_opts, reel_trace_function(twice, NULL, &x, 1, &o))    \
    ROW(trace_function_n, reel_trace_opts,                                               \
        reel_trace_function_n(twice_n, NULL, &x, 1, 1, &o))                              \
    ROW(graph_write_svg, reel_view_opts, reel_graph_write_svg(graph, sink, &o))          \
    ROW(graph_write_html, reel_view_opts, reel_graph_write_html(graph, sink, &o))        \
    ROW(graph_save_html, reel_view_opts, reel_graph_save_html(graph, "g.html", &o))      \
    ROW(graph_optimize, reel_optimize_opts, reel_graph_optimize(graph, &o))              \
    ROW(custom, reel_custom_attr,                                                        \
        reel_custom(op, &x, 1, &(reel_custom_args){.attrs = &o, .n_attrs = 1}))          \
    ROW(custom_op_new, reel_custom_attr,                                                 \
        (o.name = "k", reel_custom_op_new(                                               \
                           "future_k", &(reel_custom_op_opts){.n_in = 1,                 \
                                                              .n_out = 1,                \
                                                              .forward = custom_forward, \
                                                              .attrs = &o,               \
                                                              .n_attrs = 1})))           \
    ROW(optim_new, reel_optim_state_row,                                                 \
        (o.name = "m", reel_optim_new(&(reel_optim_kind){.name = "still",                \
                                                         .n_state = 1,                   \
                                                         .state = {o},                   \
                                                         .update = update},              \
                                      params, NULL)))                                    \
    ROW(training_save, reel_training_part,                                               \
        (o.name = "mine", o.state = to_map, o.load_state = from_map,                     \
         reel_training_save(&(reel_training){.parts = &o, .n_parts = 1}, "n.ckpt")))     \
    ROW(observer_new, reel_observer_kind,                                                \
        (o.name = "still", o.see = see, o.range = range,                                 \
         reel_module_free(reel_observer_new(&o, NULL))))                                 \
    ROW(observer_new, reel_observer_state_row,                                           \
        (o.name = "m",                                                                   \
         reel_module_free(reel_observer_new(&(reel_observer_kind){.name = "still",       \
                                                                  .n_state = 1,          \
                                                                  .state = {o},          \
                                                                  .see = see,            \
                                                                  .range = range},       \
                                            NULL))))                                     \
    ROW(observer_new, reel_observer_opts,                                                \
        reel_module_free(reel_observer_new(reel_observer_min_max(), &o)))                \
    ROW(observer_new, reel_moving_average_opts,                                          \
        reel_module_free(reel_observer_new(reel_observer_moving_average(),               \
                                           &(reel_observer_opts){.kind_opts = &o})))     \
    ROW(observer_new, reel_percentile_opts,                                              \
        reel_module_free(reel_observer_new(reel_observer_percentile(),                   \
                                           &(reel_observer_opts){.kind_opts = &o})))     \
    ROW(quantize_prepare, reel_quantize_opts,                                            \
        reel_module_free(reel_quantize_prepare(graph, &o)))                              \
    ROW(quantize_prepare, reel_quantize_override,                                        \
        reel_module_free(reel_quantize_prepare(                                          \
            graph, &(reel_quantize_opts){.overrides = &o, .n_overrides = 1})))           \
    ROW(quantize_correct_biases, reel_calibrate_opts,                                    \
        reel_quantize_correct_biases(net, loader, &o))                                   \
    ROW(quantize_sensitivity, reel_calibrate_opts,                                       \
        reel_quantize_sensitivity(net, loader, &o, NULL, 0))                             \
    ROW(quantize_export, reel_onnx_opts, reel_quantize_export(net, "x.onnx", &o))        \
    ROW(quantize_smooth, reel_smooth_opts, reel_quantize_smooth(net, loader, &o))        \
    ROW(quantize_round, reel_round_opts, reel_quantize_round(net, loader, &o))           \
    ROW(quantize_calibrate, reel_calibrate_opts,                                         \
        reel_quantize_calibrate(net, loader, &o))                                        \
    ROW(training_save, reel_training,                                                    \
        (o.module = net, reel_training_save(&o, "n.ckpt")))                              \
    ROW(training_load, reel_training, (o.module = net, reel_training_load(&o, file)))

static void *alloc(void *user, size_t bytes)
{
    (void)user;
    return malloc(bytes);
}

static void *resize(void *user, void *p, size_t bytes)
{
    (void)user;
    return realloc(p, bytes);
}

static void release(void *user, void *p)
{
    (void)user;
    free(p);
}

static char file[64]; /* of net's weights */

ROWS
#undef ROW
#define ROW(fn, type, ...) {#fn, #type, try_##fn##_##type},
    static const struct row {
    const char *fn, *type;
    void (*call)(void);
} rows[] = {ROWS};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void begin(void)
{
    x = reel_keep(reel_ones(REEL_SHAPE(4), REEL_F32));
    image = reel_keep(reel_ones(REEL_SHAPE(1, 1, 4, 4), REEL_F32));
    weight = reel_keep(reel_ones(REEL_SHAPE(1, 1, 3, 3), REEL_F32));
    rate = reel_keep(reel_requires_grad(reel_scalar(1, REEL_F64), true));
    net = reel_nn_linear(4, 4, NULL);
    params = reel_parameters(net);
    optim = reel_sgd(params, NULL);
    adam = reel_adam(params, NULL);
    graph = reel_trace_function(twice, NULL, &x, 1, NULL);
    data = reel_arrays(image, reel_zeros(REEL_SHAPE(1), REEL_I64));
    loader = reel_loader_new(data, NULL);
    op = reel_custom_op_new(
        "future_copy",
        &(reel_custom_op_opts){.n_in = 1, .n_out = 1, .forward = custom_forward});
    map = reel_tensor_map_new();
    reel_state_dict(net, map);
    snprintf(file, sizeof file, "/tmp/test_future.%d", (int)getpid());
    reel_module_save(net, file);
    sink = fopen("/dev/null", "w");
    reel_scope_end(0);
    assert_non_null(sink);
    assert_string_equal(reel_error_message(), "");
}

static void end(void)
{
    (void)fclose(sink);
    (void)remove(file);
    reel_tensor_map_free(map);
    reel_custom_op_free(op);
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_graph_free(graph);
    reel_optim_free(adam);
    reel_optim_free(optim);
    reel_module_free(net);
    reel_release(rate);
    reel_release(weight);
    reel_release(image);
    reel_release(x);
    reel_scope_end(0);
    assert_int_equal(reel_live_objects(), 0);
}

static void test_every_function_refuses(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < N_ROWS; i++)
        for (member = 0; member < 4; member++) {
            const char *fn =
                strcmp(rows[i].fn, "custom") == 0 || strcmp(rows[i].fn, "custom_run") == 0
                    ? "future_copy" /* the operator's own name */
                    : rows[i].fn;
            size_t n = strlen(fn);
            rows[i].call();
            const char *said = reel_error_message();
            if (reel_error_status() != REEL_ERR_UNSUPPORTED ||
                strncmp(said, fn, n) != 0 || said[n] != ':' ||
                !strstr(said, "does not know"))
                COMPLAIN("%s, member %d of %s: \"%s\"\n", rows[i].fn, member,
                         rows[i].type, said);
            reel_error_clear();
            reel_scope_end(0);
        }
    end();
    assert_false(misuse_ended());
}

/* ---- every struct that the library fills ---------------------------------------------------------- */

static bool is_zero(const uint64_t *future)
{
    return !(future[0] | future[1] | future[2] | future[3]);
}

/* Filled with ones before, all of it. */
#define FILLS(type, ...)                                                                 \
    do {                                                                                 \
        type o;                                                                          \
        memset(&o, 0xff, sizeof o);                                                      \
        (void)(__VA_ARGS__);                                                             \
        if (!is_zero(o.future)) COMPLAIN("%s: its future is not zero\n", #type);         \
    } while (0)

/* The layer as a module that has seen x. */
static reel_module *prepared(void)
{
    reel_tensor *row = reel_reshape(x, REEL_SHAPE(1, 4));
    reel_graph *layer = reel_trace(net, row, NULL);
    reel_module *q = reel_quantize_prepare(layer, NULL);
    reel_quantize_observe(q, true);
    reel_forward(q, row);
    reel_quantize_observe(q, false);
    reel_graph_free(layer);
    return q;
}

static reel_layer_noise noise_of(reel_module *q)
{
    reel_layer_noise noise;
    memset(&noise, 0xff, sizeof noise);
    reel_dataset *one = reel_arrays(reel_reshape(x, REEL_SHAPE(1, 4)),
                                    reel_zeros(REEL_SHAPE(1), REEL_I64));
    reel_loader *batches = reel_loader_new(one, NULL);
    reel_quantize_sensitivity(q, batches, NULL, &noise, 1);
    reel_loader_free(batches);
    reel_dataset_free(one);
    return noise;
}

static void test_results_are_zero_there(void **state)
{
    (void)state;
    begin();
    FILLS(reel_memory_stats, reel_memory((reel_device){0}, &o));
    FILLS(reel_op_facts, reel_op_info(0, &o));
    FILLS(reel_cost, reel_cost_begin(), reel_mul(x, x), reel_cost_end(&o));
    FILLS(reel_cost, o = reel_graph_cost(graph));
    FILLS(reel_node_cost, reel_graph_node_cost(graph, 0, NULL, &o));
    FILLS(reel_loader_state, o = reel_loader_get_state(loader));
    FILLS(reel_batch, o = reel_loader_begin(loader));
    FILLS(reel_training_part, o = reel_module_part("net", net));
    FILLS(reel_frame, o = reel_module_enter(net, x), reel_module_leave(net, o, x, x));
    reel_batch b = reel_loader_begin(loader);
    assert_true(reel_loader_next(loader, &b) && is_zero(b.future));
    reel_module *q = prepared();
    FILLS(reel_quantizer, reel_quantize_at(q, 0, &o));
    FILLS(reel_layer_noise, o = noise_of(q));
    FILLS(reel_observed, reel_observer_range(reel_module_at(q, "input0_observer"), &o));
    reel_module_free(q);
    reel_executor *e = reel_executor_new(graph, NULL);
    FILLS(reel_plan_memory, reel_executor_memory(e, &o));
    reel_executor_free(e);
    reel_capture_begin();
    reel_capture_grads();
    reel_backward(reel_mul(rate, rate), NULL);
    FILLS(reel_captured_grad, reel_capture_grad(0, &o));
    reel_capture_cancel();
    reel_set_grad(rate, NULL);
    assert_string_equal(reel_error_message(), "");
    end();
    assert_false(misuse_ended());
}

/* ---- none is forgotten ------------------------------------------------------------------------------ */

/* Values, which stay as they are for good, and what only the library makes: programs see it by
 * a pointer, so it can grow at its end. */
static const char *const others[] = {
    "reel_device",       "reel_shape",      "reel_rng_state", "reel_params",
    "reel_custom_type",  "reel_draw",       "reel_field",     "reel_batch_field",
    "reel_sample",       "reel_optim_slot", "reel_roofline",  "reel_quantize_grid",
    "reel_observer_slot"};
/* The library begins them. */
static const char *const parts[] = {"reel_module", "reel_frame"};
/* Filled by it: test_results_are_zero_there(). */
static const char *const results[] = {
    "reel_memory_stats", "reel_op_facts",    "reel_cost",          "reel_node_cost",
    "reel_batch",        "reel_plan_memory", "reel_captured_grad", "reel_observed",
    "reel_layer_noise",  "reel_quantizer"};

static bool is_among(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0) return true;
    return false;
}
#define AMONG(name, list) is_among(name, list, sizeof(list) / sizeof *(list))

static bool has_row(const char *type)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].type, type) == 0) return true;
    return AMONG(type, parts) || AMONG(type, results);
}

/* A struct whose body ends before `end`. */
static void look_at(const char *type, const char *body, const char *end)
{
    static const char room[] = "    REEL_FUTURE;\n";
    const size_t n = sizeof room - 1;
    bool grows = (size_t)(end - body) > n && strncmp(end - n, room, n) == 0;
    if (grows == AMONG(type, others))
        COMPLAIN("%s %s\n", type,
                 grows ? "ends with REEL_FUTURE and is a value here"
                       : "must end with REEL_FUTURE");
    if (grows && !has_row(type)) COMPLAIN("%s has no row here\n", type);
}

static int structs, calls;

static void look_at_structs(char *text)
{
    for (char *at = text; (at = strstr(at, "struct reel_")) != NULL;) {
        char type[80];
        size_t k = strcspn(at + 7, " ;)*");
        snprintf(type, sizeof type, "%.*s", (int)k, at + 7);
        at += 7 + k;
        if (strncmp(at, " {\n", 3) != 0) continue;
        char *end = strstr(at, "\n}");
        assert_non_null(end);
        look_at(type, at, end + 1);
        structs++;
    }
}

static bool is_called(const char *fn, const char *type)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].fn, fn) == 0 && strcmp(rows[i].type, type) == 0) return true;
    return false;
}

/* A function with these arguments, up to ';', takes such a struct. */
static bool takes(const char *arguments, const char *type)
{
    const char *end = strchr(arguments, ';'), *at = arguments;
    for (; (at = strstr(at, type)) != NULL && at < end; at += strlen(type))
        if (at[strlen(type)] == ' ') return true;
    return false;
}

/* Each struct of each function: one may take two. */
static void look_at_functions(const char *header, char *text)
{
    char fn[64];
    for (char *at = text; (at = next_function(at)) != NULL;) {
        at = declared_name(at, fn, sizeof fn);
        for (int i = 0; i < N_ROWS; i++) {
            if (!takes(at, rows[i].type)) continue;
            calls++;
            if (!is_called(fn + strlen("reel_"), rows[i].type))
                COMPLAIN("%s of %s takes %s and has no row here\n", fn, header,
                         rows[i].type);
        }
    }
}

static void look_at_header(const char *header, char *text)
{
    look_at_structs(text);
    look_at_functions(header, text);
}

static void test_none_is_forgotten(void **state)
{
    (void)state;
    each_header(look_at_header);
    assert_true(structs > N_ROWS / 2 && calls > N_ROWS / 2);
    assert_false(misuse_ended());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_function_refuses),
        cmocka_unit_test(test_results_are_zero_there),
        cmocka_unit_test(test_none_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
