#include "io/bytes.h"

#include "base/alloc.h"

size_t reel__byte_count(reel_tensor *t)
{
    return (size_t)reel_numel(t) * reel_dtype_size(reel_dtype_of(t));
}

const void *reel__byte_view(reel_tensor *t, void **scratch)
{
    *scratch = NULL;
    if (reel_device_of(t).type == REEL_CPU && reel_is_contiguous(t)) return reel_data(t);
    *scratch = reel__malloc(reel__byte_count(t));
    if (!*scratch || reel_read(t, *scratch, reel_dtype_of(t))) return NULL;
    return *scratch;
}

reel_tensor *reel__host_empty(reel_shape shape, reel_dtype dtype)
{
    reel_device before = reel_default_device();
    if (reel_set_default_device((reel_device){REEL_CPU, 0})) return NULL;
    reel_tensor *t = reel_empty(shape, dtype);
    reel_set_default_device(before);
    return t;
}

bool reel__shape_bytes(reel_shape shape, size_t element, uint64_t *bytes)
{
    uint64_t total = element;
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0 ||
            __builtin_mul_overflow(total, (uint64_t)shape.dim[i], &total))
            return false;
    *bytes = total;
    return total <= INT64_MAX;
}

int64_t reel__find_non_bool(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] > 1) return (int64_t)i;
    return -1;
}
