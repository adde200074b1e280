/* schedules.c: formulas of the schedules, as torch.optim.lr_scheduler's. */
#include <math.h>

#include "base/alloc.h"
#include "optim/schedule.h"

static const double PI = 3.14159265358979323846;

static bool good(const char *who, bool ok, const char *expected)
{
    if (!ok) reel_fail(REEL_ERR_ARG, "%s: expected %s", who, expected);
    return ok;
}

/* ---- constant, step, multistep --------------------------------------------------------- */

static double constant_rate(const reel_schedule *s, double base, int64_t t)
{
    (void)s;
    (void)t;
    return base;
}

reel_schedule *reel_schedule_constant(reel_optim *optim)
{
    return reel__schedule_start(
        reel__schedule_new("schedule_constant", optim, constant_rate));
}

static double step_rate(const reel_schedule *s, double base, int64_t t)
{
    return base * pow(s->a, (double)(t / s->steps));
}

reel_schedule *reel_schedule_step_decay(reel_optim *optim, int64_t every, double gamma)
{
    if (!good("schedule_step_decay", every >= 1 && gamma >= 0, "every >= 1, gamma >= 0"))
        return NULL;
    reel_schedule *s = reel__schedule_new("schedule_step_decay", optim, step_rate);
    if (!s) return NULL;
    s->steps = every;
    s->a = gamma;
    return reel__schedule_start(s);
}

static double multistep_rate(const reel_schedule *s, double base, int64_t t)
{
    int passed = 0;
    while (passed < s->n_milestones && s->milestones[passed] <= t) passed++;
    return base * pow(s->a, passed);
}

reel_schedule *reel_schedule_multistep(reel_optim *optim, const int64_t *milestones,
                                       int n, double gamma)
{
    bool ok = n >= 0 && (milestones || n == 0) && gamma >= 0;
    for (int i = 1; i < n && ok; i++) ok = milestones[i - 1] < milestones[i];
    if (!good("schedule_multistep", ok, "milestones that ascend, gamma >= 0"))
        return NULL;
    reel_schedule *s = reel__schedule_new("schedule_multistep", optim, multistep_rate);
    if (!s) return NULL;
    s->a = gamma;
    s->milestones = reel__calloc((size_t)n, sizeof *s->milestones);
    if (s->milestones) s->n_milestones = n;
    for (int i = 0; i < s->n_milestones; i++) s->milestones[i] = milestones[i];
    return reel__schedule_start(s);
}

/* ---- cosine, linear -------------------------------------------------------------------- */

static double cosine_rate(const reel_schedule *s, double base, int64_t t)
{
    double x = t < s->steps ? (double)t / (double)s->steps : 1;
    return s->a + (base - s->a) * (1 + cos(PI * x)) / 2;
}

reel_schedule *reel_schedule_cosine(reel_optim *optim, int64_t steps, double low)
{
    if (!good("schedule_cosine", steps >= 1 && low >= 0, "steps >= 1, low >= 0"))
        return NULL;
    reel_schedule *s = reel__schedule_new("schedule_cosine", optim, cosine_rate);
    if (!s) return NULL;
    s->steps = steps;
    s->a = low;
    return reel__schedule_start(s);
}

static double linear_rate(const reel_schedule *s, double base, int64_t t)
{
    double x = t < s->steps ? (double)t / (double)s->steps : 1;
    return base * (s->a + (s->b - s->a) * x);
}

reel_schedule *reel_schedule_linear(reel_optim *optim, double start, double end,
                                    int64_t steps)
{
    if (!good("schedule_linear", steps >= 1 && start >= 0 && end >= 0,
              "steps >= 1, start >= 0, end >= 0"))
        return NULL;
    reel_schedule *s = reel__schedule_new("schedule_linear", optim, linear_rate);
    if (!s) return NULL;
    s->steps = steps;
    s->a = start;
    s->b = end;
    return reel__schedule_start(s);
}

/* ---- one cycle ------------------------------------------------------------------------- */

static double anneal(const reel_schedule *s, double from, double to, double x)
{
    if (s->cycle.linear) return from + (to - from) * x;
    return to + (from - to) / 2 * (1 + cos(PI * x));
}

/* The top is at `warmup * steps - 1`, which need not be whole; the bottom at steps - 1. */
static double one_cycle_rate(const reel_schedule *s, double base, int64_t t)
{
    (void)base;
    double high = s->a, first = high / s->cycle.div, last = first / s->cycle.final_div;
    double top = s->cycle.warmup * (double)s->steps - 1, bottom = (double)s->steps - 1;
    double x = fmin((double)t, bottom);
    if (top > 0 && x <= top) return anneal(s, first, high, x / top);
    return anneal(s, high, last, bottom > top ? (x - top) / (bottom - top) : 1);
}

reel_schedule *reel_schedule_one_cycle(reel_optim *optim, double max_lr, int64_t steps,
                                       const reel_one_cycle_opts *opts)
{
    reel_one_cycle_opts o = opts ? *opts : (reel_one_cycle_opts){0};
    if (o.warmup == 0) o.warmup = 0.3;
    if (o.div == 0) o.div = 25;
    if (o.final_div == 0) o.final_div = 1e4;
    bool ok = max_lr > 0 && steps >= 1 && o.warmup > 0 && o.warmup <= 1 && o.div > 0 &&
              o.final_div > 0;
    if (!good("schedule_one_cycle", ok,
              "max_lr > 0, steps >= 1, 0 < warmup <= 1, divisors > 0"))
        return NULL;
    reel_schedule *s = reel__schedule_new("schedule_one_cycle", optim, one_cycle_rate);
    if (!s) return NULL;
    s->a = max_lr;
    s->steps = steps;
    s->cycle = o;
    return reel__schedule_start(s);
}

/* ---- warm-up --------------------------------------------------------------------------- */

static double warmup_rate(const reel_schedule *s, double base, int64_t t)
{
    if (t >= s->steps) return s->after->rate(s->after, base, t - s->steps);
    return base * (s->a + (1 - s->a) * (double)t / (double)s->steps);
}

reel_schedule *reel_schedule_warmup(reel_schedule *after, int64_t steps, double start)
{
    bool ok = after && steps >= 0 && start >= 0;
    reel_schedule *s = NULL;
    if (good("schedule_warmup", ok, "a schedule, steps >= 0, start >= 0"))
        s = reel__schedule_new("schedule_warmup", after->optim, warmup_rate);
    if (!s) {
        reel_schedule_free(after);
        return NULL;
    }
    if (s->n > after->n)
        s->n = after->n; /* groups that were added since stay as they are */
    for (int i = 0; i < s->n; i++) s->base[i] = after->base[i];
    s->steps = steps;
    s->a = start;
    s->after = after;
    return reel__schedule_start(s);
}
