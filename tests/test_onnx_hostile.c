/* test_onnx_hostile.c: whatever the bytes are, the reader gives a model or an error that
 * names the place, in bounded time and memory. */
#include "onnx/file.h"

#include "temp_folder.h"

#include "onnx/arena.h"
#include "onnx/limits.h"
#include "onnx_bytes.h"
#include "onnx_sample.h"
#include "trace/onnx/import.h"

#include <unistd.h>

#define F "m.onnx"

/* ---- helpers ----------------------------------------------------------------------- */

/* The bytes are not a model: the error names the file and has `named` in it. Frees them. */
static void refuse_as(reel_status status, buf *bytes, const char *named)
{
    reel__onnx_model *m = reel__onnx_read_bytes(F, bytes->at, bytes->n);
    assert_null(m);
    assert_ptr_equal(strstr(reel_error_message(), F ": byte "), reel_error_message());
    assert_error(status, named);
    buf_free(bytes);
}

static void refuse(buf *bytes, const char *named)
{
    refuse_as(REEL_ERR_FORMAT, bytes, named);
}

/* The bytes are a model of which nothing is wrong, but which has what no graph can have. */
static void lacking(buf *bytes, const char *named)
{
    reel__onnx_model *m = reel__onnx_read_bytes(F, bytes->at, bytes->n);
    assert_ok();
    assert_null(reel__onnx_import(m, F, NULL));
    assert_error(REEL_ERR_UNSUPPORTED, named);
    reel__onnx_model_free(m);
    buf_free(bytes);
}

static void lacking_graph(buf *graph, const char *named)
{
    buf m = model_of(graph);
    lacking(&m, named);
}

static void refuse_graph(buf *graph, const char *named)
{
    buf m = model_of(graph);
    refuse(&m, named);
}

static void refuse_initializer(buf *tensor, const char *named)
{
    buf g = {0};
    put_message(&g, GRAPH_INITIALIZER, tensor);
    refuse_graph(&g, named);
}

/* The same for an initializer that something needs. */
static void lacking_initializer(buf *tensor, const char *named)
{
    buf g = {0};
    put_message(&g, GRAPH_INITIALIZER, tensor);
    put_node(&g, "Relu", "w", "y");
    put_value(&g, GRAPH_OUTPUT, "y");
    lacking_graph(&g, named);
}

/* Reads the bytes, which must be a model, and frees them: what it points to is gone, except
 * what lies in the arena. */
static reel__onnx_model *accept_model(buf *bytes)
{
    reel__onnx_model *m = reel__onnx_read_bytes(F, bytes->at, bytes->n);
    assert_ok();
    assert_non_null(m);
    buf_free(bytes);
    return m;
}

static reel__onnx_model *accept_initializer(buf *tensor)
{
    buf g = {0};
    put_message(&g, GRAPH_INITIALIZER, tensor);
    buf m = model_of(&g);
    return accept_model(&m);
}

/* ---- damaged files ----------------------------------------------------------------- */

/* The sample, as bytes on the heap, so that a sanitizer sees each byte beyond them. */
static buf sample_file(void)
{
    reel__onnx_model *m = sample_model();
    reel__onnx_write(m, temp_path(F), NULL);
    reel__onnx_model_free(m);
    size_t n = 0;
    char *bytes = reel__file_load(temp_path(F), 1 << 20, &n);
    assert_ok();
    buf b = {0};
    put(&b, bytes, n);
    reel__free(bytes);
    return b;
}

/* Reads a copy of exactly n bytes. */
static bool survives(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    reel__onnx_model *m = reel__onnx_read_bytes(F, copy, n);
    if (!m) {
        assert_true(reel_error_status() == REEL_ERR_FORMAT ||
                    reel_error_status() == REEL_ERR_UNSUPPORTED);
        assert_non_null(strstr(reel_error_message(), F ": byte "));
    } else {
        assert_false(reel_failed());
        assert_true(m->owned->arena.total <=
                    REEL__ONNX_MEMORY_FACTOR * n + REEL__ONNX_MEMORY_FLOOR);
    }
    reel_error_clear();
    reel__onnx_model_free(m);
    free(copy);
    return m;
}

static void truncated_files_are_errors(void **state)
{
    (void)state;
    buf b = sample_file();
    size_t read = 0;
    for (size_t n = 0; n < b.n; n++) read += survives(b.at, n);
    /* Between two entries of the metadata, which come last, nothing shows the cut. */
    assert_int_equal(read, 2);
    assert_true(survives(b.at, b.n));
    buf_free(&b);
}

static void flipped_bits_are_survived(void **state)
{
    (void)state;
    buf b = sample_file();
    size_t read = 0;
    for (size_t i = 0; i < b.n && i < 2048; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.at[i] ^= (uint8_t)(1 << bit);
            read += survives(b.at, b.n);
            b.at[i] ^= (uint8_t)(1 << bit);
        }
    assert_true(read > 0); /* in names and data a bit may be what it wants */
    buf_free(&b);
}

/* ---- the wire format --------------------------------------------------------------- */

static void bad_wires_are_errors(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[16];
        size_t n;
        const char *named;
    } cases[] = {
        {{0x80}, 1, "byte 0: the field's number"},
        {{0x00, 0x00}, 2, "0 is not a number of a field"},
        {{0x08}, 1, "ir_version: the number is cut off"},
        {{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
         11,
         "ten bytes"},
        {{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
         12,
         "ten bytes"},
        {{0x12, 0x05, 'a'}, 3, "producer_name: has a length of 5 bytes, but 1"},
        {{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
         11,
         "has a length of 18446744073709551615 bytes, but 0"},
        {{0x12, 0x80}, 2, "the length is cut off"},
        {{0x12, 0x01, 0x00}, 3, "producer_name: is text with a zero byte"},
        {{0x0b, 0x0c}, 2, "wire type 3"},
        {{0x0c}, 1, "wire type 4"},
        {{0xf3, 0x07}, 2, "field 126 is of wire type 3"},
        {{0x0e}, 1, "wire type 6"},
        {{0x0a, 0x00}, 2, "ir_version: is of wire type 2, must be 0"},
        {{0x10, 0x00}, 2, "producer_name: is of wire type 0, must be 2"},
        {{0xfd, 0x07, 0x00, 0x00}, 4, "cut off"}, /* an unknown field of 32 bits */
        {{0xf9, 0x07, 0x00, 0x00, 0x00, 0x00}, 6, "cut off"},
        {{0x08, 0x08}, 2, "imports no opset"},
        {{0}, 0, "no ir_version"},
        {{0x3a, 0x00, 0x3a, 0x00}, 4, "graph: comes a second time"},
        {{0x08, 0x00}, 2, "byte 0: ir_version: is 0, must be 1 or more"},
        {{0x42, 0x02, 0x10, 0x00}, 4, "opset_import[0]: is opset 0, must be 1 or more"},
        {{0x42, 0x02, 0x10, 0x11, 0x42, 0x02, 0x10, 0x11}, 8, "opset_import[1]"},
        {{0x08, 0x08, 0x42, 0x02, 0x10, 0x11}, 6, "has no graph"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf b = {0};
        put(&b, cases[i].bytes, cases[i].n);
        refuse(&b, cases[i].named);
    }
}

/* The last of several scalars counts; unknown fields of every type are skipped; fields come
 * in any order. */
static void lenient_where_protobuf_is(void **state)
{
    (void)state;
    buf g = {0}, m = {0}, ml = {0};
    put_text(&g, GRAPH_NAME, "first");
    put_value(&g, GRAPH_OUTPUT, "y");
    put_node(&g, "Relu", "x", "y");
    put_value(&g, GRAPH_INPUT, "x");
    put_text(&g, GRAPH_NAME, "last");
    put_message(&m, MODEL_GRAPH, &g);
    put_text(&ml, OPSET_DOMAIN, "ai.onnx.ml");
    put_int(&ml, OPSET_VERSION, 99);
    put_message(&m, MODEL_OPSET_IMPORT, &ml);
    put_opset(&m, 13);
    put_int(&m, 1000, 7);
    put_text(&m, 1001, "unknown");
    put_tag(&m, 1002, WIRE_32);
    put(&m, "1234", 4);
    put_tag(&m, 1003, WIRE_64);
    put(&m, "12345678", 8);
    put_int(&m, MODEL_IR_VERSION, 3);
    put_int(&m, MODEL_IR_VERSION, 13);
    reel__onnx_model *r = accept_model(&m);
    assert_int_equal(r->ir_version, 13);
    assert_int_equal(r->opset, 13);
    assert_string_equal(r->graph.name, "last");
    assert_int_equal(r->graph.node.n, 1);
    reel__onnx_model_free(r);
}

/* A graph in an attribute of a node in a graph ..., 100,000 of them. */
static void deep_nesting_is_refused_or_skipped(void **state)
{
    (void)state;
    enum { DEEP = 100000, ROOM = 16 * DEEP };
    uint8_t *bytes = malloc(ROOM);
    assert_non_null(bytes);
    size_t at = ROOM; /* written from its end, the innermost first */
    for (int i = 0; i < DEEP; i++) {
        buf head = {0};
        put_tag(&head, i % 2 ? 6 : 1, WIRE_BYTES);
        put_varint(&head, ROOM - at);
        at -= head.n;
        memcpy(bytes + at, head.at, head.n);
        buf_free(&head);
    }
    buf a = {0}, n = node_of("If", NULL, NULL), g = {0};
    put_text(&a, ATTRIBUTE_NAME, "then_branch");
    put(&a, bytes + at, ROOM - at);
    put_int(&a, ATTRIBUTE_TYPE, 5);
    put_message(&n, NODE_ATTRIBUTE, &a);
    put_text(&n, NODE_NAME, "choice");
    put_message(&g, GRAPH_NODE, &n);
    lacking_graph(&g, "operator If");
    /* As an unknown field it is nobody's business. */
    buf g2 = {0}, m = model_of(&g2);
    put_bytes(&m, 999, bytes + at, ROOM - at);
    reel__onnx_model_free(accept_model(&m));
    free(bytes);
    buf groups = {0};
    for (int i = 0; i < DEEP; i++) put_tag(&groups, 999, 3);
    refuse(&groups, "wire type 3");
}

/* ---- nodes and attributes ---------------------------------------------------------- */

static buf attribute_of(const char *name, int type)
{
    buf a = {0};
    put_text(&a, ATTRIBUTE_NAME, name);
    if (type) put_int(&a, ATTRIBUTE_TYPE, type);
    return a;
}

static void refuse_attribute(buf *a, const char *named)
{
    buf n = node_of("Op", NULL, NULL), g = {0};
    put_message(&n, NODE_ATTRIBUTE, a);
    put_message(&g, GRAPH_NODE, &n);
    refuse_graph(&g, named);
}

static void bad_attributes_are_errors(void **state)
{
    (void)state;
    buf a = attribute_of("", REEL_ONNX_A_INT);
    refuse_attribute(&a, "has no name");
    a = attribute_of("a", 0);
    refuse_attribute(&a, "has no type");
    a = attribute_of("a", REEL_ONNX_A_TENSOR);
    refuse_attribute(&a, "has no tensor");
    a = attribute_of("a", REEL_ONNX_A_INT);
    put_text(&a, ATTRIBUTE_S, "x");
    refuse_attribute(&a, "is of type INT, but has a value of type STRING");
    a = attribute_of("a", REEL_ONNX_A_TENSOR);
    put_bytes(&a, ATTRIBUTE_T, "", 0);
    put_bytes(&a, ATTRIBUTE_T, "", 0);
    refuse_attribute(&a, "attribute[0].t: comes a second time");
    a = attribute_of("a", REEL_ONNX_A_FLOATS);
    put_bytes(&a, ATTRIBUTE_FLOATS, "12345", 5);
    refuse_attribute(&a, "graph.node[0].attribute[0].floats[0]: its packed numbers");
    a = attribute_of("a", REEL_ONNX_A_INTS);
    put_bytes(&a, ATTRIBUTE_INTS, "\x80", 1);
    refuse_attribute(&a, "its packed numbers");
    buf g = {0}, n = node_of("", NULL, NULL);
    put_message(&g, GRAPH_NODE, &n);
    refuse_graph(&g, "has no op_type");
    for (int many = 2; many <= REEL__ONNX_ATTRIBUTES_MAX + 1;
         many += REEL__ONNX_ATTRIBUTES_MAX - 1) {
        n = node_of("Op", NULL, NULL);
        for (int i = 0; i < many; i++) {
            a = attribute_of("a", REEL_ONNX_A_INT);
            put_message(&n, NODE_ATTRIBUTE, &a);
        }
        put_message(&g, GRAPH_NODE, &n);
        buf m = model_of(&g);
        refuse_as(many == 2 ? REEL_ERR_FORMAT : REEL_ERR_UNSUPPORTED, &m,
                  many == 2 ? "attribute[1]: attribute \"a\" of node \"\" (Op) comes "
                              "a second time"
                            : "has 101 attributes, must have at most 100");
    }
    char *name = calloc(1, REEL__ONNX_NAME_MAX + 2);
    assert_non_null(name);
    memset(name, 'n', REEL__ONNX_NAME_MAX + 1);
    buf g2 = {0};
    put_node(&g2, name, NULL, NULL);
    buf m2 = model_of(&g2);
    refuse_as(REEL_ERR_UNSUPPORTED, &m2,
              "node[0].op_type: has 65537 bytes, must have at most 65536");
    free(name);
}

/* A file with these is right; only we have no such thing. */
static void lacking_attribute(buf *a, const char *named)
{
    buf n = node_of("Relu", "x", "y"), g = {0};
    put_message(&n, NODE_ATTRIBUTE, a);
    put_value(&g, GRAPH_INPUT, "x");
    put_message(&g, GRAPH_NODE, &n);
    lacking_graph(&g, named);
}

static void valid_attributes_may_be_lacking(void **state)
{
    (void)state;
    static const char *const said[] = {
        [5] = "is a GRAPH",          [9] = "holds TENSORS",   [10] = "holds GRAPHS",
        [11] = "is a SPARSE_TENSOR", [12] = "SPARSE_TENSORS", [13] = "is a TYPE_PROTO",
        [14] = "holds TYPE_PROTOS"};
    buf a;
    for (int type = 0; type <= 14; type++) {
        if (!said[type]) continue;
        a = attribute_of("a", type);
        lacking_attribute(&a, said[type]);
    }
    a = attribute_of("a", 99);
    lacking_attribute(&a,
                      "attribute a of Relu, which is of a type that is not known (99)");
    a = attribute_of("a", REEL_ONNX_A_INT);
    put_text(&a, ATTRIBUTE_REF, "x");
    lacking_attribute(&a, "refers to an attribute of a function");
    a = attribute_of("a", REEL_ONNX_A_STRING);
    put_bytes(&a, ATTRIBUTE_S, "a\0b", 3);
    lacking_attribute(&a, "has a zero byte in its text");
}

static void packed_and_unpacked_are_the_same(void **state)
{
    (void)state;
    buf a = attribute_of("ints", REEL_ONNX_A_INTS), n = node_of("Op", NULL, NULL),
        g = {0};
    put_int(&a, ATTRIBUTE_INTS, 1);
    put_bytes(&a, ATTRIBUTE_INTS, "\x02\x80\x01", 3);
    put_bytes(&a, ATTRIBUTE_INTS, "", 0);
    put_int(&a, ATTRIBUTE_INTS, -4);
    put_message(&n, NODE_ATTRIBUTE, &a);
    a = attribute_of("floats", REEL_ONNX_A_FLOATS);
    put_bytes(&a, ATTRIBUTE_FLOATS, "\0\0\x80\x3f\0\0\0\x40", 8);
    put_message(&n, NODE_ATTRIBUTE, &a);
    a = attribute_of("absent", REEL_ONNX_A_STRING);
    put_message(&n, NODE_ATTRIBUTE, &a);
    put_message(&g, GRAPH_NODE, &n);
    buf bytes = model_of(&g);
    reel__onnx_model *m = accept_model(&bytes);
    const reel__onnx_node *node = m->graph.node.at[0];
    const reel__onnx_attribute *ints = reel__onnx_find_attribute(node, "ints");
    const reel__onnx_attribute *floats = reel__onnx_find_attribute(node, "floats");
    const int64_t want[] = {1, 2, 128, -4};
    assert_int_equal(ints->n, 4);
    assert_memory_equal(ints->ints, want, sizeof want);
    assert_int_equal(floats->n, 2);
    assert_true(floats->floats[0] == 1.0f && floats->floats[1] == 2.0f);
    assert_string_equal(reel__onnx_find_attribute(node, "absent")->s, "");
    reel__onnx_model_free(m);
}

/* ---- tensors and values ------------------------------------------------------------ */

static void bad_tensors_are_errors(void **state)
{
    (void)state;
    buf t = tensor_of("w", REEL_ONNX_FLOAT, 2);
    put_bytes(&t, TENSOR_RAW, "1234567", 7);
    refuse_initializer(&t,
                       "initializer[0]: raw_data has 7 bytes, its type and shape need 8");
    t = tensor_of("w", REEL_ONNX_FLOAT, 1LL << 40);
    refuse_initializer(&t,
                       "has 0 numbers of data, its type and shape need 1099511627776");
    t = tensor_of("w", REEL_ONNX_FLOAT, INT64_MAX);
    refuse_initializer(&t, "more bytes than can be counted");
    t = tensor_of("w", REEL_ONNX_FLOAT, 1LL << 32);
    put_int(&t, TENSOR_DIMS, 1LL << 32);
    refuse_initializer(&t, "more bytes than can be counted");
    t = tensor_of("w", REEL_ONNX_FLOAT, -1);
    refuse_initializer(&t, "initializer[0].dims[0]: the dimension -1 is negative");
    t = tensor_of("w", 0, 1);
    refuse_initializer(&t, "has no data_type");
    t = tensor_of("", REEL_ONNX_FLOAT, 0);
    refuse_initializer(&t, "has no name");
    t = tensor_of("w", REEL_ONNX_FLOAT, 1);
    put_bytes(&t, TENSOR_RAW, "1234", 4);
    put_bytes(&t, TENSOR_FLOAT_DATA, "1234", 4);
    refuse_initializer(&t, "data of several kinds");
    t = tensor_of("w", REEL_ONNX_FLOAT, 1);
    put_int(&t, TENSOR_INT32_DATA, 1);
    refuse_initializer(&t, "not of its type FLOAT");
    t = tensor_of("w", REEL_ONNX_INT8, 1);
    put_int(&t, TENSOR_INT32_DATA, 256);
    refuse_initializer(&t, "int32_data[0]: 256 does not fit into 1 byte");
    t = tensor_of("w", REEL_ONNX_INT32, 1);
    put_int(&t, TENSOR_INT32_DATA, -(1LL << 31) - 1);
    refuse_initializer(&t, "-2147483649 does not fit into 4 bytes");
    t = tensor_of("w", REEL_ONNX_INT32, 0);
    put_int(&t, TENSOR_LOCATION, 2);
    refuse_initializer(&t, "data_location 2");
    buf g = {0};
    put_bytes(&g, GRAPH_SPARSE_INITIALIZER, "", 0);
    refuse_graph(&g, "an initializer has no name");
}

static void valid_tensors_may_be_lacking(void **state)
{
    (void)state;
    buf t = tensor_of("w", REEL_ONNX_FLOAT, 1);
    for (int i = 0; i < 8; i++) put_int(&t, TENSOR_DIMS, 1);
    lacking_initializer(&t, "an initializer that has 9 dimensions, at most 8");
    t = tensor_of("w", REEL_ONNX_STRING, 1);
    put_text(&t, TENSOR_STRING_DATA, "word");
    lacking_initializer(&t, "an initializer that holds strings (initializer w)");
    t = tensor_of("w", 99, 1);
    lacking_initializer(&t, "is of a data_type that is not known (99)");
    t = tensor_of("w", REEL_ONNX_UINT4, 0);
    lacking_initializer(&t, "an initializer that is UINT4");
    t = tensor_of("w", REEL_ONNX_INT32, 1);
    put_bytes(&t, TENSOR_SEGMENT, "", 0);
    lacking_initializer(&t, "is a segment of a tensor");
    buf g = {0}, sparse = {0};
    t = tensor_of("w", REEL_ONNX_FLOAT, 0);
    put_message(&sparse, SPARSE_VALUES, &t);
    put_message(&g, GRAPH_SPARSE_INITIALIZER, &sparse);
    put_node(&g, "Relu", "w", "y");
    lacking_graph(&g, "an initializer that is sparse (initializer w)");
    /* nobody needs it */
    t = tensor_of("w", REEL_ONNX_STRING, 1);
    put_text(&t, TENSOR_STRING_DATA, "word");
    reel__onnx_model *m = accept_initializer(&t);
    reel_graph *graph = reel__onnx_import(m, F, NULL);
    assert_ok();
    reel_graph_free(graph);
    reel__onnx_model_free(m);
}

/* One tensor with typed data has these bytes. */
static void check_typed(int dtype, int64_t n, int field, unsigned type,
                        const void *number, size_t numbers, const void *want,
                        size_t bytes)
{
    buf t = tensor_of("w", dtype, n);
    if (type == WIRE_BYTES) {
        put_bytes(&t, (uint64_t)field, number, numbers);
    } else {
        put_tag(&t, (uint64_t)field, type);
        put(&t, number, numbers);
    }
    reel__onnx_model *m = accept_initializer(&t);
    assert_int_equal(m->graph.initializer.at[0]->bytes, bytes);
    assert_memory_equal(m->graph.initializer.at[0]->data, want, bytes);
    reel__onnx_model_free(m);
}

static void typed_data_becomes_raw(void **state)
{
    (void)state;
    check_typed(REEL_ONNX_FLOAT, 1, TENSOR_FLOAT_DATA, WIRE_32, "abcd", 4, "abcd", 4);
    check_typed(REEL_ONNX_COMPLEX64, 1, TENSOR_FLOAT_DATA, WIRE_BYTES, "abcdefgh", 8,
                "abcdefgh", 8);
    check_typed(REEL_ONNX_DOUBLE, 1, TENSOR_DOUBLE_DATA, WIRE_64, "abcdefgh", 8,
                "abcdefgh", 8);
    check_typed(REEL_ONNX_INT64, 2, TENSOR_INT64_DATA, WIRE_BYTES,
                "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11,
                "\1\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16);
    check_typed(REEL_ONNX_UINT32, 1, TENSOR_UINT64_DATA, WIRE_VARINT,
                "\xff\xff\xff\xff\x0f", 5, "\xff\xff\xff\xff", 4);
    check_typed(REEL_ONNX_INT8, 2, TENSOR_INT32_DATA, WIRE_BYTES,
                "\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "\x7f\xff", 2);
    check_typed(REEL_ONNX_BFLOAT16, 1, TENSOR_INT32_DATA, WIRE_VARINT, "\x80\x7f", 2,
                "\x80\x3f", 2);
    check_typed(REEL_ONNX_UINT4, 3, TENSOR_INT32_DATA, WIRE_BYTES, "\x21\x03", 2,
                "\x21\x03", 2);
}

static void bad_values_are_errors(void **state)
{
    (void)state;
    buf g = {0}, v = {0}, type = {0};
    put_value(&g, GRAPH_INPUT, "");
    refuse_graph(&g, "graph.input[0]: a value has no name");
    put_text(&v, VALUE_NAME, "x");
    put_message(&g, GRAPH_INPUT, &v);
    refuse_graph(&g, "input \"x\" has no element type");
    put_text(&v, VALUE_NAME, "x");
    put_bytes(&type, 4, "", 0);
    put_message(&v, VALUE_TYPE, &type);
    put_message(&g, GRAPH_INPUT, &v);
    lacking_graph(&g, "an input that is a sequence, a map or the like");
}

/* An input of `rank` dimensions of a size. */
static buf input_of(int rank, int64_t size, int dtype)
{
    buf g = {0}, v = {0}, type = {0}, dim = {0}, shape = {0}, tensor = {0};
    put_int(&dim, DIM_VALUE, size);
    for (int d = 0; d < rank; d++) put_bytes(&shape, SHAPE_DIM, dim.at, dim.n);
    buf_free(&dim);
    put_int(&tensor, TENSOR_TYPE_ELEM, dtype);
    put_message(&tensor, TENSOR_TYPE_SHAPE, &shape);
    put_message(&type, TYPE_TENSOR, &tensor);
    put_text(&v, VALUE_NAME, "x");
    put_message(&v, VALUE_TYPE, &type);
    put_message(&g, GRAPH_INPUT, &v);
    return g;
}

static void valid_values_may_be_lacking(void **state)
{
    (void)state;
    buf g = input_of(9, 1, 1);
    lacking_graph(&g, "an input that has 9 dimensions");
    g = input_of(1, 1, 77);
    lacking_graph(&g, "an input that is of an element type that is not known (77)");
    g = input_of(2, -1, 1);
    lacking_graph(&g, "a second open size");
}

/* -1 and less say that a size is open. */
static void negative_sizes_are_open(void **state)
{
    (void)state;
    for (int64_t size = -1; size >= -7; size -= 6) {
        buf g = input_of(1, size, 1);
        put_value(&g, GRAPH_OUTPUT, "x");
        buf b = model_of(&g);
        reel__onnx_model *m = reel__onnx_read_bytes(F, b.at, b.n);
        assert_ok();
        assert_int_equal(m->graph.input.at[0]->dim[0].size, -1);
        reel_graph *graph = reel__onnx_import(m, F, NULL);
        assert_ok();
        assert_int_equal(reel_graph_batch(graph), 1);
        reel_graph_free(graph);
        reel__onnx_model_free(m);
        buf_free(&b);
    }
}

/* ---- versions ----------------------------------------------------------------------- */

static char said[256];

static void listen(void *user, reel_log_level level, const char *line)
{
    (void)user;
    if (level >= REEL_LOG_WARN) snprintf(said, sizeof said, "%s", line);
}

/* A model of nothing, with these versions and fields. */
static buf versions_of(int64_t ir, int64_t opset)
{
    buf g = {0}, m = {0};
    put_int(&m, MODEL_IR_VERSION, ir);
    if (opset) put_opset(&m, opset);
    put_value(&g, GRAPH_INPUT, "x");
    put_node(&g, "Relu", "x", "y");
    put_message(&m, MODEL_GRAPH, &g);
    return m;
}

/* 3 to 19 are read, what is newer with a warning; 1 and 2 are not. */
static void versions_of_the_format(void **state)
{
    (void)state;
    reel_set_log(listen, NULL);
    for (int64_t ir = 1; ir < 40; ir++) {
        buf b = versions_of(ir, ir < 3 ? 0 : 17);
        *said = '\0';
        if (ir < 3) {
            lacking(&b, "IR version");
        } else {
            reel__onnx_model *m = accept_model(&b);
            assert_int_equal(m->ir_version, ir);
            reel__onnx_model_free(m);
        }
        assert_int_equal(*said != '\0', ir >= 20);
        if (ir >= 20) assert_non_null(strstr(said, "IR version"));
    }
    buf b = versions_of(8, 17);
    put_bytes(&b, MODEL_TRAINING, "", 0);
    reel__onnx_model_free(accept_model(&b));
    assert_non_null(strstr(said, "training_info"));
    reel_set_log(NULL, NULL);
}

static void functions_are_lacking(void **state)
{
    (void)state;
    buf b = versions_of(8, 17);
    put_bytes(&b, MODEL_FUNCTIONS, "", 0);
    lacking(&b, "functions of the model's own");
}

/* ---- graphs that are none ---------------------------------------------------------- */

static void graphs_are_in_order_and_made_once(void **state)
{
    (void)state;
    buf g = {0};
    put_value(&g, GRAPH_INPUT, "x");
    put_node(&g, "Relu", "x", "y");
    put_node(&g, "Relu", "y", "y");
    refuse_graph(&g, "graph.node[1]: makes \"y\", as graph.node[0] does");
    put_value(&g, GRAPH_INPUT, "x");
    put_value(&g, GRAPH_INPUT, "x");
    refuse_graph(&g, "graph.input[1]: makes \"x\", as graph.input[0]");
    for (int i = 0; i < 2; i++) {
        buf t = tensor_of("w", REEL_ONNX_FLOAT, 0);
        put_message(&g, GRAPH_INITIALIZER, &t);
    }
    refuse_graph(&g, "graph.initializer[1]: makes \"w\", as graph.initializer[0]");
    put_node(&g, "Relu", "b", "a");
    put_node(&g, "Relu", "a", "b");
    refuse_graph(&g, "graph.node[0].input[0]: \"b\" is made later");
    put_node(&g, "Relu", "a", "a");
    refuse_graph(&g, "\"a\" is made later");
    put_value(&g, GRAPH_INPUT, "x");
    put_node(&g, "Relu", "w", "y");
    refuse_graph(&g, "graph.node[0].input[0]: \"w\" is made by no");
    put_value(&g, GRAPH_OUTPUT, "z\x1b[2J");
    refuse_graph(&g, "graph.output[0]: \"z?[2J\" is made by no");
}

/* IR 3 lists initializers among the inputs. */
static void inputs_may_have_defaults(void **state)
{
    (void)state;
    buf g = {0}, t = tensor_of("w", REEL_ONNX_FLOAT, 0);
    put_value(&g, GRAPH_INPUT, "w");
    put_message(&g, GRAPH_INITIALIZER, &t);
    put_value(&g, GRAPH_OUTPUT, "w");
    buf m = model_of(&g);
    reel__onnx_model_free(accept_model(&m));
}

/* ---- size -------------------------------------------------------------------------- */

static void many_nodes_are_bounded(void **state)
{
    (void)state;
    buf g = {0};
    for (int i = 0; i <= REEL__ONNX_NODES_MAX; i++) put(&g, "\x0a\x03\x22\x01R", 5);
    buf m = model_of(&g);
    refuse_as(REEL_ERR_UNSUPPORTED, &m, "has 1000001 nodes, must have at most 1000000");
    for (int i = 0; i < 100000; i++) put(&g, "\x0a\x03\x22\x01R", 5);
    m = model_of(&g);
    refuse_as(REEL_ERR_UNSUPPORTED, &m, "needs more than 16 bytes of memory for each");
}

/* A long chain of nodes whose names share a long beginning. */
static void long_chains_take_little_time_and_memory(void **state)
{
    (void)state;
    enum { NODES = 50000 };
    buf g = {0};
    char name[2][64] = {"x", ""};
    put_value(&g, GRAPH_INPUT, "x");
    for (int i = 0; i < NODES; i++) {
        char *made = name[(i + 1) % 2];
        snprintf(made, sizeof name[0], "the.same.long.path.of.many.modules.%d", i);
        put_node(&g, "Relu", name[i % 2], made);
    }
    put_value(&g, GRAPH_OUTPUT, name[NODES % 2]);
    buf b = model_of(&g);
    size_t n = b.n;
    reel__fault_alloc(0, false);
    reel__onnx_model *m = accept_model(&b);
    assert_int_equal(m->graph.node.n, NODES);
    assert_true(m->owned->arena.total < 3 * n);
    assert_true(reel__fault_alloc_count() < 200);
    reel__onnx_model_free(m);
}

/* ---- external data ----------------------------------------------------------------- */

/* A file with a tensor of four bytes at `location`, beside which lies "w.bin" of 8 bytes. */
static reel__onnx_model *read_external(const char *location, const char *offset,
                                       const char *length)
{
    buf t = tensor_of("w", REEL_ONNX_FLOAT, 1), g = {0};
    if (location) put_prop(&t, TENSOR_EXTERNAL, "location", location);
    if (offset) put_prop(&t, TENSOR_EXTERNAL, "offset", offset);
    if (length) put_prop(&t, TENSOR_EXTERNAL, "length", length);
    put_prop(&t, TENSOR_EXTERNAL, "checksum", "?");
    put_int(&t, TENSOR_LOCATION, LOCATION_EXTERNAL);
    put_message(&g, GRAPH_INITIALIZER, &t);
    buf m = model_of(&g);
    temp_write("in/" F, m.at, m.n);
    buf_free(&m);
    return reel__onnx_read(temp_path("in/" F), NULL);
}

static void external_data_stay_in_the_folder(void **state)
{
    (void)state;
    temp_write("in/w.bin", "01234567", 8);
    temp_write("in/sub/w.bin", "sub/data", 8);
    temp_write("w.bin", "outside!", 8);
    temp_write("outside/w.bin", "outside!", 8);
    assert_int_equal(symlink("w.bin", temp_path("in/link")), 0);
    assert_int_equal(symlink("../outside", temp_path("in/away")), 0);
    assert_int_equal(link(temp_path("outside/w.bin"), temp_path("in/hard")), 0);
    assert_int_equal(mkfifo(temp_path("in/fifo"), 0600), 0);

    static const struct {
        const char *location, *offset, *length, *want;
    } good[] = {
        {"w.bin", NULL, NULL, "0123"},
        {"w.bin", "3", "4", "3456"},
        {"w.bin", "4", NULL, "4567"},
        {"./sub/w.bin", "0", NULL, "sub/"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        reel__onnx_model *m =
            read_external(good[i].location, good[i].offset, good[i].length);
        assert_ok();
        assert_memory_equal(m->graph.initializer.at[0]->data, good[i].want, 4);
        reel__onnx_model_free(m);
    }

    char absolute[300];
    snprintf(absolute, sizeof absolute, "%s", temp_path("in/w.bin"));
    const struct {
        const char *location, *offset, *length;
        reel_status status;
        const char *named;
    } bad[] = {
        {"../w.bin", NULL, NULL, REEL_ERR_FORMAT, "no \"..\""},
        {"sub/../w.bin", NULL, NULL, REEL_ERR_FORMAT, "no \"..\""},
        {"..", NULL, NULL, REEL_ERR_FORMAT, "no \"..\""},
        {"sub//w.bin", NULL, NULL, REEL_ERR_FORMAT, "no empty part"},
        {absolute, NULL, NULL, REEL_ERR_FORMAT, "is absolute"},
        {"link", NULL, NULL, REEL_ERR_FORMAT, "symbolic link"},
        {"away/w.bin", NULL, NULL, REEL_ERR_FORMAT, "symbolic link"},
        {"hard", NULL, NULL, REEL_ERR_FORMAT, "hard links"},
        {"fifo", NULL, NULL, REEL_ERR_IO, "regular file"},
        {"sub", NULL, NULL, REEL_ERR_IO, "regular file"},
        {"absent", NULL, NULL, REEL_ERR_IO, "absent"},
        {"w.bin", "5", NULL, REEL_ERR_FORMAT, "has 8 bytes, but 4 bytes at 5"},
        {"w.bin", "9", NULL, REEL_ERR_FORMAT, "has 8 bytes, but 4 bytes at 9"},
        {"w.bin", "18446744073709551615", NULL, REEL_ERR_FORMAT, "are wanted"},
        {"w.bin", "18446744073709551616", NULL, REEL_ERR_FORMAT,
         "offset is not a number"},
        {"w.bin", "-1", NULL, REEL_ERR_FORMAT, "offset is not a number"},
        {"w.bin", "", NULL, REEL_ERR_FORMAT, "offset is not a number"},
        {"w.bin", NULL, "5", REEL_ERR_FORMAT, "length of its data is 5"},
        {"w.bin", NULL, "4 ", REEL_ERR_FORMAT, "length is not a number"},
        {NULL, NULL, NULL, REEL_ERR_FORMAT, "names no location"},
        {"", NULL, NULL, REEL_ERR_FORMAT, "names no location"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(read_external(bad[i].location, bad[i].offset, bad[i].length));
        assert_non_null(strstr(reel_error_message(), "m.onnx: byte "));
        assert_non_null(strstr(reel_error_message(), "graph.initializer[0]"));
        assert_error(bad[i].status, bad[i].named);
    }
}

static void models_in_memory_have_no_external_data(void **state)
{
    (void)state;
    buf t = tensor_of("w", REEL_ONNX_FLOAT, 1);
    put_prop(&t, TENSOR_EXTERNAL, "location", "w.bin");
    put_int(&t, TENSOR_LOCATION, LOCATION_EXTERNAL);
    refuse_initializer(&t, "a model in memory has no folder");
    t = tensor_of("w", REEL_ONNX_FLOAT, 1);
    put_int(&t, TENSOR_LOCATION, LOCATION_EXTERNAL);
    put_bytes(&t, TENSOR_RAW, "1234", 4);
    refuse_initializer(&t, "data of several kinds");
}

/* A pipe, a folder, an empty file in place of the model. */
static void models_are_regular_files(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(temp_path(F), 0600), 0);
    assert_null(reel__onnx_read(temp_path(F), NULL));
    assert_error(REEL_ERR_IO, "regular file");
    assert_null(reel__onnx_read(temp_root, NULL));
    assert_error(REEL_ERR_IO, "regular file");
    temp_write("empty", "", 0);
    assert_null(reel__onnx_read(temp_path("empty"), NULL));
    assert_error(REEL_ERR_FORMAT, "empty: byte 0: has no ir_version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(truncated_files_are_errors, temp_clean),
        cmocka_unit_test_setup(flipped_bits_are_survived, temp_clean),
        cmocka_unit_test_setup(bad_wires_are_errors, temp_clean),
        cmocka_unit_test_setup(lenient_where_protobuf_is, temp_clean),
        cmocka_unit_test_setup(deep_nesting_is_refused_or_skipped, temp_clean),
        cmocka_unit_test_setup(bad_attributes_are_errors, temp_clean),
        cmocka_unit_test_setup(valid_attributes_may_be_lacking, temp_clean),
        cmocka_unit_test_setup(packed_and_unpacked_are_the_same, temp_clean),
        cmocka_unit_test_setup(bad_tensors_are_errors, temp_clean),
        cmocka_unit_test_setup(valid_tensors_may_be_lacking, temp_clean),
        cmocka_unit_test_setup(typed_data_becomes_raw, temp_clean),
        cmocka_unit_test_setup(bad_values_are_errors, temp_clean),
        cmocka_unit_test_setup(valid_values_may_be_lacking, temp_clean),
        cmocka_unit_test_setup(negative_sizes_are_open, temp_clean),
        cmocka_unit_test_setup(versions_of_the_format, temp_clean),
        cmocka_unit_test_setup(functions_are_lacking, temp_clean),
        cmocka_unit_test_setup(graphs_are_in_order_and_made_once, temp_clean),
        cmocka_unit_test_setup(inputs_may_have_defaults, temp_clean),
        cmocka_unit_test_setup(many_nodes_are_bounded, temp_clean),
        cmocka_unit_test_setup(long_chains_take_little_time_and_memory, temp_clean),
        cmocka_unit_test_setup(external_data_stay_in_the_folder, temp_clean),
        cmocka_unit_test_setup(models_in_memory_have_no_external_data, temp_clean),
        cmocka_unit_test_setup(models_are_regular_files, temp_clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
