/* read_value.c: ValueInfoProto: a name, a type, a shape, four messages deep. */
#include "onnx/reader.h"

#include <stdalign.h>

static const reel__onnx_schema value_schema = {
    2,
    {
        {VALUE_NAME, "name", WIRE_BYTES, LAST_COUNTS},
        {VALUE_TYPE, "type", WIRE_BYTES, ONLY_ONCE},
    },
};

static const reel__onnx_schema type_schema = {
    1,
    {
        {TYPE_TENSOR, "tensor_type", WIRE_BYTES, ONLY_ONCE},
    },
};

static const reel__onnx_schema tensor_type_schema = {
    2,
    {
        {TENSOR_TYPE_ELEM, "elem_type", WIRE_VARINT, LAST_COUNTS},
        {TENSOR_TYPE_SHAPE, "shape", WIRE_BYTES, ONLY_ONCE},
    },
};

static const reel__onnx_schema shape_schema = {
    1,
    {
        {SHAPE_DIM, "dim", WIRE_BYTES, REPEATED},
    },
};

static const reel__onnx_schema dim_schema = {
    2,
    {
        {DIM_VALUE, "dim_value", WIRE_VARINT, LAST_COUNTS},
        {DIM_PARAM, "dim_param", WIRE_BYTES, LAST_COUNTS},
    },
};

static void read_dim(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_dim *d)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    *d = (reel__onnx_dim){.size = -1, .param = ""};
    if (!reel__onnx_open(r, &msg, bytes, &dim_schema)) return;
    /* One of the two: the one that comes last. Writers say -1 for a size that is open. */
    while (reel__onnx_next(r, &msg, &f)) {
        *d = (reel__onnx_dim){.size = -1, .param = ""};
        if (f.number == DIM_PARAM)
            d->param = reel__onnx_read_string(r, &f, REEL__ONNX_NAME_MAX);
        else if (f.value <= INT64_MAX)
            d->size = (int64_t)f.value;
    }
    reel__onnx_close(r, &msg);
}

static void read_shape(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_value *v)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    if (!reel__onnx_open(r, &msg, bytes, &shape_schema)) return;
    size_t rank = reel__onnx_count(&msg, SHAPE_DIM);
    if (rank > REEL_MAX_RANK) {
        v->lack = reel__onnx_words(r, "has %zu dimensions, at most %d are possible", rank,
                                   REEL_MAX_RANK);
        reel__onnx_close(r, &msg);
        return;
    }
    reel__onnx_dim *dim = reel__onnx_array(r, rank, sizeof *dim, alignof(reel__onnx_dim));
    v->rank = (int)rank;
    v->dim = dim;
    while (reel__onnx_next(r, &msg, &f)) read_dim(r, f.bytes, dim++);
    reel__onnx_close(r, &msg);
}

static void read_tensor_type(reel__onnx_reader *r, reel__onnx_span bytes,
                             reel__onnx_value *v)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    if (!reel__onnx_open(r, &msg, bytes, &tensor_type_schema)) return;
    while (reel__onnx_next(r, &msg, &f)) {
        if (f.number == TENSOR_TYPE_SHAPE)
            read_shape(r, f.bytes, v);
        else if (f.value >= REEL_ONNX_DTYPE_COUNT)
            v->lack = reel__onnx_words(r, "is of an element type that is not known (%ju)",
                                       (uintmax_t)f.value);
        else
            v->dtype = (reel__onnx_dtype)f.value;
    }
    reel__onnx_close(r, &msg);
}

static void read_type(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_value *v)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    if (!reel__onnx_open(r, &msg, bytes, &type_schema)) return;
    if (bytes.n > 0 && reel__onnx_count(&msg, TYPE_TENSOR) == 0)
        v->lack = "is a sequence, a map or the like, and no tensor";
    while (reel__onnx_next(r, &msg, &f)) read_tensor_type(r, f.bytes, v);
    reel__onnx_close(r, &msg);
}

bool reel__onnx_read_value(reel__onnx_reader *r, reel__onnx_span bytes,
                           reel__onnx_value *v)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    *v = (reel__onnx_value){
        .name = "", .rank = -1, .offset = (uint64_t)(r->here - r->start)};
    if (!reel__onnx_open(r, &msg, bytes, &value_schema)) return false;
    while (reel__onnx_next(r, &msg, &f)) {
        if (f.number == VALUE_NAME)
            v->name = reel__onnx_read_string(r, &f, REEL__ONNX_NAME_MAX);
        else
            read_type(r, f.bytes, v);
    }
    if (!r->failed && !*v->name) return reel__onnx_bad(r, "a value has no name");
    return reel__onnx_close(r, &msg);
}
