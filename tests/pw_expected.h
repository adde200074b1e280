/* pw_expected.h: what each pointwise row should give, written once more, in f64. */
#ifndef REEL_TESTS_PW_EXPECTED_H
#define REEL_TESTS_PW_EXPECTED_H

#include <math.h>

#include "backend/pw_info.h"
#include "random_layout.h"

static const double attributes[2] = {-0.75, 1.5};
static const reel__number numbers[2] = {{.is_real = 1, .real = -0.75},
                                        {.is_real = 1, .real = 1.5}};

/* ---- what the rows should give ----------------------------------------------------- */

static inline double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}
static inline double normcdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.));
}
static inline double tanh_u(double x)
{
    return sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
}
static inline double tanh_du(double x)
{
    return sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

static inline double gelu_tanh_grad(double x)
{
    if (fabs(x) > 40) return x > 0;
    double u = tanh_u(x), sech = 1 / cosh(u);
    return sigmoid(2 * u) + 0.5 * x * sech * sech * tanh_du(x);
}

static inline double extreme(double x, double y, double sign)
{
    return isnan(x) || isnan(y) ? NAN : sign * x > sign * y ? x : y;
}

static inline double bce(double x, double other)
{
    return (other == 0 ? 0 : fabs(x) * other) + log1p(exp(-fabs(x)));
}

static inline double clip(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* Rows of quantization, whose every step is rounded: an f32 is what arithmetic of f32 gives. */
#define QUANTIZED(NAME, T)                                                               \
    static inline double NAME(reel__kernel_id k, T x, T s, T z, T low, T high)           \
    {                                                                                    \
        const T u = x / s, r = (T)nearbyint((double)u),                                  \
                round_z = (T)nearbyint((double)z);                                       \
        const T zero = round_z < low ? low : round_z > high ? high : round_z;            \
        const T q = r + (k == K_QUANTIZE ? z : zero);                                    \
        const T cut = q < low ? low : q > high ? high : q;                               \
        if (k == K_QUANTIZE) return (double)(isnan(q) ? low : cut);                      \
        if (k == K_FAKE_QUANTIZE) return (double)((cut - zero) * s);                     \
        if (k == K_FAKE_QUANTIZE_INSIDE) return q >= low && q <= high;                   \
        if (k == K_FAKE_QUANTIZE_SLOPE)                                                  \
            return (double)(q < low || q > high ? cut - zero : r - u);                   \
        return (double)((x - z) * s);                                                    \
    }
QUANTIZED(quantized_f32, float)
QUANTIZED(quantized_f64, double)

static inline bool is_quantized(reel__kernel_id k)
{
    return k == K_QUANTIZE || k == K_DEQUANTIZE || k == K_FAKE_QUANTIZE ||
           k == K_FAKE_QUANTIZE_INSIDE || k == K_FAKE_QUANTIZE_SLOPE;
}

static inline double expected(reel__kernel_id k, double x, double y, double z,
                              const double *a)
{
    if (is_quantized(k)) return quantized_f64(k, x, y, z, a[0], a[1]);
    switch ((int)k) {
    case K_ADD: return x + y;
    case K_SUB: return x - y;
    case K_MUL: return x * y;
    case K_DIV: return x / y;
    case K_DIV_TRUNC: return trunc(x / y);
    case K_DIV_FLOOR: {
        double r = fmod(x, y), q = rint((x - r) / y);
        return y == 0 ? x / y : r != 0 && signbit(r) != signbit(y) ? q - 1 : q;
    }
    case K_FMOD: return fmod(x, y);
    case K_REMAINDER: {
        double r = fmod(x, y);
        return r != 0 && signbit(r) != signbit(y) ? r + y : r;
    }
    case K_POW: return pow(x, y);
    case K_MAXIMUM: return extreme(x, y, 1);
    case K_MINIMUM: return extreme(x, y, -1);
    case K_ADD_SCALED: return x + a[0] * y;
    case K_LERP: return a[0] < 0.5 ? x + a[0] * (y - x) : y - (1 - a[0]) * (y - x);
    case K_ADD_SCALAR: return x + a[0];
    case K_MUL_SCALAR: return x * a[0];
    case K_POW_SCALAR: return pow(x, a[0]);
    case K_CLAMP: return clip(x, a[0], a[1]);
    case K_CLAMP_GRAD: return x <= a[0] || x >= a[1] ? 0 : y;
    case K_EQ: return x == y;
    case K_NE: return x != y;
    case K_LT: return x < y;
    case K_LE: return x <= y;
    case K_GT: return x > y;
    case K_GE: return x >= y;
    case K_LOGICAL_AND: return x != 0 && y != 0;
    case K_LOGICAL_OR: return x != 0 || y != 0;
    case K_LOGICAL_XOR: return (x != 0) != (y != 0);
    case K_LOGICAL_NOT: return x == 0;
    case K_ISFINITE: return isfinite(x);
    case K_WHERE: return x != 0 ? y : z;
    case K_NEG: return -x;
    case K_ABS: return fabs(x);
    case K_SIGN: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case K_SQUARE: return x * x;
    case K_EXP: return exp(x);
    case K_LOG: return log(x);
    case K_LOG1P: return log1p(x);
    case K_EXPM1: return expm1(x);
    case K_SQRT: return sqrt(x);
    case K_RSQRT: return 1 / sqrt(x);
    case K_RECIPROCAL: return 1 / x;
    case K_SIN: return sin(x);
    case K_COS: return cos(x);
    case K_TANH: return tanh(x);
    case K_ERF: return erf(x);
    case K_FLOOR: return floor(x);
    case K_CEIL: return ceil(x);
    case K_ROUND: return nearbyint(x);
    case K_RELU: return x < 0 ? 0 : x;
    case K_RELU_GRAD: return x <= 0 ? 0 : y;
    case K_RELU6: return clip(x, 0, 6);
    case K_RELU6_GRAD: return x <= 0 || x >= 6 ? 0 : y;
    case K_LEAKY_RELU: return x > 0 ? x : a[0] * x;
    case K_LEAKY_RELU_GRAD: return x > 0 ? y : a[0] * y;
    case K_ELU: return x > 0 ? x : a[0] * expm1(x);
    case K_ELU_GRAD: return x <= 0 ? y * a[0] * exp(x) : y;
    case K_GELU: return x * normcdf(x);
    case K_GELU_GRAD: return y * (normcdf(x) + x * exp(-x * x / 2) / sqrt(2 * M_PI));
    case K_GELU_TANH: return x * sigmoid(2 * tanh_u(x));
    case K_GELU_TANH_GRAD: return y * gelu_tanh_grad(x);
    case K_SIGMOID: return sigmoid(x);
    case K_SIGMOID_GRAD: return y * x * (1 - x);
    case K_TANH_GRAD: return y * (1 - x * x);
    case K_SILU: return x * sigmoid(x);
    case K_SILU_GRAD: return y * sigmoid(x) * (1 + x * sigmoid(-x));
    case K_HARDSIGMOID: return clip(x / 6 + 0.5, 0, 1);
    case K_HARDSIGMOID_GRAD: return x <= -3 || x >= 3 ? 0 : y / 6;
    case K_HARDSWISH: return x * clip(x / 6 + 0.5, 0, 1);
    case K_HARDSWISH_GRAD: return x <= -3 ? 0 : x < 3 ? y * (x / 3 + 0.5) : y;
    case K_SOFTPLUS: return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
    case K_SQUARED_ERROR: return (x - y) * (x - y);
    case K_BCE_WITH_LOGITS: return bce(x, x > 0 ? 1 - y : y);
    default: fail_msg("row %s has no reference in this test", reel__kernel_name(k));
    }
    return 0;
}

#endif
