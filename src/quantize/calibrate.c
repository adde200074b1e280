/* calibrate.c: ranges from a loader of data. */
#include <reel/progress.h>
#include <stdio.h>

#include "base/error.h"
#include "base/option.h"
#include "quantize/quantize.h"

/* ---- over batches ------------------------------------------------------------------------------ */

/* Until the epoch or o->batches are over, or one fails. */
static void run(const char *who, reel_loader *loader, const reel_calibrate_opts *o,
                reel_progress *line, reel_status (*fn)(void *user, reel_tensor *x),
                void *user)
{
    int64_t n = 0;
    reel_batch b = reel_loader_begin(loader);
    while ((o->batches == 0 || n < o->batches) && !reel_failed() &&
           reel_loader_next(loader, &b)) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = o->field ? reel_batch_get(&b, o->field) : b.x;
        if (x && b.size > 0 && !fn(user, x)) n++;
        reel_scope_end(s);
        reel_progress_update(line, 1, NULL);
    }
    if (n == 0 && !reel_failed())
        reel_fail(REEL_ERR_ARG,
                  "%s: the loader gives no batch; what is measured needs data", who);
}

reel_status reel__each_batch(const char *who, const char *label, reel__quantized *q,
                             reel_loader *loader, const reel_calibrate_opts *o,
                             reel_status (*fn)(void *user, reel_tensor *x), void *user)
{
    if (!loader) return reel_fail(REEL_ERR_ARG, "%s: the loader is NULL", who);
    if (o->batches < 0)
        return reel_fail(REEL_ERR_ARG, "%s: %lld batches", who, (long long)o->batches);
    if (q->graph->n_input != 1 || q->graph->n_output != 1)
        return reel_fail(REEL_ERR_ARG,
                         "%s: a module of %d inputs and %d outputs, expected one of each",
                         who, q->graph->n_input, q->graph->n_output);
    int64_t total = reel_loader_batches(loader);
    if (o->batches && o->batches < total) total = o->batches;
    reel_progress *line =
        reel_progress_new(o->progress, total, &(reel_progress_opts){.label = label});
    bool was = reel_set_grad_enabled(false);
    if (!reel_failed()) run(who, loader, o, line, fn, user);
    (void)reel_set_grad_enabled(was);
    reel_progress_free(line);
    return reel_error_status();
}

/* ---- ranges ------------------------------------------------------------------------------------ */

/* The first batch is what makes the observers forget what they saw before. */
static reel_status observe(void *user, reel_tensor *x)
{
    reel__quantized *q = user;
    if (!q->observing && reel_quantize_observe(&q->m, true)) return reel_error_status();
    return reel_forward(&q->m, x) ? REEL_OK : reel_error_status();
}

reel_status reel_quantize_calibrate(reel_module *m, reel_loader *loader,
                                    const reel_calibrate_opts *opts)
{
    static const char who[] = "quantize_calibrate";
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_calibrate_opts *o = REEL__OPTS(who, reel_calibrate_opts, opts);
    reel__quantized *q = o ? reel__quantized_of(who, m) : NULL;
    if (!q) return reel_error_status();
    q->observing = false;
    if (!reel__each_batch(who, "calibrate", q, loader, o, observe, q))
        return reel_quantize_observe(m, false);
    q->observing = false;
    return reel_error_status();
}
