/* column.c: a product one column wide is the transpose of one that is one row high,
 * C^T = B^T A^T: the ways for few rows read their matrix once, as it lies, where tiles would
 * compute a vector of columns for the one. */
#include "backend/cpu/gemm/plan.h"

#include "base/parallel.h"

/* C^T, less the bias: one number for all of its columns. */
static reel__gemm turned(const reel__gemm *g)
{
    return (reel__gemm){.dtype = g->dtype,
                        .m = 1,
                        .n = g->m,
                        .k = g->k,
                        .a = g->b,
                        .a_row = g->b_col,
                        .a_col = g->b_row,
                        .b = g->a,
                        .b_row = g->a_col,
                        .b_col = g->a_row,
                        .c = g->c,
                        .c_row = g->m,
                        .accumulate = g->accumulate};
}

/* The column is contiguous, and so is A one way or the other; no copy of B is needed. */
bool reel__gemm_is_column(const reel__gemm *g)
{
    if (g->n != 1 || g->m == 1 || g->c_row != 1) return false;
    const reel__gemm row = turned(g);
    return reel__gemm_in_place(&row) || (reel__gemm_by_dots(&row) && row.a_col == 1);
}

static void bias_rows(void *ctx, int64_t begin, int64_t end)
{
    reel__gemm q = part(ctx, begin, end - begin, 0, 1);
    reel__gemm_no_terms(&q);
}

reel__gemm reel__gemm_as_row(const reel__gemm *g)
{
    reel__gemm row = turned(g), column = *g;
    if (g->bias) {
        reel__parallel_range(g->m, 1 << 14, bias_rows, &column);
        row.accumulate = true;
    }
    return row;
}
