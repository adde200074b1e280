/* test_called.c: an error begins with the function that the program called; where that calls code
 * of the program, with what this called after it, and with the module's place at the end. */
#include "module_check.h"

/* ---- code of the program ------------------------------------------------------------------ */

/* Calls that fail below a function of another name. */
static reel_tensor *wrong_loss(reel_tensor *x)
{
    return reel_mse_loss(x, reel_ones(REEL_SHAPE(7, 7), REEL_F32), REEL_MEAN);
}

static reel_tensor *loss_forward(reel_module *self, reel_tensor *x)
{
    (void)self;
    return wrong_loss(x);
}

static reel_tensor *says_so_forward(reel_module *self, reel_tensor *x)
{
    (void)self;
    (void)x;
    reel_fail(REEL_ERR_ARG, "x is not to my taste");
    return NULL;
}

static reel_tensor *function(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return wrong_loss(x[0]);
}

static reel_tensor *hook(void *user, reel_tensor *g)
{
    (void)user;
    return wrong_loss(g);
}

static reel_status step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    (void)user, (void)n_x, (void)n_y;
    y[0] = wrong_loss(x[0]);
    return reel_error_status();
}

/* The pending error begins and ends so; it is forgotten. */
static void expect(const char *begin, const char *end)
{
    const char *said = reel_error_message();
    size_t n = strlen(said), e = strlen(end);
    if (strncmp(said, begin, strlen(begin)) != 0 || n < e ||
        strcmp(said + n - e, end) != 0)
        fail_msg("\"%s\" is not \"%s ...%s\"", said, begin, end);
    reel_error_clear();
}

#define LOSS "mse_loss: squared_error: "

static void test_code_that_is_called_back(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    assert_null(wrong_loss(x));
    expect(LOSS, "");
    reel_module *own = reel_module_new(sizeof *own, "own", loss_forward);
    reel_module *net = reel_nn_sequential(reel_nn_relu(), own);
    assert_null(reel_forward(net, x));
    expect("forward: " LOSS, " (in 1)");
    assert_null(reel_trace(net, x, NULL));
    expect("trace: " LOSS, " (in 1)");
    assert_null(reel_trace_function(function, NULL, &x, 1, NULL));
    expect("trace_function: " LOSS, "");
    assert_null(reel_checkpoint(function, NULL, &x, 1));
    expect("checkpoint: " LOSS, "");
    reel_compiled *s = reel_compile(step, NULL, NULL);
    reel_tensor *y = NULL;
    assert_int_not_equal(reel_compiled_run(s, &x, 1, &y, 1), REEL_OK);
    expect("compiled_run: " LOSS, "");
    reel_tensor *w = reel_requires_grad(reel_ones(REEL_SHAPE(2), REEL_F32), true);
    reel_tensor *z = reel_square(w);
    assert_int_equal(reel_register_hook(z, hook, NULL), REEL_OK);
    assert_int_not_equal(reel_backward(reel_sum(z, REEL_ALL, false), NULL), REEL_OK);
    expect("backward: " LOSS, "");
    /* Outside again, all have their own names. */
    assert_null(wrong_loss(x));
    expect(LOSS, "");
    reel_fail(REEL_ERR_ARG, "of the program");
    expect("of the program", "of the program");
    reel_compiled_free(s);
    reel_module_free(net);
}

/* ---- modules ------------------------------------------------------------------------------ */

static void test_forward_names_operator_and_place(void **state)
{
    (void)state;
    reel_module *own = reel_module_new(sizeof *own, "own", says_so_forward);
    reel_module *net = reel_nn_sequential(
        reel_nn_relu(), reel_nn_sequential(reel_nn_linear(4, 2, NULL)), own);
    assert_null(reel_forward(net, reel_ones(REEL_SHAPE(2, 3), REEL_F32)));
    expect("forward: linear: input f32[2,3] and weight f32[2,4]", " (in 1.0)");
    assert_null(reel_forward(net, reel_ones(REEL_SHAPE(2, 4), REEL_F32)));
    expect("forward: x is not to my taste", " (in 2)");
    assert_null(reel_forward(reel_module_at(net, "1.0"), NULL));
    expect("forward: the input is NULL", "NULL");
    reel_tensor *y = NULL;
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 3), REEL_F32);
    assert_int_not_equal(reel_forward_n(net, &x, 1, &y, 1), REEL_OK);
    expect("forward_n: linear: ", " (in 1.0)");
    assert_int_equal(reel_module_save(net, "/no/such/folder/file") != REEL_OK, true);
    expect("module_save: ", "");
    reel_module_free(net);
}

/* ---- data --------------------------------------------------------------------------------- */

static int64_t length(void *self)
{
    (void)self;
    return 6;
}

/* The last sample cannot be read. */
static reel_status get(void *self, int64_t index, reel_sample *out)
{
    (void)self;
    if (index == 5) return reel_fail(REEL_ERR_IO, "own data: cannot read sample 5");
    float *x = reel_sample_add(out, "x", REEL_ARRAY, REEL_SHAPE(2), REEL_F32);
    if (x) x[0] = x[1] = 1;
    return reel_error_status();
}

/* The second batch has a sample of another shape. */
static reel_status get_uneven(void *self, int64_t index, reel_sample *out)
{
    (void)self;
    void *x =
        reel_sample_add(out, "x", REEL_ARRAY, REEL_SHAPE(index == 3 ? 2 : 1), REEL_U8);
    if (x) memset(x, 0, index == 3 ? 2 : 1);
    return reel_error_status();
}

static void expect_of_loader(const reel_dataset_fns *fns, int workers, const char *text)
{
    reel_dataset *data = reel_dataset_new(fns, NULL);
    reel_loader *loader =
        reel_loader_new(data, &(reel_loader_opts){.batch = 2, .workers = workers});
    reel_batch b;
    while (reel_loader_next(loader, &b)) {}
    assert_string_equal(reel_error_message(), text);
    reel_error_clear();
    reel_loader_free(loader);
    reel_dataset_free(data);
}

/* Whichever thread read it. */
static void test_loader(void **state)
{
    (void)state;
    static const reel_dataset_fns broken = {.name = "own", .length = length, .get = get};
    static const reel_dataset_fns uneven = {
        .name = "own", .length = length, .get = get_uneven};
    for (int workers = 0; workers < 3; workers++) {
        expect_of_loader(&broken, workers, "loader_next: own data: cannot read sample 5");
        expect_of_loader(&uneven, workers,
                         "loader_next: samples 2 and 3 differ in the shape of \"x\": [1] "
                         "and [2]; a resize, a crop or reel_pad_collate would make them "
                         "equal");
    }
}

/* ---- files, memory ------------------------------------------------------------------------ */

static void test_files(void **state)
{
    (void)state;
    assert_null(reel_csv("no/such.csv", NULL));
    expect("csv: cannot open no/such.csv: ", "");
    assert_null(reel_npy_load("no/such.npy"));
    expect("npy_load: ", "");
    assert_null(reel_onnx_load("no/such.onnx", NULL));
    expect("onnx_load: cannot open no/such.onnx: ", "");
    assert_null(reel_open_data("no/such", REEL_TRAIN, NULL));
    expect("open_data: ", "");
    assert_null(reel_cifar10("no/such", REEL_TRAIN));
    expect("cifar10: cannot open no/such/", "");
}

/* An operator has its name from its record, and is not named before it fails. */
static void test_memory(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(64, 64), REEL_F32);
    for (int64_t k = 1; k < 4; k++) {
        reel_memory_trim((reel_device){REEL_CPU, 0});
        reel__fault_alloc(k, true);
        reel_tensor *y = reel_matmul(x, x);
        reel__fault_alloc(0, false);
        assert_null(y);
        expect("matmul: out of memory", "");
        reel__fault_alloc(1, true);
        y = reel_relu(x);
        reel__fault_alloc(0, false);
        assert_null(y);
        expect("relu: out of memory", "");
    }
    reel__fault_alloc(1, true);
    assert_null(reel_empty(REEL_SHAPE(4), REEL_F32));
    reel__fault_alloc(0, false);
    expect("empty: out of memory", "");
    /* What the program itself says of memory stays as it is. */
    reel_fail(REEL_ERR_MEMORY, "no room in the program");
    assert_null(reel_relu(NULL));
    expect("no room in the program", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_code_that_is_called_back),
        TEST(test_forward_names_operator_and_place),
        TEST(test_loader),
        TEST(test_files),
        TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
