/* rows.c: operands seen as rows. */
#include "backend/cpu/rows/rows.h"

bool reel__as_rows(const reel__karg *x, int dims, reel__rows *out)
{
    if (!x->data || x->meta->dtype != REEL_F32 || x->meta->rank < dims) return false;
    const reel__meta *m = x->meta;
    *out = (reel__rows){.data = x->data, .n = 1, .width = 1};
    int d = m->rank - 1;
    for (; d >= m->rank - dims; d--) {
        if (m->dim[d] != 1 && m->stride[d] != out->width) return false;
        out->width *= m->dim[d];
    }
    out->step = out->width;
    for (; d >= 0; d--) {
        if (m->dim[d] == 1) continue;
        if (out->n == 1)
            out->step = m->stride[d];
        else if (m->stride[d] != out->n * out->step)
            return false;
        out->n *= m->dim[d];
    }
    return true;
}
