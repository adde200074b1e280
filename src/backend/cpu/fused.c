/* fused.c: CONV2D_FUSED and LINEAR_FUSED by their definition, for any strides and dtypes: the
 * convolution or product, then residual and activation as pointwise rows over the result. */
#include "backend/cpu/kernels.h"
#include "base/alloc.h"

static reel_status product(const reel__kcall *call)
{
    reel_status status = REEL_OK;
    if (reel__cpu_fast[call->kernel](call, &status)) return status;
    return reel__cpu_ref[call->kernel](call);
}

static reel_status in_place(reel__kernel_id row, const reel__karg *y, const reel__karg *x,
                            const reel__number a[2])
{
    const reel__karg in[2] = {*y, x ? *x : *y};
    const reel__scalar_attrs attrs = {{a[0], a[1]}};
    const reel__kcall call = {
        .kernel = row,
        .n_in = x ? 2 : 1,
        .n_out = 1,
        .in = in,
        .out = y,
        .attrs = &attrs,
    };
    return reel__cpu_pointwise(&call);
}

static reel_status compose(const reel__kcall *call, reel__kernel_id kernel, int64_t act,
                           const reel__number a[2])
{
    const reel__karg *y = &call->out[0], *residual = &call->in[3];
    reel__kcall base = *call;
    base.kernel = kernel;
    base.n_in = 3;
    base.prepared = NULL;
    reel_status status = product(&base);
    if (!status && residual->data) status = in_place(K_ADD, y, residual, a);
    if (!status && act != K_NONE) status = in_place((reel__kernel_id)act, y, NULL, a);
    return status;
}

reel_status reel__ref_conv2d_fused(const reel__kcall *call)
{
    const reel__conv2d_fused_attrs *a = call->attrs;
    return compose(call, K_CONV2D, a->act, a->a); /* the convolution's attributes lead */
}

reel_status reel__ref_linear_fused(const reel__kcall *call)
{
    const reel__linear_fused_attrs *a = call->attrs;
    return compose(call, K_LINEAR, a->act, a->a);
}
