/* read_tensor.c: TensorProto. Its elements are raw bytes, numbers in a typed field, or bytes
 * of another file; which, and how many, must agree with its type and shape. */
#include "onnx/reader.h"

#include "onnx/dtype.h"

#include <stdalign.h>
#include <string.h>

static const reel__onnx_schema tensor_schema = {
    13,
    {
        {TENSOR_DIMS, "dims", WIRE_VARINT, REPEATED},
        {TENSOR_DTYPE, "data_type", WIRE_VARINT, LAST_COUNTS},
        {TENSOR_SEGMENT, "segment", WIRE_BYTES, ONLY_ONCE},
        {TENSOR_FLOAT_DATA, "float_data", WIRE_32, REPEATED},
        {TENSOR_INT32_DATA, "int32_data", WIRE_VARINT, REPEATED},
        {TENSOR_STRING_DATA, "string_data", WIRE_BYTES, REPEATED},
        {TENSOR_INT64_DATA, "int64_data", WIRE_VARINT, REPEATED},
        {TENSOR_NAME, "name", WIRE_BYTES, LAST_COUNTS},
        {TENSOR_RAW, "raw_data", WIRE_BYTES, LAST_COUNTS},
        {TENSOR_DOUBLE_DATA, "double_data", WIRE_64, REPEATED},
        {TENSOR_UINT64_DATA, "uint64_data", WIRE_VARINT, REPEATED},
        {TENSOR_EXTERNAL, "external_data", WIRE_BYTES, REPEATED},
        {TENSOR_LOCATION, "data_location", WIRE_VARINT, LAST_COUNTS},
    },
};

static const reel__onnx_schema prop_schema = {
    2,
    {
        {PROP_KEY, "key", WIRE_BYTES, LAST_COUNTS},
        {PROP_VALUE, "value", WIRE_BYTES, LAST_COUNTS},
    },
};

/* The typed fields; row i is reel__onnx_data_field i. */
static const struct {
    uint32_t number;
    enum wire_type type;
} typed[] = {
    [REEL__ONNX_FLOAT_DATA] = {TENSOR_FLOAT_DATA, WIRE_32},
    [REEL__ONNX_INT32_DATA] = {TENSOR_INT32_DATA, WIRE_VARINT},
    [REEL__ONNX_INT64_DATA] = {TENSOR_INT64_DATA, WIRE_VARINT},
    [REEL__ONNX_DOUBLE_DATA] = {TENSOR_DOUBLE_DATA, WIRE_64},
    [REEL__ONNX_UINT64_DATA] = {TENSOR_UINT64_DATA, WIRE_VARINT},
};
#define TYPED ((int)(sizeof typed / sizeof *typed))

/* What the fields say, before it is put together. */
typedef struct parts {
    reel__onnx_tensor *t;
    uint64_t dtype, location_kind;
    reel__onnx_span raw;
    bool has_raw;
    const char *location;
    uint64_t offset, length;
    bool has_length;
} parts;

/* ---- external data ----------------------------------------------------------------- */

/* Decimal digits, nothing else. */
static bool decimal(const char *text, uint64_t *v)
{
    *v = 0;
    for (const char *p = text; *p; p++)
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(*v, 10u, v) ||
            __builtin_add_overflow(*v, (uint64_t)(*p - '0'), v))
            return false;
    return *text;
}

bool reel__onnx_read_prop(reel__onnx_reader *r, reel__onnx_span bytes, size_t max,
                          reel__onnx_prop *p)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    *p = (reel__onnx_prop){"", ""};
    if (!reel__onnx_open(r, &msg, bytes, &prop_schema)) return false;
    while (reel__onnx_next(r, &msg, &f))
        *(f.number == PROP_KEY ? &p->key : &p->value) =
            reel__onnx_read_string(r, &f, max);
    return reel__onnx_close(r, &msg);
}

/* One key and value. Other keys, such as a checksum, are no part of the place. */
static void read_external(reel__onnx_reader *r, reel__onnx_span bytes, parts *p)
{
    reel__onnx_prop prop;
    if (!reel__onnx_read_prop(r, bytes, REEL__ONNX_NAME_MAX, &prop)) return;
    if (strcmp(prop.key, "location") == 0) {
        p->location = prop.value;
    } else if (strcmp(prop.key, "offset") == 0) {
        if (!decimal(prop.value, &p->offset))
            reel__onnx_bad(r, "the offset is not a number");
    } else if (strcmp(prop.key, "length") == 0) {
        if (!decimal(prop.value, &p->length))
            reel__onnx_bad(r, "the length is not a number");
        p->has_length = true;
    }
}

static void external_data(reel__onnx_reader *r, const parts *p)
{
    if (!p->location || !*p->location)
        reel__onnx_bad(r, "has its data in another file, but names no location");
    else if (p->has_length && p->length != p->t->bytes)
        reel__onnx_bad(r, "the length of its data is %ju, its type and shape need %zu",
                       (uintmax_t)p->length, p->t->bytes);
    else
        p->t->data = reel__onnx_external(r, p->location, p->offset, p->t->bytes);
}

/* ---- typed data -------------------------------------------------------------------- */

/* Bytes that one number of the typed field gives: an element, half a complex one, or the
 * byte into which smaller ones are packed. */
static size_t unit_of(const reel__onnx_dtype_row *dtype)
{
    switch (dtype->field) {
    case REEL__ONNX_FLOAT_DATA: return 4;
    case REEL__ONNX_DOUBLE_DATA: return 8;
    default: return dtype->bits < 8 ? 1 : (size_t)dtype->bits / 8;
    }
}

/* A varint as a number of `unit` bytes, which may be meant signed or unsigned. */
static bool fits(uint64_t v, size_t unit)
{
    if (unit == 8) return true;
    int bits = (int)unit * 8;
    return (int64_t)v >= -((int64_t)1 << (bits - 1)) && (int64_t)v < (int64_t)1 << bits;
}

/* Copies the numbers of every field `number` to `out`, which has room for them all. */
static void typed_elements(reel__onnx_reader *r, reel__onnx_message *msg, uint32_t number,
                           enum wire_type type, size_t unit, uint8_t *out)
{
    reel__onnx_field f;
    reel__onnx_rewind(msg);
    while (reel__onnx_next(r, msg, &f)) {
        if (f.number != number) continue;
        for (uint64_t v; reel__onnx_element(&f, type, &v); out += unit) {
            if (!fits(v, unit)) {
                reel__onnx_bad(r, "%jd does not fit into %zu bytes", (intmax_t)v, unit);
                return;
            }
            memcpy(out, &v, unit); /* little endian: the low bytes come first */
        }
    }
}

static void typed_data(reel__onnx_reader *r, reel__onnx_message *msg, parts *p)
{
    const reel__onnx_dtype_row *dtype = reel__onnx_dtype_info(p->t->dtype);
    size_t unit = unit_of(dtype);
    uint32_t number = typed[dtype->field].number;
    size_t n = reel__onnx_count(msg, number);
    if (n != p->t->bytes / unit) {
        reel__onnx_bad(r, "has %zu numbers of data, its type and shape need %zu", n,
                       p->t->bytes / unit);
        return;
    }
    uint8_t *out = reel__onnx_array(r, p->t->bytes, 1, alignof(max_align_t));
    if (!out) return;
    p->t->data = out;
    typed_elements(r, msg, number, typed[dtype->field].type, unit, out);
}

/* ---- all of it --------------------------------------------------------------------- */

static void read_dims(reel__onnx_reader *r, reel__onnx_field *f, reel_shape *shape)
{
    for (uint64_t v; reel__onnx_element(f, WIRE_VARINT, &v);) {
        if (v > INT64_MAX) {
            reel__onnx_bad(r, "the dimension %jd is negative", (intmax_t)v);
            return;
        }
        /* what does not fit is lacking: read_tensor() counted them before */
        if (shape->rank < REEL_MAX_RANK) shape->dim[shape->rank++] = (int64_t)v;
    }
}

static void read_part(reel__onnx_reader *r, reel__onnx_field *f, parts *p)
{
    switch (f->number) {
    case TENSOR_DIMS: read_dims(r, f, &p->t->shape); break;
    case TENSOR_DTYPE: p->dtype = f->value; break;
    case TENSOR_NAME:
        p->t->name = reel__onnx_read_string(r, f, REEL__ONNX_NAME_MAX);
        break;
    case TENSOR_RAW:
        p->raw = f->bytes;
        p->has_raw = true;
        break;
    case TENSOR_EXTERNAL: read_external(r, f->bytes, p); break;
    case TENSOR_LOCATION: p->location_kind = f->value; break;
    case TENSOR_SEGMENT: p->t->lack = "is a segment of a tensor"; break;
    default: break; /* typed data: when type and shape are known */
    }
}

static void find_data(reel__onnx_reader *r, reel__onnx_message *msg, parts *p)
{
    reel__onnx_tensor *t = p->t;
    int own = (int)reel__onnx_dtype_info(t->dtype)->field;
    size_t others = 0;
    for (int i = 0; i < TYPED; i++)
        if (p->has_raw || p->location_kind == LOCATION_EXTERNAL || i != own)
            others += reel__onnx_count(msg, typed[i].number);
    if (others > 0 || (p->has_raw && p->location_kind == LOCATION_EXTERNAL))
        reel__onnx_bad(r, "has data of several kinds, or not of its type %s",
                       reel__onnx_dtype_name(t->dtype));
    else if (p->location_kind == LOCATION_EXTERNAL)
        external_data(r, p);
    else if (!p->has_raw)
        typed_data(r, msg, p);
    else if (p->raw.n != t->bytes)
        reel__onnx_bad(r, "raw_data has %zu bytes, its type and shape need %zu", p->raw.n,
                       t->bytes);
    else
        t->data = p->raw.p;
}

static void put_together(reel__onnx_reader *r, reel__onnx_message *msg, parts *p)
{
    reel__onnx_tensor *t = p->t;
    t->dtype = p->dtype < REEL_ONNX_DTYPE_COUNT ? (reel__onnx_dtype)p->dtype
                                                : REEL_ONNX_UNDEFINED;
    if (p->dtype == REEL_ONNX_UNDEFINED)
        reel__onnx_bad(r, "has no data_type");
    else if (t->dtype == REEL_ONNX_UNDEFINED)
        t->lack = reel__onnx_words(r, "is of a data_type that is not known (%ju)",
                                   (uintmax_t)p->dtype);
    else if (t->dtype == REEL_ONNX_STRING)
        t->lack = "holds strings";
    else if (p->location_kind > LOCATION_EXTERNAL)
        reel__onnx_bad(r, "data_location %ju must be 0 or 1",
                       (uintmax_t)p->location_kind);
    else if (!reel__onnx_bytes(t->shape, t->dtype, &t->bytes))
        reel__onnx_bad(r, "its dims give more bytes than can be counted");
    else
        find_data(r, msg, p);
}

bool reel__onnx_read_tensor(reel__onnx_reader *r, reel__onnx_span bytes,
                            reel__onnx_tensor *t)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    *t = (reel__onnx_tensor){.name = "", .offset = (uint64_t)(r->here - r->start)};
    parts p = {.t = t};
    if (!reel__onnx_open(r, &msg, bytes, &tensor_schema)) return false;
    if (reel__onnx_count(&msg, TENSOR_DIMS) > REEL_MAX_RANK)
        t->lack = reel__onnx_words(r, "has %zu dimensions, at most %d are possible",
                                   reel__onnx_count(&msg, TENSOR_DIMS), REEL_MAX_RANK);
    while (reel__onnx_next(r, &msg, &f)) read_part(r, &f, &p);
    if (!r->failed && !t->lack) put_together(r, &msg, &p);
    return reel__onnx_close(r, &msg);
}

static const reel__onnx_schema sparse_schema = {
    1,
    {
        {SPARSE_VALUES, "values", WIRE_BYTES, ONLY_ONCE},
    },
};

bool reel__onnx_read_sparse(reel__onnx_reader *r, reel__onnx_span bytes,
                            reel__onnx_tensor *t)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    *t = (reel__onnx_tensor){.name = "", .offset = (uint64_t)(r->here - r->start)};
    if (!reel__onnx_open(r, &msg, bytes, &sparse_schema)) return false;
    while (reel__onnx_next(r, &msg, &f)) reel__onnx_read_tensor(r, f.bytes, t);
    t->lack = "is sparse";
    return reel__onnx_close(r, &msg);
}
