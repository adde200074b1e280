/* pool_window.h: which inputs an output of pooling covers, along one axis. PyTorch's rules,
 * ceil_mode included: the last windows may reach beyond the padding. */
#ifndef REEL_CPU_POOL_WINDOW_H
#define REEL_CPU_POOL_WINDOW_H

#include <stdint.h>

/* Inputs begin, begin + step, ... below end. */
typedef struct reel_window {
    int64_t begin, end;
    int64_t count; /* average: this axis's factor of the divisor */
} reel_window;

static inline int64_t reel__min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Max pooling; step is the dilation. Padding is -inf, so it is left out. */
static inline reel_window reel__max_window(int64_t out, int64_t size, int64_t kernel,
                                           int64_t stride, int64_t padding,
                                           int64_t dilation)
{
    int64_t begin = out * stride - padding;
    int64_t end = reel__min_i64(begin + (kernel - 1) * dilation + 1, size);
    while (begin < 0) begin += dilation;
    return (reel_window){begin, end, 0};
}

/* Average pooling. What a window has beyond the padding never counts in the divisor; what
 * it has inside the padding counts if include_pad. */
static inline reel_window reel__avg_window(int64_t out, int64_t size, int64_t kernel,
                                           int64_t stride, int64_t padding,
                                           int64_t include_pad)
{
    int64_t begin = out * stride - padding;
    int64_t end = reel__min_i64(begin + kernel, size + padding);
    int64_t padded = end - begin;
    if (begin < 0) begin = 0;
    end = reel__min_i64(end, size);
    return (reel_window){begin, end, include_pad ? padded : end - begin};
}

/* Adaptive pooling: output o of n covers floor(o size / n) .. ceil((o + 1) size / n). */
static inline reel_window reel__adaptive_window(int64_t out, int64_t outs, int64_t size)
{
    int64_t begin = out * size / outs, end = ((out + 1) * size + outs - 1) / outs;
    return (reel_window){begin, end, end - begin};
}

#endif
