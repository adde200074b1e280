/* fuzz_onnx.c: any bytes give a model or an error, a model holds only what can be read, and
 * gives a graph or an error that names the file.
 * tests/fuzz/run.sh builds and runs it. */
#include "trace/onnx/import.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink; /* keeps the reads */

static void touch(const void *bytes, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((const uint8_t *)bytes)[i];
    sink += sum;
}

static void touch_text(const char *text)
{
    touch(text, strlen(text));
}

/* What is lacking has no data. */
static void touch_tensor(const reel__onnx_tensor *t)
{
    if (t->lack && (t->data || t->bytes)) __builtin_trap();
    touch(t->data, t->bytes);
}

static void touch_attribute(const reel__onnx_attribute *a)
{
    touch_text(a->name);
    switch (a->kind) {
    case REEL_ONNX_A_NONE:
        if (!a->lack) __builtin_trap();
        break;
    case REEL_ONNX_A_FLOAT:
    case REEL_ONNX_A_INT: break;
    case REEL_ONNX_A_STRING: touch_text(a->s); break;
    case REEL_ONNX_A_TENSOR: touch_tensor(a->t); break;
    case REEL_ONNX_A_FLOATS: touch(a->floats, a->n * sizeof(float)); break;
    case REEL_ONNX_A_INTS: touch(a->ints, a->n * sizeof(int64_t)); break;
    case REEL_ONNX_A_STRINGS:
        for (size_t i = 0; i < a->n; i++) touch_text(a->strings[i]);
        break;
    default: __builtin_trap();
    }
}

static void touch_graph(const reel__onnx_graph *g)
{
    for (size_t i = 0; i < g->node.n; i++) {
        const reel__onnx_node *n = g->node.at[i];
        for (size_t j = 0; j < n->input.n; j++) touch_text(n->input.at[j]);
        for (size_t j = 0; j < n->attribute.n; j++) touch_attribute(n->attribute.at[j]);
    }
    for (size_t i = 0; i < g->initializer.n; i++) touch_tensor(g->initializer.at[i]);
    for (size_t i = 0; i < g->value_info.n; i++)
        for (int d = 0; d < g->value_info.at[i]->rank; d++)
            touch_text(g->value_info.at[i]->dim[d].param);
}

/* Sizes in a file cost nothing: no value is computed, but of the smallest. */
static void import(const reel__onnx_model *m)
{
    reel_graph *g = reel__onnx_import(m, "fuzz", NULL);
    reel_status st = reel_error_status();
    if (g ? st != REEL_OK
          : st != REEL_ERR_FORMAT && st != REEL_ERR_UNSUPPORTED &&
                st != REEL_ERR_MEMORY && st != REEL_ERR_ARG) /* ARG: at a batch of one */
        __builtin_trap();
    reel_graph_free(g);
    if (reel_live_objects()) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    reel__onnx_model *m = reel__onnx_read_bytes("fuzz", data, size);
    reel_status st = reel_error_status();
    if (m ? st != REEL_OK : st != REEL_ERR_FORMAT && st != REEL_ERR_UNSUPPORTED)
        __builtin_trap();
    if (m) touch_graph(&m->graph);
    if (m) import(m);
    reel__onnx_model_free(m);
    reel_error_clear();
    return 0;
}
