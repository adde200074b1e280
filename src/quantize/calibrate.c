/* calibrate.c: ranges from a loader of data. */
#include <reel/progress.h>
#include <stdio.h>

#include "base/error.h"
#include "base/option.h"
#include "quantize/quantize.h"

/* Runs until the epoch or `most` batches are over; how many there were. */
static int64_t run(reel__quantized *q, reel_loader *loader, const char *field,
                   int64_t most, reel_progress *line)
{
    int64_t n = 0;
    reel_batch b = reel_loader_begin(loader);
    while ((most == 0 || n < most) && !reel_failed() && reel_loader_next(loader, &b)) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = field ? reel_batch_get(&b, field) : b.x;
        if (x && b.size > 0 && reel_forward(&q->m, x)) n++;
        reel_scope_end(s);
        reel_progress_update(line, 1, NULL);
    }
    return n;
}

static reel_status observe(reel__quantized *q, reel_loader *loader,
                           const reel_calibrate_opts *o, reel_progress *line)
{
    bool training = q->m.training, was = reel_set_grad_enabled(false);
    q->m.training = false;
    reel_status st = reel_quantize_observe(&q->m, true);
    int64_t n = st ? 0 : run(q, loader, o->field, o->batches, line);
    if (!reel_failed() && n == 0)
        reel_fail(REEL_ERR_ARG, "quantize_calibrate: the loader gives no batch; ranges "
                                "need data");
    q->m.training = training;
    (void)reel_set_grad_enabled(was);
    if (!reel_failed()) return reel_quantize_observe(&q->m, false);
    q->observing = false;
    return reel_error_status();
}

reel_status reel_quantize_calibrate(reel_module *m, reel_loader *loader,
                                    const reel_calibrate_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_calibrate_opts *o =
        REEL__OPTS("quantize_calibrate", reel_calibrate_opts, opts);
    reel__quantized *q = o ? reel__quantized_of("quantize_calibrate", m) : NULL;
    if (!q) return reel_error_status();
    if (!loader) return reel_fail(REEL_ERR_ARG, "quantize_calibrate: the loader is NULL");
    if (o->batches < 0)
        return reel_fail(REEL_ERR_ARG, "quantize_calibrate: %lld batches",
                         (long long)o->batches);
    int64_t total = reel_loader_batches(loader);
    if (o->batches && o->batches < total) total = o->batches;
    reel_progress *line = reel_progress_new(o->progress, total,
                                            &(reel_progress_opts){.label = "calibrate"});
    reel_status st = observe(q, loader, o, line);
    reel_progress_free(line);
    return st;
}
