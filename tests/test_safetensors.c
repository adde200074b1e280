/* test_safetensors.c: what is written is read; every other file is an error, however
 * odd. */
#include <reel/io.h>

#include "temp_folder.h"

#include <reel/ops.h>

#define F "x.safetensors"

static bool has_json(void)
{
    reel_tensor_map *m = reel_tensor_map_new();
    bool has = reel_safetensors_save(m, temp_path("probe")) != REEL_ERR_UNSUPPORTED;
    reel_tensor_map_free(m);
    remove(temp_path("probe"));
    reel_error_clear();
    return has;
}
#define NEED_JSON()                                                                      \
    if (!has_json()) skip()

/* A file of a header and `n` data bytes 0, 1, 2, ... */
static void write_file(const char *header, size_t header_size, size_t n)
{
    static uint8_t bytes[1 << 16];
    uint64_t size = header_size;
    assert_true(8 + header_size + n <= sizeof bytes);
    memcpy(bytes, &size, 8);
    memcpy(bytes + 8, header, header_size);
    for (size_t i = 0; i < n; i++) bytes[8 + header_size + i] = (uint8_t)i;
    temp_write(F, bytes, 8 + header_size + n);
}

/* ---- round trip -------------------------------------------------------------------- */

static const reel_dtype all_dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16, REEL_I64,
                                        REEL_I32, REEL_I8,  REEL_U8,  REEL_BOOL};
#define DTYPES (sizeof all_dtypes / sizeof *all_dtypes)

static void every_dtype_comes_back(void **state)
{
    (void)state;
    NEED_JSON();
    reel_scope scope = reel_scope_begin();
    reel_tensor_map *m = reel_tensor_map_new();
    uint8_t bytes[48];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i % 2);
    for (size_t i = 0; i < DTYPES; i++)
        reel_tensor_map_set(m, reel_dtype_name(all_dtypes[i]),
                            reel_from(bytes, REEL_SHAPE(2, 3), all_dtypes[i]));
    reel_tensor_map_set(m, "scalar", reel_from(bytes, REEL_SCALAR, REEL_F32));
    reel_tensor_map_set(m, "empty", reel_from(bytes, REEL_SHAPE(3, 0, 2), REEL_F64));
    reel_tensor_map_set(m, "größe \"x\"\n", reel_from(bytes, REEL_SHAPE(5), REEL_U8));
    reel_tensor_map_set_text(m, "epoch", "12");
    reel_tensor_map_set_text(m, "quote", "a\"b\\c\n");
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_OK);
    assert_int_equal(temp_count(), 1);

    reel_tensor_map *r = reel_safetensors_load(temp_path(F));
    assert_ok();
    assert_int_equal(reel_tensor_map_count(r), DTYPES + 3);
    for (int64_t i = 0; i < reel_tensor_map_count(m); i++) {
        reel_tensor *a = reel_tensor_map_at(m, i);
        reel_tensor *b = reel_tensor_map_get(r, reel_tensor_map_name(m, i));
        assert_string_equal(reel_tensor_map_name(r, i), reel_tensor_map_name(m, i));
        assert_non_null(b);
        assert_int_equal(reel_dtype_of(a), reel_dtype_of(b));
        assert_int_equal(reel_rank(a), reel_rank(b));
        for (int d = 0; d < reel_rank(a); d++)
            assert_int_equal(reel_size(a, d), reel_size(b, d));
        assert_memory_equal(reel_data(a), reel_data(b),
                            (size_t)reel_numel(a) * reel_dtype_size(reel_dtype_of(a)));
    }
    assert_int_equal(reel_tensor_map_text_count(r), 2);
    assert_string_equal(reel_tensor_map_text(r, "epoch"), "12");
    assert_string_equal(reel_tensor_map_text(r, "quote"), "a\"b\\c\n");
    assert_null(reel_tensor_map_text(r, "absent"));
    reel_tensor_map_free(r);
    reel_tensor_map_free(m);
    reel_scope_end(scope);
}

/* Data lie by element size, so each tensor is aligned to its own. */
static void written_tensors_are_aligned(void **state)
{
    (void)state;
    NEED_JSON();
    reel_scope scope = reel_scope_begin();
    reel_tensor_map *m = reel_tensor_map_new();
    const uint8_t bytes[64] = {1};
    reel_tensor_map_set(m, "a", reel_from(bytes, REEL_SHAPE(3), REEL_U8));
    reel_tensor_map_set(m, "b", reel_from(bytes, REEL_SHAPE(1), REEL_F64));
    reel_tensor_map_set(m, "c", reel_from(bytes, REEL_SHAPE(1), REEL_F32));
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_OK);
    size_t n;
    char *file = reel__file_load(temp_path(F), 1 << 20, &n);
    assert_int_equal(*(uint64_t *)(void *)file % 8, 0);
    assert_non_null(strstr(
        file + 8, "\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}"));
    assert_non_null(strstr(file + 8, "\"data_offsets\":[8,12]"));
    assert_non_null(strstr(file + 8, "\"data_offsets\":[12,15]"));
    reel__free(file);
    reel_tensor_map_free(m);
    reel_scope_end(scope);
}

static void strided_tensors_are_written_in_order(void **state)
{
    (void)state;
    NEED_JSON();
    reel_scope scope = reel_scope_begin();
    float x[6] = {0, 1, 2, 3, 4, 5}, y[6];
    reel_tensor_map *m = reel_tensor_map_new();
    reel_tensor *t =
        reel_permute(reel_from(x, REEL_SHAPE(2, 3), REEL_F32), REEL_DIMS(1, 0));
    reel_tensor_map_set(m, "t", t);
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_OK);
    reel_safetensors *st = reel_safetensors_open(temp_path(F));
    assert_int_equal(reel_safetensors_count(st), 1);
    assert_string_equal(reel_safetensors_name(st, 0), "t");
    assert_null(reel_safetensors_name(st, 1));
    assert_int_equal(reel_safetensors_shape(st, 0).dim[0], 3);
    reel_tensor *r = reel_safetensors_get(st, "t");
    assert_int_equal(reel_read(r, y, REEL_F32), REEL_OK);
    const float want[6] = {0, 3, 1, 4, 2, 5};
    assert_memory_equal(y, want, sizeof y);
    assert_null(reel_safetensors_get(st, "u"));
    assert_error(REEL_ERR_ARG, "no tensor \"u\"");
    reel_safetensors_close(st);
    assert_int_equal(reel_size(r, 0), 3); /* lives on */
    reel_tensor_map_free(m);
    reel_scope_end(scope);
}

static void maps_keep_their_tensors(void **state)
{
    (void)state;
    int64_t objects = reel_live_objects();
    reel_scope scope = reel_scope_begin();
    reel_tensor_map *m = reel_tensor_map_new();
    const float x[2] = {1, 2};
    reel_tensor *t = reel_from(x, REEL_SHAPE(2), REEL_F32);
    assert_int_equal(reel_tensor_map_set(m, "a", t), REEL_OK);
    assert_int_equal(reel_tensor_map_set(m, "a", t), REEL_OK); /* itself */
    assert_int_equal(reel_tensor_map_set(m, "b", reel_from(x, REEL_SHAPE(1), REEL_F32)),
                     REEL_OK);
    reel_scope_end(scope);
    assert_int_equal(reel_tensor_map_count(m), 2);
    assert_true(((float *)reel_data(reel_tensor_map_get(m, "a")))[1] == 2.0f);
    assert_null(reel_tensor_map_get(m, "c"));
    assert_null(reel_tensor_map_get(NULL, "a"));
    assert_null(reel_tensor_map_get(m, NULL));
    assert_null(reel_tensor_map_at(m, 2));
    assert_null(reel_tensor_map_name(m, -1));
    assert_int_equal(reel_tensor_map_set_text(m, "k", "1"), REEL_OK);
    assert_int_equal(reel_tensor_map_set_text(m, "k", "2"), REEL_OK);
    assert_string_equal(reel_tensor_map_text(m, "k"), "2");
    assert_string_equal(reel_tensor_map_text_key(m, 0), "k");
    assert_null(reel_tensor_map_text_key(m, 1));
    const char *const nothing = NULL;
    assert_int_equal(reel_tensor_map_set(NULL, "a", t), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the map is NULL");
    assert_int_equal(reel_tensor_map_set(m, nothing, t), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the name is NULL");
    assert_int_equal(reel_tensor_map_set(m, "a", NULL), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the tensor is NULL");
    assert_int_equal(reel_tensor_map_set_text(m, "a", nothing), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the text is NULL");
    assert_int_equal(reel_tensor_map_count(NULL), 0);
    assert_int_equal(reel_tensor_map_text_count(NULL), 0);
    reel_tensor_map_free(m);
    reel_tensor_map_free(NULL);
    assert_int_equal(reel_live_objects(), objects);
}

static void saving_refuses(void **state)
{
    (void)state;
    NEED_JSON();
    reel_scope scope = reel_scope_begin();
    const float x = 1;
    reel_tensor *t = reel_from(&x, REEL_SHAPE(1), REEL_F32);
    reel_tensor_map *m = reel_tensor_map_new();
    assert_int_equal(reel_safetensors_save(m, NULL), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the path is NULL");
    assert_int_equal(reel_safetensors_save(NULL, temp_path(F)), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "the map is NULL");
    assert_int_equal(reel_safetensors_save(m, temp_path("no/such/folder")), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "no/such/folder");
    reel_tensor_map_set(m, "__metadata__", t);
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "__metadata__ is reserved");
    reel_tensor_map_free(m);
    m = reel_tensor_map_new();
    reel_tensor_map_set(m, "\xff\xfe", t);
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "UTF-8");
    reel_tensor_map_free(m);
    m = reel_tensor_map_new();
    reel_tensor_map_set_text(m, "k", "\xc3");
    assert_int_equal(reel_safetensors_save(m, temp_path(F)), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "text \"k\" is not UTF-8");
    reel_tensor_map_free(m);
    assert_int_equal(temp_count(), 0);
    reel_scope_end(scope);
}

/* ---- hostile headers --------------------------------------------------------------- */

#define T(dtype, shape, begin, end)                                                      \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end  \
    "]}"
#define ONE(text) "{\"a\":" text "}"

typedef struct hostile {
    const char *header;
    size_t data;
} hostile;

/* Good ones, so that the bad ones are known to fail for their own reason. */
static const hostile good[] = {
    {"{}", 0},
    {"{}      ", 0},
    {ONE(T("F32", "2", 0, 8)), 8},
    {ONE(T("F32", "", 0, 4)), 4},
    {ONE(T("F32", "0,5", 0, 0)), 0},
    {ONE(T("F8_E4M3", "3", 0, 3)), 3},
    {ONE(T("U64", "1", 0, 8)), 8},
    {"{\"__metadata__\":{},\"a\":" T("U8", "1", 0, 1) "}", 1},
    {"{\"b\":" T("U8", "1", 1, 2) ",\"a\":" T("U8", "1", 0, 1) "}", 2},
    {"{\"e\":" T("U8", "0", 1, 1) ",\"a\":" T("U8", "1", 0, 1) "}", 1},
    {"{\"{[{[{[\":" T("U8", "1", 0, 1) "}", 1},
    {ONE(T("U8", "1,1,1,1,1,1,1,1", 0, 1)), 1},
};

static const hostile bad[] = {
    /* no JSON object */
    {"", 0},
    {" {}", 0},
    {"[]", 0},
    {"{", 0},
    {"}", 0},
    {"{}}", 0},
    {"{}x", 0},
    {"{\"a\"}", 0},
    {"{\"a\":}", 0},
    {"{\"a\":1,}", 0},
    {"{'a':1}", 0},
    {"{\"a\":NaN}", 0},
    {"{\"a\":\"", 0},
    {"{\"a\":\"\\", 0},
    {"{\"\\u0000\":1}", 0},
    {"{\"\xff\":1}", 0},
    {"null", 0},
    {"\"{\"", 0},
    {"{\"a\":{\"b\":{\"c\":{\"d\":1}}}}", 0},
    {"{\"a\":[[[[[[[[[[]]]]]]]]]]}", 0},
    /* a tensor that is none */
    {ONE("1"), 0},
    {ONE("null"), 0},
    {ONE("[]"), 0},
    {ONE("{}"), 0},
    {ONE("{\"dtype\":\"F32\"}"), 0},
    {ONE("{\"dtype\":\"F32\",\"shape\":[1]}"), 4},
    {ONE("{\"dtype\":\"F32\",\"data_offsets\":[0,4]}"), 4},
    {ONE("{\"shape\":[1],\"data_offsets\":[0,4]}"), 4},
    {ONE("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":1}"), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":[1],\"data_offset\":[0,1]}"), 1},
    {ONE("{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"), 1},
    {"{\"a\":" T("U8", "1", 0, 1) ",\"a\":" T("U8", "1", 0, 1) "}", 1},
    {"{\"a\":" T("U8", "1", 0, 1) ",\"a\":" T("U8", "1", 1, 2) "}", 2},
    /* dtype */
    {ONE(T("f32", "1", 0, 4)), 4},
    {ONE(T("", "1", 0, 4)), 4},
    {ONE(T("F32\\u0000", "1", 0, 4)), 4},
    {ONE(T("F128", "1", 0, 16)), 16},
    {ONE("{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}"), 4},
    {ONE("{\"dtype\":null,\"shape\":[1],\"data_offsets\":[0,4]}"), 4},
    /* shape */
    {ONE("{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}"), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,1]}"), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":null,\"data_offsets\":[0,1]}"), 1},
    {ONE(T("U8", "-1", 0, 1)), 1},
    {ONE(T("U8", "-1,-1", 0, 1)), 1},
    {ONE(T("U8", "1.0", 0, 1)), 1},
    {ONE(T("U8", "1e0", 0, 1)), 1},
    {ONE(T("U8", "\\\"1\\\"", 0, 1)), 1},
    {ONE(T("U8", "true", 0, 1)), 1},
    {ONE(T("U8", "[1]", 0, 1)), 1},
    {ONE(T("U8", "1,1,1,1,1,1,1,1,1", 0, 1)), 1},
    {ONE(T("U8", "2", 0, 1)), 1},
    {ONE(T("F32", "1", 0, 1)), 1},
    {ONE(T("U8", "4294967296,4294967296", 0, 0)), 0},
    {ONE(T("U8", "4294967297,4294967296", 0, 1)), 1},
    {ONE(T("F64", "2305843009213693952", 0, 0)), 0},
    {ONE(T("F64", "2305843009213693953", 0, 8)), 8},
    {ONE(T("U8", "9223372036854775807", 0, 1)), 1},
    {ONE(T("U8", "9223372036854775808", 0, 1)), 1},
    {ONE(T("U8", "18446744073709551617", 0, 1)), 1},
    {ONE(T("U8", "99999999999999999999999999", 0, 1)), 1},
    {ONE(T("U8", "9223372036854775807,9223372036854775807,0", 0, 0)), 0},
    /* place */
    {ONE(T("U8", "1", 1, 2)), 1},
    {ONE(T("U8", "1", 1, 2)), 2},
    {ONE(T("U8", "1", 0, 1)), 0},
    {ONE(T("U8", "1", 0, 1)), 2},
    {ONE(T("U8", "1", 1, 0)), 1},
    {ONE(T("U8", "1", -1, 0)), 1},
    {ONE(T("U8", "1", 0, -1)), 1},
    {ONE(T("U8", "0", 1, 1)), 0},
    {ONE(T("U8", "1", 0.0, 1)), 1},
    {ONE(T("U8", "1", 0, 9223372036854775807)), 1},
    {ONE(T("U8", "2", 9223372036854775807, 9223372036854775807)), 2},
    {ONE(T("U8", "1", 9223372036854775808, 9223372036854775809)), 1},
    {ONE(T("U8", "1", 18446744073709551615, 18446744073709551616)), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1]}"), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}"), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":\"01\"}"), 1},
    {ONE("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{\"0\":0,\"1\":1}}"), 1},
    {"{\"a\":" T("U8", "2", 0, 2) ",\"b\":" T("U8", "2", 1, 3) "}", 3},
    {"{\"a\":" T("U8", "2", 0, 2) ",\"b\":" T("U8", "2", 0, 2) "}", 2},
    {"{\"a\":" T("U8", "1", 0, 1) ",\"b\":" T("U8", "1", 2, 3) "}", 3},
    {"{\"a\":" T("U8", "3", 0, 3) ",\"e\":" T("U8", "0", 1, 1) "}", 3},
    {"{\"a\":" T("U8", "0", 0, 0) "}", 1},
    {"{}", 1},
    /* texts */
    {"{\"__metadata__\":1}", 0},
    {"{\"__metadata__\":[]}", 0},
    {"{\"__metadata__\":null}", 0},
    {"{\"__metadata__\":{\"k\":1}}", 0},
    {"{\"__metadata__\":{\"k\":{}}}", 0},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0},
    {"{\"__metadata__\":" T("U8", "1", 0, 1) "}", 1},
};

static void hostile_headers_are_errors(void **state)
{
    (void)state;
    NEED_JSON();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        write_file(good[i].header, strlen(good[i].header), good[i].data);
        reel_safetensors *st = reel_safetensors_open(temp_path(F));
        if (!st) print_error("%s\n", good[i].header);
        assert_ok();
        reel_safetensors_close(st);
    }
    assert_true(sizeof bad / sizeof *bad >= 60);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i].header, strlen(bad[i].header), bad[i].data);
        reel_safetensors *st = reel_safetensors_open(temp_path(F));
        if (st) print_error("accepted: %s\n", bad[i].header);
        assert_null(st);
        assert_error(REEL_ERR_FORMAT, F);
    }
}

static void header_sizes_are_checked(void **state)
{
    (void)state;
    NEED_JSON();
    const uint64_t sizes[] = {3,          100,       16u << 20,      (16u << 20) + 1,
                              UINT32_MAX, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t bytes[10] = {0};
        memcpy(bytes, &sizes[i], 8);
        memcpy(bytes + 8, "{}", 2);
        temp_write(F, bytes, sizeof bytes);
        assert_null(reel_safetensors_open(temp_path(F)));
        assert_error(REEL_ERR_FORMAT, "claims a header");
    }
    for (size_t n = 0; n < 8; n++) {
        temp_write(F, "\0\0\0\0\0\0\0", n);
        assert_null(reel_safetensors_open(temp_path(F)));
        assert_error(REEL_ERR_FORMAT, "expected at least the 8");
    }
    /* A header that is large but allowed, of brackets: refused before jansson builds
     * it. */
    size_t n = 8 + (1 << 20);
    uint8_t *bytes = malloc(n);
    memset(bytes, '[', n);
    memcpy(bytes, &(uint64_t){1 << 20}, 8);
    bytes[8] = '{';
    temp_write(F, bytes, n);
    free(bytes);
    assert_null(reel_safetensors_open(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "no JSON object of tensors");
}

static void what_is_no_file_is_an_error(void **state)
{
    (void)state;
    NEED_JSON();
    assert_null(reel_safetensors_open(NULL));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_safetensors_open(temp_path("absent")));
    assert_error(REEL_ERR_IO, "absent");
    assert_null(reel_safetensors_open(temp_root));
    assert_error(REEL_ERR_IO, "folder");
    assert_int_equal(mkfifo(temp_path("fifo"), 0600), 0);
    assert_null(reel_safetensors_load(temp_path("fifo")));
    assert_error(REEL_ERR_IO, "fifo");
    reel_safetensors_close(NULL);
    assert_int_equal(reel_safetensors_count(NULL), 0);
    assert_null(reel_safetensors_name(NULL, 0));
    assert_null(reel_safetensors_text(NULL, "a"));
    assert_int_equal(reel_safetensors_shape(NULL, 0).rank, -1);
    assert_null(reel_safetensors_get(NULL, "a"));
    assert_error(REEL_ERR_ARG, "NULL");
}

static void values_are_checked(void **state)
{
    (void)state;
    NEED_JSON();
    reel_scope scope = reel_scope_begin();
    const char *header = "{\"b\":" T("BOOL", "3", 0, 3) ",\"s\":" T("I16", "1", 3, 5) "}";
    write_file(header, strlen(header), 5); /* 0, 1, 2: the last is no BOOL */
    reel_safetensors *st = reel_safetensors_open(temp_path(F));
    assert_ok();
    assert_null(reel_safetensors_get(st, "b"));
    assert_error(REEL_ERR_FORMAT, "tensor \"b\": a BOOL is neither 0 nor 1");
    assert_null(reel_safetensors_get(st, "s"));
    assert_error(REEL_ERR_UNSUPPORTED, "tensor \"s\" is I16");
    reel_safetensors_close(st);
    assert_null(reel_safetensors_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "BOOL");
    reel_scope_end(scope);
}

/* ---- cut and flipped --------------------------------------------------------------- */

static size_t write_sample(uint8_t **bytes)
{
    const char *header = "{\"__metadata__\":{\"k\":\"v\"},\"a.w\":" T(
        "F32", "2,3", 0, 24) ",\"b\":" T("I64", "1", 24, 32) "}   ";
    write_file(header, strlen(header), 32);
    size_t n;
    char *file = reel__file_load(temp_path(F), 1 << 20, &n);
    *bytes = (uint8_t *)file;
    return n;
}

static void every_cut_is_an_error(void **state)
{
    (void)state;
    NEED_JSON();
    uint8_t *bytes;
    size_t n = write_sample(&bytes);
    for (size_t k = 0; k < n; k++) {
        temp_write(F, bytes, k);
        assert_null(reel_safetensors_load(temp_path(F)));
        assert_error(REEL_ERR_FORMAT, F);
    }
    bytes[n - 1] = 7;
    FILE *f = fopen(temp_path(F), "wb");
    fwrite(bytes, 1, n, f);
    fputc(0, f); /* one byte too many */
    fclose(f);
    assert_null(reel_safetensors_load(temp_path(F)));
    assert_error(REEL_ERR_FORMAT, "the tensors take 32 bytes, the file holds 33");
    reel__free(bytes);
}

static void every_flip_is_safe(void **state)
{
    (void)state;
    NEED_JSON();
    uint8_t *bytes;
    size_t n = write_sample(&bytes), accepted = 0;
    for (size_t bit = 0; bit < (n - 32) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        temp_write(F, bytes, n);
        reel_tensor_map *m = reel_safetensors_load(temp_path(F));
        accepted += m != NULL; /* a letter of a name, say */
        assert_true(m ? !reel_failed()
                      : reel_error_status() == REEL_ERR_FORMAT ||
                            reel_error_status() == REEL_ERR_UNSUPPORTED);
        reel_error_clear();
        reel_tensor_map_free(m);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_in_range(accepted, 1, 60);
    reel__free(bytes);
}

static void each_fault_is_an_error(void **state)
{
    (void)state;
    NEED_JSON();
    uint8_t *bytes;
    write_sample(&bytes);
    reel__free(bytes);
    int64_t objects = reel_live_objects();
    for (int io = 0; io < 2; io++) {
        bool done = false;
        for (int64_t k = 1; !done; k++) {
            if (io)
                reel__fault_io(k, k % 2, REEL__FAULT_EIO);
            else
                reel__fault_alloc(k, k % 2);
            reel_tensor_map *m = reel_safetensors_load(temp_path(F));
            done = (io ? reel__fault_io_count() : reel__fault_alloc_count()) < k;
            reel__fault_io(0, false, REEL__FAULT_EIO);
            reel__fault_alloc(0, false);
            assert_true((m == NULL) == reel_failed()); /* a map may be read instead */
            if (done) assert_non_null(m);
            if (!m)
                assert_int_equal(reel_error_status(), io ? REEL_ERR_IO : REEL_ERR_MEMORY);
            reel_error_clear();
            reel_tensor_map_free(m);
            assert_int_equal(reel_live_objects(), objects);
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(every_dtype_comes_back),
        TEST(written_tensors_are_aligned),
        TEST(strided_tensors_are_written_in_order),
        TEST(maps_keep_their_tensors),
        TEST(saving_refuses),
        TEST(hostile_headers_are_errors),
        TEST(header_sizes_are_checked),
        TEST(what_is_no_file_is_an_error),
        TEST(values_are_checked),
        TEST(every_cut_is_an_error),
        TEST(every_flip_is_safe),
        TEST(each_fault_is_an_error),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
