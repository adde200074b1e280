/* resize.c: separable resampling with a triangle filter. Enlarging it is plain bilinear
 * interpolation between pixel centres; shrinking, the triangle is as wide as the scale,
 * so that every input pixel counts (antialias). The same weights as Pillow's BILINEAR. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shape.h"
#include "data/image.h"

#define MAX_SIDE 65536

/* Which inputs make one output along one side, and how much of each. */
typedef struct filter {
    int64_t width;  /* room for weights an output  */
    int64_t *first; /* [out]                       */
    int64_t *count; /* [out]                       */
    float *weight;  /* [out, width], sum 1 a row   */
} filter;

static void filter_free(filter *f)
{
    reel__free(f->first);
    reel__free(f->count);
    reel__free(f->weight);
}

static bool filter_make(filter *f, int64_t in, int64_t out)
{
    double scale = (double)in / (double)out, reach = scale > 1.0 ? scale : 1.0;
    f->width = (int64_t)ceil(reach) * 2 + 1;
    f->first = reel__malloc((size_t)out * sizeof *f->first);
    f->count = reel__malloc((size_t)out * sizeof *f->count);
    f->weight = reel__malloc((size_t)(out * f->width) * sizeof *f->weight);
    if (!f->first || !f->count || !f->weight) return false;

    for (int64_t o = 0; o < out; o++) {
        double center = ((double)o + 0.5) * scale, sum = 0.0;
        int64_t lo = (int64_t)(center - reach + 0.5),
                hi = (int64_t)(center + reach + 0.5);
        if (lo < 0) lo = 0;
        if (hi > in) hi = in;
        float *w = f->weight + o * f->width;
        for (int64_t i = lo; i < hi; i++) {
            double v = 1.0 - fabs((double)i + 0.5 - center) / reach;
            w[i - lo] = (float)(v > 0.0 ? v : 0.0);
            sum += (double)w[i - lo];
        }
        for (int64_t i = lo; i < hi; i++) w[i - lo] = (float)((double)w[i - lo] / sum);
        f->first[o] = lo;
        f->count[o] = hi - lo;
    }
    return true;
}

/* row [w, c] -> out [out_w, c] */
static void across(const filter *f, const void *row, bool is_u8, int64_t c, float *out,
                   int64_t out_w)
{
    memset(out, 0, (size_t)(out_w * c) * sizeof *out);
    for (int64_t o = 0; o < out_w; o++, out += c)
        for (int64_t j = 0; j < f->count[o]; j++) {
            float w = f->weight[o * f->width + j];
            int64_t at = (f->first[o] + j) * c;
            for (int64_t k = 0; k < c; k++)
                out[k] += w * (is_u8 ? (float)((const uint8_t *)row)[at + k]
                                     : ((const float *)row)[at + k]);
        }
}

/* rows [h, line] -> out [line], output row `o` */
static void down(const filter *f, const float *rows, int64_t line, int64_t o, float *out)
{
    memset(out, 0, (size_t)line * sizeof *out);
    for (int64_t j = 0; j < f->count[o]; j++) {
        float w = f->weight[o * f->width + j];
        const float *row = rows + (f->first[o] + j) * line;
        for (int64_t i = 0; i < line; i++) out[i] += w * row[i];
    }
}

reel_status reel__resize(const void *x, reel_dtype dtype, int64_t h, int64_t w, int64_t c,
                         void *out, int64_t out_h, int64_t out_w)
{
    size_t element = reel_dtype_size(dtype);
    if (h < 1 || w < 1 || out_h < 1 || out_w < 1 || h > MAX_SIDE || w > MAX_SIDE)
        return reel_fail(REEL_ERR_SHAPE,
                         "transform_resize: from %lldx%lld to %lldx%lld, expected sides "
                         "of 1 to %d",
                         (long long)h, (long long)w, (long long)out_h, (long long)out_w,
                         MAX_SIDE);
    if (h == out_h && w == out_w) {
        memcpy(out, x, (size_t)(h * w * c) * element);
        return REEL_OK;
    }
    int64_t line = out_w * c, total;
    if (!reel__checked_mul(h + 1, line, &total))
        return reel_fail(REEL_ERR_SHAPE, "transform_resize: the image is too large");
    filter fx = {0}, fy = {0};
    float *rows = reel__malloc((size_t)total * sizeof *rows); /* [h, line] and one line */
    if (rows && filter_make(&fx, w, out_w) && filter_make(&fy, h, out_h)) {
        for (int64_t r = 0; r < h; r++)
            across(&fx, (const char *)x + (size_t)(r * w * c) * element, dtype == REEL_U8,
                   c, rows + r * line, out_w);
        float *result = rows + h * line;
        for (int64_t o = 0; o < out_h; o++) {
            float *to = dtype == REEL_U8 ? result : (float *)out + o * line;
            down(&fy, rows, line, o, to);
            for (int64_t i = 0; dtype == REEL_U8 && i < line; i++)
                ((uint8_t *)out)[o * line + i] = (uint8_t)(result[i] + 0.5f);
        }
    }
    filter_free(&fx);
    filter_free(&fy);
    reel__free(rows);
    return reel_error_status();
}

/* ---- as a transform ---------------------------------------------------------------- */

typedef struct target {
    int height, width;
} target;

/* Classes do not mix: each output pixel is the input pixel under its centre. */
static void nearest(const char *x, reel__pixels p, char *out, int64_t out_h,
                    int64_t out_w)
{
    for (int64_t r = 0; r < out_h; r++) {
        const char *row = x + (size_t)((2 * r + 1) * p.h / (2 * out_h) * p.w) * p.pixel;
        for (int64_t o = 0; o < out_w; o++, out += p.pixel)
            memcpy(out, row + (size_t)((2 * o + 1) * p.w / (2 * out_w)) * p.pixel,
                   p.pixel);
    }
}

static reel_status resize_image(reel_field *f, int64_t height, int64_t width)
{
    reel__pixels p = reel__pixels_of(f);
    if (p.h == height && p.w == width) return REEL_OK;
    bool mixes = f->dtype == REEL_U8 || f->dtype == REEL_F32;
    if (!mixes && reel_dtype_is_float(f->dtype))
        return reel_fail(
            REEL_ERR_DTYPE,
            "transform_resize: image \"%s\" is %s, expected u8, f32 or classes of "
            "integers",
            f->name, reel_dtype_name(f->dtype));
    if (p.h < 1 || p.w < 1)
        return reel_fail(REEL_ERR_SHAPE, "transform_resize: image \"%s\" has no pixels",
                         f->name);
    const void *x = f->data;
    void *out = reel__image_out(f, height, width);
    if (!out) return reel_error_status();
    if (mixes) return reel__resize(x, f->dtype, p.h, p.w, p.c, out, height, width);
    nearest(x, p, out, height, width);
    return REEL_OK;
}

static reel_status apply_resize(void *self, reel_sample *s, reel_draw *d)
{
    (void)d;
    const target *t = self;
    if (!reel__first_image("transform_resize", s)) return reel_error_status();
    for (int i = 0; i < s->fields; i++)
        if (s->field[i]->kind == REEL_IMAGE &&
            resize_image(s->field[i], t->height, t->width))
            return reel_error_status();
    return REEL_OK;
}

reel_transform *reel_transform_resize(int height, int width)
{
    REEL__CALLED;
    if (height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE) {
        reel_fail(REEL_ERR_ARG, "transform_resize: to %dx%d, expected sides of 1 to %d",
                  height, width, MAX_SIDE);
        return NULL;
    }
    if (reel_failed()) return NULL;
    target *t = reel__malloc(sizeof *t);
    if (!t) return NULL;
    *t = (target){height, width};
    return reel_transform_new(apply_resize, t, reel__free);
}
