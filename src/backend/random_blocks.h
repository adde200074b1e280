/* random_blocks.h: how much of the Philox stream a random kernel uses (attrs.h says which
 * words become which element). All backends draw the same numbers. */
#ifndef REEL_BACKEND_RANDOM_BLOCKS_H
#define REEL_BACKEND_RANDOM_BLOCKS_H

#include "backend/backend.h"

/* Elements that share a block of four words: 4, or 2 where an element takes 64 bits. */
int reel__random_per_block(reel__kernel_id kernel, reel_dtype dtype);
/* Blocks that a call for n elements uses: the generator's offset moves on by as many. */
int64_t reel__random_blocks(reel__kernel_id kernel, reel_dtype dtype, int64_t n);

/* DROPOUT with probability p keeps an element whose word is at least this: word * 2^-32
 * >= p in exact arithmetic. 2^32 keeps none. */
static inline uint64_t reel__dropout_threshold(double p)
{
    double scaled = p * 0x1p32;
    uint64_t floor = (uint64_t)scaled;
    return floor + ((double)floor < scaled);
}

#endif
