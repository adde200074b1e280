/* choose.c: which algorithm a convolution takes, from shape and pass alone.
 *
 * Never from a clock or the number of threads: two equal runs must not differ. The model
 * counts multiply-adds for each pair of an input and an output channel, the products of
 * vectors being what every algorithm spends most of its time with:
 *
 *   direct    taps * results + PACK
 *   winograd  36 * tiles + TRANSFORM * tiles * (1/c + 1/k) + WEIGHTS
 *
 * PACK, TRANSFORM and WEIGHTS are what packing, the transforms of a tile's channel and
 * those of a weight cost in the same unit, fitted to Zen 5, AVX-512, one thread. Time of
 * direct over time of winograd, measured | predicted, [n, c, h, h] with k = c, forward
 * and weight gradient:
 *
 *   [1,512,4]  0.7 0.7 | 0.6 0.4     [1,256,8]  1.6 1.2 | 1.6 1.2
 *   [2,512,4]  1.2 1.0 | 1.0 0.7     [4,64,8]   2.5 2.0 | 2.5 2.2
 *   [4,512,4]  2.4 1.1 | 1.6 1.2     [1,16,4]   0.5 0.3 | 0.6 0.4
 *   [1,512,7]  1.4 1.0 | 1.2 0.9     [16,64,2]  0.8 0.7 | 0.6 0.6
 *   [4,512,7]  2.0 1.6 | 2.2 1.9     [1,64,32]  2.9 2.2 | 3.0 2.9
 *
 * With prepared weights, forward, weights not in cache:
 *
 *   [1,512,4]  0.5 | 0.5     [1,256,8]  1.25 | 1.4     [1,64,8]   1.4 | 1.4
 *   [1,512,7]  1.1 | 1.1     [1,128,16] 2.4  | 2.8     [1,64,32]  2.6 | 3.4
 *
 * Channels come in vectors of 16 in Winograd's transforms; 16 are enough for it to win
 * (1.9x at [1,16,32]), because tiles, V and M stay in the first two caches. */
#include "backend/cpu/conv/conv.h"

#define PACK 20.0
#define TRANSFORM 256.0
#define WEIGHTS 220.0        /* G w G', forward and input gradient           */
#define WEIGHTS_PACKED 250.0 /* prepared: less what the direct sum reads them in */
#define WEIGHTS_GRAD 350.0   /* G' p G, and adding it up                     */

bool reel__conv_winograd_takes(const reel__conv *g)
{
    bool takes = g->r == 3 && g->s == 3 && g->groups == 1;
    for (int i = 0; i < 2; i++)
        takes = takes && g->stride[i] == 1 && g->dil[i] == 1 && g->pad[i] <= 2;
    return takes && g->c % 16 == 0 && g->k % 16 == 0;
}

reel__conv_algo reel__conv_choose(const reel__conv *g, reel__conv_pass pass, bool exact,
                                  bool ready)
{
    if (exact || !reel__conv_winograd_takes(g)) return REEL_CONV_DIRECT;
    bool input = pass == REEL_CONV_INPUT; /* its results are the input's pixels */
    int64_t h = input ? g->h : g->oh, w = input ? g->w : g->ow;
    double tiles = (double)(g->n * ceil_div(h, 4) * ceil_div(w, 4));
    double weights = pass == REEL_CONV_WEIGHT ? WEIGHTS_GRAD
                     : ready                  ? WEIGHTS_PACKED
                                              : WEIGHTS;
    double direct = 9.0 * (double)(g->n * h * w) + (ready ? 0 : PACK);
    double winograd = 36.0 * tiles +
                      TRANSFORM * tiles * (1 / (double)g->c + 1 / (double)g->k) + weights;
    return winograd < direct ? REEL_CONV_WINOGRAD : REEL_CONV_DIRECT;
}
