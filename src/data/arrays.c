/* arrays.c: tensors as a data set. Images become [h, w, c] here, once. */
#include <reel/data.h>
#include <reel/ops.h>
#include <string.h>

#include "data/memory.h"

static reel_status check(reel_tensor *x, reel_tensor *y)
{
    if (!x || !y) return reel_fail(REEL_ERR_ARG, "arrays: %s is NULL", x ? "y" : "x");
    if (reel_rank(x) < 1 || reel_rank(y) != 1 || reel_size(x, 0) != reel_size(y, 0))
        return reel_fail(REEL_ERR_SHAPE,
                         "arrays: x of rank %d has %lld samples, y of rank %d has %lld; "
                         "expected x [n, ...] and y [n]",
                         reel_rank(x), (long long)reel_size(x, 0), reel_rank(y),
                         (long long)reel_size(y, 0));
    reel_dtype t = reel_dtype_of(y);
    if (reel_dtype_is_float(t) || t == REEL_BOOL)
        return reel_fail(REEL_ERR_DTYPE, "arrays: y is %s, expected integers",
                         reel_dtype_name(t));
    return REEL_OK;
}

static reel_status copy(reel_tensor *x, reel_tensor *y, reel__memory_data *m)
{
    reel_scope scope = reel_scope_begin();
    if (m->image) x = reel_permute(x, (reel_shape){4, {0, 2, 3, 1}});
    if (x && !reel_read(x, m->data, m->dtype)) reel_read(y, m->labels, REEL_I64);
    reel_scope_end(scope);
    for (int64_t i = 0; i < m->n && !reel_failed(); i++)
        if (m->labels[i] < 0)
            reel_fail(REEL_ERR_ARG, "arrays: label %lld of sample %lld is negative",
                      (long long)m->labels[i], (long long)i);
    return reel_error_status();
}

reel_dataset *reel_arrays(reel_tensor *x, reel_tensor *y)
{
    if (reel_failed() || check(x, y)) return NULL;
    reel_shape all = reel_shape_of(x), one = {.rank = all.rank - 1};
    memcpy(one.dim, all.dim + 1, (size_t)one.rank * sizeof one.dim[0]);
    bool image = all.rank == 4;
    if (image) one = (reel_shape){3, {all.dim[2], all.dim[3], all.dim[1]}};
    reel_dtype dtype = reel_dtype_of(x) == REEL_U8 ? REEL_U8 : REEL_F32;

    reel__memory_data *m = reel__memory_data_new("arrays", all.dim[0], dtype, one, image);
    if (!m) return NULL;
    if (copy(x, y, m)) {
        reel__memory_data_free(m);
        return NULL;
    }
    for (int64_t i = 0; i < m->n; i++)
        if (m->labels[i] >= m->classes) m->classes = m->labels[i] + 1;
    return reel__memory_dataset(m);
}
