/* docs/operators.md is generated from the records and checked here:
 *
 *     test_op_table            compares (this is the test)
 *     test_op_table --write    writes it anew */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/counts.h"
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

/* Bits of the dtypes in which the record's samples draw input 0, if it takes them. */
static unsigned dtypes_drawn(const reel__op *op)
{
    unsigned bits = 0;
    for (int line = 0; line < sample_lines(op->sample); line++) {
        sample s;
        assert_true(sample_parse(op, op->sample, line, &s));
        reel_scope scope = reel_scope_begin();
        reel_tensor *first = sample_base(&s, 0, SAMPLE_CONTIGUOUS, REEL_F32, 1);
        if (accepts(&s, REEL_F32)) bits |= DTYPE(reel_dtype_of(first));
        reel_scope_end(scope);
    }
    return bits;
}

/* Bits of the dtypes that the record takes; or makes, where an attribute says it. */
static unsigned dtypes_of(const reel__op *op)
{
    unsigned bits = 0;
    const char *drawn = sample_text(op);
    if (op->attrs && (op->dtypes & DTYPES_FLOAT) == 0 && op->dtypes)
        return dtypes_drawn(op);
    for (int d = 0; d < REEL__DTYPE_COUNT; d++) {
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

/* ---- the public function: of the record's name, else the one whose body calls it ------------- */

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *content = calloc(1, ROOM);
    assert_non_null(content);
    if (f) {
        assert_true(fread(content, 1, ROOM - 1, f) < ROOM - 1);
        (void)fclose(f);
    }
    return content;
}

static bool is_public(const char *name)
{
    static char *header[2]; /* read once */
    char wanted[112];
    if (!header[0]) {
        header[0] = read_all(REEL_SOURCE_DIR "/include/reel/ops.h");
        header[1] = read_all(REEL_SOURCE_DIR "/include/reel/tensor.h");
    }
    snprintf(wanted, sizeof wanted, " *%s(", name);
    return strstr(header[0], wanted) || strstr(header[1], wanted);
}

/* The function of a source whose body names the record: a line at the margin begins one. */
static bool find_caller(const char *source, const char *record, char *name, size_t size)
{
    char wanted[96];
    size_t n = (size_t)snprintf(wanted, sizeof wanted, "&reel__%s", record);
    for (const char *line = source; *line;
         line += strcspn(line, "\n"), line += *line != 0) {
        size_t length = strcspn(line, "\n");
        if (length && line[0] != ' ' && strchr("}{#/", line[0]) == NULL) {
            const char *at = strstr(line, "*reel_");
            size_t end = at ? strcspn(at + 1, "(\n") : 0;
            name[0] = '\0';
            if (at && at < line + length && end < size)
                snprintf(name, size, "%.*s", (int)end, at + 1);
        }
        for (const char *at = line; (at = strstr(at, wanted)) && at < line + length;
             at += n)
            if (!strchr("abcdefghijklmnopqrstuvwxyz_0123456789", at[n]) &&
                is_public(name))
                return true;
    }
    return false;
}

static const char *function_of(const reel__op *op, char *name, size_t size)
{
    snprintf(name, size, "reel_%s", op->name);
    if (is_public(name)) return name;
    glob_t found;
    bool there = false;
    assert_int_equal(glob(REEL_SOURCE_DIR "/src/ops/*.c", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc && !there; i++) {
        char *source = read_all(found.gl_pathv[i]);
        there = find_caller(source, op->name, name, size);
        free(source);
    }
    globfree(&found);
    return there ? name : NULL;
}

/* ---- the page --------------------------------------------------------------------------------- */

static void put_operands(text *t, const reel_op_facts *f)
{
    if (f->max_inputs == REEL_OP_MAX_IN)
        put(t, "%d or more", f->min_inputs);
    else if (f->min_inputs < f->max_inputs)
        put(t, "%d to %d", f->min_inputs, f->max_inputs);
    else
        put(t, "%d", f->max_inputs);
    put(t, " -> %d", f->outputs);
}

static void put_row(text *t, int i)
{
    const reel__op *op = reel__ops[i];
    reel_op_facts f;
    assert_int_equal(reel_op_info(i, &f), REEL_OK);
    char room[96];
    const char *function = function_of(op, room, sizeof room);
    put(t, "| `%s` | %s%s%s | %s | ", f.name, function ? "`" : "",
        function ? function : "", function ? "`" : "",
        op->kernel ? reel__kernel_name((reel__kernel_id)op->kernel) : "-");
    put_operands(t, &f);
    put(t, " | %s | %s", f.kind, f.dtype_names);
    if (f.no_gradient)
        put(t, " | no: %s | no | ", f.no_gradient);
    else
        put(t, " | yes | yes | ");
    if (f.no_onnx)
        put(t, "no: %s |\n", f.no_onnx);
    else
        put(t, "%d |\n", f.onnx_since);
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
        "in ONNX Runtime at opset 13, 17 and the newest, `tests/test_onnx.sh`.\n"
        "- function: of <reel/ops.h>, that calls it; the others are parts of gradients "
        "and what "
        "passes put in.\n\n"
        "| operator | function | CPU kernel | inputs -> outputs | kind | dtypes | "
        "gradient | second "
        "order | ONNX |\n|---|---|---|---|---|---|---|---|---|\n",
        reel__n_ops, gradients, exported);
    for (int i = 0; i < reel__n_ops; i++) put_row(t, i);
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

/* What the page and `reel ops` say is what calls do: which dtypes they take, and from which
 * opset on they can be exported. */
static void test_facts(void **state)
{
    (void)state;
    int wrong = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        reel_op_facts f;
        assert_int_equal(reel_op_info(i, &f), REEL_OK);
        unsigned taken = op->traits & REEL_OP_VIEW ? DTYPES_ANY : dtypes_of(op);
        if (op == reel__op_by_name("pointwise"))
            taken |= DTYPE(REEL_BOOL); /* conditions of its steps */
        int since = op->onnx ? one_node_opset(op) : 0;
        if (f.dtypes == taken && f.onnx_since == since) continue;
        print_error(
            "%s: dtypes %#x, but takes %#x; opset %d, but can be exported at %d\n",
            f.name, (unsigned)f.dtypes, taken, f.onnx_since, since);
        wrong++;
    }
    assert_int_equal(wrong, 0);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_facts),
                                       cmocka_unit_test(test_up_to_date)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
