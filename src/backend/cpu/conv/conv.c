/* conv.c: from a kernel call to one of the algorithms. */
#include "backend/cpu/conv/conv.h"
#include "base/alloc.h"

#include <string.h>

/* ---- operands ---------------------------------------------------------------------- */

static bool is_activation(const reel_karg *a)
{
    return a->meta->dtype == REEL_F32 && a->meta->rank == 4 &&
           reel__is_channels_last(a->meta) && reel__numel(a->meta) > 0;
}

static bool is_weight(const reel_karg *a)
{
    return a->meta->dtype == REEL_F32 && a->meta->rank == 4 && reel__numel(a->meta) > 0;
}

/* Copies between a weight as it lies in memory and contiguous [k, c, r, s]. */
static void copy_weight(float *plain, float *strided, const reel_meta *m, bool to_plain)
{
    for (int64_t k = 0; k < m->dim[0]; k++)
        for (int64_t c = 0; c < m->dim[1]; c++)
            for (int64_t r = 0; r < m->dim[2]; r++)
                for (int64_t s = 0; s < m->dim[3]; s++, plain++) {
                    float *there = strided + k * m->stride[0] + c * m->stride[1] +
                                   r * m->stride[2] + s * m->stride[3];
                    *(to_plain ? plain : there) = *(to_plain ? there : plain);
                }
}

static reel_conv geometry(const reel_conv2d_attrs *a, const reel_meta *x,
                          const reel_meta *w, const reel_meta *y)
{
    return (reel_conv){
        .n = x->dim[0],
        .c = x->dim[1],
        .h = x->dim[2],
        .w = x->dim[3],
        .k = y->dim[1],
        .oh = y->dim[2],
        .ow = y->dim[3],
        .r = w->dim[2],
        .s = w->dim[3],
        .stride = {a->stride[0], a->stride[1]},
        .pad = {a->padding[0], a->padding[1]},
        .dil = {a->dilation[0], a->dilation[1]},
        .groups = a->groups,
    };
}

/* ---- forward and input gradient: in, weight, bias -> out --------------------------- */

static reel_status run(const reel_conv *g, reel_conv_pass pass, const float *in,
                       const float *weight, const float *bias, float *out)
{
    bool winograd = reel__conv_choose(g, pass, reel_exact()) == REEL_CONV_WINOGRAD;
    return (winograd ? reel__conv_winograd : reel__conv_direct)(g, pass, in, weight, bias,
                                                                out);
}

static reel_status run_with_plain_weight(const reel_conv *g, reel_conv_pass pass,
                                         const reel_karg *in, const reel_karg *weight,
                                         const float *bias, float *out)
{
    if (reel__is_contiguous(weight->meta))
        return run(g, pass, in->data, weight->data, bias, out);
    float *plain = reel__scratch((size_t)reel__numel(weight->meta) * sizeof(float));
    if (!plain) return REEL_ERR_MEMORY;
    copy_weight(plain, weight->data, weight->meta, true);
    reel_status status = run(g, pass, in->data, plain, bias, out);
    reel__scratch_free(plain);
    return status;
}

bool reel__fast_conv2d(const reel_kcall *call, reel_status *status)
{
    const reel_karg *x = &call->in[0], *w = &call->in[1], *y = &call->out[0];
    const reel_karg *bias = call->n_in > 2 && call->in[2].data ? &call->in[2] : NULL;
    if (!is_activation(x) || !is_activation(y) || !is_weight(w)) return false;
    if (bias && (bias->meta->dtype != REEL_F32 || !reel__is_contiguous(bias->meta)))
        return false;
    reel_conv g = geometry(call->attrs, x->meta, w->meta, y->meta);
    *status = run_with_plain_weight(&g, REEL_CONV_FORWARD, x, w, bias ? bias->data : NULL,
                                    y->data);
    return true;
}

bool reel__fast_conv2d_input(const reel_kcall *call, reel_status *status)
{
    const reel_karg *gy = &call->in[0], *w = &call->in[1], *gx = &call->out[0];
    if (!is_activation(gy) || !is_activation(gx) || !is_weight(w)) return false;
    reel_conv g = geometry(call->attrs, gx->meta, w->meta, gy->meta);
    *status = run_with_plain_weight(&g, REEL_CONV_INPUT, gy, w, NULL, gx->data);
    return true;
}

/* ---- weight gradient: gy, x -> gw -------------------------------------------------- */

static reel_status run_weight(const reel_conv *g, const float *gy, const float *x,
                              float *gw)
{
    bool winograd =
        reel__conv_choose(g, REEL_CONV_WEIGHT, reel_exact()) == REEL_CONV_WINOGRAD;
    return (winograd ? reel__conv_winograd_weight : reel__conv_direct_weight)(g, gy, x,
                                                                              gw);
}

bool reel__fast_conv2d_weight(const reel_kcall *call, reel_status *status)
{
    const reel_karg *gy = &call->in[0], *x = &call->in[1], *gw = &call->out[0];
    if (!is_activation(gy) || !is_activation(x) || !is_weight(gw)) return false;
    reel_conv g = geometry(call->attrs, x->meta, gw->meta, gy->meta);
    if (reel__is_contiguous(gw->meta)) {
        *status = run_weight(&g, gy->data, x->data, gw->data);
        return true;
    }
    float *plain = reel__scratch((size_t)reel__numel(gw->meta) * sizeof(float));
    if (!plain) {
        *status = REEL_ERR_MEMORY;
        return true;
    }
    *status = run_weight(&g, gy->data, x->data, plain);
    if (*status == REEL_OK) copy_weight(plain, gw->data, gw->meta, false);
    reel__scratch_free(plain);
    return true;
}
