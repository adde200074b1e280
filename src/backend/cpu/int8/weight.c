/* weight.c: the right operand of a product of bytes, packed; and what a call needs beside it. */
#include "backend/cpu/int8/int8.h"
#include "backend/int8.h"
#include "base/alloc.h"
#include "base/int64.h"
#include "base/parallel.h"

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

/* ---- packing ----------------------------------------------------------------------- */

static int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}

reel__int8_weight reel__int8_weight_of(const reel__meta *m, int64_t groups,
                                       bool depthwise)
{
    reel__int8_weight w = {.isa = reel__int8_kernels(), .depthwise = depthwise};
    for (int i = 0; i < 4; i++) {
        w.dim[i] = i < m->rank ? m->dim[i] : 1;
        w.stride[i] = i < m->rank ? m->stride[i] : 0;
    }
    w.groups = depthwise ? 1 : groups;
    w.columns = w.dim[0] / w.groups;
    w.depth = w.dim[1] * w.dim[2] * w.dim[3];
    w.padded = round_up(w.columns, w.isa->lanes);
    w.words = depthwise ? w.depth : ceil_div(w.depth, w.isa->per);
    return w;
}

/* Sums of the columns come first, [groups][padded]. */
static int64_t sums_size(const reel__int8_weight *w)
{
    return round_up(w->groups * w->padded, 16);
}

size_t reel__int8_packed_size(const reel__int8_weight *w)
{
    return (size_t)(sums_size(w) + w->groups * w->padded * w->words) * sizeof(int32_t);
}

static int64_t panel_at(const reel__int8_weight *w, int64_t group, int64_t column)
{
    return sums_size(w) + (group * w->padded + column) * w->words;
}

const int32_t *reel__int8_panel(const reel__int8_weight *w, const void *packed,
                                int64_t group, int64_t column)
{
    return (const int32_t *)packed + panel_at(w, group, column);
}

typedef struct pack_ctx {
    const reel__int8_weight *w;
    const uint8_t *from;
    uint8_t flip; /* makes b of a byte */
    int32_t *to;
} pack_ctx;

/* Element d of output channel k in the order [r][s][c]. */
static int32_t element(const pack_ctx *t, int64_t k, int64_t d)
{
    const reel__int8_weight *w = t->w;
    const int64_t c = d % w->dim[1], tap = d / w->dim[1];
    const int64_t at = k * w->stride[0] + c * w->stride[1] +
                       tap / w->dim[3] * w->stride[2] + tap % w->dim[3] * w->stride[3];
    return (int8_t)(t->from[at] ^ t->flip);
}

/* One column of a group: into words `step` apart, and its sum. */
static void pack_column(const pack_ctx *t, int64_t group, int64_t column, int32_t *words,
                        int64_t step)
{
    const reel__int8_weight *w = t->w;
    const int64_t k = group * w->columns + column,
                  depth = column < w->columns ? w->depth : 0;
    uint32_t sum = 0;
    for (int64_t i = 0; i < w->words; i++) words[i * step] = 0;
    for (int64_t d = 0; d < depth; d++) {
        const int32_t b = element(t, k, d);
        sum += (uint32_t)b;
        if (w->depthwise)
            words[d * step] = b;
        else if (w->isa->per == 4)
            ((int8_t *)(words + d / 4 * step))[d % 4] = (int8_t)b;
        else
            ((int16_t *)(words + d / 2 * step))[d % 2] = (int16_t)b;
    }
    t->to[group * w->padded + column] = (int32_t)sum;
}

static void pack_columns(void *ctx, int64_t begin, int64_t end)
{
    const pack_ctx *t = ctx;
    const reel__int8_weight *w = t->w;
    const int64_t wide = 2 * w->isa->lanes;
    for (int64_t i = begin; i < end; i++) {
        const int64_t group = i / w->padded, column = i % w->padded;
        const int64_t first = w->depthwise ? 0 : column / wide * wide;
        const int64_t width = w->depthwise ? w->padded : min64(wide, w->padded - first);
        pack_column(t, group, column, t->to + panel_at(w, group, first) + column - first,
                    width);
    }
}

void reel__int8_pack(const reel__int8_weight *w, const reel__karg *from, void *to)
{
    pack_ctx t = {w, from->data, from->meta->dtype == REEL_U8 ? 0x80 : 0, to};
    const int64_t grain = 1 + (1 << 15) / (w->words * w->isa->per + 1);
    reel__parallel_range(w->groups * w->padded, grain, pack_columns, &t);
}

/* ---- a call ------------------------------------------------------------------------ */

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

/* The arrays of the end for output channel k at `at`. */
static void fill_column(reel__int8_job *job, int64_t k, int64_t at, int32_t *offset,
                        int32_t *b_zero, float *scale, float *bias)
{
    const reel__karg *in = job->call->in, *from = &in[REEL_INT8_BIAS];
    const uint32_t a_zero = job->a_zero,
                   sum = (uint32_t)((const int32_t *)job->packed)[at];
    const int32_t moved = in[REEL_INT8_W].meta->dtype == REEL_U8 ? 128 : 0;
    b_zero[at] = byte_of(&in[REEL_INT8_W_ZERO], k) - moved;
    offset[at] =
        (int32_t)(a_zero * ((uint32_t)job->w.depth * (uint32_t)b_zero[at] - sum));
    scale[at] = scale_of(&in[REEL_INT8_X_SCALE], 0) * scale_of(&in[REEL_INT8_W_SCALE], k);
    bias[at] = from->data ? ((const float *)from->data)[k * from->meta->stride[0]] : 0;
    if (!job->end.floats) {
        const float step = scale_of(&in[REEL_INT8_Y_SCALE], 0);
        scale[at] /= step;
        bias[at] /= step;
    }
    if (b_zero[at]) job->end.b_zero = b_zero;
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

enum { ARRAYS = 4 }; /* of the end */

static void fill_end(reel__int8_job *job, int64_t act, const reel__number a[2],
                     int32_t *arrays)
{
    const reel__int8_weight *w = &job->w;
    const int64_t n = w->groups * w->padded;
    int32_t *offset = arrays, *b_zero = arrays + n;
    float *scale = (float *)(arrays + 2 * n), *bias = scale + n;
    memset(arrays, 0, (size_t)(ARRAYS * n) * sizeof *arrays);
    job->end = (reel__int8_end){.offset = offset,
                                .scale = scale,
                                .bias = bias,
                                .floats = job->call->out[0].meta->dtype == REEL_F32};
    if (!job->end.floats) bound(job, act, a);
    for (int64_t g = 0; g < w->groups; g++)
        for (int64_t c = 0; c < w->columns; c++)
            fill_column(job, g * w->columns + c, g * w->padded + c, offset, b_zero, scale,
                        bias);
}

static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

reel_status reel__int8_begin(reel__int8_job *job, const reel__kcall *call,
                             const reel__int8_weight *w, const reel__meta *dense,
                             int64_t act, const reel__number a[2], size_t rest)
{
    const reel__karg *x = &call->in[REEL_INT8_X], *y = &call->out[0];
    *job = (reel__int8_job){.call = call, .w = *w, .x = x->data, .y = y->data};
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
    job->y_element = (int64_t)reel_dtype_size(y->meta->dtype);
    job->y_row = w->dim[0] * job->y_element;
    fill_end(job, act, a, (int32_t *)room);
    return REEL_OK;
}

void reel__int8_fill(const reel__int8_job *job, void *to, int64_t n)
{
    if (job->w.isa->per == 4)
        memset(to, job->a_zero, (size_t)n);
    else
        for (int64_t i = 0; i < n; i++) ((int16_t *)to)[i] = job->a_zero;
}
