/* tensor.h (internal): storage, tensor, and how they are counted. */
#ifndef REEL_TENSOR_TENSOR_H
#define REEL_TENSOR_TENSOR_H

#include <reel/tensor.h>
#include <stdatomic.h>

#include "backend/backend.h"

/* Reference-counted bytes. `version` counts changes in place: the tape compares it. What
 * depends on the values without being part of the program's record, such as prepared weights,
 * compares `lent` too. */
typedef struct reel_storage {
    atomic_int refs;
    uint32_t version;
    uint32_t
        lent; /* counts reel_data(): who has the address may write, and is not seen */
    /* Given by the first capture that sees it (trace/), on any thread; 0: none yet. */
    atomic_uint_fast64_t number;
    uint64_t born; /* mark of the capture in which it was made; 0: none was under way */
    bool viewed;   /* a view of part of it exists or existed */
    reel_device device;
    void *data;
    size_t bytes;
    void (*free_fn)(void *user, void *data); /* borrowed memory; NULL if it is ours */
    void *user;
    bool borrowed;
} reel_storage;

/* A node of the tape, as far as this room needs to know: counted, and freed by its maker
 * (autograd/tape.c), so that no arrow runs upward. */
typedef struct reel_node_head {
    atomic_int refs;
    void (*free_fn)(struct reel_node_head *node);
    struct reel_tensor *leaf; /* the tensor whose own node this is; not counted */
} reel_node_head;

struct reel_tensor {
    atomic_int refs;
    int node_out; /* which output of `node` this is */
    reel_meta meta;
    reel_storage *storage; /* NULL: a ghost, shape without value (op.h) */
    reel_node_head *node;  /* history, or the leaf's own node; NULL: needs no gradient */
    reel_tensor *grad;     /* of a leaf */
};

/* New tensors have one reference; NULL and a pending error on failure. */
reel_storage *reel__storage_new(reel_device device, size_t bytes);
reel_storage *reel__storage_retain(reel_storage *s);
void reel__storage_release(reel_storage *s);

/* Shares `storage` (retained), or allocates when it is NULL. meta is trusted. */
reel_tensor *reel__tensor_new(const reel_meta *meta, reel_storage *storage);
/* A tensor of this meta without memory. */
reel_tensor *reel__tensor_ghost(const reel_meta *meta);
reel_tensor *reel__tensor_retain(reel_tensor *t);
void reel__tensor_release(reel_tensor *t);
static inline reel_node_head *reel__node_retain(reel_node_head *n)
{
    if (n) atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}
static inline void reel__node_release(reel_node_head *n)
{
    if (n && atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1)
        n->free_fn(n);
}

/* Hands t's one reference to the innermost scope; returns t. On failure releases t and
 * returns NULL. NULL in, NULL out. */
reel_tensor *reel__autorelease(reel_tensor *t);

static inline void *reel__ptr(const reel_tensor *t)
{
    return (char *)t->storage->data +
           (size_t)t->meta.offset * reel_dtype_size(t->meta.dtype);
}

/* What a capture hears of this thread besides operators. */
typedef struct reel__listener {
    uint64_t mark; /* of storages that are made meanwhile */
    /* Somebody reads a value, or takes its address (reel_item, reel_data, ...). */
    void (*on_read)(const char *who, const reel_tensor *x);
    /* Somebody is about to look at the gradient of a leaf, or has replaced it. */
    void (*on_grad)(reel_tensor *leaf, bool replaced);
} reel__listener;
/* The caller keeps it; NULL: nobody listens. */
extern _Thread_local const reel__listener *reel__heard_by;

/* Copies x, converted, into contiguous host memory. */
reel_status reel__read(const char *who, const reel_tensor *x, void *out,
                       reel_dtype dtype);

#endif
