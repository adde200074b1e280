/* test_reduce.c: reductions against naive loops over many shapes, masks and strides. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/cpu/kernels.h"
#include "base/alloc.h"
#include "strided.h"

static const struct {
    reel__kernel_id id;
    reel__kernel_fn fn;
} kernels[] = {
    {K_SUM, reel__ref_sum},   {K_VAR, reel__ref_var},       {K_NORM, reel__ref_norm},
    {K_AMAX, reel__ref_amax}, {K_AMIN, reel__ref_amin},     {K_ANY, reel__ref_any},
    {K_ALL, reel__ref_all},   {K_ARGMAX, reel__ref_argmax}, {K_ARGMIN, reel__ref_argmin},
};
enum { KERNELS = sizeof kernels / sizeof kernels[0] };

static bool is_truth(reel__kernel_id id)
{
    return id == K_ANY || id == K_ALL;
}
static bool floats_only(reel__kernel_id id)
{
    return id == K_VAR || id == K_NORM;
}
static bool is_arg(reel__kernel_id id)
{
    return id == K_ARGMAX || id == K_ARGMIN;
}

static reel_status run(int k, const strided *x, strided *y, int64_t mask, double scale)
{
    reel__mask_attrs attrs = {.mask = mask, .scale = scale};
    reel__norm_attrs norm = {.mask = mask, .scale = scale};
    reel__karg in = strided_arg(x), out = strided_arg(y);
    bool is_norm = kernels[k].id == K_NORM;
    reel__kcall call = {kernels[k].id, 1, 1, &in, &out, is_norm ? (void *)&norm : &attrs,
                        NULL,          0};
    return kernels[k].fn(&call);
}

/* What a naive loop knows about one output. */
typedef struct naive {
    double sum, squares, size, extreme;
    int64_t count, arg, nonzero;
} naive;

static void naive_add(naive *a, reel__kernel_id id, double v)
{
    bool better = id == K_AMAX || id == K_ARGMAX ? v > a->extreme : v < a->extreme;
    if (a->count == 0 || better || (v != v && a->extreme == a->extreme)) {
        a->extreme = v;
        a->arg = a->count;
    }
    a->sum += v;
    a->squares += v * v;
    a->size += fabs(v);
    a->nonzero += v != 0;
    a->count++;
}

/* The value that the output should have; *tolerance is how far off it may be. */
static double naive_result(const naive *a, reel__kernel_id id, double eps, double scale,
                           double *tolerance)
{
    double count = (double)a->count, mean = a->sum / count;
    double degrees = count - scale > 0 ? count - scale : 0;
    *tolerance = 0;
    switch (id) {
    case K_SUM: *tolerance = eps * a->size; return a->sum * scale;
    case K_VAR:
        *tolerance = 4 * eps * a->squares / (degrees > 0 ? degrees : 1);
        return (a->squares - mean * mean * count) / degrees;
    case K_NORM:
        *tolerance = 4 * eps * sqrt(a->squares * scale);
        return sqrt(a->squares * scale);
    case K_ANY: return a->nonzero > 0;
    case K_ALL: return a->nonzero == a->count;
    case K_ARGMAX:
    case K_ARGMIN: return (double)a->arg;
    default: return a->extreme;
    }
}

static void check_all(int k, const strided *x, const strided *y, int64_t mask,
                      double scale)
{
    reel__kernel_id id = kernels[k].id;
    int64_t outputs = strided_numel(y), n = strided_numel(x);
    naive *acc = calloc((size_t)outputs + 1, sizeof *acc);
    assert_non_null(acc);
    for (int64_t i = 0; i < n; i++) {
        int64_t at[REEL_MAX_RANK], o = 0;
        strided_unravel(x, i, at);
        for (int d = 0; d < x->meta.rank; d++)
            o = mask >> d & 1 ? o : o * x->meta.dim[d] + at[d];
        naive_add(&acc[o], id, strided_read(x, strided_place(x, at)));
    }
    for (int64_t i = 0; i < outputs; i++) {
        double tolerance, got = strided_get(y, i);
        double want = naive_result(&acc[i], id, x->meta.dtype == REEL_F64 ? 1e-14 : 1e-6,
                                   scale, &tolerance);
        if (want != want)
            assert_true(got != got);
        else if (!(fabs(got - want) <= tolerance) && got != want)
            fail_msg("%s %s: output %lld is %.9g, not %.9g", reel__kernel_name(id),
                     reel_dtype_name(x->meta.dtype), (long long)i, got, want);
    }
    free(acc);
}

static reel_dtype out_dtype(reel__kernel_id id, reel_dtype x)
{
    if (is_truth(id)) return REEL_BOOL;
    if (is_arg(id)) return REEL_I64;
    return id == K_SUM && x != REEL_F32 && x != REEL_F64 ? REEL_I64 : x;
}

/* One case, on one and on two threads: right, and the same bytes. */
static void one_case(int k, reel_dtype dtype, int rank, const int64_t *dim, int64_t mask,
                     int how_in, int how_out)
{
    reel__kernel_id id = kernels[k].id;
    int64_t kept[REEL_MAX_RANK], length = 1;
    for (int d = 0; d < rank; d++) {
        kept[d] = mask >> d & 1 ? 1 : dim[d];
        length *= mask >> d & 1 ? dim[d] : 1;
    }
    double scale = id == K_VAR ? (double)(dice() % 2) : 1;
    if (id == K_SUM && (dtype == REEL_F32 || dtype == REEL_F64)) scale = 0.25;
    strided x = strided_new(dtype, rank, dim, how_in);
    strided y = strided_new(out_dtype(id, dtype), rank, kept, how_out);
    strided_randomize(&x);
    bool no_answer = length == 0 && (is_arg(id) || id == K_AMAX || id == K_AMIN);
    if (no_answer && strided_numel(&y) > 0) {
        assert_int_equal(run(k, &x, &y, mask, scale), REEL_ERR_SHAPE);
        reel_error_clear();
    } else {
        char *first = malloc(y.bytes);
        assert_non_null(first);
        assert_int_equal(reel_set_threads(1), REEL_OK);
        assert_int_equal(run(k, &x, &y, mask, scale), REEL_OK);
        memcpy(first, y.memory, y.bytes);
        check_all(k, &x, &y, mask, scale);
        assert_int_equal(reel_set_threads(2), REEL_OK);
        assert_int_equal(run(k, &x, &y, mask, scale), REEL_OK);
        assert_memory_equal(first, y.memory, y.bytes);
        free(first);
    }
    strided_check_gaps(&y);
    strided_free(&x);
    strided_free(&y);
}

static void random_shapes(void **state)
{
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F32, REEL_F64, REEL_I64,
                                        REEL_I32, REEL_I8,  REEL_U8,  REEL_BOOL};
    (void)state;
    for (int round = 0; round < 3000; round++) {
        int64_t dim[REEL_MAX_RANK];
        int rank = strided_shape(REEL_MAX_RANK, 150, dim),
            k = (int)dice_in(0, KERNELS - 1);
        int64_t mask = (int64_t)(dice() % (1u << rank));
        reel_dtype dtype = dtypes[dice() % 8];
        if (is_arg(kernels[k].id))
            mask = rank == 0 || dice() % 4 == 0 ? (1 << rank) - 1
                                                : 1 << dice_in(0, rank - 1);
        if (floats_only(kernels[k].id)) dtype = dice() % 2 ? REEL_F32 : REEL_F64;
        one_case(k, dtype, rank, dim, mask, STRIDED_IN, STRIDED_OUT);
    }
}

/* Shapes that take the wide paths: long rows, tall columns, chunks, narrow rows. */
static void large_shapes(void **state)
{
    static const struct {
        int64_t dim[3], mask;
    } cases[] = {
        {{1, 1, 200003}, 4}, {{1, 70001, 3}, 2},  {{1, 9000, 16}, 2}, {{2, 300, 129}, 2},
        {{1, 40, 2100}, 2},  {{64, 3, 300}, 5},   {{1, 300, 701}, 4}, {{3000, 5, 7}, 6},
        {{3000, 50, 1}, 2},  {{1, 1, 200003}, 7}, {{50, 41, 43}, 7},  {{1, 2, 60000}, 2},
        {{500, 100, 2}, 4},  {{90, 9, 130}, 2},   {{1, 4097, 17}, 2}, {{3, 33000, 2}, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int k = 0; k < KERNELS; k++) {
            if (is_arg(kernels[k].id) && cases[i].mask == 5)
                continue; /* one dimension or all */
            one_case(k, dice() % 4 ? REEL_F32 : REEL_F64, 3, cases[i].dim, cases[i].mask,
                     dice() % 2 ? STRIDED_DENSE : STRIDED_GAPS, STRIDED_DENSE);
        }
}

/* Summing n numbers one after another in f32 would lose up to n roundings. */
static void sums_are_accurate(void **state)
{
    (void)state;
    for (int by_cols = 0; by_cols < 2; by_cols++) {
        int64_t dim[2] = {by_cols ? 1000000 : 3, by_cols ? 3 : 1000000};
        int64_t kept[2] = {by_cols ? 1 : 3, by_cols ? 3 : 1};
        strided x = strided_new(REEL_F32, 2, dim, STRIDED_DENSE);
        strided y = strided_new(REEL_F32, 2, kept, STRIDED_DENSE);
        for (int64_t i = 0; i < 3000000; i++) ((float *)x.data)[i] = 0.1f;
        assert_int_equal(run(0, &x, &y, by_cols ? 1 : 2, 1), REEL_OK);
        for (int j = 0; j < 3; j++)
            assert_true(fabs(((float *)y.data)[j] / (1e6 * (double)0.1f) - 1) < 2e-7);
        assert_int_equal(run(1, &x, &y, by_cols ? 1 : 2, 1), REEL_OK);
        for (int j = 0; j < 3; j++) assert_true(((float *)y.data)[j] < 1e-12f);
        strided_free(&x);
        strided_free(&y);
    }
}

/* NaN is the extreme of whatever holds one; the first NaN is its place. */
static void nan_propagates(void **state)
{
    (void)state;
    for (int round = 0; round < 400; round++) {
        int64_t dim[2] = {dice_in(1, 40), dice_in(1, 80)},
                mask = 1 + (int64_t)(dice() % 3);
        int64_t kept[2] = {mask & 1 ? 1 : dim[0], mask & 2 ? 1 : dim[1]};
        strided x = strided_new(dice() % 2 ? REEL_F32 : REEL_F64, 2, dim, STRIDED_OUT);
        strided_randomize(&x);
        for (int64_t many = dice_in(1, 3); many > 0; many--)
            strided_write(&x, strided_at(&x, dice_in(0, dim[0] * dim[1] - 1)), NAN);
        for (int k = 0; k < KERNELS; k++)
            if (!floats_only(kernels[k].id) && kernels[k].id != K_SUM) {
                strided y = strided_new(out_dtype(kernels[k].id, x.meta.dtype), 2, kept,
                                        STRIDED_OUT);
                assert_int_equal(run(k, &x, &y, mask, 0), REEL_OK);
                check_all(k, &x, &y, mask, 0);
                strided_free(&y);
            }
        strided_free(&x);
    }
}

/* Halves reach ANY, ALL, ARGMAX and ARGMIN as they are. */
static void halves(void **state)
{
    static const uint16_t f16[] = {0x8000, 0x3c00, 0xbc00, 0x4000, 0x7e00, 0x4400};
    static const uint16_t bf16[] = {0x8000, 0x3f80, 0xbf80, 0x4000, 0x7fc0, 0x4080};
    (void)state;
    for (int b = 0; b < 2; b++) {
        int64_t four[1] = {4}, six[1] = {6}, one[1] = {1};
        for (int k = KERNELS - 4; k < KERNELS; k++) {
            strided x = strided_new(b ? REEL_BF16 : REEL_F16, 1, four, STRIDED_GAPS);
            strided z = strided_new(b ? REEL_BF16 : REEL_F16, 1, six, STRIDED_DENSE);
            strided y = strided_new(is_arg(kernels[k].id) ? REEL_I64 : REEL_BOOL, 1, one,
                                    STRIDED_DENSE);
            static const double want[4] = {1, 0, 3, 2}; /* any all argmax argmin */
            for (int i = 0; i < 6; i++) {
                uint16_t bits = (b ? bf16 : f16)[i];
                if (i < 4) strided_write(&x, strided_at(&x, i), bits);
                strided_write(&z, i, bits);
            }
            assert_int_equal(run(k, &x, &y, 1, 0), REEL_OK);
            assert_true(strided_get(&y, 0) == want[k - KERNELS + 4]);
            assert_int_equal(run(k, &z, &y, 1, 0), REEL_OK);
            assert_true(strided_get(&y, 0) ==
                        (is_arg(kernels[k].id) ? 4 : want[k - KERNELS + 4]));
            strided_free(&x);
            strided_free(&y);
            strided_free(&z);
        }
    }
}

/* Scratch memory that cannot be had is an error, not a wrong result or a leak. */
static void out_of_memory(void **state)
{
    int64_t dim[2] = {200000, 3}, kept[2] = {1, 3};
    strided x = strided_new(REEL_F32, 2, dim, STRIDED_DENSE);
    (void)state;
    strided_randomize(&x);
    for (int k = 0; k < KERNELS; k++) {
        strided y =
            strided_new(out_dtype(kernels[k].id, REEL_F32), 2, kept, STRIDED_DENSE);
        reel__fault_alloc(1, false);
        assert_int_equal(run(k, &x, &y, 1, 1), REEL_ERR_MEMORY);
        reel__fault_alloc(0, false);
        reel_error_clear();
        strided_check_gaps(&y);
        strided_free(&y);
    }
    strided_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(large_shapes),
        cmocka_unit_test(sums_are_accurate),
        cmocka_unit_test(nan_propagates),
        cmocka_unit_test(halves),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
