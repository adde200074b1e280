/* learn.c: scales and zero points as parameters: LSQ, LSQ+. Sources: Esser et al. 2020,
 * arXiv:1902.08153; Bhalgat et al. 2020, arXiv:2004.09576. */
#include <math.h>

#include "ops/records.h"
#include "quantize/quantize.h"

/* A step of an optimizer may not make a scale 0 or less. */
#define SMALLEST_SCALE 1e-12

/* 1 / sqrt(N Q): N elements that one scale is for (of one image), Q steps of the grid on one
 * side; so that scales move about as fast as weights. */
static double gradient_factor(const reel__quantizer *z, reel_tensor *x)
{
    double n = (double)reel_numel(x), q = z->grid.high;
    int64_t parts = z->weight ? reel_numel(z->scale) : reel_rank(x) ? reel_size(x, 0) : 1;
    if (!z->grid.symmetric) q -= z->grid.low;
    return 1 / sqrt(fmax(n / (double)(parts ? parts : 1), 1) * q);
}

/* p, whose gradient is `factor` times what reaches it. */
static reel_tensor *with_factor(reel_tensor *p, double factor)
{
    reel_tensor *same = reel_detach(p);
    return reel_add(same, reel_mul_scalar(reel_sub(p, same), factor));
}

reel_status reel__learned_settle(const reel__quantizer *z)
{
    bool was = reel_set_grad_enabled(false);
    (void)reel_clamp_(z->scale, SMALLEST_SCALE, z->most_scale);
    (void)reel_set_grad_enabled(was);
    return reel_error_status();
}

reel_tensor *reel__learned_fake(const reel__quantized *q, int node,
                                reel_tensor *const in[])
{
    const reel__gnode *n = &q->graph->node[node];
    const reel__quantizer *z = &q->quantizer[q->of_node[node]];
    double factor = gradient_factor(z, in[0]);
    if (reel__learned_settle(z)) return NULL;
    reel_tensor *zero = in[2];
    if (reel_needs_grad(zero)) zero = with_factor(zero, factor);
    return APPLY(n->op, n->attrs, in[0], with_factor(in[1], factor), zero);
}
