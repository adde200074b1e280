/* docs/graphs.md and docs/quantization.md quote programs, and show graphs before and after each
 * pass. All that is made here, and checked:
 *
 *     test_graph_pages            compares (this is the test)
 *     test_graph_pages --write    writes it anew
 *
 * A line `<!-- make WHAT ARGUMENTS -->` of a page is an order; what it makes stands between it
 * and the next `<!-- end -->`. The rest of the page is written by hand. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/decimal.h"
#include "test_graph_pages/blocks.h"
#include "test_graph_pages/pages.h"
#include "trace/passes/pass.h"

#define DOCS REEL_SOURCE_DIR "/docs/"
enum { PATH_SIZE = 512, LINE_SIZE = 1024, LARGEST_PICTURE = 31000, TALL_PICTURE = 18000 };

static bool writing;
static int n_pictures; /* made so far */

/* ---- files ------------------------------------------------------------------------------- */

/* What is under docs/ at that path must be this text, or becomes it. Frees the text. */
static void text_end(text *t, const char *path)
{
    char full[PATH_SIZE];
    snprintf(full, sizeof full, DOCS "%s", path);
    assert_int_equal(fclose(t->to), 0);
    if (writing) {
        FILE *f = fopen(full, "wb");
        if (!f) fail_msg("cannot write %s", full);
        assert_int_equal(fwrite(t->at, 1, t->n, f), t->n);
        assert_int_equal(fclose(f), 0);
    } else {
        char *there = read_file(full);
        if (strcmp(there, t->at) != 0)
            fail_msg("docs/%s is out of date: run test_graph_pages --write", path);
        free(there);
    }
    free(t->at);
}

/* ---- graphs ------------------------------------------------------------------------------ */

static reel_graph *trace(reel_module *net, reel_tensor *x)
{
    reel_train(net, false);
    bool was = reel_set_grad_enabled(false);
    reel_graph *g = reel_trace(net, x, NULL);
    (void)reel_set_grad_enabled(was);
    reel_module_free(net);
    no_error();
    return g;
}

static reel_graph *resnet(void)
{
    return trace(resnet_block(64, 128), reel_randn(REEL_SHAPE(8, 64, 32, 32), REEL_F32));
}

static reel_graph *transformer(void)
{
    return trace(transformer_block(64), reel_randn(REEL_SHAPE(8, 16, 64), REEL_F32));
}

static reel_graph *resnet20(void)
{
    return trace(reel_resnet20(&(reel_resnet_opts){.classes = 10}),
                 reel_randn(REEL_SHAPE(8, 3, 32, 32), REEL_F32));
}

static const struct {
    const char *name;
    reel_graph *(*make)(void);
} graphs[] = {{"resnet", resnet}, {"transformer", transformer}, {"resnet20", resnet20}};

static reel_graph *graph_of(const char *name)
{
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        if (strcmp(graphs[i].name, name) == 0) return graphs[i].make();
    fail_msg("a page names the graph \"%s\"", name);
    return NULL;
}

/* ---- what can be made -------------------------------------------------------------------- */

/* Writes a picture, and lines that show it; a tall one is folded away. `path`: from docs/ on. */
static void put_picture(FILE *to, const reel_graph *g, const char *path, const char *name,
                        const char *how)
{
    char title[PATH_SIZE];
    text t;
    snprintf(title, sizeof title, "%s block, %s", name, how);
    text_begin(&t);
    (void)reel_graph_write_svg(g, t.to, &(reel_view_opts){.title = title});
    no_error();
    (void)fflush(t.to);
    if (t.n > LARGEST_PICTURE) fail_msg("docs/%s has %zu bytes", path, t.n);
    bool tall = t.n > TALL_PICTURE;
    n_pictures++;
    text_end(&t, path);
    fputs(tall ? "\n<details><summary>picture</summary>\n" : "", to);
    fprintf(to, "\n![%s](%s)\n", title, path);
    fputs(tall ? "\n</details>\n" : "", to);
}

/* Nodes, and docs/graphs/NAME-STEP-PASS.svg. */
static void put_step(FILE *to, const reel_graph *g, const char *name, int step,
                     const char *pass)
{
    char path[PATH_SIZE];
    char *nodes = nodes_of(g);
    fprintf(to, "```\n%s```\n", nodes);
    free(nodes);
    snprintf(path, sizeof path, "graphs/%s-%d-%s.svg", name, step, pass);
    put_picture(to, g, path, name, pass);
}

/* Whether the pass changed a node. */
static bool optimize(reel_graph *g, const char *pass)
{
    char *before = nodes_of(g);
    (void)reel_graph_optimize(g, &(reel_optimize_opts){.only = pass});
    char *after = nodes_of(g);
    bool changed = strcmp(before, after) != 0;
    free(before);
    free(after);
    return changed;
}

/* Nodes that run each time; the others make weights of weights, once. */
static int each_time(const reel_graph *g)
{
    reel_graph *r = reel__graph_as_run(g);
    int n = reel_graph_nodes(r);
    reel_graph_free(r);
    return n;
}

static void put_counts(FILE *to, const reel_graph *g, const char *pass, const char *about,
                       int before)
{
    int n = each_time(g), once = reel_graph_nodes(g) - n;
    fprintf(to, "\n**After `%s`** (%s): **%d nodes**", pass, about, n);
    if (once) fprintf(to, " that run each time, %d that run once", once);
    fprintf(to, "; %d before.\n\n", before);
}

/* `make passes GRAPH`: the graph as traced, and after each pass that changes it. */
static void make_passes(FILE *to, const char *name)
{
    reel_graph *g = graph_of(name), *all = reel_graph_copy(g);
    int step = 0, nodes = each_time(g);
    fprintf(to, "**As traced: %d nodes.**\n\n", nodes);
    put_step(to, g, name, step++, "traced");
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < reel_pass_count(); i++) {
            const char *pass = reel_pass_name(i);
            if (!optimize(g, pass)) continue;
            changed = true;
            put_counts(to, g, pass, reel_pass_about(i), nodes);
            nodes = each_time(g);
            put_step(to, g, name, step++, pass);
        }
    }
    (void)reel_graph_optimize(all, NULL); /* one by one is what all together do */
    no_error();
    assert_int_equal(each_time(all), nodes);
    reel_graph_free(all);
    reel_graph_free(g);
}

/* The graph of a prepared module: what it computes in eval mode. */
static reel_graph *faked(reel_module *q, reel_tensor *x)
{
    bool was = reel_set_grad_enabled(false);
    reel_graph *g = reel_trace(q, x, NULL);
    (void)reel_set_grad_enabled(was);
    return g;
}

/* `make quantized GRAPH`: from floats to integers, a step each. */
static void make_quantized(FILE *to, const char *name)
{
    reel_graph *g = graph_of(name);
    reel_module *q = reel_quantize_prepare(g, NULL);
    reel_tensor *x = reel_randn(reel_graph_input_shape(g, 0, NULL), REEL_F32);
    reel_train(q, false);
    (void)reel_quantize_observe(q, true);
    (void)reel_forward(q, x);
    (void)reel_quantize_observe(q, false);
    reel_graph *fake = faked(q, x), *integers = reel_quantize_convert(q);
    no_error();
    fputs("**Prepared and calibrated**: batch norm is folded, and what is to have eight "
          "bits goes "
          "through `fake_quantize`.\n\n",
          to);
    put_step(to, fake, name, 1, "prepared");
    fputs("\n**Converted**: each `fake_quantize` has become a `quantize` and a "
          "`dequantize`, weights "
          "and biases are integers. This is what a file holds.\n\n",
          to);
    put_step(to, integers, name, 2, "converted");
    (void)reel_graph_optimize(integers, NULL);
    no_error();
    fputs("\n**Optimized**: what stood between `dequantize` and `quantize` runs on "
          "integers.\n\n",
          to);
    put_step(to, integers, name, 3, "integers");
    reel_graph_free(integers);
    reel_graph_free(fake);
    reel_module_free(q);
    reel_graph_free(g);
}

/* `make table`: the passes in order. */
static void make_table(FILE *to, const char *unused)
{
#define PASS(name) &reel__pass_##name,
    static const reel__pass *const pass[] = {
#include "trace/passes/passes.def"
    };
#undef PASS
    (void)unused;
    fputs("| pass | what it does | keeps every bit |\n|---|---|---|\n", to);
    for (size_t i = 0; i < sizeof pass / sizeof *pass; i++)
        fprintf(to, "| `%s` | %s | %s |\n", pass[i]->name, pass[i]->about,
                pass[i]->exact ? "yes" : "within rounding");
}

/* `make text GRAPH`: the optimized graph in full, and docs/graphs/GRAPH-optimized.svg. */
static void make_text(FILE *to, const char *name)
{
    char path[PATH_SIZE];
    reel_graph *g = graph_of(name);
    (void)reel_graph_optimize(g, NULL);
    char *all = reel_graph_to_string(g);
    no_error();
    fprintf(to, "```\n%s```\n", all);
    free(all);
    snprintf(path, sizeof path, "graphs/%s-optimized.svg", name);
    put_picture(to, g, path, name, "optimized");
    reel_graph_free(g);
}

/* `make report GRAPH`: the cost report of the optimized graph. */
static void make_report(FILE *to, const char *name)
{
    reel_graph *g = graph_of(name);
    (void)reel_graph_optimize(g, NULL);
    fputs("```\n", to);
    (void)reel_graph_report(g, to, &(reel_roofline){.gflops = 200, .gbytes = 40});
    fputs("```\n", to);
    no_error();
    reel_graph_free(g);
}

static void put_memory_row(FILE *to, const reel_graph *g, const char *what, int64_t batch)
{
    reel_plan_memory m;
    reel_executor *e = reel_executor_new(g, &(reel_executor_opts){.batch = batch});
    (void)reel_executor_memory(e, &m);
    no_error();
    reel__fprint(to, "| %s | %lld | %lld | %.2f | %.2f | %.2f |\n", what,
                 (long long)m.batch, (long long)m.n_values, (double)m.values / 1048576,
                 (double)m.lower_bound / 1048576, (double)m.arena / 1048576);
    reel_executor_free(e);
}

/* `make memory GRAPH`: what plans take, in MiB. */
static void make_memory(FILE *to, const char *name)
{
    reel_graph *g = graph_of(name);
    fputs("| graph | batch | values | side by side | lower bound | arena |\n"
          "|---|---|---|---|---|---|\n",
          to);
    put_memory_row(to, g, "as traced", 32);
    (void)reel_graph_optimize(g, NULL);
    put_memory_row(to, g, "optimized", 1);
    put_memory_row(to, g, "optimized", 32);
    reel_graph_free(g);
}

/* ---- the page ---------------------------------------------------------------------------- */

static const struct {
    const char *order;
    void (*make)(FILE *to, const char *arguments);
} orders[] = {{"passes ", make_passes},      {"table", make_table},
              {"text ", make_text},          {"report ", make_report},
              {"memory ", make_memory},      {"quote ", make_quote},
              {"quantized ", make_quantized}};

/* Carries out the line if it is an order. */
static bool obey(FILE *to, const char *line)
{
    char order[LINE_SIZE];
    if (strncmp(line, "<!-- make ", 10) != 0) return false;
    snprintf(order, sizeof order, "%.*s", (int)strcspn(line + 10, "\n"), line + 10);
    char *end = strstr(order, " -->");
    assert_non_null(end);
    *end = '\0';
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        size_t n = strlen(orders[i].order);
        if (strncmp(order, orders[i].order, n) != 0) continue;
        reel_scope s = reel_scope_begin();
        reel_seed(1);
        fputs("\n", to); /* markdown begins again after a comment and an empty line */
        orders[i].make(to, order + n);
        fputs("\n<!-- end -->\n", to);
        reel_scope_end(s);
        return true;
    }
    fail_msg("no such order: %s", order);
    return false;
}

/* Pictures that no order makes any longer must go. */
static void check_leftovers(void)
{
    int n = 0;
    DIR *folder = opendir(DOCS "graphs");
    assert_non_null(folder);
    for (struct dirent *d; (d = readdir(folder));) n += strstr(d->d_name, ".svg") != NULL;
    (void)closedir(folder);
    if (n != n_pictures)
        fail_msg("docs/graphs has %d pictures, %d are made: remove the others", n,
                 n_pictures);
}

static void make_page(const char *name)
{
    text t;
    char path[PATH_SIZE];
    snprintf(path, sizeof path, DOCS "%s", name);
    char *page = read_file(path);
    bool made = false; /* within what an order made before */
    text_begin(&t);
    for (char *line = page; *line;) {
        size_t n = strcspn(line, "\n") + 1;
        if (!made) fwrite(line, 1, n, t.to);
        if (made)
            made = strncmp(line, "<!-- end -->", 12) != 0;
        else
            made = obey(t.to, line);
        line += n;
    }
    assert_false(made); /* the last order has an end */
    free(page);
    text_end(&t, name);
}

static void make_pages(void **state)
{
    (void)state;
    make_page("graphs.md");
    make_page("quantization.md");
    check_leftovers();
}

int main(int argc, char **argv)
{
    writing = argc == 2 && strcmp(argv[1], "--write") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(make_pages)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
