/* pool.c: reference pooling over the last two dimensions of [n, c, h, w]. */
#include "backend/cpu/pool_window.h"
#include "backend/cpu/ref/ref.h"

#include <math.h>

/* The windows of output (p, q), by the attributes of a call. `size` is h, w of the input,
 * `outs` of the output. */
typedef struct pool_windows {
    reel_window h, w;
} pool_windows;

typedef pool_windows (*pool_windows_fn)(const reel_kcall *call, const int64_t *size,
                                        const int64_t *outs, int64_t p, int64_t q);

static pool_windows max_windows(const reel_kcall *call, const int64_t *size, int64_t p,
                                int64_t q)
{
    const reel_pool2d_attrs *a = call->attrs;
    return (pool_windows){
        reel__max_window(p, size[0], a->kernel[0], a->stride[0], a->padding[0],
                         a->dilation[0]),
        reel__max_window(q, size[1], a->kernel[1], a->stride[1], a->padding[1],
                         a->dilation[1]),
    };
}

static pool_windows avg_windows(const reel_kcall *call, const int64_t *size,
                                const int64_t *outs, int64_t p, int64_t q)
{
    const reel_pool2d_attrs *a = call->attrs;
    (void)outs;
    return (pool_windows){
        reel__avg_window(p, size[0], a->kernel[0], a->stride[0], a->padding[0],
                         a->count_include_pad),
        reel__avg_window(q, size[1], a->kernel[1], a->stride[1], a->padding[1],
                         a->count_include_pad),
    };
}

static pool_windows adaptive_windows(const reel_kcall *call, const int64_t *size,
                                     const int64_t *outs, int64_t p, int64_t q)
{
    (void)call;
    return (pool_windows){reel__adaptive_window(p, outs[0], size[0]),
                          reel__adaptive_window(q, outs[1], size[1])};
}

#define REEL_REF_TEMPLATE "backend/cpu/ref/pool.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(max_pool2d)
REEL_REF_KERNEL(max_pool2d_backward)
REEL_REF_KERNEL(avg_pool2d)
REEL_REF_KERNEL(avg_pool2d_backward)
REEL_REF_KERNEL(adaptive_avg_pool2d)
REEL_REF_KERNEL(adaptive_avg_pool2d_backward)
