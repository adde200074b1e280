/* indices.h: the index operand of the kernels that pick elements or count them. */
#ifndef REEL_BACKEND_CPU_INDICES_H
#define REEL_BACKEND_CPU_INDICES_H

#include "backend/backend.h"

/* Indices in logical order without gaps, each in 0 .. size-1. */
typedef struct reel__indices {
    const int64_t *at;
    int64_t n;
    int64_t *owned; /* `at`, if it had to be made */
} reel__indices;

/* Reads an i64 or i32 operand of any strides. Errors: REEL_ERR_ARG naming the first index
 * that is not in 0 .. size-1; REEL_ERR_MEMORY. `who` and `dim` are for the message. After
 * an error there is nothing to free. */
reel_status reel__indices_load(reel__indices *out, const reel__karg *index,
                               const char *who, int64_t dim, int64_t size);
void reel__indices_free(reel__indices *indices);

#endif
