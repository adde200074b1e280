/* strip.c: see strip.h. */
#include "backend/cpu/conv/strip.h"

#include <string.h>

void reel__strip_init(reel__strip *s, int64_t n, int64_t pixels, int64_t floats)
{
    s->columns = (s->ow - 1) * s->stride_x + s->x_max - s->x_min + 1;
    s->leaves =
        reel__strip_leaves(s, 0, 0) || reel__strip_leaves(s, s->oh - 1, s->ow - 1);
    s->copies = s->leaves || s->pixel != s->c;
    s->step_pixel = s->c;
    s->step_row = (s->copies ? s->columns : s->w) * s->c;
    int64_t reach = s->y_max - s->y_min + 1;
    /* Rows of results whose input fits. */
    int64_t fit = (floats / (s->columns * s->c) - reach) / s->stride_y + 1;
    int64_t rows = min64(ceil_div(pixels, s->ow), max64(fit, 1));
    s->block_images = 1;
    s->block_rows = rows;
    if (rows >= s->oh) {
        int64_t image = ((s->oh - 1) * s->stride_y + reach) * s->columns * s->c;
        s->block_rows = s->oh;
        s->block_images = min64(pixels / (s->oh * s->ow), floats / image);
        s->block_images = min64(max64(s->block_images, 1), n);
    } else { /* nearly equal blocks */
        s->block_rows = ceil_div(s->oh, ceil_div(s->oh, rows));
    }
    s->per_image = ceil_div(s->oh, s->block_rows);
    s->blocks = s->per_image * ceil_div(n, s->block_images);
    s->rows = (s->block_rows - 1) * s->stride_y + reach;
}

int64_t reel__strip_size(const reel__strip *s)
{
    return s->copies ? s->block_images * s->rows * s->step_row : 0;
}

reel__strip_block reel__strip_next_block(const reel__strip *s, int64_t n, int64_t i)
{
    reel__strip_block b;
    b.image = i / s->per_image * s->block_images;
    b.images = min64(s->block_images, n - b.image);
    b.y = i % s->per_image * s->block_rows;
    b.rows = min64(s->block_rows, s->oh - b.y);
    return b;
}

/* One row of input columns [x, x + columns) between zeros. */
static void copy_row(const reel__strip *s, const float *row, float *to)
{
    int64_t begin = min64(max64(0, -s->x_min), s->columns);
    int64_t end = max64(begin, min64(s->columns, s->w - s->x_min));
    memset(to, 0, (size_t)(begin * s->c) * sizeof(float));
    memset(to + end * s->c, 0, (size_t)((s->columns - end) * s->c) * sizeof(float));
    const float *from = row + (begin + s->x_min) * s->pixel;
    if (s->pixel == s->c) {
        memcpy(to + begin * s->c, from, (size_t)((end - begin) * s->c) * sizeof(float));
    } else {
        for (int64_t x = begin; x < end; x++, from += s->pixel)
            memcpy(to + x * s->c, from, (size_t)s->c * sizeof(float));
    }
}

const float *reel__strip_load(const reel__strip *s, const reel__strip_block *b,
                              int64_t image, float *scratch)
{
    const float *in = s->in + image * s->h * s->w * s->pixel;
    int64_t y = b->y * s->stride_y;
    if (!s->copies) return in + (y + s->y_min) * s->step_row + s->x_min * s->step_pixel;
    float *to = scratch + (image - b->image) * s->rows * s->step_row;
    int64_t rows = (b->rows - 1) * s->stride_y + s->y_max - s->y_min + 1;
    for (int64_t i = 0; i < rows; i++) {
        int64_t from = y + s->y_min + i;
        if (from >= 0 && from < s->h)
            copy_row(s, in + from * s->w * s->pixel, to + i * s->step_row);
        else
            memset(to + i * s->step_row, 0, (size_t)s->step_row * sizeof(float));
    }
    return to;
}
