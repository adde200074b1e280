/* reduce_sweep.h: one sweep of a reduction over its input.
 *
 * The outputs are cut into tiles, and the reduced elements into chunks where there are few
 * outputs: both by size alone, so that the result does not depend on the threads. A tile is
 * reduced in one of two ways: by rows, each output from a run of memory of its own (gathered
 * first if it lies scattered), or by columns, neighbouring outputs together. */
#ifndef REEL_BACKEND_CPU_REDUCE_SWEEP_H
#define REEL_BACKEND_CPU_REDUCE_SWEEP_H

#include "backend/cpu/isa/reduce.h"
#include "backend/cpu/reduce_plan.h"

enum {
    REEL_REDUCE_TILE = 1024 /* outputs of a tile at most: their accumulators stay in L1 */
};

typedef struct reel__tiling {
    reel__reduce_plan plan;
    const char *x;
    char *y;
    reel_dtype x_dtype, y_dtype;
    bool by_cols;
    int64_t row; /* outputs that lie in a row: tiles do not cross its end */
    int64_t tile, tiles, tiles_per_row;
    int64_t chunk, chunks; /* reduced elements (by columns: rows) of a chunk */
    reel__acc *partial;    /* [tiles][chunks][tile], where chunks > 1        */
    const reel__reduce_table *loops;
} reel__tiling;

/* Cuts the call's operands into tiles and chunks; `partial` is left NULL. */
void reel__find_tiling(const reel__kcall *call, int64_t mask, reel__tiling *r);

/* First output of tile t; *n outputs. */
int64_t reel__reduce_tile(const reel__tiling *r, int64_t t, int64_t *n);

/* What a sweep does with each element, and how it joins them. */
typedef struct reel__sweep {
    reel__reduce_op op;
    bool wide; /* f32 in f64 arithmetic */
} reel__sweep;

bool reel__sweep_exists(const reel__tiling *r, reel__sweep s);
/* Whether accumulators hold f, not i. */
bool reel__sweep_in_floats(const reel__tiling *r, reel__sweep s);

/* Reduces tile t into acc, all of it in this thread. shift: one an output, or NULL. */
void reel__sweep_tile(const reel__tiling *r, reel__sweep s, int64_t t,
                      const double *shift, reel__acc *acc);
/* Reduces all tiles in parallel, in chunks, which are joined in order. Outputs of tile t are
 * at t * r->tile. */
void reel__sweep_chunks(const reel__tiling *r, reel__sweep s, const double *shift,
                        reel__acc *acc);

#endif
