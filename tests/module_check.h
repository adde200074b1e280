/* module_check.h: what tests of modules and optimizers share. */
#ifndef TESTS_MODULE_CHECK_H
#define TESTS_MODULE_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "base/alloc.h"

static inline int begin_test(void **state)
{
    (void)state;
    reel_error_clear();
    reel_seed(7);
    return 0;
}

/* No error is left over, and nothing is alive. */
static inline int end_test(void **state)
{
    (void)state;
    reel_scope_end(0);
    if (reel_failed()) print_error("pending: %s\n", reel_error_message());
    if (reel_live_objects()) print_error("alive: %lld\n", (long long)reel_live_objects());
    int bad = reel_failed() || reel_live_objects() != 0;
    reel_error_clear();
    return bad;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin_test, end_test)

/* Skips a test that saves or loads weights, where this build has no JSON to do it with. */
static inline void needs_json(void)
{
#ifndef REEL_HAVE_JANSSON
    skip();
#endif
}

/* The pending error has this status and says `part`; forgets it. */
static inline void expect_error(reel_status status, const char *part)
{
    if (!strstr(reel_error_message(), part))
        fail_msg("error \"%s\" does not say \"%s\"", reel_error_message(), part);
    assert_string_equal(reel_status_name(reel_error_status()), reel_status_name(status));
    reel_error_clear();
}

static inline void assert_ok(void)
{
    if (reel_failed()) fail_msg("%s", reel_error_message());
}

static inline void assert_near(double have, double want, double within)
{
    if (!(fabs(have - want) <= within)) fail_msg("%.17g, expected %.17g", have, want);
}

/* max |a - b|. */
static inline double distance(reel_tensor *a, reel_tensor *b)
{
    bool was = reel_set_grad_enabled(false);
    reel_scope s = reel_scope_begin();
    double d = reel_item(
        reel_max(reel_abs(reel_sub(reel_detach(a), reel_detach(b))), REEL_ALL, false));
    reel_scope_end(s);
    reel_set_grad_enabled(was);
    assert_ok();
    return d;
}

/* Same bits. */
static inline bool same_bits(reel_tensor *a, reel_tensor *b)
{
    reel_scope s = reel_scope_begin();
    size_t bytes = (size_t)reel_numel(a) * reel_dtype_size(reel_dtype_of(a));
    bool same = reel_numel(a) == reel_numel(b) && reel_dtype_of(a) == reel_dtype_of(b);
    a = reel_contiguous(reel_detach(a));
    b = reel_contiguous(reel_detach(b));
    same = same && memcmp(reel_data(a), reel_data(b), bytes) == 0;
    reel_scope_end(s);
    assert_ok();
    return same;
}

/* A file name of the test's own in the working folder. */
static inline const char *temp_name(const char *what)
{
    static char name[128];
    snprintf(name, sizeof name, "module_check_%s", what);
    return name;
}

#endif
