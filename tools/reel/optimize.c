/* optimize.c: `reel optimize`, `reel view`, `reel check`: a graph in, something out. */
#include "cli.h"

#include <stdlib.h>

/* {"file": ..., "nodes": n}: those that run each time; with the number before if there was one,
 * and that of nodes which make weights of weights, once, if the file has any. */
static void say_written(const char *path, const reel_graph *g, int before, bool as_json)
{
    json j = {0};
    int n = reel_graph_nodes_each_run(g), once = reel_graph_nodes(g) - n;
    if (!as_json) {
        printf("%s: %d nodes", path, n);
        if (before >= 0) printf(", were %d", before);
        if (once) printf("; %d more run once, for weights", once);
        printf("\n");
        return;
    }
    json_open(&j, NULL, '{');
    json_text(&j, "file", path);
    if (before >= 0) json_whole(&j, "nodes_before", before);
    json_whole(&j, "nodes", n);
    json_whole(&j, "nodes_once", once);
    json_close(&j, '}');
    json_end();
}

/* ---- optimize ---------------------------------------------------------------------------------- */

int cmd_optimize(const command *self, int argc, char **argv)
{
    const char *file[1], *out = NULL;
    int64_t opset = 0, batch = 0, threads = 0;
    bool as_json = false, log = false, tune = false;
    reel_optimize_opts opts = {0};
    const option options[] = {
        {"-o", OPTION_TEXT, &out, "the file to write: .onnx or .reel", 0, 0},
        {"--only", OPTION_TEXT, &opts.only,
         "these passes, with commas between; see `reel passes`", 0, 0},
        {"--skip", OPTION_TEXT, &opts.skip, "all passes but these", 0, 0},
        {"--exact", OPTION_FLAG, &opts.exact, "only passes that keep every bit", 0, 0},
        {"--opset", OPTION_INT, &opset, "of an ONNX file; default 17", 13, 26},
        {"--tune", OPTION_FLAG, &tune,
         "time ways to compute operators; the choice is kept in a .reel", 0, 0},
        OPTION_BATCH(&batch, "of tuning"),
        OPTION_THREADS(&threads),
        {"--log", OPTION_FLAG, &log, "a line for each pass, on stderr", 0, 0},
        OPTION_JSON(&as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 1, argc, argv);
    if (status >= 0) return status;
    if (!out) return wrong(self, "-o FILE", "is missing");
    if (!can_write(out)) return wrong(self, out, "must end in .onnx or .reel");
    if (tune && !can_keep_choices(out))
        return wrong(self, out, "cannot keep what --tune finds: .reel can");
    reel_set_threads((int)threads);
    reel_graph *g = open_graph(file[0], 0);
    int before = reel_graph_nodes_each_run(g);
    opts.log = log ? stderr : NULL;
    if (g && !reel_graph_optimize(g, &opts) && (!tune || !reel_graph_tune(g, batch)) &&
        !write_graph(g, out, (int)opset))
        say_written(out, g, before, as_json);
    reel_graph_free(g);
    return reel_failed();
}

/* ---- view ------------------------------------------------------------------------------------ */

int cmd_view(const command *self, int argc, char **argv)
{
    const char *file[1], *out = NULL;
    int64_t batch = 0;
    bool as_json = false, optimize = false;
    reel_roofline peaks = {0};
    const option options[] = {
        {"-o", OPTION_TEXT, &out, "the page to write", 0, 0},
        OPTION_BATCH(&batch, "count costs for this batch size"),
        {"--optimize", OPTION_FLAG, &optimize, "apply the passes first", 0, 0},
        OPTION_GFLOPS(&peaks.gflops),
        OPTION_GBYTES(&peaks.gbytes),
        OPTION_JSON(&as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 1, argc, argv);
    if (status < 0) status = check_peaks(self, &peaks);
    if (status >= 0) return status;
    if (!out) return wrong(self, "-o PAGE.html", "is missing");
    const reel_view_opts opts = {.title = file[0],
                                 .peaks = peaks.gflops > 0 ? &peaks : NULL};
    reel_graph *g = open_graph(file[0], batch);
    if (g && optimize) (void)reel_graph_optimize(g, NULL);
    if (!reel_failed() && !reel_graph_save_html(g, out, &opts))
        say_written(out, g, -1, as_json);
    reel_graph_free(g);
    return reel_failed();
}

/* ---- check ----------------------------------------------------------------------------------- */

/* Every rule again, at two batch sizes; then the passes, whose result is verified, and a plan. */
static reel_status verify(reel_graph *g)
{
    int64_t batch = reel_graph_batch(g);
    if (reel_graph_check(g)) return reel_error_status();
    for (int64_t b = 1; batch && b <= 7; b += 6)
        if (reel_graph_set_batch(g, b) || reel_graph_check(g)) return reel_error_status();
    if (batch && reel_graph_set_batch(g, batch)) return reel_error_status();
    reel_graph *fast = reel_graph_copy(g);
    reel_executor *e = NULL;
    if (fast && !reel_graph_optimize(fast, NULL) && !reel_graph_check(fast))
        e = reel_executor_new(fast, NULL);
    reel_executor_free(e);
    reel_graph_free(fast);
    return reel_error_status();
}

/* What stands in the way of an ONNX file of this opset is an error. */
static reel_status verify_export(const reel_graph *g, int opset)
{
    char *missing = reel_onnx_missing(g, opset);
    if (missing && *missing)
        reel_fail(REEL_ERR_UNSUPPORTED, "no export at opset %d:\n%s", opset, missing);
    free(missing);
    return reel_error_status();
}

int cmd_check(const command *self, int argc, char **argv)
{
    const char *file[1];
    int64_t opset = 0;
    bool as_json = false;
    const option options[] = {{"--opset", OPTION_INT, &opset,
                               "ask that it can be exported at this opset too", 13, 26},
                              OPTION_JSON(&as_json),
                              OPTIONS_END};
    int status = parse(self, options, file, 1, argc, argv);
    if (status >= 0) return status;
    reel_graph *g = open_graph(file[0], 0);
    if (g && !verify(g) && opset) (void)verify_export(g, (int)opset);
    json j = {0};
    if (as_json) {
        json_open(&j, NULL, '{');
        json_text(&j, "file", file[0]);
        json_bool(&j, "good", !reel_failed());
        json_text(&j, "error", reel_failed() ? reel_error_message() : NULL);
        json_close(&j, '}');
        json_end();
    } else if (!reel_failed()) {
        printf("%s: %d nodes, all well\n", file[0], reel_graph_nodes(g));
    }
    reel_graph_free(g);
    return reel_failed();
}
