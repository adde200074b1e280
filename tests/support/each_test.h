/* each_test.h: what stands around each test of a group,
 *     cmocka_unit_test_setup_teardown(test, clean, nothing_left)
 * and what tests of the tape have in common. Needs cmocka before it. */
#ifndef TESTS_SUPPORT_EACH_TEST_H
#define TESTS_SUPPORT_EACH_TEST_H

#include <reel/autograd.h>

#include <string.h>

static inline int clean(void **state)
{
    (void)state;
    reel_error_clear();
    (void)reel_set_grad_enabled(true);
    reel_seed(1);
    return 0;
}

/* After each test nothing is alive, and no error is left behind. */
static inline int nothing_left(void **state)
{
    (void)state;
    reel_scope_end(0);
    if (reel_failed()) print_error("left behind: %s\n", reel_error_message());
    if (reel_live_objects()) print_error("%d objects\n", (int)reel_live_objects());
    return reel_failed() || reel_live_objects() != 0;
}

/* The pending error has this status, and the words in its message. It is cleared. */
static inline void expect_error(reel_status wanted, const char *part)
{
    if (reel_error_status() != wanted || !strstr(reel_error_message(), part))
        fail_msg("status %d, \"%s\"; expected %d and \"%s\"", (int)reel_error_status(),
                 reel_error_message(), (int)wanted, part);
    reel_error_clear();
}

static inline reel_tensor *sum(reel_tensor *x)
{
    return reel_sum(x, REEL_ALL, false);
}

#endif
