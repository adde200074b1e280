/* cifar10.c: the binary version of CIFAR-10: files of 10,000 records, each one label byte
 * and then 1,024 bytes each of red, green and blue. */
#include <reel/data.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/file.h"
#include "data/memory.h"
#include "data/paths.h"

#define SIDE 32
#define PIXELS (SIDE * SIDE)
#define RECORD (1 + 3 * PIXELS)
#ifndef RECORDS       /* the fuzz target makes it less */
#define RECORDS 10000 /* a file */
#endif
#define FILE_SIZE ((int64_t)RECORD * RECORDS)
#define CLASSES 10

static const char *const class_names[CLASSES] = {
    "airplane", "automobile", "bird",  "cat",  "deer",
    "dog",      "frog",       "horse", "ship", "truck"};
static const char *const train_files[] = {"data_batch_1.bin", "data_batch_2.bin",
                                          "data_batch_3.bin", "data_batch_4.bin",
                                          "data_batch_5.bin"};
static const char *const test_files[] = {"test_batch.bin"};

/* Planes to pixels: the samples of reel are [h, w, c]. */
static reel_status unpack(const char *path, const uint8_t *record, uint8_t *pixels,
                          int64_t *labels)
{
    for (int i = 0; i < RECORDS; i++, record += RECORD, pixels += 3 * PIXELS) {
        if (record[0] >= CLASSES)
            return reel_fail(REEL_ERR_FORMAT,
                             "cifar10: %s: record %d has label %d, expected 0 to %d",
                             path, i, record[0], CLASSES - 1);
        labels[i] = record[0];
        for (int p = 0; p < PIXELS; p++)
            for (int c = 0; c < 3; c++) pixels[3 * p + c] = record[1 + c * PIXELS + p];
    }
    return REEL_OK;
}

static reel_status read_batch(const char *path, uint8_t *pixels, int64_t *labels)
{
    reel__file f;
    if (reel__file_open(&f, path, INT64_MAX)) return reel_error_status();
    uint8_t *bytes = NULL;
    if (f.size != FILE_SIZE)
        reel_fail(REEL_ERR_FORMAT,
                  "cifar10: %s has %lld bytes, expected %lld (%d records of %d)", path,
                  (long long)f.size, (long long)FILE_SIZE, RECORDS, RECORD);
    else
        bytes = reel__malloc((size_t)FILE_SIZE);
    if (bytes && !reel__file_read(&f, 0, bytes, (size_t)FILE_SIZE))
        unpack(path, bytes, pixels, labels);
    reel__free(bytes);
    reel__file_close(&f);
    return reel_error_status();
}

static reel__memory_data *read_all(const char *dir, const char *const *files, int n)
{
    reel__memory_data *m = reel__memory_images("cifar10", (int64_t)n * RECORDS,
                                               (reel_shape){3, {SIDE, SIDE, 3}});
    if (!m) return NULL;
    for (int i = 0; i < n && !reel_failed(); i++) {
        char *path = reel__path_join(dir, files[i]);
        size_t at = (size_t)i * RECORDS;
        if (path)
            read_batch(path, reel__memory_pixels(m) + at * 3 * PIXELS,
                       reel__memory_labels(m) + at);
        reel__free(path);
    }
    m->classes = CLASSES;
    m->class_names = class_names;
    if (!reel_failed()) return m;
    reel__memory_data_free(m);
    return NULL;
}

reel_dataset *reel_cifar10(const char *dir, reel_part part)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (!dir || (part != REEL_TRAIN && part != REEL_TEST)) {
        reel_fail(REEL_ERR_ARG, "cifar10: %s, part %d, expected REEL_TRAIN or REEL_TEST",
                  dir ? dir : "the folder is NULL", (int)part);
        return NULL;
    }
    char *below = reel__path_join(dir, "cifar-10-batches-bin");
    if (!below) return NULL;
    const char *where = reel__is_folder(below) ? below : dir;
    reel__memory_data *m = part == REEL_TRAIN ? read_all(where, train_files, 5)
                                              : read_all(where, test_files, 1);
    reel__free(below);
    return m ? reel__memory_dataset(m) : NULL;
}
