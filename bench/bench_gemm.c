/* bench_gemm: our matrix product against OpenBLAS, interleaved.
 *
 *   bench_gemm [seconds per shape [f64]]
 *
 * Absolute speed on a shared machine moves with its neighbours; the ratio of two samples
 * taken one after the other does not. Each line gives the best speed of both and the
 * median of the ratios (above 1: ours is faster). */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/cpu.h"

typedef struct shape {
    const char *name;
    int64_t m, n, k;
    bool a_t, b_t;
} shape;

static const shape shapes[] = {
    {"GPT-2 qkv", 256, 2304, 768, false, true},
    {"GPT-2 proj", 256, 768, 768, false, true},
    {"GPT-2 fc", 256, 3072, 768, false, true},
    {"GPT-2 fc2", 256, 768, 3072, false, true},
    {"GPT-2 fc gx", 256, 768, 3072, false, false},
    {"GPT-2 fc gw", 3072, 768, 256, true, false},
    {"GPT-2 logits", 256, 50257, 768, false, true},
    {"GPT-2 logits gw", 50257, 768, 256, true, false},
    {"GPT-2 logits gx", 256, 768, 50257, false, false},
    {"small GPT qkv", 768, 384, 128, false, true},
    {"small GPT proj", 768, 128, 128, false, true},
    {"small GPT fc", 768, 512, 128, false, true},
    {"small GPT fc2", 768, 128, 512, false, true},
    {"small GPT gx", 768, 128, 512, false, false},
    {"small GPT gw", 512, 128, 768, true, false},
    {"small GPT gw2", 128, 128, 768, true, false},
    {"ViT qkv", 8192, 384, 192, false, true},
    {"ViT gw", 384, 192, 8192, true, false},
    {"head", 128, 10, 512, false, true},
    {"head gw", 10, 512, 128, true, false},
    {"inference 1", 1, 3072, 768, false, true},
    {"inference 8", 8, 3072, 768, false, true},
    {"inference 24", 24, 3072, 768, false, true},
    {"few rows, B plain", 4, 3072, 768, false, false},
    {"square 128", 128, 128, 128, false, false},
    {"square 512", 512, 512, 512, false, false},
    {"square 1024", 1024, 1024, 1024, false, false},
    {"square 2048", 2048, 2048, 2048, false, false},
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void own(const reel__gemm *g, int times)
{
    for (int i = 0; i < times; i++) reel__run_gemm(g);
}

static void blas(const reel__gemm *g, const shape *s, int times)
{
    const CBLAS_TRANSPOSE a_t = s->a_t ? CblasTrans : CblasNoTrans;
    const CBLAS_TRANSPOSE b_t = s->b_t ? CblasTrans : CblasNoTrans;
    const blasint m = (blasint)s->m, n = (blasint)s->n, k = (blasint)s->k;
    for (int i = 0; i < times; i++)
        if (g->dtype == REEL_F64)
            cblas_dgemm(CblasRowMajor, a_t, b_t, m, n, k, 1.0, g->a, s->a_t ? m : k, g->b,
                        s->b_t ? k : n, 0.0, g->c, n);
        else
            cblas_sgemm(CblasRowMajor, a_t, b_t, m, n, k, 1.0F, g->a, s->a_t ? m : k,
                        g->b, s->b_t ? k : n, 0.0F, g->c, n);
}

static void run(const shape *s, reel_dtype dtype, double seconds)
{
    enum { SAMPLES = 1000 };
    static double ratio[SAMPLES];
    int64_t a = s->m * s->k, b = s->k * s->n;
    const size_t size = reel_dtype_size(dtype);
    char *data = aligned_alloc(64, (size_t)((a + b + s->m * s->n + 47) / 16 * 16) * size);
    if (!data) return;
    for (int64_t i = 0; i < a + b; i++) {
        float x = (float)(i * 7919 % 1013) * 1e-3F - 0.5F;
        if (dtype == REEL_F64)
            ((double *)(void *)data)[i] = (double)x;
        else
            ((float *)(void *)data)[i] = x;
    }
    reel__gemm g = {.dtype = dtype,
                    .m = s->m,
                    .n = s->n,
                    .k = s->k,
                    .a = data,
                    .b = data + (size_t)a * size,
                    .c = data + (size_t)(a + b) * size,
                    .c_row = s->n,
                    .a_row = s->a_t ? 1 : s->k,
                    .a_col = s->a_t ? s->m : 1,
                    .b_row = s->b_t ? 1 : s->n,
                    .b_col = s->b_t ? s->k : 1};
    double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k;
    int times = 1 + (int)(0.004 * 200e9 / flops), n = 0;
    double best_own = 1e9, best_blas = 1e9, start = now();
    own(&g, 1);
    blas(&g, s, 1);
    while (n < SAMPLES && (n < 3 || now() - start < seconds)) {
        double t0 = now();
        own(&g, times);
        double t1 = now();
        blas(&g, s, times);
        double t2 = now();
        ratio[n++] = (t2 - t1) / (t1 - t0);
        if (t1 - t0 < best_own) best_own = t1 - t0;
        if (t2 - t1 < best_blas) best_blas = t2 - t1;
    }
    qsort(ratio, (size_t)n, sizeof *ratio, by_value);
    printf("%-18s %6lld %6lld %6lld %c%c %8.1f %8.1f   x%.2f\n", s->name, (long long)s->m,
           (long long)s->n, (long long)s->k, s->a_t ? 'T' : 'N', s->b_t ? 'T' : 'N',
           flops * times / best_own * 1e-9, flops * times / best_blas * 1e-9,
           ratio[n / 2]);
    fflush(stdout);
    free(data);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    reel_dtype dtype = argc > 2 && strcmp(argv[2], "f64") == 0 ? REEL_F64 : REEL_F32;
    openblas_set_num_threads(reel_threads());
    printf("%s, %d threads; OpenBLAS %s\n%-18s %6s %6s %6s    %8s %8s   median\n",
           reel_cpu_isa(), reel_threads(), openblas_get_corename(), "GFLOP/s", "m", "n",
           "k", "own", "OpenBLAS");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        run(&shapes[i], dtype, seconds);
    return 0;
}
