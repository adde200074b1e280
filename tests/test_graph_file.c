/* test_graph_file.c: graphs as text and as files: read back they are the same and compute the
 * same bits, also in another process; any other text is an error with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <reel/reel.h>

#include "graph_check.h"
#include "base/alloc.h"
#include "temp_folder.h"
#include "trace/graph/graph.h"

static const char *program;

/* ---- graphs to try ------------------------------------------------------------------------ */

static reel_tensor *images(int64_t n)
{
    return reel_randn(REEL_SHAPE(n, 3, 32, 32), REEL_F32);
}

static reel_module *resnet(void)
{
    reel_seed(3);
    reel_module *net = reel_resnet20(NULL);
    reel_train(net, false);
    return net;
}

static reel_module *transformer(void)
{
    reel_seed(4);
    reel_module *net = reel_vit_tiny(&(reel_vit_opts){.dim = 32, .depth = 2, .heads = 2});
    reel_train(net, false);
    return net;
}

/* Constants in every memory order, a tensor without a batch, a slope, names to quote. */
static reel_tensor *odd(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor **c = user;
    reel_tensor *y = reel_mul(reel_add(x[0], c[0]), reel_permute(c[1], REEL_DIMS(1, 0)));
    y = reel_mean(reel_add(y, c[2]), REEL_DIMS(0), false);
    y = reel_clamp(y, -INFINITY, 0.1);
    return reel_matmul(
        reel_reshape(reel_mul_scalar(x[0], 1.0 / 3), REEL_SHAPE(-1, 6)),
        reel_reshape(reel_cat((reel_tensor *[]){y, y}, 2, 0), REEL_SHAPE(6, 1)));
}

static reel_graph *odd_graph(void)
{
    static const char *const in[] = {"\"x\" \\ \n%5"}, *const out[] = {"input"};
    reel_seed(6);
    reel_tensor *c[] = {reel_randn(REEL_SHAPE(3), REEL_F32),
                        reel_randn(REEL_SHAPE(3, 1), REEL_F32),
                        reel_expand(reel_randn(REEL_SHAPE(1), REEL_F32), REEL_SHAPE(3))};
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3), REEL_F32);
    reel_graph *g = reel_trace_function(
        odd, c, &x, 1,
        &(reel_trace_opts){.input_names = in, .output_names = out, .fixed_batch = true});
    no_error();
    return g;
}

static reel_tensor *step(reel_module *net, reel_optim *optim, reel_tensor *x,
                         reel_tensor *y)
{
    reel_tensor *loss = reel_cross_entropy(reel_forward(net, x), y, NULL);
    reel_backward(loss, NULL);
    reel_optim_step(optim);
    reel_optim_zero_grad(optim);
    return loss;
}

/* A training step with dropout: random places, state that changes, nodes without results. */
static reel_graph *step_graph(void)
{
    reel_seed(5);
    reel_module *net = reel_nn_sequential(
        reel_nn_conv2d(3, 4, 3, NULL), reel_nn_batch_norm2d(4, NULL), reel_nn_relu(),
        reel_nn_dropout(0.3), reel_nn_flatten(1, -1), reel_nn_linear(4 * 36, 4, NULL));
    reel_optim *optim = reel_adamw(reel_parameters(net), &(reel_adam_opts){.lr = 0.01});
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3, 8, 8), REEL_F32);
    reel_tensor *y = reel_randint(0, 4, REEL_SHAPE(4), REEL_I64);
    (void)step(net, optim, x, y);
    reel_capture_begin();
    reel_capture_module(net);
    reel_capture_input(x, "x");
    reel_capture_input(y, "y");
    reel_tensor *loss = step(net, optim, x, y);
    reel_graph *g = reel_capture_end(&loss, 1, NULL);
    no_error();
    reel_optim_free(optim);
    reel_module_free(net);
    return g;
}

/* It shares the weights, which outlive the module. */
static reel_graph *module_graph(reel_module *net, int64_t batch)
{
    reel_graph *g = reel_trace(net, images(batch), NULL);
    no_error();
    reel_module_free(net);
    return g;
}

/* Fused nodes: programs of pointwise rows, lists as attributes. */
static reel_graph *optimized(reel_graph *g)
{
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    return g;
}

enum { GRAPHS = 6 };
static reel_graph *graph_number(int i)
{
    switch (i) {
    case 0: return module_graph(resnet(), 2);
    case 1: return module_graph(transformer(), 5);
    case 2: return odd_graph();
    case 3: return optimized(module_graph(resnet(), 2));
    case 4: return optimized(module_graph(transformer(), 3));
    default: return step_graph();
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

static reel_tensor *find(void *user, const char *name)
{
    return reel_tensor_map_get(user, name);
}

static reel_status put(void *user, const char *name, reel_tensor *t, reel_state_kind kind)
{
    (void)kind;
    return reel_tensor_map_set(user, name, t);
}

static reel_tensor_map *state_of(reel_graph *g)
{
    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_graph_name_state(g), REEL_OK);
    assert_int_equal(reel_graph_each_state(g, put, map), REEL_OK);
    return map;
}

/* Parsed text is the same text again, but for the numbers of values, which the first parsing
 * makes those of the order in the text. */
static void test_text_is_exact(void **state)
{
    (void)state;
    for (int i = 0; i < GRAPHS; i++) {
        reel_graph *g = graph_number(i);
        reel_tensor_map *map = state_of(g);
        char *text = reel_graph_to_string(g);
        reel_graph *h = reel_graph_parse(text, find, map);
        no_error();
        char *second = reel_graph_to_string(h);
        reel_graph *k = reel_graph_parse(second, find, map);
        char *third = reel_graph_to_string(k);
        assert_string_equal(second, third);
        assert_int_equal(strlen(text) > 100, 1);
        assert_int_equal(g->n_node, h->n_node);
        for (int n = 0; n < g->n_node; n++) {
            char a_text[8192], b_text[8192];
            assert_ptr_equal(g->node[n].op, h->node[n].op);
            if (g->node[n].attrs)
                assert_string_equal(
                    reel__attr_text(g->node[n].op->attrs, g->node[n].attrs, a_text,
                                    sizeof a_text),
                    reel__attr_text(h->node[n].op->attrs, h->node[n].attrs, b_text,
                                    sizeof b_text));
            for (int o = 0; o < g->node[n].n_out; o++) {
                if (g->node[n].out[o] < 0) continue;
                const reel__value *a = &g->value[g->node[n].out[o]],
                                  *b = &h->value[h->node[n].out[o]];
                assert_memory_equal(a->grow, b->grow, sizeof a->grow);
                assert_true(reel__same_shape(&a->meta, &b->meta));
            }
        }
        free(text);
        free(second);
        free(third);
        reel_graph_free(g);
        reel_graph_free(h);
        reel_graph_free(k);
        reel_tensor_map_free(map);
        reel_scope_end(0);
    }
}

static void test_numbers_whatever_the_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) skip();
    reel_graph *g = odd_graph();
    reel_tensor_map *map = state_of(g);
    char *text = reel_graph_to_string(g);
    assert_non_null(strstr(text, "0.1"));
    reel_graph *h = reel_graph_parse(text, find, map);
    no_error();
    (void)setlocale(LC_ALL, "C");
    free(text);
    reel_graph_free(g);
    reel_graph_free(h);
    reel_tensor_map_free(map);
    reel_scope_end(0);
}

static reel_tensor *weight(void *user, const char *name)
{
    return strcmp(name, "w") == 0 ? user : NULL;
}

typedef struct wrong {
    const char *text, *message;
} wrong;

#define HEAD "batch 2\ninput x f32[batch,3]\nparam w f32[4,3]\n"

static void test_errors_name_the_place(void **state)
{
    (void)state;
    static const wrong rows[] = {
        {"x", "line 1, column 1: the text ends within"},
        {"nonsense\n", "line 1, column 9: \" \""},
        {"input x f32[3\n", "line 1, column 14: \",\""},
        {"input x f33[3]\n", "line 1, column 9: \"f33\" is not a dtype"},
        {"input x f32[batch]\n", "column 18: the text names no batch"},
        {"input x f32[1,1,1,1,1,1,1,1,1]\n", "more than 8 dimensions"},
        {"input x f32[9999999999,9999999999]\n", "2^63"},
        {"input x f32[-3]\n", "column 15: a size below 0"},
        {"input x f32[99999999999999999999]\n", "beyond 64 bits"},
        {"input x f32[3]\ninput x f32[3]\n", "line 2, column 7: x is there already"},
        {"input %3 f32[3]\n", "an input has a name"},
        {"input input f32[3]\nbatch 3\n", "line 2, column 7: the batch size stands once"},
        {"batch 0\n", "1 to 2^31"},
        {"param v f32[3]\n", "line 1, column 7: there is no tensor v"},
        {"param w f32[3]\n", "tensor w is f32[4,3], the text says f32[3]"},
        {"batch 4\nparam w f32[batch,3]\n", "only inputs and results grow"},
        {HEAD "%0 f32[batch,3] = relu(y)\n", "line 4, column 24: nothing is called y"},
        {HEAD "%0 f32[batch,3] = rolu(x)\n", "line 4, column 19: no operator"},
        {HEAD "%0 f32[batch,3] = relu(x, x)\n", "relu takes 1 operands, not 2"},
        {HEAD "%0 f32[batch,3] = relu(-)\n", "operand 0 of relu cannot be absent"},
        {HEAD "%0 f32[batch,4] = relu(x)\n",
         "relu gives f32[2,3], the text says f32[2,4]"},
        {HEAD "%0 f32[2,3] = relu(x)\n", "dimension 0 does not grow"},
        {HEAD "- = relu(x)\n", "relu gives result 0"},
        {HEAD "x f32[batch,3] = relu(x)\n", "x is there already"},
        {HEAD "%0 f32[batch,3] = relu_(x)\n", "the result is the first operand"},
        {HEAD "%0 f32[batch,3], %1 f32[] = relu(x)\n", "relu has 1 results, not 2"},
        {HEAD "relu(x)\n", "relu has 1 results, not 0"},
        {HEAD "%0 f32[batch,3] = relu(x) a=1\n", "column 27: relu has no \"a\""},
        {HEAD "%0 f32[batch,3] = mul_scalar(x) a=z\n",
         "column 35: these are not values of \"a\""},
        {HEAD "%0 f32[batch,3] = mul_scalar(x) a=1,\n", "not values of \"a\""},
        {HEAD "%0 f32[batch,4] = linear(x, w, -) junk\n", "column 35: linear has no"},
        {HEAD "%0 f32[batch,4] = matmul(x, w)\n",
         "line 4, column 19: this cannot be: matmul"},
        {HEAD "%0 f32[batch,3] = relu(x)x\n", "the line should end here"},
        {HEAD "output y = z\n", "line 4, column 12: nothing is called z"},
        {HEAD "output y = -\n", "an output cannot be absent"},
        {HEAD "output \"y\\q\" = x\n", "after \\ stands"},
        {HEAD "output \"y = x\n", "quotation mark"},
    };
    reel_tensor *w = reel_ones(REEL_SHAPE(4, 3), REEL_F32);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_null(reel_graph_parse(rows[i].text, weight, w));
        assert_true(reel_error_status() != REEL_ERR_INTERNAL);
        expect(reel_error_status(), rows[i].message);
    }
    reel_graph *g = reel_graph_parse(HEAD "%0 f32[batch,4] = linear(x, w, -)  # fc\n"
                                          "output y = %0\n",
                                     weight, w);
    no_error();
    reel_tensor *x = reel_ones(REEL_SHAPE(7, 3), REEL_F32), *y;
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    assert_int_equal(reel_size(y, 0), 7);
    reel_graph_free(g);
    reel_scope_end(0);
}

static void test_limits(void **state)
{
    (void)state;
    size_t n = 200000;
    char *text = malloc(n + 64);
    memset(text, 'a', n);
    memcpy(text, "input ", 6);
    strcpy(text + n, " f32[3]\n");
    assert_null(reel_graph_parse(text, NULL, NULL));
    expect(REEL_ERR_FORMAT, "a line of more than 131072 bytes");
    strcpy(text + 2000, " f32[3]\n");
    assert_null(reel_graph_parse(text, NULL, NULL));
    expect(REEL_ERR_FORMAT, "a name of more than 1023 bytes");
    free(text);
}

/* ---- hostile text ------------------------------------------------------------------------------ */

/* An error, or a graph that the verifier takes; never anything else. */
static bool survives(const char *text, reel_tensor_map *map)
{
    reel_graph *g = reel_graph_parse(text, find, map);
    bool good = g != NULL;
    assert_true(good == !reel_failed());
    assert_true(reel_error_status() != REEL_ERR_INTERNAL);
    if (g) assert_int_equal(reel_graph_check(g), REEL_OK);
    if (g && reel_graph_batch(g)) (void)reel_graph_set_batch(g, 3);
    reel_error_clear();
    reel_graph_free(g);
    reel_scope_end(0);
    return good;
}

static void test_truncated_at_every_byte(void **state)
{
    (void)state;
    for (int i = 1; i < GRAPHS; i++) {
        reel_graph *g = graph_number(i);
        reel_tensor_map *map = state_of(g);
        char *text = reel_graph_to_string(g);
        size_t n = strlen(text), step_by = n > 2000 ? n / 400 : 1;
        for (size_t cut = n; cut-- > 0;) {
            if (cut % step_by && text[cut] != '\n') continue;
            bool at_end = cut == 0 || text[cut - 1] == '\n';
            text[cut] = '\0';
            assert_true(survives(text, map) == at_end);
        }
        free(text);
        reel_graph_free(g);
        reel_tensor_map_free(map);
        reel_scope_end(0);
    }
}

static uint32_t draw(uint64_t *x)
{
    *x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*x >> 33);
}

/* One change: a byte, a number that matters, a piece taken from elsewhere. */
static void mutate(char *text, size_t n, uint64_t *seed)
{
    static const char *const number[] = {"-1",
                                         "0",
                                         "9",
                                         "64",
                                         "-9223372036854775808",
                                         "9223372036854775807",
                                         "4611686018427387904"};
    static const char interesting[] = "0123456789-%,=()[] \n\"#ab.";
    size_t at = draw(seed) % n, from = draw(seed) % n;
    switch (draw(seed) % 4) {
    case 0: text[at] = interesting[draw(seed) % (sizeof interesting - 1)]; break;
    case 1: text[at] = (char)(1 + draw(seed) % 255); break;
    case 2: {
        const char *v = number[draw(seed) % (sizeof number / sizeof *number)];
        size_t end = at = strcspn(text + at, "=,[") + at + 1;
        if (at >= n) return;
        while (text[end] == '-' || (text[end] >= '0' && text[end] <= '9')) end++;
        size_t len = strlen(v);
        memmove(text + at + len, text + end, strlen(text + end) + 1);
        memcpy(text + at, v, len);
        break;
    }
    default: {
        size_t len = draw(seed) % 12;
        if (at + len < n && from + len < n) memmove(text + at, text + from, len);
    }
    }
}

static void test_random_mutations(void **state)
{
    (void)state;
    uint64_t seed = 1;
    int good = 0, all = 0;
    for (int i = 0; i < GRAPHS; i++) {
        reel_graph *g = graph_number(i);
        reel_tensor_map *map = state_of(g);
        char *text = reel_graph_to_string(g);
        size_t n = strlen(text);
        char *copy = malloc(n + 256);
        for (int k = 0; k < 400; k++) {
            memcpy(copy, text, n + 1);
            for (int m = 0; m <= k % 3; m++) mutate(copy, strlen(copy), &seed);
            good += survives(copy, map);
            all++;
        }
        free(copy);
        free(text);
        reel_graph_free(g);
        reel_tensor_map_free(map);
        reel_scope_end(0);
    }
    assert_true(good > all / 50 && good < all);
}

static void test_no_memory(void **state)
{
    (void)state;
    reel_graph *g = odd_graph();
    reel_tensor_map *map = state_of(g);
    char *text = reel_graph_to_string(g);
    for (int64_t k = 1;; k++) {
        reel_scope s = reel_scope_begin();
        int64_t live = reel_live_objects();
        reel__fault_alloc(k, false);
        reel_graph *h = reel_graph_parse(text, find, map);
        bool hit = reel__fault_alloc_count() >= k;
        reel__fault_alloc(0, false);
        assert_true(hit ? reel_error_status() == REEL_ERR_MEMORY : h != NULL);
        reel_error_clear();
        reel_graph_free(h);
        reel_scope_end(s);
        assert_int_equal(reel_live_objects(), live);
        if (!hit) break;
    }
    free(text);
    reel_graph_free(g);
    reel_tensor_map_free(map);
    reel_scope_end(0);
}

/* ---- files -------------------------------------------------------------------------------------- */

static void need_json(void)
{
    reel_tensor_map *map = reel_safetensors_load("/no/such/file");
    reel_tensor_map_free(map);
    bool lacking = reel_error_status() == REEL_ERR_UNSUPPORTED;
    reel_error_clear();
    if (lacking) skip();
}

static const char *path_of(const char *name)
{
    static char path[4][256];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", temp_root, name);
    return path[i];
}

/* In the other process: loads the graph and writes what it computes. */
static int run_file(const char *graph, const char *input, const char *output)
{
    reel_graph *g = reel_graph_load(graph);
    reel_tensor *x = reel_npy_load(input), *y = NULL;
    if (g && x) reel_graph_run(g, &x, 1, &y, 1);
    if (y) reel_npy_save(y, output);
    reel_graph_free(g);
    reel_scope_end(0);
    return reel_failed();
}

static void run_elsewhere(const char *graph, const char *input, const char *output)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl(program, program, "run", graph, input, output, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static reel_tensor *convolve(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_conv2d(x[0], user, NULL, &(reel_conv2d_opts){.padding = 1});
}

static reel_status declare_weight(void *user)
{
    return reel_capture_state(user, "w", true);
}

/* A weight that lies channels-last keeps its order, and so its kernels and bits. */
static reel_graph *channels_last(void)
{
    reel_tensor *w = reel_randn(REEL_SHAPE(8, 3, 3, 3), REEL_F32), *x = images(2);
    w = reel_to_format(w, REEL_CHANNELS_LAST);
    assert_true(reel_is_channels_last(w));
    return reel_trace_function(convolve, w, &x, 1,
                               &(reel_trace_opts){.declare = declare_weight});
}

static void test_another_process_computes_the_same(void **state)
{
    (void)state;
    need_json();
    for (int i = 0; i < 3; i++) {
        reel_graph *g =
            i == 2 ? channels_last() : module_graph(i ? transformer() : resnet(), 2);
        reel_tensor *x = images(3), *y;
        const char *graph = path_of("g.reel"), *in = path_of("x.npy"),
                   *out = path_of("y.npy");
        assert_int_equal(reel_graph_save(g, graph), REEL_OK);
        assert_int_equal(reel_npy_save(x, in), REEL_OK);
        assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
        run_elsewhere(graph, in, out);
        same_bits(y, reel_npy_load(out));
        reel_graph *h = reel_graph_load(graph);
        char *text = reel_graph_to_string(h);
        assert_true(i != 2 || strstr(text, "param w f32[8,3,3,3] strides 27,1,9,3\n"));
        free(text);
        reel_graph_free(h);
        reel_graph_free(g);
        reel_scope_end(0);
    }
}

static void test_every_order_of_memory(void **state)
{
    (void)state;
    need_json();
    reel_graph *g = odd_graph();
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3), REEL_F32), *y, *z;
    assert_int_equal(reel_graph_save(g, path_of("odd.reel")), REEL_OK);
    reel_graph *h = reel_graph_load(path_of("odd.reel"));
    no_error();
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    assert_int_equal(reel_graph_run(h, &x, 1, &z, 1), REEL_OK);
    same_bits(y, z);
    int expanded = 0;
    for (int v = 0; v < h->n_value; v++)
        expanded += h->value[v].tensor && h->value[v].meta.rank == 1 &&
                    h->value[v].meta.stride[0] == 0;
    assert_int_equal(expanded, 1);
    reel_graph_free(g);
    reel_graph_free(h);
    reel_scope_end(0);
}

static void test_training_step_goes_on(void **state)
{
    (void)state;
    need_json();
    reel_graph *g = step_graph();
    assert_int_equal(reel_graph_save(g, path_of("step.reel")), REEL_OK);
    reel_graph *h = reel_graph_load(path_of("step.reel"));
    no_error();
    reel_rng_state rng = reel_rng_get();
    bool was = reel_set_grad_enabled(false);
    reel_tensor *in[2] = {reel_randn(REEL_SHAPE(4, 3, 8, 8), REEL_F32),
                          reel_randint(0, 4, REEL_SHAPE(4), REEL_I64)};
    reel_tensor *loss[2][3];
    for (int k = 0; k < 2; k++) {
        reel_rng_set(rng);
        for (int i = 0; i < 3; i++)
            assert_int_equal(reel_graph_run(k ? h : g, in, 2, &loss[k][i], 1), REEL_OK);
    }
    for (int i = 0; i < 3; i++) same_bits(loss[0][i], loss[1][i]);
    (void)reel_set_grad_enabled(was);
    reel_graph_free(g);
    reel_graph_free(h);
    reel_scope_end(0);
}

static void test_module_of_a_loaded_graph_trains(void **state)
{
    (void)state;
    need_json();
    reel_module *net = resnet();
    reel_graph *g = reel_trace(net, images(2), NULL);
    assert_int_equal(reel_graph_save(g, path_of("net.reel")), REEL_OK);
    reel_graph_free(g);
    g = reel_graph_load(path_of("net.reel"));
    reel_module *again = reel_graph_module(g);
    reel_graph_free(g);
    no_error();
    assert_int_equal(reel_param_count(again), reel_param_count(net));
    reel_tensor *x = images(4), *y = reel_randint(0, 10, REEL_SHAPE(4), REEL_I64);
    const reel_sgd_opts opts = {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4};
    reel_optim *a = reel_sgd(reel_parameters(net), &opts),
               *b = reel_sgd(reel_parameters(again), &opts);
    same_bits(step(net, a, x, y), step(again, b, x, y));
    reel_params p = reel_parameters(net);
    for (int i = 0; i < p.n; i++)
        same_bits(p.tensor[i], reel_module_find(again, p.name[i]));
    same_bits(step(net, a, x, y), step(again, b, x, y));
    reel_optim_free(a);
    reel_optim_free(b);
    reel_module_free(net);
    reel_module_free(again);
    reel_scope_end(0);
}

static reel_tensor *two_looks(void *user, reel_tensor *const x[], int n)
{
    reel_tensor **w = user;
    (void)n;
    return reel_add(reel_matmul(x[0], w[0]), reel_matmul(x[0], w[1]));
}

static reel_status declare_both(void *user)
{
    reel_tensor **w = user;
    return reel_capture_state(w[0], "a", true) ? reel_error_status()
                                               : reel_capture_state(w[1], "b", true);
}

static void test_what_a_file_cannot_say(void **state)
{
    (void)state;
    reel_tensor *a = reel_ones(REEL_SHAPE(3, 3), REEL_F32);
    reel_tensor *w[] = {a, reel_permute(a, REEL_DIMS(1, 0))};
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    reel_graph *g = reel_trace_function(two_looks, w, &x, 1,
                                        &(reel_trace_opts){.declare = declare_both});
    no_error();
    assert_int_equal(reel_graph_save(g, path_of("two.reel")), REEL_ERR_UNSUPPORTED);
    expect(REEL_ERR_UNSUPPORTED, "share memory");
    reel_graph_free(g);
    assert_null(reel_graph_module(NULL));
    expect(REEL_ERR_ARG, "the graph is NULL");
    reel_scope_end(0);
}

static void test_files_that_are_no_graphs(void **state)
{
    (void)state;
    need_json();
    reel_tensor_map *map = reel_tensor_map_new();
    reel_tensor_map_set(map, "w", reel_ones(REEL_SHAPE(2), REEL_F32));
    reel_safetensors_save(map, path_of("plain"));
    assert_null(reel_graph_load(path_of("plain")));
    expect(REEL_ERR_FORMAT, "no graph");
    reel_tensor_map_set_text(map, "reel.graph", "input x f32[2]\nbad\n");
    reel_tensor_map_set_text(map, "reel.graph.version", "99");
    reel_safetensors_save(map, path_of("later"));
    assert_null(reel_graph_load(path_of("later")));
    expect(REEL_ERR_FORMAT, "version 99");
    reel_tensor_map_set_text(map, "reel.graph.version", "1");
    reel_safetensors_save(map, path_of("bad"));
    assert_null(reel_graph_load(path_of("bad")));
    assert_non_null(strstr(reel_error_message(), path_of("bad")));
    expect(REEL_ERR_FORMAT, "line 2, column 4");
    reel_tensor_map_free(map);
    reel_scope_end(0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_exact),
        cmocka_unit_test(test_numbers_whatever_the_locale),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_random_mutations),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_another_process_computes_the_same),
        cmocka_unit_test(test_every_order_of_memory),
        cmocka_unit_test(test_training_step_goes_on),
        cmocka_unit_test(test_module_of_a_loaded_graph_trains),
        cmocka_unit_test(test_what_a_file_cannot_say),
        cmocka_unit_test(test_files_that_are_no_graphs),
    };
    program = argv[0];
    if (argc == 5 && strcmp(argv[1], "run") == 0)
        return run_file(argv[2], argv[3], argv[4]);
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
