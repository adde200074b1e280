/* caching_alloc.c: tensor memory of every device. Fresh memory is slow (page faults on the
 * CPU, a synchronizing call on CUDA), so what is freed is kept.
 *
 * Up to 4 KiB: a free list for each multiple of 64 bytes, carved from slabs of 1 MiB.
 * Above: segments.h. One lock for all devices: a call holds it for some ten nanoseconds. */
#include "backend/poison.h"
#include "backend/segments.h"
#include "base/alloc.h"
#include "base/counts.h"
#include "base/lock.h"

#include <string.h>

#define ALIGN ((size_t)64)
#define SMALL_MAX ((size_t)4096)
#define CLASSES (SMALL_MAX / ALIGN)
#define SLAB ((size_t)1 << 20)
#define MAX_DEVICES 16

typedef struct size_class {
    void **free; /* a stack: the block freed last is the warmest */
    size_t n, capacity, carved;
} size_class;

typedef struct pool {
    size_class small[CLASSES]; /* [i] holds blocks of (i + 1) * 64 bytes */
    void **slabs;              /* the last one is being carved */
    size_t n_slabs, slab_capacity, slab_used;
    reel__segments large;
    reel_memory_stats stats;
} pool;

static reel__lock lock = REEL__LOCK;
static pool pools[REEL__DEVICE_TYPE_COUNT][MAX_DEVICES];

/* ---- small blocks ------------------------------------------------------------------ */

/* Room for `need` entries in a list of pointers that grows one by one. */
static bool list_reserve(void ***list, size_t *capacity, size_t need)
{
    if (need <= *capacity) return true;
    size_t n = *capacity ? 2 * *capacity : 64;
    void **grown = reel__realloc(*list, n * sizeof *grown);
    if (!grown) return false;
    *list = grown;
    *capacity = n;
    return true;
}

static bool slab_add(pool *p)
{
    if (!list_reserve(&p->slabs, &p->slab_capacity, p->n_slabs + 1)) return false;
    void *at = p->large.backend->alloc(p->large.device, SLAB);
    if (!at) return false;
    p->slabs[p->n_slabs++] = at;
    p->slab_used = 0;
    return true;
}

/* The free list has room for every block that was ever carved: giving back cannot fail. */
static void *small_carve(pool *p, size_class *c, size_t size)
{
    if (!list_reserve(&c->free, &c->capacity, c->carved + 1)) return NULL;
    if ((p->n_slabs == 0 || SLAB - p->slab_used < size) && !slab_add(p)) return NULL;
    char *at = (char *)p->slabs[p->n_slabs - 1] + p->slab_used;
    p->slab_used += size;
    c->carved++;
    return at;
}

static void *small_take(pool *p, size_t size)
{
    size_class *c = &p->small[size / ALIGN - 1];
    return c->n ? c->free[--c->n] : small_carve(p, c, size);
}

static void small_give(pool *p, void *at, size_t size)
{
    size_class *c = &p->small[size / ALIGN - 1];
    c->free[c->n++] = at;
}

/* Gives the slabs back, all at once and only when no small block is in use: they are few,
 * and which block lies in which slab is not worth keeping. */
static void slabs_trim(pool *p)
{
    for (size_t k = 0; k < CLASSES; k++)
        if (p->small[k].n != p->small[k].carved) return;
    for (size_t k = 0; k < CLASSES; k++) p->small[k].n = p->small[k].carved = 0;
    for (size_t i = 0; i < p->n_slabs; i++)
        p->large.backend->free(p->large.device, p->slabs[i], SLAB);
    p->n_slabs = 0;
}

/* ---- pools ------------------------------------------------------------------------- */

static bool in_range(reel_device device)
{
    return (unsigned)device.type < REEL__DEVICE_TYPE_COUNT && device.index >= 0 &&
           device.index < MAX_DEVICES;
}

static reel_status no_device(reel_device device)
{
    return reel_fail(REEL_ERR_DEVICE, "memory: no device of type %d, index %d",
                     (int)device.type, device.index);
}

/* The pool of a device, opened at its first use; NULL where there is no such device. The
 * lock is held. */
static pool *pool_open(reel_device device)
{
    if (!in_range(device)) return NULL;
    pool *p = &pools[device.type][device.index];
    if (p->large.backend) return p;
    if (!reel_device_available(device)) return NULL;
    p->large.device = device.index;
    p->large.backend = reel__backend_of(device.type);
    return p;
}

static void count_reserved(pool *p)
{
    p->stats.reserved = p->large.reserved + p->n_slabs * SLAB;
    if (p->stats.reserved > p->stats.peak_reserved)
        p->stats.peak_reserved = p->stats.reserved;
}

static void pool_trim(pool *p)
{
    reel__segments_trim(&p->large);
    reel__segments_discard(&p->large);
    slabs_trim(p);
    count_reserved(p);
}

static void *pool_take(pool *p, size_t size, size_t *granted)
{
    *granted = size;
    void *at = size <= SMALL_MAX ? small_take(p, size)
                                 : reel__segments_take(&p->large, size, granted);
    /* Only a call that may have taken raw memory can have changed what is reserved. */
    if (p->stats.reserved != p->large.reserved + p->n_slabs * SLAB) count_reserved(p);
    return at;
}

static void *out_of_memory(reel_device device, size_t bytes, reel_memory_stats stats)
{
    reel_fail(REEL_ERR_MEMORY,
              "out of memory on %s:%d: %zu bytes wanted, %zu in use, %zu reserved",
              reel__backend_of(device.type)->name, device.index, bytes, stats.in_use,
              stats.reserved);
    return NULL;
}

void *reel__device_alloc(reel_device device, size_t bytes)
{
    bool fault = reel__fault_alloc_hit();
    size_t size = bytes ? (bytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN, granted = 0;
    reel__lock_take(&lock);
    pool *p = pool_open(device);
    void *at = NULL;
    if (p && !fault && size >= bytes) {
        bool pending = reel_failed();
        at = pool_take(p, size, &granted);
        /* If no host memory was missing (that is reported already), then what is cached in
         * other sizes may be what is. */
        if (!at && reel_failed() == pending) {
            pool_trim(p);
            at = pool_take(p, size, &granted);
        }
    }
    if (at) {
        p->stats.allocations++;
        p->stats.in_use += granted;
        if (p->stats.in_use > p->stats.peak) p->stats.peak = p->stats.in_use;
    }
    reel_memory_stats stats = at || !p ? (reel_memory_stats){0} : p->stats;
    reel__lock_give(&lock);
    if (!p) {
        no_device(device);
        return NULL;
    }
    if (!at) return out_of_memory(device, bytes, stats);
    if (device.type == REEL_CPU) reel__unpoison(at, bytes);
    return at;
}

void reel__device_free(reel_device device, void *at, size_t bytes)
{
    if (!at) return;
    size_t size = bytes ? (bytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (device.type == REEL_CPU) reel__poison(at, size);
    reel__lock_take(&lock);
    pool *p = pool_open(device);
    size_t given = size;
    if (p && size <= SMALL_MAX)
        small_give(p, at, size);
    else if (p)
        given = reel__segments_give(&p->large, at);
    if (p) p->stats.in_use -= given;
    reel__lock_give(&lock);
    if (!p || !given)
        reel_fail(REEL_ERR_INTERNAL, "memory: freed %zu bytes that were never handed out",
                  bytes);
}

/* ---- statistics -------------------------------------------------------------------- */

reel_status reel_memory(reel_device device, reel_memory_stats *out)
{
    if (!out) return reel_fail(REEL_ERR_ARG, "memory: out is NULL");
    reel__lock_take(&lock);
    pool *p = pool_open(device);
    *out = p ? p->stats : (reel_memory_stats){0};
    reel__lock_give(&lock);
    return p ? REEL_OK : no_device(device);
}

void reel_memory_reset_peak(reel_device device)
{
    reel__lock_take(&lock);
    pool *p = pool_open(device);
    if (p) {
        p->stats.peak = p->stats.in_use;
        p->stats.peak_reserved = p->stats.reserved;
    }
    reel__lock_give(&lock);
}

void reel_memory_trim(reel_device device)
{
    reel__lock_take(&lock);
    pool *p = pool_open(device);
    if (p) pool_trim(p);
    reel__lock_give(&lock);
}

/* ---- the end ------------------------------------------------------------------------- */

/* The lists go too where all that they could hold is back. */
static void pool_close(pool *p)
{
    pool_trim(p);
    reel__segments_close(&p->large);
    if (p->n_slabs) return;
    for (size_t k = 0; k < CLASSES; k++) {
        reel__free(p->small[k].free);
        p->small[k] = (size_class){0};
    }
    reel__free(p->slabs);
    p->slabs = NULL;
    p->slab_capacity = p->slab_used = 0;
}

void reel__memory_close(void)
{
    reel__lock_take(&lock);
    for (int type = 0; type < REEL__DEVICE_TYPE_COUNT; type++)
        for (int i = 0; i < MAX_DEVICES; i++)
            if (pools[type][i].large.backend) pool_close(&pools[type][i]);
    reel__lock_give(&lock);
}
