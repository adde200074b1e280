/* dtype.h: the table of ONNX's element types. */
#ifndef REEL_ONNX_DTYPE_H
#define REEL_ONNX_DTYPE_H

#include "onnx/model.h"

/* The typed field of TensorProto in which elements stand that are not raw. */
typedef enum reel__onnx_data_field {
    REEL__ONNX_NO_FIELD,
    REEL__ONNX_FLOAT_DATA,
    REEL__ONNX_INT32_DATA,
    REEL__ONNX_INT64_DATA,
    REEL__ONNX_DOUBLE_DATA,
    REEL__ONNX_UINT64_DATA
} reel__onnx_data_field;

typedef struct reel__onnx_dtype_row {
    const char *name;
    int bits; /* of an element in raw data; 0: no raw form */
    reel__onnx_data_field field;
} reel__onnx_dtype_row;

/* NULL for a number that is not a type. */
const reel__onnx_dtype_row *reel__onnx_dtype_info(reel__onnx_dtype dtype);

#endif
