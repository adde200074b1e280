/* conv.h: the fast f32 convolutions of the CPU, and what their files share.
 *
 * Activations are channels-last in memory: pixel (n, y, x) is a row of channels, so every
 * algorithm here is a matrix product whose rows are pixels (or tiles of pixels):
 *   winograd.c         3x3, stride 1: F(4,3), forward and input gradient
 *   winograd_weight.c  the same for the weight gradient
 *   direct.c           any shape: forward and input gradient as gathers of pixels
 *   direct_weight.c    any shape: weight gradient as outer products of pixels
 *   choose.c           which of them, from shape and pass alone
 * Inner loops are in isa/conv_*.c. Work is cut by size only, and sums run in one order,
 * so results are the same bit for bit on any number of threads.
 *
 * A value that is not finite reaches what the sum's definition lets it reach, and no more,
 * though the transforms mix the pixels of a tile, and though the direct algorithms multiply
 * the zeros around an image, which the definition leaves out (0 times infinity is NaN).
 * Both leave traces, and what has them is computed again:
 *   a tile's sums are not finite            winograd.c: the tile, by direct.c
 *   a gradient of weights is not finite     winograd_weight.c: all of it, by direct_weight.c
 *                                           direct_weight.c: without the zeros
 *   a result whose window leaves the image  direct.c: such results, without the zeros, if
 *   is not finite                           a weight is not finite */
#ifndef REEL_CPU_CONV_H
#define REEL_CPU_CONV_H

#include "base/int64.h"
#include "backend/cpu/epilogue.h"
#include "backend/cpu/kernels.h"

/* One convolution. x [n,h,w,c] and y [n,oh,ow,k] as they lie in memory; weights
 * contiguous [k, c/groups, r, s]. */
typedef struct reel__conv {
    int64_t n, c, h, w;
    int64_t k, oh, ow;
    int64_t r, s;
    int64_t stride[2], pad[2], dil[2];
    int64_t groups;
} reel__conv;

/* The convolution of a call, with strides and dilations that no place and no tap uses set to 1: they
 * may be any number, and then are too large for addresses. */
reel__conv reel__conv_geometry(const reel__conv2d_attrs *a, const reel__meta *x,
                               const reel__meta *w, const reel__meta *y);

/* One input and one output channel a group: channels are lanes, not rows of a product. */
static inline bool reel__conv_is_depthwise(const reel__conv *g)
{
    return g->groups > 1 && g->groups == g->c && g->groups == g->k;
}

typedef enum reel__conv_pass {
    REEL_CONV_FORWARD,
    REEL_CONV_INPUT,
    REEL_CONV_WEIGHT
} reel__conv_pass;

typedef enum reel__conv_algo { REEL_CONV_DIRECT, REEL_CONV_WINOGRAD } reel__conv_algo;

/* ready: weights are prepared, or the choice is to be as if they were. */
reel__conv_algo reel__conv_choose(const reel__conv *g, reel__conv_pass pass, bool exact,
                                  bool ready);
/* Whether Winograd's algorithm takes this convolution at all. */
bool reel__conv_winograd_takes(const reel__conv *g);

/* forward: in = x, out = y. Input gradient: in = gy, out = gx, an epilogue of zeros. */
typedef struct reel__conv_io {
    const float *in, *weight;
    const float *prepared; /* the weight as reel__conv_pack() left it, or NULL */
    float *out;
    reel__epilogue end;
    /* Stride 1: of the result's tiles (see tiles.h) those alone that are not 0; NULL: all. */
    const unsigned char *only;
} reel__conv_io;

reel_status reel__run_winograd(const reel__conv *g, reel__conv_pass pass,
                               const reel__conv_io *io);
reel_status reel__conv_direct(const reel__conv *g, reel__conv_pass pass,
                              const reel__conv_io *io);
/* The forward pass's weights, packed as both algorithms read them: how many floats, and the
 * packing. */
int64_t reel__conv_packed_size(const reel__conv *g);
void reel__conv_pack(const reel__conv *g, const float *weight, float *to);
/* gw, contiguous like the weight. */
reel_status reel__conv_winograd_weight(const reel__conv *g, const float *gy,
                                       const float *x, float *gw);
reel_status reel__conv_direct_weight(const reel__conv *g, const float *gy, const float *x,
                                     float *gw);
/* ---- small helpers ----------------------------------------------------------------- */

static inline int64_t reel__round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}

/* Scratch of one call, laid out before it is allocated: reserve each part, allocate once,
 * then find each part. Parts begin at cache lines. */
static inline int64_t reel__reserve(int64_t *total, int64_t floats)
{
    int64_t at = *total;
    *total += reel__round_up(floats, 16);
    return at;
}
/* Loads a float of each cache line, in the order of memory, of what is about to be read or
 * written in another order. The processor's prefetchers follow this walk and not the jumps
 * of a transform from row to row; prefetch instructions were no substitute. (Zen 5,
 * Winograd weight gradient of [128,16,32,32]: 3.6 ms without, 3.5 with prefetch
 * instructions, 1.9 with this.) Loads are instructions and no reads of C: another worker
 * may be writing there, which would be a race if the value went anywhere. */
static inline void reel__touch(const float *p, int64_t floats)
{
    for (int64_t i = 0; i < floats; i += 16) {
#if defined(__x86_64__)
        __asm__ volatile("movl (%0), %%eax" : : "r"(p + i) : "eax");
#elif defined(__aarch64__)
        __asm__ volatile("ldr wzr, [%0]" : : "r"(p + i));
#else
        __builtin_prefetch(p + i);
#endif
    }
}

/* Pointers may lie in scratch that is counted in floats. */
#define REEL__FLOATS_A_POINTER ((int64_t)sizeof(void *) / (int64_t)sizeof(float))

#endif
