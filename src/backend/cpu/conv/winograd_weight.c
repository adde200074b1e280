/* winograd_weight.c: weight gradient of a 3x3 convolution of stride 1 by F(4,3).
 *
 * The adjoint of the forward algorithm: gw = G' [ sum over tiles (A gy A') (B' x B) ] G.
 *   V [36][tiles][c], Z [36][tiles][k]: transformed x and gy of a block of tiles
 *   P [36][c][panel] += V' Z, the products; at the end G' P G.
 * Two ways, as in winograd.c, by the size of P:
 *   small P: the tiles are cut into a fixed number of parts, each with a P of its own
 *     that lives through all blocks of the part; the parts' results are added in order;
 *   large P: one part; blocks are large and shared, and workers take pieces of P, which
 *     exist only until G' P G is added to the sum.
 * A gradient that is not finite anywhere is computed again by direct_weight.c: the transforms
 * spread such a value over all taps of its channels. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/conv/tiles.h"
#include "backend/cpu/isa/conv_kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <string.h>

typedef struct winograd {
    const reel__conv_gemm *gemm;
    const reel__conv_winograd *f43;
    const reel__conv *g;
    reel__image_rows gy, x;
    float *gw;
    reel__tiles tiles;
    int64_t block;         /* tiles a block                        */
    int64_t parts, blocks; /* blocks of all parts together         */
    bool shared;           /* the second way                       */
    int64_t slice;         /* rows (of c) of a piece of P          */
    int64_t v_row, z_row;
    const float *zero;
    unsigned char *spoilt;  /* of each panel, whether gw is not finite */
    float *v, *z, *p, *sum; /* sum [parts][panel][9][c][width]      */
    int64_t v_size, z_size, p_size, sum_size;
} winograd;

typedef struct block {
    const winograd *w;
    int64_t first, count; /* tiles */
    bool begins, ends;    /* the first, the last block of its P */
    float *v, *z, *p, *sum;
} block;

/* ---- stage 1 ----------------------------------------------------------------------- */

static int64_t transform_grain(const winograd *w) /* see winograd.c */
{
    if (!w->shared) return w->block;
    return w->tiles.across * ceil_div(4, w->tiles.across);
}

static void transform(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const block *b = ctx;
    const winograd *w = b->w;
    int64_t v_step = reel__element_step(b->count * w->v_row);
    int64_t z_step = reel__element_step(b->count * w->z_row);
    int64_t grain = transform_grain(w), begin = i * grain;
    int64_t end = min64(b->count, begin + grain);
    reel__tile_touch(&w->x, &w->tiles, b->first + begin, end - begin);
    reel__tile_touch(&w->gy, &w->tiles, b->first + begin, end - begin);
    for (int64_t t = begin; t < end; t++) {
        int64_t image, y, x;
        const float *pixel[36];
        reel__tile_place(&w->tiles, b->first + t, &image, &y, &x);
        reel__tile_pixels(&w->x, image, y - w->g->pad[0], x - w->g->pad[1], 6, w->zero,
                          pixel);
        w->f43->input(pixel, w->x.c, b->v + t * w->v_row, v_step);
        reel__tile_pixels(&w->gy, image, y, x, REEL__TILE, w->zero, pixel);
        w->f43->output_grad(pixel, w->gy.c, b->z + t * w->z_row, z_step);
    }
}

/* ---- stage 2: a piece of P is [36][slice of c][panel of k] ------------------------- */

static int64_t slices_of(const winograd *w)
{
    return ceil_div(w->g->c, w->slice);
}
static int64_t panels_of(const winograd *w)
{
    return ceil_div(w->g->k, 2 * w->gemm->lanes);
}

static void multiply(void *ctx, int64_t i, int worker)
{
    const block *b = ctx;
    const winograd *w = b->w;
    int64_t o = i / slices_of(w) * 2 * w->gemm->lanes;
    int64_t width = min64(2 * w->gemm->lanes, w->g->k - o);
    int64_t c0 = i % slices_of(w) * w->slice;
    int64_t count = min64(w->slice, w->g->c - c0);
    int64_t step = reel__element_step(w->slice * 2 * w->gemm->lanes);
    float *p = w->shared ? w->p + worker * w->p_size : b->p + i * 36 * step;
    for (int64_t e = 0; e < 36; e++) {
        const float *v = b->v + e * reel__element_step(b->count * w->v_row);
        const float *z = b->z + e * reel__element_step(b->count * w->z_row);
        w->gemm->outer(&(reel__conv_outer){
            .a = &v,
            .b = &z,
            .rows = 1,
            .steps = b->count,
            .tap = c0,
            .a_step = w->v_row,
            .column = o,
            .b_step = w->z_row,
            .m = count,
            .p = p + e * step,
            .width = width,
            .accumulate = !b->begins,
        });
    }
    if (b->ends)
        w->f43->weight_grad(p, step, count, width, b->sum + 9 * o * w->g->c + c0 * width,
                            w->g->c * width);
}

static void run_part(void *ctx, int64_t part, int worker)
{
    const winograd *w = ctx;
    block b = {.w = w,
               .v = w->v + worker * w->v_size,
               .z = w->z + worker * w->z_size,
               .p = w->p + worker * w->p_size,
               .sum = w->sum + part * w->sum_size};
    memset(b.sum, 0, (size_t)w->sum_size * sizeof(float));
    int64_t begin = w->blocks * part / w->parts, end = w->blocks * (part + 1) / w->parts;
    for (int64_t i = begin; i < end; i++) {
        b.first = i * w->block;
        b.count = min64(w->block, w->tiles.count - b.first);
        b.begins = w->shared || i == begin;
        b.ends = w->shared || i == end - 1;
        reel__parallel(ceil_div(b.count, transform_grain(w)), transform, &b);
        reel__parallel(panels_of(w) * slices_of(w), multiply, &b);
    }
}

/* ---- the parts' sum, in the weight's own layout ------------------------------------ */

static void unpack(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const winograd *w = ctx;
    int64_t o = i * 2 * w->gemm->lanes;
    int64_t width = min64(2 * w->gemm->lanes, w->g->k - o);
    const float *sum = w->sum + 9 * o * w->g->c;
    for (int64_t part = 0; part < w->parts; part++)
        reel__touch(sum + part * w->sum_size, 9 * w->g->c * width);
    w->spoilt[i] = !w->gemm->unpack(sum, w->parts, w->sum_size, w->g->k, w->g->c, 9, o,
                                    width, w->gw);
}

/* ---- sizes ------------------------------------------------------------------------- */

#define SMALL_P (36 * 64 * 64)
#define PARTS 16
#define OWN_BYTES (320 << 10) /* V and Z of a block, in L2 beside P */
#define SHARED_BYTES (6 << 20)
#define SLICE 64

static void set_sizes(winograd *w)
{
    const reel__conv *g = w->g;
    w->tiles = reel__tiles_of(g->n, g->oh, g->ow);
    w->v_row = g->c >= 128 ? g->c + 16 : g->c;
    w->z_row = g->k >= 128 ? g->k + 16 : g->k;
    w->shared = 36 * g->c * g->k > SMALL_P;
    w->slice = min64(g->c, SLICE);
    w->block = (w->shared ? SHARED_BYTES : OWN_BYTES) / (36 * 4 * (w->v_row + w->z_row));
    w->block = min64(max64(w->block, 16), w->tiles.count);
    w->blocks = ceil_div(w->tiles.count, w->block);
    w->parts = w->shared ? 1 : min64(PARTS, w->blocks);
    w->v_size = 36 * reel__element_step(w->block * w->v_row);
    w->z_size = 36 * reel__element_step(w->block * w->z_row);
    w->p_size = 36 * reel__element_step(w->slice * 2 * w->gemm->lanes) *
                (w->shared ? 1 : panels_of(w) * slices_of(w));
    w->sum_size = 9 * g->c * g->k;
}

reel_status reel__conv_winograd_weight(const reel__conv *g, const float *gy,
                                       const float *x, float *gw)
{
    winograd w = {.gemm = REEL_ISA_PICK(conv_gemm),
                  .f43 = REEL_ISA_PICK(conv_winograd),
                  .g = g,
                  .gw = gw,
                  .gy = {gy, g->n, g->oh, g->ow, g->k},
                  .x = {x, g->n, g->h, g->w, g->c}};
    set_sizes(&w);
    int64_t workers = reel__max_workers(), floats = 0;
    int64_t v = reel__reserve(&floats, w.v_size * (w.shared ? 1 : workers));
    int64_t z = reel__reserve(&floats, w.z_size * (w.shared ? 1 : workers));
    int64_t p = reel__reserve(&floats, w.p_size * workers);
    int64_t sum = reel__reserve(&floats, w.sum_size * w.parts);
    int64_t zero = reel__reserve(&floats, max64(g->c, g->k));
    int64_t spoilt = reel__reserve(&floats, panels_of(&w));
    float *scratch = reel__scratch((size_t)floats * sizeof(float));
    if (!scratch) return REEL_ERR_MEMORY;
    w.v = scratch + v, w.z = scratch + z, w.p = scratch + p, w.sum = scratch + sum;
    w.zero = scratch + zero, w.spoilt = (unsigned char *)(scratch + spoilt);
    memset(scratch + zero, 0, (size_t)max64(g->c, g->k) * sizeof(float));
    reel__parallel(w.parts, run_part, &w);
    reel__parallel(panels_of(&w), unpack, &w);
    bool spoilt_any = memchr(w.spoilt, true, (size_t)panels_of(&w)) != NULL;
    reel__scratch_free(scratch);
    return spoilt_any ? reel__conv_direct_weight(g, gy, x, gw) : REEL_OK;
}
