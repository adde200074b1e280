/* cse.c: common subexpressions. Two nodes of one record, with the same attributes and the same
 * operands, which nobody changes in between, give the same: one is enough. */
#include <string.h>

#include "base/alloc.h"
#include "trace/passes/pass.h"

/* Open addressing: the last node seen with a hash, -1 where there is none. */
typedef struct seen {
    int *slot;
    size_t size; /* a power of two, above the number of nodes */
} seen;

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

static size_t attrs_size(const reel__gnode *n)
{
    return n->attrs ? n->op->attrs->size : 0;
}

static uint64_t hash_node(const reel__gnode *n)
{
    uint64_t h =
        hash_bytes(UINT64_C(14695981039346656037), n->op->name, strlen(n->op->name));
    h = hash_bytes(h, n->attrs, attrs_size(n));
    return hash_bytes(h, n->in, (size_t)n->n_in * sizeof *n->in);
}

static bool equal_nodes(const reel__gnode *a, const reel__gnode *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out ||
        attrs_size(a) != attrs_size(b) || !a->per_batch != !b->per_batch ||
        memcmp(a->in, b->in, (size_t)a->n_in * sizeof *a->in) != 0)
        return false;
    if (attrs_size(a) && memcmp(a->attrs, b->attrs, attrs_size(a)) != 0) return false;
    if (a->per_batch && memcmp(a->per_batch, b->per_batch, attrs_size(a)) != 0)
        return false;
    for (int k = 0; k < a->n_out; k++)
        if (b->out[k] >= 0 && a->out[k] < 0) return false;
    return true;
}

/* Views of one place stay equal whatever is written there; a result of its own may not be
 * written to, nor its operands between the two. */
static bool stays_equal(const reel_graph *g, const reel__effects *e, int a, int b)
{
    const reel__gnode *n = &g->node[a], *m = &g->node[b];
    if (n->op->traits & REEL_OP_VIEW)
        return !reel__changed_directly(g, n->out[0]) &&
               !reel__changed_directly(g, m->out[0]);
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] >= 0 && !reel__same_between(e, n->in[k], a, b)) return false;
    for (int k = 0; k < n->n_out; k++)
        if (m->out[k] >= 0 &&
            !(reel__never_changes(e, n->out[k]) && reel__never_changes(e, m->out[k])))
            return false;
    return true;
}

/* The slot of an equal node, or the empty one where i belongs. */
static int *find(const reel_graph *g, const seen *s, int i)
{
    size_t at = (size_t)hash_node(&g->node[i]) & (s->size - 1);
    while (s->slot[at] >= 0 && !equal_nodes(&g->node[s->slot[at]], &g->node[i]))
        at = (at + 1) & (s->size - 1);
    return &s->slot[at];
}

static int sweep(reel_graph *g, const reel__effects *e, const seen *s)
{
    int removed = 0;
    for (int i = 0; i < g->n_node; i++) {
        const reel__op *op = g->node[i].op;
        if (reel__op_mutates(op) || !reel__op_is_steady(op)) continue;
        int *slot = find(g, s, i);
        if (*slot >= 0 && stays_equal(g, e, *slot, i)) {
            const reel__gnode *a = &g->node[*slot], *b = &g->node[i];
            for (int k = 0; k < b->n_out; k++)
                if (b->out[k] >= 0) reel__graph_replace(g, b->out[k], a->out[k]);
            reel__graph_remove(g, i);
            removed++;
        } else {
            *slot = i; /* the nearer one is the better one to share */
        }
    }
    return removed;
}

static int run(reel_graph *g)
{
    reel__effects e;
    seen s = {.size = 16};
    while (s.size < 2 * (size_t)g->n_node) s.size *= 2;
    if (!reel__find_effects(g, &e)) return -1;
    s.slot = reel__malloc(s.size * sizeof *s.slot);
    for (size_t i = 0; s.slot && i < s.size; i++) s.slot[i] = -1;
    int removed = s.slot ? sweep(g, &e, &s) : -1;
    reel__free(s.slot);
    reel__effects_free(&e);
    return removed;
}

const reel__pass reel__pass_cse = {"cse", "computes once what is computed twice", true,
                                   run};
