/* infer.c: what a record's results look like, asked as apply() asks. */
#include "trace/graph.h"

reel_status reel__infer(const reel_op *op, const void *attrs,
                        const reel_meta *const in[], int n_in, reel_meta *out)
{
    reel_tensor *ghost[REEL_OP_MAX_IN] = {NULL}; /* shapes without values */
    const reel_call c = {op, n_in, op->n_out, ghost, NULL, attrs, 0, false};
    reel_status st = REEL_OK;
    for (int k = 0; k < n_in && !st; k++)
        if (in[k] && !(ghost[k] = reel__tensor_ghost(in[k]))) st = reel_error_status();
    for (int k = 0; k < op->n_out; k++) {
        out[k] = n_in && in[0] ? *in[0] : (reel_meta){.dtype = REEL_F32};
        out[k].rank = 0;
        out[k].offset = 0;
    }
    if (!st && op->infer) st = op->infer(&c, out);
    for (int k = 0; k < n_in; k++) reel__tensor_release(ghost[k]);
    return st;
}
