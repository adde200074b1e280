/* ops.c: `reel ops`, `reel passes`: what this reel can do. */
#include "cli.h"

static void show(const reel_op_facts *f)
{
    char since[16] = "no";
    if (f->onnx_since) snprintf(since, sizeof since, "%d", f->onnx_since);
    printf("%-28s %-20s %-22s %-5s %-4s", f->name, f->kind, f->dtype_names,
           f->no_gradient ? "no" : "yes", since);
    if (f->no_gradient) printf(" no gradient: %s", f->no_gradient);
    if (f->no_onnx) printf("%s no ONNX: %s", f->no_gradient ? ";" : "", f->no_onnx);
    printf("\n");
}

static void put(json *j, const reel_op_facts *f)
{
    json_open(j, NULL, '{');
    json_text(j, "name", f->name);
    json_text(j, "kind", f->kind);
    json_whole(j, "min_inputs", f->min_inputs);
    json_whole(j, "max_inputs", f->max_inputs);
    json_whole(j, "outputs", f->outputs);
    json_open(j, "dtypes", '[');
    for (int d = 0; f->dtypes >> d; d++)
        if (f->dtypes >> d & 1) json_text(j, NULL, reel_dtype_name((reel_dtype)d));
    json_close(j, ']');
    json_bool(j, "gradient", !f->no_gradient);
    json_text(j, "no_gradient", f->no_gradient);
    json_whole(j, "onnx_since", f->onnx_since);
    json_text(j, "no_onnx", f->no_onnx);
    json_close(j, '}');
}

int cmd_ops(const command *self, int argc, char **argv)
{
    bool as_json = false;
    const option options[] = {OPTION_JSON(&as_json), OPTIONS_END};
    int status = parse(self, options, NULL, 0, argc, argv);
    if (status >= 0) return status;
    json j = {0};
    reel_op_facts f;
    int gradients = 0, exported = 0, n = reel_op_count();
    if (as_json)
        json_open(&j, NULL, '[');
    else
        printf("%-28s %-20s %-22s %-5s %-4s\n", "operator", "kind", "dtypes", "grad",
               "ONNX");
    for (int i = 0; i < n && !reel_op_info(i, &f); i++) {
        gradients += !f.no_gradient;
        exported += f.onnx_since > 0;
        if (as_json)
            put(&j, &f);
        else
            show(&f);
    }
    if (as_json) {
        json_close(&j, ']');
        json_end();
    } else {
        printf(
            "\n%d operators, %d with a gradient, %d with a form in ONNX, from the opset "
            "under ONNX on\n",
            n, gradients, exported);
    }
    return reel_failed();
}

int cmd_passes(const command *self, int argc, char **argv)
{
    bool as_json = false;
    const option options[] = {OPTION_JSON(&as_json), OPTIONS_END};
    int status = parse(self, options, NULL, 0, argc, argv);
    if (status >= 0) return status;
    json j = {0};
    if (as_json) json_open(&j, NULL, '[');
    for (int i = 0; i < reel_pass_count(); i++) {
        if (!as_json) {
            printf("%-22s %s\n", reel_pass_name(i), reel_pass_about(i));
            continue;
        }
        json_open(&j, NULL, '{');
        json_text(&j, "name", reel_pass_name(i));
        json_text(&j, "about", reel_pass_about(i));
        json_close(&j, '}');
    }
    if (as_json) {
        json_close(&j, ']');
        json_end();
    }
    return reel_failed();
}
