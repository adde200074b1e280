/* entropy.c: the range after which the distribution of magnitudes tells least apart from what it was.
 * Source: Migacz 2017, "8-bit Inference with TensorRT", GTC: magnitudes in 2048 equal bins; for
 * each number of bins kept, what is beyond them counts for the last; the distribution P of those is
 * compared with Q, in which each level of the grid has spread its share over the bins that hold
 * something, by the divergence of Kullback and Leibler. Zeros are exact in every grid, and do not
 * count. */
#include <math.h>
#include <string.h>

#include "quantize/observers/histogram.h"

enum { EQUAL = 2048 };

/* Magnitudes up to `most` in equal bins: what is in one of ours lies evenly in it. */
static void spread(const reel__histogram *h, double most, double bin[EQUAL])
{
    const double width = most / EQUAL;
    memset(bin, 0, EQUAL * sizeof *bin);
    for (int at = 1; at <= REEL__BINS_A_SIDE; at++) {
        double n = h->count[REEL__BIN_ZERO + at] + h->count[REEL__BIN_ZERO - at];
        reel__range b = reel__bin(REEL__BIN_ZERO + at);
        if (b.high > most) b.high = most;
        if (b.low >= b.high) b.low = fmax(0, b.high - width);
        for (int i = (int)(b.low / width); n > 0 && i < EQUAL && i * width < b.high;
             i++) {
            double from = fmax(b.low, i * width), to = fmin(b.high, (i + 1) * width);
            bin[i] += n * fmax(0, to - from) / (b.high - b.low);
        }
    }
}

/* Q of one level, which is bins a .. b-1, beside P: its part of the divergence. */
static double level(const double *bin, int a, int b, int last, double tail, double total)
{
    double sum = 0, part = 0;
    int held = 0;
    for (int i = a; i < b; i++) {
        sum += bin[i];
        held += bin[i] > 0;
    }
    for (int i = a; i < b; i++) {
        double p = (bin[i] + (i == last ? tail : 0)) / total;
        double q = bin[i] > 0 ? sum / held / (total - tail) : 0;
        if (p > 0) part += p * log(p / fmax(q, 1e-12));
    }
    return part;
}

static double divergence(const double *bin, int kept, int levels, double inside,
                         double total)
{
    double sum = 0;
    for (int k = 0; k < levels; k++)
        sum += level(bin, (int)((int64_t)kept * k / levels),
                     (int)((int64_t)kept * (k + 1) / levels), kept - 1, total - inside,
                     total);
    return sum;
}

static reel__range choose(const void *opts, const reel__histogram *h,
                          reel_quantize_grid grid)
{
    double bin[EQUAL], most = fmax(-h->min, h->max), least = INFINITY, inside = 0,
                       total = 0;
    const bool both = grid.symmetric || (h->min < 0 && h->max > 0);
    const int steps = grid.high - grid.low, levels = both ? steps / 2 : steps;
    int best = EQUAL;
    (void)opts;
    if (!(most > 0) || levels < 1 || levels >= EQUAL)
        return (reel__range){h->min, h->max};
    spread(h, most, bin);
    for (int i = 0; i < EQUAL; i++) total += bin[i];
    for (int i = 0; i < levels - 1; i++) inside += bin[i];
    for (int kept = levels; kept <= EQUAL; kept++) {
        inside += bin[kept - 1];
        if (!(inside > 0)) continue;
        double d = divergence(bin, kept, levels, inside, total);
        if (d < least) {
            least = d;
            best = kept;
        }
    }
    most *= (double)best / EQUAL;
    return (reel__range){-most, most};
}

static reel_status range(const void *opts, const reel_observer_slot *slot,
                         reel_tensor **low, reel_tensor **high)
{
    return reel__histogram_ranges(opts, slot, choose, low, high);
}

const reel_observer_kind *reel_observer_entropy(void)
{
    static const reel_observer_kind kind = {
        .name = "entropy", REEL__HISTOGRAM_STATES, .range = range};
    return &kind;
}
