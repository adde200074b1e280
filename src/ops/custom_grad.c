/* custom_grad.c: the gradient of an operator of the user's own. Its backward is called here where
 * it is written in operators, and everybody hears them; otherwise it is a call of a record of its
 * own, which nobody looks into. */
#include "base/debug.h"
#include "base/error.h"
#include "ops/custom.h"

#include <string.h>

/* Gradients of outputs; zeros where there is none. NULL: not floating, or only saved. */
static bool fill_gradients(const reel__call *c, int n_out, reel_tensor *const gy[],
                           reel_tensor *full[])
{
    for (int k = 0; k < c->n_out; k++) {
        full[k] = NULL;
        if (k >= n_out || !c->out[k] || !reel_dtype_is_float(c->out[k]->meta.dtype))
            continue;
        full[k] = gy[k] ? gy[k] : reel__zeros(&c->out[k]->meta);
        if (!full[k]) return false;
    }
    return true;
}

static reel_tensor *if_saved(reel_tensor *t)
{
    return t && t->storage ? t : NULL;
}

static void check_gradients(const reel__call *c, reel_tensor *gx[])
{
    const char *name = c->op->name;
    for (int i = 0; i < c->n_in && !reel_failed(); i++) {
        if (!NEEDS(c, i)) continue;
        const reel__meta *want = IN_META(c, i);
        if (!gx[i])
            reel_fail(REEL_ERR_STATE,
                      "%s: the backward did not set the gradient of input %d", name, i);
        else if (!reel__alive(name, gx[i]))
            return;
        else if (!reel__same_shape(&gx[i]->meta, want))
            reel_fail(REEL_ERR_SHAPE,
                      "%s: the backward gives %s as the gradient of input %d %s", name,
                      SHOW(&gx[i]->meta), i, SHOW(want));
        else if (gx[i]->meta.dtype != want->dtype)
            reel_fail(REEL_ERR_DTYPE,
                      "%s: the backward gives %s as the gradient of input %d %s", name,
                      SHOW(&gx[i]->meta), i, SHOW(want));
    }
}

/* Written in operators: what it calls is recorded as anybody's. */
static void in_operators(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__custom_record *r = reel__custom_record_of(c->op);
    reel_custom_op *op = r->of;
    reel_custom_call call = {
        .record = r, .attrs = c->attrs, .n_in = c->n_in, .needs = c->needs};
    reel_tensor *x[REEL_OP_MAX_IN], *y[REEL_OP_MAX_OUT];
    for (int i = 0; i < c->n_in; i++) x[i] = if_saved(c->in[i]);
    for (int k = 0; k < c->n_out; k++) y[k] = if_saved(c->out[k]);
    REEL__CALLS_BACK_AS(c->op->name);
    reel_status st = op->opts.backward(op->opts.user, &call, x, y, gy, gx);
    if (st) reel_fail(st, "%s: its backward failed", c->op->name);
    check_gradients(c, gx);
}

/* A call of the backward's record. */
static void as_operator(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel_custom_op *op = reel__custom_record_of(c->op)->of;
    const reel__custom_record *r = &op->backward;
    int64_t attrs[REEL__CUSTOM_BYTES / 8] = {0}, operands = 0;
    reel_tensor *in[REEL_OP_MAX_IN], *out[REEL_OP_MAX_OUT];
    int n = 0;
    if (op->opts.n_attrs) memcpy(attrs, c->attrs, 8 * (size_t)op->opts.n_attrs);
    for (int i = 0; i < c->n_in; i++)
        if (if_saved(c->in[i])) in[n++] = c->in[i], operands |= INT64_C(1) << i;
    for (int k = 0; k < c->n_out; k++)
        if (if_saved(c->out[k])) in[n++] = c->out[k], operands |= INT64_C(1) << (16 + k);
    for (int k = 0; k < c->n_out; k++)
        if (gy[k]) in[n++] = gy[k], operands |= INT64_C(1) << (32 + k);
    reel__custom_result *t = reel__custom_types(r, attrs);
    for (int i = 0; i < r->op.n_out; i++) {
        bool needed = i < c->n_in && NEEDS(c, i);
        t[i] = (reel__custom_result){.rank = needed ? IN_META(c, i)->rank : -1};
        if (!needed) continue;
        t[i].dtype = IN_META(c, i)->dtype;
        memcpy(t[i].dim, IN_META(c, i)->dim, (size_t)t[i].rank * sizeof *t[i].dim);
    }
    reel__custom_masks(r, attrs)[0] = (int64_t)c->needs;
    reel__custom_masks(r, attrs)[1] = operands;
    if (reel__apply(&r->op, attrs, n, in, out)) return;
    for (int i = 0; i < r->op.n_out && i < c->n_in; i++) gx[i] = out[i];
}

void reel__custom_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel_custom_op *op = reel__custom_record_of(c->op)->of;
    reel_tensor *full[REEL_OP_MAX_OUT];
    if (!fill_gradients(c, op->opts.n_out, gy, full)) return;
    if (op->opts.backward_in_operators) {
        in_operators(c, full, gx);
    } else if (c->needs >> op->backward.op.n_out) {
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "%s: the gradient of an input above %d is needed; a backward that is "
                  "not written in operators has at most %d",
                  c->op->name, op->backward.op.n_out - 1, op->backward.op.n_out);
    } else {
        as_operator(c, full, gx);
    }
}
