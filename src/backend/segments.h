/* segments.h: blocks above a few KiB out of big segments of a backend's raw memory.
 *
 * Best fit, lowest address first; free neighbours are joined. What is known about a block
 * lies outside of it, in a record on the host: device memory cannot be written from here.
 * Not thread safe; the caching allocator holds its lock around each call. */
#ifndef REEL_BACKEND_SEGMENTS_H
#define REEL_BACKEND_SEGMENTS_H

#include "backend/backend.h"

typedef struct reel__segment_block reel__segment_block;

/* All zero, but for backend and device, is an empty one. */
typedef struct reel__segments {
    const reel__backend *backend;
    int device;
    size_t reserved;                   /* bytes of all segments */
    reel__segment_block **free_blocks; /* sorted by size, then address */
    size_t n_free;
    reel__segment_block **used; /* hash table of chains by address; size a power of two */
    size_t n_buckets;
    reel__segment_block *spare; /* records of no block, a chain */
    size_t n_spare, n_records;
    struct reel__block_chunk *chunks; /* that hold the records */
} reel__segments;

/* Block of at least `size` bytes; its true size in *granted. NULL, and a pending error if
 * it was the host's memory that ran out, on failure. */
void *reel__segments_take(reel__segments *s, size_t size, size_t *granted);
/* Gives a block back; returns its true size, 0 if there is no such block. Never fails. */
size_t reel__segments_give(reel__segments *s, void *p);
/* Gives segments without a used block back to the backend. */
void reel__segments_trim(reel__segments *s);
/* And the records, if no block is used: what is left needs none. */
void reel__segments_close(reel__segments *s);
/* Lets the system have the pages of all free blocks; they stay reserved. */
void reel__segments_discard(reel__segments *s);

#endif
