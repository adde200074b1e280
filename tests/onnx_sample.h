/* onnx_sample.h: a model with one of everything that an ONNX file may hold. */
#ifndef TESTS_ONNX_SAMPLE_H
#define TESTS_ONNX_SAMPLE_H

#include "onnx/model.h"

#include <stdint.h>

static const uint8_t sample_bytes[4096] = {1, 0, 1, 1, 0, 0x80, 0x3f};

/* Every attribute kind, on one node of an operator that nobody knows. */
static inline void sample_attributes(reel__onnx_model *m, reel__onnx_node *n)
{
    const float floats[] = {0.0f, -1.5f, 3e38f};
    const int64_t ints[] = {0, -1, INT64_MAX, INT64_MIN};
    const char *const strings[] = {"", "a", "größe\n"};
    reel__onnx_add_float(m, n, "f", -0.25f);
    reel__onnx_add_int(m, n, "i", -7);
    reel__onnx_add_string(m, n, "s", "NOTSET");
    reel__onnx_add_tensor(m, n, "t",
                          reel__onnx_new_tensor(m, "", REEL_ONNX_INT64,
                                                (reel_shape){.rank = 1, .dim = {2}},
                                                sample_bytes));
    reel__onnx_add_floats(m, n, "floats", floats, 3);
    reel__onnx_add_ints(m, n, "ints", ints, 4);
    reel__onnx_add_ints(m, n, "none", NULL, 0);
    reel__onnx_add_strings(m, n, "strings", strings, 3);
}

static inline void sample_nodes(reel__onnx_model *m)
{
    reel__onnx_node *conv = reel__onnx_add_node(m, "Conv", "layer1.0.conv1");
    reel__onnx_add_input(m, conv, "x");
    reel__onnx_add_input(m, conv, "FLOAT");
    reel__onnx_add_input(m, conv, "");
    reel__onnx_add_output(m, conv, "y");
    reel__onnx_add_output(m, conv, "");
    reel__onnx_node *odd = reel__onnx_add_node(m, "Odd", "");
    reel__onnx_add_input(m, odd, "y");
    reel__onnx_add_output(m, odd, "z");
    sample_attributes(m, odd);
    if (odd) {
        odd->domain = reel__onnx_text(m, "com.example");
        odd->doc = reel__onnx_text(m, "does nothing");
    }
}

/* One initializer of each type with a raw form, named as the type; two large ones. */
static inline void sample_initializers(reel__onnx_model *m)
{
    for (int i = 1; i < REEL_ONNX_DTYPE_COUNT; i++)
        if (reel__onnx_dtype_bits((reel__onnx_dtype)i))
            reel__onnx_add_initializer(
                m, reel__onnx_dtype_name((reel__onnx_dtype)i), (reel__onnx_dtype)i,
                (reel_shape){.rank = 2, .dim = {3, 1}}, sample_bytes);
    const reel_shape scalar = {.rank = 0}, empty = {.rank = 2, .dim = {3, 0}};
    reel__onnx_add_initializer(m, "scalar", REEL_ONNX_DOUBLE, scalar, sample_bytes);
    reel__onnx_add_initializer(m, "empty", REEL_ONNX_FLOAT, empty, NULL);
    reel__onnx_add_initializer(m, "large", REEL_ONNX_UINT8,
                               (reel_shape){.rank = 2, .dim = {1500, 1}}, sample_bytes);
    reel__onnx_add_initializer(m, "larger", REEL_ONNX_FLOAT16,
                               (reel_shape){.rank = 1, .dim = {2000}}, sample_bytes + 1);
}

static inline reel__onnx_model *sample_model(void)
{
    reel__onnx_model *m = reel__onnx_model_new();
    if (!m) return NULL;
    m->ir_version = 9;
    m->opset = 19;
    m->model_version = 3;
    m->producer_name = reel__onnx_text(m, "reel");
    m->producer_version = reel__onnx_text(m, "0.1.0");
    m->doc = reel__onnx_text(m, "a sample\n");
    m->graph.name = reel__onnx_text(m, "main");
    m->graph.doc = reel__onnx_text(m, "its graph");
    reel__onnx_add_metadata(m, "classes", "cat\ndog");
    reel__onnx_add_metadata(m, "seed", "1");
    sample_nodes(m);
    sample_initializers(m);
    const reel__onnx_dim dim[] = {{-1, "batch"}, {3, ""}, {-1, ""}, {0, ""}};
    reel__onnx_add_value(m, REEL_ONNX_INPUT, "x", REEL_ONNX_FLOAT, 4, dim);
    reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "z", REEL_ONNX_BOOL, 0, NULL);
    reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "x", REEL_ONNX_FLOAT, -1, NULL);
    reel__onnx_add_value(m, REEL_ONNX_VALUE_INFO, "y", REEL_ONNX_UNDEFINED, -1, NULL);
    return m;
}

#endif
