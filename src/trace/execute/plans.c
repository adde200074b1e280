/* plans.c: an executor's plans: one for each batch size, and for each way in which inputs and
 * outputs lie. The four used last are kept. */
#include <string.h>

#include "base/alloc.h"
#include "trace/execute/executor.h"

/* ---- what has to be copied -------------------------------------------------------------------- */

static bool lies_like(const reel__meta *a, const reel__meta *b)
{
    for (int d = 0; d < a->rank; d++)
        if (a->dim[d] > 1 && a->stride[d] != b->stride[d]) return false;
    return true;
}

/* Inputs in another order of memory than the traced one. */
static void ask_inputs(reel_executor *e, int64_t batch, reel_tensor *const x[])
{
    const reel_graph *g = e->program->graph;
    for (int i = 0; i < g->n_input; i++) {
        reel__meta m;
        reel__value_meta_at(g, g->input[i], batch, &m);
        e->copied[i] = x && !lies_like(&x[i]->meta, &m);
    }
}

/* Outputs in another order than the graph makes. */
static void ask_outputs(reel_executor *e, const reel__plan *p, reel_tensor *const y[])
{
    const reel_graph *g = e->program->graph;
    for (int i = 0; i < g->n_output; i++)
        e->copied[g->n_input + i] =
            y && y[i] && !lies_like(&y[i]->meta, &p->meta[g->output[i]]);
}

/* Whether a plan of the right batch size copies exactly what has to be. */
static bool serves(reel_executor *e, const reel__plan *p, reel_tensor *const y[])
{
    const reel_graph *g = e->program->graph;
    for (int i = 0; i < g->n_input; i++)
        if (p->copied[i] != (e->copied[i] || p->must_copy[i])) return false;
    ask_outputs(e, p, y);
    for (int i = g->n_input; i < g->n_input + g->n_output; i++)
        if (p->copied[i] != (e->copied[i] || p->must_copy[i])) return false;
    return true;
}

/* ---- memory ----------------------------------------------------------------------------------- */

/* The arena as large as the plan needs: what lies in it is of no run. Never empty, because to
 * kernels an address NULL is an operand that is absent. */
static reel_status fit_arena(reel_executor *e, const reel__plan *p)
{
    size_t want = p->arena ? p->arena : 64;
    if (e->base[0] && e->arena >= want) return REEL_OK;
    reel__device_free(e->program->device, e->base[0], e->arena);
    e->arena = 0;
    e->base[0] = reel__device_alloc(e->program->device, want);
    if (!e->base[0]) return reel_error_status();
    e->arena = want;
    for (int i = 0; i < REEL__PLANS; i++)
        if (e->plan[i]) e->plan[i]->bound = NULL;
    return REEL_OK;
}

reel_status reel__executor_state(reel_executor *e)
{
    const reel__program *r = e->program;
    for (int i = 0; i < r->n_state; i++) {
        const reel__value *v = &r->graph->value[r->state[i]];
        const reel__meta *now = &v->tensor->meta;
        if (now->dtype != v->meta.dtype || !reel__same_shape(now, &v->meta) ||
            !lies_like(now, &v->meta))
            return reel_fail(REEL_ERR_STATE,
                             "executor_run: %s was %s when the executor was made, now it "
                             "is %s%s; make a new one",
                             v->name ? v->name : "a constant", SHOW(&v->meta), SHOW(now),
                             reel__same_shape(now, &v->meta) ? ", or lies otherwise"
                                                             : "");
        e->base[reel__base_state(r->graph, i)] = reel__ptr(v->tensor);
    }
    return REEL_OK;
}

/* ---- the cache ---------------------------------------------------------------------------------- */

static reel__plan *find(reel_executor *e, int64_t batch, reel_tensor *const y[])
{
    for (int i = 0; i < REEL__PLANS; i++)
        if (e->plan[i] && e->plan[i]->batch == batch && serves(e, e->plan[i], y))
            return e->plan[i];
    return NULL;
}

/* The first try takes outputs as the graph makes them; it tells how that is. */
static reel__plan *make(reel_executor *e, int64_t batch, reel_tensor *const y[])
{
    const reel_graph *g = e->program->graph;
    for (int i = 0; i < g->n_output; i++) e->copied[g->n_input + i] = false;
    reel__plan *p = reel__plan_new(e->program, batch, e->copied);
    if (!p || serves(e, p, y)) return p;
    reel__plan_free(p);
    return reel__plan_new(e->program, batch, e->copied);
}

/* Puts p where nothing was, or the plan that has not been used for longest. */
static void keep(reel_executor *e, reel__plan *p)
{
    int oldest = 0;
    for (int i = 0; i < REEL__PLANS; i++) {
        uint64_t used = e->plan[i] ? e->plan[i]->used : 0;
        if (used < (e->plan[oldest] ? e->plan[oldest]->used : 0)) oldest = i;
    }
    reel__plan_free(e->plan[oldest]);
    e->plan[oldest] = p;
}

reel__plan *reel__executor_plan(reel_executor *e, int64_t batch, reel_tensor *const x[],
                                reel_tensor *const y[])
{
    ask_inputs(e, batch, x);
    reel__plan *p = find(e, batch, y);
    bool made = !p;
    if (!p && !(p = make(e, batch, y))) return NULL;
    if (made) keep(e, p);
    p->used = ++e->clock;
    e->last = p;
    if (fit_arena(e, p)) return NULL;
    return p;
}
