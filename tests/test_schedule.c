/* test_schedule.c: schedules against torch.optim.lr_scheduler (PyTorch 2.15, base rate 0.4). */
#include "module_check.h"

enum { T = 12 };

static reel_optim *optim(void)
{
    reel_tensor *p = reel_requires_grad(reel_zeros(REEL_SHAPE(1), REEL_F32), true);
    return reel_sgd((reel_params){&p, NULL, 1}, &(reel_sgd_opts){.lr = 0.4});
}

/* The rates of t = 0 .. n-1 are these, and reel_schedule_at() says so beforehand. */
static void check(reel_optim *o, reel_schedule *s, const double *want, int n)
{
    assert_ok();
    for (int t = 0; t < n; t++) assert_near(reel_schedule_at(s, 0, t), want[t], 1e-12);
    for (int t = 0; t < n; t++) {
        assert_int_equal(reel_schedule_count(s), t);
        assert_near(reel_optim_lr(o, 0), want[t], 1e-12);
        assert_int_equal(reel_schedule_step(s), REEL_OK);
    }
    reel_schedule_free(s);
    reel_optim_free(o);
}

static void test_step_decay(void **state)
{
    (void)state;
    static const double want[T] = {0.4, 0.4, 0.4, 0.2,  0.2,  0.2,
                                   0.1, 0.1, 0.1, 0.05, 0.05, 0.05};
    reel_optim *o = optim();
    check(o, reel_schedule_step_decay(o, 3, 0.5), want, T);
}

static void test_multistep(void **state)
{
    (void)state;
    static const double want[T] = {0.4,   0.4,   0.04,  0.04,   0.04,   0.004,
                                   0.004, 0.004, 0.004, 0.0004, 0.0004, 0.0004};
    reel_optim *o = optim();
    int64_t at[] = {2, 5, 9};
    reel_schedule *s = reel_schedule_multistep(o, at, 3, 0.1);
    at[0] = 0; /* it has a copy */
    check(o, s, want, T);
}

static void test_cosine(void **state)
{
    (void)state;
    static const double want[T + 1] = {
        0.4,
        0.392101129854827,
        0.36904443890208,
        0.332697843119331,
        0.286005927535368,
        0.232751393463291,
        0.177248606536709,
        0.123994072464632,
        0.0773021568806694,
        0.0409555610979197,
        0.017898870145173,
        0.01,
        0.01 /* stays */
    };
    reel_optim *o = optim();
    check(o, reel_schedule_cosine(o, 11, 0.01), want, T + 1);
}

static void test_linear(void **state)
{
    (void)state;
    static const double want[T] = {0.1, 0.4 / 3, 0.5 / 3, 0.2, 0.7 / 3, 0.8 / 3,
                                   0.3, 0.3,     0.3,     0.3, 0.3,     0.3};
    reel_optim *o = optim();
    check(o, reel_schedule_linear(o, 6, 0.25, 0.75), want, T);
}

static void test_one_cycle(void **state)
{
    (void)state;
    static const double cosines[T] = {0.04,
                                      0.349789654219583,
                                      0.879285159122129,
                                      0.994415435450912,
                                      0.933012969841412,
                                      0.811745653949763,
                                      0.647378997695103,
                                      0.462637102666975,
                                      0.283060998208699,
                                      0.133477530188831,
                                      0.0345669874253952,
                                      4e-06};
    reel_optim *o = optim();
    check(o, reel_schedule_one_cycle(o, T, 1, NULL), cosines, T);
    static const double lines[T + 1] = {0.2,   0.56,  0.92,  1.28,  1.64,  2,    1.667,
                                        1.334, 1.001, 0.668, 0.335, 0.002, 0.002};
    o = optim();
    check(o,
          reel_schedule_one_cycle(
              o, T, 2,
              &(reel_one_cycle_opts){
                  .warmup = 0.5, .div = 10, .final_div = 100, .linear = true}),
          lines, T + 1);
    static const double brief[3] = {0.994415435450912, 0.462637102666975, 4e-06};
    o = optim();
    check(o, reel_schedule_one_cycle(o, 3, 1, NULL), brief, 3);
}

static void test_warmup(void **state)
{
    (void)state;
    static const double want[T] = {0.04,
                                   0.13,
                                   0.22,
                                   0.31,
                                   0.4,
                                   0.380193773580484,
                                   0.324697960371747,
                                   0.244504186791263,
                                   0.155495813208737,
                                   0.0753020396282533,
                                   0.0198062264195162,
                                   0};
    reel_optim *o = optim();
    check(o, reel_schedule_warmup(reel_schedule_cosine(o, 7, 0), 4, 0.1), want, T);
}

static void test_groups(void **state)
{
    (void)state;
    reel_optim *o = optim();
    reel_tensor *p = reel_requires_grad(reel_zeros(REEL_SHAPE(1), REEL_F32), true);
    const char *name = "second";
    reel_sgd_add(o, (reel_params){&p, &name, 1}, &(reel_sgd_opts){.lr = 0.8});
    reel_schedule *s = reel_schedule_step_decay(o, 1, 0.5);
    reel_schedule_step(s);
    assert_near(reel_optim_lr(o, 0), 0.2, 0);
    assert_near(reel_optim_lr(o, 1), 0.4, 0);
    assert_true(isnan(reel_schedule_at(s, 2, 0)));
    expect_error(REEL_ERR_ARG, "no group 2");
    reel_schedule_free(s);
    reel_optim_free(o);
}

static void test_state(void **state)
{
    (void)state;
    reel_optim *a = optim(), *b = optim();
    reel_schedule *sa = reel_schedule_warmup(reel_schedule_cosine(a, 7, 0.01), 3, 0.2);
    for (int t = 0; t < 5; t++) reel_schedule_step(sa);
    reel_optim_set_lr(b, 0, 7); /* the base rate comes from the state */
    reel_schedule *sb = reel_schedule_warmup(reel_schedule_cosine(b, 7, 0.01), 3, 0.2);
    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_schedule_load_state(sb, map), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "\"step\" is missing");
    assert_int_equal(reel_schedule_state(sa, map), REEL_OK);
    assert_int_equal(reel_schedule_load_state(sb, map), REEL_OK);
    for (int t = 0; t < 8; t++) {
        assert_true(reel_optim_lr(a, 0) == reel_optim_lr(b, 0));
        reel_schedule_step(sa);
        reel_schedule_step(sb);
    }
    reel_tensor_map_free(map);
    reel_schedule_free(sa);
    reel_schedule_free(sb);
    reel_optim_free(a);
    reel_optim_free(b);
}

static void test_errors(void **state)
{
    (void)state;
    reel_optim *o = optim();
    assert_null(reel_schedule_constant(NULL));
    expect_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_schedule_step_decay(o, 0, 0.5));
    expect_error(REEL_ERR_ARG, "every >= 1");
    assert_null(reel_schedule_multistep(o, (int64_t[]){5, 5}, 2, 0.5));
    expect_error(REEL_ERR_ARG, "ascend");
    assert_null(reel_schedule_cosine(o, 0, 0));
    expect_error(REEL_ERR_ARG, "steps >= 1");
    assert_null(reel_schedule_warmup(reel_schedule_constant(o), -1, 0));
    expect_error(REEL_ERR_ARG, "steps >= 0");
    assert_null(reel_schedule_warmup(NULL, 1, 0));
    expect_error(REEL_ERR_ARG, "a schedule");
    reel_schedule *s = reel_schedule_constant(o);
    reel_fail(REEL_ERR_NUMERIC, "loss");
    assert_int_equal(reel_schedule_step(s), REEL_ERR_NUMERIC);
    expect_error(REEL_ERR_NUMERIC, "loss");
    assert_int_equal(reel_schedule_count(s), 0);
    assert_int_equal(reel_schedule_count(NULL), -1);
    reel_schedule_free(s);
    reel_schedule_free(NULL);
    reel_optim_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_step_decay), TEST(test_multistep), TEST(test_cosine),
        TEST(test_linear),     TEST(test_one_cycle), TEST(test_warmup),
        TEST(test_groups),     TEST(test_state),     TEST(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
