/* read_node.c: NodeProto and AttributeProto. */
#include "onnx/reader.h"

#include <stdalign.h>
#include <string.h>

/* ---- attributes -------------------------------------------------------------------- */

static const reel__onnx_schema attribute_schema = {
    10,
    {
        {ATTRIBUTE_NAME, "name", WIRE_BYTES, LAST_COUNTS},
        {ATTRIBUTE_F, "f", WIRE_32, LAST_COUNTS},
        {ATTRIBUTE_I, "i", WIRE_VARINT, LAST_COUNTS},
        {ATTRIBUTE_S, "s", WIRE_BYTES, LAST_COUNTS},
        {ATTRIBUTE_T, "t", WIRE_BYTES, ONLY_ONCE},
        {ATTRIBUTE_FLOATS, "floats", WIRE_32, REPEATED},
        {ATTRIBUTE_INTS, "ints", WIRE_VARINT, REPEATED},
        {ATTRIBUTE_STRINGS, "strings", WIRE_BYTES, REPEATED},
        {ATTRIBUTE_TYPE, "type", WIRE_VARINT, LAST_COUNTS},
        {ATTRIBUTE_REF, "ref_attr_name", WIRE_BYTES, LAST_COUNTS},
    },
};

/* Row i is AttributeProto.AttributeType i: the field of its value, 0 if it is not read, and
 * for lists what one element is. */
static const struct {
    const char *name;
    uint32_t field;
    enum wire_type element;
    size_t size;
    const char *lack;
} kinds[] = {
    {.name = "UNDEFINED"},
    {"FLOAT", ATTRIBUTE_F, WIRE_32, 0, NULL},
    {"INT", ATTRIBUTE_I, WIRE_VARINT, 0, NULL},
    {"STRING", ATTRIBUTE_S, WIRE_BYTES, 0, NULL},
    {"TENSOR", ATTRIBUTE_T, WIRE_BYTES, 0, NULL},
    {.name = "GRAPH", .lack = "is a GRAPH"},
    {"FLOATS", ATTRIBUTE_FLOATS, WIRE_32, sizeof(float), NULL},
    {"INTS", ATTRIBUTE_INTS, WIRE_VARINT, sizeof(int64_t), NULL},
    {"STRINGS", ATTRIBUTE_STRINGS, WIRE_BYTES, sizeof(char *), NULL},
    {.name = "TENSORS", .lack = "holds TENSORS"},
    {.name = "GRAPHS", .lack = "holds GRAPHS"},
    {.name = "SPARSE_TENSOR", .lack = "is a SPARSE_TENSOR"},
    {.name = "SPARSE_TENSORS", .lack = "holds SPARSE_TENSORS"},
    {.name = "TYPE_PROTO", .lack = "is a TYPE_PROTO"},
    {.name = "TYPE_PROTOS", .lack = "holds TYPE_PROTOS"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* What a valid attribute has that a model cannot; NULL: nothing. */
static const char *lack_of(reel__onnx_reader *r, const reel__onnx_message *msg,
                           uint64_t kind)
{
    if (reel__onnx_count(msg, ATTRIBUTE_REF) > 0)
        return "refers to an attribute of a function";
    if (kind < KINDS) return kinds[kind].lack;
    return reel__onnx_words(r, "is of a type that is not known (%ju)", (uintmax_t)kind);
}

/* Is there a type, and no value of another? */
static bool check_kind(reel__onnx_reader *r, const reel__onnx_message *msg,
                       const reel__onnx_node *node, const char *name, uint64_t kind)
{
    if (!*name)
        return reel__onnx_bad(r, "an attribute of node \"%s\" (%s) has no name",
                              node->name, node->op_type);
    if (kind == 0)
        return reel__onnx_bad(r, "attribute \"%s\" of node \"%s\" (%s) has no type", name,
                              node->name, node->op_type);
    for (size_t i = 0; i < KINDS; i++)
        if (i != kind && kinds[i].field && reel__onnx_count(msg, kinds[i].field) > 0)
            return reel__onnx_bad(r,
                                  "attribute \"%s\" of node \"%s\" (%s) is of type %s, "
                                  "but has a value of type %s",
                                  name, node->name, node->op_type, kinds[kind].name,
                                  kinds[i].name);
    if (kind == REEL_ONNX_A_TENSOR && reel__onnx_count(msg, ATTRIBUTE_T) == 0)
        return reel__onnx_bad(r, "attribute \"%s\" of node \"%s\" (%s) has no tensor",
                              name, node->name, node->op_type);
    return true;
}

static const reel__onnx_tensor *tensor_of(reel__onnx_reader *r, reel__onnx_span bytes)
{
    reel__onnx_tensor *t = reel__onnx_array(r, 1, sizeof *t, alignof(reel__onnx_tensor));
    return t && reel__onnx_read_tensor(r, bytes, t) ? t : NULL;
}

/* The strings of attributes are bytes, which may be anything; names of ONNX's own are not. */
static const char *text_of(reel__onnx_reader *r, const reel__onnx_field *f,
                           reel__onnx_attribute *a)
{
    if (f->bytes.n && memchr(f->bytes.p, '\0', f->bytes.n)) {
        a->lack = "has a zero byte in its text";
        return "";
    }
    return reel__onnx_read_string(r, f, SIZE_MAX);
}

static void read_one(reel__onnx_reader *r, const reel__onnx_field *f,
                     reel__onnx_attribute *a)
{
    switch (f->number) {
    case ATTRIBUTE_F: memcpy(&a->f, &f->value, sizeof a->f); break;
    case ATTRIBUTE_I: a->i = (int64_t)f->value; break;
    case ATTRIBUTE_S: a->s = text_of(r, f, a); break;
    default: a->t = tensor_of(r, f->bytes); break;
    }
}

static void read_list(reel__onnx_reader *r, reel__onnx_message *msg,
                      reel__onnx_attribute *a)
{
    size_t size = kinds[a->kind].size, max = reel__onnx_count(msg, kinds[a->kind].field);
    char *list = reel__onnx_array(r, max, size, alignof(max_align_t));
    reel__onnx_field f;
    while (reel__onnx_next(r, msg, &f)) {
        if (f.number != kinds[a->kind].field) continue;
        if (a->kind == REEL_ONNX_A_STRINGS)
            ((const char **)(void *)list)[a->n++] = text_of(r, &f, a);
        else
            for (uint64_t v; reel__onnx_element(&f, kinds[a->kind].element, &v); a->n++)
                memcpy(list + a->n * size, &v, size); /* little endian */
    }
    a->strings = (const char *const *)(void *)list; /* or floats, or ints */
}

static void read_attribute(reel__onnx_reader *r, reel__onnx_span bytes,
                           const reel__onnx_node *node, reel__onnx_attribute *a)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    uint64_t kind = 0;
    *a = (reel__onnx_attribute){.name = ""};
    if (!reel__onnx_open(r, &msg, bytes, &attribute_schema)) return;
    while (reel__onnx_next(r, &msg, &f)) {
        if (f.number == ATTRIBUTE_NAME)
            a->name = reel__onnx_read_string(r, &f, REEL__ONNX_NAME_MAX);
        else if (f.number == ATTRIBUTE_TYPE)
            kind = f.value;
    }
    if (r->failed) return;
    a->lack = *a->name ? lack_of(r, &msg, kind) : NULL;
    if (a->lack || r->failed || !check_kind(r, &msg, node, a->name, kind)) {
        reel__onnx_close(r, &msg);
        return;
    }
    a->kind = (reel__onnx_kind)kind;
    if (a->kind == REEL_ONNX_A_STRING) a->s = ""; /* some writers leave out defaults */
    reel__onnx_rewind(&msg);
    if (kinds[kind].size)
        read_list(r, &msg, a);
    else
        while (reel__onnx_next(r, &msg, &f))
            if (f.number == kinds[kind].field) read_one(r, &f, a);
    reel__onnx_close(r, &msg);
}

/* ---- nodes ------------------------------------------------------------------------- */

static const reel__onnx_schema node_schema = {
    7,
    {
        {NODE_INPUT, "input", WIRE_BYTES, REPEATED},
        {NODE_OUTPUT, "output", WIRE_BYTES, REPEATED},
        {NODE_NAME, "name", WIRE_BYTES, LAST_COUNTS},
        {NODE_OP_TYPE, "op_type", WIRE_BYTES, LAST_COUNTS},
        {NODE_ATTRIBUTE, "attribute", WIRE_BYTES, REPEATED},
        {NODE_DOC, "doc_string", WIRE_BYTES, LAST_COUNTS},
        {NODE_DOMAIN, "domain", WIRE_BYTES, LAST_COUNTS},
    },
};

static void read_part(reel__onnx_reader *r, const reel__onnx_field *f, reel__onnx_node *n)
{
    const size_t max = f->number == NODE_DOC ? SIZE_MAX : REEL__ONNX_NAME_MAX;
    const char *text = reel__onnx_read_string(r, f, max);
    switch (f->number) {
    case NODE_INPUT: n->input.at[n->input.n++] = text; break;
    case NODE_OUTPUT: n->output.at[n->output.n++] = text; break;
    case NODE_NAME: n->name = text; break;
    case NODE_OP_TYPE: n->op_type = text; break;
    case NODE_DOC: n->doc = text; break;
    default: n->domain = text; break;
    }
}

/* Lists at the size that they will have. */
static void make_lists(reel__onnx_reader *r, const reel__onnx_message *msg,
                       reel__onnx_node *n)
{
    n->input.room = reel__onnx_count(msg, NODE_INPUT);
    n->input.at = reel__onnx_array(r, n->input.room, sizeof(char *), alignof(char *));
    n->output.room = reel__onnx_count(msg, NODE_OUTPUT);
    n->output.at = reel__onnx_array(r, n->output.room, sizeof(char *), alignof(char *));
    n->attribute.room = reel__onnx_count(msg, NODE_ATTRIBUTE);
    n->attribute.at =
        reel__onnx_array(r, n->attribute.room, sizeof(void *), alignof(void *));
}

/* Is the name of an attribute that the node has already? */
static bool is_twice(const reel__onnx_node *n, const char *name)
{
    size_t same = 0;
    for (size_t i = 0; i < n->attribute.n; i++)
        same += strcmp(n->attribute.at[i]->name, name) == 0;
    return same > 1;
}

/* After all else, so that their errors tell the node's name. */
static void read_attributes(reel__onnx_reader *r, reel__onnx_message *msg,
                            reel__onnx_node *n)
{
    reel__onnx_field f;
    reel__onnx_rewind(msg);
    while (reel__onnx_next(r, msg, &f)) {
        if (f.number != NODE_ATTRIBUTE) continue;
        reel__onnx_attribute *a =
            reel__onnx_array(r, 1, sizeof *a, alignof(reel__onnx_attribute));
        if (!a) return;
        n->attribute.at[n->attribute.n++] = a;
        read_attribute(r, f.bytes, n, a);
        if (!r->failed && is_twice(n, a->name))
            reel__onnx_bad(r, "attribute \"%s\" of node \"%s\" (%s) comes a second time",
                           a->name, n->name, n->op_type);
    }
}

bool reel__onnx_read_node(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_node *n)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    *n = (reel__onnx_node){.op_type = "",
                           .name = "",
                           .domain = "",
                           .doc = "",
                           .offset = (uint64_t)(r->here - r->start)};
    if (!reel__onnx_open(r, &msg, bytes, &node_schema)) return false;
    if (reel__onnx_count(&msg, NODE_ATTRIBUTE) > REEL__ONNX_ATTRIBUTES_MAX)
        return reel__onnx_beyond(r, "has %zu attributes, must have at most %d",
                                 reel__onnx_count(&msg, NODE_ATTRIBUTE),
                                 REEL__ONNX_ATTRIBUTES_MAX);
    make_lists(r, &msg, n);
    while (reel__onnx_next(r, &msg, &f))
        if (f.number != NODE_ATTRIBUTE) read_part(r, &f, n);
    if (!r->failed && !*n->op_type)
        return reel__onnx_bad(r, "node \"%s\" has no op_type", n->name);
    read_attributes(r, &msg, n);
    return reel__onnx_close(r, &msg);
}
