/* test_unet.c: the example cleans images: by the picture that it writes, what comes out is
 * nearer to the drawn images than what goes in. It exports, and leaves nothing. */
#define main unet_main
#include "../examples/unet.c"
#undef main

#include "temp_folder.h"

#include <unistd.h>

#include "data/image.h"

enum { SIDE = 32, CELL = SIDE + 2, COLUMNS = 8 };

/* Mean squared difference of rows a and b of the picture, in units of 255. */
static double difference(const uint8_t *picture, int64_t width, int a, int b)
{
    double sum = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 2; x < 2 + COLUMNS * CELL; x++)
            for (int c = 0; c < 3; c++) {
                double d = picture[((2 + a * CELL + y) * width + x) * 3 + c] -
                           picture[((2 + b * CELL + y) * width + x) * 3 + c];
                sum += d * d / (SIDE * COLUMNS * SIDE * 3);
            }
    return sum;
}

static void it_cleans(void **state)
{
    (void)state;
    char before[512], *argv[] = {"unet", "5", "160", NULL};
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(temp_root), 0);
    assert_int_equal(unet_main(3, argv), 0);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(reel_live_objects(), 0);

    reel_graph *g = reel_onnx_load(temp_path("unet.onnx"), NULL);
    assert_non_null(g);
    reel_graph_free(g);
    size_t size;
    char *file = reel__file_load(temp_path("unet.png"), 1 << 20, &size);
    int64_t h, w;
    uint8_t *picture =
        reel__image_decode("unet.png", (const uint8_t *)file, size, 3, 1 << 20, &h, &w);
    reel__free(file);
    if (reel_error_status() == REEL_ERR_UNSUPPORTED) { /* a build without stb_image */
        reel_error_clear();
        return;
    }
    assert_non_null(picture);
    assert_int_equal(h, 2 + 3 * CELL);
    assert_int_equal(w, 2 + COLUMNS * CELL);
    double noisy = difference(picture, w, 0, 2), cleaned = difference(picture, w, 1, 2);
    assert_true(noisy > 1000);
    assert_true(cleaned < 0.6 * noisy);
    reel__free(picture);
    assert_int_equal(reel_live_objects(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(it_cleans, temp_clean)};
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
