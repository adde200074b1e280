/* test_asked.c: attributes keep what was asked. Chains of functions with sizes, places and
 * steps drawn below, at, above and far above the size that they meet are traced at one batch
 * size and run at others, replayed, optimized and planned: whatever they do must be what the
 * function does there, and where that is an error, an error.
 *
 *     test_asked --seed 7 --count 1       one of them again */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph_check.h"
#include "temp_folder.h"

#ifdef __SANITIZE_ADDRESS__
static int count = 60;
#else
static int count = 1000;
#endif
static uint64_t first_seed = 1, state_of_dice;

static uint64_t dice(void)
{
    state_of_dice = state_of_dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return state_of_dice >> 33;
}

static int below(int n)
{
    return (int)(dice() % (uint64_t)n);
}

/* ---- chains ---------------------------------------------------------------------------- */

typedef enum kind {
    SLICE,
    NARROW,
    SELECT,
    FLATTEN,
    UNSQUEEZE,
    RESHAPE,
    EXPAND,
    PAD,
    SUM,
    MEAN,
    FLIP,
    TRANSPOSE,
    HALVES,
    POINTWISE,
    KINDS
} kind;
static const char *const kind_name[] = {
    "slice", "narrow", "select", "flatten",   "unsqueeze", "reshape", "expand",
    "pad",   "sum",    "mean",   "transpose", "flip",      "halves",  "pointwise"};

typedef struct link {
    kind kind;
    int dim;
    int64_t a, b, c;
} link;

enum { LINKS = 5 };
typedef struct chain {
    link at[LINKS];
    int n;
} chain;

/* A place or a size; sizes met are 1 to 60. */
static int64_t place(void)
{
    static const int64_t far[] = {INT64_MAX, INT64_MIN, INT64_MAX - 1, 1000, -1000, 61};
    if (below(4) == 0) return far[below(6)];
    return below(3) ? below(12) : -below(12);
}

static chain draw_chain(uint64_t seed)
{
    chain p = {.n = 0};
    state_of_dice = seed * UINT64_C(0x9e3779b97f4a7c15);
    (void)dice();
    p.n = 1 + below(LINKS);
    for (int i = 0; i < p.n; i++) {
        link *l = &p.at[i];
        l->kind = (kind)(below(3) ? below(KINDS) : SLICE);
        l->dim = below(2) ? 0 : below(4);
        l->a = place();
        l->b = place();
        l->c = 1 + below(4) * below(3);
        if (l->kind == NARROW && below(4)) l->b = below(5);
        if (l->kind == PAD) l->a = below(3), l->b = below(3);
        if (below(16) == 0) l->c = INT64_MAX;
    }
    return p;
}

static void print_chain(const chain *p)
{
    for (int i = 0; i < p->n; i++)
        fprintf(stderr, "%s%s(%d, %lld, %lld, %lld)", i ? " " : "",
                kind_name[p->at[i].kind], p->at[i].dim, (long long)p->at[i].a,
                (long long)p->at[i].b, (long long)p->at[i].c);
}

static reel_tensor *padded(reel_tensor *x, int d, const link *l)
{
    reel_shape before = {.rank = reel_rank(x)}, after = before;
    before.dim[d] = l->a;
    after.dim[d] = l->b;
    return reel_pad(x, before, after, 2);
}

static reel_tensor *expanded(reel_tensor *x, int64_t n)
{
    reel_shape to = {.rank = reel_rank(x) + 1, .dim = {n}};
    for (int i = 1; i < to.rank; i++) to.dim[i] = -1;
    return reel_expand(reel_unsqueeze(x, 0), to);
}

/* What was cut off and what was left, the other way around. */
static reel_tensor *halves(reel_tensor *x, int d, int64_t at)
{
    reel_tensor *part[] = {reel_slice(x, d, at, REEL_END, 1), reel_slice(x, d, 0, at, 1)};
    return reel_cat(part, 2, d);
}

static reel_tensor *apply(const link *l, reel_tensor *x)
{
    int rank = reel_rank(x), d = rank ? l->dim % rank : 0, last = rank - 1;
    if (!rank || rank > 6) return reel_square(x);
    switch (l->kind) {
    case SLICE: return reel_slice(x, d, l->a, l->b, l->c);
    case NARROW: return reel_narrow(x, d, l->a, l->b);
    case SELECT: return reel_select(x, d, l->a);
    case FLATTEN: return reel_flatten(x, d, last);
    case UNSQUEEZE: return reel_squeeze(reel_unsqueeze(x, d), d);
    case RESHAPE: return reel_reshape(x, REEL_SHAPE(1, -1));
    case EXPAND: return expanded(x, l->c % 7);
    case PAD: return padded(x, d, l);
    case SUM: return reel_sum(x, REEL_DIMS(d), l->c % 2 == 0);
    case MEAN: return reel_mean(x, REEL_DIMS(d), l->c % 2 == 0);
    case FLIP: return reel_flip(x, REEL_DIMS(d));
    case TRANSPOSE: return reel_transpose(x, 0, last);
    case HALVES: return halves(x, d, l->a);
    default: return reel_neg(reel_add_scalar(x, 3));
    }
}

static reel_tensor *run_chain(void *user, reel_tensor *const x[], int n)
{
    const chain *p = user;
    reel_tensor *y = x[0];
    (void)n;
    for (int i = 0; i < p->n; i++) y = apply(&p->at[i], y);
    return reel_copy(y); /* a result of its own */
}

/* ---- one chain ----------------------------------------------------------------------------- */

static reel_tensor *input(int64_t batch)
{
    return reel_reshape(reel_arange_i64(0, batch * 12, 1, REEL_F32),
                        REEL_SHAPE(batch, 3, 4));
}

static bool near_to(reel_tensor *a, reel_tensor *b)
{
    int64_t n = reel_numel(a);
    bool same = reel_rank(a) == reel_rank(b);
    for (int i = 0; i < reel_rank(a) && same; i++)
        same = reel_size(a, i) == reel_size(b, i);
    double *x = calloc((size_t)n + 1, sizeof *x), *y = calloc((size_t)n + 1, sizeof *y);
    same = same && !reel_read(a, x, REEL_F64) && !reel_read(b, y, REEL_F64);
    for (int64_t i = 0; i < n && same; i++)
        same = x[i] == y[i] || (isnan(x[i]) && isnan(y[i])) ||
               fabs(x[i] - y[i]) <= 1e-5 * (1 + fabs(y[i]));
    free(x);
    free(y);
    return same;
}

static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 10, 11, 12, 13, 23, 60};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

typedef reel_status runner(void *what, reel_tensor *x, reel_tensor **y);

static reel_status replay(void *graph, reel_tensor *x, reel_tensor **y)
{
    return reel_graph_run(graph, &x, 1, y, 1);
}

static reel_status execute(void *executor, reel_tensor *x, reel_tensor **y)
{
    return reel_executor_run(executor, &x, 1, y, 1);
}

/* A slice that is empty at every large size leaves a reshape that need not copy, and where it
 * is not empty that is said, not computed. */
static int refusals;

static bool may_refuse(const char *message)
{
    bool may = strstr(message, "is no view of") != NULL;
    refusals += may;
    return may;
}

/* Equal to the function at every size; false, with a message, if not. */
static bool agrees(chain *p, uint64_t seed, int64_t batch, const char *how, runner *run,
                   void *what)
{
    for (int i = 0; i < N_SIZES; i++) {
        char message[512] = "";
        reel_scope s = reel_scope_begin();
        reel_tensor *x = input(sizes[i]), *want = run_chain(p, &x, 1), *got = NULL;
        reel_error_clear();
        bool failed = run(what, x, &got) != REEL_OK;
        if (failed) (void)snprintf(message, sizeof message, "%s", reel_error_message());
        reel_error_clear();
        bool same = failed ? !want || may_refuse(message)
                    : want ? near_to(got, want)
                           : strcmp(how, "as a file") == 0; /* ONNX clips always */
        reel_scope_end(s);
        if (same) continue;
        fprintf(stderr, "seed %llu, traced at %lld, %s at %lld: %s%s\n    ",
                (unsigned long long)seed, (long long)batch, how, (long long)sizes[i],
                failed  ? "is refused: "
                : !want ? "gives a result where the function fails"
                        : "differs",
                message);
        print_chain(p);
        fprintf(stderr, "\n");
        return false;
    }
    return true;
}

/* Whether the function runs where a trace of that batch must run it. */
static bool runs(chain *p, int64_t batch)
{
    const int64_t at[] = {2, 3, 7, batch, 60, 130, 2100};
    bool good = true;
    for (int i = 0; i < 7 && good; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = input(at[i]);
        good = run_chain(p, &x, 1) != NULL;
        reel_error_clear();
        reel_scope_end(s);
    }
    return good;
}

static int written;

/* A file of it, read again; some chains have no form there, which is said. */
static bool check_file(chain *p, uint64_t seed, int64_t batch, reel_graph *g)
{
    reel_onnx_export(g, temp_path("asked.onnx"), NULL);
    reel_graph *h = reel_failed() ? NULL : reel_onnx_load(temp_path("asked.onnx"), NULL);
    bool said = reel_error_status() != REEL_ERR_INTERNAL &&
                reel_error_status() != REEL_ERR_NUMERIC;
    if (!h && !said)
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed,
                reel_error_message());
    reel_error_clear();
    bool good = h ? agrees(p, seed, batch, "as a file", replay, h) : said;
    written += h != NULL;
    reel_graph_free(h);
    return good;
}

/* 1: as it must be, 0: wrong, -1: the trace was refused where it may be. */
static int check_chain(uint64_t seed)
{
    static const int64_t traced_at[] = {1, 4, 11, 40};
    chain p = draw_chain(seed);
    int64_t batch = traced_at[seed % 4];
    reel_scope s = reel_scope_begin();
    reel_tensor *x = input(batch);
    reel_graph *g = reel_trace_function(run_chain, &p, &x, 1, NULL);
    reel_scope_end(s);
    if (!g) {
        char message[512];
        (void)snprintf(message, sizeof message, "%s", reel_error_message());
        reel_error_clear();
        if (!runs(&p, batch) || strstr(message, "of what an earlier slice left") ||
            strstr(message, "more than are tried") || may_refuse(message))
            return -1;
        fprintf(stderr, "seed %llu, traced at %lld: refused: %s\n    ",
                (unsigned long long)seed, (long long)batch, message);
        print_chain(&p);
        fprintf(stderr, "\n");
        return 0;
    }
    bool good = agrees(&p, seed, batch, "replayed", replay, g);
    if (good && reel_graph_optimize(g, NULL)) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed,
                reel_error_message());
        reel_error_clear();
        good = false;
    }
    good = good && agrees(&p, seed, batch, "optimized", replay, g);
    reel_executor *e = good ? reel_executor_new(g, NULL) : NULL;
    good = e && agrees(&p, seed, batch, "planned", execute, e);
    reel_executor_free(e);
    if (good && seed % 4 == 1) good = check_file(&p, seed, batch, g);
    reel_graph_free(g);
    return good;
}

static void test_chains(void **state)
{
    (void)state;
    int wrong = 0, traced = 0;
    for (int i = 0; i < count; i++) {
        int is = check_chain(first_seed + (uint64_t)i);
        wrong += is == 0;
        traced += is == 1;
    }
    fprintf(stderr, "%d chains, %d traced, %d files, %d reshapes refused, %d wrong\n",
            count, traced, written, refusals, wrong);
    assert_int_equal(wrong, 0);
    assert_true(refusals * 20 <= count);
    assert_true(count < 50 || traced > count / 4);
}

/* The first ten rows, traced at four: the whole of any batch that a trace begins with. */
static void test_first_ten(void **state)
{
    (void)state;
    chain p = {.at = {{.kind = SLICE, .a = 0, .b = 10, .c = 1}}, .n = 1};
    reel_scope s = reel_scope_begin();
    reel_tensor *x = input(4), *of_20 = input(20), *y = NULL;
    reel_graph *g = reel_trace_function(run_chain, &p, &x, 1, NULL);
    no_error();
    assert_int_equal(reel_graph_run(g, &of_20, 1, &y, 1), REEL_OK);
    assert_int_equal(reel_size(y, 0), 10);
    char *text = reel_graph_to_string(g);
    assert_non_null(strstr(text, "start=0 end=10 step=1"));
    free(text);
    assert_true(check_file(&p, 0, 4, g));
    assert_int_equal(written, 1);
    reel_graph_free(g);
    reel_scope_end(s);
}

/* A number of rows that no trace tries is an error, and so is a slice of what a slice left that
 * looks like all of it at every size that is tried. */
static void test_what_is_refused(void **state)
{
    (void)state;
    chain p[] = {{.at = {{.kind = SLICE, .a = 0, .b = 100000, .c = 1}}, .n = 1},
                 {.at = {{.kind = SLICE, .a = -8, .b = 2, .c = 1},
                         {.kind = SLICE, .a = 1, .b = 2, .c = 1}},
                  .n = 2}};
    const char *word[] = {"beyond 4096 rows", "of what an earlier slice left"};
    for (int i = 0; i < 2; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = input(4);
        assert_null(reel_trace_function(run_chain, &p[i], &x, 1, NULL));
        expect(REEL_ERR_STATE, word[i]);
        const reel_trace_opts fixed = {.fixed_batch = true};
        reel_graph *g = reel_trace_function(run_chain, &p[i], &x, 1, &fixed);
        no_error();
        reel_graph_free(g);
        reel_scope_end(s);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) first_seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--count") == 0) count = atoi(argv[i + 1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_first_ten, temp_clean),
        cmocka_unit_test_setup(test_what_is_refused, temp_clean),
        cmocka_unit_test_setup(test_chains, temp_clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
