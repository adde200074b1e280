/* view.c: one memory, one history.
 *
 * A view that was made while gradients were enabled knows what it is a view of, up to the root
 * that a kernel wrote. Who changes one of them in place changes the others too, so the history
 * of that change belongs to all:
 *   - what the changed view came from gets a new history at once: the old value with the view
 *     put in its place, level by level up to the root (`put` below);
 *   - the other views find out when they are used next, because the storage's epoch is no
 *     longer theirs, and are made again on the tape, by the operators that made them.
 * Memory that is also seen by a tensor that is cut off (reel_detach(), a view made without
 * gradients, a view that became a leaf) has more than one root: what was recorded on the way of
 * one is unknown to the other, whose next use is an error. The idea of a base whose history is
 * replaced is PyTorch's; it knows views by strides, this by the operators that made them. */
#include <string.h>

#include "autograd/tape.h"
#include "base/lock.h"
#include "ops/records.h"

/* ---- put: x [...], y, the changed view of it -> x with y in its place --------------------- */

typedef struct put_attrs {
    const reel__op *op; /* that made the view ... */
    reel_shape shape;   /* ... of this shape */
    _Alignas(16) char attrs[REEL__VIEW_ATTRS];
} put_attrs;

static const reel__attr_schema opaque = {sizeof(put_attrs), 0, NULL};

/* What the view looks at, of a gradient, which may lie otherwise in memory. */
static reel_tensor *look(const put_attrs *a, reel_tensor *g)
{
    if (a->op != &reel__reshape || !g) return g ? APPLY(a->op, a->attrs, g) : NULL;
    return reel_reshape(g, a->shape);
}

static void put_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    const reel__cast_attrs own = {gy[0]->meta.dtype, REEL_CONTIGUOUS};
    if (NEEDS(c, 1)) gx[1] = look(c->attrs, gy[0]);
    if (!NEEDS(c, 0)) return;
    gx[0] = APPLY(&reel__copy, &own, gy[0]); /* contiguous, so that any look shares it */
    (void)reel_zero_(look(c->attrs, gx[0]));
}

static const reel__op put_op = {
    .name = "change of a view",
    .n_in = 2,
    .n_out = 1,
    .optional = 1 << 0, /* absent where nothing of the old value is left */
    .attrs = &opaque,
    .vjp = put_vjp,
};

static reel_status put(reel_tensor *x, reel_tensor *y)
{
    put_attrs a = {.op = y->view->op, .shape = reel__shape(&y->meta)};
    memcpy(a.attrs, y->view->attrs, sizeof a.attrs);
    bool all = reel__numel(&y->meta) == reel__numel(&x->meta);
    reel_tensor *in[] = {all ? NULL : x, y};
    const reel__call c = {&put_op, 2, 1, in, &x, &a, 0, false};
    return reel__tape_record(&c);
}

/* ---- a change, and who must hear of it ----------------------------------------------------- */

reel_status reel__changed(reel_tensor *y)
{
    uint32_t now =
        ++y->storage->epoch; /* on a failure nobody takes what was for what is */
    reel_tensor *x = y;
    for (reel_tensor *up; (up = reel__viewed(x)); x = up) {
        reel_status st = put(up, x);
        if (st) return st;
    }
    for (x = y; x; x = reel__viewed(x))
        atomic_store_explicit(&x->epoch, now, memory_order_release);
    return REEL_OK;
}

/* y, whose history is old, as a view of x, whose history is not. */
static reel_status renew(reel_tensor *y, reel_tensor *x)
{
    const reel__call c = {y->view->op, 1, 1, &x, &y, y->view->attrs, 0, false};
    reel__node_release(y->node);
    y->node = NULL;
    reel_status st = reel__tape_record(&c);
    if (!st) atomic_store_explicit(&y->epoch, y->storage->epoch, memory_order_release);
    return st;
}

static reel_status renew_all(const char *who, reel_tensor *x)
{
    if (reel__is_old(reel__root(x)))
        return reel_fail(REEL_ERR_STATE,
                         "%s: the memory of %s was changed in place, with a gradient, "
                         "through a tensor that has no part in its history (made by "
                         "reel_detach() or while gradients were disabled); change a "
                         "reel_copy() instead",
                         who, SHOW(&x->meta));
    while (reel__is_old(x)) {
        reel_tensor *y = x, *up;
        while ((up = reel__viewed(y)) && reel__is_old(up)) y = up;
        reel_status st = renew(y, up);
        if (st) return st;
    }
    return REEL_OK;
}

reel_status reel__renew(const char *who, reel_tensor *x)
{
    static reel__lock one = REEL__LOCK; /* two may use a view at once */
    if (!reel__is_old(x)) return REEL_OK;
    reel__lock_take(&one);
    reel_status st = renew_all(who, x);
    reel__lock_give(&one);
    return st;
}

bool reel__of_leaf(const reel_tensor *x)
{
    const reel_tensor *root = reel__root(x);
    return root->node && root->node->leaf;
}

bool reel__of_expanded(const reel_tensor *x)
{
    for (; x; x = reel__viewed(x))
        if (reel__is_expanded(&x->meta)) return true;
    return false;
}
