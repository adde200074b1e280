/* rng.h: Philox4x32-10, counter based. Block i of a seed is a pure function of (seed, i). */
#ifndef REEL_BASE_RNG_H
#define REEL_BASE_RNG_H

#include <stdint.h>

/* Four 32-bit words of block `block` under key `seed`. Source: Salmon et al. 2011. */
void reel__philox(uint64_t seed, uint64_t block, uint32_t out[4]);
/* [0, 1) with 24 bits, and with 53 bits from two words. */
static inline float reel__u01f(uint32_t w)
{
    return (float)(w >> 8) * 0x1p-24f;
}
static inline double reel__u01(uint32_t hi, uint32_t lo)
{
    return (double)((((uint64_t)hi << 32) | lo) >> 11) * 0x1p-53;
}

#endif
