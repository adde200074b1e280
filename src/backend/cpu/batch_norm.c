/* batch_norm.c: fast batch normalization in f32 of channels-last [n, c, h, w] and
 * of [n, c].
 *
 * Both are dense rows of c channels. Narrow rows are joined: `fold` rows side by side are
 * one row of width fold * c, a multiple of 64, so that any number of channels fills the
 * vectors; what belongs to a channel is repeated, and sums are folded at the end. Rows
 * are cut into chunks by size. Statistics take one pass: mean and squared deviation of
 * each chunk, merged in order and in f64 by the formula of Chan, Golub & LeVeque 1979
 * ("Updating formulae and a pairwise algorithm for computing sample variances").
 * Normalizing, residual and relu are one pass more; backward is sums, then gradients.
 *
 * The loops are in f32. A part whose sums are not finite, and all parts of a call whose
 * statistics or factors are far out, are computed in f64 (batch_norm_wide.h). */
#include "backend/cpu/batch_norm_wide.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/usual.h"
#include "base/alloc.h"
#include "base/parallel.h"

#include <math.h>
#include <string.h>

enum {
    JOIN = 64,            /* floats that rows are joined to a multiple of    */
    MAX_JOINED = 4096,    /* floats in a joined row: parameters stay in L1   */
    CHUNK_FLOATS = 32768, /* of one operand: 128 KiB                         */
    MIN_CHUNK_ROWS = 64,  /* fewer would make the merging cost as much       */
};

/* ---- rows and chunks --------------------------------------------------------------- */

/* [rows, channels] as `chunks` chunks of joined rows, then `tail` rows that fill no
 * joined row: one task more. */
typedef struct bn_rows {
    int64_t rows, channels;
    int64_t fold, width;           /* width = fold * channels */
    int64_t joined, chunk, chunks; /* rows of `width`; of them in a chunk */
    int64_t tail;                  /* rows of `channels` */
} bn_rows;

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bn_rows cut_rows(const reel__meta *x)
{
    bn_rows r = {.channels = x->dim[1], .fold = JOIN / gcd(x->dim[1], JOIN)};
    r.rows = reel__numel(x) / r.channels;
    if (r.fold * r.channels > MAX_JOINED || r.fold > r.rows) r.fold = 1;
    r.width = r.fold * r.channels;
    r.joined = r.rows / r.fold;
    r.tail = r.rows % r.fold;
    r.chunk = CHUNK_FLOATS / r.width;
    if (r.chunk < MIN_CHUNK_ROWS) r.chunk = MIN_CHUNK_ROWS;
    r.chunks = (r.joined + r.chunk - 1) / r.chunk;
    return r;
}

static int64_t task_count(const bn_rows *r)
{
    return r->chunks + (r->tail > 0);
}

/* Part `task` of the rows: where it begins, and its shape. */
typedef struct bn_part {
    int64_t begin, rows, width;
} bn_part;

static bn_part part_of(const bn_rows *r, int64_t task)
{
    if (task == r->chunks) return (bn_part){r->joined * r->width, r->tail, r->channels};
    int64_t first = task * r->chunk, left = r->joined - first;
    return (bn_part){first * r->width, left < r->chunk ? left : r->chunk, r->width};
}

/* What belongs to a channel, once for each of the joined rows: in f32, and in f64 too if the
 * loops are to be those in f64. */
static void repeat(const bn_rows *r, double *values, float *narrow, bool wide)
{
    for (int64_t i = 0; i < r->channels; i++) narrow[i] = (float)values[i];
    for (int64_t n = r->channels; n < r->width; n *= 2) {
        const size_t more = (size_t)(n < r->width - n ? n : r->width - n);
        memcpy(narrow + n, narrow, more * sizeof *narrow);
        if (wide) memcpy(values + n, values, more * sizeof *values);
    }
}

/* ---- what a call needs ------------------------------------------------------------- */

static bool present(const reel__karg *args, int n, int i)
{
    return i < n && args[i].data;
}

/* f32, absent or dense rows of channels. */
static bool dense_rows(const reel__karg *args, int n, int i)
{
    if (!present(args, n, i)) return true;
    const reel__meta *m = args[i].meta;
    if (m->dtype != REEL_F32) return false;
    return m->rank == 2 ? reel__is_contiguous(m) : reel__is_channels_last(m);
}

/* f32, absent or one value after the other. */
static bool dense_channels(const reel__karg *args, int n, int i)
{
    if (!present(args, n, i)) return true;
    return args[i].meta->dtype == REEL_F32 && reel__is_contiguous(args[i].meta);
}

static float *operand(const reel__karg *args, int n, int i)
{
    return present(args, n, i) ? args[i].data : NULL;
}

/* ---- forward ----------------------------------------------------------------------- */

enum { CENTER, SCALE, OFFSET, AFFINE };

typedef struct bn_forward {
    const reel__batch_norm_isa *isa;
    bn_rows rows;
    const float *x, *residual;
    float *y;
    double *mean, *deviation; /* [tasks, width]: of each part               */
    double *wide[AFFINE];     /* [width]: y = (x - center) scale + offset   */
    float *narrow[AFFINE];    /* the same in f32                            */
    bool unusual_moments, unusual, relu;
} bn_forward;

static void moments_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const bn_forward *f = ctx;
    const bn_part p = part_of(&f->rows, task);
    double *mean = f->mean + task * f->rows.width;
    double *deviation = f->deviation + task * f->rows.width;
    if (f->unusual_moments ||
        !f->isa->moments(f->x + p.begin, p.rows, p.width, mean, deviation))
        reel__bn_moments_wide(f->x + p.begin, p.rows, p.width, mean, deviation);
}

static void apply_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const bn_forward *f = ctx;
    const bn_part p = part_of(&f->rows, task);
    const float *x = f->x + p.begin,
                *residual = f->residual ? f->residual + p.begin : NULL;
    const reel__bn_affine a = {f->narrow[CENTER], f->narrow[SCALE], f->narrow[OFFSET]};
    if (f->unusual)
        reel__bn_apply_wide(x, residual, f->y + p.begin, p.rows, p.width,
                            (const double *const *)f->wide, f->relu);
    else
        f->isa->apply(x, residual, f->y + p.begin, p.rows, p.width, &a, f->relu);
}

/* Moments of `n` values joined by those of `m` more. */
static void merge(int64_t n, double *mean, double *deviation, int64_t m,
                  double other_mean, double other_deviation)
{
    const double share = (double)m / (double)(n + m), delta = other_mean - *mean;
    *mean += isfinite(delta) ? delta * share : other_mean; /* an infinity stays one */
    *deviation += other_deviation + delta * delta * (share * (double)n);
}

/* Merges the moments of all parts, in order; mean and deviation hold `width` values, of
 * which the first `channels` are the result. */
static void merge_parts(const bn_forward *f, double *mean, double *deviation)
{
    const bn_rows *r = &f->rows;
    const size_t bytes = (size_t)r->width * sizeof *mean;
    memcpy(mean, f->mean, bytes);
    memcpy(deviation, f->deviation, bytes);
    int64_t n = part_of(r, 0).rows;
    for (int64_t task = 1; task < r->chunks; task++) {
        const int64_t m = part_of(r, task).rows, at = task * r->width;
        for (int64_t j = 0; j < r->width; j++)
            merge(n, &mean[j], &deviation[j], m, f->mean[at + j], f->deviation[at + j]);
        n += m;
    }
    for (int64_t k = 1; k < r->fold; k++)
        for (int64_t c = 0; c < r->channels; c++)
            merge(k * n, &mean[c], &deviation[c], n, mean[k * r->channels + c],
                  deviation[k * r->channels + c]);
    const int64_t at = r->chunks * r->width;
    for (int64_t c = 0; c < r->channels && r->tail; c++)
        merge(r->fold * n, &mean[c], &deviation[c], r->tail, f->mean[at + c],
              f->deviation[at + c]);
}

/* Moments of the batch in mean and var; running ones, if any, follow them. */
static void batch_statistics(const reel__kcall *call, bn_forward *f, double *mean,
                             double *var)
{
    const reel__batch_norm_attrs *a = call->attrs;
    const bn_rows *r = &f->rows;
    float *running_mean = operand(call->in, call->n_in, 3);
    float *running_var = operand(call->in, call->n_in, 4);
    const double m = a->momentum, free = r->rows > 1 ? (double)(r->rows - 1) : 1;
    reel__parallel(task_count(r), moments_task, f);
    merge_parts(f, mean, var);
    for (int64_t c = 0; c < r->channels; c++) var[c] = var[c] <= 0 ? 0 : var[c];
    for (int64_t c = 0; c < r->channels && running_mean; c++)
        running_mean[c] = (float)((1 - m) * running_mean[c] + m * mean[c]);
    for (int64_t c = 0; c < r->channels && running_var; c++)
        running_var[c] = (float)((1 - m) * running_var[c] + m * var[c] / free);
    for (int64_t c = 0; c < r->channels; c++) var[c] /= (double)r->rows;
}

/* y = (x - mean) scale + b; center and scale hold mean and 1 / deviation. */
static void set_factors(const reel__kcall *call, bn_forward *f)
{
    const float *w = operand(call->in, call->n_in, 1);
    const float *b = operand(call->in, call->n_in, 2);
    const int64_t channels = f->rows.channels;
    double *scale = f->wide[SCALE], *offset = f->wide[OFFSET];
    f->unusual = !reel__all_within(scale, channels, REEL_LEAST_INVSTD, REEL_MOST_INVSTD);
    for (int64_t c = 0; c < channels && w; c++) scale[c] *= (double)w[c];
    for (int64_t c = 0; c < channels; c++) offset[c] = b ? (double)b[c] : 0;
    for (int i = 0; i < AFFINE; i++)
        f->unusual |= !reel__all_within(f->wide[i], channels, 0, REEL_MOST_USUAL);
}

/* What is used is what is saved, rounded: so the result can be made again from it to the last
 * bit. */
static void save_statistics(const reel__kcall *call, bn_forward *f, const double *mean,
                            const double *var)
{
    const reel__batch_norm_attrs *a = call->attrs;
    float *save_mean = operand(call->out, call->n_out, 1);
    float *save_invstd = operand(call->out, call->n_out, 2);
    const int64_t channels = f->rows.channels;
    double *center = f->wide[CENTER], *scale = f->wide[SCALE];
    for (int64_t c = 0; c < channels; c++) {
        center[c] = (double)(float)mean[c];
        scale[c] = (double)(float)(1 / sqrt(var[c] + a->eps));
    }
    for (int64_t c = 0; c < channels && save_mean; c++) save_mean[c] = (float)center[c];
    for (int64_t c = 0; c < channels && save_invstd; c++)
        save_invstd[c] = (float)scale[c];
    set_factors(call, f);
}

static void apply_all(bn_forward *f)
{
    for (int i = 0; i < AFFINE; i++)
        repeat(&f->rows, f->wide[i], f->narrow[i], f->unusual);
    reel__parallel(task_count(&f->rows), apply_task, f);
}

/* Cuts the factors out of their room. */
static void take_affine(bn_forward *f, double *room)
{
    const int64_t width = f->rows.width;
    for (int i = 0; i < AFFINE; i++) f->wide[i] = room + i * width;
    float *narrow = (float *)(void *)(room + AFFINE * width);
    for (int i = 0; i < AFFINE; i++) f->narrow[i] = narrow + i * width;
}

static const size_t AFFINE_ROOM = AFFINE * (sizeof(double) + sizeof(float));

static reel_status run_forward(const reel__kcall *call, bn_forward *f)
{
    const reel__batch_norm_attrs *a = call->attrs;
    const size_t width = (size_t)f->rows.width;
    const size_t parts = a->training ? (size_t)task_count(&f->rows) : 0;
    double *mean = reel__scratch(width * ((2 + 2 * parts) * sizeof *mean + AFFINE_ROOM));
    if (!mean) return REEL_ERR_MEMORY;
    double *var = mean + width;
    f->mean = var + width;
    f->deviation = f->mean + parts * width;
    take_affine(f, f->deviation + parts * width);
    if (a->training) {
        f->unusual_moments = !(a->eps >= REEL_LEAST_EPS);
        batch_statistics(call, f, mean, var);
    } else {
        const float *running_mean = call->in[3].data, *running_var = call->in[4].data;
        for (int64_t c = 0; c < f->rows.channels; c++) {
            mean[c] = (double)running_mean[c];
            var[c] = (double)running_var[c];
        }
    }
    save_statistics(call, f, mean, var);
    apply_all(f);
    reel__scratch_free(mean);
    return REEL_OK;
}

static reel_status run_apply(const reel__kcall *call, bn_forward *f)
{
    const float *mean = call->in[3].data, *invstd = call->in[4].data;
    double *room = reel__scratch((size_t)f->rows.width * AFFINE_ROOM);
    if (!room) return REEL_ERR_MEMORY;
    take_affine(f, room);
    for (int64_t c = 0; c < f->rows.channels; c++) {
        f->wide[CENTER][c] = (double)mean[c];
        f->wide[SCALE][c] = (double)invstd[c];
    }
    set_factors(call, f);
    apply_all(f);
    reel__scratch_free(room);
    return REEL_OK;
}

/* Whether the operands of a forward kernel lie as it wants them; then f is set up. */
static bool begin_forward(const reel__kcall *call, bn_forward *f)
{
    const reel__batch_norm_attrs *a = call->attrs;
    if (!dense_rows(call->in, call->n_in, 0) || !dense_rows(call->in, call->n_in, 5) ||
        !dense_rows(call->out, call->n_out, 0) || reel__numel(call->in[0].meta) == 0)
        return false;
    for (int i = 1; i <= 4; i++)
        if (!dense_channels(call->in, call->n_in, i)) return false;
    for (int i = 1; i <= 2; i++)
        if (!dense_channels(call->out, call->n_out, i)) return false;
    *f = (bn_forward){
        .isa = REEL_ISA_PICK(batch_norm),
        .rows = cut_rows(call->in[0].meta),
        .x = call->in[0].data,
        .residual = operand(call->in, call->n_in, 5),
        .y = call->out[0].data,
        .relu = a->relu != 0,
    };
    return true;
}

/* x, w?, b?, mean?, var?, residual? -> y, save_mean, save_invstd */
bool reel__fast_batch_norm(const reel__kcall *call, reel_status *status)
{
    const reel__batch_norm_attrs *a = call->attrs;
    bool statistics =
        present(call->in, call->n_in, 3) && present(call->in, call->n_in, 4);
    bn_forward f;
    if ((!a->training && !statistics) || !begin_forward(call, &f)) return false;
    *status = run_forward(call, &f);
    return true;
}

/* x, w?, b?, save_mean, save_invstd, residual? -> y */
bool reel__fast_batch_norm_apply(const reel__kcall *call, reel_status *status)
{
    bn_forward f;
    if (!begin_forward(call, &f)) return false;
    *status = run_apply(call, &f);
    return true;
}

/* ---- backward ---------------------------------------------------------------------- */

enum { B_CENTER, B_SCALE, B_SLOPE, B_MEAN_G, SLOPES };

typedef struct bn_gradients {
    const reel__batch_norm_isa *isa;
    bn_rows rows;
    reel__bn_backward all;  /* the operands, from their first element             */
    double *sum_g, *sum_gx; /* [tasks, width]: of each part                       */
    double *wide[SLOPES];   /* [width]: ((g - mean_g) - (x - center) slope) scale */
    float *narrow[SLOPES];  /* the same in f32                                    */
    bool unusual_sums, unusual;
} bn_gradients;

static reel__bn_backward slice(const bn_gradients *b, int64_t task)
{
    const bn_part p = part_of(&b->rows, task);
    const reel__bn_backward *all = &b->all;
    return (reel__bn_backward){
        .gy = all->gy + p.begin,
        .x = all->x + p.begin,
        .y = all->y ? all->y + p.begin : NULL,
        .gx = all->gx ? all->gx + p.begin : NULL,
        .gres = all->gres ? all->gres + p.begin : NULL,
        .rows = p.rows,
        .width = p.width,
        .training = all->training,
    };
}

static void sums_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const bn_gradients *b = ctx;
    const reel__bn_backward part = slice(b, task);
    const float *mean = b->narrow[B_CENTER];
    double *sum_g = b->sum_g + task * b->rows.width;
    double *sum_gx = b->sum_gx + task * b->rows.width;
    if (b->unusual_sums || !b->isa->backward_sums(&part, mean, sum_g, sum_gx))
        reel__bn_backward_sums_wide(&part, mean, sum_g, sum_gx);
}

static void gradients_task(void *ctx, int64_t task, int worker)
{
    (void)worker;
    const bn_gradients *b = ctx;
    const reel__bn_backward part = slice(b, task);
    const reel__bn_slopes s = {b->narrow[B_CENTER], b->narrow[B_SCALE],
                               b->narrow[B_SLOPE], b->narrow[B_MEAN_G]};
    if (b->unusual)
        reel__bn_backward_apply_wide(&part, (const double *const *)b->wide);
    else
        b->isa->backward_apply(&part, &s);
}

/* The parts' sums added in order; the first `channels` values are the result. */
static void add_parts(const bn_rows *r, const double *parts, double *sum)
{
    memset(sum, 0, (size_t)r->width * sizeof *sum);
    for (int64_t task = 0; task < r->chunks; task++)
        for (int64_t j = 0; j < r->width; j++) sum[j] += parts[task * r->width + j];
    for (int64_t k = 1; k < r->fold; k++)
        for (int64_t c = 0; c < r->channels; c++) sum[c] += sum[k * r->channels + c];
    for (int64_t c = 0; c < r->channels && r->tail; c++)
        sum[c] += parts[r->chunks * r->width + c];
}

/* gw and gb from the sums, and the factors of
 * gx = w invstd (g - mean(g) - (x - mean) invstd^2 mean(g (x - mean))). */
static void channel_gradients(const reel__kcall *call, bn_gradients *b,
                              const double *sum_g, const double *sum_gx)
{
    const reel__batch_norm_attrs *a = call->attrs;
    const float *w = operand(call->in, call->n_in, 2), *invstd = call->in[4].data;
    float *gw = operand(call->out, call->n_out, 1);
    float *gb = operand(call->out, call->n_out, 2);
    const int64_t channels = b->rows.channels;
    const double count = (double)b->rows.rows;
    double *scale = b->wide[B_SCALE], *slope = b->wide[B_SLOPE];
    double *mean_g = b->wide[B_MEAN_G];
    for (int64_t c = 0; c < channels; c++) {
        const double s = (double)invstd[c];
        scale[c] = w ? (double)w[c] * s : s;
        /* Running statistics are constants: x enters gx in training only. */
        slope[c] = a->training ? sum_gx[c] / count * s * s : 0;
        mean_g[c] = a->training ? sum_g[c] / count : 0;
    }
    for (int64_t c = 0; c < channels && gw; c++)
        gw[c] = (float)(sum_gx[c] * (double)invstd[c]);
    for (int64_t c = 0; c < channels && gb; c++) gb[c] = (float)sum_g[c];
    b->unusual = b->unusual_sums;
    for (int i = B_SCALE; i < SLOPES; i++)
        b->unusual |= !reel__all_within(b->wide[i], channels, 0, REEL_MOST_USUAL);
    for (int i = 0; i < SLOPES; i++)
        repeat(&b->rows, b->wide[i], b->narrow[i], b->unusual);
}

static void set_centers(const reel__kcall *call, bn_gradients *b)
{
    const float *mean = call->in[3].data, *invstd = call->in[4].data;
    const int64_t channels = b->rows.channels;
    double *center = b->wide[B_CENTER], *scale = b->wide[B_SCALE];
    for (int64_t c = 0; c < channels; c++) {
        center[c] = (double)mean[c];
        scale[c] = (double)invstd[c];
    }
    b->unusual_sums =
        !reel__all_within(center, channels, 0, REEL_MOST_USUAL) ||
        !reel__all_within(scale, channels, REEL_LEAST_INVSTD, REEL_MOST_INVSTD);
    repeat(&b->rows, center, b->narrow[B_CENTER], false);
}

static reel_status run_backward(const reel__kcall *call, bn_gradients *b)
{
    const bn_rows *r = &b->rows;
    const size_t width = (size_t)r->width, parts = (size_t)task_count(r);
    double *sum_g = reel__scratch(
        width * ((2 + 2 * parts + SLOPES) * sizeof *sum_g + SLOPES * sizeof(float)));
    if (!sum_g) return REEL_ERR_MEMORY;
    double *sum_gx = sum_g + width;
    b->sum_g = sum_gx + width;
    b->sum_gx = b->sum_g + parts * width;
    double *room = b->sum_gx + parts * width;
    float *narrow = (float *)(void *)(room + SLOPES * width);
    for (int i = 0; i < SLOPES; i++) {
        b->wide[i] = room + (size_t)i * width;
        b->narrow[i] = narrow + (size_t)i * width;
    }
    set_centers(call, b);
    reel__parallel(task_count(r), sums_task, b);
    add_parts(r, b->sum_g, sum_g);
    add_parts(r, b->sum_gx, sum_gx);
    channel_gradients(call, b, sum_g, sum_gx);
    if (b->all.gx || b->all.gres) reel__parallel(task_count(r), gradients_task, b);
    reel__scratch_free(sum_g);
    return REEL_OK;
}

/* gy, x, w?, save_mean, save_invstd, y? -> gx?, gw?, gb?, gres? */
bool reel__fast_batch_norm_backward(const reel__kcall *call, reel_status *status)
{
    if (!dense_rows(call->in, call->n_in, 0) || !dense_rows(call->in, call->n_in, 1) ||
        !dense_rows(call->in, call->n_in, 5) || !dense_rows(call->out, call->n_out, 0) ||
        !dense_rows(call->out, call->n_out, 3) || reel__numel(call->in[1].meta) == 0)
        return false;
    for (int i = 2; i <= 4; i++)
        if (!dense_channels(call->in, call->n_in, i)) return false;
    for (int i = 1; i <= 2; i++)
        if (!dense_channels(call->out, call->n_out, i)) return false;
    bn_gradients b = {
        .isa = REEL_ISA_PICK(batch_norm),
        .rows = cut_rows(call->in[1].meta),
        .all = {.gy = call->in[0].data,
                .x = call->in[1].data,
                .y = operand(call->in, call->n_in, 5),
                .gx = operand(call->out, call->n_out, 0),
                .gres = operand(call->out, call->n_out, 3),
                .training = ((const reel__batch_norm_attrs *)call->attrs)->training != 0},
    };
    *status = run_backward(call, &b);
    return true;
}
