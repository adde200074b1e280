/* test_fork.c: a fork in the middle of whatever other threads do: they allocate, run kernels,
 * load data, run graphs. The child has none of them, and must neither hang nor compute anything
 * else. One that does not end in time is a failure. */
#include <reel/reel.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/lock.h"

/* AddressSanitizer's allocator has locks that a fork does not wait for (gcc 12): a child that
 * allocates waits for ever for a thread that it does not have. */
#ifdef __SANITIZE_ADDRESS__
enum { FORKS = 20, CHILD_CAN_ALLOCATE = 0 };
#else
enum { FORKS = 150, CHILD_CAN_ALLOCATE = 1 };
#endif
enum { SECONDS = 60 }; /* a child takes some milliseconds */

static atomic_bool over;
static atomic_int rounds; /* of the busy threads, so that they are known to run */

/* ---- what the others do ---------------------------------------------------------------------- */

static void *allocates(void *unused)
{
    while (!atomic_load(&over)) {
        reel_scope s = reel_scope_begin();
        for (int i = 1; i < 40; i++)
            (void)reel_zeros(REEL_SHAPE(i * (i % 7 ? 1 : 4096)), REEL_F32);
        reel_scope_end(s);
        atomic_fetch_add(&rounds, 1);
        if (atomic_load(&rounds) % 16 == 0) reel_memory_trim((reel_device){0});
    }
    return unused;
}

static void *computes(void *unused)
{
    while (!atomic_load(&over)) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x =
            reel_requires_grad(reel_ones(REEL_SHAPE(64, 64), REEL_F32), true);
        (void)reel_backward(reel_sum(reel_matmul(x, x), REEL_ALL, false), NULL);
        reel_scope_end(s);
        atomic_fetch_add(&rounds, 1);
    }
    return unused;
}

static reel_tensor *doubled(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return reel_mul_scalar(x[0], 2);
}

static void *plans(void *unused)
{
    while (!atomic_load(&over)) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = reel_ones(REEL_SHAPE(4, 3), REEL_F32), *y = NULL;
        reel_graph *g = reel_trace_function(doubled, NULL, &x, 1, NULL);
        reel_executor *e = reel_executor_new(g, NULL);
        (void)reel_executor_run(e, &x, 1, &y, 1);
        reel_executor_free(e);
        reel_graph_free(g);
        reel_scope_end(s);
        atomic_fetch_add(&rounds, 1);
    }
    return unused;
}

enum { SAMPLES = 64 };

static reel_loader *new_loader(void)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_arange_i64(0, SAMPLES, 1, REEL_F32);
    reel_dataset *ds = reel_arrays(x, reel_cast(x, REEL_I64));
    reel_loader *l = reel_loader_new(
        ds, &(reel_loader_opts){.batch = 4, .workers = 2, .shuffle = true});
    reel_dataset_free(ds);
    reel_scope_end(s);
    return l;
}

static double sum_of_epoch(reel_loader *l)
{
    double sum = 0;
    for (reel_batch b; reel_loader_next(l, &b);) {
        float x[4];
        if (reel_read(b.x, x, REEL_F32)) return -1;
        for (int64_t i = 0; i < b.size; i++) sum += (double)x[i];
    }
    return sum;
}

static void *loads(void *unused)
{
    while (!atomic_load(&over)) {
        reel_loader *l = new_loader();
        (void)sum_of_epoch(l);
        reel_loader_free(l);
        atomic_fetch_add(&rounds, 1);
    }
    return unused;
}

/* ---- what a child does --------------------------------------------------------------------------- */

/* 0, or the number of what was wrong. `mid_epoch`: a loader whose workers it does not have. */
static int child(reel_loader *mid_epoch)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_requires_grad(reel_ones(REEL_SHAPE(300, 300), REEL_F32), true);
    reel_tensor *y = reel_sum(reel_matmul(x, x), REEL_ALL, false);
    if (reel_backward(y, NULL) || reel_item(y) != 300.0 * 300 * 300) return 1;
    if (reel_item(reel_max(reel_grad_of(x), REEL_ALL, false)) != 600) return 2;
    reel_scope_end(s);
    const double all = SAMPLES * (SAMPLES - 1) / 2;
    (void)sum_of_epoch(mid_epoch); /* what is left of it */
    if (sum_of_epoch(mid_epoch) != all) return 3;
    reel_loader *own = new_loader();
    if (sum_of_epoch(own) != all) return 4;
    reel_loader_free(own);
    reel_loader_free(mid_epoch);
    reel_memory_trim((reel_device){0});
    reel_shutdown();
    return reel_failed() ? 5 : 0;
}

/* Ends by itself, or is ended. */
static int wait_for(pid_t pid)
{
    int status = -1;
    for (int i = 0; i < SECONDS * 1000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        usleep(1000);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return -1;
}

static void test_fork_while_others_work(void **state)
{
    (void)state;
    if (!CHILD_CAN_ALLOCATE) skip();
    void *(*const work[])(void *) = {allocates, computes, plans, loads, allocates};
    enum { N = sizeof work / sizeof *work };
    pthread_t thread[N];
    reel_loader *l = new_loader();
    reel_batch b;
    atomic_store(&over, false);
    assert_true(reel_loader_next(l, &b));
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work[i], NULL), 0);
    while (atomic_load(&rounds) < 4 * N) usleep(1000);
    int result = 0, i = 0;
    for (; i < FORKS && result == 0; i++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)alarm(SECONDS); /* it ends even if its parent does not wait for it */
            _exit(child(l));
        }
        result = wait_for(pid);
    }
    atomic_store(&over, true);
    for (int k = 0; k < N; k++) pthread_join(thread[k], NULL);
    if (result) fail_msg("child %d: %d%s", i, result, result < 0 ? ", did not end" : "");
    assert_true(sum_of_epoch(l) >= 0); /* the parent's goes on */
    reel_loader_free(l);
    assert_int_equal(reel_live_objects(), 0);
    assert_false(reel_failed());
}

/* ---- locks that are held --------------------------------------------------------------------------- */

static reel__lock outer = REEL__LOCK, inner = REEL__LOCK;

/* In the order that fork() does not have. */
static void *nests(void *unused)
{
    while (!atomic_load(&over)) {
        reel__lock_take(&outer);
        reel__lock_take(&inner);
        reel__lock_give(&inner);
        reel__lock_give(&outer);
    }
    return unused;
}

static void test_nested_locks(void **state)
{
    (void)state;
    pthread_t thread;
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&thread, NULL, nests, NULL), 0);
    int result = 0;
    for (int i = 0; i < FORKS && result == 0; i++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            reel__lock_take(&outer);
            reel__lock_take(&inner);
            _exit(0);
        }
        result = wait_for(pid);
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    assert_int_equal(result, 0);
}

/* A callback of the log, under the log's lock, forks. */
static int of_callback = -2;

static void forks(void *user, reel_log_level level, const char *message)
{
    (void)user, (void)level, (void)message;
    const pid_t pid = fork();
    if (pid == 0) _exit(7);
    of_callback = wait_for(pid);
}

void reel__log_line(reel_log_level level, const char *format, ...);

static void test_fork_under_a_lock(void **state)
{
    (void)state;
    reel_set_log(forks, NULL);
    reel__log_line(REEL_LOG_INFO, "line");
    reel_set_log(NULL, NULL);
    assert_int_equal(of_callback, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nested_locks),
        cmocka_unit_test(test_fork_under_a_lock),
        cmocka_unit_test(test_fork_while_others_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
