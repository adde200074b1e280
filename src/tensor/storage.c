/* storage.c: reference-counted bytes, and tensors that look at them. */
#include <string.h>

#include "base/alloc.h"
#include "tensor/debug.h"
#include "tensor/tensor.h"

static atomic_uint_fast64_t numbers;

uint64_t reel__storages_so_far(void)
{
    return atomic_load_explicit(&numbers, memory_order_relaxed);
}

static reel__storage *storage_of(reel_device device, void *data, size_t bytes,
                                 bool borrowed)
{
    reel__storage *s = reel__malloc(sizeof *s);
    if (!s) return NULL;
    *s = (reel__storage){
        .device = device, .data = data, .bytes = bytes, .borrowed = borrowed};
    s->born = reel__heard_by ? reel__heard_by->mark : 0;
    atomic_init(&s->refs, 1);
    s->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
    reel__live_add(1);
    return s;
}

reel__storage *reel__storage_new(reel_device device, size_t bytes)
{
    void *data = reel__device_alloc(device, bytes);
    if (!data) return NULL;
    reel__storage *s = storage_of(device, data, bytes, false);
    if (!s) reel__device_free(device, data, bytes);
    return s;
}

reel__storage *reel__storage_borrow(reel_device device, void *data, size_t bytes)
{
    return storage_of(device, data, bytes, true);
}

reel__storage *reel__storage_retain(reel__storage *s)
{
    if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void reel__storage_release(reel__storage *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    if (!s->borrowed)
        reel__device_free(s->device, s->data, s->bytes);
    else if (s->free_fn)
        s->free_fn(s->user, s->data);
    reel__free(s);
    reel__live_add(-1);
}

/* A tensor without memory, in front of `more` bytes that go with it. */
static reel_tensor *ghost(const reel__meta *meta, size_t more)
{
    reel_tensor *t =
        reel__debugging() ? reel__debug_new() : reel__malloc(sizeof *t + more);
    if (!t) return NULL;
    atomic_init(&t->refs, 1);
    t->node_out = 0;
    t->meta = *meta;
    t->storage = NULL;
    t->node = NULL;
    atomic_init(&t->epoch, 0);
    t->life = 0;
    t->view = NULL;
    t->grad = NULL;
    reel__live_add(1);
    return t;
}

reel_tensor *reel__tensor_ghost(const reel__meta *meta)
{
    return ghost(meta, 0);
}

reel_tensor *reel__tensor_new(const reel__meta *meta, reel__storage *storage)
{
    reel_tensor *t = reel__tensor_ghost(meta);
    if (!t) return NULL;
    if (storage)
        t->storage = reel__storage_retain(storage);
    else
        t->storage = reel__storage_new(meta->device, (size_t)reel__numel(meta) *
                                                         reel_dtype_size(meta->dtype));
    if (!t->storage) {
        reel__tensor_release(t);
        return NULL;
    }
    atomic_init(&t->epoch, t->storage->epoch);
    return t;
}

typedef struct tensor_with_view {
    reel_tensor t;
    reel__view v;
} tensor_with_view;

reel_tensor *reel__tensor_view(const reel__meta *meta, reel_tensor *x,
                               const struct reel__op *op, const void *attrs,
                               size_t attr_size)
{
    reel_tensor *t = ghost(meta, sizeof(tensor_with_view) - sizeof *t);
    if (!t) return NULL;
    reel__view *v = t->view = &((tensor_with_view *)(void *)t)->v;
    v->from = reel__tensor_retain(x);
    v->life = x->life;
    v->op = op;
    memcpy(v->attrs, attrs, attr_size);
    t->storage = reel__storage_retain(x->storage);
    atomic_init(&t->epoch, x->storage->epoch);
    return t;
}

reel_tensor *reel__tensor_retain(reel_tensor *t)
{
    if (t) atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

/* One reference less; the last one puts it on the list. */
static reel_tensor *drop(reel_tensor *t, reel_tensor *list)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return list;
    t->next_free = list;
    return t;
}

/* A view holds what it is a view of, and a gradient made with create_graph can hold the tape
 * that holds ... another gradient: a loop, not a recursion, follows such chains. */
void reel__tensor_release(reel_tensor *t)
{
    for (reel_tensor *list = drop(t, NULL); (t = list);) {
        list = drop(t->grad, t->next_free);
        if (t->view) list = drop(t->view->from, list);
        reel__storage_release(t->storage);
        if (t->node && t->node->leaf == t) t->node->leaf = NULL;
        reel__node_release(t->node);
        if (reel__debugging())
            reel__debug_bury(t);
        else
            reel__free(t);
        reel__live_add(-1);
    }
}

void reel__tensor_unlink(reel_tensor *y)
{
    reel__view *v = y->view;
    y->view = NULL;
    if (v) reel__tensor_release(v->from);
}

reel_status reel_set_data(reel_tensor *x, reel_tensor *src)
{
    if (reel_failed()) return reel_error_status();
    if (!x || !src)
        return reel_fail(REEL_ERR_ARG, "set_data: %s is NULL", x ? "src" : "x");
    if (!reel__alive("set_data", x) || !reel__alive("set_data", src))
        return reel_error_status();
    if (!src->storage) return reel_fail(REEL_ERR_INTERNAL, "set_data: src has no value");
    if (x->node || x->grad)
        return reel_fail(REEL_ERR_STATE,
                         "set_data: x takes part in gradients; "
                         "reel_requires_grad(x, false) and clear its gradient");
    reel__storage *old = x->storage;
    x->storage = reel__storage_retain(src->storage);
    x->meta = src->meta;
    reel__tensor_unlink(x);
    x->life++;
    atomic_store(&x->epoch, x->storage->epoch);
    reel__storage_release(old);
    return REEL_OK;
}
