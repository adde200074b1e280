/* export.c: traces the trained network, optimizes the graph, writes it for others. */
#include "export.h"

#include <stdio.h>
#include <string.h>

enum { IMAGES = 4 };

/* What a user of the file must know, as pairs of key and value. */
typedef struct facts {
    char classes[2048], mean[64], std[64], seed[32], accuracy[32];
    const char *pair[8][2];
    int n;
} facts;

static void add(facts *f, const char *key, const char *value)
{
    f->pair[f->n][0] = key;
    f->pair[f->n++][1] = value;
}

/* "airplane,automobile,..."; false if they have no names, or too long ones. */
static bool list_classes(const reel_dataset *ds, char *text, size_t size)
{
    size_t n = 0;
    for (int64_t k = 0; k < reel_dataset_classes(ds); k++) {
        const char *name = reel_dataset_class_name(ds, k);
        int more = name ? snprintf(text + n, size - n, "%s%s", k ? "," : "", name) : -1;
        if (more < 0 || (size_t)more >= size - n) return false;
        n += (size_t)more;
    }
    return n > 0;
}

static void collect(facts *f, const session *s, double accuracy)
{
    const options *o = s->o;
    const float *m = s->mean, *d = s->std;
    f->n = 0;
    add(f, "reel", reel_version());
    add(f, "model", o->model);
    if (list_classes(s->train, f->classes, sizeof f->classes))
        add(f, "classes", f->classes);
    snprintf(f->mean, sizeof f->mean, "%.4f,%.4f,%.4f", (double)m[0], (double)m[1],
             (double)m[2]);
    add(f, "mean", f->mean);
    snprintf(f->std, sizeof f->std, "%.4f,%.4f,%.4f", (double)d[0], (double)d[1],
             (double)d[2]);
    add(f, "std", f->std);
    snprintf(f->seed, sizeof f->seed, "%lld", (long long)o->seed);
    add(f, "seed", f->seed);
    snprintf(f->accuracy, sizeof f->accuracy, "%.4f", accuracy);
    add(f, "test_accuracy", f->accuracy);
}

/* In eval mode, for any batch size; optimized. The caller frees it. */
static reel_graph *trace(session *s)
{
    static const char *const in[] = {"images"}, *const out[] = {"logits"};
    reel_train(s->net, false);
    bool was = reel_set_grad_enabled(false);
    reel_tensor *like = reel_zeros(REEL_SHAPE(2, 3, 32, 32), REEL_F32);
    reel_graph *g = reel_trace(
        s->net, like, &(reel_trace_opts){.input_names = in, .output_names = out});
    if (g) (void)reel_graph_optimize(g, NULL);
    (void)reel_set_grad_enabled(was);
    return g;
}

static reel_status write_graph(session *s, const char *onnx, const char *html,
                               const facts *f)
{
    const reel_onnx_opts opts = {
        .name = s->o->model,
        .doc = "images: (pixels / 255 - mean) / std, RGB; logits: one for each class",
        .metadata = f->pair,
        .n_metadata = f->n,
        .fn = reel_module_function,
        .user = s->net};
    reel_graph *g = trace(s);
    if (g && !reel_onnx_export(g, onnx, &opts))
        (void)reel_graph_save_html(g, html, &(reel_view_opts){.title = s->o->model});
    reel_graph_free(g);
    return reel_error_status();
}

/* The first of the test data, as the network takes them. */
static reel_status write_images(session *s, const char *path)
{
    reel_batch b;
    if (!reel_loader_next(s->test_loader, &b)) return reel_error_status();
    int64_t n = b.size < IMAGES ? b.size : IMAGES;
    return reel_npy_save(reel_slice(b.x, 0, 0, n, 1), path);
}

reel_status export_model(session *s, double accuracy)
{
    const options *o = s->o;
    char onnx[4096], html[4096], images[4096];
    facts f;
    collect(&f, s, accuracy);
    snprintf(onnx, sizeof onnx, "%s/%s.onnx", o->out, o->model);
    snprintf(html, sizeof html, "%s/%s.html", o->out, o->model);
    snprintf(images, sizeof images, "%s/images.npy", o->out);
    reel_scope scope = reel_scope_begin();
    if (!s->ema || !reel_ema_swap(s->ema)) {
        (void)write_graph(s, onnx, html, &f);
        if (s->ema && !reel_failed()) (void)reel_ema_swap(s->ema);
    }
    if (!reel_failed()) (void)write_images(s, images);
    reel_scope_end(scope);
    if (reel_failed()) return reel_error_status();
    printf(
        "\n%s is the network for others, %s a picture of it.\nIn ONNX Runtime:\n\n"
        "    python3 -c \"import numpy, onnxruntime as o; print(o.InferenceSession('%s')"
        ".run(None, {'images': numpy.load('%s')})[0].argmax(1))\"\n\n"
        "and with the program reel, installed or as ./run reel:\n\n"
        "    reel run %s --input %s\n",
        onnx, html, onnx, images, onnx, images);
    return REEL_OK;
}
