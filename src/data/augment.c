/* augment.c: crop, flip, cutout, each on the images of one sample, of any dtype. */
#include <reel/data.h>

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "data/image.h"

#define MAX_SIDE 65536

/* What a transform knows: small enough to serve all of this file. */
typedef struct params {
    int size, padding;
    float p;
} params;

static reel_transform *make(reel_transform_fn fn, params value)
{
    if (reel_failed()) return NULL;
    params *p = reel__malloc(sizeof *p);
    if (!p) return NULL;
    *p = value;
    return reel_transform_new(fn, p, reel__free);
}

/* ---- images of a sample ------------------------------------------------------------ */

reel_field *reel__first_image(const char *who, const reel_sample *s)
{
    for (int i = 0; i < s->fields; i++)
        if (s->field[i]->kind == REEL_IMAGE) return s->field[i];
    reel_fail(REEL_ERR_SHAPE, "%s: the sample has no image [h, w, c] among its %d fields",
              who, s->fields);
    return NULL;
}

reel__pixels reel__pixels_of(const reel_field *image)
{
    const int64_t *dim = image->shape.dim;
    int64_t c = image->shape.rank == 3 ? dim[2] : 1;
    return (reel__pixels){dim[0], dim[1], c, (size_t)c * reel_dtype_size(image->dtype)};
}

void *reel__image_out(reel_field *image, int64_t h, int64_t w)
{
    reel_shape shape = image->shape;
    shape.dim[0] = h;
    shape.dim[1] = w;
    return reel_field_out(image, shape, image->dtype);
}

/* Every image of a sample has the size of the first. */
static reel_status same_size(const char *who, const reel_sample *s,
                             const reel_field *first)
{
    for (int i = 0; i < s->fields; i++) {
        const reel_field *f = s->field[i];
        const int64_t *a = first->shape.dim, *b = f->shape.dim;
        if (f->kind == REEL_IMAGE && (a[0] != b[0] || a[1] != b[1]))
            return reel_fail(REEL_ERR_SHAPE,
                             "%s: image \"%s\" is %lldx%lld, \"%s\" is %lldx%lld; they "
                             "must be equal",
                             who, first->name, (long long)a[0], (long long)a[1], f->name,
                             (long long)b[0], (long long)b[1]);
    }
    return REEL_OK;
}

/* ---- crop -------------------------------------------------------------------------- */

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* out [size, size, c] from x [h, w, c] moved by (top, left), which may lie outside:
 * zeros. */
static void crop(const char *x, int64_t h, int64_t w, size_t pixel, int64_t top,
                 int64_t left, int64_t size, char *out)
{
    int64_t c0 = clamp(-left, 0, size), c1 = clamp(w - left, c0, size);
    size_t row = (size_t)size * pixel, before = (size_t)c0 * pixel;
    size_t inside = (size_t)(c1 - c0) * pixel;
    for (int64_t r = 0; r < size; r++, out += row) {
        int64_t y = top + r;
        if (y < 0 || y >= h || inside == 0) {
            memset(out, 0, row);
            continue;
        }
        memset(out, 0, before);
        memcpy(out + before, x + (size_t)(y * w + left + c0) * pixel, inside);
        memset(out + before + inside, 0, row - before - inside);
    }
}

static reel_status apply_crop(void *self, reel_sample *s, reel_draw *d)
{
    const params *p = self;
    const reel_field *first = reel__first_image("transform_random_crop", s);
    if (!first || same_size("transform_random_crop", s, first))
        return reel_error_status();
    int64_t h = first->shape.dim[0], w = first->shape.dim[1];
    int64_t down = h + 2 * p->padding - p->size, right = w + 2 * p->padding - p->size;
    if (down < 0 || right < 0)
        return reel_fail(
            REEL_ERR_SHAPE,
            "transform_random_crop: image %lldx%lld with %d of padding is smaller than "
            "the crop %dx%d",
            (long long)h, (long long)w, p->padding, p->size, p->size);
    int64_t top = (int64_t)reel_draw_below(d, (uint32_t)down + 1) - p->padding;
    int64_t left = (int64_t)reel_draw_below(d, (uint32_t)right + 1) - p->padding;

    for (int i = 0; i < s->fields; i++) {
        reel_field *f = s->field[i];
        if (f->kind != REEL_IMAGE) continue;
        const void *x = f->data;
        size_t pixel = reel__pixels_of(f).pixel;
        void *out = reel__image_out(f, p->size, p->size);
        if (!out) return reel_error_status();
        crop(x, h, w, pixel, top, left, p->size, out);
    }
    return REEL_OK;
}

reel_transform *reel_transform_random_crop(int size, int padding)
{
    REEL__CALLED;
    if (size < 1 || size > MAX_SIDE || padding < 0 || padding > MAX_SIDE) {
        reel_fail(
            REEL_ERR_ARG,
            "transform_random_crop: size %d and padding %d, expected 1 to %d and 0 to %d",
            size, padding, MAX_SIDE, MAX_SIDE);
        return NULL;
    }
    return make(apply_crop, (params){.size = size, .padding = padding});
}

/* ---- flip -------------------------------------------------------------------------- */

static reel_status flip(reel_field *f)
{
    const char *x = f->data;
    reel__pixels p = reel__pixels_of(f);
    char *out = reel__image_out(f, p.h, p.w);
    if (!out) return reel_error_status();
    size_t row = (size_t)p.w * p.pixel;
    for (int64_t r = 0; r < p.h; r++, x += row, out += row)
        for (int64_t i = 0; i < p.w; i++)
            memcpy(out + (size_t)i * p.pixel, x + (size_t)(p.w - 1 - i) * p.pixel,
                   p.pixel);
    return REEL_OK;
}

static reel_status apply_hflip(void *self, reel_sample *s, reel_draw *d)
{
    const params *p = self;
    if (!reel__first_image("transform_random_hflip", s)) return reel_error_status();
    if (reel_draw_f32(d) >= p->p) return REEL_OK;
    for (int i = 0; i < s->fields; i++)
        if (s->field[i]->kind == REEL_IMAGE && flip(s->field[i]))
            return reel_error_status();
    return REEL_OK;
}

reel_transform *reel_transform_random_hflip(float p)
{
    REEL__CALLED;
    if (!(p >= 0.0f && p <= 1.0f)) {
        reel_fail(REEL_ERR_ARG, "transform_random_hflip: probability %g, expected 0 to 1",
                  (double)p);
        return NULL;
    }
    return make(apply_hflip, (params){.p = p});
}

/* ---- cutout ------------------------------------------------------------------------ */

static reel_status apply_cutout(void *self, reel_sample *s, reel_draw *d)
{
    const params *p = self;
    reel_field *f = reel__first_image("transform_cutout", s);
    if (!f) return reel_error_status();
    reel__pixels px = reel__pixels_of(f);
    int64_t h = px.h, w = px.w;
    int64_t top = (int64_t)reel_draw_below(d, (uint32_t)h) - p->size / 2;
    int64_t left = (int64_t)reel_draw_below(d, (uint32_t)w) - p->size / 2;
    int64_t r0 = clamp(top, 0, h), r1 = clamp(top + p->size, 0, h);
    int64_t c0 = clamp(left, 0, w), c1 = clamp(left + p->size, 0, w);

    const void *x = f->data;
    char *out = reel__image_out(f, h, w);
    if (!out) return reel_error_status();
    memcpy(out, x, (size_t)(h * w) * px.pixel);
    for (int64_t r = r0; r < r1; r++)
        memset(out + (size_t)(r * w + c0) * px.pixel, 0, (size_t)(c1 - c0) * px.pixel);
    return REEL_OK;
}

reel_transform *reel_transform_cutout(int size)
{
    REEL__CALLED;
    if (size < 1 || size > MAX_SIDE) {
        reel_fail(REEL_ERR_ARG, "transform_cutout: size %d, expected 1 to %d", size,
                  MAX_SIDE);
        return NULL;
    }
    return make(apply_cutout, (params){.size = size});
}
