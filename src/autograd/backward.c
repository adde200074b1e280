/* backward.c: the engine. Collects the nodes below the outputs, runs them from the latest to
 * the earliest (so every gradient is complete when its node runs), each in a scope of its
 * own. All state of a run is in the run, not in the nodes: runs nest and threads do not meet. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "autograd/anomaly.h"
#include "autograd/tape.h"
#include "base/alloc.h"
#include "base/debug.h"
#include "base/option.h"

/* A node of this run, with the gradients of its outputs as far as they have arrived. */
typedef struct visit {
    reel__node *node;
    reel_tensor *grad[REEL_OP_MAX_OUT];
    bool needed; /* an input that was asked for lies below */
} visit;

typedef struct run {
    visit *v; /* by descending seq, once sorted */
    size_t n, capacity;
    uint32_t *slot; /* open addressing: place in v plus 1, by node address */
    size_t mask;
    bool create_graph, retain, accumulate;
    bool stop;             /* do not look below the inputs that were asked for */
    reel_tensor *const *x; /* reel_grad: the inputs asked for, and where results go */
    reel_tensor **gx;
    int n_x;
} run;

static size_t hash_of(const reel__node *n)
{
    uint64_t h = (uint64_t)(uintptr_t)n * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 20);
}

static uint32_t *find_slot(const run *r, const reel__node *n)
{
    size_t i = hash_of(n) & r->mask;
    while (r->slot[i] && r->v[r->slot[i] - 1].node != n) i = (i + 1) & r->mask;
    return &r->slot[i];
}

static visit *find(const run *r, const reel__node *n)
{
    uint32_t at = n && r->n ? *find_slot(r, n) : 0;
    return at ? &r->v[at - 1] : NULL;
}

static bool rehash(run *r, size_t size)
{
    uint32_t *slot = reel__calloc(size, sizeof *slot);
    if (!slot) return false;
    reel__free(r->slot);
    r->slot = slot;
    r->mask = size - 1;
    for (size_t i = 0; i < r->n; i++) *find_slot(r, r->v[i].node) = (uint32_t)i + 1;
    return true;
}

static bool add_node(run *r, reel__node *n)
{
    if (r->slot && find(r, n)) return true;
    if (r->n == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        visit *v = reel__realloc(r->v, capacity * sizeof *v);
        if (!v) return false;
        r->v = v;
        r->capacity = capacity;
        if (capacity > UINT32_MAX / 4 || !rehash(r, 2 * capacity)) return false;
    }
    (void)reel__node_retain(&n->head); /* must outlive the run, whatever hooks release */
    r->v[r->n] = (visit){.node = n};
    *find_slot(r, n) = (uint32_t)r->n + 1;
    r->n++;
    return true;
}

static int later_first(const void *a, const void *b)
{
    uint64_t x = ((const visit *)a)->node->seq, y = ((const visit *)b)->node->seq;
    return (x < y) - (x > y);
}

static bool asked_for(const run *r, const reel__node *n)
{
    for (int i = 0; i < r->n_x; i++)
        if (reel__node_behind(r->x[i]) == n) return true;
    return false;
}

/* Everything reachable from the nodes that are there, sorted; then, from the earliest, what
 * leads to something that was asked for. */
static bool collect(run *r)
{
    for (size_t i = 0; i < r->n; i++)
        for (int k = 0; k < r->v[i].node->n_in; k++) {
            if (r->stop && asked_for(r, r->v[i].node)) break;
            reel__node *src = r->v[i].node->edge[k].node;
            if (src && !add_node(r, src)) return false;
        }
    qsort(r->v, r->n, sizeof *r->v, later_first);
    if (!rehash(r, r->mask + 1)) return false;
    for (size_t i = r->n; i-- > 0;) {
        reel__node *n = r->v[i].node;
        bool needed = r->accumulate ? n->op == NULL : asked_for(r, n);
        for (int k = 0; k < n->n_in && !needed; k++) {
            const visit *src = find(r, n->edge[k].node);
            needed = src && src->needed;
        }
        r->v[i].needed = needed;
    }
    return true;
}

/* ---- adding gradients -------------------------------------------------------------------- */

/* True if nobody but the holder of `g` can see its memory, so that it may be changed in place. */
static bool exclusive(const reel_tensor *g)
{
    return atomic_load_explicit(&g->refs, memory_order_relaxed) == 1 &&
           atomic_load_explicit(&g->storage->refs, memory_order_relaxed) == 1 &&
           !g->storage->borrowed && !g->node && reel__is_dense(&g->meta);
}

/* *slot += g; the first gradient that arrives is taken as it is, not added to zeros. */
static reel_status add_to(reel_tensor **slot, reel_tensor *g, bool create_graph)
{
    if (!*slot) {
        *slot = reel__tensor_retain(g);
        return REEL_OK;
    }
    if (!create_graph && exclusive(*slot)) {
        return reel_add_(*slot, g) ? REEL_OK : reel_error_status();
    }
    reel_tensor *sum = reel__tensor_retain(reel_add(*slot, g));
    if (!sum) return reel_error_status();
    reel__tensor_release(*slot);
    *slot = sum;
    return REEL_OK;
}

/* leaf->grad += *slot, the whole gradient of the leaf in this run. */
static reel_status into_leaf(run *r, reel_tensor *leaf, reel_tensor **slot)
{
    reel_tensor *g = *slot;
    if (reel__heard_by) reel__heard_by->on_grad(leaf, false);
    if (leaf->grad) return add_to(&leaf->grad, g, r->create_graph);
    /* The leaf's first gradient is the tensor of the run, if nobody else can see its memory or
     * if its history belongs to it (create_graph); else a copy, which others cannot change. */
    if (exclusive(g) || (r->create_graph && g->node)) {
        leaf->grad = g; /* the run's reference becomes the leaf's */
        *slot = NULL;
        return REEL_OK;
    }
    leaf->grad = reel__tensor_retain(reel_copy(g));
    return leaf->grad ? REEL_OK : reel_error_status();
}

/* ---- one node ------------------------------------------------------------------------------ */

static reel_status run_hooks(reel__node *n, reel_tensor **grad)
{
    REEL__CALLS_BACK;
    for (reel__hook *h = n->hooks, *next; h; h = next) {
        next = h->next;
        if (!grad[h->out]) continue;
        reel_tensor *g = h->fn(h->user, grad[h->out]);
        if (reel_failed()) return reel_error_status();
        if (!g) continue;
        if (!reel__alive("hook", g)) return reel_error_status();
        const reel__meta *want = &grad[h->out]->meta;
        if (!reel__same_shape(&g->meta, want) || g->meta.dtype != want->dtype)
            return reel_fail(REEL_ERR_SHAPE, "hook: returned %s for a gradient %s",
                             SHOW(&g->meta), SHOW(want));
        reel__tensor_retain(g);
        reel__tensor_release(grad[h->out]);
        grad[h->out] = g;
    }
    return REEL_OK;
}

/* An operand as the vjp gets it: the saved value with its history; where only its shape and dtype
 * were saved, a tensor without a value. */
static reel_tensor *revive(const reel__node *n, const reel__saved *s, const char *what,
                           int i, reel__node_head *history, int out)
{
    if (!s->present) return NULL;
    if (!s->storage) return reel__autorelease(reel__tensor_ghost(&s->meta));
    if (s->storage->version != s->version) {
        reel_fail(REEL_ERR_STATE,
                  "backward: %s %d of %s, %s, was changed in place after it "
                  "was saved (version %u, now %u)",
                  what, i, n->op->name, SHOW(&s->meta), s->version, s->storage->version);
        return NULL;
    }
    reel_tensor *t = reel__autorelease(reel__tensor_new(&s->meta, s->storage));
    if (t) {
        t->node = reel__node_retain(history);
        t->node_out = out;
    }
    return t;
}

static reel_status check_gradient(const reel__node *n, int i, const reel_tensor *g)
{
    if (reel__same_shape(&g->meta, &n->in[i].meta)) return REEL_OK;
    return reel_fail(REEL_ERR_INTERNAL,
                     "backward: the gradient of %s has shape %s for its "
                     "input %d %s",
                     n->op->name, SHOW(&g->meta), i, SHOW(&n->in[i].meta));
}

static reel_status run_vjp(run *r, visit *v)
{
    reel__node *n = v->node;
    reel_tensor *in[REEL_OP_MAX_IN], *out[REEL_OP_MAX_OUT], *gx[REEL_OP_MAX_IN] = {NULL};
    uint64_t needs = 0;
    if (n->freed)
        return reel_fail(REEL_ERR_STATE,
                         "backward: what %s saved was already freed; use "
                         "retain_graph to go backward twice",
                         n->op->name);
    if (!n->op->vjp)
        return reel_fail(REEL_ERR_UNSUPPORTED, "backward: %s has no gradient (%s)",
                         n->op->name, n->op->no_vjp ? n->op->no_vjp : "none is declared");
    for (int i = 0; i < n->n_in; i++) {
        const visit *src = find(r, n->edge[i].node);
        if (src && src->needed) needs |= UINT64_C(1) << i;
        reel__node *from = n->edge[i].node;
        in[i] =
            revive(n, &n->in[i], "input", i, from ? &from->head : NULL, n->edge[i].out);
        if (!in[i] && n->in[i].present) return reel_error_status();
    }
    for (int i = 0; i < n->n_out; i++) {
        bool flows = n->out[i].present && reel_dtype_is_float(n->out[i].meta.dtype);
        out[i] = revive(n, &n->out[i], "output", i, flows ? &n->head : NULL, i);
        if (!out[i] && n->out[i].present) return reel_error_status();
    }
    const reel__call c = {n->op, n->n_in,  n->n_out, in,
                          out,   n->attrs, needs,    r->create_graph};
    reel__anomaly_backward(n->op->name, n->where);
    n->op->vjp(&c, v->grad, gx);
    reel__anomaly_backward(NULL, NULL);
    if (reel_failed()) return reel_error_status();
    for (int i = 0; i < n->n_in; i++) {
        visit *src = find(r, n->edge[i].node);
        if (!gx[i] || !(needs >> i & 1)) continue;
        reel_status st = check_gradient(n, i, gx[i]);
        if (!st) st = add_to(&src->grad[n->edge[i].out], gx[i], r->create_graph);
        if (st) return st;
    }
    return REEL_OK;
}

/* reel_grad: hands out the gradients of inputs asked for that this node computed; they are complete
 * when it runs. */
static void hand_out(run *r, const visit *v)
{
    for (int i = 0; i < r->n_x; i++)
        if (reel__node_behind(r->x[i]) == v->node)
            r->gx[i] = reel__tensor_retain(v->grad[r->x[i]->node_out]);
}

static reel_status run_node(run *r, visit *v)
{
    reel__node *n = v->node;
    bool any = false;
    for (int i = 0; i < n->n_out; i++) any = any || v->grad[i];
    if (!any || !v->needed) return REEL_OK;
    reel_scope s = reel_scope_begin();
    reel_status st = n->hooks ? run_hooks(n, v->grad) : REEL_OK;
    if (!st && r->n_x) hand_out(r, v);
    if (!st && n->op) {
        bool below = r->accumulate;
        for (int i = 0; i < n->n_in && !below; i++) {
            const visit *src = find(r, n->edge[i].node);
            below = src && src->needed;
        }
        if (below) {
            st = run_vjp(r, v);
            if (!r->retain) reel__node_clear(n);
        }
    } else if (!st && r->accumulate && n->head.leaf) {
        st = into_leaf(r, n->head.leaf, &v->grad[0]);
        if (!st && reel__heard_by) reel__heard_by->on_grad(n->head.leaf, true);
    }
    reel_scope_end(s);
    return st;
}

static void drop_grads(visit *v)
{
    for (int i = 0; i < v->node->n_out; i++) {
        reel__tensor_release(v->grad[i]);
        v->grad[i] = NULL;
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

/* The gradient of output y to start from, of y's shape. */
static reel_status seed(run *r, reel_tensor *y, reel_tensor *gy)
{
    if (!y->node)
        return reel_fail(REEL_ERR_STATE,
                         "backward: %s needs no gradient: nothing below it "
                         "requires one, or it was computed with gradients disabled",
                         SHOW(&y->meta));
    if (!gy && reel__numel(&y->meta) != 1)
        return reel_fail(REEL_ERR_SHAPE,
                         "backward: %s has more than one element; give the "
                         "gradient of the output",
                         SHOW(&y->meta));
    if (gy && (!reel__same_shape(&gy->meta, &y->meta) || gy->meta.dtype != y->meta.dtype))
        return reel_fail(REEL_ERR_SHAPE, "backward: gradient %s must be like output %s",
                         SHOW(&gy->meta), SHOW(&y->meta));
    if (!gy && !(gy = reel_ones_like(y))) return reel_error_status();
    visit *v = find(r, reel__node_behind(y));
    return add_to(&v->grad[y->node_out], gy, r->create_graph);
}

/* REEL_DEBUG=1: no other thread may be in the training of a leaf whose gradient grows. */
static bool train_leaves(const run *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const reel__node *n = r->v[i].node;
        if (r->v[i].needed && !n->op &&
            !reel__debug_trains("backward", n->head.leaf, NULL))
            return false;
    }
    return true;
}

/* Collects the nodes below the outputs, and runs them. */
static reel_status run_all(run *r, reel_tensor *const y[], int n_y,
                           reel_tensor *const gy[])
{
    for (int i = 0; i < n_y; i++) {
        if (!y[i]) return reel_fail(REEL_ERR_ARG, "backward: an output is NULL");
        if (!reel__alive("backward", y[i]) || !reel__alive("backward", gy ? gy[i] : NULL))
            return reel_error_status();
        if (reel__renew("backward", y[i])) return reel_error_status();
        if (y[i]->node && !add_node(r, reel__node_behind(y[i])))
            return reel_error_status();
    }
    if (r->n && !collect(r)) return reel_error_status();
    if (r->accumulate && reel__debugging() && !train_leaves(r))
        return reel_error_status();
    for (int i = 0; i < n_y; i++) {
        reel_status st = seed(r, y[i], gy ? gy[i] : NULL);
        if (st) return st;
    }
    reel_status st = REEL_OK;
    for (size_t i = 0; i < r->n && !st; i++) {
        st = run_node(r, &r->v[i]);
        drop_grads(&r->v[i]);
    }
    return st;
}

static _Thread_local bool accumulates;

bool reel__accumulates(void)
{
    return accumulates;
}

/* One whole run, with what it sets for the thread; frees what the run holds. */
static reel_status do_run(run *r, reel_tensor *const y[], int n_y,
                          reel_tensor *const gy[])
{
    if (reel_failed()) return reel_error_status();
    bool was = reel_set_grad_enabled(r->create_graph), outer = accumulates;
    accumulates = r->accumulate;
    reel_scope s = reel_scope_begin();
    reel_status st = run_all(r, y, n_y, gy);
    reel_scope_end(s);
    (void)reel_set_grad_enabled(was);
    accumulates = outer;
    for (size_t i = 0; i < r->n; i++) {
        drop_grads(&r->v[i]);
        reel__node_release(&r->v[i].node->head);
    }
    reel__free(r->v);
    reel__free(r->slot);
    return st;
}

reel_status reel_backward(reel_tensor *y, const reel_backward_opts *opts)
{
    REEL__CALLED;
    const reel_backward_opts *o = REEL__OPTS("backward", reel_backward_opts, opts);
    if (!o) return reel_error_status();
    run r = {.create_graph = o->create_graph,
             .retain = o->retain_graph || o->create_graph,
             .accumulate = true};
    return do_run(&r, &y, 1, o->gradient ? &o->gradient : NULL);
}

static reel_status check_inputs(reel_tensor *const x[], int n_x)
{
    for (int i = 0; i < n_x; i++) {
        if (!x[i]) return reel_fail(REEL_ERR_ARG, "grad: input %d is NULL", i);
        if (!reel__alive("grad", x[i])) return reel_error_status();
        if (reel__renew("grad", x[i])) return reel_error_status();
        if (!x[i]->node)
            return reel_fail(REEL_ERR_STATE,
                             "grad: input %d %s needs no gradient; call "
                             "reel_requires_grad() before it is used",
                             i, SHOW(&x[i]->meta));
    }
    return REEL_OK;
}

static reel_status grad(reel_tensor *const y[], int n_y, reel_tensor *const gy[],
                        reel_tensor *const x[], int n_x, reel_tensor *gx[],
                        const reel_backward_opts *opts, bool stop)
{
    reel__no_results(gx, n_x);
    const reel_backward_opts *o = REEL__OPTS("grad", reel_backward_opts, opts);
    if (!o) return reel_error_status();
    if (!y || !x || !gx || n_y < 1 || n_x < 1)
        return reel_fail(REEL_ERR_ARG, "grad: needs one output and one input or more");
    reel_status st = check_inputs(x, n_x);
    if (st) return st;
    run r = {.create_graph = o->create_graph,
             .retain = o->retain_graph || o->create_graph,
             .stop = stop,
             .x = x,
             .gx = gx,
             .n_x = n_x};
    st = do_run(&r, y, n_y, gy);
    for (int i = 0; i < n_x; i++) {
        if (!st && !gx[i] && !o->allow_unused)
            st = reel_fail(REEL_ERR_STATE,
                           "grad: no path from the outputs to input %d %s; "
                           "set allow_unused to get NULL",
                           i, SHOW(&x[i]->meta));
        if (gx[i]) gx[i] = reel__autorelease(gx[i]);
        if (!st && reel_failed()) st = reel_error_status();
    }
    if (st)
        for (int i = 0; i < n_x; i++) gx[i] = NULL; /* the scope still frees them */
    return st;
}

reel_status reel_grad(reel_tensor *const y[], int n_y, reel_tensor *const gy[],
                      reel_tensor *const x[], int n_x, reel_tensor *gx[],
                      const reel_backward_opts *opts)
{
    REEL__CALLED;
    return grad(y, n_y, gy, x, n_x, gx, opts, false);
}

reel_status reel__grad_composed(reel_tensor *y, reel_tensor *gy, reel_tensor *const x[],
                                int n_x, reel_tensor *gx[], bool create_graph)
{
    const reel_backward_opts opts = {.create_graph = create_graph, .allow_unused = true};
    return grad(&y, 1, &gy, x, n_x, gx, &opts, true);
}
