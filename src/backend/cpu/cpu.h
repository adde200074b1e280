/* cpu.h: inside the CPU backend. Three layers, each optional above the first:
 *   1 reference kernels (in ref/): any strides, f32 and f64 from one template, or all dtypes;
 *   2 fast f32 kernels (the other files): picked by reel__cpu_fast() when shapes and strides
 *     allow, else the reference runs;
 *   3 inside these, inner loops for each instruction set (isa/): one source compiled several
 *     times, chosen at start-up through the table below.
 * f16 and bf16 of KERNEL rows are converted to f32 around the kernel by run(). */
#ifndef REEL_BACKEND_CPU_H
#define REEL_BACKEND_CPU_H

#include "backend/backend.h"

typedef enum reel__isa {
    REEL_ISA_BASELINE = 0,
    REEL_ISA_AVX2,
    REEL_ISA_AVX512,
    REEL_ISA_COUNT
} reel__isa;
/* Chosen once: the best that processor, build and REEL_ISA allow. */
reel__isa reel__isa_now(void);
/* Whether the processor multiplies and adds up bytes (AVX-512 VNNI), beside REEL_ISA_AVX512. */
bool reel__has_vnni(void);

/* Tables of kernels: NULL where a file has none. Each family file defines functions and
 * cpu_table.c lists them. A fast kernel returns false when it does not take the call. */
typedef bool (*reel__fast_fn)(const reel__kcall *, reel_status *status);
extern const reel__kernel_fn reel__cpu_ref[K_COUNT];
extern const reel__fast_fn reel__cpu_fast[K_COUNT];
/* What can be done once for operands that keep their value, see backend.h; both NULL where
 * there is nothing. */
typedef struct reel__prepare {
    size_t (*size)(const reel__kcall *, unsigned constant);
    reel_status (*fill)(const reel__kcall *, void *to);
} reel__prepare;
extern const reel__prepare reel__cpu_prepare[K_COUNT];

/* One element of a dtype from a number: whole ones exactly, saturating (fill.c). */
void reel__number_store(reel__number x, reel_dtype dtype, void *element);

/* Pointwise rows (pointwise.c): one driver for all rows. */
reel_status reel__cpu_pointwise(const reel__kcall *);
/* A program of them (pointwise_program.c). */
reel_status reel__ref_pointwise(const reel__kcall *);
/* Strided copy with conversion (copy.c), also for use inside other kernels. */
reel_status reel__ref_copy(const reel__kcall *);
void reel__copy_strided(void *dst, const reel__meta *dm, const void *src,
                        const reel__meta *sm);

/* Matrix product (gemm.c): C[m,n] = A[m,k] * B[k,n] (+ C if accumulate), row stride
 * and column stride of each operand free. Parallel, bit-identical on any number of threads.
 * bias: n values added to each row, or NULL. Fails only for scratch memory. */
typedef struct reel__gemm {
    reel_dtype dtype; /* of all operands: f32 (which 0 is) or f64 */
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row, b_col;
    void *c;
    int64_t c_row; /* column stride of C is 1 */
    const void *bias;
    bool accumulate;
} reel__gemm;
reel_status reel__run_gemm(const reel__gemm *g);
/* `batch` products of the same shape, operands a_step, b_step, c_step elements apart. */
reel_status reel__gemm_batched(const reel__gemm *g, int64_t batch, int64_t a_step,
                               int64_t b_step, int64_t c_step);

/* Half-precision conversion of n contiguous elements (half.c). */
void reel__f16_to_f32(const uint16_t *src, float *dst, int64_t n);
void reel__f32_to_f16(const float *src, uint16_t *dst, int64_t n);
void reel__bf16_to_f32(const uint16_t *src, float *dst, int64_t n);
void reel__f32_to_bf16(const float *src, uint16_t *dst, int64_t n);

/* Philox4x32-10: block `counter` of the key `seed` -> four words (base/rng.h, Random123). */

#endif
