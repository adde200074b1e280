/* info.c: what the records say about operators, for users and for docs/operators.md. */
#include <stdio.h>
#include <string.h>

#include "base/counts.h"
#include "ops/onnx.h"
#include "ops/op.h"

int reel_op_count(void)
{
    return reel__n_ops;
}

const char *reel_op_name(int i)
{
    return i >= 0 && i < reel__n_ops ? reel__ops[i]->name : NULL;
}

static const char *kind_of(const reel__op *op)
{
    if (op->traits & REEL_OP_VIEW) return "view";
    if (op->traits & REEL_OP_INPLACE)
        return op->traits & REEL_OP_POINTWISE ? "pointwise, in place" : "in place";
    if (op->mutates) return "changes inputs";
    if (op->traits & REEL_OP_RANDOM) return "random";
    return op->traits & REEL_OP_POINTWISE ? "pointwise" : "";
}

static const char *no_gradient(const reel__op *op)
{
    if (op->vjp) return NULL;
    if (op->no_vjp) return op->no_vjp;
    return op->traits & REEL_OP_NO_GRAD ? "none by nature" : "none is declared";
}

static int onnx_since(const reel__op *op)
{
    if (!op->onnx) return 0;
    return op->onnx_since ? op->onnx_since : REEL__ONNX_OPSET_FIRST;
}

/* Appends a word to a list of them. */
static void list(char *text, size_t size, const char *word)
{
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s%s", n ? ", " : "", word);
}

/* "floats, ints, bool": groups, and single names for what is not a whole group. */
static void name_dtypes(uint32_t bits, char *text, size_t size)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } group[] = {{"floats", DTYPES_FLOAT},
                 {"ints", DTYPES_INT},
                 {"signed ints", DTYPES_INT & ~DTYPE(REEL_U8)}};
    for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
        if ((bits & group[g].bits) != group[g].bits) continue;
        list(text, size, group[g].name);
        bits &= ~group[g].bits;
    }
    for (int d = 0; d < REEL__DTYPE_COUNT; d++)
        if (bits >> d & 1) list(text, size, reel_dtype_name((reel_dtype)d));
}

reel_status reel_op_info(int i, reel_op_facts *out)
{
    if (i < 0 || i >= reel__n_ops || !out)
        return reel_fail(REEL_ERR_ARG, "op_info: %s",
                         out ? "there is no operator of that number" : "out is NULL");
    const reel__op *op = reel__ops[i];
    int optional = 0;
    for (int k = 0; k < 8; k++) optional += op->optional >> k & 1;
    bool any = op->n_in == REEL_OP_VARIADIC;
    uint32_t dtypes = op->values ? op->values : op->dtypes;
    *out = (reel_op_facts){.name = op->name,
                           .kind = kind_of(op),
                           .min_inputs = any ? 1 : op->n_in - optional,
                           .max_inputs = any ? REEL_OP_MAX_IN : op->n_in,
                           .outputs = op->n_out,
                           .dtypes = dtypes ? dtypes : DTYPES_ANY,
                           .no_gradient = no_gradient(op),
                           .onnx_since = onnx_since(op),
                           .no_onnx = op->onnx ? NULL : op->no_onnx};
    name_dtypes(out->dtypes, out->dtype_names, sizeof out->dtype_names);
    return REEL_OK;
}
