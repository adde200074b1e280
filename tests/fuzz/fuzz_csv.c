/* fuzz_csv.c: any bytes as a table: a data set of finite numbers or NaN, or an error. The first
 * byte chooses the options. */
#include "fuzz.h"

#include <math.h>

static void read_all(reel_dataset *ds, bool labels)
{
    reel_sample sample = {0};
    for (int64_t i = 0; i < reel_dataset_length(ds); i++) {
        if (reel_dataset_get(ds, i, &sample)) __builtin_trap();
        const reel_field *x = reel_sample_field(&sample, "x");
        for (int64_t k = 0; k < x->shape.dim[0]; k++)
            if (isinf(((const float *)x->data)[k])) __builtin_trap();
        if (labels && reel_dataset_label(ds, i) >= reel_dataset_classes(ds))
            __builtin_trap();
    }
    reel_sample_free(&sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    reel_csv_opts opts = {.labels = data[0] & 1,
                          .no_header = data[0] & 2,
                          .missing = (reel_csv_missing)((data[0] >> 2) % 3),
                          .separator = data[0] & 32 ? ';' : 0};
    const char *path = fuzz_file("t.csv", data + 1, size - 1);
    reel_scope s = reel_scope_begin();
    reel_dataset *ds = reel_csv(path, &opts);
    if (reel_error_status() == REEL_ERR_ARG)
        reel_error_clear(); /* one column: no x */
    else
        fuzz_verdict(ds != NULL);
    if (ds) read_all(ds, opts.labels);
    reel_dataset_free(ds);
    fuzz_end(s);
    return 0;
}
