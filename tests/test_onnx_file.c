/* test_onnx_file.c: a model that is written is read again, whole, and a write that fails
 * leaves what was there. Files that nobody should have written: test_onnx_hostile.c. */
#include "base/counts.h"
#include "onnx/file.h"

#include "temp_folder.h"

#include "onnx/arena.h"
#include "onnx_sample.h"

#define F "m.onnx"
#define SMALL (&(reel__onnx_write_opts){.max_bytes = 4000})

/* ---- equality ---------------------------------------------------------------------- */

static void assert_same_tensor(const reel__onnx_tensor *a, const reel__onnx_tensor *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->shape.rank, b->shape.rank);
    for (int i = 0; i < a->shape.rank; i++)
        assert_int_equal(a->shape.dim[i], b->shape.dim[i]);
    assert_int_equal(a->bytes, b->bytes);
    if (a->bytes) assert_memory_equal(a->data, b->data, a->bytes);
}

static void assert_same_value(const reel__onnx_value *a, const reel__onnx_value *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->rank, b->rank);
    for (int i = 0; i < a->rank; i++) {
        assert_int_equal(a->dim[i].size, b->dim[i].size);
        assert_string_equal(a->dim[i].param, b->dim[i].param);
    }
}

static void assert_same_attribute(const reel__onnx_attribute *a,
                                  const reel__onnx_attribute *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->n, b->n);
    switch (a->kind) {
    case REEL_ONNX_A_NONE: fail(); break;
    case REEL_ONNX_A_FLOAT: assert_memory_equal(&a->f, &b->f, sizeof a->f); break;
    case REEL_ONNX_A_INT: assert_int_equal(a->i, b->i); break;
    case REEL_ONNX_A_STRING: assert_string_equal(a->s, b->s); break;
    case REEL_ONNX_A_TENSOR: assert_same_tensor(a->t, b->t); break;
    case REEL_ONNX_A_FLOATS:
        assert_memory_equal(a->floats, b->floats, a->n * sizeof(float));
        break;
    case REEL_ONNX_A_INTS:
        if (a->n) assert_memory_equal(a->ints, b->ints, a->n * sizeof(int64_t));
        break;
    case REEL_ONNX_A_STRINGS:
        for (size_t i = 0; i < a->n; i++)
            assert_string_equal(a->strings[i], b->strings[i]);
        break;
    }
}

static void assert_same_node(const reel__onnx_node *a, const reel__onnx_node *b)
{
    assert_string_equal(a->op_type, b->op_type);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->domain, b->domain);
    assert_string_equal(a->doc, b->doc);
    assert_int_equal(a->input.n, b->input.n);
    for (size_t i = 0; i < a->input.n; i++)
        assert_string_equal(a->input.at[i], b->input.at[i]);
    assert_int_equal(a->output.n, b->output.n);
    for (size_t i = 0; i < a->output.n; i++)
        assert_string_equal(a->output.at[i], b->output.at[i]);
    assert_int_equal(a->attribute.n, b->attribute.n);
    for (size_t i = 0; i < a->attribute.n; i++)
        assert_same_attribute(a->attribute.at[i], b->attribute.at[i]);
}

#define ASSERT_SAME_LIST(a, b, same)                                                     \
    do {                                                                                 \
        assert_int_equal((a).n, (b).n);                                                  \
        for (size_t i_ = 0; i_ < (a).n; i_++) same((a).at[i_], (b).at[i_]);              \
    } while (0)

static void assert_same_prop(const reel__onnx_prop *a, const reel__onnx_prop *b)
{
    assert_string_equal(a->key, b->key);
    assert_string_equal(a->value, b->value);
}

static void assert_same(const reel__onnx_model *a, const reel__onnx_model *b)
{
    assert_int_equal(a->ir_version, b->ir_version);
    assert_int_equal(a->opset, b->opset);
    assert_int_equal(a->model_version, b->model_version);
    assert_string_equal(a->producer_name, b->producer_name);
    assert_string_equal(a->producer_version, b->producer_version);
    assert_string_equal(a->doc, b->doc);
    assert_string_equal(a->graph.name, b->graph.name);
    assert_string_equal(a->graph.doc, b->graph.doc);
    ASSERT_SAME_LIST(a->metadata, b->metadata, assert_same_prop);
    ASSERT_SAME_LIST(a->graph.node, b->graph.node, assert_same_node);
    ASSERT_SAME_LIST(a->graph.initializer, b->graph.initializer, assert_same_tensor);
    ASSERT_SAME_LIST(a->graph.input, b->graph.input, assert_same_value);
    ASSERT_SAME_LIST(a->graph.output, b->graph.output, assert_same_value);
    ASSERT_SAME_LIST(a->graph.value_info, b->graph.value_info, assert_same_value);
}

/* ---- round trip -------------------------------------------------------------------- */

static void everything_comes_back(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    assert_ok();
    assert_int_equal(reel__onnx_write(m, temp_path(F), NULL), REEL_OK);
    assert_int_equal(temp_count(), 1);
    reel__onnx_model *r = reel__onnx_read(temp_path(F), NULL);
    assert_ok();
    assert_same(m, r);

    size_t n = 0, again = 0;
    char *bytes = reel__file_load(temp_path(F), 1 << 20, &n);
    assert_int_equal(reel__onnx_write(r, temp_path("2"), NULL), REEL_OK);
    char *second = reel__file_load(temp_path("2"), 1 << 20, &again);
    assert_int_equal(n, again);
    assert_memory_equal(bytes, second, n);

    reel__onnx_model *b = reel__onnx_read_bytes("memory", bytes, n);
    assert_ok();
    assert_same(m, b);
    reel__onnx_model_free(b);
    reel__onnx_model_free(r);
    reel__onnx_model_free(m);
    reel__free(bytes);
    reel__free(second);
}

static void large_models_have_external_data(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    assert_int_equal(reel__onnx_write(m, temp_path(F), SMALL), REEL_OK);
    assert_int_equal(temp_count(), 2);
    size_t n = 0;
    char *data = reel__file_load(temp_path(F ".data"), 1 << 20, &n);
    assert_int_equal(n, 4096 + 4000);
    assert_memory_equal(data, sample_bytes, 1500);
    for (size_t i = 1500; i < 4096; i++) assert_int_equal(data[i], 0);
    assert_memory_equal(data + 4096, sample_bytes + 1, 4000);
    reel__free(data);

    reel__onnx_model *r = reel__onnx_read(temp_path(F), NULL);
    assert_ok();
    assert_same(m, r);
    assert_int_equal(r->owned->n_files, 1);
    reel__onnx_model_free(r);

    assert_null(
        reel__onnx_read(temp_path(F), &(reel__onnx_read_opts){.max_bytes = 5000}));
    assert_error(REEL_ERR_FORMAT, "must be at most 5000");
    assert_int_equal(
        reel__onnx_write(m, temp_path(F), &(reel__onnx_write_opts){.max_bytes = 1000}),
        REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "must be at most 1000");
    reel__onnx_model_free(m);
}

static void wrong_calls_are_errors(void **state)
{
    (void)state;
    reel__onnx_model *m = reel__onnx_model_new();
    assert_null(reel__onnx_add_node(NULL, "Add", ""));
    assert_false(reel__onnx_add_int(m, NULL, "axis", 1));
    assert_null(reel__onnx_read(NULL, NULL));
    assert_error(REEL_ERR_ARG, "path");
    assert_null(reel__onnx_read_bytes(NULL, "", 0));
    assert_error(REEL_ERR_ARG, "name");
    reel__onnx_write(m, NULL, NULL);
    assert_error(REEL_ERR_ARG, "path");
    reel__onnx_write(NULL, temp_path(F), NULL);
    assert_error(REEL_ERR_ARG, "model");
    reel__onnx_write(m, temp_path(F), &(reel__onnx_write_opts){.max_bytes = -1});
    assert_error(REEL_ERR_ARG, "max_bytes");
    assert_null(
        reel__onnx_new_tensor(m, "s", REEL_ONNX_STRING, (reel_shape){.rank = 0}, ""));
    assert_error(REEL_ERR_ARG, "STRING");
    assert_null(reel__onnx_add_initializer(
        m, "big", REEL_ONNX_FLOAT, (reel_shape){.rank = 2, .dim = {INT64_MAX, INT64_MAX}},
        ""));
    assert_error(REEL_ERR_ARG, "big");
    assert_null(reel__onnx_add_initializer(m, "null", REEL_ONNX_FLOAT,
                                           (reel_shape){.rank = 0}, NULL));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel__onnx_add_value(m, REEL_ONNX_INPUT, "v", REEL_ONNX_FLOAT, 9, NULL));
    assert_error(REEL_ERR_ARG, "rank 9");
    assert_int_equal(m->graph.initializer.n + m->graph.input.n, 0);
    /* A pending error: nothing is written. */
    reel_fail(REEL_ERR_NUMERIC, "earlier");
    assert_int_equal(reel__onnx_write(m, temp_path(F), NULL), REEL_ERR_NUMERIC);
    assert_null(reel__onnx_read(temp_path(F), NULL));
    assert_int_equal(temp_count(), 0);
    reel_error_clear();
    assert_null(reel__onnx_read(temp_path("absent"), NULL));
    assert_error(REEL_ERR_IO, "absent");
    reel__onnx_model_free(m);
    reel__onnx_model_free(NULL);
}

static void names_are_numbered(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    reel__onnx_add_value(m, REEL_ONNX_INPUT, "FLOAT", REEL_ONNX_FLOAT, -1, NULL);
    reel__onnx_names *names = reel__onnx_names_new(m, F);
    assert_ok();
    int64_t inputs = 2, initializers = (int64_t)m->graph.initializer.n;
    assert_int_equal(reel__onnx_names_find(names, "x"), 0);
    assert_int_equal(reel__onnx_names_find(names, "FLOAT"),
                     1); /* not the initializer's */
    assert_int_equal(reel__onnx_names_find(names, "UINT8"), inputs + 1);
    assert_int_equal(reel__onnx_names_find(names, "y"), inputs + initializers);
    assert_int_equal(reel__onnx_names_find(names, "z"), inputs + initializers + 2);
    assert_int_equal(reel__onnx_made(&m->graph), inputs + initializers + 3);
    assert_int_equal(reel__onnx_names_find(names, ""), -1);
    assert_int_equal(reel__onnx_names_find(names, "zz"), -1);
    reel__onnx_names_free(names);
    const reel__onnx_attribute *i = reel__onnx_find_attribute(m->graph.node.at[1], "i");
    assert_int_equal(i->i, -7);
    assert_null(reel__onnx_find_attribute(m->graph.node.at[1], "j"));
    reel__onnx_model_free(m);
}

static void dtypes_match_those_of_reel(void **state)
{
    (void)state;
    for (int i = 0; i < REEL__DTYPE_COUNT; i++) {
        reel__onnx_dtype onnx = reel__onnx_dtype_of((reel_dtype)i);
        reel_dtype back;
        assert_true(reel__onnx_dtype_back(onnx, &back));
        assert_int_equal(back, i);
        assert_int_equal(reel__onnx_dtype_bits(onnx), 8 * reel_dtype_size(back));
    }
    reel_dtype none;
    assert_false(reel__onnx_dtype_back(REEL_ONNX_UINT16, &none));
    assert_int_equal(reel__onnx_dtype_of(REEL__DTYPE_COUNT), REEL_ONNX_UNDEFINED);
    assert_string_equal(reel__onnx_dtype_name(REEL_ONNX_DTYPE_COUNT), "?");
    size_t bytes;
    assert_true(
        reel__onnx_bytes((reel_shape){.rank = 1, .dim = {5}}, REEL_ONNX_INT4, &bytes));
    assert_int_equal(bytes, 3);
}

/* ---- failures ---------------------------------------------------------------------- */

typedef struct loaded {
    char *bytes;
    size_t n;
} loaded;

static loaded load(const char *name)
{
    loaded l = {0};
    l.bytes = reel__file_load(temp_path(name), 1 << 20, &l.n);
    assert_non_null(l.bytes);
    return l;
}

static void assert_unchanged(const char *name, loaded before)
{
    loaded now = load(name);
    assert_int_equal(now.n, before.n);
    assert_memory_equal(now.bytes, before.bytes, now.n);
    reel__free(now.bytes);
}

/* An earlier pair of files, then a different model: every call to the system fails once.
 * Whatever failed, the two files are both the old or both the new ones. */
static void failed_writes_keep_both_files(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    static uint8_t other[4000] = {9};
    for (int kind = REEL__FAULT_EIO; kind <= REEL__FAULT_ENOSPC; kind++)
        for (int64_t k = 1;; k++) {
            m->graph.initializer.at[m->graph.initializer.n - 1]->data = sample_bytes;
            m->doc = "old";
            assert_int_equal(reel__onnx_write(m, temp_path(F), SMALL), REEL_OK);
            loaded model = load(F), data = load(F ".data");
            m->graph.initializer.at[m->graph.initializer.n - 1]->data = other;
            m->doc = "new";
            reel__fault_io(k, false, (reel__io_fault)kind);
            reel_status status = reel__onnx_write(m, temp_path(F), SMALL);
            int64_t calls = reel__fault_io_count();
            reel__fault_io(0, false, REEL__FAULT_EIO);
            reel_error_clear();
            assert_int_equal(temp_count(), 2); /* nothing is left lying around */
            reel__onnx_model *r = reel__onnx_read(temp_path(F), NULL);
            assert_non_null(r);
            const reel__onnx_tensor *last =
                r->graph.initializer.at[r->graph.initializer.n - 1];
            bool is_new = strcmp(r->doc, "new") == 0;
            assert_memory_equal(last->data, is_new ? other : sample_bytes, last->bytes);
            reel__onnx_model_free(r);
            if (status == REEL_OK) assert_true(is_new);
            if (!is_new) {
                assert_unchanged(F, model);
                assert_unchanged(F ".data", data);
            }
            reel__free(model.bytes);
            reel__free(data.bytes);
            if (calls < k) break;
        }
    reel__onnx_model_free(m);
}

/* Nothing was there: after a failure there is nothing, or both. */
static void failed_writes_leave_nothing(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    for (int external = 0; external < 2; external++)
        for (int64_t k = 1;; k++) {
            remove(temp_path(F));
            remove(temp_path(F ".data"));
            reel__fault_io(k, false, REEL__FAULT_EIO);
            reel_status status =
                reel__onnx_write(m, temp_path(F), external ? SMALL : NULL);
            int64_t calls = reel__fault_io_count();
            reel__fault_io(0, false, REEL__FAULT_EIO);
            reel_error_clear();
            size_t n = temp_count(), all = external ? 2 : 1;
            assert_true(n == all || (n == 0 && status != REEL_OK));
            if (calls < k) break;
        }
    reel__onnx_model_free(m);
}

static void short_transfers_are_continued(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    reel__fault_io(1, true, REEL__FAULT_SHORT);
    assert_int_equal(reel__onnx_write(m, temp_path(F), SMALL), REEL_OK);
    reel__onnx_model *r = reel__onnx_read(temp_path(F), NULL);
    assert_ok();
    assert_same(m, r);
    reel__onnx_model_free(r);
    reel__onnx_model_free(m);
}

/* The file cannot be mapped, opened, read, ...: an error or, by reading instead, the model. */
static void failed_reads_are_errors(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    reel__onnx_write(m, temp_path(F), SMALL);
    for (int forever = 0; forever < 2; forever++)
        for (int64_t k = 1;; k++) {
            reel__fault_io(k, forever, REEL__FAULT_EIO);
            reel__onnx_model *r = reel__onnx_read(temp_path(F), NULL);
            int64_t calls = reel__fault_io_count();
            reel__fault_io(0, false, REEL__FAULT_EIO);
            if (r)
                assert_same(m, r);
            else
                assert_error(REEL_ERR_IO, F);
            reel__onnx_model_free(r);
            if (calls < k) break;
        }
    reel__onnx_model_free(m);
}

static void failed_allocations_are_errors(void **state)
{
    (void)state;
    reel__onnx_model *m = sample_model();
    reel__onnx_write(m, temp_path(F), SMALL);
    for (int forever = 0; forever < 2; forever++)
        for (int64_t k = 1;; k++) {
            reel__fault_alloc(k, forever);
            reel__onnx_model *made = sample_model();
            if (made && !reel_failed()) reel__onnx_write(made, temp_path("2"), SMALL);
            reel__onnx_model_free(made);
            reel_status status = reel_error_status();
            reel_error_clear();
            reel__onnx_model *r = reel__onnx_read(temp_path(F), NULL);
            int64_t calls = reel__fault_alloc_count();
            reel__fault_alloc(0, false);
            if (!r) assert_error(REEL_ERR_MEMORY, "memory");
            assert_true(status == REEL_OK || status == REEL_ERR_MEMORY);
            if (calls >= k) assert_true(status != REEL_OK || !r);
            reel__onnx_model_free(r);
            if (calls < k) {
                assert_non_null(r);
                break;
            }
        }
    reel__onnx_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everything_comes_back, temp_clean),
        cmocka_unit_test_setup(large_models_have_external_data, temp_clean),
        cmocka_unit_test_setup(wrong_calls_are_errors, temp_clean),
        cmocka_unit_test_setup(names_are_numbered, temp_clean),
        cmocka_unit_test_setup(dtypes_match_those_of_reel, temp_clean),
        cmocka_unit_test_setup(failed_writes_keep_both_files, temp_clean),
        cmocka_unit_test_setup(failed_writes_leave_nothing, temp_clean),
        cmocka_unit_test_setup(short_transfers_are_continued, temp_clean),
        cmocka_unit_test_setup(failed_reads_are_errors, temp_clean),
        cmocka_unit_test_setup(failed_allocations_are_errors, temp_clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
