/* fuzz_npy.c: any file gives an array, or an error. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *t = reel_npy_load(fuzz_file("f.npy", data, size));
    fuzz_verdict(t != NULL);
    if (t) fuzz_touch(t);
    fuzz_end(s);
    return 0;
}
