/* batch_norm.c: inner loops of batch normalization. Memory-bound: each function reads
 * each element once. Where a channel's sums are wanted, blocks of vectors stay in
 * registers along all rows; else the loop runs along memory. Widths that are no multiple
 * of the vector end with single channels. */
#include "backend/cpu/isa/batch_norm.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = 4
}; /* vectors side by side: independent sums hide the latency of adding */

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
 * difference of squares below from cancelling. */
INLINE void moments_block(const float *x, int64_t rows, int64_t width, float *mean,
                          float *deviation, int n)
{
    reel_vf shift[BLOCK], sum[BLOCK], squares[BLOCK];
    for (int v = 0; v < n; v++) {
        shift[v] = reel_vload(x + v * REEL_VW);
        sum[v] = squares[v] = reel_vset(0);
    }
    for (int64_t i = 1; i < rows; i++)
        for (int v = 0; v < n; v++) {
            reel_vf d = reel_vload(x + i * width + v * REEL_VW) - shift[v];
            sum[v] += d;
            squares[v] += d * d;
        }
    const float share = 1 / (float)rows;
    for (int v = 0; v < n; v++) {
        reel_vstore(mean + v * REEL_VW, shift[v] + sum[v] * share);
        reel_vstore(deviation + v * REEL_VW, squares[v] - sum[v] * sum[v] * share);
    }
}

static void moments(const float *x, int64_t rows, int64_t width, float *mean,
                    float *deviation)
{
    int64_t j = 0;
    for (; j + BLOCK * REEL_VW <= width; j += BLOCK * REEL_VW)
        moments_block(x + j, rows, width, mean + j, deviation + j, BLOCK);
    for (; j + REEL_VW <= width; j += REEL_VW)
        moments_block(x + j, rows, width, mean + j, deviation + j, 1);
    for (; j < width; j++) {
        float sum = 0, squares = 0;
        for (int64_t i = 1; i < rows; i++) {
            float d = x[i * width + j] - x[j];
            sum += d;
            squares += d * d;
        }
        mean[j] = x[j] + sum / (float)rows;
        deviation[j] = squares - sum * sum / (float)rows;
    }
}

/* ---- apply ------------------------------------------------------------------------- */

INLINE void apply_rows(const float *x, const float *residual, float *y, int64_t rows,
                       int64_t width, const float *scale, const float *offset, bool add,
                       bool relu)
{
    for (int64_t i = 0; i < rows * width; i += width) {
        int64_t j = 0;
        for (; j + REEL_VW <= width; j += REEL_VW) {
            reel_vf v =
                reel_vload(x + i + j) * reel_vload(scale + j) + reel_vload(offset + j);
            if (add) v += reel_vload(residual + i + j);
            reel_vstore(y + i + j, relu ? reel_vrelu(v) : v);
        }
        for (; j < width; j++) {
            float v = x[i + j] * scale[j] + offset[j];
            if (add) v += residual[i + j];
            y[i + j] = relu ? relu_one(v) : v;
        }
    }
}

static void apply(const float *x, const float *residual, float *y, int64_t rows,
                  int64_t width, const float *scale, const float *offset, bool relu)
{
    if (residual && relu)
        apply_rows(x, residual, y, rows, width, scale, offset, true, true);
    else if (residual)
        apply_rows(x, residual, y, rows, width, scale, offset, true, false);
    else if (relu)
        apply_rows(x, residual, y, rows, width, scale, offset, false, true);
    else
        apply_rows(x, residual, y, rows, width, scale, offset, false, false);
}

/* ---- backward ---------------------------------------------------------------------- */

INLINE void backward_sums_block(const reel_bn_backward *b, int64_t j, const float *y,
                                const float *mean, float *sum_g, float *sum_gx, int n)
{
    reel_vf g_sum[BLOCK], gx_sum[BLOCK], center[BLOCK];
    for (int v = 0; v < n; v++) {
        center[v] = reel_vload(mean + j + v * REEL_VW);
        g_sum[v] = gx_sum[v] = reel_vset(0);
    }
    for (int64_t i = j; i < b->rows * b->width; i += b->width)
        for (int v = 0; v < n; v++) {
            reel_vf g = masked_vector(b->gy, y, i + v * REEL_VW);
            g_sum[v] += g;
            gx_sum[v] += g * (reel_vload(b->x + i + v * REEL_VW) - center[v]);
        }
    for (int v = 0; v < n; v++) {
        reel_vstore(sum_g + j + v * REEL_VW, g_sum[v]);
        reel_vstore(sum_gx + j + v * REEL_VW, gx_sum[v]);
    }
}

INLINE void backward_sums_all(const reel_bn_backward *b, const float *y,
                              const float *mean, float *sum_g, float *sum_gx)
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
            float g = masked_one(b->gy, y, i);
            sum_g[j] += g;
            sum_gx[j] += g * (b->x[i] - mean[j]);
        }
    }
}

static void backward_sums(const reel_bn_backward *b, const float *mean, float *sum_g,
                          float *sum_gx)
{
    if (b->y)
        backward_sums_all(b, b->y, mean, sum_g, sum_gx);
    else
        backward_sums_all(b, NULL, mean, sum_g, sum_gx);
}

/* Results may lie where operands do: each element is read before anything is written there. */
INLINE void backward_apply_all(const reel_bn_backward *b, const float *y, float *gx,
                               float *gres, const float *mean, const float *scale,
                               const float *slope, const float *offset)
{
    const int64_t width = b->width;
    for (int64_t i = 0; i < b->rows * width; i += width) {
        int64_t j = 0;
        for (; j + REEL_VW <= width; j += REEL_VW) {
            reel_vf g = masked_vector(b->gy, y, i + j);
            reel_vf d = reel_vload(b->x + i + j) - reel_vload(mean + j);
            if (gres) reel_vstore(gres + i + j, g);
            if (!gx) continue;
            reel_vf constant = reel_vload(slope + j) * d + reel_vload(offset + j);
            reel_vstore(gx + i + j, reel_vload(scale + j) * g + constant);
        }
        for (; j < width; j++) {
            float g = masked_one(b->gy, y, i + j), d = b->x[i + j] - mean[j];
            if (gres) gres[i + j] = g;
            if (!gx) continue;
            float constant = slope[j] * d + offset[j];
            gx[i + j] = scale[j] * g + constant;
        }
    }
}

/* One copy of the loop for each combination that training meets often. */
static void backward_apply(const reel_bn_backward *b, const float *mean,
                           const float *scale, const float *slope, const float *offset)
{
    if (b->y && b->gx && b->gres)
        backward_apply_all(b, b->y, b->gx, b->gres, mean, scale, slope, offset);
    else if (b->y && b->gx)
        backward_apply_all(b, b->y, b->gx, NULL, mean, scale, slope, offset);
    else if (b->gx && !b->gres)
        backward_apply_all(b, NULL, b->gx, NULL, mean, scale, slope, offset);
    else
        backward_apply_all(b, b->y, b->gx, b->gres, mean, scale, slope, offset);
}

const reel_batch_norm_isa ISA(batch_norm) = {moments, apply, backward_sums,
                                             backward_apply};
