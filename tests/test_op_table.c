/* docs/operators.md is generated from the records and checked here:
 *
 *     test_op_table            compares (this is the test)
 *     test_op_table --write    writes it anew */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/op.h"
#include "support/one_node.h"

#define PATH REEL_SOURCE_DIR "/docs/operators.md"
enum { ROOM = 1 << 18 };

typedef struct text {
    char *at;
    size_t n;
} text;

static void put(text *t, const char *fmt, ...) REEL_PRINTF(2, 3);
static void put(text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->at + t->n, ROOM - t->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < ROOM - t->n);
    t->n += (size_t)n;
}

/* ---- dtypes: what a call with them does ----------------------------------------------------- */

static bool accepts(const sample *s, reel_dtype dtype)
{
    reel_scope scope = reel_scope_begin();
    reel_tensor *in[SAMPLE_MAX_IN], *out[REEL_OP_MAX_OUT];
    for (int i = 0; i < s->n_in; i++)
        in[i] = sample_base(s, i, SAMPLE_CONTIGUOUS, dtype, 1);
    bool ok = reel__apply(s->op, s->attrs, s->n_in, in, out) == REEL_OK;
    reel_error_clear();
    reel_scope_end(scope);
    return ok;
}

static bool has_float(const sample *s)
{
    for (int i = 0; i < s->n_in; i++)
        if (s->in[i].kind == SAMPLE_FLOAT) return true;
    return false;
}

/* Bits of the dtypes that the record takes; or makes, where an attribute says it. */
static unsigned dtypes_of(const reel_op *op)
{
    unsigned bits = 0;
    const char *drawn = sample_text(op);
    for (int d = 0; d < REEL_DTYPE_COUNT; d++) {
        sample s;
        char dtype[16];
        assert_true(sample_parse(op, drawn, 0, &s));
        snprintf(dtype, sizeof dtype, "dtype=%d", d);
        if (!has_float(&s))
            assert_true(reel__attr_parse(op->attrs, dtype, s.attr_memory));
        bits |= (unsigned)accepts(&s, (reel_dtype)d) << d;
    }
    return bits;
}

/* "floats ints bool", single names for what is no whole group */
static void put_dtypes(text *t, unsigned bits)
{
    static const struct {
        const char *name;
        unsigned bits;
    } group[] = {{"floats", DTYPES_FLOAT},
                 {"ints", DTYPES_INT},
                 {"signed ints", DTYPES_INT & ~DTYPE(REEL_U8)}};
    const char *lead = "";
    for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
        if ((bits & group[g].bits) != group[g].bits) continue;
        put(t, "%s%s", lead, group[g].name);
        bits &= ~group[g].bits & ~(g ? (unsigned)DTYPES_INT : 0u);
        lead = ", ";
    }
    for (int d = 0; d < REEL_DTYPE_COUNT; d++)
        if (bits >> d & 1) {
            put(t, "%s%s", lead, reel_dtype_name((reel_dtype)d));
            lead = ", ";
        }
}

/* ---- the page --------------------------------------------------------------------------------- */

static void put_operands(text *t, const reel_op *op)
{
    int optional = 0;
    for (int i = 0; i < 8; i++) optional += op->optional >> i & 1;
    if (op->n_in < 0)
        put(t, "1 or more");
    else if (optional)
        put(t, "%d to %d", op->n_in - optional, op->n_in);
    else
        put(t, "%d", op->n_in);
    put(t, " -> %d", op->n_out);
}

static const char *kind_of(const reel_op *op)
{
    if (op->traits & REEL_OP_VIEW) return "view";
    if (op->traits & REEL_OP_INPLACE)
        return op->traits & REEL_OP_POINTWISE ? "pointwise, in place" : "in place";
    if (op->mutates) return "changes inputs";
    if (op->traits & REEL_OP_RANDOM) return "random";
    return op->traits & REEL_OP_POINTWISE ? "pointwise" : "";
}

static const char *no_gradient(const reel_op *op)
{
    if (op->no_vjp) return op->no_vjp;
    return op->traits & REEL_OP_NO_GRAD ? "none by nature" : "none is declared";
}

static void put_row(text *t, const reel_op *op)
{
    put(t, "| `%s` | %s | ", op->name,
        op->kernel ? reel__kernel_name((reel_kernel_id)op->kernel) : "-");
    put_operands(t, op);
    put(t, " | %s | ", kind_of(op));
    put_dtypes(t, op->traits & REEL_OP_VIEW ? DTYPES_ANY : dtypes_of(op));
    if (op->vjp)
        put(t, " | yes | yes | ");
    else
        put(t, " | no: %s | no | ", no_gradient(op));
    if (op->onnx)
        put(t, "%d |\n", one_node_opset(op));
    else
        put(t, "no: %s |\n", op->no_onnx);
}

static void put_page(text *t)
{
    int gradients = 0, exported = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        gradients += reel__ops[i]->vjp != NULL;
        exported += reel__ops[i]->onnx != NULL;
    }
    put(t,
        "# Operators\n\n"
        "Generated from the records by `test_op_table --write`; `ctest` fails when it is "
        "out "
        "of date.\n%d records, %d with a gradient, %d with a form in ONNX. The functions "
        "of <reel/ops.h> are "
        "these "
        "or a few of them put together.\n\n"
        "- Values: compared with PyTorch's, `tests/test_golden.c`, but for the random "
        "ones.\n"
        "- Gradient, second order: compared with differences in f64, "
        "`tests/test_gradcheck.c`. Gradients are written in operators, so where there is "
        "a "
        "first order there is a second.\n"
        "- dtypes: of the values; those of indices, conditions and statistics are fixed. "
        "floats are f32, f64, f16 and bf16; ints are i64, i32, i8 and u8.\n"
        "- ONNX: the first opset that a graph of it can be exported to, or why it "
        "cannot; run "
        "in ONNX Runtime at opset 13, 17 and the newest, `tests/test_onnx.sh`.\n\n"
        "| operator | CPU kernel | inputs -> outputs | kind | dtypes | gradient | second "
        "order | ONNX |\n|---|---|---|---|---|---|---|---|\n",
        reel__n_ops, gradients, exported);
    for (int i = 0; i < reel__n_ops; i++) put_row(t, reel__ops[i]);
}

static text make_page(void)
{
    text t = {calloc(1, ROOM), 0};
    assert_non_null(t.at);
    put_page(&t);
    return t;
}

static void test_up_to_date(void **state)
{
    (void)state;
    text t = make_page();
    char *on_disk = calloc(1, ROOM);
    FILE *f = fopen(PATH, "rb");
    assert_non_null(on_disk);
    size_t n = f ? fread(on_disk, 1, ROOM - 1, f) : 0;
    if (f) (void)fclose(f);
    if (n != t.n || memcmp(on_disk, t.at, n) != 0)
        fail_msg("docs/operators.md is out of date: run test_op_table --write");
    free(on_disk);
    free(t.at);
}

static int write_page(void)
{
    text t = make_page();
    FILE *f = fopen(PATH, "wb");
    bool ok = f && fwrite(t.at, 1, t.n, f) == t.n;
    ok = f && fclose(f) == 0 && ok;
    free(t.at);
    reel_scope_end(0);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--write") == 0) return write_page();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_up_to_date)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
