/* fold.c: constant folding. Nodes that read nothing but constants run now, on the one path,
 * and their results become constants. Parameters are not constants: they can be trained. */
#include "base/alloc.h"
#include "ops/recorder.h"
#include "ops/records.h"
#include "trace/passes/pass.h"

/* A result larger than this is computed anew each time rather than kept; one that is made from
 * nothing (zeros, a range) is cheap to make. */
enum { MAX_BYTES = 64 << 20, MAX_MADE_BYTES = 4 << 10 };

/* A constant that is a view of a parameter changes as that does. */
static bool is_constant(const reel_graph *g, const reel__effects *e, int v, int n_known)
{
    const reel__value *x = &g->value[v];
    if (x->kind != REEL_VALUE_CONST || x->tensor->node || x->shared) return false;
    return v >= n_known ||
           (reel__never_changes(e, v) && g->value[e->root[v]].kind == REEL_VALUE_CONST);
}

/* Results that nobody changes and that are as large at every batch size. */
static bool may_keep(const reel_graph *g, const reel__effects *e, const reel__gnode *n)
{
    int64_t bytes = 0;
    for (int k = 0; k < n->n_out; k++) {
        if (n->out[k] < 0) continue;
        const reel__value *v = &g->value[n->out[k]];
        for (int d = 0; d < v->meta.rank; d++)
            if (v->grow[d]) return false;
        if (!reel__never_changes(e, n->out[k])) return false;
        bytes += reel__numel(&v->meta) * (int64_t)reel_dtype_size(v->meta.dtype);
    }
    return bytes <= (n->n_in ? MAX_BYTES : MAX_MADE_BYTES);
}

static bool foldable(const reel_graph *g, const reel__effects *e, const reel__gnode *n,
                     int n_known)
{
    if (n->per_batch || reel__op_mutates(n->op) || !reel__op_is_steady(n->op) ||
        (n->op->traits & (REEL_OP_RANDOM | REEL_OP_UNPACKS)))
        return false;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] >= 0 && !is_constant(g, e, n->in[k], n_known)) return false;
    return may_keep(g, e, n);
}

static bool fold(reel_graph *g, int i)
{
    reel_tensor *in[REEL_OP_MAX_IN], *out[REEL_OP_MAX_OUT];
    const reel__gnode n = g->node[i];
    for (int k = 0; k < n.n_in; k++)
        in[k] = n.in[k] < 0 ? NULL : g->value[n.in[k]].tensor;
    reel_scope s = reel_scope_begin();
    bool tape = reel__tape_enable(false);
    reel_status st = reel__apply(n.op, n.attrs, n.n_in, in, out);
    (void)reel__tape_enable(tape);
    for (int k = 0; k < n.n_out && !st; k++) {
        if (n.out[k] < 0) continue;
        int v = reel__graph_add_value(g, REEL_VALUE_CONST, &out[k]->meta, NULL, out[k]);
        if (v < 0)
            st = reel_error_status();
        else
            reel__graph_replace(g, n.out[k], v);
    }
    reel_scope_end(s);
    if (!st) reel__graph_remove(g, i);
    return !st;
}

static int run(reel_graph *g)
{
    reel__effects e;
    int folded = 0, n_known = g->n_value;
    if (!reel__find_effects(g, &e)) return -1;
    for (int i = 0; i < g->n_node && folded >= 0; i++)
        if (foldable(g, &e, &g->node[i], n_known)) folded = fold(g, i) ? folded + 1 : -1;
    reel__effects_free(&e);
    return folded;
}

const reel__pass reel__pass_fold = {
    "fold", "computes now what depends on constants alone", true, run};
