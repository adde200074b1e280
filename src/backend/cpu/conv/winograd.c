/* winograd.c: 3x3 convolution of stride 1 by F(4,3), forward and input gradient.
 *
 * y = A' [ (G w G') * (B' x B) ] A for tiles of 4x4 results: 36 products of matrices
 * instead of 144 multiplications a pixel pair. Everything runs block by block of tiles,
 * so that what passes between transforms and products stays in cache:
 *   V [36][tiles][c]   transformed input of the block
 *   U [36][c][panel]   transformed weights of one panel of output channels
 *   M [36][tiles][panel] = V U, transformed into y at once.
 * Two ways to share this among workers:
 *   small U: U is made once for all; every worker has blocks of its own, V in its L2;
 *   large U (256 channels and more): blocks are large and shared, V in L3; every worker
 *     has panels of its own and makes U as it goes, a slice of channels at a time that
 *     stays in its L2. U as a whole, four times the weights, would only go to memory and
 *     back. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/conv/tiles.h"
#include "backend/cpu/isa/conv_kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

typedef struct winograd {
    const reel_conv_gemm *gemm;
    const reel_conv_winograd *f43;
    /* One forward convolution: in [n, h, w, c] -> out [n, oh, ow, k]. */
    reel_activation in;
    int64_t c, k, oh, ow, pad_y, pad_x;
    reel_epilogue end;
    float *out;
    const float *weight, *weight_end;
    int64_t o_step, i_step; /* of the weight's output and input channels */
    bool rotate;

    reel_tiles tiles;
    int64_t block, blocks;  /* tiles a block            */
    int64_t v_row;          /* floats a row of V        */
    bool shared;            /* the second way           */
    int64_t slice;          /* channels of U at once    */
    const float *zero;      /* c zeros: pixels outside  */
    float *v, *u, *m;       /* of worker 0, or of all   */
    const float *ready;     /* U of all panels and slices, prepared; NULL: made here */
    int64_t *held;          /* first way: the block that a worker's V is of */
    int64_t v_size, m_size; /* of one worker           */
    int64_t u_size;         /* of one panel's slice    */
} winograd;

/* Of `held`, so that workers do not write the same cache line. */
#define HELD_STEP 8

/* One block on its way through the stages. */
typedef struct block {
    const winograd *p;
    int64_t first, count; /* tiles */
    int64_t worker;       /* who runs it; 0 if its stages run in parallel */
    float *v;
} block;

/* ---- stage 1: V = B' x B ----------------------------------------------------------- */

/* Tiles a task: all of a worker's own block, or a few whole rows, so that their pixels
 * are a long run of memory. */
static int64_t transform_grain(const winograd *p)
{
    if (!p->shared) return p->block;
    return p->tiles.across * reel__ceil_div(4, p->tiles.across);
}

static void transform_input(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const block *b = ctx;
    const winograd *p = b->p;
    int64_t grain = transform_grain(p), begin = i * grain;
    int64_t end = reel__min64(b->count, begin + grain);
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

static void transform_output(const winograd *p, const block *b, const float *m, int64_t o,
                             int64_t width)
{
    if (o == 0) {
        reel_activation y = {p->out, p->in.n, p->oh, p->ow, p->k};
        reel__tile_touch(&y, &p->tiles, b->first, b->count);
    }
    /* Where results beyond the edge go, and come from; width is 32 at most. */
    float outside[32] = {0};
    const float *residual[16], *bias = p->end.bias ? p->end.bias + o : NULL;
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
        p->f43->output(m + t * width, reel__element_step(b->count * width), width, bias,
                       p->end.residual ? residual : NULL, p->end.relu, pixel);
        for (int i = 0; p->end.act && i < 16; i++)
            reel__epilogue_act(&p->end, pixel[i], width);
    }
}

static void panel_of(const winograd *p, int64_t index, int64_t *o, int64_t *width)
{
    *o = index * 2 * p->gemm->lanes;
    *width = reel__min64(2 * p->gemm->lanes, p->k - *o);
}

static int64_t panels_of(const winograd *p)
{
    return reel__ceil_div(p->k, 2 * p->gemm->lanes);
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

static int64_t slices_of(const winograd *p)
{
    return reel__ceil_div(p->c, p->slice);
}

static void weight_slice(const winograd *p, int64_t o, int64_t width, int64_t c0,
                         int64_t count, float *u)
{
    p->f43->weight(p->weight + o * p->o_step + c0 * p->i_step, p->weight_end, p->o_step,
                   p->i_step, p->rotate, count, width, u,
                   reel__element_step(count * width));
}

static void multiply_panel(void *ctx, int64_t i, int inner)
{
    const block *b = ctx;
    const winograd *p = b->p;
    int64_t worker = b->worker + inner; /* one of the two is 0 */
    int64_t o, width;
    panel_of(p, i, &o, &width);
    float *m = p->m + worker * p->m_size;
    int64_t v_step = reel__element_step(b->count * p->v_row);
    int64_t m_step = reel__element_step(b->count * width);
    for (int64_t c0 = 0; c0 < p->c; c0 += p->slice) {
        int64_t count = reel__min64(p->slice, p->c - c0);
        int64_t u_step = reel__element_step(count * width);
        const float *u;
        if (p->ready) {
            u = p->ready + (i * slices_of(p) + c0 / p->slice) * p->u_size;
        } else {
            float *made = p->u + worker * p->u_size;
            touch_weight(p, o, width, c0, count);
            weight_slice(p, o, width, c0, count, made);
            u = made;
        }
        for (int64_t e = 0; e < 36; e++)
            p->gemm->dense(b->v + e * v_step + c0, p->v_row, b->count, count,
                           u + e * u_step, width, m + e * m_step, width, c0 > 0);
    }
    transform_output(p, b, m, o, width);
}

static block block_at(const winograd *p, int64_t i, int64_t worker)
{
    block b = {.p = p, .first = i * p->block, .worker = worker};
    b.count = reel__min64(p->block, p->tiles.count - b.first);
    b.v = p->v + worker * p->v_size;
    return b;
}

/* The second way: the stages of a block are parallel. */
static void run_block(const winograd *p, int64_t i)
{
    block b = block_at(p, i, 0);
    reel__parallel(reel__ceil_div(b.count, transform_grain(p)), transform_input, &b);
    reel__parallel(panels_of(p), multiply_panel, &b);
}

/* The first way: a task is a panel of a block. A worker's next task as a rule is of the same
 * block, whose V it has. */
static void run_panel(void *ctx, int64_t i, int worker)
{
    const winograd *p = ctx;
    int64_t index = i / panels_of(p), *held = p->held + worker * HELD_STEP;
    block b = block_at(p, index, worker);
    if (*held != index) transform_input(&b, 0, 0);
    *held = index;
    multiply_panel(&b, i % panels_of(p), 0);
}

/* ---- U of one panel, all slices -------------------------------------------------- */

static void prepare_panel(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const winograd *p = ctx;
    int64_t o, width;
    panel_of(p, i, &o, &width);
    for (int64_t j = 0; j < slices_of(p); j++) {
        int64_t count = reel__min64(p->slice, p->c - j * p->slice);
        weight_slice(p, o, width, j * p->slice, count,
                     p->u + (i * slices_of(p) + j) * p->u_size);
    }
}

/* ---- sizes ------------------------------------------------------------------------- */

/* Floats of U up to which every worker streams all of it for each of its blocks. */
#define SMALL_U (36 * 128 * 192)
/* V of a block: in a worker's L2, or shared in L3. */
#define OWN_V_BYTES (320 << 10)
#define SHARED_V_BYTES (4 << 20)
#define SHARED_TILES 128
/* U of a slice, in L2 beside M. */
#define SLICE 64

/* Fewer tasks than this are cut smaller, ... */
#define FEW_TASKS 16
/* ... but not below this many tiles: what a register block needs to be busy. */
#define LEAST_TILES 8

/* What the layout of U follows from. */
static void set_weight_sizes(winograd *p)
{
    p->shared = 36 * p->c * p->k > SMALL_U;
    p->slice = p->shared ? SLICE : p->c;
    p->u_size = 36 * reel__element_step(p->slice * 2 * p->gemm->lanes);
}

static void set_sizes(winograd *p)
{
    p->tiles = reel__tiles(p->in.n, p->oh, p->ow);
    /* Rows a power of two apart would fall into the same few sets of the L1 cache. */
    p->v_row = p->c >= 128 ? p->c + 16 : p->c;
    int64_t rows = 2 * p->gemm->rows; /* whole register blocks of either width */
    int64_t fit = (p->shared ? SHARED_V_BYTES : OWN_V_BYTES) / (36 * 4 * p->v_row);
    fit = reel__min64(fit, SHARED_TILES);
    p->block = fit >= rows ? fit / rows * rows : p->gemm->rows;
    p->block = reel__min64(p->block, p->tiles.count);
    p->blocks = reel__ceil_div(p->tiles.count, p->block);
    while (!p->shared && p->blocks * panels_of(p) < FEW_TASKS &&
           p->tiles.count >= 2 * p->blocks * LEAST_TILES) {
        p->block = reel__ceil_div(p->tiles.count, 2 * p->blocks);
        p->blocks = reel__ceil_div(p->tiles.count, p->block);
    }
    p->v_size = 36 * reel__element_step(p->block * p->v_row);
    p->m_size = 36 * reel__element_step(p->block * 2 * p->gemm->lanes);
}

static reel_status run(winograd *p)
{
    set_weight_sizes(p);
    set_sizes(p);
    int64_t workers = reel__max_workers(), floats = 0;
    int64_t v = reel__reserve(&floats, p->v_size * (p->shared ? 1 : workers));
    int64_t m = reel__reserve(&floats, p->m_size * workers);
    int64_t made = p->ready ? 0 : p->shared ? workers : panels_of(p);
    int64_t u = reel__reserve(&floats, p->u_size * made);
    int64_t zero = reel__reserve(&floats, p->c);
    int64_t held =
        reel__reserve(&floats, workers * HELD_STEP * (int64_t)(sizeof(int64_t) / 4));
    float *scratch = reel__scratch((size_t)floats * sizeof(float));
    if (!scratch) return REEL_ERR_MEMORY;
    p->v = scratch + v, p->m = scratch + m, p->u = scratch + u, p->zero = scratch + zero;
    p->held = (int64_t *)(void *)(scratch + held);
    memset(scratch + zero, 0, (size_t)p->c * sizeof(float));
    for (int64_t i = 0; i < workers; i++) p->held[i * HELD_STEP] = -1;
    if (p->shared) {
        for (int64_t i = 0; i < p->blocks; i++) run_block(p, i);
    } else {
        if (!p->ready) {
            reel__parallel(panels_of(p), prepare_panel, p);
            p->ready = p->u;
        }
        reel__parallel(p->blocks * panels_of(p), run_panel, p);
    }
    reel__scratch_free(scratch);
    return REEL_OK;
}

static winograd forward(const reel_conv *g, const float *weight)
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
static winograd input_grad(const reel_conv *g, const float *weight)
{
    winograd p = forward(g, weight);
    p.in = (reel_activation){NULL, g->n, g->oh, g->ow, g->k};
    p.c = g->k, p.k = g->c, p.oh = g->h, p.ow = g->w;
    p.pad_y = 2 - g->pad[0], p.pad_x = 2 - g->pad[1];
    p.o_step = 9, p.i_step = 9 * g->c, p.rotate = true;
    return p;
}

reel_status reel__conv_winograd(const reel_conv *g, reel_conv_pass pass,
                                const reel_conv_io *io)
{
    winograd p =
        pass == REEL_CONV_FORWARD ? forward(g, io->weight) : input_grad(g, io->weight);
    p.in.data = io->in;
    p.ready = io->prepared;
    p.out = io->out;
    p.end = io->end;
    return run(&p);
}

int64_t reel__conv_winograd_prepared(const reel_conv *g)
{
    winograd p = forward(g, NULL);
    set_weight_sizes(&p);
    return panels_of(&p) * slices_of(&p) * p.u_size;
}

void reel__conv_winograd_prepare(const reel_conv *g, const float *weight, float *to)
{
    winograd p = forward(g, weight);
    set_weight_sizes(&p);
    p.u = to;
    reel__parallel(panels_of(&p), prepare_panel, &p);
}
