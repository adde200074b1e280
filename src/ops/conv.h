/* conv.h: what every record shares that convolves inputs 0, [n, c, h, w], and 1,
 * [k, c/groups, r, s], with a bias [k] as input 2 or none; its attributes begin with
 * reel__conv2d_attrs. */
#ifndef REEL_OPS_CONV_H
#define REEL_OPS_CONV_H

#include "ops/op.h"

/* The result's shape, channels-last, in input 0's dtype; dtypes are not looked at. */
reel_status reel__conv2d_shape(const reel__call *c, reel__meta *out);
/* Two for each multiply-add. */
double reel__conv2d_flops(const reel__call *c);

#endif
