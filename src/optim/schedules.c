/* schedules.c: formulas of the schedules, as torch.optim.lr_scheduler's. Each is a
 * reel_schedule_kind, as one of a program's own would be. */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "optim/schedule.h"

static const double PI = 3.14159265358979323846;

static bool good(const char *who, bool ok, const char *expected)
{
    if (!ok) reel_fail(REEL_ERR_ARG, "%s: expected %s", who, expected);
    return ok;
}

/* What the formulas need, under the names of their constructors. */
typedef struct numbers {
    int64_t steps;
    double a, b;
    int n_milestones;
    int64_t milestones[];
} numbers;

static reel_schedule *make(reel_optim *optim, const reel_schedule_kind *kind, numbers of)
{
    numbers *n = reel__malloc(sizeof *n);
    if (n) *n = of;
    return reel_schedule_new(optim, kind, n);
}

/* ---- constant, step, multistep --------------------------------------------------------- */

static double constant_rate(void *user, double base, int64_t t)
{
    (void)user;
    (void)t;
    return base;
}

static const reel_schedule_kind constant = {.name = "schedule_constant",
                                            .rate = constant_rate};

reel_schedule *reel_schedule_constant(reel_optim *optim)
{
    REEL__CALLED;
    return reel_schedule_new(optim, &constant, NULL);
}

static double step_rate(void *user, double base, int64_t t)
{
    const numbers *n = user;
    return base * pow(n->a, (double)(t / n->steps));
}

static const reel_schedule_kind step_decay = {
    .name = "schedule_step_decay", .rate = step_rate, .free_user = reel__free};

reel_schedule *reel_schedule_step_decay(reel_optim *optim, int64_t every, double gamma)
{
    REEL__CALLED;
    if (!good("schedule_step_decay", every >= 1 && gamma >= 0, "every >= 1, gamma >= 0"))
        return NULL;
    return make(optim, &step_decay, (numbers){.steps = every, .a = gamma});
}

static double multistep_rate(void *user, double base, int64_t t)
{
    const numbers *n = user;
    int passed = 0;
    while (passed < n->n_milestones && n->milestones[passed] <= t) passed++;
    return base * pow(n->a, passed);
}

static const reel_schedule_kind multistep = {
    .name = "schedule_multistep", .rate = multistep_rate, .free_user = reel__free};

reel_schedule *reel_schedule_multistep(reel_optim *optim, const int64_t *milestones,
                                       int n, double gamma)
{
    REEL__CALLED;
    bool ok = n >= 0 && (milestones || n == 0) && gamma >= 0;
    for (int i = 1; i < n && ok; i++) ok = milestones[i - 1] < milestones[i];
    if (!good("schedule_multistep", ok, "milestones that ascend, gamma >= 0"))
        return NULL;
    numbers *user = reel__malloc(sizeof *user + (size_t)n * sizeof *milestones);
    if (user) *user = (numbers){.a = gamma, .n_milestones = n};
    for (int i = 0; user && i < n; i++) user->milestones[i] = milestones[i];
    return reel_schedule_new(optim, &multistep, user);
}

/* ---- cosine, linear -------------------------------------------------------------------- */

static double cosine_rate(void *user, double base, int64_t t)
{
    const numbers *n = user;
    double x = t < n->steps ? (double)t / (double)n->steps : 1;
    return n->a + (base - n->a) * (1 + cos(PI * x)) / 2;
}

static const reel_schedule_kind cosine = {
    .name = "schedule_cosine", .rate = cosine_rate, .free_user = reel__free};

reel_schedule *reel_schedule_cosine(reel_optim *optim, int64_t steps, double low)
{
    REEL__CALLED;
    if (!good("schedule_cosine", steps >= 1 && low >= 0, "steps >= 1, low >= 0"))
        return NULL;
    return make(optim, &cosine, (numbers){.steps = steps, .a = low});
}

static double linear_rate(void *user, double base, int64_t t)
{
    const numbers *n = user;
    double x = t < n->steps ? (double)t / (double)n->steps : 1;
    return base * (n->a + (n->b - n->a) * x);
}

static const reel_schedule_kind linear = {
    .name = "schedule_linear", .rate = linear_rate, .free_user = reel__free};

reel_schedule *reel_schedule_linear(reel_optim *optim, int64_t steps, double start,
                                    double end)
{
    REEL__CALLED;
    if (!good("schedule_linear", steps >= 1 && start >= 0 && end >= 0,
              "steps >= 1, start >= 0, end >= 0"))
        return NULL;
    return make(optim, &linear, (numbers){.steps = steps, .a = start, .b = end});
}

/* ---- one cycle ------------------------------------------------------------------------- */

typedef struct one_cycle {
    reel_one_cycle_opts opts;
    double high;
    int64_t steps;
} one_cycle;

static double anneal(const one_cycle *c, double from, double to, double x)
{
    if (c->opts.linear) return from + (to - from) * x;
    return to + (from - to) / 2 * (1 + cos(PI * x));
}

/* The top is at `warmup * steps - 1`, which need not be whole; the bottom at steps - 1. */
static double one_cycle_rate(void *user, double base, int64_t t)
{
    (void)base;
    const one_cycle *c = user;
    double high = c->high, first = high / c->opts.div, last = first / c->opts.final_div;
    double top = c->opts.warmup * (double)c->steps - 1, bottom = (double)c->steps - 1;
    double x = fmin((double)t, bottom);
    if (top > 0 && x <= top) return anneal(c, first, high, x / top);
    return anneal(c, high, last, bottom > top ? (x - top) / (bottom - top) : 1);
}

static const reel_schedule_kind one_cycle_kind = {
    .name = "schedule_one_cycle", .rate = one_cycle_rate, .free_user = reel__free};

reel_schedule *reel_schedule_one_cycle(reel_optim *optim, int64_t steps, double max_lr,
                                       const reel_one_cycle_opts *opts)
{
    REEL__CALLED;
    const reel_one_cycle_opts *given =
        REEL__OPTS("schedule_one_cycle", reel_one_cycle_opts, opts);
    if (!given) return NULL;
    reel_one_cycle_opts o = *given;
    o.warmup = reel__option(o.warmup, 0.3);
    o.div = reel__option(o.div, 25);
    o.final_div = reel__option(o.final_div, 1e4);
    bool ok = max_lr > 0 && steps >= 1 && o.warmup >= 0 && o.warmup <= 1 && o.div > 0 &&
              o.final_div > 0;
    if (!good("schedule_one_cycle", ok,
              "max_lr > 0, steps >= 1, 0 <= warmup <= 1, divisors > 0"))
        return NULL;
    one_cycle *c = reel__malloc(sizeof *c);
    if (c) *c = (one_cycle){.opts = o, .high = max_lr, .steps = steps};
    return reel_schedule_new(optim, &one_cycle_kind, c);
}

/* ---- warm-up --------------------------------------------------------------------------- */

typedef struct warmup {
    reel_schedule *after;
    int64_t steps;
    double start;
} warmup;

static double warmup_rate(void *user, double base, int64_t t)
{
    const warmup *w = user;
    const reel_schedule *after = w->after;
    if (t >= w->steps) return after->kind->rate(after->user, base, t - w->steps);
    return base * (w->start + (1 - w->start) * (double)t / (double)w->steps);
}

static reel_status warmup_state(void *user, reel_tensor_map *map)
{
    const reel_schedule *after = ((const warmup *)user)->after;
    return after->kind->state ? after->kind->state(after->user, map) : REEL_OK;
}

static reel_status warmup_load_state(void *user, const reel_tensor_map *map)
{
    const reel_schedule *after = ((const warmup *)user)->after;
    return after->kind->load_state ? after->kind->load_state(after->user, map) : REEL_OK;
}

static void warmup_free(void *user)
{
    warmup *w = user;
    if (w) reel_schedule_free(w->after);
    reel__free(w);
}

static const reel_schedule_kind warmup_kind = {.name = "schedule_warmup",
                                               .rate = warmup_rate,
                                               .state = warmup_state,
                                               .load_state = warmup_load_state,
                                               .free_user = warmup_free};

reel_schedule *reel_schedule_warmup(reel_schedule *after, int64_t steps, double start)
{
    REEL__CALLED;
    bool ok = after && steps >= 0 && start >= 0;
    warmup *w = NULL;
    if (good("schedule_warmup", ok, "a schedule, steps >= 0, start >= 0"))
        w = reel__malloc(sizeof *w);
    if (!w) {
        reel_schedule_free(after);
        return NULL;
    }
    *w = (warmup){after, steps, start};
    return reel__schedule_over(after, &warmup_kind, w);
}
