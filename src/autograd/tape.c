/* tape.c: the recorder that is always there. */
#include "autograd/tape.h"

#include <string.h>

#include "autograd/anomaly.h"
#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "ops/recorder.h"

static atomic_uint_fast64_t sequence;

bool reel_grad_enabled(void)
{
    return reel__tape_enabled();
}

bool reel_set_grad_enabled(bool on)
{
    return reel__tape_enable(on);
}

/* ---- life of a node --------------------------------------------------------------------- */

static void clear(reel__node *n, reel__saved *s)
{
    if (!s->storage) return;
    n->freed = true;
    reel__storage_release(s->storage);
    s->storage = NULL;
}

void reel__node_clear(reel__node *n)
{
    for (int i = 0; i < n->n_in; i++) clear(n, &n->in[i]);
    for (int i = 0; i < n->n_out; i++) clear(n, &n->out[i]);
    if (n->drop) n->drop(n->attrs);
    n->drop = NULL;
}

static void free_one(reel__node *n)
{
    reel__node_clear(n);
    for (reel__hook *h = n->hooks, *next; h; h = next) {
        next = h->next;
        reel__free(h);
    }
    reel__free((void *)(uintptr_t)n->where);
    reel__op_release(n->op);
    reel__free(n);
    reel__live_add(-1);
}

/* A chain of a million operators must not overflow the stack: nodes whose last reference
 * goes with this one are put on a list instead of being freed by recursion. */
static void free_chain(reel__node_head *head)
{
    reel__node *list = (reel__node *)(void *)head;
    list->next_free = NULL;
    while (list) {
        reel__node *n = list;
        list = n->next_free;
        for (int i = 0; i < n->n_in; i++) {
            reel__node *src = n->edge[i].node;
            if (src && atomic_fetch_sub_explicit(&src->head.refs, 1,
                                                 memory_order_acq_rel) == 1) {
                src->next_free = list;
                list = src;
            }
        }
        free_one(n);
    }
}

static size_t rounded(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

/* One allocation: the node, its edges, its saved values, its attributes. */
static reel__node *node_new(const reel__op *op, int n_in, int n_out, const void *attrs)
{
    size_t edges = rounded(sizeof(reel__node));
    size_t saved = edges + rounded((size_t)n_in * sizeof(reel__edge));
    size_t at = saved + rounded((size_t)(n_in + n_out) * sizeof(reel__saved));
    size_t attr_size = op && op->attrs && attrs ? op->attrs->size : 0;
    char *base = reel__malloc(at + attr_size);
    if (!base) return NULL;
    reel__node *n = (reel__node *)(void *)base;
    memset(n, 0, sizeof *n);
    atomic_init(&n->head.refs, 1);
    n->head.free_fn = free_chain;
    n->seq = atomic_fetch_add_explicit(&sequence, 1, memory_order_relaxed);
    n->op = reel__op_retain(op);
    n->n_in = n_in;
    n->n_out = n_out;
    n->edge = (reel__edge *)(void *)(base + edges);
    n->in = (reel__saved *)(void *)(base + saved);
    n->out = n->in + n_in;
    if (attr_size) n->attrs = memcpy(base + at, attrs, attr_size);
    reel__live_add(1);
    return n;
}

static void save(reel__saved *s, const reel_tensor *x, bool keep)
{
    s->present = x != NULL;
    s->storage = NULL;
    if (!x) return;
    s->meta = x->meta;
    if (!keep) return;
    s->storage = reel__storage_retain(x->storage);
    s->version = x->storage->version;
}

/* ---- recording ---------------------------------------------------------------------------- */

static bool wants_node(const reel__call *c)
{
    if (c->op->traits & REEL_OP_NO_GRAD) return false;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i] && c->in[i]->node) return true;
    return false;
}

static uint32_t saves_of(const reel__call *c)
{
    return c->op->saves_for ? c->op->saves_for(c) : c->op->saves;
}

static reel_status keep(const reel__call *c, reel_tensor *in[])
{
    uint32_t saves = wants_node(c) ? saves_of(c) : 0;
    for (int i = 0; i < c->n_in; i++) {
        in[i] = c->in[i];
        bool changes = in[i] && in[i]->storage == c->in[0]->storage;
        if (!changes || i >= 16 || !(saves & SAVE_IN(i))) continue;
        (void)reel__tape_enable(false); /* the copy itself is not recorded ... */
        in[i] = reel_copy(c->in[i]);
        (void)reel__tape_enable(true);
        if (!in[i]) return reel_error_status();
        in[i]->node = reel__node_retain(c->in[i]->node); /* ... it stands for the input */
        in[i]->node_out = c->in[i]->node_out;
    }
    return REEL_OK;
}

reel_status reel__tape_record(const reel__call *c)
{
    if (!wants_node(c)) return REEL_OK;
    bool changes = c->op->traits & REEL_OP_INPLACE;
    reel__node *n = node_new(c->op, c->n_in, c->n_out, c->attrs);
    if (!n) {
        if (changes) c->out[0]->storage->epoch++; /* changed, by what nobody knows */
        return reel_error_status();
    }
    uint32_t saves = saves_of(c);
    for (int i = 0; i < c->n_in; i++) {
        reel_tensor *x = c->in[i];
        n->edge[i].node = x ? reel__node_behind(x) : NULL;
        n->edge[i].out = x ? x->node_out : 0;
        (void)reel__node_retain(x ? x->node : NULL);
        save(&n->in[i], x, i < 16 && (saves & SAVE_IN(i)));
    }
    for (int i = 0; i < c->n_out; i++) {
        reel_tensor *y = c->out[i];
        save(&n->out[i], y, saves & SAVE_OUT(i));
        if (!y || !reel_dtype_is_float(y->meta.dtype)) continue;
        reel__node_release(y->node); /* in place: the new history replaces the old */
        y->node = reel__node_retain(&n->head);
        y->node_out = i;
    }
    n->where = reel__anomaly_where();
    reel__node_release(&n->head); /* the outputs hold it now */
    return changes && c->out[0]->node ? reel__changed(c->out[0]) : REEL_OK;
}

/* Input i is to be changed: refused where that would make a gradient wrong. */
static reel_status check_change(const reel__call *c, int i)
{
    const reel_tensor *x = c->in[i];
    bool in_place = c->op->traits & REEL_OP_INPLACE;
    bool is_leaf = x->node && x->node->leaf;
    REQUIRE(c, !is_leaf && !(x->view && reel__of_leaf(x)), REEL_ERR_STATE,
            "input %d is a %s that requires a gradient; change it under "
            "reel_set_grad_enabled(false)",
            i, is_leaf ? "leaf" : "view of a leaf");
    REQUIRE(c, in_place || !x->node, REEL_ERR_STATE,
            "input %d needs a gradient and would be changed; run this under "
            "reel_set_grad_enabled(false)",
            i);
    /* That x is not expanded itself is what apply() has asked of any change. */
    REQUIRE(c, !in_place || !x->view || !wants_node(c) || !reel__of_expanded(x),
            REEL_ERR_STATE,
            "input %d is a view of an expanded tensor, whose elements share memory; use "
            "the operator that is not in place",
            i);
    return REEL_OK;
}

static reel_status check(const reel__call *c)
{
    reel_status st = REEL_OK;
    for (int i = 0; i < c->n_in && !st; i++)
        if (reel__op_changes(c->op, i) && c->in[i]) st = check_change(c, i);
    return st;
}

static const reel__tape tape = {reel__renew, check, keep, reel__tape_record,
                                reel__grad_composed};

/* ---- leaves --------------------------------------------------------------------------------- */

static void free_leaf(reel__node_head *head)
{
    free_one((reel__node *)(void *)head);
}

reel_tensor *reel_requires_grad(reel_tensor *x, bool on)
{
    REEL__CALLED;
    if (!reel__have("requires_grad", x, "x")) return NULL;
    if (reel__renew("requires_grad", x)) return NULL;
    reel__node *n = reel__node_behind(x);
    if (n && n->op) {
        reel_fail(REEL_ERR_STATE,
                  "requires_grad: x was computed by %s and is not a leaf; use "
                  "reel_detach()",
                  n->op->name);
        return NULL;
    }
    if (on && !reel_dtype_is_float(x->meta.dtype)) {
        reel_fail(REEL_ERR_DTYPE, "requires_grad: %s must be floating", SHOW(&x->meta));
        return NULL;
    }
    if (on == (n != NULL)) return x;
    if (!on) {
        n->head.leaf = NULL;
        reel__node_release(x->node);
        x->node = NULL;
        return x;
    }
    n = node_new(NULL, 0, 1, NULL);
    if (!n) return NULL;
    reel__tape_install(&tape);
    reel__tensor_unlink(x); /* a value of its own from here on */
    n->head.free_fn = free_leaf;
    n->head.leaf = x;
    save(&n->out[0], x, false);
    x->node = &n->head;
    x->node_out = 0;
    return x;
}

bool reel_needs_grad(const reel_tensor *x)
{
    return x && reel__alive("needs_grad", x) &&
           !reel__renew("needs_grad", (reel_tensor *)(uintptr_t)x) && x->node;
}

reel_tensor *reel_grad_of(reel_tensor *x)
{
    if (!reel__alive("grad_of", x)) return NULL;
    if (x && reel__heard_by) reel__heard_by->on_grad(x, false);
    return x ? x->grad : NULL;
}

reel_status reel_set_grad(reel_tensor *x, reel_tensor *grad)
{
    REEL__CALLED;
    if (!x) return reel_fail(REEL_ERR_ARG, "set_grad: x is NULL");
    if (!reel__alive("set_grad", x) || !reel__alive("set_grad", grad))
        return reel_error_status();
    if (grad && reel_failed())
        return reel_error_status(); /* clearing is for cleaning up */
    if (grad && reel__renew("set_grad", x)) return reel_error_status();
    if (x->node && !x->node->leaf)
        return reel_fail(REEL_ERR_STATE, "set_grad: %s was computed and is not a leaf",
                         SHOW(&x->meta));
    if (grad &&
        (!reel__same_shape(&x->meta, &grad->meta) || x->meta.dtype != grad->meta.dtype))
        return reel_fail(REEL_ERR_SHAPE, "set_grad: gradient %s must be like %s",
                         SHOW(&grad->meta), SHOW(&x->meta));
    if (grad && (grad->meta.device.type != x->meta.device.type ||
                 grad->meta.device.index != x->meta.device.index))
        return reel_fail(REEL_ERR_DEVICE,
                         "set_grad: gradient on device %d of type %d, x on %d of type %d",
                         grad->meta.device.index, (int)grad->meta.device.type,
                         x->meta.device.index, (int)x->meta.device.type);
    reel__tensor_retain(grad);
    reel__tensor_release(x->grad);
    x->grad = grad;
    if (reel__heard_by) reel__heard_by->on_grad(x, true);
    return REEL_OK;
}

reel_tensor *reel_detach(reel_tensor *x)
{
    REEL__CALLED;
    if (!reel__have("detach", x, "x")) return NULL;
    if (!x->storage) {
        reel_fail(REEL_ERR_INTERNAL, "detach: the value was not saved");
        return NULL;
    }
    return reel__constant(x);
}

reel_status reel_register_hook(reel_tensor *x, reel_grad_hook hook, void *user)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!x || !hook)
        return reel_fail(REEL_ERR_ARG, "register_hook: %s is NULL", x ? "hook" : "x");
    if (!reel__alive("register_hook", x) || reel__renew("register_hook", x))
        return reel_error_status();
    if (!x->node)
        return reel_fail(REEL_ERR_STATE, "register_hook: %s needs no gradient",
                         SHOW(&x->meta));
    reel__hook *h = reel__malloc(sizeof *h);
    if (!h) return reel_error_status();
    *h = (reel__hook){x->node_out, hook, user, NULL};
    reel__hook **end = &reel__node_behind(x)->hooks;
    while (*end) end = &(*end)->next;
    *end = h;
    return REEL_OK;
}
