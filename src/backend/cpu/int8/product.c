/* product.c: the product of bytes in tiles, and linear layers on it.
 *
 * A task gathers some rows of `a`, which then stay in L2, and meets them with panels of the
 * weight, one after the other. */
#include "backend/cpu/int8/int8.h"
#include "base/alloc.h"
#include "base/int64.h"
#include "base/parallel.h"

enum {
    TILE_BYTES = 64 << 10,
    TILE_ROWS = 192,      /* at most */
    TASKS = 8,            /* that are worth gathering rows again for */
    INLINE_WORK = 1 << 20 /* multiply-adds that are not worth a second thread */
};

/* The cut of a job into tasks. */
typedef struct cut {
    int64_t rows, blocks;    /* rows of a tile                         */
    int64_t columns, chunks; /* columns of a task; whole pairs of vectors */
    int64_t tile;            /* bytes of a worker's scratch            */
} cut;

static cut cut_of(const reel__int8_weight *w, int64_t m)
{
    const int64_t least = w->isa->rows, wide = 2 * w->isa->lanes;
    const int64_t fit = TILE_BYTES / (w->words * 4 + 1) / least * least;
    cut c = {.rows = max64(least, min64(fit, TILE_ROWS))};
    c.rows = ceil_div(ceil_div(m, ceil_div(m, c.rows)), least) * least;
    c.blocks = ceil_div(m, c.rows);
    const int64_t panels = ceil_div(w->padded, wide);
    const int64_t wanted = ceil_div(TASKS, c.blocks * w->groups);
    c.columns = ceil_div(panels, min64(wanted, panels)) * wide;
    c.chunks = ceil_div(w->padded, c.columns);
    c.tile = ceil_div(c.rows * (w->words * 4 + 4), 64) * 64;
    return c;
}

size_t reel__int8_tiles_size(const reel__int8_weight *w, int64_t m)
{
    if (m == 0 || w->columns == 0) return 0;
    return (size_t)(cut_of(w, m).tile * reel__max_workers());
}

typedef struct tiles_ctx {
    const reel__int8_job *job;
    cut cut;
} tiles_ctx;

static void sum_rows(const reel__int8_job *job, const char *a, int64_t a_row, int64_t n,
                     int32_t *sum)
{
    const int64_t depth = job->w.depth;
    for (int64_t i = 0; i < n; i++, a += a_row) {
        uint32_t s = 0; /* elements are never negative */
        for (int64_t d = 0; d < depth; d++)
            s +=
                job->w.isa->per == 4 ? ((const uint8_t *)a)[d] : ((const uint16_t *)a)[d];
        sum[i] = (int32_t)s;
    }
}

/* Task (block, group, chunk). */
static void tiles_task(void *ctx, int64_t i, int worker)
{
    const tiles_ctx *ct = ctx;
    const reel__int8_job *job = ct->job;
    const reel__int8_weight *w = &job->w;
    const int64_t chunk = i % ct->cut.chunks, group = i / ct->cut.chunks % w->groups;
    const int64_t row = i / (ct->cut.chunks * w->groups) * ct->cut.rows;
    const int64_t end = min64(w->padded, (chunk + 1) * ct->cut.columns);
    const int64_t wide = 2 * w->isa->lanes;
    char *room = job->rest + worker * ct->cut.tile;
    reel__int8_tile t = {
        .m = min64(ct->cut.rows, job->m - row),
        .words = w->words,
        .a = room,
        .a_row = w->words * 4,
        .a_sum = (int32_t *)(room + ct->cut.rows * w->words * 4),
        .y_row = job->y_row,
        .end = &job->end,
    };
    if (job->gather)
        job->gather(job, group, row, t.m, room);
    else
        t.a = (const char *)job->x + row * t.a_row;
    if (job->end.b_zero) sum_rows(job, t.a, t.a_row, t.m, (int32_t *)(uintptr_t)t.a_sum);
    for (int64_t c = chunk * ct->cut.columns; c < end; c += wide) {
        t.b = reel__int8_panel(w, job->packed, group, c);
        t.width = min64(wide, w->padded - c);
        t.valid = min64(wide, w->columns - c);
        t.column = group * w->padded + c;
        t.y = job->y + row * job->y_row + (group * w->columns + c) * job->y_element;
        w->isa->tile(&t);
    }
}

void reel__int8_tiles(const reel__int8_job *job)
{
    const reel__int8_weight *w = &job->w;
    if (job->m == 0 || w->columns == 0) return;
    tiles_ctx t = {job, cut_of(w, job->m)};
    const int64_t tasks = t.cut.blocks * w->groups * t.cut.chunks;
    const double work = (double)job->m * (double)w->dim[0] * (double)w->depth;
    if (work < INLINE_WORK)
        for (int64_t i = 0; i < tasks; i++) tiles_task(&t, i, 0);
    else
        reel__parallel(tasks, tiles_task, &t);
}

/* ---- linear ------------------------------------------------------------------------ */

static void linear_gather(const reel__int8_job *job, int64_t group, int64_t row,
                          int64_t n, char *to)
{
    const reel__int8_weight *w = &job->w;
    const int64_t bytes = w->words * 4, used = w->depth * 4 / w->isa->per;
    (void)group;
    for (int64_t i = 0; i < n; i++, to += bytes) {
        w->isa->widen(to, job->x + (row + i) * w->depth, w->depth, job->flip);
        for (int64_t b = used; b < bytes; b++) to[b] = 0;
    }
}

bool reel__fast_linear_int8(const reel__kcall *call, reel_status *status)
{
    const reel__linear_int8_attrs *a = call->attrs;
    const reel__karg *x = &call->in[REEL_INT8_X], *y = &call->out[0];
    if (!reel__is_contiguous(y->meta) || reel__numel(y->meta) == 0) return false;
    reel__meta dense = *x->meta;
    reel__set_contiguous(&dense);
    const reel__int8_weight w =
        reel__int8_weight_of(call->in[REEL_INT8_W].meta, 1, false);
    const int64_t m = reel__numel(y->meta) / w.columns;
    reel__int8_job job;
    *status = reel__int8_begin(&job, call, &w, &dense, a->act, a->a,
                               reel__int8_tiles_size(&w, m));
    if (*status) return true;
    const bool as_it_lies = w.isa->per == 4 && w.depth % 4 == 0 && !job.flip;
    job.m = m;
    job.gather = as_it_lies ? NULL : linear_gather;
    reel__int8_tiles(&job);
    reel__scratch_free(job.room);
    return true;
}

size_t reel__prepare_linear_int8_size(const reel__kcall *call, unsigned constant)
{
    const reel__meta *y = call->out[0].meta;
    if (!(constant & 1u << REEL_INT8_W) || !reel__is_contiguous(y) || !reel__numel(y))
        return 0;
    const reel__int8_weight w =
        reel__int8_weight_of(call->in[REEL_INT8_W].meta, 1, false);
    return reel__int8_packed_size(&w);
}

reel_status reel__prepare_linear_int8(const reel__kcall *call, void *to)
{
    const reel__karg *w = &call->in[REEL_INT8_W];
    const reel__int8_weight shape = reel__int8_weight_of(w->meta, 1, false);
    reel__int8_pack(&shape, w, to);
    return REEL_OK;
}
