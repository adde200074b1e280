/* random_quantized.h: layers between dequantize and quantize, for random_net. */
#ifndef TESTS_SUPPORT_RANDOM_QUANTIZED_H
#define TESTS_SUPPORT_RANDOM_QUANTIZED_H

#include "random_net.h"

/* Some of them on x, an input of the net: the result in its dtype; NULL on an error. No gradient
 * goes through. */
reel_tensor *random_quantized(random_net *net, reel_tensor *x);

#endif
