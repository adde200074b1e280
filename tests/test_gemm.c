/* Matrix products against sums in double precision, over shapes that take every way of the
 * planner, over strides, in both types, and bit for bit on one, two and three threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/gemm/gemm.h"
#include "base/rng.h"

static void *must(void *p)
{
    assert_non_null(p);
    return p;
}

/* Of `dtype`, in [-0.5, 0.5). */
static void *random_numbers(reel_dtype dtype, int64_t n, uint64_t seed)
{
    size_t size = reel_dtype_size(dtype);
    char *x = must(malloc((size_t)(n ? n : 1) * size));
    for (int64_t i = 0; i < n; i++) {
        uint32_t w[4];
        reel__philox(seed, (uint64_t)i, w);
        float f = reel__u01f(w[0]) - 0.5f;
        double d = (double)f + (double)w[1] * 0x1p-60; /* more digits than f32 has */
        memcpy(x + (size_t)i * size, dtype == REEL_F64 ? (void *)&d : (void *)&f, size);
    }
    return x;
}

static double at(reel_dtype dtype, const void *p, int64_t i)
{
    return dtype == REEL_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* How an operand lies in memory: row-major, transposed, with gaps, or neither stride
 * 1. */
typedef enum lay { PLAIN, TRANSPOSED, GAPS, SPREAD } lay;

typedef struct mat {
    void *data;
    int64_t row, col, size;
} mat;

static mat make(reel_dtype dtype, int64_t rows, int64_t cols, lay l, uint64_t seed)
{
    mat m = {NULL, cols, 1, rows * cols};
    if (l == TRANSPOSED) m.row = 1, m.col = rows;
    if (l == GAPS) m.row = cols + 5, m.size = rows * (cols + 5);
    if (l == SPREAD) m.row = 2 * cols + 3, m.col = 2, m.size = rows * (2 * cols + 3);
    m.data = random_numbers(dtype, m.size, seed);
    return m;
}

/* c must be a b (+ before if accumulate) (+ bias) within a few roundings of the sum of
 * magnitudes. Rows of c end with a gap that stays as it was. */
static void check(const reel__gemm *g, const void *before)
{
    const reel_dtype t = g->dtype;
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double sum = 0, size = 1;
            for (int64_t p = 0; p < g->k; p++) {
                double x = at(t, g->a, i * g->a_row + p * g->a_col) *
                           at(t, g->b, p * g->b_row + j * g->b_col);
                sum += x;
                size += fabs(x);
            }
            if (g->accumulate) sum += at(t, before, i * g->c_row + j);
            if (g->bias) sum += at(t, g->bias, j);
            double error = fabs(at(t, g->c, i * g->c_row + j) - sum);
            if (!(error <= (t == REEL_F64 ? 1e-14 : 1e-6) * size))
                fail_msg("m %lld n %lld k %lld, element %lld %lld: off by %g",
                         (long long)g->m, (long long)g->n, (long long)g->k, (long long)i,
                         (long long)j, error);
        }
        for (int64_t j = g->n; j < g->c_row; j++)
            assert_true(at(t, g->c, i * g->c_row + j) == at(t, before, i * g->c_row + j));
    }
}

/* Right, and the same bits on one, two and three threads; rows of C are `gap` apart. */
static void product_of(reel_dtype dtype, int64_t m, int64_t n, int64_t k, lay la, lay lb,
                       bool bias, bool accumulate, int64_t gap)
{
    mat a = make(dtype, m, k, la, 1), b = make(dtype, k, n, lb, 2);
    int64_t c_row = n + gap;
    size_t bytes = (size_t)(m * c_row) * reel_dtype_size(dtype);
    void *before = random_numbers(dtype, m * c_row, 3);
    void *add = random_numbers(dtype, n, 4);
    void *c1 = must(malloc(bytes + 1)), *c2 = must(malloc(bytes + 1));
    reel__gemm g = {.dtype = dtype,
                    .m = m,
                    .n = n,
                    .k = k,
                    .a = a.data,
                    .a_row = a.row,
                    .a_col = a.col,
                    .b = b.data,
                    .b_row = b.row,
                    .b_col = b.col,
                    .c_row = c_row,
                    .bias = bias ? add : NULL,
                    .accumulate = accumulate};
    for (int threads = 1; threads <= 3; threads++) {
        g.c = threads == 1 ? c1 : c2;
        memcpy(g.c, before, bytes);
        reel_set_threads(threads);
        assert_int_equal(reel__run_gemm(&g), REEL_OK);
        if (threads > 1) assert_memory_equal(c1, c2, bytes);
    }
    check(&g, before);
    free(a.data), free(b.data), free(before), free(add), free(c1), free(c2);
}

static void product(int64_t m, int64_t n, int64_t k, lay la, lay lb, bool bias,
                    bool accumulate)
{
    product_of(REEL_F32, m, n, k, la, lb, bias, accumulate, 3);
    product_of(REEL_F64, m, n, k, la, lb, bias, accumulate, 3);
}

static void all_layouts(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{1, 1, 1},    {3, 5, 2},    {14, 32, 16},  {15, 33, 17},
                                {6, 16, 257}, {29, 65, 40}, {8, 100, 300}, {33, 16, 64},
                                {100, 7, 64}, {17, 48, 513}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int la = PLAIN; la <= SPREAD; la++)
            for (int lb = PLAIN; lb <= SPREAD; lb++)
                for (int epilogue = 0; epilogue < 4; epilogue++)
                    product(sizes[s][0], sizes[s][1], sizes[s][2], (lay)la, (lay)lb,
                            epilogue & 1, epilogue & 2);
}

static void every_small_size(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 18; m++)
        for (int64_t n = 1; n <= 40; n += 3)
            for (int64_t k = 1; k <= 20; k += 6) {
                product(m, n, k, PLAIN, TRANSPOSED, true, false);
                product(m, n, k, TRANSPOSED, PLAIN, false, true);
            }
}

/* A matrix times a column, and a row times a matrix, `results` wide: the matrix and the
 * vector lie in every way. */
static void vectors_of(int64_t results, int64_t k)
{
    for (int lm = PLAIN; lm <= SPREAD; lm++)
        for (int lv = PLAIN; lv <= SPREAD; lv += GAPS)
            for (int t = 0; t < 2; t++) {
                const reel_dtype dtype = t ? REEL_F64 : REEL_F32;
                const int way = (int)(results + k) + lm;
                const bool bias = way & 1, accumulate = way & 2;
                product_of(dtype, results, 1, k, (lay)lm, (lay)lv, bias, accumulate, 0);
                product_of(dtype, 1, results, k, (lay)lv, (lay)lm, bias, accumulate, 0);
                if (results % 9 == 0)
                    product_of(dtype, results, 1, k, (lay)lm, (lay)lv, bias, accumulate,
                               1);
            }
}

static void vectors(void **state)
{
    (void)state;
    const int64_t k[] = {0, 1, 5, 15, 16, 17, 31, 70};
    for (int64_t results = 1; results <= 70; results++)
        for (size_t i = 0; i < sizeof k / sizeof *k; i++) vectors_of(results, k[i]);
    for (int64_t size = 1; size <= 70; size += 23) {
        vectors_of(1000, size);
        vectors_of(size, 1000);
    }
    vectors_of(1000, 1049); /* tasks       */
    vectors_of(60, 17500);  /* pieces of k */
    vectors_of(33000, 16);  /* a long bias */
}

/* Nothing is skipped because it is multiplied by 0. */
static void vectors_not_finite(void **state)
{
    (void)state;
    const int64_t size = 600;
    float *matrix = must(calloc((size_t)(size * size), sizeof(float)));
    float *zeros = must(calloc((size_t)size, sizeof(float)));
    float *y = must(malloc((size_t)size * sizeof(float)));
    for (int way = 0; way < 4; way++) {
        const int64_t row = way & 1 ? size : 1, col = way & 1 ? 1 : size;
        matrix[3 * row + 500 * col] = NAN, matrix[598 * row + 7 * col] = INFINITY;
        reel__gemm column = {.m = size, .n = 1, .k = size, .a = matrix, .a_row = row};
        column.a_col = col, column.b = zeros, column.b_row = column.b_col = 1;
        column.c = y, column.c_row = 1;
        reel__gemm line = {.m = 1, .n = size, .k = size, .a = zeros, .a_row = size};
        line.a_col = 1, line.b = matrix, line.b_row = col, line.b_col = row;
        line.c = y, line.c_row = size;
        assert_int_equal(reel__run_gemm(way & 2 ? &column : &line), REEL_OK);
        for (int64_t i = 0; i < size; i++)
            assert_true(i == 3 || i == 598 ? isnan(y[i]) : y[i] == 0);
        matrix[3 * row + 500 * col] = matrix[598 * row + 7 * col] = 0;
    }
    free(matrix), free(zeros), free(y);
}

/* One row with B packed beforehand has the bits that it has with B in place; one column is
 * not computed from a packed B. */
static void vectors_prepared(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 3000; n += n < 70 ? 1 : 487)
        for (int64_t k = 1; k <= 700; k += 233) {
            mat a = make(REEL_F32, 1, k, PLAIN, 1), b = make(REEL_F32, k, n, PLAIN, 2);
            size_t bytes = (size_t)n * sizeof(float);
            float *c = must(malloc(2 * bytes)), *bias = random_numbers(REEL_F32, n, 3);
            reel__gemm g = {.m = 1, .n = n, .k = k, .a = a.data, .a_row = k, .a_col = 1};
            g.b = b.data, g.b_row = n, g.b_col = 1;
            g.c = c, g.c_row = n, g.bias = bias;
            if (reel__gemm_may_be_ready(&g)) {
                size_t size = (size_t)reel__gemm_ready_size(&g) * sizeof(float);
                void *packed = must(aligned_alloc(64, (size + 63) / 64 * 64));
                assert_int_equal(reel__run_gemm(&g), REEL_OK);
                g.c = c + n;
                reel__gemm_make_ready(&g, packed);
                reel__gemm_ready(&g, packed, NULL);
                assert_memory_equal(c, c + n, bytes);
                free(packed);
            } else {
                assert_int_equal(n, 1);
            }
            reel__gemm column = {.m = n, .n = 1, .k = k, .a = b.data, .a_row = 1};
            column.a_col = n, column.b_row = 1, column.c_row = 1;
            assert_true(n == 1 || !reel__gemm_may_be_ready(&column));
            free(a.data), free(b.data), free(c), free(bias);
        }
}

static void large(void **state)
{
    (void)state;
    product(200, 180, 300, PLAIN, TRANSPOSED, true, false);
    product(300, 96, 700, PLAIN, PLAIN, true, true);
    product(130, 1200, 96, TRANSPOSED, PLAIN, false, true);
    product(40, 700, 260, PLAIN, TRANSPOSED, false, false);
    product(20, 1500, 300, PLAIN, GAPS, true, false);
    product(150, 150, 150, SPREAD, SPREAD, true, false);
    product(1, 3000, 700, PLAIN, TRANSPOSED, true, false);
    product(2, 3000, 300, PLAIN, PLAIN, true, false);
    product(7, 500, 900, TRANSPOSED, TRANSPOSED, false, true);
    product(3000, 1, 300, PLAIN, PLAIN, false, false);
    /* more of B than is packed at once */
    product(18, 1200, 3000, PLAIN, TRANSPOSED, true, false);
}

static void long_k(void **state)
{
    (void)state;
    product(16, 27, 20000, TRANSPOSED, PLAIN, false, true);
    product(40, 48, 9001, TRANSPOSED, PLAIN, true, false);
    product(1, 1, 5000, PLAIN, PLAIN, false, false);
    product(30, 3, 4096, PLAIN, TRANSPOSED, false, false);
}

static void empty(void **state)
{
    (void)state;
    product(5, 7, 0, PLAIN, PLAIN, false, false);
    product(5, 7, 0, PLAIN, PLAIN, true, true);
    product(0, 7, 3, PLAIN, PLAIN, true, false);
    product(5, 0, 3, PLAIN, PLAIN, false, false);
}

/* Batches equal their products one by one, to rounding, and threads change nothing. */
static void batch_of(reel_dtype dtype, const int64_t size[4], bool shared, lay lb)
{
    int64_t batch = size[0], m = size[1], n = size[2], k = size[3];
    size_t bytes = (size_t)(batch * m * n) * reel_dtype_size(dtype);
    char *a = random_numbers(dtype, batch * m * k, 5);
    char *b = random_numbers(dtype, batch * k * n, 6);
    char *c[2] = {must(malloc(bytes)), must(malloc(bytes))};
    int64_t b_step = shared ? 0 : k * n, one = (int64_t)reel_dtype_size(dtype);
    reel__gemm g = {.dtype = dtype,
                    .m = m,
                    .n = n,
                    .k = k,
                    .a = a,
                    .a_row = k,
                    .a_col = 1,
                    .b = b,
                    .b_row = lb == PLAIN ? n : 1,
                    .b_col = lb == PLAIN ? 1 : k,
                    .c_row = n};
    for (int threads = 1; threads <= 3; threads++) {
        reel_set_threads(threads);
        g.c = c[threads > 1];
        assert_int_equal(reel__gemm_batched(&g, batch, m * k, b_step, m * n), REEL_OK);
        if (threads > 1) assert_memory_equal(c[0], c[1], bytes);
    }
    for (int64_t i = 0; i < batch; i++) {
        reel__gemm q = g;
        q.a = a + i * m * k * one;
        q.b = b + i * b_step * one;
        q.c = c[1] + i * m * n * one;
        check(&q, NULL);
    }
    free(a), free(b), free(c[0]), free(c[1]);
}

static void batched(void **state)
{
    (void)state;
    const int64_t sizes[][4] = {{12, 16, 16, 8},   {40, 3, 33, 5},   {3, 64, 65, 66},
                                {2, 130, 170, 90}, {20, 70, 96, 64}, {5, 1, 200, 30}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int shared = 0; shared < 2; shared++)
            for (int lb = PLAIN; lb <= TRANSPOSED; lb++) {
                batch_of(REEL_F32, sizes[s], shared, (lay)lb);
                batch_of(REEL_F64, sizes[s], shared, (lay)lb);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_layouts),
        cmocka_unit_test(every_small_size),
        cmocka_unit_test(large),
        cmocka_unit_test(long_k),
        cmocka_unit_test(empty),
        cmocka_unit_test(batched),
        cmocka_unit_test(vectors),
        cmocka_unit_test(vectors_not_finite),
        cmocka_unit_test(vectors_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
