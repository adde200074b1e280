/* write.c: a model becomes the bytes of a file. Protobuf puts the length before each message,
 * so each message is run through twice, the first time into a sink that only counts; the
 * bytes of the weights are streamed and never copied. Fields stand in a fixed order and the
 * numbers of lists unpacked, as onnx.proto declares them. */
#include "onnx/file.h"

#include "base/alloc.h"
#include "base/file.h"
#include "onnx/limits.h"
#include "onnx/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DATA_ALIGNMENT 4096
#define DATA_SUFFIX ".data"
#define EXTERNAL_MIN 1024 /* bytes; what is smaller stays in the model */

typedef struct sink {
    reel__writer *out; /* NULL: counts only */
    uint64_t size;
} sink;

/* ---- the wire format --------------------------------------------------------------- */

static void put(sink *s, const void *bytes, size_t n)
{
    s->size += n;
    if (s->out) reel__writer_write(s->out, bytes, n);
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
static void put_varint(sink *s, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    put(s, bytes, n);
}

static void put_tag(sink *s, int field, enum wire_type type)
{
    put_varint(s, (uint64_t)field << 3 | type);
}

static void put_int(sink *s, int field, int64_t i)
{
    put_tag(s, field, WIRE_VARINT);
    put_varint(s, (uint64_t)i);
}

static void put_float(sink *s, int field, float f)
{
    put_tag(s, field, WIRE_32);
    put(s, &f, sizeof f);
}

static void put_bytes(sink *s, int field, const void *bytes, size_t n)
{
    put_tag(s, field, WIRE_BYTES);
    put_varint(s, n);
    if (n) put(s, bytes, n);
}

static void put_string(sink *s, int field, const char *text)
{
    put_bytes(s, field, text, strlen(text));
}

/* Absent where it is the default. */
static void put_text(sink *s, int field, const char *text)
{
    if (*text) put_string(s, field, text);
}

/* A message: `body` writes its fields. */
typedef void (*body_fn)(sink *s, const void *what);

static void put_message(sink *s, int field, body_fn body, const void *what)
{
    sink count = {0};
    body(&count, what);
    put_tag(s, field, WIRE_BYTES);
    put_varint(s, count.size);
    if (s->out)
        body(s, what);
    else
        s->size += count.size;
}

static void prop_body(sink *s, const void *what)
{
    const reel__onnx_prop *p = what;
    put_string(s, PROP_KEY, p->key);
    put_string(s, PROP_VALUE, p->value);
}

/* ---- tensors ----------------------------------------------------------------------- */

/* A tensor and where its bytes lie: in the model if `location` is NULL. */
typedef struct placed {
    const reel__onnx_tensor *t;
    const char *location;
    int64_t offset;
} placed;

static void put_external(sink *s, const char *key, const char *value)
{
    put_message(s, TENSOR_EXTERNAL, prop_body, &(reel__onnx_prop){key, value});
}

static void tensor_body(sink *s, const void *what)
{
    const placed *p = what;
    for (int i = 0; i < p->t->shape.rank; i++)
        put_int(s, TENSOR_DIMS, p->t->shape.dim[i]);
    put_int(s, TENSOR_DTYPE, p->t->dtype);
    put_text(s, TENSOR_NAME, p->t->name);
    if (!p->location) {
        put_bytes(s, TENSOR_RAW, p->t->data, p->t->bytes);
        return;
    }
    char offset[24], length[24];
    snprintf(offset, sizeof offset, "%" PRId64, p->offset);
    snprintf(length, sizeof length, "%zu", p->t->bytes);
    put_external(s, "location", p->location);
    put_external(s, "offset", offset);
    put_external(s, "length", length);
    put_int(s, TENSOR_LOCATION, LOCATION_EXTERNAL);
}

/* ---- values ------------------------------------------------------------------------ */

static void dim_body(sink *s, const void *what)
{
    const reel__onnx_dim *d = what;
    if (d->size >= 0)
        put_int(s, DIM_VALUE, d->size);
    else
        put_text(s, DIM_PARAM, d->param);
}

static void shape_body(sink *s, const void *what)
{
    const reel__onnx_value *v = what;
    for (int i = 0; i < v->rank; i++) put_message(s, SHAPE_DIM, dim_body, &v->dim[i]);
}

static void tensor_type_body(sink *s, const void *what)
{
    const reel__onnx_value *v = what;
    put_int(s, TENSOR_TYPE_ELEM, v->dtype);
    if (v->rank >= 0) put_message(s, TENSOR_TYPE_SHAPE, shape_body, v);
}

static void type_body(sink *s, const void *what)
{
    put_message(s, TYPE_TENSOR, tensor_type_body, what);
}

static void value_body(sink *s, const void *what)
{
    const reel__onnx_value *v = what;
    put_string(s, VALUE_NAME, v->name);
    if (v->dtype != REEL_ONNX_UNDEFINED) put_message(s, VALUE_TYPE, type_body, v);
}

/* ---- nodes ------------------------------------------------------------------------- */

static void attribute_body(sink *s, const void *what)
{
    const reel__onnx_attribute *a = what;
    put_string(s, ATTRIBUTE_NAME, a->name);
    switch (a->kind) {
    case REEL_ONNX_A_NONE: break; /* builders make none */
    case REEL_ONNX_A_FLOAT: put_float(s, ATTRIBUTE_F, a->f); break;
    case REEL_ONNX_A_INT: put_int(s, ATTRIBUTE_I, a->i); break;
    case REEL_ONNX_A_STRING: put_string(s, ATTRIBUTE_S, a->s); break;
    case REEL_ONNX_A_TENSOR:
        put_message(s, ATTRIBUTE_T, tensor_body, &(placed){.t = a->t});
        break;
    case REEL_ONNX_A_FLOATS:
        for (size_t i = 0; i < a->n; i++) put_float(s, ATTRIBUTE_FLOATS, a->floats[i]);
        break;
    case REEL_ONNX_A_INTS:
        for (size_t i = 0; i < a->n; i++) put_int(s, ATTRIBUTE_INTS, a->ints[i]);
        break;
    case REEL_ONNX_A_STRINGS:
        for (size_t i = 0; i < a->n; i++) put_string(s, ATTRIBUTE_STRINGS, a->strings[i]);
        break;
    }
    put_int(s, ATTRIBUTE_TYPE, a->kind);
}

static void node_body(sink *s, const void *what)
{
    const reel__onnx_node *n = what;
    for (size_t i = 0; i < n->input.n; i++) put_string(s, NODE_INPUT, n->input.at[i]);
    for (size_t i = 0; i < n->output.n; i++) put_string(s, NODE_OUTPUT, n->output.at[i]);
    put_text(s, NODE_NAME, n->name);
    put_string(s, NODE_OP_TYPE, n->op_type);
    for (size_t i = 0; i < n->attribute.n; i++)
        put_message(s, NODE_ATTRIBUTE, attribute_body, n->attribute.at[i]);
    put_text(s, NODE_DOC, n->doc);
    put_text(s, NODE_DOMAIN, n->domain);
}

/* ---- the model --------------------------------------------------------------------- */

/* The model and where its weights go. */
typedef struct plan {
    const reel__onnx_model *m;
    const char *location; /* of external data; NULL: all weights in the model */
} plan;

static int64_t aligned(int64_t offset)
{
    return (offset + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT;
}

/* Place of an initializer; *end is how far the external data reach, with it afterwards. */
static placed place(const plan *p, const reel__onnx_tensor *t, int64_t *end)
{
    if (!p->location || t->bytes < EXTERNAL_MIN) return (placed){.t = t};
    int64_t offset = aligned(*end);
    *end = offset + (int64_t)t->bytes;
    return (placed){.t = t, .location = p->location, .offset = offset};
}

static void graph_body(sink *s, const void *what)
{
    const plan *p = what;
    const reel__onnx_graph *g = &p->m->graph;
    for (size_t i = 0; i < g->node.n; i++)
        put_message(s, GRAPH_NODE, node_body, g->node.at[i]);
    put_string(s, GRAPH_NAME, g->name);
    int64_t end = 0;
    for (size_t i = 0; i < g->initializer.n; i++) {
        placed t = place(p, g->initializer.at[i], &end);
        put_message(s, GRAPH_INITIALIZER, tensor_body, &t);
    }
    put_text(s, GRAPH_DOC, g->doc);
    for (size_t i = 0; i < g->input.n; i++)
        put_message(s, GRAPH_INPUT, value_body, g->input.at[i]);
    for (size_t i = 0; i < g->output.n; i++)
        put_message(s, GRAPH_OUTPUT, value_body, g->output.at[i]);
    for (size_t i = 0; i < g->value_info.n; i++)
        put_message(s, GRAPH_VALUE_INFO, value_body, g->value_info.at[i]);
}

typedef struct opset {
    const char *domain;
    int64_t version;
} opset;

static void opset_body(sink *s, const void *what)
{
    const opset *o = what;
    put_string(s, OPSET_DOMAIN, o->domain);
    put_int(s, OPSET_VERSION, o->version);
}

static void model_body(sink *s, const void *what)
{
    const plan *p = what;
    const reel__onnx_model *m = p->m;
    put_int(s, MODEL_IR_VERSION, m->ir_version);
    put_text(s, MODEL_PRODUCER_NAME, m->producer_name);
    put_text(s, MODEL_PRODUCER_VERSION, m->producer_version);
    put_int(s, MODEL_MODEL_VERSION, m->model_version);
    put_text(s, MODEL_DOC, m->doc);
    put_message(s, MODEL_GRAPH, graph_body, p);
    put_message(s, MODEL_OPSET_IMPORT, opset_body, &(opset){"", m->opset});
    for (size_t i = 0; i < m->domain.n; i++)
        put_message(s, MODEL_OPSET_IMPORT, opset_body, &(opset){m->domain.at[i], 1});
    for (size_t i = 0; i < m->metadata.n; i++)
        put_message(s, MODEL_METADATA, prop_body, m->metadata.at[i]);
}

static uint64_t model_size(const plan *p)
{
    sink count = {0};
    model_body(&count, p);
    return count.size;
}

/* ---- files ------------------------------------------------------------------------- */

static reel__writer *open_model(const plan *p, const char *path)
{
    sink s = {.out = reel__writer_open(path)};
    if (s.out) model_body(&s, p);
    return s.out;
}

/* The weights at the offsets that place() gave them in the model. */
static reel__writer *open_data(const plan *p, const char *path)
{
    static const char zeros[DATA_ALIGNMENT];
    reel__writer *w = reel__writer_open(path);
    int64_t end = 0;
    for (size_t i = 0; w && i < p->m->graph.initializer.n; i++) {
        placed t = place(p, p->m->graph.initializer.at[i], &end);
        if (!t.location) continue;
        reel__writer_write(w, zeros, (size_t)(t.offset - reel__writer_tell(w)));
        reel__writer_write(w, t.t->data, t.t->bytes);
    }
    return w;
}

/* What the caller says of it before it replaces anything; data NULL: none. */
static reel_status judge(const reel__onnx_write_opts *opts, reel__writer *model,
                         reel__writer *data)
{
    if (!opts || !opts->check) return REEL_OK;
    const char *file = reel__writer_flush(model);
    const char *beside = file && data ? reel__writer_flush(data) : NULL;
    if (!file || (data && !beside)) return reel_error_status();
    return opts->check(opts->user, file, beside);
}

static reel_status write_pair(const plan *p, const char *path, const char *data_path,
                              const reel__onnx_write_opts *opts)
{
    reel__writer *data = open_data(p, data_path);
    reel__writer *model = data ? open_model(p, path) : NULL;
    if (!model || judge(opts, model, data) == REEL_OK)
        return reel__writer_commit_pair(data, model);
    reel__writer_abort(model);
    reel__writer_abort(data);
    return reel_error_status();
}

static reel_status too_large(const char *path, uint64_t size, int64_t max)
{
    return reel_fail(REEL_ERR_ARG,
                     "%s: would have %" PRIu64 " bytes, must be at most %" PRId64
                     "; the weights are in a file of their own already",
                     path, size, max);
}

static reel_status write_external(const reel__onnx_model *m, const char *path,
                                  int64_t max, const reel__onnx_write_opts *opts)
{
    size_t size = strlen(path) + sizeof DATA_SUFFIX;
    char *data_path = reel__malloc(size);
    if (!data_path) return reel_error_status();
    snprintf(data_path, size, "%s%s", path, DATA_SUFFIX);
    const char *slash = strrchr(data_path, '/');
    plan p = {m, slash ? slash + 1 : data_path};
    uint64_t bytes = model_size(&p);
    reel_status status = bytes > (uint64_t)max ? too_large(path, bytes, max)
                                               : write_pair(&p, path, data_path, opts);
    reel__free(data_path);
    return status;
}

reel_status reel__onnx_write(const reel__onnx_model *m, const char *path,
                             const reel__onnx_write_opts *opts)
{
    if (reel_failed()) return reel_error_status();
    if (!m || !path)
        return reel_fail(REEL_ERR_ARG, "onnx: the %s is NULL", m ? "path" : "model");
    int64_t max = opts && opts->max_bytes ? opts->max_bytes : REEL__ONNX_MESSAGE_MAX;
    if (max < 0 || max > REEL__ONNX_MESSAGE_MAX)
        return reel_fail(REEL_ERR_ARG,
                         "onnx: max_bytes is %" PRId64 ", must be 0 to %" PRId64, max,
                         REEL__ONNX_MESSAGE_MAX);
    const plan p = {.m = m};
    if (model_size(&p) > (uint64_t)max) return write_external(m, path, max, opts);
    reel__writer *w = open_model(&p, path);
    if (!w || judge(opts, w, NULL) == REEL_OK)
        return w ? reel__writer_commit(w) : reel_error_status();
    reel__writer_abort(w);
    return reel_error_status();
}
