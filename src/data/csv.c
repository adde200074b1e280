/* csv.c: a table of numbers as a data set: which columns are x and y, the numbers in them,
 * and what is wrong with those that are none. */
#include <float.h>
#include <math.h>
#include <reel/data.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/decimal.h"
#include "base/error.h"
#include "base/file.h"
#include "base/option.h"
#include "data/csv_read.h"
#include "data/memory.h"

#define DEFAULT_MAX_SIZE (INT64_C(1) << 32)

typedef struct column {
    char *name;
    int64_t x, y; /* which number of x or y it is; -1: none */
} column;

typedef struct table {
    reel_csv_opts opts;
    reel__csv text;
    column *column;
    int64_t columns, n_x, n_y;
    double *value; /* [rows, n_x + n_y] */
    int64_t rows, room, skipped;
} table;

static void table_free(table *t)
{
    for (int64_t k = 0; k < t->columns; k++) reel__free(t->column[k].name);
    reel__free(t->column);
    reel__free(t->value);
}

/* ---- columns ------------------------------------------------------------------------ */

static reel_status add_column(table *t, char *name)
{
    column *larger = t->column;
    if (name && (t->columns & (t->columns - 1)) == 0) { /* full at each power of two */
        size_t room = t->columns > 0 ? 2 * (size_t)t->columns : 1;
        larger = reel__realloc(t->column, room * sizeof *larger);
    }
    if (!name || !larger) {
        reel__free(name);
        return reel_error_status();
    }
    t->column = larger;
    t->column[t->columns++] = (column){.name = name, .x = -1, .y = -1};
    return REEL_OK;
}

/* The first record: names, or as many numbers as there are columns, which are read again. */
static reel_status read_header(table *t)
{
    if (!reel__csv_more(&t->text))
        return reel_fail(REEL_ERR_FORMAT, "csv: %s is empty", t->text.path);
    const reel__csv first = t->text;
    reel__csv_field f = {0};
    while (!f.last) {
        char number[32];
        if (reel__csv_next(&t->text, &f)) return reel_error_status();
        snprintf(number, sizeof number, "%lld", (long long)t->columns);
        if (add_column(t, t->opts.no_header ? reel__strdup(number) : reel__csv_text(&f)))
            return reel_error_status();
    }
    if (t->opts.no_header) t->text = first;
    return REEL_OK;
}

static column *find(const table *t, const char *name)
{
    column *found = NULL;
    for (int64_t k = 0; k < t->columns; k++) {
        if (strcmp(t->column[k].name, name) != 0) continue;
        if (found) {
            reel_fail(REEL_ERR_ARG, "csv: %s has two columns \"%s\"", t->text.path, name);
            return NULL;
        }
        found = &t->column[k];
    }
    if (!found)
        reel_fail(REEL_ERR_ARG, "csv: %s has no column \"%s\" among its %lld%s",
                  t->text.path, name, (long long)t->columns,
                  t->opts.no_header ? ", which have numbers from 0" : "");
    return found;
}

static reel_status twice(const char *name)
{
    return reel_fail(REEL_ERR_ARG, "csv: column \"%s\" is asked for twice", name);
}

static reel_status choose_columns(table *t)
{
    const char *const *y = t->opts.y, *const *x = t->opts.x;
    if (!y) t->column[t->columns - 1].y = t->n_y++;
    for (; y && *y; y++) {
        column *c = find(t, *y);
        if (!c || c->y >= 0) return c ? twice(*y) : reel_error_status();
        c->y = t->n_y++;
    }
    for (int64_t k = 0; !x && k < t->columns; k++)
        if (t->column[k].y < 0) t->column[k].x = t->n_x++;
    for (; x && *x; x++) {
        column *c = find(t, *x);
        if (!c || c->x >= 0) return c ? twice(*x) : reel_error_status();
        c->x = t->n_x++;
    }
    if (t->n_x == 0)
        return reel_fail(REEL_ERR_ARG, "csv: %s leaves no column for x", t->text.path);
    if (t->opts.labels && t->n_y != 1)
        return reel_fail(REEL_ERR_ARG, "csv: labels in %lld columns, expected 1",
                         (long long)t->n_y);
    return REEL_OK;
}

/* ---- numbers ------------------------------------------------------------------------ */

/* An error at a field, whose text goes into the message as far as it can be shown. */
static reel_status wrong(const table *t, const reel__csv_field *f, int64_t line,
                         int64_t k, const char *what)
{
    char text[33];
    size_t n = f->n < sizeof text - 1 ? f->n : sizeof text - 1;
    for (size_t i = 0; i < n; i++)
        text[i] = (unsigned char)f->text[i] < ' ' ? '?' : f->text[i];
    text[n] = '\0';
    return reel_fail(REEL_ERR_FORMAT, "csv: %s:%lld: column %lld (\"%s\"): \"%s\"%s %s",
                     t->text.path, (long long)line, (long long)k + 1, t->column[k].name,
                     text, n < f->n ? "..." : "", what);
}

static reel__csv_field without_blanks(const reel__csv_field *f)
{
    reel__csv_field g = *f;
    while (g.n > 0 && (*g.text == ' ' || *g.text == '\t')) g.text++, g.n--;
    while (g.n > 0 && (g.text[g.n - 1] == ' ' || g.text[g.n - 1] == '\t')) g.n--;
    return g;
}

static bool is_missing(const reel__csv_field *f)
{
    static const char *const words[] = {"", "NA", "NaN", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (f->n == strlen(words[i]) && strncasecmp(f->text, words[i], f->n) == 0)
            return true;
    return false;
}

/* strtod() takes more than decimal numbers: words, hexadecimal. What follows the field in the
 * text is not of a number (check_separator() sees to it), so it may be read in place. */
static bool read_number(const reel__csv_field *f, double *value)
{
    if (f->n == 0) return false;
    for (size_t i = 0; i < f->n; i++)
        if (!f->text[i] || !strchr("0123456789+-.eE", f->text[i])) return false;
    char *end;
    *value = reel__strtod(f->text, &end);
    return end == f->text + f->n;
}

static reel_status check_number(const table *t, const reel__csv_field *f, int64_t line,
                                int64_t k, double v)
{
    bool is_label = t->opts.labels && t->column[k].y >= 0;
    bool is_class = v >= 0 ? v <= INT32_MAX && v == floor(v) : v == REEL_IGNORE_INDEX;
    if (is_label && !is_class)
        return wrong(t, f, line, k, "is not a class, expected 0, 1, ...");
    if (!is_label && fabs(v) > (t->opts.dtype == REEL_F64 ? DBL_MAX : (double)FLT_MAX))
        return wrong(t, f, line, k, "is beyond the dtype");
    return REEL_OK;
}

/* One number of a row; *missing if there is none and the row is to be left out. */
static reel_status read_value(const table *t, const reel__csv_field *field, int64_t line,
                              int64_t k, double *v, bool *missing)
{
    reel__csv_field f = without_blanks(field);
    if (!is_missing(&f)) {
        if (read_number(&f, v)) return check_number(t, &f, line, k, *v);
        return wrong(t, &f, line, k, "is not a number");
    }
    *v = (double)NAN;
    if (t->opts.missing == REEL_CSV_SKIP_ROW) {
        *missing = true;
        return REEL_OK;
    }
    if (t->opts.missing == REEL_CSV_REFUSE)
        return wrong(t, &f, line, k,
                     "is missing; the option `missing` says what becomes of it");
    return t->opts.labels && t->column[k].y >= 0
               ? wrong(t, &f, line, k, "is missing, which a label cannot be")
               : REEL_OK;
}

/* ---- rows --------------------------------------------------------------------------- */

/* Room for one more row; NULL without memory. */
static double *next_row(table *t)
{
    size_t width = (size_t)(t->n_x + t->n_y);
    if (t->rows == t->room) {
        int64_t room = t->room > 0 ? 2 * t->room : 16;
        double *larger = reel__realloc(t->value, (size_t)room * width * sizeof *larger);
        if (!larger) return NULL;
        t->value = larger;
        t->room = room;
    }
    return t->value + (size_t)t->rows * width;
}

static reel_status read_row(table *t)
{
    double *row = next_row(t);
    if (!row) return reel_error_status();
    int64_t line = t->text.line, k = 0;
    bool missing = false;
    reel__csv_field f = {0};
    for (; !f.last; k++) {
        if (reel__csv_next(&t->text, &f)) return reel_error_status();
        if (k >= t->columns) continue; /* counted for the message */
        const column *c = &t->column[k];
        double v = 0;
        if ((c->x >= 0 || c->y >= 0) && read_value(t, &f, line, k, &v, &missing))
            return reel_error_status();
        if (c->x >= 0) row[c->x] = v;
        if (c->y >= 0) row[t->n_x + c->y] = v;
    }
    if (k != t->columns)
        return reel_fail(REEL_ERR_FORMAT,
                         "csv: %s:%lld: %lld fields, expected %lld as in the first line",
                         t->text.path, (long long)line, (long long)k,
                         (long long)t->columns);
    t->rows += !missing;
    t->skipped += missing;
    return REEL_OK;
}

static reel_status read_rows(table *t)
{
    while (reel__csv_more(&t->text))
        if (read_row(t)) return reel_error_status();
    if (t->rows > 0) return REEL_OK;
    return reel_fail(REEL_ERR_FORMAT, "csv: %s has no rows%s", t->text.path,
                     t->skipped > 0 ? " without a missing number" : "");
}

/* ---- the data set ------------------------------------------------------------------- */

/* Columns [first, first + n) of the rows as a field. */
static reel_status add_field(const table *t, reel__memory_data *m, const char *name,
                             int64_t first, int64_t n)
{
    void *to = reel__memory_add(m, name, REEL_ARRAY, t->opts.dtype, (reel_shape){1, {n}});
    for (int64_t r = 0; to && r < t->rows; r++)
        for (int64_t k = 0; k < n; k++) {
            double v = t->value[r * (t->n_x + t->n_y) + first + k];
            if (t->opts.dtype == REEL_F64)
                ((double *)to)[r * n + k] = v;
            else
                ((float *)to)[r * n + k] = (float)v;
        }
    return reel_error_status();
}

static reel_status add_labels(const table *t, reel__memory_data *m)
{
    int64_t *to = reel__memory_add(m, "y", REEL_LABEL, REEL_I64, REEL_SCALAR);
    for (int64_t r = 0; to && r < t->rows; r++) {
        to[r] = (int64_t)t->value[r * (t->n_x + 1) + t->n_x];
        if (to[r] >= m->classes) m->classes = to[r] + 1;
    }
    return reel_error_status();
}

static reel_dataset *make(const table *t)
{
    reel__memory_data *m = reel__memory_data_new("csv", t->rows);
    if (!m) return NULL;
    m->skipped = t->skipped;
    if (!add_field(t, m, "x", 0, t->n_x) && t->opts.labels) add_labels(t, m);
    if (!reel_failed() && !t->opts.labels && t->n_y > 0)
        add_field(t, m, "y", t->n_x, t->n_y);
    if (!reel_failed()) return reel__memory_dataset(m);
    reel__memory_data_free(m);
    return NULL;
}

/* No separator may be part of a number, or numbers could not be read in place. */
static reel_status check_opts(const char *path, reel_csv_opts *o)
{
    if (!path) return reel_fail(REEL_ERR_ARG, "csv: the path is NULL");
    if (o->separator == 0) o->separator = ',';
    if (o->max_size == 0) o->max_size = DEFAULT_MAX_SIZE;
    if (strchr("0123456789+-.eExXpPinfaINFA\"\r\n", o->separator))
        return reel_fail(REEL_ERR_ARG,
                         "csv: the separator '%c' is a quote, a line's end or part of a "
                         "number",
                         o->separator);
    if (o->dtype != REEL_F32 && o->dtype != REEL_F64)
        return reel_fail(REEL_ERR_DTYPE, "csv: dtype %s, expected f32 or f64",
                         reel_dtype_name(o->dtype));
    if ((unsigned)o->missing > REEL_CSV_NAN)
        return reel_fail(REEL_ERR_ARG, "csv: missing is %d", (int)o->missing);
    if (o->max_size < 0)
        return reel_fail(REEL_ERR_ARG, "csv: max_size is %lld", (long long)o->max_size);
    return REEL_OK;
}

reel_dataset *reel_csv(const char *path, const reel_csv_opts *opts)
{
    REEL__CALLED;
    const reel_csv_opts *given = REEL__OPTS("csv", reel_csv_opts, opts);
    if (!given) return NULL;
    reel_csv_opts o = *given;
    if (reel_failed() || check_opts(path, &o)) return NULL;
    size_t size = 0;
    char *bytes = reel__file_load(path, o.max_size, &size);
    if (!bytes) return NULL;
    table t = {
        .opts = o,
        .text = {
            .path = path, .at = bytes, .end = bytes + size, .separator = o.separator}};
    reel__csv_begin(&t.text);
    reel_dataset *ds = NULL;
    if (!read_header(&t) && !choose_columns(&t) && !read_rows(&t)) ds = make(&t);
    table_free(&t);
    reel__free(bytes);
    return ds;
}
