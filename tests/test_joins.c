/* test_joins.c: CAT, PAD and FLIP against their definition, element by element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/cpu/kernels.h"
#include "base/counts.h"
#include "strided.h"

static reel_dtype any_dtype(void)
{
    return (reel_dtype)(dice() % REEL__DTYPE_COUNT);
}

static void cat(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        int64_t dim[REEL_MAX_RANK], sizes[4], total = 0;
        int rank = strided_shape(REEL_MAX_RANK, 60, dim), n = (int)dice_in(1, 4);
        if (rank == 0) continue;
        reel_dtype dtype = any_dtype();
        int along = (int)dice_in(0, rank - 1);
        strided x[4];
        reel__karg in[4];
        for (int i = 0; i < n; i++) {
            total += sizes[i] = dim[along] = dice_in(0, 4);
            x[i] = strided_new(dtype, rank, dim, STRIDED_IN);
            strided_randomize(&x[i]);
            in[i] = strided_arg(&x[i]);
        }
        dim[along] = total;
        strided y = strided_new(dtype, rank, dim, STRIDED_OUT);
        reel__karg out = strided_arg(&y);
        reel__dim_attrs attrs = {along};
        reel__kcall call = {K_CAT, n, 1, in, &out, &attrs, NULL, 0};
        assert_int_equal(reel__ref_cat(&call), REEL_OK);
        for (int64_t i = 0; i < strided_numel(&y); i++) {
            int64_t at[REEL_MAX_RANK];
            int which = 0;
            strided_unravel(&y, i, at);
            double got = strided_read(&y, strided_place(&y, at));
            while (at[along] >= sizes[which]) at[along] -= sizes[which++];
            assert_true(got == strided_read(&x[which], strided_place(&x[which], at)));
        }
        strided_check_gaps(&y);
        strided_free(&y);
        for (int i = 0; i < n; i++) strided_free(&x[i]);
    }
}

static void pad(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        int64_t dim[REEL_MAX_RANK], wide[REEL_MAX_RANK];
        int rank = strided_shape(REEL_MAX_RANK, 40, dim);
        reel_dtype dtype = any_dtype();
        if (dtype == REEL_F16 || dtype == REEL_BF16)
            dtype = REEL_F32; /* the test reads halves as bits */
        reel__pad_attrs attrs = {.value = reel__whole(dtype == REEL_BOOL ? 1 : 3)};
        for (int d = 0; d < rank; d++) {
            attrs.before[d] = dice() % 2 ? 0 : dice_in(0, 2);
            attrs.after[d] = dice() % 2 ? 0 : dice_in(0, 2);
            wide[d] = attrs.before[d] + dim[d] + attrs.after[d];
        }
        strided x = strided_new(dtype, rank, dim, STRIDED_IN);
        strided y = strided_new(dtype, rank, wide, STRIDED_OUT);
        strided_randomize(&x);
        reel__karg in = strided_arg(&x), out = strided_arg(&y);
        reel__kcall call = {K_PAD, 1, 1, &in, &out, &attrs, NULL, 0};
        assert_int_equal(reel__ref_pad(&call), REEL_OK);
        for (int64_t i = 0; i < strided_numel(&y); i++) {
            int64_t at[REEL_MAX_RANK];
            bool inside = true;
            strided_unravel(&y, i, at);
            double got = strided_read(&y, strided_place(&y, at));
            for (int d = 0; d < rank; d++) {
                at[d] -= attrs.before[d];
                inside = inside && at[d] >= 0 && at[d] < dim[d];
            }
            double want = inside ? strided_read(&x, strided_place(&x, at))
                                 : reel__number_f64(attrs.value);
            assert_true(got == want);
        }
        strided_check_gaps(&y);
        strided_free(&x);
        strided_free(&y);
    }
}

static void pad_refuses_negative(void **state)
{
    int64_t dim[1] = {4}, small[1] = {3};
    (void)state;
    strided x = strided_new(REEL_F32, 1, dim, 0), y = strided_new(REEL_F32, 1, small, 0);
    reel__karg in = strided_arg(&x), out = strided_arg(&y);
    reel__pad_attrs attrs = {.before = {-1}};
    reel__kcall call = {K_PAD, 1, 1, &in, &out, &attrs, NULL, 0};
    assert_int_equal(reel__ref_pad(&call), REEL_ERR_ARG);
    assert_string_equal(reel_error_message(),
                        "pad: -1 before and 0 after dimension 0, must be 0 or more");
    reel_error_clear();
    strided_check_gaps(&y);
    strided_free(&x);
    strided_free(&y);
}

static void flip(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        int64_t dim[REEL_MAX_RANK];
        int rank = strided_shape(REEL_MAX_RANK, 100, dim);
        reel_dtype dtype = any_dtype();
        strided x = strided_new(dtype, rank, dim, STRIDED_IN);
        strided y = strided_new(dtype, rank, dim, STRIDED_OUT);
        strided_randomize(&x);
        reel__karg in = strided_arg(&x), out = strided_arg(&y);
        reel__mask_attrs attrs = {.mask = (int64_t)(dice() % (1u << rank))};
        reel__kcall call = {K_FLIP, 1, 1, &in, &out, &attrs, NULL, 0};
        assert_int_equal(reel__ref_flip(&call), REEL_OK);
        for (int64_t i = 0; i < strided_numel(&y); i++) {
            int64_t at[REEL_MAX_RANK];
            strided_unravel(&y, i, at);
            double got = strided_read(&y, strided_place(&y, at));
            for (int d = 0; d < rank; d++)
                at[d] = attrs.mask >> d & 1 ? dim[d] - 1 - at[d] : at[d];
            assert_true(got == strided_read(&x, strided_place(&x, at)));
        }
        strided_check_gaps(&y);
        strided_free(&x);
        strided_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cat),
        cmocka_unit_test(pad),
        cmocka_unit_test(pad_refuses_negative),
        cmocka_unit_test(flip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
