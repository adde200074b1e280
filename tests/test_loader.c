/* test_loader.c: the same batches whoever makes them, resume, errors, ends in the
 * middle. */
#include <reel/data.h>

#include "temp_folder.h"

#include <stdatomic.h>

/* ---- a data set that can misbehave ------------------------------------------------- */

enum { N = 23 };

typedef struct odd {
    int64_t fails, differs, skips; /* index, -1: none; skips: every k-th */
    int64_t negative, label;       /* index and label of one that is not 100 + index */
    bool silent;                   /* gives no data */
    atomic_int gets, freed;
} odd;

static int64_t odd_length(void *self)
{
    (void)self;
    return N;
}

static reel_status odd_get(void *self, int64_t index, reel_sample *out)
{
    odd *o = self;
    atomic_fetch_add(&o->gets, 1);
    if (index == o->fails)
        return reel_fail(REEL_ERR_IO, "odd: cannot read sample %d", (int)index);
    if (o->skips > 0 && index % o->skips == 0) {
        out->skip = true;
        return REEL_OK;
    }
    if (o->silent) return REEL_OK;
    float *p = reel_sample_add(out, "x", REEL_ARRAY,
                               REEL_SHAPE(index == o->differs ? 3 : 2), REEL_F32);
    if (!p) return reel_error_status();
    p[0] = (float)index;
    p[1] = -1.0f;
    return reel_sample_label(out, index == o->negative ? o->label : 100 + index);
}

static void odd_free(void *self)
{
    atomic_fetch_add(&((odd *)self)->freed, 1);
}

static const reel_dataset_fns odd_fns = {
    .name = "odd", .length = odd_length, .get = odd_get, .free = odd_free};

/* Adds a random number to the second element, so that streams can be compared. */
static reel_status shake(void *self, reel_sample *s, reel_draw *d)
{
    (void)self;
    reel_field *f = s->field[0];
    const float *x = f->data;
    float *out = reel_field_out(f, f->shape, REEL_F32);
    if (!out) return reel_error_status();
    out[0] = x[0];
    out[1] = reel_draw_f32(d);
    return REEL_OK;
}

static reel_loader *make(odd *o, reel_loader_opts opts)
{
    reel_dataset *ds = reel_dataset_new(&odd_fns, o);
    opts.transform = reel_transform_new(shake, NULL, NULL);
    reel_loader *l = reel_loader_new(ds, &opts);
    reel_dataset_free(ds); /* the loader has its own share */
    return l;
}

static odd plain(void)
{
    return (odd){.fails = -1, .differs = -1, .negative = -1};
}

/* What went by: [epoch, batch, index, noise] of every row. */
typedef struct row {
    int64_t epoch, batch, index;
    float noise;
} row;

static int run(reel_loader *l, int epochs, row *rows, int n)
{
    for (int e = 0; e < epochs; e++)
        for (reel_batch b; reel_loader_next(l, &b);) {
            const float *x = reel_data(b.x);
            const int64_t *y = reel_data(b.y);
            for (int64_t i = 0; i < b.size; i++) {
                assert_true((float)b.samples[i] == x[2 * i]);
                assert_int_equal(y[i], 100 + b.samples[i]);
                rows[n++] = (row){b.epoch, b.index, b.samples[i], x[2 * i + 1]};
            }
        }
    return n;
}

static void assert_same(const row *a, const row *b, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(a[i].epoch, b[i].epoch);
        assert_int_equal(a[i].batch, b[i].batch);
        assert_int_equal(a[i].index, b[i].index);
        assert_true(a[i].noise == b[i].noise);
    }
}

/* ---- order ------------------------------------------------------------------------- */

static void order_does_not_depend_on_workers(void **state)
{
    (void)state;
    static const int workers[] = {0, 1, 2, 5}, prefetch[] = {0, 1, 3, 64};
    static const int64_t batch[] = {1, 4, 23, 100};
    for (int b = 0; b < 4; b++) {
        row want[N * 4];
        odd o = plain();
        for (int w = 0; w < 4; w++)
            for (int p = 0; p < 4; p++) {
                row got[N * 4];
                reel_loader *l = make(&o, (reel_loader_opts){.batch = batch[b],
                                                             .shuffle = true,
                                                             .workers = workers[w],
                                                             .prefetch = prefetch[p],
                                                             .seed = 9});
                assert_ok();
                int n = run(l, 4, w + p == 0 ? want : got, 0);
                assert_ok();
                assert_int_equal(n, N * 4);
                if (w + p > 0) assert_same(want, got, n);
                reel_loader_free(l);
            }
        assert_int_equal(atomic_load(&o.freed), 16);
    }
}

static void epochs_are_permutations(void **state)
{
    (void)state;
    odd o = plain();
    row rows[2][N * 3];
    reel_loader *l = make(&o, (reel_loader_opts){.batch = 4, .shuffle = true, .seed = 1});
    run(l, 3, rows[0], 0);
    reel_loader_free(l);
    int same = 0;
    for (int e = 0; e < 3; e++) {
        bool seen[N] = {0};
        for (int i = 0; i < N; i++) {
            int64_t k = rows[0][e * N + i].index;
            assert_false(seen[k]);
            seen[k] = true;
            same += e > 0 && k == rows[0][i].index;
        }
    }
    assert_in_range(same, 0, N / 2);
    l = make(&o, (reel_loader_opts){.batch = 4, .shuffle = true, .seed = 2});
    run(l, 3, rows[1], 0);
    reel_loader_free(l);
    same = 0;
    for (int i = 0; i < N; i++) same += rows[0][i].index == rows[1][i].index;
    assert_in_range(same, 0, N / 2);
    l = make(&o, (reel_loader_opts){.batch = 4});
    run(l, 1, rows[0], 0);
    reel_loader_free(l);
    for (int i = 0; i < N; i++) assert_int_equal(rows[0][i].index, i);
}

static void last_batch_is_smaller_or_dropped(void **state)
{
    (void)state;
    odd o = plain();
    reel_loader *l = make(&o, (reel_loader_opts){.batch = 5, .workers = 1});
    assert_int_equal(reel_loader_batches(l), 5);
    reel_batch b;
    int64_t total = 0;
    for (; reel_loader_next(l, &b); total += b.size)
        assert_int_equal(b.size, b.index == 4 ? 3 : 5);
    assert_int_equal(total, N);
    assert_null(b.x);
    reel_loader_free(l);
    l = make(&o, (reel_loader_opts){.batch = 5, .drop_last = true, .workers = 1});
    assert_int_equal(reel_loader_batches(l), 4);
    for (total = 0; reel_loader_next(l, &b); total += b.size) assert_int_equal(b.size, 5);
    assert_int_equal(total, 20);
    reel_loader_free(l);
}

/* ---- tensors ----------------------------------------------------------------------- */

static void images_are_channels_last(void **state)
{
    (void)state;
    reel_dataset *ds = reel_drawn_images(6, 1, REEL_TRAIN);
    reel_loader *l = reel_loader_new(ds, &(reel_loader_opts){.batch = 4, .workers = 1});
    reel_batch b;
    assert_true(reel_loader_next(l, &b));
    assert_int_equal(reel_rank(b.x), 4);
    assert_int_equal(reel_size(b.x, 0), 4);
    assert_int_equal(reel_size(b.x, 1), 3);
    assert_int_equal(reel_size(b.x, 3), 32);
    assert_true(reel_is_channels_last(b.x));
    assert_int_equal(reel_stride(b.x, 1), 1);
    assert_int_equal(reel_dtype_of(b.y), REEL_I64);

    /* Kept ones outlive the batch and the loader. */
    reel_tensor *x = reel_keep(b.x);
    assert_true(reel_loader_next(l, &b));
    assert_int_equal(b.size, 2);
    reel_loader_free(l);
    reel_sample s = {0};
    reel_dataset_get(ds, 3, &s);
    float pixels[4][32][32][3];
    assert_int_equal(reel_stride(x, 0), 32 * 32 * 3);
    reel_tensor *flat = x;
    assert_int_equal(reel_read(flat, pixels, REEL_F32), REEL_OK);
    const float *planes = &pixels[0][0][0][0]; /* row-major [4, 3, 32, 32] */
    for (int p = 0; p < 1024; p++)
        for (int c = 0; c < 3; c++)
            assert_true(planes[3 * 3072 + c * 1024 + p] ==
                        (float)((const uint8_t *)s.field[0]->data)[3 * p + c] / 255.0f);
    reel_release(x);
    reel_sample_free(&s);
    reel_dataset_free(ds);
}

static void skipped_samples_leave_no_hole(void **state)
{
    (void)state;
    odd o = plain();
    o.skips = 2; /* odd indices remain */
    row rows[N];
    reel_loader *l = make(&o, (reel_loader_opts){.batch = 5, .workers = 2});
    assert_int_equal(run(l, 1, rows, 0), 11);
    for (int i = 0; i < 11; i++) assert_int_equal(rows[i].index, 2 * i + 1);
    reel_loader_free(l);
    o.skips = 1; /* nothing remains: an epoch without a batch, no endless loop */
    l = make(&o, (reel_loader_opts){.batch = 5});
    assert_int_equal(run(l, 3, rows, 0), 0);
    assert_ok();
    assert_int_equal(reel_loader_get_state(l).epoch, 3);
    reel_loader_free(l);
}

/* With drop_last every batch is full, whatever the data set skips. */
static void drop_last_drops_what_skipping_made_short(void **state)
{
    (void)state;
    for (int64_t skips = 2; skips <= 23; skips++)
        for (int64_t batch = 1; batch <= 8; batch++)
            for (int workers = 0; workers < 2; workers++) {
                odd o = plain();
                o.skips = skips;
                reel_loader *l =
                    make(&o, (reel_loader_opts){
                                 .batch = batch, .drop_last = true, .workers = workers});
                int64_t want = 0, got = 0;
                for (int64_t first = 0; first + batch <= N; first += batch) {
                    bool full = true;
                    for (int64_t i = first; i < first + batch; i++)
                        full = full && i % skips != 0;
                    want += full;
                }
                for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b); got++)
                    assert_int_equal(b.size, batch);
                assert_ok();
                assert_int_equal(got, want);
                reel_loader_free(l);
            }
}

/* ---- epochs ------------------------------------------------------------------------ */

/* A loop that is left early, where reel_loader_begin() comes before the next one. */
static void a_loop_is_an_epoch(void **state)
{
    (void)state;
    for (int workers = 0; workers < 3; workers++)
        for (int64_t stop = 0; stop <= 6; stop++) {
            odd o = plain();
            reel_loader_opts opts = {
                .batch = 4, .shuffle = true, .seed = 3, .workers = workers};
            row want[N * 3], got[N * 3];
            reel_loader *l = make(&o, opts);
            run(l, 3, want, 0);
            reel_loader_free(l);

            l = make(&o, opts);
            int64_t batches = 0;
            for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);)
                if (batches++ == stop) break;
            int n = 0; /* epoch 1 is whole, from its first batch on */
            for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);)
                for (int64_t i = 0; i < b.size; i++)
                    got[n++] = (row){b.epoch, b.index, b.samples[i],
                                     ((float *)reel_data(b.x))[2 * i + 1]};
            assert_int_equal(n, N);
            assert_same(want + N, got, n);
            assert_int_equal(reel_loader_get_state(l).epoch, 2);
            (void)reel_loader_begin(l); /* twice is once */
            (void)reel_loader_begin(l);
            n = run(l, 1, got, 0);
            assert_same(want + (ptrdiff_t)2 * N, got, n);
            reel_loader_free(l);
        }
}

/* After set_state the rest of that epoch follows; reel_loader_next() alone goes on. */
static void begin_goes_on_after_set_state(void **state)
{
    (void)state;
    odd o = plain();
    reel_loader *l = make(&o, (reel_loader_opts){.batch = 4, .workers = 1});
    reel_batch b;
    for (int64_t position = 0; position <= 24; position += 4) {
        int64_t at = position < N ? position : N;
        reel_loader_state s = {.epoch = 5, .position = at};
        assert_int_equal(reel_loader_set_state(l, s), REEL_OK);
        int64_t seen = at;
        for (b = reel_loader_begin(l); reel_loader_next(l, &b); seen += b.size)
            assert_int_equal(b.epoch, 5);
        assert_int_equal(seen, N);
        b = reel_loader_begin(l);
        assert_true(reel_loader_next(l, &b));
        assert_int_equal(b.epoch, 6);
        assert_int_equal(b.index, 0);
        assert_true(reel_loader_next(l, &b)); /* no begin: it goes on */
        assert_int_equal(b.index, 1);
    }
    reel_loader_free(l);
}

static void reset_goes_to_an_epoch(void **state)
{
    (void)state;
    for (int workers = 0; workers < 2; workers++) {
        odd o = plain();
        row want[N * 4], got[N * 4];
        reel_loader_opts opts = {.batch = 5, .shuffle = true, .workers = workers};
        reel_loader *l = make(&o, opts);
        run(l, 4, want, 0);
        reel_batch b;
        for (int epoch = 3; epoch >= 0; epoch--)
            for (int before = 0; before < 3; before++) {
                for (int i = 0; i < before; i++) assert_true(reel_loader_next(l, &b));
                assert_int_equal(reel_loader_reset(l, epoch), REEL_OK);
                assert_int_equal(reel_loader_get_state(l).epoch, epoch);
                assert_int_equal(reel_loader_get_state(l).position, 0);
                int n = run(l, 1, got, 0);
                assert_int_equal(n, N);
                assert_same(want + (ptrdiff_t)epoch * N, got, n);
            }
        assert_int_equal(reel_loader_get_state(l).epoch, 1);
        assert_int_equal(reel_loader_reset(l, REEL_NEXT_EPOCH), REEL_OK);
        assert_int_equal(reel_loader_get_state(l).epoch, 1); /* nothing was given out */
        assert_true(reel_loader_next(l, &b));
        assert_int_equal(reel_loader_reset(l, REEL_NEXT_EPOCH), REEL_OK);
        assert_int_equal(reel_loader_get_state(l).epoch, 2);
        assert_int_equal(reel_loader_reset(l, -2), REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "epoch -2, expected REEL_NEXT_EPOCH");
        assert_int_equal(reel_loader_reset(l, INT64_MAX), REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "loader_reset: epoch");
        reel_loader_free(l);
    }
}

/* ---- resume ------------------------------------------------------------------------ */

static void resume_goes_on_the_same(void **state)
{
    (void)state;
    odd o = plain();
    row want[N * 3];
    reel_loader_opts opts = {.batch = 4, .shuffle = true, .seed = 11};
    reel_loader *l = make(&o, opts);
    run(l, 3, want, 0);
    reel_loader_free(l);
    for (int workers = 0; workers < 3; workers++)
        for (int stop = 0; stop <= 6; stop++) {
            opts.workers = workers;
            reel_loader *first = make(&o, opts);
            row got[N * 3];
            reel_batch b;
            run(first, 1, got, 0);
            for (int i = 0; i < stop; i++) assert_true(reel_loader_next(first, &b));
            reel_loader_state at = reel_loader_get_state(first);
            reel_loader_free(first);
            assert_int_equal(at.epoch, 1);
            assert_int_equal(at.position, stop < 6 ? 4 * stop : N);

            opts.workers = 2 - workers;
            opts.seed = 999; /* the state brings the seed */
            reel_loader *second = make(&o, opts);
            if (stop % 2) reel_loader_next(second, &b); /* it had begun elsewhere */
            assert_int_equal(reel_loader_set_state(second, at), REEL_OK);
            int n = run(second, 2, got, 0);
            assert_int_equal(n, 2 * N - (int)at.position);
            assert_same(want + N + at.position, got, n);
            reel_loader_free(second);
            opts.seed = 11;
        }
}

static void states_are_checked(void **state)
{
    (void)state;
    odd o = plain();
    reel_loader *l = make(&o, (reel_loader_opts){.batch = 4});
    const reel_loader_state bad[] = {{.position = -4},
                                     {.position = 3},
                                     {.position = 24},
                                     {.epoch = -1},
                                     {.epoch = INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(reel_loader_set_state(l, bad[i]), REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, "loader_set_state");
    }
    assert_int_equal(reel_loader_set_state(NULL, bad[0]), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "NULL");
    assert_int_equal(reel_loader_get_state(NULL).epoch, 0);
    row rows[N];
    assert_int_equal(run(l, 1, rows, 0), N);
    reel_loader_free(l);
}

/* ---- errors ------------------------------------------------------------------------ */

static void errors_arrive_in_their_place(void **state)
{
    (void)state;
    for (int workers = 0; workers < 4; workers++) {
        odd o = plain();
        o.fails = 13;
        reel_loader *l = make(&o, (reel_loader_opts){.batch = 4, .workers = workers});
        reel_batch b;
        for (int i = 0; i < 3; i++) assert_true(reel_loader_next(l, &b));
        assert_false(reel_loader_next(l, &b));
        assert_null(b.x);
        assert_false(reel_loader_next(l, &b)); /* pending: refuses */
        assert_error(REEL_ERR_IO, "odd: cannot read sample 13");
        assert_true(reel_loader_next(l, &b)); /* and goes on after it */
        assert_int_equal(b.samples[0], 16);
        reel_loader_free(l);

        o = plain();
        o.differs = 6;
        l = make(&o, (reel_loader_opts){.batch = 4, .workers = workers});
        assert_true(reel_loader_next(l, &b));
        assert_false(reel_loader_next(l, &b));
        assert_error(REEL_ERR_SHAPE,
                     "samples 4 and 6 differ in the shape of \"x\": [2] and [3]");
        reel_loader_free(l);
    }
}

/* A label below 0 is named with its sample; the ignored one passes. */
static void negative_labels_are_named(void **state)
{
    (void)state;
    for (int64_t label = -103; label < 0; label += label == -98 ? 90 : 1) {
        odd o = plain();
        o.negative = 9;
        o.label = label;
        reel_loader *l = make(&o, (reel_loader_opts){.batch = 4, .workers = 1});
        reel_batch b;
        for (int i = 0; i < 2; i++) assert_true(reel_loader_next(l, &b));
        assert_int_equal(reel_loader_next(l, &b), label == REEL_IGNORE_INDEX);
        if (label == REEL_IGNORE_INDEX) {
            assert_ok();
            assert_true(((const int64_t *)reel_data(b.y))[1] == REEL_IGNORE_INDEX);
        } else {
            char text[64];
            snprintf(text, sizeof text, "label \"y\" of sample 9 is %d,", (int)label);
            assert_error(REEL_ERR_ARG, text);
        }
        reel_loader_free(l);
    }
}

static void loaders_refuse(void **state)
{
    (void)state;
    reel_dataset *ds = reel_drawn_images(4, 1, REEL_TRAIN);
    const reel_loader_opts bad[] = {{.batch = -1},      {.workers = -1},
                                    {.workers = 257},   {.prefetch = -1},
                                    {.prefetch = 5000}, {.batch = 5, .drop_last = true}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reel_loader_opts opts = bad[i];
        opts.transform = reel_transform_random_hflip(0.5f); /* taken over all the same */
        assert_null(reel_loader_new(ds, &opts));
        assert_error(REEL_ERR_ARG, "loader_new: ");
    }
    assert_null(reel_loader_new(NULL, NULL));
    assert_error(REEL_ERR_ARG, "dataset is NULL");
    reel_batch b;
    assert_false(reel_loader_next(NULL, &b));
    assert_error(REEL_ERR_ARG, "loader is NULL");
    reel_loader *l = reel_loader_new(ds, NULL);
    assert_false(reel_loader_next(l, NULL));
    assert_error(REEL_ERR_ARG, "out is NULL");
    assert_int_equal(reel_loader_batches(NULL), -1);
    assert_true(reel_loader_next(l, &b));
    assert_int_equal(b.size, 4);
    reel_loader_free(l);
    reel_loader_free(NULL);
    reel_dataset_free(ds);

    odd o = plain();
    o.silent = true;
    l = make(&o, (reel_loader_opts){.batch = 4});
    assert_false(reel_loader_next(l, &b));
    assert_error(REEL_ERR_ARG, "odd: sample 0 has no fields and is not skipped");
    reel_loader_free(l);
}

/* ---- ends -------------------------------------------------------------------------- */

static void free_is_safe_at_any_time(void **state)
{
    (void)state;
    odd o = plain();
    int64_t objects = reel_live_objects();
    for (int i = 0; i < 60; i++) {
        reel_loader *l = make(&o, (reel_loader_opts){.batch = 1 + i % 5,
                                                     .workers = 1 + i % 4,
                                                     .prefetch = i % 7,
                                                     .shuffle = true});
        reel_batch b;
        for (int k = 0; k < i; k++) reel_loader_next(l, &b);
        reel_loader_free(l);
        assert_int_equal(atomic_load(&o.freed), i + 1);
    }
    assert_ok();
    assert_int_equal(reel_live_objects(), objects);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    int64_t objects = reel_live_objects();
    for (int workers = 0; workers < 2; workers++) {
        bool done = false;
        for (int64_t k = 1; !done; k++) {
            odd o = plain();
            reel__fault_alloc(k, k % 2);
            reel_loader *l = make(
                &o, (reel_loader_opts){
                        .batch = 8, .workers = workers, .prefetch = 1, .shuffle = true});
            reel_batch b;
            for (int i = 0; l && i < 3 && reel_loader_next(l, &b);) i++;
            bool failed = reel_failed();
            reel_loader_free(l);
            done = !failed && reel__fault_alloc_count() < k;
            reel__fault_alloc(0, false);
            if (failed) assert_error(REEL_ERR_MEMORY, "memory");
            assert_int_equal(reel_live_objects(), objects);
        }
    }
}

static reel_status no_rank_get(void *self, int64_t index, reel_sample *out)
{
    (void)index;
    if (reel_sample_borrow(out, "x", REEL_ARRAY, self, REEL_SHAPE(1), REEL_F32))
        return reel_error_status();
    out->field[0]->shape.rank = *(int *)self;
    return REEL_OK;
}

/* A data set of one's own may say nonsense; no transform looks at it first. */
static void ranks_are_checked(void **state)
{
    (void)state;
    static const reel_dataset_fns fns = {.length = odd_length, .get = no_rank_get};
    for (int i = 0; i < 2; i++) {
        int rank = i ? REEL_MAX_RANK : -1;
        reel_batch b;
        reel_dataset *ds = reel_dataset_new(&fns, &rank);
        reel_loader *l = reel_loader_new(ds, &(reel_loader_opts){.batch = 4});
        assert_false(reel_loader_next(l, &b));
        assert_error(REEL_ERR_SHAPE, "loader_next: field \"x\" has rank");
        reel_loader_free(l);
        reel_dataset_free(ds);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(order_does_not_depend_on_workers),
        TEST(epochs_are_permutations),
        TEST(last_batch_is_smaller_or_dropped),
        TEST(images_are_channels_last),
        TEST(skipped_samples_leave_no_hole),
        TEST(drop_last_drops_what_skipping_made_short),
        TEST(a_loop_is_an_epoch),
        TEST(begin_goes_on_after_set_state),
        TEST(reset_goes_to_an_epoch),
        TEST(resume_goes_on_the_same),
        TEST(states_are_checked),
        TEST(errors_arrive_in_their_place),
        TEST(ranks_are_checked),
        TEST(negative_labels_are_named),
        TEST(loaders_refuse),
        TEST(free_is_safe_at_any_time),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
