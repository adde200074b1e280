/* made.h: records that are made at run time. They are known by name, like those of ops.def, and
 * go when nobody holds them: a handle, a node of a graph, a node of the tape. */
#ifndef REEL_OPS_MADE_H
#define REEL_OPS_MADE_H

#include "ops/op.h"

/* One life, of a record and perhaps of its backward's. */
struct reel__made {
    atomic_int refs;
    const reel__op *op[2]; /* NULL: there is none */
    void (*free_fn)(struct reel__made *self);
    struct reel__made *next;
};

/* Lists its records, with one reference. An error if a name is taken. */
reel_status reel__made_add(reel__made *m);
/* The first one whose record `is_it` says yes to; retained. NULL: none. */
const reel__op *reel__made_find(bool (*is_it)(const reel__op *op, const void *what),
                                const void *what);

#endif
