/* blas.c: OpenBLAS for f64, and for f32 on processors that we have no kernel for. It runs
 * on one thread inside tiles that we cut by size: results do not depend on threads, and
 * there is one pool of threads. */
#include "backend/cpu/gemm/gemm.h"

#ifdef REEL_HAVE_OPENBLAS

#include <cblas.h>
#include <pthread.h>

#include "base/parallel.h"

#define TILE 192

/* A matrix with one contiguous dimension and a leading dimension that BLAS accepts.
 * A dimension of size 1 may have any stride. */
static bool blas_strides(int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    bool by_rows = (col == 1 || cols == 1) && (row >= cols || rows == 1);
    bool by_cols = (row == 1 || rows == 1) && (col >= rows || cols == 1);
    return (by_rows || by_cols) && row <= INT32_MAX && col <= INT32_MAX;
}

bool reel__blas_takes(const reel__blas_gemm *g)
{
    return g->k > 0 && g->k <= INT32_MAX && g->c_row <= INT32_MAX &&
           blas_strides(g->m, g->k, g->a_row, g->a_col) &&
           blas_strides(g->k, g->n, g->b_row, g->b_col);
}

typedef struct operand {
    CBLAS_TRANSPOSE trans;
    blasint ld;
} operand;

static operand operand_of(int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    bool by_rows = (col == 1 || cols == 1) && (row >= cols || rows == 1);
    int64_t ld = by_rows ? row : col, least = by_rows ? cols : rows;
    return (operand){by_rows ? CblasNoTrans : CblasTrans,
                     (blasint)(ld > least ? ld : least)};
}

typedef struct blas_ctx {
    const reel__blas_gemm *g;
    const reel__batch *batch;
    operand a, b;
    int64_t down, across;
} blas_ctx;

static void blas_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const blas_ctx *t = ctx;
    const reel__blas_gemm *g = t->g;
    int64_t tiles = t->down * t->across;
    reel__batch_at at = reel__batch_offset(t->batch, task / tiles);
    int64_t i = task % tiles / t->across * TILE, j = task % t->across * TILE;
    blasint m = (blasint)(g->m - i < TILE ? g->m - i : TILE);
    blasint n = (blasint)(g->n - j < TILE ? g->n - j : TILE);
    int64_t a = at.a + i * g->a_row, b = at.b + j * g->b_col;
    int64_t c = at.c + i * g->c_row + j;
    blasint c_ld = (blasint)(g->c_row > g->n ? g->c_row : g->n);
    if (g->dtype == REEL_F64)
        cblas_dgemm(CblasRowMajor, t->a.trans, t->b.trans, m, n, (blasint)g->k, 1.0,
                    (const double *)g->a + a, t->a.ld, (const double *)g->b + b, t->b.ld,
                    g->accumulate ? 1.0 : 0.0, (double *)g->c + c, c_ld);
    else
        cblas_sgemm(CblasRowMajor, t->a.trans, t->b.trans, m, n, (blasint)g->k, 1.0F,
                    (const float *)g->a + a, t->a.ld, (const float *)g->b + b, t->b.ld,
                    g->accumulate ? 1.0F : 0.0F, (float *)g->c + c, c_ld);
}

static void one_thread(void)
{
    /* a task that runs inline is in no parallel region, and OpenBLAS would start its
     * own */
    openblas_set_num_threads(1);
}

void reel__blas_run(const reel__blas_gemm *g, const reel__batch *batch)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, one_thread);
    blas_ctx t = {.g = g,
                  .batch = batch,
                  .a = operand_of(g->m, g->k, g->a_row, g->a_col),
                  .b = operand_of(g->k, g->n, g->b_row, g->b_col),
                  .down = (g->m + TILE - 1) / TILE,
                  .across = (g->n + TILE - 1) / TILE};
    reel__parallel_dynamic(reel__batch_count(batch) * t.down * t.across, blas_task, &t);
}

#else

bool reel__blas_takes(const reel__blas_gemm *g)
{
    (void)g;
    return false;
}

void reel__blas_run(const reel__blas_gemm *g, const reel__batch *batch)
{
    (void)g, (void)batch;
}

#endif
