/* option.h: what an option says. The only place that knows what 0 and REEL_ZERO mean
 * (docs/adr/0022). Resolve an option once, where it is used: what is handed on to a function
 * that resolves it itself is handed on as it is. */
#ifndef REEL_BASE_OPTION_H
#define REEL_BASE_OPTION_H

#include <stddef.h>

#include <reel/base.h>

static inline double reel__option(double value, double fallback)
{
    return value == 0 ? fallback : value == REEL_ZERO ? 0.0 : value;
}

/* What an option is to say for `value`. */
static inline double reel__option_of(double value)
{
    return value == 0 ? REEL_ZERO : value;
}

static inline int reel__option_int(int value, int fallback)
{
    return value == 0 ? fallback : value == REEL_ZERO_INT ? 0 : value;
}

/* ---- structs from outside -------------------------------------------------------------------- */

/* The options that a function of the user's got: `given`, or zeros for NULL. NULL, with an error
 * of `who`, if they say what this version does not know. */
#define REEL__OPTS(who, type, given)                                                     \
    ((const type *)reel__opts(who, 1 ? (given) : (const type *)NULL, sizeof(type),       \
                              offsetof(type, future)))
const void *reel__opts(const char *who, const void *given, size_t size, size_t future);

/* The same of a struct that is not optional, such as a table of functions. Where it is refused no
 * member is looked at, those that are taken over neither: they may be anything. */
#define REEL__KNOWN(who, given) reel__future_known(who, (given)->future)
bool reel__future_known(const char *who, const uint64_t *future);

#endif
