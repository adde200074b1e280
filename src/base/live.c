/* live.c: the count of live objects. Every operator makes and frees several, so a shared
 * atomic counter was a sixth of the time of a small one: each thread counts for itself, and
 * who asks adds up. What a thread counted moves to `gone` when it ends. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/threads.h"

typedef struct counter {
    atomic_llong n; /* written by its thread alone, so no locked instruction is needed */
    bool listed;
    struct counter *next, **link;
} counter;

static reel__lock lock = REEL__LOCK; /* guards the list and `gone` */
static counter *threads;
static long long gone;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;
static bool has_key;
static _Thread_local counter mine;

static void leave(void *arg)
{
    counter *c = arg;
    reel__lock_take(&lock);
    gone += atomic_load_explicit(&c->n, memory_order_relaxed);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    reel__lock_give(&lock);
    atomic_store_explicit(&c->n, 0, memory_order_relaxed);
    c->listed = false; /* a destructor that runs after this one lists the thread again */
}

static void make_key(void)
{
    has_key = pthread_key_create(&at_thread_end, leave) == 0;
}

/* Not inline, so that counting saves no registers for it. */
static __attribute__((noinline)) void enter(void)
{
    (void)pthread_once(&once, make_key);
    reel__lock_take(&lock);
    mine.next = threads;
    mine.link = &threads;
    if (threads) threads->link = &mine.next;
    threads = &mine;
    reel__lock_give(&lock);
    (void)pthread_setspecific(at_thread_end, &mine);
    mine.listed = true;
}

void reel__live_add(int delta)
{
    counter *c = &mine;
    if (!c->listed) enter();
    long long n = atomic_load_explicit(&c->n, memory_order_relaxed) + delta;
    atomic_store_explicit(&c->n, n, memory_order_relaxed);
}

/* The program unloads the library, or ends: no thread's end may call what is gone. */
static __attribute__((destructor)) void forget_key(void)
{
    if (has_key) (void)pthread_key_delete(at_thread_end);
}

/* What the threads counted that a child will not have; their counters go with them. */
static long long of_others;

void reel__live_before_fork(void)
{
    of_others = 0;
    for (const counter *c = threads; c; c = c->next)
        if (c != &mine) of_others += atomic_load_explicit(&c->n, memory_order_relaxed);
}

void reel__live_in_child(void)
{
    gone += of_others;
    threads = mine.listed ? &mine : NULL;
    mine.next = NULL;
    mine.link = &threads;
}

int64_t reel_live_objects(void)
{
    reel__lock_take(&lock);
    long long n = gone;
    for (const counter *c = threads; c; c = c->next)
        n += atomic_load_explicit(&c->n, memory_order_relaxed);
    reel__lock_give(&lock);
    return n;
}
