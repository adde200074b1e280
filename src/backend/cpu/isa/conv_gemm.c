/* conv_gemm.c: the matrix products inside convolutions, and the packing of weights into
 * panels. */
#include "backend/cpu/isa/conv_blocks.h"
#include "backend/cpu/isa/transpose.h"
#include "backend/cpu/isa/vmath.h"

static void pack(const float *w, int64_t k, int64_t c, int64_t taps, int64_t o,
                 int64_t width, float *panel)
{
    int64_t length = c * taps; /* of one output channel, contiguous */
    for (int64_t h = 0; h < width; h += REEL_VW) {
        int64_t rows = k - o - h; /* may be <= 0: zeros */
        for (int64_t q = 0; q < length; q += REEL_VW) {
            reel_vf v[REEL_VW];
            int64_t cols = length - q < REEL_VW ? length - q : REEL_VW;
            reel_load_columns(w + (o + h) * length + q, length, rows, cols, v);
            int64_t channel = q / taps, tap = q % taps;
            for (int64_t j = 0; j < cols; j++) {
                reel_vstore(panel + (tap * c + channel) * width + h, v[j]);
                if (++tap == taps) tap = 0, channel++;
            }
        }
    }
}

static void pack_transposed(const float *w, int64_t k, int64_t c, int64_t taps, int64_t o,
                            int64_t width, const int64_t *pick, int64_t n_pick,
                            float *panel)
{
    for (int64_t i = 0; i < k; i++)
        for (int64_t p = 0; p < n_pick; p++) {
            const float *from = w + (i * c + o) * taps + pick[p];
            float *to = panel + (p * k + i) * width;
            int64_t valid = c - o < width ? c - o : width;
            for (int64_t j = 0; j < valid; j++) to[j] = from[j * taps];
            for (int64_t j = valid; j < width; j++) to[j] = 0;
        }
}

static bool unpack(const float *panel, int64_t parts, int64_t part_step, int64_t k,
                   int64_t c, int64_t taps, int64_t o, int64_t width, float *w)
{
    reel_vf test = {0}; /* 0 times infinity or NaN is NaN */
    int64_t length = c * taps;
    for (int64_t h = 0; h < width && o + h < k; h += REEL_VW)
        for (int64_t q = 0; q < length; q += REEL_VW) {
            int64_t cols = length - q < REEL_VW ? length - q : REEL_VW;
            int64_t channel = q / taps, tap = q % taps;
            reel_vf v[REEL_VW] = {{0}};
            for (int64_t j = 0; j < cols; j++) {
                const float *from = panel + (tap * c + channel) * width + h;
                for (int64_t p = 0; p < parts; p++)
                    v[j] += reel_vload(from + p * part_step);
                test += 0 * v[j];
                if (++tap == taps) tap = 0, channel++;
            }
            reel_store_columns(w + (o + h) * length + q, length, k - o - h, cols, v);
        }
    return !reel_vany_nan(test);
}

const reel__conv_gemm ISA(conv_gemm) = {
    .lanes = REEL_VW,
    .rows = ROWS2,
    .gather = ISA(conv_gather),
    .dense = ISA(conv_dense),
    .outer = ISA(conv_outer),
    .pack = pack,
    .pack_transposed = pack_transposed,
    .unpack = unpack,
};
