/* settled.c: what a graph computes from its state alone: weights with the batch norm behind
 * them, tables made of constants. A graph says how they are computed, so it stays trainable in
 * its own parameters and follows them; who runs it often, or writes it to a file, takes them
 * out and computes them once. Views of state cost nothing and stay where they are. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shares.h"
#include "ops/records.h"
#include "trace/passes/pass.h"

bool reel__is_settled(const reel_graph *g, const reel__effects *e, int i)
{
    const reel__gnode *n = &g->node[i];
    bool settled = n->op, makes = false;
    for (int k = 0; k < n->n_out && settled; k++) {
        if (n->out[k] < 0) continue;
        settled = e->settled[n->out[k]];
        makes = true;
    }
    return settled && makes;
}

/* What stays in the graph, and which values that reads. */
typedef struct split {
    reel_graph *g;
    reel__effects e;
    bool packed; /* what only unpacks stays, and with it the smaller form */
    bool *node, *value;
    bool *trained; /* of each value: a parameter, or computed from one */
} split;

/* Whether node i is computed once. */
static bool is_once(const split *s, int i)
{
    return reel__is_settled(s->g, &s->e, i) &&
           !(s->packed && (s->g->node[i].op->traits & REEL_OP_UNPACKS));
}

/* From last to first: views of what is taken out stay only where they are read. */
static void choose(split *s)
{
    const reel_graph *g = s->g;
    for (int i = 0; i < g->n_output; i++) s->value[g->output[i]] = true;
    for (int i = g->n_node - 1; i >= 0; i--) {
        const reel__gnode *n = &g->node[i];
        bool read = !(n->op->traits & REEL_OP_VIEW) || !s->e.fixed[n->out[0]] ||
                    s->value[n->out[0]];
        s->node[i] = read && !is_once(s, i);
        for (int k = 0; k < n->n_in && s->node[i]; k++)
            if (n->in[k] >= 0) s->value[n->in[k]] = true;
    }
}

static bool is_taken_out(const split *s, int v)
{
    int maker = s->g->value[v].maker;
    return s->value[v] && s->g->value[v].kind == REEL_VALUE_NODE && maker >= 0 &&
           is_once(s, maker);
}

/* ---- the graph that computes them ----------------------------------------------------------- */

static void drop_ends(reel_graph *g)
{
    for (int i = 0; i < g->n_output; i++) reel__free(g->output_name[i]);
    g->n_output = g->n_input = 0;
}

static reel_status add_made(const split *s, reel__settled *out)
{
    for (int v = 0; v < s->g->n_value; v++) {
        if (!is_taken_out(s, v)) continue;
        reel__meta m = s->g->value[v].meta;
        m.offset = 0;
        if (!reel__is_dense(&m)) reel__set_strides_like(&m, &s->g->value[v].meta);
        if (!(out->tensor[out->n] = reel__tensor_new(&m, NULL)))
            return reel_error_status();
        out->n++;
        if (reel__graph_add_output(out->graph, v, "made")) return reel_error_status();
    }
    return REEL_OK;
}

/* Values that change, and with them inputs, belong to nodes that go. */
static reel_status graph_of(const split *s, reel__settled *out)
{
    reel_graph *c = out->graph = reel__graph_copy(s->g);
    out->tensor = reel__calloc((size_t)s->g->n_value + 1, sizeof(reel_tensor *));
    if (!c || !out->tensor) return reel_error_status();
    drop_ends(c);
    if (add_made(s, out)) return reel_error_status();
    for (int i = 0; i < c->n_node; i++) {
        const reel__gnode *n = &c->node[i];
        bool fixed = n->n_out > 0;
        for (int k = 0; k < n->n_out; k++)
            fixed = fixed && (n->out[k] < 0 || s->e.fixed[n->out[k]]);
        if (!fixed) reel__graph_remove(c, i);
    }
    if (reel__graph_compact(c) || reel__pass_dce.run(c) < 0) return reel_error_status();
    c->batch = 0;
    c->rng_blocks = 0;
    return reel__graph_compact(c);
}

/* ---- names ------------------------------------------------------------------------------------ */

static bool is_layer(const reel__op *op)
{
    return op == &reel__conv2d || op == &reel__conv2d_fused || op == &reel__linear ||
           op == &reel__linear_fused;
}

enum { NAME = 512 };

/* The parameter of its shape that v was made of: of a first result the first operand, else the
 * last one. NULL: there is none. */
static const char *parameter_of(const reel_graph *g, int v)
{
    const char *name = NULL;
    int made_by = g->value[v].maker; /* -1: a state, perhaps since just now */
    while (made_by >= 0 && (g->node[made_by].op->traits & REEL_OP_VIEW)) {
        v = g->node[made_by].in[0]; /* it looks at what another node computes */
        made_by = g->value[v].maker;
    }
    if (made_by < 0) return g->value[v].name;
    const reel__gnode *maker = &g->node[made_by];
    for (int k = 0; k < maker->n_in; k++) {
        const reel__value *x = maker->in[k] < 0 ? NULL : &g->value[maker->in[k]];
        if (!x || x->kind != REEL_VALUE_PARAM ||
            !reel__same_shape(&x->meta, &g->value[v].meta))
            continue;
        if (!name || maker->out[0] != v) name = x->name;
    }
    return name;
}

/* What v is called as a state: after the layer whose weight or bias it is, else after a
 * parameter that it was made of. NULL: it has no name. */
static const char *name_of(const reel_graph *g, int v, char buf[NAME])
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        if (!is_layer(n->op) || !n->where) continue;
        for (int k = 1; k <= 2; k++)
            if (n->in[k] == v) {
                (void)snprintf(buf, NAME, "%s.%s", n->where, k == 1 ? "weight" : "bias");
                return buf;
            }
    }
    const char *name = parameter_of(g, v);
    if (name) (void)snprintf(buf, NAME, "%s", name);
    return name ? buf : NULL;
}

/* By an input, by a state that stays, by one that was named just now. */
static bool is_taken(const split *s, const char *name)
{
    for (int v = 0; v < s->g->n_value; v++) {
        const reel__value *x = &s->g->value[v];
        if (x->name && (x->kind == REEL_VALUE_INPUT || s->value[v]) &&
            strcmp(x->name, name) == 0)
            return true;
    }
    return false;
}

static char *free_name(const split *s, int v)
{
    char buf[NAME], numbered[NAME + 32];
    const char *name = name_of(s->g, v, buf);
    if (!name) return NULL;
    for (int i = 1; name == buf ? is_taken(s, buf) : is_taken(s, numbered); i++) {
        (void)snprintf(numbered, sizeof numbered, "%s.folded%d", buf, i);
        name = numbered;
    }
    return reel__strdup(name);
}

/* ---- what is left ----------------------------------------------------------------------------- */

/* The value becomes a state of its own. */
static void keep_made(split *s, int v, reel_tensor *tensor)
{
    char *name = free_name(s, v);
    reel__value *x = &s->g->value[v];
    x->name = name;
    x->kind = s->trained[v] ? REEL_VALUE_PARAM : REEL_VALUE_CONST;
    x->tensor = reel__hold(tensor);
    x->meta = tensor->meta;
    x->maker = -1;
}

static reel_status take_out(split *s, reel__settled *out)
{
    reel_graph *g = s->g;
    int kept = 0, made = 0;
    out->node_of = reel__calloc((size_t)g->n_node + 1, sizeof *out->node_of);
    if (!out->node_of) return reel_error_status();
    for (int v = 0; v < g->n_value && made < out->n && !reel_failed(); v++)
        if (is_taken_out(s, v)) keep_made(s, v, out->tensor[made++]);
    for (int i = 0; i < g->n_node; i++) {
        if (s->node[i])
            out->node_of[kept++] = i;
        else
            reel__graph_remove(g, i);
    }
    return reel_failed() ? reel_error_status() : reel__graph_compact(g);
}

static void find_trained(split *s)
{
    const reel_graph *g = s->g;
    for (int v = 0; v < g->n_value; v++)
        s->trained[v] = g->value[v].kind == REEL_VALUE_PARAM;
    for (int i = 0; i < g->n_node; i++) {
        bool any = false;
        for (int k = 0; k < g->node[i].n_in; k++)
            any = any || (g->node[i].in[k] >= 0 && s->trained[g->node[i].in[k]]);
        for (int k = 0; k < g->node[i].n_out && any; k++)
            if (g->node[i].out[k] >= 0) s->trained[g->node[i].out[k]] = true;
    }
}

static reel_status split_graph(split *s, reel__settled *out)
{
    bool any = false;
    choose(s);
    find_trained(s);
    for (int v = 0; v < s->g->n_value && !any; v++) any = is_taken_out(s, v);
    if (any && graph_of(s, out)) return reel_error_status();
    return take_out(s, out);
}

reel_status reel__settle(reel_graph *g, bool packed, reel__settled *out)
{
    split s = {.g = g, .packed = packed};
    *out = (reel__settled){0};
    if (!reel__find_effects(g, &s.e)) return reel_error_status();
    size_t n = (size_t)g->n_value + 1;
    s.node = reel__calloc((size_t)g->n_node + 1, sizeof *s.node);
    s.value = reel__calloc(2 * n, sizeof *s.value);
    reel_status st = reel_error_status();
    if (s.node && s.value) {
        s.trained = s.value + n;
        st = split_graph(&s, out);
    }
    reel__free(s.node);
    reel__free(s.value);
    reel__effects_free(&s.e);
    return st;
}

/* ---- filling ---------------------------------------------------------------------------------- */

reel_status reel__settled_fill(reel__settled *s)
{
    if (!s->n) return REEL_OK;
    reel_scope scope = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_tensor **y = reel__calloc((size_t)s->n, sizeof(reel_tensor *));
    reel_status st = y ? reel_graph_run(s->graph, NULL, 0, y, s->n) : reel_error_status();
    for (int i = 0; i < s->n && !st; i++)
        if (!reel_copy_(s->tensor[i], y[i])) st = reel_error_status();
    reel__free(y);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(scope);
    return st;
}

void reel__settled_free(reel__settled *s)
{
    for (int i = 0; i < s->n; i++) reel__let_go(s->tensor[i]);
    reel_graph_free(s->graph);
    reel__free(s->tensor);
    reel__free(s->node_of);
    *s = (reel__settled){0};
}

static reel_graph *without_settled(const reel_graph *g, bool for_file)
{
    reel__settled s = {0};
    reel_graph *copy = reel__graph_copy(g);
    bool good = copy && !reel__settle(copy, for_file, &s) &&
                (!for_file || !reel__settled_fill(&s));
    reel__settled_free(&s);
    if (good) return copy;
    reel_graph_free(copy);
    return NULL;
}

reel_graph *reel__graph_as_run(const reel_graph *g)
{
    return without_settled(g, false);
}

reel_graph *reel__graph_as_filed(const reel_graph *g)
{
    return without_settled(g, true);
}

int reel_graph_nodes_each_run(const reel_graph *g)
{
    REEL__CALLED;
    reel__effects e;
    int n = 0;
    if (!g) reel_fail(REEL_ERR_ARG, "graph_nodes_each_run: the graph is NULL");
    if (!g || !reel__find_effects(g, &e)) return -1;
    for (int i = 0; i < g->n_node; i++) n += !reel__is_settled(g, &e, i);
    reel__effects_free(&e);
    return n;
}
