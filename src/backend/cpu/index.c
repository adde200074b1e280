/* index.c: INDEX_SELECT and INDEX_ADD: whole slices along one dimension, picked or added
 * up. With dimension 0 of a matrix they are an embedding and its gradient. */
#include <string.h>

#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/walk.h"
#include "base/alloc.h"
#include "base/parallel.h"

enum { WORK = 16384 }; /* elements that are worth a task */

/* A slice as rows: the dimensions other than `dim`, of output (a) and input (b). */
typedef struct slices {
    reel_axis axis[REEL_MAX_RANK];
    int n;
    int64_t rows;    /* runs along the innermost axis in a slice */
    reel_axis along; /* `dim` itself; size as in the index       */
    char *y;
    const char *x;
    reel_dtype dtype;
    int64_t size; /* bytes of an element */
    reel_indices index;
    const int64_t *start, *order; /* INDEX_ADD: see sort_by_target() */
} slices;

static slices slices_of(const reel_kcall *c, int64_t dim)
{
    const reel_meta *x = c->in[0].meta, *y = c->out[0].meta;
    slices s = {.y = c->out[0].data, .x = c->in[0].data, .dtype = x->dtype, .rows = 1};
    s.size = (int64_t)reel_dtype_size(x->dtype);
    s.along = (reel_axis){.a = y->stride[dim], .b = x->stride[dim]};
    for (int d = 0; d < x->rank; d++)
        if (d != dim) s.axis[s.n++] = (reel_axis){x->dim[d], y->stride[d], x->stride[d]};
    reel__axes_sort(s.axis, s.n);
    s.n = reel__axes_merge(s.axis, s.n);
    for (int d = 0; d < s.n - 1; d++) s.rows *= s.axis[d].size;
    return s;
}

/* ---- INDEX_SELECT ------------------------------------------------------------------ */

/* Rows begin .. end - 1 of all slices of the output. */
static void select_rows(void *ctx, int64_t begin, int64_t end)
{
    const slices *s = ctx;
    const reel_axis *run = &s->axis[s->n - 1];
    reel_walk w = reel__walk(s->axis, s->n, begin % s->rows * run->size);
    for (int64_t r = begin; r < end; r++) {
        int64_t i = r / s->rows;
        if (r % s->rows == 0) w = reel__walk(s->axis, s->n, 0);
        reel__copy_run(s->y + (i * s->along.a + w.a) * s->size, run->a,
                       s->x + (s->index.at[i] * s->along.b + w.b) * s->size, run->b,
                       run->size, (size_t)s->size);
        reel__walk_step(&w, run->size);
    }
}

reel_status reel__ref_index_select(const reel_kcall *c)
{
    const reel_index_attrs *attrs = c->attrs;
    slices s = slices_of(c, attrs->dim);
    reel_status status = reel__indices_load(&s.index, &c->in[1], "index_select",
                                            attrs->dim, c->in[0].meta->dim[attrs->dim]);
    if (status != REEL_OK) return status;
    if (reel__numel(c->out[0].meta) > 0)
        reel__parallel_range(s.index.n * s.rows, 1 + WORK / (s.axis[s.n - 1].size + 64),
                             select_rows, &s);
    reel__indices_free(&s.index);
    return REEL_OK;
}

/* ---- INDEX_ADD --------------------------------------------------------------------- */

#define ADD_RUN(type, acc)                                                               \
    static void add_run_##type(type *y, int64_t y_step, const type *x, int64_t x_step,   \
                               int64_t n)                                                \
    {                                                                                    \
        if (y_step == 1 && x_step == 1)                                                  \
            for (int64_t i = 0; i < n; i++) y[i] = (type)((acc)y[i] + (acc)x[i]);        \
        else                                                                             \
            for (int64_t i = 0; i < n; i++)                                              \
                y[i * y_step] = (type)((acc)y[i * y_step] + (acc)x[i * x_step]);         \
    }
ADD_RUN(float, float)
ADD_RUN(double, double)
ADD_RUN(int64_t, uint64_t)

/* Rows begin .. end - 1 of all slices of the output: each is cleared, then receives what
 * is meant for it in the order of the index, whoever else writes other rows meanwhile. */
static void add_rows(void *ctx, int64_t begin, int64_t end)
{
    static const char zeros[8] = {0};
    const slices *s = ctx;
    const reel_axis *run = &s->axis[s->n - 1];
    reel_walk w = reel__walk(s->axis, s->n, begin % s->rows * run->size);
    for (int64_t r = begin; r < end; r++) {
        int64_t target = r / s->rows;
        if (r % s->rows == 0) w = reel__walk(s->axis, s->n, 0);
        void *y = s->y + (target * s->along.a + w.a) * s->size;
        if (run->a == 1)
            memset(y, 0, (size_t)(run->size * s->size));
        else
            reel__copy_run(y, run->a, zeros, 0, run->size, (size_t)s->size);
        for (int64_t k = s->start[target]; k < s->start[target + 1]; k++) {
            const void *x = s->x + (s->order[k] * s->along.b + w.b) * s->size;
            switch (s->dtype) {
            case REEL_F32: add_run_float(y, run->a, x, run->b, run->size); break;
            case REEL_F64: add_run_double(y, run->a, x, run->b, run->size); break;
            default: add_run_int64_t(y, run->a, x, run->b, run->size); break;
            }
        }
        reel__walk_step(&w, run->size);
    }
}

/* Counting sort of the positions by the slice that they go to: those of slice t are
 * order[start[t]] .. order[start[t + 1] - 1], ascending. start has targets + 2 places. */
static void sort_by_target(const reel_indices *index, int64_t targets, int64_t *start,
                           int64_t *order)
{
    memset(start, 0, (size_t)(targets + 2) * sizeof *start);
    for (int64_t i = 0; i < index->n; i++) start[index->at[i] + 2]++;
    for (int64_t t = 2; t < targets + 2; t++) start[t] += start[t - 1];
    /* start[t + 1] is where slice t begins, and moves to where it ends */
    for (int64_t i = 0; i < index->n; i++) order[start[index->at[i] + 1]++] = i;
}

reel_status reel__ref_index_add(const reel_kcall *c)
{
    const reel_index_attrs *attrs = c->attrs;
    const int64_t targets = attrs->size;
    slices s = slices_of(c, attrs->dim);
    if (s.dtype != REEL_F32 && s.dtype != REEL_F64 && s.dtype != REEL_I64)
        return reel_fail(REEL_ERR_DTYPE, "index_add: not for dtype %s",
                         reel_dtype_name(s.dtype));
    reel_status status =
        reel__indices_load(&s.index, &c->in[1], "index_add", attrs->dim, targets);
    if (status != REEL_OK) return status;
    int64_t *room = reel__scratch((size_t)(targets + 2 + s.index.n) * sizeof *room);
    if (room && reel__numel(c->out[0].meta) > 0) {
        sort_by_target(&s.index, targets, room, room + targets + 2);
        s.start = room;
        s.order = room + targets + 2;
        /* work of a row: clearing it, and its share of what is added */
        int64_t work = (s.axis[s.n - 1].size + 64) * (1 + s.index.n / targets);
        reel__parallel_range(targets * s.rows, 1 + WORK / work, add_rows, &s);
    }
    reel__scratch_free(room);
    reel__indices_free(&s.index);
    return room ? REEL_OK : reel_error_status();
}
