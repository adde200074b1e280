/* usual.h: the statistics and factors for which normalization in f32 arithmetic is enough.
 * Beyond them squares and products vanish or overflow, and loops in f64 take over. NaN is
 * as good in one as in the other. */
#ifndef REEL_BACKEND_CPU_USUAL_H
#define REEL_BACKEND_CPU_USUAL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Below it a square that vanished may count beside eps. */
#define REEL_LEAST_EPS 1e-30
/* Far from the end of f32. */
#define REEL_MOST_USUAL 1e30
/* Of 1 / deviation. */
#define REEL_LEAST_INVSTD 1e-10
#define REEL_MOST_INVSTD 1e10

static inline bool reel__is_usual(double value)
{
    return !(fabs(value) > REEL_MOST_USUAL);
}

static inline bool reel__is_usual_invstd(double invstd)
{
    return !(invstd < REEL_LEAST_INVSTD || invstd > REEL_MOST_INVSTD);
}

/* The bits of |value|: in the order of the values, NaN last. */
static inline int64_t reel__magnitude_bits(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & INT64_MAX;
}

/* Whether each value is NaN or has a magnitude in [least, most]. A difference of bits has the
 * sign of a comparison: so the loop is vectors, whatever the instruction set. */
static inline bool reel__all_within(const double *values, int64_t n, double least,
                                    double most)
{
    const int64_t low = reel__magnitude_bits(least), high = reel__magnitude_bits(most);
    const int64_t nan = reel__magnitude_bits(INFINITY) + 1;
    int64_t beyond = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t bits = reel__magnitude_bits(values[i]);
        beyond |= ((bits - low) | (high - bits)) & (bits - nan);
    }
    return beyond >= 0;
}

/* Whether each value is a number and not an infinity. */
static inline bool reel__all_finite(const double *values, int64_t n)
{
    const int64_t infinity = reel__magnitude_bits(INFINITY);
    int64_t finite = -1;
    for (int64_t i = 0; i < n; i++) finite &= reel__magnitude_bits(values[i]) - infinity;
    return finite < 0;
}

#endif
