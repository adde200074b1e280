/* bench_onnx: inference of ONNX files, for bench/onnx_compare.py.
 *
 *     bench_onnx write FOLDER             the models that are compared, as FOLDER/NAME.onnx, and
 *                                         in integers as FOLDER/NAME.int8.onnx
 *     bench_onnx passes                   names of all passes
 *     bench_onnx run FILE SHAPE THREADS [WITHOUT]
 *
 * `run` draws an input of SHAPE ("32x3x224x224", the batch first), loads, optimizes and plans;
 * prints "ready", then answers each line "N" with the seconds of one of N runs and the peak
 * memory in KiB above the size of the process before the file was opened. WITHOUT: passes that
 * do not run, or "all" of them. */
#include <reel/reel.h>

#include <sys/stat.h>

#include "measure.h"

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
    reel_shape shape; /* of a batch of 2 */
} model;

static reel_module *resnet20(void)
{
    return reel_resnet20(&(reel_resnet_opts){.classes = 10, .cifar_stem = true});
}

static reel_module *resnet18_32(void)
{
    return reel_resnet18(&(reel_resnet_opts){.classes = 10, .cifar_stem = true});
}

static reel_module *resnet18_224(void)
{
    return reel_resnet18(&(reel_resnet_opts){.classes = 1000});
}

static reel_module *mobilenet_v2_32(void)
{
    return reel_mobilenet_v2(&(reel_mobilenet_opts){.classes = 10, .cifar_stem = true});
}

static reel_module *mobilenet_v2_224(void)
{
    return reel_mobilenet_v2(NULL);
}

static reel_module *encoder(void)
{
    const reel_nn_encoder_layer_opts opts = {
        .hidden = 1024, .activation = REEL_ACT_GELU, .norm_first = true};
    return reel_nn_encoder_layer(256, 4, &opts);
}

static reel_module *vit(void)
{
    return reel_vit_tiny(NULL);
}

static const model models[] = {
    {"resnet20", resnet20, {4, {2, 3, 32, 32}}},
    {"resnet18_32", resnet18_32, {4, {2, 3, 32, 32}}},
    {"resnet18_224", resnet18_224, {4, {2, 3, 224, 224}}},
    {"mobilenet_v2_32", mobilenet_v2_32, {4, {2, 3, 32, 32}}},
    {"mobilenet_v2_224", mobilenet_v2_224, {4, {2, 3, 224, 224}}},
    {"encoder", encoder, {3, {2, 64, 256}}},
    {"vit", vit, {4, {2, 3, 32, 32}}}};

/* Ranges are those of a batch that is drawn: enough to time it. */
static reel_graph *in_integers(const reel_graph *g, reel_tensor *x)
{
    reel_module *q = reel_quantize_prepare(g, NULL);
    if (!q) return NULL;
    reel_train(q, false);
    (void)reel_quantize_observe(q, true);
    (void)reel_forward(q, x);
    (void)reel_quantize_observe(q, false);
    reel_graph *integers = reel_failed() ? NULL : reel_quantize_convert(q);
    reel_module_free(q);
    return integers;
}

static reel_status write_one(const model *m, const char *folder)
{
    char plain[4096], eight[4096];
    snprintf(plain, sizeof plain, "%s/%s.onnx", folder, m->name);
    snprintf(eight, sizeof eight, "%s/%s.int8.onnx", folder, m->name);
    reel_module *net = m->make();
    reel_train(net, false);
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_randn(m->shape, REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL), *integers = NULL;
    reel_status st = g ? reel_onnx_export(g, plain, NULL) : reel_error_status();
    if (!st) integers = in_integers(g, x);
    st = integers ? reel_onnx_export(integers, eight, NULL) : reel_error_status();
    reel_scope_end(s);
    reel_graph_free(integers);
    reel_graph_free(g);
    reel_module_free(net);
    return st;
}

static int write_all(const char *folder)
{
    (void)mkdir(folder, 0777); /* what is wrong with it, the first file says */
    reel_seed(1);
    reel_set_grad_enabled(false);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (write_one(&models[i], folder)) return fail(models[i].name);
    return 0;
}

/* ---- running -------------------------------------------------------------------------------- */

/* "32x3x224x224"; rank 0 if it is none. */
static reel_shape parse_shape(const char *text)
{
    reel_shape shape = {.rank = 0};
    for (char *end; shape.rank < REEL_MAX_RANK; text = end + 1) {
        int64_t n = strtoll(text, &end, 10);
        if (end == text || n < 1 || (*end && *end != 'x')) break;
        shape.dim[shape.rank++] = n;
        if (!*end) return shape;
    }
    return (reel_shape){.rank = 0};
}

/* Loaded, without those passes optimized, and planned. */
static reel_executor *open_file(const char *path, int64_t batch, const char *without)
{
    reel_graph *g = reel_onnx_load(path, NULL);
    if (g && !(without && strcmp(without, "all") == 0))
        (void)reel_graph_optimize(g, &(reel_optimize_opts){.skip = without});
    reel_executor *e = NULL;
    if (!reel_failed()) e = reel_executor_new(g, &(reel_executor_opts){.batch = batch});
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
            if (reel_executor_run_into(e, &x, 1, &y, 1)) return fail("run");
        printf("%.9f %ld\n", (now() - t) / n, memory_row("VmHWM") - before);
        fflush(stdout);
    }
    return 0;
}

static int run(const char *path, const char *shape_text, const char *threads,
               const char *without)
{
    reel_shape shape = parse_shape(shape_text);
    if (!shape.rank) return fail("a shape is sizes with x between, such as 1x3x32x32");
    if (atoi(threads) < 1) return fail("the number of threads must be 1 or more");
    reel_set_threads(atoi(threads));
    reel_tensor *x = reel_keep(reel_randn(shape, REEL_F32));
    long before = memory_row("VmRSS");
    reset_peak();
    reel_executor *e = x ? open_file(path, shape.dim[0], without) : NULL;
    int status = e ? answer(e, x, before) : fail(path);
    reel_executor_free(e);
    reel_release(x);
    reel_scope_end(0);
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
                    "       bench_onnx run FILE SHAPE THREADS [WITHOUT]\n");
    return 2;
}
