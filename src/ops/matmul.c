/* matmul.c: matrix product and the linear layer. */
#include "base/error.h"
#include "ops/onnx.h"

#define G gy[0]

/* ---- matmul: x [..., m, k]  y [..., k, n]  ->  [..., m, n] --------------------------------- */

static reel_status matmul_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *y = IN_META(c, 1);
    int r = x->rank;
    REQUIRE(c, x->dtype == y->dtype, REEL_ERR_DTYPE, "%s and %s differ in dtype", SHOW(x),
            SHOW(y));
    REQUIRE(c, r >= 2 && y->rank == r && x->dim[r - 1] == y->dim[r - 2], REEL_ERR_SHAPE,
            "%s and %s: the last of the first must equal the last but one of the second",
            SHOW(x), SHOW(y));
    for (int i = 0; i < r - 2; i++)
        REQUIRE(c, x->dim[i] == y->dim[i], REEL_ERR_SHAPE, "batches of %s and %s differ",
                SHOW(x), SHOW(y));
    *out = *x;
    out->offset = 0;
    out->dim[r - 1] = y->dim[r - 1];
    reel__set_contiguous(out);
    return REEL_OK;
}

static void matmul_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = reel_matmul(G, reel_t(c->in[1])); /* [.., m, n] [.., n, k] */
    if (NEEDS(c, 1)) gx[1] = reel_matmul(reel_t(c->in[0]), G); /* [.., k, m] [.., m, n] */
}

/* 2 m n k for each matrix of the batch */
static double matmul_flops(const reel__call *c)
{
    const reel__meta *x = IN_META(c, 0);
    return 2. * (double)reel__numel(&c->out[0]->meta) * (double)x->dim[x->rank - 1];
}

ONNX_RULE(matmul, ONNX_NODE("MatMul", o->out[0], x, y))

const reel__op reel__matmul = {
    .name = "matmul",
    .kernel = K_MATMUL,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .saves_for = reel__saves_product,
    .dtypes = DTYPES_FLOAT,
    .infer = matmul_infer,
    .vjp = matmul_vjp,
    .onnx = matmul_onnx,
    .flops = matmul_flops,
    .sample =
        "f[3,4]; f[4,2]\nf[2,3,4]; f[2,4,2]\nf[2,2,1,3]; f[2,2,3,1]\nf[2,0]; f[0,3]",
};

/* Batch dimensions of x as those of `like`, with its two matrix dimensions. */
static reel_tensor *expand_batch(reel_tensor *x, const reel__meta *like)
{
    reel_shape s = reel__shape(like);
    bool same = x->meta.rank == s.rank;
    for (int i = 0; i < s.rank; i++) {
        int j = i - (s.rank - x->meta.rank);
        if (i >= s.rank - 2) s.dim[i] = x->meta.dim[j];
        same = same && j >= 0 && x->meta.dim[j] == s.dim[i];
    }
    return same ? x : reel_expand(x, s);
}

/* Batch shapes broadcast, [m, k] x [k, n] aside. */
static bool batch_shape(const reel_tensor *x, const reel_tensor *y, reel__meta *out)
{
    reel__meta a = x->meta, b = y->meta;
    a.rank -= 2;
    b.rank -= 2;
    *out = a;
    if (!reel__broadcast(&a, &b, out) || out->rank + 2 > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_SHAPE, "matmul: batches of %s and %s do not broadcast",
                  SHOW(&x->meta), SHOW(&y->meta));
        return false;
    }
    out->rank += 2;
    return true;
}

reel_tensor *reel_matmul(reel_tensor *x, reel_tensor *y)
{
    REEL__CALLED;
    if (!reel__have("matmul", x, "x") || !reel__have("matmul", y, "y")) return NULL;
    if (x->meta.rank == 0 || y->meta.rank == 0) {
        reel_fail(REEL_ERR_SHAPE, "matmul: %s and %s must have rank 1 or more",
                  SHOW(&x->meta), SHOW(&y->meta));
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    bool row = x->meta.rank == 1, column = y->meta.rank == 1;
    reel_tensor *a = row ? reel_unsqueeze(x, 0) : x,
                *b = column ? reel_unsqueeze(y, 1) : y;
    reel__meta batch;
    reel_tensor *z = NULL;
    if (a && b && batch_shape(a, b, &batch))
        z = APPLY(&reel__matmul, NULL, expand_batch(a, &batch), expand_batch(b, &batch));
    if (z && column) z = reel_squeeze(z, -1);
    if (z && row) z = reel_squeeze(z, column ? -1 : -2);
    return reel_scope_return(s, z);
}

/* ---- linear: x [n, in]  weight [out, in]  bias [out], optional  ->  [n, out] ----------------- */

static reel_status linear_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *w = IN_META(c, 1);
    const reel__meta *b = c->in[2] ? IN_META(c, 2) : NULL;
    REQUIRE(c, x->dtype == w->dtype && (!b || b->dtype == x->dtype), REEL_ERR_DTYPE,
            "input %s, weight %s and bias %s differ in dtype", SHOW(x), SHOW(w),
            b ? SHOW(b) : "none");
    REQUIRE(c, x->rank == 2 && w->rank == 2 && x->dim[1] == w->dim[1], REEL_ERR_SHAPE,
            "input %s and weight %s: the weight must be [out, in] with the input's last "
            "size as `in`",
            SHOW(x), SHOW(w));
    REQUIRE(c, !b || (b->rank == 1 && b->dim[0] == w->dim[0]), REEL_ERR_SHAPE,
            "bias %s must be [%lld], as weight %s says", b ? SHOW(b) : "none",
            (long long)w->dim[0], SHOW(w));
    *out = *x;
    out->offset = 0;
    out->dim[1] = w->dim[0];
    reel__set_contiguous(out);
    return REEL_OK;
}

static void linear_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = reel_matmul(G, c->in[1]);         /* [n, out] [out, in] */
    if (NEEDS(c, 1)) gx[1] = reel_matmul(reel_t(G), c->in[0]); /* [out, n] [n, in]   */
    if (NEEDS(c, 2)) gx[2] = reel_sum(G, REEL_DIMS(0), false);
}

ONNX_RULE(linear, WITH_INT(ONNX_NODE("Gemm", o->out[0], x, y, z), "transB", 1))

const reel__op reel__linear = {
    .name = "linear",
    .kernel = K_LINEAR,
    .n_in = 3,
    .n_out = 1,
    .optional = 1 << 2,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .saves_for = reel__saves_product,
    .dtypes = DTYPES_FLOAT,
    .infer = linear_infer,
    .vjp = linear_vjp,
    .onnx = linear_onnx,
    .flops = matmul_flops,
    .sample = "f[5,4]; f[3,4]; f[3]\nf[2,3]; f[4,3]; -\nf[0,3]; f[2,3]; f[2]",
};

reel_tensor *reel_linear(reel_tensor *x, reel_tensor *weight, reel_tensor *bias)
{
    REEL__CALLED;
    if (!reel__have("linear", x, "x") || !reel__have("linear", weight, "weight"))
        return NULL;
    int r = x->meta.rank;
    if (r == 2) return APPLY(&reel__linear, NULL, x, weight, bias);
    if (r == 0 || weight->meta.rank != 2) {
        reel_fail(REEL_ERR_SHAPE,
                  "linear: input %s must be [..., in], weight %s [out, in]",
                  SHOW(&x->meta), SHOW(&weight->meta));
        return NULL;
    }
    reel_shape back = reel__shape(&x->meta);
    int64_t in = back.dim[r - 1];
    back.dim[r - 1] = weight->meta.dim[0];
    int64_t rows = 1;
    for (int i = 0; i < r - 1; i++) rows *= back.dim[i];
    reel_scope s = reel_scope_begin();
    reel_tensor *flat = reel_reshape(x, REEL_SHAPE(rows, in));
    reel_tensor *y = APPLY(&reel__linear, NULL, flat, weight, bias);
    return reel_scope_return(s, reel_reshape(y, back));
}
