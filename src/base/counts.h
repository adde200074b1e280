/* counts.h: how many enumerators there are. Not public: a program that was built with such a
 * number would have the wrong one beside a later library. */
#ifndef REEL_BASE_COUNTS_H
#define REEL_BASE_COUNTS_H

#include <reel/base.h>

#define REEL__DTYPE_COUNT ((int)REEL_BOOL + 1)
#define REEL__DEVICE_TYPE_COUNT ((int)REEL_CUDA + 1)

#endif
