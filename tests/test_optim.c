/* test_optim.c: optimizers against their formulas in f64 over many steps; groups, state,
 * clipping, moving averages. */
#include "module_check.h"

enum { N = 7, STEPS = 60 };

/* The gradient at step t: anything that depends on the weight and on t. */
static void gradient(const double *w, int t, double *g)
{
    for (int i = 0; i < N; i++) g[i] = w[i] * (1 + 0.1 * i) + sin(0.7 * t + i);
}

/* Runs the optimizer and `by_hand` side by side, and compares after every step. */
typedef void (*rule)(double *w, const double *g, double state[2][N], int t, double lr);

static void compare(reel_optim *(*make)(reel_params p), rule by_hand, double lr)
{
    double w[N], g[N], state[2][N] = {{0}};
    for (int i = 0; i < N; i++) w[i] = cos(i);
    reel_tensor *p = reel_requires_grad(reel_from(w, REEL_SHAPE(N), REEL_F64), true);
    reel_optim *o = make((reel_params){&p, NULL, 1});
    assert_ok();
    for (int t = 1; t <= STEPS; t++) {
        reel_scope s = reel_scope_begin();
        gradient(w, t, g);
        reel_set_grad(p, reel_from(g, REEL_SHAPE(N), REEL_F64));
        assert_int_equal(reel_optim_step(o), REEL_OK);
        by_hand(w, g, state, t, lr);
        double have[N];
        reel_read(p, have, REEL_F64);
        for (int i = 0; i < N; i++)
            if (!(fabs(have[i] - w[i]) <= 1e-12 * (1 + fabs(w[i]))))
                fail_msg("step %d, element %d: %.17g, expected %.17g", t, i, have[i],
                         w[i]);
        reel_scope_end(s);
    }
    reel_optim_free(o);
}

/* ---- rules as PyTorch's documentation writes them ---------------------------------------- */

static reel_optim *make_plain(reel_params p)
{
    return reel_sgd(p, &(reel_sgd_opts){.lr = 0.05});
}
static void plain(double *w, const double *g, double state[2][N], int t, double lr)
{
    (void)state;
    (void)t;
    for (int i = 0; i < N; i++) w[i] -= lr * g[i];
}

static reel_optim *make_momentum(reel_params p)
{
    return reel_sgd(
        p, &(reel_sgd_opts){
               .lr = 0.05, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.01});
}
static void momentum(double *w, const double *g, double state[2][N], int t, double lr)
{
    for (int i = 0; i < N; i++) {
        double d = g[i] + 0.01 * w[i];
        state[0][i] = t == 1 ? d : 0.9 * state[0][i] + 0.7 * d;
        w[i] -= lr * state[0][i];
    }
}

static reel_optim *make_nesterov(reel_params p)
{
    return reel_sgd(
        p, &(reel_sgd_opts){
               .lr = 0.05, .momentum = 0.8, .weight_decay = 0.1, .nesterov = true});
}
static void nesterov(double *w, const double *g, double state[2][N], int t, double lr)
{
    for (int i = 0; i < N; i++) {
        double d = g[i] + 0.1 * w[i];
        state[0][i] = t == 1 ? d : 0.8 * state[0][i] + d;
        w[i] -= lr * (d + 0.8 * state[0][i]);
    }
}

static void adam_rule(double *w, const double *g, double state[2][N], int t, double lr,
                      double b1, double b2, double eps, double decay, bool decoupled)
{
    for (int i = 0; i < N; i++) {
        double d = decoupled ? g[i] : g[i] + decay * w[i];
        if (decoupled) w[i] *= 1 - lr * decay;
        state[0][i] = b1 * state[0][i] + (1 - b1) * d;
        state[1][i] = b2 * state[1][i] + (1 - b2) * d * d;
        double m = state[0][i] / (1 - pow(b1, t)), v = state[1][i] / (1 - pow(b2, t));
        w[i] -= lr * m / (sqrt(v) + eps);
    }
}

static reel_optim *make_adam(reel_params p)
{
    return reel_adam(p, &(reel_adam_opts){.lr = 0.02, .weight_decay = 0.05});
}
static void adam(double *w, const double *g, double state[2][N], int t, double lr)
{
    adam_rule(w, g, state, t, lr, 0.9, 0.999, 1e-8, 0.05, false);
}

static reel_optim *make_adamw(reel_params p)
{
    return reel_adamw(
        p,
        &(reel_adam_opts){
            .lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1});
}
static void adamw(double *w, const double *g, double state[2][N], int t, double lr)
{
    adam_rule(w, g, state, t, lr, 0.8, 0.95, 1e-3, 0.1, true);
}

static void test_formulas(void **state)
{
    (void)state;
    compare(make_plain, plain, 0.05);
    compare(make_momentum, momentum, 0.05);
    compare(make_nesterov, nesterov, 0.05);
    compare(make_adam, adam, 0.02);
    compare(make_adamw, adamw, 0.02);
}

/* ---- groups -------------------------------------------------------------------------- */

static reel_tensor *leaf(double value)
{
    return reel_requires_grad(reel_full(REEL_SHAPE(2), value, REEL_F32), true);
}

static double first(reel_tensor *t)
{
    float v[2];
    reel_read(t, v, REEL_F32);
    return (double)v[0];
}

static void test_groups(void **state)
{
    (void)state;
    reel_tensor *a = leaf(1), *b = leaf(1), *c = leaf(1);
    static const char *const name_a = "a", *const name_b = "b";
    reel_optim *o = reel_sgd((reel_params){&a, &name_a, 1}, &(reel_sgd_opts){.lr = 0.5});
    assert_int_equal(reel_sgd_add(o, (reel_params){&b, &name_b, 1},
                                  &(reel_sgd_opts){.lr = 0.25, .weight_decay = 1}),
                     REEL_OK);
    assert_int_equal(reel_optim_groups(o), 2);
    reel_set_grad(a, reel_ones(REEL_SHAPE(2), REEL_F32));
    reel_set_grad(b, reel_ones(REEL_SHAPE(2), REEL_F32));
    reel_optim_step(o);
    assert_near(first(a), 0.5, 0);
    assert_near(first(b), 0.5, 0);
    reel_optim_set_lr(o, 1, 0);
    assert_near(reel_optim_lr(o, 0), 0.5, 0);
    reel_optim_step(o);
    assert_near(first(a), 0, 0);
    assert_near(first(b), 0.5, 0);
    reel_optim_set_lr(o, -1, 2);
    assert_near(reel_optim_lr(o, 0) + reel_optim_lr(o, 1), 4, 0);
    reel_optim_zero_grad(o);
    reel_optim_step(o); /* nothing to do */
    assert_near(first(a), 0, 0);

    assert_int_equal(reel_sgd_add(o, (reel_params){&a, NULL, 1}, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "tensor of parameter");
    assert_int_equal(reel_sgd_add(o, (reel_params){&c, &name_a, 1}, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "name of parameter \"a\"");
    assert_int_equal(reel_adam_add(o, (reel_params){&c, NULL, 1}, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "the optimizer is sgd, expected one of adam");
    assert_int_equal(reel_optim_groups(o), 2);
    assert_true(isnan(reel_optim_lr(o, 2)));
    expect_error(REEL_ERR_ARG, "no group 2");
    reel_optim_free(o);
}

static void test_bad_options(void **state)
{
    (void)state;
    reel_tensor *a = leaf(1), *half = reel_zeros(REEL_SHAPE(1), REEL_F16), *none = NULL;
    reel_params p = {&a, NULL, 1};
    assert_null(reel_sgd(p, &(reel_sgd_opts){.lr = -1}));
    expect_error(REEL_ERR_ARG, "lr -1");
    assert_null(reel_sgd(p, &(reel_sgd_opts){.nesterov = true}));
    expect_error(REEL_ERR_ARG, "nesterov");
    assert_null(reel_adam(p, &(reel_adam_opts){.beta1 = 1}));
    expect_error(REEL_ERR_ARG, "beta1 1");
    assert_null(reel_adamw((reel_params){&half, NULL, 1}, NULL));
    expect_error(REEL_ERR_DTYPE, "f16");
    assert_null(reel_sgd((reel_params){&none, NULL, 1}, NULL));
    expect_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_sgd((reel_params){NULL, NULL, 1}, NULL));
    expect_error(REEL_ERR_ARG, "NULL");
    assert_int_equal(reel_optim_step(NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "NULL");
    reel_optim_zero_grad(NULL);
    reel_optim_free(NULL);
}

/* A failed forward pass never touches the weights. */
static void test_refuses(void **state)
{
    (void)state;
    reel_tensor *a = leaf(1);
    reel_optim *o = reel_sgd((reel_params){&a, NULL, 1}, NULL);
    reel_set_grad(a, reel_ones(REEL_SHAPE(2), REEL_F32));
    reel_fail(REEL_ERR_SHAPE, "forward failed");
    assert_int_equal(reel_optim_step(o), REEL_ERR_SHAPE);
    assert_near(reel_clip_grad_norm((reel_params){&a, NULL, 1}, 1), -1, 0);
    expect_error(REEL_ERR_SHAPE, "forward failed");
    assert_near(first(a), 1, 0);
    reel_optim_free(o);
}

/* ---- state --------------------------------------------------------------------------- */

static void steps(reel_module *m, reel_optim *o, int n, int from)
{
    for (int t = from; t < from + n; t++) {
        reel_scope s = reel_scope_begin();
        reel_params p = reel_parameters(m);
        for (int i = 0; i < p.n; i++) {
            reel_tensor *g = reel_sin(reel_add_scalar(reel_detach(p.tensor[i]), t + i));
            if (i != 1) reel_set_grad(p.tensor[i], g); /* one never has a gradient */
        }
        reel_optim_step(o);
        reel_scope_end(s);
    }
    assert_ok();
}

static reel_optim *make(int kind, reel_module *m)
{
    reel_params p = reel_parameters(m);
    if (kind == 0) return reel_sgd(p, &(reel_sgd_opts){.lr = 0.1, .momentum = 0.9});
    if (kind == 1) return reel_sgd(p, &(reel_sgd_opts){.lr = 0.1});
    return reel_adamw(p, &(reel_adam_opts){.lr = 0.1, .weight_decay = 0.1});
}

static void test_state(void **state)
{
    (void)state;
    static const int sizes[] = {1 + 3, 1,
                                1 + 9}; /* a rate, and states of three parameters */
    for (int kind = 0; kind < 3; kind++) {
        reel_module *a =
            reel_nn_sequential(reel_nn_linear(3, 4, NULL), reel_nn_linear(4, 2, NULL));
        reel_module *b =
            reel_nn_sequential(reel_nn_linear(3, 4, NULL), reel_nn_linear(4, 2, NULL));
        reel_optim *oa = make(kind, a), *ob = make(kind, b);
        steps(a, oa, 5, 0);
        steps(b, ob, 1, 3); /* what is there must go */
        reel_optim_set_lr(oa, 0, 0.03);
        reel_tensor_map *weights = reel_tensor_map_new(), *map = reel_tensor_map_new();
        reel_state_dict(a, weights);
        reel_load_state_dict(b, weights, NULL);
        assert_int_equal(reel_optim_state(oa, map), REEL_OK);
        assert_int_equal(reel_tensor_map_count(map), sizes[kind]);
        assert_int_equal(reel_optim_load_state(ob, map), REEL_OK);
        steps(a, oa, 5, 5);
        steps(b, ob, 5, 5);
        for (int i = 0; i < 4; i++)
            assert_true(
                same_bits(reel_parameters(a).tensor[i], reel_parameters(b).tensor[i]));
        reel_tensor_map_free(weights);
        reel_tensor_map_free(map);
        reel_optim_free(oa);
        reel_optim_free(ob);
        reel_module_free(a);
        reel_module_free(b);
    }
}

static void test_state_errors(void **state)
{
    (void)state;
    reel_module *m = reel_nn_linear(2, 2, NULL);
    reel_optim *o = make(2, m);
    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_optim_load_state(o, map), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "group.0.lr");
    reel_tensor_map_set(map, "group.0.lr", reel_scalar(0.5, REEL_F64));
    reel_tensor_map_set(map, "weight.exp_avg", reel_ones(REEL_SHAPE(2, 2), REEL_F32));
    assert_int_equal(reel_optim_load_state(o, map), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "1 states of \"weight\", expected 3");
    reel_tensor_map_set(map, "weight.exp_avg_sq", reel_ones(REEL_SHAPE(2, 3), REEL_F32));
    assert_int_equal(reel_optim_load_state(o, map), REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "weight.exp_avg_sq");
    reel_tensor_map_set(map, "weight.exp_avg_sq", reel_ones(REEL_SHAPE(2, 2), REEL_F32));
    reel_tensor_map_set(map, "weight.step", reel_scalar(3, REEL_F64));
    reel_tensor_map_set(map, "odd.step", reel_scalar(3, REEL_F64));
    assert_int_equal(reel_optim_load_state(o, map), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "\"odd.step\"");
    assert_near(reel_optim_lr(o, 0), 0.1, 0);
    reel_tensor_map_free(map);
    reel_optim_free(o);
    reel_module_free(m);
}

/* ---- clipping ------------------------------------------------------------------------ */

static void test_clip(void **state)
{
    (void)state;
    reel_tensor *p[3] = {leaf(0), leaf(0), leaf(0)};
    reel_params all = {p, NULL, 3};
    reel_tensor *shared = reel_from((float[]){3, 0}, REEL_SHAPE(2), REEL_F32);
    reel_set_grad(p[0], shared); /* two leaves, one gradient: norm sqrt(9 + 9) */
    reel_set_grad(p[1], shared);
    assert_near(reel_clip_grad_norm(all, 10), sqrt(18), 1e-12);
    assert_near(first(reel_grad_of(p[0])), 3, 0);
    assert_near(reel_clip_grad_norm(all, 1), sqrt(18), 1e-12);
    assert_near(first(reel_grad_of(p[0])), 3 / (sqrt(18) + 1e-6), 1e-6);
    assert_near(first(reel_grad_of(p[1])), 3 / (sqrt(18) + 1e-6), 1e-6);
    assert_null(reel_grad_of(p[2]));

    reel_set_grad(p[0], reel_from((float[]){-5, 0.5f}, REEL_SHAPE(2), REEL_F32));
    assert_int_equal(reel_clip_grad_value(all, 2), REEL_OK);
    assert_near(first(reel_grad_of(p[0])), -2, 0);

    reel_set_grad(p[0], reel_from((float[]){NAN, 1}, REEL_SHAPE(2), REEL_F32));
    assert_true(isnan(reel_clip_grad_norm(all, 1)));
    assert_true(isnan(first(reel_grad_of(p[1]))));
    assert_near(reel_clip_grad_norm(all, 0), -1, 0);
    expect_error(REEL_ERR_ARG, "limit 0");
    assert_int_equal(reel_clip_grad_value((reel_params){NULL, NULL, 2}, 1), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "NULL");
}

/* Four gradients of v: the norm is 2 v, and clipped to 1 each is 0.5. In a captured step too. */
static void clip_four(reel_dtype dtype, double v, double stored)
{
    reel_tensor *p = reel_requires_grad(reel_zeros(REEL_SHAPE(4), dtype), true);
    const double clipped = 2 * stored > 1 ? 0.5 : stored;
    reel_set_grad(p, reel_full(REEL_SHAPE(4), v, dtype));
    assert_near(reel_clip_grad_norm((reel_params){&p, NULL, 1}, 1) / (2 * stored), 1,
                1e-6);
    const double got = reel_item(reel_select(reel_grad_of(p), 0, 0));
    assert_near(got / clipped, 1,
                dtype == REEL_F16    ? 1e-3
                : dtype == REEL_BF16 ? 8e-3
                                     : 2e-6);
}

/* Squares that no dtype holds, and factors that are too small for it. */
static void test_clip_far_out(void **state)
{
    (void)state;
    const double f32[] = {3, 2e19, 1e30, 3e38, 1e-20, 1e-30};
    for (int i = 0; i < 6; i++) clip_four(REEL_F32, f32[i], (double)(float)f32[i]);
    const double f64[] = {1e-200, 1e200, 1e300};
    for (int i = 0; i < 3; i++) clip_four(REEL_F64, f64[i], f64[i]);
    clip_four(REEL_F16, 300, 300);
    clip_four(REEL_F16, 65504, 65504);
    clip_four(REEL_BF16, 0x1p120, 0x1p120);
    assert_ok();
}

/* More gradients than norms are joined at a time; of halves that together leave their range. */
static void test_clip_many(void **state)
{
    (void)state;
    enum { MANY = 100 };
    reel_tensor *p[MANY];
    for (int i = 0; i < MANY; i++) {
        p[i] = reel_requires_grad(reel_zeros(REEL_SHAPE(9), REEL_F16), true);
        reel_set_grad(p[i], reel_full(REEL_SHAPE(9), 60000, REEL_F16));
    }
    assert_near(reel_clip_grad_norm((reel_params){p, NULL, MANY}, 3), 1.8e6, 500);
    assert_near(reel_item(reel_select(reel_grad_of(p[MANY - 1]), 0, 8)), 0.1, 1e-4);
    assert_ok();
}

/* ---- moving average ------------------------------------------------------------------- */

static void test_ema(void **state)
{
    (void)state;
    reel_module *m = reel_nn_batch_norm2d(2, NULL);
    reel_tensor *w = reel_module_find(m, "weight"),
                *n = reel_module_find(m, "num_batches_tracked");
    reel_ema *e = reel_ema_new(m, 0.9, NULL);
    double average = 1;
    for (int t = 1; t <= 5; t++) {
        reel_init_constant(w, t);
        reel_init_constant(n, t);
        assert_int_equal(reel_ema_update(e), REEL_OK);
        average = 0.9 * average + 0.1 * t;
    }
    assert_int_equal(reel_ema_swap(e), REEL_OK);
    assert_near(first(w), average, 1e-6);
    assert_int_equal(reel_item_i64(n), 5);
    assert_int_equal(reel_ema_update(e), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "swapped");
    assert_int_equal(reel_ema_swap(e), REEL_OK);
    assert_near(first(w), 5, 0);

    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_ema_state(e, map), REEL_OK);
    reel_ema *f = reel_ema_new(m, 0.9, NULL);
    assert_int_equal(reel_ema_load_state(f, map), REEL_OK);
    reel_ema_swap(f);
    assert_near(first(w), average, 1e-6);
    reel_ema_swap(f);
    reel_tensor_map_set(map, "odd", w);
    assert_int_equal(reel_ema_load_state(f, map), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "7 tensors, expected 6");
    reel_tensor_map_free(map);
    reel_ema_free(f);
    reel_ema_free(e);

    e = reel_ema_new(m, 0.9, &(reel_ema_opts){.warmup = true});
    reel_init_constant(w, 15); /* from 5, decay 1/10 */
    reel_ema_update(e);
    reel_ema_swap(e);
    assert_near(first(w), 14, 1e-6);
    reel_ema_free(e);
    assert_null(reel_ema_new(m, 1, NULL));
    expect_error(REEL_ERR_ARG, "decay < 1");
    reel_module_free(m);
}

/* ---- memory that is missing ------------------------------------------------------------- */

/* Two steps of a small training run with all that optim.h has. */
static bool small_run(void)
{
    reel_scope scope = reel_scope_begin();
    reel_module *m = reel_nn_linear(2, 2, NULL);
    reel_params all = m ? reel_parameters(m) : (reel_params){0};
    reel_optim *o = reel_adamw(all, &(reel_adam_opts){.weight_decay = 0.1});
    reel_optim *sgd = reel_sgd(all, &(reel_sgd_opts){.momentum = 0.9});
    reel_schedule *s = NULL;
    if (o)
        s = reel_schedule_warmup(reel_schedule_multistep(o, (int64_t[]){3}, 1, 0.1), 2,
                                 0.5);
    reel_ema *e = m ? reel_ema_new(m, 0.9, NULL) : NULL;
    for (int t = 0; t < 2 && !reel_failed(); t++) {
        reel_tensor *x = reel_ones(REEL_SHAPE(3, 2), REEL_F32);
        reel_tensor *loss = reel_sum(reel_square(reel_forward(m, x)), REEL_ALL, false);
        if (loss) reel_backward(loss, NULL);
        reel_clip_grad_norm(all, 0.1);
        reel_clip_grad_value(all, 0.01);
        reel_optim_step(o);
        reel_optim_step(sgd);
        reel_optim_zero_grad(o);
        if (s) reel_schedule_step(s);
        reel_ema_update(e);
    }
    reel_tensor_map *map = reel_tensor_map_new(), *other = reel_tensor_map_new();
    if (!reel_failed()) {
        reel_optim_state(o, map);
        reel_optim_load_state(o, map);
        reel_ema_swap(e);
        reel_ema_swap(e);
        reel_schedule_state(s, other);
        reel_schedule_load_state(s, other);
    }
    reel_tensor_map_free(map);
    reel_tensor_map_free(other);
    reel_ema_free(e);
    reel_schedule_free(s);
    reel_optim_free(sgd);
    reel_optim_free(o);
    reel_module_free(m);
    reel_scope_end(scope);
    return !reel_failed();
}

/* Each allocation fails in turn: an error that says so, and nothing stays behind. */
static void test_no_memory(void **state)
{
    (void)state;
    assert_true(small_run());
    int64_t live = reel_live_objects(), k = 1;
    for (bool hit = true; hit; k++) {
        reel__fault_alloc(k, false);
        bool ok = small_run();
        hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        assert_int_equal(reel_live_objects(), live);
        assert_true(ok || hit);
        if (!ok) expect_error(REEL_ERR_MEMORY, "");
    }
    assert_true(k > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_formulas), TEST(test_groups),       TEST(test_bad_options),
        TEST(test_refuses),  TEST(test_state),        TEST(test_state_errors),
        TEST(test_clip),     TEST(test_clip_far_out), TEST(test_clip_many),
        TEST(test_ema),      TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
