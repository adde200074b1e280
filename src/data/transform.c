/* transform.c: the object around a function on a sample, and the chain of several. */
#include <reel/data.h>

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/error.h"

struct reel_transform {
    reel_transform_fn fn;
    void *self;
    void (*free_fn)(void *self);
    atomic_int shares;
};

reel_transform *reel_transform_new(reel_transform_fn fn, void *self,
                                   void (*free_fn)(void *self))
{
    REEL__CALLED;
    reel_transform *t = NULL;
    if (!fn)
        reel_fail(REEL_ERR_ARG, "transform_new: the function is NULL");
    else if (!reel_failed())
        t = reel__malloc(sizeof *t);
    if (!t) {
        if (free_fn) free_fn(self);
        return NULL;
    }
    t->fn = fn;
    t->self = self;
    t->free_fn = free_fn;
    atomic_init(&t->shares, 1);
    return t;
}

reel_transform *reel_transform_keep(reel_transform *t)
{
    if (t) atomic_fetch_add_explicit(&t->shares, 1, memory_order_relaxed);
    return t;
}

void reel_transform_free(reel_transform *t)
{
    if (!t || atomic_fetch_sub(&t->shares, 1) != 1) return;
    if (t->free_fn) t->free_fn(t->self);
    reel__free(t);
}

reel_status reel_transform_apply(reel_transform *t, reel_sample *s, reel_draw *d)
{
    REEL__CALLED;
    if (!t || !s || !d)
        return reel_fail(REEL_ERR_ARG, "transform_apply: %s is NULL",
                         !t   ? "transform"
                         : !s ? "sample"
                              : "draw");
    if (reel_failed()) return reel_error_status();
    REEL__CALLS_BACK;
    reel_status status = t->fn(t->self, s, d);
    if (status || reel_failed())
        return reel_fail(status ? status : REEL_ERR_INTERNAL,
                         "transform: failed without saying why");
    return REEL_OK;
}

/* ---- compose ----------------------------------------------------------------------- */

typedef struct chain {
    int n;
    reel_transform *part[];
} chain;

static reel_status apply_chain(void *self, reel_sample *s, reel_draw *d)
{
    const chain *c = self;
    for (int i = 0; i < c->n; i++)
        if (reel_transform_apply(c->part[i], s, d)) return reel_error_status();
    return REEL_OK;
}

static void free_chain(void *self)
{
    chain *c = self;
    for (int i = 0; i < c->n; i++) reel_transform_free(c->part[i]);
    reel__free(c);
}

reel_transform *reel_transform_compose_n(reel_transform *const *parts, int n)
{
    REEL__CALLED;
    if (!parts || n < 0) {
        reel_fail(REEL_ERR_ARG, "transform_compose_n: %d parts%s", n,
                  parts ? "" : " at NULL");
        return NULL;
    }
    if (n > 0 && !parts[n - 1]) n--;
    bool complete = true;
    for (int i = 0; i < n; i++) complete = complete && parts[i];

    chain *c = NULL;
    if (!complete)
        reel_fail(REEL_ERR_ARG, "transform_compose_n: one of the parts is NULL");
    else if (!reel_failed())
        c = reel__malloc(sizeof *c + (size_t)n * sizeof(reel_transform *));
    if (!c) {
        for (int i = 0; i < n; i++) reel_transform_free(parts[i]);
        return NULL;
    }
    c->n = n;
    for (int i = 0; i < n; i++) c->part[i] = parts[i];
    return reel_transform_new(apply_chain, c, free_chain);
}
