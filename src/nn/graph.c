/* graph.c: a graph as a module. "layer1.0.weight" becomes parameter "weight" of a module "0"
 * of a module "layer1": they have no forward of their own, only the root runs. */
#include <reel/trace.h>
#include <string.h>

#include "base/error.h"
#include "nn/module.h"
#include "nn/text.h"

typedef struct graph_module {
    reel_module m;
    reel_graph *graph;
} graph_module;

static reel_tensor *forward(reel_module *self, reel_tensor *x)
{
    reel_tensor *y = NULL;
    graph_module *gm = (graph_module *)self;
    return reel_graph_run(gm->graph, &x, 1, &y, 1) ? NULL : y;
}

static reel_status forward_n(reel_module *self, reel_tensor *const x[], int n_x,
                             reel_tensor *y[], int n_y)
{
    return reel_graph_run(((graph_module *)self)->graph, x, n_x, y, n_y);
}

static void destroy(reel_module *self)
{
    reel_graph_free(((graph_module *)self)->graph);
}

reel_module *reel__module_folder(reel_module *m, const char *path, size_t n)
{
    while (m && n > 0) {
        reel__text name = {0};
        const char *dot = memchr(path, '.', n);
        size_t len = dot ? (size_t)(dot - path) : n;
        if (!reel__text_add(&name, "%.*s", (int)len, path)) return NULL;
        reel_module *child = reel_module_at(m, name.s);
        if (!child)
            child = reel_module_add(
                m, name.s, reel_module_new(sizeof *child, "part of a graph", NULL));
        reel__text_free(&name);
        path += len + (dot != NULL);
        n -= len + (dot != NULL);
        m = child;
    }
    return m;
}

static reel_status add(void *user, const char *name, reel_tensor *t, reel_state_kind kind)
{
    if (kind == REEL_STATE_CONST) return REEL_OK; /* stays within the graph */
    const char *dot = strrchr(name, '.');
    reel_module *m = reel__module_folder(user, name, dot ? (size_t)(dot - name) : 0);
    const char *last = dot ? dot + 1 : name;
    if (m && kind == REEL_STATE_PARAM)
        reel_module_param(m, last, t);
    else if (m)
        reel_module_buffer(m, last, t);
    return reel_error_status();
}

reel_status reel__module_hold_graph(reel_module *m, const reel_graph *g)
{
    reel_status st = reel_graph_each_state(g, add, m);
    m->tree->fixed = true;
    return st;
}

reel_module *reel_graph_module(const reel_graph *g)
{
    REEL__CALLED;
    if (!g || reel_graph_outputs(g) < 1) {
        reel_fail(REEL_ERR_ARG, "graph_module: %s",
                  g ? "the graph has no outputs" : "the graph is NULL");
        return NULL;
    }
    bool one = reel_graph_inputs(g) == 1 && reel_graph_outputs(g) == 1;
    graph_module *gm = reel_module_new(sizeof *gm, "graph", one ? forward : NULL);
    if (!gm) return NULL;
    gm->m.forward_n = forward_n;
    gm->m.destroy = destroy;
    gm->graph = reel_graph_copy(g);
    if (gm->graph) (void)reel__module_hold_graph(&gm->m, gm->graph);
    return reel_module_done(&gm->m);
}
