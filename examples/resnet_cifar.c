/* resnet_cifar: trains an image classifier on CIFAR-10, on folders of images, or on drawn
 * data, and shows how good it became.
 *
 *     resnet_cifar                               ResNet-20 on drawn shapes and textures
 *     resnet_cifar --data cifar-10-batches-bin   on CIFAR-10
 *     resnet_cifar --help                        everything else
 *
 * Read it from main() at the end. The folder beside this file holds the rest: options.c (the
 * command line), session.c (data, model, optimizer from the options), resume.c (checkpoints),
 * csv.c (logs), report.c (pictures), export.c (the ONNX file). */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "resnet_cifar/export.h"
#include "resnet_cifar/resume.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    static const char text[] = "\nending after this step; once more stops at once\n";
    (void)signal_number;
    interrupted = 1;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- training ------------------------------------------------------------------------------- */

/* How many rows of logits have their largest value at the label. */
static double count_correct(reel_tensor *logits, reel_tensor *y)
{
    reel_tensor *hit = reel_eq(reel_argmax(logits, 1, false), y);
    return reel_item(reel_sum(hit, REEL_ALL, false));
}

static reel_status train_step(session *s, const reel_batch *b, progress *p)
{
    reel_scope scope = reel_scope_begin();
    double lr = reel_optim_lr(s->optim, 0);
    reel_tensor *x[] = {b->x, b->y}, *y[2] = {NULL, NULL}; /* y: loss, logits */
    if (s->step)
        (void)reel_compiled_run(s->step, x, 2, y, 2);
    else
        (void)session_step(s, x, 2, y, 2);
    reel_schedule_step(s->schedule);
    if (s->ema) reel_ema_update(s->ema);
    double value = reel_item(y[0]);
    p->loss_sum += value * (double)b->size;
    p->correct += count_correct(y[1], b->y);
    p->seen += (double)b->size;
    reel_scope_end(scope);
    if (!reel_failed() && !isfinite(value))
        reel_fail(REEL_ERR_NUMERIC, "the loss became %g; a lower --lr may help", value);
    csv_row(&p->steps, "%lld,%lld,%.9g,%.17g\n",
            (long long)reel_schedule_count(s->schedule), (long long)b->epoch + 1, lr,
            value);
    return reel_error_status();
}

static reel_status train_epoch(const options *o, session *s, progress *p, int64_t epoch)
{
    char label[48];
    double start = seconds();
    snprintf(label, sizeof label, "epoch %lld/%lld", (long long)epoch + 1,
             (long long)o->epochs);
    reel_loader_state at = reel_loader_get_state(s->train_loader);
    reel_progress *bar = reel_progress_new(
        stderr, s->steps_per_epoch,
        &(reel_progress_opts){.label = label, .start = at.position / o->batch});
    reel_train(s->net, true);
    for (reel_batch b = reel_loader_begin(s->train_loader);
         !interrupted && reel_loader_next(s->train_loader, &b);) {
        if (train_step(s, &b, p)) break;
        reel_progress_update(bar, 1, "loss %.4f  accuracy %.2f %%", p->loss_sum / p->seen,
                             100 * p->correct / p->seen);
        int64_t done = reel_schedule_count(s->schedule);
        if (o->checkpoint_every && done % o->checkpoint_every == 0 &&
            b.index + 1 < s->steps_per_epoch && save_checkpoint(o, s, p, epoch))
            break;
    }
    reel_progress_free(bar);
    p->seconds += seconds() - start;
    return reel_error_status();
}

/* ---- testing ---------------------------------------------------------------------------------- */

static reel_status predict(const reel_batch *b, reel_tensor *logits, prediction *out)
{
    reel_tensor *p = reel_softmax(logits, 1);
    reel_tensor *guess = reel_argmax(p, 1, true);
    reel_tensor *sure = reel_contiguous(reel_gather(p, 1, guess));
    const int64_t *g = reel_data(guess), *y = reel_data(b->y);
    const float *c = reel_data(sure);
    for (int64_t i = 0; g && y && c && i < b->size; i++)
        out[i] = (prediction){b->samples[i], y[i], g[i], c[i]};
    return reel_error_status();
}

/* Loss and accuracy on the test data; fills `all`, one entry an image. */
static reel_status test(session *s, prediction *all, double *loss, double *accuracy)
{
    double loss_sum = 0, correct = 0;
    int64_t seen = 0;
    if (s->ema && reel_ema_swap(s->ema)) return reel_error_status();
    reel_train(s->net, false);
    bool was = reel_set_grad_enabled(false);
    for (reel_batch b = reel_loader_begin(s->test_loader);
         reel_loader_next(s->test_loader, &b);) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *logits = reel_forward(s->net, b.x);
        loss_sum += reel_item(reel_cross_entropy(logits, b.y, NULL)) * (double)b.size;
        reel_status st = predict(&b, logits, all + seen);
        reel_scope_end(scope);
        if (st) break;
        for (int64_t i = 0; i < b.size; i++)
            correct += all[seen + i].guess == all[seen + i].label;
        seen += b.size;
    }
    (void)reel_set_grad_enabled(was);
    if (s->ema && !reel_failed()) reel_ema_swap(s->ema);
    *loss = seen ? loss_sum / (double)seen : 0;
    *accuracy = seen ? correct / (double)seen : 0;
    return reel_error_status();
}

/* ---- the run ------------------------------------------------------------------------------------ */

static reel_status close_epoch(const options *o, session *s, progress *p, int64_t epoch,
                               prediction *all)
{
    epoch_row *r = &p->row[p->rows];
    *r = (epoch_row){.lr = reel_optim_lr(s->optim, 0),
                     .train_loss = p->loss_sum / p->seen,
                     .train_accuracy = p->correct / p->seen,
                     .seconds = p->seconds};
    if (test(s, all, &r->test_loss, &r->test_accuracy)) return reel_error_status();
    p->rows++;
    printf(
        "epoch %lld/%lld  training loss %.4f accuracy %.2f %%  test loss %.4f accuracy "
        "%.2f %%  %.1f s\n",
        (long long)epoch + 1, (long long)o->epochs, r->train_loss,
        100 * r->train_accuracy, r->test_loss, 100 * r->test_accuracy, r->seconds);
    fflush(stdout);
    csv_row(&p->log, "%lld,%.9g,%.17g,%.9g,%.17g,%.9g,%.3f\n", (long long)epoch + 1,
            r->lr, r->train_loss, r->train_accuracy, r->test_loss, r->test_accuracy,
            r->seconds);
    if (csv_flush(&p->log)) return reel_error_status();
    p->loss_sum = p->correct = p->seen = p->seconds = 0;
    return save_checkpoint(o, s, p, epoch + 1);
}

static reel_status train(const options *o, session *s, progress *p, int64_t epoch,
                         prediction *all)
{
    for (; epoch < o->epochs && !reel_failed(); epoch++) {
        if (train_epoch(o, s, p, epoch)) break;
        if (interrupted) {
            save_checkpoint(o, s, p, epoch);
            break;
        }
        close_epoch(o, s, p, epoch, all);
    }
    return reel_error_status();
}

/* At the start: nobody wants to hear after an hour of training that there is no place for what
 * came out. */
static reel_status check_places(const options *o)
{
    if (mkdir(o->out, 0777) && errno != EEXIST)
        return reel_fail(REEL_ERR_IO, "cannot make folder %s: %s", o->out,
                         strerror(errno));
    char folder[4096];
    const char *slash = strrchr(o->checkpoint, '/');
    if (!slash) return REEL_OK;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - o->checkpoint + 1),
             o->checkpoint);
    if (access(folder, W_OK) == 0) return REEL_OK;
    return reel_fail(REEL_ERR_IO, "cannot write %s: %s", o->checkpoint, strerror(errno));
}

static void say_traced(const reel_compiled *step)
{
    const reel_graph *g = reel_compiled_graph(step);
    reel_plan_memory m;
    if (!g || reel_executor_memory(reel_compiled_executor(step), &m)) return;
    printf(
        "the step is a graph of %d nodes; its values take %.1f MiB in a plan, %.1f MiB "
        "side by side\n",
        reel_graph_nodes(g), (double)m.arena / 1048576, (double)m.values / 1048576);
}

static reel_status show(const options *o, session *s, const progress *p, prediction *all)
{
    char path[4096], title[128];
    int64_t n = reel_dataset_length(s->test);
    double loss, accuracy;
    say_traced(s->step);
    if (test(s, all, &loss, &accuracy)) return reel_error_status();
    report_classes(stdout, s->test, all, n);
    snprintf(path, sizeof path, "%s/mistakes.png", o->out);
    if (report_mistakes(stdout, path, s->test, all, n)) return reel_error_status();
    snprintf(path, sizeof path, "%s/curves.svg", o->out);
    snprintf(title, sizeof title, "%s on %s images", o->model,
             o->data ? "real" : "drawn");
    if (report_curves(path, title, p->row, p->rows)) return reel_error_status();
    snprintf(path, sizeof path, "%s/%s.safetensors", o->out, o->model);
    if (reel_module_save(s->net, path)) return reel_error_status();
    printf(
        "\ntest accuracy %.2f %%, loss %.4f; weights, curves and mistakes are in %s/\n",
        100 * accuracy, loss, o->out);
    return export_model(s, accuracy);
}

static void introduce(const options *o, const session *s)
{
    printf(
        "%s, %lld parameters; %lld training and %lld test images of %lld classes%s; %d "
        "threads, %s\n",
        o->model, (long long)reel_param_count(s->net),
        (long long)reel_dataset_length(s->train), (long long)reel_dataset_length(s->test),
        (long long)reel_dataset_classes(s->train), o->data ? "" : " (drawn)",
        reel_threads(), reel_cpu_isa());
    int64_t skipped = reel_dataset_skipped(s->train) + reel_dataset_skipped(s->test);
    if (skipped) printf("%lld corrupt images were left out\n", (long long)skipped);
    fflush(stdout);
}

static reel_status run(const options *o, session *s, progress *p, prediction *all)
{
    int64_t epoch = 0;
    if (check_places(o) || resume(o, s, p, &epoch)) return reel_error_status();
    csv_open(&p->log, o->log,
             "epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds",
             p->rows);
    csv_open(&p->steps, o->log_steps, "step,epoch,lr,loss",
             reel_schedule_count(s->schedule));
    if (!reel_failed()) train(o, s, p, epoch, all);
    csv_close(&p->log);
    csv_close(&p->steps);
    if (!reel_failed() && !interrupted) show(o, s, p, all);
    return reel_error_status();
}

static void say(void *user, reel_log_level level, const char *message)
{
    (void)user;
    if (level >= REEL_LOG_WARN) fprintf(stderr, "%s\n", message);
}

int main(int argc, char **argv)
{
    options o;
    int status = options_parse(&o, argc, argv);
    if (status >= 0) return status;
    struct sigaction act = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &act, NULL); /* a second Ctrl-C stops at once */
    sigaction(SIGTERM, &act, NULL);
    reel_set_log(say, NULL);
    reel_set_threads((int)o.threads);

    session s;
    progress p = {.row = calloc((size_t)o.epochs, sizeof *p.row)};
    prediction *all = NULL;
    if (!session_open(&s, &o)) {
        introduce(&o, &s);
        all = calloc((size_t)reel_dataset_length(s.test), sizeof *all);
        if (!all || !p.row)
            reel_fail(REEL_ERR_MEMORY, "out of memory");
        else
            run(&o, &s, &p, all);
    }
    session_close(&s);
    free(all);
    free(p.row);
    reel_scope_end(0);
    if (reel_failed()) {
        fprintf(stderr, "resnet_cifar: %s\n", reel_error_message());
        return 1;
    }
    if (!interrupted) return 0;
    fprintf(stderr, "interrupted; the same command with --resume goes on\n");
    return 130;
}
