/* compare.c: `reel compare`: two graphs on the same numbers. Layers are matched by module path
 * and shape: passes fuse nodes, but the last value of a module stays what it was. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The last value of a module of the first graph, and how far the second's is from it. */
typedef struct layer {
    const char *where;  /* the first graph's */
    reel_tensor *value; /* kept */
    double off, scale;
    bool compared;
} layer;

typedef struct layers {
    layer *at;
    int n, room;
} layers;

/* The latest come first: a module's nodes stand together. */
static layer *find(layers *l, const char *where)
{
    for (int i = l->n - 1; i >= 0; i--)
        if (strcmp(l->at[i].where, where) == 0) return &l->at[i];
    return NULL;
}

static layer *add(layers *l, const char *where)
{
    if (l->n == l->room) {
        int room = l->room ? 2 * l->room : 64;
        layer *at = realloc(l->at, (size_t)room * sizeof *at);
        if (!at) {
            reel_fail(REEL_ERR_MEMORY, "no memory for %d layers", room);
            return NULL;
        }
        l->at = at;
        l->room = room;
    }
    l->at[l->n] = (layer){.where = where};
    return &l->at[l->n++];
}

static void layers_free(layers *l)
{
    for (int i = 0; i < l->n; i++) reel_release(l->at[i].value);
    free(l->at);
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
    layer *a = *where ? find(l, where) : NULL;
    (void)node, (void)op;
    if (!*where || (!a && !(a = add(l, where)))) return;
    reel_scope s = reel_scope_begin();
    reel_release(a->value);
    a->value = reel_keep(reel_copy(value)); /* it may change in place */
    reel_scope_end(s);
}

static void check(void *user, int node, const char *op, const char *where,
                  reel_tensor *value)
{
    layer *a = *where ? find(user, where) : NULL;
    (void)node, (void)op;
    if (!a) return;
    a->compared = same_shape(a->value, value);
    if (a->compared) a->off = distance(a->value, value, &a->scale);
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
    for (int i = 0; i < l->n; i++)
        if (l->at[i].compared)
            row(j, "layer", l->at[i].where, l->at[i].off, l->at[i].scale);
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
        values_new(&c->z, n_y) ||
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
