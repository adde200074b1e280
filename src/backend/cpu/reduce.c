/* reduce.c: SUM, VAR, AMAX, AMIN, ANY, ALL.
 *
 * The outputs are cut into tiles, and the reduced elements into chunks where there are
 * few outputs: both by size alone, so that the result does not depend on the threads. A
 * tile is reduced in one of two ways: by rows, each output from a run of memory of its
 * own (gathered first if it lies scattered), or by columns, neighbouring outputs
 * together. */
#include <math.h>

#include "backend/cpu/isa/reduce.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/reduce_plan.h"
#include "base/alloc.h"
#include "base/parallel.h"

enum {
    TILE = 1024,     /* outputs of a tile at most: their accumulators stay in L1       */
    WORK = 32768,    /* elements that are worth a task                                 */
    MANY_TILES = 32, /* as many tiles keep all threads busy: no chunks needed         */
    MAX_CHUNKS = 64, /* bounds the partial results that are merged one after another  */
    GATHERED = 1024, /* elements gathered at a time, in f64 or i64 at most 8 KiB      */
    WIDE = 256       /* columns worth a pass: narrower rows are joined                */
};

typedef struct reduction {
    reel_reduce_plan plan;
    const char *x;
    char *y;
    reel_dtype x_dtype, y_dtype;
    size_t x_size;
    reel_reduce_op op;
    reel_reduce_fns fns;
    bool is_var;
    double scale; /* factor of every result                              */
    bool by_cols;
    int64_t row; /* outputs that lie in a row: tiles do not cross its end */
    int64_t tile, tiles, tiles_per_row;
    int64_t chunk, chunks; /* reduced elements (by columns: rows) of a chunk       */
    reel_acc *partial;     /* [tiles][chunks][tile], where chunks > 1              */
    double *mean;          /* VAR: [tiles][tile], where chunks > 1                 */
} reduction;

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- accumulators ------------------------------------------------------------------ */

/* Whether accumulators hold f, not i. */
static bool in_floats(const reduction *r)
{
    return reel_dtype_is_float(r->x_dtype) && r->op != REEL_REDUCE_ANY &&
           r->op != REEL_REDUCE_ALL;
}

static void clear(const reduction *r, reel_acc *acc, int64_t n)
{
    reel_acc start = {.i = 0};
    if (r->op == REEL_REDUCE_ALL)
        start.i = 1;
    else if (in_floats(r))
        start.f = r->op == REEL_REDUCE_AMAX   ? -INFINITY
                  : r->op == REEL_REDUCE_AMIN ? INFINITY
                                              : 0;
    else if (r->op == REEL_REDUCE_AMAX)
        start.i = INT64_MIN;
    else if (r->op == REEL_REDUCE_AMIN)
        start.i = INT64_MAX;
    for (int64_t j = 0; j < n; j++) acc[j] = start;
}

static reel_acc join(const reduction *r, reel_acc a, reel_acc b)
{
    bool floats = in_floats(r);
    switch (r->op) {
    case REEL_REDUCE_AMAX: return (floats ? b.f > a.f || b.f != b.f : b.i > a.i) ? b : a;
    case REEL_REDUCE_AMIN: return (floats ? b.f < a.f || b.f != b.f : b.i < a.i) ? b : a;
    case REEL_REDUCE_ANY: return (reel_acc){.i = a.i | b.i};
    case REEL_REDUCE_ALL: return (reel_acc){.i = a.i & b.i};
    default:
        return floats ? (reel_acc){.f = a.f + b.f}
                      : (reel_acc){.i = (int64_t)((uint64_t)a.i + (uint64_t)b.i)};
    }
}

static void merge(const reduction *r, reel_acc *acc, const reel_acc *more, int64_t n)
{
    for (int64_t j = 0; j < n; j++) acc[j] = join(r, acc[j], more[j]);
}

/* Writes n results to the place of outputs `first`, `first` + 1, ... */
static void store(const reduction *r, int64_t first, const reel_acc *acc, int64_t n)
{
    const reel_reduce_plan *p = &r->plan;
    reel_walk w = reel__walk(p->kept, p->n_kept, first);
    bool floats = in_floats(r);
    while (n > 0) {
        int64_t run = min64(n, reel__walk_run(&w)), step = p->kept[p->n_kept - 1].b;
#define STORE_AS(type, value)                                                            \
    for (int64_t j = 0; j < run; j++)                                                    \
    ((type *)(void *)r->y)[w.b + j * step] = (type)(value)
#define REAL ((floats ? acc[j].f : (double)acc[j].i) * r->scale)
#define INTEGER (floats ? (int64_t)acc[j].f : acc[j].i)
        switch (r->y_dtype) {
        case REEL_F32: STORE_AS(float, REAL); break;
        case REEL_F64: STORE_AS(double, REAL); break;
        case REEL_I64: STORE_AS(int64_t, INTEGER); break;
        case REEL_I32: STORE_AS(int32_t, INTEGER); break;
        case REEL_I8: STORE_AS(int8_t, INTEGER); break;
        case REEL_U8: STORE_AS(uint8_t, INTEGER); break;
        default: STORE_AS(bool, INTEGER != 0); break;
        }
#undef STORE_AS
#undef REAL
#undef INTEGER
        acc += run;
        n -= run;
        reel__walk_step(&w, run);
    }
}

/* ---- one tile, one chunk ----------------------------------------------------------- */

/* Outputs first .. first + n - 1 over elements begin .. end - 1, each from a run. */
static void reduce_rows(const reduction *r, reel_reduce_fns fns, int64_t first, int64_t n,
                        int64_t begin, int64_t end, const double *shift, reel_acc *acc)
{
    const reel_reduce_plan *p = &r->plan;
    const reel_axis *inner = &p->reduced[p->n_reduced - 1];
    const int64_t size = (int64_t)r->x_size;
    bool dense = inner->a == 1;
    reel_walk kept = reel__walk(p->kept, p->n_kept, first);
    for (int64_t j = 0, run; j < n; j += run, reel__walk_step(&kept, run)) {
        if (dense && p->n_reduced == 1) {
            run = min64(n - j, reel__walk_run(&kept));
            fns.rows(r->x + (kept.a + begin) * size, run, p->kept[p->n_kept - 1].a,
                     end - begin, shift ? shift + j : NULL, acc + j);
            continue;
        }
        run = 1;
        reel_walk at = reel__walk(p->reduced, p->n_reduced, begin);
        for (int64_t left = end - begin, len; left > 0; left -= len) {
            int64_t room[GATHERED];
            const void *x = r->x + (kept.a + at.a) * size;
            len = min64(left, dense ? reel__walk_run(&at) : GATHERED);
            if (dense) {
                reel__walk_step(&at, len);
            } else {
                reel__walk_gather(room, r->x + kept.a * size, &at, len, r->x_size);
                x = room;
            }
            fns.rows(x, 1, 0, len, shift ? shift + j : NULL, acc + j);
        }
    }
}

/* `rows` rows of n <= WIDE / 2 columns without gaps, read as fewer and wider rows. */
static void join_cols(const reduction *r, reel_reduce_fns fns, const char *x,
                      int64_t rows, int64_t n, const double *shift, reel_acc *acc)
{
    int64_t many = n <= WIDE / 16 ? WIDE / n / 16 * 16 : WIDE / n; /* whole vectors */
    int64_t width = many * n;
    reel_acc wide[WIDE];
    double wide_shift[WIDE];
    clear(r, wide, width);
    for (int64_t j = 0; shift && j < width; j++) wide_shift[j] = shift[j % n];
    fns.cols(x, rows / many, width, width, shift ? wide_shift : NULL, wide);
    for (int64_t k = 0; k < many; k++) merge(r, acc, wide + k * n, n);
    x += (rows / many) * width * (int64_t)r->x_size;
    fns.cols(x, rows % many, n, n, shift, acc);
}

/* The same outputs, which are neighbours in memory, all from the same rows. */
static void reduce_cols(const reduction *r, reel_reduce_fns fns, int64_t first, int64_t n,
                        int64_t begin, int64_t end, const double *shift, reel_acc *acc)
{
    const reel_reduce_plan *p = &r->plan;
    const int64_t size = (int64_t)r->x_size, step = p->reduced[p->n_reduced - 1].a;
    reel_walk kept = reel__walk(p->kept, p->n_kept, first);
    reel_walk at = reel__walk(p->reduced, p->n_reduced, begin);
    for (int64_t left = end - begin, rows; left > 0; left -= rows) {
        rows = min64(left, reel__walk_run(&at));
        const char *x = r->x + (kept.a + at.a) * size;
        if (step == n && n <= WIDE / 2 && rows >= 2 * (WIDE / n))
            join_cols(r, fns, x, rows, n, shift, acc);
        else
            fns.cols(x, rows, step, n, shift, acc);
        reel__walk_step(&at, rows);
    }
}

static void reduce_tile(const reduction *r, reel_reduce_fns fns, int64_t first, int64_t n,
                        int64_t begin, int64_t end, const double *shift, reel_acc *acc)
{
    clear(r, acc, n);
    if (r->by_cols)
        reduce_cols(r, fns, first, n, begin, end, shift, acc);
    else
        reduce_rows(r, fns, first, n, begin, end, shift, acc);
}

/* ---- all tiles --------------------------------------------------------------------- */

/* First output of tile t; *n outputs. */
static int64_t tile_at(const reduction *r, int64_t t, int64_t *n)
{
    int64_t within = t % r->tiles_per_row * r->tile;
    *n = min64(r->tile, r->row - within);
    return t / r->tiles_per_row * r->row + within;
}

static reel_reduce_fns sum_fns(reel_dtype dtype)
{
    return REEL_ISA_PICK(reduce)->fn[REEL_REDUCE_SUM][dtype];
}

/* Mean of sums, in place of a copy: what VAR subtracts. */
static void means(const reduction *r, const reel_acc *sum, double *mean, int64_t n)
{
    for (int64_t j = 0; j < n; j++) mean[j] = sum[j].f / (double)r->plan.length;
}

/* Tiles without chunks: begin .. end - 1, from start to finish. */
static void whole_tiles(void *ctx, int64_t begin, int64_t end)
{
    const reduction *r = ctx;
    for (int64_t t = begin; t < end; t++) {
        reel_acc acc[TILE];
        double mean[TILE];
        int64_t n, first = tile_at(r, t, &n);
        if (r->is_var) {
            reduce_tile(r, sum_fns(r->x_dtype), first, n, 0, r->plan.length, NULL, acc);
            means(r, acc, mean, n);
        }
        reduce_tile(r, r->fns, first, n, 0, r->plan.length, r->is_var ? mean : NULL, acc);
        store(r, first, acc, n);
    }
}

static void one_chunk(const reduction *r, reel_reduce_fns fns, int64_t i, bool shifted)
{
    int64_t t = i / r->chunks, n, first = tile_at(r, t, &n);
    int64_t begin = i % r->chunks * r->chunk;
    reduce_tile(r, fns, first, n, begin, min64(begin + r->chunk, r->plan.length),
                shifted ? r->mean + t * r->tile : NULL, r->partial + i * r->tile);
}
static void sum_chunk(void *ctx, int64_t i, int worker)
{
    const reduction *r = ctx;
    (void)worker;
    one_chunk(r, sum_fns(r->x_dtype), i, false);
}
static void result_chunk(void *ctx, int64_t i, int worker)
{
    const reduction *r = ctx;
    (void)worker;
    one_chunk(r, r->fns, i, r->is_var);
}

/* Joins the chunks of tile t in order; returns the first, which holds the result. */
static reel_acc *merge_chunks(const reduction *r, int64_t t)
{
    reel_acc *acc = r->partial + t * r->chunks * r->tile;
    int64_t n;
    tile_at(r, t, &n);
    for (int64_t c = 1; c < r->chunks; c++) merge(r, acc, acc + c * r->tile, n);
    return acc;
}

static reel_status in_chunks(reduction *r)
{
    const size_t per_tile = (size_t)(r->tiles * r->tile);
    r->partial = reel__scratch(per_tile * (size_t)r->chunks * sizeof *r->partial);
    r->mean = r->is_var ? reel__scratch(per_tile * sizeof *r->mean) : NULL;
    bool ok = r->partial && (r->mean || !r->is_var);
    int64_t n;
    if (ok && r->is_var) {
        reel__parallel(r->tiles * r->chunks, sum_chunk, r);
        for (int64_t t = 0; t < r->tiles; t++) {
            tile_at(r, t, &n);
            means(r, merge_chunks(r, t), r->mean + t * r->tile, n);
        }
    }
    if (ok) {
        reel__parallel(r->tiles * r->chunks, result_chunk, r);
        for (int64_t t = 0; t < r->tiles; t++) {
            int64_t first = tile_at(r, t, &n);
            store(r, first, merge_chunks(r, t), n);
        }
    }
    reel__scratch_free(r->mean);
    reel__scratch_free(r->partial);
    return ok ? REEL_OK : reel_error_status();
}

/* Tiles and chunks, from the shape alone. */
static void cut(reduction *r)
{
    const reel_reduce_plan *p = &r->plan;
    const reel_axis *kept = &p->kept[p->n_kept - 1];
    int64_t length = max64(p->length, 1);
    r->by_cols = p->reduced[p->n_reduced - 1].a != 1 && kept->a == 1 && kept->size > 1;
    r->row = r->by_cols ? kept->size : p->outputs;
    r->tile = r->by_cols ? TILE : max64(1, min64(TILE, WORK / length));
    r->tile = min64(r->tile, r->row);
    r->tiles_per_row = ceil_div(r->row, r->tile);
    r->tiles = p->outputs / r->row * r->tiles_per_row;
    r->chunk = length;
    if (r->tiles < MANY_TILES)
        r->chunk = max64(ceil_div(WORK, r->tile), ceil_div(length, MAX_CHUNKS));
    r->chunk = ceil_div(r->chunk, 8) * 8; /* whole groups of rows */
    r->chunks = ceil_div(length, r->chunk);
}

static reel_status reduce(const reel_kcall *c, reel_reduce_op op)
{
    const reel_mask_attrs *attrs = c->attrs;
    const reel_meta *x = c->in[0].meta, *y = c->out[0].meta;
    reduction r = {.plan = reel__reduce_plan(x, y, attrs->mask, false), .op = op};
    r.x_dtype = x->dtype;
    r.y_dtype = y->dtype;
    r.x_size = reel_dtype_size(x->dtype);
    r.x = (const char *)c->in[0].data + r.plan.x0 * (int64_t)r.x_size;
    r.y = (char *)c->out[0].data + r.plan.y0 * (int64_t)reel_dtype_size(y->dtype);
    r.fns = REEL_ISA_PICK(reduce)->fn[op][x->dtype];
    r.is_var = c->kernel == K_VAR;
    r.scale = c->kernel == K_SUM ? attrs->scale : 1;
    if (r.is_var) /* no degrees of freedom: 0 / 0, as elsewhere */
        r.scale = 1 / fmax(0, (double)r.plan.length - attrs->scale);
    if (!r.fns.rows)
        return reel_fail(REEL_ERR_DTYPE, "%s: not for dtype %s",
                         reel__kernel_name(c->kernel), reel_dtype_name(x->dtype));
    if (r.plan.outputs == 0) return REEL_OK;
    if (r.plan.length == 0 && (op == REEL_REDUCE_AMAX || op == REEL_REDUCE_AMIN))
        return reel_fail(REEL_ERR_SHAPE, "%s: there is no extreme of 0 elements",
                         op == REEL_REDUCE_AMAX ? "amax" : "amin");
    cut(&r);
    if (r.chunks > 1) return in_chunks(&r);
    reel__parallel_range(r.tiles, max64(1, WORK / (r.tile * (r.plan.length + 16))),
                         whole_tiles, &r);
    return REEL_OK;
}

reel_status reel__ref_sum(const reel_kcall *c)
{
    return reduce(c, REEL_REDUCE_SUM);
}
reel_status reel__ref_var(const reel_kcall *c)
{
    return reduce(c, REEL_REDUCE_SQDEV);
}
reel_status reel__ref_amax(const reel_kcall *c)
{
    return reduce(c, REEL_REDUCE_AMAX);
}
reel_status reel__ref_amin(const reel_kcall *c)
{
    return reduce(c, REEL_REDUCE_AMIN);
}
reel_status reel__ref_any(const reel_kcall *c)
{
    return reduce(c, REEL_REDUCE_ANY);
}
reel_status reel__ref_all(const reel_kcall *c)
{
    return reduce(c, REEL_REDUCE_ALL);
}
