/* unary.c: elementwise functions of one input. A derivative reads the input X or the result
 * Y, whichever makes it cheaper. */
#include "ops/onnx.h"

#define G gy[0]
#define X c->in[0]
#define Y c->out[0]

/* UNARY(name, row, saves, dtypes, sample, ONNX, gradient): one block an operator. */
#define UNARY(fn, row, saves_, dtypes_, sample_, onnx_, gradient)                        \
    static void fn##_vjp(const reel__call *c, reel_tensor *const gy[],                   \
                         reel_tensor *gx[])                                              \
    {                                                                                    \
        (void)c;                                                                         \
        gx[0] = gradient;                                                                \
    }                                                                                    \
    ONNX_RULE(fn, onnx_)                                                                 \
    const reel__op reel__##fn = {.name = #fn,                                            \
                                 .kernel = row,                                          \
                                 .traits = REEL_OP_POINTWISE,                            \
                                 .n_in = 1,                                              \
                                 .n_out = 1,                                             \
                                 .saves = saves_,                                        \
                                 .dtypes = dtypes_,                                      \
                                 .infer = reel__infer_same,                              \
                                 .vjp = fn##_vjp,                                        \
                                 .onnx = fn##_onnx,                                      \
                                 .sample = sample_};                                     \
    reel_tensor *reel_##fn(reel_tensor *x)                                               \
    {                                                                                    \
        return APPLY(&reel__##fn, NULL, x);                                              \
    }

#define ANY "f[3,4] in -2..2\nf[] in -2..2\nf[2,0,3]"
#define POSITIVE "f[3,4] in 0.3..2\nf[] in 0.3..2\nf[2,0,3]"
#define IN SAVE_IN(0)
#define OUT SAVE_OUT(0)
#define F DTYPES_FLOAT

UNARY(neg, K_NEG, 0, DTYPES_SIGNED, ANY, ONNX("Neg", x), reel_neg(G))
UNARY(abs, K_ABS, IN, DTYPES_SIGNED, ANY, ONNX("Abs", x), reel_mul(G, reel_sign(X)))
UNARY(sign, K_SIGN, 0, DTYPES_SIGNED, ANY, ONNX("Sign", x), reel_zeros_like(G))
UNARY(square, K_SQUARE, IN, DTYPES_NUMBER, ANY, ONNX("Mul", x, x),
      reel_mul(G, reel_mul_scalar(X, 2)))
UNARY(exp, K_EXP, OUT, F, ANY, ONNX("Exp", x), reel_mul(G, Y))
UNARY(log, K_LOG, IN, F, POSITIVE, ONNX("Log", x), reel_div(G, X))
UNARY(log1p, K_LOG1P, IN, F, "f[3,4] in -0.5..2\nf[]",
      ONNX("Log", ONNX("Add", x, NUM(1))), reel_div(G, reel_add_scalar(X, 1)))
UNARY(expm1, K_EXPM1, OUT, F, ANY, ONNX("Sub", ONNX("Exp", x), NUM(1)),
      reel_mul(G, reel_add_scalar(Y, 1)))
UNARY(sqrt, K_SQRT, OUT, F, POSITIVE, ONNX("Sqrt", x), reel_div(G, reel_mul_scalar(Y, 2)))
UNARY(rsqrt, K_RSQRT, OUT, F, POSITIVE, ONNX("Reciprocal", ONNX("Sqrt", x)),
      reel_mul(G, reel_mul_scalar(reel_mul(Y, reel_square(Y)), -0.5)))
UNARY(reciprocal, K_RECIPROCAL, OUT, F, POSITIVE "\nf[3] in -2..-0.5",
      ONNX("Reciprocal", x), reel_neg(reel_mul(G, reel_square(Y))))
UNARY(sin, K_SIN, IN, F, ANY, ONNX("Sin", x), reel_mul(G, reel_cos(X)))
UNARY(cos, K_COS, IN, F, ANY, ONNX("Cos", x), reel_neg(reel_mul(G, reel_sin(X))))
/* 2 / sqrt(pi) exp(-x^2) */
UNARY(erf, K_ERF, IN, F, ANY, ONNX("Erf", x),
      reel_mul(G,
               reel_mul_scalar(reel_exp(reel_neg(reel_square(X))), 1.1283791670955126)))
UNARY(floor, K_FLOOR, 0, F, ANY, ONNX("Floor", x), reel_zeros_like(G))
UNARY(ceil, K_CEIL, 0, F, ANY, ONNX("Ceil", x), reel_zeros_like(G))
UNARY(round, K_ROUND, 0, F, ANY, ONNX("Round", x), reel_zeros_like(G))
