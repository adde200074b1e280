/* conv.c: convolutions of bytes. A row of the product is the window of one pixel of the result,
 * gathered from the image for a tile at a time; a 1x1 window at every pixel is the image
 * itself. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/int8/int8.h"
#include "base/alloc.h"

#include <string.h>

/* The taps of one row of a window, r of them s apart by `dil`: `c` channels each from `from` on,
 * the pixel of column x. */
static char *gather_taps(const reel__int8_job *job, const uint8_t *line, int64_t x,
                         char *to)
{
    const reel__conv *g = job->geometry;
    const reel__int8_isa *isa = job->w.isa;
    const int64_t c = job->w.dim[1], size = isa->per == 4 ? 1 : 2;
    if (line && g->groups == 1 && g->dil[1] == 1) { /* neighbours in memory */
        const int64_t before = min64(max64(-x, 0), g->s);
        const int64_t inside = max64(min64(g->w - x, g->s), before) - before;
        if (before) reel__int8_fill(job, to, before * c);
        isa->widen(to + before * c * size, line + (x + before) * c, inside * c,
                   job->flip);
        if (before + inside < g->s)
            reel__int8_fill(job, to + (before + inside) * c * size,
                            (g->s - before - inside) * c);
        return to + g->s * c * size;
    }
    for (int64_t s = 0; s < g->s; s++, to += c * size) {
        const int64_t at = x + s * g->dil[1];
        if (line && at >= 0 && at < g->w)
            isa->widen(to, line + at * g->c, c, job->flip);
        else
            reel__int8_fill(job, to, c);
    }
    return to;
}

static void conv_gather(const reel__int8_job *job, int64_t group, int64_t row, int64_t n,
                        char *to)
{
    const reel__conv *g = job->geometry;
    const int64_t bytes = job->w.words * 4;
    int64_t q = row % g->ow, p = row / g->ow % g->oh, image = row / g->ow / g->oh;
    for (int64_t i = 0; i < n; i++, to += bytes) {
        char *at = to;
        for (int64_t r = 0; r < g->r; r++) {
            const int64_t y = p * g->stride[0] - g->pad[0] + r * g->dil[0];
            const uint8_t *line =
                job->x + (image * g->h + y) * g->w * g->c + group * job->w.dim[1];
            at = gather_taps(job, y >= 0 && y < g->h ? line : NULL,
                             q * g->stride[1] - g->pad[1], at);
        }
        memset(at, 0, (size_t)(to + bytes - at));
        if (++q < g->ow) continue; /* divisions would take longer than the copying */
        q = 0;
        if (++p < g->oh) continue;
        p = 0;
        image++;
    }
}

/* ---- calls ------------------------------------------------------------------------- */

static reel__conv geometry_of(const reel__kcall *call)
{
    return reel__conv_geometry(call->attrs, call->in[REEL_INT8_X].meta,
                               call->in[REEL_INT8_W].meta, call->out[0].meta);
}

static bool takes(const reel__kcall *call)
{
    return reel__is_channels_last(call->out[0].meta) &&
           reel__numel(call->out[0].meta) > 0;
}

static reel__int8_weight weight_of(const reel__kcall *call, const reel__conv *g)
{
    const bool lanes = reel__conv_is_depthwise(g) && g->r * g->s <= REEL_INT8_TAPS;
    return reel__int8_weight_of(call->in[REEL_INT8_W].meta, g->groups, lanes);
}

/* Rows of the product are the image's pixels, in the layout that the kernel reads. */
static bool as_it_lies(const reel__int8_job *job, const reel__conv *g)
{
    return g->r == 1 && g->s == 1 && g->groups == 1 && g->oh == g->h && g->ow == g->w &&
           g->stride[0] == 1 && g->stride[1] == 1 && g->pad[0] == 0 && g->pad[1] == 0 &&
           job->w.isa->per == 4 && job->w.depth % 4 == 0 && !job->flip;
}

bool reel__fast_conv2d_int8(const reel__kcall *call, reel_status *status)
{
    if (!takes(call)) return false;
    const reel__conv2d_int8_attrs *a = call->attrs;
    const reel__conv g = geometry_of(call);
    const reel__int8_weight w = weight_of(call, &g);
    const int64_t m = g.n * g.oh * g.ow;
    reel__meta dense = *call->in[REEL_INT8_X].meta;
    reel__set_channels_last(&dense);
    reel__int8_job job;
    *status = reel__int8_begin(&job, call, &w, &dense, a->act, a->a,
                               w.depthwise ? (size_t)g.c : reel__int8_tiles_size(&w, m));
    if (*status) return true;
    job.m = m;
    job.geometry = &g;
    job.gather = as_it_lies(&job, &g) ? NULL : conv_gather;
    (w.depthwise ? reel__int8_depthwise_rows : reel__int8_tiles)(&job);
    reel__scratch_free(job.room);
    return true;
}

size_t reel__prepare_conv2d_int8_size(const reel__kcall *call, unsigned constant)
{
    if (!(constant & 1u << REEL_INT8_W) || !takes(call)) return 0;
    const reel__conv g = geometry_of(call);
    const reel__int8_weight w = weight_of(call, &g);
    return reel__int8_packed_size(&w);
}

reel_status reel__prepare_conv2d_int8(const reel__kcall *call, void *to)
{
    const reel__conv g = geometry_of(call);
    const reel__int8_weight w = weight_of(call, &g);
    reel__int8_pack(&w, &call->in[REEL_INT8_W], to);
    return REEL_OK;
}
