/* int8.h: products of bytes: linear layers and convolutions, as ref/int8.c defines them.
 *
 * With a = x + 128 of an i8 (a = x of a u8) in 0..255 and b = w - 128 of a u8 in -128..127, and
 * zero points moved alike,
 *
 *   sum of (x - x_zero) (w - w_zero) = sum of a b
 *                                      - b_zero * (sum of a)                   of a row
 *                                      - a_zero * (sum of b - depth * b_zero)  of a column
 *
 * modulo 2^32, so there is one kernel for all dtypes. The sum of b is kept with the packed
 * weight; the sum of a is only taken where some b_zero is not 0, which it is for weights that
 * are quantized around zero.
 *
 * Nothing is gathered for a window: a block of the image is copied, with the zero points around
 * it, and there a row of a window is one segment of a row of the product, and the windows of
 * pixels side by side are equally far apart. A linear layer is a convolution of one long row.
 *
 *   call.c       calls; what is added to and multiplied with a column's sums
 *   weight.c     packing a weight
 *   block.c      the cut into blocks, their copies
 *   product.c    the product of blocks and panels of the weight
 *   depthwise.c  one channel a group: channels are lanes
 * Inner loops are in isa/int8.c. */
#ifndef REEL_CPU_INT8_H
#define REEL_CPU_INT8_H

#include "backend/cpu/conv/conv.h"
#include "backend/cpu/isa/int8.h"
#include "backend/cpu/kernels.h"
#include "base/parallel.h"

/* The kernels of this processor. */
const reel__int8_isa *reel__int8_kernels(void);
/* For tests: without VNNI, where there is one; for the whole process, between calls, and what
 * was prepared before is void. */
void reel__int8_use_vnni(bool on);

/* ---- weights ------------------------------------------------------------------------- */

/* A weight [k, c, r, s], and its parts: `columns` of each group. A column is `segments` times
 * `elements` products in the order [r][s][c], each segment in whole words: a row of the window,
 * or a tap if taps are dilated. */
typedef struct reel__int8_weight {
    const reel__int8_isa *isa;
    int64_t dim[4], stride[4];
    int64_t groups, columns, depth;
    int64_t wide;   /* columns of a panel               */
    int64_t padded; /* columns in whole vectors, or panels if depthwise */
    int64_t segments, elements;
    int64_t words; /* of a column                      */
    /* One group of k columns, in the order that reel__int8_place() says. If windows share words,
     * there are two columns for each channel, `shift` elements apart in each segment. */
    bool depthwise;
    int64_t share, shift;
} reel__int8_weight;
reel__int8_weight reel__int8_weight_of(const reel__meta *w, const reel__conv *g);
/* Element `at` of a column whose words are `step` apart. */
static inline void reel__int8_put(const reel__int8_isa *isa, int32_t *words, int64_t step,
                                  int64_t at, int32_t b)
{
    if (isa->per == 4)
        ((int8_t *)(words + at / 4 * step))[at % 4] = (int8_t)b;
    else
        ((int16_t *)(void *)(words + at / 2 * step))[at % 2] = (int16_t)b;
}
/* Bytes of a packed weight, and the packing, which is as reel__int8_panel() finds it. */
size_t reel__int8_packed_size(const reel__int8_weight *w);
void reel__int8_pack(const reel__int8_weight *w, const reel__karg *from, void *to);
/* The panel of a group that begins at a column that `wide` divides: [words][width], width
 * `wide`, or what is left of `padded`. */
const int32_t *reel__int8_panel(const reel__int8_weight *w, const void *packed,
                                int64_t group, int64_t column);
/* Where column c of a group is, in panels and in the arrays of the end. */
static inline int64_t reel__int8_column(const reel__int8_weight *w, int64_t c)
{
    return w->depthwise ? c / w->wide * w->wide + reel__int8_place(w->isa, c % w->wide)
                        : c;
}
static inline int64_t reel__int8_segment_words(const reel__int8_weight *w)
{
    return w->words / (w->segments * w->share);
}

/* ---- calls --------------------------------------------------------------------------- */

/* What a call comes down to. */
typedef struct reel__int8_job {
    const reel__kcall *call;
    const reel__conv *g;
    reel__int8_weight w;
    const void *packed;
    reel__int8_end end; /* arrays of [groups][padded] */
    const uint8_t *x;   /* dense: channels last       */
    uint8_t flip, a_zero;
    char *y;       /* dense: channels last */
    int64_t y_row; /* bytes                */
    void *room;    /* all scratch          */
    char *rest;    /* what was asked for of it */
} reel__int8_job;
/* ---- blocks -------------------------------------------------------------------------- */

/* Places of one dimension that the windows of neighbouring results meet: of result i and tap t
 * it is place i * out + t * tap. */
typedef struct reel__int8_axis {
    int64_t count, out, tap;
    int64_t outs, stride, dil;
} reel__int8_axis;

/* A cut of the results into blocks: of whole images, of whole rows of one image, or of pixels of
 * one row. */
typedef struct reel__int8_blocks {
    int64_t images, rows, pixels; /* of a block, at most      */
    int64_t down, across, count;  /* blocks of an image, of a row; all */
    reel__int8_axis y, x;
    int64_t channels;           /* of a pixel             */
    int64_t pixel, line, image; /* bytes between places   */
    bool as_it_lies;            /* blocks are not copied  */
    int64_t bytes;              /* of a copy              */
    bool lays;                  /* windows are laid one after the other */
} reel__int8_blocks;
/* At least about `least` blocks, if there are as many rows. */
reel__int8_blocks reel__int8_blocks_of(const reel__conv *g, const reel__int8_weight *w,
                                       bool flips, int64_t least);

typedef struct reel__int8_block {
    int64_t image, images, row, rows, column, pixels; /* of the result */
    const char *a;                                    /* the first result's first tap */
} reel__int8_block;
/* Block i; a group's channels are copied to `room`, if room does not hold them from before. Room
 * is blocks->bytes, and begins with the number of what it holds, 0 for nothing. */
reel__int8_block reel__int8_load(const reel__int8_job *job, const reel__int8_blocks *b,
                                 int64_t i, int64_t group, char *room);
/* Where result (image, row) of a block begins: in `a`, and in y. */
static inline int64_t reel__int8_line(const reel__int8_blocks *b, int64_t image,
                                      int64_t row)
{
    return image * b->image + row * b->y.out * b->line;
}
static inline char *reel__int8_result(const reel__int8_job *job,
                                      const reel__int8_block *at, int64_t image,
                                      int64_t row)
{
    const reel__conv *g = job->g;
    const int64_t line = (at->image + image) * g->oh + at->row + row;
    return job->y + (line * g->ow + at->column) * job->y_row;
}

/* How many tasks a job is worth: 1, or some. */
int64_t reel__int8_tasks(const reel__conv *g);
/* Runs n tasks, each worker in `room` bytes of its own, which hold no block at first; in this
 * thread if no more than one task is wanted. */
void reel__int8_run_tasks(int64_t n, int64_t wanted, reel__task_fn task, void *ctx,
                          char *rooms, int64_t room);

/* The product by blocks, and the bytes of scratch that it needs. */
size_t reel__int8_product_size(const reel__conv *g, const reel__int8_weight *w,
                               bool flips);
void reel__int8_product(const reel__int8_job *job);
size_t reel__int8_depthwise_size(const reel__conv *g, const reel__int8_weight *w,
                                 bool flips);
void reel__int8_depthwise_product(const reel__int8_job *job);

#endif
