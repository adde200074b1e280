/* draw.c: the random numbers of one sample: a Philox stream whose key is a function of
 * (seed, epoch, index), so that no worker, order or restart can change them. */
#include "data/draw.h"

#include "base/rng.h"

/* Philox as a hash: 64 well mixed bits of (key, value). */
static uint64_t mix(uint64_t key, uint64_t value)
{
    uint32_t w[4];
    reel__philox(key, value, w);
    return ((uint64_t)w[1] << 32) | w[0];
}

reel_draw reel_draw_at(uint64_t seed, uint64_t epoch, uint64_t index)
{
    return (reel_draw){.key = mix(mix(seed, epoch), index), .used = 4};
}

uint32_t reel_draw_u32(reel_draw *d)
{
    if (!d) return 0;
    if (d->used >= 4 || d->used < 0) {
        reel__philox(d->key, d->block++, d->word);
        d->used = 0;
    }
    return d->word[d->used++];
}

float reel_draw_f32(reel_draw *d)
{
    return reel__u01f(reel_draw_u32(d));
}

/* Lemire's multiply-and-reject: the high half of r * n is uniform once the 2^32 mod n low
 * halves that would come up once too often are drawn again. */
uint32_t reel_draw_below(reel_draw *d, uint32_t n)
{
    if (n < 2 || !d) return 0;
    uint32_t too_often = (uint32_t)(0u - n) % n;
    for (;;) {
        uint64_t product = (uint64_t)reel_draw_u32(d) * n;
        if ((uint32_t)product >= too_often) return (uint32_t)(product >> 32);
    }
}

void reel__shuffled(reel_draw *d, int64_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t j = reel_draw_below(d, (uint32_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
