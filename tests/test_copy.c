/* test_copy.c: strided copies between all dtypes, transposes, halves, fill and arange. */
#include <float.h>
#include <limits.h>

#include "backend/cpu/elem.h"
#include "backend/cpu/isa/isa.h"
#include "backend/cpu/kernels.h"
#include "base/counts.h"
#include "random_layout.h"

/* ---- conversion -------------------------------------------------------------------- */

static double saturated(double v, double lo, double hi)
{
    return isnan(v) ? 0 : v <= lo ? lo : v >= hi ? hi : trunc(v);
}

/* f16 or bf16 nearest to v, ties to even: explicit bits, exponent of the least normal. */
static double nearest_half(double v, int bits, int least, double most)
{
    int e;
    if (v == 0 || !isfinite(v)) return v;
    (void)frexp(v, &e);
    int unit = (e < least ? least : e) - bits;
    double r = nearbyint(ldexp(v, -unit));
    r = ldexp(r, unit);
    return fabs(r) > most ? copysign((double)INFINITY, v) : r;
}

static double converted(double v, reel_dtype from, reel_dtype to)
{
    bool whole = !reel_dtype_is_float(from);
    switch (to) {
    case REEL_F64: return v;
    case REEL_F32: return (double)(float)v;
    case REEL_F16: return nearest_half(v, 11, -13, 65504);
    case REEL_BF16: return nearest_half(v, 8, -125, 0x1.fep127);
    case REEL_I64: return whole ? v : saturated(v, -0x1p63, 0x1p63);
    case REEL_I32:
        return whole ? (double)(int32_t)(int64_t)v : saturated(v, INT32_MIN, INT32_MAX);
    case REEL_I8: return whole ? (double)(int8_t)(int64_t)v : saturated(v, -128, 127);
    case REEL_U8: return whole ? (double)(uint8_t)(int64_t)v : saturated(v, 0, 255);
    default: return v != 0;
    }
}

/* Random bits of the dtype, often small numbers. */
static void scramble(layout *l)
{
    size_t size = reel_dtype_size(l->meta.dtype), n = l->bytes / size;
    static const float some[] = {0.f,     -0.f,    0.5f,   -0.5f, 1.f,    -1.5f,
                                 2.9f,    -2.9f,   127.5f, 128.f, -129.f, 255.5f,
                                 256.f,   -1e9f,   3e9f,   -3e9f, 1e19f,  -1e19f,
                                 65519.f, 65520.f, 1e-5f,  3e-8f, -6e-8f};
    for (size_t i = 0; i < n; i++) {
        char *p = l->memory + i * size;
        float f = random_bits() % 3 ? some[random_below(sizeof some / sizeof *some)]
                                    : (float)random_bits() / 1e6f - 1000;
        double d = random_bits() % 20 ? (double)f : (double)NAN;
        int64_t v = random_bits() % 2 ? random_below(512) - 256
                                      : (int64_t)random_bits() * random_below(8192) - 1;
        switch (l->meta.dtype) {
        case REEL_F64: memcpy(p, &d, size); break;
        case REEL_F32:
            f = (float)d;
            memcpy(p, &f, size);
            break;
        case REEL_BOOL: *p = (char)(v & 1); break;
        default: memcpy(p, &v, size); break; /* low bytes: any bits are a number */
        }
    }
}

static void copy(layout *dst, layout *src)
{
    reel__karg in = {src->data, &src->meta}, out = {dst->data, &dst->meta};
    reel__kcall call = {K_COPY, 1, 1, &in, &out, NULL, NULL, 0};
    assert_int_equal(reel__ref_copy(&call), REEL_OK);
}

static void check_copy(layout *dst, layout *src)
{
    reel_shape shape = reel__shape(&dst->meta);
    reel_dtype from = src->meta.dtype, to = dst->meta.dtype;
    int64_t index[REEL_MAX_RANK] = {0};
    copy(dst, src);
    if (reel__numel(&dst->meta) == 0) return;
    do {
        const void *p = element(src, shape, index), *q = element(dst, shape, index);
        if (from == to) {
            assert_memory_equal(p, q, reel_dtype_size(to));
            continue;
        }
        double v = get(p, from), got = get(q, to), want = converted(v, from, to);
        if (!(got == want || (isnan(got) && isnan(want))))
            fail_msg("%s %.17g to %s: %.17g, not %.17g", reel_dtype_name(from), v,
                     reel_dtype_name(to), got, want);
    } while (next_index(shape, index));
}

static void test_all_dtypes_and_layouts(void **state)
{
    (void)state;
    for (int trial = 0; trial < 8000; trial++) {
        reel_shape shape = random_shape(trial % 40 == 0 ? 8 : 4);
        if (trial % 5 == 0 && shape.rank > 0)
            shape.dim[random_below(shape.rank)] = 1 + random_below(600);
        if (trial % 97 == 0 && shape.rank > 0) shape.dim[0] = 0;
        reel_dtype from = (reel_dtype)(trial % REEL__DTYPE_COUNT);
        reel_dtype to = (reel_dtype)(trial / REEL__DTYPE_COUNT % REEL__DTYPE_COUNT);
        layout src = random_layout(shape, from, trial % 3 == 0 ? 0 : random_bits() & 63);
        layout dst = random_layout(shape, to, random_bits() & (PERMUTE | REVERSE | GAPS));
        scramble(&src);
        check_copy(&dst, &src);
        free_layout(&src);
        free_layout(&dst);
    }
}

/* i64 beyond what f64 holds stays exact, wraps into i32, and saturates from floats. */
static void test_integers_exactly(void **state)
{
    (void)state;
    int64_t wide[3] = {INT64_MAX, INT64_MIN + 1, (INT64_C(5) << 32) + 7}, back[3];
    int32_t narrow[3];
    double floats[3] = {1e300, -1e300, (double)NAN};
    reel_device cpu = {REEL_CPU, 0};
    reel__meta i64 = reel__meta_of(REEL_SHAPE(3), REEL_I64, cpu);
    reel__meta i32 = reel__meta_of(REEL_SHAPE(3), REEL_I32, cpu);
    reel__meta f64 = reel__meta_of(REEL_SHAPE(3), REEL_F64, cpu);
    reel__copy_strided(back, &i64, wide, &i64);
    assert_memory_equal(back, wide, sizeof wide);
    reel__copy_strided(narrow, &i32, wide, &i64);
    assert_int_equal(narrow[0], -1);
    assert_int_equal(narrow[1], 1);
    assert_int_equal(narrow[2], 7);
    reel__copy_strided(back, &i64, floats, &f64);
    assert_true(back[0] == INT64_MAX && back[1] == INT64_MIN && back[2] == 0);
}

/* NCHW to channels-last and back, and every other order of three dimensions. */
static void test_transposes(void **state)
{
    (void)state;
    static const reel_shape shapes[] = {
        {4, {2, 3, 37, 41}},  {4, {2, 64, 19, 31}}, {4, {3, 17, 16, 16}},
        {4, {1, 2, 9, 9}},    {4, {2, 4, 20, 10}},  {4, {1, 300, 7, 5}},
        {4, {1, 40, 70, 90}},
    };
    static const reel_dtype dtypes[] = {REEL_U8, REEL_BF16, REEL_F32, REEL_F64};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t d = 0; d < 4; d++)
            for (int how = 0; how < 4; how++) {
                layout src =
                    random_layout(shapes[s], dtypes[d], how < 2 ? 0 : PERMUTE | GAPS);
                layout dst = random_layout(shapes[s], dtypes[d], how < 2 ? 0 : PERMUTE);
                if (how < 2) reel__set_channels_last(how ? &src.meta : &dst.meta);
                for (size_t i = 0; i < src.bytes; i++)
                    src.memory[i] = (char)random_bits();
                check_copy(&dst, &src);
                free_layout(&src);
                free_layout(&dst);
            }
}

static void test_threads_agree(void **state)
{
    (void)state;
    reel_shape shape = {3, {70, 60, 50}};
    for (int trial = 0; trial < 20; trial++) {
        layout src = random_layout(shape, REEL_F32, random_bits() & 63);
        reel_dtype to = trial % 2 ? REEL_F32 : REEL_F16;
        layout one = random_layout(shape, to, 0), two = random_layout(shape, to, 0);
        scramble(&src);
        assert_int_equal(reel_set_threads(1), REEL_OK);
        copy(&one, &src);
        assert_int_equal(reel_set_threads(2), REEL_OK);
        copy(&two, &src);
        assert_memory_equal(one.memory, two.memory, one.bytes);
        free_layout(&src);
        free_layout(&one);
        free_layout(&two);
    }
    assert_int_equal(reel_set_threads(0), REEL_OK);
}

/* ---- halves, in every instruction set ---------------------------------------------- */

REEL_ISA_DECLARE(reel__elem_rows, elem_rows);

static int all_isas(const reel__elem_rows *out[REEL_ISA_COUNT])
{
    int n = 0;
    out[n++] = &reel__elem_rows_baseline;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[n++] = &reel__elem_rows_avx2;
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        out[n++] = &reel__elem_rows_avx512;
#endif
    return n;
}

static void test_halves(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    static uint16_t half[N], back[N], first[N];
    static float wide[N], x[N];
    const reel__elem_rows *isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    for (int i = 0; i < N; i++) half[i] = (uint16_t)i;
    for (int s = 0; s < n_isa; s++) {
        isa[s]->f16_to_f32(half, wide, N);
        for (int i = 0; i < N; i++) {
            double want = get(&half[i], REEL_F16);
            assert_true((double)wide[i] == want || (isnan(wide[i]) && isnan(want)));
        }
        isa[s]->f32_to_f16(wide, back, N);
        for (int i = 0; i < N; i++) /* a signalling NaN comes back quiet */
            assert_int_equal(back[i], isnan(wide[i]) ? half[i] | 0x200 : half[i]);
        isa[s]->bf16_to_f32(half, wide, N);
        isa[s]->f32_to_bf16(wide, back, N);
        for (int i = 0; i < N; i++)
            assert_int_equal(back[i], isnan(wide[i]) ? half[i] | 0x40 : half[i]);
    }
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            uint32_t u = random_bits() << 1 ^ random_bits();
            if (round % 2)
                u = (u & 0x8fffffffu) | 0x30000000u;        /* near the range of f16 */
            if (round % 5 == 0) u &= 0xffffe000u | 0x1000u; /* ties */
            memcpy(&x[i], &u, 4);
        }
        for (int s = 0; s < n_isa; s++) {
            isa[s]->f32_to_f16(x, back, N - 3);
            if (s == 0) memcpy(first, back, sizeof back);
            assert_memory_equal(first, back, (N - 3) * sizeof *back);
        }
        for (int i = 0; i < N - 3; i++) {
            double got = get(&back[i], REEL_F16);
            double want = nearest_half((double)x[i], 11, -13, 65504);
            if (!(got == want || (isnan(got) && isnan(want))))
                fail_msg("f16 of %.9g: %.9g, not %.9g", (double)x[i], got, want);
        }
        reel__f32_to_bf16(x, back, N);
        for (int i = 0; i < N; i++) {
            double got = get(&back[i], REEL_BF16);
            double want = nearest_half((double)x[i], 8, -125, 0x1.fep127);
            assert_true(got == want || (isnan(got) && isnan(want)));
        }
    }
}

/* The vector and the scalar form of a conversion are the same, and so are strided ones.
 * */
static void test_instruction_sets_agree(void **state)
{
    (void)state;
    enum { N = 100 };
    const reel__elem_rows *isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    for (int ct = 0; ct < REEL_PW_TYPES; ct++)
        for (int dt = 0; dt < REEL__DTYPE_COUNT; dt++) {
            layout l = random_layout(REEL_SHAPE(N), (reel_dtype)dt, 0);
            scramble(&l);
            double want[N] = {0}, got[N] = {0};
            size_t size = reel__pw_size((reel__pw_type)ct);
            for (int i = 0; i < N; i++) /* one by one, in the baseline */
                isa[0]->load[ct][dt](1, 1, (char *)want + (size_t)i * size,
                                     l.data + (size_t)i * reel_dtype_size((reel_dtype)dt),
                                     0, 1);
            for (int s = 0; s < n_isa; s++) {
                isa[s]->load[ct][dt](1, N, got, l.data, 0, 1);
                assert_memory_equal(got, want, N * size);
                layout a = random_layout(REEL_SHAPE(N), (reel_dtype)dt, 0);
                layout b = random_layout(REEL_SHAPE(N), (reel_dtype)dt, 0);
                isa[s]->store[ct][dt](1, N, a.data, 0, 1, want);
                isa[0]->store[ct][dt](N, 1, b.data, 1, 1, want);
                assert_memory_equal(a.data, b.data, a.bytes);
                free_layout(&a);
                free_layout(&b);
            }
            free_layout(&l);
        }
}

/* Numbers just beside the middle between two halves, which f32, or f64, cannot tell from it:
 * any rounding on the way would show. `p` is the mantissa of the half below. */
static double beside_middle(int64_t p, int64_t side)
{
    return (double)(side < 0 || (side == 0 && p % 2 == 0) ? p : p + 1);
}

static void check_stored(reel__pw_type from, reel_dtype to, const void *value,
                         double want)
{
    const reel__elem_rows *isa[REEL_ISA_COUNT];
    int n_isa = all_isas(isa);
    for (int s = 0; s < n_isa; s++) {
        double element = 0; /* as many bytes as any dtype has */
        isa[s]->store[from][to](1, 1, &element, 0, 1, value);
        if (get(&element, to) != want)
            fail_msg("%s of bits %016llx: %.9g, not %.9g", reel_dtype_name(to),
                     *(const unsigned long long *)value, get(&element, to), want);
    }
}

static void test_one_rounding(void **state)
{
    (void)state;
    static const struct {
        reel_dtype dtype;
        int bits, least, most; /* of the mantissa; exponents of the last bit */
        double largest;
    } halves[] = {{REEL_F16, 11, -24, 5, 65504}, {REEL_BF16, 8, -133, 120, 0x1.fep127}};
    for (int round = 0; round < 40000; round++) {
        int h = round % 2, e;
        int64_t first = INT64_C(1) << (halves[h].bits - 1), side = random_below(3) - 1;
        int64_t p = first + random_below(first);
        e = halves[h].least + (int)random_below(halves[h].most - halves[h].least + 1);
        if (e == halves[h].least) p -= random_below(2) * first; /* denormal */
        double sign = random_bits() % 2 ? 1 : -1;
        double x = ldexp((double)p + 0.5, e) * (1 + (double)side * 0x1p-40) * sign;
        double want = ldexp(beside_middle(p, side), e) * sign;
        if (fabs(want) > halves[h].largest) want = sign * (double)INFINITY;
        check_stored(REEL_PW_F64, halves[h].dtype, &x, want);

        int shift = 2 + (int)random_below(60 - halves[h].bits);
        p = first + random_below(first);
        int64_t i = ((2 * p + 1) << (shift - 1)) + side;
        want = ldexp(beside_middle(p, side), shift);
        if (want > halves[h].largest) want = (double)INFINITY;
        check_stored(REEL_PW_I64, halves[h].dtype, &i, want);
    }
}

/* ---- fill, arange ------------------------------------------------------------------ */

static void test_fill_and_arange(void **state)
{
    (void)state;
    for (int dtype = 0; dtype < REEL__DTYPE_COUNT; dtype++)
        for (unsigned how = 0; how < 16; how += 2) {
            layout out = random_layout(REEL_SHAPE(3, 700), (reel_dtype)dtype, how);
            reel__karg arg = {out.data, &out.meta};
            reel__fill_attrs fill = {reel__whole(5)};
            reel__kcall call = {K_FILL, 0, 1, NULL, &arg, &fill, NULL, 0};
            assert_int_equal(reel__ref_fill(&call), REEL_OK);
            reel_shape shape = reel__shape(&out.meta);
            int64_t index[REEL_MAX_RANK] = {0};
            do
                assert_true(get(element(&out, shape, index), (reel_dtype)dtype) ==
                            (dtype == REEL_BOOL ? 1 : 5));
            while (next_index(shape, index));
            free_layout(&out);

            layout line = random_layout(REEL_SHAPE(1500), (reel_dtype)dtype, how);
            reel__arange_attrs range = {.start = reel__real(-3), .step = reel__real(0.5)};
            reel__karg line_arg = {line.data, &line.meta};
            reel__kcall arange = {K_ARANGE, 0, 1, NULL, &line_arg, &range, NULL, 0};
            assert_int_equal(reel__ref_arange(&arange), REEL_OK);
            for (int64_t i = 0; i < 1500; i++)
                assert_true(
                    get(element(&line, REEL_SHAPE(1500), &i), (reel_dtype)dtype) ==
                    converted(-3 + 0.5 * (double)i, REEL_F64, (reel_dtype)dtype));
            free_layout(&line);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_dtypes_and_layouts),
        cmocka_unit_test(test_integers_exactly),
        cmocka_unit_test(test_transposes),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_one_rounding),
        cmocka_unit_test(test_instruction_sets_agree),
        cmocka_unit_test(test_fill_and_arange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
