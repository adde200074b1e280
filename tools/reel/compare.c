/* compare.c: `reel compare`: two graphs on the same numbers, output by output and layer by
 * layer. Passes fuse a layer with what follows it, so the last value of a module in the second
 * graph is held against the values of that module in the first and of the few nodes behind it:
 * what is nearest counts. Of values in integers it counts how many are at the ends of the grid. */
#include "cli.h"

#include <inttypes.h>
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
    double off, scale, db;
    bool compared; /* there is a value of its shape */
    /* The second graph makes bytes of it, of which this share is at the grid's ends, but for an
     * end that stands for 0; of the latest such values, and the most of those before. */
    bool quantized;
    double last_low, last_high, low, high;
} layer;

typedef struct layers {
    step *step;
    layer *layer;
    int n_steps, n_layers;
    bool quantized; /* any is */
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

static double snr(reel_tensor *a, reel_tensor *b)
{
    fidelity f = {0};
    fidelity_add(&f, a, b);
    return fidelity_db(&f);
}

/* The share of elements that are `end`. */
static double share_of(reel_tensor *x, double end)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *at = reel_eq(x, reel_full(REEL_SCALAR, end, reel_dtype_of(x)));
    double share = reel_item(reel_mean(reel_cast(at, REEL_F64), REEL_ALL, false));
    reel_scope_end(s);
    return share;
}

/* ---- the two runs ---------------------------------------------------------------------------- */

/* Integers that stand for numbers, which a dequantize behind them says. */
static bool makes_bytes(const char *op, reel_tensor *value)
{
    return strcmp(op, "quantize") == 0 ||
           (is_int8(op) && !reel_dtype_is_float(reel_dtype_of(value)));
}

static void remember(void *user, int node, const char *op, const char *where,
                     reel_tensor *value)
{
    layers *l = user;
    (void)node;
    if (makes_bytes(op, value)) return;
    reel_scope s = reel_scope_begin();
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

/* Those of the values before count too: of several in a module the worst is told. */
static void settle_ends(layer *of)
{
    of->low = fmax(of->low, of->last_low);
    of->high = fmax(of->high, of->last_high);
}

static void count_ends(layers *l, layer *of, reel_tensor *bytes)
{
    const bool sign = reel_dtype_of(bytes) == REEL_I8;
    if (!sign && reel_dtype_of(bytes) != REEL_U8) return;
    settle_ends(of);
    of->quantized = l->quantized = true;
    of->last_low = share_of(bytes, sign ? -128 : 0);
    of->last_high = share_of(bytes, sign ? 127 : 255);
}

/* An end that stands for 0, as behind a relu, cuts nothing off. */
static void forget_zeros(layer *of, reel_tensor *real)
{
    reel_scope s = reel_scope_begin();
    if (reel_item(reel_min(real, REEL_ALL, false)) == 0) of->last_low = 0;
    if (reel_item(reel_max(real, REEL_ALL, false)) == 0) of->last_high = 0;
    reel_scope_end(s);
}

static void check(void *user, int node, const char *op, const char *where,
                  reel_tensor *value)
{
    layers *l = user;
    int first = 0, last = l->n_steps - 1;
    (void)node;
    if (!*where) return;
    layer *a = layer_of(l, where);
    if (makes_bytes(op, value)) {
        count_ends(l, a, value);
        return;
    }
    if (strcmp(op, "dequantize") == 0 && a->quantized) forget_zeros(a, value);
    while (first <= last && strcmp(l->step[first].where, where) != 0) first++;
    while (last > first && strcmp(l->step[last].where, where) != 0) last--;
    a->compared = false;
    for (int i = first; i < l->n_steps && i <= last + BEHIND; i++) {
        double scale, off;
        if (!same_shape(l->step[i].value, value)) continue;
        off = distance(l->step[i].value, value, &scale);
        if (a->compared && !(off < a->off)) continue;
        a->off = off;
        a->scale = scale;
        a->db = snr(l->step[i].value, value);
        a->compared = true;
    }
}

/* ---- results --------------------------------------------------------------------------------- */

typedef struct comparison {
    reel_graph *a, *b;
    values x, y, z; /* inputs, outputs of a and b */
    layers layers;
    double tolerance, least_db; /* 0: tolerance counts */
    bool as_json, same;
} comparison;

/* A layer, or an output, which may have rows with a largest number. */
typedef struct line {
    const char *kind, *name;
    double off, scale, db;
    const layer *layer;   /* whose ends were counted; or NULL */
    const fidelity *rows; /* or NULL */
} line;

static void put_row(json *j, const line *r)
{
    json_open(j, NULL, '{');
    json_text(j, "name", r->name);
    json_number(j, "error", r->off);
    json_number(j, "scale", r->scale);
    json_number(j, "snr_db", r->db); /* null: they are equal */
    if (r->layer) {
        json_number(j, "at_low_end", r->layer->low);
        json_number(j, "at_high_end", r->layer->high);
    }
    if (r->rows)
        json_number(j, "top1_agreement", (double)r->rows->agree / (double)r->rows->rows);
    json_close(j, '}');
}

static void say_row(const line *r)
{
    char db[16];
    printf("%-7s %-40s %10.3g %10.3g %10s", r->kind, r->name, r->off,
           r->scale > 0 ? r->off / r->scale : r->off, db_text(r->db, db));
    if (r->layer) printf(" %7.2f%% %7.2f%%", 100 * r->layer->low, 100 * r->layer->high);
    if (r->rows)
        printf("  the same largest in %" PRId64 " of %" PRId64 " rows", r->rows->agree,
               r->rows->rows);
    printf("\n");
}

static void row(json *j, const line *r)
{
    if (j)
        put_row(j, r);
    else
        say_row(r);
}

static void show_layers(layers *l, json *j)
{
    if (j) json_open(j, "layers", '[');
    for (int i = 0; i < l->n_layers; i++) {
        layer *a = &l->layer[i];
        settle_ends(a);
        if (a->compared)
            row(j, &(line){"layer", a->where, a->off, a->scale, a->db,
                           a->quantized ? a : NULL, NULL});
    }
    if (j) json_close(j, ']');
}

/* Whether output y of the first is near enough. */
static bool agrees(const comparison *c, double off, double scale, double db)
{
    if (c->least_db > 0) return db >= c->least_db; /* false for NaN, as below */
    return off <= c->tolerance * (1 + (isfinite(scale) ? scale : 0));
}

/* Sets c->same: all outputs agree. */
static void show_outputs(comparison *c, json *j)
{
    if (j) json_open(j, "outputs", '[');
    c->same = true;
    for (int i = 0; i < c->y.n; i++) {
        reel_tensor *y = c->y.at[i], *z = c->z.at[i];
        fidelity f = {0};
        line r = {"output", reel_graph_output_name(c->a, i), INFINITY, 0, -INFINITY, NULL,
                  NULL};
        if (same_shape(y, z)) {
            r.off = distance(y, z, &r.scale);
            fidelity_add(&f, y, z);
            r.db = fidelity_db(&f);
        }
        if (f.rows && c->layers.quantized) r.rows = &f;
        row(j, &r);
        c->same = c->same && agrees(c, r.off, r.scale, r.db);
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
        printf("%-7s %-40s %10s %10s %10s%s\n", "", "", "error", "relative", "signal",
               c->layers.quantized ? "  at low  at high" : "");
        show_layers(&c->layers, NULL);
        show_outputs(c, NULL);
    }
}

static reel_status give_inputs(comparison *c, int64_t seed, const text_list *files)
{
    if (!files->n) return draw_inputs(c->a, (uint64_t)seed, &c->x);
    if (values_new(&c->x, reel_graph_inputs(c->a))) return reel_error_status();
    return read_inputs(c->a, files, &c->x);
}

static reel_status compare(comparison *c, int64_t seed, const text_list *files)
{
    int n_x = reel_graph_inputs(c->a), n_y = reel_graph_outputs(c->a);
    if (n_x != reel_graph_inputs(c->b) || n_y != reel_graph_outputs(c->b))
        return reel_fail(REEL_ERR_ARG,
                         "the first has %d inputs and %d outputs, the second %d and %d",
                         n_x, n_y, reel_graph_inputs(c->b), reel_graph_outputs(c->b));
    if (give_inputs(c, seed, files) || values_new(&c->y, n_y) || values_new(&c->z, n_y) ||
        layers_new(&c->layers, c->a, c->b) ||
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
    text_list in = {.n = 0};
    comparison c = {.tolerance = 1e-4};
    const option options[] = {
        OPTION_BATCH(&batch, "default: the first file's, or 1"),
        {"--seed", OPTION_INT, &seed, "of the numbers that both run on", 0, 1e15},
        {"--tolerance", OPTION_REAL, &c.tolerance,
         "of outputs, by their largest value + 1; default 1e-4", 0, 1},
        {"--snr", OPTION_REAL, &c.least_db,
         "in place of it: how many dB of signal over noise outputs must have", 1e-9,
         1000},
        OPTION_INPUT(&in),
        OPTION_JSON(&c.as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 2, argc, argv);
    if (status >= 0) return status;
    c.a = open_graph(file[0], batch);
    c.b = c.a ? open_graph(file[1], batch) : NULL;
    if (c.b && !compare(&c, seed, &in) && !c.same) {
        if (c.least_db > 0)
            fprintf(stderr, "reel compare: outputs differ: less than %g dB\n",
                    c.least_db);
        else
            fprintf(stderr, "reel compare: outputs differ by more than %g\n",
                    c.tolerance);
    }
    layers_free(&c.layers);
    values_free(&c.x);
    values_free(&c.y);
    values_free(&c.z);
    reel_graph_free(c.a);
    reel_graph_free(c.b);
    return !c.same;
}
