/* infer.c: what a record's results look like, asked and checked as apply() does it. */
#include "trace/graph/graph.h"

static reel_status check_dtype(const reel_call *c)
{
    int k = 0;
    while (k < c->n_in && !c->in[k]) k++;
    if (k == c->n_in || !c->op->dtypes) return REEL_OK;
    REQUIRE(c, c->op->dtypes & DTYPE(IN_META(c, k)->dtype), REEL_ERR_DTYPE,
            "input %d is %s; this operator does not take that dtype", k,
            SHOW(IN_META(c, k)));
    return REEL_OK;
}

static reel_status infer(const reel_call *c, reel_meta *out)
{
    reel_status st = check_dtype(c);
    for (int k = 0; k < c->op->n_out; k++) {
        out[k] = c->n_in && c->in[0] ? c->in[0]->meta : (reel_meta){.dtype = REEL_F32};
        out[k].rank = 0;
        out[k].offset = 0;
    }
    if (!st && c->op->infer) st = c->op->infer(c, out);
    for (int k = 0; k < c->op->n_out && !st; k++)
        if (out[k].rank >= 0) st = reel__meta_check(c->op->name, &out[k]);
    return st;
}

reel_status reel__infer(const reel_op *op, const void *attrs, const reel_meta *const in[],
                        int n_in, reel_meta *out)
{
    reel_tensor *ghost[REEL_OP_MAX_IN] = {NULL}; /* shapes without values */
    const reel_call c = {op, n_in, op->n_out, ghost, NULL, attrs, 0, false};
    reel_status st = REEL_OK;
    for (int k = 0; k < n_in && !st; k++)
        if (in[k] && !(ghost[k] = reel__tensor_ghost(in[k]))) st = reel_error_status();
    if (!st) st = infer(&c, out);
    for (int k = 0; k < n_in; k++) reel__tensor_release(ghost[k]);
    return st;
}
