/* draw.h: orders drawn from a stream of random numbers. */
#ifndef REEL_DATA_DRAW_H
#define REEL_DATA_DRAW_H

#include <reel/data.h>

/* 0 .. n-1 in an order that is uniform among all (Fisher-Yates); n below 2^32. */
void reel__shuffled(reel_draw *d, int64_t *order, int64_t n);

#endif
