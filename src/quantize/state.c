/* state.c: what a graph holds: tensors of its own, and what it computes from them alone. */
#include "base/alloc.h"
#include "base/shares.h"
#include "quantize/quantize.h"
#include "trace/passes/pass.h"

reel_status reel__own_tensors(reel_graph *g)
{
    bool was = reel_set_grad_enabled(false);
    for (int v = 0; v < g->n_value && !reel_failed(); v++) {
        reel__value *x = &g->value[v];
        if (!reel__is_state(x)) continue;
        reel_tensor *copy = reel_copy(x->tensor);
        if (!copy) break;
        reel__let_go(x->tensor);
        x->tensor = reel__hold(copy);
        x->meta = copy->meta;
        x->shared = false;
    }
    (void)reel_set_grad_enabled(was);
    return reel_failed() ? reel_error_status() : reel__graph_infer(g);
}

reel_graph *reel__own_copy(const reel_graph *g)
{
    reel_graph *copy = reel__graph_copy(g);
    if (!copy) return NULL;
    reel__decided_release(copy->decided); /* that was the other model's */
    copy->decided = NULL;
    if (!reel__own_tensors(copy)) return copy;
    reel_graph_free(copy);
    return NULL;
}

static reel_status compute(const reel_graph *g, const reel__gnode *n, reel_tensor **env)
{
    reel_tensor *in[REEL_OP_MAX_IN], *out[REEL_OP_MAX_OUT];
    for (int k = 0; k < n->n_in; k++) in[k] = n->in[k] < 0 ? NULL : env[n->in[k]];
    if (reel__apply(n->op, n->attrs, n->n_in, in, out)) return reel_error_status();
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] >= 0) env[n->out[k]] = out[k];
    (void)g;
    return REEL_OK;
}

static bool is_fixed(const reel__effects *e, const reel__gnode *n)
{
    bool fixed = n->n_out > 0;
    for (int k = 0; k < n->n_out; k++)
        fixed = fixed && (n->out[k] < 0 || e->fixed[n->out[k]]);
    return fixed;
}

reel_tensor **reel__fixed_values(const reel_graph *g)
{
    reel__effects e;
    if (!reel__find_effects(g, &e)) return NULL;
    reel_tensor **env = reel__calloc((size_t)g->n_value + 1, sizeof(reel_tensor *));
    bool was = reel_set_grad_enabled(false);
    for (int v = 0; env && v < g->n_value; v++) env[v] = g->value[v].tensor;
    for (int i = 0; env && i < g->n_node && !reel_failed(); i++)
        if (is_fixed(&e, &g->node[i])) (void)compute(g, &g->node[i], env);
    (void)reel_set_grad_enabled(was);
    reel__effects_free(&e);
    if (!reel_failed()) return env;
    reel__free(env);
    return NULL;
}
