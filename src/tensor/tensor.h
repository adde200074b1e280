/* tensor.h (internal): storage, tensor, and how they are counted. */
#ifndef REEL_TENSOR_TENSOR_H
#define REEL_TENSOR_TENSOR_H

#include <reel/tensor.h>
#include <stdatomic.h>

#include "backend/backend.h"

/* Reference-counted bytes. `version` counts changes in place, which the tape compares with
 * what it saved; `epoch` counts those of them that became part of a history. What depends on
 * the values without being part of the program's record, such as prepared weights, compares
 * `lent` too. */
typedef struct reel__storage {
    atomic_int refs;
    uint32_t version, epoch;
    uint32_t
        lent; /* counts reel_data(): who has the address may write, and is not seen */
    uint64_t number; /* in the order in which the process made them: never used again */
    uint64_t born;   /* mark of the capture in which it was made; 0: none was under way */
    reel_device device;
    void *data;
    size_t bytes;
    void (*free_fn)(void *user, void *data); /* borrowed memory; NULL if it is ours */
    void *user;
    bool borrowed;
} reel__storage;

/* A node of the tape, as far as this room needs to know: counted, and freed by its maker
 * (autograd/tape.c), so that no arrow runs upward. */
typedef struct reel__node_head {
    atomic_int refs;
    void (*free_fn)(struct reel__node_head *node);
    struct reel_tensor *leaf; /* the tensor whose own node this is; not counted */
} reel__node_head;

/* Room for the attributes of an operator that makes a view. */
#define REEL__VIEW_ATTRS 80

/* How a tensor came to look at the memory of another one, while gradients were enabled: a
 * change through one of them is part of the history of both (autograd/view.c). */
typedef struct reel__view {
    struct reel_tensor *from; /* counted */
    uint32_t life;            /* of `from` then: reel_set_data() makes another of it */
    const struct reel__op *op;
    _Alignas(16) char attrs[REEL__VIEW_ATTRS];
} reel__view;

struct reel_tensor {
    atomic_int refs;
    int node_out; /* which output of `node` this is */
    reel__meta meta;
    reel__storage *storage; /* NULL: a ghost, shape without value (op.h) */
    reel__node_head *node;  /* history, or the leaf's own node; NULL: needs no gradient */
    atomic_uint epoch; /* of the storage when `node` was its history: else it is old */
    uint32_t life;     /* goes up when it gets other memory */
    reel__view
        *view; /* in the same block; NULL: a root, which is not a view or cut off */
    reel_tensor *grad; /* of a leaf */
    reel_tensor *next_free;
};

/* New tensors have one reference; NULL and a pending error on failure. */
reel__storage *reel__storage_new(reel_device device, size_t bytes);
/* Memory of somebody else; set free_fn and user to be told when it is no longer needed. */
reel__storage *reel__storage_borrow(reel_device device, void *data, size_t bytes);
reel__storage *reel__storage_retain(reel__storage *s);
void reel__storage_release(reel__storage *s);

/* Shares `storage` (retained), or allocates when it is NULL. meta is trusted. */
reel_tensor *reel__tensor_new(const reel__meta *meta, reel__storage *storage);
/* A tensor of this meta without memory. */
reel_tensor *reel__tensor_ghost(const reel__meta *meta);
reel_tensor *reel__tensor_retain(reel_tensor *t);
void reel__tensor_release(reel_tensor *t);
/* A new tensor of this meta that knows that it is what `op` makes of x, whose storage it
 * shares. */
reel_tensor *reel__tensor_view(const reel__meta *meta, reel_tensor *x,
                               const struct reel__op *op, const void *attrs,
                               size_t attr_size);
/* Forgets it: y is a root from now on. */
void reel__tensor_unlink(reel_tensor *y);
/* The tensor that y is a view of; NULL if y is a root. */
static inline reel_tensor *reel__viewed(const reel_tensor *y)
{
    return y->view && y->view->life == y->view->from->life ? y->view->from : NULL;
}
/* The tensor that y is a view of, however far; y itself if it is a root. */
static inline reel_tensor *reel__root(const reel_tensor *y)
{
    for (const reel_tensor *up; (up = reel__viewed(y));) y = up;
    return (reel_tensor *)(uintptr_t)y;
}
/* The number of the storage that will be made next. */
uint64_t reel__storages_so_far(void);
static inline reel__node_head *reel__node_retain(reel__node_head *n)
{
    if (n) atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}
static inline void reel__node_release(reel__node_head *n)
{
    if (n && atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1)
        n->free_fn(n);
}

/* Hands t's one reference to the innermost scope; returns t. On failure releases t and
 * returns NULL. NULL in, NULL out. */
reel_tensor *reel__autorelease(reel_tensor *t);

/* x's history is that of a value which was changed since, by way of another tensor. */
static inline bool reel__is_old(const reel_tensor *x)
{
    return x->storage &&
           atomic_load_explicit(&x->epoch, memory_order_acquire) != x->storage->epoch;
}

static inline void *reel__ptr(const reel_tensor *t)
{
    char *data = t->storage->data;
    if (t->meta.offset == 0) return data; /* nearly always */
    return data + (size_t)t->meta.offset * reel_dtype_size(t->meta.dtype);
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
