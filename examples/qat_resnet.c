/* qat_resnet: an image classifier in eight bits, from training to a file.
 *
 *     qat_resnet                                 ResNet-20 on drawn shapes and textures
 *     qat_resnet --data DIR --weights FILE       a model that resnet_cifar trained
 *     qat_resnet --help                          everything else
 *
 * Read it from run() near the end: floats, quantized after training by each way of finding
 * ranges, trained on while quantized, written as files; one line of a table each. */
#include <reel/reel.h>
#include <stdlib.h>
#include <string.h>

#include "qat_resnet/options.h"

typedef struct session {
    const options *o;
    reel_quantize_target target;
    reel_dataset *train, *test;
    reel_loader *train_loader, *calibration, *test_loader;
    reel_module *net;
    int64_t n_test, *float_guess, *guess; /* [n_test] classes */
} session;

/* ---- data and model --------------------------------------------------------------------------- */

static reel_dataset *open_part(const options *o, reel_part part)
{
    if (o->data) return reel_open_data(o->data, part, NULL);
    return reel_drawn_images(part == REEL_TRAIN ? o->samples : o->samples / 10, 1, part);
}

static reel_loader *loader(const session *s, reel_dataset *ds, bool shuffle, bool augment)
{
    static const float mean[] = {0.4914f, 0.4822f, 0.4465f};
    static const float std[] = {0.2470f, 0.2435f, 0.2616f};
    static const float mid[] = {0.5f, 0.5f, 0.5f}, quarter[] = {0.25f, 0.25f, 0.25f};
    const bool real = s->o->data;
    reel_transform *all =
        reel_transform_normalize(real ? mean : mid, real ? std : quarter, 3);
    if (augment)
        all = reel_transform_compose(reel_transform_random_crop(32, 4),
                                     reel_transform_random_hflip(0.5f), all);
    return reel_loader_new(ds, &(reel_loader_opts){.batch = s->o->batch,
                                                   .shuffle = shuffle,
                                                   .drop_last = shuffle,
                                                   .workers = 1,
                                                   .seed = (uint64_t)s->o->seed,
                                                   .transform = all});
}

static reel_module *make_model(const char *name, int64_t classes)
{
    const reel_resnet_opts resnet = {.classes = classes, .cifar_stem = true};
    const reel_mobilenet_opts mobile = {.classes = classes, .cifar_stem = true};
    if (strcmp(name, "resnet20") == 0) return reel_resnet20(&resnet);
    if (strcmp(name, "resnet18") == 0) return reel_resnet18(&resnet);
    if (strcmp(name, "mobilenet_v2") == 0) return reel_mobilenet_v2(&mobile);
    reel_fail(REEL_ERR_ARG, "--model %s: resnet20, resnet18 and mobilenet_v2 are there",
              name);
    return NULL;
}

static reel_status session_open(session *s, const options *o, reel_quantize_target target)
{
    *s = (session){.o = o, .target = target};
    reel_seed((uint64_t)o->seed);
    if (!(s->train = open_part(o, REEL_TRAIN)) || !(s->test = open_part(o, REEL_TEST)) ||
        !(s->train_loader = loader(s, s->train, true, true)) ||
        !(s->calibration = loader(s, s->train, true, false)) ||
        !(s->test_loader = loader(s, s->test, false, false)))
        return reel_error_status();
    s->n_test = reel_dataset_length(s->test);
    s->guess = calloc(2 * (size_t)s->n_test, sizeof *s->guess);
    if (!s->guess) return reel_fail(REEL_ERR_MEMORY, "out of memory");
    s->float_guess = s->guess + s->n_test;
    s->net = make_model(o->model, reel_dataset_classes(s->train));
    return reel_error_status();
}

static void session_close(session *s)
{
    reel_module_free(s->net);
    free(s->guess);
    reel_loader_free(s->train_loader);
    reel_loader_free(s->calibration);
    reel_loader_free(s->test_loader);
    reel_dataset_free(s->train);
    reel_dataset_free(s->test);
}

/* ---- training: the same loop for floats and for what is quantized --------------------------------- */

static reel_status train_epoch(session *s, reel_module *net, reel_optim *optim,
                               reel_schedule *schedule, const char *label)
{
    double loss_sum = 0, seen = 0;
    reel_progress *bar = reel_progress_new(stderr, reel_loader_batches(s->train_loader),
                                           &(reel_progress_opts){.label = label});
    for (reel_batch b = reel_loader_begin(s->train_loader);
         reel_loader_next(s->train_loader, &b);) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *loss = reel_cross_entropy(reel_forward(net, b.x), b.y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(optim);
        reel_optim_zero_grad(optim);
        reel_schedule_step(schedule);
        loss_sum += reel_item(loss) * (double)b.size;
        seen += (double)b.size;
        reel_scope_end(scope);
        if (reel_failed()) break;
        reel_progress_update(bar, 1, "loss %.4f", loss_sum / seen);
    }
    reel_progress_free(bar);
    return reel_error_status();
}

/* `quantized`: the learning rate only falls, and ranges stay as they are in the second half. */
static reel_status train(session *s, reel_module *net, int64_t epochs, bool quantized)
{
    const options *o = s->o;
    const int64_t steps = epochs * reel_loader_batches(s->train_loader);
    const double lr = quantized ? o->qat_lr : o->lr;
    reel_optim *optim =
        reel_sgd(reel_parameters(net),
                 &(reel_sgd_opts){
                     .lr = lr, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
    reel_schedule *schedule = quantized ? reel_schedule_cosine(optim, steps, 0)
                                        : reel_schedule_one_cycle(optim, steps, lr, NULL);
    reel_train(net, true);
    for (int64_t e = 0; e < epochs && !reel_failed(); e++) {
        char label[64];
        snprintf(label, sizeof label, "%s epoch %lld/%lld", quantized ? "QAT" : "float",
                 (long long)e + 1, (long long)epochs);
        if (quantized && e >= (epochs + 1) / 2)
            (void)reel_quantize_freeze_observers(net, true);
        (void)train_epoch(s, net, optim, schedule, label);
    }
    reel_train(net, false);
    reel_schedule_free(schedule);
    reel_optim_free(optim);
    return reel_error_status();
}

/* ---- testing ---------------------------------------------------------------------------------------- */

/* What `g`, optimized and planned, says of the test images; the share that is right. */
static double test(session *s, const reel_graph *g, int64_t *guess)
{
    int64_t seen = 0, right = 0;
    reel_graph *fast = reel_graph_copy(g);
    (void)reel_graph_optimize(fast, NULL);
    reel_executor *e = reel_executor_new(fast, NULL);
    for (reel_batch b = reel_loader_begin(s->test_loader);
         e && reel_loader_next(s->test_loader, &b);) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *y = NULL;
        (void)reel_executor_run(e, &b.x, 1, &y, 1);
        (void)reel_read(reel_argmax(y, 1, false), guess + seen, REEL_I64);
        const int64_t *label = reel_data(b.y);
        for (int64_t i = 0; i < b.size && label; i++)
            right += guess[seen + i] == label[i];
        seen += b.size;
        reel_scope_end(scope);
        if (reel_failed()) break;
    }
    reel_executor_free(e);
    reel_graph_free(fast);
    return seen ? (double)right / (double)seen : 0;
}

static void print_row(const session *s, const char *what, double accuracy)
{
    int64_t same = 0;
    for (int64_t i = 0; i < s->n_test; i++) same += s->guess[i] == s->float_guess[i];
    if (reel_failed()) return;
    printf("%-28s %8.2f %%   %8.2f %%\n", what, 100 * accuracy,
           100 * (double)same / (double)s->n_test);
    fflush(stdout);
}

/* ---- the float model ----------------------------------------------------------------------------------- */

static reel_graph *trace(session *s)
{
    static const char *const in[] = {"images"}, *const out[] = {"logits"};
    reel_train(s->net, false);
    reel_scope scope = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_graph *g =
        reel_trace(s->net, reel_zeros(REEL_SHAPE(2, 3, 32, 32), REEL_F32),
                   &(reel_trace_opts){.input_names = in, .output_names = out});
    (void)reel_set_grad_enabled(was);
    reel_scope_end(scope);
    return g;
}

static reel_graph *float_model(session *s)
{
    if (s->o->weights ? reel_module_load(s->net, s->o->weights, NULL)
                      : train(s, s->net, s->o->epochs, false))
        return NULL;
    reel_graph *g = trace(s);
    if (!g) return NULL;
    printf("%-28s %10s   %10s\n", s->o->model, "accuracy", "as float");
    double accuracy = test(s, g, s->float_guess);
    memcpy(s->guess, s->float_guess, (size_t)s->n_test * sizeof *s->guess);
    print_row(s, "float", accuracy);
    return g;
}

/* ---- prepare ------------------------------------------------------------------------------- */

/* One way to quantize. */
typedef struct way {
    const char *name;
    const reel_observer_kind *ranges; /* of activations; NULL: the default */
    bool equalize, correct;
} way;

static reel_module *prepare(const session *s, const reel_graph *g, const way *w)
{
    const int64_t batches = (s->o->calibrate + s->o->batch - 1) / s->o->batch;
    const reel_calibrate_opts some = {.batches = batches};
    const reel_quantize_opts opts = {
        .target = s->target, .activations = w->ranges, .equalize = w->equalize};
    reel_module *q = reel_quantize_prepare(g, &opts);
    if (q) (void)reel_quantize_calibrate(q, s->calibration, &some);
    if (q && w->correct) (void)reel_quantize_correct_biases(q, s->calibration, &some);
    return q;
}

/* ---- integers ------------------------------------------------------------------------------ */

/* The integers that `q` stands for, tested; written if `path` is not NULL. */
static void finish(session *s, reel_module *q, const char *what, const char *path)
{
    reel_graph *g = q && !reel_failed() ? reel_quantize_convert(q) : NULL;
    double accuracy = g ? test(s, g, s->guess) : 0;
    print_row(s, what, accuracy);
    if (g && path) (void)reel_onnx_export(g, path, NULL);
    reel_graph_free(g);
}

/* ---- every way of finding ranges ------------------------------------------------------------- */

static void after_training(session *s, const reel_graph *g)
{
    const way ways[] = {
        {"PTQ, min-max", reel_observer_min_max(), false, false},
        {"PTQ, moving average", reel_observer_moving_average(), false, false},
        {"PTQ, percentile", reel_observer_percentile(), false, false},
        {"PTQ, entropy", reel_observer_entropy(), false, false},
        {"PTQ, mean square error", reel_observer_mse(), false, false},
        {"  and biases corrected", reel_observer_mse(), false, true},
        {"  and layers equalized", reel_observer_mse(), true, true},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways && !reel_failed(); i++) {
        reel_module *q = prepare(s, g, &ways[i]);
        finish(s, q, ways[i].name, NULL);
        reel_module_free(q);
    }
}

/* ---- training while quantized ---------------------------------------------------------------- */

static void aware_training(session *s, const reel_graph *g, const char *path)
{
    reel_module *q = prepare(s, g, &(way){"QAT", NULL, false, false});
    if (q) (void)train(s, q, s->o->qat_epochs, true);
    finish(s, q, "QAT", path);
    reel_module_free(q);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void run(session *s)
{
    char plain[4096], integers[4096];
    snprintf(plain, sizeof plain, "%s/%s.onnx", s->o->out, s->o->model);
    snprintf(integers, sizeof integers, "%s/%s.int8.onnx", s->o->out, s->o->model);
    reel_graph *g = float_model(s);
    if (g) after_training(s, g);
    if (g && !reel_failed()) aware_training(s, g, integers);
    if (g && !reel_failed()) (void)reel_onnx_export(g, plain, NULL);
    reel_graph_free(g);
    if (!reel_failed()) printf("\n%s in floats, %s in integers\n", plain, integers);
}

int main(int argc, char **argv)
{
    options o;
    int status = options_parse(&o, argc, argv);
    if (status >= 0) return status;
    reel_quantize_target target = REEL_TARGET_ORT;
    while (strcmp(reel_quantize_target_name(target), o.target) != 0)
        if (strcmp(reel_quantize_target_name(target++), "?") == 0) {
            fprintf(stderr, "qat_resnet: --target %s: ort, tensorrt or per_tensor\n",
                    o.target);
            return 2;
        }
    reel_set_threads((int)o.threads);
    session s;
    if (!session_open(&s, &o, target)) run(&s);
    session_close(&s);
    reel_scope_end(0);
    if (!reel_failed()) return 0;
    fprintf(stderr, "qat_resnet: %s\n", reel_error_message());
    return 1;
}
