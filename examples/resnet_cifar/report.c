/* report.c: confusion matrix, curves as SVG, a sheet of mistakes as PNG. */
#include "report.h"

#include "font.h"

#include <errno.h>
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
        fprintf(to, "  %6.2f %%\n",
                all ? 100. * (double)count[i * k + i] / (double)all : 0.);
    }
    free(count);
}

/* ---- curves -------------------------------------------------------------------------------- */

enum {
    WIDTH = 780,
    HEIGHT = 360,
    LEFT = 56,
    TOP = 66,
    PLOT_W = 290,
    PLOT_H = 230,
    GAP = 100
};

typedef struct panel {
    const char *title;
    int x;
    double low, high, tick;
} panel;

static double get(const epoch_row *r, int column)
{
    const double v[] = {r->train_loss, r->test_loss, 100 * r->train_accuracy,
                        100 * r->test_accuracy};
    return v[column];
}

/* 1, 2 or 5 times a power of ten, of which about five make up `range`. */
static double nice_tick(double range)
{
    double unit = pow(10, floor(log10(range / 5))), n = range / 5 / unit;
    return unit * (n < 1.5 ? 1 : n < 3.5 ? 2 : n < 7.5 ? 5 : 10);
}

/* From 0 to what training reached at most, and half as much again: batch norm makes a test loss
 * of 50 in the first epoch, which would leave nothing to be seen of the rest. */
static panel loss_panel(const epoch_row *row, int64_t n)
{
    double trained = 0, tested = 0;
    for (int64_t i = 0; i < n; i++) {
        trained = fmax(trained, row[i].train_loss);
        tested = fmax(tested, row[i].test_loss);
    }
    panel p = {.title = "loss", .x = LEFT};
    double high = fmin(fmax(trained, tested), 1.5 * trained);
    p.tick = nice_tick(isfinite(high) && high > 0 ? high : 1);
    p.high = p.tick * fmax(1, ceil(high / p.tick - 1e-9));
    return p;
}

static panel accuracy_panel(const epoch_row *row, int64_t n)
{
    panel p = {.title = "accuracy, %", .x = LEFT + PLOT_W + GAP, .low = 90, .high = 100};
    for (int64_t i = 0; i < n; i++) {
        double least = 100 * fmin(row[i].train_accuracy, row[i].test_accuracy);
        p.low = fmin(p.low, 10 * floor(least / 10));
    }
    p.tick = nice_tick(p.high - p.low);
    p.low = p.high - p.tick * ceil((p.high - p.low) / p.tick - 1e-9);
    return p;
}

static double x_of(const panel *p, int64_t epoch, int64_t n)
{
    return p->x + PLOT_W * (n > 1 ? (double)epoch / (double)(n - 1) : 0.5);
}

static double y_of(const panel *p, double v)
{
    double part = (fmin(v, p->high) - p->low) / (p->high - p->low);
    return TOP + PLOT_H - PLOT_H * part;
}

static void axes(FILE *f, const panel *p, int64_t n)
{
    fprintf(f, "<text x='%d' y='%d' class='t'>%s</text>\n", p->x, TOP - 14, p->title);
    for (int i = 0; p->low + i * p->tick <= p->high + 1e-9; i++) {
        double v = p->low + i * p->tick, y = y_of(p, v);
        fprintf(f,
                "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' class='g'/>"
                "<text x='%d' y='%.1f' class='r'>%.4g</text>\n",
                p->x, y, p->x + PLOT_W, y, p->x - 8, y + 4, v);
    }
    int64_t every = (n + 9) / 10;
    for (int64_t i = 0; i < n; i += every)
        fprintf(f, "<text x='%.1f' y='%d' class='m'>%lld</text>\n", x_of(p, i, n),
                TOP + PLOT_H + 18, (long long)i + 1);
    fprintf(f, "<text x='%d' y='%d' class='m'>epoch</text>\n", p->x + PLOT_W / 2,
            TOP + PLOT_H + 36);
}

static void line(FILE *f, const panel *p, const epoch_row *row, int64_t n, int column)
{
    fprintf(f, "<polyline class='%s' points='", column % 2 ? "v" : "u");
    for (int64_t i = 0; i < n; i++) {
        double v = get(&row[i], column);
        if (isfinite(v)) fprintf(f, "%.1f,%.1f ", x_of(p, i, n), y_of(p, v));
    }
    fprintf(f, "'/>\n");
}

static void draw_curves(FILE *f, const char *title, const epoch_row *row, int64_t n)
{
    fprintf(
        f,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' "
        "font-family='sans-serif' font-size='12'>\n<style>.t{font-weight:bold}.g{stroke:"
        "#ddd}.r{text-anchor:end;fill:#555}.m{text-anchor:middle;fill:#555}polyline{fill:"
        "none;stroke-width:2;stroke-linejoin:round}.u{stroke:#1f77b4}.v{stroke:#d62728}"
        "</style>\n<rect width='100%%' height='100%%' fill='white'/>\n"
        "<text x='%d' y='24' font-size='15'>%s</text>\n"
        "<text x='%d' y='24' fill='#1f77b4'>training</text>"
        "<text x='%d' y='24' fill='#d62728'>test</text>\n",
        WIDTH, HEIGHT, LEFT, title, LEFT + PLOT_W + GAP, LEFT + PLOT_W + GAP + 66);
    const panel panels[] = {loss_panel(row, n), accuracy_panel(row, n)};
    for (int i = 0; i < 2; i++) {
        axes(f, &panels[i], n);
        line(f, &panels[i], row, n, 2 * i);
        line(f, &panels[i], row, n, 2 * i + 1);
    }
    fprintf(f, "</svg>\n");
}

/* Into another file first: what was there stays until the new one is whole. */
reel_status report_curves(const char *path, const char *title, const epoch_row *row,
                          int64_t n)
{
    char temp[4200];
    snprintf(temp, sizeof temp, "%s.tmp", path);
    FILE *f = fopen(temp, "w");
    if (!f) return reel_fail(REEL_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    draw_curves(f, title, row, n);
    int failed = ferror(f);
    if (!fclose(f) && !failed && !rename(temp, path)) return REEL_OK;
    reel_fail(REEL_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    remove(temp);
    return reel_error_status();
}

/* ---- mistakes -------------------------------------------------------------------------------- */

enum { COLUMNS = 8, ROWS = 4, SCALE = 3, BORDER = 4, LINE = 7 * FONT_SCALE, LISTED = 8 };

static const uint8_t green[] = {0, 110, 40}, red[] = {190, 0, 0};

static int by_confidence(const void *a, const void *b)
{
    const prediction *p = a, *q = b;
    bool wrong_p = p->label != p->guess, wrong_q = q->label != q->guess;
    if (wrong_p != wrong_q) return wrong_p ? -1 : 1;
    if (p->confidence != q->confidence) return p->confidence > q->confidence ? -1 : 1;
    return (p->sample > q->sample) - (p->sample < q->sample);
}

/* A picture of which each pixel of a sample takes SCALE times SCALE. */
typedef struct sheet {
    uint8_t *px; /* [height, width, 3] */
    int height, width;
    int cell_h, cell_w; /* an image, two lines of text, and the border to the next */
} sheet;

static void paste(sheet *t, int x0, int y0, const reel_field *image)
{
    const int64_t *dim = image->shape.dim;
    int h = (int)dim[0], w = (int)dim[1], c = (int)dim[2];
    const uint8_t *px = image->data;
    for (int y = 0; y < h * SCALE; y++)
        for (int x = 0; x < w * SCALE; x++)
            for (int k = 0; k < 3; k++)
                t->px[((y0 + y) * t->width + x0 + x) * 3 + k] =
                    px[((y / SCALE) * w + x / SCALE) * c + (c == 3 ? k : 0)];
}

/* Image, truth and guess at place `i` of the sheet. */
static reel_status add_mistake(sheet *t, int i, reel_dataset *ds, const prediction *p,
                               reel_sample *s)
{
    int x = BORDER + i % COLUMNS * t->cell_w, y = BORDER + i / COLUMNS * t->cell_h;
    if (reel_dataset_get(ds, p->sample, s)) return reel_error_status();
    const reel_field *image = reel_sample_field(s, "x");
    if (!image || image->dtype != REEL_U8) return reel_error_status();
    paste(t, x, y, image);
    y += t->cell_h - BORDER - 2 * LINE + FONT_SCALE;
    int room = t->cell_w - BORDER;
    font_write(t->px, t->width, x, y, room, reel_dataset_class_name(ds, p->label), green);
    font_write(t->px, t->width, x, y + LINE, room, reel_dataset_class_name(ds, p->guess),
               red);
    return REEL_OK;
}

static void list(FILE *to, const reel_dataset *ds, const prediction *p, int n)
{
    for (int i = 0; i < n; i++)
        fprintf(to, "  image %5lld is %-12s taken for %-12s at %5.1f %%\n",
                (long long)p[i].sample, reel_dataset_class_name(ds, p[i].label),
                reel_dataset_class_name(ds, p[i].guess), 100. * (double)p[i].confidence);
}

reel_status report_mistakes(FILE *to, const char *path, reel_dataset *ds, prediction *p,
                            int64_t n)
{
    reel_shape shape = reel_dataset_shape(ds);
    int64_t wrong = 0;
    qsort(p, (size_t)n, sizeof *p, by_confidence);
    while (wrong < n && p[wrong].label != p[wrong].guess) wrong++;
    if (wrong == 0 || shape.rank != 3) {
        fprintf(to, "\nno mistakes\n");
        return REEL_OK;
    }
    int shown = wrong < COLUMNS * ROWS ? (int)wrong : COLUMNS * ROWS;
    sheet t = {.cell_h = (int)shape.dim[0] * SCALE + 2 * LINE + BORDER,
               .cell_w = (int)shape.dim[1] * SCALE + BORDER};
    t.height = (shown + COLUMNS - 1) / COLUMNS * t.cell_h + BORDER;
    t.width = COLUMNS * t.cell_w + BORDER;
    size_t size = (size_t)t.height * (size_t)t.width * 3;
    if (!(t.px = malloc(size)))
        return reel_fail(REEL_ERR_MEMORY, "no memory for the sheet of mistakes");
    memset(t.px, 255, size);
    reel_sample s = {0};
    reel_status st = REEL_OK;
    for (int i = 0; i < shown && !st; i++) st = add_mistake(&t, i, ds, &p[i], &s);
    reel_sample_free(&s);
    if (!st) st = reel_png_save(t.px, t.height, t.width, 3, path);
    free(t.px);
    if (st) return st;
    fprintf(to,
            "\n%lld mistakes; the most confident are in %s (green: truth, red: guess):\n",
            (long long)wrong, path);
    list(to, ds, p, shown < LISTED ? shown : LISTED);
    return REEL_OK;
}
