/* random_blocks.c: see random_blocks.h. */
#include "backend/random_blocks.h"

int reel__random_per_block(reel__kernel_id kernel, reel_dtype dtype)
{
    bool is_wide = kernel == K_RANDINT || (kernel != K_DROPOUT && dtype == REEL_F64);
    return is_wide ? 2 : 4;
}

int64_t reel__random_blocks(reel__kernel_id kernel, reel_dtype dtype, int64_t n)
{
    int per_block = reel__random_per_block(kernel, dtype);
    return n / per_block + (n % per_block != 0);
}
