/* pw.h: the compiled form of the pointwise rows of kernel.def, block by block: for the
 * driver (pointwise.c) and for an executor that runs several rows over one block in L1.
 * */
#ifndef REEL_BACKEND_CPU_PW_H
#define REEL_BACKEND_CPU_PW_H

#include "backend/pw_info.h"

/* y[i] = row(x[0][i], x[1][i], x[2][i]) for i in 0..n-1. All blocks are contiguous and of
 * the compute type; y too, except that a BOOL row writes bytes 0 or 1. y may be one of
 * the inputs exactly, not overlap them otherwise. a: the two attributes, never NULL. An
 * element's result depends on nothing but that element: not on n, nor on its place. */
typedef void (*reel__pw_fn)(int64_t n, const void *const x[3], void *y,
                            const reel__number a[2]);

typedef struct reel__pw_rows {
    reel__pw_fn row[K_COUNT][REEL_PW_TYPES]; /* NULL: no such row, or not in that type */
} reel__pw_rows;

/* The rows for the instruction set in use. */
const reel__pw_rows *reel__pw_rows_of_isa(void);

#endif
