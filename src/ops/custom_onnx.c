/* custom_onnx.c: operators of the user's own in ONNX: the words of rules as users write them, and
 * the node of a domain of their own. */
#include <string.h>

#include "base/error.h"
#include "ops/custom.h"
#include "ops/onnx.h"

/* ---- words ---------------------------------------------------------------------------------- */

const reel_onnx_ref *reel_onnx_in(reel_onnx *o, int i)
{
    REEL__CALLED;
    return o && !reel_failed() && i >= 0 && i < REEL_OP_MAX_IN ? o->in[i] : NULL;
}

const reel_onnx_ref *reel_onnx_out(reel_onnx *o, int k)
{
    REEL__CALLED;
    if (!o || reel_failed() || k < 0 || k >= REEL_OP_MAX_OUT) return NULL;
    return o->out[k].rank < 0 ? NULL : &o->out[k];
}

const reel_onnx_ref *reel_onnx_emit(reel_onnx *o, const char *op_type,
                                    const reel_onnx_ref *type, int n,
                                    const reel_onnx_ref *const in[])
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (!o || !op_type || n < 1 || n > REEL_OP_MAX_IN || !in || !in[0]) {
        reel_fail(REEL_ERR_ARG, "onnx_emit: %s",
                  !o         ? "o is NULL"
                  : !op_type ? "op_type is NULL"
                             : "it needs 1 to 64 operands, the first of them there");
        return NULL;
    }
    return reel__onnx_emit_node(o, op_type, type ? *type : reel__onnx_broadcast(n, in), n,
                                in);
}

static bool has_node(const reel_onnx *o, const char *name)
{
    if (reel_failed()) return false;
    if (!o || !name || !o->node)
        reel_fail(REEL_ERR_ARG, "onnx_set: %s",
                  o && name ? "no node was emitted" : "an argument is NULL");
    return !reel_failed();
}

void reel_onnx_set_int(reel_onnx *o, const char *name, int64_t value)
{
    REEL__CALLED;
    if (has_node(o, name)) reel__onnx_int(o, name, value);
}

void reel_onnx_set_real(reel_onnx *o, const char *name, double value)
{
    REEL__CALLED;
    if (has_node(o, name)) reel__onnx_float(o, name, value);
}

const reel_onnx_ref *reel_onnx_number(reel_onnx *o, double value, const reel_onnx_ref *x)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (o && x) return reel__onnx_number(o, value, x->dtype);
    reel_fail(REEL_ERR_ARG, "onnx_number: %s is NULL", o ? "x" : "o");
    return NULL;
}

reel_status reel_onnx_give(reel_onnx *o, int k, const reel_onnx_ref *v)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!o || k < 0 || k >= REEL_OP_MAX_OUT || !v)
        return reel_fail(REEL_ERR_ARG, "onnx_give: %s",
                         !o   ? "o is NULL"
                         : !v ? "v is NULL"
                              : "there is no output of that number");
    return o->out[k].rank < 0 ? REEL_OK : reel__onnx_give(o, k, v);
}

/* ---- the rule -------------------------------------------------------------------------------- */

/* An attribute that grows with the batch would be written at one size. */
static reel_status check_growth(const reel_custom_op *op, const reel_onnx *o)
{
    const int64_t *slope = o->per_batch;
    for (int i = 0; slope && i < op->opts.n_attrs; i++)
        if (slope[i])
            return reel_fail(REEL_ERR_UNSUPPORTED, "%s: %s depends on the batch size",
                             op->forward.name, op->opts.attrs[i].name);
    return REEL_OK;
}

static reel_status as_node(const reel__call *c, reel_onnx *o, const reel_custom_op *op)
{
    const reel_custom_op_opts *p = &op->opts;
    if (reel__onnx_foreign(o, p->onnx_domain, p->onnx_op_type, c->n_in, p->n_out))
        return reel_error_status();
    for (int i = 0; i < p->n_attrs; i++) {
        const char *at = (const char *)c->attrs + 8 * i;
        if (p->attrs[i].is_real)
            reel__onnx_float(o, p->attrs[i].name, *(const double *)(const void *)at);
        else
            reel__onnx_int(o, p->attrs[i].name, *(const int64_t *)(const void *)at);
    }
    return reel_error_status();
}

reel_status reel__custom_to_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__custom_record *r = reel__custom_record_of(c->op);
    const reel_custom_op *op = r->of;
    const reel_custom_call call = {.record = r, .attrs = c->attrs, .n_in = c->n_in};
    if (check_growth(op, o)) return reel_error_status();
    if (!op->opts.onnx) return as_node(c, o, op);
    REEL__CALLS_BACK;
    reel_status st = op->opts.onnx(op->opts.user, &call, o);
    return st ? reel_fail(st, "%s: its ONNX rule failed", op->forward.name)
              : reel_error_status();
}

/* ---- back ---------------------------------------------------------------------------------------- */

static bool has_form(const reel__op *op, const void *what)
{
    const reel__custom_record *r = reel__custom_record_of(op);
    const char *const *name = what;
    if (op->host->run != reel__custom_kernel) return false;
    return !r->is_backward && strcmp(r->of->opts.onnx_domain, name[0]) == 0 &&
           strcmp(r->of->opts.onnx_op_type, name[1]) == 0;
}

const reel__op *reel__custom_by_onnx(const char *domain, const char *op_type)
{
    return reel__made_find(has_form, (const char *const[]){domain, op_type});
}
