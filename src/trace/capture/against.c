/* against.c: a graph against the function that it was captured from, on inputs that neither has
 * seen, and with a batch well above those that were captured: whatever went unseen, such as a
 * value that was read, memory that was written behind reel's back, a branch on the batch size,
 * shows as another result. Both run the same kernels, so results must be equal bit for bit. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/graph/graph.h"

/* The larger batch is what this much work, or memory, allows, within these bounds. Thresholds
 * in programs are mostly powers of two: neither bound is one. */
#define MOST_FLOPS 1e10
#define MOST_BYTES 3e8
enum { LEAST_BATCH = 13, MOST_BATCH = 67 };

int64_t reel__larger_batch(const reel_graph *g, int64_t least)
{
    if (!g->batch) return 0;
    double rows = (double)g->batch;
    double flops = reel_graph_cost(g).flops / rows;
    double bytes = (double)reel_graph_peak_bytes(g) / rows;
    double most = fmin(MOST_FLOPS / (flops + 1), MOST_BYTES / (bytes + 1));
    return (int64_t)fmax((double)least, fmin(most, MOST_BATCH));
}

/* ---- inputs ------------------------------------------------------------------------------- */

/* Numbers from the range of x's, so that logarithms and roots get what they expect. */
static reel_tensor *fresh_numbers(reel_tensor *x, reel_shape shape)
{
    double low = 0, high = 0;
    if (reel_numel(x) > 0) {
        reel_tensor *wide = reel_cast(x, REEL_F64);
        low = reel_item(reel_min(wide, REEL_ALL, false));
        high = reel_item(reel_max(wide, REEL_ALL, false));
    }
    reel_tensor *r = reel_randn(shape, REEL_F64);
    if (isfinite(low) && isfinite(high) && low < high)
        r = reel_add_scalar(reel_mul_scalar(reel_rand(shape, REEL_F64), high - low), low);
    return reel_cast(r, reel_dtype_of(x));
}

/* Whole numbers may be indices: rows of x in another order, which are valid together. */
static reel_tensor *fresh_rows(reel_tensor *x, int64_t rows)
{
    int64_t have = x->meta.rank ? x->meta.dim[0] : 0;
    if (rows < 0 || have < 1) return x;
    return reel_index_select(x, 0, reel_randint(0, have, REEL_SHAPE(rows), REEL_I64));
}

/* Input i of g at a batch size, in the graph's order of memory. */
static reel_tensor *fresh(const reel_graph *g, int i, int64_t batch, reel_tensor *x)
{
    const reel__value *v = &g->value[g->input[i]];
    reel__meta m;
    reel__value_meta_at(g, g->input[i], batch, &m);
    bool batched = batch && m.rank && v->grow[0];
    reel_tensor *y = reel_dtype_is_float(m.dtype)
                         ? fresh_numbers(x, reel__shape(&m))
                         : fresh_rows(x, batched ? m.dim[0] : -1);
    return y ? reel__in_order(y, &m) : NULL;
}

/* ---- results ------------------------------------------------------------------------------ */

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static reel_status differs(const reel_graph *g, int64_t batch, double most)
{
    const char *reads = reel_graph_reads(g);
    char at[48] = "";
    if (batch) (void)snprintf(at, sizeof at, " at batch %lld", (long long)batch);
    return reel_fail(REEL_ERR_STATE,
                     "trace: on other inputs%s the graph gives other values than the "
                     "function (off by up "
                     "to %g): what it does depends on something that no operator "
                     "computes%s%.*s. Compute "
                     "it with operators, or trace with `unchecked`",
                     at, most,
                     *reads ? "; it reads: " : ", such as memory that is written from C",
                     (int)strcspn(reads, "\n"), reads);
}

static reel_status compare(const reel_graph *g, int64_t batch, reel_tensor *want,
                           reel_tensor *have)
{
    int64_t n = reel_numel(want);
    if (!reel__same_shape(&want->meta, &have->meta))
        return reel_fail(
            REEL_ERR_STATE,
            "trace: at batch %lld the function gives %s, the graph %s: what it "
            "does depends on the batch size",
            (long long)batch, SHOW(&want->meta), SHOW(&have->meta));
    double *a = reel__malloc((size_t)n * 2 * sizeof *a + 1), *b = a ? a + n : NULL,
           most = 0;
    bool equal = true;
    if (a && !reel_read(want, a, REEL_F64) && !reel_read(have, b, REEL_F64))
        for (int64_t i = 0; i < n; i++) {
            if (same(a[i], b[i])) continue;
            equal = false;
            most = fmax(most, isfinite(a[i] - b[i]) ? fabs(a[i] - b[i]) : INFINITY);
        }
    reel__free(a);
    if (reel_failed()) return reel_error_status();
    return equal ? REEL_OK : differs(g, batch, most);
}

/* ---- the function --------------------------------------------------------------------------- */

reel_status reel__call_fn(const reel__called *fn, const char *who, reel_tensor *const x[],
                          int n_x, reel_tensor *y[], int n_y)
{
    REEL__CALLS_BACK;
    for (int i = 0; i < n_y; i++) y[i] = NULL;
    reel_status st = REEL_OK;
    if (fn->one)
        y[0] = fn->one(fn->user, x, n_x);
    else
        st = fn->many(fn->user, x, n_x, y, n_y);
    if (reel_failed()) return reel_error_status();
    if (st) return reel_fail(st, "%s: fn returned status %d", who, (int)st);
    for (int i = 0; i < n_y; i++)
        if (!y[i])
            return fn->one || n_y == 1
                       ? reel_fail(REEL_ERR_STATE, "%s: fn gave NULL and no error", who)
                       : reel_fail(REEL_ERR_STATE,
                                   "%s: fn gave NULL for result %d and no error", who, i);
    return REEL_OK;
}

/* ---- both --------------------------------------------------------------------------------- */

/* The graph first: what the function changes behind reel's back, such as a count, is not yet
 * changed for it. They draw the same random numbers. */
static reel_status run_both(reel_graph *g, const reel__called *fn, int64_t batch,
                            reel_tensor *const x[])
{
    reel_rng_state rng = reel_rng_get();
    reel_tensor *have[REEL_OP_MAX_IN] = {NULL}, *want[REEL_OP_MAX_IN];
    if (reel_graph_run(g, x, g->n_input, have, g->n_output)) return reel_error_status();
    reel_rng_set(rng);
    reel_status st = reel__call_fn(fn, "trace", x, g->n_input, want, g->n_output);
    for (int i = 0; i < g->n_output && !st; i++) st = compare(g, batch, want[i], have[i]);
    return st;
}

reel_status reel__graph_against(reel_graph *g, const reel__called *fn,
                                reel_tensor *const x[])
{
    reel_rng_state rng = reel_rng_get();
    reel_scope s = reel_scope_begin();
    int64_t batch = reel__larger_batch(g, LEAST_BATCH);
    reel_tensor *in[REEL_OP_MAX_IN];
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; i < g->n_input && !reel_failed(); i++) {
        in[i] = fresh(g, i, batch, x[i]);
        if (in[i] && was && reel_needs_grad(x[i]))
            in[i] = reel_requires_grad(in[i], true);
    }
    (void)reel_set_grad_enabled(was);
    if (!reel_failed()) (void)run_both(g, fn, batch, in);
    reel_scope_end(s);
    reel_rng_set(rng);
    return reel_error_status();
}
