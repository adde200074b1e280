/* loader.c: the loader as its user sees it: options, the next batch, where it stands. */
#include "data/loader.h"

#include <reel/ops.h>

#include "base/alloc.h"
#include "base/shape.h"

#define DEFAULT_BATCH 32
#define MAX_WORKERS 256
#define MAX_PREFETCH 4096
/* Orders are drawn with 32-bit numbers. */
#define MAX_SAMPLES UINT32_MAX

static reel_status check_opts(const reel_loader_opts *o, int64_t samples)
{
    if (o->batch < 0)
        return reel_fail(REEL_ERR_ARG, "loader: batch %lld, expected at least 1",
                         (long long)o->batch);
    if (o->workers < 0 || o->workers > MAX_WORKERS)
        return reel_fail(REEL_ERR_ARG, "loader: %d workers, expected 0 to %d", o->workers,
                         MAX_WORKERS);
    if (o->prefetch < 0 || o->prefetch > MAX_PREFETCH)
        return reel_fail(REEL_ERR_ARG, "loader: prefetch %d, expected 0 to %d",
                         o->prefetch, MAX_PREFETCH);
    if (samples < 1 || samples > (int64_t)MAX_SAMPLES)
        return reel_fail(REEL_ERR_ARG, "loader: %lld samples, expected 1 to %lld",
                         (long long)samples, (long long)MAX_SAMPLES);
    if (o->drop_last && o->batch > samples)
        return reel_fail(
            REEL_ERR_ARG,
            "loader: drop_last leaves no batch: %lld samples in batches of %lld",
            (long long)samples, (long long)o->batch);
    return REEL_OK;
}

static reel_status allocate(reel_loader *l, int64_t samples)
{
    for (int k = 0; k < 2 && l->shuffle; k++) {
        l->order[k] = reel__malloc((size_t)samples * sizeof *l->order[k]);
        if (!l->order[k]) return reel_error_status();
    }
    if (l->workers == 0) return REEL_OK;
    l->threads = reel__malloc((size_t)l->workers * sizeof *l->threads);
    l->slots = reel__calloc((size_t)l->depth, sizeof *l->slots);
    return l->threads && l->slots ? REEL_OK : reel_error_status();
}

static void stop_workers(void *loader)
{
    reel__loader_stop(loader);
}

reel_loader *reel_loader_new(reel_dataset *ds, const reel_loader_opts *opts)
{
    reel_loader_opts o = opts ? *opts : (reel_loader_opts){0};
    if (o.batch == 0) o.batch = DEFAULT_BATCH;
    int64_t samples = reel_dataset_length(ds);
    reel_loader *l = NULL;
    if (!ds)
        reel_fail(REEL_ERR_ARG, "loader: dataset is NULL");
    else if (!reel_failed() && !check_opts(&o, samples))
        l = reel__calloc(1, sizeof *l);
    if (!l) {
        reel_transform_free(o.transform);
        return NULL;
    }
    reel__lock_init(&l->lock);
    reel__event_init(&l->work);
    reel__event_init(&l->ready);
    l->stopped = (reel__stopped){.stop = stop_workers, .self = l};
    l->ds = reel_dataset_keep(ds);
    l->transform = o.transform;
    l->batch = o.batch < samples ? o.batch : samples;
    l->batches = o.drop_last ? samples / l->batch : (samples - 1) / l->batch + 1;
    l->length = o.drop_last ? l->batches * l->batch : samples;
    l->seed = o.seed;
    l->shuffle = o.shuffle;
    l->order_epoch[0] = l->order_epoch[1] = -1;
    l->workers = o.workers;
    l->depth = o.workers == 0 ? 0 : o.prefetch > 0 ? o.prefetch : 2 * o.workers;
    if (!allocate(l, samples)) return l;
    reel_loader_free(l);
    return NULL;
}

void reel_loader_free(reel_loader *l)
{
    if (!l) return;
    if (l->slots) reel__loader_stop(l);
    reel__filled_clear(&l->current);
    reel_sample_free(&l->sample);
    reel_transform_free(l->transform);
    reel_dataset_free(l->ds);
    reel__free(l->order[0]);
    reel__free(l->order[1]);
    reel__free(l->threads);
    reel__free(l->slots);
    reel__lock_free(&l->lock);
    reel__event_free(&l->work);
    reel__event_free(&l->ready);
    reel__free(l);
}

int64_t reel_loader_batches(const reel_loader *l)
{
    return l ? l->batches : -1;
}

/* ---- the next batch ---------------------------------------------------------------- */

/* Makes the next batch `current`, or fails. */
static reel_status advance(reel_loader *l)
{
    int64_t g = l->epoch * l->batches + l->position;
    if (l->workers == 0) {
        const int64_t *order = reel__loader_order(l, l->epoch);
        reel__loader_fill(l, g, order, &l->sample, &l->current);
    } else {
        if (!reel__loader_runs(l) && reel__loader_start(l, g)) return reel_error_status();
        reel__loader_take(l, &l->current);
    }
    l->position++;
    if (!l->current.status) return REEL_OK;
    return reel_fail(l->current.status, "%s", l->current.message);
}

/* The batch as the caller sees it: images with their channels first, by strides alone. */
static reel_status show(reel_loader *l, reel_batch *out)
{
    reel__filled *f = &l->current;
    if (f->image) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *x = reel_permute(f->x, (reel_shape){4, {0, 3, 1, 2}});
        reel_keep(x);
        reel_scope_end(scope);
        if (!x) return reel_error_status();
        reel_release(f->x);
        f->x = x;
    }
    *out = (reel_batch){.x = f->x,
                        .y = f->y,
                        .size = f->n,
                        .index = l->position - 1,
                        .epoch = l->epoch,
                        .samples = f->samples};
    return REEL_OK;
}

bool reel_loader_next(reel_loader *l, reel_batch *out)
{
    if (out) *out = (reel_batch){0};
    if (!l || !out) {
        reel_fail(REEL_ERR_ARG, "loader_next: %s is NULL", l ? "out" : "loader");
        return false;
    }
    if (reel_failed()) return false;
    do { /* until a batch that the data set did not skip as a whole */
        reel__filled_clear(&l->current);
        if (l->position == l->batches) {
            l->position = 0;
            l->epoch++;
            return false;
        }
        if (advance(l)) return false;
    } while (l->current.n == 0);
    return !show(l, out);
}

/* ---- where it stands --------------------------------------------------------------- */

reel_loader_state reel_loader_get_state(const reel_loader *l)
{
    if (!l) return (reel_loader_state){0};
    int64_t position = l->position * l->batch;
    return (reel_loader_state){.seed = l->seed,
                               .epoch = l->epoch,
                               .position = position < l->length ? position : l->length};
}

reel_status reel_loader_set_state(reel_loader *l, reel_loader_state s)
{
    if (!l) return reel_fail(REEL_ERR_ARG, "loader_set_state: loader is NULL");
    if (reel_failed()) return reel_error_status();
    int64_t last;
    if (s.epoch < 0 || !reel__checked_mul(s.epoch, l->batches, &last) ||
        !reel__checked_add(last, 2 * l->batches + MAX_PREFETCH, &last))
        return reel_fail(REEL_ERR_ARG, "loader_set_state: epoch %lld is out of range",
                         (long long)s.epoch);
    if (s.position < 0 || s.position > l->length ||
        (s.position % l->batch != 0 && s.position != l->length))
        return reel_fail(
            REEL_ERR_ARG,
            "loader_set_state: position %lld, expected a multiple of the batch "
            "size %lld up to %lld",
            (long long)s.position, (long long)l->batch, (long long)l->length);
    if (l->slots) reel__loader_stop(l);
    reel__filled_clear(&l->current);
    l->seed = s.seed;
    l->epoch = s.epoch;
    l->position = (s.position + l->batch - 1) / l->batch;
    l->order_epoch[0] = l->order_epoch[1] = -1;
    return REEL_OK;
}
