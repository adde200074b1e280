/* anomaly.c: a recorder that looks for the first NaN or Inf. */
#include "autograd/anomaly.h"

#include <reel/autograd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ops/recorder.h"

static _Thread_local struct {
    bool on, busy;
    const char *op, *where; /* whose gradient runs */
} mode;

const char *reel__anomaly_where(void)
{
    const char *path = mode.on ? reel__error_where() : NULL;
    return path && *path ? reel__strdup(path) : NULL;
}

void reel__anomaly_backward(const char *op, const char *where)
{
    mode.op = op;
    mode.where = where;
}

static bool all_finite(reel_tensor *y)
{
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    mode.busy = true; /* what this check itself computes is not checked */
    reel_tensor *ok = reel_all(reel_isfinite(reel_detach(y)), REEL_ALL, false);
    bool finite = !ok || reel_item_i64(ok) != 0;
    mode.busy = false;
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    return finite;
}

static reel_status check(reel__recorder *self, const reel__call *c)
{
    (void)self;
    if (mode.busy || (c->op->traits & REEL_OP_VIEW)) return REEL_OK;
    for (int i = 0; i < c->n_out; i++) {
        reel_tensor *y = c->out[i];
        if (!y || !reel_dtype_is_float(y->meta.dtype) || all_finite(y)) continue;
        if (!mode.op)
            return reel__bad(c, REEL_ERR_NUMERIC, "output %d %s has a NaN or Inf", i,
                             SHOW(&y->meta));
        return reel__bad(c, REEL_ERR_NUMERIC,
                         "output %d %s has a NaN or Inf, in the gradient of %s%s%s", i,
                         SHOW(&y->meta), mode.op, mode.where ? " of " : "",
                         mode.where ? mode.where : "");
    }
    return reel_failed() ? reel_error_status() : REEL_OK;
}

bool reel_set_anomaly(bool on)
{
    static _Thread_local reel__recorder checker = {.record = check};
    bool was = mode.on;
    if (on && !was) reel__recorder_push(&checker);
    if (!on && was) reel__recorder_remove(&checker);
    mode.on = on;
    return was;
}
