/* clip.c: clipping gradients. Results are new tensors: two leaves may share one gradient, and
 * scaling it in place would scale it twice. */
#include <math.h>

#include "optim/optim.h"

/* Replaces each gradient g by clamp(g, -number, number), or by number * g. */
static reel_status replace_all(reel_params params, bool clamp, double number)
{
    reel_status st = REEL_OK;
    for (int i = 0; i < params.n && !st; i++) {
        reel_tensor *g = reel_grad_of(params.tensor[i]);
        if (!g) continue;
        reel__quiet q = reel__quiet_begin();
        reel_tensor *y =
            clamp ? reel_clamp(g, -number, number) : reel_mul_scalar(g, number);
        st = y ? reel_set_grad(params.tensor[i], y) : reel_error_status();
        reel__quiet_end(q);
    }
    return st;
}

/* Sum of squares of all gradients: of each tensor in its dtype, of all tensors in f64. */
static double sum_of_squares(reel_params params)
{
    double total = 0;
    for (int i = 0; i < params.n && !reel_failed(); i++) {
        reel_tensor *g = reel_grad_of(params.tensor[i]);
        if (!g) continue;
        reel__quiet q = reel__quiet_begin();
        reel_tensor *square = reel_sum(reel_square(g), REEL_ALL, false);
        if (square) total += reel_item(square);
        reel__quiet_end(q);
    }
    return total;
}

static bool is_list(const char *who, reel_params params, double limit)
{
    if (params.n > 0 && !params.tensor)
        reel_fail(REEL_ERR_ARG, "%s: the list of parameters is NULL", who);
    else if (!(limit > 0))
        reel_fail(REEL_ERR_ARG, "%s: limit %g, expected above 0", who, limit);
    return !reel_failed();
}

double reel_clip_grad_norm(reel_params params, double max_norm)
{
    if (!is_list("clip_grad_norm", params, max_norm)) return -1;
    double norm = sqrt(sum_of_squares(params));
    if (reel_failed()) return -1;
    double scale = max_norm / (norm + 1e-6); /* as torch.nn.utils.clip_grad_norm_ */
    if (!(scale >= 1) && replace_all(params, false, scale)) return -1;
    return norm;
}

reel_status reel_clip_grad_value(reel_params params, double limit)
{
    if (!is_list("clip_grad_value", params, limit)) return reel_error_status();
    return replace_all(params, true, limit);
}
