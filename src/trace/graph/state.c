/* state.c: the tensors that a graph holds: by name, and in which order of memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/graph/graph.h"

reel_status reel_graph_each_state(const reel_graph *g, reel_state_visit visit, void *user)
{
    REEL__CALLED;
    if (!g || !visit)
        return reel_fail(REEL_ERR_ARG, "graph_each_state: %s is NULL",
                         g ? "visit" : "the graph");
    REEL__CALLS_BACK;
    reel_status st = REEL_OK;
    for (int v = 0; v < g->n_value && !st; v++) {
        const reel__value *x = &g->value[v];
        if (reel__is_state(x))
            st = visit(user, x->name, x->tensor,
                       (reel_state_kind)(x->kind - REEL_VALUE_PARAM));
    }
    return st;
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct named {
    const char *name;
    int value;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->value - y->value;
}

/* All names in order; how many, or -1 with an error. */
static int sorted_names(const reel_graph *g, named **out)
{
    int n = 0;
    *out = reel__calloc((size_t)g->n_value + 1, sizeof **out);
    if (!*out) return -1;
    for (int v = 0; v < g->n_value; v++)
        if (g->value[v].name) (*out)[n++] = (named){g->value[v].name, v};
    qsort(*out, (size_t)n, sizeof **out, by_name);
    return n;
}

static bool is_taken(const named *names, int n, const char *name)
{
    int low = 0, high = n;
    while (low < high) {
        int mid = low + (high - low) / 2;
        if (strcmp(names[mid].name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && strcmp(names[low].name, name) == 0;
}

/* "base.N" with the first N from *next on that nobody has. */
static char *fresh(const named *names, int n, const char *base, int *next)
{
    size_t size = strlen(base) + 16;
    char *name = reel__malloc(size);
    do {
        if (name) (void)snprintf(name, size, "%s.%d", base, (*next)++);
    } while (name && is_taken(names, n, name));
    return name;
}

/* The second and later of one name get a number, the first keeps it. Names that are replaced
 * stay alive in `old` until the end, because the sorted list reads them. */
static reel_status rename_doubles(reel_graph *g, const named *names, int n, char **old)
{
    int next = 2;
    for (int i = 1; i < n; i++) {
        if (strcmp(names[i].name, names[i - 1].name) != 0) {
            next = 2;
            continue;
        }
        char *name = fresh(names, n, names[i].name, &next);
        if (!name) return reel_error_status();
        old[i] = g->value[names[i].value].name;
        g->value[names[i].value].name = name;
    }
    return REEL_OK;
}

static reel_status name_constants(reel_graph *g, const named *names, int n)
{
    int next = 0;
    for (int v = 0; v < g->n_value; v++) {
        if (g->value[v].name || !reel__is_state(&g->value[v])) continue;
        if (!(g->value[v].name = fresh(names, n, "const", &next)))
            return reel_error_status();
    }
    return REEL_OK;
}

/* ---- shared memory ----------------------------------------------------------------------------- */

static int by_memory(const void *a, const void *b)
{
    const reel__value *x = *(const reel__value *const *)a,
                      *y = *(const reel__value *const *)b;
    uintptr_t p = (uintptr_t)x->tensor->storage, q = (uintptr_t)y->tensor->storage;
    if (p != q) return p < q ? -1 : 1;
    return (x->tensor->meta.offset > y->tensor->meta.offset) -
           (x->tensor->meta.offset < y->tensor->meta.offset);
}

/* One past the last element of the storage that x may touch. */
static int64_t end_of(const reel__value *x)
{
    const reel__meta *m = &x->tensor->meta;
    int64_t end = m->offset + (reel__numel(m) > 0);
    for (int d = 0; d < m->rank; d++)
        if (m->dim[d] > 1) end += (m->dim[d] - 1) * m->stride[d];
    return end;
}

/* Two names for one piece of memory would be two pieces in a file: that is only right for what
 * nobody changes. */
static reel_status check_apart(const reel_graph *g, const reel__value **list,
                               const reel__effects *e)
{
    int n = 0;
    for (int v = 0; v < g->n_value; v++)
        if (reel__is_state(&g->value[v])) list[n++] = &g->value[v];
    qsort(list, (size_t)n, sizeof *list, by_memory);
    for (int i = 1; i < n; i++) {
        const reel__value *a = list[i - 1], *b = list[i];
        if (a->tensor->storage != b->tensor->storage ||
            end_of(a) <= b->tensor->meta.offset)
            continue;
        bool fixed = a->kind == REEL_VALUE_CONST && b->kind == REEL_VALUE_CONST &&
                     reel__never_changes(e, (int)(a - g->value));
        if (!fixed)
            return reel_fail(
                REEL_ERR_UNSUPPORTED,
                "graph_name_state: %s %s and %s %s share memory, which names "
                "cannot say",
                SHOW(&a->meta), a->name ? a->name : "(constant)", SHOW(&b->meta),
                b->name ? b->name : "(constant)");
    }
    return REEL_OK;
}

static reel_status check_memory(const reel_graph *g)
{
    reel__effects e;
    if (!reel__find_effects(g, &e)) return reel_error_status();
    const reel__value **list = reel__calloc((size_t)g->n_value + 1, sizeof *list);
    reel_status st = list ? check_apart(g, list, &e) : reel_error_status();
    reel__free(list);
    reel__effects_free(&e);
    return st;
}

reel_status reel_graph_name_state(reel_graph *g)
{
    REEL__CALLED;
    named *names = NULL;
    if (!g) return reel_fail(REEL_ERR_ARG, "graph_name_state: the graph is NULL");
    if (reel_failed() || check_memory(g)) return reel_error_status();
    int n = sorted_names(g, &names);
    char **old = n < 0 ? NULL : reel__calloc((size_t)n + 1, sizeof *old);
    reel_status st = old ? rename_doubles(g, names, n, old) : reel_error_status();
    if (!st) st = name_constants(g, names, n);
    for (int i = 0; old && i < n; i++) reel__free(old[i]);
    reel__free(old);
    reel__free(names);
    return st;
}

/* ---- order in memory --------------------------------------------------------------------------- */

static bool same_strides(const reel__meta *a, const reel__meta *b)
{
    for (int d = 0; d < a->rank; d++)
        if (a->dim[d] > 1 && a->stride[d] != b->stride[d]) return false;
    return true;
}

/* Dimensions of stride 0 hold one element, which is copied once and expanded again. */
reel_tensor *reel__in_order(reel_tensor *x, const reel__meta *m)
{
    if (same_strides(&x->meta, m)) return x;
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel__meta order = *m, once = x->meta;
    reel_tensor *from = x;
    for (int d = 0; d < m->rank; d++)
        if (m->stride[d] == 0 && m->dim[d] > 1) {
            once.dim[d] = order.dim[d] = order.stride[d] = 1;
            from = reel_slice(from, d, 0, 1, 1);
        }
    once.offset = 0;
    reel__set_strides_like(&once, &order);
    reel_tensor *y = from ? reel__autorelease(reel__tensor_new(&once, NULL)) : NULL;
    if (y) y = reel_copy_(y, from);
    if (y && !reel__same_shape(&once, m)) y = reel_expand(y, reel__shape(m));
    (void)reel_set_grad_enabled(was);
    return reel_scope_return(s, y);
}
