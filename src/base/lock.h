/* lock.h: the one kind of lock, and what becomes of it when the process forks.
 *
 * A child of fork() has the forking thread alone. A lock that another thread held would be
 * held for ever, and what it guards would be half changed. So every lock is on a list from its
 * first use on, and fork() waits until it holds all of them. Nothing outside base/ names a
 * mutex (tools/check_layers.sh): a new lock cannot be forgotten. */
#ifndef REEL_BASE_LOCK_H
#define REEL_BASE_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct reel__lock {
    pthread_mutex_t mutex;
    _Atomic(const void *) owner; /* a mark of the thread that holds it; NULL */
    atomic_bool listed;
    bool for_fork; /* fork() holds it */
    struct reel__lock *next, **link;
} reel__lock;

/* A lock in static storage begins as this. */
#define REEL__LOCK                                                                       \
    {                                                                                    \
        .mutex = PTHREAD_MUTEX_INITIALIZER                                               \
    }

/* One in an object. It goes with reel__lock_free(). */
void reel__lock_init(reel__lock *l);
void reel__lock_free(reel__lock *l);
void reel__lock_take(reel__lock *l);
void reel__lock_give(reel__lock *l);

/* Something to wait for under a lock. In a child nobody waits: it begins anew. */
typedef struct reel__event {
    pthread_cond_t cond;
    unsigned forks;
} reel__event;
void reel__event_init(reel__event *e);
void reel__event_free(reel__event *e);
/* The caller holds l, which is given while it waits. */
void reel__event_wait(reel__event *e, reel__lock *l);
void reel__event_wake_one(reel__event *e);
void reel__event_wake_all(reel__event *e);

/* How often this process became a child. Who has threads compares: they are gone where it
 * differs from what it was when they were started. */
unsigned reel__forks(void);

#endif
