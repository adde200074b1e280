/* gemm.h: what each instruction set provides to the matrix product (gemm/gemm.c plans).
 *
 * Shape of the computation (Goto & van de Geijn 2008, "Anatomy of high-performance matrix
 * multiplication"): k is cut in blocks; a block of B lies packed in
 * panels of `nr` columns that stream from L2, a strip of `mr` rows of A stays in L1, and
 * mr x nr results stay in registers. */
#ifndef REEL_ISA_GEMM_H
#define REEL_ISA_GEMM_H

#include "backend/cpu/isa/isa.h"

/* C[m, n] = A[m, kc] B[kc, n] (+ C if add) (+ bias). Rows of C are contiguous. All operands
 * are of the table's type, and strides in elements. */
typedef struct reel__gemm_block {
    int64_t m, n, kc; /* kc <= that of the table */
    const void *a;
    int64_t a_row, a_col;
    int64_t a_rows; /* that exist, >= m: whole vectors may be read of them */
    const void *b;  /* packed by pack_b, or in place with contiguous rows */
    int64_t b_row;  /* in place: distance of rows; 0: packed              */
    void *c;
    int64_t c_row;
    const void *bias; /* n values or NULL */
    bool add;
} reel__gemm_block;

/* C[m, n] = sum over k of A[m, k] B[n, k], both with contiguous rows, for few rows of
 * A. */
typedef struct reel__gemm_dot {
    int64_t m, n, k;
    const void *a;
    int64_t a_row;
    const void *b; /* row j is column j of the product's right operand */
    int64_t b_row;
    void *c;
    int64_t c_row;
    const void *bias;
    bool add;
} reel__gemm_dot;

/* C[m, n] = the sum of `count` parts [m, n], in order (+ C if add) (+ bias). */
typedef struct reel__gemm_parts {
    int64_t m, n, count, step; /* step: elements from a part to the next */
    const void *parts;
    void *c;
    int64_t c_row;
    const void *bias;
    bool add;
} reel__gemm_parts;

typedef struct reel__gemm_isa {
    int mr, nr;
    int kc; /* longest block of k: mr x kc of A and one panel of B share the L1 cache */
    /* Panels of nr columns, each [kc, nr] contiguous, the last one padded with zeros. */
    void (*pack_b)(const void *b, int64_t b_row, int64_t b_col, int64_t kc, int64_t n,
                   void *panels);
    void (*block)(const reel__gemm_block *);
    void (*dot)(const reel__gemm_dot *);
    void (*add_up)(const reel__gemm_parts *);
} reel__gemm_isa;
REEL_ISA_DECLARE(reel__gemm_isa, gemm_f32);
REEL_ISA_DECLARE(reel__gemm_isa, gemm_f64);

#endif
