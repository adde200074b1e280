/* export_model.c: nodes of a graph to nodes of a model, each by its record's rule. Names of a
 * model are made once and never change, so what is changed in place gets a new name; views of
 * its memory that were made before it are stale, and reading one is an error. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/onnx/export.h"

typedef struct walk {
    const reel_graph *g;
    const char *batch_name;
    FILE *missing; /* NULL: what has no rule is an error */
    reel_onnx o;
    reel__ref *ref; /* of each value; NULL: not made yet */
    bool *stale;    /* its memory was changed by way of another value */
    reel__effects effects;
    reel__needs needs;
} walk;

/* ---- where errors happen ------------------------------------------------------------------ */

static _Thread_local const char *place;

static const char *tell_place(void)
{
    return place;
}

/* ---- types -------------------------------------------------------------------------------- */

static reel_onnx_ref type_of(const walk *w, int v)
{
    const reel__value *value = &w->g->value[v];
    reel_onnx_ref t = {.dtype = value->meta.dtype, .rank = value->meta.rank};
    for (int d = 0; d < t.rank; d++) {
        t.dim[d] = value->meta.dim[d];
        t.grow[d] = w->g->batch ? value->grow[d] : 0;
        if (value->bent >> d & 1)
            t.grow[d] = REEL__ONNX_BENT + (int64_t)(value->bend[d] >> 2);
    }
    return t;
}

/* "batch", "4*batch", "batch+1"; a bent size has a name of its own */
static const char *size_text(walk *w, const char *name, int d, int64_t dim, int64_t grow)
{
    char text[256];
    int n = 0;
    if (reel__onnx_bent(grow)) {
        (void)snprintf(text, sizeof text, "%.200s_size%d", name, d);
        return reel__onnx_text(w->o.model, text);
    }
    int64_t rest = dim - grow * w->g->batch;
    if (grow != 1) n = snprintf(text, sizeof text, "%" PRId64 "*", grow);
    n += snprintf(text + n, sizeof text - (size_t)n, "%.200s", w->batch_name);
    if (rest) (void)snprintf(text + n, sizeof text - (size_t)n, "%+" PRId64, rest);
    return reel__onnx_text(w->o.model, text);
}

static bool declare(walk *w, reel__onnx_place where, reel__ref r, const char *name)
{
    reel__onnx_dim dim[REEL_MAX_RANK];
    for (int d = 0; d < r->rank; d++) {
        dim[d] = (reel__onnx_dim){r->dim[d], NULL};
        if (!r->grow[d]) continue;
        dim[d] = (reel__onnx_dim){-1, size_text(w, name, d, r->dim[d], r->grow[d])};
        if (!dim[d].param) return false;
    }
    return reel__onnx_add_value(w->o.model, where, name, reel__onnx_dtype_of(r->dtype),
                                r->rank, dim) != NULL;
}

/* ---- inputs and state --------------------------------------------------------------------- */

static reel__ref keep(walk *w, reel_onnx_ref type, const char *name)
{
    type.name = reel__onnx_text(w->o.model, name);
    return type.name ? reel__onnx_copy(w->o.model, &type, sizeof type) : NULL;
}

static reel_status take_name(walk *w, const char *name)
{
    if (reel__onnx_name_take(w->o.names, name) || reel_failed())
        return reel_error_status();
    return reel_fail(REEL_ERR_ARG,
                     "onnx_export: two of the inputs, outputs and parameters are named "
                     "\"%s\"",
                     name);
}

/* Names that users gave are kept as they are, so they are taken first. */
static reel_status take_names(walk *w)
{
    const reel_graph *g = w->g;
    reel_status st = REEL_OK;
    for (int i = 0; i < g->n_input && !st; i++)
        st = take_name(w, g->value[g->input[i]].name);
    for (int i = 0; i < g->n_output && !st; i++) st = take_name(w, g->output_name[i]);
    for (int v = 0; v < g->n_value && !st; v++)
        if (reel__is_state(&g->value[v]) && g->value[v].name && w->needs.state[v])
            st = take_name(w, g->value[v].name);
    return st;
}

static reel_status add_inputs(walk *w)
{
    const reel_graph *g = w->g;
    for (int i = 0; i < g->n_input; i++) {
        int v = g->input[i];
        reel_onnx_ref type = type_of(w, v);
        reel__ref r = w->ref[v] = keep(w, type, g->value[v].name);
        if (!r || !declare(w, REEL_ONNX_INPUT, r, r->name)) return reel_error_status();
        for (int d = 0; d < type.rank; d++)
            if (type.grow[d] && (!w->o.batch_from || type.grow[d] == 1)) {
                w->o.batch_from = r;
                w->o.batch_dim = d;
                if (type.grow[d] == 1) break;
            }
    }
    return REEL_OK;
}

/* Weights that lie otherwise in memory are copied into the scope. */
static reel__ref add_state(walk *w, int v)
{
    const reel__value *value = &w->g->value[v];
    const char *name = value->name ? value->name : reel__onnx_name(&w->o, "const");
    reel_tensor *t = reel_contiguous(reel_to(value->tensor, (reel_device){REEL_CPU, 0}));
    if (!t || !name || !(name = reel__onnx_text(w->o.model, name))) return NULL;
    const reel__onnx_state s = {.name = name, .data = reel__ptr(t)};
    reel_onnx_ref type = type_of(w, v);
    type.state = reel__onnx_copy(w->o.model, &s, sizeof s);
    return w->ref[v] = type.state ? keep(w, type, name) : NULL;
}

/* ---- nodes -------------------------------------------------------------------------------- */

static reel__ref read_value(walk *w, int v)
{
    char text[64];
    if (w->stale[v]) {
        reel_fail(
            REEL_ERR_UNSUPPORTED,
            "%s: reads %s, whose memory was changed in place by way of another view; "
            "ONNX has no memory: compute a new tensor instead",
            w->o.op, reel__value_text(w->g, v, text, sizeof text));
        return NULL;
    }
    return w->ref[v] ? w->ref[v] : add_state(w, v);
}

static reel_status no_rule(const reel__op *op)
{
    bool state = (op->traits & REEL_OP_RANDOM) || reel__op_mutates(op);
    return reel_fail(state ? REEL_ERR_STATE : REEL_ERR_UNSUPPORTED,
                     "%s: no form in ONNX: %s", op->name, op->no_onnx);
}

static reel_status check_given(const walk *w, const reel__gnode *n)
{
    for (int k = 0; k < n->n_out; k++)
        if (w->o.out[k].rank >= 0 && !w->o.given[k])
            return reel_fail(REEL_ERR_UNSUPPORTED,
                             "%s: result %d, which is of training, has no form in ONNX",
                             n->op->name, k);
    return REEL_OK;
}

/* A rule that looks at one size only would bake it in. */
static reel_status check_slopes(const reel__gnode *n)
{
    const reel__attr_schema *s = n->op->attrs;
    if (!n->per_batch || n->op->onnx_grows) return REEL_OK;
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++)
            if (!reel__number_equal(reel__attr_get(&s->field[i], k, n->per_batch),
                                    reel__whole(0)))
                return reel_fail(REEL_ERR_UNSUPPORTED, "%s: %s depends on the batch size",
                                 n->op->name, s->field[i].name);
    return REEL_OK;
}

static reel_status apply_rule(walk *w, const reel__gnode *n)
{
    if (check_slopes(n)) return reel_error_status();
    const reel__call c = {
        .op = n->op, .n_in = n->n_in, .n_out = n->n_out, .attrs = n->attrs};
    reel_status st = n->op->onnx ? n->op->onnx(&c, &w->o) : no_rule(n->op);
    return st ? st : check_given(w, n);
}

static const reel__gnode no_results = {.n_out = 0};

/* What stands for the results of a node that has no form, so that the next ones are tried. */
static reel_status note_missing(walk *w, const reel__gnode *n)
{
    reel_status st = reel_error_status();
    if (!w->missing || (st != REEL_ERR_UNSUPPORTED && st != REEL_ERR_STATE)) return st;
    fprintf(w->missing, "%s\n", reel__error_said());
    reel_error_clear();
    for (int k = 0; k < n->n_out; k++)
        if (w->o.out[k].rank >= 0 && !(w->o.given[k] = keep(w, w->o.out[k], "missing")))
            return reel_error_status();
    return REEL_OK;
}

/* Results replace what their values were; other looks at memory that changed are stale. */
static void set_results(walk *w, int i)
{
    const reel__gnode *n = &w->g->node[i];
    for (int k = 0; k < w->effects.n_write; k++) {
        if (w->effects.write_node[k] != i) continue;
        for (int v = 0; v < w->g->n_value; v++)
            if (w->effects.root[v] == w->effects.write_root[k]) w->stale[v] = true;
    }
    for (int k = 0; k < n->n_out; k++) {
        if (n->out[k] < 0 || !w->o.given[k]) continue;
        w->ref[n->out[k]] = w->o.given[k];
        w->stale[n->out[k]] = false;
    }
}

static reel_status add_node(walk *w, int i)
{
    const reel__gnode *n = &w->g->node[i];
    reel_onnx *o = &w->o;
    o->op = n->op->name;
    o->where = place = n->where;
    o->per_batch = n->per_batch;
    o->node = NULL;
    for (int k = 0; k < REEL_OP_MAX_IN; k++)
        o->in[k] = k < n->n_in && n->in[k] >= 0 ? read_value(w, n->in[k]) : NULL;
    for (int k = 0; k < n->n_out; k++) {
        bool wanted = n->out[k] >= 0 && (w->needs.node[i] >> k & 1);
        o->given[k] = NULL;
        o->out[k] = wanted ? type_of(w, n->out[k]) : (reel_onnx_ref){.rank = -1};
    }
    reel_status st = reel_failed() ? reel_error_status() : apply_rule(w, n);
    if (st) st = note_missing(w, n);
    if (!st) set_results(w, i);
    return st;
}

/* A file is of a function: what stays changed afterwards it cannot say. */
static reel_status check_state(walk *w)
{
    for (int k = 0; k < w->effects.n_write; k++) {
        const reel__gnode *n = &w->g->node[w->effects.write_node[k]];
        if (!reel__is_state(&w->g->value[w->effects.write_root[k]])) continue;
        place = n->where;
        reel_fail(REEL_ERR_STATE,
                  "%s: changes a parameter or buffer: call reel_train(net, false) before "
                  "tracing, and trace the model without its optimizer",
                  n->op->name);
        reel_status st = note_missing(w, &no_results);
        if (st) return st;
    }
    return REEL_OK;
}

/* ---- outputs ------------------------------------------------------------------------------ */

/* The node that makes a name calls it otherwise, and so do its readers. */
static void rename_value(reel__onnx_model *m, const char *from, const char *to)
{
    for (size_t i = 0; i < m->graph.node.n; i++) {
        reel__onnx_node *n = m->graph.node.at[i];
        for (size_t k = 0; k < n->input.n; k++)
            if (strcmp(n->input.at[k], from) == 0) n->input.at[k] = to;
        for (size_t k = 0; k < n->output.n; k++)
            if (strcmp(n->output.at[k], from) == 0) n->output.at[k] = to;
    }
}

static bool made_by_node(const walk *w, reel__ref r)
{
    for (reel__ref m = w->o.first_made; m; m = m->next)
        if (m == r) return true;
    return false;
}

/* Outputs carry the users' names. One that is an input, a weight or another output as well
 * becomes an Identity. */
static reel_status add_outputs(walk *w)
{
    const reel_graph *g = w->g;
    for (int i = 0; i < g->n_output; i++) {
        int v = g->output[i];
        bool again = false;
        for (int k = 0; k < i; k++) again = again || w->ref[g->output[k]] == w->ref[v];
        w->o.where = place = NULL;
        w->o.op = "onnx_export";
        reel__ref r = read_value(w, v);
        if (!r) {
            reel_status st = note_missing(w, &no_results);
            if (st) return st;
            continue;
        }
        const char *name = reel__onnx_text(w->o.model, g->output_name[i]);
        if (again || !made_by_node(w, r)) {
            r = reel__onnx_emit_node(&w->o, "Identity", *r, 1, &r);
        }
        if (!r || !name) return reel_error_status();
        rename_value(w->o.model, r->name, name);
        ((reel_onnx_ref *)(uintptr_t)r)->name = name;
        if (!declare(w, REEL_ONNX_OUTPUT, r, name)) return reel_error_status();
    }
    return REEL_OK;
}

/* All that nodes made and that is not an output. */
static reel_status add_value_info(walk *w)
{
    for (reel__ref r = w->o.first_made; r; r = r->next) {
        bool output = false;
        for (int i = 0; i < w->g->n_output && !output; i++)
            output = strcmp(w->g->output_name[i], r->name) == 0;
        if (!output && !declare(w, REEL_ONNX_VALUE_INFO, r, r->name))
            return reel_error_status();
    }
    return REEL_OK;
}

/* ---- the model ---------------------------------------------------------------------------- */

static reel_status describe(reel__onnx_model *m, const reel_onnx_opts *opts, int opset)
{
    m->opset = opset;
    m->ir_version = reel__onnx_ir(opset);
    m->producer_name = "reel";
    m->producer_version = reel_version();
    m->doc = reel__onnx_text(m, opts->doc);
    m->graph.name = reel__onnx_text(m, opts->name ? opts->name : "reel");
    for (int i = 0; i < opts->n_metadata; i++)
        if (!reel__onnx_add_metadata(m, opts->metadata[i][0], opts->metadata[i][1]))
            return reel_error_status();
    return reel_error_status();
}

static reel_status build(walk *w, const reel_onnx_opts *opts)
{
    reel_status st = describe(w->o.model, opts, w->o.opset);
    if (!st) st = check_state(w);
    if (!st) st = take_names(w);
    if (!st) st = add_inputs(w);
    for (int i = 0; i < w->g->n_node && !st; i++)
        if (w->needs.node[i]) st = add_node(w, i);
    if (!st) st = add_outputs(w);
    return st ? st : add_value_info(w);
}

static bool start(walk *w)
{
    size_t n = (size_t)w->g->n_value + 1;
    w->o.model = reel__onnx_model_new();
    w->o.names = reel__onnx_name_set_new();
    w->ref = reel__calloc(n, sizeof *w->ref);
    w->stale = reel__calloc(n, sizeof *w->stale);
    return w->o.model && w->o.names && w->ref && w->stale &&
           reel__find_effects(w->g, &w->effects) &&
           reel__needs_value(w->g, &w->effects, &w->needs);
}

reel__onnx_model *reel__onnx_model_of(const reel_graph *g, const reel_onnx_opts *opts,
                                      FILE *missing)
{
    walk w = {.g = g,
              .batch_name = opts->batch ? opts->batch : "batch",
              .missing = missing,
              .o = {.opset = opts->opset ? opts->opset : REEL__ONNX_OPSET_DEFAULT,
                    .batch = g->batch}};
    place = NULL;
    reel__where_fn before = reel__set_error_where(tell_place);
    reel_status st = start(&w) ? build(&w, opts) : reel_error_status();
    (void)reel__set_error_where(before);
    reel__onnx_name_set_free(w.o.names);
    reel__free(w.ref);
    reel__free(w.stale);
    reel__effects_free(&w.effects);
    reel__needs_free(&w.needs);
    if (!st) return w.o.model;
    reel__onnx_model_free(w.o.model);
    return NULL;
}
