/* model.h: an ONNX file in memory, and nothing but the file: no tensors, no graphs, no
 * operators. The exporter builds a model and writes it, the importer reads one.
 *
 * All that a model points to lies in its arena and goes with it at once, except the bytes of
 * tensors: those are the caller's where a model is built, and lie in the mapped file where it
 * was read. Builders copy every string; they return NULL or false with a pending error, and
 * NULL in gives NULL or false out, so calls need no check between them.
 *
 * What a file may hold and a model cannot is no error of the file: the thing carries a `lack`,
 * words that go behind its name, such as "holds strings" (NULL: nothing is lacking), and who
 * needs it refuses. So the reader knows two outcomes, a broken file and a model.
 * Source: the messages of onnx.proto (github.com/onnx/onnx), IR 3 to 14. */
#ifndef REEL_ONNX_MODEL_H
#define REEL_ONNX_MODEL_H

#include <reel/base.h>

/* ---- element types ----------------------------------------------------------------- */

/* TensorProto.DataType, with its numbers. */
typedef enum reel__onnx_dtype {
    REEL_ONNX_UNDEFINED = 0,
    REEL_ONNX_FLOAT = 1,
    REEL_ONNX_UINT8 = 2,
    REEL_ONNX_INT8 = 3,
    REEL_ONNX_UINT16 = 4,
    REEL_ONNX_INT16 = 5,
    REEL_ONNX_INT32 = 6,
    REEL_ONNX_INT64 = 7,
    REEL_ONNX_STRING = 8,
    REEL_ONNX_BOOL = 9,
    REEL_ONNX_FLOAT16 = 10,
    REEL_ONNX_DOUBLE = 11,
    REEL_ONNX_UINT32 = 12,
    REEL_ONNX_UINT64 = 13,
    REEL_ONNX_COMPLEX64 = 14,
    REEL_ONNX_COMPLEX128 = 15,
    REEL_ONNX_BFLOAT16 = 16,
    REEL_ONNX_FLOAT8E4M3FN = 17,
    REEL_ONNX_FLOAT8E4M3FNUZ = 18,
    REEL_ONNX_FLOAT8E5M2 = 19,
    REEL_ONNX_FLOAT8E5M2FNUZ = 20,
    REEL_ONNX_UINT4 = 21,
    REEL_ONNX_INT4 = 22,
    REEL_ONNX_FLOAT4E2M1 = 23,
    REEL_ONNX_FLOAT8E8M0 = 24,
    REEL_ONNX_UINT2 = 25,
    REEL_ONNX_INT2 = 26,
    REEL_ONNX_DTYPE_COUNT
} reel__onnx_dtype;

/* Name as onnx.proto spells it, such as "FLOAT16"; "?" for a number that is none. */
const char *reel__onnx_dtype_name(reel__onnx_dtype dtype);
/* Bits of one element in raw data; 0 where there is no such form (STRING, no dtype). */
int reel__onnx_dtype_bits(reel__onnx_dtype dtype);
/* The ONNX type of a dtype, and back: false where reel has none such. */
reel__onnx_dtype reel__onnx_dtype_of(reel_dtype dtype);
bool reel__onnx_dtype_back(reel__onnx_dtype from, reel_dtype *dtype);
/* Bytes of a tensor's raw data: elements of less than 8 bits are packed, the last byte
 * filled up. False if a dimension is negative, the product overflows or there is no raw
 * form. */
bool reel__onnx_bytes(reel_shape shape, reel__onnx_dtype dtype, size_t *bytes);

/* ---- the model --------------------------------------------------------------------- */

/* A list: at[0] .. at[n - 1]; `room` is for the builders. */
#define REEL_ONNX_LIST(type)                                                             \
    struct {                                                                             \
        type *at;                                                                        \
        size_t n, room;                                                                  \
    }

typedef struct reel__onnx_tensor {
    const char *name; /* "" allowed for the value of an attribute */
    reel__onnx_dtype dtype;
    reel_shape shape;
    const void *data; /* row-major, little endian; NOT aligned in a model that was read */
    size_t bytes;     /* always what shape and dtype say */
    uint64_t offset;  /* in a model that was read: where it stands in the file */
    const char *lack; /* why there is no data; dtype and shape may be missing too */
} reel__onnx_tensor;

/* One dimension of a value: `size`, or, if that is -1, the symbol `param` ("": unknown). */
typedef struct reel__onnx_dim {
    int64_t size;
    const char *param;
} reel__onnx_dim;

/* ValueInfoProto. An unknown type is REEL_ONNX_UNDEFINED, an unknown shape rank -1. */
typedef struct reel__onnx_value {
    const char *name;
    reel__onnx_dtype dtype;
    int rank;
    const reel__onnx_dim *dim;
    uint64_t offset;  /* in a model that was read: where it stands in the file */
    const char *lack; /* why it is not a tensor that a model can have */
} reel__onnx_value;

/* AttributeProto.AttributeType, with its numbers; the others (graphs and such) are of kind
 * NONE, and lacking. */
typedef enum reel__onnx_kind {
    REEL_ONNX_A_NONE = 0,
    REEL_ONNX_A_FLOAT = 1,
    REEL_ONNX_A_INT = 2,
    REEL_ONNX_A_STRING = 3,
    REEL_ONNX_A_TENSOR = 4,
    REEL_ONNX_A_FLOATS = 6,
    REEL_ONNX_A_INTS = 7,
    REEL_ONNX_A_STRINGS = 8
} reel__onnx_kind;

typedef struct reel__onnx_attribute {
    const char *name;
    reel__onnx_kind kind;
    size_t n; /* of floats, ints, strings */
    const char *lack;
    union {
        float f;
        int64_t i;
        const char *s;
        const reel__onnx_tensor *t;
        const float *floats;
        const int64_t *ints;
        const char *const *strings;
    };
} reel__onnx_attribute;

typedef struct reel__onnx_node {
    const char *op_type, *name, *domain, *doc; /* "" where absent, never NULL */
    REEL_ONNX_LIST(const char *) input;        /* "" stands for an absent one */
    REEL_ONNX_LIST(const char *) output;
    REEL_ONNX_LIST(reel__onnx_attribute *) attribute;
    uint64_t offset; /* in a model that was read: where it stands in the file */
} reel__onnx_node;

typedef struct reel__onnx_graph {
    const char *name, *doc;
    REEL_ONNX_LIST(reel__onnx_node *) node;          /* in topological order */
    REEL_ONNX_LIST(reel__onnx_tensor *) initializer; /* parameters and constants */
    REEL_ONNX_LIST(reel__onnx_value *) input;
    REEL_ONNX_LIST(reel__onnx_value *) output;
    REEL_ONNX_LIST(reel__onnx_value *) value_info; /* intermediates */
} reel__onnx_graph;

typedef struct reel__onnx_prop {
    const char *key, *value;
} reel__onnx_prop;

typedef struct reel__onnx_model {
    int64_t ir_version;
    int64_t opset;      /* of the domain "", also spelled "ai.onnx" */
    size_t n_functions; /* in the file; their bodies are not read */
    const char *producer_name, *producer_version, *doc;
    int64_t model_version;
    REEL_ONNX_LIST(reel__onnx_prop *) metadata;
    REEL_ONNX_LIST(const char *)
    domain; /* others than "", of nodes that were built; version 1 */
    reel__onnx_graph graph;
    struct reel__onnx_owned *owned; /* arena and mapped files */
} reel__onnx_model;

/* An empty model: every string "", IR 8, opset 17. */
reel__onnx_model *reel__onnx_model_new(void);
void reel__onnx_model_free(reel__onnx_model *m);

/* ---- building ---------------------------------------------------------------------- */

/* Copies into the arena. NULL copies as "". */
const char *reel__onnx_text(reel__onnx_model *m, const char *text);
void *reel__onnx_copy(reel__onnx_model *m, const void *data, size_t bytes);

bool reel__onnx_add_metadata(reel__onnx_model *m, const char *key, const char *value);

/* A node without inputs, outputs and attributes, of the domain "". It keeps its address. */
reel__onnx_node *reel__onnx_add_node(reel__onnx_model *m, const char *op_type,
                                     const char *name);
/* The node is of another domain than "", which the model then imports in its version 1. */
bool reel__onnx_set_domain(reel__onnx_model *m, reel__onnx_node *node,
                           const char *domain);
bool reel__onnx_add_input(reel__onnx_model *m, reel__onnx_node *node, const char *name);
bool reel__onnx_add_output(reel__onnx_model *m, reel__onnx_node *node, const char *name);

bool reel__onnx_add_float(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                          float f);
bool reel__onnx_add_int(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                        int64_t i);
bool reel__onnx_add_string(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                           const char *s);
bool reel__onnx_add_tensor(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                           const reel__onnx_tensor *t);
bool reel__onnx_add_floats(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                           const float *floats, size_t n);
bool reel__onnx_add_ints(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                         const int64_t *ints, size_t n);
bool reel__onnx_add_strings(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                            const char *const *strings, size_t n);
/* The attribute of that name; NULL (and no error) if the node has none. */
const reel__onnx_attribute *reel__onnx_find_attribute(const reel__onnx_node *node,
                                                      const char *name);

/* A tensor of its own, for an attribute, and one that is an initializer. `data` is borrowed
 * until the model is written (reel__onnx_copy() keeps what is only passing by). */
reel__onnx_tensor *reel__onnx_new_tensor(reel__onnx_model *m, const char *name,
                                         reel__onnx_dtype dtype, reel_shape shape,
                                         const void *data);
reel__onnx_tensor *reel__onnx_add_initializer(reel__onnx_model *m, const char *name,
                                              reel__onnx_dtype dtype, reel_shape shape,
                                              const void *data);

typedef enum reel__onnx_place {
    REEL_ONNX_INPUT,
    REEL_ONNX_OUTPUT,
    REEL_ONNX_VALUE_INFO
} reel__onnx_place;

/* Appends a value to the inputs, the outputs or the intermediates. rank -1: unknown shape,
 * `dim` is not looked at. */
reel__onnx_value *reel__onnx_add_value(reel__onnx_model *m, reel__onnx_place place,
                                       const char *name, reel__onnx_dtype dtype, int rank,
                                       const reel__onnx_dim *dim);

#endif
