/* cost.c: what calls cost, and a recorder that adds it up. */
#include "ops/op.h"
#include "ops/recorder.h"

static double bytes_of(const reel_tensor *x)
{
    /* a dimension of stride 0 is read once */
    double n = 1;
    for (int i = 0; x && i < x->meta.rank; i++)
        n *= x->meta.stride[i] || x->meta.dim[i] == 0 ? (double)x->meta.dim[i] : 1;
    return x ? n * (double)reel_dtype_size(x->meta.dtype) : 0;
}

reel_cost reel__cost(const reel__call *c)
{
    reel_cost cost = {.calls = 1};
    if (c->op->traits & REEL_OP_VIEW) return cost;
    for (int i = 0; i < c->n_in; i++) cost.bytes_read += bytes_of(c->in[i]);
    for (int i = 0; i < c->n_out; i++) cost.bytes_written += bytes_of(c->out[i]);
    for (int i = 0; i < c->n_in && i < 8; i++)
        if (c->op->mutates >> i & 1) cost.bytes_written += bytes_of(c->in[i]);
    if (c->op->flops)
        cost.flops = c->op->flops(c);
    else if (c->op->kernel != K_COPY && c->n_out > 0 && c->out[0])
        cost.flops = (double)reel__numel(&c->out[0]->meta);
    return cost;
}

typedef struct counter {
    reel__recorder listener;
    reel_cost sum;
    bool on;
} counter;

static reel_status count(reel__recorder *self, const reel__call *c)
{
    reel_cost one = reel__cost(c), *sum = &((counter *)(void *)self)->sum;
    sum->flops += one.flops;
    sum->bytes_read += one.bytes_read;
    sum->bytes_written += one.bytes_written;
    sum->calls += one.calls;
    return REEL_OK;
}

static _Thread_local counter mine;

reel_status reel_cost_begin(void)
{
    if (reel_failed()) return reel_error_status();
    if (mine.on)
        return reel_fail(REEL_ERR_STATE, "cost_begin: this thread counts already");
    mine = (counter){.listener = {.record = count}, .on = true};
    reel__recorder_push(&mine.listener);
    return REEL_OK;
}

reel_status reel_cost_end(reel_cost *out)
{
    if (!mine.on) return reel_fail(REEL_ERR_STATE, "cost_end: without a cost_begin");
    reel__recorder_remove(&mine.listener);
    mine.on = false;
    if (out) *out = mine.sum;
    return REEL_OK;
}
