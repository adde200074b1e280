/* grid.h: operands of an elementwise walk brought into one order, with as few dimensions
 * as possible: size 1 dropped, neighbours merged where all operands allow it. Operand 0
 * is the output, whose strides give the order, so that a channels-last tensor stays a
 * linear walk. Inputs broadcast as in NumPy: shorter shapes are padded in front, size 1
 * gets stride 0. */
#ifndef REEL_BACKEND_CPU_GRID_H
#define REEL_BACKEND_CPU_GRID_H

#include "backend/backend.h"

/* The most operands: all of a program of pointwise rows. */
#define REEL_GRID_ARGS (REEL_STEP_INS + REEL_STEP_OUTS)

typedef struct reel__grid {
    int rank; /* at least 2: missing dimensions have size 1 and stride 0 */
    int n_arg;
    int64_t n;                                   /* elements                       */
    int64_t size[REEL_MAX_RANK];                 /* dimension 0 is the innermost   */
    int64_t step[REEL_GRID_ARGS][REEL_MAX_RANK]; /* in elements        */
} reel__grid;

/* arg[0] is the output; the others broadcast to its shape. */
void reel__make_grid(reel__grid *p, int n_arg, const reel__meta *const arg[]);

/* True if blocks of `rows` rows (whole ones, if several) of operand `arg` lie without a
 * gap. */
bool reel__grid_in_cells(const reel__grid *p, int arg, int64_t rows);

/* The grid cut into cells: `cols` elements of dimension 0, `rows` of dimension 1. */
typedef struct reel__cells {
    const reel__grid *grid;
    int64_t cols, rows;
    int64_t n_cols, n_rows; /* cells along dimensions 0 and 1 */
    int64_t n;              /* cells                           */
} reel__cells;

reel__cells reel__cells_of(const reel__grid *p, int64_t cols, int64_t rows);

/* One cell: its size, and for each operand the element where it starts. */
typedef struct reel__cell {
    int64_t cols, rows;
    int64_t at[REEL_GRID_ARGS];
    int64_t col, row, index[REEL_MAX_RANK]; /* its place */
} reel__cell;

/* Cell number i, in row-major order of the grid; then each next one. */
void reel__cell_first(const reel__cells *b, int64_t i, reel__cell *at);
void reel__cell_next(const reel__cells *b, reel__cell *at);

#endif
