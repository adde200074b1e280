/* choose.c: which algorithm a convolution takes, from shape and pass alone. */
#include "backend/cpu/conv/conv.h"

static bool winograd_takes(const reel_conv *g)
{
    bool plain = g->r == 3 && g->s == 3 && g->groups == 1;
    for (int i = 0; i < 2; i++)
        plain = plain && g->stride[i] == 1 && g->dil[i] == 1 && g->pad[i] <= 2;
    return plain && g->c % 16 == 0 && g->k % 16 == 0;
}

reel_conv_algo reel__conv_choose(const reel_conv *g, reel_conv_pass pass, bool exact)
{
    (void)pass;
    if (!exact && winograd_takes(g)) return REEL_CONV_WINOGRAD;
    return REEL_CONV_DIRECT;
}
