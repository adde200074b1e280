/* infer.c: what a record's results look like, asked and checked as apply() does it. */
#include "ops/call.h"
#include "trace/graph/graph.h"

static reel_status infer(const reel__call *c, reel__meta *out)
{
    int k = 0;
    while (k < c->n_in && !c->in[k]) k++;
    reel_device device = k < c->n_in ? c->in[k]->meta.device : reel_default_device();
    reel_status st = reel__call_check(c);
    if (!st) st = reel__call_infer(c, device, out);
    for (k = 0; k < c->op->n_out && !st; k++)
        if (out[k].rank >= 0) st = reel__meta_check(c->op->name, &out[k]);
    return st;
}

reel_status reel__infer(const reel__op *op, const void *attrs,
                        const reel__meta *const in[], int n_in, reel__meta *out)
{
    reel_tensor *ghost[REEL_OP_MAX_IN] = {NULL}; /* shapes without values */
    const reel__call c = {op, n_in, op->n_out, ghost, NULL, attrs, 0, false};
    reel_status st = REEL_OK;
    for (int k = 0; k < n_in && !st; k++)
        if (in[k] && !(ghost[k] = reel__tensor_ghost(in[k]))) st = reel_error_status();
    if (!st) st = infer(&c, out);
    for (int k = 0; k < n_in; k++) reel__tensor_release(ghost[k]);
    return st;
}
