/* test_checkpoint_file.c: a checkpoint is the old one or the new one, never half of one;
 * and pictures, which go through the same writer. */
#include <reel/io.h>

#include "temp_folder.h"

#include "base/crc32.h"

#define F "run.ckpt"

static reel_tensor_map *sample(float value)
{
    reel_scope scope = reel_scope_begin();
    reel_tensor_map *m = reel_tensor_map_new();
    float x[300];
    for (int i = 0; i < 300; i++) x[i] = value;
    reel_tensor_map_set(m, "layer.weight", reel_from(x, REEL_SHAPE(10, 30), REEL_F32));
    reel_tensor_map_set(m, "step", reel_from(&(int64_t){7}, REEL_SCALAR, REEL_I64));
    reel_tensor_map_set_text(m, "epoch", "3");
    reel_scope_end(scope);
    return m;
}

static float value_of(const reel_tensor_map *m)
{
    reel_tensor *t = reel_tensor_map_get(m, "layer.weight");
    return ((const float *)reel_data(t))[299];
}

static bool has_json(void)
{
    reel_tensor_map *m = reel_tensor_map_new();
    bool has = reel_tensor_map_save(m, temp_path("probe")) != REEL_ERR_UNSUPPORTED;
    reel_tensor_map_free(m);
    remove(temp_path("probe"));
    reel_error_clear();
    return has;
}
#define NEED_JSON()                                                                      \
    if (!has_json()) skip()

static void checkpoint_comes_back(void **state)
{
    (void)state;
    NEED_JSON();
    int64_t objects = reel_live_objects();
    reel_tensor_map *m = sample(1.5f);
    assert_int_equal(reel_tensor_map_save(m, temp_path(F)), REEL_OK);
    reel_tensor_map_free(m);
    m = reel_tensor_map_load(temp_path(F));
    assert_ok();
    assert_int_equal(reel_tensor_map_count(m), 2);
    assert_true(value_of(m) == 1.5f);
    assert_int_equal(reel_item_i64(reel_tensor_map_get(m, "step")), 7);
    assert_int_equal(reel_tensor_map_text_count(m),
                     1); /* the two of the format are not shown */
    assert_string_equal(reel_tensor_map_text(m, "epoch"), "3");
    reel_tensor_map_free(m);
    assert_int_equal(reel_live_objects(), objects);
}

static void damage_is_found_out(void **state)
{
    (void)state;
    NEED_JSON();
    reel_tensor_map *m = sample(1.5f);
    reel_tensor_map_save(m, temp_path(F));
    size_t n;
    char *bytes = reel__file_load(temp_path(F), 1 << 20, &n);
    for (size_t i = 0; i < n; i += i < 8 ? 1 : 5) {
        bytes[i] ^= 0x10;
        temp_write(F, bytes, n);
        reel_tensor_map *r = reel_tensor_map_load(temp_path(F));
        if (r) { /* a letter of a name or of a text */
            assert_true(i < n - 300 * 4 - 8);
            assert_true(value_of(m) == 1.5f);
            reel_tensor_map_free(r);
        } else {
            assert_true(reel_error_status() == REEL_ERR_FORMAT);
        }
        reel_error_clear();
        bytes[i] ^= 0x10;
    }
    bytes[n - 1] ^= 1;
    temp_write(F, bytes, n);
    assert_null(reel_tensor_map_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "run.ckpt is damaged: checksum");
    for (size_t k = 0; k < n; k += 7) {
        temp_write(F, bytes, k);
        assert_null(reel_tensor_map_load(temp_path(F)));
        assert_error(REEL_ERR_FORMAT, F);
    }
    reel__free(bytes);
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_OK);
    assert_null(reel_tensor_map_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "not a checkpoint of reel");
    reel_tensor_map_set_text(m, "reel.checkpoint", "99");
    reel_tensor_map_set_text(m, "reel.crc32", "0");
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_OK);
    assert_null(reel_tensor_map_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "version 99, expected 1");
    reel_tensor_map_free(m);
}

/* Every call to the system fails in turn, in each way: an error, the earlier file intact,
 * no other file left. A short write is none: it is gone on with. */
static void each_io_fault_leaves_the_old_one(void **state)
{
    (void)state;
    NEED_JSON();
    reel_tensor_map *old = sample(1.0f), *new = sample(2.0f);
    static const reel__io_fault kinds[] = {REEL__FAULT_EIO, REEL__FAULT_ENOSPC,
                                           REEL__FAULT_SHORT};
    for (int kind = 0; kind < 3; kind++)
        for (int forever = 0; forever < 2; forever++) {
            bool done = false;
            int faults = 0;
            for (int64_t k = 1; !done; k++, faults++) {
                assert_int_equal(reel_tensor_map_save(old, temp_path(F)), REEL_OK);
                reel__fault_io(k, forever, kinds[kind]);
                reel_status status = reel_tensor_map_save(new, temp_path(F));
                done = reel__fault_io_count() < k;
                reel__fault_io(0, false, REEL__FAULT_EIO);
                bool failed = status != REEL_OK;
                if (failed) assert_error(REEL_ERR_IO, F);
                if (done || kinds[kind] == REEL__FAULT_SHORT) assert_false(failed);
                reel_tensor_map *m = reel_tensor_map_load(temp_path(F));
                assert_ok();
                /* After the rename only the folder's fsync can fail: then it is the new
                 * one. */
                if (!failed)
                    assert_true(value_of(m) == 2.0f);
                else
                    assert_true(value_of(m) == 1.0f || value_of(m) == 2.0f);
                reel_tensor_map_free(m);
                assert_int_equal(temp_count(), 1);
            }
            assert_in_range(faults, 5, 40); /* open, write, fsync, close, rename, ... */
        }
    reel_tensor_map_free(old);
    reel_tensor_map_free(new);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    NEED_JSON();
    reel_tensor_map *m = sample(1.0f);
    int64_t objects = reel_live_objects();
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        reel__fault_alloc(k, k % 2);
        reel_tensor_map_save(m, temp_path(F));
        reel_tensor_map *r = reel_tensor_map_load(temp_path(F));
        done = reel__fault_alloc_count() < k;
        reel__fault_alloc(0, false);
        assert_true(done != reel_failed());
        if (!done) assert_error(REEL_ERR_MEMORY, "memory");
        reel_tensor_map_free(r);
        assert_int_equal(reel_live_objects(), objects);
    }
    reel_tensor_map_free(m);
}

static void pending_errors_save_nothing(void **state)
{
    (void)state;
    NEED_JSON();
    reel_tensor_map *m = sample(1.0f);
    reel_fail(REEL_ERR_STATE, "before");
    assert_int_equal(reel_tensor_map_save(m, temp_path(F)), REEL_ERR_STATE);
    assert_int_equal(reel_npy_save(reel_tensor_map_at(m, 0), temp_path(F)),
                     REEL_ERR_STATE);
    assert_int_equal(reel_png_save((const uint8_t *)"x", 1, 1, 1, temp_path(F)),
                     REEL_ERR_STATE);
    assert_null(reel_tensor_map_load(temp_path(F)));
    assert_null(reel_npy_load(temp_path(F)));
    assert_error(REEL_ERR_STATE, "before");
    assert_int_equal(temp_count(), 0);
    reel_tensor_map_free(m);
}

/* ---- checksum and pictures --------------------------------------------------------- */

static void crc32_is_the_known_one(void **state)
{
    (void)state;
    assert_int_equal(reel__crc32(0, "123456789", 9), 0xCBF43926);
    assert_int_equal(reel__crc32(0, "", 0), 0);
    char text[100];
    for (int i = 0; i < 100; i++) text[i] = (char)(i * 37);
    for (size_t k = 0; k <= 100; k++)
        assert_int_equal(reel__crc32(reel__crc32(0, text, k), text + k, 100 - k),
                         reel__crc32(0, text, 100));
}

static void picture_has_the_bytes_of_a_png(void **state)
{
    (void)state;
    const uint8_t pixels[2 * 1 * 3] = {1, 2, 3, 4, 5, 6};
    assert_int_equal(reel_png_save(pixels, 2, 1, 3, temp_path("p.png")), REEL_OK);
    size_t n;
    char *file = reel__file_load(temp_path("p.png"), 1 << 20, &n);
    /* signature, IHDR (25), IDAT (12 + 2 + 5 + 8 + 4), IEND (12) */
    assert_int_equal(n, 8 + 25 + 31 + 12);
    assert_memory_equal(
        file, "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\1\0\0\0\2\x08\2\0\0\0", 29);
    assert_memory_equal(file + 33,
                        "\0\0\0\x13IDAT\x78\x01\x01\x08\0\xf7\xff\0\1\2\3\0\4\5\6", 23);
    /* adler32 of 0 1 2 3 0 4 5 6: 22 and 70 */
    assert_memory_equal(file + 56, "\0\x46\0\x16", 4);
    assert_memory_equal(file + 64, "\0\0\0\0IEND\xae\x42\x60\x82", 12);
    reel__free(file);
}

static void picture_refuses(void **state)
{
    (void)state;
    const uint8_t pixel = 1;
    const int bad[][3] = {{0, 1, 1},  {1, 0, 1},     {1, 1, 0},        {1, 1, 5},
                          {-1, 1, 1}, {65536, 1, 1}, {65535, 65535, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            reel_png_save(&pixel, bad[i][0], bad[i][1], bad[i][2], temp_path("p")),
            REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "png_save");
    }
    assert_int_equal(reel_png_save(&pixel, 1, 1, 1, NULL), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the path is NULL");
    assert_int_equal(reel_png_save(NULL, 1, 1, 1, temp_path("p")), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "pixels is NULL");
    assert_int_equal(reel_png_save(&pixel, 1, 1, 1, temp_path("no/p")), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "no/p");
    assert_int_equal(temp_count(), 0);
    for (int64_t k = 1; k < 12; k++) {
        reel__fault_io(k, false, REEL__FAULT_ENOSPC);
        reel_status status = reel_png_save(&pixel, 1, 1, 1, temp_path("p"));
        reel__fault_io(0, false, REEL__FAULT_EIO);
        assert_int_equal(reel_error_status(), status);
        reel_error_clear();
        remove(temp_path("p"));
        assert_int_equal(temp_count(), 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(checkpoint_comes_back),
        TEST(damage_is_found_out),
        TEST(each_io_fault_leaves_the_old_one),
        TEST(each_allocation_may_fail),
        TEST(pending_errors_save_nothing),
        TEST(crc32_is_the_known_one),
        TEST(picture_has_the_bytes_of_a_png),
        TEST(picture_refuses),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
