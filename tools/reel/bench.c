/* bench.c: `reel bench`: the same inputs again and again, as a server would see them. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_RUNS = 100000, LINES = 15, PROFILED = 20 };

typedef struct timing {
    double *second; /* of each run, sorted */
    int n;
    double total;
} timing;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The most memory that this process had, in bytes; 0 where the system does not say. */
static double peak_memory(void)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = atof(line + 6);
    if (f) (void)fclose(f);
    return kib * 1024;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static reel_status measure(reel_executor *e, const values *x, const values *y,
                           double limit, timing *t)
{
    if (reel_executor_run(e, x->at, x->n, y->at, y->n) || /* plans, prepares, warms up */
        reel_executor_run_into(e, x->at, x->n, y->at, y->n))
        return reel_error_status();
    double start = now();
    while (t->n < MOST_RUNS && (t->n < 3 || t->total < limit)) {
        double begin = now();
        if (reel_executor_run_into(e, x->at, x->n, y->at, y->n))
            return reel_error_status();
        double end = now();
        t->second[t->n++] = end - begin;
        t->total = end - start;
    }
    qsort(t->second, (size_t)t->n, sizeof *t->second, by_value);
    return REEL_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    double part;
} percentiles[] = {{"best", 0}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"worst", 1}};
enum { N_PERCENTILES = sizeof percentiles / sizeof *percentiles };

/* By nearest rank. */
static double latency(const timing *t, int k)
{
    return t->second[(int)(percentiles[k].part * (t->n - 1) + 0.5)];
}

static double rate(const timing *t, int64_t batch)
{
    return (double)(batch ? batch : 1) * t->n / t->total;
}

static double mib(int64_t bytes)
{
    return (double)bytes / 1048576;
}

static void show(const timing *t, int64_t batch, const reel_plan_memory *m,
                 const integers *ints)
{
    printf("%d runs of batch %lld, %d threads, %s\n", t->n, (long long)batch,
           reel_threads(), reel_cpu_isa());
    printf("latency     ");
    for (int k = 0; k < N_PERCENTILES; k++)
        printf("%s%s %.4g ms", k ? ", " : "", percentiles[k].name, 1e3 * latency(t, k));
    printf("\nthroughput  %.5g %s a second\n", rate(t, batch), batch ? "rows" : "runs");
    if (ints)
        printf("int8        %d layers of %d, %.3g %% of the operations\n", ints->ints,
               ints->layers, 100 * ints->share);
    printf(
        "memory      values %.2f MiB (at least %.2f), scratch %.2f, weights %.2f and as "
        "kernels like them %.2f; the process %.1f at most\n",
        mib(m->arena), mib(m->lower_bound), mib(m->scratch), mib(m->state),
        mib(m->prepared), peak_memory() / 1048576);
}

static void put(json *j, const timing *t, int64_t batch, const reel_plan_memory *m,
                const integers *ints)
{
    json_whole(j, "batch", batch); /* 0: fixed */
    json_whole(j, "threads", reel_threads());
    json_text(j, "isa", reel_cpu_isa());
    json_whole(j, "runs", t->n);
    json_open(j, "latency_s", '{');
    for (int k = 0; k < N_PERCENTILES; k++)
        json_number(j, percentiles[k].name, latency(t, k));
    json_close(j, '}');
    json_number(j, batch ? "rows_per_s" : "runs_per_s", rate(t, batch));
    if (ints) {
        json_whole(j, "layers", ints->layers);
        json_whole(j, "integer_layers", ints->ints);
        json_number(j, "integer_operations", ints->share);
    }
    json_whole(j, "arena_bytes", m->arena);
    json_whole(j, "lower_bound_bytes", m->lower_bound);
    json_whole(j, "scratch_bytes", m->scratch);
    json_whole(j, "prepared_bytes", m->prepared);
    json_whole(j, "state_bytes", m->state);
    json_number(j, "peak_process_bytes", peak_memory());
}

/* ---- where the time goes --------------------------------------------------------------------- */

typedef struct node_time {
    int node;
    double second;
} node_time;

static int slowest_first(const void *a, const void *b)
{
    const node_time *x = a, *y = b;
    if (x->second != y->second) return x->second < y->second ? 1 : -1;
    return x->node - y->node;
}

/* The time of each node in one run. */
static reel_status profile(reel_executor *e, const values *x, const values *y,
                           node_time *t, int n)
{
    if (reel_executor_profile(e, true)) return reel_error_status();
    for (int i = 0; i < PROFILED; i++)
        if (reel_executor_run_into(e, x->at, x->n, y->at, y->n))
            return reel_error_status();
    for (int i = 0; i < n; i++) {
        t[i].node = i;
        if (reel_executor_time(e, i, &t[i].second)) return reel_error_status();
        t[i].second /= PROFILED;
    }
    qsort(t, (size_t)n, sizeof *t, slowest_first);
    return REEL_OK;
}

static void show_nodes(json *j, const reel_graph *g, const node_time *t, int n)
{
    double total = 0;
    for (int i = 0; i < n; i++) total += t[i].second;
    if (j)
        json_open(j, "nodes", '[');
    else
        printf("\n%9s %6s  %-18s %s\n", "us", "share", "operator", "where");
    for (int i = 0; i < n && (j || i < LINES); i++) {
        const char *op = reel_graph_node_op(g, t[i].node);
        const char *where = reel_graph_node_where(g, t[i].node);
        if (!j) {
            printf("%9.1f %5.1f%%  %-18s %s\n", 1e6 * t[i].second,
                   total > 0 ? 100 * t[i].second / total : 0, op, where);
            continue;
        }
        json_open(j, NULL, '{');
        json_text(j, "op", op);
        json_text(j, "where", where);
        json_number(j, "seconds", t[i].second);
        json_close(j, '}');
    }
    if (j) json_close(j, ']');
}

/* ---- the command ----------------------------------------------------------------------------- */

typedef struct wishes {
    double seconds;
    bool nodes, as_json;
} wishes;

static reel_status measure_all(reel_executor *e, const reel_graph *g, const wishes *w,
                               const values *x, const values *y, timing *t, node_time *of)
{
    reel_plan_memory m;
    integers ints;
    const integers *some = has_integers(g) ? &ints : NULL;
    if (some && count_integers(g, &ints)) return reel_error_status();
    if (measure(e, x, y, w->seconds, t) || reel_executor_memory(e, &m) ||
        (w->nodes && profile(e, x, y, of, reel_graph_nodes(g))))
        return reel_error_status();
    json j = {0};
    if (w->as_json) {
        json_open(&j, NULL, '{');
        put(&j, t, reel_graph_batch(g), &m, some);
    } else {
        show(t, reel_graph_batch(g), &m, some);
    }
    if (w->nodes) show_nodes(w->as_json ? &j : NULL, g, of, reel_graph_nodes(g));
    if (w->as_json) {
        json_close(&j, '}');
        json_end();
    }
    return REEL_OK;
}

static void bench(const reel_graph *g, const wishes *w)
{
    values x = {0}, y = {0};
    timing t = {.second = malloc(MOST_RUNS * sizeof *t.second)};
    node_time *of = calloc((size_t)reel_graph_nodes(g) + 1, sizeof *of);
    reel_executor *e = NULL;
    if (!t.second || !of)
        reel_fail(REEL_ERR_MEMORY, "no memory for the times");
    else if (!draw_inputs(g, 1, &x) && !values_new(&y, reel_graph_outputs(g)))
        e = reel_executor_new(g, NULL);
    if (e) (void)measure_all(e, g, w, &x, &y, &t, of);
    reel_executor_free(e);
    values_free(&x);
    values_free(&y);
    free(t.second);
    free(of);
}

int cmd_bench(const command *self, int argc, char **argv)
{
    const char *file[1];
    int64_t batch = 0, threads = 0;
    wishes w = {.seconds = 2};
    bool plain = false;
    const option options[] = {
        OPTION_BATCH(&batch, "rows of a run; default: the file's, or 1"),
        OPTION_THREADS(&threads),
        {"--seconds", OPTION_REAL, &w.seconds, "how long; default 2", 0.001, 3600},
        {"--plain", OPTION_FLAG, &plain, "without optimizing first", 0, 0},
        {"--nodes", OPTION_FLAG, &w.nodes, "the nodes that take most as well", 0, 0},
        OPTION_JSON(&w.as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 1, argc, argv);
    if (status >= 0) return status;
    reel_set_threads((int)threads);
    reel_graph *g = open_graph(file[0], batch);
    if (g && !plain) (void)reel_graph_optimize(g, NULL);
    if (!reel_failed()) bench(g, &w);
    reel_graph_free(g);
    return reel_failed();
}
