/* state_log.c: notes of a first run, and the detour of a second one. */
#include "autograd/state_log.h"

#include "autograd/tape.h"
#include "base/alloc.h"

/* ---- how a tensor looks at its storage ------------------------------------------------------- */

/* Dimensions of m, those of one element left out, from the outermost in memory; m rearranged so.
 * False if there are gaps. */
static bool in_memory_order(const reel__meta *m, reel_shape *order, reel_shape *sizes)
{
    int64_t dense = 1;
    *order = *sizes = (reel_shape){.rank = m->rank};
    for (int i = 0; i < m->rank; i++) order->dim[i] = i;
    for (int i = 1; i < m->rank; i++) /* insertion sort, stable */
        for (int k = i; k > 0; k--) {
            int64_t a = order->dim[k - 1], b = order->dim[k];
            if (m->stride[a] >= m->stride[b]) break;
            order->dim[k - 1] = b;
            order->dim[k] = a;
        }
    for (int i = m->rank - 1; i >= 0; i--) {
        int64_t d = order->dim[i];
        sizes->dim[i] = m->dim[d];
        if (m->dim[d] != 1 && m->stride[d] != dense) return false;
        dense *= m->dim[d];
    }
    return true;
}

/* ---- the first run ------------------------------------------------------------------------- */

static int find(const reel__state_log *log, const reel__storage *s)
{
    for (int i = 0; i < log->n; i++)
        if (log->found[i].storage == s || log->found[i].instead == s) return i;
    return -1;
}

static int add(reel__state_log *log, reel__storage *s)
{
    if (log->n == log->cap) {
        int cap = log->cap ? 2 * log->cap : 16;
        reel__found *f = reel__realloc(log->found, (size_t)cap * sizeof *f);
        if (!f) return -1;
        log->found = f;
        log->cap = cap;
    }
    log->found[log->n] = (reel__found){reel__storage_retain(s), NULL, s->version, NULL};
    return log->n++;
}

/* All of x's storage as one row of x's dtype: by operators if x or its root is all of it, so
 * that a capture knows what it is. */
static reel_tensor *flat(reel_tensor *x)
{
    int64_t n = (int64_t)(x->storage->bytes / reel_dtype_size(x->meta.dtype));
    reel__meta row = reel__meta_of(REEL_SHAPE(n), x->meta.dtype, x->meta.device);
    reel_tensor *whole = reel__root(x);
    reel_shape order, sizes;
    if (reel__numel(&whole->meta) == n && in_memory_order(&whole->meta, &order, &sizes))
        return reel_reshape(reel_permute(whole, order), REEL_SHAPE(n));
    return reel__autorelease(reel__tensor_new(&row, x->storage));
}

/* A copy of it; counted. */
static reel_tensor *copy_all(reel_tensor *x)
{
    reel_scope s = reel_scope_begin();
    bool was = reel__tape_enable(false);
    reel_tensor *y = reel__tensor_retain(reel_copy(flat(x)));
    (void)reel__tape_enable(was);
    reel_scope_end(s);
    return y;
}

/* Input i of a call. Under another checkpoint's second run it may be a copy of its own, in the
 * place of what was asked for: that is noted as it is now. */
static reel_status note(reel__state_log *log, const reel__call *c, int i,
                        const reel_tensor *asked)
{
    reel_tensor *x = c->in[i];
    bool changed = reel__op_changes(c->op, i);
    if (asked->storage->number >= log->mark) return REEL_OK;
    bool apart = changed || x != asked; /* the second run will have a copy of it */
    REQUIRE(
        c, !apart || (!reel__renew(c->op->name, x) && !x->node), REEL_ERR_STATE,
        "input %d %s needs a gradient, comes from outside of a checkpoint's function and "
        "would be changed in it; use the operator that is not in place",
        i, SHOW(&x->meta));
    int at = find(log, asked->storage);
    if (at < 0) at = find(log, x->storage);
    if (at < 0 && (at = add(log, asked->storage)) < 0) return reel_error_status();
    reel__found *f = &log->found[at];
    if (x != asked && !f->instead)
        f->instead =
            reel__storage_retain(f->storage == x->storage ? asked->storage : x->storage);
    if (f->before || !apart) return REEL_OK;
    reel_tensor *before = copy_all(x); /* no call that adds to the log */
    f->before = before;
    return before ? REEL_OK : reel_error_status();
}

static reel_status before_call(reel__recorder *self, const reel__call *c,
                               reel_tensor *const asked[])
{
    reel__state_log *log = (reel__state_log *)(void *)self;
    reel_status st = REEL_OK;
    for (int i = 0; i < c->n_in && !st; i++)
        if (asked[i]) st = note(log, c, i, asked[i]);
    return st;
}

static reel_status ignore(reel__recorder *self, const reel__call *c)
{
    (void)self;
    (void)c;
    return REEL_OK;
}

reel__state_log *reel__state_log_new(void)
{
    reel__state_log *log = reel__malloc(sizeof *log);
    if (!log) return NULL;
    *log = (reel__state_log){.listener = {.record = ignore, .before = before_call},
                             .mark = reel__storages_so_far()};
    reel__recorder_push(&log->listener);
    return log;
}

void reel__state_log_end(reel__state_log *log)
{
    reel__recorder_remove(&log->listener);
}

void reel__state_log_free(reel__state_log *log)
{
    if (!log) return;
    reel__state_log_end(log);
    for (int i = 0; i < log->n; i++) {
        reel__tensor_release(log->found[i].before);
        reel__storage_release(log->found[i].storage);
        reel__storage_release(log->found[i].instead);
    }
    reel__free(log->found);
    reel__free(log);
}

/* ---- the second run ------------------------------------------------------------------------- */

/* `all`, a copy of the storage that m is a way to look at, looked at in that way. */
static reel_tensor *look(reel_tensor *all, const reel__meta *m)
{
    reel_shape order, sizes, back = {.rank = m->rank};
    if (reel__same_look(&all->meta, m)) return all;
    if (all->meta.dtype != m->dtype || !in_memory_order(m, &order, &sizes)) {
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "checkpoint: the function changes memory of which %s is a part with "
                  "gaps or of another dtype than %s; give it a reel_contiguous() one",
                  SHOW(m), SHOW(&all->meta));
        return NULL;
    }
    for (int i = 0; i < m->rank; i++) back.dim[order.dim[i]] = i;
    reel_tensor *part = reel_narrow(all, 0, m->offset, reel__numel(m));
    return reel_permute(reel_reshape(part, sizes), back);
}

static reel_tensor *instead(reel__detour *self, reel_tensor *x)
{
    reel__state_again *a = (reel__state_again *)(void *)self;
    int i = find(a->log, x->storage);
    if (i < 0 || !a->log->found[i].before) return x;
    if (reel__renew("checkpoint", x) || x->node) {
        reel_fail(REEL_ERR_STATE,
                  "checkpoint: %s needs a gradient, and the function changes its memory "
                  "through another tensor",
                  SHOW(&x->meta));
        return NULL;
    }
    if (!a->own[i]) {
        bool was = reel__tape_enable(false);
        a->own[i] = reel__tensor_retain(reel_copy(a->log->found[i].before));
        (void)reel__tape_enable(was);
    }
    return a->own[i] ? look(a->own[i], &x->meta) : NULL;
}

reel_status reel__state_again_begin(reel__state_again *a, const reel__state_log *log)
{
    for (int i = 0; i < log->n; i++) {
        const reel__found *f = &log->found[i];
        if (!f->before && f->storage->version != f->version)
            return reel_fail(REEL_ERR_STATE,
                             "checkpoint: a tensor of %zu bytes that the function reads "
                             "was changed in place since (version %u, now %u), so it "
                             "cannot be run again",
                             f->storage->bytes, f->version, f->storage->version);
    }
    *a = (reel__state_again){.detour = {instead}, .log = log};
    a->own = reel__calloc((size_t)log->n + 1, sizeof *a->own);
    if (!a->own) return reel_error_status();
    a->outer = reel__detour_set(&a->detour);
    return REEL_OK;
}

void reel__state_again_end(reel__state_again *a)
{
    (void)reel__detour_set(a->outer);
    for (int i = 0; i < a->log->n; i++) reel__tensor_release(a->own[i]);
    reel__free(a->own);
}
