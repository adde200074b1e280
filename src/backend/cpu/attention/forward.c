/* forward.c: attention by blocks of queries; a running maximum and sum a query let blocks
 * of keys follow one another (Milakov & Gimelshein 2018, arXiv:1805.02867). */
#include <math.h>
#include <string.h>

#include "backend/cpu/attention/attention.h"
#include "base/alloc.h"
#include "base/parallel.h"

typedef struct forward_ctx {
    reel__attention at;
    reel__attention_mat y;
    float *stats; /* [batches, lq, 2]: maximum and sum; or NULL */
    int64_t query_blocks;
    float *rooms;
} forward_ctx;

/* One row of scores becomes probabilities, not yet divided by their sum; returns by how
 * much what came before must be scaled. */
static float soften(const forward_ctx *t, const reel__attention_room *room, int64_t batch,
                    int64_t i, int64_t k0, int64_t kn, int64_t row)
{
    const reel__attention *at = &t->at;
    float *s = room->scores + row * REEL__SCORE_ROW, before = room->max[row];
    int64_t seen = reel__attention_seen(at, i, k0, kn);
    const float *add = reel__attention_mask(at, batch, i, k0, seen, s, room);
    float m = at->isa->score_max(s, at->scale, add, seen);
    memset(s + seen, 0, (size_t)(kn - seen) * sizeof *s);
    /* the maximum passes over NaN: a row without a number must not look masked */
    if (m == -INFINITY && isnan(at->isa->sum(s, seen))) m = NAN;
    if (!(m > before) && !isnan(m)) m = before;
    if (m == -INFINITY) {
        memset(s, 0, (size_t)seen * sizeof *s);
        return 1;
    }
    float scale = before == -INFINITY ? 0 : expf(before - m);
    room->sum[row] = room->sum[row] * scale + at->isa->exp_sum(s, m, s, seen);
    room->max[row] = m;
    if (at->attrs->dropout > 0) {
        reel__attention_dropout(at, batch, i, k0, seen, room);
        for (int64_t j = 0; j < seen; j++) s[j] *= room->factor[j];
    }
    return scale;
}

/* Block of queries [i0, i0 + qn) against keys [k0, k0 + kn). */
static void key_block(const forward_ctx *t, const reel__attention_room *room,
                      int64_t batch, int64_t i0, int64_t qn, int64_t k0, int64_t kn)
{
    const reel__attention *at = &t->at;
    const float *q = reel__attention_at(&at->q, batch) + i0 * at->q.step;
    const float *k = reel__attention_at(&at->k, batch) + k0 * at->k.step;
    const float *v = reel__attention_at(&at->v, batch) + k0 * at->v.step;
    float *y = reel__attention_at(&t->y, batch) + i0 * t->y.step;
    reel__gemm scores = {.m = qn,
                         .n = kn,
                         .k = at->d,
                         .a = q,
                         .a_row = at->q.step,
                         .a_col = 1,
                         .b = k,
                         .b_row = 1,
                         .b_col = at->k.step,
                         .c = room->scores,
                         .c_row = REEL__SCORE_ROW};
    reel__gemm_serial(&scores, room->pack);
    for (int64_t r = 0; r < qn; r++) {
        float scale = soften(t, room, batch, i0 + r, k0, kn, r);
        float *row = y + r * t->y.step;
        if (k0 > 0 && scale != 1) at->isa->affine(row, 0, scale, 0, row, at->dv);
    }
    reel__gemm values = {.m = qn,
                         .n = at->dv,
                         .k = kn,
                         .a = room->scores,
                         .a_row = REEL__SCORE_ROW,
                         .a_col = 1,
                         .b = v,
                         .b_row = at->v.step,
                         .b_col = 1,
                         .c = y,
                         .c_row = t->y.step,
                         .accumulate = k0 > 0};
    reel__gemm_serial(&values, room->pack);
}

/* A row of y after the last block of keys; stats may be NULL. */
static void finish(const reel__attention *at, float max, float sum, float *row,
                   float *stats)
{
    if (sum == 0 && at->attrs->nan_rows && at->lk > 0) sum = NAN;
    if (sum == 0) /* nothing to attend to */
        memset(row, 0, (size_t)at->dv * sizeof *row);
    else
        at->isa->affine(row, 0, 1 / sum, 0, row, at->dv);
    if (!stats) return;
    stats[0] = max;
    stats[1] = sum;
}

static void query_block(void *ctx, int64_t task, int worker)
{
    const forward_ctx *t = ctx;
    const reel__attention *at = &t->at;
    reel__attention_room room =
        reel__attention_room_at(t->rooms + (int64_t)worker * REEL__ATTENTION_ROOM);
    int64_t batch = task / t->query_blocks, i0 = task % t->query_blocks * at->query_block;
    int64_t qn = at->lq - i0 < at->query_block ? at->lq - i0 : at->query_block;
    int64_t keys = reel__attention_seen(at, i0 + qn - 1, 0, at->lk);
    for (int64_t r = 0; r < qn; r++) {
        room.max[r] = -INFINITY;
        room.sum[r] = 0;
    }
    for (int64_t k0 = 0; k0 < keys; k0 += at->key_block)
        key_block(t, &room, batch, i0, qn, k0,
                  keys - k0 < at->key_block ? keys - k0 : at->key_block);
    float *y = reel__attention_at(&t->y, batch) + i0 * t->y.step;
    float *stats = t->stats ? t->stats + 2 * (batch * at->lq + i0) : NULL;
    for (int64_t r = 0; r < qn; r++)
        finish(at, room.max[r], room.sum[r], y + r * t->y.step,
               stats ? stats + 2 * r : NULL);
}

/* q [.., lq, d]  k [.., lk, d]  v [.., lk, dv]  mask?  ->  y [.., lq, dv],
 * stats [.., lq, 2] */
bool reel__fast_attention(const reel__kcall *call, reel_status *status)
{
    forward_ctx t;
    if (!reel__attention_take(call, 0, &t.at)) return false;
    if (!reel__attention_operand(&call->out[0], &t.y)) return false;
    t.stats = call->n_out > 1 ? call->out[1].data : NULL;
    if (t.stats && !reel__is_contiguous(call->out[1].meta)) return false;
    t.query_blocks = (t.at.lq + t.at.query_block - 1) / t.at.query_block;
    *status = REEL_OK;
    t.rooms =
        reel__scratch((size_t)reel__max_workers() * REEL__ATTENTION_ROOM * sizeof(float));
    if (!t.rooms) {
        *status = REEL_ERR_MEMORY;
        return true;
    }
    reel__parallel_dynamic(t.at.batches * t.query_blocks, query_block, &t);
    reel__scratch_free(t.rooms);
    return true;
}
