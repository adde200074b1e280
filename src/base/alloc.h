/* alloc.h: the one shim for host memory that is not tensor data: structs, lists, scratch.
 * All allocations of the library pass here (or through the tensor allocator, which asks the
 * same fault counter), so that tests can make the k-th fail. */
#ifndef REEL_BASE_ALLOC_H
#define REEL_BASE_ALLOC_H

#include <reel/base.h>

/* NULL and a pending REEL_ERR_MEMORY on failure. size 0 gives a valid pointer. */
void *reel__malloc(size_t size);
void *reel__calloc(size_t n, size_t size);
void *reel__realloc(void *p, size_t size); /* on failure p stays valid */
void reel__free(void *p);
char *reel__strdup(const char *s);

/* Whether the program brought memory functions of its own; then these give what the CPU backend
 * takes from the system otherwise, 64-byte aligned. NULL, without an error, if there is none. */
bool reel__hosted(void);
void *reel__hosted_alloc(size_t bytes);
void reel__hosted_free(void *p);

/* Scratch memory for kernels: 64-byte aligned, uninitialized, cached in the tensor
 * allocator; backend/scratch.c defines these two. NULL and a pending error on failure. */
void *reel__scratch(size_t bytes);
void reel__scratch_free(void *p);

/* Fault injection: the k-th allocation from now fails (k >= 1), and each one after it too
 * if `forever`. 0 switches off. Counts allocations of all threads. */
void reel__fault_alloc(int64_t k, bool forever);
/* Allocations counted since the last reel__fault_alloc(). */
int64_t reel__fault_alloc_count(void);
/* What the shims ask: true if this allocation must fail. */
bool reel__fault_alloc_hit(void);

/* Counts tensors, storages, tape nodes and modules: +1 when made, -1 when freed. */
void reel__live_add(int delta);

#endif
