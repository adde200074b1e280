/* reduce.h: the inner loops of reductions, one table for each instruction set.
 *
 * Floats accumulate in f64 between blocks and in their own type, in many lanes, within a
 * block: the error grows with the block, not with the length. Where a block of f32 leaves
 * its range, there is the same in f64 throughout. Integers, and counts, accumulate in i64. */
#ifndef REEL_ISA_REDUCE_H
#define REEL_ISA_REDUCE_H

#include "backend/cpu/isa/isa.h"
#include "base/counts.h"

typedef enum reel__reduce_op {
    REEL_REDUCE_SUM,
    REEL_REDUCE_DEV,     /* sum of x - shift; this and the next two: floats only */
    REEL_REDUCE_SQDEV,   /* sum of (x - shift)^2                                  */
    REEL_REDUCE_SQUARES, /* sum of (x shift)^2, in f64                            */
    REEL_REDUCE_AMAX,
    REEL_REDUCE_AMIN,
    REEL_REDUCE_ANY, /* any dtype, halves too */
    REEL_REDUCE_ALL,
    REEL_REDUCE_COUNT
} reel__reduce_op;

/* f for f32 and f64 (but not ANY and ALL), i for the rest. */
typedef union reel__acc {
    double f;
    int64_t i;
} reel__acc;

typedef struct reel__reduce_fns {
    /* acc[r] joins x[r * step + i], i < n, for r < rows. shift: one a row, or NULL. */
    void (*rows)(const void *x, int64_t rows, int64_t step, int64_t n,
                 const double *shift, reel__acc *acc);
    /* acc[j] joins x[r * step + j], r < rows, for j < n. shift: one a column, or NULL. */
    void (*cols)(const void *x, int64_t rows, int64_t step, int64_t n,
                 const double *shift, reel__acc *acc);
} reel__reduce_fns;

/* Both NULL where the operation does not take the dtype. */
typedef struct reel__reduce_table {
    reel__reduce_fns fn[REEL_REDUCE_COUNT][REEL__DTYPE_COUNT];
    reel__reduce_fns wide[REEL_REDUCE_COUNT]; /* SUM, DEV, SQDEV: f32 in f64 arithmetic */
    /* Steps between sweeps, over n outputs. No sum is infinite or NaN. */
    bool (*finite)(const double *sum, int64_t n);
    /* shift[j] += sum[j] / length. */
    void (*add_means)(const double *sum, double length, int64_t n, double *shift);
    /* Takes length times the square of what rounding shift[j] to f32 takes off from sum[j],
     * and leaves at least 0. NaN stays. */
    void (*take_rounding)(const double *shift, double length, int64_t n, double *sum);
} reel__reduce_table;

REEL_ISA_DECLARE(reel__reduce_table, reduce);

#endif
