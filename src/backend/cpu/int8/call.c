/* call.c: calls of products of bytes, and what they need beside the product. */
#include "backend/cpu/int8/int8.h"
#include "backend/int8.h"
#include "base/alloc.h"
#include "base/int64.h"

#include <stdatomic.h>
#include <string.h>

static atomic_bool no_vnni;

void reel__int8_use_vnni(bool on)
{
    atomic_store(&no_vnni, !on);
}

const reel__int8_isa *reel__int8_kernels(void)
{
#if defined(__x86_64__)
    if (reel__has_vnni() && !atomic_load_explicit(&no_vnni, memory_order_relaxed))
        return &reel__int8_vnni_avx512;
#endif
    return REEL_ISA_PICK(int8);
}

/* ---- from sums to results -------------------------------------------------------------- */

static int32_t byte_of(const reel__karg *a, int64_t k)
{
    const int64_t at = a->meta->rank ? k * a->meta->stride[0] : 0;
    return a->meta->dtype == REEL_U8 ? ((const uint8_t *)a->data)[at]
                                     : ((const int8_t *)a->data)[at];
}

static float scale_of(const reel__karg *a, int64_t k)
{
    return ((const float *)a->data)[a->meta->rank ? k * a->meta->stride[0] : 0];
}

/* Bounds of a quantized result. */
static void bound(reel__int8_job *job, int64_t act, const reel__number a[2])
{
    const reel__kcall *call = job->call;
    const reel__int8_grid grid = {
        .scale = scale_of(&call->in[REEL_INT8_Y_SCALE], 0),
        .zero = byte_of(&call->in[REEL_INT8_Y_ZERO], 0),
        .least = call->out[0].meta->dtype == REEL_U8 ? 0 : -128,
    };
    const reel__int8_bounds b = reel__int8_bounds_of(&grid, act, a);
    job->end.zero = grid.zero;
    job->end.low = b.low;
    job->end.high = b.high;
}

/* What calls give for each channel, to its column. True: some zero point is not 0. */
static bool fill_parameters(const reel__int8_job *job, int32_t *b_zero, float *scale,
                            float *bias)
{
    const reel__int8_weight *w = &job->w;
    const reel__karg *in = job->call->in, *from = &in[REEL_INT8_BIAS];
    const reel__karg *scales = &in[REEL_INT8_W_SCALE], *zeros = &in[REEL_INT8_W_ZERO];
    const int32_t moved = in[REEL_INT8_W].meta->dtype == REEL_U8 ? 128 : 0;
    int64_t place[REEL_INT8_WIDEST],
        k = 0; /* divisions would take longer than all else */
    int32_t any = 0;
    for (int64_t i = 0; i < w->wide; i++) place[i] = reel__int8_column(w, i);
    for (int64_t g = 0; g < w->groups; g++)
        for (int64_t c = 0; c < w->columns; c += w->wide) {
            const int64_t first = g * w->padded + c, n = min64(w->wide, w->columns - c);
            for (int64_t i = 0; i < n; i++, k++) {
                const int64_t at = first + place[i];
                any |= b_zero[at] = byte_of(zeros, k) - moved;
                scale[at] = scale_of(scales, k);
                if (from->data)
                    bias[at] = ((const float *)from->data)[k * from->meta->stride[0]];
            }
        }
    return any;
}

enum { ARRAYS = 4 }; /* of the end */

static void fill_end(reel__int8_job *job, int64_t act, const reel__number a[2],
                     int32_t *arrays)
{
    const reel__int8_weight *w = &job->w;
    const reel__karg *in = job->call->in;
    const int64_t n = w->groups * w->padded;
    int32_t *offset = arrays, *b_zero = arrays + n;
    float *scale = (float *)(arrays + 2 * n), *bias = scale + n;
    const reel_dtype y = job->call->out[0].meta->dtype;
    memset(arrays, 0, (size_t)(ARRAYS * n) * sizeof *arrays);
    job->end = (reel__int8_end){.offset = offset,
                                .scale = scale,
                                .bias = bias,
                                .flip = y == REEL_U8 ? 0x80 : 0,
                                .floats = y == REEL_F32};
    if (fill_parameters(job, b_zero, scale, bias)) job->end.b_zero = b_zero;
    const uint32_t a_zero = job->a_zero, depth = (uint32_t)w->depth;
    const int32_t *sum = job->packed;
    for (int64_t i = 0; i < n; i++)
        offset[i] = (int32_t)(a_zero * (depth * (uint32_t)b_zero[i] - (uint32_t)sum[i]));
    const float x_scale = scale_of(&in[REEL_INT8_X_SCALE], 0);
    for (int64_t i = 0; i < n; i++) scale[i] *= x_scale;
    if (job->end.floats) return;
    bound(job, act, a);
    const float step = scale_of(&in[REEL_INT8_Y_SCALE], 0);
    for (int64_t i = 0; i < n; i++) {
        scale[i] /= step;
        bias[i] /= step;
    }
}

/* ---- a call ---------------------------------------------------------------------------- */

static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Fills the job: a weight that is not prepared is packed, x copied if it is not dense in the order
 * of memory `dense`; job->rest has `rest` bytes. Free job->room. */
static reel_status begin(reel__int8_job *job, const reel__kcall *call,
                         const reel__conv *g, const reel__int8_weight *w,
                         const reel__meta *dense, int64_t act, const reel__number a[2],
                         size_t rest)
{
    const reel__karg *x = &call->in[REEL_INT8_X], *y = &call->out[0];
    *job = (reel__int8_job){.call = call, .g = g, .w = *w, .x = x->data, .y = y->data};
    const bool copies = memcmp(x->meta->stride, dense->stride,
                               sizeof *dense->stride * (size_t)dense->rank);
    const size_t arrays =
        lines((size_t)(ARRAYS * w->groups * w->padded) * sizeof(int32_t));
    const size_t packed = call->prepared ? 0 : lines(reel__int8_packed_size(w));
    const size_t copy = copies ? lines((size_t)reel__numel(dense)) : 0;
    char *room = job->room = reel__scratch(arrays + packed + copy + rest);
    if (!room) return REEL_ERR_MEMORY;
    job->rest = room + arrays + packed + copy;
    job->packed = call->prepared;
    if (!call->prepared) {
        reel__int8_pack(w, &call->in[REEL_INT8_W], room + arrays);
        job->packed = room + arrays;
    }
    if (copies) {
        reel__copy_strided(room + arrays + packed, dense, x->data, x->meta);
        job->x = (const uint8_t *)room + arrays + packed;
    }
    job->flip = x->meta->dtype == REEL_I8 ? 0x80 : 0;
    job->a_zero = (uint8_t)((uint8_t)byte_of(&call->in[REEL_INT8_X_ZERO], 0) ^ job->flip);
    job->y_row = w->dim[0] * (int64_t)reel_dtype_size(y->meta->dtype);
    fill_end(job, act, a, (int32_t *)room);
    return REEL_OK;
}

static reel_status run(const reel__kcall *call, const reel__conv *g,
                       const reel__meta *dense, int64_t act, const reel__number a[2])
{
    const reel__int8_weight w = reel__int8_weight_of(call->in[REEL_INT8_W].meta, g);
    const bool flips = call->in[REEL_INT8_X].meta->dtype == REEL_I8;
    const size_t size =
        (w.depthwise ? reel__int8_depthwise_size : reel__int8_product_size)(g, &w, flips);
    reel__int8_job job;
    const reel_status status = begin(&job, call, g, &w, dense, act, a, size);
    if (status) return status;
    (w.depthwise ? reel__int8_depthwise_product : reel__int8_product)(&job);
    reel__scratch_free(job.room);
    return REEL_OK;
}

static size_t prepared_size(const reel__kcall *call, unsigned constant,
                            const reel__conv *g)
{
    if (!(constant & 1u << REEL_INT8_W)) return 0;
    const reel__int8_weight w = reel__int8_weight_of(call->in[REEL_INT8_W].meta, g);
    return reel__int8_packed_size(&w);
}

static reel_status prepare(const reel__kcall *call, const reel__conv *g, void *to)
{
    const reel__karg *w = &call->in[REEL_INT8_W];
    const reel__int8_weight shape = reel__int8_weight_of(w->meta, g);
    reel__int8_pack(&shape, w, to);
    return REEL_OK;
}

/* ---- convolutions ---------------------------------------------------------------------- */

static bool takes_conv(const reel__kcall *call)
{
    return reel__is_channels_last(call->out[0].meta) &&
           reel__numel(call->out[0].meta) > 0;
}

static reel__conv conv_of(const reel__kcall *call)
{
    reel__conv g = reel__conv_geometry(call->attrs, call->in[REEL_INT8_X].meta,
                                       call->in[REEL_INT8_W].meta, call->out[0].meta);
    const bool each = g.r == 1 && g.s == 1 && g.pad[0] == 0 && g.pad[1] == 0 &&
                      g.stride[0] == 1 && g.stride[1] == 1 && g.oh == g.h && g.ow == g.w;
    if (each) { /* of one pixel: all images are one row */
        g.w = g.ow = g.n * g.h * g.w;
        g.n = g.h = g.oh = 1;
    }
    return g;
}

bool reel__fast_conv2d_int8(const reel__kcall *call, reel_status *status)
{
    if (!takes_conv(call)) return false;
    const reel__conv2d_int8_attrs *a = call->attrs;
    const reel__conv g = conv_of(call);
    reel__meta dense = *call->in[REEL_INT8_X].meta;
    reel__set_channels_last(&dense);
    *status = run(call, &g, &dense, a->act, a->a);
    return true;
}

size_t reel__prepare_conv2d_int8_size(const reel__kcall *call, unsigned constant)
{
    if (!takes_conv(call)) return 0;
    const reel__conv g = conv_of(call);
    return prepared_size(call, constant, &g);
}

reel_status reel__prepare_conv2d_int8(const reel__kcall *call, void *to)
{
    const reel__conv g = conv_of(call);
    return prepare(call, &g, to);
}

/* ---- linear layers --------------------------------------------------------------------- */

static bool takes_linear(const reel__kcall *call)
{
    return reel__is_contiguous(call->out[0].meta) && reel__numel(call->out[0].meta) > 0;
}

/* A window of one pixel, along one long row. */
static reel__conv linear_of(const reel__kcall *call)
{
    const reel__meta *w = call->in[REEL_INT8_W].meta;
    const int64_t m = reel__numel(call->out[0].meta) / w->dim[0];
    return (reel__conv){.n = 1,
                        .c = w->dim[1],
                        .h = 1,
                        .w = m,
                        .k = w->dim[0],
                        .oh = 1,
                        .ow = m,
                        .r = 1,
                        .s = 1,
                        .stride = {1, 1},
                        .dil = {1, 1},
                        .groups = 1};
}

bool reel__fast_linear_int8(const reel__kcall *call, reel_status *status)
{
    if (!takes_linear(call)) return false;
    const reel__linear_int8_attrs *a = call->attrs;
    const reel__conv g = linear_of(call);
    reel__meta dense = *call->in[REEL_INT8_X].meta;
    reel__set_contiguous(&dense);
    *status = run(call, &g, &dense, a->act, a->a);
    return true;
}

size_t reel__prepare_linear_int8_size(const reel__kcall *call, unsigned constant)
{
    if (!takes_linear(call)) return 0;
    const reel__conv g = linear_of(call);
    return prepared_size(call, constant, &g);
}

reel_status reel__prepare_linear_int8(const reel__kcall *call, void *to)
{
    const reel__conv g = linear_of(call);
    return prepare(call, &g, to);
}
