/* gather.c: GATHER, SCATTER_ADD, ONE_HOT: an index for each element. */
#include <string.h>

#include "backend/cpu/elem.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/walk.h"
#include "base/alloc.h"
#include "base/int64.h"
#include "base/parallel.h"

enum {
    WORK = 16384, /* elements that are worth a task                          */
    LINES = 256,  /* lines of SCATTER_ADD that advance together along `dim`  */
    IN_F32 = 8,   /* numbers that are added in f32: as many as SUM joins so  */
    NEAR = 32768  /* totals that are worked on together: in L2               */
};

/* ---- GATHER ------------------------------------------------------------------------ */

typedef struct gathering {
    reel__axis
        axis[REEL_MAX_RANK]; /* the output's (a), and the input's without `dim` (b) */
    int n;
    char *y;
    const char *x;
    int64_t step, size; /* of x along dim, in elements; bytes of an element */
    const int64_t *index;
} gathering;

/* Elements begin .. end - 1 of the output, in logical order. */
static void gather_elements(void *ctx, int64_t begin, int64_t end)
{
    const gathering *g = ctx;
    const int64_t a = g->axis[g->n - 1].a, b = g->axis[g->n - 1].b;
    reel__walk w = reel__match_walk(g->axis, g->n, begin);
    for (int64_t i = begin, run; i < end; i += run) {
        const int64_t *index = g->index + i;
        char *y = g->y + w.a * g->size;
        const char *x = g->x + w.b * g->size;
        run = min64(end - i, reel__walk_run(&w));
#define GATHER_AS(type)                                                                  \
    for (int64_t e = 0; e < run; e++)                                                    \
    ((type *)(void *)y)[e * a] =                                                         \
        ((const type *)(const void *)x)[e * b + index[e] * g->step]
        switch (g->size) {
        case 1: GATHER_AS(reel_bits8); break;
        case 2: GATHER_AS(reel_bits16); break;
        case 4: GATHER_AS(reel_bits32); break;
        default: GATHER_AS(reel_bits64); break;
        }
#undef GATHER_AS
        reel__walk_step(&w, run);
    }
}

reel_status reel__ref_gather(const reel__kcall *c)
{
    const reel__index_attrs *attrs = c->attrs;
    const reel__meta *x = c->in[0].meta, *y = c->out[0].meta;
    gathering g = {.y = c->out[0].data, .x = c->in[0].data};
    reel__meta across = *x;
    reel__indices index;
    reel_status status = reel__indices_load(&index, &c->in[1], "gather", attrs->dim,
                                            x->rank > 0 ? x->dim[attrs->dim] : 1);
    if (status != REEL_OK) return status;
    if (x->rank > 0) {
        g.step = x->stride[attrs->dim];
        across.stride[attrs->dim] = 0;
    }
    g.n = reel__axes(y, &across, g.axis);
    g.size = (int64_t)reel_dtype_size(x->dtype);
    g.index = index.at;
    reel__parallel_range(index.n, WORK, gather_elements, &g);
    reel__indices_free(&index);
    return REEL_OK;
}

/* ---- SCATTER_ADD ------------------------------------------------------------------- */

/* A line is all indices along `dim` at one place in the other dimensions. Two lines never
 * meet in the output, so lines are what is done in parallel. Where an element may receive more
 * than SUM would add in f32, a few lines of an f32 at a time become totals in f64 in a room of
 * the worker's own. */
typedef struct scattering {
    reel__axis axis[REEL_MAX_RANK];       /* lines in the output (a) and in src (b) */
    reel__axis index_axis[REEL_MAX_RANK]; /* the same lines in the index (a)        */
    int n;
    char *y;
    const char *src;
    reel_dtype dtype;
    const int64_t *index;
    reel__axis along; /* `dim` in the output (a) and in src (b) */
    int64_t index_step;
    int64_t length;       /* of the output along `dim`            */
    int64_t together;     /* lines that advance together          */
    int64_t lines, grain; /* in all, and in a task                */
    double *rooms;        /* one a worker; NULL: no totals in f64 */
    int64_t room;         /* doubles in one                       */
} scattering;

/* Adds `lines` lines of src to those at y, whose elements along `dim` are `along` apart. */
#define SCATTER_RUN(name, type, acc, sum)                                                \
    static void name(const scattering *s, acc *y, int64_t along, int64_t y_step,         \
                     const type *src, int64_t src_step, const int64_t *index,            \
                     int64_t index_step, int64_t lines)                                  \
    {                                                                                    \
        for (int64_t j = 0; j < s->along.size; j++) {                                    \
            for (int64_t e = 0; e < lines; e++) {                                        \
                acc *to = y + e * y_step + index[e * index_step] * along;                \
                *to = (acc)((sum)*to + (sum)src[e * src_step]);                          \
            }                                                                            \
            src += s->along.b;                                                           \
            index += s->index_step;                                                      \
        }                                                                                \
    }
SCATTER_RUN(scatter_f32, float, float, float)
SCATTER_RUN(scatter_totals, float, double, double)
SCATTER_RUN(scatter_f64, double, double, double)
SCATTER_RUN(scatter_i64, int64_t, int64_t, uint64_t)

/* The lines at y as totals in `room`, and back; a line of its own in one run. */
static void scatter_wide(const scattering *s, float *y, int64_t y_step, const float *src,
                         int64_t src_step, const int64_t *index, int64_t index_step,
                         int64_t lines, double *room)
{
    const reel__elem_rows *elem = reel__elem_rows_of_isa();
    const bool one = lines == 1;
    const int64_t rows = one ? 1 : s->length, cols = one ? s->length : lines;
    const int64_t row = one ? 0 : s->along.a, col = one ? s->along.a : y_step;
    elem->load[REEL_PW_F64][REEL_F32](rows, cols, room, y, row, col);
    scatter_totals(s, room, lines, 1, src, src_step, index, index_step, lines);
    elem->store[REEL_PW_F64][REEL_F32](rows, cols, y, row, col, room);
}

static void scatter_task(void *ctx, int64_t task, int worker)
{
    const scattering *s = ctx;
    const int64_t a = s->axis[s->n - 1].a, b = s->axis[s->n - 1].b;
    const int64_t i = s->index_axis[s->n - 1].a, begin = task * s->grain;
    double *room = s->rooms ? s->rooms + worker * s->room : NULL;
    reel__walk w = reel__match_walk(s->axis, s->n, begin);
    reel__walk at = reel__match_walk(s->index_axis, s->n, begin);
    for (int64_t left = min64(s->grain, s->lines - begin), run; left > 0; left -= run) {
        run = min64(min64(left, s->together), reel__walk_run(&w));
        const int64_t *index = s->index + at.a;
#define LINES_OF(type) (type *)(void *)s->y + w.a
#define SRC_OF(type) (const type *)(const void *)s->src + w.b, b, index, i, run
        if (room)
            scatter_wide(s, LINES_OF(float), a, SRC_OF(float), room);
        else if (s->dtype == REEL_F32)
            scatter_f32(s, LINES_OF(float), s->along.a, a, SRC_OF(float));
        else if (s->dtype == REEL_F64)
            scatter_f64(s, LINES_OF(double), s->along.a, a, SRC_OF(double));
        else
            scatter_i64(s, LINES_OF(int64_t), s->along.a, a, SRC_OF(int64_t));
#undef LINES_OF
#undef SRC_OF
        reel__walk_step(&w, run);
        reel__walk_step(&at, run);
    }
}

static scattering lines_of(const reel__kcall *c, int64_t dim)
{
    const reel__meta *index = c->in[1].meta, *src = c->in[2].meta, *y = c->out[0].meta;
    scattering s = {.y = c->out[0].data, .src = c->in[2].data, .dtype = y->dtype};
    reel__meta dense = *index;
    reel__set_contiguous(&dense); /* what reel__indices_load() makes of it */
    s.along = (reel__axis){.size = 1};
    s.length = y->rank > 0 ? y->dim[dim] : 1;
    for (int d = 0; d < index->rank; d++) {
        if (d == dim) {
            s.along = (reel__axis){index->dim[d], y->stride[d], src->stride[d]};
            s.index_step = dense.stride[d];
            continue;
        }
        s.axis[s.n] = (reel__axis){index->dim[d], y->stride[d], src->stride[d]};
        s.index_axis[s.n++] = (reel__axis){index->dim[d], dense.stride[d], 0};
    }
    if (s.n == 0) {
        s.axis[0] = s.index_axis[0] = (reel__axis){.size = 1};
        s.n = 1;
    }
    /* Through memory in its order: where `dim` is the nearer one, line by line. */
    int64_t across = s.axis[s.n - 1].a, along = s.along.a;
    bool nearer = (across < 0 ? -across : across) < (along < 0 ? -along : along);
    s.together = nearer ? LINES : 1;
    return s;
}

/* Rooms for totals, where they are needed: of as many lines as stay near, or as make a line of
 * the cache. */
static bool take_rooms(scattering *s)
{
    if (s->dtype != REEL_F32 || s->along.size <= IN_F32) return true;
    int64_t near = NEAR / (s->length > 0 ? s->length : 1);
    if (s->together > 1) s->together = near > LINES ? LINES : near > 16 ? near : 16;
    s->room = s->length * s->together;
    s->rooms = reel__scratch((size_t)(reel__max_workers() * s->room) * sizeof *s->rooms);
    return s->rooms != NULL;
}

static reel_status scatter(const reel__kcall *c, const reel__indices *index)
{
    scattering s = lines_of(c, ((const reel__index_attrs *)c->attrs)->dim);
    reel__copy_strided(c->out[0].data, c->out[0].meta, c->in[0].data, c->in[0].meta);
    if (index->n == 0) return REEL_OK;
    if (!take_rooms(&s)) return REEL_ERR_MEMORY;
    s.index = index->at;
    s.lines = index->n / s.along.size;
    s.grain = 1 + WORK / s.along.size;
    reel__parallel((s.lines + s.grain - 1) / s.grain, scatter_task, &s);
    reel__scratch_free(s.rooms);
    return REEL_OK;
}

reel_status reel__ref_scatter_add(const reel__kcall *c)
{
    const reel__index_attrs *attrs = c->attrs;
    const reel__meta *x = c->in[0].meta;
    const reel_dtype dtype = c->out[0].meta->dtype;
    reel__indices index;
    if (dtype != REEL_F32 && dtype != REEL_F64 && dtype != REEL_I64)
        return reel_fail(REEL_ERR_DTYPE, "scatter_add: not for dtype %s",
                         reel_dtype_name(dtype));
    reel_status status = reel__indices_load(&index, &c->in[1], "scatter_add", attrs->dim,
                                            x->rank > 0 ? x->dim[attrs->dim] : 1);
    if (status != REEL_OK) return status;
    status = scatter(c, &index);
    reel__indices_free(&index);
    return status;
}

/* ---- ONE_HOT ----------------------------------------------------------------------- */

typedef struct hot {
    reel__axis axis[REEL_MAX_RANK]; /* the index's dims, in the output (a) */
    int n;
    char *y;
    int64_t classes, step; /* the last dimension of the output */
    int64_t size;          /* bytes of an element              */
    const int64_t *index;
    uint64_t one; /* 1 in the dtype of the output */
} hot;

static void hot_rows(void *ctx, int64_t begin, int64_t end)
{
    static const char zeros[8] = {0};
    const hot *h = ctx;
    reel__walk w = reel__match_walk(h->axis, h->n, begin);
    for (int64_t i = begin; i < end; i++) {
        char *y = h->y + w.a * h->size;
        if (h->step == 1)
            memset(y, 0, (size_t)(h->classes * h->size));
        else
            reel__copy_run(y, h->step, zeros, 0, h->classes, (size_t)h->size);
        memcpy(y + h->index[i] * h->step * h->size, &h->one, (size_t)h->size);
        reel__walk_step(&w, 1);
    }
}

reel_status reel__ref_one_hot(const reel__kcall *c)
{
    const reel__meta *y = c->out[0].meta, number = {.dtype = REEL_F64};
    const int last = y->rank - 1;
    const double one = 1;
    reel__meta rows = *y, scalar = {.dtype = y->dtype};
    reel__indices index;
    hot h = {.y = c->out[0].data, .classes = y->dim[last], .step = y->stride[last]};
    reel_status status =
        reel__indices_load(&index, &c->in[0], "one_hot", last, h.classes);
    if (status != REEL_OK) return status;
    rows.rank = last;
    h.n = reel__axes(&rows, NULL, h.axis);
    h.size = (int64_t)reel_dtype_size(y->dtype);
    h.index = index.at;
    reel__copy_strided(&h.one, &scalar, &one, &number);
    reel__parallel_range(index.n, 1 + WORK / (h.classes + 64), hot_rows, &h);
    reel__indices_free(&index);
    return REEL_OK;
}
