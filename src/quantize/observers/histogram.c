#include "quantize/observers/histogram.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum { COUNTS, MIN, MAX };
/* Bits of a float below those that tell bins apart; bits above them of the first bin, 2^-32. */
enum { DROPPED = 23 - 5, FIRST = (127 - 32) << 5 };

static int bin_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int at = (int)((bits & 0x7fffffffu) >> DROPPED) - FIRST;
    if (at < 0) return REEL__BIN_ZERO;
    if (at >= REEL__BINS_A_SIDE) at = REEL__BINS_A_SIDE - 1;
    return bits >> 31 ? REEL__BIN_ZERO - 1 - at : REEL__BIN_ZERO + 1 + at;
}

/* 2^-32 (1 + at / 32 ...) */
static double edge(int at)
{
    return ldexp(1 + (at & 31) / 32.0, (at >> 5) - 32);
}

reel__range reel__bin(int i)
{
    if (i == REEL__BIN_ZERO) return (reel__range){0, 0};
    int at = i > REEL__BIN_ZERO ? i - REEL__BIN_ZERO - 1 : REEL__BIN_ZERO - 1 - i;
    double a = edge(at), b = edge(at + 1);
    return i > REEL__BIN_ZERO ? (reel__range){a, b} : (reel__range){-b, -a};
}

/* ---- counting ---------------------------------------------------------------------------------- */

/* States as they are on the host. */
typedef struct tally {
    int64_t channels;
    double *count, *min, *max; /* [channels, REEL__BINS], [channels] */
} tally;

static bool read_tally(const reel_observer_slot *slot, tally *t)
{
    t->channels = slot->channels ? slot->channels : 1;
    size_t k = (size_t)t->channels;
    t->count = reel__malloc(k * (REEL__BINS + 2) * sizeof *t->count);
    if (!t->count) return false;
    t->min = t->count + k * REEL__BINS;
    t->max = t->min + k;
    return !reel_read(slot->state[COUNTS], t->count, REEL_F64) &&
           !reel_read(slot->state[MIN], t->min, REEL_F64) &&
           !reel_read(slot->state[MAX], t->max, REEL_F64);
}

static void write_state(reel_tensor *state, const double *x)
{
    reel_copy_(state, reel_from(x, reel_shape_of(state), REEL_F64));
}

static void count(tally *t, int64_t k, float x)
{
    if (!isfinite(x)) return;
    t->count[k * REEL__BINS + bin_of(x)]++;
    if (x < t->min[k]) t->min[k] = x;
    if (x > t->max[k]) t->max[k] = x;
}

/* Values that follow one another along x's last dimension of one channel. */
static int64_t run_length(const reel_observer_slot *slot, reel_tensor *x)
{
    reel_shape s = reel_shape_of(x);
    int64_t inner = 1;
    bool is_channel[REEL_MAX_RANK];
    for (int d = 0; d < s.rank; d++) is_channel[d] = true;
    for (int i = 0; i < slot->dims.rank; i++) is_channel[slot->dims.dim[i]] = false;
    for (int d = s.rank - 1; d >= 0 && !is_channel[d]; d--) inner *= s.dim[d];
    return inner;
}

reel_status reel__histogram_see(const void *opts, const reel_observer_slot *slot,
                                reel_tensor *x)
{
    (void)opts;
    tally t = {0};
    int64_t n = reel_numel(x), inner = slot->channels ? run_length(slot, x) : n;
    float *all = reel__malloc((size_t)n * sizeof *all);
    if (all && read_tally(slot, &t) && !reel_read(x, all, REEL_F32)) {
        for (int64_t i = 0; i < n; i++) count(&t, i / inner % t.channels, all[i]);
        write_state(slot->state[COUNTS], t.count);
        write_state(slot->state[MIN], t.min);
        write_state(slot->state[MAX], t.max);
    }
    reel__free(t.count);
    reel__free(all);
    return reel_error_status();
}

/* ---- ranges ------------------------------------------------------------------------------------ */

static reel__histogram channel(const tally *t, int64_t k)
{
    reel__histogram h = {
        .count = t->count + k * REEL__BINS, .min = t->min[k], .max = t->max[k]};
    for (int i = 0; i < REEL__BINS; i++) h.total += h.count[i];
    return h;
}

reel_status reel__histogram_ranges(const void *opts, const reel_observer_slot *slot,
                                   reel__range (*choose)(const void *opts,
                                                         const reel__histogram *h,
                                                         reel_quantize_grid grid),
                                   reel_tensor **low, reel_tensor **high)
{
    tally t = {0};
    reel_shape shape = {.rank = slot->channels > 0, .dim = {slot->channels}};
    if (!read_tally(slot, &t)) {
        reel__free(t.count);
        return reel_error_status();
    }
    for (int64_t k = 0; k < t.channels; k++) {
        reel__histogram h = channel(&t, k);
        if (!(h.total > 0)) continue; /* it saw nothing, as its min and max say */
        reel__range r = choose(opts, &h, slot->grid);
        t.max[k] = fmin(r.high, h.max);
        t.min[k] = fmin(fmax(r.low, h.min), t.max[k]); /* of values of one sign, too */
    }
    *low = reel_cast(reel_from(t.min, shape, REEL_F64), REEL_F32);
    *high = reel_cast(reel_from(t.max, shape, REEL_F64), REEL_F32);
    reel__free(t.count);
    return reel_error_status();
}
