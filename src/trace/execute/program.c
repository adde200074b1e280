/* program.c: what all executors of one graph share: the graph, who owns which memory, what
 * was prepared. */
#include <string.h>

#include "base/alloc.h"
#include "trace/execute/plan.h"

/* A view or an in-place result looks at the memory of input 0. A value that stands already,
 * such as one that is reshaped there and back, keeps its owner. */
static void find_owners(reel__program *p, bool *seen)
{
    const reel_graph *g = p->graph;
    for (int v = 0; v < g->n_value; v++) {
        p->owner[v] = v;
        seen[v] = g->value[v].kind != REEL_VALUE_NODE;
    }
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        bool looks = n->op->traits & (REEL_OP_VIEW | REEL_OP_INPLACE);
        for (int k = 0; k < n->n_out; k++) {
            int v = n->out[k];
            if (v < 0 || seen[v]) continue;
            seen[v] = true;
            if (k == 0 && looks) p->owner[v] = p->owner[n->in[0]];
        }
    }
}

static void use_state(reel__program *p, int v)
{
    if (v < 0) return;
    v = p->owner[v];
    if (!reel__is_state(&p->graph->value[v]) || p->state_of[v] >= 0) return;
    p->state_of[v] = p->n_state;
    p->state[p->n_state++] = v;
}

static void find_state(reel__program *p)
{
    const reel_graph *g = p->graph;
    for (int v = 0; v < g->n_value; v++) p->state_of[v] = -1;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i].n_in; k++) use_state(p, g->node[i].in[k]);
    for (int i = 0; i < g->n_output; i++) use_state(p, g->output[i]);
}

static bool find_effects(reel__program *p)
{
    reel__effects e;
    if (!reel__find_effects(p->graph, &e)) return false;
    for (int v = 0; v < p->graph->n_value; v++) {
        p->root[v] = e.root[v];
        p->changes[v] = !reel__never_changes(&e, v);
    }
    reel__effects_free(&e);
    return true;
}

/* All values on one device: an arena is memory of one. */
static reel_status find_device(reel__program *p)
{
    const reel_graph *g = p->graph;
    if (g->n_value) p->device = g->value[0].meta.device;
    for (int v = 0; v < g->n_value; v++) {
        reel_device d = g->value[v].meta.device;
        if (d.type != p->device.type || d.index != p->device.index)
            return reel_fail(REEL_ERR_UNSUPPORTED,
                             "executor_new: values of the graph lie on several devices");
    }
    if (reel__backend_of(p->device.type)) return REEL_OK;
    return reel_fail(REEL_ERR_DEVICE, "executor_new: this build has no such device");
}

static bool fill(reel__program *p)
{
    size_t n = (size_t)p->graph->n_value + 1;
    int *numbers = reel__calloc(4 * n, sizeof *numbers);
    p->owner = numbers;
    p->changes = reel__calloc(2 * n, sizeof *p->changes);
    if (!numbers || !p->changes) return false;
    p->root = numbers + n;
    p->state = numbers + 2 * n;
    p->state_of = numbers + 3 * n;
    find_owners(p, p->changes + n);
    find_state(p);
    return !find_device(p) && find_effects(p);
}

reel__program *reel__program_new(const reel_graph *g, bool settle)
{
    reel__program *p = reel__calloc(1, sizeof *p);
    if (!p) return NULL;
    atomic_init(&p->refs, 1);
    reel__lock_init(&p->lock);
    p->n_node = g->n_node;
    p->graph = reel__graph_copy(g);
    bool good = p->graph && (!settle || !reel__settle(p->graph, false, &p->settled));
    if (good && fill(p)) return p;
    reel__program_release(p);
    return NULL;
}

reel__program *reel__program_retain(reel__program *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void reel__program_release(reel__program *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) return;
    reel_executor_free(p->settler);
    for (int i = 0; i < p->n_stamp; i++) reel__storage_release(p->stamp[i].storage);
    reel__free(p->stamp);
    reel__settled_free(&p->settled);
    reel_graph_free(p->graph);
    reel__free(p->owner);
    reel__free(p->changes);
    reel__lock_free(&p->lock);
    reel__free(p);
}
