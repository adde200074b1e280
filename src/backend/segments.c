/* segments.c: best fit with coalescing over big segments (Knuth, TAOCP 1, 2.5; boundary tags
 * kept as a list of neighbours outside of the memory). */
#include "backend/segments.h"

#include "base/alloc.h"

#include <string.h>

#define MIB ((size_t)1 << 20)
#define SEGMENT_MIN (64 * MIB)
#define SEGMENT_GROWTH_MAX (256 * MIB)
#define SEGMENT_ROUND (2 * MIB) /* huge pages */
/* Smaller rests stay inside the block: no request that small comes here. */
#define REST_MIN ((size_t)4096)
#define RECORDS 64 /* made at a time */

struct reel__segment_block {
    char *at;
    size_t size;
    struct reel__segment_block *before,
        *after;                        /* neighbours in the segment; NULL at its ends */
    struct reel__segment_block *chain; /* in a bucket, or among the spare records */
    bool free;
};
typedef reel__segment_block block;

/* Records are made, and freed, in these. */
struct reel__block_chunk {
    struct reel__block_chunk *next;
    block record[RECORDS];
};

/* A block with neither neighbour is a whole segment. */
static bool is_segment(const block *b)
{
    return !b->before && !b->after;
}

/* ---- records ----------------------------------------------------------------------- */

static block *record_take(reel__segments *s)
{
    block *b = s->spare;
    s->spare = b->chain;
    s->n_spare--;
    memset(b, 0, sizeof *b);
    return b;
}

static void record_give(reel__segments *s, block *b)
{
    b->chain = s->spare;
    s->spare = b;
    s->n_spare++;
}

/* ---- used blocks, by address ------------------------------------------------------- */

/* Fibonacci hashing: addresses are multiples of 64 at least. */
static block **bucket(const reel__segments *s, const void *p)
{
    uint64_t h = ((uint64_t)(uintptr_t)p >> 6) * UINT64_C(0x9E3779B97F4A7C15);
    return &s->used[(h >> 32) & (s->n_buckets - 1)];
}

static void used_add(reel__segments *s, block *b)
{
    block **head = bucket(s, b->at);
    b->chain = *head;
    *head = b;
}

static block *used_remove(reel__segments *s, const void *p)
{
    if (!s->n_buckets) return NULL;
    for (block **link = bucket(s, p); *link; link = &(*link)->chain)
        if ((*link)->at == p) {
            block *b = *link;
            *link = b->chain;
            return b;
        }
    return NULL;
}

static bool used_grow(reel__segments *s, size_t n)
{
    block **old = s->used;
    size_t n_old = s->n_buckets;
    block **table = reel__calloc(n, sizeof(block *));
    if (!table) return false;
    s->used = table;
    s->n_buckets = n;
    for (size_t i = 0; i < n_old; i++)
        for (block *b = old[i], *next; b; b = next) {
            next = b->chain;
            used_add(s, b);
        }
    reel__free(old);
    return true;
}

/* All memory for bookkeeping is taken here, so that giving back can never fail: two spare
 * records (a new segment, the rest of a split) and room in both tables for all. */
static bool records_reserve(reel__segments *s)
{
    if (s->n_spare >= 2) return true;
    size_t n = s->n_records + RECORDS;
    if (s->n_buckets < n && !used_grow(s, s->n_buckets ? 2 * s->n_buckets : 256))
        return false;
    block **list = reel__realloc(s->free_blocks, n * sizeof *list);
    if (!list) return false;
    s->free_blocks = list;
    struct reel__block_chunk *chunk = reel__malloc(sizeof *chunk);
    if (!chunk) return false;
    chunk->next = s->chunks;
    s->chunks = chunk;
    for (int i = RECORDS - 1; i >= 0; i--) record_give(s, &chunk->record[i]);
    s->n_records = n;
    return true;
}

/* ---- free blocks, by size and address ---------------------------------------------- */

/* First place whose block is not below (size, at). */
static size_t free_find(const reel__segments *s, size_t size, const char *at)
{
    size_t low = 0, high = s->n_free;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const block *b = s->free_blocks[mid];
        bool below =
            b->size < size || (b->size == size && (uintptr_t)b->at < (uintptr_t)at);
        if (below)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void free_add(reel__segments *s, block *b)
{
    size_t i = free_find(s, b->size, b->at);
    memmove(&s->free_blocks[i + 1], &s->free_blocks[i],
            (s->n_free++ - i) * sizeof *s->free_blocks);
    s->free_blocks[i] = b;
    b->free = true;
}

static block *free_remove(reel__segments *s, size_t i)
{
    block *b = s->free_blocks[i];
    memmove(&s->free_blocks[i], &s->free_blocks[i + 1],
            (--s->n_free - i) * sizeof *s->free_blocks);
    b->free = false;
    return b;
}

/* Takes a free neighbour out of the list and joins b, which is in no list, with it. */
static void join_after(reel__segments *s, block *b)
{
    block *rest = b->after;
    free_remove(s, free_find(s, rest->size, rest->at));
    b->size += rest->size;
    b->after = rest->after;
    if (b->after) b->after->before = b;
    record_give(s, rest);
}

static block *join_before(reel__segments *s, block *b)
{
    block *first = b->before;
    free_remove(s, free_find(s, first->size, first->at));
    first->size += b->size;
    first->after = b->after;
    if (first->after) first->after->before = first;
    record_give(s, b);
    return first;
}

/* ---- segments ---------------------------------------------------------------------- */

/* Segments grow with what is reserved, which keeps their number and so the memory lost at
 * their ends small; at most by 256 MiB at a time. */
static size_t segment_size(const reel__segments *s)
{
    size_t size = s->reserved / 4;
    if (size < SEGMENT_MIN) size = SEGMENT_MIN;
    return size > SEGMENT_GROWTH_MAX ? SEGMENT_GROWTH_MAX : size;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static bool segment_add(reel__segments *s, size_t need)
{
    if (need > SIZE_MAX / 2) return false;
    need = round_up(need, SEGMENT_ROUND);
    /* What lies whole and free was too small: it only adds to the peak. */
    reel__segments_trim(s);
    size_t size = round_up(segment_size(s), SEGMENT_ROUND);
    if (size < need) size = need;
    void *p = s->backend->alloc(s->device, size);
    if (!p && size > need) p = s->backend->alloc(s->device, size = need);
    if (!p) return false;
    block *b = record_take(s);
    b->at = p;
    b->size = size;
    s->reserved += size;
    free_add(s, b);
    return true;
}

void reel__segments_trim(reel__segments *s)
{
    for (size_t i = s->n_free; i-- > 0;) {
        if (!is_segment(s->free_blocks[i])) continue;
        block *b = free_remove(s, i);
        s->backend->free(s->device, b->at, b->size);
        s->reserved -= b->size;
        record_give(s, b);
    }
}

void reel__segments_close(reel__segments *s)
{
    reel__segments_trim(s);
    if (s->n_spare != s->n_records) return;
    for (struct reel__block_chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        reel__free(c);
    }
    reel__free(s->free_blocks);
    reel__free(s->used);
    *s = (reel__segments){.backend = s->backend, .device = s->device};
}

void reel__segments_discard(reel__segments *s)
{
    for (size_t i = 0; i < s->n_free && s->backend->discard; i++)
        s->backend->discard(s->device, s->free_blocks[i]->at, s->free_blocks[i]->size);
}

/* ---- blocks ------------------------------------------------------------------------ */

void *reel__segments_take(reel__segments *s, size_t size, size_t *granted)
{
    if (!records_reserve(s)) return NULL;
    size_t i = free_find(s, size, NULL);
    if (i == s->n_free) {
        if (!segment_add(s, size)) return NULL;
        i = free_find(s, size, NULL);
    }
    block *b = free_remove(s, i);
    if (b->size - size > REST_MIN) {
        block *rest = record_take(s);
        rest->at = b->at + size;
        rest->size = b->size - size;
        rest->before = b;
        rest->after = b->after;
        if (rest->after) rest->after->before = rest;
        b->after = rest;
        b->size = size;
        free_add(s, rest);
    }
    used_add(s, b);
    *granted = b->size;
    return b->at;
}

size_t reel__segments_give(reel__segments *s, void *p)
{
    block *b = used_remove(s, p);
    if (!b) return 0;
    size_t size = b->size;
    if (b->after && b->after->free) join_after(s, b);
    if (b->before && b->before->free) b = join_before(s, b);
    free_add(s, b);
    return size;
}
