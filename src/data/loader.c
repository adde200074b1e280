/* loader.c: the loader as its user sees it: options, the next batch, where it stands. */
#include "data/loader.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shape.h"

#define DEFAULT_BATCH 32
#define MAX_WORKERS 256
#define MAX_PREFETCH 4096
/* Orders are drawn with 32-bit numbers. */
#define MAX_SAMPLES UINT32_MAX

static reel_status check_weights(const reel_loader_opts *o, int64_t samples)
{
    if (o->draws != 0 && !o->weights)
        return reel_fail(REEL_ERR_ARG, "loader_new: %lld draws, but no weights",
                         (long long)o->draws);
    if (!o->weights) return REEL_OK;
    if (o->shuffle)
        return reel_fail(
            REEL_ERR_ARG,
            "loader_new: weights and shuffle; weights draw at random already");
    if (o->draws < 0 || o->draws > (int64_t)MAX_SAMPLES)
        return reel_fail(REEL_ERR_ARG, "loader_new: %lld draws, expected 1 to %lld",
                         (long long)o->draws, (long long)MAX_SAMPLES);
    double sum = 0;
    for (int64_t i = 0; i < samples; i++) {
        if (!(o->weights[i] >= 0) || !isfinite(o->weights[i]))
            return reel_fail(REEL_ERR_ARG,
                             "loader_new: weight %g of sample %lld, expected 0 or more",
                             o->weights[i], (long long)i);
        sum += o->weights[i];
    }
    if (sum > 0 && isfinite(sum)) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "loader_new: the %lld weights have the sum %g",
                     (long long)samples, sum);
}

static reel_status check_opts(const reel_loader_opts *o, int64_t samples)
{
    if (o->batch < 0)
        return reel_fail(REEL_ERR_ARG, "loader_new: batch %lld, expected at least 1",
                         (long long)o->batch);
    if (o->workers < 0 || o->workers > MAX_WORKERS)
        return reel_fail(REEL_ERR_ARG, "loader_new: %d workers, expected 0 to %d",
                         o->workers, MAX_WORKERS);
    if (o->prefetch < 0 || o->prefetch > MAX_PREFETCH)
        return reel_fail(REEL_ERR_ARG, "loader_new: prefetch %d, expected 0 to %d",
                         o->prefetch, MAX_PREFETCH);
    if (samples < 1 || samples > (int64_t)MAX_SAMPLES)
        return reel_fail(REEL_ERR_ARG, "loader_new: %lld samples, expected 1 to %lld",
                         (long long)samples, (long long)MAX_SAMPLES);
    if (check_weights(o, samples)) return reel_error_status();
    int64_t length = o->draws > 0 ? o->draws : samples;
    if (o->drop_last && o->batch > length)
        return reel_fail(
            REEL_ERR_ARG,
            "loader_new: drop_last leaves no batch: %lld samples in batches of %lld",
            (long long)length, (long long)o->batch);
    return REEL_OK;
}

/* Sums of the weights up to each one. */
static double *add_up(const double *weights, int64_t samples)
{
    double *sums = reel__malloc((size_t)samples * sizeof *sums), sum = 0;
    for (int64_t i = 0; sums && i < samples; i++) sums[i] = sum += weights[i];
    return sums;
}

static reel_status allocate(reel_loader *l, const reel_loader_opts *o, int64_t draws)
{
    if (o->weights) {
        l->weight_sums = add_up(o->weights, l->samples);
        if (!l->weight_sums) return reel_error_status();
    }
    for (int k = 0; k < 2 && (o->shuffle || o->weights); k++) {
        l->order[k] = reel__malloc((size_t)draws * sizeof *l->order[k]);
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
    REEL__CALLED;
    const reel_loader_opts *given = REEL__OPTS("loader_new", reel_loader_opts, opts);
    if (!given) return NULL;
    reel_loader_opts o = *given; /* from here on it owns parts of them */
    if (o.batch == 0) o.batch = DEFAULT_BATCH;
    int64_t samples = reel_dataset_length(ds);
    reel_loader *l = NULL;
    if (!ds)
        reel_fail(REEL_ERR_ARG, "loader_new: dataset is NULL");
    else if (!reel_failed() && !check_opts(&o, samples))
        l = reel__calloc(1, sizeof *l);
    if (!l) {
        reel_transform_free(o.transform);
        reel_collate_free(o.collate);
        return NULL;
    }
    reel__lock_init(&l->lock);
    reel__event_init(&l->work);
    reel__event_init(&l->ready);
    l->stopped = (reel__stopped){.stop = stop_workers, .self = l};
    l->ds = reel_dataset_keep(ds);
    l->transform = o.transform;
    l->collate = o.collate;
    l->samples = samples;
    int64_t draws = o.draws > 0 ? o.draws : samples;
    l->batch = o.batch < draws ? o.batch : draws;
    l->batches = o.drop_last ? draws / l->batch : (draws - 1) / l->batch + 1;
    l->length = o.drop_last ? l->batches * l->batch : draws;
    l->seed = o.seed;
    l->drop_last = o.drop_last;
    l->order_epoch[0] = l->order_epoch[1] = -1;
    l->workers = o.workers;
    l->depth = o.workers == 0 ? 0 : o.prefetch > 0 ? o.prefetch : 2 * o.workers;
    if (!allocate(l, &o, draws)) return l;
    reel_loader_free(l);
    return NULL;
}

void reel_loader_free(reel_loader *l)
{
    if (!l) return;
    if (l->slots) reel__loader_stop(l);
    reel__filled_clear(&l->current);
    reel__workbench_free(&l->bench);
    reel_transform_free(l->transform);
    reel_collate_free(l->collate);
    reel_dataset_free(l->ds);
    reel__free(l->order[0]);
    reel__free(l->order[1]);
    reel__free(l->weight_sums);
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
        reel__loader_fill(l, g, order, &l->bench, &l->current);
    } else {
        if (!reel__loader_runs(l) && reel__loader_start(l, g)) return reel_error_status();
        reel__loader_take(l, &l->current);
    }
    l->position++;
    l->entered = true;
    if (!l->current.status) return REEL_OK;
    return reel_fail(l->current.status, "%s", l->current.message);
}

/* What skipped samples left of a batch is given out, unless only full ones are. */
static bool is_left_out(const reel_loader *l)
{
    int64_t n = l->current.batch.size;
    return n == 0 || (l->drop_last && n < l->batch);
}

bool reel_loader_next(reel_loader *l, reel_batch *out)
{
    REEL__CALLED;
    if (out) *out = (reel_batch){0};
    if (!l || !out) {
        reel_fail(REEL_ERR_ARG, "loader_next: %s is NULL", l ? "out" : "loader");
        return false;
    }
    if (reel_failed()) return false;
    do {
        reel__filled_clear(&l->current);
        if (l->position == l->batches) {
            l->position = 0;
            l->epoch++;
            l->entered = false;
            return false;
        }
        if (advance(l)) return false;
    } while (is_left_out(l));
    *out = reel__batch_made(&l->current.batch);
    return true;
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

/* Epochs whose batches can be counted through, and some more. */
static bool is_epoch(const reel_loader *l, int64_t epoch)
{
    int64_t last;
    return epoch >= 0 && reel__checked_mul(epoch, l->batches, &last) &&
           reel__checked_add(last, 2 * l->batches + MAX_PREFETCH, &last);
}

static void go(reel_loader *l, uint64_t seed, int64_t epoch, int64_t position)
{
    if (l->slots) reel__loader_stop(l);
    reel__filled_clear(&l->current);
    l->seed = seed;
    l->epoch = epoch;
    l->position = position;
    l->entered = false;
    l->order_epoch[0] = l->order_epoch[1] = -1;
}

reel_status reel_loader_set_state(reel_loader *l, reel_loader_state s)
{
    REEL__CALLED;
    if (!l) return reel_fail(REEL_ERR_ARG, "loader_set_state: loader is NULL");
    if (reel_failed()) return reel_error_status();
    if (!REEL__KNOWN("loader_set_state", &s)) return reel_error_status();
    if (!is_epoch(l, s.epoch))
        return reel_fail(REEL_ERR_ARG, "loader_set_state: epoch %lld is out of range",
                         (long long)s.epoch);
    if (s.position < 0 || s.position > l->length ||
        (s.position % l->batch != 0 && s.position != l->length))
        return reel_fail(
            REEL_ERR_ARG,
            "loader_set_state: position %lld, expected a multiple of the batch "
            "size %lld up to %lld",
            (long long)s.position, (long long)l->batch, (long long)l->length);
    go(l, s.seed, s.epoch, (s.position + l->batch - 1) / l->batch);
    return REEL_OK;
}

reel_status reel_loader_reset(reel_loader *l, int64_t epoch)
{
    REEL__CALLED;
    if (!l) return reel_fail(REEL_ERR_ARG, "loader_reset: loader is NULL");
    if (reel_failed()) return reel_error_status();
    if (epoch == REEL_NEXT_EPOCH) epoch = l->epoch + (l->position > 0);
    if (!is_epoch(l, epoch))
        return reel_fail(REEL_ERR_ARG,
                         "loader_reset: epoch %lld, expected REEL_NEXT_EPOCH or one from "
                         "0 that can be counted to",
                         (long long)epoch);
    if (epoch != l->epoch || l->position > 0) go(l, l->seed, epoch, 0);
    return REEL_OK;
}

reel_batch reel_loader_begin(reel_loader *l)
{
    REEL__CALLED;
    if (!l)
        reel_fail(REEL_ERR_ARG, "loader_begin: loader is NULL");
    else if (l->entered)
        reel_loader_reset(l, REEL_NEXT_EPOCH);
    return (reel_batch){0};
}
