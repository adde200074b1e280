/* Wrong calls of modules, optimizers, data, files: an error with a message, or the answer that
 * the header promises for NULL, never a crash (this runs under ASan and UBSan). The rooms
 * below are in test_misuse.c. A function that is missing here fails the last test. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "support/every_function.h"

/* The call sets an error that says something. */
#define FAILS(call)                                                                      \
    do {                                                                                 \
        (void)(call);                                                                    \
        if (!reel_failed()) fail_msg("no error: %s", #call);                             \
        if (!*reel_error_message()) fail_msg("no message: %s", #call);                   \
        reel_error_clear();                                                              \
    } while (0)
/* The call answers so and sets none. */
#define GIVES(call, answer)                                                              \
    do {                                                                                 \
        if ((call) != (answer)) fail_msg("not %s: %s", #answer, #call);                  \
        if (reel_failed()) fail_msg("%s: %s", #call, reel_error_message());              \
    } while (0)
#define TAKES(call)                                                                      \
    do {                                                                                 \
        call;                                                                            \
        if (reel_failed()) fail_msg("%s: %s", #call, reel_error_message());              \
    } while (0)

static const reel_device nowhere = {.type = (reel_device_type)99};

/* ---- nn.h ---------------------------------------------------------------------------- */

static reel_status visit_module(void *user, const char *path, reel_module *m)
{
    (void)user, (void)path, (void)m;
    return REEL_OK;
}

static reel_status visit_tensor(void *user, const char *path, reel_tensor *t,
                                bool is_param)
{
    (void)user, (void)path, (void)t, (void)is_param;
    return REEL_OK;
}

static void test_modules(void **state)
{
    (void)state;
    reel_module *net = reel_nn_linear(3, 2, NULL);
    reel_tensor *x = reel_ones(REEL_SHAPE(4, 3), REEL_F32);
    FAILS(reel_module_new(1, "small", NULL));
    GIVES(reel_module_done(NULL), NULL);
    TAKES(reel_module_free(NULL));
    FAILS(reel_module_add(net, "a", NULL));
    FAILS(reel_module_add(NULL, "a", reel_nn_relu()));
    FAILS(reel_module_add(net, NULL, reel_nn_relu()));
    FAILS(reel_module_add(net, "a.b", reel_nn_relu()));
    FAILS(reel_module_add(net, "weight", reel_nn_relu()));
    FAILS(reel_module_add(net, "a", net));
    FAILS(reel_module_param(net, "p", NULL));
    FAILS(reel_module_param(NULL, "p", x));
    FAILS(reel_module_param(net, NULL, x));
    FAILS(reel_module_param(net, "p", reel_ones(REEL_SHAPE(2), REEL_I64)));
    FAILS(reel_module_buffer(net, "b", NULL));
    FAILS(reel_module_buffer(NULL, "b", x));
    FAILS(reel_module_buffer(net, "", x));
    FAILS(reel_forward(NULL, x));
    FAILS(reel_forward(net, NULL));
    FAILS(reel_forward(net, reel_ones(REEL_SHAPE(4, 5), REEL_F32)));
    FAILS(reel_module_leave(net, reel_module_enter(net, NULL), NULL, NULL));
    FAILS(reel_module_add_hook(NULL, (reel_module_hook){0}));
    FAILS(reel_module_remove_hook(NULL, 1));
    FAILS(reel_module_remove_hook(net, 1));
    assert_string_equal(reel_module_name(NULL), "");
    GIVES(reel_module_count(NULL), 0);
    GIVES(reel_module_child(NULL, 0), NULL);
    GIVES(reel_module_child(net, -1), NULL);
    GIVES(reel_module_child(net, INT_MAX), NULL);
    GIVES(reel_module_at(NULL, ""), NULL);
    GIVES(reel_module_at(net, NULL), NULL);
    GIVES(reel_module_at(net, ".."), NULL);
    GIVES(reel_module_find(NULL, "weight"), NULL);
    GIVES(reel_module_find(net, NULL), NULL);
    GIVES(reel_module_find(net, "weight."), NULL);
    FAILS(reel_module_each(NULL, visit_module, NULL));
    FAILS(reel_module_each(net, NULL, NULL));
    FAILS(reel_tensor_each(NULL, visit_tensor, NULL));
    FAILS(reel_tensor_each(net, NULL, NULL));
    FAILS(reel_parameters(NULL));
    FAILS(reel_param_count(NULL));
    TAKES(reel_train(NULL, true));
    FAILS(reel_freeze(NULL, true));
    TAKES(reel_zero_grad(NULL));
    FAILS(reel_module_to(NULL, (reel_device){0}));
    FAILS(reel_module_to(net, nowhere));
    FAILS(reel_module_cast(NULL, REEL_F64));
    FAILS(reel_module_cast(net, REEL_I64));
    FAILS(reel_module_cast(net, (reel_dtype)99));
    reel_module_free(net);
}

static void test_state(void **state)
{
    (void)state;
    reel_module *net = reel_nn_linear(3, 2, NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    FAILS(reel_state_dict(NULL, map));
    FAILS(reel_state_dict(net, NULL));
    FAILS(reel_load_state_dict(NULL, map, NULL));
    FAILS(reel_load_state_dict(net, NULL, NULL));
    FAILS(reel_load_state_dict(net, map, NULL));
    FAILS(reel_module_save(NULL, "x"));
    FAILS(reel_module_save(net, NULL));
    FAILS(reel_module_save(net, "no such folder/x"));
    FAILS(reel_module_load(NULL, "x", NULL));
    FAILS(reel_module_load(net, NULL, NULL));
    FAILS(reel_module_load(net, "no such file", NULL));
    reel_tensor_map_free(map);
    reel_module_free(net);
}

/* A layer with wrong numbers is not made. */
static void test_layers(void **state)
{
    (void)state;
    const reel_shape bad = {-1, {0}}, deep = {99, {1}};
    FAILS(reel_nn_linear(-1, 2, NULL));
    FAILS(reel_nn_linear(2, INT64_MAX, NULL));
    FAILS(reel_nn_conv2d(-3, 4, 3, NULL));
    FAILS(reel_nn_conv2d(3, 4, -3, NULL));
    FAILS(reel_nn_conv2d(3, 4, 3, &(reel_nn_conv2d_opts){.conv = {.groups = 2}}));
    FAILS(reel_nn_batch_norm2d(-1, NULL));
    FAILS(reel_nn_layer_norm(bad, NULL));
    FAILS(reel_nn_layer_norm(deep, NULL));
    FAILS(reel_nn_adaptive_avg_pool2d(-1, 1));
    FAILS(reel_nn_activation((reel_activation)99));
    FAILS(reel_activate((reel_activation)99, reel_ones(REEL_SHAPE(1), REEL_F32)));
    FAILS(reel_activate(REEL_ACT_RELU, NULL));
    assert_string_equal(reel_activation_name((reel_activation)-1), "?");
    FAILS(reel_nn_dropout(-0.5));
    FAILS(reel_nn_dropout(NAN));
    FAILS(reel_nn_embedding(-1, 4));
    FAILS(reel_nn_sequential_n(NULL, 2));
    FAILS(
        reel_nn_sequential_n((reel_module *[]){reel_nn_relu(), NULL, reel_nn_gelu()}, 3));
    FAILS(reel_nn_attention(10, 3, NULL));
    FAILS(reel_nn_attention(10, 0, NULL));
    FAILS(reel_nn_encoder_layer(10, -1, NULL));
    FAILS(reel_nn_encoder_layer(8, 2, &(reel_nn_encoder_layer_opts){.hidden = -1}));
    FAILS(reel_mlp(NULL));
    FAILS(reel_mlp(&(reel_mlp_opts){.in = -1}));
    const reel_resnet_opts none = {.classes = -1};
    FAILS(reel_resnet20(&none));
    FAILS(reel_resnet32(&none));
    FAILS(reel_resnet56(&none));
    FAILS(reel_resnet18(&none));
    FAILS(reel_resnet34(&none));
    FAILS(reel_resnet50(&none));
    FAILS(reel_vit_tiny(&(reel_vit_opts){.patch = 5}));
    FAILS(reel_vit_tiny(&(reel_vit_opts){.heads = -1}));
}

/* One that is made of plausible numbers refuses inputs that do not fit. */
static void test_layers_run(void **state)
{
    (void)state;
    reel_tensor *flat = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    reel_tensor *image = reel_ones(REEL_SHAPE(1, 5, 4, 4), REEL_F32);
    reel_module *pool[] = {reel_nn_max_pool2d(NULL), reel_nn_avg_pool2d(NULL)};
    reel_error_clear(); /* options that are missing may be refused at once, or in use */
    for (int i = 0; i < 2; i++) {
        FAILS(reel_forward(pool[i], flat));
        reel_module_free(pool[i]);
    }
    reel_module *bn = reel_nn_batch_norm2d(3, NULL), *drop = reel_nn_flatten(5, 9);
    reel_module *mha = reel_nn_attention(8, 2, NULL);
    FAILS(reel_nn_batch_norm2d_forward(NULL, image, NULL, true));
    FAILS(reel_nn_batch_norm2d_forward(bn, NULL, NULL, true));
    FAILS(reel_nn_batch_norm2d_forward(bn, image, flat, true));
    FAILS(reel_nn_batch_norm2d_forward(mha, image, NULL, true));
    FAILS(reel_forward(drop, flat));
    FAILS(reel_nn_attention_forward(mha, flat, flat, flat, NULL));
    FAILS(reel_nn_attention_forward(mha, NULL, flat, flat, NULL));
    FAILS(reel_nn_attention_forward(NULL, flat, flat, flat, NULL));
    FAILS(reel_nn_attention_forward(bn, flat, flat, flat, NULL));
    FAILS(reel_summary(NULL, REEL_SHAPE(1, 3), NULL));
    FAILS(reel_summary(bn, REEL_SHAPE(1, 3), NULL));
    FAILS(reel_summary(bn, (reel_shape){-1, {0}}, NULL));
    FAILS(reel_summary_write(bn, REEL_SHAPE(1, 3, 2, 2), NULL, NULL));
    reel_module_free(bn);
    reel_module_free(drop);
    reel_module_free(mha);
}

static void test_initializers(void **state)
{
    (void)state;
    reel_tensor *whole = reel_ones(REEL_SHAPE(2, 2), REEL_I64);
    reel_tensor *line = reel_ones(REEL_SHAPE(2), REEL_F32);
    FAILS(reel_init_constant(NULL, 1));
    FAILS(reel_init_uniform(NULL, 0, 1));
    FAILS(reel_init_uniform(whole, 0, 1));
    FAILS(reel_init_normal(NULL, 0, 1));
    FAILS(reel_init_normal(whole, 0, 1));
    FAILS(reel_init_trunc_normal(NULL, 0, 1, -2, 2));
    FAILS(reel_init_trunc_normal(line, 0, 1, 2, -2));
    FAILS(reel_init_kaiming_uniform(NULL, NULL));
    FAILS(reel_init_kaiming_uniform(line, NULL));
    FAILS(reel_init_kaiming_normal(NULL, NULL));
    FAILS(reel_init_kaiming_normal(line, NULL));
    FAILS(reel_init_xavier_uniform(NULL, 0));
    FAILS(reel_init_xavier_uniform(line, 0));
    FAILS(reel_init_xavier_normal(NULL, 0));
    FAILS(reel_init_xavier_normal(line, 0));
    FAILS(reel_init_orthogonal(NULL, 0));
    FAILS(reel_init_orthogonal(line, 0));
}

/* ---- optim.h ------------------------------------------------------------------------- */

static void test_optimizers(void **state)
{
    (void)state;
    reel_module *net = reel_nn_linear(3, 2, NULL);
    reel_params all = reel_parameters(net), lost = {NULL, NULL, 2};
    reel_optim *sgd = reel_sgd(all, NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    FAILS(reel_sgd(lost, NULL));
    FAILS(reel_sgd(all, &(reel_sgd_opts){.lr = NAN}));
    FAILS(reel_sgd(all, &(reel_sgd_opts){.nesterov = true}));
    FAILS(reel_sgd_add(NULL, all, NULL));
    FAILS(reel_sgd_add(sgd, all, NULL));
    FAILS(reel_adam(lost, NULL));
    FAILS(reel_adam(all, &(reel_adam_opts){.beta1 = 1}));
    FAILS(reel_adamw(all, &(reel_adam_opts){.lr = -1}));
    FAILS(reel_adam_add(NULL, all, NULL));
    FAILS(reel_adam_add(sgd, (reel_params){0}, NULL));
    FAILS(reel_optim_step(NULL));
    TAKES(reel_optim_zero_grad(NULL));
    GIVES(reel_optim_groups(NULL), 0);
    FAILS(reel_optim_lr(NULL, 0));
    FAILS(reel_optim_lr(sgd, 7));
    FAILS(reel_optim_set_lr(NULL, 0, 1));
    FAILS(reel_optim_set_lr(sgd, 7, 1));
    FAILS(reel_optim_set_lr(sgd, 0, -1));
    FAILS(reel_optim_state(NULL, map));
    FAILS(reel_optim_state(sgd, NULL));
    FAILS(reel_optim_load_state(NULL, map));
    FAILS(reel_optim_load_state(sgd, NULL));
    FAILS(reel_optim_load_state(sgd, map));
    TAKES(reel_optim_free(NULL));
    FAILS(reel_clip_grad_norm(lost, 1));
    FAILS(reel_clip_grad_norm(all, -1));
    FAILS(reel_clip_grad_value(lost, 1));
    FAILS(reel_clip_grad_value(all, NAN));
    reel_tensor_map_free(map);
    reel_optim_free(sgd);
    reel_module_free(net);
}

static void test_schedules(void **state)
{
    (void)state;
    reel_module *net = reel_nn_linear(3, 2, NULL);
    reel_optim *sgd = reel_sgd(reel_parameters(net), NULL);
    reel_tensor_map *map = reel_tensor_map_new();
    FAILS(reel_schedule_constant(NULL));
    FAILS(reel_schedule_step_decay(NULL, 1, 0.1));
    FAILS(reel_schedule_step_decay(sgd, 0, 0.1));
    FAILS(reel_schedule_multistep(NULL, (int64_t[]){1}, 1, 0.1));
    FAILS(reel_schedule_multistep(sgd, NULL, 3, 0.1));
    FAILS(reel_schedule_multistep(sgd, (int64_t[]){5, 2}, 2, 0.1));
    FAILS(reel_schedule_cosine(NULL, 10, 0));
    FAILS(reel_schedule_cosine(sgd, 0, 0));
    FAILS(reel_schedule_linear(NULL, 0.1, 1, 10));
    FAILS(reel_schedule_linear(sgd, 0.1, 1, -1));
    FAILS(reel_schedule_one_cycle(NULL, 1, 10, NULL));
    FAILS(reel_schedule_one_cycle(sgd, -1, 10, NULL));
    FAILS(reel_schedule_warmup(NULL, 10, 0.1));
    FAILS(reel_schedule_warmup(reel_schedule_constant(sgd), -1, 0.1));
    reel_schedule *s = reel_schedule_constant(sgd);
    FAILS(reel_schedule_step(NULL));
    GIVES(reel_schedule_count(NULL), -1);
    FAILS(reel_schedule_at(NULL, 0, 0));
    FAILS(reel_schedule_at(s, 9, 0));
    FAILS(reel_schedule_at(s, 0, -1));
    FAILS(reel_schedule_state(NULL, map));
    FAILS(reel_schedule_state(s, NULL));
    FAILS(reel_schedule_load_state(NULL, map));
    FAILS(reel_schedule_load_state(s, map));
    TAKES(reel_schedule_free(NULL));
    FAILS(reel_ema_new(NULL, 0.9, NULL));
    FAILS(reel_ema_new(net, 1, NULL));
    FAILS(reel_ema_update(NULL));
    FAILS(reel_ema_swap(NULL));
    FAILS(reel_ema_state(NULL, map));
    FAILS(reel_ema_load_state(NULL, map));
    TAKES(reel_ema_free(NULL));
    reel_schedule_free(s);
    reel_tensor_map_free(map);
    reel_optim_free(sgd);
    reel_module_free(net);
}

/* ---- data.h -------------------------------------------------------------------------- */

static void test_data(void **state)
{
    (void)state;
    reel_sample s = {0};
    reel_dataset *ds = reel_drawn_images(10, 1, REEL_TRAIN);
    reel_tensor *x = reel_ones(REEL_SHAPE(3, 2), REEL_F32);
    FAILS(reel_sample_out(NULL, REEL_F32, REEL_SHAPE(2)));
    FAILS(reel_sample_out(&s, REEL_I64, REEL_SHAPE(2)));
    FAILS(reel_sample_out(&s, REEL_F32, REEL_SHAPE(-2)));
    TAKES(reel_sample_free(NULL));
    GIVES(reel_dataset_length(NULL), -1);
    FAILS(reel_dataset_get(NULL, 0, &s));
    FAILS(reel_dataset_get(ds, 0, NULL));
    FAILS(reel_dataset_get(ds, -1, &s));
    FAILS(reel_dataset_get(ds, 10, &s));
    GIVES(reel_dataset_shape(NULL).rank, 0);
    GIVES(reel_dataset_classes(NULL), 0);
    assert_string_equal(reel_dataset_class_name(NULL, 0), "?");
    assert_string_equal(reel_dataset_class_name(ds, -1), "?");
    GIVES(reel_dataset_skipped(NULL), 0);
    GIVES(reel_dataset_keep(NULL), NULL);
    TAKES(reel_dataset_free(NULL));
    FAILS(reel_cifar10(NULL, REEL_TRAIN));
    FAILS(reel_cifar10("no such folder", REEL_TRAIN));
    FAILS(reel_cifar10(".", (reel_part)9));
    FAILS(reel_image_folder(NULL, NULL));
    FAILS(reel_image_folder("no such folder", NULL));
    FAILS(reel_image_folder(".", &(reel_image_opts){.channels = 2}));
    FAILS(reel_arrays(NULL, x));
    FAILS(reel_arrays(x, NULL));
    FAILS(reel_arrays(x, x));
    FAILS(reel_drawn_images(0, 1, REEL_TRAIN));
    FAILS(reel_drawn_images(10, 1, (reel_part)9));
    FAILS(reel_open_data(NULL, REEL_TRAIN, NULL));
    FAILS(reel_open_data("no such folder", REEL_TRAIN, NULL));
    FAILS(reel_dataset_new(NULL, NULL));
    FAILS(reel_dataset_new(&(reel_dataset_fns){0}, NULL));
    reel_sample_free(&s);
    reel_dataset_free(ds);
}

static void test_transforms(void **state)
{
    (void)state;
    const float one[] = {1}, zero[] = {0};
    reel_sample s = {0};
    reel_draw d = reel_draw_new(1, 2, 3);
    (void)reel_draw_u32(&d);
    (void)reel_draw_f32(&d);
    GIVES(reel_draw_below(&d, 0), 0);
    FAILS(reel_random_crop(0, 4));
    FAILS(reel_random_crop(8, -1));
    FAILS(reel_random_hflip(-1));
    FAILS(reel_random_hflip(NAN));
    FAILS(reel_normalize(NULL, one, 1));
    FAILS(reel_normalize(one, NULL, 1));
    FAILS(reel_normalize(one, zero, 1));
    FAILS(reel_normalize(one, one, 0));
    FAILS(reel_cutout(-1));
    FAILS(reel_resize(0, 8));
    FAILS(reel_compose_n(NULL, 2));
    FAILS(reel_compose_n((reel_transform *[]){NULL, reel_random_hflip(0)}, 2));
    FAILS(reel_transform_new(NULL, NULL, NULL));
    reel_transform *crop = reel_random_crop(8, 0);
    FAILS(reel_transform_apply(NULL, &s, &d));
    FAILS(reel_transform_apply(crop, NULL, &d));
    FAILS(reel_transform_apply(crop, &s, NULL));
    FAILS(reel_transform_apply(crop, &s, &d)); /* an empty sample */
    GIVES(reel_transform_keep(NULL), NULL);
    TAKES(reel_transform_free(NULL));
    reel_transform_free(crop);
}

static void test_loaders(void **state)
{
    (void)state;
    reel_batch b;
    reel_dataset *ds = reel_drawn_images(10, 1, REEL_TRAIN);
    reel_loader *l = reel_loader_new(ds, NULL);
    FAILS(reel_loader_new(NULL, NULL));
    FAILS(reel_loader_new(ds, &(reel_loader_opts){.batch = -1}));
    FAILS(reel_loader_new(ds, &(reel_loader_opts){.workers = 1000}));
    FAILS(reel_loader_next(NULL, &b));
    FAILS(reel_loader_next(l, NULL));
    GIVES(reel_loader_batches(NULL), -1);
    GIVES(reel_loader_get_state(NULL).epoch, 0);
    FAILS(reel_loader_set_state(NULL, (reel_loader_state){0}));
    FAILS(reel_loader_set_state(l, (reel_loader_state){.epoch = -1}));
    TAKES(reel_loader_free(NULL));
    reel_loader_free(l);
    reel_dataset_free(ds);
}

/* ---- io.h, training.h ---------------------------------------------------------------- */

static void test_files(void **state)
{
    (void)state;
    const uint8_t pixel[4] = {0};
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32);
    reel_tensor_map *map = reel_tensor_map_new();
    FAILS(reel_tensor_map_set(NULL, "a", x));
    FAILS(reel_tensor_map_set(map, NULL, x));
    FAILS(reel_tensor_map_set(map, "a", NULL));
    GIVES(reel_tensor_map_get(NULL, "a"), NULL);
    GIVES(reel_tensor_map_get(map, NULL), NULL);
    GIVES(reel_tensor_map_count(NULL), 0);
    GIVES(reel_tensor_map_name(NULL, 0), NULL);
    GIVES(reel_tensor_map_name(map, -1), NULL);
    GIVES(reel_tensor_map_at(NULL, 0), NULL);
    GIVES(reel_tensor_map_at(map, INT64_MAX), NULL);
    FAILS(reel_tensor_map_set_text(NULL, "a", "b"));
    FAILS(reel_tensor_map_set_text(map, NULL, "b"));
    FAILS(reel_tensor_map_set_text(map, "a", NULL));
    GIVES(reel_tensor_map_text(NULL, "a"), NULL);
    GIVES(reel_tensor_map_text(map, NULL), NULL);
    GIVES(reel_tensor_map_text_count(NULL), 0);
    GIVES(reel_tensor_map_text_key(NULL, 0), NULL);
    GIVES(reel_tensor_map_text_key(map, 3), NULL);
    TAKES(reel_tensor_map_free(NULL));
    FAILS(reel_safetensors_save(NULL, map));
    FAILS(reel_safetensors_save("x", NULL));
    FAILS(reel_safetensors_save("no such folder/x", map));
    FAILS(reel_safetensors_open(NULL));
    FAILS(reel_safetensors_open("."));
    GIVES(reel_safetensors_count(NULL), 0);
    GIVES(reel_safetensors_name(NULL, 0), NULL);
    GIVES(reel_safetensors_shape(NULL, 0).rank, 0);
    FAILS(reel_safetensors_get(NULL, "a"));
    GIVES(reel_safetensors_text(NULL, "a"), NULL);
    TAKES(reel_safetensors_close(NULL));
    FAILS(reel_safetensors_load(NULL));
    FAILS(reel_safetensors_load("no such file"));
    FAILS(reel_checkpoint_save(NULL, map));
    FAILS(reel_checkpoint_save("x", NULL));
    FAILS(reel_checkpoint_load(NULL));
    FAILS(reel_checkpoint_load("no such file"));
    FAILS(reel_npy_load(NULL));
    FAILS(reel_npy_load("."));
    FAILS(reel_npy_save(NULL, x));
    FAILS(reel_npy_save("x", NULL));
    FAILS(reel_png_save(NULL, pixel, 1, 1, 1));
    FAILS(reel_png_save("x", NULL, 1, 1, 1));
    FAILS(reel_png_save("x", pixel, 0, 1, 1));
    FAILS(reel_png_save("x", pixel, 1, 1, 5));
    FAILS(reel_training_save(NULL, &(reel_training){0}));
    FAILS(reel_training_save("x", NULL));
    FAILS(reel_training_load(NULL, &(reel_training){0}));
    FAILS(reel_training_load("x", NULL));
    FAILS(reel_training_load("no such file", &(reel_training){0}));
    reel_tensor_map_free(map);
}

/* ---- profile.h, progress.h ----------------------------------------------------------- */

static void test_counting(void **state)
{
    (void)state;
    FAILS(reel_cost_end(&(reel_cost){0}));
    GIVES(reel_cost_begin(), REEL_OK);
    FAILS(reel_cost_begin());
    GIVES(reel_cost_end(NULL), REEL_OK);
    FAILS(reel_progress_begin(stderr, -1, NULL));
    GIVES(reel_progress_begin(NULL, 3, NULL), NULL);
    TAKES(reel_progress_step(NULL, 1, NULL));
    TAKES(reel_progress_end(NULL));
}

static void test_every_function_is_here(void **state)
{
    (void)state;
    static const char *const headers[] = {"nn.h",       "optim.h",   "data.h",    "io.h",
                                          "training.h", "profile.h", "progress.h"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        check_every_function(REEL_SOURCE_DIR, headers[i], "test_misuse_modules.c");
}

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return 0;
}

/* What refused has left nothing behind. */
static int nothing_lives(void **state)
{
    clean(state);
    return reel_live_objects() != 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_lives)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_modules),
        TEST(test_state),
        TEST(test_layers),
        TEST(test_layers_run),
        TEST(test_initializers),
        TEST(test_optimizers),
        TEST(test_schedules),
        TEST(test_data),
        TEST(test_transforms),
        TEST(test_loaders),
        TEST(test_files),
        TEST(test_counting),
        TEST(test_every_function_is_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
