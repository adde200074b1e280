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

/* The dimension that a run follows: the last, or the only one beside the channels. */
static int run_dim(const reel__meta *m)
{
    return m->rank > 2 ? m->rank - 1 : 0;
}

static channel_view view_channel(const reel__meta *m)
{
    const int run = run_dim(m);
    channel_view v = {.length = m->dim[run]};
    v.outer =
        reel__ref_all_dims(m) & ~(reel__ref_dim_bit(CHANNEL) | reel__ref_dim_bit(run));
    v.rows = reel__ref_count(m, v.outer);
    return v;
}

/* Distance of the elements of a run. */
static int64_t run_step(const reel__meta *m)
{
    return m->stride[run_dim(m)];
}

#define REEL_REF_TEMPLATE "backend/cpu/ref/batch_norm.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(batch_norm)
REEL_REF_KERNEL(batch_norm_apply)
REEL_REF_KERNEL(batch_norm_backward)
