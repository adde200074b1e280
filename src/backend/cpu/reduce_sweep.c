/* reduce_sweep.c: see reduce_sweep.h. */
#include "backend/cpu/reduce_sweep.h"

#include <math.h>
#include <string.h>

#include "base/int64.h"
#include "base/parallel.h"

enum {
    TILE = REEL_REDUCE_TILE,
    WORK = 32768,    /* elements that are worth a task                                 */
    MANY_TILES = 32, /* as many tiles keep all threads busy: no chunks needed         */
    MAX_CHUNKS = 64, /* bounds the partial results that are merged one after another  */
    GATHERED = 1024, /* elements gathered at a time, in f64 or i64 at most 8 KiB      */
    WIDE = 256       /* columns worth a pass: narrower rows are joined                */
};

/* ---- accumulators ------------------------------------------------------------------ */

/* A sweep with the inner loops that it runs. */
typedef struct loops {
    const reel__tiling *r;
    reel__reduce_op op;
    bool floats;
    reel__reduce_fns fns;
} loops;

static loops loops_of(const reel__tiling *r, reel__sweep s)
{
    return (loops){r, s.op, reel__sweep_in_floats(r, s),
                   s.wide ? r->loops->wide[s.op] : r->loops->fn[s.op][r->x_dtype]};
}

bool reel__sweep_exists(const reel__tiling *r, reel__sweep s)
{
    return loops_of(r, s).fns.rows != NULL;
}

bool reel__sweep_in_floats(const reel__tiling *r, reel__sweep s)
{
    return reel_dtype_is_float(r->x_dtype) && s.op != REEL_REDUCE_ANY &&
           s.op != REEL_REDUCE_ALL;
}

static void clear(const loops *l, reel__acc *acc, int64_t n)
{
    reel__acc start = {.i = 0};
    if (l->op == REEL_REDUCE_ALL)
        start.i = 1;
    else if (l->floats)
        start.f = l->op == REEL_REDUCE_AMAX   ? -INFINITY
                  : l->op == REEL_REDUCE_AMIN ? INFINITY
                                              : 0;
    else if (l->op == REEL_REDUCE_AMAX)
        start.i = INT64_MIN;
    else if (l->op == REEL_REDUCE_AMIN)
        start.i = INT64_MAX;
    for (int64_t j = 0; j < n; j++) acc[j] = start;
}

static reel__acc join(const loops *l, reel__acc a, reel__acc b)
{
    bool floats = l->floats;
    switch (l->op) {
    case REEL_REDUCE_AMAX: return (floats ? b.f > a.f || b.f != b.f : b.i > a.i) ? b : a;
    case REEL_REDUCE_AMIN: return (floats ? b.f < a.f || b.f != b.f : b.i < a.i) ? b : a;
    case REEL_REDUCE_ANY: return (reel__acc){.i = a.i | b.i};
    case REEL_REDUCE_ALL: return (reel__acc){.i = a.i & b.i};
    default:
        return floats ? (reel__acc){.f = a.f + b.f}
                      : (reel__acc){.i = (int64_t)((uint64_t)a.i + (uint64_t)b.i)};
    }
}

static void merge(const loops *l, reel__acc *acc, const reel__acc *more, int64_t n)
{
    for (int64_t j = 0; j < n; j++) acc[j] = join(l, acc[j], more[j]);
}

/* ---- one tile, one chunk ----------------------------------------------------------- */

/* Outputs first .. first + n - 1 over elements begin .. end - 1, each from a run. */
static void reduce_rows(const loops *l, int64_t first, int64_t n, int64_t begin,
                        int64_t end, const double *shift, reel__acc *acc)
{
    const reel__tiling *r = l->r;
    const reel__reduce_plan *p = &r->plan;
    const reel__axis *inner = &p->reduced[p->n_reduced - 1];
    const int64_t size = (int64_t)reel_dtype_size(r->x_dtype);
    bool dense = inner->a == 1;
    reel__walk kept = reel__match_walk(p->kept, p->n_kept, first);
    for (int64_t j = 0, run; j < n; j += run, reel__walk_step(&kept, run)) {
        if (dense && p->n_reduced == 1) {
            run = min64(n - j, reel__walk_run(&kept));
            l->fns.rows(r->x + (kept.a + begin) * size, run, p->kept[p->n_kept - 1].a,
                        end - begin, shift ? shift + j : NULL, acc + j);
            continue;
        }
        run = 1;
        reel__walk at = reel__match_walk(p->reduced, p->n_reduced, begin);
        for (int64_t left = end - begin, len; left > 0; left -= len) {
            int64_t room[GATHERED];
            const void *x = r->x + (kept.a + at.a) * size;
            len = min64(left, dense ? reel__walk_run(&at) : GATHERED);
            if (dense) {
                reel__walk_step(&at, len);
            } else {
                reel__walk_gather(room, r->x + kept.a * size, &at, len, (size_t)size);
                x = room;
            }
            l->fns.rows(x, 1, 0, len, shift ? shift + j : NULL, acc + j);
        }
    }
}

/* `rows` rows of n <= WIDE / 2 columns without gaps, read as fewer and wider rows. */
static void join_cols(const loops *l, const char *x, int64_t rows, int64_t n,
                      const double *shift, reel__acc *acc)
{
    int64_t many = n <= WIDE / 16 ? WIDE / n / 16 * 16 : WIDE / n; /* whole vectors */
    int64_t width = many * n;
    reel__acc wide[WIDE];
    double wide_shift[WIDE];
    clear(l, wide, width);
    for (int64_t j = 0; shift && j < width; j++) wide_shift[j] = shift[j % n];
    l->fns.cols(x, rows / many, width, width, shift ? wide_shift : NULL, wide);
    for (int64_t k = 0; k < many; k++) merge(l, acc, wide + k * n, n);
    x += (rows / many) * width * (int64_t)reel_dtype_size(l->r->x_dtype);
    l->fns.cols(x, rows % many, n, n, shift, acc);
}

/* The same outputs, which are neighbours in memory, all from the same rows. */
static void reduce_cols(const loops *l, int64_t first, int64_t n, int64_t begin,
                        int64_t end, const double *shift, reel__acc *acc)
{
    const reel__tiling *r = l->r;
    const reel__reduce_plan *p = &r->plan;
    const int64_t size = (int64_t)reel_dtype_size(r->x_dtype),
                  step = p->reduced[p->n_reduced - 1].a;
    reel__walk kept = reel__match_walk(p->kept, p->n_kept, first);
    reel__walk at = reel__match_walk(p->reduced, p->n_reduced, begin);
    for (int64_t left = end - begin, rows; left > 0; left -= rows) {
        rows = min64(left, reel__walk_run(&at));
        const char *x = r->x + (kept.a + at.a) * size;
        if (step == n && n <= WIDE / 2 && rows >= 2 * (WIDE / n))
            join_cols(l, x, rows, n, shift, acc);
        else
            l->fns.cols(x, rows, step, n, shift, acc);
        reel__walk_step(&at, rows);
    }
}

static void reduce_tile(const loops *l, int64_t first, int64_t n, int64_t begin,
                        int64_t end, const double *shift, reel__acc *acc)
{
    clear(l, acc, n);
    if (l->r->by_cols)
        reduce_cols(l, first, n, begin, end, shift, acc);
    else
        reduce_rows(l, first, n, begin, end, shift, acc);
}

/* ---- all tiles --------------------------------------------------------------------- */

/* First output of tile t; *n outputs. */
int64_t reel__reduce_tile(const reel__tiling *r, int64_t t, int64_t *n)
{
    int64_t within = t % r->tiles_per_row * r->tile;
    *n = min64(r->tile, r->row - within);
    return t / r->tiles_per_row * r->row + within;
}

void reel__sweep_tile(const reel__tiling *r, reel__sweep s, int64_t t,
                      const double *shift, reel__acc *acc)
{
    const loops l = loops_of(r, s);
    int64_t n, first = reel__reduce_tile(r, t, &n);
    reduce_tile(&l, first, n, 0, r->plan.length, shift, acc);
}

typedef struct chunks {
    loops l;
    const double *shift;
} chunks;

static void one_chunk(void *ctx, int64_t i, int worker)
{
    const chunks *c = ctx;
    const reel__tiling *r = c->l.r;
    int64_t t = i / r->chunks, n, first = reel__reduce_tile(r, t, &n);
    int64_t begin = i % r->chunks * r->chunk;
    (void)worker;
    reduce_tile(&c->l, first, n, begin, min64(begin + r->chunk, r->plan.length),
                c->shift ? c->shift + t * r->tile : NULL, r->partial + i * r->tile);
}

void reel__sweep_chunks(const reel__tiling *r, reel__sweep s, const double *shift,
                        reel__acc *acc)
{
    chunks c = {loops_of(r, s), shift};
    reel__parallel(r->tiles * r->chunks, one_chunk, &c);
    for (int64_t t = 0; t < r->tiles; t++) {
        const reel__acc *part = r->partial + t * r->chunks * r->tile;
        int64_t n;
        reel__reduce_tile(r, t, &n);
        memcpy(acc + t * r->tile, part, (size_t)n * sizeof *acc);
        for (int64_t k = 1; k < r->chunks; k++)
            merge(&c.l, acc + t * r->tile, part + k * r->tile, n);
    }
}

/* ---- how it is cut ----------------------------------------------------------------- */

/* Tiles and chunks, from the shape alone. */
static void cut(reel__tiling *r)
{
    const reel__reduce_plan *p = &r->plan;
    const reel__axis *kept = &p->kept[p->n_kept - 1];
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

void reel__find_tiling(const reel__kcall *call, int64_t mask, reel__tiling *r)
{
    const reel__meta *x = call->in[0].meta, *y = call->out[0].meta;
    const int64_t x_size = (int64_t)reel_dtype_size(x->dtype);
    const int64_t y_size = (int64_t)reel_dtype_size(y->dtype);
    r->plan = reel__plan_reduction(x, y, mask, false);
    r->x_dtype = x->dtype;
    r->y_dtype = y->dtype;
    r->x = (const char *)call->in[0].data + r->plan.x0 * x_size;
    r->y = (char *)call->out[0].data + r->plan.y0 * y_size;
    r->partial = NULL;
    r->loops = REEL_ISA_PICK(reduce);
    if (r->plan.outputs) cut(r);
}
