/* graph_check.h: what tests of graphs expect. Needs cmocka before it. */
#ifndef TESTS_GRAPH_CHECK_H
#define TESTS_GRAPH_CHECK_H

#include <reel/reel.h>

#include <stdlib.h>
#include <string.h>

static inline void no_error(void)
{
    if (reel_failed()) print_error("%s\n", reel_error_message());
    assert_false(reel_failed());
}

/* The pending error has this status, and the word in its message. It is cleared. */
static inline void expect(reel_status status, const char *word)
{
    if (!strstr(reel_error_message(), word))
        print_error("no \"%s\" in \"%s\"\n", word, reel_error_message());
    assert_int_equal(reel_error_status(), status);
    assert_non_null(strstr(reel_error_message(), word));
    reel_error_clear();
}

static inline bool equal_bits(reel_tensor *a, reel_tensor *b)
{
    size_t bytes = (size_t)reel_numel(a) * sizeof(double);
    double *x = calloc(1, bytes + 1), *y = calloc(1, bytes + 1);
    bool same = reel_numel(a) == reel_numel(b) && !reel_read(a, x, REEL_F64) &&
                !reel_read(b, y, REEL_F64) && memcmp(x, y, bytes) == 0;
    free(x);
    free(y);
    return same;
}

static inline void same_bits(reel_tensor *a, reel_tensor *b)
{
    no_error();
    assert_true(equal_bits(a, b));
    no_error();
}

#endif
