/* scale.c: a tensor times a number that is a tensor. */
#include "ops/onnx.h"

/* ---- scale: x [...], factor f64, one element -> x factor ------------------------------------
 * The factor keeps its f64 whatever x is: that of clipping or of a loss scale may be too small
 * for x's dtype, while the products are not. */

static reel_status scale_infer(const reel__call *c, reel__meta *y)
{
    const reel__meta *x = IN_META(c, 0), *factor = IN_META(c, 1);
    REQUIRE(c, factor->dtype == REEL_F64 && reel__numel(factor) == 1, REEL_ERR_SHAPE,
            "factor %s must be one f64", SHOW(factor));
    *y = *x;
    y->offset = 0;
    reel__set_strides_like(y, x);
    return REEL_OK;
}

static void scale_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    reel_tensor *x = c->in[0], *factor = c->in[1];
    if (NEEDS(c, 0)) gx[0] = reel_scale(gy[0], factor);
    if (NEEDS(c, 1)) {
        reel_tensor *g = reel_mul(reel_cast(gy[0], REEL_F64), reel_cast(x, REEL_F64));
        gx[1] = reel_reshape(reel_sum(g, REEL_ALL, false), reel__shape(&factor->meta));
    }
}

/* In x's dtype: opsets know no mixed products. */
static reel_status scale_onnx(const reel__call *c, reel_onnx *o)
{
    (void)c;
    const reel__ref x = o->in[0];
    const reel_onnx_ref number = {.dtype = REEL_F64};
    reel__ref factor = reel__onnx_reshape(o, o->in[1], number);
    return reel__onnx_give(o, 0, ONNX("Mul", x, reel__onnx_cast(o, factor, x->dtype)));
}

const reel__op reel__scale = {
    .name = "scale",
    .kernel = K_SCALE,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(0) | SAVE_IN(1),
    .saves_for = reel__saves_product,
    .dtypes = DTYPES_FLOAT,
    .infer = scale_infer,
    .vjp = scale_vjp,
    .onnx = scale_onnx,
    .sample = "f[3,4]; c64[]\nf[2,3,4]; c64[1] in -2..2\nf[0,2]; c64[]",
};

reel_tensor *reel_scale(reel_tensor *x, reel_tensor *factor)
{
    return APPLY(&reel__scale, NULL, x, factor);
}
