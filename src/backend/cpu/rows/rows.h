/* rows.h: what the row kernels share: operands seen as rows of contiguous elements. */
#ifndef REEL_CPU_ROWS_H
#define REEL_CPU_ROWS_H

#include "backend/cpu/isa/rows.h"
#include "backend/cpu/kernels.h"
#include "base/parallel.h"

/* An f32 operand as `n` rows of `width` contiguous floats, `step` apart. */
typedef struct reel__rows {
    float *data;
    int64_t n, width, step;
} reel__rows;

/* False if the last `dims` dimensions are not contiguous, or the others not evenly
 * spaced, or the operand is absent or not f32. */
bool reel__as_rows(const reel__karg *x, int dims, reel__rows *out);

static inline float *reel__row(const reel__rows *r, int64_t i)
{
    return r->data + i * r->step;
}

/* Rows of a task: enough work to be worth handing out. */
static inline int64_t reel__row_grain(int64_t width)
{
    int64_t grain = (1 << 14) / (width + 1);
    return grain > 1 ? grain : 1;
}

#endif
