/* test_npy.c: .npy files as NumPy writes them, and as it never would. */
#include <reel/io.h>

#include "temp_folder.h"

#include <reel/ops.h>

#define F "x.npy"

/* A file of version `version` with this dictionary, padded as given, and n data bytes. */
static size_t build(uint8_t *out, int version, const char *dict, const void *data,
                    size_t n)
{
    size_t length = strlen(dict), start = version > 1 ? 12 : 10;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (uint8_t)version;
    out[7] = 0;
    for (size_t i = 8; i < start; i++) out[i] = (uint8_t)(length >> 8 * (i - 8));
    memcpy(out + start, dict, length);
    memcpy(out + start + length, data, n);
    return start + length + n;
}

static void write_npy(int version, const char *dict, const void *data, size_t n)
{
    static uint8_t file[1 << 12];
    temp_write(F, file, build(file, version, dict, data, n));
}

#define DICT(descr, order, shape)                                                        \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }   \n"

static void every_dtype_comes_back(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_I64,
                                        REEL_I32, REEL_I8,  REEL_U8,  REEL_BOOL};
    reel_scope scope = reel_scope_begin();
    uint8_t bytes[48];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = i % 3 == 1;
    const reel_shape shapes[] = {REEL_SCALAR, REEL_SHAPE(3), REEL_SHAPE(2, 3),
                                 REEL_SHAPE(0, 4), REEL_SHAPE(1, 1, 1, 1, 1, 1, 2, 1)};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            reel_tensor *x = reel_from(bytes, shapes[s], dtypes[d]);
            assert_int_equal(reel_npy_save(x, temp_path(F)), REEL_OK);
            reel_tensor *y = reel_npy_load(temp_path(F));
            assert_ok();
            assert_int_equal(reel_dtype_of(y), dtypes[d]);
            reel_shape got = reel_shape_of(y);
            assert_int_equal(got.rank, shapes[s].rank);
            assert_memory_equal(got.dim, shapes[s].dim,
                                (size_t)got.rank * sizeof got.dim[0]);
            assert_memory_equal(reel_data(y), bytes,
                                (size_t)reel_numel(y) * reel_dtype_size(dtypes[d]));
        }
    reel_scope_end(scope);
}

/* What numpy.save wrote for arange(3, dtype='<i4'), byte for byte. */
static void header_is_as_numpy_writes_it(void **state)
{
    (void)state;
    const int32_t x[3] = {0, 1, 2};
    reel_scope scope = reel_scope_begin();
    assert_int_equal(reel_npy_save(reel_from(x, REEL_SHAPE(3), REEL_I32), temp_path(F)),
                     REEL_OK);
    size_t n;
    char *file = reel__file_load(temp_path(F), 1 << 20, &n);
    assert_int_equal(n, 128 + 12);
    assert_memory_equal(file,
                        "\x93NUMPY\x01\x00v\x00{'descr': '<i4', 'fortran_order': False, "
                        "'shape': (3,), }",
                        10 + 57);
    assert_int_equal(file[127], '\n');
    reel__free(file);
    reel_scope_end(scope);
}

static void versions_and_spellings_are_read(void **state)
{
    (void)state;
    const float x[6] = {0, 1, 2, 3, 4, 5};
    static const char *const dicts[] = {
        DICT("<f4", "False", "(2, 3)"),
        DICT("<f4", "False", "(2,3,)"),
        "{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}",
        "  { 'fortran_order' :False , 'shape' : ( 2 , 3 ) , 'descr' : '<f4' , }\n",
    };
    for (int version = 1; version <= 3; version++)
        for (size_t i = 0; i < 4; i++) {
            reel_scope scope = reel_scope_begin();
            write_npy(version, dicts[i], x, sizeof x);
            reel_tensor *t = reel_npy_load(temp_path(F));
            assert_ok();
            assert_int_equal(reel_size(t, 1), 3);
            assert_memory_equal(reel_data(t), x, sizeof x);
            reel_scope_end(scope);
        }
}

static void fortran_order_is_turned(void **state)
{
    (void)state;
    const float x[6] = {0, 3, 1, 4, 2, 5};
    float y[6];
    reel_scope scope = reel_scope_begin();
    write_npy(1, DICT("<f4", "True", "(2, 3)"), x, sizeof x);
    reel_tensor *t = reel_npy_load(temp_path(F));
    assert_ok();
    assert_int_equal(reel_size(t, 0), 2);
    assert_true(reel_is_contiguous(t));
    assert_int_equal(reel_read(t, y, REEL_F32), REEL_OK);
    for (int i = 0; i < 6; i++) assert_true(y[i] == (float)i);
    assert_int_equal(reel_npy_save(reel_permute(t, REEL_DIMS(1, 0)), temp_path(F)),
                     REEL_OK);
    t = reel_npy_load(temp_path(F));
    assert_ok();
    assert_memory_equal(reel_data(t), x, sizeof x);
    reel_scope_end(scope);
}

typedef struct hostile {
    const char *dict;
    size_t data;
} hostile;

static const hostile bad[] = {
    {"", 4},
    {"{", 4},
    {"{}", 4},
    {"()", 4},
    {"x" DICT("<f4", "False", "(1,)"), 4},
    {DICT("<f4", "False", "(1,)") "x", 4},
    {DICT("<f4", "False", "(1,)") "}", 4},
    {"{'descr': '<f4', 'fortran_order': False, }", 4},
    {"{'descr': '<f4', 'shape': (1,), }", 4},
    {"{'fortran_order': False, 'shape': (1,), }", 4},
    {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': '<f4',, 'fortran_order': False, 'shape': (1,)}", 4},
    {"{, 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': '<f4', 'fortran_order': False, 'fortran_order': True, 'shape': (1,)}", 4},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}", 4},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4},
    {"{'descr': '<f4\", 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': '<f4', 'fortran_order': false, 'shape': (1,)}", 4},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4},
    {"{'descr': <f4, 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4},
    {"{'a key that is far longer than any of the three': 1}", 4},
    {"{'descr': 'a type that is far longer than any there is', 'shape': (1,)}", 4},
    {DICT("<f4", "False", "1"), 4},
    {DICT("<f4", "False", "(1)"), 4},
    {DICT("<f4", "False", "[1]"), 4},
    {DICT("<f4", "False", "(1"), 4},
    {DICT("<f4", "False", "(,)"), 4},
    {DICT("<f4", "False", "(1,,)"), 4},
    {DICT("<f4", "False", "(1 1)"), 4},
    {DICT("<f4", "False", "(-1,)"), 4},
    {DICT("<f4", "False", "(+1,)"), 4},
    {DICT("<f4", "False", "(1.0,)"), 4},
    {DICT("<f4", "False", "(0x1,)"), 4},
    {DICT("<f4", "False", "(1L,)"), 4},
    {DICT("<f4", "False", "(1,1,1,1,1,1,1,1,1)"), 4},
    {DICT("<f4", "False", "(2,)"), 4},
    {DICT("<f4", "False", "(0,)"), 4},
    {DICT("<f4", "False", "(1,)"), 3},
    {DICT("<f4", "False", "(1,)"), 5},
    {DICT("<f4", "False", "(1,)"), 0},
    {DICT("<f4", "False", "(4611686018427387905,)"), 4},
    {DICT("<f4", "False", "(9223372036854775807,)"), 4},
    {DICT("<f4", "False", "(9223372036854775808,)"), 4},
    {DICT("<f4", "False", "(18446744073709551617,)"), 4},
    {DICT("<f4", "False", "(4294967296, 4294967296)"), 0},
    {DICT("<f4", "False", "(4294967297, 4294967296, 4294967296)"), 4},
    {DICT("<f4", "True", "(4294967296, 4294967296, 0)"), 4},
    {DICT("|b1", "False", "(4,)"), 4},
};

/* Types that NumPy has and reel has not. */
static const char *const foreign[] = {
    DICT(">f4", "False", "(1,)"),   DICT("<c8", "False", "(1,)"),
    DICT("<u4", "False", "(1,)"),   DICT("<i2", "False", "(2,)"),
    DICT("|S4", "False", "(1,)"),   DICT("|O", "False", "(1,)"),
    DICT("<M8[ns]", "False", "()"), DICT("f4", "False", "(1,)"),
    DICT("", "False", "(1,)"),      DICT("<", "False", "(1,)"),
    DICT("<f4 ", "False", "(1,)"),  DICT("|f4", "False", "(1,)"),
};

static void hostile_headers_are_errors(void **state)
{
    (void)state;
    static const uint8_t data[8] = {0, 1, 2, 3};
    for (int version = 1; version <= 3; version++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            write_npy(version, bad[i].dict, data, bad[i].data);
            reel_tensor *t = reel_npy_load(temp_path(F));
            if (t) print_error("accepted: %s\n", bad[i].dict);
            assert_null(t);
            assert_error(REEL_ERR_FORMAT, F);
        }
        for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
            write_npy(version, foreign[i], data, 4);
            assert_null(reel_npy_load(temp_path(F)));
            assert_error(REEL_ERR_UNSUPPORTED, F);
        }
    }
    uint8_t file[128];
    size_t n = build(file, 1, DICT("<f4", "False", "()"), data, 4);
    const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{0, 'x'}, {5, 'x'}, {6, 0}, {6, 4}, {7, 1}, {8, 255}, {9, 255}, {8, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t before = file[wrong[i].at];
        file[wrong[i].at] = wrong[i].value;
        temp_write(F, file, n);
        assert_null(reel_npy_load(temp_path(F)));
        assert_error(REEL_ERR_FORMAT, F);
        file[wrong[i].at] = before;
    }
    n = build(file, 2, "", data, 4);
    memset(file + 8, 255, 4); /* a header of 4 GB */
    temp_write(F, file, n);
    assert_null(reel_npy_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "claims a header of 4294967295 bytes");
}

static void every_cut_and_flip_is_safe(void **state)
{
    (void)state;
    uint8_t file[256];
    const float x[6] = {0, 1, 2, 3, 4, 5};
    for (int version = 1; version <= 2; version++) {
        size_t n = build(file, version, DICT("<f4", "True", "(2, 3)"), x, sizeof x);
        for (size_t k = 0; k < n; k++) {
            temp_write(F, file, k);
            assert_null(reel_npy_load(temp_path(F)));
            assert_error(REEL_ERR_FORMAT, F);
        }
        for (size_t bit = 0; bit < (n - sizeof x) * 8; bit++) {
            reel_scope scope = reel_scope_begin();
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
            temp_write(F, file, n);
            reel_tensor *t = reel_npy_load(temp_path(F));
            assert_true((t == NULL) == reel_failed());
            reel_error_clear();
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
            reel_scope_end(scope);
        }
    }
}

static void misuse_is_an_error(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    const uint16_t one = 0x3F80;
    reel_tensor *t = reel_from(&one, REEL_SHAPE(1), REEL_BF16);
    assert_int_equal(reel_npy_save(t, temp_path(F)), REEL_ERR_UNSUPPORTED);
    assert_error(REEL_ERR_UNSUPPORTED, "NumPy has no bf16");
    assert_int_equal(reel_npy_save(t, NULL), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the path is NULL");
    assert_int_equal(reel_npy_save(NULL, temp_path(F)), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the tensor is NULL");
    assert_null(reel_npy_load(NULL));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_npy_load(temp_path("absent")));
    assert_error(REEL_ERR_IO, "absent");
    assert_int_equal(mkfifo(temp_path("fifo"), 0600), 0);
    assert_null(reel_npy_load(temp_path("fifo")));
    assert_error(REEL_ERR_IO, "fifo");
    temp_write(F, "", 0);
    assert_null(reel_npy_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, F);
    reel_scope_end(scope);
}

static void each_fault_is_an_error(void **state)
{
    (void)state;
    const float x[6] = {0, 1, 2, 3, 4, 5};
    int64_t objects = reel_live_objects();
    for (int io = 0; io < 2; io++) {
        bool done = false;
        for (int64_t k = 1; !done; k++) {
            reel_scope scope = reel_scope_begin();
            write_npy(1, DICT("<f4", "True", "(2, 3)"), x, sizeof x);
            if (io)
                reel__fault_io(k, k % 2, REEL__FAULT_ENOSPC);
            else
                reel__fault_alloc(k, k % 2);
            reel_tensor *t = reel_npy_load(temp_path(F));
            if (t) reel_npy_save(t, temp_path(F));
            done = (io ? reel__fault_io_count() : reel__fault_alloc_count()) < k;
            reel__fault_io(0, false, REEL__FAULT_EIO);
            reel__fault_alloc(0, false);
            if (done) assert_ok();
            if (reel_failed())
                assert_int_equal(reel_error_status(), io ? REEL_ERR_IO : REEL_ERR_MEMORY);
            reel_error_clear();
            assert_non_null(reel_npy_load(temp_path(F))); /* the old one or the new one */
            assert_int_equal(temp_count(), 1);
            reel_scope_end(scope);
            assert_int_equal(reel_live_objects(), objects);
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(every_dtype_comes_back),
        TEST(header_is_as_numpy_writes_it),
        TEST(versions_and_spellings_are_read),
        TEST(fortran_order_is_turned),
        TEST(hostile_headers_are_errors),
        TEST(every_cut_and_flip_is_safe),
        TEST(misuse_is_an_error),
        TEST(each_fault_is_an_error),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
