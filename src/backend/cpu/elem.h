/* elem.h: moving elements between strided memory of any dtype and contiguous blocks of a
 * compute type. What is converted how:
 *   float -> integer: toward zero, saturating; NaN gives 0
 *   integer -> narrower integer: wraps
 *   anything -> bool: != 0 (NaN is true)
 *   anything -> narrower float: to nearest even, rounded once */
#ifndef REEL_BACKEND_CPU_ELEM_H
#define REEL_BACKEND_CPU_ELEM_H

#include "backend/pw_info.h"
#include "base/counts.h"

/* rows x cols elements at src, `row` and `col` elements apart, become one block. */
typedef void (*reel__load_fn)(int64_t rows, int64_t cols, void *block, const void *src,
                              int64_t row, int64_t col);
/* The way back. */
typedef void (*reel__store_fn)(int64_t rows, int64_t cols, void *dst, int64_t row,
                               int64_t col, const void *block);
/* From strided to strided memory without a change of dtype. */
typedef void (*reel__move_fn)(int64_t rows, int64_t cols, void *dst, int64_t dst_row,
                              int64_t dst_col, const void *src, int64_t src_row,
                              int64_t src_col);

/* dst[r * dst_row + c] = src[c * src_row + r] for r < rows, c < cols. */
typedef void (*reel__transpose_fn)(int64_t rows, int64_t cols, void *dst, int64_t dst_row,
                                   const void *src, int64_t src_row);

typedef struct reel__elem_rows {
    reel__load_fn load[REEL_PW_TYPES][REEL__DTYPE_COUNT];
    reel__store_fn store[REEL_PW_TYPES][REEL__DTYPE_COUNT];
    reel__move_fn move[9]; /* by size of an element: 1, 2, 4, 8 */
    void (*f16_to_f32)(const uint16_t *src, float *dst, int64_t n);
    void (*f32_to_f16)(const float *src, uint16_t *dst, int64_t n);
    void (*bf16_to_f32)(const uint16_t *src, float *dst, int64_t n);
    void (*f32_to_bf16)(const float *src, uint16_t *dst, int64_t n);
} reel__elem_rows;

typedef struct reel__transpose_rows {
    reel__transpose_fn by_size[9]; /* 1, 2, 4, 8 */
} reel__transpose_rows;

/* The functions for the instruction set in use. */
const reel__elem_rows *reel__elem_rows_of_isa(void);
const reel__transpose_rows *reel__transpose_rows_of_isa(void);

/* Bytes of an element of a compute type. */
static inline size_t reel__pw_size(reel__pw_type type)
{
    return type == REEL_PW_F32 ? 4 : 8;
}

/* The dtype that a compute type is. */
static inline reel_dtype reel__pw_dtype(reel__pw_type type)
{
    return type == REEL_PW_F32 ? REEL_F32 : type == REEL_PW_F64 ? REEL_F64 : REEL_I64;
}

#endif
