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
 *   weight.c   packing a weight; what is added to and multiplied with a column's sums
 *   product.c  the product in tiles, linear layers
 *   conv.c     convolutions: a tile's rows are gathered from the image's pixels
 *   depthwise.c  one channel a group: channels are lanes
 * Inner loops are in isa/int8.c. */
#ifndef REEL_CPU_INT8_H
#define REEL_CPU_INT8_H

#include "backend/cpu/isa/int8.h"
#include "backend/cpu/kernels.h"

/* The kernels of this processor. */
const reel__int8_isa *reel__int8_kernels(void);
/* For tests: without VNNI, where there is one; for the whole process, between calls, and what
 * was prepared before is void. */
void reel__int8_use_vnni(bool on);

/* A weight [k, c, r, s], and its parts: `columns` of each group, which are sums of `depth`
 * products in the order [r][s][c]. */
typedef struct reel__int8_weight {
    const reel__int8_isa *isa;
    int64_t dim[4], stride[4];
    int64_t groups, columns, depth;
    int64_t padded; /* columns in whole vectors */
    int64_t words;  /* of a column              */
    bool depthwise; /* one group of k columns, depth r s, one element a word */
} reel__int8_weight;
reel__int8_weight reel__int8_weight_of(const reel__meta *w, int64_t groups,
                                       bool depthwise);
/* Bytes of a packed weight, and the packing, which is as reel__int8_panel() and
 * reel__int8_sums() find it. */
size_t reel__int8_packed_size(const reel__int8_weight *w);
void reel__int8_pack(const reel__int8_weight *w, const reel__karg *from, void *to);
/* The panel of a group that begins at a column that two vectors divide: [words][width], width
 * two vectors, or what is left of `padded`. */
const int32_t *reel__int8_panel(const reel__int8_weight *w, const void *packed,
                                int64_t group, int64_t column);

/* What a call comes down to. */
typedef struct reel__int8_job reel__int8_job;
struct reel__int8_job {
    const reel__kcall *call;
    reel__int8_weight w;
    const void *packed;
    reel__int8_end end; /* arrays of [groups][padded] */
    const uint8_t *x;   /* dense: channels last       */
    uint8_t flip, a_zero;
    int64_t m;                /* rows of the result */
    char *y;                  /* dense: [m][k]      */
    int64_t y_row, y_element; /* bytes              */
    /* Rows [row, row + n) of `a` for a group, job->w.words words each. */
    void (*gather)(const reel__int8_job *job, int64_t group, int64_t row, int64_t n,
                   char *to);
    const void *geometry; /* of a convolution */
    void *room;           /* all scratch      */
    char *rest;           /* what was asked for of it */
};
/* Fills the job from the call: a weight that is not prepared is packed, x copied if it is not
 * dense in the order of memory `dense`; `rest` bytes are the caller's. Free job->room. */
reel_status reel__int8_begin(reel__int8_job *job, const reel__kcall *call,
                             const reel__int8_weight *w, const reel__meta *dense,
                             int64_t act, const reel__number a[2], size_t rest);
/* The product in tiles; job->rest has reel__int8_tiles_size() bytes. */
size_t reel__int8_tiles_size(const reel__int8_weight *w, int64_t m);
void reel__int8_tiles(const reel__int8_job *job);

/* n elements that are zero points, as isa->widen leaves them. */
void reel__int8_fill(const reel__int8_job *job, void *to, int64_t n);

/* The longest window that reel__int8_depthwise() takes. */
#define REEL_INT8_TAPS 64
void reel__int8_depthwise_rows(const reel__int8_job *job);

#endif
