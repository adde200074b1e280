/* concat.c: several data sets as one. */
#include <reel/data.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shape.h"

typedef struct chain {
    int n;
    int64_t *end; /* [n] samples up to and with each part */
    reel_dataset *part[];
} chain;

/* The part that has sample *index, which becomes one of that part. */
static reel_dataset *part_of(const chain *c, int64_t *index)
{
    int lo = 0, hi = c->n - 1; /* the first part that ends behind it */
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (c->end[mid] > *index)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (lo > 0) *index -= c->end[lo - 1];
    return c->part[lo];
}

static int64_t chain_length(void *self)
{
    const chain *c = self;
    return c->end[c->n - 1];
}

static reel_status chain_get(void *self, int64_t index, reel_sample *out)
{
    reel_dataset *part = part_of(self, &index);
    return reel_dataset_get(part, index, out);
}

static int64_t chain_label(void *self, int64_t index)
{
    reel_dataset *part = part_of(self, &index);
    return reel_dataset_label(part, index);
}

static bool same_shape(reel_shape a, reel_shape b)
{
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.dim[i] == b.dim[i];
    return same;
}

static reel_shape chain_shape(void *self)
{
    const chain *c = self;
    reel_shape first = reel_dataset_shape(c->part[0]);
    for (int i = 1; i < c->n; i++)
        if (!same_shape(first, reel_dataset_shape(c->part[i])))
            return (reel_shape){.rank = -1};
    return first;
}

static reel_dataset *of_most_classes(const chain *c)
{
    reel_dataset *most = c->part[0];
    for (int i = 1; i < c->n; i++)
        if (reel_dataset_classes(c->part[i]) > reel_dataset_classes(most))
            most = c->part[i];
    return most;
}

static int64_t chain_classes(void *self)
{
    return reel_dataset_classes(of_most_classes(self));
}

static const char *chain_class_name(void *self, int64_t k)
{
    return reel_dataset_class_name(of_most_classes(self), k);
}

static int64_t chain_skipped(void *self)
{
    const chain *c = self;
    int64_t n = 0;
    for (int i = 0; i < c->n; i++) n += reel_dataset_skipped(c->part[i]);
    return n;
}

static void chain_free(void *self)
{
    chain *c = self;
    for (int i = 0; i < c->n; i++) reel_dataset_free(c->part[i]);
    reel__free(c->end);
    reel__free(c);
}

static const reel_dataset_fns chain_fns = {
    .name = "concat",
    .length = chain_length,
    .get = chain_get,
    .label = chain_label,
    .shape = chain_shape,
    .classes = chain_classes,
    .class_name = chain_class_name,
    .skipped = chain_skipped,
    .free = chain_free,
};

static reel_status add_up(chain *c)
{
    int64_t sum = 0;
    for (int i = 0; i < c->n; i++) {
        if (!reel__checked_add(sum, reel_dataset_length(c->part[i]), &sum))
            return reel_fail(REEL_ERR_ARG,
                             "dataset_concat: more samples than can be counted");
        c->end[i] = sum;
    }
    return REEL_OK;
}

reel_dataset *reel_dataset_concat(reel_dataset *const *parts, int n)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    bool whole = parts && n > 0;
    for (int i = 0; whole && i < n; i++) whole = parts[i];
    if (!whole) {
        reel_fail(REEL_ERR_ARG, "dataset_concat: %s",
                  parts && n > 0 ? "a dataset is NULL" : "no datasets");
        return NULL;
    }
    chain *c = reel__calloc(1, sizeof *c + (size_t)n * sizeof(reel_dataset *));
    if (!c) return NULL;
    c->n = n;
    for (int i = 0; i < n; i++) c->part[i] = reel_dataset_keep(parts[i]);
    c->end = reel__malloc((size_t)n * sizeof *c->end);
    if (c->end) (void)add_up(c);
    return reel_dataset_new(&chain_fns, c); /* refuses, and frees, what is not whole */
}
