/* product.c: the product of bytes: blocks of the image, which stay in L2, meet panels of the
 * weight, one after the other. */
#include "backend/cpu/int8/int8.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

/* The cut of a job into tasks, and where what is beside a block lies in a worker's room. */
typedef struct cut {
    reel__int8_blocks blocks;
    int64_t columns, chunks; /* columns of a task; whole panels */
    int64_t windows, sums;   /* bytes of a room before them */
    int64_t room;
} cut;

static cut cut_of(const reel__conv *g, const reel__int8_weight *w, bool flips)
{
    cut c = {.blocks = reel__int8_blocks_of(g, w, flips, 1)};
    const reel__int8_blocks *b = &c.blocks;
    const int64_t panels = ceil_div(w->padded, w->wide);
    const int64_t wanted = ceil_div(reel__int8_tasks(g), b->count * w->groups);
    c.columns = ceil_div(panels, min64(wanted, panels)) * w->wide;
    c.chunks = ceil_div(w->padded, c.columns);
    const int64_t results = b->images * b->rows * b->pixels;
    c.windows = b->bytes;
    c.sums = c.windows + (b->lays ? results * w->words * 4 : 0);
    c.room = ceil_div(c.sums + results * 4, 64) * 64;
    return c;
}

static size_t segments_size(const reel__int8_weight *w)
{
    return (size_t)ceil_div(w->segments, 8) * 64;
}

size_t reel__int8_product_size(const reel__conv *g, const reel__int8_weight *w,
                               bool flips)
{
    return segments_size(w) + (size_t)(cut_of(g, w, flips).room * reel__max_workers());
}

typedef struct product_ctx {
    const reel__int8_job *job;
    cut cut;
    int64_t *segment; /* bytes from a window's first tap on */
    char *rooms;
} product_ctx;

/* ---- what is beside a block ---------------------------------------------------------- */

/* The sum of a window at `a`; elements are never negative. */
static int32_t window_sum(const product_ctx *t, const char *a)
{
    const reel__int8_weight *w = &t->job->w;
    uint32_t sum = 0;
    for (int64_t s = 0; s < w->segments; s++) {
        const void *from = a + t->segment[s];
        for (int64_t e = 0; e < w->elements; e++)
            sum += w->isa->per == 4 ? ((const uint8_t *)from)[e]
                                    : ((const uint16_t *)from)[e];
    }
    return (int32_t)sum;
}

static char *lay_window(const product_ctx *t, const char *a, char *to)
{
    const size_t bytes = (size_t)reel__int8_segment_words(&t->job->w) * 4;
    for (int64_t s = 0; s < t->job->w.segments; s++, to += bytes)
        memcpy(to, a + t->segment[s], bytes);
    return to;
}

/* Of each result of a block: its window's sum, if it is needed, and its window, if they are laid
 * one after the other. */
static void prepare(const product_ctx *t, const reel__int8_block *at, char *room)
{
    const reel__int8_blocks *b = &t->cut.blocks;
    const bool sums = t->job->end.b_zero;
    int32_t *sum = (int32_t *)(void *)(room + t->cut.sums);
    char *window = room + t->cut.windows;
    if (!sums && !b->lays) return;
    for (int64_t n = 0; n < at->images; n++)
        for (int64_t p = 0; p < at->rows; p++) {
            const char *a = at->a + reel__int8_line(b, n, p);
            for (int64_t q = 0; q < at->pixels; q++, a += b->x.out * b->pixel) {
                if (sums) *sum++ = window_sum(t, a);
                if (b->lays) window = lay_window(t, a, window);
            }
        }
}

/* ---- tasks --------------------------------------------------------------------------- */

/* A panel with all results of a block. */
static void panel_rows(const product_ctx *t, const reel__int8_block *at, char *room,
                       reel__int8_tile *tile, int64_t column)
{
    const reel__int8_job *job = t->job;
    const reel__int8_blocks *b = &t->cut.blocks;
    const int64_t y = column * (job->end.floats ? 4 : 1);
    tile->a_sum = (const int32_t *)(void *)(room + t->cut.sums);
    if (b->lays) {
        static const int64_t whole[] = {0};
        tile->m = at->images * at->rows * at->pixels;
        tile->segments = 1;
        tile->words = job->w.words;
        tile->segment = whole;
        tile->a = room + t->cut.windows;
        tile->a_row = job->w.words * 4;
        tile->y = reel__int8_result(job, at, 0, 0) + y;
        job->w.isa->tile(tile);
        return;
    }
    tile->m = at->pixels;
    tile->segments = job->w.segments;
    tile->words = reel__int8_segment_words(&job->w);
    tile->segment = t->segment;
    tile->a_row = b->x.out * b->pixel;
    for (int64_t n = 0; n < at->images; n++)
        for (int64_t p = 0; p < at->rows; p++, tile->a_sum += at->pixels) {
            tile->a = at->a + reel__int8_line(b, n, p);
            tile->y = reel__int8_result(job, at, n, p) + y;
            job->w.isa->tile(tile);
        }
}

/* Task (block, group, chunk). */
static void product_task(void *ctx, int64_t i, int worker)
{
    const product_ctx *t = ctx;
    const reel__int8_job *job = t->job;
    const reel__int8_weight *w = &job->w;
    const int64_t chunk = i % t->cut.chunks, group = i / t->cut.chunks % w->groups;
    const int64_t end = min64(w->padded, (chunk + 1) * t->cut.columns);
    char *room = t->rooms + worker * t->cut.room;
    const reel__int8_block at = reel__int8_load(
        job, &t->cut.blocks, i / (t->cut.chunks * w->groups), group, room);
    prepare(t, &at, room);
    for (int64_t c = chunk * t->cut.columns; c < end; c += w->wide) {
        reel__int8_tile tile = {
            .b = reel__int8_panel(w, job->packed, group, c),
            .width = min64(w->wide, w->padded - c),
            .valid = min64(w->wide, w->columns - c),
            .column = group * w->padded + c,
            .y_row = job->y_row,
            .end = &job->end,
        };
        panel_rows(t, &at, room, &tile, group * w->columns + c);
    }
}

void reel__int8_product(const reel__int8_job *job)
{
    const reel__conv *g = job->g;
    const reel__int8_weight *w = &job->w;
    product_ctx t = {job, cut_of(g, w, job->flip), (int64_t *)(void *)job->rest,
                     job->rest + segments_size(w)};
    const reel__int8_blocks *b = &t.cut.blocks;
    const int64_t taps =
        w->segments / g->r; /* that are segments, in a row of the window */
    for (int64_t s = 0; s < w->segments; s++)
        t.segment[s] = s / taps * b->y.tap * b->line + s % taps * b->x.tap * b->pixel;
    reel__int8_run_tasks(b->count * w->groups * t.cut.chunks, reel__int8_tasks(g),
                         product_task, &t, t.rooms, t.cut.room);
}
