/* pw_info.h: what kernel.def says about a pointwise row, for whoever is not a backend: shape
 * and dtype rules, the support table, the fusion pass, the writer of CUDA text. */
#ifndef REEL_BACKEND_PW_INFO_H
#define REEL_BACKEND_PW_INFO_H

#include "backend/backend.h"

/* Types in which a row is computed: that of a call follows from one of its inputs. */
typedef enum reel__pw_type {
    REEL_PW_F32 = 0, /* f32, f16, bf16    */
    REEL_PW_F64,     /* f64               */
    REEL_PW_I64,     /* integers and bool */
    REEL_PW_TYPES
} reel__pw_type;

typedef struct reel__pw_info {
    const char *name; /* "ADD"                                               */
    const char *expr; /* "x0 + x1", in the macros of kernel.def              */
    int n_in;
    bool floats, ints; /* which compute types the row has                    */
    int typed_by;      /* the operand in whose dtype it is computed          */
    int stored_as;     /* the operand whose dtype the result has; out_bool: none */
    bool out_bool;
} reel__pw_info;

/* The row of a kernel; NULL if the kernel is not a pointwise row. */
const reel__pw_info *reel__pw_info_of(reel__kernel_id kernel);
/* Compute type of a dtype. */
reel__pw_type reel__pw_type_of(reel_dtype dtype);
/* Whether the row is computed in this dtype. */
bool reel__pw_takes(const reel__pw_info *info, reel_dtype dtype);
/* Cost of one element, in additions: 1, and 8 for each function in the expression. */
int reel__pw_weight(const reel__pw_info *info);

#endif
