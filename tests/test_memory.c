/* test_memory.c: the caching allocator: overlap, joining, statistics, trim, faults, threads;
 * and that its bookkeeping never touches the memory (a backend of invented addresses). */
#include "backend/backend.h"
#include "backend/segments.h"
#include "base/alloc.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static const reel_device cpu = {.type = REEL_CPU};

static int clear(void **state)
{
    (void)state;
    reel__fault_alloc(0, false);
    reel_error_clear();
    reel_memory_trim(cpu);
    return 0;
}

/* A generator of the test's own: its sequence must not change with the library's. */
static uint32_t next(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static reel_memory_stats stats(void)
{
    reel_memory_stats s;
    assert_int_equal(reel_memory(cpu, &s), REEL_OK);
    return s;
}

/* ---- segments over a backend without memory ---------------------------------------- */

static size_t fake_live, fake_limit;
static uintptr_t fake_next;

static void *fake_alloc(int device, size_t bytes)
{
    (void)device;
    if (fake_live + bytes > fake_limit) return NULL;
    fake_live += bytes;
    fake_next += bytes + 2 * MIB; /* a gap: segments must never be joined */
    return (void *)(fake_next - bytes);
}

static void fake_free(int device, void *p, size_t bytes)
{
    (void)device;
    (void)p;
    fake_live -= bytes;
}

static const reel__backend fake = {
    .name = "fake", .alloc = fake_alloc, .free = fake_free};

static reel__segments fake_open(size_t limit)
{
    fake_live = 0;
    fake_limit = limit;
    fake_next = (uintptr_t)1 << 44;
    return (reel__segments){.backend = &fake};
}

/* Records come in chunks that only the process's end frees; the tables are the test's. */
static void fake_close(reel__segments *s)
{
    reel__segments_trim(s);
    assert_int_equal(fake_live, 0);
    assert_int_equal(s->reserved, 0);
    assert_int_equal(s->n_spare, s->n_records);
}

static reel__segments kept; /* reachable, for leak checkers */

enum { BLOCKS = 400 };

typedef struct held {
    char *at;
    size_t size;
} held;

static void assert_apart(const held *h, int n, const held *new)
{
    for (int i = 0; i < n; i++)
        if (h[i].at && &h[i] != new)
            assert_true(new->at + new->size <= h[i].at || h[i].at + h[i].size <= new->at);
}

static void random_blocks_never_overlap(void **state)
{
    (void)state;
    reel__segments *s = &kept;
    *s = fake_open((size_t)1 << 40);
    held h[BLOCKS] = {0};
    uint32_t seed = 1;
    size_t in_use = 0, peak = 0;
    for (int step = 0; step < 20000; step++) {
        held *b = &h[next(&seed) % BLOCKS];
        if (b->at) {
            size_t given = reel__segments_give(s, b->at);
            assert_true(given >= b->size && given <= b->size + 4096);
            in_use -= given;
            b->at = NULL;
            continue;
        }
        size_t granted = 0;
        b->size = 64 * (size_t)(65 + (next(&seed) & ((1u << next(&seed) % 17) - 1)));
        b->at = reel__segments_take(s, b->size, &granted);
        assert_non_null(b->at);
        assert_true(granted >= b->size);
        assert_int_equal((uintptr_t)b->at % 64, 0);
        assert_apart(h, BLOCKS, b);
        in_use += granted;
        if (in_use > peak) peak = in_use;
        assert_int_equal(fake_live, s->reserved);
    }
    /* Fragmentation: what is reserved stays near what was needed at the peak. */
    assert_true(s->reserved <= peak + peak / 3 + 64 * MIB);
    for (int i = 0; i < BLOCKS; i++)
        if (h[i].at) assert_true(reel__segments_give(s, h[i].at) > 0);
    assert_int_equal(reel__segments_give(s, h), 0); /* never handed out */
    fake_close(s);
}

static void neighbours_are_joined(void **state)
{
    (void)state;
    reel__segments *s = &kept;
    s->backend = &fake;
    for (int order = 0; order < 6; order++) {
        static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        size_t g;
        char *p[3];
        for (int i = 0; i < 3; i++) p[i] = reel__segments_take(s, 8 * MIB, &g);
        assert_ptr_equal(p[1], p[0] + 8 * MIB);
        assert_ptr_equal(p[2], p[1] + 8 * MIB);
        for (int i = 0; i < 3; i++) reel__segments_give(s, p[orders[order][i]]);
        assert_int_equal(s->n_free, 1);
        char *whole = reel__segments_take(s, 64 * MIB, &g); /* no second segment */
        assert_ptr_equal(whole, p[0]);
        assert_int_equal(s->reserved, 64 * MIB);
        reel__segments_give(s, whole);
    }
    fake_close(s);
}

static void best_fit_lowest_address(void **state)
{
    (void)state;
    reel__segments *s = &kept;
    size_t g;
    char *p[8];
    for (int i = 0; i < 8; i++) /* 1 2 1 1 3 1 1 1 MiB, odd ones stay as walls */
        p[i] = reel__segments_take(s, (i == 1 ? 2 : i == 4 ? 3 : 1) * MIB, &g);
    reel__segments_give(s, p[4]);
    reel__segments_give(s, p[6]);
    reel__segments_give(s, p[2]);
    assert_ptr_equal(reel__segments_take(s, MIB, &g), p[2]);
    assert_ptr_equal(reel__segments_take(s, MIB, &g), p[6]);
    assert_ptr_equal(reel__segments_take(s, 3 * MIB, &g), p[4]);
    /* A rest of a page or less is not split off. */
    reel__segments_give(s, p[4]);
    assert_ptr_equal(reel__segments_take(s, 3 * MIB - 64, &g), p[4]);
    assert_int_equal(g, 3 * MIB);
    for (int i = 0; i < 8; i++) reel__segments_give(s, p[i]);
    fake_close(s);
}

static void full_device_is_survived(void **state)
{
    (void)state;
    reel__segments *s = &kept;
    fake_limit = 100 * MIB;
    size_t g;
    assert_null(reel__segments_take(s, 200 * MIB, &g));
    char *a = reel__segments_take(s, 40 * MIB, &g); /* 64 reserved */
    assert_non_null(a);
    char *b = reel__segments_take(s, 30 * MIB, &g); /* 30 of a segment of 30, not of 64 */
    assert_non_null(b);
    assert_int_equal(s->reserved, 94 * MIB);
    reel__segments_give(s, a);
    char *c = reel__segments_take(s, 66 * MIB, &g); /* the free 64 go for it */
    assert_non_null(c);
    assert_int_equal(s->reserved, 96 * MIB);
    assert_null(reel__segments_take(s, SIZE_MAX - 63, &g));
    reel__segments_give(s, b);
    reel__segments_give(s, c);
    fake_close(s);
    assert_false(reel_failed()); /* the caching allocator reports it, not this */
}

/* ---- the allocator itself ---------------------------------------------------------- */

static void sizes_and_alignment(void **state)
{
    (void)state;
    size_t before = stats().in_use;
    for (size_t size = 0; size <= 20000; size += size < 300 ? 1 : 997) {
        char *p = reel__device_alloc(cpu, size), *q = reel__device_alloc(cpu, size);
        assert_non_null(p);
        assert_non_null(q);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 1, size);
        memset(q, 2, size);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 1);
        reel__device_free(cpu, p, size);
        reel__device_free(cpu, q, size);
    }
    reel__device_free(cpu, NULL, 7);
    assert_int_equal(stats().in_use, before);
}

static void statistics(void **state)
{
    (void)state;
    reel_memory_reset_peak(cpu);
    reel_memory_stats before = stats();
    void *a = reel__device_alloc(cpu, 100 * MIB), *b = reel__device_alloc(cpu, 100);
    reel_memory_stats now = stats();
    assert_int_equal(now.in_use, before.in_use + 100 * MIB + 128);
    assert_int_equal(now.allocations, before.allocations + 2);
    assert_true(now.reserved >= now.in_use && now.peak == now.in_use);
    reel__device_free(cpu, a, 100 * MIB);
    now = stats();
    assert_int_equal(now.peak, before.in_use + 100 * MIB + 128);
    assert_true(now.reserved >= 100 * MIB);
    reel_memory_trim(cpu);
    now = stats();
    assert_true(now.reserved < 64 * MIB && now.peak_reserved >= 100 * MIB);
    reel_memory_reset_peak(cpu);
    now = stats();
    assert_true(now.peak == now.in_use && now.peak_reserved == now.reserved);
    reel__device_free(cpu, b, 100);
    reel_memory_trim(cpu);
    if (before.in_use == 0) assert_int_equal(stats().reserved, 0);
}

static void absent_devices(void **state)
{
    (void)state;
    const reel_device absent[] = {{REEL_CPU, 1},
                                  {REEL_CPU, -1},
                                  {REEL_CUDA, 99},
                                  {(reel_device_type)7, 0},
                                  {(reel_device_type)-1, 0}};
    reel_memory_stats s;
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        assert_false(reel_device_available(absent[i]));
        assert_null(reel__device_alloc(absent[i], 8));
        assert_int_equal(reel_error_status(), REEL_ERR_DEVICE);
        reel_error_clear();
        assert_int_equal(reel_memory(absent[i], &s), REEL_ERR_DEVICE);
        reel_error_clear();
        reel_memory_trim(absent[i]);
        reel_memory_reset_peak(absent[i]);
    }
    assert_true(reel_device_available(cpu));
    assert_true(reel_device_available(reel_best_device()));
    assert_int_equal(reel_memory(cpu, NULL), REEL_ERR_ARG);
}

static void too_much_is_an_error(void **state)
{
    (void)state;
    const size_t much[] = {SIZE_MAX, SIZE_MAX - 64, SIZE_MAX / 2, (size_t)1 << 62};
    for (size_t i = 0; i < sizeof much / sizeof *much; i++) {
        assert_null(reel__device_alloc(cpu, much[i]));
        assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
        reel_error_clear();
        assert_null(reel__scratch(much[i]));
        assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
        reel_error_clear();
    }
    void *p = reel__device_alloc(cpu, 5000);
    assert_non_null(p);
    reel__device_free(cpu, p, 5000);
}

static void free_of_a_stranger_is_reported(void **state)
{
    (void)state;
    static char stranger[8192];
#if !defined(__SANITIZE_ADDRESS__)
    reel__device_free(cpu, stranger, sizeof stranger);
    assert_int_equal(reel_error_status(), REEL_ERR_INTERNAL);
#else
    (void)stranger; /* would be poisoned */
    skip();
#endif
}

static void scratch(void **state)
{
    (void)state;
    size_t before = stats().in_use;
    for (size_t size = 0; size < 3 * MIB; size = size * 3 + 1) {
        char *p = reel__scratch(size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 7, size);
        reel__scratch_free(p);
    }
    reel__scratch_free(NULL);
    assert_int_equal(stats().in_use, before);
}

/* Every allocation on the way fails once; nothing is lost, and the error says so. */
static void faults(void **state)
{
    (void)state;
    size_t before = stats().in_use;
    int64_t k = 1;
    for (bool done = false; !done; k++) {
        void *p[80] = {0};
        reel__fault_alloc(k, false);
        done = true;
        for (int i = 0; i < 80; i++) {
            p[i] = reel__device_alloc(cpu, i % 2 ? 100 : 5000);
            if (!p[i]) done = false;
        }
        assert_int_equal(reel_failed(), !done);
        if (!done) assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
        reel__fault_alloc(0, false);
        reel_error_clear();
        for (int i = 0; i < 80; i++) reel__device_free(cpu, p[i], i % 2 ? 100 : 5000);
        assert_int_equal(stats().in_use, before);
    }
    assert_true(k > 80);
}

enum { HELD = 64 };

typedef struct churner {
    char mark;
    bool bad;
} churner;

/* Threads of our own: the pool hands tasks to whoever comes. */
static void *churn(void *arg)
{
    churner *c = arg;
    char *p[HELD] = {0};
    size_t n[HELD] = {0};
    uint32_t seed = (uint32_t)c->mark + 99;
    for (int step = 0; step < 20000; step++) {
        uint32_t i = next(&seed) % HELD;
        if (p[i]) {
            if (p[i][0] != c->mark || p[i][n[i] - 1] != c->mark) c->bad = true;
            reel__device_free(cpu, p[i], n[i]);
            p[i] = NULL;
            continue;
        }
        n[i] = 1 + (next(&seed) & ((1u << next(&seed) % 18) - 1));
        p[i] = reel__device_alloc(cpu, n[i]);
        if (!p[i])
            c->bad = true;
        else
            p[i][0] = p[i][n[i] - 1] = c->mark;
    }
    for (int i = 0; i < HELD; i++) reel__device_free(cpu, p[i], n[i]);
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    size_t before = stats().in_use;
    pthread_t thread[4];
    churner c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = (churner){.mark = (char)(i + 1)};
        assert_int_equal(pthread_create(&thread[i], NULL, churn, &c[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_false(c[i].bad);
    }
    assert_int_equal(stats().in_use, before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        TEST(random_blocks_never_overlap),
        TEST(neighbours_are_joined),
        TEST(best_fit_lowest_address),
        TEST(full_device_is_survived),
        TEST(sizes_and_alignment),
        TEST(statistics),
        TEST(absent_devices),
        TEST(too_much_is_an_error),
        TEST(free_of_a_stranger_is_reported),
        TEST(scratch),
        TEST(faults),
        TEST(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
