/* test_batch_norm.c: the fast batch normalization against the reference, and the same
 * bits on one and two threads. */
#include "reference_check.h"

static const int64_t CHANNELS[] = {1, 3, 8, 16, 17, 24, 64, 65, 130, 4099};
enum { N_CHANNELS = sizeof CHANNELS / sizeof *CHANNELS };

static operand channels(int64_t c, uint64_t seed)
{
    return make(REEL_SHAPE(c), REEL_F32, NULL, seed);
}

/* Values around 5 with a deviation of about 0.6: a sum of squares would cancel. */
static void away_from_zero(operand *x)
{
    for (int64_t i = 0; i < reel__numel(&x->meta); i++) ((float *)x->data)[i] += 5;
}

static void positive(operand *x)
{
    for (int64_t i = 0; i < reel__numel(&x->meta); i++)
        ((float *)x->data)[i] = fabsf(((float *)x->data)[i]) + 0.1f;
}

typedef struct setting {
    reel_shape shape;
    bool training, relu, residual, affine;
} setting;

static operand tensor(const setting *s, uint64_t seed)
{
    return make(s->shape, REEL_F32, s->shape.rank == 4 ? NHWC : NULL, seed);
}

enum { X, W, B, MEAN, VAR, RESIDUAL, N_IN };
enum { Y, SAVE_MEAN, SAVE_INVSTD, N_OUT };
enum { GX, GW, GB, GRES, N_GRADIENTS };

static void compare_backward(const setting *s, operand *in, operand *out,
                             const reel__batch_norm_attrs *a)
{
    static const char *const name[] = {"gx", "gw", "gb", "gres"};
    const int64_t c = s->shape.dim[1];
    operand gy = tensor(s, 11);
    operand args[] = {
        gy, in[X], in[W], out[SAVE_MEAN], out[SAVE_INVSTD], s->relu ? out[Y] : ABSENT};
    operand got[] = {tensor(s, 0), channels(c, 0), channels(c, 0),
                     s->residual ? tensor(s, 0) : ABSENT};
    operand want[] = {tensor(s, 0), channels(c, 0), channels(c, 0),
                      s->residual ? tensor(s, 0) : ABSENT};
    assert_int_equal(
        call_fast(reel__fast_batch_norm_backward, args, 6, got, N_GRADIENTS, a), REEL_OK);
    call_ref(reel__ref_batch_norm_backward, args, 6, want, N_GRADIENTS, a);
    for (int i = 0; i < N_GRADIENTS; i++) check_same(&got[i], &want[i], 1e-4, name[i]);
    drop_all(got, N_GRADIENTS);
    drop_all(want, N_GRADIENTS);
    drop(&gy);
}

/* batch_norm_apply, from what was saved: the same bits, each kernel those of its own kind. */
static void makes_it_again(const setting *s, const operand in[], const operand fast[],
                           const operand ref[], const reel__batch_norm_attrs *a)
{
    for (int i = 0; i < 2; i++) {
        const operand *was = i ? ref : fast;
        operand args[] = {in[X],       in[W], in[B], was[SAVE_MEAN], was[SAVE_INVSTD],
                          in[RESIDUAL]};
        operand y = tensor(s, 0);
        if (i)
            call_ref(reel__ref_batch_norm_apply, args, N_IN, &y, 1, a);
        else
            assert_int_equal(call_fast(reel__fast_batch_norm_apply, args, N_IN, &y, 1, a),
                             REEL_OK);
        assert_memory_equal(y.data, was[Y].data,
                            (size_t)reel__numel(&y.meta) * sizeof(float));
        drop(&y);
    }
}

static void compare(const setting *s)
{
    const int64_t c = s->shape.dim[1];
    const reel__batch_norm_attrs a = {1e-5, 0.1, s->training, s->relu, 0};
    operand in[] = {tensor(s, 1),
                    s->affine ? channels(c, 2) : ABSENT,
                    s->affine ? channels(c, 3) : ABSENT,
                    channels(c, 4),
                    channels(c, 5),
                    s->residual ? tensor(s, 6) : ABSENT};
    operand got[] = {tensor(s, 0), channels(c, 0), channels(c, 0)};
    operand want[] = {tensor(s, 0), channels(c, 0), channels(c, 0)};
    away_from_zero(&in[X]);
    positive(&in[VAR]);
    assert_int_equal(call_fast(reel__fast_batch_norm, in, N_IN, got, N_OUT, &a), REEL_OK);
    operand running[] = {in[MEAN], in[VAR]};
    in[MEAN] = channels(c, 4);
    in[VAR] = channels(c, 5);
    positive(&in[VAR]);
    for (int i = 0; i < 2; i++) /* as often as call_fast */
        call_ref(reel__ref_batch_norm, in, N_IN, want, N_OUT, &a);
    check_same(&got[Y], &want[Y], 1e-4, "y");
    check_same(&got[SAVE_MEAN], &want[SAVE_MEAN], 1e-6, "save_mean");
    check_same(&got[SAVE_INVSTD], &want[SAVE_INVSTD], 1e-4, "save_invstd");
    check_same(&running[0], &in[MEAN], 1e-6, "running mean");
    check_same(&running[1], &in[VAR], 1e-5, "running variance");
    compare_backward(s, in, want, &a);
    makes_it_again(s, in, got, want, &a);
    drop_all(in, N_IN);
    drop_all(running, 2);
    drop_all(got, N_OUT);
    drop_all(want, N_OUT);
}

static void agrees_with_reference(void **state)
{
    (void)state;
    for (int i = 0; i < N_CHANNELS; i++)
        for (int bits = 0; bits < 16; bits++) {
            const int64_t c = CHANNELS[i];
            setting s = {.training = bits & 1,
                         .relu = bits & 2,
                         .residual = bits & 4,
                         .affine = bits & 8};
            s.shape = REEL_SHAPE(c > 1000 ? 5 : 37, c);
            compare(&s);
            if (c > 1000) continue;
            s.shape = REEL_SHAPE(3, c, 1, 2);
            compare(&s);
            s.shape = REEL_SHAPE(2, c, 5, 7);
            compare(&s);
        }
}

static void agrees_over_many_chunks(void **state)
{
    (void)state;
    for (int bits = 0; bits < 4; bits++) {
        setting s = {
            .training = true, .relu = bits & 1, .residual = bits & 2, .affine = true};
        s.shape = REEL_SHAPE(3, 16, 61, 33);
        compare(&s);
        s.shape = REEL_SHAPE(3, 17, 60, 33);
        compare(&s);
    }
}

/* A mean 10,000 deviations away leaves the variance as exact as f32 input allows. */
static void variance_survives_a_large_mean(void **state)
{
    (void)state;
    operand x = make(REEL_SHAPE(4096, 16), REEL_F32, NULL, 1);
    for (int64_t i = 0; i < 4096 * 16; i++)
        ((float *)x.data)[i] = 10000 + (i / 16 % 2 ? 1.0f : -1.0f);
    operand out[] = {make_like(&x, 0), channels(16, 0), channels(16, 0)};
    const reel__batch_norm_attrs a = {0, 0.1, 1, 0, 0};
    call_fast(reel__fast_batch_norm, &x, 1, out, 3, &a);
    for (int c = 0; c < 16; c++) {
        check_near(((float *)out[1].data)[c], 10000, 1e-3, "mean");
        check_near(((float *)out[2].data)[c], 1, 1e-5, "invstd");
    }
    drop_all(out, 3);
    drop(&x);
}

/* A channel that is one number everywhere comes out as its bias, and one whose squares leave f32
 * as that of ordinary size. */
static void equal_and_huge_values(void **state)
{
    (void)state;
    const float values[] = {100.3f, 255, 1e5f, 1e7f, 1e30f, -3e38f};
    const reel__batch_norm_attrs a = {1e-5, 0.1, 1, 0, 0};
    for (int k = 0; k < 6; k++) {
        operand x = make(REEL_SHAPE(1200, 17), REEL_F32, NULL, 1);
        for (int64_t i = 0; i < 1200 * 17; i++) ((float *)x.data)[i] = values[k];
        operand out[] = {make_like(&x, 0), channels(17, 0), channels(17, 0)};
        call_fast(reel__fast_batch_norm, &x, 1, out, 3, &a);
        for (int64_t i = 0; i < 1200 * 17; i++)
            assert_true(((float *)out[Y].data)[i] == 0);
        drop_all(out, 3);
        drop(&x);
    }
    operand x = make(REEL_SHAPE(1200, 17), REEL_F32, NULL, 1), big = make_like(&x, 1);
    for (int64_t i = 0; i < 1200 * 17; i++) ((float *)big.data)[i] *= 0x1p100f;
    operand out[] = {make_like(&x, 0), channels(17, 0), channels(17, 0)};
    operand far[] = {make_like(&x, 0), channels(17, 0), channels(17, 0)};
    const reel__batch_norm_attrs exact = {0, 0.1, 1, 0, 0};
    call_fast(reel__fast_batch_norm, &x, 1, out, 3, &exact);
    call_fast(reel__fast_batch_norm, &big, 1, far, 3, &exact);
    check_same(&far[Y], &out[Y], 1e-5, "y of huge values");
    drop_all(out, 3);
    drop_all(far, 3);
    drop(&x);
    drop(&big);
}

/* Without training a gradient does not depend on x, be it infinite. */
static void fixed_statistics_ignore_x(void **state)
{
    (void)state;
    operand in[] = {make(REEL_SHAPE(5, 17), REEL_F32, NULL, 1),
                    make(REEL_SHAPE(5, 17), REEL_F32, NULL, 2), ABSENT, channels(17, 3),
                    channels(17, 4)};
    operand gx = make_like(&in[0], 0);
    const reel__batch_norm_attrs a = {1e-5, 0.1, 0, 0, 1};
    positive(&in[4]);
    for (int i = 0; i < 5 * 17; i += 3) ((float *)in[1].data)[i] = i % 2 ? NAN : INFINITY;
    for (int ref = 0; ref < 2; ref++) {
        if (ref)
            call_ref(reel__ref_batch_norm_backward, in, 5, &gx, 1, &a);
        else
            call_fast(reel__fast_batch_norm_backward, in, 5, &gx, 1, &a);
        for (int i = 0; i < 5 * 17; i++) {
            const float *g = in[0].data, *s = in[4].data;
            check_near((double)((float *)gx.data)[i], (double)g[i] * (double)s[i % 17],
                       1e-6, "gx");
        }
    }
    drop_all(in, 5);
    drop(&gx);
}

static void nan_passes_relu(void **state)
{
    (void)state;
    operand in[] = {make(REEL_SHAPE(2, 17), REEL_F32, NULL, 1), ABSENT, ABSENT,
                    channels(17, 2), channels(17, 3)};
    operand y = make_like(&in[0], 0);
    const reel__batch_norm_attrs a = {1e-5, 0.1, 0, 1, 0};
    positive(&in[4]);
    ((float *)in[0].data)[3] = ((float *)in[0].data)[33] = NAN;
    call_fast(reel__fast_batch_norm, in, 5, &y, 1, &a);
    for (int i = 0; i < 34; i++)
        assert_int_equal(isnan(((float *)y.data)[i]), i == 3 || i == 33);
    drop_all(in, 5);
    drop(&y);
}

/* And its gradient, by the loops in f32 and those in f64, which a sum that is NaN asks for. */
static void gradients_pass_nan(void **state)
{
    (void)state;
    enum { N = 3 * 17 };
    operand in[] = {make(REEL_SHAPE(3, 17), REEL_F32, NULL, 1),
                    make(REEL_SHAPE(3, 17), REEL_F32, NULL, 2),
                    ABSENT,
                    channels(17, 3),
                    channels(17, 4),
                    make(REEL_SHAPE(3, 17), REEL_F32, NULL, 5)};
    operand out[] = {make_like(&in[0], 0), channels(17, 0), channels(17, 0),
                     make_like(&in[0], 0)};
    const float *gy = in[0].data, *y = in[5].data, *gres = out[3].data;
    positive(&in[4]);
    ((float *)in[5].data)[3] = ((float *)in[5].data)[33] = NAN;
    for (int how = 0; how < 6; how++) {
        const reel__batch_norm_attrs a = {1e-5, 0.1, how / 2 > 0, 1, 15};
        if (how / 2 == 2) ((float *)in[1].data)[3] = ((float *)in[1].data)[33] = NAN;
        if (how % 2)
            call_ref(reel__ref_batch_norm_backward, in, 6, out, 4, &a);
        else
            call_fast(reel__fast_batch_norm_backward, in, 6, out, 4, &a);
        for (int i = 0; i < N; i++) assert_true(gres[i] == (y[i] <= 0 ? 0 : gy[i]));
    }
    drop_all(in, 6);
    drop_all(out, 4);
}

static void leaves_other_layouts(void **state)
{
    (void)state;
    operand x = make(REEL_SHAPE(2, 3, 4, 5), REEL_F32, NULL, 1), y = make_like(&x, 2);
    const reel__batch_norm_attrs a = {1e-5, 0.1, 1, 0, 0};
    reel__karg in = {x.data, &x.meta}, out = {y.data, &y.meta};
    reel__kcall call = {.n_in = 1, .n_out = 1, .in = &in, .out = &out, .attrs = &a};
    reel_status status;
    assert_false(reel__fast_batch_norm(&call, &status));
    drop(&x);
    drop(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_reference),
        cmocka_unit_test(agrees_over_many_chunks),
        cmocka_unit_test(variance_survives_a_large_mean),
        cmocka_unit_test(equal_and_huge_values),
        cmocka_unit_test(fixed_statistics_ignore_x),
        cmocka_unit_test(nan_passes_relu),
        cmocka_unit_test(gradients_pass_nan),
        cmocka_unit_test(leaves_other_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
