/* test_index.c: INDEX_SELECT, INDEX_ADD, GATHER, SCATTER_ADD, ONE_HOT against their
 * definition, element by element, over many shapes, strides and dtypes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "backend/cpu/kernels.h"
#include "base/alloc.h"
#include "base/counts.h"
#include "strided.h"

static reel_dtype index_dtype(void)
{
    return dice() % 3 ? REEL_I64 : REEL_I32;
}
static reel_dtype sum_dtype(void)
{
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F32, REEL_F64, REEL_I64};
    return dtypes[dice() % 4];
}

/* Indices in 0 .. size-1; size 0 leaves none to write. */
static void draw_indices(strided *index, int64_t size)
{
    for (int64_t i = 0; i < strided_numel(index); i++)
        strided_write(index, strided_at(index, i), (double)dice_in(0, size - 1));
}

/* Runs a kernel on one and on two threads: the same bytes. */
static void run(reel__kernel_id id, reel__kernel_fn fn, const reel__karg *in, int n_in,
                strided *y, const void *attrs)
{
    reel__karg out = strided_arg(y);
    reel__kcall call = {id, n_in, 1, in, &out, attrs, NULL, 0};
    char *first = malloc(y->bytes);
    assert_non_null(first);
    assert_int_equal(reel_set_threads(1), REEL_OK);
    assert_int_equal(fn(&call), REEL_OK);
    memcpy(first, y->memory, y->bytes);
    assert_int_equal(reel_set_threads(2), REEL_OK);
    assert_int_equal(fn(&call), REEL_OK);
    assert_memory_equal(first, y->memory, y->bytes);
    free(first);
}

/* A shape of rank 1 or more with a dimension along which indices may be drawn. */
static int indexed_shape(int64_t most, int64_t *dim, int *along)
{
    int rank;
    do rank = strided_shape(REEL_MAX_RANK, most, dim);
    while (rank == 0);
    *along = (int)dice_in(0, rank - 1);
    if (dim[*along] == 0) dim[*along] = 3;
    return rank;
}

static void index_select_case(int64_t most, int64_t n)
{
    int64_t dim[REEL_MAX_RANK];
    int along, rank = indexed_shape(most, dim, &along);
    reel__index_attrs attrs = {.dim = along};
    strided x =
        strided_new((reel_dtype)(dice() % REEL__DTYPE_COUNT), rank, dim, STRIDED_IN);
    strided index = strided_new(index_dtype(), 1, &n, STRIDED_IN);
    strided_randomize(&x);
    draw_indices(&index, dim[along]);
    dim[along] = n;
    strided y = strided_new(x.meta.dtype, rank, dim, STRIDED_OUT);
    reel__karg in[2] = {strided_arg(&x), strided_arg(&index)};
    run(K_INDEX_SELECT, reel__ref_index_select, in, 2, &y, &attrs);
    for (int64_t i = 0; i < strided_numel(&y); i++) {
        int64_t at[REEL_MAX_RANK];
        strided_unravel(&y, i, at);
        double got = strided_read(&y, strided_place(&y, at));
        at[along] = (int64_t)strided_get(&index, at[along]);
        assert_true(got == strided_read(&x, strided_place(&x, at)));
    }
    strided_check_gaps(&y);
    strided_free(&x);
    strided_free(&index);
    strided_free(&y);
}

static void index_select(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) index_select_case(60, dice_in(0, 12));
    for (int round = 0; round < 20; round++) index_select_case(4000, dice_in(100, 300));
}

/* What `want` should hold is added up in an array of f64 that lies as y does. */
static void check_sums(const strided *y, const double *want)
{
    double eps = y->meta.dtype == REEL_F32 ? 1e-4 : 1e-12;
    for (int64_t i = 0; i < strided_numel(y); i++)
        if (!(fabs(strided_get(y, i) - want[i]) <= eps))
            fail_msg("element %lld is %g, not %g", (long long)i, strided_get(y, i),
                     want[i]);
}
/* Logical row-major number of an index along each dimension. */
static int64_t ravel(const strided *t, const int64_t *at)
{
    int64_t i = 0;
    for (int d = 0; d < t->meta.rank; d++) i = i * t->meta.dim[d] + at[d];
    return i;
}
static double *zeros_for(const strided *y)
{
    double *p = calloc((size_t)strided_numel(y) + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

static void index_add_case(int64_t most, int64_t n, int64_t size)
{
    int64_t dim[REEL_MAX_RANK];
    int along, rank = indexed_shape(most, dim, &along);
    reel__index_attrs attrs = {.dim = along, .size = size};
    dim[along] = n;
    strided g = strided_new(sum_dtype(), rank, dim, STRIDED_IN);
    strided index = strided_new(index_dtype(), 1, &n, STRIDED_IN);
    strided_randomize(&g);
    draw_indices(&index, size);
    dim[along] = size;
    strided y = strided_new(g.meta.dtype, rank, dim, STRIDED_OUT);
    reel__karg in[2] = {strided_arg(&g), strided_arg(&index)};
    run(K_INDEX_ADD, reel__ref_index_add, in, 2, &y, &attrs);
    double *want = zeros_for(&y);
    for (int64_t i = 0; i < strided_numel(&g); i++) {
        int64_t at[REEL_MAX_RANK];
        strided_unravel(&g, i, at);
        double value = strided_read(&g, strided_place(&g, at));
        at[along] = (int64_t)strided_get(&index, at[along]);
        want[ravel(&y, at)] += value;
    }
    check_sums(&y, want);
    strided_check_gaps(&y);
    free(want);
    strided_free(&g);
    strided_free(&index);
    strided_free(&y);
}

static void index_add(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++)
        index_add_case(60, dice_in(0, 12), dice_in(1, 12));
    for (int round = 0; round < 20; round++)
        index_add_case(3000, dice_in(100, 300), dice_in(1, 400));
}

/* Many numbers at few places, of one sign, so that an error of the totals cannot cancel: as
 * exact as SUM, whose trees join eight. `across`: `dim` is the outer one of two. */
static void sums_of_many(reel__kernel_id id, bool across, int64_t n, int64_t size)
{
    int64_t shape[2] = {across ? n : 3, across ? 3 : n}, out[2] = {shape[0], shape[1]};
    reel__index_attrs attrs = {.dim = across ? 0 : 1, .size = size};
    bool scatter = id == K_SCATTER_ADD;
    out[attrs.dim] = size;
    strided src = strided_new(REEL_F32, 2, shape, STRIDED_IN);
    strided index = strided_new(REEL_I64, scatter ? 2 : 1, scatter ? shape : &n, 0);
    strided x = strided_new(REEL_F32, 2, out, STRIDED_IN);
    strided y = strided_new(REEL_F32, 2, out, STRIDED_OUT);
    draw_indices(&index, size);
    for (int64_t i = 0; i < strided_numel(&x); i++)
        strided_write(&x, strided_at(&x, i), scatter ? 1 : 0);
    double *want = zeros_for(&y);
    for (int64_t i = 0; i < strided_numel(&y); i++) want[i] = scatter ? 1 : 0;
    for (int64_t i = 0; i < strided_numel(&src); i++)
        strided_write(&src, strided_at(&src, i), 0.1 + 1e-7 * (double)(i % 1000));
    for (int64_t i = 0; i < strided_numel(&src); i++) {
        int64_t at[REEL_MAX_RANK];
        strided_unravel(&src, i, at);
        at[attrs.dim] = (int64_t)strided_get(&index, scatter ? i : at[attrs.dim]);
        want[ravel(&y, at)] += strided_get(&src, i);
    }
    reel__karg in[3] = {strided_arg(&x), strided_arg(&index), strided_arg(&src)};
    if (scatter)
        run(id, reel__ref_scatter_add, in, 3, &y, &attrs);
    else
        run(id, reel__ref_index_add, (reel__karg[]){in[2], in[1]}, 2, &y, &attrs);
    for (int64_t i = 0; i < strided_numel(&y); i++)
        if (!(fabs(strided_get(&y, i) - want[i]) <= 2e-7 * want[i]))
            fail_msg("element %lld is %.9g, not %.9g", (long long)i, strided_get(&y, i),
                     want[i]);
    strided_check_gaps(&y);
    free(want);
    strided_free(&src);
    strided_free(&index);
    strided_free(&x);
    strided_free(&y);
}

static void many_at_few_places(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        int64_t n = round % 2 ? dice_in(0, 100) : dice_in(10000, 60000);
        sums_of_many(K_INDEX_ADD, round & 2, n, dice_in(1, 3));
        sums_of_many(K_SCATTER_ADD, round & 2, n, dice_in(1, 3));
    }
}

static void gather_case(int64_t most, int64_t n)
{
    int64_t dim[REEL_MAX_RANK];
    int along, rank = indexed_shape(most, dim, &along);
    reel__index_attrs attrs = {.dim = along};
    strided x =
        strided_new((reel_dtype)(dice() % REEL__DTYPE_COUNT), rank, dim, STRIDED_IN);
    strided_randomize(&x);
    for (int d = 0; d < rank; d++) /* the index may be smaller than x elsewhere */
        dim[d] = d == along ? n : dice() % 4 == 0 && dim[d] > 0 ? dim[d] - 1 : dim[d];
    strided index = strided_new(index_dtype(), rank, dim, STRIDED_IN);
    draw_indices(&index, x.meta.dim[along]);
    strided y = strided_new(x.meta.dtype, rank, dim, STRIDED_OUT);
    reel__karg in[2] = {strided_arg(&x), strided_arg(&index)};
    run(K_GATHER, reel__ref_gather, in, 2, &y, &attrs);
    for (int64_t i = 0; i < strided_numel(&y); i++) {
        int64_t at[REEL_MAX_RANK];
        strided_unravel(&y, i, at);
        double got = strided_read(&y, strided_place(&y, at));
        at[along] = (int64_t)strided_read(&index, strided_place(&index, at));
        assert_true(got == strided_read(&x, strided_place(&x, at)));
    }
    strided_check_gaps(&y);
    strided_free(&x);
    strided_free(&index);
    strided_free(&y);
}

static void gather(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) gather_case(60, dice_in(0, 12));
    for (int round = 0; round < 20; round++) gather_case(3000, dice_in(20, 60));
}

static void scatter_add_case(int64_t most, int64_t n)
{
    int64_t dim[REEL_MAX_RANK], wide[REEL_MAX_RANK];
    int along, rank = indexed_shape(most, dim, &along);
    reel__index_attrs attrs = {.dim = along};
    strided x = strided_new(sum_dtype(), rank, dim, STRIDED_IN);
    strided y = strided_new(x.meta.dtype, rank, dim, STRIDED_OUT);
    for (int d = 0; d < rank; d++) {
        dim[d] = d == along ? n : dice() % 4 == 0 && dim[d] > 0 ? dim[d] - 1 : dim[d];
        wide[d] = dim[d] + (dice() % 4 == 0); /* src may be larger than the index */
    }
    strided index = strided_new(index_dtype(), rank, dim, STRIDED_IN);
    strided src = strided_new(x.meta.dtype, rank, wide, STRIDED_IN);
    strided_randomize(&x);
    strided_randomize(&src);
    draw_indices(&index, x.meta.dim[along]);
    reel__karg in[3] = {strided_arg(&x), strided_arg(&index), strided_arg(&src)};
    run(K_SCATTER_ADD, reel__ref_scatter_add, in, 3, &y, &attrs);
    double *want = zeros_for(&y);
    for (int64_t i = 0; i < strided_numel(&y); i++) want[i] = strided_get(&x, i);
    for (int64_t i = 0; i < strided_numel(&index); i++) {
        int64_t at[REEL_MAX_RANK];
        strided_unravel(&index, i, at);
        double value = strided_read(&src, strided_place(&src, at));
        at[along] = (int64_t)strided_read(&index, strided_place(&index, at));
        want[ravel(&y, at)] += value;
    }
    check_sums(&y, want);
    strided_check_gaps(&y);
    free(want);
    strided_free(&x);
    strided_free(&index);
    strided_free(&src);
    strided_free(&y);
}

static void scatter_add(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) scatter_add_case(60, dice_in(0, 12));
    for (int round = 0; round < 20; round++) scatter_add_case(3000, dice_in(20, 60));
}

static void one_hot(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        int64_t dim[REEL_MAX_RANK];
        int rank = strided_shape(REEL_MAX_RANK - 1, round % 20 ? 50 : 2000, dim);
        reel_dtype dtype = (reel_dtype)(dice() % REEL__DTYPE_COUNT);
        if (dtype == REEL_F16 || dtype == REEL_BF16)
            dtype = REEL_I64; /* the test reads halves as bits */
        reel__index_attrs attrs = {.size = dice_in(1, 12)};
        strided index = strided_new(index_dtype(), rank, dim, STRIDED_IN);
        draw_indices(&index, attrs.size);
        dim[rank] = attrs.size;
        strided y = strided_new(dtype, rank + 1, dim, STRIDED_OUT);
        reel__karg in = strided_arg(&index);
        run(K_ONE_HOT, reel__ref_one_hot, &in, 1, &y, &attrs);
        for (int64_t i = 0; i < strided_numel(&y); i++)
            assert_true(strided_get(&y, i) == (strided_get(&index, i / attrs.size) ==
                                               (double)(i % attrs.size)));
        strided_check_gaps(&y);
        strided_free(&index);
        strided_free(&y);
    }
}

static void out_of_range(void **state)
{
    static const struct {
        reel__kernel_id id;
        reel__kernel_fn fn;
        int n_in;
        const char *name;
    } kernels[] = {{K_INDEX_SELECT, reel__ref_index_select, 2, "index_select"},
                   {K_INDEX_ADD, reel__ref_index_add, 2, "index_add"},
                   {K_GATHER, reel__ref_gather, 2, "gather"},
                   {K_SCATTER_ADD, reel__ref_scatter_add, 3, "scatter_add"},
                   {K_ONE_HOT, reel__ref_one_hot, 1, "one_hot"}};
    static const int64_t bad[] = {17, 10, -1};
    (void)state;
    for (int k = 0; k < 5; k++)
        for (int b = 0; b < 6; b++) {
            char want[128];
            int64_t ten[1] = {10}, five[1] = {5}, hot[2] = {5, 10};
            strided x = strided_new(REEL_F32, 1, ten, STRIDED_DENSE);
            strided src = strided_new(REEL_F32, 1, five, STRIDED_DENSE);
            strided index =
                strided_new(b < 3 ? REEL_I64 : REEL_I32, 1, five, STRIDED_OUT);
            strided y = strided_new(REEL_F32, k == 4 ? 2 : 1, k == 4 ? hot : ten, 0);
            draw_indices(&index, 10);
            strided_write(&index, strided_at(&index, 3), (double)bad[b % 3]);
            reel__karg in[3] = {strided_arg(k == 4   ? &index
                                            : k == 1 ? &src
                                                     : &x),
                                strided_arg(&index), strided_arg(&src)};
            reel__karg out = strided_arg(&y);
            reel__index_attrs attrs = {.dim = 0, .size = 10};
            reel__kcall call = {kernels[k].id, kernels[k].n_in, 1,    in,
                                &out,          &attrs,          NULL, 0};
            assert_int_equal(kernels[k].fn(&call), REEL_ERR_ARG);
            snprintf(
                want, sizeof want,
                "%s: index %d at position 3 is out of range for dimension %d of size 10",
                kernels[k].name, (int)bad[b % 3], k == 4);
            assert_string_equal(reel_error_message(), want);
            reel_error_clear();
            strided_free(&x);
            strided_free(&src);
            strided_free(&index);
            strided_free(&y);
        }
}

/* INDEX_ADD needs scratch memory twice where the index is i32. */
static void out_of_memory(void **state)
{
    int64_t dim[2] = {5, 4};
    reel__index_attrs attrs = {.dim = 0, .size = 5};
    strided g = strided_new(REEL_F32, 2, dim, 0),
            index = strided_new(REEL_I32, 1, dim, 0);
    strided y = strided_new(REEL_F32, 2, dim, 0);
    reel__karg in[2] = {strided_arg(&g), strided_arg(&index)}, out = strided_arg(&y);
    reel__kcall call = {K_INDEX_ADD, 2, 1, in, &out, &attrs, NULL, 0};
    (void)state;
    draw_indices(&index, 5);
    for (int nth = 1; nth <= 2; nth++) {
        reel__fault_alloc(nth, false);
        assert_int_equal(reel__ref_index_add(&call), REEL_ERR_MEMORY);
        reel__fault_alloc(0, false);
        reel_error_clear();
    }
    strided_check_gaps(&y);
    strided_free(&g);
    strided_free(&index);
    strided_free(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_select),       cmocka_unit_test(index_add),
        cmocka_unit_test(many_at_few_places), cmocka_unit_test(gather),
        cmocka_unit_test(scatter_add),        cmocka_unit_test(one_hot),
        cmocka_unit_test(out_of_range),       cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
