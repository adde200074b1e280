/* test_pw_rows.c: every pointwise row against libm in f64, in each instruction set that
 * this machine has: special values, the whole range of f32, and where the rows mostly
 * live. */
#include <float.h>
#include <stdio.h>

#include "backend/cpu/isa/isa.h"
#include "backend/cpu/pw.h"
#include "pw_expected.h"

#define FLT_MIN_D ((double)FLT_MIN)

/* Largest sizes that are added up on the way: an error of a few units of these is
 * rounding, even where the sum is smaller. 0: the result itself is the scale. */
static double scale(reel__kernel_id k, double x, double y, const double *a)
{
    switch ((int)k) {
    case K_ADD_SCALED: return fabs(x) + fabs(a[0] * y);
    case K_LERP: return fabs(x) + fabs(a[0]) * (fabs(x) + fabs(y));
    case K_GELU_GRAD:
    case K_GELU_TANH_GRAD: return fabs(y);
    case K_SIGMOID_GRAD:
    case K_TANH_GRAD: return fabs(y) * (1 + x * x);
    case K_SILU_GRAD: return fabs(y) * (sigmoid(x) + FLT_MIN_D) * (1 + fabs(x));
    case K_HARDSIGMOID: return 0.5 + fabs(x) / 6;
    case K_HARDSWISH: return fabs(x) * (0.5 + fabs(x) / 6);
    case K_HARDSWISH_GRAD: return fabs(y) * (0.5 + fabs(x) / 3);
    case K_BCE_WITH_LOGITS: return fabs(x) + fabs(x * y) + 1;
    /* These multiply what may have become denormal. */
    case K_ELU_GRAD: return fabs(a[0] * y) * FLT_MIN_D;
    case K_SILU:
    case K_GELU:
    case K_GELU_TANH: return fabs(x) * FLT_MIN_D;
    default: return 0;
    }
}

/* Units in the last place that a row may be off. 0.5: rounded correctly. */
static double allowed(reel__kernel_id k, double x)
{
    switch ((int)k) {
    case K_EXP:
    case K_LOG:
    case K_LOG1P:
    case K_SIN:
    case K_COS:
    case K_POW:
    case K_POW_SCALAR: return 1.5;
    case K_EXPM1:
    case K_ERF: return 2;
    case K_TANH:
    case K_SIGMOID:
    case K_RSQRT:
    case K_SOFTPLUS: return 3;
    case K_ELU:
    case K_ELU_GRAD: return 3;
    /* The tails carry the rounding of x^2, or of the argument of exp. */
    case K_SILU:
    case K_SILU_GRAD: return 4;
    case K_GELU: return 6 + (x < 0 ? x * x : 0);
    case K_GELU_TANH: return 4 + (x < 0 ? 6 * fabs(tanh_u(x)) : 0);
    case K_GELU_GRAD: return 6 + x * x;
    case K_GELU_TANH_GRAD: return 6 + 6 * fabs(tanh_u(x));
    case K_DIV_TRUNC:
    case K_DIV_FLOOR:
    case K_REMAINDER:
    case K_ADD:
    case K_SUB:
    case K_MUL:
    case K_DIV:
    case K_ADD_SCALAR:
    case K_MUL_SCALAR:
    case K_SQUARE:
    case K_SQRT:
    case K_RECIPROCAL:
    case K_LEAKY_RELU:
    case K_LEAKY_RELU_GRAD: return 0.5001;
    case K_LERP:
    case K_ADD_SCALED:
    case K_SIGMOID_GRAD:
    case K_TANH_GRAD:
    case K_HARDSIGMOID:
    case K_HARDSIGMOID_GRAD:
    case K_HARDSWISH:
    case K_HARDSWISH_GRAD:
    case K_SQUARED_ERROR:
    case K_BCE_WITH_LOGITS: return 3;
    default: return 0;
    }
}

/* ---- comparing --------------------------------------------------------------------- */

static double unit(double y, int mantissa, int least)
{
    int e;
    if (y == 0) return ldexp(1, least);
    (void)frexp(y, &e);
    e -= mantissa;
    return ldexp(1, e < least ? least : e);
}

/* Error in units of the type: mantissa bits and exponent of the least denormal. */
static double error_of(double got, double want, double scale_, int mantissa, int least,
                       double most)
{
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (fabs(want) > most * (1 + ldexp(1, -mantissa - 1))) /* overflows */
        return isinf(got) && signbit(got) == signbit(want) ? 0 : INFINITY;
    if (isinf(got)) return fabs(want) > most * (1 - ldexp(4, -mantissa)) ? 0 : INFINITY;
    if (isnan(got)) return INFINITY;
    double u = unit(fabs(want) > scale_ ? want : scale_, mantissa, least);
    return fabs(got - want) / u;
}

/* Rows whose result at zero has a sign that libm defines. */
static bool keeps_sign(reel__kernel_id k)
{
    return k == K_EXPM1 || k == K_LOG1P || k == K_SIN || k == K_TANH || k == K_ERF ||
           k == K_FLOOR || k == K_CEIL || k == K_ROUND || k == K_SQRT || k == K_ABS ||
           k == K_NEG || k == K_RELU || k == K_RELU6 || k == K_MUL || k == K_DIV ||
           k == K_RECIPROCAL;
}

typedef struct isa_rows {
    const char *name;
    const reel__pw_rows *rows;
} isa_rows;

REEL_ISA_DECLARE(reel__pw_rows, pw_rows);

/* Every set that this machine has. */
static int all_isas(isa_rows out[REEL_ISA_COUNT])
{
    int n = 0;
    out[n++] = (isa_rows){"baseline", &reel__pw_rows_baseline};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[n++] = (isa_rows){"avx2", &reel__pw_rows_avx2};
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        out[n++] = (isa_rows){"avx512", &reel__pw_rows_avx512};
#endif
    return n;
}

/* ---- inputs ------------------------------------------------------------------------ */

static const float specials[] = {
    0.f,         -0.f,       1.f,         -1.f,        0.5f,        -0.5f,
    2.f,         -2.f,       3.f,         -3.f,        6.f,         1.5f,
    2.5f,        -2.5f,      1e-3f,       INFINITY,    -INFINITY,   NAN,
    FLT_MIN,     -FLT_MIN,   FLT_MAX,     -FLT_MAX,    1e-45f,      -1e-45f,
    1e-39f,      -1e-39f,    1e-30f,      1e30f,       -1e30f,      88.72f,
    88.73f,      89.f,       -87.3f,      -87.4f,      -88.f,       -103.f,
    -103.9f,     -104.5f,    16777216.f,  8388608.5f,  8388607.5f,  -8388607.5f,
    4194303.5f,  0.92f,      0.9199999f,  3.9f,        4.1f,        9.5f,
    10.5f,       1e5f,       100001.f,    1e10f,       3.14159274f, -6.28318548f,
    355.f,       710.f,      1.57079637f, 0.66666663f, 0.6666667f,  1.3333333f,
    0.99999994f, 1.0000001f,
};
#define N_SPECIALS ((int)(sizeof specials / sizeof *specials))

/* Values over the whole range, each exponent alike: bit patterns at a fixed distance. */
#define N_DENSE 300000
static float dense_value(int i)
{
    uint32_t u = (uint32_t)((uint64_t)i * 4294967296u / N_DENSE) + 77;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* Moderate values, where most of the rows live. */
static float moderate(void)
{
    return ((float)random_bits() / 1073741824.f - 1) * (random_bits() % 4 ? 4.f : 100.f);
}

#define N_PAIRS (N_SPECIALS * N_SPECIALS)
#define N_MODERATE 60000
#define N_INPUTS (N_PAIRS + N_DENSE + N_MODERATE)

static void make_inputs(float *x, float *y, float *z)
{
    for (int i = 0; i < N_PAIRS; i++) {
        x[i] = specials[i % N_SPECIALS];
        y[i] = specials[i / N_SPECIALS];
        z[i] = specials[(i * 7) % N_SPECIALS];
    }
    for (int i = N_PAIRS; i < N_PAIRS + N_DENSE; i++) {
        x[i] = dense_value(i - N_PAIRS);
        y[i] = i % 2 ? 1.25f : moderate();
        z[i] = moderate();
    }
    for (int i = N_PAIRS + N_DENSE; i < N_INPUTS; i++) {
        x[i] = moderate();
        y[i] = moderate();
        z[i] = moderate();
    }
}

/* Beyond these, results depend on overflow or denormals inside the expression: the same
 * in PyTorch. */
static bool is_large(double x, double limit)
{
    return isfinite(x) && fabs(x) >= limit;
}

static bool is_out_of_domain(reel__kernel_id k, double x, double y)
{
    bool is_gradient = scale(k, x, y, attributes) != 0;
    if (is_gradient && y != 0 && fabs(y) < 1e-30) return true;
    switch ((int)k) {
    case K_DIV_TRUNC:
    case K_DIV_FLOOR: /* a quotient that rounds to a whole number */
        return (x / y != rint(x / y) && fabs(x / y - rint(x / y)) < 1e-6 * fabs(x / y)) ||
               (x != 0 && fabs(x / y) < 1e-36);
    case K_GELU:
    case K_SILU:
    case K_HARDSWISH:
    case K_SQUARED_ERROR: return is_large(x, 1e19) || is_large(y, 1e19);
    case K_LERP:
    case K_ADD_SCALED:
    case K_BCE_WITH_LOGITS: return is_large(x, 1e10) || is_large(y, 1e10);
    case K_SIGMOID_GRAD:
    case K_TANH_GRAD:
    case K_ELU_GRAD:
    case K_GELU_GRAD:
    case K_SILU_GRAD: return is_large(x, 1e10) || !(fabs(y) < 1e10);
    case K_GELU_TANH_GRAD: return !(fabs(y) < 1e10);
    default: return false;
    }
}

/* ---- f32 rows ---------------------------------------------------------------------- */

static void check_f32_row(reel__kernel_id k, const reel__pw_info *info,
                          const float *const x[3], const double *want)
{
    isa_rows isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    float *y = malloc(N_INPUTS * sizeof *y);
    assert_non_null(y);
    for (int s = 0; s < n_isa; s++) {
        const void *in[3] = {x[0], x[1], x[2]};
        isa[s].rows->row[k][REEL_PW_F32](N_INPUTS, in, y, numbers);
        double worst = 0;
        for (int i = 0; i < N_INPUTS; i++) {
            double a = (double)x[0][i], b = (double)x[1][i];
            if (is_out_of_domain(k, a, b)) continue;
            double got = info->out_bool ? ((uint8_t *)y)[i] : (double)y[i];
            double e = error_of(got, want[i], scale(k, a, b, attributes), 24, -149,
                                (double)FLT_MAX);
            double bound = allowed(k, a);
            if (e != 0 && !(e <= bound))
                fail_msg(
                    "%s %s(%.9g, %.9g, %.9g) = %.9g, not %.9g: %.3g units, allowed %.3g",
                    isa[s].name, info->name, a, b, (double)x[2][i], got, want[i], e,
                    bound);
            if (want[i] == 0 && keeps_sign(k) && !!signbit(got) != !!signbit(want[i]))
                fail_msg("%s %s(%.9g, %.9g): sign of zero", isa[s].name, info->name, a,
                         b);
            double margin = e / (bound > 0 ? bound : 1);
            if (margin > worst) worst = margin;
        }
        if (getenv("REEL_TEST_VERBOSE"))
            printf("%-9s %-18s worst error %.2f of what is allowed\n", isa[s].name,
                   info->name, worst);
    }
    free(y);
}

static void test_f32_rows(void **state)
{
    (void)state;
    float *x[3];
    for (int i = 0; i < 3; i++) assert_non_null(x[i] = malloc(N_INPUTS * sizeof(float)));
    double *want = malloc(N_INPUTS * sizeof *want);
    assert_non_null(want);
    make_inputs(x[0], x[1], x[2]);
    int rows = 0;
    for (int k = 1; k < K_COUNT; k++) {
        const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)k);
        if (!info || !info->floats) continue;
        rows++;
        for (int i = 0; i < N_INPUTS; i++)
            want[i] = is_quantized((reel__kernel_id)k)
                          ? quantized_f32((reel__kernel_id)k, x[0][i], x[1][i], x[2][i],
                                          (float)attributes[0], (float)attributes[1])
                          : expected((reel__kernel_id)k, (double)x[0][i], (double)x[1][i],
                                     (double)x[2][i], attributes);
        check_f32_row((reel__kernel_id)k, info, (const float *const *)x, want);
    }
    assert_true(rows > 50);
    for (int i = 0; i < 3; i++) free(x[i]);
    free(want);
}

/* ---- f64 and i64 rows -------------------------------------------------------------- */

static void test_f64_rows(void **state)
{
    (void)state;
    isa_rows isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    enum { N = N_PAIRS + 1000 };
    static double x[3][N], y[N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < 3; j++)
            x[j][i] = i < N_PAIRS ? (double)specials[(j == 0   ? i
                                                      : j == 1 ? i / N_SPECIALS
                                                               : i * 7) %
                                                     N_SPECIALS]
                                  : (double)moderate() + 1e-9 * (double)moderate();
    const void *in[3] = {x[0], x[1], x[2]};
    for (int k = 1; k < K_COUNT; k++) {
        const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)k);
        if (!info || !info->floats) continue;
        for (int s = 0; s < n_isa; s++) {
            isa[s].rows->row[k][REEL_PW_F64](N, in, y, numbers);
            for (int i = 0; i < N; i++) {
                double a = x[0][i], b = x[1][i];
                if (is_out_of_domain((reel__kernel_id)k, a, b)) continue;
                double got = info->out_bool ? ((uint8_t *)y)[i] : y[i];
                double want = expected((reel__kernel_id)k, a, b, x[2][i], attributes);
                double e =
                    error_of(got, want, scale((reel__kernel_id)k, a, b, attributes), 53,
                             -1074, DBL_MAX);
                double bound = 4 * allowed((reel__kernel_id)k, a);
                if (e != 0 && !(e <= bound))
                    fail_msg("%s %s(%.17g, %.17g) = %.17g, not %.17g: %.3g units",
                             isa[s].name, info->name, a, b, got, want, e);
            }
        }
    }
}

/* Integers, in 128 bits; results wrap around. */
__extension__ typedef __int128 wide;

static wide floor_of(wide x, wide y)
{
    wide q = x / y;
    return q * y != x && (x < 0) != (y < 0) ? q - 1 : q;
}

static wide wide_expected(reel__kernel_id k, wide x, wide y, wide z, const int64_t a[2])
{
    switch (k) {
    case K_ADD: return x + y;
    case K_SUB: return x - y;
    case K_MUL: return x * y;
    case K_DIV_TRUNC: return y ? x / y : 0;
    case K_DIV_FLOOR: return y ? floor_of(x, y) : 0;
    case K_FMOD: return y ? x % y : 0;
    case K_REMAINDER: return y ? x - floor_of(x, y) * y : 0;
    case K_MAXIMUM: return x > y ? x : y;
    case K_MINIMUM: return x < y ? x : y;
    case K_ADD_SCALAR: return x + a[0];
    case K_MUL_SCALAR: return x * a[0];
    case K_CLAMP: return x < a[0] ? a[0] : x > a[1] ? a[1] : x;
    case K_EQ: return x == y;
    case K_NE: return x != y;
    case K_LT: return x < y;
    case K_LE: return x <= y;
    case K_GT: return x > y;
    case K_GE: return x >= y;
    case K_LOGICAL_AND: return x && y;
    case K_LOGICAL_OR: return x || y;
    case K_LOGICAL_XOR: return !x != !y;
    case K_LOGICAL_NOT: return !x;
    case K_WHERE: return x ? y : z;
    case K_NEG: return -x;
    case K_ABS: return x < 0 ? -x : x;
    case K_SIGN: return (x > 0) - (x < 0);
    case K_SQUARE: return x * x;
    case K_RELU: return x > 0 ? x : 0;
    default: fail_msg("row %d takes integers and has no definition here", (int)k);
    }
    return 0;
}

/* Small ones, all of 64 bits, the ends, and what no double holds. */
static int64_t any_i64(void)
{
    static const int64_t ends[] = {
        INT64_MIN,     INT64_MIN + 1,          INT64_MAX,
        INT64_MAX - 1, (INT64_C(1) << 53) + 1, -(INT64_C(1) << 53) - 1};
    uint64_t bits = (uint64_t)random_bits() << 32 | (uint64_t)random_bits();
    switch (random_below(4)) {
    case 0: return random_below(7) - 3;
    case 1: return ends[random_below(6)];
    case 2: return (int64_t)bits >> random_below(60);
    default: return (int64_t)bits;
    }
}

static void test_i64_rows(void **state)
{
    (void)state;
    isa_rows isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    enum { N = 4000 };
    static int64_t x[3][N], y[N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < 3; j++) x[j][i] = any_i64();
    const void *in[3] = {x[0], x[1], x[2]};
    int rows = 0;
    for (int k = 1; k < K_COUNT; k++) {
        const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)k);
        if (!info || !info->ints) continue;
        rows++;
        for (int s = 0; s < n_isa; s++) {
            const int64_t b = any_i64(), c = any_i64();
            const int64_t a[2] = {b < c ? b : c, b < c ? c : b};
            const reel__number number[2] = {reel__whole(a[0]), reel__whole(a[1])};
            isa[s].rows->row[k][REEL_PW_I64](N, in, y, number);
            for (int i = 0; i < N; i++) {
                int64_t want = (int64_t)(uint64_t)wide_expected(
                    (reel__kernel_id)k, x[0][i], x[1][i], x[2][i], a);
                int64_t got = info->out_bool ? ((uint8_t *)y)[i] : y[i];
                if (got != want)
                    fail_msg("%s %s(%lld, %lld) = %lld, not %lld", isa[s].name,
                             info->name, (long long)x[0][i], (long long)x[1][i],
                             (long long)got, (long long)want);
            }
        }
    }
    assert_true(rows > 20);
}

/* A result does not depend on where in a block the element stands. */
static void test_place_does_not_matter(void **state)
{
    (void)state;
    isa_rows isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    enum { N = 203 };
    static float x[3][N], whole[N], single[N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < 3; j++)
            x[j][i] = i < N_SPECIALS ? specials[(i * (j + 1)) % N_SPECIALS] : moderate();
    for (int k = 1; k < K_COUNT; k++) {
        const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)k);
        if (!info || !info->floats) continue;
        for (int s = 0; s < n_isa; s++) {
            reel__pw_fn fn = isa[s].rows->row[k][REEL_PW_F32];
            const void *in[3] = {x[0], x[1], x[2]};
            size_t size = info->out_bool ? 1 : 4;
            fn(N, in, whole, numbers);
            for (int i = 0; i < N; i++) {
                const void *one[3] = {x[0] + i, x[1] + i, x[2] + i};
                fn(1, one, (char *)single + (size_t)i * size, numbers);
            }
            if (memcmp(whole, single, N * size) != 0)
                fail_msg("%s %s depends on the place in the block", isa[s].name,
                         info->name);
        }
    }
}

static void test_info(void **state)
{
    (void)state;
    const reel__pw_info *where = reel__pw_info_of(K_WHERE), *lt = reel__pw_info_of(K_LT);
    assert_string_equal(where->name, "WHERE");
    assert_string_equal(where->expr, "SEL(x0 != 0, x1, x2)");
    assert_int_equal(where->n_in, 3);
    assert_true(where->floats && where->ints && !where->out_bool && lt->out_bool);
    assert_false(reel__pw_takes(reel__pw_info_of(K_EXP), REEL_I32));
    assert_true(reel__pw_takes(reel__pw_info_of(K_EXP), REEL_BF16));
    assert_int_equal(reel__pw_weight(lt), 1);
    assert_int_equal(reel__pw_weight(reel__pw_info_of(K_EXP)), 9);
    assert_null(reel__pw_info_of(K_COPY));
    assert_null(reel__pw_info_of(K_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32_rows), cmocka_unit_test(test_f64_rows),
        cmocka_unit_test(test_i64_rows), cmocka_unit_test(test_place_does_not_matter),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
