/* conv_kernels.h: inner loops of the convolutions, one table an instruction set.
 *
 * Weights are packed in panels of output channels: as many panels of 2 * lanes columns as
 * fit, then one of `lanes` columns if anything is left, padded with zeros. Panel `o` (its
 * first column) of a packed [rows][columns] matrix begins at o * rows floats. */
#ifndef REEL_ISA_CONV_KERNELS_H
#define REEL_ISA_CONV_KERNELS_H

#include "backend/cpu/epilogue.h"
#include "backend/cpu/isa/isa.h"

/* D[i] = bias + sum over taps t, floats j of a[i][tap[t] + j] * b[t][j][0..width-1]; then
 * residual and relu. The epilogue's `act` is left to the caller. */
typedef struct reel__conv_gather {
    const float *const *a; /* m pixels                                    */
    float *const *d;       /* m results; the panel's begin `column` floats on */
    int64_t column;
    int64_t m;
    const int64_t *tap; /* offset of each tap from a[i]                    */
    int64_t taps, len;
    const float *b; /* panel, [taps][len][width]                           */
    int64_t width, valid;
    const reel__epilogue *end;
} reel__conv_gather;

/* P[i][0..width-1] (+)= sum over rows y, steps t of
 * a[y][tap + t * a_step + i] * b[y][column + t * b_step + 0..width-1],  i < m */
typedef struct reel__conv_outer {
    const float *const *a, *const *b;
    int64_t rows, steps, tap, a_step, column, b_step;
    int64_t m;
    float *p;
    int64_t width;
    bool accumulate;
} reel__conv_outer;

typedef struct reel__conv_gemm {
    int64_t lanes;
    /* Rows of a register block with a wide panel; callers size their blocks by it. */
    int64_t rows;
    void (*gather)(const reel__conv_gather *g);
    /* D[m, width] (+)= A[m, len] * panel [len][width]; lda, ldd floats between rows. */
    void (*dense)(const float *a, int64_t lda, int64_t m, int64_t len, const float *panel,
                  int64_t width, float *d, int64_t ldd, bool accumulate);
    void (*outer)(const reel__conv_outer *g);
    /* One panel of w [k][c][taps], columns o..o+width-1 of k -> [taps][c][width]. */
    void (*pack)(const float *w, int64_t k, int64_t c, int64_t taps, int64_t o,
                 int64_t width, float *panel);
    /* One panel of w transposed, columns o..o+width-1 of c -> [n_pick][k][width] with the
     * taps that `pick` names. */
    void (*pack_transposed)(const float *w, int64_t k, int64_t c, int64_t taps, int64_t o,
                            int64_t width, const int64_t *pick, int64_t n_pick,
                            float *panel);
    /* The way back: w[o..][c][taps] = sum of `parts` panels [taps][c][width], part_step
     * floats apart, in order. Whether all sums are finite. */
    bool (*unpack)(const float *panel, int64_t parts, int64_t part_step, int64_t k,
                   int64_t c, int64_t taps, int64_t o, int64_t width, float *w);
} reel__conv_gemm;
REEL_ISA_DECLARE(reel__conv_gemm, conv_gemm);

/* One channel a group: the same with products channel by channel. The weights are
 * [taps][width], width being the channels rounded up to whole vectors. */
typedef struct reel__conv_depthwise {
    /* d[i][c] = bias[c] + sum over t of a[i][tap[t] + c] * b[t][c],  c < valid */
    void (*gather)(const reel__conv_gather *g);
    /* P[c] (+)= sum over rows, steps of a[..][tap + c] * b[..][c],  c < m; 0 up to
     * width */
    void (*outer)(const reel__conv_outer *g);
} reel__conv_depthwise;
REEL_ISA_DECLARE(reel__conv_depthwise, conv_depthwise);

/* Winograd F(4,3): points 0, 1, -1, 2, -2, infinity (Lavin and Gray 2015). Channels are
 * in multiples of 16. Element e of the 36 is at e * step floats from the first. */
typedef struct reel__conv_winograd {
    /* B' d B: 6x6 pixels, c channels each. */
    void (*input)(const float *const pixel[36], int64_t c, float *v, int64_t step);
    /* A' m A + bias, then residual (16 pixels, or NULL) and relu: 4x4 pixels, `width`
     * channels each. Whether all of A' m A is finite. */
    bool (*output)(const float *m, int64_t step, int64_t width, const float *bias,
                   const float *const *residual, bool relu, float *const pixel[16]);
    /* A g A': 4x4 pixels of the output's gradient, k channels each. */
    void (*output_grad)(const float *const pixel[16], int64_t k, float *z, int64_t step);
    /* G w G' of a panel: w[(o + column) * o_step + i * i_step + tap], i < n, taps
     * contiguous, reversed if `rotate` -> u[e][i][width]. Reads nothing from `end` on. */
    void (*weight)(const float *w, const float *end, int64_t o_step, int64_t i_step,
                   bool rotate, int64_t n, int64_t width, float *u, int64_t step);
    /* The same from a packed panel: w[tap][i][width], taps tap_step floats apart. */
    void (*weight_packed)(const float *w, int64_t tap_step, int64_t n, int64_t width,
                          float *u, int64_t step);
    /* sum[tap][i][width] += G' p G, p[e][i][width], i < n; taps sum_step floats apart. */
    void (*weight_grad)(const float *p, int64_t step, int64_t n, int64_t width,
                        float *sum, int64_t sum_step);
} reel__conv_winograd;
REEL_ISA_DECLARE(reel__conv_winograd, conv_winograd);

/* What the transforms, and zeros around an image, get wrong is found by its traces: see
 * conv.h. */
typedef struct reel__conv_check {
    /* Whether n floats of each of m rows are all finite. */
    bool (*finite)(const float *const *row, int64_t m, int64_t column, int64_t n);
} reel__conv_check;
REEL_ISA_DECLARE(reel__conv_check, conv_check);

#endif
