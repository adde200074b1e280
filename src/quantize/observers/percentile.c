/* percentile.c: a range that leaves out the few values that lie farthest out. */
#include <math.h>

#include "base/option.h"
#include "quantize/observers/histogram.h"

static reel_status check(void *opts)
{
    reel_percentile_opts *o = opts;
    if (!REEL__KNOWN("percentile", o)) return reel_error_status();
    o->percentile = reel__option(o->percentile, 99.99);
    if (o->percentile > 50 && o->percentile <= 100) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "percentile: %g, expected above 50, up to 100",
                     o->percentile);
}

/* The value that `beyond` of the counts lie beyond, on the side of sign; within a bin by
 * proportion. Of magnitudes: those of both sides. */
static double quantile(const reel__histogram *h, double beyond, int sign, bool magnitudes)
{
    double sum = 0;
    for (int at = REEL__BINS_A_SIDE; at >= 0; at--) {
        double n = h->count[REEL__BIN_ZERO + sign * at];
        if (magnitudes && at > 0) n += h->count[REEL__BIN_ZERO - sign * at];
        if (sum + n <= beyond || n == 0) {
            sum += n;
            continue;
        }
        reel__range b = reel__bin(REEL__BIN_ZERO + at);
        return sign * (b.high - (b.high - b.low) * (beyond - sum) / n);
    }
    return 0;
}

static reel__range choose(const void *opts, const reel__histogram *h,
                          reel_quantize_grid grid)
{
    const reel_percentile_opts *o = opts;
    double beyond = h->total * (1 - o->percentile / 100);
    if (grid.symmetric) {
        double most = quantile(h, beyond, 1, true);
        return (reel__range){-most, most};
    }
    return (reel__range){quantile(h, beyond, -1, false), quantile(h, beyond, 1, false)};
}

static reel_status range(const void *opts, const reel_observer_slot *slot,
                         reel_tensor **low, reel_tensor **high)
{
    return reel__histogram_ranges(opts, slot, choose, low, high);
}

const reel_observer_kind *reel_observer_percentile(void)
{
    static const reel_observer_kind kind = {.name = "percentile",
                                            .opts_size = sizeof(reel_percentile_opts),
                                            REEL__HISTOGRAM_STATES,
                                            .check = check,
                                            .range = range};
    return &kind;
}
