/* test_transform.c: crop, flip, normalize, cutout, resize, chains, and ones of a user. */
#include <reel/data.h>
#include <reel/ops.h>

#include "temp_folder.h"

#include "data/image.h"
#include <math.h>

/* An image [h, w, 2] with row + 1 in channel 0 and column + 1 in channel 1. */
static void ramp(reel_sample *s, reel_dtype dtype, int64_t h, int64_t w)
{
    reel_sample_clear(s);
    void *p = reel_sample_add(s, "x", REEL_IMAGE, REEL_SHAPE(h, w, 2), dtype);
    for (int64_t i = 0; i < h * w * 2; i++) {
        int64_t v = 1 + (i % 2 ? i / 2 % w : i / 2 / w);
        if (dtype == REEL_U8)
            ((uint8_t *)p)[i] = (uint8_t)v;
        else
            ((float *)p)[i] = (float)v;
    }
}

static double at(const reel_sample *s, int64_t y, int64_t x, int64_t c)
{
    const reel_field *f = s->field[0];
    int64_t i = (y * f->shape.dim[1] + x) * f->shape.dim[2] + c;
    return f->dtype == REEL_U8 ? ((const uint8_t *)f->data)[i]
                               : (double)((const float *)f->data)[i];
}

static void apply(reel_transform *t, reel_sample *s, uint64_t index)
{
    reel_draw d = reel_draw_at(3, 0, index);
    assert_int_equal(reel_transform_apply(t, s, &d), REEL_OK);
    assert_ok();
}

/* Each crop is a window of the padded image, and every window comes up. */
static void crop_is_a_window(void **state)
{
    (void)state;
    reel_transform *t = reel_transform_random_crop(5, 2);
    reel_sample s = {0};
    bool seen[5][6] = {0};
    for (uint64_t k = 0; k < 600; k++) {
        reel_dtype dtype = k % 2 ? REEL_U8 : REEL_F32;
        ramp(&s, dtype, 5, 6);
        apply(t, &s, k);
        assert_int_equal(s.field[0]->dtype, dtype);
        assert_int_equal(s.field[0]->shape.dim[0], 5);
        assert_int_equal(s.field[0]->shape.dim[1], 5);
        int top = 99, left = 99; /* found by the first pixel that is not padding */
        for (int y = 0; y < 5 && top == 99; y++)
            for (int x = 0; x < 5 && top == 99; x++)
                if (at(&s, y, x, 0) > 0) {
                    top = (int)at(&s, y, x, 0) - 1 - y;
                    left = (int)at(&s, y, x, 1) - 1 - x;
                }
        assert_in_range(top + 2, 0, 4);
        assert_in_range(left + 2, 0, 5);
        seen[top + 2][left + 2] = true;
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 5; x++) {
                int r = top + y, c = left + x;
                bool inside = r >= 0 && r < 5 && c >= 0 && c < 6;
                assert_true(at(&s, y, x, 0) == (inside ? r + 1 : 0));
                assert_true(at(&s, y, x, 1) == (inside ? c + 1 : 0));
            }
    }
    for (int i = 0; i < 30; i++) assert_true(seen[i / 6][i % 6]);
    ramp(&s, REEL_U8, 5, 6);
    apply(t, &s, 1);
    reel_transform_free(t);
    t = reel_transform_random_crop(8, 1);
    ramp(&s, REEL_U8, 5, 6);
    reel_draw d = reel_draw_at(0, 0, 0);
    assert_int_equal(reel_transform_apply(t, &s, &d), REEL_ERR_SHAPE);
    assert_error(REEL_ERR_SHAPE,
                 "image 5x6 with 1 of padding is smaller than the crop 8x8");
    reel_transform_free(t);
    reel_sample_free(&s);
}

static void flip_mirrors_some(void **state)
{
    (void)state;
    reel_transform *t = reel_transform_random_hflip(0.25f);
    reel_sample s = {0};
    int flipped = 0;
    for (uint64_t k = 0; k < 2000; k++) {
        ramp(&s, k % 2 ? REEL_U8 : REEL_F32, 3, 4);
        apply(t, &s, k);
        bool f = at(&s, 0, 0, 1) == 4;
        flipped += f;
        for (int y = 0; y < 3; y++)
            for (int x = 0; x < 4; x++) {
                assert_true(at(&s, y, x, 0) == y + 1);
                assert_true(at(&s, y, x, 1) == (f ? 4 - x : x + 1));
            }
    }
    assert_in_range(flipped, 420, 580);
    reel_transform_free(t);
    reel_sample_free(&s);
}

static void cutout_zeroes_a_square(void **state)
{
    (void)state;
    reel_transform *t = reel_transform_cutout(3);
    reel_sample s = {0};
    int most = 0, least = 99;
    for (uint64_t k = 0; k < 500; k++) {
        ramp(&s, k % 2 ? REEL_U8 : REEL_F32, 6, 7);
        apply(t, &s, k);
        int zeros = 0;
        for (int i = 0; i < 42; i++) {
            bool zero = at(&s, i / 7, i % 7, 0) == 0;
            assert_true(zero == (at(&s, i / 7, i % 7, 1) == 0));
            if (!zero) assert_true(at(&s, i / 7, i % 7, 0) == i / 7 + 1);
            zeros += zero;
        }
        most = zeros > most ? zeros : most;
        least = zeros < least ? zeros : least;
    }
    assert_int_equal(most, 9);
    assert_int_equal(least, 4); /* in a corner */
    reel_transform_free(t);
    reel_sample_free(&s);
}

static void normalize_is_exact(void **state)
{
    (void)state;
    const float mean[2] = {0.4f, 3.0f}, std[2] = {0.2f, 2.0f};
    reel_transform *t = reel_transform_normalize(mean, std, 2);
    reel_sample s = {0};
    for (int is_u8 = 0; is_u8 < 2; is_u8++) {
        ramp(&s, is_u8 ? REEL_U8 : REEL_F32, 3, 4);
        apply(t, &s, 0);
        assert_int_equal(s.field[0]->dtype, REEL_F32);
        for (int i = 0; i < 12; i++)
            for (int c = 0; c < 2; c++) {
                float v = (float)(c ? i % 4 + 1 : i / 4 + 1);
                float want = ((is_u8 ? v / 255.0f : v) - mean[c]) / std[c];
                assert_true(fabs(at(&s, i / 4, i % 4, c) - (double)want) < 1e-6);
            }
    }
    reel_transform_free(t);
    t = reel_transform_normalize(mean, std, 1);
    reel_draw d = reel_draw_at(0, 0, 0);
    assert_int_equal(reel_transform_apply(t, &s, &d), REEL_ERR_SHAPE);
    assert_error(REEL_ERR_SHAPE, "2 channels, mean and std have 1");
    reel_transform_free(t);
    reel_sample_free(&s);
}

/* After it, every column has mean 0 and deviation 1, and a constant is 0. */
static void standardize_measures_the_data(void **state)
{
    (void)state;
    enum { N = 50, COLUMNS = 30 };
    float x[N][COLUMNS];
    reel_draw d = reel_draw_at(1, 0, 0);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < COLUMNS; k++)
            x[i][k] = k == 7 ? 1e6f : 1e4f + (float)k * reel_draw_f32(&d);
    reel_dataset *ds = reel_arrays_n(
        &(reel_array){.name = "x", .tensor = reel_from(x, REEL_SHAPE(N, COLUMNS), 0)}, 1);
    reel_transform *t = reel_transform_standardize(ds);
    assert_ok();
    double sum[COLUMNS] = {0}, squares[COLUMNS] = {0};
    reel_sample s = {0};
    for (int i = 0; i < N; i++) {
        assert_int_equal(reel_dataset_get(ds, i, &s), REEL_OK);
        apply(t, &s, 0);
        for (int k = 0; k < COLUMNS; k++) {
            double v = (double)((const float *)s.field[0]->data)[k];
            sum[k] += v / N, squares[k] += v * v / N;
        }
    }
    for (int k = 1; k < COLUMNS; k++) {
        assert_true(fabs(sum[k]) < 2e-3);
        assert_true(fabs(squares[k] - (k == 7 ? 0 : 1)) < 2e-3);
    }
    reel_transform_free(t);
    reel_dataset_free(ds);

    /* Bytes are measured as what they become. */
    uint8_t bytes[] = {0, 255, 255, 0};
    ds = reel_arrays_n(
        &(reel_array){.name = "x",
                      .tensor = reel_from(bytes, REEL_SHAPE(2, 1, 1, 2), REEL_U8),
                      .kind = REEL_IMAGE},
        1);
    t = reel_transform_standardize(ds);
    assert_int_equal(reel_dataset_get(ds, 0, &s), REEL_OK);
    apply(t, &s, 0);
    assert_true(((const float *)s.field[0]->data)[0] == -1.0f);
    assert_true(((const float *)s.field[0]->data)[1] == 1.0f);
    reel_transform_free(t);
    reel_dataset_free(ds);
    reel_sample_free(&s);
    reel_scope_end(0);
}

/* An image and its mask stay together, whatever their dtypes; classes do not mix. */
static void all_images_move_alike(void **state)
{
    (void)state;
    reel_transform *moves[] = {reel_transform_random_crop(4, 1),
                               reel_transform_random_hflip(0.5f),
                               reel_transform_resize(9, 4), reel_transform_resize(3, 5)};
    for (uint64_t k = 0; k < 200; k++) {
        reel_sample s = {0};
        float *x = reel_sample_add(&s, "x", REEL_IMAGE, REEL_SHAPE(5, 6, 1), REEL_F32);
        int64_t *mask =
            reel_sample_add(&s, "mask", REEL_IMAGE, REEL_SHAPE(5, 6), REEL_I64);
        assert_int_equal(reel_sample_label(&s, 3), REEL_OK);
        for (int i = 0; i < 30; i++) mask[i] = 100 + i, x[i] = (float)(100 + i);
        apply(moves[k % 2], &s, k); /* a crop or a flip: pixel for pixel */
        const reel_field *f = reel_sample_field(&s, "x"),
                         *m = reel_sample_field(&s, "mask");
        assert_int_equal(m->shape.rank, 2);
        assert_int_equal(m->shape.dim[0], f->shape.dim[0]);
        assert_int_equal(m->shape.dim[1], f->shape.dim[1]);
        for (int64_t i = 0; i < m->shape.dim[0] * m->shape.dim[1]; i++)
            assert_true((float)((const int64_t *)m->data)[i] ==
                        ((const float *)f->data)[i]);
        apply(moves[2 + k % 2], &s, k);
        assert_int_equal(m->shape.dim[0], k % 2 ? 3 : 9);
        for (int64_t i = 0; i < m->shape.dim[0] * m->shape.dim[1]; i++) {
            int64_t c = ((const int64_t *)m->data)[i];
            assert_true(c == 0 ||
                        (c >= 100 && c < 130)); /* one that was there, or padding */
        }
        reel_sample_free(&s);
    }
    for (int i = 0; i < 4; i++) reel_transform_free(moves[i]);
    /* Images of unequal size cannot be cropped alike. */
    reel_sample s = {0};
    reel_draw d = reel_draw_at(0, 0, 0);
    memset(reel_sample_add(&s, "x", REEL_IMAGE, REEL_SHAPE(5, 6, 1), REEL_U8), 0, 30);
    memset(reel_sample_add(&s, "y", REEL_IMAGE, REEL_SHAPE(5, 5), REEL_U8), 0, 25);
    reel_transform *t = reel_transform_random_crop(4, 0);
    assert_int_equal(reel_transform_apply(t, &s, &d), REEL_ERR_SHAPE);
    assert_error(REEL_ERR_SHAPE, "image \"x\" is 5x6, \"y\" is 5x5");
    reel_transform_free(t);
    reel_sample_free(&s);
}

/* Against the definition: a constant stays, halving is the mean of a tent, doubling is
 * linear between centres. */
static void resize_is_bilinear(void **state)
{
    (void)state;
    const float x[4] = {0, 10, 20, 60};
    float y[8];
    assert_int_equal(reel__resize(x, REEL_F32, 1, 4, 1, y, 1, 8), REEL_OK);
    const float doubled[8] = {0, 2.5f, 7.5f, 12.5f, 17.5f, 30, 50, 60};
    for (int i = 0; i < 8; i++) assert_true(fabsf(y[i] - doubled[i]) < 1e-4f);
    assert_int_equal(reel__resize(x, REEL_F32, 4, 1, 1, y, 2, 1), REEL_OK);
    /* tent of half-width 2 around 1: weights 3/4 3/4 1/4 of 7/4 */
    assert_true(fabsf(y[0] - (0 * 3 + 10 * 3 + 20 * 1) / 7.0f) < 1e-4f);
    assert_true(fabsf(y[1] - (10 * 1 + 20 * 3 + 60 * 3) / 7.0f) < 1e-4f);

    reel_sample s = {0};
    reel_transform *t = reel_transform_resize(9, 4);
    uint8_t *p = reel_sample_add(&s, "x", REEL_IMAGE, REEL_SHAPE(5, 31, 3), REEL_U8);
    memset(p, 255, 5 * 31 * 3);
    apply(t, &s, 0);
    assert_int_equal(s.field[0]->shape.dim[0], 9);
    assert_int_equal(s.field[0]->shape.dim[1], 4);
    for (int i = 0; i < 9 * 4 * 3; i++)
        assert_int_equal(((const uint8_t *)s.field[0]->data)[i], 255);
    const void *same = s.field[0]->data;
    apply(t, &s, 0); /* nothing to do */
    assert_ptr_equal(s.field[0]->data, same);
    reel_transform_free(t);
    reel_sample_free(&s);
}

static reel_status add_one(void *self, reel_sample *s, reel_draw *d)
{
    (void)d;
    ++*(int *)self;
    uint8_t *out = reel_field_out(s->field[0], REEL_SHAPE(1), REEL_U8);
    if (out) *out = (uint8_t) * (int *)self;
    return reel_error_status();
}
static reel_status fail_silently(void *self, reel_sample *s, reel_draw *d)
{
    (void)self, (void)s, (void)d;
    return REEL_ERR_STATE;
}
static int freed;
static void count_free(void *self)
{
    (void)self;
    freed++;
}

static void chains_own_their_parts(void **state)
{
    (void)state;
    int calls = 0;
    freed = 0;
    reel_sample s = {0};
    assert_non_null(reel_sample_add(&s, "x", REEL_ARRAY, REEL_SHAPE(1), REEL_U8));
    reel_transform *one = reel_transform_new(add_one, &calls, count_free);
    reel_transform *t = reel_transform_compose(reel_transform_keep(one),
                                               reel_transform_compose(one, NULL), NULL);
    apply(t, &s, 0);
    assert_int_equal(calls, 2);
    assert_int_equal(*(const uint8_t *)s.field[0]->data, 2);
    reel_transform_free(t);
    assert_int_equal(freed, 1);

    t = reel_transform_compose(reel_transform_new(add_one, &calls, count_free),
                               reel_transform_new(fail_silently, NULL, count_free),
                               reel_transform_new(add_one, &calls, count_free));
    reel_draw d = reel_draw_at(0, 0, 0);
    calls = 0;
    assert_int_equal(reel_transform_apply(t, &s, &d), REEL_ERR_STATE);
    assert_int_equal(calls, 1);
    assert_error(REEL_ERR_STATE, "without saying why");
    reel_transform_free(t);
    assert_int_equal(freed, 4);

    /* A part that could not be made takes the others with it, and is the error. */
    assert_null(reel_transform_compose(reel_transform_new(add_one, &calls, count_free),
                                       reel_transform_random_crop(-1, 0),
                                       reel_transform_random_hflip(0.5f)));
    assert_error(REEL_ERR_ARG, "transform_random_crop: size -1");
    assert_int_equal(freed, 5);
    reel_sample_free(&s);
}

static void transforms_refuse(void **state)
{
    (void)state;
    const float good[2] = {1, 1}, zero[2] = {1, 0}, nan[2] = {NAN, 1};
    assert_null(reel_transform_random_crop(4, -1));
    assert_error(REEL_ERR_ARG, "padding -1");
    assert_null(reel_transform_random_hflip(1.5f));
    assert_error(REEL_ERR_ARG, "1.5");
    assert_null(reel_transform_random_hflip(NAN));
    assert_error(REEL_ERR_ARG, "nan");
    assert_null(reel_transform_cutout(0));
    assert_error(REEL_ERR_ARG, "size 0");
    assert_null(reel_transform_resize(0, 3));
    assert_error(REEL_ERR_ARG, "0x3");
    assert_null(reel_transform_normalize(NULL, good, 2));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_transform_normalize(good, zero, 2));
    assert_error(REEL_ERR_ARG, "channel 1 has mean 1 and std 0");
    assert_null(reel_transform_normalize(nan, good, 2));
    assert_error(REEL_ERR_ARG, "channel 0");
    assert_null(reel_transform_normalize(good, good, 65537));
    assert_error(REEL_ERR_ARG, "65537 channels");
    assert_null(reel_transform_standardize(NULL));
    assert_error(REEL_ERR_ARG, "dataset is NULL");
    assert_null(reel_transform_compose_n(NULL, 1));
    assert_error(REEL_ERR_ARG, "compose");
    assert_null(reel_transform_new(NULL, NULL, NULL));
    assert_error(REEL_ERR_ARG, "NULL");
    reel_transform_free(NULL);
    assert_null(reel_transform_keep(NULL));

    reel_transform *images_only[] = {
        reel_transform_random_crop(1, 0), reel_transform_random_hflip(0.5f),
        reel_transform_cutout(1), reel_transform_resize(2, 2)};
    reel_sample s = {0};
    reel_sample_add(&s, "x", REEL_ARRAY, REEL_SHAPE(4), REEL_F32);
    reel_draw d = reel_draw_at(0, 0, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(reel_transform_apply(images_only[i], &s, &d), REEL_ERR_SHAPE);
        assert_error(REEL_ERR_SHAPE, "has no image [h, w, c] among its 1 fields");
        assert_int_equal(reel_transform_apply(images_only[i], NULL, &d), REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "sample is NULL");
        assert_int_equal(reel_transform_apply(images_only[i], &s, NULL), REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "draw is NULL");
        reel_transform_free(images_only[i]);
    }
    assert_int_equal(reel_transform_apply(NULL, &s, &d), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "transform is NULL");
    reel_sample_free(&s);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    const float m[2] = {0, 0}, v[2] = {1, 1};
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        reel_sample s = {0};
        ramp(&s, REEL_U8, 8, 8);
        reel__fault_alloc(k, k % 2);
        reel_transform *t = reel_transform_compose(
            reel_transform_resize(9, 9), reel_transform_random_crop(8, 2),
            reel_transform_random_hflip(1), reel_transform_normalize(m, v, 2),
            reel_transform_cutout(2));
        reel_draw d = reel_draw_at(0, 0, 0);
        if (t) reel_transform_apply(t, &s, &d);
        done = reel__fault_alloc_count() < k;
        reel__fault_alloc(0, false);
        assert_true(done != reel_failed());
        if (!done) assert_error(REEL_ERR_MEMORY, "memory");
        reel_transform_free(t);
        reel_sample_free(&s);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(crop_is_a_window),
        TEST(flip_mirrors_some),
        TEST(cutout_zeroes_a_square),
        TEST(normalize_is_exact),
        TEST(standardize_measures_the_data),
        TEST(all_images_move_alike),
        TEST(resize_is_bilinear),
        TEST(chains_own_their_parts),
        TEST(transforms_refuse),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
