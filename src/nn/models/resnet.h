/* resnet.h (internal): residual blocks, of which all residual nets are made. */
#ifndef REEL_NN_MODELS_RESNET_H
#define REEL_NN_MODELS_RESNET_H

#include "nn/module.h"

typedef enum reel__shortcut {
    SHORTCUT_CONV, /* option B: 1x1 convolution and batch norm */
    SHORTCUT_PAD   /* option A: subsampling, zeros for new channels */
} reel__shortcut;

/* What one net is made of. */
typedef struct reel__resnet_plan {
    const char *type;
    int stages, blocks[4];
    int64_t width;   /* channels of the first stage; they double at each */
    bool bottleneck; /* 1x1, 3x3, 1x1 with four times the channels; else 3x3, 3x3 */
    bool small_stem; /* 3x3 stride 1 without pooling; else 7x7 stride 2 and pooling */
    reel__shortcut shortcut;
    int64_t classes, channels;
    bool zero_init;
} reel__resnet_plan;

reel_module *reel__resnet(const reel__resnet_plan *plan);

/* Convolution, batch norm, + residual (or NULL), ReLU if asked: the value between lives only as
 * long as the tape needs it. What was put in the place of the batch norm may be any module. */
reel_tensor *reel__conv_bn(reel_module *conv, reel_module *bn, reel_tensor *x,
                           reel_tensor *residual, bool relu);
/* A convolution without bias, padded to keep the size at stride 1, initialized as
 * torchvision's: normal by fan out. */
reel_module *reel__resnet_conv(int64_t in, int64_t out, int kernel, int stride);

/* One residual block from `in` to `width` channels (4 width if `bottleneck`). */
reel_module *reel__residual_block(const reel__resnet_plan *plan, int64_t in,
                                  int64_t width, int stride);

#endif
