/* graph.c: making and freeing graphs. */
#include "trace/graph/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/shares.h"

bool reel__grow(void **list, int n, int *capacity, size_t size)
{
    if (n < *capacity) return true;
    int more = *capacity ? 2 * *capacity : 32;
    void *p = reel__realloc(*list, (size_t)more * size);
    if (!p) return false;
    *list = p;
    *capacity = more;
    return true;
}

reel_graph *reel__graph_new(void)
{
    reel_graph *g = reel__calloc(1, sizeof *g);
    if (g) reel__live_add(1);
    return g;
}

int reel__graph_add_value(reel_graph *g, reel__value_kind kind, const reel__meta *meta,
                          const char *name, reel_tensor *tensor)
{
    void *list = g->value;
    if (!reel__grow(&list, g->n_value, &g->cap_value, sizeof *g->value)) return -1;
    g->value = list;
    char *copy = name ? reel__strdup(name) : NULL;
    if (name && !copy) return -1;
    g->value[g->n_value] = (reel__value){.kind = kind,
                                         .meta = *meta,
                                         .name = copy,
                                         .tensor = reel__hold(tensor),
                                         .maker = -1};
    return g->n_value++;
}

/* One block holds the numbers, then the attributes. */
static bool fill_node(reel__gnode *n, const reel__call *c, const int *in, const int *out)
{
    size_t attr_size = c->attrs && c->op->attrs ? c->op->attrs->size : 0;
    size_t n_numbers = (size_t)(c->n_in + c->n_out);
    size_t numbers = (n_numbers * sizeof(int) + 15) & ~(size_t)15;
    if (attr_size > REEL_ATTRS_MAX) {
        reel__bad(c, REEL_ERR_INTERNAL, "attributes of %zu bytes", attr_size);
        return false;
    }
    char *block = reel__malloc(numbers + attr_size);
    if (!block) return false;
    n->in = (int *)(void *)block;
    n->out = n->in + c->n_in;
    if (c->n_in) memcpy(n->in, in, (size_t)c->n_in * sizeof *in);
    if (c->n_out) memcpy(n->out, out, (size_t)c->n_out * sizeof *out);
    n->attrs = attr_size ? memcpy(block + numbers, c->attrs, attr_size) : NULL;
    return true;
}

void reel__gnode_free(reel__gnode *n)
{
    reel__op_release(n->op);
    reel__free(n->in); /* one block: numbers and attributes */
    reel__free(n->per_batch);
    reel__free(n->where);
}

int reel__graph_add_node(reel_graph *g, const reel__call *c, const int *in,
                         const int *out, const char *where)
{
    void *list = g->node;
    if (!reel__grow(&list, g->n_node, &g->cap_node, sizeof *g->node)) return -1;
    g->node = list;
    reel__gnode n = {.op = c->op,
                     .n_in = c->n_in,
                     .n_out = c->n_out,
                     .place = (g->n_node + 1) * REEL__PLACE_GAP};
    if (where && *where && !(n.where = reel__strdup(where))) return -1;
    if (!fill_node(&n, c, in, out)) {
        reel__free(n.where);
        return -1;
    }
    for (int i = 0; i < n.n_out; i++)
        if (n.out[i] >= 0 && g->value[n.out[i]].kind == REEL_VALUE_NODE &&
            g->value[n.out[i]].maker < 0)
            g->value[n.out[i]].maker = g->n_node;
    (void)reel__op_retain(n.op);
    g->node[g->n_node] = n;
    return g->n_node++;
}

reel_status reel__graph_add_input(reel_graph *g, int v)
{
    void *list = g->input;
    if (!reel__grow(&list, g->n_input, &g->cap_input, sizeof *g->input))
        return reel_error_status();
    g->input = list;
    g->input[g->n_input++] = v;
    return REEL_OK;
}

reel_status reel__graph_add_output(reel_graph *g, int v, const char *name)
{
    size_t n = (size_t)g->n_output + 1;
    int *list = reel__realloc(g->output, n * sizeof *list);
    if (list) g->output = list;
    char **names = list ? reel__realloc(g->output_name, n * sizeof *names) : NULL;
    if (names) g->output_name = names;
    char *copy = names ? reel__strdup(name) : NULL;
    if (!copy) return reel_error_status();
    g->output[g->n_output] = v;
    g->output_name[g->n_output++] = copy;
    return REEL_OK;
}

void reel_graph_free(reel_graph *g)
{
    if (!g) return;
    for (int i = 0; i < g->n_value; i++) {
        reel__free(g->value[i].name);
        reel__let_go(g->value[i].tensor);
    }
    for (int i = 0; i < g->n_node; i++) reel__gnode_free(&g->node[i]);
    for (int i = 0; i < g->n_output; i++) reel__free(g->output_name[i]);
    reel__free(g->value);
    reel__free(g->node);
    reel__free(g->input);
    reel__free(g->output);
    reel__free(g->output_name);
    reel__free(g->reads);
    reel__decided_release(g->decided);
    reel__free(g->edge);
    reel__free(g);
    reel__live_add(-1);
}

int reel_graph_nodes(const reel_graph *g)
{
    return g ? g->n_node : 0;
}

int64_t reel_graph_batch(const reel_graph *g)
{
    return g ? g->batch : 0;
}

int reel_graph_inputs(const reel_graph *g)
{
    return g ? g->n_input : 0;
}

int reel_graph_outputs(const reel_graph *g)
{
    return g ? g->n_output : 0;
}

const char *reel_graph_input_name(const reel_graph *g, int i)
{
    return g && i >= 0 && i < g->n_input ? g->value[g->input[i]].name : NULL;
}

const char *reel_graph_output_name(const reel_graph *g, int i)
{
    return g && i >= 0 && i < g->n_output ? g->output_name[i] : NULL;
}

reel_shape reel_graph_input_shape(const reel_graph *g, int i, reel_dtype *dtype)
{
    if (!g || i < 0 || i >= g->n_input) return (reel_shape){.rank = -1};
    if (dtype) *dtype = g->value[g->input[i]].meta.dtype;
    return reel__shape(&g->value[g->input[i]].meta);
}

const char *reel_graph_node_op(const reel_graph *g, int i)
{
    return g && i >= 0 && i < g->n_node ? g->node[i].op->name : NULL;
}

const char *reel_graph_node_where(const reel_graph *g, int i)
{
    if (!g || i < 0 || i >= g->n_node) return NULL;
    return g->node[i].where ? g->node[i].where : "";
}

const char *reel_graph_reads(const reel_graph *g)
{
    return g && g->reads ? g->reads : "";
}

const char *reel__value_text(const reel_graph *g, int v, char *buf, size_t size)
{
    if (v < 0)
        (void)snprintf(buf, size, "-");
    else if (g->value[v].name)
        (void)snprintf(buf, size, "%s", g->value[v].name);
    else
        (void)snprintf(buf, size, "%%%d", v);
    return buf;
}

/* A size that depends on the batch as text: "batch", "4*batch", "batch+1". */
static int put_size(char *to, size_t size, int64_t dim, int64_t grow, int64_t batch)
{
    int64_t rest = dim - grow * batch;
    int n = 0;
    if (!grow) return snprintf(to, size, "%" PRId64, dim);
    if (grow != 1) n = snprintf(to, size, "%" PRId64 "*", grow);
    n += snprintf(to + n, size - (size_t)n, "batch");
    if (rest) n += snprintf(to + n, size - (size_t)n, "%+" PRId64, rest);
    return n;
}

const char *reel__value_shape_text(const reel_graph *g, int v, char *buf)
{
    const reel__meta *m = &g->value[v].meta;
    size_t at = (size_t)snprintf(buf, REEL__SHAPE_TEXT, "%s[", reel_dtype_name(m->dtype));
    for (int d = 0; d < m->rank && at < REEL__SHAPE_TEXT - 64; d++) {
        if (d) buf[at++] = ',';
        at += (size_t)put_size(buf + at, REEL__SHAPE_TEXT - at, m->dim[d],
                               g->batch ? g->value[v].grow[d] : 0, g->batch);
    }
    (void)snprintf(buf + at, REEL__SHAPE_TEXT - at, "]");
    return buf;
}
