/* int8.h: what an activation is on a grid of 8-bit integers, for every backend. */
#ifndef REEL_BACKEND_INT8_H
#define REEL_BACKEND_INT8_H

#include "backend/attrs.h"
#include "backend/backend.h"

#include <math.h>

/* Numbers that a quantized result can have: scale * (q - zero), q from `least` on 255 more. */
typedef struct reel__int8_grid {
    float scale;
    int32_t zero, least;
} reel__int8_grid;

typedef struct reel__int8_bounds {
    int32_t low, high;
} reel__int8_bounds;

/* x on the grid: divided, rounded half to even, saturated; a NaN is the lowest. */
static inline int32_t reel__int8_on(const reel__int8_grid *g, float x)
{
    const float q = rintf(x / g->scale), low = (float)(g->least - g->zero);
    if (!(q > low)) return g->least;
    return q < low + 255 ? (int32_t)q + g->zero : g->least + 255;
}

/* Quantizing keeps order, or turns it where the scale is below 0: so clipping before it is clipping
 * after it to what the bounds become. */
static inline reel__int8_bounds reel__int8_bounds_of(const reel__int8_grid *g,
                                                     int64_t act, const reel__number a[2])
{
    const bool clamps = act == K_CLAMP;
    const float low = clamps          ? (float)reel__number_f64(a[0])
                      : act == K_NONE ? -INFINITY
                                      : 0;
    const float high = clamps           ? (float)reel__number_f64(a[1])
                       : act == K_RELU6 ? 6
                                        : INFINITY;
    const int32_t p = reel__int8_on(g, low), q = reel__int8_on(g, high);
    return p < q ? (reel__int8_bounds){p, q} : (reel__int8_bounds){q, p};
}

#endif
