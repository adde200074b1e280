/* direct.h: what direct.c and direct_edges.c share. */
#ifndef REEL_CPU_CONV_DIRECT_H
#define REEL_CPU_CONV_DIRECT_H

#include "backend/cpu/conv/conv.h"
#include "backend/cpu/conv/strip.h"
#include "backend/cpu/conv/tiles.h"
#include "backend/cpu/isa/conv_kernels.h"

typedef struct reel__direct {
    const reel__conv_gemm *gemm;
    reel__strip strip;
    bool depthwise;
    int64_t n, k;                          /* images, result channels */
    const int64_t *dy, *dx;                /* first tap of each run    */
    int64_t *tap;                          /* offsets of runs          */
    int64_t taps, len;                     /* runs, floats of each     */
    float *out;                            /* result (0, 0, 0)         */
    int64_t out_image, out_row, out_pixel; /* floats from one to the next */
    reel__epilogue end;
    const unsigned char *only; /* tiles to compute; NULL: all */
    reel__tiles tiles;
    float *packed;      /* [panel][taps][len][width] */
    const float *ready; /* the same, prepared; NULL: packed by this call */
    bool suspect;       /* see is_suspect() */
    /* what packing reads */
    const float *weight;
    int64_t w_k, w_c, w_taps;
    const int64_t *pick; /* taps of this phase; NULL: forward, all */
    int64_t groups;      /* tasks a block, each with some panels    */
    float *copy;         /* per worker */
    float **rows;        /* per worker: results, those at edges, left sides */
    int64_t copy_size, row_size;
    struct held *held; /* per worker */
} reel__direct;

static inline bool reel__direct_wants(const reel__direct *p, int64_t image, int64_t y,
                                      int64_t x)
{
    return !p->only || p->only[reel__tile_of(&p->tiles, image, y, x)];
}

static inline float *reel__direct_result(const reel__direct *p, int64_t image, int64_t y,
                                         int64_t x)
{
    return p->out + image * p->out_image + y * p->out_row + x * p->out_pixel;
}

static inline void reel__direct_gather(const reel__direct *p, const reel__conv_gather *g)
{
    (p->depthwise ? REEL_ISA_PICK(conv_depthwise)->gather : p->gemm->gather)(g);
}

/* Computes the panel of `width` columns from o on again for the block's results whose window
 * leaves the input, from the taps inside alone; without the epilogue's `act`. */
void reel__direct_edges(const reel__direct *p, int64_t block, int64_t o, int64_t width);

#endif
