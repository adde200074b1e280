/* test_conv.c: the fast convolutions against a plain double precision loop, over shapes
 * that reach every algorithm and every edge of its blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv/conv.h"
#include "base/parallel.h"

typedef struct shape {
    int64_t n, c, h, w, k, r, s, stride, pad, dil, groups;
} shape;

/* ---- one convolution's operands ---------------------------------------------------- */

typedef struct operands {
    shape sh;
    reel__conv2d_attrs at;
    reel__meta xm, wm, bm, ym;
    float *x, *w, *b, *y; /* also as gradients */
} operands;

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

static float *filled(int64_t n, uint32_t seed)
{
    float *p = malloc((size_t)n * sizeof(float));
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) p[i] = noise(&seed);
    return p;
}

static operands make(const shape *s)
{
    operands o = {.sh = *s};
    o.at.groups = s->groups;
    for (int i = 0; i < 2; i++) {
        o.at.stride[i] = s->stride;
        o.at.padding[i] = s->pad;
        o.at.dilation[i] = s->dil;
    }
    int64_t oh = (s->h + 2 * s->pad - s->dil * (s->r - 1) - 1) / s->stride + 1;
    int64_t ow = (s->w + 2 * s->pad - s->dil * (s->s - 1) - 1) / s->stride + 1;
    reel_device cpu = {REEL_CPU, 0};
    o.xm = reel__meta_of(REEL_SHAPE(s->n, s->c, s->h, s->w), REEL_F32, cpu);
    o.wm = reel__meta_of(REEL_SHAPE(s->k, s->c / s->groups, s->r, s->s), REEL_F32, cpu);
    o.bm = reel__meta_of(REEL_SHAPE(s->k), REEL_F32, cpu);
    o.ym = reel__meta_of(REEL_SHAPE(s->n, s->k, oh, ow), REEL_F32, cpu);
    reel__set_channels_last(&o.xm);
    reel__set_channels_last(&o.ym);
    o.x = filled(reel__numel(&o.xm), 1);
    o.w = filled(reel__numel(&o.wm), 2);
    o.b = filled(s->k, 3);
    o.y = filled(reel__numel(&o.ym), 4);
    return o;
}

static void release(operands *o)
{
    free(o->x);
    free(o->w);
    free(o->b);
    free(o->y);
}

/* Calls f(x index, w index, y index) for each product of the convolution. */
typedef void (*product_fn)(void *ctx, int64_t x, int64_t w, int64_t y);

static int64_t at(const reel__meta *m, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return a * m->stride[0] + b * m->stride[1] + c * m->stride[2] + d * m->stride[3];
}

static void each_product(const operands *o, product_fn f, void *ctx)
{
    const shape *s = &o->sh;
    int64_t cg = s->c / s->groups, kg = s->k / s->groups;
    for (int64_t n = 0; n < s->n; n++)
        for (int64_t k = 0; k < s->k; k++)
            for (int64_t oy = 0; oy < o->ym.dim[2]; oy++)
                for (int64_t ox = 0; ox < o->ym.dim[3]; ox++)
                    for (int64_t c = 0; c < cg; c++)
                        for (int64_t r = 0; r < s->r; r++)
                            for (int64_t q = 0; q < s->s; q++) {
                                int64_t y = oy * s->stride + r * s->dil - s->pad;
                                int64_t x = ox * s->stride + q * s->dil - s->pad;
                                if (y < 0 || x < 0 || y >= s->h || x >= s->w) continue;
                                f(ctx, at(&o->xm, n, k / kg * cg + c, y, x),
                                  at(&o->wm, k, c, r, q), at(&o->ym, n, k, oy, ox));
                            }
}

/* ---- the three passes -------------------------------------------------------------- */

typedef struct sums {
    const operands *o;
    int pass;
    double *value, *scale; /* scale: sum of squares; its root is the size of the result */
    int64_t *terms;
} sums;

static void add_product(void *ctx, int64_t x, int64_t w, int64_t y)
{
    sums *s = ctx;
    const operands *o = s->o;
    int64_t i = s->pass == 0 ? y : s->pass == 1 ? x : w;
    double p = s->pass == 0   ? (double)o->x[x] * (double)o->w[w]
               : s->pass == 1 ? (double)o->y[y] * (double)o->w[w]
                              : (double)o->x[x] * (double)o->y[y];
    s->value[i] += p;
    s->scale[i] += p * p;
    s->terms[i]++;
}

/* Small shapes choose the direct sum; Winograd must be right for them all the same. */
static bool force_winograd;

static void run_winograd(const operands *o, int pass, bool bias, float *result)
{
    const shape *s = &o->sh;
    reel__conv g = {.n = s->n,
                    .c = s->c,
                    .h = s->h,
                    .w = s->w,
                    .k = s->k,
                    .oh = o->ym.dim[2],
                    .ow = o->ym.dim[3],
                    .r = 3,
                    .s = 3,
                    .stride = {1, 1},
                    .pad = {s->pad, s->pad},
                    .dil = {1, 1},
                    .groups = 1};
    reel__conv_io io = {.in = pass == 0 ? o->x : o->y, .weight = o->w, .out = result};
    if (bias && pass == 0) io.end.bias = o->b;
    reel_status status = pass == 0   ? reel__run_winograd(&g, REEL_CONV_FORWARD, &io)
                         : pass == 1 ? reel__run_winograd(&g, REEL_CONV_INPUT, &io)
                                     : reel__conv_winograd_weight(&g, o->y, o->x, result);
    assert_int_equal(status, REEL_OK);
}

static bool run_fast(const operands *o, int pass, bool bias, float *result)
{
    if (force_winograd) {
        run_winograd(o, pass, bias, result);
        return true;
    }
    reel__conv2d_attrs attrs = o->at;
    reel__karg x = {o->x, &o->xm}, w = {o->w, &o->wm}, y = {o->y, &o->ym};
    reel__karg b = {bias ? o->b : NULL, bias ? &o->bm : NULL};
    const reel__meta *m = pass == 0 ? &o->ym : pass == 1 ? &o->xm : &o->wm;
    reel__karg out = {result, m};
    memcpy(attrs.input, m->dim, sizeof attrs.input);
    reel__karg in[3] = {pass == 0 ? x : y, pass == 2 ? x : w, b};
    reel__kcall call = {pass == 0   ? K_CONV2D
                        : pass == 1 ? K_CONV2D_INPUT
                                    : K_CONV2D_WEIGHT,
                        pass == 0 ? 3 : 2,
                        1,
                        in,
                        &out,
                        &attrs,
                        NULL,
                        0};
    reel_status status = REEL_ERR_INTERNAL;
    bool taken = pass == 0   ? reel__fast_conv2d(&call, &status)
                 : pass == 1 ? reel__fast_conv2d_input(&call, &status)
                             : reel__fast_conv2d_weight(&call, &status);
    if (taken) assert_int_equal(status, REEL_OK);
    return taken;
}

static void check_pass(const operands *o, int pass, bool bias)
{
    const reel__meta *m = pass == 0 ? &o->ym : pass == 1 ? &o->xm : &o->wm;
    int64_t n = reel__numel(m);
    sums s = {o, pass, calloc((size_t)n, sizeof(double)),
              calloc((size_t)n, sizeof(double)), calloc((size_t)n, sizeof(int64_t))};
    assert_true(s.value && s.scale && s.terms);
    each_product(o, add_product, &s);
    float *one = filled(n, 9), *two = filled(n, 10);
    assert_int_equal(reel_set_threads(1), REEL_OK);
    assert_true(run_fast(o, pass, bias, one));
    assert_int_equal(reel_set_threads(2), REEL_OK);
    assert_true(run_fast(o, pass, bias, two));
    assert_memory_equal(one, two, (size_t)n * sizeof(float));
    /* A sum of n terms in order has an error of about half an epsilon times the root of
     * n, relative to its size; the worst of many sums three times that. Winograd's
     * transforms magnify it by about ten, and mix neighbouring results of a tile. */
    double worst = 0, scale = 1, terms = 1;
    for (int64_t i = 0; i < n; i++) {
        scale = fmax(scale, s.scale[i]);
        terms = fmax(terms, (double)s.terms[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        double want = s.value[i];
        if (pass == 0 && bias)
            want += (double)o->b[i % o->sh.k]; /* channels are innermost */
        double off = fabs((double)one[i] - want) / sqrt(scale);
        worst = off > worst || off != off ? off : worst;
    }
    double limit = 6e-8 * (8 + 3 * sqrt(terms)) * (reel_exact() ? 1 : 10);
    if (!(worst < limit))
        fail_msg(
            "pass %d n%d c%d %dx%d k%d %dx%d stride %d pad %d dil %d groups %d: %.2e",
            pass, (int)o->sh.n, (int)o->sh.c, (int)o->sh.h, (int)o->sh.w, (int)o->sh.k,
            (int)o->sh.r, (int)o->sh.s, (int)o->sh.stride, (int)o->sh.pad, (int)o->sh.dil,
            (int)o->sh.groups, worst);
    free(one);
    free(two);
    free(s.value);
    free(s.scale);
    free(s.terms);
}

static void check(const shape *s)
{
    operands o = make(s);
    for (int pass = 0; pass < 3; pass++) check_pass(&o, pass, s->k % 3 != 0);
    release(&o);
}

/* ---- shapes ------------------------------------------------------------------------ */

static const shape winograd[] = {
    /* n  c   h   w   k  r  s  stride pad dil groups */
    {2, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1},
    {1, 16, 4, 4, 32, 3, 3, 1, 1, 1, 1},
    {3, 32, 7, 9, 16, 3, 3, 1, 1, 1, 1},
    {1, 48, 5, 6, 48, 3, 3, 1, 0, 1, 1},
    {2, 16, 3, 3, 16, 3, 3, 1, 0, 1, 1},
    {2, 16, 1, 1, 16, 3, 3, 1, 1, 1, 1},
    {1, 32, 6, 5, 64, 3, 3, 1, 2, 1, 1},
    {2, 64, 13, 11, 64, 3, 3, 1, 1, 1, 1},
    {2, 128, 6, 6, 144, 3, 3, 1, 1, 1, 1},
    {3, 256, 4, 4, 128, 3, 3, 1, 1, 1, 1},
    {9, 16, 32, 32, 16, 3, 3, 1, 1, 1, 1},
    {130, 160, 1, 1, 160, 3, 3, 1, 1, 1, 1}, /* several shared blocks */
    {1, 160, 5, 6, 160, 3, 3, 1, 1, 1, 1},
};

static const shape direct[] = {
    {2, 3, 9, 8, 16, 3, 3, 1, 1, 1, 1},
    {1, 3, 20, 21, 24, 7, 7, 2, 3, 1, 1},
    {2, 16, 8, 8, 32, 3, 3, 2, 1, 1, 1},
    {3, 16, 9, 7, 32, 3, 3, 2, 1, 1, 1},
    {2, 16, 8, 8, 32, 1, 1, 2, 0, 1, 1},
    {2, 16, 7, 7, 32, 1, 1, 3, 0, 1, 1},
    {1, 24, 5, 5, 40, 1, 1, 1, 0, 1, 1},
    {1, 5, 1, 1, 7, 1, 1, 1, 0, 1, 1},
    {4, 33, 1, 1, 10, 1, 1, 1, 0, 1, 1},
    {1, 7, 10, 11, 13, 5, 5, 1, 2, 1, 1},
    {2, 7, 10, 11, 13, 5, 3, 3, 1, 1, 1},
    {1, 8, 12, 10, 16, 3, 3, 1, 2, 2, 1},
    {1, 8, 12, 10, 17, 3, 3, 2, 2, 3, 1},
    {2, 1, 6, 6, 1, 3, 3, 1, 1, 1, 1},
    {1, 4, 9, 9, 5, 2, 2, 2, 0, 1, 1},
    {1, 4, 10, 9, 5, 2, 4, 3, 2, 1, 1},
    {1, 3, 3, 3, 2, 5, 5, 1, 3, 1, 1},
    {1, 16, 6, 6, 16, 3, 3, 1, 3, 1, 1},
    {17, 64, 4, 4, 96, 3, 3, 2, 1, 1, 1},
    {2, 128, 5, 5, 130, 3, 3, 2, 1, 1, 1},
    {9, 8, 16, 16, 8, 3, 3, 1, 1, 1, 1},
    {1, 2, 70, 65, 3, 3, 3, 2, 1, 1, 1},
    {2, 12, 7, 8, 18, 3, 3, 1, 1, 1, 3},
    {2, 12, 7, 8, 18, 3, 3, 2, 1, 1, 2},
    {1, 32, 6, 6, 64, 1, 1, 1, 0, 1, 2},
    {1, 8, 9, 9, 16, 3, 3, 1, 2, 2, 8}, /* two results a channel */
};

static const shape depthwise[] = {
    {2, 16, 8, 8, 16, 3, 3, 1, 1, 1, 16},   {1, 5, 9, 7, 5, 3, 3, 2, 1, 1, 5},
    {2, 35, 10, 11, 35, 5, 5, 1, 2, 1, 35}, {1, 19, 12, 9, 19, 3, 3, 1, 2, 2, 19},
    {3, 40, 7, 7, 40, 3, 3, 2, 0, 1, 40},   {1, 16, 9, 9, 16, 1, 1, 2, 0, 1, 16},
    {2, 17, 7, 8, 17, 2, 4, 3, 2, 1, 17},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void test_winograd(void **state)
{
    (void)state;
    force_winograd = true;
    for (size_t i = 0; i < COUNT(winograd); i++) check(&winograd[i]);
}

static int leave_winograd(void **state)
{
    (void)state;
    force_winograd = false;
    return 0;
}

/* What each side of choose.c's border takes, and that exact mode takes nothing else. */
static void test_choice(void **state)
{
    (void)state;
    reel__conv g = {.n = 32,
                    .c = 64,
                    .h = 32,
                    .w = 32,
                    .k = 64,
                    .oh = 32,
                    .ow = 32,
                    .r = 3,
                    .s = 3,
                    .stride = {1, 1},
                    .pad = {1, 1},
                    .dil = {1, 1},
                    .groups = 1};
    for (int pass = 0; pass < 3; pass++) {
        assert_int_equal(reel__conv_choose(&g, (reel__conv_pass)pass, false, false),
                         REEL_CONV_WINOGRAD);
        assert_int_equal(reel__conv_choose(&g, (reel__conv_pass)pass, true, false),
                         REEL_CONV_DIRECT);
    }
    reel__conv one = g;
    one.n = 1, one.h = one.w = one.oh = one.ow = 4; /* one tile: not worth its weights */
    assert_int_equal(reel__conv_choose(&one, REEL_CONV_FORWARD, false, false),
                     REEL_CONV_DIRECT);
    reel__conv odd = g;
    odd.c = 24;
    assert_int_equal(reel__conv_choose(&odd, REEL_CONV_FORWARD, false, false),
                     REEL_CONV_DIRECT);
}

/* A weight in another order of memory gives the same numbers. */
static void test_strided_weight(void **state)
{
    (void)state;
    operands o = make(&(shape){2, 16, 6, 5, 32, 3, 3, 1, 1, 1, 1}), p = o;
    reel__set_channels_last(&p.wm);
    int64_t n = reel__numel(&o.wm), m = reel__numel(&o.ym);
    float *a = filled(m, 5), *b = filled(m, 6), *ga = filled(n, 7), *gb = filled(n, 8);
    p.w = filled(n, 9);
    for (int64_t k = 0; k < 32; k++)
        for (int64_t c = 0; c < 16; c++)
            for (int64_t t = 0; t < 9; t++)
                p.w[at(&p.wm, k, c, t / 3, t % 3)] = o.w[at(&o.wm, k, c, t / 3, t % 3)];
    assert_true(run_fast(&o, 0, true, a) && run_fast(&p, 0, true, b));
    assert_memory_equal(a, b, (size_t)m * sizeof(float));
    assert_true(run_fast(&o, 2, false, ga) && run_fast(&p, 2, false, gb));
    for (int64_t k = 0; k < 32; k++)
        for (int64_t c = 0; c < 16; c++)
            for (int64_t t = 0; t < 9; t++)
                assert_true(gb[at(&p.wm, k, c, t / 3, t % 3)] ==
                            ga[at(&o.wm, k, c, t / 3, t % 3)]);
    /* Contiguous activations are the reference's. */
    reel__set_contiguous(&p.xm);
    assert_false(run_fast(&p, 0, true, b));
    free(p.w);
    free(a);
    free(b);
    free(ga);
    free(gb);
    release(&o);
}

static void test_exact(void **state)
{
    (void)state;
    reel_set_exact(true);
    for (size_t i = 0; i < COUNT(winograd); i++) check(&winograd[i]);
}

static void test_direct(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(direct); i++) check(&direct[i]);
}

static void test_depthwise(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(depthwise); i++) check(&depthwise[i]);
}

static int leave_exact(void **state)
{
    (void)state;
    reel_set_exact(false);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_winograd, leave_winograd),
        cmocka_unit_test_teardown(test_exact, leave_exact),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_strided_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
