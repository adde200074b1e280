/* test_allocator.c: memory functions of the program's own. All memory comes from them and goes back
 * to them, aligned where kernels need it, whatever alignment they have; when they have none, the
 * call that needed it says so. */
#include <reel/reel.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "temp_folder.h"

/* ---- functions that count, and keep the size before each block ------------------------------- */

typedef struct counts {
    atomic_llong blocks, bytes, calls, fails_at; /* fails_at: this call, 0: none */
} counts;

/* A multiple of what any type needs, as malloc() promises, and not of what kernels need. */
enum { BEFORE = 16 + sizeof(max_align_t) - sizeof(max_align_t) % 16 };

static bool fails(counts *c)
{
    long long n = atomic_fetch_add(&c->calls, 1) + 1;
    return n == atomic_load(&c->fails_at);
}

static void *count_alloc(void *user, size_t size)
{
    counts *c = user;
    char *p = fails(c) || size > (size_t)1 << 40 ? NULL : malloc(size + BEFORE);
    if (!p) return NULL;
    memcpy(p, &size, sizeof size);
    atomic_fetch_add(&c->blocks, 1);
    atomic_fetch_add(&c->bytes, (long long)size);
    return memset(p + BEFORE, 0xA5, size); /* nobody may take it for zeros */
}

static void count_release(void *user, void *p)
{
    counts *c = user;
    size_t size;
    memcpy(&size, (char *)p - BEFORE, sizeof size);
    atomic_fetch_sub(&c->blocks, 1);
    atomic_fetch_sub(&c->bytes, (long long)size);
    free((char *)p - BEFORE);
}

static void *count_resize(void *user, void *p, size_t size)
{
    size_t old;
    memcpy(&old, (char *)p - BEFORE, sizeof old);
    void *q = count_alloc(user, size);
    if (!q) return NULL;
    memcpy(q, p, old < size ? old : size);
    count_release(user, p);
    return q;
}

static counts seen;

/* ---- tests, in this order -------------------------------------------------------------------- */

static void test_set_first(void **state)
{
    (void)state;
    reel_allocator a = {
        .alloc = count_alloc, .resize = NULL, .release = count_release, .user = &seen};
    assert_int_equal(reel_set_allocator(&a), REEL_ERR_ARG);
    assert_non_null(strstr(reel_error_message(), "set_allocator: resize is NULL"));
    reel_error_clear();
    a.resize = count_resize;
    assert_int_equal(reel_set_allocator(&a), REEL_OK);
    memset(&a, 0xff, sizeof a); /* it was copied */
}

static double loss_of(reel_module *net, reel_optim *opt, const reel_batch *b)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *loss = reel_cross_entropy(reel_forward(net, b->x), b->y, NULL);
    reel_backward(loss, NULL);
    reel_optim_step(opt);
    reel_optim_zero_grad(opt);
    double v = reel_item(loss);
    reel_scope_end(s);
    return v;
}

static void train(void)
{
    reel_seed(1);
    reel_dataset *ds = reel_drawn_images(64, 1, REEL_TRAIN);
    reel_loader *l = reel_loader_new(ds, &(reel_loader_opts){.batch = 16, .workers = 2});
    reel_module *net = reel_mlp(3 * 32 * 32, 10, NULL);
    reel_optim *opt = reel_adam(reel_parameters(net), NULL);
    double loss = -1;
    for (int epoch = 0; epoch < 3; epoch++)
        for (reel_batch b; reel_loader_next(l, &b);) {
            loss = loss_of(net, opt, &b);
            assert_int_equal((uintptr_t)reel_data(b.y) % 64, 0);
        }
    assert_true(loss > 0 && isfinite(loss));
    reel_tensor_map *map = reel_tensor_map_new();
    reel_scope s = reel_scope_begin();
    reel_tensor_map_set(map, "x", reel_ones(REEL_SHAPE(5), REEL_F32));
    assert_int_equal(reel_safetensors_save(map, temp_path("x.safetensors")), REEL_OK);
    reel_tensor_map_free(map);
    map = reel_safetensors_load(temp_path("x.safetensors"));
    assert_int_equal(reel_tensor_map_count(map), 1);
    reel_tensor_map_free(map);
    reel_scope_end(s);
    reel_optim_free(opt);
    reel_module_free(net);
    reel_loader_free(l);
    reel_dataset_free(ds);
}

static void test_all_memory_is_theirs(void **state)
{
    (void)state;
    reel_memory_stats stats;
    train();
    assert_false(reel_failed());
    assert_int_equal(reel_memory((reel_device){0}, &stats), REEL_OK);
    assert_true(atomic_load(&seen.bytes) >= (long long)stats.reserved);
    assert_true(stats.reserved > 0);
    reel_shutdown();
    assert_int_equal(reel_live_objects(), 0);
    assert_int_equal(atomic_load(&seen.blocks), 0);
    assert_int_equal(atomic_load(&seen.bytes), 0);
}

static void test_when_there_is_none(void **state)
{
    (void)state;
    int failed = 0;
    for (long long k = 1; k < 40; k++) {
        atomic_store(&seen.calls, 0);
        atomic_store(&seen.fails_at, k);
        reel_scope s = reel_scope_begin();
        reel_tensor *x =
            reel_requires_grad(reel_ones(REEL_SHAPE(70, 70), REEL_F32), true);
        (void)reel_backward(reel_sum(reel_matmul(x, x), REEL_ALL, false), NULL);
        atomic_store(&seen.fails_at, 0);
        failed += reel_failed();
        if (reel_failed() && reel_error_status() != REEL_ERR_MEMORY)
            fail_msg("call %lld: %s", k, reel_error_message());
        reel_error_clear();
        reel_scope_end(s);
        reel_shutdown();
        assert_int_equal(atomic_load(&seen.blocks), 0);
    }
    assert_true(failed > 10);
    assert_null(reel_zeros(REEL_SHAPE(INT64_C(1) << 45), REEL_F32));
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    reel_error_clear();
}

static void test_set_too_late(void **state)
{
    (void)state;
    assert_int_equal(reel_set_allocator(NULL), REEL_ERR_STATE);
    assert_non_null(strstr(reel_error_message(), "before anything else"));
    reel_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_first),
        cmocka_unit_test(test_all_memory_is_theirs),
        cmocka_unit_test(test_when_there_is_none),
        cmocka_unit_test(test_set_too_late),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
