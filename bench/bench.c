/* bench: times operators and models.
 *
 *     bench [--case NAME]... [--seconds S] [--threads N] [--json FILE]
 *     bench --list
 *     bench --worker NAME     for bench/torch_compare.py: answers on standard output
 *
 * A case is set up, warmed up, then repeated for S seconds; the median and the fastest are
 * printed, and the peak memory of what is timed above the size of the process before the first
 * step. --traced: models run as graphs; --skip: without these passes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cases.h"
#include "measure.h"

const bench_case *bench_find(const char *name)
{
    for (int i = 0; i < bench_n_models; i++)
        if (strcmp(bench_models[i].name, name) == 0) return &bench_models[i];
    for (int i = 0; i < bench_n_ops; i++)
        if (strcmp(bench_ops[i].name, name) == 0) return &bench_ops[i];
    return NULL;
}

static int fail(const char *what)
{
    fprintf(stderr, "bench: %s%s%s\n", what, reel_failed() ? ": " : "",
            reel_error_message());
    return 1;
}

/* ---- worker: "ready", then for each line "N": the seconds of N steps and the peak in KiB ----- */

static int worker(const char *name)
{
    const bench_case *c = bench_find(name);
    char line[64];
    if (!c) return fail("no such case");
    void *state = c->open(c);
    if (reel_failed()) return fail(name);
    long before = memory_row("VmRSS");
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int n = atoi(line);
        if (n < 1) return fail("a line must be a number of steps, 1 or more");
        reset_peak();
        double t = now();
        for (int i = 0; i < n; i++)
            if (c->step(state)) return fail(name);
        t = (now() - t) / n / (c->inner ? c->inner : 1);
        printf("%.9f %ld\n", t, memory_row("VmHWM") - before);
        fflush(stdout);
    }
    c->close(state);
    return 0;
}

/* ---- table ------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MAX_SAMPLES = 10000 };

static int run(const bench_case *c, double limit, FILE *json, bool first)
{
    static double t[MAX_SAMPLES];
    void *state = c->open(c);
    if (reel_failed()) return fail(c->name);
    long before = memory_row("VmRSS");
    /* a graph: one step as it is, one captured, one that grows the kernels' room */
    for (int i = 0; i < (bench_traced ? 3 : 1); i++)
        if (c->step(state)) return fail(c->name);
    reset_peak();
    int n = 0;
    for (double end = now() + limit; n < 3 || (now() < end && n < MAX_SAMPLES); n++) {
        double start = now();
        if (c->step(state)) return fail(c->name);
        t[n] = (now() - start) / (c->inner ? c->inner : 1);
    }
    long peak = memory_row("VmHWM") - before;
    c->close(state);
    reel_memory_trim((reel_device){REEL_CPU, 0});
    qsort(t, (size_t)n, sizeof *t, by_value);
    printf("%-22s %12.4f %12.4f %7d  %8.1f  %s\n", c->name, t[n / 2] * 1e3, t[0] * 1e3, n,
           (double)peak / 1024, c->what);
    fflush(stdout);
    if (json)
        fprintf(json,
                "%s\n  {\"case\": \"%s\", \"median_s\": %.9g, \"best_s\": %.9g, "
                "\"samples\": %d, \"peak_mib\": %.2f}",
                first ? "" : ",", c->name, t[n / 2], t[0], n, (double)peak / 1024);
    return 0;
}

static int usage(FILE *to)
{
    fprintf(to, "usage: bench [--traced [--skip PASSES]] [--case NAME]... [--seconds S] "
                "[--threads N] "
                "[--json FILE]\n"
                "       bench --list\n");
    return to == stderr ? 2 : 0;
}

static int bad(const char *option, const char *value, const char *why)
{
    fprintf(stderr, "bench: %s%s%s %s\n", option, value ? " " : "", value ? value : "",
            why);
    return usage(stderr);
}

static int list(void)
{
    for (int i = 0; i < bench_n_models; i++)
        printf("%-22s %s\n", bench_models[i].name, bench_models[i].what);
    for (int i = 0; i < bench_n_ops; i++)
        printf("%-22s %s\n", bench_ops[i].name, bench_ops[i].what);
    return 0;
}

enum { MAX_CASES = 64 };

static int run_all(const bench_case *const c[], int n, double limit, const char *path)
{
    FILE *json = path ? fopen(path, "w") : NULL;
    if (path && !json) {
        fprintf(stderr, "bench: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    printf("reel %s, %s, %d threads\n", reel_version(), reel_cpu_isa(), reel_threads());
    printf("%-22s %12s %12s %7s  %8s\n", "case", "median ms", "best ms", "samples",
           "peak MiB");
    if (json) fprintf(json, "[");
    int status = 0;
    for (int i = 0; i < n && !status; i++) status = run(c[i], limit, json, i == 0);
    if (json) fprintf(json, "\n]\n");
    if (json && fclose(json)) status = fail("cannot write the JSON file");
    return status;
}

typedef struct options {
    const bench_case *chosen[MAX_CASES];
    int n;
    double limit; /* seconds a case */
    const char *json, *worker;
} options;

/* One option and its value into `o`; 0, or the exit status. */
static int set(options *o, const char *option, const char *value)
{
    char *end;
    if (strcmp(option, "--json") == 0) {
        o->json = value;
    } else if (strcmp(option, "--worker") == 0) {
        o->worker = value;
    } else if (strcmp(option, "--skip") == 0) {
        bench_skip = value;
    } else if (strcmp(option, "--threads") == 0) {
        long n = strtol(value, &end, 10);
        if (end == value || *end || n < 0 || n > 1024)
            return bad(option, value, "must be a whole number from 0 (all) to 1024");
        reel_set_threads((int)n);
    } else if (strcmp(option, "--seconds") == 0) {
        o->limit = strtod(value, &end);
        if (end == value || *end || !(o->limit > 0 && o->limit <= 3600))
            return bad(option, value, "must be a number above 0, at most 3600");
    } else {
        const bench_case *c = bench_find(value);
        if (!c) return bad(option, value, "is not a case; --list shows them");
        if (o->n == MAX_CASES) return bad(option, value, "is one case too many");
        o->chosen[o->n++] = c;
    }
    return 0;
}

static bool takes_value(const char *option)
{
    static const char *const known[] = {"--case", "--seconds", "--threads",
                                        "--json", "--worker",  "--skip"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(option, known[i]) == 0) return true;
    return false;
}

int main(int argc, char **argv)
{
    options o = {.limit = 1};
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--list") == 0) return list();
        if (strcmp(argv[i], "--help") == 0) return usage(stdout);
        if (strcmp(argv[i], "--traced") == 0) {
            bench_traced = true;
            i--; /* it has no value */
            continue;
        }
        if (!takes_value(argv[i])) return bad(argv[i], NULL, "is not an option");
        if (i + 1 == argc) return bad(argv[i], NULL, "needs a value");
        int status = set(&o, argv[i], argv[i + 1]);
        if (status) return status;
    }
    reel_seed(1);
    if (o.worker) return worker(o.worker);
    if (o.n == 0) {
        for (int i = 0; i < bench_n_models; i++) o.chosen[o.n++] = &bench_models[i];
        for (int i = 0; i < bench_n_ops; i++) o.chosen[o.n++] = &bench_ops[i];
    }
    return run_all(o.chosen, o.n, o.limit, o.json);
}
