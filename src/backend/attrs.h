/* attrs.h: attributes of operators, as plain structs without pointers, so that a tape node,
 * a graph or a saved file can copy them as bytes. Kernels read the same structs. */
#ifndef REEL_BACKEND_ATTRS_H
#define REEL_BACKEND_ATTRS_H

#include <reel/base.h>

#include "backend/number.h"

/* pointwise rows: a0, a1 */
typedef struct reel__scalar_attrs {
    reel__number a[2];
} reel__scalar_attrs;
static inline reel__scalar_attrs reel__scalars(double a0, double a1)
{
    return (reel__scalar_attrs){{reel__real(a0), reel__real(a1)}};
}
/* A program of pointwise rows, run element by element. Values are numbered: the inputs, then
 * the result of each step. Every input is one of the values' dtype or bool; every output has
 * the shape that the inputs broadcast to. Halves are computed in f32 and rounded where they
 * are stored, so between steps nothing is lost. */
#define REEL_STEPS 16
#define REEL_STEP_INS 12
#define REEL_STEP_OUTS 4
typedef struct reel__pointwise_attrs {
    int64_t n_in, n_step, n_out;
    int64_t row[REEL_STEPS]; /* kernel of a PW row                                    */
    int64_t src[REEL_STEPS]
               [3]; /* values that the step reads, earlier ones; -1 none     */
    reel__number a[REEL_STEPS][2]; /* a0, a1 of the step                               */
    int64_t
        out[REEL_STEP_OUTS]; /* steps whose results are outputs, no step twice       */
} reel__pointwise_attrs;
/* one dimension, already wrapped to 0..rank-1 */
typedef struct reel__dim_attrs {
    int64_t dim;
} reel__dim_attrs;
/* several: bit i is dimension i (reductions, flip) */
typedef struct reel__mask_attrs {
    int64_t mask;
    int64_t mean; /* SUM: divided by how many are added */
    double scale; /* SUM: factor; VAR: correction */
} reel__mask_attrs;
/* sqrt(scale * sum of squares + eps) over the dims of the mask */
typedef struct reel__norm_attrs {
    int64_t mask;
    int64_t wide; /* the result is f64 whatever x is */
    double scale, eps;
} reel__norm_attrs;
/* a shape or a permutation. A shape says what was asked, whatever sizes the input has: of a
 * reshape a size may be what is left, or that of a dimension of the input; of an expansion -1
 * keeps the size. */
#define REEL_INFERRED INT64_C(-1)
#define REEL_SIZE_OF(dim) (INT64_C(-2) - (dim))
typedef struct reel__shape_attrs {
    int64_t rank;
    int64_t dim[REEL_MAX_RANK];
} reel__shape_attrs;
/* As it was asked, whatever size dim has at a call: a negative place counts from the end.
 * reel__slice_at() tells what that is there. */
typedef enum reel__slice_how {
    REEL_SLICE_CLIPS =
        0,             /* places outside are the nearest inside: reel_slice           */
    REEL_SLICE_INSIDE, /* 0 <= start <= end <= size, or it is an error: reel_narrow   */
    REEL_SLICE_ONE     /* the element `start`, inside; `end` is 0: reel_select        */
} reel__slice_how;
typedef struct reel__slice_attrs {
    int64_t dim, start, end, step;
    int64_t how;
} reel__slice_attrs;
typedef struct reel__unslice_attrs {
    reel__slice_attrs slice;
    int64_t size; /* of the dimension that was cut */
} reel__unslice_attrs;
typedef struct reel__fill_attrs {
    reel__number value;
} reel__fill_attrs;
/* start, start + step, ... before end. To integers whole numbers are exact. */
typedef struct reel__arange_attrs {
    reel__number start, end, step;
} reel__arange_attrs;
/* As many equal steps as the result has room for; the last element is `end`, whatever rounding
 * says. */
typedef struct reel__linspace_attrs {
    double start, end;
} reel__linspace_attrs;
typedef struct reel__pad_attrs {
    int64_t before[REEL_MAX_RANK], after[REEL_MAX_RANK];
    reel__number value;
} reel__pad_attrs;
typedef struct reel__cast_attrs {
    int64_t dtype;
    int64_t format; /* memory format of the output, reel_memory_format */
} reel__cast_attrs;
/* Random draws. Element i is the i-th in logical row-major order, whatever the strides: the
 * memory format does not change the numbers. B is offset + i / 4 where four elements share a
 * Philox block of the key `seed`, offset + i / 2 where two do (reel__random_per_block). W[k]
 * is word k of block B. f16 and bf16 draw as f32 does, and are rounded.
 *   UNIFORM [low, high)   f32: u = (W[i % 4] >> 8) 2^-24
 *                         f64: u = (W[2 (i % 2)] 2^32 + W[2 (i % 2) + 1] >> 11) 2^-53
 *                         low + (high - low) u; should rounding reach high, the number before
 *   NORMAL mean low,      f32: elements 2j and 2j + 1 share a = W[k], b = W[k + 1], k = i % 4 & 2:
 *   deviation high             u = a 2^-32 + 2^-33, v = (b >> 8) 2^-24
 *                         f64: they share a block: u = 1 - that of W[0], W[1], v of W[2], W[3]
 *                              as for UNIFORM
 *                         Box-Muller: r = sqrt(-2 ln u); even r cos(2 pi v), odd r sin(2 pi v)
 *   RANDINT [low, high)   any dtype: two elements a block, W[2 (i % 2)] 2^32 + W[2 (i % 2) + 1]
 *                         times (high - low), upper 64 bits of the 128, plus low
 *   DROPOUT p in low      any dtype: kept where W[i % 4] 2^-32 >= p
 * A call for n elements uses reel__random_blocks() blocks. */
typedef struct reel__random_attrs {
    int64_t seed, offset;
    reel__number low, high;
} reel__random_attrs;
/* What has no inputs: kernel attributes first, so that kernels read the same pointer; then
 * what comes out. */
typedef struct reel__make_attrs {
    union {
        reel__fill_attrs fill;
        reel__arange_attrs arange;
        reel__linspace_attrs linspace;
        reel__random_attrs random;
    } kernel;
    reel__shape_attrs shape;
    int64_t dtype, format, device_type, device_index;
} reel__make_attrs;
typedef struct reel__conv2d_attrs {
    int64_t stride[2], padding[2], dilation[2], groups;
    int64_t input[4]; /* gradients only: shape of the result, [n,c,h,w] or [k,c/g,r,s] */
} reel__conv2d_attrs;
/* act(conv2d(x, w) + bias + residual). The convolution's attributes come first, so that what
 * reads those reads these. act: the kernel of a unary pointwise row, K_NONE for none; a: its
 * attributes. */
typedef enum reel__conv2d_algo {
    REEL_ALGO_MODEL = 0, /* what the cost model says */
    REEL_ALGO_DIRECT,
    REEL_ALGO_WINOGRAD /* where the shape allows it */
} reel__conv2d_algo;
typedef struct reel__conv2d_fused_attrs {
    reel__conv2d_attrs conv;
    int64_t act;
    reel__number a[2];
    int64_t algo; /* reel__conv2d_algo */
} reel__conv2d_fused_attrs;
/* act(x w' + bias + residual) */
typedef struct reel__linear_fused_attrs {
    int64_t act;
    reel__number a[2];
} reel__linear_fused_attrs;
/* Products of 8-bit operands: bounds of the result, in its own steps, which is where an
 * activation that only clips ends up. */
typedef struct reel__linear_int8_attrs {
    int64_t act; /* K_NONE, K_RELU, K_RELU6, K_CLAMP */
    reel__number a[2];
} reel__linear_int8_attrs;
typedef struct reel__conv2d_int8_attrs {
    reel__conv2d_attrs conv; /* first, as in reel__conv2d_fused_attrs */
    int64_t act;
    reel__number a[2];
} reel__conv2d_int8_attrs;
/* Their operands. Kernels and records count them alike; those that may be absent come early,
 * where reel__op has a bit for each. */
enum reel__int8_operand {
    REEL_INT8_X,
    REEL_INT8_W,
    REEL_INT8_BIAS,
    REEL_INT8_Y_SCALE,
    REEL_INT8_Y_ZERO,
    REEL_INT8_X_SCALE,
    REEL_INT8_W_SCALE,
    REEL_INT8_X_ZERO,
    REEL_INT8_W_ZERO,
    REEL_INT8_INS
};
typedef struct reel__pool2d_attrs {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    int64_t ceil_mode, count_include_pad;
    int64_t size[2]; /* backward: h, w of the input; adaptive: h, w of the output */
} reel__pool2d_attrs;
/* training: statistics of the batch, and running ones updated in place
 * (running = (1-momentum)*running + momentum*batch, the variance unbiased);
 * else running ones are used. relu: y = max(0, bn(x) + residual). */
typedef struct reel__batch_norm_attrs {
    double eps, momentum;
    int64_t training, relu;
    int64_t want; /* backward: bits of the outputs that are asked for */
} reel__batch_norm_attrs;
typedef struct reel__layer_norm_attrs {
    int64_t dims; /* how many trailing dims are normalized together */
    double eps;
    int64_t want; /* backward: bits of the outputs that are asked for */
} reel__layer_norm_attrs;
typedef struct reel__cross_entropy_attrs {
    double smoothing;
    int64_t ignore_index;
    int64_t reduction; /* reel_reduction */
    int64_t
        want_grad; /* fill dlogits, the gradient of the loss (reduction none: per row) */
} reel__cross_entropy_attrs;
/* q [.., lq, d] k [.., lk, d] v [.., lk, dv]; mask broadcasts to [.., lq, lk]: bool (false:
 * the score is -inf, whatever it was) or float (added). Dropout on the probabilities: element
 * (b, i, j) of the [batch, lq, lk] array draws like DROPOUT does. */
typedef struct reel__attention_attrs {
    double scale, dropout;
    int64_t causal;
    int64_t seed, offset;
    int64_t
        nan_rows; /* scores of a query that are all -inf give NaN, as softmax does, and
                       * not zeros; with neither causal nor a bool mask */
    int64_t want; /* backward: bits of the outputs that are asked for */
} reel__attention_attrs;
typedef struct reel__index_attrs {
    int64_t dim;
    int64_t size; /* INDEX_ADD: size of dim in the result; ONE_HOT: classes */
} reel__index_attrs;
/* torch.optim.SGD: g += wd*p; buf = momentum*buf + (1-dampening)*g (buf = g at the first
 * step: the kernel gets first=1); g = nesterov ? g + momentum*buf : buf; p -= lr*g */
typedef struct reel__sgd_attrs {
    double momentum, dampening, weight_decay;
    int64_t nesterov, maximize, first;
} reel__sgd_attrs;
/* torch.optim.Adam (decoupled 0) and AdamW (1); step is a one-element f64 tensor that
 * already counts this step; lr a one-element f64 tensor */
typedef struct reel__adam_attrs {
    double beta1, beta2, eps, weight_decay;
    int64_t decoupled, maximize;
} reel__adam_attrs;

#endif
