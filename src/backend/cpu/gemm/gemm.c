/* gemm.c: matrix products: which way for which size. Plans depend on
 * sizes and strides alone, and every sum has one order, so results do not depend on
 * threads.
 *
 *   one column               as one row, transposed
 *   few rows, B by columns   dot products (inference: x [few, in], w [out, in])
 *   small                    one task, or one task a group of matrices of a batch
 *   small m*n, long k        partial products over pieces of k, added in order
 *   else                     B packed in parallel, then tiles of C in parallel */
#include "backend/cpu/gemm/plan.h"

static reel_status one(const reel__gemm *g)
{
    if (reel__gemm_is_column(g)) {
        reel__gemm row = reel__gemm_as_row(g);
        return one(&row);
    }
    int64_t work = work_of(g);
    if (reel__gemm_by_dots(g)) return reel__gemm_dots(g);
    if (work < 2 * REEL__TASK_WORK) {
        reel__batch alone = {.rank = 0};
        return reel__gemm_each(g, &alone, 1);
    }
    int64_t pieces = reel__gemm_pieces(g);
    if (pieces > 1) return reel__gemm_split_k(g, pieces);
    if (reel__gemm_in_place(g)) {
        reel__gemm_tiles(g);
        return REEL_OK;
    }
    return reel__gemm_packed(g);
}

reel_status reel__gemm_batch(const reel__gemm *g, const reel__batch *batch)
{
    int64_t count = reel__batch_count(batch), work = work_of(g);
    if (g->m == 0 || g->n == 0 || count == 0) return REEL_OK;
    if (work == 0 || (count > 1 && work < 4 * REEL__TASK_WORK) ||
        (count >= 16 && work < 64 * REEL__TASK_WORK)) {
        int64_t group = max64(1, REEL__TASK_WORK / 4 / max64(work, 1));
        return reel__gemm_each(g, batch, group);
    }
    for (int64_t i = 0; i < count; i++) {
        reel__gemm q = reel__gemm_member(g, batch, i);
        reel_status s = one(&q);
        if (s != REEL_OK) return s;
    }
    return REEL_OK;
}

reel_status reel__gemm_batched(const reel__gemm *g, int64_t batch, int64_t a_step,
                               int64_t b_step, int64_t c_step)
{
    return reel__gemm_batch(g, &(reel__batch){1, {batch}, {a_step}, {b_step}, {c_step}});
}

reel_status reel__run_gemm(const reel__gemm *g)
{
    return reel__gemm_batch(g, &(reel__batch){.rank = 0});
}
