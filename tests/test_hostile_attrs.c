/* test_hostile_attrs.c: attributes may come from a file. Records with attributes that nobody
 * would write: the shape rule refuses them, or the operator runs, without reading or writing
 * what is not its own (the sanitizers watch). `--count N` samples of each record, `--seed S`. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/reel.h>

#include "support/sample.h"
#include "trace/graph/graph.h"

static int count = 400;
static uint64_t state_of_draws = UINT64_C(88172645463325252);

/* xorshift64*, Vigna 2016. */
static uint64_t draw(void)
{
    state_of_draws ^= state_of_draws >> 12;
    state_of_draws ^= state_of_draws << 25;
    state_of_draws ^= state_of_draws >> 27;
    return state_of_draws * UINT64_C(2685821657736338717);
}

static size_t below(size_t n)
{
    return (size_t)(draw() % n);
}

static int64_t hostile_int(void)
{
    static const int64_t corner[] = {0,
                                     1,
                                     2,
                                     3,
                                     4,
                                     5,
                                     7,
                                     8,
                                     9,
                                     64,
                                     256,
                                     65536,
                                     INT32_MAX,
                                     INT32_MIN,
                                     INT64_C(1) << 32,
                                     INT64_MAX,
                                     INT64_MIN,
                                     -1,
                                     -2,
                                     INT64_C(1) << 62,
                                     1000,
                                     INT64_MAX - 1,
                                     INT64_MIN + 1};
    return draw() % 4 ? corner[below(sizeof corner / sizeof *corner)] : (int64_t)draw();
}

static double hostile_real(void)
{
    static const double corner[] = {0,       -0.0,   1,        -1,        0.5,   1e300,
                                    -1e300,  1e-300, INFINITY, -INFINITY, NAN,   9.3e18,
                                    -9.3e18, 1e20,   0x1p63,   -0x1p63,   0x1p32};
    return corner[below(sizeof corner / sizeof *corner)];
}

/* Changes one number of the attributes. */
static void spoil(const reel__attr_schema *a, int64_t *attrs)
{
    const reel__attr_field *f = &a->field[below((size_t)a->n_fields)];
    size_t k = below(draw() % 2 && f->count > 4 ? 4 : f->count);
    int64_t *at = attrs + (f->offset + k * reel__attr_unit(f)) / 8;
    const double real = hostile_real();
    switch (f->type) {
    case REEL_ATTR_INT: *at = hostile_int(); break;
    case REEL_ATTR_REAL: memcpy(at, &real, sizeof real); break;
    case REEL_ATTR_NUMBER:
    case REEL_ATTR_BOUND: /* not always in its one form */
        at[0] = (int64_t)below(2);
        if (at[0])
            memcpy(at + 1, &real, sizeof real);
        else
            at[1] = hostile_int();
        break;
    case REEL_ATTR_ROW: *at = (int64_t)below(K_COUNT); break;
    }
}

static bool make_inputs(const sample *s, reel_dtype dtype, reel_tensor *in[],
                        const reel__meta *meta[])
{
    sample_layout layout = (sample_layout)below(SAMPLE_LAYOUTS);
    for (int i = 0; i < s->n_in; i++) {
        in[i] = NULL;
        meta[i] = NULL;
        if (s->in[i].kind == SAMPLE_ABSENT) continue;
        sample_layout l =
            sample_has_layout(&s->in[i], layout) ? layout : SAMPLE_CONTIGUOUS;
        in[i] = sample_view(s, i, l, sample_base(s, i, l, dtype, 1));
        if (!in[i]) return false;
        meta[i] = &in[i]->meta;
    }
    return true;
}

/* A shape that can exist, but perhaps in no memory. */
static bool spoil_shape(reel__meta *m)
{
    if (draw() % 4 == 0) m->rank = (int)below(REEL_MAX_RANK + 1);
    for (size_t n = 1 + below(2); n > 0 && m->rank; n--) {
        int64_t size = hostile_int();
        m->dim[below((size_t)m->rank)] = size < 0 ? 1 : size;
    }
    reel__set_contiguous(m);
    if (!reel__meta_check("shape", m)) return true;
    reel_error_clear();
    return false;
}

/* Shapes are all that a rule sees of a graph that was read. */
static void try_shapes(const reel__op *op, const sample *s,
                       const reel__meta *const meta[])
{
    reel__meta wild[SAMPLE_MAX_IN], result[REEL_OP_MAX_OUT];
    const reel__meta *in[SAMPLE_MAX_IN];
    for (int i = 0; i < s->n_in; i++) {
        in[i] = meta[i] ? &wild[i] : NULL;
        if (!meta[i]) continue;
        wild[i] = *meta[i];
        if (draw() % 2 && !spoil_shape(&wild[i])) return;
    }
    (void)reel__infer(op, s->attrs, in, s->n_in, result);
    reel_error_clear();
}

/* Results of a shape that a test can afford. */
static bool is_small(const reel__op *op, const reel__meta out[])
{
    double elements = 0;
    for (int k = 0; k < op->n_out; k++)
        if (out[k].rank >= 0) elements += (double)reel__numel(&out[k]);
    return elements < 1e5;
}

/* 1 if the shape rule took the attributes. */
static int try_one(const reel__op *op)
{
    static const reel_dtype floats[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};
    static sample s;
    reel_tensor *in[SAMPLE_MAX_IN], *out[REEL_OP_MAX_OUT] = {NULL};
    const reel__meta *meta[SAMPLE_MAX_IN];
    reel__meta result[REEL_OP_MAX_OUT];
    const char *text = sample_text(op);
    int lines = sample_lines(text), taken = 0;
    bool has_attrs = op->attrs && op->attrs->n_fields;
    if (!lines) return 0;
    assert_true(sample_parse(op, text, (int)below((size_t)lines), &s));
    if (!make_inputs(&s, floats[below(4)], in, meta)) return reel_error_clear(), 0;
    try_shapes(op, &s, meta);
    for (size_t n = below(4); n > 0 && has_attrs; n--) spoil(op->attrs, s.attr_memory);
    try_shapes(op, &s, meta);
    if (!reel__infer(op, s.attrs, meta, s.n_in, result)) {
        taken = 1;
        if (is_small(op, result)) (void)reel__apply(op, s.attrs, s.n_in, in, out);
    }
    reel_error_clear();
    return taken;
}

static void test_attributes_of_a_stranger(void **state)
{
    (void)state;
    int64_t live = reel_live_objects();
    int taken = 0;
    bool tape = reel_set_grad_enabled(false);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < reel__n_ops; k++) {
            taken += try_one(reel__ops[k]);
            reel_scope_end(0);
        }
    (void)reel_set_grad_enabled(tape);
    assert_true(taken > count);
    assert_int_equal(reel_live_objects(), live);
}

/* Reaches that end at 2^63 - 1. */
static void test_windows_that_reach_far(void **state)
{
    (void)state;
    const reel__pool2d_attrs pool = {
        .kernel = {2, 2}, .stride = {1, 1}, .dilation = {INT64_MAX, 1}, .ceil_mode = 1};
    const reel__conv2d_attrs conv = {
        .stride = {1, 1}, .dilation = {INT64_MAX, 1}, .groups = 1};
    reel_tensor *x = reel_ones(REEL_SHAPE(1, 1, 4, 4), REEL_F32),
                *w = reel_ones(REEL_SHAPE(1, 1, 2, 2), REEL_F32);
    assert_null(reel__apply1(reel__op_by_name("max_pool2d"), &pool, 1, &x));
    assert_int_equal(reel_error_status(), REEL_ERR_SHAPE);
    reel_error_clear();
    assert_null(reel__apply1(reel__op_by_name("conv2d"), &conv, 3,
                             (reel_tensor *[]){x, w, NULL}));
    assert_int_equal(reel_error_status(), REEL_ERR_SHAPE);
    reel_error_clear();
    reel_scope_end(0);
}

/* A dilation that no window uses, and a padding whose steps nobody could count. */
static void test_pools_of_one_place(void **state)
{
    (void)state;
    const reel__pool2d_attrs still = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {INT64_MAX, INT64_MAX - 1}};
    const reel__pool2d_attrs wide = {.kernel = {INT64_MAX, 1},
                                     .stride = {INT64_MAX, 1},
                                     .padding = {INT64_MAX / 2 - 2, 0},
                                     .dilation = {1, 1},
                                     .ceil_mode = 1};
    const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};
    for (int i = 0; i < 4; i++) {
        reel_tensor *x = reel_ones(REEL_SHAPE(1, 2, 4, 3), dtypes[i]);
        reel_tensor *y[2];
        assert_int_equal(reel__apply(reel__op_by_name("max_pool2d"), &still, 1, &x, y),
                         REEL_OK);
        assert_true(reel_item(reel_sum(y[0], REEL_ALL, false)) == 24);
        assert_int_equal(reel__apply(reel__op_by_name("max_pool2d"), &wide, 1, &x, y),
                         REEL_OK);
        assert_true(reel_item(reel_sum(y[0], REEL_ALL, false)) == 2 * 3);
        y[0] = reel__apply1(reel__op_by_name("avg_pool2d"), &wide, 1, &x);
        assert_non_null(y[0]); /* count_include_pad is off */
        assert_true(reel_item(reel_sum(y[0], REEL_ALL, false)) == 6);
        reel_scope_end(0);
    }
}

/* Strides that no place uses and paddings that no memory holds, through every kernel of a
 * convolution: the first are as any other, the second are refused. */
static void test_convolutions_of_one_place(void **state)
{
    (void)state;
    const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};
    for (int i = 0; i < 4; i++) {
        reel__conv2d_attrs at = {.padding = {1, 0},
                                 .stride = {INT64_MAX, INT64_MAX - 1},
                                 .dilation = {2, INT64_MAX},
                                 .groups = 1,
                                 .input = {1, 3, 5, 1}};
        reel_tensor *x = reel_ones(REEL_SHAPE(1, 3, 5, 1), dtypes[i]),
                    *w = reel_ones(REEL_SHAPE(4, 3, 3, 1), dtypes[i]);
        reel_tensor *y = reel__apply1(reel__op_by_name("conv2d"), &at, 3,
                                      (reel_tensor *[]){x, w, NULL});
        assert_non_null(y); /* taps 1 and 2 of 3 meet rows 1 and 3 */
        assert_true(reel_size(y, 2) == 1 && reel_size(y, 3) == 1);
        assert_true(reel_item(reel_sum(y, REEL_ALL, false)) == 4 * 3 * 2);
        reel_tensor *gx = reel__apply1(reel__op_by_name("conv2d_input"), &at, 2,
                                       (reel_tensor *[]){y, w});
        assert_non_null(gx);
        assert_true(reel_item(reel_sum(gx, REEL_ALL, false)) == 6 * 4 * 6);
        memcpy(at.input, (int64_t[]){4, 3, 3, 1}, sizeof at.input);
        reel_tensor *gw = reel__apply1(reel__op_by_name("conv2d_weight"), &at, 2,
                                       (reel_tensor *[]){y, x});
        assert_non_null(gw);
        assert_true(reel_item(reel_sum(gw, REEL_ALL, false)) == 6 * 4 * 3 * 2);
        at.padding[1] = INT64_MAX / 4;
        assert_null(reel__apply1(reel__op_by_name("conv2d"), &at, 3,
                                 (reel_tensor *[]){x, w, NULL}));
        assert_int_equal(reel_error_status(), REEL_ERR_SHAPE);
        reel_error_clear();
        reel_scope_end(0);
    }
}

/* Winners outside of the plane are those of no element, in every dtype. */
static void test_winners_outside(void **state)
{
    (void)state;
    const reel__pool2d_attrs a = {
        .kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .size = {2, 2}};
    const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};
    const int64_t wrong[] = {-1, 4, INT64_MAX, INT64_MIN};
    for (int d = 0; d < 4; d++)
        for (int i = 0; i < 4; i++) {
            double sum = 1;
            reel_tensor *in[] = {reel_ones(REEL_SHAPE(1, 1, 1, 1), dtypes[d]),
                                 reel_from(&wrong[i], REEL_SHAPE(1, 1, 1, 1), REEL_I64)};
            reel_tensor *y =
                reel__apply1(reel__op_by_name("max_pool2d_backward"), &a, 2, in);
            assert_non_null(y);
            assert_int_equal(reel_read(reel_sum(y, REEL_ALL, false), &sum, REEL_F64),
                             REEL_OK);
            assert_true(sum == 0);
            reel_scope_end(0);
        }
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--count") == 0) count = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--seed") == 0)
            state_of_draws +=
                UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)strtoull(argv[i + 1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attributes_of_a_stranger),
        cmocka_unit_test(test_windows_that_reach_far),
        cmocka_unit_test(test_pools_of_one_place),
        cmocka_unit_test(test_convolutions_of_one_place),
        cmocka_unit_test(test_winners_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
