/* blocks.h: the modules that docs/graphs.md shows: written as a user would, operator by
 * operator. */
#ifndef REEL_TEST_BLOCKS_H
#define REEL_TEST_BLOCKS_H

#include <reel/reel.h>

/* [n, in, h, w] -> [n, out, h / 2, w / 2] */
reel_module *resnet_block(int64_t in, int64_t out);
/* [n, tokens, dim] -> [n, tokens, dim] */
reel_module *transformer_block(int64_t dim);

#endif
