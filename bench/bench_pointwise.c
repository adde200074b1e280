/* bench_pointwise.c: the pointwise driver and the strided copy: overhead of small calls,
 * and bandwidth of large ones beside a plain loop over the same memory.
 *
 *   bench_pointwise [seconds per figure, default 0.2] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/cpu.h"
#include "base/parallel.h"

static double budget = 0.2;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Least seconds of a call, over groups that are long enough for the clock: other programs
 * on the machine can only add to it. */
static double seconds(void (*fn)(void *), void *ctx)
{
    enum { GROUPS = 21 };
    double least = INFINITY;
    int64_t repeat = 1;
    for (;;) {
        double start = now();
        for (int64_t i = 0; i < repeat; i++) fn(ctx);
        double took = now() - start;
        if (took > budget / GROUPS / 4) break;
        repeat =
            took > 0
                ? (int64_t)((double)repeat * fmin(10, 1 + budget / GROUPS / 2 / took)) + 1
                : repeat * 10;
    }
    for (int g = 0; g < GROUPS; g++) {
        double start = now();
        for (int64_t i = 0; i < repeat; i++) fn(ctx);
        least = fmin(least, (now() - start) / (double)repeat);
    }
    return least;
}

/* ---- operands ---------------------------------------------------------------------- */

typedef struct job {
    reel__kcall call;
    reel__karg in[2], out;
    reel__meta meta[3];
    reel__scalar_attrs attrs;
} job;

static void run_job(void *ctx)
{
    job *j = ctx;
    if (j->call.kernel == K_COPY)
        (void)reel__ref_copy(&j->call);
    else
        (void)reel__cpu_pointwise(&j->call);
}

static job make_job(reel__kernel_id k, int n_in, reel_shape out, reel_shape last)
{
    job j = {.call = {.kernel = k, .n_in = n_in, .n_out = 1}};
    reel_device cpu = {REEL_CPU, 0};
    j.meta[0] = reel__meta_of(out, REEL_F32, cpu);
    j.meta[1] = reel__meta_of(n_in == 1 ? last : out, REEL_F32, cpu);
    j.meta[2] = reel__meta_of(last, REEL_F32, cpu);
    return j;
}

static void bind(job *j, float *y, float *x0, float *x1)
{
    j->in[0] = (reel__karg){x0, &j->meta[1]};
    j->in[1] = (reel__karg){x1, &j->meta[2]};
    j->out = (reel__karg){y, &j->meta[0]};
    j->call.in = j->in;
    j->call.out = &j->out;
    j->call.attrs = &j->attrs;
}

/* A plain loop, on as many threads: what the machine gives. */
typedef struct plain {
    float *y;
    const float *x0, *x1;
    int64_t n;
} plain;

static void plain_add(void *ctx, int64_t begin, int64_t end)
{
    const plain *p = ctx;
    float *restrict y = p->y;
    for (int64_t i = begin; i < end; i++) y[i] = p->x0[i] + p->x1[i];
}

static void plain_relu(void *ctx, int64_t begin, int64_t end)
{
    const plain *p = ctx;
    float *restrict y = p->y;
    for (int64_t i = begin; i < end; i++) y[i] = p->x0[i] > 0 ? p->x0[i] : 0;
}

static void run_plain_add(void *ctx)
{
    reel__parallel_range(((plain *)ctx)->n, 16384, plain_add, ctx);
}

static void run_plain_relu(void *ctx)
{
    reel__parallel_range(((plain *)ctx)->n, 16384, plain_relu, ctx);
}

static void report(const char *what, double t, double bytes, double plain_time)
{
    printf("%-44s %9.1f us %7.1f GB/s", what, t * 1e6, bytes / t / 1e9);
    if (plain_time > 0) printf("   %.2f x a plain loop", t / plain_time);
    printf("\n");
}

#define N (INT64_C(1) << 24)
static float *x0, *x1, *y;

static void small(const char *what, reel__kernel_id k, int n_in, reel_shape out,
                  reel_shape last)
{
    job j = make_job(k, n_in, out, last);
    bind(&j, y, x0, x1);
    printf("%-44s %9.1f ns\n", what, seconds(run_job, &j) * 1e9);
}

static void large(const char *what, reel__kernel_id k, int n_in, int64_t n,
                  double plain_time)
{
    job j = make_job(k, n_in, REEL_SHAPE(n), REEL_SHAPE(n));
    bind(&j, y, x0, x1);
    report(what, seconds(run_job, &j), 4. * (double)n * (n_in + 1), plain_time);
}

static void broadcast(const char *what, reel_shape out, reel_shape last,
                      bool channels_last, double plain_time)
{
    job j = make_job(K_ADD, 2, out, last);
    if (channels_last)
        for (int i = 0; i < 2; i++) reel__set_channels_last(&j.meta[i]);
    bind(&j, y, x0, x1);
    double n = (double)reel__numel(&j.meta[0]);
    report(what, seconds(run_job, &j), 8 * n, plain_time * n / (double)N);
}

static void copy(const char *what, reel_shape shape, bool to_channels_last,
                 reel_dtype from)
{
    job j = make_job(K_COPY, 1, shape, shape);
    j.meta[1].dtype = from;
    if (from == REEL_F32) reel__set_channels_last(&j.meta[to_channels_last ? 0 : 1]);
    bind(&j, y, x0, x1);
    double n = (double)reel__numel(&j.meta[0]);
    report(what, seconds(run_job, &j), n * (4 + (double)reel_dtype_size(from)), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) budget = atof(argv[1]);
    size_t bytes = N * sizeof(float);
    x0 = aligned_alloc(64, bytes), x1 = aligned_alloc(64, bytes),
    y = aligned_alloc(64, bytes);
    if (!x0 || !x1 || !y) return 1;
    for (int64_t i = 0; i < N; i++) {
        x0[i] = (float)(i % 1000) / 100 - 5;
        x1[i] = (float)(i % 7) - 3;
        y[i] = 0;
    }
    printf("instruction set %s, %d threads\n\nsmall calls\n", reel_cpu_isa(),
           reel_threads());
    small("add [] + []", K_ADD, 2, REEL_SCALAR, REEL_SCALAR);
    small("add [1] + [1]", K_ADD, 2, REEL_SHAPE(1), REEL_SHAPE(1));
    small("add [16] + [16]", K_ADD, 2, REEL_SHAPE(16), REEL_SHAPE(16));
    small("add [2,2,2,2] + the same", K_ADD, 2, REEL_SHAPE(2, 2, 2, 2),
          REEL_SHAPE(2, 2, 2, 2));
    small("add [16] + []", K_ADD, 2, REEL_SHAPE(16), REEL_SCALAR);
    small("add [4,4] + [4]", K_ADD, 2, REEL_SHAPE(4, 4), REEL_SHAPE(4));
    small("add [4,4] + [4,1]", K_ADD, 2, REEL_SHAPE(4, 4), REEL_SHAPE(4, 1));
    small("gelu [16]", K_GELU, 1, REEL_SHAPE(16), REEL_SHAPE(16));
    small("add [1000] + [1000]", K_ADD, 2, REEL_SHAPE(1000), REEL_SHAPE(1000));

    printf("\n16 M elements\n");
    plain p = {y, x0, x1, N};
    double add = seconds(run_plain_add, &p), relu = seconds(run_plain_relu, &p);
    large("add", K_ADD, 2, N, add);
    large("relu", K_RELU, 1, N, relu);
    large("gelu", K_GELU, 1, N, relu);
    large("gelu_grad", K_GELU_GRAD, 2, N, add);
    large("tanh", K_TANH, 1, N, relu);
    large("sin", K_SIN, 1, N, relu);
    large("exp", K_EXP, 1, N, relu);
    large("log", K_LOG, 1, N, relu);
    large("pow", K_POW, 2, N, relu);
    large("lt", K_LT, 2, N, add);

    printf("\n64 K elements, in cache\n");
    p.n = 65536;
    add = seconds(run_plain_add, &p), relu = seconds(run_plain_relu, &p);
    large("add", K_ADD, 2, 65536, add);
    large("relu", K_RELU, 1, 65536, relu);
    large("gelu", K_GELU, 1, 65536, relu);
    large("tanh", K_TANH, 1, 65536, relu);

    printf("\nbroadcasts of 16 M elements, beside relu's memory\n");
    p.n = N;
    relu = seconds(run_plain_relu, &p);
    broadcast("[262144,64] + [64]", REEL_SHAPE(262144, 64), REEL_SHAPE(64), false, relu);
    broadcast("[1048576,16] + [16]", REEL_SHAPE(1048576, 16), REEL_SHAPE(16), false,
              relu);
    broadcast("[16384,1000] + [1000]", REEL_SHAPE(16384, 1000), REEL_SHAPE(1000), false,
              relu);
    broadcast("[262144,64] + [262144,1]", REEL_SHAPE(262144, 64), REEL_SHAPE(262144, 1),
              false, relu);
    broadcast("[16384,1000] + [16384,1]", REEL_SHAPE(16384, 1000), REEL_SHAPE(16384, 1),
              false, relu);
    broadcast("[128,64,32,32] + [1,64,1,1]", REEL_SHAPE(128, 64, 32, 32),
              REEL_SHAPE(1, 64, 1, 1), false, relu);
    broadcast("[128,64,32,32] channels-last + [1,64,1,1]", REEL_SHAPE(128, 64, 32, 32),
              REEL_SHAPE(1, 64, 1, 1), true, relu);
    broadcast("[N] + []", REEL_SHAPE(N), REEL_SCALAR, false, relu);

    printf("\ncopies\n");
    copy("NCHW to channels-last [128,64,32,32]", REEL_SHAPE(128, 64, 32, 32), true,
         REEL_F32);
    copy("channels-last to NCHW [128,64,32,32]", REEL_SHAPE(128, 64, 32, 32), false,
         REEL_F32);
    copy("NCHW to channels-last [16,512,16,16]", REEL_SHAPE(16, 512, 16, 16), true,
         REEL_F32);
    copy("NCHW to channels-last [64,3,224,224]", REEL_SHAPE(64, 3, 224, 224), true,
         REEL_F32);
    copy("channels-last to NCHW [64,3,224,224]", REEL_SHAPE(64, 3, 224, 224), false,
         REEL_F32);
    copy("u8 to f32 [64,3,224,224]", REEL_SHAPE(64, 3, 224, 224), false, REEL_U8);
    copy("f16 to f32 [64,3,224,224]", REEL_SHAPE(64, 3, 224, 224), false, REEL_F16);
    free(x0);
    free(x1);
    free(y);
    return 0;
}
