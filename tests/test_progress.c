/* test_progress.c: progress lines and the log callback. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int clear(void **state)
{
    (void)state;
    reel__fault_alloc(0, false);
    reel_error_clear();
    reel_set_log(NULL, NULL);
    return 0;
}

static void lines(void **state)
{
    (void)state;
    static const struct {
        reel__progress_view v;
        int columns;
        const char *line;
    } c[] = {
        {{"train", "loss 1.5", 100, 400, 50, false, 0},
         0,
         "train 100/400  25% 2/s, 2:30 left  loss 1.5"},
        {{"train", "", 400, 400, 3725, true, 0},
         0,
         "train 400/400 100% 9.31 s each in 1:02:05"},
        {{"", "", 7, 0, 0.5, false, 0}, 0, "7 14/s, 0:00 so far"},
        {{"", "", 0, 9, 0, false, 0}, 0, "0/9   0% 0/s, --:-- left"},
        {{"", "", 5000, 0, 1, true, 0}, 0, "5000 5 k/s in 0:01"},
        {{"x", "", 1, 2, 1, false, 0}, 40, "x [=====>     ] 1/2  50% 1/s, 0:01 left"},
        {{"", "", 50, 90, 4, false, 42}, 0, "50/90  55% 2/s, 0:20 left"},
        {{"x", "", 1, 2, 1, false, 0}, 34, "x 1/2  50% 1/s, 0:01 left"},
        {{"x", "", 1, 2, 1, false, 0}, 10, "x 1/2  50"},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        char buf[REEL__PROGRESS_LINE];
        assert_string_equal(reel__progress_line(&c[i].v, c[i].columns, buf), c[i].line);
    }
    /* Never as wide as the terminal: the cursor would go to the next line. */
    const reel__progress_view v = {"a label", "and a text", 123, 456, 7, false, 0};
    for (int columns = 1; columns < 600; columns++) {
        char buf[REEL__PROGRESS_LINE];
        assert_true((int)strlen(reel__progress_line(&v, columns, buf)) < columns);
    }
}

static void written_to_the_file_given(void **state)
{
    (void)state;
    assert_null(reel_progress_new(NULL, 3, NULL)); /* silence */
    assert_false(reel_failed());
    reel_progress_update(NULL, 1, NULL);
    reel_progress_free(NULL);
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_null(reel_progress_new(f, -1, NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_ARG);
    reel_error_clear();
    reel__fault_alloc(1, false);
    assert_null(reel_progress_new(f, 1, NULL));
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    reel_error_clear();
    reel_progress *p =
        reel_progress_new(f, 2, &(reel_progress_opts){.label = "te\nst", .every = 1e-9});
    assert_non_null(p);
    reel_progress_update(p, 1, "loss %.1f", 0.5);
    reel_progress_update(p, 1, NULL);
    reel_progress_free(p);
    rewind(f);
    char line[3][128];
    for (int i = 0; i < 3; i++) {
        assert_non_null(fgets(line[i], sizeof line[i], f));
        assert_memory_equal(line[i], "te st ", 6);
        assert_non_null(strstr(line[i], "loss 0.5\n"));
    }
    assert_non_null(strstr(line[0], "1/2  50%"));
    assert_non_null(strstr(line[2], "2/2 100%"));
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

static void plain_lines_are_rare(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    assert_non_null(f);
    reel_progress *p = reel_progress_new(f, 0, NULL);
    for (int i = 0; i < 1000; i++) reel_progress_update(p, 1, NULL);
    assert_int_equal(ftell(f), 0);
    reel_progress_free(p);
    assert_true(ftell(f) > 0);
    fclose(f);
}

typedef struct heard {
    int n;
    reel_log_level level;
    char text[2048];
} heard;

static void listen(void *user, reel_log_level level, const char *message)
{
    heard *h = user;
    h->n++;
    h->level = level;
    snprintf(h->text, sizeof h->text, "%s", message);
}

static void log_lines(void **state)
{
    (void)state;
    heard h = {0};
    reel__log_line(REEL_LOG_WARN, "to nobody");
    reel_set_log(listen, &h);
    reel__log_line(REEL_LOG_INFO, "%d of %s", 3, "x");
    assert_int_equal(h.n, 1);
    assert_int_equal(h.level, REEL_LOG_INFO);
    assert_string_equal(h.text, "3 of x");
    reel__log_line(REEL_LOG_DEBUG, "%2000d", 1);
    assert_int_equal(strlen(h.text), 1023);
    reel_set_log(NULL, NULL);
    reel__log_line(REEL_LOG_INFO, "again to nobody");
    assert_int_equal(h.n, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        TEST(lines),
        TEST(written_to_the_file_given),
        TEST(plain_lines_are_rare),
        TEST(log_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
