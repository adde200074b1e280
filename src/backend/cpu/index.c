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
    reel__axis axis[REEL_MAX_RANK];
    int n;
    int64_t rows;     /* runs along the innermost axis in a slice */
    reel__axis along; /* `dim` itself; size as in the index       */
    char *y;
    const char *x;
    reel_dtype dtype;
    int64_t size; /* bytes of an element */
    reel__indices index;
    const int64_t *start, *order; /* INDEX_ADD: see sort_by_target() */
} slices;

static slices slices_of(const reel__kcall *c, int64_t dim)
{
    const reel__meta *x = c->in[0].meta, *y = c->out[0].meta;
    slices s = {.y = c->out[0].data, .x = c->in[0].data, .dtype = x->dtype, .rows = 1};
    s.size = (int64_t)reel_dtype_size(x->dtype);
    s.along = (reel__axis){.a = y->stride[dim], .b = x->stride[dim]};
    for (int d = 0; d < x->rank; d++)
        if (d != dim) s.axis[s.n++] = (reel__axis){x->dim[d], y->stride[d], x->stride[d]};
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
    const reel__axis *run = &s->axis[s->n - 1];
    reel__walk w = reel__match_walk(s->axis, s->n, begin % s->rows * run->size);
    for (int64_t r = begin; r < end; r++) {
        int64_t i = r / s->rows;
        if (r % s->rows == 0) w = reel__match_walk(s->axis, s->n, 0);
        reel__copy_run(s->y + (i * s->along.a + w.a) * s->size, run->a,
                       s->x + (s->index.at[i] * s->along.b + w.b) * s->size, run->b,
                       run->size, (size_t)s->size);
        reel__walk_step(&w, run->size);
    }
}

reel_status reel__ref_index_select(const reel__kcall *c)
{
    const reel__index_attrs *attrs = c->attrs;
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

enum {
    TREE = 8,    /* slices that are joined before they are added to the totals */
    TOTALS = 256 /* elements whose totals are in L1 together */
};

/* What slices order[0 .. n - 1] have along one run, from x on, summed into y. A few are added as
 * they come, more as the kernel of SUM does it: by trees in the type itself and totals in a wider
 * one, rounded once. `step` is x's. */
#define ADD_RUN(type, acc, sum)                                                          \
    static void add_few_##type(type *y, int64_t y_step, const type *x, int64_t slice,    \
                               int64_t step, const int64_t *order, int64_t n,            \
                               int64_t size)                                             \
    {                                                                                    \
        if (y_step == 1)                                                                 \
            memset(y, 0, (size_t)size * sizeof *y);                                      \
        else                                                                             \
            for (int64_t i = 0; i < size; i++) y[i * y_step] = 0;                        \
        for (int64_t k = 0; k < n; k++) {                                                \
            const type *p = x + order[k] * slice;                                        \
            if (y_step == 1 && step == 1)                                                \
                for (int64_t i = 0; i < size; i++) y[i] = (type)((sum)y[i] + (sum)p[i]); \
            else                                                                         \
                for (int64_t i = 0; i < size; i++)                                       \
                    y[i * y_step] = (type)((sum)y[i * y_step] + (sum)p[i * step]);       \
        }                                                                                \
    }                                                                                    \
    static inline __attribute__((always_inline)) void add_to_totals_##type(              \
        const type *x, int64_t slice, int64_t step, const int64_t *order, int64_t n,     \
        acc *total, int64_t size)                                                        \
    {                                                                                    \
        for (; n >= TREE; n -= TREE, order += TREE) {                                    \
            const type *p[TREE];                                                         \
            for (int k = 0; k < TREE; k++) p[k] = x + order[k] * slice;                  \
            for (int64_t i = 0; i < size; i++) {                                         \
                int64_t at = i * step;                                                   \
                sum a = (sum)p[0][at] + (sum)p[1][at];                                   \
                sum b = (sum)p[2][at] + (sum)p[3][at];                                   \
                sum c = (sum)p[4][at] + (sum)p[5][at];                                   \
                sum d = (sum)p[6][at] + (sum)p[7][at];                                   \
                total[i] += (acc)((a + b) + (c + d));                                    \
            }                                                                            \
        }                                                                                \
        for (; n > 0; n--, order++) {                                                    \
            const type *p = x + *order * slice;                                          \
            for (int64_t i = 0; i < size; i++) total[i] += (acc)p[i * step];             \
        }                                                                                \
    }                                                                                    \
    static void add_run_##type(type *y, int64_t y_step, const type *x, int64_t slice,    \
                               int64_t step, const int64_t *order, int64_t n,            \
                               int64_t size)                                             \
    {                                                                                    \
        if (n <= TREE) {                                                                 \
            add_few_##type(y, y_step, x, slice, step, order, n, size);                   \
            return;                                                                      \
        }                                                                                \
        for (int64_t at = 0; at < size; at += TOTALS) {                                  \
            acc total[TOTALS] = {0};                                                     \
            int64_t count = size - at < TOTALS ? size - at : TOTALS;                     \
            if (step == 1) /* said as a constant: neighbours are vectorized */           \
                add_to_totals_##type(x + at, slice, 1, order, n, total, count);          \
            else                                                                         \
                add_to_totals_##type(x + at * step, slice, step, order, n, total,        \
                                     count);                                             \
            for (int64_t i = 0; i < count; i++) y[(at + i) * y_step] = (type)total[i];   \
        }                                                                                \
    }
ADD_RUN(float, double, float)
ADD_RUN(double, double, double)
ADD_RUN(int64_t, uint64_t, uint64_t)

/* Rows begin .. end - 1 of all slices of the output: each receives what is meant for it in
 * the order of the index, whoever else writes other rows meanwhile. */
static void add_rows(void *ctx, int64_t begin, int64_t end)
{
    const slices *s = ctx;
    const reel__axis *run = &s->axis[s->n - 1];
    reel__walk w = reel__match_walk(s->axis, s->n, begin % s->rows * run->size);
    for (int64_t r = begin; r < end; r++) {
        int64_t target = r / s->rows;
        if (r % s->rows == 0) w = reel__match_walk(s->axis, s->n, 0);
        void *y = s->y + (target * s->along.a + w.a) * s->size;
        const void *x = s->x + w.b * s->size;
        const int64_t *order = s->order + s->start[target];
        int64_t n = s->start[target + 1] - s->start[target];
#define ADD_AS(type) add_run_##type(y, run->a, x, s->along.b, run->b, order, n, run->size)
        switch (s->dtype) {
        case REEL_F32: ADD_AS(float); break;
        case REEL_F64: ADD_AS(double); break;
        default: ADD_AS(int64_t); break;
        }
#undef ADD_AS
        reel__walk_step(&w, run->size);
    }
}

/* Counting sort of the positions by the slice that they go to: those of slice t are
 * order[start[t]] .. order[start[t + 1] - 1], ascending. start has targets + 2 places. */
static void sort_by_target(const reel__indices *index, int64_t targets, int64_t *start,
                           int64_t *order)
{
    memset(start, 0, (size_t)(targets + 2) * sizeof *start);
    for (int64_t i = 0; i < index->n; i++) start[index->at[i] + 2]++;
    for (int64_t t = 2; t < targets + 2; t++) start[t] += start[t - 1];
    /* start[t + 1] is where slice t begins, and moves to where it ends */
    for (int64_t i = 0; i < index->n; i++) order[start[index->at[i] + 1]++] = i;
}

reel_status reel__ref_index_add(const reel__kcall *c)
{
    const reel__index_attrs *attrs = c->attrs;
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
