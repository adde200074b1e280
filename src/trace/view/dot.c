/* dot.c: graphs in Graphviz's language. */
#include <stdio.h>

#include "trace/graph.h"

/* Shape of value v as text, in the caller's block. */
#define shape(g, v) reel__value_shape_text((g), (v), (char[REEL__SHAPE_TEXT]){0})

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
