/* capture.c: the recorder that writes a graph.
 *
 * A value is known by its storage and by how it looks at it (its meta), not by its tensor:
 * backward revives what it saved as new tensors, and those are the same values. Storages are
 * numbered, so memory that is freed and used again is not mistaken for what it was. What
 * changes in place stays one value: state, read and written in order.
 *
 * A view may look like another value at one size and not at the next, as rows 0 to 9 of four.
 * Whoever captures at several sizes holds views apart: each gets a number of its own in its
 * meta, which goes with it wherever it is saved, and looks.c finds those that are one. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "backend/slice.h"
#include "base/shares.h"
#include "base/watched.h"
#include "ops/records.h"
#include "trace/capture/capture.h"

_Thread_local reel__capture reel__capture_now;
static atomic_uint_fast64_t marks, looks;

/* ---- values by storage and meta ------------------------------------------------------------ */

static size_t place_of(const reel__capture *t, uint64_t key, const reel__meta *m)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & t->mask;
    for (; t->slot[i]; i = (i + 1) & t->mask) {
        int v = t->slot[i] - 1;
        const reel__meta *have = &t->graph->value[v].meta;
        if (t->key[v] == key && have->look == m->look && reel__same_look(have, m)) break;
    }
    return i;
}

static bool rehash(reel__capture *t, size_t size)
{
    int *slot = reel__calloc(size, sizeof *slot);
    if (!slot) return false;
    reel__free(t->slot);
    t->slot = slot;
    t->mask = size - 1;
    for (int v = 0; v < t->graph->n_value; v++)
        t->slot[place_of(t, t->key[v], &t->graph->value[v].meta)] = v + 1;
    return true;
}

/* The value that x is; -1 if it is none yet. */
int reel__capture_find(const reel__capture *t, reel_tensor *x)
{
    if (!t->slot) return -1;
    return t->slot[place_of(t, x->storage->number, &x->meta)] - 1;
}

int reel__capture_add(reel__capture *t, reel__value_kind kind, reel_tensor *x,
                      const char *name)
{
    int n = t->graph->n_value;
    void *keys = t->key;
    if (!reel__grow(&keys, n, &t->cap_key, sizeof *t->key)) return -1;
    t->key = keys;
    if ((!t->slot || (size_t)n * 2 > t->mask) &&
        !rehash(t, t->slot ? 2 * t->mask + 2 : 128))
        return -1;
    reel_tensor *keep = kind == REEL_VALUE_INPUT || kind == REEL_VALUE_NODE ? NULL : x;
    int v = reel__graph_add_value(t->graph, kind, &x->meta, name, keep);
    if (v < 0) return -1;
    if (keep) {
        t->graph->value[v].shared =
            kind == REEL_VALUE_CONST && x->storage->born != t->heard.mark;
        if (reel__decided_by_state(t->graph->decided, keep)) return -1;
    }
    t->key[v] = x->storage->number;
    t->slot[place_of(t, t->key[v], &x->meta)] = v + 1;
    return v;
}

/* ---- slices that show less than they do ------------------------------------------------------ */

/* Whoever captures at several sizes must know how large they must be. */
static reel_status note_edge(reel_graph *g, const reel__call *c)
{
    const reel__slice_attrs *a = c->attrs;
    int64_t size = IN_META(c, 0)->dim[a->dim],
            settles = reel__slice_settles(a, REEL__MOST_BATCH);
    void *list = g->edge;
    if (size > settles) return REEL_OK;
    if (!reel__grow(&list, g->n_edge, &g->cap_edge, sizeof *g->edge))
        return reel_error_status();
    g->edge = list;
    g->edge[g->n_edge++] = (reel__edge){size, settles};
    return REEL_OK;
}

/* ---- the recorder --------------------------------------------------------------------------- */

static reel_status record(reel__recorder *self, const reel__call *c)
{
    reel__capture *t = (reel__capture *)(void *)self;
    int in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    for (int i = 0; i < c->n_in; i++) {
        in[i] = REEL_NO_VALUE;
        if (!c->in[i]) continue;
        in[i] = reel__capture_find(t, c->in[i]);
        if (in[i] < 0) in[i] = reel__capture_add(t, REEL_VALUE_CONST, c->in[i], NULL);
        if (in[i] < 0) return reel_error_status();
    }
    if (c->op == &reel__slice && note_edge(t->graph, c)) return reel_error_status();
    if (c->op->traits & REEL_OP_VIEW) {
        /* a view that looks as a value does is that value: each is made once */
        if (t->apart)
            c->out[0]->meta.look = atomic_fetch_add(&looks, 1) + 1;
        else if (reel__capture_find(t, c->out[0]) >= 0)
            return REEL_OK;
    }
    for (int i = 0; i < c->n_out; i++) {
        out[i] = REEL_NO_VALUE;
        if (!c->out[i]) continue;
        out[i] = reel__capture_find(t, c->out[i]); /* in place */
        if (out[i] < 0) out[i] = reel__capture_add(t, REEL_VALUE_NODE, c->out[i], NULL);
        if (out[i] < 0) return reel_error_status();
    }
    return reel__graph_add_node(t->graph, c, in, out, reel__error_where()) < 0
               ? reel_error_status()
               : REEL_OK;
}

/* ---- public ------------------------------------------------------------------------------------ */

/* Takes the graph out; the capture is over. */
static reel_graph *stop(void)
{
    reel_graph *g = reel__capture_now.graph;
    reel__recorder_remove(&reel__capture_now.listener);
    reel__heard_by = NULL;
    (void)reel__watched_listen(NULL);
    for (int i = 0; i < reel__capture_now.n_grad; i++)
        reel__let_go(reel__capture_now.grad[i].leaf);
    reel__free(reel__capture_now.grad);
    reel__free(reel__capture_now.key);
    reel__free(reel__capture_now.slot);
    reel__capture_now = (reel__capture){0};
    return g;
}

reel_status reel_capture_begin(void)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (reel__capture_now.graph)
        return reel_fail(REEL_ERR_STATE,
                         "capture_begin: a capture of this thread is under "
                         "way; end or cancel it first");
    reel__capture_now = (reel__capture){
        .listener = {.record = record},
        .heard = {atomic_fetch_add(&marks, 1) + 1, reel__heard_read, reel__heard_grad},
        .graph = reel__graph_new()};
    if (!reel__capture_now.graph) return reel_error_status();
    reel__capture_now.graph->rng = reel_rng_get();
    reel__capture_now.graph->decided = reel__decided_new();
    if (!reel__capture_now.graph->decided) {
        reel_graph_free(reel__capture_now.graph);
        reel__capture_now.graph = NULL;
        return reel_error_status();
    }
    reel__recorder_push(&reel__capture_now.listener);
    reel__heard_by = &reel__capture_now.heard;
    (void)reel__watched_listen(reel__heard_object);
    return REEL_OK;
}

void reel__capture_apart(void)
{
    reel__capture_now.apart = true;
}

/* Not in an operator of the user's own, which a capture hears as one. */
bool reel_capturing(void)
{
    return reel__capture_now.graph && reel__heard_by == &reel__capture_now.heard;
}

void reel_capture_cancel(void)
{
    if (reel__capture_now.graph) reel_graph_free(stop());
}

static reel_status need_capture(const char *who, const reel_tensor *x)
{
    if (!reel__capture_now.graph)
        return reel_fail(REEL_ERR_STATE, "%s: no capture is under way", who);
    if (!x) return reel_fail(REEL_ERR_ARG, "%s: x is NULL", who);
    return reel__alive(who, x) ? REEL_OK : reel_error_status();
}

reel_status reel_capture_input(reel_tensor *x, const char *name)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    char text[32];
    reel_graph *g = reel__capture_now.graph;
    if (need_capture("capture_input", x)) return reel_error_status();
    if (reel__capture_find(&reel__capture_now, x) >= 0)
        return reel_fail(REEL_ERR_ARG,
                         "capture_input: %s is a value of this capture already",
                         SHOW(&x->meta));
    (void)snprintf(text, sizeof text, "input%d", g->n_input);
    int v =
        reel__capture_add(&reel__capture_now, REEL_VALUE_INPUT, x, name ? name : text);
    return v < 0 ? reel_error_status() : reel__graph_add_input(g, v);
}

reel_status reel_capture_state(reel_tensor *x, const char *name, bool is_param)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (need_capture("capture_state", x)) return reel_error_status();
    if (!name) return reel_fail(REEL_ERR_ARG, "capture_state: name is NULL");
    if (reel__capture_find(&reel__capture_now, x) >= 0) return REEL_OK; /* tied weights */
    reel__value_kind kind = is_param ? REEL_VALUE_PARAM : REEL_VALUE_BUFFER;
    return reel__capture_add(&reel__capture_now, kind, x, name) < 0 ? reel_error_status()
                                                                    : REEL_OK;
}

static reel_status set_outputs(reel_tensor *const y[], const char *const name[], int n)
{
    reel_graph *g = reel__capture_now.graph;
    char text[32];
    if (n < 0 || (n && !y))
        return reel_fail(REEL_ERR_ARG, "capture_end: %d outputs%s", n,
                         y ? "" : ", y is NULL");
    if (!reel__all_alive("capture_end", "output", y, n)) return reel_error_status();
    for (int i = 0; i < n; i++) {
        int v = y[i] ? reel__capture_find(&reel__capture_now, y[i]) : -1;
        if (v < 0)
            return reel_fail(REEL_ERR_ARG, "capture_end: output %d %s", i,
                             y[i] ? "was not computed during this capture" : "is NULL");
        (void)snprintf(text, sizeof text, "output%d", i);
        if (reel__graph_add_output(g, v, name && name[i] ? name[i] : text))
            return reel_error_status();
    }
    return REEL_OK;
}

reel_graph *reel_capture_end(reel_tensor *const y[], int n, const char *const name[])
{
    REEL__CALLED;
    if (!reel__capture_now.graph) {
        reel_fail(REEL_ERR_STATE, "capture_end: no capture is under way");
        return NULL;
    }
    reel_status st = reel_failed() ? reel_error_status() : set_outputs(y, name, n);
    reel_graph *g = stop();
    g->rng_blocks = reel_rng_get().offset - g->rng.offset;
    if (!st) return g;
    reel_graph_free(g);
    return NULL;
}
