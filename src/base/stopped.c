/* stopped.c: the list of what a shutdown stops. */
#include "base/lock.h"
#include "base/shutdown.h"
#include "base/threads.h"

#include <stddef.h>

static reel__lock lock = REEL__LOCK; /* guards the list */
static reel__stopped *list;

void reel__stopped_add(reel__stopped *s)
{
    reel__lock_take(&lock);
    if (!s->link) {
        s->next = list;
        s->link = &list;
        if (list) list->link = &s->next;
        list = s;
    }
    reel__lock_give(&lock);
}

/* The lock is held. */
static void take_out(reel__stopped *s)
{
    if (!s->link) return;
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
    s->link = NULL;
}

void reel__stopped_remove(reel__stopped *s)
{
    reel__lock_take(&lock);
    take_out(s);
    reel__lock_give(&lock);
}

static reel__stopped *first(void)
{
    reel__lock_take(&lock);
    reel__stopped *s = list;
    if (s) take_out(s);
    reel__lock_give(&lock);
    return s;
}

void reel__stop_threads(void)
{
    for (reel__stopped *s; (s = first());) s->stop(s->self);
    reel__pool_stop();
}
