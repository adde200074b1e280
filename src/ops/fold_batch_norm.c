/* fold_batch_norm.c: batch norm with running statistics as part of the layer before it. The
 * pass of the same name emits it, and executors run it once, not at each run: what it makes
 * depends on weights alone. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2. */
#include <inttypes.h>

#include "ops/records.h"

enum { MEAN, VAR, WEIGHT, BIAS, GAMMA, BETA, N_IN };

/* ---- fold_batch_norm: mean [k] var [k] weight [k, ...]? bias [k]? gamma [k]? beta [k]?
 *      -> weight s [k, ...], (bias - mean) s + beta [k], with s = gamma / sqrt(var + eps).
 * Without a weight the first result is s itself. Beside halves mean and var are f32. --------- */

static reel_dtype statistic(reel_dtype dt)
{
    return dt == REEL_F16 || dt == REEL_BF16 ? REEL_F32 : dt;
}

static reel_status fold_infer(const reel__call *c, reel__meta *out)
{
    static const char *const what[] = {"mean", "var", "weight", "bias", "gamma", "beta"};
    const reel__meta *mean = IN_META(c, MEAN),
                     *w = c->in[WEIGHT] ? IN_META(c, WEIGHT) : mean;
    REQUIRE(c, mean->rank == 1 && w->rank >= 1 && w->dim[0] == mean->dim[0],
            REEL_ERR_SHAPE, "mean %s must be [k], weight %s [k, ...]", SHOW(mean),
            SHOW(w));
    for (int i = 0; i < N_IN; i++) {
        if (i == WEIGHT || !c->in[i]) continue;
        const reel__meta *v = IN_META(c, i);
        reel_dtype want = i <= VAR ? statistic(w->dtype) : w->dtype;
        REQUIRE(c, v->rank == 1 && v->dim[0] == w->dim[0] && v->dtype == want,
                REEL_ERR_SHAPE, "%s %s must be %s[%" PRId64 "], as weight %s says",
                what[i], SHOW(v), reel_dtype_name(want), w->dim[0], SHOW(w));
    }
    out[0] = *w;
    out[0].offset = 0;
    reel__set_strides_like(&out[0], w);
    out[1] = reel__meta_of(REEL_SHAPE(w->dim[0]), w->dtype, w->device);
    return REEL_OK;
}

/* x [k] beside w [k, ...] */
static reel_tensor *beside(reel_tensor *x, const reel__meta *w)
{
    reel_shape s = {.rank = w->rank, .dim = {w->dim[0]}};
    for (int d = 1; d < s.rank; d++) s.dim[d] = 1;
    return reel_reshape(x, s);
}

/* Sums of x [k, ...] over all but k. */
static reel_tensor *by_channel(reel_tensor *x)
{
    reel_shape dims = {.rank = 0};
    for (int d = 1; x && d < x->meta.rank; d++) dims.dim[dims.rank++] = d;
    return dims.rank ? reel_sum(x, dims, false) : x;
}

static reel_tensor *times(reel_tensor *x, reel_tensor *by)
{
    return by ? reel_mul(x, by) : x;
}

/* The gradient of s = gamma r: through the weight, and through the bias. */
static reel_tensor *scale_gradient(const reel__call *c, reel_tensor *const gy[],
                                   reel_dtype dt)
{
    reel_tensor *by_weight = NULL, *by_bias = NULL;
    if (gy[0]) by_weight = by_channel(times(gy[0], c->in[WEIGHT]));
    if (gy[1]) {
        reel_tensor *mean = reel_cast(c->in[MEAN], dt);
        by_bias =
            reel_mul(gy[1], c->in[BIAS] ? reel_sub(c->in[BIAS], mean) : reel_neg(mean));
    }
    return by_weight && by_bias ? reel_add(by_weight, by_bias)
           : by_weight          ? by_weight
                                : by_bias;
}

static void fold_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__batch_norm_attrs *a = c->attrs;
    const reel__meta *w = c->in[WEIGHT] ? IN_META(c, WEIGHT) : IN_META(c, MEAN);
    const reel_dtype dt = w->dtype, stat = statistic(dt);
    reel_tensor *r = reel_rsqrt(reel_add_scalar(c->in[VAR], a->eps)); /* [k] */
    reel_tensor *s = times(reel_cast(r, dt), c->in[GAMMA]);
    reel_tensor *gs = scale_gradient(c, gy, dt);
    reel_tensor *g = gy[1] ? gy[1] : reel_zeros_like(s); /* [k] */
    if (NEEDS(c, WEIGHT))
        gx[WEIGHT] =
            gy[0] ? reel_mul(gy[0], beside(s, w)) : reel_zeros_like(c->in[WEIGHT]);
    if (NEEDS(c, BIAS)) gx[BIAS] = reel_mul(g, s);
    if (NEEDS(c, GAMMA)) gx[GAMMA] = reel_mul(gs, reel_cast(r, dt));
    if (NEEDS(c, BETA)) gx[BETA] = g;
    if (NEEDS(c, MEAN)) gx[MEAN] = reel_cast(reel_neg(reel_mul(g, s)), stat);
    if (NEEDS(c, VAR)) /* r' = -r^3 / 2 */
        gx[VAR] = reel_mul_scalar(reel_mul(reel_cast(times(gs, c->in[GAMMA]), stat),
                                           reel_mul(r, reel_square(r))),
                                  -0.5);
}

const reel__op reel__fold_batch_norm = {
    .name = "fold_batch_norm",
    .kernel = K_FOLD_BATCH_NORM,
    .n_in = N_IN,
    .n_out = 2,
    .optional = 1 << WEIGHT | 1 << BIAS | 1 << GAMMA | 1 << BETA,
    .saves =
        SAVE_IN(MEAN) | SAVE_IN(VAR) | SAVE_IN(WEIGHT) | SAVE_IN(BIAS) | SAVE_IN(GAMMA),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__batch_norm_schema,
    .infer = fold_infer,
    .vjp = fold_vjp,
    .no_onnx = "files hold the weights that it makes",
    .sample = "s[3]; s[3] in 0.5..2; f[3,2,2,2]; f[3]; f[3]; f[3] | eps=1e-5\n"
              "s[3]; s[3] in 0.5..2; f[3,4]; -; -; f[3] | eps=1e-3\n"
              "s[2]; s[2] in 0.5..2; f[2,5]; f[2]; f[2]; - | eps=1e-5\n"
              "s[2]; s[2] in 0.5..2; f[2]; -; f[2]; f[2] | eps=1e-5\n"
              "s[0]; s[0]; f[0,3]; -; -; - | eps=1e-5",
};
