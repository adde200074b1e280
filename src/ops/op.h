/* op.h: THE record. Every operator is one, every call of it takes the one path (apply.c),
 * and everybody else listens to that path. */
#ifndef REEL_OPS_OP_H
#define REEL_OPS_OP_H

#include <reel/ops.h>
#include <reel/profile.h>

#include "backend/backend.h"
#include "ops/attr.h"
#include "tensor/tensor.h"

typedef struct reel__op reel__op;
typedef struct reel_onnx reel_onnx;   /* what an ONNX rule writes to (onnx.h) */
typedef struct reel__made reel__made; /* the life of a record made at run time (made.h) */

/* One call: a record with its operands. Recorders see it after the kernel ran; a vjp sees the
 * one of the forward, with ghosts (no storage) where a value was not saved. */
typedef struct reel__call {
    const reel__op *op;
    int n_in, n_out;
    reel_tensor *const *in;  /* NULL: an optional input that is absent */
    reel_tensor *const *out; /* NULL: an output that was not asked for */
    const void *attrs;
    uint64_t needs;    /* vjp: bit i, the gradient of input i is asked for */
    bool create_graph; /* vjp: compose differentiable operators, no fused backward */
} reel__call;

enum reel__op_traits {
    REEL_OP_POINTWISE = 1 << 0, /* kernel is a PW row of kernel.def              */
    REEL_OP_VIEW = 1 << 1,      /* output 0 shares input 0's storage; no kernel    */
    REEL_OP_INPLACE = 1 << 2,   /* output 0 is input 0                             */
    REEL_OP_OVERWRITE = 1 << 3, /* INPLACE, and the kernel does not read input 0   */
    REEL_OP_RANDOM = 1 << 4,    /* attrs hold a place in the random stream         */
    REEL_OP_NO_GRAD = 1 << 5,   /* no gradient by nature: comparisons, indices ... */
    REEL_OP_REPLACES =
        1 << 6, /* the kernel may write a result exactly where an input lies
                                 * that shares its memory with no other operand; a
                                 * POINTWISE one also where several inputs lie alike */
    REEL_OP_COMMUTES = 1 << 7, /* inputs 0 and 1 may change places                 */
    REEL_OP_FOLDS = 1 << 8,    /* work in proportion to what it reads and writes: a
                                * loader of files may compute it on constants        */
    REEL_OP_EFFECT = 1 << 9,   /* a call does more than its results say, or need not
                                * give the same again: each runs, once, in its place */
    REEL_OP_UNPACKS = 1 << 10  /* the result says the same as the first operand in more
                                * memory: a constant is kept as what it is made of   */
};

#define REEL_OP_MAX_IN 64
#define REEL_OP_MAX_OUT 8
#define REEL_OP_VARIADIC (-1)
#define REEL_AGAIN_IN 8

struct reel__op {
    const char *name;   /* key in graphs, errors, tests, profiles                  */
    uint16_t kernel;    /* row of kernel.def                                       */
    uint16_t traits;    /* enum reel__op_traits                                     */
    int8_t n_in, n_out; /* n_in REEL_OP_VARIADIC: 1 .. REEL_OP_MAX_IN              */
    uint8_t optional;   /* bit i: input i may be absent                            */
    uint8_t mutates;    /* bit i: input i is changed (INPLACE implies bit 0)       */
    uint32_t saves;     /* SAVE_IN(i) | SAVE_OUT(i): what the vjp reads            */
    uint32_t (*saves_for)(
        const reel__call *); /* NULL, or a subset of `saves` for this call */
    uint16_t dtypes;         /* DTYPE_... of the value inputs; the rest infer checks    */
    uint16_t values; /* the same for the support table, where input 0 is not a value */
    const reel__attr_schema *attrs;
    /* Shapes and dtypes of the outputs, strides, and for a view the offset; out[i].rank -1
     * leaves output i out. out[] comes with input 0's dtype and device. */
    reel_status (*infer)(const reel__call *, reel__meta *out);
    /* gy[i] is NULL where output i got no gradient. Sets gx[i] where NEEDS(c, i). */
    void (*vjp)(const reel__call *, reel_tensor *const gy[], reel_tensor *gx[]);
    /* Floating-point operations of a call; NULL: one for each element of the result. Bytes
     * follow from the operands. */
    double (*flops)(const reel__call *);
    /* Writes the call into an ONNX model (ops/onnx.h). */
    reel_status (*onnx)(const reel__call *, reel_onnx *);
    /* Makes result 0 again from what is there, cheaply and to the last bit: the record itself or
     * another; NULL: nothing cheap does. Its input i is ours, or where again_out[i] is k > 0 our
     * output k. POINTWISE records without effects need none (reel__op_again). */
    const reel__op *again;
    uint8_t again_out[REEL_AGAIN_IN];
    /* An attribute that chooses between 0, the cost model's choice, and algorithms with other
     * speeds: trace/execute/tune.c measures them. NULL: none. */
    const char *choice;
    uint8_t n_choices;
    bool
        surrogate; /* the gradient is meant to be another function than the derivative, which is 0
                     * almost everywhere: straight through a rounding */
    /* Why a slot is empty, where it is: for the support table. */
    const char *no_vjp, *no_onnx;
    bool
        onnx_grows; /* the rule knows of attributes that grow with the batch; those of others
                      * must not */
    uint8_t
        onnx_since; /* the first opset that has what the rule needs; 0: any that we write */
    /* Inputs and attributes that tests draw from, see tests/support/sample.h:
     * "f[2,3] in -1..1; i64[4] in 0..9; - | dim=1", samples separated by newlines. */
    const char *sample;
    /* Kernel HOST: who computes it. */
    const reel__host *host;
    /* NULL: the record is there as long as the program. */
    reel__made *made;
};

/* Whether a call changes what input i holds; whether it changes any. */
static inline bool reel__op_changes(const reel__op *op, int i)
{
    return (i == 0 && (op->traits & REEL_OP_INPLACE)) ||
           (i < 8 && (op->mutates >> i & 1));
}
static inline bool reel__op_mutates(const reel__op *op)
{
    return op->mutates || (op->traits & REEL_OP_INPLACE);
}
/* Who holds a record beyond a call (a node, a tape) counts as one of its users. */
void reel__made_retain(reel__made *m);
void reel__made_release(reel__made *m);
static inline const reel__op *reel__op_retain(const reel__op *op)
{
    if (op && op->made) reel__made_retain(op->made);
    return op;
}
static inline void reel__op_release(const reel__op *op)
{
    if (op && op->made) reel__made_release(op->made);
}
/* Whether one call may stand for several, run at another time, or not at all. */
static inline bool reel__op_is_steady(const reel__op *op)
{
    return !(op->traits & REEL_OP_EFFECT);
}

/* The record that makes result 0 again; NULL: nothing cheap does. */
static inline const reel__op *reel__op_again(const reel__op *op)
{
    bool itself = (op->traits & REEL_OP_POINTWISE) && !reel__op_mutates(op);
    return itself ? op : op->again;
}

#define SAVE_IN(i) (1u << (i))
#define SAVE_OUT(i) (1u << (16 + (i)))
#define NEEDS(c, i) (((c)->needs >> (i)) & 1u)
#define IN_META(c, i) (&(c)->in[i]->meta)
#define ATTRS(c, type) ((const type *)(c)->attrs)

#define DTYPE(d) (1u << (d))
#define DTYPES_FLOAT                                                                     \
    (DTYPE(REEL_F32) | DTYPE(REEL_F64) | DTYPE(REEL_F16) | DTYPE(REEL_BF16))
#define DTYPES_INT (DTYPE(REEL_I64) | DTYPE(REEL_I32) | DTYPE(REEL_I8) | DTYPE(REEL_U8))
#define DTYPES_SIGNED (DTYPES_FLOAT | DTYPE(REEL_I64) | DTYPE(REEL_I32) | DTYPE(REEL_I8))
#define DTYPES_NUMBER (DTYPES_FLOAT | DTYPES_INT)
#define DTYPES_ANY (DTYPES_NUMBER | DTYPE(REEL_BOOL))

/* The one path. `in` is borrowed; results belong to the innermost scope, out[i] is NULL for
 * outputs left out and on an error. */
reel_status reel__apply(const reel__op *op, const void *attrs, int n_in,
                        reel_tensor *const in[], reel_tensor *out[]);
/* The same for output 0 alone. */
reel_tensor *reel__apply1(const reel__op *op, const void *attrs, int n_in,
                          reel_tensor *const in[]);
/* APPLY(&reel__relu, NULL, x): the usual way to call it. */
#define APPLY(op, attrs, ...)                                                            \
    reel__apply1((op), (attrs),                                                          \
                 (int)(sizeof((reel_tensor *[]){__VA_ARGS__}) / sizeof(reel_tensor *)),  \
                 (reel_tensor *const[]){__VA_ARGS__})

/* Every record, in the order of ops.def. */
extern const reel__op *const reel__ops[];
extern const int reel__n_ops;
const reel__op *reel__op_by_name(const char *name); /* NULL: none */
/* The same with those that were made at run time; retained. */
const reel__op *reel__op_take(const char *name);

/* What this call costs. */
reel_cost reel__cost(const reel__call *);

/* Sets the pending error, "name: message". Returns its status. */
reel_status reel__bad(const reel__call *c, reel_status status, const char *fmt, ...)
    REEL_PRINTF(3, 4);
#define REQUIRE(c, condition, status, ...)                                               \
    do {                                                                                 \
        if (!(condition)) return reel__bad((c), (status), __VA_ARGS__);                  \
    } while (0)
/* Text of a meta inside a REQUIRE: "f32[2,3]". */
#define SHOW(m) reel__meta_text((m), (char[REEL__META_TEXT]){0})
/* True, or a pending error "name: argument `arg` is NULL": for functions that look at a tensor
 * before they call apply(). */
bool reel__have(const char *name, const reel_tensor *x, const char *arg);
/* Wraps a dimension and reports one out of range; -1 then. */
int reel__dim(const char *name, const reel__meta *m, int dim);
/* Bits of a list of dimensions (rank 0: all); false, with an error, if one is out of range
 * or stands twice. */
bool reel__dims_mask(const char *name, const reel__meta *m, reel_shape dims,
                     int64_t *mask);

/* An attribute that names dimension `dim` of input i: an error unless there is one. */
reel_status reel__check_dim(const reel__call *c, int i, int64_t dim);
/* The same for a set of dimensions, bit d for dimension d. */
reel_status reel__check_mask(const reel__call *c, int i, int64_t mask);
/* Inputs i and k must have one shape and one dtype. */
reel_status reel__check_alike(const reel__call *c, int i, int k);

/* Some elements share memory: a dimension of stride 0. */
bool reel__is_expanded(const reel__meta *m);
/* Two views of one storage: their memory meets, but not element by element. */
bool reel__meets_in_part(const reel__meta *a, const reel__meta *b);

/* Shape rules that many share. */
reel_status reel__infer_same(const reel__call *, reel__meta *out); /* like input 0 */
reel_status reel__infer_pointwise(const reel__call *, reel__meta *out);
/* The shape that all inputs broadcast to, in the memory order of the first that has it. */
reel_status reel__infer_broadcast(const reel__call *, reel__meta *out);
/* The one reduction of a gradient to the shape of a broadcast input: all operators use it. */
reel_tensor *reel__sum_to(reel_tensor *g, const reel__meta *target);
/* saves_for of a product of inputs 0 and 1: a factor is saved only if the other one needs its
 * gradient. */
uint32_t reel__saves_product(const reel__call *);
/* The gradient of a record that has no backward of its own, or a fused one that create_graph
 * cannot use: `composed` is the same function of the inputs in differentiable operators; fills
 * gx[i] for every input that needs it. So second and higher orders need no kernels of their
 * own. */
void reel__vjp_composed(const reel__call *c, reel_tensor *(*composed)(const reel__call *),
                        reel_tensor *g, reel_tensor *gx[]);
/* The same value without its history. */
reel_tensor *reel__constant(reel_tensor *x);
/* Channels-last in memory, if it has rank 4; x itself if it is so. NULL for NULL. */
reel_tensor *reel__channels_last(reel_tensor *x);
/* Fills in the strides with which `to`, of as many elements, looks at the memory of `from`;
 * false if there are none: reshaping then takes a contiguous copy. */
bool reel__view_strides(const reel__meta *from, reel__meta *to);
/* x without the dimensions of the mask, which have size 1. */
reel_tensor *reel__drop_dims(reel_tensor *x, int64_t mask);
/* Every element `value`. */
reel_tensor *reel__full_of(reel_shape shape, reel__number value, reel_dtype dtype);
/* Zeros of a meta. */
reel_tensor *reel__zeros(const reel__meta *m);

/* This thread's place in the random stream; advances it by `blocks`. */
reel_rng_state reel__rng_take(int64_t blocks);

#endif
