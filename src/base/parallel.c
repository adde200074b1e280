/* parallel.c: tasks for the pool.
 *
 * Each worker has a run of tasks of its own, so that it meets the same memory again in the next
 * kernel; who is done helps the others. Which task a worker gets decides nothing about what is
 * computed. */
#include "base/parallel.h"

#include "base/denormals.h"
#include "base/error.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <string.h>

static atomic_int wanted; /* 0: not asked for yet */
static _Thread_local bool inside;

reel_status reel_set_threads(int n)
{
    if (reel_failed()) return reel_error_status();
    if (n < 0 || n > REEL__MAX_THREADS)
        return reel_fail(REEL_ERR_ARG, "set_threads: %d threads, must be 0 to %d", n,
                         REEL__MAX_THREADS);
    atomic_store(&wanted, n);
    return REEL_OK;
}

int reel_threads(void)
{
    int n = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (n > 0) return n;
    n = reel__processors();
    /* Fails, and does no harm, if another thread has set it meanwhile. */
    int unset = 0;
    atomic_compare_exchange_strong(&wanted, &unset, n);
    return unset ? unset : n;
}

int reel__max_workers(void)
{
    return reel_threads();
}

/* ---- regions ----------------------------------------------------------------------- */

/* Tasks next .. end - 1 are there to be taken. In a cache line of its own. */
typedef struct run {
    _Alignas(64) atomic_llong next;
    int64_t end;
} run;

/* Regions are one at a time (pool.h), so there is one set of runs. */
static run runs[REEL__MAX_THREADS];

typedef struct region {
    reel__task_fn fn;
    void *ctx;
    int n_run; /* one a worker; 1 where tasks are handed out one by one */
    /* The error of the lowest worker that had one: errors are per thread, and the caller
     * must hear of those in other threads. */
    atomic_flag lock;
    int failed; /* its worker + 1; 0: none */
    reel_status status;
    char message[REEL__ERROR_TEXT];
} region;

static void report(region *r, int worker)
{
    while (atomic_flag_test_and_set(&r->lock)) {}
    if (!r->failed || worker + 1 < r->failed) {
        r->failed = worker + 1;
        r->status = reel_error_status();
        memcpy(r->message, reel_error_message(), strlen(reel_error_message()) + 1);
    }
    atomic_flag_clear(&r->lock);
    reel_error_clear();
}

static void work(void *region_of, int worker)
{
    region *r = region_of;
    uint64_t control = reel__flush_begin();
    inside = true;
    for (int k = 0; k < r->n_run; k++) {
        run *own = &runs[(worker + k) % r->n_run];
        for (int64_t i; (i = atomic_fetch_add(&own->next, 1)) < own->end;)
            r->fn(r->ctx, i, worker);
    }
    inside = false;
    reel__flush_end(control);
    if (worker != 0 && reel_failed()) report(r, worker);
}

static void serial(int64_t n, reel__task_fn fn, void *ctx)
{
    uint64_t control = reel__flush_begin();
    for (int64_t i = 0; i < n; i++) fn(ctx, i, 0);
    reel__flush_end(control);
}

static void share_out(region *r, int64_t n)
{
    for (int k = 0; k < r->n_run; k++) {
        atomic_store_explicit(&runs[k].next, n * k / r->n_run, memory_order_relaxed);
        runs[k].end = n * (k + 1) / r->n_run;
    }
}

static void run_all(int64_t n, reel__task_fn fn, void *ctx, bool one_by_one)
{
    int threads = reel_threads();
    if (threads > n) threads = (int)n;
    if (threads <= 1 || inside || !reel__pool_take()) {
        serial(n, fn, ctx);
        return;
    }
    region r;
    r.fn = fn, r.ctx = ctx, r.n_run = one_by_one ? 1 : threads, r.failed = 0;
    atomic_flag_clear(&r.lock);
    share_out(&r, n);
    reel__pool_run(threads, work, &r);
    if (r.failed) reel_fail(r.status, "%s", r.message);
}

void reel__parallel(int64_t n, reel__task_fn fn, void *ctx)
{
    run_all(n, fn, ctx, false);
}

void reel__parallel_dynamic(int64_t n, reel__task_fn fn, void *ctx)
{
    run_all(n, fn, ctx, true);
}

typedef struct ranges {
    reel__range_fn fn;
    void *ctx;
    int64_t n, grain;
} ranges;

static void range_task(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const ranges *r = ctx;
    int64_t begin = i * r->grain;
    int64_t left = r->n - begin;
    r->fn(r->ctx, begin, begin + (left < r->grain ? left : r->grain));
}

void reel__parallel_range(int64_t n, int64_t grain, reel__range_fn fn, void *ctx)
{
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    ranges r = {fn, ctx, n, grain};
    run_all(n / grain + (n % grain != 0), range_task, &r, false);
}
