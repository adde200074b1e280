/* file.c: graphs from files and to files, and numbers to run them on. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* safetensors begin with the size of a JSON header, below 2^32, and then '{'. In ONNX (fields
 * of protobuf, each with a key that is not 0) four zeros do not stand there. Files that cannot
 * be read are left to the readers, which say why. */
static bool is_saved_graph(const char *path)
{
    unsigned char head[9] = {0};
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode))
        return false; /* opening a pipe would wait */
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) (void)fclose(f);
    return n == sizeof head && memcmp(head + 4, "\0\0\0\0{", 5) == 0;
}

reel_graph *open_graph(const char *path, int64_t batch)
{
    reel_graph *g =
        is_saved_graph(path) ? reel_graph_load(path) : reel_onnx_load(path, NULL);
    if (g && batch && !reel_graph_batch(g))
        reel_fail(REEL_ERR_ARG, "the batch size of %s is fixed; --batch cannot change it",
                  path);
    else if (g && batch)
        (void)reel_graph_set_batch(g, batch);
    if (!reel_failed()) return g;
    reel_graph_free(g);
    return NULL;
}

static bool ends(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);
    return n > k && strcmp(path + n - k, end) == 0;
}

bool can_write(const char *path)
{
    return ends(path, ".onnx") || ends(path, ".reel");
}

bool can_keep_choices(const char *path)
{
    return ends(path, ".reel");
}

reel_status write_graph(reel_graph *g, const char *path, int opset)
{
    if (ends(path, ".onnx"))
        return reel_onnx_export(g, path, &(reel_onnx_opts){.opset = opset});
    return reel_graph_save(g, path);
}

reel_status values_new(values *v, int n)
{
    *v = (values){calloc((size_t)n + 1, sizeof *v->at), n};
    return v->at ? REEL_OK : reel_fail(REEL_ERR_MEMORY, "no memory for %d tensors", n);
}

void values_free(values *v)
{
    free(v->at);
    *v = (values){0};
}

reel_status draw_inputs(const reel_graph *g, uint64_t seed, values *x)
{
    if (values_new(x, reel_graph_inputs(g))) return reel_error_status();
    reel_seed(seed);
    for (int i = 0; i < x->n; i++) {
        reel_dtype dtype = REEL_F32;
        reel_shape shape = reel_graph_input_shape(g, i, &dtype);
        x->at[i] = reel_dtype_is_float(dtype)
                       ? reel_randn(shape, dtype)
                       : reel_cast(reel_randint(0, 2, shape, REEL_I64), dtype);
    }
    return reel_error_status();
}
