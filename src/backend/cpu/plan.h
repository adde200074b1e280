/* plan.h: operands of an elementwise walk brought into one order, with as few dimensions
 * as possible: size 1 dropped, neighbours merged where all operands allow it. Operand 0
 * is the output, whose strides give the order, so that a channels-last tensor stays a
 * linear walk. Inputs broadcast as in NumPy: shorter shapes are padded in front, size 1
 * gets stride 0. */
#ifndef REEL_BACKEND_CPU_PLAN_H
#define REEL_BACKEND_CPU_PLAN_H

#include "backend/backend.h"

/* The most operands: all of a program of pointwise rows. */
#define REEL_PLAN_ARGS (REEL_STEP_INS + REEL_STEP_OUTS)

typedef struct reel_plan {
    int rank; /* at least 2: missing dimensions have size 1 and stride 0 */
    int n_arg;
    int64_t n;                                   /* elements                       */
    int64_t size[REEL_MAX_RANK];                 /* dimension 0 is the innermost   */
    int64_t step[REEL_PLAN_ARGS][REEL_MAX_RANK]; /* in elements        */
} reel_plan;

/* arg[0] is the output; the others broadcast to its shape. */
void reel__plan(reel_plan *p, int n_arg, const reel_meta *const arg[]);

/* True if blocks of `rows` rows (whole ones, if several) of operand `arg` lie without a
 * gap. */
bool reel__plan_in_blocks(const reel_plan *p, int arg, int64_t rows);

/* The plan cut into blocks: `cols` elements of dimension 0, `rows` of dimension 1. */
typedef struct reel_blocks {
    const reel_plan *plan;
    int64_t cols, rows;
    int64_t n_cols, n_rows; /* blocks along dimensions 0 and 1 */
    int64_t n;              /* blocks                          */
} reel_blocks;

reel_blocks reel__blocks(const reel_plan *p, int64_t cols, int64_t rows);

/* One block: its size, and for each operand the element where it starts. */
typedef struct reel_block {
    int64_t cols, rows;
    int64_t at[REEL_PLAN_ARGS];
    int64_t col, row, index[REEL_MAX_RANK]; /* its place */
} reel_block;

/* Block number i, in row-major order of the plan; then each next one. */
void reel__block_first(const reel_blocks *b, int64_t i, reel_block *at);
void reel__block_next(const reel_blocks *b, reel_block *at);

#endif
