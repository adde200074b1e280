/* block.c: the cut of a job into blocks of results, and what their windows meet, copied from the
 * image: elements as the kernels read them, zero points outside the image. The cut depends on
 * sizes alone. */
#include "backend/cpu/int8/int8.h"

#include <string.h>

enum {
    BLOCK_BYTES = 128 << 10,  /* stay in L2 while panels of the weight pass by */
    RESULT_BYTES = 16 << 10,  /* stay in L1 meanwhile, */
    WEIGHT_BYTES = 256 << 10, /* if a weight is so small that it may pass by often */
    BLOCK_RESULTS = 512,
    LAID_BYTES = 512 << 10, /* of windows one after the other, in L2, too */
    SHORT_STRIP = 5,        /* rows: sums wait for each other */
    /* Segments are read in whole words, and channels by four vectors. */
    SLACK = 4 * 64,
    HEAD = 64, /* what a room holds */
    TASKS = 8,
    INLINE_WORK = 1 << 20 /* multiply-adds that are not worth a second thread */
};

int64_t reel__int8_tasks(const reel__conv *g)
{
    const double work = (double)(g->n * g->oh * g->ow) * (double)g->k *
                        (double)(g->c / g->groups * g->r * g->s);
    return work < INLINE_WORK ? 1 : TASKS;
}

void reel__int8_run_tasks(int64_t n, int64_t wanted, reel__task_fn task, void *ctx,
                          char *rooms, int64_t room)
{
    for (int i = 0; i < reel__max_workers(); i++)
        *(int64_t *)(void *)(rooms + i * room) = 0;
    if (wanted == 1)
        for (int64_t i = 0; i < n; i++) task(ctx, i, 0);
    else
        reel__parallel(n, task, ctx);
}

/* ---- the cut ------------------------------------------------------------------------- */

/* Windows share places, unless there are fewer if each tap has its own, and that is allowed:
 * where the taps of a window are far apart, or windows are. */
static reel__int8_axis axis_of(int64_t outs, int64_t taps, int64_t stride, int64_t dil,
                               bool may_be_apart)
{
    reel__int8_axis a = {.outs = outs, .stride = stride, .dil = dil};
    a.count = (outs - 1) * stride + (taps - 1) * dil + 1;
    a.out = stride;
    a.tap = dil;
    if (may_be_apart && outs * taps < a.count) {
        a.count = outs * taps;
        a.out = 1;
        a.tap = outs;
    }
    return a;
}

/* The place in the image, from the first window's first tap on. */
static int64_t place_of(const reel__int8_axis *a, int64_t i)
{
    const bool apart = a->out == 1 && a->tap == a->outs;
    return apart ? i % a->outs * a->stride + i / a->outs * a->dil : i;
}

/* How many results may have windows that meet so many places; at least one. */
static int64_t fit(int64_t places, int64_t taps, int64_t stride, int64_t dil,
                   bool may_be_apart)
{
    const int64_t together = (places - (taps - 1) * dil - 1) / stride + 1;
    return max64(max64(together, may_be_apart ? places / taps : 0), 1);
}

/* n in equal parts of at most `most`. */
static int64_t even(int64_t n, int64_t most)
{
    return ceil_div(n, ceil_div(n, max64(most, 1)));
}

/* Rows of the product that are in x as the kernel reads them. */
static bool as_it_lies(const reel__conv *g, const reel__int8_weight *w, bool flips,
                       bool by_tap)
{
    return w->isa->per == 4 && !flips && !w->depthwise && w->elements % 4 == 0 &&
           g->pad[0] == 0 && g->pad[1] == 0 && (g->groups == 1 || by_tap);
}

static void leave(reel__int8_blocks *b, const reel__conv *g)
{
    b->as_it_lies = true;
    b->x = (reel__int8_axis){.out = g->stride[1], .tap = g->dil[1]};
    b->y = (reel__int8_axis){.out = g->stride[0], .tap = g->dil[0]};
    b->pixel = g->c;
    b->line = g->w * b->pixel;
    b->image = g->h * b->line;
}

/* Whether windows are laid one after the other, so that strips reach over rows of pixels: where
 * such rows would be cut into too short ones. */
static bool lays(const reel__conv *g, const reel__int8_weight *w)
{
    const int64_t strips = ceil_div(g->ow, w->isa->rows);
    return !w->depthwise && g->n * g->oh > 1 && g->ow < SHORT_STRIP * strips;
}

/* Results of a block, at most. */
static int64_t results_of(const reel__int8_weight *w, bool laid)
{
    const int64_t k = w->groups * w->padded, least = 4 * w->isa->rows;
    if (laid) return min64(max64(LAID_BYTES / (w->words * 4 + 1), least), BLOCK_RESULTS);
    if (k * w->words * 4 > WEIGHT_BYTES) return BLOCK_RESULTS;
    return min64(max64(RESULT_BYTES / k, least), BLOCK_RESULTS);
}

reel__int8_blocks reel__int8_blocks_of(const reel__conv *g, const reel__int8_weight *w,
                                       bool flips, int64_t least)
{
    const bool by_tap = !w->depthwise && w->elements == w->dim[1]; /* each is a segment */
    const bool laid = lays(g, w);
    const int64_t results = results_of(w, laid);
    reel__int8_blocks b = {.channels = w->depthwise ? g->c : w->dim[1]};
    b.pixel = b.channels * (w->isa->per == 4 ? 1 : 2);
    /* An empty window or an image without channels takes no bytes. */
    const int64_t one = max64(1, axis_of(1, g->r, 1, g->dil[0], true).count * b.pixel);
    const int64_t across = fit(BLOCK_BYTES / one, g->s, g->stride[1], g->dil[1], by_tap);
    b.pixels = even(g->ow, min64(max64(across, w->isa->rows), results));
    /* The last pixel, too, is read with those that would share words with it. */
    b.x = axis_of(ceil_div(b.pixels, w->share) * w->share, g->s, g->stride[1], g->dil[1],
                  by_tap);
    b.line = b.x.count * b.pixel;
    const int64_t down =
        fit(BLOCK_BYTES / max64(b.line, 1), g->r, g->stride[0], g->dil[0], true);
    int64_t rows = min64(min64(down, results / g->ow), g->oh * g->n / least);
    b.rows = b.pixels == g->ow ? even(g->oh, rows) : 1;
    b.y = axis_of(b.rows, g->r, g->stride[0], g->dil[0], true);
    b.image = b.y.count * b.line;
    const int64_t images = min64(BLOCK_BYTES / max64(b.image, 1),
                                 min64(results / (g->oh * g->ow), g->n / least));
    b.images = b.rows == g->oh && b.pixels == g->ow ? even(g->n, images) : 1;
    b.down = ceil_div(g->oh, b.rows);
    b.across = ceil_div(g->ow, b.pixels);
    b.count = ceil_div(g->n, b.images) * b.down * b.across;
    b.lays = laid && b.images * b.rows > 1;
    b.bytes = HEAD;
    if (as_it_lies(g, w, flips, by_tap))
        leave(&b, g);
    else
        b.bytes += ceil_div(b.images * b.image + SLACK, 64) * 64;
    return b;
}

/* ---- copies -------------------------------------------------------------------------- */

static char *fill(const reel__int8_job *job, char *to, int64_t n)
{
    if (job->w.isa->per == 4) {
        memset(to, job->a_zero, (size_t)n);
        return to + n;
    }
    for (int64_t i = 0; i < n; i++) ((int16_t *)(void *)to)[i] = job->a_zero;
    return to + 2 * n;
}

static char *widen(const reel__int8_job *job, char *to, const uint8_t *from, int64_t n)
{
    job->w.isa->widen(to, from, n, job->flip);
    return to + n * (job->w.isa->per == 4 ? 1 : 2);
}

/* Pixels from x on, of the line whose first pixel is at `from`. */
static char *copy_line(const reel__int8_job *job, const reel__int8_blocks *b,
                       const uint8_t *from, int64_t x, char *to)
{
    const reel__conv *g = job->g;
    if (b->channels == g->c && place_of(&b->x, b->x.count - 1) == b->x.count - 1) {
        const int64_t before = min64(max64(-x, 0), b->x.count);
        const int64_t inside = max64(min64(g->w - x, b->x.count), before) - before;
        to = fill(job, to, before * g->c);
        to = widen(job, to, from + (x + before) * g->c, inside * g->c);
        return fill(job, to, (b->x.count - before - inside) * g->c);
    }
    for (int64_t i = 0; i < b->x.count; i++) {
        const int64_t at = x + place_of(&b->x, i);
        to = at >= 0 && at < g->w ? widen(job, to, from + at * g->c, b->channels)
                                  : fill(job, to, b->channels);
    }
    return to;
}

static void copy(const reel__int8_job *job, const reel__int8_blocks *b,
                 const reel__int8_block *at, int64_t group, char *to)
{
    const reel__conv *g = job->g;
    const int64_t x = at->column * g->stride[1] - g->pad[1];
    for (int64_t n = at->image; n < at->image + at->images; n++)
        for (int64_t i = 0; i < b->y.count; i++) {
            const int64_t y = at->row * g->stride[0] - g->pad[0] + place_of(&b->y, i);
            const uint8_t *line = job->x + (n * g->h + y) * g->w * g->c;
            to = y >= 0 && y < g->h ? copy_line(job, b, line + group * b->channels, x, to)
                                    : fill(job, to, b->x.count * b->channels);
        }
    memset(to, 0, SLACK);
}

reel__int8_block reel__int8_load(const reel__int8_job *job, const reel__int8_blocks *b,
                                 int64_t i, int64_t group, char *room)
{
    const reel__conv *g = job->g;
    const int64_t across = i % b->across, down = i / b->across % b->down;
    reel__int8_block at = {
        .image = i / b->across / b->down * b->images,
        .row = down * b->rows,
        .column = across * b->pixels,
    };
    at.images = min64(b->images, g->n - at.image);
    at.rows = min64(b->rows, g->oh - at.row);
    at.pixels = min64(b->pixels, g->ow - at.column);
    if (b->as_it_lies) {
        at.a = (const char *)job->x + at.image * b->image +
               at.row * g->stride[0] * b->line + at.column * g->stride[1] * b->pixel +
               group * b->channels;
        return at;
    }
    at.a = room + HEAD;
    int64_t *holds = (int64_t *)(void *)room;
    const int64_t number = i * job->w.groups + group + 1;
    if (*holds != number) copy(job, b, &at, group, room + HEAD);
    *holds = number;
    return at;
}
