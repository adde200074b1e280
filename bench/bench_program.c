/* bench_program.c: chains of pointwise operators as one program, beside the same rows one
 * after the other and beside a loop that a compiler sees as a whole.
 *
 *   bench_program [rounds, default 25] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "backend/cpu/cpu.h"
#include "base/parallel.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define LONGEST 8
enum { MOST = 1 << 22 };

/* y = ((((x + b) * c) relu) * x ... : rows that cost little, so that memory decides. */
static const reel__kernel_id rows[LONGEST] = {
    K_ADD, K_RELU, K_MUL_SCALAR, K_MUL, K_ADD_SCALAR, K_ABS, K_SUB, K_SQUARE};
static const int reads_b[LONGEST] = {1, 0, 0, 1, 0, 0, 1, 0};

typedef struct bench {
    reel__meta whole, b;
    float *x, *second, *y, *between[2];
    reel__pointwise_attrs program;
    int n;
} bench;

static void run_program(bench *w)
{
    const reel__karg in[2] = {{w->x, &w->whole}, {w->second, &w->b}},
                     out = {w->y, &w->whole};
    const reel__kcall call = {K_POINTWISE, 2, 1, in, &out, &w->program, NULL, 0};
    (void)reel__ref_pointwise(&call);
}

static void run_rows(bench *w)
{
    float *from = w->x;
    for (int s = 0; s < w->n; s++) {
        float *to = s == w->n - 1 ? w->y : w->between[s & 1];
        const reel__karg in[2] = {{from, &w->whole}, {w->second, &w->b}};
        const reel__karg out = {to, &w->whole};
        const reel__scalar_attrs a = reel__scalars(0.5, 0);
        const reel__kcall call = {rows[s], 1 + reads_b[s], 1, in, &out, &a, NULL, 0};
        (void)reel__cpu_pointwise(&call);
        from = to;
    }
}

/* Row by row of b's length; all steps in one loop. */
static void loop(void *ctx, int64_t begin, int64_t end)
{
    const bench *w = ctx;
    int64_t cols = reel__numel(&w->b), length;
    for (int64_t at = begin; at < end; at += length) {
        int64_t c = at % cols;
        length = cols - c < end - at ? cols - c : end - at;
        const float *restrict x = w->x + at, *restrict b = w->second + c;
        float *restrict y = w->y + at;
        int n = w->n;
        for (int64_t i = 0; i < length; i++) {
            float v = x[i] + b[i];
            v = v <= 0 ? 0 : v;
            if (n >= 4) v = v * 0.5f * b[i];
            if (n >= 8) {
                v = fabsf(v + 0.5f) - b[i];
                v = v * v;
            }
            y[i] = v;
        }
    }
}

static void run_loop(bench *w)
{
    reel__parallel_range(reel__numel(&w->whole), 16384, loop, w);
}

static double least(void (*fn)(bench *), bench *w, double so_far)
{
    double start = now();
    fn(w);
    double t = now() - start;
    return t < so_far ? t : so_far;
}

static void measure(bench *w, const char *what, reel_shape shape, reel_shape b, int n,
                    int rounds)
{
    reel_device cpu = {REEL_CPU, 0};
    w->whole = reel__meta_of(shape, REEL_F32, cpu);
    w->b = reel__meta_of(b, REEL_F32, cpu);
    w->n = n;
    w->program = (reel__pointwise_attrs){.n_in = 2, .n_step = n, .n_out = 1};
    for (int s = 0; s < n; s++) {
        w->program.row[s] = rows[s];
        w->program.src[s][0] = s ? s + 1 : 0;
        w->program.src[s][1] = reads_b[s] ? 1 : -1;
        w->program.src[s][2] = -1;
        w->program.a[s][0] = reel__real(0.5);
    }
    w->program.out[0] = n - 1;
    double program = INFINITY, one_by_one = INFINITY, whole = INFINITY;
    for (int r = 0; r < rounds; r++) { /* interleaved: other programs disturb all alike */
        program = least(run_program, w, program);
        one_by_one = least(run_rows, w, one_by_one);
        whole = least(run_loop, w, whole);
    }
    printf("%-24s %d rows %9.1f us, one by one %9.1f us (%.2f x), a loop %9.1f us (%.2f "
           "x)\n",
           what, n, program * 1e6, one_by_one * 1e6, one_by_one / program, whole * 1e6,
           whole / program);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 25;
    bench w = {0};
    float **all[] = {&w.x, &w.second, &w.y, &w.between[0], &w.between[1]};
    for (int k = 0; k < 5; k++) {
        float *p = *all[k] = aligned_alloc(64, MOST * sizeof(float));
        if (!p) return 1;
        for (int i = 0; i < MOST; i++) p[i] = (float)(i % 1000) / 100 - 5;
    }
    printf("instruction set %s, %d threads\n", reel_cpu_isa(), reel_threads());
    for (int n = 2; n <= LONGEST; n *= 2) {
        measure(&w, "[1M], [1M]", REEL_SHAPE(1 << 20), REEL_SHAPE(1 << 20), n, rounds);
        measure(&w, "[16384,64], [64]", REEL_SHAPE(16384, 64), REEL_SHAPE(64), n, rounds);
        measure(&w, "[1024,1024], [1024]", REEL_SHAPE(1024, 1024), REEL_SHAPE(1024), n,
                rounds);
        measure(&w, "[64,256], [256]", REEL_SHAPE(64, 256), REEL_SHAPE(256), n,
                rounds * 20);
        measure(&w, "[4M], [4M]", REEL_SHAPE(1 << 22), REEL_SHAPE(1 << 22), n, rounds);
    }
    for (int k = 0; k < 5; k++) free(*all[k]);
    return 0;
}
