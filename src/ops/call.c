/* call.c: checking and running one call. */
#include "ops/call.h"

static reel_status check_input(const reel__call *c, int i, const reel_tensor *first)
{
    const reel__meta *m = IN_META(c, i);
    if (!first)
        REQUIRE(c, c->op->dtypes == 0 || (c->op->dtypes & DTYPE(m->dtype)),
                REEL_ERR_DTYPE, "input %d is %s; this operator does not take that dtype",
                i, SHOW(m));
    REQUIRE(c,
            !first || (m->device.type == first->meta.device.type &&
                       m->device.index == first->meta.device.index),
            REEL_ERR_DEVICE, "input %d is on another device than the first", i);
    /* On an expanded tensor the result would depend on which thread comes last. */
    REQUIRE(c, !reel__op_changes(c->op, i) || !reel__is_expanded(m), REEL_ERR_ARG,
            "input %d %s is expanded, its elements share memory, and would be changed in "
            "place; use reel_copy()",
            i, SHOW(m));
    return REEL_OK;
}

reel_status reel__call_check(const reel__call *c)
{
    const reel__op *op = c->op;
    const reel_tensor *first = NULL;
    if (op->n_in >= 0 ? c->n_in != op->n_in : c->n_in < 1 || c->n_in > REEL_OP_MAX_IN)
        return reel__bad(c, REEL_ERR_ARG, "%d inputs; it takes %d", c->n_in,
                         op->n_in >= 0 ? op->n_in : REEL_OP_MAX_IN);
    for (int i = 0; i < c->n_in; i++) {
        const reel_tensor *x = c->in[i];
        if (!x) {
            if (i < 8 && (op->optional >> i & 1)) continue;
            return reel__bad(c, REEL_ERR_ARG, "input %d is NULL", i);
        }
        if (check_input(c, i, first)) return reel_error_status();
        if (!first) first = x;
    }
    return REEL_OK;
}

reel_status reel__call_infer(const reel__call *c, reel_device device, reel__meta *out)
{
    reel_dtype dtype = c->n_in && c->in[0] ? c->in[0]->meta.dtype : REEL_F32;
    for (int i = 0; i < c->n_out; i++) {
        out[i].rank = 0;
        out[i].offset = 0;
        out[i].dtype = dtype;
        out[i].device = device;
    }
    reel_status st = c->op->infer ? c->op->infer(c, out) : REEL_OK;
    for (int i = 0; i < c->n_out; i++) out[i].look = 0; /* a rule may copy an input's */
    return st;
}

bool reel__is_expanded(const reel__meta *m)
{
    bool shared = false;
    for (int d = 0; d < m->rank; d++) {
        if (m->dim[d] == 0) return false; /* no elements, none shares memory */
        shared = shared || (m->stride[d] == 0 && m->dim[d] > 1);
    }
    return shared;
}

bool reel__meets_in_part(const reel__meta *a, const reel__meta *b)
{
    if (!reel__numel(a) || !reel__numel(b)) return false;
    bool same = reel__same_look(a, b);
    int64_t a_end = a->offset, b_end = b->offset;
    for (int d = 0; d < a->rank; d++) a_end += (a->dim[d] - 1) * a->stride[d];
    for (int d = 0; d < b->rank; d++) b_end += (b->dim[d] - 1) * b->stride[d];
    return !same && a->offset <= b_end && b->offset <= a_end;
}

bool reel__call_parts(const reel__op *op, int k, bool same_memory,
                      const reel__meta *first, const reel__meta *m)
{
    return k > 0 && (op->traits & REEL_OP_INPLACE) && same_memory &&
           reel__meets_in_part(first, m);
}

static reel__karg operand(const reel_tensor *x)
{
    return x ? (reel__karg){reel__ptr(x), &x->meta} : (reel__karg){NULL, NULL};
}

reel_status reel__call_launch(const reel__call *c, reel_device device)
{
    reel__karg in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    int skip = c->op->traits & REEL_OP_OVERWRITE ? 1 : 0, n = c->n_in - skip;
    for (int i = 0; i < n; i++) in[i] = operand(c->in[i + skip]);
    for (int i = 0; i < c->n_out; i++) out[i] = operand(c->out[i]);
    const reel__kcall k = {
        .kernel = (reel__kernel_id)c->op->kernel,
        .n_in = n,
        .n_out = c->n_out,
        .in = in,
        .out = out,
        .mutates = c->op->mutates,
        .attrs = c->attrs,
        .prepared = c->op->host,
    };
    return reel__launch(device, &k);
}

void reel__call_changed(const reel__call *c)
{
    for (int i = 0; i < c->n_in && i < 8; i++)
        if (reel__op_changes(c->op, i) && c->in[i]) c->in[i]->storage->version++;
}
