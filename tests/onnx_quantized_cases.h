/* onnx_quantized_cases.h: models of one node on quantized operands. */
#ifndef TESTS_ONNX_QUANTIZED_CASES_H
#define TESTS_ONNX_QUANTIZED_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/model.h"
#include "trace/onnx/import.h"

/* Operands, such as "x:u[1,2,4,4] f[] - i[3]": u u8, c i8, i i32, f f32, - absent; x: an input,
 * n: one whose first size is open. Numbers are 1, then 0. */
typedef struct node_case {
    const char *op_type, *domain, *operands;
    const char *says; /* in the message; NULL: the graph's records */
    reel_status status;
} node_case;

static inline void add_quantized(reel__onnx_model *m, reel__onnx_node *node,
                                 const char *p, int k)
{
    static const float ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint8_t bytes[256] = {1, 1, 1, 1};
    char name[16];
    reel_shape s = {.rank = 0};
    reel__onnx_dim dim[REEL_MAX_RANK];
    bool open = strncmp(p, "n:", 2) == 0, input = open || strncmp(p, "x:", 2) == 0;
    if (*p == '-') {
        reel__onnx_add_input(m, node, "");
        return;
    }
    snprintf(name, sizeof name, "x%d", k);
    reel__onnx_add_input(m, node, name);
    if (input) p += 2;
    reel__onnx_dtype dtype = *p == 'u'   ? REEL_ONNX_UINT8
                             : *p == 'c' ? REEL_ONNX_INT8
                             : *p == 'i' ? REEL_ONNX_INT32
                                         : REEL_ONNX_FLOAT;
    for (const char *at = p + 1; *at != ']' && at[1] != ']'; s.rank++) {
        char *after;
        int64_t size = strtoll(at + 1, &after, 10);
        dim[s.rank] = (reel__onnx_dim){open && s.rank == 0 ? -1 : size, ""};
        s.dim[s.rank] = size;
        at = after;
    }
    if (input)
        reel__onnx_add_value(m, REEL_ONNX_INPUT, name, dtype, s.rank, dim);
    else
        reel__onnx_add_initializer(m, name, dtype, s,
                                   *p == 'f' ? (const void *)ones : bytes);
}

static inline reel__onnx_model *quantized_node(const node_case *c)
{
    reel__onnx_model *m = reel__onnx_model_new();
    reel__onnx_node *node = reel__onnx_add_node(m, c->op_type, "the node");
    if (c->domain) reel__onnx_set_domain(m, node, c->domain);
    int k = 0;
    for (const char *p = c->operands; *p; p += strcspn(p, " "), p += strspn(p, " "))
        add_quantized(m, node, p, k++);
    if (strcmp(c->op_type, "QLinearConcat") == 0) reel__onnx_add_int(m, node, "axis", 1);
    reel__onnx_add_output(m, node, "y");
    reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "y", REEL_ONNX_UNDEFINED, -1, NULL);
    return m;
}

#define MS REEL__IM_MICROSOFT

static const node_case quantized_cases[] = {
    /* of few elements too: what is quantized stays so */
    {"QLinearConv", NULL, "x:u[1,2,4,4] f[] u[] c[3,2,1,1] f[3] c[3] f[] u[] i[3]", NULL,
     REEL_OK},
    {"QLinearConv", NULL, "n:u[2,2,4,4] f[1] u[1] c[3,2,1,1] f[1] c[1] f[1] u[1]", NULL,
     REEL_OK},
    {"QLinearMatMul", NULL, "n:u[2,3,4] f[] u[] c[4,5] f[5] c[] f[] u[]", NULL, REEL_OK},
    {"ConvInteger", NULL, "n:u[2,2,4,4] c[3,2,1,1] u[] c[3]", NULL, REEL_OK},
    {"ConvInteger", NULL, "x:u[1,2,4] c[3,2,1]", NULL, REEL_OK},
    {"MatMulInteger", NULL, "n:u[2,3,4] c[4,5] u[] c[5]", NULL, REEL_OK},
    {"MatMulInteger", NULL, "x:u[3,4] c[4,5] u[3] c[5]", NULL, REEL_OK},
    {"MatMulInteger", NULL, "x:u[2,3,4] x:u[2,4,5]", NULL, REEL_OK},
    {"QGemm", MS, "n:u[2,4] f[] u[] c[4,5] f[5] c[5] i[5]", NULL, REEL_OK},
    {"DynamicQuantizeMatMul", MS, "n:f[2,4] c[4,5] f[5] - f[5]", NULL, REEL_OK},
    {"QLinearAdd", MS, "n:u[2,4] f[] - x:u[1,4] f[] - f[]", NULL, REEL_OK},
    {"QLinearConcat", MS, "f[] u[] n:u[2,4] f[] u[] n:u[2,3] f[] u[]", NULL, REEL_OK},
};

#endif
