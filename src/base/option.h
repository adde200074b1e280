/* option.h: what an option says. The only place that knows what 0 and REEL_ZERO mean
 * (docs/adr/0022). Resolve an option once, where it is used: what is handed on to a function
 * that resolves it itself is handed on as it is. */
#ifndef REEL_BASE_OPTION_H
#define REEL_BASE_OPTION_H

#include <reel/base.h>

static inline double reel__option(double value, double fallback)
{
    return value == 0 ? fallback : value == REEL_ZERO ? 0.0 : value;
}

static inline int reel__option_int(int value, int fallback)
{
    return value == 0 ? fallback : value == REEL_ZERO_INT ? 0 : value;
}

#endif
