/* test_random_graphs.c: functions drawn from a seed, computed in every way that there is:
 *
 *   eager = traced = after each pass = after all passes = planned, freed memory poisoned;
 *   gradients of the graph by all inputs and parameters = gradients of eager, after each pass
 *   and after all.
 *
 *     test_random_graphs --seed 7 --count 1       one of them again
 *     test_random_graphs --count 100000           a night's work */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/own_ops.h"
#include "support/random_net.h"

/* A sanitizer is twenty times slower; CI runs both. */
#ifdef __SANITIZE_ADDRESS__
enum { DEFAULT_COUNT = 150 };
#else
enum { DEFAULT_COUNT = 1000 };
#endif

/* What one seed is computed with. */
typedef struct trial trial;
struct trial {
    random_net net;
    int64_t batch;
    reel_tensor *x[RANDOM_NET_INPUTS];
    double *want;      /* eager's result */
    double *want_grad; /* eager's gradients, all in one row */
    int64_t n, n_grad;
    double scale;      /* largest magnitude of want */
    reel_graph *graph; /* traced */
    trial *wide; /* the same function of the same numbers in f64; made when asked for */
};

static int failures;
static int integer_layers; /* in graphs after all passes */

static bool fail(const trial *t, const char *what, double off)
{
    fprintf(stderr, "seed %llu, batch %lld: %s: off by %g%s%s\n",
            (unsigned long long)t->net.seed, (long long)t->batch, what, off,
            reel_failed() ? "; " : "", reel_failed() ? reel_error_message() : "");
    reel_error_clear();
    failures++;
    return false;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static double *numbers(reel_tensor *y, int64_t *n)
{
    *n = y ? reel_numel(y) : 0;
    double *v = calloc((size_t)*n + 1, sizeof *v);
    if (y && v) (void)reel_read(y, v, REEL_F64);
    return v;
}

/* The largest difference; infinite where the shapes differ or only one is a number. */
static double distance(const double *a, int64_t n_a, const double *b, int64_t n_b)
{
    double worst = n_a == n_b ? 0 : INFINITY;
    for (int64_t i = 0; i < n_a && n_a == n_b; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0 || a[i] == b[i]) continue;
        double off = fabs(a[i] - b[i]);
        worst = off > worst || isnan(off) ? (isnan(off) ? INFINITY : off) : worst;
    }
    return worst;
}

static double tolerance(const trial *t)
{
    return t->net.dtype == REEL_F64 ? 1e-10 : 1e-4;
}

/* ---- rounding that is amplified --------------------------------------------------------------
 *
 * A norm divides by a deviation that may be small, and multiplies what was rounded before it: an
 * f32 result can be far from another one of equal right, and no constant says how far. What f64
 * gives does: the passes must give the same there, within its tolerance, and in f32 may be off
 * from it by a few times of what eager is. */
enum { TIMES_EAGER = 8 };

static bool eager(trial *t);

static trial *widened(const trial *t)
{
    trial *w = calloc(1, sizeof *w);
    w->net = t->net;
    w->net.dtype = REEL_F64;
    w->batch = t->batch;
    for (int i = 0; i < t->net.n_param; i++) {
        reel_tensor *p = reel_detach(reel_cast(t->net.param[i], REEL_F64));
        w->net.param[i] = reel_keep(reel_requires_grad(p, true));
    }
    for (int i = 0; i < RANDOM_NET_INPUTS; i++)
        w->x[i] = reel_keep(reel_detach(reel_cast(t->x[i], REEL_F64)));
    if (eager(w))
        w->graph =
            reel_trace_function(random_net_run, &w->net, w->x, RANDOM_NET_INPUTS, NULL);
    return w;
}

static void free_trial(trial *t)
{
    reel_graph_free(t->graph);
    free(t->want);
    free(t->want_grad);
    random_net_free(&t->net);
    if (!t->wide) return;
    for (int i = 0; i < RANDOM_NET_INPUTS; i++) reel_release(t->wide->x[i]);
    free_trial(t->wide);
    free(t->wide);
}

static bool right_in_f64(const trial *w, const reel_optimize_opts *opts)
{
    reel_graph *g = w->graph ? reel_graph_copy(w->graph) : NULL;
    reel_tensor *y = NULL;
    int64_t n;
    if (g && !reel_graph_optimize(g, opts))
        (void)reel_graph_run(g, w->x, RANDOM_NET_INPUTS, &y, 1);
    double *have = numbers(y, &n);
    double off = y ? distance(w->want, w->n, have, n) : INFINITY;
    free(have);
    reel_graph_free(g);
    return off <= tolerance(w) * (1 + w->scale);
}

static bool is_rounding(trial *t, const reel_optimize_opts *opts, const double *have,
                        int64_t n)
{
    if (t->net.dtype != REEL_F32 || !opts || opts->exact || reel_failed()) return false;
    if (!t->wide) t->wide = widened(t);
    double own = distance(t->wide->want, t->wide->n, t->want, t->n);
    double off = distance(t->wide->want, t->wide->n, have, n);
    return right_in_f64(t->wide, opts) && off <= TIMES_EAGER * own;
}

/* opts: what made a graph of the traced one; NULL: nothing. tolerance 0: the same bits. */
static bool agrees(trial *t, const char *what, const reel_optimize_opts *opts,
                   reel_tensor *y, double tolerance)
{
    int64_t n;
    double *have = numbers(reel_failed() ? NULL : y, &n);
    double off = reel_failed() ? INFINITY : distance(t->want, t->n, have, n);
    bool good = off <= tolerance * (1 + t->scale) || is_rounding(t, opts, have, n);
    free(have);
    return good || fail(t, what, off);
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Gradients of the sum of y by inputs and parameters, one after another: zeros where none flows,
 * as where an integer is between; a program of rows asks for one all the same. */
static double *gradients(const trial *t, reel_tensor *y, int64_t *n)
{
    double *all = NULL;
    *n = 0;
    if (!y || (reel_needs_grad(y) && reel_backward(reel_sum(y, REEL_ALL, false), NULL)))
        return NULL;
    for (int i = 0; i < RANDOM_NET_INPUTS + t->net.n_param; i++) {
        reel_tensor *x =
            i < RANDOM_NET_INPUTS ? t->x[i] : t->net.param[i - RANDOM_NET_INPUTS];
        reel_tensor *g = reel_grad_of(x);
        int64_t size = reel_numel(x);
        double *more = realloc(all, (size_t)(*n + size) * sizeof *all);
        if (!more) break;
        all = more;
        for (int64_t k = 0; k < size; k++) all[*n + k] = 0;
        if (g) (void)reel_read(g, all + *n, REEL_F64);
        *n += size;
        reel_set_grad(x, NULL);
    }
    return all;
}

static bool gradients_agree(const trial *t, const char *what, reel_graph *g, double tol)
{
    reel_tensor *y = NULL;
    int64_t n = 0;
    double scale = 0;
    reel_status st = reel_graph_run(g, t->x, RANDOM_NET_INPUTS, &y, 1);
    double *have = st ? NULL : gradients(t, y, &n);
    for (int64_t i = 0; i < t->n_grad; i++) scale = fmax(scale, fabs(t->want_grad[i]));
    double off = st ? INFINITY : distance(t->want_grad, t->n_grad, have, n);
    free(have);
    return off <= tol * (1 + scale) || fail(t, what, off);
}

/* ---- the ways ---------------------------------------------------------------------------------- */

static bool replayed(trial *t, const char *what, const reel_optimize_opts *opts,
                     reel_graph *g, double tol)
{
    reel_tensor *y = NULL;
    reel_scope s = reel_scope_begin();
    if (!reel_graph_check(g)) (void)reel_graph_run(g, t->x, RANDOM_NET_INPUTS, &y, 1);
    bool good = agrees(t, what, opts, y, tol);
    reel_scope_end(s);
    return good;
}

static bool planned(trial *t, const char *what, const reel_optimize_opts *opts,
                    const reel_graph *g, double tol)
{
    const reel_executor_opts poison = {.poison = true};
    reel_executor *e = reel_executor_new(g, &poison);
    bool good = true;
    for (int i = 0; i < 2 && good; i++) { /* the second run finds what the first left */
        reel_tensor *y = NULL;
        reel_scope s = reel_scope_begin();
        if (e) (void)reel_executor_run(e, t->x, RANDOM_NET_INPUTS, &y, 1);
        good = agrees(t, what, opts, y, tol);
        reel_scope_end(s);
    }
    reel_executor_free(e);
    return good;
}

/* In f32 relu's gradient jumps: where rounding differs, it may differ as well. */
static bool optimized_gradients(const trial *t, const char *passes, reel_graph *g)
{
    return t->net.dtype != REEL_F64 || gradients_agree(t, passes, g, 1e-8);
}

static bool each_pass(trial *t)
{
    bool good = true;
    for (int i = 0; i < reel_pass_count() && good; i++) {
        reel_graph *g = reel_graph_copy(t->graph);
        const reel_optimize_opts one = {.only = reel_pass_name(i)};
        good = !reel_graph_optimize(g, &one) || fail(t, reel_pass_name(i), INFINITY);
        good = good && replayed(t, reel_pass_name(i), &one, g, tolerance(t));
        good = good && optimized_gradients(t, reel_pass_name(i), g);
        reel_graph_free(g);
    }
    return good;
}

static void count_integer_layers(const reel_graph *g)
{
    for (int i = 0; i < reel_graph_nodes(g); i++) {
        const char *op = reel_graph_node_op(g, i);
        integer_layers += !strcmp(op, "conv2d_int8") || !strcmp(op, "linear_int8");
    }
}

static bool all_passes(trial *t, bool exact)
{
    const char *what = exact ? "all exact passes" : "all passes";
    reel_graph *g = reel_graph_copy(t->graph);
    const reel_optimize_opts opts = {.exact = exact};
    bool good = !reel_graph_optimize(g, &opts) || fail(t, what, INFINITY);
    count_integer_layers(g);
    good =
        good && replayed(t, what, &opts, g, exact ? 0 : tolerance(t)) &&
        planned(t, exact ? "exact passes, planned" : "all passes, planned", &opts, g,
                exact ? 0 : tolerance(t)) &&
        optimized_gradients(
            t, exact ? "gradients after exact passes" : "gradients after all passes", g);
    reel_graph_free(g);
    return good;
}

/* A result to compare with: not one that is all rounding. */
static bool eager(trial *t)
{
    for (int i = 0; i < RANDOM_NET_INPUTS; i++) reel_requires_grad(t->x[i], true);
    reel_tensor *y = random_net_run(&t->net, t->x, RANDOM_NET_INPUTS);
    t->want = numbers(y, &t->n);
    for (int64_t i = 0; i < t->n; i++) t->scale = fmax(t->scale, fabs(t->want[i]));
    if (!y || !(t->scale < 1e3)) return false;
    t->want_grad = gradients(t, y, &t->n_grad);
    return true;
}

/* True if it was tried; a seed whose function is of no use is left out. */
static bool try_seed(uint64_t seed)
{
    trial t = {.net = random_net_new(seed), .batch = 1 + (int64_t)(seed % 4)};
    reel_scope s = reel_scope_begin();
    reel_seed(seed);
    random_net_inputs(&t.net, t.batch, t.x);
    bool useful = eager(&t);
    if (useful)
        t.graph =
            reel_trace_function(random_net_run, &t.net, t.x, RANDOM_NET_INPUTS, NULL);
    reel_graph *g = t.graph;
    if (useful && !g) fail(&t, "trace", INFINITY);
    if (!useful && reel_failed()) fail(&t, "eager", INFINITY);
    if (g && replayed(&t, "traced", NULL, g, 0) &&
        gradients_agree(&t, "gradients", g, t.net.dtype == REEL_F64 ? 1e-13 : 1e-5) &&
        planned(&t, "planned", NULL, g, 0) && each_pass(&t) && all_passes(&t, true))
        (void)all_passes(&t, false);
    free_trial(&t);
    reel_scope_end(s);
    return useful;
}

static long long number(const char *text)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    if (*text && !*end && n >= 0) return n;
    fprintf(stderr, "test_random_graphs: %s is not a number\n", text);
    exit(2);
}

int main(int argc, char **argv)
{
    long long seed = 1, count = DEFAULT_COUNT, tried = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) seed = number(argv[i + 1]);
        if (strcmp(argv[i], "--count") == 0) count = number(argv[i + 1]);
    }
    int64_t live = reel_live_objects();
    for (long long i = 0; i < count && failures < 10; i++)
        tried += try_seed((uint64_t)(seed + i));
    printf("%lld of %lld functions compared, %d integer layers, %d failures\n", tried,
           count, integer_layers, failures);
    if (reel_live_objects() != live) {
        fprintf(stderr, "%lld objects are left\n",
                (long long)(reel_live_objects() - live));
        failures++;
    }
    if (count > 100 && !own_calls()) {
        fprintf(stderr, "no operator of a user's own was drawn\n");
        failures++;
    }
    if (count > 100 && !integer_layers) {
        fprintf(stderr, "no layer was computed in integers\n");
        failures++;
    }
    if (count > 100 && tried < count * 8 / 10) {
        fprintf(stderr, "too many functions are of no use\n");
        failures++;
    }
    return failures ? 1 : 0;
}
