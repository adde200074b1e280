/* seeds.c: writes the files from which fuzzing begins into the folder that is named. */
#include "onnx/file.h"

#include "../onnx_case_model.h"
#include "../onnx_sample.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Writes the model and frees it. */
static void save(const char *folder, const char *name, size_t number, reel_onnx_model *m)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%zu.onnx", folder, name, number) <
        (int)sizeof path)
        reel__onnx_write(m, path, NULL);
    reel__onnx_model_free(m);
}

/* A node of each operator that the importer knows. */
static void save_case(const char *folder, size_t i)
{
    const import_case *c = &import_cases[i];
    operand o[OPERANDS];
    reel_tensor *x[OPERANDS];
    reel_scope s = reel_scope_begin();
    int n = parse_operands(c->operands, o);
    for (int k = 0; k < n; k++) x[k] = draw(&o[k], 4);
    save(folder, "case", i, one_node(c, o, x, n));
    reel_scope_end(s);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    save(argv[1], "sample", 0, sample_model());
    for (size_t i = 0; i < COUNT(import_cases); i++) save_case(argv[1], i);
    if (reel_failed()) fprintf(stderr, "seeds: %s\n", reel_error_message());
    return reel_failed() ? 1 : 0;
}
