/* test_fields.c: samples of any fields through the loader: every dtype and shape as it is,
 * whoever makes the batch; padding; collates of a user's. */
#include <reel/data.h>
#include <reel/ops.h>

#include "base/counts.h"
#include "temp_folder.h"

#include <stdatomic.h>

/* ---- random data sets --------------------------------------------------------------- */

enum { MAX_FIELDS = 6, MOST = 64 };

/* Sample i of field k is drawn from (seed, k, i): any bytes, so that a conversion on the way
 * would show. */
typedef struct drawn {
    uint64_t seed;
    int64_t n;
    int fields;
    char name[MAX_FIELDS][16];
    reel_field form[MAX_FIELDS];
    bool longer; /* the first dimension of arrays is drawn for each sample */
    atomic_int freed;
} drawn;

static int64_t drawn_length(void *self)
{
    return ((drawn *)self)->n;
}

static int64_t elements(reel_shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return n;
}

/* The shape of field k of sample i. */
static reel_shape shape_of(const drawn *d, int k, int64_t i)
{
    reel_shape s = d->form[k].shape;
    reel_draw r = reel_draw_at(d->seed, (uint64_t)k, (uint64_t)i + 1000);
    if (d->longer && d->form[k].kind == REEL_ARRAY && s.rank > 0)
        s.dim[0] = reel_draw_below(&r, 6);
    if (d->longer && d->form[k].kind == REEL_IMAGE)
        for (int a = 0; a < 2; a++) s.dim[a] = 1 + reel_draw_below(&r, 4);
    return s;
}

/* Its bytes; of a bool 0 or 1, of a label a class. */
static void fill(const drawn *d, int k, int64_t i, reel_shape shape, uint8_t *out)
{
    const reel_field *f = &d->form[k];
    reel_draw r = reel_draw_at(d->seed, (uint64_t)k, (uint64_t)i);
    size_t bytes = (size_t)elements(shape) * reel_dtype_size(f->dtype);
    for (size_t b = 0; b < bytes; b++)
        out[b] = (uint8_t)reel_draw_below(&r, f->dtype == REEL_BOOL ? 2 : 256);
    int64_t label = i % 9 == 8 ? REEL_IGNORE_INDEX : i % 9;
    if (f->kind == REEL_LABEL) memcpy(out, &label, sizeof label);
}

static reel_status drawn_get(void *self, int64_t index, reel_sample *out)
{
    const drawn *d = self;
    for (int k = 0; k < d->fields; k++) {
        const reel_field *f = &d->form[k];
        reel_shape shape = shape_of(d, k, index);
        void *p = reel_sample_add(out, d->name[k], f->kind, shape, f->dtype);
        if (!p) return reel_error_status();
        fill(d, k, index, shape, p);
    }
    return REEL_OK;
}

static void drawn_free(void *self)
{
    atomic_fetch_add(&((drawn *)self)->freed, 1);
}

static const reel_dataset_fns drawn_fns = {
    .name = "drawn", .length = drawn_length, .get = drawn_get, .free = drawn_free};

static void draw_set(drawn *d, uint64_t seed, bool longer)
{
    reel_draw r = reel_draw_at(seed, 0, 0);
    memset(d, 0, sizeof *d);
    d->seed = seed;
    d->n = 1 + reel_draw_below(&r, MOST);
    d->fields = 1 + (int)reel_draw_below(&r, MAX_FIELDS);
    d->longer = longer;
    for (int k = 0; k < d->fields; k++) {
        reel_field *f = &d->form[k];
        snprintf(d->name[k], sizeof d->name[k], "f%d", k);
        f->kind = (reel_field_kind)reel_draw_below(&r, 3);
        f->dtype = (reel_dtype)reel_draw_below(&r, REEL__DTYPE_COUNT);
        f->shape.rank = f->kind == REEL_IMAGE   ? 2 + (int)reel_draw_below(&r, 2)
                        : f->kind == REEL_LABEL ? 0
                                                : (int)reel_draw_below(&r, 4);
        if (f->kind == REEL_LABEL) f->dtype = REEL_I64;
        if (longer && f->kind == REEL_ARRAY && f->shape.rank == 0) f->shape.rank = 1;
        for (int a = 0; a < f->shape.rank; a++)
            f->shape.dim[a] = 1 + reel_draw_below(&r, 4);
    }
}

/* Row `row` of tensor t, where an image has its channels first, against the sample's bytes:
 * the element at `place` of the sample [h, w, c] or [...]. */
static void assert_element(reel_tensor *t, const reel_field *f, reel_shape shape,
                           int64_t row, int64_t place, const uint8_t *bytes)
{
    int64_t at = row * reel_stride(t, 0), rest = place;
    int64_t index[REEL_MAX_RANK];
    for (int a = shape.rank - 1; a >= 0; a--) {
        index[a] = rest % shape.dim[a];
        rest /= shape.dim[a];
    }
    bool channels = f->kind == REEL_IMAGE && shape.rank == 3;
    for (int a = 0; a < shape.rank; a++) {
        int dim = channels ? (a == 2 ? 1 : a + 2) : a + 1;
        at += index[a] * reel_stride(t, dim);
    }
    size_t size = reel_dtype_size(f->dtype);
    if (f->kind == REEL_IMAGE && f->dtype == REEL_U8) {
        assert_int_equal(reel_dtype_of(t), REEL_F32);
        assert_true(((const float *)reel_data(t))[at] == (float)bytes[place] / 255.0f);
        return;
    }
    assert_int_equal(reel_dtype_of(t), f->dtype);
    assert_memory_equal((const uint8_t *)reel_data(t) + (size_t)at * size,
                        bytes + (size_t)place * size, size);
}

static void assert_rows(const drawn *d, int k, const reel_batch *b, reel_tensor *t)
{
    uint8_t bytes[4096];
    assert_int_equal(reel_size(t, 0), b->size);
    reel_scope scope = reel_scope_begin();
    t = reel_contiguous(t);
    for (int64_t row = 0; row < b->size; row++) {
        reel_shape shape = shape_of(d, k, b->samples[row]);
        assert_in_range((size_t)elements(shape) * 8, 0, sizeof bytes);
        fill(d, k, b->samples[row], shape, bytes);
        for (int64_t i = 0; i < elements(shape); i++)
            assert_element(t, &d->form[k], shape, row, i, bytes);
    }
    reel_scope_end(scope);
}

/* Every field of every dtype, kind and shape comes out as it went in. */
static void any_fields_stay_what_they_are(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        drawn d;
        draw_set(&d, seed, false);
        reel_dataset *ds = reel_dataset_new(&drawn_fns, &d);
        reel_loader *l =
            reel_loader_new(ds, &(reel_loader_opts){.batch = 1 + (int64_t)seed % 11,
                                                    .shuffle = seed % 2,
                                                    .workers = (int)seed % 3});
        reel_dataset_free(ds);
        int64_t seen = 0;
        for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);) {
            assert_int_equal(b.fields, d.fields);
            assert_ptr_equal(b.x, b.field[0].tensor);
            assert_ptr_equal(b.y, d.fields > 1 ? b.field[1].tensor : NULL);
            for (int k = 0; k < d.fields; k++)
                assert_rows(&d, k, &b, reel_batch_get(&b, d.name[k]));
            seen += b.size;
        }
        assert_ok();
        assert_int_equal(seen, d.n);
        reel_loader_free(l);
        assert_int_equal(atomic_load(&d.freed), 1);
    }
    assert_int_equal(reel_live_objects(), 0);
}

/* ---- padding ------------------------------------------------------------------------ */

static double value_at(reel_tensor *t, int64_t at)
{
    return reel_dtype_of(t) == REEL_BOOL ? (double)((const uint8_t *)reel_data(t))[at]
                                         : (double)((const int64_t *)reel_data(t))[at];
}

/* Mask and lengths of field k say where the samples are. */
static void assert_beside(const drawn *d, int k, const reel_batch *b, reel_tensor *t)
{
    char name[2][16];
    snprintf(name[0], sizeof name[0], "m%d", k);
    snprintf(name[1], sizeof name[1], "l%d", k);
    reel_tensor *mask = reel_batch_get(b, name[0]), *lengths = reel_batch_get(b, name[1]);
    bool image = d->form[k].kind == REEL_IMAGE;
    int first = image && reel_rank(t) == 4 ? 2 : 1; /* dimension of t that is padded */
    int64_t h = image ? reel_size(t, first) : 1, w = reel_size(t, first + image);
    assert_int_equal(reel_dtype_of(mask), REEL_BOOL);
    assert_int_equal(reel_numel(mask), b->size * h * w);
    int64_t longest[2] = {0, 0};
    for (int64_t row = 0; row < b->size; row++) {
        reel_shape s = shape_of(d, k, b->samples[row]);
        for (int a = 0; a <= image; a++) {
            assert_true(value_at(lengths, row * (1 + image) + a) == (double)s.dim[a]);
            if (s.dim[a] > longest[a]) longest[a] = s.dim[a];
        }
        for (int64_t i = 0; i < h * w; i++) {
            bool there = image ? i / w < s.dim[0] && i % w < s.dim[1] : i < s.dim[0];
            assert_true(value_at(mask, row * h * w + i) == there);
        }
    }
    assert_int_equal(image ? h : w, longest[0]); /* no longer than the longest */
    if (image) assert_int_equal(w, longest[1]);
}

/* What lies behind a sample is the value: the sum of all that differ is the sum of rows. */
static void assert_padding(const drawn *d, int k, const reel_batch *b, reel_tensor *t)
{
    const reel_field *f = &d->form[k];
    int64_t inside = 0;
    for (int64_t row = 0; row < b->size; row++)
        inside += elements(shape_of(d, k, b->samples[row]));
    reel_tensor *is = reel_eq(t, reel_scalar(1, reel_dtype_of(t)));
    double ones = reel_item(reel_sum(is, REEL_ALL, false)), ones_inside = 0;
    uint8_t bytes[4096];
    for (int64_t row = 0; row < b->size; row++) {
        reel_shape s = shape_of(d, k, b->samples[row]);
        fill(d, k, b->samples[row], s, bytes);
        reel_tensor *one = reel_from(bytes, s, f->dtype);
        double limit = f->kind == REEL_IMAGE && f->dtype == REEL_U8 ? 255 : 1;
        ones_inside += reel_item(
            reel_sum(reel_eq(one, reel_scalar(limit, f->dtype)), REEL_ALL, false));
    }
    assert_true(ones == ones_inside + (double)(reel_numel(t) - inside));
}

static reel_collate *pad_everything(const drawn *d)
{
    char name[MAX_FIELDS][2][16];
    reel_pad_field pad[MAX_FIELDS];
    int n = 0;
    for (int k = 0; k < d->fields; k++) {
        if (d->form[k].kind == REEL_LABEL) continue;
        snprintf(name[k][0], sizeof name[k][0], "m%d", k);
        snprintf(name[k][1], sizeof name[k][1], "l%d", k);
        pad[n++] = (reel_pad_field){
            .name = d->name[k], .value = 1, .mask = name[k][0], .lengths = name[k][1]};
    }
    return n > 0 ? reel_pad_collate(pad, n) : NULL; /* which copies the names */
}

static void any_fields_are_padded(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        drawn d;
        draw_set(&d, seed, true);
        reel_dataset *ds = reel_dataset_new(&drawn_fns, &d);
        reel_loader *l =
            reel_loader_new(ds, &(reel_loader_opts){.batch = 1 + (int64_t)seed % 7,
                                                    .workers = (int)seed % 3,
                                                    .collate = pad_everything(&d)});
        reel_dataset_free(ds);
        int64_t seen = 0;
        for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);) {
            reel_scope scope = reel_scope_begin();
            for (int k = 0; k < d.fields; k++) {
                reel_tensor *t = b.field[k].tensor;
                assert_string_equal(b.field[k].name, d.name[k]);
                assert_rows(&d, k, &b, t);
                if (d.form[k].kind == REEL_LABEL) continue;
                assert_padding(&d, k, &b, t);
                assert_beside(&d, k, &b, t);
            }
            seen += b.size;
            reel_scope_end(scope);
        }
        assert_ok();
        assert_int_equal(seen, d.n);
        reel_loader_free(l);
    }
    assert_int_equal(reel_live_objects(), 0);
}

/* ---- sequences, as a user has them --------------------------------------------------- */

static int64_t four(void *self)
{
    (void)self;
    return 4;
}

/* Tokens index, index + 1, ...: index + 1 of them; a vector of floats to predict. */
static reel_status sequence(void *self, int64_t index, reel_sample *out)
{
    (void)self;
    int64_t *tokens =
        reel_sample_add(out, "tokens", REEL_ARRAY, REEL_SHAPE(index + 1), REEL_I64);
    double *target = reel_sample_add(out, "target", REEL_ARRAY, REEL_SHAPE(2), REEL_F64);
    if (!tokens || !target) return reel_error_status();
    for (int64_t i = 0; i <= index; i++) tokens[i] = (INT64_C(1) << 60) + index + i;
    target[0] = 0.1, target[1] = (double)index;
    return REEL_OK;
}

static const reel_dataset_fns sequences = {
    .name = "sequences", .length = four, .get = sequence};

static void sequences_are_padded(void **state)
{
    (void)state;
    reel_dataset *ds = reel_dataset_new(&sequences, NULL);
    const reel_pad_field tokens = {
        .name = "tokens", .value = REEL_IGNORE_INDEX, .mask = "mask", .lengths = "n"};
    reel_loader *l = reel_loader_new(
        ds, &(reel_loader_opts){.batch = 3, .collate = reel_pad_collate(&tokens, 1)});
    reel_batch b = reel_loader_begin(l);
    assert_true(reel_loader_next(l, &b));
    assert_int_equal(b.fields, 4);
    const int64_t big = INT64_C(1) << 60;
    const int64_t want[] = {big,  -100,    -100,    big + 1, big + 2,
                            -100, big + 2, big + 3, big + 4};
    const uint8_t mask[] = {1, 0, 0, 1, 1, 0, 1, 1, 1};
    const int64_t n[] = {1, 2, 3};
    assert_memory_equal(reel_data(b.x), want, sizeof want); /* i64 is exact */
    assert_memory_equal(reel_data(reel_batch_get(&b, "mask")), mask, sizeof mask);
    assert_memory_equal(reel_data(reel_batch_get(&b, "n")), n, sizeof n);
    assert_int_equal(reel_dtype_of(b.y), REEL_F64);
    assert_true(((const double *)reel_data(b.y))[0] == 0.1); /* and so is f64 */
    assert_null(reel_batch_get(&b, "masks"));
    assert_error(REEL_ERR_ARG, "no field \"masks\"; it has tokens, target, mask, n");
    assert_int_equal(reel_batch_put(&b, "more", b.x), REEL_ERR_STATE);
    assert_error(REEL_ERR_STATE, "only a collate adds");
    assert_true(reel_loader_next(l, &b));
    assert_int_equal(reel_size(b.x, 1), 4); /* alone it is its own longest */
    assert_false(reel_loader_next(l, &b));
    reel_loader_free(l);

    /* Without padding they do not stack, and the error says what would help. */
    l = reel_loader_new(ds, NULL);
    assert_false(reel_loader_next(l, &b));
    assert_error(REEL_ERR_SHAPE, "\"tokens\": [1] and [2]; a resize, a crop or reel_pad");
    reel_loader_free(l);
    reel_dataset_free(ds);
}

static void padding_refuses(void **state)
{
    (void)state;
    static const struct {
        reel_pad_field pad;
        const char *message;
        reel_status status;
    } cases[] = {
        {{.name = "token"}, "no field \"token\"; it has tokens, target", REEL_ERR_ARG},
        {{.name = "target"}, "differ in the shape of \"tokens\"", REEL_ERR_SHAPE},
        {{.name = "tokens", .value = 0.5}, "0.5 cannot fill up \"tokens\"", REEL_ERR_ARG},
        {{.name = "tokens", .value = 0x1p63}, "cannot fill up", REEL_ERR_ARG},
        {{.name = "tokens", .mask = "target"}, "\"target\" already", REEL_ERR_ARG},
    };
    reel_dataset *ds = reel_dataset_new(&sequences, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reel_loader *l = reel_loader_new(
            ds, &(reel_loader_opts){.collate = reel_pad_collate(&cases[i].pad, 1)});
        reel_batch b;
        assert_false(reel_loader_next(l, &b));
        assert_error(cases[i].status, cases[i].message);
        reel_loader_free(l);
    }
    reel_dataset_free(ds);
}

/* ---- a collate of a user's ------------------------------------------------------------ */

typedef struct asked {
    atomic_int calls, freed;
    int fails;
} asked;

/* The mean of the tokens, and the samples' targets stacked. */
static reel_status mean_tokens(void *user, const reel_sample *samples, int64_t n,
                               reel_batch *out)
{
    asked *m = user;
    atomic_fetch_add(&m->calls, 1);
    if (m->fails == 1) return reel_fail(REEL_ERR_NUMERIC, "mean: no");
    if (m->fails == 2) return REEL_ERR_STATE;
    if (m->fails == 3) return REEL_OK; /* and puts nothing */
    reel_tensor *x = reel_zeros(REEL_SHAPE(n), REEL_F64);
    if (!x) return reel_error_status();
    double *mean = reel_data(x);
    for (int64_t i = 0; i < n; i++) {
        const reel_field *f = reel_sample_field(&samples[i], "tokens");
        if (!f) return reel_error_status();
        for (int64_t k = 0; k < f->shape.dim[0]; k++)
            mean[i] += (double)(((const int64_t *)f->data)[k] - (INT64_C(1) << 60)) /
                       (double)f->shape.dim[0];
    }
    if (reel_batch_put(out, "mean", reel_mul_scalar(x, 2)) ||
        reel_collate_stack(samples, n, "target", out))
        return reel_error_status();
    return out->size == n && out->samples ? REEL_OK : REEL_ERR_STATE;
}

static void free_mean(void *user)
{
    atomic_fetch_add(&((asked *)user)->freed, 1);
}

static void collates_are_called(void **state)
{
    (void)state;
    reel_dataset *ds = reel_dataset_new(&sequences, NULL);
    for (int workers = 0; workers < 3; workers++) {
        asked m = {0};
        reel_collate *c = reel_collate_new(mean_tokens, &m, free_mean);
        reel_loader *l = reel_loader_new(
            ds, &(reel_loader_opts){.batch = 3, .workers = workers, .collate = c});
        for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);)
            for (int64_t i = 0; i < b.size; i++) {
                double k = (double)b.samples[i];
                assert_true(((const double *)reel_data(b.x))[i] == 2 * (k + k / 2));
                assert_true(((const double *)reel_data(b.y))[2 * i + 1] == k);
            }
        assert_ok();
        reel_loader_free(l);
        assert_in_range(atomic_load(&m.calls), 2, 2 + 2 * 2 * workers);
        assert_int_equal(atomic_load(&m.freed), 1);
    }
    /* Taken over by a loader that cannot be made. */
    asked m = {0};
    reel_collate *c = reel_collate_new(mean_tokens, &m, free_mean);
    reel_collate_keep(c);
    assert_null(reel_loader_new(ds, &(reel_loader_opts){.batch = -1, .collate = c}));
    assert_error(REEL_ERR_ARG, "batch -1");
    assert_int_equal(atomic_load(&m.freed), 0);
    reel_collate_free(c);
    assert_int_equal(atomic_load(&m.freed), 1);
    assert_null(reel_collate_new(NULL, &m, free_mean));
    assert_error(REEL_ERR_ARG, "function is NULL");
    assert_int_equal(atomic_load(&m.freed), 2);
    reel_dataset_free(ds);
    assert_int_equal(reel_live_objects(), 0);
}

static void collates_may_fail(void **state)
{
    (void)state;
    static const char *const message[] = {"", "mean: no", "without saying why",
                                          "put nothing into a batch of 4 samples"};
    static const reel_status status[] = {REEL_OK, REEL_ERR_NUMERIC, REEL_ERR_STATE,
                                         REEL_ERR_ARG};
    reel_dataset *ds = reel_dataset_new(&sequences, NULL);
    for (int fails = 1; fails < 4; fails++)
        for (int workers = 0; workers < 2; workers++) {
            asked m = {.fails = fails};
            reel_collate *c = reel_collate_new(mean_tokens, &m, free_mean);
            reel_loader *l = reel_loader_new(
                ds, &(reel_loader_opts){.workers = workers, .collate = c});
            reel_batch b;
            assert_false(reel_loader_next(l, &b));
            assert_error(status[fails], message[fails]);
            assert_false(reel_loader_next(l, &b)); /* the end of the epoch */
            assert_ok();
            reel_loader_free(l);
            assert_int_equal(atomic_load(&m.freed), 1);
        }
    reel_dataset_free(ds);
}

/* ---- samples that differ --------------------------------------------------------------- */

/* Sample 2 differs from the others as `*self` says. */
static reel_status different(void *self, int64_t index, reel_sample *out)
{
    int how = index == 2 ? *(int *)self : 0;
    reel_sample_add(out, how == 1 ? "b" : "a", how == 2 ? REEL_IMAGE : REEL_ARRAY,
                    REEL_SHAPE(2, 2), how == 3 ? REEL_I8 : REEL_U8);
    if (how == 4) reel_sample_label(out, 1);
    return reel_error_status();
}

static void differences_are_named(void **state)
{
    (void)state;
    static const char *const message[] = {
        "", "sample 0 has a field \"a\" where sample 2 has \"b\"",
        "samples 0 and 2 differ in the kind of \"a\"",
        "samples 0 and 2 differ in the dtype of \"a\": u8 and i8",
        "samples 0 and 2 have 1 and 2 fields"};
    static const reel_dataset_fns fns = {.length = four, .get = different};
    for (int how = 1; how < 5; how++) {
        reel_dataset *ds = reel_dataset_new(&fns, &how);
        reel_loader *l = reel_loader_new(ds, NULL);
        reel_batch b;
        assert_false(reel_loader_next(l, &b));
        assert_error(how == 3 ? REEL_ERR_DTYPE : REEL_ERR_ARG, message[how]);
        reel_loader_free(l);
        reel_dataset_free(ds);
    }
}

/* ---- arrays ---------------------------------------------------------------------------- */

/* Every dtype, in batches of the loader, bit for bit; floats as targets. */
static void arrays_stay_exact(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    const int64_t big[] = {INT64_MAX, -(INT64_C(1) << 60) - 1, 3};
    const double third[] = {1.0 / 3, 2.0 / 3, 1e300};
    const uint8_t bytes[] = {0, 128, 255};
    const reel_array arrays[] = {
        {.name = "x", .tensor = reel_from(third, REEL_SHAPE(3, 1), REEL_F64)},
        {.name = "y", .tensor = reel_from(third, REEL_SHAPE(3), REEL_F64)},
        {.name = "big", .tensor = reel_from(big, REEL_SHAPE(3), REEL_I64)},
        {.name = "bytes", .tensor = reel_from(bytes, REEL_SHAPE(3), REEL_U8)},
        {.name = "map",
         .tensor = reel_from(bytes, REEL_SHAPE(3, 1, 1), REEL_U8),
         .kind = REEL_IMAGE},
        {.name = "class",
         .tensor = reel_from(bytes, REEL_SHAPE(3), REEL_U8),
         .kind = REEL_LABEL}};
    reel_dataset *ds = reel_arrays_n(arrays, 6);
    assert_ok();
    assert_int_equal(reel_dataset_classes(ds), 256);
    assert_int_equal(reel_dataset_label(ds, 1), 128);
    reel_loader *l = reel_loader_new(ds, NULL);
    reel_batch b = reel_loader_begin(l);
    assert_true(reel_loader_next(l, &b));
    assert_memory_equal(reel_data(b.x), third, sizeof third);
    assert_memory_equal(reel_data(b.y), third, sizeof third);
    assert_memory_equal(reel_data(reel_batch_get(&b, "big")), big, sizeof big);
    assert_memory_equal(reel_data(reel_batch_get(&b, "bytes")), bytes, sizeof bytes);
    assert_true(((float *)reel_data(reel_batch_get(&b, "map")))[1] == 128.0f / 255.0f);
    assert_true(((int64_t *)reel_data(reel_batch_get(&b, "class")))[2] == 255);
    reel_loader_free(l);
    reel_dataset_free(ds);

    /* x and y alone: float targets are an array, integers [n] labels. */
    ds = reel_arrays(reel_from(third, REEL_SHAPE(3, 1), REEL_F64),
                     reel_from(third, REEL_SHAPE(3), REEL_F64));
    assert_ok();
    assert_true(reel_dataset_label(ds, 0) == INT64_MIN);
    assert_error(REEL_ERR_ARG, "none of the fields is a label");
    reel_dataset_free(ds);
    reel_scope_end(scope);
    assert_int_equal(reel_live_objects(), 0);
}

/* ---- out of memory --------------------------------------------------------------------- */

static void each_allocation_may_fail(void **state)
{
    (void)state;
    for (int workers = 0; workers < 2; workers++) {
        bool done = false;
        for (int64_t k = 1; !done; k++) {
            const reel_pad_field tokens = {
                .name = "tokens", .mask = "mask", .lengths = "n"};
            reel_dataset *ds = reel_dataset_new(&sequences, NULL);
            reel__fault_alloc(k, k % 2);
            reel_collate *c = reel_pad_collate(&tokens, 1);
            reel_loader *l = NULL;
            if (c)
                l = reel_loader_new(
                    ds, &(reel_loader_opts){
                            .batch = 2, .workers = workers, .prefetch = 1, .collate = c});
            reel_batch b = {0};
            for (int i = 0; l && i < 2 && reel_loader_next(l, &b);) i++;
            bool failed = reel_failed();
            reel_loader_free(l);
            done = !failed && reel__fault_alloc_count() < k;
            reel__fault_alloc(0, false);
            if (failed) assert_error(REEL_ERR_MEMORY, "memory");
            reel_dataset_free(ds);
            reel_scope_end(0);
            assert_int_equal(reel_live_objects(), 0);
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(any_fields_stay_what_they_are), TEST(any_fields_are_padded),
        TEST(sequences_are_padded),          TEST(padding_refuses),
        TEST(collates_are_called),           TEST(collates_may_fail),
        TEST(differences_are_named),         TEST(arrays_stay_exact),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
