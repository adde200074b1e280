/* threads.h: who has threads, or counts by thread, and must hear of a fork or a shutdown. */
#ifndef REEL_BASE_THREADS_H
#define REEL_BASE_THREADS_H

/* Around fork(), with all locks held: the other threads are not in the child. */
void reel__pool_in_child(void);
void reel__live_before_fork(void);
void reel__live_in_child(void);

/* Ends the pool's threads and waits for them; the next region starts them again. */
void reel__pool_stop(void);

/* Threads that an object has, and a shutdown stops. Part of the object. */
typedef struct reel__stopped {
    void (*stop)(void *self);
    void *self;
    struct reel__stopped *next, **link;
} reel__stopped;
/* No effect on one that is there already, or is not. */
void reel__stopped_add(reel__stopped *s);
void reel__stopped_remove(reel__stopped *s);

#endif
