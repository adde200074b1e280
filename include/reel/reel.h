/* reel: a minimal define-by-run deep learning framework in C. What runs is recorded on a
 * tape; the tape plays backward for gradients. This is the one door; read the headers that it
 * includes in this order. */
#ifndef REEL_REEL_H
#define REEL_REEL_H

#include <reel/base.h>
#include <reel/tensor.h>
#include <reel/ops.h>
#include <reel/autograd.h>
#include <reel/custom_op.h>
#include <reel/nn.h>
#include <reel/optim.h>
#include <reel/data.h>
#include <reel/io.h>
#include <reel/training.h>
#include <reel/quantize.h>
#include <reel/profile.h>
#include <reel/trace.h>
#include <reel/executor.h>
#include <reel/compile.h>
#include <reel/onnx.h>
#include <reel/progress.h>

#endif
