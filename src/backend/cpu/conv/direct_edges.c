/* direct_edges.c: results at the edges of an image where a weight is not finite.
 *
 * direct.c multiplies the zeros around an image, which the sum's definition leaves out; zero
 * times infinity is NaN. Such results are summed again from what lies inside, tap by tap in
 * the same order: what was finite keeps its bits. */
#include "backend/cpu/conv/direct.h"

#include <string.h>

/* Columns at once: a panel, or some channels of a depthwise convolution. */
#define COLUMNS 32

/* Columns [o, o + n) of the result at a pixel; `panel` is where their weights begin, with
 * `width` floats a row. */
typedef struct place {
    int64_t image, y, x;
    int64_t o, n;
    const float *panel;
    int64_t width;
} place;

/* sum[0..n-1] += each tap inside the input. */
static void sum_inside(const reel__direct *p, const place *at, float *sum)
{
    static const int64_t no_offset = 0;
    const reel__strip *s = &p->strip;
    int64_t c = p->depthwise ? 1 : s->c, a_run = p->len / c;
    const reel__epilogue from_sum = {.bias = sum};
    for (int64_t t = 0; t < p->taps * a_run; t++) {
        int64_t y = at->y * s->stride_y + p->dy[t / a_run];
        int64_t x = at->x * s->stride_x + p->dx[t / a_run] + t % a_run;
        if (!reel__strip_inside(s, y, x)) continue;
        const float *from = s->in + ((at->image * s->h + y) * s->w + x) * s->pixel;
        if (p->depthwise) from += at->o;
        reel__direct_gather(p, &(reel__conv_gather){
                                   .a = &from,
                                   .d = &sum,
                                   .m = 1,
                                   .tap = &no_offset,
                                   .taps = 1,
                                   .len = c,
                                   .b = at->panel + t * c * at->width,
                                   .width = at->width,
                                   .valid = at->n,
                                   .end = &from_sum,
                               });
    }
}

static void redo(const reel__direct *p, const place *at)
{
    float sum[COLUMNS] = {0};
    float *to = reel__direct_result(p, at->image, at->y, at->x) + at->o;
    if (p->end.bias) memcpy(sum, p->end.bias + at->o, (size_t)at->n * sizeof(float));
    sum_inside(p, at, sum);
    const float *unread = sum;
    reel__epilogue end = p->end;
    end.bias = sum; /* and no taps more */
    reel__direct_gather(p, &(reel__conv_gather){
                               .a = &unread,
                               .d = &to,
                               .m = 1,
                               .width = at->width,
                               .valid = at->n,
                               .end = &end,
                           });
}

static void redo_columns(const reel__direct *p, place at, int64_t o, int64_t valid)
{
    at.panel = p->ready + o * p->taps * p->len;
    for (at.o = o; at.o < o + valid; at.o += COLUMNS, at.panel += COLUMNS) {
        at.n = min64(COLUMNS, o + valid - at.o);
        redo(p, &at);
    }
}

void reel__direct_edges(const reel__direct *p, int64_t block, int64_t o, int64_t width)
{
    const reel__strip_block b = reel__strip_next_block(&p->strip, p->n, block);
    int64_t valid = min64(p->k - o, width);
    place at = {.width = width};
    for (at.image = b.image; at.image < b.image + b.images; at.image++)
        for (at.y = b.y; at.y < b.y + b.rows; at.y++)
            for (at.x = 0; at.x < p->strip.ow; at.x++)
                if (reel__strip_leaves(&p->strip, at.y, at.x) &&
                    reel__direct_wants(p, at.image, at.y, at.x))
                    redo_columns(p, at, o, valid);
}
