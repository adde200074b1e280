/* bench_fused.c: convolutions and linear layers as a planned graph runs them: weights
 * prepared, bias, residual and relu (gelu) fused; beside the operators one by one.
 *
 *   bench_fused                          the layers of ResNet-20, ResNet-18 and a transformer
 *   bench_fused n c h k r stride ...     other convolutions, six numbers each (padding r / 2)
 *   bench_fused -l m in out ...          other linear layers, three numbers each
 *
 * Weights are not in cache where a net's would not be: runs go round many copies of them.
 * Best of interleaved runs, in microseconds; GFLOP/s of the direct sum. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/attrs.h"
#include "backend/backend.h"

enum { WAYS = 5, MOST_RUNS = 400, COPIES = 64, CACHE = 64 << 20 };

typedef struct layer {
    int64_t n, c, h, k, r, stride; /* r 0: linear, n rows of c to k */
} layer;

static const layer layers[] = {
    {1, 3, 32, 16, 3, 1},      {1, 16, 32, 16, 3, 1},     {1, 16, 32, 32, 3, 2},
    {1, 16, 32, 32, 1, 2},     {1, 32, 16, 32, 3, 1},     {1, 32, 16, 64, 3, 2},
    {1, 64, 8, 64, 3, 1},      {1, 64, 32, 64, 3, 1},     {1, 64, 32, 128, 3, 2},
    {1, 128, 16, 128, 3, 1},   {1, 128, 16, 256, 3, 2},   {1, 256, 8, 256, 3, 1},
    {1, 256, 8, 512, 3, 2},    {1, 512, 4, 512, 3, 1},    {1, 3, 224, 64, 7, 2},
    {1, 64, 56, 64, 3, 1},     {1, 64, 56, 128, 3, 2},    {1, 64, 56, 128, 1, 2},
    {1, 128, 28, 128, 3, 1},   {1, 256, 14, 256, 3, 1},   {1, 512, 7, 512, 3, 1},
    {32, 16, 32, 16, 3, 1},    {32, 32, 16, 32, 3, 1},    {32, 64, 8, 64, 3, 1},
    {32, 64, 32, 64, 3, 1},    {32, 128, 16, 128, 3, 1},  {32, 256, 8, 256, 3, 1},
    {32, 512, 4, 512, 3, 1},   {32, 3, 224, 64, 7, 2},    {32, 64, 56, 64, 3, 1},
    {32, 128, 28, 128, 3, 1},  {32, 256, 14, 256, 3, 1},  {32, 512, 7, 512, 3, 1},
    {65, 192, 0, 576, 0, 0},   {65, 192, 0, 192, 0, 0},   {65, 192, 0, 768, 0, 0},
    {65, 768, 0, 192, 0, 0},   {2080, 192, 0, 576, 0, 0}, {2080, 192, 0, 768, 0, 0},
    {2080, 768, 0, 192, 0, 0}, {1, 512, 0, 1000, 0, 0},
};

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!p) exit(1);
    return p;
}

static reel__karg filled(const reel__meta *m)
{
    int64_t n = reel__numel(m);
    float *p = room((size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++) p[i] = (float)(i * 7919 % 1009) / 1009.0f - 0.5f;
    return (reel__karg){p, m};
}

/* Up to three calls, one after another; the first with a copy of the weights each time. */
typedef struct way {
    reel__kcall call[3];
    int n;
    void *prepared[COPIES];
    size_t size;
} way;

typedef struct weights {
    const reel__meta *meta;
    void *copy[COPIES];
    int n;
} weights;

static void run_way(way *w, const weights *from, int i)
{
    reel__karg in[4];
    memcpy(in, w->call[0].in, sizeof in);
    in[1].data = from->copy[i % from->n];
    reel__kcall first = w->call[0];
    first.in = in;
    first.prepared = w->prepared[i % from->n];
    for (int k = 0; k < w->n; k++)
        if (reel__launch((reel_device){REEL_CPU, 0}, k ? &w->call[k] : &first)) exit(1);
}

static void prepare(way *w, const weights *from)
{
    const reel__backend *be = reel__backend_of(REEL_CPU);
    w->size = be->prepare_size(0, &w->call[0], 1u << 1);
    for (int i = 0; i < from->n && w->size; i++) {
        w->prepared[i] = room(w->size);
        if (be->prepare(0, &w->call[0], 1u << 1, w->prepared[i])) exit(1);
    }
}

static void measure(way ways[WAYS], const weights *from, double best[WAYS])
{
    double begin = now();
    for (int w = 0; w < WAYS; w++) best[w] = 1e9;
    for (int i = 0; i < 5 || (now() - begin < 0.25 && i < MOST_RUNS); i++)
        for (int w = 0; w < WAYS; w++) {
            double t = now();
            run_way(&ways[w], from, i * WAYS + w);
            t = now() - t;
            best[w] = t < best[w] ? t : best[w];
        }
}

static void print(const layer *s, double flop, const double best[WAYS], const way *last)
{
    printf("%4d %4d @%-3d -> %4d %dx%d/%d ", (int)s->n, (int)s->c, (int)s->h, (int)s->k,
           (int)s->r, (int)s->r, (int)s->stride);
    for (int w = 0; w < WAYS; w++) printf(" %9.1f", best[w] * 1e6);
    printf("  %6.0f GFLOP/s  %8.1f KiB\n", flop / best[WAYS - 1] * 1e-9,
           (double)last->size / 1024);
    fflush(stdout);
}

static void run(const layer *s)
{
    reel_device cpu = {REEL_CPU, 0};
    bool linear = s->r == 0;
    int64_t pad = s->r / 2, o = linear ? 1 : (s->h + 2 * pad - s->r) / s->stride + 1;
    reel__meta xm = reel__meta_of(REEL_SHAPE(s->n, s->c, s->h, s->h), REEL_F32, cpu);
    reel__meta wm = reel__meta_of(REEL_SHAPE(s->k, s->c, s->r, s->r), REEL_F32, cpu);
    reel__meta ym = reel__meta_of(REEL_SHAPE(s->n, s->k, o, o), REEL_F32, cpu);
    reel__meta bm = reel__meta_of(REEL_SHAPE(s->k), REEL_F32, cpu);
    if (linear) {
        xm = reel__meta_of(REEL_SHAPE(s->n, s->c), REEL_F32, cpu);
        wm = reel__meta_of(REEL_SHAPE(s->k, s->c), REEL_F32, cpu);
        ym = reel__meta_of(REEL_SHAPE(s->n, s->k), REEL_F32, cpu);
    } else {
        reel__set_channels_last(&xm);
        reel__set_channels_last(&ym);
    }
    weights from = {.meta = &wm, .n = (int)(CACHE / 4 / reel__numel(&wm)) + 1};
    if (from.n > COPIES) from.n = COPIES;
    for (int i = 0; i < from.n; i++) from.copy[i] = filled(&wm).data;
    const reel__karg y = filled(&ym), weight = {from.copy[0], &wm};
    const reel__karg in[4] = {filled(&xm), weight, filled(&bm), filled(&ym)};
    const reel__karg add[2] = {y, in[3]};
    const reel__kernel_id act = linear ? K_GELU : K_RELU;
    reel__conv2d_fused_attrs conv[3];
    for (int i = 0; i < 3; i++)
        conv[i] = (reel__conv2d_fused_attrs){
            .conv = {{s->stride, s->stride}, {pad, pad}, {1, 1}, 1, {0}},
            .act = act,
            .algo = i};
    const reel__linear_fused_attrs line = {.act = act};
    const reel__kernel_id plain = linear ? K_LINEAR : K_CONV2D,
                          fused = linear ? K_LINEAR_FUSED : K_CONV2D_FUSED;
    const void *attrs[3];
    for (int i = 0; i < 3; i++) attrs[i] = linear ? (const void *)&line : &conv[i];
    way ways[WAYS] = {
        {.call = {{plain, 3, 1, in, &y, attrs[0], NULL, 0},
                  {K_ADD, 2, 1, add, &y, NULL, NULL, 0},
                  {act, 1, 1, &y, &y, NULL, NULL, 0}},
         .n = 3},
        {.call = {{plain, 3, 1, in, &y, attrs[0], NULL, 0}}, .n = 1},
        {.call = {{fused, 4, 1, in, &y, attrs[1], NULL, 0}}, .n = 1},
        {.call = {{fused, 4, 1, in, &y, attrs[2], NULL, 0}}, .n = 1},
        {.call = {{fused, 4, 1, in, &y, attrs[0], NULL, 0}}, .n = 1},
    };
    for (int w = 2; w < WAYS; w++) prepare(&ways[w], &from);
    double best[WAYS];
    double flop =
        2.0 * (double)(s->n * o * o * s->k * s->c) * (linear ? 1 : (double)(s->r * s->r));
    measure(ways, &from, best);
    print(s, flop, best, &ways[WAYS - 1]);
    for (int i = 0; i < from.n; i++) {
        free(from.copy[i]);
        for (int w = 0; w < WAYS; w++) free(ways[w].prepared[i]);
    }
    free(in[0].data);
    free(in[2].data);
    free(in[3].data);
    free(y.data);
}

int main(int argc, char **argv)
{
    bool linear = argc > 1 && strcmp(argv[1], "-l") == 0;
    int each = linear ? 3 : 6;
    printf("isa %s, %d threads; microseconds: operators, convolution or linear alone, "
           "fused, "
           "fused and prepared\n",
           reel_cpu_isa(), reel_threads());
    for (int i = linear ? 2 : 1; i + each <= argc; i += each) {
        int64_t v[6] = {0};
        for (int j = 0; j < each; j++) v[j] = strtoll(argv[i + j], NULL, 10);
        run(linear ? &(layer){v[0], v[1], 0, v[2], 0, 0}
                   : &(layer){v[0], v[1], v[2], v[3], v[4], v[5]});
    }
    if (argc > 1) return 0;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) run(&layers[i]);
    return 0;
}
