/* custom.h: an operator of the user's own is two records, of the forward and, unless it is
 * written in operators, of the backward. Both are HOST kernels, which lend tensors to the user's
 * functions; so nothing else knows that there is a user.
 *
 * The attributes are 8 bytes each, in the order of their declaration. Behind them stands what
 * shapes come from where no rule says it: of the forward without a rule the results' types, as
 * the forward gave them; of the backward which gradients are needed, which operands there are, and
 * the gradients' types. Those are attributes like any other, so they are saved, and grow with
 * the batch as the shape of `zeros` does. */
#ifndef REEL_OPS_CUSTOM_H
#define REEL_OPS_CUSTOM_H

#include <reel/custom_op.h>

#include "ops/made.h"

/* Of a result: dtype, rank, dim[8]. */
typedef struct reel__custom_result {
    int64_t dtype; /* -1: not known yet */
    int64_t rank;  /* -1: left out */
    int64_t dim[REEL_MAX_RANK];
} reel__custom_result;

enum {
    REEL__CUSTOM_NAME = 64,
    REEL__CUSTOM_FIELDS = REEL_CUSTOM_MAX_ATTRS + 2 + REEL_CUSTOM_MAX_OUT,
    REEL__CUSTOM_BYTES = 8 * (REEL_CUSTOM_MAX_ATTRS + 2) +
                         REEL_CUSTOM_MAX_OUT * (int)sizeof(reel__custom_result)
};

typedef struct reel__custom_record {
    reel__op op;     /* first */
    reel__host host; /* what op.host points to */
    reel_custom_op *of;
    bool is_backward;
    int types; /* where results stand in the attributes, in bytes; -1: a rule says it */
    reel__attr_schema schema;
    reel__attr_field field[REEL__CUSTOM_FIELDS];
    char name[REEL__CUSTOM_NAME];
} reel__custom_record;

struct reel_custom_op {
    reel__made made; /* first */
    reel__custom_record forward, backward;
    reel_custom_op_opts opts;                /* its strings are op's own */
    int64_t defaults[REEL_CUSTOM_MAX_ATTRS]; /* as the attributes hold them */
    int n_all;                               /* results of the forward: n_out + n_saved */
};

static inline const reel__custom_record *reel__custom_record_of(const reel__op *op)
{
    return (const reel__custom_record *)(const void *)op;
}
static inline reel__custom_result *reel__custom_types(const reel__custom_record *r,
                                                      const void *attrs)
{
    return (reel__custom_result *)(void *)((char *)(uintptr_t)attrs + r->types);
}
/* needs, operands: of the backward's attributes. Bit i of `operands`: input i is there; then, from
 * bit 16 on, results; then, from bit 32 on, gradients of results. */
static inline int64_t *reel__custom_masks(const reel__custom_record *r, const void *attrs)
{
    return (int64_t *)(void *)((char *)(uintptr_t)attrs + r->types) - 2;
}

/* ---- custom_kernel.c ----------------------------------------------------------------------- */

struct reel_custom_call {
    const reel__custom_record *record;
    const void *attrs;
    int n_in; /* of the operator */
    uint64_t needs;
    struct reel__lent *lent;  /* NULL: not in a kernel */
    const reel__karg *result; /* NULL: its shape is not known */
    int n_result;
};

/* Memory that is lent to the user's functions for the length of a call. */
typedef struct reel__lent {
    struct {
        reel__storage *storage;
        int result; /* which one it is of; below 0: an operand */
    } at[2 * REEL_OP_MAX_IN];
    int n;
} reel__lent;

reel_status reel__custom_kernel(const reel__host *self, const reel__kcall *call);
/* Results of a forward without a rule: y[n_all], retained. Nobody hears it. */
reel_status reel__custom_forward(const reel__call *c, reel_tensor *y[]);

/* ---- custom.c --------------------------------------------------------------------------------- */

/* A call of an operator without a rule: its results are computed when their shapes are asked
 * for, and handed over when the kernel runs. */
typedef struct reel__custom_found {
    const void *attrs; /* of that call */
    reel_tensor *y[REEL_OP_MAX_OUT];
    bool there;
    struct reel__custom_found *outer;
} reel__custom_found;
/* That of this thread's calls with these attributes; NULL: none. */
reel__custom_found *reel__custom_find(const void *attrs);

reel_status reel__custom_infer(const reel__call *c, reel__meta *out);
void reel__custom_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[]);
reel_status reel__custom_to_onnx(const reel__call *c, reel_onnx *o);
/* The record that files name so; retained. NULL: none. */
const reel__op *reel__custom_by_onnx(const char *domain, const char *op_type);
/* Fills attrs (REEL__CUSTOM_BYTES) with the defaults. */
void reel__custom_defaults(const reel_custom_op *op, void *attrs);

#endif
