/* dot.c: graphs in Graphviz's language. */
#include <stdio.h>

#include "base/error.h"
#include "trace/graph/graph.h"

/* Shape of value v as text, in the caller's block. */
#define shape(g, v) reel__value_shape_text((g), (v), (char[REEL__SHAPE_TEXT]){0})

static void put_inputs(FILE *to, const reel_graph *g)
{
    for (int i = 0; i < g->n_input; i++)
        fprintf(to, "  v%d [label=\"%s\\n%s\", shape=ellipse];\n", g->input[i],
                g->value[g->input[i]].name, shape(g, g->input[i]));
}

static void put_node(FILE *to, const reel_graph *g, int i)
{
    const reel__gnode *n = &g->node[i];
    fprintf(to, "  n%d [label=\"%s%s%s\"];\n", i, n->op->name, n->where ? "\\n" : "",
            n->where ? n->where : "");
    for (int k = 0; k < n->n_in; k++) {
        const reel__value *v = n->in[k] >= 0 ? &g->value[n->in[k]] : NULL;
        if (v && v->maker >= 0)
            fprintf(to, "  n%d -> n%d [label=\"%s\"];\n", v->maker, i,
                    shape(g, n->in[k]));
        else if (v && v->kind == REEL_VALUE_INPUT)
            fprintf(to, "  v%d -> n%d;\n", n->in[k], i);
    }
}

static void put_outputs(FILE *to, const reel_graph *g)
{
    for (int i = 0; i < g->n_output; i++) {
        const reel__value *v = &g->value[g->output[i]];
        fprintf(to, "  o%d [label=\"%s\\n%s\", shape=ellipse];\n", i, g->output_name[i],
                shape(g, g->output[i]));
        if (v->maker >= 0) fprintf(to, "  n%d -> o%d;\n", v->maker, i);
    }
}

/* Parameters and constants would crowd the picture: only inputs and nodes are drawn. */
reel_status reel_graph_write_dot(const reel_graph *g, FILE *to)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!g || !to)
        return reel_fail(REEL_ERR_ARG, "graph_write_dot: %s is NULL",
                         g ? "to" : "the graph");
    reel_graph *r = reel__graph_as_run(g);
    if (!r) return reel_error_status();
    fprintf(to,
            "digraph reel {\n  node [shape=box, fontname=\"sans-serif\", fontsize=10];\n"
            "  edge [fontname=\"sans-serif\", fontsize=8];\n");
    put_inputs(to, r);
    for (int i = 0; i < r->n_node; i++) put_node(to, r, i);
    put_outputs(to, r);
    fprintf(to, "}\n");
    reel_graph_free(r);
    return ferror(to) ? reel_fail(REEL_ERR_IO, "graph_write_dot: cannot write") : REEL_OK;
}
