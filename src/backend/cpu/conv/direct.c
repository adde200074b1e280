/* direct.c: any convolution as an implicit matrix product, forward and input gradient.
 *
 * A result pixel is the sum, over taps, of an input pixel times that tap's [c][k]
 * weights: rows of a product whose left side is gathered by pointer, never written out
 * (indirection: Dukhan 2019, arXiv:1907.02129). strip.h makes each tap a fixed distance
 * from a pixel's first, so one pointer a pixel is enough, and neighbouring taps of a row
 * of the kernel are one run of s * c floats: a 7x7 stem with 3 channels has 7 runs of 21.
 *
 * The input gradient gathers too. With stride s, gx pixels that are equal modulo s meet
 * the same taps: s * s phases, each a convolution of gy with stride 1 and some of the
 * taps.
 *
 * With one channel a group (depthwise) rows are gathered in the same way, but multiplied
 * channel by channel: one panel as wide as all channels. */
#include "backend/cpu/conv/direct.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

static int64_t panel_width(const reel__direct *p)
{
    int64_t lanes = p->gemm->lanes;
    return p->depthwise ? reel__round_up(p->k, lanes) : 2 * lanes;
}

static int64_t panels_of(const reel__direct *p)
{
    return ceil_div(p->k, panel_width(p));
}

static int64_t width_of(const reel__direct *p, int64_t o)
{
    return min64(panel_width(p), reel__round_up(p->k - o, p->gemm->lanes));
}

static void pack_panel(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const reel__direct *p = ctx;
    int64_t o = i * panel_width(p), width = width_of(p, o);
    float *to = p->packed + o * p->taps * p->len;
    if (p->pick)
        p->gemm->pack_transposed(p->weight, p->w_k, p->w_c, p->w_taps, o, width, p->pick,
                                 p->taps, to);
    else
        p->gemm->pack(p->weight, p->w_k, p->w_c, p->w_taps, o, width, to);
}

/* ---- rows of a block --------------------------------------------------------------- */

static bool any_wanted(const reel__direct *p, const reel__strip_block *b, int64_t image)
{
    for (int64_t y = b->y; y < b->y + b->rows; y++)
        for (int64_t x = 0; x < p->strip.ow; x += REEL__TILE)
            if (reel__direct_wants(p, image, y, x)) return true;
    return false;
}

/* The block whose rows a worker has found: its next task often is another group of panels of
 * the same. A cache line each. */
typedef struct held {
    _Alignas(64) int64_t block;
    int64_t m, edges;
    const float **a; /* first tap of each pixel      */
    float **d;       /* their results                */
    float **edge;    /* those whose window leaves the input */
} held;

/* The places [begin, end) of `n` whose windows lie inside the `size` places of an input. */
static void inside(int64_t n, int64_t stride, int64_t min, int64_t max, int64_t size,
                   int64_t *begin, int64_t *end)
{
    *begin = min < 0 ? min64(n, ceil_div(-min, stride)) : 0;
    *end = size > max ? min64(n, ceil_div(size - max, stride)) : 0;
    *end = max64(*begin, *end);
}

/* Results [begin, end) of row y of an image, whose first begins at `from`. */
static void add_pixels(const reel__direct *p, held *h, const float *from, int64_t image,
                       int64_t y, int64_t begin, int64_t end)
{
    const int64_t from_step = p->strip.stride_x * p->strip.step_pixel;
    const float **a = h->a + h->m;
    float **d = h->d + h->m, *to = reel__direct_result(p, image, y, 0);
    int64_t m = 0;
    for (int64_t x = begin; x < end; x++) {
        if (p->only && !reel__direct_wants(p, image, y, x)) continue;
        a[m] = from + x * from_step;
        d[m++] = to + x * p->out_pixel;
    }
    h->m += m;
}

/* The same at an edge. */
static void add_edge(const reel__direct *p, held *h, const float *from, int64_t image,
                     int64_t y, int64_t begin, int64_t end)
{
    int64_t before = h->m;
    add_pixels(p, h, from, image, y, begin, end);
    for (int64_t i = before; i < h->m; i++) h->edge[h->edges++] = h->d[i];
}

static void find_rows(const reel__direct *p, held *h, float *copy)
{
    const reel__strip *s = &p->strip;
    const reel__strip_block b = reel__strip_next_block(s, p->n, h->block);
    int64_t y_begin, y_end, x_begin, x_end;
    inside(s->oh, s->stride_y, s->y_min, s->y_max, s->h, &y_begin, &y_end);
    inside(s->ow, s->stride_x, s->x_min, s->x_max, s->w, &x_begin, &x_end);
    h->m = h->edges = 0;
    for (int64_t image = b.image; image < b.image + b.images; image++) {
        if (!any_wanted(p, &b, image)) continue;
        const float *from = reel__strip_load(s, &b, image, copy);
        for (int64_t y = b.y; y < b.y + b.rows; y++, from += s->stride_y * s->step_row) {
            bool edge = y < y_begin || y >= y_end;
            int64_t begin = edge ? s->ow : x_begin, end = edge ? s->ow : x_end;
            add_edge(p, h, from, image, y, 0, begin);
            add_pixels(p, h, from, image, y, begin, end);
            add_edge(p, h, from, image, y, end, s->ow);
        }
    }
}

/* ---- panels of a block ------------------------------------------------------------- */

/* Whether a weight of columns [o, o + width) is not finite. */
static bool weights_spoilt(const reel__direct *p, int64_t o, int64_t width)
{
    const float *panels = p->ready + o * p->taps * p->len;
    return !REEL_ISA_PICK(conv_check)->finite(&panels, 1, 0, width * p->taps * p->len);
}

/* Whether zeros around the input may have met such a weight. */
static bool edges_spoilt(const reel__direct *p, const held *h, int64_t o)
{
    int64_t width = width_of(p, o), valid = min64(p->k - o, width);
    return p->suspect && h->edges &&
           !REEL_ISA_PICK(conv_check)
                ->finite((const float *const *)h->edge, h->edges, o, valid) &&
           weights_spoilt(p, o, width);
}

/* Whether results at edges are to be looked at one by one. Where there are fewer weights,
 * these are looked at instead, once. */
static bool is_suspect(const reel__direct *p)
{
    const reel__strip *s = &p->strip;
    int64_t y_begin, y_end, x_begin, x_end;
    if (!s->leaves) return false;
    inside(s->oh, s->stride_y, s->y_min, s->y_max, s->h, &y_begin, &y_end);
    inside(s->ow, s->stride_x, s->x_min, s->x_max, s->w, &x_begin, &x_end);
    int64_t edges = s->oh * s->ow - (y_end - y_begin) * (x_end - x_begin);
    return p->n * edges < p->taps * p->len ||
           weights_spoilt(p, 0, reel__round_up(p->k, p->gemm->lanes));
}

static void run_panel(const reel__direct *p, const held *h, int64_t o)
{
    int64_t width = width_of(p, o), valid = min64(p->k - o, width);
    reel__direct_gather(p, &(reel__conv_gather){
                               .a = h->a,
                               .d = h->d,
                               .column = o,
                               .m = h->m,
                               .tap = p->tap,
                               .taps = p->taps,
                               .len = p->len,
                               .b = p->ready + o * p->taps * p->len,
                               .width = width,
                               .valid = valid,
                               .end = &p->end,
                           });
    if (edges_spoilt(p, h, o)) reel__direct_edges(p, h->block, o, width);
    for (int64_t i = 0; p->end.act && i < h->m; i++)
        reel__epilogue_act(&p->end, h->d[i] + o, valid);
}

static void run_block(void *ctx, int64_t i, int worker)
{
    const reel__direct *p = ctx;
    held *h = &p->held[worker];
    if (h->block != i / p->groups) {
        h->block = i / p->groups;
        h->d = p->rows + worker * 3 * p->row_size;
        h->edge = h->d + p->row_size;
        h->a = (const float **)(h->edge + p->row_size);
        find_rows(p, h, p->copy + worker * p->copy_size);
    }
    int64_t group = i % p->groups, panels = panels_of(p);
    int64_t end = panels * (group + 1) / p->groups;
    for (int64_t j = panels * group / p->groups; j < end; j++)
        run_panel(p, h, j * panel_width(p));
}

/* Results a block: enough to read a panel of weights from L2 not too often. */
#define BLOCK_PIXELS 112
/* Floats of copied input a block, in L2 beside a panel. */
#define BLOCK_FLOATS (64 << 10)
/* Fewer tasks than this are split by panels. */
#define FEW_TASKS 16

/* Floats of a group's packed weights. */
static int64_t packed_size(const reel__direct *p)
{
    return reel__round_up(p->k, p->gemm->lanes) * p->taps * p->len;
}

/* `dy`, `dx`: taps of the phase, or of runs in the forward pass. */
static reel_status run(reel__direct *p, const int64_t *dy, const int64_t *dx)
{
    reel__strip *s = &p->strip;
    reel__strip_init(s, p->n, BLOCK_PIXELS, BLOCK_FLOATS);
    p->dy = dy, p->dx = dx;
    for (int64_t t = 0; t < p->taps; t++) p->tap[t] = reel__strip_at(s, 0, dy[t], dx[t]);
    int64_t workers = reel__max_workers(), floats = 0;
    p->copy_size = reel__round_up(reel__strip_size(s), 16);
    p->row_size = s->block_images * s->block_rows * s->ow;
    p->groups =
        s->blocks >= FEW_TASKS ? 1 : min64(panels_of(p), ceil_div(FEW_TASKS, s->blocks));
    int64_t packed = reel__reserve(&floats, p->ready ? 0 : packed_size(p));
    int64_t held_at =
        reel__reserve(&floats, workers * (int64_t)(sizeof(held) / sizeof(float)));
    int64_t copy = reel__reserve(&floats, p->copy_size * workers);
    int64_t rows =
        reel__reserve(&floats, 3 * p->row_size * workers * REEL__FLOATS_A_POINTER);
    float *scratch = reel__scratch((size_t)floats * sizeof(float));
    if (!scratch) return REEL_ERR_MEMORY;
    p->packed = scratch + packed;
    p->held = (held *)(void *)(scratch + held_at);
    for (int64_t i = 0; i < workers; i++) p->held[i].block = -1;
    p->copy = scratch + copy;
    p->rows = (float **)(void *)(scratch + rows);
    if (!p->ready) {
        reel__parallel(panels_of(p), pack_panel, p);
        p->ready = p->packed;
    }
    p->suspect = is_suspect(p);
    reel__parallel(s->blocks * p->groups, run_block, p);
    reel__scratch_free(scratch);
    return REEL_OK;
}

static void set_range(const int64_t *d, int64_t n, int64_t *min, int64_t *max)
{
    *min = *max = d[0];
    for (int64_t i = 1; i < n; i++) {
        *min = min64(*min, d[i]);
        *max = max64(*max, d[i]);
    }
}

/* ---- forward ----------------------------------------------------------------------- */

/* Group `group` of a forward pass, so far as packing its weights goes. */
static reel__direct forward_weights(const reel__conv *g, const float *weight,
                                    int64_t group)
{
    bool depthwise = reel__conv_is_depthwise(g);
    int64_t c = depthwise ? g->c : g->c / g->groups,
            k = depthwise ? g->k : g->k / g->groups;
    /* Without dilation the taps of a kernel's row are one run. */
    int64_t runs = g->dil[1] == 1 && !depthwise ? 1 : g->s;
    return (reel__direct){
        .gemm = REEL_ISA_PICK(conv_gemm),
        .depthwise = depthwise,
        .n = g->n,
        .k = k,
        .taps = g->r * runs,
        .len = depthwise ? 1 : g->s / runs * c,
        .weight = weight + group * k * c * g->r * g->s,
        .w_k = k,
        .w_c = depthwise ? 1 : c,
        .w_taps = g->r * g->s,
    };
}

static reel_status forward(const reel__conv *g, const reel__conv_io *io, int64_t group,
                           int64_t *list)
{
    reel__direct p = forward_weights(g, io->weight, group);
    int64_t c = p.depthwise ? g->c : p.w_c, runs = p.taps / g->r;
    p.tap = list;
    p.ready = io->prepared ? io->prepared + group * packed_size(&p) : NULL;
    p.out = io->out + group * p.k;
    p.out_image = g->oh * g->ow * g->k;
    p.out_row = g->ow * g->k;
    p.out_pixel = g->k;
    p.end = io->end;
    if (p.end.bias) p.end.bias += group * p.k;
    p.only = io->only;
    p.tiles = reel__tiles_of(g->n, g->oh, g->ow);
    p.strip = (reel__strip){
        .in = io->in + group * c,
        .h = g->h,
        .w = g->w,
        .c = c,
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
    int64_t *dy = list + p.taps, *dx = dy + p.taps;
    for (int64_t t = 0; t < p.taps; t++) {
        dy[t] = t / runs * g->dil[0] - g->pad[0];
        dx[t] = t % runs * g->dil[1] - g->pad[1];
    }
    return run(&p, dy, dx);
}

static int64_t groups_of(const reel__conv *g)
{
    return reel__conv_is_depthwise(g) ? 1 : g->groups;
}

int64_t reel__conv_packed_size(const reel__conv *g)
{
    reel__direct p = forward_weights(g, NULL, 0);
    return groups_of(g) * packed_size(&p);
}

void reel__conv_pack(const reel__conv *g, const float *weight, float *to)
{
    for (int64_t group = 0; group < groups_of(g); group++) {
        reel__direct p = forward_weights(g, weight, group);
        p.packed = to + group * packed_size(&p);
        reel__parallel(panels_of(&p), pack_panel, &p);
    }
}

/* ---- input gradient ---------------------------------------------------------------- */

/* Taps of one dimension that gx pixels equal to `phase` modulo the stride meet: gx pixel
 * stride * q + phase meets gy pixel q + d[i] at tap t[i]. Returns how many. */
static int64_t phase_taps(int64_t phase, int64_t size, int64_t stride, int64_t pad,
                          int64_t dil, int64_t *t, int64_t *d)
{
    int64_t n = 0;
    for (int64_t i = 0; i < size; i++) {
        int64_t at = phase + pad - i * dil;
        if (at % stride != 0) continue;
        t[n] = i;
        d[n++] = at / stride;
    }
    return n;
}

static reel_status input_phase(const reel__conv *g, const reel__conv_io *io,
                               int64_t group, int64_t py, int64_t px, int64_t *list)
{
    bool depthwise = reel__conv_is_depthwise(g);
    int64_t c = depthwise ? g->c : g->c / g->groups,
            k = depthwise ? g->k : g->k / g->groups;
    int64_t most = g->r * g->s;
    int64_t *pick = list + most, *dy = pick + most, *dx = dy + most;
    int64_t *ty = dx + most, *tx = ty + g->r, *ey = tx + g->s, *ex = ey + g->r;
    int64_t ny = phase_taps(py, g->r, g->stride[0], g->pad[0], g->dil[0], ty, ey);
    int64_t nx = phase_taps(px, g->s, g->stride[1], g->pad[1], g->dil[1], tx, ex);
    if (ny * nx == 0) return REEL_OK; /* gx is zero there already */
    reel__direct p = {
        .gemm = REEL_ISA_PICK(conv_gemm),
        .depthwise = depthwise,
        .n = g->n,
        .k = c,
        .tap = list,
        .taps = ny * nx,
        .len = depthwise ? 1 : k,
        .out = io->out + (py * g->w + px) * g->c + group * c,
        .out_image = g->h * g->w * g->c,
        .out_row = g->stride[0] * g->w * g->c,
        .out_pixel = g->stride[1] * g->c,
        .only = io->only,
        .tiles = reel__tiles_of(g->n, g->h, g->w),
        .weight = io->weight + group * k * c * g->r * g->s,
        .w_k = depthwise ? 1 : k,
        .w_c = c,
        .w_taps = g->r * g->s,
        .pick = pick,
    };
    p.strip = (reel__strip){
        .in = io->in + group * k,
        .h = g->oh,
        .w = g->ow,
        .c = k,
        .pixel = g->k,
        .oh = ceil_div(g->h - py, g->stride[0]),
        .ow = ceil_div(g->w - px, g->stride[1]),
        .stride_y = 1,
        .stride_x = 1,
    };
    for (int64_t i = 0; i < ny * nx; i++) {
        pick[i] = ty[i / nx] * g->s + tx[i % nx];
        dy[i] = ey[i / nx];
        dx[i] = ex[i % nx];
    }
    set_range(ey, ny, &p.strip.y_min, &p.strip.y_max);
    set_range(ex, nx, &p.strip.x_min, &p.strip.x_max);
    return run(&p, dy, dx);
}

static void zero_image(void *ctx, int64_t begin, int64_t end)
{
    memset((float *)ctx + begin, 0, (size_t)(end - begin) * sizeof(float));
}

static reel_status input_grad(const reel__conv *g, const reel__conv_io *io, int64_t group,
                              int64_t *list)
{
    for (int64_t py = 0; py < min64(g->stride[0], g->h); py++)
        for (int64_t px = 0; px < min64(g->stride[1], g->w); px++) {
            reel_status status = input_phase(g, io, group, py, px, list);
            if (status != REEL_OK) return status;
        }
    return REEL_OK;
}

/* Whether every phase of one dimension has a tap (a 1x1 kernel of stride 2 leaves
 * gaps). */
static bool covers(int64_t size, int64_t stride, int64_t pad, int64_t dil)
{
    for (int64_t phase = 0; phase < stride; phase++) {
        bool met = false;
        for (int64_t i = 0; i < size && !met; i++)
            met = (phase + pad - i * dil) % stride == 0;
        if (!met) return false;
    }
    return true;
}

reel_status reel__conv_direct(const reel__conv *g, reel__conv_pass pass,
                              const reel__conv_io *io)
{
    /* tap, pick, dy, dx of each tap; and four lists a dimension */
    int64_t numbers = 4 * g->r * g->s + 2 * (g->r + g->s);
    int64_t *list = reel__scratch((size_t)numbers * sizeof(int64_t));
    if (!list) return REEL_ERR_MEMORY;
    if (pass == REEL_CONV_INPUT && !(covers(g->r, g->stride[0], g->pad[0], g->dil[0]) &&
                                     covers(g->s, g->stride[1], g->pad[1], g->dil[1])))
        reel__parallel_range(g->n * g->h * g->w * g->c, 64 << 10, zero_image, io->out);
    reel_status status = REEL_OK;
    for (int64_t group = 0; group < groups_of(g) && status == REEL_OK; group++)
        status = (pass == REEL_CONV_FORWARD ? forward : input_grad)(g, io, group, list);
    reel__scratch_free(list);
    return status;
}
