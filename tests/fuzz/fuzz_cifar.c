/* fuzz_cifar.c: a batch of CIFAR-10 in which bytes were changed, or which has another size.
 * Inputs would have 30 MB: they are changes instead, of four bytes each, three of place and one
 * of value; a place behind the last record sets the size to it. */
#include "fuzz.h"

enum { RECORD = 3073, RECORDS = 10000, SIZE = RECORD * RECORDS };

static FILE *batch(void)
{
    static FILE *f;
    if (f) return f;
    f = fopen(fuzz_path("test_batch.bin"), "w+b");
    if (!f || ftruncate(fileno(f), SIZE)) abort(); /* zeros: black airplanes */
    return f;
}

static int64_t place_of(const uint8_t *change)
{
    return 2 * (change[0] | change[1] << 8 | change[2] << 16);
}

/* Makes the changes, or takes them back. Whether a label is wrong. */
static bool change(const uint8_t *data, size_t size, bool back)
{
    const int fd = fileno(batch());
    int64_t length = SIZE;
    bool wrong = false;
    for (size_t i = 0; i + 4 <= size; i += 4) {
        int64_t place = place_of(data + i);
        uint8_t value = back ? 0 : data[i + 3];
        if (place >= SIZE)
            length = place;
        else if (pwrite(fd, &value, 1, place) != 1)
            abort();
        wrong = wrong || (place < SIZE && place % RECORD == 0 && value > 9);
    }
    if (ftruncate(fd, back ? SIZE : length)) abort();
    return wrong || length != SIZE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 64) return 0;
    bool wrong = change(data, size, false);
    reel_scope s = reel_scope_begin();
    reel_dataset *ds = reel_cifar10(fuzz_folder(), REEL_TEST);
    fuzz_verdict(ds != NULL);
    /* a later change of one place may have made it right */
    if (!ds && !wrong) __builtin_trap();
    reel_sample sample = {0};
    for (size_t i = 0; ds && i + 4 <= size; i += 4) {
        int64_t place = place_of(data + i);
        if (place >= SIZE) continue;
        if (reel_dataset_get(ds, place / RECORD, &sample)) __builtin_trap();
        if (sample.label < 0 || sample.label > 9) __builtin_trap();
    }
    reel_sample_free(&sample);
    reel_dataset_free(ds);
    fuzz_end(s);
    (void)change(data, size, true);
    return 0;
}
