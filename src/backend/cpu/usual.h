/* usual.h: the statistics and factors for which normalization in f32 arithmetic is enough.
 * Beyond them squares and products vanish or overflow, and loops in f64 take over. NaN is
 * as good in one as in the other. */
#ifndef REEL_BACKEND_CPU_USUAL_H
#define REEL_BACKEND_CPU_USUAL_H

#include <math.h>
#include <stdbool.h>

/* Below it a square that vanished may count beside eps. */
#define REEL_LEAST_EPS 1e-30

/* Far from the end of f32. */
static inline bool reel__is_usual(double value)
{
    return !(fabs(value) > 1e30);
}

/* 1 / deviation. */
static inline bool reel__is_usual_invstd(double invstd)
{
    return !(invstd < 1e-10 || invstd > 1e10);
}

#endif
