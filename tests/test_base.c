/* test_base.c: errors, dtypes, shapes, the allocation shim, Philox. */
#include "base/alloc.h"
#include "base/counts.h"
#include "base/decimal.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/shape.h"

#include <locale.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Our own Philox, beside the one of Random123 that the library may use. */
#ifndef REEL_OWN_PHILOX
#define REEL_OWN_PHILOX 1
#endif
#define reel__philox own_philox
#include "base/rng.c"
#undef reel__philox

static int clear(void **state)
{
    (void)state;
    reel__fault_alloc(0, false);
    reel_error_clear();
    return 0;
}

/* ---- errors ------------------------------------------------------------------------ */

/* First of all tests: the variable is read at the first error of a process. */
static void abort_on_error_aborts(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            setenv("REEL_ABORT_ON_ERROR", on ? "1" : "0", 1);
            signal(SIGABRT, SIG_DFL); /* the test runner catches it */
            if (!freopen("/dev/null", "w", stderr)) _exit(2);
            reel_fail(REEL_ERR_ARG, "stop here");
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (on)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void first_error_stays(void **state)
{
    (void)state;
    assert_false(reel_failed());
    assert_int_equal(reel_error_status(), REEL_OK);
    assert_string_equal(reel_error_message(), "");
    assert_int_equal(reel_fail(REEL_ERR_SHAPE, "conv2d: %d", 3), REEL_ERR_SHAPE);
    assert_int_equal(reel_fail(REEL_ERR_IO, "second"), REEL_ERR_SHAPE);
    assert_true(reel_failed());
    assert_string_equal(reel_error_message(), "conv2d: 3");
    reel_error_clear();
    assert_false(reel_failed());
    assert_string_equal(reel_error_message(), "");
    assert_int_equal(reel_fail(REEL_OK, "x"), REEL_ERR_INTERNAL);
}

static void long_message_is_cut(void **state)
{
    (void)state;
    char text[3 * REEL__ERROR_TEXT];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    reel_fail(REEL_ERR_ARG, "%s", text);
    assert_int_equal(strlen(reel_error_message()), REEL__ERROR_TEXT - 1);
}

/* In every locale; test_locale.sh runs this where numbers have a comma. */
static void numbers_have_a_point(void **state)
{
    (void)state;
    char text[64], want[64];
    if (getenv("REEL_TEST_LOCALE")) {
        assert_string_equal(localeconv()->decimal_point, ",");
        snprintf(text, sizeof text, "%.1f", 1.5);
        assert_string_equal(text, "1,5");
    }
    reel__snprint(text, sizeof text, "%g %.2f %.1e", 0.25, 1234.5, 1e6);
    assert_string_equal(text, "0.25 1234.50 1.0e+06");
    char *end;
    assert_true(reel__strtod("2.5,x", &end) == 2.5);
    assert_string_equal(end, ",x");
    reel_fail(REEL_ERR_ARG, "%g is wrong", 0.5);
    assert_string_equal(reel_error_message(), "0.5 is wrong");
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(reel__fprint(f, "%g", 7.5), 3);
    rewind(f);
    assert_non_null(fgets(want, sizeof want, f));
    assert_string_equal(want, "7.5");
    fclose(f);
}

static const char *where_text;
static const char *where(void)
{
    return where_text;
}

static void place_is_appended(void **state)
{
    (void)state;
    assert_null(reel__set_error_where(where));
    where_text = "layer1.0.conv1";
    reel_fail(REEL_ERR_SHAPE, "conv2d: no");
    assert_string_equal(reel_error_message(), "conv2d: no (in layer1.0.conv1)");
    reel_error_clear();
    where_text = "";
    reel_fail(REEL_ERR_SHAPE, "conv2d: no");
    assert_string_equal(reel_error_message(), "conv2d: no");
    assert_true(reel__set_error_where(NULL) == where);
}

static void names(void **state)
{
    (void)state;
    for (int s = REEL_OK; s <= REEL_ERR_INTERNAL; s++)
        assert_string_not_equal(reel_status_name((reel_status)s), "unknown");
    assert_string_equal(reel_status_name((reel_status)99), "unknown");
    const char *dtype[] = {"f32", "f64", "f16", "bf16", "i64", "i32", "i8", "u8", "bool"};
    const size_t size[] = {4, 8, 2, 2, 8, 4, 1, 1, 1};
    for (int d = 0; d < REEL__DTYPE_COUNT; d++) {
        assert_string_equal(reel_dtype_name((reel_dtype)d), dtype[d]);
        assert_int_equal(reel_dtype_size((reel_dtype)d), size[d]);
        assert_int_equal(reel_dtype_is_float((reel_dtype)d), d <= REEL_BF16);
    }
    assert_int_equal(reel_dtype_size((reel_dtype)-1), 0);
    assert_int_equal(reel_dtype_size(REEL__DTYPE_COUNT), 0);
    assert_string_equal(reel_dtype_name(REEL__DTYPE_COUNT), "?");
    assert_string_equal(reel_version(), "0.1.0");
}

/* ---- shapes ------------------------------------------------------------------------ */

static reel__meta meta(reel_shape s)
{
    return reel__meta_of(s, REEL_F32, (reel_device){0});
}

static void assert_strides(const reel__meta *m, const reel_shape expect)
{
    assert_int_equal(m->rank, expect.rank);
    for (int i = 0; i < m->rank; i++) assert_int_equal(m->stride[i], expect.dim[i]);
}

static void memory_orders(void **state)
{
    (void)state;
    reel__meta m = meta(REEL_SHAPE(2, 3, 4, 5));
    assert_strides(&m, REEL_SHAPE(60, 20, 5, 1));
    assert_true(reel__is_contiguous(&m) && reel__is_dense(&m));
    assert_false(reel__is_channels_last(&m));
    reel__set_channels_last(&m);
    assert_strides(&m, REEL_SHAPE(60, 1, 15, 3));
    assert_true(reel__is_channels_last(&m) && reel__is_dense(&m));
    assert_false(reel__is_contiguous(&m));
    m.stride[0] = 61;
    assert_false(reel__is_dense(&m) || reel__is_channels_last(&m));
    reel__meta one = meta(REEL_SHAPE(2, 3, 1, 1)); /* both orders at once */
    assert_true(reel__is_contiguous(&one) && reel__is_channels_last(&one));
    reel__meta expanded = meta(REEL_SHAPE(4, 5));
    expanded.stride[0] = 0;
    assert_false(reel__is_dense(&expanded));
    reel__meta none = meta(REEL_SHAPE(4, 0, 3));
    none.stride[0] = 77;
    assert_true(reel__is_dense(&none) && reel__is_contiguous(&none));
    assert_int_equal(reel__numel(&none), 0);
    reel__meta scalar = meta(REEL_SCALAR);
    assert_true(reel__is_dense(&scalar) && reel__is_contiguous(&scalar));
    assert_int_equal(reel__numel(&scalar), 1);
}

/* Channels-last survives shape changes, also where sizes of 1 make strides ambiguous. */
static void strides_like(void **state)
{
    (void)state;
    const reel_shape like[] = {REEL_SHAPE(2, 3, 4, 5), REEL_SHAPE(2, 1, 4, 5),
                               REEL_SHAPE(2, 3, 1, 1), REEL_SHAPE(1, 3, 1, 1)};
    for (int i = 0; i < 4; i++) {
        reel__meta cl = meta(like[i]), y = meta(REEL_SHAPE(2, 7, 4, 5));
        reel__set_channels_last(&cl);
        reel__set_strides_like(&y, &cl);
        assert_strides(&y, REEL_SHAPE(140, 1, 35, 7));
        reel__meta rm = meta(like[i]);
        if (i == 3) continue; /* [1,3,1,1] is (3,1,1,1) or (3,1,3,3) */
        reel__set_strides_like(&y, &rm);
        assert_strides(&y, REEL_SHAPE(140, 20, 5, 1));
    }
    reel__meta bias = meta(REEL_SHAPE(2, 7, 4, 5)), y = bias;
    bias.stride[0] = bias.stride[2] = bias.stride[3] = 0, bias.stride[1] = 1;
    reel__set_channels_last(&y);
    reel__set_strides_like(&y, &bias);
    assert_true(reel__is_contiguous(&y));
    reel__meta t = meta(REEL_SHAPE(3, 4)), z = meta(REEL_SHAPE(3, 4));
    t.stride[0] = 1, t.stride[1] = 3;
    reel__set_strides_like(&z, &t);
    assert_strides(&z, REEL_SHAPE(1, 3));
}

static void broadcasting(void **state)
{
    (void)state;
    static const struct {
        reel_shape a, b, out;
        bool fits;
    } c[] = {
        {{2, {3, 4}}, {2, {3, 4}}, {2, {3, 4}}, true},
        {{4, {8, 1, 6, 1}}, {3, {7, 1, 5}}, {4, {8, 7, 6, 5}}, true},
        {{0, {0}}, {2, {3, 4}}, {2, {3, 4}}, true},
        {{2, {1, 4}}, {2, {0, 4}}, {2, {0, 4}}, true},
        {{1, {3}}, {1, {4}}, {0, {0}}, false},
        {{2, {3, 4}}, {1, {3}}, {0, {0}}, false},
        {{1, {0}}, {1, {2}}, {0, {0}}, false},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        reel__meta a = meta(c[i].a), b = meta(c[i].b), out = {0}, expect = meta(c[i].out);
        assert_int_equal(reel__broadcast(&a, &b, &out), c[i].fits);
        if (c[i].fits) assert_true(reel__same_shape(&out, &expect));
        assert_int_equal(reel__broadcast(&b, &a, &out), c[i].fits);
        if (!c[i].fits) continue;
        assert_true(reel__broadcast(&a, &b, &a)); /* in place */
        assert_true(reel__same_shape(&a, &expect));
    }
}

static void overflow_is_an_error(void **state)
{
    (void)state;
    int64_t x;
    assert_true(reel__checked_mul(INT64_MAX / 2, 2, &x) && x == INT64_MAX - 1);
    assert_false(reel__checked_mul(INT64_MAX / 2 + 1, 2, &x));
    assert_true(reel__checked_add(INT64_MAX - 1, 1, &x) && x == INT64_MAX);
    assert_false(reel__checked_add(INT64_MAX, 1, &x));
    const reel_shape bad[] = {
        REEL_SHAPE((int64_t)1 << 61), /* times four bytes */
        REEL_SHAPE((int64_t)1 << 31, (int64_t)1 << 31),
        REEL_SHAPE(0, INT64_MAX, INT64_MAX),
        REEL_SHAPE(2, -3),
        {.rank = 9},
        {.rank = -1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reel__meta m = meta(bad[i]);
        assert_int_equal(reel__meta_check("empty", &m), REEL_ERR_SHAPE);
        reel_error_clear();
    }
    reel__meta m = meta(REEL_SHAPE(2, -3));
    reel__meta_check("empty", &m);
    assert_string_equal(reel_error_message(),
                        "empty: shape [2,-3], dimension 1 must not be negative");
    reel_error_clear();
    m = meta(REEL_SHAPE(2));
    m.dtype = (reel_dtype)42;
    assert_int_equal(reel__meta_check("empty", &m), REEL_ERR_DTYPE);
    reel_error_clear();
    m = meta(REEL_SHAPE(((int64_t)1 << 61) - 1));
    assert_int_equal(reel__meta_check("empty", &m), REEL_OK);
}

static void shape_texts(void **state)
{
    (void)state;
    char buf[REEL__META_TEXT];
    reel__meta m = meta(REEL_SHAPE(8, 3, 32, 32));
    assert_string_equal(reel__meta_text(&m, buf), "f32[8,3,32,32]");
    assert_string_equal(reel__dims_text(&m, buf), "[8,3,32,32]");
    m = meta(REEL_SCALAR);
    assert_string_equal(reel__meta_text(&m, buf), "f32[]");
    m.rank = REEL_MAX_RANK;
    for (int i = 0; i < REEL_MAX_RANK; i++) m.dim[i] = INT64_MIN;
    assert_int_equal(strlen(reel__dims_text(&m, buf)), REEL__META_TEXT - 1);
    m.rank = 1000; /* damaged: cut, not overrun */
    assert_true(strlen(reel__meta_text(&m, buf)) < REEL__META_TEXT);
    assert_int_equal(reel__wrap_dim(-1, 4), 3);
    assert_int_equal(reel__wrap_dim(4, 4), -1);
    assert_int_equal(reel__wrap_dim(-5, 4), -1);
    assert_int_equal(reel__wrap_dim(0, 0), -1);
}

/* ---- memory ------------------------------------------------------------------------ */

static void kth_allocation_fails(void **state)
{
    (void)state;
    reel__fault_alloc(2, false);
    void *a = reel__malloc(8);
    assert_non_null(a);
    assert_null(reel__calloc(2, 8));
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    reel_error_clear();
    char *b = reel__strdup("abc");
    assert_string_equal(b, "abc");
    assert_int_equal(reel__fault_alloc_count(), 3);
    reel__fault_alloc(1, true);
    for (int i = 0; i < 3; i++) assert_null(reel__realloc(a, 100));
    reel__fault_alloc(0, false);
    a = reel__realloc(a, 100); /* was still valid */
    assert_non_null(a);
    reel__free(a);
    reel__free(b);
    reel_error_clear();
    assert_null(reel__calloc(SIZE_MAX / 2, 4));
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    reel_error_clear();
    a = reel__malloc(0);
    assert_non_null(a);
    reel__free(a);
    a = reel__calloc(0, 8);
    assert_non_null(a);
    reel__free(a);
}

static void live_objects(void **state)
{
    (void)state;
    int64_t before = reel_live_objects();
    reel__live_add(3);
    assert_int_equal(reel_live_objects(), before + 3);
    reel__live_add(-3);
    assert_int_equal(reel_live_objects(), before);
}

/* ---- Philox ------------------------------------------------------------------------ */

/* philox4x32 10 of the file kat_vectors in Random123's distribution. */
static void philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t out[4];
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        philox4x32_10(kat[i].counter, kat[i].key, out);
        assert_memory_equal(out, kat[i].out, sizeof out);
    }
    reel__philox(0, 0, out);
    assert_memory_equal(out, kat[0].out, sizeof out);
}

static void library_philox_is_the_same(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t seed = i * UINT64_C(0x9E3779B97F4A7C15), block = seed ^ (seed >> 31) ^ i;
        uint32_t a[4], b[4];
        reel__philox(seed, block, a);
        own_philox(seed, block, b);
        assert_memory_equal(a, b, sizeof a);
    }
    assert_true(reel__u01f(0xffffffffu) < 1.0f && reel__u01f(0) == 0.0f);
    assert_true(reel__u01(0xffffffffu, 0xffffffffu) < 1.0 && reel__u01(0, 0) == 0.0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        TEST(abort_on_error_aborts),
        TEST(first_error_stays),
        TEST(long_message_is_cut),
        TEST(place_is_appended),
        TEST(numbers_have_a_point),
        TEST(names),
        TEST(memory_orders),
        TEST(strides_like),
        TEST(broadcasting),
        TEST(overflow_is_an_error),
        TEST(shape_texts),
        TEST(kth_allocation_fails),
        TEST(live_objects),
        TEST(philox_known_answers),
        TEST(library_philox_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
