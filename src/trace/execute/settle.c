/* settle.c: what a program computes from its state alone, once, and again when that state was
 * changed from outside: by training, by loading, by reel_data(). It is computed as any graph
 * is: by an executor, into tensors that are constants of the program. */
#include <string.h>

#include "base/alloc.h"
#include "trace/execute/executor.h"

static reel__stamp stamp_of(const reel_tensor *t)
{
    return (reel__stamp){t->storage, t->storage->version, t->storage->lent};
}

/* The state that the settler reads: its program's. */
static const reel_tensor *state_of(const reel__program *p, int i)
{
    const reel__program *r = p->settler->program;
    return r->graph->value[r->state[i]].tensor;
}

static bool is_fresh(const reel__program *p)
{
    for (int i = 0; i < p->n_stamp; i++) {
        reel__stamp now = stamp_of(state_of(p, i)), then = p->stamp[i];
        if (now.storage != then.storage || now.version != then.version ||
            now.lent != then.lent)
            return false;
    }
    return p->stamp != NULL;
}

/* Before it runs: what changes meanwhile is seen as a change. */
static reel_status take_stamps(reel__program *p)
{
    int n = p->settler->program->n_state;
    if (!p->stamp && !(p->stamp = reel__calloc((size_t)n + 1, sizeof *p->stamp)))
        return reel_error_status();
    for (int i = 0; i < n; i++) {
        reel__storage *old = i < p->n_stamp ? p->stamp[i].storage : NULL;
        p->stamp[i] = stamp_of(state_of(p, i));
        (void)reel__storage_retain(p->stamp[i].storage);
        reel__storage_release(old);
    }
    p->n_stamp = n;
    return REEL_OK;
}

static void forget_stamps(reel__program *p)
{
    for (int i = 0; i < p->n_stamp; i++) reel__storage_release(p->stamp[i].storage);
    p->n_stamp = 0;
    reel__free(p->stamp);
    p->stamp = NULL;
}

static reel_status compute(reel__program *p)
{
    reel__settled *s = &p->settled;
    if (!p->settler) p->settler = reel__executor_once(s->graph);
    if (!p->settler || take_stamps(p)) return reel_error_status();
    reel_status st = reel_executor_run_into(p->settler, NULL, 0, s->tensor, s->n);
    for (int i = 0; i < s->n; i++) s->tensor[i]->storage->version++;
    if (st) forget_stamps(p);
    return st;
}

reel_status reel__program_settle(reel__program *p)
{
    if (!p->settled.n) return REEL_OK;
    reel__lock_take(&p->lock);
    reel_status st = p->settler && is_fresh(p) ? REEL_OK : compute(p);
    reel__lock_give(&p->lock);
    return st;
}
