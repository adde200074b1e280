/* onnx.h (internal): what the ONNX rule of a record sees, and the words it is written in.
 *
 *     ONNX_RULE(silu, ONNX("Mul", x, ONNX("Sigmoid", x)))
 *
 * A rule adds nodes to a model. It works on references: names with a type, in which a size
 * may grow with the batch, so that no batch size is written into a file. Every word gives
 * NULL once an error is pending and takes NULL from the others, so rules check nothing in
 * between. The call tells attributes; its tensors are not there. Which operators ONNX has, from which opset on and for which dtypes is one table
 * (onnx/table.c), which every word asks. */
#ifndef REEL_OPS_ONNX_H
#define REEL_OPS_ONNX_H

#include "onnx/model.h"
#include "ops/op.h"

/* Slopes of sizes that grow on no line, from here on, for each its own: the model can copy such
 * a size, not compute it. */
#define REEL__ONNX_BENT INT64_MIN
static inline bool reel__onnx_bent(int64_t grow)
{
    return grow < INT64_MIN / 2;
}
/* What a model keeps: an initializer, written when a node reads it, in the shape that it reads. */
typedef struct reel__onnx_state {
    const char *name;
    const void *data; /* row-major, the caller's */
    struct reel__onnx_written *written;
} reel__onnx_state;
/* A value of the model. dim[i] is its size at o->batch; dim[i] + grow[i] (b - o->batch) at b. */
typedef struct reel_onnx_ref {
    const char *name;
    reel_dtype dtype;
    int rank;
    int64_t dim[REEL_MAX_RANK], grow[REEL_MAX_RANK];
    reel__onnx_state *state;    /* NULL: a node makes it, or it is an input */
    struct reel_onnx_ref *next; /* made after it */
} reel_onnx_ref;
typedef const reel_onnx_ref *reel__ref;

typedef struct reel__onnx_name_set reel__onnx_name_set;

struct reel_onnx {
    reel__onnx_model *model;
    int opset;
    int64_t batch;                /* at which all sizes stand; 0: they are fixed */
    reel__ref in[REEL_OP_MAX_IN]; /* operands of the call; NULL: absent */
    reel_onnx_ref
        out[REEL_OP_MAX_OUT];         /* types of the results; rank -1: nobody reads it */
    reel__ref given[REEL_OP_MAX_OUT]; /* what the rule made of them */
    const void *per_batch; /* slopes of the attributes (trace/graph/graph.h), or NULL */
    const char *op;        /* the record, which messages begin with */
    const char *where;     /* module path, or NULL: names begin with it */
    reel__onnx_node *node; /* the latest, which attributes go to */
    reel_onnx_ref *first_made, *last_made;
    reel__ref batch_from; /* an input with a size that grows, the one of ... */
    int batch_dim;
    reel__ref batch_size; /* i64 [1], once somebody asked for it */
    reel__onnx_name_set *names;
};

/* ---- nodes --------------------------------------------------------------------------- */

/* A node with one result of the type `type` (its name is not looked at). in[i] NULL: an absent
 * operand; absent ones at the end may be left out. Errors: REEL_ERR_UNSUPPORTED if the opset
 * has not the operator for that dtype. */
reel__ref reel__onnx_emit_node(reel_onnx *o, const char *op, reel_onnx_ref type, int n,
                               const reel__ref in[]);
/* A node of a domain that is not ONNX's own, with the operands of the call, which gives its first
 * n_out results. */
reel_status reel__onnx_foreign(reel_onnx *o, const char *domain, const char *op, int n_in,
                               int n_out);
/* The same as reel__onnx_emit_node(), elementwise: the shape is what operands broadcast to, the
 * dtype that of the last. */
reel__ref reel__onnx_map(reel_onnx *o, const char *op, int n, const reel__ref in[]);
/* What operands broadcast to, with the dtype of the last. Absent ones do not count. */
reel_onnx_ref reel__onnx_broadcast(int n, const reel__ref in[]);
/* Elementwise, with a bool result. */
reel__ref reel__onnx_bool(reel_onnx *o, const char *op, int n, const reel__ref in[]);
/* One more result of the latest node. */
reel__ref reel__onnx_more(reel_onnx *o, reel_onnx_ref type);
/* Result k of the call is v, which must have its type. */
reel_status reel__onnx_give(reel_onnx *o, int k, reel__ref v);
/* Whether the opset has the operator, and for this dtype. */
bool reel__onnx_has(const reel_onnx *o, const char *op, reel_dtype dtype);
/* A new name: "path/word", with a number behind it if there is such a name. */
const char *reel__onnx_name(reel_onnx *o, const char *word);

/* ---- attributes of the latest node ------------------------------------------------------ */

void reel__onnx_int(reel_onnx *o, const char *name, int64_t value);
void reel__onnx_float(reel_onnx *o, const char *name, double value);
void reel__onnx_str(reel_onnx *o, const char *name, const char *value);
void reel__onnx_ints(reel_onnx *o, const char *name, int n, const int64_t value[]);

/* ---- constants --------------------------------------------------------------------------- */

/* An initializer; `data` is copied. */
reel__ref reel__onnx_const(reel_onnx *o, reel_shape shape, reel_dtype dtype,
                           const void *data);
/* A scalar, of rank 0, rounded to the dtype; the number as it is. */
reel__ref reel__onnx_number(reel_onnx *o, double value, reel_dtype dtype);
reel__ref reel__onnx_exactly(reel_onnx *o, reel__number value, reel_dtype dtype);
/* i64 [n] */
reel__ref reel__onnx_list(reel_onnx *o, int n, const int64_t value[]);
/* i64 [n]: value[i] + slope[i] (b - o->batch), computed in the model if a slope is not 0. */
reel__ref reel__onnx_sizes(reel_onnx *o, int n, const int64_t value[],
                           const int64_t slope[]);
/* start, start + step, ...: n of them, which may grow; shape [n]. */
reel__ref reel__onnx_range(reel_onnx *o, const reel__arange_attrs *a, reel_dtype dtype,
                           int64_t n, int64_t grow);
/* The same with equal steps; n may not grow. */
reel__ref reel__onnx_linspace(reel_onnx *o, const reel__linspace_attrs *a,
                              reel_dtype dtype, int64_t n, int64_t grow);
/* Whether the model keeps the value, integers, and all of them are 0. */
bool reel__onnx_is_zero(const reel_onnx *o, reel__ref x);
/* A tensor full of a value, of the type's shape and dtype. */
reel__ref reel__onnx_full(reel_onnx *o, reel__number value, reel_onnx_ref type);

/* ---- what many rules need ---------------------------------------------------------------- */

/* x itself if it has the dtype. */
reel__ref reel__onnx_cast(reel_onnx *o, reel__ref x, reel_dtype dtype);
/* x in the shape of `type`. */
reel__ref reel__onnx_reshape(reel_onnx *o, reel__ref x, reel_onnx_ref type);
/* ReduceSum and its like over the dims of the mask, which stay as 1; x itself for none. */
reel__ref reel__onnx_reduce(reel_onnx *o, const char *op, reel__ref x, int64_t mask);
/* The same of few elements; what the model keeps is kept in that shape, without a node. */
reel__ref reel__onnx_as(reel_onnx *o, reel__ref x, reel_onnx_ref type);
/* x in the shape of `type`, to which it broadcasts. */
reel__ref reel__onnx_expand(reel_onnx *o, reel__ref x, reel_onnx_ref type);
/* What a call of another record, with one result of this type, gives. */
reel__ref reel__onnx_call(reel_onnx *o, const reel__op *op, const void *attrs,
                          reel_onnx_ref type, int n, const reel__ref in[]);
/* x with its last two dims exchanged. */
reel__ref reel__onnx_transpose(reel_onnx *o, reel__ref x);
/* Whether two sizes are equal at every batch. */
static inline bool reel__onnx_same_size(reel__ref x, int i, reel__ref y, int k)
{
    return x->dim[i] == y->dim[k] && x->grow[i] == y->grow[k];
}
/* An error: the model was traced in train mode. */
reel_status reel__onnx_training(const reel__call *c, const char *what);
/* Why gradients of fused kernels and optimizer steps have no rule. */
#define REEL__ONNX_TRAINING "of training alone; files hold inference"
/* Why what draws has none. */
#define REEL__ONNX_DRAWS                                                                 \
    "draws random numbers, as in train mode: call reel_train(net, false) before tracing"

/* ---- words: `o`, and `x` for NUM, EXACTLY and HAS, are those of the rule ------------------------------ */

#define REEL__REFS(...)                                                                  \
    (int)(sizeof((const reel__ref[]){__VA_ARGS__}) / sizeof(reel__ref)),                 \
        (const reel__ref[])                                                              \
    {                                                                                    \
        __VA_ARGS__                                                                      \
    }
#define ONNX(op, ...) reel__onnx_map(o, op, REEL__REFS(__VA_ARGS__))
#define ONNX_BOOL(op, ...) reel__onnx_bool(o, op, REEL__REFS(__VA_ARGS__))
#define ONNX_NODE(op, type, ...)                                                         \
    reel__onnx_emit_node(o, op, type, REEL__REFS(__VA_ARGS__))
#define NUM(value) reel__onnx_number(o, (value), x->dtype)
#define EXACTLY(number) reel__onnx_exactly(o, (number), x->dtype)
#define HAS(op) reel__onnx_has(o, op, x->dtype)
/* v, with an attribute for the node that made it */
#define WITH_INT(v, name, i) reel__onnx_with_int(o, (v), name, (i))
#define WITH_FLOAT(v, name, f) reel__onnx_with_float(o, (v), name, (f))
reel__ref reel__onnx_with_int(reel_onnx *o, reel__ref v, const char *name, int64_t i);
reel__ref reel__onnx_with_float(reel_onnx *o, reel__ref v, const char *name, double f);

/* ONNX_RULE(name, expression): the rule name_onnx of a record with one result, which is the
 * expression over the operands x, y, z and the call c. */
#define ONNX_RULE(fn, expression)                                                        \
    static reel_status fn##_onnx(const reel__call *c, reel_onnx *o)                      \
    {                                                                                    \
        const reel__ref x = o->in[0], y = o->in[1], z = o->in[2];                        \
        (void)c, (void)x, (void)y, (void)z;                                              \
        return reel__onnx_give(o, 0, expression);                                        \
    }

/* ---- names.c, table.c ---------------------------------------------------------------------- */

reel__onnx_name_set *reel__onnx_name_set_new(void);
void reel__onnx_name_set_free(reel__onnx_name_set *s);
/* Takes the name as it is; false if it is taken (no error), or with an error. */
bool reel__onnx_name_take(reel__onnx_name_set *s, const char *name);

/* The first opset from which an operator takes a dtype; 0: none, in no opset. */
int reel__onnx_since(const char *op, reel_dtype dtype);
/* Which operand's dtype that is. */
int reel__onnx_typed_operand(const char *op);
/* IR version of a file of this opset. */
int reel__onnx_ir(int opset);
#define REEL__ONNX_OPSET_FIRST 13
#define REEL__ONNX_OPSET_LAST 26
#define REEL__ONNX_OPSET_DEFAULT 17

#endif
