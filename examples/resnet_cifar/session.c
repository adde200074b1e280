/* session.c: data, model, optimizer, schedule from the options. */
#include "session.h"

#include <string.h>

/* ---- data ---------------------------------------------------------------------------------- */

static reel_dataset *open_part(const options *o, reel_part part)
{
    if (o->data) {
        const reel_image_opts images = {.skip_corrupt = o->skip_corrupt};
        return reel_open_data(o->data, part, &images);
    }
    int64_t n = part == REEL_TRAIN ? o->samples : o->samples / 10;
    return reel_drawn_images(n, 1, part); /* the data do not depend on --seed */
}

static reel_loader *make_loader(const session *s, reel_dataset *ds, bool training)
{
    const options *o = s->o;
    reel_shape shape = reel_dataset_shape(ds);
    if (shape.rank == 3 &&
        (shape.dim[0] != 32 || shape.dim[1] != 32 || shape.dim[2] != 3)) {
        reel_fail(REEL_ERR_SHAPE,
                  "images are %lld x %lld with %lld channels; this program "
                  "takes 32 x 32 with 3",
                  (long long)shape.dim[0], (long long)shape.dim[1],
                  (long long)shape.dim[2]);
        return NULL;
    }
    reel_transform *norm = reel_transform_normalize(s->mean, s->std, 3);
    bool augment = training && strcmp(o->augment, "none") != 0;
    bool hole = training && strcmp(o->augment, "cutout") == 0;
    reel_transform *all = norm;
    if (augment)
        all = reel_transform_compose(reel_transform_random_crop(32, 4),
                                     reel_transform_random_hflip(0.5f), norm,
                                     hole ? reel_transform_cutout(8) : NULL);
    return reel_loader_new(ds, &(reel_loader_opts){.batch = o->batch,
                                                   .shuffle = training,
                                                   .drop_last = training,
                                                   .workers = (int)o->workers,
                                                   .seed = (uint64_t)o->seed,
                                                   .transform = all});
}

/* ---- model ----------------------------------------------------------------------------------- */

static reel_module *make_model(const char *name, int64_t classes)
{
    const reel_resnet_opts resnet = {.classes = classes, .cifar_stem = true};
    if (strcmp(name, "resnet20") == 0) return reel_resnet20(&resnet);
    if (strcmp(name, "resnet32") == 0) return reel_resnet32(&resnet);
    if (strcmp(name, "resnet56") == 0) return reel_resnet56(&resnet);
    if (strcmp(name, "resnet18") == 0) return reel_resnet18(&resnet);
    if (strcmp(name, "mobilenet_v2") == 0)
        return reel_mobilenet_v2(
            &(reel_mobilenet_opts){.classes = classes, .cifar_stem = true});
    if (strcmp(name, "vit-tiny") == 0)
        return reel_vit_tiny(
            &(reel_vit_opts){.classes = classes, .dim = 128, .heads = 4});
    return reel_mlp(3 * 32 * 32, classes, &(reel_mlp_opts){.hidden = {512, 256}});
}

static reel_status make_optim(session *s)
{
    const options *o = s->o;
    const double lr = o->lr != 0 ? o->lr : REEL_ZERO; /* --lr 0 means 0 */
    const reel_adam_opts adamw = {.lr = lr, .weight_decay = o->weight_decay};
    const reel_sgd_opts sgd = {
        .lr = lr, .momentum = 0.9, .weight_decay = o->weight_decay, .nesterov = true};
    reel_params params = reel_parameters(s->net);
    s->optim = o->adamw ? reel_adamw(params, &adamw) : reel_sgd(params, &sgd);
    if (!s->optim) return reel_error_status();
    int64_t steps = o->epochs * s->steps_per_epoch;
    if (strcmp(o->schedule, "onecycle") == 0)
        s->schedule = reel_schedule_one_cycle(s->optim, steps, o->lr, NULL);
    else if (strcmp(o->schedule, "cosine") == 0)
        s->schedule = reel_schedule_cosine(s->optim, steps, 0);
    else if (strcmp(o->schedule, "step") == 0)
        s->schedule = reel_schedule_multistep(
            s->optim, (int64_t[]){steps / 2, steps * 3 / 4}, 2, 0.1);
    else
        s->schedule = reel_schedule_constant(s->optim);
    return s->schedule ? REEL_OK : reel_error_status();
}

reel_status session_step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                         int n_y)
{
    session *s = user;
    const reel_cross_entropy_opts opts = {.label_smoothing = s->o->label_smoothing};
    (void)n_x, (void)n_y;
    y[1] = reel_forward(s->net, x[0]);
    y[0] = reel_cross_entropy(y[1], x[1], &opts);
    reel_backward(y[0], NULL);
    reel_optim_step(s->optim);
    reel_optim_zero_grad(s->optim);
    return reel_error_status();
}

reel_status session_open(session *s, const options *o)
{
    static const float cifar_mean[] = {0.4914f, 0.4822f, 0.4465f};
    static const float cifar_std[] = {0.2470f, 0.2435f, 0.2616f};
    static const float mid[] = {0.5f, 0.5f, 0.5f}, quarter[] = {0.25f, 0.25f, 0.25f};
    *s = (session){
        .o = o, .mean = o->data ? cifar_mean : mid, .std = o->data ? cifar_std : quarter};
    reel_seed((uint64_t)o->seed);
    if (!(s->train = open_part(o, REEL_TRAIN)) || !(s->test = open_part(o, REEL_TEST)) ||
        !(s->train_loader = make_loader(s, s->train, true)) ||
        !(s->test_loader = make_loader(s, s->test, false)))
        return reel_error_status();
    s->steps_per_epoch = reel_loader_batches(s->train_loader);
    if (s->steps_per_epoch < 1)
        return reel_fail(REEL_ERR_ARG, "%lld images do not fill one batch of %lld",
                         (long long)reel_dataset_length(s->train), (long long)o->batch);
    s->net = make_model(o->model, reel_dataset_classes(s->train));
    if (!s->net || (o->init && reel_module_load(s->net, o->init, NULL)) || make_optim(s))
        return reel_error_status();
    if (o->ema &&
        !(s->ema = reel_ema_new(s->net, 0.999, &(reel_ema_opts){.warmup = true})))
        return reel_error_status();
    if (o->traced && !(s->step = reel_compile(session_step, s,
                                              &(reel_compile_opts){.module = s->net})))
        return reel_error_status();
    return REEL_OK;
}

void session_close(session *s)
{
    reel_compiled_free(s->step);
    reel_ema_free(s->ema);
    reel_schedule_free(s->schedule);
    reel_optim_free(s->optim);
    reel_module_free(s->net);
    reel_loader_free(s->train_loader);
    reel_loader_free(s->test_loader);
    reel_dataset_free(s->train);
    reel_dataset_free(s->test);
}
