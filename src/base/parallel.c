/* parallel.c: the one thread pool, OpenMP's; without OpenMP everything runs inline.
 *
 * A region always takes the whole team, even for two tasks: libgomp ends the threads that a
 * smaller team leaves over and would have to start them again for the next full one. */
#include "base/parallel.h"

#include "base/denormals.h"
#include "base/error.h"

#include <stdatomic.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_max_threads(void)
{
    return 1;
}
static int omp_get_thread_num(void)
{
    return 0;
}
static int omp_get_num_threads(void)
{
    return 1;
}
#endif

#define MAX_THREADS 1024

static atomic_int wanted; /* 0: not asked for yet */
static _Thread_local bool inside;

reel_status reel_set_threads(int n)
{
    if (n < 0 || n > MAX_THREADS)
        return reel_fail(REEL_ERR_ARG, "set_threads: %d threads, must be 0 to %d", n,
                         MAX_THREADS);
    atomic_store(&wanted, n);
    return REEL_OK;
}

int reel_threads(void)
{
    int n = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (n > 0) return n;
    n = omp_get_max_threads();
    if (n > MAX_THREADS) n = MAX_THREADS;
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

typedef struct region {
    reel__task_fn fn;
    void *ctx;
    int64_t n;
    bool dynamic;
    atomic_llong next; /* dynamic: first task that nobody took */
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

static void work(region *r, int worker, int workers)
{
    uint64_t control = reel__flush_begin();
    inside = true;
    if (r->dynamic) {
        for (int64_t i; (i = atomic_fetch_add(&r->next, 1)) < r->n;)
            r->fn(r->ctx, i, worker);
    } else {
        int64_t end = r->n * (worker + 1) / workers;
        for (int64_t i = r->n * worker / workers; i < end; i++) r->fn(r->ctx, i, worker);
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

static void run(int64_t n, reel__task_fn fn, void *ctx, bool dynamic)
{
    int threads = reel_threads();
    if (n <= 1 || threads == 1 || inside) {
        serial(n, fn, ctx);
        return;
    }
    region r;
    r.fn = fn, r.ctx = ctx, r.n = n, r.dynamic = dynamic, r.failed = 0;
    atomic_init(&r.next, 0);
    atomic_flag_clear(&r.lock);
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) default(none) shared(r)
#endif
    work(&r, omp_get_thread_num(), omp_get_num_threads());
    if (r.failed) reel_fail(r.status, "%s", r.message);
}

void reel__parallel(int64_t n, reel__task_fn fn, void *ctx)
{
    run(n, fn, ctx, false);
}

void reel__parallel_dynamic(int64_t n, reel__task_fn fn, void *ctx)
{
    run(n, fn, ctx, true);
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
    run(n / grain + (n % grain != 0), range_task, &r, false);
}
