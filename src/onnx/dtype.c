/* dtype.c: ONNX's element types. */
#include "onnx/dtype.h"
#include "base/counts.h"

/* Row i is the type of number i. Source: TensorProto.DataType and the comments on the typed
 * fields in onnx.proto. */
static const reel__onnx_dtype_row rows[REEL_ONNX_DTYPE_COUNT] = {
    [REEL_ONNX_UNDEFINED] = {"UNDEFINED", 0, REEL__ONNX_NO_FIELD},
    [REEL_ONNX_FLOAT] = {"FLOAT", 32, REEL__ONNX_FLOAT_DATA},
    [REEL_ONNX_UINT8] = {"UINT8", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_INT8] = {"INT8", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_UINT16] = {"UINT16", 16, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_INT16] = {"INT16", 16, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_INT32] = {"INT32", 32, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_INT64] = {"INT64", 64, REEL__ONNX_INT64_DATA},
    [REEL_ONNX_STRING] = {"STRING", 0, REEL__ONNX_NO_FIELD},
    [REEL_ONNX_BOOL] = {"BOOL", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT16] = {"FLOAT16", 16, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_DOUBLE] = {"DOUBLE", 64, REEL__ONNX_DOUBLE_DATA},
    [REEL_ONNX_UINT32] = {"UINT32", 32, REEL__ONNX_UINT64_DATA},
    [REEL_ONNX_UINT64] = {"UINT64", 64, REEL__ONNX_UINT64_DATA},
    [REEL_ONNX_COMPLEX64] = {"COMPLEX64", 64, REEL__ONNX_FLOAT_DATA},
    [REEL_ONNX_COMPLEX128] = {"COMPLEX128", 128, REEL__ONNX_DOUBLE_DATA},
    [REEL_ONNX_BFLOAT16] = {"BFLOAT16", 16, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT8E4M3FN] = {"FLOAT8E4M3FN", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT8E4M3FNUZ] = {"FLOAT8E4M3FNUZ", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT8E5M2] = {"FLOAT8E5M2", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT8E5M2FNUZ] = {"FLOAT8E5M2FNUZ", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_UINT4] = {"UINT4", 4, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_INT4] = {"INT4", 4, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT4E2M1] = {"FLOAT4E2M1", 4, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_FLOAT8E8M0] = {"FLOAT8E8M0", 8, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_UINT2] = {"UINT2", 2, REEL__ONNX_INT32_DATA},
    [REEL_ONNX_INT2] = {"INT2", 2, REEL__ONNX_INT32_DATA},
};

static const reel__onnx_dtype of_reel[REEL__DTYPE_COUNT] = {
    [REEL_F32] = REEL_ONNX_FLOAT,   [REEL_F64] = REEL_ONNX_DOUBLE,
    [REEL_F16] = REEL_ONNX_FLOAT16, [REEL_BF16] = REEL_ONNX_BFLOAT16,
    [REEL_I64] = REEL_ONNX_INT64,   [REEL_I32] = REEL_ONNX_INT32,
    [REEL_I8] = REEL_ONNX_INT8,     [REEL_U8] = REEL_ONNX_UINT8,
    [REEL_BOOL] = REEL_ONNX_BOOL,
};

const reel__onnx_dtype_row *reel__onnx_dtype_info(reel__onnx_dtype dtype)
{
    return (unsigned)dtype < REEL_ONNX_DTYPE_COUNT ? &rows[dtype] : NULL;
}

const char *reel__onnx_dtype_name(reel__onnx_dtype dtype)
{
    const reel__onnx_dtype_row *row = reel__onnx_dtype_info(dtype);
    return row ? row->name : "?";
}

int reel__onnx_dtype_bits(reel__onnx_dtype dtype)
{
    const reel__onnx_dtype_row *row = reel__onnx_dtype_info(dtype);
    return row ? row->bits : 0;
}

reel__onnx_dtype reel__onnx_dtype_of(reel_dtype dtype)
{
    return (unsigned)dtype < REEL__DTYPE_COUNT ? of_reel[dtype] : REEL_ONNX_UNDEFINED;
}

bool reel__onnx_dtype_back(reel__onnx_dtype from, reel_dtype *dtype)
{
    for (int i = 0; i < REEL__DTYPE_COUNT; i++)
        if (of_reel[i] == from) {
            *dtype = (reel_dtype)i;
            return true;
        }
    return false;
}

bool reel__onnx_bytes(reel_shape shape, reel__onnx_dtype dtype, size_t *bytes)
{
    int64_t bits = reel__onnx_dtype_bits(dtype), numel = 1;
    if (bits == 0 || shape.rank < 0 || shape.rank > REEL_MAX_RANK) return false;
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0 || __builtin_mul_overflow(numel, shape.dim[i], &numel))
            return false;
    if (__builtin_mul_overflow(numel, bits, &bits)) return false;
    *bytes = (size_t)(bits / 8 + (bits % 8 != 0));
    return true;
}
