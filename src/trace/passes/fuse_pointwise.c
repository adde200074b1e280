/* fuse_pointwise.c: regions of pointwise operators of one shape become one program (record
 * `pointwise`), which reads and writes memory once.
 *
 * A region is grown from its last node upward: a node joins if all who read its result are in the
 * region, or come after the region's end and then read it as a further output. So nothing outside
 * stands between a region's nodes, and it can run at its end. */
#include <string.h>

#include "backend/pw_info.h"
#include "base/alloc.h"
#include "ops/records.h"
#include "trace/passes/pass.h"

typedef struct region {
    int end;                      /* the last node */
    int n_node, node[REEL_STEPS]; /* ascending */
    int n_in, in[REEL_STEP_INS];
    int n_out, out[REEL_STEP_OUTS]; /* places in node[] */
} region;

typedef struct fuser {
    reel_graph *g;
    reel__effects e;
    int *first,
        *reader; /* readers of value v: reader[first[v]] .. reader[first[v + 1] - 1] */
    bool *taken; /* nodes that are in a region */
    bool *is_output; /* values */
    int n_node;      /* nodes and values that were there in the beginning */
    int n_value;
} fuser;

/* ---- who reads what --------------------------------------------------------------------------- */

static void count_readers(fuser *f)
{
    const reel_graph *g = f->g;
    for (int i = 0; i < f->n_node; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] >= 0) f->first[g->node[i].in[k] + 1]++;
    for (int v = 0; v < f->n_value; v++) f->first[v + 1] += f->first[v];
}

/* first[v] runs ahead while the lists are filled, and ends where v + 1 began. */
static void list_readers(fuser *f)
{
    const reel_graph *g = f->g;
    for (int i = 0; i < f->n_node; i++)
        for (int k = 0; k < g->node[i].n_in; k++)
            if (g->node[i].in[k] >= 0) f->reader[f->first[g->node[i].in[k]]++] = i;
    for (int v = f->n_value; v > 0; v--) f->first[v] = f->first[v - 1];
    f->first[0] = 0;
}

static void end(fuser *f)
{
    reel__effects_free(&f->e);
    reel__free(f->first);
    reel__free(f->reader);
    reel__free(f->taken);
    reel__free(f->is_output);
}

static bool begin(fuser *f, reel_graph *g)
{
    *f = (fuser){.g = g, .n_node = g->n_node, .n_value = g->n_value};
    if (!reel__find_effects(g, &f->e)) return false;
    f->first = reel__calloc((size_t)g->n_value + 2, sizeof *f->first);
    f->taken = reel__calloc((size_t)g->n_node + 1, sizeof *f->taken);
    f->is_output = reel__calloc((size_t)g->n_value + 1, sizeof *f->is_output);
    if (!f->first || !f->taken || !f->is_output) return false;
    count_readers(f);
    f->reader = reel__calloc((size_t)f->first[f->n_value] + 1, sizeof *f->reader);
    if (!f->reader) return false;
    list_readers(f);
    for (int i = 0; i < g->n_output; i++) f->is_output[g->output[i]] = true;
    return true;
}

/* ---- growing -------------------------------------------------------------------------------------- */

/* Halves are rounded after each operator, but not between the steps of a program. */
static bool is_value_dtype(reel_dtype dtype)
{
    return dtype == REEL_F32 || dtype == REEL_F64;
}

/* The operand in whose dtype a pointwise node is computed. */
static int typed_by(const reel__gnode *n)
{
    return reel__pw_info_of((reel__kernel_id)n->op->kernel)->typed_by;
}

static bool may_join(const fuser *f, int i)
{
    const reel__gnode *n = &f->g->node[i];
    if (f->taken[i] || !(n->op->traits & REEL_OP_POINTWISE) || reel__op_mutates(n->op) ||
        !reel__never_changes(&f->e, n->out[0]))
        return false;
    reel_dtype by = f->g->value[n->in[typed_by(n)]].meta.dtype;
    return is_value_dtype(by) || by == REEL_BOOL;
}

/* One float dtype in a region; a node that only knows bools fits any. Integers are what a node
 * makes floats of, or the grid on which it puts them. */
static bool same_dtype(const fuser *f, int i, reel_dtype *dtype)
{
    const reel__gnode *n = &f->g->node[i];
    for (int k = 0; k < n->n_in; k++) {
        reel_dtype d = f->g->value[n->in[k]].meta.dtype;
        if (!is_value_dtype(d)) continue;
        if (*dtype == REEL_BOOL) *dtype = d;
        if (*dtype != d) return false;
    }
    return true;
}

/* Executors compute it once; in a program it would be computed each time. */
static bool is_once(const fuser *f, int i)
{
    return f->e.settled[f->g->node[i].out[0]];
}

static int place_of(const region *r, int node)
{
    for (int i = 0; i < r->n_node; i++)
        if (r->node[i] == node) return i;
    return -1;
}

static bool same_size(const reel_graph *g, int v, int u)
{
    const reel__value *a = &g->value[v], *b = &g->value[u];
    return reel__same_shape(&a->meta, &b->meta) &&
           memcmp(a->grow, b->grow, (size_t)a->meta.rank * sizeof *a->grow) == 0 &&
           reel__bend_alike(g, v, u, false);
}

/* Somebody in the region reads i's result; nobody else does before the region's end. */
static bool feeds_only(const fuser *f, const region *r, int i, bool *outside)
{
    int v = f->g->node[i].out[0];
    bool inside = false;
    *outside = f->is_output[v];
    for (int k = f->first[v]; k < f->first[v + 1]; k++) {
        if (place_of(r, f->reader[k]) >= 0)
            inside = true;
        else if (f->reader[k] < r->end)
            return false;
        else
            *outside = true;
    }
    return inside;
}

/* What node i reads is still there at the region's end. */
static bool can_wait(const fuser *f, const region *r, int i)
{
    const reel__gnode *n = &f->g->node[i];
    for (int k = 0; k < n->n_in; k++)
        if (!reel__same_between(&f->e, n->in[k], i, r->end)) return false;
    return true;
}

/* A broadcast view is read as what it is a view of, if another operand has the full size. */
static int source(const fuser *f, int v)
{
    int maker = f->g->value[v].maker;
    bool expands = maker >= 0 && f->g->node[maker].op == &reel__expand;
    return expands ? f->g->node[maker].in[0] : v;
}

static void add_input(region *r, int v)
{
    for (int i = 0; i < r->n_in && i < REEL_STEP_INS; i++)
        if (r->in[i] == v) return;
    if (r->n_in < REEL_STEP_INS) r->in[r->n_in] = v;
    r->n_in++; /* may count past the end: too many */
}

/* Collects what the region reads from outside; false if it is too much. */
static bool collect_inputs(const fuser *f, region *r, bool sources)
{
    r->n_in = 0;
    for (int i = 0; i < r->n_node; i++) {
        const reel__gnode *n = &f->g->node[r->node[i]];
        for (int k = 0; k < n->n_in; k++) {
            int maker = f->g->value[n->in[k]].maker;
            if (maker < 0 || place_of(r, maker) < 0)
                add_input(r, sources ? source(f, n->in[k]) : n->in[k]);
        }
    }
    return r->n_in <= REEL_STEP_INS;
}

static void grow(const fuser *f, region *r, int at)
{
    reel_dtype dtype = REEL_BOOL;
    *r = (region){.end = at, .n_node = 1, .node = {at}, .n_out = 1, .out = {at}};
    if (!same_dtype(f, at, &dtype)) return;
    int size_of = f->g->node[at].out[0];
    for (int i = at - 1; i >= 0 && r->n_node < REEL_STEPS; i--) {
        bool outside = false;
        reel_dtype with = dtype;
        if (!may_join(f, i) || is_once(f, i) != is_once(f, at) ||
            !feeds_only(f, r, i, &outside) ||
            !same_size(f->g, f->g->node[i].out[0], size_of) || !can_wait(f, r, i) ||
            !same_dtype(f, i, &with) || (outside && r->n_out == REEL_STEP_OUTS))
            continue;
        region more = *r;
        memmove(more.node + 1, r->node, (size_t)r->n_node * sizeof *r->node);
        more.node[0] = i;
        more.n_node++;
        if (outside) more.out[more.n_out++] = i;
        if (!collect_inputs(f, &more, false)) continue;
        *r = more;
        dtype = with;
    }
}

/* ---- the program ------------------------------------------------------------------------------------ */

/* Results lie in memory as the first input of their shape does: one that lies as the end's
 * result did comes first. Without any of the full size views must stay views. */
static bool order_inputs(const fuser *f, region *r)
{
    int like = f->g->node[r->end].out[0];
    (void)collect_inputs(f, r, true);
    bool full = false;
    for (int i = 0; i < r->n_in && !full; i++) full = same_size(f->g, r->in[i], like);
    if (!full) (void)collect_inputs(f, r, false);
    for (int i = 0; i < r->n_in; i++) {
        const reel__value *v = &f->g->value[r->in[i]];
        reel__meta as = v->meta;
        if (!same_size(f->g, r->in[i], like)) continue;
        reel__set_strides_like(&as, &v->meta);
        if (memcmp(as.stride, f->g->value[like].meta.stride,
                   (size_t)as.rank * sizeof *as.stride) != 0)
            continue;
        int first = r->in[0];
        r->in[0] = r->in[i];
        r->in[i] = first;
        break;
    }
    return full;
}

static int64_t operand(const fuser *f, const region *r, int v, bool sources)
{
    int maker = f->g->value[v].maker, step = maker < 0 ? -1 : place_of(r, maker);
    if (step >= 0) return r->n_in + step;
    if (sources) v = source(f, v);
    for (int i = 0; i < r->n_in; i++)
        if (r->in[i] == v) return i;
    return -1;
}

/* The program, and what of it depends on the batch. */
static bool write_program(const fuser *f, const region *r, bool sources,
                          reel__pointwise_attrs *p, reel__pointwise_attrs *per_batch)
{
    bool grows = false;
    *p = (reel__pointwise_attrs){.n_in = r->n_in, .n_step = r->n_node, .n_out = r->n_out};
    memset(per_batch, 0, sizeof *per_batch);
    for (int s = 0; s < r->n_node; s++) {
        const reel__gnode *n = &f->g->node[r->node[s]];
        p->row[s] = n->op->kernel;
        for (int k = 0; k < 3; k++)
            p->src[s][k] = k < n->n_in ? operand(f, r, n->in[k], sources) : -1;
        if (n->op->attrs) memcpy(p->a[s], n->attrs, sizeof p->a[s]);
        if (n->per_batch) memcpy(per_batch->a[s], n->per_batch, sizeof p->a[s]);
        grows = grows || n->per_batch;
    }
    for (int i = 0; i < r->n_out; i++) p->out[i] = place_of(r, r->out[i]);
    return grows;
}

/* 1 if the region is a program now; 0 if its results would lie otherwise in memory; -1. */
static int fuse(fuser *f, region *r)
{
    reel_graph *g = f->g;
    reel__pointwise_attrs p, per_batch;
    int out[REEL_OP_MAX_OUT];
    bool sources = order_inputs(f, r);
    bool grows = write_program(f, r, sources, &p, &per_batch);
    int node =
        reel__graph_emit(g, r->end, &reel__pointwise, &p, grows ? &per_batch : NULL,
                         r->in, r->n_in, g->node[r->end].where, out);
    if (node < 0) return -1;
    for (int i = 0; i < r->n_out; i++)
        if (!reel__same_layout(g, g->node[r->out[i]].out[0], out[i])) {
            reel__graph_remove(g, node);
            return 0;
        }
    for (int i = 0; i < r->n_out; i++)
        reel__graph_replace(g, g->node[r->out[i]].out[0], out[i]);
    for (int i = 0; i < r->n_node; i++) {
        f->taken[r->node[i]] = true;
        reel__graph_remove(g, r->node[i]);
    }
    return 1;
}

static int fuse_all(fuser *f)
{
    int changes = 0;
    for (int i = f->n_node - 1; i >= 0; i--) {
        region r;
        if (f->taken[i] || !may_join(f, i)) continue;
        grow(f, &r, i);
        int fused = r.n_node > 1 ? fuse(f, &r) : 0;
        if (fused < 0) return -1;
        changes += fused;
    }
    return changes;
}

static int run(reel_graph *g)
{
    fuser f;
    int changes = begin(&f, g) ? fuse_all(&f) : -1;
    end(&f);
    return changes;
}

const reel__pass reel__pass_fuse_pointwise = {
    "fuse_pointwise", "regions of pointwise operators in one loop", true, run};
