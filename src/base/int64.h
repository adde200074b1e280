/* int64.h: small arithmetic on sizes. */
#ifndef REEL_BASE_INT64_H
#define REEL_BASE_INT64_H

#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a / b upward; neither is negative, b is not 0. */
static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
