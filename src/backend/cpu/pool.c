/* pool.c: fast pooling in f32 of channels-last [n, c, h, w], vectors along the channels.
 * Average and adaptive pooling differ in their windows alone, which a plan holds as
 * tables; a task is a run of rows of the result. */
#include "backend/cpu/isa/pool.h"
#include "backend/cpu/kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

enum { TASK_FLOATS = 16384 }; /* of the larger side, in one task */

/* ---- plan -------------------------------------------------------------------------- */

/* Which outputs reach over each input. Windows come in order, so these are ranges. */
static void invert(const reel__pool_axis *axis, reel__window *covered)
{
    for (int64_t i = 0; i < axis->size; i++) covered[i] = (reel__window){0, 0, 0};
    for (int64_t o = 0; o < axis->outs; o++)
        for (int64_t i = axis->window[o].begin; i < axis->window[o].end; i++) {
            if (covered[i].begin == covered[i].end) covered[i].begin = o;
            covered[i].end = o + 1;
        }
}

/* Fills one axis; `table` has room for outs + size windows, `share` for outs. */
static void plan_axis(reel__pool_axis *axis, const reel__pool2d_attrs *a, int which,
                      reel__window_rule rule, reel__window *table, float *share)
{
    for (int64_t o = 0; o < axis->outs; o++) {
        table[o] = rule(a, which, o, axis->outs, axis->size);
        const bool empty = table[o].begin >= table[o].end || table[o].count == 0;
        share[o] = empty ? 0 : 1 / (float)table[o].count;
    }
    axis->share = share;
    axis->window = table;
    axis->covered = table + axis->outs;
    axis->step = rule == reel__max_window ? reel__window_step(a, which, axis->size) : 1;
    invert(axis, table + axis->outs);
}

/* The plan of pooling x into y. Returns the tables, for reel__scratch_free; NULL if there
 * is no memory. */
static void *make_plan(reel__pool_plan *plan, const reel__meta *x, const reel__meta *y,
                       const reel__pool2d_attrs *a, reel__window_rule rule)
{
    *plan = (reel__pool_plan){
        .h = {.size = x->dim[2], .outs = y->dim[2]},
        .w = {.size = x->dim[3], .outs = y->dim[3]},
        .channels = x->dim[1],
    };
    const int64_t shares = plan->h.outs + plan->w.outs;
    const int64_t windows = shares + plan->h.size + plan->w.size;
    reel__window *table = reel__scratch((size_t)windows * sizeof(reel__window) +
                                        (size_t)shares * sizeof(float));
    if (!table) return NULL;
    float *share = (float *)(table + windows);
    plan_axis(&plan->h, a, 0, rule, table, share);
    plan_axis(&plan->w, a, 1, rule, table + plan->h.outs + plan->h.size,
              share + plan->h.outs);
    return table;
}

/* ---- running ----------------------------------------------------------------------- */

typedef struct pool_task {
    const reel__pool_isa *isa;
    reel__pool_plan plan;
    int64_t in_image, out_row; /* elements */
    int64_t rows;              /* of the result, an image */
    const float *in;
    const int64_t *in_index;
    float *out;
    int64_t *out_index;
} pool_task;

static void max_rows(void *ctx, int64_t begin, int64_t end)
{
    const pool_task *t = ctx;
    for (int64_t i = begin; i < end; i++)
        t->isa->max_row(&t->plan, t->in + i / t->rows * t->in_image, i % t->rows,
                        t->out + i * t->out_row,
                        t->out_index ? t->out_index + i * t->out_row : NULL);
}

static void max_backward_rows(void *ctx, int64_t begin, int64_t end)
{
    const pool_task *t = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t image = i / t->rows * t->in_image;
        t->isa->max_backward_row(&t->plan, t->in + image, t->in_index + image,
                                 i % t->rows, t->out + i * t->out_row);
    }
}

static void average_rows(void *ctx, int64_t begin, int64_t end)
{
    const pool_task *t = ctx;
    for (int64_t i = begin; i < end; i++)
        t->isa->average_row(&t->plan, t->in + i / t->rows * t->in_image, i % t->rows,
                            t->out + i * t->out_row);
}

static void average_backward_rows(void *ctx, int64_t begin, int64_t end)
{
    const pool_task *t = ctx;
    for (int64_t i = begin; i < end; i++)
        t->isa->average_backward_row(&t->plan, t->in + i / t->rows * t->in_image,
                                     i % t->rows, t->out + i * t->out_row);
}

/* f32 without gaps in channels-last order, and not empty. */
static bool fits(const reel__karg *arg, reel_dtype dtype)
{
    return arg->meta->dtype == dtype && reel__is_channels_last(arg->meta) &&
           reel__numel(arg->meta) > 0;
}

/* Pools `x`, the larger side, into `y`, or back; `in` -> `out` is the direction. */
static reel_status run(const reel__kcall *call, const reel__meta *x, const reel__meta *y,
                       reel__window_rule rule, reel__range_fn rows)
{
    const reel__meta *in = call->in[0].meta, *out = call->out[0].meta;
    pool_task t = {
        .isa = REEL_ISA_PICK(pool),
        .in_image = in->dim[1] * in->dim[2] * in->dim[3],
        .out_row = out->dim[1] * out->dim[3],
        .rows = out->dim[2],
        .in = call->in[0].data,
        .in_index = call->n_in > 1 ? call->in[1].data : NULL,
        .out = call->out[0].data,
        .out_index = call->n_out > 1 ? call->out[1].data : NULL,
    };
    void *tables = make_plan(&t.plan, x, y, call->attrs, rule);
    if (!tables) return REEL_ERR_MEMORY;
    const int64_t row_floats = reel__numel(x) / (out->dim[0] * t.rows);
    /* a result with more rows than x has elements, by padding or adaptive */
    const int64_t grain = TASK_FLOATS / (row_floats > 0 ? row_floats : 1);
    reel__parallel_range(out->dim[0] * t.rows, grain > 0 ? grain : 1, rows, &t);
    reel__scratch_free(tables);
    return REEL_OK;
}

/* ---- kernels ----------------------------------------------------------------------- */

/* x -> y, index? */
bool reel__fast_max_pool2d(const reel__kcall *call, reel_status *status)
{
    const reel__meta *x = call->in[0].meta, *y = call->out[0].meta;
    const bool index = call->n_out > 1 && call->out[1].data;
    if (!fits(&call->in[0], REEL_F32) || !fits(&call->out[0], REEL_F32)) return false;
    if (index && !fits(&call->out[1], REEL_I64)) return false;
    if (x->dim[2] * x->dim[3] > INT32_MAX)
        return false; /* indices are 32 bits wide inside */
    *status = run(call, x, y, reel__max_window, max_rows);
    return true;
}

/* gy, index -> gx */
bool reel__fast_max_pool2d_backward(const reel__kcall *call, reel_status *status)
{
    if (!fits(&call->in[0], REEL_F32) || !fits(&call->in[1], REEL_I64) ||
        !fits(&call->out[0], REEL_F32))
        return false;
    *status = run(call, call->out[0].meta, call->in[0].meta, reel__max_window,
                  max_backward_rows);
    return true;
}

static bool average(const reel__kcall *call, reel__window_rule rule, reel_status *status)
{
    if (!fits(&call->in[0], REEL_F32) || !fits(&call->out[0], REEL_F32)) return false;
    *status = run(call, call->in[0].meta, call->out[0].meta, rule, average_rows);
    return true;
}

static bool average_backward(const reel__kcall *call, reel__window_rule rule,
                             reel_status *status)
{
    if (!fits(&call->in[0], REEL_F32) || !fits(&call->out[0], REEL_F32)) return false;
    *status = run(call, call->out[0].meta, call->in[0].meta, rule, average_backward_rows);
    return true;
}

/* x -> y */
bool reel__fast_avg_pool2d(const reel__kcall *call, reel_status *status)
{
    return average(call, reel__avg_window, status);
}

/* gy -> gx */
bool reel__fast_avg_pool2d_backward(const reel__kcall *call, reel_status *status)
{
    return average_backward(call, reel__avg_window, status);
}

/* x -> y */
bool reel__fast_adaptive_avg_pool2d(const reel__kcall *call, reel_status *status)
{
    return average(call, reel__adaptive_window, status);
}

/* gy -> gx */
bool reel__fast_adaptive_avg_pool2d_backward(const reel__kcall *call, reel_status *status)
{
    return average_backward(call, reel__adaptive_window, status);
}
