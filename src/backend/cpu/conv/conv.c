/* conv.c: from a kernel call to one of the algorithms. */
#include "backend/cpu/conv/conv.h"
#include "base/alloc.h"

#include <string.h>

/* ---- operands ---------------------------------------------------------------------- */

static bool is_activation(const reel__karg *a)
{
    return a->meta->dtype == REEL_F32 && a->meta->rank == 4 &&
           reel__is_channels_last(a->meta) && reel__numel(a->meta) > 0;
}

static bool is_weight(const reel__karg *a)
{
    return a->meta->dtype == REEL_F32 && a->meta->rank == 4 && reel__numel(a->meta) > 0;
}

/* Copies between a weight as it lies in memory and contiguous [k, c, r, s]. */
static void copy_weight(float *plain, float *strided, const reel__meta *m, bool to_plain)
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

reel__conv reel__conv_geometry(const reel__conv2d_attrs *a, const reel__meta *x,
                               const reel__meta *w, const reel__meta *y)
{
    reel__conv g = {
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
    for (int i = 0; i < 2; i++) {
        if (y->dim[2 + i] == 1) g.stride[i] = 1;
        if (w->dim[2 + i] == 1) g.dil[i] = 1;
    }
    return g;
}

/* ---- forward and input gradient: in, weight -> out --------------------------------- */

static reel_status run(const reel__conv *g, reel__conv_pass pass, reel__conv_algo algo,
                       const reel__conv_io *io)
{
    return (algo == REEL_CONV_WINOGRAD ? reel__run_winograd : reel__conv_direct)(g, pass,
                                                                                 io);
}

/* The weight in io->weight may have any strides. */
static reel_status run_with_plain_weight(const reel__conv *g, reel__conv_pass pass,
                                         reel__conv_algo algo, const reel__meta *weight,
                                         reel__conv_io *io)
{
    if (reel__is_contiguous(weight) || io->prepared) return run(g, pass, algo, io);
    float *plain = reel__scratch((size_t)reel__numel(weight) * sizeof(float));
    if (!plain) return REEL_ERR_MEMORY;
    copy_weight(plain, (float *)io->weight, weight, true);
    io->weight = plain;
    reel_status status = run(g, pass, algo, io);
    reel__scratch_free(plain);
    return status;
}

bool reel__fast_conv2d_input(const reel__kcall *call, reel_status *status)
{
    const reel__karg *gy = &call->in[0], *w = &call->in[1], *gx = &call->out[0];
    if (!is_activation(gy) || !is_activation(gx) || !is_weight(w)) return false;
    reel__conv g = reel__conv_geometry(call->attrs, gx->meta, w->meta, gy->meta);
    reel__conv_io io = {.in = gy->data, .weight = w->data, .out = gx->data};
    reel__conv_algo algo = reel__conv_choose(&g, REEL_CONV_INPUT, reel_exact(), false);
    *status = run_with_plain_weight(&g, REEL_CONV_INPUT, algo, w->meta, &io);
    return true;
}

/* ---- forward, alone or with what follows it ---------------------------------------- */

static const reel__karg *operand(const reel__kcall *call, int i)
{
    return call->n_in > i && call->in[i].meta ? &call->in[i] : NULL;
}

static bool takes(const reel__kcall *call)
{
    const reel__karg *bias = operand(call, 2), *residual = operand(call, 3);
    if (bias && (bias->meta->dtype != REEL_F32 || !reel__is_contiguous(bias->meta)))
        return false;
    return is_activation(&call->in[0]) && is_weight(&call->in[1]) &&
           is_activation(&call->out[0]) && (!residual || is_activation(residual));
}

/* A fused convolution's weight is a constant as a rule: it chooses as if that were prepared,
 * so that preparing it changes no bit. */
static reel__conv_algo algo_of(const reel__kcall *call, const reel__conv *g)
{
    if (call->kernel != K_CONV2D_FUSED)
        return reel__conv_choose(g, REEL_CONV_FORWARD, reel_exact(), false);
    const reel__conv2d_fused_attrs *a = call->attrs;
    if (a->algo == REEL_ALGO_DIRECT) return REEL_CONV_DIRECT;
    if (a->algo == REEL_ALGO_WINOGRAD && reel__conv_winograd_takes(g) && !reel_exact())
        return REEL_CONV_WINOGRAD;
    return reel__conv_choose(g, REEL_CONV_FORWARD, reel_exact(), true);
}

static reel_status forward(const reel__kcall *call, const reel__epilogue *end)
{
    reel__conv g = reel__conv_geometry(call->attrs, call->in[0].meta, call->in[1].meta,
                                       call->out[0].meta);
    reel__conv_algo algo = algo_of(call, &g);
    reel__conv_io io = {
        .in = call->in[0].data,
        .weight = call->in[1].data,
        .prepared = call->prepared,
        .out = call->out[0].data,
        .end = *end,
    };
    return run_with_plain_weight(&g, REEL_CONV_FORWARD, algo, call->in[1].meta, &io);
}

static const float *data_of(const reel__karg *a)
{
    return a ? a->data : NULL;
}

bool reel__fast_conv2d(const reel__kcall *call, reel_status *status)
{
    if (!takes(call)) return false;
    const reel__epilogue end = {.bias = data_of(operand(call, 2))};
    *status = forward(call, &end);
    return true;
}

bool reel__fast_conv2d_fused(const reel__kcall *call, reel_status *status)
{
    const reel__conv2d_fused_attrs *a = call->attrs;
    if (!takes(call)) return false;
    const reel__epilogue end =
        reel__epilogue_of(data_of(operand(call, 2)), data_of(operand(call, 3)),
                          call->out[0].data, a->act, a->a);
    *status = forward(call, &end);
    return true;
}

size_t reel__prepare_conv2d_size(const reel__kcall *call, unsigned constant)
{
    if (!(constant & 2u) || !takes(call)) return 0;
    reel__conv g = reel__conv_geometry(call->attrs, call->in[0].meta, call->in[1].meta,
                                       call->out[0].meta);
    return (size_t)reel__conv_packed_size(&g) * sizeof(float);
}

reel_status reel__prepare_conv2d(const reel__kcall *call, void *to)
{
    const reel__karg *w = &call->in[1];
    reel__conv g =
        reel__conv_geometry(call->attrs, call->in[0].meta, w->meta, call->out[0].meta);
    float *plain = NULL;
    if (!reel__is_contiguous(w->meta)) {
        plain = reel__scratch((size_t)reel__numel(w->meta) * sizeof(float));
        if (!plain) return REEL_ERR_MEMORY;
        copy_weight(plain, w->data, w->meta, true);
    }
    reel__conv_pack(&g, plain ? plain : w->data, to);
    reel__scratch_free(plain);
    return REEL_OK;
}

/* ---- weight gradient: gy, x -> gw -------------------------------------------------- */

static reel_status run_weight(const reel__conv *g, const float *gy, const float *x,
                              float *gw)
{
    bool winograd =
        reel__conv_choose(g, REEL_CONV_WEIGHT, reel_exact(), false) == REEL_CONV_WINOGRAD;
    return (winograd ? reel__conv_winograd_weight : reel__conv_direct_weight)(g, gy, x,
                                                                              gw);
}

bool reel__fast_conv2d_weight(const reel__kcall *call, reel_status *status)
{
    const reel__karg *gy = &call->in[0], *x = &call->in[1], *gw = &call->out[0];
    if (!is_activation(gy) || !is_activation(x) || !is_weight(gw)) return false;
    reel__conv g = reel__conv_geometry(call->attrs, x->meta, gw->meta, gy->meta);
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
