/* test_conv_reach.c: values that are not finite, or huge, at random places of convolutions.
 * Such a value reaches the results whose sums hold it, as in the reference, and no others,
 * whatever algorithm runs: Winograd's transforms, which mix tiles, the direct sums, which
 * multiply zeros around an image, prepared weights, fused epilogues. */
#include "reference_check.h"

#include <float.h>
#include <stdio.h>

#include "backend/cpu/conv/conv.h"
#include "base/parallel.h"

/* ---- a case ------------------------------------------------------------------------ */

typedef enum { FORWARD, BY_INPUT, BY_WEIGHT, FUSED, PREPARED, WAYS } way;

typedef struct drawn {
    uint64_t seed;
    uint64_t drawn; /* numbers so far */
    way way;
    reel__conv2d_fused_attrs at;
    operand x, w, bias, residual, y; /* y: of gradients the output's */
    bool winograd;                   /* is what computes it           */
    bool huge;                       /* values near the largest float are in it */
} drawn;

static uint32_t word(drawn *d)
{
    uint32_t w[4];
    reel__philox(d->seed, d->drawn++, w);
    return w[0];
}

static int64_t below(drawn *d, int64_t n)
{
    return (int64_t)(word(d) % (uint64_t)n);
}

static int64_t pick(drawn *d, const int64_t *from, int64_t n)
{
    return from[below(d, n)];
}

/* Zeros among the numbers: 0 times infinity is NaN, where the product is in the sum. */
static operand sparse(drawn *d, reel_shape shape, const int *order)
{
    operand o = make(shape, REEL_F32, order, word(d));
    float *p = o.data;
    for (int64_t i = 0; i < reel__numel(&o.meta); i++)
        if (word(d) % 16 == 0) p[i] = 0;
    return o;
}

static void put_hard(drawn *d, operand *o)
{
    static const float hard[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e38f};
    float v = hard[below(d, 6)], *p = o->data;
    int64_t n = reel__numel(&o->meta);
    d->huge |= isfinite(v);
    bool all = word(d) % 16 == 0;
    for (int64_t i = below(d, n), left = all ? n : 1; left > 0; left--, i = (i + 1) % n)
        p[i] = v;
}

static void draw_window(drawn *d, bool winograd, int64_t size[2], int64_t kernel[2])
{
    reel__conv2d_attrs *a = &d->at.conv;
    static const int64_t kernels[] = {1, 2, 3, 3, 3, 5}, strides[] = {1, 1, 2, 3};
    for (int i = 0; i < 2; i++) {
        kernel[i] = winograd ? 3 : pick(d, kernels, 6);
        a->stride[i] = winograd ? 1 : pick(d, strides, 4);
        a->dilation[i] = winograd || word(d) % 4 ? 1 : 2;
        a->padding[i] = below(d, winograd ? 3 : kernel[i] + 1);
        int64_t reach = a->dilation[i] * (kernel[i] - 1) + 1 - 2 * a->padding[i];
        size[i] = (reach > 1 ? reach : 1) + below(d, 12);
    }
}

static drawn draw(uint64_t seed)
{
    drawn d = {.seed = seed};
    static const int64_t wide[] = {16, 16, 32, 48, 64}, any[] = {1, 3, 8, 16, 17, 40};
    bool winograd = word(&d) % 2;
    int64_t size[2], kernel[2];
    d.way = (way)below(&d, WAYS);
    draw_window(&d, winograd, size, kernel);
    int64_t n = 1 + below(&d, 3),
            groups = winograd || word(&d) % 2 ? 1 : 1 + below(&d, 3);
    int64_t c = winograd ? pick(&d, wide, 5) : groups * pick(&d, any, 6);
    int64_t k = winograd ? pick(&d, wide, 5) : groups * pick(&d, any, 6);
    if (!winograd && word(&d) % 4 == 0) groups = k = c; /* depthwise */
    reel__conv2d_attrs *a = &d.at.conv;
    a->groups = groups;
    int64_t o[2];
    for (int i = 0; i < 2; i++)
        o[i] = (size[i] + 2 * a->padding[i] - a->dilation[i] * (kernel[i] - 1) - 1) /
                   a->stride[i] +
               1;
    d.x = sparse(&d, REEL_SHAPE(n, c, size[0], size[1]), NHWC);
    d.w = sparse(&d, REEL_SHAPE(k, c / groups, kernel[0], kernel[1]), NULL);
    d.bias = sparse(&d, REEL_SHAPE(k), NULL);
    d.residual = sparse(&d, REEL_SHAPE(n, k, o[0], o[1]), NHWC);
    d.y = sparse(&d, REEL_SHAPE(n, k, o[0], o[1]), NHWC);
    static const int64_t acts[] = {K_NONE, K_RELU, K_SILU};
    d.at.act = pick(&d, acts, 3);
    d.at.algo = winograd ? REEL_ALGO_WINOGRAD : REEL_ALGO_DIRECT;
    d.winograd = winograd;
    return d;
}

static void release(drawn *d)
{
    drop(&d->x), drop(&d->w), drop(&d->bias), drop(&d->residual), drop(&d->y);
}

/* The pass's operands, in order; the last is where the result goes. */
static int operands(drawn *d, operand *in[4], operand **out)
{
    bool backward = d->way == BY_INPUT || d->way == BY_WEIGHT;
    in[0] = backward ? &d->y : &d->x;
    in[1] = d->way == BY_WEIGHT ? &d->x : &d->w;
    in[2] = &d->bias, in[3] = &d->residual;
    *out = d->way == BY_INPUT ? &d->x : d->way == BY_WEIGHT ? &d->w : &d->y;
    return backward ? 2 : d->way == FORWARD ? 3 : 4;
}

/* ---- the kernels ------------------------------------------------------------------- */

static const reel__kernel_fn reference[WAYS] = {
    reel__ref_conv2d, reel__ref_conv2d_input, reel__ref_conv2d_weight,
    reel__ref_conv2d_fused, reel__ref_conv2d_fused};

static const drawn *running;

/* The gradients by the algorithm that was drawn: choose.c would not take it for sizes as
 * small as these. */
static bool gradient(const reel__kcall *call, reel_status *status)
{
    const drawn *d = running;
    const reel__meta *x = &d->x.meta, *w = &d->w.meta, *y = &d->y.meta;
    const reel__conv2d_attrs *a = &d->at.conv;
    reel__conv g = {.n = x->dim[0], .c = x->dim[1], .h = x->dim[2], .w = x->dim[3]};
    g.k = w->dim[0], g.r = w->dim[2], g.s = w->dim[3];
    g.oh = y->dim[2], g.ow = y->dim[3];
    for (int i = 0; i < 2; i++)
        g.stride[i] = a->stride[i], g.pad[i] = a->padding[i], g.dil[i] = a->dilation[i];
    g.groups = a->groups;
    const float *gy = call->in[0].data, *other = call->in[1].data;
    if (d->way == BY_WEIGHT) {
        *status = (d->winograd ? reel__conv_winograd_weight : reel__conv_direct_weight)(
            &g, gy, other, call->out[0].data);
    } else {
        reel__conv_io io = {.in = gy, .weight = other, .out = call->out[0].data};
        *status = (d->winograd ? reel__run_winograd
                               : reel__conv_direct)(&g, REEL_CONV_INPUT, &io);
    }
    return true;
}

static bool fused(const reel__kcall *call, reel_status *status)
{
    reel__kcall c = *call;
    c.kernel = K_CONV2D_FUSED;
    void *room = NULL;
    if (running->way == PREPARED) {
        size_t size = reel__prepare_conv2d_size(&c, 2);
        assert_true(size > 0);
        room = must(aligned_alloc(64, (size + 63) / 64 * 64));
        assert_int_equal(reel__prepare_conv2d(&c, room), REEL_OK);
        c.prepared = room;
    }
    bool taken = reel__fast_conv2d_fused(&c, status);
    free(room);
    return taken;
}

static bool forward(const reel__kcall *call, reel_status *status)
{
    reel__conv2d_fused_attrs at = {.conv = *(const reel__conv2d_attrs *)call->attrs,
                                   .act = K_NONE,
                                   .algo = running->at.algo};
    reel__kcall c = *call;
    c.attrs = &at;
    return fused(&c, status);
}

static const reel__fast_fn fast[WAYS] = {forward, gradient, gradient, fused, fused};

/* ---- what is right ----------------------------------------------------------------- */

static operand result_of(drawn *d, bool quick)
{
    operand *from[4], in[4], *out;
    int n = operands(d, from, &out);
    for (int i = 0; i < n; i++) in[i] = *from[i];
    operand y = make_like(out, 1);
    running = d;
    reel_status status = quick ? call_fast(fast[d->way], in, n, &y, 1, &d->at)
                               : call_ref(reference[d->way], in, n, &y, 1, &d->at);
    assert_int_equal(status, REEL_OK);
    return y;
}

/* The reference with every operand mapped, and without an activation, which would hide
 * what was summed. */
static operand mapped(drawn *d, float (*map)(float))
{
    drawn e = *d;
    operand *from[4], *out;
    int n = operands(&e, from, &out);
    e.at.act = K_NONE;
    float *kept[4];
    for (int i = 0; i < n; i++) {
        int64_t many = reel__numel(&from[i]->meta);
        kept[i] = from[i]->data;
        float *p = from[i]->data = must(malloc((size_t)many * sizeof(float)));
        for (int64_t j = 0; j < many; j++) p[j] = map(kept[i][j]);
    }
    operand y = result_of(&e, false);
    for (int i = 0; i < n; i++) free(from[i]->data);
    return y;
}

static float size_of(float x)
{
    return fabsf(x);
}

static float tame_finite(float x) /* infinities and NaN reach what they did */
{
    return isfinite(x) ? fmaxf(-1, fminf(1, x)) : x;
}

static void wrong(const drawn *d, int64_t i, double got, double want, const char *what)
{
    const reel__meta *x = &d->x.meta, *w = &d->w.meta;
    const reel__conv2d_attrs *a = &d->at.conv;
    fail_msg(
        "seed %llu way %d %s n%d c%d %dx%d k%d %dx%d stride %d %d pad %d %d dil %d %d "
        "groups %d act %d, element %d: %g, not %g: %s",
        (unsigned long long)d->seed, (int)d->way, d->winograd ? "winograd" : "direct",
        (int)x->dim[0], (int)x->dim[1], (int)x->dim[2], (int)x->dim[3], (int)w->dim[0],
        (int)w->dim[2], (int)w->dim[3], (int)a->stride[0], (int)a->stride[1],
        (int)a->padding[0], (int)a->padding[1], (int)a->dilation[0], (int)a->dilation[1],
        (int)a->groups, (int)d->at.act, (int)i, got, want, what);
}

static bool same_kind(float a, float b)
{
    return isnan(a) ? isnan(b) : isinf(a) ? a == b : isfinite(b);
}

/* `got` against the reference's `want`. A sum whose terms together pass the largest float
 * may overflow on the way or not: `size` is that of the terms. `tame`: without overflow. */
static void check_reach(const drawn *d, const operand *got, const operand *want,
                        const operand *size, const operand *tame)
{
    const float *g = got->data, *w = want->data, *s = size->data, *t = tame->data;
    double scale = 1;
    int64_t n = reel__numel(&got->meta);
    for (int64_t i = 0; i < n; i++)
        if (isfinite(s[i])) scale = fmax(scale, (double)s[i]);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(t[i]) && !d->huge && !same_kind(g[i], w[i]))
            wrong(d, i, (double)g[i], (double)w[i], "not as the reference");
        if (!isfinite(w[i]) && d->at.act == K_NONE && isfinite(g[i]))
            wrong(d, i, (double)g[i], (double)w[i], "is out of reach");
        if (!isfinite(s[i])) continue;
        if (!isfinite(g[i])) wrong(d, i, (double)g[i], (double)w[i], "is finite");
        double off = fabs((double)g[i] - (double)w[i]);
        double bound =
            (d->huge ? scale : 30 + (double)s[i]) * (d->winograd ? 2e-5 : 2e-6);
        if (off > bound) wrong(d, i, (double)g[i], (double)w[i], "is far away");
    }
}

static void check(uint64_t seed)
{
    drawn d = draw(seed);
    operand *in[4], *out;
    int n = operands(&d, in, &out);
    for (int64_t i = below(&d, 4); i >= 0; i--) put_hard(&d, in[below(&d, n)]);
    operand want = result_of(&d, false), got = result_of(&d, true);
    operand size = mapped(&d, size_of), tame = mapped(&d, tame_finite);
    check_reach(&d, &got, &want, &size, &tame);
    drop(&want), drop(&got), drop(&size), drop(&tame);
    release(&d);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 600; seed++) check(seed);
}

/* ---- one odd pixel ----------------------------------------------------------------- */

/* A pixel that is not finite spoils the 9 places that see it; one near the largest float,
 * whose transform overflows, spoils none. */
static void test_one_pixel(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, 3e38f, 1e38f};
    for (int i = 0; i < 4; i++) {
        drawn d = {.way = FORWARD, .winograd = true};
        d.at.conv = (reel__conv2d_attrs){{1, 1}, {1, 1}, {1, 1}, 1, {0}};
        d.at.algo = REEL_ALGO_WINOGRAD;
        d.x = make(REEL_SHAPE(1, 16, 16, 16), REEL_F32, NHWC, 1);
        d.w = make(REEL_SHAPE(16, 16, 3, 3), REEL_F32, NULL, 2);
        d.bias = make(REEL_SHAPE(16), REEL_F32, NULL, 3);
        d.y = make(REEL_SHAPE(1, 16, 16, 16), REEL_F32, NHWC, 4);
        ((float *)d.x.data)[(5 * 16 + 5) * 16] = odd[i];
        operand y = result_of(&d, true);
        int spoilt = 0;
        for (int64_t p = 0; p < 256; p++) {
            bool any = false;
            for (int64_t k = 0; k < 16; k++)
                any |= !isfinite(((float *)y.data)[p * 16 + k]);
            spoilt += any;
        }
        assert_int_equal(spoilt, isfinite(odd[i]) ? 0 : 9);
        drop(&y);
        release(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_pixel),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
