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
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/conv/strip.h"
#include "backend/cpu/isa/conv_kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

typedef struct direct {
    const reel_conv_gemm *gemm;
    reel_strip strip;
    bool depthwise;
    int64_t n, k;                          /* images, result channels */
    int64_t *tap;                          /* offsets of runs          */
    int64_t taps, len;                     /* runs, floats of each     */
    float *out;                            /* result (0, 0, 0)         */
    int64_t out_image, out_row, out_pixel; /* floats from one to the next */
    reel_epilogue end;
    float *packed;      /* [panel][taps][len][width] */
    const float *ready; /* the same, prepared; NULL: packed by this call */
    /* what packing reads */
    const float *weight;
    int64_t w_k, w_c, w_taps;
    const int64_t *pick; /* taps of this phase; NULL: forward, all */
    int64_t groups;      /* tasks a block, each with some panels    */
    float *copy;         /* per worker */
    float **rows;        /* per worker: left sides, then results */
    int64_t copy_size, row_size;
    struct held *held; /* per worker */
} direct;

/* The block whose rows a worker has found: its next task often is another group of panels of
 * the same. A cache line each. */
typedef struct held {
    _Alignas(64) int64_t block;
    int64_t m;
} held;

static int64_t panel_width(const direct *p)
{
    int64_t lanes = p->gemm->lanes;
    return p->depthwise ? reel__round_up(p->k, lanes) : 2 * lanes;
}

static int64_t panels_of(const direct *p)
{
    return reel__ceil_div(p->k, panel_width(p));
}

static int64_t width_of(const direct *p, int64_t o)
{
    return reel__min64(panel_width(p), reel__round_up(p->k - o, p->gemm->lanes));
}

static void pack_panel(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const direct *p = ctx;
    int64_t o = i * panel_width(p), width = width_of(p, o);
    float *to = p->packed + o * p->taps * p->len;
    if (p->pick)
        p->gemm->pack_transposed(p->weight, p->w_k, p->w_c, p->w_taps, o, width, p->pick,
                                 p->taps, to);
    else
        p->gemm->pack(p->weight, p->w_k, p->w_c, p->w_taps, o, width, to);
}

/* Pointers to the first tap, and to the result, of each pixel of a block. */
static int64_t find_rows(const direct *p, const reel_strip_block *b, float *copy,
                         const float **a, float **d)
{
    const reel_strip *s = &p->strip;
    int64_t m = 0;
    for (int64_t image = b->image; image < b->image + b->images; image++) {
        const float *first = reel__strip_load(s, b, image, copy);
        for (int64_t y = 0; y < b->rows; y++) {
            const float *from = first + y * s->stride_y * s->step_row;
            float *to = p->out + image * p->out_image + (b->y + y) * p->out_row;
            for (int64_t x = 0; x < s->ow; x++, m++) {
                a[m] = from + x * s->stride_x * s->step_pixel;
                d[m] = to + x * p->out_pixel;
            }
        }
    }
    return m;
}

static void run_panel(const direct *p, int64_t o, const float *const *a, float *const *d,
                      int64_t m)
{
    int64_t width = width_of(p, o), valid = reel__min64(p->k - o, width);
    const reel_conv_gather panel = {
        .a = a,
        .d = d,
        .column = o,
        .m = m,
        .tap = p->tap,
        .taps = p->taps,
        .len = p->len,
        .b = p->ready + o * p->taps * p->len,
        .width = width,
        .valid = valid,
        .end = &p->end,
    };
    (p->depthwise ? REEL_ISA_PICK(conv_depthwise)->gather : p->gemm->gather)(&panel);
    for (int64_t i = 0; p->end.act && i < m; i++)
        reel__epilogue_act(&p->end, d[i] + o, valid);
}

static void run_block(void *ctx, int64_t i, int worker)
{
    const direct *p = ctx;
    held *h = &p->held[worker];
    float **d = p->rows + worker * 2 * p->row_size;
    const float **a = (const float **)(d + p->row_size);
    if (h->block != i / p->groups) {
        h->block = i / p->groups;
        reel_strip_block b = reel__strip_block(&p->strip, p->n, h->block);
        h->m = find_rows(p, &b, p->copy + worker * p->copy_size, a, d);
    }
    int64_t group = i % p->groups, panels = panels_of(p);
    int64_t end = panels * (group + 1) / p->groups;
    for (int64_t j = panels * group / p->groups; j < end; j++)
        run_panel(p, j * panel_width(p), a, d, h->m);
}

/* Results a block: enough to read a panel of weights from L2 not too often. */
#define BLOCK_PIXELS 112
/* Floats of copied input a block, in L2 beside a panel. */
#define BLOCK_FLOATS (64 << 10)
/* Fewer tasks than this are split by panels. */
#define FEW_TASKS 16

/* Floats of a group's packed weights. */
static int64_t packed_size(const direct *p)
{
    return reel__round_up(p->k, p->gemm->lanes) * p->taps * p->len;
}

/* `dy`, `dx`: taps of the phase, or of runs in the forward pass. */
static reel_status run(direct *p, const int64_t *dy, const int64_t *dx)
{
    reel_strip *s = &p->strip;
    reel__strip_init(s, p->n, BLOCK_PIXELS, BLOCK_FLOATS);
    for (int64_t t = 0; t < p->taps; t++) p->tap[t] = reel__strip_at(s, 0, dy[t], dx[t]);
    int64_t workers = reel__max_workers(), floats = 0;
    p->copy_size = reel__round_up(reel__strip_size(s), 16);
    p->row_size = s->block_images * s->block_rows * s->ow;
    p->groups = s->blocks >= FEW_TASKS
                    ? 1
                    : reel__min64(panels_of(p), reel__ceil_div(FEW_TASKS, s->blocks));
    int64_t packed = reel__reserve(&floats, p->ready ? 0 : packed_size(p));
    int64_t held_at =
        reel__reserve(&floats, workers * (int64_t)(sizeof(held) / sizeof(float)));
    int64_t copy = reel__reserve(&floats, p->copy_size * workers);
    int64_t rows =
        reel__reserve(&floats, 2 * p->row_size * workers * REEL__FLOATS_A_POINTER);
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
    reel__parallel(s->blocks * p->groups, run_block, p);
    reel__scratch_free(scratch);
    return REEL_OK;
}

static void set_range(const int64_t *d, int64_t n, int64_t *min, int64_t *max)
{
    *min = *max = d[0];
    for (int64_t i = 1; i < n; i++) {
        *min = reel__min64(*min, d[i]);
        *max = reel__max64(*max, d[i]);
    }
}

/* ---- forward ----------------------------------------------------------------------- */

/* Group `group` of a forward pass, so far as packing its weights goes. */
static direct forward_weights(const reel_conv *g, const float *weight, int64_t group)
{
    bool depthwise = reel__conv_is_depthwise(g);
    int64_t c = depthwise ? g->c : g->c / g->groups,
            k = depthwise ? g->k : g->k / g->groups;
    /* Without dilation the taps of a kernel's row are one run. */
    int64_t runs = g->dil[1] == 1 && !depthwise ? 1 : g->s;
    return (direct){
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

static reel_status forward(const reel_conv *g, const reel_conv_io *io, int64_t group,
                           int64_t *list)
{
    direct p = forward_weights(g, io->weight, group);
    int64_t c = p.depthwise ? g->c : p.w_c, runs = p.taps / g->r;
    p.tap = list;
    p.ready = io->prepared ? io->prepared + group * packed_size(&p) : NULL;
    p.out = io->out + group * p.k;
    p.out_image = g->oh * g->ow * g->k;
    p.out_row = g->ow * g->k;
    p.out_pixel = g->k;
    p.end = io->end;
    if (p.end.bias) p.end.bias += group * p.k;
    p.strip = (reel_strip){
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

static int64_t groups_of(const reel_conv *g)
{
    return reel__conv_is_depthwise(g) ? 1 : g->groups;
}

int64_t reel__conv_packed_size(const reel_conv *g)
{
    direct p = forward_weights(g, NULL, 0);
    return groups_of(g) * packed_size(&p);
}

void reel__conv_pack(const reel_conv *g, const float *weight, float *to)
{
    for (int64_t group = 0; group < groups_of(g); group++) {
        direct p = forward_weights(g, weight, group);
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

static reel_status input_phase(const reel_conv *g, const float *gy, const float *weight,
                               float *gx, int64_t group, int64_t py, int64_t px,
                               int64_t *list)
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
    direct p = {
        .gemm = REEL_ISA_PICK(conv_gemm),
        .depthwise = depthwise,
        .n = g->n,
        .k = c,
        .tap = list,
        .taps = ny * nx,
        .len = depthwise ? 1 : k,
        .out = gx + (py * g->w + px) * g->c + group * c,
        .out_image = g->h * g->w * g->c,
        .out_row = g->stride[0] * g->w * g->c,
        .out_pixel = g->stride[1] * g->c,
        .weight = weight + group * k * c * g->r * g->s,
        .w_k = depthwise ? 1 : k,
        .w_c = c,
        .w_taps = g->r * g->s,
        .pick = pick,
    };
    p.strip = (reel_strip){
        .in = gy + group * k,
        .h = g->oh,
        .w = g->ow,
        .c = k,
        .pixel = g->k,
        .oh = reel__ceil_div(g->h - py, g->stride[0]),
        .ow = reel__ceil_div(g->w - px, g->stride[1]),
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

static reel_status input_grad(const reel_conv *g, const float *gy, const float *weight,
                              float *gx, int64_t group, int64_t *list)
{
    for (int64_t py = 0; py < reel__min64(g->stride[0], g->h); py++)
        for (int64_t px = 0; px < reel__min64(g->stride[1], g->w); px++) {
            reel_status status = input_phase(g, gy, weight, gx, group, py, px, list);
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

reel_status reel__conv_direct(const reel_conv *g, reel_conv_pass pass,
                              const reel_conv_io *io)
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
        status = pass == REEL_CONV_FORWARD
                     ? forward(g, io, group, list)
                     : input_grad(g, io->in, io->weight, io->out, group, list);
    reel__scratch_free(list);
    return status;
}
