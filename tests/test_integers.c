/* test_integers.c: integers stay integers above 2^53, where doubles have gaps: functions that
 * take a number, graphs and their text, rewrites, and what imported ONNX operators compute,
 * against C's own integers. Rows of kernels are compared in test_pw_rows. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph_check.h"
#include "onnx/model.h"
#include "ops/attr.h"
#include "trace/onnx/import.h"

#define ODD ((INT64_C(1) << 53) + 1) /* the first that no double is */

static uint64_t state_of_dice = 12345;

static uint64_t dice(void)
{
    uint64_t high = state_of_dice = state_of_dice * UINT64_C(6364136223846793005) + 99;
    state_of_dice = state_of_dice * UINT64_C(6364136223846793005) + 99;
    return high >> 32 << 32 | state_of_dice >> 32;
}

/* Small, large, at the ends, and beside 2^53. */
static int64_t any(void)
{
    static const int64_t corner[] = {0,   1,   -1, INT64_MIN, INT64_MAX, INT64_MIN + 1,
                                     ODD, -ODD};
    switch (dice() % 4) {
    case 0: return (int64_t)(dice() % 9) - 4;
    case 1: return corner[dice() % 8];
    case 2: return (int64_t)dice() >> dice() % 60;
    default: return (int64_t)dice();
    }
}

enum { N = 32 };

static reel_tensor *tensor_of(const int64_t *v)
{
    return reel_from(v, REEL_SHAPE(N), REEL_I64);
}

static void expect_values(const char *what, reel_tensor *y, const int64_t *want,
                          int64_t n)
{
    no_error();
    assert_int_equal(reel_numel(y), n);
    int64_t *got = calloc((size_t)n + 1, sizeof *got);
    assert_int_equal(reel_read(y, got, REEL_I64), REEL_OK);
    for (int64_t i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s: element %" PRId64 " is %" PRId64 ", not %" PRId64, what, i,
                     got[i], want[i]);
    free(got);
}

/* ---- functions of a number ------------------------------------------------------------- */

typedef struct by_number {
    const char *name;
    reel_tensor *(*fn)(reel_tensor *x, int64_t a, int64_t b);
    int64_t (*want)(int64_t x, int64_t a, int64_t b);
} by_number;

static int64_t plus(int64_t x, int64_t y)
{
    return (int64_t)((uint64_t)x + (uint64_t)y);
}

static int64_t times(int64_t x, int64_t y)
{
    return (int64_t)((uint64_t)x * (uint64_t)y);
}

#define BY_NUMBER(name, call, value)                                                     \
    static reel_tensor *f_##name(reel_tensor *x, int64_t a, int64_t b)                   \
    {                                                                                    \
        (void)x, (void)a, (void)b;                                                       \
        return call;                                                                     \
    }                                                                                    \
    static int64_t w_##name(int64_t x, int64_t a, int64_t b)                             \
    {                                                                                    \
        (void)x, (void)a, (void)b;                                                       \
        return value;                                                                    \
    }
BY_NUMBER(add, reel_add_scalar_i64(x, a), plus(x, a))
BY_NUMBER(mul, reel_mul_scalar_i64(x, a), times(x, a))
BY_NUMBER(mul_, reel_mul_scalar_i64_(reel_copy(x), a), times(x, a))
BY_NUMBER(clamp, reel_clamp_i64(x, a, b), x<a ? a : x> b ? b : x)
BY_NUMBER(clamp_, reel_clamp_i64_(reel_copy(x), a, b), x<a ? a : x> b ? b : x)
BY_NUMBER(fill, reel_fill_i64_(reel_copy(x), a), a)
BY_NUMBER(full, reel_full_i64(REEL_SHAPE(N), a, REEL_I64), a)
BY_NUMBER(masked, reel_masked_fill_i64(x, reel_lt(x, reel_scalar_i64(b, REEL_I64)), a),
          x < b ? a : x)
BY_NUMBER(chain, reel_add_scalar_i64(reel_add_scalar_i64(x, a), b), plus(plus(x, a), b))
BY_NUMBER(product, reel_mul_scalar_i64(reel_mul_scalar_i64(x, a), b),
          times(times(x, a), b))
BY_NUMBER(minus, reel_neg(reel_mul_scalar_i64(x, a)), times(times(x, a), -1))
BY_NUMBER(less, reel_cast(reel_lt(x, reel_scalar_i64(a, REEL_I64)), REEL_I64), x < a)
BY_NUMBER(equal, reel_cast(reel_eq(x, reel_scalar_i64(a, REEL_I64)), REEL_I64), x == a)
BY_NUMBER(square, reel_square(reel_add_scalar_i64(x, a)), times(plus(x, a), plus(x, a)))
#define ROW(name)                                                                        \
    {                                                                                    \
#name, f_##name, w_##name                                                        \
    }
static const by_number functions[] = {ROW(add),    ROW(mul),     ROW(mul_),  ROW(clamp),
                                      ROW(clamp_), ROW(fill),    ROW(full),  ROW(masked),
                                      ROW(chain),  ROW(product), ROW(minus), ROW(less),
                                      ROW(equal),  ROW(square)};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

typedef struct call {
    const by_number *f;
    int64_t a, b;
} call;

static reel_tensor *run_call(void *user, reel_tensor *const x[], int n)
{
    const call *c = user;
    (void)n;
    return c->f->fn(x[0], c->a, c->b);
}

static reel_tensor *no_state(void *user, const char *name)
{
    (void)user, (void)name;
    return NULL;
}

/* Eager, traced, as text and back, optimized. */
static void check_call(call *c)
{
    int64_t v[N], want[N];
    for (int i = 0; i < N; i++) {
        v[i] = any();
        want[i] = c->f->want(v[i], c->a, c->b);
    }
    reel_scope s = reel_scope_begin();
    reel_tensor *x = tensor_of(v), *y = NULL;
    const reel_trace_opts fixed = {.fixed_batch = true};
    expect_values(c->f->name, run_call(c, &x, 1), want, N);
    reel_graph *g = reel_trace_function(run_call, c, &x, 1, &fixed);
    no_error();
    char *text = reel_graph_to_string(g);
    reel_graph *back =
        strstr(text, "const") ? NULL : reel_graph_parse(text, no_state, NULL);
    no_error();
    assert_int_equal(reel_graph_optimize(g, NULL), REEL_OK);
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    expect_values(c->f->name, y, want, N);
    if (back) {
        y = NULL;
        assert_int_equal(reel_graph_run(back, &x, 1, &y, 1), REEL_OK);
        expect_values(text, y, want, N);
    }
    free(text);
    reel_graph_free(back);
    reel_graph_free(g);
    reel_scope_end(s);
}

static void test_numbers(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        int64_t a = any(), b = any();
        call c = {&functions[round % FUNCTIONS], a < b ? a : b, a < b ? b : a};
        check_call(&c);
    }
}

/* Numbers of the wider range in narrow integers: the nearest inside, as conversions give. */
static void test_narrow(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    const int64_t high[] = {UINT8_MAX}, low[] = {INT8_MIN}, wide[] = {INT32_MAX};
    expect_values("u8", reel_full_i64(REEL_SCALAR, ODD, REEL_U8), high, 1);
    expect_values("i8", reel_full_i64(REEL_SCALAR, -ODD, REEL_I8), low, 1);
    expect_values("i32", reel_full(REEL_SCALAR, 1e30, REEL_I32), wide, 1);
    const int64_t one[] = {1};
    expect_values("bool", reel_full_i64(REEL_SCALAR, ODD, REEL_BOOL), one, 1);
    assert_true(reel_item(reel_full_i64(REEL_SCALAR, ODD, REEL_F64)) == 0x1p53);
    reel_scope_end(s);
}

/* ---- ranges, borders, draws ------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        reel_scope s = reel_scope_begin();
        int64_t start = any(), step = any(), n = (int64_t)(dice() % 40), want[40];
        if (step == 0 || step == INT64_MIN) step = 3;
        /* an end that the last of n does not pass, if there is such */
        int64_t end = start, count = 0;
        for (; count < n; count++) {
            want[count] = end;
            if (__builtin_add_overflow(end, step, &end)) {
                end = step > 0 ? INT64_MAX : INT64_MIN;
                count += want[count] != end;
                break;
            }
        }
        if (count == 0) end = start;
        expect_values("arange", reel_arange_i64(start, end, step, REEL_I64), want, count);
        reel_scope_end(s);
    }
    reel_scope s = reel_scope_begin();
    assert_null(reel_arange_i64(INT64_MIN, INT64_MAX, 1, REEL_I64));
    expect(REEL_ERR_ARG, "fewer than 2^53");
    expect_values("arange", reel_arange_i64(INT64_MIN, INT64_MAX, INT64_MAX, REEL_I64),
                  (int64_t[]){INT64_MIN, -1, INT64_MAX - 1}, 3);
    const int64_t padded[] = {-ODD, 7, ODD, -ODD};
    expect_values("pad",
                  reel_pad_i64(reel_from(padded + 1, REEL_SHAPE(2), REEL_I64),
                               REEL_SHAPE(1), REEL_SHAPE(1), -ODD),
                  padded, 4);
    reel_tensor *drawn = reel_randint(ODD, ODD + 2, REEL_SHAPE(N), REEL_I64);
    for (int i = 0; i < N; i++) {
        int64_t v = reel_item_i64(reel_select(drawn, 0, i));
        assert_true(v == ODD || v == ODD + 1);
    }
    reel_scope_end(s);
}

/* ---- quotients, reductions, conversions ---------------------------------------------------------- */

static int64_t quotient(int64_t x, int64_t y)
{
    return y == 0 ? 0 : y == -1 ? times(x, -1) : x / y;
}

static int64_t rest(int64_t x, int64_t y)
{
    return y == 0 || y == -1 ? 0 : x % y;
}

static bool crosses(int64_t x, int64_t y)
{
    return rest(x, y) != 0 && (x < 0) != (y < 0);
}

/* Each integer dtype: computed with all 64 bits, and wrapped. */
static void check_quotients(reel_dtype dtype)
{
    int64_t v[N], w[N], q[N], f[N], r[N], m[N];
    reel_scope s = reel_scope_begin();
    for (int i = 0; i < N; i++) v[i] = any(), w[i] = any();
    reel_tensor *x = reel_cast(tensor_of(v), dtype), *y = reel_cast(tensor_of(w), dtype);
    reel_read(x, v, REEL_I64);
    reel_read(y, w, REEL_I64);
    for (int i = 0; i < N; i++) {
        q[i] = quotient(v[i], w[i]);
        r[i] = rest(v[i], w[i]);
        f[i] = q[i] - crosses(v[i], w[i]);
        m[i] = crosses(v[i], w[i]) ? r[i] + w[i] : r[i];
    }
    reel_tensor *want[] = {reel_cast(tensor_of(q), dtype), reel_cast(tensor_of(f), dtype),
                           reel_cast(tensor_of(r), dtype),
                           reel_cast(tensor_of(m), dtype)};
    reel_tensor *got[] = {reel_div_trunc(x, y), reel_div_floor(x, y), reel_fmod(x, y),
                          reel_remainder(x, y)};
    static const char *const name[] = {"div_trunc", "div_floor", "fmod", "remainder"};
    for (int k = 0; k < 4; k++) {
        int64_t n[N];
        reel_read(want[k], n, REEL_I64);
        expect_values(name[k], got[k], n, N);
    }
    reel_scope_end(s);
}

static void test_quotients(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_I64, REEL_I32, REEL_I8, REEL_U8};
    for (int round = 0; round < 800; round++) check_quotients(dtypes[round % 4]);
}

static void test_reductions(void **state)
{
    (void)state;
    for (int round = 0; round < 500; round++) {
        int64_t v[N], sum = 0, most = INT64_MIN, least = INT64_MAX, at = 0;
        for (int i = 0; i < N; i++) {
            v[i] = any();
            sum = plus(sum, v[i]);
            if (v[i] > most || i == 0) at = i;
            most = v[i] > most ? v[i] : most;
            least = v[i] < least ? v[i] : least;
        }
        reel_scope s = reel_scope_begin();
        reel_tensor *x = tensor_of(v);
        expect_values("sum", reel_sum(x, REEL_ALL, false), &sum, 1);
        expect_values("max", reel_max(x, REEL_ALL, false), &most, 1);
        expect_values("min", reel_min(x, REEL_ALL, false), &least, 1);
        expect_values("argmax", reel_argmax(x, REEL_FLAT, false), &at, 1);
        expect_values("copy", reel_copy(reel_flip(reel_flip(x, REEL_ALL), REEL_ALL)), v,
                      N);
        double wide[N];
        reel_read(x, wide, REEL_F64);
        for (int i = 0; i < N; i++) assert_true(wide[i] == (double)v[i]);
        reel_scope_end(s);
    }
}

/* ---- text of attributes ------------------------------------------------------------------------------ */

static void test_text(void **state)
{
    (void)state;
    const reel__attr_schema *schema = &reel__scalar_schema;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = dice();
        double real;
        memcpy(&real, &bits, sizeof real);
        if (real != real) real = -0.0;
        const reel__scalar_attrs a = {{reel__whole(any()), reel__real(real)}};
        reel__scalar_attrs b;
        char text[256];
        memset(&b, 0, sizeof b);
        reel__attr_text(schema, &a, text, sizeof text);
        assert_true(reel__attr_parse(schema, text, &b));
        if (memcmp(&a, &b, sizeof a) != 0) fail_msg("%s is read as another number", text);
    }
    assert_false(reel__real(0x1p62).is_real);
    assert_true(reel__real(0x1p63).is_real && reel__real(-0.0).is_real);
    assert_true(reel__real(-0x1p63).whole == INT64_MIN);
}

/* ---- imported operators -------------------------------------------------------------------------------- */

/* y = op(initializers in0, in1, in2), which are i64. */
static reel__onnx_node *one_node(reel__onnx_model *m, const char *op, const int64_t *in[],
                                 const int64_t size[], int n)
{
    static const char *const name[] = {"a", "b", "c", "d"};
    reel__onnx_node *node = reel__onnx_add_node(m, op, "");
    for (int i = 0; i < n; i++) {
        reel_shape shape = size[i] < 0 ? REEL_SCALAR : REEL_SHAPE(size[i]);
        reel__onnx_add_initializer(m, name[i], REEL_ONNX_INT64, shape, in[i]);
        reel__onnx_add_input(m, node, name[i]);
    }
    reel__onnx_add_output(m, node, "y");
    reel__onnx_add_value(m, REEL_ONNX_OUTPUT, "y", REEL_ONNX_INT64, -1, NULL);
    return node;
}

static void run_model(const char *what, reel__onnx_model *m, const int64_t *want,
                      int64_t n)
{
    reel_tensor *y = NULL;
    reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
    no_error();
    assert_int_equal(reel_graph_run(g, NULL, 0, &y, 1), REEL_OK);
    expect_values(what, y, want, n);
    reel_graph_free(g);
    reel__onnx_model_free(m);
}

static void test_imported(void **state)
{
    (void)state;
    for (int round = 0; round < 400; round++) {
        int64_t v[N], w[N], q[N], r[N], m[N];
        for (int i = 0; i < N; i++) {
            v[i] = any();
            w[i] = any();
            q[i] = quotient(v[i], w[i]);
            r[i] = rest(v[i], w[i]);
            m[i] = crosses(v[i], w[i]) ? r[i] + w[i] : r[i];
        }
        const int64_t *in[] = {v, w};
        const int64_t size[] = {N, N};
        reel_scope s = reel_scope_begin();
        reel__onnx_model *model = reel__onnx_model_new();
        one_node(model, "Div", in, size, 2);
        run_model("Div", model, q, N);
        for (int fmod = 0; fmod < 2; fmod++) {
            model = reel__onnx_model_new();
            reel__onnx_node *node = one_node(model, "Mod", in, size, 2);
            reel__onnx_add_int(model, node, "fmod", fmod);
            run_model("Mod", model, fmod ? r : m, N);
        }
        reel_scope_end(s);
    }
}

static void test_imported_numbers(void **state)
{
    (void)state;
    const int64_t odd[] = {ODD}, limit[] = {ODD + 9}, delta[] = {4}, data[] = {1, 2},
                  pads[] = {1, 0}, three[] = {3}, low[] = {-ODD}, high[] = {ODD},
                  wide[] = {INT64_MIN, INT64_MAX};
    reel_scope s = reel_scope_begin();
    reel__onnx_model *m = reel__onnx_model_new();
    one_node(m, "Range", (const int64_t *[]){odd, limit, delta}, (int64_t[]){-1, -1, -1},
             3);
    run_model("Range", m, (int64_t[]){ODD, ODD + 4, ODD + 8}, 3);
    m = reel__onnx_model_new();
    one_node(m, "Pad", (const int64_t *[]){data, pads, odd}, (int64_t[]){2, 2, -1}, 3);
    run_model("Pad", m, (int64_t[]){ODD, 1, 2}, 3);
    m = reel__onnx_model_new();
    one_node(m, "Clip", (const int64_t *[]){wide, low, high}, (int64_t[]){2, -1, -1}, 3);
    run_model("Clip", m, (int64_t[]){-ODD, ODD}, 2);
    m = reel__onnx_model_new();
    reel__onnx_node *node =
        one_node(m, "ConstantOfShape", (const int64_t *[]){three}, (int64_t[]){1}, 1);
    reel__onnx_tensor *t =
        reel__onnx_new_tensor(m, "value", REEL_ONNX_INT64, REEL_SHAPE(1), odd);
    reel__onnx_add_tensor(m, node, "value", t);
    run_model("ConstantOfShape", m, (int64_t[]){ODD, ODD, ODD}, 3);
    reel_scope_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_ranges),     cmocka_unit_test(test_quotients),
        cmocka_unit_test(test_reductions), cmocka_unit_test(test_text),
        cmocka_unit_test(test_imported),   cmocka_unit_test(test_imported_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
