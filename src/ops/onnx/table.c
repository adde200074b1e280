/* table.c: the operators of ONNX that rules write: from which opset on there are which, and
 * for which dtypes of reel.
 * Source: the operators' pages of github.com/onnx/onnx (docs/Operators.md, Changelog.md). */
#include "ops/onnx.h"

#include <string.h>

#define ANY DTYPES_ANY
#define NUMBER DTYPES_NUMBER
#define FLOAT DTYPES_FLOAT
#define NO_BF16 (DTYPES_FLOAT & ~DTYPE(REEL_BF16))
#define HALF_OR_F32 (DTYPES_FLOAT & ~DTYPE(REEL_F64))
#define NO_BYTE (DTYPES_FLOAT | DTYPE(REEL_I64) | DTYPE(REEL_I32))

/* `operand` is the one whose dtype counts; versions in order, the last one of them that is
 * not above the opset holds. */
static const struct row {
    const char *op;
    int operand;
    struct {
        int opset;
        unsigned dtypes;
    } version[2];
} rows[] = {
    /* ScatterElements: with `reduction`, which is all that we use */
    {"Abs", 0, {{13, NUMBER}}},
    {"Add", 0, {{13, NO_BYTE}, {14, NUMBER}}},
    {"And", 0, {{13, DTYPE(REEL_BOOL)}}},
    {"ArgMax", 0, {{13, NUMBER}}},
    {"ArgMin", 0, {{13, NUMBER}}},
    {"AveragePool", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"BatchNormalization", 0, {{13, NO_BF16}, {14, FLOAT}}},
    {"Cast", 0, {{13, ANY}}},
    {"Ceil", 0, {{13, FLOAT}}},
    {"Clip", 0, {{13, NUMBER}}},
    {"Concat", 0, {{13, ANY}}},
    {"Conv", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"ConvTranspose", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"Cos", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"DequantizeLinear", 1, {{13, DTYPE(REEL_F32)}, {19, HALF_OR_F32}}},
    {"Div", 0, {{13, NO_BYTE}, {14, NUMBER}}},
    {"Elu", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"Equal", 0, {{13, ANY}}},
    {"Erf", 0, {{13, FLOAT}}},
    {"Exp", 0, {{13, FLOAT}}},
    {"Expand", 0, {{13, ANY}}},
    {"Floor", 0, {{13, FLOAT}}},
    {"Gather", 0, {{13, ANY}}},
    {"GatherElements", 0, {{13, ANY}}},
    {"Gelu", 0, {{20, FLOAT}}},
    {"Gemm", 0, {{13, NO_BYTE}}},
    {"GlobalAveragePool", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"Greater", 0, {{13, NUMBER}}},
    {"GreaterOrEqual", 0, {{13, NO_BF16 | DTYPES_INT}, {16, NUMBER}}},
    {"HardSigmoid", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"HardSwish", 0, {{14, NO_BF16}, {22, FLOAT}}},
    {"Identity", 0, {{13, ANY}}},
    {"LayerNormalization", 0, {{17, FLOAT}}},
    {"LeakyRelu", 0, {{13, NO_BF16}, {16, FLOAT}}},
    {"Less", 0, {{13, NUMBER}}},
    {"LessOrEqual", 0, {{13, NO_BF16 | DTYPES_INT}, {16, NUMBER}}},
    {"Log", 0, {{13, FLOAT}}},
    {"LogSoftmax", 0, {{13, FLOAT}}},
    {"MatMul", 0, {{13, NO_BYTE}}},
    {"Max", 0, {{13, NUMBER}}},
    {"MaxPool",
     0,
     {{13, NO_BF16 | DTYPE(REEL_I8) | DTYPE(REEL_U8)},
      {22, FLOAT | DTYPE(REEL_I8) | DTYPE(REEL_U8)}}},
    {"Min", 0, {{13, NUMBER}}},
    {"Mod", 0, {{13, NUMBER}}},
    {"Mul", 0, {{13, NO_BYTE}, {14, NUMBER}}},
    {"Neg", 0, {{13, FLOAT | DTYPE(REEL_I64) | DTYPE(REEL_I32) | DTYPE(REEL_I8)}}},
    {"Not", 0, {{13, DTYPE(REEL_BOOL)}}},
    {"OneHot", 2, {{13, NO_BF16 | DTYPES_INT | DTYPE(REEL_BOOL)}}},
    {"Or", 0, {{13, DTYPE(REEL_BOOL)}}},
    {"Pad", 0, {{13, ANY}}},
    {"Pow", 0, {{13, NO_BYTE}}},
    {"QuantizeLinear", 1, {{13, DTYPE(REEL_F32)}, {19, HALF_OR_F32}}},
    {"Range",
     0,
     {{13, DTYPE(REEL_F32) | DTYPE(REEL_F64) | DTYPE(REEL_I64) | DTYPE(REEL_I32)}}},
    {"Reciprocal", 0, {{13, FLOAT}}},
    {"ReduceL2", 0, {{13, NO_BYTE}}},
    {"ReduceLogSumExp", 0, {{13, NO_BYTE}}},
    {"ReduceMax", 0, {{13, NUMBER}, {20, ANY}}},
    {"ReduceMean", 0, {{13, NO_BYTE}}},
    {"ReduceMin", 0, {{13, NUMBER}, {20, ANY}}},
    {"ReduceSum", 0, {{13, NO_BYTE}}},
    {"Relu",
     0,
     {{13, FLOAT}, {14, FLOAT | DTYPE(REEL_I64) | DTYPE(REEL_I32) | DTYPE(REEL_I8)}}},
    {"Reshape", 0, {{13, ANY}}},
    {"Round", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"ScatterElements", 0, {{16, ANY}}},
    {"Shape", 0, {{13, ANY}}},
    {"Sigmoid", 0, {{13, FLOAT}}},
    {"Sign", 0, {{13, NUMBER}}},
    {"Sin", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"Slice", 0, {{13, ANY}}},
    {"Softmax", 0, {{13, FLOAT}}},
    {"Softplus", 0, {{13, NO_BF16}, {22, FLOAT}}},
    {"Sqrt", 0, {{13, FLOAT}}},
    {"Sub", 0, {{13, NO_BYTE}, {14, NUMBER}}},
    {"Tanh", 0, {{13, FLOAT}}},
    {"Transpose", 0, {{13, ANY}}},
    {"Where", 1, {{13, NO_BF16 | DTYPES_INT | DTYPE(REEL_BOOL)}, {16, ANY}}},
    {"Xor", 0, {{13, DTYPE(REEL_BOOL)}}},
};

static const struct row *find(const char *op)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].op, op) == 0) return &rows[i];
    return NULL;
}

int reel__onnx_since(const char *op, reel_dtype dtype)
{
    const struct row *row = find(op);
    for (int i = 0; row && i < 2; i++)
        if (row->version[i].dtypes & DTYPE(dtype)) return row->version[i].opset;
    return 0;
}

int reel__onnx_typed_operand(const char *op)
{
    const struct row *row = find(op);
    return row ? row->operand : 0;
}

/* Runtimes refuse files of a newer IR than they know, so the version is the lowest that has
 * the opset. */
int reel__onnx_ir(int opset)
{
    static const struct {
        int opset, ir;
    } last[] = {{14, 7}, {18, 8}, {20, 9}, {22, 10}, {23, 11}, {24, 12}};
    for (size_t i = 0; i < sizeof last / sizeof *last; i++)
        if (opset <= last[i].opset) return last[i].ir;
    return 13;
}
