/* import_matmul.c: matrix products and attention. */
#include <inttypes.h>
#include <math.h>

#include "trace/onnx/import.h"

/* ---- MatMul, Gemm ----------------------------------------------------------------------------------- */

int reel__im_product(reel__import *im, int x, int y)
{
    bool row = META(x)->rank == 1, column = META(y)->rank == 1;
    if (row) x = reel__im_reshape(im, x, REEL_SHAPE(1, META(x)->dim[0]));
    if (column) y = reel__im_reshape(im, y, REEL_SHAPE(META(y)->dim[0], 1));
    int z = reel_failed() ? REEL_NO_VALUE : reel__im_matmul(im, x, y);
    if (reel_failed()) return REEL_NO_VALUE;
    reel_shape s = reel__shape(META(z));
    if (column) s.rank--;
    if (row) { /* the dimension before the last, or the last if that is gone */
        if (!column) s.dim[s.rank - 2] = s.dim[s.rank - 1];
        s.rank--;
    }
    return reel__im_reshape(im, z, s);
}

static void matmul(reel__import *im)
{
    int x = IN(0), y = IN(1);
    OUT(0, reel__im_product(im, x, y));
}

/* alpha x y + beta c. What a linear layer is becomes one. */
static void gemm(reel__import *im)
{
    static const int64_t turned[] = {1, 0};
    int x = IN(0), y = IN(1), c = IN(2);
    double alpha = reel__im_float(im, "alpha", 1), beta = reel__im_float(im, "beta", 1);
    bool turn_x = reel__im_int(im, "transA", 0) != 0,
         turn_y = reel__im_int(im, "transB", 0) != 0;
    if (!reel_failed() && (META(x)->rank != 2 || META(y)->rank != 2))
        reel_fail(REEL_ERR_FORMAT, "%s by %s: both must be matrices", SHOW(META(x)),
                  SHOW(META(y)));
    if (reel_failed()) return;
    if (turn_x) x = reel__im_permute(im, x, turned);
    if (turn_y && alpha == 1 &&
        (c < 0 ||
         (beta == 1 && META(c)->rank == 1 && META(c)->dim[0] == META(y)->dim[0]))) {
        OUT(0, CALL(linear, NULL, x, y, c));
        return;
    }
    if (turn_y) y = reel__im_permute(im, y, turned);
    int z = reel__im_scale(im, CALL(matmul, NULL, x, y), alpha);
    if (c >= 0) z = CALL(add, NULL, z, reel__im_scale(im, c, beta));
    OUT(0, z);
}

/* ---- Attention (23) ------------------------------------------------------------------------------------ */

/* [b, l, heads d] -> [b, heads, l, d] */
static int by_heads(reel__import *im, int x, int64_t heads)
{
    static const int64_t order[] = {0, 2, 1, 3};
    const reel__meta m = *META(x);
    if (m.rank == 4) return x;
    if (m.rank != 3 || heads < 1 || m.dim[2] % heads) {
        reel_fail(REEL_ERR_SHAPE, "%s in %" PRId64 " heads", SHOW(&m), heads);
        return REEL_NO_VALUE;
    }
    x = reel__im_reshape(im, x, REEL_SHAPE(m.dim[0], m.dim[1], heads, m.dim[2] / heads));
    return reel__im_permute(im, x, order);
}

/* Several heads of queries share those of keys and values: each is repeated. */
static int share_heads(reel__import *im, int x, int64_t heads)
{
    const reel__meta m = *META(x);
    if (m.rank != 4 || m.dim[1] == heads) return x;
    if (m.dim[1] < 1 || heads % m.dim[1]) {
        reel_fail(REEL_ERR_SHAPE, "%" PRId64 " heads share %s", heads, SHOW(&m));
        return REEL_NO_VALUE;
    }
    int64_t each = heads / m.dim[1];
    x = reel__im_reshape(im, x, REEL_SHAPE(m.dim[0], m.dim[1], 1, m.dim[2], m.dim[3]));
    x = reel__im_expand(im, x, REEL_SHAPE(m.dim[0], m.dim[1], each, m.dim[2], m.dim[3]));
    return reel__im_reshape(im, x, REEL_SHAPE(m.dim[0], heads, m.dim[2], m.dim[3]));
}

static void attention(reel__import *im)
{
    static const int64_t order[] = {0, 2, 1, 3};
    bool rank3 = META(IN(0))->rank == 3;
    int64_t q_heads = reel__im_int(im, "q_num_heads", 0),
            kv_heads = reel__im_int(im, "kv_num_heads", 0);
    if (reel__im_has_in(im, 4) || reel__im_has_in(im, 5) || reel__im_has_in(im, 6) ||
        reel__im_wants_out(im, 1) || reel__im_wants_out(im, 2) ||
        reel__im_wants_out(im, 3) || reel__im_float(im, "softcap", 0) != 0)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "past keys and values, their lengths, softcap and "
                  "results other than the first");
    int q = by_heads(im, IN(0), q_heads), k = by_heads(im, IN(1), kv_heads),
        v = by_heads(im, IN(2), kv_heads), mask = IN(3);
    if (reel_failed()) return;
    const reel__meta m = *META(q);
    k = share_heads(im, k, m.dim[1]);
    v = share_heads(im, v, m.dim[1]);
    if (reel_failed() || META(k)->rank != 4 || m.dim[3] < 1) {
        reel_fail(REEL_ERR_SHAPE, "queries %s, keys %s", SHOW(&m), SHOW(META(k)));
        return;
    }
    const reel__attention_attrs a = {
        .scale = reel__im_float(im, "scale", (float)(1 / sqrt((double)m.dim[3]))),
        .causal = reel__im_int(im, "is_causal", 0) != 0};
    int y = CALL(attention, &a, q, k, v, mask);
    if (rank3 && !reel_failed()) {
        y = reel__im_permute(im, y, order);
        const reel__meta r = *META(y);
        y = reel__im_reshape(im, y, REEL_SHAPE(r.dim[0], r.dim[1], r.dim[2] * r.dim[3]));
    }
    OUT(0, y);
}

/* ---- the table ---------------------------------------------------------------------------------------- */

#define RULE(name, from, to, least, most, outs, words, function)                         \
    IMPORT_ROW(name, from, to, least, most, outs, words, .rule = (function))

static const reel__import_row rows[] = {
    RULE("MatMul", 1, 0, 2, 2, 1, "", matmul),
    RULE("Gemm", 1, 6, 3, 3, 1, "alpha beta broadcast transA transB", gemm),
    RULE("Gemm", 7, 0, 2, 3, 1, "alpha beta transA transB", gemm),
    RULE("Attention", 23, 0, 3, 7, 4,
         "is_causal kv_num_heads q_num_heads qk_matmul_output_mode scale softcap "
         "softmax_precision",
         attention),
};

const reel__import_family reel__import_matmul = {rows, sizeof rows / sizeof *rows};
