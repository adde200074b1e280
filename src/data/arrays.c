/* arrays.c: tensors as a data set, a field each. Images become [h, w, c] here, once. */
#include <reel/data.h>
#include <reel/ops.h>
#include <string.h>

#include "base/error.h"
#include "base/option.h"
#include "data/memory.h"

static bool is_integer(reel_dtype t)
{
    return !reel_dtype_is_float(t) && t != REEL_BOOL;
}

static reel_status check(const reel_array *a, int64_t samples)
{
    int rank = reel_rank(a->tensor);
    bool fits = a->kind == REEL_IMAGE   ? rank == 3 || rank == 4
                : a->kind == REEL_LABEL ? rank == 1
                                        : rank >= 1;
    if ((unsigned)a->kind > REEL_LABEL)
        return reel_fail(REEL_ERR_ARG, "\"%s\" is of kind %d", a->name, (int)a->kind);
    if (!fits)
        return reel_fail(REEL_ERR_SHAPE, "\"%s\" has rank %d, expected %s", a->name, rank,
                         a->kind == REEL_IMAGE   ? "images [n, c, h, w] or [n, h, w]"
                         : a->kind == REEL_LABEL ? "labels [n]"
                                                 : "[n, ...]");
    if (reel_size(a->tensor, 0) != samples)
        return reel_fail(REEL_ERR_SHAPE, "\"%s\" has %lld samples, those before it %lld",
                         a->name, (long long)reel_size(a->tensor, 0), (long long)samples);
    if (a->kind == REEL_LABEL && !is_integer(reel_dtype_of(a->tensor)))
        return reel_fail(REEL_ERR_DTYPE, "labels \"%s\" are %s, expected integers",
                         a->name, reel_dtype_name(reel_dtype_of(a->tensor)));
    return REEL_OK;
}

/* The largest label into *largest. */
static reel_status check_labels(const char *name, const int64_t *y, int64_t n,
                                int64_t *largest)
{
    *largest = -1;
    for (int64_t i = 0; i < n; i++) {
        if (y[i] < 0 && y[i] != REEL_IGNORE_INDEX)
            return reel_fail(REEL_ERR_ARG,
                             "label \"%s\" of sample %lld is %lld, expected 0, 1, "
                             "... or REEL_IGNORE_INDEX (%lld); numbers that are no "
                             "classes are a REEL_ARRAY",
                             name, (long long)i, (long long)y[i],
                             (long long)REEL_IGNORE_INDEX);
        if (y[i] > *largest) *largest = y[i];
    }
    return REEL_OK;
}

static reel_status copy(const reel_array *a, reel__memory_data *m)
{
    reel_shape all = reel_shape_of(a->tensor), one = {.rank = all.rank - 1};
    memcpy(one.dim, all.dim + 1, (size_t)one.rank * sizeof one.dim[0]);
    reel_tensor *t = a->tensor;
    reel_dtype dtype = a->kind == REEL_LABEL ? REEL_I64 : reel_dtype_of(t);
    if (a->kind == REEL_IMAGE && all.rank == 4) {
        one = (reel_shape){3, {all.dim[2], all.dim[3], all.dim[1]}};
        t = reel_permute(t, (reel_shape){4, {0, 2, 3, 1}});
        if (!t) return reel_error_status();
    }
    void *to = reel__memory_add(m, a->name, a->kind, dtype, one);
    if (!to || reel_read(t, to, dtype)) return reel_error_status();
    int64_t largest;
    if (a->kind != REEL_LABEL) return REEL_OK;
    if (check_labels(a->name, to, m->n, &largest)) return reel_error_status();
    if (m->classes == 0) m->classes = largest + 1; /* of the first field of labels */
    return REEL_OK;
}

static reel_status check_all(const reel_array *arrays, int n)
{
    if (!arrays || n < 1)
        return reel_fail(REEL_ERR_ARG, "%d arrays%s, expected at least 1", n,
                         arrays ? "" : " at NULL");
    for (int i = 0; i < n; i++) {
        const reel_array *a = &arrays[i];
        if (!REEL__KNOWN("arrays", a)) return reel_error_status();
        if (!a->name || !*a->name || !a->tensor)
            return reel_fail(REEL_ERR_ARG, "number %d has no %s", i,
                             a->tensor ? "name" : "tensor");
        for (int k = 0; k < i; k++)
            if (strcmp(arrays[k].name, a->name) == 0)
                return reel_fail(REEL_ERR_ARG, "two are named \"%s\"", a->name);
        if (check(a,
                  reel_rank(arrays[0].tensor) > 0 ? reel_size(arrays[0].tensor, 0) : 0))
            return reel_error_status();
    }
    return REEL_OK;
}

reel_dataset *reel_arrays_n(const reel_array *arrays, int n)
{
    REEL__CALLED;
    if (reel_failed() || check_all(arrays, n)) return NULL;
    reel__memory_data *m =
        reel__memory_data_new("arrays", reel_size(arrays[0].tensor, 0));
    if (!m) return NULL;
    reel_scope scope = reel_scope_begin();
    for (int i = 0; i < n && !reel_failed(); i++) copy(&arrays[i], m);
    reel_scope_end(scope);
    if (!reel_failed()) return reel__memory_dataset(m);
    reel__memory_data_free(m);
    return NULL;
}

reel_dataset *reel_arrays(reel_tensor *x, reel_tensor *y)
{
    REEL__CALLED;
    if (!x || !y) {
        reel_fail(REEL_ERR_ARG, "%s is NULL", x ? "y" : "x");
        return NULL;
    }
    bool labels = reel_rank(y) == 1 && is_integer(reel_dtype_of(y));
    const reel_array arrays[] = {
        {.name = "x", .tensor = x, .kind = reel_rank(x) == 4 ? REEL_IMAGE : REEL_ARRAY},
        {.name = "y", .tensor = y, .kind = labels ? REEL_LABEL : REEL_ARRAY}};
    return reel_arrays_n(arrays, 2);
}
