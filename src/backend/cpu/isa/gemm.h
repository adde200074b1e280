/* gemm.h: what each instruction set provides to the matrix product (gemm/gemm.c plans).
 *
 * Shape of the computation (Goto & van de Geijn 2008, "Anatomy of high-performance matrix
 * multiplication"): k is cut in blocks of REEL_GEMM_KC; a block of B lies packed in
 * panels of `nr` columns that stream from L2, a strip of `mr` rows of A stays in L1, and
 * mr x nr results stay in registers. */
#ifndef REEL_ISA_GEMM_H
#define REEL_ISA_GEMM_H

#include "backend/cpu/isa/isa.h"

/* Longest block of k: mr x KC of A and one panel of B share the L1 cache. */
#define REEL_GEMM_KC 256
/* Widest panel of any instruction set. */
#define REEL_GEMM_NR_MAX 32

/* C[m, n] = A[m, kc] B[kc, n] (+ C if add) (+ bias). Rows of C are contiguous. */
typedef struct reel_gemm_block {
    int64_t m, n, kc; /* kc <= REEL_GEMM_KC */
    const float *a;
    int64_t a_row, a_col;
    int64_t a_rows; /* that exist, >= m: whole vectors may be read of them */
    const float *b; /* packed by pack_b, or in place with contiguous rows */
    int64_t b_row;  /* in place: distance of rows; 0: packed              */
    float *c;
    int64_t c_row;
    const float *bias; /* n values or NULL */
    bool add;
} reel_gemm_block;

/* C[m, n] = sum over k of A[m, k] B[n, k], both with contiguous rows, for few rows of
 * A. */
typedef struct reel_gemm_dot {
    int64_t m, n, k;
    const float *a;
    int64_t a_row;
    const float *b; /* row j is column j of the product's right operand */
    int64_t b_row;
    float *c;
    int64_t c_row;
    const float *bias;
    bool add;
} reel_gemm_dot;

typedef struct reel_gemm_isa {
    int mr, nr;
    /* Panels of nr columns, each [kc, nr] contiguous, the last one padded with zeros. */
    void (*pack_b)(const float *b, int64_t b_row, int64_t b_col, int64_t kc, int64_t n,
                   float *panels);
    void (*block)(const reel_gemm_block *);
    void (*dot)(const reel_gemm_dot *);
} reel_gemm_isa;
REEL_ISA_DECLARE(reel_gemm_isa, gemm);

#endif
