/* early.c: nodes that only change state, such as an optimizer's step, run as soon as they can:
 * what they read, a gradient, need not wait for them in memory. */
#include "base/alloc.h"
#include "trace/passes/pass.h"

/* Whether the memory of v meets an operand of n: one that n changes, if `changed` says so. */
static bool meets(const reel__effects *e, const reel__gnode *n, int v, bool changed)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] >= 0 && e->root[n->in[k]] == e->root[v] &&
            (!changed || reel__op_changes(n->op, k)))
            return true;
    return false;
}

static bool makes(const reel__gnode *n, int v)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] == v) return true;
    return false;
}

/* True if `late` must stay behind `n`: it reads what n makes or changes, or changes what n
 * reads; or n does what nobody knows. */
static bool follows(const reel__effects *e, const reel__gnode *late, const reel__gnode *n)
{
    if (!reel__op_is_steady(n->op)) return true;
    for (int k = 0; k < late->n_in; k++) {
        int v = late->in[k];
        if (v >= 0 && (makes(n, v) || meets(e, n, v, !reel__op_changes(late->op, k))))
            return true;
    }
    return false;
}

static bool only_changes_state(const reel__gnode *n)
{
    return n->n_out == 0 && reel__op_mutates(n->op);
}

/* order[]: nodes as they are to run; node i moves up as far as it may, but not past others that
 * moved up as far: they would go on changing places. */
static int move_up(const reel_graph *g, const reel__effects *e, int *order, int at)
{
    int i = order[at], to = at;
    while (to > 0 && !follows(e, &g->node[i], &g->node[order[to - 1]])) to--;
    while (to < at && only_changes_state(&g->node[order[to]])) to++;
    for (int k = at; k > to; k--) order[k] = order[k - 1];
    order[to] = i;
    return at > to;
}

static int run(reel_graph *g)
{
    reel__effects e;
    int moved = 0;
    if (!reel__find_effects(g, &e)) return -1;
    int *order = reel__calloc((size_t)g->n_node + 1, sizeof *order);
    for (int i = 0; i < g->n_node && order; i++) {
        order[i] = i;
        if (only_changes_state(&g->node[i])) moved += move_up(g, &e, order, i);
    }
    for (int i = 0; i < g->n_node && order; i++)
        g->node[order[i]].place = (i + 1) * REEL__PLACE_GAP;
    reel__effects_free(&e);
    reel__free(order);
    return order ? moved : -1;
}

const reel__pass reel__pass_early = {
    "early", "runs optimizer steps as soon as their gradients are there", true, run};
