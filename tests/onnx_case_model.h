/* onnx_case_model.h: the model of a case of onnx_import_cases.h: one node. */
#ifndef TESTS_ONNX_CASE_MODEL_H
#define TESTS_ONNX_CASE_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "onnx/model.h"
#include "onnx_import_cases.h"

#define OPERANDS 8

typedef struct operand {
    bool absent, constant, batched;
    char kind;        /* f w p i b { = */
    reel_shape shape; /* dimension 0 is 0 if it is the batch */
    double below;
    float number[2];
    int64_t list[16];
} operand;

static inline operand parse_operand(const char *text)
{
    operand o = {.kind = *text};
    o.absent = *text == '-' && text[1] != '.';
    o.constant = strchr("wp{=", *text) != NULL;
    if (*text == 'w' && text[1] == '2') {
        o.shape = REEL_SHAPE(2);
        o.number[0] = 2;
        o.number[1] = 3;
    } else if (*text == '=') {
        o.number[0] = (float)reel__strtod(text + 1, NULL);
    } else if (*text == '{') {
        o.shape.rank = 1;
        for (char *p = (char *)(uintptr_t)text; *p != '}';)
            o.list[o.shape.dim[0]++] = strtoll(p + 1, &p, 10);
    } else if (!o.absent) {
        if (text[1] == '<') o.below = reel__strtod(text + 2, NULL);
        for (char *p = strchr(text, '['); *p != ']';) {
            o.batched = o.batched || p[1] == 'B';
            o.shape.dim[o.shape.rank++] = p[1] == 'B' ? 0 : strtoll(p + 1, NULL, 10);
            p += 1 + strcspn(p + 1, ",]");
        }
    }
    return o;
}

static inline int parse_operands(const char *text, operand o[])
{
    int n = 0;
    while (*text) {
        o[n++] = parse_operand(text);
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    return n;
}

static inline void add_attribute(reel__onnx_model *m, reel__onnx_node *node,
                                 const char *word, size_t length)
{
    char name[64], value[64];
    size_t at = strcspn(word, "=");
    snprintf(name, sizeof name, "%.*s", (int)at, word);
    snprintf(value, sizeof value, "%.*s", (int)(length - at - 1), word + at + 1);
    int64_t list[16];
    size_t n = 0;
    if (*value == '\'') {
        value[strlen(value) - 1] = '\0';
        reel__onnx_add_string(m, node, name, value + 1);
    } else if (strchr(value, ',')) {
        for (char *p = value; *p; p += *p == ',') list[n++] = strtoll(p, &p, 10);
        reel__onnx_add_ints(m, node, name, list, n);
    } else if (strchr(value, '.')) {
        reel__onnx_add_float(m, node, name, (float)reel__strtod(value, NULL));
    } else {
        reel__onnx_add_int(m, node, name, strtoll(value, NULL, 10));
    }
}

/* Draws an operand at a batch size. */
static inline reel_tensor *draw(const operand *o, int64_t batch)
{
    reel_shape s = o->shape;
    if (o->absent) return NULL;
    if (o->batched) s.dim[0] = batch;
    if (o->kind == '{')
        return reel_from(o->list, s.dim[0] == 1 ? REEL_SCALAR : s, REEL_I64);
    if (o->kind == '=' || o->number[0] != 0) return reel_from(o->number, s, REEL_F32);
    if (o->kind == 'i') return reel_randint(0, (int64_t)o->below, s, REEL_I64);
    if (o->kind == 'b') return reel_cast(reel_randint(0, 2, s, REEL_U8), REEL_BOOL);
    reel_tensor *x = reel_randn(s, REEL_F32);
    return o->kind == 'p' ? reel_add_scalar(reel_abs(x), 0.5) : x;
}

static inline const char *operand_name(int k)
{
    static const char *const name[OPERANDS] = {"x0", "x1", "x2", "x3",
                                               "x4", "x5", "x6", "x7"};
    return name[k];
}

static inline void add_operand(reel__onnx_model *m, int k, const operand *o,
                               reel_tensor *x)
{
    reel__onnx_dim dim[REEL_MAX_RANK];
    for (int d = 0; d < o->shape.rank; d++)
        dim[d] = o->batched && d == 0 ? (reel__onnx_dim){-1, "N"}
                                      : (reel__onnx_dim){o->shape.dim[d], ""};
    if (o->constant) {
        size_t bytes = (size_t)reel_numel(x) * reel_dtype_size(reel_dtype_of(x));
        /* a Range has numbers, all others have lists */
        bool number = o->kind == '{' && reel_rank(x) == 0 &&
                      strcmp(m->graph.node.at[0]->op_type, "Range") != 0;
        reel__onnx_add_initializer(m, operand_name(k),
                                   reel__onnx_dtype_of(reel_dtype_of(x)),
                                   number ? REEL_SHAPE(1) : reel_shape_of(x),
                                   reel__onnx_copy(m, reel_data(x), bytes));
    } else {
        reel__onnx_add_value(m, REEL_ONNX_INPUT, operand_name(k),
                             reel__onnx_dtype_of(reel_dtype_of(x)), o->shape.rank, dim);
    }
}

/* One node with the operands x; the caller frees it. */
static inline reel__onnx_model *one_node(const import_case *c, const operand o[],
                                         reel_tensor *const x[], int n)
{
    reel__onnx_model *m = reel__onnx_model_new();
    m->opset = c->opset;
    reel__onnx_node *node = reel__onnx_add_node(m, c->op_type, "the node");
    for (int k = 0; k < n; k++) {
        reel__onnx_add_input(m, node, o[k].absent ? "" : operand_name(k));
        if (!o[k].absent) add_operand(m, k, &o[k], x[k]);
    }
    for (const char *p = c->attributes; *p; p += strcspn(p, " "), p += strspn(p, " "))
        add_attribute(m, node, p, strcspn(p, " "));
    reel__onnx_add_output(m, node, "y");
    if (strcmp(c->op_type, "Split") == 0) reel__onnx_add_output(m, node, "rest");
    reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "y", REEL_ONNX_UNDEFINED, -1, NULL);
    return m;
}

#endif
