/* clip.c: clipping gradients, in operators alone, so that a captured step clips as well.
 * Results are new tensors: two leaves may share one gradient, and scaling it in place would
 * scale it twice. */
#include <math.h>

#include "base/error.h"
#include "optim/optim.h"

static bool is_list(const char *who, reel_params params, double limit)
{
    if (params.n > 0 && !params.tensor)
        reel_fail(REEL_ERR_ARG, "%s: the list of parameters is NULL", who);
    else if (!(limit > 0))
        reel_fail(REEL_ERR_ARG, "%s: limit %g, expected above 0", who, limit);
    return !reel_failed();
}

enum { NORMS = 32 }; /* joined at a time */

static reel_tensor *join_norms(reel_tensor *const norm[], int n)
{
    return reel_norm(reel_stack(norm, n, 0), REEL_ALL, false, REEL_F64);
}

/* Norm of all gradients together, f64: the norm of their norms. */
static reel_tensor *norm_of_all(reel_params params)
{
    reel_tensor *norm[NORMS];
    int n = 0;
    for (int i = 0; i < params.n && !reel_failed(); i++) {
        reel_tensor *g = reel_grad_of(params.tensor[i]);
        if (!g) continue;
        if (n == NORMS) {
            norm[0] = join_norms(norm, n);
            n = 1;
        }
        norm[n++] = reel_norm(g, REEL_ALL, false, REEL_F64);
    }
    return n ? join_norms(norm, n) : reel_zeros(REEL_SCALAR, REEL_F64);
}

/* scale: a 0-d f64 tensor; every gradient is multiplied by it. */
static reel_status scale_all(reel_params params, reel_tensor *scale)
{
    reel_status st = scale ? REEL_OK : reel_error_status();
    for (int i = 0; i < params.n && !st; i++) {
        reel_tensor *g = reel_grad_of(params.tensor[i]);
        if (!g) continue;
        reel_scope s = reel_scope_begin();
        reel_tensor *y = reel_scale(g, scale);
        st = y ? reel_set_grad(params.tensor[i], y) : reel_error_status();
        reel_scope_end(s);
    }
    return st;
}

/* As torch.nn.utils.clip_grad_norm_: multiplied by min(1, max_norm / (norm + 1e-6)). */
reel_tensor *reel_clip_grad_norm_tensor(reel_params params, double max_norm)
{
    REEL__CALLED;
    if (reel_failed() || !is_list("clip_grad_norm", params, max_norm)) return NULL;
    bool was = reel_set_grad_enabled(false);
    reel_scope s = reel_scope_begin();
    reel_tensor *norm = norm_of_all(params);
    reel_tensor *ratio =
        reel_mul_scalar(reel_reciprocal(reel_add_scalar(norm, 1e-6)), max_norm);
    reel_tensor *scale = reel_minimum(ratio, reel_scalar(1, REEL_F64));
    if (scale_all(params, scale)) norm = NULL;
    norm = reel_scope_return(s, norm);
    reel_set_grad_enabled(was);
    return norm;
}

double reel_clip_grad_norm(reel_params params, double max_norm)
{
    REEL__CALLED;
    reel_scope s = reel_scope_begin();
    reel_tensor *norm = reel_clip_grad_norm_tensor(params, max_norm);
    double value = norm ? reel_item(norm) : -1;
    reel_scope_end(s);
    return value;
}

reel_status reel_clip_grad_value(reel_params params, double limit)
{
    REEL__CALLED;
    if (!is_list("clip_grad_value", params, limit)) return reel_error_status();
    reel_status st = REEL_OK;
    for (int i = 0; i < params.n && !st; i++) {
        reel_tensor *g = reel_grad_of(params.tensor[i]);
        if (!g) continue;
        reel__quiet q = reel__quiet_begin();
        reel_tensor *y = reel_clamp(g, -limit, limit);
        st = y ? reel_set_grad(params.tensor[i], y) : reel_error_status();
        reel__quiet_end(q);
    }
    return st;
}
