/* bench_int8: layers on 8-bit operands beside the same in f32, as planned graphs run them: weights
 * prepared, bias and relu fused.
 *
 *   bench_int8                            layers of ResNet-18, MobileNetV2 and a transformer
 *   bench_int8 n c h k r stride groups    another convolution (padding r / 2; h 0: linear)
 *
 * u8 activations, i8 weights with a scale for each channel, u8 results. Runs are interleaved;
 * each line gives the best time of both in microseconds, the speed of the 8-bit one (two
 * operations a multiply-add) and the median of the ratios (above 1: 8 bits are faster). */
#include <stdio.h>
#include <stdlib.h>

#include "backend/attrs.h"
#include "backend/backend.h"
#include "measure.h"

enum { MOST_RUNS = 400, INT8 = 0, FLOAT = 1 };

typedef struct layer {
    int64_t n, c, h, k, r, stride, groups;
} layer;

static const layer layers[] = {
    {1, 3, 224, 64, 7, 2, 1},     {1, 64, 56, 64, 3, 1, 1},
    {1, 64, 56, 128, 3, 2, 1},    {1, 64, 56, 128, 1, 2, 1},
    {1, 128, 28, 128, 3, 1, 1},   {1, 256, 14, 256, 3, 1, 1},
    {1, 512, 7, 512, 3, 1, 1},    {32, 64, 32, 64, 3, 1, 1},
    {32, 16, 32, 16, 3, 1, 1},    {1, 256, 56, 64, 1, 1, 1},
    {1, 64, 56, 256, 1, 1, 1},    {1, 1024, 14, 256, 1, 1, 1},
    {1, 16, 112, 96, 1, 1, 1},    {1, 144, 56, 24, 1, 1, 1},
    {1, 384, 14, 64, 1, 1, 1},    {1, 96, 112, 96, 3, 2, 96},
    {1, 144, 56, 144, 3, 1, 144}, {1, 384, 14, 384, 3, 1, 384},
    {1, 960, 7, 960, 3, 1, 960},  {65, 192, 0, 768, 0, 0, 1},
    {2080, 192, 0, 768, 0, 0, 1}, {2080, 768, 0, 192, 0, 0, 1},
    {1, 512, 0, 1000, 0, 0, 1},   {1024, 1024, 0, 1024, 0, 0, 1},
};

static const reel_device cpu = {REEL_CPU, 0};

/* ---- operands ---------------------------------------------------------------------- */

typedef struct operand {
    reel__meta meta;
    void *data;
} operand;

static operand made(reel_shape shape, reel_dtype dtype, double value)
{
    operand o = {.meta = reel__meta_of(shape, dtype, cpu)};
    if (shape.rank == 4) reel__set_channels_last(&o.meta);
    const int64_t n = reel__numel(&o.meta);
    const size_t size = reel_dtype_size(dtype);
    o.data = aligned_alloc(64, ((size_t)n * size + 64) / 64 * 64);
    if (!o.data) exit(1);
    for (int64_t i = 0; i < n; i++) {
        const int64_t drawn = value != 0 ? 0 : i * 7919 % 251 - 125;
        if (dtype == REEL_F32)
            ((float *)o.data)[i] = (float)(value != 0 ? value : (double)drawn / 250);
        else if (dtype == REEL_I32)
            ((int32_t *)o.data)[i] = (int32_t)drawn;
        else
            ((uint8_t *)o.data)[i] = (uint8_t)(drawn + (int64_t)value);
    }
    return o;
}

/* One call with a prepared weight, and what it lives on. */
typedef struct way {
    operand in[REEL_INT8_INS], y;
    reel__karg arg[REEL_INT8_INS], out;
    reel__conv2d_int8_attrs conv8;
    reel__conv2d_fused_attrs conv;
    reel__linear_int8_attrs linear8;
    reel__linear_fused_attrs linear;
    reel__kcall call;
    void *room;
} way;

static void make(way *w, const layer *s, int kind)
{
    const bool linear = s->h == 0, bytes = kind == INT8;
    const int64_t pad = s->r / 2,
                  o = linear ? 0 : (s->h + 2 * pad - s->r) / s->stride + 1;
    const reel_dtype x = bytes ? REEL_U8 : REEL_F32, weight = bytes ? REEL_I8 : REEL_F32;
    *w = (way){.room = NULL};
    w->in[0] =
        made(linear ? REEL_SHAPE(s->n, s->c) : REEL_SHAPE(s->n, s->c, s->h, s->h), x, 0);
    w->in[1] = made(linear ? REEL_SHAPE(s->k, s->c)
                           : REEL_SHAPE(s->k, s->c / s->groups, s->r, s->r),
                    weight, 0);
    w->in[2] = made(REEL_SHAPE(s->k), bytes ? REEL_I32 : REEL_F32, 0);
    w->y = made(linear ? REEL_SHAPE(s->n, s->k) : REEL_SHAPE(s->n, s->k, o, o), x, 0);
    const reel__conv2d_attrs conv = {
        {s->stride, s->stride}, {pad, pad}, {1, 1}, s->groups, {0}};
    w->conv8 = (reel__conv2d_int8_attrs){.conv = conv, .act = K_RELU};
    w->linear8 = (reel__linear_int8_attrs){.act = K_RELU};
    w->conv = (reel__conv2d_fused_attrs){.conv = conv, .act = K_RELU};
    w->linear = (reel__linear_fused_attrs){.act = K_RELU};
    if (bytes) {
        const reel_shape each = linear ? REEL_SHAPE(s->k, 1) : REEL_SHAPE(s->k, 1, 1, 1);
        w->in[REEL_INT8_Y_SCALE] = made(REEL_SCALAR, REEL_F32, 0.1);
        w->in[REEL_INT8_Y_ZERO] = made(REEL_SCALAR, REEL_U8, 128);
        w->in[REEL_INT8_X_SCALE] = made(REEL_SCALAR, REEL_F32, 0.01);
        w->in[REEL_INT8_W_SCALE] = made(each, REEL_F32, 0.01);
        w->in[REEL_INT8_X_ZERO] = made(REEL_SCALAR, REEL_U8, 128);
        w->in[REEL_INT8_W_ZERO] = made(REEL_SCALAR, REEL_I8, 256); /* 0 */
    }
    const int n_in =
        bytes ? REEL_INT8_INS : 4; /* f32: the fourth, a residual, is absent */
    for (int i = 0; i < n_in; i++)
        if (w->in[i].data) w->arg[i] = (reel__karg){w->in[i].data, &w->in[i].meta};
    w->out = (reel__karg){w->y.data, &w->y.meta};
    w->call = (reel__kcall){
        .kernel = linear ? (bytes ? K_LINEAR_INT8 : K_LINEAR_FUSED)
                         : (bytes ? K_CONV2D_INT8 : K_CONV2D_FUSED),
        .n_in = n_in,
        .n_out = 1,
        .in = w->arg,
        .out = &w->out,
        .attrs = linear ? (bytes ? (const void *)&w->linear8 : &w->linear)
                        : (bytes ? (const void *)&w->conv8 : &w->conv),
    };
    const reel__backend *be = reel__backend_of(REEL_CPU);
    const size_t size = be->prepare_size(0, &w->call, 2);
    if (!size) return;
    w->room = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!w->room || be->prepare(0, &w->call, 2, w->room)) exit(1);
    w->call.prepared = w->room;
}

static void drop(way *w)
{
    for (int i = 0; i < REEL_INT8_INS; i++) free(w->in[i].data);
    free(w->y.data);
    free(w->room);
}

/* ---- runs -------------------------------------------------------------------------- */

static double timed(const way *w)
{
    const double begin = now();
    if (reel__launch(cpu, &w->call)) exit(1);
    return now() - begin;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(const layer *s)
{
    way w[2];
    double best[2] = {1e9, 1e9}, ratio[MOST_RUNS];
    int runs = 0;
    for (int k = 0; k < 2; k++) make(&w[k], s, k);
    for (int k = 0; k < 2; k++) timed(&w[k]);
    for (double begin = now(); runs < 7 || (runs < MOST_RUNS && now() - begin < 0.3);
         runs++) {
        double t[2];
        for (int k = 0; k < 2; k++) {
            t[k] = timed(&w[k]);
            best[k] = t[k] < best[k] ? t[k] : best[k];
        }
        ratio[runs] = t[FLOAT] / t[INT8];
    }
    qsort(ratio, (size_t)runs, sizeof *ratio, by_value);
    const int64_t depth = reel__numel(&w[0].in[1].meta) / s->k;
    const double work = 2. * (double)reel__numel(&w[0].y.meta) * (double)depth;
    printf("%4d %4d @%-3d -> %4d %dx%d/%d g%-3d %9.1f %9.1f  %6.1f Gop/s  %5.2f\n",
           (int)s->n, (int)s->c, (int)s->h, (int)s->k, (int)s->r, (int)s->r,
           (int)s->stride, (int)s->groups, best[INT8] * 1e6, best[FLOAT] * 1e6,
           work / best[INT8] * 1e-9, ratio[runs / 2]);
    fflush(stdout);
    for (int k = 0; k < 2; k++) drop(&w[k]);
}

int main(int argc, char **argv)
{
    printf("isa %s, %d threads; microseconds: 8 bits, f32\n", reel_cpu_isa(),
           reel_threads());
    for (int i = 1; i + 7 <= argc; i += 7) {
        int64_t v[7];
        for (int j = 0; j < 7; j++) v[j] = strtoll(argv[i + j], NULL, 10);
        run(&(layer){v[0], v[1], v[2], v[3], v[4], v[5], v[6]});
    }
    if (argc > 1) return 0;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) run(&layers[i]);
    return 0;
}
