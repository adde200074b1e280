/* dataset.c: the opaque data set around a table of functions. */
#include <reel/data.h>

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"

struct reel_dataset {
    const reel_dataset_fns *fns;
    void *self;
    atomic_int shares;
};

reel_dataset *reel_dataset_new(const reel_dataset_fns *fns, void *self)
{
    REEL__CALLED;
    reel_dataset *ds = NULL;
    if (fns && !REEL__KNOWN("dataset_new", fns)) return NULL;
    if (!fns || !fns->length || !fns->get)
        reel_fail(REEL_ERR_ARG, "dataset_new: needs the functions `length` and `get`");
    else if (!reel_failed())
        ds = reel__malloc(sizeof *ds);
    if (!ds) {
        if (fns && fns->free) fns->free(self);
        return NULL;
    }
    ds->fns = fns;
    ds->self = self;
    atomic_init(&ds->shares, 1);
    return ds;
}

reel_dataset *reel_dataset_keep(reel_dataset *ds)
{
    if (ds) atomic_fetch_add_explicit(&ds->shares, 1, memory_order_relaxed);
    return ds;
}

void reel_dataset_free(reel_dataset *ds)
{
    if (!ds || atomic_fetch_sub(&ds->shares, 1) != 1) return;
    if (ds->fns->free) ds->fns->free(ds->self);
    reel__free(ds);
}

int64_t reel_dataset_length(const reel_dataset *ds)
{
    return ds ? ds->fns->length(ds->self) : -1;
}

reel_status reel_dataset_get(reel_dataset *ds, int64_t index, reel_sample *out)
{
    REEL__CALLED;
    if (!ds || !out)
        return reel_fail(REEL_ERR_ARG, "dataset_get: %s is NULL", ds ? "out" : "dataset");
    if (reel_failed()) return reel_error_status();
    int64_t n = ds->fns->length(ds->self);
    if (index < 0 || index >= n)
        return reel_fail(REEL_ERR_ARG, "dataset_get: index %lld, expected 0 to %lld",
                         (long long)index, (long long)n - 1);
    reel_sample_clear(out);
    REEL__CALLS_BACK;
    reel_status status = ds->fns->get(ds->self, index, out);
    if (status || reel_failed()) {
        /* A `get` that fails without saying why is still an error to the caller. */
        return reel_fail(status ? status : REEL_ERR_INTERNAL, "%s: sample %lld failed",
                         ds->fns->name ? ds->fns->name : "dataset", (long long)index);
    }
    if (out->fields > 0 || out->skip) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "%s: sample %lld has no fields and is not skipped",
                     ds->fns->name ? ds->fns->name : "dataset", (long long)index);
}

/* By decoding the sample. */
static int64_t decoded_label(reel_dataset *ds, int64_t index)
{
    reel_sample s = {0};
    int64_t label = INT64_MIN;
    reel_status status = reel_dataset_get(ds, index, &s);
    for (int i = 0; !status && i < s.fields && label == INT64_MIN; i++)
        if (s.field[i]->kind == REEL_LABEL) label = *(const int64_t *)s.field[i]->data;
    if (label == INT64_MIN)
        reel_fail(REEL_ERR_ARG, "dataset_label: sample %lld has no label%s",
                  (long long)index, s.skip ? ", it is skipped" : "");
    reel_sample_free(&s);
    return label;
}

int64_t reel_dataset_label(reel_dataset *ds, int64_t index)
{
    REEL__CALLED;
    if (reel_failed()) return INT64_MIN;
    int64_t n = reel_dataset_length(ds);
    if (!ds || index < 0 || index >= n) {
        if (ds)
            reel_fail(REEL_ERR_ARG, "dataset_label: index %lld, expected 0 to %lld",
                      (long long)index, (long long)n - 1);
        else
            reel_fail(REEL_ERR_ARG, "dataset_label: dataset is NULL");
        return INT64_MIN;
    }
    return ds->fns->label ? ds->fns->label(ds->self, index) : decoded_label(ds, index);
}

reel_shape reel_dataset_shape(const reel_dataset *ds)
{
    if (!ds || !ds->fns->shape) return (reel_shape){.rank = -1};
    return ds->fns->shape(ds->self);
}

int64_t reel_dataset_classes(const reel_dataset *ds)
{
    return ds && ds->fns->classes ? ds->fns->classes(ds->self) : 0;
}

const char *reel_dataset_class_name(const reel_dataset *ds, int64_t k)
{
    if (k < 0 || k >= reel_dataset_classes(ds) || !ds->fns->class_name) return "?";
    const char *name = ds->fns->class_name(ds->self, k);
    return name ? name : "?";
}

int64_t reel_dataset_skipped(const reel_dataset *ds)
{
    return ds && ds->fns->skipped ? ds->fns->skipped(ds->self) : 0;
}
