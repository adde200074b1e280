/* fuzz_cifar.c: any batch of CIFAR-10 gives samples, or an error. A batch of its own: four
 * records, where 10,000 would be 30 MB an input. */
#define RECORDS 4
#define reel_cifar10 small_cifar10
#include "data/cifar10.c"

#include "fuzz.h"

static bool labels_are_right(const uint8_t *data)
{
    bool right = true;
    for (int i = 0; i < RECORDS; i++) right = right && data[i * RECORD] < CLASSES;
    return right;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)fuzz_file("test_batch.bin", data, size);
    reel_scope s = reel_scope_begin();
    reel_dataset *ds = small_cifar10(fuzz_folder(), REEL_TEST);
    fuzz_verdict(ds != NULL);
    if ((ds != NULL) != (size == FILE_SIZE && labels_are_right(data))) __builtin_trap();
    reel_sample sample = {0};
    for (int i = 0; ds && i < RECORDS; i++) {
        if (reel_dataset_get(ds, i, &sample) ||
            reel_dataset_label(ds, i) != data[i * RECORD])
            __builtin_trap();
        const uint8_t *pixels = sample.field[0]->data, *planes = data + i * RECORD + 1;
        for (int k = 0; k < 3 * PIXELS; k++)
            if (pixels[k] != planes[k % 3 * PIXELS + k / 3]) __builtin_trap();
    }
    reel_sample_free(&sample);
    reel_dataset_free(ds);
    fuzz_end(s);
    return 0;
}
