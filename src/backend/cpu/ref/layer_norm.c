/* layer_norm.c: reference layer normalization over the last attrs.dims dimensions.
 * Source: Ba et al. 2016, arXiv:1607.06450. */
#include "backend/cpu/ref/ref.h"

#include <math.h>

/* The dimensions that number the rows; the others lie within one. */
static uint32_t row_dims(const reel__kcall *call, const reel__meta *m)
{
    const reel__layer_norm_attrs *a = call->attrs;
    return (1u << (uint32_t)(m->rank - (int)a->dims)) - 1u;
}

static uint32_t within_dims(const reel__kcall *call, const reel__meta *m)
{
    return reel__ref_all_dims(m) & ~row_dims(call, m);
}

#define REEL_REF_TEMPLATE "backend/cpu/ref/layer_norm.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(layer_norm)
REEL_REF_KERNEL(layer_norm_backward)
