/* pool.h: the threads behind parallel.h. */
#ifndef REEL_BASE_POOL_H
#define REEL_BASE_POOL_H

#include <stdbool.h>

#define REEL__MAX_THREADS 1024

/* Processors that this process may use, or what REEL_NUM_THREADS or else OMP_NUM_THREADS says;
 * 1 to REEL__MAX_THREADS. */
int reel__processors(void);

/* The pool is one thread's at a time. False if it is another's, or this thread has it: the
 * caller then does its work alone. After true comes reel__pool_run(), which gives it back. */
bool reel__pool_take(void);
/* Calls fn(ctx, worker) in this thread, as worker 0, and in as many others up to `workers` as
 * come in time, each with a number of its own. Returns when all that came have returned. fn
 * must end soon once there is nothing left to do. */
void reel__pool_run(int workers, void (*fn)(void *ctx, int worker), void *ctx);

#endif
