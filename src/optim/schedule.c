/* schedule.c: setting the rates of an optimizer step by step; schedules.c has the formulas. */
#include "optim/schedule.h"

#include <math.h>

#include "base/alloc.h"

reel_schedule *reel__schedule_new(const char *who, reel_optim *optim, reel__rate_fn rate)
{
    if (!optim) reel_fail(REEL_ERR_ARG, "%s: the optimizer is NULL", who);
    if (reel_failed()) return NULL;
    reel_schedule *s = reel__calloc(1, sizeof *s);
    if (!s) return NULL;
    s->optim = optim;
    s->n = reel_optim_groups(optim);
    s->rate = rate;
    s->base = reel__calloc((size_t)s->n, sizeof *s->base);
    for (int i = 0; s->base && i < s->n; i++) s->base[i] = reel_optim_lr(optim, i);
    if (!reel_failed()) return s;
    reel_schedule_free(s);
    return NULL;
}

static reel_status set_rates(reel_schedule *s)
{
    reel_status st = REEL_OK;
    for (int i = 0; i < s->n && !st; i++)
        st = reel_optim_set_lr(s->optim, i, s->rate(s, s->base[i], s->t));
    return st;
}

reel_schedule *reel__schedule_start(reel_schedule *s)
{
    if (s && !set_rates(s)) return s;
    reel_schedule_free(s);
    return NULL;
}

reel_status reel_schedule_step(reel_schedule *schedule)
{
    if (!schedule) return reel_fail(REEL_ERR_ARG, "schedule_step: the schedule is NULL");
    if (reel_failed()) return reel_error_status();
    if (reel_capturing())
        return reel_fail(
            REEL_ERR_STATE,
            "schedule_step: a step is being captured as a graph, in which the "
            "count would stand still; call it after reel_step_run()");
    schedule->t++;
    return set_rates(schedule);
}

int64_t reel_schedule_count(const reel_schedule *schedule)
{
    return schedule ? schedule->t : -1;
}

double reel_schedule_at(const reel_schedule *schedule, int group, int64_t t)
{
    if (schedule && group >= 0 && group < schedule->n && t >= 0)
        return schedule->rate(schedule, schedule->base[group], t);
    reel_fail(REEL_ERR_ARG, "schedule_at: there is no group %d, or t %lld is below 0",
              group, (long long)t);
    return NAN;
}

void reel_schedule_free(reel_schedule *schedule)
{
    if (!schedule) return;
    reel_schedule_free(schedule->after);
    reel__free(schedule->milestones);
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
    if (!have("schedule_state", schedule, map)) return reel_error_status();
    reel_scope s = reel_scope_begin();
    reel_tensor *t = reel_from(&schedule->t, REEL_SCALAR, REEL_I64);
    reel_tensor *base = reel_from(schedule->base, REEL_SHAPE(schedule->n), REEL_F64);
    if (t && base && !reel_tensor_map_set(map, "step", t))
        reel_tensor_map_set(map, "base_lr", base);
    reel_scope_end(s);
    return reel_error_status();
}

/* The schedule inside a warm-up has the same base rates. */
static void set_base(reel_schedule *s, const double *base)
{
    for (; s; s = s->after)
        for (int i = 0; i < s->n; i++) s->base[i] = base[i];
}

reel_status reel_schedule_load_state(reel_schedule *schedule, const reel_tensor_map *map)
{
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
    if (rates && step >= 0 && !reel_read(base, rates, REEL_F64)) {
        schedule->t = step;
        set_base(schedule, rates);
        set_rates(schedule);
    } else if (step < 0) {
        reel_fail(REEL_ERR_ARG, "schedule_load_state: step %lld, expected 0 or more",
                  (long long)step);
    }
    reel__free(rates);
    return reel_error_status();
}
