/* test_cpu_backend.c: the way of a call to its kernel: halves computed in f32, operands
 * written in place, denormals, instruction sets, what is supported. */
#include "backend/cpu/cpu.h"
#include "base/alloc.h"
#include "base/counts.h"
#include "ops/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const reel_device cpu = {.type = REEL_CPU};

static int clear(void **state)
{
    (void)state;
    reel__fault_alloc(0, false);
    reel_set_flush_denormals(true);
    reel_error_clear();
    return 0;
}

static reel__meta meta(reel_shape shape, reel_dtype dtype)
{
    return reel__meta_of(shape, dtype, cpu);
}

static reel_status run(reel__kernel_id k, int n_in, const reel__karg *in, int n_out,
                       const reel__karg *out, const void *attrs)
{
    reel__kcall call = {k, n_in, n_out, in, out, attrs, NULL, 0};
    for (int i = 0; i < reel__n_ops; i++) /* as a call of the record says it */
        if (reel__ops[i]->kernel == k) call.mutates |= reel__ops[i]->mutates;
    return reel__launch((reel_device){REEL_CPU, 0}, &call);
}

static void convert(void *dst, const reel__meta *dm, void *src, const reel__meta *sm)
{
    assert_int_equal(
        run(K_COPY, 1, &(reel__karg){src, sm}, 1, &(reel__karg){dst, dm}, NULL), REEL_OK);
}

static size_t in_use(void)
{
    reel_memory_stats s;
    assert_int_equal(reel_memory(cpu, &s), REEL_OK);
    return s.in_use;
}

/* Sums over rows of a [3,4] half tensor whose rows are one row, repeated. */
static void halves_run_in_f32(void **state)
{
    (void)state;
    const reel_dtype halves[] = {REEL_F16, REEL_BF16};
    for (int h = 0; h < 2; h++) {
        float row[4] = {1, -2, 3, 0.5f}, sum[4] = {0};
        uint16_t half_row[4], half_sum[4];
        reel__meta row_f32 = meta(REEL_SHAPE(1, 4), REEL_F32), row_half = row_f32;
        row_half.dtype = halves[h];
        convert(half_row, &row_half, row, &row_f32);
        reel__meta x = meta(REEL_SHAPE(3, 4), halves[h]);
        x.stride[0] = 0;
        const reel__mask_attrs attrs = {.mask = 1, .scale = 2};
        const reel__karg in = {half_row, &x}, out = {half_sum, &row_half};
        size_t before = in_use();
        assert_int_equal(run(K_SUM, 1, &in, 1, &out, &attrs), REEL_OK);
        convert(sum, &row_f32, half_sum, &row_half);
        for (int i = 0; i < 4; i++) assert_true(sum[i] == row[i] * 6);
        /* Each allocation on the way fails once. */
        bool done = false;
        for (int64_t k = 1; !done; k++) {
            reel__fault_alloc(k, false);
            reel_status status = run(K_SUM, 1, &in, 1, &out, &attrs);
            done = status == REEL_OK;
            reel__fault_alloc(0, false);
            if (!done) assert_int_equal(status, REEL_ERR_MEMORY);
            assert_int_equal(reel_error_status(), status);
            reel_error_clear();
            assert_int_equal(in_use(), before);
            assert_true(k < 50);
        }
    }
}

/* p -= lr * g, written back into the half parameter and the half momentum. */
static void halves_are_updated_in_place(void **state)
{
    (void)state;
    float value[3] = {1, 2, 3}, grad[3] = {0.5f, 0.25f, -1}, back[3], kept[3];
    reel__meta f32 = meta(REEL_SHAPE(3), REEL_F32), half = meta(REEL_SHAPE(3), REEL_BF16);
    reel__meta one = meta(REEL_SHAPE(1), REEL_F64);
    uint16_t p[3], g[3], buf[3] = {0};
    double lr = 2;
    convert(p, &half, value, &f32);
    convert(g, &half, grad, &f32);
    const reel__karg in[] = {{p, &half}, {g, &half}, {buf, &half}, {&lr, &one}};
    const reel__sgd_attrs attrs = {.momentum = 0.5, .first = 1};
    assert_int_equal(run(K_SGD_STEP, 4, in, 0, NULL, &attrs), REEL_OK);
    convert(back, &f32, p, &half);
    convert(kept, &f32, buf, &half);
    for (int i = 0; i < 3; i++) {
        assert_true(back[i] == value[i] - 2 * grad[i]);
        assert_true(kept[i] == grad[i]);
    }
    convert(back, &f32, g, &half);
    assert_memory_equal(back, grad, sizeof grad);
}

static void denormals_follow_the_switch(void **state)
{
    (void)state;
#if defined(__SSE2__) || defined(__aarch64__)
    float a = 1e-30f, b = 1e-10f, y = 1;
    reel__meta m = meta(REEL_SHAPE(1), REEL_F32);
    const reel__karg in[] = {{&a, &m}, {&b, &m}}, out = {&y, &m};
    const reel__scalar_attrs attrs = reel__scalars(0, 0);
    for (int on = 0; on < 2; on++) {
        reel_set_flush_denormals(on);
        assert_int_equal(run(K_MUL, 2, in, 1, &out, &attrs), REEL_OK);
        uint32_t bits;
        memcpy(&bits, &y, sizeof bits);
        assert_int_equal(bits == 0, on);
    }
#else
    skip();
#endif
}

static void support_is_declared(void **state)
{
    (void)state;
    const reel__backend *b = reel__backend_of(REEL_CPU);
    for (int k = 0; k < K_COUNT; k++) {
        assert_true(strlen(reel__kernel_name((reel__kernel_id)k)) > 1);
        for (int d = 0; d < REEL__DTYPE_COUNT; d++) /* floats are everywhere */
            if (reel_dtype_is_float((reel_dtype)d))
                assert_int_equal(b->supports((reel__kernel_id)k, (reel_dtype)d),
                                 k != K_NONE);
    }
    assert_string_equal(reel__kernel_name(K_CONV2D), "CONV2D");
    assert_string_equal(reel__kernel_name(K_COUNT), "?");
    static const struct {
        reel__kernel_id k;
        reel_dtype d;
        bool yes;
    } c[] = {{K_ADD, REEL_I64, true},          {K_EXP, REEL_I64, false},
             {K_SUM, REEL_I64, true},          {K_CONV2D, REEL_I64, false},
             {K_COPY, REEL_BOOL, true},        {K_SOFTMAX, REEL_I32, false},
             {K_GATHER, REEL_U8, true},        {K_COUNT, REEL_F32, false},
             {K_ADD, REEL__DTYPE_COUNT, false}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        assert_int_equal(b->supports(c[i].k, c[i].d), c[i].yes);
    assert_int_equal(run(K_COUNT, 0, NULL, 0, NULL, NULL), REEL_ERR_UNSUPPORTED);
    reel_error_clear();
    assert_int_equal(run(K_NONE, 0, NULL, 0, NULL, NULL), REEL_ERR_UNSUPPORTED);
    assert_null(reel__backend_of(REEL__DEVICE_TYPE_COUNT));
}

/* REEL_ISA is read once a process, so each value gets a process. */
static void isa_can_be_lowered(void **state)
{
    (void)state;
    const char *const value[] = {"baseline", "avx2", "avx512", "nonsense", ""};
    reel__isa best = reel__isa_now();
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) skip();
    program[n] = '\0';
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            setenv("REEL_ISA", value[i], 1);
            execl(program, program, "isa", (char *)NULL);
            _exit(99);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        int lowered = i < REEL_ISA_COUNT && i < (int)best ? i : (int)best;
        if (!getenv("REEL_ISA")) assert_int_equal(WEXITSTATUS(status), lowered);
    }
    const char *const names[] = {"baseline", "avx2", "avx512"};
    assert_string_equal(reel_cpu_isa(), names[best]);
}

static void exact_mode(void **state)
{
    (void)state;
    assert_false(reel_exact());
    reel_set_exact(true);
    assert_true(reel_exact());
    reel_set_exact(false);
    assert_false(reel_exact());
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "isa") == 0) return (int)reel__isa_now();
#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        TEST(halves_run_in_f32),           TEST(halves_are_updated_in_place),
        TEST(denormals_follow_the_switch), TEST(support_is_declared),
        TEST(isa_can_be_lowered),          TEST(exact_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
