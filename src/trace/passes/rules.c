/* rules.c: applies rewrites. After each the graph is brought into order and looked at anew, so
 * that every question about memory has an exact answer. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/passes/matcher.h"

/* ---- replacements that are text ---------------------------------------------------------------- */

/* a op b of whole numbers; false where 64 bits do not hold it. */
static bool whole_result(char op, int64_t a, int64_t b, int64_t *x)
{
    switch (op) {
    case '*': return !__builtin_mul_overflow(a, b, x);
    case '+': return !__builtin_add_overflow(a, b, x);
    default: return !__builtin_sub_overflow(a, b, x);
    }
}

static bool number_of(const reel__expr *e, const reel__match *m, reel__number *x)
{
    reel__number n[2];
    for (int i = 0; i < 2; i++)
        n[i] = e->name[i] < 0 ? e->number[i] : m->number[e->name[i]];
    const double a = reel__number_f64(n[0]), b = reel__number_f64(n[1]);
    *x = n[0];
    if (!e->op) return true;
    if (e->op != '/' && !n[0].is_real && !n[1].is_real) {
        x->is_real = 0;
        return whole_result(e->op, n[0].whole, n[1].whole, &x->whole);
    }
    *x = reel__real(e->op == '*'   ? a * b
                    : e->op == '/' ? a / b
                    : e->op == '+' ? a + b
                                   : a - b);
    return true;
}

/* Attributes of a new node: as another's, or 0, and then what the text says; false where an
 * attribute cannot hold that. */
static bool fill_attrs(const reel_graph *g, const reel__pattern *p, const reel__term *t,
                       const reel__match *m, void *attrs)
{
    size_t size = t->op->attrs ? t->op->attrs->size : 0;
    memset(attrs, 0, size);
    if (t->like >= 0)
        memcpy(attrs, g->node[g->value[m->value[t->like]].maker].attrs, size);
    for (int i = 0; i < t->n_condition; i++) {
        const reel__condition *c = &p->condition[t->condition + i];
        reel__number x;
        if (!number_of(&c->expr, m, &x) || !reel__attr_set(c->field, c->place, x, attrs))
            return false;
    }
    return true;
}

/* The value of a term; REEL_NO_VALUE for an absent operand too, *good false if it failed. */
static int make_term(reel_graph *g, const reel__pattern *p, int term,
                     const reel__match *m, bool *good)
{
    _Alignas(16) char attrs[REEL_ATTRS_MAX];
    const reel__term *t = &p->term[term];
    int in[8];
    if (t->kind == REEL__VALUE) return m->value[t->name];
    if (t->kind != REEL__NODE) return REEL_NO_VALUE;
    for (int k = 0; k < t->n_arg && *good; k++)
        in[k] = make_term(g, p, t->arg[k], m, good);
    *good = *good && fill_attrs(g, p, t, m, attrs);
    if (!*good) return REEL_NO_VALUE;
    const reel__gnode *like =
        t->like >= 0 ? &g->node[g->value[m->value[t->like]].maker] : NULL;
    int v = reel__graph_emit1(g, m->root, t->op, t->op->attrs ? attrs : NULL,
                              like ? like->per_batch : NULL, in, t->n_arg,
                              g->node[m->root].where);
    *good = v >= 0;
    return v;
}

/* ---- replacing ------------------------------------------------------------------------------------ */

typedef struct rewriter {
    const reel__rule *rule;
    reel__pattern *pattern, *by; /* of each rule */
    int n;
    reel__match_walk w;
} rewriter;

/* The value whose memory v looks at, as far as it was there before the rule ran. */
static int looks_at(const reel_graph *g, int v, int n_before)
{
    while (v >= n_before) {
        const reel__gnode *n = &g->node[g->value[v].maker];
        if (!(n->op->traits & REEL_OP_VIEW)) return -1;
        v = n->in[0];
    }
    return v;
}

/* 1 if `by` can stand for the match's result; 0; -1 with an error. */
static int may_stand_for(const rewriter *r, int by, int n_before)
{
    const reel_graph *g = r->w.g;
    int v = g->node[r->w.m.root].out[0], seen = looks_at(g, by, n_before);
    if (!reel__same_kind(g, v, by) || by == v) return 0;
    if (seen >= 0 && !reel__never_changes(&r->w.e, seen)) return 0;
    return reel__layout_fits(g, v, by);
}

static bool is_read(const reel_graph *g, int node)
{
    for (int k = 0; k < g->node[node].n_out; k++) {
        int v = g->node[node].out[k];
        for (int i = 0; i < g->n_node; i++)
            for (int j = 0; g->node[i].op && j < g->node[i].n_in; j++)
                if (v >= 0 && g->node[i].in[j] == v) return true;
        for (int i = 0; i < g->n_output; i++)
            if (g->output[i] == v) return true;
    }
    return false;
}

static int descending(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

static void replace(rewriter *r, int by)
{
    reel_graph *g = r->w.g;
    reel__match *m = &r->w.m;
    reel__graph_replace(g, g->node[m->root].out[0], by);
    /* readers before what they read */
    qsort(m->node, (size_t)m->n_node, sizeof *m->node, descending);
    for (int i = 0; i < m->n_node; i++)
        if (!is_read(g, m->node[i])) reel__graph_remove(g, m->node[i]);
}

/* What a rule emitted before it declined. */
static void take_back(reel_graph *g, int n_before)
{
    for (int i = g->n_node - 1; i >= n_before; i--) reel__graph_remove(g, i);
}

/* An error of a shape rule means that the replacement does not exist here. Running out of
 * memory is one. */
static bool is_error(void)
{
    if (!reel_failed()) return false;
    if (reel_error_status() == REEL_ERR_MEMORY) return true;
    reel_error_clear();
    return false;
}

/* 1 if a rule has changed the graph at this node, 0, -1 with an error. */
static int rewrite_at(rewriter *r, int node)
{
    reel_graph *g = r->w.g;
    for (int i = 0; i < r->n; i++) {
        if (!reel__find_match(&r->w, &r->pattern[i], node)) continue;
        int n_node = g->n_node, n_value = g->n_value;
        bool good = true;
        int by = r->rule[i].by ? make_term(g, &r->by[i], 0, &r->w.m, &good)
                               : r->rule[i].make(g, &r->w.m);
        int fits = good && by >= 0 ? may_stand_for(r, by, n_value) : 0;
        if (fits > 0) {
            replace(r, by);
            return 1;
        }
        if (is_error()) return -1;
        take_back(g, n_node);
    }
    return 0;
}

/* ---- the walk over the graph ------------------------------------------------------------------------ */

static void forget(rewriter *r)
{
    reel__free(r->w.uses);
    reel__effects_free(&r->w.e);
    r->w.uses = NULL;
}

static bool look(rewriter *r)
{
    forget(r);
    return reel__find_effects(r->w.g, &r->w.e) && (r->w.uses = reel__graph_uses(r->w.g));
}

static bool refresh(rewriter *r)
{
    return !reel__graph_compact(r->w.g) && !reel__graph_infer(r->w.g) && look(r);
}

/* Each rewrite makes the graph simpler; a table whose rules undo one another would not end. */
static int limit_of(const reel_graph *g)
{
    return 100 + 16 * g->n_node;
}

static int rewrite_all(rewriter *r)
{
    int changes = 0, limit = limit_of(r->w.g);
    if (!look(r)) return -1;
    for (int i = 0; i < r->w.g->n_node;) {
        int done = r->w.g->node[i].op ? rewrite_at(r, i) : 0;
        if (done < 0) return -1;
        if (!done) {
            i++;
            continue;
        }
        int back = r->w.m.n_node; /* what it made lies at most so far before */
        if (!refresh(r)) return -1;
        i = i > back ? i - back : 0;
        if (++changes > limit) {
            reel_fail(REEL_ERR_INTERNAL, "its rules do not come to an end");
            return -1;
        }
    }
    return changes;
}

int reel__apply_rules(reel_graph *g, const reel__rule *rule, int n)
{
    rewriter r = {.rule = rule, .n = n, .w.g = g};
    r.pattern = reel__calloc(2 * (size_t)n, sizeof *r.pattern);
    if (!r.pattern) return -1;
    r.by = r.pattern + n;
    bool good = true;
    for (int i = 0; i < n && good; i++)
        good = reel__pattern_parse(&r.pattern[i], rule[i].pattern, NULL) &&
               (!rule[i].by || reel__pattern_parse(&r.by[i], rule[i].by, &r.pattern[i]));
    int changes = good ? rewrite_all(&r) : -1;
    forget(&r);
    reel__free(r.pattern);
    return changes;
}
