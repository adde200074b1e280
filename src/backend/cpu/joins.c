/* joins.c: CAT, PAD, FLIP: copies between parts of tensors, of any dtype. */
#include "backend/cpu/kernels.h"
#include "backend/slice.h"

static void *element(void *data, const reel__meta *m, int64_t place)
{
    return (char *)data + place * (int64_t)reel_dtype_size(m->dtype);
}

/* in0 .. n-1 one after another along attrs.dim. */
reel_status reel__ref_cat(const reel__kcall *c)
{
    const reel__dim_attrs *attrs = c->attrs;
    const int64_t dim = attrs->dim;
    reel__meta part = *c->out[0].meta;
    int64_t at = 0;
    for (int i = 0; i < c->n_in; i++) {
        const reel__meta *x = c->in[i].meta;
        part.dim[dim] = x->dim[dim];
        reel__copy_strided(element(c->out[0].data, &part, at * part.stride[dim]), &part,
                           c->in[i].data, x);
        at += x->dim[dim];
    }
    return REEL_OK;
}

/* Sets the part of y that begins at `place` and has the dims of `part` to one value of
 * its dtype: a copy from a tensor whose strides are all 0. */
static void fill_part(void *y, const reel__meta *part, int64_t place, const void *value)
{
    reel__meta one = *part;
    for (int d = 0; d < one.rank; d++) one.stride[d] = 0;
    reel__copy_strided(element(y, part, place), part, value, &one);
}

/* The border is cut into two slabs for each dimension, which do not overlap: dimension d
 * has those before and after in0, within in0 in the dimensions before d, all across in
 * the later ones. So each element of the output is written once. */
reel_status reel__ref_pad(const reel__kcall *c)
{
    const reel__pad_attrs *attrs = c->attrs;
    const reel__meta *x = c->in[0].meta, *y = c->out[0].meta;
    reel__meta part = *y;
    int64_t place = 0;
    uint64_t value;
    for (int d = 0; d < x->rank; d++)
        if (attrs->before[d] < 0 || attrs->after[d] < 0)
            return reel_fail(
                REEL_ERR_ARG,
                "pad: %lld before and %lld after dimension %d, must be 0 or more",
                (long long)attrs->before[d], (long long)attrs->after[d], d);
    reel__number_store(attrs->value, y->dtype, &value);
    for (int d = 0; d < x->rank; d++) {
        part.dim[d] = attrs->before[d];
        fill_part(c->out[0].data, &part, place, &value);
        part.dim[d] = attrs->after[d];
        fill_part(c->out[0].data, &part,
                  place + (attrs->before[d] + x->dim[d]) * y->stride[d], &value);
        part.dim[d] = x->dim[d];
        place += attrs->before[d] * y->stride[d];
    }
    reel__copy_strided(element(c->out[0].data, y, place), &part, c->in[0].data, x);
    return REEL_OK;
}

/* Neighbours are put in and zeros around them, each element once; others onto zeros. */
reel_status reel__ref_unslice(const reel__kcall *c)
{
    const reel__unslice_attrs *attrs = c->attrs;
    const reel__meta *x = c->in[0].meta, *y = c->out[0].meta;
    const int64_t d = attrs->slice.dim;
    int64_t start, length;
    if (!reel__slice_at(&attrs->slice, attrs->size, &start, &length))
        return reel_fail(REEL_ERR_ARG, "unslice: the slice lies outside");
    const reel__fill_attrs zero = {reel__whole(0)};
    reel__pad_attrs around = {.before = {0}};
    reel__kcall part = *c;
    if (attrs->slice.step == 1 || length <= 1) {
        around.before[d] = start;
        around.after[d] = attrs->size - start - length;
        part.attrs = &around;
        return reel__ref_pad(&part);
    }
    part.attrs = &zero;
    reel_status st = reel__ref_fill(&part);
    reel__meta places = *y;
    places.dim[d] = length;
    places.stride[d] *= attrs->slice.step;
    reel__copy_strided(element(c->out[0].data, y, start * y->stride[d]), &places,
                       c->in[0].data, x);
    return st;
}

/* The input read backward: from the last element, with the stride turned around. */
reel_status reel__ref_flip(const reel__kcall *c)
{
    const reel__mask_attrs *attrs = c->attrs;
    reel__meta x = *c->in[0].meta;
    int64_t first = 0;
    for (int d = 0; d < x.rank; d++)
        if (((attrs->mask >> d) & 1) && x.dim[d] > 0) {
            first += (x.dim[d] - 1) * x.stride[d];
            x.stride[d] = -x.stride[d];
        }
    reel__copy_strided(c->out[0].data, c->out[0].meta, element(c->in[0].data, &x, first),
                       &x);
    return REEL_OK;
}
