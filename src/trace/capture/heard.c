/* heard.c: what a capture hears besides operators: values that are read, objects that decide,
 * gradients of leaves that are looked at and replaced. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shares.h"
#include "trace/capture/capture.h"

/* ---- reads ------------------------------------------------------------------------------------ */

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
static const char *describe(const reel__capture *t, int v, const reel_tensor *x,
                            char *buf, size_t size)
{
    static const char *const kind[] = {"input", "parameter", "buffer", "constant", ""};
    const reel__value *value = v < 0 ? NULL : &t->graph->value[v];
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
void reel__heard_read(const char *who, const reel_tensor *x)
{
    reel__capture *t = &reel__capture_now;
    char line[512], what[320];
    const char *where = reel__error_where();
    int v = t->graph ? reel__capture_find(t, (reel_tensor *)(uintptr_t)x) : -1;
    if (!t->graph || (v < 0 && x->storage->born == t->heard.mark)) return;
    int n = snprintf(line, sizeof line, "%s of %s%s%s\n", who,
                     describe(t, v, x, what, sizeof what), where && *where ? ", in " : "",
                     where ? where : "");
    if (n > 0 && (size_t)n < sizeof line) add_line(t->graph, line, (size_t)n);
}

void reel__heard_object(uint64_t number)
{
    if (reel__capture_now.graph)
        (void)reel__decided_by(reel__capture_now.graph->decided, number);
}

/* ---- gradients of leaves ---------------------------------------------------------------------- */

/* Optimizers and modules ask in the order of their lists: so the search begins behind the last
 * answer. */
static reel_captured_grad *grad_of_leaf(reel__capture *t, const reel_tensor *leaf)
{
    for (int i = 0; i < t->n_grad; i++) {
        reel_captured_grad *c = &t->grad[(t->last_grad + i) % t->n_grad];
        if (c->leaf != leaf) continue;
        t->last_grad = (int)(c - t->grad) + 1;
        return c;
    }
    return NULL;
}

static reel_captured_grad *add_grad(reel__capture *t, reel_tensor *leaf)
{
    void *list = t->grad;
    if (!reel__grow(&list, t->n_grad, &t->cap_grad, sizeof *t->grad)) return NULL;
    t->grad = list;
    t->grad[t->n_grad] = (reel_captured_grad){.leaf = reel__hold(leaf)};
    return &t->grad[t->n_grad++];
}

/* It was there before: an input if the caller takes gradients, else a constant, and a read. */
static void take_grad(reel__capture *t, reel_captured_grad *c)
{
    char name[256];
    reel_tensor *g = c->leaf->grad;
    int v = reel__capture_find(t, c->leaf);
    c->there = true;
    if (!t->takes_grads) {
        reel__heard_read("the gradient", c->leaf);
        return;
    }
    if (reel__capture_find(t, g) >= 0) return;
    if (v >= 0 && t->graph->value[v].name)
        (void)snprintf(name, sizeof name, "%.200s.grad", t->graph->value[v].name);
    else
        (void)snprintf(name, sizeof name, "grad%d", t->graph->n_input);
    v = reel__capture_add(t, REEL_VALUE_INPUT, g, name);
    if (v >= 0) (void)reel__graph_add_input(t->graph, v);
}

/* Gradients of what was made meanwhile, as in a checkpoint, go with it. */
void reel__heard_grad(reel_tensor *leaf, bool replaced)
{
    reel__capture *t = &reel__capture_now;
    if (!t->graph || !leaf->storage || leaf->storage->born == t->heard.mark) return;
    reel_captured_grad *c = grad_of_leaf(t, leaf);
    if (!c) {
        if (!(c = add_grad(t, leaf))) return;
        c->looked = !replaced;
        if (c->looked && leaf->grad) take_grad(t, c);
    }
    c->replaced = c->replaced || replaced;
}

/* ---- public ------------------------------------------------------------------------------------- */

reel_status reel_capture_grads(void)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!reel__capture_now.graph)
        return reel_fail(REEL_ERR_STATE, "capture_grads: no capture is under way");
    reel__capture_now.takes_grads = true;
    return REEL_OK;
}

bool reel_capture_grad(int i, reel_captured_grad *out)
{
    if (i < 0 || i >= reel__capture_now.n_grad || !out) return false;
    *out = reel__capture_now.grad[i];
    return true;
}
