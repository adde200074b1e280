/* min_max.c: ranges from the smallest and the largest value, by operators alone, so that a step
 * of training that is captured holds them. */
#include <math.h>

#include "base/option.h"
#include <reel/quantize.h>

enum { MIN, MAX, N_STATE };

#define STATES                                                                           \
    .n_state = N_STATE, .state = {[MIN] = {.name = "min", .initial = INFINITY},          \
                                  [MAX] = {.name = "max", .initial = -INFINITY}}

/* Smallest and largest of x, and whether both are numbers. */
typedef struct extremes {
    reel_tensor *at[N_STATE], *finite;
} extremes;
static extremes extremes_of(const reel_observer_slot *slot, reel_tensor *x)
{
    extremes e = {{reel_min(x, slot->dims, false), reel_max(x, slot->dims, false)}, NULL};
    for (int i = 0; i < N_STATE; i++) e.at[i] = reel_cast(e.at[i], REEL_F32);
    e.finite = reel_logical_and(reel_isfinite(e.at[MIN]), reel_isfinite(e.at[MAX]));
    return e;
}

/* The new state, but where x is not finite. */
static reel_status keep(const reel_observer_slot *slot, const extremes *e,
                        reel_tensor *const now[N_STATE])
{
    for (int i = 0; i < N_STATE; i++)
        reel_copy_(slot->state[i], reel_where(e->finite, now[i], slot->state[i]));
    return reel_error_status();
}

static reel_status range(const void *opts, const reel_observer_slot *slot,
                         reel_tensor **low, reel_tensor **high)
{
    (void)opts;
    *low = slot->state[MIN];
    *high = slot->state[MAX];
    return reel_error_status();
}

/* ---- so far ------------------------------------------------------------------------------------ */

static reel_status see_min_max(const void *opts, const reel_observer_slot *slot,
                               reel_tensor *x)
{
    (void)opts;
    extremes e = extremes_of(slot, x);
    reel_tensor *const now[] = {reel_minimum(slot->state[MIN], e.at[MIN]),
                                reel_maximum(slot->state[MAX], e.at[MAX])};
    return keep(slot, &e, now);
}

const reel_observer_kind *reel_observer_min_max(void)
{
    static const reel_observer_kind kind = {
        .name = "min_max", STATES, .see = see_min_max, .range = range};
    return &kind;
}

/* ---- lately ------------------------------------------------------------------------------------ */

static reel_status check_rate(void *opts)
{
    reel_moving_average_opts *o = opts;
    if (!REEL__KNOWN("moving_average", o)) return reel_error_status();
    o->rate = reel__option(o->rate, 0.01);
    if (o->rate > 0 && o->rate <= 1) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "moving_average: rate %g, expected above 0, up to 1",
                     o->rate);
}

static reel_status see_moving_average(const void *opts, const reel_observer_slot *slot,
                                      reel_tensor *x)
{
    const reel_moving_average_opts *o = opts;
    extremes e = extremes_of(slot, x);
    reel_tensor *now[N_STATE];
    for (int i = 0; i < N_STATE; i++)
        now[i] = reel_where(reel_isfinite(slot->state[i]),
                            reel_lerp(slot->state[i], e.at[i], o->rate), e.at[i]);
    return keep(slot, &e, now);
}

const reel_observer_kind *reel_observer_moving_average(void)
{
    static const reel_observer_kind kind = {.name = "moving_average",
                                            .opts_size = sizeof(reel_moving_average_opts),
                                            STATES,
                                            .check = check_rate,
                                            .see = see_moving_average,
                                            .range = range};
    return &kind;
}
