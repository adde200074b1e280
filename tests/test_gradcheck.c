/* Every record that has a gradient, over its samples, memory layouts and seeds: first and
 * second derivatives against central differences in f64. A new record is tested because it
 * exists; one that cannot be must say why, in the record or in the list below.
 *
 * Each element is moved alone where all inputs are contiguous and differentiated, which is where
 * formulas are seen; in other layouts and roles all of an input move at once, for a wrong element
 * is found so too. `--all` moves each alone everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <reel/autograd.h>

#include "ops/records.h"
#include "support/sample.h"

enum { SEEDS = 2, SEEDS_SECOND = 1, LEAST_FIRST = 3000, LEAST_SECOND = 1500 };

/* One call of a record as a function of the inputs that are differentiated. */
typedef struct called {
    const sample *s;
    sample_layout layout[SAMPLE_MAX_IN];
    reel_tensor *base[SAMPLE_MAX_IN];
    int argument[SAMPLE_MAX_IN]; /* which argument is this input; -1: none, a constant */
} called;

static reel_tensor *call_record(void *user, reel_tensor *const x[], int n)
{
    called *c = user;
    const reel__op *op = c->s->op;
    reel_tensor *in[SAMPLE_MAX_IN] = {NULL}, *out[REEL_OP_MAX_OUT];
    unsigned mutates = op->mutates | (op->traits & REEL_OP_INPLACE ? 1u : 0u);
    (void)n;
    for (int i = 0; i < c->s->n_in; i++) {
        if (c->s->in[i].kind == SAMPLE_ABSENT) continue;
        reel_tensor *base = c->argument[i] >= 0 ? x[c->argument[i]] : c->base[i];
        in[i] = sample_view(c->s, i, c->layout[i], base);
        if (mutates >> i & 1) in[i] = reel_copy(in[i]); /* what is changed is a copy */
        /* the record only makes views; reel_reshape() copies what has none */
        if (op == &reel__reshape) in[i] = reel_contiguous(in[i]);
    }
    return reel__apply(op, c->s->attrs, c->s->n_in, in, out) ? NULL : out[0];
}

static bool all;     /* each element alone, everywhere */
static int failures; /* all are shown before the test fails */

/* The first differentiable input that input i may be the same tensor as; i: none. */
static int twin(const sample *s, int i)
{
    const sample_input *in = &s->in[i];
    for (int k = 0; k < i; k++) {
        const sample_input *other = &s->in[k];
        bool same = other->kind == SAMPLE_FLOAT && other->shape.rank == in->shape.rank &&
                    other->low == in->low && other->high == in->high;
        for (int d = 0; same && d < in->shape.rank; d++)
            same = in->shape.dim[d] == other->shape.dim[d];
        if (same) return k;
    }
    return i;
}

/* How the inputs of a sample are given. */
typedef struct variant {
    bool fast;
    sample_layout layout[SAMPLE_MAX_IN];
    bool shared;       /* inputs that can be are one tensor */
    uint32_t constant; /* bit i: input i asks for no gradient, though it could */
} variant;

static void complain(const sample *s, const variant *v, uint64_t seed)
{
    fprintf(stderr, "%s, sample %d, seed %d%s, constants %#x, layouts", s->op->name,
            s->line, (int)seed, v->shared ? ", one tensor" : "", (unsigned)v->constant);
    for (int i = 0; i < s->n_in; i++)
        fprintf(stderr, " %s", sample_layout_name(v->layout[i]));
    fprintf(stderr, ": %s\n", reel_error_message());
    failures++;
    reel_error_clear();
}

/* One case. Returns 1, to be counted; 0: nothing of the sample has a gradient. */
static int check(const sample *s, const variant *v, uint64_t seed, bool second)
{
    called c = {.s = s};
    reel_tensor *x[SAMPLE_MAX_IN];
    int n = 0;
    reel_scope scope = reel_scope_begin();
    for (int i = 0; i < s->n_in; i++) {
        int first = v->shared ? twin(s, i) : i;
        c.layout[i] = v->layout[i];
        c.argument[i] = -1;
        c.base[i] = sample_base(s, i, v->layout[i], REEL_F64, seed);
        if (s->in[i].kind != SAMPLE_FLOAT || (v->constant >> i & 1)) continue;
        c.argument[i] = first < i ? c.argument[first] : n;
        if (first == i) x[n++] = reel_requires_grad(c.base[i], true);
    }
    const reel_gradcheck_opts opts = {.seed = seed + 1, .fast = v->fast && !all};
    if (n == 0)
        ; /* integers in and out */
    else if (second)
        (void)reel_gradgradcheck(call_record, &c, x, n, &opts);
    else
        (void)reel_gradcheck(call_record, &c, x, n, &opts);
    if (reel_failed()) complain(s, v, seed);
    reel_scope_end(scope);
    return n > 0;
}

/* All inputs in one layout where they can be, then each input alone in it. */
static int check_layouts(const sample *s, uint64_t seed, bool second)
{
    int cases = 0;
    for (int l = 0; l < SAMPLE_LAYOUTS; l++) {
        variant both = {.fast = l != SAMPLE_CONTIGUOUS || seed > 0};
        int can = 0;
        for (int i = 0; i < s->n_in; i++)
            if (sample_has_layout(&s->in[i], (sample_layout)l)) {
                both.layout[i] = (sample_layout)l;
                can++;
            }
        if (can) cases += check(s, &both, seed, second);
        for (int i = 0; l && can > 1 && i < s->n_in; i++) {
            variant one = {.fast = true};
            one.layout[i] = both.layout[i];
            if (one.layout[i]) cases += check(s, &one, seed, second);
        }
    }
    return cases;
}

/* One tensor as several inputs; and each input alone to be differentiated, the others
 * constant: then the tape saves less. */
static int check_roles(const sample *s, uint64_t seed, bool second)
{
    int cases = 0, twins = 0;
    uint32_t floats = 0;
    for (int i = 0; i < s->n_in; i++)
        if (s->in[i].kind == SAMPLE_FLOAT) {
            floats |= 1u << i;
            twins += twin(s, i) != i;
        }
    if (twins) cases += check(s, &(variant){.fast = true, .shared = true}, seed, second);
    for (int i = 0; i < s->n_in; i++) {
        uint32_t others = floats & ~(1u << i);
        if (others != floats && others)
            cases += check(s, &(variant){.fast = true, .constant = others}, seed, second);
    }
    return cases;
}

static int check_record(const reel__op *op, int seeds, bool second)
{
    int cases = 0;
    for (int line = 0; line < sample_lines(op->sample); line++) {
        sample s;
        assert_true(sample_parse(op, op->sample, line, &s));
        for (int seed = 0; seed < seeds; seed++) {
            cases += check_layouts(&s, (uint64_t)seed, second);
            cases += check_roles(&s, (uint64_t)seed, second);
        }
    }
    if (!cases) {
        fprintf(stderr, "%s has a gradient but no sample to test it with\n", op->name);
        failures++;
    }
    return cases;
}

static int check_all(int seeds, bool second)
{
    int cases = 0, records = 0;
    failures = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        /* test_quantize compares surrogates with their formulas */
        if (!reel__ops[i]->vjp || reel__ops[i]->surrogate) continue;
        cases += check_record(reel__ops[i], seeds, second);
        records++;
    }
    print_message("%s: %d cases of %d records\n", second ? "gradgradcheck" : "gradcheck",
                  cases, records);
    assert_int_equal(failures, 0);
    return cases;
}

static void test_first_order(void **state)
{
    (void)state;
    assert_true(check_all(SEEDS, false) >= LEAST_FIRST);
}

static void test_second_order(void **state)
{
    (void)state;
    assert_true(check_all(SEEDS_SECOND, true) >= LEAST_SECOND);
}

/* No record without a gradient by oversight. */
static void test_all_listed(void **state)
{
    (void)state;
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        bool explained = op->no_vjp || (op->traits & REEL_OP_NO_GRAD);
        if (!op->vjp && !explained)
            fail_msg("%s has no gradient and does not say why", op->name);
        if (op->vjp && explained)
            fail_msg("%s has a gradient and a reason to have none", op->name);
    }
}

/* ---- the checker itself must be able to fail ---------------------------------------------- */

static reel_tensor *detached_factor(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_mul(x[0], reel_detach(x[0])); /* half of its gradient is missing */
}

static reel_tensor *cube(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_mul(reel_square(x[0]), x[0]);
}

/* x^2 whose gradient is right, but whose gradient's gradient is cut off */
static reel_tensor *kept_mask(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    reel_tensor *d = reel_detach(x[0]);
    return reel_sub(reel_mul_scalar(reel_mul(x[0], d), 2), reel_square(d));
}

/* x^2, but half of the gradient of one element is missing */
static reel_tensor *one_wrong(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_where(user, reel_mul(x[0], reel_detach(x[0])), reel_square(x[0]));
}

static reel_tensor *leaf(double value, reel_dtype dtype)
{
    return reel_requires_grad(reel_full(REEL_SHAPE(2), value, dtype), true);
}

static void expect(reel_status st, reel_status wanted, const char *part)
{
    assert_int_equal(st, wanted);
    if (wanted && !strstr(reel_error_message(), part))
        fail_msg("%s", reel_error_message());
    reel_error_clear();
}

static void test_checker(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    reel_tensor *x = leaf(0.7, REEL_F64), *half = leaf(0.7, REEL_F32), *none = NULL;
    reel_tensor *constant = reel_ones(REEL_SHAPE(2), REEL_F64);
    expect(reel_gradcheck(cube, NULL, &x, 1, NULL), REEL_OK, "");
    expect(reel_gradgradcheck(cube, NULL, &x, 1, NULL), REEL_OK, "");
    expect(reel_gradcheck(detached_factor, NULL, &x, 1, NULL), REEL_ERR_NUMERIC,
           "gradcheck: input 0 f64[2], element 0");
    expect(reel_gradgradcheck(kept_mask, NULL, &x, 1, NULL), REEL_ERR_NUMERIC,
           "gradgradcheck: input 0");
    expect(reel_gradcheck(cube, NULL, &half, 1, NULL), REEL_ERR_ARG, "must be f64");
    expect(reel_gradcheck(cube, NULL, &constant, 1, NULL), REEL_ERR_ARG, "no input");
    expect(reel_gradcheck(cube, NULL, &none, 1, NULL), REEL_ERR_ARG, "input 0 is NULL");
    expect(reel_gradcheck(NULL, NULL, &x, 1, NULL), REEL_ERR_ARG, "function");
    /* all elements at once */
    const reel_gradcheck_opts fast = {.fast = true};
    reel_tensor *many = reel_requires_grad(reel_rand(REEL_SHAPE(200), REEL_F64), true);
    reel_tensor *before = reel_copy(reel_detach(many)), *d;
    reel_tensor *which =
        reel_eq(reel_arange(0, 200, 1, REEL_I64), reel_scalar_i64(150, REEL_I64));
    expect(reel_gradcheck(cube, NULL, &many, 1, &fast), REEL_OK, "");
    expect(reel_gradgradcheck(cube, NULL, &many, 1, &fast), REEL_OK, "");
    expect(reel_gradcheck(one_wrong, which, &many, 1, &fast), REEL_ERR_NUMERIC,
           "gradcheck: input 0 f64[200]: along a random direction");
    expect(reel_gradgradcheck(kept_mask, NULL, &many, 1, &fast), REEL_ERR_NUMERIC,
           "gradgradcheck: input 0");
    d = reel_sum(reel_abs(reel_sub(reel_detach(many), before)), REEL_ALL, false);
    assert_true(reel_item(d) == 0); /* back where they were */
    assert_null(reel_grad_of(x));   /* leaves are not touched */
    reel_scope_end(s);
}

int main(int argc, char **argv)
{
    all = argc > 1 && strcmp(argv[1], "--all") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_listed),
        cmocka_unit_test(test_checker),
        cmocka_unit_test(test_first_order),
        cmocka_unit_test(test_second_order),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
