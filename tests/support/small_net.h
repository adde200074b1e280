/* small_net.h: a training step in which everything takes part: convolution, batch norm,
 * relu, linear layer, cross-entropy, backward, one fused optimizer pass a parameter. */
#ifndef TESTS_SUPPORT_SMALL_NET_H
#define TESTS_SUPPORT_SMALL_NET_H

#include <reel/autograd.h>

enum { SMALL_NET_PARAMS = 6, SMALL_NET_BATCH = 4, SMALL_NET_CLASSES = 3 };

typedef struct small_net {
    reel_tensor *param[SMALL_NET_PARAMS], *momentum[SMALL_NET_PARAMS]; /* kept */
    reel_tensor *mean, *var, *rate, *x, *target;                       /* kept */
    int steps;
} small_net;

/* False, with a pending error, if it cannot be made; what was made is then gone. */
bool small_net_make(small_net *net, uint64_t seed);
void small_net_free(small_net *net);
/* One step; the loss, or NaN on an error. Leaves no gradients behind. */
double small_net_step(small_net *net);

#endif
