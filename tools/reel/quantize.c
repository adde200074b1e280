/* quantize.c: `reel quantize`: a graph of floats and some data; a file of integers. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct wishes {
    const char *in, *rows, *out, *target, *method;
    reel_quantize_opts prepare;
    reel_percentile_opts percentile;
    int64_t batch, batches, opset;
    bool smooth, correct, round, as_json, strict;
} wishes;

/* What becomes of it. The lists are as long as the graphs have outputs and layers. */
typedef struct outcome {
    reel_graph *floats, *ints, *fast; /* `fast`: ints as reel runs it */
    reel_module *q, *all;             /* prepared as wished, and without exceptions */
    reel_dataset *rows;
    reel_loader *loader;
    char *findings;
    int64_t n_rows;
    int weights, activations; /* quantizers */
    integers share;
    fidelity *fidelity; /* of each output */
    double size_before, size_after;
} outcome;

/* ---- names on the command line ----------------------------------------------------------------- */

typedef struct method {
    const char *name;
    const reel_observer_kind *(*kind)(void);
} method;
static const method methods[] = {
    {"average", reel_observer_moving_average},
    {"minmax", reel_observer_min_max},
    {"percentile", reel_observer_percentile},
    {"entropy", reel_observer_entropy},
    {"mse", reel_observer_mse},
};
enum {
    N_METHODS = sizeof methods / sizeof *methods,
    N_TARGETS = REEL_TARGET_PER_TENSOR + 1
};

/* -1, or the exit status. */
static int read_target(const command *self, wishes *w)
{
    for (int t = 0; t < N_TARGETS; t++) {
        w->prepare.target = (reel_quantize_target)t;
        if (strcmp(w->target, reel_quantize_target_name(w->prepare.target)) == 0)
            return -1;
    }
    return wrong(self, w->target, "is not a target: ort, tensorrt, per_tensor");
}

static int read_method(const command *self, wishes *w)
{
    int m = 0;
    while (m < N_METHODS && strcmp(w->method, methods[m].name) != 0) m++;
    if (m == N_METHODS)
        return wrong(self, w->method,
                     "is not a method: average, minmax, percentile, entropy, mse");
    w->prepare.activations = methods[m].kind();
    bool percentile = strcmp(w->method, "percentile") == 0;
    if (percentile) w->prepare.activation_opts = &w->percentile;
    if (w->percentile.percentile > 0 && !percentile)
        return wrong(self, "--percentile", "belongs to --method percentile");
    return -1;
}

static int check_wishes(const command *self, wishes *w)
{
    if (!w->rows) return wrong(self, "--calibrate FILE.npy or FOLDER", "is missing");
    if (!w->out) return wrong(self, "-o FILE", "is missing");
    if (!can_write(w->out)) return wrong(self, w->out, "must end in .onnx or .reel");
    int status = read_target(self, w);
    return status < 0 ? read_method(self, w) : status;
}

/* ---- the steps --------------------------------------------------------------------------------- */

/* What passes have fused has no place for a quantizer inside. */
static bool is_fused(const reel_graph *g)
{
    bool is = false;
    for (int i = 0; i < reel_graph_nodes(g) && !is; i++)
        is = strstr(reel_graph_node_op(g, i), "_fused") != NULL;
    return is;
}

static reel_status open_all(const wishes *w, outcome *o)
{
    if (!(o->floats = open_graph(w->in, 0))) return reel_error_status();
    if (has_integers(o->floats))
        return reel_fail(REEL_ERR_ARG,
                         "%s has quantized values already; give the graph of floats",
                         w->in);
    if (is_fused(o->floats))
        return reel_fail(REEL_ERR_ARG,
                         "%s is optimized; give the graph that it was before `reel "
                         "optimize`",
                         w->in);
    if (!(o->rows = read_rows(w->rows, o->floats))) return reel_error_status();
    o->loader = rows_loader(o->rows, o->floats, w->batch);
    return reel_error_status();
}

static reel_status prepare(const wishes *w, outcome *o)
{
    reel_quantizer z;
    const reel_quantize_opts plain = {.target = w->prepare.target,
                                      .equalize = w->prepare.equalize};
    if (!(o->q = reel_quantize_prepare(o->floats, &w->prepare)) ||
        !(o->all = reel_quantize_prepare(o->floats, &plain)))
        return reel_error_status();
    for (int i = 0; i < reel_quantize_count(o->q); i++) {
        if (reel_quantize_at(o->q, i, &z)) return reel_error_status();
        *(z.weight ? &o->weights : &o->activations) += 1;
    }
    if (o->activations) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "%s: there is nothing to quantize for %s%s", w->in,
                     w->target, reel_quantize_count(o->all) ? ": all is left out" : "");
}

/* The batches that calibration saw, once more. */
static reel_status measure(const wishes *w, outcome *o, reel_executor *a,
                           reel_executor *b)
{
    const int n = reel_graph_outputs(o->floats);
    values y = {0}, z = {0};
    reel_batch batch = reel_loader_begin(o->loader);
    if (!values_new(&y, n) && !values_new(&z, n))
        for (int64_t k = 0; (!w->batches || k < w->batches) && !reel_failed() &&
                            reel_loader_next(o->loader, &batch);
             k++) {
            reel_scope s = reel_scope_begin();
            if (!reel_executor_run(a, &batch.x, 1, y.at, n) &&
                !reel_executor_run(b, &batch.x, 1, z.at, n))
                for (int i = 0; i < n; i++)
                    fidelity_add(&o->fidelity[i], y.at[i], z.at[i]);
            o->n_rows += batch.size;
            reel_scope_end(s);
        }
    values_free(&y);
    values_free(&z);
    return reel_error_status();
}

static reel_status compare(const wishes *w, outcome *o)
{
    reel_graph *floats = reel_graph_copy(o->floats);
    o->fidelity = calloc((size_t)reel_graph_outputs(floats) + 1, sizeof *o->fidelity);
    if (!o->fidelity) reel_fail(REEL_ERR_MEMORY, "no memory for the outputs");
    if (!reel_failed()) (void)reel_graph_optimize(floats, NULL);
    o->fast = reel_graph_copy(o->ints);
    if (!reel_failed() && !reel_graph_optimize(o->fast, NULL))
        (void)count_integers(o->fast, &o->share);
    reel_executor *a = reel_failed() ? NULL : reel_executor_new(floats, NULL);
    reel_executor *b = a ? reel_executor_new(o->fast, NULL) : NULL;
    if (b) (void)measure(w, o, a, b);
    reel_executor_free(a);
    reel_executor_free(b);
    reel_graph_free(floats);
    return reel_error_status();
}

static double size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

/* How it was made: what an ONNX file says under "quantization". */
static void describe(const wishes *w, const outcome *o, char *to, size_t size)
{
    const char *left_out = w->prepare.exclude ? w->prepare.exclude : "";
    snprintf(to, size, "reel %s; target %s; method %s; rows %" PRId64 "%s%s%s%s%s%s%s%s",
             reel_version(), w->target, w->method, o->n_rows,
             w->prepare.equalize ? "; equalized" : "", w->smooth ? "; smoothed" : "",
             w->round ? "; rounding learned" : "", w->correct ? "; biases corrected" : "",
             w->prepare.keep_first ? "; first layer in f32" : "",
             w->prepare.keep_last ? "; last layer in f32" : "",
             *left_out ? "; in f32: " : "", left_out);
}

static reel_status export(const wishes *w, const outcome *o)
{
    char made[1024];
    describe(w, o, made, sizeof made);
    const char *const said[][2] = {{"quantization", made}};
    return reel_onnx_export(
        o->ints, w->out,
        &(reel_onnx_opts){.opset = (int)w->opset, .metadata = said, .n_metadata = 1});
}

static reel_status write_file(const wishes *w, outcome *o)
{
    o->size_before = size_of(w->in); /* `out` may be the same file */
    if (can_keep_choices(w->out))
        (void)reel_graph_save(o->ints, w->out);
    else
        (void)export(w, o);
    o->size_after = size_of(w->out);
    return reel_error_status();
}

static reel_status quantize(const wishes *w, outcome *o)
{
    const reel_smooth_opts smooth = {.batches = w->batches, .progress = stderr};
    const reel_calibrate_opts calibrate = {.batches = w->batches, .progress = stderr};
    const reel_round_opts round = {.batches = w->batches, .progress = stderr};
    if (open_all(w, o) || prepare(w, o) ||
        (w->smooth && reel_quantize_smooth(o->q, o->loader, &smooth)) ||
        reel_quantize_calibrate(o->q, o->loader, &calibrate) ||
        (w->round && reel_quantize_round(o->q, o->loader, &round)) ||
        (w->correct && reel_quantize_correct_biases(o->q, o->loader, &calibrate)) ||
        !(o->ints = reel_quantize_convert(o->q)) ||
        !(o->findings = reel_quantize_lint(o->ints, w->prepare.target)))
        return reel_error_status();
    if (w->strict && *o->findings)
        return reel_fail(REEL_ERR_STATE,
                         "%s would not take it, and --strict is given:\n%s", w->target,
                         o->findings);
    return compare(w, o) ? reel_error_status() : write_file(w, o);
}

/* ---- what is said ------------------------------------------------------------------------------ */

/* Whether a layer has a quantizer: of its weight, or of its result. */
static bool has_quantizer(reel_module *q, const char *where, const char *op)
{
    char weight[1024], result[1024];
    const char *dot = *where ? "." : "";
    reel_quantizer z;
    snprintf(weight, sizeof weight, "%s%sweight", where, dot);
    snprintf(result, sizeof result, "%s%s%s", where, dot, op);
    for (int i = 0; i < reel_quantize_count(q) && !reel_quantize_at(q, i, &z); i++)
        if (strncmp(z.name, weight, strlen(weight)) == 0 || strcmp(z.name, result) == 0)
            return true;
    return false;
}

/* Why a layer runs in floats. */
static const char *why(const outcome *o, const char *where, const char *op)
{
    if (has_quantizer(o->q, where, op))
        return "in integers in the file, reel runs it in f32";
    if (has_quantizer(o->all, where, op)) return "left out by the options";
    return "the target has no integers for it";
}

static void each_float_layer(const outcome *o, json *j)
{
    const reel_graph *g = o->fast;
    if (j) json_open(j, "float_layers", '[');
    for (int i = 0; i < reel_graph_nodes(g); i++) {
        char op[64];
        snprintf(op, sizeof op, "%s", reel_graph_node_op(g, i));
        const char *where = reel_graph_node_where(g, i);
        if (!is_layer(op) || is_int8(op)) continue;
        char *fused = strstr(op, "_fused");
        if (fused) *fused = '\0';
        if (!j) {
            printf("float    %s %s: %s\n", op, where, why(o, where, op));
            continue;
        }
        json_open(j, NULL, '{');
        json_text(j, "op", op);
        json_text(j, "where", where);
        json_text(j, "why", why(o, where, op));
        json_close(j, '}');
    }
    if (j) json_close(j, ']');
}

static void say_findings(const char *text)
{
    for (const char *line = text; *line;) {
        const size_t n = strcspn(line, "\n");
        printf("lint     %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static void say(const wishes *w, const outcome *o)
{
    char db[16];
    printf("%s: for %s, ranges by %s over %" PRId64 " rows\n", w->out, w->target,
           w->method, o->n_rows);
    printf("layers   %d of %d in integers, %.3g %% of the operations; %d weights and %d "
           "values are quantized\n",
           o->share.ints, o->share.layers, 100 * o->share.share, o->weights,
           o->activations);
    each_float_layer(o, NULL);
    printf("size     %.3f MiB -> %.3f MiB\n", o->size_before / 1048576,
           o->size_after / 1048576);
    for (int i = 0; i < reel_graph_outputs(o->floats); i++) {
        const fidelity *f = &o->fidelity[i];
        printf("output   %s: %s of signal over noise",
               reel_graph_output_name(o->floats, i), db_text(fidelity_db(f), db));
        if (f->rows)
            printf(", the largest is the float's in %.2f %% of the rows",
                   100 * (double)f->agree / (double)f->rows);
        printf("\n");
    }
    say_findings(o->findings);
}

static void put(const wishes *w, const outcome *o)
{
    json j = {0};
    json_open(&j, NULL, '{');
    json_text(&j, "file", w->out);
    json_text(&j, "target", w->target);
    json_text(&j, "method", w->method);
    json_whole(&j, "rows", o->n_rows);
    json_whole(&j, "layers", o->share.layers);
    json_whole(&j, "integer_layers", o->share.ints);
    json_number(&j, "integer_operations", o->share.share);
    json_whole(&j, "quantized_weights", o->weights);
    json_whole(&j, "quantized_values", o->activations);
    each_float_layer(o, &j);
    json_number(&j, "bytes_before", o->size_before);
    json_number(&j, "bytes", o->size_after);
    json_open(&j, "outputs", '[');
    for (int i = 0; i < reel_graph_outputs(o->floats); i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "name", reel_graph_output_name(o->floats, i));
        put_fidelity(&j, &o->fidelity[i]);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_text(&j, "lint", o->findings);
    json_close(&j, '}');
    json_end();
}

/* ---- the command ------------------------------------------------------------------------------- */

static void outcome_free(outcome *o)
{
    reel_loader_free(o->loader);
    reel_dataset_free(o->rows);
    reel_module_free(o->q);
    reel_module_free(o->all);
    reel_graph_free(o->floats);
    reel_graph_free(o->ints);
    reel_graph_free(o->fast);
    free(o->findings);
    free(o->fidelity);
}

int cmd_quantize(const command *self, int argc, char **argv)
{
    int64_t threads = 0;
    wishes w = {.target = "ort", .method = "average"};
    outcome o = {0};
    const option options[] = {
        {"--calibrate", OPTION_TEXT, &w.rows, "a .npy file of rows, or a folder of such",
         0, 0},
        {"-o", OPTION_TEXT, &w.out, "the file to write: .onnx or .reel", 0, 0},
        {"--target", OPTION_TEXT, &w.target, "ort (default), tensorrt or per_tensor", 0,
         0},
        {"--method", OPTION_TEXT, &w.method,
         "how ranges are found: average (default), minmax, percentile, entropy, mse", 0,
         0},
        {"--percentile", OPTION_REAL, &w.percentile.percentile,
         "of --method percentile; default 99.99", 50.001, 100},
        {"--exclude", OPTION_TEXT, &w.prepare.exclude,
         "layers that stay in floats: names, with * for anything, with commas between", 0,
         0},
        {"--keep-first", OPTION_FLAG, &w.prepare.keep_first,
         "the first layer with a weight stays in floats", 0, 0},
        {"--keep-last", OPTION_FLAG, &w.prepare.keep_last, "and the last", 0, 0},
        {"--equalize", OPTION_FLAG, &w.prepare.equalize,
         "channels of neighbours are scaled to one range: for one scale per weight", 0,
         0},
        {"--smooth", OPTION_FLAG, &w.smooth,
         "what is large behind layer norm moves into weights (SmoothQuant)", 0, 0},
        {"--adaround", OPTION_FLAG, &w.round,
         "learns for each weight whether it is rounded up or down; takes a while", 0, 0},
        {"--bias-correct", OPTION_FLAG, &w.correct,
         "biases move so that layers keep their means", 0, 0},
        OPTION_BATCH(&w.batch, "rows of a step of calibration; default 32"),
        {"--batches", OPTION_INT, &w.batches, "steps at most; default: all rows", 1,
         1e15},
        {"--opset", OPTION_INT, &w.opset, "of an ONNX file; default 17", 13, 26},
        {"--strict", OPTION_FLAG, &w.strict, "what the linter finds is a failure", 0, 0},
        OPTION_THREADS(&threads),
        OPTION_JSON(&w.as_json),
        OPTIONS_END};
    int status = parse(self, options, &w.in, 1, argc, argv);
    if (status < 0) status = check_wishes(self, &w);
    if (status >= 0) return status;
    reel_set_threads((int)threads);
    if (!quantize(&w, &o)) (w.as_json ? put : say)(&w, &o);
    outcome_free(&o);
    return reel_failed();
}
