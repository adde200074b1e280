/* half.c: f16 and bf16 blocks to and from f32. */
#include "backend/cpu/elem.h"
#include "backend/cpu/isa/isa.h"

REEL_ISA_DECLARE(reel__elem_rows, elem_rows);

const reel__elem_rows *reel__elem_rows_of_isa(void)
{
    return REEL_ISA_PICK(elem_rows);
}

void reel__f16_to_f32(const uint16_t *src, float *dst, int64_t n)
{
    reel__elem_rows_of_isa()->f16_to_f32(src, dst, n);
}

void reel__f32_to_f16(const float *src, uint16_t *dst, int64_t n)
{
    reel__elem_rows_of_isa()->f32_to_f16(src, dst, n);
}

void reel__bf16_to_f32(const uint16_t *src, float *dst, int64_t n)
{
    reel__elem_rows_of_isa()->bf16_to_f32(src, dst, n);
}

void reel__f32_to_bf16(const float *src, uint16_t *dst, int64_t n)
{
    reel__elem_rows_of_isa()->f32_to_bf16(src, dst, n);
}
