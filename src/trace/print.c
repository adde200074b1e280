/* print.c: graphs as text and in Graphviz's language. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/graph.h"

static const char *const kind_name[] = {"input", "param", "buffer", "const", ""};

/* Shape of value v as text, in the caller's block. */
#define shape(g, v) reel__value_shape_text((g), (v), (char[REEL__SHAPE_TEXT]){0})

static void put_values(FILE *to, const reel_graph *g, const int *v, int n)
{
    char text[256];
    for (int i = 0; i < n; i++)
        fprintf(to, "%s%s", i ? ", " : "", reel__value_text(g, v[i], text, sizeof text));
}

static void put_node(FILE *to, const reel_graph *g, const reel_gnode *n)
{
    char attrs[2048];
    if (n->n_out) {
        put_values(to, g, n->out, n->n_out);
        if (n->out[0] >= 0) fprintf(to, " %s", shape(g, n->out[0]));
        fprintf(to, " = ");
    }
    fprintf(to, "%s(", n->op->name);
    put_values(to, g, n->in, n->n_in);
    fprintf(to, ")");
    if (n->attrs)
        fprintf(to, " %s", reel__attr_text(n->op->attrs, n->attrs, attrs, sizeof attrs));
    if (n->where) fprintf(to, "  # %s", n->where);
    fprintf(to, "\n");
}

static void put_graph(FILE *to, const reel_graph *g)
{
    char text[256];
    for (int v = 0; v < g->n_value; v++)
        if (g->value[v].kind != REEL_VALUE_NODE)
            fprintf(to, "%s %s %s\n", kind_name[g->value[v].kind],
                    reel__value_text(g, v, text, sizeof text), shape(g, v));
    for (int i = 0; i < g->n_node; i++) put_node(to, g, &g->node[i]);
    for (int i = 0; i < g->n_output; i++)
        fprintf(to, "output %s = %s\n", g->output_name[i],
                reel__value_text(g, g->output[i], text, sizeof text));
}

char *reel_graph_to_string(const reel_graph *g)
{
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

/* Parameters and constants would crowd the picture: only inputs and nodes are drawn. */
reel_status reel_graph_write_dot(const reel_graph *g, FILE *to)
{
    if (!g || !to)
        return reel_fail(REEL_ERR_ARG, "graph_write_dot: %s is NULL",
                         g ? "to" : "the graph");
    fprintf(to,
            "digraph reel {\n  node [shape=box, fontname=\"sans-serif\", fontsize=10];\n"
            "  edge [fontname=\"sans-serif\", fontsize=8];\n");
    for (int i = 0; i < g->n_input; i++)
        fprintf(to, "  v%d [label=\"%s\\n%s\", shape=ellipse];\n", g->input[i],
                g->value[g->input[i]].name, shape(g, g->input[i]));
    for (int i = 0; i < g->n_node; i++) {
        const reel_gnode *n = &g->node[i];
        fprintf(to, "  n%d [label=\"%s%s%s\"];\n", i, n->op->name, n->where ? "\\n" : "",
                n->where ? n->where : "");
        for (int k = 0; k < n->n_in; k++) {
            const reel_value *v = n->in[k] >= 0 ? &g->value[n->in[k]] : NULL;
            if (v && v->maker >= 0)
                fprintf(to, "  n%d -> n%d [label=\"%s\"];\n", v->maker, i,
                        shape(g, n->in[k]));
            else if (v && v->kind == REEL_VALUE_INPUT)
                fprintf(to, "  v%d -> n%d;\n", n->in[k], i);
        }
    }
    for (int i = 0; i < g->n_output; i++) {
        const reel_value *v = &g->value[g->output[i]];
        fprintf(to, "  o%d [label=\"%s\\n%s\", shape=ellipse];\n", i, g->output_name[i],
                shape(g, g->output[i]));
        if (v->maker >= 0) fprintf(to, "  n%d -> o%d;\n", v->maker, i);
    }
    fprintf(to, "}\n");
    return ferror(to) ? reel_fail(REEL_ERR_IO, "graph_write_dot: cannot write") : REEL_OK;
}
