/* onnx_import_cases.h: nodes, and the same in eager reel. A case is
 *   operator, opset, operands, attributes, function of the operands
 * Operands: f[B,3] an input (B: the batch), i<5[2,3] whole numbers below 5, b[3] bool,
 * w[3,4] a parameter, p[3] a positive one, w2 the parameter 2, 3, {1,-1} a constant i64 list, =2 a number, - absent.
 * Attributes: k=1 int, k=1, ints, k=.5 float, k='text'. */
#ifndef TESTS_ONNX_IMPORT_CASES_H
#define TESTS_ONNX_IMPORT_CASES_H

#include <math.h>
#include <reel/reel.h>

typedef struct import_case {
    const char *op_type;
    int opset;
    const char *operands, *attributes;
    reel_tensor *(*eager)(reel_tensor *const x[]);
} import_case;

#define EAGER(name, expression)                                                          \
    static reel_tensor *name(reel_tensor *const x[])                                     \
    {                                                                                    \
        (void)x;                                                                         \
        return expression;                                                               \
    }
#define X x[0]
#define Y x[1]
#define Z x[2]

/* ---- elementwise ---------------------------------------------------------------------- */
EAGER(e_abs, reel_abs(X))
EAGER(e_neg, reel_neg(X))
EAGER(e_sign, reel_sign(X))
EAGER(e_exp, reel_exp(X))
EAGER(e_log, reel_log(X))
EAGER(e_sqrt, reel_sqrt(X))
EAGER(e_reciprocal, reel_reciprocal(X))
EAGER(e_sin, reel_sin(X))
EAGER(e_cos, reel_cos(X))
EAGER(e_tan, reel_div(reel_sin(X), reel_cos(X)))
EAGER(e_erf, reel_erf(X))
EAGER(e_floor, reel_floor(X))
EAGER(e_ceil, reel_ceil(X))
EAGER(e_round, reel_round(X))
EAGER(e_relu, reel_relu(X))
EAGER(e_sigmoid, reel_sigmoid(X))
EAGER(e_tanh, reel_tanh(X))
EAGER(e_softplus, reel_softplus(X))
EAGER(e_hardswish, reel_hardswish(X))
EAGER(e_not, reel_logical_not(X))
EAGER(e_leaky, reel_leaky_relu(X, 0.25))
EAGER(e_elu, reel_elu(X, 0.5))
EAGER(e_add, reel_add(X, Y))
EAGER(e_add_channels, reel_add(X, reel_reshape(Y, REEL_SHAPE(3, 1))))
EAGER(e_sub, reel_sub(X, Y))
EAGER(e_mul, reel_mul(X, Y))
EAGER(e_div, reel_div(X, Y))
EAGER(e_add2, reel_add_scalar(X, 2))
EAGER(e_sub2, reel_add_scalar(X, -2))
EAGER(e_two_less, reel_add_scalar(reel_neg(Y), 2))
EAGER(e_mul2, reel_mul_scalar(X, 2))
EAGER(e_square, reel_square(X))
EAGER(e_pow, reel_pow(X, Y))
EAGER(e_cube, reel_pow_scalar(X, 3))
EAGER(e_mod, reel_sub(X, reel_mul(Y, reel_floor(reel_div(X, Y)))))
EAGER(e_half,
      reel_cast(reel_floor(reel_mul_scalar(reel_cast(X, REEL_F64), 0.5)), REEL_I64))
EAGER(e_max3, reel_maximum(reel_maximum(X, Y), Z))
EAGER(e_min, reel_minimum(X, Y))
EAGER(e_sum3, reel_add(reel_add(X, Y), Z))
EAGER(e_mean2, reel_mul_scalar(reel_add(X, Y), 0.5))
EAGER(e_eq, reel_eq(X, Y))
EAGER(e_lt, reel_lt(X, Y))
EAGER(e_gt, reel_gt(X, Y))
EAGER(e_le, reel_le(X, Y))
EAGER(e_ge, reel_ge(X, Y))
EAGER(e_and, reel_logical_and(X, Y))
EAGER(e_or, reel_logical_or(X, Y))
EAGER(e_xor, reel_logical_xor(X, Y))
EAGER(e_isnan, reel_ne(X, X))
EAGER(e_never, reel_logical_not(reel_isfinite(X)))
EAGER(e_where, reel_where(X, Y, Z))
EAGER(e_clip, reel_clamp(X, -0.5, 0.25))
EAGER(e_clip6, reel_relu6(X))
EAGER(e_clip_low, reel_clamp(X, -0.5, INFINITY))
EAGER(e_clip_run, reel_minimum(reel_maximum(X, Y), Z))
EAGER(e_prelu, reel_where(reel_gt(X, reel_scalar(0, REEL_F32)), X, reel_mul(X, Y)))
EAGER(e_prelu_channels, reel_where(reel_gt(X, reel_scalar(0, REEL_F32)), X,
                                   reel_mul(X, reel_reshape(Y, REEL_SHAPE(3, 1)))))
EAGER(e_threshold,
      reel_mul(X, reel_cast(reel_gt(X, reel_scalar(0.5, REEL_F32)), REEL_F32)))
EAGER(e_shrink,
      reel_mul(X, reel_cast(reel_gt(reel_abs(X), reel_scalar(0.5, REEL_F32)), REEL_F32)))
EAGER(e_hardsigmoid, reel_clamp(reel_add_scalar(reel_mul_scalar(X, 0.25), 0.5), 0, 1))
EAGER(e_gelu, reel_gelu(X))
EAGER(e_gelu_tanh, reel_gelu_tanh(X))
EAGER(e_silu, reel_silu(X))
EAGER(e_swish2, reel_mul(X, reel_sigmoid(reel_mul_scalar(X, 2))))
EAGER(e_selu1, reel_mul_scalar(reel_elu(X, 1.6732), 1.0507))
EAGER(e_selu, reel_mul_scalar(reel_elu(X, 0.5), 2))
EAGER(e_celu, reel_mul_scalar(reel_elu(reel_mul_scalar(X, 2), 1), 0.5))
EAGER(e_mish, reel_mul(X, reel_tanh(reel_softplus(X))))
EAGER(e_softsign, reel_div(X, reel_add_scalar(reel_abs(X), 1)))
EAGER(e_to_i64, reel_cast(X, REEL_I64))
EAGER(e_same, reel_copy(X))

/* ---- shapes, constants ----------------------------------------------------------------- */
EAGER(e_4x3, reel_reshape(X, REEL_SHAPE(reel_size(X, 0), 4, 3)))
EAGER(e_flat, reel_flatten(X, 1, -1))
EAGER(e_flat_all, reel_reshape(X, REEL_SHAPE(1, -1)))
EAGER(e_squeeze, reel_squeeze(X, 1))
EAGER(e_unsqueeze, reel_unsqueeze(reel_unsqueeze(X, 0), 2))
EAGER(e_t021, reel_permute(X, REEL_DIMS(0, 2, 1)))
EAGER(e_expand, reel_copy(reel_expand(X, REEL_SHAPE(reel_size(X, 0), 5, 3))))
EAGER(e_tile, reel_cat((reel_tensor *[]){X, X}, 2, 1))
EAGER(e_cat, reel_cat((reel_tensor *[]){X, Y}, 2, 1))
EAGER(e_first2, reel_narrow(X, 1, 0, 2))
EAGER(e_slice, reel_slice(X, 1, 1, 6, 2))
EAGER(e_reverse, reel_flip(X, REEL_DIMS(1)))
EAGER(e_pad, reel_pad(X, REEL_SHAPE(0, 1), REEL_SHAPE(0, 2), 0.5))
EAGER(e_pad0, reel_pad(X, REEL_SHAPE(0, 1), REEL_SHAPE(0, 2), 0))
EAGER(e_cut1, reel_narrow(X, 1, 1, 2))
EAGER(e_d2s, reel_reshape(reel_permute(reel_reshape(X, REEL_SHAPE(reel_size(X, 0), 2, 2,
                                                                  1, 2, 3)),
                                       REEL_DIMS(0, 3, 4, 1, 5, 2)),
                          REEL_SHAPE(reel_size(X, 0), 1, 4, 6)))
EAGER(e_s2d_crd, reel_reshape(reel_permute(reel_reshape(X, REEL_SHAPE(reel_size(X, 0), 2,
                                                                      2, 2, 3, 2)),
                                           REEL_DIMS(0, 1, 3, 5, 2, 4)),
                              REEL_SHAPE(reel_size(X, 0), 8, 2, 3)))
EAGER(e_s2d, reel_reshape(reel_permute(reel_reshape(X, REEL_SHAPE(reel_size(X, 0), 1, 2,
                                                                  2, 3, 2)),
                                       REEL_DIMS(0, 3, 5, 1, 2, 4)),
                          REEL_SHAPE(reel_size(X, 0), 4, 2, 3)))
EAGER(e_1p5, reel_scalar(1.5, REEL_F32))
EAGER(e_list, reel_from((int64_t[]){4, 5}, REEL_SHAPE(2), REEL_I64))
EAGER(e_zeros, reel_zeros(REEL_SHAPE(2, 3), REEL_F32))
EAGER(e_range, reel_arange(1, 9, 3, REEL_I64))
EAGER(e_shape, reel_from((int64_t[]){3, 4}, REEL_SHAPE(2), REEL_I64))
EAGER(e_size, reel_scalar(24, REEL_I64))
EAGER(e_triu,
      reel_mul(X, reel_from((float[]){1, 1, 1, 0, 1, 1}, REEL_SHAPE(2, 3), REEL_F32)))
EAGER(e_tril,
      reel_mul(X, reel_from((float[]){1, 1, 0, 1, 1, 1}, REEL_SHAPE(2, 3), REEL_F32)))
EAGER(e_eye, reel_eye(3, 4, REEL_F32))

/* ---- indices ----------------------------------------------------------------------------- */
EAGER(e_rows, reel_embedding(X, Y))
EAGER(e_last, reel_select(X, 1, -1))
EAGER(e_gather, reel_gather(X, 1, Y))
EAGER(e_scatter, reel_scatter_add(X, 1, Y, Z))
EAGER(e_onehot, reel_add_scalar(reel_one_hot(X, 5, REEL_F32), 2))

/* ---- reductions ---------------------------------------------------------------------------- */
EAGER(e_rsum, reel_sum(X, REEL_DIMS(1), true))
EAGER(e_rsum_all, reel_sum(X, REEL_ALL, false))
EAGER(e_rmean, reel_mean(X, REEL_DIMS(1, 2), false))
EAGER(e_rmax, reel_max(X, REEL_DIMS(2), true))
EAGER(e_rmin, reel_min(X, REEL_DIMS(2), true))
EAGER(e_rprod, reel_mul(reel_narrow(X, 1, 0, 1), reel_narrow(X, 1, 1, 1)))
EAGER(e_rl1, reel_sum(reel_abs(X), REEL_DIMS(1), true))
EAGER(e_rl2, reel_sqrt(reel_sum(reel_square(X), REEL_DIMS(1), true)))
EAGER(e_rsq, reel_sum(reel_square(X), REEL_DIMS(1), true))
EAGER(e_rlog, reel_log(reel_sum(X, REEL_DIMS(1), true)))
EAGER(e_rlse, reel_logsumexp(X, 1, true))
EAGER(e_argmax, reel_argmax(X, 1, false))
EAGER(e_argmin, reel_argmin(X, 1, true))
EAGER(e_softmax1, reel_softmax(X, 1))
EAGER(e_logsoftmax, reel_log_softmax(X, -1))
EAGER(e_softmax_flat,
      reel_reshape(reel_softmax(reel_flatten(X, 1, 2), 1), reel_shape_of(X)))
EAGER(e_logsoftmax_flat,
      reel_reshape(reel_log_softmax(reel_flatten(X, 1, 2), 1), reel_shape_of(X)))

/* ---- layers --------------------------------------------------------------------------------- */
EAGER(e_conv, reel_conv2d(X, Y, Z, &(reel_conv2d_opts){.padding = 1, .stride = 2}))
EAGER(e_conv_uneven,
      reel_conv2d(reel_pad(X, REEL_SHAPE(0, 0, 0, 0), REEL_SHAPE(0, 0, 1, 1), 0), Y, NULL,
                  &(reel_conv2d_opts){.stride = 2}))
EAGER(e_conv_groups, reel_conv2d(X, Y, NULL, &(reel_conv2d_opts){.groups = 2}))
EAGER(e_conv_line,
      reel_squeeze(reel_conv2d(reel_unsqueeze(X, 2), reel_unsqueeze(Y, 2), NULL, NULL),
                   2))
/* each element spreads over a window of its own */
EAGER(e_deconv,
      reel_reshape(reel_permute(reel_mul(reel_reshape(X, REEL_SHAPE(reel_size(X, 0), 1, 2,
                                                                    1, 3, 1)),
                                         reel_reshape(Y, REEL_SHAPE(1, 2, 1, 2, 1, 2))),
                                REEL_DIMS(0, 1, 2, 3, 4, 5)),
                   REEL_SHAPE(reel_size(X, 0), 2, 4, 6)))
EAGER(e_maxpool, reel_max_pool2d(X, 3, &(reel_pool2d_opts){.stride = 2, .padding = 1}))
EAGER(e_avgpool, reel_avg_pool2d(X, 2, &(reel_pool2d_opts){.exclude_pad = true}))
EAGER(e_avgpool_ceil,
      reel_avg_pool2d(X, 2, &(reel_pool2d_opts){.exclude_pad = true, .ceil_mode = true}))
EAGER(e_gap, reel_mean(X, REEL_DIMS(2, 3), true))
EAGER(e_gmp, reel_max(X, REEL_DIMS(2, 3), true))
EAGER(e_matmul, reel_matmul(X, Y))
EAGER(e_linear, reel_linear(X, Y, Z))
EAGER(e_gemm, reel_add(reel_mul_scalar(reel_matmul(X, Y), 0.5), reel_mul_scalar(Z, 2)))
EAGER(e_attention, reel_attention(X, Y, Z, &(reel_attention_opts){.causal = true}))
EAGER(e_bn, reel_batch_norm(X, x[1], x[2], x[3], x[4], NULL,
                            &(reel_batch_norm_opts){.eps = 0.25}))
EAGER(e_ln, reel_layer_norm(X, 2, Y, Z, &(reel_layer_norm_opts){.eps = 0.25}))
EAGER(e_in, reel_add(reel_mul(reel_layer_norm(X, 2, NULL, NULL,
                                              &(reel_layer_norm_opts){.eps = 0.25}),
                              reel_reshape(Y, REEL_SHAPE(2, 1, 1))),
                     reel_reshape(Z, REEL_SHAPE(2, 1, 1))))
EAGER(e_gn,
      reel_add(
          reel_mul(reel_reshape(reel_layer_norm(
                                    reel_reshape(X, REEL_SHAPE(reel_size(X, 0), 2, -1)),
                                    1, NULL, NULL, &(reel_layer_norm_opts){.eps = 0.25}),
                                reel_shape_of(X)),
                   reel_reshape(Y, REEL_SHAPE(4, 1, 1))),
          reel_reshape(Z, REEL_SHAPE(4, 1, 1))))
EAGER(e_rms,
      reel_mul(reel_mul(X, reel_rsqrt(reel_add_scalar(
                               reel_mean(reel_square(X), REEL_DIMS(1), true), 0.25))),
               Y))
EAGER(e_lp, reel_div(X, reel_sqrt(reel_sum(reel_square(X), REEL_DIMS(1), true))))
EAGER(e_mvn,
      reel_div(reel_sub(X, reel_mean(X, REEL_DIMS(1), true)),
               reel_add_scalar(reel_sqrt(reel_var(X, REEL_DIMS(1), 0, true)), 1e-9)))

static const import_case import_cases[] = {
    {"Abs", 13, "f[B,3]", "", e_abs},
    {"Neg", 13, "f[B,3]", "", e_neg},
    {"Sign", 13, "f[B,3]", "", e_sign},
    {"Exp", 13, "f[B,3]", "", e_exp},
    {"Log", 13, "p[4,3]", "", e_log},
    {"Sqrt", 13, "p[4,3]", "", e_sqrt},
    {"Reciprocal", 13, "p[4,3]", "", e_reciprocal},
    {"Sin", 13, "f[B,3]", "", e_sin},
    {"Cos", 13, "f[B,3]", "", e_cos},
    {"Tan", 13, "f[B,3]", "", e_tan},
    {"Erf", 13, "f[B,3]", "", e_erf},
    {"Floor", 13, "f[B,3]", "", e_floor},
    {"Ceil", 13, "f[B,3]", "", e_ceil},
    {"Round", 13, "f[B,3]", "", e_round},
    {"Relu", 7, "f[B,3]", "", e_relu},
    {"Sigmoid", 13, "f[B,3]", "", e_sigmoid},
    {"Tanh", 13, "f[B,3]", "", e_tanh},
    {"Softplus", 13, "f[B,3]", "", e_softplus},
    {"HardSwish", 14, "f[B,3]", "", e_hardswish},
    {"Not", 13, "b[4,3]", "", e_not},
    {"LeakyRelu", 13, "f[B,3]", "alpha=.25", e_leaky},
    {"Elu", 13, "f[B,3]", "alpha=.5", e_elu},
    {"Add", 7, "f[B,3] f[B,3]", "", e_add},
    {"Add", 6, "f[B,3] w[3]", "broadcast=1", e_add},
    {"Add", 6, "f[B,3,4] w[3]", "broadcast=1 axis=1", e_add_channels},
    {"Add", 5, "f[B,3] f[B,3]", "consumed_inputs=0,0", e_add},
    {"Add", 13, "f[B,1,3] w[4,1]", "", e_add},
    {"Add", 13, "=2 f[B,3]", "", e_add},
    {"Add", 13, "f[B,3] =2", "", e_add2},
    {"Sub", 13, "f[B,3] w[3]", "", e_sub},
    {"Sub", 13, "f[B,3] =2", "", e_sub2},
    {"Sub", 13, "=2 f[B,3]", "", e_two_less},
    {"Sub", 1, "f[B,3] w[3]", "broadcast=1 axis=1", e_sub},
    {"Mul", 13, "f[B,3] w[3]", "", e_mul},
    {"Mul", 13, "f[B,3] =2", "", e_mul2},
    {"Mul", 6, "f[B,3] w[3]", "broadcast=1", e_mul},
    {"Div", 13, "f[B,3] p[3]", "", e_div},
    {"Div", 6, "f[B,3] p[3]", "broadcast=1", e_div},
    {"Div", 13, "i<9[B,3] {2}", "", e_half},
    {"Mod", 13, "f[B,3] p[3]", "fmod=0", e_mod},
    {"Pow", 13, "p[2,3] w[3]", "", e_pow},
    {"Pow", 1, "p[2,3] w[3]", "broadcast=1", e_pow},
    {"Pow", 13, "f[B,3] =2", "", e_square},
    {"Pow", 13, "f[B,3] =3", "", e_cube},
    {"Max", 13, "f[B,3] w[3] f[B,3]", "", e_max3},
    {"Min", 13, "f[B,3] w[3]", "", e_min},
    {"Sum", 13, "f[B,3] w[3] f[B,3]", "", e_sum3},
    {"Mean", 13, "f[B,3] w[3]", "", e_mean2},
    {"Equal", 13, "i<3[B,3] i<3[B,3]", "", e_eq},
    {"Equal", 1, "i<3[B,3] i<3[B,3]", "", e_eq},
    {"Less", 13, "f[B,3] w[3]", "", e_lt},
    {"Less", 1, "f[B,3] w[3]", "broadcast=1", e_lt},
    {"Greater", 13, "f[B,3] w[3]", "", e_gt},
    {"Greater", 1, "f[B,3] w[3]", "broadcast=1", e_gt},
    {"LessOrEqual", 13, "f[B,3] w[3]", "", e_le},
    {"GreaterOrEqual", 13, "f[B,3] w[3]", "", e_ge},
    {"And", 13, "b[B,3] b[B,3]", "", e_and},
    {"And", 6, "b[B,3] b[B,3]", "", e_and},
    {"Or", 13, "b[B,3] b[B,3]", "", e_or},
    {"Or", 6, "b[B,3] b[B,3]", "", e_or},
    {"Xor", 13, "b[B,3] b[B,3]", "", e_xor},
    {"Xor", 6, "b[B,3] b[B,3]", "", e_xor},
    {"IsNaN", 13, "f[B,3]", "", e_isnan},
    {"IsInf", 13, "f[B,3]", "detect_negative=0", e_never},
    {"Where", 13, "b[B,3] f[B,3] w[3]", "", e_where},
    {"Clip", 7, "f[B,3]", "min=-.5 max=.25", e_clip},
    {"Clip", 13, "f[B,3] =-.5 =.25", "", e_clip},
    {"Clip", 13, "f[B,3] =0 =6", "", e_clip6},
    {"Clip", 13, "f[B,3] =-.5", "", e_clip_low},
    {"Clip", 13, "f[4,3] w[1] w[3]", "", e_clip_run},
    {"PRelu", 13, "f[B,3] w[3]", "", e_prelu},
    {"PRelu", 6, "f[B,3,4] w[3]", "", e_prelu_channels},
    {"ThresholdedRelu", 13, "f[B,3]", "alpha=.5", e_threshold},
    {"Shrink", 13, "f[B,3]", "lambd=.5", e_shrink},
    {"HardSigmoid", 13, "f[B,3]", "alpha=.25", e_hardsigmoid},
    {"Gelu", 20, "f[B,3]", "", e_gelu},
    {"Gelu", 20, "f[B,3]", "approximate='tanh'", e_gelu_tanh},
    {"Swish", 24, "f[B,3]", "", e_silu},
    {"Swish", 24, "f[B,3]", "alpha=2.", e_swish2},
    {"Selu", 13, "f[B,3]", "alpha=.5 gamma=2.", e_selu},
    {"Selu", 1, "f[B,3]", "", e_selu1},
    {"Celu", 13, "f[B,3]", "alpha=.5", e_celu},
    {"Mish", 18, "f[B,3]", "", e_mish},
    {"Softsign", 13, "f[B,3]", "", e_softsign},
    {"Cast", 13, "f[B,3]", "to=7", e_to_i64},
    {"Cast", 1, "f[B,3]", "to='INT64'", e_to_i64},
    {"CastLike", 15, "f[B,3] {1}", "", e_to_i64},
    {"Identity", 13, "f[B,3]", "", e_same},
    {"Dropout", 7, "f[B,3]", "ratio=.5", e_same},
    {"Dropout", 6, "f[B,3]", "is_test=1 ratio=.5", e_same},
    {"Dropout", 13, "f[B,3]", "seed=1", e_same},

    {"Reshape", 13, "f[B,12] {-1,4,3}", "", e_4x3},
    {"Reshape", 1, "f[B,12]", "shape=-1,4,3", e_4x3},
    {"Reshape", 13, "f[B,12] {0,4,-1}", "", e_4x3},
    {"Flatten", 13, "f[B,3,4]", "", e_flat},
    {"Flatten", 13, "f[4,3,4]", "axis=0", e_flat_all},
    {"Squeeze", 7, "f[B,1,3]", "axes=1,", e_squeeze},
    {"Squeeze", 13, "f[B,1,3] {-2}", "", e_squeeze},
    {"Unsqueeze", 7, "f[B,3]", "axes=0,2", e_unsqueeze},
    {"Unsqueeze", 13, "f[B,3] {0,-2}", "", e_unsqueeze},
    {"Transpose", 13, "f[B,3,4]", "perm=0,2,1", e_t021},
    {"Expand", 13, "f[B,1,3] {1,5,1}", "", e_expand},
    {"Tile", 13, "f[B,3] {1,2}", "", e_tile},
    {"Concat", 13, "f[B,3] f[B,2]", "axis=-1", e_cat},
    {"Split", 7, "f[B,4]", "axis=1 split=2,2", e_first2},
    {"Split", 1, "f[B,4] {2,2}", "axis=1", e_first2},
    {"Split", 13, "f[B,3] {2,1}", "axis=1", e_first2},
    {"Slice", 7, "f[B,6]", "axes=1, starts=0, ends=2,", e_first2},
    {"Slice", 13, "f[B,6] {1} {9223372036854775807} {1} {2}", "", e_slice},
    {"Slice", 13, "f[B,6] {-1} {-100} {-1} {-1}", "", e_reverse},
    {"Pad", 7, "f[B,3]", "pads=0,1,0,2 value=.5", e_pad},
    {"Pad", 1, "f[B,3]", "paddings=0,1,0,2 value=.5", e_pad},
    {"Pad", 13, "f[B,3] {0,1,0,2} =.5", "", e_pad},
    {"Pad", 18, "f[B,3] {1,2} - {1}", "", e_pad0},
    {"Pad", 13, "f[B,4] {0,-1,0,-1}", "", e_cut1},
    {"DepthToSpace", 13, "f[B,4,2,3]", "blocksize=2", e_d2s},
    {"SpaceToDepth", 13, "f[B,1,4,6]", "blocksize=2", e_s2d},
    {"SpaceToDepth", 28, "f[B,2,4,6]", "blocksize=2 mode='CRD'", e_s2d_crd},
    {"Constant", 13, "", "value_float=1.5", e_1p5},
    {"Constant", 13, "", "value_ints=4,5", e_list},
    {"ConstantOfShape", 13, "{2,3}", "", e_zeros},
    {"Range", 13, "{1} {9} {3}", "", e_range},
    {"Range", 27, "{1} {9} {3}", "stash_type=1", e_range},
    {"Shape", 15, "f[2,3,4]", "start=1", e_shape},
    {"Size", 13, "f[2,3,4]", "", e_size},
    {"Trilu", 14, "f[B,2,3]", "", e_triu},
    {"Trilu", 14, "f[B,2,3] {1}", "upper=0", e_tril},
    {"EyeLike", 13, "f[3,4]", "", e_eye},

    {"Gather", 13, "w[5,3] i<5[B,2]", "", e_rows},
    {"Gather", 13, "f[B,4,3] =-1", "axis=1", e_last},
    {"GatherElements", 13, "f[B,4] i<4[B,2]", "axis=1", e_gather},
    {"ScatterElements", 16, "f[B,4] i<4[B,2] f[B,2]", "axis=1 reduction='add'",
     e_scatter},
    {"OneHot", 13, "i<5[B,2] {5} w2", "", e_onehot},

    {"ReduceSum", 7, "f[B,3,4]", "axes=1,", e_rsum},
    {"ReduceSum", 13, "f[B,3,4] {1}", "", e_rsum},
    {"ReduceSum", 13, "f[B,3]", "keepdims=0", e_rsum_all},
    {"ReduceMean", 13, "f[B,3,4]", "axes=1,-1 keepdims=0", e_rmean},
    {"ReduceMean", 18, "f[B,3,4] {1,2}", "keepdims=0", e_rmean},
    {"ReduceMax", 13, "f[B,3,4]", "axes=2,", e_rmax},
    {"ReduceMax", 18, "f[B,3,4] {2}", "", e_rmax},
    {"ReduceMin", 13, "f[B,3,4]", "axes=2,", e_rmin},
    {"ReduceMin", 18, "f[B,3,4] {2}", "", e_rmin},
    {"ReduceProd", 13, "f[B,2,3]", "axes=1,", e_rprod},
    {"ReduceProd", 18, "f[B,2,3] {1}", "", e_rprod},
    {"ReduceL1", 13, "f[B,3,4]", "axes=1,", e_rl1},
    {"ReduceL1", 18, "f[B,3,4] {1}", "", e_rl1},
    {"ReduceL2", 13, "f[B,3,4]", "axes=1,", e_rl2},
    {"ReduceL2", 18, "f[B,3,4] {1}", "", e_rl2},
    {"ReduceSumSquare", 13, "f[B,3,4]", "axes=1,", e_rsq},
    {"ReduceSumSquare", 18, "f[B,3,4] {1}", "", e_rsq},
    {"ReduceLogSum", 13, "p[4,3]", "axes=1,", e_rlog},
    {"ReduceLogSum", 18, "p[4,3] {1}", "", e_rlog},
    {"ReduceLogSumExp", 13, "f[B,3,4]", "axes=1,", e_rlse},
    {"ReduceLogSumExp", 18, "f[B,3,4] {1}", "", e_rlse},
    {"ArgMax", 13, "f[B,3,4]", "axis=1 keepdims=0", e_argmax},
    {"ArgMax", 13, "f[B,3,4]", "axis=1 keepdims=0 select_last_index=1", e_argmax},
    {"ArgMin", 13, "f[B,3,4]", "axis=1", e_argmin},
    {"Softmax", 7, "f[B,3,4]", "", e_softmax_flat},
    {"Softmax", 13, "f[B,3,4]", "axis=1", e_softmax1},
    {"LogSoftmax", 7, "f[B,3,4]", "", e_logsoftmax_flat},
    {"LogSoftmax", 13, "f[B,3,4]", "", e_logsoftmax},

    {"Conv", 13, "f[B,3,8,8] w[4,3,3,3] w[4]", "pads=1,1,1,1 strides=2,2", e_conv},
    {"Conv", 13, "f[B,3,8,8] w[4,3,3,3]", "auto_pad='SAME_UPPER' strides=2,2",
     e_conv_uneven},
    {"Conv", 13, "f[B,4,5,5] w[6,2,3,3]", "group=2", e_conv_groups},
    {"Conv", 13, "f[B,3,8] w[4,3,3]", "", e_conv_line},
    {"ConvTranspose", 13, "f[B,1,2,3] w[1,2,2,2]", "strides=2,2", e_deconv},
    {"MaxPool", 13, "f[B,3,7,7]", "kernel_shape=3,3 strides=2,2 pads=1,1,1,1", e_maxpool},
    {"AveragePool", 13, "f[B,3,6,6]", "kernel_shape=2,2 strides=2,2", e_avgpool},
    {"AveragePool", 13, "f[B,3,5,5]",
     "kernel_shape=2,2 strides=2,2 auto_pad='SAME_UPPER'", e_avgpool_ceil},
    {"AveragePool", 13, "f[B,3,4,5]", "kernel_shape=8,1280 strides=8,1280 ceil_mode=1",
     e_gap},
    {"MaxPool", 13, "f[B,3,4,5]", "kernel_shape=5,7 strides=3,4 ceil_mode=1", e_gmp},
    {"GlobalAveragePool", 13, "f[B,3,4,5]", "", e_gap},
    {"GlobalMaxPool", 13, "f[B,3,4,5]", "", e_gmp},
    {"MatMul", 13, "f[B,3] w[3,4]", "", e_matmul},
    {"MatMul", 13, "f[B,2,3] w[3,4]", "", e_matmul},
    {"MatMul", 13, "f[B,2,3] w[3]", "", e_matmul},
    {"MatMul", 13, "f[B,1,2,3] w[5,3,4]", "", e_matmul},
    {"Gemm", 13, "f[B,3] w[4,3] w[4]", "transB=1", e_linear},
    {"Gemm", 6, "f[B,3] w[4,3] w[4]", "transB=1 broadcast=1", e_linear},
    {"Gemm", 13, "f[B,3] w[3,4] w[1,4]", "alpha=.5 beta=2.", e_gemm},
    {"Attention", 23, "f[B,2,5,4] f[B,2,5,4] f[B,2,5,3]", "is_causal=1", e_attention},
    {"BatchNormalization", 9, "f[B,2,3,4] w[2] w[2] w[2] p[2]", "epsilon=.25", e_bn},
    {"BatchNormalization", 6, "f[B,2,3,4] w[2] w[2] w[2] p[2]", "epsilon=.25 is_test=1",
     e_bn},
    {"BatchNormalization", 15, "f[B,2,3,4] w[2] w[2] w[2] p[2]", "epsilon=.25", e_bn},
    {"InstanceNormalization", 13, "f[B,2,3,4] w[2] w[2]", "epsilon=.25", e_in},
    {"GroupNormalization", 21, "f[B,4,3,2] w[4] w[4]", "epsilon=.25 num_groups=2", e_gn},
    {"LayerNormalization", 17, "f[B,3,4] w[3,4] w[3,4]", "epsilon=.25 axis=1", e_ln},
    {"RMSNormalization", 23, "f[B,4] w[4]", "epsilon=.25", e_rms},
    {"LpNormalization", 13, "f[B,4]", "", e_lp},
    {"MeanVarianceNormalization", 13, "f[B,4]", "axes=1,", e_mvn},
};

#endif
