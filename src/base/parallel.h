/* parallel.h: the one way in which kernels use threads.
 *
 * A kernel cuts its work into `n` tasks by SIZE (never by the number of threads), so the
 * result is the same bit for bit on any number of threads. Tasks must not write the same
 * memory. Workers flush denormals while they compute. */
#ifndef REEL_BASE_PARALLEL_H
#define REEL_BASE_PARALLEL_H

#include <stdint.h>

/* Task i of n; `worker` is in 0 .. reel__max_workers()-1, for scratch memory. */
typedef void (*reel__task_fn)(void *ctx, int64_t i, int worker);
/* Runs fn(ctx, i, worker) for i in 0..n-1; n == 1 runs inline. Nested calls run inline.
 * Worker w of W begins with the tasks [n*w/W, n*(w+1)/W), then helps the others. */
void reel__parallel(int64_t n, reel__task_fn fn, void *ctx);
/* The same, handed out one by one: for tasks of unequal length. */
void reel__parallel_dynamic(int64_t n, reel__task_fn fn, void *ctx);
/* Upper bound of workers (= reel_threads()). */
int reel__max_workers(void);
/* Runs fn(ctx, begin, end) over [0, n) in chunks of `grain`, in parallel. */
typedef void (*reel__range_fn)(void *ctx, int64_t begin, int64_t end);
void reel__parallel_range(int64_t n, int64_t grain, reel__range_fn fn, void *ctx);

#endif
