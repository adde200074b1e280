/* alloc.c: the shim over malloc and its fault injection. */
#include "base/alloc.h"

#include <stdatomic.h>
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

/* ---- memory ------------------------------------------------------------------------ */

static void *or_fail(void *p, size_t size)
{
    if (!p) reel_fail(REEL_ERR_MEMORY, "out of memory: %zu bytes", size);
    return p;
}

void *reel__malloc(size_t size)
{
    return or_fail(reel__fault_alloc_hit() ? NULL : malloc(size ? size : 1), size);
}

void *reel__calloc(size_t n, size_t size)
{
    if (n == 0 || size == 0) n = size = 1;
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        reel_fail(REEL_ERR_MEMORY, "out of memory: %zu times %zu bytes", n, size);
        return NULL;
    }
    return or_fail(reel__fault_alloc_hit() ? NULL : calloc(n, size), total);
}

void *reel__realloc(void *p, size_t size)
{
    return or_fail(reel__fault_alloc_hit() ? NULL : realloc(p, size ? size : 1), size);
}

void reel__free(void *p)
{
    free(p);
}

char *reel__strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = reel__malloc(size);
    return copy ? memcpy(copy, s, size) : NULL;
}
