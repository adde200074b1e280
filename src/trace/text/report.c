/* report.c: the cost of a graph as a table. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/decimal.h"
#include "base/error.h"
#include "trace/graph/cost.h"

/* ---- gathering ----------------------------------------------------------------------------- */

double reel__weight(const reel__totals *t, int node)
{
    return t->timed ? t->node[node].seconds_bound : t->node[node].cost.flops;
}

static void add_state(const reel_graph *g, reel__totals *t)
{
    for (int v = 0; v < g->n_value; v++) {
        int64_t n = reel__numel(&g->value[v].meta);
        int64_t bytes = n * (int64_t)reel_dtype_size(g->value[v].meta.dtype);
        if (g->value[v].kind == REEL_VALUE_PARAM) t->params += n, t->param_bytes += bytes;
        if (g->value[v].kind == REEL_VALUE_BUFFER) t->buffers += bytes;
        if (g->value[v].kind == REEL_VALUE_CONST) t->const_bytes += bytes;
    }
}

reel_status reel__totals_of(const reel_graph *g, const reel_graph *held, const char *who,
                            const reel_roofline *peaks, reel__totals *t)
{
    *t = (reel__totals){.timed = peaks != NULL};
    if (reel__check_peaks(who, peaks)) return reel_error_status();
    t->node = reel__calloc((size_t)g->n_node + 1, sizeof *t->node);
    reel_status st = t->node ? REEL_OK : reel_error_status();
    for (int i = 0; i < g->n_node && !st; i++) {
        reel_node_cost *n = &t->node[i];
        if ((st = reel_graph_node_cost(g, i, peaks, n))) break;
        t->cost.flops += n->cost.flops;
        t->cost.bytes_read += n->cost.bytes_read;
        t->cost.bytes_written += n->cost.bytes_written;
        t->seconds_bound += n->seconds_bound;
        t->weight += reel__weight(t, i);
        t->most = fmax(t->most, reel__weight(t, i));
    }
    add_state(held, t);
    if (!st && (t->peak_bytes = reel__peak_bytes(g)) < 0) st = reel_error_status();
    if (st) reel__totals_free(t);
    return st;
}

void reel__totals_free(reel__totals *t)
{
    reel__free(t->node);
    t->node = NULL;
}

static int by_weight(const void *a, const void *b)
{
    const reel__share *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return strcmp(x->op, y->op);
}

int reel__shares(const reel_graph *g, const reel__totals *t, reel__share *out, int n)
{
    reel__share *all = reel__calloc((size_t)g->n_node + 1, sizeof *all);
    int kinds = 0;
    if (!all) return -1;
    for (int i = 0; i < g->n_node; i++) {
        int k = 0;
        while (k < kinds && all[k].op != g->node[i].op->name) k++;
        if (k == kinds) all[kinds++].op = g->node[i].op->name;
        all[k].nodes++;
        all[k].weight += reel__weight(t, i);
    }
    qsort(all, (size_t)kinds, sizeof *all, by_weight);
    if (kinds > n) kinds = n;
    memcpy(out, all, (size_t)kinds * sizeof *out);
    reel__free(all);
    return kinds;
}

const char *reel__si(double x, char *buf, size_t size)
{
    static const char *const prefix[] = {"p", "n", "u", "m", "", "k", "M", "G", "T", "P"};
    int k = 4;
    while (x >= 999.5 && k < 9) x /= 1000, k++;
    while (x > 0 && x < 0.9995 && k > 0) x *= 1000, k--;
    (void)reel__snprint(buf, size, "%.3g %s", x, prefix[k]);
    return buf;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum { WIDEST = 44 };

static void widen(int *width, const char *text)
{
    int n = (int)strlen(text);
    *width = n > *width ? n > WIDEST ? WIDEST : n : *width;
}

/* "f32[5,16,32,32]" of the first result; "-" if there is none. */
static const char *result_text(const reel_graph *g, int i, char *buf)
{
    const reel__gnode *n = &g->node[i];
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] >= 0) return reel__meta_text(&g->value[n->out[k]].meta, buf);
    return strcpy(buf, "-");
}

static void put_head(FILE *to, const reel_graph *g)
{
    fprintf(to, "%d nodes, %d inputs, %d outputs", g->n_node, g->n_input, g->n_output);
    if (g->batch) fprintf(to, ", at batch %" PRId64, g->batch);
    fprintf(to, "\n\n");
}

static void put_table(FILE *to, const reel_graph *g, const reel__totals *t)
{
    int op = 8, where = 5, result = 6;
    char shape[REEL__META_TEXT];
    for (int i = 0; i < g->n_node; i++) {
        widen(&op, t->node[i].op);
        widen(&where, t->node[i].where);
        widen(&result, result_text(g, i, shape));
    }
    fprintf(to, "%5s  %-*s  %-*s  %-*s  %10s  %10s  %10s  %9s  %8s  %9s  %6s\n", "node",
            op, "operator", where, "where", result, "result", "MFLOP", "read kB",
            "write kB", "params", "FLOP/B", t->timed ? "bound us" : "-", "share");
    for (int i = 0; i < g->n_node; i++) {
        const reel_node_cost *n = &t->node[i];
        reel__fprint(to,
                     "%5d  %-*.*s  %-*.*s  %-*.*s  %10.3f  %10.1f  %10.1f  %9" PRId64
                     "  %8.2f  %9.2f  %5.1f%%\n",
                     i, op, op, n->op, where, where, n->where, result, result,
                     result_text(g, i, shape), n->cost.flops * 1e-6,
                     n->cost.bytes_read * 1e-3, n->cost.bytes_written * 1e-3, n->params,
                     n->intensity, n->seconds_bound * 1e6,
                     t->weight > 0 ? 100 * reel__weight(t, i) / t->weight : 0);
    }
}

static reel_status put_totals(FILE *to, const reel_graph *g, const reel__totals *t)
{
    enum { SHOWN = 6 };
    reel__share top[SHOWN];
    int n = reel__shares(g, t, top, SHOWN);
    if (n < 0) return reel_error_status();
    fprintf(to, "\noperations        %sFLOP\n", SI(t->cost.flops));
    fprintf(to, "bytes             %sB read, %sB written\n", SI(t->cost.bytes_read),
            SI(t->cost.bytes_written));
    reel__fprint(to, "intensity         %.2f FLOP/B\n", reel__intensity(&t->cost));
    fprintf(to, "parameters        %" PRId64 " (%sB)\n", t->params,
            SI((double)t->param_bytes));
    fprintf(to, "buffers           %sB\n", SI((double)t->buffers));
    fprintf(to, "constants         %sB\n", SI((double)t->const_bytes));
    fprintf(to, "peak activations  %sB\n", SI((double)t->peak_bytes));
    if (t->timed) fprintf(to, "time bound        %ss\n", SI(t->seconds_bound));
    fprintf(to, "share of %s", t->timed ? "the bound:" : "operations:");
    for (int k = 0; k < n && t->weight > 0; k++)
        reel__fprint(to, "%s %s %.1f%% (%d)", k ? "," : "", top[k].op,
                     100 * top[k].weight / t->weight, top[k].nodes);
    fprintf(to, "\n");
    return REEL_OK;
}

reel_status reel_graph_report(const reel_graph *g, FILE *to, const reel_roofline *peaks)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    reel__totals t;
    if (!g || !to)
        return reel_fail(REEL_ERR_ARG, "graph_report: %s is NULL",
                         g ? "to" : "the graph");
    reel_graph *r = reel__graph_as_run(g);
    if (!r || reel__totals_of(r, g, "graph_report", peaks, &t)) {
        reel_graph_free(r);
        return reel_error_status();
    }
    put_head(to, r);
    put_table(to, r, &t);
    reel_status st = put_totals(to, r, &t);
    reel__totals_free(&t);
    reel_graph_free(r);
    if (!st && ferror(to)) st = reel_fail(REEL_ERR_IO, "graph_report: cannot write");
    return st;
}
