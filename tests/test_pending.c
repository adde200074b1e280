/* A command refuses to run while an error is pending: it returns the pending status and changes
 * nothing; reading still works. Every function that returns a status, or changes what it is
 * given, stands here with a call that is right, or is let off with a reason; the headers are read
 * to see that none is missing. Each is called with an error pending, while a digest of everything
 * in reach (weights, gradients, modes, optimizers, graphs, files, settings) must stay the same;
 * then without, and must do its work, so that the call is known to be right and the digest to see
 * it. */
#include "temp_folder.h"

#include <math.h>

#include <reel/reel.h>

#include "base/alloc.h"
#include "base/crc32.h"
#include "data/batch.h"
#include "support/misuse.h"
#include "support/own_ops.h"
#include "support/small_trainer.h"

/* ---- a world ---------------------------------------------------------------------------- */

typedef struct world {
    small_trainer t;
    reel_optim *sgd;
    reel_schedule *schedule;
    reel_ema *ema;
    reel_dataset *data, *part, *images;
    reel_loader *loader, *image_loader;
    reel_transform *flip;
    reel_graph *graph;
    reel_executor *executor;
    reel_compiled *step;
    reel_custom_op *op;
    reel_tensor_map *map, *net_state, *optim_state, *schedule_state, *ema_state;
    reel_tensor *x, *y, *leaf, *other, *loss, *rate, *count, *m, *v, *ints, *fresh;
    reel_tensor *out[2], *room;
    reel_module *child, *quantized, *observer;
    reel_observed seen;
    reel_quantizer quantizer;
    reel_layer_noise noise[16];
    reel_sample sample, bare; /* of the data set, of no fields */
    reel_draw draw;
    reel_batch batch, making; /* from the loader, one that a collate makes */
    reel_plan_memory memory;
    reel_memory_stats stats;
    reel_node_cost cost;
    reel_op_facts facts;
    reel_training run;
    FILE *to;
    double number[64];
    uint8_t pixels[12];
    int visits;
} world;

static reel_tensor *square(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_square(x[0]);
}

static reel_status step_once(void *user, reel_tensor *const x[], int n_x,
                             reel_tensor *y[], int n_y)
{
    (void)n_x;
    (void)n_y;
    y[0] = small_trainer_step(*(small_trainer *)user, x[0], x[1]);
    return reel_error_status();
}

static reel_tensor *keep_gradient(void *user, reel_tensor *g)
{
    ++*(int *)user;
    return g;
}

static void count_node(void *user, int node, const char *op, const char *where,
                       reel_tensor *value)
{
    (void)node;
    (void)op;
    (void)where;
    (void)value;
    ++*(int *)user;
}

static reel_status count_module(void *user, const char *path, reel_module *m)
{
    (void)path;
    (void)m;
    ++*(int *)user;
    return REEL_OK;
}

static reel_status count_tensor(void *user, const char *path, reel_tensor *t,
                                bool is_param)
{
    (void)path;
    (void)t;
    (void)is_param;
    ++*(int *)user;
    return REEL_OK;
}

static reel_status count_state(void *user, const char *name, reel_tensor *t,
                               reel_state_kind kind)
{
    (void)name;
    (void)t;
    (void)kind;
    ++*(int *)user;
    return REEL_OK;
}

/* Floating tensors of the map are other ones, by 1. */
static void change_map(reel_tensor_map *map)
{
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++) {
        const char *name = reel_tensor_map_name(map, i);
        reel_tensor *t = reel_copy(reel_detach(reel_tensor_map_at(map, i)));
        if (reel_dtype_is_float(reel_dtype_of(t))) t = reel_add_scalar(t, 1);
        reel_tensor_map_set(map, name, t);
    }
}

/* Unlike what the parts hold, so that loading it shows. */
static void save_states(world *w)
{
    w->map = reel_tensor_map_new();
    w->net_state = reel_tensor_map_new();
    w->optim_state = reel_tensor_map_new();
    w->schedule_state = reel_tensor_map_new();
    w->ema_state = reel_tensor_map_new();
    reel_state_dict(w->t.net, w->net_state);
    change_map(w->net_state);
    reel_optim_state(w->t.optim, w->optim_state);
    reel_schedule_state(w->schedule, w->schedule_state);
    reel_ema_state(w->ema, w->ema_state);
    change_map(w->ema_state);
    w->run = (reel_training){
        .module = w->t.net, .optim = w->t.optim, .schedule = w->schedule, .epoch = 3};
    reel_training_save(&w->run, temp_path("run"));
    reel_module_save(w->t.net, temp_path("net"));
    small_trainer_step(w->t, w->x, w->y);
    reel_schedule_step(w->schedule);
    reel_ema_update(w->ema);
}

static void make_tensors(world *w)
{
    reel_tensor *x, *y;
    small_trainer_data(1, &x, &y);
    w->x = x;
    w->y = y;
    w->leaf = reel_requires_grad(reel_randn(REEL_SHAPE(2, 3), REEL_F64), true);
    w->other = reel_rand(REEL_SHAPE(2, 3), REEL_F64);
    w->loss = reel_sum(reel_square(w->leaf), REEL_ALL, false);
    w->rate = reel_scalar(0.25, REEL_F64);
    w->count = reel_scalar(1, REEL_F64);
    w->m = reel_zeros(REEL_SHAPE(2, 3), REEL_F64);
    w->v = reel_ones(REEL_SHAPE(2, 3), REEL_F64);
    w->fresh = reel_rand(REEL_SHAPE(2, 3), REEL_F64);
    w->ints = reel_randint(0, 2, REEL_SHAPE(2, 3), REEL_I64);
}

static void make_world(world *w)
{
    *w = (world){.to = tmpfile()};
    assert_non_null(w->to);
    w->t = small_trainer_new(small_trainer_net(), true);
    w->sgd = reel_sgd((reel_params){0}, &(reel_sgd_opts){.lr = 0.1});
    make_tensors(w);
    w->schedule = reel_schedule_cosine(w->t.optim, 10, 0);
    w->ema = reel_ema_new(w->t.net, 0.9, NULL);
    w->data = reel_arrays(reel_rand(REEL_SHAPE(8, 3, 4, 4), REEL_F32),
                          reel_randint(0, 2, REEL_SHAPE(8), REEL_I64));
    w->loader = reel_loader_new(w->data, &(reel_loader_opts){.batch = 2});
    w->flip = reel_transform_random_hflip(1);
    w->draw = reel_draw_at(1, 2, 3);
    w->step = reel_compile(step_once, &w->t, &(reel_compile_opts){.module = w->t.net});
    reel_backward(reel_cross_entropy(reel_forward(w->t.net, w->x), w->y, NULL), NULL);
    save_states(w);
    reel_train(w->t.net, false);
    w->graph = reel_trace(w->t.net, w->x, NULL);
    reel_train(w->t.net, true);
    w->executor = reel_executor_new(w->graph, NULL);
    reel_graph_run(w->graph, &w->x, 1, &w->room, 1);
    w->room = reel_zeros_like(w->room);
    w->op = own_cube("own_cube", NULL);
    reel_dataset_get(w->data, 0, &w->sample);
    reel_npy_save(w->other, temp_path("x.npy"));
    assert_ok();
}

static void free_world(world *w)
{
    reel_capture_cancel();
    reel_sample_free(&w->sample);
    reel_sample_free(&w->bare);
    reel__batch_clear(&w->making);
    reel_compiled_free(w->step);
    reel_custom_op_free(w->op);
    reel_executor_free(w->executor);
    reel_graph_free(w->graph);
    reel_transform_free(w->flip);
    reel_loader_free(w->loader);
    reel_dataset_free(w->data);
    reel_loader_free(w->image_loader);
    reel_dataset_free(w->images);
    reel_module_free(w->quantized);
    reel_module_free(w->observer);
    reel_dataset_free(w->part);
    reel_ema_free(w->ema);
    reel_schedule_free(w->schedule);
    reel_optim_free(w->sgd);
    small_trainer_free(w->t);
    reel_module_free(w->child);
    reel_tensor_map_free(w->map);
    reel_tensor_map_free(w->net_state);
    reel_tensor_map_free(w->optim_state);
    reel_tensor_map_free(w->schedule_state);
    reel_tensor_map_free(w->ema_state);
    fclose(w->to);
}

/* ---- its digest --------------------------------------------------------------------------- */

static uint32_t crc;

static void eat(const void *bytes, size_t n)
{
    crc = reel__crc32(crc, bytes, n);
}

static void eat_number(double x)
{
    eat(&x, sizeof x);
}

static void eat_tensor(reel_tensor *t)
{
    eat_number(t ? (double)reel_dtype_of(t) : -1);
    if (!t) return;
    size_t n = (size_t)reel_numel(t);
    double *at = malloc((n + 1) * sizeof *at);
    assert_non_null(at);
    assert_int_equal(reel_read(t, at, REEL_F64), REEL_OK);
    eat(at, n * sizeof *at);
    free(at);
    eat_number(reel_needs_grad(t));
}

static reel_status eat_slot(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)user;
    eat(path, strlen(path));
    eat_number(is_param);
    eat_tensor(t);
    eat_tensor(reel_grad_of(t));
    return REEL_OK;
}

static reel_status eat_module(void *user, const char *path, reel_module *m)
{
    (void)user;
    eat(path, strlen(path));
    eat_number(m->training);
    return REEL_OK;
}

static void eat_map(const reel_tensor_map *map)
{
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++) {
        eat(reel_tensor_map_name(map, i), strlen(reel_tensor_map_name(map, i)));
        eat_tensor(reel_tensor_map_at(map, i));
    }
    for (int64_t i = 0; i < reel_tensor_map_text_count(map); i++) {
        const char *key = reel_tensor_map_text_key(map, i);
        eat(key, strlen(key));
        eat(reel_tensor_map_text(map, key), strlen(reel_tensor_map_text(map, key)));
    }
}

static void eat_files(void)
{
    reel__names names;
    assert_int_equal(reel__folder_list(temp_root, &names), REEL_OK);
    for (size_t i = 0; i < names.n; i++) {
        size_t n = 0;
        char *bytes = reel__file_load(temp_path(names.name[i]), 1 << 24, &n);
        assert_ok();
        eat(names.name[i], strlen(names.name[i]));
        eat(bytes, n);
        reel__free(bytes);
    }
    reel__names_free(&names);
}

static void eat_graph(const world *w)
{
    char *text = reel_graph_to_string(w->graph);
    assert_non_null(text);
    eat(text, strlen(text));
    free(text);
    eat_number((double)reel_graph_batch(w->graph));
}

static void eat_tensors(const world *w)
{
    reel_tensor *const all[] = {w->x, w->y, w->leaf,  w->other, w->rate, w->count,
                                w->m, w->v, w->fresh, w->ints,  w->room};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        eat_tensor(all[i]);
        eat_tensor(reel_grad_of(all[i]));
    }
    eat_number(w->out[0] != NULL);
}

static void eat_training(world *w)
{
    reel_tensor_map *map = reel_tensor_map_new();
    reel_optim_state(w->t.optim, map);
    if (reel_ema_state(w->ema, map)) { /* its averages are in the net */
        reel_error_clear();
        eat_number(1);
    }
    eat_map(map);
    reel_tensor_map_free(map);
    for (int i = 0; i < reel_optim_groups(w->t.optim); i++)
        eat_number(reel_optim_lr(w->t.optim, i));
    eat_number(reel_optim_groups(w->sgd));
    eat_number((double)reel_schedule_count(w->schedule));
    eat_number((double)reel_loader_get_state(w->loader).position);
    eat_number((double)reel_loader_get_state(w->loader).epoch);
    eat_number((double)w->run.epoch);
}

static uint32_t digest(world *w)
{
    crc = 0;
    assert_ok();
    reel_scope s = reel_scope_begin();
    (void)reel_module_each(w->t.net, eat_module, NULL);
    (void)reel_tensor_each(w->t.net, eat_slot, NULL);
    if (w->quantized) (void)reel_tensor_each(w->quantized, eat_slot, NULL);
    if (w->observer) (void)reel_tensor_each(w->observer, eat_slot, NULL);
    eat_number(w->seen.low != NULL);
    eat_number(w->quantizer.name != NULL);
    eat_number(w->noise[0].snr);
    eat_training(w);
    eat_graph(w);
    eat_tensors(w);
    eat_map(w->map);
    eat_files();
    eat_number(w->sample.fields + 100 * w->bare.fields);
    eat_number(w->making.fields);
    eat_number(w->part != NULL);
    eat(w->sample.field[0]->data, 16);
    eat(w->number, sizeof w->number);
    eat(&w->memory, sizeof w->memory);
    eat(&w->facts, sizeof w->facts);
    eat(&w->stats, sizeof w->stats);
    eat_number(w->cost.op != NULL);
    eat_number((double)w->batch.size);
    eat_number((double)ftell(w->to));
    eat_number(w->visits);
    eat_number(reel_threads());
    eat_number(reel_grad_enabled());
    reel_rng_state rng = reel_rng_get();
    eat(&rng, sizeof rng);
    reel_scope_end(s);
    assert_ok();
    return crc;
}

/* ---- the commands ------------------------------------------------------------------------- */

/* What `before` makes ready, what `call` does, what `after` ends when it was done. */
typedef struct command {
    const char *name;
    reel_status (*call)(world *w);
    void (*before)(world *w);
    void (*after)(world *w);
    bool unseen; /* it does what the digest has no eyes for */
    bool
        reads; /* it changes nothing but what the caller gives for its answer: it works */
} command;

static const struct {
    const char *name, *why;
} exempt[] = {
    {"error_status", "tells the pending error"},
    {"fail", "makes one pending"},
    {"module_takes", "makes one pending"},
    {"set_allocator", "comes before any other call: test_allocator.c"},
    {"cost_end", "ends what began before the error"},
    {"custom_same", "is a rule that changes nothing"},
    {"onnx_give", "adds to a model in the making, which an error gives up"},
    {"module_remove_hook",
     "takes away what may point to memory that an error gives back"},
};

/* The status of what gives something else. */
#define GIVES(call) ((call) ? REEL_OK : reel_error_status())

#define DO(name, expression)                                                             \
    static reel_status do_##name(world *w)                                               \
    {                                                                                    \
        (void)w;                                                                         \
        return expression;                                                               \
    }
static const reel_backward_opts again = {.retain_graph = true};
static const reel_adam_step_opts adam_opts = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
#define XY ((reel_tensor *[]){w->x, w->y})

/* autograd.h */
DO(set_grad, reel_set_grad(w->leaf, w->other))
DO(backward, reel_backward(w->loss, &again))
DO(grad, reel_grad(&w->loss, 1, NULL, &w->leaf, 1, w->out, &again))
DO(register_hook, reel_register_hook(w->leaf, keep_gradient, &w->visits))
DO(gradcheck, reel_gradcheck(square, NULL, &w->leaf, 1, NULL))
DO(gradgradcheck, reel_gradgradcheck(square, NULL, &w->leaf, 1, NULL))
/* custom_op.h */
DO(custom_run, reel_custom_run(w->op, &w->fresh, 1, w->out, 1, NULL))
/* base.h, profile.h, data.h */
DO(set_threads, reel_set_threads(3))
DO(synchronize, reel_synchronize((reel_device){REEL_CPU, 0}))
DO(memory, reel_memory((reel_device){REEL_CPU, 0}, &w->stats))
DO(cost_begin, reel_cost_begin())
DO(dataset_get, reel_dataset_get(w->data, 1, &w->sample))
DO(dataset_random_split,
   reel_dataset_random_split(w->data, (double[]){1}, 1, 0, &w->part))
DO(sample_borrow,
   reel_sample_borrow(&w->bare, "x", REEL_ARRAY, w->pixels, REEL_SHAPE(12), REEL_U8))
DO(sample_label, reel_sample_label(&w->bare, 3))
DO(batch_put, reel_batch_put(&w->making, "t", w->other))
DO(collate_stack, reel_collate_stack(&w->sample, 1, "x", &w->making))
DO(collate_pad,
   reel_collate_pad(&w->sample, 1, &(reel_pad_field){.name = "x"}, &w->making))
DO(transform_apply, reel_transform_apply(w->flip, &w->sample, &w->draw))
DO(loader_next, GIVES(reel_loader_next(w->loader, &w->batch)))
DO(loader_reset, reel_loader_reset(w->loader, 3))
DO(loader_set_state, reel_loader_set_state(w->loader, (reel_loader_state){.position = 4}))
/* executor.h, compile.h */
DO(executor_run, reel_executor_run(w->executor, &w->x, 1, w->out, 1))
DO(executor_run_into, reel_executor_run_into(w->executor, &w->x, 1, &w->room, 1))
DO(executor_memory, reel_executor_memory(w->executor, &w->memory))
DO(executor_profile, reel_executor_profile(w->executor, true))
DO(executor_time, reel_executor_time(w->executor, 0, w->number))
DO(graph_tune, reel_graph_tune(w->graph, 0))
DO(compiled_run, reel_compiled_run(w->step, XY, 2, w->out, 1))
/* io.h, training.h, onnx.h */
DO(tensor_map_set, reel_tensor_map_set(w->map, "a", w->other))
DO(tensor_map_set_text, reel_tensor_map_set_text(w->map, "k", "text"))
DO(safetensors_save, reel_safetensors_save(w->net_state, temp_path("a.st")))
DO(tensor_map_save, reel_tensor_map_save(w->net_state, temp_path("a.ck")))
DO(graph_save, reel_graph_save(w->graph, temp_path("a.reel")))
DO(npy_save, reel_npy_save(w->other, temp_path("a.npy")))
DO(image_grid_save, reel_image_grid_save(w->x, temp_path("b.png"), NULL))
DO(png_save, reel_png_save(w->pixels, 2, 2, 3, temp_path("a.png")))
DO(training_save, reel_training_save(&w->run, temp_path("a.run")))
DO(training_load, reel_training_load(&w->run, temp_path("run")))
DO(onnx_export, reel_onnx_export(w->graph, temp_path("a.onnx"), NULL))
/* nn.h */
DO(module_add, GIVES(reel_module_add(w->t.net, "more", w->child)))
DO(module_replace, GIVES(reel_module_replace(w->t.net, "2", w->child)))
DO(module_take, GIVES(w->child = reel_module_take(w->t.net, "1")))
DO(module_tie, reel_module_tie(w->t.net, "1.bias", "1.weight"))
DO(module_param, GIVES(reel_module_param(w->t.net, "p", w->fresh)))
DO(module_buffer, GIVES(reel_module_buffer(w->t.net, "b", w->fresh)))
DO(module_add_hook, GIVES(reel_module_add_hook(w->t.net, &(reel_module_hook){0})))
DO(module_each, reel_module_each(w->t.net, count_module, &w->visits))
DO(tensor_each, reel_tensor_each(w->t.net, count_tensor, &w->visits))
DO(freeze, reel_freeze(w->t.net, true))
DO(module_to, reel_module_to(w->t.net, (reel_device){REEL_CPU, 0}))
DO(module_cast, reel_module_cast(w->t.net, REEL_F64))
DO(state_dict, reel_state_dict(w->t.net, w->map))
DO(load_state_dict, reel_load_state_dict(w->t.net, w->net_state, NULL))
DO(module_save, reel_module_save(w->t.net, temp_path("a.net")))
DO(module_load, reel_module_load(w->t.net, temp_path("net"), NULL))
DO(capture_module, reel_capture_module(w->t.net))
DO(forward_n, reel_forward_n(w->t.net, &w->x, 1, w->out, 1))
DO(module_function_n, reel_module_function_n(w->t.net, &w->x, 1, w->out, 1))
DO(module_export_n,
   reel_module_export_n(w->t.net, &w->x, 1, 1, temp_path("c.onnx"), NULL, NULL))
DO(module_export, reel_module_export(w->t.net, w->x, temp_path("b.onnx"), NULL))
DO(summary_write, reel_summary_write(w->t.net, REEL_SHAPE(4, 3, 8, 8), w->to, NULL))
DO(init_constant, GIVES(reel_init_constant(w->fresh, 3)))
DO(init_uniform, GIVES(reel_init_uniform(w->fresh, 0, 1)))
DO(init_normal, GIVES(reel_init_normal(w->fresh, 0, 1)))
DO(init_trunc_normal, GIVES(reel_init_trunc_normal(w->fresh, 0, 1, -2, 2)))
DO(init_kaiming_uniform, GIVES(reel_init_kaiming_uniform(w->fresh, NULL)))
DO(init_kaiming_normal, GIVES(reel_init_kaiming_normal(w->fresh, NULL)))
DO(init_xavier_uniform, GIVES(reel_init_xavier_uniform(w->fresh, 1)))
DO(init_xavier_normal, GIVES(reel_init_xavier_normal(w->fresh, 1)))
DO(init_orthogonal, GIVES(reel_init_orthogonal(w->fresh, 1)))
/* ops.h: what changes its input */
DO(copy_, GIVES(reel_copy_(w->fresh, w->other)))
DO(fill_, GIVES(reel_fill_(w->fresh, 7)))
DO(fill_i64_, GIVES(reel_fill_i64_(w->fresh, 7)))
DO(zero_, GIVES(reel_zero_(w->fresh)))
DO(add_, GIVES(reel_add_(w->fresh, w->other)))
DO(sub_, GIVES(reel_sub_(w->fresh, w->other)))
DO(mul_, GIVES(reel_mul_(w->fresh, w->other)))
DO(div_, GIVES(reel_div_(w->fresh, w->other)))
DO(add_scaled_, GIVES(reel_add_scaled_(w->fresh, w->other, 2)))
DO(lerp_, GIVES(reel_lerp_(w->fresh, w->other, 0.5)))
DO(mul_scalar_, GIVES(reel_mul_scalar_(w->fresh, 2)))
DO(mul_scalar_i64_, GIVES(reel_mul_scalar_i64_(w->fresh, 2)))
DO(clamp_, GIVES(reel_clamp_(w->fresh, 0.4, 0.5)))
DO(clamp_i64_, GIVES(reel_clamp_i64_(w->fresh, -5, -4)))
DO(relu_, GIVES(reel_relu_(w->fresh)))
DO(sgd_step, reel_sgd_step(w->fresh, w->other, NULL, w->rate, NULL))
DO(adam_step,
   reel_adam_step(w->fresh, w->other, w->m, w->v, w->rate, w->count, &adam_opts))
DO(op_info, reel_op_info(0, &w->facts))
/* optim.h */
DO(sgd_add, reel_sgd_add(w->sgd, reel_parameters(w->t.net), &(reel_sgd_opts){.lr = 0.1}))
DO(optim_add_group,
   reel_optim_add_group(w->sgd, reel_parameters(w->t.net), &(reel_sgd_opts){.lr = 0.1}))
DO(adam_add, reel_adam_add(w->t.optim, (reel_params){&w->leaf, NULL, 1}, NULL))
DO(optim_step, reel_optim_step(w->t.optim))
DO(optim_set_lr, reel_optim_set_lr(w->t.optim, 0, 0.5))
DO(optim_state, reel_optim_state(w->t.optim, w->map))
DO(optim_load_state, reel_optim_load_state(w->t.optim, w->optim_state))
DO(clip_grad_norm, GIVES(reel_clip_grad_norm(reel_parameters(w->t.net), 1e-3) > 0))
DO(clip_grad_norm_tensor,
   GIVES(reel_clip_grad_norm_tensor(reel_parameters(w->t.net), 1e-3)))
DO(clip_grad_value, reel_clip_grad_value(reel_parameters(w->t.net), 1e-6))
/* quantize.h */
DO(observer_range, reel_observer_range(w->observer, &w->seen))
DO(observer_reset, reel_observer_reset(w->observer))
DO(quantize_at, reel_quantize_at(w->quantized, 0, &w->quantizer))
DO(quantize_observe, reel_quantize_observe(w->quantized, true))
DO(quantize_calibrate, reel_quantize_calibrate(w->quantized, w->image_loader, NULL))
DO(quantize_correct_biases,
   reel_quantize_correct_biases(w->quantized, w->image_loader, NULL))
DO(quantize_sensitivity,
   reel_quantize_sensitivity(w->quantized, w->image_loader, NULL, w->noise,
                             reel_quantize_layers(w->quantized)))
DO(quantize_round,
   reel_quantize_round(w->quantized, w->image_loader, &(reel_round_opts){.steps = 3}))
DO(quantize_export, reel_quantize_export(w->quantized, temp_path("ints.onnx"), NULL))
DO(quantize_smooth, reel_quantize_smooth(w->quantized, w->image_loader, NULL))
DO(quantize_freeze_statistics, reel_quantize_freeze_statistics(w->quantized, true))
DO(quantize_freeze_observers, reel_quantize_freeze_observers(w->quantized, true))
DO(schedule_step, reel_schedule_step(w->schedule))
DO(schedule_state, reel_schedule_state(w->schedule, w->map))
DO(schedule_load_state, reel_schedule_load_state(w->schedule, w->schedule_state))
DO(ema_update, reel_ema_update(w->ema))
DO(ema_swap, reel_ema_swap(w->ema))
DO(ema_state, reel_ema_state(w->ema, w->map))
DO(ema_load_state, reel_ema_load_state(w->ema, w->ema_state))
/* tensor.h */
DO(set_default_device, reel_set_default_device((reel_device){REEL_CPU, 0}))
DO(set_data, reel_set_data(w->fresh, w->other))
DO(read, reel_read(w->other, w->number, REEL_F64))
DO(print, reel_print(w->rate))
/* trace.h */
DO(capture_begin, reel_capture_begin())
DO(capture_input, reel_capture_input(w->x, "x"))
DO(capture_state, reel_capture_state(w->other, "s", false))
DO(capture_grads, reel_capture_grads())
DO(graph_set_batch, reel_graph_set_batch(w->graph, 9))
DO(graph_run, reel_graph_run(w->graph, &w->x, 1, w->out, 1))
DO(graph_run_watched,
   reel_graph_run_watched(w->graph, &w->x, 1, w->out, 1, count_node, &w->visits))
DO(graph_check, reel_graph_check(w->graph))
DO(graph_node_cost, reel_graph_node_cost(w->graph, 0, NULL, &w->cost))
DO(graph_report, reel_graph_report(w->graph, w->to, NULL))
DO(graph_each_state, reel_graph_each_state(w->graph, count_state, &w->visits))
DO(graph_name_state, reel_graph_name_state(w->graph))
DO(graph_write_dot, reel_graph_write_dot(w->graph, w->to))
DO(graph_write_svg, reel_graph_write_svg(w->graph, w->to, NULL))
DO(graph_write_html, reel_graph_write_html(w->graph, w->to, NULL))
DO(graph_save_html, reel_graph_save_html(w->graph, temp_path("a.html"), NULL))
DO(graph_optimize, reel_graph_optimize(w->graph, NULL))

static void capture(world *w)
{
    (void)w;
    assert_int_equal(reel_capture_begin(), REEL_OK);
}

static void end_capture(world *w)
{
    (void)w;
    reel_capture_cancel();
}

static void end_cost(world *w)
{
    (void)w;
    assert_int_equal(reel_cost_end(NULL), REEL_OK);
}

static void no_grad(world *w)
{
    (void)w;
    (void)reel_set_grad_enabled(false);
}

static void with_grad(world *w)
{
    (void)w;
    (void)reel_set_grad_enabled(true);
}

static void make_child(world *w)
{
    w->child = reel_nn_linear(2, 2, NULL);
}

static void free_child(world *w)
{
    reel_module_free(w->child);
    w->child = NULL;
}

/* It is the net's, or was freed by the call that failed. */
static void lose_child(world *w)
{
    w->child = NULL;
}

static void measure(world *w)
{
    assert_int_equal(reel_executor_profile(w->executor, true), REEL_OK);
    assert_int_equal(reel_executor_run(w->executor, &w->x, 1, w->out, 1), REEL_OK);
    w->out[0] = NULL;
    for (int i = 0; i < 64; i++) w->number[i] = -1;
}

static void give_gradients(world *w)
{
    reel_backward(reel_cross_entropy(reel_forward(w->t.net, w->x), w->y, NULL), NULL);
}

static void eval(world *w)
{
    reel_train(w->t.net, false);
}

static void negate(world *w)
{
    w->fresh = reel_neg(w->fresh);
}

/* Only where it is asked for: every command has a world of its own. */
static void quantize(world *w)
{
    w->quantized = reel_quantize_prepare(w->graph, NULL);
    w->observer = reel_observer_new(reel_observer_min_max(), NULL);
    reel_forward(w->quantized, w->x);
    reel_forward(w->observer, w->x);
    w->images = reel_arrays(w->x, w->y);
    w->image_loader = reel_loader_new(w->images, NULL);
    assert_ok();
}

static void calibrate_first(world *w)
{
    quantize(w);
    assert_int_equal(reel_quantize_calibrate(w->quantized, w->image_loader, NULL),
                     REEL_OK);
}

static void calibrate_coarsely(world *w)
{
    reel_quantizer z;
    calibrate_first(w);
    for (int i = 0; i < reel_quantize_count(w->quantized); i++)
        if (!reel_quantize_at(w->quantized, i, &z) && z.weight)
            reel_mul_scalar_(z.scale, 16); /* so that learning finds something better */
}

static void stop_observing(world *w)
{
    (void)reel_quantize_observe(w->quantized, false); /* it has seen nothing since */
    reel_error_clear();
}

#define SEEN(name)                                                                       \
    {                                                                                    \
#name, do_##name, NULL, NULL, false, false                                       \
    }
#define UNSEEN(name)                                                                     \
    {                                                                                    \
#name, do_##name, NULL, NULL, true, false                                        \
    }
#define READS(name)                                                                      \
    {                                                                                    \
#name, do_##name, NULL, NULL, false, true                                        \
    }
static const command commands[] = {
    SEEN(set_grad),
    SEEN(backward),
    SEEN(grad),
    UNSEEN(register_hook),
    UNSEEN(gradcheck),
    UNSEEN(gradgradcheck),
    SEEN(custom_run),
    SEEN(set_threads),
    UNSEEN(synchronize),
    READS(memory),
    {"cost_begin", do_cost_begin, NULL, end_cost, true, false},
    SEEN(dataset_get),
    SEEN(dataset_random_split),
    SEEN(sample_borrow),
    SEEN(sample_label),
    SEEN(batch_put),
    SEEN(collate_stack),
    SEEN(collate_pad),
    SEEN(transform_apply),
    SEEN(loader_next),
    SEEN(loader_reset),
    SEEN(loader_set_state),
    SEEN(executor_run),
    SEEN(executor_run_into),
    READS(executor_memory),
    UNSEEN(executor_profile),
    {"executor_time", do_executor_time, measure, NULL, false, true},
    UNSEEN(graph_tune),
    SEEN(compiled_run),
    SEEN(tensor_map_set),
    SEEN(tensor_map_set_text),
    SEEN(safetensors_save),
    SEEN(tensor_map_save),
    SEEN(graph_save),
    SEEN(npy_save),
    SEEN(image_grid_save),
    SEEN(png_save),
    SEEN(training_save),
    SEEN(training_load),
    SEEN(onnx_export),
    {"module_add", do_module_add, make_child, lose_child, false, false},
    {"module_replace", do_module_replace, make_child, lose_child, false, false},
    {"module_take", do_module_take, NULL, free_child, false, false},
    SEEN(module_tie),
    SEEN(module_param),
    SEEN(module_buffer),
    UNSEEN(module_add_hook),
    READS(module_each),
    READS(tensor_each),
    SEEN(freeze),
    UNSEEN(module_to),
    SEEN(module_cast),
    SEEN(state_dict),
    SEEN(load_state_dict),
    SEEN(module_save),
    SEEN(module_load),
    {"capture_module", do_capture_module, capture, end_capture, true, false},
    {"module_export", do_module_export, eval, NULL, false, false},
    {"module_export_n", do_module_export_n, eval, NULL, false, false},
    SEEN(forward_n),
    SEEN(module_function_n),
    SEEN(summary_write),
    SEEN(init_constant),
    SEEN(init_uniform),
    SEEN(init_normal),
    SEEN(init_trunc_normal),
    SEEN(init_kaiming_uniform),
    SEEN(init_kaiming_normal),
    SEEN(init_xavier_uniform),
    SEEN(init_xavier_normal),
    SEEN(init_orthogonal),
    SEEN(copy_),
    SEEN(fill_),
    SEEN(fill_i64_),
    SEEN(zero_),
    SEEN(add_),
    SEEN(sub_),
    SEEN(mul_),
    SEEN(div_),
    SEEN(add_scaled_),
    SEEN(lerp_),
    SEEN(mul_scalar_),
    SEEN(mul_scalar_i64_),
    SEEN(clamp_),
    SEEN(clamp_i64_),
    {"relu_", do_relu_, negate, NULL, false, false},
    {"sgd_step", do_sgd_step, no_grad, with_grad, false, false},
    {"adam_step", do_adam_step, no_grad, with_grad, false, false},
    READS(op_info),
    {"observer_range", do_observer_range, quantize, NULL, false, false},
    {"observer_reset", do_observer_reset, quantize, NULL, false, false},
    {"quantize_at", do_quantize_at, quantize, NULL, false, true},
    {"quantize_observe", do_quantize_observe, quantize, stop_observing, false, false},
    {"quantize_calibrate", do_quantize_calibrate, quantize, NULL, false, false},
    {"quantize_correct_biases", do_quantize_correct_biases, calibrate_first, NULL, false,
     false},
    {"quantize_export", do_quantize_export, calibrate_first, NULL, false, false},
    {"quantize_smooth", do_quantize_smooth, quantize, NULL, true, false},
    {"quantize_sensitivity", do_quantize_sensitivity, calibrate_first, NULL, false,
     false},
    {"quantize_round", do_quantize_round, calibrate_coarsely, NULL, false, false},
    {"quantize_freeze_observers", do_quantize_freeze_observers, quantize, NULL, true,
     false},
    {"quantize_freeze_statistics", do_quantize_freeze_statistics, quantize, NULL, true,
     false},
    SEEN(sgd_add),
    SEEN(adam_add),
    SEEN(optim_add_group),
    {"optim_step", do_optim_step, give_gradients, NULL, false, false},
    SEEN(optim_set_lr),
    SEEN(optim_state),
    SEEN(optim_load_state),
    {"clip_grad_norm", do_clip_grad_norm, give_gradients, NULL, false, false},
    {"clip_grad_norm_tensor", do_clip_grad_norm_tensor, give_gradients, NULL, false,
     false},
    {"clip_grad_value", do_clip_grad_value, give_gradients, NULL, false, false},
    SEEN(schedule_step),
    SEEN(schedule_state),
    SEEN(schedule_load_state),
    SEEN(ema_update),
    SEEN(ema_swap),
    SEEN(ema_state),
    SEEN(ema_load_state),
    UNSEEN(set_default_device),
    SEEN(set_data),
    READS(read),
    {"print", do_print, NULL, NULL, true, true},
    {"capture_begin", do_capture_begin, NULL, end_capture, true, false},
    {"capture_input", do_capture_input, capture, end_capture, true, false},
    {"capture_state", do_capture_state, capture, end_capture, true, false},
    {"capture_grads", do_capture_grads, capture, end_capture, true, false},
    SEEN(graph_set_batch),
    SEEN(graph_run),
    SEEN(graph_run_watched),
    {"graph_check", do_graph_check, NULL, NULL, true, true},
    READS(graph_node_cost),
    SEEN(graph_report),
    READS(graph_each_state),
    UNSEEN(graph_name_state),
    SEEN(graph_write_dot),
    SEEN(graph_write_svg),
    SEEN(graph_write_html),
    SEEN(graph_save_html),
    SEEN(graph_optimize),
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

/* ---- refused, then done --------------------------------------------------------------------- */

static void call_refused(const command *c, world *w, uint32_t was)
{
    reel_fail(REEL_ERR_NUMERIC, "something failed before");
    reel_status st = c->call(w);
    if (st != (c->reads ? REEL_OK : REEL_ERR_NUMERIC))
        COMPLAIN("%s: gives %s\n", c->name, reel_status_name(st));
    if (strcmp(reel_error_message(), "something failed before") != 0)
        COMPLAIN("%s: the error became \"%s\"\n", c->name, reel_error_message());
    reel_error_clear();
    bool same = digest(w) == was, expected = !c->reads || c->unseen;
    if (same != expected)
        COMPLAIN("%s: changed %s\n", c->name, same ? "nothing" : "something");
}

static void call_done(const command *c, world *w, uint32_t was)
{
    reel_status st = c->call(w);
    if (st == REEL_ERR_UNSUPPORTED) { /* a build without the library that it needs */
        reel_error_clear();
        return;
    }
    if (st) COMPLAIN("%s: is not a right call: %s\n", c->name, reel_error_message());
    reel_error_clear();
    if (!c->unseen && digest(w) == was) COMPLAIN("%s: nothing shows it\n", c->name);
}

/* The k-th allocation of the call fails: the error begins with the name of the command, whoever
 * in it wanted the memory. Counts such errors. False if the call has fewer allocations. */
static bool call_without_memory(const command *c, world *w, int64_t k, int *named)
{
    reel_memory_trim((reel_device){REEL_CPU, 0}); /* cached memory is not asked for */
    reel__fault_alloc(k, false);
    reel_status st = c->call(w);
    bool met = reel__fault_alloc_count() >= k;
    reel__fault_alloc(0, false);
    *named += met && st;
    bool own =
        strcmp(c->name, "custom_run") == 0; /* an operator has the name it was given */
    if (met && st) begins_with(own ? "own_cube" : c->name, (int)k);
    reel_error_clear();
    return met;
}

/* Calls the command in a world of its own: with an error pending, without, or with the k-th
 * allocation failing. */
typedef enum { REFUSED, DONE, WITHOUT_MEMORY } manner;

static bool call_in_a_world(const command *c, manner how, int64_t k, int *named)
{
    const int threads = reel_threads();
    bool met = true;
    world w;
    reel_scope s = reel_scope_begin();
    assert_int_equal(temp_clean(NULL), 0);
    make_world(&w);
    if (c->before) c->before(&w);
    assert_ok();
    uint32_t was = digest(&w);
    if (how == DONE)
        call_done(c, &w, was);
    else if (how == REFUSED)
        call_refused(c, &w, was);
    else
        met = call_without_memory(c, &w, k, named);
    if (c->after && (how != REFUSED || c->before)) c->after(&w);
    free_world(&w);
    reel_scope_end(s);
    reel_set_threads(threads);
    with_grad(NULL);
    return met;
}

static void test_commands(void **state)
{
    (void)state;
    for (int i = 0; i < N_COMMANDS; i++) {
        (void)call_in_a_world(&commands[i], REFUSED, 0, NULL);
        (void)call_in_a_world(&commands[i], DONE, 0, NULL);
    }
}

static void test_want_of_memory_names_the_command(void **state)
{
    (void)state;
    int named = 0;
    for (int i = 0; i < N_COMMANDS; i++)
        for (int64_t k = 1; k < 100; k *= 3)
            if (!call_in_a_world(&commands[i], WITHOUT_MEMORY, k, &named)) break;
    assert_true(named > 200);
}

/* ---- none is forgotten ------------------------------------------------------------------------ */

static bool is_known(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return true;
    for (size_t i = 0; i < sizeof exempt / sizeof *exempt; i++)
        if (strcmp(exempt[i].name, name) == 0) return true;
    return false;
}

/* What returns a status, what ends in "_", and what reel_init_* is. */
static bool is_command(const char *declaration, const char *name)
{
    return strncmp(declaration, "reel_status ", 12) == 0 ||
           name[strlen(name) - 1] == '_' || strncmp(name, "reel_init_", 10) == 0;
}

static int commands_found;

static void look_for_commands(const char *header, char *text)
{
    char name[64];
    for (char *at = text; (at = next_function(at)) != NULL;) {
        char *declaration = at;
        at = declared_name(at, name, sizeof name);
        if (!is_command(declaration, name)) continue;
        commands_found++;
        if (!is_known(name + strlen("reel_")))
            COMPLAIN("%s of %s stands in no table here\n", name, header);
    }
}

static void test_every_command_is_here(void **state)
{
    (void)state;
    each_header(look_for_commands);
    assert_true(commands_found > 100);
}

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return misuse_ended();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_commands, clean),
        cmocka_unit_test_teardown(test_want_of_memory_names_the_command, clean),
        cmocka_unit_test_teardown(test_every_command_is_here, clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
