/* alloc.c: the shim over malloc and its fault injection. */
#include "base/alloc.h"
#include "base/option.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- fault injection --------------------------------------------------------------- */

static atomic_llong fault_count, fault_at;
static atomic_bool fault_forever, fault_counting;

void reel__fault_alloc(int64_t k, bool forever)
{
    atomic_store(&fault_at, 0); /* off while the others change */
    atomic_store(&fault_count, 0);
    atomic_store(&fault_forever, forever);
    atomic_store(&fault_at, k);
    atomic_store(&fault_counting, true);
}

int64_t reel__fault_alloc_count(void)
{
    return atomic_load(&fault_count);
}

bool reel__fault_alloc_hit(void)
{
    /* Nobody asked: a plain load, no shared counter on the path of every operator. */
    if (!atomic_load_explicit(&fault_counting, memory_order_relaxed)) return false;
    long long n = atomic_fetch_add_explicit(&fault_count, 1, memory_order_relaxed) + 1;
    long long at = atomic_load_explicit(&fault_at, memory_order_relaxed);
    if (at == 0) return false;
    return n == at || (n > at && atomic_load(&fault_forever));
}

/* ---- whose memory ------------------------------------------------------------------- */

/* Nobody's until memory is taken for the first time; then it is settled. One load says all. */
enum { OPEN, LIBC, HOST };
static atomic_int whose;
static reel_allocator host; /* all NULL: the C library's */

/* The C library's, on the path of every operator. */
static bool is_libc(void)
{
    int is = atomic_load_explicit(&whose, memory_order_relaxed);
    if (is == OPEN) atomic_store(&whose, is = host.alloc ? HOST : LIBC);
    return is == LIBC;
}

reel_status reel_set_allocator(const reel_allocator *a)
{
    if (reel_failed()) return reel_error_status();
    if (a && (!a->alloc || !a->resize || !a->release))
        return reel_fail(REEL_ERR_ARG, "set_allocator: %s is NULL; all three are needed",
                         !a->alloc    ? "alloc"
                         : !a->resize ? "resize"
                                      : "release");
    if (a && !REEL__KNOWN("set_allocator", a)) return reel_error_status();
    if (atomic_load(&whose) != OPEN)
        return reel_fail(REEL_ERR_STATE,
                         "set_allocator: the library has memory from another allocator; "
                         "set it before anything else is called");
    host = a ? *a : (reel_allocator){0};
    return REEL_OK;
}

bool reel__hosted(void)
{
    return host.alloc != NULL;
}

static void *take(size_t size)
{
    return is_libc() ? malloc(size) : host.alloc(host.user, size);
}

static void *take_zeros(size_t n, size_t size)
{
    if (is_libc()) return calloc(n, size);
    void *p = host.alloc(host.user, n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

static void *resize(void *p, size_t size)
{
    if (is_libc()) return realloc(p, size);
    return p ? host.resize(host.user, p, size) : host.alloc(host.user, size);
}

static void give(void *p)
{
    if (atomic_load_explicit(&whose, memory_order_relaxed) != HOST)
        free(p);
    else if (p)
        host.release(host.user, p);
}

/* ---- memory ------------------------------------------------------------------------ */

static void *or_fail(void *p, size_t size)
{
    if (!p) reel_fail(REEL_ERR_MEMORY, "out of memory: %zu bytes", size);
    return p;
}

void *reel__malloc(size_t size)
{
    return or_fail(reel__fault_alloc_hit() ? NULL : take(size ? size : 1), size);
}

void *reel__calloc(size_t n, size_t size)
{
    if (n == 0 || size == 0) n = size = 1;
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        reel_fail(REEL_ERR_MEMORY, "out of memory: %zu times %zu bytes", n, size);
        return NULL;
    }
    return or_fail(reel__fault_alloc_hit() ? NULL : take_zeros(n, size), total);
}

void *reel__realloc(void *p, size_t size)
{
    return or_fail(reel__fault_alloc_hit() ? NULL : resize(p, size ? size : 1), size);
}

void reel__free(void *p)
{
    give(p);
}

char *reel__strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = reel__malloc(size);
    return copy ? memcpy(copy, s, size) : NULL;
}

/* ---- aligned, of the program's own ------------------------------------------------- */

/* What was given lies before the address, which is a multiple of ALIGN. */
enum { ALIGN = 64 };

void *reel__hosted_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 2 * ALIGN) return NULL;
    char *given = take(bytes + 2 * ALIGN);
    if (!given) return NULL;
    char *p = given + 2 * ALIGN - (uintptr_t)given % ALIGN;
    memcpy(p - sizeof given, &given, sizeof given);
    return p;
}

void reel__hosted_free(void *p)
{
    char *given;
    memcpy(&given, (char *)p - sizeof given, sizeof given);
    give(given);
}
