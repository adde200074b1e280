/* query.c: asking a tensor what it is. */
#include "base/debug.h"
#include "tensor/tensor.h"

static bool there(const char *who, const reel_tensor *x)
{
    return x && reel__alive(who, x);
}

int reel_rank(const reel_tensor *x)
{
    return there("rank", x) ? x->meta.rank : -1;
}

reel_shape reel_shape_of(const reel_tensor *x)
{
    return there("shape_of", x) ? reel__shape(&x->meta) : (reel_shape){.rank = -1};
}

int64_t reel_size(const reel_tensor *x, int dim)
{
    int d = there("size", x) ? reel__wrap_dim(dim, x->meta.rank) : -1;
    return d < 0 ? -1 : x->meta.dim[d];
}

int64_t reel_stride(const reel_tensor *x, int dim)
{
    int d = there("stride", x) ? reel__wrap_dim(dim, x->meta.rank) : -1;
    return d < 0 ? 0 : x->meta.stride[d];
}

int64_t reel_numel(const reel_tensor *x)
{
    return there("numel", x) ? reel__numel(&x->meta) : -1;
}

reel_dtype reel_dtype_of(const reel_tensor *x)
{
    return there("dtype_of", x) ? x->meta.dtype : REEL_DTYPE_NONE;
}

reel_device reel_device_of(const reel_tensor *x)
{
    return there("device_of", x) ? x->meta.device : (reel_device){REEL_DEVICE_NONE, 0};
}

bool reel_is_contiguous(const reel_tensor *x)
{
    return there("is_contiguous", x) && reel__is_contiguous(&x->meta);
}

bool reel_is_channels_last(const reel_tensor *x)
{
    return there("is_channels_last", x) && reel__is_channels_last(&x->meta);
}
