/* conv_blocks.h: register blocks of the matrix products inside convolutions: R rows times one
 * or two vectors of columns.
 *
 * One block keeps R * NV sums in registers and, for each step of the reduction, loads NV
 * vectors and broadcasts R floats (Goto and van de Geijn 2008). R is a constant in every
 * instance, so that the sums are registers; a count of rows that R does not divide is cut
 * into nearly equal blocks, as two blocks of 8 are faster than one of 14 and one of 2.
 * Each instance is a function of its own: all in one took a compiler a minute and a
 * gigabyte, as what it does to a function does not grow in proportion. */
#ifndef REEL_ISA_CONV_BLOCKS_H
#define REEL_ISA_CONV_BLOCKS_H

#include "backend/cpu/isa/conv_kernels.h"

#define INLINE static inline __attribute__((always_inline))

/* clang-format off */
/* 32 registers hold 28 sums, 2 columns and some broadcasts; 16 hold 12. */
#if REEL_VW == 16 || defined(__aarch64__)
#define ROWS2 14
#define ROWS1 28
#define EACH_ROWS1(X)                                                                    \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)     \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28)
#define EACH_ROWS2(X)                                                                    \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define ROWS2 6
#define ROWS1 12
#define EACH_ROWS1(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define EACH_ROWS2(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
/* clang-format on */

/* An instance for every number of rows: the includer's BLOCK(R, NV) defines a function
 * block_R_NV, which these find. */
#define BLOCK_NARROW(R) BLOCK(R, 1)
#define BLOCK_WIDE(R) BLOCK(R, 2)
#define NAME_NARROW(R) [R] = block_##R##_1,
#define NAME_WIDE(R) [R] = block_##R##_2,
#define DEFINE_BLOCKS                                                                    \
    EACH_ROWS1(BLOCK_NARROW)                                                             \
    EACH_ROWS2(BLOCK_WIDE)                                                               \
    static const block_fn narrow_blocks[ROWS1 + 1] = {EACH_ROWS1(NAME_NARROW)};          \
    static const block_fn wide_blocks[ROWS2 + 1] = {EACH_ROWS2(NAME_WIDE)};
/* Cuts m rows into as few blocks as fit, all nearly equal; returns the next block's. */
INLINE int64_t next_rows(int64_t left, int64_t most)
{
    int64_t blocks = (left + most - 1) / most;
    return (left + blocks - 1) / blocks;
}

/* What conv_gemm.c puts into its table. */
void ISA(conv_gather)(const reel__conv_gather *g);
void ISA(conv_dense)(const float *a, int64_t lda, int64_t m, int64_t len,
                     const float *panel, int64_t width, float *d, int64_t ldd,
                     bool accumulate);
void ISA(conv_outer)(const reel__conv_outer *g);

#endif
