/* softmax.c: softmax, log-softmax, log-sum-exp along one dimension. */
#include "base/error.h"
#include "ops/onnx.h"

#define G gy[0]
#define Y c->out[0]
#define DIM(c) ((int)ATTRS(c, reel__dim_attrs)->dim)
#define SUM(x) reel_sum((x), REEL_DIMS(DIM(c)), true)

static reel_status along_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reel__check_dim(c, 0, ATTRS(c, reel__dim_attrs)->dim);
    return st ? st : reel__infer_same(c, out);
}

/* gradients: gy and y of one shape */
static reel_status pair_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reel__check_alike(c, 0, 1);
    if (!st) st = reel__check_dim(c, 0, ATTRS(c, reel__dim_attrs)->dim);
    if (st) return st;
    *out = *IN_META(c, 1);
    out->offset = 0;
    reel__set_strides_like(out, IN_META(c, 1));
    return REEL_OK;
}

#define BACKWARD(fn, row, of)                                                            \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .n_in = 2,                                              \
                                 .n_out = 1,                                             \
                                 .dtypes = DTYPES_FLOAT,                                 \
                                 .attrs = &reel__dim_schema,                             \
                                 .infer = pair_infer,                                    \
                                 .onnx = fn##_onnx,                                      \
                                 .no_vjp = of " composes it with create_graph",          \
                                 .sample = "f[3,5]; f[3,5] | dim=1\nf[4]; f[4] | dim=0"}
#define FORWARD(fn, row)                                                                 \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .saves = SAVE_OUT(0),                                   \
                                 .dtypes = DTYPES_FLOAT,                                 \
                                 .attrs = &reel__dim_schema,                             \
                                 .infer = along_infer,                                   \
                                 .vjp = fn##_vjp,                                        \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = "f[3,5] in -2..2 | dim=1\n"                   \
                                           "f[2,3,4] in -2..2 | dim=1\nf[4] | dim=0"};   \
    reel_tensor *reel_##fn(reel_tensor *x, int dim)                                      \
    {                                                                                    \
        return along(&reel__##fn, x, dim);                                               \
    }

static reel_tensor *along(const reel__op *op, reel_tensor *x, int dim)
{
    if (!reel__have(op->name, x, "x")) return NULL;
    const reel__dim_attrs a = {reel__dim(op->name, &x->meta, dim)};
    return a.dim < 0 ? NULL : APPLY(op, &a, x);
}

/* ---- softmax: gx = y (g - sum(g y)) --------------------------------------------------------- */

#define TOTAL(v) reel__onnx_reduce(o, "ReduceSum", v, INT64_C(1) << DIM(c))
#define ALONG(v) WITH_INT(v, "axis", DIM(c))
ONNX_RULE(softmax, ALONG(ONNX("Softmax", x)))
ONNX_RULE(softmax_backward, ONNX("Mul", y, ONNX("Sub", x, TOTAL(ONNX("Mul", x, y)))))

BACKWARD(softmax_backward, K_SOFTMAX_BACKWARD, "softmax");

static void softmax_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = c->create_graph ? reel_mul(Y, reel_sub(G, SUM(reel_mul(G, Y))))
                            : APPLY(&reel__softmax_backward, c->attrs, G, Y);
}
FORWARD(softmax, K_SOFTMAX)

/* ---- log_softmax: gx = g - exp(y) sum(g) ------------------------------------------------------ */

ONNX_RULE(log_softmax, ALONG(ONNX("LogSoftmax", x)))
ONNX_RULE(log_softmax_backward, ONNX("Sub", x, ONNX("Mul", ONNX("Exp", y), TOTAL(x))))

BACKWARD(log_softmax_backward, K_LOG_SOFTMAX_BACKWARD, "log_softmax");

static void log_softmax_vjp(const reel__call *c, reel_tensor *const gy[],
                            reel_tensor *gx[])
{
    gx[0] = c->create_graph ? reel_sub(G, reel_mul(reel_exp(Y), SUM(G)))
                            : APPLY(&reel__log_softmax_backward, c->attrs, G, Y);
}
FORWARD(log_softmax, K_LOG_SOFTMAX)

/* ---- logsumexp: gx = g softmax(x), which keeps maximum and sum apart: y alone has lost the
 *      logarithm of the sum where |x| is large; -inf over an empty dimension ------------------- */

static reel_status logsumexp_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = reel__check_dim(c, 0, ATTRS(c, reel__dim_attrs)->dim);
    if (st) return st;
    *out = *IN_META(c, 0);
    out->offset = 0;
    out->dim[DIM(c)] = 1;
    reel__set_contiguous(out);
    return REEL_OK;
}

static void logsumexp_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_mul(G, reel_softmax(c->in[0], DIM(c)));
}

ONNX_RULE(logsumexp, reel__onnx_reduce(o, "ReduceLogSumExp", x, INT64_C(1) << DIM(c)))

const reel__op reel__logsumexp = {
    .name = "logsumexp",
    .kernel = K_LOGSUMEXP,
    .n_in = 1,
    .n_out = 1,
    .saves = SAVE_IN(0),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__dim_schema,
    .infer = logsumexp_infer,
    .vjp = logsumexp_vjp,
    .onnx = logsumexp_onnx,
    .sample = "f[3,5] in -2..2 | dim=1\nf[2,3,4] in -2..2 | dim=0",
};

reel_tensor *reel_logsumexp(reel_tensor *x, int dim, bool keepdim)
{
    REEL__CALLED;
    reel_scope s = reel_scope_begin();
    reel_tensor *y = along(&reel__logsumexp, x, dim);
    return reel_scope_return(s, y && !keepdim ? reel_squeeze(y, dim) : y);
}
