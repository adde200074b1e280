/* test_quantize_flow.c: from a traced model to one of integers: what is quantized where, what
 * calibration and training make of scales, and that the integers compute what was faked. */
#include "module_check.h"

#include "support/small_trainer.h"
#define random_below(n) ((int)reel_draw_below(&dice, (uint32_t)(n)))

static reel_draw dice;

/* ---- nets that are drawn ------------------------------------------------------------------------ */

typedef struct block {
    reel_module *conv, *norm;
    int act;
    bool residual, pool;
} block;
enum { BLOCKS = 5 };
typedef struct drawn_net {
    reel_module m;
    block block[BLOCKS];
    int n;
    bool average;
    reel_module *fc;
} drawn_net;

static reel_tensor *activate(reel_tensor *x, int act)
{
    switch (act) {
    case 0: return reel_relu(x);
    case 1: return reel_relu6(x);
    case 2: return reel_clamp(x, -1, 2);
    case 3: return reel_leaky_relu(x, 0.1);
    case 4: return reel_sigmoid(x);
    default: return x;
    }
}

static reel_tensor *net_forward(reel_module *self, reel_tensor *x)
{
    drawn_net *n = (drawn_net *)self;
    for (int i = 0; i < n->n; i++) {
        const block *b = &n->block[i];
        reel_tensor *y = reel_forward(b->conv, x);
        if (b->norm) y = reel_forward(b->norm, y);
        if (b->residual) y = reel_add(y, x);
        x = activate(y, b->act);
        if (b->pool) x = reel_max_pool2d(x, 2, NULL);
    }
    x = n->average ? reel_adaptive_avg_pool2d(x, 1, 1) : x;
    return reel_forward(n->fc, reel_flatten(x, 1, -1));
}

/* Images [n,3,16,16] to [n,5]. */
static reel_module *draw_net(void)
{
    drawn_net *net = reel_module_new(sizeof *net, "drawn", net_forward);
    int64_t c = 3;
    int side = 16;
    char name[16];
    net->n = 1 + random_below(BLOCKS);
    for (int i = 0; i < net->n; i++) {
        block *b = &net->block[i];
        bool same = i > 0 && random_below(2), deep = same && random_below(2);
        int64_t to = same ? c : 4 * (1 + random_below(4));
        int k = random_below(2) ? 3 : 1;
        reel_nn_conv2d_opts o = {.conv.padding = k / 2,
                                 .conv.groups = deep ? (int)c : 1,
                                 .no_bias = random_below(2)};
        snprintf(name, sizeof name, "conv%d", i);
        b->conv = reel_module_add(&net->m, name, reel_nn_conv2d(c, to, k, &o));
        snprintf(name, sizeof name, "norm%d", i);
        if (random_below(2))
            b->norm = reel_module_add(&net->m, name, reel_nn_batch_norm2d(to, NULL));
        b->act = random_below(6);
        b->residual = same && random_below(2);
        b->pool = side > 4 && random_below(3) == 0;
        side /= b->pool ? 2 : 1;
        c = to;
    }
    net->average = random_below(2);
    net->fc = reel_module_add(
        &net->m, "fc",
        reel_nn_linear(net->average ? c : c * side * side, 5,
                       &(reel_nn_linear_opts){.no_bias = random_below(2)}));
    return reel_module_done(&net->m);
}

static reel_tensor *images(int64_t n)
{
    return reel_randn(REEL_SHAPE(n, 3, 16, 16), REEL_F32);
}

/* Its norms have seen something. */
static reel_graph *trace(reel_module *net)
{
    reel_train(net, true);
    for (int i = 0; i < 3; i++) (void)reel_forward(net, images(8));
    reel_train(net, false);
    return reel_trace(net, images(2), NULL);
}

static void calibrate(reel_module *q, reel_tensor *x)
{
    reel_train(q, false);
    assert_int_equal(reel_quantize_observe(q, true), REEL_OK);
    (void)reel_forward(q, x);
    assert_int_equal(reel_quantize_observe(q, false), REEL_OK);
    assert_ok();
}

static reel_tensor *run(reel_graph *g, reel_tensor *x)
{
    reel_tensor *y = NULL;
    (void)reel_graph_run(g, &x, 1, &y, 1);
    return y;
}

static double size(reel_tensor *x)
{
    return reel_item(reel_norm(x, REEL_ALL, false, REEL_F64));
}

static double difference(reel_tensor *x, reel_tensor *y)
{
    return size(reel_sub(x, y)) / (size(y) + 1e-30);
}

static int count(const reel_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < reel_graph_nodes(g); i++)
        n += strcmp(reel_graph_node_op(g, i), op) == 0;
    return n;
}

/* What the linter finds; "" is nothing. */
static void expect_lint(const reel_graph *g, reel_quantize_target target,
                        const char *part)
{
    char *found = reel_quantize_lint(g, target);
    assert_ok();
    if (*part ? !strstr(found, part) : *found != '\0')
        fail_msg("\"%s\", expected \"%s\"", found, part);
    free(found);
}

/* ---- drawn nets, all targets --------------------------------------------------------------------- */

/* The sum of all elements of all parameters: those of the model do not move. */
static double digest(reel_module *m)
{
    double total = 0;
    reel_params p = reel_parameters(m);
    for (int i = 0; i < p.n; i++)
        total += reel_item(reel_sum(reel_detach(p.tensor[i]), REEL_ALL, false)) * (i + 1);
    return total;
}

static void train_once(reel_module *q, reel_tensor *x)
{
    double before = digest(q);
    reel_train(q, true);
    reel_optim *o = reel_sgd(reel_parameters(q), &(reel_sgd_opts){.lr = 0.05});
    reel_tensor *y = reel_forward(q, x);
    (void)reel_backward(reel_mean(reel_square(y), REEL_ALL, false), NULL);
    assert_int_equal(reel_optim_step(o), REEL_OK);
    reel_optim_free(o);
    reel_zero_grad(q);
    assert_true(digest(q) != before);
    reel_train(q, false);
}

/* Scales that are read are above 0, zero points on the grid. */
static void check_quantizers(reel_module *q)
{
    for (int i = 0; i < reel_quantize_count(q); i++) {
        reel_quantizer z;
        assert_int_equal(reel_quantize_at(q, i, &z), REEL_OK);
        double zero = reel_item(z.zero_point);
        assert_true(reel_item(reel_min(z.scale, REEL_ALL, false)) > 0);
        assert_true(isfinite(reel_item(reel_max(z.scale, REEL_ALL, false))));
        assert_true(zero >= z.grid.low && zero <= z.grid.high && zero == rint(zero));
        assert_true(!z.grid.symmetric || zero == 0);
    }
}

static void try_net(reel_quantize_target target)
{
    reel_module *net = draw_net();
    reel_graph *g = trace(net);
    reel_tensor *x = images(16);
    double before = digest(net);
    reel_module *q = reel_quantize_prepare(g, &(reel_quantize_opts){.target = target});
    assert_ok();
    calibrate(q, x);
    check_quantizers(q);
    reel_tensor *y = reel_forward(net, x);
    double noise = difference(reel_forward(q, x), y);
    if (!(noise < 0.2)) {
        char *text = reel_graph_to_string(g);
        fprintf(stderr, "noise of %g: %s\n", noise, text);
        free(text);
        fail();
    }
    train_once(q, x);
    check_quantizers(q);
    assert_true(digest(net) == before);
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    assert_int_equal(count(ints, "fake_quantize"), 0);
    assert_int_equal(count(ints, "batch_norm"), 0);
    assert_int_equal(count(ints, "fold_batch_norm"), 0);
    assert_true(count(ints, "conv2d") >= 1 && count(ints, "quantize") >= 2);
    expect_lint(ints, target, "");
    double off = difference(run(ints, x), reel_forward(q, x));
    assert_true(target == REEL_TARGET_TENSORRT ? off == 0 : off < 0.1);
    assert_true(reel_shape_of(run(ints, images(1))).dim[0] == 1); /* any batch */
    reel_graph_free(ints);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
    assert_ok();
}

static void test_drawn_nets(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        dice = reel_draw_at(11, 0, (uint64_t)i);
        reel_seed((uint64_t)i);
        reel_scope s = reel_scope_begin();
        try_net((reel_quantize_target)(i % 3));
        reel_scope_end(s);
    }
}

/* ---- what stands where --------------------------------------------------------------------------- */

/* Of the node that makes `name` in the text of a graph: "%5 f32[..] = conv2d(%3, ...)" */
static const char *line_of(const char *text, const char *name)
{
    char start[80];
    snprintf(start, sizeof start, "\n%s ", name);
    const char *at = strstr(text, start);
    return at ? at + 1 : NULL;
}

static bool makes(const char *text, const char *operand, size_t n, const char *op)
{
    char name[64], call[64];
    snprintf(name, sizeof name, "%.*s", (int)n, operand);
    snprintf(call, sizeof call, " = %s(", op);
    const char *line = line_of(text, name);
    const char *end = line ? strchr(line, '\n') : NULL,
               *at = line ? strstr(line, call) : NULL;
    return at && at < end;
}

/* Every operand of every such node is dequantized. */
static void expect_operands(const char *text, const char *op, int expected)
{
    char call[64];
    int n = 0;
    snprintf(call, sizeof call, " = %s(", op);
    for (const char *at = text; (at = strstr(at, call)); n++) {
        at += strlen(call);
        for (const char *end = at; *end != ')'; at = end + strspn(end, ", ")) {
            end = at + strcspn(at, ",)");
            if (!makes(text, at, (size_t)(end - at), "dequantize"))
                fail_msg("%s reads %.*s", op, (int)(end - at), at);
            if (*end == ')') break;
        }
    }
    assert_int_equal(n, expected);
}

static reel_graph *converted_resnet(reel_module **net, reel_quantize_opts opts)
{
    *net = reel_resnet20(NULL);
    reel_graph *g = trace(*net);
    reel_module *q = reel_quantize_prepare(g, &opts);
    assert_ok();
    calibrate(q, images(8));
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    reel_module_free(q);
    reel_graph_free(g);
    return ints;
}

static void test_resnet_in_integers(void **state)
{
    (void)state;
    reel_module *net;
    reel_graph *ints = converted_resnet(&net, (reel_quantize_opts){0});
    char *text = reel_graph_to_string(ints);
    expect_operands(text, "conv2d", 21); /* 19, and 2 of shortcuts */
    expect_operands(text, "add", 9);
    expect_operands(text, "linear", 1);
    /* input; 19 + 2 + 9 results; pool, what it becomes flat, result */
    assert_int_equal(count(ints, "quantize"), 1 + 30 + 3);
    assert_non_null(strstr(text, "\nbuffer layer1.0.conv1.weight i8[16,16,3,3]"));
    assert_non_null(strstr(text, "\nbuffer layer1.0.conv1.weight_scale f32[16,1,1,1]"));
    assert_non_null(strstr(text, "\nbuffer layer1.0.conv1.bias i32[16]"));
    assert_non_null(strstr(text, "\nbuffer input0_scale f32[]"));
    assert_non_null(strstr(text, "\nbuffer input0_zero_point u8[]"));
    assert_null(strstr(text, "param "));
    free(text);
    reel_graph_free(ints);
    reel_module_free(net);
}

static void test_what_stays_in_f32(void **state)
{
    (void)state;
    reel_module *net;
    reel_graph *ints = converted_resnet(
        &net, (reel_quantize_opts){
                  .exclude = "layer2, *.1.conv1", .keep_first = true, .keep_last = true});
    char *text = reel_graph_to_string(ints);
    static const char *const kept[] = {
        "param conv1.weight f32", "param layer2.0.conv1.weight",
        "param layer1.1.conv1.weight f32", "param fc.weight f32"};
    expect_lint(ints, REEL_TARGET_ORT, ""); /* f32 layers are as they were meant */
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!strstr(text, kept[i])) fail_msg("no %s", kept[i]);
    assert_non_null(strstr(text, "layer1.1.conv2.weight i8"));
    assert_null(strstr(text, "layer2.0.conv1.weight_scale"));
    free(text);
    reel_graph_free(ints);
    reel_module_free(net);
}

static void test_exclude_that_names_nothing(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL);
    reel_graph *g = trace(net);
    assert_null(reel_quantize_prepare(g, &(reel_quantize_opts){.exclude = "fc, layer9"}));
    expect_error(REEL_ERR_ARG, "\"layer9\", which names no operator");
    reel_graph_free(g);
    reel_module_free(net);
}

/* Concatenation, pooling, views share; softmax stays as it is, between. */
static reel_tensor *several(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    reel_tensor *a = reel_relu(reel_conv2d(x[0], user, NULL, NULL));
    reel_tensor *b =
        reel_max_pool2d(a, 2, &(reel_pool2d_opts){.stride = 1, .padding = 1});
    b = reel_narrow(reel_narrow(b, 2, 0, 8), 3, 0, 8);
    reel_tensor *both[] = {a, b};
    reel_tensor *all = reel_softmax(reel_cat(both, 2, 1), 1);
    return reel_matmul(reel_flatten(all, 2, -1),
                       reel_permute(reel_flatten(a, 2, -1), REEL_DIMS(0, 2, 1)));
}

static void test_shared_scales(void **state)
{
    (void)state;
    reel_tensor *w = reel_randn(REEL_SHAPE(4, 3, 1, 1), REEL_F32);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 3, 8, 8), REEL_F32);
    reel_graph *g = reel_trace_function(several, w, &x, 1, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    assert_ok();
    /* input, weight, relu with all that passes, softmax, result */
    if (reel_quantize_count(q) != 5) {
        for (int i = 0; i < reel_quantize_count(q); i++) {
            reel_quantizer z;
            (void)reel_quantize_at(q, i, &z);
            print_error("%s\n", z.name);
        }
        fail();
    }
    calibrate(q, x);
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    char *text = reel_graph_to_string(ints);
    expect_operands(text, "cat", 1);
    expect_operands(text, "matmul", 1);
    expect_operands(text, "max_pool2d", 1);
    free(text);
    reel_graph_free(ints);
    reel_module_free(q);
    reel_graph_free(g);
}

/* ---- observers ---------------------------------------------------------------------------------- */

static reel_module *observer(const reel_observer_kind *kind, bool symmetric)
{
    return reel_observer_new(
        kind, &(reel_observer_opts){
                  .grid = {symmetric ? -127 : 0, symmetric ? 127 : 255, symmetric}});
}

static void see(reel_module *o, double a, double b)
{
    const double x[] = {a, b};
    (void)reel_forward(o, reel_cast(reel_from(x, REEL_SHAPE(2), REEL_F64), REEL_F32));
    assert_ok();
}

static void expect_parameters(reel_module *o, double scale, double zero)
{
    reel_observed is;
    assert_int_equal(reel_observer_range(o, &is), REEL_OK);
    double s = reel_item(is.scale), z = reel_item(is.zero_point);
    if (fabs(s - scale) > 1e-6 * scale || z != zero)
        fail_msg("scale %.9g zero %g, expected %.9g and %g", s, z, scale, zero);
}

/* Values of torch.ao.quantization's MinMaxObserver and MovingAverageMinMaxObserver. */
static void test_observers(void **state)
{
    (void)state;
    reel_module *o = observer(reel_observer_min_max(), false);
    see(o, -1, 2);
    expect_parameters(o, 0.0117647061, 85);
    see(o, 0.5, 4);
    expect_parameters(o, 0.0196078438, 51);
    assert_int_equal(reel_observer_reset(o), REEL_OK);
    see(o, 1, 3); /* widened to hold 0 */
    expect_parameters(o, 0.0117647061, 0);
    see(o, NAN, 99); /* is no range */
    expect_parameters(o, 0.0117647061, 0);
    reel_module_free(o);
    o = observer(reel_observer_min_max(), true);
    see(o, -3, 2);
    expect_parameters(o, 3.0 / 127, 0);
    reel_module_free(o);
    o = observer(reel_observer_moving_average(), false);
    see(o, -1, 1);
    see(o, -3, 2); /* -1.02, 1.01 */
    expect_parameters(o, 2.03 / 255, 128);
    reel_module_free(o);
}

static void test_channels(void **state)
{
    (void)state;
    const float x[] = {1, -4, 0, 0, 2, 1e-6f}; /* [3, 2] */
    reel_tensor *t = reel_from(x, REEL_SHAPE(3, 2), REEL_F32);
    reel_observed seen;
    double s[3];
    reel_module *o = reel_observer_new(
        reel_observer_min_max(),
        &(reel_observer_opts){.channels = 3, .grid = {-127, 127, true}});
    (void)reel_forward(o, t);
    assert_int_equal(reel_observer_range(o, &seen), REEL_OK);
    (void)reel_read(seen.scale, s, REEL_F64);
    assert_true(fabs(s[0] - 4.0 / 127) < 1e-8 && fabs(s[2] - 2.0 / 127) < 1e-8);
    assert_true(fabs(s[1] - 4.0 / 127 / 4096) < 1e-10); /* a channel of zeros */
    assert_null(reel_forward(o, reel_permute(t, REEL_DIMS(1, 0))));
    expect_error(REEL_ERR_SHAPE, "3 channels in dimension 0");
    reel_module_free(o);
}

/* Of a Laplace distribution, at even quantiles: all that follow see the same. */
static reel_tensor *laplace(void)
{
    enum { N = 20000 };
    static float x[N];
    for (int i = 0; i < N; i++) {
        double u = (i + 0.5) / N;
        x[i] = (float)(u < 0.5 ? log(2 * u) : -log(2 * (1 - u)));
    }
    return reel_from(x, REEL_SHAPE(100, N / 100), REEL_F32);
}

static double high_of(const reel_observer_kind *kind, const void *kind_opts,
                      bool symmetric, reel_tensor *x)
{
    reel_observed seen;
    reel_module *o = reel_observer_new(
        kind, &(reel_observer_opts){
                  .kind_opts = kind_opts,
                  .grid = {symmetric ? -127 : 0, symmetric ? 127 : 255, symmetric}});
    (void)reel_forward(o, x);
    assert_int_equal(reel_observer_range(o, &seen), REEL_OK);
    double low = reel_item(seen.low), high = reel_item(seen.high);
    reel_module_free(o);
    return symmetric ? fmax(-low, high) : high;
}

static void expect_near(double is, double should, double tolerance)
{
    if (!(fabs(is - should) <= tolerance * should))
        fail_msg("%g, expected %g", is, should);
}

/* Values of numpy.percentile, and of Migacz's loop in NumPy over numpy.histogram. */
static void test_histograms(void **state)
{
    (void)state;
    const reel_percentile_opts p99 = {.percentile = 99}, p999 = {.percentile = 99.9},
                               all = {.percentile = 100};
    reel_tensor *x = laplace(), *wild = reel_copy(x);
    expect_near(high_of(reel_observer_percentile(), &p99, false, x), 3.9096, 0.01);
    expect_near(high_of(reel_observer_percentile(), &p99, true, x), 4.6003, 0.01);
    expect_near(high_of(reel_observer_percentile(), &all, true, x), 9.9035, 1e-5);
    expect_near(high_of(reel_observer_entropy(), NULL, true, x), 9.9035, 0.02);
    expect_near(high_of(reel_observer_entropy(), NULL, false, reel_abs(x)), 8.8058, 0.15);
    (void)reel_fill_(reel_narrow(reel_narrow(wild, 0, 0, 1), 1, 0, 5), 40);
    expect_near(high_of(reel_observer_entropy(), NULL, true, wild), 9.9219, 0.05);
    (void)reel_fill_(reel_narrow(reel_narrow(wild, 0, 0, 1), 1, 0, 5), 1e30);
    expect_near(high_of(reel_observer_percentile(), &p999, false, wild), 6.5, 0.02);
}

static double mean_error(reel_tensor *x, double most)
{
    reel_tensor *scale = reel_full(REEL_SCALAR, most / 127, REEL_F32);
    reel_tensor *y = reel_fake_quantize(x, scale, NULL, -127, 127);
    return reel_item(reel_mean(reel_square(reel_sub(x, y)), REEL_ALL, false));
}

/* No range of a hundred has a much smaller error. */
static void test_mse(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        reel_tensor *x = reel_randn(REEL_SHAPE(5000), REEL_F32);
        if (i % 2) x = reel_mul(x, reel_square(reel_square(x))); /* long tails */
        if (i % 4 > 1) x = reel_mul_scalar(x, 1e-3);
        double most = reel_item(reel_max(reel_abs(x), REEL_ALL, false)), best = INFINITY;
        for (int k = 1; k <= 100; k++) best = fmin(best, mean_error(x, most * k / 100));
        double is = mean_error(x, high_of(reel_observer_mse(), NULL, true, x));
        assert_true(is < 1.05 * best);
    }
}

/* In two batches or one, channel by channel or each alone: the same counts. */
static void test_histogram_channels(void **state)
{
    (void)state;
    const reel_observer_kind *const kinds[] = {
        reel_observer_percentile(), reel_observer_entropy(), reel_observer_mse()};
    reel_tensor *x = reel_randn(REEL_SHAPE(40, 3, 5, 5), REEL_F32);
    for (int k = 0; k < 3; k++) {
        double low[3], high[3];
        reel_observed seen;
        reel_observer_opts o = {.channels = 3, .axis = 1, .grid = {-127, 127, true}};
        reel_module *m = reel_observer_new(kinds[k], &o);
        (void)reel_forward(m, reel_narrow(x, 0, 0, 17));
        (void)reel_forward(m, reel_narrow(x, 0, 17, 23));
        assert_int_equal(reel_observer_range(m, &seen), REEL_OK);
        (void)reel_read(seen.high, high, REEL_F64);
        (void)reel_read(seen.low, low, REEL_F64);
        for (int c = 0; c < 3; c++)
            assert_true(fmax(-low[c], high[c]) ==
                        high_of(kinds[k], NULL, true, reel_narrow(x, 1, c, 1)));
        (void)reel_capture_begin();
        assert_null(reel_forward(m, x));
        expect_error(REEL_ERR_STATE, "which a captured step cannot");
        reel_capture_cancel();
        reel_module_free(m);
    }
}

/* One of a program's own: the largest magnitude, both ways. */
typedef struct own_opts {
    double factor;
} own_opts;

static reel_status own_check(void *opts)
{
    own_opts *o = opts;
    return o->factor >= 0 ? REEL_OK : reel_fail(REEL_ERR_ARG, "own: a factor below 0");
}

static reel_status own_see(const void *opts, const reel_observer_slot *slot,
                           reel_tensor *x)
{
    const own_opts *o = opts;
    reel_tensor *most = reel_max(reel_abs(x), slot->dims, false);
    (void)reel_copy_(slot->state[0], reel_mul_scalar(most, o->factor));
    return reel_error_status();
}

static reel_status own_range(const void *opts, const reel_observer_slot *slot,
                             reel_tensor **low, reel_tensor **high)
{
    (void)opts;
    *high = slot->state[0];
    *low = reel_neg(*high);
    return reel_error_status();
}

static const reel_observer_kind own = {.name = "own",
                                       .opts_size = sizeof(own_opts),
                                       .n_state = 1,
                                       .state = {{.name = "most", .initial = -1}},
                                       .check = own_check,
                                       .see = own_see,
                                       .range = own_range};

static void test_own_observer(void **state)
{
    (void)state;
    dice = reel_draw_at(3, 0, 0);
    reel_module *net = draw_net();
    reel_graph *g = trace(net);
    reel_quantize_override only_input = {
        .names = "input*", .kind = &own, .kind_opts = &(own_opts){2}};
    reel_module *q = reel_quantize_prepare(
        g, &(reel_quantize_opts){.overrides = &only_input, .n_overrides = 1});
    reel_tensor *x = images(4);
    calibrate(q, x);
    reel_quantizer z;
    assert_int_equal(reel_quantize_at(q, 0, &z), REEL_OK);
    assert_string_equal(z.name, "input0");
    double most = reel_item(reel_max(reel_abs(x), REEL_ALL, false));
    assert_true(fabs(reel_item(z.scale) - 4 * most / 255) < 1e-6);
    assert_non_null(reel_module_find(q, "input0_observer.most"));
    reel_module_free(q);
    only_input.kind_opts = &(own_opts){-1};
    assert_null(reel_quantize_prepare(
        g, &(reel_quantize_opts){.overrides = &only_input, .n_overrides = 1}));
    expect_error(REEL_ERR_ARG, "own: a factor below 0");
    reel_graph_free(g);
    reel_module_free(net);
}

/* ---- modes, state, captured steps ------------------------------------------------------------------ */

static reel_graph *small_graph(reel_module **net)
{
    reel_tensor *x[1], *y[1];
    *net = small_trainer_net();
    small_trainer_data(1, x, y);
    (void)reel_forward(*net, x[0]);
    reel_train(*net, false);
    return reel_trace(*net, x[0], NULL);
}

static void test_state_dict(void **state)
{
    (void)state;
    reel_module *net;
    reel_graph *g = small_graph(&net);
    reel_module *a = reel_quantize_prepare(g, NULL), *b = reel_quantize_prepare(g, NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3, 8, 8), REEL_F32);
    reel_train(b, false);
    assert_null(reel_forward(b, x));
    expect_error(REEL_ERR_STATE, "was not calibrated");
    assert_null(reel_quantize_convert(b));
    expect_error(REEL_ERR_STATE, "was not calibrated");
    calibrate(a, x);
    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_state_dict(a, map), REEL_OK);
    assert_int_equal(reel_load_state_dict(b, map, NULL), REEL_OK);
    assert_true(difference(reel_forward(b, x), reel_forward(a, x)) == 0);
    reel_quantizer first;
    assert_int_equal(reel_quantize_at(b, 0, &first), REEL_OK);
    (void)reel_mul_scalar_(first.scale, 0); /* as from a file that was not calibrated */
    assert_null(reel_forward(b, x));
    expect_error(REEL_ERR_STATE, "has a scale of 0: it was not calibrated");
    reel_params p = reel_parameters(net), r = reel_parameters(a);
    assert_int_equal(p.n, r.n); /* scales are no parameters */
    reel_tensor_map_free(map);
    reel_module_free(a);
    reel_module_free(b);
    reel_graph_free(g);
    reel_module_free(net);
}

static void test_frozen_observers(void **state)
{
    (void)state;
    reel_module *net;
    reel_graph *g = small_graph(&net);
    reel_module *q = reel_quantize_prepare(g, NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(4, 3, 8, 8), REEL_F32);
    calibrate(q, x);
    reel_tensor *scale = reel_module_find(q, "input0_scale");
    double before = reel_item(scale);
    reel_train(q, true);
    assert_int_equal(reel_quantize_freeze_observers(q, true), REEL_OK);
    (void)reel_forward(q, reel_mul_scalar(x, 100));
    assert_true(reel_item(scale) == before);
    assert_int_equal(reel_quantize_freeze_observers(q, false), REEL_OK);
    (void)reel_forward(q, reel_mul_scalar(x, 100));
    assert_true(reel_item(scale) > 1.5 * before); /* 1 + 0.01 (100 - 1) */
    reel_train(q, false);
    before = reel_item(scale);
    (void)reel_forward(q, reel_mul_scalar(x, 1000));
    assert_true(reel_item(scale) == before);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

static reel_status step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    (void)n_x, (void)n_y;
    y[0] = small_trainer_step(*(small_trainer *)user, x[0], x[1]);
    return reel_error_status();
}

/* A step with observers and fakes is captured, and gives what it gives without a graph. */
static void test_captured_step(void **state)
{
    (void)state;
    enum { STEPS = 6 };
    double loss[2][STEPS];
    reel_tensor *x[STEPS], *y[STEPS];
    for (int graph = 0; graph < 2; graph++) {
        reel_module *net;
        reel_seed(5);
        reel_graph *g = small_graph(&net);
        small_trainer_data(STEPS, x, y);
        reel_module *q = reel_quantize_prepare(g, NULL);
        small_trainer t = small_trainer_new(q, false);
        reel_compiled *c = reel_compile(step, &t, &(reel_compile_opts){.module = q});
        for (int i = 0; i < STEPS; i++) {
            reel_tensor *in[] = {x[i], y[i]}, *out = NULL;
            if (i == 4) (void)reel_quantize_freeze_observers(q, true);
            (void)(graph ? reel_compiled_run(c, in, 2, &out, 1)
                         : step(&t, in, 2, &out, 1));
            assert_ok();
            loss[graph][i] = reel_item(out);
        }
        if (graph) assert_non_null(reel_compiled_graph(c));
        reel_compiled_free(c);
        small_trainer_free(t);
        reel_graph_free(g);
        reel_module_free(net);
    }
    for (int i = 0; i < STEPS; i++)
        assert_true(fabs(loss[0][i] - loss[1][i]) < 1e-3 * fabs(loss[0][i]));
}

static reel_module *depthwise_net(reel_module *act)
{
    reel_nn_conv2d_opts plain = {0}, deep = {.conv.padding = 1, .conv.groups = 8};
    reel_module *m = reel_nn_sequential(
        reel_nn_conv2d(3, 8, 1, &plain), reel_nn_batch_norm2d(8, NULL), act,
        reel_nn_conv2d(8, 8, 3, &deep), reel_nn_batch_norm2d(8, NULL), reel_nn_relu(),
        reel_nn_conv2d(8, 6, 1, &plain));
    return m;
}

/* ---- what is learned, and statistics ---------------------------------------------------------------- */

static reel_tensor *one_linear(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_linear(x[0], user, NULL);
}

/* d y / d scale as LSQ has it, from values alone. */
static double lsq_slope(double x, double scale, double low, double high)
{
    double u = x / scale;
    return rint(u) < low ? low : rint(u) > high ? high : rint(u) - u;
}

static void test_learned_scales(void **state)
{
    (void)state;
    enum { IN = 6, OUT = 3 };
    double w[OUT * IN], scale, slope = 0;
    reel_tensor *weight = reel_randn(REEL_SHAPE(OUT, IN), REEL_F32);
    reel_tensor *x = reel_cast(
        reel_eq(reel_reshape(reel_arange(0, IN, 1, REEL_F32), REEL_SHAPE(IN, 1)),
                reel_arange(0, IN, 1, REEL_F32)),
        REEL_F32); /* the identity */
    reel_graph *g = reel_trace_function(one_linear, weight, &x, 1, NULL);
    reel_module *q = reel_quantize_prepare(
        g, &(reel_quantize_opts){.target = REEL_TARGET_PER_TENSOR, .learn_scales = true});
    reel_train(q, true);
    assert_null(reel_forward(q, x));
    expect_error(REEL_ERR_STATE, "was not calibrated");
    calibrate(q, x);
    reel_train(q, true);
    reel_tensor *s = reel_module_find(q, "weight_scale"),
                *t = reel_module_find(q, "linear_scale");
    assert_true(reel_needs_grad(s) && reel_needs_grad(t));
    (void)reel_mul_scalar_(reel_detach(s), 0.5); /* so that some are outside */
    (void)reel_mul_scalar_(reel_detach(t), 100); /* and of the result none */
    scale = reel_item(s);
    (void)reel_read(weight, w, REEL_F64);
    for (int i = 0; i < OUT * IN; i++) slope += lsq_slope(w[i], scale, -127, 127);
    (void)reel_backward(reel_sum(reel_forward(q, x), REEL_ALL, false), NULL);
    assert_ok();
    double is = reel_item(reel_grad_of(s)), factor = 1 / sqrt(OUT * IN * 127.0);
    if (fabs(is - slope * factor) > 0.02 * fabs(slope * factor))
        fail_msg("%g, expected %g", is, slope * factor);
    reel_optim *o = reel_sgd(reel_parameters(q), &(reel_sgd_opts){.lr = 1e6});
    assert_int_equal(reel_optim_step(o), REEL_OK);
    reel_optim_free(o);
    (void)reel_forward(q, x); /* however far it went */
    assert_true(reel_item(s) > 0 && reel_item(t) > 0);
    assert_ok();
    (void)reel_mul_scalar_(reel_detach(s), -1); /* the last step before it is tested */
    reel_train(q, false);
    assert_non_null(reel_forward(q, x));
    assert_true(reel_item(s) > 0);
    reel_module_free(q);
    reel_graph_free(g);
}

/* Learned on a drawn net: the error to its f32 results falls, and the integers agree. */
static void test_learning_helps(void **state)
{
    (void)state;
    dice = reel_draw_at(9, 0, 0);
    reel_module *net = draw_net();
    reel_graph *g = trace(net);
    reel_module *q = reel_quantize_prepare(
        g, &(reel_quantize_opts){.learn_scales = true, .learn_zero_points = true});
    reel_tensor *x = images(16), *y = reel_keep(reel_detach(reel_forward(net, x)));
    calibrate(q, reel_mul_scalar(x, 0.5)); /* ranges that are too small */
    double before = difference(reel_forward(q, x), y);
    reel_optim *o = reel_adam(reel_parameters(q), &(reel_adam_opts){.lr = 1e-3});
    reel_train(q, true);
    for (int i = 0; i < 30; i++) {
        reel_scope s = reel_scope_begin();
        (void)reel_backward(reel_mse_loss(reel_forward(q, x), y, REEL_MEAN), NULL);
        (void)reel_optim_step(o);
        reel_optim_zero_grad(o);
        reel_scope_end(s);
    }
    reel_train(q, false);
    assert_ok();
    assert_true(difference(reel_forward(q, x), y) < 0.7 * before);
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    expect_lint(ints, REEL_TARGET_ORT, "");
    assert_true(difference(run(ints, x), reel_forward(q, x)) < 0.05);
    reel_graph_free(ints);
    reel_optim_free(o);
    reel_release(y);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* Behind relu and relu6 nothing is learned that runtimes would not fuse. */
static void test_learned_ends(void **state)
{
    (void)state;
    reel_module *net = depthwise_net(reel_nn_activation(REEL_ACT_RELU6));
    reel_graph *g = trace(net);
    reel_module *q = reel_quantize_prepare(
        g, &(reel_quantize_opts){.learn_scales = true, .learn_zero_points = true});
    reel_tensor *x = images(4);
    calibrate(q, x);
    reel_tensor *scale = reel_module_find(q, "2.relu6_scale");
    assert_false(reel_needs_grad(reel_module_find(q, "2.relu6_zero_point")));
    assert_false(reel_needs_grad(reel_module_find(q, "5.relu_zero_point")));
    assert_true(reel_needs_grad(reel_module_find(q, "6.conv2d_zero_point")));
    (void)reel_fill_(reel_detach(scale), 1);
    reel_train(q, true);
    (void)reel_forward(q, x);
    assert_true(reel_item(scale) == (float)(6.0 / 255));
    reel_graph *ints = reel_quantize_convert(q);
    expect_lint(ints, REEL_TARGET_ORT, "");
    reel_graph_free(ints);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* Running statistics become those of the model in training, on the same data. */
static void test_batch_statistics(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL);
    reel_graph *g = trace(net);
    reel_module *q =
        reel_quantize_prepare(g, &(reel_quantize_opts){.batch_statistics = true});
    reel_tensor *x = reel_add_scalar(images(16), 0.5), *y;
    calibrate(q, x);
    reel_tensor *mean = reel_module_find(q, "layer1.0.bn1.running_mean");
    reel_tensor *of_net = reel_module_find(net, "layer1.0.bn1.running_mean");
    reel_tensor *before = reel_copy(mean);
    assert_true(mean != of_net && difference(mean, of_net) == 0);
    reel_train(q, true);
    reel_train(net, true);
    assert_true(difference(reel_forward(q, x), reel_forward(net, x)) < 0.2);
    assert_true(difference(mean, before) > 0.01);
    assert_true(difference(reel_sub(mean, before), reel_sub(of_net, before)) < 0.1);
    y = reel_forward(q, x);
    (void)reel_backward(reel_mean(reel_square(y), REEL_ALL, false), NULL);
    assert_ok();
    assert_non_null(reel_grad_of(reel_module_find(q, "layer1.0.bn1.weight")));
    assert_int_equal(reel_quantize_freeze_statistics(q, true), REEL_OK);
    before = reel_copy(mean);
    (void)reel_forward(q, x);
    assert_true(difference(mean, before) == 0);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* ---- calibration from a loader ---------------------------------------------------------------------- */

static int64_t three(void *self)
{
    (void)self;
    return 3;
}

static reel_status skip_it(void *self, int64_t index, reel_sample *out)
{
    (void)self, (void)index;
    out->skip = true;
    return REEL_OK;
}

static const reel_dataset_fns nothing = {.length = three, .get = skip_it};

static void test_calibrate(void **state)
{
    (void)state;
    reel_module *net;
    reel_graph *g = small_graph(&net);
    reel_module *q = reel_quantize_prepare(g, NULL);
    reel_tensor *x = reel_randn(REEL_SHAPE(10, 3, 8, 8), REEL_F32);
    reel_tensor *labels = reel_zeros(REEL_SHAPE(10), REEL_I64);
    reel_dataset *data = reel_arrays(x, labels);
    reel_loader *loader = reel_loader_new(data, &(reel_loader_opts){.batch = 4});
    FILE *to = tmpfile();
    assert_int_equal(reel_quantize_calibrate(
                         q, loader, &(reel_calibrate_opts){.batches = 2, .progress = to}),
                     REEL_OK);
    assert_true(ftell(to) > 0);
    assert_true(q->training);
    check_quantizers(q);
    reel_dataset *empty = reel_dataset_new(&nothing, NULL);
    reel_loader *none = reel_loader_new(empty, NULL);
    assert_int_equal(reel_quantize_calibrate(q, none, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "gives no batch");
    (void)reel_quantize_calibrate(q, loader, &(reel_calibrate_opts){.field = "mask"});
    expect_error(REEL_ERR_ARG, "mask");
    reel_fill_(reel_narrow(x, 0, 7, 1), NAN);
    reel_dataset *bad = reel_arrays(x, labels);
    reel_loader *nans = reel_loader_new(bad, NULL);
    (void)reel_quantize_calibrate(q, nans, NULL);
    expect_error(REEL_ERR_NUMERIC, "input0 has values that are not finite");
    fclose(to);
    reel_loader_free(loader);
    reel_loader_free(none);
    reel_loader_free(nans);
    reel_dataset_free(data);
    reel_dataset_free(empty);
    reel_dataset_free(bad);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* ---- corrections without training -------------------------------------------------------------------- */

/* Channel c of what a layer gives is times 4^c, and what the next one takes of it the reverse:
 * the same function. */
static void unbalance(reel_module *m)
{
    float s[8];
    for (int c = 0; c < 8; c++) s[c] = powf(4, (float)(c - 4));
    reel_tensor *t = reel_from(s, REEL_SHAPE(8), REEL_F32);
    bool was = reel_set_grad_enabled(false);
    reel_mul_(reel_module_find(m, "1.weight"), t);
    reel_mul_(reel_module_find(m, "1.bias"), t);
    reel_div_(reel_module_find(m, "3.weight"), reel_reshape(t, REEL_SHAPE(8, 1, 1, 1)));
    reel_mul_(reel_module_find(m, "4.weight"), t);
    reel_mul_(reel_module_find(m, "4.bias"), t);
    reel_div_(reel_module_find(m, "6.weight"), reel_reshape(t, REEL_SHAPE(1, 8, 1, 1)));
    (void)reel_set_grad_enabled(was);
}

static double noise_of(reel_graph *g, reel_quantize_opts opts, reel_tensor *x)
{
    reel_module *q = reel_quantize_prepare(g, &opts);
    assert_ok();
    (void)reel_quantize_observe(q, true);
    double moved = difference(reel_forward(q, x), run(g, x));
    if (!(moved < 1e-4)) fail_msg("equalizing changes results by %g", moved);
    calibrate(q, x);
    double noise = difference(reel_forward(q, x), run(g, x));
    reel_module_free(q);
    return noise;
}

static void test_equalize(void **state)
{
    (void)state;
    reel_module *net = depthwise_net(reel_nn_relu());
    reel_tensor *x = images(8);
    for (int i = 0; i < 3; i++) (void)reel_forward(net, images(8));
    unbalance(net);
    double before = digest(net);
    reel_train(net, false);
    reel_graph *g = reel_trace(net, x, NULL);
    double plain = noise_of(g, (reel_quantize_opts){.target = REEL_TARGET_PER_TENSOR}, x);
    double equal = noise_of(
        g, (reel_quantize_opts){.target = REEL_TARGET_PER_TENSOR, .equalize = true}, x);
    assert_true(equal < 0.05 && equal < plain / 4);
    assert_true(digest(net) == before);
    reel_graph_free(g);
    reel_module_free(net);
}

/* Distance of the means of channels to those in f32. */
static double shift_of(reel_module *q, reel_graph *g, reel_tensor *x)
{
    const reel_shape all = REEL_DIMS(0, 2, 3);
    return difference(reel_mean(reel_forward(q, x), all, false),
                      reel_mean(run(g, x), all, false));
}

static void test_bias_correction(void **state)
{
    (void)state;
    reel_module *net = depthwise_net(reel_nn_activation(REEL_ACT_RELU6));
    for (int i = 0; i < 3; i++) (void)reel_forward(net, images(8));
    reel_train(net, false);
    reel_tensor *x = images(32);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *q =
        reel_quantize_prepare(g, &(reel_quantize_opts){.target = REEL_TARGET_PER_TENSOR});
    reel_dataset *data = reel_arrays(x, reel_zeros(REEL_SHAPE(32), REEL_I64));
    reel_loader *loader = reel_loader_new(data, &(reel_loader_opts){.batch = 8});
    assert_int_equal(reel_quantize_correct_biases(q, loader, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "was not calibrated");
    calibrate(q, x);
    (void)reel_mul_scalar_(reel_module_find(q, "3.weight_scale"), 6); /* coarse */
    double before = shift_of(q, g, x);
    assert_int_equal(reel_quantize_correct_biases(q, loader, NULL), REEL_OK);
    assert_true(shift_of(q, g, x) < before / 4);
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* At four bits, of inputs with much in common (else errors do not add up, and the nearest is
 * best): two layers give less than half the noise, also where they were not learned. */
static void test_adaround(void **state)
{
    (void)state;
    reel_module *net = reel_nn_sequential(reel_nn_linear(48, 48, NULL), reel_nn_relu(),
                                          reel_nn_linear(48, 16, NULL));
    reel_tensor *x = reel_matmul(reel_randn(REEL_SHAPE(96, 4), REEL_F32),
                                 reel_randn(REEL_SHAPE(4, 48), REEL_F32));
    reel_tensor *seen = reel_narrow(x, 0, 0, 64), *other = reel_narrow(x, 0, 64, 32);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    reel_dataset *data = reel_arrays(seen, reel_zeros(REEL_SHAPE(64), REEL_I64));
    reel_loader *loader = reel_loader_new(data, NULL);
    calibrate(q, seen);
    (void)reel_mul_scalar_(reel_module_find(q, "0.weight_scale"), 127.0 / 7);
    (void)reel_mul_scalar_(reel_module_find(q, "2.weight_scale"), 127.0 / 7);
    double before = difference(reel_forward(q, other), run(g, other));
    FILE *to = tmpfile();
    assert_int_equal(
        reel_quantize_round(q, loader, &(reel_round_opts){.steps = 400, .progress = to}),
        REEL_OK);
    assert_true(ftell(to) > 0);
    double after = difference(reel_forward(q, other), run(g, other));
    if (!(after < 0.5 * before)) fail_msg("%g, before %g", after, before);
    reel_graph *ints = reel_quantize_convert(q);
    assert_true(difference(run(ints, x), reel_forward(q, x)) < 0.02);
    fclose(to);
    reel_graph_free(ints);
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* One channel behind the norm is fifty times the others. */
static void test_smooth(void **state)
{
    (void)state;
    reel_module *net = reel_nn_sequential(reel_nn_layer_norm(REEL_SHAPE(16), NULL),
                                          reel_nn_linear(16, 8, NULL));
    reel_tensor *x = reel_randn(REEL_SHAPE(32, 16), REEL_F32);
    reel_tensor *gamma = reel_module_find(net, "0.weight"),
                *w = reel_module_find(net, "1.weight");
    (void)reel_mul_scalar_(reel_narrow(reel_detach(gamma), 0, 3, 1), 50);
    (void)reel_mul_scalar_(reel_narrow(reel_detach(w), 1, 3, 1), 1.0 / 50);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_dataset *data = reel_arrays(x, reel_zeros(REEL_SHAPE(32), REEL_I64));
    reel_loader *loader = reel_loader_new(data, NULL);
    double noise[2];
    for (int smooth = 0; smooth < 2; smooth++) {
        reel_module *q = reel_quantize_prepare(g, NULL);
        if (smooth) assert_int_equal(reel_quantize_smooth(q, loader, NULL), REEL_OK);
        (void)reel_quantize_observe(q, true);
        assert_true(difference(reel_forward(q, x), run(g, x)) < 1e-5);
        calibrate(q, x);
        noise[smooth] = difference(reel_forward(q, x), run(g, x));
        reel_module_free(q);
    }
    if (!(noise[1] < noise[0] / 4)) fail_msg("%g, smooth %g", noise[0], noise[1]);
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_graph_free(g);
    reel_module_free(net);
}

/* The layer whose weight has one scale too coarse costs most, and is kept by its name. */
static void test_sensitivity(void **state)
{
    (void)state;
    reel_module *net = depthwise_net(reel_nn_relu());
    for (int i = 0; i < 3; i++) (void)reel_forward(net, images(8));
    reel_train(net, false);
    reel_tensor *x = images(16);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    reel_dataset *data = reel_arrays(x, reel_zeros(REEL_SHAPE(16), REEL_I64));
    reel_loader *loader = reel_loader_new(data, &(reel_loader_opts){.batch = 8});
    calibrate(q, x);
    (void)reel_mul_scalar_(reel_module_find(q, "3.weight_scale"), 20);
    reel_layer_noise noise[3];
    assert_int_equal(reel_quantize_layers(q), 3);
    assert_int_equal(reel_quantize_sensitivity(q, loader, NULL, noise, 3), REEL_OK);
    assert_string_equal(noise[0].name, "0.conv2d");
    assert_string_equal(noise[1].name, "3.conv2d");
    assert_true(noise[1].snr > 10 && noise[1].snr < noise[0].snr - 10 &&
                noise[1].snr < noise[2].snr - 10);
    reel_module *kept =
        reel_quantize_prepare(g, &(reel_quantize_opts){.exclude = noise[1].name});
    assert_int_equal(reel_quantize_layers(kept), 2);
    reel_module_free(kept);
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
}

/* ---- hard cases ------------------------------------------------------------------------------------ */

static reel_tensor *conv_relu(void *user, reel_tensor *const x[], int n)
{
    reel_tensor **wb = user;
    (void)n;
    return reel_relu(reel_conv2d(x[0], wb[0], wb[1], NULL));
}

/* One convolution [4,3,1,1] with a bias [4], and what it computes in f32 and in integers. */
static void try_conv(reel_tensor *w, reel_tensor *b, reel_tensor *x, double tolerance)
{
    reel_tensor *wb[] = {w, b}, *y;
    reel_graph *g = reel_trace_function(conv_relu, wb, &x, 1, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    calibrate(q, x);
    check_quantizers(q);
    reel_graph *ints = reel_quantize_convert(q);
    assert_ok();
    y = run(ints, x);
    assert_true(reel_item(reel_all(reel_isfinite(y), REEL_ALL, false)));
    double off = difference(y, run(g, x));
    if (!(off <= tolerance)) fail_msg("off by %g", off);
    reel_graph_free(ints);
    reel_module_free(q);
    reel_graph_free(g);
}

static void test_hard_cases(void **state)
{
    (void)state;
    reel_tensor *w = reel_randn(REEL_SHAPE(4, 3, 1, 1), REEL_F32);
    reel_tensor *b = reel_randn(REEL_SHAPE(4), REEL_F32);
    reel_tensor *x = reel_randn(REEL_SHAPE(5, 3, 4, 4), REEL_F32);
    try_conv(w, b, x, 0.03);
    try_conv(w, b, reel_narrow(x, 0, 0, 1), 0.03); /* a batch of one */
    reel_tensor *zero = reel_copy(w);
    reel_fill_(reel_narrow(zero, 0, 1, 1), 0);
    try_conv(zero, b, x, 0.03);
    reel_fill_(zero, 0);
    try_conv(zero, b, x, 0.03);
    try_conv(w, b, reel_zeros_like(x), 0.03);
    reel_tensor *wild = reel_copy(x);
    reel_fill_(reel_narrow(reel_narrow(reel_narrow(wild, 0, 0, 1), 2, 0, 1), 3, 0, 1),
               3e37);
    try_conv(w, b, wild, 0.03);
    /* a bias that 32 bits of the product of the scales do not hold */
    reel_tensor *small = reel_copy(w);
    reel_mul_scalar_(reel_narrow(small, 0, 2, 1), 1e-3);
    try_conv(small, reel_mul_scalar(b, 1e6), x, 0.03);
    try_conv(reel_mul_scalar(w, 1e-30), b, x, 0.03);
    try_conv(reel_mul_scalar(w, 1e-30), reel_zeros_like(b), reel_mul_scalar(x, 1e-30), 1);
    assert_ok();
}

/* Graphs that train are refused; what is not f32, or has no rule, stays. */
static reel_tensor *nothing_to_do(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return reel_softmax(reel_gelu(reel_mul_scalar(x[0], 2)), 1);
}

static void test_what_cannot_be(void **state)
{
    (void)state;
    dice = reel_draw_at(5, 0, 0);
    reel_module *net = small_trainer_net();
    reel_tensor *x[1], *y[1];
    small_trainer_data(1, x, y);
    reel_graph *g = reel_trace(net, x[0], &(reel_trace_opts){.fixed_batch = true});
    assert_null(reel_quantize_prepare(g, NULL));
    expect_error(REEL_ERR_STATE, "trace the model in eval mode");
    reel_graph_free(g);
    reel_module_free(net);
    reel_tensor *in = reel_randn(REEL_SHAPE(2, 6), REEL_F32);
    g = reel_trace_function(nothing_to_do, NULL, &in, 1, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    assert_int_equal(reel_quantize_count(q), 0);
    calibrate(q, in);
    reel_graph *ints = reel_quantize_convert(q);
    assert_true(difference(run(ints, in), run(g, in)) < 1e-6);
    reel_graph_free(ints);
    reel_module_free(q);
    reel_graph_free(g);
}

/* The whole way, with the k-th allocation failing: an error, and nothing is left behind. */
static bool way_without_memory(const reel_graph *g, reel_tensor *x, int64_t k)
{
    reel_memory_trim((reel_device){REEL_CPU, 0});
    reel__fault_alloc(k, false);
    reel_scope s = reel_scope_begin();
    reel_module *q = reel_quantize_prepare(
        g, &(reel_quantize_opts){.equalize = true, .batch_statistics = true});
    (void)reel_quantize_observe(q, true);
    (void)reel_forward(q, x);
    (void)reel_quantize_observe(q, false);
    (void)reel_forward(q, x);
    reel_graph *ints = reel_quantize_convert(q);
    if (ints) free(reel_quantize_lint(ints, REEL_TARGET_ORT));
    bool met = reel__fault_alloc_count() >= k;
    reel__fault_alloc(0, false);
    assert_int_equal(reel_error_status(), met ? REEL_ERR_MEMORY : REEL_OK);
    reel_error_clear();
    reel_graph_free(ints);
    reel_module_free(q);
    reel_scope_end(s);
    return met;
}

static void test_without_memory(void **state)
{
    (void)state;
    reel_module *net = small_trainer_net();
    reel_train(net, false);
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 3, 8, 8), REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL);
    int64_t before = reel_live_objects(), k = 1;
    while (way_without_memory(g, x, k)) {
        if (reel_live_objects() != before) fail_msg("left behind at %d", (int)k);
        k += 1 + k / 40;
    }
    assert_true(k > 300);
    reel_graph_free(g);
    reel_module_free(net);
}

/* ---- the linter: a layer written out, with one thing wrong ------------------------------------------ */

typedef enum wrong {
    NOTHING,
    RESULT,
    BETWEEN,
    PER_TENSOR,
    WEIGHT_ZERO,
    WEIGHT_F32,
    BIAS_F32,
    BIAS_SCALE,
    RELU_ZERO,
    NO_SCALE,
    INPUT,
    SUM,
    SIGNED,
    POOL,
    NORM,
    CLAMP,
    FAKE
} wrong;

static reel_tensor *f32(double x)
{
    return reel_full(REEL_SCALAR, x, REEL_F32);
}

static reel_tensor *qdq(reel_tensor *x, double scale, int zero, reel_dtype dtype)
{
    reel_tensor *z = reel_full(REEL_SCALAR, zero, dtype);
    return reel_dequantize(reel_quantize(x, f32(scale), z), f32(scale), z);
}

static reel_tensor *ints(double x, reel_shape shape, reel_shape scales, double scale,
                         int zero, reel_dtype dtype)
{
    return reel_dequantize(reel_full(shape, x, dtype), reel_full(scales, scale, REEL_F32),
                           reel_full(scales, zero, dtype));
}

static reel_tensor *layer(void *user, reel_tensor *const in[], int n)
{
    const wrong w = *(wrong *)user;
    const reel_shape weight = REEL_SHAPE(4, 3, 1, 1), bias = REEL_SHAPE(4),
                     each = REEL_SHAPE(4, 1, 1, 1), one = REEL_SHAPE(1, 1, 1, 1);
    const reel_dtype u8 = w == SIGNED ? REEL_I8 : REEL_U8;
    (void)n;
    reel_tensor *x = w == INPUT ? in[0] : qdq(in[0], w == NO_SCALE ? 0 : 0.5, 0, u8);
    reel_tensor *k = w == WEIGHT_F32 ? reel_ones(weight, REEL_F32)
                                     : ints(1, weight, w == PER_TENSOR ? one : each, 0.25,
                                            w == WEIGHT_ZERO, REEL_I8);
    reel_tensor *b = w == BIAS_F32
                         ? reel_ones(bias, REEL_F32)
                         : ints(3, bias, bias, w == BIAS_SCALE ? 1 : 0.125, 0, REEL_I32);
    reel_tensor *y = reel_conv2d(x, k, b, NULL);
    if (w == BETWEEN) y = qdq(y, 0.5, 100, u8);
    if (w == NORM)
        y = reel_batch_norm(y, NULL, NULL, reel_zeros(bias, REEL_F32),
                            reel_ones(bias, REEL_F32), NULL, NULL);
    y = w == CLAMP ? reel_relu6(y) : reel_relu(y);
    if (w == FAKE) y = reel_fake_quantize(y, f32(0.5), f32(0), 0, 255);
    if (w != RESULT && w != FAKE) y = qdq(y, 0.5, w == RELU_ZERO ? 7 : 0, u8);
    if (w == POOL) y = qdq(reel_max_pool2d(y, 2, NULL), 0.75, 0, u8);
    if (w == SUM) y = qdq(reel_add(y, reel_exp(y)), 1, 0, u8);
    return y;
}

static void test_lint(void **state)
{
    (void)state;
    static const char *const found[] = {
        [NOTHING] = "",
        [RESULT] = "conv2d: its result is not quantized",
        [BETWEEN] = "conv2d: it is quantized before the relu",
        [PER_TENSOR] =
            "conv2d: its weight has 1 scales for 4 channels; ort takes one for each",
        [WEIGHT_ZERO] = "conv2d: its weight has a zero point",
        [WEIGHT_F32] = "", /* one that was meant to stay in f32 */
        [BIAS_F32] = "conv2d: its bias is f32; ort takes i32",
        [BIAS_SCALE] = "conv2d: the scale of its bias is not the product",
        [RELU_ZERO] = "quantize: its zero point is 7 behind a relu",
        [NO_SCALE] = "quantize: its scale is 0, which is not above 0",
        [INPUT] = "conv2d: 1 of its 1 inputs are not quantized",
        [SUM] = "add: 1 of its 2 inputs are not quantized",
        [SIGNED] = "quantize: activations are i8; ort takes u8",
        [POOL] = "max_pool2d: it only passes values on",
        [NORM] = "batch_norm: it is not folded",
        [CLAMP] = "quantize: its scale of 0.5 reaches beyond 6",
        [FAKE] = "fake_quantize: it fakes",
    };
    reel_tensor *x = reel_rand(REEL_SHAPE(2, 3, 4, 4), REEL_F32);
    for (wrong w = NOTHING; w <= FAKE; w++) {
        reel_graph *g = reel_trace_function(
            layer, &w, &x, 1, &(reel_trace_opts){.unchecked = w == NO_SCALE});
        (void)reel_graph_optimize(g, &(reel_optimize_opts){.only = "fold"});
        assert_ok();
        expect_lint(g, REEL_TARGET_ORT, found[w]);
        if (w == NOTHING) {
            expect_lint(g, REEL_TARGET_TENSORRT, "quantize: activations are u8");
            expect_lint(g, REEL_TARGET_TENSORRT, "conv2d: its bias is quantized");
            expect_lint(g, REEL_TARGET_PER_TENSOR, "takes one for all");
        }
        reel_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_drawn_nets),
        TEST(test_resnet_in_integers),
        TEST(test_what_stays_in_f32),
        TEST(test_exclude_that_names_nothing),
        TEST(test_shared_scales),
        TEST(test_observers),
        TEST(test_channels),
        TEST(test_histograms),
        TEST(test_mse),
        TEST(test_histogram_channels),
        TEST(test_own_observer),
        TEST(test_state_dict),
        TEST(test_frozen_observers),
        TEST(test_captured_step),
        TEST(test_learned_scales),
        TEST(test_learning_helps),
        TEST(test_learned_ends),
        TEST(test_batch_statistics),
        TEST(test_calibrate),
        TEST(test_equalize),
        TEST(test_bias_correction),
        TEST(test_sensitivity),
        TEST(test_adaround),
        TEST(test_smooth),
        TEST(test_hard_cases),
        TEST(test_what_cannot_be),
        TEST(test_without_memory),
        TEST(test_lint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
