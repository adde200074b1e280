/* batch_norm.c: inner loops of batch normalization. Memory-bound: each function reads
 * each element once. Where a channel's sums are wanted, blocks of vectors stay in
 * registers along all rows; else the loop runs along memory. Widths that are no multiple
 * of the vector end with single channels. */
#include "backend/cpu/isa/batch_norm.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = 4, /* vectors side by side: independent sums hide the latency of adding */
    RUN = 64   /* rows that are added in f32; runs are added in f64                  */
};

/* to[l] += v[l] in f64. */
INLINE void add_lanes(double *to, reel_vf v)
{
    for (int l = 0; l < REEL_VW; l++) to[l] += (double)v[l];
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
INLINE void moments_block(const float *x, int64_t rows, int64_t width, double *mean,
                          double *deviation, int n)
{
    reel_vf shift[BLOCK];
    for (int v = 0; v < n; v++) shift[v] = reel_vload(x + v * REEL_VW);
    for (int j = 0; j < n * REEL_VW; j++) mean[j] = deviation[j] = 0;
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
            add_lanes(mean + v * REEL_VW, sum[v]);
            add_lanes(deviation + v * REEL_VW, squares[v]);
        }
    }
    const double share = 1 / (double)rows;
    for (int j = 0; j < n * REEL_VW; j++) {
        const double sum = mean[j];
        mean[j] = (double)x[j] + sum * share;
        deviation[j] -= sum * sum * share;
    }
}

static void moments(const float *x, int64_t rows, int64_t width, double *mean,
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
}

/* ---- apply ------------------------------------------------------------------------- */

/* n rows side by side, which share what belongs to the channels. */
INLINE void apply_rows(const float *x, const float *residual, float *y, int n,
                       int64_t width, const reel_bn_affine *a, bool add, bool relu)
{
    int64_t j = 0;
    for (; j + REEL_VW <= width; j += REEL_VW) {
        const reel_vf center = reel_vload(a->center + j);
        const reel_vf scale = reel_vload(a->scale + j);
        const reel_vf offset = reel_vload(a->offset + j);
        reel_vf v[2];
        for (int r = 0; r < n; r++) {
            v[r] = (reel_vload(x + r * width + j) - center) * scale + offset;
            if (add) v[r] += reel_vload(residual + r * width + j);
        }
        for (int r = 0; r < n; r++)
            reel_vstore(y + r * width + j, relu ? reel_vrelu(v[r]) : v[r]);
    }
    for (; j < width; j++)
        for (int64_t i = j; i < n * width; i += width) {
            float v = (x[i] - a->center[j]) * a->scale[j] + a->offset[j];
            if (add) v += residual[i];
            y[i] = relu ? relu_one(v) : v;
        }
}

INLINE void apply_all(const float *x, const float *residual, float *y, int64_t rows,
                      int64_t width, const reel_bn_affine *a, bool add, bool relu)
{
    int64_t i = 0;
    for (; i + 2 <= rows; i += 2)
        apply_rows(x + i * width, add ? residual + i * width : NULL, y + i * width, 2,
                   width, a, add, relu);
    if (i < rows)
        apply_rows(x + i * width, add ? residual + i * width : NULL, y + i * width, 1,
                   width, a, add, relu);
}

static void apply(const float *x, const float *residual, float *y, int64_t rows,
                  int64_t width, const reel_bn_affine *a, bool relu)
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

INLINE void backward_sums_block(const reel_bn_backward *b, int64_t j, const float *y,
                                const float *mean, double *sum_g, double *sum_gx, int n)
{
    reel_vf center[BLOCK];
    for (int v = 0; v < n; v++) center[v] = reel_vload(mean + j + v * REEL_VW);
    for (int64_t k = j; k < j + n * REEL_VW; k++) sum_g[k] = sum_gx[k] = 0;
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
            add_lanes(sum_g + j + v * REEL_VW, g_sum[v]);
            add_lanes(sum_gx + j + v * REEL_VW, gx_sum[v]);
        }
    }
}

INLINE void backward_sums_all(const reel_bn_backward *b, const float *y,
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

static void backward_sums(const reel_bn_backward *b, const float *mean, double *sum_g,
                          double *sum_gx)
{
    if (b->y)
        backward_sums_all(b, b->y, mean, sum_g, sum_gx);
    else
        backward_sums_all(b, NULL, mean, sum_g, sum_gx);
}

/* Results may lie where operands do: each element is read before anything is written there.
 * n rows side by side, which share what belongs to the channels. */
INLINE void backward_apply_rows(const reel_bn_backward *b, int64_t i, int n,
                                const float *y, float *gx, float *gres,
                                const reel_bn_slopes *s)
{
    const int64_t width = b->width;
    int64_t j = 0;
    for (; j + REEL_VW <= width; j += REEL_VW) {
        const reel_vf center = reel_vload(s->center + j);
        const reel_vf scale = reel_vload(s->scale + j);
        const reel_vf slope = reel_vload(s->slope + j);
        const reel_vf mean_g = reel_vload(s->mean_g + j);
        for (int r = 0; r < n; r++) {
            const int64_t at = i + r * width + j;
            reel_vf g = masked_vector(b->gy, y, at);
            reel_vf d = reel_vload(b->x + at) - center;
            if (gres) reel_vstore(gres + at, g);
            if (gx) reel_vstore(gx + at, ((g - mean_g) - d * slope) * scale);
        }
    }
    for (; j < width; j++)
        for (int64_t at = i + j; at < i + n * width; at += width) {
            float g = masked_one(b->gy, y, at), d = b->x[at] - s->center[j];
            if (gres) gres[at] = g;
            if (gx) gx[at] = ((g - s->mean_g[j]) - d * s->slope[j]) * s->scale[j];
        }
}

INLINE void backward_apply_all(const reel_bn_backward *b, const float *y, float *gx,
                               float *gres, const reel_bn_slopes *s)
{
    int64_t i = 0;
    for (; i + 2 <= b->rows; i += 2)
        backward_apply_rows(b, i * b->width, 2, y, gx, gres, s);
    if (i < b->rows) backward_apply_rows(b, i * b->width, 1, y, gx, gres, s);
}

/* With statistics that are constants. */
static void backward_apply_fixed(const reel_bn_backward *b, const float *scale)
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
static void backward_apply(const reel_bn_backward *b, const reel_bn_slopes *s)
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

const reel_batch_norm_isa ISA(batch_norm) = {moments, apply, backward_sums,
                                             backward_apply};
