/* import.h (internal): what the rule of an ONNX operator sees, and the words it is written in.
 *
 *     static void relu(reel__import *im) { OUT(0, CALL(relu, NULL, IN(0))); }
 *
 * A rule adds nodes of records to a graph. It works on numbers of values and their metas; no
 * tensor is computed and nothing is allocated by the sizes that a file states. What is small
 * and constant is folded as it is emitted (import_fold.c), so that arithmetic on shapes needs
 * no rules of its own. Every word does nothing and gives REEL_NO_VALUE once an error is
 * pending, so rules check nothing in between. Messages of rules begin with what is wrong: the
 * driver (import.c) puts file and node before them. Their status says what it is: FORMAT breaks
 * ONNX's rules, UNSUPPORTED is right and not here, and SHAPE are sizes that do not fit together,
 * which the driver makes one of both. */
#ifndef REEL_TRACE_ONNX_IMPORT_H
#define REEL_TRACE_ONNX_IMPORT_H

#include <reel/onnx.h>

#include "onnx/file.h"
#include "ops/records.h"
#include "trace/graph/graph.h"
#include "trace/onnx/import_lacks.h"

typedef struct reel__import reel__import;

/* Of a name whose value could not be made, for want of something that the list says. */
#define REEL__IM_LACKING (-2)
/* The domain of ONNX Runtime's own operators. */
#define REEL__IM_MICROSOFT "com.microsoft"
/* A place in a file, for the list. */
#define REEL__ONNX_WHERE 96

/* A row of the table of operators: what is checked before the rule is asked. */
typedef struct reel__import_row {
    const char *op_type;
    int since, until;       /* opsets of this form; until 0: to the newest */
    int min_in, max_in;     /* how many inputs a node may have; max_in -1: any number */
    int max_out;            /* -1: any number */
    const char *attributes; /* those it may have, "axis keepdims" */
    void (*rule)(reel__import *);
    const reel__op *record;           /* for rules that many rows share */
    const reel__op *record2;          /* a second one */
    double number;                    /* what else tells rows of one rule apart */
    const struct reel__im_form *form; /* of quantized operands (import_qlinear.c) */
    const char *domain; /* NULL: ONNX's own; opsets are those of the domain */
} reel__import_row;

/* IMPORT_ROW("Relu", 1, 0, 1, 1, 1, "", .rule = unary, .record = &reel__relu) */
#define IMPORT_ROW(name, from, to, least, most, outs, words, ...)                        \
    {                                                                                    \
        .op_type = (name), .since = (from), .until = (to), .min_in = (least),            \
        .max_in = (most), .max_out = (outs), .attributes = (words), __VA_ARGS__          \
    }

struct reel__import {
    const reel__onnx_model *model;
    const reel__onnx_names *names;
    reel_graph *g;
    int64_t batch; /* size of dimensions that are left open */
    int opset;
    int *value; /* of each name; REEL_NO_VALUE until it is made, or REEL__IM_LACKING */
    const reel__onnx_tensor **data; /* of each name: what it holds, or NULL */
    bool *constant;      /* of each name: data come from a node, not a parameter */
    reel_tensor **known; /* of each value: computed while loading, or NULL */
    int cap_known;
    int64_t folded; /* bytes computed while loading */
    reel__import
        *twin; /* built before this one, at another batch size: tensors are shared */
    reel__import_lacks *lacks; /* of both */
    const reel__onnx_node *node;
    const reel__import_row *row;
    const reel__op *custom; /* a node of another domain: the user's operator; retained */
};

/* ---- the tables: families of operators, import_*.c ---------------------------------------- */

typedef struct reel__import_family {
    const reel__import_row *row;
    int n;
} reel__import_family;
extern const reel__import_family reel__import_math, reel__import_shape,
    reel__import_const, reel__import_index, reel__import_reduce, reel__import_window,
    reel__import_matmul, reel__import_norm, reel__import_quantize, reel__import_qlinear;

/* ---- import.c ------------------------------------------------------------------------------- */

/* The graph of a model; `file` is for messages. `opts` may be NULL. */
reel_graph *reel__onnx_import(const reel__onnx_model *m, const char *file,
                              const reel_onnx_load_opts *opts);

/* ---- import_custom.c -------------------------------------------------------------------------- */

/* The row of nodes that operators of the user's own stand for. */
extern const reel__import_row reel__import_custom;
/* Whether the operator has such an attribute. */
bool reel__im_custom_has(const reel__op *op, const char *attribute);

/* ---- import_ends.c ---------------------------------------------------------------------------- */

/* Whether inputs leave a size open; a second one is lacking. */
bool reel__im_open(reel__import *im);
reel_status reel__im_add_inputs(reel__import *im, const char *file);
reel_status reel__im_add_outputs(reel__import *im, const char *file);

/* ---- import_node.c: operands and attributes of the node ------------------------------------- */

/* Input k, as a value of the graph; REEL_NO_VALUE if it is absent. */
int reel__im_in(reel__import *im, int k);
/* The same; an initializer is a buffer and no parameter. */
int reel__im_in_buffer(reel__import *im, int k);
bool reel__im_has_in(const reel__import *im, int k);
bool reel__im_wants_out(const reel__import *im, int k);
/* Result k is v. */
void reel__im_out(reel__import *im, int k, int v);
/* The number of a name; -1 if nothing makes it. */
int64_t reel__im_name(const reel__import *im, const char *name);
/* The value of a name, made on demand from the data it holds; `kind` of a state. */
int reel__im_value(reel__import *im, int64_t number, reel__value_kind kind);
/* Whether the value of a name cannot be made, which the first build says for both; a tensor of
 * the file that has no counterpart is noted. */
bool reel__im_lacking(reel__import *im, int64_t number);
/* Result k holds the tensor t, which a node carries as its attribute. */
void reel__im_out_data(reel__import *im, int k, const reel__onnx_tensor *t);

/* An attribute, or `otherwise` where there is none. Wrong kinds are errors. */
int64_t reel__im_int(reel__import *im, const char *name, int64_t otherwise);
double reel__im_float(reel__import *im, const char *name, double otherwise);
const char *reel__im_string(reel__import *im, const char *name, const char *otherwise);
/* The dtype of a number that the attribute `name` has. */
reel_dtype reel__im_dtype(const char *name, int64_t number);
const reel__onnx_tensor *reel__im_tensor(reel__import *im, const char *name);
bool reel__im_has(const reel__import *im, const char *name);

/* A short list of whole numbers; n -1: there is none. */
#define REEL__IM_LIST 64
typedef struct reel__im_list {
    int n;
    int64_t at[REEL__IM_LIST];
} reel__im_list;
reel__im_list reel__im_ints(reel__import *im, const char *name);
/* Input k, which must be known while loading: numbers of rank 0 or 1. */
reel__im_list reel__im_in_ints(reel__import *im, int k);
/* From the attribute, or, in later opsets, from input k. */
reel__im_list reel__im_list_or_in(reel__import *im, const char *name, int k);
/* Input k as one number, or `otherwise` where it is absent. */
reel__number reel__im_in_number(reel__import *im, int k, double otherwise);
/* Whether a value is one number that is known while loading, and which. */
bool reel__im_number(reel__import *im, int v, reel__number *number);
/* A dimension that counts from the end where it is negative, of `rank`; an error: 0. */
int reel__im_axis(int64_t axis, int rank);
/* A list of sizes, which must be >= 0, as a shape. */
reel_shape reel__im_shape(const reel__im_list *list);
/* Bits of a list of dimensions. */
int64_t reel__im_mask(const reel__im_list *axes, int rank);

/* ---- import_emit.c: nodes ---------------------------------------------------------------------- */

const reel__meta *reel__im_meta(const reel__import *im, int v);
/* A node of the record; its results' values to out[]. */
void reel__im_emit_all(reel__import *im, const reel__op *op, const void *attrs, int n,
                       const int in[], int out[]);
/* The same, for its first result. */
int reel__im_emit(reel__import *im, const reel__op *op, const void *attrs, int n,
                  const int in[]);
#define REEL__IM_ARGS(...)                                                               \
    (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)), (const int[])               \
    {                                                                                    \
        __VA_ARGS__                                                                      \
    }
#define CALL(record, attrs, ...)                                                         \
    reel__im_emit(im, &reel__##record, (attrs), REEL__IM_ARGS(__VA_ARGS__))
#define IN(k) reel__im_in(im, (k))
#define OUT(k, v) reel__im_out(im, (k), (v))
#define META(v) reel__im_meta(im, (v))

/* What the public functions of these names do before they call apply(). */
int reel__im_reshape(reel__import *im, int x, reel_shape shape);
/* To a shape that was asked for as a record of reshape says it (REEL_INFERRED, REEL_SIZE_OF);
 * `shape` is what it is here. */
int reel__im_reshape_as(reel__import *im, int x, reel_shape shape, const int64_t asked[]);
/* Without the dimensions of the mask, which have size 1. */
int reel__im_drop_dims(reel__import *im, int x, int64_t mask);
int reel__im_permute(reel__import *im, int x, const int64_t dims[]);
int reel__im_expand(reel__import *im, int x, reel_shape shape);
int reel__im_slice(reel__import *im, int x, int dim, int64_t start, int64_t end,
                   int64_t step);
int reel__im_narrow(reel__import *im, int x, int dim, int64_t start, int64_t length);
int reel__im_pad(reel__import *im, int x, const int64_t before[], const int64_t after[],
                 reel__number value);
int reel__im_cat(reel__import *im, int n, const int x[], int dim);
int reel__im_cast(reel__import *im, int x, reel_dtype dtype);
int reel__im_contiguous(reel__import *im, int x);
int reel__im_channels_last(reel__import *im, int x);
int reel__im_matmul(reel__import *im, int x, int y);
/* The same, where vectors are a row and a column: MatMul. */
int reel__im_product(reel__import *im, int x, int y);
/* x with the size of dimensions of the mask 1, or without them. A mean is a sum. */
int reel__im_reduce(reel__import *im, const reel__op *op, int x, int64_t mask,
                    double scale, bool keep);
int reel__im_mean(reel__import *im, int x, int64_t mask, bool keep);
int reel__im_scale(reel__import *im, int x, double factor);
int reel__im_shift(reel__import *im, int x, double summand);
int reel__im_full(reel__import *im, reel_shape shape, reel__number value,
                  reel_dtype dtype);
/* A scalar of x's dtype. */
int reel__im_scalar(reel__import *im, double value, int x);
/* start, start + step, ... before end */
int reel__im_arange(reel__import *im, reel__number start, reel__number end,
                    reel__number step, reel_dtype dtype);
/* start, start + 1, ...: n of them, i64. */
int reel__im_count_from(reel__import *im, int64_t start, int64_t n);
/* A constant; `data` is copied. */
int reel__im_const(reel__import *im, reel_shape shape, reel_dtype dtype,
                   const void *data);
/* Along `axis`, and over all dimensions from it on together, as opsets until 12 have it. */
int reel__im_softmax(reel__import *im, const reel__op *op, int x, int64_t axis);
int reel__im_softmax_flat(reel__import *im, const reel__op *op, int x, int64_t axis);
/* Merges or splits dimensions: all before `axis`, all from it on. */
int reel__im_flatten(reel__import *im, int x, int axis);
/* Number of elements of dimensions from .. to - 1. */
int64_t reel__im_count(const reel__meta *m, int from, int to);

/* ---- import_window.c: what the node does with windows, for operators on quantized operands -- */

/* Operands and attributes as records of convolutions take them: planes, channels last. */
typedef struct reel__im_conv {
    int x, weight;
    reel__conv2d_attrs attrs;
    int dims; /* of space, in the file */
} reel__im_conv;
/* Where padding differs between sides, x gets it: of `zero`, a value, or of 0 without one. */
reel__im_conv reel__im_conv_of(reel__import *im, int x, int weight, int zero);
/* A plane as the file has it: with one dimension of space [n, c, l]. */
int reel__im_as_line(reel__import *im, int y, int dims);
int reel__im_average_pool(reel__import *im, int x);
int reel__im_global_average_pool(reel__import *im, int x);

/* ---- import_quantize.c ---------------------------------------------------------------------- */

/* x as u8, its scale and its zero point: DynamicQuantizeLinear. */
void reel__im_dynamic_quantize(reel__import *im, int x, int out[3]);

/* ---- import_fold.c: what is known while loading -------------------------------------------- */

/* The tensor of a value that is a small constant or was computed from such; else NULL. */
reel_tensor *reel__im_known(const reel__import *im, int v);
/* Computes a node that was just emitted, if its operands are known and it is cheap. */
void reel__im_fold(reel__import *im, const reel__op *op, const void *attrs, int n,
                   const int in[], const int out[]);
/* Its numbers as `dtype`, row-major, into `to`. */
reel_status reel__im_read(const reel_tensor *t, void *to, reel_dtype dtype);
/* After a node, in both builds (b NULL: there is one): a result that was computed and does not
 * depend on the batch becomes a constant. */
void reel__im_settle(reel__import *a, reel__import *b);
/* Two tensors of one meta and one content. */
bool reel__im_same(const reel_tensor *x, const reel_tensor *y);

#endif
