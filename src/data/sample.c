/* sample.c: the two buffers between which the transforms of a sample go back and
 *  forth. */
#include <reel/data.h>

#include "base/alloc.h"
#include "base/shape.h"

void *reel_sample_out(reel_sample *s, reel_dtype dtype, reel_shape shape)
{
    if (!s) {
        reel_fail(REEL_ERR_ARG, "sample_out: sample is NULL");
        return NULL;
    }
    if (dtype != REEL_U8 && dtype != REEL_F32) {
        reel_fail(REEL_ERR_DTYPE, "sample_out: dtype %s, expected u8 or f32",
                  reel_dtype_name(dtype));
        return NULL;
    }
    reel_meta m = reel__meta(shape, dtype, (reel_device){REEL_CPU, 0});
    if (reel__meta_check("sample_out", &m)) return NULL;

    size_t bytes = (size_t)reel__numel(&m) * reel_dtype_size(dtype);
    int k = s->data && s->data == s->own[0] ? 1 : 0; /* the one not in use */
    if (!s->own[k] || s->own_size[k] < bytes) {
        void *p = reel__malloc(bytes);
        if (!p) return NULL;
        reel__free(s->own[k]);
        s->own[k] = p;
        s->own_size[k] = bytes;
    }
    s->dtype = dtype;
    s->shape = shape;
    s->data = s->own[k];
    return s->own[k];
}

void reel_sample_free(reel_sample *s)
{
    if (!s) return;
    reel__free(s->own[0]);
    reel__free(s->own[1]);
    *s = (reel_sample){0};
}
