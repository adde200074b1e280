/* pool.c: inner loops of channels-last pooling: vectors of channels stay in registers
 * while the loop walks through a window. The backward pass gathers: each input adds up
 * what the outputs that cover it hand back, in their order, and is written once. */
#include "backend/cpu/isa/pool.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { BLOCK = 4 }; /* vectors of channels side by side */

/* Half a vector of values beside a whole one of 64-bit indices. */
enum { HALF = REEL_VW / 2 };
typedef float half_f __attribute__((vector_size(HALF * 4)));
typedef float half_fu __attribute__((vector_size(HALF * 4), aligned(4), may_alias));
typedef int32_t half_i __attribute__((vector_size(HALF * 4)));
typedef int64_t whole_l __attribute__((vector_size(HALF * 8)));
typedef int64_t whole_lu __attribute__((vector_size(HALF * 8), aligned(8), may_alias));

/* ---- max --------------------------------------------------------------------------- */

/* n vectors of channels, of one window. NaN wins, the last of several, as
 * in the reference. */
INLINE void max_block(const reel__pool_plan *plan, const float *x, reel__window wh,
                      reel__window ww, float *y, int64_t *index, int n)
{
    reel_vf best[BLOCK];
    reel_vi where[BLOCK];
    const bool empty = wh.begin >= wh.end || ww.begin >= ww.end;
    const int32_t start = empty ? -1 : (int32_t)(wh.begin * plan->w.size + ww.begin);
    for (int v = 0; v < n; v++) {
        best[v] = reel_vset(-INFINITY);
        where[v] = (reel_vi){0} + start;
    }
    for (int64_t h = wh.begin; h < wh.end; h += plan->h.step)
        for (int64_t w = ww.begin; w < ww.end; w += plan->w.step) {
            const int64_t at = h * plan->w.size + w;
            const reel_vi here = (reel_vi){0} + (int32_t)at;
            for (int v = 0; v < n; v++) {
                reel_vf value = reel_vload(x + at * plan->channels + v * REEL_VW);
                reel_vi wins = (value > best[v]) | (value != value);
                best[v] = (reel_vf)(((reel_vi)value & wins) | ((reel_vi)best[v] & ~wins));
                where[v] = (here & wins) | (where[v] & ~wins);
            }
        }
    for (int v = 0; v < n; v++) {
        reel_vstore(y + v * REEL_VW, best[v]);
        for (int k = 0; index && k < REEL_VW; k++) index[v * REEL_VW + k] = where[v][k];
    }
}

INLINE void max_one(const reel__pool_plan *plan, const float *x, reel__window wh,
                    reel__window ww, float *y, int64_t *index)
{
    const bool empty = wh.begin >= wh.end || ww.begin >= ww.end;
    int64_t where = empty ? -1 : wh.begin * plan->w.size + ww.begin;
    float best = -INFINITY;
    for (int64_t h = wh.begin; h < wh.end; h += plan->h.step)
        for (int64_t w = ww.begin; w < ww.end; w += plan->w.step) {
            float value = x[(h * plan->w.size + w) * plan->channels];
            if (!(value > best || isnan(value))) continue;
            best = value;
            where = h * plan->w.size + w;
        }
    *y = best;
    if (index) *index = where;
}

static void max_row(const reel__pool_plan *shared, const float *x, int64_t p, float *y,
                    int64_t *index)
{
    const reel__pool_plan copy = *shared, *plan = &copy; /* no store can alias it */
    const int64_t channels = plan->channels;
    const reel__window wh = plan->h.window[p];
    for (int64_t q = 0; q < plan->w.outs; q++, y += channels) {
        const reel__window ww = plan->w.window[q];
        int64_t *at = index ? index + q * channels : NULL;
        int64_t c = 0;
        for (; c + BLOCK * REEL_VW <= channels; c += BLOCK * REEL_VW)
            max_block(plan, x + c, wh, ww, y + c, at ? at + c : NULL, BLOCK);
        for (; c + REEL_VW <= channels; c += REEL_VW)
            max_block(plan, x + c, wh, ww, y + c, at ? at + c : NULL, 1);
        for (; c < channels; c++) max_one(plan, x + c, wh, ww, y + c, at ? at + c : NULL);
    }
}

/* n half vectors of channels of input `here`: the gradients of the outputs ph x pw whose
 * largest element it was. */
INLINE void max_backward_block(const reel__pool_plan *plan, const float *gy,
                               const int64_t *index, int64_t here, reel__window ph,
                               reel__window pw, float *gx, int n)
{
    half_f sum[BLOCK];
    const whole_l wanted = (whole_l){0} + here;
    for (int v = 0; v < n; v++) sum[v] = (half_f){0};
    for (int64_t p = ph.begin; p < ph.end; p++)
        for (int64_t q = pw.begin; q < pw.end; q++) {
            const int64_t at = (p * plan->w.outs + q) * plan->channels;
            for (int v = 0; v < n; v++) {
                whole_l mine = *(const whole_lu *)(index + at + v * HALF) == wanted;
                half_i keep = __builtin_convertvector(mine, half_i);
                half_f g = *(const half_fu *)(gy + at + v * HALF);
                sum[v] += (half_f)((half_i)g & keep);
            }
        }
    for (int v = 0; v < n; v++) *(half_fu *)(gx + v * HALF) = sum[v];
}

INLINE float max_backward_one(const reel__pool_plan *plan, const float *gy,
                              const int64_t *index, int64_t here, reel__window ph,
                              reel__window pw)
{
    float sum = 0;
    for (int64_t p = ph.begin; p < ph.end; p++)
        for (int64_t q = pw.begin; q < pw.end; q++) {
            const int64_t at = (p * plan->w.outs + q) * plan->channels;
            if (index[at] == here) sum += gy[at];
        }
    return sum;
}

static void max_backward_row(const reel__pool_plan *shared, const float *gy,
                             const int64_t *index, int64_t h, float *gx)
{
    const reel__pool_plan copy = *shared, *plan = &copy; /* no store can alias it */
    const int64_t channels = plan->channels;
    const reel__window ph = plan->h.covered[h];
    for (int64_t w = 0; w < plan->w.size; w++, gx += channels) {
        const reel__window pw = plan->w.covered[w];
        const int64_t here = h * plan->w.size + w;
        int64_t c = 0;
        for (; c + BLOCK * HALF <= channels; c += BLOCK * HALF)
            max_backward_block(plan, gy + c, index + c, here, ph, pw, gx + c, BLOCK);
        for (; c + 2 * HALF <= channels; c += 2 * HALF)
            max_backward_block(plan, gy + c, index + c, here, ph, pw, gx + c, 2);
        for (; c + HALF <= channels; c += HALF)
            max_backward_block(plan, gy + c, index + c, here, ph, pw, gx + c, 1);
        for (; c < channels; c++)
            gx[c] = max_backward_one(plan, gy + c, index + c, here, ph, pw);
    }
}

/* ---- average ----------------------------------------------------------------------- */

INLINE void average_block(const reel__pool_plan *plan, const float *x, reel__window wh,
                          reel__window ww, float share, float *y, int n)
{
    reel_vf sum[BLOCK];
    for (int v = 0; v < n; v++) sum[v] = reel_vset(0);
    for (int64_t h = wh.begin; h < wh.end; h++)
        for (int64_t w = ww.begin; w < ww.end; w++)
            for (int v = 0; v < n; v++)
                sum[v] +=
                    reel_vload(x + (h * plan->w.size + w) * plan->channels + v * REEL_VW);
    for (int v = 0; v < n; v++) reel_vstore(y + v * REEL_VW, sum[v] * share);
}

INLINE float average_one(const reel__pool_plan *plan, const float *x, reel__window wh,
                         reel__window ww, float share)
{
    float sum = 0;
    for (int64_t h = wh.begin; h < wh.end; h++)
        for (int64_t w = ww.begin; w < ww.end; w++)
            sum += x[(h * plan->w.size + w) * plan->channels];
    return sum * share;
}

static void average_row(const reel__pool_plan *shared, const float *x, int64_t p,
                        float *y)
{
    const reel__pool_plan copy = *shared, *plan = &copy; /* no store can alias it */
    const int64_t channels = plan->channels;
    const reel__window wh = plan->h.window[p];
    for (int64_t q = 0; q < plan->w.outs; q++, y += channels) {
        const reel__window ww = plan->w.window[q];
        const float share = plan->h.share[p] * plan->w.share[q];
        int64_t c = 0;
        for (; c + BLOCK * REEL_VW <= channels; c += BLOCK * REEL_VW)
            average_block(plan, x + c, wh, ww, share, y + c, BLOCK);
        for (; c + REEL_VW <= channels; c += REEL_VW)
            average_block(plan, x + c, wh, ww, share, y + c, 1);
        for (; c < channels; c++) y[c] = average_one(plan, x + c, wh, ww, share);
    }
}

INLINE void average_backward_block(const reel__pool_plan *plan, const float *gy,
                                   reel__window ph, reel__window pw, float *gx, int n)
{
    reel_vf sum[BLOCK];
    for (int v = 0; v < n; v++) sum[v] = reel_vset(0);
    for (int64_t p = ph.begin; p < ph.end; p++)
        for (int64_t q = pw.begin; q < pw.end; q++) {
            const float share = plan->h.share[p] * plan->w.share[q];
            const float *g = gy + (p * plan->w.outs + q) * plan->channels;
            for (int v = 0; v < n; v++) sum[v] += reel_vload(g + v * REEL_VW) * share;
        }
    for (int v = 0; v < n; v++) reel_vstore(gx + v * REEL_VW, sum[v]);
}

INLINE float average_backward_one(const reel__pool_plan *plan, const float *gy,
                                  reel__window ph, reel__window pw)
{
    float sum = 0;
    for (int64_t p = ph.begin; p < ph.end; p++)
        for (int64_t q = pw.begin; q < pw.end; q++)
            sum += gy[(p * plan->w.outs + q) * plan->channels] *
                   (plan->h.share[p] * plan->w.share[q]);
    return sum;
}

static void average_backward_row(const reel__pool_plan *shared, const float *gy,
                                 int64_t h, float *gx)
{
    const reel__pool_plan copy = *shared, *plan = &copy; /* no store can alias it */
    const int64_t channels = plan->channels;
    const reel__window ph = plan->h.covered[h];
    for (int64_t w = 0; w < plan->w.size; w++, gx += channels) {
        const reel__window pw = plan->w.covered[w];
        int64_t c = 0;
        for (; c + BLOCK * REEL_VW <= channels; c += BLOCK * REEL_VW)
            average_backward_block(plan, gy + c, ph, pw, gx + c, BLOCK);
        for (; c + REEL_VW <= channels; c += REEL_VW)
            average_backward_block(plan, gy + c, ph, pw, gx + c, 1);
        for (; c < channels; c++) gx[c] = average_backward_one(plan, gy + c, ph, pw);
    }
}

const reel__pool_isa ISA(pool) = {max_row, max_backward_row, average_row,
                                  average_backward_row};
