/* gemm.c: single precision matrix products: which way for which size. Plans depend on
 * sizes and strides alone, and every sum has one order, so results do not depend on
 * threads.
 *
 *   few rows, B by columns   dot products (inference: x [few, in], w [out, in])
 *   small                    one task, or one task a group of matrices of a batch
 *   small m*n, long k        partial products over pieces of k, added in order
 *   else                     B packed in parallel, then tiles of C in parallel
 * */
#include "backend/cpu/gemm/gemm.h"

#include <string.h>

#include "backend/cpu/isa/gemm.h"
#include "base/alloc.h"
#include "base/parallel.h"

/* Rows of A up to which dot products beat packing B. */
#define FEW_ROWS 16
/* Multiply-adds that are worth a task of their own: about 5 us of one core. */
#define TASK_WORK ((int64_t)1 << 19)
/* Floats of B packed at once: what a share of L3 keeps. */
#define PACK_MAX ((int64_t)1 << 19)
/* Columns of a tile of C: their block of packed B stays in L2. */
#define TILE_COLS 512

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}
static const reel_gemm_isa *kernels(void)
{
    return REEL_ISA_PICK(gemm);
}

/* m * n * k, at most INT64_MAX: only compared and divided. */
static int64_t work_of(const reel_gemm *g)
{
    double w = (double)g->m * (double)g->n * (double)g->k;
    return w < 0x1p62 ? (int64_t)w : INT64_MAX;
}

/* k in blocks of nearly equal length: 260 is 2 x 130, not 256 + 4. */
static int64_t block_of_k(int64_t k)
{
    return ceil_div(k, ceil_div(k, REEL_GEMM_KC));
}

/* Rows [i, i + m) and columns [j, j + n) of a product. */
static reel_gemm part(const reel_gemm *g, int64_t i, int64_t m, int64_t j, int64_t n)
{
    reel_gemm p = *g;
    p.m = m;
    p.n = n;
    p.a += i * g->a_row;
    p.b += j * g->b_col;
    p.c += i * g->c_row + j;
    if (p.bias) p.bias += j;
    return p;
}

/* The block of k at p of a product, B still in place. */
static reel_gemm_block block_at(const reel_gemm *g, int64_t p, int64_t kc)
{
    return (reel_gemm_block){
        .m = g->m,
        .n = g->n,
        .kc = kc,
        .a = g->a + p * g->a_col,
        .a_row = g->a_row,
        .a_col = g->a_col,
        .a_rows = g->m,
        .b = g->b + p * g->b_row,
        .b_row = g->b_row,
        .c = g->c,
        .c_row = g->c_row,
        .bias = p == 0 ? g->bias : NULL,
        .add = g->accumulate || p > 0,
    };
}

/* ---- serial ------------------------------------------------------------------------ */

/* k = 0: an empty sum. */
static void no_terms(const reel_gemm *g)
{
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float *c = g->c + i * g->c_row + j;
            *c = (g->accumulate ? *c : 0) + (g->bias ? g->bias[j] : 0);
        }
}

/* Reading B in place is cheaper than packing it for few rows or few panels. */
static bool in_place(const reel_gemm *g)
{
    const reel_gemm_isa *isa = kernels();
    return g->b_col == 1 && g->b_row != 0 && (g->m <= 2 * isa->mr || g->n <= 2 * isa->nr);
}

/* Dot products along rows of both operands, for few rows of A. */
static bool by_dots(const reel_gemm *g)
{
    return g->b_row == 1 && g->m <= FEW_ROWS && g->k >= 16;
}

static reel_gemm_dot dot_of(const reel_gemm *g)
{
    return (reel_gemm_dot){.m = g->m,
                           .n = g->n,
                           .k = g->k,
                           .a = g->a,
                           .a_row = g->a_row,
                           .b = g->b,
                           .b_row = g->b_col,
                           .c = g->c,
                           .c_row = g->c_row,
                           .bias = g->bias,
                           .add = g->accumulate};
}

void reel__gemm_serial(const reel_gemm *g, float *room)
{
    const reel_gemm_isa *isa = kernels();
    if (g->k == 0) {
        no_terms(g);
        return;
    }
    if (by_dots(g) && g->a_col == 1) {
        reel_gemm_dot d = dot_of(g);
        isa->dot(&d);
        return;
    }
    int64_t kb = block_of_k(g->k);
    int64_t cols = in_place(g) ? g->n : (int64_t)REEL__GEMM_ROOM / REEL_GEMM_KC;
    for (int64_t j = 0; j < g->n; j += cols) {
        reel_gemm q = part(g, 0, g->m, j, min64(cols, g->n - j));
        for (int64_t p = 0; p < g->k; p += kb) {
            reel_gemm_block t = block_at(&q, p, min64(kb, g->k - p));
            if (!in_place(g)) {
                isa->pack_b(t.b, g->b_row, g->b_col, t.kc, t.n, room);
                t.b = room;
                t.b_row = 0;
            }
            isa->block(&t);
        }
    }
}

/* ---- batches of small products ----------------------------------------------------- */

int64_t reel__batch_count(const reel__batch *batch)
{
    int64_t n = 1;
    for (int d = 0; d < batch->rank; d++) n *= batch->dim[d];
    return n;
}

reel__batch_at reel__batch_offset(const reel__batch *batch, int64_t i)
{
    reel__batch_at at = {0, 0, 0};
    for (int d = batch->rank - 1; d >= 0; d--) {
        int64_t x = i % batch->dim[d];
        i /= batch->dim[d];
        at.a += x * batch->a[d];
        at.b += x * batch->b[d];
        at.c += x * batch->c[d];
    }
    return at;
}

/* Product i of a batch. */
static reel_gemm member(const reel_gemm *g, const reel__batch *batch, int64_t i)
{
    reel__batch_at at = reel__batch_offset(batch, i);
    reel_gemm q = *g;
    q.a += at.a;
    q.b += at.b;
    q.c += at.c;
    return q;
}

typedef struct batch_ctx {
    const reel_gemm *g;
    const reel__batch *batch;
    int64_t count, group;
    float *rooms;
} batch_ctx;

static void batch_task(void *ctx, int64_t i, int worker)
{
    const batch_ctx *t = ctx;
    int64_t end = min64((i + 1) * t->group, t->count);
    for (int64_t b = i * t->group; b < end; b++) {
        reel_gemm q = member(t->g, t->batch, b);
        reel__gemm_serial(&q, t->rooms + (size_t)worker * REEL__GEMM_ROOM);
    }
}

/* Every product in one piece, in tasks of `group`. */
static reel_status run_batch(batch_ctx *t)
{
    int64_t tasks = ceil_div(t->count, t->group);
    size_t workers = tasks > 1 ? (size_t)reel__max_workers() : 1;
    t->rooms = reel__scratch(workers * REEL__GEMM_ROOM * sizeof(float));
    if (!t->rooms) return REEL_ERR_MEMORY;
    reel__parallel(tasks, batch_task, t);
    reel__scratch_free(t->rooms);
    return REEL_OK;
}

/* ---- few rows ---------------------------------------------------------------------- */

typedef struct dot_ctx {
    reel_gemm_dot whole;
    int64_t cols; /* of a task */
} dot_ctx;

static void dot_task(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const dot_ctx *t = ctx;
    reel_gemm_dot d = t->whole;
    int64_t j = i * t->cols;
    d.n = min64(t->cols, d.n - j);
    d.b += j * d.b_row;
    d.c += j;
    if (d.bias) d.bias += j;
    kernels()->dot(&d);
}

static reel_status few_rows(const reel_gemm *g)
{
    float *copy = NULL;
    dot_ctx t = {.whole = dot_of(g)};
    if (g->a_col != 1) {
        copy = reel__scratch((size_t)(g->m * g->k) * sizeof *copy);
        if (!copy) return REEL_ERR_MEMORY;
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t p = 0; p < g->k; p++)
                copy[i * g->k + p] = g->a[i * g->a_row + p * g->a_col];
        t.whole.a = copy;
        t.whole.a_row = g->k;
    }
    /* these are bound by reading B: tasks of 64K of its elements */
    t.cols = round_up(max64(1, (1 << 16) / g->k), 4);
    reel__parallel(ceil_div(g->n, t.cols), dot_task, &t);
    reel__scratch_free(copy);
    return REEL_OK;
}

/* ---- tiles of C -------------------------------------------------------------------- */

typedef struct tile_ctx {
    const reel_gemm *g;
    int64_t rows, cols, col_tiles, kb;
    const float *packed; /* NULL: B in place */
    int64_t packed_cols;
} tile_ctx;

static void tile_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const tile_ctx *t = ctx;
    const reel_gemm *g = t->g;
    int64_t i = task / t->col_tiles * t->rows, j = task % t->col_tiles * t->cols;
    reel_gemm q = part(g, i, min64(t->rows, g->m - i), j, min64(t->cols, g->n - j));
    for (int64_t p = 0; p < g->k; p += t->kb) {
        reel_gemm_block b = block_at(&q, p, min64(t->kb, g->k - p));
        b.a_rows = g->m - i;
        if (t->packed) {
            b.b = t->packed + p * t->packed_cols + j * b.kc;
            b.b_row = 0;
        }
        kernels()->block(&b);
    }
}

/* Cuts C into tiles of about equal work, whole strips high and whole panels wide. */
static void run_tiles(tile_ctx *t)
{
    const reel_gemm *g = t->g;
    const reel_gemm_isa *isa = kernels();
    int64_t work = work_of(g);
    int64_t want =
        max64(min64(work / TASK_WORK, 16), min64(work / (32 * TASK_WORK), 128));
    if (want < 1) want = 1;
    int64_t strips = ceil_div(g->m, isa->mr), panels = ceil_div(g->n, isa->nr);
    int64_t down = min64(strips, ceil_div(want, ceil_div(g->n, TILE_COLS)));
    int64_t across =
        min64(panels, max64(ceil_div(want, down), ceil_div(g->n, TILE_COLS)));
    t->rows = ceil_div(strips, down) * isa->mr;
    t->cols = ceil_div(panels, across) * isa->nr;
    t->col_tiles = ceil_div(g->n, t->cols);
    reel__parallel_dynamic(ceil_div(g->m, t->rows) * t->col_tiles, tile_task, t);
}

/* ---- packed ------------------------------------------------------------------------ */

typedef struct pack_ctx {
    const reel_gemm *g;
    int64_t kb, blocks, cols, packed_cols;
    float *packed;
} pack_ctx;

static void pack_task(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const pack_ctx *t = ctx;
    const reel_gemm *g = t->g;
    int64_t p = i % t->blocks * t->kb, j = i / t->blocks * t->cols;
    int64_t kc = min64(t->kb, g->k - p);
    kernels()->pack_b(g->b + p * g->b_row + j * g->b_col, g->b_row, g->b_col, kc,
                      min64(t->cols, g->n - j), t->packed + p * t->packed_cols + j * kc);
}

/* Block p of k begins at packed + p * packed_cols; in it, panel j at j * kc. */
static void pack_all(const reel_gemm *g, int64_t kb, int64_t packed_cols, float *packed)
{
    int64_t cols = round_up(max64(1, (1 << 15) / kb), kernels()->nr);
    pack_ctx t = {g, kb, ceil_div(g->k, kb), cols, packed_cols, packed};
    reel__parallel(t.blocks * ceil_div(g->n, cols), pack_task, &t);
}

/* Columns, then as long a piece of k, as are packed at once. */
static reel_status packed(const reel_gemm *g)
{
    int64_t nr = kernels()->nr, kb = block_of_k(g->k);
    int64_t cols = max64(TILE_COLS, PACK_MAX / g->k / TILE_COLS * TILE_COLS);
    cols = min64(cols, round_up(g->n, nr));
    int64_t length = min64(g->k, max64(1, PACK_MAX / cols / kb) * kb);
    float *room = reel__scratch((size_t)(length * cols) * sizeof *room);
    if (!room) return REEL_ERR_MEMORY;
    for (int64_t j = 0; j < g->n; j += cols)
        for (int64_t p = 0; p < g->k; p += length) {
            reel_gemm q = part(g, 0, g->m, j, min64(cols, g->n - j));
            q.k = min64(length, g->k - p);
            q.a += p * g->a_col;
            q.b += p * g->b_row;
            q.accumulate = g->accumulate || p > 0;
            if (p > 0) q.bias = NULL;
            int64_t packed_cols = round_up(q.n, nr);
            pack_all(&q, kb, packed_cols, room);
            tile_ctx t = {.g = &q, .kb = kb, .packed = room, .packed_cols = packed_cols};
            run_tiles(&t);
        }
    reel__scratch_free(room);
    return REEL_OK;
}

/* ---- small m*n, long k ------------------------------------------------------------- */

/* Pieces of k: enough tasks, each long enough, as many for every number of threads. */
static int64_t pieces_of_k(const reel_gemm *g)
{
    const reel_gemm_isa *isa = kernels();
    int64_t tiles = ceil_div(g->m, 2 * isa->mr) * ceil_div(g->n, 2 * isa->nr);
    if (tiles >= 16) return 1;
    return min64(ceil_div(16, tiles), g->k / 512);
}

typedef struct split_ctx {
    const reel_gemm *g;
    int64_t pieces, length;
    float *sums; /* [pieces, m, n] */
    float *rooms;
} split_ctx;

static void split_task(void *ctx, int64_t i, int worker)
{
    const split_ctx *t = ctx;
    reel_gemm q = *t->g;
    int64_t p = i * t->length;
    q.k = min64(t->length, q.k - p);
    q.a += p * q.a_col;
    q.b += p * q.b_row;
    q.c = t->sums + i * q.m * q.n;
    q.c_row = q.n;
    q.accumulate = false;
    q.bias = NULL;
    reel__gemm_serial(&q, t->rooms + (size_t)worker * REEL__GEMM_ROOM);
}

static void sum_pieces(void *ctx, int64_t begin, int64_t end)
{
    const split_ctx *t = ctx;
    const reel_gemm *g = t->g;
    for (int64_t i = begin; i < end; i++) {
        float *c = g->c + i * g->c_row;
        for (int64_t j = 0; j < g->n; j++) {
            float x = t->sums[i * g->n + j];
            for (int64_t s = 1; s < t->pieces; s++)
                x += t->sums[(s * g->m + i) * g->n + j];
            if (g->accumulate) x += c[j];
            if (g->bias) x += g->bias[j];
            c[j] = x;
        }
    }
}

static reel_status split_k(const reel_gemm *g, int64_t pieces)
{
    split_ctx t = {.g = g, .length = ceil_div(g->k, pieces)};
    t.pieces = ceil_div(g->k, t.length);
    size_t rooms = (size_t)reel__max_workers() * REEL__GEMM_ROOM;
    t.rooms = reel__scratch((rooms + (size_t)(t.pieces * g->m * g->n)) * sizeof(float));
    if (!t.rooms) return REEL_ERR_MEMORY;
    t.sums = t.rooms + rooms;
    reel__parallel(t.pieces, split_task, &t);
    reel__parallel_range(g->m, ceil_div(1 << 14, g->n), sum_pieces, &t);
    reel__scratch_free(t.rooms);
    return REEL_OK;
}

/* ---- which way --------------------------------------------------------------------- */

/* A BLAS only where we have no kernel of our own for the processor. */
static bool blas_instead(const reel_gemm *g, const reel__batch *batch)
{
    if (reel__isa() != REEL_ISA_BASELINE) return false;
    reel__blas_gemm b = {.dtype = REEL_F32,
                         .m = g->m,
                         .n = g->n,
                         .k = g->k,
                         .a = g->a,
                         .a_row = g->a_row,
                         .a_col = g->a_col,
                         .b = g->b,
                         .b_row = g->b_row,
                         .b_col = g->b_col,
                         .c = g->c,
                         .c_row = g->c_row,
                         .accumulate = g->accumulate || g->bias};
    if (!reel__blas_takes(&b)) return false;
    for (int64_t i = 0; g->bias && i < reel__batch_count(batch); i++) {
        reel_gemm q = member(g, batch, i);
        no_terms(&q);
    }
    reel__blas_run(&b, batch);
    return true;
}

static reel_status one(const reel_gemm *g)
{
    int64_t work = work_of(g);
    if (by_dots(g)) return few_rows(g);
    if (work < 2 * TASK_WORK) {
        reel__batch alone = {.rank = 0};
        batch_ctx t = {.g = g, .batch = &alone, .count = 1, .group = 1};
        return run_batch(&t);
    }
    int64_t pieces = pieces_of_k(g);
    if (pieces > 1) return split_k(g, pieces);
    if (in_place(g)) {
        tile_ctx t = {.g = g, .kb = block_of_k(g->k)};
        run_tiles(&t);
        return REEL_OK;
    }
    return packed(g);
}

reel_status reel__gemm_f32_batch(const reel_gemm *g, const reel__batch *batch)
{
    int64_t count = reel__batch_count(batch), work = work_of(g);
    if (g->m == 0 || g->n == 0 || count == 0) return REEL_OK;
    if (blas_instead(g, batch)) return REEL_OK;
    if (work == 0 || (count > 1 && work < 4 * TASK_WORK) ||
        (count >= 16 && work < 64 * TASK_WORK)) {
        int64_t group = max64(1, TASK_WORK / 4 / max64(work, 1));
        batch_ctx t = {.g = g, .batch = batch, .count = count, .group = group};
        return run_batch(&t);
    }
    for (int64_t i = 0; i < count; i++) {
        reel_gemm q = member(g, batch, i);
        reel_status s = one(&q);
        if (s != REEL_OK) return s;
    }
    return REEL_OK;
}

reel_status reel__gemm_f32_batched(const reel_gemm *g, int64_t batch, int64_t a_step,
                                   int64_t b_step, int64_t c_step)
{
    return reel__gemm_f32_batch(g,
                                &(reel__batch){1, {batch}, {a_step}, {b_step}, {c_step}});
}

reel_status reel__gemm_f32(const reel_gemm *g)
{
    return reel__gemm_f32_batch(g, &(reel__batch){.rank = 0});
}
