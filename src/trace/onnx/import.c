/* import.c: a graph from an ONNX model. With a batch that the file leaves open the model is
 * built twice, node by node side by side, at two batch sizes, and what differs grows with the
 * batch (batch.c), as with a function that is traced. */
#include "base/error.h"
#include "trace/onnx/import.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/option.h"
#include "onnx/limits.h"
#include "ops/custom.h"

static const reel__import_family *const families[] = {
    &reel__import_math,   &reel__import_shape,  &reel__import_const,
    &reel__import_index,  &reel__import_reduce, &reel__import_window,
    &reel__import_matmul, &reel__import_norm,   &reel__import_quantize,
    &reel__import_qlinear};

/* Two sizes that nothing else is likely to depend on; 1 would make views of what is none. */
#define BATCH_A 2
#define BATCH_B 3

/* ---- the table of operators -------------------------------------------------------------- */

/* The name of a node's domain as rows have it: NULL for ONNX's own. */
static const char *domain_of(const reel__onnx_node *n)
{
    return !*n->domain || strcmp(n->domain, "ai.onnx") == 0 ? NULL : n->domain;
}

static bool same_domain(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The row of a node; NULL if there is none for the opset. Other domains that are read have one
 * version. */
static const reel__import_row *row_of(const reel__onnx_node *n, int64_t opset)
{
    const char *domain = domain_of(n);
    if (domain) opset = 1;
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (int i = 0; i < families[f]->n; i++) {
            const reel__import_row *r = &families[f]->row[i];
            if (opset >= r->since && (!r->until || opset <= r->until) &&
                strcmp(r->op_type, n->op_type) == 0 && same_domain(r->domain, domain))
                return r;
        }
    return NULL;
}

/* Finds out what stands for the node: of other domains first what the user says. */
static void look_up(reel__import *im)
{
    const reel__onnx_node *n = im->node;
    reel__op_release(im->custom);
    im->custom = domain_of(n) ? reel__custom_by_onnx(n->domain, n->op_type) : NULL;
    im->row = im->custom ? &reel__import_custom : row_of(n, im->opset);
}

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == n && strncmp(p, word, n) == 0) return true;
    return false;
}

/* Attributes that all operators of old opsets could have: which memory they may reuse. */
static bool is_ignored(const reel__import *im, const char *attribute)
{
    return im->opset < 6 && strcmp(attribute, "consumed_inputs") == 0;
}

static const char *node_text(const reel__onnx_node *n, size_t i, char *to, size_t room)
{
    (void)snprintf(to, room, "node %zu%s%.60s%s", i, *n->name ? " \"" : "", n->name,
                   *n->name ? "\"" : "");
    return to;
}

/* Notes all that there is no counterpart for, before the rule is asked: the operator, its
 * attributes, what its operands hold. False: there is nothing. */
static bool note_lacks(reel__import *im, size_t i)
{
    const reel__onnx_node *n = im->node;
    char where[REEL__ONNX_WHERE];
    (void)node_text(n, i, where, sizeof where);
    if (!im->row) {
        reel__lacks(im->lacks, where, "operator %s%s%.60s", n->domain,
                    *n->domain ? "." : "", n->op_type);
        return true;
    }
    bool lacking = false;
    for (size_t k = 0; k < n->attribute.n; k++) {
        const reel__onnx_attribute *a = n->attribute.at[k];
        bool known = has_word(im->row->attributes, a->name) || is_ignored(im, a->name) ||
                     (im->custom && reel__im_custom_has(im->custom, a->name));
        if (known && !a->lack) continue;
        reel__lacks(im->lacks, where, "attribute %.40s of %s%s%s", a->name, n->op_type,
                    a->lack ? ", which " : "", a->lack ? a->lack : "");
        lacking = true;
    }
    for (size_t k = 0; k < n->input.n; k++)
        lacking |= reel__im_lacking(im, reel__im_name(im, n->input.at[k]));
    return lacking;
}

/* Numbers of operands, before the rule looks at any of them. */
static void check_node(const reel__import *im)
{
    const reel__onnx_node *n = im->node;
    const reel__import_row *r = im->row;
    size_t in = n->input.n;
    if (in < (size_t)r->min_in || (r->max_in >= 0 && in > (size_t)r->max_in))
        reel_fail(REEL_ERR_FORMAT, "%zu inputs; it takes %d to %d", in, r->min_in,
                  r->max_in);
    for (int k = 0; k < r->min_in && !reel_failed(); k++)
        if (!*n->input.at[k]) reel_fail(REEL_ERR_FORMAT, "input %d is absent", k);
    if (n->output.n < 1 || (r->max_out >= 0 && n->output.n > (size_t)r->max_out))
        reel_fail(REEL_ERR_FORMAT, "%zu outputs; it has 1 to %d", n->output.n,
                  r->max_out);
}

/* ---- building --------------------------------------------------------------------------------------- */

static bool begin(reel__import *im, const reel__onnx_model *m,
                  const reel__onnx_names *names, int64_t batch, reel__import *twin,
                  reel__import_lacks *lacks)
{
    const reel__onnx_graph *g = &m->graph;
    size_t n = reel__onnx_made(g) + 1;
    *im = (reel__import){.model = m,
                         .names = names,
                         .batch = batch,
                         .opset = (int)m->opset,
                         .twin = twin,
                         .lacks = lacks,
                         .g = reel__graph_new()};
    im->value = reel__malloc(n * sizeof *im->value);
    im->data = reel__calloc(n, sizeof(*im->data));
    im->constant = reel__calloc(n, sizeof *im->constant);
    if (!im->g || !im->value || !im->data || !im->constant) return false;
    for (size_t i = 0; i < n; i++) im->value[i] = REEL_NO_VALUE;
    for (size_t i = 0; i < g->initializer.n; i++) {
        int64_t number = reel__onnx_names_find(names, g->initializer.at[i]->name);
        if (number >= 0) im->data[number] = g->initializer.at[i];
    }
    return true;
}

static void end(reel__import *im)
{
    for (int v = 0; v < im->cap_known; v++) reel__tensor_release(im->known[v]);
    reel__op_release(im->custom);
    reel__free(im->known);
    reel__free(im->value);
    reel__free((void *)im->data);
    reel__free(im->constant);
    reel_graph_free(im->g);
    *im = (reel__import){0};
}

/* What a node makes that was not made: whoever needs it is passed over too. */
static void pass_over(reel__import *im)
{
    for (size_t k = 0; k < im->node->output.n; k++) {
        int64_t number = reel__im_name(im, im->node->output.at[k]);
        if (number >= 0) im->value[number] = REEL__IM_LACKING;
    }
}

/* ---- a node ----------------------------------------------------------------------------------------- */

/* A model in the making. With an open size there are `b`, and `one` at a batch of one, which
 * follows when sizes do not fit and is not kept. */
typedef struct builds {
    reel__import a, b, one;
    const char *file;
    bool open;
    size_t ahead; /* how many nodes `one` has seen */
} builds;

static reel__import *second(builds *s)
{
    return s->open ? &s->b : NULL;
}

/* False with an error, or nothing to call. */
static bool make(reel__import *im, size_t i)
{
    im->node = im->model->graph.node.at[i];
    look_up(im);
    if (!im->row) return false;
    check_node(im);
    if (!reel_failed()) im->row->rule(im);
    return !reel_failed();
}

/* The same to see whether it can be: no error but want of memory. */
static bool can_make(reel__import *im, size_t i)
{
    if (make(im, i)) return true;
    if (reel_error_status() != REEL_ERR_MEMORY) reel_error_clear();
    return false;
}

static bool was_passed_over(const reel__import *im, size_t i)
{
    const reel__onnx_node *n = im->model->graph.node.at[i];
    bool over = false;
    for (size_t k = 0; k < n->output.n && !over; k++) {
        int64_t number = reel__im_name(im, n->output.at[k]);
        over = number >= 0 && im->value[number] == REEL__IM_LACKING;
    }
    return over;
}

/* Whether node i has a meaning at a batch of one. Each node is made once, however often it is
 * asked, and none that the first build could not look at. */
static bool right_at_one(builds *s, size_t i)
{
    reel__import *one = &s->one;
    bool right = false;
    if (!one->g && (!begin(one, s->a.model, s->a.names, 1, &s->a, s->a.lacks) ||
                    reel__im_add_inputs(one, s->file)))
        return false;
    for (; s->ahead <= i && !reel_failed(); s->ahead++) {
        one->node = one->model->graph.node.at[s->ahead];
        right = !was_passed_over(&s->a, s->ahead) && can_make(one, s->ahead);
        if (right)
            reel__im_settle(one, NULL);
        else
            pass_over(one);
    }
    return right;
}

/* Sizes that do not fit are an error of the file, unless they do at another batch: then another
 * reader runs the file at that. */
static reel_status status_of(builds *s, const reel__import *im, size_t i,
                             reel_status said)
{
    if (said == REEL_ERR_DTYPE) return REEL_ERR_UNSUPPORTED;
    if (said != REEL_ERR_ARG && said != REEL_ERR_SHAPE) return said;
    bool ours = s->open && (im == &s->b || can_make(&s->b, i) || right_at_one(s, i));
    return ours ? REEL_ERR_UNSUPPORTED : REEL_ERR_FORMAT;
}

/* The pending error of a rule: what is lacking is noted, and the list goes on; anything else
 * ends it, with the file and the node before the message. */
static void sort_error(builds *s, reel__import *im, size_t i)
{
    char text[640], where[REEL__ONNX_WHERE], at[48] = "";
    const reel__onnx_node *n = im->node;
    const reel_status said = reel_error_status();
    (void)snprintf(text, sizeof text, "%s", reel__error_said());
    reel_error_clear();
    const reel_status st = status_of(s, im, i, said);
    if (reel_failed()) return;
    if (st == REEL_ERR_UNSUPPORTED && (said == REEL_ERR_SHAPE || said == REEL_ERR_ARG))
        (void)snprintf(at, sizeof at, " at batch size %" PRId64, im->batch);
    if (st == REEL_ERR_UNSUPPORTED)
        reel__lacks(im->lacks, node_text(n, i, where, sizeof where), "%s%s: %s",
                    n->op_type, at, text);
    else
        reel_fail(st, "onnx_load: %.200s: node %zu, %.60s \"%.100s\": %s", s->file, i,
                  n->op_type, n->name, text);
}

static bool made(builds *s, reel__import *im, size_t i)
{
    if (make(im, i)) return true;
    sort_error(s, im, i);
    return false;
}

/* In both builds, side by side, or in one alone. */
static void import_node(builds *s, size_t i)
{
    reel__import *a = &s->a, *b = second(s);
    a->node = a->model->graph.node.at[i];
    look_up(a);
    if (b) b->node = a->node;
    if (!note_lacks(a, i) && made(s, a, i) && (!b || made(s, b, i))) {
        reel__im_settle(a, b);
    } else if (!reel_failed()) {
        pass_over(a);
        if (b) pass_over(b);
    }
}

/* ---- the model -------------------------------------------------------------------------------------- */

static reel_status build(builds *s)
{
    reel__import *a = &s->a, *b = second(s);
    reel_status st = reel__im_add_inputs(a, s->file);
    if (!st && b) st = reel__im_add_inputs(b, s->file);
    for (size_t i = 0; i < a->model->graph.node.n && !st; i++) {
        import_node(s, i);
        st = reel_error_status();
    }
    if (!st) st = reel__im_add_outputs(a, s->file);
    return !st && b ? reel__im_add_outputs(b, s->file) : st;
}

/* What the whole file is: versions, and functions, whose nodes are listed as operators. */
static void note_model(const reel__onnx_model *m, reel__import_lacks *lacks)
{
    if (m->ir_version < REEL__ONNX_IR_MIN)
        reel__lacks(lacks, "model", "IR version %" PRId64 "; %d and above are read",
                    m->ir_version, REEL__ONNX_IR_MIN);
    if (m->opset > REEL__ONNX_OPSET_MAX)
        reel__lacks(lacks, "model", "opset %" PRId64 "; %d to %d are read", m->opset,
                    REEL__ONNX_OPSET_MIN, REEL__ONNX_OPSET_MAX);
    if (m->n_functions)
        reel__lacks(lacks, "model",
                    "functions of the model's own: inline them, as "
                    "onnx.inliner does");
}

/* Operators of an opset that is not known: those that are not there at the newest either. What
 * the others mean there, nobody can say. */
static void note_operators(reel__import *im)
{
    im->opset = REEL__ONNX_OPSET_MAX;
    for (size_t i = 0; i < im->model->graph.node.n; i++) {
        im->node = im->model->graph.node.at[i];
        im->row = row_of(im->node, im->opset);
        if (!im->row) (void)note_lacks(im, i);
    }
}

/* Takes out what no output needs. */
static reel_status prune(reel_graph *g)
{
    bool *live = reel__calloc((size_t)g->n_value + 1, sizeof *live);
    if (!live) return reel_error_status();
    for (int i = 0; i < g->n_output; i++) live[g->output[i]] = true;
    for (int i = g->n_node - 1; i >= 0; i--) {
        const reel__gnode *n = &g->node[i];
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
            "a value %s depends on it; fix the open sizes of the inputs",
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
    (void)snprintf(text, sizeof text, "%s", reel__error_said());
    reel_error_clear();
    return reel_fail(
        REEL_ERR_UNSUPPORTED,
        "onnx_load: %.200s: sizes do not grow in proportion to the batch size; "
        "fix the open sizes of the inputs: %s",
        file, text);
}

static reel_graph *take(reel__import *im)
{
    reel_graph *g = im->g;
    im->g = NULL;
    return g;
}

/* A row of the batch that is taken by its number, say, is missing in a batch of one: the file
 * is right, and the caller, who can choose another, is told. */
static reel_status set_batch(reel_graph *g, const char *file, int64_t batch)
{
    char text[640];
    reel_status st = reel_graph_set_batch(g, batch);
    if (!st || st == REEL_ERR_MEMORY) return st;
    (void)snprintf(text, sizeof text, "%s", reel__error_said());
    reel_error_clear();
    return reel_fail(REEL_ERR_ARG,
                     "onnx_load: %.200s: the graph has no meaning at batch size %" PRId64
                     ", which can be chosen: %s",
                     file, batch, text);
}

static reel_graph *finish(builds *s, int64_t batch)
{
    reel__import *a = &s->a, *b = second(s);
    const char *file = s->file;
    reel_status st = prune(a->g);
    if (!st && b) st = prune(b->g);
    if (!st && b) st = check_constants(a->g, b->g, file);
    if (!st && b) st = generalize(a->g, b->g, file);
    if (!st) st = reel__graph_looks(a->g); /* reshapes that change nothing */
    if (!st && b) st = set_batch(a->g, file, batch);
    if (!st) st = reel_graph_check(a->g);
    return st ? NULL : take(a);
}

/* Builds once, or at two batch sizes if the file leaves one open. */
static reel_graph *build_all(builds *s, const reel_onnx_load_opts *o)
{
    reel__import *a = &s->a;
    const reel__onnx_model *m = a->model;
    s->open = reel__im_open(a);
    if (o->batch && !s->open) {
        reel_fail(REEL_ERR_ARG,
                  "onnx_load: %.200s: batch size %" PRId64 ", but all sizes are fixed",
                  s->file, o->batch);
        return NULL;
    }
    a->batch = s->open ? BATCH_A : 0;
    if (s->open && !begin(&s->b, m, a->names, BATCH_B, a, a->lacks)) return NULL;
    if (m->opset > REEL__ONNX_OPSET_MAX) {
        note_operators(a);
    } else if (build(s)) {
        return NULL;
    }
    if (reel__lacks_refuse(a->lacks, s->file, m->opset)) return NULL;
    return finish(s, o->batch ? o->batch : 1);
}

reel_graph *reel__onnx_import(const reel__onnx_model *m, const char *file,
                              const reel_onnx_load_opts *opts)
{
    const reel_onnx_load_opts *o = REEL__OPTS("onnx_load", reel_onnx_load_opts, opts);
    if (!o) return NULL;
    reel__import_lacks *lacks = reel__calloc(1, sizeof *lacks);
    reel__onnx_names *names = lacks ? reel__onnx_names_new(m, file) : NULL;
    reel_graph *g = NULL;
    builds s = {.file = file};
    static const reel_onnx_load_opts none = {0};
    if (!o) o = &none;
    if (names && begin(&s.a, m, names, 0, NULL, lacks)) {
        note_model(m, lacks);
        g = build_all(&s, o);
    }
    end(&s.one);
    end(&s.b);
    end(&s.a);
    reel__onnx_names_free(names);
    reel__free(lacks);
    return g;
}

reel_graph *reel_onnx_load(const char *path, const reel_onnx_load_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    const reel_onnx_load_opts *o = REEL__OPTS("onnx_load", reel_onnx_load_opts, opts);
    if (!o) return NULL;
    if (!path || o->batch < 0 || o->max_bytes < 0) {
        reel_fail(REEL_ERR_ARG, "onnx_load: %s",
                  path ? "batch and max_bytes must not be negative" : "the path is NULL");
        return NULL;
    }
    const reel__onnx_read_opts read = {.max_bytes = o->max_bytes};
    reel__onnx_model *m = reel__onnx_read(path, &read);
    reel_graph *g = m ? reel__onnx_import(m, path, o) : NULL;
    reel__onnx_model_free(m);
    return g;
}
