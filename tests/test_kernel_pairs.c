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
 * Where f64 has NaN or an infinity, so must the others. What differs and should is in a table.
 *
 *     test_kernel_pairs                     one case in three of each record
 *     test_kernel_pairs --seed 7            another third
 *     test_kernel_pairs --all               all cases; and each row of the table must be needed
 *     test_kernel_pairs --all --op softmax  of one record */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <reel/reel.h>

#include "backend/cpu/cpu.h"
#include "ops/records.h"
#include "support/sample.h"

enum {
    TRIALS = 3,     /* perturbed runs                      */
    ROUNDINGS = 24, /* times that what they show is allowed */
    SHARE = 3       /* one case in so many is drawn */
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
    {"batch_norm", "f[5,24,5,7]; f[24]; f[24]; -; -; - | eps=1e-5 training=1"},
    {"batch_norm", "f[5,24,5,7]; f[24]; f[24]; -; -; f[5,24,5,7] | eps=1e-5 training=1 "
                   "relu=1"},
    {"batch_norm", "f[700,67]; f[67]; -; -; -; - | eps=1e-5 training=1"},
    {"batch_norm", "f[4,3,20,20]; -; -; -; -; - | eps=1e-40 training=1"},
    {"batch_norm", "f[5,24,5,7]; f[24]; f[24]; s[24]; s[24] in 0.5..2; - | eps=1e-5"},
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
#define IN(dtype) (1u << (dtype))
#define LIKE_F32 (IN(REEL_F32) | IN(REEL_BF16)) /* which end where f32 does */
#define FLOATS (LIKE_F32 | IN(REEL_F16))

enum { VALUES = 1, GRADIENTS = 2, BOTH = 3 };

/* op: a record's name; with a '*' also those that begin so and go on with a '_'. */
typedef struct declared {
    const char *op;
    unsigned hard, dtypes;
    int what;
    const char *because; /* a rule of docs/edges.md or of an ADR */
} declared;

static const char OVERFLOWS[] =
    "edges.md, where a type ends: sums and products overflow, and what follows sees that";
static const char FORMULA[] =
    "edges.md, where a type ends: PyTorch's formula, whose first step overflows";
static const char VANISHES[] =
    "edges.md, where a type ends: products vanish, and relu sees zeros";
static const char SATURATED[] =
    "edges.md, gradients: of a saved y that is nearly 1, 1 - y^2 has few digits";
static const char STEPS[] = "edges.md, values: div_trunc is of the rounded quotient, "
                            "which may be the next number";
static const char STORED[] =
    "ADR 15: the inverse of a deviation above 8.5e37 is below the smallest normal number";
static const char ROUNDED[] =
    "ADR 15: the mean is saved rounded, half a rounding off for all elements";
static const char STATISTICS[] =
    "ADR 14: probabilities are made of scores and what forward saved of them, not of any";

static const char QUOTIENT[] =
    "edges.md, values: what is left of a quotient that was rounded, as of div_trunc";

static const declared DECLARED[] = {
    {"fake_quantize_slope", IS(SAMPLE_PLAIN) | IS(SAMPLE_TINY) | IS(SAMPLE_OUTLIER),
     IN(REEL_F32), VALUES, QUOTIENT},
    {"div_trunc", IS(SAMPLE_OUTLIER), IN(REEL_F32), VALUES, STEPS},
    {"fmod", ENDS, IN(REEL_F32), GRADIENTS, FORMULA},
    {"remainder", ENDS, IN(REEL_F32), GRADIENTS, FORMULA},
    {"lerp*", IS(SAMPLE_LARGEST), IN(REEL_F32), VALUES, FORMULA},
    {"matmul", ENDS, IN(REEL_F32), VALUES, OVERFLOWS},
    {"linear", ENDS, IN(REEL_F32), VALUES, OVERFLOWS},
    {"linear_fused", FAR_OUT, LIKE_F32, BOTH, OVERFLOWS},
    {"linear_fused", IS(SAMPLE_EQUAL), IN(REEL_F32), GRADIENTS, SATURATED},
    {"pointwise", IS(SAMPLE_EQUAL), IN(REEL_F32), GRADIENTS, SATURATED},
    {"conv2d", ENDS, IN(REEL_F32), VALUES, OVERFLOWS},
    {"conv2d", IS(SAMPLE_LOWEST), IN(REEL_F32), GRADIENTS, OVERFLOWS},
    {"conv2d_input", ENDS, IN(REEL_F32), VALUES, OVERFLOWS},
    {"conv2d_weight", ENDS, IN(REEL_F32), VALUES, OVERFLOWS},
    {"conv2d_fused", FAR_OUT, LIKE_F32, VALUES, OVERFLOWS},
    {"conv2d_fused", IS(SAMPLE_LOWEST), IN(REEL_F32), GRADIENTS, OVERFLOWS},
    {"conv2d_fused", IS(SAMPLE_TINY), IN(REEL_F32), GRADIENTS, VANISHES},
    {"avg_pool2d", ENDS, LIKE_F32, VALUES, FORMULA},
    {"adaptive_avg_pool2d", IS(SAMPLE_LARGEST), LIKE_F32, VALUES, FORMULA},
    {"batch_norm*", IS(SAMPLE_LARGEST), LIKE_F32, BOTH, STORED},
    {"batch_norm", IS(SAMPLE_LOWEST), IN(REEL_F32), GRADIENTS, OVERFLOWS},
    {"batch_norm", IS(SAMPLE_FAR), IN(REEL_F32), BOTH, ROUNDED},
    {"layer_norm", IS(SAMPLE_LARGEST), IN(REEL_F32), GRADIENTS, STORED},
    {"layer_norm_backward", IS(SAMPLE_LOWEST), IN(REEL_F32), VALUES, OVERFLOWS},
    {"softmax_backward", ENDS, IN(REEL_F32), VALUES, OVERFLOWS},
    {"log_softmax_backward", IS(SAMPLE_LARGEST), IN(REEL_F32), VALUES, OVERFLOWS},
    {"cross_entropy", IS(SAMPLE_LARGEST), LIKE_F32, VALUES, FORMULA},
    {"attention_backward", FAR_OUT | IS(SAMPLE_OUTLIER) | IS(SAMPLE_INFINITE), FLOATS,
     VALUES, STATISTICS},
    {"attention_backward", IS(SAMPLE_EQUAL), IN(REEL_BF16), VALUES, STATISTICS},
};
enum { N_DECLARED = sizeof DECLARED / sizeof *DECLARED };

static bool named(const char *pattern, const char *op)
{
    const size_t n = strlen(pattern);
    if (pattern[n - 1] != '*') return strcmp(pattern, op) == 0;
    return strncmp(pattern, op, n - 1) == 0 && (op[n - 1] == '_' || !op[n - 1]);
}

/* How often each row was needed, by the processes of all instruction sets. */
static int *needed;

/* ---- one case ------------------------------------------------------------------------- */

typedef struct trial {
    sample s;
    const format *f;
    sample_layout layout;
    sample_hard hard;
    int what;                         /* VALUES or GRADIENTS are compared */
    reel_tensor *in[SAMPLE_MAX_IN];   /* in the dtype under test, in the layout */
    reel_tensor *wide[SAMPLE_MAX_IN]; /* the same values in f64, contiguous     */
} trial;

static int failures, cases;

/* The first row that says that a difference is one by rule. */
static const declared *declared_for(const trial *t)
{
    for (int i = 0; i < N_DECLARED; i++) {
        const declared *d = &DECLARED[i];
        if (named(d->op, t->s.op->name) && (d->hard & IS(t->hard)) &&
            (d->dtypes & IN(t->f->dtype)) && (d->what & t->what))
            return d;
    }
    return NULL;
}

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

/* A difference that a row of the table may allow. */
static void differs(const trial *t, const char *what, int64_t i, double got, double want,
                    double allowed)
{
    const declared *d = declared_for(t);
    if (d)
        needed[d - DECLARED] = 1;
    else
        complain(t, what, i, got, want, allowed);
}

/* Elements in logical order; the caller frees. */
static double *values(reel_tensor *x)
{
    double *v = malloc(((size_t)reel_numel(x) + 1) * sizeof *v);
    assert_non_null(v);
    reel_set_flush_denormals(false); /* to see what is there */
    assert_int_equal(reel_read(x, v, REEL_F64), REEL_OK);
    reel_set_flush_denormals(true);
    return v;
}

/* Below the smallest normal number arithmetic sees zero, but for that of f16, which is in f32;
 * truth is a matter of bits (docs/edges.md). */
static double least_seen(const trial *t)
{
    const bool bits = t->s.op == &reel__any || t->s.op == &reel__all;
    return bits || t->f->dtype == REEL_F16 ? 0 : t->f->normal;
}

/* x in f64, contiguous, as kernels see it. */
static reel_tensor *widened(reel_tensor *x, double least)
{
    if (!x || !reel_dtype_is_float(reel_dtype_of(x))) return x;
    double *v = values(x);
    for (int64_t i = 0, n = reel_numel(x); i < n; i++)
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
    for (int64_t i = 0, n = reel_numel(x); i < n; i++) {
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
    const reel__op *op = t->s.op;
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
    for (int64_t i = 0, n = reel_numel(y); i < n; i++)
        v[i] = (double)(i * 37 % 16 - 7) / 8;
    reel_tensor *g = reel_from(v, reel_shape_of(y), REEL_F64);
    free(v);
    return reel_cast(seed ? moved(g, f, seed, true) : g, reel_dtype_of(y));
}

/* Finite in f64, and beyond the dtype under test. */
static bool is_beyond(reel_tensor *y, const format *f)
{
    double *v = values(y);
    bool beyond = false;
    for (int64_t i = 0, n = reel_numel(y); i < n; i++)
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
        if (!isnan(got)) differs(t, what, i, got, want, 0);
    } else if (fabs(want) + allowed > f->largest / 2) {
        if (isfinite(got) && !(fabs(got - want) <= allowed))
            differs(t, what, i, got, want, allowed); /* beyond the range, or nearly */
    } else if (!(fabs(got - want) <= allowed)) {
        differs(t, what, i, got, want, allowed);
    }
}

/* `sums`: elements are sums in which terms as large as the largest element cancel: gradients. */
static void compare(const trial *t, const char *what, reel_tensor *got, reel_tensor *want,
                    reel_tensor *const other[TRIALS], bool sums)
{
    if (!got || !want) return;
    double *g = values(got), *w = values(want), *o[TRIALS];
    for (int k = 0; k < TRIALS; k++) o[k] = values(other[k]);
    const int64_t n = reel_numel(got);
    double size = 0;
    for (int64_t i = 0; sums && i < n; i++)
        if (isfinite(w[i])) size = fmax(size, fabs(w[i]));
    for (int64_t i = 0; i < n; i++) {
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
    for (int64_t i = 0, n = reel_numel(a); i < n; i++)
        if (memcmp(&x[i], &y[i], sizeof *x) != 0 && !(isnan(x[i]) && isnan(y[i])))
            complain(t, what, i, y[i], x[i], 0);
    free(x);
    free(y);
}

/* Records that are the gradient of another. */
static bool is_gradient(const reel__op *op)
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
    if (!t->s.op->vjp) return;
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

/* ---- which cases are drawn -------------------------------------------------------------- */

static bool all;
static uint64_t seed = 1;

/* One in SHARE, by a hash (FNV-1a) of all that names a case: so it does not depend on what other
 * cases there are, and each instruction set draws its own. */
static bool is_drawn(const trial *t, int only)
{
    char name[160];
    snprintf(name, sizeof name, "%llu %s %s %d %d %d %d %d", (unsigned long long)seed,
             reel_cpu_isa(), t->s.op->name, t->s.line, (int)t->f->dtype, (int)t->layout,
             (int)t->hard, only);
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *p = name; *p; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    return all || (h >> 32) % SHARE == 0;
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
        t->wide[i] = widened(t->in[i], least_seen(t));
    }
    return any && !reel_failed();
}

static void check_trial(trial *t, int only)
{
    if (!is_drawn(t, only)) return;
    reel_scope scope = reel_scope_begin();
    t->what = VALUES;
    if (make(t, only)) check_values(t);
    bool gradients = t->f->dtype == REEL_F32 && (t->layout == SAMPLE_CONTIGUOUS ||
                                                 t->layout == SAMPLE_CHANNELS_LAST);
    t->what = GRADIENTS;
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
static void check_sample(const reel__op *op, const char *text, int line, int formats)
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
        const reel__op *op = reel__ops[i];
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

/* A row that no case needs would hide what comes later. */
static void each_row_is_needed(void **state)
{
    (void)state;
    int idle = 0;
    for (int i = 0; all && !only_op && i < N_DECLARED; i++) {
        if (needed[i]) continue;
        fprintf(stderr, "row %d of the table, %s, is not needed\n", i, DECLARED[i].op);
        idle++;
    }
    assert_int_equal(idle, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baseline),
        cmocka_unit_test(avx2),
        cmocka_unit_test(avx512),
        cmocka_unit_test(each_row_is_needed),
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--all") == 0) all = true;
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        if (strcmp(argv[i], "--op") == 0 && i + 1 < argc) only_op = argv[++i];
    }
    needed = mmap(NULL, sizeof *needed * N_DECLARED, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(needed != MAP_FAILED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
