/* batch.c: one graph, any batch size. What grows with the batch was found by comparing two
 * captures; at another size attributes are arithmetic, and shapes come from the records' own
 * rules, as they do in apply(). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/graph.h"

/* ---- attributes ------------------------------------------------------------------------ */

static void *at(const void *attrs, const reel_attr_field *f, int k)
{
    return (char *)(uintptr_t)attrs + f->offset + (size_t)k * 8;
}

const void *reel__attrs_at(const reel_graph *g, const reel_gnode *n, int64_t b,
                           void *room)
{
    const reel_attr_schema *s = n->op->attrs;
    if (!n->per_batch || !b || b == g->batch) return n->attrs;
    memcpy(room, n->attrs, s->size);
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++) {
            void *v = at(room, &s->field[i], k);
            const void *slope = at(n->per_batch, &s->field[i], k);
            if (s->field[i].type != REEL_ATTR_REAL)
                *(int64_t *)v += *(const int64_t *)slope * (b - g->batch);
            else if (*(const double *)slope != 0)
                *(double *)v = *(const double *)slope / (double)b;
        }
    return room;
}

/* ---- shapes ------------------------------------------------------------------------------ */

void reel__value_meta_at(const reel_graph *g, int value, int64_t b, reel_meta *m)
{
    const reel_value *v = &g->value[value];
    *m = v->meta;
    bool same = true;
    for (int d = 0; d < m->rank; d++) {
        m->dim[d] += b ? v->grow[d] * (b - g->batch) : 0;
        same = same && m->dim[d] == v->meta.dim[d];
    }
    if (!same) reel__set_strides_like(m, &v->meta);
}

/* Metas of a node's results, by its record's shape rule. */
static reel_status infer_node(const reel_graph *g, const reel_gnode *n, int64_t b,
                              reel_meta *meta)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    const reel_meta *in[REEL_OP_MAX_IN];
    reel_meta out[REEL_OP_MAX_OUT];
    for (int k = 0; k < n->n_in; k++) in[k] = n->in[k] < 0 ? NULL : &meta[n->in[k]];
    reel_status st = reel__infer(n->op, reel__attrs_at(g, n, b, room), in, n->n_in, out);
    for (int k = 0; k < n->n_out && !st; k++)
        if (n->out[k] >= 0 && !(k == 0 && (n->op->traits & REEL_OP_INPLACE)))
            meta[n->out[k]] = out[k];
    return st;
}

reel_status reel__metas_at(const reel_graph *g, int64_t b, reel_meta *meta)
{
    if (b && b != g->batch) return reel__metas_anew(g, b, REEL_NO_VALUE, meta);
    for (int v = 0; v < g->n_value; v++) meta[v] = g->value[v].meta;
    return REEL_OK;
}

reel_status reel__metas_anew(const reel_graph *g, int64_t b, int from, reel_meta *meta)
{
    if (from < 0)
        for (int v = 0; v < g->n_value; v++) reel__value_meta_at(g, v, b, &meta[v]);
    for (int i = from < 0 ? 0 : from; i < g->n_node; i++) {
        reel_status st = g->node[i].op ? infer_node(g, &g->node[i], b, meta) : REEL_OK;
        if (st) return st;
    }
    return REEL_OK;
}

reel_status reel_graph_set_batch(reel_graph *g, int64_t batch)
{
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
    reel_meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    reel_status st = meta ? reel__metas_at(g, batch, meta) : reel_error_status();
    for (int i = 0; i < g->n_node && !st; i++) {
        _Alignas(16) char room[REEL_ATTRS_MAX];
        const reel_gnode *n = &g->node[i];
        const void *attrs = reel__attrs_at(g, n, batch, room);
        if (attrs != n->attrs) memcpy(n->attrs, attrs, n->op->attrs->size);
    }
    for (int v = 0; v < g->n_value && !st; v++) g->value[v].meta = meta[v];
    if (!st) g->batch = batch;
    reel__free(meta);
    return st;
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

static bool same_value(const two *t, int v)
{
    reel_value *a = &t->a->value[v];
    const reel_value *b = &t->b->value[v];
    if (a->kind != b->kind || a->meta.dtype != b->meta.dtype ||
        a->meta.rank != b->meta.rank)
        return false;
    for (int d = 0; d < a->meta.rank; d++)
        if (!slope_of(t, a->meta.dim[d], b->meta.dim[d], &a->grow[d]) ||
            (reel__is_state(a) && a->grow[d]))
            return false;
    return true;
}

/* Compares one number of an attribute; its slope goes to `slope`. */
static bool same_number(const two *t, reel_attr_type type, const void *a, const void *b,
                        void *slope)
{
    if (type != REEL_ATTR_REAL)
        return slope_of(t, *(const int64_t *)a, *(const int64_t *)b, slope);
    double x = *(const double *)a, y = *(const double *)b;
    *(double *)slope = 0;
    if (memcmp(&x, &y, sizeof x) == 0) return true;
    double k = x * (double)t->batch_a; /* a mean: 1 / n */
    *(double *)slope = k;
    double off = k / (double)t->batch_b - y;
    return off <= 1e-12 * (y < 0 ? -y : y) && -off <= 1e-12 * (y < 0 ? -y : y);
}

/* Writes the slopes into the node, if there are any; false if attributes differ otherwise. */
static bool same_attrs(const two *t, reel_gnode *a, const reel_gnode *b)
{
    const reel_attr_schema *s = a->op->attrs;
    if (!a->attrs || !s || memcmp(a->attrs, b->attrs, s->size) == 0) return true;
    if (s->n_fields == 0) return false;
    memset(a->per_batch, 0, s->size);
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++)
            if (!same_number(t, s->field[i].type, at(a->attrs, &s->field[i], k),
                             at(b->attrs, &s->field[i], k),
                             at(a->per_batch, &s->field[i], k)))
                return false;
    return true;
}

/* But for attributes. */
static bool same_call(const reel_gnode *a, const reel_gnode *b)
{
    return a->op == b->op && a->n_in == b->n_in && a->n_out == b->n_out &&
           memcmp(a->in, b->in, (size_t)a->n_in * sizeof *a->in) == 0 &&
           memcmp(a->out, b->out, (size_t)a->n_out * sizeof *a->out) == 0;
}

static bool same_node(const two *t, int i)
{
    reel_gnode *a = &t->a->node[i];
    const reel_gnode *b = &t->b->node[i];
    if (!same_call(a, b)) return false;
    if (!a->attrs || memcmp(a->attrs, b->attrs, a->op->attrs->size) == 0) return true;
    a->per_batch = reel__malloc(a->op->attrs->size);
    return a->per_batch && same_attrs(t, a, b);
}

static reel_status differs(const two *t, const char *what, int i)
{
    const reel_gnode *a = i < t->a->n_node ? &t->a->node[i] : NULL;
    const reel_gnode *b = i < t->b->n_node ? &t->b->node[i] : NULL;
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

reel_status reel__graph_generalize(reel_graph *a, int64_t batch_a, const reel_graph *b,
                                   int64_t batch_b)
{
    const two t = {a, b, batch_a, batch_b};
    reel_status st = compare(&t, same_node, same_value);
    if (!st) a->batch = batch_a;
    return st;
}

/* ---- a third capture --------------------------------------------------------------------- */

static bool same_real(double x, double y)
{
    double most = 1e-12 * fabs(y);
    return memcmp(&x, &y, sizeof x) == 0 || fabs(x - y) <= most;
}

/* Node i at b's size is what b has. */
static bool node_confirmed(const two *t, int i)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    const reel_gnode *a = &t->a->node[i], *b = &t->b->node[i];
    const reel_attr_schema *s = a->op->attrs;
    if (!same_call(a, b)) return false;
    const void *attrs = reel__attrs_at(t->a, a, t->batch_b, room);
    if (!attrs || memcmp(attrs, b->attrs, s->size) == 0) return true;
    for (int f = 0; f < s->n_fields; f++)
        for (int k = 0; k < s->field[f].count; k++) {
            const void *x = at(attrs, &s->field[f], k),
                       *y = at(b->attrs, &s->field[f], k);
            bool real = s->field[f].type == REEL_ATTR_REAL;
            if (real ? !same_real(*(const double *)x, *(const double *)y)
                     : *(const int64_t *)x != *(const int64_t *)y)
                return false;
        }
    return s->n_fields > 0;
}

static bool value_confirmed(const two *t, int v)
{
    const reel_value *a = &t->a->value[v], *b = &t->b->value[v];
    bool same = a->kind == b->kind && a->meta.dtype == b->meta.dtype &&
                a->meta.rank == b->meta.rank;
    for (int d = 0; d < a->meta.rank && same; d++)
        same = a->meta.dim[d] + a->grow[d] * (t->batch_b - t->batch_a) == b->meta.dim[d];
    return same;
}

reel_status reel__graph_confirm(reel_graph *a, int64_t batch_a, const reel_graph *b,
                                int64_t batch_b)
{
    const two t = {a, b, batch_a, batch_b};
    return compare(&t, node_confirmed, value_confirmed);
}

/* ---- from inputs --------------------------------------------------------------------------- */

/* The batch size that x is for, if v's dimensions depend on it; 0 if they do not, -1 if there
 * is no such size. */
static int64_t one_batch(const reel_graph *g, const reel_value *v, const reel_meta *x)
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
        const reel_value *want = &g->value[g->input[i]];
        if (!x[i]) {
            reel_fail(REEL_ERR_ARG, "%s: input %s is NULL", who, want->name);
            return -1;
        }
        if (x[i]->meta.rank == want->meta.rank && !batch)
            batch = one_batch(g, want, &x[i]->meta);
        reel_meta m;
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
