/* Every record against what PyTorch computed, from tests/golden/golden.bin: values and
 * gradients, each in two memory orders. make_golden.py writes the file and says its format;
 * `test_golden --records` is what it asks for the records. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/autograd.h>

#include "base/counts.h"
#include "ops/records.h"

enum { LEAST_CASES = 1500, MOST_TENSORS = 16, AFTER = 128 };

/* Records that PyTorch cannot be asked for. */
static const struct {
    const char *name, *reason;
} without[] = {
    {"rand", "draws from reel's own stream (test_random.c)"},
    {"randn", "draws from reel's own stream (test_random.c)"},
    {"randint", "draws from reel's own stream (test_random.c)"},
    {"pointwise", "is compared with its steps, bit by bit (test_pointwise_program.c)"},
    {"batch_norm_apply", "the bits of batch_norm (test_batch_norm.c)"},
    {"dropout", "draws from reel's own stream (test_random.c)"},
    {"linear_int8", "is compared with sums in 64 bits (test_int8.c)"},
    {"conv2d_int8", "is compared with sums in 64 bits (test_int8.c)"},
    {"conv2d_fused", "conv2d, add and an activation, which have cases (test_fused.c)"},
    {"linear_fused", "linear, add and an activation, which have cases (test_fused.c)"},
};

/* ---- the file ------------------------------------------------------------------------------ */

typedef struct reader {
    const unsigned char *at, *end;
} reader;

static const void *take(reader *r, size_t n)
{
    if ((size_t)(r->end - r->at) < n) fail_msg("golden.bin is cut short");
    const void *p = r->at;
    r->at += n;
    return p;
}

static unsigned take_u8(reader *r)
{
    return *(const unsigned char *)take(r, 1);
}

static uint32_t take_u32(reader *r)
{
    const unsigned char *b = take(r, 4);
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
           (uint32_t)b[3] << 24;
}

static void take_text(reader *r, char *text, size_t size)
{
    const unsigned char *b = take(r, 2);
    size_t n = (size_t)b[0] | (size_t)b[1] << 8;
    assert_true(n < size);
    memcpy(text, take(r, n), n);
    text[n] = '\0';
}

static reel_tensor *take_tensor(reader *r)
{
    unsigned dtype = take_u8(r), rank = take_u8(r);
    if (dtype == 255) return NULL;
    reel_shape s = {.rank = (int)rank};
    assert_true(dtype < REEL__DTYPE_COUNT && rank <= REEL_MAX_RANK);
    size_t n = reel_dtype_size((reel_dtype)dtype);
    for (int i = 0; i < s.rank; i++) {
        s.dim[i] = take_u32(r);
        n *= (size_t)s.dim[i];
    }
    reel_tensor *t = reel_from(take(r, n), s, (reel_dtype)dtype);
    assert_non_null(t);
    return t;
}

typedef struct golden {
    const reel__op *op;
    char attr_text[256];
    int64_t attr_memory[128];
    int n_in, n_results, n_grads;
    reel_tensor *in[MOST_TENSORS], *result[MOST_TENSORS], *grad[MOST_TENSORS], *gy;
    unsigned place[MOST_TENSORS];
} golden;

static void take_case(reader *r, golden *g)
{
    char name[64];
    *g = (golden){0};
    take_text(r, name, sizeof name);
    take_text(r, g->attr_text, sizeof g->attr_text);
    g->op = reel__op_by_name(name);
    if (!g->op) fail_msg("golden.bin knows %s, reel does not", name);
    assert_true(!g->op->attrs || g->op->attrs->size <= sizeof g->attr_memory);
    assert_true(reel__attr_parse(g->op->attrs, g->attr_text, g->attr_memory));
    g->n_in = (int)take_u8(r);
    assert_true(g->n_in <= MOST_TENSORS);
    for (int i = 0; i < g->n_in; i++) g->in[i] = take_tensor(r);
    g->n_results = (int)take_u8(r);
    assert_true(g->n_results <= MOST_TENSORS);
    for (int i = 0; i < g->n_results; i++) {
        g->place[i] = take_u8(r);
        g->result[i] = take_tensor(r);
    }
    g->gy = take_tensor(r);
    g->n_grads = (int)take_u8(r);
    assert_true(g->n_grads <= MOST_TENSORS);
    for (int i = 0; i < g->n_grads; i++) g->grad[i] = take_tensor(r);
}

/* ---- comparison ------------------------------------------------------------------------------ */

static int failures; /* all are shown before the test fails */

static void complain(const golden *g, const char *what, int i, const char *order)
{
    char text[REEL__META_TEXT] = "-";
    if (g->n_in && g->in[0]) reel__meta_text(&g->in[0]->meta, text);
    fprintf(stderr, "%s %s | %s (%s): %s %d: ", g->op->name, text, g->attr_text, order,
            what, i);
    failures++;
}

static void tolerance(reel_dtype dtype, double *rtol, double *atol)
{
    *rtol = *atol = 0;
    if (dtype == REEL_F64) *rtol = *atol = 1e-7;
    if (dtype == REEL_F32) *rtol = 1.3e-6, *atol = 1e-5;
    if (dtype == REEL_F16) *rtol = 1e-3, *atol = 1e-5;
    if (dtype == REEL_BF16) *rtol = 1.6e-2, *atol = 1e-5;
}

static double *values(reel_tensor *t)
{
    double *v = malloc(((size_t)reel_numel(t) + 1) * sizeof *v);
    assert_non_null(v);
    assert_int_equal(reel_read(t, v, REEL_F64), REEL_OK);
    return v;
}

/* Exactly: a double would not tell all integers apart. */
static void compare_integers(const golden *g, const char *what, int i, const char *order,
                             reel_tensor *got, reel_tensor *want)
{
    size_t bytes = ((size_t)reel_numel(want) + 1) * sizeof(int64_t);
    int64_t *x = malloc(bytes), *y = malloc(bytes);
    assert_true(x && y);
    assert_int_equal(reel_read(got, x, REEL_I64), REEL_OK);
    assert_int_equal(reel_read(want, y, REEL_I64), REEL_OK);
    for (int64_t k = 0; k < reel_numel(want); k++) {
        if (x[k] == y[k]) continue;
        complain(g, what, i, order);
        fprintf(stderr, "element %" PRId64 " is %" PRId64 ", must be %" PRId64 "\n", k,
                x[k], y[k]);
        break;
    }
    free(x);
    free(y);
}

static void compare(const golden *g, const char *what, int i, const char *order,
                    reel_tensor *got, reel_tensor *want)
{
    char a[REEL__META_TEXT], b[REEL__META_TEXT];
    if (!got || got->meta.dtype != want->meta.dtype ||
        !reel__same_shape(&got->meta, &want->meta)) {
        complain(g, what, i, order);
        fprintf(stderr, "is %s, must be %s\n",
                got ? reel__meta_text(&got->meta, a) : "missing",
                reel__meta_text(&want->meta, b));
        return;
    }
    if (!reel_dtype_is_float(want->meta.dtype)) {
        compare_integers(g, what, i, order, got, want);
        return;
    }
    double *x = values(got), *y = values(want), rtol, atol;
    tolerance(want->meta.dtype, &rtol, &atol);
    for (int64_t k = 0; k < reel_numel(want); k++) {
        bool both_nan = isnan(x[k]) && isnan(y[k]);
        if (both_nan || x[k] == y[k]) continue;
        if (fabs(x[k] - y[k]) <= atol + rtol * fabs(y[k]) && isfinite(y[k])) continue;
        complain(g, what, i, order);
        fprintf(stderr, "element %" PRId64 " is %.17g, must be %.17g\n", k, x[k], y[k]);
        break;
    }
    free(x);
    free(y);
}

/* ---- calls -------------------------------------------------------------------------------------- */

/* The same values, dimensions in reverse order in memory; channels-last for rank 4. */
static reel_tensor *reordered(reel_tensor *x)
{
    reel_shape back = {.rank = reel_rank(x)};
    if (back.rank == 4) return reel_to_format(x, REEL_CHANNELS_LAST);
    for (int i = 0; i < back.rank; i++) back.dim[i] = back.rank - 1 - i;
    return reel_permute(reel_contiguous(reel_permute(x, back)), back);
}

/* Inputs of their own for one call: what it changes are copies. */
static void inputs_of(const golden *g, bool reorder, bool leaves, reel_tensor *in[],
                      reel_tensor *used[])
{
    unsigned mutates = g->op->mutates | (g->op->traits & REEL_OP_INPLACE ? 1u : 0u);
    for (int i = 0; i < g->n_in; i++) {
        in[i] = used[i] = g->in[i];
        if (!in[i]) continue;
        in[i] = reel_detach(reorder ? reordered(in[i]) : in[i]);
        if (leaves && g->grad[i]) in[i] = reel_requires_grad(in[i], true);
        used[i] = mutates >> i & 1 ? reel_copy(in[i]) : in[i];
        if (g->op == &reel__reshape)
            used[i] = reel_contiguous(used[i]); /* makes views only */
    }
}

static bool apply(const golden *g, reel_tensor *in[], reel_tensor *out[],
                  const char *order)
{
    const void *attrs = g->op->attrs ? g->attr_memory : NULL;
    if (reel__apply(g->op, attrs, g->n_in, in, out) == REEL_OK) return true;
    complain(g, "call", 0, order);
    fprintf(stderr, "%s\n", reel_error_message());
    reel_error_clear();
    return false;
}

static void check_values(const golden *g, bool reorder)
{
    const char *order = reorder ? "reordered" : "contiguous";
    reel_tensor *in[MOST_TENSORS], *used[MOST_TENSORS], *out[REEL_OP_MAX_OUT] = {NULL};
    inputs_of(g, reorder, false, in, used);
    if (!apply(g, used, out, order)) return;
    for (int i = 0; i < g->n_results; i++) {
        unsigned p = g->place[i];
        compare(g, p < AFTER ? "output" : "changed input", (int)(p % AFTER), order,
                p < AFTER ? out[p] : used[p - AFTER], g->result[i]);
    }
}

/* create_graph: the same gradient, whose operators are then recorded. */
static void check_gradients(const golden *g, bool reorder, bool create_graph)
{
    const char *order = reorder ? "reordered" : "contiguous";
    reel_tensor *in[MOST_TENSORS], *used[MOST_TENSORS], *out[REEL_OP_MAX_OUT] = {NULL};
    reel_tensor *x[MOST_TENSORS], *gx[MOST_TENSORS];
    int n = 0, at[MOST_TENSORS];
    inputs_of(g, reorder, true, in, used);
    if (!apply(g, used, out, order)) return;
    for (int i = 0; i < g->n_grads; i++)
        if (g->grad[i]) {
            x[n] = in[i];
            at[n++] = i;
        }
    if (!n) return;
    const reel_backward_opts opts = {.allow_unused = true, .create_graph = create_graph};
    if (reel_grad(&out[0], 1, &g->gy, x, n, gx, &opts)) {
        complain(g, "backward", 0, order);
        fprintf(stderr, "%s\n", reel_error_message());
        reel_error_clear();
        return;
    }
    for (int k = 0; k < n; k++)
        compare(g, create_graph ? "gradient, recorded," : "gradient", at[k], order, gx[k],
                g->grad[at[k]]);
}

static void check_case(const golden *g)
{
    for (int reorder = 0; reorder < 2; reorder++) {
        bool was = reel_set_grad_enabled(false);
        check_values(g, reorder);
        (void)reel_set_grad_enabled(was);
        for (int recorded = 0; g->gy && recorded < 2; recorded++)
            check_gradients(g, reorder, recorded);
    }
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static unsigned char *read_file(size_t *size)
{
    FILE *f = fopen(REEL_SOURCE_DIR "/tests/golden/golden.bin", "rb");
    if (!f) fail_msg("cannot open tests/golden/golden.bin");
    (void)fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *data = malloc(*size);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    (void)fclose(f);
    return data;
}

static const char *reason_without(const char *name)
{
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (strcmp(without[i].name, name) == 0) return without[i].reason;
    return NULL;
}

static void test_golden(void **state)
{
    (void)state;
    size_t size;
    unsigned char *data = read_file(&size);
    reader r = {data, data + size};
    int seen[512] = {0}, with_gradient = 0;
    assert_memory_equal(take(&r, 8), "REELGOLD", 8);
    assert_int_equal(take_u32(&r), 1);
    uint32_t cases = take_u32(&r);
    for (uint32_t i = 0; i < cases; i++) {
        golden g;
        reel_scope s = reel_scope_begin();
        take_case(&r, &g);
        check_case(&g);
        for (int k = 0; k < reel__n_ops; k++) seen[k] += reel__ops[k] == g.op;
        with_gradient += g.gy != NULL;
        reel_scope_end(s);
    }
    assert_true(r.at == r.end);
    free(data);
    print_message("golden: %d cases, %d with gradients, each in two memory orders\n",
                  (int)cases, with_gradient);
    assert_true(cases >= LEAST_CASES);
    for (int k = 0; k < reel__n_ops; k++) {
        const char *reason = reason_without(reel__ops[k]->name);
        if (!seen[k] == (reason != NULL)) continue;
        fprintf(stderr, "%s has %s\n", reel__ops[k]->name,
                reason ? "cases and a reason to have none" : "no golden case");
        failures++;
    }
    assert_int_equal(failures, 0);
}

/* A line a record: name, dtypes, gradient, attributes, samples; tabs between them. */
static int print_records(void)
{
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        printf("%s\t%d\t%d\t", op->name, op->dtypes, op->vjp != NULL);
        for (int k = 0; op->attrs && k < op->attrs->n_fields; k++) {
            const reel__attr_field *f = &op->attrs->field[k];
            printf("%s%s:%s:%d", k ? "," : "", f->name,
                   f->type == REEL_ATTR_REAL  ? "real"
                   : reel__attr_unit(f) > 8   ? "number"
                   : f->type == REEL_ATTR_INT ? "int"
                                              : "row",
                   f->count);
        }
        putchar('\t');
        for (const char *p = op->sample; p && *p; p++) putchar(*p == '\n' ? '\x1f' : *p);
        putchar('\n');
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--records") == 0) return print_records();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
