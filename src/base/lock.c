/* lock.c: locks, and a fork() in the middle of them.
 *
 * Threads take locks inside of locks, in orders that fork() does not know. So it never waits
 * for one while it holds another: it tries them all, and if one is taken it lets go of the
 * rest and begins again. A lock that the forking thread holds itself, as in a callback of the
 * log, stays its own in the child. */
#include "base/lock.h"

#include <sched.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list */
static reel__lock *locks;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_uint forks;

/* A mark of this thread that costs less to find than the address of something of its own. */
static const void *me(void)
{
    return (const void *)(uintptr_t)pthread_self();
}

unsigned reel__forks(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void give_all(void)
{
    for (reel__lock *l = locks; l; l = l->next) {
        if (!l->for_fork) continue;
        l->for_fork = false;
        (void)pthread_mutex_unlock(&l->mutex);
    }
    (void)pthread_mutex_unlock(&list_lock);
}

static bool take_all(void)
{
    (void)pthread_mutex_lock(&list_lock);
    for (reel__lock *l = locks; l; l = l->next) {
        if (atomic_load_explicit(&l->owner, memory_order_relaxed) == me()) continue;
        l->for_fork = pthread_mutex_trylock(&l->mutex) == 0;
        if (l->for_fork) continue;
        give_all();
        return false;
    }
    return true;
}

static void before_fork(void)
{
    while (!take_all()) (void)sched_yield();
    reel__live_before_fork();
}

static void in_child(void)
{
    (void)atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
    reel__pool_in_child();
    reel__live_in_child();
    give_all();
}

static void listen_to_forks(void)
{
    (void)pthread_atfork(before_fork, give_all, in_child);
}

/* ---- locks ----------------------------------------------------------------------------------- */

/* Not inline, so that taking a lock saves no registers for it. */
static __attribute__((noinline)) void enlist(reel__lock *l)
{
    (void)pthread_once(&once, listen_to_forks);
    (void)pthread_mutex_lock(&list_lock);
    if (!atomic_load_explicit(&l->listed, memory_order_relaxed)) {
        l->next = locks;
        l->link = &locks;
        if (locks) locks->link = &l->next;
        locks = l;
        atomic_store_explicit(&l->listed, true, memory_order_release);
    }
    (void)pthread_mutex_unlock(&list_lock);
}

void reel__lock_init(reel__lock *l)
{
    *l = (reel__lock)REEL__LOCK;
}

void reel__lock_free(reel__lock *l)
{
    if (atomic_load_explicit(&l->listed, memory_order_acquire)) {
        (void)pthread_mutex_lock(&list_lock);
        *l->link = l->next;
        if (l->next) l->next->link = l->link;
        (void)pthread_mutex_unlock(&list_lock);
    }
    (void)pthread_mutex_destroy(&l->mutex);
}

void reel__lock_take(reel__lock *l)
{
    if (!atomic_load_explicit(&l->listed, memory_order_acquire)) enlist(l);
    (void)pthread_mutex_lock(&l->mutex);
    atomic_store_explicit(&l->owner, me(), memory_order_relaxed);
}

void reel__lock_give(reel__lock *l)
{
    atomic_store_explicit(&l->owner, NULL, memory_order_relaxed);
    (void)pthread_mutex_unlock(&l->mutex);
}

/* ---- events ---------------------------------------------------------------------------------- */

void reel__event_init(reel__event *e)
{
    (void)pthread_cond_init(&e->cond, NULL);
    e->forks = reel__forks();
}

/* Waiters that did not come along would be waited for by destroy and signal. */
static void renew(reel__event *e)
{
    if (e->forks != reel__forks()) reel__event_init(e);
}

void reel__event_free(reel__event *e)
{
    renew(e);
    (void)pthread_cond_destroy(&e->cond);
}

void reel__event_wait(reel__event *e, reel__lock *l)
{
    renew(e);
    atomic_store_explicit(&l->owner, NULL, memory_order_relaxed);
    (void)pthread_cond_wait(&e->cond, &l->mutex);
    atomic_store_explicit(&l->owner, me(), memory_order_relaxed);
}

void reel__event_wake_one(reel__event *e)
{
    renew(e);
    (void)pthread_cond_signal(&e->cond);
}

void reel__event_wake_all(reel__event *e)
{
    renew(e);
    (void)pthread_cond_broadcast(&e->cond);
}
