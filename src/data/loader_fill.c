/* loader_fill.c: one batch, from its number: which samples, their transforms, the
 * tensors. */
#include <reel/ops.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/loader.h"

const int64_t *reel__loader_order(reel_loader *l, int64_t epoch)
{
    if (!l->shuffle) return NULL;
    int64_t *order = l->order[epoch & 1];
    if (l->order_epoch[epoch & 1] == epoch) return order;

    /* Fisher-Yates, from a stream that no sample has. */
    reel_draw d = reel_draw_new(l->seed, (uint64_t)epoch, UINT64_MAX);
    int64_t n = reel_dataset_length(l->ds);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = reel_draw_below(&d, (uint32_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    l->order_epoch[epoch & 1] = epoch;
    return order;
}

void reel__filled_clear(reel__filled *f)
{
    reel_release(f->x);
    reel_release(f->y);
    reel__free(f->samples);
    *f = (reel__filled){0};
}

static bool same_shape(reel_shape a, reel_shape b)
{
    return a.rank == b.rank &&
           memcmp(a.dim, b.dim, (size_t)a.rank * sizeof a.dim[0]) == 0;
}

static int64_t elements(reel_shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return n;
}

/* Room for `rows` samples like the first one. */
static reel_status allocate(reel__filled *out, int64_t rows, const reel_sample *first)
{
    if (first->shape.rank < 0 || first->shape.rank >= REEL_MAX_RANK)
        return reel_fail(REEL_ERR_SHAPE, "loader: samples of rank %d, expected 0 to %d",
                         first->shape.rank, REEL_MAX_RANK - 1);
    reel_shape shape = {.rank = first->shape.rank + 1, .dim = {rows}};
    memcpy(shape.dim + 1, first->shape.dim, (size_t)first->shape.rank * sizeof rows);
    out->x = reel_keep(reel_empty(shape, REEL_F32));
    out->y = reel_keep(reel_empty((reel_shape){1, {rows}}, REEL_I64));
    out->image = first->image;
    return reel_error_status();
}

static void write_row(float *row, const reel_sample *s, int64_t n)
{
    if (s->dtype == REEL_F32) {
        memcpy(row, s->data, (size_t)n * sizeof *row);
        return;
    }
    const uint8_t *byte = s->data;
    for (int64_t i = 0; i < n; i++) row[i] = (float)byte[i] / 255.0f;
}

static reel_status check_sample(const reel_sample *s)
{
    if (!s->data || (s->dtype != REEL_U8 && s->dtype != REEL_F32))
        return reel_fail(REEL_ERR_DTYPE,
                         "loader: the sample is %s of %s, expected data of "
                         "u8 or f32",
                         s->data ? "data" : "nothing", reel_dtype_name(s->dtype));
    if (s->image && s->shape.rank != 3)
        return reel_fail(REEL_ERR_SHAPE,
                         "loader: the image has rank %d, expected [h, w, c]",
                         s->shape.rank);
    return REEL_OK;
}

/* Samples [begin, end) of the epoch's order, those that the data set has. */
static reel_status gather(const reel_loader *l, int64_t epoch, int64_t begin, int64_t end,
                          const int64_t *order, reel_sample *s, reel__filled *out)
{
    reel_shape shape = REEL_SCALAR;
    int64_t size = 0;
    for (int64_t i = begin; i < end; i++) {
        int64_t index = order ? order[i] : i;
        if (reel_dataset_get(l->ds, index, s)) return reel_error_status();
        if (s->skip) continue;
        if (check_sample(s)) return reel_error_status();
        reel_draw d = reel_draw_new(l->seed, (uint64_t)epoch, (uint64_t)index);
        if (l->transform && reel_transform_apply(l->transform, s, &d))
            return reel_error_status();
        if (out->n == 0) {
            if (allocate(out, end - begin, s)) return reel_error_status();
            shape = s->shape;
            size = elements(shape);
        }
        if (!same_shape(shape, s->shape) || s->image != out->image)
            return reel_fail(REEL_ERR_SHAPE,
                             "loader: samples %lld and %lld differ in shape; a resize or "
                             "crop would make them equal",
                             (long long)out->samples[0], (long long)index);
        write_row((float *)reel_data(out->x) + out->n * size, s, size);
        ((int64_t *)reel_data(out->y))[out->n] = s->label;
        out->samples[out->n++] = index;
    }
    return REEL_OK;
}

/* Shortens x and y to the rows in use. */
static void drop_unused_rows(reel__filled *out, int64_t rows)
{
    if (out->n == 0 || out->n == rows) return;
    reel_tensor *x = reel_keep(reel_narrow(out->x, 0, 0, out->n));
    reel_tensor *y = reel_keep(reel_narrow(out->y, 0, 0, out->n));
    reel_release(out->x);
    reel_release(out->y);
    out->x = x;
    out->y = y;
}

void reel__loader_fill(const reel_loader *l, int64_t g, const int64_t *order,
                       reel_sample *scratch, reel__filled *out)
{
    int64_t epoch = g / l->batches, begin = g % l->batches * l->batch;
    int64_t end = begin + l->batch < l->length ? begin + l->batch : l->length;
    *out = (reel__filled){0};

    reel_device device = reel_default_device();
    reel_set_default_device((reel_device){REEL_CPU, 0});
    reel_scope scope = reel_scope_begin();
    out->samples = reel__malloc((size_t)(end - begin) * sizeof *out->samples);
    if (out->samples && !gather(l, epoch, begin, end, order, scratch, out))
        drop_unused_rows(out, end - begin);
    reel_scope_end(scope);
    reel_set_default_device(device);

    if (reel_failed()) {
        reel__filled_clear(out);
        out->status = reel_error_status();
        snprintf(out->message, sizeof out->message, "%s", reel_error_message());
        reel_error_clear();
    }
}
