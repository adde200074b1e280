/* attention.c: scaled dot-product attention without the matrix of scores, and dropout. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backend/random_blocks.h"
#include "base/option.h"
#include "ops/onnx.h"

#define G gy[0]

/* ---- dropout: x mask / (1 - p). Linear in x, so it is its own gradient: the same numbers
 *      are drawn again from the same place of the stream, and no mask is kept. ----------------- */

static void dropout_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = APPLY(c->op, c->attrs, G);
}

const reel__op reel__dropout = {
    .name = "dropout",
    .kernel = K_DROPOUT,
    .traits = REEL_OP_RANDOM,
    .again = &reel__dropout,
    .n_in = 1,
    .n_out = 1,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__random_schema,
    .infer = reel__infer_same,
    .vjp = dropout_vjp,
    .no_onnx = REEL__ONNX_DRAWS,
    .sample = "f[3,4] | seed=7 low=0.3\nf[2,3,2,2] | seed=9 low=0.5",
};

static bool probability(const char *who, double p)
{
    if (p >= 0 && p < 1) return true;
    reel_fail(REEL_ERR_ARG, "%s: probability %g must be in [0, 1)", who, p);
    return false;
}

reel_tensor *reel_dropout(reel_tensor *x, double p, bool training)
{
    if (!reel__have("dropout", x, "x") || !probability("dropout", p)) return NULL;
    if (!training || p == 0) return x;
    reel_rng_state at = reel__rng_take(
        reel__random_blocks(K_DROPOUT, x->meta.dtype, reel__numel(&x->meta)));
    const reel__random_attrs a = {
        .seed = (int64_t)at.seed, .offset = (int64_t)at.offset, .low = reel__real(p)};
    return APPLY(&reel__dropout, &a, x);
}

/* ---- attention: q [..., lq, d]  k [..., lk, d]  v [..., lk, dv]  mask, to [..., lq, lk]?
 *      -> y [..., lq, dv], stats [..., lq, 2]: the largest score of each query, and the sum of
 *      e^(score - largest). Their logsumexp is not one number, in which log(sum) would be lost. - */

#define AT(c) ATTRS(c, reel__attention_attrs)
#define WANTS(c, i) (AT(c)->want >> (i)&1)

/* q, k, v and perhaps a mask are inputs `at`, `at` + 1 ... */
static reel_status check_operands(const reel__call *c, int at)
{
    const reel__meta *q = IN_META(c, at), *k = IN_META(c, at + 1),
                     *v = IN_META(c, at + 2);
    const reel__meta *m = c->in[at + 3] ? IN_META(c, at + 3) : NULL;
    int r = q->rank;
    REQUIRE(c,
            q->dtype == k->dtype && q->dtype == v->dtype &&
                (!m || m->dtype == REEL_BOOL || m->dtype == q->dtype),
            REEL_ERR_DTYPE,
            "q %s, k %s, v %s differ in dtype, or the mask is neither that "
            "nor bool",
            SHOW(q), SHOW(k), SHOW(v));
    bool fits = r >= 2 && k->rank == r && v->rank == r, covers = !m || m->rank <= r;
    for (int i = 0; fits && i < r - 2; i++)
        fits = q->dim[i] == k->dim[i] && q->dim[i] == v->dim[i];
    REQUIRE(c, fits && q->dim[r - 1] == k->dim[r - 1] && k->dim[r - 2] == v->dim[r - 2],
            REEL_ERR_SHAPE,
            "q %s must be [..., lq, d], k %s [..., lk, d], v %s [..., lk, dv]", SHOW(q),
            SHOW(k), SHOW(v));
    REQUIRE(c, !AT(c)->nan_rows || (!AT(c)->causal && (!m || m->dtype != REEL_BOOL)),
            REEL_ERR_ARG,
            "nan_rows is for an added mask or none: causal %" PRId64 ", mask %s",
            AT(c)->causal, m ? SHOW(m) : "none");
    for (int i = 0; m && covers && i < m->rank; i++) {
        int d = r - m->rank + i; /* of the scores */
        int64_t whole = d == r - 1 ? k->dim[r - 2] : q->dim[d];
        covers = m->dim[i] == 1 || m->dim[i] == whole;
    }
    REQUIRE(c, covers, REEL_ERR_SHAPE,
            "mask %s must broadcast to [..., lq, lk] for q %s and k %s",
            m ? SHOW(m) : "none", SHOW(q), SHOW(k));
    return REEL_OK;
}

/* y [..., lq, dv] and stats [..., lq, 2] */
static void results_of(const reel__meta *q, const reel__meta *v, reel__meta out[2])
{
    int r = q->rank;
    out[0] = *q;
    out[0].offset = 0;
    out[0].dim[r - 1] = v->dim[r - 1];
    reel__set_contiguous(&out[0]);
    out[1] = out[0];
    out[1].dim[r - 1] = 2;
    if (q->dtype == REEL_F16 || q->dtype == REEL_BF16) out[1].dtype = REEL_F32;
    reel__set_contiguous(&out[1]);
}

static reel_status attention_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = check_operands(c, 0);
    if (!st) results_of(IN_META(c, 0), IN_META(c, 2), out);
    return st;
}

/* inputs gy q k v mask? y stats -> gq? gk? gv? gmask? */
static reel_status attention_backward_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = check_operands(c, 1);
    if (st) return st;
    results_of(IN_META(c, 1), IN_META(c, 3), out);
    const int place[] = {0, 5, 6};
    for (int i = 0; i < 3; i++) {
        const reel__meta *given = IN_META(c, place[i]), *want = &out[i == 2];
        REQUIRE(c, reel__same_shape(given, want) && given->dtype == want->dtype,
                REEL_ERR_SHAPE, "input %d %s must be like %s", place[i], SHOW(given),
                SHOW(want));
    }
    REQUIRE(c, !WANTS(c, 3) || (c->in[4] && IN_META(c, 4)->dtype != REEL_BOOL),
            REEL_ERR_ARG, "want=%" PRId64 " asks for the gradient of a mask: mask %s",
            AT(c)->want, c->in[4] ? SHOW(IN_META(c, 4)) : "none");
    for (int i = 0; i < 4; i++) {
        if (c->in[1 + i]) out[i] = *IN_META(c, 1 + i);
        out[i].offset = 0;
        reel__set_contiguous(&out[i]);
        if (!WANTS(c, i)) out[i].rank = -1;
    }
    return REEL_OK;
}

/* Two products of lq x lk x d forward; five backward, the scores being computed again. */
static double attention_macs(const reel__meta *q, const reel__meta *k)
{
    int r = q->rank;
    return (double)reel__numel(q) * (double)k->dim[r - 2];
}

static double attention_flops(const reel__call *c)
{
    return 4. * attention_macs(IN_META(c, 0), IN_META(c, 1));
}

static double attention_backward_flops(const reel__call *c)
{
    return 10. * attention_macs(IN_META(c, 1), IN_META(c, 2));
}

const reel__op reel__attention_backward = {
    .name = "attention_backward",
    .kernel = K_ATTENTION_BACKWARD,
    .n_in = 7,
    .n_out = 4,
    .optional = 1 << 4,
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__attention_schema,
    .infer = attention_backward_infer,
    .flops = attention_backward_flops,
    .no_vjp = "attention composes it with create_graph",
    .no_onnx = REEL__ONNX_TRAINING,
    .sample = "f[2,3,4]; f[2,3,4]; f[2,5,4]; f[2,5,4]; -; f[2,3,4]; s[2,3,2] in 1..2 | "
              "scale=0.5 want=7\n"
              "f[2,2,3,4]; f[2,2,3,4]; f[2,2,5,4]; f[2,2,5,4]; f[2,1,5]; f[2,2,3,4]; "
              "s[2,2,3,2] in 1..2 | scale=0.5 want=15",
};

/* Where a bool mask or causality hides key j from query i, [..., lq, lk]; NULL: nowhere. */
static reel_tensor *hidden_pairs(const reel__call *c)
{
    int r = IN_META(c, 0)->rank;
    reel_tensor *hidden = NULL;
    if (c->in[3] && IN_META(c, 3)->dtype == REEL_BOOL)
        hidden = reel_logical_not(c->in[3]);
    if (!AT(c)->causal) return hidden;
    int64_t lq = IN_META(c, 0)->dim[r - 2], lk = IN_META(c, 1)->dim[r - 2];
    reel_tensor *i = reel_unsqueeze(reel_arange(0, (double)lq, 1, REEL_I64), 1);
    reel_tensor *later = reel_lt(i, reel_arange(0, (double)lk, 1, REEL_I64));
    return hidden ? reel_logical_or(hidden, later) : later;
}

/* The same in operators. A row whose scores are all -inf gives zeros, unless `nan_rows`. */
static reel_tensor *attention_composed(const reel__call *c)
{
    const reel__attention_attrs *a = AT(c);
    reel_tensor *s = reel_mul_scalar(reel_matmul(c->in[0], reel_t(c->in[1])), a->scale);
    reel_tensor *hidden = hidden_pairs(c), *row = NULL;
    if (c->in[3] && IN_META(c, 3)->dtype != REEL_BOOL) s = reel_add(s, c->in[3]);
    if (hidden) s = reel_masked_fill(s, hidden, -INFINITY);
    if (!a->nan_rows) {
        row = reel_eq(s, reel_scalar(-INFINITY, IN_META(c, 0)->dtype));
        row = reel_all(row, REEL_DIMS(-1), true);
        s = reel_masked_fill(s, row, 0);
    }
    reel_tensor *p = reel_softmax(s, -1);
    if (row) p = reel_masked_fill(p, row, 0);
    if (a->dropout > 0) {
        const reel__random_attrs d = {
            .seed = a->seed, .offset = a->offset, .low = reel__real(a->dropout)};
        p = APPLY(&reel__dropout, &d, p);
    }
    return reel_matmul(p, c->in[2]);
}

static void attention_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (c->create_graph) {
        reel__vjp_composed(c, attention_composed, G, gx);
        return;
    }
    reel_tensor *in[] = {reel_contiguous(G), c->in[0],  c->in[1], c->in[2],
                         c->in[3],           c->out[0], c->out[1]};
    reel_tensor *out[4];
    reel__attention_attrs a = *AT(c);
    a.want = (int64_t)(c->needs & 15);
    if (reel__apply(&reel__attention_backward, &a, 7, in, out)) return;
    for (int i = 0; i < 4; i++) gx[i] = out[i];
}

/* 0, 1, ... along the last dimension but `back`, [.., n, ..1] */
static reel__ref places(reel_onnx *o, reel__ref x, int dim, int back)
{
    const reel__arange_attrs from_0 = {.step = {.whole = 1}};
    reel_onnx_ref type = {.dtype = REEL_I64, .rank = 1 + back};
    type.dim[0] = x->dim[dim];
    type.grow[0] = x->grow[dim];
    if (back) type.dim[1] = 1;
    reel__ref line = reel__onnx_range(o, &from_0, REEL_I64, x->dim[dim], x->grow[dim]);
    return reel__onnx_reshape(o, line, type);
}

/* Where a bool mask or causality lets query i see key j; NULL: everywhere. */
static reel__ref visible_onnx(const reel__call *c, reel_onnx *o, reel__ref mask)
{
    int r = o->in[0]->rank;
    reel__ref open = mask && mask->dtype == REEL_BOOL ? mask : NULL;
    if (!AT(c)->causal) return open;
    reel__ref see = ONNX_BOOL("GreaterOrEqual", places(o, o->in[0], r - 2, 1),
                              places(o, o->in[1], r - 2, 0));
    return open ? ONNX_BOOL("And", see, open) : see;
}

/* -inf hides. Of a row of it Softmax makes NaN, which must be zeros unless `nan_rows`: only a
 * mask can make one out of finite scores. */
static reel_status attention_onnx(const reel__call *c, reel_onnx *o)
{
    if (AT(c)->dropout > 0) return reel__onnx_training(c, "dropout of probabilities");
    const reel__ref x = o->in[0], k = o->in[1], v = o->in[2], mask = o->in[3];
    reel_onnx_ref scores = *x;
    scores.dim[x->rank - 1] = k->dim[x->rank - 2];
    scores.grow[x->rank - 1] = k->grow[x->rank - 2];
    reel__ref s = ONNX_NODE("MatMul", scores, x, reel__onnx_transpose(o, k));
    s = ONNX("Mul", s, NUM(AT(c)->scale));
    if (mask && mask->dtype != REEL_BOOL) s = ONNX("Add", s, mask);
    reel__ref see = visible_onnx(c, o, mask);
    if (see) s = ONNX("Where", see, s, NUM(-INFINITY));
    reel__ref p = WITH_INT(ONNX("Softmax", s), "axis", -1);
    if (mask && !AT(c)->nan_rows) {
        reel__ref hidden = ONNX_BOOL("Equal", s, NUM(-INFINITY));
        p = ONNX("Where", hidden, NUM(0), p);
    }
    return reel__onnx_give(o, 0, ONNX_NODE("MatMul", o->out[0], p, v));
}

const reel__op reel__attention = {
    .name = "attention",
    .kernel = K_ATTENTION,
    .traits = REEL_OP_RANDOM,
    .n_in = 4,
    .n_out = 2,
    .optional = 1 << 3,
    .saves =
        SAVE_IN(0) | SAVE_IN(1) | SAVE_IN(2) | SAVE_IN(3) | SAVE_OUT(0) | SAVE_OUT(1),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__attention_schema,
    .infer = attention_infer,
    .vjp = attention_vjp,
    .onnx = attention_onnx,
    .flops = attention_flops,
    .sample = "f[2,3,4]; f[2,5,4]; f[2,5,2]; - | scale=0.5\n"
              "f[4,3]; f[4,3]; f[4,3]; - | scale=0.7 causal=1\n"
              "f[1,2,3,2]; f[1,2,4,2]; f[1,2,4,3]; c[1,2,3,4] | scale=1\n"
              "f[2,3,2]; f[2,3,2]; f[2,3,2]; bool[2,3,3] | scale=1\n"
              "f[2,2,3,2]; f[2,2,4,2]; f[2,2,4,3]; f[2,3,4] | scale=0.8\n"
              "f[2,3,2]; f[2,3,2]; f[2,3,2]; f[2,1,3] | scale=1 causal=1\n"
              "f[3,2]; f[4,2]; f[4,2]; f[3,1] | scale=1 nan_rows=1\n"
              "f[2,3,2]; f[2,4,2]; f[2,4,2]; f[4] | scale=1 dropout=0.4 seed=5\n"
              "f[2,3,2]; f[2,4,2]; f[2,4,2]; - | scale=1 dropout=0.4 seed=5",
};

reel_tensor *reel_attention(reel_tensor *q, reel_tensor *k, reel_tensor *v,
                            const reel_attention_opts *opts)
{
    const reel_attention_opts *o = REEL__OPTS("attention", reel_attention_opts, opts);
    if (!o) return NULL;
    if (!reel__have("attention", q, "q") || !reel__have("attention", k, "k") ||
        !reel__have("attention", v, "v") || !probability("attention", o->dropout))
        return NULL;
    int64_t d = reel_size(q, -1), lq = reel_size(q, -2), lk = reel_size(k, -2);
    reel__attention_attrs a = {.scale = reel__option(o->scale, 1 / sqrt((double)d)),
                               .dropout = reel__option(o->dropout, 0),
                               .causal = o->causal};
    if (a.dropout > 0 && lq > 0 && lk > 0 && d > 0) {
        int64_t n = reel__numel(&q->meta) / d * lk;
        reel_rng_state at = reel__rng_take(reel__random_blocks(K_DROPOUT, REEL_F32, n));
        a.seed = (int64_t)at.seed;
        a.offset = (int64_t)at.offset;
    }
    return APPLY(&reel__attention, &a, q, k, v, o->mask);
}
