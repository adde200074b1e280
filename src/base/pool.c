/* pool.c: the one pool of threads.
 *
 * A region never waits for a worker that has not begun: whoever is there takes all tasks
 * (parallel.c), so a machine that is busy with something else costs its share and not a
 * time slice a region. (Measured beside another program on each of 2 cores: OpenMP's
 * regions, which wait for the whole team, took 30 times as long.) Workers look for the next
 * region for some microseconds, then sleep.
 *
 * `turn` is odd while a region is open. A worker enters (`inside` up) and only then looks
 * whether its region is still open; the caller closes it and only then waits for `inside` to
 * fall to 0. So nobody works on a region that its caller has left. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/pool.h"
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* How often a worker looks at `turn` before it sleeps, about 600 us: longer than most of what a
 * network does between its regions, for waking takes the caller 5 us and the worker 50. (2000
 * looks made ResNet-18 at batch 1 slower by 15 %, 50000 gave no more.) */
#define LOOKS 20000

typedef struct pool {
    pthread_mutex_t owner;    /* held by the thread whose region is open */
    pthread_mutex_t sleepers; /* under it they go to sleep, and are woken by `wake` */
    pthread_cond_t wake;
    atomic_uint turn;  /* counts openings and closings of regions */
    atomic_int inside; /* workers that look at a region, or work on it */
    atomic_int asleep; /* workers */
    int started;       /* workers 1 .. started exist */
    pthread_t thread[REEL__MAX_THREADS];
    atomic_bool ends;     /* workers shall return */
    atomic_int workers;   /* of the open region: those from this number on stay out */
    atomic_int caller_at; /* the processor on which it was opened */
    void (*fn)(void *ctx, int worker);
    void *ctx;
} pool;

static pool team = {.owner = PTHREAD_MUTEX_INITIALIZER,
                    .sleepers = PTHREAD_MUTEX_INITIALIZER,
                    .wake = PTHREAD_COND_INITIALIZER};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- workers --------------------------------------------------------------------------- */

/* The first turn that is not `seen`. */
static unsigned next_turn(unsigned seen)
{
    unsigned turn = seen;
    for (int i = 0; i < LOOKS; i++) {
        turn = atomic_load(&team.turn);
        if (turn != seen) return turn;
        relax();
    }
    pthread_mutex_lock(&team.sleepers);
    atomic_fetch_add(&team.asleep, 1);
    while ((turn = atomic_load(&team.turn)) == seen)
        pthread_cond_wait(&team.wake, &team.sleepers);
    atomic_fetch_sub(&team.asleep, 1);
    pthread_mutex_unlock(&team.sleepers);
    return turn;
}

/* A worker on the caller's processor is of no use to it, and as neither sleeps nothing may ever
 * part them: schedulers start a thread where its maker is, and wake it near its waker. Seen as
 * both on one of 2 processors for minutes. So it goes away, and may then go anywhere again. */
static void leave_caller(void)
{
#ifdef __linux__
    int here = sched_getcpu();
    cpu_set_t all, others;
    if (here < 0 || here != atomic_load_explicit(&team.caller_at, memory_order_relaxed) ||
        sched_getaffinity(0, sizeof all, &all))
        return;
    others = all;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others)) return;
    (void)sched_setaffinity(0, sizeof all, &all);
#endif
}

/* What a worker does from its start to its end; `number` counts the workers from 1. */
static void *work(void *number)
{
    int me = (int)(intptr_t)number;
    for (unsigned turn = 0;;) {
        turn = next_turn(turn);
        if (atomic_load(&team.ends)) return NULL;
        if (turn % 2 == 0) continue;
        leave_caller();
        atomic_fetch_add(&team.inside, 1);
        if (atomic_load(&team.turn) == turn && me < atomic_load(&team.workers))
            team.fn(team.ctx, me);
        atomic_fetch_sub(&team.inside, 1);
    }
}

/* The child has none of the threads. */
void reel__pool_in_child(void)
{
    team = (pool){.owner = PTHREAD_MUTEX_INITIALIZER,
                  .sleepers = PTHREAD_MUTEX_INITIALIZER,
                  .wake = PTHREAD_COND_INITIALIZER};
}

/* Signals are for the program's own threads. Fewer threads than asked for are no error: their
 * tasks are done by the others. */
static void start(int workers)
{
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    while (team.started < workers - 1) {
        if (pthread_create(&team.thread[team.started], NULL, work,
                           (void *)(intptr_t)(team.started + 1)))
            break;
        team.started++;
    }
    pthread_sigmask(SIG_SETMASK, &was, NULL);
}

/* ---- regions ----------------------------------------------------------------------------- */

static void open_region(int workers, void (*fn)(void *ctx, int worker), void *ctx)
{
    team.fn = fn;
    team.ctx = ctx;
    atomic_store(&team.workers, workers);
#ifdef __linux__
    atomic_store_explicit(&team.caller_at, sched_getcpu(), memory_order_relaxed);
#endif
    atomic_fetch_add(&team.turn, 1);
    if (atomic_load(&team.asleep) == 0) return;
    pthread_mutex_lock(&team.sleepers);
    pthread_cond_broadcast(&team.wake);
    pthread_mutex_unlock(&team.sleepers);
}

/* A turn without a region: whoever wakes or looks finds that it shall end. */
void reel__pool_stop(void)
{
    (void)pthread_mutex_lock(&team.owner);
    atomic_store(&team.ends, true);
    (void)pthread_mutex_lock(&team.sleepers);
    atomic_fetch_add(&team.turn, 2);
    (void)pthread_cond_broadcast(&team.wake);
    (void)pthread_mutex_unlock(&team.sleepers);
    while (team.started) (void)pthread_join(team.thread[--team.started], NULL);
    atomic_store(&team.turn, 0); /* at which workers begin to look */
    atomic_store(&team.ends, false);
    (void)pthread_mutex_unlock(&team.owner);
}

static void close_region(void)
{
    atomic_fetch_add(&team.turn, 1);
    for (int i = 0; atomic_load(&team.inside) != 0; i++)
        if (i < LOOKS)
            relax();
        else
            sched_yield();
}

bool reel__pool_take(void)
{
    return pthread_mutex_trylock(&team.owner) == 0;
}

void reel__pool_run(int workers, void (*fn)(void *ctx, int worker), void *ctx)
{
    if (team.started < workers - 1) start(workers);
    open_region(workers, fn, ctx);
    fn(ctx, 0);
    close_region();
    pthread_mutex_unlock(&team.owner);
}

/* ---- how many ------------------------------------------------------------------------------ */

static int asked_for(const char *variable)
{
    const char *text = getenv(variable);
    long n = text ? strtol(text, NULL, 10) : 0; /* "4,2" of OpenMP: the outermost */
    return n < 1 ? 0 : n > REEL__MAX_THREADS ? REEL__MAX_THREADS : (int)n;
}

int reel__processors(void)
{
    int n = asked_for("REEL_NUM_THREADS");
    if (!n) n = asked_for("OMP_NUM_THREADS");
    if (n) return n;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
    if (n < 1) n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > REEL__MAX_THREADS ? REEL__MAX_THREADS : n;
}
