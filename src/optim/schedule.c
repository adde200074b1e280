/* schedule.c: setting the rates of an optimizer step by step; schedules.c has the formulas. */
#include "optim/schedule.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"

static bool is_kind(const reel_schedule_kind *kind)
{
    if (!kind || !kind->name || !kind->rate)
        reel_fail(REEL_ERR_ARG, "schedule_new: the %s is NULL",
                  !kind        ? "kind"
                  : kind->name ? "kind's rate"
                               : "kind's name");
    else if (!kind->state != !kind->load_state)
        reel_fail(REEL_ERR_ARG, "schedule_new: %s has a %s but no %s", kind->name,
                  kind->state ? "state" : "load_state",
                  kind->state ? "load_state" : "state");
    return !reel_failed();
}

/* Without rates. */
static reel_schedule *make(reel_optim *optim, const reel_schedule_kind *kind)
{
    reel_schedule *s = reel__calloc(1, sizeof *s);
    if (!s) return NULL;
    s->optim = optim;
    s->kind = kind;
    s->n = reel_optim_groups(optim);
    s->base = reel__calloc((size_t)s->n, sizeof *s->base);
    for (int i = 0; s->base && i < s->n; i++) s->base[i] = reel_optim_lr(optim, i);
    return s;
}

static double rate_at(const reel_schedule *s, int group, int64_t t)
{
    double rate = s->kind->rate(s->user, s->base[group], t);
    if (rate >= 0) return rate;
    reel_fail(REEL_ERR_ARG, "%s: the rate at step %lld is %g, expected 0 or more",
              s->kind->name, (long long)t, rate);
    return NAN;
}

static reel_status set_rates(reel_schedule *s)
{
    for (int i = 0; i < s->n && !reel_failed(); i++) {
        double rate = rate_at(s, i, s->t);
        if (!reel_failed()) reel_optim_set_lr(s->optim, i, rate);
    }
    return reel_error_status();
}

/* `like`: its base rates are taken, of the groups that it knows; or NULL. */
static reel_schedule *start(reel_optim *optim, const reel_schedule_kind *kind, void *user,
                            const reel_schedule *like)
{
    reel_schedule *s = NULL;
    if (kind && !REEL__KNOWN("schedule_new", kind)) return NULL;
    if (is_kind(kind) && !optim)
        reel_fail(REEL_ERR_ARG, "%s: the optimizer is NULL", kind->name);
    if (!reel_failed()) s = make(optim, kind);
    if (s)
        s->user = user;
    else if (kind && kind->free_user)
        kind->free_user(user);
    if (s && like && s->n > like->n) s->n = like->n;
    for (int i = 0; s && like && s->base && i < s->n; i++) s->base[i] = like->base[i];
    if (s && !reel_failed() && !set_rates(s)) return s;
    reel_schedule_free(s);
    return NULL;
}

reel_schedule *reel_schedule_new(reel_optim *optim, const reel_schedule_kind *kind,
                                 void *user)
{
    REEL__CALLED;
    return start(optim, kind, user, NULL);
}

reel_schedule *reel__schedule_over(const reel_schedule *inner,
                                   const reel_schedule_kind *kind, void *user)
{
    return start(inner->optim, kind, user, inner);
}

reel_status reel_schedule_step(reel_schedule *schedule)
{
    REEL__CALLED;
    if (!schedule) return reel_fail(REEL_ERR_ARG, "schedule_step: the schedule is NULL");
    if (reel_failed()) return reel_error_status();
    if (reel_capturing())
        return reel_fail(
            REEL_ERR_STATE,
            "schedule_step: a step is being captured as a graph, in which the "
            "count would stand still; call it after reel_compiled_run()");
    schedule->t++;
    return set_rates(schedule);
}

int64_t reel_schedule_count(const reel_schedule *schedule)
{
    return schedule ? schedule->t : -1;
}

double reel_schedule_at(const reel_schedule *schedule, int group, int64_t t)
{
    REEL__CALLED;
    if (schedule && group >= 0 && group < schedule->n && t >= 0)
        return rate_at(schedule, group, t);
    reel_fail(REEL_ERR_ARG, "schedule_at: there is no group %d, or t %lld is below 0",
              group, (long long)t);
    return NAN;
}

void reel_schedule_free(reel_schedule *schedule)
{
    if (!schedule) return;
    if (schedule->kind->free_user) schedule->kind->free_user(schedule->user);
    reel__free(schedule->base);
    reel__free(schedule);
}

/* ---- state --------------------------------------------------------------------------- */

static bool have(const char *who, const reel_schedule *s, const reel_tensor_map *map)
{
    if (!s || !map)
        reel_fail(REEL_ERR_ARG, "%s: the %s is NULL", who, s ? "map" : "schedule");
    return !reel_failed();
}

reel_status reel_schedule_state(reel_schedule *schedule, reel_tensor_map *map)
{
    REEL__CALLED;
    if (!have("schedule_state", schedule, map)) return reel_error_status();
    reel_scope s = reel_scope_begin();
    reel_tensor *t = reel_from(&schedule->t, REEL_SCALAR, REEL_I64);
    reel_tensor *base = reel_from(schedule->base, REEL_SHAPE(schedule->n), REEL_F64);
    if (t && base && !reel_tensor_map_set(map, "step", t))
        reel_tensor_map_set(map, "base_lr", base);
    if (!reel_failed() && schedule->kind->state) {
        REEL__CALLS_BACK;
        schedule->kind->state(schedule->user, map);
    }
    reel_scope_end(s);
    return reel_error_status();
}

reel_status reel_schedule_load_state(reel_schedule *schedule, const reel_tensor_map *map)
{
    REEL__CALLED;
    if (!have("schedule_load_state", schedule, map)) return reel_error_status();
    reel_tensor *t = reel_tensor_map_get(map, "step");
    reel_tensor *base = reel_tensor_map_get(map, "base_lr");
    if (!t || !base)
        return reel_fail(REEL_ERR_ARG, "schedule_load_state: \"%s\" is missing",
                         t ? "base_lr" : "step");
    if (reel_numel(t) != 1 || reel_numel(base) != schedule->n)
        return reel_fail(REEL_ERR_SHAPE,
                         "schedule_load_state: base rates of %lld groups, expected %d",
                         (long long)reel_numel(base), schedule->n);
    int64_t step = reel_item_i64(t);
    double *rates = reel__calloc((size_t)schedule->n, sizeof *rates);
    bool good = rates && step >= 0 && !reel_read(base, rates, REEL_F64);
    if (good && schedule->kind->load_state) {
        REEL__CALLS_BACK;
        good = !schedule->kind->load_state(schedule->user, map) && !reel_failed();
    }
    if (good) {
        schedule->t = step;
        memcpy(schedule->base, rates, (size_t)schedule->n * sizeof *rates);
        set_rates(schedule);
    } else if (step < 0) {
        reel_fail(REEL_ERR_ARG, "schedule_load_state: step %lld, expected 0 or more",
                  (long long)step);
    }
    reel__free(rates);
    return reel_error_status();
}
