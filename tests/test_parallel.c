/* test_parallel.c: every task once, the same sums on any number of threads, nesting, errors
 * of workers, denormals. */
#include "base/denormals.h"
#include "base/parallel.h"

#include <reel/base.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1000 };

static int clear(void **state)
{
    (void)state;
    reel_error_clear();
    reel_set_flush_denormals(true);
    return reel_set_threads(0) != REEL_OK;
}

static atomic_int seen[N];

static void mark(void *ctx, int64_t i, int worker)
{
    (void)ctx;
    /* cmocka's assertions jump, which a worker must not */
    if (worker >= 0 && worker < reel__max_workers()) atomic_fetch_add(&seen[i], 1);
}

static void each_task_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        assert_int_equal(reel_set_threads(threads), REEL_OK);
        assert_int_equal(reel_threads(), threads);
        for (int64_t n = 0; n <= N; n = n * 3 + 1) {
            memset(seen, 0, sizeof seen);
            reel__parallel(n, mark, NULL);
            reel__parallel_dynamic(n, mark, NULL);
            for (int64_t i = 0; i < N; i++) assert_int_equal(seen[i], i < n ? 2 : 0);
        }
    }
}

static void thread_counts_are_checked(void **state)
{
    (void)state;
    assert_int_equal(reel_set_threads(-1), REEL_ERR_ARG);
    reel_error_clear();
    assert_int_equal(reel_set_threads(100000), REEL_ERR_ARG);
    reel_error_clear();
    assert_int_equal(reel_set_threads(0), REEL_OK);
    assert_true(reel_threads() >= 1);
}

static float partial[N];

static void sum_range(void *ctx, int64_t begin, int64_t end)
{
    float s = 0;
    for (int64_t i = begin; i < end; i++) s += 1.0f / (float)(i + 3);
    partial[begin / *(int64_t *)ctx] = s;
}

static float sum(int64_t n, int64_t grain)
{
    memset(partial, 0, sizeof partial);
    reel__parallel_range(n, grain, sum_range, &grain);
    float s = 0;
    for (int i = 0; i < N; i++) s += partial[i];
    return s;
}

static void sums_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 20000; n = n * 2 + 7) {
        reel_set_threads(1);
        float one = sum(n, 64);
        for (int threads = 2; threads <= 5; threads++) {
            reel_set_threads(threads);
            float many = sum(n, 64);
            assert_memory_equal(&one, &many, sizeof one);
        }
    }
}

static void nest(void *ctx, int64_t i, int worker)
{
    (void)worker;
    (void)i;
    reel__parallel(10, mark, ctx);
}

static void nested_calls_run_inline(void **state)
{
    (void)state;
    reel_set_threads(4);
    memset(seen, 0, sizeof seen);
    reel__parallel(100, nest, NULL);
    for (int i = 0; i < 10; i++) assert_int_equal(seen[i], 100);
}

static void add_one(void *part, int64_t i, int worker)
{
    (void)worker;
    ((float *)part)[i] += 1;
}

/* Two threads want the pool at once: one has it, the other works alone, and both get all. */
static void *call_often(void *sums)
{
    float *own = sums;
    for (int i = 0; i < 2000; i++) {
        float part[64] = {0};
        reel__parallel(64, add_one, part);
        for (int k = 0; k < 64; k++) own[0] += part[k];
    }
    return NULL;
}

static void callers_do_not_meet(void **state)
{
    (void)state;
    reel_set_threads(3);
    pthread_t other;
    float mine = 0, its = 0;
    assert_int_equal(pthread_create(&other, NULL, call_often, &its), 0);
    call_often(&mine);
    pthread_join(other, NULL);
    assert_true(mine == 128000 && its == 128000);
}

static void fail_late(void *ctx, int64_t i, int worker)
{
    (void)ctx;
    (void)worker;
    if (i >= 50) reel_fail(REEL_ERR_MEMORY, "task failed");
}

static void errors_of_workers_reach_the_caller(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        reel_set_threads(threads);
        reel__parallel(100, fail_late, NULL);
        assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
        assert_string_equal(reel_error_message(), "task failed");
        reel_error_clear();
        reel__parallel(50, fail_late, NULL); /* and do not stay behind */
        assert_false(reel_failed());
    }
}

static float products[N];

static void multiply(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const volatile float *x = ctx;
    products[i] = x[0] * x[1];
}

static float tiny(void)
{
    volatile float x[2] = {1e-30f, 1e-10f}; /* 1e-40 is denormal */
    return x[0] * x[1];
}

static void denormals_are_flushed_inside_only(void **state)
{
    (void)state;
#if defined(__SSE2__) || defined(__aarch64__)
    volatile float x[2] = {1e-30f, 1e-10f};
    for (int threads = 1; threads <= 3; threads++) {
        reel_set_threads(threads);
        for (int on = 0; on < 2; on++) {
            reel_set_flush_denormals(on);
            reel__parallel(N, multiply, (void *)(uintptr_t)x);
            for (int i = 0; i < N; i++) assert_int_equal(products[i] == 0, on);
            assert_true(tiny() != 0);
        }
    }
    uint64_t outer = reel__flush_begin(), inner = reel__flush_begin();
    reel__flush_end(inner);
    assert_true(tiny() == 0);
    reel__flush_end(outer);
    assert_true(tiny() != 0);
#else
    skip();
#endif
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        TEST(each_task_runs_once),
        TEST(thread_counts_are_checked),
        TEST(sums_do_not_depend_on_threads),
        TEST(nested_calls_run_inline),
        TEST(callers_do_not_meet),
        TEST(errors_of_workers_reach_the_caller),
        TEST(denormals_are_flushed_inside_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
