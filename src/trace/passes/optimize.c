/* optimize.c: runs the passes of passes.def over a graph, until they find nothing more. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "trace/passes/pass.h"

#define PASS(name) &reel__pass_##name,
static const reel__pass *const passes[] = {
#include "trace/passes/passes.def"
};
#undef PASS

#define PASS(name)
#define LAST_PASS(name) &reel__pass_##name,
static const reel__pass *const last_passes[] = {
#include "trace/passes/passes.def"
};
#undef PASS
enum { N_PASSES = (int)(sizeof passes / sizeof *passes) };

/* What one pass leaves may be work for another; so few rounds are ever needed that more mean
 * two passes undoing each other. */
enum { MAX_ROUNDS = 40 };

int reel_pass_count(void)
{
    return N_PASSES;
}

const char *reel_pass_name(int i)
{
    return i >= 0 && i < N_PASSES ? passes[i]->name : NULL;
}

const char *reel_pass_about(int i)
{
    return i >= 0 && i < N_PASSES ? passes[i]->about : NULL;
}

/* ---- which ------------------------------------------------------------------------------- */

/* Whether a comma-separated list has the word. */
static bool lists(const char *list, const char *word, size_t n)
{
    while (*list) {
        list += strspn(list, ", ");
        size_t k = strcspn(list, ", ");
        if (k == n && memcmp(list, word, n) == 0) return true;
        list += k;
    }
    return false;
}

static reel_status unknown(const char *option, const char *word, size_t n,
                           const reel__pass *const pass[], int n_pass)
{
    char text[512];
    size_t at = 0;
    for (int i = 0; i < n_pass && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "",
                               pass[i]->name);
    return reel_fail(REEL_ERR_ARG, "graph_optimize: %s names \"%.*s\"; passes are %s",
                     option, (int)n, word, text);
}

static reel_status check_names(const char *option, const char *list,
                               const reel__pass *const pass[], int n_pass)
{
    while (list && *list) {
        list += strspn(list, ", ");
        size_t n = strcspn(list, ", ");
        bool known = n == 0;
        for (int i = 0; i < n_pass && !known; i++)
            known = strlen(pass[i]->name) == n && memcmp(pass[i]->name, list, n) == 0;
        if (!known) return unknown(option, list, n, pass, n_pass);
        list += n;
    }
    return REEL_OK;
}

static bool comes_last(const reel__pass *p)
{
    bool is = false;
    for (size_t i = 0; i < sizeof last_passes / sizeof *last_passes && !is; i++)
        is = last_passes[i] == p;
    return is;
}

static bool wanted(const reel_optimize_opts *o, const reel__pass *p)
{
    size_t n = strlen(p->name);
    bool asked = o->only ? lists(o->only, p->name, n) : !comes_last(p) || o->recompute;
    return asked && (!o->skip || !lists(o->skip, p->name, n)) && (!o->exact || p->exact);
}

/* ---- running ------------------------------------------------------------------------------- */

/* Whatever a pass says, its name comes first. */
static reel_status blame(const reel__pass *p)
{
    char text[768];
    reel_status st = reel_error_status();
    (void)snprintf(text, sizeof text, "%s", reel__error_said());
    reel_error_clear();
    return reel_fail(st, "graph_optimize: pass %s: %s", p->name, text);
}

/* Changes made, or -1 with an error. */
static int run_pass(reel_graph *g, const reel__pass *p, bool verify, FILE *log)
{
    int before = g->n_node, changes = p->run(g);
    bool whole = changes >= 0 && !reel__graph_compact(g) && !reel__graph_infer(g) &&
                 (!verify || !reel_graph_check(g));
    if (!whole) {
        blame(p);
        return -1;
    }
    if (log)
        fprintf(log, "%-16s %4d changes, %d -> %d nodes\n", p->name, changes, before,
                g->n_node);
    return changes;
}

/* The passes that come last, or the others: changes made, or -1 with an error. `busy`: the last
 * one that found something, or NULL. */
static int run_round(reel_graph *g, const reel_optimize_opts *o,
                     const reel__pass *const pass[], int n, bool last, bool verify,
                     const reel__pass **busy)
{
    int changes = 0;
    *busy = NULL;
    for (int i = 0; i < n; i++) {
        if (comes_last(pass[i]) != last || !wanted(o, pass[i])) continue;
        int made = run_pass(g, pass[i], verify, o->log);
        if (made < 0) return -1;
        if (made) *busy = pass[i];
        changes += made;
    }
    return changes;
}

static reel_status run_rounds(reel_graph *g, const reel_optimize_opts *o,
                              const reel__pass *const pass[], int n, bool verify)
{
    const reel__pass *busy = NULL;
    int changes = 1;
    for (int round = 0; round < MAX_ROUNDS && changes > 0; round++)
        changes = run_round(g, o, pass, n, false, verify, &busy);
    if (changes > 0)
        return reel_fail(REEL_ERR_INTERNAL,
                         "graph_optimize: after %d rounds pass %s still finds something: "
                         "two passes undo each other; `skip` leaves one out",
                         MAX_ROUNDS, busy->name);
    if (!changes) changes = run_round(g, o, pass, n, true, verify, &busy);
    return changes < 0 ? reel_error_status() : REEL_OK;
}

reel_status reel__optimize(reel_graph *g, const reel_optimize_opts *opts,
                           const reel__pass *const pass[], int n, bool verify)
{
    if (reel_failed()) return reel_error_status();
    const reel_optimize_opts *o = REEL__OPTS("graph_optimize", reel_optimize_opts, opts);
    if (!o) return reel_error_status();
    if (!g) return reel_fail(REEL_ERR_ARG, "graph_optimize: the graph is NULL");
    if (reel_capturing())
        return reel_fail(
            REEL_ERR_STATE,
            "graph_optimize: a capture of this thread is under way and would "
            "record what passes compute; end or cancel it first");
    if (check_names("only", o->only, pass, n) || check_names("skip", o->skip, pass, n))
        return reel_error_status();
    reel_graph *copy = reel__graph_copy(g); /* an error leaves g as it was */
    if (!copy) return reel_error_status();
    copy->keeps_layouts = o->exact;
    reel_status st = run_rounds(copy, o, pass, n, verify);
    copy->keeps_layouts = false;
    if (!st) {
        reel_graph was = *g;
        *g = *copy;
        *copy = was;
    }
    reel_graph_free(copy);
    return st;
}

reel_status reel_graph_optimize(reel_graph *g, const reel_optimize_opts *opts)
{
    REEL__CALLED;
#ifdef NDEBUG
    const bool verify = false;
#else
    const bool verify = true;
#endif
    return reel__optimize(g, opts, passes, N_PASSES, verify);
}
