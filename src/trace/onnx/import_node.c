/* import_node.c: operands and attributes of the node that is being imported. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/onnx/import.h"

/* ---- names and values ------------------------------------------------------------------ */

int64_t reel__im_name(const reel__import *im, const char *name)
{
    return *name ? reel__onnx_names_find(im->names, name) : -1;
}

/* A tensor of its own: what the file maps is not aligned, and goes when it is closed. */
static reel_tensor *copy_of(const reel__onnx_tensor *data)
{
    reel_dtype dtype;
    if (data->lack || !reel__onnx_dtype_back(data->dtype, &dtype)) {
        reel_fail(REEL_ERR_UNSUPPORTED, "a tensor that %s%s",
                  data->lack ? data->lack : "is ",
                  data->lack ? "" : reel__onnx_dtype_name(data->dtype));
        return NULL;
    }
    reel__meta m = reel__meta_of(data->shape, dtype, (reel_device){REEL_CPU, 0});
    if (reel__meta_check(data->name, &m)) return NULL;
    if ((size_t)reel__numel(&m) * reel_dtype_size(dtype) != data->bytes) {
        reel_fail(REEL_ERR_FORMAT, "tensor \"%s\" %s holds %zu bytes", data->name,
                  SHOW(&m), data->bytes);
        return NULL;
    }
    reel_tensor *t = reel__tensor_new(&m, NULL);
    if (!t) return NULL;
    uint8_t *to = reel__ptr(t);
    if (data->bytes) memcpy(to, data->data, data->bytes);
    /* any byte but 0 is true in a file, 1 alone in a kernel */
    for (size_t i = 0; dtype == REEL_BOOL && i < data->bytes; i++) to[i] = to[i] != 0;
    return t;
}

int reel__im_value(reel__import *im, int64_t number, reel__value_kind kind)
{
    if (reel_failed() || number < 0 || im->value[number] >= 0 || !im->data[number])
        return reel_failed() || number < 0 ? REEL_NO_VALUE : im->value[number];
    const reel__onnx_tensor *data = im->data[number];
    const reel__import *twin = im->twin;
    reel_tensor *t = twin && twin->value[number] >= 0
                         ? reel__tensor_retain(twin->g->value[twin->value[number]].tensor)
                         : copy_of(data);
    if (!t) return REEL_NO_VALUE;
    /* Numbers of rank 0 are what arithmetic with a number was written as. */
    if (!reel_dtype_is_float(t->meta.dtype) || t->meta.rank == 0 || im->constant[number])
        kind = REEL_VALUE_CONST;
    im->value[number] = reel__graph_add_value(im->g, kind, &t->meta, data->name, t);
    reel__tensor_release(t);
    return im->value[number];
}

bool reel__im_lacking(reel__import *im, int64_t number)
{
    char where[REEL__ONNX_WHERE];
    reel_dtype dtype;
    if (number < 0) return false;
    if (im->twin) return im->twin->value[number] == REEL__IM_LACKING;
    const reel__onnx_tensor *data = im->data[number];
    if (im->value[number] != REEL_NO_VALUE || !data)
        return im->value[number] == REEL__IM_LACKING;
    if (!data->lack && reel__onnx_dtype_back(data->dtype, &dtype)) return false;
    (void)snprintf(where, sizeof where, "initializer %.60s", data->name);
    reel__lacks(im->lacks, where, "an initializer that %s%s",
                data->lack ? data->lack : "is ",
                data->lack ? "" : reel__onnx_dtype_name(data->dtype));
    im->value[number] = REEL__IM_LACKING;
    return true;
}

bool reel__im_has_in(const reel__import *im, int k)
{
    return (size_t)k < im->node->input.n && *im->node->input.at[k];
}

bool reel__im_wants_out(const reel__import *im, int k)
{
    return (size_t)k < im->node->output.n && *im->node->output.at[k];
}

static int operand(reel__import *im, int k, reel__value_kind kind)
{
    if (!reel__im_has_in(im, k)) return REEL_NO_VALUE;
    const char *name = im->node->input.at[k];
    int v = reel__im_value(im, reel__im_name(im, name), kind);
    if (v < 0) reel_fail(REEL_ERR_FORMAT, "input %d \"%s\" is made nowhere", k, name);
    return v;
}

/* Before opset 7 an attribute said at which dimension of the first operand the second one
 * begins, if not at the end: it gets the dimensions that follow there. */
static int at_axis(reel__import *im, int v)
{
    if (v < 0 || im->opset >= 7 || !reel__im_int(im, "broadcast", 0) ||
        !reel__im_has(im, "axis"))
        return v;
    int x = operand(im, 0, REEL_VALUE_PARAM);
    if (x < 0) return REEL_NO_VALUE;
    const reel__meta *first = reel__im_meta(im, x), *m = reel__im_meta(im, v);
    int axis = reel__im_axis(reel__im_int(im, "axis", 0), first->rank);
    reel_shape s = reel__shape(m);
    if (axis + s.rank > first->rank) /* such as a scalar written as [1, 1, 1, 1] */
        return v;
    while (s.rank < first->rank - axis) s.dim[s.rank++] = 1;
    return reel_failed() ? REEL_NO_VALUE : reel__im_reshape(im, v, s);
}

int reel__im_in(reel__import *im, int k)
{
    int v = operand(im, k, REEL_VALUE_PARAM);
    return k == 1 ? at_axis(im, v) : v;
}

int reel__im_in_buffer(reel__import *im, int k)
{
    return operand(im, k, REEL_VALUE_BUFFER);
}

void reel__im_out(reel__import *im, int k, int v)
{
    if (reel_failed() || !reel__im_wants_out(im, k)) return;
    int64_t number = reel__im_name(im, im->node->output.at[k]);
    if (number >= 0) im->value[number] = v;
}

void reel__im_out_data(reel__import *im, int k, const reel__onnx_tensor *t)
{
    if (reel_failed() || !reel__im_wants_out(im, k)) return;
    int64_t number = reel__im_name(im, im->node->output.at[k]);
    if (number < 0) return;
    im->data[number] = t;
    im->constant[number] = true;
    (void)reel__im_value(im, number, REEL_VALUE_CONST);
}

/* ---- attributes ------------------------------------------------------------------------- */

static const reel__onnx_attribute *attribute(const reel__import *im, const char *name,
                                             reel__onnx_kind kind)
{
    static const char *const words[] = {"nothing",  "a float",       "an int",
                                        "a string", "a tensor",      "a graph",
                                        "floats",   "whole numbers", "strings"};
    const reel__onnx_attribute *a = reel__onnx_find_attribute(im->node, name);
    if (a && a->kind != kind) {
        reel_fail(REEL_ERR_FORMAT, "attribute %s is %s, must be %s", name,
                  (unsigned)a->kind < 9 ? words[a->kind] : "?", words[kind]);
        return NULL;
    }
    return a;
}

bool reel__im_has(const reel__import *im, const char *name)
{
    return reel__onnx_find_attribute(im->node, name) != NULL;
}

int64_t reel__im_int(reel__import *im, const char *name, int64_t otherwise)
{
    const reel__onnx_attribute *a = attribute(im, name, REEL_ONNX_A_INT);
    return a ? a->i : otherwise;
}

double reel__im_float(reel__import *im, const char *name, double otherwise)
{
    const reel__onnx_attribute *a = attribute(im, name, REEL_ONNX_A_FLOAT);
    return a ? (double)a->f : otherwise;
}

const char *reel__im_string(reel__import *im, const char *name, const char *otherwise)
{
    const reel__onnx_attribute *a = attribute(im, name, REEL_ONNX_A_STRING);
    return a ? a->s : otherwise;
}

reel_dtype reel__im_dtype(const char *name, int64_t number)
{
    reel_dtype dtype = REEL_F32;
    bool known = number >= 0 && number < REEL_ONNX_DTYPE_COUNT;
    if (!known || !reel__onnx_dtype_back((reel__onnx_dtype)number, &dtype))
        reel_fail(REEL_ERR_UNSUPPORTED, "attribute %s is %" PRId64 " (%s)", name, number,
                  known ? reel__onnx_dtype_name((reel__onnx_dtype)number) : "no dtype");
    return dtype;
}

const reel__onnx_tensor *reel__im_tensor(reel__import *im, const char *name)
{
    const reel__onnx_attribute *a = attribute(im, name, REEL_ONNX_A_TENSOR);
    return a ? a->t : NULL;
}

reel__im_list reel__im_ints(reel__import *im, const char *name)
{
    const reel__onnx_attribute *a = attribute(im, name, REEL_ONNX_A_INTS);
    reel__im_list list = {.n = -1};
    if (a && a->n > REEL__IM_LIST)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "attribute %s has %zu numbers, at most %d are read", name, a->n,
                  REEL__IM_LIST);
    if (!a || reel_failed()) return list;
    list.n = (int)a->n;
    memcpy(list.at, a->ints, a->n * sizeof *a->ints);
    return list;
}

/* ---- operands that must be known ---------------------------------------------------------- */

/* The tensor of a value if it is known: also a small parameter, which is not folded, but may
 * be read where an operator asks for a number. */
static reel_tensor *readable(const reel__import *im, int v)
{
    if (v >= 0 && reel__is_state(&im->g->value[v]) &&
        reel__numel(&im->g->value[v].meta) <= REEL__IM_LIST)
        return im->g->value[v].tensor;
    return reel__im_known(im, v);
}

reel__im_list reel__im_in_ints(reel__import *im, int k)
{
    reel__im_list list = {.n = -1};
    int v = reel__im_in(im, k);
    if (v < 0) return list;
    const reel_tensor *t = readable(im, v);
    const reel__meta *m = reel__im_meta(im, v);
    if (!t)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "input %d \"%s\" %s is computed while the model runs; it must be a "
                  "constant or follow from shapes",
                  k, im->node->input.at[k], SHOW(m));
    else if (m->rank > 1 || (m->dtype != REEL_I64 && m->dtype != REEL_I32))
        reel_fail(REEL_ERR_FORMAT, "input %d \"%s\" is %s, must be a list of i64 or i32",
                  k, im->node->input.at[k], SHOW(m));
    else if (reel__numel(m) > REEL__IM_LIST)
        reel_fail(REEL_ERR_UNSUPPORTED, "input %d \"%s\" %s: at most %d numbers are read",
                  k, im->node->input.at[k], SHOW(m), REEL__IM_LIST);
    else if (!reel__im_read(t, list.at, REEL_I64))
        list.n = (int)reel__numel(m);
    return list;
}

reel__im_list reel__im_list_or_in(reel__import *im, const char *name, int k)
{
    return reel__im_has(im, name) ? reel__im_ints(im, name) : reel__im_in_ints(im, k);
}

/* The one number of a tensor: integers as they are. */
static bool read_number(const reel_tensor *t, reel__number *number)
{
    double real;
    int64_t whole;
    if (reel_dtype_is_float(t->meta.dtype)) {
        if (reel__im_read(t, &real, REEL_F64)) return false;
        *number = reel__real(real);
    } else {
        if (reel__im_read(t, &whole, REEL_I64)) return false;
        *number = reel__whole(whole);
    }
    return true;
}

bool reel__im_number(reel__import *im, int v, reel__number *number)
{
    reel_tensor *t = reel_failed() ? NULL : reel__im_known(im, v);
    return t && reel__numel(&t->meta) == 1 && read_number(t, number);
}

reel__number reel__im_in_number(reel__import *im, int k, double other)
{
    reel__number otherwise = reel__real(other);
    int v = reel__im_in(im, k);
    if (v < 0) return otherwise;
    const reel_tensor *t = readable(im, v);
    if (!t || reel__numel(&t->meta) != 1)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "input %d \"%s\" %s must be one number, and a constant", k,
                  im->node->input.at[k], SHOW(reel__im_meta(im, v)));
    else
        (void)read_number(t, &otherwise);
    return otherwise;
}

int reel__im_axis(int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank) return (int)(axis < 0 ? axis + rank : axis);
    reel_fail(REEL_ERR_FORMAT, "axis %" PRId64 " is out of range for rank %d", axis,
              rank);
    return 0;
}

int64_t reel__im_mask(const reel__im_list *axes, int rank)
{
    int64_t mask = 0;
    for (int i = 0; i < axes->n && !reel_failed(); i++) {
        int64_t bit = INT64_C(1) << reel__im_axis(axes->at[i], rank);
        if (mask & bit)
            reel_fail(REEL_ERR_FORMAT, "axis %" PRId64 " stands twice", axes->at[i]);
        mask |= bit;
    }
    return mask;
}

reel_shape reel__im_shape(const reel__im_list *list)
{
    reel_shape s = {.rank = 0};
    if (list->n > REEL_MAX_RANK)
        reel_fail(REEL_ERR_UNSUPPORTED, "a shape of rank %d; at most %d are possible",
                  list->n, REEL_MAX_RANK);
    for (int i = 0; i < list->n && !reel_failed(); i++) {
        if (list->at[i] < 0)
            reel_fail(REEL_ERR_FORMAT, "size %" PRId64 " at place %d of a shape",
                      list->at[i], i);
        s.dim[s.rank++] = list->at[i];
    }
    return s;
}
