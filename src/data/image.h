/* image.h: pixels from file bytes, and their size changed. Shared by datasets and
 * transforms. Images are row-major [h, w, c]. */
#ifndef REEL_DATA_IMAGE_H
#define REEL_DATA_IMAGE_H

#include <reel/data.h>

/* The first image of a sample; NULL and an error that names `who` if it has none. */
reel_field *reel__first_image(const char *who, const reel_sample *s);
/* An image of whatever dtype as rows of pixels of `pixel` bytes. */
typedef struct reel__pixels {
    int64_t h, w, c; /* c is 1 without channels */
    size_t pixel;
} reel__pixels;
reel__pixels reel__pixels_of(const reel_field *image);
/* Memory for its next form, of another height and width; see reel_field_out(). */
void *reel__image_out(reel_field *image, int64_t h, int64_t w);

/* Changes the size of `x` [h, w, c] (u8 or f32) into `out` [out_h, out_w, c], same
 *  dtype. */
reel_status reel__resize(const void *x, reel_dtype dtype, int64_t h, int64_t w, int64_t c,
                         void *out, int64_t out_h, int64_t out_w);

/* Size of a JPEG or PNG by its header and framing alone; errors name `path`. */
reel_status reel__image_size(const char *path, const uint8_t *bytes, size_t n,
                             int64_t *height, int64_t *width);
/* Decodes a whole JPEG or PNG of at most max_pixels into u8 [h, w, channels], which the
 * caller frees with reel__free(). REEL_ERR_FORMAT if it is corrupt or cut short,
 * REEL_ERR_MEMORY, REEL_ERR_UNSUPPORTED in a build without stb_image; NULL then. */
uint8_t *reel__image_decode(const char *path, const uint8_t *bytes, size_t n,
                            int channels, int64_t max_pixels, int64_t *height,
                            int64_t *width);

#endif
