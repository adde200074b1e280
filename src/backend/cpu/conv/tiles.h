/* tiles.h: tiles of Winograd's transforms in channels-last activations. */
#ifndef REEL_CPU_CONV_TILES_H
#define REEL_CPU_CONV_TILES_H

#include "backend/cpu/conv/conv.h"

/* Results of a tile are 4x4. */
#define REEL__TILE 4

/* Floats from one of the 36 elements of a transform to the next, where each holds
 * `floats`. A line more than it needs: distances of a power of two would put all 36,
 * which are written together, into one set of the L1 cache. */
static inline int64_t reel__element_step(int64_t floats)
{
    return floats + 16;
}

typedef struct reel__image_rows {
    const float *data; /* [n, h, w, c] */
    int64_t n, h, w, c;
} reel__image_rows;

/* Tiles of all images, row after row; tile t is at row y, column x of its image's. */
typedef struct reel__tiles {
    int64_t across, down, count;
} reel__tiles;

static inline reel__tiles reel__tiles_of(int64_t n, int64_t h, int64_t w)
{
    reel__tiles t = {.across = ceil_div(w, REEL__TILE), .down = ceil_div(h, REEL__TILE)};
    t.count = n * t.across * t.down;
    return t;
}

static inline void reel__tile_place(const reel__tiles *t, int64_t tile, int64_t *image,
                                    int64_t *y, int64_t *x)
{
    *image = tile / (t->across * t->down);
    *y = tile / t->across % t->down * REEL__TILE;
    *x = tile % t->across * REEL__TILE;
}

static inline int64_t reel__tile_of(const reel__tiles *t, int64_t image, int64_t y,
                                    int64_t x)
{
    return (image * t->down + y / REEL__TILE) * t->across + x / REEL__TILE;
}

/* Pointers to size * size pixels from (y, x) on; `zero` where they lie outside. */
static inline void reel__tile_pixels(const reel__image_rows *a, int64_t image, int64_t y,
                                     int64_t x, int64_t size, const float *zero,
                                     const float **pixel)
{
    for (int64_t i = y; i < y + size; i++) {
        bool inside = i >= 0 && i < a->h;
        const float *row = inside ? a->data + (image * a->h + i) * a->w * a->c : zero;
        for (int64_t j = x; j < x + size; j++)
            *pixel++ = inside && j >= 0 && j < a->w ? row + j * a->c : zero;
    }
}

/* reel__touch() of the pixels under tiles [first, first + count). */
static inline void reel__tile_touch(const reel__image_rows *a, const reel__tiles *t,
                                    int64_t first, int64_t count)
{
    int64_t total = a->n * a->h * a->w * a->c, an_image = t->across * t->down;
    int64_t begin = a->h * a->w * a->c * first / an_image;
    int64_t end = a->h * a->w * a->c * (first + count) / an_image + 2 * a->w * a->c;
    end = min64(end, total); /* two rows more: tiles overlap the next ones' */
    reel__touch(a->data + begin, end - begin);
}

#endif
