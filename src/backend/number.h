/* number.h: one number that an operator takes beside its tensors. A double cannot hold every
 * int64_t and an int64_t no fraction, so it is either. Each number has one form: whole if
 * it is a whole number of 64 bits, else real (so is -0). Equal numbers are equal bytes, and
 * a struct of zeros is the number 0. */
#ifndef REEL_BACKEND_NUMBER_H
#define REEL_BACKEND_NUMBER_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct reel__number {
    int64_t is_real;
    union {
        int64_t whole;
        double real;
    };
} reel__number;

static inline reel__number reel__whole(int64_t whole)
{
    return (reel__number){.is_real = 0, .whole = whole};
}

static inline reel__number reel__real(double real)
{
    bool fits = real >= -0x1p63 && real < 0x1p63 && real == trunc(real);
    if (fits && (real != 0 || !signbit(real))) return reel__whole((int64_t)real);
    return (reel__number){.is_real = 1, .real = real};
}

/* The nearest double. */
static inline double reel__number_f64(reel__number x)
{
    return x.is_real ? x.real : (double)x.whole;
}

/* Toward zero, saturating; NaN gives 0. Whole numbers are exact. */
static inline int64_t reel__number_i64(reel__number x)
{
    if (!x.is_real) return x.whole;
    double inside = x.real > -0x1p63 && x.real < 0x1p63 ? x.real : 0;
    return x.real >= 0x1p63 ? INT64_MAX : x.real <= -0x1p63 ? INT64_MIN : (int64_t)inside;
}

static inline bool reel__number_equal(reel__number a, reel__number b)
{
    return a.is_real == b.is_real && (a.is_real ? a.real == b.real : a.whole == b.whole);
}

/* Whether they stand in this order; false if one is NaN. */
static inline bool reel__number_at_most(reel__number a, reel__number b)
{
    if (!a.is_real && !b.is_real) return a.whole <= b.whole;
    return reel__number_f64(a) <= reel__number_f64(b);
}

#endif
