/* reel/ops.h: every operator.
 *
 * All take borrowed tensors and return a result that belongs to the innermost scope; NULL on
 * an error, and NULL for NULL. Inputs of one operator share a device, and a dtype unless
 * said otherwise: nothing is promoted silently, cast with reel_cast(). A dimension counts from
 * the end if negative. `[...]` is any number of dimensions. "Broadcast" follows NumPy. A name
 * that ends in _ works in place on its first argument, which may share memory with the others
 * but must not be expanded. Errors are those of base.h; only the less obvious ones are named
 * here. */
#ifndef REEL_OPS_H
#define REEL_OPS_H

#include <reel/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- views: share memory with x ---------------------------------------------------- */

/** End of a dimension, for reel_slice. */
#define REEL_END INT64_MAX

/** Same elements in row-major order, another shape; one dimension may be -1 (inferred; an
 *  error beside a size of 0). A view where strides allow, else a copy. ONNX: Reshape. */
REEL_API reel_tensor *reel_reshape(reel_tensor *x, reel_shape shape);
/** Dimensions in another order: result dimension i is dims.dim[i] of x. ONNX: Transpose. */
REEL_API reel_tensor *reel_permute(reel_tensor *x, reel_shape dims);
/** Two dimensions swapped. */
REEL_API reel_tensor *reel_transpose(reel_tensor *x, int dim0, int dim1);
/** The last two dimensions swapped; x has rank 2 or more. */
REEL_API reel_tensor *reel_t(reel_tensor *x);
/** start, start + step, ... below end along `dim`; start and end may be negative and are
 *  clipped like Python's; step >= 1. ONNX: Slice. */
REEL_API reel_tensor *reel_slice(reel_tensor *x, int dim, int64_t start, int64_t end,
                                 int64_t step);
/** `length` elements from `start` along `dim`; out of range is an error. */
REEL_API reel_tensor *reel_narrow(reel_tensor *x, int dim, int64_t start, int64_t length);
/** Element `index` of `dim`, which goes. ONNX: Gather with a scalar index. */
REEL_API reel_tensor *reel_select(reel_tensor *x, int dim, int64_t index);
/** Broadcasts to `shape`; -1 keeps a size. Memory is shared (stride 0). ONNX: Expand. */
REEL_API reel_tensor *reel_expand(reel_tensor *x, reel_shape shape);
/** Drops dimension `dim` of size 1; REEL_ERR_SHAPE if its size is not 1. */
REEL_API reel_tensor *reel_squeeze(reel_tensor *x, int dim);
/** A new dimension of size 1 at place `dim` (0 .. rank; -1 is after the last). */
REEL_API reel_tensor *reel_unsqueeze(reel_tensor *x, int dim);
/** Dimensions start .. end (both included) become one. ONNX: Flatten or Reshape. */
REEL_API reel_tensor *reel_flatten(reel_tensor *x, int start, int end);

/* ---- memory ------------------------------------------------------------------------ */

/** Order in which elements lie in memory; shapes stay logical (NCHW). */
typedef enum reel_memory_format {
    REEL_PRESERVE = 0, /* like the input                      */
    REEL_CONTIGUOUS,   /* row-major                           */
    REEL_CHANNELS_LAST /* NHWC; rank 4                        */
} reel_memory_format;

/** A copy with memory of its own, dense, in x's memory order. Differentiable. */
REEL_API reel_tensor *reel_copy(reel_tensor *x);
/** x itself if it is in row-major order, else such a copy. */
REEL_API reel_tensor *reel_contiguous(reel_tensor *x);
/** x itself if it is in this format, else a copy that is. */
REEL_API reel_tensor *reel_to_format(reel_tensor *x, reel_memory_format format);
/** Another dtype; x itself if it has it. Float to integer truncates and saturates.
 *  Differentiable between floating dtypes. ONNX: Cast. */
REEL_API reel_tensor *reel_cast(reel_tensor *x, reel_dtype dtype);
/** On another device; x itself if it is there. */
REEL_API reel_tensor *reel_to(reel_tensor *x, reel_device device);
/** Copies src, broadcast and converted, into dst. Returns dst. */
REEL_API reel_tensor *reel_copy_(reel_tensor *dst, reel_tensor *src);
/** Sets every element. Returns x. */
REEL_API reel_tensor *reel_fill_(reel_tensor *x, double value);
/** Sets every element to an integer. Returns x. */
REEL_API reel_tensor *reel_fill_i64_(reel_tensor *x, int64_t value);
/** Sets every element to 0. Returns x. */
REEL_API reel_tensor *reel_zero_(reel_tensor *x);

/* ---- joining ----------------------------------------------------------------------- */

/** n >= 1 tensors one after the other along `dim`; other sizes equal. ONNX: Concat. */
REEL_API reel_tensor *reel_cat(reel_tensor *const x[], int n, int dim);
/** n >= 1 tensors of one shape along a new dimension. */
REEL_API reel_tensor *reel_stack(reel_tensor *const x[], int n, int dim);
/** Views of `size` elements along `dim` (the last may be shorter), written to out[0 ..
 *  max-1], the rest becomes NULL; of a dimension of size 0 one empty view. Returns how many; -1,
 *  and all NULL, on an error or if `max` is too small. */
REEL_API int reel_split(reel_tensor *x, int64_t size, int dim, reel_tensor *out[],
                        int max);
/** `value` around x: before.dim[i] and after.dim[i] >= 0 elements along dimension i; ranks
 *  equal x's. ONNX: Pad. */
REEL_API reel_tensor *reel_pad(reel_tensor *x, reel_shape before, reel_shape after,
                               double value);
/** The same of an integer. */
REEL_API reel_tensor *reel_pad_i64(reel_tensor *x, reel_shape before, reel_shape after,
                                   int64_t value);
/** Reversed along `dims` (REEL_ALL: every one). A copy. */
REEL_API reel_tensor *reel_flip(reel_tensor *x, reel_shape dims);

/* ---- arithmetic, broadcast --------------------------------------------------------- */

/** x + y. Any dtype but bool. ONNX: Add. */
REEL_API reel_tensor *reel_add(reel_tensor *x, reel_tensor *y);
/** x - y. Any dtype but bool. ONNX: Sub. */
REEL_API reel_tensor *reel_sub(reel_tensor *x, reel_tensor *y);
/** x * y. Any dtype. ONNX: Mul. */
REEL_API reel_tensor *reel_mul(reel_tensor *x, reel_tensor *y);
/** x / y. Floating; integers have reel_div_trunc() and reel_div_floor(). ONNX: Div. */
REEL_API reel_tensor *reel_div(reel_tensor *x, reel_tensor *y);
/** x / y toward zero, as `/` of C divides integers. Any dtype but bool. An integer by 0 is 0,
 *  as in NumPy, and the lowest by -1 wraps around to itself. Gradient 0. ONNX: Div. */
REEL_API reel_tensor *reel_div_trunc(reel_tensor *x, reel_tensor *y);
/** x / y downwards: the floor of the exact quotient, rounded. By 0 as reel_div_trunc().
 *  Gradient 0. ONNX: Div and Mod. */
REEL_API reel_tensor *reel_div_floor(reel_tensor *x, reel_tensor *y);
/** What is left of x / y toward zero, with the sign of x: `%` of C for integers, fmod() for
 *  floats, both exact. By the integer 0 it is 0, by the float 0 NaN, by infinity x. Any dtype
 *  but bool. Gradient: 1 for x, -reel_div_trunc(x, y) for y. ONNX: Mod with fmod 1. */
REEL_API reel_tensor *reel_fmod(reel_tensor *x, reel_tensor *y);
/** The same of x / y downwards, with the sign of y: fmod(x, y), and y more where the signs
 *  differ. Gradient: 1 for x, -reel_div_floor(x, y) for y. ONNX: Mod. */
REEL_API reel_tensor *reel_remainder(reel_tensor *x, reel_tensor *y);
/** x to the power y. Floating. ONNX: Pow. */
REEL_API reel_tensor *reel_pow(reel_tensor *x, reel_tensor *y);
/** The larger; NaN if either is. Where equal, half the gradient goes to each; at a NaN all of
 *  it to both. ONNX: Max. */
REEL_API reel_tensor *reel_maximum(reel_tensor *x, reel_tensor *y);
/** The smaller; NaN if either is. Where equal, half the gradient goes to each; at a NaN all of
 *  it to both. ONNX: Min. */
REEL_API reel_tensor *reel_minimum(reel_tensor *x, reel_tensor *y);
/** x + alpha * y in one pass. Floating. */
REEL_API reel_tensor *reel_add_scaled(reel_tensor *x, reel_tensor *y, double alpha);
/** x + weight * (y - x), exactly x at weight 0 and y at 1. Floating. */
REEL_API reel_tensor *reel_lerp(reel_tensor *x, reel_tensor *y, double weight);

/** x + value; `value` is whole if x is of integers. */
REEL_API reel_tensor *reel_add_scalar(reel_tensor *x, double value);
/** x + value, of an integer. */
REEL_API reel_tensor *reel_add_scalar_i64(reel_tensor *x, int64_t value);
/** x * value; `value` is whole if x is of integers. */
REEL_API reel_tensor *reel_mul_scalar(reel_tensor *x, double value);
/** x * value, of an integer. */
REEL_API reel_tensor *reel_mul_scalar_i64(reel_tensor *x, int64_t value);
/** x * factor, one f64 element that a graph does not freeze and that may be too small or too
 *  large for x's dtype. Floating. Errors: REEL_ERR_SHAPE. */
REEL_API reel_tensor *reel_scale(reel_tensor *x, reel_tensor *factor);
/** x to the power `value`. Floating. */
REEL_API reel_tensor *reel_pow_scalar(reel_tensor *x, double value);

/** In place: x += y, y broadcast to x. Returns x. In-place operators keep the tape right: a
 *  change of a view is part of the history of what it is a view of, and of its other views; a
 *  value that backward needs and that was changed is an error, not a wrong gradient. Errors of
 *  all of them: REEL_ERR_STATE for a leaf that requires a gradient, or a view of one, while
 *  gradients are enabled. */
REEL_API reel_tensor *reel_add_(reel_tensor *x, reel_tensor *y);
/** In place: x -= y. Returns x. */
REEL_API reel_tensor *reel_sub_(reel_tensor *x, reel_tensor *y);
/** In place: x *= y. Returns x. */
REEL_API reel_tensor *reel_mul_(reel_tensor *x, reel_tensor *y);
/** In place: x /= y. Returns x. */
REEL_API reel_tensor *reel_div_(reel_tensor *x, reel_tensor *y);
/** In place: x += alpha * y. Returns x. */
REEL_API reel_tensor *reel_add_scaled_(reel_tensor *x, reel_tensor *y, double alpha);
/** In place: x += weight * (y - x). Returns x. */
REEL_API reel_tensor *reel_lerp_(reel_tensor *x, reel_tensor *y, double weight);
/** In place: x *= value. Returns x. */
REEL_API reel_tensor *reel_mul_scalar_(reel_tensor *x, double value);
/** In place: x *= value, of an integer. Returns x. */
REEL_API reel_tensor *reel_mul_scalar_i64_(reel_tensor *x, int64_t value);
/** In place: x = clamp(x, low, high). Returns x. */
REEL_API reel_tensor *reel_clamp_(reel_tensor *x, double low, double high);
/** In place, with integers as bounds. Returns x. */
REEL_API reel_tensor *reel_clamp_i64_(reel_tensor *x, int64_t low, int64_t high);
/** In place: x = max(x, 0). Returns x. */
REEL_API reel_tensor *reel_relu_(reel_tensor *x);

/* ---- comparisons and logic: bool results, broadcast, no gradient -------------------- */

/** x == y. ONNX: Equal. */
REEL_API reel_tensor *reel_eq(reel_tensor *x, reel_tensor *y);
/** x != y. */
REEL_API reel_tensor *reel_ne(reel_tensor *x, reel_tensor *y);
/** x < y. ONNX: Less. */
REEL_API reel_tensor *reel_lt(reel_tensor *x, reel_tensor *y);
/** x <= y. ONNX: LessOrEqual. */
REEL_API reel_tensor *reel_le(reel_tensor *x, reel_tensor *y);
/** x > y. ONNX: Greater. */
REEL_API reel_tensor *reel_gt(reel_tensor *x, reel_tensor *y);
/** x >= y. ONNX: GreaterOrEqual. */
REEL_API reel_tensor *reel_ge(reel_tensor *x, reel_tensor *y);
/** Both nonzero. ONNX: And. */
REEL_API reel_tensor *reel_logical_and(reel_tensor *x, reel_tensor *y);
/** Either nonzero. ONNX: Or. */
REEL_API reel_tensor *reel_logical_or(reel_tensor *x, reel_tensor *y);
/** Exactly one nonzero. ONNX: Xor. */
REEL_API reel_tensor *reel_logical_xor(reel_tensor *x, reel_tensor *y);
/** Zero. ONNX: Not. */
REEL_API reel_tensor *reel_logical_not(reel_tensor *x);
/** Neither NaN nor infinite. Floating. */
REEL_API reel_tensor *reel_isfinite(reel_tensor *x);
/** condition (bool) ? x : y, all three broadcast. ONNX: Where. */
REEL_API reel_tensor *reel_where(reel_tensor *condition, reel_tensor *x, reel_tensor *y);
/** x with `value` where mask (bool, broadcast to x) is true. */
REEL_API reel_tensor *reel_masked_fill(reel_tensor *x, reel_tensor *mask, double value);
/** The same of an integer. */
REEL_API reel_tensor *reel_masked_fill_i64(reel_tensor *x, reel_tensor *mask,
                                           int64_t value);
/** Into [low, high]; NaN stays. The gradient passes inside, and is 0 from the ends on. Of
 *  integers a bound is a whole number or infinite. ONNX: Clip. */
REEL_API reel_tensor *reel_clamp(reel_tensor *x, double low, double high);
/** Into [low, high], of integers. */
REEL_API reel_tensor *reel_clamp_i64(reel_tensor *x, int64_t low, int64_t high);

/* ---- elementwise functions: same shape and dtype; floating unless said --------------- */

/** -x. Any signed dtype. */
REEL_API reel_tensor *reel_neg(reel_tensor *x);
/** |x|; gradient 0 at 0. Any signed dtype. */
REEL_API reel_tensor *reel_abs(reel_tensor *x);
/** -1, 0 or 1; gradient 0. Any signed dtype. */
REEL_API reel_tensor *reel_sign(reel_tensor *x);
/** x * x. Any dtype. */
REEL_API reel_tensor *reel_square(reel_tensor *x);
/** e to the x. */
REEL_API reel_tensor *reel_exp(reel_tensor *x);
/** Natural logarithm. */
REEL_API reel_tensor *reel_log(reel_tensor *x);
/** log(1 + x), exact near 0. */
REEL_API reel_tensor *reel_log1p(reel_tensor *x);
/** exp(x) - 1, exact near 0. */
REEL_API reel_tensor *reel_expm1(reel_tensor *x);
/** Square root. */
REEL_API reel_tensor *reel_sqrt(reel_tensor *x);
/** 1 / sqrt(x). */
REEL_API reel_tensor *reel_rsqrt(reel_tensor *x);
/** 1 / x. */
REEL_API reel_tensor *reel_reciprocal(reel_tensor *x);
/** Sine of radians. */
REEL_API reel_tensor *reel_sin(reel_tensor *x);
/** Cosine of radians. */
REEL_API reel_tensor *reel_cos(reel_tensor *x);
/** Hyperbolic tangent. */
REEL_API reel_tensor *reel_tanh(reel_tensor *x);
/** Gauss error function. */
REEL_API reel_tensor *reel_erf(reel_tensor *x);
/** Largest integer <= x; gradient 0. */
REEL_API reel_tensor *reel_floor(reel_tensor *x);
/** Smallest integer >= x; gradient 0. */
REEL_API reel_tensor *reel_ceil(reel_tensor *x);
/** Nearest integer, halves to even; gradient 0. */
REEL_API reel_tensor *reel_round(reel_tensor *x);

/** max(x, 0); -0 and NaN stay. The gradient is 0 at 0. ONNX: Relu. */
REEL_API reel_tensor *reel_relu(reel_tensor *x);
/** min(max(x, 0), 6). ONNX: Clip. */
REEL_API reel_tensor *reel_relu6(reel_tensor *x);
/** x > 0 ? x : slope * x. ONNX: LeakyRelu. */
REEL_API reel_tensor *reel_leaky_relu(reel_tensor *x, double slope);
/** x > 0 ? x : alpha * (exp(x) - 1). ONNX: Elu. */
REEL_API reel_tensor *reel_elu(reel_tensor *x, double alpha);
/** x * Phi(x), the exact (erf) form. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
 *  ONNX: Gelu (20), else Erf form. */
REEL_API reel_tensor *reel_gelu(reel_tensor *x);
/** The tanh form of gelu, as in GPT-2. Same source. */
REEL_API reel_tensor *reel_gelu_tanh(reel_tensor *x);
/** x * sigmoid(x). Source: Elfwing et al. 2017, arXiv:1702.03118. */
REEL_API reel_tensor *reel_silu(reel_tensor *x);
/** 1 / (1 + exp(-x)). ONNX: Sigmoid. */
REEL_API reel_tensor *reel_sigmoid(reel_tensor *x);
/** min(max(x / 6 + 1/2, 0), 1). ONNX: HardSigmoid. */
REEL_API reel_tensor *reel_hardsigmoid(reel_tensor *x);
/** x * hardsigmoid(x). Source: Howard et al. 2019, arXiv:1905.02244. ONNX: HardSwish (14). */
REEL_API reel_tensor *reel_hardswish(reel_tensor *x);
/** log(1 + exp(x)). ONNX: Softplus. */
REEL_API reel_tensor *reel_softplus(reel_tensor *x);

/* ---- quantization: integers for numbers ------------------------------------------------
 * Scale and zero point are tensors. Each is [] for the whole of x, or has x's rank, and along
 * each dimension size 1, x's size, or, along one, a number of blocks that x's size is a multiple
 * of: [k,1,1,1] for each output channel of a weight [k,c,h,w], [n,k/32] for blocks of 32 of a
 * weight [n,k]. Rounding is that of ONNX: quotient, half to even, saturated. */

/** q = saturate(round(x / scale) + zero_point). x: [...] floating. scale: x's dtype, > 0.
 *  zero_point: u8, i8 or i32, which the result has too. A NaN gives the lowest integer.
 *  No gradient; reel_fake_quantize() has one. Source: ONNX QuantizeLinear. */
REEL_API reel_tensor *reel_quantize(reel_tensor *x, reel_tensor *scale,
                                    reel_tensor *zero_point);
/** x = (q - zero_point) * scale. q: [...] u8, i8 or i32. scale: floating, the result's dtype.
 *  zero_point: q's dtype; NULL: 0. Gradient by the scale alone. Source: ONNX DequantizeLinear. */
REEL_API reel_tensor *reel_dequantize(reel_tensor *q, reel_tensor *scale,
                                      reel_tensor *zero_point);
/** What quantizing x to integers of low..high and back gives, in x's dtype, for training: bit for
 *  bit reel_dequantize(reel_quantize(x)), where those have integers for it. scale, zero_point:
 *  x's dtype; a zero point is rounded and kept in low..high; NULL: 0. NaN stays NaN.
 *  Gradients: by x straight through where x is inside the range, 0 outside; by scale and zero
 *  point as in LSQ and LSQ+. Sources: Jacob et al. 2018, arXiv:1712.05877; Esser et al. 2020,
 *  arXiv:1902.08153; Bhalgat et al. 2020, arXiv:2004.09576. */
REEL_API reel_tensor *reel_fake_quantize(reel_tensor *x, reel_tensor *scale,
                                         reel_tensor *zero_point, int low, int high);

/* ---- reductions -------------------------------------------------------------------- */

/** Every element as one flat list, for reel_argmax and reel_argmin. */
#define REEL_FLAT INT32_MIN

/** Sum over `dims` (REEL_ALL: every one), which stay as size 1 if keepdim. Integers and bool
 *  give i64. ONNX: ReduceSum. */
REEL_API reel_tensor *reel_sum(reel_tensor *x, reel_shape dims, bool keepdim);
/** Mean over `dims`. Floating. ONNX: ReduceMean. */
REEL_API reel_tensor *reel_mean(reel_tensor *x, reel_shape dims, bool keepdim);
/** Variance over `dims`, divided by (n - correction): 1 is unbiased, 0 biased. Floating. */
REEL_API reel_tensor *reel_var(reel_tensor *x, reel_shape dims, double correction,
                               bool keepdim);
/** Euclidean norm over `dims`: the root of the sum of squares, right also where the squares
 *  are beyond the range of x's dtype. Floating. dtype: that of the result, x's own or REEL_F64,
 *  which holds the norm of any f16, bf16 or f32. The gradient of a norm of 0 is 0.
 *  Errors: REEL_ERR_DTYPE. ONNX: ReduceL2. */
REEL_API reel_tensor *reel_norm(reel_tensor *x, reel_shape dims, bool keepdim,
                                reel_dtype dtype);
/** Largest over `dims`; equal ones share the gradient. NaN wins. ONNX: ReduceMax. */
REEL_API reel_tensor *reel_max(reel_tensor *x, reel_shape dims, bool keepdim);
/** Smallest over `dims`; equal ones share the gradient. NaN wins. ONNX: ReduceMin. */
REEL_API reel_tensor *reel_min(reel_tensor *x, reel_shape dims, bool keepdim);
/** i64 index of the first largest along `dim` (or REEL_FLAT). ONNX: ArgMax. */
REEL_API reel_tensor *reel_argmax(reel_tensor *x, int dim, bool keepdim);
/** i64 index of the first smallest along `dim` (or REEL_FLAT). ONNX: ArgMin. */
REEL_API reel_tensor *reel_argmin(reel_tensor *x, int dim, bool keepdim);
/** bool: any nonzero over `dims`. */
REEL_API reel_tensor *reel_any(reel_tensor *x, reel_shape dims, bool keepdim);
/** bool: all nonzero over `dims`. */
REEL_API reel_tensor *reel_all(reel_tensor *x, reel_shape dims, bool keepdim);

/* ---- matrices ---------------------------------------------------------------------- */

/** Matrix product, as NumPy's: [..., m, k] [..., k, n] -> [..., m, n], batch dimensions
 *  broadcast; a vector [k] counts as a row on the left, a column on the right, and its
 *  dimension goes. Floating. ONNX: MatMul. */
REEL_API reel_tensor *reel_matmul(reel_tensor *x, reel_tensor *y);
/** x W' + b: x [..., in], weight [out, in], bias [out] or NULL -> [..., out]. ONNX: Gemm. */
REEL_API reel_tensor *reel_linear(reel_tensor *x, reel_tensor *weight, reel_tensor *bias);

/* ---- convolution and pooling: shapes [n, c, h, w], results channels-last in memory ---- */

/** Options of reel_conv2d. Zero is the default. A pair that is not all zero wins over the
 *  single number. */
typedef struct reel_conv2d_opts {
    int stride;   /* 0 means 1 */
    int padding;  /* zeros on each side */
    int dilation; /* 0 means 1 */
    int groups;   /* 0 means 1 */
    int stride_hw[2], padding_hw[2], dilation_hw[2];
    REEL_FUTURE;
} reel_conv2d_opts;
/** Cross-correlation: x [n, c, h, w], weight [k, c / groups, r, s], bias [k] or NULL ->
 *  [n, k, ho, wo], ho = (h + 2 padding - dilation (r - 1) - 1) / stride + 1. ONNX: Conv. */
REEL_API reel_tensor *reel_conv2d(reel_tensor *x, reel_tensor *weight, reel_tensor *bias,
                                  const reel_conv2d_opts *opts);

/** Options of pooling. Zero is the default. */
typedef struct reel_pool2d_opts {
    int stride;   /* 0 means the kernel's size */
    int padding;  /* at most half the window */
    int dilation; /* max_pool2d only; 0 means 1 */
    bool ceil_mode;
    bool exclude_pad; /* avg_pool2d: padding does not count in the divisor */
    int kernel_hw[2]; /* wins over `kernel` unless both are 0 */
    int stride_hw[2], padding_hw[2];
    REEL_FUTURE;
} reel_pool2d_opts;
/** Largest of each window of kernel x kernel. ONNX: MaxPool. */
REEL_API reel_tensor *reel_max_pool2d(reel_tensor *x, int kernel,
                                      const reel_pool2d_opts *opts);
/** Mean of each window. ONNX: AveragePool. */
REEL_API reel_tensor *reel_avg_pool2d(reel_tensor *x, int kernel,
                                      const reel_pool2d_opts *opts);
/** Mean of windows that cover the input evenly, result [n, c, h, w]. (1, 1) is the global
 *  mean. ONNX: GlobalAveragePool, or AveragePool where it divides evenly. */
REEL_API reel_tensor *reel_adaptive_avg_pool2d(reel_tensor *x, int h, int w);

/* ---- normalization ----------------------------------------------------------------- */

/** Options of reel_batch_norm. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_batch_norm_opts {
    double eps;      /* 0 means 1e-5 */
    double momentum; /* 0 means 0.1; of the running statistics */
    bool training;   /* statistics of this batch; running ones are updated in place */
    bool relu;       /* y = max(0, y), in the same pass */
    REEL_FUTURE;
} reel_batch_norm_opts;
/** Batch normalization over all dimensions but 1: x [n, c, ...]; weight, bias [c] or NULL;
 *  running mean and variance [c], needed unless training, or NULL. Optional `residual`, of
 *  x's shape, is added before relu, in the same pass.
 *  Source: Ioffe & Szegedy 2015, arXiv:1502.03167. ONNX: BatchNormalization. */
REEL_API reel_tensor *reel_batch_norm(reel_tensor *x, reel_tensor *weight,
                                      reel_tensor *bias, reel_tensor *running_mean,
                                      reel_tensor *running_var, reel_tensor *residual,
                                      const reel_batch_norm_opts *opts);
/** Options of reel_layer_norm. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_layer_norm_opts {
    double eps; /* 0 means 1e-5 */
    REEL_FUTURE;
} reel_layer_norm_opts;
/** Layer normalization over the last `dims` dimensions; weight and bias have their shape or
 *  are NULL. Source: Ba et al. 2016, arXiv:1607.06450.
 *  ONNX: LayerNormalization (17). */
REEL_API reel_tensor *reel_layer_norm(reel_tensor *x, int dims, reel_tensor *weight,
                                      reel_tensor *bias,
                                      const reel_layer_norm_opts *opts);

/* ---- softmax and losses ------------------------------------------------------------ */

/* Right for numbers of any size: maximum and sum are kept apart, so a row of n equal numbers
 * gives 1 / n at 1e30 too. A row with +inf or NaN, or of -inf alone, is NaN. */
/** exp(x) / sum(exp(x)) along `dim`. ONNX: Softmax. */
REEL_API reel_tensor *reel_softmax(reel_tensor *x, int dim);
/** log(softmax(x)) along `dim`. ONNX: LogSoftmax. */
REEL_API reel_tensor *reel_log_softmax(reel_tensor *x, int dim);
/** log(sum(exp(x))) along `dim`: -inf where that is empty or all -inf, inf where there is inf
 *  and no NaN. Its gradient is softmax's. ONNX: ReduceLogSumExp. */
REEL_API reel_tensor *reel_logsumexp(reel_tensor *x, int dim, bool keepdim);

/** Options of reel_cross_entropy. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_cross_entropy_opts {
    double label_smoothing;   /* 0 .. 1                                              */
    reel_tensor *weight;      /* [c], per class; NULL is 1. No gradient.             */
    reel_reduction reduction; /* mean is weighted by the class weights, as PyTorch's */
    bool ignore;              /* rows whose target is ignore_index do not count      */
    int64_t ignore_index;
    REEL_FUTURE;
} reel_cross_entropy_opts;
/** Softmax cross-entropy of logits [n, c] or [n, c, ...] and target i64 [n] or [n, ...],
 *  class indices. ONNX: SoftmaxCrossEntropyLoss. */
REEL_API reel_tensor *reel_cross_entropy(reel_tensor *logits, reel_tensor *target,
                                         const reel_cross_entropy_opts *opts);
/** (x - target)^2, reduced. Same shapes. */
REEL_API reel_tensor *reel_mse_loss(reel_tensor *x, reel_tensor *target,
                                    reel_reduction reduction);
/** Binary cross-entropy of logits x and targets in [0, 1], reduced; stable for large |x|. */
REEL_API reel_tensor *reel_bce_with_logits(reel_tensor *x, reel_tensor *target,
                                           reel_reduction reduction);

/* ---- attention --------------------------------------------------------------------- */

/** Options of reel_attention. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_attention_opts {
    reel_tensor
        *mask;      /* broadcasts to [..., lq, lk]: bool, true: attend; or of q's dtype,
                        * added to the scores, with a gradient (a learned bias) */
    bool causal;    /* query i sees keys 0 .. i */
    double dropout; /* on the probabilities */
    double scale;   /* 0 means 1 / sqrt(d) */
    REEL_FUTURE;
} reel_attention_opts;
/** Scaled dot-product attention softmax(q k' scale + mask) v: q [..., lq, d], k [..., lk, d],
 *  v [..., lk, dv] -> [..., lq, dv]; leading dimensions equal. The matrix of scores is never
 *  stored, nor is a mask expanded: its gradient is summed as it is made.
 *
 *  A bool mask and `causal` hide: the score is -inf, whatever it was. An added mask is added:
 *  -inf hides unless the score is NaN or inf, -1e9 leaves a row of nothing else what softmax
 *  makes of it. A row of which every score is -inf gives zeros, and zero gradients, where
 *  softmax gives NaN; a graph in which reel_graph_optimize found attention that was composed
 *  of operators keeps the NaN. v and k of hidden keys must be finite: 0 times infinity is NaN.
 *
 *  Errors: REEL_ERR_SHAPE, REEL_ERR_DTYPE.
 *  Source: Vaswani et al. 2017, arXiv:1706.03762; Dao et al. 2022, arXiv:2205.14135.
 *  ONNX: MatMul, Softmax and what the mask needs; not with dropout. */
REEL_API reel_tensor *reel_attention(reel_tensor *q, reel_tensor *k, reel_tensor *v,
                                     const reel_attention_opts *opts);

/* ---- indices: i64 (or i32), out of range is an error ---------------------------------- */

/** Rows of weight [v, d] at index [...] -> [..., d]. ONNX: Gather. */
REEL_API reel_tensor *reel_embedding(reel_tensor *weight, reel_tensor *index);
/** Slices of x along `dim` at index [n]. ONNX: Gather. */
REEL_API reel_tensor *reel_index_select(reel_tensor *x, int dim, reel_tensor *index);
/** out[i][j] = x[index[i][j]][j] for dim 0, and so on; index has x's rank and is not larger
 *  except along dim. ONNX: GatherElements. */
REEL_API reel_tensor *reel_gather(reel_tensor *x, int dim, reel_tensor *index);
/** x with src added at index: out[index[i][j]][j] += src[i][j] for dim 0, and so on.
 *  index and src have one shape. ONNX: ScatterElements (add, 16). */
REEL_API reel_tensor *reel_scatter_add(reel_tensor *x, int dim, reel_tensor *index,
                                       reel_tensor *src);
/** 1 at the index, 0 elsewhere: [...] -> [..., classes] of `dtype`. ONNX: OneHot. */
REEL_API reel_tensor *reel_one_hot(reel_tensor *index, int64_t classes, reel_dtype dtype);

/* ---- random ------------------------------------------------------------------------ */

/** In training: each element zeroed with probability p, the others divided by (1 - p). Else
 *  x. Source: Srivastava et al. 2014. */
REEL_API reel_tensor *reel_dropout(reel_tensor *x, double p, bool training);

/* ---- optimizer steps: change the parameter and its state in place, in one pass ------- */

/** Options of reel_sgd_step. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_sgd_step_opts {
    double momentum, dampening, weight_decay;
    bool nesterov;
    bool maximize; /* ascend instead of descend                          */
    bool first;    /* the momentum buffer holds nothing yet: it becomes the gradient */
    REEL_FUTURE;
} reel_sgd_step_opts;
/** One step of stochastic gradient descent, as torch.optim.SGD defines it. param, grad and
 *  momentum (NULL without momentum) have one shape and dtype, f32 or f64; lr is one f64. Run it under
 *  reel_set_grad_enabled(false). */
REEL_API reel_status reel_sgd_step(reel_tensor *param, reel_tensor *grad,
                                   reel_tensor *momentum, reel_tensor *lr,
                                   const reel_sgd_step_opts *opts);
/** Options of reel_adam_step. */
typedef struct reel_adam_step_opts {
    double beta1; /* 0 means 0.9 */
    double beta2; /* 0 means 0.999 */
    double eps;   /* 0 means 1e-8 */
    double weight_decay;
    bool decoupled; /* AdamW: decay the weight itself; else add decay to the gradient */
    bool maximize;
    REEL_FUTURE;
} reel_adam_step_opts;
/** One step of Adam (Kingma & Ba 2014, arXiv:1412.6980) or AdamW (Loshchilov & Hutter 2017,
 *  arXiv:1711.05101). m and v are the two moments; lr and step are one f64 each, step counts
 *  this one already. */
REEL_API reel_status reel_adam_step(reel_tensor *param, reel_tensor *grad, reel_tensor *m,
                                    reel_tensor *v, reel_tensor *lr, reel_tensor *step,
                                    const reel_adam_step_opts *opts);

/* ---- asking ------------------------------------------------------------------------ */

/** Number of operators, and the name of operator i; NULL out of range. Static storage. */
REEL_API int reel_op_count(void);
REEL_API const char *reel_op_name(int i);
/** What an operator can do. Texts are static. */
typedef struct reel_op_facts {
    const char *name;
    const char *kind; /* "view", "pointwise", "in place", "random", ...; "" */
    int min_inputs, max_inputs, outputs;
    uint32_t dtypes;         /* of the values: bit 1 << dtype */
    char dtype_names[64];    /* the same as text: "floats, ints, bool", "f32, f64", ... */
    const char *no_gradient; /* NULL: it has gradients of every order; else why not */
    int onnx_since;          /* the first opset that it can be exported to; 0: none */
    const char *no_onnx;     /* why; NULL if onnx_since says one */
    REEL_FUTURE;
} reel_op_facts;
/** Facts of operator i of reel_op_count(). Errors: REEL_ERR_ARG. */
REEL_API reel_status reel_op_info(int i, reel_op_facts *out);

#ifdef __cplusplus
}
#endif
#endif
