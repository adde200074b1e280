/* made.c: the list of records that were made at run time. */
#include "ops/made.h"

#include <string.h>

#include "base/lock.h"

static reel__lock lock = REEL__LOCK; /* guards the list */
static reel__made *all;

void reel__made_retain(reel__made *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

/* Under the lock: false if the last user is just going. */
static bool retain_if_alive(reel__made *m)
{
    int refs = atomic_load_explicit(&m->refs, memory_order_relaxed);
    while (refs > 0)
        if (atomic_compare_exchange_weak(&m->refs, &refs, refs + 1)) return true;
    return false;
}

void reel__made_release(reel__made *m)
{
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1) return;
    reel__lock_take(&lock);
    for (reel__made **p = &all; *p; p = &(*p)->next)
        if (*p == m) {
            *p = m->next;
            break;
        }
    reel__lock_give(&lock);
    m->free_fn(m);
}

const reel__op *reel__made_find(bool (*is_it)(const reel__op *op, const void *what),
                                const void *what)
{
    const reel__op *found = NULL;
    reel__lock_take(&lock);
    for (reel__made *m = all; m && !found; m = m->next)
        for (int i = 0; i < 2 && !found; i++)
            if (m->op[i] && is_it(m->op[i], what) && retain_if_alive(m)) found = m->op[i];
    reel__lock_give(&lock);
    return found;
}

static bool has_name(const reel__op *op, const void *name)
{
    return strcmp(op->name, name) == 0;
}

const reel__op *reel__op_take(const char *name)
{
    const reel__op *op = reel__op_by_name(name);
    return op || !name ? op : reel__made_find(has_name, name);
}

/* Under the lock. */
static bool is_taken(const char *name)
{
    for (const reel__made *m = all; m; m = m->next)
        for (int i = 0; i < 2; i++)
            if (m->op[i] && has_name(m->op[i], name) && atomic_load(&m->refs) > 0)
                return true;
    return reel__op_by_name(name) != NULL;
}

reel_status reel__made_add(reel__made *m)
{
    const char *taken = NULL;
    atomic_init(&m->refs, 1);
    reel__lock_take(&lock);
    for (int i = 0; i < 2 && !taken; i++)
        if (m->op[i] && is_taken(m->op[i]->name)) taken = m->op[i]->name;
    if (!taken) {
        m->next = all;
        all = m;
    }
    reel__lock_give(&lock);
    return taken ? reel_fail(REEL_ERR_ARG,
                             "custom_op_new: there is an operator \"%s\" already: one of "
                             "the library, or one that a handle, a tape or a graph holds",
                             taken)
                 : REEL_OK;
}
