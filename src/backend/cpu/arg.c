/* arg.c: ARGMAX and ARGMIN of any dtype: the first extreme in logical order, NaN before
 * all.
 *
 * A block of reduced elements is brought together in a buffer, in a type that holds its
 * values exactly; the extreme of the block is found by the loops of AMAX and AMIN, and
 * only a block that beats the best so far is searched for the place. */
#include <math.h>

#include "backend/cpu/isa/reduce.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/reduce_plan.h"
#include "base/alloc.h"
#include "base/parallel.h"

enum {
    BLOCK = 1024, /* elements in the buffer, at most 8 bytes each */
    WORK = 32768  /* elements that are worth a task               */
};

typedef struct best {
    reel__acc value;
    int64_t at; /* -1: nothing yet */
} best;

typedef struct arg_job {
    reel__reduce_plan plan;
    const char *x;
    int64_t *y;
    reel_dtype dtype, key; /* of the elements; of the buffer */
    size_t size;
    bool want_max;
    reel__reduce_fns fns;  /* extremes of the key */
    int64_t chunk, chunks; /* of the reduced elements of each output */
    best *partial;         /* [outputs][chunks] */
} arg_job;

/* Halves are compared as f32, the other dtypes as they are. */
static reel_dtype key_of(reel_dtype dtype)
{
    return dtype == REEL_F16 || dtype == REEL_BF16 ? REEL_F32 : dtype;
}

static bool beats(const arg_job *j, reel__acc a, reel__acc b)
{
    if (reel_dtype_is_float(j->key))
        return (j->want_max ? a.f > b.f : a.f < b.f) || (a.f != a.f && b.f == b.f);
    return j->want_max ? a.i > b.i : a.i < b.i;
}

/* First place of `value`, which is among the n elements; NaN stands for any NaN. */
static int64_t find(reel_dtype key, const void *x, int64_t n, reel__acc value)
{
    int64_t i = 0;
#define FIND_AS(type, same)                                                              \
    for (const type *p = x; i < n && !(same); i++) {}
    switch (key) {
    case REEL_F32:
        if (value.f != value.f)
            FIND_AS(float, p[i] != p[i])
        else
            FIND_AS(float, (double)p[i] == value.f)
        break;
    case REEL_F64:
        if (value.f != value.f)
            FIND_AS(double, p[i] != p[i])
        else
            FIND_AS(double, p[i] == value.f)
        break;
    case REEL_I64: FIND_AS(int64_t, p[i] == value.i) break;
    case REEL_I32: FIND_AS(int32_t, p[i] == value.i) break;
    case REEL_I8: FIND_AS(int8_t, p[i] == value.i) break;
    default: FIND_AS(uint8_t, p[i] == value.i) break;
    }
#undef FIND_AS
    return i;
}

/* The next n elements of the walk, without gaps and as keys. */
static const void *block_at(const arg_job *j, const char *x, reel__walk *w, int64_t n,
                            void *room)
{
    bool is_half = j->key != j->dtype;
    uint16_t halves[BLOCK];
    if (!is_half && w->axis[w->n - 1].a == 1 && reel__walk_run(w) >= n) {
        const void *here = x + w->a * (int64_t)j->size;
        reel__walk_step(w, n);
        return here;
    }
    reel__walk_gather(is_half ? halves : room, x, w, n, j->size);
    if (j->dtype == REEL_F16)
        reel__f16_to_f32(halves, room, n);
    else if (j->dtype == REEL_BF16)
        reel__bf16_to_f32(halves, room, n);
    return room;
}

static best search(const arg_job *j, int64_t output, int64_t begin, int64_t end)
{
    const reel__reduce_plan *p = &j->plan;
    reel__walk kept = reel__match_walk(p->kept, p->n_kept, output);
    reel__walk w = reel__match_walk(p->reduced, p->n_reduced, begin);
    const char *x = j->x + kept.a * (int64_t)j->size;
    best found = {.at = -1};
    for (int64_t i = begin, n; i < end; i += n) {
        int64_t room[BLOCK];
        n = end - i < BLOCK ? end - i : BLOCK;
        const void *block = block_at(j, x, &w, n, room);
        reel__acc value = {.i = j->want_max ? INT64_MIN : INT64_MAX};
        if (reel_dtype_is_float(j->key)) value.f = j->want_max ? -INFINITY : INFINITY;
        j->fns.rows(block, 1, 0, n, NULL, &value);
        if (found.at < 0 || beats(j, value, found.value))
            found = (best){value, i + find(j->key, block, n, value)};
    }
    return found;
}

static void store(const arg_job *j, int64_t output, best found)
{
    reel__walk kept = reel__match_walk(j->plan.kept, j->plan.n_kept, output);
    j->y[kept.b] = found.at;
}

static void whole_outputs(void *ctx, int64_t begin, int64_t end)
{
    const arg_job *j = ctx;
    for (int64_t o = begin; o < end; o++) store(j, o, search(j, o, 0, j->plan.length));
}

static void one_chunk(void *ctx, int64_t i, int worker)
{
    const arg_job *j = ctx;
    int64_t begin = i % j->chunks * j->chunk, end = begin + j->chunk;
    (void)worker;
    j->partial[i] =
        search(j, i / j->chunks, begin, end < j->plan.length ? end : j->plan.length);
}

static reel_status in_chunks(arg_job *j)
{
    int64_t tasks = j->plan.outputs * j->chunks;
    j->partial = reel__scratch((size_t)tasks * sizeof *j->partial);
    if (!j->partial) return reel_error_status();
    reel__parallel(tasks, one_chunk, j);
    for (int64_t o = 0; o < j->plan.outputs; o++) {
        const best *part = j->partial + o * j->chunks;
        best found = part[0];
        for (int64_t c = 1; c < j->chunks; c++)
            if (beats(j, part[c].value, found.value)) found = part[c];
        store(j, o, found);
    }
    reel__scratch_free(j->partial);
    return REEL_OK;
}

static reel_status arg(const reel__kcall *c, bool want_max)
{
    const reel__mask_attrs *attrs = c->attrs;
    const reel__meta *x = c->in[0].meta, *y = c->out[0].meta;
    arg_job j = {.plan = reel__plan_reduction(x, y, attrs->mask, true),
                 .want_max = want_max};
    j.dtype = x->dtype;
    j.key = key_of(x->dtype);
    j.size = reel_dtype_size(x->dtype);
    j.x = (const char *)c->in[0].data + j.plan.x0 * (int64_t)j.size;
    j.y = (int64_t *)c->out[0].data + j.plan.y0;
    j.fns =
        REEL_ISA_PICK(reduce)->fn[want_max ? REEL_REDUCE_AMAX : REEL_REDUCE_AMIN][j.key];
    if (j.plan.outputs == 0) return REEL_OK;
    if (j.plan.length == 0)
        return reel_fail(REEL_ERR_SHAPE, "%s: there is no extreme of 0 elements",
                         want_max ? "argmax" : "argmin");
    j.chunk = WORK;
    j.chunks = j.plan.outputs < WORK / BLOCK ? (j.plan.length + WORK - 1) / WORK : 1;
    if (j.chunks > 1) return in_chunks(&j);
    reel__parallel_range(j.plan.outputs, 1 + WORK / (j.plan.length + 64), whole_outputs,
                         &j);
    return REEL_OK;
}

reel_status reel__ref_argmax(const reel__kcall *c)
{
    return arg(c, true);
}
reel_status reel__ref_argmin(const reel__kcall *c)
{
    return arg(c, false);
}
