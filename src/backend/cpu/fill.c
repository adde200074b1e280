/* fill.c: FILL and ARANGE: tensors made of numbers, of any dtype and strides. */
#include "backend/cpu/elem.h"
#include "backend/cpu/kernels.h"

/* One element, converted, then repeated by a copy with stride 0. */
reel_status reel__ref_fill(const reel_kcall *call)
{
    const reel_karg *out = &call->out[0];
    double value = ((const reel_fill_attrs *)call->attrs)->value;
    reel_meta one = {.dtype = out->meta->dtype, .device = out->meta->device};
    double element = 0; /* as many bytes as any dtype has */
    reel__elem_rows()->store[REEL_PW_F64][one.dtype](1, 1, &element, 0, 1, &value);
    reel__copy_strided(out->data, out->meta, &element, &one);
    return REEL_OK;
}

#define BLOCK 512

/* Each element is computed from its index in f64, so errors do not add up. */
reel_status reel__ref_arange(const reel_kcall *call)
{
    const reel_karg *out = &call->out[0];
    const reel_arange_attrs *a = call->attrs;
    reel_store_fn store = reel__elem_rows()->store[REEL_PW_F64][out->meta->dtype];
    int64_t n = reel__numel(out->meta), step = out->meta->rank ? out->meta->stride[0] : 1;
    int64_t size = (int64_t)reel_dtype_size(out->meta->dtype);
    double block[BLOCK];
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t count = n - at < BLOCK ? n - at : BLOCK;
        for (int64_t i = 0; i < count; i++)
            block[i] = a->start + (double)(at + i) * a->step;
        if (a->ends && at + count == n) block[count - 1] = a->end;
        store(1, count, (char *)out->data + at * step * size, 0, step, block);
    }
    return REEL_OK;
}
