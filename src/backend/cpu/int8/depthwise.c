/* depthwise.c: convolutions of bytes with one channel a group. Channels are lanes; a few pixels
 * side by side share the weights that are loaded. What lies outside the image is read from a
 * pixel of zero points. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/int8/int8.h"
#include "base/parallel.h"

#include <string.h>

/* Pixels [q, q + m) of row (image, p). */
static void pixels(const reel__int8_job *job, int64_t image, int64_t p, int64_t q,
                   int64_t m)
{
    const reel__conv *g = job->geometry;
    const uint8_t *outside = (const uint8_t *)job->rest,
                  *from[REEL_INT8_TAPS * REEL_INT8_PIXELS];
    for (int64_t r = 0, k = 0; r < g->r; r++) {
        const int64_t y = p * g->stride[0] - g->pad[0] + r * g->dil[0];
        const uint8_t *line = job->x + (image * g->h + y) * g->w * g->c;
        for (int64_t s = 0; s < g->s; s++)
            for (int64_t i = 0; i < m; i++) {
                const int64_t x = (q + i) * g->stride[1] - g->pad[1] + s * g->dil[1];
                const bool inside = y >= 0 && y < g->h && x >= 0 && x < g->w;
                from[k++] = inside ? line + x * g->c : outside;
            }
    }
    const reel__int8_depthwise t = {
        .m = m,
        .taps = g->r * g->s,
        .channels = g->c,
        .pixel = from,
        .flip = job->flip,
        .b = reel__int8_panel(&job->w, job->packed, 0, 0),
        .y = job->y + ((image * g->oh + p) * g->ow + q) * job->y_row,
        .y_row = job->y_row,
        .end = &job->end,
    };
    job->w.isa->depthwise(&t);
}

static void rows(void *ctx, int64_t begin, int64_t end)
{
    const reel__int8_job *job = ctx;
    const reel__conv *g = job->geometry;
    for (int64_t i = begin; i < end; i++)
        for (int64_t q = 0; q < g->ow; q += REEL_INT8_PIXELS)
            pixels(job, i / g->oh, i % g->oh, q, min64(REEL_INT8_PIXELS, g->ow - q));
}

void reel__int8_depthwise_rows(const reel__int8_job *job)
{
    const reel__conv *g = job->geometry;
    const int64_t work = g->ow * g->c * g->r * g->s;
    memset(job->rest, job->a_zero ^ job->flip, (size_t)g->c);
    reel__parallel_range(g->n * g->oh, 1 + (1 << 16) / work, rows,
                         (void *)(uintptr_t)job);
}
