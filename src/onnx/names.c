/* names.c: what a graph makes, by name. Sorted and not hashed: no file can be made to which
 * it takes quadratic time, and nothing random is needed for that. */
#include "onnx/file.h"

#include "base/alloc.h"
#include "onnx/fail.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const char *name;
    int64_t number;
} entry;

struct reel__onnx_names {
    size_t n;
    entry at[]; /* by name, then by number */
};

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

static void add(reel__onnx_names *names, const char *name, int64_t number)
{
    if (*name) names->at[names->n++] = (entry){name, number};
}

static void collect(reel__onnx_names *names, const reel__onnx_graph *g)
{
    int64_t number = 0;
    for (size_t i = 0; i < g->input.n; i++) add(names, g->input.at[i]->name, number++);
    for (size_t i = 0; i < g->initializer.n; i++)
        add(names, g->initializer.at[i]->name, number++);
    for (size_t i = 0; i < g->node.n; i++)
        for (size_t j = 0; j < g->node.at[i]->output.n; j++)
            add(names, g->node.at[i]->output.at[j], number++);
}

size_t reel__onnx_made(const reel__onnx_graph *g)
{
    size_t n = g->input.n + g->initializer.n;
    for (size_t i = 0; i < g->node.n; i++) n += g->node.at[i]->output.n;
    return n;
}

/* Who makes a value, for messages. */
typedef struct maker {
    const char *kind;
    size_t index;
    uint64_t offset;
} maker;

static maker maker_of(const reel__onnx_graph *g, int64_t number)
{
    size_t i = (size_t)number;
    if (i < g->input.n) return (maker){"input", i, g->input.at[i]->offset};
    i -= g->input.n;
    if (i < g->initializer.n)
        return (maker){"initializer", i, g->initializer.at[i]->offset};
    i -= g->initializer.n;
    size_t node = 0;
    while (i >= g->node.at[node]->output.n) i -= g->node.at[node++]->output.n;
    return (maker){"node", node, g->node.at[node]->offset};
}

/* Two of one name may only be an input and its default. */
static reel_status check_twice(const reel__onnx_names *names, const reel__onnx_graph *g,
                               const char *file)
{
    for (size_t i = 1; i < names->n; i++) {
        const entry *a = &names->at[i - 1], *b = &names->at[i];
        if (strcmp(a->name, b->name) != 0) continue;
        size_t x = (size_t)a->number, y = (size_t)b->number, in = g->input.n;
        if (x < in && y >= in && y < in + g->initializer.n) continue;
        maker first = maker_of(g, a->number), second = maker_of(g, b->number);
        return reel_fail(
            REEL_ERR_FORMAT,
            "%s: byte %ju: graph.%s[%zu]: makes \"%.200s\", as graph.%s[%zu] "
            "does, must be made once",
            file, (uintmax_t)second.offset, second.kind, second.index, b->name,
            first.kind, first.index);
    }
    return REEL_OK;
}

reel__onnx_names *reel__onnx_names_new(const reel__onnx_model *m, const char *file)
{
    size_t n = reel__onnx_made(&m->graph);
    reel__onnx_names *names = reel__malloc(sizeof *names + n * sizeof *names->at);
    if (!names) return NULL;
    names->n = 0;
    collect(names, &m->graph);
    qsort(names->at, names->n, sizeof *names->at, by_name);
    if (check_twice(names, &m->graph, file) == REEL_OK) return names;
    reel__free(names);
    return NULL;
}

void reel__onnx_names_free(reel__onnx_names *names)
{
    reel__free(names);
}

int64_t reel__onnx_names_find(const reel__onnx_names *names, const char *name)
{
    size_t from = 0, to = names->n; /* the first that is not below `name` */
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(names->at[middle].name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == names->n || strcmp(names->at[from].name, name) != 0) return -1;
    return names->at[from].number;
}
