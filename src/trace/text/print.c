/* print.c: graphs as text, exact but for the elements of state. The grammar stands in
 * parse.c. */
#include "base/error.h"
#include "trace/text/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const reel__keyword[REEL__KEYWORDS] = {"batch", "rng",    "reads", "input",
                                                   "param", "buffer", "const", "output"};

static const char *kind_name(reel__value_kind kind)
{
    return kind == REEL_VALUE_NODE ? "" : reel__keyword[REEL__KEY_INPUT + (int)kind];
}

/* ---- names ----------------------------------------------------------------------------------- */

bool reel__bare_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_./:-", c)) || c >= 0x80;
}

static bool is_bare(const char *name)
{
    for (int i = 0; i < REEL__KEYWORDS; i++)
        if (strcmp(name, reel__keyword[i]) == 0) return false;
    for (const char *c = name; *c; c++)
        if (!reel__bare_char((unsigned char)*c)) return false;
    return *name && *name != '-';
}

static void put_quoted(FILE *to, const char *text)
{
    fputc('"', to);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            fprintf(to, "\\x%02x", (unsigned)*c);
        else
            fputc(*c, to);
    }
    fputc('"', to);
}

static void put_name(FILE *to, const char *name)
{
    if (is_bare(name))
        fputs(name, to);
    else
        put_quoted(to, name);
}

static void put_value(FILE *to, const reel_graph *g, int v)
{
    if (v < 0)
        fputc('-', to);
    else if (g->value[v].name)
        put_name(to, g->value[v].name);
    else
        fprintf(to, "%%%d", v);
}

/* ---- lines -------------------------------------------------------------------------------------- */

static void put_shape(FILE *to, const reel_graph *g, int v)
{
    fprintf(to, " %s", reel__value_shape_text(g, v, (char[REEL__SHAPE_TEXT]){0}));
}

/* What a shape rule cannot know: the order in memory of what comes from outside. */
static void put_strides(FILE *to, const reel__meta *m)
{
    if (reel__is_contiguous(m)) return;
    fprintf(to, " strides ");
    for (int d = 0; d < m->rank; d++)
        fprintf(to, "%s%" PRId64, d ? "," : "", m->stride[d]);
}

static void put_outside(FILE *to, const reel_graph *g, int v)
{
    fprintf(to, "%s ", kind_name(g->value[v].kind));
    put_value(to, g, v);
    put_shape(to, g, v);
    put_strides(to, &g->value[v].meta);
    fputc('\n', to);
}

static bool is_zero(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const char *)p)[i]) return false;
    return true;
}

/* Slopes by name; fields that do not depend on the batch are left out. A list is as long as
 * the attribute is. */
static void put_slopes(FILE *to, const reel__gnode *n)
{
    _Alignas(16) char room[REEL_ATTRS_MAX];
    char text[REEL__ATTRS_TEXT];
    const reel__attr_schema *s = n->op->attrs;
    fprintf(to, " per batch");
    for (int i = 0; i < s->n_fields; i++) {
        const reel__attr_field *f = &s->field[i];
        const reel__attr_schema one = {s->size, 1, f};
        memcpy(room, n->per_batch, s->size);
        if (is_zero(room + f->offset, (size_t)f->count * reel__attr_unit(f))) continue;
        if (f->each) memcpy(room + f->length, (char *)n->attrs + f->length, 8);
        fprintf(to, " %s", reel__attr_text(&one, room, text, sizeof text));
    }
}

static void put_where(FILE *to, const char *where)
{
    bool plain = *where != '"';
    for (const char *c = where; *c; c++) plain = plain && (unsigned char)*c >= 0x20;
    fprintf(to, "  # ");
    if (plain)
        fputs(where, to);
    else
        put_quoted(to, where);
}

static void put_node(FILE *to, const reel_graph *g, const reel__gnode *n)
{
    char attrs[REEL__ATTRS_TEXT];
    for (int k = 0; k < n->n_out; k++) {
        if (k) fputs(", ", to);
        put_value(to, g, n->out[k]);
        if (n->out[k] >= 0) put_shape(to, g, n->out[k]);
    }
    fprintf(to, "%s%s(", n->n_out ? " = " : "", n->op->name);
    for (int k = 0; k < n->n_in; k++) {
        if (k) fputs(", ", to);
        put_value(to, g, n->in[k]);
    }
    fputc(')', to);
    if (n->attrs)
        fprintf(to, " %s", reel__attr_text(n->op->attrs, n->attrs, attrs, sizeof attrs));
    if (n->per_batch && !is_zero(n->per_batch, n->op->attrs->size)) put_slopes(to, n);
    if (n->where) put_where(to, n->where);
    fputc('\n', to);
}

static void put_graph(FILE *to, const reel_graph *g)
{
    if (g->batch) fprintf(to, "batch %" PRId64 "\n", g->batch);
    if (g->rng_blocks)
        fprintf(to, "rng %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", g->rng.seed,
                g->rng.offset, g->rng_blocks);
    if (g->reads) {
        fprintf(to, "reads ");
        put_quoted(to, g->reads);
        fputc('\n', to);
    }
    for (int i = 0; i < g->n_input; i++) put_outside(to, g, g->input[i]);
    for (int v = 0; v < g->n_value; v++)
        if (reel__is_state(&g->value[v])) put_outside(to, g, v);
    for (int i = 0; i < g->n_node; i++) put_node(to, g, &g->node[i]);
    for (int i = 0; i < g->n_output; i++) {
        fprintf(to, "output ");
        put_name(to, g->output_name[i]);
        fprintf(to, " = ");
        put_value(to, g, g->output[i]);
        fputc('\n', to);
    }
}

char *reel_graph_to_string(const reel_graph *g)
{
    REEL__CALLED;
    char *text = NULL;
    size_t size = 0;
    if (!g) {
        reel_fail(REEL_ERR_ARG, "graph_to_string: the graph is NULL");
        return NULL;
    }
    FILE *to = open_memstream(&text, &size);
    if (to) put_graph(to, g);
    if (to && fclose(to) == 0) return text;
    free(text);
    reel_fail(REEL_ERR_MEMORY, "graph_to_string: out of memory");
    return NULL;
}
