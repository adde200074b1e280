/* conv.c: reference convolutions (cross-correlations) and their gradients: any stride,
 * padding, dilation, groups. */
#include "backend/cpu/ref/ref.h"

/* The output position whose window holds input position i at tap t; -1 if none. */
static int64_t conv2d_source(int64_t i, int64_t tap, int64_t stride, int64_t padding,
                             int64_t dilation, int64_t size)
{
    int64_t position = i + padding - tap * dilation;
    if (position < 0 || position % stride != 0 || position / stride >= size) return -1;
    return position / stride;
}

#define REEL_REF_TEMPLATE "backend/cpu/ref/conv.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(conv2d)
REEL_REF_KERNEL(conv2d_input)
REEL_REF_KERNEL(conv2d_weight)
