/* image_grid.c: a batch of images as one picture, to look at. */
#include <reel/io.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"

#define DEFAULT_COLUMNS 8
#define DEFAULT_PADDING 2
#define MAX_SIDE 65535

typedef struct sheet {
    int64_t n, c, h, w; /* of the images */
    reel_image_grid_opts opts;
    int64_t columns, cell_h,
        cell_w; /* a cell is an image, scaled, and what is left of it */
    int64_t height, width;
} sheet;

static reel_status check_images(reel_tensor *x, sheet *t)
{
    if (reel_rank(x) != 4 || reel_numel(x) == 0 ||
        (reel_size(x, 1) != 1 && reel_size(x, 1) != 3))
        return reel_fail(
            REEL_ERR_SHAPE,
            "image_grid_save: images of rank %d with %lld channels, expected "
            "[n, c, h, w] of 1 or 3",
            reel_rank(x), (long long)(reel_rank(x) > 1 ? reel_size(x, 1) : 0));
    if (reel_dtype_of(x) != REEL_U8 && !reel_dtype_is_float(reel_dtype_of(x)))
        return reel_fail(REEL_ERR_DTYPE,
                         "image_grid_save: images of %s, expected floats or u8",
                         reel_dtype_name(reel_dtype_of(x)));
    t->n = reel_size(x, 0), t->c = reel_size(x, 1);
    t->h = reel_size(x, 2), t->w = reel_size(x, 3);
    return REEL_OK;
}

static reel_status lay_out(reel_tensor *x, sheet *t)
{
    reel_image_grid_opts *o = &t->opts;
    if (o->columns == 0) o->columns = DEFAULT_COLUMNS;
    if (o->padding == 0) o->padding = DEFAULT_PADDING;
    if (o->scale == 0) o->scale = 1;
    o->low = reel__option(o->low, 0);
    o->high = reel__option(o->high, reel_dtype_of(x) == REEL_U8 ? 255 : 1);
    if (o->columns < 0 || o->padding < 0 || o->scale < 0 || !(o->low < o->high))
        return reel_fail(
            REEL_ERR_ARG,
            "image_grid_save: %d columns, padding %d, scale %d, from %g to %g; "
            "expected none negative and low below high",
            o->columns, o->padding, o->scale, o->low, o->high);
    t->columns = t->n < o->columns ? t->n : o->columns;
    int64_t rows = (t->n + t->columns - 1) / t->columns;
    bool fits = o->padding <= MAX_SIDE && o->scale <= MAX_SIDE && t->h <= MAX_SIDE &&
                t->w <= MAX_SIDE && rows <= MAX_SIDE && t->columns <= MAX_SIDE;
    t->cell_h = t->h * o->scale + o->padding;
    t->cell_w = t->w * o->scale + o->padding;
    t->height = rows * t->cell_h + o->padding;
    t->width = t->columns * t->cell_w + o->padding;
    if (fits && t->height <= MAX_SIDE && t->width <= MAX_SIDE) return REEL_OK;
    return reel_fail(
        REEL_ERR_ARG,
        "image_grid_save: %lld images of %lldx%lld in %d columns are more than "
        "%d pixels across",
        (long long)t->n, (long long)t->w, (long long)t->h, o->columns, MAX_SIDE);
}

static uint8_t shade(const sheet *t, float value)
{
    double v = ((double)value - t->opts.low) / (t->opts.high - t->opts.low);
    return !(v > 0) ? 0 : v >= 1 ? 255 : (uint8_t)(255 * v + 0.5);
}

/* Image i [c, h, w] into its cell. */
static void paint(const sheet *t, int64_t i, const float *x, uint8_t *pixels)
{
    int64_t s = t->opts.scale;
    int64_t top = t->opts.padding + i / t->columns * t->cell_h;
    int64_t left = t->opts.padding + i % t->columns * t->cell_w;
    for (int64_t r = 0; r < t->h * s; r++)
        for (int64_t q = 0; q < t->w * s; q++) {
            uint8_t *to = pixels + ((top + r) * t->width + left + q) * t->c;
            for (int64_t k = 0; k < t->c; k++)
                to[k] = shade(t, x[(k * t->h + r / s) * t->w + q / s]);
        }
}

reel_status reel_image_grid_save(reel_tensor *images, const char *path,
                                 const reel_image_grid_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!path || !images)
        return reel_fail(REEL_ERR_ARG, "image_grid_save: %s",
                         path ? "images are NULL" : "the path is NULL");
    const reel_image_grid_opts *o =
        REEL__OPTS("image_grid_save", reel_image_grid_opts, opts);
    if (!o) return reel_error_status();
    sheet t = {.opts = *o};
    if (check_images(images, &t) || lay_out(images, &t)) return reel_error_status();
    float *x = reel__malloc((size_t)reel_numel(images) * sizeof *x);
    uint8_t *pixels = reel__calloc((size_t)(t.height * t.width), (size_t)t.c);
    if (x && pixels && !reel_read(images, x, REEL_F32)) {
        for (int64_t i = 0; i < t.n; i++) paint(&t, i, x + i * t.c * t.h * t.w, pixels);
        reel_png_save(pixels, (int)t.height, (int)t.width, (int)t.c, path);
    }
    reel__free(x);
    reel__free(pixels);
    return reel_error_status();
}
