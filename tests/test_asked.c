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

/* ---- what can be asked --------------------------------------------------------------------- */

/* A step of a chain: row `kind` of the table below, at a dimension, with places, sizes or steps. */
typedef struct link {
    int kind, dim;
    int64_t a, b, c;
} link;

static reel_tensor *slice(const link *l, reel_tensor *x, int d)
{
    return reel_slice(x, d, l->a, l->b, l->c);
}

static reel_tensor *narrow(const link *l, reel_tensor *x, int d)
{
    return reel_narrow(x, d, l->a, l->b);
}

static reel_tensor *select_one(const link *l, reel_tensor *x, int d)
{
    return reel_select(x, d, l->a);
}

static reel_tensor *flatten(const link *l, reel_tensor *x, int d)
{
    (void)l;
    return reel_flatten(x, d, -1);
}

static reel_tensor *there_and_back(const link *l, reel_tensor *x, int d)
{
    (void)l;
    return reel_squeeze(reel_unsqueeze(x, d), d);
}

static reel_tensor *one_row(const link *l, reel_tensor *x, int d)
{
    (void)l, (void)d;
    return reel_reshape(x, REEL_SHAPE(1, -1));
}

static reel_tensor *expanded(const link *l, reel_tensor *x, int d)
{
    (void)d;
    reel_shape to = {.rank = reel_rank(x) + 1, .dim = {l->c % 7}};
    for (int i = 1; i < to.rank; i++) to.dim[i] = -1;
    return reel_expand(reel_unsqueeze(x, 0), to);
}

static reel_tensor *padded(const link *l, reel_tensor *x, int d)
{
    reel_shape before = {.rank = reel_rank(x)}, after = before;
    before.dim[d] = l->a;
    after.dim[d] = l->b;
    return reel_pad(x, before, after, 2);
}

static reel_tensor *flipped(const link *l, reel_tensor *x, int d)
{
    (void)l;
    return reel_flip(x, REEL_DIMS(d));
}

static reel_tensor *transposed(const link *l, reel_tensor *x, int d)
{
    (void)l, (void)d;
    return reel_transpose(x, 0, -1);
}

/* What was cut off and what was left, the other way around. */
static reel_tensor *halves(const link *l, reel_tensor *x, int d)
{
    reel_tensor *part[] = {reel_slice(x, d, l->a, REEL_END, 1),
                           reel_slice(x, d, 0, l->a, 1)};
    return reel_cat(part, 2, d);
}

static reel_tensor *pointwise(const link *l, reel_tensor *x, int d)
{
    (void)l, (void)d;
    return reel_neg(reel_add_scalar(x, 3));
}

/* ---- over a dimension */

static reel_tensor *sum(const link *l, reel_tensor *x, int d)
{
    return reel_sum(x, REEL_DIMS(d), l->c % 2 == 0);
}

static reel_tensor *mean(const link *l, reel_tensor *x, int d)
{
    return reel_mean(x, REEL_DIMS(d), l->c % 2 == 0);
}

static reel_tensor *logsumexp(const link *l, reel_tensor *x, int d)
{
    return reel_logsumexp(x, d, l->c % 2 == 0);
}

static reel_tensor *largest(const link *l, reel_tensor *x, int d)
{
    return reel_max(x, REEL_DIMS(d), l->c % 2 == 0);
}

static reel_tensor *softmax(const link *l, reel_tensor *x, int d)
{
    (void)l;
    return reel_softmax(x, d);
}

/* ---- windows: of the last two dimensions, one of which may be the batch */

/* [.., 1, h, w] */
static reel_tensor *image(reel_tensor *x)
{
    const int rank = reel_rank(x);
    if (rank < 2 || rank > 4) return NULL;
    if (rank == 2) x = reel_unsqueeze(x, 0);
    if (rank == 4) x = reel_flatten(x, 0, 1);
    return reel_unsqueeze(x, 1);
}

static int window(const link *l)
{
    return 1 + (int)l->a;
}

static reel_pool2d_opts walk(const link *l)
{
    return (reel_pool2d_opts){.stride = 1 + (int)l->b,
                              .padding = (int)(l->c % 2) * (int)(1 + l->a) / 2,
                              .ceil_mode = l->dim % 2 == 1};
}

static reel_tensor *max_pool(const link *l, reel_tensor *x, int d)
{
    const reel_pool2d_opts o = walk(l);
    (void)d;
    return (x = image(x)) ? reel_max_pool2d(x, window(l), &o) : NULL;
}

static reel_tensor *avg_pool(const link *l, reel_tensor *x, int d)
{
    const reel_pool2d_opts o = walk(l);
    (void)d;
    return (x = image(x)) ? reel_avg_pool2d(x, window(l), &o) : NULL;
}

static reel_tensor *adaptive_pool(const link *l, reel_tensor *x, int d)
{
    (void)d;
    x = image(x);
    return x ? reel_adaptive_avg_pool2d(x, 1 + (int)l->a, 1 + (int)l->b) : NULL;
}

static reel_tensor *conv(const link *l, reel_tensor *x, int d)
{
    const reel_conv2d_opts o = {.stride = 1 + (int)l->b, .padding = (int)(l->c % 2)};
    (void)d;
    x = image(x);
    if (!x) return NULL;
    const int64_t side = 1 + l->a;
    reel_tensor *w = reel_full(REEL_SHAPE(2, 1, side, side), 0.25, REEL_F32);
    return reel_conv2d(x, w, NULL, &o);
}

/* ---- by index */

static reel_tensor *chosen(const link *l, reel_tensor *x, int d)
{
    const int64_t at[] = {l->b, 0, l->a};
    return reel_index_select(x, d, reel_from(at, REEL_SHAPE(3), REEL_I64));
}

/* Place l->a for each line along d. */
static reel_tensor *index_of(const link *l, reel_tensor *x, int d)
{
    reel_tensor *none = reel_mul_scalar(reel_narrow(x, d, 0, 1), 0);
    return reel_add_scalar(reel_cast(reel_detach(none), REEL_I64), (double)l->a);
}

static reel_tensor *gathered(const link *l, reel_tensor *x, int d)
{
    return reel_gather(x, d, index_of(l, x, d));
}

static reel_tensor *scattered(const link *l, reel_tensor *x, int d)
{
    return reel_scatter_add(x, d, index_of(l, x, d), reel_narrow(x, d, 0, 1));
}

/* a, b: below what they are drawn; 0: places and sizes, near and far. */
static const struct {
    const char *name;
    reel_tensor *(*apply)(const link *l, reel_tensor *x, int d);
    int a, b;
} kinds[] = {
    {"slice", slice, 0, 0},
    {"narrow", narrow, 0, 5},
    {"select", select_one, 0, 0},
    {"flatten", flatten, 0, 0},
    {"unsqueeze", there_and_back, 0, 0},
    {"reshape", one_row, 0, 0},
    {"expand", expanded, 0, 0},
    {"pad", padded, 3, 3},
    {"flip", flipped, 0, 0},
    {"transpose", transposed, 0, 0},
    {"halves", halves, 0, 0},
    {"pointwise", pointwise, 0, 0},
    {"sum", sum, 0, 0},
    {"mean", mean, 0, 0},
    {"logsumexp", logsumexp, 0, 0},
    {"max", largest, 0, 0},
    {"softmax", softmax, 0, 0},
    {"max_pool", max_pool, 3, 3},
    {"avg_pool", avg_pool, 3, 3},
    {"adaptive_pool", adaptive_pool, 3, 3},
    {"conv", conv, 3, 3},
    {"index_select", chosen, 12, 5},
    {"gather", gathered, 12, 0},
    {"scatter_add", scattered, 12, 0},
};
enum { SLICE, KINDS = sizeof kinds / sizeof *kinds };

/* ---- chains ---------------------------------------------------------------------------- */

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
        l->kind = below(3) ? below(KINDS) : SLICE;
        l->dim = below(2) ? 0 : below(4);
        l->a = place();
        l->b = place();
        l->c = 1 + below(4) * below(3);
        if (kinds[l->kind].a) l->a = below(kinds[l->kind].a);
        if (kinds[l->kind].b) l->b = below(kinds[l->kind].b);
        if (below(16) == 0) l->c = INT64_MAX;
    }
    return p;
}

static void print_chain(const chain *p)
{
    for (int i = 0; i < p->n; i++)
        fprintf(stderr, "%s%s(%d, %lld, %lld, %lld)", i ? " " : "",
                kinds[p->at[i].kind].name, p->at[i].dim, (long long)p->at[i].a,
                (long long)p->at[i].b, (long long)p->at[i].c);
}

/* Where a kind has no meaning, squares stand in its place. */
static reel_tensor *apply(const link *l, reel_tensor *x)
{
    const int rank = reel_rank(x);
    reel_tensor *y = NULL;
    if (rank && rank <= 6) y = kinds[l->kind].apply(l, x, l->dim % rank);
    return y || reel_failed() ? y : reel_square(x);
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

/* Each number by itself, or, where `together`, by the largest: gradients are sums in which terms
 * cancel. */
static bool near_to(reel_tensor *a, reel_tensor *b, bool together)
{
    int64_t n = reel_numel(a);
    bool same = reel_rank(a) == reel_rank(b);
    for (int i = 0; i < reel_rank(a) && same; i++)
        same = reel_size(a, i) == reel_size(b, i);
    double *x = calloc((size_t)n + 1, sizeof *x), *y = calloc((size_t)n + 1, sizeof *y);
    same = same && !reel_read(a, x, REEL_F64) && !reel_read(b, y, REEL_F64);
    double size = 0;
    for (int64_t i = 0; i < n && same && together; i++)
        if (isfinite(y[i])) size = fmax(size, fabs(y[i]));
    for (int64_t i = 0; i < n && same; i++)
        same = x[i] == y[i] || (isnan(x[i]) && isnan(y[i])) ||
               fabs(x[i] - y[i]) <= 1e-5 * (1 + fmax(size, fabs(y[i])));
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

/* Functions lay out memory anew where they find that it does not lie as they need it, and what
 * is empty or a single row lies in every way. So a function that copies at one size and not at
 * another is another function there, which is said, not computed: by the reshape that would be
 * no view, by the trace that saw both, by the file. */
static int refusals;
static bool refused_at[16]; /* of this chain, at these sizes */

static bool may_refuse(const char *message)
{
    static const char *const said[] = {"is not a view of", "; copy) does not", "(copy; "};
    bool may = false;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        may = may || strstr(message, said[i]);
    refusals += may;
    return may;
}

/* The same where the trace saw no copy, because it saw nothing but single rows, and the windows
 * of a larger batch are added in another order. */
static bool lays_out(const chain *p)
{
    for (int i = 0; i < p->n; i++)
        if (strstr(kinds[p->at[i].kind].name, "pool") ||
            strcmp(kinds[p->at[i].kind].name, "conv") == 0)
            return true;
    return false;
}

static bool may_be_another(const chain *p, const char *message)
{
    const char *off =
        strstr(message, "gives other values than the function (off by up to ");
    bool may = off && lays_out(p) && strtod(strstr(off, "to ") + 3, NULL) < 1e-4;
    refusals += may;
    return may;
}

/* The gradient of the sum of squares; zeros where there is no path. */
static reel_tensor *slope(reel_tensor *y, reel_tensor *x)
{
    const reel_backward_opts any = {.allow_unused = true};
    reel_tensor *g = NULL, *loss = reel_sum(reel_square(y), REEL_ALL, false);
    /* of what overflows: sums of inf and -inf, in any order */
    if (!reel_needs_grad(loss) || !isfinite(reel_item(loss))) return reel_zeros_like(x);
    reel_grad(&loss, 1, NULL, &x, 1, &g, &any);
    return g || reel_failed() ? g : reel_zeros_like(x);
}

static int slopes;

static bool same_slopes(reel_tensor *got, reel_tensor *want, reel_tensor *x)
{
    reel_tensor *a = slope(got, x), *b = slope(want, x);
    slopes++;
    return a && b && near_to(a, b, true);
}

/* Equal to the function at every size; false, with a message, if not. */
static bool agrees(chain *p, uint64_t seed, int64_t batch, const char *how, runner *run,
                   void *what)
{
    for (int i = 0; i < N_SIZES; i++) {
        char message[512] = "";
        reel_scope s = reel_scope_begin();
        reel_tensor *x = reel_requires_grad(input(sizes[i]), true);
        reel_tensor *want = run_chain(p, &x, 1), *got = NULL;
        reel_error_clear();
        bool failed = run(what, x, &got) != REEL_OK;
        if (failed) (void)snprintf(message, sizeof message, "%s", reel_error_message());
        reel_error_clear();
        bool near = !failed && want && near_to(got, want, false);
        bool whole = near && (run == execute || same_slopes(got, want, x));
        refused_at[i] = refused_at[i] || (failed && may_refuse(message));
        bool same = failed ? !want || refused_at[i]
                    : want ? whole
                           : strcmp(how, "as a file") == 0; /* ONNX clips always */
        if (near && !whole && reel_failed())
            (void)snprintf(message, sizeof message, ": %s", reel_error_message());
        reel_error_clear();
        reel_scope_end(s);
        if (same) continue;
        fprintf(stderr, "seed %llu, traced at %lld, %s at %lld: %s%s\n    ",
                (unsigned long long)seed, (long long)batch, how, (long long)sizes[i],
                failed  ? "is refused: "
                : !want ? "gives a result where the function fails"
                : near  ? "has other slopes"
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
    /* around 1000 is where the places that are far have their bends */
    const int64_t at[] = {2,    3,    7,    batch, 60,   130,  1001,
                          1002, 1004, 1006, 1008,  1010, 1012, 2100};
    bool good = true;
    for (size_t i = 0; i < sizeof at / sizeof *at && good; i++) {
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
    if (!h && !said) {
        fprintf(stderr, "seed %llu: %s\n    ", (unsigned long long)seed,
                reel_error_message());
        print_chain(p);
        fprintf(stderr, "\n");
    }
    reel_error_clear();
    bool good = h ? agrees(p, seed, batch, "as a file", replay, h) : said;
    written += h != NULL;
    reel_graph_free(h);
    return good;
}

/* 1: as it must be, 0: wrong, -1: the trace was refused where it may be. The seed is for
 * messages. */
static int check_chain(chain p, uint64_t seed, int64_t batch, bool file)
{
    memset(refused_at, 0, sizeof refused_at);
    reel_scope s = reel_scope_begin();
    reel_tensor *x = input(batch);
    reel_graph *g = reel_trace_function(run_chain, &p, &x, 1, NULL);
    reel_scope_end(s);
    if (!g) {
        char message[512];
        (void)snprintf(message, sizeof message, "%s", reel_error_message());
        reel_error_clear();
        if (!runs(&p, batch) || strstr(message, "more than are tried") ||
            may_refuse(message) || may_be_another(&p, message))
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
    if (good && file) good = check_file(&p, seed, batch, g);
    reel_graph_free(g);
    return good;
}

static void test_chains(void **state)
{
    (void)state;
    static const int64_t traced_at[] = {1, 4, 11, 40};
    int wrong = 0, traced = 0;
    for (int i = 0; i < count; i++) {
        const uint64_t s = first_seed + (uint64_t)i;
        int is = check_chain(draw_chain(s), s, traced_at[s % 4], s % 4 == 1);
        wrong += is == 0;
        traced += is == 1;
    }
    fprintf(stderr,
            "%d chains, %d traced, %d files, %d slopes, %d reshapes refused, %d wrong\n",
            count, traced, written, slopes, refusals, wrong);
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

static link step(const char *name, int dim, int64_t a, int64_t b, int64_t c)
{
    link l = {.dim = dim, .a = a, .b = b, .c = c};
    while (l.kind < KINDS && strcmp(kinds[l.kind].name, name) != 0) l.kind++;
    assert_true(l.kind < KINDS);
    return l;
}

/* Found by many seeds: windows whose plane follows the batch, which no file can pad for every
 * size, or whose results grow in steps; and an index into what a slice left. A file says what it
 * cannot hold, or holds it. */
static void test_files_of_what_bends(void **state)
{
    (void)state;
    const chain p[] = {
        {.at = {step("transpose", 0, 0, 0, 1), step("max_pool", 1, 2, 2, 1)}, .n = 2},
        {.at = {step("transpose", 0, 0, 0, 1), step("avg_pool", 1, 2, 2, 1)}, .n = 2},
        {.at = {step("transpose", 0, 0, 0, 1), step("adaptive_pool", 0, 0, 1, 1)},
         .n = 2},
        {.at = {step("transpose", 0, 0, 0, 1), step("conv", 0, 0, 2, 1),
                step("mean", 1, 0, 0, 3)},
         .n = 3},
        {.at = {step("slice", 0, 3, 6, 1), step("flatten", 0, 0, 0, 1),
                step("scatter_add", 0, 9, 0, 1)},
         .n = 3},
    };
    for (size_t i = 0; i < sizeof p / sizeof *p; i++)
        for (int64_t batch = 3; batch < 12; batch++)
            assert_int_not_equal(check_chain(p[i], i, batch, true), 0);
}

/* The mean of what a slice left, clipped at one size and not at another, and its gradient. */
static void test_mean_of_a_slice(void **state)
{
    static const int64_t end[] = {2, 5, 10, INT64_MAX, -1};
    (void)state;
    for (int i = 0; i < 5; i++)
        for (int64_t batch = 1; batch < 12; batch += 5) {
            const chain p = {
                .at = {step("slice", 0, 1, end[i], 1), step("mean", 0, 0, 0, 1)}, .n = 2};
            assert_int_not_equal(check_chain(p, 0, batch, false), 0);
        }
    /* in numbers: each of the rows that are there gets its share */
    static const int64_t sizes_met[] = {3, 4, 20};
    chain p = {.at = {step("slice", 0, 1, 10, 1), step("mean", 0, 0, 0, 1)}, .n = 2};
    reel_scope s = reel_scope_begin();
    reel_tensor *x = input(4), *y, *g;
    reel_graph *graph = reel_trace_function(run_chain, &p, &x, 1, NULL);
    no_error();
    for (int i = 0; i < 3; i++) {
        const int64_t n = sizes_met[i], rows = (n < 10 ? n : 10) - 1;
        double v[20 * 12];
        x = reel_requires_grad(input(n), true);
        assert_int_equal(reel_graph_run(graph, &x, 1, &y, 1), REEL_OK);
        y = reel_sum(y, REEL_ALL, false);
        assert_int_equal(reel_grad(&y, 1, NULL, &x, 1, &g, NULL), REEL_OK);
        assert_int_equal(reel_read(g, v, REEL_F64), REEL_OK);
        for (int64_t k = 0; k < n * 12; k++) {
            const bool counts = k >= 12 && k < (rows + 1) * 12;
            assert_true(fabs(v[k] - (counts ? 1 / (double)rows : 0)) < 1e-6);
        }
    }
    reel_graph_free(graph);
    reel_scope_end(s);
}

/* A number of rows that no trace tries is an error. */
static void test_what_is_refused(void **state)
{
    (void)state;
    chain p = {.at = {{.kind = SLICE, .a = 0, .b = 100000, .c = 1}}, .n = 1};
    reel_scope s = reel_scope_begin();
    reel_tensor *x = input(4);
    assert_null(reel_trace_function(run_chain, &p, &x, 1, NULL));
    expect(REEL_ERR_STATE, "beyond 4096 rows");
    const reel_trace_opts fixed = {.fixed_batch = true};
    reel_graph *g = reel_trace_function(run_chain, &p, &x, 1, &fixed);
    no_error();
    reel_graph_free(g);
    reel_scope_end(s);
}

/* Views that look like what they are taken of at every size that is tried, for they or it are
 * empty or of one element there, and are something else at a size beside these. */
static void test_looks_alike_by_chance(void **state)
{
    (void)state;
    const chain p[] = {
        {.at = {step("slice", 0, -8, 2, 1), step("slice", 0, 1, 2, 1)}, .n = 2},
        {.at = {step("max", 2, 0, 0, 3), step("slice", 0, 1, 3, 4),
                step("reshape", 0, 0, 0, 1)},
         .n = 3},
        {.at = {step("slice", 2, 5, 5, 1), step("slice", 0, 4, 0, 7),
                step("transpose", 0, 0, 0, 1), step("flatten", 1, 0, 0, 1)},
         .n = 4},
        {.at = {step("slice", 0, -1, 1, 1), step("transpose", 0, 0, 0, 1)}, .n = 2},
    };
    for (size_t i = 0; i < sizeof p / sizeof *p; i++)
        for (int64_t batch = 1; batch < 12; batch += 5)
            assert_int_equal(check_chain(p[i], i, batch, false), 1);
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
        cmocka_unit_test_setup(test_looks_alike_by_chance, temp_clean),
        cmocka_unit_test_setup(test_files_of_what_bends, temp_clean),
        cmocka_unit_test_setup(test_mean_of_a_slice, temp_clean),
        cmocka_unit_test_setup(test_chains, temp_clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
