/* backward.c: gradients of attention, block by block from the saved maximum and sum of each
 * query (Dao et al. 2022, arXiv:2205.14135). With probabilities p = e^(score - maximum) /
 * sum, which are the bits of forward, their dropout factors f, and D = gy . y of each query:
 *
 *   gv = (p f)' gy   dp = (gy v') f   ds = p (dp - D)   gq = scale ds k   gk = scale ds' q
 *
 * and the gradient of a mask that was added is ds. */
#include <math.h>
#include <string.h>

#include "backend/cpu/attention/attention.h"
#include "base/alloc.h"
#include "base/int64.h"
#include "base/parallel.h"

typedef struct backward_ctx {
    reel__attention at;
    reel__attention_mat gy, y, gq, gk, gv; /* data NULL: not wanted */
    const float *stats;                    /* [batches, lq, 2] */
    int64_t query_blocks, key_blocks;
    bool by_matrix; /* tasks are matrices, not blocks */
    reel__mask_sums gmask;
    float *rooms;
} backward_ctx;

/* One matrix of the batch, and where its share of gmask goes; NULL: nowhere. */
typedef struct matrix {
    int64_t batch;
    float *gmask;
} matrix;

/* Queries [i0, i0 + qn) and keys [k0, k0 + kn) of a matrix. */
typedef struct tile {
    int64_t batch, i0, qn, k0, kn;
    const float *gy, *y; /* their rows from i0 on */
    float *gmask;
} tile;

static float *rows_at(const reel__attention_mat *m, int64_t batch, int64_t row)
{
    return reel__attention_at(m, batch) + row * m->step;
}

static tile tile_at(const backward_ctx *t, const matrix *m, int64_t qb, int64_t kb)
{
    const reel__attention *at = &t->at;
    tile x = {.batch = m->batch,
              .i0 = qb * at->query_block,
              .k0 = kb * at->key_block,
              .gmask = m->gmask};
    x.qn = min64(at->query_block, at->lq - x.i0);
    x.kn = reel__attention_seen(at, x.i0 + x.qn - 1, x.k0,
                                min64(at->key_block, at->lk - x.k0));
    x.gy = rows_at(&t->gy, x.batch, x.i0);
    x.y = rows_at(&t->y, x.batch, x.i0);
    return x;
}

/* c[m, n] = a b with room's scores or slopes on one side. */
static void times(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row,
                  int64_t a_col, const float *b, int64_t b_row, int64_t b_col, float *c,
                  int64_t c_row, bool accumulate, const reel__attention_room *room)
{
    reel__gemm g = {.m = m,
                    .n = n,
                    .k = k,
                    .a = a,
                    .a_row = a_row,
                    .a_col = a_col,
                    .b = b,
                    .b_row = b_row,
                    .b_col = b_col,
                    .c = c,
                    .c_row = c_row,
                    .accumulate = accumulate};
    reel__gemm_serial(&g, room->pack);
}

/* One row of p and dp, of query i: dp becomes scale ds. */
static void row_slopes(const backward_ctx *t, const tile *x, int64_t i, const float *p,
                       float *dp, int64_t seen)
{
    const reel__attention *at = &t->at;
    int64_t r = i - x->i0;
    float d = at->isa->dot(x->gy + r * t->gy.step, x->y + r * t->y.step, at->dv);
    if (!x->gmask) {
        at->isa->slope(p, dp, d, at->scale, seen);
        return;
    }
    at->isa->slope(p, dp, d, 1, seen);
    reel__mask_sums_add(&t->gmask, at->isa, x->gmask, i, x->k0, dp, seen);
    at->isa->affine(dp, 0, at->scale, 0, dp, seen);
}

/* One row: scores become p f, products gy . v become scale ds. */
static void differentiate(const backward_ctx *t, const tile *x, int64_t r,
                          const reel__attention_room *room)
{
    const reel__attention *at = &t->at;
    float *p = room->scores + r * REEL__SCORE_ROW,
          *dp = room->slopes + r * REEL__SCORE_ROW;
    int64_t i = x->i0 + r, seen = reel__attention_seen(at, i, x->k0, x->kn);
    const float *stats = t->stats + 2 * (x->batch * at->lq + i);
    if (stats[1] == 0) seen = 0; /* nothing to attend to */
    memset(p + seen, 0, (size_t)(x->kn - seen) * sizeof *p);
    memset(dp + seen, 0, (size_t)(x->kn - seen) * sizeof *dp);
    if (seen == 0) return;
    const float *add = reel__attention_mask(at, x->batch, i, x->k0, seen, p, room);
    at->isa->prob(p, at->scale, add, stats[0], 1 / stats[1], seen);
    bool drop = at->attrs->dropout > 0;
    if (drop) reel__attention_dropout(at, x->batch, i, x->k0, seen, room);
    for (int64_t j = 0; drop && j < seen; j++) dp[j] *= room->factor[j];
    row_slopes(t, x, i, p, dp, seen);
    for (int64_t j = 0; drop && j < seen; j++) p[j] *= room->factor[j];
}

/* p f and scale ds of a tile, in room. */
static void pairs(const backward_ctx *t, const tile *x, const reel__attention_room *room)
{
    const reel__attention *at = &t->at;
    times(x->qn, x->kn, at->d, rows_at(&at->q, x->batch, x->i0), at->q.step, 1,
          rows_at(&at->k, x->batch, x->k0), 1, at->k.step, room->scores, REEL__SCORE_ROW,
          false, room);
    times(x->qn, x->kn, at->dv, x->gy, t->gy.step, 1, rows_at(&at->v, x->batch, x->k0), 1,
          at->v.step, room->slopes, REEL__SCORE_ROW, false, room);
    for (int64_t r = 0; r < x->qn; r++) differentiate(t, x, r, room);
}

static void add_gq(const backward_ctx *t, const tile *x, const reel__attention_room *room)
{
    const reel__attention *at = &t->at;
    if (!t->gq.data) return;
    times(x->qn, at->d, x->kn, room->slopes, REEL__SCORE_ROW, 1,
          rows_at(&at->k, x->batch, x->k0), at->k.step, 1,
          rows_at(&t->gq, x->batch, x->i0), t->gq.step, x->k0 > 0, room);
}

static void add_gkv(const backward_ctx *t, const tile *x,
                    const reel__attention_room *room)
{
    const reel__attention *at = &t->at;
    if (t->gk.data)
        times(x->kn, at->d, x->qn, room->slopes, 1, REEL__SCORE_ROW,
              rows_at(&at->q, x->batch, x->i0), at->q.step, 1,
              rows_at(&t->gk, x->batch, x->k0), t->gk.step, true, room);
    if (t->gv.data)
        times(x->kn, at->dv, x->qn, room->scores, 1, REEL__SCORE_ROW,
              rows_at(&t->gy, x->batch, x->i0), t->gy.step, 1,
              rows_at(&t->gv, x->batch, x->k0), t->gv.step, true, room);
}

static void clear_rows(const reel__attention_mat *m, int64_t batch, int64_t from,
                       int64_t to, int64_t width)
{
    float *row = m->data ? rows_at(m, batch, from) : NULL;
    for (int64_t i = from; row && i < to; i++, row += m->step)
        memset(row, 0, (size_t)width * sizeof *row);
}

/* One block of keys against all queries that see it. */
static void key_block(const backward_ctx *t, const matrix *m, int64_t kb, bool with_gq,
                      const reel__attention_room *room)
{
    const reel__attention *at = &t->at;
    int64_t k0 = kb * at->key_block, end = min64(k0 + at->key_block, at->lk);
    /* a causal block of queries may see a part of the keys only */
    clear_rows(&t->gk, m->batch, k0, end, at->d);
    clear_rows(&t->gv, m->batch, k0, end, at->dv);
    for (int64_t qb = 0; qb < t->query_blocks; qb++) {
        tile x = tile_at(t, m, qb, kb);
        if (x.kn == 0) continue;
        pairs(t, &x, room);
        add_gkv(t, &x, room);
        if (with_gq) add_gq(t, &x, room);
    }
}

static reel__attention_room room_of(const backward_ctx *t, int worker)
{
    return reel__attention_room_at(t->rooms + (int64_t)worker * REEL__ATTENTION_ROOM);
}

/* Matrix i of a group of gmask. */
static matrix matrix_at(const backward_ctx *t, int64_t g, int64_t i)
{
    return (matrix){reel__mask_sums_batch(&t->gmask, g, i),
                    reel__mask_sums_at(&t->gmask, g, i)};
}

/* ---- one task a matrix, or some that add to one slab of gmask ---------------------- */

static void whole_matrices(void *ctx, int64_t task, int worker)
{
    const backward_ctx *t = ctx;
    const reel__mask_sums *s = &t->gmask;
    reel__attention_room room = room_of(t, worker);
    int64_t from = task % s->slabs * s->length, end = min64(from + s->length, s->group);
    for (int64_t i = from; i < end; i++) {
        matrix m = matrix_at(t, task / s->slabs, i);
        for (int64_t kb = 0; kb < t->key_blocks; kb++) key_block(t, &m, kb, true, &room);
    }
}

/* ---- few long matrices: keys, then queries, probabilities computed twice ----------- */

/* A task of keys owns columns of gmask, one of queries owns rows. */
static bool gmask_by_keys(const backward_ctx *t)
{
    return t->gmask.out && t->gmask.row == 0;
}

static void keys_task(void *ctx, int64_t task, int worker)
{
    const backward_ctx *t = ctx;
    reel__attention_room room = room_of(t, worker);
    int64_t b = task / t->key_blocks;
    matrix m = matrix_at(t, b / t->gmask.group, b % t->gmask.group);
    if (!gmask_by_keys(t)) m.gmask = NULL;
    key_block(t, &m, task % t->key_blocks, false, &room);
}

static void queries_task(void *ctx, int64_t task, int worker)
{
    const backward_ctx *t = ctx;
    reel__attention_room room = room_of(t, worker);
    int64_t b = task / t->query_blocks;
    matrix m = matrix_at(t, b / t->gmask.group, b % t->gmask.group);
    if (gmask_by_keys(t)) m.gmask = NULL;
    for (int64_t kb = 0; kb < t->key_blocks; kb++) {
        tile x = tile_at(t, &m, task % t->query_blocks, kb);
        if (x.kn == 0) break;
        pairs(t, &x, &room);
        add_gq(t, &x, &room);
    }
}

/* ------------------------------------------------------------------------------------ */

enum { TASKS = 16 }; /* matrices that are enough to go on with */

static void run(backward_ctx *t)
{
    const reel__attention *at = &t->at;
    const reel__mask_sums *s = &t->gmask;
    if (at->lk == 0) {
        for (int64_t b = 0; b < at->batches; b++) clear_rows(&t->gq, b, 0, at->lq, at->d);
        return;
    }
    if (t->by_matrix) {
        reel__parallel_dynamic(s->groups * s->slabs, whole_matrices, t);
        return;
    }
    if (t->gk.data || t->gv.data || gmask_by_keys(t))
        reel__parallel_dynamic(at->batches * t->key_blocks, keys_task, t);
    if (t->gq.data || (s->out && !gmask_by_keys(t)))
        reel__parallel_dynamic(at->batches * t->query_blocks, queries_task, t);
}

/* With scratch memory for all of it. */
static reel_status run_with_rooms(backward_ctx *t)
{
    size_t rooms = (size_t)reel__max_workers() * REEL__ATTENTION_ROOM;
    bool one_number = t->gmask.out && !t->gmask.row && !t->gmask.col; /* has no owner */
    t->by_matrix =
        t->at.batches >= TASKS || t->key_blocks * t->query_blocks <= 2 || one_number;
    t->rooms = reel__scratch(rooms * sizeof(float));
    if (!t->rooms) return REEL_ERR_MEMORY;
    reel_status st =
        reel__mask_sums_begin(&t->gmask, t->by_matrix ? TASKS : t->at.batches);
    if (st == REEL_OK) run(t);
    reel__mask_sums_end(&t->gmask);
    reel__scratch_free(t->rooms);
    return st;
}

/* An output that may be absent. */
static bool take_output(const reel__karg *arg, reel__attention_mat *out)
{
    out->data = NULL;
    return !arg->data || reel__attention_operand(arg, out);
}

/* gy q k v mask? y stats  ->  gq? gk? gv? gmask? */
bool reel__fast_attention_backward(const reel__kcall *call, reel_status *status)
{
    backward_ctx t;
    if (!reel__attention_take(call, 1, &t.at) ||
        !reel__attention_operand(&call->in[0], &t.gy) ||
        !reel__attention_operand(&call->in[5], &t.y) ||
        !take_output(&call->out[0], &t.gq) || !take_output(&call->out[1], &t.gk) ||
        !take_output(&call->out[2], &t.gv) ||
        !reel__mask_sums_take(call, &t.at, &t.gmask) ||
        !reel__is_contiguous(call->in[6].meta))
        return false;
    t.stats = call->in[6].data;
    t.query_blocks = (t.at.lq + t.at.query_block - 1) / t.at.query_block;
    t.key_blocks = (t.at.lk + t.at.key_block - 1) / t.at.key_block;
    *status = run_with_rooms(&t);
    return true;
}
