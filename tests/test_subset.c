/* test_subset.c: parts of data sets, several as one, labels without decoding, and samples
 * drawn by weight. */
#include <reel/data.h>

#include "temp_folder.h"

#include <math.h>
#include <stdatomic.h>

/* ---- a data set that counts its reads ----------------------------------------------- */

typedef struct counted {
    int64_t n, first;
    bool knows_labels;
    atomic_int gets, freed;
} counted;

static int64_t counted_length(void *self)
{
    return ((counted *)self)->n;
}

/* x is first + index; the label is its last digit. */
static reel_status counted_get(void *self, int64_t index, reel_sample *out)
{
    counted *c = self;
    atomic_fetch_add(&c->gets, 1);
    int64_t *x = reel_sample_add(out, "x", REEL_ARRAY, REEL_SCALAR, REEL_I64);
    if (!x) return reel_error_status();
    *x = c->first + index;
    return reel_sample_label(out, *x % 10);
}

static int64_t counted_label(void *self, int64_t index)
{
    return (((counted *)self)->first + index) % 10;
}

static int64_t counted_classes(void *self)
{
    return 10 + ((counted *)self)->first % 2;
}

static const char *counted_name(void *self, int64_t k)
{
    (void)self;
    return k == 3 ? "three" : NULL;
}

static reel_shape counted_shape(void *self)
{
    return ((counted *)self)->first == 77 ? REEL_SHAPE(7) : REEL_SHAPE(1, 2);
}

static void counted_free(void *self)
{
    atomic_fetch_add(&((counted *)self)->freed, 1);
}

static const reel_dataset_fns slow_fns = {
    .name = "slow", .length = counted_length, .get = counted_get, .free = counted_free};
static const reel_dataset_fns quick_fns = {.name = "quick",
                                           .length = counted_length,
                                           .get = counted_get,
                                           .label = counted_label,
                                           .shape = counted_shape,
                                           .classes = counted_classes,
                                           .class_name = counted_name,
                                           .free = counted_free};

static reel_dataset *make(counted *c)
{
    return reel_dataset_new(c->knows_labels ? &quick_fns : &slow_fns, c);
}

static int64_t x_of(reel_dataset *ds, int64_t index)
{
    reel_sample s = {0};
    assert_int_equal(reel_dataset_get(ds, index, &s), REEL_OK);
    int64_t x = *(const int64_t *)s.field[0]->data;
    assert_int_equal(reel_dataset_label(ds, index), x % 10);
    reel_sample_free(&s);
    return x;
}

/* ---- subsets and chains -------------------------------------------------------------- */

enum { MOST = 64 };

/* A data set, and what x its samples have. */
typedef struct known {
    reel_dataset *ds;
    int64_t n, x[MOST];
} known;

static known any_subset(reel_draw *d, known of)
{
    int64_t index[MOST];
    known k = {.n = 1 + reel_draw_below(d, MOST)};
    for (int64_t i = 0; i < k.n; i++) {
        index[i] = reel_draw_below(d, (uint32_t)of.n);
        k.x[i] = of.x[index[i]];
    }
    k.ds = reel_dataset_subset(of.ds, index, k.n);
    reel_dataset_free(of.ds);
    return k;
}

static known any_chain(reel_draw *d, known a)
{
    int n = 1 + (int)reel_draw_below(d, 3);
    reel_dataset *part[3] = {a.ds, a.ds, a.ds};
    known k = {.n = 0};
    while (n * a.n > MOST) n--;
    for (int p = 0; p < n; p++)
        for (int64_t i = 0; i < a.n; i++) k.x[k.n++] = a.x[i];
    k.ds = reel_dataset_concat(part, n);
    reel_dataset_free(a.ds);
    return k;
}

/* Nested in any way they give the samples that they stand for, and free what is below. */
static void any_nesting_gives_its_samples(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        reel_draw d = reel_draw_at(seed, 0, 0);
        counted c = {.n = 1 + reel_draw_below(&d, MOST),
                     .first = reel_draw_below(&d, 50),
                     .knows_labels = seed % 2};
        known k = {.ds = make(&c), .n = c.n};
        for (int64_t i = 0; i < c.n; i++) k.x[i] = c.first + i;
        for (int depth = 0; depth < 5; depth++)
            k = reel_draw_below(&d, 2) ? any_subset(&d, k) : any_chain(&d, k);
        assert_ok();
        assert_int_equal(reel_dataset_length(k.ds), k.n);
        for (int64_t i = 0; i < k.n; i++) assert_int_equal(x_of(k.ds, i), k.x[i]);
        assert_int_equal(reel_dataset_classes(k.ds),
                         c.knows_labels ? 10 + c.first % 2 : 0);
        assert_string_equal(reel_dataset_class_name(k.ds, 3),
                            c.knows_labels ? "three" : "?");
        assert_int_equal(atomic_load(&c.freed), 0);
        reel_dataset_free(k.ds);
        assert_int_equal(atomic_load(&c.freed), 1);
    }
}

static void chains_join_what_their_parts_say(void **state)
{
    (void)state;
    counted a = {.n = 3, .first = 10, .knows_labels = true};
    counted b = {.n = 2, .first = 21, .knows_labels = true};
    counted c = {.n = 2, .first = 77, .knows_labels = true};
    reel_dataset *part[] = {make(&a), make(&b), make(&c)};
    reel_dataset *two = reel_dataset_concat(part, 2),
                 *three = reel_dataset_concat(part, 3);
    for (int i = 0; i < 3; i++) reel_dataset_free(part[i]);
    assert_int_equal(reel_dataset_classes(two), 11); /* of b, which has more */
    assert_int_equal(reel_dataset_shape(two).rank, 2);
    assert_int_equal(reel_dataset_shape(three).rank, -1); /* not all the same */
    assert_int_equal(x_of(three, 2), 12);
    assert_int_equal(x_of(three, 3), 21);
    assert_int_equal(x_of(three, 6), 78);
    reel_dataset_free(two);
    reel_dataset_free(three);
    assert_int_equal(atomic_load(&b.freed), 1);
}

/* A data set that knows its labels is not asked for the sample; one that does not is. */
static void labels_need_no_decoding(void **state)
{
    (void)state;
    for (int knows = 0; knows < 2; knows++) {
        counted c = {.n = 30, .first = 5, .knows_labels = knows};
        reel_dataset *ds = make(&c);
        int64_t all[] = {4, 4, 0}, n[11] = {0};
        reel_dataset *part = reel_dataset_subset(ds, all, 3);
        for (int64_t i = 0; i < 30; i++) n[reel_dataset_label(ds, i)]++;
        assert_int_equal(reel_dataset_label(part, 1), 9);
        for (int k = 0; k < 10; k++) assert_int_equal(n[k], 3);
        assert_int_equal(atomic_load(&c.gets), knows ? 0 : 31);
        assert_true(reel_dataset_label(ds, 30) == INT64_MIN);
        assert_error(REEL_ERR_ARG, "dataset_label: index 30, expected 0 to 29");
        reel_dataset_free(part);
        reel_dataset_free(ds);
    }
}

/* ---- random splits --------------------------------------------------------------------- */

static void splits_have_nothing_in_common(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        reel_draw d = reel_draw_at(seed, 1, 0);
        counted c = {.n = 8 + reel_draw_below(&d, 40)};
        reel_dataset *ds = make(&c), *part[4], *again[4];
        int n = 1 + (int)reel_draw_below(&d, 4);
        double lengths[4];
        int64_t left = c.n;
        for (int i = 0; i < n; i++) {
            int64_t k = 1 + reel_draw_below(&d, (uint32_t)(left - (n - 1 - i)));
            if (i == n - 1) k = left;
            left -= k;
            lengths[i] = (double)k;
        }
        assert_int_equal(reel_dataset_random_split(ds, lengths, n, seed, part), REEL_OK);
        assert_int_equal(reel_dataset_random_split(ds, lengths, n, seed, again), REEL_OK);
        bool seen[MOST] = {0};
        for (int i = 0; i < n; i++) {
            assert_true((double)reel_dataset_length(part[i]) == lengths[i]);
            for (int64_t k = 0; k < reel_dataset_length(part[i]); k++) {
                int64_t x = x_of(part[i], k);
                assert_int_equal(x_of(again[i], k), x);
                assert_false(seen[x]);
                seen[x] = true;
            }
            reel_dataset_free(part[i]);
            reel_dataset_free(again[i]);
        }
        for (int64_t i = 0; i < c.n; i++) assert_true(seen[i]);
        reel_dataset_free(ds);
        assert_int_equal(atomic_load(&c.freed), 1);
    }
}

/* Lengths of torch.utils.data.random_split (2.x) for these fractions. */
static void fractions_round_as_in_pytorch(void **state)
{
    (void)state;
    static const struct {
        int64_t n;
        int parts;
        double fraction[4];
        int64_t length[4];
    } cases[] = {
        {10, 3, {0.3, 0.3, 0.4}, {3, 3, 4}},
        {10, 3, {1.0 / 3, 1.0 / 3, 1.0 / 3}, {4, 3, 3}},
        {11, 3, {1.0 / 3, 1.0 / 3, 1.0 / 3}, {4, 4, 3}},
        {7, 2, {0.5, 0.5}, {4, 3}},
        {101, 3, {0.7, 0.2, 0.1}, {71, 20, 10}},
        {1000, 3, {0.333, 0.333, 0.334}, {333, 333, 334}},
        {13, 2, {0.05, 0.95}, {1, 12}},
        {99, 4, {0.25, 0.25, 0.25, 0.25}, {25, 25, 25, 24}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        counted c = {.n = cases[i].n};
        reel_dataset *ds = make(&c), *part[4];
        assert_int_equal(
            reel_dataset_random_split(ds, cases[i].fraction, cases[i].parts, 1, part),
            REEL_OK);
        for (int k = 0; k < cases[i].parts; k++) {
            assert_int_equal(reel_dataset_length(part[k]), cases[i].length[k]);
            reel_dataset_free(part[k]);
        }
        reel_dataset_free(ds);
    }
}

static void parts_refuse(void **state)
{
    (void)state;
    counted c = {.n = 10};
    reel_dataset *ds = make(&c), *out[3];
    static const struct {
        double lengths[2];
        const char *message;
    } bad[] = {{{5, 4}, "add up to 9, expected 10"},
               {{-1, 11}, "part 0 of -1"},
               {{NAN, 1}, "part 0 of nan"},
               {{2.5, 7.5}, "part 0 of 2.5 samples; lengths are whole"},
               {{0.3, 0.6}, "fractions add up to 1, not 0.9"},
               {{10, 0}, "part 1 of 0 has no sample"},
               {{1, 0}, "part 1 of 0 has no sample"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        out[0] = out[1] = ds;
        assert_int_equal(reel_dataset_random_split(ds, bad[i].lengths, 2, 1, out),
                         REEL_ERR_ARG);
        assert_error(REEL_ERR_ARG, bad[i].message);
        assert_null(out[0]);
        assert_null(out[1]);
    }
    const double good[] = {5, 5};
    assert_int_equal(reel_dataset_random_split(NULL, good, 2, 1, out), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "dataset is NULL");
    assert_int_equal(reel_dataset_random_split(ds, good, 2, 1, NULL), REEL_ERR_ARG);
    assert_error(REEL_ERR_ARG, "out is NULL");
    const int64_t high = 10, low = -1;
    assert_null(reel_dataset_subset(ds, &high, 1));
    assert_error(REEL_ERR_ARG, "index 10 at 0, expected 0 to 9");
    assert_null(reel_dataset_subset(ds, &low, 1));
    assert_error(REEL_ERR_ARG, "index -1");
    assert_null(reel_dataset_subset(ds, &low, 0));
    assert_error(REEL_ERR_ARG, "no indices");
    assert_null(reel_dataset_concat(NULL, 1));
    assert_error(REEL_ERR_ARG, "no datasets");
    assert_null(reel_dataset_concat((reel_dataset *[]){ds, NULL}, 2));
    assert_error(REEL_ERR_ARG, "a dataset is NULL");
    reel_dataset_free(ds);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        counted c = {.n = 10};
        reel_dataset *ds = make(&c), *part[3] = {0};
        reel__fault_alloc(k, k % 2);
        reel_dataset_random_split(ds, (double[]){0.5, 0.3, 0.2}, 3, 1, part);
        reel_dataset *all = reel_dataset_concat(part, 3);
        bool failed = reel_failed();
        done = !failed && reel__fault_alloc_count() < k;
        reel__fault_alloc(0, false);
        if (failed) assert_error(REEL_ERR_MEMORY, "memory");
        for (int i = 0; i < 3; i++) reel_dataset_free(part[i]);
        reel_dataset_free(all);
        reel_dataset_free(ds);
        assert_int_equal(atomic_load(&c.freed), 1);
    }
}

/* ---- by weight -------------------------------------------------------------------------- */

/* Each sample comes as often as its weight says, within five deviations; 0 never comes. */
static void weights_are_probabilities(void **state)
{
    (void)state;
    enum { N = 7, DRAWS = 20000 };
    const double weights[N] = {0, 3, 1, 0, 0.5, 2.5, 0};
    counted c = {.n = N};
    reel_dataset *ds = make(&c);
    double count[N] = {0}, total = 0;
    reel_loader *l = reel_loader_new(
        ds,
        &(reel_loader_opts){
            .batch = 64, .weights = weights, .draws = DRAWS, .seed = 3, .workers = 1});
    for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);)
        for (int64_t i = 0; i < b.size; i++, total++) count[b.samples[i]]++;
    assert_ok();
    assert_true(total == DRAWS);
    for (int i = 0; i < N; i++) {
        double p = weights[i] / 7;
        if (p == 0) assert_true(count[i] == 0);
        assert_true(fabs(count[i] - DRAWS * p) <= 5 * sqrt(DRAWS * p * (1 - p)));
    }
    reel_loader_free(l);
    reel_dataset_free(ds);
}

/* Adds a random number, to tell streams apart. */
static reel_status add_noise(void *self, reel_sample *s, reel_draw *d)
{
    (void)self;
    float *noise = reel_sample_add(s, "noise", REEL_ARRAY, REEL_SCALAR, REEL_F32);
    if (noise) *noise = reel_draw_f32(d);
    return reel_error_status();
}

typedef struct row {
    int64_t index;
    float noise;
} row;

static int run(reel_loader *l, row *rows)
{
    int n = 0;
    for (reel_batch b = reel_loader_begin(l); reel_loader_next(l, &b);) {
        const float *noise = reel_data(reel_batch_get(&b, "noise"));
        for (int64_t i = 0; i < b.size; i++) rows[n++] = (row){b.samples[i], noise[i]};
    }
    assert_ok();
    return n;
}

static void assert_same(const row *a, const row *b, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(a[i].index, b[i].index);
        assert_true(a[i].noise == b[i].noise);
    }
}

/* The same draws for any number of workers and after a resume; other ones each epoch; a
 * sample that comes again in one epoch is not transformed alike. */
static void weighted_draws_are_reproducible(void **state)
{
    (void)state;
    enum { N = 5, DRAWS = 33 };
    const double weights[N] = {1, 1, 1, 0, 4};
    row want[2][DRAWS], got[DRAWS];
    for (int workers = 0; workers < 3; workers++) {
        counted c = {.n = N};
        reel_dataset *ds = make(&c);
        reel_loader *l = reel_loader_new(
            ds,
            &(reel_loader_opts){.batch = 4,
                                .weights = weights,
                                .draws = DRAWS,
                                .workers = workers,
                                .transform = reel_transform_new(add_noise, NULL, NULL)});
        reel_dataset_free(ds);
        assert_int_equal(reel_loader_batches(l), 9);
        for (int epoch = 0; epoch < 2; epoch++) {
            assert_int_equal(run(l, workers ? got : want[epoch]), DRAWS);
            if (workers) assert_same(got, want[epoch], DRAWS);
        }
        reel_loader_state at = {.epoch = 1, .position = 8};
        assert_int_equal(reel_loader_set_state(l, at), REEL_OK);
        assert_int_equal(run(l, got), DRAWS - 8);
        assert_same(got, want[1] + 8, DRAWS - 8);
        reel_loader_free(l);
    }
    int same = 0;
    for (int i = 0; i < DRAWS; i++) {
        same += want[0][i].index == want[1][i].index;
        for (int k = 0; k < i; k++) assert_true(want[0][i].noise != want[0][k].noise);
    }
    assert_in_range(same, 0, DRAWS - 1);
}

static void weights_refuse(void **state)
{
    (void)state;
    counted c = {.n = 3};
    reel_dataset *ds = make(&c);
    const double good[] = {1, 2, 3}, negative[] = {1, -2, 3}, nan[] = {1, 2, NAN},
                 zero[] = {0, 0, 0}, huge[] = {1e308, 1e308, 1};
    static const char *const message[] = {
        "weight -2 of sample 1",    "weight nan of sample 2",
        "3 weights have the sum 0", "3 weights have the sum inf",
        "weights and shuffle",      "-1 draws",
        "5 draws, but no weights",  "4 samples in batches of 5"};
    const reel_loader_opts bad[] = {
        {.weights = negative},
        {.weights = nan},
        {.weights = zero},
        {.weights = huge},
        {.weights = good, .shuffle = true},
        {.weights = good, .draws = -1},
        {.draws = 5},
        {.weights = good, .draws = 4, .batch = 5, .drop_last = true}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(reel_loader_new(ds, &bad[i]));
        assert_error(REEL_ERR_ARG, message[i]);
    }
    reel_dataset_free(ds);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, temp_clean)
    const struct CMUnitTest tests[] = {
        TEST(any_nesting_gives_its_samples),   TEST(chains_join_what_their_parts_say),
        TEST(labels_need_no_decoding),         TEST(splits_have_nothing_in_common),
        TEST(fractions_round_as_in_pytorch),   TEST(parts_refuse),
        TEST(each_allocation_may_fail),        TEST(weights_are_probabilities),
        TEST(weighted_draws_are_reproducible), TEST(weights_refuse),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
