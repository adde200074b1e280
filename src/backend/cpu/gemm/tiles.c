/* tiles.c: one product as tiles of C in parallel, B in place or packed first. */
#include "backend/cpu/gemm/plan.h"

#include "base/alloc.h"
#include "base/parallel.h"

/* Bytes of B packed at once: what a share of L3 keeps. */
#define PACK_BYTES ((int64_t)1 << 21)
/* Columns of a tile of C: their block of packed B stays in L2. */
#define TILE_COLS 512

typedef struct tile_ctx {
    const reel__gemm *g;
    int64_t rows, cols, col_tiles, kb;
    const void *packed; /* NULL: B in place */
    int64_t packed_cols;
    const reel__epilogue *end; /* NULL: none */
} tile_ctx;

static void tile_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const tile_ctx *t = ctx;
    const reel__gemm *g = t->g;
    int64_t i = task / t->col_tiles * t->rows, j = task % t->col_tiles * t->cols;
    reel__gemm q = part(g, i, min64(t->rows, g->m - i), j, min64(t->cols, g->n - j));
    for (int64_t p = 0; p < g->k; p += t->kb) {
        reel__gemm_block b = reel__gemm_block_at(&q, p, min64(t->kb, g->k - p));
        b.a_rows = g->m - i;
        if (t->packed) {
            b.b = from(g, t->packed, p * t->packed_cols + j * b.kc);
            b.b_row = 0;
        }
        kernels(g)->block(&b);
    }
    for (int64_t r = 0; t->end && r < q.m; r++)
        reel__epilogue_row(t->end, (float *)q.c + r * q.c_row, q.n);
}

/* Cuts C into `want` tiles or so of about equal work, whole strips high and whole panels
 * wide. */
static void run_cut(tile_ctx *t, int64_t want)
{
    const reel__gemm *g = t->g;
    const reel__gemm_isa *isa = kernels(g);
    int64_t strips = ceil_div(g->m, isa->mr), panels = ceil_div(g->n, isa->nr);
    int64_t down = min64(strips, ceil_div(want, ceil_div(g->n, TILE_COLS)));
    int64_t across =
        min64(panels, max64(ceil_div(want, down), ceil_div(g->n, TILE_COLS)));
    t->rows = ceil_div(strips, down) * isa->mr;
    t->cols = ceil_div(panels, across) * isa->nr;
    t->col_tiles = ceil_div(g->n, t->cols);
    reel__parallel_dynamic(ceil_div(g->m, t->rows) * t->col_tiles, tile_task, t);
}

/* `share` multiply-adds are worth a tile, up to 16 tiles. */
static void run_tiles(tile_ctx *t, int64_t share)
{
    int64_t work = work_of(t->g);
    int64_t want =
        max64(min64(work / share, 16), min64(work / (32 * REEL__TASK_WORK), 128));
    run_cut(t, max64(want, 1));
}

void reel__gemm_tiles(const reel__gemm *g)
{
    tile_ctx t = {.g = g, .kb = block_of_k(g)};
    run_tiles(&t, REEL__TASK_WORK);
}

/* ---- packed ------------------------------------------------------------------------ */

typedef struct pack_ctx {
    const reel__gemm *g;
    int64_t kb, blocks, cols, packed_cols;
    void *packed;
} pack_ctx;

static void pack_task(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const pack_ctx *t = ctx;
    const reel__gemm *g = t->g;
    int64_t p = i % t->blocks * t->kb, j = i / t->blocks * t->cols;
    int64_t kc = min64(t->kb, g->k - p);
    kernels(g)->pack_b(from(g, g->b, p * g->b_row + j * g->b_col), g->b_row, g->b_col, kc,
                       min64(t->cols, g->n - j),
                       into(g, t->packed, p * t->packed_cols + j * kc));
}

/* Block p of k begins at packed + p * packed_cols; in it, panel j at j * kc. */
static void pack_all(const reel__gemm *g, int64_t kb, int64_t packed_cols, void *packed)
{
    int64_t cols = round_up(max64(1, (1 << 15) / kb), kernels(g)->nr);
    pack_ctx t = {g, kb, ceil_div(g->k, kb), cols, packed_cols, packed};
    reel__parallel(t.blocks * ceil_div(g->n, cols), pack_task, &t);
}

/* Columns, then as long a piece of k, as are packed at once. */
reel_status reel__gemm_packed(const reel__gemm *g)
{
    int64_t nr = kernels(g)->nr, kb = block_of_k(g);
    int64_t most = PACK_BYTES / element_size(g);
    int64_t cols = max64(TILE_COLS, most / g->k / TILE_COLS * TILE_COLS);
    cols = min64(cols, round_up(g->n, nr));
    int64_t length = min64(g->k, max64(1, most / cols / kb) * kb);
    void *room = reel__scratch((size_t)(length * cols * element_size(g)));
    if (!room) return REEL_ERR_MEMORY;
    for (int64_t j = 0; j < g->n; j += cols)
        for (int64_t p = 0; p < g->k; p += length) {
            reel__gemm q = part(g, 0, g->m, j, min64(cols, g->n - j));
            q.k = min64(length, g->k - p);
            q.a = from(g, q.a, p * g->a_col);
            q.b = from(g, q.b, p * g->b_row);
            q.accumulate = g->accumulate || p > 0;
            if (p > 0) q.bias = NULL;
            int64_t packed_cols = round_up(q.n, nr);
            pack_all(&q, kb, packed_cols, room);
            tile_ctx t = {.g = &q, .kb = kb, .packed = room, .packed_cols = packed_cols};
            run_tiles(&t, REEL__TASK_WORK);
        }
    reel__scratch_free(room);
    return REEL_OK;
}

/* ---- packed as a whole ------------------------------------------------------------- */

void reel__gemm_pack(const reel__gemm *g, void *packed)
{
    pack_all(g, block_of_k(g), round_up(g->n, kernels(g)->nr), packed);
}

void reel__gemm_packed_tiles(const reel__gemm *g, const void *packed,
                             const reel__epilogue *end)
{
    tile_ctx t = {.g = g,
                  .kb = block_of_k(g),
                  .packed = packed,
                  .packed_cols = round_up(g->n, kernels(g)->nr),
                  .end = end};
    run_tiles(&t, REEL__TASK_WORK / 4); /* nothing but products: small tiles pay */
}
