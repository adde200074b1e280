/* common.c: operands, masks and dropout of attention. */
#include <math.h>

#include "backend/cpu/attention/attention.h"
#include "backend/cpu/isa/random.h"
#include "base/rng.h"

reel__attention_room reel__attention_room_at(float *base)
{
    reel__attention_room r = {.pack = base};
    r.scores = r.pack + REEL__GEMM_ROOM;
    r.slopes = r.scores + REEL__SCORES;
    r.add = r.slopes + REEL__SCORES;
    r.factor = r.add + REEL__KEYS;
    r.words = (uint32_t *)(r.factor + REEL__KEYS);
    r.max = r.factor + 2 * REEL__KEYS + 16;
    r.sum = r.max + REEL__QUERIES;
    return r;
}

bool reel__attention_operand(const reel__karg *arg, reel__attention_mat *out)
{
    const reel__meta *m = arg->meta;
    if (!arg->data || m->dtype != REEL_F32 || m->rank < 2) return false;
    if (m->stride[m->rank - 1] != 1 && m->dim[m->rank - 1] != 1) return false;
    *out = (reel__attention_mat){arg->data, m, m->stride[m->rank - 2]};
    return true;
}

/* Offset of matrix `batch`, counted in the leading dimensions of `like`, in an operand
 * that may have fewer dimensions or broadcast some. */
static int64_t matrix_offset(const reel__meta *m, const reel__meta *like, int64_t batch)
{
    int64_t offset = 0;
    for (int d = like->rank - 3; d >= 0; d--) {
        int64_t x = batch % like->dim[d];
        int own = d - (like->rank - m->rank);
        batch /= like->dim[d];
        if (own >= 0 && m->dim[own] != 1) offset += x * m->stride[own];
    }
    return offset;
}

float *reel__attention_at(const reel__attention_mat *m, int64_t batch)
{
    return m->data + matrix_offset(m->meta, m->meta, batch);
}

/* Blocks of nearly equal length. */
static int64_t even_block(int64_t length, int64_t most)
{
    int64_t blocks = (length + most - 1) / most;
    return blocks ? (length + blocks - 1) / blocks : 1;
}

/* The steps of the mask, any strides. A bool mask makes scores infinite before they are
 * scaled, by something else than 0. */
static bool take_mask(reel__attention *t)
{
    const reel__meta *m = t->mask->meta;
    int r = m->rank;
    if (r > 0 && m->dim[r - 1] != 1) t->mask_col = m->stride[r - 1];
    if (r > 1 && m->dim[r - 2] != 1) t->mask_row = m->stride[r - 2];
    return m->dtype == REEL_F32 || (m->dtype == REEL_BOOL && t->scale != 0);
}

bool reel__attention_take(const reel__kcall *call, int first, reel__attention *out)
{
    const reel__attention_attrs *attrs = call->attrs;
    reel__attention t = {.isa = REEL_ISA_PICK(rows),
                         .attrs = attrs,
                         .scale = (float)attrs->scale,
                         .batches = 1};
    if (!reel__attention_operand(&call->in[first], &t.q) ||
        !reel__attention_operand(&call->in[first + 1], &t.k) ||
        !reel__attention_operand(&call->in[first + 2], &t.v))
        return false;
    const reel__meta *q = t.q.meta;
    if (call->n_in > first + 3 && call->in[first + 3].data) t.mask = &call->in[first + 3];
    if (t.mask && !take_mask(&t)) return false;
    for (int i = 0; i < q->rank - 2; i++) t.batches *= q->dim[i];
    t.lq = q->dim[q->rank - 2];
    t.d = q->dim[q->rank - 1];
    t.lk = t.k.meta->dim[q->rank - 2];
    t.dv = t.v.meta->dim[q->rank - 1];
    t.query_block = even_block(t.lq, REEL__QUERIES);
    t.key_block = even_block(t.lk, REEL__KEYS);
    *out = t;
    return true;
}

int64_t reel__attention_seen(const reel__attention *t, int64_t i, int64_t k0, int64_t kn)
{
    if (!t->attrs->causal || i + 1 - k0 >= kn) return kn;
    return i + 1 > k0 ? i + 1 - k0 : 0;
}

const float *reel__attention_mask(const reel__attention *t, int64_t batch, int64_t i,
                                  int64_t k0, int64_t n, float *s,
                                  const reel__attention_room *room)
{
    if (!t->mask) return NULL;
    const reel__meta *m = t->mask->meta;
    int64_t step = t->mask_col;
    int64_t at = matrix_offset(m, t->q.meta, batch) + i * t->mask_row + k0 * step;
    if (m->dtype == REEL_BOOL) {
        const uint8_t *attend = (const uint8_t *)t->mask->data + at;
        float hidden = t->scale > 0 ? -INFINITY : INFINITY;
        for (int64_t j = 0; j < n; j++) s[j] = attend[j * step] ? s[j] : hidden;
        return NULL;
    }
    const float *add = (const float *)t->mask->data + at;
    if (step == 1) return add;
    for (int64_t j = 0; j < n; j++) room->add[j] = add[j * step];
    return room->add;
}

void reel__attention_dropout(const reel__attention *t, int64_t batch, int64_t i,
                             int64_t k0, int64_t n, const reel__attention_room *room)
{
    int64_t first = (batch * t->lq + i) * t->lk + k0, skip = first % 4;
    float keep = (float)(1 / (1 - t->attrs->dropout));
    REEL_ISA_PICK(random)->philox((uint64_t)t->attrs->seed,
                                  (uint64_t)t->attrs->offset + (uint64_t)(first / 4),
                                  (skip + n + 3) / 4, room->words);
    const uint32_t *word = room->words + skip;
    for (int64_t j = 0; j < n; j++)
        room->factor[j] = (double)reel__u01f(word[j]) < t->attrs->dropout ? 0 : keep;
}
