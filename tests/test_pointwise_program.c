/* The record `pointwise`: random programs give bit for bit what their operators give one by
 * one, over dtypes, layouts and broadcasts; their gradients are those of the operators; an
 * output may be written over an input; and a program that makes no sense is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/cpu.h"
#include "backend/pw_info.h"
#include "ops/records.h"
#include "random_layout.h"
#include "support/sample.h"
#include <reel/trace.h>

enum {
    PROGRAMS = 600,
    GRADIENTS = 150,
    IN_PLACE = 400,
    VALUES = REEL_STEP_INS + REEL_STEPS
};

/* ---- random programs ------------------------------------------------------------------ */

typedef struct program {
    reel__pointwise_attrs p;
    const reel__op *op[REEL_STEPS];
    reel_dtype dtype[VALUES];
} program;

static bool is_smooth(const reel__op *op)
{
    return op->vjp || (op->traits & REEL_OP_NO_GRAD);
}

/* Operators that may be a step, in the order of ops.def. */
static int candidates(const reel__op *list[], bool smooth)
{
    int n = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        if (!(op->traits & REEL_OP_POINTWISE) || (op->traits & REEL_OP_INPLACE)) continue;
        if (reel__pw_info_of((reel__kernel_id)op->kernel)->floats &&
            (!smooth || is_smooth(op)))
            list[n++] = op;
    }
    return n;
}

/* A random value of those that a step may read, later ones more often, of a dtype of the set;
 * -1: there is none. */
static int pick(const program *g, int n, unsigned dtypes)
{
    int from = random_below(2) && n > 4 ? n - 4 : 0;
    int at = from + (int)random_below(n - from);
    for (int i = 0; i < n; i++, at = (at + 1) % n)
        if (dtypes >> g->dtype[at] & 1) return at;
    return -1;
}

/* What integers are on a grid of. */
#define INTEGERS (DTYPE(REEL_U8) | DTYPE(REEL_I8) | DTYPE(REEL_I32))
#define COMPUTED (DTYPES_FLOAT | DTYPE(REEL_BOOL))

/* Operands in the order in which one says what the next may be; -1: there is none. */
static bool pick_operands(const program *g, int n, const reel__op *op, int src[3])
{
    if (op == &reel__dequantize) {
        src[0] = pick(g, n, INTEGERS);
        src[1] = pick(g, n, DTYPES_FLOAT);
        src[2] = src[0] < 0 ? -1 : pick(g, n, DTYPE(g->dtype[src[0]]));
        return src[0] >= 0 && src[1] >= 0;
    }
    src[0] = pick(g, n, op->dtypes & COMPUTED);
    if (src[0] < 0) return false;
    bool chooses = op->dtypes == DTYPE(REEL_BOOL) && op->n_in == 3; /* `where` */
    if (op->n_in > 1) src[1] = pick(g, n, chooses ? COMPUTED : DTYPE(g->dtype[src[0]]));
    if (op->n_in > 2)
        src[2] = pick(g, n, op == &reel__quantize ? INTEGERS : DTYPE(g->dtype[src[1]]));
    return op->n_in < 3 || src[2] >= 0;
}

/* Bounds of quantization are integers, here such as every dtype has. */
static void draw_attrs(const reel__op *op, reel__number a[2])
{
    bool fakes = op->infer == reel__fake_quantize.infer ||
                 op->infer == reel__fake_quantize_inside.infer;
    for (int k = 0; k < 2; k++)
        a[k] = fakes                   ? reel__real(k ? 5 : -3)
               : op == &reel__quantize ? reel__whole(k ? 100 : 3)
                                       : reel__real((double)random_below(400) / 100 - 2);
}

static bool add_step(program *g, const reel__op *op)
{
    reel__pointwise_attrs *p = &g->p;
    int s = (int)p->n_step, n = (int)p->n_in + s;
    int src[3] = {-1, -1, -1};
    const reel__pw_info *info = reel__pw_info_of((reel__kernel_id)op->kernel);
    if (!pick_operands(g, n, op, src)) return false;
    g->op[s] = op;
    g->dtype[n] = info->out_bool ? REEL_BOOL : g->dtype[src[info->stored_as]];
    p->row[s] = op->kernel;
    for (int k = 0; k < 3; k++) p->src[s][k] = src[k];
    draw_attrs(op, p->a[s]);
    p->n_step++;
    return true;
}

/* n_in inputs of `dtype`, perhaps one a condition and one of integers; the last step is an
 * output. */
static program random_program(int n_in, reel_dtype dtype, bool smooth, int seen[])
{
    const reel__op *list[256];
    int n = candidates(list, smooth), steps = 1 + (int)random_below(REEL_STEPS);
    program g = {.p.n_in = n_in};
    for (int i = 0; i < n_in; i++) g.dtype[i] = dtype;
    if (n_in > 1 && random_below(3) == 0) g.dtype[random_below(n_in)] = REEL_BOOL;
    static const reel_dtype integer[] = {REEL_U8, REEL_I8, REEL_I32};
    if (n_in > 1 && random_below(3) == 0)
        g.dtype[1 + random_below(n_in - 1)] = integer[random_below(3)];
    while (g.p.n_step < steps) {
        int k = (int)random_below(n);
        if (add_step(&g, list[k]) && seen) seen[k]++;
    }
    int outs = 1 + (int)random_below(REEL_STEP_OUTS);
    bool taken[REEL_STEPS] = {false};
    for (int i = 0; i < outs && i < steps; i++) {
        int s = i ? (int)random_below(steps) : steps - 1;
        while (taken[s]) s = (s + 1) % steps;
        taken[s] = true;
        g.p.out[g.p.n_out++] = s;
    }
    return g;
}

static void fail_program(const program *g, const char *what)
{
    char text[2048];
    reel__attr_text(&reel__pointwise_schema, &g->p, text, sizeof text);
    fail_msg("%s: %s (%s)", what, text, reel_error_message());
}

/* The operators one by one, all in the shape of the outputs: losses do not broadcast. */
static void run_steps(const program *g, reel_tensor *const in[], reel_shape shape,
                      reel_tensor *value[])
{
    for (int i = 0; i < g->p.n_in; i++) value[i] = reel_expand(in[i], shape);
    for (int s = 0; s < g->p.n_step; s++) {
        reel_tensor *x[3];
        reel__scalar_attrs a = {{g->p.a[s][0], g->p.a[s][1]}};
        for (int k = 0; k < g->op[s]->n_in; k++) x[k] = value[g->p.src[s][k]];
        value[g->p.n_in + s] =
            reel__apply1(g->op[s], g->op[s]->attrs ? &a : NULL, g->op[s]->n_in, x);
        if (!value[g->p.n_in + s]) fail_program(g, "a step fails");
    }
}

static void run_program(const program *g, reel_tensor *const in[], reel_tensor *out[])
{
    if (reel__apply(&reel__pointwise, &g->p, (int)g->p.n_in, in, out))
        fail_program(g, "the program fails");
    for (int i = 0; i < REEL_STEP_OUTS; i++)
        assert_int_equal(out[i] != NULL, i < g->p.n_out);
}

/* ---- tensors of any layout ------------------------------------------------------------ */

static reel_shape shape_of_size(int64_t most)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 16, 33, 64, 100, 200, 600};
    reel_shape s = {.rank = (int)random_below(5)};
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) {
        int64_t d = sizes[random_below(11)];
        s.dim[i] = n * d <= most ? d : 1;
        n *= s.dim[i];
    }
    return s;
}

/* Random values that broadcast to `shape`: dimensions dropped, of size 1, expanded, permuted
 * in memory, every second element. */
static reel_tensor *random_input(reel_shape shape, reel_dtype dtype, bool whole)
{
    reel_shape s = {.rank = shape.rank}, base, back = {.rank = shape.rank};
    int drop = !whole && random_below(4) == 0 ? (int)random_below(shape.rank + 1) : 0;
    s.rank -= drop;
    back.rank = s.rank;
    for (int i = 0; i < s.rank; i++) {
        s.dim[i] = shape.dim[i + drop];
        if (!whole && random_below(4) == 0) s.dim[i] = 1;
        back.dim[i] = i;
    }
    if (random_below(2))
        for (int i = s.rank - 1; i > 0; i--) {
            int j = (int)random_below(i + 1);
            int64_t t = back.dim[i];
            back.dim[i] = back.dim[j];
            back.dim[j] = t;
        }
    base = s;
    for (int i = 0; i < s.rank; i++) base.dim[back.dim[i]] = s.dim[i];
    bool gaps = s.rank && random_below(3) == 0;
    int d = gaps ? (int)random_below(s.rank) : 0;
    if (gaps) base.dim[d] *= 2;
    int repeated = s.rank && random_below(4) == 0 ? (int)random_below(s.rank) : -1;
    reel_shape whole_base = base;
    if (repeated >= 0 && !(gaps && repeated == d)) base.dim[repeated] = 1;
    reel_tensor *x = reel_mul_scalar(reel_randn(base, REEL_F64), 1.5);
    x = dtype == REEL_BOOL ? reel_gt(x, reel_scalar(0, REEL_F64)) : reel_cast(x, dtype);
    x = reel_expand(x, whole_base);
    if (gaps) x = reel_slice(x, d, 0, REEL_END, 2);
    x = reel_permute(x, back);
    assert_non_null(x);
    return x;
}

/* Equal bits; but one NaN is as good as another: which of two operands' it is, compilers
 * choose. */
static bool same_bits(reel_tensor *x, reel_tensor *y)
{
    const char *p = reel_data(reel_contiguous(x)), *q = reel_data(reel_contiguous(y));
    size_t size = reel_dtype_size(x->meta.dtype);
    for (int64_t i = 0; i < reel_numel(x); i++) {
        const char *a = p + (size_t)i * size, *b = q + (size_t)i * size;
        if (memcmp(a, b, size) == 0) continue;
        if (!isnan(get(a, x->meta.dtype)) || !isnan(get(b, y->meta.dtype))) return false;
    }
    return true;
}

/* ---- equal to the operators one by one -------------------------------------------------- */

/* Halves: the steps are computed in f32, and what goes out is rounded once. */
static void check_equal(const program *g, reel_tensor *const in[], reel_dtype dtype)
{
    bool half = dtype == REEL_F16 || dtype == REEL_BF16;
    reel_tensor *out[REEL_OP_MAX_OUT], *value[VALUES], *whole[REEL_STEP_INS];
    run_program(g, in, out);
    for (int i = 0; i < g->p.n_in; i++)
        whole[i] =
            half && reel_dtype_is_float(g->dtype[i]) ? reel_cast(in[i], REEL_F32) : in[i];
    run_steps(g, whole, reel__shape(&out[0]->meta), value);
    for (int i = 0; i < g->p.n_out; i++) {
        reel_tensor *y = value[g->p.n_in + g->p.out[i]];
        assert_int_equal(out[i]->meta.dtype, g->dtype[g->p.n_in + g->p.out[i]]);
        assert_true(reel__same_shape(&out[i]->meta, &y->meta));
        if (!same_bits(out[i], reel_cast(y, out[i]->meta.dtype)))
            fail_program(g, "differs from its steps");
    }
}

static void test_random_programs(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F64, REEL_F16, REEL_BF16};
    const reel__op *list[256];
    int seen[256] = {0}, n = candidates(list, false);
    random_state = 1;
    reel_seed(1);
    for (int i = 0; i < PROGRAMS; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *in[REEL_STEP_INS];
        reel_dtype dtype = dtypes[random_below(4)];
        int n_in = 1 + (int)random_below(random_below(8) ? 4 : REEL_STEP_INS);
        program g = random_program(n_in, dtype, false, seen);
        reel_shape shape = shape_of_size(i % 20 ? 3000 : 200000);
        for (int k = 0; k < n_in; k++)
            in[k] = random_input(shape, g.dtype[k], k == 0 && random_below(2));
        check_equal(&g, in, dtype);
        reel_scope_end(s);
    }
    for (int k = 0; k < n; k++)
        if (!seen[k]) fail_msg("%s was never a step", list[k]->name);
}

/* As long as programs can be, most values alive at once. */
static void test_largest(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        reel_scope s = reel_scope_begin();
        program g = {.p = {.n_in = REEL_STEP_INS, .n_out = 1}};
        reel_tensor *in[REEL_STEP_INS];
        reel_dtype dtype = wide ? REEL_F64 : REEL_F32;
        for (int k = 0; k < REEL_STEP_INS; k++) {
            g.dtype[k] = dtype;
            in[k] = reel_permute(reel_randn(REEL_SHAPE(70, 90), dtype), REEL_DIMS(1, 0));
        }
        in[0] = reel_contiguous(in[0]);
        for (int k = 0; k < REEL_STEPS; k++) { /* 8 squares, then their products */
            int n = REEL_STEP_INS + k, m = k < 8 ? k : n - 8;
            g.op[k] = k < 8 ? &reel__square : &reel__mul;
            g.p.row[k] = g.op[k]->kernel;
            g.p.src[k][0] = m;
            g.p.src[k][1] = k < 8 ? -1 : k == 8 ? 11 : n - 1;
            g.p.src[k][2] = -1;
            g.dtype[n] = dtype;
            g.p.n_step++;
        }
        g.p.out[0] = REEL_STEPS - 1;
        check_equal(&g, in, dtype);
        reel_scope_end(s);
    }
}

static void test_threads_agree(void **state)
{
    (void)state;
    int threads = reel_threads();
    random_state = 5;
    for (int i = 0; i < 10; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *in[3], *one[REEL_OP_MAX_OUT], *more[REEL_OP_MAX_OUT];
        program g = random_program(3, REEL_F32, false, NULL);
        for (int k = 0; k < 3; k++)
            in[k] = random_input(REEL_SHAPE(300, 7, 100), g.dtype[k], k == 0);
        assert_int_equal(reel_set_threads(1), REEL_OK);
        run_program(&g, in, one);
        assert_int_equal(reel_set_threads(3), REEL_OK);
        run_program(&g, in, more);
        for (int k = 0; k < g.p.n_out; k++) assert_true(same_bits(one[k], more[k]));
        reel_scope_end(s);
    }
    assert_int_equal(reel_set_threads(threads), REEL_OK);
}

/* ---- an output over an input ------------------------------------------------------------ */

/* Where element i of a matrix lies. */
static size_t place(const reel__meta *m, int64_t i)
{
    int64_t r = i / m->dim[1], c = i % m->dim[1];
    return (size_t)(r * m->stride[0] + c * m->stride[1]) * reel_dtype_size(m->dtype);
}

static bool same_elements(const reel__meta *m, const char *a, const char *b)
{
    for (int64_t i = 0; i < reel__numel(m); i++) {
        size_t at = place(m, i);
        bool nan = isnan(get(a + at, m->dtype)) && isnan(get(b + at, m->dtype));
        if (!nan && memcmp(a + at, b + at, reel_dtype_size(m->dtype)) != 0) return false;
    }
    return true;
}

/* All operands lie alike: output `o` into memory of its own, then over input k. Nothing but
 * its elements may change. */
static bool run_over_input(const program *g, layout *x, int o, int k)
{
    int n_in = (int)g->p.n_in, n_out = (int)g->p.n_out;
    size_t bytes = x[k].bytes * sizeof(double); /* enough for any dtype */
    reel__karg in[REEL_STEP_INS], out[REEL_STEP_OUTS];
    reel__meta meta[REEL_STEP_OUTS];
    char *apart[REEL_STEP_OUTS], *over[REEL_STEP_OUTS], *before = malloc(x[k].bytes);
    assert_non_null(before);
    memcpy(before, x[k].memory, x[k].bytes);
    for (int i = 0; i < n_in; i++) in[i] = (reel__karg){x[i].data, &x[i].meta};
    for (int i = 0; i < n_out; i++) {
        meta[i] = x[k].meta;
        meta[i].dtype = g->dtype[n_in + g->p.out[i]];
        apart[i] = calloc(1, bytes);
        over[i] = calloc(1, bytes);
        assert_true(apart[i] && over[i]);
        out[i] = (reel__karg){apart[i], &meta[i]};
    }
    const reel__kcall call = {.kernel = K_POINTWISE,
                              .n_in = n_in,
                              .n_out = n_out,
                              .in = in,
                              .out = out,
                              .attrs = &g->p};
    assert_int_equal(reel__ref_pointwise(&call), REEL_OK);
    for (int i = 0; i < n_out; i++) out[i].data = i == o ? x[k].data : over[i];
    assert_int_equal(reel__ref_pointwise(&call), REEL_OK);
    bool same = true;
    for (int i = 0; i < n_out; i++)
        same = same && same_elements(&meta[i], apart[i], out[i].data);
    for (int64_t i = 0; i < reel__numel(&meta[o]); i++)
        memcpy(x[k].data + place(&meta[o], i), before + place(&meta[o], i),
               reel_dtype_size(meta[o].dtype));
    same = same && memcmp(x[k].memory, before, x[k].bytes) == 0;
    for (int i = 0; i < n_out; i++) free(apart[i]), free(over[i]);
    free(before);
    return same;
}

static void fill(layout *x)
{
    size_t size = reel_dtype_size(x->meta.dtype);
    for (size_t at = 0; at + size <= x->bytes; at += size)
        put(x->memory + at, x->meta.dtype,
            x->meta.dtype == REEL_BOOL ? (int)random_below(2) : (int)random_below(9) - 4);
}

static void test_output_over_input(void **state)
{
    (void)state;
    static const reel_dtype dtypes[] = {REEL_F32, REEL_F32, REEL_F64, REEL_F16};
    static const unsigned how[] = {0, GAPS, PERMUTE, PERMUTE | GAPS};
    int cases = 0;
    random_state = 3;
    for (int i = 0; i < IN_PLACE; i++) {
        reel_shape shape = REEL_SHAPE(1 + random_below(40), 1 + random_below(90));
        program g = random_program(1 + (int)random_below(4), dtypes[i % 4], false, NULL);
        layout x[REEL_STEP_INS];
        uint64_t same_layout = random_state;
        for (int k = 0; k < g.p.n_in; k++) {
            random_state = same_layout;
            x[k] = random_layout(shape, g.dtype[k], how[i / 4 % 4]);
        }
        for (int k = 0; k < g.p.n_in; k++) fill(&x[k]);
        for (int o = 0; o < g.p.n_out; o++)
            for (int k = 0; k < g.p.n_in; k++) {
                if (g.dtype[g.p.n_in + g.p.out[o]] != g.dtype[k]) continue;
                if (!run_over_input(&g, x, o, k)) fail_program(&g, "in place differs");
                cases++;
            }
        for (int k = 0; k < g.p.n_in; k++) free(x[k].memory);
    }
    assert_true(cases > IN_PLACE);
}

/* ---- gradients ---------------------------------------------------------------------------- */

/* Sum over all outputs of their values times weights that differ from output to output. */
static reel_tensor *weighed(const program *g, reel_tensor *const out[])
{
    reel_tensor *sum = NULL;
    for (int i = 0; i < g->p.n_out; i++) {
        if (!reel_dtype_is_float(out[i]->meta.dtype)) continue;
        reel_tensor *part =
            reel_mul_scalar(reel_sum(out[i], (reel_shape){.rank = 0}, false), 1 + i);
        sum = sum ? reel_add(sum, part) : part;
    }
    return sum;
}

static bool close_to(reel_tensor *x, reel_tensor *y)
{
    if (!x || !y) return x == y;
    const double *p = reel_data(reel_contiguous(x)), *q = reel_data(reel_contiguous(y));
    for (int64_t i = 0; i < reel_numel(x); i++) {
        double most = fmax(fabs(p[i]), fabs(q[i]));
        if (isnan(p[i]) && isnan(q[i])) continue;
        if (p[i] != q[i] && !(fabs(p[i] - q[i]) <= 1e-10 * fmax(most, 1))) return false;
    }
    return true;
}

static bool check_gradient(const program *g, reel_tensor *in[], reel_shape shape)
{
    reel_tensor *out[REEL_OP_MAX_OUT], *value[VALUES], *fused[REEL_STEP_INS];
    reel_tensor *plain[REEL_STEP_INS], *x[REEL_STEP_INS];
    const reel_backward_opts opts = {.allow_unused = true};
    int n = 0;
    for (int k = 0; k < g->p.n_in; k++)
        if (reel_dtype_is_float(g->dtype[k])) x[n++] = reel_requires_grad(in[k], true);
    run_program(g, in, out);
    reel_tensor *y = weighed(g, out);
    if (!y) return false;
    run_steps(g, in, shape, value);
    for (int i = 0; i < g->p.n_out; i++) out[i] = value[g->p.n_in + g->p.out[i]];
    reel_tensor *z = weighed(g, out);
    if (!z->node) return false; /* floor() of a comparison ... */
    assert_int_equal(reel_grad(&y, 1, NULL, x, n, fused, &opts), REEL_OK);
    assert_int_equal(reel_grad(&z, 1, NULL, x, n, plain, &opts), REEL_OK);
    for (int k = 0; k < n; k++)
        if (!close_to(fused[k], plain[k])) fail_program(g, "its gradient differs");
    return true;
}

static void test_gradients(void **state)
{
    (void)state;
    int cases = 0;
    random_state = 2;
    reel_seed(2);
    for (int i = 0; i < GRADIENTS; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *in[REEL_STEP_INS];
        int n_in = 1 + (int)random_below(4);
        program g = random_program(n_in, REEL_F64, true, NULL);
        reel_shape shape = shape_of_size(300);
        for (int k = 0; k < n_in; k++) {
            in[k] = reel_copy(random_input(shape, g.dtype[k], k == 0));
            assert_non_null(in[k]);
        }
        cases += check_gradient(&g, in, shape);
        reel_scope_end(s);
    }
    assert_true(cases > GRADIENTS / 2);
}

static const char tanh_twice[] =
    "n_in=1 n_step=2 n_out=2 row=tanh,square src=0,-1,-1,1,-1,-1 "
    "out=0,1";

static reel_tensor *both_outputs(void *user, reel_tensor *const x[], int n)
{
    reel_tensor *out[REEL_OP_MAX_OUT];
    if (reel__apply(&reel__pointwise, user, n, x, out)) return NULL;
    return reel_add(reel_mul_scalar(out[0], 3), out[1]);
}

/* A step that is the output and read by another; differentiated twice. */
static void test_second_order(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    reel__pointwise_attrs p = {0};
    assert_true(reel__attr_parse(&reel__pointwise_schema, tanh_twice, &p));
    reel_tensor *x = reel_requires_grad(reel_randn(REEL_SHAPE(2, 3), REEL_F64), true);
    assert_int_equal(reel_gradcheck(both_outputs, &p, &x, 1, NULL), REEL_OK);
    assert_int_equal(reel_gradgradcheck(both_outputs, &p, &x, 1, NULL), REEL_OK);
    reel_scope_end(s);
}

/* The gradient of a step that is a derivative itself is composed; that of a comparison is none. */
static reel_tensor *slopes(void *user, reel_tensor *const x[], int n)
{
    return reel__apply1(&reel__pointwise, user, n, x);
}

static void test_steps_that_are_slopes(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    reel__pointwise_attrs p = {0};
    const char *text = "n_in=2 n_step=3 n_out=1 row=silu_grad,gt,where "
                       "src=0,1,-1,0,1,-1,3,2,1 out=2";
    assert_true(reel__attr_parse(&reel__pointwise_schema, text, &p));
    reel_tensor *x[2];
    for (int i = 0; i < 2; i++)
        x[i] = reel_requires_grad(reel_randn(REEL_SHAPE(2, 5), REEL_F64), true);
    assert_int_equal(reel_gradcheck(slopes, &p, x, 2, NULL), REEL_OK);
    assert_int_equal(reel_gradgradcheck(slopes, &p, x, 2, NULL), REEL_OK);
    reel_scope_end(s);
}

/* ---- in a graph ------------------------------------------------------------------------- */

/* Outputs that are not there, attributes larger than any other record's: a graph holds, checks,
 * counts and runs them. */
static void test_graph(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    reel__pointwise_attrs p = {0};
    assert_true(reel__attr_parse(&reel__pointwise_schema, tanh_twice, &p));
    reel_tensor *x = reel_randn(REEL_SHAPE(2, 3), REEL_F32), *y = NULL;
    reel_graph *g = reel_trace_function(both_outputs, &p, &x, 1, NULL);
    assert_non_null(g);
    assert_int_equal(reel_graph_check(g), REEL_OK);
    assert_int_equal(reel_graph_nodes(g), 3);
    assert_true(reel_graph_cost(g).flops == 2 * 6 + 6 + 6);
    assert_int_equal(reel_graph_run(g, &x, 1, &y, 1), REEL_OK);
    assert_true(same_bits(y, both_outputs(&p, &x, 1)));
    char *text = reel_graph_to_string(g);
    assert_non_null(text);
    assert_non_null(strstr(text, "row=tanh,square"));
    free(text);
    reel_graph_free(g);
    reel_scope_end(s);
}

/* ---- what is refused ------------------------------------------------------------------- */

static const struct {
    const char *change, *message;
} refused[] = {
    {"n_in=1", "2 inputs for a program of 1"},
    {"n_in=-1", "2 inputs for a program of -1"},
    {"n_step=0", "0 steps; 1 to 16 are possible"},
    {"n_step=17", "17 steps; 1 to 16 are possible"},
    {"n_step=9223372036854775807", "steps; 1 to 16 are possible"},
    {"n_out=0", "0 outputs; 1 to 4 are possible"},
    {"n_out=5", "5 outputs; 1 to 4 are possible"},
    {"out=2", "output 0 is step 2 of 2"},
    {"out=-1", "output 0 is step -1 of 2"},
    {"n_out=2 out=1,1", "outputs 0 and 1 are both step 1"},
    {"row=none", "step 0 is kernel 0, which is not a pointwise operator"},
    {"src=0,2,-1", "step 0, add, reads value 2; it may read 0 to 1"},
    {"src=0,-1,-1", "step 0, add, reads value -1"},
    {"src=0,1,-1,3", "step 1, tanh, reads value 3; it may read 0 to 2"},
    {"src=0,1,-1,-9", "step 1, tanh, reads value -9"},
    {"src=0,1,0", "step 0, add, reads value 0 as operand 2; it has 2 operands"},
    {"row=gt,tanh", "step 1: tanh: input 0 is bool[]; this operator does not take"},
    {"row=where src=0,0,1",
     "step 0: where: input 0 is f32[]; this operator does not take"},
};

static void expect_refused(const reel__pointwise_attrs *p, int n, reel_tensor *const in[],
                           const char *message)
{
    reel_tensor *out[REEL_OP_MAX_OUT];
    if (!reel__apply(&reel__pointwise, p, n, in, out)) fail_msg("takes %s", message);
    if (!strstr(reel_error_message(), message)) fail_msg("%s", reel_error_message());
    reel_error_clear();
}

static void test_refused(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    reel_tensor *f32 = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_tensor *in[] = {f32, f32}, *many[REEL_STEP_INS + 1];
    reel__pointwise_attrs good = {0};
    const char *text = "n_in=2 n_step=2 n_out=1 row=add,tanh src=0,1,-1,2,-1,-1 out=1";
    assert_true(reel__attr_parse(&reel__pointwise_schema, text, &good));
    assert_non_null(reel__apply1(&reel__pointwise, &good, 2, in));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        reel__pointwise_attrs bad = good;
        assert_true(reel__attr_parse(&reel__pointwise_schema, refused[i].change, &bad));
        expect_refused(&bad, 2, in, refused[i].message);
    }
    static const int64_t rows[] = {-1, K_SUM, K_COUNT, INT64_MAX, INT64_MIN, K_POINTWISE};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reel__pointwise_attrs bad = good;
        bad.row[1] = rows[i];
        expect_refused(&bad, 2, in, "which is not a pointwise operator");
    }
    expect_refused(NULL, 2, in, "without attributes");
    expect_refused(&good, 2, (reel_tensor *[]){f32, reel_ones(REEL_SHAPE(2), REEL_F32)},
                   "do not broadcast");
    expect_refused(&good, 2, (reel_tensor *[]){f32, reel_ones(REEL_SHAPE(3), REEL_F64)},
                   "differ in dtype");
    expect_refused(&good, 2, (reel_tensor *[]){f32, reel_ones(REEL_SHAPE(3), REEL_I64)},
                   "would be computed in i64; programs are in floats");
    for (int i = 0; i <= REEL_STEP_INS; i++) many[i] = f32;
    good.n_in = REEL_STEP_INS + 1;
    expect_refused(&good, REEL_STEP_INS + 1, many, "at most 12 are possible");
    reel_scope_end(s);
}

/* ---- attributes as text ---------------------------------------------------------------- */

static void test_text(void **state)
{
    (void)state;
    char text[2048];
    reel__pointwise_attrs p = {0};
    assert_true(reel__attr_parse(&reel__pointwise_schema, tanh_twice, &p));
    assert_int_equal(p.row[0], K_TANH);
    assert_int_equal(p.row[1], K_SQUARE);
    reel__attr_text(&reel__pointwise_schema, &p, text, sizeof text);
    assert_string_equal(text,
                        "n_in=1 n_step=2 n_out=2 row=tanh,square src=0,-1,-1,1,-1,-1 "
                        "a=0,0,0,0 out=0,1");
    for (size_t n = 1; n <= sizeof tanh_twice; n++) { /* never past its end */
        memset(text, '#', sizeof text);
        reel__attr_text(&reel__pointwise_schema, &p, text, n);
        assert_true(strlen(text) < n);
        assert_int_equal(text[n], '#');
    }
    assert_false(reel__attr_parse(&reel__pointwise_schema, "row=tan", &p));
    reel_error_clear();
    assert_false(reel__attr_parse(&reel__pointwise_schema, "row=", &p));
    reel_error_clear();
    random_state = 9;
    for (int i = 0; i < 100; i++) {
        program g = random_program(3, REEL_F32, false, NULL);
        reel__pointwise_attrs back = {0};
        reel__attr_text(&reel__pointwise_schema, &g.p, text, sizeof text);
        assert_true(reel__attr_parse(&reel__pointwise_schema, text, &back));
        assert_memory_equal(&back, &g.p, sizeof back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_programs),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_output_over_input),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_second_order),
        cmocka_unit_test(test_steps_that_are_slopes),
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_text),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
