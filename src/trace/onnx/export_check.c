/* export_check.c: a file that was written is read back and must compute what the graph does.
 * Both run on the same drawn inputs, at a batch of one, a small and a larger one, at which the
 * file's open dimensions are fixed first: so what it says about shapes is computed too. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/onnx/export.h"
#include "trace/onnx/import.h"
#include "trace/passes/pass.h"

/* Largest difference, over the largest value, at which the arithmetic counts as the same. */
static double tolerance(reel_dtype dtype)
{
    return dtype == REEL_F16 || dtype == REEL_BF16 ? 2e-2
           : reel_dtype_is_float(dtype)            ? 1e-4
                                                   : 0;
}

/* The same of all values together, where whole steps are possible. */
#define MOST_STEPS 2e-2

/* ---- inputs ------------------------------------------------------------------------------- */

/* Integers may be indices, so they are 0, which every dimension has. */
static reel_tensor *draw(reel_shape shape, reel_dtype dtype)
{
    if (reel_dtype_is_float(dtype)) return reel_cast(reel_randn(shape, REEL_F32), dtype);
    if (dtype == REEL_I64 || dtype == REEL_I32) return reel_zeros(shape, dtype);
    return reel_cast(reel_randint(0, dtype == REEL_BOOL ? 2 : 100, shape, REEL_I64),
                     dtype);
}

/* Inputs of g at a batch size, the same each time; this thread's random stream stays. */
static reel_status draw_inputs(const reel_graph *g, int64_t batch, reel_tensor *x[])
{
    reel_rng_state before = reel_rng_get();
    reel_seed(0x0e1);
    for (int i = 0; i < g->n_input; i++) {
        const reel__value *v = &g->value[g->input[i]];
        reel_shape shape = reel__shape(&v->meta);
        for (int d = 0; d < shape.rank && batch; d++)
            shape.dim[d] += v->grow[d] * (batch - g->batch);
        x[i] = draw(shape, v->meta.dtype);
    }
    reel_rng_set(before);
    return reel_error_status();
}

/* The model's inputs get the sizes of these. */
static void fix_sizes(reel__onnx_model *m, reel_tensor *const x[])
{
    for (size_t i = 0; i < m->graph.input.n; i++) {
        const reel__onnx_value *v = m->graph.input.at[i];
        for (int d = 0; d < v->rank; d++)
            *(reel__onnx_dim *)(uintptr_t)&v->dim[d] =
                (reel__onnx_dim){x[i]->meta.dim[d], ""};
    }
}

/* ---- values ------------------------------------------------------------------------------- */

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Largest difference over the largest value; infinite where one is finite and one is not. */
static double distance(const double *a, const double *b, int64_t n)
{
    double off = 0, size = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        if (same(a[i], b[i])) continue;
        if (!isfinite(a[i]) || !isfinite(b[i])) return INFINITY;
        off = fmax(off, fabs(a[i] - b[i]));
    }
    for (int64_t i = 0; i < n; i++)
        if (isfinite(a[i])) size = fmax(size, fabs(a[i]));
    return off / size;
}

/* Root mean square of the differences over that of the values. */
static double mean_distance(const double *a, const double *b, int64_t n)
{
    double off = 0, size = 1e-60;
    for (int64_t i = 0; i < n; i++) {
        if (same(a[i], b[i])) continue;
        if (!isfinite(a[i]) || !isfinite(b[i])) return INFINITY;
        off += (a[i] - b[i]) * (a[i] - b[i]);
    }
    for (int64_t i = 0; i < n; i++)
        if (isfinite(a[i])) size += a[i] * a[i];
    return sqrt(off / size);
}

/* steps: values that were rounded otherwise may be whole steps apart, though few are. */
static reel_status compare_output(const char *path, const char *name, const char *whose,
                                  bool steps, reel_tensor *ours, reel_tensor *theirs)
{
    int64_t n = reel_numel(ours);
    if (!reel__same_shape(&ours->meta, &theirs->meta) ||
        ours->meta.dtype != theirs->meta.dtype)
        return reel_fail(REEL_ERR_INTERNAL,
                         "onnx_export: %s: output %s is %s in the file, the %s gives %s",
                         path, name, SHOW(&theirs->meta), whose, SHOW(&ours->meta));
    double *a = reel__malloc((size_t)n * 2 * sizeof *a), *b = a ? a + n : NULL;
    if (a && !reel_read(ours, a, REEL_F64) && !reel_read(theirs, b, REEL_F64)) {
        double off = steps ? mean_distance(a, b, n) : distance(a, b, n);
        double most = steps ? MOST_STEPS : tolerance(ours->meta.dtype);
        if (off > most)
            reel_fail(REEL_ERR_NUMERIC,
                      "onnx_export: %s: output %s of the file differs from the %s's by "
                      "%g of its %s; at most %g is right. Nothing was written",
                      path, name, whose, off, steps ? "size" : "largest value", most);
    }
    reel__free(a);
    return reel_error_status();
}

/* ---- the file ----------------------------------------------------------------------------- */

static int count_of(const reel_graph *g, const reel__op *op)
{
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i].op == op;
    return n;
}

/* What is off by a rounding may be off by a step behind a quantize. In integers both give the same
 * bits. A copy with layers lowered so; NULL with an error. */
static reel_graph *in_integers(const reel_graph *g)
{
    const reel_optimize_opts lower = {.only = reel__pass_lower_int8.name};
    reel_graph *copy = reel__graph_copy(g);
    if (!copy || !count_of(g, &reel__quantize) || !reel_graph_optimize(copy, &lower))
        return copy;
    reel_graph_free(copy);
    return NULL;
}

/* Whether the second says in other operators what the first says: then roundings differ. Views and
 * copies round nothing. */
static bool says_otherwise(const reel_graph *a, const reel_graph *b)
{
    bool differs = false;
    for (int i = 0; i < reel__n_ops && !differs; i++) {
        const reel__op *op = reel__ops[i];
        if (!(op->traits & REEL_OP_VIEW) && op != &reel__copy)
            differs = count_of(a, op) != count_of(b, op);
    }
    return differs;
}

static reel_status compare_graphs(const reel_graph *g, const reel_graph *back,
                                  const char *path, reel_tensor *x[])
{
    size_t n = (size_t)g->n_output;
    reel_graph *ours = in_integers(g), *theirs = ours ? in_integers(back) : NULL;
    reel_tensor **y = theirs ? reel__calloc(2 * n + 1, sizeof *y) : NULL;
    if (y && !reel_graph_run(theirs, x, g->n_input, y + n, g->n_output))
        (void)reel_graph_run(ours, x, g->n_input, y, g->n_output);
    const bool steps =
        !reel_failed() && count_of(g, &reel__quantize) && says_otherwise(ours, theirs);
    for (size_t i = 0; i < n && !reel_failed(); i++)
        (void)compare_output(path, g->output_name[i], "graph", steps, y[i], y[n + i]);
    reel__free(y);
    reel_graph_free(theirs);
    reel_graph_free(ours);
    return reel_error_status();
}

static reel_status compare_function(const reel_graph *g, reel_graph *back,
                                    const char *path, const reel_onnx_opts *opts,
                                    reel_tensor *x[])
{
    const reel__called fn = {opts->fn, opts->fn_n, opts->user};
    size_t n = (size_t)g->n_output;
    if (!n || !(fn.one || fn.many)) return reel_error_status();
    reel_tensor **y = reel__calloc(2 * n, sizeof *y);
    if (y && !reel__call_fn(&fn, "onnx_export", x, g->n_input, y, fn.one ? 1 : (int)n))
        (void)reel_graph_run(back, x, g->n_input, y + n, g->n_output);
    for (size_t i = 0; i < n && !reel_failed(); i++)
        if (y[i])
            (void)compare_output(path, g->output_name[i], "function", false, y[i],
                                 y[n + i]);
    reel__free(y);
    return reel_error_status();
}

static reel_status run_both(reel_graph *g, const reel__onnx_model *m, const char *path,
                            const reel_onnx_opts *opts, reel_tensor *x[])
{
    reel_graph *back = reel__onnx_import(m, path, NULL);
    if (back && !compare_graphs(g, back, path, x))
        (void)compare_function(g, back, path, opts, x);
    reel_graph_free(back);
    return reel_error_status();
}

static reel_status compare_at(reel_graph *g, reel__onnx_model *m, const char *path,
                              const reel_onnx_opts *opts, int64_t batch)
{
    reel_scope s = reel_scope_begin();
    reel_tensor **x = reel__calloc((size_t)g->n_input + 1, sizeof *x);
    if (x && !draw_inputs(g, batch, x)) {
        fix_sizes(m, x);
        (void)run_both(g, m, path, opts, x);
    }
    reel__free(x);
    reel_scope_end(s);
    return reel_error_status();
}

/* Rows that are taken by their number, say, are missing in a small batch. */
static bool has_meaning_at(const reel_graph *g, int64_t batch)
{
    reel__meta *meta = reel__calloc((size_t)g->n_value + 1, sizeof *meta);
    reel_status st = meta ? reel__metas_at(g, batch, meta) : reel_error_status();
    if (st && st != REEL_ERR_MEMORY) reel_error_clear();
    reel__free(meta);
    return !st;
}

static reel_status compare_all(reel_graph *g, reel__onnx_model *m, const char *path,
                               const reel_onnx_opts *opts)
{
    const int64_t batch[] = {1, 3, reel__larger_batch(g, 5)};
    if (!g->batch) return compare_at(g, m, path, opts, 0);
    for (size_t i = 0; i < sizeof batch / sizeof *batch && !reel_failed(); i++)
        if (has_meaning_at(g, batch[i])) (void)compare_at(g, m, path, opts, batch[i]);
    return reel_error_status();
}

reel_status reel__onnx_compare(reel_graph *g, const char *path, const char *file,
                               const char *data, const reel_onnx_opts *opts)
{
    const reel__onnx_read_opts read = {.data = data};
    reel__onnx_model *m = reel__onnx_read(file, &read);
    if (m && !opts->unchecked) (void)compare_all(g, m, path, opts);
    reel__onnx_model_free(m);
    return reel_error_status();
}
