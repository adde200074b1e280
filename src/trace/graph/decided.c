/* decided.c: what decided which operators a graph holds: modes of modules, groups of optimizers,
 * which state asks for a gradient. A graph is for what these said when it was captured. */
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/shares.h"
#include "base/watched.h"
#include "trace/graph/graph.h"

reel__decided *reel__decided_new(void)
{
    reel__decided *d = reel__calloc(1, sizeof *d);
    if (d) atomic_init(&d->refs, 1);
    return d;
}

reel__decided *reel__decided_retain(reel__decided *d)
{
    if (d) atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void reel__decided_release(reel__decided *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1) return;
    for (int i = 0; i < d->n_state; i++) reel__let_go(d->state[i].tensor);
    reel__free(d->state);
    reel__free(d->object);
    reel__free(d);
}

reel_status reel__decided_by(reel__decided *d, uint64_t number)
{
    uint64_t says;
    void *list = d->object;
    for (int i = d->n_object - 1; i >= 0; i--)
        if (d->object[i].number == number) return REEL_OK;
    if (!reel__watched_says(number, &says)) return REEL_OK;
    if (!reel__grow(&list, d->n_object, &d->cap_object, sizeof *d->object))
        return reel_error_status();
    d->object = list;
    d->object[d->n_object].number = number;
    d->object[d->n_object++].says = says;
    return REEL_OK;
}

reel_status reel__decided_by_state(reel__decided *d, reel_tensor *x)
{
    void *list = d->state;
    if (!reel__grow(&list, d->n_state, &d->cap_state, sizeof *d->state))
        return reel_error_status();
    d->state = list;
    d->state[d->n_state].tensor = reel__hold(x);
    d->state[d->n_state++].needs_grad = reel_needs_grad(x);
    return REEL_OK;
}

bool reel_graph_current(const reel_graph *g)
{
    const reel__decided *d = g ? g->decided : NULL;
    if (d && !reel__watched_agree(d->object, d->n_object)) return false;
    for (int i = 0; d && i < d->n_state; i++)
        if (reel_needs_grad(d->state[i].tensor) != d->state[i].needs_grad) return false;
    return g != NULL;
}
