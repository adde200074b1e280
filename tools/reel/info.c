/* info.c: `reel info`: what is in a file. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { N_DTYPES = REEL_BOOL + 1 };

typedef struct kind {
    const char *op;
    int n;
} kind;

/* What the two ways to say it read. */
typedef struct facts {
    const reel_graph *g;
    kind *kinds; /* by their first node */
    int n_kinds;
    int64_t params, state, state_bytes, peak;
    int64_t of_dtype[N_DTYPES]; /* of the state */
    bool quantized;
    integers ints; /* as the passes make it */
    reel_cost cost;
    const reel_roofline *peaks; /* or NULL */
} facts;

static void count_kinds(facts *f)
{
    for (int i = 0; i < reel_graph_nodes(f->g); i++) {
        const char *op = reel_graph_node_op(f->g, i);
        int at = 0;
        while (at < f->n_kinds && strcmp(f->kinds[at].op, op) != 0) at++;
        if (at == f->n_kinds) f->kinds[f->n_kinds++] = (kind){op, 0};
        f->kinds[at].n++;
    }
}

static reel_status add_size(void *user, const char *name, reel_tensor *t,
                            reel_state_kind what)
{
    facts *f = user;
    int64_t n = reel_numel(t);
    (void)name;
    f->state += n;
    f->state_bytes += n * (int64_t)reel_dtype_size(reel_dtype_of(t));
    f->of_dtype[reel_dtype_of(t)] += n;
    if (what == REEL_STATE_PARAM) f->params += n;
    return REEL_OK;
}

static reel_status collect(facts *f)
{
    f->kinds = calloc((size_t)reel_op_count() + 1, sizeof *f->kinds);
    if (!f->kinds) return reel_fail(REEL_ERR_MEMORY, "no memory for a list of operators");
    count_kinds(f);
    f->cost = reel_graph_cost(f->g);
    f->peak = reel_graph_peak_bytes(f->g);
    f->quantized = has_integers(f->g);
    if (f->quantized && count_lowered(f->g, &f->ints)) return reel_error_status();
    return reel_graph_each_state(f->g, add_size, f);
}

/* "f32[8,3,32,32]"; the batch dimension as it stands. */
static void shape_text(const reel_graph *g, int i, char *to, size_t size)
{
    reel_dtype dtype = REEL_F32;
    reel_shape s = reel_graph_input_shape(g, i, &dtype);
    size_t n = (size_t)snprintf(to, size, "%s[", reel_dtype_name(dtype));
    for (int d = 0; d < s.rank && n < size; d++)
        n += (size_t)snprintf(to + n, size - n, "%s%" PRId64, d ? "," : "", s.dim[d]);
    if (n < size) snprintf(to + n, size - n, "]");
}

/* ---- text ---------------------------------------------------------------------------------- */

/* "; f32 2100; i8 271216", where there are several. */
static void say_dtypes(const facts *f)
{
    for (int d = 0; d < N_DTYPES; d++)
        if (f->of_dtype[d] && f->of_dtype[d] != f->state)
            printf("; %s %" PRId64, reel_dtype_name((reel_dtype)d), f->of_dtype[d]);
    printf("\n");
}

static void say(const facts *f)
{
    char shape[256];
    const reel_graph *g = f->g;
    for (int i = 0; i < reel_graph_inputs(g); i++) {
        shape_text(g, i, shape, sizeof shape);
        printf("input   %s %s\n", reel_graph_input_name(g, i), shape);
    }
    for (int i = 0; i < reel_graph_outputs(g); i++)
        printf("output  %s\n", reel_graph_output_name(g, i));
    if (reel_graph_batch(g))
        printf("batch   any size; figures are for %" PRId64 "\n", reel_graph_batch(g));
    else
        printf("batch   fixed\n");
    printf("state   %" PRId64 " parameters; %" PRId64 " numbers in all, %.2f MiB",
           f->params, f->state, (double)f->state_bytes / 1048576);
    say_dtypes(f);
    if (f->quantized)
        printf("int8    %d layers of %d, %.3g %% of the operations, when optimized\n",
               f->ints.ints, f->ints.layers, 100 * f->ints.share);
    printf("cost    %.4g GFLOP, %.4g MB read, %.4g MB written; values take %.2f MiB at "
           "least\n",
           f->cost.flops / 1e9, f->cost.bytes_read / 1e6, f->cost.bytes_written / 1e6,
           (double)f->peak / 1048576);
    printf("nodes   %d", reel_graph_nodes(g));
    for (int i = 0; i < f->n_kinds; i++)
        printf("%s %s %d", i ? "," : ":", f->kinds[i].op, f->kinds[i].n);
    printf("\n");
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void put_nodes(json *j, const facts *f)
{
    reel_node_cost c;
    json_open(j, "nodes", '[');
    for (int i = 0; i < reel_graph_nodes(f->g); i++) {
        if (reel_graph_node_cost(f->g, i, f->peaks, &c)) break;
        json_open(j, NULL, '{');
        json_text(j, "op", c.op);
        json_text(j, "where", c.where);
        json_number(j, "flops", c.cost.flops);
        json_number(j, "bytes_read", c.cost.bytes_read);
        json_number(j, "bytes_written", c.cost.bytes_written);
        json_whole(j, "parameters", c.params);
        json_number(j, "intensity", c.intensity);
        if (f->peaks) json_number(j, "seconds_bound", c.seconds_bound);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void put_values(json *j, const reel_graph *g)
{
    char shape[256];
    json_open(j, "inputs", '[');
    for (int i = 0; i < reel_graph_inputs(g); i++) {
        shape_text(g, i, shape, sizeof shape);
        json_open(j, NULL, '{');
        json_text(j, "name", reel_graph_input_name(g, i));
        json_text(j, "type", shape);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_open(j, "outputs", '[');
    for (int i = 0; i < reel_graph_outputs(g); i++)
        json_text(j, NULL, reel_graph_output_name(g, i));
    json_close(j, ']');
}

static void put(const facts *f, bool nodes, const char *text)
{
    json j = {0};
    json_open(&j, NULL, '{');
    put_values(&j, f->g);
    json_whole(&j, "batch", reel_graph_batch(f->g)); /* 0: fixed */
    json_whole(&j, "parameters", f->params);
    json_whole(&j, "state_bytes", f->state_bytes);
    json_open(&j, "state_dtypes", '{');
    for (int d = 0; d < N_DTYPES; d++)
        if (f->of_dtype[d])
            json_whole(&j, reel_dtype_name((reel_dtype)d), f->of_dtype[d]);
    json_close(&j, '}');
    if (f->quantized) {
        json_whole(&j, "layers", f->ints.layers);
        json_whole(&j, "integer_layers", f->ints.ints);
        json_number(&j, "integer_operations", f->ints.share);
    }
    json_number(&j, "flops", f->cost.flops);
    json_number(&j, "bytes_read", f->cost.bytes_read);
    json_number(&j, "bytes_written", f->cost.bytes_written);
    json_whole(&j, "peak_bytes", f->peak);
    json_whole(&j, "n_nodes", reel_graph_nodes(f->g));
    json_open(&j, "operators", '{');
    for (int i = 0; i < f->n_kinds; i++) json_whole(&j, f->kinds[i].op, f->kinds[i].n);
    json_close(&j, '}');
    if (nodes) put_nodes(&j, f);
    if (text) json_text(&j, "text", text);
    json_close(&j, '}');
    json_end();
}

/* ---- the command --------------------------------------------------------------------------- */

static void show(const facts *f, bool nodes, const char *text, bool as_json)
{
    if (as_json) {
        put(f, nodes, text);
        return;
    }
    say(f);
    if (nodes) {
        printf("\n");
        (void)reel_graph_report(f->g, stdout, f->peaks);
    }
    if (text) printf("\n%s", text);
}

int cmd_info(const command *self, int argc, char **argv)
{
    const char *file[1];
    int64_t batch = 0;
    reel_roofline peaks = {0};
    bool as_json = false, nodes = false, as_text = false;
    const option options[] = {
        OPTION_BATCH(&batch, "count costs for this batch size"),
        {"--nodes", OPTION_FLAG, &nodes, "the cost of every node as well", 0, 0},
        OPTION_GFLOPS(&peaks.gflops),
        OPTION_GBYTES(&peaks.gbytes),
        {"--text", OPTION_FLAG, &as_text, "the graph as text as well", 0, 0},
        OPTION_JSON(&as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 1, argc, argv);
    if (status < 0) status = check_peaks(self, &peaks);
    if (status >= 0) return status;
    reel_graph *g = open_graph(file[0], batch);
    if (!g) return 1;
    facts f = {.g = g, .peaks = peaks.gflops > 0 ? &peaks : NULL};
    char *text = as_text ? reel_graph_to_string(g) : NULL;
    if (!reel_failed() && !collect(&f)) show(&f, nodes, text, as_json);
    free(text);
    free(f.kinds);
    reel_graph_free(g);
    return reel_failed();
}
