/* batch_norm.c: inner loops of batch normalization. Memory-bound: each function reads
 * each element once. Where a channel's sums are wanted, blocks of vectors stay in
 * registers along all rows; else the loop runs along memory. Widths that are not a multiple
 * of the vector end with single channels. */
#include "backend/cpu/isa/batch_norm.h"

#include "backend/cpu/usual.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = 4, /* vectors side by side: independent sums hide the latency of adding */
    RUN = 64   /* rows that are added in f32; runs are added in f64                  */
};

/* Half a vector of floats: as many as a vector holds doubles. */
typedef float half_vf __attribute__((vector_size(REEL_VW * 2), aligned(4), may_alias));

/* A sum in f64 for each float of a vector. */
typedef struct wide_sum {
    reel_vd half[2];
} wide_sum;

INLINE void add_lanes(wide_sum *to, reel_vf v)
{
    float lane[REEL_VW];
    reel_vstore(lane, v);
    for (int h = 0; h < 2; h++)
        to->half[h] +=
            __builtin_convertvector(*(const half_vf *)(lane + h * REEL_VWD), reel_vd);
}

INLINE void store_lanes(double *to, const wide_sum *from)
{
    for (int h = 0; h < 2; h++) *(reel_vdu *)(to + h * REEL_VWD) = from->half[h];
}

/* End of the run that begins at row i. */
INLINE int64_t run_end(int64_t i, int64_t rows)
{
    return rows - i < RUN ? rows : i + RUN;
}

/* ---- the arithmetic of one vector, and of one channel ------------------------------ */

INLINE float relu_one(float v)
{
    return v < 0 ? 0 : v;
}

/* gy but where y <= 0; all of gy without y. */
INLINE reel_vf masked_vector(const float *gy, const float *y, int64_t i)
{
    reel_vf g = reel_vload(gy + i);
    if (!y) return g;
    return (reel_vf)((reel_vi)g & ~(reel_vload(y + i) <= reel_vset(0)));
}

INLINE float masked_one(const float *gy, const float *y, int64_t i)
{
    return y && y[i] <= 0 ? 0 : gy[i];
}

/* ---- moments ----------------------------------------------------------------------- */

/* Deviations are taken from the first row: a value of the data itself keeps the
 * difference of squares below from cancelling, and is the mean of equal values exactly. */
INLINE void moments_block(const float *x, int64_t rows, int64_t width,
                          double *restrict mean, double *restrict deviation, int n)
{
    reel_vf shift[BLOCK];
    wide_sum all[BLOCK] = {0}, all_squares[BLOCK] = {0};
    for (int v = 0; v < n; v++) shift[v] = reel_vload(x + v * REEL_VW);
    for (int64_t i = 0; i < rows;) {
        reel_vf sum[BLOCK], squares[BLOCK];
        for (int v = 0; v < n; v++) sum[v] = squares[v] = reel_vset(0);
        for (const int64_t end = run_end(i, rows); i < end; i++)
            for (int v = 0; v < n; v++) {
                reel_vf d = reel_vload(x + i * width + v * REEL_VW) - shift[v];
                sum[v] += d;
                squares[v] += d * d;
            }
        for (int v = 0; v < n; v++) {
            add_lanes(&all[v], sum[v]);
            add_lanes(&all_squares[v], squares[v]);
        }
    }
    for (int v = 0; v < n; v++) {
        store_lanes(mean + v * REEL_VW, &all[v]);
        store_lanes(deviation + v * REEL_VW, &all_squares[v]);
    }
    const double share = 1 / (double)rows;
    for (int j = 0; j < n * REEL_VW; j++) {
        const double sum = mean[j];
        mean[j] = (double)x[j] + sum * share;
        deviation[j] -= sum * sum * share;
    }
}

static bool moments(const float *x, int64_t rows, int64_t width, double *mean,
                    double *deviation)
{
    int64_t j = 0;
    for (; j + BLOCK * REEL_VW <= width; j += BLOCK * REEL_VW)
        moments_block(x + j, rows, width, mean + j, deviation + j, BLOCK);
    for (; j + REEL_VW <= width; j += REEL_VW)
        moments_block(x + j, rows, width, mean + j, deviation + j, 1);
    for (; j < width; j++) {
        double sum = 0, squares = 0;
        for (int64_t i = 1; i < rows; i++) {
            double d = (double)x[i * width + j] - (double)x[j];
            sum += d;
            squares += d * d;
        }
        mean[j] = (double)x[j] + sum / (double)rows;
        deviation[j] = squares - sum * sum / (double)rows;
    }
    return reel__all_finite(mean, width) && reel__all_finite(deviation, width);
}

/* ---- apply ------------------------------------------------------------------------- */

/* What belongs to n vectors of channels. */
typedef struct factors {
    reel_vf center[BLOCK], scale[BLOCK], offset[BLOCK];
} factors;

INLINE factors load_factors(const reel__bn_affine *a, int64_t j, int n)
{
    factors f;
    for (int v = 0; v < n; v++) {
        f.center[v] = reel_vload(a->center + j + v * REEL_VW);
        f.scale[v] = reel_vload(a->scale + j + v * REEL_VW);
        f.offset[v] = reel_vload(a->offset + j + v * REEL_VW);
    }
    return f;
}

/* n vectors from place i on: all are read before one is written, as reads that follow writes
 * wait for those at like addresses. */
INLINE void apply_block(const float *x, const float *residual, float *y, int64_t i,
                        const factors *f, int n, bool add, bool relu)
{
    reel_vf to[BLOCK];
    for (int v = 0; v < n; v++) {
        const int64_t at = i + v * REEL_VW;
        to[v] = (reel_vload(x + at) - f->center[v]) * f->scale[v] + f->offset[v];
        if (add) to[v] += reel_vload(residual + at);
    }
    for (int v = 0; v < n; v++)
        reel_vstore(y + i + v * REEL_VW, relu ? reel_vrelu(to[v]) : to[v]);
}

INLINE void apply_rows(const float *x, const float *residual, float *y, int64_t rows,
                       int64_t width, const reel__bn_affine *a, bool add, bool relu)
{
    for (int64_t i = 0; i < rows * width; i += width) {
        int64_t j = 0;
        for (; j + BLOCK * REEL_VW <= width; j += BLOCK * REEL_VW) {
            const factors f = load_factors(a, j, BLOCK);
            apply_block(x, residual, y, i + j, &f, BLOCK, add, relu);
        }
        for (; j + REEL_VW <= width; j += REEL_VW) {
            const factors f = load_factors(a, j, 1);
            apply_block(x, residual, y, i + j, &f, 1, add, relu);
        }
        for (; j < width; j++) {
            float v = (x[i + j] - a->center[j]) * a->scale[j] + a->offset[j];
            if (add) v += residual[i + j];
            y[i + j] = relu ? relu_one(v) : v;
        }
    }
}

/* In rows of one block what belongs to the channels stays in registers. */
INLINE void apply_all(const float *x, const float *residual, float *y, int64_t rows,
                      int64_t width, const reel__bn_affine *a, bool add, bool relu)
{
    if (width != BLOCK * REEL_VW) {
        apply_rows(x, residual, y, rows, width, a, add, relu);
        return;
    }
    const factors f = load_factors(a, 0, BLOCK);
    for (int64_t i = 0; i < rows * width; i += BLOCK * REEL_VW)
        apply_block(x, residual, y, i, &f, BLOCK, add, relu);
}

static void apply(const float *x, const float *residual, float *y, int64_t rows,
                  int64_t width, const reel__bn_affine *a, bool relu)
{
    if (residual && relu)
        apply_all(x, residual, y, rows, width, a, true, true);
    else if (residual)
        apply_all(x, residual, y, rows, width, a, true, false);
    else if (relu)
        apply_all(x, residual, y, rows, width, a, false, true);
    else
        apply_all(x, residual, y, rows, width, a, false, false);
}

/* ---- backward ---------------------------------------------------------------------- */

INLINE void backward_sums_block(const reel__bn_backward *b, int64_t j, const float *y,
                                const float *mean, double *sum_g, double *sum_gx, int n)
{
    reel_vf center[BLOCK];
    wide_sum all_g[BLOCK] = {0}, all_gx[BLOCK] = {0};
    for (int v = 0; v < n; v++) center[v] = reel_vload(mean + j + v * REEL_VW);
    for (int64_t i = 0; i < b->rows;) {
        reel_vf g_sum[BLOCK], gx_sum[BLOCK];
        for (int v = 0; v < n; v++) g_sum[v] = gx_sum[v] = reel_vset(0);
        for (const int64_t end = run_end(i, b->rows); i < end; i++)
            for (int v = 0; v < n; v++) {
                const int64_t at = i * b->width + j + v * REEL_VW;
                reel_vf g = masked_vector(b->gy, y, at);
                g_sum[v] += g;
                gx_sum[v] += g * (reel_vload(b->x + at) - center[v]);
            }
        for (int v = 0; v < n; v++) {
            add_lanes(&all_g[v], g_sum[v]);
            add_lanes(&all_gx[v], gx_sum[v]);
        }
    }
    for (int v = 0; v < n; v++) {
        store_lanes(sum_g + j + v * REEL_VW, &all_g[v]);
        store_lanes(sum_gx + j + v * REEL_VW, &all_gx[v]);
    }
}

INLINE void backward_sums_all(const reel__bn_backward *b, const float *y,
                              const float *mean, double *sum_g, double *sum_gx)
{
    const int64_t width = b->width;
    int64_t j = 0;
    for (; j + BLOCK * REEL_VW <= width; j += BLOCK * REEL_VW)
        backward_sums_block(b, j, y, mean, sum_g, sum_gx, BLOCK);
    for (; j + REEL_VW <= width; j += REEL_VW)
        backward_sums_block(b, j, y, mean, sum_g, sum_gx, 1);
    for (; j < width; j++) {
        sum_g[j] = sum_gx[j] = 0;
        for (int64_t i = j; i < b->rows * width; i += width) {
            double g = (double)masked_one(b->gy, y, i);
            sum_g[j] += g;
            sum_gx[j] += g * ((double)b->x[i] - (double)mean[j]);
        }
    }
}

static bool backward_sums(const reel__bn_backward *b, const float *mean, double *sum_g,
                          double *sum_gx)
{
    if (b->y)
        backward_sums_all(b, b->y, mean, sum_g, sum_gx);
    else
        backward_sums_all(b, NULL, mean, sum_g, sum_gx);
    return reel__all_finite(sum_g, b->width) && reel__all_finite(sum_gx, b->width);
}

/* Results may lie where operands do: each element is read before anything is written there. */
INLINE void backward_apply_all(const reel__bn_backward *b, const float *y, float *gx,
                               float *gres, const reel__bn_slopes *s)
{
    const int64_t width = b->width;
    const float *center = s->center, *scale = s->scale, *slope = s->slope;
    const float *mean_g = s->mean_g;
    for (int64_t i = 0; i < b->rows * width; i += width) {
        int64_t j = 0;
        for (; j + REEL_VW <= width; j += REEL_VW) {
            reel_vf g = masked_vector(b->gy, y, i + j);
            reel_vf d = reel_vload(b->x + i + j) - reel_vload(center + j);
            if (gres) reel_vstore(gres + i + j, g);
            if (!gx) continue;
            reel_vf own = (g - reel_vload(mean_g + j)) - d * reel_vload(slope + j);
            reel_vstore(gx + i + j, own * reel_vload(scale + j));
        }
        for (; j < width; j++) {
            float g = masked_one(b->gy, y, i + j), d = b->x[i + j] - center[j];
            if (gres) gres[i + j] = g;
            if (gx) gx[i + j] = ((g - mean_g[j]) - d * slope[j]) * scale[j];
        }
    }
}

/* With statistics that are constants. */
static void backward_apply_fixed(const reel__bn_backward *b, const float *scale)
{
    for (int64_t i = 0; i < b->rows * b->width; i += b->width) {
        int64_t j = 0;
        for (; j + REEL_VW <= b->width; j += REEL_VW) {
            reel_vf g = masked_vector(b->gy, b->y, i + j);
            if (b->gres) reel_vstore(b->gres + i + j, g);
            if (b->gx) reel_vstore(b->gx + i + j, g * reel_vload(scale + j));
        }
        for (; j < b->width; j++) {
            float g = masked_one(b->gy, b->y, i + j);
            if (b->gres) b->gres[i + j] = g;
            if (b->gx) b->gx[i + j] = g * scale[j];
        }
    }
}

/* One copy of the loop for each combination that training meets often. */
static void backward_apply(const reel__bn_backward *b, const reel__bn_slopes *s)
{
    if (!b->training)
        backward_apply_fixed(b, s->scale);
    else if (b->y && b->gx && b->gres)
        backward_apply_all(b, b->y, b->gx, b->gres, s);
    else if (b->y && b->gx)
        backward_apply_all(b, b->y, b->gx, NULL, s);
    else if (b->gx && !b->gres)
        backward_apply_all(b, NULL, b->gx, NULL, s);
    else
        backward_apply_all(b, b->y, b->gx, b->gres, s);
}

const reel__batch_norm_isa ISA(batch_norm) = {moments, apply, backward_sums,
                                              backward_apply};
