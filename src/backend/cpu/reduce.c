/* reduce.c: SUM, VAR, NORM, AMAX, AMIN, ANY, ALL, each in one or more sweeps over the input
 * (reduce_sweep.h).
 *
 * f32 is swept in f32 arithmetic. Where that leaves the range of f32 although the result
 * may be within it, the same outputs are swept again in f64. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/reduce_sweep.h"
#include "base/alloc.h"
#include "base/parallel.h"

enum {
    WORK = 32768 /* elements that are worth a task */
};

typedef struct reduction {
    reel__tiling r;
    reel__kernel_id kernel;
    reel__reduce_op op; /* of the sweep that gives the result */
    double scale;       /* factor of every result              */
    bool is_mean;       /* and by how many are added           */
    double eps;         /* NORM: added to the sum of squares   */
} reduction;

/* Outputs that are computed together: one tile, or all of them where tiles are cut into
 * chunks. Both arrays hold `n` values, those of tile t from (t - first) r->tile on. */
typedef struct span {
    const reduction *of;
    int64_t first, tiles, n;
    reel__acc *acc;
    double *shift;
} span;

static void sweep(const span *s, reel__reduce_op op, bool wide, const double *shift)
{
    const reel__tiling *r = &s->of->r;
    if (r->chunks > 1)
        reel__sweep_chunks(r, (reel__sweep){op, wide}, shift, s->acc);
    else
        reel__sweep_tile(r, (reel__sweep){op, wide}, s->first, shift, s->acc);
}

/* f32 that may be finite in f64: an infinite input costs a sweep more. */
static bool left_f32(const span *s)
{
    const reel__tiling *r = &s->of->r;
    return r->x_dtype == REEL_F32 && !r->loops->finite(&s->acc->f, s->n);
}

/* ---- what sweeps make a result ----------------------------------------------------- */

static void sum_of(const span *s)
{
    sweep(s, REEL_REDUCE_SUM, false, NULL);
    if (left_f32(s)) sweep(s, REEL_REDUCE_SUM, true, NULL);
}

static double finite_or_zero(double v)
{
    return fabs(v) <= DBL_MAX ? v : 0;
}

/* The first value of each output into `shift`; 0 for one that is not finite. */
static void first_values(const span *s)
{
    const reel__tiling *r = &s->of->r;
    const reel__reduce_plan *p = &r->plan;
    if (p->length == 0) memset(s->shift, 0, (size_t)s->n * sizeof *s->shift);
    if (p->length == 0) return;
    for (int64_t t = 0, n; t < s->tiles; t++) {
        reel__walk w =
            reel__match_walk(p->kept, p->n_kept, reel__reduce_tile(r, s->first + t, &n));
        double *shift = s->shift + t * r->tile;
        for (int64_t run; n > 0; n -= run, shift += run, reel__walk_step(&w, run)) {
            const int64_t left = reel__walk_run(&w), step = p->kept[p->n_kept - 1].a;
            run = n < left ? n : left;
            if (r->x_dtype == REEL_F32) {
                const float *x = (const float *)(const void *)r->x + w.a;
                for (int64_t j = 0; j < run; j++) shift[j] = (double)x[j * step];
            } else {
                const double *x = (const double *)(const void *)r->x + w.a;
                for (int64_t j = 0; j < run; j++) shift[j] = x[j * step];
            }
        }
    }
    for (int64_t j = 0; j < s->n; j++) s->shift[j] = finite_or_zero(s->shift[j]);
}

/* Sums of squared deviations from the mean, in two sweeps. The mean is the first value plus
 * the mean distance from it: so that of equal values is exact. The second sweep subtracts it
 * rounded, which adds n times the square of what was rounded off. A mean that is not finite
 * makes sums that are not. */
static void squared_deviations(const span *s, bool wide)
{
    const reel__tiling *r = &s->of->r;
    const double n = (double)r->plan.length;
    first_values(s);
    sweep(s, REEL_REDUCE_DEV, wide, s->shift);
    r->loops->add_means(&s->acc->f, n, s->n, s->shift);
    sweep(s, REEL_REDUCE_SQDEV, wide, s->shift);
    if (!wide && r->x_dtype == REEL_F32)
        r->loops->take_rounding(s->shift, n, s->n, &s->acc->f);
}

static void var_of(const span *s)
{
    squared_deviations(s, false);
    if (left_f32(s)) squared_deviations(s, true);
}

/* Sums of squares that f64 holds without loss: squares of f32 always are among them. */
static bool is_safe_sum(double squares)
{
    return (squares > 0x1p-900 && squares < 0x1p1000) || isnan(squares);
}

/* Powers of two that bring the largest element of each output near 1, into `shift`. */
static void scale_down(const span *s, double *largest)
{
    sweep(s, REEL_REDUCE_AMAX, false, NULL);
    for (int64_t j = 0; j < s->n; j++) largest[j] = s->acc[j].f;
    sweep(s, REEL_REDUCE_AMIN, false, NULL);
    for (int64_t j = 0; j < s->n; j++) {
        const double size = fmax(largest[j], -s->acc[j].f);
        s->shift[j] = size > 0 && isfinite(size) ? ldexp(1, -ilogb(size)) : 1;
    }
}

/* sqrt(scale * sum of squares + eps). Source of the scaling: Blue 1978, "A portable Fortran
 * program to find the Euclidean norm of a vector"; here by one factor, from a second look. */
static void norm_of(const span *s, double *largest)
{
    const reduction *of = s->of;
    bool safe = true;
    for (int64_t j = 0; j < s->n; j++) s->shift[j] = 1;
    sweep(s, REEL_REDUCE_SQUARES, false, s->shift);
    for (int64_t j = 0; j < s->n && of->r.x_dtype == REEL_F64; j++)
        safe = safe && is_safe_sum(s->acc[j].f);
    if (!safe) {
        scale_down(s, largest);
        sweep(s, REEL_REDUCE_SQUARES, false, s->shift);
    }
    for (int64_t j = 0; j < s->n; j++) {
        const double f = s->shift[j];
        s->acc[j].f = sqrt(s->acc[j].f * of->scale + of->eps * f * f) / f;
    }
}

/* ---- results ----------------------------------------------------------------------- */

/* Writes n results to the place of outputs `first`, `first` + 1, ... */
static void store(const reduction *of, int64_t first, const reel__acc *acc, int64_t n)
{
    const reel__tiling *r = &of->r;
    const reel__reduce_plan *p = &r->plan;
    reel__walk w = reel__match_walk(p->kept, p->n_kept, first);
    const bool floats = reel__sweep_in_floats(r, (reel__sweep){of->op, false});
    const double scale = of->kernel == K_NORM ? 1 : of->scale;
    while (n > 0) {
        int64_t left = reel__walk_run(&w), run = n < left ? n : left;
        int64_t step = p->kept[p->n_kept - 1].b;
#define STORE_AS(type, value)                                                            \
    for (int64_t j = 0; j < run; j++)                                                    \
    ((type *)(void *)r->y)[w.b + j * step] = (type)(value)
#define REAL ((floats ? acc[j].f : (double)acc[j].i) * scale)
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

/* largest: NORM's room for as many values as the span has, else NULL. */
static void run_span(const span *s, double *largest)
{
    const reduction *of = s->of;
    switch (of->kernel) {
    case K_SUM:
        if (reel_dtype_is_float(of->r.x_dtype))
            sum_of(s);
        else
            sweep(s, of->op, false, NULL);
        break;
    case K_VAR: var_of(s); break;
    case K_NORM: norm_of(s, largest); break;
    default: sweep(s, of->op, false, NULL);
    }
    for (int64_t t = 0, n; t < s->tiles; t++) {
        int64_t first = reel__reduce_tile(&of->r, s->first + t, &n);
        store(of, first, s->acc + t * of->r.tile, n);
    }
}

/* Tiles without chunks: begin .. end - 1, from start to finish. */
static void whole_tiles(void *ctx, int64_t begin, int64_t end)
{
    const reduction *of = ctx;
    for (int64_t t = begin; t < end; t++) {
        reel__acc acc[REEL_REDUCE_TILE];
        double shift[REEL_REDUCE_TILE], largest[REEL_REDUCE_TILE];
        span s = {of, t, 1, 0, acc, shift};
        reel__reduce_tile(&of->r, t, &s.n);
        run_span(&s, largest);
    }
}

static reel_status in_chunks(reduction *of)
{
    reel__tiling *r = &of->r;
    const size_t n = (size_t)(r->tiles * r->tile), room = n * sizeof(double);
    const size_t chunks = (size_t)r->chunks;
    char *memory = reel__scratch(n * chunks * sizeof *r->partial + 3 * room);
    if (!memory) return reel_error_status();
    r->partial = (reel__acc *)(void *)(memory + 3 * room);
    memset(memory, 0, 3 * room); /* tiles at the end of a row leave some unused */
    span s = {of,
              0,
              r->tiles,
              (int64_t)n,
              (reel__acc *)(void *)memory,
              (double *)(void *)(memory + room)};
    run_span(&s, (double *)(void *)(memory + 2 * room));
    reel__scratch_free(memory);
    return REEL_OK;
}

static reel_status run(const reel__kcall *c, int64_t mask, reduction *of)
{
    reel__find_tiling(c, mask, &of->r);
    of->kernel = c->kernel;
    const reel__tiling *r = &of->r;
    if (!reel__sweep_exists(r, (reel__sweep){of->op, false}))
        return reel_fail(REEL_ERR_DTYPE, "%s: not for dtype %s",
                         reel__kernel_name(c->kernel), reel_dtype_name(r->x_dtype));
    if (r->plan.outputs == 0) return REEL_OK;
    if (of->is_mean) of->scale /= (double)r->plan.length;
    if (of->kernel == K_VAR) /* no degrees of freedom: 0 / 0, as elsewhere */
        of->scale = 1 / fmax(0, (double)r->plan.length - of->scale);
    if (r->plan.length == 0 && (of->kernel == K_AMAX || of->kernel == K_AMIN))
        return reel_fail(REEL_ERR_SHAPE, "%s: there is no extreme of 0 elements",
                         of->kernel == K_AMAX ? "amax" : "amin");
    if (r->chunks > 1) return in_chunks(of);
    const int64_t cost = r->tile * (r->plan.length + 16);
    reel__parallel_range(r->tiles, cost < WORK ? WORK / cost : 1, whole_tiles, of);
    return REEL_OK;
}

static reel_status reduce(const reel__kcall *c, reel__reduce_op op)
{
    const reel__mask_attrs *a = c->attrs;
    reduction of = {.op = op, .scale = 1};
    if (c->kernel == K_SUM || c->kernel == K_VAR) of.scale = a->scale;
    of.is_mean = c->kernel == K_SUM && a->mean;
    return run(c, a->mask, &of);
}

reel_status reel__ref_sum(const reel__kcall *c)
{
    return reduce(c, REEL_REDUCE_SUM);
}
reel_status reel__ref_var(const reel__kcall *c)
{
    return reduce(c, REEL_REDUCE_SQDEV);
}
reel_status reel__ref_norm(const reel__kcall *c)
{
    const reel__norm_attrs *a = c->attrs;
    return run(c, a->mask,
               &(reduction){.op = REEL_REDUCE_SQUARES, .scale = a->scale, .eps = a->eps});
}
reel_status reel__ref_amax(const reel__kcall *c)
{
    return reduce(c, REEL_REDUCE_AMAX);
}
reel_status reel__ref_amin(const reel__kcall *c)
{
    return reduce(c, REEL_REDUCE_AMIN);
}
reel_status reel__ref_any(const reel__kcall *c)
{
    return reduce(c, REEL_REDUCE_ANY);
}
reel_status reel__ref_all(const reel__kcall *c)
{
    return reduce(c, REEL_REDUCE_ALL);
}
