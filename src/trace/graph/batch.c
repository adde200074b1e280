/* batch.c: one graph, any batch size. What grows with the batch was found by comparing two
 * captures; at another size attributes are arithmetic, and shapes come from the records' own
 * rules, as they do in apply(). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "backend/slice.h"
#include "base/error.h"
#include "ops/records.h"
#include "trace/graph/graph.h"

/* ---- attributes ------------------------------------------------------------------------ */

/* Reals and numbers are computed from the batch at most as a mean is: slope / b. All others grow
 * on a line. */
static bool is_mean(reel__attr_type type)
{
    return type == REEL_ATTR_REAL || type == REEL_ATTR_NUMBER;
}

static reel__number number_at(const reel_graph *g, reel__attr_type type, reel__number v,
                              reel__number slope, int64_t b)
{
    if (is_mean(type)) return reel__real(reel__number_f64(slope) / (double)b);
    uint64_t more = (uint64_t)slope.whole * (uint64_t)(b - g->batch);
    return reel__whole((int64_t)((uint64_t)v.whole + more));
}

const void *reel__attrs_at(const reel_graph *g, const reel__gnode *n, int64_t b,
                           void *room)
{
    const reel__attr_schema *s = n->op->attrs;
    const reel__number zero = reel__whole(0);
    if (!n->per_batch || !b || b == g->batch) return n->attrs;
    memcpy(room, n->attrs, s->size);
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++) {
            const reel__attr_field *f = &s->field[i];
            const reel__number slope = reel__attr_get(f, k, n->per_batch);
            if (reel__number_equal(slope, zero)) continue;
            const reel__number v = reel__attr_get(f, k, n->attrs);
            (void)reel__attr_set(f, k, number_at(g, f->type, v, slope, b), room);
        }
    return room;
}

/* ---- shapes ------------------------------------------------------------------------------ */

void reel__value_meta_at(const reel_graph *g, int value, int64_t b, reel__meta *m)
{
    const reel__value *v = &g->value[value];
    *m = v->meta;
    bool same = true;
    for (int d = 0; d < m->rank; d++) {
        m->dim[d] += b ? v->grow[d] * (b - g->batch) : 0;
        same = same && m->dim[d] == v->meta.dim[d];
    }
    if (!same) reel__set_strides_like(m, &v->meta);
}

/* Metas of a node's results, by its record's shape rule. */
static reel_status infer_node(const reel_graph *g, const reel__gnode *n, int64_t b,
                              reel__meta *meta)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    const reel__meta *in[REEL_OP_MAX_IN];
    reel__meta out[REEL_OP_MAX_OUT];
    for (int k = 0; k < n->n_in; k++) in[k] = n->in[k] < 0 ? NULL : &meta[n->in[k]];
    reel_status st = reel__infer(n->op, reel__attrs_at(g, n, b, room), in, n->n_in, out);
    for (int k = 0; k < n->n_out && !st; k++)
        if (n->out[k] >= 0 && !(k == 0 && (n->op->traits & REEL_OP_INPLACE)))
            meta[n->out[k]] = out[k];
    return st;
}

reel_status reel__metas_at(const reel_graph *g, int64_t b, reel__meta *meta)
{
    if (b && b != g->batch) return reel__metas_anew(g, b, REEL_NO_VALUE, meta);
    for (int v = 0; v < g->n_value; v++) meta[v] = g->value[v].meta;
    return REEL_OK;
}

reel_status reel__metas_anew(const reel_graph *g, int64_t b, int from, reel__meta *meta)
{
    if (from < 0)
        for (int v = 0; v < g->n_value; v++) reel__value_meta_at(g, v, b, &meta[v]);
    for (int i = from < 0 ? 0 : from; i < g->n_node; i++) {
        reel_status st = g->node[i].op ? infer_node(g, &g->node[i], b, meta) : REEL_OK;
        if (st) return st;
    }
    return REEL_OK;
}

/* ---- how results grow ------------------------------------------------------------------------ */

/* A slice that clips makes a size that grows on a line for a while only, and windows that step
 * over what grows one that grows in steps: such dimensions are bent. Their slope holds from
 * g->batch to the next size. What lies beyond the bends, or between two of them, shows at these
 * sizes: all small ones, and up to more than any place that programs write. */
int64_t reel__size_tried(int64_t k)
{
    enum { SMALL = 64, DOUBLINGS = 14 };
    if (k < SMALL) return k + 1;
    return k < SMALL + DOUBLINGS ? (INT64_C(128) << (k - SMALL)) - 15 : 0;
}

/* Windows over a plane whose sides follow the batch. */
static bool steps_along(const reel_graph *g, const reel__gnode *n)
{
    static const reel__op *const windows[] = {&reel__conv2d, &reel__conv2d_fused,
                                              &reel__max_pool2d, &reel__avg_pool2d};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        if (n->op == windows[i]) {
            const reel__value *x = &g->value[n->in[0]];
            return x->bent || x->grow[2] || x->grow[3];
        }
    return false;
}

static bool can_bend(const reel_graph *g)
{
    for (int i = 0; i < g->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        if (steps_along(g, n)) return true;
        if ((n->op == &reel__unslice || n->op == &reel__arange) && n->per_batch)
            return true;
        if (n->op != &reel__slice || n->in[0] < 0) continue;
        const reel__slice_attrs *a = n->attrs;
        const reel__value *x = &g->value[n->in[0]];
        if (x->bent || n->per_batch || x->grow[a->dim]) return true;
    }
    return false;
}

reel_status reel__metas_there(const reel_graph *g, int64_t b, reel__meta *meta)
{
    reel_status st = reel__metas_anew(g, b, REEL_NO_VALUE, meta);
    if (!st || st == REEL_ERR_MEMORY) return st;
    reel_error_clear();
    return REEL_OK;
}

reel_status reel__graph_bends(reel_graph *g)
{
    for (int v = 0; v < g->n_value; v++) g->value[v].bent = 0;
    if (!g->batch || !can_bend(g)) return REEL_OK;
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    reel_status st = meta ? REEL_OK : reel_error_status();
    for (int64_t k = 0, b; (b = reel__size_tried(k)) && !st; k++) {
        st = reel__metas_there(g, b, meta);
        for (int v = 0; v < g->n_value && !st; v++) {
            reel__value *x = &g->value[v];
            for (int d = 0; d < x->meta.rank; d++) {
                int64_t here = x->meta.dim[d] + x->grow[d] * (b - g->batch);
                if (meta[v].dim[d] != here) x->bent |= (uint8_t)(1u << d);
                x->bend[d] = (k ? x->bend[d] : 0) * UINT64_C(0x9e3779b97f4a7c15) +
                             (uint64_t)meta[v].dim[d];
            }
        }
    }
    reel__free(meta);
    return st;
}

static bool same_strides(const reel__meta *a, const reel__meta *b)
{
    for (int d = 0; d < a->rank; d++)
        if (a->dim[d] > 1 && a->stride[d] != b->stride[d]) return false;
    return true;
}

bool reel__bend_alike(const reel_graph *g, int v, int by, bool strides)
{
    if (v == by || (!g->value[v].bent && !g->value[by].bent)) return true;
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    bool alike = meta != NULL;
    for (int64_t k = 0, b; (b = reel__size_tried(k)) && alike; k++)
        alike = !reel__metas_there(g, b, meta) && reel__same_shape(&meta[v], &meta[by]) &&
                (!strides || same_strides(&meta[v], &meta[by]));
    reel__free(meta);
    return alike;
}

reel_status reel__graph_grow(reel_graph *g)
{
    reel__meta *next = reel__calloc((size_t)g->n_value + 1, sizeof *next);
    reel_status st =
        next ? reel__metas_there(g, g->batch + 1, next) : reel_error_status();
    for (int v = 0; v < g->n_value && !st; v++) {
        reel__value *x = &g->value[v];
        for (int d = 0; d < x->meta.rank && x->kind == REEL_VALUE_NODE; d++)
            x->grow[d] = next[v].dim[d] - x->meta.dim[d];
    }
    reel__free(next);
    return st ? st : reel__graph_bends(g);
}

/* ---- another batch size ---------------------------------------------------------------------- */

reel_status reel_graph_set_batch(reel_graph *g, int64_t batch)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!g || batch < 1)
        return reel_fail(REEL_ERR_ARG, "graph_set_batch: %s",
                         g ? "the batch size must be 1 or more" : "the graph is NULL");
    if (batch > REEL__MOST_BATCH)
        return reel_fail(REEL_ERR_ARG,
                         "graph_set_batch: a batch size of %" PRId64
                         "; at most 2^31 is possible",
                         batch);
    if (!g->batch)
        return reel_fail(REEL_ERR_STATE,
                         "graph_set_batch: the graph has no batch dimension");
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    reel_status st = meta ? reel__metas_at(g, batch, meta) : reel_error_status();
    for (int i = 0; i < g->n_node && !st; i++) {
        _Alignas(16) char room[REEL_ATTRS_MAX];
        const reel__gnode *n = &g->node[i];
        const void *attrs = reel__attrs_at(g, n, batch, room);
        if (attrs != n->attrs) memcpy(n->attrs, attrs, n->op->attrs->size);
    }
    for (int v = 0; v < g->n_value && !st; v++) g->value[v].meta = meta[v];
    if (!st) g->batch = batch;
    reel__free(meta);
    return st ? st : reel__graph_grow(g);
}

/* ---- from two captures ------------------------------------------------------------------- */

typedef struct two {
    reel_graph *a;
    const reel_graph *b;
    int64_t batch_a, batch_b;
} two;

/* The slope of a line through both; false if it is none of whole numbers. */
static bool slope_of(const two *t, int64_t a, int64_t b, int64_t *slope)
{
    int64_t step = t->batch_b - t->batch_a;
    *slope = (b - a) / step;
    return *slope * step == b - a;
}

/* Results are compared when shapes can be inferred (values_agree). */
static bool same_value(const two *t, int v)
{
    reel__value *a = &t->a->value[v];
    const reel__value *b = &t->b->value[v];
    if (a->kind != b->kind || a->meta.dtype != b->meta.dtype ||
        a->meta.rank != b->meta.rank)
        return false;
    for (int d = 0; d < a->meta.rank && a->kind != REEL_VALUE_NODE; d++)
        if (!slope_of(t, a->meta.dim[d], b->meta.dim[d], &a->grow[d]) ||
            (reel__is_state(a) && a->grow[d]))
            return false;
    return true;
}

static bool same_real(double x, double y)
{
    double most = 1e-12 * fabs(y);
    return memcmp(&x, &y, sizeof x) == 0 || fabs(x - y) <= most;
}

/* Compares one number of an attribute; its slope goes to `slope`. */
static bool same_number(const two *t, reel__attr_type type, reel__number a,
                        reel__number b, reel__number *slope)
{
    *slope = reel__whole(0);
    if (memcmp(&a, &b, sizeof a) == 0) return true;
    if (!is_mean(type))
        return !a.is_real && !b.is_real && slope_of(t, a.whole, b.whole, &slope->whole);
    double k = reel__number_f64(a) * (double)t->batch_a; /* a mean: 1 / n */
    *slope = reel__real(k);
    return same_real(k / (double)t->batch_b, reel__number_f64(b));
}

/* Writes the slopes into the node, if there are any; false if attributes differ otherwise. */
static bool same_attrs(const two *t, reel__gnode *a, const reel__gnode *b)
{
    const reel__attr_schema *s = a->op->attrs;
    if (!a->attrs || !s || memcmp(a->attrs, b->attrs, s->size) == 0) return true;
    if (s->n_fields == 0) return false;
    memset(a->per_batch, 0, s->size);
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++) {
            const reel__attr_field *f = &s->field[i];
            reel__number slope;
            if (!same_number(t, f->type, reel__attr_get(f, k, a->attrs),
                             reel__attr_get(f, k, b->attrs), &slope) ||
                !reel__attr_set(f, k, slope, a->per_batch))
                return false;
        }
    return true;
}

/* But for attributes. */
static bool same_call(const reel__gnode *a, const reel__gnode *b)
{
    return a->op == b->op && a->n_in == b->n_in && a->n_out == b->n_out &&
           memcmp(a->in, b->in, (size_t)a->n_in * sizeof *a->in) == 0 &&
           memcmp(a->out, b->out, (size_t)a->n_out * sizeof *a->out) == 0;
}

static bool same_node(const two *t, int i)
{
    reel__gnode *a = &t->a->node[i];
    const reel__gnode *b = &t->b->node[i];
    if (!same_call(a, b)) return false;
    if (!a->attrs || memcmp(a->attrs, b->attrs, a->op->attrs->size) == 0) return true;
    a->per_batch = reel__malloc(a->op->attrs->size);
    return a->per_batch && same_attrs(t, a, b);
}

static reel_status differs(const two *t, const char *what, int i)
{
    const reel__gnode *a = i < t->a->n_node ? &t->a->node[i] : NULL;
    const reel__gnode *b = i < t->b->n_node ? &t->b->node[i] : NULL;
    return reel_fail(
        REEL_ERR_STATE,
        "trace: the function does different things at batch sizes %" PRId64
        " and %" PRId64
        ": %s %d (%s%s%s; %s) does not grow in proportion; trace it with fixed_batch",
        t->batch_a, t->batch_b, what, i, a ? a->op->name : "none",
        a && a->where ? " of " : "", a && a->where ? a->where : "",
        b ? b->op->name : "none");
}

/* All nodes and values of both, asked one by one. */
static reel_status compare(const two *t, bool (*same_node_is)(const two *, int),
                           bool (*same_value_is)(const two *, int))
{
    const reel_graph *a = t->a, *b = t->b;
    for (int i = 0; i < a->n_node && i < b->n_node; i++)
        if (!same_node_is(t, i))
            return reel_failed() ? reel_error_status() : differs(t, "node", i);
    if (a->n_node != b->n_node || a->n_value != b->n_value)
        return differs(t, "node", a->n_node < b->n_node ? a->n_node : b->n_node);
    for (int v = 0; v < a->n_value; v++)
        if (!same_value_is(t, v))
            return differs(t, "a value of node",
                           a->value[v].maker < 0 ? 0 : a->value[v].maker);
    return REEL_OK;
}

/* What the shape rules say at b's size is what b has. */
static reel_status values_agree(const two *t)
{
    const reel_graph *a = t->a, *b = t->b;
    reel__meta *meta = reel__calloc((size_t)a->n_value + 1, sizeof *meta);
    reel_status st = meta ? reel__metas_at(a, t->batch_b, meta) : reel_error_status();
    if (st && st != REEL_ERR_MEMORY) { /* sizes that fit together at one batch only */
        reel_error_clear();
        st = REEL_OK;
    }
    for (int v = 0; v < a->n_value && !st; v++)
        if (!reel__same_shape(&meta[v], &b->value[v].meta))
            st = differs(t, "a value of node",
                         a->value[v].maker < 0 ? 0 : a->value[v].maker);
    reel__free(meta);
    return st;
}

reel_status reel__graph_generalize(reel_graph *a, int64_t batch_a, const reel_graph *b,
                                   int64_t batch_b)
{
    const two t = {a, b, batch_a, batch_b};
    reel_status st = compare(&t, same_node, same_value);
    a->batch = st ? 0 : batch_a;
    if (!st) st = values_agree(&t);
    return st ? st : reel__graph_grow(a);
}

/* ---- a third capture --------------------------------------------------------------------- */

/* Node i at b's size is what b has. */
static bool node_confirmed(const two *t, int i)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    const reel__gnode *a = &t->a->node[i], *b = &t->b->node[i];
    const reel__attr_schema *s = a->op->attrs;
    if (!same_call(a, b)) return false;
    const void *attrs = reel__attrs_at(t->a, a, t->batch_b, room);
    if (!attrs || memcmp(attrs, b->attrs, s->size) == 0) return true;
    for (int f = 0; f < s->n_fields; f++)
        for (int k = 0; k < s->field[f].count; k++) {
            const reel__number x = reel__attr_get(&s->field[f], k, attrs),
                               y = reel__attr_get(&s->field[f], k, b->attrs);
            bool whole = !x.is_real && !y.is_real;
            if (whole ? x.whole != y.whole
                      : !same_real(reel__number_f64(x), reel__number_f64(y)))
                return false;
        }
    return s->n_fields > 0;
}

static bool value_confirmed(const two *t, int v)
{
    const reel__value *a = &t->a->value[v], *b = &t->b->value[v];
    return a->kind == b->kind && a->meta.dtype == b->meta.dtype &&
           a->meta.rank == b->meta.rank;
}

reel_status reel__graph_confirm(reel_graph *a, int64_t batch_a, const reel_graph *b,
                                int64_t batch_b)
{
    const two t = {a, b, batch_a, batch_b};
    reel_status st = compare(&t, node_confirmed, value_confirmed);
    return st ? st : values_agree(&t);
}

/* ---- from inputs --------------------------------------------------------------------------- */

/* The batch size that x is for, if v's dimensions depend on it; 0 if they do not, -1 if there
 * is no such size. */
static int64_t one_batch(const reel_graph *g, const reel__value *v, const reel__meta *x)
{
    for (int d = 0; g->batch && d < v->meta.rank; d++)
        if (v->grow[d]) {
            int64_t b = g->batch + (x->dim[d] - v->meta.dim[d]) / v->grow[d];
            return b < 0 || b > REEL__MOST_BATCH ? -1 : b;
        }
    return 0;
}

int64_t reel__batch_of(const reel_graph *g, const char *who, reel_tensor *const x[])
{
    char shape[REEL__SHAPE_TEXT];
    int64_t batch = 0;
    for (int i = 0; i < g->n_input; i++) {
        const reel__value *want = &g->value[g->input[i]];
        if (!x[i]) {
            reel_fail(REEL_ERR_ARG, "%s: input %s is NULL", who, want->name);
            return -1;
        }
        if (x[i]->meta.rank == want->meta.rank && !batch)
            batch = one_batch(g, want, &x[i]->meta);
        reel__meta m;
        reel__value_meta_at(g, g->input[i], batch, &m);
        if (reel__same_shape(&x[i]->meta, &m) && x[i]->meta.dtype == m.dtype &&
            batch >= 0)
            continue;
        reel_fail(REEL_ERR_SHAPE, "%s: input %s is %s, the graph takes %s%s", who,
                  want->name, SHOW(&x[i]->meta),
                  reel__value_shape_text(g, g->input[i], shape),
                  batch > 0 && g->batch ? "; all inputs of one batch size" : "");
        return -1;
    }
    return g->batch && !batch ? g->batch : batch;
}
