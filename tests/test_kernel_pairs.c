/* test_kernel_pairs.c: one operator, one result. Every record, over its samples filled with
 * hard values (sample.h) and a few larger ones, in every memory layout, f32, f16 and bf16, on
 * one and two threads, under every instruction set that the machine has, against the same
 * record in f64; and gradients by the fused kernels and by composed operators against those in
 * f64.
 *
 * How far off a result may be is found, not set: f64 is run again with every input moved by the
 * rounding of the dtype under test, in a direction that depends on the value alone, so that
 * equal values stay equal. What that does to a result, some times over, is what rounding may
 * do. So a constant channel must come out exact, and a cancellation may cost what it must.
 * Where f64 has NaN or an infinity, so must the others. What differs and should is in a table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <reel/reel.h>

#include "backend/cpu/cpu.h"
#include "ops/records.h"
#include "support/sample.h"

enum {
    TRIALS = 3,    /* perturbed runs                      */
    ROUNDINGS = 24 /* times that what they show is allowed */
};

/* ---- dtypes ------------------------------------------------------------------------- */

typedef struct format {
    reel_dtype dtype;
    double epsilon, normal, largest;
} format;

static const format FORMATS[] = {
    {REEL_F32, 0x1p-24, 0x1p-126, 0x1.fffffep127},
    {REEL_F16, 0x1p-11, 0x1p-14, 65504},
    {REEL_BF16, 0x1p-8, 0x1p-126, 0x1.fep127},
};
enum { N_FORMATS = sizeof FORMATS / sizeof *FORMATS };

/* ---- larger shapes, where fast kernels run their inner loops ------------------------------ */

static const struct {
    const char *op, *sample;
} LARGER[] = {
    {"sum", "f[7,531] | mask=2 scale=1"},
    {"sum", "f[131,37] | mask=1 scale=0.1"},
    {"sum", "f[3,24,37] | mask=5 scale=1"},
    {"var", "f[7,531] | mask=2 scale=1"},
    {"var", "f[131,37] | mask=1 scale=0"},
    {"var", "f[40000] | mask=1 scale=1"},
    {"norm", "f[7,531] | mask=2 scale=1"},
    {"norm", "f[131,37] | mask=1 scale=0.01 eps=1e-5"},
    {"norm", "f[40000] | mask=1 scale=1 wide=1"},
    {"max", "f[7,531] | mask=2"},
    {"batch_norm", "f[6,24,9,7]; f[24]; f[24]; -; -; - | eps=1e-5 training=1"},
    {"batch_norm", "f[6,24,9,7]; f[24]; f[24]; -; -; f[6,24,9,7] | eps=1e-5 training=1 "
                   "relu=1"},
    {"batch_norm", "f[700,67]; f[67]; -; -; -; - | eps=1e-5 training=1"},
    {"batch_norm", "f[4,3,20,20]; -; -; -; -; - | eps=1e-40 training=1"},
    {"batch_norm", "f[6,24,9,7]; f[24]; f[24]; s[24]; s[24] in 0.5..2; - | eps=1e-5"},
    {"layer_norm", "f[5,531]; f[531]; f[531] | dims=1 eps=1e-5"},
    {"layer_norm", "f[3,8,33]; -; - | dims=2 eps=1e-40"},
    {"softmax", "f[5,231] | dim=1"},
    {"log_softmax", "f[5,231] | dim=1"},
    {"logsumexp", "f[5,231] | dim=1"},
    {"linear", "f[9,133]; f[35,133]; f[35]"},
    {"matmul", "f[2,17,65]; f[2,65,33]"},
};
enum { N_LARGER = sizeof LARGER / sizeof *LARGER };

/* ---- what differs and should ------------------------------------------------------------- */

#define IS(hard) (1u << (hard))
#define ENDS (IS(SAMPLE_LOWEST) | IS(SAMPLE_LARGEST))
#define FAR_OUT (ENDS | IS(SAMPLE_HUGE))
#define SPECIAL (IS(SAMPLE_INFINITE) | IS(SAMPLE_NAN))
#define EVERY (IS(SAMPLE_HARDS) - 1)

enum { VALUES = 1, GRADIENTS = 2, BOTH = 3 };

/* op: a record's name; with a '*' also those that begin so and go on with a '_'. */
typedef struct declared {
    const char *op;
    unsigned hard;
    int what;
    const char *because;
} declared;

static const char IN_F32[] =
    "products and sums are of the dtype, or f32, and overflow there";
static const char STORED[] =
    "1 / deviation is stored, and is below the smallest normal number";
static const char ROUNDED[] =
    "the mean is stored rounded, half a rounding off for all elements";
static const char FORMULA[] = "a step of the formula overflows before the result does";
static const char SATURATED[] = "1 - y^2 and y (1 - y) of a saved y that is nearly 1";
static const char WINOGRAD[] = "tiles mix what lies in them; see winograd_reach";
static const char STEPS[] =
    "a quotient that rounding moves across a whole number is another one";
static const char FLUSHED[] = "denormals of f32 and bf16 are flushed while kernels run";
static const char TO_MEND[] =
    "known, to be mended: relu's gradient beside NaN, channels-last and contiguous";
static const char OWN_ISSUE[] =
    "known: section 3, two numbers for max and log of the sum";
static const char ONE_RULE[] = "known: section 3, one rule for NaN and infinities";

static const declared DECLARED[] = {
    {"div_trunc", EVERY, VALUES, STEPS},
    {"div_floor", EVERY, VALUES, STEPS},
    {"fmod", EVERY, BOTH, STEPS},
    {"remainder", EVERY, BOTH, STEPS},
    {"matmul", FAR_OUT, BOTH, IN_F32},
    {"linear*", FAR_OUT, BOTH, IN_F32},
    {"conv2d*", FAR_OUT, BOTH, IN_F32},
    {"conv2d*", SPECIAL, BOTH, WINOGRAD},
    {"avg_pool2d", ENDS, VALUES, IN_F32},
    {"adaptive_avg_pool2d*", ENDS, VALUES, IN_F32},
    {"batch_norm*", ENDS, BOTH, STORED},
    {"batch_norm*", IS(SAMPLE_FAR), BOTH, ROUNDED},
    {"layer_norm*", ENDS, BOTH, STORED},
    {"pow*", IS(SAMPLE_DENORMAL), VALUES, FLUSHED},
    {"any", IS(SAMPLE_DENORMAL), VALUES, FLUSHED},
    {"all", IS(SAMPLE_DENORMAL), VALUES, FLUSHED},
    {"batch_norm*", SPECIAL, BOTH, TO_MEND},
    {"gelu_grad", FAR_OUT, GRADIENTS, FORMULA},
    {"silu_grad", FAR_OUT, GRADIENTS, FORMULA},
    {"lerp*", ENDS, VALUES, FORMULA},
    {"gelu_tanh*", FAR_OUT, BOTH, FORMULA},
    {"reciprocal", IS(SAMPLE_TINY), GRADIENTS, FORMULA},
    {"pointwise", IS(SAMPLE_EQUAL), GRADIENTS, SATURATED},
    {"linear_fused", IS(SAMPLE_EQUAL), GRADIENTS, SATURATED},
    {"conv2d_fused", IS(SAMPLE_TINY), GRADIENTS, "results vanish, and relu sees zeros"},
    {"attention*", EVERY, BOTH, OWN_ISSUE},
    {"softmax*", FAR_OUT, BOTH, OWN_ISSUE},
    {"log_softmax*", FAR_OUT, BOTH, OWN_ISSUE},
    {"logsumexp", FAR_OUT | IS(SAMPLE_FAR), BOTH, OWN_ISSUE},
    {"cross_entropy", FAR_OUT | SPECIAL, BOTH, OWN_ISSUE},
    {"clamp*", SPECIAL, GRADIENTS, ONE_RULE},
    {"elu", SPECIAL, GRADIENTS, ONE_RULE},
    {"hardswish", SPECIAL, GRADIENTS, ONE_RULE},
    {"linear_fused", SPECIAL, GRADIENTS, ONE_RULE},
};

static bool named(const char *pattern, const char *op)
{
    const size_t n = strlen(pattern);
    if (pattern[n - 1] != '*') return strcmp(pattern, op) == 0;
    return strncmp(pattern, op, n - 1) == 0 && (op[n - 1] == '_' || !op[n - 1]);
}

static bool is_declared(const char *op, sample_hard hard, int what)
{
    for (size_t i = 0; i < sizeof DECLARED / sizeof *DECLARED; i++) {
        const declared *d = &DECLARED[i];
        if (named(d->op, op) && (d->hard & IS(hard)) && (d->what & what)) return true;
    }
    return false;
}

/* ---- one case ------------------------------------------------------------------------- */

typedef struct trial {
    sample s;
    const format *f;
    sample_layout layout;
    sample_hard hard;
    reel_tensor *in[SAMPLE_MAX_IN];   /* in the dtype under test, in the layout */
    reel_tensor *wide[SAMPLE_MAX_IN]; /* the same values in f64, contiguous     */
} trial;

static int failures, cases;

static void complain(const trial *t, const char *what, int64_t i, double got, double want,
                     double allowed)
{
    static char last[96];
    char now[96];
    failures++;
    snprintf(now, sizeof now, "%s %s %d %d", t->s.op->name, what, t->hard, t->f->dtype);
    if (strcmp(now, last) == 0) return; /* one of a kind tells it all */
    memcpy(last, now, sizeof last);
    fprintf(stderr, "%s %s, sample %d %s, %s, %s: %s, element %lld: %.9g, not %.9g ",
            reel_cpu_isa(), t->s.op->name, t->s.line, sample_hard_name(t->hard),
            sample_layout_name(t->layout), reel_dtype_name(t->f->dtype), what,
            (long long)i, got, want);
    fprintf(stderr, "(+- %.2g)\n", allowed);
}

/* Elements in logical order; the caller frees. */
static double *values(reel_tensor *x)
{
    double *v = malloc(((size_t)reel_numel(x) + 1) * sizeof *v);
    assert_non_null(v);
    assert_int_equal(reel_read(x, v, REEL_F64), REEL_OK);
    return v;
}

/* x in f64, contiguous. Below the smallest normal number kernels see zero. */
static reel_tensor *widened(reel_tensor *x, const format *f)
{
    if (!x || !reel_dtype_is_float(reel_dtype_of(x))) return x;
    double *v = values(x);
    const double least = f->dtype == REEL_F16 ? 0 : f->normal;
    for (int64_t i = 0; i < reel_numel(x); i++)
        if (fabs(v[i]) < least) v[i] = copysign(0, v[i]);
    reel_tensor *y = reel_from(v, reel_shape_of(x), REEL_F64);
    free(v);
    return y;
}

/* x with every element moved by one rounding: all upwards where seed is 0, else up or down as seed
 * and value say, and where it stands if equal values need not stay equal. */
static reel_tensor *moved(reel_tensor *x, const format *f, uint64_t seed, bool apart)
{
    if (!x || reel_dtype_of(x) != REEL_F64) return x;
    double *v = values(x);
    for (int64_t i = 0; i < reel_numel(x); i++) {
        uint64_t h;
        memcpy(&h, &v[i], sizeof h);
        if (apart) h += (uint64_t)i * UINT64_C(0xd1342543de82ef95);
        h = (h ^ seed) * UINT64_C(0x9e3779b97f4a7c15);
        h = (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
        const bool up = seed ? h >> 63 : v[i] > 0;
        v[i] *= 1 + (up ? f->epsilon : -f->epsilon);
    }
    reel_tensor *y = reel_from(v, reel_shape_of(x), REEL_F64);
    free(v);
    return y;
}

/* Hard values that are equal, and must be as good as exact. */
static bool is_constant(sample_hard hard)
{
    return hard == SAMPLE_EQUAL || hard == SAMPLE_LOWEST || hard == SAMPLE_ZERO ||
           hard == SAMPLE_DENORMAL;
}

/* Input i in trial k; all upwards in the first. */
static reel_tensor *moved_input(const trial *t, int i, int k, bool apart)
{
    return moved(t->wide[i], t->f, k ? (uint64_t)(k * 977 + i * 31) : 0, apart);
}

static bool run(const trial *t, reel_tensor *const in[], reel_tensor *out[])
{
    reel_tensor *own[SAMPLE_MAX_IN];
    const reel_op *op = t->s.op;
    const unsigned mutates = op->mutates | (op->traits & REEL_OP_INPLACE ? 1u : 0u);
    for (int i = 0; i < t->s.n_in; i++)
        own[i] = in[i] && (mutates >> i & 1) ? reel_copy(in[i]) : in[i];
    if (op == &reel__reshape && own[0]) own[0] = reel_contiguous(own[0]);
    return !reel__apply(op, t->s.attrs, t->s.n_in, own, out);
}

/* A gradient for the result, the same in every dtype; moved as inputs are if seed says. */
static reel_tensor *gradient_for(reel_tensor *y, const format *f, uint64_t seed)
{
    double *v = malloc(((size_t)reel_numel(y) + 1) * sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < reel_numel(y); i++) v[i] = (double)(i * 37 % 16 - 7) / 8;
    reel_tensor *g = reel_from(v, reel_shape_of(y), REEL_F64);
    free(v);
    return reel_cast(seed ? moved(g, f, seed, true) : g, reel_dtype_of(y));
}

/* Finite in f64, and beyond the dtype under test. */
static bool is_beyond(reel_tensor *y, const format *f)
{
    double *v = values(y);
    bool beyond = false;
    for (int64_t i = 0; i < reel_numel(y); i++)
        beyond = beyond || (isfinite(v[i]) && fabs(v[i]) > f->largest);
    free(v);
    return beyond;
}

/* The gradients of the inputs that have one; false where there is none, or none to speak of. */
static bool run_gradient(const trial *t, reel_tensor *const in[], bool create_graph,
                         uint64_t seed, reel_tensor *out[])
{
    reel_tensor *x[SAMPLE_MAX_IN], *own[SAMPLE_MAX_IN], *y[REEL_OP_MAX_OUT], *g[8];
    int n = 0;
    for (int i = 0; i < t->s.n_in; i++) {
        own[i] = in[i];
        if (t->s.in[i].kind != SAMPLE_FLOAT) continue;
        own[i] = x[n++] = reel_requires_grad(reel_detach(in[i]), true);
    }
    bool was = reel_set_grad_enabled(true);
    bool ok = n > 0 && run(t, own, y) && reel_dtype_is_float(reel_dtype_of(y[0])) &&
              !is_beyond(y[0], t->f);
    if (ok) {
        reel_tensor *gy = gradient_for(y[0], t->f, seed);
        const reel_backward_opts o = {.create_graph = create_graph, .allow_unused = true};
        ok = !reel_grad(y, 1, &gy, x, n, g, &o);
    }
    reel_set_grad_enabled(was);
    for (int i = 0, k = 0; ok && i < t->s.n_in; i++)
        out[i] = t->s.in[i].kind == SAMPLE_FLOAT ? g[k++] : NULL;
    return ok;
}

/* ---- comparing ------------------------------------------------------------------------ */

/* `want` and what the perturbed runs gave say what `got` may be, and `size`, the largest of the
 * numbers that are added up with it. */
static void compare_one(const trial *t, const char *what, int64_t i, double got,
                        double want, const double *other, double size)
{
    const format *f = t->f;
    double spread = 0;
    for (int k = 0; k < TRIALS; k++) {
        if (isnan(other[k]) != isnan(want) || isinf(other[k]) != isinf(want)) return;
        if (isfinite(want)) spread = fmax(spread, fabs(other[k] - want));
    }
    const double own = f->epsilon * fmax(fabs(want), size);
    const double allowed = ROUNDINGS * (spread + own + f->normal);
    if (isnan(want)) {
        if (!isnan(got)) complain(t, what, i, got, want, 0);
    } else if (fabs(want) + allowed > f->largest / 2) {
        if (isfinite(got) && !(fabs(got - want) <= allowed))
            complain(t, what, i, got, want, allowed); /* beyond the range, or nearly */
    } else if (!(fabs(got - want) <= allowed)) {
        complain(t, what, i, got, want, allowed);
    }
}

/* `sums`: elements are sums in which terms as large as the largest element cancel: gradients. */
static void compare(const trial *t, const char *what, reel_tensor *got, reel_tensor *want,
                    reel_tensor *const other[TRIALS], bool sums)
{
    if (!got || !want) return;
    double *g = values(got), *w = values(want), *o[TRIALS];
    for (int k = 0; k < TRIALS; k++) o[k] = values(other[k]);
    double size = 0;
    for (int64_t i = 0; sums && i < reel_numel(got); i++)
        if (isfinite(w[i])) size = fmax(size, fabs(w[i]));
    for (int64_t i = 0; i < reel_numel(got); i++) {
        double at[TRIALS];
        for (int k = 0; k < TRIALS; k++) at[k] = o[k][i];
        compare_one(t, what, i, g[i], w[i], at, size);
    }
    for (int k = 0; k < TRIALS; k++) free(o[k]);
    free(g);
    free(w);
}

static void compare_bits(const trial *t, const char *what, reel_tensor *a, reel_tensor *b)
{
    if (!a || !b) return;
    double *x = values(a), *y = values(b);
    for (int64_t i = 0; i < reel_numel(a); i++)
        if (memcmp(&x[i], &y[i], sizeof *x) != 0 && !(isnan(x[i]) && isnan(y[i])))
            complain(t, what, i, y[i], x[i], 0);
    free(x);
    free(y);
}

/* Records that are the gradient of another. */
static bool is_gradient(const reel_op *op)
{
    return strstr(op->name, "_backward") || strstr(op->name, "_grad") ||
           op == &reel__conv2d_input || op == &reel__conv2d_weight;
}

static void check_values(const trial *t)
{
    static const char *const name[] = {"result 0", "result 1", "result 2", "result 3"};
    reel_tensor *got[REEL_OP_MAX_OUT] = {NULL}, *two[REEL_OP_MAX_OUT] = {NULL};
    reel_tensor *want[REEL_OP_MAX_OUT] = {NULL};
    reel_tensor *other[REEL_OP_MAX_OUT][TRIALS] = {{NULL}};
    if (is_declared(t->s.op->name, t->hard, VALUES)) return;
    reel_set_threads(2);
    bool ok = run(t, t->in, two);
    reel_set_threads(1);
    if (!ok || !run(t, t->in, got) || !run(t, t->wide, want)) return;
    for (int k = 0; k < TRIALS; k++) {
        reel_tensor *in[SAMPLE_MAX_IN], *out[REEL_OP_MAX_OUT] = {NULL};
        for (int i = 0; i < t->s.n_in; i++)
            in[i] = moved_input(t, i, k, !is_constant(t->hard));
        if (!run(t, in, out)) return;
        for (int i = 0; i < t->s.op->n_out; i++) other[i][k] = out[i];
    }
    cases++;
    for (int i = 0; i < t->s.op->n_out; i++) {
        compare(t, name[i], got[i], want[i], other[i], is_gradient(t->s.op));
        compare_bits(t, "two threads", got[i], two[i]);
    }
}

static void check_gradients(const trial *t)
{
    reel_tensor *fused[SAMPLE_MAX_IN] = {NULL}, *composed[SAMPLE_MAX_IN] = {NULL};
    reel_tensor *want[SAMPLE_MAX_IN] = {NULL};
    reel_tensor *other[SAMPLE_MAX_IN][TRIALS] = {{NULL}};
    if (!t->s.op->vjp || is_declared(t->s.op->name, t->hard, GRADIENTS)) return;
    if (!run_gradient(t, t->wide, false, 0, want) ||
        !run_gradient(t, t->in, false, 0, fused) ||
        !run_gradient(t, t->in, true, 0, composed))
        return;
    for (int k = 0; k < TRIALS; k++) {
        reel_tensor *in[SAMPLE_MAX_IN], *out[SAMPLE_MAX_IN] = {NULL};
        for (int i = 0; i < t->s.n_in; i++) in[i] = moved_input(t, i, k, true);
        if (!run_gradient(t, in, false, (uint64_t)k + 1, out)) return;
        for (int i = 0; i < t->s.n_in; i++) other[i][k] = out[i];
    }
    cases++;
    for (int i = 0; i < t->s.n_in; i++) {
        compare(t, "fused gradient", fused[i], want[i], other[i], true);
        compare(t, "composed gradient", composed[i], want[i], other[i], true);
    }
}

/* `only`: input that gets the hard values; -1: all. */
static bool make(trial *t, int only)
{
    bool any = false;
    for (int i = 0; i < t->s.n_in; i++) {
        const bool hard = t->s.in[i].kind == SAMPLE_FLOAT && (only < 0 || only == i);
        t->s.in[i].hard = hard ? t->hard : SAMPLE_PLAIN;
        any = any || hard;
        sample_layout l =
            sample_has_layout(&t->s.in[i], t->layout) ? t->layout : SAMPLE_CONTIGUOUS;
        reel_tensor *base = sample_base(&t->s, i, l, t->f->dtype, 1);
        t->in[i] = base ? sample_view(&t->s, i, l, base) : NULL;
        t->wide[i] = widened(t->in[i], t->f);
    }
    return any && !reel_failed();
}

static void check_trial(trial *t, int only)
{
    reel_scope scope = reel_scope_begin();
    if (make(t, only)) check_values(t);
    bool gradients = t->f->dtype == REEL_F32 && (t->layout == SAMPLE_CONTIGUOUS ||
                                                 t->layout == SAMPLE_CHANNELS_LAST);
    if (gradients && !reel_failed() && make(t, only)) check_gradients(t);
    reel_error_clear();
    reel_scope_end(scope);
}

static bool has_layout(const sample *s, sample_layout l)
{
    bool any = l == SAMPLE_CONTIGUOUS;
    for (int i = 0; i < s->n_in; i++) any = any || sample_has_layout(&s->in[i], l);
    return any;
}

/* Under the first `formats` dtypes. */
static void check_sample(const reel_op *op, const char *text, int line, int formats)
{
    static trial t;
    for (int f = 0; f < formats; f++)
        for (int l = 0; l < SAMPLE_LAYOUTS; l++)
            for (int h = 0; h < SAMPLE_HARDS; h++) {
                memset(&t, 0, sizeof t);
                assert_true(sample_parse(op, text, line, &t.s));
                if (!(op->dtypes >> FORMATS[f].dtype & 1)) continue;
                if (!has_layout(&t.s, (sample_layout)l)) continue;
                if (f > 0 && l != SAMPLE_CONTIGUOUS && l != SAMPLE_CHANNELS_LAST)
                    continue;
                t.f = &FORMATS[f];
                t.layout = (sample_layout)l;
                t.hard = (sample_hard)h;
                check_trial(&t, -1);
                if (t.s.n_in > 1 && h && f == 0) check_trial(&t, 0);
                if (h == SAMPLE_PLAIN && sample_empty(&t.s)) check_trial(&t, -1);
            }
}

static int check_all(const char *only)
{
    bool tape = reel_set_grad_enabled(false);
    for (int i = 0; i < reel__n_ops; i++) {
        const reel_op *op = reel__ops[i];
        if (only && strcmp(only, op->name) != 0) continue;
        if (!op->sample || (op->traits & REEL_OP_RANDOM)) continue;
        for (int line = 0; line < sample_lines(op->sample); line++)
            check_sample(op, op->sample, line, N_FORMATS);
        for (int k = 0; k < N_LARGER; k++)
            if (strcmp(LARGER[k].op, op->name) == 0)
                check_sample(op, LARGER[k].sample, 0, 1);
    }
    (void)reel_set_grad_enabled(tape);
    printf("%s: %d cases, %d failures\n", reel_cpu_isa(), cases, failures);
    return failures;
}

/* ---- instruction sets: REEL_ISA is read once a process, so each gets one ------------------- */

static const char *only_op;

static void under(const char *isa)
{
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("REEL_ISA", isa, 1);
        const bool other = strcmp(reel_cpu_isa(), isa) != 0; /* the machine has less */
        const int failed = other ? 0 : check_all(only_op);
        fflush(stdout);
        _exit(failed != 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void baseline(void **state)
{
    (void)state;
    under("baseline");
}
static void avx2(void **state)
{
    (void)state;
    under("avx2");
}
static void avx512(void **state)
{
    (void)state;
    under("avx512");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baseline),
        cmocka_unit_test(avx2),
        cmocka_unit_test(avx512),
    };
    if (argc > 1 && *argv[1]) only_op = argv[1];
    if (argc > 2) return check_all(only_op) != 0; /* in this process */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
