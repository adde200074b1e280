/* match.c: finds patterns in a graph. A match is a walk down from its last node; where records
 * do not care about the order of their operands, every choice of orders is tried. */
#include "ops/records.h"
#include "trace/passes/match.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/passes/matcher.h"

static bool swaps(const reel__term *t)
{
    return t->kind == REEL__NODE && t->op && (t->op->traits & REEL_OP_COMMUTES);
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* A whole number means itself; another stands in a program as a rounded decimal. */
static bool close_to(reel__number wanted, reel__number x)
{
    if (!wanted.is_real) return reel__number_equal(wanted, x);
    double a = wanted.real, b = reel__number_f64(x);
    return a == b || fabs(a - b) <= 1e-6 * (fabs(a) > fabs(b) ? fabs(a) : fabs(b));
}

/* Number x where an expression stands: a name that is free takes it. */
static bool number_fits(reel__match_walk *w, const reel__expr *e, reel__number x)
{
    if (e->name[0] < 0) return close_to(e->number[0], x);
    if (w->bound[e->name[0]]) return close_to(w->m.number[e->name[0]], x);
    w->bound[e->name[0]] = true;
    w->m.number[e->name[0]] = x;
    return true;
}

/* An attribute that depends on the batch is not a number. */
static bool attribute_fits(reel__match_walk *w, const reel__gnode *n,
                           const reel__condition *c)
{
    if (n->per_batch &&
        !reel__number_equal(reel__attr_get(c->field, c->place, n->per_batch),
                            reel__whole(0)))
        return false;
    return number_fits(w, &c->expr, reel__attr_get(c->field, c->place, n->attrs));
}

/* ---- values --------------------------------------------------------------------------------- */

static bool bind(reel__match_walk *w, int name, int v)
{
    if (name < 0) return true;
    if (w->bound[name]) return w->m.value[name] == v;
    w->bound[name] = true;
    w->m.value[name] = v;
    return true;
}

static bool record_fits(const reel__term *t, const reel__gnode *n)
{
    if (t->op) return n->op == t->op;
    return (n->op->traits & REEL_OP_POINTWISE) && n->op->n_in == t->n_arg &&
           !reel__op_mutates(n->op);
}

static void add_node(reel__match_walk *w, int node, bool shared)
{
    for (int i = 0; i < w->m.n_node; i++)
        if (w->m.node[i] == node) return;
    w->shared[w->m.n_node] = shared;
    w->m.node[w->m.n_node++] = node;
}

static bool term_fits(reel__match_walk *w, int term, int v);

static bool node_fits(reel__match_walk *w, int term, int v)
{
    const reel__term *t = &w->m.pattern->term[term];
    int maker = v >= 0 ? w->g->value[v].maker : -1;
    const reel__gnode *n = maker >= 0 ? &w->g->node[maker] : NULL;
    if (!n || !n->op || n->out[0] != v || !record_fits(t, n) || n->n_in != t->n_arg)
        return false;
    for (int i = 0; i < t->n_condition; i++)
        if (!attribute_fits(w, n, &w->m.pattern->condition[t->condition + i]))
            return false;
    add_node(w, maker, t->shared);
    bool swap = swaps(t) && (w->orders >> w->n_swap++ & 1);
    for (int k = 0; k < t->n_arg; k++)
        if (!term_fits(w, t->arg[k], n->in[swap ? 1 - k : k])) return false;
    return bind(w, t->name, v);
}

static bool term_fits(reel__match_walk *w, int term, int v)
{
    const reel__term *t = &w->m.pattern->term[term];
    double x;
    switch (t->kind) {
    case REEL__ANY: return v >= 0;
    case REEL__ABSENT: return v < 0;
    case REEL__VALUE: return (v >= 0 || t->optional) && bind(w, t->name, v);
    case REEL__NUMBER:
        return v >= 0 && reel__never_changes(&w->e, v) &&
               reel__constant_number(w->g, v, &x) &&
               number_fits(w, &t->expr, reel__real(x));
    case REEL__NODE: return node_fits(w, term, v);
    }
    return false;
}

/* ---- whether it may be replaced --------------------------------------------------------------- */

static int reads_inside(const reel__match_walk *w, int v)
{
    int reads = 0;
    for (int i = 0; i < w->m.n_node; i++) {
        const reel__gnode *n = &w->g->node[w->m.node[i]];
        for (int k = 0; k < n->n_in; k++) reads += n->in[k] == v;
    }
    return reads;
}

/* Result 0 is read only inside, unless the pattern allows others; further ones by nobody. */
static bool results_are_ours(const reel__match_walk *w, int i)
{
    const reel__gnode *n = &w->g->node[w->m.node[i]];
    for (int k = 1; k < n->n_out && !w->shared[i]; k++)
        if (n->out[k] >= 0 && w->uses[n->out[k]]) return false;
    return i == 0 || w->shared[i] || w->uses[n->out[0]] == reads_inside(w, n->out[0]);
}

/* What node i of the match read is still there at the root, and so is what it made. */
static bool memory_allows(const reel__match_walk *w, int i)
{
    int at = w->m.node[i];
    const reel__gnode *n = &w->g->node[at];
    if (reel__op_mutates(n->op)) return false;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] >= 0 && !reel__same_between(&w->e, n->in[k], at, w->m.root))
            return false;
    return i == 0 ? reel__never_changes(&w->e, n->out[0])
                  : reel__same_between(&w->e, n->out[0], at, w->m.root);
}

bool reel__find_match(reel__match_walk *w, const reel__pattern *p, int node)
{
    int n_swap = 0, result = w->g->node[node].out[0];
    if (!record_fits(&p->term[0], &w->g->node[node]) || result < 0 ||
        w->g->value[result].maker != node) /* a view of what is there already: see dce */
        return false;
    for (int t = 0; t < p->n_term; t++) n_swap += swaps(&p->term[t]);
    for (w->orders = 0; w->orders < 1u << n_swap; w->orders++) {
        w->m = (reel__match){.pattern = p, .effects = &w->e, .root = node};
        w->n_swap = 0;
        memset(w->bound, 0, sizeof w->bound);
        if (!node_fits(w, 0, result)) continue;
        bool good = true;
        for (int i = 0; i < w->m.n_node && good; i++)
            good = results_are_ours(w, i) && memory_allows(w, i);
        if (good) return true;
    }
    return false;
}

static int number_of(const reel__match *m, const char *name)
{
    return reel__pattern_name(m->pattern, name, strlen(name));
}

int reel__bound(const reel__match *m, const char *name)
{
    int i = number_of(m, name);
    return i < 0 ? REEL_NO_VALUE : m->value[i];
}

double reel__bound_number(const reel__match *m, const char *name)
{
    return reel__number_f64(m->number[number_of(m, name)]);
}
