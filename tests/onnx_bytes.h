/* onnx_bytes.h: protobuf by hand, so that tests can write what no writer would. */
#ifndef TESTS_ONNX_BYTES_H
#define TESTS_ONNX_BYTES_H

#include "onnx/schema.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct buf {
    uint8_t *at;
    size_t n, room;
} buf;

static inline void buf_free(buf *b)
{
    free(b->at);
    *b = (buf){0};
}

static inline void put(buf *b, const void *bytes, size_t n)
{
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n) + 64;
        b->at = realloc(b->at, b->room);
        if (!b->at) abort();
    }
    if (n) memcpy(b->at + b->n, bytes, n);
    b->n += n;
}

static inline void put_varint(buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) put(b, &(uint8_t){(uint8_t)(v | 0x80)}, 1);
    put(b, &(uint8_t){(uint8_t)v}, 1);
}

static inline void put_tag(buf *b, uint64_t field, unsigned type)
{
    put_varint(b, field << 3 | type);
}

static inline void put_int(buf *b, uint64_t field, int64_t v)
{
    put_tag(b, field, WIRE_VARINT);
    put_varint(b, (uint64_t)v);
}

static inline void put_bytes(buf *b, uint64_t field, const void *bytes, size_t n)
{
    put_tag(b, field, WIRE_BYTES);
    put_varint(b, n);
    put(b, bytes, n);
}

static inline void put_text(buf *b, uint64_t field, const char *text)
{
    put_bytes(b, field, text, strlen(text));
}

/* Puts the message and frees it. */
static inline void put_message(buf *b, uint64_t field, buf *message)
{
    put_bytes(b, field, message->at, message->n);
    buf_free(message);
}

/* ---- parts of models --------------------------------------------------------------- */

static inline buf value_of(const char *name)
{
    buf type = {0}, tensor = {0}, v = {0};
    put_int(&tensor, TENSOR_TYPE_ELEM, 1);
    put_message(&type, TYPE_TENSOR, &tensor);
    put_text(&v, VALUE_NAME, name);
    put_message(&v, VALUE_TYPE, &type);
    return v;
}

static inline void put_value(buf *graph, int field, const char *name)
{
    buf v = value_of(name);
    put_message(graph, (uint64_t)field, &v);
}

static inline buf node_of(const char *op, const char *input, const char *output)
{
    buf n = {0};
    if (input) put_text(&n, NODE_INPUT, input);
    if (output) put_text(&n, NODE_OUTPUT, output);
    put_text(&n, NODE_OP_TYPE, op);
    return n;
}

static inline void put_node(buf *graph, const char *op, const char *input,
                            const char *output)
{
    buf n = node_of(op, input, output);
    put_message(graph, GRAPH_NODE, &n);
}

/* An initializer of shape [n] without its data. */
static inline buf tensor_of(const char *name, int dtype, int64_t n)
{
    buf t = {0};
    put_int(&t, TENSOR_DIMS, n);
    put_int(&t, TENSOR_DTYPE, dtype);
    put_text(&t, TENSOR_NAME, name);
    return t;
}

static inline void put_prop(buf *b, int field, const char *key, const char *value)
{
    buf p = {0};
    put_text(&p, PROP_KEY, key);
    put_text(&p, PROP_VALUE, value);
    put_message(b, (uint64_t)field, &p);
}

static inline void put_opset(buf *model, int64_t version)
{
    buf o = {0};
    put_int(&o, OPSET_VERSION, version);
    put_message(model, MODEL_OPSET_IMPORT, &o);
}

/* IR 8, opset 17, and the graph, which is freed. */
static inline buf model_of(buf *graph)
{
    buf m = {0};
    put_int(&m, MODEL_IR_VERSION, 8);
    put_opset(&m, 17);
    put_message(&m, MODEL_GRAPH, graph);
    return m;
}

#endif
