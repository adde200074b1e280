/* steps.c: nodes to calls of kernels, with the copies that they need. What apply() decides at
 * each call about operands in place is decided here once; that operands fit was checked with the
 * shapes (reel__infer). */
#include <string.h>

#include "base/alloc.h"
#include "ops/call.h"
#include "trace/execute/plan.h"

typedef struct builder {
    reel__plan *plan;
    const reel_graph *graph;
    size_t attrs; /* bytes used of the plan's */
    int temp;     /* temporary copies so far */
} builder;

static void add_arg(reel__plan *p, int slot)
{
    p->arg_slot[p->n_arg] = slot;
    p->arg[p->n_arg].meta = slot < 0 ? NULL : &p->meta[slot];
    p->n_arg++;
}

static reel__plan_step *add_step(reel__plan *p, uint16_t kernel, int node)
{
    reel__plan_step *s = &p->step[p->n_step++];
    s->node = node;
    s->first_arg = p->n_arg;
    s->call.kernel = (reel__kernel_id)kernel;
    return s;
}

/* The operands that were added since add_step() are its inputs, but for the last n_out. */
static void end_step(reel__plan *p, reel__plan_step *s, int n_out)
{
    s->call.n_out = n_out;
    s->call.n_in = p->n_arg - s->first_arg - n_out;
    s->call.in = &p->arg[s->first_arg];
    s->call.out = s->call.in + s->call.n_in;
}

static void add_copy(reel__plan *p, int from, int to)
{
    reel__plan_step *s = add_step(p, K_COPY, -1);
    add_arg(p, from);
    add_arg(p, to);
    end_step(p, s, 1);
}

static const void *add_attrs(builder *b, const reel__gnode *n)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    if (!n->attrs) return NULL;
    char *to = b->plan->attrs + b->attrs;
    memcpy(to, reel__attrs_at(b->graph, n, b->plan->batch, room), n->op->attrs->size);
    b->attrs += (n->op->attrs->size + 15) & ~(size_t)15;
    return to;
}

/* The slot that an in-place kernel reads for input k: what it would overwrite before it has
 * read it, such as the first row in x += x[0], is copied first. */
static int part(builder *b, const reel__gnode *n, int k)
{
    reel__plan *p = b->plan;
    int v = n->in[k];
    if (k == 0 || v < 0) return v;
    const reel__meta *m = &p->meta[v];
    bool same_memory = p->program->root[v] == p->program->root[n->in[0]];
    if (!reel__call_parts(n->op, k, same_memory, &p->meta[n->in[0]], m)) return v;
    int temp = reel__slot_temp(b->graph, b->temp++);
    p->meta[temp] = *m;
    p->meta[temp].offset = 0;
    reel__set_contiguous(&p->meta[temp]);
    add_copy(p, v, temp);
    return temp;
}

static void add_node(builder *b, int i)
{
    const reel__gnode *n = &b->graph->node[i];
    reel__plan *p = b->plan;
    int in[REEL_OP_MAX_IN], skip = n->op->traits & REEL_OP_OVERWRITE ? 1 : 0;
    if (n->op->traits & REEL_OP_VIEW) return;
    for (int k = skip; k < n->n_in; k++) in[k] = part(b, n, k);
    if (reel__draws(b->graph, n)) p->drawing[p->n_drawing++] = p->n_step;
    reel__plan_step *s = add_step(p, n->op->kernel, i);
    for (int k = skip; k < n->n_in; k++) add_arg(p, in[k]);
    for (int k = 0; k < n->n_out; k++) add_arg(p, n->out[k]);
    end_step(p, s, n->n_out);
    s->call.mutates = n->op->mutates;
    s->call.attrs = add_attrs(b, n);
    s->call.prepared = n->op->host;
}

void reel__plan_steps(reel__plan *p)
{
    builder b = {.plan = p, .graph = p->program->graph};
    const reel_graph *g = b.graph;
    for (int i = 0; i < g->n_input; i++)
        if (p->copied[i]) add_copy(p, reel__slot_input(g, i), g->input[i]);
    for (int i = 0; i < g->n_node; i++) add_node(&b, i);
    for (int i = 0; i < g->n_output; i++)
        if (p->copied[g->n_input + i]) add_copy(p, g->output[i], reel__slot_output(g, i));
}
