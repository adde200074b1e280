/* test_random.c: the random kernels draw exactly what attrs.h says, from any strides, in
 * any split, on any number of threads; and what they draw has the right moments. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/cpu/kernels.h"
#include "backend/random_blocks.h"
#include "base/rng.h"
#include "strided.h"

static reel__kernel_fn fn_of(reel__kernel_id id)
{
    return id == K_UNIFORM   ? reel__ref_uniform
           : id == K_NORMAL  ? reel__ref_normal
           : id == K_RANDINT ? reel__ref_randint
                             : reel__ref_dropout;
}

static void run(reel__kernel_id id, const strided *x, strided *y,
                reel__random_attrs attrs)
{
    reel__karg in, out = strided_arg(y);
    if (x) in = strided_arg(x);
    reel__kcall call = {id, x != NULL, 1, x ? &in : NULL, &out, &attrs, NULL, 0};
    assert_int_equal(fn_of(id)(&call), REEL_OK);
}

/* ---- the definition, element by element ---- */

static double wide_u01(const uint32_t *w)
{
    return (double)(((uint64_t)w[0] << 32 | w[1]) >> 11) * 0x1p-53;
}

static double naive_normal(reel_dtype dtype, int64_t i, const uint32_t w[4])
{
    const uint32_t *pair = w + (i % 4 & 2);
    double u = pair[0] * 0x1p-32 + 0x1p-33, v = (pair[1] >> 8) * 0x1p-24;
    if (dtype == REEL_F64) {
        u = 1 - wide_u01(w);
        v = wide_u01(w + 2);
    }
    double r = sqrt(-2 * log(u)), angle = 2 * 3.14159265358979323846 * v;
    return i % 2 ? r * sin(angle) : r * cos(angle);
}

static reel__random_attrs between(double low, double high)
{
    return (reel__random_attrs){.low = reel__real(low), .high = reel__real(high)};
}

static double naive(reel__kernel_id id, reel_dtype dtype, const reel__random_attrs *a,
                    int64_t i, double x)
{
    bool wide = id == K_RANDINT || (id != K_DROPOUT && dtype == REEL_F64);
    const double low = reel__number_f64(a->low), high = reel__number_f64(a->high);
    uint32_t w[4];
    reel__philox((uint64_t)a->seed, (uint64_t)(a->offset + i / (wide ? 2 : 4)), w);
    switch (id) {
    case K_UNIFORM: {
        double u = wide ? wide_u01(w + 2 * (i % 2)) : (w[i % 4] >> 8) * 0x1p-24;
        return low + (high - low) * u;
    }
    case K_NORMAL: return low + high * naive_normal(dtype, i, w);
    case K_RANDINT: { /* the range is below 2^32 here, so two steps are exact */
        uint64_t range = (uint64_t)(high - low), hi = w[2 * (i % 2)];
        uint64_t lo = w[2 * (i % 2) + 1];
        return low + (double)((hi * range + (lo * range >> 32)) >> 32);
    }
    default: return w[i % 4] * 0x1p-32 >= low ? x / (1 - low) : 0;
    }
}

static void one_case(reel__kernel_id id, reel_dtype dtype, int rank, const int64_t *dim)
{
    const int64_t seed = (int64_t)dice(), offset = dice_in(0, 1 << 20);
    double low = id == K_RANDINT   ? (double)dice_in(-50, 50)
                 : id == K_DROPOUT ? 0.3
                                   : -1.5;
    double high = id == K_RANDINT ? low + (double)dice_in(1, 60) : 2.25;
    bool carries = dice() % 4 == 0; /* the counter */
    if (id == K_RANDINT && dtype == REEL_U8) {
        low += 50;
        high += 50;
    }
    reel__random_attrs a = between(low, high);
    a.seed = seed;
    a.offset = carries ? (INT64_C(1) << 32) - 3 : offset;
    strided x = strided_new(dtype, rank, dim, STRIDED_IN);
    strided y = strided_new(dtype, rank, dim, dice() % 2 ? STRIDED_DENSE : STRIDED_OUT);
    strided_randomize(&x);
    char *first = malloc(y.bytes);
    assert_non_null(first);
    assert_int_equal(reel_set_threads(1), REEL_OK);
    run(id, id == K_DROPOUT ? &x : NULL, &y, a);
    memcpy(first, y.memory, y.bytes);
    assert_int_equal(reel_set_threads(2), REEL_OK);
    run(id, id == K_DROPOUT ? &x : NULL, &y, a);
    assert_memory_equal(first, y.memory, y.bytes);
    double eps = dtype == REEL_F64 ? 1e-13 : dtype == REEL_F32 ? 4e-6 : 0;
    for (int64_t i = 0; i < strided_numel(&y); i++) {
        double got = strided_get(&y, i),
               want = naive(id, dtype, &a, i, strided_get(&x, i));
        if (!(fabs(got - want) <= eps))
            fail_msg("kernel %d dtype %s element %lld: %.17g, not %.17g", (int)id,
                     reel_dtype_name(dtype), (long long)i, got, want);
    }
    strided_check_gaps(&y);
    free(first);
    strided_free(&x);
    strided_free(&y);
}

static void as_defined(void **state)
{
    static const reel__kernel_id ids[] = {K_UNIFORM, K_NORMAL, K_RANDINT, K_DROPOUT};
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_I64,
                                        REEL_I32, REEL_I8,  REEL_U8};
    (void)state;
    for (int round = 0; round < 500; round++) {
        int64_t dim[REEL_MAX_RANK];
        int rank = strided_shape(REEL_MAX_RANK, round % 20 ? 100 : 40000, dim);
        reel__kernel_id id = ids[round % 4];
        one_case(id, dtypes[dice() % (id == K_RANDINT ? 6 : 2)], rank, dim);
    }
}

/* First words of seed 0, block 0, from the known answers of Random123. */
static void known_answers(void **state)
{
    int64_t dim[1] = {4};
    strided y = strided_new(REEL_F32, 1, dim, STRIDED_DENSE);
    const float *v = y.data;
    (void)state;
    run(K_UNIFORM, NULL, &y, between(0, 1));
    assert_true(v[0] == 0x6627e8 * 0x1p-24f && v[1] == 0xe169c5 * 0x1p-24f);
    assert_true(v[2] == 0xbc57ac * 0x1p-24f && v[3] == 0x9b00db * 0x1p-24f);
    strided_free(&y);
}

/* n numbers at once are those of two calls, the second at the offset that the first used
 * up. */
static void split_anywhere(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        reel__kernel_id id = round % 2 ? K_NORMAL : K_UNIFORM;
        reel_dtype dtype = round % 4 < 2 ? REEL_F32 : REEL_F64;
        int64_t n[1] = {30000}, part[1] = {4 * dice_in(0, 7500)}, rest[1];
        rest[0] = n[0] - part[0];
        strided whole = strided_new(dtype, 1, n, 0), a = strided_new(dtype, 1, part, 0);
        strided b = strided_new(dtype, 1, rest, 0);
        reel__random_attrs attrs = between(0, 1);
        attrs.seed = 7;
        attrs.offset = 100;
        run(id, NULL, &whole, attrs);
        run(id, NULL, &a, attrs);
        attrs.offset += reel__random_blocks(id, dtype, part[0]);
        run(id, NULL, &b, attrs);
        size_t size = reel_dtype_size(dtype), cut = (size_t)part[0] * size;
        assert_memory_equal(whole.data, a.data, cut);
        assert_memory_equal((char *)whole.data + cut, b.data, (size_t)rest[0] * size);
        strided_free(&whole);
        strided_free(&a);
        strided_free(&b);
    }
}

static void blocks(void **state)
{
    (void)state;
    assert_int_equal(reel__random_blocks(K_UNIFORM, REEL_F32, 0), 0);
    assert_int_equal(reel__random_blocks(K_UNIFORM, REEL_F32, 5), 2);
    assert_int_equal(reel__random_blocks(K_UNIFORM, REEL_BF16, 4), 1);
    assert_int_equal(reel__random_blocks(K_NORMAL, REEL_F64, 5), 3);
    assert_int_equal(reel__random_blocks(K_DROPOUT, REEL_F64, 5), 2);
    assert_int_equal(reel__random_blocks(K_RANDINT, REEL_U8, 5), 3);
    assert_true(reel__dropout_threshold(0) == 0);
    assert_true(reel__dropout_threshold(0.25) == 1u << 30);
    assert_true(reel__dropout_threshold(1e-12) == 1);
    assert_true(reel__dropout_threshold(1) == UINT64_C(1) << 32);
}

/* Mean and variance within five standard errors, and the third and fourth moment of
 * normals. */
static void moments(void **state)
{
    enum { N = 1000000 };
    int64_t dim[1] = {N};
    strided y = strided_new(REEL_F32, 1, dim, STRIDED_DENSE);
    const float *v = y.data;
    double m[5] = {0};
    reel__random_attrs unit = between(0, 1);
    unit.seed = 3;
    (void)state;
    run(K_NORMAL, NULL, &y, unit);
    for (int i = 0; i < N; i++)
        for (int k = 1; k < 5; k++) m[k] += pow(v[i], k) / N;
    assert_true(fabs(m[1]) < 5e-3 && fabs(m[2] - 1) < 7e-3);
    assert_true(fabs(m[3]) < 2e-2 && fabs(m[4] - 3) < 5e-2);
    run(K_UNIFORM, NULL, &y, unit);
    m[1] = m[2] = 0;
    for (int i = 0; i < N; i++) {
        assert_true(v[i] >= 0 && v[i] < 1);
        m[1] += v[i] / (double)N;
        m[2] += v[i] * (double)v[i] / N;
    }
    assert_true(fabs(m[1] - 0.5) < 1.5e-3 && fabs(m[2] - 1. / 3) < 1.5e-3);
    strided_free(&y);
}

/* All of [low, high) and nothing else; dropout at its ends. */
static void ranges(void **state)
{
    int64_t dim[1] = {20000};
    int64_t seen[7] = {0};
    strided y = strided_new(REEL_I64, 1, dim, STRIDED_DENSE);
    strided f = strided_new(REEL_F32, 1, dim, STRIDED_DENSE);
    strided x = strided_new(REEL_F32, 1, dim, STRIDED_DENSE);
    (void)state;
    run(K_RANDINT, NULL, &y, between(-3, 4));
    for (int i = 0; i < 20000; i++) seen[((int64_t *)y.data)[i] + 3]++;
    for (int k = 0; k < 7; k++) assert_true(llabs(seen[k] - 20000 / 7) < 300);
    run(K_RANDINT, NULL, &y, between(-0x1p63, 0x1p63));
    bool negative = false, large = false;
    for (int i = 0; i < 20000; i++) {
        negative |= ((int64_t *)y.data)[i] < -(INT64_C(1) << 62);
        large |= ((int64_t *)y.data)[i] > INT64_C(1) << 62;
    }
    assert_true(negative && large);
    /* every sum of 1 and a fraction rounds to 1 or to the next number, which is excluded
     */
    run(K_UNIFORM, NULL, &f, between(1, 1 + 0x1p-23));
    for (int i = 0; i < 20000; i++) assert_true(((float *)f.data)[i] == 1);
    strided_randomize(&x);
    run(K_DROPOUT, &x, &f, between(0, 0));
    assert_memory_equal(x.data, f.data, 20000 * sizeof(float));
    run(K_DROPOUT, &x, &f, between(1, 0));
    for (int i = 0; i < 20000; i++) assert_true(((float *)f.data)[i] == 0);
    strided_free(&x);
    strided_free(&f);
    strided_free(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_defined),     cmocka_unit_test(known_answers),
        cmocka_unit_test(split_anywhere), cmocka_unit_test(blocks),
        cmocka_unit_test(moments),        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
