/* bench_conv.c: throughput of the fast convolutions, beside the processor's FMA peak.
 *
 *   bench_conv                            the 3x3, 1x1 and stem shapes of ResNet-20 and
 *                                         ResNet-18
 *   bench_conv n c h k r stride ...       others, six numbers each (padding r / 2)
 *   bench_conv error                      the error of Winograd's algorithm instead: see
 *                                         bench_conv_error.h
 *
 * Best of several short runs, in GFLOP/s of the direct sum, whatever the algorithm. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/conv/conv.h"
#include "base/parallel.h"
#include "bench_conv_error.h"

typedef struct shape {
    int64_t n, c, h, k, r, stride;
} shape;

static const shape resnet20[] = {
    {128, 3, 32, 16, 3, 1},  {128, 16, 32, 16, 3, 1}, {128, 16, 32, 32, 3, 2},
    {128, 16, 32, 32, 1, 2}, {128, 32, 16, 32, 3, 1}, {128, 32, 16, 64, 3, 2},
    {128, 32, 16, 64, 1, 2}, {128, 64, 8, 64, 3, 1},
};
static const shape resnet18[] = {
    {32, 3, 32, 64, 3, 1},    {32, 64, 32, 64, 3, 1},   {32, 64, 32, 128, 3, 2},
    {32, 64, 32, 128, 1, 2},  {32, 128, 16, 128, 3, 1}, {32, 128, 16, 256, 3, 2},
    {32, 128, 16, 256, 1, 2}, {32, 256, 8, 256, 3, 1},  {32, 256, 8, 512, 3, 2},
    {32, 256, 8, 512, 1, 2},  {32, 512, 4, 512, 3, 1},
};

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- FMA peak: independent chains in registers ------------------------------------- */

typedef float lanes __attribute__((vector_size(64)));
static volatile lanes seed, sink;

#define PROBE_STEPS 20000

#if defined(__x86_64__)
#define PROBE_AVX512 __attribute__((target("avx512f,fma")))
#define PROBE_AVX2 __attribute__((target("avx2,fma")))
#else
#define PROBE_AVX512
#define PROBE_AVX2
#endif
#define PROBE(name, target)                                                              \
    target static void name(void *ctx, int64_t i, int worker)                            \
    {                                                                                    \
        (void)ctx, (void)i, (void)worker;                                                \
        lanes x = seed, a0 = x, a1 = x, a2 = x, a3 = x, a4 = x, a5 = x, a6 = x, a7 = x,  \
              a8 = x, a9 = x;                                                            \
        for (int s = 0; s < PROBE_STEPS; s++) {                                          \
            a0 += a0 * x, a1 += a1 * x, a2 += a2 * x, a3 += a3 * x, a4 += a4 * x;        \
            a5 += a5 * x, a6 += a6 * x, a7 += a7 * x, a8 += a8 * x, a9 += a9 * x;        \
        }                                                                                \
        sink = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9;                          \
    }
PROBE(probe_avx512, PROBE_AVX512)
PROBE(probe_avx2, PROBE_AVX2)
PROBE(probe_baseline, )

static double peak(void)
{
    static const reel__task_fn probe[] = {probe_baseline, probe_avx2, probe_avx512};
    double best = 1e9;
    for (int i = 0; i < 40; i++) {
        double t = now();
        reel__parallel(reel__max_workers(), probe[reel__isa_now()], NULL);
        t = now() - t;
        best = t < best ? t : best;
    }
    return 2.0 * 10 * 16 * PROBE_STEPS * reel__max_workers() / best * 1e-9;
}

/* ---- one shape --------------------------------------------------------------------- */

static float *filled(int64_t n)
{
    float *p = aligned_alloc(64, ((size_t)n * sizeof(float) + 63) / 64 * 64);
    for (int64_t i = 0; p && i < n; i++) p[i] = (float)(i * 7919 % 1009) / 1009.0f - 0.5f;
    return p;
}

static double best_of(reel__fast_fn f, const reel__kcall *call)
{
    double best = 1e9, spent = 0;
    for (int i = 0; i < 5 || (spent < 0.15 && i < 200); i++) {
        reel_status status;
        double t = now();
        if (!f(call, &status) || status != REEL_OK) return 0;
        t = now() - t;
        spent += t;
        best = t < best ? t : best;
    }
    return best;
}

static void run(const shape *s)
{
    reel_device cpu = {REEL_CPU, 0};
    int64_t pad = s->r / 2, o = (s->h + 2 * pad - s->r) / s->stride + 1;
    reel__meta xm = reel__meta_of(REEL_SHAPE(s->n, s->c, s->h, s->h), REEL_F32, cpu);
    reel__meta wm = reel__meta_of(REEL_SHAPE(s->k, s->c, s->r, s->r), REEL_F32, cpu);
    reel__meta ym = reel__meta_of(REEL_SHAPE(s->n, s->k, o, o), REEL_F32, cpu);
    reel__set_channels_last(&xm);
    reel__set_channels_last(&ym);
    reel__karg x = {filled(reel__numel(&xm)), &xm}, w = {filled(reel__numel(&wm)), &wm},
               y = {filled(reel__numel(&ym)), &ym};
    if (!x.data || !w.data || !y.data) exit(1);
    reel__conv2d_attrs at = {{s->stride, s->stride}, {pad, pad}, {1, 1}, 1, {0}};
    const reel__karg in[3][3] = {{x, w, {NULL, NULL}}, {y, w}, {y, x}};
    const reel__kcall calls[3] = {
        {K_CONV2D, 3, 1, in[0], &y, &at, NULL, 0},
        {K_CONV2D_INPUT, 2, 1, in[1], &x, &at, NULL, 0},
        {K_CONV2D_WEIGHT, 2, 1, in[2], &w, &at, NULL, 0},
    };
    static const reel__fast_fn fast[3] = {reel__fast_conv2d, reel__fast_conv2d_input,
                                          reel__fast_conv2d_weight};
    double flop = 2.0 * (double)(s->n * o * o * s->k * s->c * s->r * s->r);
    double time[3], top = peak();
    for (int i = 0; i < 3; i++) time[i] = best_of(fast[i], &calls[i]);
    printf("%4" PRId64 " %4" PRId64 " @%-3" PRId64 " -> %4" PRId64 " %" PRId64 "x%" PRId64
           "/%" PRId64 "  ",
           s->n, s->c, s->h, s->k, s->r, s->r, s->stride);
    for (int i = 0; i < 3; i++)
        printf(" %8.3f ms %6.0f", time[i] * 1e3, flop / time[i] * 1e-9);
    printf("   peak %.0f\n", top);
    fflush(stdout);
    free(x.data);
    free(w.data);
    free(y.data);
}

/* ---- error ------------------------------------------------------------------------- */

static void print_errors(const char *name, reel__conv_pass pass)
{
    printf("%s\n", name);
    for (int64_t terms = 16; terms <= 512; terms *= 2) {
        printf("%9" PRId64 "   ", terms);
        for (double ratio = 1; ratio < 2e6; ratio *= 10) {
            conv_error worst = {0, 0};
            for (uint64_t draw = 1; draw <= 3; draw++) {
                conv_error e = conv_error_of(pass, terms, ratio, draw);
                worst.winograd = fmax(worst.winograd, e.winograd);
                worst.direct = fmax(worst.direct, e.direct);
            }
            printf(" %7.1e %7.1e  ", worst.winograd, worst.direct);
        }
        printf("\n");
        fflush(stdout);
    }
}

static int errors(void)
{
    printf("isa %s; worst error over the size of a result, of Winograd and direct, by "
           "largest activation\n%12s",
           reel_cpu_isa(), "");
    for (double ratio = 1; ratio < 2e6; ratio *= 10) printf(" %9.0e %8s", ratio, "");
    printf("\n");
    print_errors("forward, by channels summed over", REEL_CONV_FORWARD);
    print_errors("by input, by channels summed over", REEL_CONV_INPUT);
    print_errors("by weight, by images of 12x12", REEL_CONV_WEIGHT);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "error") == 0) return errors();
    printf("isa %s, %d threads; ms and GFLOP/s of forward, by input, by weight\n",
           reel_cpu_isa(), reel_threads());
    for (int i = 1; i + 5 < argc; i += 6) {
        int64_t v[6];
        for (int j = 0; j < 6; j++) v[j] = strtoll(argv[i + j], NULL, 10);
        run(&(shape){v[0], v[1], v[2], v[3], v[4], v[5]});
    }
    if (argc > 1) return 0;
    for (size_t i = 0; i < sizeof resnet20 / sizeof *resnet20; i++) run(&resnet20[i]);
    for (int64_t n = 32; n <= 128; n *= 4)
        for (size_t i = 0; i < sizeof resnet18 / sizeof *resnet18; i++) {
            shape s = resnet18[i];
            s.n = n;
            run(&s);
        }
    return 0;
}
