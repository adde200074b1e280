/* check.c: is the graph of a model one that can be run from front to back? */
#include "onnx/file.h"

#include "onnx/fail.h"

/* `made` values exist before the node: an input of it must be one of them. A cycle has a node
 * that comes before what it needs, whatever the order is. */
static reel_status check_inputs(const reel__onnx_graph *g, size_t node, size_t made,
                                const reel__onnx_names *names, const char *file)
{
    const reel__onnx_node *n = g->node.at[node];
    for (size_t i = 0; i < n->input.n; i++) {
        if (!*n->input.at[i]) continue;
        int64_t number = reel__onnx_names_find(names, n->input.at[i]);
        if (number >= 0 && (size_t)number < made) continue;
        return reel__onnx_fail(
            REEL_ERR_FORMAT, file, n->offset, "graph.node[%zu].input[%zu]: \"%.200s\" %s",
            node, i, n->input.at[i],
            number < 0 ? "is made by no input, initializer or node"
                       : "is made later, must be made before: the nodes are "
                         "not in topological order, or form a cycle");
    }
    return REEL_OK;
}

static reel_status check_nodes(const reel__onnx_graph *g, const reel__onnx_names *names,
                               const char *file)
{
    size_t made = g->input.n + g->initializer.n;
    for (size_t i = 0; i < g->node.n; i++) {
        reel_status status = check_inputs(g, i, made, names, file);
        if (status != REEL_OK) return status;
        made += g->node.at[i]->output.n;
    }
    return REEL_OK;
}

static reel_status check_outputs(const reel__onnx_graph *g, const reel__onnx_names *names,
                                 const char *file)
{
    for (size_t i = 0; i < g->output.n; i++)
        if (reel__onnx_names_find(names, g->output.at[i]->name) < 0)
            return reel__onnx_fail(REEL_ERR_FORMAT, file, g->output.at[i]->offset,
                                   "graph.output[%zu]: \"%.200s\" is made by no "
                                   "input, initializer or node",
                                   i, g->output.at[i]->name);
    return REEL_OK;
}

reel_status reel__onnx_check(const reel__onnx_model *m, const char *file)
{
    reel__onnx_names *names = reel__onnx_names_new(m, file);
    if (!names) return reel_error_status();
    reel_status status = check_nodes(&m->graph, names, file);
    if (status == REEL_OK) status = check_outputs(&m->graph, names, file);
    reel__onnx_names_free(names);
    return status;
}
