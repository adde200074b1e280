/* fakes.c: the quantizers of a graph of which nothing is known but its fake_quantize nodes; and
 * graphs of integers as such. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ops/records.h"
#include "quantize/quantize.h"
#include "trace/passes/pass.h"

/* ---- a node ------------------------------------------------------------------------------------ */

static reel_quantize_grid grid_of(const reel__gnode *n)
{
    const reel__scalar_attrs *a = n->attrs;
    const double low = reel__number_f64(a->a[0]), high = reel__number_f64(a->a[1]);
    return (reel_quantize_grid){.low = low > -1e6 ? (int)low : -1000000,
                                .high = high < 1e6 ? (int)high : 1000000};
}

static bool bytes_hold(reel_quantize_grid g)
{
    return g.low < g.high && (g.low < 0 ? g.low >= -128 && g.high <= 127 : g.high <= 255);
}

/* "layer1.0.conv1.weight" of a weight, by the state that it is made of; else as prepare names
 * it. */
static void name_of(const reel_graph *g, const reel__gnode *n, bool weight, char *name)
{
    const reel__value *x = &g->value[n->in[0]];
    while (weight && x->maker >= 0 && g->node[x->maker].n_in > 0)
        x = &g->value[g->node[x->maker].in[0]];
    if (x->maker >= 0)
        reel__node_name(&g->node[x->maker], name);
    else
        (void)snprintf(name, REEL__QUANTIZE_NAME, "%s", x->name ? x->name : "constant");
}

static reel_status check(const reel_graph *g, const reel__gnode *n,
                         const reel__quantizer *z)
{
    double smallest = 0;
    char name[REEL__QUANTIZE_NAME];
    name_of(g, n, z->weight, name);
    if (!z->scale || !z->zero_point)
        return reel_fail(REEL_ERR_UNSUPPORTED,
                         "quantize_convert_graph: %s has a scale or a zero point that is "
                         "computed from inputs; convert can write those that stay",
                         name);
    if (!bytes_hold(z->grid))
        return reel_fail(REEL_ERR_UNSUPPORTED,
                         "quantize_convert_graph: %s has a grid of %d .. %d; bytes hold "
                         "-128 .. 127 or 0 .. 255",
                         name, z->grid.low, z->grid.high);
    if (reel__peek_smallest(z->scale, &smallest)) return reel_error_status();
    if (smallest > 0 && isfinite(smallest)) return REEL_OK;
    return reel_fail(REEL_ERR_STATE,
                     "quantize_convert_graph: %s has a scale of %g; scales are above 0",
                     name, smallest);
}

/* ---- all of them ------------------------------------------------------------------------------- */

static bool same_number(reel_tensor *a, reel_tensor *b)
{
    double x = 0, y = 1;
    if (a == b) return true;
    return reel_numel(a) == 1 && reel_numel(b) == 1 && !reel__peek(a, &x) &&
           !reel__peek(b, &y) && x == y;
}

/* Values with one scale, one zero point and one grid are one quantizer's: each weight is one of
 * its own. */
static int known(const reel__faked *f, const reel__quantizer *z)
{
    for (int i = 0; i < f->n_quantizer && !z->weight; i++) {
        const reel__quantizer *o = &f->quantizer[i];
        if (!o->weight && o->scale == z->scale && o->grid.low == z->grid.low &&
            o->grid.high == z->grid.high && same_number(o->zero_point, z->zero_point))
            return i;
    }
    return -1;
}

static reel_status add(reel__faked *f, int node, reel_tensor *const *fixed)
{
    const reel__gnode *n = &f->graph->node[node];
    char name[REEL__QUANTIZE_NAME];
    reel__quantizer z = {.scale = fixed[n->in[1]],
                         .zero_point = fixed[n->in[2]],
                         .grid = grid_of(n),
                         .axis = -1,
                         .weight = fixed[n->in[0]] != NULL};
    if (check(f->graph, n, &z)) return reel_error_status();
    f->of_node[node] = known(f, &z);
    if (f->of_node[node] >= 0 || reel_failed()) return reel_error_status();
    name_of(f->graph, n, z.weight, name);
    z.name = reel__strdup(name);
    f->of_node[node] = f->n_quantizer;
    f->quantizer[f->n_quantizer++] = z;
    return z.name ? REEL_OK : reel_error_status();
}

reel_status reel__find_fakes(reel__faked *f)
{
    const size_t n = (size_t)f->graph->n_node + 1;
    f->of_node = reel__malloc(n * sizeof *f->of_node);
    f->quantizer = f->of_node ? reel__calloc(n, sizeof *f->quantizer) : NULL;
    reel_tensor **fixed = f->quantizer ? reel__fixed_values(f->graph) : NULL;
    for (int i = 0; fixed && i < f->graph->n_node && !reel_failed(); i++) {
        f->of_node[i] = -1;
        if (f->graph->node[i].op == &reel__fake_quantize) (void)add(f, i, fixed);
    }
    reel__free(fixed);
    return reel_error_status();
}

void reel__fakes_free(reel__faked *f)
{
    for (int i = 0; i < f->n_quantizer; i++) reel__free(f->quantizer[i].name);
    reel__free(f->quantizer);
    reel__free(f->of_node);
}

/* ---- integers as such -------------------------------------------------------------------------- */

reel_graph *reel_quantize_fake(const reel_graph *g)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (!g) {
        reel_fail(REEL_ERR_ARG, "quantize_fake: the graph is NULL");
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_graph *f = reel__own_copy(g);
    if (f && reel__graph_fake(f)) {
        reel_graph_free(f);
        f = NULL;
    }
    reel_scope_end(s);
    return f;
}
