/* pool.c: reference pooling over the last two dimensions of [n, c, h, w]. */
#include "backend/cpu/pool_window.h"
#include "backend/cpu/ref/ref.h"

#include <math.h>

#define REEL_REF_TEMPLATE "backend/cpu/ref/pool.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(max_pool2d)
REEL_REF_KERNEL(max_pool2d_backward)
REEL_REF_KERNEL(avg_pool2d)
REEL_REF_KERNEL(avg_pool2d_backward)
REEL_REF_KERNEL(adaptive_avg_pool2d)
REEL_REF_KERNEL(adaptive_avg_pool2d_backward)
