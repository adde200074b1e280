/* Attention and its gradients: the blocked kernels against the whole matrix of
 * probabilities in double precision. */
#include "kernel_check.h"

typedef enum mask_kind {
    NO_MASK,
    BOOL_MASK,
    BROADCAST_MASK, /* bool [batch, heads, 1, lk] */
    FLOAT_MASK,     /* [heads, lq, lk], not row-major */
    PAIRS_MASK,     /* [lq, lk] */
    KEYS_MASK,      /* [batch, 1, 1, lk] */
    QUERIES_MASK,   /* [1, heads, lq, 1] */
    KEY_MASK,       /* [lk] */
    FULL_MASK,      /* [batch, heads, lq, lk] */
    HEAD_MASK,      /* [heads, 1, 1] */
    NUMBER_MASK,    /* [] */
    MASKS
} mask_kind;

typedef struct test_case {
    int64_t batch, heads, lq, lk, d, dv;
    mask_kind mask;
    bool causal, permuted;
    double dropout;
} test_case;

/* [batch, heads, rows, width]; permuted: memory [batch, rows, heads, width]. */
static operand matrices(const test_case *c, int64_t rows, int64_t width, uint64_t seed)
{
    return make(REEL_SHAPE(c->batch, c->heads, rows, width), REEL_F32,
                c->permuted ? (const int[]){0, 2, 1, 3} : NULL, seed);
}

static operand bool_mask(const test_case *c)
{
    operand m;
    if (c->mask == BOOL_MASK) {
        m = make(REEL_SHAPE(c->batch, 1, c->lq, c->lk), REEL_BOOL, NULL, 9);
        for (int64_t j = 0; j < c->lk; j++) ((uint8_t *)m.data)[j] = 0; /* a masked row */
    } else {
        m = make(REEL_SHAPE(c->batch, c->heads, 1, c->lk), REEL_BOOL, NULL, 9);
        for (int64_t i = 0; i < c->batch * c->heads; i++)
            ((uint8_t *)m.data)[i * c->lk] = 1;
    }
    return m;
}

/* Values in [-1, 1), but a masked row where there are rows, half of it by numbers that are
 * lower than any score. */
static operand float_mask(const test_case *c)
{
    const int order[] = {0, 2, 1};
    const reel_shape shape[MASKS] = {
        [FLOAT_MASK] = REEL_SHAPE(c->heads, c->lq, c->lk),
        [PAIRS_MASK] = REEL_SHAPE(c->lq, c->lk),
        [KEYS_MASK] = REEL_SHAPE(c->batch, 1, 1, c->lk),
        [QUERIES_MASK] = REEL_SHAPE(1, c->heads, c->lq, 1),
        [KEY_MASK] = REEL_SHAPE(c->lk),
        [FULL_MASK] = REEL_SHAPE(c->batch, c->heads, c->lq, c->lk),
        [HEAD_MASK] = REEL_SHAPE(c->heads, 1, 1),
    };
    operand m = make(shape[c->mask], REEL_F32, c->mask == FLOAT_MASK ? order : NULL, 9);
    for (int64_t j = 0; c->mask == PAIRS_MASK && j < c->lk; j++)
        ((float *)m.data)[j] = j % 2 ? -1e9F : -INFINITY;
    return m;
}

static operand mask_of(const test_case *c)
{
    if (c->mask == NO_MASK) return (operand){.data = NULL};
    return c->mask <= BROADCAST_MASK ? bool_mask(c) : float_mask(c);
}

/* Where the pair (i, j) of matrix b lies in a dense or strided operand that broadcasts. */
static int64_t mask_place(const reel__meta *m, const int64_t *b, int64_t i, int64_t j)
{
    const int64_t index[] = {b[0], b[1], i, j};
    int64_t place = 0;
    for (int d = 0; d < m->rank; d++)
        if (m->dim[d] != 1) place += index[4 - m->rank + d] * m->stride[d];
    return place;
}

static double row_dot(const operand *x, const operand *y, const int64_t *b, int64_t i,
                      int64_t j, int64_t n)
{
    double sum = 0;
    for (int64_t l = 0; l < n; l++)
        sum +=
            at(x, (int64_t[]){b[0], b[1], i, l}) * at(y, (int64_t[]){b[0], b[1], j, l});
    return sum;
}

static double score(const test_case *c, const reel__attention_attrs *a, const operand *q,
                    const operand *k, const operand *mask, const int64_t *b, int64_t i,
                    int64_t j)
{
    if (a->causal && j > i) return -INFINITY;
    double s = a->scale * row_dot(q, k, b, i, j, c->d);
    if (!mask->data) return s;
    int64_t place = mask_place(&mask->meta, b, i, j);
    if (mask->meta.dtype == REEL_BOOL)
        return ((const uint8_t *)mask->data)[place] ? s : -INFINITY;
    float m = ((const float *)mask->data)[place];
    return m < -1e6F ? (double)((float)s + m) : s + (double)m; /* rounding is the point */
}

static double dropout_factor(const test_case *c, const reel__attention_attrs *a,
                             const int64_t *b, int64_t i, int64_t j)
{
    if (a->dropout == 0) return 1;
    int64_t e = ((b[0] * c->heads + b[1]) * c->lq + i) * c->lk + j;
    uint32_t w[4];
    reel__philox((uint64_t)a->seed, (uint64_t)(a->offset + e / 4), w);
    return (double)reel__u01f(w[e % 4]) < a->dropout ? 0 : 1 / (1 - a->dropout);
}

/* p [lq, lk] and f [lq, lk] of one matrix; stats [lq, 2]. */
static void probabilities(const test_case *c, const reel__attention_attrs *a,
                          const operand *in, const int64_t *b, double *p, double *f,
                          double *stats)
{
    for (int64_t i = 0; i < c->lq; i++) {
        double max = -INFINITY, sum = 0;
        double *row = p + i * c->lk;
        for (int64_t j = 0; j < c->lk; j++) {
            row[j] = score(c, a, &in[0], &in[1], &in[3], b, i, j);
            f[i * c->lk + j] = dropout_factor(c, a, b, i, j);
            max = fmax(max, row[j]);
        }
        for (int64_t j = 0; j < c->lk; j++) {
            row[j] = max == -INFINITY ? 0 : exp(row[j] - max);
            sum += row[j];
        }
        for (int64_t j = 0; j < c->lk; j++) row[j] /= sum > 0 ? sum : 1;
        stats[2 * i] = max;
        stats[2 * i + 1] = sum;
    }
}

static void check_forward(const test_case *c, const operand *in, const operand *out,
                          const int64_t *b, const double *p, const double *f,
                          const double *stats)
{
    for (int64_t i = 0; i < c->lq; i++) {
        double max = stats[2 * i], sum = stats[2 * i + 1];
        check_near(at(&out[1], (int64_t[]){b[0], b[1], i, 0}), max, 5e-6, "maximum");
        check_near(at(&out[1], (int64_t[]){b[0], b[1], i, 1}), sum, 5e-6 * sum, "sum");
        for (int64_t l = 0; l < c->dv; l++) {
            double y = 0;
            for (int64_t j = 0; j < c->lk; j++)
                y += p[i * c->lk + j] * f[i * c->lk + j] *
                     at(&in[2], (int64_t[]){b[0], b[1], j, l});
            check_near(at(&out[0], (int64_t[]){b[0], b[1], i, l}), y, 5e-6, "y");
        }
    }
}

static void check_gradients(const test_case *c, const reel__attention_attrs *a,
                            const operand *in, const operand *gy, const operand *y,
                            const operand *grad, const int64_t *b, const double *p,
                            const double *f, double *gmask)
{
    int64_t n = c->lq * c->lk;
    double *ds = must(calloc((size_t)n + 1, sizeof *ds));
    for (int64_t i = 0; i < c->lq; i++) {
        double d = row_dot(gy, y, b, i, i, c->dv);
        for (int64_t j = 0; j < c->lk; j++) {
            double dp = row_dot(gy, &in[2], b, i, j, c->dv) * f[i * c->lk + j];
            double slope = p[i * c->lk + j] * (dp - d);
            ds[i * c->lk + j] = a->scale * slope;
            if (gmask) gmask[mask_place(&grad[3].meta, b, i, j)] += slope;
        }
        for (int64_t l = 0; l < c->d; l++) {
            double gq = 0;
            for (int64_t j = 0; j < c->lk; j++)
                gq += ds[i * c->lk + j] * at(&in[1], (int64_t[]){b[0], b[1], j, l});
            check_near(at(&grad[0], (int64_t[]){b[0], b[1], i, l}), gq, 1e-5, "gq");
        }
    }
    for (int64_t j = 0; j < c->lk; j++) {
        for (int64_t l = 0; l < c->d; l++) {
            double gk = 0;
            for (int64_t i = 0; i < c->lq; i++)
                gk += ds[i * c->lk + j] * at(&in[0], (int64_t[]){b[0], b[1], i, l});
            check_near(at(&grad[1], (int64_t[]){b[0], b[1], j, l}), gk, 2e-5, "gk");
        }
        for (int64_t l = 0; l < c->dv; l++) {
            double gv = 0;
            for (int64_t i = 0; i < c->lq; i++)
                gv += p[i * c->lk + j] * f[i * c->lk + j] *
                      at(gy, (int64_t[]){b[0], b[1], i, l});
            check_near(at(&grad[2], (int64_t[]){b[0], b[1], j, l}), gv, 2e-5, "gv");
        }
    }
    free(ds);
}

/* What the kernels gave, against double precision. */
static void check(const test_case *c, const reel__attention_attrs *a, const operand *in,
                  const operand *out, const operand *gy, const operand *grad)
{
    size_t n = (size_t)(c->lq * c->lk) + 1;
    double *p = must(calloc(n, sizeof *p)), *f = must(calloc(n, sizeof *f));
    double *stats = must(calloc((size_t)c->lq * 2 + 1, sizeof *stats)), *gmask = NULL;
    int64_t size = grad[3].data ? reel__numel(&grad[3].meta) : 0;
    if (grad[3].data) gmask = must(calloc((size_t)size + 1, sizeof *gmask));
    for (int64_t x = 0; x < c->batch * c->heads; x++) {
        int64_t b[] = {x / c->heads, x % c->heads};
        probabilities(c, a, in, b, p, f, stats);
        check_forward(c, in, out, b, p, f, stats);
        check_gradients(c, a, in, gy, &out[0], grad, b, p, f, gmask);
    }
    double terms = size ? (double)(c->batch * c->heads * c->lq * c->lk / size) : 0;
    for (int64_t i = 0; i < size; i++)
        check_near((double)((float *)grad[3].data)[i], gmask[i], 2e-6 * (3 + sqrt(terms)),
                   "gmask");
    free(p), free(f), free(stats), free(gmask);
}

static void run(const test_case *c)
{
    reel__attention_attrs a = {.scale = 1 / sqrt((double)c->d),
                               .dropout = c->dropout,
                               .causal = c->causal,
                               .seed = 11,
                               .offset = 5};
    operand in[4] = {matrices(c, c->lq, c->d, 1), matrices(c, c->lk, c->d, 2),
                     matrices(c, c->lk, c->dv, 3), mask_of(c)};
    operand out[2] = {matrices(c, c->lq, c->dv, 4),
                      make(REEL_SHAPE(c->batch, c->heads, c->lq, 2), REEL_F32, NULL, 5)};
    assert_int_equal(call_fast(reel__fast_attention, in, 4, out, 2, &a), REEL_OK);
    operand gy = matrices(c, c->lq, c->dv, 6);
    operand bin[7] = {gy, in[0], in[1], in[2], in[3], out[0], out[1]};
    operand grad[4] = {matrices(c, c->lq, c->d, 7),
                       matrices(c, c->lk, c->d, 8),
                       matrices(c, c->lk, c->dv, 9),
                       {.data = NULL}};
    if (c->mask > BROADCAST_MASK)
        grad[3] = make(reel__shape(&in[3].meta), REEL_F32, NULL, 10);
    assert_int_equal(call_fast(reel__fast_attention_backward, bin, 7, grad, 4, &a),
                     REEL_OK);
    check(c, &a, in, out, &gy, grad);
    for (int i = 0; i < 4; i++) drop(&in[i]);
    for (int i = 0; i < 4; i++) drop(&grad[i]);
    drop(&out[0]), drop(&out[1]), drop(&gy);
}

static void short_sequences(void **state)
{
    (void)state;
    for (int mask = NO_MASK; mask < MASKS; mask++)
        for (int causal = 0; causal < 2; causal++)
            for (int permuted = 0; permuted < 2; permuted++) {
                run(&(test_case){2, 3, 9, 9, 16, 16, (mask_kind)mask, causal, permuted,
                                 0});
                run(&(test_case){2, 2, 33, 47, 24, 20, (mask_kind)mask, causal, permuted,
                                 0});
                run(&(test_case){1, 2, 40, 17, 8, 5, (mask_kind)mask, causal, permuted,
                                 0.25});
                run(&(test_case){3, 2, 1, 70, 32, 32, (mask_kind)mask, causal, permuted,
                                 0});
            }
}

/* More than one block of queries and of keys. */
static void long_sequences(void **state)
{
    (void)state;
    run(&(test_case){1, 2, 300, 300, 32, 32, NO_MASK, true, true, 0});
    run(&(test_case){1, 2, 140, 530, 16, 16, NO_MASK, false, false, 0});
    run(&(test_case){1, 1, 150, 600, 8, 8, BOOL_MASK, true, false, 0.1});
    run(&(test_case){1, 1, 300, 270, 8, 8, FLOAT_MASK, true, false, 0});
    run(&(test_case){4, 4, 150, 280, 4, 4, BROADCAST_MASK, true, true, 0});
    for (int mask = FLOAT_MASK; mask < MASKS; mask++) {
        run(&(test_case){2, 3, 140, 270, 4, 6, (mask_kind)mask, mask % 2, true, 0});
        run(&(test_case){5, 4, 130, 20, 4, 4, (mask_kind)mask, false, false, 0.2});
    }
}

static void no_keys(void **state)
{
    (void)state;
    for (int mask = NO_MASK; mask < MASKS; mask++)
        if (mask != BROADCAST_MASK) /* it would have a first key */
            run(&(test_case){2, 2, 3, 0, 8, 8, (mask_kind)mask, false, false, 0});
}

/* Wrong numbers must come out as such, not as a row that was masked. */
static void nan_stays(void **state)
{
    (void)state;
    test_case c = {1, 1, 4, 5, 8, 8, NO_MASK, false, false, 0};
    reel__attention_attrs a = {.scale = 1};
    operand in[4] = {matrices(&c, 4, 8, 1),
                     matrices(&c, 5, 8, 2),
                     matrices(&c, 5, 8, 3),
                     {.data = NULL}};
    operand out[2] = {matrices(&c, 4, 8, 4), {.data = NULL}};
    ((float *)in[0].data)[2 * 8] = NAN;
    reel__karg args[4] = {{in[0].data, &in[0].meta},
                          {in[1].data, &in[1].meta},
                          {in[2].data, &in[2].meta},
                          {NULL, NULL}};
    reel__karg results[2] = {{out[0].data, &out[0].meta}, {NULL, NULL}};
    reel__kcall call = {.n_in = 4, .n_out = 2, .in = args, .out = results, .attrs = &a};
    reel_status status;
    assert_true(reel__fast_attention(&call, &status));
    for (int i = 0; i < 32; i++)
        assert_true(isnan(((float *)out[0].data)[i]) == (i / 8 == 2));
    for (int i = 0; i < 3; i++) drop(&in[i]);
    drop(&out[0]);
}

static void no_memory(void **state)
{
    (void)state;
    test_case c = {1, 1, 4, 5, 8, 8, NO_MASK, false, false, 0};
    operand in[4] = {matrices(&c, 4, 8, 1),
                     matrices(&c, 5, 8, 2),
                     matrices(&c, 5, 8, 3),
                     {.data = NULL}};
    operand out[2] = {matrices(&c, 4, 8, 4), {.data = NULL}};
    check_no_memory(reel__fast_attention, in, 4, out, 2,
                    &(reel__attention_attrs){.scale = 1});
    for (int i = 0; i < 3; i++) drop(&in[i]);
    drop(&out[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_sequences), cmocka_unit_test(long_sequences),
        cmocka_unit_test(no_keys),         cmocka_unit_test(nan_stays),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
