/* live.c: the count of live objects. Every operator makes and frees several, so a shared
 * atomic counter was a sixth of the time of a small one: each thread counts for itself, and
 * who asks adds up. What a thread counted moves to `gone` when it ends. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"

typedef struct counter {
    atomic_llong n; /* written by its thread alone, so no locked instruction is needed */
    bool listed;
    struct counter *next, **link;
} counter;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list and `gone` */
static counter *threads;
static long long gone;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;
static _Thread_local counter mine;

static void leave(void *arg)
{
    counter *c = arg;
    pthread_mutex_lock(&lock);
    gone += atomic_load_explicit(&c->n, memory_order_relaxed);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    pthread_mutex_unlock(&lock);
    atomic_store_explicit(&c->n, 0, memory_order_relaxed);
    c->listed = false; /* a destructor that runs after this one lists the thread again */
}

static void make_key(void)
{
    (void)pthread_key_create(&at_thread_end, leave);
}

/* Not inline, so that counting saves no registers for it. */
static __attribute__((noinline)) void enter(void)
{
    (void)pthread_once(&once, make_key);
    pthread_mutex_lock(&lock);
    mine.next = threads;
    mine.link = &threads;
    if (threads) threads->link = &mine.next;
    threads = &mine;
    pthread_mutex_unlock(&lock);
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

int64_t reel_live_objects(void)
{
    pthread_mutex_lock(&lock);
    long long n = gone;
    for (const counter *c = threads; c; c = c->next)
        n += atomic_load_explicit(&c->n, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    return n;
}
