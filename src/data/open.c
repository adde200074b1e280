/* open.c: recognizes a data set by what lies in its folder. */
#include <reel/data.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "data/paths.h"

static bool has_cifar10(const char *dir)
{
    return reel__is_there(dir, "cifar-10-batches-bin") ||
           reel__is_there(dir, "data_batch_1.bin") ||
           reel__is_there(dir, "test_batch.bin");
}

static reel_dataset *open_images(const char *dir, const char *part_name,
                                 const reel_image_opts *opts)
{
    reel_image_opts o = *opts;
    char *train = reel__path_join(dir, "train");
    char *part = train ? reel__path_join(dir, part_name) : NULL;
    o.class_dir = train; /* so that both parts number the classes alike */
    reel_dataset *ds = part ? reel_image_folder(part, &o) : NULL;
    reel__free(train);
    reel__free(part);
    return ds;
}

reel_dataset *reel_open_data(const char *dir, reel_part part, const reel_image_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    const reel_image_opts *o = REEL__OPTS("open_data", reel_image_opts, opts);
    if (!o) return NULL;
    if (!dir || (part != REEL_TRAIN && part != REEL_TEST)) {
        reel_fail(REEL_ERR_ARG,
                  "open_data: %s, part %d, expected REEL_TRAIN or REEL_TEST",
                  dir ? dir : "the folder is NULL", (int)part);
        return NULL;
    }
    if (!reel__is_folder(dir)) {
        reel_fail(REEL_ERR_IO, "open_data: %s is not a folder that can be read", dir);
        return NULL;
    }
    if (has_cifar10(dir)) return reel_cifar10(dir, part);

    const char *other = reel__is_there(dir, "test") ? "test" : "val";
    if (reel__is_there(dir, "train") && reel__is_there(dir, other))
        return open_images(dir, part == REEL_TRAIN ? "train" : other, o);
    reel_fail(
        REEL_ERR_FORMAT,
        "open_data: nothing known in %s; looked for cifar-10-batches-bin/, "
        "data_batch_1.bin and test_batch.bin (CIFAR-10, binary version), or the folders "
        "train/ and test/ (or val/) with one folder of .jpg or .png files a class",
        dir);
    return NULL;
}
