/* seeds.c: writes the files from which fuzzing begins into FOLDER/TARGET for each target. */
#include <reel/reel.h>
#include <sys/stat.h>

#include "base/counts.h"
#include "onnx/file.h"

#include "../onnx_case_model.h"
#include "../onnx_quantized_cases.h"
#include "../onnx_sample.h"
#include "../small_jpeg.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static const char *root;

/* FOLDER/TARGET/NAME; the folder of the target is made. Two may be in use. */
static const char *place(const char *target, const char *name)
{
    static char path[2][4096];
    static int next;
    char *p = path[next++ % 2];
    snprintf(p, sizeof path[0], "%.2000s/%.40s", root, target);
    (void)mkdir(p, 0755);
    snprintf(p, sizeof path[0], "%.2000s/%.40s/%.40s", root, target, name);
    return p;
}

static void save_bytes(const char *target, const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(place(target, name), "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f))
        reel_fail(REEL_ERR_IO, "cannot write %s/%s", target, name);
}

/* ---- ONNX ---------------------------------------------------------------------------------- */

/* Writes the model and frees it. */
static void save_model(const char *name, reel__onnx_model *m)
{
    reel__onnx_write(m, place("onnx", name), NULL);
    reel__onnx_model_free(m);
}

/* A node of each operator that the importer knows. */
static void save_case(size_t i)
{
    const import_case *c = &import_cases[i];
    char name[32];
    operand o[OPERANDS];
    reel_tensor *x[OPERANDS];
    reel_scope s = reel_scope_begin();
    int n = parse_operands(c->operands, o);
    for (int k = 0; k < n; k++) x[k] = draw(&o[k], 4);
    snprintf(name, sizeof name, "case%zu.onnx", i);
    save_model(name, one_node(c, o, x, n));
    reel_scope_end(s);
}

static void save_quantized(size_t i)
{
    char name[32];
    snprintf(name, sizeof name, "quantized%zu.onnx", i);
    save_model(name, quantized_node(&quantized_cases[i]));
}

/* ---- graphs, and safetensors files, which they are too --------------------------------------- */

static void save_text(const char *name, const reel_graph *g)
{
    char *text = reel_graph_to_string(g);
    if (text) save_bytes("graph", name, text, strlen(text));
    free(text);
}

/* As traced, and after the passes. Takes the module. */
static void save_graph(const char *name, reel_module *m, reel_shape shape)
{
    char file[40];
    reel_train(m, false);
    reel_graph *g = reel_trace(m, reel_randn(shape, REEL_F32), NULL);
    save_text(name, g);
    reel_graph_save(g, place("safetensors", name));
    reel_graph_optimize(g, NULL);
    snprintf(file, sizeof file, "%.30s.opt", name);
    save_text(file, g);
    reel_graph_free(g);
    reel_module_free(m);
}

static void save_graphs(void)
{
    save_graph("mlp", reel_mlp(4, 2, &(reel_mlp_opts){.hidden = {3}}), REEL_SHAPE(2, 4));
    save_graph("conv",
               reel_nn_sequential(reel_nn_conv2d(1, 2, 3, NULL),
                                  reel_nn_batch_norm2d(2, NULL), reel_nn_relu(),
                                  reel_nn_max_pool2d(2, NULL), reel_nn_flatten(1, -1)),
               REEL_SHAPE(2, 1, 6, 6));
    save_graph("attention",
               reel_nn_encoder_layer(4, 2, &(reel_nn_encoder_layer_opts){.hidden = 4}),
               REEL_SHAPE(2, 3, 4));
}

static void save_tensors(void)
{
    reel_tensor_map *map = reel_tensor_map_new();
    for (int d = 0; d < REEL__DTYPE_COUNT; d++)
        reel_tensor_map_set(map, reel_dtype_name((reel_dtype)d),
                            reel_ones(REEL_SHAPE(d % 3, 2), (reel_dtype)d));
    reel_tensor_map_set_text(map, "key", "text \"quoted\" \xc3\xa4");
    reel_safetensors_save(map, place("safetensors", "map"));
    reel_tensor_map_save(map, place("safetensors", "checkpoint"));
    reel_tensor_map_free(map);
}

static void save_arrays(void)
{
    for (int d = 0; d < REEL__DTYPE_COUNT; d++)
        if (d != REEL_BF16)
            reel_npy_save(reel_ones(REEL_SHAPE(2, 1, 3), (reel_dtype)d),
                          place("npy", reel_dtype_name((reel_dtype)d)));
    reel_npy_save(reel_scalar(1, REEL_F32), place("npy", "scalar"));
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void save_tables(void)
{
    static const char *const texts[] = {" a,b,y\n1,2.5,0\n-3e2,,1\n",
                                        "!a;\"b;\"\"c\"\r\n\"1\";+2\r\n",
                                        "\"1,2,3\n4,NA,6\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char name[8];
        snprintf(name, sizeof name, "%zu", i);
        save_bytes("csv", name, (const uint8_t *)texts[i], strlen(texts[i]));
    }
}

/* ---- images ---------------------------------------------------------------------------------- */

static void save_images(void)
{
    uint8_t pixels[7 * 5 * 4];
    char name[16];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 37);
    for (int channels = 1; channels <= 4; channels++) {
        snprintf(name, sizeof name, "%d.png", channels);
        if (reel_png_save(pixels, 7, 5, channels, place("image", name)))
            reel_error_clear(); /* not every number of channels is written */
    }
    save_bytes("image", "small.jpg", small_jpeg, sizeof small_jpeg);
}

/* Four records with a right label, one with a wrong one, one byte less. */
static void save_batches(void)
{
    static uint8_t batch[4 * 3073];
    for (size_t i = 0; i < sizeof batch; i++) batch[i] = (uint8_t)(i % 10);
    for (size_t i = 0; i < 4; i++) batch[i * 3073] = (uint8_t)i;
    save_bytes("cifar", "right", batch, sizeof batch);
    save_bytes("cifar", "short", batch, sizeof batch - 1);
    batch[2 * 3073] = 10;
    save_bytes("cifar", "wrong", batch, sizeof batch);
}

/* The lists of files that fuzz_folder.c reads. */
static void save_folders(void)
{
    uint8_t list[4096];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        list[n++] = (uint8_t)i;
        list[n++] = 5;
        memcpy(list + n, i == 2 ? "b.png" : "a.jpg", 5);
        n += 5;
        list[n++] = sizeof small_jpeg & 255;
        list[n++] = sizeof small_jpeg >> 8;
        memcpy(list + n, small_jpeg, sizeof small_jpeg);
        n += sizeof small_jpeg;
    }
    save_bytes("folder", "three", list, n);
    save_bytes("folder", "cut", list, n - 300);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    root = argv[1];
    save_model("sample.onnx", sample_model());
    for (size_t i = 0; i < COUNT(import_cases); i++) save_case(i);
    for (size_t i = 0; i < COUNT(quantized_cases); i++) save_quantized(i);
    save_graphs();
    save_tensors();
    save_arrays();
    save_tables();
    save_images();
    save_batches();
    save_folders();
    if (reel_failed()) fprintf(stderr, "seeds: %s\n", reel_error_message());
    return reel_failed() ? 1 : 0;
}
