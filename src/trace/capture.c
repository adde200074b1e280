/* capture.c: the recorder that writes a graph.
 *
 * A value is known by its storage and by how it looks at it (its meta), not by its tensor:
 * backward revives what it saved as new tensors, and those are the same values. Storages are
 * numbered when they are first seen, so memory that is freed and used again is not mistaken
 * for what it was. What changes in place stays one value: state, read and written in order. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/watched.h"
#include "ops/recorder.h"
#include "trace/graph.h"

typedef struct capture {
    reel_recorder listener; /* first */
    reel__listener heard;
    reel_graph *graph; /* NULL: no capture under way */
    reel_captured_grad *grad;
    int n_grad, cap_grad, last_grad;
    bool takes_grads;
    uint64_t *key; /* storage number of each value */
    int cap_key;
    int *slot; /* open addressing: number of a value plus 1 */
    size_t mask;
} capture;

static _Thread_local capture mine;
static atomic_uint_fast64_t storages, marks;

/* ---- values by storage and meta ------------------------------------------------------------ */

/* Two threads may see a parameter for the first time at once: one number stays. */
static uint64_t number_of(reel_storage *s)
{
    uint_fast64_t number = atomic_load(&s->number);
    if (number) return number;
    uint_fast64_t mine_now = atomic_fetch_add(&storages, 1) + 1;
    return atomic_compare_exchange_strong(&s->number, &number, mine_now) ? mine_now
                                                                         : number;
}

static bool same_look(const reel_meta *a, const reel_meta *b)
{
    if (a->dtype != b->dtype || a->offset != b->offset || !reel__same_shape(a, b))
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] > 1 && a->stride[i] != b->stride[i]) return false;
    return true;
}

static size_t place_of(const capture *t, uint64_t key, const reel_meta *m)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & t->mask;
    for (; t->slot[i]; i = (i + 1) & t->mask) {
        int v = t->slot[i] - 1;
        if (t->key[v] == key && same_look(&t->graph->value[v].meta, m)) break;
    }
    return i;
}

static bool rehash(capture *t, size_t size)
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
static int find(const capture *t, reel_tensor *x)
{
    if (!t->slot) return -1;
    return t->slot[place_of(t, number_of(x->storage), &x->meta)] - 1;
}

static int add(capture *t, reel_value_kind kind, reel_tensor *x, const char *name)
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
    t->key[v] = number_of(x->storage);
    t->slot[place_of(t, t->key[v], &x->meta)] = v + 1;
    return v;
}

/* ---- the recorder --------------------------------------------------------------------------- */

static reel_status record(reel_recorder *self, const reel_call *c)
{
    capture *t = (capture *)(void *)self;
    int in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    for (int i = 0; i < c->n_in; i++) {
        in[i] = REEL_NO_VALUE;
        if (!c->in[i]) continue;
        in[i] = find(t, c->in[i]);
        if (in[i] < 0) in[i] = add(t, REEL_VALUE_CONST, c->in[i], NULL);
        if (in[i] < 0) return reel_error_status();
    }
    /* a view that looks as a value does is that value: each is made once */
    if ((c->op->traits & REEL_OP_VIEW) && find(t, c->out[0]) >= 0) return REEL_OK;
    for (int i = 0; i < c->n_out; i++) {
        out[i] = REEL_NO_VALUE;
        if (!c->out[i]) continue;
        out[i] = find(t, c->out[i]); /* in place */
        if (out[i] < 0) out[i] = add(t, REEL_VALUE_NODE, c->out[i], NULL);
        if (out[i] < 0) return reel_error_status();
    }
    return reel__graph_add_node(t->graph, c, in, out, reel__error_where()) < 0
               ? reel_error_status()
               : REEL_OK;
}

/* ---- what is heard besides ------------------------------------------------------------------ */

enum { MOST_READS = 32768 }; /* bytes of text; after these a reader has seen enough */

static void add_line(reel_graph *g, const char *line, size_t n)
{
    size_t old = g->reads ? strlen(g->reads) : 0;
    bool again = old >= n && memcmp(g->reads + old - n, line, n) == 0 &&
                 (old == n || g->reads[old - n - 1] == '\n');
    char *reads =
        again || old + n > MOST_READS ? NULL : reel__realloc(g->reads, old + n + 1);
    if (!reads) return;
    memcpy(reads + old, line, n + 1);
    g->reads = reads;
}

/* "%5, made by matmul", "input x", "parameter fc.weight", "f32[1], which is no part of it" */
static const char *describe(const capture *t, int v, const reel_tensor *x, char *buf,
                            size_t size)
{
    static const char *const kind[] = {"input", "parameter", "buffer", "constant", ""};
    const reel_value *value = v < 0 ? NULL : &t->graph->value[v];
    char name[64];
    if (!value)
        (void)snprintf(buf, size, "%s, which was there before", SHOW(&x->meta));
    else if (value->kind == REEL_VALUE_NODE)
        (void)snprintf(buf, size, "%s, made by %s",
                       reel__value_text(t->graph, v, name, sizeof name),
                       t->graph->node[value->maker].op->name);
    else
        (void)snprintf(buf, size, "%s %.200s", kind[value->kind],
                       value->name ? value->name : SHOW(&x->meta));
    return buf;
}

/* The program may decide by what it reads, and whoever has an address may write. What it made
 * itself meanwhile, and no operator knows yet, is its own: it becomes a constant. */
static void note_read(const char *who, const reel_tensor *x)
{
    capture *t = &mine;
    char line[512], what[320];
    const char *where = reel__error_where();
    int v = t->graph ? find(t, (reel_tensor *)(uintptr_t)x) : -1;
    if (!t->graph || (v < 0 && x->storage->born == t->heard.mark)) return;
    int n = snprintf(line, sizeof line, "%s of %s%s%s\n", who,
                     describe(t, v, x, what, sizeof what), where && *where ? ", in " : "",
                     where ? where : "");
    if (n > 0 && (size_t)n < sizeof line) add_line(t->graph, line, (size_t)n);
}

static void note_object(uint64_t number)
{
    if (mine.graph) (void)reel__decided_by(mine.graph->decided, number);
}

/* ---- gradients of leaves ---------------------------------------------------------------------- */

/* Optimizers and modules ask in the order of their lists: so the search begins behind the last
 * answer. */
static reel_captured_grad *grad_of_leaf(capture *t, const reel_tensor *leaf)
{
    for (int i = 0; i < t->n_grad; i++) {
        reel_captured_grad *c = &t->grad[(t->last_grad + i) % t->n_grad];
        if (c->leaf != leaf) continue;
        t->last_grad = (int)(c - t->grad) + 1;
        return c;
    }
    return NULL;
}

static reel_captured_grad *add_grad(capture *t, reel_tensor *leaf)
{
    void *list = t->grad;
    if (!reel__grow(&list, t->n_grad, &t->cap_grad, sizeof *t->grad)) return NULL;
    t->grad = list;
    t->grad[t->n_grad] = (reel_captured_grad){.leaf = reel_keep(leaf)};
    return &t->grad[t->n_grad++];
}

/* It was there before: an input if the caller takes gradients, else a constant, and a read. */
static void take_grad(capture *t, reel_captured_grad *c)
{
    char name[256];
    reel_tensor *g = c->leaf->grad;
    int v = find(t, c->leaf);
    c->there = true;
    if (!t->takes_grads) {
        note_read("the gradient", c->leaf);
        return;
    }
    if (find(t, g) >= 0) return;
    if (v >= 0 && t->graph->value[v].name)
        (void)snprintf(name, sizeof name, "%.200s.grad", t->graph->value[v].name);
    else
        (void)snprintf(name, sizeof name, "grad%d", t->graph->n_input);
    v = add(t, REEL_VALUE_INPUT, g, name);
    if (v >= 0) (void)reel__graph_add_input(t->graph, v);
}

/* Gradients of what was made meanwhile, as in a checkpoint, go with it. */
static void note_grad(reel_tensor *leaf, bool replaced)
{
    capture *t = &mine;
    if (!t->graph || !leaf->storage || leaf->storage->born == t->heard.mark) return;
    reel_captured_grad *c = grad_of_leaf(t, leaf);
    if (!c) {
        if (!(c = add_grad(t, leaf))) return;
        c->looked = !replaced;
        if (c->looked && leaf->grad) take_grad(t, c);
    }
    c->replaced = c->replaced || replaced;
}

/* ---- public ------------------------------------------------------------------------------------ */

/* Takes the graph out; the capture is over. */
static reel_graph *stop(void)
{
    reel_graph *g = mine.graph;
    reel__recorder_remove(&mine.listener);
    reel__heard_by = NULL;
    reel__watched_listen(NULL);
    for (int i = 0; i < mine.n_grad; i++) reel_release(mine.grad[i].leaf);
    reel__free(mine.grad);
    reel__free(mine.key);
    reel__free(mine.slot);
    mine = (capture){0};
    return g;
}

reel_status reel_capture_begin(void)
{
    if (reel_failed()) return reel_error_status();
    if (mine.graph)
        return reel_fail(REEL_ERR_STATE,
                         "capture_begin: a capture of this thread is under "
                         "way; end or cancel it first");
    mine = (capture){.listener = {.record = record},
                     .heard = {atomic_fetch_add(&marks, 1) + 1, note_read, note_grad},
                     .graph = reel__graph_new()};
    if (!mine.graph) return reel_error_status();
    mine.graph->rng = reel_rng_get();
    mine.graph->decided = reel__decided_new();
    if (!mine.graph->decided) {
        reel_graph_free(mine.graph);
        mine.graph = NULL;
        return reel_error_status();
    }
    reel__recorder_push(&mine.listener);
    reel__heard_by = &mine.heard;
    reel__watched_listen(note_object);
    return REEL_OK;
}

bool reel_capturing(void)
{
    return mine.graph != NULL;
}

void reel_capture_cancel(void)
{
    if (mine.graph) reel_graph_free(stop());
}

static reel_status need_capture(const char *who, const reel_tensor *x)
{
    if (!mine.graph) return reel_fail(REEL_ERR_STATE, "%s: no capture is under way", who);
    if (!x) return reel_fail(REEL_ERR_ARG, "%s: x is NULL", who);
    return REEL_OK;
}

reel_status reel_capture_input(reel_tensor *x, const char *name)
{
    char text[32];
    reel_graph *g = mine.graph;
    if (need_capture("capture_input", x)) return reel_error_status();
    if (find(&mine, x) >= 0)
        return reel_fail(REEL_ERR_ARG,
                         "capture_input: %s is a value of this capture already",
                         SHOW(&x->meta));
    (void)snprintf(text, sizeof text, "input%d", g->n_input);
    int v = add(&mine, REEL_VALUE_INPUT, x, name ? name : text);
    return v < 0 ? reel_error_status() : reel__graph_add_input(g, v);
}

reel_status reel_capture_grads(void)
{
    if (!mine.graph)
        return reel_fail(REEL_ERR_STATE, "capture_grads: no capture is under way");
    mine.takes_grads = true;
    return REEL_OK;
}

bool reel_capture_grad(int i, reel_captured_grad *out)
{
    if (i < 0 || i >= mine.n_grad || !out) return false;
    *out = mine.grad[i];
    return true;
}

reel_status reel_capture_state(reel_tensor *x, const char *name, bool is_param)
{
    if (need_capture("capture_state", x)) return reel_error_status();
    if (!name) return reel_fail(REEL_ERR_ARG, "capture_state: name is NULL");
    if (find(&mine, x) >= 0) return REEL_OK; /* tied weights */
    reel_value_kind kind = is_param ? REEL_VALUE_PARAM : REEL_VALUE_BUFFER;
    return add(&mine, kind, x, name) < 0 ? reel_error_status() : REEL_OK;
}

static reel_status set_outputs(reel_tensor *const y[], const char *const name[], int n)
{
    reel_graph *g = mine.graph;
    char text[32];
    if (n < 0 || (n && !y))
        return reel_fail(REEL_ERR_ARG, "capture_end: %d outputs%s", n,
                         y ? "" : ", y is NULL");
    for (int i = 0; i < n; i++) {
        int v = y[i] ? find(&mine, y[i]) : -1;
        if (v < 0)
            return reel_fail(REEL_ERR_ARG, "capture_end: output %d %s", i,
                             y[i] ? "was not computed during this capture" : "is NULL");
        (void)snprintf(text, sizeof text, "output%d", i);
        if (reel__graph_add_output(g, v, name && name[i] ? name[i] : text))
            return reel_error_status();
    }
    return REEL_OK;
}

reel_graph *reel_capture_end(reel_tensor *const y[], const char *const name[], int n)
{
    if (!mine.graph) {
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
