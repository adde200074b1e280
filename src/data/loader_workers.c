/* loader_workers.c: threads that prepare batches ahead, in a ring of slots.
 *
 * A worker claims the next number under the lock, makes the batch without it, and marks
 * its slot done. The caller takes slots in order, so order never depends on who was
 * faster. A slot is claimed again only after the caller took it, which bounds the
 *  memory. */
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "data/loader.h"

/* True if batch l->claimed may be made now: its slot is free, and its epoch is not so far
 * ahead that its order would overwrite one in use. */
static bool may_claim(const reel_loader *l)
{
    return l->claimed < l->taken + l->depth &&
           l->claimed / l->batches <= l->taken / l->batches + 1;
}

static void *work(void *arg)
{
    reel_loader *l = arg;
    reel__workbench bench = {0};
    reel__lock_take(&l->lock);
    for (;;) {
        while (!l->stop && !may_claim(l)) reel__event_wait(&l->work, &l->lock);
        if (l->stop) break;
        int64_t g = l->claimed++;
        const int64_t *order = reel__loader_order(l, g / l->batches);
        reel__slot *slot = &l->slots[g % l->depth];
        reel__lock_give(&l->lock);

        reel__loader_fill(l, g, order, &bench, &slot->batch);

        reel__lock_take(&l->lock);
        slot->done = true;
        reel__event_wake_one(&l->ready); /* only the caller waits for it */
    }
    reel__lock_give(&l->lock);
    reel__workbench_free(&bench);
    return NULL;
}

reel_status reel__loader_start(reel_loader *l, int64_t g)
{
    l->claimed = l->taken = g;
    /* Signals are for the caller's threads: Ctrl-C must not land in a worker. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int problem = 0;
    while (l->running < l->workers && !problem) {
        problem = pthread_create(&l->threads[l->running], NULL, work, l);
        if (!problem) l->running++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    l->forks = reel__forks();
    reel__stopped_add(&l->stopped);
    if (!problem) return REEL_OK;
    int started = l->running;
    reel__loader_stop(l);
    return reel_fail(REEL_ERR_MEMORY, "worker %d of %d cannot be started: %s",
                     started + 1, l->workers, strerror(problem));
}

bool reel__loader_runs(reel_loader *l)
{
    if (l->running && l->forks != reel__forks()) reel__loader_stop(l);
    return l->running > 0;
}

void reel__loader_take(reel_loader *l, reel__filled *out)
{
    reel__lock_take(&l->lock);
    reel__slot *slot = &l->slots[l->taken % l->depth];
    while (!slot->done) reel__event_wait(&l->ready, &l->lock);
    *out = slot->batch;
    *slot = (reel__slot){0};
    l->taken++;
    reel__event_wake_all(&l->work);
    reel__lock_give(&l->lock);
}

/* In a child of fork() they are gone: with them the batches that they had begun, and all others
 * are made again from the one that comes next. */
static void leave_behind(reel_loader *l)
{
    if (l->running && l->forks != reel__forks()) l->running = 0;
}

void reel__loader_stop(reel_loader *l)
{
    leave_behind(l);
    reel__stopped_remove(&l->stopped);
    reel__lock_take(&l->lock);
    l->stop = true;
    reel__event_wake_all(&l->work);
    reel__lock_give(&l->lock);
    while (l->running > 0) pthread_join(l->threads[--l->running], NULL);
    l->stop = false;
    for (int i = 0; i < l->depth; i++) {
        if (l->slots[i].done) reel__filled_clear(&l->slots[i].batch);
        l->slots[i] = (reel__slot){0};
    }
}
