/* run.c: `reel run`: arrays in, arrays out. */
#include "cli.h"

static void show(const reel_graph *g, const text_list *files, const values *y)
{
    for (int i = 0; i < y->n; i++) {
        if (i < files->n) {
            printf("%s -> %s\n", reel_graph_output_name(g, i), files->text[i]);
            continue;
        }
        printf("%s\n", reel_graph_output_name(g, i));
        (void)reel_print(y->at[i]);
    }
}

static void put_shape(json *j, reel_tensor *y)
{
    reel_shape s = reel_shape_of(y);
    json_text(j, "dtype", reel_dtype_name(reel_dtype_of(y)));
    json_open(j, "shape", '[');
    for (int d = 0; d < s.rank; d++) json_whole(j, NULL, s.dim[d]);
    json_close(j, ']');
}

static void put(const reel_graph *g, const text_list *files, const values *y)
{
    json j = {0};
    json_open(&j, NULL, '{');
    json_open(&j, "outputs", '[');
    for (int i = 0; i < y->n; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "name", reel_graph_output_name(g, i));
        put_shape(&j, y->at[i]);
        json_text(&j, "file", i < files->n ? files->text[i] : NULL);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    json_end();
}

static reel_status run(const reel_graph *g, const text_list *in, const text_list *out,
                       values *x, values *y)
{
    if (values_new(x, reel_graph_inputs(g)) || values_new(y, reel_graph_outputs(g)))
        return reel_error_status();
    if (out->n > y->n)
        return reel_fail(REEL_ERR_ARG, "--output comes %d times; there are %d outputs",
                         out->n, y->n);
    if (read_inputs(g, in, x)) return reel_error_status();
    reel_executor *e = reel_executor_new(g, NULL);
    if (e) (void)reel_executor_run(e, x->at, x->n, y->at, y->n);
    reel_executor_free(e);
    for (int i = 0; i < out->n && !reel_failed(); i++)
        (void)reel_npy_save(y->at[i], out->text[i]);
    return reel_error_status();
}

int cmd_run(const command *self, int argc, char **argv)
{
    const char *file[1];
    int64_t threads = 0;
    text_list in = {.n = 0}, out = {.n = 0};
    bool as_json = false, plain = false;
    const option options[] = {
        OPTION_INPUT(&in),
        {"--output", OPTION_LIST, &out, "a .npy file, in order; without: printed", 0, 0},
        OPTION_THREADS(&threads),
        {"--plain", OPTION_FLAG, &plain, "without optimizing first", 0, 0},
        OPTION_JSON(&as_json),
        OPTIONS_END};
    int status = parse(self, options, file, 1, argc, argv);
    if (status >= 0) return status;
    values x = {0}, y = {0};
    reel_set_threads((int)threads);
    reel_graph *g = open_graph(file[0], 0);
    if (g && !plain) (void)reel_graph_optimize(g, NULL);
    if (!reel_failed() && !run(g, &in, &out, &x, &y)) (as_json ? put : show)(g, &out, &y);
    values_free(&x);
    values_free(&y);
    reel_graph_free(g);
    return reel_failed();
}
