/* test_pointwise.c: the driver of the pointwise rows on random layouts, dtypes,
 * broadcasts and aliases, and on any number of threads. */
#include "backend/cpu/cpu.h"
#include "base/counts.h"
#include "pw_expected.h"

static float moderate(void)
{
    return (float)random_bits() / 268435456.f - 4;
}

static void fill(layout *l)
{
    reel_shape shape = reel__shape(&l->meta);
    int64_t index[REEL_MAX_RANK] = {0};
    if (reel__numel(&l->meta) == 0) return;
    int low = l->meta.dtype == REEL_U8 ? 0 : -3;
    do put(element(l, shape, index), l->meta.dtype, low + (int)random_below(9));
    while (next_index(shape, index));
}

static void run(reel__kernel_id k, int n_in, layout *in, layout *out, const double *a)
{
    reel__karg args[3], result = {out->data, &out->meta};
    for (int i = 0; i < n_in; i++) args[i] = (reel__karg){in[i].data, &in[i].meta};
    reel__scalar_attrs attrs = reel__scalars(a[0], a[1]);
    reel__kcall call = {k, n_in, 1, args, &result, &attrs, NULL, 0};
    assert_int_equal(reel__cpu_pointwise(&call), REEL_OK);
}

/* Rows whose results on small integers every dtype holds; results may wrap. */
static const reel__kernel_id exact_rows[] = {
    K_ADD, K_SUB,  K_MUL,   K_MAXIMUM,    K_EQ,          K_LT,         K_WHERE,
    K_NEG, K_RELU, K_CLAMP, K_MUL_SCALAR, K_LOGICAL_AND, K_LOGICAL_NOT};
#define N_EXACT ((int)(sizeof exact_rows / sizeof *exact_rows))

static double wrapped(double v, reel_dtype d)
{
    if (d == REEL_U8) return (double)(uint8_t)(int64_t)v;
    if (d == REEL_I8) return (double)(int8_t)(int64_t)v;
    if (d == REEL_BOOL) return v != 0;
    return v;
}

static void check_driver(reel__kernel_id k, reel_shape shape, reel_dtype dtype,
                         unsigned how)
{
    const reel__pw_info *info = reel__pw_info_of(k);
    static const double a[2] = {-2, 3};
    layout in[3], out;
    for (int i = 0; i < info->n_in; i++) {
        reel_dtype d = k == K_WHERE && i == 0 ? REEL_BOOL : dtype;
        in[i] = random_layout(shape, d, how | BROADCAST * (random_bits() & 1));
        fill(&in[i]);
    }
    out = random_layout(shape, info->out_bool ? REEL_BOOL : dtype,
                        how & ~(unsigned)(BROADCAST | EXPAND | DROP_DIMS));
    run(k, info->n_in, in, &out, a);
    int64_t index[REEL_MAX_RANK] = {0};
    if (reel__numel(&out.meta) > 0) do {
            double x[3] = {0, 0, 0};
            for (int i = 0; i < info->n_in; i++)
                x[i] = get(element(&in[i], shape, index), in[i].meta.dtype);
            double got = get(element(&out, shape, index), out.meta.dtype);
            double want = wrapped(expected(k, x[0], x[1], x[2], a), out.meta.dtype);
            if (got != want)
                fail_msg("%s %s rank %d how %u: (%g, %g, %g) gives %g, not %g",
                         info->name, reel_dtype_name(dtype), shape.rank, how, x[0], x[1],
                         x[2], got, want);
        } while (next_index(shape, index));
    for (int i = 0; i < info->n_in; i++) free_layout(&in[i]);
    free_layout(&out);
}

static void test_layouts(void **state)
{
    (void)state;
    for (int trial = 0; trial < 6000; trial++) {
        reel_shape shape = random_shape(trial % 50 == 0 ? 9 : 5);
        if (trial % 7 == 0 && shape.rank > 0)
            shape.dim[random_below(shape.rank)] = 1 + random_below(700);
        if (trial % 97 == 0 && shape.rank > 0) shape.dim[0] = 0;
        if (shape.rank == 5 && shape.dim[0] * shape.dim[1] > 100) continue;
        check_driver(exact_rows[trial % N_EXACT], shape,
                     (reel_dtype)(random_below(REEL__DTYPE_COUNT)),
                     trial % 3 == 0 ? 0 : random_bits() & 63);
    }
}

/* Shapes large enough for several tasks. */
static void test_large_broadcasts(void **state)
{
    (void)state;
    static const struct {
        reel_shape out, in;
    } cases[] = {
        {{2, {1000, 64}}, {1, {64}}},
        {{2, {1000, 64}}, {2, {1000, 1}}},
        {{4, {4, 32, 30, 30}}, {4, {1, 32, 1, 1}}},
        {{2, {90, 1000}}, {2, {90, 1}}},
        {{2, {30000, 3}}, {1, {3}}},
        {{3, {40, 50, 60}}, {0, {0}}},
        {{1, {100001}}, {1, {1}}},
    };
    static const double none[2] = {0, 0};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int last = 0; last < 2; last++)
            for (int dtype = 0; dtype < REEL__DTYPE_COUNT; dtype += REEL_F16) {
                reel_shape shape = cases[c].out;
                layout out = random_layout(shape, (reel_dtype)dtype, 0);
                layout in[2] = {random_layout(shape, (reel_dtype)dtype, 0),
                                random_layout(cases[c].in, (reel_dtype)dtype, 0)};
                if (last && shape.rank == 4) {
                    reel__set_channels_last(&out.meta);
                    reel__set_channels_last(&in[0].meta);
                }
                fill(&in[0]);
                fill(&in[1]);
                run(K_SUB, 2, in, &out, none);
                int64_t index[REEL_MAX_RANK] = {0};
                do {
                    double want = get(element(&in[0], shape, index), (reel_dtype)dtype) -
                                  get(element(&in[1], shape, index), (reel_dtype)dtype);
                    double got = get(element(&out, shape, index), (reel_dtype)dtype);
                    if (got != wrapped(want, (reel_dtype)dtype))
                        fail_msg("case %zu: %g, not %g", c, got, want);
                } while (next_index(shape, index));
                free_layout(&out);
                free_layout(&in[0]);
                free_layout(&in[1]);
            }
}

/* The output may be an input exactly, dense or not. */
static void test_in_place(void **state)
{
    (void)state;
    static const double none[2] = {0, 0};
    for (int dtype = 0; dtype < REEL__DTYPE_COUNT; dtype++)
        for (unsigned how = 0; how < 16; how++) {
            reel_shape shape = {3, {3, 40, 11}};
            layout in[2] = {random_layout(shape, (reel_dtype)dtype, how & ~1u),
                            random_layout(shape, (reel_dtype)dtype, how)};
            layout copy = random_layout(shape, (reel_dtype)dtype, 0);
            fill(&in[0]);
            fill(&in[1]);
            run(K_SUB, 2, in, &copy, none);
            run(K_SUB, 2, in, &in[0], none);
            int64_t index[REEL_MAX_RANK] = {0};
            do
                assert_true(get(element(&copy, shape, index), (reel_dtype)dtype) ==
                            get(element(&in[0], shape, index), (reel_dtype)dtype));
            while (next_index(shape, index));
            free_layout(&in[0]);
            free_layout(&in[1]);
            free_layout(&copy);
        }
}

static void test_threads_agree(void **state)
{
    (void)state;
    static const reel__kernel_id rows[] = {K_ADD, K_GELU, K_TANH, K_SIN};
    reel_shape shape = {2, {501, 303}};
    for (size_t r = 0; r < 4; r++)
        for (unsigned how = 0; how < 32; how += 5) {
            int n_in = reel__pw_info_of(rows[r])->n_in;
            layout in[2] = {random_layout(shape, REEL_F32, how),
                            random_layout(shape, REEL_F32, how)};
            layout one = random_layout(shape, REEL_F32, 0),
                   two = random_layout(shape, REEL_F32, 0);
            for (int j = 0; j < 2; j++)
                for (size_t i = 0; i < in[j].bytes / 4; i++)
                    ((float *)(void *)in[j].memory)[i] = moderate() * 1e4f;
            assert_int_equal(reel_set_threads(1), REEL_OK);
            run(rows[r], n_in, in, &one, attributes);
            assert_int_equal(reel_set_threads(2), REEL_OK);
            run(rows[r], n_in, in, &two, attributes);
            assert_memory_equal(one.memory, two.memory, one.bytes);
            free_layout(&in[0]);
            free_layout(&in[1]);
            free_layout(&one);
            free_layout(&two);
        }
    assert_int_equal(reel_set_threads(0), REEL_OK);
}

static void test_refusals(void **state)
{
    (void)state;
    layout x = random_layout(REEL_SCALAR, REEL_I64, 0);
    reel__karg arg = {x.data, &x.meta};
    reel__kcall call = {K_EXP, 1, 1, &arg, &arg, NULL, NULL, 0};
    assert_int_equal(reel__cpu_pointwise(&call), REEL_ERR_UNSUPPORTED);
    assert_string_equal(reel_error_message(), "EXP: no kernel for i64 on the CPU");
    reel_error_clear();
    call.kernel = K_COPY;
    assert_int_equal(reel__cpu_pointwise(&call), REEL_ERR_UNSUPPORTED);
    reel_error_clear();
    free_layout(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),  cmocka_unit_test(test_large_broadcasts),
        cmocka_unit_test(test_in_place), cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
