/* winograd.c: 3x3 convolution of stride 1 by F(4,3), forward and input gradient.
 *
 * y = A' [ (G w G') * (B' x B) ] A for tiles of 4x4 results: 36 products of matrices
 * instead of 144 multiplications a pixel pair. Everything runs block by block of tiles,
 * so that what passes between transforms and products stays in cache:
 *   V [36][tiles][c]   transformed input of the block
 *   U [36][c][panel]   transformed weights of one panel of output channels
 *   M [36][tiles][panel] = V U, transformed into y at once.
 * Ways to share this among workers:
 *   small U: every worker makes U for itself, in its L2, and has tasks of its own, panels of
 *     small blocks; the next task as a rule is of the same block, whose V it has;
 *   middle: the same, but U is made once for all, and stays in L3;
 *   large U, or a single block: blocks are large and shared, V in L3; every worker has panels
 *     of its own and makes U as it goes, a slice of channels at a time that stays in its L2.
 * U is four times the weights: it is not kept from call to call, because reading it back
 * takes longer than making it. Prepared weights are packed in panels, as the direct
 * algorithm packs them: they need no transposing. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/conv/tiles.h"
#include "backend/cpu/isa/conv_kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

typedef struct winograd {
    const reel__conv_gemm *gemm;
    const reel__conv_winograd *f43;
    /* One forward convolution: in [n, h, w, c] -> out [n, oh, ow, k]. */
    reel__image_rows in;
    int64_t c, k, oh, ow, pad_y, pad_x;
    reel__epilogue end;
    float *out;
    const float *weight, *weight_end;
    int64_t o_step, i_step; /* of the weight's output and input channels */
    bool rotate;

    reel__tiles tiles;
    int64_t block, blocks; /* tiles a block            */
    int64_t v_row;         /* floats a row of V        */
    bool common;           /* U is made once for all   */
    bool shared;           /* blocks are shared        */
    int64_t slice;         /* channels of U at once    */
    const float *zero;     /* c zeros: pixels outside  */
    float *v, *u, *m;      /* of worker 0, or of all   */
    const float *ready;    /* prepared weights, or NULL */
    int64_t *held;         /* per worker: see worker_has() */
    int64_t held_step;
    unsigned char *spoilt;  /* [panel][tile]: not finite, if A' M A was not */
    int64_t v_size, m_size; /* of one worker           */
    int64_t u_size;         /* of one panel's slice    */
} winograd;

/* One block on its way through the stages. */
typedef struct block {
    const winograd *p;
    int64_t first, count; /* tiles */
    float *v;
} block;

/* ---- stage 1: V = B' x B ----------------------------------------------------------- */

/* Tiles a task: all of a worker's own block, or a few whole rows, so that their pixels
 * are a long run of memory. */
static int64_t transform_grain(const winograd *p)
{
    if (!p->shared) return p->block;
    return p->tiles.across * ceil_div(4, p->tiles.across);
}

static void transform_input(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const block *b = ctx;
    const winograd *p = b->p;
    int64_t grain = transform_grain(p), begin = i * grain;
    int64_t end = min64(b->count, begin + grain);
    reel__tile_touch(&p->in, &p->tiles, b->first + begin, end - begin);
    for (int64_t t = begin; t < end; t++) {
        int64_t image, y, x;
        const float *pixel[36];
        reel__tile_place(&p->tiles, b->first + t, &image, &y, &x);
        reel__tile_pixels(&p->in, image, y - p->pad_y, x - p->pad_x, 6, p->zero, pixel);
        p->f43->input(pixel, p->c, b->v + t * p->v_row,
                      reel__element_step(b->count * p->v_row));
    }
}

/* ---- stage 2: M = V U, y = A' M A of one panel ------------------------------------- */

static int64_t panel_at(const winograd *p, int64_t o)
{
    return o / (2 * p->gemm->lanes);
}

static void transform_output(const winograd *p, const block *b, const float *m, int64_t o,
                             int64_t width)
{
    if (o == 0) {
        reel__image_rows y = {p->out, p->in.n, p->oh, p->ow, p->k};
        reel__tile_touch(&y, &p->tiles, b->first, b->count);
    }
    /* Where results beyond the edge go, and come from; width is 32 at most. */
    float outside[32] = {0};
    const float *residual[16], *bias = p->end.bias ? p->end.bias + o : NULL;
    unsigned char *spoilt = p->spoilt + panel_at(p, o) * p->tiles.count + b->first;
    for (int64_t t = 0; t < b->count; t++) {
        int64_t image, y, x;
        reel__tile_place(&p->tiles, b->first + t, &image, &y, &x);
        float *to = p->out + ((image * p->oh + y) * p->ow + x) * p->k + o;
        float *pixel[16];
        for (int64_t i = 0; i < REEL__TILE; i++)
            for (int64_t j = 0; j < REEL__TILE; j++)
                pixel[i * REEL__TILE + j] = y + i < p->oh && x + j < p->ow
                                                ? to + (i * p->ow + j) * p->k
                                                : outside;
        for (int i = 0; p->end.residual && i < 16; i++)
            residual[i] =
                pixel[i] == outside ? outside : reel__residual_at(&p->end, pixel[i]);
        spoilt[t] =
            !p->f43->output(m + t * width, reel__element_step(b->count * width), width,
                            bias, p->end.residual ? residual : NULL, p->end.relu, pixel);
        for (int i = 0; p->end.act && i < 16; i++)
            reel__epilogue_act(&p->end, pixel[i], width);
    }
}

static void panel_of(const winograd *p, int64_t index, int64_t *o, int64_t *width)
{
    *o = index * 2 * p->gemm->lanes;
    *width = min64(2 * p->gemm->lanes, p->k - *o);
}

static int64_t panels_of(const winograd *p)
{
    return ceil_div(p->k, 2 * p->gemm->lanes);
}

/* Weights of columns [o, o + width), channels [c, c + count), in runs of memory. */
static void touch_weight(const winograd *p, int64_t o, int64_t width, int64_t c,
                         int64_t count)
{
    const float *from = p->weight + o * p->o_step + c * p->i_step;
    bool by_column = p->o_step > p->i_step;
    int64_t runs = by_column ? width : count, step = by_column ? p->o_step : p->i_step;
    for (int64_t i = 0; i < runs; i++)
        reel__touch(from + i * step, 9 * (by_column ? count : width));
}

/* U of channels [c, c + count) of a panel. */
static void transform_weight(const winograd *p, int64_t o, int64_t width, int64_t c,
                             int64_t count, float *u)
{
    int64_t step = reel__element_step(count * width);
    if (p->ready) {
        const float *panel = p->ready + 9 * o * p->c + c * width;
        p->f43->weight_packed(panel, p->c * width, count, width, u, step);
        return;
    }
    touch_weight(p, o, width, c, count);
    p->f43->weight(p->weight + o * p->o_step + c * p->i_step, p->weight_end, p->o_step,
                   p->i_step, p->rotate, count, width, u, step);
}

/* M (+)= V U of channels [c, c + count). */
static void multiply_slice(const block *b, const float *u, int64_t c, int64_t count,
                           int64_t width, float *m)
{
    const winograd *p = b->p;
    int64_t v_step = reel__element_step(b->count * p->v_row);
    int64_t m_step = reel__element_step(b->count * width);
    int64_t u_step = reel__element_step(count * width);
    for (int64_t e = 0; e < 36; e++)
        p->gemm->dense(b->v + e * v_step + c, p->v_row, b->count, count, u + e * u_step,
                       width, m + e * m_step, width, c > 0);
}

static block block_at(const winograd *p, int64_t i, int64_t worker)
{
    block b = {.p = p, .first = i * p->block};
    b.count = min64(p->block, p->tiles.count - b.first);
    b.v = p->v + worker * p->v_size;
    return b;
}

/* ---- blocks of a worker's own ------------------------------------------------------ */

static void make_common(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const winograd *p = ctx;
    int64_t o, width;
    panel_of(p, i, &o, &width);
    transform_weight(p, o, width, 0, p->c, p->u + i * p->u_size);
}

/* Whether this worker has what is numbered `value` in a slot, slot 0 the V of a block, slot
 * 1 + i the U of panel i; from now on it has. */
static bool worker_has(const winograd *p, int worker, int64_t slot, int64_t value)
{
    int64_t *held = p->held + worker * p->held_step + slot;
    bool has = *held == value;
    *held = value;
    return has;
}

/* Task i: a panel of a block. */
static void run_panel(void *ctx, int64_t i, int worker)
{
    const winograd *p = ctx;
    int64_t index = i / panels_of(p), panel = i % panels_of(p), o, width;
    float *u = p->u + ((p->common ? 0 : worker * panels_of(p)) + panel) * p->u_size;
    float *m = p->m + worker * p->m_size;
    block b = block_at(p, index, worker);
    panel_of(p, panel, &o, &width);
    if (!worker_has(p, worker, 0, index)) transform_input(&b, 0, worker);
    if (!p->common && !worker_has(p, worker, 1 + panel, 0))
        transform_weight(p, o, width, 0, p->c, u);
    multiply_slice(&b, u, 0, p->c, width, m);
    transform_output(p, &b, m, o, width);
}

/* ---- shared blocks ----------------------------------------------------------------- */

static void share_panel(void *ctx, int64_t i, int worker)
{
    const block *b = ctx;
    const winograd *p = b->p;
    float *m = p->m + worker * p->m_size, *u = p->u + worker * p->u_size;
    int64_t o, width;
    panel_of(p, i, &o, &width);
    for (int64_t c = 0; c < p->c; c += p->slice) {
        int64_t count = min64(p->slice, p->c - c);
        transform_weight(p, o, width, c, count, u);
        multiply_slice(b, u, c, count, width, m);
    }
    transform_output(p, b, m, o, width);
}

static void share_block(const winograd *p, int64_t i)
{
    block b = block_at(p, i, 0);
    reel__parallel(ceil_div(b.count, transform_grain(p)), transform_input, &b);
    reel__parallel(panels_of(p), share_panel, &b);
}

/* ---- sizes ------------------------------------------------------------------------- */

/* Floats of U that a worker keeps in its L2, beside V and M. */
#define SMALL_U (36 * 64 * 64)
/* Floats up to which every worker streams all of it for each of its blocks. */
#define COMMON_U (36 * 128 * 192)
/* V of a block: in a worker's L2, or shared in L3. */
#define OWN_V_BYTES (320 << 10)
#define SHARED_V_BYTES (4 << 20)
#define SHARED_TILES 128
/* U of a slice, in L2 beside M. */
#define SLICE 64

#define FLOATS_AN_INT ((int64_t)(sizeof(int64_t) / sizeof(float)))
/* So few tasks are made equal, and a multiple of this many, ... */
#define FEW_TASKS 16
#define EVEN_TASKS 4
/* ... as long as each has this many tiles: what keeps a register block busy. */
#define LEAST_TILES 8

/* A few tasks are made equal. */
static void even_tasks(winograd *p)
{
    while (p->blocks * panels_of(p) % EVEN_TASKS != 0 &&
           p->tiles.count >= (p->blocks + 1) * LEAST_TILES)
        p->blocks++;
    p->block = ceil_div(p->tiles.count, p->blocks);
    p->blocks = ceil_div(p->tiles.count, p->block);
}

static void set_sizes(winograd *p)
{
    p->tiles = reel__tiles_of(p->in.n, p->oh, p->ow);
    /* Rows a power of two apart would fall into the same few sets of the L1 cache. */
    p->v_row = p->c >= 128 ? p->c + 16 : p->c;
    int64_t u = 36 * p->c * p->k;
    p->shared = u > COMMON_U || (u > SMALL_U && p->tiles.count <= SHARED_TILES);
    p->common = u > SMALL_U && !p->shared;
    int64_t rows = 2 * p->gemm->rows; /* whole register blocks of either width */
    int64_t fit = (p->shared ? SHARED_V_BYTES : OWN_V_BYTES) / (36 * 4 * p->v_row);
    fit = min64(fit, SHARED_TILES);
    p->block = fit >= rows ? fit / rows * rows : p->gemm->rows;
    p->block = min64(p->block, p->tiles.count);
    p->blocks = ceil_div(p->tiles.count, p->block);
    if (!p->shared && p->blocks * panels_of(p) <= FEW_TASKS) even_tasks(p);
    p->slice = p->shared ? SLICE : p->c;
    p->v_size = 36 * reel__element_step(p->block * p->v_row);
    p->m_size = 36 * reel__element_step(p->block * 2 * p->gemm->lanes);
    p->u_size = 36 * reel__element_step(p->slice * 2 * p->gemm->lanes);
    p->held_step = reel__round_up(1 + panels_of(p), 8); /* whole cache lines */
}

/* The transforms spread a value that is not finite over its whole tile, and overflow where
 * a direct sum need not: such tiles are summed directly. */
static reel_status redo_spoilt(const winograd *p, const reel__conv *g,
                               reel__conv_pass pass, const reel__conv_io *io)
{
    int64_t count = p->tiles.count;
    if (!memchr(p->spoilt, true, (size_t)(panels_of(p) * count))) return REEL_OK;
    for (int64_t i = count; i < panels_of(p) * count; i++)
        p->spoilt[i % count] |= p->spoilt[i];
    reel__conv_io those = *io;
    those.only = p->spoilt;
    return reel__conv_direct(g, pass, &those);
}

static reel_status run(winograd *p, const reel__conv *g, reel__conv_pass pass,
                       const reel__conv_io *io)
{
    set_sizes(p);
    int64_t workers = reel__max_workers(), floats = 0;
    int64_t v = reel__reserve(&floats, p->v_size * (p->shared ? 1 : workers));
    int64_t m = reel__reserve(&floats, p->m_size * workers);
    int64_t us = (p->common ? 1 : workers) * (p->shared ? 1 : panels_of(p));
    int64_t u = reel__reserve(&floats, p->u_size * us);
    int64_t zero = reel__reserve(&floats, p->c);
    int64_t held = reel__reserve(&floats, workers * p->held_step * FLOATS_AN_INT);
    int64_t spoilt =
        reel__reserve(&floats, ceil_div(panels_of(p) * p->tiles.count, sizeof(float)));
    float *scratch = reel__scratch((size_t)floats * sizeof(float));
    if (!scratch) return REEL_ERR_MEMORY;
    p->v = scratch + v, p->m = scratch + m, p->u = scratch + u, p->zero = scratch + zero;
    p->held = (int64_t *)(void *)(scratch + held);
    p->spoilt = (unsigned char *)(scratch + spoilt);
    memset(scratch + zero, 0, (size_t)p->c * sizeof(float));
    for (int64_t i = 0; i < workers * p->held_step; i++) p->held[i] = -1;
    for (int64_t i = 0; p->shared && i < p->blocks; i++) share_block(p, i);
    if (p->common) reel__parallel(panels_of(p), make_common, p);
    if (!p->shared) reel__parallel(p->blocks * panels_of(p), run_panel, p);
    reel_status status = redo_spoilt(p, g, pass, io);
    reel__scratch_free(scratch);
    return status;
}

static winograd forward(const reel__conv *g, const float *weight)
{
    winograd p = {
        .gemm = REEL_ISA_PICK(conv_gemm),
        .f43 = REEL_ISA_PICK(conv_winograd),
        .weight = weight,
        .weight_end = weight + g->k * g->c * 9,
        .in = {NULL, g->n, g->h, g->w, g->c},
        .c = g->c,
        .k = g->k,
        .oh = g->oh,
        .ow = g->ow,
        .pad_y = g->pad[0],
        .pad_x = g->pad[1],
        .o_step = 9 * g->c,
        .i_step = 9,
    };
    return p;
}

/* The same with the weights rotated by 180 degrees and transposed. */
static winograd input_grad(const reel__conv *g, const float *weight)
{
    winograd p = forward(g, weight);
    p.in = (reel__image_rows){NULL, g->n, g->oh, g->ow, g->k};
    p.c = g->k, p.k = g->c, p.oh = g->h, p.ow = g->w;
    p.pad_y = 2 - g->pad[0], p.pad_x = 2 - g->pad[1];
    p.o_step = 9, p.i_step = 9 * g->c, p.rotate = true;
    return p;
}

reel_status reel__run_winograd(const reel__conv *g, reel__conv_pass pass,
                               const reel__conv_io *io)
{
    winograd p =
        pass == REEL_CONV_FORWARD ? forward(g, io->weight) : input_grad(g, io->weight);
    p.in.data = io->in;
    p.ready = io->prepared;
    p.out = io->out;
    p.end = io->end;
    return run(&p, g, pass, io);
}
