/* Products of 8-bit operands: the reference kernels against sums in 64 bits, and the fast ones
 * against the reference bit for bit, over random shapes, layouts, zero points and scales; what
 * records refuse. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/int8/int8.h"
#include "base/denormals.h"
#include "ops/records.h"
#include "random_layout.h"

/* Of each record; a sanitizer is twenty times slower. */
#ifdef __SANITIZE_ADDRESS__
enum { CASES = 400 };
#else
enum { CASES = 1500 };
#endif

/* ---- operands ---------------------------------------------------------------------- */

typedef enum fill { RANDOM, LEAST, MOST, FILLS } fill;

typedef struct problem {
    layout operand[REEL_INT8_INS]; /* without memory: absent */
    layout y;
    reel__conv2d_int8_attrs conv;
    reel__linear_int8_attrs linear;
    const void *attrs;
    reel__kernel_id kernel;
    char text[256];
} problem;

static int64_t least_of(reel_dtype dtype)
{
    return dtype == REEL_U8 ? 0 : -128;
}

static reel_dtype some_byte(void)
{
    return random_bits() & 1 ? REEL_U8 : REEL_I8;
}

/* Elements without gaps, channels last where there are four dimensions. */
static layout dense(reel_shape shape, reel_dtype dtype)
{
    layout l = {.meta = reel__meta_of(shape, dtype, (reel_device){REEL_CPU, 0})};
    if (shape.rank == 4) reel__set_channels_last(&l.meta);
    l.bytes = (size_t)reel__numel(&l.meta) * reel_dtype_size(dtype);
    l.memory = l.data = malloc(l.bytes + 1);
    assert_non_null(l.memory);
    return l;
}

static layout bytes_of(reel_shape shape, reel_dtype dtype, bool odd, fill how)
{
    layout l = odd ? random_layout(shape, dtype, PERMUTE | REVERSE | GAPS | EXPAND)
                   : dense(shape, dtype);
    const int64_t least = least_of(dtype);
    for (size_t i = 0; i < l.bytes; i++)
        l.memory[i] = how == RANDOM  ? (char)random_bits()
                      : how == LEAST ? (char)least
                                     : (char)(least + 255);
    return l;
}

/* Zero points are often at an end, and mostly in the middle for weights. */
static layout zeros_of(reel_shape shape, reel_dtype dtype, bool middle)
{
    layout l = bytes_of(shape, dtype, true, (fill)random_below(FILLS));
    if (middle) memset(l.memory, dtype == REEL_U8 ? 128 : 0, l.bytes);
    return l;
}

static layout scales_of(reel_shape shape, double exponent)
{
    layout l = random_layout(shape, REEL_F32, GAPS);
    for (size_t i = 0; i < l.bytes / sizeof(float); i++)
        ((float *)l.memory)[i] =
            (float)pow(10, exponent + (double)random_below(1000) / 1000);
    return l;
}

/* One number, or one for each channel in the rank of the weight. */
static reel_shape parameter_shape(int64_t channels, int rank)
{
    reel_shape s = {.rank = random_bits() & 1 ? rank : 0, .dim = {channels, 1, 1, 1}};
    return s;
}

/* Everything but x, w and the shape of y. */
static void draw_rest(problem *p, reel_shape y, int64_t depth)
{
    const reel__meta *x = &p->operand[REEL_INT8_X].meta,
                     *w = &p->operand[REEL_INT8_W].meta;
    const int64_t channels = w->dim[0];
    const bool wild = random_below(8) == 0, quantizes = random_below(4) != 0;
    const double span = wild ? (double)random_below(70) - 40 : -2;
    p->operand[REEL_INT8_X_SCALE] = scales_of(REEL_SCALAR, span);
    p->operand[REEL_INT8_W_SCALE] = scales_of(parameter_shape(channels, w->rank), -2);
    p->operand[REEL_INT8_X_ZERO] = zeros_of(REEL_SCALAR, x->dtype, false);
    p->operand[REEL_INT8_W_ZERO] =
        zeros_of(parameter_shape(channels, w->rank), w->dtype, random_below(3) != 0);
    if (random_bits() & 1) {
        layout b = random_layout(REEL_SHAPE(channels), REEL_F32, GAPS);
        const double step = pow(10, span - 2);
        for (size_t i = 0; i < b.bytes / sizeof(float); i++)
            ((float *)b.memory)[i] =
                (float)(step * ((double)random_below(400001) / 100 - 2000));
        p->operand[REEL_INT8_BIAS] = b;
    }
    p->linear = (reel__linear_int8_attrs){.act = K_NONE};
    reel_dtype dtype = REEL_F32;
    if (quantizes) {
        dtype = some_byte();
        const double steps = span - 2 + log10(100 * sqrt((double)depth + 1));
        p->operand[REEL_INT8_Y_SCALE] =
            scales_of(REEL_SCALAR, wild ? (double)random_below(70) - 40 : steps);
        p->operand[REEL_INT8_Y_ZERO] = zeros_of(REEL_SCALAR, dtype, false);
        if (random_below(20) == 0) *(float *)p->operand[REEL_INT8_Y_SCALE].data *= -1;
        static const reel__kernel_id act[] = {K_NONE, K_RELU, K_RELU6, K_CLAMP};
        const double step = pow(10, steps);
        p->linear.act = act[random_below(4)];
        p->linear.a[0] = reel__real(step * ((double)random_below(400) - 250));
        p->linear.a[1] = reel__real(reel__number_f64(p->linear.a[0]) +
                                    step * (double)random_below(300));
    }
    p->conv.act = p->linear.act;
    memcpy(p->conv.a, p->linear.a, sizeof p->conv.a);
    p->y = dense(y, dtype);
}

static int64_t some_size(int64_t usual, int64_t large)
{
    switch (random_below(12)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return 1 + random_below(large);
    default: return 1 + random_below(usual);
    }
}

static void draw_linear(problem *p)
{
    const int64_t m = some_size(30, 260), n = some_size(70, 300), k = some_size(60, 600);
    const bool odd = random_below(4) == 0, odd_w = random_below(4) == 0;
    const fill how = random_below(5) ? RANDOM : (fill)random_below(FILLS);
    const bool deep = random_bits() & 1;
    *p = (problem){.kernel = K_LINEAR_INT8};
    reel_shape x = deep ? REEL_SHAPE(2, m, k) : REEL_SHAPE(m, k);
    reel_shape y = deep ? REEL_SHAPE(2, m, n) : REEL_SHAPE(m, n);
    p->operand[REEL_INT8_X] = bytes_of(x, some_byte(), odd, how);
    p->operand[REEL_INT8_W] = bytes_of(REEL_SHAPE(n, k), some_byte(), odd_w, how);
    draw_rest(p, y, k);
    snprintf(p->text, sizeof p->text, "m %" PRId64 " n %" PRId64 " k %" PRId64, m, n, k);
}

/* Sizes of one dimension of a convolution whose window fits, for up to `most` pixels. */
static int64_t draw_window(reel__conv2d_attrs *a, int i, int64_t most, int64_t *x,
                           int64_t *w)
{
    for (;;) {
        *x = 1 + random_below(most);
        *w = random_below(3) ? 3 - 2 * (random_bits() & 1) : 1 + random_below(7);
        a->stride[i] = 1 + random_below(3);
        a->padding[i] = random_below(8) ? random_below(4) : random_below(12);
        a->dilation[i] = random_below(3) ? 1 : 1 + random_below(random_below(4) ? 3 : 9);
        int64_t room = *x + 2 * a->padding[i] - a->dilation[i] * (*w - 1) - 1;
        if (room >= 0) return room / a->stride[i] + 1;
    }
}

/* The first layer of many networks. */
static int64_t draw_stem(reel__conv2d_attrs *a, int i, int64_t *x, int64_t *w)
{
    *x = 2 + random_below(30);
    *w = 7;
    a->stride[i] = 2;
    a->padding[i] = 3;
    a->dilation[i] = 1;
    return (*x - 1) / 2 + 1;
}

/* Channels and pixels: of either few, or it takes the reference too long; all cuts into blocks of
 * images, rows and pixels are among them. */
typedef enum sizes { SMALL, WIDE, LONG, DEEP, STEM, KINDS } sizes;
static const struct {
    int64_t h, w, c, many_c, k, many_k;
} kinds[KINDS] = {
    [SMALL] = {12, 12, 20, 150, 20, 90}, [WIDE] = {12, 44, 10, 40, 10, 40},
    [LONG] = {3, 1100, 4, 10, 4, 10},    [DEEP] = {4, 44, 400, 1500, 3, 6},
    [STEM] = {0, 0, 3, 3, 20, 90},
};

static void draw_conv(problem *p)
{
    *p = (problem){.kernel = K_CONV2D_INT8};
    reel__conv2d_attrs *a = &p->conv.conv;
    const sizes kind = random_bits() & 1 ? SMALL : (sizes)random_below(KINDS);
    int64_t h, w, r, s, c, k, n = some_size(3, kind == DEEP ? 3 : 5);
    const bool stem = kind == STEM;
    const int64_t oh = stem ? draw_stem(a, 0, &h, &r)
                            : draw_window(a, 0, kinds[kind].h, &h, &r),
                  ow = stem ? draw_stem(a, 1, &w, &s)
                            : draw_window(a, 1, kinds[kind].w, &w, &s);
    const bool depthwise = random_below(4) == 0 && kind != LONG && kind != STEM;
    a->groups = depthwise         ? 1 + random_below(kind == DEEP ? 700 : 70)
                : random_below(4) ? 1
                                  : 1 + random_below(kind == SMALL ? 4 : 2);
    c = depthwise ? 1 : stem ? 3 : some_size(kinds[kind].c, kinds[kind].many_c);
    k = depthwise && random_below(4) ? 1
                                     : 1 + some_size(kinds[kind].k, kinds[kind].many_k);
    const bool odd = random_below(4) == 0, odd_w = random_below(4) == 0;
    const fill how = random_below(5) ? RANDOM : (fill)random_below(FILLS);
    p->operand[REEL_INT8_X] =
        bytes_of(REEL_SHAPE(n, c * a->groups, h, w), some_byte(), odd, how);
    p->operand[REEL_INT8_W] =
        bytes_of(REEL_SHAPE(k * a->groups, c, r, s), some_byte(), odd_w, how);
    draw_rest(p, REEL_SHAPE(n, k * a->groups, oh, ow), c * r * s);
    snprintf(p->text, sizeof p->text,
             "n %" PRId64 " c %" PRId64 " %" PRId64 "x%" PRId64 " k %" PRId64 " %" PRId64
             "x%" PRId64 " groups %" PRId64 " stride %" PRId64 ",%" PRId64 " pad %" PRId64
             ",%" PRId64 " dilation %" PRId64 ",%" PRId64,
             n, c, h, w, k, r, s, a->groups, a->stride[0], a->stride[1], a->padding[0],
             a->padding[1], a->dilation[0], a->dilation[1]);
}

static void free_problem(problem *p)
{
    for (int i = 0; i < REEL_INT8_INS; i++) free(p->operand[i].memory);
    free(p->y.memory);
}

/* ---- what the definition says ------------------------------------------------------ */

static int64_t number(const layout *l, int64_t at)
{
    switch (l->meta.dtype) {
    case REEL_U8: return ((const uint8_t *)l->data)[at];
    case REEL_I8: return ((const int8_t *)l->data)[at];
    default: return ((const int32_t *)l->data)[at];
    }
}

static int64_t parameter_at(const layout *l, int64_t k)
{
    return l->meta.rank ? k * l->meta.stride[0] : 0;
}

/* Sum of products of output channel k and place (n, p, q); of a linear layer n is the row. */
static int64_t sum_at(const problem *o, int64_t n, int64_t k, int64_t p, int64_t q)
{
    const layout *x = &o->operand[REEL_INT8_X], *w = &o->operand[REEL_INT8_W];
    const reel__meta *xm = &x->meta, *wm = &w->meta;
    const int64_t xz = number(&o->operand[REEL_INT8_X_ZERO], 0);
    const layout *zero = &o->operand[REEL_INT8_W_ZERO];
    const int64_t wz = number(zero, parameter_at(zero, k));
    int64_t sum = 0;
    if (o->kernel == K_LINEAR_INT8) {
        const int last = xm->rank - 1;
        int64_t row =
            last == 2 ? n / xm->dim[1] * xm->stride[0] + n % xm->dim[1] * xm->stride[1]
                      : n * xm->stride[0];
        for (int64_t i = 0; i < wm->dim[1]; i++)
            sum += (number(x, row + i * xm->stride[last]) - xz) *
                   (number(w, k * wm->stride[0] + i * wm->stride[1]) - wz);
        return sum;
    }
    const reel__conv2d_attrs *a = &o->conv.conv;
    const int64_t group = k / (wm->dim[0] / a->groups);
    for (int64_t c = 0; c < wm->dim[1]; c++)
        for (int64_t r = 0; r < wm->dim[2]; r++)
            for (int64_t s = 0; s < wm->dim[3]; s++) {
                int64_t y = p * a->stride[0] + r * a->dilation[0] - a->padding[0];
                int64_t z = q * a->stride[1] + s * a->dilation[1] - a->padding[1];
                if (y < 0 || z < 0 || y >= xm->dim[2] || z >= xm->dim[3]) continue;
                int64_t at = n * xm->stride[0] +
                             (group * wm->dim[1] + c) * xm->stride[1] +
                             y * xm->stride[2] + z * xm->stride[3];
                sum += (number(x, at) - xz) *
                       (number(w, k * wm->stride[0] + c * wm->stride[1] +
                                      r * wm->stride[2] + s * wm->stride[3]) -
                        wz);
            }
    return sum;
}

/* As `clamp` and its kind do it, in f32. */
static float activated(const problem *o, float x)
{
    const int64_t act = o->linear.act;
    const float low = act == K_CLAMP ? (float)reel__number_f64(o->linear.a[0]) : 0;
    const float high = act == K_CLAMP ? (float)reel__number_f64(o->linear.a[1]) : 6;
    if (act != K_NONE && x < low) x = low;
    if ((act == K_CLAMP || act == K_RELU6) && x > high) x = high;
    return x;
}

/* The number q steps from zero, saturated. */
static int64_t saturated(const problem *o, double q)
{
    const int64_t zero = number(&o->operand[REEL_INT8_Y_ZERO], 0);
    const int64_t least = least_of(o->y.meta.dtype);
    const double r = rint(q) + (double)zero;
    if (!(r > (double)least)) return least;
    return r < (double)(least + 255) ? (int64_t)r : least + 255;
}

/* What is quantized is clipped before, in the definition; the bounds are on its grid. */
static int64_t quantized(const problem *o, float steps)
{
    const float scale = *(const float *)o->operand[REEL_INT8_Y_SCALE].data;
    int64_t y = saturated(o, (double)steps);
    int64_t low = saturated(o, (double)(activated(o, -INFINITY) / scale));
    int64_t high = saturated(o, (double)(activated(o, INFINITY) / scale));
    if (low > high) { /* a scale below 0 turns the order */
        const int64_t t = low;
        low = high;
        high = t;
    }
    if (y < low) y = low;
    return y < high ? y : high;
}

static void check_element(const problem *o, int64_t at, int64_t sum, int64_t k)
{
    const layout *biases = &o->operand[REEL_INT8_BIAS],
                 *ws = &o->operand[REEL_INT8_W_SCALE];
    volatile float bias =
        biases->memory ? ((const float *)biases->data)[k * biases->meta.stride[0]] : 0;
    const int32_t acc = (int32_t)(uint32_t)(uint64_t)sum; /* wraps */
    volatile float f = *(const float *)o->operand[REEL_INT8_X_SCALE].data *
                       ((const float *)ws->data)[parameter_at(ws, k)];
    if (o->y.meta.dtype == REEL_F32) {
        volatile float product = (float)acc * f;
        float want = product + bias, got = ((const float *)o->y.data)[at];
        if (memcmp(&want, &got, sizeof want) != 0)
            fail_msg("%s: element %" PRId64 " is %.9g, must be %.9g", o->text, at,
                     (double)got, (double)want);
        return;
    }
    const float step = *(const float *)o->operand[REEL_INT8_Y_SCALE].data;
    f /= step;
    bias /= step;
    volatile float product = (float)acc * f, v = product + bias;
    const int64_t want = quantized(o, v);
    if (number(&o->y, at) != want)
        fail_msg("%s: element %" PRId64 " is %" PRId64 ", must be %" PRId64
                 " (sum %" PRId64 ", %.9g steps of %.9g from %" PRId64 ", act %" PRId64
                 " %.9g %.9g)",
                 o->text, at, number(&o->y, at), want, sum, (double)v, (double)step,
                 number(&o->operand[REEL_INT8_Y_ZERO], 0), o->linear.act,
                 reel__number_f64(o->linear.a[0]), reel__number_f64(o->linear.a[1]));
}

static void check_definition(const problem *o)
{
    const reel__meta *y = &o->y.meta;
    const bool conv = o->kernel == K_CONV2D_INT8;
    const int64_t channels = y->dim[conv ? 1 : y->rank - 1];
    const int64_t rows = channels ? reel__numel(y) / channels : 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < channels; k++) {
            int64_t n = i, p = 0, q = 0;
            if (conv)
                q = i % y->dim[3], p = i / y->dim[3] % y->dim[2],
                n = i / y->dim[3] / y->dim[2];
            check_element(o, i * channels + k, sum_at(o, n, k, p, q), k);
        }
}

/* ---- kernels ----------------------------------------------------------------------- */

static reel__kcall call_of(const problem *p, reel__karg *in, reel__karg *out)
{
    for (int i = 0; i < REEL_INT8_INS; i++)
        in[i] = p->operand[i].memory
                    ? (reel__karg){p->operand[i].data, &p->operand[i].meta}
                    : (reel__karg){NULL, NULL};
    *out = (reel__karg){p->y.data, &p->y.meta};
    return (reel__kcall){.kernel = p->kernel,
                         .n_in = REEL_INT8_INS,
                         .n_out = 1,
                         .in = in,
                         .out = out,
                         .attrs = p->kernel == K_LINEAR_INT8 ? (const void *)&p->linear
                                                             : (const void *)&p->conv};
}

/* The call by the fast kernel, which must give `want`. */
static void check_fast(const problem *p, reel__kcall *call, const char *want,
                       bool prepares)
{
    const reel__backend *cpu = reel__backend_of(REEL_CPU);
    void *room = NULL;
    const size_t size = cpu->prepare_size(0, call, 1u << REEL_INT8_W);
    if (prepares && size) {
        room = aligned_alloc(64, (size + 63) / 64 * 64);
        assert_non_null(room);
        assert_int_equal(cpu->prepare(0, call, 1u << REEL_INT8_W, room), REEL_OK);
    }
    call->prepared = room;
    memset(p->y.memory, 0x5a, p->y.bytes);
    assert_int_equal(cpu->launch(0, call), REEL_OK);
    if (memcmp(p->y.memory, want, p->y.bytes) != 0)
        fail_msg("%s: not the reference's bits, %s, %d threads, words of %d", p->text,
                 prepares ? "prepared" : "not prepared", reel_threads(),
                 reel__int8_kernels()->per);
    free(room);
}

static void check(problem *p)
{
    reel__karg in[REEL_INT8_INS], out;
    reel__kcall call = call_of(p, in, &out);
    const uint64_t before = reel__flush_begin();
    assert_int_equal(reel__cpu_ref[p->kernel](&call), REEL_OK);
    check_definition(p);
    reel__flush_end(before);
    char *want = malloc(p->y.bytes + 1);
    assert_non_null(want);
    memcpy(want, p->y.memory, p->y.bytes);
    for (int how = 0; how < 4; how++) {
        assert_int_equal(reel_set_threads(1 + (int)random_below(3)), REEL_OK);
        reel__int8_use_vnni(how & 1);
        check_fast(p, &call, want, how & 2);
    }
    free(want);
    free_problem(p);
}

static void test_linear(void **state)
{
    (void)state;
    problem p;
    for (int i = 0; i < CASES; i++) {
        draw_linear(&p);
        check(&p);
    }
}

static void test_conv2d(void **state)
{
    (void)state;
    problem p;
    for (int i = 0; i < CASES; i++) {
        draw_conv(&p);
        check(&p);
    }
}

/* Sums at and beyond the ends of 32 bits, and pairs of products beyond 16: all elements at an
 * end, as many as it takes. */
static void test_extremes(void **state)
{
    (void)state;
    static const int64_t depth[] = {2, 257, 33026, 70000};
    for (int d = 0; d < 4; d++)
        for (int how = 0; how < 16; how++) {
            problem p = {.kernel = K_LINEAR_INT8};
            reel_dtype xd = how & 1 ? REEL_U8 : REEL_I8, wd = how & 2 ? REEL_U8 : REEL_I8;
            p.operand[REEL_INT8_X] =
                bytes_of(REEL_SHAPE(2, depth[d]), xd, false, how & 4 ? LEAST : MOST);
            p.operand[REEL_INT8_W] =
                bytes_of(REEL_SHAPE(17, depth[d]), wd, false, how & 8 ? LEAST : MOST);
            draw_rest(&p, REEL_SHAPE(2, 17), depth[d]);
            snprintf(p.text, sizeof p.text, "depth %" PRId64 " extreme %d", depth[d],
                     how);
            check(&p);
        }
}

/* Through the fast kernel for any operands of a usual layout: none is left to the reference. */
static void test_taken(void **state)
{
    (void)state;
    problem p;
    for (int i = 0; i < 100; i++) {
        reel__karg in[REEL_INT8_INS], out;
        reel_status status = REEL_ERR_INTERNAL;
        i & 1 ? draw_linear(&p) : draw_conv(&p);
        reel__kcall call = call_of(&p, in, &out);
        if (p.y.bytes) {
            assert_true(reel__cpu_fast[p.kernel](&call, &status));
            assert_int_equal(status, REEL_OK);
        }
        free_problem(&p);
    }
}

/* ---- records ----------------------------------------------------------------------- */

static void test_record(void **state)
{
    (void)state;
    reel_scope scope = reel_scope_begin();
    const uint8_t x[] = {10, 20, 30, 40}, zero = 10;
    const int8_t w[] = {1, -1, 2, 0, 3, -128}, w_zero = 0, y_zero = -5;
    const float b[] = {1, -1, 0};
    reel_tensor *in[REEL_INT8_INS] = {
        [REEL_INT8_X] = reel_from(x, REEL_SHAPE(2, 2), REEL_U8),
        [REEL_INT8_W] = reel_from(w, REEL_SHAPE(3, 2), REEL_I8),
        [REEL_INT8_BIAS] = reel_from(b, REEL_SHAPE(3), REEL_F32),
        [REEL_INT8_Y_SCALE] = reel_scalar(2, REEL_F32),
        [REEL_INT8_Y_ZERO] = reel_from(&y_zero, REEL_SCALAR, REEL_I8),
        [REEL_INT8_X_SCALE] = reel_scalar(0.5, REEL_F32),
        [REEL_INT8_W_SCALE] = reel_scalar(0.5, REEL_F32),
        [REEL_INT8_X_ZERO] = reel_from(&zero, REEL_SCALAR, REEL_U8),
        [REEL_INT8_W_ZERO] = reel_from(&w_zero, REEL_SCALAR, REEL_I8),
    };
    /* sums -10 0 -1280 and -10 40 -3780; eighths of them, half of the bias, halves to even, -5
     * more; from -100 = 2 (-55 + 5) on */
    const int8_t want[] = {-6, -5, -55, -6, -1, -55};
    const reel__linear_int8_attrs a = {K_CLAMP, {reel__whole(-100), reel__whole(1000)}};
    reel_tensor *y[1];
    assert_int_equal(reel__apply(&reel__linear_int8, &a, REEL_INT8_INS, in, y), REEL_OK);
    assert_memory_equal(reel__ptr(y[0]), want, sizeof want);
    const float plain[] = {-1.5f, -1, -320, -1.5f, 9, -945};
    const reel__linear_int8_attrs none = {.act = K_NONE};
    in[REEL_INT8_Y_SCALE] = in[REEL_INT8_Y_ZERO] = NULL;
    assert_int_equal(reel__apply(&reel__linear_int8, &none, REEL_INT8_INS, in, y),
                     REEL_OK);
    assert_memory_equal(reel__ptr(y[0]), plain, sizeof plain);
    reel_scope_end(scope);
}

static reel_tensor *ones(reel_shape shape, reel_dtype dtype)
{
    return reel_ones(shape, dtype);
}

/* Each takes a valid convolution, spoils one operand or attribute, and names what is wrong. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        int operand;
        reel_dtype dtype;
        reel_shape shape; /* rank -1: absent */
        reel_status status;
        const char *names;
    } wrong[] = {
        {REEL_INT8_X, REEL_I32, {4, {1, 4, 3, 3}}, REEL_ERR_DTYPE, "input 0"},
        {REEL_INT8_X, REEL_U8, {4, {1, 3, 3, 3}}, REEL_ERR_SHAPE, "channels"},
        {REEL_INT8_W, REEL_F32, {4, {2, 4, 1, 1}}, REEL_ERR_DTYPE, "weight"},
        {REEL_INT8_BIAS, REEL_I32, {1, {2}}, REEL_ERR_DTYPE, "bias"},
        {REEL_INT8_BIAS, REEL_F32, {1, {3}}, REEL_ERR_SHAPE, "bias"},
        {REEL_INT8_X_SCALE, REEL_F64, {0, {0}}, REEL_ERR_DTYPE, "input's scale"},
        {REEL_INT8_X_SCALE, REEL_F32, {1, {1}}, REEL_ERR_SHAPE, "input's scale"},
        {REEL_INT8_W_SCALE, REEL_F32, {1, {2}}, REEL_ERR_SHAPE, "weight's scale"},
        {REEL_INT8_W_SCALE,
         REEL_F32,
         {4, {1, 2, 1, 1}},
         REEL_ERR_SHAPE,
         "weight's scale"},
        {REEL_INT8_X_ZERO, REEL_I8, {0, {0}}, REEL_ERR_DTYPE, "input's zero point"},
        {REEL_INT8_W_ZERO, REEL_U8, {0, {0}}, REEL_ERR_DTYPE, "weight's zero point"},
        {REEL_INT8_W_ZERO, REEL_I8, {4, {3, 1, 1, 1}}, REEL_ERR_SHAPE, "weight's zero"},
        {REEL_INT8_Y_SCALE, REEL_F32, {1, {2}}, REEL_ERR_SHAPE, "result's scale"},
        {REEL_INT8_Y_SCALE, REEL_F32, {-1, {0}}, REEL_ERR_ARG, "both"},
        {REEL_INT8_Y_ZERO, REEL_F32, {-1, {0}}, REEL_ERR_ARG, "both"},
        {REEL_INT8_Y_ZERO, REEL_I32, {0, {0}}, REEL_ERR_DTYPE, "zero point"},
    };
    static const reel_shape one = {.rank = 0};
    for (int i = -3; i < (int)(sizeof wrong / sizeof *wrong); i++) {
        reel_scope scope = reel_scope_begin();
        reel__conv2d_int8_attrs a = {
            .conv = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1}, .act = K_RELU};
        reel_tensor *in[REEL_INT8_INS] = {
            [REEL_INT8_X] = ones(REEL_SHAPE(1, 4, 3, 3), REEL_U8),
            [REEL_INT8_W] = ones(REEL_SHAPE(2, 4, 1, 1), REEL_I8),
            [REEL_INT8_BIAS] = ones(REEL_SHAPE(2), REEL_F32),
            [REEL_INT8_Y_SCALE] = ones(one, REEL_F32),
            [REEL_INT8_Y_ZERO] = ones(one, REEL_U8),
            [REEL_INT8_X_SCALE] = ones(one, REEL_F32),
            [REEL_INT8_W_SCALE] = ones(REEL_SHAPE(2, 1, 1, 1), REEL_F32),
            [REEL_INT8_X_ZERO] = ones(one, REEL_U8),
            [REEL_INT8_W_ZERO] = ones(one, REEL_I8),
        };
        reel_status status = i == -1 ? REEL_OK : REEL_ERR_ARG;
        const char *names = "act";
        if (i >= 0) {
            in[wrong[i].operand] =
                wrong[i].shape.rank < 0 ? NULL : ones(wrong[i].shape, wrong[i].dtype);
            status = wrong[i].status, names = wrong[i].names;
        }
        if (i == -2) a.act = K_GELU;
        if (i == -3) in[REEL_INT8_Y_SCALE] = in[REEL_INT8_Y_ZERO] = NULL;
        reel_tensor *y[1];
        assert_int_equal(reel__apply(&reel__conv2d_int8, &a, REEL_INT8_INS, in, y),
                         status);
        if (status && !strstr(reel_error_message(), names))
            fail_msg("case %d: \"%s\" must name %s", i, reel_error_message(), names);
        reel_error_clear();
        reel_scope_end(scope);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),   cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_taken),
        cmocka_unit_test(test_record),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
