/* test_soak.c: a thousand steps of training leave memory and live objects where they were
 * after a hundred, and everything goes in the end. */
#include <reel/reel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <string.h>

#include <cmocka.h>

enum { WARM = 100, STEPS = 1000, BATCH = 8, IMAGES = 80 };

/* The sanitizer keeps freed memory for a while, so that the size of the process says nothing;
 * what our allocator hands out still does. */
#if defined(__SANITIZE_ADDRESS__)
#define SIZE_SAYS_NOTHING true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIZE_SAYS_NOTHING true
#endif
#endif
#ifndef SIZE_SAYS_NOTHING
#define SIZE_SAYS_NOTHING false
#endif

/* VmRSS in KiB; 0 where there is no /proc. */
static long resident(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    fclose(f);
    return kib;
}

typedef struct use {
    int64_t objects;
    size_t in_use, reserved;
    long resident;
} use;

/* The loader's worker fills its queue meanwhile: counts mean something when it is full. */
static void let_the_loader_rest(void)
{
    int64_t last = -1;
    for (int same = 0, tries = 0; same < 5 && tries < 200; tries++) {
        int64_t now = reel_live_objects();
        same = now == last ? same + 1 : 0;
        last = now;
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

static use measure(void)
{
    let_the_loader_rest();
    reel_memory_stats m;
    assert_int_equal(reel_memory((reel_device){REEL_CPU, 0}, &m), REEL_OK);
    return (use){reel_live_objects(), m.in_use, m.reserved, resident()};
}

static reel_module *small_net(void)
{
    const reel_nn_conv2d_opts same = {.conv = {.padding = 1}, .no_bias = true};
    return reel_nn_sequential(
        reel_nn_conv2d(3, 8, 3, &same), reel_nn_batch_norm2d(8, NULL), reel_nn_relu(),
        reel_nn_max_pool2d(4, NULL), reel_nn_conv2d(8, 16, 3, &same), reel_nn_gelu(),
        reel_nn_adaptive_avg_pool2d(1, 1), reel_nn_flatten(1, -1), reel_nn_dropout(0.1),
        reel_nn_linear(16, 10, NULL));
}

static void step(reel_module *net, reel_optim *optim, reel_schedule *rate, reel_ema *ema,
                 const reel_batch *b)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *loss = reel_cross_entropy(reel_forward(net, b->x), b->y, NULL);
    reel_backward(loss, NULL);
    reel_clip_grad_norm(reel_parameters(net), 1);
    reel_optim_step(optim);
    reel_optim_zero_grad(optim);
    reel_schedule_step(rate);
    reel_ema_update(ema);
    (void)reel_item(loss);
    reel_scope_end(s);
    if (reel_failed()) fail_msg("%s", reel_error_message());
}

static void memory_is_flat_from_step_100_to_1000(void **state)
{
    (void)state;
    static const float mid[] = {0.5f, 0.5f, 0.5f};
    reel_dataset *ds = reel_drawn_images(IMAGES, 1, REEL_TRAIN);
    reel_loader *loader = reel_loader_new(
        ds, &(reel_loader_opts){.batch = BATCH,
                                .shuffle = true,
                                .workers = 1,
                                .transform = reel_transform_compose(
                                    reel_transform_random_crop(32, 4),
                                    reel_transform_normalize(mid, mid, 3))});
    reel_module *net = small_net();
    reel_optim *optim = reel_adamw(reel_parameters(net), NULL);
    reel_schedule *rate = reel_schedule_cosine(optim, STEPS, 0);
    reel_ema *ema = reel_ema_new(net, 0.99, NULL);
    assert_false(reel_failed());

    use warm = {0};
    for (int done = 0; done < STEPS;)
        for (reel_batch b; done < STEPS && reel_loader_next(loader, &b);) {
            step(net, optim, rate, ema, &b);
            if (++done == WARM) warm = measure();
        }
    use end = measure();
    print_message(
        "live objects %lld, then %lld; in use %zu, then %zu bytes; resident %ld, "
        "then %ld KiB\n",
        (long long)warm.objects, (long long)end.objects, warm.in_use, end.in_use,
        warm.resident, end.resident);
    assert_int_equal(warm.objects, end.objects);
    assert_int_equal(warm.reserved, end.reserved);
    /* REEL_DEBUG=1 leaves the structs of tensors that are gone, up to a bound. */
    if (!SIZE_SAYS_NOTHING && !getenv("REEL_DEBUG"))
        assert_true(labs(end.resident - warm.resident) <= 1024);

    reel_ema_free(ema);
    reel_schedule_free(rate);
    reel_optim_free(optim);
    reel_module_free(net);
    reel_loader_free(loader);
    reel_dataset_free(ds);
    assert_int_equal(reel_live_objects(), 0);
    assert_int_equal(measure().in_use, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_flat_from_step_100_to_1000),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
