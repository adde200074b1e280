/* reel/custom_op.h: operators of your own, forward and backward as C functions.
 *
 *     static reel_status cube(void *user, reel_custom_call *c, reel_tensor *const x[],
 *                             reel_tensor *y[])
 *     {
 *         y[0] = reel_custom_result(c, 0);               // memory to write the result into
 *         const float *from = reel_data(x[0]);
 *         float *to = reel_data(y[0]);
 *         for (int64_t i = 0; to && i < reel_numel(x[0]); i++)
 *             to[i] = from[i] * from[i] * from[i];
 *         return reel_error_status();
 *     }
 *
 *     reel_custom_op *op = reel_custom_op_new("cube", &(reel_custom_op_opts){
 *         .n_in = 1, .n_out = 1, .forward = cube, .shape = reel_custom_same,
 *         .backward = cube_backward, .pure = true});
 *     reel_tensor *y = reel_custom(op, &x, 1, NULL);
 *     reel_custom_op_free(op);
 *
 * Such an operator is one like the library's own: the tape records it, a graph has it as one node
 * that runs, is planned, saved and loaded by its name, and goes to ONNX. What the forward
 * computes with operators inside is its own affair: nothing of it is recorded. */
#ifndef REEL_CUSTOM_OP_H
#define REEL_CUSTOM_OP_H

#include <reel/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An operator. Counted: handles, tapes and graphs hold it. Opaque. */
typedef struct reel_custom_op reel_custom_op;
/** One call of it, as its functions see it; not to be kept. Opaque. */
typedef struct reel_custom_call reel_custom_call;

/** Most inputs of an operator. */
#define REEL_CUSTOM_MAX_IN 16
/** Most outputs, those that are only saved included; and most inputs that a backward that is
 *  not written in operators has gradients for. */
#define REEL_CUSTOM_MAX_OUT 8
/** Most attributes. */
#define REEL_CUSTOM_MAX_ATTRS 32
/** n_in of an operator that takes any number of inputs, from 1 on. */
#define REEL_CUSTOM_ANY (-1)

/** A named number: declared with its default, and given with a call. Written
 *  REEL_CUSTOM_INT("dim", 1) or REEL_CUSTOM_REAL("slope", 0.1). */
typedef struct reel_custom_attr {
    const char *name; /* a small letter, then small letters, digits, _ */
    bool is_real;
    int64_t whole;
    double real;
    REEL_FUTURE;
} reel_custom_attr;
/** A whole number (C only). */
#define REEL_CUSTOM_INT(attr, value)                                                     \
    ((reel_custom_attr){.name = (attr), .whole = (value)})
/** A real one (C only). */
#define REEL_CUSTOM_REAL(attr, value)                                                    \
    ((reel_custom_attr){.name = (attr), .is_real = true, .real = (value)})

/** What a tensor looks like. shape.rank -1: an input that is absent. */
typedef struct reel_custom_type {
    reel_shape shape;
    reel_dtype dtype;
} reel_custom_type;

/** Computes y[0 .. outputs - 1], all NULL at first, from x[0 .. inputs - 1], which are
 *  contiguous, and NULL where an optional one is absent. y[k] is reel_custom_result(c, k), written
 *  to, or any other tensor: of operators, of reel_empty(), x[i] itself. Inputs and results are
 *  lent for the call (one that is kept becomes a copy) and inputs may not be changed. It runs
 *  with gradients disabled; several threads may call it at once. A status other than REEL_OK, or
 *  a pending error, fails the call. */
typedef reel_status (*reel_custom_forward)(void *user, reel_custom_call *c,
                                           reel_tensor *const x[], reel_tensor *y[]);
/** Computes the gradient gx[i] of each input for which reel_custom_needs(c, i); the others are
 *  not looked at. x and y are those that `saves` names, else NULL; gy[k] is the gradient of output
 *  k, zeros if it got none, and NULL for outputs that are not floating or only saved. gx[i] has
 *  x[i]'s shape and dtype. */
typedef reel_status (*reel_custom_backward)(void *user, reel_custom_call *c,
                                            reel_tensor *const x[],
                                            reel_tensor *const y[],
                                            reel_tensor *const gy[], reel_tensor *gx[]);
/** Says what the outputs look like, from what the inputs look like: y[k] comes as x[0]. It must be
 *  a function of its arguments alone. An error fails the call: reel_fail(REEL_ERR_SHAPE, ...). */
typedef reel_status (*reel_custom_shape)(void *user, const reel_custom_call *c,
                                         const reel_custom_type x[],
                                         reel_custom_type y[]);

/** Where an ONNX rule writes to. Opaque. */
typedef struct reel_onnx reel_onnx;
/** A value of an ONNX model, with its type. Opaque. */
typedef struct reel_onnx_ref reel_onnx_ref;
/** Writes a call in terms of ONNX: reel_onnx_give(o, k, ...) for each output. */
typedef reel_status (*reel_custom_onnx)(void *user, const reel_custom_call *c,
                                        reel_onnx *o);

/** For `saves`: the backward reads input i, or output k. */
#define REEL_CUSTOM_IN(i) (1u << (i))
#define REEL_CUSTOM_OUT(k) (1u << (16 + (k)))
/** For `saves`: it reads nothing but the gradients of the outputs. */
#define REEL_CUSTOM_NONE (1u << 31)

/** What an operator is. */
typedef struct reel_custom_op_opts {
    int n_in;         /* 0 to 16, or REEL_CUSTOM_ANY */
    int n_out;        /* 1 to 8, with n_saved */
    int n_saved;      /* further results, for the backward alone: y[n_out] and on */
    uint8_t optional; /* bit i: input i may be NULL */
    uint32_t
        saves; /* REEL_CUSTOM_IN(i) | REEL_CUSTOM_OUT(k): what the backward reads; 0: all */
    reel_custom_forward forward;
    /* NULL: what the forward gave. It is then computed before there is memory for results, and
     * copied; in a graph each size stays, or grows with the batch, as it was. */
    reel_custom_shape shape;
    reel_custom_backward backward; /* NULL: none; going backward is an error */
    /* The backward is written in operators of reel alone and reads no values. So it has
     * derivatives itself, and graphs see what it does. Otherwise it is a node of its own in
     * graphs, NAME_backward, and has no derivative, which is an error once it is asked for. */
    bool backward_in_operators;
    /* Equal inputs give equal results, and nothing else happens. Then a graph may leave a call
     * out, share it, or compute it beforehand. Otherwise each call runs, once, in its place. */
    bool pure;
    const reel_custom_attr *attrs; /* [n_attrs], with their defaults; copied */
    int n_attrs;
    void *user; /* handed to the functions */
    void (*free_user)(
        void *user); /* when the operator goes, or cannot be made; or NULL */
    /* In ONNX: a node op_type (NULL: the name) of a domain (NULL: "reel.custom") in its version 1,
     * with the attributes; or what `onnx` writes. Files with such nodes are read again where the
     * operator is there. */
    const char *onnx_domain, *onnx_op_type;
    reel_custom_onnx onnx;
    REEL_FUTURE;
} reel_custom_op_opts;

/* ---- making and calling ------------------------------------------------------------------ */

/** Makes an operator and registers its name (small letters, digits, _; at most 48), under which
 *  graph files refer to it. One handle; free_user is called in any case, once. NULL with an
 *  error: REEL_ERR_ARG for a name that is taken, by an operator of the library or by one of yours
 *  that is held by a handle, a tape or a graph, and for options that are out of range. */
REEL_API reel_custom_op *reel_custom_op_new(const char *name,
                                            const reel_custom_op_opts *opts);
/** One more handle. Returns op. NULL in, NULL out. */
REEL_API reel_custom_op *reel_custom_op_keep(reel_custom_op *op);
/** Gives a handle back. Graphs, tapes and captures that have the operator go on having it; with
 *  the last of them it goes. NULL is allowed. */
REEL_API void reel_custom_op_free(reel_custom_op *op);
/** Its name. "" for NULL. */
REEL_API const char *reel_custom_op_name(const reel_custom_op *op);

/** Options of a call. Zero is the default. */
typedef struct reel_custom_args {
    const reel_custom_attr *attrs; /* [n_attrs]; those left out have their defaults */
    int n_attrs;
    REEL_FUTURE;
} reel_custom_args;

/** Calls op with x[0 .. n_x - 1] (on the CPU; NULL where optional and absent) and writes its
 *  outputs to y[0 .. n_y - 1], of which it has n_out; they belong to the innermost scope.
 *  args NULL: defaults. On an error all y are NULL: REEL_ERR_ARG for wrong numbers of inputs or
 *  outputs, an absent input, or an attribute that it has not; REEL_ERR_SHAPE or REEL_ERR_DTYPE
 *  if an output is not what the rule says; REEL_ERR_STATE if the forward sets an output not at
 *  all, or changed an input; and what the functions say. */
REEL_API reel_status reel_custom_run(reel_custom_op *op, reel_tensor *const x[], int n_x,
                                     reel_tensor *y[], int n_y,
                                     const reel_custom_args *args);
/** The same; returns output 0 of those that there are. */
REEL_API reel_tensor *reel_custom(reel_custom_op *op, reel_tensor *const x[], int n_x,
                                  const reel_custom_args *args);

/* ---- within its functions ----------------------------------------------------------------- */

/** Number of inputs of this call. */
REEL_API int reel_custom_inputs(const reel_custom_call *c);
/** An attribute. 0 with an error if there is none of that name and type. */
REEL_API int64_t reel_custom_int(const reel_custom_call *c, const char *name);
REEL_API double reel_custom_real(const reel_custom_call *c, const char *name);
/** Backward: whether the gradient of input i is needed. */
REEL_API bool reel_custom_needs(const reel_custom_call *c, int i);
/** A tensor for result k to write into, contiguous and not initialized: for the forward output
 *  k, which takes a shape rule; for a backward that is not written in operators gx[k]. NULL with
 *  an error where its shape is not known. */
REEL_API reel_tensor *reel_custom_result(reel_custom_call *c, int k);
/** A shape rule: every output looks like the first input. */
REEL_API reel_status reel_custom_same(void *user, const reel_custom_call *c,
                                      const reel_custom_type x[], reel_custom_type y[]);

/* ---- within an ONNX rule -------------------------------------------------------------------- */
/* Each gives NULL once an error is pending and takes NULL from the others, so that a rule checks
 * nothing in between:
 *
 *     const reel_onnx_ref *x = reel_onnx_in(o, 0), *p[2] = {x, x};
 *     return reel_onnx_give(o, 0, reel_onnx_emit(o, "Mul", NULL, 2, p));                      */

/** Input i; NULL if it is absent. */
REEL_API const reel_onnx_ref *reel_onnx_in(reel_onnx *o, int i);
/** The type of output k, for reel_onnx_emit(). NULL if nobody reads that output. */
REEL_API const reel_onnx_ref *reel_onnx_out(reel_onnx *o, int k);
/** The result of a node of ONNX's own domain. type: what has the type of it; NULL: the shape to
 *  which the operands broadcast, and the dtype of the last. Errors: REEL_ERR_UNSUPPORTED if the
 *  opset has not the operator for the dtype, or reel does not know it. */
REEL_API const reel_onnx_ref *reel_onnx_emit(reel_onnx *o, const char *op_type,
                                             const reel_onnx_ref *type, int n,
                                             const reel_onnx_ref *const in[]);
/** An attribute of the node that was emitted last. */
REEL_API void reel_onnx_set_int(reel_onnx *o, const char *name, int64_t value);
REEL_API void reel_onnx_set_real(reel_onnx *o, const char *name, double value);
/** A number of x's dtype, rank 0. */
REEL_API const reel_onnx_ref *reel_onnx_number(reel_onnx *o, double value,
                                               const reel_onnx_ref *x);
/** Output k is v, which must have its type. */
REEL_API reel_status reel_onnx_give(reel_onnx *o, int k, const reel_onnx_ref *v);

#ifdef __cplusplus
}
#endif
#endif
