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

/* "NAME=FILE.npy" for the input of that name; else a file, for input number `next`. */
static int place_of(const reel_graph *g, const char *text, int next, const char **path)
{
    const char *eq = strchr(text, '=');
    *path = text;
    for (int i = 0; eq && i < reel_graph_inputs(g); i++) {
        const char *name = reel_graph_input_name(g, i);
        if (strlen(name) != (size_t)(eq - text) || strncmp(name, text, strlen(name)) != 0)
            continue;
        *path = eq + 1;
        return i;
    }
    return next;
}

reel_status read_inputs(const reel_graph *g, const text_list *files, values *x)
{
    const char *path;
    for (int i = 0; i < files->n; i++) {
        int at = place_of(g, files->text[i], i, &path);
        if (at >= x->n)
            return reel_fail(REEL_ERR_ARG, "--input %s is one too many: %d are taken",
                             path, x->n);
        if (x->at[at])
            return reel_fail(REEL_ERR_ARG, "--input %s: there was one for %s before it",
                             path, reel_graph_input_name(g, at));
        if (!(x->at[at] = reel_npy_load(path))) return reel_error_status();
    }
    for (int i = 0; i < x->n; i++)
        if (!x->at[i])
            return reel_fail(REEL_ERR_ARG, "--input %s=FILE.npy is missing",
                             reel_graph_input_name(g, i));
    return REEL_OK;
}
