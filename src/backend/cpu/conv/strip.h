/* strip.h: the input of a block of result rows, without edges.
 *
 * A tap of a pixel is then a fixed distance from the pixel's first tap, inside or at the
 * border. Where nothing lies outside, that is the input itself; else the few rows that a
 * block reads are copied between zeros, into scratch that stays in L2. */
#ifndef REEL_CPU_CONV_STRIP_H
#define REEL_CPU_CONV_STRIP_H

#include "backend/cpu/conv/conv.h"

/* Result pixel (image, y, x) and tap (dy, dx) meet at input pixel
 * (image, y * stride_y + dy, x * stride_x + dx), zero outside [0, h) x [0, w). */
typedef struct reel__strip {
    const float *in; /* first channel that is read                 */
    int64_t h, w, c; /* c channels are read ...                    */
    int64_t pixel;   /* ... of this many floats a pixel            */
    int64_t oh, ow;  /* results an image                           */
    int64_t stride_y, stride_x;
    int64_t y_min, y_max, x_min, x_max; /* of dy and dx */
    /* filled in by reel__strip_init */
    bool leaves; /* windows leave the input somewhere */
    bool copies;
    int64_t rows, columns;        /* of input that a block's image reads            */
    int64_t step_pixel, step_row; /* floats from an input pixel to the next  */
    int64_t block_rows;           /* result rows of a block: some of one image, ... */
    int64_t block_images;         /* ... or all of several                          */
    int64_t per_image, blocks;
} reel__strip;

/* Cuts `n` images into blocks of about `pixels` results, of at most `floats` of copy. */
void reel__strip_init(reel__strip *s, int64_t n, int64_t pixels, int64_t floats);
/* Floats of scratch that a block needs. */
int64_t reel__strip_size(const reel__strip *s);

/* Whether input pixel (y, x) exists. */
static inline bool reel__strip_inside(const reel__strip *s, int64_t y, int64_t x)
{
    return y >= 0 && x >= 0 && y < s->h && x < s->w;
}
/* Whether the window of result pixel (y, x) leaves the input. */
static inline bool reel__strip_leaves(const reel__strip *s, int64_t y, int64_t x)
{
    y *= s->stride_y, x *= s->stride_x;
    return !reel__strip_inside(s, y + s->y_min, x + s->x_min) ||
           !reel__strip_inside(s, y + s->y_max, x + s->x_max);
}

/* Rows of results of block i: images [image, image + images), rows [y, y + rows) of
 * each. */
typedef struct reel__strip_block {
    int64_t image, images, y, rows;
} reel__strip_block;
reel__strip_block reel__strip_next_block(const reel__strip *s, int64_t n, int64_t i);
/* Copies one image of the block, if the strip copies at all; returns where the tap
 * (y_min, x_min) of result pixel (image, block->y, 0) lies. */
const float *reel__strip_load(const reel__strip *s, const reel__strip_block *b,
                              int64_t image, float *scratch);
/* Floats from there to the tap (dy, dx) of result row y of the block. */
static inline int64_t reel__strip_at(const reel__strip *s, int64_t y, int64_t dy,
                                     int64_t dx)
{
    return (y * s->stride_y + dy - s->y_min) * s->step_row +
           (dx - s->x_min) * s->step_pixel;
}

#endif
