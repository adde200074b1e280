/* mse.c: the range with the smallest mean square of what quantizing changes: half a step or less
 * inside, s^2 / 12 on average, all that is cut off outside. */
#include <math.h>

#include "quantize/observers/histogram.h"

/* Sums over all bins below number i, so that a range is a difference. */
typedef struct sums {
    double n[REEL__BINS + 1], x[REEL__BINS + 1], square[REEL__BINS + 1];
} sums;

/* Of a bin's values; the end bins hold what is beyond them. */
static double middle(const reel__histogram *h, int i)
{
    reel__range b = reel__bin(i);
    if (i == 0) b.low = fmin(b.high, h->min);
    if (i == REEL__BINS - 1) b.high = fmax(b.low, h->max);
    return (fmax(b.low, h->min) + fmin(b.high, h->max)) / 2;
}

static void add_up(const reel__histogram *h, sums *s)
{
    for (int i = 0; i < REEL__BINS; i++) {
        double n = h->count[i], x = n > 0 ? middle(h, i) : 0;
        s->n[i + 1] = s->n[i] + n;
        s->x[i + 1] = s->x[i] + n * x;
        s->square[i + 1] = s->square[i] + n * x * x;
    }
}

/* Sum of (x - edge)^2 over bins a .. b-1. */
static double off(const sums *s, int a, int b, double edge)
{
    return s->square[b] - s->square[a] - 2 * edge * (s->x[b] - s->x[a]) +
           edge * edge * (s->n[b] - s->n[a]);
}

/* The first bin that does not begin below x. */
static int first_above(double x)
{
    int low = 0, high = REEL__BINS;
    while (low < high) {
        int mid = low + (high - low) / 2;
        if (reel__bin(mid).low < x)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* A range is that of bins a .. b-1, a <= zero < b. */
static double error_of(const sums *s, int a, int b, int steps)
{
    double low = a < REEL__BIN_ZERO ? reel__bin(a).low : 0,
           high = b > REEL__BIN_ZERO + 1 ? reel__bin(b - 1).high : 0;
    double step = (high - low) / steps;
    int from = first_above(-step / 2), to = first_above(step / 2);
    if (from < a) from = a;
    if (to > b) to = b;
    double rounded = s->n[b] - s->n[a] - (s->n[to] - s->n[from]);
    return rounded * step * step / 12 + off(s, from, to, 0) + off(s, 0, a, low) +
           off(s, b, REEL__BINS, high);
}

typedef struct ends {
    int a, b;
} ends;

/* Both ends by turns, each the best for the other: a few turns do. */
static ends best_ends(const sums *s, ends e, int steps)
{
    for (int turn = 0; turn < 6; turn++) {
        ends best = e;
        double least = error_of(s, e.a, e.b, steps);
        for (int at = 0; at <= REEL__BINS_A_SIDE; at++) {
            ends t = e;
            if (turn % 2)
                t.a = REEL__BIN_ZERO - at;
            else
                t.b = REEL__BIN_ZERO + 1 + at;
            double error = error_of(s, t.a, t.b, steps);
            if (t.b - t.a > 1 && error < least) {
                least = error;
                best = t;
            }
        }
        e = best;
    }
    return e;
}

static ends best_magnitude(const sums *s, int steps)
{
    ends best = {0, REEL__BINS};
    double least = error_of(s, best.a, best.b, steps);
    for (int at = 1; at < REEL__BINS_A_SIDE; at++) {
        ends t = {REEL__BIN_ZERO - at, REEL__BIN_ZERO + 1 + at};
        double error = error_of(s, t.a, t.b, steps);
        if (error < least) {
            least = error;
            best = t;
        }
    }
    return best;
}

static reel__range choose(const void *opts, const reel__histogram *h,
                          reel_quantize_grid grid)
{
    sums s;
    (void)opts;
    s.n[0] = s.x[0] = s.square[0] = 0;
    add_up(h, &s);
    ends all = {h->min < 0 ? first_above(h->min) : REEL__BIN_ZERO,
                h->max > 0 ? first_above(h->max) : REEL__BIN_ZERO + 1};
    if (all.a > 0) all.a--;
    if (all.a > REEL__BIN_ZERO) all.a = REEL__BIN_ZERO;
    if (all.b <= REEL__BIN_ZERO) all.b = REEL__BIN_ZERO + 1;
    ends e = grid.symmetric ? best_magnitude(&s, grid.high * 2)
                            : best_ends(&s, all, grid.high - grid.low);
    return (reel__range){e.a < REEL__BIN_ZERO ? reel__bin(e.a).low : 0,
                         e.b > REEL__BIN_ZERO + 1 ? reel__bin(e.b - 1).high : 0};
}

static reel_status range(const void *opts, const reel_observer_slot *slot,
                         reel_tensor **low, reel_tensor **high)
{
    return reel__histogram_ranges(opts, slot, choose, low, high);
}

const reel_observer_kind *reel_observer_mse(void)
{
    static const reel_observer_kind kind = {
        .name = "mse", REEL__HISTOGRAM_STATES, .range = range};
    return &kind;
}
