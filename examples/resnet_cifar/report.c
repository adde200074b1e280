/* report.c: confusion matrix, curves as SVG, a sheet of mistakes as PNG. */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- classes ----------------------------------------------------------------------------- */

enum { MAX_CLASSES = 100 };

void report_classes(FILE *to, const reel_dataset *ds, const prediction *p, int64_t n)
{
    int64_t k = reel_dataset_classes(ds);
    if (k < 1 || k > MAX_CLASSES) return;
    int64_t *count = calloc((size_t)(k * k), sizeof *count);
    if (!count) return;
    for (int64_t i = 0; i < n; i++)
        if (p[i].label < k && p[i].guess < k) count[p[i].label * k + p[i].guess]++;
    fprintf(to, "\nconfusion matrix: rows are the truth, columns the guess\n%12s", "");
    for (int64_t j = 0; j < k; j++) fprintf(to, " %6.6s", reel_dataset_class_name(ds, j));
    fprintf(to, "  accuracy\n");
    for (int64_t i = 0; i < k; i++) {
        int64_t all = 0;
        fprintf(to, "%12.12s", reel_dataset_class_name(ds, i));
        for (int64_t j = 0; j < k; j++) {
            all += count[i * k + j];
            fprintf(to, " %6lld", (long long)count[i * k + j]);
        }
        fprintf(to, "  %6.2f %%\n", all ? 100. * (double)count[i * k + i] / (double)all : 0.);
    }
    free(count);
}

/* ---- curves -------------------------------------------------------------------------------- */

enum { WIDTH = 760, HEIGHT = 340, LEFT = 56, TOP = 44, PLOT_W = 290, PLOT_H = 230, GAP = 90 };

typedef struct panel {
    const char *title;
    int x;
    double low, high;
} panel;

static double get(const epoch_row *r, int column)
{
    const double v[] = {r->train_loss, r->test_loss, 100 * r->train_accuracy,
                        100 * r->test_accuracy};
    return v[column];
}

static panel make_panel(const char *title, int x, const epoch_row *row, int64_t n, int column)
{
    panel p = {title, x, INFINITY, -INFINITY};
    for (int64_t i = 0; i < n; i++)
        for (int c = column; c < column + 2; c++) {
            double v = get(&row[i], c);
            if (!isfinite(v)) continue;
            p.low = fmin(p.low, v);
            p.high = fmax(p.high, v);
        }
    if (!(p.low < p.high)) {
        p.low = isfinite(p.low) ? p.low - 1 : 0;
        p.high = p.low + 2;
    }
    return p;
}

static void axes(FILE *f, const panel *p, int64_t n)
{
    fprintf(f, "<text x='%d' y='%d' class='t'>%s</text>\n", p->x, TOP - 14, p->title);
    for (int i = 0; i <= 4; i++) {
        double v = p->low + (p->high - p->low) * i / 4;
        int y = TOP + PLOT_H - PLOT_H * i / 4;
        fprintf(f, "<line x1='%d' y1='%d' x2='%d' y2='%d' class='g'/>"
                   "<text x='%d' y='%d' class='r'>%.3g</text>\n",
                p->x, y, p->x + PLOT_W, y, p->x - 6, y + 4, v);
    }
    fprintf(f, "<text x='%d' y='%d' class='m'>epoch 1 to %lld</text>\n", p->x + PLOT_W / 2,
            TOP + PLOT_H + 22, (long long)n);
}

static void line(FILE *f, const panel *p, const epoch_row *row, int64_t n, int column,
                 const char *colour)
{
    fprintf(f, "<polyline fill='none' stroke='%s' stroke-width='2' points='", colour);
    for (int64_t i = 0; i < n; i++) {
        double v = get(&row[i], column);
        if (!isfinite(v)) continue;
        fprintf(f, "%.1f,%.1f ", p->x + PLOT_W * (n > 1 ? (double)i / (double)(n - 1) : 0.5),
                TOP + PLOT_H - PLOT_H * (v - p->low) / (p->high - p->low));
    }
    fprintf(f, "'/>\n");
}

reel_status report_curves(const char *path, const char *title, const epoch_row *row,
                          int64_t n)
{
    FILE *f = fopen(path, "w");
    if (!f) return reel_fail(REEL_ERR_IO, "cannot write %s", path);
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' "
            "font-family='sans-serif' font-size='12'>\n<style>.t{font-weight:bold}.g{stroke:"
            "#ddd}.r{text-anchor:end;fill:#555}.m{text-anchor:middle;fill:#555}</style>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n"
            "<text x='%d' y='18' fill='#555'>%s</text>\n",
            WIDTH, HEIGHT, LEFT, title);
    panel loss = make_panel("loss", LEFT, row, n, 0);
    panel accuracy = make_panel("accuracy, %", LEFT + PLOT_W + GAP, row, n, 2);
    axes(f, &loss, n);
    axes(f, &accuracy, n);
    line(f, &loss, row, n, 0, "#1f77b4");
    line(f, &loss, row, n, 1, "#d62728");
    line(f, &accuracy, row, n, 2, "#1f77b4");
    line(f, &accuracy, row, n, 3, "#d62728");
    fprintf(f, "<text x='%d' y='%d' fill='#1f77b4'>training</text>"
               "<text x='%d' y='%d' fill='#d62728'>test</text>\n</svg>\n",
            LEFT, HEIGHT - 16, LEFT + 70, HEIGHT - 16);
    int failed = ferror(f);
    if (fclose(f) || failed) return reel_fail(REEL_ERR_IO, "cannot write %s", path);
    return REEL_OK;
}

/* ---- mistakes -------------------------------------------------------------------------------- */

enum { COLUMNS = 8, ROWS = 4, SCALE = 3, BORDER = 4, LISTED = 8 };

static int by_confidence(const void *a, const void *b)
{
    const prediction *p = a, *q = b;
    bool wrong_p = p->label != p->guess, wrong_q = q->label != q->guess;
    if (wrong_p != wrong_q) return wrong_p ? -1 : 1;
    if (p->confidence != q->confidence) return p->confidence > q->confidence ? -1 : 1;
    return (p->sample > q->sample) - (p->sample < q->sample);
}

/* The sample at place `cell` of the sheet, each pixel SCALE times. */
static void paste(uint8_t *sheet, int width, int cell, const reel_sample *s)
{
    int h = (int)s->shape.dim[0], w = (int)s->shape.dim[1], c = (int)s->shape.dim[2];
    const uint8_t *px = s->data;
    int x0 = (cell % COLUMNS) * (w * SCALE + BORDER) + BORDER;
    int y0 = (cell / COLUMNS) * (h * SCALE + BORDER) + BORDER;
    for (int y = 0; y < h * SCALE; y++)
        for (int x = 0; x < w * SCALE; x++)
            for (int k = 0; k < 3; k++)
                sheet[((y0 + y) * width + x0 + x) * 3 + k] =
                    px[((y / SCALE) * w + x / SCALE) * c + (c == 3 ? k : 0)];
}

reel_status report_mistakes(FILE *to, const char *path, reel_dataset *ds, prediction *p,
                            int64_t n)
{
    reel_shape shape = reel_dataset_shape(ds);
    int64_t wrong = 0;
    qsort(p, (size_t)n, sizeof *p, by_confidence);
    while (wrong < n && p[wrong].label != p[wrong].guess) wrong++;
    if (wrong == 0 || shape.rank != 3) return REEL_OK;
    int shown = wrong < COLUMNS * ROWS ? (int)wrong : COLUMNS * ROWS;
    int rows = (shown + COLUMNS - 1) / COLUMNS;
    int height = rows * ((int)shape.dim[0] * SCALE + BORDER) + BORDER;
    int width = COLUMNS * ((int)shape.dim[1] * SCALE + BORDER) + BORDER;
    uint8_t *sheet = malloc((size_t)height * (size_t)width * 3);
    if (!sheet) return reel_fail(REEL_ERR_MEMORY, "no memory for the sheet of mistakes");
    memset(sheet, 255, (size_t)height * (size_t)width * 3);
    reel_sample s = {0};
    reel_status st = REEL_OK;
    fprintf(to, "\nmost confident mistakes of %lld, row by row in %s:\n", (long long)wrong,
            path);
    for (int i = 0; i < shown && !st; i++) {
        st = reel_dataset_get(ds, p[i].sample, &s);
        if (!st && s.dtype == REEL_U8) paste(sheet, width, i, &s);
        if (i < LISTED)
            fprintf(to, "  image %5lld is %-12s taken for %-12s at %5.1f %%\n",
                    (long long)p[i].sample, reel_dataset_class_name(ds, p[i].label),
                    reel_dataset_class_name(ds, p[i].guess), 100. * (double)p[i].confidence);
    }
    reel_sample_free(&s);
    if (!st) st = reel_png_save(path, sheet, height, width, 3);
    free(sheet);
    return st;
}
