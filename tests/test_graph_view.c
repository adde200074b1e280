/* test_graph_view.c: pictures and pages are well-formed, say what the graph says, and are laid
 * out without overlap; reports add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <reel/reel.h>

#include "base/alloc.h"
#include "trace/graph/graph.h"
#include "trace/view/picture.h"

static void no_error(void)
{
    if (reel_failed()) print_error("%s\n", reel_error_message());
    assert_false(reel_failed());
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static reel_graph *net_graph(reel_module *net)
{
    reel_train(net, false);
    reel_graph *g = reel_trace(net, reel_randn(REEL_SHAPE(2, 3, 32, 32), REEL_F32), NULL);
    no_error();
    reel_module_free(net);
    return g;
}

/* A step has wide layers, long links, nodes without results and boxes that nobody reads. */
static reel_graph *step_graph(void)
{
    reel_module *net = reel_resnet20(NULL);
    reel_optim *optim =
        reel_sgd(reel_parameters(net), &(reel_sgd_opts){.lr = 0.1, .momentum = 0.9});
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 3, 32, 32), REEL_F32), *loss = NULL;
    reel_tensor *y = reel_randint(0, 10, REEL_SHAPE(2), REEL_I64);
    for (int i = 0; i < 2; i++) {
        if (i) {
            reel_capture_begin();
            reel_capture_module(net);
            reel_capture_input(x, "x");
            reel_capture_input(y, "y");
        }
        loss = reel_cross_entropy(reel_forward(net, x), y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(optim);
        reel_optim_zero_grad(optim);
    }
    reel_graph *g = reel_capture_end(&loss, 1, NULL);
    no_error();
    reel_optim_free(optim);
    reel_module_free(net);
    return g;
}

/* Random operators on random earlier values. */
static reel_graph *random_graph(int nodes)
{
    uint64_t seed = 1;
    char *text = malloc((size_t)nodes * 64 + 64);
    size_t at = (size_t)sprintf(text, "input x f32[3]\n%%0 f32[3] = relu(x)\n");
    for (int i = 1; i < nodes; i++) {
        int pick[2];
        for (int k = 0; k < 2; k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            int back = 1 + (int)((seed >> 33) % (i < 30 ? (unsigned)i : 30));
            pick[k] = i - back;
        }
        at += (size_t)sprintf(text + at, "%%%d f32[3] = add(%%%d, %%%d)\n", i, pick[0],
                              pick[1]);
    }
    sprintf(text + at, "output y = %%%d\n", nodes - 1);
    reel_graph *g = reel_graph_parse(text, NULL, NULL);
    free(text);
    no_error();
    return g;
}

enum { GRAPHS = 4 };
static reel_graph *graph_number(int i)
{
    reel_seed(2);
    switch (i) {
    case 0: return net_graph(reel_resnet20(NULL));
    case 1:
        return net_graph(
            reel_vit_tiny(&(reel_vit_opts){.dim = 32, .depth = 2, .heads = 2}));
    case 2: return random_graph(60);
    default: return step_graph();
    }
}

/* ---- layout ---------------------------------------------------------------------------------- */

static bool apart(const reel__box *a, const reel__box *b)
{
    return a->x + a->w < b->x || b->x + b->w < a->x || a->y + a->h < b->y ||
           b->y + b->h < a->y;
}

static bool crosses(const reel__bend *bend, const reel__box *b)
{
    return bend->x > b->x && bend->x < b->x + b->w && bend->y < b->y + b->h &&
           b->y < bend->y + bend->h;
}

static void check_layout(const reel__layout *l)
{
    for (int i = 0; i < l->n_box; i++) {
        const reel__box *a = &l->box[i];
        assert_true(a->x >= -0.01 && a->y >= 0 && a->x + a->w <= l->width + 0.01 &&
                    a->y + a->h <= l->height + 0.01);
        for (int k = 0; k < i; k++) assert_true(apart(a, &l->box[k]));
        for (int k = 0; k < l->n_bend; k++) assert_false(crosses(&l->bend[k], a));
    }
    for (int i = 0; i < l->n_link; i++) {
        const reel__link *k = &l->link[i];
        const reel__box *from = &l->box[k->from], *to = &l->box[k->to];
        assert_true(from->layer < to->layer && from->y + from->h < to->y);
        if (k->is_long) continue;
        assert_true(k->x0 > from->x && k->x0 < from->x + from->w);
        assert_true(k->x1 > to->x && k->x1 < to->x + to->w);
        assert_int_equal(k->n_bend, to->layer - from->layer - 1);
        for (int b = 1; b < k->n_bend; b++)
            assert_true(l->bend[k->bend + b].y > l->bend[k->bend + b - 1].y);
    }
}

static void test_nothing_overlaps(void **state)
{
    (void)state;
    for (int i = 0; i < GRAPHS; i++) {
        reel_graph *g = graph_number(i);
        reel__totals t;
        reel__picture p;
        assert_int_equal(reel__totals_of(g, g, "test", NULL, &t), REEL_OK);
        assert_int_equal(reel__picture_make(g, &t, &p), REEL_OK);
        check_layout(&p.layout);
        reel__picture_free(&p);
        reel__totals_free(&t);
        reel_graph_free(g);
        reel_scope_end(0);
    }
}

/* A chain is one straight line, and a diamond has no crossing. */
static void test_simple_pictures_are_simple(void **state)
{
    (void)state;
    reel_graph *g = reel_graph_parse("input x f32[3]\n%0 f32[3] = relu(x)\n"
                                     "%1 f32[3] = neg(%0)\n%2 f32[3] = exp(%1)\n"
                                     "%3 f32[3] = add(%0, %2)\noutput y = %3\n",
                                     NULL, NULL);
    reel__totals t;
    reel__picture p;
    assert_int_equal(reel__totals_of(g, g, "test", NULL, &t), REEL_OK);
    assert_int_equal(reel__picture_make(g, &t, &p), REEL_OK);
    const reel__layout *l = &p.layout;
    assert_int_equal(l->n_box, 6);
    /* neg above exp */
    assert_true(fabs(l->box[2].x + l->box[2].w / 2 - l->box[3].x - l->box[3].w / 2) <
                0.1);
    int bends = 0;
    for (int i = 0; i < l->n_link; i++) bends += l->link[i].n_bend;
    assert_int_equal(bends, 2); /* %0 passes two layers */
    assert_true(l->bend[0].x == l->bend[1].x);
    reel__picture_free(&p);
    reel__totals_free(&t);
    reel_graph_free(g);
}

static void test_large_graph_is_fast(void **state)
{
    (void)state;
    reel_graph *g = random_graph(2000);
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    clock_t begin = clock();
    assert_int_equal(reel_graph_write_html(g, to, NULL), REEL_OK);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    fclose(to);
    print_message("2000 nodes: %.2f s, %zu bytes\n", seconds, size);
    assert_true(seconds < 20); /* about 0.3; sanitizers and old machines are slower */
    free(text);
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- XML ---------------------------------------------------------------------------------------- */

static bool is_entity(const char *c)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    for (size_t i = 0; i < 4; i++)
        if (strncmp(c, known[i], strlen(known[i])) == 0) return true;
    return false;
}

/* Reads a tag; its name goes to `name`. What follows, and whether it ends itself. */
static const char *read_tag(const char *c, char name[32], bool *closed)
{
    size_t n = strcspn(c, " \n/>");
    assert_true(n > 0 && n < 32);
    memcpy(name, c, n);
    name[n] = '\0';
    c += n;
    while (*c == ' ' || *c == '\n') {
        c += strspn(c, " \n");
        if (*c == '/' || *c == '>') break;
        c += strcspn(c, "= <>\"");
        assert_true(c[0] == '=' && c[1] == '"');
        for (c += 2; *c != '"'; c++) {
            assert_true(*c && *c != '<');
            assert_true(*c != '&' || is_entity(c));
        }
        c++;
    }
    *closed = *c == '/';
    c += *closed;
    assert_int_equal(*c, '>');
    return c + 1;
}

/* Tags balance, attributes are quoted, nothing stands raw that XML reserves. Number of tags. */
static int check_xml(const char *c)
{
    static char open[64][32];
    int depth = 0, tags = 0;
    while (*c) {
        char name[32];
        bool closed;
        assert_true(*c != '&' || is_entity(c));
        if (*c++ != '<') continue;
        if (*c == '!') {
            c += strcspn(c, ">");
        } else if (*c == '/') {
            size_t n = strcspn(++c, ">");
            assert_true(depth > 0 && strlen(open[depth - 1]) == n);
            assert_memory_equal(open[--depth], c, n);
        } else {
            c = read_tag(c, name, &closed);
            tags++;
            if (!closed) {
                assert_true(depth < 64);
                strcpy(open[depth++], name);
            }
        }
    }
    assert_int_equal(depth, 0);
    return tags;
}

static char *written(reel_status (*write)(const reel_graph *, FILE *,
                                          const reel_view_opts *),
                     const reel_graph *g, const reel_view_opts *opts)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(write(g, to, opts), REEL_OK);
    fclose(to);
    assert_int_equal(strlen(text), size);
    char *out = strdup(text);
    free(text);
    return out;
}

static void test_well_formed(void **state)
{
    (void)state;
    const reel_roofline peaks = {100, 10};
    const reel_view_opts opts = {.title = "a <b> & \"c\"", .peaks = &peaks};
    for (int i = 0; i < GRAPHS; i++) {
        reel_graph *g = graph_number(i);
        char *svg = written(reel_graph_write_svg, g, i % 2 ? &opts : NULL);
        char *html = written(reel_graph_write_html, g, i % 2 ? &opts : NULL);
        assert_true(check_xml(svg) > 3 * g->n_node);
        assert_true(check_xml(html) > 10 * g->n_node);
        const char *space = strstr(html, "http://www.w3.org/2000/svg"); /* a name */
        assert_non_null(space);
        assert_null(strstr(space + 7, "http://"));
        assert_null(strstr(html, "https://"));
        if (i % 2) assert_non_null(strstr(html, "a &lt;b&gt; &amp; &quot;c&quot;"));
        free(svg);
        free(html);
        reel_graph_free(g);
        reel_scope_end(0);
    }
}

static void rename_to(char **text, const char *name)
{
    reel__free(*text);
    *text = reel__strdup(name);
}

static void test_any_name_is_escaped(void **state)
{
    (void)state;
    static const char *const names[] = {"</text><script>alert(1)</script>",
                                        "\"&'<>",
                                        "\x01\x7f\x80\xff",
                                        "\xed\xa0\x80\xc0\xaf",
                                        "\xe4\xbe\x8b \xf0\x9f\x98\x80",
                                        "]]>",
                                        ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        reel_graph *g = reel_graph_parse("input x f32[3]\n%0 f32[3] = relu(x)  # w\n"
                                         "output y = %0\n",
                                         NULL, NULL);
        rename_to(&g->value[0].name, names[i]);
        rename_to(&g->output_name[0], names[i]);
        rename_to(&g->node[0].where, names[i]);
        char *svg = written(reel_graph_write_svg, g, NULL);
        char *html =
            written(reel_graph_write_html, g, &(reel_view_opts){.title = names[i]});
        (void)check_xml(svg);
        (void)check_xml(html);
        assert_null(strstr(svg, "<script"));
        assert_null(strchr(svg, '\x01'));
        assert_null(strchr(svg, '\xff'));
        free(svg);
        free(html);
        reel_graph_free(g);
    }
}

static void test_what_the_picture_says(void **state)
{
    (void)state;
    reel_graph *g = net_graph(reel_resnet20(NULL));
    char *svg = written(reel_graph_write_svg, g, NULL);
    assert_non_null(strstr(svg, ">conv2d</text>"));
    assert_non_null(strstr(svg, ">layer1.0.conv1</text>"));
    assert_non_null(strstr(svg, ">weight [16,16,3,3]</text>"));
    assert_non_null(strstr(svg, ">f32[batch,16,32,32]</text>"));
    assert_non_null(strstr(svg, "reads layer1.0.conv1.weight f32[16,16,3,3]"));
    free(svg);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_write_errors(void **state)
{
    (void)state;
    reel_graph *g = random_graph(400);
    FILE *full = fopen("/dev/full", "w");
    if (!full) skip();
    assert_int_equal(reel_graph_write_html(g, full, NULL), REEL_ERR_IO);
    reel_error_clear();
    fclose(full);
    for (int64_t k = 1;; k++) {
        reel__fault_alloc(k, false);
        FILE *to = fopen("/dev/null", "w");
        reel_status st = reel_graph_write_html(g, to, NULL);
        bool hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        fclose(to);
        assert_int_equal(st, hit ? REEL_ERR_MEMORY : REEL_OK);
        reel_error_clear();
        if (!hit) break;
        if (k > 40) k += k / 3;
    }
    reel_graph_free(g);
    reel_scope_end(0);
}

/* ---- cost ------------------------------------------------------------------------------------------ */

static void test_costs_add_up(void **state)
{
    (void)state;
    const reel_roofline peaks = {100, 10};
    reel_graph *g = net_graph(reel_resnet20(NULL));
    reel_cost sum = reel_graph_cost(g), mine = {0};
    int64_t params = 0;
    for (int i = 0; i < reel_graph_nodes(g); i++) {
        reel_node_cost c;
        assert_int_equal(reel_graph_node_cost(g, i, &peaks, &c), REEL_OK);
        mine.flops += c.cost.flops;
        mine.bytes_read += c.cost.bytes_read;
        params += c.params;
        double bytes = c.cost.bytes_read + c.cost.bytes_written;
        double bound = fmax(c.cost.flops / 100e9, bytes / 10e9);
        assert_true(fabs(c.seconds_bound - bound) <= 1e-12 * bound);
    }
    assert_true(mine.flops == sum.flops && mine.bytes_read == sum.bytes_read);
    assert_int_equal(params, 272474); /* as the paper's table and summary have it */
    assert_int_equal(reel_graph_set_batch(g, 6), REEL_OK);
    assert_true(fabs(reel_graph_cost(g).flops / sum.flops - 3) < 1e-9);
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(reel_graph_report(g, to, &peaks), REEL_OK);
    fclose(to);
    assert_non_null(strstr(text, "at batch 6"));
    assert_non_null(strstr(text, "parameters        272474"));
    assert_non_null(strstr(text, "share of the bound: conv2d"));
    free(text);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_peak_memory(void **state)
{
    (void)state;
    /* a [100], b [100] from a, then c from b and a: all three alive */
    reel_graph *g = reel_graph_parse("input x f32[100]\n%0 f32[100] = neg(x)\n"
                                     "%1 f32[100] = exp(%0)\n"
                                     "%2 f32[100] = add(%0, %1)\n"
                                     "%3 f32[100] = exp(%2)\noutput y = %3\n",
                                     NULL, NULL);
    assert_int_equal(reel_graph_peak_bytes(g), 1200);
    reel_graph_free(g);
    /* a view keeps what it looks at and is nothing itself; in place is nothing new */
    g = reel_graph_parse(
        "input x f32[100]\n%0 f32[100] = neg(x)\n"
        "%1 f32[10,10] = reshape(%0) rank=2 dim=10,10\n%0 f32[100] = relu_(%0)\n"
        "%2 f32[10,10] = exp(%1)\noutput y = %2\n",
        NULL, NULL);
    no_error();
    assert_int_equal(reel_graph_peak_bytes(g), 800);
    reel_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_overlaps),
        cmocka_unit_test(test_simple_pictures_are_simple),
        cmocka_unit_test(test_large_graph_is_fast),
        cmocka_unit_test(test_well_formed),
        cmocka_unit_test(test_any_name_is_escaped),
        cmocka_unit_test(test_what_the_picture_says),
        cmocka_unit_test(test_write_errors),
        cmocka_unit_test(test_costs_add_up),
        cmocka_unit_test(test_peak_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
