/* onnx_cases.c: models for a runtime to judge. */
#include "base/counts.h"
#include "onnx_cases.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <reel/onnx.h>
#include <reel/reel.h>

#include "one_node.h"
#include "own_ops.h"
#include "ops/onnx.h"

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
        char rest[24];
        snprintf(rest, sizeof rest, "%c%d.npy", letter, i);
        (void)reel_npy_save(t[i], path_of(name, rest));
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
static void write_sample(const reel__op *op, int line, reel_dtype dtype)
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

static void write_record(const reel__op *op)
{
    if (!op->onnx) {
        fprintf(list, "none %s %s\n", op->name, op->no_onnx);
        return;
    }
    for (int line = 0; line < sample_lines(sample_text(op)); line++)
        write_sample(op, line, REEL_F32);
    for (reel_dtype d = 0; d < REEL__DTYPE_COUNT; d++)
        if (d != REEL_F32 && d != REEL_BF16)
            write_sample(op, 0, d); /* NumPy has no bf16 */
}

/* ---- whole models, at several batch sizes -------------------------------------------------- */

static const int64_t batches[] = {1, 7, 64};
enum { N_BATCHES = sizeof batches / sizeof *batches };

/* What `fn` gives at each batch size, beside the file. */
static void save_runs(const char *name, reel_function fn, void *user, reel_shape shape)
{
    for (int i = 0; i < N_BATCHES && !reel_failed(); i++) {
        char at[160];
        reel_scope s = reel_scope_begin();
        shape.dim[0] = batches[i];
        reel_tensor *x = reel_randn(shape, REEL_F32), *y = fn(user, &x, 1);
        snprintf(at, sizeof at, "%s.b%d", name, (int)batches[i]);
        save(at, 'x', &x, 1);
        save(at, 'y', &y, 1);
        reel_scope_end(s);
    }
}

/* The graph at every opset from `first` on, `step` apart, and at the newest. */
static void save_graph(const char *name, reel_graph *g, int first, int step)
{
    for (int opset = first; g && opset <= REEL__ONNX_OPSET_LAST && !reel_failed();) {
        if (export(g, name, opset))
            fprintf(list, "model %s %d %d,%d,%d\n", name, opset, (int)batches[0],
                    (int)batches[1], (int)batches[2]);
        bool last = opset + step > REEL__ONNX_OPSET_LAST;
        opset =
            last && opset < REEL__ONNX_OPSET_LAST ? REEL__ONNX_OPSET_LAST : opset + step;
    }
    reel_graph_free(g);
}

static reel_tensor *forward(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_forward(user, x[0]);
}

/* Statistics as after some training, not zeros and ones; frees the model. */
static void write_model(const char *name, reel_module *net, reel_shape shape, int first,
                        int step)
{
    reel_scope s = reel_scope_begin();
    reel_train(net, true);
    for (int i = 0; i < 3; i++) (void)reel_forward(net, reel_randn(shape, REEL_F32));
    reel_train(net, false);
    bool grad = reel_set_grad_enabled(false);
    save_runs(name, forward, net, shape);
    save_graph(name, reel_trace(net, reel_randn(shape, REEL_F32), NULL), first, step);
    (void)reel_set_grad_enabled(grad);
    reel_scope_end(s);
    reel_module_free(net);
}

/* ---- functions that treat the batch in unusual ways ---------------------------------------- */

#define FUNCTION(name, expression)                                                       \
    static reel_tensor *name(void *user, reel_tensor *const in[], int count)             \
    {                                                                                    \
        reel_tensor *x = in[0];                                                          \
        int64_t n = reel_size(x, 0);                                                     \
        (void)user, (void)count, (void)n;                                                \
        return expression;                                                               \
    }
FUNCTION(merge_and_split,
         reel_reshape(reel_softmax(reel_reshape(x, REEL_SHAPE(n * 3, 4)), 1),
                      REEL_SHAPE(n, 2, 6)))
FUNCTION(batch_last, reel_reshape(reel_transpose(x, 0, 2), REEL_SHAPE(4, 3 * n)))
FUNCTION(class_token,
         reel_cat((reel_tensor *[]){reel_expand(reel_ones(REEL_SHAPE(1, 1, 4), REEL_F32),
                                                REEL_SHAPE(n, 1, 4)),
                                    x},
                  2, 1))
FUNCTION(whiten, reel_div(reel_sub(x, reel_mean(x, REEL_DIMS(0), true)),
                          reel_add_scalar(reel_var(x, REEL_DIMS(0, 1), 1, true), 1)))
FUNCTION(rows_but_one, reel_slice(x, 0, 1, REEL_END, 1))
FUNCTION(every_other, reel_slice(reel_cat((reel_tensor *[]){x, x}, 2, 0), 0, 0, 2 * n, 2))
FUNCTION(positions, reel_add(x, reel_reshape(reel_arange(1, 1 + (double)n, 1, REEL_F32),
                                             REEL_SHAPE(n, 1, 1))))
FUNCTION(padded, reel_pad(reel_flip(x, REEL_DIMS(0)), REEL_SHAPE(1, 0, 0),
                          REEL_SHAPE(2, 0, 1), 0.5))
FUNCTION(among_rows,
         reel_attention(reel_flatten(x, 1, 2), reel_flatten(x, 1, 2),
                        reel_flatten(x, 1, 2), &(reel_attention_opts){.causal = true}))
FUNCTION(filled, reel_mul(x, reel_full(REEL_SHAPE(n, 1, 4), 2, REEL_F32)))
FUNCTION(in_place, reel_relu_(reel_mul_scalar_(reel_add_scalar(x, 0.5), 2)))

static void write_functions(void)
{
#define ROW(name)                                                                        \
    {                                                                                    \
#name, name                                                                      \
    }
    static const struct {
        const char *name;
        reel_function fn;
    } row[] = {ROW(merge_and_split), ROW(batch_last),  ROW(class_token), ROW(whiten),
               ROW(rows_but_one),    ROW(every_other), ROW(positions),   ROW(padded),
               ROW(among_rows),      ROW(filled),      ROW(in_place)};
    const reel_shape shape = REEL_SHAPE(2, 3, 4);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x = reel_randn(shape, REEL_F32);
        save_runs(row[i].name, row[i].fn, NULL, shape);
        save_graph(row[i].name, reel_trace_function(row[i].fn, NULL, &x, 1, NULL),
                   REEL__ONNX_OPSET_FIRST, 4);
        reel_scope_end(s);
    }
}

/* An operator of the user's own, by a rule of the user's own. */
static reel_tensor *own_operator(void *op, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_custom(op, x, 1, NULL);
}

static void write_own_operator(void)
{
    const reel_shape shape = REEL_SHAPE(2, 3, 4);
    reel_custom_op *op = own_cube("own_cube", &(own_opts){.onnx = own_cube_onnx});
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_randn(shape, REEL_F32);
    save_runs("own_operator", own_operator, op, shape);
    save_graph("own_operator", reel_trace_function(own_operator, op, &x, 1, NULL),
               REEL__ONNX_OPSET_FIRST, 4);
    reel_scope_end(s);
    reel_custom_op_free(op);
}

static void write_models(void)
{
    reel_seed(1);
    write_own_operator();
    const int first = REEL__ONNX_OPSET_FIRST, usual = REEL__ONNX_OPSET_DEFAULT;
    write_functions();
    write_model("mlp", reel_mlp(48, 10, &(reel_mlp_opts){.activation = REEL_ACT_GELU}),
                REEL_SHAPE(2, 3, 4, 4), first, 1);
    write_model("resnet20", reel_resnet20(NULL), REEL_SHAPE(4, 3, 32, 32), first, 1);
    write_model("mobilenet_v2",
                reel_mobilenet_v2(&(reel_mobilenet_opts){
                    .classes = 10, .width = 0.35, .cifar_stem = true}),
                REEL_SHAPE(4, 3, 32, 32), usual, REEL__ONNX_OPSET_LAST);
    write_model("vit", reel_vit_tiny(&(reel_vit_opts){.dim = 48, .depth = 2}),
                REEL_SHAPE(4, 3, 32, 32), first, 1);
    write_model("resnet18", reel_resnet18(&(reel_resnet_opts){.classes = 10}),
                REEL_SHAPE(4, 3, 32, 32), usual, 9);
    write_model("resnet50", reel_resnet50(&(reel_resnet_opts){.classes = 10}),
                REEL_SHAPE(4, 3, 32, 32), usual, REEL__ONNX_OPSET_LAST);
}

int onnx_cases_write(const char *to)
{
    char path[512];
    folder = to;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return 1;
    snprintf(path, sizeof path, "%s/cases.txt", folder);
    if (!(list = fopen(path, "w"))) return 1;
    for (int i = 0; i < reel__n_ops && !reel_failed(); i++) write_record(reel__ops[i]);
    write_models();
    if (reel_failed()) fprintf(stderr, "%s\n", reel_error_message());
    bool ok = fclose(list) == 0 && !reel_failed();
    reel_scope_end(0);
    return ok ? 0 : 1;
}
