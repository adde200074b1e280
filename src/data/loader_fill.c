/* loader_fill.c: one batch, from its number: which samples, their transforms, the
 * tensors. */
#include <reel/ops.h>
#include <stdint.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "data/draw.h"
#include "data/loader.h"
#include "data/sample.h"

/* ---- order ------------------------------------------------------------------------- */

/* The first index whose sum of weights lies above `at`, which is below the last sum. Its
 * own weight is not 0: the sum before it does not lie above. */
static int64_t above(const double *sums, int64_t n, double at)
{
    int64_t lo = 0, hi = n - 1;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (sums[mid] > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static void draw_weighted(reel_draw *d, const reel_loader *l, int64_t *order)
{
    double total = l->weight_sums[l->samples - 1];
    for (int64_t i = 0; i < l->length; i++) {
        uint64_t bits = (uint64_t)reel_draw_u32(d) << 32;
        double u = (double)((bits | reel_draw_u32(d)) >> 11) * 0x1p-53;
        order[i] = above(l->weight_sums, l->samples, u * total);
    }
}

const int64_t *reel__loader_order(reel_loader *l, int64_t epoch)
{
    int64_t *order = l->order[epoch & 1];
    if (!order || l->order_epoch[epoch & 1] == epoch) return order;

    reel_draw d = reel_draw_at(l->seed, (uint64_t)epoch, UINT64_MAX); /* of no sample */
    if (l->weight_sums)
        draw_weighted(&d, l, order);
    else
        reel__shuffled(&d, order, l->samples);
    l->order_epoch[epoch & 1] = epoch;
    return order;
}

/* ---- samples ----------------------------------------------------------------------- */

/* What a data set or transform wrote into the sample by hand. */
static reel_status check_sample(const reel_sample *s, int64_t index)
{
    for (int i = 0; i < s->fields; i++) {
        const reel_field *f = s->field[i];
        if (!f->data || reel_dtype_size(f->dtype) == 0)
            return reel_fail(REEL_ERR_DTYPE,
                             "field \"%s\" of sample %lld is %s of %s, expected "
                             "data of a dtype",
                             f->name, (long long)index, f->data ? "data" : "nothing",
                             reel_dtype_name(f->dtype));
        if (reel__check_field("loader_next", f)) return reel_error_status();
        if (f->kind != REEL_LABEL) continue;
        int64_t label = *(const int64_t *)f->data;
        if (label < 0 && label != REEL_IGNORE_INDEX)
            return reel_fail(REEL_ERR_ARG,
                             "label \"%s\" of sample %lld is %lld, expected 0, 1, "
                             "... or REEL_IGNORE_INDEX (%lld)",
                             f->name, (long long)index, (long long)label,
                             (long long)REEL_IGNORE_INDEX);
    }
    return REEL_OK;
}

/* The sample at a place of the epoch's order, transformed; s->skip if there is none. */
static reel_status fetch(const reel_loader *l, int64_t epoch, int64_t place,
                         int64_t index, reel_sample *s)
{
    if (reel_dataset_get(l->ds, index, s) || s->skip) return reel_error_status();
    if (check_sample(s, index)) return reel_error_status();
    if (!l->transform) return REEL_OK;
    /* Drawn with replacement, a sample may come twice: its place is a stream of its own,
     * beyond all indices, which have 32 bits. */
    uint64_t stream =
        l->weight_sums ? (UINT64_C(1) << 32) + (uint64_t)place : (uint64_t)index;
    reel_draw d = reel_draw_at(l->seed, (uint64_t)epoch, stream);
    if (reel_transform_apply(l->transform, s, &d)) return reel_error_status();
    return check_sample(s, index);
}

/* ---- stacking ---------------------------------------------------------------------- */

static reel_status begin_rows(reel__workbench *w, int64_t room, const reel_sample *s)
{
    if (s->fields > w->rows_room) {
        reel__rows *larger = reel__realloc(w->rows, (size_t)s->fields * sizeof *larger);
        if (!larger) return reel_error_status();
        w->rows = larger;
        w->rows_room = s->fields;
    }
    w->n_rows = s->fields;
    for (int i = 0; i < s->fields; i++)
        if (reel__rows_begin(&w->rows[i], room, s->field[i])) return reel_error_status();
    return REEL_OK;
}

/* Writes a sample into the rows that the first one made. */
static reel_status add_rows(reel__workbench *w, const reel_sample *s, int64_t first,
                            int64_t index)
{
    if (s->fields != w->n_rows)
        return reel_fail(REEL_ERR_ARG,
                         "samples %lld and %lld have %d and %d fields; all have "
                         "the same",
                         (long long)first, (long long)index, w->n_rows, s->fields);
    for (int i = 0; i < s->fields; i++)
        if (!reel__rows_fit(&w->rows[i], s->field[i]))
            return reel__rows_differ(&w->rows[i], s->field[i], first, index);
    for (int i = 0; i < s->fields; i++) reel__rows_add(&w->rows[i], s->field[i]);
    return REEL_OK;
}

/* ---- memory ------------------------------------------------------------------------ */

static reel_status allocate(const reel_loader *l, reel__workbench *w, reel__filled *out,
                            int64_t room)
{
    out->samples = reel__malloc((size_t)room * sizeof *out->samples);
    out->batch.samples = out->samples;
    if (!w->sample) {
        w->samples = l->collate ? l->batch : 1;
        w->sample = reel__calloc((size_t)w->samples, sizeof *w->sample);
    }
    return reel_error_status();
}

void reel__workbench_free(reel__workbench *w)
{
    for (int64_t i = 0; w->sample && i < w->samples; i++) reel_sample_free(&w->sample[i]);
    reel__free(w->sample);
    reel__free(w->rows);
    *w = (reel__workbench){0};
}

void reel__filled_clear(reel__filled *f)
{
    reel__batch_clear(&f->batch);
    reel__free(f->samples);
    *f = (reel__filled){0};
}

/* ---- a batch ----------------------------------------------------------------------- */

/* Samples [begin, end) of the epoch's order, those that the data set has: written as they
 * come, or kept for the collate. */
static reel_status gather(const reel_loader *l, int64_t epoch, int64_t begin, int64_t end,
                          const int64_t *order, reel__workbench *w, reel__filled *out)
{
    reel_batch *b = &out->batch;
    for (int64_t i = begin; i < end; i++) {
        int64_t index = order ? order[i] : i;
        reel_sample *s = &w->sample[l->collate ? b->size : 0];
        if (fetch(l, epoch, i, index, s)) return reel_error_status();
        if (s->skip) continue;
        if (!l->collate) {
            if (b->size == 0 && begin_rows(w, end - begin, s)) return reel_error_status();
            if (add_rows(w, s, out->samples[0], index)) return reel_error_status();
        }
        out->samples[b->size++] = index;
    }
    return REEL_OK;
}

static reel_status make(const reel_loader *l, reel__workbench *w, reel_batch *b)
{
    if (b->size == 0) return REEL_OK;
    if (l->collate) return reel__collate_run(l->collate, w->sample, b->size, b);
    for (int i = 0; i < w->n_rows; i++)
        if (reel__rows_put(&w->rows[i], b)) return reel_error_status();
    return REEL_OK;
}

void reel__loader_fill(const reel_loader *l, int64_t g, const int64_t *order,
                       reel__workbench *w, reel__filled *out)
{
    REEL__CALLED_AS("loader_next"); /* of workers too */
    int64_t epoch = g / l->batches, begin = g % l->batches * l->batch;
    int64_t end = begin + l->batch < l->length ? begin + l->batch : l->length;
    *out = (reel__filled){.batch = {.epoch = epoch, .index = g % l->batches}};

    reel_device device = reel_default_device();
    reel_set_default_device((reel_device){REEL_CPU, 0});
    reel_scope scope = reel_scope_begin();
    if (!allocate(l, w, out, end - begin) && !gather(l, epoch, begin, end, order, w, out))
        make(l, w, &out->batch);
    reel_scope_end(scope);
    reel_set_default_device(device);

    if (reel_failed()) {
        reel__filled_clear(out);
        out->status = reel_error_status();
        snprintf(out->message, sizeof out->message, "%s", reel_error_message());
        reel_error_clear();
    }
}
