/* batch_norm.c: reference batch normalization of [n, c, ...] over all dimensions but 1.
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167. */
#include "backend/cpu/ref/ref.h"

#include <math.h>

enum { CHANNEL = 1 };

/* One channel of a tensor as `rows` runs of `length` elements `step` apart. */
typedef struct channel_view {
    uint32_t outer; /* the dimensions that number the rows */
    int64_t rows, length;
} channel_view;

static channel_view view_channel(const reel_meta *m)
{
    channel_view v = {.outer = reel__ref_all_dims(m) & ~reel__ref_dim_bit(CHANNEL),
                      .length = 1};
    if (m->rank > 2) {
        v.length = m->dim[m->rank - 1];
        v.outer &= ~reel__ref_dim_bit(m->rank - 1);
    }
    v.rows = reel__ref_count(m, v.outer);
    return v;
}

/* Distance of the elements of a run. */
static int64_t run_step(const reel_meta *m)
{
    return m->rank > 2 ? m->stride[m->rank - 1] : 0;
}

#define REEL_REF_TEMPLATE "backend/cpu/ref/batch_norm.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(batch_norm)
REEL_REF_KERNEL(batch_norm_apply)
REEL_REF_KERNEL(batch_norm_backward)
