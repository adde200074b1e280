/* Every allocation of a small training step made to fail in turn, once and from there on:
 * an error each time, nothing leaks, and the same net trains on afterwards. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/sample.h"
#include "support/small_net.h"

/* Cached memory would hide allocations from the fault counter. */
static void forget_caches(void)
{
    reel_scope_end(0);
    reel_memory_trim((reel_device){REEL_CPU, 0});
}

static void expect_memory_error(int64_t k, bool forever)
{
    if (reel_error_status() != REEL_ERR_MEMORY)
        fail_msg("allocation %d%s: status %s: %s", (int)k,
                 forever ? " and all after" : "", reel_status_name(reel_error_status()),
                 reel_error_message());
    reel_error_clear();
}

static int64_t allocations_of_step(small_net *net)
{
    forget_caches();
    reel__fault_alloc(0, false);
    assert_true(isfinite(small_net_step(net)));
    return reel__fault_alloc_count();
}

static void fail_each(small_net *net, int64_t n, bool forever)
{
    for (int64_t k = 1; k <= n; k++) {
        int64_t live = reel_live_objects();
        forget_caches();
        reel__fault_alloc(k, forever);
        double loss = small_net_step(net);
        reel__fault_alloc(0, false);
        assert_true(isnan(loss));
        expect_memory_error(k, forever);
        assert_int_equal(reel_live_objects(), live);
        for (int i = 0; i < SMALL_NET_PARAMS; i++)
            assert_null(reel_grad_of(net->param[i]));
        assert_true(reel_grad_enabled());
    }
}

static void test_training_step(void **state)
{
    (void)state;
    small_net net;
    forget_caches();
    int64_t live = reel_live_objects();
    assert_true(small_net_make(&net, 1));
    for (int i = 0; i < 3; i++) (void)small_net_step(&net);
    int64_t n = allocations_of_step(&net);
    print_message("%d allocations in a step\n", (int)n);
    assert_true(n > 100);
    fail_each(&net, n, false);
    fail_each(&net, n, true);
    double before = small_net_step(&net), after = before;
    for (int i = 0; i < 20; i++) after = small_net_step(&net);
    assert_true(after < before);
    small_net_free(&net);
    forget_caches();
    assert_int_equal(reel_live_objects(), live);
}

static void test_making_the_net(void **state)
{
    (void)state;
    small_net net;
    forget_caches();
    int64_t live = reel_live_objects();
    for (int64_t k = 1;; k++) {
        reel__fault_alloc(k, false);
        bool made = small_net_make(&net, 1);
        int64_t counted = reel__fault_alloc_count();
        reel__fault_alloc(0, false);
        if (made) {
            assert_true(counted < k); /* the fault lay behind the last one */
            small_net_free(&net);
            break;
        }
        expect_memory_error(k, false);
        forget_caches();
        assert_int_equal(reel_live_objects(), live);
    }
    forget_caches();
    assert_int_equal(reel_live_objects(), live);
}

/* ---- every record, forward and backward ---------------------------------------------------- */

/* One call of a sample with its gradient, from drawing the inputs on. */
static void call_record(const sample *s)
{
    reel_scope scope = reel_scope_begin();
    reel_tensor *in[SAMPLE_MAX_IN], *leaf[SAMPLE_MAX_IN], *gx[SAMPLE_MAX_IN];
    reel_tensor *out[REEL_OP_MAX_OUT];
    unsigned mutates = s->op->mutates | (s->op->traits & REEL_OP_INPLACE ? 1u : 0u);
    int n = 0;
    for (int i = 0; i < s->n_in; i++) {
        in[i] = sample_base(s, i, SAMPLE_CONTIGUOUS, REEL_F64, 1);
        if (s->op->vjp && s->in[i].kind == SAMPLE_FLOAT) {
            in[i] = leaf[n] = reel_requires_grad(in[i], true);
            n += in[i] != NULL;
        }
        if (in[i] && (mutates >> i & 1)) in[i] = reel_copy(in[i]);
        if (reel_failed()) break;
    }
    const reel_backward_opts opts = {.allow_unused = true, .create_graph = true};
    if (!reel_failed() && !reel__apply(s->op, s->attrs, s->n_in, in, out) && n)
        if (reel_needs_grad(out[0])) {
            reel_tensor *gy = reel_ones_like(out[0]);
            if (gy) (void)reel_grad(&out[0], 1, &gy, leaf, n, gx, &opts);
        }
    reel_scope_end(scope);
}

static int fail_each_of(const sample *s)
{
    int64_t live = reel_live_objects();
    for (int k = 1;; k++) {
        forget_caches();
        reel__fault_alloc(k, false);
        call_record(s);
        int64_t counted = reel__fault_alloc_count();
        reel__fault_alloc(0, false);
        if (counted < k) {
            if (reel_failed()) fail_msg("%s", reel_error_message());
            return k - 1;
        }
        if (reel_error_status() != REEL_ERR_MEMORY)
            fail_msg("%s, sample %d, allocation %d: %s", s->op->name, s->line, k,
                     reel_failed() ? reel_error_message() : "no error");
        reel_error_clear();
        forget_caches();
        assert_int_equal(reel_live_objects(), live);
    }
}

static void test_every_record(void **state)
{
    (void)state;
    int records = 0, allocations = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        sample s;
        if (!reel__ops[i]->sample) continue;
        assert_true(sample_parse(reel__ops[i], reel__ops[i]->sample, 0, &s));
        allocations += fail_each_of(&s);
        records++;
    }
    print_message("%d allocations of %d records\n", allocations, records);
    assert_true(records > 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_step),
        cmocka_unit_test(test_making_the_net),
        cmocka_unit_test(test_every_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
