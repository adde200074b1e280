/* subset.c: some samples of a data set, chosen or drawn. */
#include <math.h>
#include <reel/data.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "data/draw.h"

typedef struct subset {
    reel_dataset *of;
    int64_t n, *index;
} subset;

static int64_t subset_length(void *self)
{
    return ((subset *)self)->n;
}

static reel_status subset_get(void *self, int64_t index, reel_sample *out)
{
    const subset *s = self;
    return reel_dataset_get(s->of, s->index[index], out);
}

static int64_t subset_label(void *self, int64_t index)
{
    const subset *s = self;
    return reel_dataset_label(s->of, s->index[index]);
}

static reel_shape subset_shape(void *self)
{
    return reel_dataset_shape(((subset *)self)->of);
}

static int64_t subset_classes(void *self)
{
    return reel_dataset_classes(((subset *)self)->of);
}

static const char *subset_class_name(void *self, int64_t k)
{
    return reel_dataset_class_name(((subset *)self)->of, k);
}

static int64_t subset_skipped(void *self)
{
    return reel_dataset_skipped(((subset *)self)->of);
}

static void subset_free(void *self)
{
    subset *s = self;
    reel_dataset_free(s->of);
    reel__free(s->index);
    reel__free(s);
}

static const reel_dataset_fns subset_fns = {
    .name = "subset",
    .length = subset_length,
    .get = subset_get,
    .label = subset_label,
    .shape = subset_shape,
    .classes = subset_classes,
    .class_name = subset_class_name,
    .skipped = subset_skipped,
    .free = subset_free,
};

static reel_status check(const reel_dataset *ds, const int64_t *indices, int64_t n)
{
    int64_t length = reel_dataset_length(ds);
    if (!ds || !indices || n < 1)
        return reel_fail(REEL_ERR_ARG, "dataset_subset: %s",
                         !ds        ? "dataset is NULL"
                         : !indices ? "indices are NULL"
                                    : "no indices");
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= length)
            return reel_fail(REEL_ERR_ARG,
                             "dataset_subset: index %lld at %lld, expected 0 to %lld",
                             (long long)indices[i], (long long)i, (long long)length - 1);
    return REEL_OK;
}

reel_dataset *reel_dataset_subset(reel_dataset *ds, const int64_t *indices, int64_t n)
{
    REEL__CALLED;
    if (reel_failed() || check(ds, indices, n)) return NULL;
    subset *s = reel__calloc(1, sizeof *s);
    if (!s) return NULL;
    s->of = reel_dataset_keep(ds);
    s->n = n;
    s->index = reel__malloc((size_t)n * sizeof *s->index);
    if (s->index) memcpy(s->index, indices, (size_t)n * sizeof *s->index);
    return reel_dataset_new(&subset_fns, s); /* refuses, and frees, what is not whole */
}

/* ---- at random ---------------------------------------------------------------------- */

/* How many samples each part has. */
static reel_status measure(const double *lengths, int n, int64_t samples, int64_t *count)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        if (!(lengths[i] >= 0 && lengths[i] <= (double)samples))
            return reel_fail(REEL_ERR_ARG,
                             "dataset_random_split: part %d of %g, expected 0 to %lld", i,
                             lengths[i], (long long)samples);
        sum += lengths[i];
    }
    bool fractions = fabs(sum - 1) <= 1e-9 * n && samples > 1;
    int64_t left = samples;
    for (int i = 0; i < n; i++) {
        double length = fractions ? floor(lengths[i] * (double)samples) : lengths[i];
        if (length != floor(length))
            return reel_fail(
                REEL_ERR_ARG,
                "dataset_random_split: part %d of %g samples; lengths are whole, "
                "fractions add up to 1, not %g",
                i, length, sum);
        count[i] = (int64_t)length;
        left -= count[i];
    }
    for (int i = 0; fractions && left > 0; i = (i + 1) % n, left--) count[i]++;
    for (int i = 0; i < n; i++)
        if (left == 0 && count[i] == 0)
            return reel_fail(REEL_ERR_ARG,
                             "dataset_random_split: part %d of %g has no sample", i,
                             lengths[i]);
    if (left == 0) return REEL_OK;
    return reel_fail(
        REEL_ERR_ARG,
        "dataset_random_split: the lengths add up to %g, expected %lld, or 1 for "
        "fractions",
        sum, (long long)samples);
}

reel_status reel_dataset_random_split(reel_dataset *ds, const double *lengths, int n,
                                      uint64_t seed, reel_dataset **out)
{
    REEL__CALLED;
    for (int i = 0; out && i < n; i++) out[i] = NULL;
    if (reel_failed()) return reel_error_status();
    int64_t samples = reel_dataset_length(ds);
    if (!ds || !lengths || !out || n < 1)
        return reel_fail(REEL_ERR_ARG, "dataset_random_split: %s",
                         !ds        ? "dataset is NULL"
                         : !lengths ? "lengths are NULL"
                         : !out     ? "out is NULL"
                                    : "no parts");
    if (samples < 1 || samples > UINT32_MAX)
        return reel_fail(REEL_ERR_ARG,
                         "dataset_random_split: %lld samples, expected 1 to %lld",
                         (long long)samples, (long long)UINT32_MAX);
    int64_t *order = reel__malloc((size_t)samples * sizeof *order);
    int64_t *count = reel__malloc((size_t)n * sizeof *count), at = 0;
    if (order && count && !measure(lengths, n, samples, count)) {
        reel_draw d = reel_draw_at(seed, 0, UINT64_MAX);
        reel__shuffled(&d, order, samples);
        for (int i = 0; i < n && !reel_failed(); at += count[i++])
            out[i] = reel_dataset_subset(ds, order + at, count[i]);
    }
    reel__free(order);
    reel__free(count);
    for (int i = 0; i < n && reel_failed(); i++) {
        reel_dataset_free(out[i]);
        out[i] = NULL;
    }
    return reel_error_status();
}
