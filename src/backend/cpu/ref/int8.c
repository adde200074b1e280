/* int8.c: reference products of 8-bit operands. Sums are taken modulo 2^32, so that their order
 * does not matter. */
#include "backend/int8.h"
#include "backend/cpu/ref/ref.h"

/* Products and sums are rounded one by one, as fast kernels do. */
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* Element `at` of an operand of bytes. */
static int32_t byte_at(const reel__kcall *call, int i, int64_t at)
{
    const reel__karg *a = &call->in[i];
    return a->meta->dtype == REEL_U8 ? ((const uint8_t *)a->data)[at]
                                     : ((const int8_t *)a->data)[at];
}

/* Where a parameter of the weight has output channel k: it has one, or each has its own. */
static int64_t channel(const reel__meta *m, int64_t k)
{
    return m->rank ? k * m->stride[0] : 0;
}

static float scale_at(const reel__kcall *call, int i, int64_t k)
{
    return ((const float *)call->in[i].data)[channel(call->in[i].meta, k)];
}

/* The result of output channel k at `at`, from the sum of its products. */
static void finish(const reel__kcall *call, int64_t act, const reel__number a[2],
                   int64_t k, uint32_t sum, int64_t at)
{
    const float *biases = reel__ref_in(call, REEL_INT8_BIAS);
    float bias = biases ? biases[k * call->in[REEL_INT8_BIAS].meta->stride[0]] : 0;
    void *y = call->out[0].data;
    float factor =
        scale_at(call, REEL_INT8_X_SCALE, 0) * scale_at(call, REEL_INT8_W_SCALE, k);
    if (call->out[0].meta->dtype == REEL_F32) {
        ((float *)y)[at] = (float)(int32_t)sum * factor + bias;
        return;
    }
    const reel__int8_grid grid = {
        .scale = scale_at(call, REEL_INT8_Y_SCALE, 0),
        .zero = byte_at(call, REEL_INT8_Y_ZERO, 0),
        .least = call->out[0].meta->dtype == REEL_U8 ? 0 : -128,
    };
    const reel__int8_bounds bounds = reel__int8_bounds_of(&grid, act, a);
    const int32_t zero = grid.zero;
    factor /= grid.scale;
    float value = rintf((float)(int32_t)sum * factor + bias / grid.scale);
    float least = (float)(bounds.low - zero), most = (float)(bounds.high - zero);
    value = value > least ? value : least; /* also for NaN */
    value = value < most ? value : most;
    ((uint8_t *)y)[at] = (uint8_t)((int32_t)value + zero); /* the bits of an i8 too */
}

/* ---- linear: an item is one row of x ------------------------------------------------------ */

static void linear_rows(void *ctx, int64_t begin, int64_t end)
{
    const reel__kcall *call = ctx;
    const reel__linear_int8_attrs *a = call->attrs;
    const reel__meta *xm = call->in[REEL_INT8_X].meta, *wm = call->in[REEL_INT8_W].meta;
    const reel__meta *ym = call->out[0].meta, *wz = call->in[REEL_INT8_W_ZERO].meta;
    const int last = xm->rank - 1;
    const uint32_t outer = reel__ref_all_dims(xm) & ~reel__ref_dim_bit(last);
    const int32_t x_zero = byte_at(call, REEL_INT8_X_ZERO, 0);
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < wm->dim[0]; k++) {
            const int32_t w_zero = byte_at(call, REEL_INT8_W_ZERO, channel(wz, k));
            const int64_t x = reel__ref_offset(xm, outer, i), w = k * wm->stride[0];
            uint32_t sum = 0;
            for (int64_t l = 0; l < wm->dim[1]; l++)
                sum += (uint32_t)((byte_at(call, REEL_INT8_X, x + l * xm->stride[last]) -
                                   x_zero) *
                                  (byte_at(call, REEL_INT8_W, w + l * wm->stride[1]) -
                                   w_zero));
            finish(call, a->act, a->a, k, sum,
                   reel__ref_offset(ym, outer, i) + k * ym->stride[last]);
        }
}

reel_status reel__ref_linear_int8(const reel__kcall *call)
{
    const reel__meta *ym = call->out[0].meta, *wm = call->in[REEL_INT8_W].meta;
    if (reel__numel(ym) == 0) return REEL_OK;
    reel__ref_parallel(call, reel__numel(ym) / wm->dim[0], wm->dim[0] * wm->dim[1],
                       linear_rows);
    return REEL_OK;
}

/* ---- conv2d: an item is one row (n, k, p) of y -------------------------------------------- */

/* The sum of element (n, k, p, q); what lies outside x is its zero point and adds nothing. */
static uint32_t conv_sum(const reel__kcall *call, int64_t n, int64_t k, int64_t p,
                         int64_t q)
{
    const reel__conv2d_attrs *a = call->attrs;
    const reel__meta *xm = call->in[REEL_INT8_X].meta, *wm = call->in[REEL_INT8_W].meta;
    const int64_t group = k / (wm->dim[0] / a->groups);
    const int32_t x_zero = byte_at(call, REEL_INT8_X_ZERO, 0);
    const int32_t w_zero =
        byte_at(call, REEL_INT8_W_ZERO, channel(call->in[REEL_INT8_W_ZERO].meta, k));
    uint32_t sum = 0;
    for (int64_t r = 0; r < wm->dim[2]; r++) {
        int64_t h = p * a->stride[0] - a->padding[0] + r * a->dilation[0];
        if (h < 0 || h >= xm->dim[2]) continue;
        for (int64_t s = 0; s < wm->dim[3]; s++) {
            int64_t w = q * a->stride[1] - a->padding[1] + s * a->dilation[1];
            if (w < 0 || w >= xm->dim[3]) continue;
            for (int64_t c = 0; c < wm->dim[1]; c++)
                sum += (uint32_t)((byte_at(call, REEL_INT8_X,
                                           reel__ref_at4(xm, n, group * wm->dim[1] + c, h,
                                                         w)) -
                                   x_zero) *
                                  (byte_at(call, REEL_INT8_W,
                                           reel__ref_at4(wm, k, c, r, s)) -
                                   w_zero));
        }
    }
    return sum;
}

static void conv_rows(void *ctx, int64_t begin, int64_t end)
{
    const reel__kcall *call = ctx;
    const reel__conv2d_int8_attrs *a = call->attrs;
    const reel__meta *ym = call->out[0].meta;
    for (int64_t i = begin; i < end; i++) {
        int64_t n = i / (ym->dim[1] * ym->dim[2]), k = i / ym->dim[2] % ym->dim[1];
        int64_t p = i % ym->dim[2];
        for (int64_t q = 0; q < ym->dim[3]; q++)
            finish(call, a->act, a->a, k, conv_sum(call, n, k, p, q),
                   reel__ref_at4(ym, n, k, p, q));
    }
}

reel_status reel__ref_conv2d_int8(const reel__kcall *call)
{
    const reel__meta *wm = call->in[REEL_INT8_W].meta, *ym = call->out[0].meta;
    reel__ref_parallel(call, ym->dim[0] * ym->dim[1] * ym->dim[2],
                       ym->dim[3] * wm->dim[1] * wm->dim[2] * wm->dim[3], conv_rows);
    return REEL_OK;
}
