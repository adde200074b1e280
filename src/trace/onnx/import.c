/* import.c: a graph from an ONNX model. With a batch that the file leaves open the model is
 * built twice, node by node side by side, at two batch sizes, and what differs grows with the
 * batch (batch.c), as with a function that is traced. */
#include "trace/onnx/import.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "onnx/limits.h"

static const reel_import_family *const families[] = {
    &reel__import_math,   &reel__import_shape,  &reel__import_const,  &reel__import_index,
    &reel__import_reduce, &reel__import_window, &reel__import_matmul, &reel__import_norm};

/* Two sizes that nothing else is likely to depend on; 1 would make views of what is none. */
#define BATCH_A 2
#define BATCH_B 3

/* ---- the table of operators -------------------------------------------------------------- */

static bool is_standard(const reel_onnx_node *n)
{
    return !*n->domain || strcmp(n->domain, "ai.onnx") == 0;
}

/* The row of a node; NULL if there is none for the opset. */
static const reel_import_row *row_of(const reel_onnx_node *n, int64_t opset)
{
    for (size_t f = 0; is_standard(n) && f < sizeof families / sizeof *families; f++)
        for (int i = 0; i < families[f]->n; i++) {
            const reel_import_row *r = &families[f]->row[i];
            if (opset >= r->since && (!r->until || opset <= r->until) &&
                strcmp(r->op_type, n->op_type) == 0)
                return r;
        }
    return NULL;
}

/* Operators that a message can name. */
#define MISSING_MAX 16

/* Names all operators that have no row, with how many nodes they have. */
static reel_status check_operators(const reel_onnx_model *m, const char *file)
{
    const reel_onnx_node *missing[MISSING_MAX];
    int64_t count[MISSING_MAX] = {0}, others = 0;
    int n = 0;
    for (size_t i = 0; i < m->graph.node.n; i++) {
        const reel_onnx_node *node = m->graph.node.at[i];
        if (row_of(node, m->opset)) continue;
        int k = 0;
        while (k < n && (strcmp(missing[k]->op_type, node->op_type) != 0 ||
                         strcmp(missing[k]->domain, node->domain) != 0))
            k++;
        if (k < MISSING_MAX)
            count[k]++;
        else
            others++;
        if (k == n && n < MISSING_MAX) missing[n++] = node;
    }
    if (!n) return REEL_OK;
    char text[768];
    int used = 0;
    for (int k = 0; k < n && used >= 0 && (size_t)used < sizeof text; k++)
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "%s%.40s%s%.40s (%" PRId64 " node%s)", k ? ", " : "",
                         missing[k]->domain, *missing[k]->domain ? "." : "",
                         missing[k]->op_type, count[k], count[k] == 1 ? "" : "s");
    if (others && (size_t)used < sizeof text)
        (void)snprintf(text + used, sizeof text - (size_t)used, " and more");
    return reel_fail(REEL_ERR_UNSUPPORTED,
                     "onnx_load: %.200s: operators that opset %" PRId64
                     " has no rule for: %s",
                     file, m->opset, text);
}

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == n && strncmp(p, word, n) == 0) return true;
    return false;
}

/* Numbers of operands and names of attributes, before the rule looks at any of them. */
static void check_node(const reel_import *im)
{
    const reel_onnx_node *n = im->node;
    const reel_import_row *r = im->row;
    size_t in = n->input.n;
    if (in < (size_t)r->min_in || (r->max_in >= 0 && in > (size_t)r->max_in))
        reel_fail(REEL_ERR_FORMAT, "%zu inputs; it takes %d to %d", in, r->min_in,
                  r->max_in);
    for (int k = 0; k < r->min_in && !reel_failed(); k++)
        if (!*n->input.at[k]) reel_fail(REEL_ERR_FORMAT, "input %d is absent", k);
    if (n->output.n < 1 || (r->max_out >= 0 && n->output.n > (size_t)r->max_out))
        reel_fail(REEL_ERR_FORMAT, "%zu outputs; it has 1 to %d", n->output.n,
                  r->max_out);
    for (size_t i = 0; i < n->attribute.n && !reel_failed(); i++)
        if (!has_word(r->attributes, n->attribute.at[i]->name))
            reel_fail(REEL_ERR_UNSUPPORTED, "attribute %.60s; it may have %s",
                      n->attribute.at[i]->name, *r->attributes ? r->attributes : "none");
}

/* ---- messages --------------------------------------------------------------------------------- */

/* Puts the file and the node before the pending error. What a record refuses is what the file
 * is wrong in, or what we lack. */
static void place_error(const reel_import *im, const char *file, size_t i)
{
    static const reel_status becomes[] = {[REEL_ERR_ARG] = REEL_ERR_FORMAT,
                                          [REEL_ERR_SHAPE] = REEL_ERR_FORMAT,
                                          [REEL_ERR_DTYPE] = REEL_ERR_UNSUPPORTED};
    char text[640];
    reel_status st = reel_error_status();
    (void)snprintf(text, sizeof text, "%s", reel_error_message());
    reel_error_clear();
    bool changed = (size_t)st < sizeof becomes / sizeof *becomes && becomes[st];
    reel_fail(changed ? becomes[st] : st,
              "onnx_load: %.200s: node %zu, %.60s \"%.100s\"%s: %s", file, i,
              im->node->op_type, im->node->name,
              im->batch ? " at another batch size" : "", text);
}

/* ---- inputs, initializers, outputs ---------------------------------------------------------------- */

/* Whether dimension d of v is the batch: the first, or one of the same name. */
static bool is_batch(const reel_onnx_value *v, int d)
{
    if (v->dim[d].size >= 0) return false;
    return d == 0 || (*v->dim[d].param && v->dim[0].size < 0 &&
                      strcmp(v->dim[d].param, v->dim[0].param) == 0);
}

static reel_status add_input(reel_import *im, const char *file, const reel_onnx_value *v)
{
    reel_shape s = {.rank = v->rank};
    reel_dtype dtype;
    if (!reel__onnx_dtype_back(v->dtype, &dtype))
        return reel_fail(REEL_ERR_UNSUPPORTED, "onnx_load: %.200s: input %.100s is %s",
                         file, v->name, reel__onnx_dtype_name(v->dtype));
    if (v->rank < 0 || v->rank > REEL_MAX_RANK)
        return reel_fail(REEL_ERR_UNSUPPORTED,
                         "onnx_load: %.200s: input %.100s is of %s; a rank of 0 to %d is "
                         "needed",
                         file, v->name,
                         v->rank < 0 ? "unknown shape" : "too many dimensions",
                         REEL_MAX_RANK);
    for (int d = 0; d < v->rank; d++) {
        s.dim[d] = is_batch(v, d) ? im->batch : v->dim[d].size;
        if (s.dim[d] < 0 || s.dim[d] > INT64_C(1) << 40)
            return reel_fail(
                REEL_ERR_UNSUPPORTED,
                "onnx_load: %.200s: dimension %d of input %.100s %s \"%.60s\"; "
                "only the first may be left open",
                file, d, v->name, s.dim[d] < 0 ? "has no size but" : "is too large",
                v->dim[d].param ? v->dim[d].param : "");
    }
    const reel_meta m = reel__meta(s, dtype, (reel_device){REEL_CPU, 0});
    if (reel__meta_check("onnx_load", &m)) return reel_error_status();
    int64_t number = reel__onnx_names_find(im->names, v->name);
    int value = reel__graph_add_value(im->g, REEL_VALUE_INPUT, &m, v->name, NULL);
    if (value < 0 || number < 0) return reel_error_status();
    im->value[number] = value;
    return reel__graph_add_input(im->g, value);
}

/* An input that has an initializer of its name is none: its default is taken. */
static reel_status add_inputs(reel_import *im, const char *file)
{
    const reel_onnx_graph *g = &im->model->graph;
    reel_status st = REEL_OK;
    for (size_t i = 0; i < g->initializer.n; i++) {
        int64_t number = reel__onnx_names_find(im->names, g->initializer.at[i]->name);
        if (number >= 0) im->data[number] = g->initializer.at[i];
    }
    for (size_t i = 0; i < g->input.n && !st; i++) {
        int64_t number = reel__onnx_names_find(im->names, g->input.at[i]->name);
        if (number < 0 || !im->data[number]) st = add_input(im, file, g->input.at[i]);
    }
    return st;
}

/* What the file says of an output must be so, as far as it says it. */
static reel_status add_output(reel_import *im, const char *file, const reel_onnx_value *v)
{
    int64_t number = reel__onnx_names_find(im->names, v->name);
    int value = reel__im_value(im, number, REEL_VALUE_PARAM);
    if (value < 0)
        return reel_fail(REEL_ERR_FORMAT,
                         "onnx_load: %.200s: output %.100s is made nowhere", file,
                         v->name);
    const reel_meta *m = reel__im_meta(im, value);
    if ((v->dtype != REEL_ONNX_UNDEFINED && v->dtype != reel__onnx_dtype(m->dtype)) ||
        (v->rank >= 0 && v->rank != m->rank))
        return reel_fail(
            REEL_ERR_FORMAT,
            "onnx_load: %.200s: output %.100s is %s; the file says %s of rank "
            "%d",
            file, v->name, SHOW(m), reel__onnx_dtype_name(v->dtype), v->rank);
    return reel__graph_add_output(im->g, value, v->name);
}

static reel_status add_outputs(reel_import *im, const char *file)
{
    const reel_onnx_graph *g = &im->model->graph;
    reel_status st = REEL_OK;
    for (size_t i = 0; i < g->output.n && !st; i++)
        st = add_output(im, file, g->output.at[i]);
    return st;
}

/* ---- building --------------------------------------------------------------------------------------- */

static bool begin(reel_import *im, const reel_onnx_model *m, const reel_onnx_names *names,
                  int64_t batch, reel_import *twin)
{
    size_t n = reel__onnx_made(&m->graph) + 1;
    *im = (reel_import){.model = m,
                        .names = names,
                        .batch = batch,
                        .opset = (int)m->opset,
                        .twin = twin,
                        .g = reel__graph_new()};
    im->value = reel__malloc(n * sizeof *im->value);
    im->data = reel__calloc(n, sizeof(*im->data));
    im->constant = reel__calloc(n, sizeof *im->constant);
    if (!im->g || !im->value || !im->data || !im->constant) return false;
    for (size_t i = 0; i < n; i++) im->value[i] = REEL_NO_VALUE;
    return true;
}

static void end(reel_import *im)
{
    for (int v = 0; v < im->cap_known; v++) reel__tensor_release(im->known[v]);
    reel__free(im->known);
    reel__free(im->value);
    reel__free((void *)im->data);
    reel__free(im->constant);
    reel_graph_free(im->g);
    *im = (reel_import){0};
}

static reel_status import_node(reel_import *im, const char *file, size_t i)
{
    im->node = im->model->graph.node.at[i];
    im->row = row_of(im->node, im->opset);
    check_node(im);
    if (!reel_failed()) im->row->rule(im);
    if (reel_failed()) place_error(im, file, i);
    return reel_error_status();
}

/* Both side by side; b NULL: one alone. */
static reel_status build(reel_import *a, reel_import *b, const char *file)
{
    reel_status st = add_inputs(a, file);
    if (!st && b) st = add_inputs(b, file);
    for (size_t i = 0; i < a->model->graph.node.n && !st; i++) {
        st = import_node(a, file, i);
        if (!st && b) st = import_node(b, file, i);
        if (!st) reel__im_settle(a, b);
        if (!st) st = reel_error_status();
    }
    if (!st) st = add_outputs(a, file);
    return !st && b ? add_outputs(b, file) : st;
}

/* Takes out what no output needs. */
static reel_status prune(reel_graph *g)
{
    bool *live = reel__calloc((size_t)g->n_value + 1, sizeof *live);
    if (!live) return reel_error_status();
    for (int i = 0; i < g->n_output; i++) live[g->output[i]] = true;
    for (int i = g->n_node - 1; i >= 0; i--) {
        const reel_gnode *n = &g->node[i];
        bool needed = false;
        for (int k = 0; k < n->n_out; k++)
            needed = needed || (n->out[k] >= 0 && live[n->out[k]]);
        for (int k = 0; k < n->n_in && needed; k++)
            if (n->in[k] >= 0) live[n->in[k]] = true;
        if (!needed) reel__graph_remove(g, i);
    }
    reel__free(live);
    return reel__graph_compact(g);
}

/* Constants were made side by side too; one that differs would be baked in. */
static reel_status check_constants(const reel_graph *a, const reel_graph *b,
                                   const char *file)
{
    for (int v = 0; v < a->n_value && v < b->n_value; v++) {
        if (a->value[v].kind != REEL_VALUE_CONST ||
            b->value[v].kind != REEL_VALUE_CONST ||
            reel__im_same(a->value[v].tensor, b->value[v].tensor))
            continue;
        if (reel_failed()) return reel_error_status();
        return reel_fail(
            REEL_ERR_UNSUPPORTED,
            "onnx_load: %.200s: the model computes with the batch size itself: "
            "a value %s depends on it; fix the first dimension of the inputs",
            file, SHOW(&a->value[v].meta));
    }
    return REEL_OK;
}

/* What the comparison of the two graphs says, in words of the file. */
static reel_status generalize(reel_graph *a, const reel_graph *b, const char *file)
{
    char text[640];
    if (!reel__graph_generalize(a, BATCH_A, b, BATCH_B)) return REEL_OK;
    if (reel_error_status() != REEL_ERR_STATE) return reel_error_status();
    (void)snprintf(text, sizeof text, "%s", reel_error_message());
    reel_error_clear();
    return reel_fail(
        REEL_ERR_UNSUPPORTED,
        "onnx_load: %.200s: sizes do not grow in proportion to the batch size; "
        "fix the first dimension of the inputs: %s",
        file, text);
}

static reel_graph *take(reel_import *im)
{
    reel_graph *g = im->g;
    im->g = NULL;
    return g;
}

/* A row of the batch that is taken by its number, say, is missing in a batch of one. */
static reel_status set_batch(reel_graph *g, const char *file, int64_t batch)
{
    char text[640];
    reel_status st = reel_graph_set_batch(g, batch);
    if (!st || st == REEL_ERR_MEMORY) return st;
    (void)snprintf(text, sizeof text, "%s", reel_error_message());
    reel_error_clear();
    return reel_fail(REEL_ERR_FORMAT,
                     "onnx_load: %.200s: the graph has no meaning at batch size %" PRId64
                     ", which can be chosen: %s",
                     file, batch, text);
}

static reel_graph *finish(reel_import *a, reel_import *b, const char *file, int64_t batch)
{
    reel_status st = prune(a->g);
    if (!st && b) st = prune(b->g);
    if (!st && b) st = check_constants(a->g, b->g, file);
    if (!st && b) st = generalize(a->g, b->g, file);
    if (!st && b) st = set_batch(a->g, file, batch);
    if (!st) st = reel_graph_check(a->g);
    return st ? NULL : take(a);
}

/* Whether an input leaves its first dimension open. */
static bool open_batch(const reel_onnx_model *m)
{
    for (size_t i = 0; i < m->graph.input.n; i++) {
        const reel_onnx_value *v = m->graph.input.at[i];
        if (v->rank > 0 && v->dim[0].size < 0) return true;
    }
    return false;
}

reel_graph *reel__onnx_import(const reel_onnx_model *m, const char *file,
                              const reel_onnx_load_opts *opts)
{
    const reel_onnx_load_opts o = opts ? *opts : (reel_onnx_load_opts){0};
    reel_onnx_names *names =
        check_operators(m, file) ? NULL : reel__onnx_names_new(m, file);
    if (!names) return NULL;
    bool open = open_batch(m);
    reel_graph *g = NULL;
    reel_import a = {0}, b = {0};
    if (o.batch && !open)
        reel_fail(REEL_ERR_ARG,
                  "onnx_load: %.200s: batch size %" PRId64 ", but all sizes are fixed",
                  file, o.batch);
    else if (begin(&a, m, names, open ? BATCH_A : 0, NULL) &&
             (!open || begin(&b, m, names, BATCH_B, &a)) &&
             !build(&a, open ? &b : NULL, file))
        g = finish(&a, open ? &b : NULL, file, o.batch ? o.batch : 1);
    end(&b);
    end(&a);
    reel__onnx_names_free(names);
    return g;
}

reel_graph *reel_onnx_load(const char *path, const reel_onnx_load_opts *opts)
{
    if (reel_failed()) return NULL;
    if (!path || (opts && (opts->batch < 0 || opts->max_bytes < 0))) {
        reel_fail(REEL_ERR_ARG, "onnx_load: %s",
                  path ? "batch and max_bytes must not be negative" : "the path is NULL");
        return NULL;
    }
    const reel_onnx_read_opts read = {.max_bytes = opts ? opts->max_bytes : 0};
    reel_onnx_model *m = reel__onnx_read(path, &read);
    reel_graph *g = m ? reel__onnx_import(m, path, opts) : NULL;
    reel__onnx_model_free(m);
    return g;
}
