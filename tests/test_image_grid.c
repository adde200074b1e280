/* test_image_grid.c: every pixel of the picture is the one of the image whose place it is. */
#include <reel/data.h>
#include <reel/io.h>
#include <reel/ops.h>

#include "temp_folder.h"

#include <math.h>

#include "data/image.h"

/* The picture's pixels, which the caller frees; NULL in a build without stb_image. */
static uint8_t *decode(int channels, int64_t *h, int64_t *w)
{
    size_t size;
    char *file = reel__file_load(temp_path("g.png"), 1 << 24, &size);
    assert_non_null(file);
    uint8_t *pixels =
        reel__image_decode("g.png", (const uint8_t *)file, size, channels, 1 << 24, h, w);
    reel__free(file);
    if (reel_error_status() == REEL_ERR_UNSUPPORTED) reel_error_clear();
    assert_ok();
    return pixels;
}

static uint8_t want(float v, double low, double high)
{
    double share = ((double)v - low) / (high - low);
    if (isnan(share) || share < 0) return 0;
    return share > 1 ? 255 : (uint8_t)floor(255 * share + 0.5);
}

static void any_grid_shows_its_images(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        reel_draw d = reel_draw_at(seed, 0, 0);
        int64_t n = 1 + reel_draw_below(&d, 9), c = reel_draw_below(&d, 2) ? 3 : 1;
        int64_t h = 1 + reel_draw_below(&d, 6), w = 1 + reel_draw_below(&d, 6);
        bool bytes = reel_draw_below(&d, 3) == 0;
        reel_image_grid_opts o = {.columns = (int)reel_draw_below(&d, 5),
                                  .padding = (int)reel_draw_below(&d, 4),
                                  .scale = (int)reel_draw_below(&d, 3)};
        if (!bytes && reel_draw_below(&d, 2)) o.low = -1, o.high = 2.5;
        static float value[9 * 3 * 6 * 6];
        for (int64_t i = 0; i < n * c * h * w; i++) {
            value[i] =
                bytes ? (float)reel_draw_below(&d, 256) : 4 * reel_draw_f32(&d) - 2;
            if (!bytes && reel_draw_below(&d, 20) == 0) value[i] = NAN;
        }
        reel_tensor *x = reel_from(value, REEL_SHAPE(n, c, h, w), REEL_F32);
        if (bytes) x = reel_cast(x, REEL_U8);
        if (seed % 2) x = reel_transpose(reel_contiguous(reel_transpose(x, 2, 3)), 2, 3);
        assert_int_equal(reel_image_grid_save(x, temp_path("g.png"), &o), REEL_OK);

        int64_t height = 0, width = 0;
        uint8_t *pixels = decode((int)c, &height, &width);
        if (!pixels) skip();
        int64_t columns = o.columns ? o.columns : 8, pad = o.padding ? o.padding : 2;
        int64_t s = o.scale ? o.scale : 1, rows = (n + columns - 1) / columns;
        if (columns > n) columns = n, rows = 1;
        double high = o.high != 0 ? o.high : bytes ? 255 : 1;
        assert_int_equal(height, rows * (h * s + pad) + pad);
        assert_int_equal(width, columns * (w * s + pad) + pad);
        for (int64_t p = 0; p < height * width; p++) {
            int64_t y = p / width - pad, q = p % width - pad;
            int64_t r = y / (h * s + pad), k = q / (w * s + pad), i = r * columns + k;
            y -= r * (h * s + pad), q -= k * (w * s + pad);
            bool inside = y >= 0 && q >= 0 && y < h * s && q < w * s && i < n;
            for (int64_t a = 0; a < c; a++) {
                float v = inside ? value[((i * c + a) * h + y / s) * w + q / s] : 0;
                assert_int_equal(pixels[p * c + a], inside ? want(v, o.low, high) : 0);
            }
        }
        reel__free(pixels);
        reel_scope_end(0);
    }
}

static void grids_refuse(void **state)
{
    (void)state;
    const char *path = temp_path("g.png");
    reel_tensor *x = reel_zeros(REEL_SHAPE(2, 3, 4, 4), REEL_F32);
    const reel_image_grid_opts bad[] = {
        {.columns = -1}, {.padding = -1}, {.scale = -1},    {.low = 1, .high = 1},
        {.low = 1.5},    {.high = NAN},   {.scale = 65535}, {.padding = 65536}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(reel_image_grid_save(x, path, &bad[i]), REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "image_grid_save");
    }
    reel_image_grid_save(reel_zeros(REEL_SHAPE(2, 2, 4, 4), REEL_F32), path, NULL);
    assert_error(REEL_ERR_SHAPE, "rank 4 with 2 channels");
    reel_image_grid_save(reel_zeros(REEL_SHAPE(3, 4, 4), REEL_F32), path, NULL);
    assert_error(REEL_ERR_SHAPE, "rank 3");
    reel_image_grid_save(reel_zeros(REEL_SHAPE(0, 3, 4, 4), REEL_F32), path, NULL);
    assert_error(REEL_ERR_SHAPE, "[n, c, h, w]");
    reel_image_grid_save(reel_zeros(REEL_SHAPE(2, 3, 4, 4), REEL_I64), path, NULL);
    assert_error(REEL_ERR_DTYPE, "i64");
    reel_image_grid_save(x, NULL, NULL);
    assert_error(REEL_ERR_ARG, "path is NULL");
    reel_image_grid_save(NULL, path, NULL);
    assert_error(REEL_ERR_ARG, "images are NULL");
    reel_image_grid_save(x, temp_path("no/g.png"), NULL);
    assert_int_equal(reel_error_status(), REEL_ERR_IO);
    reel_error_clear();
    reel_scope_end(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(any_grid_shows_its_images, temp_clean),
        cmocka_unit_test_setup(grids_refuse, temp_clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
