/* fill.c: FILL, ARANGE, LINSPACE: tensors made of numbers, of any dtype and strides. */
#include "backend/cpu/elem.h"
#include "backend/cpu/kernels.h"

/* ---- one number as an element ---------------------------------------------------------- */

/* Stores saturate, as those of floats do. */
typedef struct limits {
    int64_t low, high;
} limits;

static limits limits_of(reel_dtype dtype)
{
    switch (dtype) {
    case REEL_I32: return (limits){INT32_MIN, INT32_MAX};
    case REEL_I8: return (limits){INT8_MIN, INT8_MAX};
    case REEL_U8: return (limits){0, UINT8_MAX};
    default: return (limits){INT64_MIN, INT64_MAX};
    }
}

static int64_t within(int64_t x, limits of)
{
    return x < of.low ? of.low : x > of.high ? of.high : x;
}

void reel__number_store(reel__number x, reel_dtype dtype, void *element)
{
    const reel__elem_rows *rows = reel__elem_rows_of_isa();
    if (x.is_real || reel_dtype_is_float(dtype)) {
        const double real = reel__number_f64(x);
        rows->store[REEL_PW_F64][dtype](1, 1, element, 0, 1, &real);
    } else {
        const int64_t whole = within(x.whole, limits_of(dtype));
        rows->store[REEL_PW_I64][dtype](1, 1, element, 0, 1, &whole);
    }
}

/* One element, converted, then repeated by a copy with stride 0. */
reel_status reel__ref_fill(const reel__kcall *call)
{
    const reel__karg *out = &call->out[0];
    const reel__fill_attrs *a = call->attrs;
    reel__meta one = {.dtype = out->meta->dtype, .device = out->meta->device};
    double element = 0; /* as many bytes as any dtype has */
    reel__number_store(a->value, one.dtype, &element);
    reel__copy_strided(out->data, out->meta, &element, &one);
    return REEL_OK;
}

/* ---- ranges: each element is computed from its index, so errors do not add up ------------ */

#define BLOCK 512

/* A vector that is written block by block. */
typedef struct line {
    reel__store_fn store;
    char *data;
    int64_t n, stride, size;
} line;

static line line_of(const reel__karg *out, reel__pw_type type)
{
    const reel__meta *m = out->meta;
    return (line){.store = reel__elem_rows_of_isa()->store[type][m->dtype],
                  .data = out->data,
                  .n = reel__numel(m),
                  .stride = m->rank ? m->stride[0] : 1,
                  .size = (int64_t)reel_dtype_size(m->dtype)};
}

static int64_t block_at(const line *l, int64_t at)
{
    return l->n - at < BLOCK ? l->n - at : BLOCK;
}

static void put(const line *l, int64_t at, const void *block)
{
    l->store(1, block_at(l, at), l->data + at * l->stride * l->size, 0, l->stride, block);
}

static void whole_range(const reel__karg *out, int64_t start, int64_t step)
{
    const line l = line_of(out, REEL_PW_I64);
    const limits of = limits_of(out->meta->dtype);
    int64_t block[BLOCK];
    for (int64_t at = 0; at < l.n; at += BLOCK) {
        const int64_t count = block_at(&l, at);
        for (int64_t i = 0; i < count; i++) { /* wraps, as integers do */
            uint64_t x = (uint64_t)start + (uint64_t)(at + i) * (uint64_t)step;
            block[i] = within((int64_t)x, of);
        }
        put(&l, at, block);
    }
}

static void real_range(const reel__karg *out, double start, double step,
                       const double *end)
{
    const line l = line_of(out, REEL_PW_F64);
    double block[BLOCK];
    for (int64_t at = 0; at < l.n; at += BLOCK) {
        int64_t count = block_at(&l, at);
        for (int64_t i = 0; i < count; i++) block[i] = start + (double)(at + i) * step;
        if (end && at + count == l.n) block[count - 1] = *end;
        put(&l, at, block);
    }
}

reel_status reel__ref_arange(const reel__kcall *call)
{
    const reel__arange_attrs *a = call->attrs;
    const reel__karg *out = &call->out[0];
    bool whole = !a->start.is_real && !a->step.is_real;
    if (whole && !reel_dtype_is_float(out->meta->dtype))
        whole_range(out, a->start.whole, a->step.whole);
    else
        real_range(out, reel__number_f64(a->start), reel__number_f64(a->step), NULL);
    return REEL_OK;
}

reel_status reel__ref_linspace(const reel__kcall *call)
{
    const reel__linspace_attrs *a = call->attrs;
    int64_t n = reel__numel(call->out[0].meta);
    double step = n > 1 ? (a->end - a->start) / (double)(n - 1) : 0;
    real_range(&call->out[0], a->start, step, n > 1 ? &a->end : NULL);
    return REEL_OK;
}
