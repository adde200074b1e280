/* test_conv_error.c: the error of Winograd's convolutions is what the comment of
 * reel_set_exact() in base.h says. `bench_conv error` prints more of the same numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/bench_conv_error.h"

/* As in base.h: of the size of a result. */
static double bound(reel__conv_pass pass, int64_t channels, double ratio)
{
    double plain = pass == REEL_CONV_WEIGHT ? 5e-5 : 5e-6 * sqrt((double)channels);
    return plain + 5e-7 * ratio;
}

static double direct_bound(reel__conv_pass pass, int64_t channels, double ratio)
{
    return pass == REEL_CONV_WEIGHT ? 1e-5 + 1e-7 * ratio : 1e-6 * sqrt((double)channels);
}

static const int64_t terms[] = {16, 64, 512};
static const double ratios[] = {1, 1e2, 1e4, 1e6};
#define TERMS (int)(sizeof terms / sizeof *terms)
#define RATIOS (int)(sizeof ratios / sizeof *ratios)

static void check(reel__conv_pass pass, int64_t n, double ratio, uint64_t seed)
{
    conv_error e = conv_error_of(pass, n, ratio, seed);
    double limit = bound(pass, n, ratio);
    if (!(e.winograd < limit))
        fail_msg("pass %d, %d terms, ratio %g: %.2e, not below %.2e", (int)pass, (int)n,
                 ratio, e.winograd, limit);
    double direct = direct_bound(pass, n, ratio);
    if (!(e.direct < direct))
        fail_msg("pass %d, %d terms, ratio %g: %.2e directly, not below %.2e", (int)pass,
                 (int)n, ratio, e.direct, direct);
    /* The bound says something: it is not far from what is measured. */
    if (pass != REEL_CONV_WEIGHT && !(e.winograd > limit / 10))
        fail_msg("pass %d, %d terms, ratio %g: %.2e, far below %.2e", (int)pass, (int)n,
                 ratio, e.winograd, limit);
}

static void test_forward(void **state)
{
    (void)state;
    for (int i = 0; i < TERMS * RATIOS; i++)
        check(REEL_CONV_FORWARD, terms[i / RATIOS], ratios[i % RATIOS], 7);
}

static void test_by_input(void **state)
{
    (void)state;
    for (int i = 0; i < TERMS * RATIOS; i++)
        check(REEL_CONV_INPUT, terms[i / RATIOS], ratios[i % RATIOS], 8);
}

static void test_by_weight(void **state)
{
    (void)state;
    for (int i = 0; i < TERMS * RATIOS; i++)
        check(REEL_CONV_WEIGHT, terms[i / RATIOS], ratios[i % RATIOS], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_by_input),
        cmocka_unit_test(test_by_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
