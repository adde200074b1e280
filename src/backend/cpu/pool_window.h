/* pool_window.h: which inputs an output of pooling covers, along one axis. PyTorch's
 * rules, ceil_mode included: the last windows may reach beyond the padding. The only one may
 * reach up to 2^63 - 1, so that no sum here adds a reach to what is above 0. */
#ifndef REEL_CPU_POOL_WINDOW_H
#define REEL_CPU_POOL_WINDOW_H

#include "backend/attrs.h"

/* Inputs begin, begin + step, ... below end; none if begin >= end. */
typedef struct reel__window {
    int64_t begin, end;
    int64_t count; /* average: this axis's factor of the divisor */
} reel__window;

/* The window of output `out` of `outs` over `size` inputs; axis 0 is h, 1 is w. */
typedef reel__window (*reel__window_rule)(const reel__pool2d_attrs *a, int axis,
                                          int64_t out, int64_t outs, int64_t size);

/* From one input of a max pooling's window to the next. A dilation beyond the input, of which
 * there is no next, may be any number: it is cut to what addresses can bear. */
static inline int64_t reel__window_step(const reel__pool2d_attrs *a, int axis,
                                        int64_t size)
{
    return a->dilation[axis] < size ? a->dilation[axis] : size;
}

/* Max pooling. Padding is -inf, so it is left out. */
static inline reel__window reel__max_window(const reel__pool2d_attrs *a, int axis,
                                            int64_t out, int64_t outs, int64_t size)
{
    (void)outs;
    int64_t begin = out * a->stride[axis] - a->padding[axis], step = a->dilation[axis];
    int64_t reach = (a->kernel[axis] - 1) * step + 1;
    int64_t end = reach < size - begin ? begin + reach : size;
    if (begin < 0) begin = begin % step ? begin % step + step : 0;
    return (reel__window){begin, end, 0};
}

/* Average pooling. What a window has beyond the padding never counts in the divisor; what
 * it has inside the padding counts if count_include_pad. */
static inline reel__window reel__avg_window(const reel__pool2d_attrs *a, int axis,
                                            int64_t out, int64_t outs, int64_t size)
{
    (void)outs;
    int64_t begin = out * a->stride[axis] - a->padding[axis];
    int64_t limit = size + a->padding[axis];
    int64_t end = a->kernel[axis] < limit - begin ? begin + a->kernel[axis] : limit;
    int64_t padded = end - begin;
    if (begin < 0) begin = 0;
    if (end > size) end = size;
    return (reel__window){begin, end, a->count_include_pad ? padded : end - begin};
}

/* Adaptive pooling: output o of n covers floor(o size / n) .. ceil((o + 1) size / n). */
static inline reel__window reel__adaptive_window(const reel__pool2d_attrs *a, int axis,
                                                 int64_t out, int64_t outs, int64_t size)
{
    (void)a, (void)axis;
    int64_t begin = out * size / outs, end = ((out + 1) * size + outs - 1) / outs;
    return (reel__window){begin, end, end - begin};
}

#endif
