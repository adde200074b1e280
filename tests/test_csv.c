/* test_csv.c: tables of numbers: any that can be written, and what is wrong with the others. */
#include <reel/data.h>

#include "temp_folder.h"

#include <math.h>

static const char *write_text(const char *text)
{
    temp_write("t.csv", text, strlen(text));
    return temp_path("t.csv");
}

/* Element k of field `name` of a row. */
static double at(reel_dataset *ds, int64_t row, const char *name, int64_t k)
{
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, row, &s), REEL_OK);
    const reel_field *f = reel_sample_field(&s, name);
    assert_non_null(f);
    double v = f->dtype == REEL_F64   ? ((const double *)f->data)[k]
               : f->dtype == REEL_I64 ? (double)((const int64_t *)f->data)[k]
                                      : (double)((const float *)f->data)[k];
    reel_sample_free(&s);
    return v;
}

static int64_t width(reel_dataset *ds, const char *name)
{
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, 0, &s), REEL_OK);
    const reel_field *f = reel_sample_field(&s, name);
    assert_non_null(f);
    assert_int_equal(f->shape.rank, 1);
    int64_t n = f->shape.dim[0];
    reel_sample_free(&s);
    return n;
}

/* ---- what is read -------------------------------------------------------------------- */

static void columns_are_chosen(void **state)
{
    (void)state;
    const char *path = write_text("a,b,\"c, d\",name\r\n1,2.5,-3e2,\"x \"\"1\"\"\"\r\n"
                                  "4, +.5 ,\"6.25\",\"two\nlines\"\r\n");
    const char *const b[] = {"b", NULL}, *const x[] = {"c, d", "a", NULL};
    reel_dataset *ds = reel_csv(path, &(reel_csv_opts){.x = x, .y = b});
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 2);
    assert_int_equal(width(ds, "x"), 2);
    assert_int_equal(width(ds, "y"), 1);
    assert_true(at(ds, 0, "x", 0) == -300 && at(ds, 0, "x", 1) == 1);
    assert_true(at(ds, 1, "x", 0) == 6.25 && at(ds, 1, "x", 1) == 4);
    assert_true(at(ds, 0, "y", 0) == 2.5 && at(ds, 1, "y", 0) == 0.5);
    reel_dataset_free(ds);

    /* A column may be in both; y may be nothing. */
    const char *const none[] = {NULL};
    ds = reel_csv(path, &(reel_csv_opts){.x = b, .y = b});
    assert_ok();
    assert_true(at(ds, 0, "x", 0) == at(ds, 0, "y", 0));
    reel_dataset_free(ds);
    ds = reel_csv(path, &(reel_csv_opts){.x = b, .y = none});
    assert_ok();
    reel_sample s = {0};
    reel_dataset_get(ds, 0, &s);
    assert_int_equal(s.fields, 1);
    reel_sample_free(&s);
    reel_dataset_free(ds);
}

/* By default the last column is y; without a header columns have numbers. */
static void defaults_are_plain(void **state)
{
    (void)state;
    const char *path = write_text("\xEF\xBB\xBF\n\n1;2;0\n\n3;4;7\n\n");
    reel_dataset *ds = reel_csv(
        path, &(reel_csv_opts){.no_header = true, .separator = ';', .labels = true});
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 2);
    assert_int_equal(reel_dataset_classes(ds), 8);
    assert_int_equal(reel_dataset_label(ds, 1), 7);
    assert_true(at(ds, 1, "x", 1) == 4);
    reel_dataset_free(ds);
    const char *const second[] = {"1", NULL};
    ds = reel_csv(
        path,
        &(reel_csv_opts){.no_header = true, .separator = ';', .y = second, .labels = 1});
    assert_ok();
    assert_int_equal(reel_dataset_label(ds, 0), 2);
    assert_int_equal(width(ds, "x"), 2);
    assert_true(at(ds, 0, "x", 1) == 0);
    reel_dataset_free(ds);
}

static void missing_numbers_are_asked_about(void **state)
{
    (void)state;
    const char *path = write_text("a,b,y\n1,,3\n4,5,6\n7,na,9\nnull,NaN,1\n");
    assert_null(reel_csv(path, NULL));
    assert_error(REEL_ERR_FORMAT, "t.csv:2: column 2 (\"b\"): \"\" is missing");
    reel_dataset *ds = reel_csv(path, &(reel_csv_opts){.missing = REEL_CSV_SKIP_ROW});
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 1);
    assert_int_equal(reel_dataset_skipped(ds), 3);
    assert_true(at(ds, 0, "y", 0) == 6);
    reel_dataset_free(ds);
    ds = reel_csv(path, &(reel_csv_opts){.missing = REEL_CSV_NAN});
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 4);
    assert_true(isnan(at(ds, 3, "x", 0)) && isnan(at(ds, 2, "x", 1)));
    assert_true(at(ds, 2, "x", 0) == 7);
    reel_dataset_free(ds);
    /* A column that nobody asks for may miss what it likes. */
    const char *const a[] = {"a", NULL}, *const y[] = {"y", NULL};
    write_text("a,b,y\n1,,3\n4,x,6\n");
    ds = reel_csv(path, &(reel_csv_opts){.x = a, .y = y});
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 2);
    reel_dataset_free(ds);
}

/* ---- random tables -------------------------------------------------------------------- */

enum { ROWS = 20, COLUMNS = 8 };

/* A double of any size, or a plain one. */
static double any_number(reel_draw *d)
{
    if (reel_draw_below(d, 3) == 0) return (double)reel_draw_below(d, 200) - 100;
    double v = ((double)reel_draw_u32(d) + 0x1p-20 * (double)reel_draw_u32(d)) * 0x1p-32;
    v = ldexp(v, (int)reel_draw_below(d, 2000) - 1000);
    return reel_draw_below(d, 2) ? -v : v;
}

static char *any_blanks(reel_draw *d, char *to)
{
    while (reel_draw_below(d, 4) == 0) *to++ = reel_draw_below(d, 2) ? ' ' : '\t';
    return to;
}

/* Writes one the way some program might. */
static char *put_number(reel_draw *d, char *to, double v)
{
    bool quotes = reel_draw_below(d, 4) == 0;
    if (quotes) *to++ = '"';
    to = any_blanks(d, to);
    to += sprintf(to, reel_draw_below(d, 2) ? "%.17g" : "%.20e", v);
    to = any_blanks(d, to);
    if (quotes) *to++ = '"';
    return to;
}

/* Whatever the layout, the numbers come back bit for bit. */
static void any_table_is_read(void **state)
{
    (void)state;
    static char text[ROWS * COLUMNS * 64 + 1024];
    for (uint64_t seed = 1; seed <= 300; seed++) {
        reel_draw d = reel_draw_at(seed, 0, 0);
        int64_t rows = 1 + reel_draw_below(&d, ROWS),
                columns = 2 + reel_draw_below(&d, 7);
        char separator = ",;|:"[reel_draw_below(&d, 4)];
        const char *end = reel_draw_below(&d, 2) ? "\n" : "\r\n";
        bool header = reel_draw_below(&d, 2);
        double want[ROWS][COLUMNS];
        char *to = text;
        if (reel_draw_below(&d, 4) == 0) to += sprintf(to, "\xEF\xBB\xBF");
        for (int64_t k = 0; header && k < columns; k++)
            to += sprintf(to, "\"c%d, \"\"%d\"\"\"%c", (int)k, (int)k,
                          k + 1 < columns ? separator : *end);
        if (header && end[1]) *to++ = '\n';
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t k = 0; k < columns; k++) {
                want[r][k] = any_number(&d);
                to = put_number(&d, to, want[r][k]);
                if (k + 1 < columns) *to++ = separator;
            }
            if (r + 1 < rows || reel_draw_below(&d, 2)) to += sprintf(to, "%s", end);
            while (r + 1 < rows && reel_draw_below(&d, 8) == 0)
                to += sprintf(to, "%s", end);
        }
        *to = '\0';
        char name[32];
        snprintf(name, sizeof name, header ? "c%d, \"%d\"" : "%d", (int)columns / 2,
                 (int)columns / 2);
        const char *const y[] = {name, NULL};
        reel_dataset *ds = reel_csv(
            write_text(text),
            &(reel_csv_opts){
                .y = y, .no_header = !header, .separator = separator, .dtype = REEL_F64});
        assert_ok();
        assert_int_equal(reel_dataset_length(ds), rows);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0, x = 0; k < columns; k++)
                assert_true(k == columns / 2 ? at(ds, r, "y", 0) == want[r][k]
                                             : at(ds, r, "x", x++) == want[r][k]);
        reel_dataset_free(ds);
    }
}

/* ---- what is refused ------------------------------------------------------------------- */

static void tables_refuse(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "is empty"},
        {"\n\r\n", "is empty"},
        {"a,b\n", "has no rows"},
        {"a,b\n1,2\n3\n", "t.csv:3: 1 fields, expected 2"},
        {"a,b\n1,2,3\n", "t.csv:2: 3 fields, expected 2"},
        {"a,b\n1,2,\n", "t.csv:2: 3 fields, expected 2"},
        {"a,b\n1,x\n", "t.csv:2: column 2 (\"b\"): \"x\" is not a number"},
        {"a,b\n\"1\n\",2\n", "t.csv:2: column 1 (\"a\"): \"1?\" is not a number"},
        {"a,b\n\"x\n\",2\n3,4\n", "t.csv:2: column 1"},
        {"a,b\n1,2\n\"3\n\n\",4\n", "t.csv:3: column 1"},
        {"a,b\n1,0x10\n", "\"0x10\" is not a number"},
        {"a,b\n1,inf\n", "\"inf\" is not a number"},
        {"a,b\n1,1e\n", "\"1e\" is not a number"},
        {"a,b\n1,1 2\n", "\"1 2\" is not a number"},
        {"a,b\n1,1\r2\n", "\"1?2\" is not a number"},
        {"a,b\n1,2.3.4\n", "\"2.3.4\" is not a number"},
        {"a,b\n1,\"2\"\"\"\n", "is not a number"},
        {"a,b\n1,1e39\n", "\"1e39\" is beyond the dtype"},
        {"a,b\n1,-1e999\n", "\"-1e999\" is beyond the dtype"},
        {"a,b\n1,\"2\n", "t.csv:2: a quote that does not end"},
        {"a,b\n1,\"2\"3\n", "t.csv:2: text behind the quotes"},
        {"a,b\n1,2\"3\"\n", "t.csv:2: a quote within a field"},
        {"a,b\n1,0123456789012345678901234567890123456789x\n",
         "\"01234567890123456789012345678901\"... is not a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(reel_csv(write_text(cases[i].text), NULL));
        assert_error(REEL_ERR_FORMAT, cases[i].message);
    }
    assert_null(reel_csv(write_text("a\n1\n"), NULL));
    assert_error(REEL_ERR_ARG, "leaves no column for x");
    temp_write("t.csv", "a,b\n1,2\0003\n", 10);
    assert_null(reel_csv(temp_path("t.csv"), NULL));
    assert_error(REEL_ERR_FORMAT, "is not a number");
    assert_null(reel_csv(temp_path("absent.csv"), NULL));
    assert_error(REEL_ERR_IO, "absent.csv");
}

static void options_refuse(void **state)
{
    (void)state;
    const char *path = write_text("a,a,b,c\n1,2,3,0.5\n");
    const char *const a[] = {"a", NULL}, *const z[] = {"z", NULL},
                      *const bb[] = {"b", "b", NULL}, *const bc[] = {"b", "c", NULL},
                      *const none[] = {NULL};
    const reel_csv_opts bad[] = {{.y = a},
                                 {.y = z},
                                 {.x = bb},
                                 {.y = bb},
                                 {.y = bc, .labels = true},
                                 {.y = none, .labels = true},
                                 {.x = none},
                                 {.separator = 'e'},
                                 {.separator = '"'},
                                 {.separator = '.'},
                                 {.missing = (reel_csv_missing)5},
                                 {.max_size = -1}};
    static const char *const message[] = {"two columns \"a\"",
                                          "no column \"z\" among its 4",
                                          "\"b\" is asked for twice",
                                          "\"b\" is asked for twice",
                                          "labels in 2 columns, expected 1",
                                          "labels in 0 columns, expected 1",
                                          "leaves no column for x",
                                          "separator 'e'",
                                          "separator '\"'",
                                          "separator '.'",
                                          "missing is 5",
                                          "max_size is -1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(reel_csv(path, &bad[i]));
        assert_error(REEL_ERR_ARG, message[i]);
    }
    assert_null(reel_csv(path, &(reel_csv_opts){.dtype = REEL_I64}));
    assert_error(REEL_ERR_DTYPE, "i64, expected f32 or f64");
    assert_null(reel_csv(path, &(reel_csv_opts){.labels = true}));
    assert_error(REEL_ERR_FORMAT, "column 4 (\"c\"): \"0.5\" is not a class");
    assert_null(reel_csv(path, &(reel_csv_opts){.max_size = 4}));
    assert_int_equal(reel_error_status(), REEL_ERR_FORMAT);
    reel_error_clear();
    assert_null(reel_csv(NULL, NULL));
    assert_error(REEL_ERR_ARG, "path is NULL");
    write_text("a,b,y\n1,2,-1\n");
    assert_null(reel_csv(path, &(reel_csv_opts){.labels = true}));
    assert_error(REEL_ERR_FORMAT, "\"-1\" is not a class");
    write_text("a,b,y\n1,2,\n");
    assert_null(
        reel_csv(path, &(reel_csv_opts){.labels = true, .missing = REEL_CSV_NAN}));
    assert_error(REEL_ERR_FORMAT, "missing, which a label cannot be");
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    write_text("a,b,c\n1,2,3\n4,5,6\n");
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        reel__fault_alloc(k, k % 2);
        reel_dataset *ds = reel_csv(temp_path("t.csv"), NULL);
        bool failed = reel_failed();
        assert_int_equal(failed, ds == NULL);
        done = !failed && reel__fault_alloc_count() < k;
        reel__fault_alloc(0, false);
        if (failed) assert_error(REEL_ERR_MEMORY, "memory");
        reel_dataset_free(ds);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(columns_are_chosen),
        TEST(defaults_are_plain),
        TEST(missing_numbers_are_asked_about),
        TEST(any_table_is_read),
        TEST(tables_refuse),
        TEST(options_refuse),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
