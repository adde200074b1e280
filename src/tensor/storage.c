/* storage.c: reference-counted bytes, and tensors that look at them. */
#include "base/alloc.h"
#include "tensor/tensor.h"

reel_storage *reel__storage_new(reel_device device, size_t bytes)
{
    reel_storage *s = reel__malloc(sizeof *s);
    if (!s) return NULL;
    *s = (reel_storage){.device = device,
                        .bytes = bytes,
                        .born = reel__heard_by ? reel__heard_by->mark : 0};
    atomic_init(&s->refs, 1);
    s->data = reel__device_alloc(device, bytes);
    if (!s->data) {
        reel__free(s);
        return NULL;
    }
    reel__live_add(1);
    return s;
}

reel_storage *reel__storage_retain(reel_storage *s)
{
    if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void reel__storage_release(reel_storage *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    if (!s->borrowed)
        reel__device_free(s->device, s->data, s->bytes);
    else if (s->free_fn)
        s->free_fn(s->user, s->data);
    reel__free(s);
    reel__live_add(-1);
}

reel_tensor *reel__tensor_ghost(const reel_meta *meta)
{
    reel_tensor *t = reel__malloc(sizeof *t);
    if (!t) return NULL;
    atomic_init(&t->refs, 1);
    t->node_out = 0;
    t->meta = *meta;
    t->storage = NULL;
    t->node = NULL;
    t->grad = NULL;
    reel__live_add(1);
    return t;
}

reel_tensor *reel__tensor_new(const reel_meta *meta, reel_storage *storage)
{
    reel_tensor *t = reel__tensor_ghost(meta);
    if (!t) return NULL;
    if (storage)
        t->storage = reel__storage_retain(storage);
    else
        t->storage = reel__storage_new(meta->device, (size_t)reel__numel(meta) *
                                                         reel_dtype_size(meta->dtype));
    if (t->storage) return t;
    reel__tensor_release(t);
    return NULL;
}

reel_tensor *reel__tensor_retain(reel_tensor *t)
{
    if (t) atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void reel__tensor_release(reel_tensor *t)
{
    /* A gradient made with create_graph can hold the tape that holds ... another gradient:
     * a loop, not a recursion, follows that chain. */
    while (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        reel_tensor *grad = t->grad;
        reel__storage_release(t->storage);
        if (t->node && t->node->leaf == t) t->node->leaf = NULL;
        reel__node_release(t->node);
        reel__free(t);
        reel__live_add(-1);
        t = grad;
    }
}

reel_status reel_set_data(reel_tensor *x, reel_tensor *src)
{
    if (reel_failed()) return reel_error_status();
    if (!x || !src)
        return reel_fail(REEL_ERR_ARG, "set_data: %s is NULL", x ? "src" : "x");
    if (!src->storage) return reel_fail(REEL_ERR_INTERNAL, "set_data: src has no value");
    if (x->node || x->grad)
        return reel_fail(REEL_ERR_STATE,
                         "set_data: x takes part in gradients; "
                         "reel_requires_grad(x, false) and clear its gradient");
    reel_storage *old = x->storage;
    x->storage = reel__storage_retain(src->storage);
    x->storage->viewed = true;
    x->meta = src->meta;
    reel__storage_release(old);
    return REEL_OK;
}
