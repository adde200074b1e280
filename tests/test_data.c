/* test_data.c: data sets: drawn images, CIFAR-10, image folders, arrays; bad files of
 * each. */
#include <reel/data.h>

#include "temp_folder.h"

#include "data/image.h"
#include "small_jpeg.h"
#include <math.h>
#include <reel/io.h>
#include <unistd.h>

#define CIFAR_RECORD 3073
#define CIFAR_SIZE (10000L * CIFAR_RECORD)

/* ---- random numbers ---------------------------------------------------------------- */

static void draws_depend_on_all_three(void **state)
{
    (void)state;
    reel_draw a = reel_draw_at(1, 2, 3), b = reel_draw_at(1, 2, 3);
    for (int i = 0; i < 100; i++) assert_int_equal(reel_draw_u32(&a), reel_draw_u32(&b));
    reel_draw c[3] = {reel_draw_at(2, 2, 3), reel_draw_at(1, 3, 3),
                      reel_draw_at(1, 2, 4)};
    a = reel_draw_at(1, 2, 3);
    uint32_t first = reel_draw_u32(&a);
    for (int i = 0; i < 3; i++) assert_int_not_equal(reel_draw_u32(&c[i]), first);
}

static void draw_below_is_uniform(void **state)
{
    (void)state;
    reel_draw d = reel_draw_at(7, 0, 0);
    int count[10] = {0};
    for (int i = 0; i < 100000; i++) count[reel_draw_below(&d, 10)]++;
    for (int k = 0; k < 10; k++) assert_in_range(count[k], 9600, 10400);
    assert_int_equal(reel_draw_below(&d, 0), 0);
    assert_int_equal(reel_draw_below(&d, 1), 0);
    for (int i = 0; i < 1000; i++) {
        float u = reel_draw_f32(&d);
        assert_true(u >= 0.0f && u < 1.0f);
    }
}

static int64_t label_of(const reel_sample *s)
{
    const reel_field *y = reel_sample_field(s, "y");
    assert_non_null(y);
    assert_int_equal(y->kind, REEL_LABEL);
    return *(const int64_t *)y->data;
}

/* ---- drawn images ------------------------------------------------------------------ */

static void drawn_images_repeat(void **state)
{
    (void)state;
    reel_dataset *a = reel_drawn_images(50, 5, REEL_TRAIN);
    reel_dataset *b = reel_drawn_images(20, 5, REEL_TRAIN);
    reel_dataset *other[2] = {reel_drawn_images(20, 6, REEL_TRAIN),
                              reel_drawn_images(20, 5, REEL_TEST)};
    reel_sample x = {0}, y = {0};
    for (int64_t i = 0; i < 20; i++) {
        assert_int_equal(reel_dataset_get(a, i, &x), REEL_OK);
        assert_int_equal(reel_dataset_get(b, i, &y), REEL_OK);
        assert_int_equal(label_of(&x), i % 10);
        assert_memory_equal(x.field[0]->data, y.field[0]->data, 32 * 32 * 3);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(reel_dataset_get(other[k], i, &y), REEL_OK);
            assert_memory_not_equal(x.field[0]->data, y.field[0]->data, 32 * 32 * 3);
        }
    }
    assert_int_equal(reel_dataset_classes(a), 10);
    assert_string_equal(reel_dataset_class_name(a, 5), "star");
    assert_string_equal(reel_dataset_class_name(a, 10), "?");
    assert_int_equal(reel_dataset_shape(a).dim[2], 3);
    reel_dataset_free(a);
    reel_dataset_free(b);
    for (int k = 0; k < 2; k++) reel_dataset_free(other[k]);
    reel_sample_free(&x);
    reel_sample_free(&y);
}

/* The mean colour of a class says nothing: it is that of all images, within its error. */
static void drawn_colors_tell_nothing(void **state)
{
    (void)state;
    enum { N = 2000 };
    reel_dataset *ds = reel_drawn_images(N, 1, REEL_TRAIN);
    double sum[10] = {0}, all = 0.0;
    reel_sample s = {0};
    for (int64_t i = 0; i < N; i++) {
        reel_dataset_get(ds, i, &s);
        double mean = 0.0;
        for (int p = 0; p < 3072; p++)
            mean += ((const uint8_t *)s.field[0]->data)[p] / 3072.0;
        sum[label_of(&s)] += mean / (N / 10);
        all += mean / N;
    }
    for (int k = 0; k < 10; k++) assert_true(fabs(sum[k] - all) < 12.0);
    reel_dataset_free(ds);
    reel_sample_free(&s);
}

static void drawn_images_refuse(void **state)
{
    (void)state;
    assert_null(reel_drawn_images(0, 1, REEL_TRAIN));
    assert_error(REEL_ERR_ARG, "drawn_images: 0 images");
    assert_null(reel_drawn_images(1000001, 1, REEL_TRAIN));
    assert_error(REEL_ERR_ARG, "1000001");
    assert_null(reel_drawn_images(1, 1, (reel_part)7));
    assert_error(REEL_ERR_ARG, "part 7");
}

/* ---- data sets in general ---------------------------------------------------------- */

static void datasets_check_their_callers(void **state)
{
    (void)state;
    reel_dataset *ds = reel_drawn_images(3, 1, REEL_TRAIN);
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, 3, &s), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "index 3, expected 0 to 2");
    assert_int_equal(reel_dataset_get(ds, -1, &s), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "index -1");
    assert_int_equal(reel_dataset_get(NULL, 0, &s), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "NULL");
    assert_int_equal(reel_dataset_get(ds, 0, NULL), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "NULL");
    assert_int_equal(reel_dataset_length(NULL), -1);
    assert_int_equal(reel_dataset_classes(NULL), 0);
    assert_int_equal(reel_dataset_skipped(NULL), 0);
    assert_int_equal(reel_dataset_shape(NULL).rank, -1);
    assert_string_equal(reel_dataset_class_name(NULL, 0), "?");
    assert_null(reel_dataset_keep(NULL));
    reel_dataset_free(NULL);
    assert_ptr_equal(reel_dataset_keep(ds), ds);
    reel_dataset_free(ds);
    assert_int_equal(reel_dataset_length(ds), 3); /* one share is left */
    reel_dataset_free(ds);
    reel_sample_free(&s);
}

static int freed;
static int64_t two(void *self)
{
    (void)self;
    return 2;
}
static reel_status silent_failure(void *self, int64_t index, reel_sample *out)
{
    (void)self, (void)index, (void)out;
    return REEL_ERR_IO;
}
static void count_free(void *self)
{
    (void)self;
    freed++;
}

static void own_dataset_is_owned(void **state)
{
    (void)state;
    static const reel_dataset_fns fns = {
        .name = "mine", .length = two, .get = silent_failure, .free = count_free};
    static const reel_dataset_fns incomplete = {.length = two, .free = count_free};
    freed = 0;
    reel_dataset *ds = reel_dataset_new(&fns, NULL);
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, 1, &s), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "mine: sample 1 failed");
    reel_dataset_free(ds);
    assert_int_equal(freed, 1);
    assert_null(reel_dataset_new(&incomplete, NULL));
    assert_error(REEL_ERR_ARG, "length");
    assert_int_equal(freed, 2);
    assert_null(reel_dataset_new(NULL, NULL));
    assert_error(REEL_ERR_ARG, "get");
    reel_sample_free(&s);
}

static void fields_go_back_and_forth(void **state)
{
    (void)state;
    reel_sample s = {0};
    float *a = reel_sample_add(&s, "x", REEL_ARRAY, (reel_shape){1, {4}}, REEL_F32);
    reel_field *f = s.field[0];
    float *b = reel_field_out(f, (reel_shape){1, {4}}, REEL_F32);
    float *c = reel_field_out(f, (reel_shape){1, {4}}, REEL_F32);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a, c);
    assert_ptr_equal(f->data, c);
    assert_null(reel_field_out(f, (reel_shape){1, {4}}, (reel_dtype)99));
    assert_int_equal(reel_error_status(), REEL_ERR_DTYPE);
    reel_error_clear();
    assert_null(reel_field_out(f, (reel_shape){1, {-4}}, REEL_U8));
    assert_int_equal(reel_error_status(), REEL_ERR_SHAPE);
    reel_error_clear();
    assert_null(reel_field_out(NULL, (reel_shape){0}, REEL_U8));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_ptr_equal(f->data, c);
    reel_sample_clear(&s); /* the next sample finds the memory of this one */
    assert_int_equal(s.fields, 0);
    assert_ptr_equal(reel_sample_add(&s, "z", REEL_ARRAY, REEL_SHAPE(16), REEL_U8), a);
    reel_sample_free(&s);
    assert_null(s.field);
    reel_sample_free(NULL);
    reel_sample_clear(NULL);
}

/* Any number of them; each stays where it is. */
static void samples_have_any_fields(void **state)
{
    (void)state;
    enum { FIELDS = 40 };
    static char name[FIELDS][8];
    reel_sample s = {0};
    for (int round = 0; round < 2; round++) {
        reel_field *at[FIELDS];
        reel_sample_clear(&s);
        for (int i = 0; i < FIELDS; i++) {
            snprintf(name[i], sizeof name[i], "f%d", i);
            int32_t *p =
                reel_sample_add(&s, name[i], REEL_ARRAY, REEL_SHAPE(3), REEL_I32);
            assert_non_null(p);
            p[2] = i;
            at[i] = s.field[i];
        }
        for (int i = 0; i < FIELDS; i++) {
            assert_ptr_equal(reel_sample_field(&s, name[i]), at[i]);
            assert_int_equal(((const int32_t *)at[i]->data)[2], i);
        }
    }
    reel_sample_free(&s);
}

static void samples_refuse(void **state)
{
    (void)state;
    reel_sample s = {0};
    const float v = 1;
    assert_int_equal(reel_sample_label(&s, 3), REEL_OK);
    assert_null(reel_sample_add(&s, "y", REEL_ARRAY, REEL_SCALAR, REEL_F32));
    assert_error(REEL_ERR_ARG, "field \"y\" already");
    assert_null(reel_sample_add(&s, "", REEL_ARRAY, REEL_SCALAR, REEL_F32));
    assert_error(REEL_ERR_ARG, "no name");
    assert_null(reel_sample_add(NULL, "a", REEL_ARRAY, REEL_SCALAR, REEL_F32));
    assert_error(REEL_ERR_ARG, "sample is NULL");
    assert_null(reel_sample_add(&s, "a", REEL_IMAGE, REEL_SHAPE(3), REEL_F32));
    assert_error(REEL_ERR_SHAPE, "image \"a\" has rank 1");
    assert_null(reel_sample_add(&s, "a", REEL_LABEL, REEL_SCALAR, REEL_I32));
    assert_error(REEL_ERR_DTYPE, "label \"a\" is i32");
    assert_null(reel_sample_add(&s, "a", (reel_field_kind)9, REEL_SCALAR, REEL_I32));
    assert_error(REEL_ERR_ARG, "kind 9");
    assert_null(reel_sample_add(&s, "a", REEL_ARRAY, REEL_SHAPE(1, 1, 1, 1, 1, 1, 1, 1),
                                REEL_F32));
    assert_error(REEL_ERR_SHAPE, "rank 8, expected 0 to 7");
    assert_int_equal(reel_sample_borrow(&s, "a", REEL_ARRAY, NULL, REEL_SCALAR, REEL_F32),
                     REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "data of \"a\" is NULL");
    assert_int_equal(s.fields, 1); /* as it was */
    assert_int_equal(reel_sample_borrow(&s, "a", REEL_ARRAY, &v, REEL_SCALAR, REEL_F32),
                     REEL_OK);
    assert_ptr_equal(reel_sample_field(&s, "a")->data, &v);
    assert_null(reel_sample_field(&s, "b"));
    assert_error(REEL_ERR_ARG, "no field \"b\"; it has y, a");
    assert_null(reel_sample_field(&s, NULL));
    assert_error(REEL_ERR_ARG, "name is NULL");
    reel_sample_free(&s);
}

/* ---- CIFAR-10 ---------------------------------------------------------------------- */

/* A batch file of zeros but for one record. Sparse, so it costs nothing. */
static void write_batch(const char *name, long size, int record, const uint8_t *bytes)
{
    FILE *f = fopen(temp_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), size), 0);
    if (bytes) {
        assert_int_equal(fseek(f, (long)record * CIFAR_RECORD, SEEK_SET), 0);
        assert_int_equal(fwrite(bytes, 1, CIFAR_RECORD, f), CIFAR_RECORD);
    }
    assert_int_equal(fclose(f), 0);
}

static void cifar10_reads_records(void **state)
{
    (void)state;
    uint8_t record[CIFAR_RECORD] = {7};
    for (int i = 0; i < 1024; i++) { /* row i / 32 in red, column in green, 9 in blue */
        record[1 + i] = (uint8_t)(i / 32);
        record[1 + 1024 + i] = (uint8_t)(i % 32);
        record[1 + 2048 + i] = 9;
    }
    write_batch("test_batch.bin", CIFAR_SIZE, 9999, record);
    reel_dataset *ds = reel_cifar10(temp_root, REEL_TEST);
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 10000);
    assert_string_equal(reel_dataset_class_name(ds, 9), "truck");
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, 9999, &s), REEL_OK);
    assert_int_equal(label_of(&s), 7);
    assert_true(s.field[0]->kind == REEL_IMAGE);
    const uint8_t *pixel = (const uint8_t *)s.field[0]->data + (11 * 32 + 23) * 3;
    assert_int_equal(pixel[0], 11);
    assert_int_equal(pixel[1], 23);
    assert_int_equal(pixel[2], 9);
    reel_dataset_free(ds);
    reel_sample_free(&s);
}

static void cifar10_joins_five_files(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("cifar-10-batches-bin"), 0777), 0);
    for (uint8_t k = 1; k <= 5; k++) {
        char name[64];
        uint8_t record[CIFAR_RECORD] = {k};
        snprintf(name, sizeof name, "cifar-10-batches-bin/data_batch_%d.bin", k);
        write_batch(name, CIFAR_SIZE, 0, record);
    }
    reel_dataset *ds = reel_open_data(temp_root, REEL_TRAIN, NULL);
    assert_ok();
    assert_int_equal(reel_dataset_length(ds), 50000);
    reel_sample s = {0};
    for (int64_t k = 0; k < 5; k++) {
        assert_int_equal(reel_dataset_get(ds, k * 10000, &s), REEL_OK);
        assert_int_equal(label_of(&s), k + 1);
    }
    reel_dataset_free(ds);
    reel_sample_free(&s);
}

static void cifar10_names_what_is_wrong(void **state)
{
    (void)state;
    assert_null(reel_cifar10(temp_path("absent"), REEL_TEST));
    assert_error(REEL_ERR_IO, "absent/test_batch.bin");
    const long sizes[] = {0, 1, CIFAR_SIZE - 1, CIFAR_SIZE + 1,
                          CIFAR_SIZE + CIFAR_RECORD};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[64];
        write_batch("test_batch.bin", sizes[i], 0, NULL);
        assert_null(reel_cifar10(temp_root, REEL_TEST));
        snprintf(text, sizeof text, "test_batch.bin has %ld bytes, expected 30730000",
                 sizes[i]);
        assert_error(REEL_ERR_FORMAT, text);
    }
    uint8_t record[CIFAR_RECORD] = {10};
    write_batch("test_batch.bin", CIFAR_SIZE, 17, record);
    assert_null(reel_cifar10(temp_root, REEL_TEST));
    assert_error(REEL_ERR_FORMAT,
                 "test_batch.bin: record 17 has label 10, expected 0 to 9");
    remove(temp_path("test_batch.bin"));
    assert_int_equal(mkfifo(temp_path("test_batch.bin"), 0600), 0);
    assert_null(reel_cifar10(temp_root, REEL_TEST));
    assert_error(REEL_ERR_IO, "test_batch.bin");
    remove(temp_path("test_batch.bin"));
    assert_int_equal(mkdir(temp_path("test_batch.bin"), 0700), 0);
    assert_null(reel_cifar10(temp_root, REEL_TEST));
    assert_error(REEL_ERR_IO, "test_batch.bin");
    assert_null(reel_cifar10(NULL, REEL_TEST));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_cifar10(temp_root, (reel_part)2));
    assert_error(REEL_ERR_ARG, "part 2");
}

/* ---- image folders ----------------------------------------------------------------- */

static bool has_images(void)
{
    int64_t h, w;
    bool has = reel__image_size("x", small_jpeg, sizeof small_jpeg, &h, &w) !=
               REEL_ERR_UNSUPPORTED;
    reel_error_clear();
    return has;
}
#define NEED_IMAGES()                                                                    \
    if (!has_images()) skip()

/* A PNG of one colour. */
static void write_png(const char *name, int side, uint8_t value)
{
    uint8_t pixels[64 * 64 * 3];
    memset(pixels, value, sizeof pixels);
    temp_write(name, "", 0); /* for the folders */
    assert_int_equal(reel_png_save(pixels, side, side, 3, temp_path(name)), REEL_OK);
}

static void write_good_folder(void)
{
    write_png("b/2.png", 16, 20);
    write_png("b/10.PNG", 16, 10);
    temp_write("a/z.jpeg", small_jpeg, sizeof small_jpeg);
    temp_write("a/notes.txt", "x", 1);
    temp_write("a/.hidden.png", "x", 1);
    temp_write(".git/q.png", "x", 1);
    temp_write("readme.png", "x", 1); /* not in a class */
}

static void folder_is_sorted_and_decoded(void **state)
{
    (void)state;
    NEED_IMAGES();
    write_good_folder();
    for (int late = 0; late < 2; late++) {
        reel_dataset *ds =
            reel_image_folder(temp_root, &(reel_image_opts){.max_memory = late ? 1 : 0});
        assert_ok();
        assert_int_equal(reel_dataset_length(ds), 3);
        assert_int_equal(reel_dataset_classes(ds), 2);
        assert_string_equal(reel_dataset_class_name(ds, 0), "a");
        assert_string_equal(reel_dataset_class_name(ds, 1), "b");
        assert_int_equal(reel_dataset_shape(ds).dim[0], 16);
        if (late) temp_write("b/10.PNG", "", 0); /* a label needs no decoding */
        assert_int_equal(reel_dataset_label(ds, 0), 0);
        assert_int_equal(reel_dataset_label(ds, 1), 1);
        assert_int_equal(reel_dataset_label(ds, 2), 1);
        if (late) write_png("b/10.PNG", 16, 10);
        reel_sample s = {0};
        assert_int_equal(reel_dataset_get(ds, 0, &s), REEL_OK);
        assert_int_equal(label_of(&s), 0);
        const uint8_t *p = s.field[0]->data;
        assert_in_range(p[0], 214, 226); /* left: red 220 */
        assert_in_range(p[15 * 3], 34, 46);
        assert_in_range(p[15 * 16 * 3 + 1], 174, 186); /* below: green 180 */
        assert_int_equal(reel_dataset_get(ds, 1, &s), REEL_OK);
        assert_int_equal(((const uint8_t *)s.field[0]->data)[100],
                         10); /* "10.PNG" < "2.png" */
        assert_int_equal(reel_dataset_get(ds, 2, &s), REEL_OK);
        assert_int_equal(((const uint8_t *)s.field[0]->data)[100], 20);
        assert_int_equal(label_of(&s), 1);
        reel_sample_free(&s);
        reel_dataset_free(ds);
    }
}

static void folder_resizes(void **state)
{
    (void)state;
    NEED_IMAGES();
    write_png("a/1.png", 16, 20);
    write_png("a/2.png", 20, 40);
    assert_null(reel_image_folder(temp_root, NULL));
    assert_error(REEL_ERR_SHAPE, "a/2.png has 20x20 pixels, images before it 16x16");
    for (int late = 0; late < 2; late++) {
        reel_dataset *ds = reel_image_folder(
            temp_root, &(reel_image_opts){
                           .height = 9, .width = 7, .channels = 1, .max_memory = late});
        assert_ok();
        reel_sample s = {0};
        for (int64_t i = 0; i < 2; i++) {
            assert_int_equal(reel_dataset_get(ds, i, &s), REEL_OK);
            assert_int_equal(s.field[0]->shape.dim[0], 9);
            assert_int_equal(s.field[0]->shape.dim[1], 7);
            assert_int_equal(s.field[0]->shape.dim[2], 1);
            assert_int_equal(((const uint8_t *)s.field[0]->data)[62], 20 + 20 * i);
        }
        reel_sample_free(&s);
        reel_dataset_free(ds);
    }
}

static char logged[8192];
static void remember(void *user, reel_log_level level, const char *message)
{
    (void)user, (void)level;
    strncat(logged, message, sizeof logged - strlen(logged) - 1);
    strncat(logged, "\n", sizeof logged - strlen(logged) - 1);
}

/* One bad file of each kind among two good ones; the first of them decides. */
static int write_bad_files(void)
{
    temp_write("a/bad0_empty.jpg", "", 0);
    temp_write("a/bad1_text.png", "this is text, not a picture", 27);
    temp_write("b/bad2_cut.jpg", small_jpeg, sizeof small_jpeg / 2);
    temp_write("b/bad3_end.jpg", small_jpeg, sizeof small_jpeg - 1);
    write_png("b/bad4_crc.png", 16, 3);
    FILE *f = fopen(temp_path("b/bad4_crc.png"), "r+b");
    fseek(f, 100, SEEK_SET);
    fputc(77, f);
    fclose(f);
    assert_int_equal(mkfifo(temp_path("b/bad5_fifo.png"), 0600), 0);
    assert_int_equal(mkdir(temp_path("b/bad6_dir.png"), 0700), 0);
    return 7;
}

static void folder_skips_or_fails(void **state)
{
    (void)state;
    NEED_IMAGES();
    write_good_folder();
    int bad = write_bad_files();
    reel_set_log(remember, NULL);
    for (int late = 0; late < 2; late++) {
        reel_image_opts opts = {.skip_corrupt = true, .max_memory = late};
        logged[0] = '\0';
        reel_dataset *ds = reel_image_folder(temp_root, &opts);
        assert_ok();
        assert_int_equal(reel_dataset_length(ds), late ? 3 + bad : 3);
        int64_t given = 0;
        reel_sample s = {0};
        for (int round = 0; round < 2; round++) /* each is counted once */
            for (int64_t i = 0; i < reel_dataset_length(ds); i++) {
                assert_int_equal(reel_dataset_get(ds, i, &s), REEL_OK);
                given += !s.skip;
            }
        assert_int_equal(given, 6);
        assert_int_equal(reel_dataset_skipped(ds), bad);
        for (int k = 0; k < bad; k++) {
            char name[16];
            snprintf(name, sizeof name, "bad%d_", k);
            assert_non_null(strstr(logged, name));
        }
        reel_sample_free(&s);
        reel_dataset_free(ds);
    }
    reel_set_log(NULL, NULL);
    assert_null(reel_image_folder(temp_root, NULL));
    assert_error(REEL_ERR_FORMAT, "a/bad0_empty.jpg: the file is empty");
    remove(temp_path("a/bad0_empty.jpg"));
    assert_null(reel_image_folder(temp_root, NULL));
    assert_error(REEL_ERR_FORMAT, "a/bad1_text.png: neither a JPEG nor a PNG");
    remove(temp_path("a/bad1_text.png"));
    assert_null(reel_image_folder(temp_root, NULL));
    assert_error(REEL_ERR_FORMAT, "b/bad2_cut.jpg: the JPEG is cut short");
}

static void folder_says_what_is_missing(void **state)
{
    (void)state;
    assert_null(reel_image_folder(NULL, NULL));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_image_folder(temp_path("absent"), NULL));
    assert_error(REEL_ERR_IO, "absent");
    assert_null(reel_image_folder(temp_root, NULL));
    assert_error(REEL_ERR_FORMAT, "0 folders, expected one a class");
    assert_int_equal(mkdir(temp_path("a"), 0700), 0);
    assert_null(reel_image_folder(temp_root, NULL));
    assert_error(REEL_ERR_FORMAT, "no .jpg, .jpeg or .png file");
    const reel_image_opts bad[] = {{.height = -1, .width = 4},
                                   {.height = 4},
                                   {.channels = 2},
                                   {.max_files = -1},
                                   {.width = 1 << 20, .height = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(reel_image_folder(temp_root, &bad[i]));
        assert_error(REEL_ERR_ARG, "image_folder");
    }
    NEED_IMAGES();
    write_png("a/1.png", 4, 0);
    write_png("a/2.png", 4, 0);
    assert_null(reel_image_folder(temp_root, &(reel_image_opts){.max_files = 1}));
    assert_error(REEL_ERR_FORMAT, "more than 1 images");
    assert_null(reel_image_folder(temp_root, &(reel_image_opts){.max_pixels = 15}));
    assert_error(REEL_ERR_FORMAT, "a/1.png: 4x4 pixels, expected at most 15");
    assert_null(reel_image_folder(
        temp_root, &(reel_image_opts){.max_pixels = 15, .skip_corrupt = true}));
    assert_error(REEL_ERR_FORMAT, "none of the 2 images");
}

/* Every prefix and every flipped byte of a JPEG and a PNG: a picture or an error. Under
 * the sanitizers this looks into stb_image too. */
static void try_decode(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1); /* exact, so that reading past it is seen */
    memcpy(copy, bytes, n);
    int64_t h, w;
    uint8_t *pixels = reel__image_decode("x", copy, n, 3, 1 << 16, &h, &w);
    assert_true(pixels ? !reel_failed() : reel_error_status() == REEL_ERR_FORMAT);
    reel__free(pixels);
    reel_error_clear();
    free(copy);
}

static void hurt_pictures_do_no_harm(void **state)
{
    (void)state;
    NEED_IMAGES();
    write_png("a/1.png", 16, 200);
    size_t n;
    uint8_t *png = (uint8_t *)reel__file_load(temp_path("a/1.png"), 1 << 20, &n);
    uint8_t *jpeg = malloc(sizeof small_jpeg);
    memcpy(jpeg, small_jpeg, sizeof small_jpeg);
    for (size_t i = 0; i < n; i++) {
        try_decode(png, i);
        assert_int_equal(reel_error_status(), REEL_OK);
        png[i] ^= 0x41;
        try_decode(png, n);
        png[i] ^= 0x41;
    }
    for (size_t i = 0; i < sizeof small_jpeg; i++) {
        try_decode(jpeg, i);
        for (int bit = 0; bit < 8; bit++) {
            jpeg[i] ^= (uint8_t)(1 << bit);
            try_decode(jpeg, sizeof small_jpeg);
            jpeg[i] ^= (uint8_t)(1 << bit);
        }
    }
    /* More values in a Huffman table than there can be; a table that is left out. */
    const uint8_t *dht = jpeg;
    while (dht[0] != 0xFF || dht[1] != 0xC4) dht++;
    size_t table = (size_t)(dht - jpeg);
    jpeg[table + 5] = 255, jpeg[table + 6] = 255;
    try_decode(jpeg, sizeof small_jpeg);
    memcpy(jpeg, small_jpeg, sizeof small_jpeg);
    jpeg[table + 1] = 0xFE; /* a comment */
    try_decode(jpeg, sizeof small_jpeg);
    memcpy(jpeg, small_jpeg, sizeof small_jpeg);
    int64_t h, w;
    for (size_t i = 0; i < sizeof small_jpeg; i++) { /* no prefix passes as whole */
        assert_null(reel__image_decode("x", jpeg, i, 3, 1 << 16, &h, &w));
        reel_error_clear();
    }
    /* A byte that belongs to no segment, here before the frame header, is passed over. */
    size_t frame = 0;
    while (jpeg[frame] != 0xFF || (jpeg[frame + 1] & 0xFE) != 0xC0) frame++;
    uint8_t *more = malloc(sizeof small_jpeg + 1);
    memcpy(more, small_jpeg, frame);
    more[frame] = 0xF8;
    memcpy(more + frame + 1, small_jpeg + frame, sizeof small_jpeg - frame);
    uint8_t *pixels =
        reel__image_decode("x", more, sizeof small_jpeg + 1, 3, 1 << 16, &h, &w);
    assert_non_null(pixels);
    reel__free(pixels);
    free(more);
    free(jpeg);
    reel__free(png);
}

/* ---- what is there ----------------------------------------------------------------- */

static void open_data_recognizes(void **state)
{
    (void)state;
    assert_null(reel_open_data(temp_root, REEL_TRAIN, NULL));
    assert_error(REEL_ERR_FORMAT,
                 "cifar-10-batches-bin/, data_batch_1.bin and test_batch.bin");
    assert_null(reel_open_data(temp_path("absent"), REEL_TRAIN, NULL));
    assert_error(REEL_ERR_IO, "absent is not a folder");
    assert_null(reel_open_data(NULL, REEL_TRAIN, NULL));
    assert_error(REEL_ERR_ARG, "NULL");
    NEED_IMAGES();
    write_png("train/cat/1.png", 8, 1);
    write_png("train/dog/1.png", 8, 2);
    write_png("val/dog/1.png", 8, 3); /* no cat: dog is class 1 all the same */
    reel_dataset *ds = reel_open_data(temp_root, REEL_TEST, NULL);
    assert_ok();
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, 0, &s), REEL_OK);
    assert_int_equal(label_of(&s), 1);
    assert_int_equal(reel_dataset_length(ds), 1);
    assert_int_equal(reel_dataset_classes(ds), 2);
    reel_dataset_free(ds);
    write_png("val/horse/1.png", 8, 3);
    assert_null(reel_open_data(temp_root, REEL_TEST, NULL));
    assert_error(REEL_ERR_FORMAT, "folder \"horse\", which is not a class");
    temp_write("test_batch.bin", "", 0);
    assert_null(reel_open_data(temp_root, REEL_TEST, NULL));
    assert_error(REEL_ERR_FORMAT, "test_batch.bin has 0 bytes");
    reel_sample_free(&s);
}

/* ---- arrays ------------------------------------------------------------------------ */

static void arrays_become_pixels(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    float x[2 * 3 * 2 * 2];
    for (int i = 0; i < 24; i++) x[i] = (float)i;
    const int64_t y[2] = {4, 0};
    reel_dataset *ds = reel_arrays(reel_from(x, REEL_SHAPE(2, 3, 2, 2), REEL_F32),
                                   reel_from(y, REEL_SHAPE(2), REEL_I64));
    assert_ok();
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, 1, &s), REEL_OK);
    assert_true(s.field[0]->kind == REEL_IMAGE);
    assert_int_equal(label_of(&s), 0);
    assert_int_equal(reel_dataset_classes(ds), 5);
    for (int p = 0; p < 4; p++)
        for (int c = 0; c < 3; c++)
            assert_true(((const float *)s.field[0]->data)[3 * p + c] ==
                        (float)(12 + 4 * c + p));
    reel_dataset_free(ds);

    ds = reel_arrays(reel_from(x, REEL_SHAPE(6, 4), REEL_F32),
                     reel_zeros(REEL_SHAPE(6), REEL_I32));
    assert_ok();
    assert_int_equal(reel_dataset_get(ds, 2, &s), REEL_OK);
    assert_false(s.field[0]->kind == REEL_IMAGE);
    assert_int_equal(s.field[0]->shape.rank, 1);
    assert_true(((const float *)s.field[0]->data)[1] == 9.0f);
    reel_dataset_free(ds);
    reel_scope_end(scope);
    reel_sample_free(&s);
}

static void arrays_refuse(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    reel_tensor *x = reel_zeros(REEL_SHAPE(2, 3), REEL_F32);
    assert_null(reel_arrays(x, NULL));
    assert_error(REEL_ERR_ARG, "y is NULL");
    assert_null(reel_arrays(NULL, x));
    assert_error(REEL_ERR_ARG, "x is NULL");
    assert_null(reel_arrays(x, reel_zeros(REEL_SHAPE(3), REEL_I64)));
    assert_error(REEL_ERR_SHAPE, "\"y\" has 3 samples, those before it 2");
    assert_null(reel_arrays_n(&(reel_array){.name = "c",
                                            .tensor = reel_zeros(REEL_SHAPE(2), REEL_F32),
                                            .kind = REEL_LABEL},
                              1));
    assert_error(REEL_ERR_DTYPE, "labels \"c\" are f32");
    assert_null(
        reel_arrays_n(&(reel_array){.name = "c", .tensor = x, .kind = REEL_IMAGE}, 1));
    assert_error(REEL_ERR_SHAPE, "images [n, c, h, w] or [n, h, w]");
    assert_null(reel_arrays_n(
        (reel_array[]){{.name = "c", .tensor = x}, {.name = "c", .tensor = x, .kind = 0}},
        2));
    assert_error(REEL_ERR_ARG, "two are named \"c\"");
    assert_null(reel_arrays_n(&(reel_array){.tensor = x}, 1));
    assert_error(REEL_ERR_ARG, "number 0 has no name");
    assert_null(reel_arrays_n(&(reel_array){.name = "c"}, 1));
    assert_error(REEL_ERR_ARG, "number 0 has no tensor");
    assert_null(reel_arrays_n(
        &(reel_array){.name = "c", .tensor = x, .kind = (reel_field_kind)7}, 1));
    assert_error(REEL_ERR_ARG, "kind 7");
    assert_null(reel_arrays_n(NULL, 1));
    assert_error(REEL_ERR_ARG, "NULL");
    assert_null(reel_arrays(x, reel_full(REEL_SHAPE(2), -1.0, REEL_I64)));
    assert_error(REEL_ERR_ARG, "label \"y\" of sample 0 is -1");
    assert_null(reel_arrays(reel_zeros(REEL_SCALAR, REEL_F32), x));
    assert_error(REEL_ERR_SHAPE, "rank 0");
    reel_scope_end(scope);
}

/* ---- out of memory ----------------------------------------------------------------- */

static void each_allocation_may_fail(void **state)
{
    (void)state;
    NEED_IMAGES();
    write_good_folder();
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        reel__fault_alloc(k, k % 2);
        reel_dataset *a = reel_image_folder(temp_root, NULL);
        reel_dataset *b =
            reel_image_folder(temp_root, &(reel_image_opts){.max_memory = 1});
        reel_dataset *c = reel_drawn_images(4, 1, REEL_TRAIN);
        reel_sample s = {0};
        if (b) reel_dataset_get(b, 0, &s);
        done = reel__fault_alloc_count() < k;
        reel__fault_alloc(0, false);
        assert_true(done != reel_failed());
        if (!done) assert_error(REEL_ERR_MEMORY, "memory");
        reel_sample_free(&s);
        reel_dataset_free(a);
        reel_dataset_free(b);
        reel_dataset_free(c);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, temp_clean, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(draws_depend_on_all_three),
        TEST(draw_below_is_uniform),
        TEST(drawn_images_repeat),
        TEST(drawn_colors_tell_nothing),
        TEST(drawn_images_refuse),
        TEST(datasets_check_their_callers),
        TEST(own_dataset_is_owned),
        TEST(fields_go_back_and_forth),
        TEST(samples_have_any_fields),
        TEST(samples_refuse),
        TEST(cifar10_reads_records),
        TEST(cifar10_joins_five_files),
        TEST(cifar10_names_what_is_wrong),
        TEST(folder_is_sorted_and_decoded),
        TEST(folder_resizes),
        TEST(folder_skips_or_fails),
        TEST(folder_says_what_is_missing),
        TEST(hurt_pictures_do_no_harm),
        TEST(open_data_recognizes),
        TEST(arrays_become_pixels),
        TEST(arrays_refuse),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
