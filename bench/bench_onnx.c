/* bench_onnx: inference of ONNX files, for bench/onnx_compare.py.
 *
 *     bench_onnx write FOLDER             the models that are compared, as .onnx files
 *     bench_onnx passes                   names of all passes
 *     bench_onnx run FILE BATCH THREADS [PASSES]
 *
 * `run` loads, optimizes (with all passes, or those named; "-" none) and plans; prints
 * "ready", then answers each line "N" with the seconds of one of N runs and the peak memory in
 * KiB above the size of the process before the file was opened. */
#include <reel/reel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static int fail(const char *what)
{
    fprintf(stderr, "bench_onnx: %s%s%s\n", what, reel_failed() ? ": " : "",
            reel_error_message());
    return 1;
}

/* ---- writing ------------------------------------------------------------------------------ */

typedef struct model {
    const char *name;
    reel_module *(*make)(void);
    reel_shape shape; /* of one row of input */
} model;

static reel_module *resnet20(void)
{
    return reel_resnet20(&(reel_resnet_opts){.classes = 10});
}

static reel_module *resnet18_32(void)
{
    return reel_resnet18(&(reel_resnet_opts){.classes = 10, .cifar_stem = true});
}

static reel_module *resnet18_224(void)
{
    return reel_resnet18(&(reel_resnet_opts){.classes = 1000});
}

static reel_module *encoder(void)
{
    return reel_nn_encoder_layer(256, 4,
                                 &(reel_nn_encoder_layer_opts){.hidden = 1024,
                                                               .activation = REEL_ACT_GELU,
                                                               .norm_first = true});
}

static reel_module *vit(void)
{
    return reel_vit_tiny(NULL);
}

static const model models[] = {{"resnet20", resnet20, {3, {3, 32, 32}}},
                               {"resnet18_32", resnet18_32, {3, {3, 32, 32}}},
                               {"resnet18_224", resnet18_224, {3, {3, 224, 224}}},
                               {"encoder", encoder, {2, {64, 256}}},
                               {"vit", vit, {3, {3, 32, 32}}}};

static reel_status write_one(const model *m, const char *folder)
{
    char path[4096];
    reel_module *net = m->make();
    reel_shape shape = {.rank = m->shape.rank + 1, .dim = {2}};
    memcpy(shape.dim + 1, m->shape.dim, (size_t)m->shape.rank * sizeof *shape.dim);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, m->name);
    reel_train(net, false);
    reel_scope s = reel_scope_begin();
    reel_graph *g = reel_trace(net, reel_randn(shape, REEL_F32), NULL);
    reel_status st = g ? reel_onnx_export(g, path, NULL) : reel_error_status();
    reel_scope_end(s);
    reel_graph_free(g);
    reel_module_free(net);
    return st;
}

static int write_all(const char *folder)
{
    mkdir(folder, 0777);
    reel_seed(1);
    reel_set_grad_enabled(false);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (write_one(&models[i], folder)) return fail(models[i].name);
    return 0;
}

/* ---- running -------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static long memory_row(const char *name)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) kib = atol(line + strlen(name) + 1);
    fclose(f);
    return kib;
}

/* NULL: all passes; "-": none. */
static reel_executor *open_file(const char *path, int64_t batch, const char *passes)
{
    reel_graph *g = reel_onnx_load(path, NULL);
    if (g && !(passes && strcmp(passes, "-") == 0))
        (void)reel_graph_optimize(g, &(reel_optimize_opts){.only = passes});
    reel_executor *e =
        reel_failed() ? NULL : reel_executor_new(g, &(reel_executor_opts){.batch = batch});
    reel_graph_free(g);
    return e;
}

static int answer(reel_executor *e, reel_tensor *x, long before)
{
    char line[64];
    reel_tensor *y = NULL;
    if (reel_executor_run(e, &x, 1, &y, 1)) return fail("run");
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int n = atoi(line);
        if (n < 1) return fail("a line must be a number of runs, 1 or more");
        double t = now();
        for (int i = 0; i < n; i++)
            if (reel_executor_run(e, &x, 1, &y, 1)) return fail("run");
        printf("%.9f %ld\n", (now() - t) / n, memory_row("VmHWM") - before);
        fflush(stdout);
    }
    return 0;
}

static int run(const char *path, const char *batch, const char *threads, const char *passes)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    reel_shape shape = {.rank = 0};
    int64_t n = atoll(batch);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        size_t length = strlen(models[i].name);
        if (strncmp(name, models[i].name, length) || name[length] != '.') continue;
        shape = (reel_shape){.rank = models[i].shape.rank + 1, .dim = {n}};
        memcpy(shape.dim + 1, models[i].shape.dim,
               (size_t)models[i].shape.rank * sizeof *shape.dim);
    }
    if (!shape.rank || n < 1) return fail("no such model, or no batch size");
    reel_set_threads(atoi(threads));
    reel_tensor *x = reel_keep(reel_randn(shape, REEL_F32));
    long before = memory_row("VmRSS");
    reel_executor *e = open_file(path, n, passes);
    int status = e ? answer(e, x, before) : fail(path);
    reel_executor_free(e);
    reel_release(x);
    return status;
}

static int list_passes(void)
{
    for (int i = 0; i < reel_pass_count(); i++) printf("%s\n", reel_pass_name(i));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0) return write_all(argv[2]);
    if (argc == 2 && strcmp(argv[1], "passes") == 0) return list_passes();
    if ((argc == 5 || argc == 6) && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv[3], argv[4], argc == 6 ? argv[5] : NULL);
    fprintf(stderr, "usage: bench_onnx write FOLDER\n"
                    "       bench_onnx passes\n"
                    "       bench_onnx run FILE BATCH THREADS [PASSES]\n");
    return 2;
}
