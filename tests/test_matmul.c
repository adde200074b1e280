/* MATMUL and LINEAR against sums in double precision: batches, broadcasts, permuted
 * memory. */
#include "kernel_check.h"

static double product(const operand *a, const operand *b, const int64_t *index, int rank,
                      double *size)
{
    int64_t ia[REEL_MAX_RANK], ib[REEL_MAX_RANK];
    double sum = 0;
    memcpy(ia, index, sizeof ia);
    memcpy(ib, index, sizeof ib);
    *size = 1;
    for (int64_t p = 0; p < a->meta.dim[rank - 1]; p++) {
        ia[rank - 1] = ib[rank - 2] = p;
        double x = at(a, ia) * at(b, ib);
        sum += x;
        *size += fabs(x);
    }
    return sum;
}

/* Shapes of the batch may hold a 1 in a or b, which then has stride 0, as expand()
 * makes. */
static void one(reel_shape a_shape, reel_shape b_shape, const int *a_order,
                const int *b_order, reel_dtype dtype)
{
    int rank = a_shape.rank;
    operand in[2] = {make(a_shape, dtype, a_order, 1), make(b_shape, dtype, b_order, 2)};
    reel_shape c_shape = a_shape;
    c_shape.dim[rank - 1] = b_shape.dim[rank - 1];
    for (int d = 0; d < rank - 2; d++)
        if (a_shape.dim[d] == 1) c_shape.dim[d] = b_shape.dim[d];
    operand c = make(c_shape, dtype, NULL, 3), expanded[2] = {in[0], in[1]};
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < rank - 2; d++)
            if (in[i].meta.dim[d] != c_shape.dim[d]) {
                expanded[i].meta.dim[d] = c_shape.dim[d];
                expanded[i].meta.stride[d] = 0;
            }
    assert_int_equal(call_fast(reel__fast_matmul, expanded, 2, &c, 1, NULL), REEL_OK);
    int64_t index[REEL_MAX_RANK] = {0};
    if (c.bytes) do {
            double size, want = product(&in[0], &in[1], index, rank, &size);
            check_near(at(&c, index), want, (dtype == REEL_F32 ? 1e-6 : 1e-14) * size,
                       "matmul");
        } while (next(&c.meta, index));
    drop(&in[0]), drop(&in[1]), drop(&c);
}

static void matmuls(reel_dtype dtype)
{
    const int swap[] = {1, 0}, heads[] = {0, 2, 1, 3}, heads_t[] = {0, 3, 1, 2};
    one(REEL_SHAPE(5, 7), REEL_SHAPE(7, 9), NULL, NULL, dtype);
    one(REEL_SHAPE(70, 90), REEL_SHAPE(90, 130), swap, swap, dtype);
    one(REEL_SHAPE(300, 90), REEL_SHAPE(90, 200), NULL, swap, dtype);
    one(REEL_SHAPE(6, 5, 7), REEL_SHAPE(6, 7, 9), NULL, NULL, dtype);
    one(REEL_SHAPE(6, 5, 7), REEL_SHAPE(1, 7, 9), NULL, NULL, dtype);
    one(REEL_SHAPE(1, 5, 7), REEL_SHAPE(6, 7, 9), NULL, NULL, dtype);
    one(REEL_SHAPE(2, 3, 4, 5, 6), REEL_SHAPE(2, 1, 4, 6, 3), NULL, NULL, dtype);
    one(REEL_SHAPE(3, 4, 33, 32), REEL_SHAPE(3, 4, 32, 40), heads, heads_t, dtype);
    one(REEL_SHAPE(3, 4, 33, 40), REEL_SHAPE(3, 4, 40, 32), NULL, heads, dtype);
    one(REEL_SHAPE(2, 4, 1, 32), REEL_SHAPE(2, 4, 32, 77), heads, heads_t, dtype);
    one(REEL_SHAPE(0, 5, 7), REEL_SHAPE(0, 7, 9), NULL, NULL, dtype);
    one(REEL_SHAPE(3, 4, 1), REEL_SHAPE(3, 1, 5), NULL, NULL, dtype);
}

/* Columns and rows of results, alone and as batches with a matrix or a vector shared. */
static void vectors_of(int64_t size, int64_t k, reel_dtype dtype)
{
    const int swap[] = {1, 0}, batch_swap[] = {0, 2, 1}, inside[] = {2, 1, 0};
    for (int t = 0; t < 2; t++) {
        const int *order = t ? swap : NULL, *order3 = t ? batch_swap : NULL;
        one(REEL_SHAPE(size, k), REEL_SHAPE(k, 1), order, NULL, dtype);
        one(REEL_SHAPE(1, k), REEL_SHAPE(k, size), NULL, order, dtype);
        if (size > 70) continue;
        one(REEL_SHAPE(3, size, k), REEL_SHAPE(3, k, 1), order3, inside, dtype);
        one(REEL_SHAPE(1, size, k), REEL_SHAPE(3, k, 1), order3, NULL, dtype);
        one(REEL_SHAPE(3, size, k), REEL_SHAPE(1, k, 1), order3, NULL, dtype);
        one(REEL_SHAPE(3, 1, k), REEL_SHAPE(1, k, size), NULL, order3, dtype);
        one(REEL_SHAPE(1, 1, k), REEL_SHAPE(3, k, size), NULL, order3, dtype);
    }
}

static void vectors(void **state)
{
    (void)state;
    for (int64_t size = 1; size <= 70; size++)
        for (int t = 0; t < 2; t++) {
            vectors_of(size, size, t ? REEL_F64 : REEL_F32);
            vectors_of(size, 1 + size * 37 % 70, t ? REEL_F64 : REEL_F32);
        }
    vectors_of(1000, 1000, REEL_F32);
    vectors_of(1000, 1000, REEL_F64);
}

static void matmul_f32(void **state)
{
    (void)state;
    matmuls(REEL_F32);
}

static void matmul_f64(void **state)
{
    (void)state;
    matmuls(REEL_F64);
}

static void linear(int64_t n, int64_t in, int64_t out, bool bias, const int *x_order,
                   reel_dtype dtype)
{
    operand args[3] = {make(REEL_SHAPE(n, in), dtype, x_order, 1),
                       make(REEL_SHAPE(out, in), dtype, NULL, 2),
                       make(REEL_SHAPE(out), dtype, NULL, 3)};
    operand y = make(REEL_SHAPE(n, out), dtype, NULL, 4), absent[3];
    memcpy(absent, args, sizeof args);
    if (!bias) absent[2].data = NULL;
    assert_int_equal(call_fast(reel__fast_linear, absent, 3, &y, 1, NULL), REEL_OK);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < out; j++) {
            double want = bias ? at(&args[2], &j) : 0, size = 1;
            for (int64_t p = 0; p < in; p++) {
                double v =
                    at(&args[0], (int64_t[]){i, p}) * at(&args[1], (int64_t[]){j, p});
                want += v;
                size += fabs(v);
            }
            check_near(at(&y, (int64_t[]){i, j}), want,
                       (dtype == REEL_F32 ? 1e-6 : 1e-14) * size, "linear");
        }
    for (int i = 0; i < 3; i++) drop(&args[i]);
    drop(&y);
}

static void linears(void **state)
{
    (void)state;
    const int swap[] = {1, 0};
    for (int bias = 0; bias < 2; bias++) {
        linear(1, 700, 300, bias, NULL, REEL_F32);
        linear(5, 64, 10, bias, swap, REEL_F32);
        linear(200, 128, 384, bias, NULL, REEL_F32);
        linear(64, 300, 1, bias, swap, REEL_F32);
        linear(300, 64, 1, bias, NULL, REEL_F32);
        linear(300, 64, 1, bias, swap, REEL_F64);
        linear(2000, 700, 1, bias, NULL, REEL_F64);
        linear(20, 30, 40, bias, NULL, REEL_F64);
        linear(200, 64, 300, bias, swap, REEL_F64);
    }
}

/* Leading dimensions that are no even rows go to the reference. */
static void refuses(void **state)
{
    (void)state;
    const int odd[] = {1, 0, 2};
    operand in[3] = {make(REEL_SHAPE(4, 6, 8), REEL_F32, odd, 1),
                     make(REEL_SHAPE(3, 8), REEL_F32, NULL, 2),
                     {.data = NULL}};
    operand y = make(REEL_SHAPE(4, 6, 3), REEL_F32, NULL, 3);
    reel__karg ins[3] = {
        {in[0].data, &in[0].meta}, {in[1].data, &in[1].meta}, {NULL, NULL}};
    reel__karg outs[1] = {{y.data, &y.meta}};
    reel_status status = REEL_OK;
    assert_false(reel__fast_linear(
        &(reel__kcall){.n_in = 3, .n_out = 1, .in = ins, .out = outs}, &status));
    drop(&in[0]), drop(&in[1]), drop(&y);
}

static void no_memory(void **state)
{
    (void)state;
    operand in[3] = {make(REEL_SHAPE(200, 128), REEL_F32, NULL, 1),
                     make(REEL_SHAPE(384, 128), REEL_F32, NULL, 2),
                     {.data = NULL}};
    operand y = make(REEL_SHAPE(200, 384), REEL_F32, NULL, 3);
    check_no_memory(reel__fast_linear, in, 3, &y, 1, NULL);
    drop(&in[0]), drop(&in[1]), drop(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_f32), cmocka_unit_test(matmul_f64),
        cmocka_unit_test(linears),    cmocka_unit_test(refuses),
        cmocka_unit_test(no_memory),  cmocka_unit_test(vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
