/* reel_checkpoint() around functions that change state: everything comes out as without it,
 * gradients and state (bit by bit where sums are of one order), in random functions, nested, run
 * backward twice, and as a graph; and what cannot be run again is an error. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "support/each_test.h"

enum { N = 4, C = 3, SIDE = 4, SIZE = N * C * SIDE * SIDE };

/* ---- functions that change state, drawn from a seed ------------------------------------------- */

typedef struct net {
    reel_module *norm; /* running statistics, a count */
    reel_tensor *counter, *cache,
        *w; /* cache: changed a row at a time, permuted in memory */
    reel_tensor *mean;
} net;

static net net_new(void)
{
    net n = {.norm = reel_nn_batch_norm2d(C, NULL)};
    reel_tensor *cache = reel_zeros(REEL_SHAPE(C, SIDE, 2), REEL_F32);
    n.counter = reel_zeros(REEL_SHAPE(1), REEL_F32);
    n.cache = reel_permute(cache, REEL_DIMS(2, 0, 1));
    n.mean = reel_zeros(REEL_SHAPE(1, C, 1, 1), REEL_F32);
    n.w = reel_requires_grad(reel_randn(REEL_SHAPE(1, C, 1, 1), REEL_F32), true);
    return n;
}

static int draw(uint64_t *at, int n)
{
    uint64_t z = *at += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (int)((z ^ (z >> 31)) % (uint64_t)n);
}

static reel_tensor *one(const net *t, uint64_t *at, reel_tensor *x)
{
    reel_tensor *row = reel_select(t->cache, 0, draw(at, 2)); /* [C, SIDE] */
    reel_tensor *new_row = reel_detach(reel_mean(x, REEL_DIMS(0, 3), false));
    switch (draw(at, 9)) {
    case 0: return reel_forward(t->norm, x);
    case 1: return reel_dropout(x, 0.3, true);
    case 2: (void)reel_add_(t->counter, reel_scalar(1, REEL_F32)); return x;
    case 3: (void)reel_copy_(row, new_row); return x;
    case 4: return reel_add(x, reel_unsqueeze(row, -1));
    case 5: return reel_mul(reel_tanh(x), t->w);
    case 6: return reel_relu_(reel_mul_scalar(x, 1.1)); /* its own value, in place */
    case 7:
        (void)reel_lerp_(t->mean, reel_detach(reel_mean(x, REEL_DIMS(0, 2, 3), true)),
                         0.1);
        return reel_sub(x, t->mean);
    default: return reel_mul(x, reel_copy(t->counter));
    }
}

/* Some operators, and another part after them or within. */
typedef struct part {
    const net *t;
    uint64_t seed;
    bool checkpointed;
    struct part *inner;
    bool within; /* it is the inner one of another */
} part;

/* What is read and changed by somebody else later cannot be run again: so all parts but inner
 * ones, which find copies, change all state. */
static void touch(const net *t)
{
    (void)reel_add_(t->counter, reel_scalar(0.5, REEL_F32));
    (void)reel_mul_scalar_(t->cache, 0.5);
    (void)reel_mul_scalar_(t->mean, 0.75);
}

static reel_tensor *run(void *user, reel_tensor *const x[], int n);

static reel_tensor *run_part(part *p, reel_tensor *x)
{
    return p->checkpointed ? reel_checkpoint(run, p, &x, 1) : run(p, &x, 1);
}

static reel_tensor *run(void *user, reel_tensor *const x[], int n)
{
    part *p = user;
    uint64_t at = p->seed;
    reel_tensor *y = x[0];
    (void)n;
    if (!p->within) touch(p->t);
    for (int i = 0; i < 4 && y; i++) y = one(p->t, &at, y);
    if (p->inner && y) y = run_part(p->inner, y);
    for (int i = 0; i < 3 && y; i++) y = one(p->t, &at, y);
    return y ? reel_mul_scalar(y, 1) : NULL;
}

/* ---- what came out ------------------------------------------------------------------------------ */

typedef struct outcome {
    float x[SIZE], w[C], counter[1], cache[2 * C * SIDE], mean[C], run[2 * C], y[SIZE];
    int64_t tracked;
} outcome;

static void read_to(reel_tensor *x, float *to)
{
    if (x) assert_int_equal(reel_read(x, to, REEL_F32), REEL_OK);
}

/* Two passes, so that the second finds what the first left; backward `times` times. */
static void work(uint64_t seed, bool checkpointed, int times, outcome *o)
{
    *o = (outcome){.tracked = 0};
    reel_scope s = reel_scope_begin();
    reel_seed(seed);
    net t = net_new();
    part inner = {&t, seed * 3, checkpointed, NULL, true};
    part p[] = {{&t, seed * 3 + 1, checkpointed, &inner, false},
                {&t, seed * 3 + 2, checkpointed, NULL, false}};
    const reel_backward_opts keep = {.retain_graph = true};
    reel_tensor *x = reel_randn(REEL_SHAPE(N, C, SIDE, SIDE), REEL_F32);
    (void)reel_requires_grad(x, true);
    for (int k = 0; k < 2; k++) {
        reel_tensor *h = run_part(&p[1], run_part(&p[0], reel_mul_scalar(x, 1)));
        reel_tensor *y = sum(reel_square(h));
        for (int i = 1; i <= times; i++)
            if (reel_backward(y, i < times ? &keep : NULL))
                fail_msg("seed %d: %s", (int)seed, reel_error_message());
        read_to(h, o->y);
    }
    read_to(reel_grad_of(x), o->x);
    read_to(reel_grad_of(t.w), o->w);
    read_to(t.counter, o->counter);
    read_to(t.cache, o->cache);
    read_to(t.mean, o->mean);
    read_to(reel_module_find(t.norm, "running_mean"), o->run);
    read_to(reel_module_find(t.norm, "running_var"), o->run + C);
    o->tracked = reel_item_i64(reel_module_find(t.norm, "num_batches_tracked"));
    reel_module_free(t.norm);
    reel_scope_end(s);
    assert_false(reel_failed());
}

static void test_as_without(void **state)
{
    (void)state;
    int counted = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        outcome plain, again;
        int times = 1 + (int)(seed % 2);
        work(seed, false, times, &plain);
        work(seed, true, times, &again);
        for (int i = 0; i < C; i++) { /* each part adds to it, in another order */
            double off = fabs((double)plain.w[i] - (double)again.w[i]);
            if (!(off <= 1e-4 * (1 + fabs((double)plain.w[i]))))
                fail_msg("seed %d: gradient of w: off by %g", (int)seed, off);
            plain.w[i] = again.w[i];
        }
        if (memcmp(&plain, &again, sizeof plain)) fail_msg("seed %d", (int)seed);
        counted += plain.tracked > 0;
    }
    assert_true(counted > 50);
}

/* ---- as a graph ----------------------------------------------------------------------------------- */

typedef struct trainer {
    net t;
    part p;
} trainer;

static reel_status step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    trainer *r = user;
    (void)n_x;
    (void)n_y;
    y[0] = sum(reel_square(run_part(&r->p, x[0])));
    if (!reel_backward(y[0], NULL)) y[1] = reel_copy(reel_grad_of(r->t.w));
    (void)reel_set_grad(r->t.w, NULL);
    return reel_error_status();
}

/* What five steps compute, and the state that they leave. */
static void train(uint64_t seed, bool checkpointed, bool as_graph, float out[64])
{
    reel_scope s = reel_scope_begin();
    reel_seed(seed);
    trainer r = {.t = net_new()};
    r.p = (part){&r.t, seed * 5, checkpointed, NULL, false};
    const reel_compile_opts o = {.module = r.t.norm, .exact = true};
    reel_compiled *graph = reel_compile(step, &r, &o);
    for (int i = 0; i < 5; i++) {
        reel_tensor *x = reel_randn(REEL_SHAPE(N, C, SIDE, SIDE), REEL_F32),
                    *y[2] = {NULL};
        reel_status st =
            as_graph ? reel_compiled_run(graph, &x, 1, y, 2) : step(&r, &x, 1, y, 2);
        if (st) fail_msg("seed %d: %s", (int)seed, reel_error_message());
        read_to(y[0], out + 4 * i);
        read_to(y[1], out + 4 * i + 1);
    }
    read_to(reel_module_find(r.t.norm, "running_mean"), out + 20);
    read_to(r.t.counter, out + 23);
    read_to(r.t.mean, out + 24);
    read_to(r.t.cache, out + 27);
    reel_compiled_free(graph);
    reel_module_free(r.t.norm);
    reel_scope_end(s);
}

static void test_as_a_graph(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        float plain[64] = {0}, again[64] = {0}, graph[64] = {0};
        uint64_t at = seed * 5;
        bool uses_w = false; /* else there is no gradient to return */
        for (int i = 0; i < 7; i++) {
            (void)draw(&at, 2);
            uses_w = uses_w || draw(&at, 9) == 5;
        }
        if (!uses_w) continue;
        train(seed, false, false, plain);
        train(seed, true, false, again);
        train(seed, true, true, graph);
        if (memcmp(plain, again, sizeof plain)) fail_msg("seed %d", (int)seed);
        if (memcmp(plain, graph, sizeof plain)) fail_msg("seed %d, graph", (int)seed);
    }
}

/* ---- what is an error ------------------------------------------------------------------------------ */

static reel_tensor *changes_input(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_mul_scalar(reel_relu_(x[0]), 2);
}

static reel_tensor *reads(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_mul(x[0], user);
}

static void test_errors(void **state)
{
    (void)state;
    reel_tensor *x = reel_requires_grad(reel_ones(REEL_SHAPE(3), REEL_F32), true);
    reel_tensor *h = reel_mul_scalar(x, 2), *w = reel_ones(REEL_SHAPE(3), REEL_F32);
    assert_null(reel_checkpoint(changes_input, NULL, &h, 1));
    expect_error(REEL_ERR_STATE, "relu_: input 0 f32[3] needs a gradient");
    reel_tensor *y = reel_checkpoint(reads, w, &h, 1);
    (void)reel_fill_(w, 5);
    assert_int_equal(reel_backward(sum(y), NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "was changed in place since");
    assert_null(reel_grad_of(x));
    /* once without retain_graph is all there is, as everywhere */
    y = sum(reel_checkpoint(reads, w, &h, 1));
    assert_int_equal(reel_backward(y, NULL), REEL_OK);
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_STATE);
    expect_error(REEL_ERR_STATE, "already freed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_as_without),
        TEST(test_as_a_graph),
        TEST(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
