/* fuzz_image.c: any bytes give an image of the size that they say, or an error. */
#include "fuzz.h"

#include "base/alloc.h"
#include "data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t h = 0, w = 0, height = 0, width = 0;
    reel_scope s = reel_scope_begin();
    bool sized = !reel__image_size("f", data, size, &h, &w);
    fuzz_verdict(sized);
    for (int channels = 1; channels <= 3; channels += 2) {
        uint8_t *pixels =
            reel__image_decode("f", data, size, channels, 1 << 18, &height, &width);
        fuzz_verdict(pixels != NULL);
        if (pixels && (!sized || h != height || w != width)) __builtin_trap();
        unsigned sum = 0;
        for (int64_t i = 0; pixels && i < h * w * channels; i++) sum += pixels[i];
        fuzz_sink = sum;
        reel__free(pixels);
    }
    fuzz_end(s);
    return 0;
}
