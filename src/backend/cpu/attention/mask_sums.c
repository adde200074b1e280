/* mask_sums.c: the gradient of a mask that was broadcast to the scores. */
#include <string.h>

#include "backend/cpu/attention/attention.h"
#include "base/alloc.h"
#include "base/parallel.h"

/* The mask is not repeated along dimension d of q. */
static bool own_dim(const reel__mask_sums *m, int d)
{
    int own = d - (m->q->rank - m->mask->rank);
    return own >= 0 && m->mask->dim[own] != 1;
}

bool reel__mask_sums_take(const reel__kcall *call, const reel__attention *t,
                          reel__mask_sums *out)
{
    *out = (reel__mask_sums){.groups = t->batches, .group = 1, .q = t->q.meta};
    const reel__karg *to = call->n_out > 3 ? &call->out[3] : NULL;
    if (!to || !to->data) return true;
    if (to->meta->dtype != REEL_F32 || !reel__is_contiguous(to->meta)) return false;
    out->mask = to->meta;
    out->out = to->data;
    out->size = reel__numel(to->meta);
    int r = out->q->rank;
    int64_t rows = own_dim(out, r - 2) ? t->lq : 1,
            cols = own_dim(out, r - 1) ? t->lk : 1;
    out->matrix = rows * cols;
    out->col = cols != 1;
    out->row = rows != 1 ? cols : 0;
    out->groups = 1;
    for (int d = 0; d < r - 2; d++)
        *(own_dim(out, d) ? &out->groups : &out->group) *= out->q->dim[d];
    return true;
}

int64_t reel__mask_sums_batch(const reel__mask_sums *m, int64_t g, int64_t i)
{
    if (!m->out) return g;
    int64_t batch = 0, step = 1;
    for (int d = m->q->rank - 3; d >= 0; d--) {
        int64_t n = m->q->dim[d], *from = own_dim(m, d) ? &g : &i;
        batch += *from % n * step;
        *from /= n;
        step *= n;
    }
    return batch;
}

float *reel__mask_sums_at(const reel__mask_sums *m, int64_t g, int64_t i)
{
    if (!m->out) return NULL;
    int64_t slab = i / m->length;
    float *first = slab == 0 ? m->out : m->more + (slab - 1) * m->size;
    return first + g * m->matrix;
}

void reel__mask_sums_add(const reel__mask_sums *m, const reel__rows_isa *isa, float *to,
                         int64_t i, int64_t k0, const float *slopes, int64_t n)
{
    to += i * m->row;
    if (m->col)
        isa->add_scaled(slopes, 1, to + k0, n);
    else
        *to += isa->sum(slopes, n);
}

/* ---- slabs ------------------------------------------------------------------------- */

enum { GRAIN = 1 << 14 };

static void clear(void *ctx, int64_t begin, int64_t end)
{
    const reel__mask_sums *m = ctx;
    for (int64_t s = 0; s < m->slabs; s++) {
        float *slab = s == 0 ? m->out : m->more + (s - 1) * m->size;
        memset(slab + begin, 0, (size_t)(end - begin) * sizeof *slab);
    }
}

reel_status reel__mask_sums_begin(reel__mask_sums *m, int64_t tasks)
{
    int64_t pieces = m->groups > 0 ? (tasks + m->groups - 1) / m->groups : 1;
    if (pieces > m->group) pieces = m->group;
    if (pieces < 1 || !m->out) pieces = 1;
    m->length = (m->group + pieces - 1) / pieces;
    if (m->length < 1) m->length = 1;
    m->slabs = m->group > 0 ? (m->group + m->length - 1) / m->length : 1;
    if (!m->out) return REEL_OK;
    if (m->slabs > 1) {
        size_t more = (size_t)(m->slabs - 1) * (size_t)m->size;
        m->more = reel__scratch(more * sizeof *m->more);
        if (!m->more) return REEL_ERR_MEMORY;
    }
    reel__parallel_range(m->size, GRAIN, clear, m);
    return REEL_OK;
}

static void add_slabs(void *ctx, int64_t begin, int64_t end)
{
    const reel__mask_sums *m = ctx;
    for (int64_t s = 1; s < m->slabs; s++) {
        const float *slab = m->more + (s - 1) * m->size;
        for (int64_t j = begin; j < end; j++) m->out[j] += slab[j];
    }
}

void reel__mask_sums_end(reel__mask_sums *m)
{
    if (m->more) reel__parallel_range(m->size, GRAIN, add_slabs, m);
    reel__scratch_free(m->more);
    m->more = NULL;
}
