/* test_unload.c: the shared library is opened, trains, is shut down and closed, twice; and what a
 * shutdown leaves to the program. test_unload_valgrind.sh runs it under valgrind.
 *
 *     test_unload cycle       the library alone, without the tests */
#include <reel/reel.h>

#include <dirent.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the library, by names ------------------------------------------------------------------- */

#define FUNCTIONS(F)                                                                     \
    F(reel_arange_i64)                                                                   \
    F(reel_arrays)                                                                       \
    F(reel_backward)                                                                     \
    F(reel_cast)                                                                         \
    F(reel_cross_entropy)                                                                \
    F(reel_dataset_free)                                                                 \
    F(reel_error_message)                                                                \
    F(reel_failed)                                                                       \
    F(reel_forward)                                                                      \
    F(reel_item)                                                                         \
    F(reel_live_objects)                                                                 \
    F(reel_loader_free)                                                                  \
    F(reel_loader_new)                                                                   \
    F(reel_loader_next)                                                                  \
    F(reel_mlp)                                                                          \
    F(reel_module_free)                                                                  \
    F(reel_optim_free)                                                                   \
    F(reel_optim_step)                                                                   \
    F(reel_optim_zero_grad)                                                              \
    F(reel_parameters)                                                                   \
    F(reel_randn)                                                                        \
    F(reel_scope_begin)                                                                  \
    F(reel_scope_end)                                                                    \
    F(reel_set_threads)                                                                  \
    F(reel_sgd)                                                                          \
    F(reel_shutdown)

typedef struct library {
#define F(name) __typeof__(name) *name;
    FUNCTIONS(F)
#undef F
    void *handle;
} library;

static bool opens(library *l, const char *path)
{
    l->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!l->handle) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    void *at;
    bool all = true;
#define F(name)                                                                          \
    at = dlsym(l->handle, #name);                                                        \
    all = all && at;                                                                     \
    memcpy(&l->name, &at, sizeof at);
    FUNCTIONS(F)
#undef F
    return all;
}

/* ---- a little training ----------------------------------------------------------------------- */

enum { SAMPLES = 64, FEATURES = 300 };

static reel_loader *loader_of(const library *l)
{
    reel_scope s = l->reel_scope_begin();
    reel_tensor *x = l->reel_randn((reel_shape){2, {SAMPLES, FEATURES}}, REEL_F32);
    reel_tensor *y = l->reel_arange_i64(0, SAMPLES, 1, REEL_I64);
    reel_dataset *ds = l->reel_arrays(x, y);
    reel_loader *loader =
        l->reel_loader_new(ds, &(reel_loader_opts){.batch = 16, .workers = 2});
    l->reel_dataset_free(ds);
    l->reel_scope_end(s);
    return loader;
}

/* The loss of the last step. */
static double train(const library *l, reel_loader *loader, int epochs)
{
    double loss = -1;
    reel_module *net = l->reel_mlp(FEATURES, SAMPLES, &(reel_mlp_opts){.hidden = {128}});
    reel_optim *opt = l->reel_sgd(l->reel_parameters(net), &(reel_sgd_opts){.lr = 0.1});
    for (int i = 0; i < epochs; i++)
        for (reel_batch b; l->reel_loader_next(loader, &b);) {
            reel_scope s = l->reel_scope_begin();
            reel_tensor *y = l->reel_cross_entropy(l->reel_forward(net, b.x), b.y, NULL);
            l->reel_backward(y, NULL);
            l->reel_optim_step(opt);
            l->reel_optim_zero_grad(opt);
            loss = l->reel_item(y);
            l->reel_scope_end(s);
        }
    l->reel_optim_free(opt);
    l->reel_module_free(net);
    return loss;
}

static int threads(void)
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *e; tasks && (e = readdir(tasks));) n += e->d_name[0] != '.';
    if (tasks) closedir(tasks);
    return n;
}

/* Threads that were joined may show a moment longer. */
static bool is_alone(void)
{
    for (int i = 0; i < 1000 && threads() > 1; i++) usleep(1000);
    return threads() <= 1;
}

/* 0, or what was wrong. */
static const char *cycle(void)
{
    library l;
    if (!opens(&l, REEL_BINARY_DIR "/libreel.so")) return "it does not open";
    l.reel_set_threads(3);
    reel_loader *loader = loader_of(&l);
    double first = train(&l, loader, 1);
    l.reel_shutdown(); /* in the middle: the loader lives, and begins again */
    if (!is_alone()) return "threads are left";
    double last = train(&l, loader, 4);
    l.reel_loader_free(loader);
    if (l.reel_failed()) return l.reel_error_message();
    if (!(last > 0 && last < first)) return "it did not learn";
    if (l.reel_live_objects()) return "objects are left";
    l.reel_shutdown();
    l.reel_shutdown(); /* again, with nothing to do */
    if (!is_alone()) return "threads are left at the end";
    if (dlclose(l.handle)) return "it does not close";
    if (dlopen(REEL_BINARY_DIR "/libreel.so", RTLD_NOW | RTLD_NOLOAD))
        return "it is still there";
    return NULL;
}

static void test_open_train_close(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *wrong = cycle();
        if (wrong) fail_msg("cycle %d: %s", i, wrong);
    }
}

/* ---- what lives through it ------------------------------------------------------------------- */

static void test_objects_stay(void **state)
{
    (void)state;
    reel_memory_stats before, after;
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_full(REEL_SHAPE(1000), 3, REEL_F32);
    reel_scope inner = reel_scope_begin();
    (void)reel_zeros(REEL_SHAPE(1 << 20), REEL_F32);
    (void)reel_matmul(reel_ones(REEL_SHAPE(200, 200), REEL_F32),
                      reel_ones(REEL_SHAPE(200, 200), REEL_F32));
    reel_scope_end(inner);
    (void)reel_fail(REEL_ERR_STATE, "an error that waits");
    assert_int_equal(reel_memory((reel_device){0}, &before), REEL_OK);
    reel_shutdown();
    assert_int_equal(reel_memory((reel_device){0}, &after), REEL_OK);
    assert_string_equal(reel_error_message(), "an error that waits");
    reel_error_clear();
    assert_true(after.reserved < before.reserved);
    assert_int_equal(after.in_use, before.in_use);
    assert_true(reel_item(reel_sum(x, REEL_ALL, false)) == 3000);
    reel_scope_end(s);
    reel_shutdown();
    assert_int_equal(reel_memory((reel_device){0}, &after), REEL_OK);
    assert_int_equal(after.reserved, 0);
    assert_int_equal(reel_live_objects(), 0);
}

static void test_synchronize(void **state)
{
    (void)state;
    assert_int_equal(reel_synchronize((reel_device){0}), REEL_OK);
    const reel_device absent[] = {
        {REEL_CPU, 1}, {REEL_CPU, -1}, {(reel_device_type)99, 0}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reel_synchronize(absent[i]), REEL_ERR_DEVICE);
        assert_non_null(strstr(reel_error_message(), "synchronize: no device"));
        reel_error_clear();
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "cycle") == 0) {
        for (int i = 0; i < 2; i++) {
            const char *wrong = cycle();
            if (!wrong) continue;
            fprintf(stderr, "test_unload: %s\n", wrong);
            return 1;
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_train_close),
        cmocka_unit_test(test_objects_stay),
        cmocka_unit_test(test_synchronize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
