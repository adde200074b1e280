/* The fused kernels against the operators that they stand for, with and without prepared
 * weights, on one thread and two. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/autograd.h>

#include "ops/records.h"

/* ---- operands ---------------------------------------------------------------------- */

static reel_tensor *drawn(reel_shape shape, uint64_t seed, bool channels_last)
{
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    float *v = malloc((size_t)n * sizeof *v + 1);
    assert_non_null(v);
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15);
    for (int64_t i = 0; i < n; i++) { /* xorshift: there are many numbers to draw */
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        v[i] = (float)(int32_t)(x >> 32) * 0x1p-31f;
    }
    reel_tensor *t = reel_from(v, shape, REEL_F32);
    free(v);
    if (channels_last) t = reel_to_format(t, REEL_CHANNELS_LAST);
    assert_non_null(t);
    return t;
}

typedef struct call {
    const reel__op *op;
    const void *attrs;
    reel_tensor *in[4];
} call;

static reel_tensor *empty_like(const reel_tensor *y)
{
    reel_tensor *t = reel_copy((reel_tensor *)y);
    assert_non_null(t);
    memset(reel__ptr(t), 0x55, (size_t)reel_numel(t) * sizeof(float));
    return t;
}

/* Runs the kernel into a new result like y. */
static reel_tensor *run_kernel(const call *c, const reel_tensor *y, bool prepared,
                               int threads)
{
    const reel__backend *be = reel__backend_of(REEL_CPU);
    reel__karg in[4] = {{NULL, NULL}}, out;
    reel_tensor *result = empty_like(y);
    for (int i = 0; i < 4; i++)
        if (c->in[i]) in[i] = (reel__karg){reel__ptr(c->in[i]), &c->in[i]->meta};
    out = (reel__karg){reel__ptr(result), &result->meta};
    reel__kcall k = {
        .kernel = (reel__kernel_id)c->op->kernel,
        .n_in = c->op->n_in,
        .n_out = 1,
        .in = in,
        .out = &out,
        .attrs = c->attrs,
    };
    void *room = NULL;
    assert_int_equal(reel_set_threads(threads), REEL_OK);
    if (prepared) {
        assert_int_equal(be->prepare_size(0, &k, 0), 0); /* nothing is constant */
        size_t size = be->prepare_size(0, &k, 1u << 1);
        if (size) {
            room = aligned_alloc(64, (size + 63) / 64 * 64);
            assert_non_null(room);
            assert_int_equal(be->prepare(0, &k, 1u << 1, room), REEL_OK);
        } else {
            assert_int_equal(be->prepare(0, &k, 1u << 1, room), REEL_ERR_INTERNAL);
            reel_error_clear();
        }
        k.prepared = room;
    }
    assert_int_equal(be->launch(0, &k), REEL_OK);
    free(room);
    return result;
}

static void same_bits(const reel_tensor *a, const reel_tensor *b, const char *what)
{
    if (memcmp(reel__ptr(a), reel__ptr(b), (size_t)reel_numel(a) * sizeof(float)) != 0)
        fail_msg("%s: not the same bits", what);
}

static void near(const reel_tensor *a, const reel_tensor *b, double tolerance,
                 const char *what)
{
    const float *x = reel__ptr(a), *y = reel__ptr(b);
    for (int64_t i = 0; i < reel_numel(a); i++) {
        double d = fabs((double)x[i] - (double)y[i]);
        if (!(d <= tolerance * (1 + fabs((double)y[i]))))
            fail_msg("%s: element %d is %.9g, must be %.9g", what, (int)i, (double)x[i],
                     (double)y[i]);
    }
}

/* The same bits whatever is prepared and however many threads run; near what the operators
 * give, and their bits if `exact`. */
static void check(const call *c, const reel_tensor *want, double tolerance, bool exact,
                  const char *what)
{
    reel_tensor *out[REEL_OP_MAX_OUT];
    assert_int_equal(reel__apply(c->op, c->attrs, c->op->n_in, c->in, out), REEL_OK);
    assert_true(reel__same_shape(&out[0]->meta, &want->meta));
    assert_memory_equal(out[0]->meta.stride, want->meta.stride,
                        (size_t)want->meta.rank * sizeof(int64_t));
    if (exact)
        same_bits(out[0], want, what);
    else
        near(out[0], want, tolerance, what);
    for (int threads = 1; threads <= 2; threads++)
        for (int prepared = 0; prepared < 2; prepared++)
            same_bits(run_kernel(c, out[0], prepared, threads), out[0], what);
}

/* ---- activations ------------------------------------------------------------------- */

static const struct act {
    reel__kernel_id row;
    double a[2];
} acts[] = {{K_NONE, {0, 0}}, {K_RELU, {0, 0}},         {K_GELU, {0, 0}},
            {K_SILU, {0, 0}}, {K_LEAKY_RELU, {0.1, 0}}, {K_CLAMP, {-0.5, 0.25}}};
enum { ACTS = sizeof acts / sizeof *acts };

static reel_tensor *activate(reel_tensor *y, const struct act *act)
{
    switch (act->row) {
    case K_RELU: return reel_relu(y);
    case K_GELU: return reel_gelu(y);
    case K_SILU: return reel_silu(y);
    case K_LEAKY_RELU: return reel_leaky_relu(y, act->a[0]);
    case K_CLAMP: return reel_clamp(y, act->a[0], act->a[1]);
    default: return y;
    }
}

/* ---- convolution ------------------------------------------------------------------- */

static const struct conv {
    int n, c, h, w, k, r, s, stride, pad, dil, groups;
} convs[] = {
    {1, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1},   {2, 32, 9, 7, 48, 3, 3, 1, 1, 1, 1},
    {3, 64, 8, 8, 64, 3, 3, 1, 1, 1, 1},   {1, 16, 33, 30, 16, 3, 3, 1, 1, 1, 1},
    {1, 192, 7, 7, 208, 3, 3, 1, 1, 1, 1}, {1, 3, 31, 31, 20, 7, 7, 2, 3, 1, 1},
    {2, 16, 16, 16, 32, 3, 3, 2, 1, 1, 1}, {2, 24, 9, 9, 70, 1, 1, 1, 0, 1, 1},
    {2, 16, 9, 9, 33, 1, 1, 2, 0, 1, 1},   {1, 8, 10, 10, 12, 3, 3, 1, 2, 2, 4},
    {2, 35, 9, 9, 35, 3, 3, 1, 1, 1, 35},  {2, 64, 8, 8, 64, 3, 3, 2, 1, 1, 64},
    {40, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1},  {1, 5, 4, 4, 3, 3, 3, 1, 1, 1, 1},
    {1, 256, 4, 4, 256, 3, 3, 1, 1, 1, 1}, {1, 150, 12, 12, 48, 3, 3, 1, 1, 1, 1},
    {2, 256, 6, 6, 40, 3, 3, 1, 1, 1, 1},
};

static void check_conv(const struct conv *s, int act, int with, int64_t algo, bool exact)
{
    char what[160];
    snprintf(what, sizeof what,
             "[%d,%d,%d,%d] k %d %dx%d/%d groups %d act %d with %d algo %d", s->n, s->c,
             s->h, s->w, s->k, s->r, s->s, s->stride, s->groups, act, with, (int)algo);
    reel_scope scope = reel_scope_begin();
    reel__conv2d_fused_attrs at = {
        .conv = {.stride = {s->stride, s->stride},
                 .padding = {s->pad, s->pad},
                 .dilation = {s->dil, s->dil},
                 .groups = s->groups},
        .act = acts[act].row,
        .a = {reel__real(acts[act].a[0]), reel__real(acts[act].a[1])},
        .algo = algo,
    };
    call c = {&reel__conv2d_fused, &at, {NULL}};
    double fan = (double)(s->c / s->groups * s->r * s->s);
    c.in[0] = drawn(REEL_SHAPE(s->n, s->c, s->h, s->w), 1, true);
    c.in[1] = drawn(REEL_SHAPE(s->k, s->c / s->groups, s->r, s->s), 2, with & 4);
    c.in[1] = reel_mul_scalar(c.in[1], 1 / sqrt(fan));
    if (with & 1) c.in[2] = drawn(REEL_SHAPE(s->k), 3, false);
    assert_int_equal(reel_set_threads(1), REEL_OK);
    reel_set_exact(true);
    reel_tensor *y = APPLY(&reel__conv2d, &at.conv, c.in[0], c.in[1], c.in[2]);
    reel_set_exact(exact);
    assert_non_null(y);
    if (with & 2) {
        c.in[3] = drawn(reel__shape(&y->meta), 4, true);
        y = reel_add(y, c.in[3]);
    }
    y = activate(y, &acts[act]);
    check(&c, y, 2e-5, exact || algo == REEL_ALGO_DIRECT, what);
    reel_set_exact(false);
    reel_scope_end(scope);
}

static void test_conv(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++)
        for (int with = 0; with < 8; with++)
            for (int64_t algo = 0; algo <= REEL_ALGO_WINOGRAD; algo++)
                check_conv(&convs[i], (int)(i + (size_t)with) % ACTS, with, algo,
                           algo == 0 && with % 2);
    for (int act = 0; act < ACTS; act++)
        for (int64_t algo = 1; algo <= REEL_ALGO_WINOGRAD; algo++)
            check_conv(&convs[1], act, 3, algo, false);
}

/* Exact mode may come and go between prepare() and run(). */
static void test_exact_after_prepare(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    const reel__backend *be = reel__backend_of(REEL_CPU);
    reel__conv2d_fused_attrs at = {.conv = {{1, 1}, {1, 1}, {1, 1}, 1, {0}}};
    reel_tensor *x = drawn(REEL_SHAPE(1, 64, 16, 16), 1, true);
    reel_tensor *w = drawn(REEL_SHAPE(64, 64, 3, 3), 2, false);
    reel_set_exact(true);
    reel_tensor *want = APPLY(&reel__conv2d, &at.conv, x, w, NULL);
    reel_tensor *got = empty_like(want);
    reel_set_exact(false);
    const reel__karg in[4] = {{reel__ptr(x), &x->meta}, {reel__ptr(w), &w->meta}};
    const reel__karg out = {reel__ptr(got), &got->meta};
    reel__kcall k = {K_CONV2D_FUSED, 4, 1, in, &out, &at, NULL, 0};
    size_t size = be->prepare_size(0, &k, 1u << 1);
    assert_true(size > 0);
    void *room = aligned_alloc(64, (size + 63) / 64 * 64);
    assert_non_null(room);
    assert_int_equal(be->prepare(0, &k, 1u << 1, room), REEL_OK);
    k.prepared = room;
    reel_set_exact(true);
    assert_int_equal(be->launch(0, &k), REEL_OK);
    reel_set_exact(false);
    same_bits(got, want, "exact");
    free(room);
    reel_scope_end(scope);
}

/* ---- linear ------------------------------------------------------------------------ */

static const struct linear {
    int n, in, out;
} linears[] = {{1, 64, 10},      {7, 33, 5},     {16, 192, 64},  {17, 192, 64},
               {65, 192, 576},   {65, 768, 192}, {130, 100, 37}, {64, 2048, 48},
               {300, 300, 1000}, {40, 1, 3}};

static void check_linear(const struct linear *s, int act, int with)
{
    char what[96];
    snprintf(what, sizeof what, "[%d,%d] -> %d act %d with %d", s->n, s->in, s->out, act,
             with);
    reel_scope scope = reel_scope_begin();
    reel__linear_fused_attrs at = {
        .act = acts[act].row,
        .a = {reel__real(acts[act].a[0]), reel__real(acts[act].a[1])}};
    call c = {&reel__linear_fused, &at, {NULL}};
    c.in[0] = drawn(REEL_SHAPE(s->n, s->in), 1, false);
    c.in[1] = with & 4 ? reel_t(drawn(REEL_SHAPE(s->in, s->out), 2, false))
                       : drawn(REEL_SHAPE(s->out, s->in), 2, false);
    c.in[0] = reel_mul_scalar(c.in[0], 1 / sqrt((double)s->in));
    if (with & 1) c.in[2] = drawn(REEL_SHAPE(s->out), 3, false);
    assert_int_equal(reel_set_threads(1), REEL_OK);
    reel_tensor *y = APPLY(&reel__linear, NULL, c.in[0], c.in[1], c.in[2]);
    if (with & 2) {
        c.in[3] = drawn(REEL_SHAPE(s->n, s->out), 4, false);
        y = reel_add(y, c.in[3]);
    }
    check(&c, activate(y, &acts[act]), 0, true, what);
    reel_scope_end(scope);
}

static void test_linear(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++)
        for (int with = 0; with < 8; with++)
            for (int act = 0; act < ACTS; act++) check_linear(&linears[i], act, with);
}

/* The plain kernels have their weights prepared too, and K_MATMUL its right operand. */
static void test_plain(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    reel__conv2d_attrs at = {{1, 1}, {1, 1}, {1, 1}, 1, {0}};
    call conv = {&reel__conv2d, &at, {NULL}};
    conv.in[0] = drawn(REEL_SHAPE(2, 32, 12, 12), 1, true);
    conv.in[1] = drawn(REEL_SHAPE(64, 32, 3, 3), 2, false);
    reel_tensor *y = APPLY(&reel__conv2d, &at, conv.in[0], conv.in[1], NULL);
    for (int threads = 1; threads <= 2; threads++)
        same_bits(run_kernel(&conv, y, true, threads), y, "conv2d");
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        call linear = {&reel__linear, NULL, {NULL}},
             matmul = {&reel__matmul, NULL, {NULL}};
        linear.in[0] = matmul.in[0] =
            drawn(REEL_SHAPE(linears[i].n, linears[i].in), 3, false);
        linear.in[1] = drawn(REEL_SHAPE(linears[i].out, linears[i].in), 4, false);
        linear.in[2] = drawn(REEL_SHAPE(linears[i].out), 5, false);
        matmul.in[1] = drawn(REEL_SHAPE(linears[i].in, linears[i].out), 6, false);
        y = APPLY(&reel__linear, NULL, linear.in[0], linear.in[1], linear.in[2]);
        same_bits(run_kernel(&linear, y, true, 2), y, "linear");
        y = APPLY(&reel__matmul, NULL, matmul.in[0], matmul.in[1]);
        same_bits(run_kernel(&matmul, y, true, 2), y, "matmul");
    }
    reel_scope_end(scope);
}

/* ---- wrong calls ------------------------------------------------------------------- */

static void refused(const call *c, reel_status status, const char *says)
{
    reel_tensor *out[REEL_OP_MAX_OUT];
    assert_int_equal(reel__apply(c->op, c->attrs, 4, c->in, out), status);
    if (!strstr(reel_error_message(), says)) fail_msg("says %s", reel_error_message());
    reel_error_clear();
}

static void test_refused(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    reel__linear_fused_attrs at = {.act = K_ADD};
    call c = {&reel__linear_fused, &at, {NULL}};
    c.in[0] = drawn(REEL_SHAPE(2, 3), 1, false);
    c.in[1] = drawn(REEL_SHAPE(4, 3), 2, false);
    const int64_t wrong[] = {K_ADD, K_MATMUL, K_ISFINITE, K_LOGICAL_NOT, -1, K_COUNT};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        at.act = wrong[i];
        refused(&c, REEL_ERR_ARG, "is not an activation");
    }
    at.act = K_RELU;
    c.in[3] = drawn(REEL_SHAPE(2, 3), 3, false);
    refused(&c, REEL_ERR_SHAPE, "residual f32[2,3] must have the shape");
    c.in[3] = reel_cast(drawn(REEL_SHAPE(2, 4), 3, false), REEL_F64);
    refused(&c, REEL_ERR_DTYPE, "residual f64[2,4] must have the dtype");
    reel__conv2d_fused_attrs conv = {.conv = {{1, 1}, {0, 0}, {1, 1}, 1, {0}}, .algo = 3};
    call d = {&reel__conv2d_fused, &conv, {NULL}};
    d.in[0] = drawn(REEL_SHAPE(1, 2, 3, 3), 1, true);
    d.in[1] = drawn(REEL_SHAPE(2, 2, 3, 3), 2, false);
    refused(&d, REEL_ERR_ARG, "algo 3 must be");
    reel_scope_end(scope);
}

/* ---- attributes -------------------------------------------------------------------- */

static void test_text(void **state)
{
    (void)state;
    char text[256];
    const char *want = "stride=2,1 padding=1,0 dilation=1,2 groups=4 act=leaky_relu "
                       "a=0.10000000000000001,0 algo=1";
    reel__conv2d_fused_attrs at = {0};
    assert_true(reel__attr_parse(reel__conv2d_fused.attrs, want, &at));
    assert_int_equal(at.act, K_LEAKY_RELU);
    assert_string_equal(reel__attr_text(reel__conv2d_fused.attrs, &at, text, sizeof text),
                        want);
    assert_false(reel__attr_parse(reel__conv2d_fused.attrs, "act=nothing", &at));
    reel_error_clear();
    assert_true(reel__attr_parse(reel__conv2d_fused.attrs, "act=none", &at));
    assert_int_equal(at.act, K_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),    cmocka_unit_test(test_exact_after_prepare),
        cmocka_unit_test(test_linear),  cmocka_unit_test(test_plain),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_text),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reel_scope_end(0);
    return failed;
}
