/* pointwise.c: a program of pointwise operators as one operator, which reads and writes memory
 * once. A step is a row of kernel.def with numbers of values: the inputs, then the results of
 * the steps before. All are computed in one float type; integers come in by dequantize and go
 * out by quantize. Graph passes make such programs; anything may stand in one that was read from
 * a file, so it is checked here. */
#include <stdio.h>

#include "backend/pw_info.h"
#include "base/error.h"
#include "ops/call.h"
#include "ops/onnx.h"
#include "ops/recorder.h"
#include "ops/records.h"

_Static_assert(REEL_STEP_OUTS <= REEL_OP_MAX_OUT, "the record has as many outputs");
_Static_assert(REEL_STEP_INS <= 16, "all inputs are saved: bits 0 to 15 of `saves`");

#define VALUES (REEL_STEP_INS + REEL_STEPS)
#define PROGRAM(c) ATTRS(c, reel__pointwise_attrs)

/* ---- the program ------------------------------------------------------------------------ */

/* The operator that a step is; NULL if the row is none. Those in place share their rows. */
static const reel__op *op_of(int64_t row)
{
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        if (op->kernel == row && (op->traits & REEL_OP_POINTWISE) &&
            !(op->traits & REEL_OP_INPLACE))
            return op;
    }
    return NULL;
}

static reel_status check_counts(const reel__call *c)
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    REQUIRE(c, p, REEL_ERR_ARG, "without attributes");
    REQUIRE(c, p->n_in == c->n_in && c->n_in <= REEL_STEP_INS, REEL_ERR_ARG,
            "%d inputs for a program of %lld; at most %d are possible", c->n_in,
            (long long)p->n_in, REEL_STEP_INS);
    REQUIRE(c, p->n_step >= 1 && p->n_step <= REEL_STEPS, REEL_ERR_ARG,
            "%lld steps; 1 to %d are possible", (long long)p->n_step, REEL_STEPS);
    REQUIRE(c, p->n_out >= 1 && p->n_out <= REEL_STEP_OUTS, REEL_ERR_ARG,
            "%lld outputs; 1 to %d are possible", (long long)p->n_out, REEL_STEP_OUTS);
    for (int i = 0; i < p->n_out; i++) {
        REQUIRE(c, p->out[i] >= 0 && p->out[i] < p->n_step, REEL_ERR_ARG,
                "output %d is step %lld of %lld", i, (long long)p->out[i],
                (long long)p->n_step);
        for (int k = 0; k < i; k++)
            REQUIRE(c, p->out[k] != p->out[i], REEL_ERR_ARG,
                    "outputs %d and %d are both step %lld", k, i, (long long)p->out[i]);
    }
    return REEL_OK;
}

/* What a step's record says, as what the program says. */
static reel_status blame_step(const reel__call *c, int s, reel_status status)
{
    char text[512];
    (void)snprintf(text, sizeof text, "%s", reel__error_said());
    reel_error_clear();
    return reel__bad(c, status, "step %d: %s", s, text);
}

/* By the record's own rules, on numbers: which dtypes and attributes it takes, what comes out. */
static reel_status infer_step(const reel__call *c, int s, const reel__op *op,
                              reel_dtype dtype[VALUES])
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)op->kernel);
    const reel__scalar_attrs a = {{p->a[s][0], p->a[s][1]}};
    reel_tensor number[3], *in[3]; /* shapes without values */
    reel__meta out;
    reel_dtype by = dtype[p->src[s][info->typed_by]];
    REQUIRE(c, by == REEL_BOOL || reel_dtype_is_float(by), REEL_ERR_DTYPE,
            "step %d, %s, would be computed in %s; programs are in floats", s, op->name,
            reel_dtype_name(by));
    for (int k = 0; k < op->n_in; k++) {
        number[k] = (reel_tensor){.meta = reel__meta_of(REEL_SCALAR, dtype[p->src[s][k]],
                                                        IN_META(c, 0)->device)};
        in[k] = &number[k];
    }
    const reel__call step = {
        .op = op, .n_in = op->n_in, .n_out = 1, .in = in, .attrs = op->attrs ? &a : NULL};
    reel_status st = reel__call_check(&step);
    if (!st) st = reel__call_infer(&step, IN_META(c, 0)->device, &out);
    if (st) return blame_step(c, s, st);
    dtype[p->n_in + s] = out.dtype;
    return REEL_OK;
}

/* What a step reads, and from the dtypes of that the dtype of its result. */
static reel_status check_step(const reel__call *c, int s, reel_dtype dtype[VALUES])
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    const reel__op *op = op_of(p->row[s]);
    REQUIRE(c, op, REEL_ERR_ARG,
            "step %d is kernel %lld, which is not a pointwise operator", s,
            (long long)p->row[s]);
    for (int k = 0; k < 3; k++) {
        int64_t v = p->src[s][k], below = p->n_in + s;
        REQUIRE(c, k < op->n_in || v == -1, REEL_ERR_ARG,
                "step %d, %s, reads value %lld as operand %d; it has %d operands", s,
                op->name, (long long)v, k, op->n_in);
        REQUIRE(c, k >= op->n_in || (v >= 0 && v < below), REEL_ERR_ARG,
                "step %d, %s, reads value %lld; it may read 0 to %lld", s, op->name,
                (long long)v, (long long)below - 1);
    }
    return infer_step(c, s, op, dtype);
}

/* Inputs have one float dtype, are bool, or integers that a step dequantizes. */
static reel_status check_inputs(const reel__call *c, reel_dtype dtype[VALUES])
{
    const reel__meta *value = NULL;
    for (int i = 0; i < c->n_in; i++) {
        const reel__meta *x = IN_META(c, i);
        dtype[i] = x->dtype;
        if (!reel_dtype_is_float(x->dtype)) continue; /* steps say what they take */
        REQUIRE(c, !value || value->dtype == x->dtype, REEL_ERR_DTYPE,
                "inputs %s and %s differ in dtype; use reel_cast()", SHOW(value),
                SHOW(x));
        value = x;
    }
    return REEL_OK;
}

static reel_status pointwise_infer(const reel__call *c, reel__meta *out)
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    reel_dtype dtype[VALUES];
    reel_status st = check_counts(c);
    if (!st) st = check_inputs(c, dtype);
    for (int s = 0; !st && s < p->n_step; s++) st = check_step(c, s, dtype);
    if (!st) st = reel__infer_broadcast(c, &out[0]);
    if (st) return st;
    for (int i = 0; i < REEL_STEP_OUTS; i++) {
        out[i] = out[0];
        if (i < p->n_out)
            out[i].dtype = dtype[p->n_in + p->out[i]];
        else
            out[i].rank = -1;
    }
    return REEL_OK;
}

/* ---- gradient: that of each step, in reverse ---------------------------------------------- */

/* The program once more, operator by operator: what its gradients read. */
typedef struct chain {
    const reel__call *call;
    const reel__op *op[REEL_STEPS];
    reel__scalar_attrs a[REEL_STEPS];
    reel_tensor *value[VALUES], *grad[VALUES];
    bool flows[VALUES]; /* a gradient of it is asked for, or leads to one that is */
} chain;

static int operands_of(const chain *t, int s, reel_tensor *in[3])
{
    for (int k = 0; k < t->op[s]->n_in; k++)
        in[k] = t->value[PROGRAM(t->call)->src[s][k]];
    return t->op[s]->n_in;
}

static const void *attrs_of(const chain *t, int s)
{
    return t->op[s]->attrs ? &t->a[s] : NULL;
}

static bool run_chain(chain *t)
{
    const reel__call *c = t->call;
    const reel__pointwise_attrs *p = PROGRAM(c);
    reel_shape shape = reel__shape(&c->out[0]->meta);
    for (int i = 0; i < c->n_in; i++) {
        t->value[i] = reel_expand(c->in[i], shape); /* some steps do not broadcast */
        t->flows[i] = NEEDS(c, i);
        if (!t->value[i]) return false;
    }
    for (int s = 0; s < p->n_step; s++) {
        reel_tensor *in[3];
        int y = c->n_in + s;
        t->op[s] = op_of(p->row[s]);
        t->a[s] = (reel__scalar_attrs){{p->a[s][0], p->a[s][1]}};
        for (int k = 0; k < t->op[s]->n_in; k++)
            t->flows[y] = t->flows[y] || t->flows[p->src[s][k]];
        if (t->op[s]->traits & REEL_OP_NO_GRAD) t->flows[y] = false;
        t->value[y] = reel__apply1(t->op[s], attrs_of(t, s), operands_of(t, s, in), in);
        if (!t->value[y]) return false;
    }
    return true;
}

static void add_to(reel_tensor **sum, reel_tensor *g)
{
    if (g) *sum = *sum ? reel_add(*sum, g) : g;
}

/* The gradient of step s's result goes on to what it read. */
static void back_step(chain *t, int s)
{
    const reel__call *c = t->call;
    int y = c->n_in + s;
    reel_tensor *in[3], *gx[3] = {NULL, NULL, NULL};
    if (!t->flows[y] || !t->grad[y]) return;
    const int64_t *src = PROGRAM(c)->src[s];
    reel__call step = {.op = t->op[s], .n_out = 1, .in = in, .out = &t->value[y]};
    step.n_in = operands_of(t, s, in);
    step.attrs = attrs_of(t, s);
    step.create_graph = c->create_graph;
    for (int k = 0; k < step.n_in; k++) step.needs |= (uint64_t)t->flows[src[k]] << k;
    t->op[s]->vjp(&step, &t->grad[y], gx);
    for (int k = 0; k < step.n_in; k++)
        if (t->flows[src[k]]) add_to(&t->grad[src[k]], gx[k]);
}

static void pointwise_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    chain t = {.call = c};
    bool was =
        reel__tape_enable(true); /* a step's gradient may be composed on its inputs */
    bool ran = run_chain(&t);
    (void)reel__tape_enable(was);
    if (!ran) return;
    for (int i = 0; i < p->n_out; i++) t.grad[c->n_in + p->out[i]] = gy[i];
    for (int s = (int)p->n_step - 1; s >= 0 && !reel_failed(); s--) back_step(&t, s);
    for (int i = 0; i < c->n_in; i++) gx[i] = reel__sum_to(t.grad[i], IN_META(c, i));
}

static double pointwise_flops(const reel__call *c)
{
    return (double)PROGRAM(c)->n_step * (double)reel__numel(&c->out[0]->meta);
}

/* ---- ONNX: the steps in sequence --------------------------------------------------------- */

static reel__ref step_onnx(const reel__call *c, reel_onnx *o, int s,
                           const reel__ref value[])
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    const reel__op *op = op_of(p->row[s]);
    const reel__scalar_attrs a = {{p->a[s][0], p->a[s][1]}};
    reel__ref in[3];
    if (!op->onnx) {
        reel__bad(c, REEL_ERR_UNSUPPORTED, "step %d, %s, has no form in ONNX: %s", s,
                  op->name, op->no_onnx);
        return NULL;
    }
    for (int k = 0; k < op->n_in; k++) in[k] = value[p->src[s][k]];
    reel_onnx_ref type = reel__onnx_broadcast(op->n_in, in);
    const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)op->kernel);
    type.dtype = info->out_bool ? REEL_BOOL : in[info->stored_as]->dtype;
    return reel__onnx_call(o, op, &a, type, op->n_in, in);
}

static reel_status pointwise_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__pointwise_attrs *p = PROGRAM(c);
    reel__ref value[VALUES];
    for (int i = 0; i < c->n_in; i++) value[i] = o->in[i];
    for (int s = 0; s < p->n_step; s++)
        if (!(value[c->n_in + s] = step_onnx(c, o, s, value))) return reel_error_status();
    for (int i = 0; i < p->n_out; i++) {
        if (o->out[i].rank < 0) continue;
        reel__ref y = reel__onnx_expand(o, value[c->n_in + p->out[i]], o->out[i]);
        if (reel__onnx_give(o, i, y)) break;
    }
    return reel_error_status();
}

/* tanh(x + b); two outputs of one chain, which share a step; a choice and its condition. */
const reel__op reel__pointwise = {
    .name = "pointwise",
    .kernel = K_POINTWISE,
    .again = &reel__pointwise,
    .traits = REEL_OP_REPLACES,
    .n_in = REEL_OP_VARIADIC,
    .n_out = REEL_STEP_OUTS,
    .saves = (1u << REEL_STEP_INS) - 1,
    .dtypes = DTYPES_FLOAT | DTYPE(REEL_BOOL) | DTYPE(REEL_U8) | DTYPE(REEL_I8) |
              DTYPE(REEL_I32),
    .values = DTYPES_FLOAT | DTYPE(REEL_BOOL),
    .attrs = &reel__pointwise_schema,
    .infer = pointwise_infer,
    .vjp = pointwise_vjp,
    .onnx = pointwise_onnx,
    .flops = pointwise_flops,
    .sample =
        "f[3,4]; f[4] | n_in=2 n_step=2 n_out=1 row=add,tanh src=0,1,-1,2,-1,-1 "
        "out=1\n"
        "f[2,3,4]; f[3,1]; f[] | n_in=3 n_step=4 n_out=2 "
        "row=mul,sigmoid,add_scaled,leaky_relu "
        "src=0,1,-1,3,-1,-1,4,2,-1,5,-1,-1 a=0,0,0,0,0.7,0,0.1,0 out=2,3\n"
        "f[3,4]; f[4]; bool[3,1] | n_in=3 n_step=4 n_out=1 row=gt,where,mul,where "
        "src=0,1,-1,3,0,1,4,0,-1,2,5,4 out=3\n"
        "f[0,3]; f[3] | n_in=2 n_step=1 n_out=1 row=mul src=0,1,-1 out=0\n"
        "u8[3,4]; f[] in 0.5..1; u8[]; f[4] | n_in=4 n_step=2 n_out=1 "
        "row=dequantize,add src=0,1,2,4,3,-1 out=1\n"
        "u8[3,4]; c[] in 0.1..1; u8[]; c[3,4]; c[] in 0.1..1; i8[] | n_in=6 n_step=3 "
        "n_out=1 row=dequantize,add,quantize src=0,1,2,6,3,-1,7,4,5 "
        "a=0,0,0,0,-128,127 out=2",
};
