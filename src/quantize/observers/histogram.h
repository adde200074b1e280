/* histogram.h (internal): what values were seen, in bins that no value is too large for.
 *
 * A bin is what floats have in common in sign, exponent and the first five bits behind the point:
 * 32 for each power of two, from 2^-32 to 2^32. So one huge value does not make the bins of the
 * others wide, nothing is ever sorted anew, and batches count in any order. */
#ifndef REEL_QUANTIZE_HISTOGRAM_H
#define REEL_QUANTIZE_HISTOGRAM_H

#include <reel/quantize.h>

enum {
    REEL__BINS_A_SIDE = 2048,
    REEL__BIN_ZERO = REEL__BINS_A_SIDE, /* what is nearer to 0 than 2^-32 */
    REEL__BINS = 2 * REEL__BINS_A_SIDE + 1
};

/* The states of every kind that counts, and what else is the same for all. */
#define REEL__HISTOGRAM_STATES                                                           \
    .n_state = 3,                                                                        \
    .state = {{.name = "counts", .size = REEL__BINS, .wide = true},                      \
              {.name = "min", .initial = INFINITY},                                      \
              {.name = "max", .initial = -INFINITY}},                                    \
    .reads = true, .see = reel__histogram_see

/* Of one channel. */
typedef struct reel__histogram {
    const double *count; /* [REEL__BINS], from the lowest value to the highest */
    double total;        /* of all counts */
    double min, max;     /* of the values */
} reel__histogram;
typedef struct reel__range {
    double low, high;
} reel__range;

reel_status reel__histogram_see(const void *opts, const reel_observer_slot *slot,
                                reel_tensor *x);
/* Where bin i begins and ends, as values. */
reel__range reel__bin(int i);
/* The ranges of all channels, each found by `choose`. */
reel_status reel__histogram_ranges(const void *opts, const reel_observer_slot *slot,
                                   reel__range (*choose)(const void *opts,
                                                         const reel__histogram *h,
                                                         reel_quantize_grid grid),
                                   reel_tensor **low, reel_tensor **high);

#endif
