/* depthwise.c: convolutions of bytes with one channel a group. Channels are lanes, and a word is
 * some neighbouring taps of a row of the window; where the windows of two pixels fit into the
 * same words, they share them. */
#include "backend/cpu/int8/int8.h"
#include "base/parallel.h"

#include <string.h>

typedef struct depthwise_ctx {
    const reel__int8_job *job;
    reel__int8_blocks blocks;
    int64_t words; /* of a row of a window */
    int64_t *slot; /* [words][per]: bytes to the tap */
    int32_t *ones; /* [share][words]                 */
    char *rooms;
} depthwise_ctx;

static int64_t slots_of(const reel__int8_weight *w)
{
    return reel__int8_segment_words(w) * w->isa->per;
}

static size_t tables_size(const reel__int8_weight *w)
{
    return (size_t)ceil_div(slots_of(w) + w->share * reel__int8_segment_words(w), 8) * 64;
}

size_t reel__int8_depthwise_size(const reel__conv *g, const reel__int8_weight *w,
                                 bool flips)
{
    const reel__int8_blocks b = reel__int8_blocks_of(g, w, flips, reel__int8_tasks(g));
    return tables_size(w) + (size_t)(b.bytes * reel__max_workers());
}

/* Rows of the block meet one panel of channels. */
static void panel_rows(const depthwise_ctx *t, const reel__int8_block *at, int64_t column)
{
    const reel__int8_job *job = t->job;
    const reel__int8_blocks *b = &t->blocks;
    const int64_t size = job->w.isa->per == 4 ? 1 : 2;
    reel__int8_depthwise d = {
        .m = at->pixels,
        .share = job->w.share,
        .rows = job->g->r,
        .words = t->words,
        .a_row = b->y.tap * b->line,
        .a_step = b->x.out * b->pixel,
        .slot = t->slot,
        .b = reel__int8_panel(&job->w, job->packed, 0, column),
        .ones = t->ones,
        .column = column,
        .valid = min64(job->w.wide, job->w.columns - column),
        .y_row = job->y_row,
        .end = &job->end,
    };
    for (int64_t n = 0; n < at->images; n++)
        for (int64_t p = 0; p < at->rows; p++) {
            d.a = at->a + reel__int8_line(b, n, p) + column * size;
            d.y = reel__int8_result(job, at, n, p) + column * (job->end.floats ? 4 : 1);
            job->w.isa->depthwise(&d);
        }
}

static void depthwise_task(void *ctx, int64_t i, int worker)
{
    const depthwise_ctx *t = ctx;
    char *room = t->rooms + worker * t->blocks.bytes;
    const reel__int8_block at = reel__int8_load(t->job, &t->blocks, i, 0, room);
    for (int64_t c = 0; c < t->job->w.columns; c += t->job->w.wide) panel_rows(t, &at, c);
}

/* Slots that no window uses are read where the last is that one uses. */
static void fill_tables(const depthwise_ctx *t)
{
    const reel__int8_weight *w = &t->job->w;
    const int64_t last = w->elements + (w->share - 1) * w->shift - 1;
    for (int64_t i = 0; i < slots_of(w); i++)
        t->slot[i] = min64(i, last) * t->blocks.x.tap * t->blocks.pixel;
    memset(t->ones, 0, (size_t)(w->share * t->words) * sizeof *t->ones);
    for (int64_t k = 0; k < w->share; k++)
        for (int64_t e = 0; e < w->elements; e++)
            reel__int8_put(w->isa, t->ones + k * t->words, 1, e + k * w->shift, 1);
}

void reel__int8_depthwise_product(const reel__int8_job *job)
{
    const reel__conv *g = job->g;
    const reel__int8_weight *w = &job->w;
    const int64_t tasks = reel__int8_tasks(g);
    depthwise_ctx t = {
        .job = job,
        .blocks = reel__int8_blocks_of(g, w, job->flip, tasks),
        .words = reel__int8_segment_words(w),
        .slot = (int64_t *)(void *)job->rest,
        .ones = (int32_t *)((int64_t *)(void *)job->rest + slots_of(w)),
        .rooms = job->rest + tables_size(w),
    };
    fill_tables(&t);
    reel__int8_run_tasks(t.blocks.count, tasks, depthwise_task, &t, t.rooms,
                         t.blocks.bytes);
}
