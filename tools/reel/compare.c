/* compare.c: `reel compare`: two graphs on the same numbers, output by output and layer by
 * layer. Passes fuse a layer with what follows it, so the last value of a module in the second
 * graph is held against the values of that module in the first and of the few nodes behind it:
 * what is nearest counts. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BEHIND = 8 }; /* nodes that may be fused into a layer */

/* A value of the first graph. */
typedef struct step {
    const char *where;
    reel_tensor *value; /* kept */
} step;

/* A module of the second graph, and how far its last value is from the first graph's. */
typedef struct layer {
    const char *where;
    double off, scale;
    bool compared; /* there is a value of its shape */
} layer;

typedef struct layers {
    step *step;
    layer *layer;
    int n_steps, n_layers;
} layers;

static reel_status layers_new(layers *l, const reel_graph *a, const reel_graph *b)
{
    l->step = calloc((size_t)reel_graph_nodes(a) + 1, sizeof *l->step);
    l->layer = calloc((size_t)reel_graph_nodes(b) + 1, sizeof *l->layer);
    if (l->step && l->layer) return REEL_OK;
    return reel_fail(REEL_ERR_MEMORY, "no memory for the layers");
}

static void layers_free(layers *l)
{
    for (int i = 0; i < l->n_steps; i++) reel_release(l->step[i].value);
    free(l->step);
    free(l->layer);
}

/* ---- differences ----------------------------------------------------------------------------- */

static bool same_shape(reel_tensor *a, reel_tensor *b)
{
    reel_shape s = reel_shape_of(a), t = reel_shape_of(b);
    return s.rank == t.rank && memcmp(s.dim, t.dim, (size_t)s.rank * sizeof *s.dim) == 0;
}

/* Largest difference, and largest magnitude of `a`; NaN if one of them has a NaN. Equal
 * infinities do not differ. */
static double distance(reel_tensor *a, reel_tensor *b, double *scale)
{
    reel_scope s = reel_scope_begin();
    double off = 0;
    *scale = 0;
    if (reel_numel(a)) {
        reel_tensor *x = reel_cast(a, REEL_F64), *y = reel_cast(b, REEL_F64);
        reel_tensor *d = reel_masked_fill(reel_abs(reel_sub(x, y)), reel_eq(x, y), 0);
        *scale = reel_item(reel_max(reel_abs(x), REEL_ALL, false));
        off = reel_item(reel_max(d, REEL_ALL, false));
    }
    reel_scope_end(s);
    return off;
}

/* ---- the two runs ---------------------------------------------------------------------------- */

static void remember(void *user, int node, const char *op, const char *where,
                     reel_tensor *value)
{
    layers *l = user;
    reel_scope s = reel_scope_begin();
    (void)node, (void)op;
    reel_tensor *copy = reel_keep(reel_copy(value)); /* it may change in place */
    l->step[l->n_steps++] = (step){where, copy};
    reel_scope_end(s);
}

/* The layer of that module, made if there is none: the latest are looked at first, since the
 * nodes of a module stand together. */
static layer *layer_of(layers *l, const char *where)
{
    for (int i = l->n_layers - 1; i >= 0; i--)
        if (strcmp(l->layer[i].where, where) == 0) return &l->layer[i];
    l->layer[l->n_layers] = (layer){.where = where};
    return &l->layer[l->n_layers++];
}

static void check(void *user, int node, const char *op, const char *where,
                  reel_tensor *value)
{
    layers *l = user;
    int first = 0, last = l->n_steps - 1;
    (void)node, (void)op;
    if (!*where) return;
    while (first <= last && strcmp(l->step[first].where, where) != 0) first++;
    while (last > first && strcmp(l->step[last].where, where) != 0) last--;
    layer *a = layer_of(l, where);
    a->compared = false;
    for (int i = first; i < l->n_steps && i <= last + BEHIND; i++) {
        double scale, off;
        if (!same_shape(l->step[i].value, value)) continue;
        off = distance(l->step[i].value, value, &scale);
        if (a->compared && !(off < a->off)) continue;
        *a = (layer){where, off, scale, true};
    }
}

/* ---- results --------------------------------------------------------------------------------- */

typedef struct comparison {
    reel_graph *a, *b;
    values x, y, z; /* inputs, outputs of a and b */
    layers layers;
    double tolerance;
    bool as_json, same;
} comparison;

static void row(json *j, const char *kind, const char *name, double off, double scale)
{
    if (j) {
        json_open(j, NULL, '{');
        json_text(j, "name", name);
        json_number(j, "error", off);
        json_number(j, "scale", scale);
        json_close(j, '}');
    } else {
        printf("%-7s %-40s %10.3g %10.3g\n", kind, name, off,
               scale > 0 ? off / scale : off);
    }
}

static void show_layers(const layers *l, json *j)
{
    if (j) json_open(j, "layers", '[');
    for (int i = 0; i < l->n_layers; i++)
        if (l->layer[i].compared)
            row(j, "layer", l->layer[i].where, l->layer[i].off, l->layer[i].scale);
    if (j) json_close(j, ']');
}

/* Sets c->same: all outputs agree. */
static void show_outputs(comparison *c, json *j)
{
    if (j) json_open(j, "outputs", '[');
    c->same = true;
    for (int i = 0; i < c->y.n; i++) {
        reel_tensor *y = c->y.at[i], *z = c->z.at[i];
        double scale = 0, off = same_shape(y, z) ? distance(y, z, &scale) : INFINITY;
        row(j, "output", reel_graph_output_name(c->a, i), off, scale);
        double allowed = c->tolerance * (1 + (isfinite(scale) ? scale : 0));
        c->same = c->same && off <= allowed; /* false for NaN */
    }
    if (j) json_close(j, ']');
}

static void show(comparison *c)
{
    json j = {0};
    if (c->as_json) {
        json_open(&j, NULL, '{');
        show_layers(&c->layers, &j);
        show_outputs(c, &j);
        json_bool(&j, "same", c->same);
        json_close(&j, '}');
        json_end();
    } else {
        printf("%-7s %-40s %10s %10s\n", "", "", "error", "relative");
        show_layers(&c->layers, NULL);
        show_outputs(c, NULL);
    }
}

static reel_status compare(comparison *c, int64_t seed)
{
    int n_x = reel_graph_inputs(c->a), n_y = reel_graph_outputs(c->a);
    if (n_x != reel_graph_inputs(c->b) || n_y != reel_graph_outputs(c->b))
        return reel_fail(REEL_ERR_ARG,
                         "the first has %d inputs and %d outputs, the second %d and %d",
                         n_x, n_y, reel_graph_inputs(c->b), reel_graph_outputs(c->b));
    if (draw_inputs(c->a, (uint64_t)seed, &c->x) || values_new(&c->y, n_y) ||
        values_new(&c->z, n_y) || layers_new(&c->layers, c->a, c->b) ||
        reel_graph_run_watched(c->a, c->x.at, n_x, c->y.at, n_y, remember, &c->layers) ||
        reel_graph_run_watched(c->b, c->x.at, n_x, c->z.at, n_y, check, &c->layers))
        return reel_error_status();
    show(c);
    return reel_error_status();
}

int cmd_compare(const command *self, int argc, char **argv)
{
    const char *file[2];
    int64_t batch = 0, seed = 1;
    comparison c = {.tolerance = 1e-4};
    const option options[] = {
        OPTION_BATCH(&batch, "default: the first file's, or 1"),
        {"--seed", OPTION_INT, &seed, "of the numbers that both run on", 0, 1e15},
        {"--tolerance", OPTION_REAL, &c.tolerance,
         "of outputs, by their largest value + 1; default 1e-4", 0, 1},
        OPTION_JSON(&c.as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 2, argc, argv);
    if (status >= 0) return status;
    c.a = open_graph(file[0], batch);
    c.b = c.a ? open_graph(file[1], batch) : NULL;
    if (c.b && !compare(&c, seed) && !c.same)
        fprintf(stderr, "reel compare: outputs differ by more than %g\n", c.tolerance);
    layers_free(&c.layers);
    values_free(&c.x);
    values_free(&c.y);
    values_free(&c.z);
    reel_graph_free(c.a);
    reel_graph_free(c.b);
    return !c.same;
}
