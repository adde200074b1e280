/* test_onnx_export.c: graphs as ONNX files, as far as that can be told without a runtime.
 *
 *     test_onnx_export                the tests
 *     test_onnx_export --write DIR    models, inputs and results for tests/onnx/check.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <reel/onnx.h>
#include <reel/reel.h>

#include "ops/onnx.h"
#include "support/one_node.h"

/* ---- cases for the runtime --------------------------------------------------------------- */

/* DIR/cases.txt lists them, a line each:
 *     case NAME OPSETS INPUTS OUTPUTS     NAME.OPSET.onnx, NAME.xI.npy, NAME.yI.npy
 *     none NAME REASON                    no form, in this dtype or with these attributes */
static const char *folder;
static FILE *list;

static const int opsets[] = {REEL__ONNX_OPSET_FIRST, REEL__ONNX_OPSET_DEFAULT,
                             REEL__ONNX_OPSET_LAST};
enum { N_OPSETS = sizeof opsets / sizeof *opsets };

static const char *path_of(const char *name, const char *rest)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, rest);
    return path;
}

static void save(const char *name, char letter, reel_tensor *const t[], int n)
{
    for (int i = 0; i < n; i++) {
        char rest[16];
        snprintf(rest, sizeof rest, "%c%d.npy", letter, i);
        (void)reel_npy_save(path_of(name, rest), t[i]);
    }
}

/* True if the file was written; a graph without a form is noted. */
static bool export(reel_graph *g, const char *name, int opset)
{
    char rest[16];
    snprintf(rest, sizeof rest, "%d.onnx", opset);
    reel_onnx_export(g, path_of(name, rest), &(reel_onnx_opts){.opset = opset});
    if (reel_error_status() != REEL_ERR_UNSUPPORTED &&
        reel_error_status() != REEL_ERR_STATE)
        return !reel_failed();
    fprintf(list, "none %s.%d %s\n", name, opset, reel_error_message());
    reel_error_clear();
    return false;
}

static bool can(reel_graph *g, int opset)
{
    char *missing = reel_onnx_missing(g, opset);
    bool yes = missing && !*missing;
    free(missing);
    return yes;
}

/* One record, one sample, one dtype: at every opset, or at the default alone. */
static void write_sample(const reel_op *op, int line, reel_dtype dtype)
{
    sample s;
    one_node made;
    char name[128];
    snprintf(name, sizeof name, "%s.%d.%s", op->name, line, reel_dtype_name(dtype));
    reel_scope scope = reel_scope_begin();
    bool ok = sample_parse(op, sample_text(op), line, &s) &&
              one_node_make(&s, dtype, REEL_OP_MAX_OUT, &made);
    if (ok && made.n_out > 1 && !can(made.graph, REEL__ONNX_OPSET_LAST)) {
        reel_graph_free(made.graph); /* further results are of training */
        ok = one_node_make(&s, dtype, 1, &made);
    }
    bool all = dtype == REEL_F32, any = false;
    for (int i = 0; i < N_OPSETS && ok; i++)
        if ((all || opsets[i] == REEL__ONNX_OPSET_DEFAULT) &&
            export(made.graph, name, opsets[i])) {
            fprintf(list, "case %s %d %d %d\n", name, opsets[i], made.n_in, made.n_out);
            any = true;
        }
    if (any) {
        save(name, 'x', made.in, made.n_in);
        save(name, 'y', made.out, made.n_out);
    }
    if (ok) reel_graph_free(made.graph);
    reel_scope_end(scope);
}

static void write_record(const reel_op *op)
{
    if (!op->onnx) {
        fprintf(list, "none %s %s\n", op->name, op->no_onnx);
        return;
    }
    for (int line = 0; line < sample_lines(sample_text(op)); line++)
        write_sample(op, line, REEL_F32);
    for (reel_dtype d = 0; d < REEL_DTYPE_COUNT; d++)
        if (d != REEL_F32 && d != REEL_BF16) write_sample(op, 0, d); /* NumPy has no bf16 */
}

static int write_cases(const char *to)
{
    char path[512];
    folder = to;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return 1;
    snprintf(path, sizeof path, "%s/cases.txt", folder);
    if (!(list = fopen(path, "w"))) return 1;
    for (int i = 0; i < reel__n_ops && !reel_failed(); i++) write_record(reel__ops[i]);
    if (reel_failed()) fprintf(stderr, "%s\n", reel_error_message());
    bool ok = fclose(list) == 0 && !reel_failed();
    reel_scope_end(0);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return write_cases(argv[2]);
    return 0;
}
