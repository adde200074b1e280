/* summary.c: what a model is and costs, by running it once with a hook on every module. The
 * cost comes from the operators' own formulas, so modules of any making are counted. */
#include <stdlib.h>
#include <string.h>

#include <reel/profile.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/decimal.h"
#include "base/option.h"
#include "nn/module.h"
#include "nn/text.h"

typedef struct row {
    reel_module *m;
    int hook, depth;
    bool was_training, ran;
    reel_shape shape; /* of the result */
    double bytes;     /* of the result */
    double before, flops;
} row;

typedef struct summary {
    row *rows;
    int n, room, most_depth;
    double flops; /* up to now; what ended counts have added */
} summary;

/* Operations so far. Counting is ended and begun anew, because that is how it is read. */
static double flops_now(summary *s)
{
    reel_cost c;
    if (!reel_cost_end(&c)) s->flops += c.flops;
    reel_cost_begin();
    return s->flops;
}

/* Rows lie in an array that moves while it grows; hooks look theirs up. */
static row *row_of(summary *s, const reel_module *m)
{
    int i = 0;
    while (s->rows[i].m != m) i++;
    return &s->rows[i];
}

static void before(void *user, reel_module *m, reel_tensor *x)
{
    (void)x;
    row_of(user, m)->before = flops_now(user);
}

static reel_tensor *after(void *user, reel_module *m, reel_tensor *x, reel_tensor *y)
{
    row *r = row_of(user, m);
    (void)x;
    r->flops += flops_now(user) - r->before;
    r->shape = reel_shape_of(y);
    r->bytes += (double)reel_numel(y) * (double)reel_dtype_size(reel_dtype_of(y));
    r->ran = true;
    return NULL;
}

static int depth_of(const char *path)
{
    int depth = *path ? 1 : 0;
    for (; *path; path++) depth += *path == '.';
    return depth;
}

static reel_status add_row(void *user, const char *path, reel_module *m)
{
    summary *s = user;
    if (s->n == s->room) {
        int room = s->room ? 2 * s->room : 64;
        row *rows = reel__realloc(s->rows, (size_t)room * sizeof *rows);
        if (!rows) return reel_error_status();
        s->rows = rows;
        s->room = room;
    }
    int hook = reel_module_add_hook(
        m, &(reel_module_hook){.before = before, .after = after, .user = s});
    if (!hook) return reel_error_status();
    s->rows[s->n++] =
        (row){.m = m, .hook = hook, .depth = depth_of(path), .was_training = m->training};
    return REEL_OK;
}

/* ---- text ---------------------------------------------------------------------------- */

/* 11,689,512 in a buffer of 32 bytes. */
static const char *commas(double value, char text[32])
{
    char digits[24];
    int n = reel__snprint(digits, sizeof digits, "%.0f", value), at = 0;
    for (int i = 0; i < n; i++) {
        text[at++] = digits[i];
        if ((n - i) % 3 == 1 && i + 1 < n) text[at++] = ',';
    }
    text[at] = '\0';
    return text;
}

static double own_params(const reel_module *m)
{
    double n = 0;
    for (int i = 0; i < m->tree->n_slot; i++)
        if (m->tree->slot[i].is_param) n += (double)reel_numel(m->tree->slot[i].tensor);
    return n;
}

/* A module's own parameters; all below it where deeper modules are not listed. */
static double row_params(const row *r, int most_depth)
{
    if (most_depth && r->depth == most_depth) return (double)reel_param_count(r->m);
    return own_params(r->m);
}

/* What a module without children computes; all below it where they are not listed. */
static bool is_bottom(const row *r, int most_depth)
{
    return r->m->tree->n_child == 0 || (most_depth && r->depth == most_depth);
}

static void add_line(reel__text *out, const summary *s, const row *r)
{
    char name[96], type[160], shape[REEL__SHAPE_TEXT], a[32] = "", b[32] = "", c[32] = "";
    snprintf(name, sizeof name, "%s", reel_module_name(r->m));
    snprintf(type, sizeof type, "%*s%s%s%s", 2 * r->depth, "", name, *name ? ": " : "",
             r->m->type);
    double params = row_params(r, s->most_depth);
    if (params > 0) commas(params, a);
    if (r->ran && is_bottom(r, s->most_depth)) {
        commas(r->flops / 2, b);
        commas(r->bytes / 1024, c);
    }
    reel__text_add(out, "%-40s %-20s %13s %17s %13s\n", type,
                   r->ran ? reel__shape_text(r->shape, shape) : "", a, b, c);
}

static char *describe(const summary *s, reel_module *m)
{
    reel__text out = {0};
    double activations = 0, trained = 0;
    char a[32], b[32];
    reel__text_add(&out, "%-40s %-20s %13s %17s %13s\n", "module", "result", "parameters",
                   "multiply-adds", "result KiB");
    for (int i = 0; i < s->n; i++) {
        if (s->rows[i].m->tree->n_child == 0) activations += s->rows[i].bytes;
        if (!s->most_depth || s->rows[i].depth <= s->most_depth)
            add_line(&out, s, &s->rows[i]);
    }
    reel_params p = reel_parameters(m);
    double bytes = 0;
    for (int i = 0; i < p.n; i++) {
        double n = (double)reel_numel(p.tensor[i]);
        bytes += n * (double)reel_dtype_size(reel_dtype_of(p.tensor[i]));
        if (reel_needs_grad(p.tensor[i])) trained += n;
    }
    reel__text_add(&out, "parameters %s (trained: %s), %.2f MiB\n",
                   commas((double)reel_param_count(m), a), commas(trained, b),
                   bytes / 1048576);
    reel__text_add(&out, "multiply-adds %s\n", commas(s->flops / 2, a));
    reel__text_add(&out, "activations of the layers %.2f MiB\n", activations / 1048576);
    if (!reel_failed() && out.s) return out.s;
    reel__text_free(&out);
    return NULL;
}

/* ---- running ------------------------------------------------------------------------- */

static reel_status run(summary *s, reel_module *m, reel_shape input, reel_dtype dtype)
{
    reel_status st = reel_cost_begin();
    if (st) return st;
    reel_scope scope = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_tensor *y = reel_forward(m, reel_zeros(input, dtype));
    reel_set_grad_enabled(was);
    reel_scope_end(scope);
    flops_now(s);
    reel_cost rest;
    reel_cost_end(&rest);
    return y ? REEL_OK : reel_error_status();
}

char *reel_summary(reel_module *m, reel_shape input, const reel_summary_opts *opts)
{
    REEL__CALLED;
    const reel_summary_opts *o = REEL__OPTS("summary", reel_summary_opts, opts);
    if (!o) return NULL;
    if (!m) reel_fail(REEL_ERR_ARG, "summary: the module is NULL");
    if (reel_failed()) return NULL;
    summary s = {.most_depth = o->depth};
    reel_rng_state rng = reel_rng_get();
    char *text = NULL;
    reel_status st = reel_module_each(m, add_row, &s);
    if (!st) reel_train(m, false);
    if (!st) st = run(&s, m, input, o->dtype);
    if (!st) text = describe(&s, m);
    for (int i = 0; i < s.n; i++) {
        s.rows[i].m->training = s.rows[i].was_training;
        reel_module_remove_hook(s.rows[i].m, s.rows[i].hook);
    }
    reel_rng_set(rng);
    reel__free(s.rows);
    return text;
}

reel_status reel_summary_write(reel_module *m, reel_shape input, FILE *to,
                               const reel_summary_opts *opts)
{
    REEL__CALLED;
    if (!to) return reel_fail(REEL_ERR_ARG, "summary_write: the file is NULL");
    char *text = reel_summary(m, input, opts);
    if (!text) return reel_error_status();
    if (fputs(text, to) < 0) reel_fail(REEL_ERR_IO, "summary_write: cannot write");
    reel__free(text);
    return reel_error_status();
}
