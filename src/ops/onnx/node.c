/* node.c: nodes and references to what they make. */
#include <stdio.h>
#include <string.h>

#include "ops/onnx.h"

/* A reference of this type under a new name, in the order of making. */
static reel_onnx_ref *make(reel_onnx *o, const char *name, reel_onnx_ref type)
{
    type.name = name;
    type.state = NULL;
    type.next = NULL;
    reel_onnx_ref *r = name ? reel__onnx_copy(o->model, &type, sizeof type) : NULL;
    if (!r) return NULL;
    if (o->last_made)
        o->last_made->next = r;
    else
        o->first_made = r;
    o->last_made = r;
    return r;
}

bool reel__onnx_has(const reel_onnx *o, const char *op, reel_dtype dtype)
{
    int since = reel__onnx_since(op, dtype);
    return since && since <= o->opset;
}

static void no_such(const reel_onnx *o, const char *op, reel_dtype dtype)
{
    int since = reel__onnx_since(op, dtype);
    char later[64] = "";
    if (since) (void)snprintf(later, sizeof later, ", only from opset %d on", since);
    reel_fail(REEL_ERR_UNSUPPORTED, "%s: opset %d has no %s of %s%s", o->op, o->opset, op,
              reel_dtype_name(dtype), later);
}

/* ---- what a model keeps ------------------------------------------------------------------- */

/* A shape in which it was written, under this name: the state's own for the first. */
typedef struct reel__onnx_written {
    const char *name;
    reel_shape shape;
    struct reel__onnx_written *next;
} reel__onnx_written;

static bool has_shape(reel__ref r, reel_shape s)
{
    return r->rank == s.rank &&
           memcmp(r->dim, s.dim, (size_t)s.rank * sizeof *s.dim) == 0;
}

/* The name by which a node reads it; NULL with an error. */
static const char *name_to_read(reel_onnx *o, reel__ref r)
{
    reel__onnx_state *s = r->state;
    if (!s) return r->name;
    for (const reel__onnx_written *w = s->written; w; w = w->next)
        if (has_shape(r, w->shape)) return w->name;
    reel__onnx_written w = {.shape = {.rank = r->rank}, .next = s->written};
    memcpy(w.shape.dim, r->dim, sizeof w.shape.dim);
    w.name = s->written ? reel__onnx_name(o, s->name) : s->name;
    reel__onnx_written *kept = reel__onnx_copy(o->model, &w, sizeof w);
    if (!w.name || !kept ||
        !reel__onnx_add_initializer(o->model, w.name, reel__onnx_dtype_of(r->dtype),
                                    w.shape, s->data))
        return NULL;
    s->written = kept;
    return w.name;
}

static bool add_inputs(reel_onnx *o, int n, const reel__ref in[])
{
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        const char *name = in[i] ? name_to_read(o, in[i]) : "";
        ok = name && reel__onnx_add_input(o->model, o->node, name);
    }
    return ok;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

reel__ref reel__onnx_emit_node(reel_onnx *o, const char *op, reel_onnx_ref type, int n,
                               const reel__ref in[])
{
    if (reel_failed()) return NULL;
    int operand = reel__onnx_typed_operand(op);
    if (operand < n && in[operand] && !reel__onnx_has(o, op, in[operand]->dtype)) {
        no_such(o, op, in[operand]->dtype);
        return NULL;
    }
    while (n && !in[n - 1]) n--;
    const char *name = reel__onnx_name(o, op);
    o->node = name ? reel__onnx_add_node(o->model, op, name) : NULL;
    bool ok = o->node && add_inputs(o, n, in);
    reel_onnx_ref *r = ok ? make(o, name, type) : NULL;
    return r && reel__onnx_add_output(o->model, o->node, name) ? r : NULL;
}

reel__ref reel__onnx_more(reel_onnx *o, reel_onnx_ref type)
{
    if (reel_failed()) return NULL;
    char word[64];
    (void)snprintf(word, sizeof word, "%s.%zu", o->node->op_type, o->node->output.n);
    reel_onnx_ref *r = make(o, reel__onnx_name(o, word), type);
    return r && reel__onnx_add_output(o->model, o->node, r->name) ? r : NULL;
}

reel_status reel__onnx_foreign(reel_onnx *o, const char *domain, const char *op, int n_in,
                               int n_out)
{
    if (reel_failed()) return reel_error_status();
    while (n_in && !o->in[n_in - 1]) n_in--;
    const char *name = reel__onnx_name(o, op);
    o->node = name ? reel__onnx_add_node(o->model, op, name) : NULL;
    bool ok = o->node && reel__onnx_set_domain(o->model, o->node, domain) &&
              add_inputs(o, n_in, o->in);
    for (int k = 0; k < n_out && ok; k++) {
        bool wanted = o->out[k].rank >= 0;
        char word[128];
        (void)snprintf(word, sizeof word, "%.100s.%d", op, k);
        reel_onnx_ref *r =
            wanted ? make(o, k ? reel__onnx_name(o, word) : name, o->out[k]) : NULL;
        ok = (!wanted || r) && reel__onnx_add_output(o->model, o->node, r ? r->name : "");
        o->given[k] = r;
    }
    return reel_error_status();
}

/* ---- elementwise -------------------------------------------------------------------------- */

/* Broadcasts y into x's shape; a size of 1 gives way. */
static void broadcast(reel_onnx_ref *x, reel__ref y)
{
    reel_onnx_ref t = x->rank >= y->rank ? *x : *y;
    reel__ref low = x->rank >= y->rank ? y : x;
    for (int i = 0; i < low->rank; i++) {
        int k = i + t.rank - low->rank;
        if (t.dim[k] != 1 || t.grow[k]) continue;
        t.dim[k] = low->dim[i];
        t.grow[k] = low->grow[i];
    }
    t.dtype = y->dtype;
    *x = t;
}

reel_onnx_ref reel__onnx_broadcast(int n, const reel__ref in[])
{
    reel_onnx_ref type = *in[0];
    for (int i = 1; i < n; i++)
        if (in[i]) broadcast(&type, in[i]);
    return type;
}

static reel__ref map(reel_onnx *o, const char *op, int n, const reel__ref in[], bool test)
{
    if (reel_failed()) return NULL;
    reel_onnx_ref type = reel__onnx_broadcast(n, in);
    if (test) type.dtype = REEL_BOOL;
    return reel__onnx_emit_node(o, op, type, n, in);
}

reel__ref reel__onnx_map(reel_onnx *o, const char *op, int n, const reel__ref in[])
{
    return map(o, op, n, in, false);
}

reel__ref reel__onnx_bool(reel_onnx *o, const char *op, int n, const reel__ref in[])
{
    return map(o, op, n, in, true);
}

/* ---- results ------------------------------------------------------------------------------ */

static bool same_type(reel__ref a, reel__ref b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = reel__onnx_same_size(a, i, b, i);
    return same;
}

reel_status reel__onnx_give(reel_onnx *o, int k, reel__ref v)
{
    if (reel_failed()) return reel_error_status();
    if (!same_type(v, &o->out[k]))
        return reel_fail(REEL_ERR_INTERNAL,
                         "%s: the ONNX rule gives result %d as %s of rank %d, not %s of "
                         "rank %d, or in another shape",
                         o->op, k, reel_dtype_name(v->dtype), v->rank,
                         reel_dtype_name(o->out[k].dtype), o->out[k].rank);
    o->given[k] = v;
    return REEL_OK;
}

reel__ref reel__onnx_call(reel_onnx *o, const reel__op *op, const void *attrs,
                          reel_onnx_ref type, int n, const reel__ref in[])
{
    if (reel_failed()) return NULL;
    const reel__call c = {.op = op, .n_in = n, .n_out = 1, .attrs = attrs};
    reel_onnx outer = *o;
    for (int i = 0; i < REEL_OP_MAX_IN; i++) o->in[i] = i < n ? in[i] : NULL;
    o->out[0] = type;
    o->per_batch = NULL;
    (void)op->onnx(&c, o);
    reel__ref result = reel_failed() ? NULL : o->given[0];
    memcpy(o->in, outer.in, sizeof o->in);
    memcpy(o->out, outer.out, sizeof o->out);
    memcpy(o->given, outer.given, sizeof o->given);
    o->per_batch = outer.per_batch;
    return result;
}

reel_status reel__onnx_training(const reel__call *c, const char *what)
{
    return reel__bad(
        c, REEL_ERR_STATE,
        "%s: traced in train mode; call reel_train(net, false) before tracing", what);
}

/* ---- attributes --------------------------------------------------------------------------- */

void reel__onnx_int(reel_onnx *o, const char *name, int64_t value)
{
    if (!reel_failed()) (void)reel__onnx_add_int(o->model, o->node, name, value);
}

void reel__onnx_float(reel_onnx *o, const char *name, double value)
{
    if (!reel_failed()) (void)reel__onnx_add_float(o->model, o->node, name, (float)value);
}

void reel__onnx_str(reel_onnx *o, const char *name, const char *value)
{
    if (!reel_failed()) (void)reel__onnx_add_string(o->model, o->node, name, value);
}

void reel__onnx_ints(reel_onnx *o, const char *name, int n, const int64_t value[])
{
    if (!reel_failed())
        (void)reel__onnx_add_ints(o->model, o->node, name, value, (size_t)n);
}

reel__ref reel__onnx_with_int(reel_onnx *o, reel__ref v, const char *name, int64_t i)
{
    reel__onnx_int(o, name, i);
    return v;
}

reel__ref reel__onnx_with_float(reel_onnx *o, reel__ref v, const char *name, double f)
{
    reel__onnx_float(o, name, f);
    return v;
}
