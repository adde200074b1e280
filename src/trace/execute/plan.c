/* plan.c: a plan from a graph: shapes at its batch size, then steps, then places. */
#include "trace/execute/plan.h"

#include <string.h>

#include "base/alloc.h"

static int n_temp(const reel_graph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].op->traits & REEL_OP_INPLACE) n += g->node[i].n_in - 1;
    return n;
}

/* Room for the most that there can be of everything. */
static bool make_room(reel__plan *p)
{
    const reel_graph *g = p->program->graph;
    size_t args = 0, attrs = 0, ends = (size_t)(g->n_input + g->n_output),
           temps = (size_t)n_temp(g);
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        args += (size_t)(n->n_in + n->n_out);
        if (n->attrs) attrs += (n->op->attrs->size + 15) & ~(size_t)15;
    }
    args += 2 * (ends + temps) + 1;
    p->n_slot = g->n_value + g->n_input + g->n_output + (int)temps;
    size_t slots = (size_t)p->n_slot + 1, steps = (size_t)g->n_node + ends + temps + 1;
    p->copied = reel__calloc(2 * ends + 1, sizeof *p->copied);
    p->meta = reel__calloc(slots, sizeof *p->meta);
    p->place = reel__calloc(slots, sizeof *p->place);
    p->block_of = reel__calloc(slots, sizeof *p->block_of);
    p->block = reel__calloc(slots, sizeof *p->block);
    p->step = reel__calloc(steps, sizeof *p->step);
    p->drawing = reel__calloc(steps, sizeof *p->drawing);
    p->arg = reel__calloc(args, sizeof *p->arg);
    p->arg_slot = reel__calloc(args, sizeof *p->arg_slot);
    p->moving = reel__calloc(args, sizeof *p->moving);
    p->attrs = reel__calloc(attrs + 1, 1);
    if (p->copied) p->must_copy = p->copied + ends;
    return p->copied && p->meta && p->place && p->block_of && p->block && p->step &&
           p->drawing && p->arg && p->arg_slot && p->moving && p->attrs;
}

/* An input that a node changes is not the caller's: the node works on a copy. */
static void choose_inputs(reel__plan *p, const bool *copied)
{
    const reel_graph *g = p->program->graph;
    for (int i = 0; i < g->n_input; i++) {
        p->must_copy[i] = p->program->changes[g->input[i]];
        p->copied[i] = copied[i] || p->must_copy[i];
    }
}

/* Shapes and strides of all values, by the records' rules: those that the graph holds may be
 * of a time when its operands lay otherwise. */
static reel_status find_metas(reel__plan *p)
{
    const reel_graph *g = p->program->graph;
    for (int v = 0; v < g->n_value; v++) reel__value_meta_at(g, v, p->batch, &p->meta[v]);
    for (int i = 0; i < g->n_input; i++)
        if (p->copied[i])
            reel__set_strides_like(&p->meta[g->input[i]], &p->meta[g->input[i]]);
    reel_status st = reel__metas_anew(g, p->batch, 0, p->meta);
    for (int i = 0; i < g->n_node && !st; i++)
        for (int k = 0; k < g->node[i].n_out && !st; k++)
            if (g->node[i].out[k] >= 0)
                st = reel__meta_check(g->node[i].op->name, &p->meta[g->node[i].out[k]]);
    return st;
}

/* True if v covers all the memory of its owner: then the one can lie where the other does. */
static bool covers(const reel__plan *p, int v, int owner)
{
    const reel__meta *a = &p->meta[v], *b = &p->meta[owner];
    return v == owner || (a->offset == b->offset && reel__numel(a) == reel__numel(b) &&
                          reel__is_dense(a));
}

/* A value that a node makes is made where the caller wants it: once. State, inputs, parts of
 * values and second copies are copied in the end. */
static void choose_outputs(reel__plan *p, const bool *copied)
{
    const reel_graph *g = p->program->graph;
    for (int i = 0; i < g->n_output; i++) {
        int v = g->output[i], owner = p->program->owner[v], e = g->n_input + i;
        bool must = g->value[owner].kind != REEL_VALUE_NODE || !covers(p, v, owner);
        for (int k = 0; k < i && !must; k++)
            must = !p->copied[g->n_input + k] && p->program->owner[g->output[k]] == owner;
        p->must_copy[e] = must;
        p->copied[e] = copied[e] || must;
    }
}

reel__plan *reel__plan_new(reel__program *program, int64_t b, const bool *copied)
{
    reel__plan *p = reel__calloc(1, sizeof *p);
    if (!p) return NULL;
    p->program = program;
    p->batch = b;
    bool whole = make_room(p);
    if (whole) choose_inputs(p, copied);
    whole = whole && !find_metas(p);
    if (whole) choose_outputs(p, copied);
    if (whole) reel__plan_steps(p);
    if (whole && !reel__plan_places(p)) return p;
    reel__plan_free(p);
    return NULL;
}

void reel__plan_free(reel__plan *p)
{
    if (!p) return;
    reel__prepared_drop(p);
    reel__free(p->copied);
    reel__free(p->meta);
    reel__free(p->place);
    reel__free(p->block_of);
    reel__free(p->block);
    reel__free(p->step);
    reel__free(p->drawing);
    reel__free(p->arg);
    reel__free(p->arg_slot);
    reel__free(p->moving);
    reel__free(p->attrs);
    reel__free(p);
}

void reel__plan_bind(reel__plan *p, char *const *base)
{
    if (p->bound != base[0]) {
        for (int a = 0; a < p->n_arg; a++) {
            const reel__place *at = p->arg_slot[a] < 0 ? NULL : &p->place[p->arg_slot[a]];
            if (at && at->base == 0) p->arg[a].data = base[0] + at->offset;
        }
        p->bound = base[0];
    }
    for (int i = 0; i < p->n_moving; i++) {
        int a = p->moving[i];
        const reel__place *at = &p->place[p->arg_slot[a]];
        p->arg[a].data = base[at->base] + at->offset;
    }
}
