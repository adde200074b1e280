/* Optimizers, schedules and observers of a program's own stand wherever ours do: runs drawn at
 * random (which optimizer, schedule, what is watched, where the run is interrupted, in a captured
 * step or not) have the same bits eager, captured, and after a resume. */
#include "temp_folder.h"

#include <math.h>

#include <reel/reel.h>

#include "support/each_test.h"
#include "support/small_trainer.h"

static uint64_t draw(uint64_t *at, uint64_t n)
{
    uint64_t z = *at += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}
static double draw_in(uint64_t *at, double low, double high)
{
    return low + (high - low) * (double)draw(at, 1 << 20) / (1 << 20);
}

/* ---- Adagrad (Duchi et al. 2011) with torch's lr_decay, in operators ------------------------- */

typedef struct adagrad_opts {
    double lr, lr_decay, eps;
} adagrad_opts;

static reel_status adagrad_check(void *opts, double *lr)
{
    adagrad_opts *o = opts;
    if (o->lr != 0) *lr = o->lr;
    if (o->eps == 0) o->eps = 1e-10;
    return o->lr_decay >= 0 ? REEL_OK : reel_fail(REEL_ERR_ARG, "adagrad: lr_decay");
}

/* sum += g^2; w -= lr / (1 + (t - 1) lr_decay) g / (sqrt(sum) + eps) */
static reel_status adagrad_update(const void *opts, const reel_optim_slot *s)
{
    const adagrad_opts *o = opts;
    reel_tensor *total = s->state[0], *t = s->state[1];
    reel_tensor *slow = reel_add_scalar(reel_mul_scalar(t, o->lr_decay), 1);
    reel_add_(t, s->one);
    reel_add_(total, reel_square(s->grad));
    reel_tensor *d = reel_div(s->grad, reel_add_scalar(reel_sqrt(total), o->eps));
    reel_sub_(s->param, reel_scale(d, reel_div(s->lr, slow)));
    return reel_error_status();
}

static const reel_optim_kind adagrad = {.name = "adagrad",
                                        .opts_size = sizeof(adagrad_opts),
                                        .n_state = 2,
                                        .state = {{"sum", false}, {"step", true}},
                                        .check = adagrad_check,
                                        .update = adagrad_update};

/* Against the formula, in two groups, one parameter of which has a gradient now and then. */
static void test_formula(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint64_t at = seed;
        double w[2], total[2] = {0, 0}, g = 0;
        adagrad_opts o[2];
        int t[2] = {0, 0};
        reel_tensor *p[2];
        for (int i = 0; i < 2; i++) {
            w[i] = draw_in(&at, -1, 1);
            o[i] = (adagrad_opts){draw_in(&at, 0.01, 1), draw_in(&at, 0, 0.5),
                                  draw(&at, 2) ? 1e-3 : 0};
            p[i] = reel_requires_grad(reel_from(&w[i], REEL_SHAPE(1), REEL_F64), true);
        }
        reel_optim *optim =
            reel_optim_new(&adagrad, (reel_params){&p[0], NULL, 1}, &o[0]);
        reel_optim_add_group(optim, (reel_params){&p[1], NULL, 1}, &o[1]);
        assert_int_equal(reel_optim_groups(optim), 2);
        assert_true(reel_optim_kind_of(optim) == &adagrad);
        for (int k = 0; k < 6; k++) {
            for (int i = 0; i < 2; i++) {
                if (i == 1 && draw(&at, 2)) continue;
                g = draw_in(&at, -2, 2);
                reel_set_grad(p[i], reel_from(&g, REEL_SHAPE(1), REEL_F64));
                total[i] += g * g;
                double eps = o[i].eps != 0 ? o[i].eps : 1e-10;
                w[i] -=
                    o[i].lr / (1 + t[i]++ * o[i].lr_decay) * g / (sqrt(total[i]) + eps);
            }
            assert_int_equal(reel_optim_step(optim), REEL_OK);
            reel_optim_zero_grad(optim);
        }
        for (int i = 0; i < 2; i++)
            assert_true(fabs(reel_item(p[i]) - w[i]) < 1e-12 * (1 + fabs(w[i])));
        reel_optim_free(optim);
    }
}

/* ---- Lion (Chen et al. 2023), without options --------------------------------------------------- */

static reel_status lion_update(const void *opts, const reel_optim_slot *s)
{
    (void)opts;
    reel_tensor *m = s->state[0], *way = reel_sign(reel_lerp(m, s->grad, 0.1));
    reel_sub_(s->param, reel_scale(reel_add_scaled(way, s->param, 0.01), s->lr));
    reel_lerp_(m, s->grad, 0.01);
    return reel_error_status();
}
static const reel_optim_kind lion = {
    .name = "lion", .n_state = 1, .state = {{"exp_avg", false}}, .update = lion_update};

/* Nothing but a rate: no options, no state. */
static reel_status plain_update(const void *opts, const reel_optim_slot *s)
{
    (void)opts;
    reel_sub_(s->param, reel_scale(s->grad, s->lr));
    return reel_error_status();
}
static const reel_optim_kind plain = {.name = "plain", .update = plain_update};

/* ---- a schedule with a state, and an observer ----------------------------------------------------- */

/* Halves the rate whenever it is told so. */
typedef struct halving {
    double factor;
    int *freed;
} halving;

static double halving_rate(void *user, double base, int64_t t)
{
    return base * ((halving *)user)->factor / (1 + 0.01 * (double)t);
}
static reel_status halving_state(void *user, reel_tensor_map *map)
{
    reel_tensor *t = reel_scalar(((halving *)user)->factor, REEL_F64);
    return t ? reel_tensor_map_set(map, "factor", t) : reel_error_status();
}
static reel_status halving_load(void *user, const reel_tensor_map *map)
{
    reel_tensor *t = reel_tensor_map_get(map, "factor");
    if (!t) return reel_fail(REEL_ERR_ARG, "halving: \"factor\" is missing");
    ((halving *)user)->factor = reel_item(t);
    return REEL_OK;
}
static void halving_free(void *user)
{
    halving *h = user;
    if (h && h->freed) ++*h->freed;
    free(h);
}
static const reel_schedule_kind halving_kind = {.name = "halving",
                                                .rate = halving_rate,
                                                .state = halving_state,
                                                .load_state = halving_load,
                                                .free_user = halving_free};

static halving *halving_new(int *freed)
{
    halving *h = malloc(sizeof *h);
    assert_non_null(h);
    *h = (halving){1, freed};
    return h;
}

/* The mean of all losses so far, in tensors: a captured step moves it on. */
typedef struct watcher {
    reel_tensor *mean, *count;
} watcher;

static void watcher_see(watcher *w, reel_tensor *loss)
{
    bool was = reel_set_grad_enabled(false);
    reel_add_(w->count, reel_scalar(1, REEL_F64));
    reel_tensor *d = reel_sub(reel_cast(reel_detach(loss), REEL_F64), w->mean);
    reel_add_(w->mean, reel_div(d, w->count));
    reel_set_grad_enabled(was);
}
static reel_status watcher_state(void *user, reel_tensor_map *map)
{
    watcher *w = user;
    reel_tensor_map_set(map, "mean", w->mean);
    return reel_tensor_map_set(map, "count", w->count);
}
static reel_status watcher_load(void *user, const reel_tensor_map *map)
{
    watcher *w = user;
    reel_copy_(w->mean, reel_tensor_map_get(map, "mean"));
    reel_copy_(w->count, reel_tensor_map_get(map, "count"));
    return reel_error_status();
}

/* ---- a run ------------------------------------------------------------------------------------------ */

typedef struct plan {
    uint64_t seed;
    int optim, schedule;
    bool ema, watches;
} plan;

typedef struct run {
    small_trainer t;
    reel_schedule *schedule;
    halving *halving; /* of the schedule; or NULL */
    reel_ema *ema;
    watcher watcher;
    reel_training_part part;
    reel_training training;
} run;

static reel_optim *make_optim(const plan *p, reel_params params)
{
    switch (p->optim) {
    case 0: return reel_sgd(params, &(reel_sgd_opts){.lr = 0.05, .momentum = 0.9});
    case 1: return reel_adamw(params, &(reel_adam_opts){.lr = 0.01, .beta1 = REEL_ZERO});
    case 2:
        return reel_optim_new(&adagrad, params,
                              &(adagrad_opts){.lr = 0.05, .lr_decay = 0.1});
    case 3: return reel_optim_new(&lion, params, NULL);
    default: return reel_optim_new(&plain, params, NULL);
    }
}

static void make_schedule(const plan *p, run *r)
{
    if (p->schedule == 0) r->schedule = reel_schedule_cosine(r->t.optim, 9, 0);
    if (p->schedule < 1) return;
    r->halving = halving_new(NULL);
    r->schedule = reel_schedule_new(r->t.optim, &halving_kind, r->halving);
    if (p->schedule == 2) r->schedule = reel_schedule_warmup(r->schedule, 3, 0.2);
}

static void run_begin(const plan *p, run *r)
{
    *r = (run){.t = {.net = small_trainer_net()}};
    r->t.optim = make_optim(p, reel_parameters(r->t.net));
    make_schedule(p, r);
    if (p->ema) r->ema = reel_ema_new(r->t.net, 0.9, &(reel_ema_opts){.warmup = true});
    r->watcher = (watcher){reel_keep(reel_zeros(REEL_SCALAR, REEL_F64)),
                           reel_keep(reel_zeros(REEL_SCALAR, REEL_F64))};
    r->part = (reel_training_part){.name = "watcher",
                                   .user = &r->watcher,
                                   .state = watcher_state,
                                   .load_state = watcher_load};
    r->training = (reel_training){.module = r->t.net,
                                  .optim = r->t.optim,
                                  .schedule = r->schedule,
                                  .ema = r->ema,
                                  .parts = &r->part,
                                  .n_parts = p->watches};
}

static void run_end(run *r)
{
    reel_ema_free(r->ema);
    reel_schedule_free(r->schedule);
    reel_release(r->watcher.mean);
    reel_release(r->watcher.count);
    small_trainer_free(r->t);
}

static reel_status step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    (void)n_x;
    (void)n_y;
    run *r = user;
    y[0] = small_trainer_step(r->t, x[0], x[1]);
    if (r->ema) reel_ema_update(r->ema);
    if (r->training.n_parts) watcher_see(&r->watcher, y[0]);
    return reel_error_status();
}

enum { STEPS = 8 };

/* Steps from .. to - 1; a graph if `traced`. */
static void run_steps(run *r, int from, int to, bool traced)
{
    reel_rng_state rng = reel_rng_get();
    reel_compiled *s =
        traced ? reel_compile(step, r,
                              &(reel_compile_opts){.module = r->t.net, .exact = true})
               : NULL;
    for (int i = from; i < to; i++) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *x[STEPS], *y[STEPS], *loss[1];
        small_trainer_data(STEPS, x, y);
        reel_rng_set(rng);
        reel_tensor *in[] = {x[i], y[i]};
        reel_status st =
            traced ? reel_compiled_run(s, in, 2, loss, 1) : step(r, in, 2, loss, 1);
        if (st) fail_msg("step %d: %s", i, reel_error_message());
        assert_true(!traced || i < from + 2 || reel_compiled_graph(s));
        rng = reel_rng_get();
        if (r->halving && i % 3 == 1) r->halving->factor /= 2;
        if (r->schedule) reel_schedule_step(r->schedule);
        reel_scope_end(scope);
    }
    reel_rng_set(rng);
    reel_compiled_free(s);
}

/* Everything that a checkpoint holds, bit for bit. */
static void same_states(const plan *p, reel_tensor_map *a, reel_tensor_map *b)
{
    assert_int_equal(reel_tensor_map_count(a), reel_tensor_map_count(b));
    for (int64_t i = 0; i < reel_tensor_map_count(a); i++) {
        const char *name = reel_tensor_map_name(a, i);
        reel_tensor *s = reel_tensor_map_at(a, i), *t = reel_tensor_map_get(b, name);
        assert_non_null(t);
        size_t bytes = (size_t)reel_numel(s) * reel_dtype_size(reel_dtype_of(s));
        if (memcmp(reel_data(reel_contiguous(s)), reel_data(reel_contiguous(t)), bytes))
            fail_msg("seed %llu (optimizer %d, schedule %d): %s differs",
                     (unsigned long long)p->seed, p->optim, p->schedule, name);
    }
}

static reel_tensor_map *whole_run(const plan *p, int stop, bool traced)
{
    char path[128];
    snprintf(path, sizeof path, "%s/run.ckpt", temp_root);
    run r;
    run_begin(p, &r);
    reel_rng_set((reel_rng_state){.seed = p->seed});
    run_steps(&r, 0, stop, traced);
    if (stop < STEPS) { /* another process would begin here */
        assert_int_equal(reel_training_save(&r.training, path), REEL_OK);
        run_end(&r);
        run_begin(p, &r);
        if (reel_training_load(&r.training, path)) fail_msg("%s", reel_error_message());
        run_steps(&r, stop, STEPS, traced);
    }
    assert_int_equal(reel_training_save(&r.training, path), REEL_OK);
    run_end(&r);
    return reel_tensor_map_load(path);
}

static void test_random_runs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t at = seed;
        plan p = {seed, (int)(seed % 5), (int)draw(&at, 4) - 1, draw(&at, 2),
                  draw(&at, 2)};
        int stop = 1 + (int)draw(&at, STEPS - 1);
        reel_scope s = reel_scope_begin();
        reel_tensor_map *want = whole_run(&p, STEPS, false);
        for (int k = 1; k < 4; k++) {
            reel_tensor_map *got = whole_run(&p, k & 1 ? stop : STEPS, k & 2);
            same_states(&p, want, got);
            reel_tensor_map_free(got);
        }
        reel_tensor_map_free(want);
        reel_scope_end(s);
    }
}

/* ---- two nets, two optimizers: parts of one run ---------------------------------------------------- */

static void test_parts_of_ours(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/two.ckpt", temp_root);
    reel_tensor *was[2], *x[1], *y[1];
    small_trainer t[2];
    for (int round = 0; round < 2; round++) {
        reel_training_part parts[4];
        const char *names[] = {"net_a", "optim_a", "net_b", "optim_b"};
        small_trainer_data(1, x, y);
        for (int i = 0; i < 2; i++) {
            t[i] = small_trainer_new(small_trainer_net(), i == 1);
            parts[2 * i] = reel_module_part(names[2 * i], t[i].net);
            parts[2 * i + 1] = reel_optim_part(names[2 * i + 1], t[i].optim);
            if (round == 0) small_trainer_step(t[i], x[0], y[0]);
        }
        reel_training both = {.parts = parts, .n_parts = 4};
        assert_int_equal(round ? reel_training_load(&both, path)
                               : reel_training_save(&both, path),
                         REEL_OK);
        for (int i = 0; i < 2; i++) {
            reel_train(t[i].net, false);
            reel_tensor *out = reel_forward(t[i].net, x[0]);
            if (round) assert_true(reel_item(sum(reel_abs(reel_sub(out, was[i])))) == 0);
            was[i] = reel_detach(out);
            small_trainer_free(t[i]);
        }
    }
    assert_true(reel_item(sum(reel_abs(reel_sub(was[0], was[1])))) > 0);
    /* A part that the file does not have, and one of another name. */
    reel_tensor_map *extra = reel_tensor_map_new();
    watcher w = {reel_zeros(REEL_SCALAR, REEL_F64), reel_zeros(REEL_SCALAR, REEL_F64)};
    reel_training_part other = {
        .name = "net", .user = &w, .state = watcher_state, .load_state = watcher_load};
    reel_training wrong = {.extra = extra, .parts = &other, .n_parts = 1};
    assert_int_equal(reel_training_load(&wrong, path), REEL_ERR_FORMAT);
    expect_error(REEL_ERR_FORMAT, "\"net...\"");
    reel_training_part twice[] = {other, other};
    wrong = (reel_training){.parts = twice, .n_parts = 2};
    assert_int_equal(reel_training_save(&wrong, path), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "\"net\" is taken");
    reel_tensor_map_free(extra);
}

/* ---- what goes wrong ------------------------------------------------------------------------------- */

static reel_status refuses(void *opts, double *lr)
{
    (void)opts;
    *lr = 1;
    return REEL_ERR_UNSUPPORTED; /* and says nothing */
}
static reel_status bad_rate(void *opts, double *lr)
{
    (void)opts;
    *lr = NAN;
    return REEL_OK;
}
static reel_status silent(const void *opts, const reel_optim_slot *s)
{
    (void)opts;
    (void)s;
    return REEL_ERR_NUMERIC;
}
static reel_status reads(const void *opts, const reel_optim_slot *s)
{
    (void)opts;
    reel_sub_(s->param, reel_mul_scalar(s->grad, reel_item(s->lr)));
    return reel_error_status();
}
static reel_status counts(const void *opts, const reel_optim_slot *s)
{
    if (reel_capturing())
        return reel_fail(REEL_ERR_STATE,
                         "counts: a step is being captured as a graph, in "
                         "which its count would stand still");
    return plain_update(opts, s);
}

static void in_a_step(reel_status (*update)(const void *, const reel_optim_slot *),
                      const char *part)
{
    const reel_optim_kind kind = {.name = "wrong", .update = update};
    run r = {.t = {.net = small_trainer_net()}};
    r.t.optim = reel_optim_new(&kind, reel_parameters(r.t.net), NULL);
    reel_compiled *s = reel_compile(step, &r, NULL);
    reel_tensor *x[1], *y[1], *loss[1];
    small_trainer_data(1, x, y);
    reel_tensor *in[] = {x[0], y[0]};
    assert_int_equal(reel_compiled_run(s, in, 2, loss, 1), REEL_OK);
    assert_int_equal(reel_compiled_run(s, in, 2, loss, 1), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, part);
    reel_compiled_free(s);
    small_trainer_free(r.t);
}

static void test_failures(void **state)
{
    (void)state;
    reel_tensor *w = reel_requires_grad(reel_ones(REEL_SHAPE(2), REEL_F32), true);
    reel_params p = {&w, NULL, 1};
    reel_optim_kind kind = {.name = "wrong", .update = silent, .check = refuses};
    assert_null(reel_optim_new(&kind, p, NULL));
    expect_error(REEL_ERR_ARG, "wrong: its options were refused");
    kind.check = bad_rate;
    assert_null(reel_optim_new(&kind, p, NULL));
    expect_error(REEL_ERR_ARG, "wrong: lr nan");
    assert_null(reel_optim_new(&adagrad, p, &(adagrad_opts){.lr_decay = -1}));
    expect_error(REEL_ERR_ARG, "adagrad: lr_decay");
    kind.check = NULL;
    reel_optim *o = reel_optim_new(&kind, p, NULL);
    reel_set_grad(w, reel_ones(REEL_SHAPE(2), REEL_F32));
    assert_int_equal(reel_optim_step(o), REEL_ERR_NUMERIC);
    expect_error(REEL_ERR_NUMERIC, "wrong: the update of \"param.0\" failed");
    assert_int_equal(reel_sgd_add(o, (reel_params){0}, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "the optimizer is wrong, expected one of sgd");
    reel_optim_free(o);
    in_a_step(reads, "item");
    in_a_step(counts, "counts: a step is being captured");
}

/* `user` is freed exactly once, however it ends. */
static void test_user_is_freed(void **state)
{
    (void)state;
    reel_tensor *w = reel_requires_grad(reel_ones(REEL_SHAPE(2), REEL_F32), true);
    reel_optim *o = reel_optim_new(&lion, (reel_params){&w, NULL, 1}, NULL);
    int freed = 0;
    reel_schedule_free(reel_schedule_new(o, &halving_kind, halving_new(&freed)));
    assert_int_equal(freed, 1);
    assert_null(reel_schedule_new(NULL, &halving_kind, halving_new(&freed)));
    expect_error(REEL_ERR_ARG, "halving: the optimizer is NULL");
    assert_int_equal(freed, 2);
    reel_fail(REEL_ERR_IO, "before");
    assert_null(reel_schedule_new(o, &halving_kind, halving_new(&freed)));
    expect_error(REEL_ERR_IO, "before");
    assert_int_equal(freed, 3);
    reel_schedule_kind bad = halving_kind;
    bad.load_state = NULL;
    assert_null(reel_schedule_new(o, &bad, halving_new(&freed)));
    expect_error(REEL_ERR_ARG, "halving has a state but no load_state");
    assert_int_equal(freed, 4);
    halving *negative = halving_new(&freed);
    negative->factor = -1;
    assert_null(reel_schedule_new(o, &halving_kind, negative));
    expect_error(REEL_ERR_ARG, "halving: the rate at step 0");
    assert_int_equal(freed, 5);
    int64_t k = 1;
    for (bool hit = true; hit; k++) { /* out of memory, wherever it is */
        freed = 0;
        halving *h = halving_new(&freed);
        reel__fault_alloc(k, false);
        reel_schedule *s =
            reel_schedule_warmup(reel_schedule_new(o, &halving_kind, h), 3, 0.1);
        hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        if (s) assert_int_equal(freed, 0);
        reel_schedule_free(s);
        assert_int_equal(freed, 1);
        reel_error_clear();
    }
    assert_true(k > 4);
    reel_optim_free(o);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_formula), TEST(test_random_runs),
                                       TEST(test_parts_of_ours), TEST(test_failures),
                                       TEST(test_user_is_freed)};
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
