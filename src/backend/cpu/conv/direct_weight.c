/* direct_weight.c: weight gradient of any convolution: for each tap, outer products of
 * input and gradient pixels, P [taps][c][k] += x[pixel of the tap]' gy[pixel].
 *
 * The rows of strip.h serve as in direct.c; without dilation the taps of a kernel's row
 * are one run of s * c rows of P. Two ways, by the size of P:
 *   small P: a fixed number of parts of the pixels, each with a P of its own in L2, added
 *     up in order;
 *   large P: one part; workers take pieces of P (a run, a panel) for a large block of
 *     pixels, which they share.
 * The zeros around the input are multiplied like pixels. Where a gradient is not finite, as
 * 0 times infinity is NaN, it is computed again without them. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/conv/strip.h"
#include "backend/cpu/isa/conv_kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

typedef struct direct {
    const reel__conv *g;
    const reel__conv_gemm *gemm;
    reel__strip strip;
    bool depthwise;   /* one panel, as wide as all channels  */
    bool inside;      /* leave out the zeros around the input; each tap is a run */
    int64_t c, k;     /* of a group                          */
    const float *gy;  /* first channel of the group           */
    float *gw;        /* first weight of the group            */
    int64_t runs;     /* of taps                             */
    int64_t row_runs; /* runs a row of the kernel             */
    int64_t len;      /* rows of P a run                     */
    int64_t columns;  /* of P: k rounded up to whole vectors */
    int64_t parts;
    unsigned char *spoilt; /* of each panel, whether gw is not finite */
    float *p, *copy, *edge;
    const float **rows; /* of a block: its rows of x, then of gy, then of the edge */
    int64_t p_size, copy_size, edge_size, row_size;
} direct;

/* One block on its way through the stages; the scratch of its worker. */
typedef struct block {
    const direct *w;
    reel__strip_block at;
    bool begins; /* the first block of its P */
    int64_t worker;
    float *p, *copy;
    const float **x, **gy;
} block;

static int64_t panel_width(const direct *w)
{
    return w->depthwise ? w->columns : 2 * w->gemm->lanes;
}

static int64_t panels_of(const direct *w)
{
    return ceil_div(w->k, panel_width(w));
}

static int64_t width_of(const direct *w, int64_t o)
{
    return min64(panel_width(w), w->columns - o);
}

/* ---- stage 1: rows of pixels ------------------------------------------------------- */

static void load_image(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const block *b = ctx;
    const direct *w = b->w;
    const reel__conv *g = w->g;
    int64_t image = b->at.image + i;
    const float *first = reel__strip_load(&w->strip, &b->at, image, b->copy);
    for (int64_t y = 0; y < b->at.rows; y++) {
        b->x[i * b->at.rows + y] =
            first + reel__strip_at(&w->strip, y, w->strip.y_min, w->strip.x_min);
        b->gy[i * b->at.rows + y] = w->gy + (image * g->oh + b->at.y + y) * g->ow * g->k;
    }
}

/* ---- stage 2: a piece of P is one run, one panel ----------------------------------- */

/* Channels that end within a vector are copied between zeros. */
static const float **copy_edge(const block *b, int64_t rows, int64_t o, int64_t worker)
{
    const direct *w = b->w;
    int64_t width = width_of(w, o), valid = w->k - o;
    const float **to_rows = w->rows + (worker * 3 + 2) * w->row_size;
    float *to = w->edge + worker * w->edge_size;
    for (int64_t y = 0; y < rows; y++) {
        to_rows[y] = to;
        for (int64_t x = 0; x < w->g->ow; x++, to += width) {
            memcpy(to, b->gy[y] + x * w->g->k + o, (size_t)valid * sizeof(float));
            memset(to + valid, 0, (size_t)(width - valid) * sizeof(float));
        }
    }
    return to_rows;
}

static void outer(const direct *w, const reel__conv_outer *o)
{
    (w->depthwise ? REEL_ISA_PICK(conv_depthwise)->outer : w->gemm->outer)(o);
}

/* Places 0 <= i < n whose input place i * stride + d is in [0, size): [*begin, *end). */
static void places_inside(int64_t n, int64_t stride, int64_t d, int64_t size,
                          int64_t *begin, int64_t *end)
{
    *begin = d < 0 ? min64(n, ceil_div(-d, stride)) : 0;
    *end = size > d ? min64(n, ceil_div(size - d, stride)) : 0;
}

/* Row by row what outer() sums over all, in the same order, so with the same bits. */
static void outer_inside(const block *b, int64_t dy, int64_t dx, reel__conv_outer o)
{
    const direct *w = b->w;
    const reel__conv *g = w->g;
    int64_t y_begin, y_end, x_begin, x_end;
    places_inside(g->oh, g->stride[0], dy, g->h, &y_begin, &y_end);
    places_inside(g->ow, g->stride[1], dx, g->w, &x_begin, &x_end);
    if (!o.accumulate) memset(o.p, 0, (size_t)(w->len * o.width) * sizeof(float));
    reel__conv_outer row = o;
    row.accumulate = true;
    row.rows = 1, row.steps = x_end - x_begin;
    for (int64_t i = 0; i < o.rows && row.steps > 0; i++) {
        int64_t y = b->at.y + i % b->at.rows;
        const float *x = o.a[i] + x_begin * o.a_step, *gy = o.b[i] + x_begin * o.b_step;
        row.a = &x, row.b = &gy;
        if (y >= y_begin && y < y_end) outer(w, &row);
    }
}

static void multiply(void *ctx, int64_t i, int inner)
{
    const block *b = ctx;
    const direct *w = b->w;
    const reel__conv *g = w->g;
    int64_t run = i % w->runs, o = i / w->runs * panel_width(w), width = width_of(w, o);
    int64_t dy = run / w->row_runs * g->dil[0] - g->pad[0];
    int64_t dx = run % w->row_runs * g->dil[1] - g->pad[1];
    reel__conv_outer piece = {
        .a = b->x,
        .b = b->gy,
        .rows = b->at.images * b->at.rows,
        .steps = g->ow,
        .tap = reel__strip_at(&w->strip, 0, dy, dx),
        .a_step = w->strip.stride_x * w->strip.step_pixel,
        .column = o,
        .b_step = g->k,
        .m = w->len,
        .p = b->p + o * w->runs * w->len + run * w->len * width,
        .width = width,
        .accumulate = !b->begins,
    };
    if (w->depthwise) {
        piece.m = w->k;
    } else if (w->k - o < width) {
        piece.b =
            copy_edge(b, piece.rows, o, b->worker + inner); /* one of the two is 0 */
        piece.column = 0;
        piece.b_step = width;
    }
    if (w->inside)
        outer_inside(b, dy, dx, piece);
    else
        outer(w, &piece);
}

static void run_part(void *ctx, int64_t part, int worker)
{
    const direct *w = ctx;
    block b = {.w = w,
               .worker = worker,
               .p = w->p + part * w->p_size,
               .copy = w->copy + worker * w->copy_size,
               .x = w->rows + worker * 3 * w->row_size};
    b.gy = b.x + w->row_size;
    int64_t begin = w->strip.blocks * part / w->parts;
    int64_t end = w->strip.blocks * (part + 1) / w->parts;
    for (int64_t i = begin; i < end; i++) {
        b.at = reel__strip_next_block(&w->strip, w->g->n, i);
        b.begins = i == begin;
        reel__parallel(b.at.images, load_image, &b);
        reel__parallel(panels_of(w) * w->runs, multiply, &b);
    }
}

/* ---- the parts' sum, in the weight's own layout ------------------------------------ */

static void unpack(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const direct *w = ctx;
    int64_t o = i * panel_width(w);
    const float *p = w->p + o * w->runs * w->len;
    for (int64_t part = 0; part < w->parts; part++)
        reel__touch(p + part * w->p_size, w->runs * w->len * width_of(w, o));
    int64_t c = w->depthwise ? 1 : w->c, taps = w->g->r * w->g->s;
    w->spoilt[i] =
        !w->gemm->unpack(p, w->parts, w->p_size, w->k, c, taps, o, width_of(w, o), w->gw);
}

/* ---- sizes ------------------------------------------------------------------------- */

/* Floats of P up to which each part has its own. */
#define SMALL_P (100 << 10)
#define PARTS 16
/* Pixels of gy and floats of copied input a block. */
#define OWN_PIXELS 128
#define OWN_FLOATS (64 << 10)
#define SHARED_PIXELS 1024
#define SHARED_FLOATS (1 << 20)

/* *spoilt: whether the gradient is not finite. */
static reel_status run(direct *w, bool *spoilt)
{
    reel__strip *s = &w->strip;
    bool shared = w->columns * w->runs * w->len > SMALL_P;
    reel__strip_init(s, w->g->n, shared ? SHARED_PIXELS : OWN_PIXELS,
                     shared ? SHARED_FLOATS : OWN_FLOATS);
    w->parts = shared ? 1 : min64(PARTS, s->blocks);
    int64_t workers = reel__max_workers(), floats = 0;
    w->p_size = w->columns * w->runs * w->len;
    w->copy_size = reel__round_up(reel__strip_size(s), 16);
    w->row_size = s->block_images * s->block_rows;
    w->edge_size = w->k < w->columns ? w->row_size * w->g->ow * 2 * w->gemm->lanes : 0;
    int64_t p = reel__reserve(&floats, w->p_size * w->parts);
    int64_t copy = reel__reserve(&floats, w->copy_size * (shared ? 1 : workers));
    int64_t edge = reel__reserve(&floats, w->edge_size * workers);
    int64_t rows =
        reel__reserve(&floats, 3 * w->row_size * workers * REEL__FLOATS_A_POINTER);
    int64_t flags = reel__reserve(&floats, panels_of(w));
    float *scratch = reel__scratch((size_t)floats * sizeof(float));
    if (!scratch) return REEL_ERR_MEMORY;
    w->spoilt = (unsigned char *)(scratch + flags);
    w->p = scratch + p, w->copy = scratch + copy, w->edge = scratch + edge;
    w->rows = (const float **)(void *)(scratch + rows);
    reel__parallel(w->parts, run_part, w);
    reel__parallel(panels_of(w), unpack, w);
    *spoilt = memchr(w->spoilt, true, (size_t)panels_of(w)) != NULL;
    reel__scratch_free(scratch);
    return REEL_OK;
}

static void set_runs(direct *w, bool inside)
{
    const reel__conv *g = w->g;
    w->inside = inside;
    w->row_runs = g->dil[1] == 1 && !w->depthwise && !inside ? 1 : g->s;
    w->runs = g->r * w->row_runs;
    w->len = w->depthwise ? 1 : g->s / w->row_runs * w->c;
}

reel_status reel__conv_direct_weight(const reel__conv *g, const float *gy, const float *x,
                                     float *gw)
{
    bool depthwise = reel__conv_is_depthwise(g);
    int64_t groups = depthwise ? 1 : g->groups;
    direct w = {.g = g,
                .gemm = REEL_ISA_PICK(conv_gemm),
                .depthwise = depthwise,
                .c = g->c / groups,
                .k = g->k / groups};
    w.columns = reel__round_up(w.k, w.gemm->lanes);
    for (int64_t group = 0; group < groups; group++) {
        w.gy = gy + group * w.k;
        w.gw = gw + group * w.k * w.c * g->r * g->s;
        w.strip = (reel__strip){
            .in = x + group * w.c,
            .h = g->h,
            .w = g->w,
            .c = w.c,
            .pixel = g->c,
            .oh = g->oh,
            .ow = g->ow,
            .stride_y = g->stride[0],
            .stride_x = g->stride[1],
            .y_min = -g->pad[0],
            .y_max = (g->r - 1) * g->dil[0] - g->pad[0],
            .x_min = -g->pad[1],
            .x_max = (g->s - 1) * g->dil[1] - g->pad[1],
        };
        bool spoilt;
        set_runs(&w, false);
        reel_status status = run(&w, &spoilt);
        if (status == REEL_OK && spoilt && w.strip.leaves) {
            set_runs(&w, true);
            status = run(&w, &spoilt);
        }
        if (status != REEL_OK) return status;
    }
    return REEL_OK;
}
